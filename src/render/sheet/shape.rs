//! Rows of numbers as images.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Result, Scalar};

/// How the numbers of a row make an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageShape {
    channels: usize,
    height: usize,
    width: usize,
    /// Whether the channels of a pixel lie beside each other.
    channels_last: bool,
}

impl ImageShape {
    /// Channels, each of `height` rows.
    ///
    /// # Errors
    /// [`Error::Argument`] for a side of 0.
    pub fn new(channels: usize, height: usize, width: usize) -> Result<Self> {
        if channels * height * width == 0 {
            return Err(Error::Argument(format!(
                "an image has at least one pixel: {channels}x{height}x{width} has none"
            )));
        }
        Ok(Self { channels, height, width, channels_last: false })
    }

    /// What samples of a shape most likely are: `[C, H, W]`, or `[H, W, C]` where the last axis is 1 or 3 and the first
    /// is neither; `[H, W]`; and by their number alone a square, three squares, or else one row. Axes of length 1 before
    /// the last three do not count, nor do any where no two others are left.
    pub fn of(shape: &[usize]) -> Self {
        let flat: usize = shape.iter().product();
        let ones = shape.len().saturating_sub(3);
        let has_axes = shape[..ones].iter().all(|&n| n == 1) && shape.iter().filter(|&&n| n > 1).count() > 1;
        let is_colour = |n: usize| n == 1 || n == 3;
        match shape[ones..] {
            [height, width, channels] if has_axes && is_colour(channels) && !is_colour(height) => {
                Self { channels, height, width, channels_last: true }
            }
            [channels, height, width] if has_axes => Self { channels, height, width, channels_last: false },
            [height, width] if has_axes => Self { channels: 1, height, width, channels_last: false },
            _ => {
                let square = |n: usize| Some(n.isqrt()).filter(|side| side * side == n);
                let (channels, [height, width]) = match (square(flat), square(flat / 3)) {
                    (Some(side), _) => (1, [side; 2]),
                    (None, Some(side)) if flat.is_multiple_of(3) => (3, [side; 2]),
                    _ => (1, [1, flat]),
                };
                Self { channels, height, width, channels_last: false }
            }
        }
    }

    /// Channels, height and width.
    pub fn lengths(&self) -> [usize; 3] {
        [self.channels, self.height, self.width]
    }

    /// The numbers of a row.
    pub fn elements(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// # Errors
    /// [`Error::Shape`] where rows do not have as many numbers.
    pub fn check(&self, elements: usize) -> Result<()> {
        if self.elements() == elements {
            return Ok(());
        }
        Err(Error::Shape(format!(
            "an image of {self} has {} numbers, the rows have {elements}",
            self.elements()
        )))
    }

    /// The numbers of a row as `[C, H, W]`.
    pub(super) fn arrange<S: Scalar>(&self, row: &[S]) -> Vec<f32> {
        let single = |x: &S| x.f64() as f32;
        if !self.channels_last {
            return row.iter().map(single).collect();
        }
        (0..self.channels).flat_map(|c| row[c..].iter().step_by(self.channels).map(single)).collect()
    }
}

impl fmt::Display for ImageShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}x{}", self.channels, self.height, self.width)
    }
}

impl FromStr for ImageShape {
    type Err = String;

    /// `CxHxW` or `HxW`.
    fn from_str(text: &str) -> Result<Self, String> {
        let sides: Option<Vec<usize>> = text.split('x').map(|side| side.parse().ok()).collect();
        let shape = match sides.as_deref() {
            Some(&[height, width]) => Some([1, height, width]),
            Some(&[channels, height, width]) => Some([channels, height, width]),
            _ => None,
        };
        let fits = |shape: &[usize; 3]| {
            shape.iter().try_fold(1_usize, |all, &n| all.checked_mul(n)).is_some_and(|all| all > 0)
        };
        let [channels, height, width] = shape
            .filter(fits)
            .ok_or("expected CxHxW or HxW, such as 3x32x32 or 28x28 (channels first)".to_owned())?;
        Ok(Self { channels, height, width, channels_last: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_told_from_axes_and_lengths() {
        let of = |shape: &[usize]| ImageShape::of(shape).to_string();
        assert_eq!((of(&[3, 32, 30]), of(&[1, 1, 8, 7])), ("3x32x30".into(), "1x8x7".into()));
        assert_eq!((of(&[32, 30, 3]), of(&[32, 30, 1])), ("3x32x30".into(), "1x32x30".into()));
        // Three rows of three pixels of three channels: channels first.
        assert_eq!((of(&[3, 5, 3]), of(&[5, 7])), ("3x5x3".into(), "1x5x7".into()));
        assert_eq!((of(&[784]), of(&[3072]), of(&[5])), ("1x28x28".into(), "3x32x32".into(), "1x1x5".into()));
        assert_eq!((of(&[]), of(&[2, 2, 2, 8])), ("1x1x1".into(), "1x8x8".into()));
        assert_eq!(
            (of(&[12]), of(&[1, 784, 1]), of(&[1, 1, 1, 5])),
            ("3x2x2".into(), "1x28x28".into(), "1x1x5".into())
        );
        assert!(!ImageShape::of(&[3, 5, 3]).channels_last && ImageShape::of(&[5, 4, 3]).channels_last);
    }

    #[test]
    fn channels_that_come_last_are_put_first() {
        let row: Vec<f64> = (0..12).map(f64::from).collect();
        let first = ImageShape::new(3, 2, 2).unwrap().arrange(&row);
        assert_eq!(first, (0..12_u8).map(f32::from).collect::<Vec<_>>());
        let last = ImageShape { channels_last: true, ..ImageShape::new(3, 2, 2).unwrap() }.arrange(&row);
        assert_eq!(last, [0.0, 3.0, 6.0, 9.0, 1.0, 4.0, 7.0, 10.0, 2.0, 5.0, 8.0, 11.0]);
    }

    #[test]
    fn shapes_are_typed_with_channels_first() {
        let typed = |text: &str| text.parse::<ImageShape>().map(|shape| shape.lengths());
        assert_eq!((typed("3x32x30"), typed("28x29")), (Ok([3, 32, 30]), Ok([1, 28, 29])));
        for text in ["", "5", "3x0x2", "axb", "1x2x3x4", "3x-1", "99999999999x99999999999"] {
            assert!(typed(text).is_err(), "{text}");
        }
        let shape = ImageShape::new(1, 2, 3).unwrap();
        assert!(shape.check(6).is_ok() && ImageShape::new(0, 1, 1).is_err());
        let fault = shape.check(7).unwrap_err().to_string();
        assert_eq!(fault, "an image of 1x2x3 has 6 numbers, the rows have 7");
    }
}
