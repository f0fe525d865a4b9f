//! A spline on a 2-D slice `x = origin + s u + t v` of its space: planes of three coefficients and one quadratic.
//!
//! With `T_i(x) = v_i + J_i (x - x_i)` and `d_i = |origin - x_i|`,
//!
//! ```text
//! L(x) = max_i (p_i s + q_i t + r_i) - (a/2) |s u + t v|^2
//! p_i = J_i . u + a (x_i - origin) . u,   q_i = J_i . v + a (x_i - origin) . v,   r_i = T_i(origin) - (a/2) d_i^2
//! ```
//!
//! and `-U(x)` is the same of the negated tangents, with `b`. Whatever the dimension of the space, a pair of pixel and
//! anchor then costs two multiplications, and most pairs need not be looked at ([`SplineEngine::slice`]).

use std::ops::Range;

use rayon::prelude::*;

use crate::engine::plan::{Chunks, overlapped};
use crate::engine::{Context, Curvature, Search, SliceValues, SplineEngine};
use crate::tolerance::CLOSE;
use crate::{Error, Result, Scalar};

use super::JetSource;
use super::jets::check_outputs;

/// How much larger than the points of [`Slice::through`] a slice is.
const MARGIN: f64 = 1.25;

/// The points `origin + s u + t v`; pictures show `s` and `t` in `[-1, 1]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Slice {
    /// The point in the middle `[D]`.
    pub origin: Vec<f64>,
    /// From the middle to the right edge `[D]`.
    pub u: Vec<f64>,
    /// From the middle to the upper edge `[D]`.
    pub v: Vec<f64>,
}

impl Slice {
    /// The slice through three points `[D]`.
    ///
    /// `u` has the direction from the first point to the second, `v` is orthogonal to it, with the third point on the
    /// upper side of the line through the first two. Both have the same length, so that a square picture shows all
    /// distances and angles as they are. `origin` is the centre of the rectangle along `u` and `v` that bounds the
    /// points, whose longer side is 4/5 of the picture's: the points have `s` and `t` in `[-0.8, 0.8]`.
    ///
    /// # Errors
    /// [`Error::Shape`] for points of different lengths; [`Error::NonFinite`] with the number of a point that holds a
    /// NaN or an infinity; [`Error::Argument`] where two coincide or all lie on one line: where the lowest height of
    /// the triangle is at most 1e-5 of its longest side, what the slice shows would be rounding.
    pub fn through(points: [&[f64]; 3]) -> Result<Self> {
        let dimension = points[0].len();
        if let Some(other) = points.iter().find(|point| point.len() != dimension) {
            let lengths = [dimension, other.len()];
            return Err(Error::Shape(format!("points of {lengths:?} elements do not span a slice")));
        }
        if let Some(row) = points.iter().position(|point| !point.iter().all(|x| x.is_finite())) {
            return Err(Error::NonFinite { what: "the points of a slice".to_owned(), row });
        }
        let [along, other] = [1, 2].map(|i| moved(points[i], -1.0, points[0]));
        let [width, distance, between] =
            [norm(&along), norm(&other), norm(&moved(points[2], -1.0, points[1]))];
        let longest = width.max(distance).max(between);
        let pairs = [([0, 1], width), ([0, 2], distance), ([1, 2], between)];
        if let Some(([i, j], _)) = pairs.iter().find(|(_, length)| *length <= CLOSE * longest) {
            return Err(Error::Argument(format!(
                "points {i} and {j} coincide: a slice needs three points that do not lie on one line"
            )));
        }
        let right = scaled(&along, 1.0 / width);
        let foot = dot(&other, &right);
        let upwards = moved(&other, -foot, &right);
        let height = norm(&upwards);
        // The lowest of a triangle's heights stands on its longest side.
        if width * height <= CLOSE * longest * longest {
            return Err(Error::Argument(
                "points 0, 1 and 2 lie on one line: a slice needs three points that do not".to_owned(),
            ));
        }
        let (low, high) = (foot.min(0.0), foot.max(width));
        let half = MARGIN * (high - low).max(height) / 2.0;
        let origin = moved(&moved(points[0], (low + high) / 2.0, &right), 0.5, &upwards);
        Ok(Self { origin, u: scaled(&right, half), v: scaled(&upwards, half / height) })
    }

    /// The point at `s` and `t` `[D]`.
    pub fn point(&self, s: f64, t: f64) -> Vec<f64> {
        moved(&moved(&self.origin, s, &self.u), t, &self.v)
    }
}

/// `x + factor y`
fn moved(x: &[f64], factor: f64, y: &[f64]) -> Vec<f64> {
    x.iter().zip(y).map(|(x, y)| x + factor * y).collect()
}

fn scaled(x: &[f64], factor: f64) -> Vec<f64> {
    x.iter().map(|x| factor * x).collect()
}

fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

fn norm(x: &[f64]) -> f64 {
    dot(x, x).sqrt()
}

