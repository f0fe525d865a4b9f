//! Looking ahead from a polygon: which units may bend on it in all that follows, and nothing else of the network.

use std::sync::Arc;

use pulp::Arch;

use crate::network::{Bend, Map, Stages, Windows};

use super::kernels::{AT_ONCE, add_row, ranges, residuals};
use super::polygon::area;
use super::reduced::{AFFINE, Chord, Reduced, Unit, piece, place};
use super::split::{Item, Own, Worker, candidates, entries, table};

/// Units that may bend, at most: with more a polygon is split first.
const MOST: usize = 96;

/// A polygon on which more bend is looked at again when it has less than this share of its area.
const AGAIN: f64 = 0.5;

/// A column is kept as what is not 0 where that is one element in so many.
const FEW: usize = 8;

/// What a residual adds to what each target takes, the last first.
type Column = Vec<Part>;

/// What a residual adds to the elements of one target.
#[derive(Debug, Clone)]
enum Part {
    /// In any order, elements also more than once.
    Few(Vec<(u32, f64)>),
    All(Vec<f64>),
}

impl Part {
    fn is_empty(&self) -> bool {
        matches!(self, Self::Few(few) if few.is_empty())
    }

    fn get(&self, element: usize) -> f64 {
        match self {
            Self::Few(few) => few.iter().filter(|(at, _)| *at as usize == element).map(|(_, x)| x).sum(),
            Self::All(all) => all[element],
        }
    }

    /// All of its `n` elements.
    fn all(&mut self, n: usize) -> &mut Vec<f64> {
        if let Self::Few(few) = self {
            let mut all = vec![0.0; n];
            few.iter().for_each(|&(at, x)| all[at as usize] += x);
            *self = Self::All(all);
        }
        match self {
            Self::All(all) => all,
            Self::Few(_) => unreachable!("it was made whole"),
        }
    }
}

impl Worker<'_> {
    /// All regions of a polygon, unless too many units may bend on it. `open` are those of its stage.
    pub(super) fn look_ahead(&mut self, item: &mut Item, open: &[u32]) -> bool {
        let own_area = area(&item.corners);
        if open.len() > MOST || own_area > AGAIN * item.looked {
            return false;
        }
        item.looked = own_area;
        let Some(reduced) = self.reduce(item, open) else { return false };
        self.regions_of(&item.corners, reduced, None);
        true
    }

    /// The regions of a polygon by what is left of the network on it.
    fn regions_of(&mut self, corners: &[[f64; 2]], mut reduced: Reduced, chosen: Option<(usize, u32)>) {
        let (stages, layers) = (self.stages, self.layers);
        let mut scratch = std::mem::take(&mut self.scratch);
        let code = &mut self.code;
        reduced.settle(stages, corners, chosen, &mut scratch, |unit, piece| {
            let number = match &stages.stages[unit.stage as usize].bend {
                Bend::Elementwise(_) => piece,
                Bend::Largest(windows) => {
                    windows.codes[entries(windows, unit.unit as usize).start + piece as usize]
                }
            };
            layers[unit.stage as usize].set(code, unit.unit as usize, number);
        });
        if reduced.units.is_empty() {
            self.scratch = scratch;
            self.found.add(corners, reduced.outputs(), &self.code);
            return;
        }
        let (j, parts) = reduced.split(stages, corners, &mut scratch);
        self.scratch = scratch;
        let last = parts.len() - 1;
        for (i, (piece, part)) in parts.into_iter().enumerate() {
            let own = if i == last { std::mem::take(&mut reduced) } else { reduced.clone() };
            self.regions_of(&part, own, Some((j, piece)));
        }
    }

    /// Goes on to the outputs with bounds of what bends on the way.
    fn reduce(&mut self, item: &Item, open: &[u32]) -> Option<Reduced> {
        let stages = self.stages;
        let mut item = item.ahead();
        let mut ahead = Ahead::new(stages, self.arch);
        let mut first = Some(open);
        while let Some(stage) = stages.stages.get(item.stage) {
            let own_rows = item.rows.last().map(Arc::clone)?;
            let norms = &stages.targets[item.stage].norms;
            let own = Own { rows: &own_rows, norms, spread: own_rows.last().map_or(0.0, |sum| sum.sqrt()) };
            ahead.begin(norms.len());
            self.terms.clear();
            match (first.take(), &stage.bend) {
                (Some(open), _) => {
                    for &unit in open {
                        self.may_bend(&item, unit, &own, &mut ahead);
                    }
                }
                (None, bend) => {
                    ahead.bounds(&own, &item.corners);
                    for unit in 0..stage.units as u32 {
                        match ahead.decided(bend, unit as usize, &own, &item.corners, &mut self.values) {
                            Some(piece) => {
                                self.decide(item.stage, bend, &own, unit, piece);
                                ahead.keep(bend, unit as usize, piece);
                            }
                            None => self.may_bend(&item, unit, &own, &mut ahead),
                        }
                        if ahead.units.len() > MOST {
                            return None;
                        }
                    }
                }
            }
            ahead.spread(item.stage, stages);
            self.spread(&mut item);
            item.rows.pop();
            item.stage += 1;
        }
        Some(ahead.finish(item.rows.last()?))
    }

    /// Notes a unit that may bend, with the chord in its place.
    fn may_bend(&mut self, item: &Item, unit: u32, own: &Own<'_>, ahead: &mut Ahead<'_>) {
        let bend = &self.stages.stages[item.stage].bend;
        let at = unit as usize;
        let (elements, chord, base): (Vec<(u32, u32)>, Chord, usize) = match bend {
            Bend::Elementwise(tables) => {
                let (low, high) = own.range(at, &item.corners);
                let (less, more) = ahead.residuals(at);
                let chord = Chord::of(table(tables, at), low + less, high + more);
                (vec![(unit, 0)], chord, at)
            }
            Bend::Largest(windows) => {
                let (elements, chord) = ahead.rivals(windows, at, own, &item.corners);
                let base = elements[chord.base as usize].0 as usize;
                (elements, chord, base)
            }
        };
        let rounding = elements.iter().map(|&(e, _)| own.rounding(e as usize)).fold(0.0, f64::max);
        let first = ahead.places.len() as u32;
        let count = elements.len() as u32;
        for &(element, place) in &elements {
            ahead.places.push(place);
            ahead.row(own, element as usize);
        }
        ahead.units.push(Unit { stage: item.stage as u32, unit, first, count, rounding, chord });
        let [value, right, up] = own.function(base);
        let (slope, offset) = (ahead.slope(bend, &chord), chord.offset);
        ahead.factors.push((unit, base as u32, slope));
        ahead.fresh.push(unit);
        // What it may differ by counts as what rounds.
        self.terms.push((unit, [slope * value + offset, slope * right, slope * up]));
    }
}

