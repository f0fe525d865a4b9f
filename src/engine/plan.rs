//! The planner: from a memory budget to chunks. Pure, so that every decision can be tested.

use std::collections::VecDeque;
use std::ops::Range;

use crate::{Error, Result};

use super::Engine;

/// Equal chunks of `0..total`, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunks {
    total: usize,
    size: usize,
}

impl Chunks {
    /// Chunks of `size` (the last may be smaller).
    pub fn new(total: usize, size: usize) -> Self {
        Self { total, size: size.clamp(1, total.max(1)) }
    }

    /// As many items at a time as `bytes_per_item` and a budget allow beside `fixed` bytes, at most `most`.
    ///
    /// # Errors
    /// [`Error::Memory`] where not even one item fits; `what` names the job.
    pub fn within(
        what: &str,
        total: usize,
        bytes_per_item: u64,
        fixed: u64,
        budget: u64,
        most: usize,
    ) -> Result<Self> {
        let fit = budget.saturating_sub(fixed) / bytes_per_item.max(1);
        if fit == 0 && total > 0 {
            let needed = fixed.saturating_add(bytes_per_item);
            return Err(Error::Memory { what: what.to_owned(), needed, budget });
        }
        Ok(Self::new(total, usize::try_from(fit).unwrap_or(usize::MAX).min(most)))
    }

    /// The length of a chunk.
    pub fn size(&self) -> usize {
        self.size
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.total.div_ceil(self.size)
    }

    /// The chunks.
    pub fn iter(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let Self { total, size } = *self;
        (0..total).step_by(size).map(move |start| start..(start + size).min(total))
    }
}

/// How many items of so many elements one tensor of an engine holds.
///
/// # Errors
/// [`Error::Tensor`] where it does not hold one; `what` names the job.
pub fn at_once<E: Engine>(engine: &E, elements: usize, what: &str) -> Result<usize> {
    let (needed, largest) = ((elements * size_of::<E::Scalar>()) as u64, engine.largest_tensor());
    match usize::try_from(largest / needed.max(1)).unwrap_or(usize::MAX) {
        0 => Err(Error::Tensor { what: what.to_owned(), needed, largest }),
        most => Ok(most),
    }
}

/// Starts the work on each chunk before that on the one before is finished, as far as the engine has several in flight;
/// finishes them in order.
///
/// # Errors
/// What `start` and `finish` say.
pub fn overlapped<E: Engine, T>(
    engine: &E,
    chunks: Chunks,
    mut start: impl FnMut(Range<usize>) -> Result<T>,
    mut finish: impl FnMut(Range<usize>, T) -> Result<()>,
) -> Result<()> {
    let mut started = VecDeque::new();
    for range in chunks.iter() {
        started.push_back((range.clone(), start(range)?));
        if started.len() >= engine.in_flight()
            && let Some((range, work)) = started.pop_front()
        {
            finish(range, work)?;
        }
    }
    started.into_iter().try_for_each(|(range, work)| finish(range, work))
}

/// What envelopes of many points over many anchors take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EnvelopeDemand {
    /// Points.
    pub points: usize,
    /// Anchors.
    pub anchors: usize,
    /// Bytes of results, inputs and references held for one point.
    pub bytes_per_point: u64,
    /// Bytes of one anchor's jet (point, value and Jacobian).
    pub bytes_per_jet: u64,
    /// Bytes that making one jet takes beside it (0 if jets are only read).
    pub bytes_to_make_jet: u64,
    /// Bytes of scratch, whatever the chunks.
    pub scratch: u64,
    /// Operations for one pair of point and anchor.
    pub flops_per_pair: u64,
    /// Points in a chunk at most, so that no tensor is larger than the device takes.
    pub most_points: usize,
    /// Likewise jets.
    pub most_jets: usize,
}

/// How points and anchors are streamed: for each chunk of points, all chunks of anchors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EnvelopePlan {
    /// Chunks of points (outer loop).
    pub points: Chunks,
    /// Chunks of anchors (inner loop).
    pub anchors: Chunks,
    /// Whether all jets are kept from the first chunk of points on, instead of being made again for each.
    pub keep_jets: bool,
}

/// Points are taken this many at a time where memory and patience allow: the anchors' share of a chunk's cost
/// (packing, reading jets, and bounds on them) is below a hundredth from there on.
const POINTS: usize = 4096;

/// Jets are made this many at a time where memory allows; more gains nothing, the products inside are large
/// enough from some hundred rows on.
const JETS: usize = 1024;

