//! What is left of a network on a polygon: the units that may bend there, and the outputs.
//!
//! A unit that bends gives a chord of its table, and how far its value is from that: a bounded residual. Units and outputs
//! are affine in the coordinates and in the residuals of units before them. As polygons become smaller units keep their
//! pieces, and their residuals are affine functions that go into what depends on them. (Bounds of this kind are those of
//! Singh, Gehr, Mirman, Püschel & Vechev 2018, "Fast and effective robustness certification"; here nothing is lost, as
//! residuals are kept and not only their bounds.)

use crate::network::{Bend, Stages, Table};

use super::largest::Functions;
use super::polygon::{Point, cut};
use super::split::{entries, snapped, table};

/// A chord is drawn anew where residuals become narrower than this share.
const NARROWER: f64 = 0.7;

/// Coefficients before those of residuals: the value at 0 and both slopes.
pub(super) const AFFINE: usize = 3;

/// A unit that may bend: an affine function, or those of a window, that it takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unit {
    pub stage: u32,
    pub unit: u32,
    /// Its first row, and how many there are.
    pub first: u32,
    pub count: u32,
    /// What counts as rounding of its rows.
    pub rounding: f64,
    /// What stands for its value: `slope u + offset`, or the row of number `base` among those of a window.
    pub chord: Chord,
}

/// A line in the place of a unit, and by how much the unit may exceed it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Chord {
    pub slope: f64,
    pub offset: f64,
    pub base: u32,
    pub low: f64,
    pub high: f64,
}

impl Chord {
    /// Of a table between two values.
    pub(super) fn of(table: &Table, low: f64, high: f64) -> Self {
        let at = |u: f64| {
            let piece = table.knots.iter().filter(|&&knot| knot < u).count();
            table.slopes[piece] * u + table.offsets[piece]
        };
        let (from, to) = (at(low), at(high));
        let slope = if low < high { (to - from) / (high - low) } else { 0.0 };
        let mut chord = Self { slope, offset: from - slope * low, ..Self::default() };
        (chord.low, chord.high) = chord.within(table, low, high);
        chord
    }

    /// By how much a table may exceed it between two values.
    fn within(&self, table: &Table, low: f64, high: f64) -> (f64, f64) {
        let ends = [low, high].into_iter();
        let knots = table.knots.iter().copied().filter(|&knot| low < knot && knot < high);
        let residuals = ends.chain(knots).map(|u| {
            let piece = table.knots.iter().filter(|&&knot| knot < u).count();
            (table.slopes[piece] - self.slope) * u + (table.offsets[piece] - self.offset)
        });
        residuals.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), r| (low.min(r), high.max(r)))
    }
}

/// The units that may bend on a polygon, in an order in which each depends on those before alone, and the outputs.
#[derive(Debug, Clone, Default)]
pub(super) struct Reduced {
    pub units: Vec<Unit>,
    /// Of each unit's rows, and last of the outputs: 3 coefficients, and one for the residual of each unit.
    pub rows: Vec<f64>,
    /// Of each row of a unit the place among those of its window.
    pub places: Vec<u32>,
}

/// Where a unit is: on one piece, or it may be on several; and between which values, where the chord needs them.
enum State {
    Piece(u32),
    Open(f64, f64),
}

/// What settling needs to work.
#[derive(Default)]
pub(super) struct Scratch {
    own: Vec<f64>,
    values: Vec<f64>,
}

impl Reduced {
    fn width(&self) -> usize {
        AFFINE + self.units.len()
    }

    fn row(&self, i: usize) -> &[f64] {
        &self.rows[i * self.width()..][..self.width()]
    }

    /// The outputs, when no unit is left.
    pub(super) fn outputs(&self) -> &[f64] {
        &self.rows
    }

