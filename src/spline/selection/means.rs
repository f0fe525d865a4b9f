//! Clusters of rows of data, with their means.

use ndarray::ArrayView2;

use crate::data::Dataset;
use crate::engine::plan::Chunks;
use crate::engine::{Context, SplineEngine};
use crate::{Error, Result, Scalar};

use super::clusters::k_means;
use super::features::{LONG_INPUT, Part, Table};
use super::{Features, Stream, stream};

/// Clusters of `N` rows of data.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterMeans {
    /// The cluster of each row `[N]`.
    pub assignment: Vec<u32>,
    /// How many rows each cluster has, at least 1.
    pub sizes: Vec<u32>,
    /// Their means `[k, D]`, as the data are normalised.
    pub means: Vec<f64>,
}

/// Clusters rows of data by k-means, as [`clusters`](super::clusters()) does with anchors and [`Features::Inputs`]; the
/// largest cluster comes first, of equally large ones that with the earlier first row.
///
/// # Errors
/// [`Error::Argument`] for 0 clusters, or more than there are rows; [`Error::NonFinite`]; [`Error::Memory`] where the
/// rows do not fit into half the budget; [`Error::Cancelled`]; data that cannot be read; what the engine says.
pub fn cluster_means<E: SplineEngine>(
    engine: &E,
    data: &Dataset,
    count: usize,
    seed: u64,
    context: &Context,
) -> Result<ClusterMeans> {
    let (rows, dimension) = (data.len(), data.row_len());
    if !(1..=rows).contains(&count) {
        return Err(Error::Argument(format!("{count} clusters of {rows} rows: expected 1 to {rows}")));
    }
    let part = Part::new(dimension, LONG_INPUT, &mut stream(seed, Stream::Sketch));
    let (width, budget) = (part.width(), context.memory());
    let what = format!("{count} clusters of {rows} rows by their {}", Features::Inputs);
    let held = (rows * (width * size_of::<E::Scalar>() + size_of::<u32>()) + count * dimension * 8) as u64;
    if 2 * held > budget {
        return Err(Error::Memory { what, needed: 2 * held, budget });
    }
    let row = (2 * dimension * size_of::<f64>()) as u64;
    let blocks = Chunks::within(&what, rows, row, held, budget, 1 << 12)?;
    let mut values = vec![E::Scalar::default(); rows * width];
    each_block(data, blocks, context, |first, block: ArrayView2<'_, E::Scalar>| {
        for (row, to) in block.rows().into_iter().zip(values[first * width..].chunks_exact_mut(width)) {
            part.write(row.iter().map(|x| x.f64()), to);
        }
    })?;
    let table = Table::new(width, values);
    let found = k_means(engine, &table, count, seed, context)?;
    let mut order: Vec<(u32, &Vec<u32>)> = vec![];
    let members = found.members();
    order.extend(members.iter().enumerate().map(|(cluster, members)| (cluster as u32, members)));
    order.sort_by(|(_, a), (_, b)| b.len().cmp(&a.len()).then_with(|| a[0].cmp(&b[0])));
    let mut place = vec![0; order.len()];
    order.iter().enumerate().for_each(|(at, (cluster, _))| place[*cluster as usize] = at as u32);
    let sizes: Vec<u32> = order.iter().map(|(_, members)| members.len() as u32).collect();
    let assignment: Vec<u32> = found.assignment.iter().map(|&cluster| place[cluster as usize]).collect();
    drop(table);

    let mut means = vec![0.0; order.len() * dimension];
    each_block(data, blocks, context, |first, block: ArrayView2<'_, f64>| {
        for (row, &cluster) in block.rows().into_iter().zip(&assignment[first..]) {
            let mean = &mut means[cluster as usize * dimension..][..dimension];
            mean.iter_mut().zip(row).for_each(|(mean, x)| *mean += x);
        }
    })?;
    for (mean, &size) in means.chunks_exact_mut(dimension).zip(&sizes) {
        mean.iter_mut().for_each(|mean| *mean /= f64::from(size));
    }
    Ok(ClusterMeans { assignment, sizes, means })
}

/// The rows of data block by block, each with the number of its first row.
fn each_block<S: Scalar>(
    data: &Dataset,
    blocks: Chunks,
    context: &Context,
    mut each: impl FnMut(usize, ArrayView2<'_, S>),
) -> Result<()> {
    blocks.iter().try_for_each(|block| {
        context.check()?;
        each(block.start, data.rows::<S>(block)?.view());
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;
    use rand::RngExt;

    use super::*;
    use crate::engine::{Cpu, Curvature, Engine, Jets};
    use crate::spline::{HeldJets, clusters};
    use crate::tolerance::EXACT;

    #[test]
    fn clusters_of_rows_are_those_of_anchors_with_their_means() {
        let (n, d, k) = (211, 7, 6);
        let mut rng = stream(5, Stream::Sample);
        let x = Array2::from_shape_fn((n, d), |_| rng.random_range(-1.0..2.0));
        let (engine, context) = (Cpu::<f64>::new(), Context::default());
        let data = Dataset::from_array(x.view()).unwrap();
        let found = cluster_means(&engine, &data, k, 3, &context).unwrap();

        let zeros = |shape: &[usize]| engine.upload(&vec![0.0; shape.iter().product()], shape).unwrap();
        let points = engine.upload(x.as_slice().unwrap(), &[n, d]).unwrap();
        let source =
            HeldJets::new(&engine, Jets { points, values: zeros(&[n, 1]), jacobians: zeros(&[n, 1, d]) });
        let curvature = [Curvature::isotropic(0.0)];
        let [of_anchors, _] = clusters(Features::Inputs, &source, k, &curvature, 3, &context).unwrap();
        let together =
            |assignment: &[u32], i: usize| (0..n).map(|j| assignment[i] == assignment[j]).collect();
        for i in 0..n {
            let expected: Vec<bool> = together(&of_anchors.assignment, i);
            assert_eq!(together(&found.assignment, i), expected, "row {i}");
        }
        assert!(found.sizes.is_sorted_by(|a, b| a >= b) && found.sizes.iter().sum::<u32>() == n as u32);
        for cluster in 0..k {
            let rows: Vec<usize> = (0..n).filter(|&i| found.assignment[i] == cluster as u32).collect();
            assert_eq!(rows.len(), found.sizes[cluster] as usize);
            for j in 0..d {
                let mean = rows.iter().map(|&i| x[[i, j]]).sum::<f64>() / rows.len() as f64;
                assert!((found.means[cluster * d + j] - mean).abs() < EXACT);
            }
        }
        // Twice the table and what comes of it, and little more.
        let small = Context::default().with_memory(40 << 10);
        assert_eq!(cluster_means(&engine, &data, k, 3, &small).unwrap(), found);
        let little = Context::default().with_memory(20 << 10);
        assert!(matches!(cluster_means(&engine, &data, k, 3, &little), Err(Error::Memory { .. })));
        let fault = cluster_means(&engine, &data, n + 1, 3, &context).unwrap_err();
        assert_eq!(fault.to_string(), "212 clusters of 211 rows: expected 1 to 211");
    }
}
