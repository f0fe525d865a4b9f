//! Splitting a polygon by what bends, stage by stage.
//!
//! An item of work is a polygon, a stage, and the affine functions of everything behind it, as far as they are known. The
//! units whose piece is the same on all of the polygon are decided and their part is added to what they feed; one of the
//! others splits the polygon, and so on, depth first. A unit is so added to one sum for all polygons that it has one
//! piece on, not to one for each. (In a layer of 256 units whose plane falls into 1,000 polygons, a unit is added a
//! dozen times for each of these on average, not 256 times.)

use std::ops::Range;
use std::sync::Arc;

use pulp::Arch;

use crate::network::{Bend, Map, Stages, Table, Windows};

use super::codes::CodeLayer;
use super::kernels::{AT_ONCE, Rounding, add, margins, ranges};
use super::largest::Functions;
use super::partition::is_tiny;
use super::polygon::{Point, area};
use super::reduced::{Scratch, strips};

/// What counts as rounding of a value, in units of the norms of its weights and of what they are multiplied with. Sums in
/// another order differ by less; what lies within is on the line.
pub(super) const ROUNDING: f64 = 16.0 * f64::EPSILON;

// Sums here are not fused: outside the kernels that would be a call of a function.

/// Affine functions that grow: of `n` elements the values at 0 and both slopes, `[3, n]`, and the sum of the squares of
/// all that was added.
pub(super) type Rows = Vec<f64>;

/// A polygon to be split by a stage.
pub(super) struct Item {
    pub stage: usize,
    pub corners: Vec<Point>,
    /// The units that are not decided yet; `None` where none was looked at.
    open: Option<Vec<u32>>,
    /// The unit that has just been decided, and on which piece it is.
    chosen: Option<(u32, u32)>,
    /// Of each target, the outputs first, the stage itself last.
    pub rows: Vec<Arc<Rows>>,
    /// The area of the polygon around it that was looked ahead from last, in vain.
    pub looked: f64,
}

impl Item {
    /// All of the square `[-1, 1]^2`.
    pub(super) fn whole(stages: &Stages) -> Self {
        let rows = stages.targets.iter().rev().map(|target| Arc::new([&target.direct[..], &[0.0]].concat()));
        let corners = vec![[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]];
        Self { stage: 0, corners, open: None, chosen: None, rows: rows.collect(), looked: f64::INFINITY }
    }

    /// The same, to go on with.
    pub(super) fn ahead(&self) -> Self {
        let (corners, rows) = (self.corners.clone(), self.rows.clone());
        Self { stage: self.stage, corners, open: None, chosen: None, rows, looked: self.looked }
    }

    /// Its share of the square.
    pub(super) fn share(&self) -> f64 {
        area(&self.corners) / 4.0
    }
}

/// Regions, in the order in which they were found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Where the corners of each end.
    pub ends: Vec<usize>,
    pub corners: Vec<Point>,
    pub areas: Vec<f64>,
    /// `[R, K, 2]`
    pub slopes: Vec<f64>,
    /// `[R, K]`
    pub offsets: Vec<f64>,
    /// `[R, words]`
    pub codes: Vec<u32>,
    /// Whether regions are counted and not kept.
    pub only_count: bool,
    pub count: u64,
    pub area: f64,
    pub tiny: u64,
}

impl Found {
    /// Adds a region with its affine maps, `[K, 3]`: values at 0 and slopes.
    pub(super) fn add(&mut self, corners: &[Point], maps: &[f64], code: &[u32]) {
        let area = area(corners);
        self.count += 1;
        self.area += area;
        self.tiny += u64::from(is_tiny(area));
        if self.only_count {
            return;
        }
        self.corners.extend(corners);
        self.ends.push(self.corners.len());
        self.areas.push(area);
        for map in maps.chunks_exact(3) {
            self.offsets.push(map[0]);
            self.slopes.extend(&map[1..]);
        }
        self.codes.extend(code);
    }

    /// Bytes that it holds.
    pub(super) fn bytes(&self) -> u64 {
        let numbers = 2 * self.corners.len() + self.areas.len() + self.slopes.len() + self.offsets.len();
        (size_of::<f64>() * numbers + size_of_val(&self.ends[..]) + size_of_val(&self.codes[..])) as u64
    }
}

