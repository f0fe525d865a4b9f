//! Bounds on Hessians where all that bends is elementwise: `H = sum of J^T diag(w) J` over the elementwise functions,
//! with the Jacobian `J` of a function's input and `w = d s''`, the cotangent of its output times its second derivative.
//!
//! Over a box `J = C + E` with `|E| <= R`, and `w <= h`. A larger diagonal makes a larger matrix, so that for any
//! `t > 0` of each unit `u`
//!
//! ```text
//! w (J x)_u^2 <= h (1 + t) (C x)_u^2 + h (1 + 1/t) (R |x|)_u^2           where h >= 0
//! w (J x)_u^2 <= h (1 - t) (C x)_u^2 - h (1/t - 1) (R |x|)_u^2           where h < 0, t <= 1
//! ```
//!
//! The first terms make a matrix of which the largest eigenvalue is bounded, the others one of entries at least 0 with
//! a diagonal majorant. The `t` are proportional to `|R_u| / |C_u|`, by a factor for each layer that is searched for.

use super::proved::{Bound, Region};
use super::spectrum::{around, estimate, gamma, majorant, product, top};
use crate::Result;
use crate::engine::{Engine, Interval};
use crate::network::Program;

use super::lanczos::{dot, norm};

/// What one elementwise function contributes over one box.
struct Layer {
    units: usize,
    /// `C` and `R`, `[D, units]`.
    center: Vec<f64>,
    radius: Vec<f64>,
    /// `|R_u| / |C_u|`, about.
    ratio: Vec<f64>,
    /// Lower and upper ends of `w`, for each output `[units]`.
    weights: Vec<[Vec<f64>; 2]>,
}

/// Bounds for each of `regions`, side by side through the program.
pub(super) fn bounds(
    program: &Program<Interval>,
    outputs: &[usize],
    regions: &[Region],
) -> Result<Vec<Bound>> {
    let engine = program.engine();
    let d = program.dimension();
    let centers: Vec<f64> = regions.iter().flat_map(Region::center).collect();
    let shape = [regions.len(), d];
    // What goes into each function at the centers of the boxes: from there the mean value theorem narrows it.
    let mut inputs = vec![];
    let mut at_centers: Vec<Vec<Layer>> = regions.iter().map(|_| vec![]).collect();
    program.bends(
        &engine.upload(&centers, &shape)?,
        outputs,
        |value, _| {
            inputs.push(engine.bounds(value)?);
            Ok(value.clone())
        },
        |activation, value, tangents, cotangents| {
            let curve = |low, high| activation.range(2, low, high);
            add_layer(engine, &mut at_centers, d, outputs.len(), curve, [value, tangents, cotangents])
        },
    )?;
    let low: Vec<f64> = regions.iter().flat_map(|region| region.low.iter().copied()).collect();
    let high: Vec<f64> = regions.iter().flat_map(|region| region.high.iter().copied()).collect();
    let mut layers: Vec<Vec<Layer>> = regions.iter().map(|_| vec![]).collect();
    let mut inputs = inputs.into_iter();
    program.bends(
        &engine.boxes(&low, &high, &shape)?,
        outputs,
        |value, tangents| match inputs.next() {
            Some(center) => {
                let ends = narrowed(regions, engine.bounds(value)?, &center, &engine.bounds(tangents)?);
                engine.boxes(&ends[0], &ends[1], value.shape())
            }
            None => Ok(value.clone()),
        },
        |activation, value, tangents, cotangents| {
            let curve = |low, high| activation.range(2, low, high);
            add_layer(engine, &mut layers, d, outputs.len(), curve, [value, tangents, cotangents])
        },
    )?;
    let of = |(region, (layers, center)): (&Region, (Vec<Layer>, Vec<Layer>))| Bound {
        curvature: (0..outputs.len())
            .map(|k| [above(&layers, d, k, true), above(&layers, d, k, false)])
            .collect(),
        center: (0..outputs.len())
            .map(|k| [above(&center, d, k, true), above(&center, d, k, false)])
            .collect(),
        influence: influence(&layers, region),
    };
    Ok(regions.iter().zip(layers.into_iter().zip(at_centers)).map(of).collect())
}

