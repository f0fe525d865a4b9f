//! Conjugates and biconjugates, convex and concave.

use ndarray::ArrayView2;

use crate::engine::{Context, MaxAffineSpec, SplineEngine};
use crate::{Error, Result, Scalar};

use super::{Grid, GridFunction};

/// A conjugate, and where it is attained.
#[derive(Debug, Clone, PartialEq)]
pub struct Conjugate {
    /// The conjugate on the grid of slopes.
    pub function: GridFunction,
    /// For each slope the position, in the function's grid, of the point that attains it; of several that with the
    /// lowest index on the last axis, then on the one before.
    pub maximisers: Vec<u32>,
}

/// The conjugate `f*(s) = max_x (s . x - f(x))` at a grid of slopes.
///
/// # Errors
/// [`Error::Shape`] for slopes of another dimension; [`Error::Argument`] where a value is minus infinity, or a number
/// does not fit the engine's type; [`Error::Memory`], [`Error::Tensor`], [`Error::Cancelled`]; what the engine says.
pub fn conjugate<E: SplineEngine>(
    engine: &E,
    f: &GridFunction,
    slopes: &Grid,
    context: &Context,
) -> Result<Conjugate> {
    let found = on_device(engine, f, slopes, &both(f.grid(), slopes)?, context)?;
    read(engine, found, slopes)
}

/// The conjugate, where it was computed; the axes are those of points and slopes.
fn on_device<E: SplineEngine>(
    engine: &E,
    f: &GridFunction,
    slopes: &Grid,
    [points, at]: &[Axes<E::Scalar>; 2],
    context: &Context,
) -> Result<E::Conjugate> {
    let grid = f.grid();
    if slopes.dimension() != grid.dimension() {
        return Err(Error::Shape(format!(
            "slopes of {} axes do not fit a function of {}",
            slopes.dimension(),
            grid.dimension()
        )));
    }
    if let Some(at) = f.values().iter().position(|&v| v == f64::NEG_INFINITY) {
        return Err(Error::Argument(format!(
            "the value at {:?} is minus infinity, where every conjugate is infinite: only +inf is outside the domain \
             of a function that counts as convex",
            grid.point(at)
        )));
    }
    plan(engine, grid, slopes, context)?;
    let values = rounded::<E::Scalar>(f.values())?;
    context.check()?;
    let values = engine.upload(&values, &grid.shape())?;
    engine.conjugate(&values, &slices(points), &slices(at))
}

fn read<E: SplineEngine>(engine: &E, found: E::Conjugate, slopes: &Grid) -> Result<Conjugate> {
    let found = engine.conjugate_finish(found)?;
    let values = found.values.iter().map(|v| v.f64()).collect();
    Ok(Conjugate { function: GridFunction::new(slopes.clone(), values)?, maximisers: found.maximisers })
}

/// Coordinates in the engine's type.
type Axes<S> = Vec<Vec<S>>;

fn both<S: Scalar>(grid: &Grid, slopes: &Grid) -> Result<[Axes<S>; 2]> {
    let axes = |grid: &Grid| grid.axes().iter().map(|axis| ascending(axis)).collect::<Result<_>>();
    Ok([axes(grid)?, axes(slopes)?])
}

fn slices<S>(axes: &[Vec<S>]) -> Vec<&[S]> {
    axes.iter().map(Vec::as_slice).collect()
}

/// Refuses what does not fit.
fn plan<E: SplineEngine>(engine: &E, grid: &Grid, slopes: &Grid, context: &Context) -> Result<()> {
    let mut shape = grid.shape();
    let mut elements = vec![grid.len() as u64];
    for (i, count) in slopes.shape().into_iter().enumerate() {
        shape[i] = count;
        elements.push(shape.iter().map(|&n| n as u64).product());
    }
    let scalar = size_of::<E::Scalar>() as u64;
    let what = "a conjugate".to_owned();
    let needed = elements.iter().max().map_or(0, |most| most * scalar.max(size_of::<u32>() as u64));
    let largest = engine.largest_tensor();
    if needed > largest {
        return Err(Error::Tensor { what, needed, largest });
    }
    // A pass holds what it reads and what it writes, values and picks.
    let pass = elements.windows(2).map(|pair| pair[0] + pair[1]).max().unwrap_or(0);
    let needed = pass * (scalar + size_of::<u32>() as u64);
    let budget = context.memory();
    if needed > budget {
        return Err(Error::Memory { what, needed, budget });
    }
    Ok(())
}

/// Values in the engine's type: infinity as its largest number.
fn rounded<S: Scalar>(values: &[f64]) -> Result<Vec<S>> {
    let largest = S::max_value();
    let round = |&value: &f64| {
        if value == f64::INFINITY {
            return Ok(largest);
        }
        let rounded = S::of(value);
        if rounded.abs() < largest {
            Ok(rounded)
        } else {
            Err(Error::Argument(format!("the value {value} does not fit {}; use --precision f64", S::NAME)))
        }
    };
    values.iter().map(round).collect()
}

