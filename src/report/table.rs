//! Tables of rows.

use std::fmt::Write as _;

use super::{Made, Row};

/// The rows as CSV, full precision; what is absent stays empty.
pub fn csv(rows: &[Row]) -> String {
    let mut text = String::from(
        "pieces,curvature,seed,points,relative_rmse,mean_abs,max_abs,agreement,accuracy,certificate,\
         relative_certificate,violations,certificate_curvature,certificate_label,selection,metric,curvature_choice,\
         slopes,softness,refine,warp\n",
    );
    for row in rows {
        let optional = |value: Option<f64>| value.map_or_else(String::new, |v| v.to_string());
        let label = serde_json::to_string(&row.certificate_label).unwrap_or_default();
        let _ = writeln!(
            text,
            "{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}",
            row.pieces,
            row.curvature,
            row.seed,
            row.points,
            row.relative_rmse,
            row.mean_abs,
            row.max_abs,
            optional(row.agreement),
            optional(row.accuracy),
            row.certificate,
            row.relative_certificate,
            row.violations,
            row.certificate_curvature,
            label.trim_matches('"'),
            row.made.selection,
            quoted(&row.made.metric),
            row.made.curvature_choice,
            row.made.slopes,
            row.made.softness,
            row.made.refine,
            row.made.warp,
        );
    }
    text
}

/// A field that may hold commas or quotes: a metric may be a file.
pub(super) fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

/// A table for people: means over seeds, with the spread of the error where there are several.
pub fn markdown(rows: &[Row]) -> String {
    // What is only as published needs no name.
    let named = rows.iter().any(|row| row.made != Made::published(row.made.curvature_choice.clone()));
    let mut text = String::from(if named { "| spline " } else { "" });
    text.push_str("| pieces | curvature | relative RMSE | agreement | accuracy | mean error | largest error | half-width / deviation | violations |\n");
    text.push_str(if named { "|---" } else { "" });
    text.push_str("|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n");
    let same = |a: &&Row, b: &&Row| (a.pieces, &a.made) == (b.pieces, &b.made);
    let all: Vec<&Row> = rows.iter().collect();
    for group in all.chunk_by(|a, b| same(a, b)) {
        let mean = |value: &dyn Fn(&Row) -> f64| {
            group.iter().map(|row| value(row)).sum::<f64>() / group.len() as f64
        };
        let percent = |value: &dyn Fn(&Row) -> Option<f64>| {
            let values: Option<Vec<f64>> = group.iter().map(|row| value(row)).collect();
            values.map_or_else(
                || "-".to_owned(),
                |v| format!("{:.2} %", 100.0 * v.iter().sum::<f64>() / v.len() as f64),
            )
        };
        let errors = group.iter().map(|row| row.relative_rmse);
        let half = (errors.clone().fold(f64::MIN, f64::max) - errors.fold(f64::MAX, f64::min)) / 2.0;
        let spread = if group.len() > 1 { format!(" ± {half:.4}") } else { String::new() };
        if named {
            let _ = write!(text, "| {} ", group[0].made.name());
        }
        let _ = writeln!(
            text,
            "| {} | {} | {:.4}{spread} | {} | {} | {:.4} | {:.4} | {:.2} | {:.3} % |",
            group[0].pieces,
            significant(mean(&|row| row.curvature)),
            mean(&|row| row.relative_rmse),
            percent(&|row| row.agreement),
            percent(&|row| row.accuracy),
            mean(&|row| row.mean_abs),
            group.iter().map(|row| row.max_abs).fold(0.0, f64::max),
            mean(&|row| row.relative_certificate),
            100.0 * mean(&|row| row.violations),
        );
    }
    text
}

/// A number with four significant digits, or fewer where it has fewer.
pub(super) fn significant(value: f64) -> String {
    let digits = format!("{value:.3e}").parse::<f64>().unwrap_or(value);
    digits.to_string()
}
