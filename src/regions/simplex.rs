//! Linear programs over half-spaces, by the primal simplex method on a dictionary that stays feasible from one program to
//! the next: few variables, or many that are there anyway.

use ndarray::{Array2, ArrayView2, Axis};
use pulp::Arch;
use rayon::prelude::*;

use super::kernels::eliminate;
use super::walk::{BOX, Walls, dot};

/// Coefficients below this are none.
const PIVOT: f64 = 1e-9;

/// Ratios that differ by less, relative to their size, are equal.
const TIE: f64 = 1e-12;

/// The most that a facet's constraint may be violated without the others (in units of the inradius) to be none.
const SLACK: f64 = 1e-9;

/// Rays from the centre, at most about.
const RAYS: usize = 2048;

/// Rays whose products with all walls are computed together, in so many dimensions or more: one after the other they wait
/// for memory.
const TOGETHER: usize = 64;
const WIDE: usize = 32;

/// Where there are many walls for each dimension a deepest point is sought among so many for each, the nearest; those
/// that it violates join them.
const NEAREST: usize = 3;

/// Elements of a table from which on threads share it.
const LARGE: usize = 1 << 18;

/// What lies beside a dictionary's columns and rows: slacks `0..m` that must not be negative, then free variables.
///
/// Each row says a basic variable as `beta + sum_j alpha_j n_j` of those that are not.
struct Dictionary {
    arch: Arch,
    slacks: usize,
    columns: usize,
    /// `[rows, 1 + columns]`
    table: Vec<f64>,
    basic: Vec<usize>,
    nonbasic: Vec<usize>,
}

/// Where a step along a column ends.
struct Step {
    length: f64,
    /// The row that stops it.
    row: Option<usize>,
}

impl Dictionary {
    /// With all slacks basic; `columns` free variables at 0.
    fn new(slacks: usize, columns: usize, table: Vec<f64>) -> Self {
        let nonbasic = (slacks..slacks + columns).collect();
        Self { arch: Arch::new(), slacks, columns, table, basic: (0..slacks).collect(), nonbasic }
    }

    fn row(&self, i: usize) -> &[f64] {
        &self.table[i * (1 + self.columns)..][..1 + self.columns]
    }

    fn is_free(&self, variable: usize) -> bool {
        variable >= self.slacks
    }

    /// How far column `j` can go in a direction, 1 or -1, before a slack other than that of row `except` is 0. Of equal
    /// rows the one with the largest coefficient stops it.
    fn step(&self, j: usize, direction: f64, except: Option<usize>) -> Step {
        let mut step = Step { length: f64::INFINITY, row: None };
        let mut largest = 0.0;
        for (i, row) in self.table.chunks_exact(1 + self.columns).enumerate() {
            let fall = -direction * row[1 + j];
            if fall > PIVOT && !self.is_free(self.basic[i]) && Some(i) != except {
                let length = row[0].max(0.0) / fall;
                let near = length <= step.length * (1.0 + TIE) + f64::MIN_POSITIVE;
                if length < step.length * (1.0 - TIE) || (near && fall > largest) {
                    (step, largest) = (Step { length: length.min(step.length), row: Some(i) }, fall);
                }
            }
        }
        step
    }

    /// Column `j` and row `i` change places.
    fn pivot(&mut self, i: usize, j: usize) {
        let width = 1 + self.columns;
        let (before, rest) = self.table.split_at_mut(i * width);
        let (own, after) = rest.split_at_mut(width);
        let inverse = 1.0 / own[1 + j];
        own.iter_mut().for_each(|x| *x *= -inverse);
        own[1 + j] = inverse;
        let (arch, own) = (self.arch, &*own);
        if before.len() + after.len() < LARGE {
            eliminate(arch, before, own, 1 + j);
            eliminate(arch, after, own, 1 + j);
        } else {
            let block = width * (LARGE / 8).div_ceil(width);
            let blocks = before.par_chunks_mut(block).chain(after.par_chunks_mut(block));
            blocks.for_each(|rows| eliminate(arch, rows, own, 1 + j));
        }
        std::mem::swap(&mut self.basic[i], &mut self.nonbasic[j]);
    }

