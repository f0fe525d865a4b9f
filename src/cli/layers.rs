//! `fenchel layers`: activations as splines, and how far the network is from itself with them.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use serde::Serialize;

use crate::data::{Dataset, write_whole};
use crate::engine::SplineEngine;
use crate::maso::{Layer, Layers, SplinedActivation};
use crate::network::Kind;
use crate::network::onnx::{self, LoadOptions};
use crate::report::{self, LayerRow, LayerSweep};
use crate::{Error, Result};

use super::args;
use super::session::{Job, Loaded, Session, file_name, labels, take};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fenchel layers model.onnx --data x.npy --take 0..8000 --points 8000..10000 \\
    --pieces 8,16,32,64 --save -o layers

Every smooth activation is split at its inflections into a convex and a concave part, and each part becomes a \
    spline of that many pieces, placed for the least maximum error on the range that the data visits. Writes rows.csv, \
    rows.json, error.svg, a picture of each of the first 16 activations at the fewest pieces, and with --save the \
    splined networks, splined-8.onnx and so on.")]
pub(super) struct Arguments {
    #[command(flatten)]
    pub model: args::Model,
    #[command(flatten)]
    pub data: args::Data,
    #[command(flatten)]
    pub outputs: args::Outputs,

    /// Rows of the data that the ranges of activations are taken from [default: all]
    #[arg(long, value_name = "RANGE", value_parser = args::range)]
    pub take: Option<Range<usize>>,

    /// Numbers of pieces of each part
    #[arg(long, value_name = "LIST", default_value = "8,16,32,64", value_delimiter = ',', value_parser = few, allow_negative_numbers = true)]
    pub pieces: Vec<usize>,

    /// Rows to judge on, of --points-data where given, else of the data [default: all]
    #[arg(long, value_name = "RANGE", value_parser = args::range)]
    pub points: Option<Range<usize>>,

    /// Other data to judge on
    #[arg(long, value_name = "FILE")]
    pub points_data: Option<PathBuf>,

    /// Classes of the points, for accuracy
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,

    /// Write the splined networks too, the model's own file with other nodes in the place of its activations
    #[arg(long, conflicts_with_all = ["node", "from", "fix"])]
    pub save: bool,

    /// The folder for the results
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
}

pub(super) fn few(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=4096).contains(number));
    number.ok_or_else(|| "expected a number from 1 to 4096".to_owned())
}

/// Pictures of activations at most.
const MOST_PICTURES: usize = 16;

pub(super) fn layers(session: &Session, arguments: &Arguments) -> Result<()> {
    let loaded = arguments.model.load()?;
    let data = arguments.data.open()?;
    if arguments.output.exists() && !arguments.output.is_dir() {
        return Err(Error::file(&arguments.output, "is no folder; the results need one"));
    }
    let document = session.on_engine("f32", Measure { session, arguments, loaded, data })?;
    session.print(&document, || text(&document, &arguments.output))
}

struct Measure<'a> {
    session: &'a Session,
    arguments: &'a Arguments,
    loaded: Loaded,
    data: Dataset,
}

#[derive(Serialize)]
struct Document {
    rows: Vec<LayerRow>,
    /// The layer with the largest error alone, at each number of pieces.
    dominant: Vec<Dominant>,
    /// Of the network itself.
    accuracy: Option<f64>,
    /// Of the splined network.
    kind: Kind,
    /// Nodes that stay smooth.
    smooth: Vec<String>,
    files: Vec<String>,
    seconds: f64,
    device: String,
}

#[derive(Serialize)]
struct Dominant {
    pieces: usize,
    layer: String,
    relative_rmse: f64,
}

impl Job for Measure<'_> {
    type Output = Document;

    fn run<E: SplineEngine>(self, engine: E) -> Result<Document> {
        let Self { session, arguments, loaded, data } = self;
        let (context, start) = (&session.context, Instant::now());
        let taken = data.select_range(take(&data, arguments.take.as_ref(), "--take")?)?;
        let options = arguments.data.reading.options();
        let other = arguments.points_data.as_ref().map(|path| Dataset::open(path, &options)).transpose()?;
        let judged = other.as_ref().unwrap_or(&data);
        let point_rows = take(judged, arguments.points.as_ref(), "--points")?;
        let points = judged.select_range(point_rows.clone())?;
        let labels =
            arguments.labels.as_ref().map(|path| labels(path, judged.len(), &point_rows)).transpose()?;
        taken.check_rows(loaded.network.dimension())?;
        points.check_rows(loaded.network.dimension())?;
        let outputs = arguments.outputs.choose(loaded.network.output_len())?;
        let mut pieces = arguments.pieces.clone();
        pieces.sort_unstable();
        pieces.dedup();

        let layers = Layers::measure(&loaded.network, &engine, &taken, context)?;
        let splines: Vec<Vec<SplinedActivation>> =
            pieces.iter().map(|&pieces| layers.splines(pieces)).collect::<Result<_>>()?;
        let writer = arguments.save.then(|| Writer::new(arguments, &loaded, &layers)).transpose()?;
        if let Some(writer) = &writer {
            // What cannot be saved is refused before anything is measured.
            writer.file(&splines[0])?;
        }
        let sweep = LayerSweep {
            engine: &engine,
            layers: &layers,
            outputs: &outputs,
            points: &points,
            labels: labels.as_deref(),
        };
        let passes = 1 + pieces.len() * (layers.layers.len() + 1);
        context.progress().start("points", (points.len() * passes) as u64);
        let truth = sweep.truth(context)?;
        let mut rows = vec![];
        for (&pieces, splines) in pieces.iter().zip(&splines) {
            rows.extend(sweep.rows(pieces, splines, &truth, context)?);
        }
        context.progress().finish();

        let folder = &arguments.output;
        fs::create_dir_all(folder).map_err(Error::io("create folder", folder))?;
        let mut files = vec![];
        let mut write = |name: &str, bytes: &[u8]| {
            files.push(name.to_owned());
            write_whole(&folder.join(name), bytes)
        };
        let title = file_name(&arguments.model.model);
        for (name, svg) in pictures(&layers.layers, &splines[0], pieces[0])? {
            write(&name, svg.as_bytes())?;
        }
        if let Some(writer) = &writer {
            for (pieces, splines) in pieces.iter().zip(&splines) {
                write(&format!("splined-{pieces}.onnx"), &writer.file(splines)?)?;
            }
        }
        write("error.svg", report::layers_svg(&rows, &title)?.as_bytes())?;
        write("rows.csv", report::layers_csv(&rows).as_bytes())?;
        let json = serde_json::to_vec_pretty(&serde_json::json!({ "rows": rows }));
        write("rows.json", &json.map_err(|e| Error::file(folder, e.to_string()))?)?;
        let dominant = report::dominant(&rows).into_iter().map(|row| Dominant {
            pieces: row.pieces,
            layer: row.layer.clone(),
            relative_rmse: row.relative_rmse,
        });
        Ok(Document {
            dominant: dominant.collect(),
            rows,
            accuracy: truth.accuracy,
            kind: layers.splined(&splines[0])?.kind(),
            smooth: layers.smooth(),
            files,
            seconds: start.elapsed().as_secs_f64(),
            device: engine.describe(),
        })
    }
}

