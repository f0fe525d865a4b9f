//! Straight paths: where units change their pieces between two inputs.

use ndarray::{Array2, ArrayView1};

use crate::engine::{Context, Cpu};
use crate::network::{Bend, Bending, Network, Program, Slot};
use crate::{Error, Result};

use super::codes::CodeLayer;
use super::polytope::check_point;
use super::split::{entries, table};

/// What counts as rounding of values, relative to the largest of their layer.
const ROUNDING: f64 = 64.0 * f64::EPSILON;

/// Breakpoints that are no farther apart are at one place.
const TOGETHER: f64 = 4.0 * f64::EPSILON;

/// A unit changes its piece.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Breakpoint {
    /// Where, from 0 at the first input to 1 at the second.
    pub at: f64,
    /// The layer, among those of [`Path::layers`].
    pub layer: usize,
    /// The unit.
    pub unit: usize,
    /// The number of its piece before.
    pub from: u32,
    /// That after.
    pub to: u32,
}

/// Another output becomes the largest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClassChange {
    /// Where, from 0 at the first input to 1 at the second.
    pub at: f64,
    /// The class before.
    pub from: usize,
    /// That after.
    pub to: usize,
}

/// A network along the segment from one input to another: affine between two neighbouring [places](Self::places).
#[derive(Debug, Clone)]
pub struct Path {
    layers: Vec<CodeLayer>,
    breakpoints: Vec<Breakpoint>,
    places: Vec<f64>,
    outputs: usize,
    /// `[T, outputs]`
    values: Vec<f64>,
}

/// The breakpoints of a network of one input and one output on the segment from `x` to `y`, in `f64`.
///
/// Layer by layer (Sotoudeh & Thakur 2019, "Computing linear restrictions of neural networks"): between breakpoints of the
/// layers before, what a layer takes is affine in the parameter, so that its values at these places say where it crosses
/// its knots. The forward passes are streamed within the context's budget.
///
/// # Errors
/// [`Error::Shape`] for points of other length, [`Error::NonFinite`], [`Error::Argument`] for equal ones;
/// [`Error::MissingSlot`] with the name of an operator that is not piecewise affine, [`Error::Graph`] for one that jumps;
/// [`Error::Memory`]; [`Error::Cancelled`].
pub fn breakpoints(network: &Network, x: &[f64], y: &[f64], context: &Context) -> Result<Path> {
    let network = network.cut(None, None)?;
    let dimension = network.dimension();
    check_point(dimension, x)?;
    check_point(dimension, y)?;
    if x == y {
        return Err(Error::Argument("a path needs two different points".to_owned()));
    }
    let direction: Vec<f64> = x.iter().zip(y).map(|(x, y)| y - x).collect();
    network.require("a path", Slot::AffinePieces)?;
    let network = network.on_slice(x, &[&direction])?;
    let bending = network.bending("a path")?;
    let layers =
        CodeLayer::of_bends(bending.iter().map(|at| (at.name.as_str(), at.units, at.bend.choices())));
    let engine = Cpu::<f64>::new();
    let mut places = vec![0.0, 1.0];
    let mut breakpoints = vec![];
    context.progress().start("layers", bending.len() as u64);
    for (layer, bending) in bending.iter().enumerate() {
        let programs: Vec<Program<Cpu<f64>>> = bending
            .inputs
            .iter()
            .map(|(i, _)| network.cut(None, Some(network.nodes()[*i].value()))?.compile(&engine))
            .collect::<Result<_>>()?;
        let mut crossing = Crossing::new(bending, layer);
        stream(&programs, &places, context, |i, rows| {
            crossing.add(places[i], &bending.joined(rows));
            Ok(())
        })?;
        let found = crossing.found;
        let needed = ((breakpoints.len() + found.len()) * 2 * size_of::<Breakpoint>()) as u64;
        if needed > context.memory() / 2 {
            let what = format!("a path of {} breakpoints", breakpoints.len() + found.len());
            return Err(Error::Memory { what, needed: 2 * needed, budget: context.memory() });
        }
        places.extend(found.iter().map(|breakpoint| breakpoint.at));
        places.sort_by(f64::total_cmp);
        places.dedup_by(|next, kept| *next - *kept <= TOGETHER);
        if let Some(last) = places.last_mut() {
            *last = 1.0;
        }
        breakpoints.extend(found);
        context.progress().advance(1);
    }
    context.progress().finish();
    let order = |a: &Breakpoint, b: &Breakpoint| {
        a.at.total_cmp(&b.at).then(a.layer.cmp(&b.layer)).then(a.unit.cmp(&b.unit))
    };
    // Pieces of one unit stay in their order: the sort is stable.
    breakpoints.sort_by(order);
    let program = network.compile(&engine)?;
    let outputs = program.outputs();
    let bytes = (places.len() * outputs * size_of::<f64>()) as u64;
    if bytes > context.memory() / 4 {
        let what = format!("{outputs} outputs at {} places", places.len());
        return Err(Error::Memory { what, needed: 4 * bytes, budget: context.memory() });
    }
    let mut values = Vec::with_capacity(places.len() * outputs);
    stream(std::slice::from_ref(&program), &places, context, |_, rows| {
        values.extend(rows[0]);
        Ok(())
    })?;
    Ok(Path { layers, breakpoints, places, outputs, values })
}

