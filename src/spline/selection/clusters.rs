//! Clusters of anchors about their means.

use rand::RngExt;
use rayon::prelude::*;

use crate::engine::plan::{Chunks, at_once};
use crate::engine::{Context, Curvature, MaxAffineSpec, SplineEngine, TensorOf};
use crate::spline::JetSource;
use crate::{Error, Result, Scalar};

use super::features::{Table, squared_distance, tables};
use super::{Features, Stream, check, shuffled, stream};

/// Rounds at most.
const ROUNDS: usize = 25;

/// Seeding by distances takes as many operations as a round, but on the host and without reuse of what is in its cache:
/// some ten seconds for so many pairs times features. From there on a random subset starts.
const SEEDING: u64 = 1 << 34;

/// Clusters of `M` anchors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clusters {
    /// The cluster of each anchor `[M]`.
    pub assignment: Vec<u32>,
    /// How many anchors each cluster has, at least 1.
    pub sizes: Vec<u32>,
    /// Of each cluster the member nearest to its mean.
    pub medoids: Vec<u32>,
}

/// Clusters the anchors of `source` by k-means, for the lower and for the upper half; they differ with
/// [`Features::Pieces`] alone.
///
/// Seeds are drawn in proportion to the squared distance from those drawn before (k-means++, Arthur & Vassilvitskii
/// 2007), or, where that would take longer than the rest, are a random subset. Then come rounds of assignment and means
/// (Lloyd 1982), until assignments settle or 25 are over. A cluster that runs empty starts anew from the anchor that is
/// farthest from its mean.
///
/// # Errors
/// As [`select`](super::select).
pub fn clusters<E: SplineEngine>(
    features: Features,
    source: &dyn JetSource<E>,
    count: usize,
    curvature: &[Curvature],
    seed: u64,
    context: &Context,
) -> Result<[Clusters; 2]> {
    check(count, source.anchors())?;
    tables(features, source, curvature, seed, context)?.halves(|table| {
        let means = k_means(source.engine(), table, count, seed, context)?;
        let medoids = means.medoids(table);
        let sizes = means.members().iter().map(|members| members.len() as u32).collect();
        Ok(Clusters { assignment: means.assignment, sizes, medoids })
    })
}

/// Means and who belongs to them.
pub(crate) struct Means {
    /// `[k, F]`.
    pub(crate) means: Vec<f64>,
    /// Cluster of each row.
    pub(crate) assignment: Vec<u32>,
}

impl Means {
    fn count(&self, width: usize) -> usize {
        self.means.len() / width.max(1)
    }

    /// The rows of each cluster, ascending.
    pub(super) fn members(&self) -> Vec<Vec<u32>> {
        let count = self.assignment.iter().max().map_or(0, |&last| last as usize + 1);
        members(&self.assignment, count)
    }

    /// The member nearest to each mean, which no two clusters share; of equals the first.
    pub(super) fn medoids<S: Scalar>(&self, table: &Table<S>) -> Vec<u32> {
        let width = table.width();
        let members = members(&self.assignment, self.count(width));
        members
            .par_iter()
            .enumerate()
            .map(|(c, members)| {
                nearest(members, |i| distance_to(&self.means[c * width..][..width], table.row(i as usize)))
            })
            .collect()
    }
}

/// The rows of each of `count` clusters, ascending.
pub(super) fn members(assignment: &[u32], count: usize) -> Vec<Vec<u32>> {
    let mut members = vec![vec![]; count];
    for (i, &cluster) in assignment.iter().enumerate() {
        members[cluster as usize].push(i as u32);
    }
    members
}

/// Of `rows` the one with the smallest distance, of equals the first.
pub(super) fn nearest(rows: &[u32], distance: impl Fn(u32) -> f64) -> u32 {
    let best = rows.iter().map(|&i| (distance(i), i));
    best.reduce(|best, next| if next.0 < best.0 { next } else { best }).map_or(0, |(_, i)| i)
}

/// `|x - mean|^2`.
fn distance_to<S: Scalar>(mean: &[f64], row: &[S]) -> f64 {
    mean.iter().zip(row).map(|(mean, x)| (x.f64() - mean).powi(2)).sum()
}

