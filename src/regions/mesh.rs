//! How polygons meet: corners that are one point, edges between two regions, degrees of vertices.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::polygon::Point;

/// Corners nearer than this are one vertex, unless they belong to one polygon: the same point, computed on both sides of
/// an edge, differs by rounding.
pub(super) const NEAR: f64 = 1e-11;

/// Sides of the cells that vertices are looked up in.
const CELL: f64 = 1.0 / (1_u64 << 28) as f64;

/// Corners of polygons as numbers of vertices: `(vertices, corners)`, of vertices the first corner that was there.
pub(super) fn weld<'a>(polygons: impl Iterator<Item = &'a [Point]>, room: usize) -> (Vec<Point>, Vec<u32>) {
    let mut vertices: Vec<Point> = Vec::with_capacity(room / 3);
    // The vertex before in the same cell.
    let mut before: Vec<u32> = Vec::with_capacity(room / 3);
    let mut cells: HashMap<(i32, i32), u32, BuildHasherDefault<Mix>> = HashMap::default();
    let mut corners = Vec::with_capacity(room);
    for polygon in polygons {
        let first = corners.len();
        for &point in polygon {
            let mut nearest = (u32::MAX, NEAR);
            let sides =
                point.map(|x| [((x - NEAR) / CELL).floor() as i32, ((x + NEAR) / CELL).floor() as i32]);
            for row in sides[1][0]..=sides[1][1] {
                for column in sides[0][0]..=sides[0][1] {
                    let mut at = cells.get(&(column, row)).copied().unwrap_or(u32::MAX);
                    while at != u32::MAX {
                        let [s, t] = vertices[at as usize];
                        let distance = (s - point[0]).abs().max((t - point[1]).abs());
                        if distance < nearest.1 && !corners[first..].contains(&at) {
                            nearest = (at, distance);
                        }
                        at = before[at as usize];
                    }
                }
            }
            if nearest.0 == u32::MAX {
                nearest.0 = vertices.len() as u32;
                let cell = point.map(|x| (x / CELL).floor() as i32);
                before.push(cells.insert((cell[0], cell[1]), nearest.0).unwrap_or(u32::MAX));
                vertices.push(point);
            }
            corners.push(nearest.0);
        }
    }
    (vertices, corners)
}

/// Hashes a few integers well enough for cells, in a few cycles.
#[derive(Default)]
pub(super) struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 29
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u32(byte.into()));
    }

    fn write_i32(&mut self, i: i32) {
        self.write_u32(i.cast_unsigned());
    }

    fn write_u32(&mut self, i: u32) {
        self.0 = (self.0.rotate_left(26) ^ u64::from(i)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// A side of a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    /// Its vertices; the region is on the left of the way from the first to the second.
    pub vertices: [u32; 2],
    /// The region, and the one on the other side: `None` at the border of the slice.
    pub regions: (u32, Option<u32>),
}

/// How the regions of a partition meet.
#[derive(Debug, Clone)]
pub struct Mesh {
    /// Each once, with the region of the lower number first, in the order of these.
    pub edges: Vec<Edge>,
    /// How many edges end at each vertex.
    pub degrees: Vec<u32>,
    /// Edges within the slice that have a region on one side only: their ends are apart from those of their neighbours by
    /// more than rounding, where lines cross at a very small angle.
    pub open: usize,
}

impl Mesh {
    /// From polygons of vertices.
    pub(super) fn new(vertices: &[Point], ends: &[usize], corners: &[u32]) -> Self {
        let mut numbers: HashMap<(u32, u32), u32, BuildHasherDefault<Mix>> = HashMap::default();
        let mut edges: Vec<Edge> = vec![];
        let mut degrees = vec![0; vertices.len()];
        let mut first = 0;
        for (region, &end) in ends.iter().enumerate() {
            let polygon = &corners[first..end];
            first = end;
            for (i, &from) in polygon.iter().enumerate() {
                let to = polygon[(i + 1) % polygon.len()];
                match numbers.remove(&(to, from)) {
                    Some(edge) => edges[edge as usize].regions.1 = Some(region as u32),
                    None => {
                        numbers.insert((from, to), edges.len() as u32);
                        edges.push(Edge { vertices: [from, to], regions: (region as u32, None) });
                    }
                }
            }
        }
        for vertex in edges.iter().flat_map(|edge| edge.vertices) {
            degrees[vertex as usize] += 1;
        }
        let at_border = |edge: &Edge| {
            let [a, b] = edge.vertices.map(|vertex| vertices[vertex as usize]);
            (0..2).any(|i| (a[i] == b[i]) && a[i].abs() == 1.0)
        };
        let open = edges.iter().filter(|edge| edge.regions.1.is_none() && !at_border(edge)).count();
        Self { edges, degrees, open }
    }
}
