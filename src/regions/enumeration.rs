//! All regions of a network inside a box, by walking across facets.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;

use rand::RngExt;
use rayon::prelude::*;

use crate::engine::Context;
use crate::network::{Network, Slot, Stages};
use crate::{Error, Result};

use super::codes::CodeLayer;
use super::normal_form::{Affine, plan, programs_fit};
use super::polytope::check_limits;
use super::simplex::{Side, Wanted, chebyshev, facets, within};
use super::walk::{BOX, Source, Walk, Walls};

/// Inradii below this share of half the box's edge are labelled tiny.
pub const TINY_RADIUS: f64 = 1e-9;

/// What is no deeper than this is no region: rounding of walls in a box of `[-1, 1]`.
const FLAT: f64 = 1e-13;

/// Facets crossed between two looks at the memory and at whether the job was cancelled.
const AT_ONCE: usize = 4096;

/// What a number of regions is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    /// All facets were crossed.
    Exact,
    /// The budget ended it.
    Capped,
    /// It is not over.
    Visited,
}

impl Label {
    /// The word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Capped => "capped",
            Self::Visited => "visited",
        }
    }
}

/// The regions of a network inside the box `low <= x_d <= high`, found breadth first from the box's centre: each facet of a
/// region leads to a neighbour (Sattelberg, Cavalieri, Kirby, Peterson & Beveridge 2020).
///
/// Regions are told apart by their codes. The result is the same for any number of threads and any memory budget.
pub struct Enumeration {
    affine: Affine,
    limits: [f64; 2],
    pub(super) found: Regions,
    /// Codes that were queued, and whether a region was found that has them.
    known: HashMap<Box<[u32]>, bool>,
    pub(super) queue: VecDeque<Crossing>,
    pub(super) unresolved: u64,
    capped: bool,
}

/// Regions in the order in which they were found.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Regions {
    pub count: usize,
    /// `[R, words]`
    pub codes: Vec<u32>,
    /// Centres of the largest balls inside, `[R, D]`, in coordinates of the box as `[-1, 1]^D`.
    pub centres: Vec<f64>,
    pub radii: Vec<f64>,
}

/// A facet that is to be crossed; none at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Crossing {
    pub parent: u32,
    pub source: Source,
}

/// A region that was reached.
struct Cell {
    code: Vec<u32>,
    centre: Vec<f64>,
    radius: f64,
    facets: Vec<Source>,
}

impl Enumeration {
    /// Finds the region of the box's centre, or of several that meet there one by the context's seed.
    ///
    /// # Errors
    /// [`Error::Argument`] for a box whose ends are not finite or do not ascend; [`Error::MissingSlot`] with the name of an
    /// operator that is not piecewise affine; [`Error::Graph`] for one that jumps; [`Error::Memory`].
    pub fn new(network: &Network, limits: [f64; 2], context: &Context) -> Result<Self> {
        let mut enumeration = Self::empty(network, limits, context)?;
        let dimension = enumeration.affine.dimension;
        let Affine { stages, layers, .. } = &enumeration.affine;
        let mut rng = context.rng(0);
        // Where the centre lies on knots some directions lead along others; one does not.
        let start = (0..16).find_map(|_| {
            let direction: Vec<f64> = (0..dimension).map(|_| rng.random_range(-1.0..1.0)).collect();
            let mut code = vec![0; enumeration.affine.words()];
            Walk::along(stages, layers, &vec![0.0; dimension], &direction, &mut code);
            enumeration.cell(code, &vec![0.0; dimension])
        });
        let cell = start.ok_or_else(|| {
            Error::Graph("no region around the centre of the box is thicker than rounding".to_owned())
        })?;
        enumeration.add(cell);
        Ok(enumeration)
    }

    /// With nothing found.
    pub(super) fn empty(network: &Network, limits: [f64; 2], context: &Context) -> Result<Self> {
        check_limits(limits)?;
        let network = network.cut(None, None)?;
        network.require("an enumeration of regions", Slot::AffinePieces)?;
        let dimension = network.dimension();
        plan(&network, context.memory())?;
        programs_fit(&network, rayon::current_num_threads(), context.memory())?;
        let (middle, half) = (f64::midpoint(limits[0], limits[1]), (limits[1] - limits[0]) / 2.0);
        let direction = |d: usize| {
            let mut direction = vec![0.0; dimension];
            direction[d] = half;
            direction
        };
        let directions: Vec<Vec<f64>> = (0..dimension).map(direction).collect();
        let directions: Vec<&[f64]> = directions.iter().map(|d| &d[..]).collect();
        let boxed = network.on_slice(&vec![middle; dimension], &directions)?;
        let affine = Affine::new(&boxed, "an enumeration of regions", context.memory())?;
        Ok(Self {
            affine,
            limits,
            found: Regions::default(),
            known: HashMap::new(),
            queue: VecDeque::new(),
            unresolved: 0,
            capped: false,
        })
    }

