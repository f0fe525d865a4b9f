//! `fenchel sample`: one output of a network at the points of a grid.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use ndarray::Array2;
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
#[command(after_help = "Example: fenchel sample model.onnx --axes axes.npz --outputs 0 -o f.npy\n\n\
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
        let program = network.compile(&engine)?;
        let &[output] = &arguments.outputs.choose(program.outputs())?[..] else {
            return Err(Error::Argument(format!(
                "the network has {} outputs: choose one with --outputs",
                program.outputs()
            )));
        };
        let (axes, dimension) = (grid.dimension(), program.dimension());
        let fits = match &slice {
            None => axes == dimension,
            Some(slice) => {
                let lengths = [&slice.origin, &slice.u, &slice.v].map(Vec::len);
                if lengths != [dimension; 3] {
                    return Err(Error::Shape(format!(
                        "a slice with origin, u and v of {lengths:?} elements does not fit a network of {dimension} \
                         inputs"
                    )));
                }
                axes == 2
            }
        };
        if !fits {
            let needed = if slice.is_some() { 2 } else { dimension };
            return Err(Error::Shape(format!("a grid of {axes} axes does not fit: {needed} are needed")));
        }
        let start = Instant::now();
        let mut values = Vec::with_capacity(grid.len());
        // Points are made some at a time: on a slice each has as many elements as the network has inputs.
        let rows = (session.context.memory() / 8 / (dimension * size_of::<E::Scalar>()) as u64).max(1);
        let rows = usize::try_from(rows).unwrap_or(usize::MAX).min(grid.len());
        for first in (0..grid.len()).step_by(rows) {
            let count = rows.min(grid.len() - first);
            let mut points = Array2::<E::Scalar>::zeros((count, dimension));
            for (i, mut row) in points.rows_mut().into_iter().enumerate() {
                let at = grid.point(first + i);
                let point = slice.as_ref().map_or(at.clone(), |slice| slice.point(at[0], at[1]));
                row.iter_mut().zip(point).for_each(|(x, value)| *x = E::Scalar::of(value));
            }
            let found = program.values(points.view(), &session.context)?;
            values.extend(found.column(output).iter().map(|v| v.f64()));
        }
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