/// One thread's work.
pub(super) struct Worker<'a> {
    pub stages: &'a Stages,
    pub layers: &'a [CodeLayer],
    pub arch: Arch,
    /// Whether a polygon may be worked on to the end in one step.
    pub ahead: bool,
    /// What is to be done, the last first.
    pub stack: Vec<Item>,
    /// The code of the item at hand, as far as it is decided.
    pub code: Vec<u32>,
    pub found: Found,
    low: Vec<f64>,
    high: Vec<f64>,
    pub values: Vec<f64>,
    pub scratch: Scratch,
    /// Units that were decided, with their affine functions.
    pub terms: Vec<(u32, [f64; 3])>,
}

impl<'a> Worker<'a> {
    pub(super) fn new(stages: &'a Stages, layers: &'a [CodeLayer]) -> Self {
        let widest = stages.targets.iter().map(|target| target.norms.len()).max().unwrap_or(0);
        Self {
            stages,
            layers,
            arch: Arch::new(),
            ahead: true,
            stack: vec![],
            code: vec![0; layers.last().map_or(0, |layer| layer.words.end)],
            found: Found::default(),
            low: vec![0.0; widest],
            high: vec![0.0; widest],
            values: vec![],
            scratch: Scratch::default(),
            terms: vec![],
        }
    }

    /// Works on an item until it is a region, or falls into parts, which are put on the stack.
    pub(super) fn step(&mut self, mut item: Item) {
        let stages = self.stages;
        while let Some(stage) = stages.stages.get(item.stage) {
            let Some(own) = item.rows.last().map(Arc::clone) else { return };
            let norms = &stages.targets[item.stage].norms;
            let own = Own { rows: &own, norms, spread: own.last().map_or(0.0, |sum| sum.sqrt()) };
            self.terms.clear();
            if let Some((unit, piece)) = item.chosen.take() {
                self.decide(item.stage, &stage.bend, &own, unit, piece);
            }
            let mut open = vec![];
            match &stage.bend {
                Bend::Elementwise(tables) => self.elementwise(&mut item, tables, &own, &mut open),
                Bend::Largest(windows) => self.largest(&mut item, windows, &own, &mut open),
            }
            self.spread(&mut item);
            if open.is_empty() {
                item.rows.pop();
                item.stage += 1;
                item.open = None;
                continue;
            }
            if self.ahead && self.look_ahead(&mut item, &open) {
                return;
            }
            let (unit, parts) = match &stage.bend {
                Bend::Elementwise(tables) => self.strips(&item.corners, tables, &own, &open),
                Bend::Largest(windows) => {
                    (open[0], candidates(windows, &own, open[0] as usize).parts(&item.corners))
                }
            };
            open.retain(|&other| other != unit);
            // The first part comes off the stack first; the last to be made takes what the item holds.
            for (piece, corners) in parts.into_iter().rev() {
                let (open, rows) = (Some(open.clone()), item.rows.clone());
                let (chosen, looked) = (Some((unit, piece)), item.looked);
                self.stack.push(Item { stage: item.stage, corners, open, chosen, rows, looked });
            }
            return;
        }
        self.emit(&item);
    }

    /// A region.
    fn emit(&mut self, item: &Item) {
        let rows = item.rows.last().map_or(&[][..], |rows| &rows[..rows.len() - 1]);
        let n = rows.len() / 3;
        let rows: Vec<f64> = (0..n).flat_map(|k| [rows[k], rows[n + k], rows[2 * n + k]]).collect();
        self.found.add(&item.corners, &rows, &self.code);
    }

    /// Notes the piece of a unit.
    pub(super) fn decide(&mut self, stage: usize, bend: &Bend, own: &Own<'_>, unit: u32, piece: u32) {
        let at = unit as usize;
        let term = match bend {
            Bend::Elementwise(tables) => {
                let (table, piece) = (table(tables, at), piece as usize);
                let (slope, offset) = (table.slopes[piece], table.offsets[piece]);
                self.layers[stage].set(&mut self.code, at, piece as u32);
                let [value, right, up] = own.function(at);
                [slope * value + offset, slope * right, slope * up]
            }
            Bend::Largest(windows) => {
                let entry = entries(windows, at).start + piece as usize;
                self.layers[stage].set(&mut self.code, at, windows.codes[entry]);
                own.function(windows.elements[entry] as usize)
            }
        };
        if term != [0.0; 3] {
            self.terms.push((unit, term));
        }
    }