    /// Decides what keeps one piece on a polygon, `chosen` among them, and takes it out. `decided` gets the number of each
    /// unit and its piece, or place in its window.
    pub(super) fn settle(
        &mut self,
        stages: &Stages,
        corners: &[Point],
        chosen: Option<(usize, u32)>,
        scratch: &mut Scratch,
        mut decided: impl FnMut(&Unit, u32),
    ) {
        let mut left = vec![];
        for j in 0..self.units.len() {
            let unit = self.units[j];
            let bend = &stages.stages[unit.stage as usize].bend;
            let state = match chosen {
                Some((at, piece)) if at == j => State::Piece(piece),
                _ => match bend {
                    Bend::Elementwise(tables) => self.piece(j, table(tables, unit.unit as usize), corners),
                    Bend::Largest(windows) => self.winner(j, windows.sign, corners, scratch),
                },
            };
            match (state, bend) {
                (State::Piece(piece), Bend::Elementwise(tables)) => {
                    let table = table(tables, unit.unit as usize);
                    let slope = table.slopes[piece as usize] - unit.chord.slope;
                    let offset = table.offsets[piece as usize] - unit.chord.offset;
                    self.put(j, &[(unit.first, slope)], offset, false, scratch);
                    decided(&unit, piece);
                }
                (State::Piece(place), Bend::Largest(_)) => {
                    let rows = unit.first..unit.first + unit.count;
                    let winner = rows.clone().find(|&row| self.places[row as usize] == place);
                    let rows = [(winner.unwrap_or(unit.first), 1.0), (unit.first + unit.chord.base, -1.0)];
                    self.put(j, &rows, 0.0, false, scratch);
                    decided(&unit, place);
                }
                (State::Open(low, high), Bend::Elementwise(tables)) => {
                    let table = table(tables, unit.unit as usize);
                    let (old, new) = (unit.chord.within(table, low, high), Chord::of(table, low, high));
                    if new.high - new.low < NARROWER * (old.1 - old.0) {
                        let (slope, offset) = (new.slope - unit.chord.slope, new.offset - unit.chord.offset);
                        self.put(j, &[(unit.first, slope)], offset, true, scratch);
                        self.units[j].chord = new;
                    } else {
                        (self.units[j].chord.low, self.units[j].chord.high) = old;
                    }
                    left.push(j);
                }
                (State::Open(low, high), Bend::Largest(_)) => {
                    (self.units[j].chord.low, self.units[j].chord.high) = (low, high);
                    left.push(j);
                }
            }
        }
        if left.len() < self.units.len() {
            self.keep(&left);
        }
    }

    /// Puts a combination of rows and a number in the place of a unit's residual, or adds it (`stay`).
    fn put(&mut self, j: usize, rows: &[(u32, f64)], offset: f64, stay: bool, scratch: &mut Scratch) {
        let (width, length) = (self.width(), AFFINE + j);
        let own = &mut scratch.own;
        own.clear();
        own.resize(length, 0.0);
        own[0] = offset;
        for &(row, factor) in rows.iter().filter(|(_, factor)| *factor != 0.0) {
            let row = &self.rows[row as usize * width..][..length];
            own.iter_mut().zip(row).for_each(|(sum, x)| *sum += factor * x);
        }
        let after = (self.units[j].first + self.units[j].count) as usize;
        for row in self.rows[after * width..].chunks_exact_mut(width) {
            let factor = row[length];
            if factor != 0.0 {
                row[..length].iter_mut().zip(&*own).for_each(|(x, y)| *x += factor * y);
                if !stay {
                    row[length] = 0.0;
                }
            }
        }
    }

    /// What residuals add to a row, less or equal and more or equal.
    fn residuals(&self, row: &[f64], j: usize) -> (f64, f64) {
        let (mut low, mut high) = (0.0, 0.0);
        for (unit, &factor) in self.units[..j].iter().zip(&row[AFFINE..]) {
            let ends = [factor * unit.chord.low, factor * unit.chord.high];
            low += if factor < 0.0 { ends[1] } else { ends[0] };
            high += if factor < 0.0 { ends[0] } else { ends[1] };
        }
        (low, high)
    }

    fn depends(&self, i: usize, j: usize) -> bool {
        self.row(i)[AFFINE..][..j].iter().any(|&factor| factor != 0.0)
    }

