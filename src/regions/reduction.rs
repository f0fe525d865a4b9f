//! Networks with few affine maps in the place of many (Sattelberg, Cavalieri, Kirby, Peterson & Beveridge 2020).

use std::time::Instant;

use rayon::prelude::*;
use serde::Serialize;

use crate::data::Dataset;
use crate::engine::{Context, Curvature, EnvelopeSpec, SplineEngine};
use crate::network::Program;
use crate::spline::selection::{Assigner, Table, k_means};
use crate::spline::{Demand, JetSource, NetworkJets, check_rows, envelopes};
use crate::{Error, Result, Scalar};

use super::rows::{affine_rows, agreement, at, classes, mean};

/// What decides which of the few maps a point takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Assignment {
    /// The mean that is nearest to the point's own affine row, for each output: as published. Needs the network.
    Own,
    /// The cluster of the nearest anchor. Needs the anchors alone.
    Nearest,
    /// The clusters of the anchors that are active in the spline of all anchors: the mean of the maps of its convex and
    /// of its concave half. Needs their jets.
    Envelope,
}

const ASSIGNMENTS: [Assignment; 3] = [Assignment::Own, Assignment::Nearest, Assignment::Envelope];

/// What is asked of a reduction.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Numbers of clusters for each output, each from 1 to the number of anchors.
    pub clusters: Vec<usize>,
    /// The curvature of the spline of [`Assignment::Envelope`].
    pub curvature: f64,
}

/// How well a reduced network does.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reduced {
    /// Maps for each output.
    pub clusters: usize,
    /// What decided which map a point takes.
    pub assignment: Assignment,
    /// The share of points whose class is that of their label; absent without labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// The share of points whose class is that of the network.
    pub agreement: f64,
    /// The root of the mean squared difference from the network's outputs, over their standard deviation.
    pub relative_rmse: f64,
}

/// A table of reductions.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reductions {
    /// The accuracy of the network itself; absent without labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// By numbers of clusters, as asked for, and within one by assignment.
    pub rows: Vec<Reduced>,
    /// Seconds for the rows and clusters of all outputs.
    pub seconds: f64,
}

