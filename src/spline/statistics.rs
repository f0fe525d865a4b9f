//! What the pieces of a spline do at points, which of them are the same, and how two sets of slopes relate.

use std::borrow::Cow;
use std::collections::BTreeSet;

use nalgebra::{DMatrix, SymmetricEigen};
use ndarray::{ArrayView1, ArrayView2};
use rand::RngExt;

use crate::data::Dataset;
use crate::engine::{Context, SplineEngine};
use crate::tolerance::{CLOSE, EXACT};
use crate::{Error, Result, Scalar};

use super::evaluate::halves;
use super::jets::check_outputs;
use super::metric::Placed;
use super::planes::{self, Half};
use super::selection::{Stream, stream};
use super::{Form, JetSource, Planes, Selection, Spline};

impl Spline {
    /// `M`, the pieces that each half numbers, of a spline with so many anchors.
    pub fn pieces(&self, anchors: usize) -> usize {
        match &self.form {
            Form::Tangents(_) => anchors,
            Form::Planes(planes) => planes.pieces(self.curvature.len()),
        }
    }

    /// How many of them the convex and the concave half take.
    pub fn taken(&self, anchors: usize) -> [usize; 2] {
        selections(self).map(|selection| match selection {
            Selection::All => self.pieces(anchors),
            Selection::Some(chosen) => chosen.len(),
        })
    }
}

/// The pieces that each half takes.
fn selections(spline: &Spline) -> [&Selection; 2] {
    static ALL: Selection = Selection::All;
    match &spline.form {
        Form::Tangents(tangents) => [&tangents.lower, &tangents.upper],
        Form::Planes(_) => [&ALL, &ALL],
    }
}

/// How often each piece is active at some points.
#[derive(Debug, Clone, PartialEq)]
pub struct Activity {
    /// In the convex half.
    pub convex: HalfActivity,
    /// In the concave half.
    pub concave: HalfActivity,
}

/// How often each piece of one half is active; `K` are the chosen outputs.
#[derive(Debug, Clone, PartialEq)]
pub struct HalfActivity {
    /// `M`
    pub pieces: usize,
    /// At how many points `[K, M]`; each output's sum is the number of points.
    pub counts: Vec<u64>,
    /// The mean of those points `[K, M, D]`, in the elements of the data; 0 for a piece that never is.
    pub means: Option<Vec<f64>>,
}

impl HalfActivity {
    fn empty(outputs: usize, pieces: usize, elements: Option<usize>) -> Self {
        let entries = outputs * pieces;
        Self { pieces, counts: vec![0; entries], means: elements.map(|d| vec![0.0; entries * d]) }
    }

    /// A point at which the piece of an entry is active.
    fn count<S: Scalar>(&mut self, entry: usize, x: ArrayView1<'_, S>) {
        self.counts[entry] += 1;
        if let Some(sums) = &mut self.means {
            let sum = &mut sums[entry * x.len()..][..x.len()];
            sum.iter_mut().zip(x).for_each(|(sum, x)| *sum += x.f64());
        }
    }

    /// From sums of points to their means.
    fn divide(&mut self, elements: usize) {
        let Some(sums) = &mut self.means else { return };
        for (sum, &count) in sums.chunks_exact_mut(elements).zip(&self.counts) {
            sum.iter_mut().for_each(|sum| *sum /= count.max(1) as f64);
        }
    }

    /// The counts `[M]` of the chosen output `k`.
    pub fn of(&self, k: usize) -> &[u64] {
        &self.counts[k * self.pieces..][..self.pieces]
    }

    /// How many pieces are active at some point.
    pub fn ever_active(&self, k: usize) -> usize {
        self.of(k).iter().filter(|&&count| count > 0).count()
    }

    /// The share of points that the busiest piece takes.
    pub fn busiest_share(&self, k: usize) -> f64 {
        self.shares(k).fold(0.0, f64::max)
    }

    /// The effective number of pieces: `exp(-sum_i s_i ln s_i)` with the shares `s_i` of points. It is `M` where all
    /// are active equally often, 1 where one takes all points.
    pub fn effective_pieces(&self, k: usize) -> f64 {
        let entropy: f64 = self.shares(k).filter(|&share| share > 0.0).map(|share| -share * share.ln()).sum();
        entropy.exp()
    }