/// Coordinates in the engine's type.
fn ascending<S: Scalar>(axis: &[f64]) -> Result<Vec<S>> {
    let rounded: Vec<S> = axis.iter().map(|&x| S::of(x)).collect();
    match rounded.windows(2).position(|pair| pair[0] >= pair[1]) {
        Some(at) => Err(Error::Argument(format!(
            "the coordinates {} and {} are equal in {}; use --precision f64",
            axis[at],
            axis[at + 1],
            S::NAME
        ))),
        None if rounded.iter().all(|x| x.is_finite()) => Ok(rounded),
        None => Err(Error::Argument(format!("a coordinate does not fit {}; use --precision f64", S::NAME))),
    }
}

/// The biconjugate `f**(x) = max_s (s . x - f*(s))` at the points of the function: its convex envelope, as far as the
/// slopes hold its subgradients, and else a convex function below.
///
/// # Errors
/// As [`conjugate`].
pub fn biconjugate<E: SplineEngine>(
    engine: &E,
    f: &GridFunction,
    slopes: &Grid,
    context: &Context,
) -> Result<Conjugate> {
    // A function whose domain is not empty has a finite conjugate, which can stay where it is.
    let axes = both(f.grid(), slopes)?;
    let conjugate = on_device(engine, f, slopes, &axes, context)?;
    plan(engine, slopes, f.grid(), context)?;
    let values = engine.conjugate_values(&conjugate);
    read(engine, engine.conjugate(&values, &slices(&axes[1]), &slices(&axes[0]))?, f.grid())
}

/// The concave conjugate `f_*(s) = min_x (s . x - f(x))`; minus infinity is outside the domain.
///
/// # Errors
/// As [`conjugate`], with plus infinity in the place of minus infinity.
pub fn concave_conjugate<E: SplineEngine>(
    engine: &E,
    f: &GridFunction,
    slopes: &Grid,
    context: &Context,
) -> Result<Conjugate> {
    if let Some(at) = f.values().iter().position(|&v| v == f64::INFINITY) {
        return Err(Error::Argument(format!(
            "the value at {:?} is infinity, where every concave conjugate is minus infinity: only -inf is outside \
             the domain of a function that counts as concave",
            f.grid().point(at)
        )));
    }
    // f_*(s) = -(-f)*(-s)
    let mut found = conjugate(engine, &f.map(|_, v| -v)?, &slopes.mirrored(), context)?;
    found.maximisers.reverse();
    let values = found.function.values().iter().rev().map(|v| -v).collect();
    Ok(Conjugate { function: GridFunction::new(slopes.clone(), values)?, ..found })
}

/// The concave biconjugate: the concave envelope, as [`biconjugate`] is the convex one.
///
/// # Errors
/// As [`concave_conjugate`].
pub fn concave_biconjugate<E: SplineEngine>(
    engine: &E,
    f: &GridFunction,
    slopes: &Grid,
    context: &Context,
) -> Result<Conjugate> {
    let conjugate = concave_conjugate(engine, f, slopes, context)?.function;
    concave_conjugate(engine, &conjugate, f.grid(), context)
}

/// The conjugate of a function that is known at points `[M, D]`, where it has `values [M]` (`+inf` outside its domain),
/// at `slopes [N, D]`, by comparing all pairs: values `[N]`, and the points that attain them (of equals the first).
///
/// # Errors
/// [`Error::Shape`] where the arrays do not fit; [`Error::NonFinite`] for points and slopes; [`Error::Argument`] for
/// values that are NaN or minus infinity or do not fit, or where none is finite; what the engine says.
pub fn conjugate_of_points<E: SplineEngine>(
    engine: &E,
    points: ArrayView2<'_, f64>,
    values: &[f64],
    slopes: ArrayView2<'_, f64>,
    context: &Context,
) -> Result<(Vec<f64>, Vec<u32>)> {
    let [count, dimension] = [points.nrows(), points.ncols()];
    if values.len() != count || slopes.ncols() != dimension || dimension == 0 {
        return Err(Error::Shape(format!(
            "{count} points of {dimension} elements, {} values and slopes of {} elements do not fit",
            values.len(),
            slopes.ncols()
        )));
    }
    for (what, rows) in [("points", &points), ("slopes", &slopes)] {
        if let Some(row) = rows.rows().into_iter().position(|row| row.iter().any(|x| !x.is_finite())) {
            return Err(Error::NonFinite { what: what.to_owned(), row });
        }
    }
    if let Some(at) = values.iter().position(|v| v.is_nan() || *v == f64::NEG_INFINITY) {
        return Err(Error::Argument(format!(
            "value {at} is {}; values are finite, or +inf outside the domain",
            values[at]
        )));
    }
    if !values.iter().any(|v| v.is_finite()) {
        return Err(Error::Argument("no value is finite: the domain is empty".to_owned()));
    }
    context.check()?;
    let upload = |rows: &ArrayView2<'_, f64>| {
        let values: Vec<E::Scalar> = rows.iter().map(|&x| E::Scalar::of(x)).collect();
        engine.upload(&values, &[rows.nrows(), dimension])
    };
    let (points, slopes) = (upload(&points)?, upload(&slopes)?);
    let values = engine.upload(&rounded::<E::Scalar>(values)?, &[count])?;
    let found = engine.max_affine(&points, &values, &slopes, &MaxAffineSpec::default())?;
    Ok((found.values.iter().map(|v| v.f64()).collect(), found.pieces))
}
