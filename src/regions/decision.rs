//! Which output is the largest, exactly: a partition refined by classes, and the boundaries between them.

use crate::{Error, Result};

use super::largest::Functions;
use super::mesh::{Mesh, weld};
use super::partition::Partition;
use super::polygon::{Point, area};

/// What of a difference of two outputs is rounding, in units of their sizes.
const ROUNDING: f64 = 16.0 * f64::EPSILON;

/// A partition refined by which of some outputs is the largest, of equals the first.
#[derive(Debug, Clone)]
pub struct Classes {
    vertices: Vec<Point>,
    ends: Vec<usize>,
    corners: Vec<u32>,
    /// The class of each part.
    classes: Vec<u32>,
    /// The region that each part lies in.
    regions: Vec<u32>,
    areas: Vec<f64>,
}

/// A piece of a decision boundary, on which two outputs are the largest and equal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Segment {
    /// Its ends.
    pub ends: [Point; 2],
    /// The class on the left of the way from the first end to the second, and that on the right.
    pub classes: [u32; 2],
}

impl Partition {
    /// The parts of each region on which each of the chosen `outputs` is the largest.
    ///
    /// # Errors
    /// [`Error::Argument`] for fewer than two outputs, or one that is not there.
    pub fn classes(&self, outputs: &[usize]) -> Result<Classes> {
        if outputs.len() < 2 {
            return Err(Error::Argument(format!("classes need at least two outputs, not {}", outputs.len())));
        }
        if let Some(wrong) = outputs.iter().find(|&&k| k >= self.outputs()) {
            return Err(Error::Argument(format!("output {wrong} of a network with {}", self.outputs())));
        }
        let (mut polygons, mut classes, mut regions): (Vec<Vec<Point>>, _, _) = (vec![], vec![], vec![]);
        let mut values = vec![];
        for (i, region) in self.regions().enumerate() {
            let corners: Vec<Point> = self.polygon(i).collect();
            let size = |&k: &usize| {
                region.slopes[2 * k..2 * k + 2].iter().map(|slope| slope.abs()).sum::<f64>()
                    + region.offsets[k].abs()
            };
            let rounding = ROUNDING * outputs.iter().map(size).fold(0.0, f64::max);
            let value = |at: usize, point: Point| region.value(outputs[at], point);
            let functions = Functions { count: outputs.len(), value, rounding };
            let parts = match functions.winner(&corners, &mut values) {
                Some(winner) => vec![(winner, corners)],
                None => functions.parts(&corners),
            };
            for (class, corners) in parts {
                classes.push(outputs[class as usize] as u32);
                regions.push(i as u32);
                polygons.push(corners);
            }
        }
        let areas = polygons.iter().map(|corners| area(corners)).collect();
        let room = polygons.iter().map(Vec::len).sum();
        let (vertices, corners) = weld(polygons.iter().map(|corners| &corners[..]), room);
        let mut end = 0;
        let ends = polygons.iter().map(|corners| {
            end += corners.len();
            end
        });
        Ok(Classes { vertices, ends: ends.collect(), corners, classes, regions, areas })
    }
}

impl Classes {
    /// How many parts there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none; there always is one.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The class of each part: the number of its largest output.
    pub fn classes(&self) -> &[u32] {
        &self.classes
    }

    /// The region that each part lies in.
    pub fn regions(&self) -> &[u32] {
        &self.regions
    }

    /// The area of each part.
    pub fn areas(&self) -> &[f64] {
        &self.areas
    }

    /// The corners of a part.
    pub fn polygon(&self, i: usize) -> impl ExactSizeIterator<Item = Point> + '_ {
        let first = if i == 0 { 0 } else { self.ends[i - 1] };
        self.corners[first..self.ends[i]].iter().map(|&vertex| self.vertices[vertex as usize])
    }

    /// How the parts meet.
    pub fn mesh(&self) -> Mesh {
        Mesh::new(&self.vertices, &self.ends, &self.corners)
    }

    /// The decision boundary: every edge with one class on one side and another on the other.
    pub fn boundary(&self) -> Vec<Segment> {
        let segment = |edge: &super::Edge| {
            let (region, other) = edge.regions;
            let classes = [region, other?].map(|part| self.classes[part as usize]);
            let ends = edge.vertices.map(|vertex| self.vertices[vertex as usize]);
            (classes[0] != classes[1]).then_some(Segment { ends, classes })
        };
        self.mesh().edges.iter().filter_map(segment).collect()
    }
}