/// Fewer points at a time than this are refused: with so little memory each chunk of points makes all jets again,
/// and a job that would take hours should say what it lacks instead.
const FEW_POINTS: usize = 64;

/// The most operations between two looks at the interrupt flag: half a second at 200 GFLOP/s.
const PATIENCE: u64 = 100_000_000_000;

impl EnvelopeDemand {
    /// Chunks that stay within `budget` bytes.
    ///
    /// Jets are kept if they fit beside the rest in small chunks. If they do not, each chunk of points makes
    /// them again, so points then take what memory there is.
    ///
    /// # Errors
    /// [`Error::Memory`] where not even a few points and one anchor at a time fit.
    pub fn plan(&self, budget: u64) -> Result<EnvelopePlan> {
        let few = self.points.min(FEW_POINTS);
        let what = format!("the envelope of {few} points and one anchor");
        let jet = self.bytes_per_jet + self.bytes_to_make_jet;
        let few_points = self.bytes_per_point.saturating_mul(few as u64);
        let least = self.scratch.saturating_add(few_points).saturating_add(jet);
        if budget < least {
            return Err(Error::Memory { what, needed: least, budget });
        }
        let free = budget - self.scratch;
        let chunk = |count: usize, bytes: u64| bytes.saturating_mul(count as u64);
        let all_jets = chunk(self.anchors, self.bytes_per_jet);
        let (most_points, most_jets) = (self.most_points.max(1), self.most_jets.clamp(1, JETS));
        let comfortable = chunk(self.points.min(most_points).min(POINTS), self.bytes_per_point)
            + chunk(self.anchors.min(most_jets), self.bytes_to_make_jet);
        // How many of one side fit between two looks, given so many of the other.
        let patient = |others: usize| {
            let work = self.flops_per_pair.saturating_mul(others as u64).max(1);
            usize::try_from(PATIENCE / work).unwrap_or(usize::MAX).max(1)
        };
        if all_jets.saturating_add(comfortable) <= free {
            let anchors = Chunks::new(self.anchors, most_jets);
            return Ok(EnvelopePlan {
                points: Chunks::new(self.points, POINTS.min(most_points).min(patient(anchors.size()))),
                anchors,
                keep_jets: true,
            });
        }
        // A quarter for the jets in flight, the rest for points: making jets again costs less the fewer
        // chunks of points there are.
        let for_jets = (free / 4).min(free - few_points).max(jet);
        let anchors = Chunks::within(&what, self.anchors, jet, 0, for_jets, most_jets)?;
        let for_points = free - chunk(anchors.size(), jet);
        let points = Chunks::within(&what, self.points, self.bytes_per_point, 0, for_points, most_points)?;
        let anchors = Chunks::new(self.anchors, anchors.size().min(patient(points.size())));
        Ok(EnvelopePlan { points, anchors, keep_jets: false })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn chunks_cover_everything_once() {
        let ranges: Vec<_> = Chunks::new(10, 4).iter().collect();
        assert_eq!(ranges, [0..4, 4..8, 8..10]);
        assert_eq!(Chunks::new(0, 4).iter().count(), 0);
        assert_eq!(Chunks::new(3, 0).size(), 1);
    }

    #[test]
    fn too_small_a_budget_is_named() {
        let error =
            Chunks::within("the test", 5, 2 << 20, 1 << 20, 1 << 20, 9).expect_err("1 MiB is too little");
        assert_eq!(
            error.to_string(),
            "the test needs at least 3 MiB of memory, the budget is 1 MiB: raise --memory"
        );
    }

    /// Whether ranges cover `0..total`, each number once and in order, none of them empty.
    fn covered(ranges: impl Iterator<Item = Range<usize>>, total: usize) -> bool {
        let mut next = 0;
        for range in ranges {
            if range.start != next || range.is_empty() {
                return false;
            }
            next = range.end;
        }
        next == total
    }

    proptest! {
        #[test]
        fn chunks_stay_within_their_budget(
            total in 0usize..1 << 20, bytes_per_item: u64, fixed: u64, budget: u64, small: bool, most in 0usize..5000,
        ) {
            let [bytes_per_item, fixed, budget] =
                [bytes_per_item, fixed, budget].map(|bytes| if small { bytes % (1 << 20) } else { bytes });
            match Chunks::within("a test", total, bytes_per_item, fixed, budget, most) {
                Err(Error::Memory { needed, .. }) => {
                    prop_assert!(total > 0);
                    prop_assert!(u128::from(budget) < u128::from(fixed) + u128::from(bytes_per_item.max(1)));
                    prop_assert_eq!(needed, fixed.saturating_add(bytes_per_item));
                }
                Err(error) => prop_assert!(false, "{error}"),
                Ok(chunks) => {
                    prop_assert!(covered(chunks.iter(), total));
                    prop_assert_eq!(chunks.iter().count(), chunks.count());
                    prop_assert!(chunks.size() <= most.max(1));
                    let held = u128::from(fixed) + u128::from(bytes_per_item) * chunks.size() as u128;
                    prop_assert!(total == 0 || held <= u128::from(budget), "{chunks:?} holds {held} of {budget}");
                }
            }
        }

        /// Work is finished in order, each piece once, and never more of it is started than is to be in flight.
        #[test]
        fn overlapped_work_is_done_once_and_in_order(total in 0usize..300, size in 0usize..50) {
            let engine = crate::engine::Cpu::<f32>::new();
            let (started, mut finished) = (std::cell::Cell::new(0), vec![]);
            overlapped(
                &engine,
                Chunks::new(total, size),
                |range| {
                    started.set(started.get() + 1);
                    Ok(range.start)
                },
                |range, start| {
                    assert_eq!(range.start, start);
                    finished.push(range);
                    assert!(started.get() - finished.len() < engine.in_flight().max(1));
                    Ok(())
                },
            )
            .unwrap();
            prop_assert_eq!(started.get(), finished.len());
            prop_assert!(covered(finished.into_iter(), total));
        }

        /// With as much memory as is asked for, and not a byte less, there is a plan.
        #[test]
        fn the_least_budget_is_enough(
            points in 1usize..5000, anchors in 1usize..5000, bytes_per_point in 1u64..1 << 20,
            bytes_per_jet in 1u64..1 << 24, bytes_to_make_jet in 0u64..1 << 24, scratch in 0u64..1 << 26,
            most_points in 1usize..10_000, most_jets in 1usize..5000,
        ) {
            let demand = EnvelopeDemand {
                points, anchors, bytes_per_point, bytes_per_jet, bytes_to_make_jet, scratch, flops_per_pair: 100,
                most_points, most_jets,
            };
            let Err(Error::Memory { needed, .. }) = demand.plan(0) else {
                return Err(TestCaseError::fail("nothing is enough"));
            };
            prop_assert!(demand.plan(needed - 1).is_err());
            let plan = demand.plan(needed);
            prop_assert!(plan.is_ok());
            if let Ok(plan) = plan {
                prop_assert!(covered(plan.points.iter(), points) && covered(plan.anchors.iter(), anchors));
            }
        }

        #[test]
        fn a_plan_stays_within_its_budget(
            points in 1usize..200_000, anchors in 1usize..200_000,
            bytes_per_point in 1u64..1 << 20, bytes_per_jet in 1u64..1 << 24,
            bytes_to_make_jet in 0u64..1 << 24, scratch in 0u64..1 << 26, budget in 1u64..1 << 34,
            flops_per_pair in 1u64..1 << 30, most_points in 1usize..100_000, most_jets in 1usize..5000,
        ) {
            let demand = EnvelopeDemand {
                points, anchors, bytes_per_point, bytes_per_jet, bytes_to_make_jet, scratch, flops_per_pair,
                most_points, most_jets,
            };
            let few = points.min(FEW_POINTS) as u64;
            let least = scratch + few * bytes_per_point + bytes_per_jet + bytes_to_make_jet;
            match demand.plan(budget) {
                Err(_) => prop_assert!(budget < least),
                Ok(plan) => {
                    let jets = if plan.keep_jets { anchors } else { plan.anchors.size() };
                    let held = scratch
                        + plan.points.size() as u64 * bytes_per_point
                        + jets as u64 * bytes_per_jet
                        + plan.anchors.size() as u64 * bytes_to_make_jet;
                    prop_assert!(held <= budget, "{plan:?} holds {held} of {budget}");
                    prop_assert!(plan.points.size() <= most_points && plan.anchors.size() <= most_jets);
                    let (p, a) = (plan.points.size() as u64, plan.anchors.size() as u64);
                    let work = p * a * flops_per_pair;
                    prop_assert!(work <= PATIENCE || p.min(a) == 1, "{plan:?} goes {work} without a look");
                    prop_assert!(covered(plan.points.iter(), points) && covered(plan.anchors.iter(), anchors));
                }
            }
        }
    }
}