    fn shares(&self, k: usize) -> impl Iterator<Item = f64> {
        let points = self.of(k).iter().sum::<u64>().max(1) as f64;
        self.of(k).iter().map(move |&count| count as f64 / points)
    }
}

/// Counts how often each piece of the chosen outputs is active at points, and takes the mean of those points where
/// `means` asks for it. Points are streamed.
///
/// # Errors
/// [`Error::Argument`] for a soft spline, or an output that is not there; [`Error::Memory`] where counts and means do
/// not fit; as [`evaluate`](super::evaluate()).
pub fn activity<E: SplineEngine>(
    spline: &Spline,
    source: &dyn JetSource<E>,
    points: &Dataset,
    outputs: &[usize],
    means: bool,
    context: &Context,
) -> Result<Activity> {
    let (all, pieces) = (source.outputs(), spline.pieces(source.anchors()));
    check_outputs(outputs, all)?;
    let elements = Some(points.row_len()).filter(|_| means);
    let entry = size_of::<u64>() + elements.unwrap_or(0) * size_of::<f64>();
    let (bytes, budget) = (2 * (outputs.len() * pieces * entry) as u64, context.memory());
    if bytes > budget {
        let what = if means { "the mean points of all pieces" } else { "the counts of all pieces" };
        return Err(Error::Memory { what: what.to_owned(), needed: bytes, budget });
    }
    let empty = || HalfActivity::empty(outputs.len(), pieces, elements);
    let mut activity = Activity { convex: empty(), concave: empty() };
    halves(spline, source, points, bytes, context, |rows, values| {
        let halves =
            [(&mut activity.convex, &values.convex_piece), (&mut activity.concave, &values.concave_piece)];
        for (half, active) in halves {
            for (x, active) in rows.rows().into_iter().zip(active.chunks_exact(all)) {
                for (at, &k) in outputs.iter().enumerate() {
                    half.count(at * pieces + active[k] as usize, x);
                }
            }
        }
        Ok(())
    })?;
    activity.convex.divide(points.row_len());
    activity.concave.divide(points.row_len());
    Ok(activity)
}

/// The affine pieces of a spline, all held: slopes and offsets in the coordinates of its metric.
#[derive(Debug)]
pub struct AffinePieces<'a> {
    planes: Cow<'a, Planes>,
    outputs: usize,
    /// The pieces that each half takes.
    selections: [&'a Selection; 2],
}

/// Which pieces are the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Duplicates {
    /// Of each piece of the convex half `[K, M]` the first piece that it equals, its own number where there is none.
    pub convex: Vec<u32>,
    /// Of the concave half.
    pub concave: Vec<u32>,
}

impl<'a> AffinePieces<'a> {
    /// The pieces of a spline beside `held` bytes: its own, or those that its tangents make.
    ///
    /// # Errors
    /// As [`Planes::of_tangents`]; [`Error::Shape`] for pieces that do not fit the source.
    pub fn of<E: SplineEngine>(
        spline: &'a Spline,
        source: &dyn JetSource<E>,
        held: u64,
        context: &Context,
    ) -> Result<Self> {
        let outputs = source.outputs();
        let planes = match &spline.form {
            Form::Planes(planes) => {
                planes::check(planes, outputs, spline.metric.coordinates(source.dimension()))?;
                Cow::Borrowed(planes)
            }
            Form::Tangents(tangents) => {
                let budget = context.memory();
                let rest = context.clone().with_memory(budget.saturating_sub(held));
                let placed = Placed::new(source, &spline.metric, tangents.slopes)?;
                let planes = Planes::of_tangents(&placed, &spline.curvature, &rest);
                Cow::Owned(planes.map_err(|error| match error {
                    Error::Memory { what, needed, .. } => {
                        Error::Memory { what, needed: needed + held, budget }
                    }
                    error => error,
                })?)
            }
        };
        Ok(Self { planes, outputs, selections: selections(spline) })
    }

    /// Bytes that they take.
    pub fn bytes(&self) -> u64 {
        let half = |half: &Half| half.slopes.len() + half.offsets.len();
        ((half(&self.planes.lower) + half(&self.planes.upper)) * size_of::<f32>()) as u64
    }

    /// `M`, the pieces that each half numbers.
    pub fn pieces(&self) -> usize {
        self.planes.pieces(self.outputs)
    }