/// The pictures of the first activations, by the names of their files.
fn pictures(layers: &[Layer], splines: &[SplinedActivation], pieces: usize) -> Result<Vec<(String, String)>> {
    let mut names = HashSet::new();
    let picture = |(layer, spline): (&Layer, &SplinedActivation)| {
        let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
        let mut name: String = layer.name.chars().map(plain).take(100).collect();
        while !names.insert(name.to_lowercase()) {
            name.push('_');
        }
        let [low, high] = layer.range.map(|end| format!("{end:.3}"));
        let s = if pieces == 1 { "" } else { "s" };
        let title = format!(
            "{} ({}) on {low} .. {high}, {pieces} piece{s} of each part",
            layer.name,
            layer.activation.name()
        );
        Ok((format!("activation-{name}.svg"), report::activation_svg(spline, &title)?))
    };
    layers.iter().zip(splines).take(MOST_PICTURES).map(picture).collect()
}

/// Makes ONNX files of the user's own.
struct Writer<'a> {
    loaded: &'a Loaded,
    layers: &'a Layers,
    bytes: Vec<u8>,
    folder: &'a Path,
    options: LoadOptions,
}

impl<'a> Writer<'a> {
    fn new(arguments: &'a Arguments, loaded: &'a Loaded, layers: &'a Layers) -> Result<Self> {
        let path = &arguments.model.model;
        let bytes = fs::read(path).map_err(Error::io("read", path))?;
        let options = LoadOptions { logits: arguments.model.part.logits };
        let writer = Self { loaded, layers, bytes, folder: &arguments.output, options };
        let beside = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let same = match (fs::canonicalize(beside), fs::canonicalize(writer.folder)) {
            (Ok(model), Ok(output)) => model == output,
            _ => false,
        };
        if !same && onnx::has_external_weights(&writer.bytes)? {
            return Err(Error::file(
                path,
                format!(
                    "has weights in files of their own, which the saved network would look for beside it: use -o {}",
                    beside.display()
                ),
            ));
        }
        Ok(writer)
    }

    /// The file with these splines.
    fn file(&self, splines: &[SplinedActivation]) -> Result<Vec<u8>> {
        let Self { loaded, layers, bytes, folder, options } = self;
        let node = |i: usize| &layers.network.nodes()[i];
        let splined = layers.layers.iter().zip(splines).map(|(layer, spline)| onnx::SplinedNode {
            value: node(layer.node).value(),
            input: node(node(layer.node).inputs()[0]).value(),
            convex: spline.convex.pieces(),
            concave: spline.concave.pieces(),
        });
        let file = onnx::with_splines(bytes, &loaded.model.network, &splined.collect::<Vec<_>>())?;
        // What is written can be read again.
        onnx::from_bytes(&file, Some(folder), options)?;
        Ok(file)
    }
}

fn text(document: &Document, folder: &Path) -> String {
    let mut text = report::layers_markdown(&document.rows);
    text.push('\n');
    for Dominant { pieces, layer, relative_rmse } in &document.dominant {
        let all = document.rows.iter().find(|row| row.pieces == *pieces && row.is_of_all());
        let all = all.map_or(0.0, |row| row.relative_rmse);
        let s = if *pieces == 1 { "" } else { "s" };
        let _ = writeln!(
            text,
            "at {pieces} piece{s} {layer} dominates: {relative_rmse:.2e} alone, {all:.2e} for all layers"
        );
    }
    if let Some(accuracy) = document.accuracy {
        let _ = writeln!(text, "accuracy of the network itself: {:.2} %", 100.0 * accuracy);
    }
    match &document.smooth[..] {
        [] => {
            let _ = writeln!(text, "the splined network is {}", document.kind);
        }
        smooth => {
            let shown = smooth.iter().take(8).map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
            let more =
                if smooth.len() > 8 { format!(" and {} more", smooth.len() - 8) } else { String::new() };
            let _ = writeln!(
                text,
                "warning: the splined network stays smooth, for {shown}{more} are no activations"
            );
        }
    }
    let Document { files, seconds, device, .. } = document;
    let _ = writeln!(text, "in '{}': {}\n{seconds:.2} s on {device}", folder.display(), files.join(", "));
    text
}
