//! The exact partition of a plane by a piecewise affine network.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use crate::engine::Context;
use crate::network::{Network, Stages};
use crate::{Error, Result};

use super::codes::CodeLayer;
use super::mesh::{Mesh, weld};
use super::polygon::{Point, middle};
use super::split::{Found, Item, Worker};

/// Regions below this share of the slice's area are labelled tiny.
pub const TINY: f64 = 1e-9;

/// The area of a slice, `[-1, 1]^2`.
const WHOLE: f64 = 4.0;

pub(super) fn is_tiny(area: f64) -> bool {
    area < TINY * WHOLE
}

/// Parts of the plane that are worked on apart, about: enough for many threads to be busy to the end.
const PARTS: usize = 192;

/// Times that parts are split to make so many.
const ROUNDS: usize = 48;

/// Steps or regions between two looks at whether the job was cancelled, and whether memory and budget are left.
const STEPS: usize = 256;

/// A plane of input space cut into the regions of a piecewise affine network: convex polygons in the coordinates `s` and
/// `t` of the slice, each in `[-1, 1]`, with the affine map and the code of each.
///
/// Two regions never have the same code: a region is all of the slice where every unit is on the same piece, which is a
/// polygon.
#[derive(Debug, Clone)]
pub struct Partition {
    vertices: Vec<Point>,
    /// Where the corners of each region end.
    ends: Vec<usize>,
    corners: Vec<u32>,
    areas: Vec<f64>,
    outputs: usize,
    slopes: Vec<f64>,
    offsets: Vec<f64>,
    layers: Vec<CodeLayer>,
    codes: Vec<u32>,
}

/// How many regions a [`Partition`] has, when none of them is kept.
#[derive(Debug, Clone)]
pub struct Count {
    /// How many regions there are; the budget, where that ended it.
    pub regions: u64,
    /// Whether the budget ended it: there are more regions than that.
    pub capped: bool,
    /// The area of all regions that were found: 4 but for rounding, or less where the budget ended it.
    pub area: f64,
    /// How many of those are below [`TINY`] of the slice.
    pub tiny: u64,
    /// The layers that bend.
    pub layers: Vec<CodeLayer>,
}

/// What becomes of regions as they are found.
#[derive(Debug, Clone, Copy)]
enum Goal {
    /// They are kept.
    Keep,
    /// They are counted, up to so many.
    Count(u64),
}

/// One region of a [`Partition`].
#[derive(Debug, Clone, Copy)]
pub struct Region<'a> {
    /// Numbers of its corners among the vertices, anticlockwise.
    pub corners: &'a [u32],
    /// Its area in units of `s` and `t`: the slice has 4.
    pub area: f64,
    /// The slopes of the outputs along `s` and `t`, `[K, 2]`.
    pub slopes: &'a [f64],
    /// The outputs' affine functions at `s = t = 0`, `[K]`.
    pub offsets: &'a [f64],
    /// Which piece each unit is on; [`Partition::layers`] says where it lies.
    pub code: &'a [u32],
}

impl Region<'_> {
    /// Whether its area is below [`TINY`] of the slice.
    pub fn is_tiny(&self) -> bool {
        is_tiny(self.area)
    }

    /// The affine function of an output at a point.
    pub fn value(&self, output: usize, [s, t]: Point) -> f64 {
        let slopes = &self.slopes[2 * output..];
        self.offsets[output] + slopes[0] * s + slopes[1] * t
    }
}

impl Partition {
    /// The regions of a network of two inputs, `s` and `t` in `[-1, 1]`: of a network on a plane as
    /// [`Network::on_slice`] makes it.
    ///
    /// Polygons are split by every unit that bends on them, stage by stage and depth first, with the affine functions of
    /// all units in `f64`. A value at a corner is on a knot where it differs from it by no more than a bound on rounding
    /// (16 epsilons of the norms of the weights and of what they are multiplied with), so that rounding makes no region,
    /// and of those that there are only such are left out that are thinner than rounding. The result is the same for any
    /// number of threads and any budget.
    ///
    /// # Errors
    /// [`Error::Shape`] for a network of other than two inputs; [`Error::MissingSlot`] with the name of an operator that
    /// is not piecewise affine, [`Error::Graph`] for one that jumps; [`Error::Memory`] where the result outgrows the
    /// context's budget; [`Error::Cancelled`].
    pub fn new(network: &Network, context: &Context) -> Result<Self> {
        let (stages, layers) = prepare(network, context)?;
        let found = search(&stages, &layers, Goal::Keep, context)?;
        let outputs = stages.targets.last().map_or(0, |target| target.norms.len());
        Ok(Self::join(&found, outputs, layers))
    }