impl Path {
    /// The layers that bend.
    pub fn layers(&self) -> &[CodeLayer] {
        &self.layers
    }

    /// All changes of pieces, in order; those at one place by layer and unit.
    pub fn breakpoints(&self) -> &[Breakpoint] {
        &self.breakpoints
    }

    /// The ends, 0 and 1, and the places of breakpoints between them, each once.
    pub fn places(&self) -> &[f64] {
        &self.places
    }

    /// How many stretches without a breakpoint inside there are: the regions that are crossed.
    pub fn regions(&self) -> usize {
        self.places.len() - 1
    }

    /// The outputs at a [place](Self::places).
    ///
    /// # Panics
    /// Where there is none of that number.
    pub fn values(&self, place: usize) -> &[f64] {
        &self.values[place * self.outputs..][..self.outputs]
    }

    /// An output at a parameter between 0 and 1.
    pub fn value(&self, output: usize, at: f64) -> f64 {
        let next = self.places.partition_point(|&place| place < at).clamp(1, self.places.len() - 1);
        let [a, b] = [self.places[next - 1], self.places[next]];
        let [from, to] = [self.values(next - 1)[output], self.values(next)[output]];
        from + (to - from) * ((at - a) / (b - a))
    }

    /// The largest of the chosen outputs at the beginning, of equals the one that grows, and where another takes its place.
    pub fn classes(&self, outputs: &[usize]) -> (usize, Vec<ClassChange>) {
        let row = |i: usize| -> Vec<f64> { outputs.iter().map(|&k| self.values(i)[k]).collect() };
        let mut changes = vec![];
        let (mut first, mut last) = (None, None);
        for i in 1..self.places.len() {
            let (a, b) = (row(i - 1), row(i));
            let size = a.iter().chain(&b).map(|v| v.abs()).fold(0.0, f64::max);
            let span = [self.places[i - 1], self.places[i]];
            envelope(&a, &b, ROUNDING * size, |share, winner| {
                let at = span[0] + share * (span[1] - span[0]);
                if let Some(from) = last.filter(|&last| last != winner) {
                    changes.push(ClassChange { at, from: outputs[from], to: outputs[winner] });
                }
                first.get_or_insert(winner);
                last = Some(winner);
            });
        }
        (first.map_or(0, |first| outputs[first]), changes)
    }
}

