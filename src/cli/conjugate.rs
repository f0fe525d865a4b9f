//! `fenchel conjugate`: conjugates and envelopes of a function on a grid or at points.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{Args, ValueEnum};
use ndarray::{Array2, ArrayD, Ix1, Ix2};
use serde_json::json;

use crate::conjugate::{
    Conjugate, Grid, GridFunction, biconjugate, concave_biconjugate, concave_conjugate,
    conjugate as transform, conjugate_of_points, infimal_convolution, moreau_envelope,
};
use crate::data::{array_names, read_array, write_npy, write_npz, write_whole};
use crate::engine::SplineEngine;
use crate::report::conjugate_svg;
use crate::{Error, Result};

use super::session::{Job, Session, file_name};

/// The name of the array that holds points that are no grid.
const POINTS: &str = "points";

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fenchel conjugate f.npy --axes axes.npz --slopes slopes.npz -o c.npy
  fenchel conjugate f.npy --axes axes.npz --what biconjugate -o envelope.npy
  fenchel conjugate f.npy --axes axes.npz --what moreau --lambda 0.5 -o m.npy

F.npy has as many axes (1 to 4) as AXES.npz holds arrays axis0, axis1, ..., and +inf outside the domain. Functions \
    that are known at points that form no grid have their values [M] in F.npy, the points [M, D] as the array 'points' \
    of AXES.npz and slopes [N, D] as that of SLOPES.npz; every slope is then compared with every point.")]
pub(super) struct Arguments {
    /// The values of the function
    pub function: PathBuf,

    /// The coordinates of its grid: arrays axis0, axis1, ... (ascending); or its points
    #[arg(long, value_name = "AXES.npz")]
    pub axes: PathBuf,

    /// The slopes, as the axes [default: as many as there are coordinates, from the least to the largest difference
    /// quotient on each axis]
    #[arg(long, value_name = "SLOPES.npz")]
    pub slopes: Option<PathBuf>,

    /// What to compute
    #[arg(long, value_enum, default_value_t = What::Conjugate)]
    pub what: What,

    /// Of the Moreau envelope min_y f(y) + |x - y|^2 / (2 lambda)
    #[arg(long, value_name = "LAMBDA", default_value_t = 1.0, allow_negative_numbers = true)]
    pub lambda: f64,

    /// The second function of an infimal convolution, on the same axes
    #[arg(long, value_name = "G.npy", required_if_eq("what", "infimal-convolution"))]
    pub with: Option<PathBuf>,

    /// Where the values go
    #[arg(short, long, value_name = "C.npy")]
    pub output: PathBuf,

    /// Where the maximisers go: for each value the row-major position of the point (of a biconjugate: of the slope)
    /// that attains it, of equals the first
    #[arg(long, value_name = "I.npy")]
    pub maximisers: Option<PathBuf>,

    /// Where the slopes go that were used
    #[arg(long, value_name = "SLOPES.npz")]
    pub save_slopes: Option<PathBuf>,

    /// A picture of the function, its convex envelope and its conjugate side by side, in one or two dimensions
    #[arg(long, value_name = "PAIR.svg")]
    pub picture: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum What {
    /// max_x s.x - f(x), at the slopes
    Conjugate,
    /// min_x s.x - f(x), at the slopes; -inf is outside the domain
    Concave,
    /// The convex envelope, at the points of the function
    Biconjugate,
    /// The concave envelope, at the points of the function
    ConcaveBiconjugate,
    /// The Moreau envelope, at the points of the function
    Moreau,
    /// min_y f(y) + g(x - y) of convex functions, at the points of the functions
    InfimalConvolution,
}

impl What {
    /// Whether the result is a function of slopes, not of points.
    fn is_dual(self) -> bool {
        matches!(self, Self::Conjugate | Self::Concave)
    }

