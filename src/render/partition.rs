//! Pictures of exact partitions: each pixel is in one polygon, whose affine map gives its value.

use rayon::prelude::*;

use crate::engine::{Context, Engine};
use crate::regions::{Partition, Point};
use crate::{Error, Result, Scalar};

use super::field::two_largest;
use super::{Band, Field, Quantity};

/// Rows that one task draws.
const STRIP: usize = 16;

/// No polygon.
const NONE: u32 = u32::MAX;

/// A partition, drawn: the cost is that of the pixels alone. A pixel belongs to the polygon that its centre is in; where
/// it is on an edge, to the one on the right, or above.
pub struct PartitionField<'a> {
    partition: &'a Partition,
    /// `None` draws the regions.
    quantity: Option<Quantity>,
    outputs: Vec<usize>,
    /// The lowest and the highest `t` of each region.
    heights: Vec<[f64; 2]>,
}

impl<'a> PartitionField<'a> {
    /// A quantity of the chosen `outputs`.
    ///
    /// # Errors
    /// [`Error::Argument`] for an output that is not there or chosen twice, and where there are too few or too many for
    /// the quantity: one for a value, at least two else.
    pub fn new(partition: &'a Partition, quantity: Quantity, outputs: &[usize]) -> Result<Self> {
        quantity.check(outputs, partition.outputs())?;
        Ok(Self { quantity: Some(quantity), outputs: outputs.to_vec(), ..Self::regions(partition) })
    }

    /// Which region each pixel is in, by its number in the partition.
    pub fn regions(partition: &'a Partition) -> Self {
        let heights = (0..partition.len()).into_par_iter().map(|i| {
            let start = [f64::INFINITY, f64::NEG_INFINITY];
            partition.polygon(i).fold(start, |[low, high], [_, t]| [low.min(t), high.max(t)])
        });
        Self { partition, quantity: None, outputs: vec![], heights: heights.collect() }
    }

    /// The region of each point of a strip of rows, given the regions that reach into it.
    fn fill(&self, regions: &[u32], across: &[f64], up: &[f64], owners: &mut [u32]) {
        owners.fill(NONE);
        let mut corners: Vec<Point> = vec![];
        for &region in regions {
            let [low, high] = self.heights[region as usize];
            corners.clear();
            corners.extend(self.partition.polygon(region as usize));
            let rows = up.iter().enumerate().filter(|(_, t)| (low..high).contains(*t));
            for (row, &t) in rows {
                let [left, right] = span(&corners, t).map(|s| first_from(across, s));
                if left < right {
                    owners[row * across.len()..][left..right].fill(region);
                }
            }
        }
        if owners.contains(&NONE) {
            close(owners, across.len());
        }
    }

    /// What is drawn at the points `across` of a row at height `t`, given the regions that they are in.
    fn row(&self, regions: &[u32], across: &[f64], t: f64, drawn: &mut Vec<f64>) {
        let mut first = 0;
        for run in regions.chunk_by(|a, b| a == b) {
            let across = &across[first..first + run.len()];
            first += run.len();
            let region = self.partition.region(run[0] as usize);
            let two = |s: f64| two_largest(self.outputs.iter().map(|&k| region.value(k, [s, t])));
            let class = |s: f64| self.outputs[two(s).0] as f64;
            match self.quantity {
                None => drawn.extend(run.iter().map(|&region| f64::from(region))),
                Some(Quantity::Value) => {
                    drawn.extend(across.iter().map(|&s| region.value(self.outputs[0], [s, t])));
                }
                Some(Quantity::Class) => {
                    // What is the largest of affine functions at both ends is so between.
                    let ends = [across[0], across[across.len() - 1]].map(class);
                    if ends[0] == ends[1] {
                        drawn.extend(across.iter().map(|_| ends[0]));
                    } else {
                        drawn.extend(across.iter().map(|&s| class(s)));
                    }
                }
                Some(Quantity::Margin) => drawn.extend(across.iter().map(|&s| {
                    let (_, largest, second) = two(s);
                    largest - second
                })),
            }
        }
    }
}

/// Where a row at height `t` enters a convex polygon and where it leaves it. The ends of each edge are taken in the order
/// of their heights, so that both of its sides get the same number.
fn span(corners: &[Point], t: f64) -> [f64; 2] {
    let (mut left, mut right) = (f64::INFINITY, f64::NEG_INFINITY);
    for (i, &from) in corners.iter().enumerate() {
        let to = corners[if i + 1 == corners.len() { 0 } else { i + 1 }];
        let (low, high) = if from[1] <= to[1] { (from, to) } else { (to, from) };
        if low[1] <= t && t < high[1] {
            let s = low[0] + (t - low[1]) / (high[1] - low[1]) * (high[0] - low[0]);
            // Anticlockwise, edges that go up are on the right.
            if from[1] < to[1] { right = s } else { left = s }
        }
    }
    [left, right]
}