    /// Which pieces of the chosen outputs are the same as an earlier one of their half and output.
    ///
    /// Two are the same where no entry of their slopes differs by more than [`CLOSE`] times the largest of the half and
    /// output, and likewise their offsets. Closeness is not transitive; the piece that another is said to equal is
    /// always one that equals none itself, so that without the duplicates each piece keeps one that it equals. Pieces
    /// that a half does not take have their own number.
    ///
    /// # Errors
    /// [`Error::Argument`] for an output that is not there; [`Error::Cancelled`].
    pub fn duplicates(&self, outputs: &[usize], context: &Context) -> Result<Duplicates> {
        check_outputs(outputs, self.outputs)?;
        let mut rng = stream(context.seed(), Stream::Projection);
        let direction: Vec<f64> =
            (0..=self.planes.dimension()).map(|_| rng.random_range(-1.0..1.0)).collect();
        let of_half = |half: usize| {
            let mut first = Vec::with_capacity(outputs.len() * self.pieces());
            for &k in outputs {
                context.check()?;
                let (slopes, offsets) = self.half(half, k);
                first.extend(first_equal(slopes, offsets, self.selections[half], &direction));
            }
            Ok::<_, Error>(first)
        };
        Ok(Duplicates { convex: of_half(0)?, concave: of_half(1)? })
    }

    /// The [`similarity`] of output `k`'s slopes with those of other pieces: of the convex and of the concave half.
    ///
    /// Both must be in the same metric, as slopes are compared in its coordinates.
    ///
    /// # Errors
    /// [`Error::Argument`] for an output that is not there; [`Error::Memory`]; [`Error::Cancelled`]; as
    /// [`similarity`].
    pub fn similarity(&self, other: &AffinePieces<'_>, k: usize, context: &Context) -> Result<[f64; 2]> {
        check_outputs(&[k], self.outputs.min(other.outputs))?;
        let of_half = |half: usize| {
            context.check()?;
            let (first, second) = (self.slopes(half, k), other.slopes(half, k));
            let d = self.planes.dimension();
            let (entries, side) = (first.len(), d.min(first.len() / d.max(1)));
            // The sets and what comes of them in f64; the Gram matrix, its vectors and work on them.
            let work = 5 * (entries + side * side) * size_of::<f64>();
            let (needed, budget) = (self.bytes() + other.bytes() + work as u64, context.memory());
            if needed > budget {
                return Err(Error::Memory { what: "the similarity of slopes".to_owned(), needed, budget });
            }
            similarity(rows(&first, d)?, rows(&second, other.planes.dimension())?)
        };
        Ok([of_half(0)?, of_half(1)?])
    }

    /// Slopes `[M, r]` and offsets `[M]` of one output in the lower (0) or the upper half (1).
    fn half(&self, half: usize, k: usize) -> (&[f32], &[f32]) {
        let (d, m) = (self.planes.dimension(), self.pieces());
        let half = [&self.planes.lower, &self.planes.upper][half];
        (&half.slopes[k * m * d..][..m * d], &half.offsets[k * m..][..m])
    }

    /// The slopes that a half takes.
    fn slopes(&self, half: usize, k: usize) -> Cow<'_, [f32]> {
        let (slopes, d) = (self.half(half, k).0, self.planes.dimension());
        match self.selections[half] {
            Selection::All => Cow::Borrowed(slopes),
            Selection::Some(chosen) => {
                chosen.iter().flat_map(|&i| &slopes[i as usize * d..][..d]).copied().collect()
            }
        }
    }
}

fn rows(values: &[f32], columns: usize) -> Result<ArrayView2<'_, f32>> {
    ArrayView2::from_shape((values.len() / columns.max(1), columns), values)
        .map_err(|e| Error::Shape(format!("slopes are no rows of {columns}: {e}")))
}