/// Finds the nearest of some centres for every row, on the engine.
pub(crate) struct Assigner<'a, E: SplineEngine> {
    engine: &'a E,
    table: &'a Table<E::Scalar>,
    chunks: Chunks,
    /// Chunks of rows that stay on the engine; empty where there is no room for them.
    kept: Vec<TensorOf<E>>,
    most_centers: usize,
}

impl<'a, E: SplineEngine> Assigner<'a, E> {
    /// For up to `count` centres.
    ///
    /// # Errors
    /// [`Error::Memory`], [`Error::Tensor`]; what the engine says.
    pub(crate) fn new(
        engine: &'a E,
        table: &'a Table<E::Scalar>,
        count: usize,
        context: &Context,
    ) -> Result<Self> {
        let (rows, width) = (table.rows(), table.width());
        let what = format!("{count} clusters of {rows} anchors");
        let row = (width * size_of::<E::Scalar>()) as u64;
        // Means in f64, as centres, and uploaded; of each row its distance, cluster and the like.
        let held = table.bytes() + count as u64 * (4 * row + 16) + rows as u64 * 32 + engine.spline_scratch();
        // A chunk on the engine, laid out for the kernel, and its result.
        let per_row = 2 * row + 32;
        let most = at_once(engine, width.max(2), &what)?;
        let keeps = held + table.bytes() + per_row <= context.memory();
        let fixed = if keeps { held + table.bytes() } else { held };
        let chunks = Chunks::within(&what, rows, per_row, fixed, context.memory(), most.min(1 << 14))?;
        let mut assigner = Self { engine, table, chunks, kept: vec![], most_centers: most };
        if keeps {
            assigner.kept = chunks.iter().map(|range| assigner.upload(range)).collect::<Result<_>>()?;
        }
        Ok(assigner)
    }

    fn upload(&self, range: std::ops::Range<usize>) -> Result<TensorOf<E>> {
        self.engine.upload(self.table.range(range.clone()), &[range.len(), self.table.width()])
    }

    /// The nearest of `centers [k, F]` for each row, of equals the first.
    ///
    /// The nearest centre has the largest `c . x - |c|^2 / 2`: an affine piece whose conjugate is half its square.
    ///
    /// # Errors
    /// [`Error::Cancelled`]; what the engine says.
    pub(crate) fn assign(&self, centers: &[E::Scalar], context: &Context) -> Result<Vec<u32>> {
        let width = self.table.width();
        let mut best = vec![(f64::MIN, u32::MAX); self.table.rows()];
        for (block, centers) in centers.chunks(self.most_centers * width).enumerate() {
            let halves =
                centers.chunks_exact(width).map(|c| c.iter().map(|c| c.f64().powi(2)).sum::<f64>() / 2.0);
            let halves: Vec<E::Scalar> = halves.map(E::Scalar::of).collect();
            let slopes = self.engine.upload(centers, &[halves.len(), width])?;
            let conjugates = self.engine.upload(&halves, &[halves.len()])?;
            for (number, range) in self.chunks.iter().enumerate() {
                context.check()?;
                let points = match self.kept.get(number) {
                    Some(points) => points.clone(),
                    None => self.upload(range.clone())?,
                };
                let found =
                    self.engine.max_affine(&slopes, &conjugates, &points, &MaxAffineSpec::default())?;
                for (best, (value, piece)) in
                    best[range].iter_mut().zip(found.values.iter().zip(&found.pieces))
                {
                    if value.f64() > best.0 {
                        *best = (value.f64(), (block * self.most_centers) as u32 + piece);
                    }
                }
            }
        }
        match best.iter().position(|best| best.1 == u32::MAX) {
            None => Ok(best.into_iter().map(|best| best.1).collect()),
            Some(row) => Err(Error::NonFinite { what: "the features of the anchors".to_owned(), row }),
        }
    }
}