    /// Decides the units whose table has one piece on the polygon; the others stay open.
    fn elementwise(&mut self, item: &mut Item, tables: &[Table], own: &Own<'_>, open: &mut Vec<u32>) {
        let bend = &self.stages.stages[item.stage].bend;
        let mut look = |worker: &mut Self, unit: usize, low: f64, high: f64| {
            let (knots, rounding) = (&table(tables, unit).knots, own.rounding(unit));
            if knots.iter().any(|knot| low < knot - rounding && knot + rounding < high) {
                open.push(unit as u32);
            } else {
                let piece = knots.iter().filter(|&&knot| high > knot + rounding).count();
                worker.decide(item.stage, bend, own, unit as u32, piece as u32);
            }
        };
        match (item.open.take(), tables) {
            (None, [Table { knots, slopes, offsets }]) if knots.len() == 1 => {
                let n = own.norms.len();
                let rounding = Rounding { norms: own.norms, spread: own.spread, epsilons: ROUNDING };
                let (low, high) = (&mut self.low[..n], &mut self.high[..n]);
                margins(self.arch, own.rows, &item.corners, knots[0], rounding, low, high);
                let words = self.layers[item.stage].words.clone();
                self.code[words.clone()].fill(0);
                for unit in 0..n {
                    let (low, high) = (self.low[unit], self.high[unit]);
                    if low < 0.0 && high > 0.0 {
                        open.push(unit as u32);
                        continue;
                    }
                    let piece = usize::from(high > 0.0);
                    self.code[words.start + unit / 32] |= (piece as u32) << (unit % 32);
                    let (slope, offset) = (slopes[piece], offsets[piece]);
                    if slope != 0.0 || offset != 0.0 {
                        let [value, right, up] = own.function(unit);
                        self.terms.push((unit as u32, [slope * value + offset, slope * right, slope * up]));
                    }
                }
            }
            (None, _) => {
                let n = own.norms.len();
                ranges(self.arch, own.rows, &item.corners, &mut self.low[..n], &mut self.high[..n]);
                for unit in 0..n {
                    let (low, high) = (self.low[unit], self.high[unit]);
                    look(self, unit, low, high);
                }
            }
            (Some(left), _) => {
                for unit in left {
                    let (low, high) = own.range(unit as usize, &item.corners);
                    look(self, unit as usize, low, high);
                }
            }
        }
    }

    /// Decides the windows in which one element is the largest on all of the polygon; the others stay open.
    fn largest(&mut self, item: &mut Item, windows: &Windows, own: &Own<'_>, open: &mut Vec<u32>) {
        let bend = &self.stages.stages[item.stage].bend;
        let (units, fresh) = match item.open.take() {
            Some(open) => (open, false),
            None => ((0..windows.ends.len() as u32).collect(), true),
        };
        let n = own.norms.len();
        if fresh {
            ranges(self.arch, own.rows, &item.corners, &mut self.low[..n], &mut self.high[..n]);
        }
        for unit in units {
            let clear = if fresh { self.clear_winner(windows, unit as usize) } else { None };
            let winner = clear
                .or_else(|| candidates(windows, own, unit as usize).winner(&item.corners, &mut self.values));
            match winner {
                Some(piece) => self.decide(item.stage, bend, own, unit, piece),
                None => open.push(unit),
            }
        }
    }

    /// The first element of a window whose least value on the polygon no other exceeds: what most windows have.
    fn clear_winner(&self, windows: &Windows, unit: usize) -> Option<u32> {
        let elements = &windows.elements[entries(windows, unit)];
        let ends = |i: usize| {
            let element = elements[i] as usize;
            if windows.sign > 0.0 {
                (self.low[element], self.high[element])
            } else {
                (-self.high[element], -self.low[element])
            }
        };
        let clear = |&i: &usize| (0..elements.len()).all(|j| j == i || ends(j).1 <= ends(i).0);
        (0..elements.len()).find(clear).map(|i| i as u32)
    }