/// The first of ascending, nearly even numbers that is at least `s`.
fn first_from(across: &[f64], s: f64) -> usize {
    let count = across.len();
    let step = (across[count - 1] - across[0]) / (count - 1).max(1) as f64;
    let guess = ((s - across[0]) / step).ceil();
    // NaN and what is below 0 become 0.
    let mut at = (guess as usize).min(count);
    while at > 0 && across[at - 1] >= s {
        at -= 1;
    }
    while at < count && across[at] < s {
        at += 1;
    }
    at
}

/// Gives points between polygons that do not quite meet to a neighbour, which has the same value there.
fn close(owners: &mut [u32], width: usize) {
    for row in 0..owners.len() / width {
        for column in 0..width {
            let at = row * width + column;
            if owners[at] == NONE {
                let before = (column > 0).then(|| owners[at - 1]);
                let after = || owners[at..(row + 1) * width].iter().copied().find(|&owner| owner != NONE);
                owners[at] = before.or_else(after).unwrap_or(0);
            }
        }
    }
}

impl<E: Engine> Field<E> for PartitionField<'_> {
    fn is_categorical(&self) -> bool {
        matches!(self.quantity, None | Some(Quantity::Class))
    }

    fn band(&self, across: &[E::Scalar], up: &[E::Scalar], first: usize, context: &Context) -> Result<Band> {
        context.check()?;
        let (across, up): (Vec<f64>, Vec<f64>) =
            (across.iter().map(|s| s.f64()).collect(), up.iter().map(|t| t.f64()).collect());
        let (width, total) = (across.len(), across.len() * up.len());
        let needed = (total * (2 * size_of::<u32>())) as u64;
        if needed > context.memory() && up.len() > 1 {
            // Rows one after the other take as much as they must.
            let (above, below) = up.split_at(up.len() / 2);
            let scalars = |x: &[f64]| x.iter().map(|&x| E::Scalar::of(x)).collect::<Vec<_>>();
            let across = scalars(&across);
            let one = Field::<E>::band(self, &across, &scalars(above), first, context)?;
            let other =
                Field::<E>::band(self, &across, &scalars(below), first + above.len() * width, context)?;
            return Ok(match (one, other) {
                (Band::Numbers(one), Band::Numbers(other)) => Band::Numbers([one, other].concat()),
                (Band::Categories(one), Band::Categories(other)) => Band::Categories([one, other].concat()),
                _ => unreachable!("a field has values of one kind"),
            });
        }
        // The regions that reach into each strip of rows, ascending.
        let mut strips: Vec<Vec<u32>> = vec![vec![]; up.len().div_ceil(STRIP)];
        for (region, &[low, high]) in self.heights.iter().enumerate() {
            // Heights descend: the first row not above the polygon, and the first below it.
            let rows = up.partition_point(|&t| t >= high)..up.partition_point(|&t| t >= low);
            if !rows.is_empty() {
                for strip in &mut strips[rows.start / STRIP..=(rows.end - 1) / STRIP] {
                    strip.push(region as u32);
                }
            }
        }
        let mut owners = vec![NONE; total];
        owners
            .par_chunks_mut(STRIP * width)
            .zip(&strips)
            .zip(up.par_chunks(STRIP))
            .for_each(|((owners, regions), up)| self.fill(regions, &across, up, owners));
        if self.quantity.is_none() {
            return Ok(Band::Categories(owners));
        }
        let rows = owners.par_chunks(width).zip(&up).map(|(owners, &t)| {
            let mut drawn = Vec::with_capacity(width);
            self.row(owners, &across, t, &mut drawn);
            drawn
        });
        if Field::<E>::is_categorical(self) {
            let classes = rows.flat_map_iter(|row| row.into_iter().map(|class| class as u32));
            return Ok(Band::Categories(classes.collect()));
        }
        let numbers: Vec<f32> = rows.flat_map_iter(|row| row.into_iter().map(|value| value as f32)).collect();
        match numbers.iter().position(|value| !value.is_finite()) {
            Some(at) => {
                let what = "the network at the points of a picture, counted row by row".to_owned();
                Err(Error::NonFinite { what, row: first + at })
            }
            None => Ok(Band::Numbers(numbers)),
        }
    }
}