/// Inputs of a function `[N, units]` by the mean value theorem: those at the center, and the Jacobian over the box
/// `[N, D, units]` times the way from there. What was known holds too.
fn narrowed(
    regions: &[Region],
    value: [Vec<f64>; 2],
    center: &[Vec<f64>; 2],
    jacobian: &[Vec<f64>; 2],
) -> [Vec<f64>; 2] {
    let [mut low, mut high] = value;
    let units = low.len() / regions.len().max(1);
    for (n, region) in regions.iter().enumerate() {
        let reach = region.reach();
        let d = reach.len();
        let mut way = vec![0.0_f64; units];
        let mut squares = vec![0.0_f64; units];
        for (i, reach) in reach.iter().enumerate() {
            let rows = (n * d + i) * units;
            let ends = jacobian[0][rows..][..units].iter().zip(&jacobian[1][rows..][..units]);
            for ((way, square), (l, h)) in way.iter_mut().zip(&mut squares).zip(ends) {
                let size = l.abs().max(h.abs());
                *way += size * reach;
                *square += size * size;
            }
        }
        for u in 0..units {
            let mut way = way[u];
            if let Some(radius) = region.radius {
                way = way.min((squares[u].sqrt() * radius).next_up());
            }
            let way = way * (1.0 + 2.0 * gamma(2 * d + 4));
            let i = n * units + u;
            // Minimum and maximum ignore what is no number.
            let (new_low, new_high) = ((center[0][i] - way).next_down(), (center[1][i] + way).next_up());
            if low[i].max(new_low) <= high[i].min(new_high) {
                (low[i], high[i]) = (low[i].max(new_low), high[i].min(new_high));
            }
        }
    }
    [low, high]
}

/// Adds a function to the layers of each box, from its input `[N, units]`, tangents `[N, D, units]` and cotangents
/// `[N, K, units]`.
fn add_layer(
    engine: &Interval,
    layers: &mut [Vec<Layer>],
    d: usize,
    outputs: usize,
    curve: impl Fn(f64, f64) -> (f64, f64),
    [value, tangents, cotangents]: [&crate::engine::TensorOf<Interval>; 3],
) -> Result<()> {
    let ([low, high], tangents, cotangents) =
        (engine.bounds(value)?, engine.bounds(tangents)?, engine.bounds(cotangents)?);
    let units = low.len() / layers.len().max(1);
    for (n, layers) in layers.iter_mut().enumerate() {
        let rows = n * d * units..(n + 1) * d * units;
        let ends = tangents[0][rows.clone()].iter().zip(&tangents[1][rows]);
        let (center, radius): (Vec<f64>, Vec<f64>) = ends.map(|(l, h)| around(*l, *h)).unzip();
        let length = |of: &[f64], u: usize| (0..d).map(|i| of[i * units + u].powi(2)).sum::<f64>().sqrt();
        let ratio = (0..units).map(|u| length(&radius, u) / length(&center, u)).collect();
        let bends: Vec<(f64, f64)> = (n * units..(n + 1) * units).map(|i| curve(low[i], high[i])).collect();
        let weights = (0..outputs).map(|k| {
            let first = (n * outputs + k) * units;
            let of = |u: usize| product((cotangents[0][first + u], cotangents[1][first + u]), bends[u]);
            let (low, high) = (0..units).map(of).unzip();
            [low, high]
        });
        let weights = weights.collect();
        layers.push(Layer { units, center, radius, ratio, weights });
    }
    Ok(())
}

/// A number that no eigenvalue of the Hessian of output `k` (of its negative) exceeds, nor 0.
fn above(layers: &[Layer], d: usize, k: usize, negative: bool) -> f64 {
    let heights: Vec<Vec<f64>> = layers
        .iter()
        .map(|layer| match &layer.weights[k] {
            [low, _] if negative => low.iter().map(|w| -w).collect(),
            [_, high] => high.clone(),
        })
        .collect();
    if heights.iter().flatten().any(|h| !h.is_finite()) {
        return f64::INFINITY;
    }
    let mut factors = vec![1.0; layers.len()];
    let form = |factors: &[f64]| form(layers, &heights, factors, d);
    let (mut best, mut error) = form(&factors);
    if best.iter().any(|v| !v.is_finite()) {
        return f64::INFINITY;
    }
    let mut least = estimate(&best, d);
    for l in (0..layers.len()).filter(|&l| layers[l].ratio.iter().any(|r| *r > 1e-9)) {
        for step in [0.25, 4.0, 0.5, 2.0] {
            // On as long as it helps.
            for _ in 0..8 {
                let old = factors[l];
                factors[l] *= step;
                let (matrix, new_error) = form(&factors);
                let value = estimate(&matrix, d);
                if value.is_nan() || value >= least {
                    factors[l] = old;
                    break;
                }
                (best, error, least) = (matrix, new_error, value);
            }
        }
    }
    top(&best, d, error)
}

