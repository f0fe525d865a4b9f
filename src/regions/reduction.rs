//! Networks with few affine maps in the place of many (Sattelberg, Cavalieri, Kirby, Peterson & Beveridge 2020).

use std::ops::Range;
use std::time::Instant;

use rayon::prelude::*;
use serde::Serialize;

use crate::data::Dataset;
use crate::engine::{Context, Curvature, EnvelopeSpec, SplineEngine};
use crate::network::Program;
use crate::spline::selection::{Assigner, Table, k_means};
use crate::spline::{Demand, JetSource, NetworkJets, envelopes};
use crate::{Error, Result, Scalar};

use super::affine_rows::{affine_rows, agreement, at, classes, mean};

/// What is clustered together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Grouping {
    /// For each output its rows at all anchors. Maps of outputs combine freely.
    Output,
    /// For each class that the network gives the whole maps, the rows of all outputs together, of the anchors in it.
    Class,
}

/// What decides which of the few maps a point takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Assignment {
    /// The mean that is nearest to the point's own affine rows, of the output or of the point's own class: as published.
    /// Needs the network.
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
    /// What is clustered together, one way after the other.
    pub groupings: Vec<Grouping>,
    /// Numbers of clusters for each output or class, each from 1 to the number of anchors. A class with fewer anchors has
    /// a cluster for each.
    pub clusters: Vec<usize>,
    /// The curvature of the spline of [`Assignment::Envelope`].
    pub curvature: f64,
}

/// How well a reduced network does.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reduced {
    /// What was clustered together.
    pub grouping: Grouping,
    /// Maps for each output or class.
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
    /// By grouping and numbers of clusters, as asked for, and within one by assignment.
    pub rows: Vec<Reduced>,
    /// Seconds for the rows and clusters of all outputs.
    pub seconds: f64,
}

/// Reduces a network: the affine rows `(gradient, offset)` at all anchors are clustered by k-means, and at a point the
/// mean of a cluster takes the place of its own rows.
///
/// One group after the other, an output or a class, its rows at anchors and points are held.
///
/// # Errors
/// [`Error::Argument`] for a number of clusters that is 0 or above that of anchors, labels that are not as many as points,
/// or a class of points that no anchor has; [`Error::Memory`] where the rows of one group do not fit; as [`affine_rows`]
/// and [`envelopes`].
pub fn reduce<E: SplineEngine>(
    program: &Program<E>,
    anchors: &Dataset,
    points: &Dataset,
    labels: Option<&[u32]>,
    settings: &Settings,
    context: &Context,
) -> Result<Reductions> {
    let (outputs, dimension, count) = (program.outputs(), program.dimension(), points.len());
    [anchors, points].into_iter().try_for_each(|data| data.check_rows(dimension))?;
    if let Some(wrong) = settings.clusters.iter().find(|n| !(1..=anchors.len()).contains(*n)) {
        return Err(Error::Argument(format!(
            "{wrong} clusters of {} anchors: expected 1 to that",
            anchors.len()
        )));
    }
    if let Some(labels) = labels.filter(|labels| labels.len() != count) {
        return Err(Error::Argument(format!("{} labels for {count} points", labels.len())));
    }
    let start = Instant::now();
    let values = |data: &Dataset| -> Result<Vec<f64>> {
        let x = data.rows::<E::Scalar>(0..data.len())?;
        Ok(program.values(x.view(), context)?.iter().map(|v| v.f64()).collect())
    };
    let exact = values(points)?;
    let own = classes(&exact, outputs);
    let of_anchors = classes(&values(anchors)?, outputs);
    let nearest = nearest(program, anchors, points, context)?;
    let active = active(program, anchors, points, settings.curvature, context)?;
    let deviation = {
        let mean = exact.iter().sum::<f64>() / exact.len() as f64;
        (exact.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / exact.len() as f64).sqrt()
    };

    let mut rows = vec![];
    for &grouping in &settings.groupings {
        // [clusters, assignment, N, K]
        let mut reduced = vec![vec![0.0; count * outputs]; settings.clusters.len() * ASSIGNMENTS.len()];
        for number in 0..outputs {
            let group = match grouping {
                Grouping::Output => Group {
                    outputs: number..number + 1,
                    anchors: (0..anchors.len()).collect(),
                    points: (0..count).collect(),
                },
                Grouping::Class => Group {
                    outputs: 0..outputs,
                    anchors: of_class(&of_anchors, number),
                    points: of_class(&own, number),
                },
            };
            if let (true, Some(point)) = (group.anchors.is_empty(), group.points.first()) {
                return Err(Error::Argument(format!(
                    "no anchor is of class {number}, as point {point} is: expected anchors of every class"
                )));
            }
            if !group.anchors.is_empty() {
                let taken = Taken { nearest: &nearest, active: &active };
                group.reduce(program, [anchors, points], settings, &taken, &mut reduced, context)?;
            }
        }
        let kinds = settings.clusters.iter().flat_map(|&clusters| ASSIGNMENTS.map(|kind| (clusters, kind)));
        rows.extend(kinds.zip(&reduced).map(|((clusters, assignment), values)| {
            let squares: f64 = values.iter().zip(&exact).map(|(a, b)| (a - b).powi(2)).sum();
            Reduced {
                grouping,
                clusters,
                assignment,
                accuracy: labels.map(|labels| agreement(values, outputs, labels)),
                agreement: agreement(values, outputs, &own),
                relative_rmse: (squares / exact.len() as f64).sqrt() / deviation,
            }
        }));
    }
    Ok(Reductions {
        accuracy: labels.map(|labels| agreement(&exact, outputs, labels)),
        rows,
        seconds: start.elapsed().as_secs_f64(),
    })
}

