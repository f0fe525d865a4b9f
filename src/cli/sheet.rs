//! `fenchel sheet`: contact sheets of what a network or a spline is made of.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use crate::data::{Dataset, OutputFile};
use crate::engine::SplineEngine;
use crate::network::Kind;
use crate::render::sheet::{
    Channels, Drawn, ImageShape, Linear, Look, MOST_ZOOM, Other, Sheet, SplineRows, channels, clusters,
    templates,
};
use crate::spline::SplineFile;
use crate::{Error, Result};

use super::args::{self, List};
use super::render::ends;
use super::session::{Job, Loaded, Session, file_name};

/// In the place of a model: the data alone are clustered.
const NONE: &str = "none";

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fenchel sheet model.onnx --data x.npy --what templates --rows 0..5 -o templates.png
  fenchel sheet spline.safetensors --data x.npy --what slopes --outputs 3 -o slopes.png
  fenchel sheet none --data x.npy --what clusters --clusters 20 -o clusters.png
  fenchel sheet model.onnx --data x.npy --what channels --node relu1 \\
    --against splined-8.onnx -o maps.png

Slopes, contributions and differences are shown from blue over white at 0 to red, feature maps on viridis, images \
    in grey, or in colour where they have three channels. Other images of several channels are shown channel by \
    channel, side by side. docs/sheets.md says what each sheet shows.")]
pub(super) struct Arguments {
    /// A network (ONNX); for slopes and anchors a spline that fit has saved; for clusters of data alone: none
    #[arg(value_name = "MODEL|S")]
    pub subject: PathBuf,

    #[command(flatten)]
    pub part: args::Part,
    #[command(flatten)]
    pub data: args::Data,

    /// What to show
    #[arg(long, value_enum, default_value_t = What::Templates)]
    pub what: What,

    /// Rows of the data, such as 0,3..8 [default: the first ten; for clusters all]
    #[arg(long, value_name = "LIST", value_parser = args::list)]
    pub rows: Option<List>,

    #[command(flatten)]
    pub outputs: args::Outputs,

    /// Number of clusters
    #[arg(long, value_name = "K")]
    pub clusters: Option<usize>,

    /// Channels of the node [default: all]
    #[arg(long, value_name = "LIST", value_parser = args::list)]
    pub channels: Option<List>,

    /// Another network to compare the node's maps with, such as one that layers --save has written
    #[arg(long, value_name = "OTHER.onnx", conflicts_with = "spline")]
    pub against: Option<PathBuf>,

    /// A spline of the node to compare its maps with
    #[arg(long, value_name = "S.safetensors")]
    pub spline: Option<PathBuf>,

    /// What the numbers of an input are as an image, channels first [default: from the model and the data]
    #[arg(long, value_name = "CxHxW")]
    pub shape: Option<ImageShape>,

    /// Pixels along a side of each number [default: as few as make tiles of 64, at most 16]
    #[arg(long, value_name = "N", value_parser = zoom)]
    pub zoom: Option<usize>,

    /// Whether tiles share their colours or each has its own
    #[arg(long, value_enum, default_value_t = Colours::Common, visible_alias = "colors")]
    pub colours: Colours,

    /// Numbers at the ends of the colours of what is shown, not of the inputs [default: the least and the largest]
    #[arg(long, value_name = "LO,HI", value_parser = ends, allow_hyphen_values = true)]
    pub range: Option<Range<f64>>,

    /// Show slopes and contributions of three channels as red, green and blue around grey
    #[arg(long)]
    pub rgb: bool,

    /// Where the sheet goes
    #[arg(short, long, value_name = "IMG.png")]
    pub output: PathBuf,

    /// Where the numbers behind its tiles go, f32, channels first
    #[arg(long, value_name = "DATA.npy")]
    pub npy: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum What {
    /// The slope of each output at each row: A of the affine map A x + b there
    Templates,
    /// A times x, element by element: with b they sum to the output
    Contributions,
    /// Of a spline: the slopes of the convex and the concave piece that are active, and of the spline
    Slopes,
    /// Of a spline: the anchors of these pieces
    Anchors,
    /// The means of clusters of the rows
    Clusters,
    /// The feature maps of a node
    Channels,
}

impl What {
    fn name(self) -> &'static str {
        match self {
            Self::Templates => "templates",
            Self::Contributions => "contributions",
            Self::Slopes => "slopes",
            Self::Anchors => "anchors",
            Self::Clusters => "clusters",
            Self::Channels => "channels",
        }
    }

    fn is_of_splines(self) -> bool {
        matches!(self, Self::Slopes | Self::Anchors)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Colours {
    /// One range of colours for all
    Common,
    /// One for each tile, its ends written below it
    Own,
}

fn zoom(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=MOST_ZOOM).contains(number));
    number.ok_or_else(|| format!("expected a number from 1 to {MOST_ZOOM}"))
}

