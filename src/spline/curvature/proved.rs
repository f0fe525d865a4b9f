//! Proved curvatures on a box or a ball.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use rayon::prelude::*;

use super::{check_box, entries, layers, refuse_kinks};
use crate::engine::plan::Chunks;
use crate::engine::{Context, Curvature, Dual, Interval};
use crate::network::{Network, Program};
use crate::{Error, Result};

/// Curvatures that hold everywhere on a domain.
#[derive(Debug, Clone, PartialEq)]
pub struct Proof {
    /// For each output: they hold, whatever was rounded on the way.
    pub curvature: Vec<Curvature>,
    /// For each output the largest at the centers of all boxes: the smallest valid curvatures are no less than this
    /// (up to rounding), and no more than those proved.
    pub reached: Vec<Curvature>,
    /// How many boxes were looked at.
    pub boxes: usize,
}

/// A box, or the ball inside it.
#[derive(Debug, Clone)]
pub(super) struct Region {
    pub(super) low: Vec<f64>,
    pub(super) high: Vec<f64>,
    /// Of the ball around the center, where it is one.
    pub(super) radius: Option<f64>,
}

/// What is known of a region, `(a, b)` for each output.
#[derive(Debug, Clone)]
pub(super) struct Bound {
    /// Upper bounds over the region.
    pub(super) curvature: Vec<[f64; 2]>,
    /// At its center.
    pub(super) center: Vec<[f64; 2]>,
    /// How much each side adds to the looseness, about.
    pub(super) influence: Vec<f64>,
}

impl Region {
    pub(super) fn center(&self) -> Vec<f64> {
        self.low
            .iter()
            .zip(&self.high)
            .map(|(low, high)| (low / 2.0 + high / 2.0).clamp(*low, *high))
            .collect()
    }

    /// How far each coordinate goes from the center at most.
    pub(super) fn reach(&self) -> Vec<f64> {
        let ends = self.low.iter().zip(&self.high).zip(self.center());
        ends.map(|((low, high), c)| if low == high { 0.0 } else { (high - c).max(c - low).next_up() })
            .collect()
    }

    /// Both halves, cut across the side of most influence; `None` for a box too small to be cut.
    fn halves(&self, influence: &[f64]) -> Option<[Self; 2]> {
        let center = self.center();
        let cut = |&i: &usize| self.low[i] < center[i] && center[i] < self.high[i];
        // Where nothing is known of the influence, the widest side.
        let known = influence.iter().all(|v| v.is_finite()) && influence.iter().any(|v| *v > 0.0);
        let weight = |i: usize| if known { influence[i] } else { self.high[i] - self.low[i] };
        let side =
            (0..center.len()).filter(cut).max_by(|&i, &j| weight(i).total_cmp(&weight(j)).then(j.cmp(&i)))?;
        let (mut below, mut above) = (self.clone(), self.clone());
        (below.high[side], above.low[side]) = (center[side], center[side]);
        Some([below, above])
    }
}

/// Boxes that are cut at once: enough for many threads, few enough that the worst are cut first.
const BATCH: usize = 64;

/// Once no bound exceeds what is reached by more than this share, cutting ends.
const CLOSE_ENOUGH: f64 = 0.01;

/// Curvatures of each chosen output that are proved to hold on the box `[low, high]` (each `[D]`), for a twice
/// differentiable network.
///
/// Derivatives are enclosed by interval arithmetic in f64 with outward rounding. Where all that bends is elementwise
/// functions, the Hessian is a sum over these, of which eigenvalues are bounded directly; for other networks (products
/// of branches, softmax, normalisation) each entry of the Hessian has bounds, which is much looser. Boxes are cut in two
/// where the bound is largest, until `budget` boxes were looked at or the bound is within 1 % of what is reached:
/// in few dimensions bounds become tight, in many one box is all that can be afforded.
///
/// What is proved concerns the network whose constants are those of the file as f64, in exact arithmetic; elementary
/// functions are trusted to 4 units in the last place.
///
/// # Errors
/// [`Error::Argument`] for an operator with kinks, by name; for outputs that are not there, corners out of order, and
/// where no finite bound was found; [`Error::Shape`] for corners of another dimension; [`Error::Memory`],
/// [`Error::Cancelled`].
pub fn proved(
    network: &Network,
    outputs: &[usize],
    low: &[f64],
    high: &[f64],
    budget: usize,
    context: &Context,
) -> Result<Proof> {
    let prover = Prover::new(network, outputs)?;
    check_box(prover.dimension(), (prover.all_outputs(), outputs), low, high)?;
    let root = Region { low: low.to_vec(), high: high.to_vec(), radius: None };
    prover.prove(root, budget, context)
}