    fn remove(&mut self, i: usize) {
        let (width, last) = (1 + self.columns, self.basic.len() - 1);
        self.table.copy_within(last * width.., i * width);
        self.table.truncate(last * width);
        self.basic.swap_remove(i);
    }

    /// The column along which the variable of row `i` changes by `sign`, and the direction: the one with the largest
    /// coefficient, or, so that degenerate vertices are left again, the first (Bland 1977).
    fn entering(&self, i: usize, sign: f64, first: bool) -> Option<(usize, f64)> {
        let row = &self.row(i)[1..];
        let mut best: Option<(usize, f64)> = None;
        let mut size = PIVOT;
        for (j, &alpha) in row.iter().enumerate() {
            let gain = sign * alpha;
            let useful = if self.is_free(self.nonbasic[j]) { gain.abs() } else { gain };
            let better = match best {
                Some((at, _)) if first => useful > PIVOT && self.nonbasic[j] < self.nonbasic[at],
                _ => useful > size,
            };
            if better {
                (best, size) = (Some((j, gain.signum())), useful);
            }
        }
        best
    }

    /// Pivots after which a program is taken to go round, and those after which it ends.
    fn limits(&self) -> (usize, usize) {
        let size = self.basic.len() + self.columns;
        (10 * size, 60 * size + 1000)
    }

    /// Free variables at where they are, from `first` on.
    fn point(&self, count: usize) -> Vec<f64> {
        let mut x = vec![0.0; count];
        for (i, &variable) in self.basic.iter().enumerate() {
            if let Some(x) = variable.checked_sub(self.slacks).and_then(|d| x.get_mut(d)) {
                *x = self.row(i)[0];
            }
        }
        x
    }
}

/// The point that lies deepest within half-spaces.
#[derive(Debug, Clone)]
pub(super) struct Deepest {
    pub x: Vec<f64>,
    /// How deep it lies, by the program.
    pub depth: f64,
    /// Whether there is a deepest one.
    pub bounded: bool,
}

/// The `y` whose least `(slack - alpha . y) / weight` is largest, for rows `alpha [m, w]`; the depth is at most `most`.
/// `check` is asked between two pivots.
fn deepest<E>(
    alpha: &[f64],
    width: usize,
    slacks: &[f64],
    weights: &[f64],
    most: f64,
    mut check: impl FnMut() -> Result<(), E>,
) -> Result<Deepest, E> {
    let m = slacks.len();
    let ratios = slacks.iter().zip(weights).filter(|(_, w)| **w > 0.0).map(|(s, w)| s / w);
    let start = ratios.fold(most, f64::min);
    let columns = width + 1;
    let mut table = Vec::with_capacity((m + 1 + columns) * (columns + 1));
    for i in 0..m {
        table.push((slacks[i] - weights[i] * start).max(0.0));
        table.extend(alpha[i * width..][..width].iter().map(|a| -a));
        table.push(-weights[i]);
    }
    table.push(most - start);
    table.extend(std::iter::repeat_n(0.0, width));
    table.push(-1.0);
    let mut dictionary = Dictionary::new(m + 1, columns, table);
    // The depth itself goes first, until the nearest wall.
    let depth = m + 1 + width;
    if let Some(row) = dictionary.step(width, 1.0, None).row {
        dictionary.pivot(row, width);
        let (bland, last) = dictionary.limits();
        for round in 0..last {
            check()?;
            let Some(row) = dictionary.basic.iter().position(|&variable| variable == depth) else { break };
            let Some((j, direction)) = dictionary.entering(row, 1.0, round > bland) else { break };
            let Some(row) = dictionary.step(j, direction, None).row else { break };
            dictionary.pivot(row, j);
        }
    }
    let mut x = dictionary.point(width + 1);
    let gained = x.pop().unwrap_or(0.0);
    let capped = dictionary.nonbasic.contains(&m);
    Ok(Deepest { x, depth: start + gained, bounded: !capped })
}

