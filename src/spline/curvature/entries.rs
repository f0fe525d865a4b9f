//! Bounds on Hessians of any smooth network: an interval for each entry.
//!
//! A symmetric matrix with entries within `R` of `C` has no eigenvalue above the largest of `C` plus that of a diagonal
//! majorant of `R`. Entries `(i, j)` and `(j, i)` are computed apart, and both hold.

use ndarray::Array2;

use super::proved::{Bound, Region};
use super::spectrum::{around, majorant, top};
use crate::engine::{Dual, Engine, Interval};
use crate::network::Program;
use crate::{Error, Result};

/// Bounds for each of `regions`, side by side through the program.
pub(super) fn bounds(
    program: &Program<Dual<Interval>>,
    outputs: &[usize],
    regions: &[Region],
) -> Result<Vec<Bound>> {
    let over = |region: &Region| [region.low.clone(), region.high.clone()];
    let at = |region: &Region| [region.center(), region.center()];
    let wide = curvatures(program, outputs, regions.iter().map(over))?;
    let narrow = curvatures(program, outputs, regions.iter().map(at))?;
    let of = |(region, (curvature, center)): (&Region, _)| Bound {
        curvature,
        center,
        influence: region.low.iter().zip(&region.high).map(|(low, high)| high - low).collect(),
    };
    Ok(regions.iter().zip(wide.into_iter().zip(narrow)).map(of).collect())
}

/// Bounds on both curvatures of each output over boxes.
fn curvatures(
    program: &Program<Dual<Interval>>,
    outputs: &[usize],
    boxes: impl Iterator<Item = [Vec<f64>; 2]>,
) -> Result<Vec<Vec<[f64; 2]>>> {
    let engine = program.engine();
    let (d, k) = (program.dimension(), outputs.len());
    let units = Array2::<f64>::eye(d).into_raw_vec_and_offset().0;
    let mut all = vec![];
    for [low, high] in boxes {
        let x = engine.inner().boxes(&low.repeat(d), &high.repeat(d), &[d, d])?;
        let x = engine.dual(&x, Some(&engine.inner().upload(&units, &[d, d])?))?;
        let Some(hessians) = engine.tangent(&program.jets(&x, outputs)?.jacobians) else {
            all.push(vec![[0.0; 2]; k]);
            continue;
        };
        let [low, high] = engine.inner().bounds(&hessians)?;
        all.push(
            (0..k)
                .map(|output| curvature(&low, &high, d, |i, j| (i * k + output) * d + j))
                .collect::<Result<_>>()?,
        );
    }
    Ok(all)
}

/// Bounds on minus the smallest and on the largest eigenvalue, from the ends of entries `at(i, j)`.
fn curvature(low: &[f64], high: &[f64], d: usize, at: impl Fn(usize, usize) -> usize) -> Result<[f64; 2]> {
    let (mut center, mut radius) = (vec![0.0; d * d], vec![0.0; d * d]);
    for i in 0..d {
        for j in 0..=i {
            let (l, h) = (low[at(i, j)].max(low[at(j, i)]), high[at(i, j)].min(high[at(j, i)]));
            if l > h {
                return Err(Error::Argument(format!(
                    "entry {i}, {j} of a Hessian has bounds that exclude each other"
                )));
            }
            for e in [i * d + j, j * d + i] {
                (center[e], radius[e]) = around(l, h);
            }
        }
    }
    let of = |sign: f64| {
        if center.iter().chain(&radius).any(|v| !v.is_finite()) {
            return f64::INFINITY;
        }
        let added = majorant(d, d, |y| {
            radius.chunks_exact(d).map(|row| row.iter().zip(y).map(|(r, y)| r * y).sum()).collect()
        });
        let mut matrix: Vec<f64> = center.iter().map(|c| sign * c).collect();
        for i in (0..d).filter(|&i| added[i] != 0.0) {
            matrix[i * d + i] = (matrix[i * d + i] + added[i]).next_up();
        }
        top(&matrix, d, 0.0)
    };
    Ok([of(-1.0), of(1.0)])
}
