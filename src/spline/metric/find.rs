//! Metrics from jets: from the covariance of gradients, from the principal components of the anchors, and from both.

use nalgebra::{DMatrix, SymmetricEigen};
use rand::RngExt;

use crate::engine::plan::Chunks;
use crate::engine::{Arithmetic, Context, Epilogue, JetsOf, SplineEngine, TensorOf};
use crate::spline::JetSource;
use crate::{Error, Result, Scalar};

use super::{LowRank, Metric, SPREAD, raised};

/// Passes of the subspace iteration, and directions beyond those wanted (Halko, Martinsson & Tropp 2011).
const PASSES: usize = 3;
const OVERSAMPLED: usize = 8;

/// The share of the variance that the principal components hold where their number is not given.
const VARIANCE: f64 = 0.97;

/// What a moment is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rows {
    /// Gradients of all outputs at all anchors.
    Gradients,
    /// Anchors, measured from the source's centre.
    Anchors,
}

/// The metric `C^power`, `C` the mean of `J^T J` over anchors and outputs, scaled to a mean weight of 1. All
/// directions count where no `rank` is given; else the first ones do, and with `rest` the others by their mean.
///
/// # Errors
/// [`Error::Argument`] for a rank of 0 or a power that is not finite, and where all gradients vanish;
/// [`Error::Memory`], [`Error::Cancelled`]; what the source says.
pub fn gradients<E: SplineEngine>(
    source: &dyn JetSource<E>,
    power: f64,
    (rank, rest): (Option<usize>, bool),
    context: &Context,
) -> Result<Metric> {
    check_power(power)?;
    let dimension = source.dimension();
    let found = Moment { source, rows: Rows::Gradients, context }.largest(rank.unwrap_or(dimension))?;
    let left = dimension - found.weights.len();
    let mean_left =
        if left > 0 { (found.trace - found.weights.iter().sum::<f64>()) / left as f64 } else { 0.0 };
    let largest = found.weights.iter().copied().fold(0.0, f64::max);
    let rest = if rest && left > 0 { (mean_left.max(0.0) / largest).max(1e-6).powf(power) } else { 0.0 };
    let powers = found.weights.iter().map(|w| (w / largest).max(f64::MIN_POSITIVE).powf(power));
    let weights = raised(powers.collect())?;
    Ok(scaled(LowRank { basis: found.basis, weights, rest }, dimension))
}

/// The diagonal of the mean of `J^T J` over anchors and outputs, to a power, scaled to a mean weight of 1.
///
/// # Errors
/// As [`gradients`].
pub fn diagonal<E: SplineEngine>(source: &dyn JetSource<E>, power: f64, context: &Context) -> Result<Metric> {
    let mut sums = vec![0.0; source.dimension()];
    let moment = Moment { source, rows: Rows::Gradients, context };
    moment.visit(0, |engine, rows| {
        let squares = engine.arithmetic(Arithmetic::Mul, rows, rows)?;
        let squares = engine.download(&engine.sum(&squares, &[0])?)?;
        sums.iter_mut().zip(squares).for_each(|(sum, square)| *sum += square.f64());
        Ok(())
    })?;
    let largest = sums.iter().copied().fold(0.0, f64::max);
    let powers = sums.iter().map(|w| (w / largest).max(f64::MIN_POSITIVE).powf(power));
    let weights = raised(powers.collect())?;
    let mean = weights.iter().sum::<f64>() / weights.len() as f64;
    Metric::diagonal(weights.into_iter().map(|w| w / mean).collect())
}

/// The first principal components of the anchors, along which distances are as in the identity; nothing else is seen.
/// Without a `rank` as many as hold 97 % of the variance, 256 at most.
///
/// # Errors
/// As [`gradients`].
pub fn principal<E: SplineEngine>(
    source: &dyn JetSource<E>,
    rank: Option<usize>,
    context: &Context,
) -> Result<Metric> {
    let dimension = source.dimension();
    let mut found =
        Moment { source, rows: Rows::Anchors, context }.largest(rank.unwrap_or(dimension.min(256)))?;
    if rank.is_none() {
        let mut held = 0.0;
        let mut missing = |w: &f64| {
            let enough = held >= VARIANCE * found.trace;
            held += w;
            !enough
        };
        let count = found.weights.iter().take_while(|w| missing(w)).count();
        found.weights.truncate(count.max(1));
        found.basis.truncate(count.max(1) * dimension);
    }
    let weights = vec![1.0; found.weights.len()];
    Ok(Metric::LowRank(LowRank { basis: found.basis, weights, rest: 0.0 }))
}

