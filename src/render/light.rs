//! Light and sRGB: colours are mixed as light, and compared as they are seen.

use std::sync::LazyLock;

use super::Rgb;

/// The light of an sRGB component, in `[0, 1]` (IEC 61966-2-1).
fn exact_light(component: f64) -> f64 {
    let x = component / 255.0;
    if x <= 0.04045 { x / 12.92 } else { libm::pow((x + 0.055) / 1.055, 2.4) }
}

/// The light of each component.
static LIGHT: LazyLock<[f64; 256]> =
    LazyLock::new(|| std::array::from_fn(|component| exact_light(component as f64)));

/// Steps of [`GUESSES`]: at most one component ends within one, but for the darkest.
const STEPS: usize = 4096;

/// From which light on a component is the nearest, and the component at the start of each step of light: mixing a pixel
/// takes 5 ns with them and 150 with powers.
static NEAREST: LazyLock<([f64; 257], [u8; STEPS])> = LazyLock::new(|| {
    let from: [f64; 257] = std::array::from_fn(|component| match component {
        0 => 0.0,
        256 => f64::INFINITY,
        _ => exact_light(component as f64 - 0.5),
    });
    let guess = |step: usize| {
        let at = step as f64 / STEPS as f64;
        (from.partition_point(|&from| from <= at) - 1) as u8
    };
    (from, std::array::from_fn(guess))
});

/// The light of an sRGB component, in `[0, 1]`.
pub(super) fn light(component: u8) -> f64 {
    LIGHT[usize::from(component)]
}

/// The sRGB component of a light.
pub(super) fn component(light: f64) -> u8 {
    let light = light.clamp(0.0, 1.0);
    let (from, guesses) = &*NEAREST;
    let mut component = guesses[((light * STEPS as f64) as usize).min(STEPS - 1)];
    while light >= from[usize::from(component) + 1] {
        component += 1;
    }
    component
}

/// The mean of colours as light; black of none.
pub(super) fn mean(colours: impl IntoIterator<Item = Rgb>) -> Rgb {
    let (mut sum, mut count) = ([0.0; 3], 0_u32);
    for colour in colours {
        sum.iter_mut().zip(colour).for_each(|(sum, c)| *sum += light(c));
        count += 1;
    }
    sum.map(|sum| component(sum / f64::from(count.max(1))))
}

/// A colour over another one, covering a `share` of it.
pub(super) fn over(below: Rgb, above: Rgb, share: f64) -> Rgb {
    let mix = |c: usize| component((1.0 - share) * light(below[c]) + share * light(above[c]));
    [mix(0), mix(1), mix(2)]
}

/// Lightness, green to red and blue to yellow, in which distances are as they are seen (Oklab; Ottosson 2020).
pub(super) fn oklab(colour: Rgb) -> [f64; 3] {
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

/// The nearest colour of an [`oklab`].
pub(super) fn from_oklab([l, a, b]: [f64; 3]) -> Rgb {
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

/// The square of the distance of two [`oklab`]s.
pub(super) fn squared_distance(a: [f64; 3], b: [f64; 3]) -> f64 {
    (0..3).map(|c| (a[c] - b[c]).powi(2)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn light_and_components_are_inverse() {
        assert!((0..=255).all(|c| component(light(c)) == c));
        // Half the light is not half the number.
        assert_eq!(component(0.5), 188);
        let greys = [[0x80; 3], [0x21, 0x91, 0x8C]];
        assert!(greys.iter().all(|&c| from_oklab(oklab(c)) == c));
    }

    #[test]
    fn components_are_those_of_the_formula() {
        for i in 0..=100_000 {
            let light = f64::from(i) / 100_000.0;
            let x = if light <= 0.003_130_8 {
                12.92 * light
            } else {
                1.055 * libm::pow(light, 1.0 / 2.4) - 0.055
            };
            // The two halves of the standard do not quite meet: only there may the nearest differ.
            let near = (255.0 * x - f64::from(component(light))).abs();
            assert!(near <= 0.5 + 1e-4, "{light}: {near}");
        }
        assert_eq!((component(-1.0), component(2.0)), (0, 255));
    }

    #[test]
    fn means_are_of_light() {
        assert_eq!(mean([[0; 3], [255; 3]]), [188; 3]);
        assert_eq!(mean([]), [0; 3]);
        assert_eq!(over([255, 0, 7], [0, 255, 7], 0.5), [188, 188, 7]);
        assert_eq!((over([9; 3], [7; 3], 0.0), over([9; 3], [7; 3], 1.0)), ([9; 3], [7; 3]));
    }
}
