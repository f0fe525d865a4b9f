//! `fenchel reduce` and `fenchel compare`: networks with few affine maps, and those of one network from another's.

use std::fmt::Write as _;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Instant;

use clap::{Args, ValueEnum};
use serde_json::json;

use crate::data::{Dataset, write_whole};
use crate::engine::{Cpu, SplineEngine};
use crate::network::Network;
use crate::regions::{self, Grouping, Reductions, Settings};
use crate::{Error, Result};

use super::args;
use super::session::{Job, Session, labels, take};

/// What both take data from.
#[derive(Debug, Args)]
pub(super) struct Split {
    #[command(flatten)]
    pub data: args::Data,

    /// Classes of the rows, or of the points: for accuracy
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,

    /// Rows of the data to take affine maps from [default: the first nine tenths; all with --points-data]
    #[arg(long, value_name = "RANGE", value_parser = args::range)]
    pub anchors: Option<Range<usize>>,

    /// Rows to judge on, of --points-data where given, else of the data [default: all that come behind the anchors]
    #[arg(long, value_name = "RANGE", value_parser = args::range)]
    pub points: Option<Range<usize>>,

    /// Other data to judge on
    #[arg(long, value_name = "FILE")]
    pub points_data: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fenchel reduce model.onnx --data x.npy --labels y.npy --clusters 1,10,100 -o r.json

On its region a piecewise affine network is affine: each output has a row (gradient, offset) at each point. The rows at \
    anchors are clustered by k-means, for each output those at all anchors, or for each class of the network those of all \
    outputs together at the anchors in it, and the mean of a cluster takes the place of a point's own rows: 'own' takes the \
    mean nearest to the point's own rows, as published (Sattelberg et al. 2020), which needs the network; \
    'nearest' that of the nearest anchor; 'envelope' those of the anchors that are active in the spline of all anchors. Of \
    a smooth network the rows are its tangents.")]
pub(super) struct Reduce {
    #[command(flatten)]
    pub model: args::Model,
    #[command(flatten)]
    pub split: Split,

    /// Numbers of affine maps for each output or class
    #[arg(long, value_name = "LIST", default_value = "1,10,100", value_delimiter = ',')]
    pub clusters: Vec<usize>,

    /// What is clustered together: the rows of each output, or the whole maps of each class
    #[arg(long, value_name = "LIST", default_value = "output,class", value_delimiter = ',')]
    pub per: Vec<Per>,

    /// Curvature of the spline whose active anchors 'envelope' takes
    #[arg(long, value_name = "C", default_value_t = 3.0, allow_negative_numbers = true)]
    pub curvature: f64,

    /// Where the table goes, as JSON
    #[arg(short, long, value_name = "R.json")]
    pub output: PathBuf,
}

/// What is clustered together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Per {
    /// For each output its rows at all anchors
    Output,
    /// For each class of the network the rows of all outputs together
    Class,
}

impl Per {
    fn grouping(self) -> Grouping {
        match self {
            Self::Output => Grouping::Output,
            Self::Class => Grouping::Class,
        }
    }
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fenchel compare a.onnx b.onnx --data x.npy --labels y.npy -o c.json

For each output, the affine rows (gradient, offset) of the second network are regressed on those of the first at the \
    anchors; at the points the predicted rows take the place of the second network's own (Sattelberg et al. 2020). Printed \
    are accuracies, the share of variance that the regression explains at anchors and points, and the linear centred kernel \
    alignment of both networks' rows (Kornblith et al. 2019). Computes in f64 on the CPU.")]
pub(super) struct Compare {
    #[command(flatten)]
    pub model: args::Model,

    /// The other network, an ONNX file; the same cut applies
    pub other: PathBuf,

    #[command(flatten)]
    pub split: Split,

    /// Added to the diagonal of the regression, times the mean square of the first network's rows
    #[arg(long, value_name = "R", default_value_t = 1e-3, allow_negative_numbers = true)]
    pub ridge: f64,

    /// Where the result goes, as JSON
    #[arg(short, long, value_name = "C.json")]
    pub output: PathBuf,
}

/// Data in two parts.
struct Parts {
    anchors: Dataset,
    points: Dataset,
    labels: Option<Vec<u32>>,
}

impl Split {
    fn open(&self, dimension: usize) -> Result<Parts> {
        let data = self.data.open()?;
        data.check_rows(dimension)?;
        let other = self.points_data.as_ref().map(|path| Dataset::open(path, &self.data.reading.options()));
        let other = other.transpose()?;
        let tenth = data.len().div_ceil(10);
        let first = if other.is_some() { 0..data.len() } else { 0..(data.len() - tenth).max(1) };
        let anchors = take(&data, Some(self.anchors.as_ref().unwrap_or(&first)), "--anchors")?;
        let judged = other.as_ref().unwrap_or(&data);
        judged.check_rows(dimension)?;
        let behind = if other.is_some() { 0 } else { anchors.end };
        let points = self.points.clone().unwrap_or(behind..judged.len());
        let points = take(judged, Some(&points), "--points")?;
        if points.is_empty() || anchors.is_empty() {
            let reason = "no row is left to judge on: choose --anchors and --points, or --points-data";
            return Err(Error::Argument(reason.to_owned()));
        }
        let labels = self.labels.as_ref().map(|path| labels(path, judged.len(), &points)).transpose()?;
        Ok(Parts { anchors: data.select_range(anchors)?, points: judged.select_range(points)?, labels })
    }
}

pub(super) fn reduce(session: &Session, arguments: &Reduce) -> Result<()> {
    if !(arguments.curvature.is_finite() && arguments.curvature >= 0.0) {
        return Err(Error::Argument(format!(
            "a curvature must be finite and at least 0, not {}",
            arguments.curvature
        )));
    }
    let network = arguments.model.load()?.network;
    let parts = arguments.split.open(network.dimension())?;
    session.on_engine("f32", Reducing { session, arguments, network: &network, parts })
}

struct Reducing<'a> {
    session: &'a Session,
    arguments: &'a Reduce,
    network: &'a Network,
    parts: Parts,
}

