//! Colours of numbers and of categories.

use std::ops::Range;
use std::sync::LazyLock;

use crate::{Error, Result};

/// Red, green and blue of a pixel, in sRGB.
pub type Rgb = [u8; 3];

/// A perceptual colour map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColourMap {
    /// Dark blue over green to yellow, ever lighter (viridis; van der Walt & Smith 2015).
    Sequential,
    /// Blue over white to red, as dark at both ends (RdBu; Brewer 1994).
    Diverging,
}

/// Colours that a map keeps; a step is less than can be seen.
const STEPS: usize = 256;

/// Every 256/19th colour of viridis.
const VIRIDIS: [u32; 20] = [
    0x440154, 0x481568, 0x482677, 0x453781, 0x3F4788, 0x39558C, 0x32648E, 0x2D718E, 0x287D8E, 0x238A8D,
    0x1F968B, 0x20A386, 0x29AF7F, 0x3CBC75, 0x56C667, 0x74D055, 0x94D840, 0xB8DE29, 0xDCE318, 0xFDE725,
];

const BLUE_TO_RED: [u32; 9] =
    [0x2166AC, 0x4393C3, 0x92C5DE, 0xD1E5F0, 0xF7F7F7, 0xFDDBC7, 0xF4A582, 0xD6604D, 0xB2182B];

/// The first categories: colours that stay apart for colour-blind readers too (Okabe & Ito 2008).
const FIRST: [u32; 7] = [0x0072B2, 0xD55E00, 0x009E73, 0xCC79A7, 0xE69F00, 0x56B4E9, 0x5A5A5A];

/// Categories with a colour of their own.
const CATEGORIES: usize = 256;

/// The colours of a range of numbers; those beyond an end have the colour of the end.
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
        let (low, high, stops) = match map {
            ColourMap::Sequential => (start, end, &VIRIDIS[..]),
            ColourMap::Diverging => {
                let far = start.abs().max(end.abs());
                (-far, far, &BLUE_TO_RED[..])
            }
        };
        let stops: Vec<[f64; 3]> = stops.iter().map(|&stop| oklab(rgb(stop))).collect();
        let colour = |i: usize| {
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
        // What is below 0 becomes 0.
        self.colours[((share * STEPS as f64) as usize).min(STEPS - 1)]
    }
}

/// The colour of a category, the same in every picture. The first 256 have colours of their own, each as far from those
/// before it as can be; beyond, they repeat.
pub fn category(number: u32) -> Rgb {
    static COLOURS: LazyLock<Vec<Rgb>> = LazyLock::new(categories);
    COLOURS[number as usize % CATEGORIES]
}

/// The first colours, and then always the one that is farthest from all before it, in Oklab, of those that are neither
/// near black nor near white.
fn categories() -> Vec<Rgb> {
    let mut colours: Vec<Rgb> = FIRST.iter().map(|&colour| rgb(colour)).collect();
    let mut candidates: Vec<(Rgb, [f64; 3], f64)> = vec![];
    let levels: Vec<u8> = (0..16).map(|level| 17 * level).collect();
    for &red in &levels {
        for &green in &levels {
            for &blue in &levels {
                let lab = oklab([red, green, blue]);
                if (0.35..0.93).contains(&lab[0]) {
                    candidates.push(([red, green, blue], lab, f64::MAX));
                }
            }
        }
    }
    let squared = |a: [f64; 3], b: [f64; 3]| (0..3).map(|c| (a[c] - b[c]).powi(2)).sum::<f64>();
    let reach = |candidates: &mut Vec<(Rgb, [f64; 3], f64)>, colour: Rgb| {
        let lab = oklab(colour);
        candidates.iter_mut().for_each(|(_, other, nearest)| *nearest = nearest.min(squared(*other, lab)));
    };
    colours.iter().for_each(|&colour| reach(&mut candidates, colour));
    while colours.len() < CATEGORIES {
        // Of equals the first.
        let farther = |a: Option<(Rgb, f64)>, b: &(Rgb, [f64; 3], f64)| match a {
            Some((_, nearest)) if nearest >= b.2 => a,
            _ => Some((b.0, b.2)),
        };
        let Some((colour, _)) = candidates.iter().fold(None, farther) else { break };
        colours.push(colour);
        reach(&mut candidates, colour);
    }
    colours
}

