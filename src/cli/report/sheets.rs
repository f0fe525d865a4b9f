//! What the network and its spline look at: sheets of images, or tables of slopes where inputs are no images.

use std::collections::BTreeSet;

use crate::Result;
use crate::data::read_array;
use crate::report::page::{Drawn, Figure, Image, Matrix};

use super::draft::Draft;
use super::plan::Plan;
use super::runs::Runs;
use super::slice::Shared;
use super::words::{Words, list};

/// Inputs of fewer elements are no images.
const LEAST_PIXELS: usize = 36;

const SECTION: &str = "sheets";

pub(super) fn figures(plan: &Plan, shared: &Shared, runs: &mut Runs) -> Result<Vec<Figure>> {
    if plan.network.dimension() < LEAST_PIXELS {
        return Ok(vec![slopes(plan, runs)?]);
    }
    let exact = if plan.is_piecewise_affine() {
        "The network is piecewise affine: this is its slope in the whole region of the image, exactly."
    } else {
        "The network is smooth: this is its tangent at the image, which holds at that point alone."
    };
    let templates = format!(
        "The gradient of each output with respect to the input, at the images on the left; blue is negative, red positive. {exact}"
    );
    let contributions =
        "Gradient times image, element by element: what each input adds to each output, but for the offset.";
    let slopes = "The slopes of the spline's pieces that are active at the images on the left, and of the spline, in which \
                  what bends the halves cancels. Each has its own colours, with the ends below it.";
    let anchors = "The rows of the data whose tangents are the spline's active pieces: what the spline compares each image with.";
    let sheets = [
        ("sheet-templates", "templates", "Templates of the network", templates.as_str()),
        ("sheet-contributions", "contributions", "Contributions of inputs", contributions),
        ("sheet-slopes", "slopes", "Slopes of the spline", slopes),
        ("sheet-anchors", "anchors", "Anchors of the active pieces", anchors),
    ];
    let mut figures = vec![];
    for (id, what, title, caption) in sheets {
        let of_spline = matches!(what, "slopes" | "anchors");
        let words = if of_spline {
            let words =
                Words::verb("sheet").word(plan.file("data/spline.safetensors")).then(&plan.data_words());
            let words = words.maybe("--outputs", of_classes(plan));
            if what == "slopes" { words.option("--colours", "own") } else { words }
        } else {
            plan.of_data("sheet").then(&plan.output_words())
        };
        let [png, npy] = ["png", "npy"].map(|kind| format!("data/sheets/{what}.{kind}"));
        let words = words.option("--what", what).option("--rows", list(&plan.rows));
        let words = words.path("-o", &plan.file(&png));
        let run = runs.run(&plan.into(words, "--npy", &npy))?;
        let mut all = if of_spline { vec![shared.fit.clone()] } else { vec![] };
        all.push(run);
        let names: Vec<String> = plan.rows.iter().map(|&row| plan.named(row)).collect();
        let caption = format!("{caption} Rows, from above: {}.", names.join("; "));
        let mut files = vec![png.as_str(), &npy];
        if of_spline {
            files.push("data/spline.safetensors");
        }
        let draft = Draft::new(id, SECTION, title, &caption);
        figures.push(draft.finish(&all, &files, |_| {
            let alt = format!("{title} at rows {}", list(&plan.rows));
            Ok(Drawn::Image(Image { image: png.clone(), alt }))
        })?);
    }
    Ok(figures)
}

/// The outputs that are the classes of the slice's rows, as the spline numbers them: all would make a sheet wider than
/// a page.
fn of_classes(plan: &Plan) -> Option<String> {
    let classes: BTreeSet<usize> = plan.through.iter().filter_map(|&row| plan.class(row)).collect();
    let positions = classes.iter().filter_map(|class| plan.outputs.iter().position(|output| output == class));
    let positions: Vec<usize> = positions.collect();
    (!positions.is_empty()).then(|| list(&positions))
}

/// The slopes of few inputs as numbers.
fn slopes(plan: &Plan, runs: &mut Runs) -> Result<Figure> {
    // A run of rows, since templates takes no list.
    let rows = plan.points.start..plan.points.end.min(plan.points.start + 4);
    let words = plan.of_data("templates").then(&plan.output_words());
    let words = words.option("--take", format!("{}..{}", rows.start, rows.end));
    let words = if plan.is_piecewise_affine() { words } else { words.word("--tangent") };
    let run = runs.run(&plan.into(words, "-o", "data/sheets/slopes.npz"))?;
    let caption = if plan.is_piecewise_affine() {
        "The slope of each output along each input, in the region of each row: exact, since the network is piecewise affine."
    } else {
        "The slope of each output along each input at each row: a tangent, since the network is smooth."
    };
    let draft = Draft::new("slopes", SECTION, "Slopes of the network", caption);
    draft.finish(&[run], &["data/sheets/slopes.npz"], |_| {
        let a = read_array(&plan.file("data/sheets/slopes.npz"), Some("A"))?;
        let (k, d) = (plan.outputs.len(), plan.network.dimension());
        let values: Vec<f64> = a.into_iter().collect();
        let largest = values.iter().fold(0.0_f64, |largest, x| largest.max(x.abs()));
        let names = rows.clone().flat_map(|row| plan.outputs.iter().map(move |k| (row, k)));
        Ok(Drawn::Matrix(Matrix {
            rows: names.map(|(row, k)| format!("row {row}, output {k}")).collect(),
            columns: (0..d).map(|i| format!("input {i}")).collect(),
            values: values.chunks(d).map(<[f64]>::to_vec).collect(),
            unit: "slope".to_owned(),
            groups: rows.flat_map(|row| std::iter::repeat_n(format!("row {row}"), k)).collect(),
            range: [-largest, largest],
        }))
    })
}
