//! Which pieces the units pick: codes layer by layer, distances of inputs, and how much templates have in common.

use std::ops::Range;

use serde_json::{Value, json};

use crate::Result;
use crate::data::read_array;
use crate::report::page::{Bars, Drawn, Figure, Matrix, Series, Table};

use super::draft::Draft;
use super::plan::Plan;
use super::runs::{Run, Runs};
use super::words::Words;

/// Rows that are compared with each other.
const COMPARED: usize = 100;

/// Bytes of templates at most.
const MOST_BYTES: usize = 32 << 20;

/// Layers of which the distances are shown one by one.
const MOST_LAYERS: usize = 24;

/// Outputs of which the pairs are shown one by one.
const MOST_PAIRED: usize = 100;

const SECTION: &str = "codes";

pub(super) fn figures(plan: &Plan, runs: &mut Runs) -> Result<Vec<Figure>> {
    let rows = plan.points.start..plan.points.end.min(plan.points.start + COMPARED);
    let words = |words: Words, file: &str| {
        plan.into(words.option("--take", format!("{}..{}", rows.start, rows.end)), "-o", file)
    };
    let all = runs.run(&words(plan.of_data("distance"), "data/codes/distances.npy"))?;
    let mut figures = vec![distances(plan, &rows, &all)?];
    if let Ok(document) = &all.result {
        figures.push(layers(&rows, &all)?);
        let names = document["layers"].as_array().map(Vec::as_slice).unwrap_or_default();
        let names: Vec<&str> = names.iter().filter_map(|layer| layer["name"].as_str()).collect();
        if names.len() > 1 {
            figures.push(by_layer(&names, runs, |name, file| {
                words(plan.of_data("distance").option("--layer", name), file)
            })?);
        }
    }
    if plan.outputs.len() > 1 {
        figures.extend(templates(plan, &rows, runs)?);
    }
    Ok(figures)
}

fn distances(plan: &Plan, rows: &Range<usize>, run: &Run) -> Result<Figure> {
    let by = match (plan.has_labels(), plan.outputs.len() > 1) {
        (true, _) => " Rows are sorted by label.",
        (false, true) => " Rows are sorted by the network's class.",
        (false, false) => "",
    };
    let caption = format!(
        "1 less the share of units that pick the same affine piece for both rows (VQ distance): 0 is the same region. \
         Exact for these {} rows.{by}",
        rows.len()
    );
    let file = "data/codes/distances.npy";
    let draft = Draft::new("distances", SECTION, "Distances of codes", &caption);
    draft.finish(std::slice::from_ref(run), &[file], |_| {
        let values: Vec<f64> = read_array(&plan.file(file), None)?.into_iter().collect();
        let group = |row: usize| match plan.label(row) {
            Some(label) => Some(label as usize),
            None => plan.class(row),
        };
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by_key(|&i| group(rows.start + i));
        // The numbers are of f32: no more digits than that are theirs.
        let value = |i: usize, j: usize| short(values[i * rows.len() + j]);
        let names: Vec<String> = order.iter().map(|&i| plan.named(rows.start + i)).collect();
        Ok(Drawn::Matrix(Matrix {
            rows: names.clone(),
            columns: names,
            values: order.iter().map(|&i| order.iter().map(|&j| value(i, j)).collect()).collect(),
            unit: "distance".to_owned(),
            groups: order
                .iter()
                .filter_map(|&i| group(rows.start + i))
                .map(|group| group.to_string())
                .collect(),
            range: [0.0, short(values.iter().copied().fold(0.0, f64::max))],
        }))
    })
}

/// The shortest number that is the same in f32.
fn short(x: f64) -> f64 {
    (x as f32).to_string().parse().unwrap_or(x)
}

fn layers(rows: &Range<usize>, run: &Run) -> Result<Figure> {
    let caption = format!(
        "Of {} rows: how many different codes a layer has, how many rows share the most frequent one, and the same of all \
         layers up to there. As many codes as rows means that no two rows share a region.",
        rows.len()
    );
    Draft::new("layers", SECTION, "Codes layer by layer", &caption).finish(
        std::slice::from_ref(run),
        &["data/codes/distances.npy"],
        |document| {
            let layers = document["layers"].as_array().map(Vec::as_slice).unwrap_or_default();
            let fields =
                ["name", "units", "pieces", "codes", "largest", "cumulative_codes", "cumulative_largest"];
            let rows = layers.iter().map(|layer| fields.map(|field| layer[field].clone()).to_vec()).collect();
            let columns = [
                "layer",
                "units",
                "pieces of a unit",
                "codes",
                "rows that share one",
                "codes up to here",
                "rows that share one up to here",
            ];
            Ok(Drawn::Table(Table { columns: columns.map(str::to_owned).into(), rows }))
        },
    )
}