pub(super) fn sheet(session: &Session, arguments: &Arguments) -> Result<()> {
    check(arguments)?;
    if arguments.what.is_of_splines() {
        let spline = SplineFile::open(&arguments.subject)?;
        let data = arguments.data.open_for(&spline)?;
        return session.on_engine(spline.precision(), OfSpline { session, arguments, spline: &spline, data });
    }
    let load = |path: &Path| args::Model { model: path.to_path_buf(), part: arguments.part.clone() }.load();
    let is_none = arguments.subject == Path::new(NONE);
    let loaded = if is_none { None } else { Some(load(&arguments.subject)?) };
    let against = arguments.against.as_deref().map(load).transpose()?;
    let spline = arguments.spline.as_deref().map(SplineFile::open).transpose()?;
    if let (Some(spline), Some(loaded), Some(path)) = (&spline, &loaded, &arguments.spline) {
        is_of_node(spline, loaded, path, arguments)?;
    }
    let data = arguments.data.open()?;
    session.on_engine("f32", OfNetwork { session, arguments, loaded, against, spline, data })
}

/// Refuses what does not go together, before anything is read.
fn check(arguments: &Arguments) -> Result<()> {
    let Arguments { what, part, .. } = arguments;
    let (what, name) = (*what, what.name());
    let refuse = |line: String| Err(Error::Argument(line));
    let is_spline = arguments.subject.extension().is_some_and(|extension| extension == "safetensors");
    if is_spline && !what.is_of_splines() {
        return refuse(format!("--what {name} is of networks; of a spline there are slopes and anchors"));
    }
    if what.is_of_splines() && !is_spline {
        return refuse(format!("--what {name} needs a spline that fit has saved, a .safetensors file"));
    }
    let is_cut = part.node.is_some() || part.from.is_some() || !part.fix.is_empty() || part.logits;
    if what.is_of_splines() && is_cut {
        return refuse("--node, --from, --fix and --logits are of networks, not of splines".to_owned());
    }
    if arguments.subject == Path::new(NONE)
        && (what != What::Clusters || is_cut || arguments.outputs.outputs.is_some())
    {
        return refuse(format!(
            "'{NONE}' stands for no network: there are only clusters then, without outputs"
        ));
    }
    let only = |given: bool, flag: &str, kind: What| match given && what != kind {
        true => refuse(format!("{flag} goes with --what {}, not with {name}", kind.name())),
        false => Ok(()),
    };
    only(arguments.clusters.is_some(), "--clusters", What::Clusters)?;
    only(arguments.channels.is_some(), "--channels", What::Channels)?;
    only(arguments.against.is_some(), "--against", What::Channels)?;
    only(arguments.spline.is_some(), "--spline", What::Channels)?;
    if what == What::Channels && part.node.is_none() {
        return refuse("--what channels needs --node NAME (fenchel inspect lists the nodes)".to_owned());
    }
    if what == What::Channels && arguments.outputs.outputs.is_some() {
        return refuse("--what channels takes --channels, not --outputs".to_owned());
    }
    if arguments.rgb && matches!(what, What::Anchors | What::Clusters | What::Channels) {
        return refuse(format!(
            "--rgb is for slopes and contributions; images of --what {name} are in colour anyway"
        ));
    }
    if arguments.range.is_some() && arguments.colours == Colours::Own {
        return refuse("--range is for common colours, not for --colours own".to_owned());
    }
    match &arguments.npy {
        Some(npy) if *npy == arguments.output => {
            refuse(format!("two results cannot share the file '{}'", npy.display()))
        }
        _ => Ok(()),
    }
}

/// Refuses a spline of another network or node.
fn is_of_node(spline: &SplineFile, loaded: &Loaded, path: &Path, arguments: &Arguments) -> Result<()> {
    let provenance = &spline.header().provenance;
    if provenance.model_sha256 != loaded.model.fingerprint {
        let (model, given) = (&provenance.model, arguments.subject.display());
        return Err(Error::file(path, format!("is a spline of another network, '{model}', than '{given}'")));
    }
    let positions = [&provenance.node, &arguments.part.node].map(|name| match name {
        Some(name) => loaded.model.network.find(name).map(|node| node.value().to_owned()).ok(),
        None => loaded.model.network.outputs().next().map(|node| node.value().to_owned()),
    });
    if positions[0] != positions[1] {
        let node = provenance.node.as_deref().unwrap_or("the output");
        let wanted = arguments.part.node.as_deref().unwrap_or_default();
        return Err(Error::file(path, format!("is a spline of the node '{node}', not of '{wanted}'")));
    }
    Ok(())
}

