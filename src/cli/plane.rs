//! `fenchel plane`: slices of input space to draw on.

use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args, ValueEnum};
use serde_json::json;

use crate::data::Dataset;
use crate::network::Network;
use crate::render::{
    around, channel_directions, gradient_directions, input_directions, principal_directions,
    random_directions, rectangle, write_plane,
};
use crate::spline::slice::Slice;
use crate::{Error, Result};

use super::args;
use super::session::Session;

/// In the place of a model: the data alone says what the plane is in.
const NONE: &str = "none";

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:
  fenchel plane model.onnx --data x.npy --through 0,1,2 -o plane.npz
  fenchel plane model.onnx --data x.npy --at 7 --directions gradients -o plane.npz
  fenchel plane none --data x.npy --at 7 --directions principal --extent 2 -o plane.npz

Arrays: origin, u, v [D]; the plane is x = origin + s u + t v with s and t in [-1, 1], as the network sees the data. \
    With MODEL the data must fit its input; 'none' takes any.",
    group(ArgGroup::new("place").args(["through", "at", "domain"]).required(true))
)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub model: args::Model,
    #[command(flatten)]
    pub data: args::Data,

    /// Three rows: the plane goes through them, and they lie within four fifths of it
    #[arg(long, value_name = "I,J,K", value_delimiter = ',', value_parser = clap::value_parser!(usize))]
    pub through: Option<Vec<usize>>,

    /// One row, the middle of the plane; with --directions or --inputs
    #[arg(long, value_name = "I")]
    pub at: Option<usize>,

    /// The rectangle that holds all rows, which have two elements, and a margin of a twentieth
    #[arg(long)]
    pub domain: bool,

    /// Which way the plane goes from --at
    #[arg(long, value_enum, requires = "at", conflicts_with = "inputs")]
    pub directions: Option<Directions>,

    /// Two inputs, such as two pixels, that vary around --at while all others stay
    #[arg(long, value_name = "A,B", value_delimiter = ',', value_parser = clap::value_parser!(usize), requires = "at", visible_alias = "pixels")]
    pub inputs: Option<Vec<usize>>,

    /// Two channels of images that are shifted around --at while all others stay
    #[arg(long, value_name = "A,B", value_delimiter = ',', value_parser = clap::value_parser!(usize), requires = "at", conflicts_with_all = ["inputs", "directions"])]
    pub channels: Option<Vec<usize>>,

    /// The two outputs of --directions gradients [default: the two largest at the point]
    #[arg(long, value_name = "A,B", value_delimiter = ',', value_parser = clap::value_parser!(usize), requires = "directions")]
    pub outputs: Option<Vec<usize>>,

    /// How far the plane reaches from --at: the length of u and of v
    #[arg(
        long,
        value_name = "LENGTH",
        default_value_t = 1.0,
        requires = "at",
        allow_negative_numbers = true
    )]
    pub extent: f64,

    /// Where the plane goes
    #[arg(short, long, value_name = "PLANE.npz")]
    pub output: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Directions {
    /// Two orthonormal ones from --seed
    Random,
    /// The first two principal components of the data
    Principal,
    /// The gradients of two outputs at the point, the second made orthogonal to the first
    Gradients,
}

pub(super) fn plane(session: &Session, arguments: &Arguments) -> Result<()> {
    let data = arguments.data.open()?;
    let network = if arguments.model.model == Path::new(NONE) {
        None
    } else {
        let network = arguments.model.load()?.network;
        data.check_rows(network.dimension())?;
        Some(network)
    };
    let slice = slice(session, arguments, &data, network.as_ref())?;
    write_plane(&arguments.output, &slice)?;
    let length = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
    let (dimension, u, v) = (slice.origin.len(), length(&slice.u), length(&slice.v));
    let document = json!({ "dimension": dimension, "u": u, "v": v, "seed": session.context.seed() });
    session.print(&document, || format!("a plane in {dimension} dimensions, |u| = {u:.4}, |v| = {v:.4}\n"))
}

fn slice(
    session: &Session,
    arguments: &Arguments,
    data: &Dataset,
    network: Option<&Network>,
) -> Result<Slice> {
    let context = &session.context;
    let row = |i: usize| {
        if i >= data.len() {
            let (rows, path) = (data.len(), data.path().display());
            return Err(Error::Argument(format!("there is no row {i} of the {rows} in '{path}'")));
        }
        Ok(data.gather::<f64>(&[i])?.into_raw_vec_and_offset().0)
    };
    if let Some(rows) = &arguments.through {
        let &[i, j, k] = &rows[..] else {
            return Err(Error::Argument("--through takes three rows, such as 0,1,2".to_owned()));
        };
        let points = [row(i)?, row(j)?, row(k)?];
        return Slice::through([&points[0], &points[1], &points[2]]);
    }
    let Some(at) = arguments.at else { return rectangle(data, context) };
    let origin = row(at)?;
    let inputs = pair("--inputs", arguments.inputs.as_deref())?;
    let channels = pair("--channels", arguments.channels.as_deref())?;
    let outputs = pair("--outputs", arguments.outputs.as_deref())?;
    if outputs.is_some() && arguments.directions != Some(Directions::Gradients) {
        return Err(Error::Argument("--outputs are those of --directions gradients".to_owned()));
    }
    let directions = match (arguments.directions, inputs, channels) {
        (_, Some(inputs), _) => input_directions(data.row_len(), inputs)?,
        (_, _, Some(channels)) => {
            let shape = network.map_or(data.row_shape(), |network| network.nodes()[0].shape());
            channel_directions(shape, channels)?
        }
        (Some(Directions::Random), ..) => random_directions(data.row_len(), context)?,
        (Some(Directions::Principal), ..) => principal_directions(data, context)?,
        (Some(Directions::Gradients), ..) => {
            let network = network.ok_or_else(|| {
                Error::Argument(format!("--directions gradients needs a model, not '{NONE}'"))
            })?;
            gradient_directions(network, &origin, outputs)?
        }
        (None, None, None) => {
            let ways = "--directions random, principal or gradients, --inputs, or --channels";
            return Err(Error::Argument(format!("--at needs {ways}")));
        }
    };
    around(origin, directions, arguments.extent)
}

/// The two numbers behind a flag.
fn pair(flag: &str, numbers: Option<&[usize]>) -> Result<Option<[usize; 2]>> {
    match numbers {
        None => Ok(None),
        Some(&[a, b]) => Ok(Some([a, b])),
        Some(_) => Err(Error::Argument(format!("{flag} takes two numbers, such as 3,17"))),
    }
}
