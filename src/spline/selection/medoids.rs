//! Anchors amid their clusters.

use rayon::prelude::*;

use crate::engine::{Context, SplineEngine};
use crate::{Result, Scalar};

use super::clusters::{Assigner, k_means, members, nearest};
use super::features::Table;

/// Rounds at most.
const ROUNDS: usize = 25;

/// In larger clusters the member nearest to the mean is tried instead of every member, since that takes the square
/// of their number.
const LARGE: usize = 1024;

/// So many rows with a small sum of distances (not squared) from each row to the nearest of them: from the medoids of
/// k-means on, rows are assigned and each cluster takes its best member, until nothing changes (Park & Jun 2009, "A
/// simple and fast algorithm for K-medoids clustering"). The sum never rises from round to round.
///
/// # Errors
/// As [`k_means`].
pub(super) fn k_medoids<E: SplineEngine>(
    engine: &E,
    table: &Table<E::Scalar>,
    count: usize,
    seed: u64,
    context: &Context,
) -> Result<Vec<u32>> {
    let mut medoids = k_means(engine, table, count, seed, context)?.medoids(table);
    let assigner = Assigner::new(engine, table, count, context)?;
    context.progress().start("k-medoids", (ROUNDS * count) as u64);
    for _ in 0..ROUNDS {
        let centers: Vec<E::Scalar> = medoids.iter().flat_map(|&i| table.row(i as usize)).copied().collect();
        let mut assignment = assigner.assign(&centers, context)?;
        // Of equal rows that are medoids both, the engine assigns both to the first.
        medoids.iter().enumerate().for_each(|(cluster, &i)| assignment[i as usize] = cluster as u32);
        let of_cluster: Result<Vec<u32>> = members(&assignment, count)
            .par_iter()
            .zip(&medoids)
            .map(|(members, &medoid)| {
                context.check()?;
                context.progress().advance(1);
                Ok(improved(table, members, medoid))
            })
            .collect();
        let better = of_cluster?;
        if better == medoids {
            break;
        }
        medoids = better;
    }
    context.progress().finish();
    Ok(medoids)
}

/// The member of a cluster with the smallest sum of distances to the others; `medoid` unless another's is smaller.
fn improved<S: Scalar>(table: &Table<S>, members: &[u32], medoid: u32) -> u32 {
    let sum = |i: u32| members.iter().map(|&j| table.between(i as usize, j as usize).sqrt()).sum::<f64>();
    let best = if members.len() <= LARGE {
        nearest(members, sum)
    } else {
        let mut mean = vec![0.0; table.width()];
        for &i in members {
            let row = table.row(i as usize).iter();
            mean.iter_mut().zip(row).for_each(|(mean, x)| *mean += x.f64() / members.len() as f64);
        }
        nearest(members, |i| {
            table.row(i as usize).iter().zip(&mean).map(|(x, mean)| (x.f64() - mean).powi(2)).sum()
        })
    };
    if sum(best) < sum(medoid) { best } else { medoid }
}