/// As [`proved`], on the ball of a radius around `center [D]`: one piece, tighter than the box around it.
///
/// # Errors
/// As [`proved`]; [`Error::Argument`] for a radius that is negative or not finite.
pub fn proved_ball(
    network: &Network,
    outputs: &[usize],
    center: &[f64],
    radius: f64,
    context: &Context,
) -> Result<Proof> {
    if !(radius.is_finite() && radius >= 0.0) {
        return Err(Error::Argument(format!("a radius must be finite and at least 0, not {radius}")));
    }
    let prover = Prover::new(network, outputs)?;
    let low: Vec<f64> = center.iter().map(|c| (c - radius).next_down()).collect();
    let high: Vec<f64> = center.iter().map(|c| (c + radius).next_up()).collect();
    check_box(prover.dimension(), (prover.all_outputs(), outputs), &low, &high)?;
    // The box's center, from which the ball is measured, may lie a rounding away.
    let middle = Region { low, high, radius: None };
    let off = middle.center().iter().zip(center).map(|(m, c)| (m - c).abs()).sum::<f64>();
    let root = Region { radius: Some((radius + 2.0 * off).next_up()), ..middle };
    prover.prove(root, 1, context)
}

/// A network laid out for bounds.
struct Prover<'a> {
    programs: Programs,
    outputs: &'a [usize],
}

enum Programs {
    /// All that bends is elementwise.
    Layers(Program<Interval>),
    Entries(Program<Dual<Interval>>),
}

impl<'a> Prover<'a> {
    fn new(network: &Network, outputs: &'a [usize]) -> Result<Self> {
        let network = network.cut(None, None)?;
        refuse_kinks(&network)?;
        let layers = network.compile_exact(&Interval::new())?;
        let programs = if layers.bends_elementwise() {
            Programs::Layers(layers)
        } else {
            Programs::Entries(network.compile_exact(&Dual::new(Interval::new()))?)
        };
        Ok(Self { programs, outputs })
    }

    fn dimension(&self) -> usize {
        match &self.programs {
            Programs::Layers(program) => program.dimension(),
            Programs::Entries(program) => program.dimension(),
        }
    }

    fn all_outputs(&self) -> usize {
        match &self.programs {
            Programs::Layers(program) => program.outputs(),
            Programs::Entries(program) => program.outputs(),
        }
    }

    /// Bounds for each region, as many side by side as memory and threads allow.
    fn bounds(&self, regions: &[Region], context: &Context) -> Result<Vec<Bound>> {
        let (d, k) = (self.dimension(), self.outputs.len());
        // Two ends, and about as much again for their midpoints and radii.
        let (bytes, scratch) = match &self.programs {
            Programs::Layers(program) => {
                (4 * program.bends_bytes(k) + (d * d * 4 * 8) as u64, program.scratch_bytes())
            }
            Programs::Entries(program) => {
                (8 * d as u64 * program.bytes_per_sample(Some(k)), program.scratch_bytes())
            }
        };
        let threads = rayon::current_num_threads().min(regions.len()).max(1) as u64;
        let share = context.memory() / threads;
        // Few enough that every thread has some.
        let most = regions.len().div_ceil(4 * threads as usize).clamp(1, 16);
        let chunks =
            match Chunks::within("bounds on a Hessian", regions.len(), bytes, 4 * scratch, share, most) {
                // One at a time.
                Err(_) => {
                    Chunks::within(
                        "bounds on a Hessian",
                        regions.len(),
                        bytes,
                        4 * scratch,
                        context.memory(),
                        1,
                    )?;
                    let one = |region: &Region| self.chunk(std::slice::from_ref(region), context);
                    let all: Result<Vec<Vec<Bound>>> = regions.iter().map(one).collect();
                    return Ok(all?.into_iter().flatten().collect());
                }
                Ok(chunks) => chunks,
            };
        let ranges: Vec<_> = chunks.iter().collect();
        let all: Result<Vec<Vec<Bound>>> =
            ranges.into_par_iter().map(|range| self.chunk(&regions[range], context)).collect();
        Ok(all?.into_iter().flatten().collect())
    }

    fn chunk(&self, regions: &[Region], context: &Context) -> Result<Vec<Bound>> {
        context.check()?;
        match &self.programs {
            Programs::Layers(program) => layers::bounds(program, self.outputs, regions),
            Programs::Entries(program) => entries::bounds(program, self.outputs, regions),
        }
    }