    /// The value that is outside the domain.
    fn outside(self) -> f64 {
        let concave = matches!(self, Self::Concave | Self::ConcaveBiconjugate);
        if concave { f64::NEG_INFINITY } else { f64::INFINITY }
    }
}

pub(super) fn conjugate(session: &Session, arguments: &Arguments) -> Result<()> {
    if array_names(&arguments.axes)?.iter().any(|name| name == POINTS) {
        return session.on_engine(session.precise(), OnPoints::read(session, arguments)?);
    }
    let read = |path: &Path, grid: Grid| {
        let function = read_function(path, grid)?;
        let outside = arguments.what.outside();
        if function.values().contains(&-outside) {
            let reason = format!("holds {}, but only {outside} is outside the domain here", -outside);
            return Err(Error::file(path, reason));
        }
        Ok(function)
    };
    let f = read(&arguments.function, read_grid(&arguments.axes)?)?;
    let dimension = f.grid().dimension();
    if arguments.picture.is_some() && dimension > 2 {
        return Err(Error::Argument(format!("--picture shows one or two dimensions, not {dimension}")));
    }
    if arguments.picture.is_some() && arguments.what != What::Conjugate {
        return Err(Error::Argument("--picture goes with --what conjugate".to_owned()));
    }
    if arguments.maximisers.is_some() && arguments.what == What::InfimalConvolution {
        return Err(Error::Argument("an infimal convolution has no --maximisers".to_owned()));
    }
    let slopes = match &arguments.slopes {
        Some(path) => read_grid(path)?,
        None => f.slopes(&f.grid().shape())?,
    };
    let other = match &arguments.with {
        Some(path) => Some(read(path, f.grid().clone())?),
        None => None,
    };
    session.on_engine(session.precise(), OnGrid { session, arguments, f, slopes, other })
}

/// A grid out of arrays `axis0`, `axis1`, ...
pub(super) fn read_grid(path: &Path) -> Result<Grid> {
    let names = array_names(path)?;
    let expected = |i: usize| format!("axis{i}");
    if let Some(name) = names.iter().find(|name| !(0..names.len()).any(|i| **name == expected(i))) {
        let reason = format!("holds an array '{name}'; expected axis0, axis1, ... and no others");
        return Err(Error::file(path, reason));
    }
    let axis = |i: usize| {
        let array = read_array(path, Some(&expected(i)))?;
        let shape = array.shape().to_vec();
        let line = array.into_dimensionality::<Ix1>();
        let line = line.map_err(|_| {
            Error::file(
                path,
                format!("has '{}' of shape {shape:?}; an axis is one line of numbers", expected(i)),
            )
        })?;
        Ok(line.into_iter().collect())
    };
    let axes = (0..names.len()).map(axis).collect::<Result<Vec<Vec<f64>>>>()?;
    Grid::new(axes).map_err(|error| Error::file(path, format!("is no grid: {error}")))
}

/// A function on a grid.
pub(super) fn read_function(path: &Path, grid: Grid) -> Result<GridFunction> {
    let values = read_array(path, None)?;
    if values.shape() != grid.shape() {
        let reason = format!("has shape {:?}, the axes {:?}", values.shape(), grid.shape());
        return Err(Error::file(path, reason));
    }
    let function = GridFunction::new(grid, values.into_iter().collect());
    function.map_err(|error| Error::file(path, format!("is no function on the grid: {error}")))
}

/// Writes numbers as an `.npy` in the precision of the job.
pub(super) fn write_values<E: SplineEngine>(path: &Path, shape: &[usize], values: &[f64]) -> Result<()> {
    let values: Vec<E::Scalar> = values.iter().map(|&v| crate::Scalar::of(v)).collect();
    write_npy(path, shape, &values)
}

struct OnGrid<'a> {
    session: &'a Session,
    arguments: &'a Arguments,
    f: GridFunction,
    slopes: Grid,
    other: Option<GridFunction>,
}