    /// Goes on until all facets are crossed or `budget` regions are found in all. Where it is cancelled, what was found is
    /// kept, and it can go on.
    ///
    /// # Errors
    /// [`Error::Memory`] where the regions outgrow the context's budget; [`Error::Cancelled`].
    pub fn run(&mut self, budget: usize, context: &Context) -> Result<()> {
        let before = self.found.count;
        // Without a budget nobody knows how many there are.
        let total = if budget == usize::MAX { 0 } else { budget.saturating_sub(before) };
        context.progress().start("regions", total as u64);
        while !self.queue.is_empty() && self.found.count < budget {
            context.check()?;
            let held = self.bytes();
            if held > context.memory() / 2 {
                let what = format!("an enumeration of {} regions", self.found.count);
                return Err(Error::Memory { what, needed: 2 * held, budget: context.memory() });
            }
            let count = self.queue.len().min(budget - self.found.count).min(AT_ONCE);
            let crossings: Vec<Crossing> = self.queue.iter().take(count).copied().collect();
            let this = &*self;
            let cells: Vec<Option<Cell>> = crossings
                .par_iter()
                .map(|crossing| {
                    context.check()?;
                    Ok(this.cross(*crossing))
                })
                .collect::<Result<_>>()?;
            self.queue.drain(..count);
            let known = self.found.count;
            for cell in cells {
                match cell {
                    Some(cell) => self.add(cell),
                    None => self.unresolved += 1,
                }
            }
            context.progress().advance((self.found.count - known) as u64);
        }
        context.progress().finish();
        self.capped = !self.queue.is_empty();
        Ok(())
    }

    /// How many regions were found.
    pub fn len(&self) -> usize {
        self.found.count
    }

    /// Whether none was; the one at the centre always is.
    pub fn is_empty(&self) -> bool {
        self.found.count == 0
    }

    /// What the number is worth.
    pub fn label(&self) -> Label {
        match (self.queue.is_empty(), self.capped) {
            (true, _) => Label::Exact,
            (false, true) => Label::Capped,
            (false, false) => Label::Visited,
        }
    }

    /// The number of elements of an input.
    pub fn dimension(&self) -> usize {
        self.affine.dimension
    }

    /// The ends of the box.
    pub fn limits(&self) -> [f64; 2] {
        self.limits
    }

    /// The layers that bend, in the order of their units in a code.
    pub fn layers(&self) -> &[CodeLayer] {
        &self.affine.layers
    }

    /// Words of a code.
    pub fn words(&self) -> usize {
        self.affine.words()
    }

    /// Which piece each unit is on in a region.
    ///
    /// # Panics
    /// Where there is no region of that number.
    pub fn code(&self, i: usize) -> &[u32] {
        &self.found.codes[self.range(i, self.words())]
    }

    /// The centre of the largest ball in a region.
    ///
    /// # Panics
    /// Where there is no region of that number.
    pub fn centre(&self, i: usize) -> Vec<f64> {
        let [low, high] = self.limits;
        let (middle, half) = (f64::midpoint(low, high), (high - low) / 2.0);
        let centre = &self.found.centres[self.range(i, self.dimension())];
        centre.iter().map(|x| half.mul_add(*x, middle)).collect()
    }

    /// The radius of the largest ball in a region.
    ///
    /// # Panics
    /// Where there is no region of that number.
    pub fn inradius(&self, i: usize) -> f64 {
        self.found.radii[i] * (self.limits[1] - self.limits[0]) / 2.0
    }

    /// How many regions have an inradius below [`TINY_RADIUS`] of half the box's edge. They count.
    pub fn tiny(&self) -> usize {
        self.found.radii.iter().filter(|&&radius| radius < TINY_RADIUS).count()
    }

    /// Facets behind which nothing was found that is thicker than rounding (1e-13 of half the box's edge).
    pub fn unresolved(&self) -> u64 {
        self.unresolved
    }

