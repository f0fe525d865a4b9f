//! The Legendre spline of a sampled function: no gradients, only values on a grid.

use crate::engine::{Context, Curvature, MaxAffineSpec, SplineEngine};
use crate::{Error, Result, Scalar};

use super::transform::{concave_conjugate, conjugate};
use super::{Grid, GridFunction};

/// Affine pieces `s_j . x - c_j`.
#[derive(Debug, Clone, PartialEq)]
pub struct Pieces {
    /// Slopes `[J, D]`.
    pub slopes: Vec<f64>,
    /// Conjugates `[J]`.
    pub conjugates: Vec<f64>,
}

/// The max-affine spline of a function on a grid in its convex-concave representation (Perrett, Wood & Brown 2023).
///
/// With curvatures `(a, b)` the convex half `f + (a/2) |x|^2` and the concave half `f - (b/2) |x|^2` are sampled and
/// conjugated on a grid of slopes; each slope with its conjugate is a piece, and those that are the largest (the least)
/// at some point of the grid are kept. As both grids are refined, the pieces become the tangents of the halves'
/// envelopes, and the spline that of [`spline`](crate::spline).
#[derive(Debug, Clone, PartialEq)]
pub struct LegendreSpline {
    /// The curvatures of the halves; they weigh them.
    pub curvature: Curvature,
    /// The pieces of the convex half: their maximum counts.
    pub convex: Pieces,
    /// The pieces of the concave half: their minimum counts.
    pub concave: Pieces,
    /// `D`
    dimension: usize,
}

/// A Legendre spline at points; all arrays `[N]`.
#[derive(Debug, Clone, PartialEq)]
pub struct LegendreValues {
    /// The spline.
    pub value: Vec<f64>,
    /// The convex half less its quadratic: below `f` where the curvature is valid, but for what the grids lack.
    pub lower: Vec<f64>,
    /// The concave half plus its quadratic.
    pub upper: Vec<f64>,
    /// The active pieces of the convex half.
    pub convex_piece: Vec<u32>,
    /// The active pieces of the concave half.
    pub concave_piece: Vec<u32>,
}

impl LegendreSpline {
    /// The spline of `f`, with as many slopes on each axis as `counts` say, from the least to the largest difference
    /// quotient of each half.
    ///
    /// # Errors
    /// [`Error::Argument`] for a curvature that is negative or not finite, a function that is not finite, or `counts`
    /// that do not fit; as [`conjugate`](super::conjugate).
    pub fn new<E: SplineEngine>(
        engine: &E,
        f: &GridFunction,
        curvature: Curvature,
        counts: &[usize],
        context: &Context,
    ) -> Result<Self> {
        let [convex, concave] = halves(f, curvature)?;
        let slopes = [convex.slopes(counts)?, concave.slopes(counts)?];
        Self::of_halves(engine, [&convex, &concave], curvature, [&slopes[0], &slopes[1]], context)
    }

    /// The spline of `f` whose convex and whose concave half have slopes on these grids.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn at_slopes<E: SplineEngine>(
        engine: &E,
        f: &GridFunction,
        curvature: Curvature,
        slopes: [&Grid; 2],
        context: &Context,
    ) -> Result<Self> {
        let [convex, concave] = halves(f, curvature)?;
        Self::of_halves(engine, [&convex, &concave], curvature, slopes, context)
    }

    fn of_halves<E: SplineEngine>(
        engine: &E,
        [convex, concave]: [&GridFunction; 2],
        curvature: Curvature,
        slopes: [&Grid; 2],
        context: &Context,
    ) -> Result<Self> {
        let below = conjugate(engine, convex, slopes[0], context)?.function;
        let above = concave_conjugate(engine, concave, slopes[1], context)?.function;
        // Back at the grid, the maximisers are the slopes of the pieces that are active there.
        let active = [
            conjugate(engine, &below, convex.grid(), context)?.maximisers,
            concave_conjugate(engine, &above, concave.grid(), context)?.maximisers,
        ];
        let [convex, concave] = [Pieces::active(&below, &active[0]), Pieces::active(&above, &active[1])];
        Ok(Self { curvature, convex, concave, dimension: slopes[0].dimension() })
    }

    /// The spline at points `[N, D]`.
    ///
    /// # Errors
    /// [`Error::Shape`] where the points have another dimension; what the engine says.
    pub fn values<E: SplineEngine>(
        &self,
        engine: &E,
        points: &[f64],
        context: &Context,
    ) -> Result<LegendreValues> {
        let dimension = self.dimension;
        if !points.len().is_multiple_of(dimension) {
            return Err(Error::Shape(format!("{} numbers are no points of {dimension}", points.len())));
        }
        context.check()?;
        let count = points.len() / dimension;
        let round = |values: &[f64], sign: f64| -> Vec<E::Scalar> {
            values.iter().map(|&v| E::Scalar::of(sign * v)).collect()
        };
        let at = engine.upload(&round(points, 1.0), &[count, dimension])?;
        // The least of pieces is minus the largest of their negatives.
        let half = |pieces: &Pieces, sign: f64| {
            let number = pieces.conjugates.len();
            let slopes = engine.upload(&round(&pieces.slopes, sign), &[number, dimension])?;
            let conjugates = engine.upload(&round(&pieces.conjugates, sign), &[number])?;
            let found = engine.max_affine(&slopes, &conjugates, &at, &MaxAffineSpec::default())?;
            let values: Vec<f64> = found.values.iter().map(|v| sign * v.f64()).collect();
            Ok::<_, Error>((values, found.pieces))
        };
        let (mut lower, convex_piece) = half(&self.convex, 1.0)?;
        let (mut upper, concave_piece) = half(&self.concave, -1.0)?;
        let [low, high] = self.curvature.weights();
        let mut value = Vec::with_capacity(count);
        for (point, (lower, upper)) in points.chunks_exact(dimension).zip(lower.iter_mut().zip(&mut upper)) {
            // The quadratics cancel.
            value.push(low * *lower + high * *upper);
            let squared: f64 = point.iter().map(|x| x * x).sum();
            *lower -= self.curvature.a / 2.0 * squared;
            *upper += self.curvature.b / 2.0 * squared;
        }
        Ok(LegendreValues { value, lower, upper, convex_piece, concave_piece })
    }
}

/// The convex and the concave half of a function.
fn halves(f: &GridFunction, curvature: Curvature) -> Result<[GridFunction; 2]> {
    let Curvature { a, b } = curvature;
    if let Some(c) = [a, b].iter().find(|c| !(c.is_finite() && **c >= 0.0)) {
        return Err(Error::Argument(format!("a curvature must be finite and at least 0, not {c}")));
    }
    if let Some(at) = f.values().iter().position(|v| !v.is_finite()) {
        return Err(Error::Argument(format!(
            "a spline is made of finite values, and that at {:?} is {}",
            f.grid().point(at),
            f.values()[at]
        )));
    }
    let squares = f.grid().squares();
    Ok([f.map(|i, v| v + a / 2.0 * squares[i])?, f.map(|i, v| v - b / 2.0 * squares[i])?])
}

impl Pieces {
    /// Those pieces of a conjugate that are active somewhere, in the order of their slopes.
    fn active(conjugate: &GridFunction, active: &[u32]) -> Self {
        let mut numbers = active.to_vec();
        numbers.sort_unstable();
        numbers.dedup();
        let slopes = numbers.iter().flat_map(|&i| conjugate.grid().point(i as usize)).collect();
        let conjugates = numbers.iter().map(|&i| conjugate.values()[i as usize]).collect();
        Self { slopes, conjugates }
    }
}
