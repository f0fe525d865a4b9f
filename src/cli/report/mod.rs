//! `fenchel report`: one page of what all other verbs say of a network.
//!
//! A report is a recipe: ordinary command lines, run in this process one after the other. What is shown beside a figure
//! is what made it.

mod approximation;
mod codes;
mod draft;
mod folder;
mod plan;
mod regions;
mod runs;
mod sheets;
mod slice;
mod words;

use std::ops::Range;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use serde_json::{Value, json};

use crate::report::page::{self, Data, Key, Model, Report, Section, Settings};
use crate::spline::CurvatureChoice;
use crate::{Error, Result};

use super::args::{self, List, Pieces, Precision, Size};
use super::recipe;
use super::session::{Session, file_name};

use folder::Folder;
use plan::Plan;
use runs::Runs;

/// Pixels along a side of a slice at most: the page holds every number behind it.
const MOST_PIXELS: usize = 1024;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fenchel report model.onnx --data x.npy -o report
  fenchel report model.onnx --data x.npy --labels y.npy --anchors 0..8000 \\
    --points 8000..10000 --pieces 100,1000,all --through 8001,8004,8010 -o report

Writes DIR/index.html, one page that holds what it shows and fetches nothing, DIR/report.json, the same for programs, and \
    DIR/data, the files of all figures. The figures are made by ordinary fenchel command lines, which are shown beside \
    them. What a network does not have, such as regions where it is smooth, is said in the figure's place. --resume goes \
    on with the sweep of an interrupted report. docs/report.md says how to read it.")]
pub(super) struct Arguments {
    #[command(flatten)]
    pub model: args::Model,
    #[command(flatten)]
    pub data: args::Data,
    #[command(flatten)]
    pub outputs: args::Outputs,

    /// Classes, one for each row of the data or one for each point, for accuracy and to sort by
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,

    /// Rows of the data to take anchors from [default: the first, up to 8000, that are for nothing else]
    #[arg(long, value_name = "RANGE", value_parser = args::range)]
    pub anchors: Option<Range<usize>>,

    /// Rows to judge on [default: the last fifth, up to 2000]
    #[arg(long, value_name = "RANGE", value_parser = args::range)]
    pub points: Option<Range<usize>>,

    /// Rows apart that choices are made on and secants estimated on [default: a tenth before the points, up to 2000]
    #[arg(long, value_name = "RANGE", value_parser = args::range)]
    pub validation: Option<Range<usize>>,

    /// Numbers of pieces, such as 100,1000,all [default: 10,30,100,300 and so on, and all]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = args::pieces, allow_negative_numbers = true)]
    pub pieces: Vec<Pieces>,

    /// Curvatures, as fenchel sweep takes them [default: 1,3,secant,auto]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = recipe::curvature, allow_hyphen_values = true)]
    pub curvature: Vec<CurvatureChoice>,

    /// How many seeds, from --seed on
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub seeds: u64,

    /// Three rows that the slice goes through; a network of two inputs is shown whole [default: points of different
    /// classes]
    #[arg(long, value_name = "I,J,K", value_delimiter = ',', value_parser = clap::value_parser!(usize))]
    pub through: Option<Vec<usize>>,

    /// Rows that the sheets show, such as 0,3..8 [default: five points of different classes]
    #[arg(long, value_name = "LIST", value_parser = args::list)]
    pub rows: Option<List>,

    /// The output whose values the slice shows [default: the largest at its first point]
    #[arg(long, value_name = "K")]
    pub show: Option<usize>,

    /// Pixels of the slice, up to 1024x1024 [default: 384x384, fewer where the network takes long]
    #[arg(long, value_name = "WIDTHxHEIGHT", value_parser = size)]
    pub size: Option<Size>,

    /// End the count of the slice's regions once there are more than so many
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub budget: u64,

    /// Go on with the sweep of an interrupted report
    #[arg(long)]
    pub resume: bool,

    /// The folder for the report
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
}

fn size(text: &str) -> Result<Size, String> {
    args::size(text).ok().filter(|size| size.width.max(size.height) <= MOST_PIXELS).ok_or_else(|| {
        format!("expected WIDTHxHEIGHT, from 1x1 to {MOST_PIXELS}x{MOST_PIXELS}, such as 512x512")
    })
}

