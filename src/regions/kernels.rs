//! The loops that partitions spend their time in, compiled for the vectors of the processor at hand.

use pulp::{Arch, NullaryFnOnce};

use super::polygon::Point;

/// Rows that are added at once: so often fewer loads and stores of the sums.
pub(super) const AT_ONCE: usize = 4;

/// The least and the largest value at the corners of a polygon of each of `n` affine functions, `rows [3, n]`: values at 0
/// and slopes.
pub(super) fn ranges(arch: Arch, rows: &[f64], corners: &[Point], low: &mut [f64], high: &mut [f64]) {
    struct Ranges<'a> {
        rows: [&'a [f64]; 3],
        corners: &'a [Point],
        low: &'a mut [f64],
        high: &'a mut [f64],
    }

    impl NullaryFnOnce for Ranges<'_> {
        type Output = ();

        #[inline(always)]
        fn call(self) {
            let Self { rows: [values, right, up], corners, low, high } = self;
            let n = low.len();
            let (values, right, up, high) = (&values[..n], &right[..n], &up[..n], &mut high[..n]);
            for i in 0..n {
                let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
                for &[s, t] in corners {
                    let value = up[i].mul_add(t, right[i].mul_add(s, values[i]));
                    least = if value < least { value } else { least };
                    most = if value > most { value } else { most };
                }
                (low[i], high[i]) = (least, most);
            }
        }
    }

    let n = low.len();
    let rows = [&rows[..n], &rows[n..2 * n], &rows[2 * n..3 * n]];
    arch.dispatch(Ranges { rows, corners, low, high });
}

/// What of a value is rounding: so many epsilons of its norm times that of what it is a sum of, and of its coefficients.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rounding<'a> {
    /// `[n]`
    pub norms: &'a [f64],
    pub spread: f64,
    pub epsilons: f64,
}

/// As [`ranges`], of the distances from a knot: the least with what is rounding added, the largest with it taken away. A
/// function is on both sides of the knot where the first is below 0 and the second above.
pub(super) fn margins(
    arch: Arch,
    rows: &[f64],
    corners: &[Point],
    knot: f64,
    rounding: Rounding<'_>,
    low: &mut [f64],
    high: &mut [f64],
) {
    struct Margins<'a> {
        rows: &'a [f64],
        knot: f64,
        rounding: Rounding<'a>,
        low: &'a mut [f64],
        high: &'a mut [f64],
    }

    impl NullaryFnOnce for Margins<'_> {
        type Output = ();

        #[inline(always)]
        fn call(self) {
            let Self { rows, knot, rounding: Rounding { norms, spread, epsilons }, low, high } = self;
            let n = low.len();
            let (values, right, up) = (&rows[..n], &rows[n..2 * n], &rows[2 * n..3 * n]);
            let (norms, high) = (&norms[..n], &mut high[..n]);
            for i in 0..n {
                let size = values[i].abs() + right[i].abs() + up[i].abs();
                let rounding = epsilons * norms[i].mul_add(spread, size);
                low[i] = low[i] - knot + rounding;
                high[i] = high[i] - knot - rounding;
            }
        }
    }

    ranges(arch, rows, corners, low, high);
    arch.dispatch(Margins { rows, knot, rounding, low, high });
}

/// Adds affine functions `terms` (values at 0 and slopes), each times a row of weights `[n]`, to `n` of them, `sums [3, n]`.
pub(super) fn add(arch: Arch, sums: &mut [f64], weights: [&[f64]; AT_ONCE], terms: [[f64; 3]; AT_ONCE]) {
    struct Add<'a> {
        sums: &'a mut [f64],
        weights: [&'a [f64]; AT_ONCE],
        terms: [[f64; 3]; AT_ONCE],
    }

    impl NullaryFnOnce for Add<'_> {
        type Output = ();

        #[inline(always)]
        fn call(self) {
            let Self { sums, weights, terms } = self;
            let n = weights[0].len();
            let [a, b, c, d] = weights.map(|row| &row[..n]);
            let (values, slopes) = sums.split_at_mut(n);
            let (right, up) = slopes.split_at_mut(n);
            let (right, up) = (&mut right[..n], &mut up[..n]);
            for i in 0..n {
                let sum = |old: f64, of: usize| {
                    let two = terms[1][of].mul_add(b[i], terms[0][of].mul_add(a[i], old));
                    terms[3][of].mul_add(d[i], terms[2][of].mul_add(c[i], two))
                };
                values[i] = sum(values[i], 0);
                right[i] = sum(right[i], 1);
                up[i] = sum(up[i], 2);
            }
        }
    }

    arch.dispatch(Add { sums, weights, terms });
}

