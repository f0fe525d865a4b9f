//! `fenchel sample`: one output of a network at the points of a grid.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use ndarray::ArrayView2;
use serde_json::json;

use crate::conjugate::Grid;
use crate::engine::SplineEngine;
use crate::network::Network;
use crate::render::read_plane;
use crate::spline::slice::Slice;
use crate::{Error, Result, Scalar};

use super::args;
use super::conjugate::{read_grid, write_values};
use super::session::{Job, Session};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fenchel sample model.onnx --axes axes.npz --outputs 0 -o f.npy
  fenchel sample model.onnx --axes axes.npz --plane plane.npz --outputs 0 -o f.npy

Without --plane the axes are the network's inputs (1 to 4). With it they are s and t of the slice \
    x = origin + s u + t v, of a network with any number of inputs.")]
pub(super) struct Arguments {
    #[command(flatten)]
    pub model: args::Model,

    /// The coordinates of the grid: arrays axis0, axis1, ... (ascending)
    #[arg(long, value_name = "AXES.npz")]
    pub axes: PathBuf,

    /// A slice: arrays origin, u, v [D]
    #[arg(long, value_name = "PLANE.npz")]
    pub plane: Option<PathBuf>,

    #[command(flatten)]
    pub outputs: args::Outputs,

    /// Where the values go, an array with the axes of the grid
    #[arg(short, long, value_name = "F.npy")]
    pub output: PathBuf,
}

pub(super) fn sample(session: &Session, arguments: &Arguments) -> Result<()> {
    let network = arguments.model.load()?.network;
    let grid = read_grid(&arguments.axes)?;
    let slice = arguments.plane.as_ref().map(|path| read_plane(path)).transpose()?;
    session.on_engine(session.precise(), Sampling { session, arguments, network, grid, slice })
}

struct Sampling<'a> {
    session: &'a Session,
    arguments: &'a Arguments,
    network: Network,
    grid: Grid,
    slice: Option<Slice>,
}

impl Job for Sampling<'_> {
    type Output = ();

    fn run<E: SplineEngine>(self, engine: E) -> Result<()> {
        let Self { session, arguments, network, grid, slice } = self;
        let network = match slice {
            Some(Slice { origin, u, v }) => network.on_slice(&origin, &[&u, &v])?,
            None => network,
        };
        let program = network.compile(&engine)?;
        let &[output] = &arguments.outputs.choose(program.outputs())?[..] else {
            return Err(Error::Argument(format!(
                "the network has {} outputs: choose one with --outputs",
                program.outputs()
            )));
        };
        let (axes, needed) = (grid.dimension(), program.dimension());
        if axes != needed {
            return Err(Error::Shape(format!("a grid of {axes} axes does not fit: {needed} are needed")));
        }
        let start = Instant::now();
        let points: Vec<E::Scalar> = grid.points().flatten().map(E::Scalar::of).collect();
        let points = ArrayView2::from_shape((grid.len(), axes), &points)
            .map_err(|error| Error::Shape(format!("the points of the grid: {error}")))?;
        let found = program.values(points, &session.context)?;
        let values: Vec<f64> = found.column(output).iter().map(|v| v.f64()).collect();
        let seconds = start.elapsed().as_secs_f64();
        write_values::<E>(&arguments.output, &grid.shape(), &values)?;
        let shape = grid.shape();
        let document = json!({ "points": shape, "output": output, "seconds": seconds,
            "device": engine.describe() });
        session.print(&document, || {
            format!("output {output} at {shape:?} points, {seconds:.3} s on {}\n", engine.describe())
        })
    }
}
