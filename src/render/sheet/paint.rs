//! Colours of the numbers on a sheet.

use std::ops::Range;

use crate::Result;
use crate::render::{ColourMap, Rgb, Scale, widened};

use super::Content;

/// How numbers become colours.
#[derive(Debug, Clone)]
pub(super) enum Paint {
    /// From black to white.
    Levels(Range<f64>),
    /// By a map.
    Colours(Scale),
}

impl Paint {
    /// The colours of a range, which may be empty; `rgb` is for signed numbers that are shown as red, green and blue.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) for ends that are not finite.
    pub(super) fn new(content: Content, range: Range<f64>, rgb: bool) -> Result<Self> {
        let far = range.start.abs().max(range.end.abs());
        let far = if far > 0.0 { far } else { 1.0 };
        let wide = widened(range);
        Ok(match content {
            Content::Image => Self::Levels(wide),
            Content::Map => Self::Colours(Scale::new(ColourMap::Sequential, wide)?),
            Content::Signed if rgb => Self::Levels(-far..far),
            Content::Signed => Self::Colours(Scale::new(ColourMap::Diverging, -far..far)?),
        })
    }

    /// The numbers that have colours of their own.
    pub(super) fn range(&self) -> Range<f64> {
        match self {
            Self::Levels(range) => range.clone(),
            Self::Colours(scale) => scale.range(),
        }
    }

    /// The colour of a number.
    pub(super) fn colour(&self, value: f64) -> Rgb {
        match self {
            Self::Levels(range) => [level(range, value); 3],
            Self::Colours(scale) => scale.colour(value),
        }
    }

    /// The colour of three numbers, its red, green and blue.
    pub(super) fn rgb(&self, values: [f64; 3]) -> Rgb {
        values.map(|value| level(&self.range(), value))
    }
}

/// A component of sRGB, as files of images hold them.
fn level(range: &Range<f64>, value: f64) -> u8 {
    let share = (value - range.start) / (range.end - range.start);
    (255.0 * share.clamp(0.0, 1.0)).round() as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_grey_and_signed_numbers_centred() {
        let image = Paint::new(Content::Image, -1.0..3.0, false).unwrap();
        assert_eq!([-1.0, 0.0, 1.0, 7.0].map(|v| image.colour(v)), [[0; 3], [64; 3], [128; 3], [255; 3]]);
        assert_eq!(image.rgb([3.0, -1.0, 1.0]), [255, 0, 128]);
        let signed = Paint::new(Content::Signed, -1.0..4.0, false).unwrap();
        assert_eq!((signed.range(), signed.colour(4.0)), (-4.0..4.0, [0xB2, 0x18, 0x2B]));
        let rgb = Paint::new(Content::Signed, -1.0..4.0, true).unwrap();
        assert_eq!(rgb.rgb([-4.0, 0.0, 2.0]), [0, 128, 191]);
        assert_eq!(Paint::new(Content::Map, 1.0..2.0, false).unwrap().colour(1.0), [0x44, 0x01, 0x54]);
    }

    #[test]
    fn constants_have_ranges_too() {
        let of = |content, value: f64| Paint::new(content, value..value, false).unwrap().range();
        assert_eq!((of(Content::Image, 2.0), of(Content::Map, 0.0)), (1.0..3.0, -0.5..0.5));
        assert_eq!((of(Content::Signed, 0.0), of(Content::Signed, -2.0)), (-1.0..1.0, -2.0..2.0));
        assert!(Paint::new(Content::Map, f64::NAN..1.0, false).is_err());
    }
}
