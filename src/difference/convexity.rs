//! Whether functions are convex along segments between points of the data.

use ndarray::Array2;
use rand::RngExt;
use serde::Serialize;

use crate::data::Dataset;
use crate::engine::plan::Chunks;
use crate::engine::{Context, Engine};
use crate::network::{Program, check_finite};
use crate::{Error, Result, Scalar};

use super::epsilon;

/// Ends and places of segments are drawn from this stream of the seed.
const STREAM: u64 = 1 << 45;

/// What segments say about a function of several outputs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Convexity {
    /// Segments looked at.
    pub segments: usize,
    /// Segments on which an output lies further above its chord than is allowed.
    pub violations: usize,
    /// How far an output lies above its chord at most, over the largest value of any output at the three points; below
    /// 0 where all lie below theirs.
    pub excess: f64,
    /// What rounding is allowed of that.
    pub allowed: f64,
}

/// Looks for `f(t x + (1 - t) y) > t f(x) + (1 - t) f(y)` along seeded random segments: `x` and `y` two rows of the
/// data, `t` uniform in `[0, 1)`. Each of the `functions` is some of the program's outputs. Rounding may take as many
/// epsilons of the scalar as there are `roundings` ([`Difference::roundings`](super::Difference::roundings)), relative to
/// the largest value at the three points.
///
/// # Errors
/// [`Error::Argument`] for less than two rows or an output that is not there; [`Error::Shape`] where rows do not fit;
/// [`Error::NonFinite`], [`Error::Memory`], [`Error::Cancelled`]; what the engine says.
pub fn convexity<E: Engine>(
    program: &Program<E>,
    functions: &[Vec<usize>],
    roundings: u64,
    data: &Dataset,
    segments: usize,
    context: &Context,
) -> Result<Vec<Convexity>> {
    let (rows, all) = (data.len(), program.outputs());
    if rows < 2 && segments > 0 {
        return Err(Error::Argument(format!("segments need two rows of data, there is {rows}")));
    }
    if let Some(wrong) = functions.iter().flatten().find(|&&k| k >= all) {
        return Err(Error::Argument(format!("output {wrong} of a network with {all}")));
    }
    let allowed = roundings as f64 * epsilon::<E::Scalar>();
    let mut found =
        vec![Convexity { segments, violations: 0, excess: f64::NEG_INFINITY, allowed }; functions.len()];
    let mut rng = context.rng(STREAM);
    // The ends and the point between, and their values, are on the host at once.
    let host = (3 * (program.dimension() + all) * size_of::<E::Scalar>()) as u64;
    let bytes = program.bytes_per_sample(None) * program.engine().in_flight() as u64 + host;
    let most = program.chunks(segments, None, context.memory())?.size();
    let what = "a segment";
    let chunks = Chunks::within(what, segments, bytes, program.scratch_bytes(), context.memory(), most)?;
    context.progress().start("segments", segments as u64);
    for range in chunks.iter() {
        context.check()?;
        let drawn: Vec<(usize, usize, f64)> = range
            .clone()
            .map(|_| {
                let first = rng.random_range(0..rows);
                // Any other row.
                let second = (first + rng.random_range(1..rows)) % rows;
                (first, second, rng.random::<f64>())
            })
            .collect();
        let gather = |indices: Vec<usize>| data.gather::<E::Scalar>(&indices);
        let x = gather(drawn.iter().map(|&(x, _, _)| x).collect())?;
        let y = gather(drawn.iter().map(|&(_, y, _)| y).collect())?;
        let between = Array2::from_shape_fn(x.dim(), |(i, j)| {
            let t = drawn[i].2;
            E::Scalar::of(t * x[[i, j]].f64() + (1.0 - t) * y[[i, j]].f64())
        });
        let values = |points: &Array2<E::Scalar>| -> Result<Vec<E::Scalar>> {
            let values = program.engine().download(&program.forward(&program.upload(points.view())?)?)?;
            check_finite(&values, all, 0)?;
            Ok(values)
        };
        let (at_x, at_y, at_z) = (values(&x)?, values(&y)?, values(&between)?);
        let ends = at_x.chunks_exact(all).zip(at_y.chunks_exact(all));
        for ((&(_, _, t), (x, y)), z) in drawn.iter().zip(ends).zip(at_z.chunks_exact(all)) {
            for (found, outputs) in found.iter_mut().zip(functions) {
                let (mut above, mut scale) = (f64::NEG_INFINITY, 0.0_f64);
                for &k in outputs {
                    let (x, y, z) = (x[k].f64(), y[k].f64(), z[k].f64());
                    above = above.max(z - (t * x + (1.0 - t) * y));
                    scale = scale.max(x.abs()).max(y.abs()).max(z.abs());
                }
                let excess = if scale > 0.0 { above / scale } else { 0.0 };
                found.excess = found.excess.max(excess);
                found.violations += usize::from(excess > allowed);
            }
        }
        context.progress().advance(range.len() as u64);
    }
    context.progress().finish();
    Ok(found)
}