impl Arguments {
    /// The rows to show, all there.
    fn chosen(&self, data: &Dataset) -> Result<Vec<usize>> {
        let Some(list) = &self.rows else {
            let count = if self.what == What::Clusters { data.len() } else { data.len().min(10) };
            return Ok((0..count).collect());
        };
        list.below(data.len()).map_err(|range| {
            Error::Argument(format!(
                "--rows: there is no row {} of the {} in '{}'",
                range.start.max(data.len()).min(range.end - 1),
                data.len(),
                data.path().display()
            ))
        })
    }

    /// What inputs are as images: as typed; as the network's input has axes, or else the data; or by their number.
    fn image(&self, input: &[usize], data: &Dataset) -> Result<ImageShape> {
        let shape = match self.shape {
            Some(shape) => shape,
            None if input.len() < 2 && data.row_shape().len() > 1 => ImageShape::of(data.row_shape()),
            None => ImageShape::of(input),
        };
        match self.shape {
            Some(shape) if shape.elements() != data.row_len() => Err(Error::Argument(format!(
                "--shape {shape} has {} numbers, the rows of '{}' have {}",
                shape.elements(),
                data.path().display(),
                data.row_len()
            ))),
            _ => Ok(shape),
        }
    }

    fn look(&self) -> Look {
        let own = self.colours == Colours::Own;
        Look { zoom: self.zoom, own, range: self.range.clone(), rgb: self.rgb }
    }
}

struct OfSpline<'a> {
    session: &'a Session,
    arguments: &'a Arguments,
    spline: &'a SplineFile,
    data: Dataset,
}

impl Job for OfSpline<'_> {
    type Output = ();

    fn run<E: SplineEngine>(self, engine: E) -> Result<()> {
        let Self { session, arguments, spline: file, data } = self;
        let making = Making::begin(session, arguments, engine.describe())?;
        let [_, all, elements] = file.lengths();
        data.check_rows(elements)?;
        let (rows, outputs) = (arguments.chosen(&data)?, arguments.outputs.choose(all)?);
        let image = arguments.image(&[elements], &data)?;
        let source = file.jets(&engine);
        let shown = SplineRows {
            spline: file.spline(),
            source: &source,
            data: &data,
            rows: &rows,
            outputs: &outputs,
            image,
        };
        let sheet = match arguments.what {
            What::Slopes => shown.slopes(&session.context),
            _ => shown.anchors(&session.context),
        }?;
        making.finish(sheet, image, Map::new())
    }
}

struct OfNetwork<'a> {
    session: &'a Session,
    arguments: &'a Arguments,
    loaded: Option<Loaded>,
    against: Option<Loaded>,
    spline: Option<SplineFile>,
    data: Dataset,
}

impl Job for OfNetwork<'_> {
    type Output = ();

    fn run<E: SplineEngine>(self, engine: E) -> Result<()> {
        let Self { session, arguments, loaded, against, spline, data } = self;
        let (context, making) = (&session.context, Making::begin(session, arguments, engine.describe())?);
        let rows = arguments.chosen(&data)?;
        let network = loaded.as_ref().map(|loaded| &loaded.network);
        let input =
            network.and_then(|network| network.inputs().next()).map_or(data.row_shape(), |node| node.shape());
        let program = network.map(|network| network.compile(&engine)).transpose()?;
        if let Some(program) = &program {
            data.check_rows(program.dimension())?;
        }
        let image = arguments.image(input, &data)?;
        let mut more = Map::new();
        let (Some(network), Some(program)) = (network, &program) else {
            let data = data.select(&rows)?;
            let count = arguments.clusters.unwrap_or(10);
            let made = clusters(&engine, None, &data, count, image, context)?;
            more.insert("sizes".to_owned(), json!(made.clusters.sizes));
            return making.finish(made.sheet, image, more);
        };
        let sheet = match arguments.what {
            What::Templates | What::Contributions => {
                let outputs = arguments.outputs.choose(program.outputs())?;
                let is_templates = arguments.what == What::Templates;
                let linear = if is_templates { Linear::Templates } else { Linear::Contributions };
                more.insert("kind".to_owned(), json!(network.kind()));
                let mut sheet = templates(program, &data, &rows, &outputs, image, linear, context)?;
                if network.kind() == Kind::Smooth {
                    sheet.title += " (of tangents: the network is smooth)";
                }
                sheet
            }
            What::Clusters => {
                let outputs = arguments.outputs.choose(program.outputs())?;
                let data = data.select(&rows)?;
                let count = arguments.clusters.unwrap_or(10);
                let made = clusters(&engine, Some((program, &outputs)), &data, count, image, context)?;
                more.insert("sizes".to_owned(), json!(made.clusters.sizes));
                more.insert("classes".to_owned(), json!(made.classes));
                made.sheet
            }
            What::Channels => {
                let node = maps(network.outputs().next().map_or(&[], |node| node.shape()), arguments)?;
                let chosen = match &arguments.channels {
                    Some(List(ranges)) => ranges.iter().flat_map(Clone::clone).collect(),
                    None => (0..node[0]).collect::<Vec<_>>(),
                };
                let other = against.map(|other| other.network.compile(&engine)).transpose()?;
                let source = spline.as_ref().map(|spline| spline.jets(&engine));
                let other = match (&other, &spline, &source) {
                    (Some(program), _, _) => Some(Other::Program(program)),
                    (None, Some(spline), Some(source)) => Some(Other::Spline(spline.spline(), source)),
                    _ => None,
                };
                let subject = Channels { program, node, chosen: &chosen, other };
                let (sheet, difference) = channels(&subject, &data, &rows, image, context)?;
                more.insert("channels".to_owned(), json!(chosen));
                if let Some(difference) = difference {
                    more.insert("rms".to_owned(), json!(difference.rms));
                    more.insert("relative_rms".to_owned(), json!(difference.relative));
                    more.insert("channel_rms".to_owned(), json!(difference.channels));
                }
                sheet
            }
            What::Slopes | What::Anchors => unreachable!("they are of splines"),
        };
        making.finish(sheet, image, more)
    }
}

