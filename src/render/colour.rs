//! Colours of numbers.

use std::f64::consts::TAU;
use std::ops::Range;

use crate::{Error, Result};

use super::light::{from_oklab, oklab};

/// Red, green and blue of a pixel, in sRGB.
pub type Rgb = [u8; 3];

/// A perceptual colour map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColourMap {
    /// Dark blue over green to yellow, ever lighter (viridis; van der Walt & Smith 2015).
    Sequential,
    /// Blue over white to red, as dark at both ends (RdBu; Brewer 1994).
    Diverging,
    /// All hues at one lightness, for angles: both ends have one colour, and what is beyond an end comes round again.
    Cyclic,
}

/// Lightness and chroma of all hues, in Oklab; at more chroma some hues are no colours of a screen.
const ROUND: [f64; 2] = [0.72, 0.115];

/// Colours that a map keeps; a step is less than can be seen.
const STEPS: usize = 256;

/// Every 256/19th colour of viridis.
const VIRIDIS: [u32; 20] = [
    0x440154, 0x481568, 0x482677, 0x453781, 0x3F4788, 0x39558C, 0x32648E, 0x2D718E, 0x287D8E, 0x238A8D,
    0x1F968B, 0x20A386, 0x29AF7F, 0x3CBC75, 0x56C667, 0x74D055, 0x94D840, 0xB8DE29, 0xDCE318, 0xFDE725,
];

const BLUE_TO_RED: [u32; 9] =
    [0x2166AC, 0x4393C3, 0x92C5DE, 0xD1E5F0, 0xF7F7F7, 0xFDDBC7, 0xF4A582, 0xD6604D, 0xB2182B];

/// The range, where it is not empty; else one around it: half as wide as its ends are far from 0 to either side, or by a
/// half where that is nothing.
pub fn widened(range: Range<f64>) -> Range<f64> {
    let Range { start, end } = range;
    if start < end {
        return range;
    }
    let far = start.abs().max(end.abs());
    let half = if far > f64::MIN_POSITIVE { 0.5 * far } else { 0.5 };
    start - half..end + half
}

/// The colours of a range of numbers; those beyond an end have the colour of the end, but on a cycle.
#[derive(Debug, Clone, PartialEq)]
pub struct Scale {
    low: f64,
    high: f64,
    map: ColourMap,
    colours: Vec<Rgb>,
}

impl Scale {
    /// The colours of a map over a range. A diverging map is centred at 0 and reaches equally far to both sides: as far
    /// as the end of the range that lies farther from 0.
    ///
    /// # Errors
    /// [`Error::Argument`] for ends that are not finite or do not ascend.
    pub fn new(map: ColourMap, range: Range<f64>) -> Result<Self> {
        let Range { start, end } = range;
        if !(start.is_finite() && end.is_finite() && start < end && (end - start).is_finite()) {
            return Err(Error::Argument(format!("a range of colours must ascend: {start},{end} does not")));
        }
        let far = start.abs().max(end.abs());
        let (low, high) = if map == ColourMap::Diverging { (-far, far) } else { (start, end) };
        let stops: &[u32] = match map {
            ColourMap::Sequential => &VIRIDIS,
            ColourMap::Diverging => &BLUE_TO_RED,
            ColourMap::Cyclic => &[],
        };
        let stops: Vec<[f64; 3]> = stops.iter().map(|&stop| oklab(rgb(stop))).collect();
        let colour = |i: usize| {
            if map == ColourMap::Cyclic {
                let (sine, cosine) =
                    (libm::sin(TAU * i as f64 / STEPS as f64), libm::cos(TAU * i as f64 / STEPS as f64));
                return from_oklab([ROUND[0], ROUND[1] * cosine, ROUND[1] * sine]);
            }
            let at = (stops.len() - 1) as f64 * i as f64 / (STEPS - 1) as f64;
            let below = (at as usize).min(stops.len() - 2);
            let share = at - below as f64;
            let (a, b) = (stops[below], stops[below + 1]);
            from_oklab([0, 1, 2].map(|c| a[c] + share * (b[c] - a[c])))
        };
        Ok(Self { low, high, map, colours: (0..STEPS).map(colour).collect() })
    }