    /// Counts the regions that [`new`](Self::new) finds, in the memory of one path down the tree for each thread.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn count(network: &Network, context: &Context) -> Result<Count> {
        Self::count_up_to(network, u64::MAX, context)
    }

    /// The same, ended once more than `budget` regions are found.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn count_up_to(network: &Network, budget: u64, context: &Context) -> Result<Count> {
        let (stages, layers) = prepare(network, context)?;
        let found = search(&stages, &layers, Goal::Count(budget), context)?;
        let regions: u64 = found.iter().map(|part| part.count).sum();
        Ok(Count {
            regions: regions.min(budget),
            capped: regions > budget,
            area: found.iter().map(|part| part.area).sum(),
            tiny: found.iter().map(|part| part.tiny).sum(),
            layers,
        })
    }

    fn join(found: &[Found], outputs: usize, layers: Vec<CodeLayer>) -> Self {
        let room = found.iter().map(|part| part.corners.len()).sum();
        let polygons = found.iter().flat_map(|part| {
            (0..part.ends.len())
                .map(|i| &part.corners[if i == 0 { 0 } else { part.ends[i - 1] }..part.ends[i]])
        });
        let (vertices, corners) = weld(polygons, room);
        let mut first = 0;
        let mut ends = vec![];
        for part in found {
            ends.extend(part.ends.iter().map(|end| first + end));
            first += part.corners.len();
        }
        fn all<T: Copy>(found: &[Found], of: impl Fn(&Found) -> &[T]) -> Vec<T> {
            found.iter().flat_map(|part| of(part).iter().copied()).collect()
        }
        Self {
            vertices,
            ends,
            corners,
            outputs,
            layers,
            areas: all(found, |part| &part.areas),
            slopes: all(found, |part| &part.slopes),
            offsets: all(found, |part| &part.offsets),
            codes: all(found, |part| &part.codes),
        }
    }

    /// How many regions there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none; there always is one.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Outputs of the network.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// The corners of all polygons, each point once, in the coordinates `s` and `t`.
    pub fn vertices(&self) -> &[Point] {
        &self.vertices
    }

    /// The layers that bend, in the order of their units in a code.
    pub fn layers(&self) -> &[CodeLayer] {
        &self.layers
    }

    /// Words of a code.
    pub fn words(&self) -> usize {
        self.layers.last().map_or(0, |layer| layer.words.end)
    }

    /// A region.
    ///
    /// # Panics
    /// Where there is none of that number.
    pub fn region(&self, i: usize) -> Region<'_> {
        let (k, words) = (self.outputs, self.words());
        Region {
            corners: &self.corners[self.range(i)],
            area: self.areas[i],
            slopes: &self.slopes[2 * k * i..2 * k * (i + 1)],
            offsets: &self.offsets[k * i..k * (i + 1)],
            code: &self.codes[words * i..words * (i + 1)],
        }
    }

    /// All regions.
    pub fn regions(&self) -> impl ExactSizeIterator<Item = Region<'_>> {
        (0..self.len()).map(|i| self.region(i))
    }

    /// The corners of a region as points.
    pub fn polygon(&self, i: usize) -> impl ExactSizeIterator<Item = Point> + '_ {
        self.corners[self.range(i)].iter().map(|&vertex| self.vertices[vertex as usize])
    }

    /// The mean of the corners of a region, which is inside.
    pub fn middle(&self, i: usize) -> Point {
        middle(&self.polygon(i).collect::<Vec<_>>())
    }

    /// The area of all regions together: 4 but for rounding.
    pub fn area(&self) -> f64 {
        self.areas.iter().sum()
    }

    /// How many regions are tiny.
    pub fn tiny(&self) -> usize {
        self.regions().filter(Region::is_tiny).count()
    }

    /// How the regions meet.
    pub fn mesh(&self) -> Mesh {
        Mesh::new(&self.vertices, &self.ends, &self.corners)
    }

    fn range(&self, i: usize) -> Range<usize> {
        if i == 0 { 0..self.ends[0] } else { self.ends[i - 1]..self.ends[i] }
    }
}

