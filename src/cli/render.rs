//! `fenchel render`: a network over a plane, as a picture.

use std::ops::Range;
use std::path::PathBuf;
use std::time::Instant;

use clap::{Args, ValueEnum};
use serde_json::json;

use crate::data::OutputFile;
use crate::engine::SplineEngine;
use crate::regions::Partition;
use crate::render::{
    Drawn, MOST_PIXELS, Picture, Pyramid, Scale, Targets, Visited, extremes, read_plane, widened,
};
use crate::spline::slice::Slice;
use crate::{Error, Result};

use super::args::{self, Size};
use super::layer_choice::Layers;
use super::picture::{self, PictureOptions};
use super::session::{Job, Session, file_name};
use super::what::{Drawing, Subject, What};

/// Categories of which the shares are printed.
const MOST_LISTED: usize = 20;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fenchel render model.onnx --plane plane.npz --what value --outputs 3 --contours auto \\
    --axes --size 4096x4096 -o value.png
  fenchel render model.onnx --plane plane.npz --what class --exact -o class.png
  fenchel render model.onnx --spline s.safetensors --plane plane.npz --what error \\
    --outputs 3 -o error.png
  fenchel render model.onnx --plane plane.npz --what class --size 65536x65536 \\
    --pyramid classes

Pixels are drawn at their centres: s = -1 is the left edge of the picture, s = 1 the right, t = -1 the lower, t = 1 \
    the upper. Numbers are shown on viridis, or with --diverging from blue over white at 0 to red; classes, \
    pieces and regions have colours that are the same in every picture. --axes writes what the colours are into the \
    picture, --legend beside it. \
    The command line is in the PNG as the text 'Comment'. Pictures are streamed, so that their size is not bounded by \
    memory.")]
pub(super) struct Arguments {
    #[command(flatten)]
    pub model: args::Model,

    /// A spline of the network, from fenchel fit: what is drawn is then of the spline
    #[arg(long, value_name = "S.safetensors")]
    pub spline: Option<PathBuf>,

    /// The plane: arrays origin, u, v [D], as fenchel plane writes them
    #[arg(long, value_name = "PLANE.npz")]
    pub plane: PathBuf,

    /// What to draw
    #[arg(long, value_enum, default_value_t = What::Value)]
    pub what: What,

    #[command(flatten)]
    pub outputs: args::Outputs,

    #[command(flatten)]
    pub layers: Layers,

    /// Draw from the exact partition of the plane: the cost is that of regions and pixels, not of passes through the
    /// network, which must be piecewise affine
    #[arg(long, conflicts_with_all = ["layer", "cumulative"])]
    pub exact: bool,

    /// Pixels of the picture
    #[arg(long, value_name = "WIDTHxHEIGHT", default_value = "1024x1024", value_parser = size)]
    pub size: Size,

    /// Numbers at the ends of the colours [default: the least and the largest at 256 x 256 points of the plane]
    #[arg(long, value_name = "LO,HI", value_parser = ends, allow_hyphen_values = true)]
    pub range: Option<Range<f64>>,

    /// Blue below 0, white at 0, red above, equally far to both sides
    #[arg(long)]
    pub diverging: bool,

    /// Samples along a side of each pixel, whose colours are averaged as light
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub ssaa: usize,

    #[command(flatten)]
    pub picture: PictureOptions,

    /// Where the picture goes
    #[arg(short, long, value_name = "IMG.png", required_unless_present = "pyramid")]
    pub output: Option<PathBuf>,

    /// Where the values behind it go, [H, W] with row 0 at the top: f32, or u32 of classes, pieces and regions
    #[arg(long, value_name = "DATA.npy")]
    pub npy: Option<PathBuf>,

    /// Where its legend goes
    #[arg(long, value_name = "L.svg")]
    pub legend: Option<PathBuf>,
}

fn size(text: &str) -> Result<Size, String> {
    let side = |text: &str| text.parse().ok().filter(|n| (1..=MOST_PIXELS).contains(n));
    let sides = text.split_once('x').and_then(|(width, height)| Some((side(width)?, side(height)?)));
    let (width, height) = sides.ok_or_else(|| {
        format!("expected WIDTHxHEIGHT, from 1x1 to {MOST_PIXELS}x{MOST_PIXELS}, such as 4096x4096")
    })?;
    Ok(Size { width, height })
}

pub(super) fn ends(text: &str) -> Result<Range<f64>, String> {
    let numbers = text.split_once(',').map(|(low, high)| (low.parse::<f64>(), high.parse::<f64>()));
    match numbers {
        Some((Ok(low), Ok(high))) if low.is_finite() && high.is_finite() && low < high => Ok(low..high),
        _ => Err("expected two numbers that ascend, such as -1,2.5".to_owned()),
    }
}

