//! Colours of categories.

use std::sync::LazyLock;

use super::Rgb;
use super::colour::rgb;
use super::light::{oklab, squared_distance};

/// The first categories: seven colours that stay apart for colour-blind readers too (Okabe & Ito 2008), and five in
/// their spirit. Of the first ten no two are nearer than 0.14 in Oklab, and 0.068 where green or red is not seen.
const FIRST: [u32; 12] = [
    0x0072B2, 0xD55E00, 0x009E73, 0xCC79A7, 0xE69F00, 0x56B4E9, 0x5A5A5A, 0xEFDF5B, 0x332288, 0x7A1F3D,
    0xA6DBC2, 0xC9B8E8,
];

/// Categories with a colour of their own.
const CATEGORIES: usize = 256;

/// The chroma of further categories in Oklab: neither grey nor garish.
const CHROMA: std::ops::Range<f64> = 0.03..0.15;

/// The colour of a category, the same in every picture. The first 256 have colours of their own, from the thirteenth on
/// each as far from those before it as can be at moderate chroma; beyond, they repeat.
pub fn category(number: u32) -> Rgb {
    static COLOURS: LazyLock<Vec<Rgb>> = LazyLock::new(categories);
    COLOURS[number as usize % CATEGORIES]
}

/// The first colours, and then always the one that is farthest from all before it, in Oklab.
fn categories() -> Vec<Rgb> {
    let mut colours: Vec<Rgb> = FIRST.iter().map(|&colour| rgb(colour)).collect();
    let mut candidates: Vec<(Rgb, [f64; 3], f64)> = vec![];
    let levels: Vec<u8> = (0..32).map(|level| level << 3 | level >> 2).collect();
    for &red in &levels {
        for &green in &levels {
            for &blue in &levels {
                let lab = oklab([red, green, blue]);
                if (0.36..0.92).contains(&lab[0]) && CHROMA.contains(&lab[1].hypot(lab[2])) {
                    candidates.push(([red, green, blue], lab, f64::MAX));
                }
            }
        }
    }
    let reach = |candidates: &mut Vec<(Rgb, [f64; 3], f64)>, colour: Rgb| {
        let lab = oklab(colour);
        candidates
            .iter_mut()
            .for_each(|(_, other, nearest)| *nearest = nearest.min(squared_distance(*other, lab)));
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

#[cfg(test)]
mod tests {
    use super::super::light::{component, light};
    use super::*;

    /// How colours look without one kind of cone: of light, at full severity (Machado, Oliveira & Fernandes 2009).
    const BLIND: [[[f64; 3]; 3]; 3] = [
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    ];

    fn nearest(count: u32, seen: impl Fn(Rgb) -> Rgb) -> f64 {
        let labs: Vec<[f64; 3]> = (0..count).map(|number| oklab(seen(category(number)))).collect();
        let pairs = labs.iter().enumerate().flat_map(|(i, a)| labs[..i].iter().map(move |b| (a, b)));
        pairs.map(|(a, b)| squared_distance(*a, *b).sqrt()).fold(f64::MAX, f64::min)
    }

    #[test]
    fn categories_are_stable_and_well_apart() {
        assert_eq!((category(0), category(1)), ([0x00, 0x72, 0xB2], [0xD5, 0x5E, 0x00]));
        assert_eq!(category(3), category(3 + CATEGORIES as u32));
        // A difference of 0.02 is just seen.
        let found = [10, 12, 64, 256].map(|count| nearest(count, |colour| colour));
        assert!(found[0] > 0.14 && found[1] > 0.1 && found[2] > 0.05 && found[3] > 0.02, "{found:?}");
    }

    #[test]
    fn ten_stay_apart_for_colour_blind_readers() {
        for cones in BLIND {
            let seen = |colour: Rgb| {
                let of = colour.map(light);
                cones.map(|row| component(row.iter().zip(of).map(|(a, b)| a * b).sum()))
            };
            let found = nearest(10, seen);
            assert!(found > 0.065, "{found}");
        }
    }

    #[test]
    fn further_ones_are_of_moderate_chroma() {
        for number in 12..256 {
            let [lightness, a, b] = oklab(category(number));
            assert!((0.36..0.92).contains(&lightness) && CHROMA.contains(&a.hypot(b)), "{number}");
        }
    }
}