impl Job for Reducing<'_> {
    type Output = ();

    fn run<E: SplineEngine>(self, engine: E) -> Result<()> {
        let Self { session, arguments, network, parts: Parts { anchors, points, labels } } = self;
        let program = network.compile(&engine)?;
        let settings = Settings {
            groupings: arguments.per.iter().map(|per| per.grouping()).collect(),
            clusters: arguments.clusters.clone(),
            curvature: arguments.curvature,
        };
        let found =
            regions::reduce(&program, &anchors, &points, labels.as_deref(), &settings, &session.context)?;
        let Reductions { accuracy, rows, seconds } = &found;
        let document = json!({
            "kind": network.kind(),
            "accuracy": accuracy,
            "rows": rows,
            "anchors": anchors.len(),
            "points": points.len(),
            "outputs": program.outputs(),
            "curvature": settings.curvature,
            "seed": session.context.seed(),
            "seconds": seconds,
            "device": engine.describe(),
        });
        write_json(&arguments.output, &document)?;
        session.print(&document, || {
            let percent =
                |share: Option<f64>| share.map_or_else(String::new, |s| format!("{:.2} %", 100.0 * s));
            let mut text = format!(
                "{} network at {} points, maps from {} anchors, {seconds:.2} s on {}\n",
                network.kind(),
                points.len(),
                anchors.len(),
                engine.describe()
            );
            if accuracy.is_some() {
                let _ = writeln!(text, "accuracy of the network {}", percent(*accuracy));
            }
            let _ = writeln!(text, "\n| per | maps | assignment | accuracy | agreement | relative error |");
            let _ = writeln!(text, "|---|---:|---|---:|---:|---:|");
            for row in rows {
                let _ = writeln!(
                    text,
                    "| {} | {} | {} | {} | {} | {:.4} |",
                    format!("{:?}", row.grouping).to_lowercase(),
                    row.clusters,
                    format!("{:?}", row.assignment).to_lowercase(),
                    percent(row.accuracy),
                    percent(Some(row.agreement)),
                    row.relative_rmse
                );
            }
            text
        })
    }
}

pub(super) fn compare(session: &Session, arguments: &Compare) -> Result<()> {
    let first = arguments.model.load()?.network;
    let part = arguments.model.part.clone();
    let second = args::Model { model: arguments.other.clone(), part }.load()?.network;
    let parts = arguments.split.open(first.dimension())?;
    let Parts { anchors, points, labels } = &parts;
    let start = Instant::now();
    let engine = Cpu::<f64>::new();
    let programs = [first.compile(&engine)?, second.compile(&engine)?];
    let found = regions::compare(
        [&programs[0], &programs[1]],
        anchors,
        points,
        labels.as_deref(),
        arguments.ridge,
        &session.context,
    )?;
    let mut document = serde_json::to_value(&found).map_err(|e| Error::Argument(e.to_string()))?;
    document["anchors"] = json!(anchors.len());
    document["points"] = json!(points.len());
    document["ridge"] = json!(arguments.ridge);
    document["seconds"] = json!(start.elapsed().as_secs_f64());
    write_json(&arguments.output, &document)?;
    session.print(&document, || {
        let percent = |share: f64| format!("{:.2} %", 100.0 * share);
        let mut text = format!("the networks agree at {} of {} points\n", percent(found.agreement), points.len());
        if let (Some([a, b]), Some(substituted)) = (found.accuracy, found.substituted_accuracy) {
            let _ = writeln!(
                text,
                "accuracy of the first {}, of the second {}, of the second with rows predicted from the first's {}",
                percent(a),
                percent(b),
                percent(substituted)
            );
        }
        let _ = writeln!(
            text,
            "the second and these predicted rows agree at {}\n\n\
             | output | explained at anchors | at points | alignment |\n|---:|---:|---:|---:|",
            percent(found.substituted_agreement)
        );
        for (k, output) in found.outputs.iter().enumerate() {
            let [fitted, judged] = output.explained;
            let _ = writeln!(text, "| {k} | {fitted:.4} | {judged:.4} | {:.4} |", output.alignment);
        }
        text
    })
}

fn write_json(path: &std::path::Path, document: &serde_json::Value) -> Result<()> {
    let text = serde_json::to_string_pretty(document).map_err(|e| Error::Argument(e.to_string()))?;
    write_whole(path, (text + "\n").as_bytes())
}