pub(super) fn render(session: &Session, arguments: &Arguments) -> Result<()> {
    let what = arguments.what;
    if what.is_categorical() && (arguments.range.is_some() || arguments.diverging) {
        let [_, plural] = what.category();
        return Err(Error::Argument(format!("{plural} have no --range and are not --diverging")));
    }
    if what == What::Direction && arguments.diverging {
        return Err(Error::Argument("directions go round: they are not --diverging".to_owned()));
    }
    let of_units = what.is_of_units() || arguments.picture.lines == Some(What::Region);
    if arguments.layers.is_given() && !of_units {
        return Err(Error::Argument("--layer and --cumulative are for regions and densities".to_owned()));
    }
    if arguments.outputs.outputs.is_some() && what.is_of_units() {
        return Err(Error::Argument("regions and densities are those of all --outputs".to_owned()));
    }
    let options = &arguments.picture;
    let files = [&arguments.output, &arguments.npy, &arguments.legend, &options.pyramid];
    let files: Vec<&PathBuf> = files.into_iter().flatten().collect();
    if let Some(path) =
        files.iter().enumerate().find_map(|(i, path)| files[..i].contains(path).then_some(path))
    {
        return Err(Error::Argument(format!("two results cannot share the file '{}'", path.display())));
    }
    if options.axes && arguments.output.is_none() {
        return Err(Error::Argument("--axes are around a picture in one file: give -o IMG.png".to_owned()));
    }
    if let Some(what) = options.lines.filter(|what| !what.is_categorical()) {
        let what = what.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
        return Err(Error::Argument(format!("--lines are boundaries, as of class: {what} has --contours")));
    }
    let slice = read_plane(&arguments.plane)?;
    let subject = Subject::open(&arguments.model, arguments.spline.as_deref())?;
    session.on_engine(subject.precision(), Rendering { session, arguments, subject, slice })
}

struct Rendering<'a> {
    session: &'a Session,
    arguments: &'a Arguments,
    subject: Subject,
    slice: Slice,
}

impl Job for Rendering<'_> {
    type Output = ();

    fn run<E: SplineEngine>(self, engine: E) -> Result<()> {
        let Self { session, arguments, subject, slice } = self;
        let context = &session.context;
        let Size { width, height } = arguments.size;
        let outputs = arguments.outputs.choose(subject.outputs())?;
        let options = &arguments.picture;
        let size = [height, width];
        let layers = arguments.layers.choice();
        let samples = size.map(|side| side * arguments.ssaa);
        let start = Instant::now();
        let partition = arguments.exact.then(|| subject.partition(&slice, context)).transpose()?;
        let partition = partition.as_ref();
        let drawing =
            Drawing { what: arguments.what, outputs: &outputs, layers: &layers, samples, partition };
        let field = subject.field(&engine, drawing, &slice, context)?;
        let field = &*field;
        // Which of one output is the largest is no question.
        let all: Vec<usize> = (0..subject.outputs()).collect();
        let lines = options.lines.map(|what| {
            let outputs = if what == What::Class && outputs.len() < 2 { &all } else { &outputs };
            subject.field(&engine, Drawing { what, outputs, ..drawing }, &slice, context)
        });
        let lines = lines.transpose()?;
        let create = |path: &Option<PathBuf>| path.as_ref().map(|path| OutputFile::create(path)).transpose();
        let png = create(&arguments.output)?;
        let data = create(&arguments.npy)?;
        let legend = create(&arguments.legend)?;
        let mut pyramid = options.pyramid.as_ref().map(|path| Pyramid::create(path, size)).transpose()?;

        let range = match &arguments.range {
            Some(range) => Some(range.clone()),
            None => match arguments.what.range() {
                Some(range) => Some(range),
                None => extremes(field, size, context)?.map(|[low, high]| widened(low..high)),
            },
        };
        let map = arguments.what.map(arguments.diverging);
        let is_categorical = arguments.what.is_categorical();
        let scale = match range {
            Some(range) if !is_categorical => Some(Scale::new(map, range)?),
            _ => None,
        };
        let title = format!("{}: {}", file_name(&arguments.model.model), arguments.what.title(&outputs));
        let title = options.title(title);
        let contours = options.levels(scale.as_ref())?;
        let frame = options.frame(size, &title, scale.as_ref(), field, context)?;
        let picture = Picture {
            samples: arguments.ssaa,
            antialias: options.antialias(is_categorical, arguments.ssaa),
            scale: scale.as_ref(),
            contours: &contours,
            lines: lines.as_deref(),
            line_width: options.line_width,
            comment: &session.command,
            ..Picture::new(size)
        };
        let targets = Targets { png, frame: frame.as_ref(), pyramid: pyramid.as_mut(), data };
        let drawn = picture.draw_into(field, targets, context)?;
        let seconds = start.elapsed().as_secs_f64();
        let visited = field.visited();
        let svg = picture::legend(scale.as_ref(), &drawn, visited, &title)?;
        if let Some(mut legend) = legend {
            legend.put(svg.as_bytes())?;
            legend.commit()?;
        }
        let levels = pyramid.as_ref().map(Pyramid::levels);
        if let Some(pyramid) = pyramid {
            let files = [("values", arguments.npy.as_ref()), ("plane", Some(&arguments.plane))];
            picture::finish(pyramid, &title, &session.command, &svg, &files)?;
        }
        let done = Done {
            scale: scale.as_ref(),
            contours: &contours,
            levels,
            drawn: &drawn,
            visited,
            regions: partition.map(Partition::len),
            seconds,
            device: engine.describe(),
        };
        done.report(session, arguments)
    }
}