/// The centre of the largest ball within walls (Boyd & Vandenberghe 2004, section 8.5.1), from a point that need not lie
/// within them. Where there are balls of any size, one as large as the walls are far. `check` is asked between two pivots.
///
/// Of many walls few are near: the program is that of the nearest ones and of those that its solution violates.
pub(super) fn chebyshev<E>(
    walls: &Walls,
    from: &[f64],
    mut check: impl FnMut() -> Result<(), E>,
) -> Result<Deepest, E> {
    let (m, dimension) = (walls.len(), walls.dimension);
    let mut slacks = walls.slacks(from);
    let most = 2.0 * slacks.iter().map(|s| s.abs()).fold(0.5, f64::max);
    let share = NEAREST * (dimension + 1);
    let mut order: Vec<usize> = (0..m).collect();
    if dimension >= WIDE && m > 2 * share {
        order.sort_by(|&i, &j| slacks[i].total_cmp(&slacks[j]).then(i.cmp(&j)));
        order.truncate(share);
    }
    let mut x = from.to_vec();
    loop {
        let normals: Vec<f64> = order.iter().flat_map(|&i| walls.normal(i).iter().copied()).collect();
        let own: Vec<f64> = order.iter().map(|&i| slacks[i]).collect();
        let mut deepest = deepest(&normals, dimension, &own, &vec![1.0; own.len()], most, &mut check)?;
        deepest.x.iter_mut().zip(&x).for_each(|(x, from)| *x += from);
        slacks = walls.slacks(&deepest.x);
        let size = deepest.depth.abs().max(f64::MIN_POSITIVE);
        let mut violated: Vec<usize> = if order.len() < m {
            (0..m).filter(|&i| slacks[i] < deepest.depth - SLACK * size).collect()
        } else {
            vec![]
        };
        // Walls of the program itself are violated by rounding alone.
        let mut own = order.clone();
        own.sort_unstable();
        violated.retain(|i| own.binary_search(i).is_err());
        if violated.is_empty() {
            // What the walls themselves say of the point.
            deepest.depth = slacks.iter().copied().fold(deepest.depth, f64::min);
            return Ok(deepest);
        }
        violated.sort_by(|&i, &j| slacks[i].total_cmp(&slacks[j]).then(i.cmp(&j)));
        violated.truncate(share);
        order.extend(violated);
        x = deepest.x;
    }
}

/// The centre of the largest ball within a wall and the other walls.
pub(super) fn within(walls: &Walls, wall: usize, from: &[f64]) -> Vec<f64> {
    let normal = walls.normal(wall);
    let lift = walls.slack(wall, from);
    let foot: Vec<f64> = from.iter().zip(normal).map(|(x, a)| lift.mul_add(*a, *x)).collect();
    let Some(k) = (0..normal.len()).max_by(|&i, &j| normal[i].abs().total_cmp(&normal[j].abs())) else {
        return foot;
    };
    let kept: Vec<usize> = (0..normal.len()).filter(|&d| d != k).collect();
    let (mut alpha, mut slacks, mut weights) = (vec![], vec![], vec![]);
    for i in (0..walls.len()).filter(|&i| i != wall) {
        let other = walls.normal(i);
        let cosine = dot(other, normal);
        let sine = 1.0 - cosine * cosine;
        if sine > PIVOT {
            alpha.extend(kept.iter().map(|&d| other[d] - other[k] * normal[d] / normal[k]));
            slacks.push(walls.slack(i, &foot));
            weights.push(sine.sqrt());
        }
    }
    let most = 2.0 * slacks.iter().map(|s: &f64| s.abs()).fold(0.5, f64::max);
    let never = || Ok::<(), std::convert::Infallible>(());
    let Ok(Deepest { x: step, .. }) = deepest(&alpha, kept.len(), &slacks, &weights, most, never);
    let mut point = foot;
    let along: f64 = kept.iter().zip(&step).map(|(&d, y)| normal[d] * y).sum();
    kept.iter().zip(&step).for_each(|(&d, y)| point[d] += y);
    point[k] -= along / normal[k];
    point
}

/// What is known of a wall.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Side {
    /// Others imply it.
    Redundant,
    /// It is a facet. A point of it, inside all other walls, where asked for.
    Facet(Vec<f64>),
    /// There were no more programs to tell.
    Undecided,
}

/// What is asked of [`facets`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    /// A point of each facet.
    pub points: bool,
    /// Linear programs, at most.
    pub programs: usize,
}

