//! A spline's values, error bars and active pieces.

use std::ops::Range;

use ndarray::ArrayView2;

use crate::data::Dataset;
use crate::engine::{
    Context, Curvature, EnvelopeSpec, EnvelopeValues, Search, SoftHalves, SoftSpec, SplineEngine,
};
use crate::{Error, Result, Scalar};

use super::metric::Placed;
use super::planes::{self, Prepared};
use super::{Demand, Form, JetSource, Selection, Softness, Spline, Tangents, envelopes, soft_envelopes};

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
    /// The piece that is active in the convex half (the lower envelope): an anchor, or one of the spline's own pieces;
    /// `u32::MAX` where the spline is soft.
    pub convex_piece: Vec<u32>,
    /// The piece that is active in the concave half (the upper envelope).
    pub concave_piece: Vec<u32>,
    /// The share of scores that were not computed, as a bound says that they cannot matter.
    pub skipped: f64,
}

/// Both halves at some points; arrays `[n, K]`.
pub(super) struct Values<S> {
    pub lower: Vec<S>,
    pub upper: Vec<S>,
    pub convex_piece: Vec<u32>,
    pub concave_piece: Vec<u32>,
    /// Scores that were computed.
    pub scored: f64,
}

impl<S: Scalar> Values<S> {
    pub(super) fn empty(count: usize) -> Self {
        Self {
            lower: vec![S::zero(); count],
            upper: vec![S::zero(); count],
            convex_piece: vec![u32::MAX; count],
            concave_piece: vec![u32::MAX; count],
            scored: 0.0,
        }
    }

    /// The spline `[n, K]`.
    fn mixed(&self, spline: &Spline) -> Vec<S> {
        let outputs = spline.curvature.len();
        let halves = self.lower.iter().zip(&self.upper).enumerate();
        halves.map(|(i, (lower, upper))| S::of(spline.value(i % outputs, lower.f64(), upper.f64()))).collect()
    }

    /// Takes those of a chunk, from entry `at` on.
    fn put(&mut self, at: usize, chunk: &Self) {
        let range = at..at + chunk.lower.len();
        self.lower[range.clone()].copy_from_slice(&chunk.lower);
        self.upper[range.clone()].copy_from_slice(&chunk.upper);
        self.convex_piece[range.clone()].copy_from_slice(&chunk.convex_piece);
        self.concave_piece[range].copy_from_slice(&chunk.concave_piece);
        self.scored += chunk.scored;
    }
}

/// Families of anchors for the envelope kernel; equal ones once.
#[derive(Default)]
pub(super) struct Families<'a>(Vec<&'a Selection>);

