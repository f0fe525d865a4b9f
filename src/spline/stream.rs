//! Streaming points and anchors through the envelope kernel.

use std::ops::Range;

use ndarray::ArrayView2;

use crate::Result;
use crate::data::Dataset;
use crate::engine::plan::{EnvelopeDemand, EnvelopePlan, at_once, overlapped};
use crate::engine::{
    Context, EnvelopeSpec, EnvelopeValues, JetsOf, SoftSpec, SoftValues, SplineEngine, TensorOf,
};

use super::{JetSource, Unchecked};

/// Envelopes of a chunk of points.
pub struct PointBlock<'a, S> {
    /// Which points.
    pub range: Range<usize>,
    /// The points `[n, D]`.
    pub points: ArrayView2<'a, S>,
    /// Their envelopes.
    pub envelopes: EnvelopeValues<S>,
}

/// What a visitor of [`envelopes`] holds beside the envelopes, for the planner.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Demand {
    /// Bytes for each point.
    pub bytes_per_point: u64,
    /// Bytes whatever the number of points.
    pub bytes: u64,
}

/// Computes envelopes of all points and hands them over chunk by chunk, in order.
///
/// `slots [families, M]` says which slot of each family an anchor feeds (`u32::MAX`: none). Chunks follow from
/// the context's memory budget and change no bit of the result.
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) where rows do not fit,
/// [`Error::Memory`](crate::Error::Memory),
/// [`Error::Cancelled`](crate::Error::Cancelled); what the source, the data and the visitor say.
pub fn envelopes<E: SplineEngine>(
    source: &dyn JetSource<E>,
    points: &Dataset,
    spec: &EnvelopeSpec,
    slots: &[u32],
    demand: Demand,
    context: &Context,
    mut visit: impl FnMut(PointBlock<'_, E::Scalar>) -> Result<()>,
) -> Result<()> {
    let (engine, outputs, anchors) = (source.engine(), source.outputs(), source.anchors());
    let work = Work {
        stage: "envelope",
        results: spec.variants() * outputs,
        pieces: spec.pieces,
        // For each envelope of either half a score, a comparison, and where it is kept.
        flops: 40 * spec.families * spec.curvatures.len() * outputs,
        demand,
    };
    let begin = |x: &TensorOf<E>, center: &[f64]| engine.envelope(x, outputs, center, spec);
    let add = |envelope: &mut E::Envelope, jets: &JetsOf<E>, block: Range<usize>| {
        let of_block: Vec<u32> =
            slots.chunks_exact(anchors).flat_map(|family| family[block.clone()].iter().copied()).collect();
        engine.envelope_add(envelope, jets, block.start, &of_block)
    };
    stream(source, points, &work, context, begin, add, |range, points, envelope| {
        visit(PointBlock { range, points, envelopes: engine.envelope_finish(envelope)? })
    })
}

/// Computes soft envelopes of all points from all anchors and hands them over chunk by chunk, in order.
///
/// # Errors
/// As [`envelopes`].
pub fn soft_envelopes<E: SplineEngine>(
    source: &dyn JetSource<E>,
    points: &Dataset,
    spec: &SoftSpec,
    demand: Demand,
    context: &Context,
    mut visit: impl FnMut(Range<usize>, SoftValues<E::Scalar>) -> Result<()>,
) -> Result<()> {
    let (engine, outputs) = (source.engine(), source.outputs());
    let sums = (spec.nearest.len() + 2 * spec.halves.len()) * outputs;
    // An exponential takes some twenty operations.
    let work = Work { stage: "soft envelope", results: sums, pieces: false, flops: 25 * sums, demand };
    let begin = |x: &TensorOf<E>, center: &[f64]| engine.soft_envelope(x, outputs, center, spec);
    let add = |envelope: &mut E::SoftEnvelope, jets: &JetsOf<E>, _: Range<usize>| {
        engine.soft_envelope_add(envelope, jets)
    };
    stream(source, points, &work, context, begin, add, |range, _, envelope| {
        visit(range, engine.soft_envelope_finish(envelope)?)
    })
}

/// What is computed for each point, for the planner.
struct Work {
    stage: &'static str,
    /// Pairs of results of a point.
    results: usize,
    /// Whether each comes with the piece that attains it.
    pieces: bool,
    /// Operations for each pair of point and anchor beside the products.
    flops: usize,
    /// What the visitor holds.
    demand: Demand,
}

/// Takes all anchors into what `begin` makes of each chunk of points.
fn stream<E: SplineEngine, A>(
    source: &dyn JetSource<E>,
    points: &Dataset,
    work: &Work,
    context: &Context,
    begin: impl Fn(&TensorOf<E>, &[f64]) -> Result<A>,
    add: impl Fn(&mut A, &JetsOf<E>, Range<usize>) -> Result<()>,
    mut finish: impl FnMut(Range<usize>, ArrayView2<'_, E::Scalar>, A) -> Result<()>,
) -> Result<()> {
    points.check_rows(source.elements())?;
    let plan = plan(source, points.len(), work, context.memory())?;
    let center = source.center()?;
    let engine = source.engine();
    let mut kept: Vec<JetsOf<E>> = Vec::new();
    context.progress().start(work.stage, (points.len() * source.anchors()) as u64);
    for range in plan.points.iter() {
        let rows = points.rows::<E::Scalar>(range.clone())?;
        let (values, shape) = (rows.as_standard_layout(), [rows.nrows(), rows.ncols()]);
        let x = source.place(engine.upload(values.as_slice().unwrap_or_default(), &shape)?)?;
        let mut made = begin(&x, &center)?;
        let take = |block: Range<usize>| {
            context.check()?;
            let number = block.start / plan.anchors.size();
            let (fresh, unchecked) = if number < kept.len() {
                (None, Unchecked::nothing())
            } else {
                let (jets, unchecked) = source.block(block.clone())?;
                (Some(jets), unchecked)
            };
            add(&mut made, fresh.as_ref().unwrap_or_else(|| &kept[number]), block)?;
            kept.extend(fresh.filter(|_| plan.keep_jets));
            Ok(unchecked)
        };
        overlapped(engine, plan.anchors, take, |block, unchecked| {
            unchecked.check(engine)?;
            context.progress().advance((range.len() * block.len()) as u64);
            Ok(())
        })?;
        finish(range, rows.view(), made)?;
    }
    context.progress().finish();
    Ok(())
}

fn plan<E: SplineEngine>(
    source: &dyn JetSource<E>,
    points: usize,
    work: &Work,
    budget: u64,
) -> Result<EnvelopePlan> {
    let scalar = size_of::<E::Scalar>();
    let (dimension, outputs) = (source.dimension(), source.outputs());
    let entry = scalar + if work.pieces { size_of::<u32>() } else { 0 };
    // Both halves, in the making (scores and values) and finished; the points as read, on the engine, and laid out for the kernel.
    let rows = (source.elements() + 2 * dimension) * scalar;
    let envelope = 2 * work.results * (2 * entry + scalar) + rows;
    let most_points = at_once::<E>(source.engine(), envelope / scalar, "the envelopes of one point")?;
    let demand = EnvelopeDemand {
        points,
        anchors: source.anchors(),
        bytes_per_point: envelope as u64 + work.demand.bytes_per_point,
        bytes_per_jet: ((dimension + outputs * (dimension + 1)) * scalar) as u64,
        // The kernel centres the anchors of a block beside the jets themselves.
        bytes_to_make_jet: source.bytes_to_make() + (dimension * scalar) as u64,
        scratch: source.scratch_bytes() + source.engine().spline_scratch() + work.demand.bytes,
        flops_per_pair: (2 * dimension * (outputs + 1) + work.flops) as u64,
        most_points,
        most_jets: source.most_jets()?,
    };
    demand.plan(budget)
}
