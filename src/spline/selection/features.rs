//! What anchors are told apart by: one row of numbers for each.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::engine::plan::{Chunks, overlapped};
use crate::engine::{Context, Curvature, SplineEngine};
use crate::spline::JetSource;
use crate::{Error, Result, Scalar};

use super::{Features, Stream, stream};

/// Numbers that a sketched part has.
const SKETCHED: usize = 512;

/// Inputs longer than this are sketched too: distances between them cost more than they tell.
const LONG_INPUT: usize = 4096;

/// A row of features for each anchor, `[M, F]`, with the mean row subtracted.
#[derive(Debug, Clone)]
pub(crate) struct Table<S> {
    width: usize,
    values: Vec<S>,
}

/// The table of both halves, or one of each.
pub(super) struct Tables<S>(Vec<Table<S>>);

impl<S: Scalar> Table<S> {
    /// Rows of `width` numbers; their mean is subtracted.
    pub(crate) fn new(width: usize, values: Vec<S>) -> Self {
        let mut table = Self { width, values };
        table.center(0..width);
        table
    }

    /// Rows of as many numbers as `origin` has, which is subtracted.
    pub(crate) fn from(origin: &[f64], mut values: Vec<S>) -> Self {
        for row in values.chunks_exact_mut(origin.len()) {
            row.iter_mut().zip(origin).for_each(|(x, origin)| *x = S::of(x.f64() - origin));
        }
        Self { width: origin.len(), values }
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    pub(super) fn rows(&self) -> usize {
        self.values.len() / self.width
    }

    pub(super) fn row(&self, i: usize) -> &[S] {
        &self.values[i * self.width..][..self.width]
    }

    pub(crate) fn range(&self, rows: std::ops::Range<usize>) -> &[S] {
        &self.values[rows.start * self.width..rows.end * self.width]
    }

    pub(super) fn bytes(&self) -> u64 {
        size_of_val(&self.values[..]) as u64
    }

    /// `|x_i - x_j|^2`.
    pub(super) fn between(&self, i: usize, j: usize) -> f64 {
        squared_distance(self.row(i), self.row(j))
    }

    /// Subtracts the mean of columns, and returns their total variance then.
    fn center(&mut self, columns: std::ops::Range<usize>) -> f64 {
        let rows = self.rows() as f64;
        let mut mean = vec![0.0; columns.len()];
        for row in self.values.chunks_exact(self.width) {
            mean.iter_mut().zip(&row[columns.clone()]).for_each(|(mean, x)| *mean += x.f64() / rows);
        }
        let mut variance = 0.0;
        for row in self.values.chunks_exact_mut(self.width) {
            for (x, mean) in row[columns.clone()].iter_mut().zip(&mean) {
                let centered = x.f64() - mean;
                variance += centered * centered / rows;
                *x = S::of(centered);
            }
        }
        variance
    }

    /// Subtracts the mean of columns and scales them to a total variance of 1, where they vary at all.
    fn normalize(&mut self, columns: std::ops::Range<usize>) {
        let variance = self.center(columns.clone());
        if variance > 0.0 {
            let scale = S::of(variance.sqrt().recip());
            for row in self.values.chunks_exact_mut(self.width) {
                row[columns.clone()].iter_mut().for_each(|x| *x *= scale);
            }
        }
    }
}

impl<S> Tables<S> {
    /// What `f` says of each half's table; asked once where they share one.
    pub(super) fn halves<T: Clone>(&self, mut f: impl FnMut(&Table<S>) -> Result<T>) -> Result<[T; 2]> {
        let lower = f(&self.0[0])?;
        let upper = self.0.get(1).map_or_else(|| Ok(lower.clone()), f)?;
        Ok([lower, upper])
    }

    /// One table, or one of each half.
    pub(super) fn distinct(&self) -> &[Table<S>] {
        &self.0
    }
}

/// `|x - y|^2`, summed in `f64`, in eight lanes so that it is computed in vectors and in one order.
pub(super) fn squared_distance<S: Scalar>(x: &[S], y: &[S]) -> f64 {
    let mut lanes = [0.0; 8];
    let ((x, x_rest), (y, y_rest)) = (x.as_chunks::<8>(), y.as_chunks::<8>());
    for (x, y) in x.iter().zip(y) {
        for (lane, (x, y)) in lanes.iter_mut().zip(x.iter().zip(y)) {
            let difference = x.f64() - y.f64();
            *lane += difference * difference;
        }
    }
    let rest: f64 = x_rest.iter().zip(y_rest).map(|(x, y)| (x.f64() - y.f64()).powi(2)).sum();
    lanes.iter().sum::<f64>() + rest
}

/// A sparse random projection of many numbers to 512: each goes to four of them, one in each quarter, with a
/// random sign. Squared distances are kept in the mean, with a standard deviation of about 6 % (Kane & Nelson 2014,
/// "Sparser Johnson-Lindenstrauss transforms").
struct Sketch(Vec<u32>);

impl Sketch {
    fn new(length: usize, rng: &mut ChaCha8Rng) -> Self {
        Self((0..length).map(|_| rng.next_u32()).collect())
    }

    /// Adds the projection of `values` to `to [512]`.
    fn add(&self, values: impl Iterator<Item = f64>, to: &mut [f64]) {
        for (value, word) in values.zip(&self.0) {
            // Of each byte seven bits are a place and one is the sign.
            for (quarter, byte) in to.chunks_exact_mut(SKETCHED / 4).zip(word.to_le_bytes()) {
                let signed = if byte & 128 == 0 { value } else { -value };
                quarter[usize::from(byte & 127)] += signed / 2.0;
            }
        }
    }
}

/// A part of a row: so many numbers, as they are or sketched.
struct Part {
    length: usize,
    sketch: Option<Sketch>,
}

impl Part {
    fn new(length: usize, longest: usize, rng: &mut ChaCha8Rng) -> Self {
        Self { length, sketch: (length > longest).then(|| Sketch::new(length, rng)) }
    }