/// Hands over the values of programs at places, one place after the other.
fn stream(
    programs: &[Program<Cpu<f64>>],
    places: &[f64],
    context: &Context,
    mut each: impl FnMut(usize, &[ArrayView1<'_, f64>]) -> Result<()>,
) -> Result<()> {
    let share = context.memory() / (2 * programs.len().max(1)) as u64;
    let mut most = usize::MAX;
    for program in programs {
        let chunks = program.chunks(places.len(), None, share)?;
        most = most.min(chunks.iter().next().map_or(1, |chunk| chunk.len()));
    }
    let inner = context.clone().with_memory(share);
    for (number, block) in places.chunks(most.max(1)).enumerate() {
        let points = Array2::from_shape_vec((block.len(), 1), block.to_vec())
            .map_err(|e| Error::Shape(e.to_string()))?;
        let values = programs.iter().map(|program| program.values(points.view(), &inner));
        let values: Vec<Array2<f64>> = values.collect::<Result<_>>()?;
        for i in 0..block.len() {
            let rows: Vec<ArrayView1<'_, f64>> = values.iter().map(|values| values.row(i)).collect();
            each(number * most + i, &rows)?;
        }
    }
    Ok(())
}

impl Bending {
    /// The elements that it takes, of all inputs.
    fn joined(&self, rows: &[ArrayView1<'_, f64>]) -> Vec<f64> {
        let parts = self.inputs.iter().zip(rows);
        parts
            .flat_map(|((_, positions), row)| match positions {
                None => row.to_vec(),
                Some(positions) => positions.iter().map(|&at| row[at]).collect(),
            })
            .collect()
    }
}

/// A layer on its way along the path.
struct Crossing<'a> {
    bending: &'a Bending,
    layer: usize,
    before: Option<(f64, Vec<f64>)>,
    pieces: Vec<Option<u32>>,
    found: Vec<Breakpoint>,
}

impl<'a> Crossing<'a> {
    fn new(bending: &'a Bending, layer: usize) -> Self {
        Self { bending, layer, before: None, pieces: vec![None; bending.units], found: vec![] }
    }

    /// Goes on to the next place.
    fn add(&mut self, at: f64, values: &[f64]) {
        if let Some((from, before)) = self.before.take() {
            self.between([from, at], &before, values);
        }
        self.before = Some((at, values.to_vec()));
    }

    fn between(&mut self, [from, to]: [f64; 2], a: &[f64], b: &[f64]) {
        let rounding = ROUNDING * a.iter().chain(b).map(|v| v.abs()).fold(0.0, f64::max);
        let Self { bending, layer, pieces, found, .. } = self;
        for (unit, last) in pieces.iter_mut().enumerate() {
            let mut on = |share: f64, piece: u32| {
                if let Some(from_piece) = last.filter(|&last| last != piece) {
                    let at = from + share * (to - from);
                    found.push(Breakpoint { at, layer: *layer, unit, from: from_piece, to: piece });
                }
                *last = Some(piece);
            };
            match &bending.bend {
                Bend::Elementwise(tables) => {
                    crossings(&table(tables, unit).knots, a[unit], b[unit], rounding, on)
                }
                Bend::Largest(windows) => {
                    let places = entries(windows, unit);
                    let of = |values: &[f64]| -> Vec<f64> {
                        let elements = windows.elements[places.clone()].iter();
                        elements.map(|&element| windows.sign * values[element as usize]).collect()
                    };
                    envelope(&of(a), &of(b), 2.0 * rounding, |share, winner| {
                        on(share, windows.codes[places.start + winner]);
                    });
                }
            }
        }
    }
}

/// The pieces between knots that a value is on as it goes from `a` to `b`, with the share of the way on which each begins.
fn crossings(knots: &[f64], a: f64, b: f64, rounding: f64, mut on: impl FnMut(f64, u32)) {
    let above = |here: f64, there: f64| {
        let is_above =
            |knot: f64| here > knot + rounding || (here >= knot - rounding && there > knot + rounding);
        knots.iter().filter(|&&knot| is_above(knot)).count()
    };
    let (first, last) = (above(a, b), above(b, a));
    on(0.0, first as u32);
    let share = |knot: f64| ((knot - a) / (b - a)).clamp(0.0, 1.0);
    if first < last {
        (first..last).for_each(|i| on(share(knots[i]), i as u32 + 1));
    } else {
        (last..first).rev().for_each(|i| on(share(knots[i]), i as u32));
    }
}

/// The largest of affine functions as they go from `a` to `b`, with the share of the way from which each is.
fn envelope(a: &[f64], b: &[f64], rounding: f64, mut on: impl FnMut(f64, usize)) {
    let slope = |i: usize| b[i] - a[i];
    let mut winner = 0;
    for i in 1..a.len() {
        let gap = a[i] - a[winner];
        let is_near = gap.abs() <= rounding;
        if (!is_near && gap > 0.0) || (is_near && slope(i) - slope(winner) > 2.0 * rounding) {
            winner = i;
        }
    }
    let mut share = 0.0;
    on(share, winner);
    loop {
        let rivals = (0..a.len()).filter(|&i| b[i] - b[winner] > rounding && slope(i) > slope(winner));
        let meeting = |i: usize| ((a[winner] - a[i]) / (slope(i) - slope(winner))).clamp(share, 1.0);
        let next = rivals.map(|i| (meeting(i), i)).reduce(|best, next| {
            let earlier = next.0 < best.0 || (next.0 == best.0 && slope(next.1) > slope(best.1));
            if earlier { next } else { best }
        });
        let Some((at, next)) = next else { break };
        (share, winner) = (at, next);
        on(share, winner);
    }
}