fn rgb(colour: u32) -> Rgb {
    [16, 8, 0].map(|shift| (colour >> shift) as u8)
}

/// The light of an sRGB component, in `[0, 1]` (IEC 61966-2-1).
pub(super) fn light(component: u8) -> f64 {
    let x = f64::from(component) / 255.0;
    if x <= 0.04045 { x / 12.92 } else { libm::pow((x + 0.055) / 1.055, 2.4) }
}

/// The sRGB component of a light.
pub(super) fn component(light: f64) -> u8 {
    let light = light.clamp(0.0, 1.0);
    let x = if light <= 0.003_130_8 { 12.92 * light } else { 1.055 * libm::pow(light, 1.0 / 2.4) - 0.055 };
    (255.0 * x).round() as u8
}

/// Lightness, green to red and blue to yellow, in which distances are as they are seen (Oklab; Ottosson 2020).
fn oklab(colour: Rgb) -> [f64; 3] {
    let [r, g, b] = colour.map(light);
    let cone = |x: f64, y: f64, z: f64| libm::cbrt(x * r + y * g + z * b);
    let l = cone(0.412_221_470_8, 0.536_332_536_3, 0.051_445_992_9);
    let m = cone(0.211_903_498_2, 0.680_699_545_1, 0.107_396_956_6);
    let s = cone(0.088_302_461_9, 0.281_718_837_6, 0.629_978_700_5);
    [
        0.210_454_255_3 * l + 0.793_617_785 * m - 0.004_072_046_8 * s,
        1.977_998_495_1 * l - 2.428_592_205 * m + 0.450_593_709_9 * s,
        0.025_904_037_1 * l + 0.782_771_766_2 * m - 0.808_675_766 * s,
    ]
}

fn from_oklab([l, a, b]: [f64; 3]) -> Rgb {
    let cone = |x: f64, y: f64| (l + x * a + y * b).powi(3);
    let long = cone(0.396_337_777_4, 0.215_803_757_3);
    let medium = cone(-0.105_561_345_8, -0.063_854_172_8);
    let short = cone(-0.089_484_177_5, -1.291_485_548);
    [
        4.076_741_662_1 * long - 3.307_711_591_3 * medium + 0.230_969_929_2 * short,
        -1.268_438_004_6 * long + 2.609_757_401_1 * medium - 0.341_319_396_5 * short,
        -0.004_196_086_3 * long - 0.703_418_614_7 * medium + 1.707_614_701 * short,
    ]
    .map(component)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distance(a: Rgb, b: Rgb) -> f64 {
        let (a, b) = (oklab(a), oklab(b));
        (0..3).map(|c| (a[c] - b[c]).powi(2)).sum::<f64>().sqrt()
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

    #[test]
    fn categories_are_stable_and_well_apart() {
        assert_eq!((category(0), category(1)), ([0x00, 0x72, 0xB2], [0xD5, 0x5E, 0x00]));
        assert_eq!(category(3), category(3 + CATEGORIES as u32));
        let nearest = |count: u32| {
            let pairs = (0..count).flat_map(|i| (0..i).map(move |j| (i, j)));
            pairs.map(|(i, j)| distance(category(i), category(j))).fold(f64::MAX, f64::min)
        };
        // A difference of 0.02 is just seen.
        assert!(
            nearest(10) > 0.1 && nearest(64) > 0.06 && nearest(256) > 0.02,
            "{} {}",
            nearest(10),
            nearest(256)
        );
    }

    #[test]
    fn light_and_components_are_inverse() {
        assert!((0..=255).all(|c| component(light(c)) == c && rgb(u32::from(c)) == [0, 0, c]));
        // Half the light is not half the number.
        assert_eq!(component(0.5), 188);
        let greys = [[0x80; 3], [0x21, 0x91, 0x8C]];
        assert!(greys.iter().all(|&c| from_oklab(oklab(c)) == c));
    }
}