fn prepare(network: &Network, context: &Context) -> Result<(Stages, Vec<CodeLayer>)> {
    if network.dimension() != 2 {
        return Err(Error::Shape(format!(
            "a partition is that of a network of 2 inputs, not {}: put it on a plane first",
            network.dimension()
        )));
    }
    let stages = network.stages("a partition", context.memory() / 2)?;
    let layers = CodeLayer::of(&stages);
    Ok((stages, layers))
}

/// A part of the plane.
enum Part {
    /// What is to be done, with the code so far.
    Open(Item, Vec<u32>),
    Done(Found),
}

/// The regions, in an order that depends on nothing but the network.
fn search(stages: &Stages, layers: &[CodeLayer], goal: Goal, context: &Context) -> Result<Vec<Found>> {
    let (only_count, budget) = match goal {
        Goal::Keep => (false, u64::MAX),
        Goal::Count(budget) => (true, budget),
    };
    let words = layers.last().map_or(0, |layer| layer.words.end);
    let mut parts = vec![Part::Open(Item::whole(stages), vec![0; words])];
    for _ in 0..ROUNDS {
        let open = parts.iter().filter(|part| matches!(part, Part::Open(..))).count();
        if open == 0 || open >= PARTS {
            break;
        }
        let mut worker = Worker::new(stages, layers);
        worker.ahead = false;
        worker.found.only_count = only_count;
        let mut next = Vec::with_capacity(2 * parts.len());
        for part in parts {
            match part {
                Part::Open(item, code) => {
                    worker.code = code;
                    worker.step(item);
                    if worker.stack.is_empty() {
                        let found = std::mem::take(&mut worker.found);
                        worker.found.only_count = only_count;
                        next.push(Part::Done(found));
                    }
                    let parts = worker.stack.drain(..).rev();
                    next.extend(parts.map(|item| Part::Open(item, worker.code.clone())));
                }
                done @ Part::Done(_) => next.push(done),
            }
        }
        parts = next;
    }
    let (held, counted) = (AtomicU64::new(0), AtomicU64::new(0));
    context.progress().start("partition", 1000);
    let found = parts.into_par_iter().with_max_len(1).map(|part| {
        let (item, code) = match part {
            Part::Done(found) => return Ok(found),
            Part::Open(item, code) => (item, code),
        };
        let share = item.share();
        let mut worker = Worker::new(stages, layers);
        worker.code = code;
        worker.found.only_count = only_count;
        if counted.load(Ordering::Relaxed) <= budget {
            worker.stack.push(item);
        }
        let (mut steps, mut bytes, mut count) = (0_usize, 0, 0);
        while let Some(item) = worker.stack.pop() {
            worker.step(item);
            steps += 1;
            // A step that looks ahead may find many.
            let many = worker.found.count - count >= STEPS as u64;
            if many || steps.is_multiple_of(STEPS) || worker.stack.is_empty() {
                context.check()?;
                let more = worker.found.count - count;
                count = worker.found.count;
                if counted.fetch_add(more, Ordering::Relaxed) + more > budget {
                    break;
                }
                let now = worker.found.bytes();
                let all = held.fetch_add(now - bytes, Ordering::Relaxed) + now - bytes;
                bytes = now;
                if all > context.memory() / 2 {
                    return Err(Error::Memory {
                        what: "a partition of so many regions".to_owned(),
                        needed: 2 * all,
                        budget: context.memory(),
                    });
                }
            }
        }
        context.progress().advance((1000.0 * share) as u64);
        Ok(worker.found)
    });
    let found = found.collect::<Result<Vec<_>>>()?;
    context.progress().finish();
    Ok(found)
}