/// On the way ahead.
struct Ahead<'a> {
    arch: Arch,
    stages: &'a Stages,
    units: Vec<Unit>,
    places: Vec<u32>,
    /// Of each row of a unit, as long as there were columns.
    rows: Vec<Vec<f64>>,
    columns: Vec<Column>,
    /// Of the stage at hand, what its elements may be at least and at most, and what of it are residuals.
    low: Vec<f64>,
    high: Vec<f64>,
    less: Vec<f64>,
    more: Vec<f64>,
    /// Of each unit that is not constant the element that it takes and the factor.
    factors: Vec<(u32, u32, f64)>,
    /// The stage's units that may bend.
    fresh: Vec<u32>,
    /// 0 but for the column at hand.
    scattered: Vec<f64>,
}

impl<'a> Ahead<'a> {
    fn new(stages: &'a Stages, arch: Arch) -> Self {
        Self {
            arch,
            stages,
            units: vec![],
            places: vec![],
            rows: vec![],
            columns: vec![],
            low: vec![],
            high: vec![],
            less: vec![],
            more: vec![],
            factors: vec![],
            fresh: vec![],
            scattered: vec![],
        }
    }

    /// A stage of so many elements.
    fn begin(&mut self, elements: usize) {
        self.factors.clear();
        self.fresh.clear();
        for ends in [&mut self.low, &mut self.high, &mut self.less, &mut self.more] {
            ends.clear();
            ends.resize(elements, 0.0);
        }
    }

    fn bounds(&mut self, own: &Own<'_>, corners: &[[f64; 2]]) {
        let Self { arch, low, high, less, more, columns, units, .. } = self;
        ranges(*arch, own.rows, corners, low, high);
        for (column, unit) in columns.iter().zip(units) {
            let ends = [unit.chord.low, unit.chord.high];
            match column.last() {
                Some(Part::All(all)) => residuals(*arch, all, ends, less, more),
                Some(Part::Few(few)) => {
                    for &(at, x) in few {
                        let [a, b] = ends.map(|end| x * end);
                        less[at as usize] += a.min(b);
                        more[at as usize] += a.max(b);
                    }
                }
                None => {}
            }
        }
        low.iter_mut().zip(less).for_each(|(x, y)| *x += *y);
        high.iter_mut().zip(more).for_each(|(x, y)| *x += *y);
    }

