//! A network from stage to stage: on the region of a code, with the walls of that region, or along a ray.

use crate::network::{Bend, Map, Stages, Table, Windows};

use super::codes::CodeLayer;
use super::split::{entries, table};

/// What counts as rounding of a value, in units of the norms of its weights and of what they are multiplied with; as in
/// [`Partition`](super::Partition).
const ROUNDING: f64 = 16.0 * f64::EPSILON;

/// How many times that counts as on a knot where a direction says what lies beyond: points of facets are computed.
const NEAR: f64 = 64.0;

/// The number of a stage that stands for the box.
pub(super) const BOX: u32 = u32::MAX;

/// What a wall of a region is made by: unit `unit` of stage `stage` is on piece number `piece` beyond it. For the box,
/// the input and 0 for its lower or 1 for its upper end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Source {
    pub stage: u32,
    pub unit: u32,
    pub piece: u32,
}

/// Half-spaces `a . x <= b` with `|a| = 1`.
#[derive(Debug, Clone, Default)]
pub(super) struct Walls {
    pub dimension: usize,
    /// `[m, D]`
    pub normals: Vec<f64>,
    pub offsets: Vec<f64>,
    pub sources: Vec<Source>,
}

impl Walls {
    pub(super) fn new(dimension: usize) -> Self {
        Self { dimension, ..Self::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.offsets.len()
    }

    pub(super) fn normal(&self, i: usize) -> &[f64] {
        &self.normals[i * self.dimension..][..self.dimension]
    }

    /// How far a point is from a wall; below 0 beyond it.
    pub(super) fn slack(&self, i: usize, x: &[f64]) -> f64 {
        self.offsets[i] - dot(self.normal(i), x)
    }

    pub(super) fn slacks(&self, x: &[f64]) -> Vec<f64> {
        (0..self.len()).map(|i| self.slack(i, x)).collect()
    }

    /// All `x` with `low <= x_d <= high`.
    pub(super) fn add_box(&mut self, low: f64, high: f64) {
        for d in 0..self.dimension {
            for (piece, sign, offset) in [(0, -1.0, -low), (1, 1.0, high)] {
                let first = self.normals.len();
                self.normals.resize(first + self.dimension, 0.0);
                self.normals[first + d] = sign;
                self.offsets.push(offset);
                self.sources.push(Source { stage: BOX, unit: d as u32, piece });
            }
        }
    }

    /// Adds `value + slope . x <= 0`, unless it bends nowhere: `size` is the norm of the slope.
    fn add(&mut self, source: Source, value: f64, slope: impl Iterator<Item = f64>, size: f64) {
        self.normals.extend(slope.map(|p| p / size));
        self.offsets.push(-value / size);
        self.sources.push(source);
    }
}

pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// What a target takes, as far as it is known: `[1 + c, n]` values and slopes.
#[derive(Default)]
struct Sums {
    rows: Vec<f64>,
    /// How large the terms are that are affine in the input, `[n]`.
    sizes: Vec<f64>,
    /// The sum of the squares of all that was added.
    squares: f64,
}

/// A network on its way.
pub(super) struct Walk<'a> {
    stages: &'a Stages,
    layers: &'a [CodeLayer],
    sums: Vec<Sums>,
    columns: usize,
}

impl<'a> Walk<'a> {
    fn new(stages: &'a Stages, layers: &'a [CodeLayer], columns: usize) -> Self {
        Self { stages, layers, sums: Vec::with_capacity(stages.targets.len()), columns }
    }

    /// On all points of the region of a code. Where a unit is the same everywhere the code has no choice, and is put right;
    /// of equal elements of a window the first wins. Adds the walls, and gives the outputs `[1 + D, K]`: their values
    /// at 0 and slopes.
    pub(super) fn by_code(
        stages: &'a Stages,
        layers: &'a [CodeLayer],
        code: &mut [u32],
        walls: &mut Walls,
    ) -> Vec<f64> {
        let dimension = walls.dimension;
        let mut walk = Self::new(stages, layers, 1 + dimension);
        for target in &stages.targets {
            let mut sizes = vec![0.0; target.norms.len()];
            for row in target.direct.chunks_exact(sizes.len().max(1)) {
                sizes.iter_mut().zip(row).for_each(|(size, x)| *size += x.abs());
            }
            walk.sums.push(Sums { rows: target.direct.clone(), sizes, squares: 0.0 });
        }
        for (k, stage) in stages.stages.iter().enumerate() {
            let own = std::mem::take(&mut walk.sums[k]);
            let own = Own { sums: &own, norms: &stages.targets[k].norms };
            let mut terms = Vec::with_capacity(stage.units * walk.columns);
            for unit in 0..stage.units {
                let source = |piece: u32| Source { stage: k as u32, unit: unit as u32, piece };
                match &stage.bend {
                    Bend::Elementwise(tables) => {
                        let table = table(tables, unit);
                        let piece = elementwise_walls(
                            &own,
                            table,
                            unit,
                            layers[k].get(code, unit),
                            |i, sign| {
                                let knot = table.knots[i as usize - usize::from(sign > 0.0)];
                                (source(if sign > 0.0 { i - 1 } else { i + 1 }), knot)
                            },
                            walls,
                        );
                        layers[k].set(code, unit, piece);
                        let (slope, offset) = (table.slopes[piece as usize], table.offsets[piece as usize]);
                        terms.push(slope.mul_add(own.value(unit), offset));
                        terms.extend(own.slope(unit).map(|p| slope * p));
                    }
                    Bend::Largest(windows) => {
                        let number = layers[k].get(code, unit);
                        let entry = window_walls(&own, windows, unit, number, source, walls);
                        layers[k].set(code, unit, windows.codes[entry]);
                        let element = windows.elements[entry] as usize;
                        terms.push(own.value(element));
                        terms.extend(own.slope(element));
                    }
                }
            }
            walk.spread(k, &terms);
        }
        walk.sums.pop().map_or_else(Vec::new, |sums| sums.rows)
    }

