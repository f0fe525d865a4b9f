//! How close splines come to the network: error, agreement and error bars over the number of pieces.

use serde_json::{Value, json};

use crate::Result;
use crate::cli::args::Pieces;
use crate::cli::recipe::words::curvature;
use crate::report::page::{Drawn, Figure, Key};
use crate::spline::CurvatureChoice;

use super::draft::Draft;
use super::plan::Plan;
use super::runs::Runs;
use super::words::{Words, list};

/// Numbers of pieces where the user names none, as far as there are anchors for them; then all.
const PIECES: [usize; 6] = [10, 30, 100, 300, 1000, 3000];

pub(super) fn figures(plan: &Plan, runs: &mut Runs) -> Result<Vec<Figure>> {
    let arguments = plan.arguments;
    let words = plan.of_data("sweep").then(&plan.output_words());
    let words = match &arguments.labels {
        Some(labels) => words.path("--labels", labels),
        None => words,
    };
    let range = |range: &std::ops::Range<usize>| format!("{}..{}", range.start, range.end);
    let words = words
        .option("--anchors", range(&plan.anchors))
        .option("--points", range(&plan.points))
        .maybe("--validation", plan.validation.as_ref().map(range))
        .option("--pieces", pieces(plan))
        .option("--curvature", list(&curvatures(plan)))
        .then(&certificate(plan))
        .option("--seeds", arguments.seeds);
    let words = plan.into(words, "-o", "data/sweep");
    let run = runs.run_as(&words, if arguments.resume { &["--resume"] } else { &[] })?;
    // What is wrong with the user's own choices ends the report, as nothing else has been computed yet.
    if let Err(reason) = run.result {
        return Err(crate::Error::Argument(reason));
    }
    let draft = Draft::new("sweep", "approximation", "Error, agreement and error bars", &caption(plan));
    let files = ["data/sweep/rows.csv", "data/sweep/rows.json", "data/sweep/sweep.svg"];
    Ok(vec![draft.finish(&[run], &files, |_| Ok(Drawn::Sweep))?])
}

/// A spline for pictures: all pieces, but a thousand at most.
pub(super) fn fit(plan: &Plan) -> Words {
    let pieces = match plan.anchors.len() {
        0..=1000 => "all".to_owned(),
        _ => "1000".to_owned(),
    };
    let chosen = if plan.validation.is_some() { "auto".to_owned() } else { curvatures(plan)[0].clone() };
    let words = plan
        .of_data("fit")
        .then(&plan.output_words())
        .option("--take", format!("{}..{}", plan.anchors.start, plan.anchors.end))
        .maybe("--validation", plan.validation.as_ref().map(|rows| format!("{}..{}", rows.start, rows.end)))
        .option("--pieces", pieces)
        .option("--curvature", chosen)
        .then(&certificate(plan));
    plan.into(words, "-o", "data/spline.safetensors")
}

/// Error bars that hold over tested pairs, where there are rows to test them on.
fn certificate(plan: &Plan) -> Words {
    Words::none().maybe("--certificate", plan.validation.as_ref().map(|_| "secant"))
}

fn pieces(plan: &Plan) -> String {
    let given = plan.arguments.pieces.iter().map(|pieces| match pieces {
        Pieces::All => "all".to_owned(),
        Pieces::Some(pieces) => pieces.to_string(),
    });
    let given: Vec<String> = given.collect();
    if !given.is_empty() {
        return list(&given);
    }
    let fewer = PIECES.iter().filter(|&&pieces| pieces < plan.anchors.len()).map(usize::to_string);
    list(&fewer.chain(["all".to_owned()]).collect::<Vec<_>>())
}

fn curvatures(plan: &Plan) -> Vec<String> {
    if plan.arguments.curvature.is_empty() {
        let found: &[&str] = if plan.validation.is_some() { &["secant", "auto"] } else { &[] };
        return ["1", "3"].iter().chain(found).map(ToString::to_string).collect();
    }
    plan.arguments.curvature.iter().map(|choice: &CurvatureChoice| curvature(choice)).collect()
}

fn caption(plan: &Plan) -> String {
    let (anchors, points) = (&plan.anchors, &plan.points);
    let mut text = format!(
        "Splines of up to {} anchors (rows {} to {}), judged on {} points (rows {} to {}). The relative error is the root \
         mean square error over the standard deviation of the outputs, both pooled over points and outputs: 1 is as bad \
         as their mean. ",
        anchors.len(),
        anchors.start,
        anchors.end - 1,
        points.len(),
        points.start,
        points.end - 1,
    );
    if plan.outputs.len() > 1 {
        text += "Agreement is the share of points at which spline and network have the same largest output. ";
    }
    if plan.has_labels() {
        text += "Accuracy is the share at which that is the label. ";
    }
    text += &format!(
        "A line is a curvature, or a way to choose it; a band reaches from the least to the largest of {} seeds, each with \
         its own random pieces. ",
        plan.arguments.seeds
    );
    match &plan.validation {
        Some(rows) => {
            text += &format!(
                "Choices are made on rows {} to {}. The half-width is that of error bars whose curvature holds over tested \
                 pairs of anchors and these rows: an estimate, not a proof. Violations are the share of points and outputs \
                 outside the bars.",
                rows.start,
                rows.end - 1
            );
        }
        None => {
            text += "The half-width is that of error bars at the spline's own curvature, which nothing was tested on: where \
                     it is negative, or violations (the share of points and outputs outside) are not rare, it does not hold.";
        }
    }
    text
}

/// The best setting of a sweep, in mean over its seeds.
pub(super) fn keys(document: &Value) -> Vec<Key> {
    let rows = document["rows"].as_array().map(Vec::as_slice).unwrap_or_default();
    let of = |row: &Value| [row["pieces"].to_string(), row["curvature_choice"].to_string()];
    let mean = |setting: &[String; 2], field: &str| {
        let values = rows.iter().filter(|row| of(row) == *setting).map(|row| row[field].as_f64());
        let values: Option<Vec<f64>> = values.collect();
        values.map(|values| values.iter().sum::<f64>() / values.len().max(1) as f64)
    };
    let error = |row: &&Value| mean(&of(row), "relative_rmse").unwrap_or(f64::INFINITY);
    let Some(best) = rows.iter().min_by(|a, b| error(a).total_cmp(&error(b))) else { return vec![] };
    let setting = of(best);
    let seeds = rows.iter().filter(|row| of(row) == setting).count();
    let choice = best["curvature_choice"].as_str().unwrap_or_default();
    let what = format!(
        "{} pieces, curvature {choice}, mean of {seeds} seed{}",
        best["pieces"],
        if seeds == 1 { "" } else { "s" }
    );
    let label = match best["certificate_label"].as_str() {
        Some("tested") => "holds over tested pairs",
        Some("proved") => "proved",
        _ => "of a given curvature",
    };
    let fields = [
        ("relative_rmse", "Relative error", None, format!("least of the sweep: {what}")),
        (
            "agreement",
            "Agreement",
            Some("share"),
            "same largest output as the network, of that spline".to_owned(),
        ),
        ("accuracy", "Accuracy", Some("share"), "of that spline".to_owned()),
        (
            "relative_certificate",
            "Error bar",
            None,
            format!("mean half-width over the deviation of the outputs; {label}"),
        ),
    ];
    let key = |(field, label, unit, note): (&str, &'static str, _, String)| {
        Some(Key { label, value: json!(mean(&setting, field)?), unit, note, figure: "sweep" })
    };
    fields.into_iter().filter_map(key).collect()
}
