//! A plane of input space, layer over layer: the network, its regions, a spline of it and the error bars.

use std::rc::Rc;

use serde_json::Value;

use crate::data::Dataset;
use crate::render::read_plane;
use crate::report::page::{Drawn, Figure, Layer, Mark, Missing, Slice};
use crate::{Error, Result};

use super::approximation;
use super::draft::Draft;
use super::plan::Plan;
use super::runs::{Run, Runs};
use super::words::{Words, list};

/// Regions up to which pictures are drawn from the exact partition.
const MOST_EXACT: u64 = 100_000;

const PLANE: &str = "data/plane.npz";
const SPLINE: &str = "data/spline.safetensors";

/// What several figures need.
pub(super) struct Shared {
    pub plane: Run,
    pub fit: Run,
    pub count: Run,
}

impl Shared {
    pub(super) fn make(plan: &Plan, runs: &mut Runs) -> Result<Self> {
        let words = plan.of_data("plane");
        let words = if plan.network.dimension() == 2 && plan.arguments.through.is_none() {
            words.word("--domain")
        } else {
            words.option("--through", list(&plan.through))
        };
        let plane = runs.run(&plan.into(words, "-o", PLANE))?;
        let fit = runs.run(&approximation::fit(plan))?;
        let words = plan.of_model("partition").path("--plane", &plan.file(PLANE)).word("--count");
        let words =
            plan.into(words.option("--budget", plan.arguments.budget), "-o", "data/regions/count.json");
        // Without a plane there is none to count on, and the reason is the plane's.
        let count = if plane.result.is_ok() { runs.run(&words)? } else { plane.clone() };
        Ok(Self { plane, fit, count })
    }

    /// Whether the exact partition is small enough to draw from.
    fn is_exact(&self) -> bool {
        self.count.result.as_ref().is_ok_and(|count| {
            count["label"] == "exact" && count["count"].as_u64().is_some_and(|count| count <= MOST_EXACT)
        })
    }
}

/// A layer to be drawn.
struct Wanted {
    what: &'static str,
    title: String,
    group: &'static str,
    /// What of it `--outputs` chooses.
    outputs: Words,
    of_spline: bool,
    is_exact: bool,
}

pub(super) fn figures(plan: &Plan, shared: &Shared, runs: &mut Runs) -> Result<Vec<Figure>> {
    let mut done = vec![shared.plane.clone(), shared.fit.clone()];
    let title = if plan.network.dimension() == 2 && plan.arguments.through.is_none() {
        "The plane of both inputs".to_owned()
    } else {
        format!("The plane through rows {}", plan.through.map(|row| row.to_string()).join(", "))
    };
    let caption = caption(plan, shared);
    let draft = Draft { id: "slice", section: "slice", title, caption };
    if shared.plane.result.is_err() {
        return Ok(vec![draft.finish(&done, &[], |_| Ok(Drawn::Refused))?]);
    }
    let (mut layers, mut missing) = (vec![], vec![]);
    for wanted in wanted(plan, shared) {
        let title = wanted.title.clone();
        let (layer, run) = draw(plan, runs, wanted)?;
        match layer {
            Ok(layer) => layers.push(layer),
            Err(refused) => missing.push(Missing { title, refused }),
        }
        if run.result.is_ok() {
            done.push(run);
        }
    }
    let spline = shared.fit.result.is_ok().then(|| SPLINE.to_owned());
    let of_layers = layers.iter().flat_map(|layer: &Layer| [&layer.png, &layer.npy, &layer.legend]).cloned();
    let files: Vec<String> = std::iter::once(PLANE.to_owned()).chain(spline).chain(of_layers).collect();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let done: Vec<Run> = done.into_iter().filter(|run| run.result.is_ok()).collect();
    let size = [plan.size.width, plan.size.height];
    let slice = Slice { size, output: plan.output, marks: marks(plan)?, layers, missing };
    let mut figure = draft.finish(&done, &files, |_| Ok(Drawn::Slice(slice)))?;
    // Each layer has its own.
    figure.document = None;
    Ok(vec![figure])
}

