//! Where a monotone function crosses zero.

/// Where `f`, at most 0 at `low` and at least 0 at `high`, crosses zero, to full precision (Chandrupatla 1997:
/// inverse quadratic interpolation where that is safe, else bisection). It may jump over zero, or be infinite at an
/// end: then the jump is found.
pub(super) fn root(low: f64, high: f64, f: impl Fn(f64) -> f64) -> f64 {
    let (mut a, mut b) = (high, low);
    let (mut at_a, mut at_b) = (f(a), f(b));
    if at_a <= 0.0 || at_b >= 0.0 {
        return if at_a <= 0.0 { a } else { b };
    }
    let (mut c, mut at_c);
    let mut share = 0.5;
    for _ in 0..200 {
        let t = a + share * (b - a);
        let at_t = f(t);
        // The bracket is from a, the newest point, to b; c is the one before.
        if (at_t >= 0.0) == (at_a >= 0.0) {
            (c, at_c) = (a, at_a);
        } else {
            (c, at_c, b, at_b) = (b, at_b, a, at_a);
        }
        (a, at_a) = (t, at_t);
        let tolerance = 2.0 * f64::EPSILON * a.abs().max(b.abs()) / (b - a).abs();
        if at_a == 0.0 || tolerance > 0.5 || a == b {
            break;
        }
        let (x, y) = ((a - b) / (c - b), (at_a - at_b) / (at_c - at_b));
        share = if y * y < x && (1.0 - y) * (1.0 - y) < 1.0 - x {
            at_a / (at_b - at_a) * (at_c / (at_b - at_c))
                + (c - a) / (b - a) * (at_a / (at_c - at_a)) * (at_b / (at_c - at_b))
        } else {
            0.5
        };
        share = if share.is_finite() { share.clamp(tolerance, 1.0 - tolerance) } else { 0.5 };
    }
    if at_a.abs() < at_b.abs() { a } else { b }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn roots_are_found_in_few_steps() {
        let count = Cell::new(0);
        let found = root(0.0, 100.0, |x| {
            count.set(count.get() + 1);
            x * x * x - 2.0
        });
        assert!((found - 2.0_f64.cbrt()).abs() < 1e-15 && count.get() < 30, "{found} in {}", count.get());
    }

    #[test]
    fn jumps_and_infinite_ends_are_no_obstacle() {
        let jump = root(-1.0, 3.0, |x| if x > 0.7 { 5.0 } else { -1e-3 });
        assert!((jump - 0.7).abs() < 1e-14, "{jump}");
        let infinite = root(0.0, 2.0, |x| 1.0 - 1.0 / x);
        assert!((infinite - 1.0).abs() < 1e-15, "{infinite}");
        assert_eq!([root(1.0, 2.0, |x| x), root(1.0, 2.0, |x| -x)], [1.0, 2.0]);
    }
}