    fn residuals(&self, element: usize) -> (f64, f64) {
        (self.less[element], self.more[element])
    }

    fn is_bounded(&self, element: usize) -> bool {
        self.less[element] != 0.0 || self.more[element] != 0.0
    }

    /// The piece of a unit, or the place in its window, if it has one on all of the polygon.
    fn decided(
        &self,
        bend: &Bend,
        unit: usize,
        own: &Own<'_>,
        corners: &[[f64; 2]],
        values: &mut Vec<f64>,
    ) -> Option<u32> {
        match bend {
            Bend::Elementwise(tables) => {
                let (low, high) = (self.low[unit], self.high[unit]);
                piece(table(tables, unit), low, high, own.rounding(unit), self.is_bounded(unit))
            }
            Bend::Largest(windows) => {
                let range = entries(windows, unit);
                let elements = &windows.elements[range.clone()];
                if elements.iter().all(|&e| !self.is_bounded(e as usize)) {
                    return candidates(windows, own, unit).winner(corners, values);
                }
                let best = self.best(windows, elements);
                let clear = |&i: &usize| i == best || !self.rivals_of(windows, own, elements, best, i);
                (0..elements.len()).all(|i| clear(&i)).then_some(best as u32)
            }
        }
    }

    /// The ends of an element of windows so that the largest wins.
    fn ends(&self, windows: &Windows, element: u32) -> (f64, f64) {
        let (low, high) = (self.low[element as usize], self.high[element as usize]);
        if windows.sign > 0.0 { (low, high) } else { (-high, -low) }
    }

    /// The element whose least value is the largest.
    fn best(&self, windows: &Windows, elements: &[u32]) -> usize {
        let least = |i: usize| self.ends(windows, elements[i]).0;
        (1..elements.len()).fold(0, |best, i| if least(i) > least(best) { i } else { best })
    }

    /// Whether element `i` may come up to element `best`.
    fn rivals_of(&self, windows: &Windows, own: &Own<'_>, elements: &[u32], best: usize, i: usize) -> bool {
        let rounding = own.rounding(elements[i] as usize) + own.rounding(elements[best] as usize);
        self.ends(windows, elements[i]).1 + rounding >= self.ends(windows, elements[best]).0
    }

    /// The elements of a window that may be the largest, with their places, and the chord.
    fn rivals(
        &self,
        windows: &Windows,
        unit: usize,
        own: &Own<'_>,
        corners: &[[f64; 2]],
    ) -> (Vec<(u32, u32)>, Chord) {
        let range = entries(windows, unit);
        let elements = &windows.elements[range.clone()];
        // At the first stage bounds were not asked for.
        let ends = |i: usize| {
            let element = elements[i] as usize;
            let (low, high) = own.range(element, corners);
            let (low, high) = (low + self.less[element], high + self.more[element]);
            if windows.sign > 0.0 { (low, high) } else { (-high, -low) }
        };
        let all: Vec<(f64, f64)> = (0..elements.len()).map(ends).collect();
        let best = (1..all.len()).fold(0, |best, i| if all[i].0 > all[best].0 { i } else { best });
        let may_win = |&i: &usize| {
            let rounding = own.rounding(elements[i] as usize) + own.rounding(elements[best] as usize);
            i == best || all[i].1 + rounding >= all[best].0
        };
        let kept: Vec<usize> = (0..elements.len()).filter(may_win).collect();
        let most = kept.iter().filter(|&&i| i != best).map(|&i| all[i].1 - all[best].0).fold(0.0, f64::max);
        let base = kept.iter().position(|&i| i == best).unwrap_or(0) as u32;
        let (low, high) = if windows.sign > 0.0 { (0.0, most) } else { (-most, 0.0) };
        let kept = kept.into_iter().map(|i| (elements[i], place(windows, unit, range.start + i))).collect();
        (kept, Chord { slope: 1.0, offset: 0.0, base, low, high })
    }

    fn slope(&self, bend: &Bend, chord: &Chord) -> f64 {
        if matches!(bend, Bend::Elementwise(_)) { chord.slope } else { 1.0 }
    }