    fn width(&self) -> usize {
        if self.sketch.is_some() { SKETCHED } else { self.length }
    }

    fn write<S: Scalar>(&self, values: impl Iterator<Item = f64>, to: &mut [S]) {
        match &self.sketch {
            None => to.iter_mut().zip(values).for_each(|(to, value)| *to = S::of(value)),
            Some(sketch) => {
                let mut sums = vec![0.0; SKETCHED];
                sketch.add(values, &mut sums);
                to.iter_mut().zip(sums).for_each(|(to, value)| *to = S::of(value));
            }
        }
    }
}

/// # Errors
/// [`Error::Shape`] where there is not one curvature for each output.
pub(super) fn check_curvature(curvature: &[Curvature], outputs: usize) -> Result<()> {
    if curvature.len() == outputs {
        return Ok(());
    }
    Err(Error::Shape(format!("{} curvatures for {outputs} outputs: one for each is needed", curvature.len())))
}

/// The features of all anchors, read block by block.
///
/// Gradients and slopes `[K D]` of more than 512 numbers, and inputs of more than 4096, are sketched: projected to 512
/// at random ([`Sketch`]).
///
/// # Errors
/// [`Error::Shape`] where curvatures that make pieces do not fit; [`Error::Memory`] where the tables do not fit into half the budget;
/// [`Error::Cancelled`]; what the source says.
pub(super) fn tables<E: SplineEngine>(
    features: Features,
    source: &dyn JetSource<E>,
    curvature: &[Curvature],
    seed: u64,
    context: &Context,
) -> Result<Tables<E::Scalar>> {
    let (anchors, dimension, outputs) = (source.anchors(), source.dimension(), source.outputs());
    if features == Features::Pieces {
        check_curvature(curvature, outputs)?;
    }
    let (scalar, slope) = (size_of::<E::Scalar>(), outputs * dimension);
    let mut rng = stream(seed, Stream::Sketch);
    let inputs = matches!(features, Features::Inputs | Features::Both);
    let inputs = inputs.then(|| Part::new(dimension, LONG_INPUT, &mut rng));
    let slopes = (features != Features::Inputs).then(|| Part::new(slope, SKETCHED, &mut rng));
    let halves = if features == Features::Pieces { 2 } else { 1 };
    let first = inputs.as_ref().map_or(0, Part::width);
    let width = first + slopes.as_ref().map_or(0, Part::width);
    // Half the budget for the tables, so that what works on them has as much.
    let (held, budget) = ((halves * anchors * width * scalar) as u64, context.memory());
    let what = || format!("choosing among {anchors} anchors by their {features}");
    if 2 * held > budget {
        return Err(Error::Memory { what: what(), needed: 2 * held, budget });
    }
    // Jets as made, and as they come back.
    let jet = (2 * (dimension + slope) * scalar) as u64 + source.bytes_to_make();
    let in_flight = source.engine().in_flight() as u64;
    let fixed = held + source.scratch_bytes() + (slope * size_of::<u32>()) as u64;
    let most = source.most_jets()?.min(1 << 10);
    let chunks = Chunks::within(&what(), anchors, in_flight * jet, fixed, budget, most)?;
    let mut values = vec![vec![E::Scalar::default(); anchors * width]; halves];
    let engine = source.engine();
    context.progress().start("features", anchors as u64);
    let start = |range: std::ops::Range<usize>| {
        context.check()?;
        let (jets, unchecked) = source.block(range)?;
        let points = engine.request(&jets.points)?;
        let slopes = slopes.as_ref().map(|_| engine.request(&jets.jacobians)).transpose()?;
        Ok((unchecked, points, slopes))
    };
    overlapped(engine, chunks, start, |range, (unchecked, points, jacobians)| {
        unchecked.check(engine)?;
        let points = engine.receive(points)?;
        let jacobians = jacobians.map(|request| engine.receive(request)).transpose()?;
        for (half, values) in values.iter_mut().enumerate() {
            let rows = &mut values[range.start * width..range.end * width];
            rows.par_chunks_exact_mut(width).enumerate().for_each(|(i, row)| {
                let x = &points[i * dimension..][..dimension];
                if let Some(part) = &inputs {
                    part.write(x.iter().map(|x| x.f64()), &mut row[..first]);
                }
                let Some((part, jacobians)) = slopes.as_ref().zip(jacobians.as_ref()) else { return };
                let jacobian = jacobians[i * slope..][..slope].iter();
                if features == Features::Pieces {
                    let bends = curvature.iter().map(|c| if half == 0 { c.a } else { -c.b });
                    let bent = bends.flat_map(|bend| x.iter().map(move |x| bend * x.f64()));
                    part.write(jacobian.zip(bent).map(|(slope, bent)| slope.f64() + bent), row);
                } else {
                    part.write(jacobian.map(|slope| slope.f64()), &mut row[first..]);
                }
            });
        }
        context.progress().advance(range.len() as u64);
        Ok(())
    })?;
    context.progress().finish();
    let tables = values.into_iter().map(|values| {
        let mut table = Table::new(width, values);
        if features == Features::Both {
            table.normalize(0..first);
            table.normalize(first..width);
        }
        table
    });
    Ok(Tables(tables.collect()))
}