impl<'a> Families<'a> {
    /// The number of the family of these anchors.
    pub(super) fn of(&mut self, selection: &'a Selection) -> usize {
        self.0.iter().position(|&known| known == selection).unwrap_or_else(|| {
            self.0.push(selection);
            self.0.len() - 1
        })
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// `[families, M]`: one slot for those that are in it.
    pub(super) fn slots(&self, anchors: usize) -> Vec<u32> {
        let slot = |family: &Selection, i: u32| if family.contains(i) { 0 } else { u32::MAX };
        self.0.iter().flat_map(|family| (0..anchors as u32).map(move |i| slot(family, i))).collect()
    }
}

/// Evaluates a spline at all points and hands the results over chunk by chunk, in order. However the pieces are looked
/// for, the results are the same, to the bit.
///
/// # Errors
/// [`Error::Argument`] for a soft spline whose halves have different anchors; as [`envelopes`].
pub fn evaluate<E: SplineEngine>(
    spline: &Spline,
    source: &dyn JetSource<E>,
    points: &Dataset,
    search: Search,
    context: &Context,
    mut visit: impl FnMut(Evaluated<E::Scalar>) -> Result<()>,
) -> Result<()> {
    let outputs = source.outputs();
    let all = Selection::All;
    let mut families = Families::default();
    let certified = families.of(&all);
    let mut curvatures = vec![spline.certificate.curvature.clone()];
    // Unmodified tangents take part in the pass that makes the certificate.
    let shared =
        spline.form.unmodified().filter(|_| spline.metric == super::Metric::Identity).map(|tangents| {
            if spline.curvature != spline.certificate.curvature {
                curvatures.push(spline.curvature.clone());
            }
            (families.of(&tangents.lower), families.of(&tangents.upper), curvatures.len() - 1)
        });
    let apart = if shared.is_none() { Some(Apart::new(spline, source)?) } else { None };
    let variants = curvatures.len();
    let spec = EnvelopeSpec {
        curvatures,
        families: families.count(),
        slots: 1,
        top: 1,
        pieces: shared.is_some(),
        search,
    };
    let slots = families.slots(source.anchors());
    let entry = 3 * size_of::<E::Scalar>() + 2 * size_of::<u32>();
    // Values that are computed apart take half of the memory.
    let beside = if apart.is_some() { context.memory() / 2 } else { 0 };
    let inner = context.clone().with_memory(beside).with_progress(std::sync::Arc::new(crate::engine::Silent));
    let demand = Demand { bytes_per_point: (outputs * entry) as u64, bytes: beside };
    envelopes(source, points, &spec, &slots, demand, context, |block| {
        let range = block.range;
        let count = range.len();
        let EnvelopeValues { lower: low, upper: high, lower_piece, upper_piece, scored } = block.envelopes;
        // [families, C, K, N] to [N, K]
        let entries = || (0..count).flat_map(move |n| (0..outputs).map(move |k| (n, k)));
        let at = |family: usize, variant: usize, (n, k): (usize, usize)| {
            ((family * variants + variant) * outputs + k) * count + n
        };
        let mut every = count as f64 * source.anchors() as f64 * outputs as f64;
        let mut scored = scored as f64;
        let values = match (&apart, shared) {
            (Some(apart), _) => {
                let values = apart.values(&points.select_range(range.clone())?, search, &inner)?;
                every += count as f64 * apart.pieces as f64 * outputs as f64;
                scored += values.scored;
                values
            }
            (None, Some((lower, upper, variant))) => Values {
                lower: entries().map(|e| low[at(lower, variant, e)]).collect(),
                upper: entries().map(|e| high[at(upper, variant, e)]).collect(),
                convex_piece: entries().map(|e| lower_piece[at(lower, variant, e)]).collect(),
                concave_piece: entries().map(|e| upper_piece[at(upper, variant, e)]).collect(),
                scored: 0.0,
            },
            (None, None) => unreachable!("values are shared or computed apart"),
        };
        visit(Evaluated {
            skipped: if every > 0.0 { (1.0 - scored / every).max(0.0) } else { 0.0 },
            value: values.mixed(spline),
            lower: entries().map(|e| low[at(certified, 0, e)]).collect(),
            upper: entries().map(|e| high[at(certified, 0, e)]).collect(),
            convex_piece: values.convex_piece,
            concave_piece: values.concave_piece,
            range,
        })
    })
}

/// The halves of a spline at all points `[N, K]`, without error bars.
///
/// # Errors
/// As [`evaluate`].
pub fn values<E: SplineEngine>(
    spline: &Spline,
    source: &dyn JetSource<E>,
    points: &Dataset,
    context: &Context,
) -> Result<Vec<E::Scalar>> {
    Ok(Apart::new(spline, source)?.values(points, Search::Pruned, context)?.mixed(spline))
}

/// Hands over the halves of a hard spline chunk by chunk, in order, with the points `[n, D]` themselves and without
/// error bars. The visitor holds `bytes` beside them.
///
/// # Errors
/// [`Error::Argument`] for a soft spline, which has no active pieces; as [`envelopes`].
pub(super) fn halves<E: SplineEngine>(
    spline: &Spline,
    source: &dyn JetSource<E>,
    points: &Dataset,
    bytes: u64,
    context: &Context,
    visit: impl FnMut(ArrayView2<'_, E::Scalar>, Values<E::Scalar>) -> Result<()>,
) -> Result<()> {
    let apart = Apart::new(spline, source)?;
    points.check_rows(apart.placed.elements())?;
    apart.visit(points, Search::Pruned, bytes, context, visit)
}

/// What evaluates a spline without its certificate.
struct Apart<'a, E: SplineEngine> {
    spline: &'a Spline,
    placed: Placed<'a, E>,
    /// Pieces of each half.
    pieces: usize,
    planes: Option<Prepared<E>>,
}

impl<'a, E: SplineEngine> Apart<'a, E> {
    fn new(spline: &'a Spline, source: &'a dyn JetSource<E>) -> Result<Self> {
        let outputs = source.outputs();
        Ok(match &spline.form {
            Form::Tangents(tangents) => Self {
                placed: Placed::new(source, &spline.metric, tangents.slopes)?,
                pieces: source.anchors(),
                planes: None,
                spline,
            },
            Form::Planes(planes) => {
                let placed = Placed::new(source, &spline.metric, 1.0)?;
                planes::check(planes, outputs, placed.dimension())?;
                let prepared = planes.prepare(source.engine(), outputs)?;
                Self { placed, pieces: planes.pieces(outputs), planes: Some(prepared), spline }
            }
        })
    }

    fn values(&self, points: &Dataset, search: Search, context: &Context) -> Result<Values<E::Scalar>> {
        if let Form::Tangents(tangents) = &self.spline.form
            && tangents.softness != Softness::Hard
        {
            return self.soft(tangents, points, context);
        }
        let count = points.len() * self.placed.outputs();
        let (mut all, mut at) = (Values::empty(count), 0);
        self.visit(points, search, result_bytes::<E>(count), context, |_, values| {
            all.put(at, &values);
            at += values.lower.len();
            Ok(())
        })?;
        Ok(all)
    }