    fn prove(&self, root: Region, budget: usize, context: &Context) -> Result<Proof> {
        let budget = budget.max(1);
        context.progress().start("proof of curvatures", budget as u64);
        let mut leaves = Leaves::new(self.outputs.len());
        let bounds = self.bounds(std::slice::from_ref(&root), context)?;
        bounds.into_iter().for_each(|bound| leaves.add(root.clone(), bound, None));
        let mut boxes = 1;
        while boxes + 2 <= budget {
            let cut = leaves.worst(((budget - boxes) / 2).min(BATCH));
            if cut.is_empty() {
                break;
            }
            let parents: Vec<usize> = cut.iter().flat_map(|(parent, _)| [*parent; 2]).collect();
            let regions: Vec<Region> = cut.into_iter().flat_map(|(_, halves)| halves).collect();
            let looked_at = regions.len() as u64;
            boxes += regions.len();
            let bounds = self.bounds(&regions, context)?;
            for ((region, bound), parent) in regions.into_iter().zip(bounds).zip(parents) {
                leaves.add(region, bound, Some(parent));
            }
            context.progress().advance(looked_at);
        }
        context.progress().finish();
        let of = |[a, b]: [f64; 2]| Curvature { a, b };
        let curvature: Vec<Curvature> = leaves.largest().into_iter().map(of).collect();
        if let Some(k) = curvature.iter().position(|c| !(c.a.is_finite() && c.b.is_finite())) {
            return Err(Error::Argument(format!(
                "no finite curvature of output {} could be proved within {boxes} boxes: its second derivatives may be \
                 unbounded there; try a smaller domain or more boxes",
                self.outputs[k]
            )));
        }
        Ok(Proof { curvature, reached: leaves.reached.iter().copied().map(of).collect(), boxes })
    }
}

/// A bound in a heap: the largest first, then the oldest.
#[derive(Debug, PartialEq)]
struct Entry(f64, Reverse<usize>);

impl Eq for Entry {}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0).then(self.1.cmp(&other.1))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The boxes of a partition, and those they were cut from.
struct Leaves {
    regions: Vec<Option<Region>>,
    bounds: Vec<Bound>,
    /// For `a` and `b` of each output, the boxes by their bounds; some were cut since.
    heaps: Vec<BinaryHeap<Entry>>,
    reached: Vec<[f64; 2]>,
}

impl Leaves {
    fn new(outputs: usize) -> Self {
        let heaps = (0..2 * outputs).map(|_| BinaryHeap::new()).collect();
        Self { regions: vec![], bounds: vec![], heaps, reached: vec![[0.0; 2]; outputs] }
    }

    fn add(&mut self, region: Region, mut bound: Bound, parent: Option<usize>) {
        if let Some(parent) = parent {
            // What holds on the whole holds on its half.
            for (new, old) in bound.curvature.iter_mut().zip(&self.bounds[parent].curvature) {
                *new = [new[0].min(old[0]), new[1].min(old[1])];
            }
        }
        let i = self.bounds.len();
        for (k, center) in bound.center.iter().enumerate() {
            for (side, center) in center.iter().enumerate() {
                if center.is_finite() {
                    self.reached[k][side] = self.reached[k][side].max(*center);
                }
                self.heaps[2 * k + side].push(Entry(bound.curvature[k][side], Reverse(i)));
            }
        }
        self.regions.push(Some(region));
        self.bounds.push(bound);
    }

    /// Takes out up to `most` boxes that hold a bound up, in turn for each bound, with their halves.
    fn worst(&mut self, most: usize) -> Vec<(usize, [Region; 2])> {
        let mut cut = vec![];
        let mut open: Vec<usize> = (0..self.heaps.len()).collect();
        while cut.len() < most && !open.is_empty() {
            open.retain(|&h| {
                if cut.len() >= most {
                    return false;
                }
                while let Some(Entry(bound, Reverse(i))) = self.heaps[h].peek() {
                    let (bound, i) = (*bound, *i);
                    let Some(region) = &self.regions[i] else {
                        self.heaps[h].pop();
                        continue;
                    };
                    if bound <= self.reached[h / 2][h % 2] * (1.0 + CLOSE_ENOUGH) {
                        return false;
                    }
                    let Some(halves) = region.halves(&self.bounds[i].influence) else { return false };
                    self.heaps[h].pop();
                    self.regions[i] = None;
                    cut.push((i, halves));
                    return true;
                }
                false
            });
        }
        cut
    }

    /// The largest bound of each output over all boxes that were not cut.
    fn largest(&self) -> Vec<[f64; 2]> {
        let mut largest = vec![[0.0_f64; 2]; self.reached.len()];
        for (region, bound) in self.regions.iter().zip(&self.bounds) {
            if region.is_some() {
                for (largest, new) in largest.iter_mut().zip(&bound.curvature) {
                    *largest = [largest[0].max(new[0]), largest[1].max(new[1])];
                }
            }
        }
        largest
    }
}
