//! Planes that are drawn: slices of input space, from files and from data.

use std::path::Path;

use nalgebra::{DMatrix, SymmetricEigen};
use ndarray::Array2;
use rand::RngExt;

use crate::data::{Dataset, read_array, write_npz};
use crate::engine::plan::Chunks;
use crate::engine::{Context, Cpu, Engine};
use crate::network::{Network, check_finite};
use crate::spline::slice::Slice;
use crate::tolerance::CLOSE;
use crate::{Error, Result};

/// The stream of random numbers that directions come from.
const STREAM: u64 = 0x706c_616e;

/// Directions that principal components are looked for in, and passes over the data at most. The span of the first two
/// is right to 1e-10 long before where their variances are not nearly those of the ninth.
const LOOKED_IN: usize = 8;
const PASSES: usize = 50;

/// By how much the rectangle of [`rectangle`] is larger than the data.
const MARGIN: f64 = 1.1;

/// A plane out of an `.npz` file of `origin`, `u` and `v` `[D]`.
///
/// # Errors
/// A file that cannot be read or lacks one of the arrays; [`Error::File`] where they have different lengths or hold a
/// NaN or an infinity.
pub fn read_plane(path: &Path) -> Result<Slice> {
    let vector = |name| Ok::<Vec<f64>, Error>(read_array(path, Some(name))?.into_iter().collect());
    let slice = Slice { origin: vector("origin")?, u: vector("u")?, v: vector("v")? };
    let lengths = [&slice.origin, &slice.u, &slice.v].map(Vec::len);
    if lengths[0] == 0 || lengths != [lengths[0]; 3] {
        let reason = format!("holds origin, u and v of {lengths:?} elements; expected equally many");
        return Err(Error::file(path, reason));
    }
    if let Some((name, _)) = [("origin", &slice.origin), ("u", &slice.u), ("v", &slice.v)]
        .iter()
        .find(|(_, vector)| !vector.iter().all(|x| x.is_finite()))
    {
        return Err(Error::file(path, format!("has a NaN or an infinity in '{name}'")));
    }
    Ok(slice)
}

/// Writes a plane as [`read_plane`] reads it, in `f64`.
///
/// # Errors
/// A failed write.
pub fn write_plane(path: &Path, slice: &Slice) -> Result<()> {
    let shape = [slice.origin.len()];
    write_npz(path, &[("origin", &shape, &slice.origin), ("u", &shape, &slice.u), ("v", &shape, &slice.v)])
}

/// The plane around a point `[D]` along two directions `[D]`, as they are, times `extent`: with unit directions `u` and
/// `v` have that length.
///
/// # Errors
/// [`Error::Argument`] for an extent that is not positive and finite.
pub fn around(origin: Vec<f64>, [right, up]: [Vec<f64>; 2], extent: f64) -> Result<Slice> {
    if !(extent.is_finite() && extent > 0.0) {
        return Err(Error::Argument(format!(
            "the extent of a plane must be positive and finite, not {extent}"
        )));
    }
    let scaled = |x: Vec<f64>| x.into_iter().map(|x| extent * x).collect();
    Ok(Slice { origin, u: scaled(right), v: scaled(up) })
}

/// The rectangle of two inputs that holds the rows of data `[N, 2]`, with a twentieth of its sides as a margin; `s` is
/// the first input.
///
/// # Errors
/// [`Error::Shape`] for rows of other than two elements; [`Error::Argument`] where one of them never varies;
/// [`Error::NonFinite`]; data that cannot be read.
pub fn rectangle(data: &Dataset, context: &Context) -> Result<Slice> {
    if data.row_len() != 2 {
        return Err(Error::Shape(format!(
            "a rectangle holds rows of two elements; those of '{}' have {}",
            data.path().display(),
            data.row_len()
        )));
    }
    let (mut low, mut high) = ([f64::MAX; 2], [f64::MIN; 2]);
    each_block(data, context, |rows| {
        for row in rows.rows() {
            for (i, x) in row.iter().enumerate() {
                (low[i], high[i]) = (low[i].min(*x), high[i].max(*x));
            }
        }
        Ok(())
    })?;
    if let Some(i) = (0..2).find(|&i| low[i] >= high[i]) {
        return Err(Error::Argument(format!("input {i} is {} in all rows: they span no rectangle", low[i])));
    }
    let half = |i: usize| MARGIN * (high[i] - low[i]) / 2.0;
    let origin = (0..2).map(|i| f64::midpoint(low[i], high[i])).collect();
    Ok(Slice { origin, u: vec![half(0), 0.0], v: vec![0.0, half(1)] })
}

