//! The extreme eigenvalues of a symmetric matrix that is known by its products alone (Lanczos 1950; Parlett 1998,
//! chapter 13), with every basis vector orthogonalised twice against all before.

use super::Extremes;

/// Steps at most; extreme eigenvalues of Hessians are found long before.
pub(super) const STEPS: usize = 64;

/// Residuals below this share of the largest eigenvalue end the iteration. Eigenvalues apart from their neighbours are
/// then accurate to its square.
pub(super) const TOLERANCE: f64 = 1e-4;

/// An iteration on one matrix: takes the product of the matrix with [`direction`](Self::direction), until done.
#[derive(Debug)]
pub(super) struct Lanczos {
    basis: Vec<Vec<f64>>,
    diagonal: Vec<f64>,
    beside: Vec<f64>,
    /// What is this small beside the matrix is rounding.
    noise: f64,
    tolerance: f64,
    found: Option<Extremes>,
}

impl Lanczos {
    /// Begins with a vector that is not 0.
    pub(super) fn new(mut start: Vec<f64>, noise: f64, tolerance: f64) -> Self {
        let length = norm(&start);
        start.iter_mut().for_each(|v| *v /= length);
        Self { basis: vec![start], diagonal: vec![], beside: vec![], noise, tolerance, found: None }
    }

    /// The unit vector `[D]` whose product is wanted next.
    pub(super) fn direction(&self) -> &[f64] {
        self.basis.last().map_or(&[], Vec::as_slice)
    }

    /// What was found, once nothing more is to be done.
    pub(super) fn found(&self) -> Option<Extremes> {
        self.found
    }

    /// Takes the product of the matrix with the direction.
    pub(super) fn add(&mut self, mut product: Vec<f64>) {
        self.diagonal.push(dot(self.direction(), &product));
        // Twice is enough (Giraud, Langou & Rozloznik 2005).
        for _ in 0..2 {
            for vector in &self.basis {
                let share = dot(vector, &product);
                product.iter_mut().zip(vector).for_each(|(p, v)| *p -= share * v);
            }
        }
        let rest = norm(&product);
        let values = tridiagonal(&self.diagonal, &self.beside);
        let least = values.iter().copied().fold((f64::INFINITY, 0.0), |m, v| if v.0 < m.0 { v } else { m });
        let most =
            values.iter().copied().fold((f64::NEG_INFINITY, 0.0), |m, v| if v.0 > m.0 { v } else { m });
        let extremes = Extremes {
            smallest: least.0,
            largest: most.0,
            residuals: [rest * least.1.abs(), rest * most.1.abs()],
            steps: self.diagonal.len(),
        };
        let scale = self.diagonal.iter().chain(&self.beside).fold(0.0_f64, |m, v| m.max(v.abs()));
        let size = least.0.abs().max(most.0.abs());
        let exhausted = self.basis.len() >= product.len().min(STEPS) || rest <= self.noise * scale;
        // No number: whoever asked for products looks at what was found.
        let broken = !rest.is_finite();
        if exhausted || broken || extremes.residuals.iter().all(|r| *r <= self.tolerance * size) {
            self.found = Some(extremes);
            return;
        }
        product.iter_mut().for_each(|v| *v /= rest);
        self.beside.push(rest);
        self.basis.push(product);
    }
}

pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    // Independent sums, which the compiler lays side by side.
    let mut sums = [0.0; 8];
    let (a_blocks, b_blocks) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f64 = a_blocks.remainder().iter().zip(b_blocks.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a_blocks.zip(b_blocks) {
        for i in 0..8 {
            sums[i] += a[i] * b[i];
        }
    }
    sums.iter().sum::<f64>() + rest
}

pub(super) fn norm(v: &[f64]) -> f64 {
    dot(v, v).sqrt()
}

/// Eigenvalues of a symmetric tridiagonal matrix, each with the last element of its unit eigenvector: QL with implicit
/// shifts (Parlett 1998, section 8.14), of whose rotations only one row is kept.
fn tridiagonal(diagonal: &[f64], beside: &[f64]) -> Vec<(f64, f64)> {
    let n = diagonal.len();
    let (mut d, mut e, mut last) = (diagonal.to_vec(), beside.to_vec(), vec![0.0; n]);
    e.resize(n, 0.0);
    last[n - 1] = 1.0;
    for l in 0..n {
        // Three sweeps are usual for each eigenvalue.
        for _ in 0..60 {
            let small = |i: usize| e[i].abs() <= f64::EPSILON * (d[i].abs() + d[i + 1].abs());
            let end = (l..n - 1).find(|&i| small(i)).unwrap_or(n - 1);
            if end == l {
                break;
            }
            let g = (d[l + 1] - d[l]) / (2.0 * e[l]);
            let mut g = d[end] - d[l] + e[l] / (g + g.hypot(1.0).copysign(g));
            let (mut s, mut c, mut p) = (1.0, 1.0, 0.0);
            let mut split = false;
            for i in (l..end).rev() {
                let (f, b) = (s * e[i], c * e[i]);
                let r = f.hypot(g);
                e[i + 1] = r;
                if r == 0.0 {
                    d[i + 1] -= p;
                    e[end] = 0.0;
                    split = true;
                    break;
                }
                (s, c) = (f / r, g / r);
                g = d[i + 1] - p;
                let r = (d[i] - g) * s + 2.0 * c * b;
                p = s * r;
                d[i + 1] = g + p;
                g = c * r - b;
                (last[i], last[i + 1]) = (c * last[i] - s * last[i + 1], s * last[i] + c * last[i + 1]);
            }
            if !split {
                d[l] -= p;
                e[l] = g;
                e[end] = 0.0;
            }
        }
    }
    d.into_iter().zip(last).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tridiagonal_matrix_with_known_eigenvalues() {
        let n = 9;
        let values = tridiagonal(&vec![2.0; n], &vec![-1.0; n - 1]);
        let mut sorted = values.clone();
        sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
        for (j, (value, last)) in sorted.iter().enumerate() {
            let angle = (j + 1) as f64 * std::f64::consts::PI / (n + 1) as f64;
            assert!((value - (2.0 - 2.0 * angle.cos())).abs() < 1e-14);
            let expected = (2.0 / (n + 1) as f64).sqrt() * (angle * n as f64).sin();
            assert!((last.abs() - expected.abs()).abs() < 1e-13);
        }
    }

    #[test]
    fn a_matrix_of_low_rank_ends_early_and_zero_at_once() {
        let run = |diagonal: &[f64]| {
            let start = (0..diagonal.len()).map(|i| 1.0 + i as f64 * 0.3).collect();
            let mut lanczos = Lanczos::new(start, 1e-13, 0.0);
            while lanczos.found().is_none() {
                lanczos.add(lanczos.direction().iter().zip(diagonal).map(|(v, d)| v * d).collect());
            }
            lanczos.found().unwrap()
        };
        let found = run(&[0.0, 0.0, 3.0, 0.0, -2.0, 0.0, 0.0]);
        assert!(
            (found.largest - 3.0).abs() < 1e-13 && (found.smallest + 2.0).abs() < 1e-13 && found.steps == 3
        );
        let found = run(&[0.0; 5]);
        assert_eq!((found.smallest, found.largest, found.steps), (0.0, 0.0, 1));
        let found = run(&[4.0]);
        assert_eq!((found.smallest, found.largest), (4.0, 4.0));
    }
}