/// Which walls are facets of what they enclose, with `centre` inside all of them and `radius` deep. Of equal walls the
/// first is.
///
/// Rays from the centre along each normal find most facets that there are in few dimensions, and what lies beyond the box
/// is none. For each wall that is left its slack is made as small as the others let it become; where it stays positive the
/// wall is given up for good, so that programs become smaller. `check` is asked between two pivots, with the number of
/// walls that were decided since.
pub(super) fn facets<E>(
    walls: &Walls,
    centre: &[f64],
    radius: f64,
    Wanted { points, programs }: Wanted,
    mut check: impl FnMut(usize) -> Result<(), E>,
) -> Result<Vec<Side>, E> {
    let (m, dimension) = (walls.len(), walls.dimension);
    let slacks: Vec<f64> = walls.slacks(centre).iter().map(|s| s / radius).collect();
    // Rounding of slacks, in these units.
    let size = centre.iter().map(|x| x.abs()).fold(1.0, f64::max);
    let tolerance = SLACK.max(16.0 * f64::EPSILON * size / radius);
    let at = |step: &[f64]| -> Vec<f64> {
        if points { centre.iter().zip(step).map(|(x, y)| radius.mul_add(*y, *x)).collect() } else { vec![] }
    };
    let mut sides: Vec<Option<Side>> = vec![None; m];
    for (side, &implied) in sides.iter_mut().zip(&beyond_box(walls, tolerance * radius)) {
        *side = implied.then_some(Side::Redundant);
    }
    let rays: Vec<usize> = (0..m).step_by(m.div_ceil(RAYS).max(1)).collect();
    for rays in rays.chunks(TOGETHER) {
        check(0)?;
        let products = products(walls, rays);
        for (number, &i) in rays.iter().enumerate() {
            let direction = walls.normal(i);
            let (mut first, mut second, mut hit) = (f64::INFINITY, f64::INFINITY, None);
            for (j, &slack) in slacks.iter().enumerate() {
                let along =
                    products.as_ref().map_or_else(|| dot(walls.normal(j), direction), |p| p[[number, j]]);
                // Only what is met before the second is of interest.
                if along > PIVOT && slack < second * along {
                    let length = slack / along;
                    if length < first {
                        (second, first, hit) = (first, length, Some(j));
                    } else {
                        second = length;
                    }
                }
            }
            let clear = second > first * (1.0 + tolerance) + tolerance;
            if let Some(j) = hit.filter(|&j| sides[j].is_none() && clear) {
                let step: Vec<f64> = direction.iter().map(|a| first * a).collect();
                sides[j] = Some(Side::Facet(at(&step)));
            }
        }
    }
    let kept: Vec<usize> = (0..m).filter(|&i| sides[i] != Some(Side::Redundant)).collect();
    let mut table = Vec::with_capacity((kept.len() + dimension) * (1 + dimension));
    for &i in &kept {
        table.push(slacks[i]);
        table.extend(walls.normal(i).iter().map(|a| -a));
    }
    let mut dictionary = Dictionary::new(m, dimension, table);
    dictionary.basic = kept;
    let mut order: Vec<usize> = (0..m).filter(|&i| sides[i].is_none()).collect();
    order.sort_by(|&i, &j| slacks[j].total_cmp(&slacks[i]).then(j.cmp(&i)));
    check(m - order.len())?;
    for (program, wall) in order.into_iter().enumerate() {
        check(1)?;
        if sides[wall].is_some() {
            continue;
        }
        if program >= programs {
            sides[wall] = Some(Side::Undecided);
            continue;
        }
        let (bland, last) = dictionary.limits();
        let mut side = None;
        for round in 0..last {
            check(0)?;
            let basic = dictionary.basic.iter().position(|&variable| variable == wall);
            let (entering, alpha, beta) = match basic {
                Some(row) => match dictionary.entering(row, -1.0, round > bland) {
                    Some((j, direction)) => {
                        let row = dictionary.row(row);
                        (Some((j, direction)), row[1 + j].abs(), row[0])
                    }
                    None => (None, 0.0, dictionary.row(row)[0]),
                },
                // It is tight: can it go further?
                None => match dictionary.nonbasic.iter().position(|&variable| variable == wall) {
                    Some(j) => (Some((j, -1.0)), 1.0, 0.0),
                    None => break,
                },
            };
            let Some((j, direction)) = entering else {
                side = Some(Side::Redundant);
                if let Some(row) = basic {
                    dictionary.remove(row);
                }
                break;
            };
            let step = dictionary.step(j, direction, basic);
            if beta - alpha * step.length < -tolerance {
                let length = if step.length.is_finite() { step.length } else { (beta + 1.0) / alpha };
                // From the centre to there the wall is met inside all others.
                let witness = if points {
                    let beyond = dictionary.beyond(dimension, j, direction * length);
                    let share = slacks[wall] / (slacks[wall] - (beta - alpha * length));
                    at(&beyond.iter().map(|x| share * x).collect::<Vec<_>>())
                } else {
                    vec![]
                };
                side = Some(Side::Facet(witness));
                break;
            }
            let Some(row) = step.row else { break };
            dictionary.pivot(row, j);
            if !points {
                dictionary.forget_free();
                dictionary.mark(&mut sides, tolerance);
                if sides[wall].is_some() {
                    break;
                }
            }
        }
        if sides[wall].is_none() {
            // A program that does not end leaves a wall that may be one too many.
            sides[wall] = Some(side.unwrap_or_else(|| Side::Facet(at(&vec![0.0; dimension]))));
        }
    }
    Ok(sides.into_iter().map(|side| side.unwrap_or(Side::Redundant)).collect())
}