/// Principal components among which informed directions are looked for; all of them in up to so many dimensions.
const COMPONENTS: usize = 1024;

/// The share of `trace(G C)` that the informed directions hold where their number is not given, and how many they are
/// at most then.
const INFORMED: f64 = 0.999;
const MOST_INFORMED: usize = 256;

/// Variances of the anchors over the largest: smaller ones are raised, as steps along what never varies are no steps.
const LEAST_VARIANCE: f64 = 1e-6;

/// The directions along which the network varies over the data: with the covariance `C` of the anchors and the mean `G`
/// of `J^T J` the first eigenvectors of `C^(1/2) G C^(1/2)`, eigenvalues `e_j` (the derivative-informed subspace:
/// Cui et al. 2014; O'Leary-Roseberry et al. 2022). Coordinates along them have a variance proportional to `e_j^power`:
/// 0 where all count alike, 1 where each counts as it changes the outputs; nothing else is seen. Without a `rank` as many
/// as hold 99.9 % of the sum of all `e_j`, 256 at most. Beyond 1,024 dimensions they are looked for among the first
/// 1,024 principal components.
///
/// Measured on an MNIST network (784-256x4-10): its outputs at test images that are seen through 100 of their coordinates
/// are off by 0.024 of their deviation, through 100 principal components by 0.077, through 100 of the active subspace by
/// 0.054.
///
/// # Errors
/// As [`gradients`]; [`Error::Argument`] where all anchors are the same.
pub fn informed<E: SplineEngine>(
    source: &dyn JetSource<E>,
    power: f64,
    rank: Option<usize>,
    context: &Context,
) -> Result<Metric> {
    check_power(power)?;
    let dimension = source.dimension();
    rank.map_or(Ok(()), |rank| check_rank(rank, dimension))?;
    let components = rank.unwrap_or(0).max(COMPONENTS.min(dimension));
    let anchors = Moment { source, rows: Rows::Anchors, context }.largest(components)?;
    // [q, D], row j times the deviation along it, so that G comes as C^(1/2) G C^(1/2).
    let least = LEAST_VARIANCE * anchors.weights[0];
    let variances: Vec<f64> =
        anchors.weights.iter().map(|w| w.max(least) / source.anchors() as f64).collect();
    let mut spread = DMatrix::from_row_slice(components, dimension, &anchors.basis);
    spread.row_iter_mut().zip(&variances).for_each(|(mut row, variance)| row *= variance.sqrt());
    let form = Moment { source, rows: Rows::Gradients, context }.along(&spread)?;
    let trace = form.trace();
    let SymmetricEigen { eigenvectors, eigenvalues } = SymmetricEigen::new(form);
    let mut order = descending(eigenvalues.as_slice());
    let largest = eigenvalues[order[0]];
    if largest.is_nan() || largest <= 0.0 {
        return Err(Error::Argument(
            "neither anchors nor gradients vary: nothing informs a metric".to_owned(),
        ));
    }
    let mut held = 0.0;
    let enough = order.iter().take(MOST_INFORMED).take_while(|&&j| {
        let more = held < INFORMED * trace;
        held += eigenvalues[j];
        more
    });
    let rank = rank.unwrap_or(enough.count());
    order.truncate(rank);
    // h^T C^(-1/2) x, in which `spread` has been multiplied by C^(1/2) already.
    let mut map = DMatrix::zeros(rank, dimension);
    for (mut row, &j) in map.row_iter_mut().zip(&order) {
        let length = (eigenvalues[j] / largest).max(1.0 / SPREAD).powf(power / 2.0);
        let mut along = eigenvectors.column(j).clone_owned();
        along.iter_mut().zip(&variances).for_each(|(along, variance)| *along /= variance);
        row += (spread.tr_mul(&along) * length).transpose();
    }
    of_map(&map)
}