/// The rows of a class, ascending.
fn of_class(classes: &[u32], class: usize) -> Vec<usize> {
    (0..classes.len()).filter(|&i| classes[i] as usize == class).collect()
}

/// The anchors that points take: the nearest one `[N]`, and those active in both halves `[N, K]`.
struct Taken<'a> {
    nearest: &'a [u32],
    active: &'a [Vec<u32>; 2],
}

/// What is clustered together: the rows of outputs at anchors, and the points that look for their own among their means.
struct Group {
    outputs: Range<usize>,
    anchors: Vec<usize>,
    points: Vec<usize>,
}

impl Group {
    /// Adds what the group gives to the values `[clusters, assignment, N, K]` at points.
    fn reduce<E: SplineEngine>(
        &self,
        program: &Program<E>,
        [anchors, points]: [&Dataset; 2],
        settings: &Settings,
        taken: &Taken<'_>,
        reduced: &mut [Vec<f64>],
        context: &Context,
    ) -> Result<()> {
        let (outputs, dimension, all) = (program.outputs(), program.dimension(), points.len());
        let width = self.outputs.len() * (dimension + 1);
        let most = settings.clusters.iter().copied().max().unwrap_or_default().min(self.anchors.len());
        let held = (self.anchors.len() + 2 * self.points.len()) * width * size_of::<E::Scalar>()
            + most * width * size_of::<f64>()
            + reduced.len() * all * outputs * size_of::<f64>()
            + (2 * outputs + 1) * all * size_of::<u32>();
        let (held, budget) = (held as u64, context.memory());
        if 2 * held > budget {
            let what = format!(
                "the affine rows of {} outputs at {} anchors and {} points",
                self.outputs.len(),
                self.anchors.len(),
                self.points.len()
            );
            return Err(Error::Memory { what, needed: 2 * held, budget });
        }
        let inner = &context.clone().with_memory(budget - held);
        let chosen: Vec<usize> = self.outputs.clone().collect();
        let rows = |data: &Dataset, which: &[usize]| {
            let mut values = Vec::with_capacity(which.len() * width);
            affine_rows(program, &data.select(which)?, &chosen, inner, |_, rows| {
                values.extend_from_slice(rows);
                Ok(())
            })?;
            Ok::<_, Error>(values)
        };
        let of_anchors = rows(anchors, &self.anchors)?;
        let origin = mean(&of_anchors, width);
        let of_anchors = Table::from(&origin, of_anchors);
        let of_points = Table::from(&origin, rows(points, &self.points)?);
        let x = points.rows::<E::Scalar>(0..all)?.into_raw_vec_and_offset().0;
        for (&clusters, reduced) in settings.clusters.iter().zip(reduced.chunks_mut(ASSIGNMENTS.len())) {
            let clusters = clusters.min(self.anchors.len());
            let found = k_means(program.engine(), &of_anchors, clusters, context.seed(), inner)?;
            let centers: Vec<E::Scalar> = found.means.iter().copied().map(E::Scalar::of).collect();
            let own =
                Assigner::new(program.engine(), &of_points, clusters, inner)?.assign(&centers, inner)?;
            let shifted = found.means.iter().zip(origin.iter().cycle()).map(|(mean, origin)| mean + origin);
            let maps: Vec<f64> = shifted.collect();
            // The number of clusters where a point or an anchor is of another group.
            let spread = |all: usize, which: &[usize], clusters: &[u32]| {
                let mut of = vec![None; all];
                which.iter().zip(clusters).for_each(|(&i, &cluster)| of[i] = Some(cluster));
                of
            };
            let own = spread(all, &self.points, &own);
            let of_anchor = spread(anchors.len(), &self.anchors, &found.assignment);
            for (assignment, values) in ASSIGNMENTS.iter().zip(reduced) {
                values.par_chunks_exact_mut(outputs).enumerate().for_each(|(n, values)| {
                    for k in self.outputs.clone() {
                        let value = |cluster: Option<u32>| {
                            let row = cluster.map(|cluster| {
                                let first =
                                    cluster as usize * width + (k - self.outputs.start) * (dimension + 1);
                                &maps[first..][..dimension + 1]
                            });
                            row.map_or(0.0, |row| at(row, &x[n * dimension..][..dimension]))
                        };
                        values[k] += match assignment {
                            Assignment::Own => value(own[n]),
                            Assignment::Nearest => value(of_anchor[taken.nearest[n] as usize]),
                            Assignment::Envelope => {
                                let halves = taken.active.each_ref();
                                let halves =
                                    halves.map(|pieces| value(of_anchor[pieces[n * outputs + k] as usize]));
                                f64::midpoint(halves[0], halves[1])
                            }
                        };
                    }
                });
            }
        }
        Ok(())
    }
}

/// The nearest anchor of each point, of equals the first.
fn nearest<E: SplineEngine>(
    program: &Program<E>,
    anchors: &Dataset,
    points: &Dataset,
    context: &Context,
) -> Result<Vec<u32>> {
    // From the middle of the anchors: expanded distances lose digits in proportion to the points' own size.
    let rows =
        |data: &Dataset| Ok::<_, Error>(data.rows::<E::Scalar>(0..data.len())?.into_raw_vec_and_offset().0);
    let centers = rows(anchors)?;
    let origin = mean(&centers, program.dimension());
    let table = Table::from(&origin, rows(points)?);
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
