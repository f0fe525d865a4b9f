//! A spline's values, error bars and active pieces.

use std::ops::Range;

use crate::data::Dataset;
use crate::engine::{Context, EnvelopeSpec, EnvelopeValues, Search, SplineEngine};
use crate::{Result, Scalar};

use super::{Demand, JetSource, Selection, Spline, envelopes};

/// A chunk of evaluated points; all arrays `[n, K]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluated<S> {
    /// Which points.
    pub range: Range<usize>,
    /// The spline.
    pub value: Vec<S>,
    /// The certificate's lower bound.
    pub lower: Vec<S>,
    /// The certificate's upper bound.
    pub upper: Vec<S>,
    /// The anchor that is active in the convex half (the lower envelope).
    pub convex_piece: Vec<u32>,
    /// The anchor that is active in the concave half (the upper envelope).
    pub concave_piece: Vec<u32>,
    /// The share of scores that were not computed, as a bound says that they cannot matter.
    pub skipped: f64,
}

/// Evaluates a spline at all points and hands the results over chunk by chunk, in order. However the pieces are looked
/// for, the results are the same, to the bit.
///
/// # Errors
/// As [`envelopes`].
pub fn evaluate<E: SplineEngine, J: JetSource<E> + ?Sized>(
    spline: &Spline,
    source: &J,
    points: &Dataset,
    search: Search,
    context: &Context,
    mut visit: impl FnMut(Evaluated<E::Scalar>) -> Result<()>,
) -> Result<()> {
    // Families: anchors of the lower half, of the upper half, and all for the certificate; equal ones once.
    let mut families: Vec<&Selection> = vec![];
    let mut family_of = |selection| {
        families.iter().position(|&known| known == selection).unwrap_or_else(|| {
            families.push(selection);
            families.len() - 1
        })
    };
    let (lower, upper, all) =
        (family_of(&spline.lower), family_of(&spline.upper), family_of(&Selection::All));
    let mut curvatures = vec![spline.curvature.clone()];
    if spline.certificate.curvature != spline.curvature {
        curvatures.push(spline.certificate.curvature.clone());
    }
    let certified = curvatures.len() - 1;
    let variants = curvatures.len();
    let spec = EnvelopeSpec { curvatures, families: families.len(), slots: 1, top: 1, pieces: true, search };
    let slots: Vec<u32> = families
        .iter()
        .flat_map(|family| {
            (0..source.anchors() as u32).map(|i| if family.contains(i) { 0 } else { u32::MAX })
        })
        .collect();
    let outputs = source.outputs();
    let entry = 3 * size_of::<E::Scalar>() + 2 * size_of::<u32>();
    let demand = Demand { bytes_per_point: (outputs * entry) as u64, bytes: 0 };
    envelopes(source, points, &spec, &slots, demand, context, |block| {
        let count = block.range.len();
        let EnvelopeValues { lower: low, upper: high, lower_piece, upper_piece, scored } = block.envelopes;
        // [families, C, K, N] to [N, K]
        let entries = || (0..count).flat_map(move |n| (0..outputs).map(move |k| (n, k)));
        let at = |family: usize, variant: usize, (n, k): (usize, usize)| {
            ((family * variants + variant) * outputs + k) * count + n
        };
        let value = |e| {
            let (l, u) = (low[at(lower, 0, e)].f64(), high[at(upper, 0, e)].f64());
            <E::Scalar as Scalar>::of(spline.value(e.1, l, u))
        };
        let every = count as f64 * source.anchors() as f64 * outputs as f64;
        visit(Evaluated {
            skipped: if every > 0.0 { (1.0 - scored as f64 / every).max(0.0) } else { 0.0 },
            range: block.range,
            value: entries().map(value).collect(),
            lower: entries().map(|e| low[at(all, certified, e)]).collect(),
            upper: entries().map(|e| high[at(all, certified, e)]).collect(),
            convex_piece: entries().map(|e| lower_piece[at(lower, 0, e)]).collect(),
            concave_piece: entries().map(|e| upper_piece[at(upper, 0, e)]).collect(),
        })
    })
}