/// Of each piece the first that it equals, among those of a selection. Slopes `[M, r]`, offsets `[M]`, a direction
/// `[r + 1]`.
///
/// Pieces that are the same lie close along any direction, so only neighbours along one are compared.
fn first_equal(slopes: &[f32], offsets: &[f32], selection: &Selection, direction: &[f64]) -> Vec<u32> {
    let (pieces, d) = (offsets.len(), direction.len() - 1);
    let slope = |i: usize| &slopes[i * d..][..d];
    let taken: Vec<usize> = (0..pieces).filter(|&i| selection.contains(i as u32)).collect();
    let largest = |of: &dyn Fn(usize) -> f64| taken.iter().fold(f64::MIN_POSITIVE, |l, &i| l.max(of(i)));
    let of_slopes = largest(&|i| f64::from(slope(i).iter().fold(0.0_f32, |l, v| l.max(v.abs()))));
    let of_offsets = largest(&|i| f64::from(offsets[i].abs()));
    let equal = |i: usize, j: usize| {
        let close = |a: f32, b: f32, largest: f64| (f64::from(a) - f64::from(b)).abs() <= CLOSE * largest;
        close(offsets[i], offsets[j], of_offsets)
            && slope(i).iter().zip(slope(j)).all(|(&a, &b)| close(a, b, of_slopes))
    };
    let along = |i: usize| {
        let sum: f64 = slope(i).iter().zip(direction).map(|(&v, by)| f64::from(v) * by).sum();
        sum / of_slopes + f64::from(offsets[i]) / of_offsets * direction[d]
    };
    let along: Vec<f64> = taken.iter().map(|&i| along(i)).collect();
    let mut order: Vec<usize> = (0..taken.len()).collect();
    order.sort_by(|&a, &b| along[a].total_cmp(&along[b]));
    let sorted: Vec<f64> = order.iter().map(|&at| along[at]).collect();
    let mut rank = vec![0; order.len()];
    order.iter().enumerate().for_each(|(place, &at)| rank[at] = place);
    // No farther apart than this, rounding of the sums included.
    let window = (CLOSE + EXACT) * direction.iter().map(|by| by.abs()).sum::<f64>();
    let mut first: Vec<u32> = (0..pieces as u32).collect();
    // Places of the pieces that equal none before them.
    let mut kept = BTreeSet::new();
    for (at, &i) in taken.iter().enumerate() {
        let low = sorted.partition_point(|&v| v < along[at] - window);
        let high = sorted.partition_point(|&v| v <= along[at] + window);
        let near = kept.range(low..high.max(low)).map(|&place: &usize| taken[order[place]]);
        match near.filter(|&j| equal(i, j)).min() {
            Some(j) => first[i] = j as u32,
            None => drop(kept.insert(rank[at])),
        }
    }
    first
}

