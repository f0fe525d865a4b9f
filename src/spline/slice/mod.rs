//! A spline on a 2-D slice `x = origin + s u + t v` of its space: planes of three coefficients and one quadratic.
//!
//! With `T_i(x) = v_i + J_i (x - x_i)` and `d_i = |origin - x_i|`,
//!
//! ```text
//! L(x) = max_i (p_i s + q_i t + r_i) - (a/2) |s u + t v|^2
//! p_i = J_i . u + a (x_i - origin) . u,   q_i = J_i . v + a (x_i - origin) . v,   r_i = T_i(origin) - (a/2) d_i^2
//! ```
//!
//! and `-U(x)` is the same of the negated tangents, with `b`. Whatever the dimension of the space, a pair of pixel and
//! anchor then costs two multiplications, and most pairs need not be looked at
//! ([`SplineEngine::slice`](crate::engine::SplineEngine::slice)).

mod image;
mod planes;

use crate::tolerance::CLOSE;
use crate::{Error, Result, Scalar};

pub use image::{SliceImage, Sliced};
pub use planes::planes;

/// How much larger than the points of [`Slice::through`] a slice is.
const MARGIN: f64 = 1.25;

/// The points `origin + s u + t v`; pictures show `s` and `t` in `[-1, 1]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Slice {
    /// The point in the middle `[D]`.
    pub origin: Vec<f64>,
    /// From the middle to the right edge `[D]`.
    pub u: Vec<f64>,
    /// From the middle to the upper edge `[D]`.
    pub v: Vec<f64>,
}

impl Slice {
    /// The slice through three points `[D]`.
    ///
    /// `u` has the direction from the first point to the second, `v` is orthogonal to it, with the third point on the
    /// upper side of the line through the first two. Both have the same length, so that a square picture shows all
    /// distances and angles as they are. `origin` is the centre of the rectangle along `u` and `v` that bounds the
    /// points, whose longer side is 4/5 of the picture's: the points have `s` and `t` in `[-0.8, 0.8]`.
    ///
    /// # Errors
    /// [`Error::Shape`] for points of different lengths; [`Error::NonFinite`] with the number of a point that holds a
    /// NaN or an infinity; [`Error::Argument`] where two coincide or all lie on one line: where the lowest height of
    /// the triangle is at most 1e-5 of its longest side, what the slice shows would be rounding.
    pub fn through(points: [&[f64]; 3]) -> Result<Self> {
        let dimension = points[0].len();
        if let Some(other) = points.iter().find(|point| point.len() != dimension) {
            let lengths = [dimension, other.len()];
            return Err(Error::Shape(format!("points of {lengths:?} elements do not span a slice")));
        }
        if let Some(row) = points.iter().position(|point| !point.iter().all(|x| x.is_finite())) {
            return Err(Error::NonFinite { what: "the points of a slice".to_owned(), row });
        }
        let [along, other] = [1, 2].map(|i| moved(points[i], -1.0, points[0]));
        let [width, distance, between] =
            [norm(&along), norm(&other), norm(&moved(points[2], -1.0, points[1]))];
        let longest = width.max(distance).max(between);
        let pairs = [([0, 1], width), ([0, 2], distance), ([1, 2], between)];
        if let Some(([i, j], _)) = pairs.iter().find(|(_, length)| *length <= CLOSE * longest) {
            return Err(Error::Argument(format!(
                "points {i} and {j} coincide: a slice needs three points that do not lie on one line"
            )));
        }
        let right = scaled(&along, 1.0 / width);
        let foot = dot(&other, &right);
        let upwards = moved(&other, -foot, &right);
        let height = norm(&upwards);
        // The lowest of a triangle's heights stands on its longest side.
        if width * height <= CLOSE * longest * longest {
            return Err(Error::Argument(
                "points 0, 1 and 2 lie on one line: a slice needs three points that do not".to_owned(),
            ));
        }
        let (low, high) = (foot.min(0.0), foot.max(width));
        let half = MARGIN * (high - low).max(height) / 2.0;
        let origin = moved(&moved(points[0], (low + high) / 2.0, &right), 0.5, &upwards);
        Ok(Self { origin, u: scaled(&right, half), v: scaled(&upwards, half / height) })
    }

    /// The point at `s` and `t` `[D]`.
    pub fn point(&self, s: f64, t: f64) -> Vec<f64> {
        moved(&moved(&self.origin, s, &self.u), t, &self.v)
    }

    /// Two orthonormal directions along it.
    pub fn frame(&self) -> Frame {
        let a = norm(&self.u);
        let b = over(dot(&self.u, &self.v), a);
        Frame { a, b, c: norm(&moved(&self.v, -over(b, a), &self.u)) }
    }
}

/// Two orthonormal directions along a slice: `e` along `u`, and `f` with `v = b e + c f`, `c >= 0`; `u = a e`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Frame {
    a: f64,
    b: f64,
    c: f64,
}

impl Frame {
    /// `s u + t v` along the two directions.
    pub fn point(self, s: f64, t: f64) -> [f64; 2] {
        [s * self.a + t * self.b, t * self.c]
    }

    /// The products of a vector with the two directions, from those with `u` and `v`: of a gradient, its part along
    /// the slice. 0 along a direction that the slice lacks.
    pub fn along(self, [u, v]: [f64; 2]) -> [f64; 2] {
        let first = over(u, self.a);
        [first, over(v - self.b * first, self.c)]
    }
}

/// 0 over 0.
fn over(x: f64, length: f64) -> f64 {
    if length > 0.0 { x / length } else { 0.0 }
}

/// `x + factor y`
fn moved(x: &[f64], factor: f64, y: &[f64]) -> Vec<f64> {
    x.iter().zip(y).map(|(x, y)| x + factor * y).collect()
}

fn scaled(x: &[f64], factor: f64) -> Vec<f64> {
    x.iter().map(|x| factor * x).collect()
}

fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

fn norm(x: &[f64]) -> f64 {
    dot(x, x).sqrt()
}

/// The coordinate of the centre of the `i`-th of `count` equal parts of `[-1, 1]`.
pub fn center<S: Scalar>(i: usize, count: usize) -> S {
    S::of((2.0 * i as f64 + 1.0 - count as f64) / count as f64)
}

/// The coordinates of pixel centres of a picture of `[H, W]` pixels: `s` of its columns `[W]`, from left to right, and
/// `t` of its rows `[H]`, from the top down (row 0 has the largest).
pub fn pixels<S: Scalar>([height, width]: [usize; 2]) -> [Vec<S>; 2] {
    let across = (0..width).map(|i| center(i, width)).collect();
    let up = (0..height).rev().map(|i| center(i, height)).collect();
    [across, up]
}