/// The coordinates of pixel centres of a picture of `[H, W]` pixels: `s` of its columns `[W]`, from left to right, and
/// `t` of its rows `[H]`, from the top down (row 0 has the largest).
pub fn pixels<S: Scalar>([height, width]: [usize; 2]) -> [Vec<S>; 2] {
    let across = (0..width).map(|i| center(i, width)).collect();
    let up = (0..height).rev().map(|i| center(i, height)).collect();
    [across, up]
}

/// The coordinate of the centre of the `i`-th of `count` equal parts of `[-1, 1]`.
pub fn center<S: Scalar>(i: usize, count: usize) -> S {
    S::of((2.0 * i as f64 + 1.0 - count as f64) / count as f64)
}

/// The planes `[M, 3]` (`p_i`, `q_i`, `r_i`) of one output of a source on a slice: of the lower half, and of the upper
/// half negated, so that both take maxima. `output` counts those of the source.
///
/// They are computed in `f64` from the jets, which are streamed, and rounded once. How the memory budget cuts the
/// anchors into blocks changes no bit.
///
/// # Errors
/// [`Error::Shape`] where the slice does not have the anchors' elements; [`Error::Argument`] for an output that is not
/// there or a curvature that is negative or not finite; [`Error::NonFinite`] for planes that the scalar does not hold;
/// [`Error::Memory`], [`Error::Cancelled`]; what the source says.
pub fn planes<E: SplineEngine>(
    source: &dyn JetSource<E>,
    slice: &Slice,
    output: usize,
    curvature: Curvature,
    context: &Context,
) -> Result<[Vec<E::Scalar>; 2]> {
    let (anchors, dimension, outputs) = (source.anchors(), source.dimension(), source.outputs());
    let lengths = [&slice.origin, &slice.u, &slice.v].map(Vec::len);
    if lengths != [dimension; 3] {
        return Err(Error::Shape(format!(
            "a slice with origin, u and v of {lengths:?} elements does not fit anchors of {dimension}"
        )));
    }
    check_outputs(&[output], outputs)?;
    let Curvature { a, b } = curvature;
    if let Some(c) = [a, b].iter().find(|c| !(c.is_finite() && **c >= 0.0)) {
        return Err(Error::Argument(format!("a curvature must be finite and at least 0, not {c}")));
    }
    let engine = source.engine();
    let scalar = size_of::<E::Scalar>();
    // The jets, those of the output apart, and these on the host.
    let jet = (dimension + outputs * (dimension + 1)) + (dimension + 1) + (2 * dimension + 1);
    let bytes = ((jet * scalar) as u64 + source.bytes_to_make()) * engine.in_flight() as u64;
    let fixed = (6 * anchors * scalar) as u64 + source.scratch_bytes();
    let most = source.most_jets()?.min(1 << 10);
    let blocks = Chunks::within("the planes of a slice", anchors, bytes, fixed, context.memory(), most)?;

    let mut planes = [(); 2].map(|()| vec![E::Scalar::default(); 3 * anchors]);
    let start = |block: Range<usize>| {
        context.check()?;
        let (jets, unchecked) = source.block(block)?;
        let chosen = [output as u32];
        let parts = [
            engine.request(&jets.points)?,
            engine.request(&engine.select(&jets.values, 1, &chosen)?)?,
            engine.request(&engine.select(&jets.jacobians, 1, &chosen)?)?,
        ];
        Ok((parts, unchecked))
    };
    context.progress().start("planes", anchors as u64);
    overlapped(engine, blocks, start, |block, (parts, unchecked)| {
        unchecked.check(engine)?;
        let [points, values, slopes] = parts;
        let [points, values, slopes] =
            [engine.receive(points)?, engine.receive(values)?, engine.receive(slopes)?];
        let [lower, upper] = &mut planes;
        let range = 3 * block.start..3 * block.end;
        let rows = lower[range.clone()].par_chunks_exact_mut(3).zip(upper[range].par_chunks_exact_mut(3));
        let jets = (points.par_chunks_exact(dimension), &values, slopes.par_chunks_exact(dimension));
        rows.zip(jets).for_each(|((lower, upper), (point, value, slope))| {
            let tangent = Tangent::new(point, *value, slope, slice);
            lower.copy_from_slice(&tangent.plane(1.0, a));
            upper.copy_from_slice(&tangent.plane(-1.0, b));
        });
        context.progress().advance(block.len() as u64);
        Ok(())
    })?;
    context.progress().finish();
    let wrong = |half: &Vec<E::Scalar>| half.iter().position(|value| !value.f64().is_finite());
    match planes.iter().find_map(wrong) {
        None => Ok(planes),
        Some(at) => Err(Error::NonFinite { what: "the planes of a slice".to_owned(), row: at / 3 }),
    }
}

/// A tangent and the distance from its anchor, on a slice.
#[derive(Default)]
struct Tangent {
    /// `T(origin)`, `J . u` and `J . v`.
    value: f64,
    slopes: [f64; 2],
    /// `|x - origin|^2`, `(x - origin) . u` and `(x - origin) . v` of the anchor.
    squared: f64,
    steps: [f64; 2],
}

