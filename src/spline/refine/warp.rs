//! Images that are moved, turned, stretched and bent a little, as things in them would be.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::{Error, Result, Scalar};

/// Standard deviations at strength 1, in half widths of the image (radians, logarithms). On MNIST (784-256x4-10,
/// 256 pieces, 3,000 steps, validation) half of them left an error of 0.187, these 0.175, and 1.4 times them 0.192.
const SHIFT: f64 = 0.06;
const TURN: f64 = 0.085;
const STRETCH: f64 = 0.055;
const SHEAR: f64 = 0.085;
const BEND: f64 = 0.035;

/// Cosines along each axis that a bend is made of.
const WAVES: usize = 5;

/// Random deformations of images `[C, H, W]` (as Simard, Steinkraus & Platt 2003 made more digits of the ones they had):
/// an affine map of the plane and a smooth bend, sampled bilinearly; beyond its edges an image goes on as it ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Warp {
    size: [usize; 2],
    strength: f64,
}

/// One of them: where pixels come from.
#[derive(Debug, Clone)]
pub(super) struct Deformation {
    /// `[2, 3]`: to x and y of the source from x, y and 1, all in half widths from the middle.
    affine: [[f64; 3]; 2],
    /// `[2, WAVES, WAVES]`, amplitudes along x and y of the source; the waves run along y, then x.
    bend: [[[f64; WAVES]; WAVES]; 2],
}

impl Warp {
    /// Deformations of images of this shape, `[H, W]` or `[C, H, W]`; 1 is what did best on handwriting.
    ///
    /// # Errors
    /// [`Error::Argument`] for another shape, or a strength that is negative or not finite.
    pub fn new(shape: &[usize], strength: f64) -> Result<Self> {
        if !(strength.is_finite() && strength >= 0.0) {
            return Err(Error::Argument(format!(
                "the strength of a warp must be finite and at least 0, not {strength}"
            )));
        }
        match shape {
            &[.., height, width] if shape.len() <= 3 && height > 1 && width > 1 => {
                Ok(Self { size: [height, width], strength })
            }
            _ => Err(Error::Argument(format!(
                "only images can be warped: rows of shape [H, W] or [C, H, W], not {shape:?}"
            ))),
        }
    }

    /// Draws a deformation.
    pub(super) fn draw(&self, rng: &mut ChaCha8Rng) -> Deformation {
        // Uniform, so that nothing is thrown out of the picture.
        let mut vary = |deviation: f64| {
            let most = self.strength * deviation * 3f64.sqrt();
            if most > 0.0 { rng.random_range(-most..most) } else { 0.0 }
        };
        let (sin, cos) = vary(TURN).sin_cos();
        let (across, along) = (vary(STRETCH).exp(), vary(STRETCH).exp());
        let shear = vary(SHEAR);
        let affine = [[cos * across, shear - sin, vary(SHIFT)], [sin, cos * along, vary(SHIFT)]];
        // A product of two waves has a mean square of 1/4, or 1/2 where one is constant; the constant itself is a shift.
        let waves = (WAVES - 1) as f64;
        let amplitude = BEND / (waves + waves * waves / 4.0).sqrt();
        let mut bend = [[[0.0; WAVES]; WAVES]; 2];
        for (i, wave) in bend.iter_mut().flatten().flatten().enumerate() {
            if i % (WAVES * WAVES) != 0 {
                *wave = vary(amplitude);
            }
        }
        Deformation { affine, bend }
    }