/// # Errors
/// [`Error::Argument`] for a power that is not finite.
fn check_power(power: f64) -> Result<()> {
    if power.is_finite() {
        return Ok(());
    }
    Err(Error::Argument(format!("a metric's power must be finite, not {power}")))
}

/// Positions from the largest value to the smallest, the first of equal ones first.
fn descending(values: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&i, &j| values[j].total_cmp(&values[i]).then(i.cmp(&j)));
    order
}

/// # Errors
/// [`Error::Argument`] for a metric of so many directions of points of `dimension` elements.
fn check_rank(rank: usize, dimension: usize) -> Result<()> {
    if (1..=dimension).contains(&rank) {
        return Ok(());
    }
    Err(Error::Argument(format!(
        "a metric of rank {rank} for points of {dimension} elements: expected 1 to {dimension}"
    )))
}

/// The metric of the coordinates `A x`, `A` `[r, D]` of full rank: `P = A^T A`.
fn of_map(map: &DMatrix<f64>) -> Result<Metric> {
    let dimension = map.ncols();
    let SymmetricEigen { eigenvectors, eigenvalues } = SymmetricEigen::new(map * map.transpose());
    let weights = raised(eigenvalues.iter().map(|w| w.max(0.0)).collect())?;
    let mut directions = map.tr_mul(&eigenvectors);
    directions.column_iter_mut().for_each(|mut direction| {
        direction.normalize_mut();
    });
    // Column-major columns are rows.
    let basis = directions.as_slice().to_vec();
    Ok(scaled(LowRank { basis, weights, rest: 0.0 }, dimension))
}

/// With a mean weight of 1 over all directions that count.
fn scaled(metric: LowRank, dimension: usize) -> Metric {
    let LowRank { basis, weights, rest } = metric;
    let left = if rest > 0.0 { dimension - weights.len() } else { 0 };
    let mean = (weights.iter().sum::<f64>() + rest * left as f64) / (weights.len() + left) as f64;
    let weights = weights.into_iter().map(|w| w / mean).collect();
    Metric::LowRank(LowRank { basis, weights, rest: rest / mean })
}

/// The matrix `C = sum over rows of r r^T`, `[D, D]`, never formed unless all its directions are wanted.
struct Moment<'a, E: SplineEngine> {
    source: &'a dyn JetSource<E>,
    rows: Rows,
    context: &'a Context,
}

/// The largest eigenvalues of a moment.
struct Largest {
    /// Eigenvectors `[r, D]`.
    basis: Vec<f64>,
    /// Descending.
    weights: Vec<f64>,
    /// The sum of all eigenvalues.
    trace: f64,
}