fn by_layer(names: &[&str], runs: &mut Runs, words: impl Fn(&str, &str) -> Words) -> Result<Figure> {
    let shown = &names[..names.len().min(MOST_LAYERS)];
    let (mut done, mut files, mut means) = (vec![], vec![], vec![]);
    for (number, name) in shown.iter().enumerate() {
        let file = format!("data/codes/distances-{number}.npy");
        let run = runs.run(&words(name, &file))?;
        means.push(run.result.as_ref().ok().and_then(|document| document["mean"].as_f64()).unwrap_or(0.0));
        files.push(file);
        done.push(run);
    }
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let mut caption =
        "The mean distance of these rows by the units of one layer alone: how much the layer tells them apart.".to_owned();
    if shown.len() < names.len() {
        caption += &format!(" The first {} of {} layers.", shown.len(), names.len());
    }
    Draft::new("layer-distances", SECTION, "Mean distance by layer", &caption).finish(&done, &files, |_| {
        Ok(Drawn::Bars(Bars {
            x: shown.iter().map(ToString::to_string).collect(),
            series: vec![Series { name: "mean distance".to_owned(), values: means }],
            axis: "mean distance".to_owned(),
        }))
    })
}

/// How much the templates of different outputs have in common, and how long they are.
fn templates(plan: &Plan, rows: &Range<usize>, runs: &mut Runs) -> Result<Vec<Figure>> {
    let file = "data/codes/templates.npz";
    let (k, d) = (plan.outputs.len(), plan.network.dimension());
    let count = (MOST_BYTES / (8 * k * d)).clamp(1, rows.len());
    let words = plan.of_data("templates").then(&plan.output_words()).word("--correlation");
    let words = if plan.is_piecewise_affine() { words } else { words.word("--tangent") };
    let words = words.option("--take", format!("{}..{}", rows.start, rows.start + count));
    let run = runs.run(&plan.into(words, "-o", file))?;
    let what =
        if plan.is_piecewise_affine() { "templates" } else { "tangents, since the network is smooth," };
    let names: Vec<String> = plan.outputs.iter().map(|k| format!("output {k}")).collect();
    let caption = format!(
        "The size of the cosine of the angle between the {what} of two outputs, in mean over {count} rows: 0 is orthogonal. \
         The sum over pairs of squared products (the orthogonality penalty) is in the document."
    );
    let draft = Draft::new("orthogonality", SECTION, "Correlation of templates", &caption);
    let correlation = draft.finish(std::slice::from_ref(&run), &[file], |document| {
        if k > MOST_PAIRED {
            let row = |name: &str, value: &Value| vec![json!(name), value.clone()];
            let rows = vec![row("mean size", &document["correlation"]), row("penalty", &document["penalty"])];
            return Ok(Drawn::Table(Table { columns: vec!["what".to_owned(), "number".to_owned()], rows }));
        }
        let values: Vec<f64> = read_array(&plan.file(file), Some("correlation"))?.into_iter().collect();
        let mean = |i: usize, j: usize| {
            values.chunks(k * k).map(|of| of[i * k + j].abs()).sum::<f64>() / count as f64
        };
        Ok(Drawn::Matrix(Matrix {
            rows: names.clone(),
            columns: names.clone(),
            values: (0..k).map(|i| (0..k).map(|j| mean(i, j)).collect()).collect(),
            unit: "mean |cosine|".to_owned(),
            groups: vec![],
            range: [0.0, 1.0],
        }))
    })?;
    if correlation.refused.is_some() || k > MOST_PAIRED {
        return Ok(vec![correlation]);
    }
    let caption =
        format!("The length of each output's gradient with respect to the input, in mean over {count} rows.");
    let norms =
        Draft::new("norms", SECTION, "Length of templates", &caption).finish(&[run], &[file], |_| {
            let values: Vec<f64> = read_array(&plan.file(file), Some("A"))?.into_iter().collect();
            let norm = |template: &[f64]| template.iter().map(|x| x * x).sum::<f64>().sqrt();
            let mean = |i: usize| {
                values.chunks(k * d).map(|of| norm(&of[i * d..(i + 1) * d])).sum::<f64>() / count as f64
            };
            let values = (0..k).map(mean).collect();
            let series = vec![Series { name: "mean length".to_owned(), values }];
            Ok(Drawn::Bars(Bars { x: names, series, axis: "mean length".to_owned() }))
        })?;
    Ok(vec![correlation, norms])
}
