//! Curvatures from values alone.

use std::ops::Range;

use crate::data::Dataset;
use crate::engine::plan::{Chunks, at_once, overlapped};
use crate::engine::{Context, Curvature, SplineEngine};
use crate::network::Program;
use crate::{Error, Result};

use crate::spline::JetSource;

/// The smallest curvatures for which the bounds of all anchors hold at all `points`, for each output: `a` is the
/// largest `2 (T_i(x) - g(x)) / d_i(x)^2` over the pairs, `b` the largest negative.
///
/// No Hessian is needed, so networks with kinks have one too. It holds over the tested pairs, and is an estimate
/// elsewhere: `points` should be apart from those a bound is judged on.
///
/// # Errors
/// [`Error::Argument`] without points; [`Error::Shape`] where rows do not fit; [`Error::Memory`],
/// [`Error::Cancelled`]; what the source and the data say.
pub fn secant<E: SplineEngine>(
    source: &dyn JetSource<E>,
    program: &Program<E>,
    outputs: &[usize],
    points: &Dataset,
    context: &Context,
) -> Result<Vec<Curvature>> {
    points.check_rows(source.elements())?;
    if points.is_empty() {
        return Err(Error::Argument("a secant curvature needs points to be tested on".to_owned()));
    }
    let engine = source.engine();
    let scalar = size_of::<E::Scalar>();
    // Half the budget for points: as read, uploaded and laid out, with their values and what comes out on top. The
    // other half for jets, and for the network's values at the points before.
    let jet =
        ((source.dimension() * (outputs.len() + 2) + outputs.len()) * scalar) as u64 + source.bytes_to_make();
    let point = ((source.elements() + 2 * source.dimension() + outputs.len() * 8) * scalar) as u64;
    let scratch = source.scratch_bytes() + engine.spline_scratch();
    let (what, budget) = ("a secant curvature", context.memory());
    let most_points = at_once(engine, source.dimension().max(6 * outputs.len()), what)?.min(1 << 11);
    let most_anchors = source.most_jets()?.min(1 << 10);
    Chunks::within(what, 1, 2 * point.max(jet), scratch, budget, 1)?;
    let point_chunks = Chunks::within(what, points.len(), 2 * point, scratch, budget, most_points)?;
    let anchors = Chunks::within(what, source.anchors(), 2 * jet, scratch, budget, most_anchors)?;
    let for_values = context.clone().with_memory((budget - scratch) / 2 + scratch);
    let center = source.center()?;
    let mut largest = vec![Curvature::default(); outputs.len()];
    context.progress().start("secant curvature", (points.len() * source.anchors()) as u64);
    for range in point_chunks.iter() {
        let rows = points.rows::<E::Scalar>(range.clone())?;
        let all = program.values(rows.view(), &for_values)?;
        let chosen = all.select(ndarray::Axis(1), outputs);
        let x = source.place(program.upload(rows.view())?)?;
        let mut secant = engine.secant(&x, &program.upload(chosen.view())?, &center)?;
        let add = |block: Range<usize>| {
            context.check()?;
            let (jets, unchecked) = source.block(block)?;
            engine.secant_add(&mut secant, &jets)?;
            Ok(unchecked)
        };
        overlapped(engine, anchors, add, |block, unchecked| {
            unchecked.check(engine)?;
            context.progress().advance((range.len() * block.len()) as u64);
            Ok(())
        })?;
        for (largest, new) in largest.iter_mut().zip(engine.secant_finish(secant)?) {
            *largest = Curvature { a: largest.a.max(new.a), b: largest.b.max(new.b) };
        }
    }
    context.progress().finish();
    Ok(largest)
}