impl Tangent {
    fn new<S: Scalar>(point: &[S], value: S, slope: &[S], slice: &Slice) -> Self {
        let mut sums = Self { value: value.f64(), ..Self::default() };
        let directions = slice.origin.iter().zip(&slice.u).zip(&slice.v);
        for ((x, slope), ((origin, u), v)) in point.iter().zip(slope).zip(directions) {
            let (step, slope) = (x.f64() - origin, slope.f64());
            sums.value -= slope * step;
            sums.squared += step * step;
            for (i, direction) in [u, v].into_iter().enumerate() {
                sums.slopes[i] += slope * direction;
                sums.steps[i] += step * direction;
            }
        }
        sums
    }

    /// The plane of `sign T - (curvature / 2) d^2`, without the quadratic that all anchors share.
    fn plane<S: Scalar>(&self, sign: f64, curvature: f64) -> [S; 3] {
        let along = |i: usize| sign * self.slopes[i] + curvature * self.steps[i];
        [along(0), along(1), sign * self.value - curvature / 2.0 * self.squared].map(S::of)
    }
}

/// One output of a spline at the pixels of a picture; all arrays `[H, W]`, row 0 at the top.
#[derive(Debug, Clone, PartialEq)]
pub struct SliceImage<S> {
    /// The spline.
    pub value: Vec<S>,
    /// The lower envelope `L`.
    pub lower: Vec<S>,
    /// The upper envelope `U`.
    pub upper: Vec<S>,
    /// The anchor that is active in the convex half (the lower envelope).
    pub convex_piece: Vec<u32>,
    /// The anchor that is active in the concave half (the upper envelope).
    pub concave_piece: Vec<u32>,
    /// Pairs of pixel and plane that were compared, in both halves together, of `2 H W M`.
    pub scored: u64,
}

/// A picture of `size` `[H, W]` of the spline whose [`planes`] on `slice` with these `curvature` are given: values at
/// the centres of [`pixels`], `s` to the right, `t` up.
///
/// # Errors
/// [`Error::Shape`] for planes that are not `[M, 3]`, or none; [`Error::Memory`] where the picture does not fit;
/// [`Error::Cancelled`]; what the engine says.
pub fn image<E: SplineEngine>(
    engine: &E,
    planes: &[Vec<E::Scalar>; 2],
    slice: &Slice,
    curvature: Curvature,
    size: [usize; 2],
    context: &Context,
) -> Result<SliceImage<E::Scalar>> {
    let [height, width] = size;
    let scalar = size_of::<E::Scalar>();
    // Three values and two pieces for each pixel, beside the planes of one half on the engine.
    let picture = size.iter().fold(3 * scalar + 2 * size_of::<u32>(), |all, n| all.saturating_mul(*n)) as u64;
    let beside = (planes[0].len().max(planes[1].len()) * scalar) as u64 + engine.spline_scratch();
    let (needed, budget) = (picture.saturating_add(beside), context.memory());
    if needed > budget {
        return Err(Error::Memory { what: format!("a picture of {width}x{height} pixels"), needed, budget });
    }
    let [across, up] = pixels::<E::Scalar>(size);
    let half = |planes: &[E::Scalar]| {
        context.check()?;
        if planes.is_empty() || !planes.len().is_multiple_of(3) {
            return Err(Error::Shape(format!("{} numbers are no planes of 3 coefficients", planes.len())));
        }
        let planes = engine.upload(planes, &[planes.len() / 3, 3])?;
        engine.slice(&planes, &across, &up, Search::Pruned)
    };
    let SliceValues { values: mut lower, pieces: convex_piece, scored: convex } = half(&planes[0])?;
    let SliceValues { values: mut upper, pieces: concave_piece, scored: concave } = half(&planes[1])?;

    let [low, high] = curvature.weights();
    let Slice { u, v, .. } = slice;
    let [uu, uv, vv] = [dot(u, u), dot(u, v), dot(v, v)];
    let mut value = vec![E::Scalar::default(); lower.len()];
    let row = width.max(1);
    let halves = lower.par_chunks_mut(row).zip(upper.par_chunks_mut(row));
    value.par_chunks_mut(row).zip(halves).zip(&up).for_each(|((value, (lower, upper)), t)| {
        let pixels = value.iter_mut().zip(lower.iter_mut().zip(upper)).zip(&across);
        for ((value, (lower, upper)), s) in pixels {
            let (s, t, convex, concave) = (s.f64(), t.f64(), lower.f64(), -upper.f64());
            let half_squared = (uu * s * s + 2.0 * uv * s * t + vv * t * t) / 2.0;
            // The quadratics cancel.
            *value = E::Scalar::of(low * convex + high * concave);
            *lower = E::Scalar::of(convex - curvature.a * half_squared);
            *upper = E::Scalar::of(concave + curvature.b * half_squared);
        }
    });
    Ok(SliceImage { value, lower, upper, convex_piece, concave_piece, scored: convex + concave })
}