    /// The halves of hard pieces, chunk by chunk.
    fn visit(
        &self,
        points: &Dataset,
        search: Search,
        bytes: u64,
        context: &Context,
        visit: impl FnMut(ArrayView2<'_, E::Scalar>, Values<E::Scalar>) -> Result<()>,
    ) -> Result<()> {
        match (&self.spline.form, &self.planes) {
            (Form::Tangents(tangents), _) if tangents.softness != Softness::Hard => {
                Err(Error::Argument("the spline is soft: none of its pieces is active alone".to_owned()))
            }
            (Form::Tangents(tangents), _) => self.hard(tangents, points, search, bytes, context, visit),
            (Form::Planes(_), Some(planes)) => self.own(planes, points, search, context, visit),
            (Form::Planes(_), None) => unreachable!("planes are prepared"),
        }
    }

    /// The halves of hard tangents.
    fn hard(
        &self,
        tangents: &Tangents,
        points: &Dataset,
        search: Search,
        bytes: u64,
        context: &Context,
        mut visit: impl FnMut(ArrayView2<'_, E::Scalar>, Values<E::Scalar>) -> Result<()>,
    ) -> Result<()> {
        let outputs = self.placed.outputs();
        let mut families = Families::default();
        let [lower, upper] = [&tangents.lower, &tangents.upper].map(|selection| families.of(selection));
        let spec = EnvelopeSpec {
            curvatures: vec![self.spline.curvature.clone()],
            families: families.count(),
            slots: 1,
            top: 1,
            pieces: true,
            search,
        };
        let slots = families.slots(self.placed.anchors());
        let demand = Demand { bytes_per_point: result_bytes::<E>(outputs), bytes };
        envelopes(&self.placed, points, &spec, &slots, demand, context, |block| {
            let (count, e) = (block.range.len(), &block.envelopes);
            // [families, K, N] to [N, K]
            let entries = |family: usize| {
                (0..count).flat_map(move |n| (0..outputs).map(move |k| (family * outputs + k) * count + n))
            };
            let values = Values {
                lower: entries(lower).map(|i| e.lower[i]).collect(),
                upper: entries(upper).map(|i| e.upper[i]).collect(),
                convex_piece: entries(lower).map(|i| e.lower_piece[i]).collect(),
                concave_piece: entries(upper).map(|i| e.upper_piece[i]).collect(),
                scored: e.scored as f64,
            };
            visit(block.points, values)
        })
    }

    /// The halves of soft tangents; the mean of the nearest ones is both.
    fn soft(&self, tangents: &Tangents, points: &Dataset, context: &Context) -> Result<Values<E::Scalar>> {
        tangents.check_soft()?;
        let outputs = self.placed.outputs();
        let spec = soft_spec(tangents.softness, &self.spline.curvature);
        let mut values = Values::empty(points.len() * outputs);
        values.scored = points.len() as f64 * self.pieces as f64 * outputs as f64;
        let demand = Demand { bytes_per_point: 0, bytes: result_bytes::<E>(points.len() * outputs) };
        soft_envelopes(&self.placed, points, &spec, demand, context, |range, soft| {
            let count = range.len();
            let (lower, upper) = if spec.halves.is_empty() {
                (&soft.nearest, &soft.nearest)
            } else {
                (&soft.lower, &soft.upper)
            };
            for (i, n) in range.enumerate() {
                for k in 0..outputs {
                    values.lower[n * outputs + k] = lower[k * count + i];
                    values.upper[n * outputs + k] = upper[k * count + i];
                }
            }
            Ok(())
        })?;
        Ok(values)
    }

    /// The halves of the spline's own pieces.
    fn own(
        &self,
        planes: &Prepared<E>,
        points: &Dataset,
        search: Search,
        context: &Context,
        mut visit: impl FnMut(ArrayView2<'_, E::Scalar>, Values<E::Scalar>) -> Result<()>,
    ) -> Result<()> {
        // More at a time gain nothing; they are held as read, on the engine and placed.
        let point = 3 * (self.placed.elements() + self.placed.dimension()) * size_of::<E::Scalar>();
        let chunk = ((context.memory() / 4) as usize / point).clamp(1, 4096);
        for start in (0..points.len()).step_by(chunk) {
            context.check()?;
            let rows = points.rows::<E::Scalar>(start..(start + chunk).min(points.len()))?;
            let values = planes.values(&self.placed, rows.view(), search)?;
            debug_assert_eq!(values.lower.len(), rows.nrows() * self.placed.outputs());
            visit(rows.view(), values)?;
        }
        Ok(())
    }
}

/// Bytes of [`Values`] of so many points and outputs.
fn result_bytes<E: SplineEngine>(count: usize) -> u64 {
    (2 * count * (size_of::<E::Scalar>() + size_of::<u32>())) as u64
}

/// What soft envelopes a softness wants; none where it is hard.
pub(super) fn soft_spec(softness: Softness, curvatures: &[Curvature]) -> SoftSpec {
    match softness {
        Softness::Hard => SoftSpec::default(),
        Softness::Nearest(tau) => SoftSpec { nearest: vec![tau], halves: vec![] },
        Softness::Halves(temperature) => SoftSpec {
            nearest: vec![],
            halves: vec![SoftHalves { curvatures: curvatures.to_vec(), temperature }],
        },
    }
}