/// Reduces a network: the affine rows `(gradient, offset)` of each output at all anchors are clustered by k-means, and at
/// a point the mean of a cluster takes the place of its own row.
///
/// For each output the rows of all anchors and points are held, one output after the other.
///
/// # Errors
/// [`Error::Argument`] for a number of clusters that is 0 or above that of anchors, or labels that are not as many as
/// points; [`Error::Memory`] where the rows of one output do not fit; as [`affine_rows`] and [`envelopes`].
pub fn reduce<E: SplineEngine>(
    program: &Program<E>,
    anchors: &Dataset,
    points: &Dataset,
    labels: Option<&[u32]>,
    settings: &Settings,
    context: &Context,
) -> Result<Reductions> {
    let (outputs, dimension, count) = (program.outputs(), program.dimension(), points.len());
    [anchors, points].into_iter().try_for_each(|data| check_rows(data, dimension))?;
    if let Some(wrong) = settings.clusters.iter().find(|n| !(1..=anchors.len()).contains(*n)) {
        return Err(Error::Argument(format!(
            "{wrong} clusters of {} anchors: expected 1 to that",
            anchors.len()
        )));
    }
    if let Some(labels) = labels.filter(|labels| labels.len() != count) {
        return Err(Error::Argument(format!("{} labels for {count} points", labels.len())));
    }
    let scalar = size_of::<E::Scalar>();
    let rows = (anchors.len() + 2 * count) * (dimension + 1) * scalar;
    let logits = settings.clusters.len() * ASSIGNMENTS.len() * count * outputs * size_of::<f64>();
    let pieces = (2 * outputs + 1) * count * size_of::<u32>();
    let (held, budget) = ((rows + logits + pieces) as u64, context.memory());
    if 2 * held > budget {
        let what = format!("the affine rows of one output at {} anchors and {count} points", anchors.len());
        return Err(Error::Memory { what, needed: 2 * held, budget });
    }
    let inner = &context.clone().with_memory(budget - held);

    let start = Instant::now();
    let x = points.rows::<E::Scalar>(0..count)?;
    let exact: Vec<f64> = program.values(x.view(), inner)?.iter().map(|v| v.f64()).collect();
    let x = x.as_standard_layout();
    let x = x.as_slice().unwrap_or_default();
    let nearest = nearest(program, anchors, x, inner)?;
    let active = active(program, anchors, points, settings.curvature, inner)?;
    // [clusters, assignment, N, K]
    let mut reduced = vec![vec![0.0; count * outputs]; settings.clusters.len() * ASSIGNMENTS.len()];
    for k in 0..outputs {
        let rows = |data: &Dataset| {
            let mut values = Vec::with_capacity(data.len() * (dimension + 1));
            affine_rows(program, data, k, inner, |_, rows| {
                values.extend_from_slice(rows);
                Ok(())
            })?;
            Ok::<_, Error>(values)
        };
        let of_anchors = rows(anchors)?;
        let origin = mean(&of_anchors, dimension + 1);
        let of_anchors = Table::from(&origin, of_anchors);
        let of_points = Table::from(&origin, rows(points)?);
        for (number, &clusters) in settings.clusters.iter().enumerate() {
            let found = k_means(program.engine(), &of_anchors, clusters, context.seed(), inner)?;
            let centers: Vec<E::Scalar> = found.means.iter().copied().map(E::Scalar::of).collect();
            let own =
                Assigner::new(program.engine(), &of_points, clusters, inner)?.assign(&centers, inner)?;
            let shifted = found.means.iter().zip(origin.iter().cycle()).map(|(mean, origin)| mean + origin);
            let maps: Vec<f64> = shifted.collect();
            let map = |cluster: u32| &maps[cluster as usize * (dimension + 1)..][..dimension + 1];
            let of = |anchor: u32| map(found.assignment[anchor as usize]);
            for (assignment, values) in ASSIGNMENTS.iter().zip(&mut reduced[number * ASSIGNMENTS.len()..]) {
                values.par_chunks_exact_mut(outputs).enumerate().for_each(|(n, values)| {
                    let point = &x[n * dimension..][..dimension];
                    values[k] = match assignment {
                        Assignment::Own => at(map(own[n]), point),
                        Assignment::Nearest => at(of(nearest[n]), point),
                        Assignment::Envelope => {
                            let halves = active.each_ref().map(|pieces| of(pieces[n * outputs + k]));
                            f64::midpoint(at(halves[0], point), at(halves[1], point))
                        }
                    };
                });
            }
        }
    }
    let own = classes(&exact, outputs);
    let deviation = {
        let mean = exact.iter().sum::<f64>() / exact.len() as f64;
        (exact.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / exact.len() as f64).sqrt()
    };
    let kinds = settings.clusters.iter().flat_map(|&clusters| ASSIGNMENTS.map(|kind| (clusters, kind)));
    let rows = kinds.zip(&reduced).map(|((clusters, assignment), values)| {
        let squares: f64 = values.iter().zip(&exact).map(|(a, b)| (a - b).powi(2)).sum();
        Reduced {
            clusters,
            assignment,
            accuracy: labels.map(|labels| agreement(values, outputs, labels)),
            agreement: agreement(values, outputs, &own),
            relative_rmse: (squares / exact.len() as f64).sqrt() / deviation,
        }
    });
    Ok(Reductions {
        accuracy: labels.map(|labels| agreement(&exact, outputs, labels)),
        rows: rows.collect(),
        seconds: start.elapsed().as_secs_f64(),
    })
}

/// The nearest anchor of each of the points `[N, D]`, of equals the first.
fn nearest<E: SplineEngine>(
    program: &Program<E>,
    anchors: &Dataset,
    points: &[E::Scalar],
    context: &Context,
) -> Result<Vec<u32>> {
    // From the middle of the anchors: expanded distances lose digits in proportion to the points' own size.
    let centers = anchors.rows::<E::Scalar>(0..anchors.len())?.into_raw_vec_and_offset().0;
    let origin = mean(&centers, program.dimension());
    let table = Table::from(&origin, points.to_vec());
    let centers = Table::from(&origin, centers);
    let assigner = Assigner::new(program.engine(), &table, anchors.len(), context)?;
    assigner.assign(centers.range(0..anchors.len()), context)
}

/// The anchors that are active in the lower and in the upper half of the spline of all anchors, `[N, K]` each.
fn active<E: SplineEngine>(
    program: &Program<E>,
    anchors: &Dataset,
    points: &Dataset,
    curvature: f64,
    context: &Context,
) -> Result<[Vec<u32>; 2]> {
    let outputs = program.outputs();
    let source = NetworkJets::new(program, anchors.clone(), (0..outputs).collect())?;
    let spec = EnvelopeSpec::single(vec![Curvature::isotropic(curvature); outputs]);
    let slots = vec![0; source.anchors()];
    let mut halves = [(); 2].map(|()| Vec::with_capacity(points.len() * outputs));
    envelopes(&source, points, &spec, &slots, Demand::default(), context, |block| {
        // [K, N] to [N, K]
        let count = block.range.len();
        let pieces = [&block.envelopes.lower_piece, &block.envelopes.upper_piece];
        for (half, pieces) in halves.iter_mut().zip(pieces) {
            half.extend((0..count).flat_map(|n| (0..outputs).map(move |k| pieces[k * count + n])));
        }
        Ok(())
    })?;
    Ok(halves)
}