/// The maps of a node: `[C, H, W]`; `[C, L]` are rows; `[N]` are one map, as square as it can be.
fn maps(shape: &[usize], arguments: &Arguments) -> Result<[usize; 3]> {
    match *shape {
        [channels, height, width] => Ok([channels, height, width]),
        [channels, length] => Ok([channels, 1, length]),
        [units] => {
            let height = (1..=units.isqrt()).rev().find(|&height| units.is_multiple_of(height)).unwrap_or(1);
            Ok([1, height, units / height])
        }
        _ => Err(Error::Argument(format!(
            "'{}' has the shape {shape:?}; feature maps have channels, and up to two axes more",
            arguments.part.node.as_deref().unwrap_or_default()
        ))),
    }
}

/// The files, opened before anything is computed, and the clock.
struct Making<'a> {
    session: &'a Session,
    arguments: &'a Arguments,
    png: OutputFile,
    npy: Option<OutputFile>,
    start: Instant,
    device: String,
}

impl<'a> Making<'a> {
    fn begin(session: &'a Session, arguments: &'a Arguments, device: String) -> Result<Self> {
        let png = OutputFile::create(&arguments.output)?;
        let npy = arguments.npy.as_deref().map(OutputFile::create).transpose()?;
        Ok(Self { session, arguments, png, npy, start: Instant::now(), device })
    }

    /// Draws the sheet and says so.
    fn finish(self, mut sheet: Sheet, image: ImageShape, more: Map<String, Value>) -> Result<()> {
        let Self { session, arguments, png, npy, start, device } = self;
        let of = file_name(if arguments.subject == Path::new(NONE) {
            &arguments.data.data
        } else {
            &arguments.subject
        });
        let node = arguments.part.node.as_ref().map_or_else(String::new, |node| format!(", '{node}'"));
        sheet.title = format!("{of}{node}: {}", sheet.title);
        let drawn = sheet.draw(&arguments.look(), png, &session.command, &session.context)?;
        if let Some(npy) = npy {
            sheet.write_data(npy)?;
        }
        let seconds = start.elapsed().as_secs_f64();
        let subject = sheet.subject as usize;
        let Drawn { size: [height, width], places, extremes, ranges } = drawn;
        let mut document = json!({
            "what": arguments.what.name(),
            "tiles": places.len(),
            "width": width,
            "height": height,
            "image": image.lengths(),
            "shape": sheet.data_shape,
            "range": ranges[subject],
            "least": extremes[subject].map(|[low, _]| low),
            "largest": extremes[subject].map(|[_, high]| high),
            "places": places,
            "seconds": seconds,
            "device": device,
        });
        let (rms, relative) = (more.get("rms").and_then(Value::as_f64), more.get("relative_rms").cloned());
        document.as_object_mut().into_iter().for_each(|document| document.extend(more.clone()));
        session.print(&document, || {
            let mut text =
                format!("{} tiles, {width} x {height} pixels, {seconds:.2} s on {device}\n", places.len());
            if let (Some([low, high]), Some([least, largest])) = (ranges[subject], extremes[subject]) {
                text += &format!("colours from {low} to {high}; values from {least} to {largest}\n");
            }
            if let Some(rms) = rms {
                let relative = relative.and_then(|relative| relative.as_f64());
                let relative = relative.map_or_else(String::new, |r| format!(", {r:.4} standard deviations"));
                text += &format!("root mean square of the difference {rms:.4e}{relative}\n");
            }
            text
        })
    }
}