    fn piece(&self, j: usize, table: &Table, corners: &[Point]) -> State {
        let Unit { first, rounding, .. } = self.units[j];
        let row = self.row(first as usize);
        let (low, high) = range(row, corners);
        let (less, more) = self.residuals(row, j);
        let (low, high) = (low + less, high + more);
        match piece(table, low, high, rounding, less != 0.0 || more != 0.0) {
            Some(piece) => State::Piece(piece),
            None => State::Open(low, high),
        }
    }

    /// Gives up elements of a window that are nowhere the largest.
    fn winner(&mut self, j: usize, sign: f64, corners: &[Point], scratch: &mut Scratch) -> State {
        let Unit { first, count, rounding, chord, .. } = self.units[j];
        let (first, count) = (first as usize, count as usize);
        if (first..first + count).all(|row| !self.depends(row, j)) {
            let value = |i: usize, corner: Point| sign * at(self.row(first + i), corner);
            let functions = Functions { count, value, rounding: 2.0 * rounding };
            if let Some(i) = functions.winner(corners, &mut scratch.values) {
                return State::Piece(self.places[first + i as usize]);
            }
        }
        let base = first + chord.base as usize;
        let (mut low, mut high) = (0.0_f64, 0.0_f64);
        let mut clear: Option<usize> = None;
        for i in first..first + count {
            let beats = |other: usize| other == i || self.gap(i, other, j, sign, corners).0 > 2.0 * rounding;
            if clear.is_none() && (first..first + count).all(beats) {
                clear = Some(i);
            }
            let (less, more) = self.gap(i, base, j, 1.0, corners);
            if sign > 0.0 {
                high = high.max(more)
            } else {
                low = low.min(less)
            };
        }
        match clear {
            Some(i) => State::Piece(self.places[i]),
            None => State::Open(low, high),
        }
    }

    /// Between which values `sign` times the difference of two rows lies.
    fn gap(&self, a: usize, b: usize, j: usize, sign: f64, corners: &[Point]) -> (f64, f64) {
        let (a, b) = (self.row(a), self.row(b));
        let affine = [0, 1, 2].map(|i| sign * (a[i] - b[i]));
        let (mut low, mut high) = range(&affine, corners);
        for (i, unit) in self.units[..j].iter().enumerate() {
            let factor = sign * (a[AFFINE + i] - b[AFFINE + i]);
            let ends = [factor * unit.chord.low, factor * unit.chord.high];
            low += ends[0].min(ends[1]);
            high += ends[0].max(ends[1]);
        }
        (low, high)
    }

    /// Only these units stay.
    fn keep(&mut self, left: &[usize]) {
        let (width, next) = (self.width(), AFFINE + left.len());
        let ends = self.places.len();
        let outputs = self.rows.len() / width - ends;
        let mut to = 0;
        let mut move_row = |rows: &mut Vec<f64>, from: usize| {
            rows.copy_within(from * width..from * width + AFFINE, to * next);
            for (at, &j) in left.iter().enumerate() {
                rows[to * next + AFFINE + at] = rows[from * width + AFFINE + j];
            }
            to += 1;
            to - 1
        };
        for (at, &j) in left.iter().enumerate() {
            let mut unit = self.units[j];
            let rows = unit.first as usize..(unit.first + unit.count) as usize;
            for (i, row) in rows.enumerate() {
                let place = move_row(&mut self.rows, row);
                self.places[place] = self.places[row];
                if i == 0 {
                    unit.first = place as u32;
                }
            }
            self.units[at] = unit;
        }
        let kept = left.len();
        let places = left.last().map_or(0, |_| {
            let unit = self.units[kept - 1];
            (unit.first + unit.count) as usize
        });
        for row in ends..ends + outputs {
            move_row(&mut self.rows, row);
        }
        self.units.truncate(kept);
        self.places.truncate(places);
        self.rows.truncate((places + outputs) * next);
    }