/// Adds rows of weights `[n]`, each times a factor, to `sums [n]`.
pub(super) fn add_row(arch: Arch, sums: &mut [f64], weights: [&[f64]; AT_ONCE], factors: [f64; AT_ONCE]) {
    struct AddRow<'a> {
        sums: &'a mut [f64],
        weights: [&'a [f64]; AT_ONCE],
        factors: [f64; AT_ONCE],
    }

    impl NullaryFnOnce for AddRow<'_> {
        type Output = ();

        #[inline(always)]
        fn call(self) {
            let Self { sums, weights, factors: [p, q, r, s] } = self;
            let n = sums.len();
            let [a, b, c, d] = weights.map(|row| &row[..n]);
            for i in 0..n {
                let two = q.mul_add(b[i], p.mul_add(a[i], sums[i]));
                sums[i] = s.mul_add(d[i], r.mul_add(c[i], two));
            }
        }
    }

    arch.dispatch(AddRow { sums, weights, factors });
}

/// Adds the least and the largest that factors `[n]` times a number between two `ends` may be.
pub(super) fn residuals(arch: Arch, factors: &[f64], ends: [f64; 2], less: &mut [f64], more: &mut [f64]) {
    struct Residuals<'a> {
        factors: &'a [f64],
        ends: [f64; 2],
        less: &'a mut [f64],
        more: &'a mut [f64],
    }

    impl NullaryFnOnce for Residuals<'_> {
        type Output = ();

        #[inline(always)]
        fn call(self) {
            let Self { factors, ends: [low, high], less, more } = self;
            let n = factors.len();
            let (less, more) = (&mut less[..n], &mut more[..n]);
            for i in 0..n {
                let (a, b) = (factors[i] * low, factors[i] * high);
                less[i] += if a < b { a } else { b };
                more[i] += if a < b { b } else { a };
            }
        }
    }

    arch.dispatch(Residuals { factors, ends, less, more });
}

/// Takes a column out of rows of a table `[rows, own.len()]`: adds `own` times the column's coefficient, which counts as 0.
pub(super) fn eliminate(arch: Arch, rows: &mut [f64], own: &[f64], column: usize) {
    struct Eliminate<'a> {
        rows: &'a mut [f64],
        own: &'a [f64],
        column: usize,
    }

    impl NullaryFnOnce for Eliminate<'_> {
        type Output = ();

        #[inline(always)]
        fn call(self) {
            let Self { rows, own, column } = self;
            for row in rows.chunks_exact_mut(own.len()) {
                let factor = row[column];
                if factor != 0.0 {
                    row[column] = 0.0;
                    row.iter_mut().zip(own).for_each(|(x, y)| *x += factor * y);
                }
            }
        }
    }

    arch.dispatch(Eliminate { rows, own, column });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(i: usize) -> f64 {
        ((i * 37 + 11) % 101) as f64 / 32.0 - 1.5
    }

    #[test]
    fn ranges_and_sums_are_those_of_plain_loops() {
        for n in [1, 7, 8, 19, 64] {
            let rows: Vec<f64> = (0..3 * n).map(number).collect();
            let corners = [[0.5, -0.25], [1.0, 0.5], [-0.75, 0.125]];
            let (mut low, mut high) = (vec![0.0; n], vec![0.0; n]);
            ranges(Arch::new(), &rows, &corners, &mut low, &mut high);
            for i in 0..n {
                let at = corners.map(|[s, t]| rows[i] + s * rows[n + i] + t * rows[2 * n + i]);
                assert_eq!(low[i], at[0].min(at[1]).min(at[2]));
                assert_eq!(high[i], at[0].max(at[1]).max(at[2]));
            }
            let weights: Vec<Vec<f64>> =
                (0..4).map(|k| (0..n).map(|i| number(i + 5 * k)).collect()).collect();
            let terms = [0, 1, 2, 3].map(|k| [0, 1, 2].map(|of| number(3 * k + of)));
            let mut sums = rows.clone();
            add(Arch::new(), &mut sums, [0, 1, 2, 3].map(|k| &weights[k][..]), terms);
            for (at, sum) in sums.iter().enumerate() {
                let more: f64 = (0..4).map(|k| terms[k][at / n] * weights[k][at % n]).sum();
                assert_eq!(*sum, rows[at] + more);
            }
        }
    }
}