    /// At a point, or where that lies on a knot just beyond it along a direction. Where the direction does not tell
    /// either, a unit is on the piece below its knot. Gives the outputs' values, and their slopes along the ray, `[2, K]`.
    pub(super) fn along(
        stages: &'a Stages,
        layers: &'a [CodeLayer],
        x: &[f64],
        direction: &[f64],
        code: &mut [u32],
    ) -> Vec<f64> {
        let mut walk = Self::new(stages, layers, 2);
        let near = if direction.iter().any(|&step| step != 0.0) { NEAR } else { 1.0 };
        for target in &stages.targets {
            let n = target.norms.len();
            let mut rows = vec![0.0; 2 * n];
            rows[..n].copy_from_slice(&target.direct[..n]);
            let mut sizes: Vec<f64> = target.direct[..n].iter().map(|x| x.abs()).collect();
            for (d, (&x, &step)) in x.iter().zip(direction).enumerate() {
                let slopes = &target.direct[(1 + d) * n..][..n];
                let (values, along) = rows.split_at_mut(n);
                axpy(values, x, slopes);
                axpy(along, step, slopes);
                sizes.iter_mut().zip(slopes).for_each(|(size, p)| *size += p.abs() * (x.abs() + step.abs()));
            }
            walk.sums.push(Sums { rows, sizes, squares: 0.0 });
        }
        for (k, stage) in stages.stages.iter().enumerate() {
            let own = std::mem::take(&mut walk.sums[k]);
            let own = Own { sums: &own, norms: &stages.targets[k].norms };
            let mut terms = Vec::with_capacity(2 * stage.units);
            for unit in 0..stage.units {
                match &stage.bend {
                    Bend::Elementwise(tables) => {
                        let table = table(tables, unit);
                        let (value, slope) = (own.value(unit), own.along(unit));
                        let rounding = near * own.rounding(unit);
                        let above = |knot: f64| {
                            value > knot + rounding || (value >= knot - rounding && slope > rounding)
                        };
                        let piece = table.knots.iter().filter(|&&knot| above(knot)).count();
                        layers[k].set(code, unit, piece as u32);
                        terms.push(table.slopes[piece].mul_add(value, table.offsets[piece]));
                        terms.push(table.slopes[piece] * slope);
                    }
                    Bend::Largest(windows) => {
                        let entry = winner_along(&own, windows, unit, near);
                        layers[k].set(code, unit, windows.codes[entry]);
                        let element = windows.elements[entry] as usize;
                        terms.extend([own.value(element), own.along(element)]);
                    }
                }
            }
            walk.spread(k, &terms);
        }
        walk.sums.pop().map_or_else(Vec::new, |sums| sums.rows)
    }

    /// Adds the values of a stage, `[units, columns]`, to all that it feeds.
    fn spread(&mut self, stage: usize, terms: &[f64]) {
        let columns = self.columns;
        let size = |term: &[f64]| term.iter().map(|x| x.abs()).sum::<f64>().powi(2);
        let squares: f64 = terms.chunks_exact(columns).map(size).sum();
        for (target, map) in &self.stages.stages[stage].links {
            let sums = &mut self.sums[*target];
            sums.squares += squares;
            let n = self.stages.targets[*target].norms.len();
            match map {
                Map::Dense(weights) => {
                    for (term, weights) in terms.chunks_exact(columns).zip(weights.chunks_exact(n.max(1))) {
                        for (&x, row) in term.iter().zip(sums.rows.chunks_exact_mut(n.max(1))) {
                            if x != 0.0 {
                                axpy(row, x, weights);
                            }
                        }
                    }
                }
                Map::Sparse { ends, positions, weights } => {
                    let mut first = 0;
                    for (term, &end) in terms.chunks_exact(columns).zip(ends) {
                        for (&x, row) in term.iter().zip(sums.rows.chunks_exact_mut(n.max(1))) {
                            if x != 0.0 {
                                for (&at, &w) in positions[first..end].iter().zip(&weights[first..end]) {
                                    row[at as usize] = w.mul_add(x, row[at as usize]);
                                }
                            }
                        }
                        first = end;
                    }
                }
            }
        }
        debug_assert_eq!(self.layers[stage].units * columns, terms.len());
    }
}

