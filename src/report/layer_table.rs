//! Tables of splined layers.

use std::fmt::Write as _;

use super::LayerRow;
use super::table::{quoted, significant};

/// The rows as CSV, full precision; what is absent stays empty.
pub fn layers_csv(rows: &[LayerRow]) -> String {
    let mut text = String::from(
        "pieces,layer,activation,low,high,activation_error,points,relative_rmse,max_abs,agreement,accuracy\n",
    );
    for row in rows {
        let optional = |value: Option<f64>| value.map_or_else(String::new, |v| v.to_string());
        let _ = writeln!(
            text,
            "{},{},{},{},{},{},{},{},{},{},{}",
            row.pieces,
            quoted(&row.layer),
            row.activation.unwrap_or_default(),
            optional(row.low),
            optional(row.high),
            row.activation_error,
            row.points,
            row.relative_rmse,
            row.max_abs,
            optional(row.agreement),
            optional(row.accuracy),
        );
    }
    text
}

/// A table for people.
pub fn layers_markdown(rows: &[LayerRow]) -> String {
    let mut text = String::from(
        "| pieces | layer | range of inputs | activation's error | relative RMSE | largest error | agreement | accuracy |\n\
         |---:|---|---|---:|---:|---:|---:|---:|\n",
    );
    for row in rows {
        let percent = |value: Option<f64>| value.map_or("-".to_owned(), |v| format!("{:.2} %", 100.0 * v));
        let range = match (row.low, row.high) {
            (Some(low), Some(high)) => format!("{} to {}", significant(low), significant(high)),
            _ => "-".to_owned(),
        };
        let _ = writeln!(
            text,
            "| {} | {} | {range} | {} | {} | {} | {} | {} |",
            row.pieces,
            row.layer,
            scientific(row.activation_error),
            scientific(row.relative_rmse),
            scientific(row.max_abs),
            percent(row.agreement),
            percent(row.accuracy),
        );
    }
    text
}

/// Small numbers of a column side by side.
fn scientific(value: f64) -> String {
    format!("{value:.2e}")
}
