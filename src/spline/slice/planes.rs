//! Tangents on a slice, as planes of its coordinates.

use std::ops::Range;

use rayon::prelude::*;

use crate::engine::plan::{Chunks, overlapped};
use crate::engine::{Context, Curvature, SplineEngine};
use crate::spline::JetSource;
use crate::spline::jets::check_outputs;
use crate::{Error, Result, Scalar};

use super::Slice;

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
    let Curvature { a, b } = curvature;
    if let Some(c) = [a, b].iter().find(|c| !(c.is_finite() && **c >= 0.0)) {
        return Err(Error::Argument(format!("a curvature must be finite and at least 0, not {c}")));
    }
    let held = (6 * source.anchors() * size_of::<E::Scalar>()) as u64;
    let tangents = tangents(source, slice, output, held, context)?;
    let half = |sign: f64, curvature: f64| -> Vec<E::Scalar> {
        tangents.iter().flat_map(|tangent| tangent.plane(sign, curvature)).collect()
    };
    let planes = [half(1.0, a), half(-1.0, b)];
    let wrong = |half: &Vec<E::Scalar>| half.iter().position(|value| !value.f64().is_finite());
    match planes.iter().find_map(wrong) {
        None => Ok(planes),
        Some(at) => Err(Error::NonFinite { what: "the planes of a slice".to_owned(), row: at / 3 }),
    }
}

/// # Errors
/// [`Error::Shape`] where a slice is not one of points of so many elements.
pub(super) fn check_length(slice: &Slice, dimension: usize) -> Result<()> {
    let lengths = [&slice.origin, &slice.u, &slice.v].map(Vec::len);
    if lengths == [dimension; 3] {
        return Ok(());
    }
    Err(Error::Shape(format!(
        "a slice with origin, u and v of {lengths:?} elements does not fit anchors of {dimension}"
    )))
}

/// The jets of one output in three coordinates, along the two directions of a slice's [`Frame`](super::Frame) and away
/// from it: at points of the slice, tangents and distances are what they were. Each is the anchor's coordinates, a value
/// and three slopes.
///
/// # Errors
/// As [`planes`].
pub(super) fn projected<E: SplineEngine>(
    source: &dyn JetSource<E>,
    slice: &Slice,
    output: usize,
    context: &Context,
) -> Result<Vec<[f64; 7]>> {
    let frame = slice.frame();
    let held = (14 * source.anchors() * size_of::<f64>()) as u64;
    let jets = tangents(source, slice, output, held, context)?.into_iter().map(|tangent| {
        let ([x, y], [p, q]) = (frame.along(tangent.steps), frame.along(tangent.slopes));
        let away = (tangent.squared - x * x - y * y).max(0.0).sqrt();
        [x, y, away, tangent.value + p * x + q * y, p, q, 0.0]
    });
    Ok(jets.collect())
}

/// The tangents of one output of a source on a slice, for someone who makes `held` bytes of them.
fn tangents<E: SplineEngine>(
    source: &dyn JetSource<E>,
    slice: &Slice,
    output: usize,
    held: u64,
    context: &Context,
) -> Result<Vec<Tangent>> {
    let (anchors, dimension, outputs) = (source.anchors(), source.dimension(), source.outputs());
    check_length(slice, dimension)?;
    check_outputs(&[output], outputs)?;
    let engine = source.engine();
    let scalar = size_of::<E::Scalar>();
    // The jets, those of the output apart, and these on the host.
    let jet = (dimension + outputs * (dimension + 1)) + (dimension + 1) + (2 * dimension + 1);
    let bytes = ((jet * scalar) as u64 + source.bytes_to_make()) * engine.in_flight() as u64;
    let fixed = (anchors * size_of::<Tangent>()) as u64 + held + source.scratch_bytes();
    let most = source.most_jets()?.min(1 << 10);
    let blocks = Chunks::within("the planes of a slice", anchors, bytes, fixed, context.memory(), most)?;

    let mut tangents = Vec::with_capacity(anchors);
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
        let jets = (points.par_chunks_exact(dimension), &values, slopes.par_chunks_exact(dimension));
        let made =
            jets.into_par_iter().map(|(point, value, slope)| Tangent::new(point, *value, slope, slice));
        tangents.par_extend(made);
        context.progress().advance(block.len() as u64);
        Ok(())
    })?;
    context.progress().finish();
    Ok(tangents)
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