pub(super) fn report(session: &Session, arguments: &Arguments) -> Result<()> {
    let start = Instant::now();
    let folder = Folder::check(&arguments.output)?;
    let plan = Plan::settle(session, arguments)?;
    folder.begin(&session.command)?;
    let mut runs = Runs::new(session);
    let inspected = runs.need(&plan.ended(inspect(&plan)))?;

    let sweep = approximation::figures(&plan, &mut runs)?;
    let shared = slice::Shared::make(&plan, &mut runs)?;
    let sheets = sheets::figures(&plan, &shared, &mut runs)?;
    let slice = slice::figures(&plan, &shared, &mut runs)?;
    let regions = regions::figures(&plan, &shared, &mut runs)?;
    let codes = codes::figures(&plan, &mut runs)?;
    let figures: Vec<_> = [sweep, sheets, slice, regions, codes].into_iter().flatten().collect();

    let sections = [
        ("model", "Model, data and settings"),
        ("approximation", "Error and agreement"),
        ("sheets", "Templates, slopes and anchors"),
        ("slice", "A slice of input space"),
        ("regions", "Regions"),
        ("codes", "Codes and distances"),
    ];
    let model = &arguments.model.model;
    let pair = |range: &Range<usize>| [range.start, range.end];
    let report = Report {
        fenchel: env!("CARGO_PKG_VERSION"),
        command: session.command.clone(),
        prepare: folder.prepare(),
        title: file_name(model),
        model: Model {
            file: plan::shown(model),
            bytes: std::fs::metadata(model).map_err(Error::io("read", model))?.len(),
            sha256: plan.sha256.clone(),
            document: (*inspected).clone(),
        },
        data: Data {
            file: plan::shown(&arguments.data.data),
            rows: plan.data.len(),
            shape: plan.data.row_shape().to_vec(),
            fingerprint: plan.data.fingerprint()?,
            reading: arguments.data.reading.words().text(),
            labels: arguments.labels.as_deref().map(plan::shown),
            anchors: pair(&plan.anchors),
            validation: plan.validation.as_ref().map(pair),
            points: pair(&plan.points),
        },
        device: plan.device.clone(),
        settings: Settings {
            seed: session.context.seed(),
            seeds: arguments.seeds,
            memory: session.context.memory(),
            precision: match session.precision() {
                Some(Precision::F64) => "f64",
                Some(Precision::F32) => "f32",
                None if session.precise() == "f32" => "f32, and f64 for regions",
                None => "f32, and f64 for regions and templates",
            },
            threads: rayon::current_num_threads(),
        },
        seconds: start.elapsed().as_secs_f64(),
        summary: summary(&figures),
        sections: sections.map(|(id, title)| Section { id, title }).into(),
        figures,
    };
    let bytes = page::write(&report, &arguments.output)?;
    let refused = report.figures.iter().filter(|figure| figure.refused.is_some()).count();
    let document = json!({
        "page": plan::shown(&arguments.output.join("index.html")),
        "bytes": bytes,
        "figures": report.figures.len() - refused,
        "refused": refused,
        "seconds": report.seconds,
        "device": report.device,
    });
    session.print(&document, || {
        format!(
            "{} figures{}, {:.1} s on {}\n'{}': index.html ({:.1} MB, to be read by itself), report.json, data\n",
            report.figures.len() - refused,
            if refused == 0 { String::new() } else { format!(", {refused} that this network does not have") },
            report.seconds,
            report.device,
            arguments.output.display(),
            bytes as f64 / 1e6
        )
    })
}

/// All inputs and outputs, where the user did not cut the network.
fn inspect(plan: &Plan) -> words::Words {
    plan.of_model("inspect")
}

/// The few numbers that come first, out of the figures.
fn summary(figures: &[page::Figure]) -> Vec<Key> {
    let document = |id: &str| {
        figures.iter().find(|figure| figure.id == id && figure.refused.is_none())?.document.as_ref()
    };
    let mut keys = document("sweep").map(approximation::keys).unwrap_or_default();
    let mut add = |figure: &'static str, field: &str, label, note: &dyn Fn(&Value) -> String| {
        if let Some(document) = document(figure)
            && !document[field].is_null()
        {
            let value = document[field].clone();
            keys.push(Key { label, value, unit: None, note: note(document), figure });
        }
    };
    add("regions", "count", "Regions on the slice", &|document| match document["label"].as_str() {
        Some("capped") => "more than this: the count was capped".to_owned(),
        label => label.unwrap_or_default().to_owned(),
    });
    add("distances", "mean", "Distance of codes", &|document| {
        format!("mean of {} rows with each other; 0 is the same region", document["samples"])
    });
    add("orthogonality", "correlation", "Correlation of templates", &|_| {
        "mean size of the cosine of the templates of two outputs".to_owned()
    });
    keys
}