fn axpy(sums: &mut [f64], x: f64, row: &[f64]) {
    sums.iter_mut().zip(row).for_each(|(sum, w)| *sum += w * x);
}

/// What a stage takes.
struct Own<'a> {
    sums: &'a Sums,
    norms: &'a [f64],
}

impl Own<'_> {
    fn value(&self, i: usize) -> f64 {
        self.sums.rows[i]
    }

    fn slope(&self, i: usize) -> impl Iterator<Item = f64> + '_ {
        self.sums.rows[self.norms.len() + i..].iter().step_by(self.norms.len()).copied()
    }

    fn along(&self, i: usize) -> f64 {
        self.sums.rows[self.norms.len() + i]
    }

    /// What of an element is rounding.
    fn rounding(&self, i: usize) -> f64 {
        ROUNDING * self.norms[i].mul_add(self.sums.squares.sqrt(), self.sums.sizes[i])
    }
}

/// The walls of a unit on a piece of its table, and its piece, which is another where the unit is the same everywhere.
fn elementwise_walls(
    own: &Own<'_>,
    table: &Table,
    unit: usize,
    piece: u32,
    wall: impl Fn(u32, f64) -> (Source, f64),
    walls: &mut Walls,
) -> u32 {
    let (value, rounding) = (own.value(unit), own.rounding(unit));
    let size = own.slope(unit).map(|p| p * p).sum::<f64>().sqrt();
    if size <= rounding {
        return table.knots.iter().filter(|&&knot| value > knot + rounding).count() as u32;
    }
    if piece > 0 {
        let (source, knot) = wall(piece, 1.0);
        walls.add(source, knot - value, own.slope(unit).map(|p| -p), size);
    }
    if (piece as usize) < table.knots.len() {
        let (source, knot) = wall(piece, -1.0);
        walls.add(source, value - knot, own.slope(unit), size);
    }
    piece
}

/// The walls of a window with a given winner, and the place of the winner, which is another where that is nowhere the
/// first of the largest.
fn window_walls(
    own: &Own<'_>,
    windows: &Windows,
    unit: usize,
    number: u32,
    source: impl Fn(u32) -> Source,
    walls: &mut Walls,
) -> usize {
    let places = entries(windows, unit);
    let named = places.clone().find(|&entry| windows.codes[entry] == number).unwrap_or(places.start);
    let element = |entry: usize| windows.elements[entry] as usize;
    // How much an element exceeds the winner: the value at 0, and the size of the slope, 0 where that is rounding.
    let excess = |entry: usize, winner: usize| {
        let (a, b) = (element(entry), element(winner));
        let rounding = own.rounding(a) + own.rounding(b);
        let value = windows.sign * (own.value(a) - own.value(b));
        let size = own.slope(a).zip(own.slope(b)).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt();
        let snapped = if value.abs() <= rounding { 0.0 } else { value };
        if size <= rounding { (snapped, 0.0) } else { (value, size) }
    };
    let mut winner = named;
    for entry in places.clone() {
        let (value, size) = excess(entry, winner);
        if size == 0.0 && (value > 0.0 || (value == 0.0 && entry < winner)) {
            winner = entry;
        }
    }
    for entry in places {
        let (value, size) = excess(entry, winner);
        if size > 0.0 {
            let slopes = own.slope(element(entry)).zip(own.slope(element(winner)));
            let slopes = slopes.map(|(a, b)| windows.sign * (a - b));
            walls.add(source(windows.codes[entry]), value, slopes, size);
        }
    }
    winner
}

/// The place of the element that is the largest at a point, or just beyond it.
fn winner_along(own: &Own<'_>, windows: &Windows, unit: usize, near: f64) -> usize {
    let places = entries(windows, unit);
    let mut winner = places.start;
    for entry in places.skip(1) {
        let (a, b) = (windows.elements[entry] as usize, windows.elements[winner] as usize);
        let rounding = near * (own.rounding(a) + own.rounding(b));
        let value = windows.sign * (own.value(a) - own.value(b));
        let slope = windows.sign * (own.along(a) - own.along(b));
        if value > rounding || (value >= -rounding && slope > rounding) {
            winner = entry;
        }
    }
    winner
}