    /// Adds what was decided to all that it feeds.
    pub(super) fn spread(&mut self, item: &mut Item) {
        if self.terms.is_empty() {
            return;
        }
        let squares: f64 =
            self.terms.iter().map(|(_, term)| term.map(f64::abs).iter().sum::<f64>().powi(2)).sum();
        for (target, map) in &self.stages.stages[item.stage].links {
            let at = item.rows.len() - 1 - (target - item.stage);
            let rows = Arc::make_mut(&mut item.rows[at]);
            let end = rows.len() - 1;
            rows[end] += squares;
            let (n, sums) = (end / 3, &mut rows[..end]);
            match map {
                Map::Dense(weights) => {
                    for terms in self.terms.chunks(AT_ONCE) {
                        // Where there are fewer, rows times 0 fill up.
                        let term = |i: usize| terms.get(i).copied().unwrap_or((0, [0.0; 3]));
                        let four = [term(0), term(1), term(2), term(3)];
                        let row = |(unit, _): (u32, _)| &weights[unit as usize * n..][..n];
                        add(self.arch, sums, four.map(row), four.map(|(_, term)| term));
                    }
                }
                Map::Sparse { ends, positions, weights } => {
                    for &(unit, [value, right, up]) in &self.terms {
                        let unit = unit as usize;
                        let entries = if unit == 0 { 0 } else { ends[unit - 1] }..ends[unit];
                        for (&at, &w) in positions[entries.clone()].iter().zip(&weights[entries]) {
                            let at = at as usize;
                            sums[at] += w * value;
                            sums[n + at] += w * right;
                            sums[2 * n + at] += w * up;
                        }
                    }
                }
            }
        }
    }

    /// The open unit one of whose knots lies nearest the middle of its range, and the parts of the polygon on its pieces.
    fn strips(
        &mut self,
        corners: &[Point],
        tables: &[Table],
        own: &Own<'_>,
        open: &[u32],
    ) -> (u32, Vec<(u32, Vec<Point>)>) {
        let mut best = (open[0], f64::NEG_INFINITY);
        for &unit in open {
            let (low, high) = own.range(unit as usize, corners);
            let balance = |knot: &f64| (high - knot).min(knot - low) / (high - low);
            let most =
                table(tables, unit as usize).knots.iter().map(balance).fold(f64::NEG_INFINITY, f64::max);
            if most > best.1 {
                best = (unit, most);
            }
        }
        let unit = best.0 as usize;
        let value = |corner: Point| own.at(unit, corner);
        let knots = &table(tables, unit).knots;
        (best.0, strips(corners, knots, value, own.rounding(unit), &mut self.values))
    }
}

/// What is no more than rounding is 0.
pub(super) fn snapped(value: f64, rounding: f64) -> f64 {
    if value.abs() <= rounding { 0.0 } else { value }
}

pub(super) fn table(tables: &[Table], unit: usize) -> &Table {
    &tables[if tables.len() == 1 { 0 } else { unit }]
}

/// What a stage takes, on a polygon.
pub(super) struct Own<'a> {
    pub rows: &'a Rows,
    pub norms: &'a [f64],
    /// The norm of all that its elements are sums of.
    pub spread: f64,
}

impl Own<'_> {
    /// The value at 0 and the slopes of an element.
    pub(super) fn function(&self, i: usize) -> [f64; 3] {
        let n = self.norms.len();
        [self.rows[i], self.rows[n + i], self.rows[2 * n + i]]
    }

    pub(super) fn at(&self, i: usize, [s, t]: Point) -> f64 {
        let [value, right, up] = self.function(i);
        value + right * s + up * t
    }

    pub(super) fn range(&self, i: usize, corners: &[Point]) -> (f64, f64) {
        let values = corners.iter().map(|&corner| self.at(i, corner));
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)))
    }

    /// What of an element is rounding.
    pub(super) fn rounding(&self, i: usize) -> f64 {
        let size: f64 = self.function(i).map(f64::abs).iter().sum();
        ROUNDING * (self.norms[i] * self.spread + size)
    }
}

/// The positions of a window in the lists of elements and codes.
pub(super) fn entries(windows: &Windows, unit: usize) -> Range<usize> {
    if unit == 0 { 0..windows.ends[0] } else { windows.ends[unit - 1]..windows.ends[unit] }
}

/// The elements of a window, so that the largest wins.
pub(super) fn candidates<'a>(
    windows: &'a Windows,
    own: &'a Own<'_>,
    unit: usize,
) -> Functions<impl Fn(usize, Point) -> f64 + 'a> {
    let elements = &windows.elements[entries(windows, unit)];
    let rounding = elements.iter().map(|&element| own.rounding(element as usize)).fold(0.0, f64::max);
    let value = move |i: usize, corner: Point| windows.sign * own.at(elements[i] as usize, corner);
    Functions { count: elements.len(), value, rounding: 2.0 * rounding }
}