    /// A unit that depends on no residual, one of whose knots lies nearest the middle of its range, and the parts of the
    /// polygon on its pieces.
    pub(super) fn split(
        &self,
        stages: &Stages,
        corners: &[Point],
        scratch: &mut Scratch,
    ) -> (usize, Vec<(u32, Vec<Point>)>) {
        let mut best: Option<(usize, f64)> = None;
        for (j, unit) in self.units.iter().enumerate() {
            let rows = unit.first as usize..(unit.first + unit.count) as usize;
            if rows.clone().any(|row| self.depends(row, j)) {
                continue;
            }
            let balance = match &stages.stages[unit.stage as usize].bend {
                Bend::Elementwise(tables) => {
                    let (low, high) = range(self.row(rows.start), corners);
                    let share = |knot: &f64| (high - knot).min(knot - low) / (high - low);
                    let knots = &table(tables, unit.unit as usize).knots;
                    knots.iter().map(share).fold(f64::NEG_INFINITY, f64::max)
                }
                Bend::Largest(_) => f64::NEG_INFINITY,
            };
            if best.is_none_or(|(_, most)| balance > most) {
                best = Some((j, balance));
            }
        }
        let j = best.map_or(0, |(j, _)| j);
        let unit = self.units[j];
        let first = unit.first as usize;
        let parts = match &stages.stages[unit.stage as usize].bend {
            Bend::Elementwise(tables) => {
                let knots = &table(tables, unit.unit as usize).knots;
                let value = |corner: Point| at(self.row(first), corner);
                strips(corners, knots, value, unit.rounding, &mut scratch.values)
            }
            Bend::Largest(windows) => {
                let value = |i: usize, corner: Point| windows.sign * at(self.row(first + i), corner);
                let count = unit.count as usize;
                let parts = Functions { count, value, rounding: 2.0 * unit.rounding }.parts(corners);
                parts.into_iter().map(|(i, part)| (self.places[first + i as usize], part)).collect()
            }
        };
        (j, parts)
    }
}

/// The value of an affine function.
pub(super) fn at(row: &[f64], [s, t]: Point) -> f64 {
    row[0] + row[1] * s + row[2] * t
}

/// Its least and its largest value at corners.
pub(super) fn range(row: &[f64], corners: &[Point]) -> (f64, f64) {
    let values = corners.iter().map(|&corner| at(row, corner));
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)))
}

/// The piece of a table that all values between two are on; `bounded` where these are bounds and not values.
pub(super) fn piece(table: &Table, low: f64, high: f64, rounding: f64, bounded: bool) -> Option<u32> {
    let knots = table.knots.iter();
    if bounded {
        let clear = |knot: &f64| low > knot + rounding || high < knot - rounding;
        return knots.clone().all(clear).then(|| knots.filter(|&&knot| low > knot + rounding).count() as u32);
    }
    let open = |knot: &f64| low < knot - rounding && knot + rounding < high;
    (!knots.clone().any(open)).then(|| knots.filter(|&&knot| high > knot + rounding).count() as u32)
}

/// The parts of a polygon on the pieces between knots, in their order.
pub(super) fn strips(
    corners: &[Point],
    knots: &[f64],
    value: impl Fn(Point) -> f64,
    rounding: f64,
    values: &mut Vec<f64>,
) -> Vec<(u32, Vec<Point>)> {
    let mut parts = vec![];
    let (mut rest, mut piece) = (corners.to_vec(), 0);
    for (i, &knot) in knots.iter().enumerate() {
        values.clear();
        values.extend(rest.iter().map(|&corner| snapped(value(corner) - knot, rounding)));
        let above = values.iter().any(|&value| value > 0.0);
        let below = values.iter().any(|&value| value < 0.0);
        if above && below {
            let [higher, lower] = cut(&rest, values);
            parts.push((i as u32, lower));
            rest = higher;
        }
        if !above {
            break;
        }
        piece = i as u32 + 1;
    }
    parts.push((piece, rest));
    parts
}

/// The place of an element of a window by its entry.
pub(super) fn place(windows: &crate::network::Windows, unit: usize, entry: usize) -> u32 {
    (entry - entries(windows, unit).start) as u32
}