    /// Deforms one image `[C, H, W]`.
    pub(super) fn apply<S: Scalar>(&self, deformation: &Deformation, image: &mut [S]) {
        let Self { size: [height, width], .. } = *self;
        let before = image.to_vec();
        let middle = |length: usize| (length as f64 - 1.0) / 2.0;
        let waves = |at: usize, length: usize| -> [f64; WAVES] {
            let phase = std::f64::consts::PI * (at as f64 + 0.5) / length as f64;
            std::array::from_fn(|wave| (wave as f64 * phase).cos())
        };
        let across: Vec<[f64; WAVES]> = (0..width).map(|x| waves(x, width)).collect();
        let dot = |a: &[f64; WAVES], b: &[f64; WAVES]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        for y in 0..height {
            let down = waves(y, height);
            // Amplitudes of the waves along x in this row.
            let bend: [[f64; WAVES]; 2] = std::array::from_fn(|axis| {
                std::array::from_fn(|wave| {
                    (0..WAVES).map(|row| deformation.bend[axis][row][wave] * down[row]).sum()
                })
            });
            let v = (y as f64 - middle(height)) / (height as f64 / 2.0);
            for (x, waves) in across.iter().enumerate() {
                let u = (x as f64 - middle(width)) / (width as f64 / 2.0);
                let from = |axis: usize, length: usize| {
                    let [of_x, of_y, shift] = deformation.affine[axis];
                    let place = of_x * u + of_y * v + shift + dot(&bend[axis], waves);
                    let place =
                        (place * (length as f64 / 2.0) + middle(length)).clamp(0.0, length as f64 - 1.0);
                    let first = (place as usize).min(length - 2);
                    (first, S::of(place - first as f64))
                };
                let ((left, right_share), (top, bottom_share)) = (from(0, width), from(1, height));
                let planes = before.chunks_exact(height * width).zip(image.chunks_exact_mut(height * width));
                for (before, image) in planes {
                    let at = top * width + left;
                    let mix = |a: S, b: S, share: S| a + share * (b - a);
                    let above = mix(before[at], before[at + 1], right_share);
                    let below = mix(before[at + width], before[at + width + 1], right_share);
                    image[y * width + x] = mix(above, below, bottom_share);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    const STILL: Deformation =
        Deformation { affine: [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], bend: [[[0.0; WAVES]; WAVES]; 2] };

    fn image(channels: usize, height: usize, width: usize) -> Vec<f64> {
        (0..channels * height * width).map(|i| (i as f64 * 0.37).sin()).collect()
    }

    #[test]
    fn shifts_move_pixels_and_edges_go_on() {
        let warp = Warp::new(&[2, 5, 8], 1.0).unwrap();
        let before = image(2, 5, 8);
        let mut still = before.clone();
        warp.apply(&STILL, &mut still);
        assert!(still.iter().zip(&before).all(|(a, b)| (a - b).abs() < 1e-12));

        // One pixel to the left is a quarter of a half width; two pixels down four fifths of a half height.
        let mut moved = before.clone();
        let mut deformation = STILL;
        deformation.affine[0][2] = 0.25;
        deformation.affine[1][2] = -0.8;
        warp.apply(&deformation, &mut moved);
        for channel in 0..2 {
            for y in 0..5_usize {
                for x in 0..8_usize {
                    let from = (channel * 5 + y.saturating_sub(2)) * 8 + (x + 1).min(7);
                    let (found, expected) = (moved[(channel * 5 + y) * 8 + x], before[from]);
                    assert!((found - expected).abs() < 1e-12, "{channel} {y} {x}: {found} for {expected}");
                }
            }
        }
    }

    #[test]
    fn a_quarter_turn_turns_a_square() {
        let warp = Warp::new(&[6, 6], 1.0).unwrap();
        let before = image(1, 6, 6);
        let mut turned = before.clone();
        let affine = [[0.0, -1.0, 0.0], [1.0, 0.0, 0.0]];
        warp.apply(&Deformation { affine, ..STILL }, &mut turned);
        for y in 0..6 {
            for x in 0..6 {
                assert!((turned[y * 6 + x] - before[x * 6 + 5 - y]).abs() < 1e-12, "{y} {x}");
            }
        }
    }

    #[test]
    fn deformations_are_as_large_as_they_say() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let warp = Warp::new(&[28, 28], 1.0).unwrap();
        let drawn: Vec<Deformation> = (0..4000).map(|_| warp.draw(&mut rng)).collect();
        let deviation = |of: &dyn Fn(&Deformation) -> f64| {
            (drawn.iter().map(|d| of(d).powi(2)).sum::<f64>() / drawn.len() as f64).sqrt()
        };
        assert!((deviation(&|d| d.affine[0][2]) / SHIFT - 1.0).abs() < 0.05);
        assert!((deviation(&|d| d.affine[1][0]) / TURN - 1.0).abs() < 0.05);
        // The mean over the picture of the squared bend.
        let bend = |d: &Deformation| {
            let mut sum = 0.0;
            for y in 0..28 {
                for x in 0..28 {
                    let wave = |at: usize, wave: usize| {
                        (wave as f64 * std::f64::consts::PI * (at as f64 + 0.5) / 28.0).cos()
                    };
                    let terms = (0..WAVES).flat_map(|i| (0..WAVES).map(move |j| (i, j)));
                    sum += terms.map(|(i, j)| d.bend[1][i][j] * wave(y, i) * wave(x, j)).sum::<f64>().powi(2);
                }
            }
            (sum / 784.0).sqrt()
        };
        let mean = (drawn[..100].iter().map(|d| bend(d).powi(2)).sum::<f64>() / 100.0).sqrt();
        assert!((mean / BEND - 1.0).abs() < 0.1, "{mean}");
        let none = Warp::new(&[28, 28], 0.0).unwrap().draw(&mut rng);
        assert_eq!(none.affine, STILL.affine);
    }

    #[test]
    fn what_is_no_image_is_refused() {
        for shape in [&[784][..], &[], &[1, 28], &[2, 3, 4, 5]] {
            assert!(Warp::new(shape, 1.0).is_err(), "{shape:?}");
        }
        assert!(Warp::new(&[3, 28, 28], -1.0).is_err());
        assert!(Warp::new(&[3, 28, 28], f64::NAN).is_err());
    }
}