    /// Facets that are not crossed yet.
    pub fn open(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn stages(&self) -> &Stages {
        &self.affine.stages
    }

    fn range(&self, i: usize, length: usize) -> Range<usize> {
        i * length..(i + 1) * length
    }

    fn bytes(&self) -> u64 {
        let (words, dimension) = (self.words() as u64, self.dimension() as u64);
        let (found, known) = (self.found.count as u64, self.known.len() as u64);
        found * (4 * words + 8 * dimension + 8) + known * (4 * words + 48) + 16 * self.queue.len() as u64
    }

    /// The code beyond a facet, if nothing changes but its unit.
    pub(super) fn beyond(&self, crossing: &Crossing) -> Vec<u32> {
        let mut code = self.code(crossing.parent as usize).to_vec();
        let Source { stage, unit, piece } = crossing.source;
        self.affine.layers[stage as usize].set(&mut code, unit as usize, piece);
        code
    }

    /// The region beyond a facet.
    fn cross(&self, crossing: Crossing) -> Option<Cell> {
        let dimension = self.dimension();
        let from = &self.found.centres[self.range(crossing.parent as usize, dimension)];
        // Where units share the facet, or depend on what changes there, a point just across tells.
        self.cell(self.beyond(&crossing), from).or_else(|| {
            let Affine { stages, layers, .. } = &self.affine;
            let mut code = self.code(crossing.parent as usize).to_vec();
            let walls = self.walls(&mut code);
            let wall = walls.sources.iter().position(|source| *source == crossing.source)?;
            let point = within(&walls, wall, from);
            Walk::along(stages, layers, &point, walls.normal(wall), &mut code);
            self.cell(code, from)
        })
    }

    fn walls(&self, code: &mut [u32]) -> Walls {
        let mut walls = Walls::new(self.dimension());
        Walk::by_code(&self.affine.stages, &self.affine.layers, code, &mut walls);
        walls.add_box(-1.0, 1.0);
        walls
    }

    /// The region of a code, unless it is flat.
    fn cell(&self, mut code: Vec<u32>, from: &[f64]) -> Option<Cell> {
        let walls = self.walls(&mut code);
        if self.is_found(&code) {
            // It was found already, on another way.
            return Some(Cell { code, centre: vec![], radius: 0.0, facets: vec![] });
        }
        let never = || Ok::<(), std::convert::Infallible>(());
        let Ok(deepest) = chebyshev(&walls, from, never);
        if deepest.depth <= FLAT {
            return None;
        }
        let wanted = Wanted { points: false, programs: usize::MAX };
        let Ok(sides) = facets(&walls, &deepest.x, deepest.depth, wanted, |_| never());
        let facets = sides.iter().zip(&walls.sources).filter(|(side, _)| matches!(side, Side::Facet(_)));
        let facets = facets.map(|(_, source)| *source).filter(|source| source.stage != BOX).collect();
        Some(Cell { code, centre: deepest.x, radius: deepest.depth, facets })
    }

    fn is_found(&self, code: &[u32]) -> bool {
        self.known.get(code).is_some_and(|found| *found)
    }

    fn add(&mut self, cell: Cell) {
        let number = self.found.count as u32;
        if self.is_found(&cell.code) {
            return;
        }
        let code = cell.code.into_boxed_slice();
        self.found.push(&code, &cell.centre, cell.radius);
        self.known.insert(code, true);
        for source in cell.facets {
            self.enqueue(Crossing { parent: number, source });
        }
    }

    /// Queues a facet unless what lies behind is known.
    fn enqueue(&mut self, crossing: Crossing) {
        let beyond = self.beyond(&crossing).into_boxed_slice();
        if let std::collections::hash_map::Entry::Vacant(entry) = self.known.entry(beyond) {
            entry.insert(false);
            self.queue.push_back(crossing);
        }
    }

    /// Puts in what was found before.
    pub(super) fn restore(&mut self, found: Regions, queue: Vec<Crossing>, unresolved: u64) {
        (self.found, self.unresolved) = (found, unresolved);
        for i in 0..self.found.count {
            self.known.insert(self.code(i).into(), true);
        }
        for crossing in queue {
            self.known.entry(self.beyond(&crossing).into_boxed_slice()).or_insert(false);
            self.queue.push_back(crossing);
        }
    }
}

impl Regions {
    fn push(&mut self, code: &[u32], centre: &[f64], radius: f64) {
        self.count += 1;
        self.codes.extend(code);
        self.centres.extend(centre);
        self.radii.push(radius);
    }
}