/// Clusters the rows of a table by k-means, as [`clusters`] says.
///
/// # Errors
/// [`Error::Memory`], [`Error::Cancelled`]; what the engine says.
pub(crate) fn k_means<E: SplineEngine>(
    engine: &E,
    table: &Table<E::Scalar>,
    count: usize,
    seed: u64,
    context: &Context,
) -> Result<Means> {
    let assigner = Assigner::new(engine, table, count, context)?;
    let (rows, width) = (table.rows(), table.width());
    let seeds = seeds(table, count, seed, context)?;
    let mut means: Vec<f64> = seeds.iter().flat_map(|&i| table.row(i as usize)).map(|x| x.f64()).collect();
    let mut assignment = vec![];
    context.progress().start("k-means", (ROUNDS * rows) as u64);
    for _ in 0..ROUNDS {
        let centers: Vec<E::Scalar> = means.iter().copied().map(E::Scalar::of).collect();
        let mut fresh = assigner.assign(&centers, context)?;
        fill_empty(table, &means, &mut fresh, count);
        context.progress().advance(rows as u64);
        if fresh == assignment {
            break;
        }
        assignment = fresh;
        means.par_chunks_exact_mut(width).zip(members(&assignment, count)).for_each(|(mean, members)| {
            mean.fill(0.0);
            for &i in &members {
                mean.iter_mut().zip(table.row(i as usize)).for_each(|(mean, x)| *mean += x.f64());
            }
            mean.iter_mut().for_each(|mean| *mean /= members.len() as f64);
        });
    }
    context.progress().finish();
    Ok(Means { means, assignment })
}

/// Gives each empty cluster the row that is farthest from its mean, of equals the first, out of a cluster that keeps
/// others.
fn fill_empty<S: Scalar>(table: &Table<S>, means: &[f64], assignment: &mut [u32], count: usize) {
    let mut sizes = vec![0_u32; count];
    assignment.iter().for_each(|&cluster| sizes[cluster as usize] += 1);
    if sizes.iter().all(|&size| size > 0) {
        return;
    }
    let width = table.width();
    let distance = |(i, &cluster): (usize, &u32)| {
        (distance_to(&means[cluster as usize * width..][..width], table.row(i)), i)
    };
    let mut far: Vec<(f64, usize)> = assignment.par_iter().enumerate().map(distance).collect();
    far.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut far = far.into_iter();
    for empty in 0..count {
        if sizes[empty] > 0 {
            continue;
        }
        if let Some((_, i)) = far.find(|&(_, i)| sizes[assignment[i] as usize] > 1) {
            sizes[assignment[i] as usize] -= 1;
            assignment[i] = empty as u32;
            sizes[empty] = 1;
        }
    }
}

/// Rows to start from: by k-means++ where that is cheap enough, else a random subset.
fn seeds<S: Scalar>(table: &Table<S>, count: usize, seed: u64, context: &Context) -> Result<Vec<u32>> {
    let (rows, width) = (table.rows(), table.width());
    if rows as u64 * count as u64 * width as u64 > SEEDING {
        return Ok(shuffled(rows, seed)[..count].to_vec());
    }
    let mut rng = stream(seed, Stream::Seeding);
    let mut chosen = vec![rng.random_range(0..rows as u32)];
    let mut squared = vec![f64::MAX; rows];
    context.progress().start("k-means++", count as u64);
    while chosen.len() < count {
        context.check()?;
        let last = chosen[chosen.len() - 1] as usize;
        approach(table, last, &mut squared);
        let total: f64 = squared.iter().sum();
        let mut left = rng.random::<f64>() * total;
        let drawn = squared.iter().position(|&squared| {
            left -= squared;
            squared > 0.0 && left < 0.0
        });
        // Rounding may leave something over; and where all rows are equal to chosen ones, any other will do.
        let drawn = drawn.or_else(|| squared.iter().rposition(|&squared| squared > 0.0));
        let next = drawn.or_else(|| (0..rows).find(|&i| !chosen.contains(&(i as u32))));
        chosen.extend(next.map(|i| i as u32));
        context.progress().advance(1);
    }
    context.progress().finish();
    Ok(chosen)
}

/// Lowers squared distances `[M]` to those from row `to`, where it is nearer.
pub(super) fn approach<S: Scalar>(table: &Table<S>, to: usize, squared: &mut [f64]) {
    squared.par_iter_mut().with_min_len(256).enumerate().for_each(|(i, squared)| {
        *squared = squared.min(squared_distance(table.row(i), table.row(to)));
    });
}