    /// A unit on one piece.
    fn keep(&mut self, bend: &Bend, unit: usize, piece: u32) {
        let (element, slope) = match bend {
            Bend::Elementwise(tables) => (unit, table(tables, unit).slopes[piece as usize]),
            Bend::Largest(windows) => {
                (windows.elements[entries(windows, unit).start + piece as usize] as usize, 1.0)
            }
        };
        if slope != 0.0 && self.is_bounded(element) {
            self.factors.push((unit as u32, element as u32, slope));
        }
    }

    /// The row of an element.
    fn row(&mut self, own: &Own<'_>, element: usize) {
        let mut row = own.function(element).to_vec();
        let columns = self.columns.iter().map(|column| column.last());
        row.extend(columns.map(|part| part.map_or(0.0, |part| part.get(element))));
        self.rows.push(row);
    }

    /// Adds what residuals add to all that a stage feeds, and ends with it.
    fn spread(&mut self, stage: usize, stages: &Stages) {
        let Self { arch, columns, factors, fresh, scattered, .. } = self;
        let left = stages.targets.len() - stage;
        scattered.clear();
        scattered.resize(stages.targets[stage].norms.len(), 0.0);
        let mut terms: Vec<(u32, f64)> = vec![];
        for column in columns.iter_mut() {
            let Some(own) = column.pop().filter(|part| !part.is_empty()) else { continue };
            terms.clear();
            let all = match &own {
                Part::All(all) => all,
                Part::Few(few) => {
                    few.iter().for_each(|&(at, x)| scattered[at as usize] += x);
                    &*scattered
                }
            };
            let values =
                factors.iter().map(|&(unit, element, factor)| (unit, factor * all[element as usize]));
            terms.extend(values.filter(|(_, value)| *value != 0.0));
            if let Part::Few(few) = &own {
                few.iter().for_each(|&(at, _)| scattered[at as usize] = 0.0);
            }
            send(*arch, stages, stage, &terms, column);
        }
        for &unit in &*fresh {
            let mut column = vec![Part::Few(vec![]); left - 1];
            send(*arch, stages, stage, &[(unit, 1.0)], &mut column);
            columns.push(column);
        }
    }

    fn finish(mut self, outputs: &[f64]) -> Reduced {
        let n = (outputs.len() - 1) / AFFINE;
        let width = AFFINE + self.units.len();
        let mut rows = vec![0.0; (self.rows.len() + n) * width];
        let (of_units, of_outputs) = rows.split_at_mut(self.rows.len() * width);
        for (row, own) in of_units.chunks_exact_mut(width).zip(self.rows.drain(..)) {
            row[..own.len()].copy_from_slice(&own);
        }
        for (k, row) in of_outputs.chunks_exact_mut(width).enumerate() {
            (0..AFFINE).for_each(|i| row[i] = outputs[i * n + k]);
            for (x, column) in row[AFFINE..].iter_mut().zip(&self.columns) {
                *x = column.last().map_or(0.0, |part| part.get(k));
            }
        }
        debug_assert_eq!(self.stages.targets.last().map_or(0, |target| target.norms.len()), n);
        Reduced { units: self.units, rows, places: self.places }
    }
}

/// Adds multiples of units of a stage to what each target behind it takes, the last first.
fn send(arch: Arch, stages: &Stages, stage: usize, terms: &[(u32, f64)], column: &mut [Part]) {
    if terms.is_empty() {
        return;
    }
    let last = stages.targets.len() - 1;
    for (target, map) in &stages.stages[stage].links {
        let n = stages.targets[*target].norms.len();
        let part = &mut column[last - target];
        match map {
            Map::Dense(weights) => {
                let sums = part.all(n);
                for terms in terms.chunks(AT_ONCE) {
                    let four = [0, 1, 2, 3].map(|i| terms.get(i).copied().unwrap_or((0, 0.0)));
                    let row = |(unit, _): (u32, f64)| &weights[unit as usize * n..][..n];
                    add_row(arch, sums, four.map(row), four.map(|(_, factor)| factor));
                }
            }
            Map::Sparse { ends, positions, weights } => {
                for &(unit, factor) in terms {
                    let unit = unit as usize;
                    let entries = if unit == 0 { 0 } else { ends[unit - 1] }..ends[unit];
                    let products = positions[entries.clone()].iter().zip(&weights[entries]);
                    let products = products.map(|(&at, w)| (at, w * factor));
                    match part {
                        Part::Few(few) if FEW * (few.len() + products.len()) <= n => few.extend(products),
                        _ => {
                            let sums = part.all(n);
                            products.for_each(|(at, x)| sums[at as usize] += x);
                        }
                    }
                }
            }
        }
    }
}
