//! Streaming points and anchors through the envelope kernel.

use std::ops::Range;

use ndarray::ArrayView2;

use crate::Result;
use crate::data::Dataset;
use crate::engine::plan::{EnvelopeDemand, EnvelopePlan, at_once, overlapped};
use crate::engine::{Context, EnvelopeSpec, EnvelopeValues, JetsOf, SplineEngine};

use super::jets::check_rows;
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
pub fn envelopes<E: SplineEngine, J: JetSource<E> + ?Sized>(
    source: &J,
    points: &Dataset,
    spec: &EnvelopeSpec,
    slots: &[u32],
    demand: Demand,
    context: &Context,
    mut visit: impl FnMut(PointBlock<'_, E::Scalar>) -> Result<()>,
) -> Result<()> {
    check_rows(points, source.dimension())?;
    let plan = plan(source, points.len(), spec, demand, context.memory())?;
    let center = source.center()?;
    let engine = source.engine();
    let anchors = source.anchors();
    let mut kept: Vec<JetsOf<E>> = Vec::new();
    context.progress().start("envelope", (points.len() * anchors) as u64);
    for range in plan.points.iter() {
        let rows = points.rows::<E::Scalar>(range.clone())?;
        let (values, shape) = (rows.as_standard_layout(), [rows.nrows(), rows.ncols()]);
        let x = engine.upload(values.as_slice().unwrap_or_default(), &shape)?;
        let mut envelope = engine.envelope(&x, source.outputs(), &center, spec)?;
        let add = |block: Range<usize>| {
            context.check()?;
            let number = block.start / plan.anchors.size();
            let (fresh, unchecked) = if number < kept.len() {
                (None, Unchecked::nothing())
            } else {
                let (jets, unchecked) = source.block(block.clone())?;
                (Some(jets), unchecked)
            };
            let jets = fresh.as_ref().unwrap_or_else(|| &kept[number]);
            let of_block: Vec<u32> = slots
                .chunks_exact(anchors)
                .flat_map(|family| family[block.clone()].iter().copied())
                .collect();
            engine.envelope_add(&mut envelope, jets, block.start, &of_block)?;
            kept.extend(fresh.filter(|_| plan.keep_jets));
            Ok(unchecked)
        };
        overlapped(engine, plan.anchors, add, |block, unchecked| {
            unchecked.check(engine)?;
            context.progress().advance((range.len() * block.len()) as u64);
            Ok(())
        })?;
        visit(PointBlock { range, points: rows.view(), envelopes: engine.envelope_finish(envelope)? })?;
    }
    context.progress().finish();
    Ok(())
}

fn plan<E: SplineEngine, J: JetSource<E> + ?Sized>(
    source: &J,
    points: usize,
    spec: &EnvelopeSpec,
    demand: Demand,
    budget: u64,
) -> Result<EnvelopePlan> {
    let scalar = size_of::<E::Scalar>();
    let (dimension, outputs) = (source.dimension(), source.outputs());
    let entry = scalar + if spec.pieces { size_of::<u32>() } else { 0 };
    // Both halves, in the making and finished; the points as read, on the engine, and laid out for the kernel.
    let envelope = 2 * 2 * spec.variants() * outputs * entry + 3 * dimension * scalar;
    let most_points = at_once::<E>(source.engine(), envelope / scalar, "the envelopes of one point")?;
    let demand = EnvelopeDemand {
        points,
        anchors: source.anchors(),
        bytes_per_point: envelope as u64 + demand.bytes_per_point,
        bytes_per_jet: ((dimension + outputs * (dimension + 1)) * scalar) as u64,
        // The kernel centres the anchors of a block beside the jets themselves.
        bytes_to_make_jet: source.bytes_to_make() + (dimension * scalar) as u64,
        scratch: source.scratch_bytes() + source.engine().spline_scratch() + demand.bytes,
        // Products, and for each envelope of either half a score, a comparison, and where it is kept.
        flops_per_pair: (2 * dimension * (outputs + 1) + 40 * spec.families * spec.curvatures.len() * outputs)
            as u64,
        most_points,
        most_jets: source.most_jets()?,
    };
    demand.plan(budget)
}