/// How far two sets of slopes are from each other: `|I - pinv(V) V'|`, the Frobenius norm, with the `M` slopes of each
/// set, given as rows `[M, D]`, as the columns of `V` and `V'`.
///
/// With `V = U S W^T` of rank `r` this is the root of `(M - r) + |S^-1 U^T (V - V')|^2`, which loses no digits where the
/// sets are alike. So equal sets are at distance 0 where the slopes are linearly independent, and at `sqrt(M - r)` where
/// they are not, as any more slopes than dimensions are. Singular values below [`CLOSE`] times the largest count as 0.
/// They come from the smaller Gram matrix, in `f64`. It is no metric: the sets cannot be exchanged.
///
/// # Errors
/// [`Error::Shape`] for sets of another size or dimension, or empty ones; [`Error::NonFinite`].
pub fn similarity<S: Scalar>(first: ArrayView2<'_, S>, second: ArrayView2<'_, S>) -> Result<f64> {
    let (m, d) = first.dim();
    if first.dim() != second.dim() || m * d == 0 {
        let (of_second, of_its) = second.dim();
        return Err(Error::Shape(format!(
            "{m} slopes of {d} elements cannot be compared with {of_second} slopes of {of_its} elements: expected \
             as many of the same dimension"
        )));
    }
    for slopes in [&first, &second] {
        if let Some(at) = slopes.iter().position(|v| !v.is_finite()) {
            return Err(Error::NonFinite { what: "a set of slopes".to_owned(), row: at / d });
        }
    }
    // nalgebra fills columns first: rows of slopes become columns.
    let v = DMatrix::from_iterator(d, m, first.iter().map(|v| v.f64()));
    let apart = DMatrix::from_iterator(d, m, first.iter().zip(&second).map(|(a, b)| a.f64() - b.f64()));
    let flat = d <= m;
    let gram = if flat { &v * v.transpose() } else { v.tr_mul(&v) };
    let SymmetricEigen { eigenvectors, eigenvalues } = SymmetricEigen::new(gram);
    // U^T (V - V'); from the other side, with U S = V W, S times that.
    let along = eigenvectors.tr_mul(&if flat { apart } else { v.tr_mul(&apart) });
    let largest = eigenvalues.iter().copied().fold(0.0, f64::max);
    let (mut rank, mut squares) = (0, 0.0);
    for (row, &square) in along.row_iter().zip(eigenvalues.iter()) {
        if square > CLOSE * CLOSE * largest {
            rank += 1;
            squares += row.norm_squared() / if flat { square } else { square * square };
        }
    }
    Ok(((m - rank) as f64 + squares).sqrt())
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;
    use crate::engine::{Cpu, Curvature, Engine, Jets};
    use crate::spline::{HeldJets, Softness, Tangents, values};

    fn random(seed: u64, count: usize) -> Vec<f64> {
        let mut rng = stream(seed, Stream::Sample);
        (0..count).map(|_| rng.random_range(-1.0..2.0)).collect()
    }

    fn random_rows(seed: u64, rows: usize, columns: usize) -> Array2<f64> {
        Array2::from_shape_vec((rows, columns), random(seed, rows * columns)).unwrap()
    }

    const M: usize = 23;
    const K: usize = 3;
    const D: usize = 4;

    fn source() -> HeldJets<Cpu<f64>> {
        let engine = Cpu::<f64>::new();
        let upload =
            |seed, shape: &[usize]| engine.upload(&random(seed, shape.iter().product()), shape).unwrap();
        let jets =
            Jets { points: upload(1, &[M, D]), values: upload(2, &[M, K]), jacobians: upload(3, &[M, K, D]) };
        HeldJets::new(&engine, jets)
    }

    fn tangents(tangents: Tangents) -> Spline {
        let form = Form::Tangents(tangents);
        let curvature = [1.0, 0.5, 3.0].map(|a| Curvature { a, b: 2.0 * a }).to_vec();
        Spline { form, curvature, ..Spline::isotropic(1.0, K).unwrap() }
    }

    #[test]
    fn activity_is_that_of_the_affine_pieces() {
        let (source, context) = (source(), Context::default());
        let points = random_rows(4, 301, D);
        let data = Dataset::from_array(points.view()).unwrap();
        let (lower, upper) =
            (Selection::Some((0..M as u32).step_by(2).collect()), Selection::Some((5..20).collect()));
        let spline = tangents(Tangents { lower: lower.clone(), upper: upper.clone(), ..Tangents::default() });
        assert_eq!((spline.pieces(M), spline.taken(M)), (M, [12, 15]));
        let outputs = [2, 0];
        let found = activity(&spline, &source, &data, &outputs, true, &context).unwrap();
        let pieces = AffinePieces::of(&spline, &source, 0, &context).unwrap();
        for (number, (half, sign)) in [(&found.convex, 1.0), (&found.concave, -1.0)].into_iter().enumerate() {
            for (at, &k) in outputs.iter().enumerate() {
                let (slopes, offsets) = pieces.half(number, k);
                let (mut counts, mut sums) = (vec![0_u64; M], vec![0.0; M * D]);
                for x in points.rows() {
                    let value = |i: usize| {
                        let z = x.iter().zip(&pieces.planes.center).map(|(x, c)| x - c);
                        let along: f64 = z.zip(&slopes[i * D..]).map(|(z, &p)| z * f64::from(p)).sum();
                        sign * (along + f64::from(offsets[i]))
                    };
                    let taken = (0..M).filter(|&i| [&lower, &upper][number].contains(i as u32));
                    let best = taken.max_by(|&i, &j| value(i).total_cmp(&value(j))).unwrap();
                    counts[best] += 1;
                    x.iter().enumerate().for_each(|(j, x)| sums[best * D + j] += x);
                }
                assert_eq!(half.of(at), counts);
                assert_eq!(half.of(at).iter().sum::<u64>(), 301);
                let means = &half.means.as_ref().unwrap()[at * M * D..][..M * D];
                for (i, mean) in means.iter().enumerate() {
                    assert!((mean - sums[i] / counts[i / D].max(1) as f64).abs() < EXACT);
                }
                assert_eq!(half.ever_active(at), counts.iter().filter(|&&c| c > 0).count());
                let most = *counts.iter().max().unwrap() as f64 / 301.0;
                assert!((half.busiest_share(at) - most).abs() < EXACT);
            }
        }

        // The same pieces as the spline's own, and in chunks.
        let all = tangents(Tangents::default());
        let planes = AffinePieces::of(&all, &source, 0, &context).unwrap().planes.into_owned();
        let own = Spline { form: Form::Planes(planes), ..all.clone() };
        let small = Context::default().with_memory(64 << 10);
        let every = activity(&all, &source, &data, &[0, 1, 2], true, &small).unwrap();
        let of_own = activity(&own, &source, &data, &[0, 1, 2], true, &context).unwrap();
        assert_eq!(
            (&every.convex.counts, &every.concave.counts),
            (&of_own.convex.counts, &of_own.concave.counts)
        );
        // Halves that are gathered chunk by chunk are the same as well.
        let [small, whole] = [&small, &context].map(|c| values(&all, &source, &data, c).unwrap());
        assert_eq!(small, whole);
    }

    #[test]
    fn what_cannot_be_counted_is_refused() {
        let (source, context) = (source(), Context::default());
        let data = Dataset::from_array(random_rows(4, 9, D).view()).unwrap();
        let soft = tangents(Tangents { softness: Softness::Nearest(0.1), ..Tangents::default() });
        let fault = activity(&soft, &source, &data, &[0], false, &context).unwrap_err();
        assert!(matches!(&fault, Error::Argument(line) if line.contains("soft")), "{fault}");
        let hard = tangents(Tangents::default());
        assert!(matches!(
            activity(&hard, &source, &data, &[3], false, &context),
            Err(Error::Argument(line)) if line == "there is no output 3: expected 0 to 2"
        ));
        let little = Context::default().with_memory(100);
        let fault = activity(&hard, &source, &data, &[0], true, &little);
        assert!(matches!(fault, Err(Error::Memory { needed, .. }) if needed == (2 * M * 8 * (1 + D)) as u64));
        let narrow = Dataset::from_array(random_rows(4, 9, D - 1).view()).unwrap();
        assert!(matches!(activity(&hard, &source, &narrow, &[0], false, &context), Err(Error::Shape(_))));
    }

    #[test]
    fn shares_make_an_effective_number() {
        let half = HalfActivity { pieces: 4, counts: vec![5, 5, 5, 5, 0, 20, 0, 0], means: None };
        assert!((half.effective_pieces(0) - 4.0).abs() < EXACT);
        assert_eq!((half.effective_pieces(1), half.busiest_share(1), half.ever_active(1)), (1.0, 1.0, 1));
        assert_eq!((half.busiest_share(0), half.ever_active(0)), (0.25, 4));
    }

    #[test]
    fn duplicates_are_those_of_brute_force() {
        let (m, d) = (60, 5);
        let taken = Selection::Some((3..57).collect());
        for seed in 0..20 {
            let mut slopes: Vec<f32> = random(seed, m * d).iter().map(|&v| v as f32).collect();
            let mut offsets: Vec<f32> = random(seed + 100, m).iter().map(|&v| v as f32).collect();
            // Copies, some exact, some off by less or more than the tolerance, some chained.
            let mut rng = stream(seed, Stream::Search);
            for _ in 0..50 {
                let (from, to) = (rng.random_range(0..m), rng.random_range(0..m));
                let off = [0.0, 5e-6, 1.5e-5, 1e-4][rng.random_range(0..4)];
                slopes.copy_within(from * d..(from + 1) * d, to * d);
                offsets[to] = offsets[from];
                slopes[to * d + rng.random_range(0..d)] += off;
            }
            for selection in [&Selection::All, &taken] {
                let among = |i: usize| selection.contains(i as u32);
                let most = |entries: &mut dyn Iterator<Item = f32>| {
                    entries.fold(0.0_f64, |l, v| l.max(f64::from(v).abs())) * CLOSE
                };
                let of_slopes = most(&mut (0..m * d).filter(|&e| among(e / d)).map(|e| slopes[e]));
                let of_offsets = most(&mut (0..m).filter(|&i| among(i)).map(|i| offsets[i]));
                let apart = |a: f32, b: f32| (f64::from(a) - f64::from(b)).abs();
                let mut expected: Vec<u32> = (0..m as u32).collect();
                for i in (0..m).filter(|&i| among(i)) {
                    let earlier = (0..i).filter(|&j| among(j) && expected[j] == j as u32).find(|&j| {
                        apart(offsets[i], offsets[j]) <= of_offsets
                            && (0..d).all(|e| apart(slopes[i * d + e], slopes[j * d + e]) <= of_slopes)
                    });
                    expected[i] = earlier.map_or(i as u32, |j| j as u32);
                }
                assert!((0..m).any(|i| expected[i] != i as u32));
                let direction: Vec<f64> = random(seed + 200, d + 1).iter().map(|v| v - 0.5).collect();
                assert_eq!(first_equal(&slopes, &offsets, selection, &direction), expected, "seed {seed}");
            }
        }
        // All alike, also all zero.
        assert_eq!(first_equal(&[0.0; 8], &[0.0; 4], &Selection::All, &[0.5, -1.0, 1.0]), [0; 4]);
        assert_eq!(first_equal(&[7.0; 8], &[3.0; 4], &Selection::All, &[0.5, -1.0, 1.0]), [0; 4]);
    }

    #[test]
    fn anchors_of_one_affine_region_are_duplicates() {
        let engine = Cpu::<f64>::new();
        // Two affine functions of two inputs; anchors 0, 2 and 3 lie on the first.
        let (slope, offset) = ([[1.0, -2.0], [0.5, 3.0]], [0.25, -1.0]);
        let which = [0, 1, 0, 0, 1];
        let x = random_rows(9, 5, 2);
        let value =
            |i: usize| offset[which[i]] + slope[which[i]][0] * x[[i, 0]] + slope[which[i]][1] * x[[i, 1]];
        let jets = Jets {
            points: engine.upload(x.as_slice().unwrap(), &[5, 2]).unwrap(),
            values: engine.upload(&(0..5).map(value).collect::<Vec<_>>(), &[5, 1]).unwrap(),
            jacobians: engine.upload(&which.map(|w| slope[w]).concat(), &[5, 1, 2]).unwrap(),
        };
        let source = HeldJets::new(&engine, jets);
        let context = Context::default();
        let of = |curvature: f64| {
            let spline = Spline::isotropic(curvature, 1).unwrap();
            AffinePieces::of(&spline, &source, 0, &context).unwrap().duplicates(&[0], &context).unwrap()
        };
        let flat = of(0.0);
        assert_eq!((flat.convex, flat.concave), (vec![0, 1, 0, 0, 1], vec![0, 1, 0, 0, 1]));
        // Curvature bends each about its own anchor.
        assert_eq!(of(1.0).convex, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn similarity_is_that_of_the_pseudo_inverse() {
        // As many slopes as dimensions, more, fewer; of full rank, and with copies.
        for (m, d, copies) in [(5, 5, 0), (9, 4, 0), (4, 9, 0), (6, 8, 2), (8, 6, 3)] {
            let (mut first, second) = (random_rows(m as u64, m, d), random_rows(70 + d as u64, m, d));
            for i in 0..copies {
                let copy = first.row(m - 1 - i).to_owned();
                first.row_mut(i).assign(&copy);
            }
            let rank = (m - copies).min(d);
            let [v, w] = [&first, &second].map(|rows| DMatrix::from_iterator(d, m, rows.iter().copied()));
            let inverse = v.clone().pseudo_inverse(CLOSE).unwrap();
            // Penrose: what the reference is.
            assert!((&v * &inverse * &v - &v).norm() < EXACT * v.norm());
            let expected = (DMatrix::identity(m, m) - inverse * w).norm();
            let found = similarity(first.view(), second.view()).unwrap();
            // A Gram matrix has the condition number squared.
            assert!((found / expected - 1.0).abs() < CLOSE, "{m} {d}: {found}, not {expected}");
            let itself = similarity(first.view(), first.view()).unwrap();
            assert_eq!(itself, ((m - rank) as f64).sqrt(), "{m} {d}");
        }
    }

    #[test]
    fn similarity_by_hand() {
        // V = diag(1, 2), V' = [[1, 1], [0, 2]]: pinv(V) V' = [[1, 1], [0, 1]].
        let (first, second) = (array![[1.0, 0.0], [0.0, 2.0]], array![[1.0, 0.0], [1.0, 2.0]]);
        assert!((similarity(first.view(), second.view()).unwrap() - 1.0).abs() < EXACT);
        assert_eq!(
            similarity(array![[0.0], [0.0]].view(), array![[1.0], [2.0]].view()).unwrap(),
            2.0_f64.sqrt()
        );
        assert!(matches!(similarity(first.view(), array![[1.0, 2.0]].view()), Err(Error::Shape(_))));
        let bad = array![[1.0, 0.0], [0.0, f64::NAN]];
        assert!(matches!(similarity(first.view(), bad.view()), Err(Error::NonFinite { row: 1, .. })));
    }
}