/// Two inputs as unit directions in `dimension` dimensions.
///
/// # Errors
/// [`Error::Argument`] for inputs that are not there, or the same.
pub fn input_directions(dimension: usize, inputs: [usize; 2]) -> Result<[Vec<f64>; 2]> {
    let [a, b] = inputs;
    if a == b || a.max(b) >= dimension {
        return Err(Error::Argument(format!(
            "inputs {a} and {b} span no plane: expected two different ones of 0 to {}",
            dimension.saturating_sub(1)
        )));
    }
    Ok(inputs.map(|at| (0..dimension).map(|i| f64::from(u8::from(i == at))).collect()))
}

/// Two channels of images `shape` `[C, H, W]` as unit directions: all pixels of one channel move alike.
///
/// # Errors
/// [`Error::Shape`] for inputs that are no images; [`Error::Argument`] for channels that are not there, or the same.
pub fn channel_directions(shape: &[usize], channels: [usize; 2]) -> Result<[Vec<f64>; 2]> {
    let &[count, height, width] = shape else {
        return Err(Error::Shape(format!("inputs of shape {shape:?} have no channels: expected [C, H, W]")));
    };
    let [a, b] = channels;
    if a == b || a.max(b) >= count {
        return Err(Error::Argument(format!(
            "channels {a} and {b} span no plane: expected two different ones of 0 to {}",
            count.saturating_sub(1)
        )));
    }
    let pixels = height * width;
    let element = 1.0 / (pixels as f64).sqrt();
    Ok(channels.map(|channel| {
        (0..count * pixels).map(|i| if i / pixels == channel { element } else { 0.0 }).collect()
    }))
}

/// The gradients of two outputs of a network at a point `[D]` as orthonormal directions: along the first the first output
/// grows the fastest, and the second is what of the other gradient is orthogonal to it. Without `outputs` the two that
/// are the largest at the point.
///
/// # Errors
/// [`Error::Argument`] for outputs that are not there, fewer than two, a gradient that is 0, and gradients along one
/// line; [`Error::Shape`] for a point of another length; [`Error::NonFinite`].
pub fn gradient_directions(
    network: &Network,
    point: &[f64],
    outputs: Option<[usize; 2]>,
) -> Result<[Vec<f64>; 2]> {
    let engine = Cpu::<f64>::new();
    let program = network.compile(&engine)?;
    let x = engine.upload(point, &[1, point.len()])?;
    let values = engine.download(&program.forward(&x)?)?;
    check_finite(&values, values.len(), 0)?;
    let [a, b] = match outputs {
        Some(outputs) => outputs,
        None => {
            let mut order: Vec<usize> = (0..values.len()).collect();
            order.sort_by(|&i, &j| values[j].total_cmp(&values[i]));
            match order[..] {
                [a, b, ..] => [a, b],
                _ => return Err(Error::Argument("the gradients of one output span no plane".to_owned())),
            }
        }
    };
    let gradients = engine.download(&program.jets(&x, &[a, b])?.jacobians)?;
    check_finite(&gradients, gradients.len(), 0)?;
    let (first, second) = gradients.split_at(point.len());
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    let [long, other] = [first, second].map(|x| dot(x, x).sqrt());
    if long == 0.0 || other == 0.0 {
        let flat = if long == 0.0 { a } else { b };
        return Err(Error::Argument(format!("output {flat} has no gradient at the point: it is flat there")));
    }
    let right: Vec<f64> = first.iter().map(|x| x / long).collect();
    let along = dot(second, &right);
    let rest: Vec<f64> = second.iter().zip(&right).map(|(x, r)| x - along * r).collect();
    let height = dot(&rest, &rest).sqrt();
    // Beyond that the rest is rounding.
    if height <= CLOSE * other {
        return Err(Error::Argument(format!(
            "the gradients of outputs {a} and {b} lie on one line at the point: they span no plane"
        )));
    }
    Ok([right, rest.into_iter().map(|x| x / height).collect()])
}

/// Two orthonormal directions `[D]` in general position, from the context's seed: all planes are equally likely.
///
/// # Errors
/// [`Error::Argument`] in fewer than two dimensions.
pub fn random_directions(dimension: usize, context: &Context) -> Result<[Vec<f64>; 2]> {
    at_least_two(dimension)?;
    let drawn = gaussian(dimension, 2, context);
    Ok(columns(&drawn.qr().q()))
}

