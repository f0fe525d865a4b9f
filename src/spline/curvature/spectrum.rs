//! Proved bounds on eigenvalues, in f64: every rounding on the way is accounted for.

use super::lanczos::{Lanczos, dot};

/// A bound on the relative error of `n` roundings in a row, `n u / (1 - n u)` with `u = 2^-53` (Higham 2002,
/// section 3.1); a few more for the bound's own arithmetic.
pub(super) fn gamma(n: usize) -> f64 {
    let n = (n + 4) as f64 * f64::EPSILON / 2.0;
    n / (1.0 - n)
}

/// Beyond all errors of underflow.
const UNDERFLOW: f64 = 1e-290;

/// The largest eigenvalue of a symmetric matrix `[d, d]`, about.
pub(super) fn estimate(matrix: &[f64], d: usize) -> f64 {
    // Any start that is orthogonal to nothing serves; the same one keeps results the same.
    let golden = |i: usize| 0.5 + ((i + 1) as f64 * 0.618_033_988_749_895).fract();
    let mut lanczos = Lanczos::new((0..d).map(golden).collect(), 1e-15, 1e-9);
    loop {
        lanczos.add(matrix.chunks_exact(d).map(|row| dot(row, lanczos.direction())).collect());
        if let Some(found) = lanczos.found() {
            return found.largest + found.residuals[1];
        }
    }
}

/// A number that no eigenvalue of a symmetric matrix `[d, d]` exceeds, nor 0, if the matrix is known up to an error of
/// spectral norm `error`. Infinite where nothing is known.
///
/// Above the estimate `s` of the largest eigenvalue a Cholesky factorisation `s I - M = R^T R` runs to its end; that it
/// does proves `s I - M >= -gamma |R|_F^2` (Higham 2002, theorem 10.3; Rump 2006). If it does not, `s` is raised.
pub(super) fn top(matrix: &[f64], d: usize, error: f64) -> f64 {
    let row_sums = matrix.chunks_exact(d).map(|row| row.iter().map(|v| v.abs()).sum::<f64>());
    // What is no number stays none.
    let whole = row_sums.fold(0.0, |m: f64, sum| if m.is_nan() || sum <= m { m } else { sum });
    if !(whole.is_finite() && error.is_finite()) {
        return f64::INFINITY;
    }
    let surely = (whole * (1.0 + gamma(d)) + error).next_up() + UNDERFLOW;
    if whole == 0.0 {
        return surely;
    }
    let estimate = estimate(matrix, d).max(0.0);
    let mut margin = (1e-14 * d as f64 * whole).max(UNDERFLOW);
    while estimate + margin < whole {
        let shift = estimate + margin;
        if let Some(slack) = positive(matrix, d, shift) {
            return ((shift + slack).next_up() + error).next_up().min(surely);
        }
        margin *= 8.0;
    }
    surely
}

/// How far below 0 the eigenvalues of `shift I - M` may be, if that has a Cholesky factor.
fn positive(matrix: &[f64], d: usize, shift: f64) -> Option<f64> {
    let mut factor = vec![0.0; d * d];
    let (mut square, mut rounded) = (0.0, 0.0_f64);
    for i in 0..d {
        let (above, row) = factor.split_at_mut(i * d);
        for j in 0..i {
            let other = &above[j * d..][..=j];
            row[j] = (-matrix[i * d + j] - dot(&row[..j], &other[..j])) / other[j];
        }
        let entry = shift - matrix[i * d + i];
        rounded = rounded.max(entry.abs() * f64::EPSILON);
        let pivot = entry - dot(&row[..i], &row[..i]);
        if pivot.is_nan() || pivot <= 0.0 {
            return None;
        }
        row[i] = pivot.sqrt();
        square += dot(&row[..=i], &row[..=i]);
    }
    Some((square * gamma(d + 1) * (1.0 + gamma(d * d)) + rounded + UNDERFLOW).next_up())
}

/// A diagonal matrix `T >= A` for a symmetric matrix of entries at least 0 (as a function of vectors that sums at most
/// `terms` products for each element): `t_i = (A y)_i / y_i` for any positive `y` (Collatz 1942). With `y` near the
/// leading eigenvector all are near the largest eigenvalue.
pub(super) fn majorant(d: usize, terms: usize, apply: impl Fn(&[f64]) -> Vec<f64>) -> Vec<f64> {
    let mut y = vec![1.0; d];
    for _ in 0..4 {
        let next = apply(&y);
        let most = next.iter().fold(0.0_f64, |m, v| m.max(*v));
        if !(most > 0.0 && most.is_finite()) {
            break;
        }
        // Away from 0, by which is divided.
        y = next.iter().map(|v| v / most + 1e-3).collect();
    }
    let up = 1.0 + 2.0 * gamma(terms + 2);
    apply(&y).iter().zip(&y).map(|(a, y)| if *a == 0.0 { 0.0 } else { (a / y * up).next_up() }).collect()
}

/// The product of two intervals, rounded outward; the whole line where nothing is known.
pub(super) fn product(a: (f64, f64), b: (f64, f64)) -> (f64, f64) {
    let corners = [a.0 * b.0, a.0 * b.1, a.1 * b.0, a.1 * b.1];
    if corners.iter().any(|c| c.is_nan()) {
        return (f64::NEG_INFINITY, f64::INFINITY);
    }
    if corners.iter().all(|c| *c == 0.0) && (a == (0.0, 0.0) || b == (0.0, 0.0)) {
        return (0.0, 0.0);
    }
    let low = corners.iter().fold(f64::INFINITY, |m, c| m.min(*c));
    let high = corners.iter().fold(f64::NEG_INFINITY, |m, c| m.max(*c));
    (low.next_down(), high.next_up())
}

/// The midpoint of an interval, and a radius that reaches both ends.
pub(super) fn around(low: f64, high: f64) -> (f64, f64) {
    let middle = low / 2.0 + high / 2.0;
    if low == high { (low, 0.0) } else { (middle, (middle - low).max(high - middle).next_up()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_above_the_eigenvalue_and_near_it() {
        // The reflection of a diagonal matrix along a vector has the same eigenvalues.
        for d in [1, 2, 5, 40] {
            let v: Vec<f64> = (0..d).map(|i| ((i * i + 3) as f64).sin()).collect();
            let square = dot(&v, &v);
            let mut m = vec![0.0; d * d];
            let h = |i: usize, j: usize| f64::from(u8::from(i == j)) - 2.0 * v[i] * v[j] / square;
            for (i, j) in (0..d).flat_map(|i| (0..d).map(move |j| (i, j))) {
                m[i * d + j] = (0..d).map(|l| h(i, l) * (3.0 - l as f64) * h(l, j)).sum();
            }
            let bound = top(&m, d, 1e-10);
            assert!(bound > 3.0 && bound < 3.0 + 1e-7, "{d}: {bound}");
            m.iter_mut().for_each(|v| *v = -*v);
            let expected = (d as f64 - 4.0).max(0.0);
            let bound = top(&m, d, 1e-10);
            assert!(bound > expected && bound < expected + 1e-7, "{d}: {bound}");
        }
        assert_eq!(top(&[f64::NAN, 0.0, 0.0, 1.0], 2, 0.0), f64::INFINITY);
    }

    #[test]
    fn a_majorant_is_the_leading_eigenvalue() {
        let t = majorant(2, 2, |y| vec![2.0 * y[0] + y[1], y[0] + 2.0 * y[1]]);
        assert!(t.iter().all(|t| *t >= 3.0 && *t < 3.0 + 1e-9));
    }
}
