//! `fenchel render`: a network over a plane, as a picture.

use std::ops::Range;
use std::path::PathBuf;
use std::time::Instant;

use clap::{Args, ValueEnum};
use serde_json::json;

use crate::data::OutputFile;
use crate::engine::SplineEngine;
use crate::network::Network;
use crate::render::{
    ColourMap, Drawn, MOST_PIXELS, NetworkField, Picture, Quantity, Scale, categories_svg, extremes,
    read_plane, scale_svg,
};
use crate::spline::slice::Slice;
use crate::{Error, Result};

use super::args::{self, Size};
use super::session::{Job, Session, file_name};

#[derive(Debug, Args)]
#[command(
    after_help = "Example: fenchel render model.onnx --plane plane.npz --what value --outputs 3 --size 4096x4096 \
        -o value.png --legend legend.svg\n\n\
    Pixels are drawn at their centres: s = -1 is the left edge of the picture, s = 1 the right, t = -1 the lower, t = 1 \
    the upper. Numbers are shown on viridis, or with --diverging from blue over white at 0 to red; classes have colours \
    that are the same in every picture. The picture says nothing of its colours: --legend writes that beside it. \
    The command line is in the PNG as the text 'Comment'. Pictures are streamed, so that their size is not bounded by \
    memory."
)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub model: args::Model,

    /// The plane: arrays origin, u, v [D], as fenchel plane writes them
    #[arg(long, value_name = "PLANE.npz")]
    pub plane: PathBuf,

    /// What to draw
    #[arg(long, value_enum, default_value_t = What::Value)]
    pub what: What,

    #[command(flatten)]
    pub outputs: args::Outputs,

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

    /// Where the picture goes
    #[arg(short, long, value_name = "IMG.png")]
    pub output: PathBuf,

    /// Where the values behind it go, [H, W] with row 0 at the top: f32, or u32 of classes
    #[arg(long, value_name = "DATA.npy")]
    pub npy: Option<PathBuf>,

    /// Where its legend goes
    #[arg(long, value_name = "L.svg")]
    pub legend: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum What {
    /// One output
    Value,
    /// The largest output, by its number
    Class,
    /// By how much the largest output is above the second largest
    Margin,
}

impl What {
    fn quantity(self) -> Quantity {
        match self {
            Self::Value => Quantity::Value,
            Self::Class => Quantity::Class,
            Self::Margin => Quantity::Margin,
        }
    }

    /// For legends and tables.
    fn title(self, outputs: &[usize]) -> String {
        match self {
            Self::Value => format!("output {}", outputs[0]),
            Self::Class => "class".to_owned(),
            Self::Margin => "margin".to_owned(),
        }
    }
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
    if arguments.what == What::Class && (arguments.range.is_some() || arguments.diverging) {
        return Err(Error::Argument("classes have no --range and are not --diverging".to_owned()));
    }
    let files = [Some(&arguments.output), arguments.npy.as_ref(), arguments.legend.as_ref()];
    let files: Vec<&PathBuf> = files.into_iter().flatten().collect();
    if let Some(path) =
        files.iter().enumerate().find_map(|(i, path)| files[..i].contains(path).then_some(path))
    {
        return Err(Error::Argument(format!("two results cannot share the file '{}'", path.display())));
    }
    let slice = read_plane(&arguments.plane)?;
    let network = arguments.model.load()?.network;
    session.on_engine("f32", Rendering { session, arguments, network, slice })
}

struct Rendering<'a> {
    session: &'a Session,
    arguments: &'a Arguments,
    network: Network,
    slice: Slice,
}

impl Job for Rendering<'_> {
    type Output = ();

    fn run<E: SplineEngine>(self, engine: E) -> Result<()> {
        let Self { session, arguments, network, slice } = self;
        let context = &session.context;
        let Size { width, height } = arguments.size;
        let all = network.outputs().map(|node| node.shape().iter().product::<usize>()).sum();
        let outputs = arguments.outputs.choose(all)?;
        let field = NetworkField::new(&engine, &network, &slice, arguments.what.quantity(), &outputs)?;
        let create = |path: &PathBuf| OutputFile::create(path);
        let png = create(&arguments.output)?;
        let data = arguments.npy.as_ref().map(create).transpose()?;
        let legend = arguments.legend.as_ref().map(create).transpose()?;

        let start = Instant::now();
        let range = match &arguments.range {
            Some(range) => Some(range.clone()),
            None => extremes(&field, [height, width], context)?.map(|[low, high]| spread(low, high)),
        };
        let map = if arguments.diverging { ColourMap::Diverging } else { ColourMap::Sequential };
        let scale = match range {
            Some(range) if arguments.what != What::Class => Some(Scale::new(map, range)?),
            _ => None,
        };
        let picture = Picture {
            size: [height, width],
            samples: arguments.ssaa,
            scale: scale.as_ref(),
            comment: &session.command,
        };
        let drawn = picture.draw(&field, png, data, context)?;
        let seconds = start.elapsed().as_secs_f64();
        if let Some(mut legend) = legend {
            let title = format!("{}: {}", file_name(&arguments.model.model), arguments.what.title(&outputs));
            let svg = match &scale {
                Some(scale) => scale_svg(scale, &title)?,
                None => categories_svg(&drawn.categories, &title)?,
            };
            legend.put(svg.as_bytes())?;
            legend.commit()?;
        }
        report(session, arguments, scale.as_ref(), &drawn, seconds, &engine.describe())
    }
}

/// A range of colours, not empty where the field is constant.
fn spread(low: f64, high: f64) -> Range<f64> {
    if low < high { low..high } else { low - 0.5 * low.abs().max(1.0)..high + 0.5 * high.abs().max(1.0) }
}

fn report(
    session: &Session,
    arguments: &Arguments,
    scale: Option<&Scale>,
    drawn: &Drawn,
    seconds: f64,
    device: &str,
) -> Result<()> {
    let Size { width, height } = arguments.size;
    let samples = (width * height * arguments.ssaa * arguments.ssaa) as f64;
    let speed = (width * height) as f64 / seconds;
    let range = scale.map(|scale| [scale.range().start, scale.range().end]);
    let beyond = drawn.beyond as f64 / samples;
    let shares: Vec<(u32, f64)> = drawn.categories.iter().map(|(&k, &n)| (k, n as f64 / samples)).collect();
    let classes: serde_json::Map<String, serde_json::Value> =
        shares.iter().map(|(k, share)| (k.to_string(), json!(share))).collect();
    let document = json!({
        "width": width,
        "height": height,
        "samples": arguments.ssaa,
        "range": range,
        "least": drawn.extremes.map(|[low, _]| low),
        "largest": drawn.extremes.map(|[_, high]| high),
        "beyond": scale.map(|_| beyond),
        "classes": if scale.is_some() { serde_json::Value::Null } else { classes.into() },
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
        for (class, share) in shares {
            text += &format!("class {class}: {:.2} %\n", 100.0 * share);
        }
        text
    })
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

    #[test]
    fn ranges_of_constants_are_not_empty() {
        assert_eq!(spread(1.0, 2.0), 1.0..2.0);
        assert_eq!(spread(0.0, 0.0), -0.5..0.5);
        assert_eq!(spread(-1e20, -1e20), -1.5e20..-0.5e20);
    }
}