    /// The numbers that have colours of their own.
    pub fn range(&self) -> Range<f64> {
        self.low..self.high
    }

    /// The map.
    pub fn map(&self) -> ColourMap {
        self.map
    }

    /// The colour of a number.
    pub fn colour(&self, value: f64) -> Rgb {
        let share = (value - self.low) / (self.high - self.low);
        if self.map == ColourMap::Cyclic {
            let step = (share - share.floor()) * STEPS as f64;
            return self.colours[(step as usize).min(STEPS - 1)];
        }
        // What is below 0 becomes 0.
        self.colours[((share * STEPS as f64) as usize).min(STEPS - 1)]
    }
}

/// Of a number `0xRRGGBB`.
pub(super) fn rgb(colour: u32) -> Rgb {
    [16, 8, 0].map(|shift| (colour >> shift) as u8)
}

#[cfg(test)]
mod tests {
    use super::super::light::squared_distance;
    use super::*;

    fn distance(a: Rgb, b: Rgb) -> f64 {
        squared_distance(oklab(a), oklab(b)).sqrt()
    }

    #[test]
    fn ranges_of_constants_are_not_empty() {
        assert_eq!(widened(1.0..2.0), 1.0..2.0);
        assert_eq!((widened(0.0..0.0), widened(0.1..0.1)), (-0.5..0.5, 0.05..0.1 + 0.05));
        assert_eq!(widened(-1e20..-1e20), -1.5e20..-0.5e20);
    }

    #[test]
    fn cycles_meet() {
        let scale = Scale::new(ColourMap::Cyclic, -180.0..180.0).unwrap();
        assert_eq!(scale.colour(-180.0), scale.colour(180.0));
        assert_eq!((scale.colour(190.0), scale.colour(-361.0)), (scale.colour(-170.0), scale.colour(-1.0)));
        // Even steps, the last one to the first too, of one lightness, and opposite angles far apart.
        for degrees in -180..180 {
            let at = f64::from(degrees);
            assert!(distance(scale.colour(at), scale.colour(at + 1.5)) < 0.01, "{degrees}");
            assert!(distance(scale.colour(at), scale.colour(at + 180.0)) > 0.2, "{degrees}");
            assert!((oklab(scale.colour(at))[0] - ROUND[0]).abs() < 0.01, "{degrees}");
        }
    }

    #[test]
    fn the_map_of_numbers_is_viridis() {
        let scale = Scale::new(ColourMap::Sequential, -1.0..3.0).unwrap();
        assert_eq!((scale.colour(-1.0), scale.colour(3.0)), ([0x44, 0x01, 0x54], [0xFD, 0xE7, 0x25]));
        assert_eq!((scale.colour(-7.0), scale.colour(1e30)), (scale.colour(-1.0), scale.colour(3.0)));
        // Nearly 0x21918C, the middle of the published table.
        assert!(distance(scale.colour(1.0), [0x21, 0x91, 0x8C]) < 0.01, "{:?}", scale.colour(1.0));
        // Ever lighter, in even steps.
        let light = |i: usize| oklab(scale.colours[i])[0];
        assert!((1..STEPS).all(|i| light(i) > light(i - 1) - 1e-3));
    }

    #[test]
    fn diverging_maps_are_centred_at_zero() {
        let scale = Scale::new(ColourMap::Diverging, -1.0..4.0).unwrap();
        assert_eq!(scale.range(), -4.0..4.0);
        let [red, _, blue] = scale.colour(-4.0);
        assert!(blue > red && scale.colour(4.0)[0] > scale.colour(4.0)[2]);
        assert!(scale.colour(0.0).iter().all(|&c| c >= 0xF5), "{:?}", scale.colour(0.0));
        for range in [1.0..1.0, 2.0..1.0, 0.0..f64::INFINITY, f64::NAN..1.0, -1e308..1e308] {
            assert!(Scale::new(ColourMap::Sequential, range).is_err());
        }
    }
}