impl<E: SplineEngine> Moment<'_, E> {
    /// Shows all rows to `visit`, block by block, `[n, D]`; `beside` counts elements that each row's results take.
    fn visit(&self, beside: usize, mut visit: impl FnMut(&E, &TensorOf<E>) -> Result<()>) -> Result<()> {
        let source = self.source;
        let (engine, d, k) = (source.engine(), source.dimension(), source.outputs());
        let jet = (k + 1) * (2 * (d + 1) + beside) * size_of::<E::Scalar>();
        let fixed = source.scratch_bytes() + (3 * d * beside * size_of::<f64>()) as u64;
        let most = source.most_jets()?.min(1 << 10);
        let bytes = jet as u64 + source.bytes_to_make();
        let memory = self.context.memory();
        let blocks = Chunks::within("a metric", source.anchors(), bytes, fixed, memory, most)?;
        let center: Vec<E::Scalar> = source.center()?.iter().map(|&c| E::Scalar::of(c)).collect();
        let center = engine.upload(&center, &[1, d])?;
        self.context.progress().start("metric", source.anchors() as u64);
        for block in blocks.iter() {
            self.context.check()?;
            let (JetsOf::<E> { points, jacobians, .. }, unchecked) = source.block(block.clone())?;
            let rows = match self.rows {
                Rows::Anchors => engine.arithmetic(Arithmetic::Sub, &points, &center)?,
                Rows::Gradients => jacobians.reshaped([block.len() * k, d])?,
            };
            visit(engine, &rows)?;
            unchecked.check(engine)?;
            self.context.progress().advance(block.len() as u64);
        }
        self.context.progress().finish();
        Ok(())
    }

    /// `B C B^T` of `B` `[q, D]`.
    fn along(&self, b: &DMatrix<f64>) -> Result<DMatrix<f64>> {
        let (q, d) = (b.nrows(), b.ncols());
        let engine = self.source.engine();
        // Columns of `b` are rows of its transpose.
        let transposed: Vec<E::Scalar> = b.iter().map(|&v| E::Scalar::of(v)).collect();
        let matrix = engine.matrix(&transposed, d, q)?;
        let mut sum = vec![0.0; q * q];
        self.visit(q, |engine: &E, rows| {
            let along = engine.matmul(rows, None, &matrix, Epilogue::NONE)?;
            let product = engine.download(&engine.multiply(&along, &along, [true, false])?)?;
            sum.iter_mut().zip(product).for_each(|(sum, new)| *sum += new.f64());
            Ok(())
        })?;
        let form = DMatrix::from_row_slice(q, q, &sum);
        Ok((&form + form.transpose()) / 2.0)
    }

    /// `C Q` of `Q` `[D, r]`, and the trace of `C`.
    fn times(&self, q: &DMatrix<f64>) -> Result<(DMatrix<f64>, f64)> {
        let (d, r) = (q.nrows(), q.ncols());
        let engine = self.source.engine();
        let by_rows: Vec<E::Scalar> = q.transpose().iter().map(|&v| E::Scalar::of(v)).collect();
        let matrix = engine.matrix(&by_rows, d, r)?;
        let (mut sum, mut trace) = (vec![0.0; d * r], 0.0);
        self.visit(r, |engine: &E, rows| {
            let along = engine.matmul(rows, None, &matrix, Epilogue::NONE)?;
            let product = engine.download(&engine.multiply(rows, &along, [true, false])?)?;
            sum.iter_mut().zip(product).for_each(|(sum, new)| *sum += new.f64());
            let squares = engine.arithmetic(Arithmetic::Mul, rows, rows)?;
            let squares = engine.download(&engine.sum(&squares, &[0, 1])?)?;
            trace += squares.into_iter().map(Scalar::f64).sum::<f64>();
            Ok(())
        })?;
        Ok((DMatrix::from_row_slice(d, r, &sum), trace))
    }

    /// The `rank` largest eigenvalues with their eigenvectors: exact with all, else by subspace iteration.
    fn largest(&self, rank: usize) -> Result<Largest> {
        let dimension = self.source.dimension();
        check_rank(rank, dimension)?;
        let wide = (rank + OVERSAMPLED).min(dimension);
        let mut q = DMatrix::identity(dimension, wide);
        if wide < dimension {
            let mut rng = self.context.rng(1 << 43);
            q = DMatrix::from_fn(dimension, wide, |_, _| rng.random_range(-1.0..1.0)).qr().q();
            for _ in 1..PASSES {
                q = self.times(&q)?.0.qr().q();
            }
        }
        let (image, trace) = self.times(&q)?;
        let ritz = q.transpose() * &image;
        let ritz = (&ritz + ritz.transpose()) / 2.0;
        let SymmetricEigen { eigenvectors, eigenvalues } = SymmetricEigen::new(ritz);
        let vectors = q * eigenvectors;
        let mut order = descending(eigenvalues.as_slice());
        order.truncate(rank);
        let basis =
            order.iter().flat_map(|&i| vectors.column(i).iter().copied().collect::<Vec<_>>()).collect();
        let weights = order.iter().map(|&i| eigenvalues[i].max(0.0)).collect();
        Ok(Largest { basis, weights, trace })
    }
}