/// The first two principal components `[D]` of the rows of data, orthonormal; the largest element of each is positive.
///
/// They are found by subspace iteration (Halko, Martinsson & Tropp 2011, SIAM Review 53), which reads the data some
/// passes over and never holds more of it than a part of the memory budget.
///
/// # Errors
/// [`Error::Argument`] in fewer than two dimensions, or where the rows vary along fewer than two directions;
/// [`Error::NonFinite`], [`Error::Memory`], [`Error::Cancelled`]; data that cannot be read.
pub fn principal_directions(data: &Dataset, context: &Context) -> Result<[Vec<f64>; 2]> {
    let dimension = data.row_len();
    at_least_two(dimension)?;
    let mut mean = vec![0.0; dimension];
    each_block(data, context, |rows| {
        rows.rows().into_iter().for_each(|row| mean.iter_mut().zip(row).for_each(|(m, x)| *m += x));
        Ok(())
    })?;
    mean.iter_mut().for_each(|m| *m /= data.len() as f64);
    let count = LOOKED_IN.min(dimension);
    let mut basis = gaussian(dimension, count, context).qr().q();
    let mut before = [0.0; 2];
    for _ in 0..PASSES {
        // [D, q]: the covariance times the basis.
        let mut product = DMatrix::zeros(dimension, count);
        each_block(data, context, |mut rows| {
            rows.rows_mut()
                .into_iter()
                .for_each(|mut row| row.iter_mut().zip(&mean).for_each(|(x, m)| *x -= m));
            let count = rows.nrows();
            let rows = DMatrix::from_vec(dimension, count, rows.into_raw_vec_and_offset().0);
            product += &rows * rows.tr_mul(&basis);
            Ok(())
        })?;
        let SymmetricEigen { eigenvectors, eigenvalues } = SymmetricEigen::new(basis.tr_mul(&product));
        let mut order: Vec<usize> = (0..count).collect();
        order.sort_by(|&i, &j| eigenvalues[j].total_cmp(&eigenvalues[i]));
        let found = [0, 1].map(|i| eigenvalues[order[i]]);
        // Also where rounding is all that is left of a second direction.
        if found[1].is_nan() || found[1] <= 1e-12 * found[0] {
            return Err(Error::Argument(format!(
                "the rows of '{}' vary along fewer than two directions",
                data.path().display()
            )));
        }
        let rotation =
            DMatrix::from_columns(&order.iter().map(|&i| eigenvectors.column(i)).collect::<Vec<_>>());
        let settled = found.iter().zip(before).all(|(now, before)| (now - before).abs() <= 1e-13 * found[0]);
        if settled {
            return Ok(columns(&(&basis * rotation)));
        }
        before = found;
        basis = (product * rotation).qr().q();
    }
    Ok(columns(&basis))
}

fn at_least_two(dimension: usize) -> Result<()> {
    match dimension {
        0 | 1 => Err(Error::Argument(format!("{dimension} inputs span no plane"))),
        _ => Ok(()),
    }
}

/// Normal numbers `[rows, columns]` (Box & Muller 1958).
fn gaussian(rows: usize, columns: usize, context: &Context) -> DMatrix<f64> {
    let mut rng = context.rng(STREAM);
    DMatrix::from_fn(rows, columns, |_, _| {
        let (radius, angle): (f64, f64) = (rng.random(), rng.random());
        (-2.0 * libm::log(1.0 - radius)).sqrt() * libm::cos(std::f64::consts::TAU * angle)
    })
}

/// The first two columns, each with its largest element positive.
fn columns(basis: &DMatrix<f64>) -> [Vec<f64>; 2] {
    [0, 1].map(|i| {
        let column = basis.column(i);
        let largest = column.iter().copied().fold(0.0, |m: f64, x| if x.abs() > m.abs() { x } else { m });
        column.iter().map(|x| x * largest.signum()).collect()
    })
}

/// The rows of data in blocks `[n, D]` within the memory budget.
fn each_block(
    data: &Dataset,
    context: &Context,
    mut each: impl FnMut(Array2<f64>) -> Result<()>,
) -> Result<()> {
    let bytes = (4 * data.row_len() * size_of::<f64>()) as u64;
    let fixed = 4 * (LOOKED_IN * data.row_len() * size_of::<f64>()) as u64;
    let blocks = Chunks::within("a plane of the data", data.len(), bytes, fixed, context.memory(), 4096)?;
    blocks.iter().try_for_each(|block| {
        context.check()?;
        each(data.rows(block)?)
    })
}