/// The products of the normals of some walls with those of all, where that is worth it.
fn products(walls: &Walls, some: &[usize]) -> Option<Array2<f64>> {
    if walls.dimension < WIDE {
        return None;
    }
    let all = ArrayView2::from_shape((walls.len(), walls.dimension), &walls.normals).ok()?;
    Some(all.select(Axis(0), some).dot(&all.t()))
}

/// Which walls no point of the box comes up to; none where there is no box.
fn beyond_box(walls: &Walls, rounding: f64) -> Vec<bool> {
    let mut ends = vec![[f64::NEG_INFINITY, f64::INFINITY]; walls.dimension];
    for (source, &offset) in walls.sources.iter().zip(&walls.offsets).filter(|(s, _)| s.stage == BOX) {
        ends[source.unit as usize][source.piece as usize] = if source.piece == 0 { -offset } else { offset };
    }
    let farthest = |i: usize| -> f64 {
        let products = walls.normal(i).iter().zip(&ends);
        products.map(|(&a, [low, high])| if a == 0.0 { 0.0 } else { (a * low).max(a * high) }).sum()
    };
    (0..walls.len())
        .map(|i| walls.sources[i].stage != BOX && farthest(i) + rounding < walls.offsets[i])
        .collect()
}

impl Dictionary {
    /// The free variables after a step along a column.
    fn beyond(&self, count: usize, j: usize, step: f64) -> Vec<f64> {
        let mut x = vec![0.0; count];
        for (i, &variable) in self.basic.iter().enumerate() {
            if let Some(x) = variable.checked_sub(self.slacks).and_then(|d| x.get_mut(d)) {
                let row = self.row(i);
                *x = row[1 + j].mul_add(step, row[0]);
            }
        }
        if let Some(x) = self.nonbasic[j].checked_sub(self.slacks).and_then(|d| x.get_mut(d)) {
            *x = step;
        }
        x
    }

    /// Drops the rows of free variables, which stop nothing.
    fn forget_free(&mut self) {
        if let Some(row) = (0..self.basic.len()).find(|&i| self.is_free(self.basic[i])) {
            self.remove(row);
        }
    }

    /// Where no other slack is 0, all walls that are tight are facets.
    fn mark(&self, sides: &mut [Option<Side>], tolerance: f64) {
        let is_open = |i: usize| self.is_free(self.basic[i]) || self.row(i)[0] > tolerance;
        if (0..self.basic.len()).all(is_open) {
            for &variable in self.nonbasic.iter().filter(|&&variable| !self.is_free(variable)) {
                sides[variable].get_or_insert_with(|| Side::Facet(vec![]));
            }
        }
    }
}
