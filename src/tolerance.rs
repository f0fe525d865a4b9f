//! The named tolerances. Nothing in Fenchel or its tests compares with any other.

/// Relative to the largest magnitude at hand: the same sum in another order, in `f32`.
pub const CLOSE: f64 = 1e-5;

/// Relative to the largest magnitude at hand: derivatives and longer chains of `f32` sums.
pub const APPROXIMATE: f64 = 1e-4;

/// Relative to the largest magnitude at hand: the same quantity by two roads in `f64`.
pub const EXACT: f64 = 1e-11;

/// The largest difference of two equally long arrays over the largest magnitude of the second.
///
/// NaN anywhere, or unequal lengths, gives infinity, so that no comparison passes by accident.
pub fn relative_difference(
    values: impl IntoIterator<Item = f64>,
    reference: impl IntoIterator<Item = f64>,
) -> f64 {
    let (mut values, mut reference) = (values.into_iter(), reference.into_iter());
    let (mut difference, mut magnitude) = (0.0_f64, f64::MIN_POSITIVE);
    loop {
        match (values.next(), reference.next()) {
            (None, None) => return difference / magnitude,
            (Some(a), Some(b)) if (a - b).is_finite() => {
                difference = difference.max((a - b).abs());
                magnitude = magnitude.max(b.abs());
            }
            _ => return f64::INFINITY,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn difference_is_relative_to_the_reference() {
        assert_eq!(relative_difference([1.0, 2.5], [1.0, 2.0]), 0.25);
        assert_eq!(relative_difference([], []), 0.0);
    }

    #[test]
    fn nan_and_unequal_lengths_never_pass() {
        assert_eq!(relative_difference([f64::NAN], [1.0]), f64::INFINITY);
        assert_eq!(relative_difference([1.0], [1.0, 2.0]), f64::INFINITY);
        assert_eq!(relative_difference([1.0, f64::INFINITY], [1.0, 2.0]), f64::INFINITY);
    }
}