/// What was done.
struct Done<'a> {
    scale: Option<&'a Scale>,
    contours: &'a [f64],
    /// Of a pyramid.
    levels: Option<usize>,
    drawn: &'a Drawn,
    visited: Option<Visited>,
    /// Of the exact partition.
    regions: Option<usize>,
    seconds: f64,
    device: String,
}

impl Done<'_> {
    fn report(self, session: &Session, arguments: &Arguments) -> Result<()> {
        let Self { scale, contours, levels, drawn, visited, regions, seconds, device } = self;
        let Size { width, height } = arguments.size;
        let samples = (width * height * arguments.ssaa * arguments.ssaa) as f64;
        let speed = (width * height) as f64 / seconds;
        let range = scale.map(|scale| [scale.range().start, scale.range().end]);
        let beyond = drawn.beyond as f64 / samples;
        let shares: Vec<(u32, f64)> =
            drawn.categories.iter().map(|(&k, &n)| (k, n as f64 / samples)).collect();
        let classes: serde_json::Map<String, serde_json::Value> =
            shares.iter().map(|(k, share)| (k.to_string(), json!(share))).collect();
        let is_pieces = matches!(arguments.what, What::ConvexPiece | What::ConcavePiece);
        let document = json!({
            "width": width,
            "height": height,
            "samples": arguments.ssaa,
            "further_samples": drawn.further,
            "contours": contours,
            "levels": levels,
            "range": range,
            "least": drawn.extremes.map(|[low, _]| low),
            "largest": drawn.extremes.map(|[_, high]| high),
            "beyond": scale.map(|_| beyond),
            "classes": if arguments.what == What::Class { classes.into() } else { serde_json::Value::Null },
            "pieces": if is_pieces { json!(shares.len()) } else { serde_json::Value::Null },
            "regions": match regions {
                Some(count) => json!({ "label": "exact", "count": count }),
                None => json!(visited.map(|v| {
                    json!({ "label": "visited", "count": v.count, "capped": v.is_capped })
                })),
            },
            "seconds": seconds,
            "pixels_per_second": speed,
            "device": device,
        });
        session.print(&document, || {
            let mut text =
                format!("{width} x {height} pixels, {seconds:.2} s, {speed:.3e} pixels/s on {device}\n");
            if let (Some([low, high]), Some([least, largest])) = (range, drawn.extremes) {
                text += &format!("colours from {low} to {high}; values from {least} to {largest}, ");
                text += &format!("{:.2} % beyond the colours\n", 100.0 * beyond);
            }
            if let Some(count) = regions {
                text += &format!("{count} regions, exact\n");
            }
            if let Some(visited) = visited {
                text += &format!("{}\n", picture::said(visited));
            }
            if drawn.further > 0 {
                let share = 100.0 * drawn.further as f64 / samples;
                text +=
                    &format!("{} further samples at boundaries, {share:.2} % of the pixels\n", drawn.further);
            }
            if shares.len() > MOST_LISTED {
                text += &format!("{} {}\n", shares.len(), arguments.what.category()[1]);
            }
            for (class, share) in shares.iter().filter(|_| shares.len() <= MOST_LISTED) {
                text += &format!("{} {class}: {:.2} %\n", arguments.what.category()[0], 100.0 * share);
            }
            text
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_ranges_are_two_numbers() {
        assert_eq!(size("65536x1"), Ok(Size { width: 65536, height: 1 }));
        for text in ["", "0x4", "4x0", "4", "4x", "-4x4", "4x4x4", "1048577x1"] {
            assert!(size(text).is_err(), "{text}");
        }
        assert_eq!(ends("-1,2.5"), Ok(-1.0..2.5));
        for text in ["", "1", "1,1", "2,1", "1,2,3", "nan,1", "0,inf"] {
            assert!(ends(text).is_err(), "{text}");
        }
    }
}