impl Job for OnGrid<'_> {
    type Output = ();

    fn run<E: SplineEngine>(self, engine: E) -> Result<()> {
        let Self { session, arguments, f, slopes, other } = self;
        let context = &session.context;
        let start = Instant::now();
        let Conjugate { function, maximisers } = match (arguments.what, &other) {
            (What::Conjugate, _) => transform(&engine, &f, &slopes, context)?,
            (What::Concave, _) => concave_conjugate(&engine, &f, &slopes, context)?,
            (What::Biconjugate, _) => biconjugate(&engine, &f, &slopes, context)?,
            (What::ConcaveBiconjugate, _) => concave_biconjugate(&engine, &f, &slopes, context)?,
            (What::InfimalConvolution, Some(other)) => {
                let function = infimal_convolution(&engine, &f, other, &slopes, f.grid(), context)?;
                Conjugate { function, maximisers: vec![] }
            }
            (What::Moreau | What::InfimalConvolution, _) => {
                let found = moreau_envelope(&engine, &f, arguments.lambda, f.grid(), context)?;
                Conjugate { function: found.function, maximisers: found.proximal }
            }
        };
        let seconds = start.elapsed().as_secs_f64();
        let shape = function.grid().shape();
        if let Some(path) = &arguments.picture {
            let envelope = biconjugate(&engine, &f, &slopes, context)?.function;
            let title = file_name(&arguments.function);
            write_whole(path, conjugate_svg(&f, &envelope, &function, &title)?.as_bytes())?;
        }
        if let Some(path) = &arguments.maximisers {
            write_npy(path, &shape, &maximisers)?;
        }
        if let Some(path) = &arguments.save_slopes {
            write_grid(path, &slopes)?;
        }
        write_values::<E>(&arguments.output, &shape, function.values())?;
        let at = if arguments.what.is_dual() { "slopes" } else { "points" };
        let finite = |least: fn(f64, f64) -> f64, start: f64| {
            function.values().iter().copied().filter(|v| v.is_finite()).fold(start, least)
        };
        let (least, largest) = (finite(f64::min, f64::INFINITY), finite(f64::max, f64::NEG_INFINITY));
        let document = json!({
            "points": f.grid().shape(),
            "slopes": slopes.shape(),
            "least": least,
            "largest": largest,
            "seconds": seconds,
            "device": engine.describe(),
        });
        session.print(&document, || {
            format!(
                "{:?} points, {:?} slopes, {seconds:.4} s on {}\nvalues at the {at} from {least} to {largest}\n",
                f.grid().shape(),
                slopes.shape(),
                engine.describe()
            )
        })
    }
}

/// A grid as arrays `axis0`, `axis1`, ...
fn write_grid(path: &Path, grid: &Grid) -> Result<()> {
    let names: Vec<String> = (0..grid.dimension()).map(|i| format!("axis{i}")).collect();
    let shapes: Vec<[usize; 1]> = grid.axes().iter().map(|axis| [axis.len()]).collect();
    let arrays = names.iter().zip(&shapes).zip(grid.axes());
    let arrays: Vec<(&str, &[usize], &[f64])> =
        arrays.map(|((name, shape), axis)| (&name[..], &shape[..], &axis[..])).collect();
    write_npz(path, &arrays)
}

/// A function at points that form no grid.
struct OnPoints<'a> {
    session: &'a Session,
    arguments: &'a Arguments,
    points: Array2<f64>,
    values: Vec<f64>,
    slopes: Array2<f64>,
}

impl<'a> OnPoints<'a> {
    fn read(session: &'a Session, arguments: &'a Arguments) -> Result<Self> {
        if arguments.what != What::Conjugate || arguments.picture.is_some() || arguments.save_slopes.is_some()
        {
            return Err(Error::Argument(format!(
                "'{}' holds points, not axes: of a function at points only the conjugate is computed",
                arguments.axes.display()
            )));
        }
        let Some(slopes) = &arguments.slopes else {
            return Err(Error::Argument("a function at points needs --slopes".to_owned()));
        };
        let rows = |path: &Path| {
            let array: ArrayD<f64> = read_array(path, Some(POINTS))?;
            let shape = array.shape().to_vec();
            let rows = array.into_dimensionality::<Ix2>();
            rows.map_err(|_| Error::file(path, format!("has '{POINTS}' of shape {shape:?}; expected [N, D]")))
        };
        let values = read_array(&arguments.function, None)?.into_iter().collect();
        Ok(Self { session, arguments, points: rows(&arguments.axes)?, values, slopes: rows(slopes)? })
    }
}

impl Job for OnPoints<'_> {
    type Output = ();

    fn run<E: SplineEngine>(self, engine: E) -> Result<()> {
        let Self { session, arguments, points, values, slopes } = self;
        let start = Instant::now();
        let (found, maximisers) =
            conjugate_of_points(&engine, points.view(), &values, slopes.view(), &session.context)?;
        let seconds = start.elapsed().as_secs_f64();
        if let Some(path) = &arguments.maximisers {
            write_npy(path, &[maximisers.len()], &maximisers)?;
        }
        write_values::<E>(&arguments.output, &[found.len()], &found)?;
        let (count, number) = (points.nrows(), slopes.nrows());
        let document = json!({
            "points": count,
            "slopes": number,
            "seconds": seconds,
            "device": engine.describe(),
        });
        session.print(&document, || {
            format!("{count} points, {number} slopes, {seconds:.4} s on {}\n", engine.describe())
        })
    }
}