fn wanted(plan: &Plan, shared: &Shared) -> Vec<Wanted> {
    let (k, exact) = (plan.output, shared.is_exact());
    let several = plan.outputs.len() > 1;
    let one = Words::none().maybe("--outputs", (plan.network.output_len() > 1).then_some(k));
    // A spline numbers the outputs that it was fitted to.
    let position = plan.outputs.iter().position(|&output| output == k);
    let one_of_spline = Words::none().maybe("--outputs", position.filter(|_| several));
    let suffix = if several { format!(", output {k}") } else { String::new() };
    let mut all = vec![];
    let mut add = |what, title: String, group, outputs: &Words, of_spline, is_exact| {
        all.push(Wanted { what, title, group, outputs: outputs.clone(), of_spline, is_exact });
    };
    add("value", format!("Network{suffix}"), "network", &one, false, exact);
    if several {
        add("class", "Class".to_owned(), "network", &plan.output_words(), false, exact);
        add(
            "margin",
            "Margin to the second largest output".to_owned(),
            "network",
            &plan.output_words(),
            false,
            exact,
        );
    }
    let regions = if exact { "Regions (exact)" } else { "Regions (visited)" };
    add("region", regions.to_owned(), "regions", &Words::none(), false, exact);
    add("density", "Density of region boundaries".to_owned(), "regions", &Words::none(), false, false);
    for (what, title, group) in [
        ("value", format!("Spline{suffix}"), "spline"),
        ("error", format!("Spline less network{suffix}"), "spline"),
        ("convex-piece", format!("Active convex piece{suffix}"), "spline"),
        ("concave-piece", format!("Active concave piece{suffix}"), "spline"),
        ("lower", format!("Lower bound{suffix}"), "certificate"),
        ("upper", format!("Upper bound{suffix}"), "certificate"),
        ("half-width", format!("Half-width of the error bar{suffix}"), "certificate"),
    ] {
        if shared.fit.result.is_ok() {
            add(what, title, group, &one_of_spline, true, false);
        }
    }
    all
}

/// Draws a layer; from the passes of the network where the exact partition takes too much memory.
fn draw(plan: &Plan, runs: &mut Runs, wanted: Wanted) -> Result<(Result<Layer, String>, Run)> {
    let Wanted { what, title, group, outputs, of_spline, is_exact } = wanted;
    let id = if of_spline { format!("spline-{what}") } else { what.to_owned() };
    let [png, npy, legend] = [".png", ".npy", "-legend.svg"].map(|ending| format!("data/slice/{id}{ending}"));
    let words = |is_exact: bool| {
        let words = plan.of_model("render");
        let words = if of_spline { words.path("--spline", &plan.file(SPLINE)) } else { words };
        let words = words.path("--plane", &plan.file(PLANE)).option("--what", what).then(&outputs);
        let words = if is_exact { words.word("--exact") } else { words };
        let words = words
            .option("--size", format!("{}x{}", plan.size.width, plan.size.height))
            .option("--antialias", 1)
            .path("-o", &plan.file(&png))
            .path("--npy", &plan.file(&npy));
        plan.into(words, "--legend", &legend)
    };
    let mut run = runs.run(&words(is_exact))?;
    let mut title = title;
    if is_exact && run.result.is_err() {
        run = runs.run(&words(false))?;
        title = title.replace("(exact)", "(visited)");
    }
    let layer = run.result.clone().map(|document: Rc<Value>| Layer {
        id,
        title,
        group,
        what,
        element: if matches!(what, "class" | "region" | "convex-piece" | "concave-piece") {
            "u32"
        } else {
            "f32"
        },
        png,
        npy,
        legend,
        command: run.command.clone(),
        document: (*document).clone(),
    });
    Ok((layer, run))
}

/// The rows that lie in the plane.
fn marks(plan: &Plan) -> Result<Vec<Mark>> {
    let plane = read_plane(&plan.file(PLANE))?;
    let data: &Dataset = &plan.data;
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let mark = |&row: &usize| {
        let point: Vec<f64> = data.gather::<f64>(&[row])?.into_iter().collect();
        let offset: Vec<f64> = point.iter().zip(&plane.origin).map(|(x, o)| x - o).collect();
        // Both directions are orthogonal.
        let along = |direction: &[f64]| dot(&offset, direction) / dot(direction, direction);
        Ok::<Mark, Error>(Mark { row, s: along(&plane.u), t: along(&plane.v), label: plan.named(row) })
    };
    plan.through.iter().map(mark).collect()
}

fn caption(plan: &Plan, shared: &Shared) -> String {
    let mut text = String::from(
        "s runs to the right and t upwards, both from -1 to 1; distances and angles are those of input space. ",
    );
    if plan.network.dimension() == 2 && plan.arguments.through.is_none() {
        text = "s is the first input and t the second, over all rows and a margin. ".to_owned();
    }
    if shared.is_exact() {
        text += "Values, classes, margins and regions of the network are drawn from the exact partition of the plane, \
                 computed in f64. ";
    } else if plan.is_piecewise_affine() {
        text += "Regions are those visited: two pixels have the same colour where all units are on the same pieces, and what \
                 lies between pixels is not seen. ";
    }
    if let Ok(fit) = &shared.fit.result {
        let bars = match fit["certificate_label"].as_str() {
            Some("tested") => "holds over tested pairs: an estimate, not a proof",
            Some("proved") => "is proved",
            _ => "was given and not tested",
        };
        text += &format!(
            "The spline has {} pieces in each half at curvature {}; its error bars are of curvature {}, which {bars}.",
            fit["pieces"],
            rounded(&fit["curvature"]),
            rounded(&fit["certificate_curvature"])
        );
    }
    text
}

/// A number for running text.
fn rounded(number: &Value) -> String {
    number.as_f64().map_or_else(String::new, |number| format!("{number:.4}"))
}