/// The matrix `[D, D]` above the Hessian, and a bound on the norm of its error.
fn form(layers: &[Layer], heights: &[Vec<f64>], factors: &[f64], d: usize) -> (Vec<f64>, f64) {
    let mut matrix = vec![0.0; d * d];
    let mut sums = vec![0.0; d];
    let mut outer = Vec::with_capacity(layers.len());
    let mut terms = layers.len() + 8;
    for ((layer, heights), &factor) in layers.iter().zip(heights).zip(factors) {
        let units = layer.units;
        terms += units;
        let split = heights.iter().zip(&layer.ratio).map(|(&h, &ratio)| split(h, factor * ratio));
        let (inner, rest): (Vec<f64>, Vec<f64>) = split.unzip();
        outer.push(rest);
        let rows: Vec<&[f64]> = layer.center.chunks_exact(units).collect();
        let mut reach = vec![0.0; units];
        for row in &rows {
            reach.iter_mut().zip(*row).for_each(|(r, c)| *r += c.abs());
        }
        for i in 0..d {
            let scaled: Vec<f64> = rows[i].iter().zip(&inner).map(|(c, h)| c * h).collect();
            for j in 0..=i {
                matrix[i * d + j] += dot(&scaled, rows[j]);
            }
            sums[i] += scaled.iter().zip(&reach).map(|(s, r)| s.abs() * r).sum::<f64>();
        }
    }
    let added = majorant(d, terms + 2 * d, |y| {
        let mut result = vec![0.0; d];
        for (layer, outer) in layers.iter().zip(&outer) {
            let mut along = vec![0.0; layer.units];
            for (row, y) in layer.radius.chunks_exact(layer.units).zip(y) {
                along.iter_mut().zip(row).for_each(|(a, r)| *a += r * y);
            }
            along.iter_mut().zip(outer).for_each(|(a, o)| *a *= o);
            for (row, result) in layer.radius.chunks_exact(layer.units).zip(&mut result) {
                *result += dot(row, &along);
            }
        }
        result
    });
    for i in 0..d {
        if added[i] != 0.0 {
            matrix[i * d + i] = (matrix[i * d + i] + added[i]).next_up();
        }
        for j in 0..i {
            matrix[j * d + i] = matrix[i * d + j];
        }
    }
    // No row of the errors sums to more: a bound on the norm of a symmetric matrix.
    let error = sums.iter().fold(0.0_f64, |m, s| m.max(*s)) * gamma(terms) * (1.0 + gamma(terms + d));
    (matrix, error.next_up())
}

/// What a unit of height `h` gives to the square of `C x` and to that of `R |x|`, rounded up.
fn split(h: f64, t: f64) -> (f64, f64) {
    if t == 0.0 || h == 0.0 {
        return (h, 0.0);
    }
    // A row of `C` that is 0, or nearly: all is in `R`.
    let t = if t.is_finite() { t.clamp(1e-30, 1e15) } else { 1e15 };
    if h > 0.0 {
        ((h * (1.0 + t).next_up()).next_up(), (h * (1.0 + (1.0 / t).next_up()).next_up()).next_up())
    } else if t < 1.0 {
        ((h * (1.0 - t).next_down()).next_up(), (-h * ((1.0 / t).next_up() - 1.0).next_up()).next_up())
    } else {
        (0.0, 0.0)
    }
}

/// How much each side of the box adds to the spread of the weights, about.
fn influence(layers: &[Layer], region: &Region) -> Vec<f64> {
    let mut influence = vec![0.0; region.low.len()];
    for layer in layers {
        let units = layer.units;
        let spread = (0..units).map(|u| {
            let column: Vec<f64> = layer.center.iter().skip(u).step_by(units).copied().collect();
            let spread: f64 = layer.weights.iter().map(|[low, high]| high[u] - low[u]).sum();
            spread * norm(&column).powi(2)
        });
        let spread: Vec<f64> = spread.collect();
        for (i, influence) in influence.iter_mut().enumerate() {
            let rows = layer.center[i * units..][..units].iter().zip(&layer.radius[i * units..][..units]);
            let sum: f64 = rows.zip(&spread).map(|((c, r), s)| (c.abs() + r) * s).sum();
            *influence += sum * (region.high[i] - region.low[i]);
        }
    }
    influence
}
