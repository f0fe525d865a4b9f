//! Lines over pictures, anti-aliased.

use super::light::{light, over};
use super::{Rgb, colour::rgb};

/// Half of the widest line, in pixels.
pub(super) const MOST_HALF: f64 = 8.5;

/// Lines are nearly black over light colours and nearly white over dark ones.
const DARK: u32 = 0x141414;
const PALE: u32 = 0xF4F4F4;

/// The light below which a colour is dark: a lightness of 0.55 in Oklab.
const DARK_LIGHT: f64 = 0.166;

/// How much of each pixel of a row lines cover. A pixel's centre has whole coordinates.
pub(super) struct Strokes {
    row: f64,
    cover: Vec<f64>,
}

impl Strokes {
    /// Nothing on a row of so many pixels.
    pub(super) fn new(row: usize, width: usize) -> Self {
        Self { row: row as f64, cover: vec![0.0; width] }
    }

    /// Adds a segment between two points `[x, y]`, which reaches `half` a width to each side. How much of a pixel it
    /// covers is taken from the distance of the pixel's centre, which is exact for long lines along rows and columns.
    pub(super) fn add(&mut self, [a, b]: [[f64; 2]; 2], half: f64) {
        let reach = half + 0.5;
        if a[1].min(b[1]) - self.row >= reach || self.row - a[1].max(b[1]) >= reach {
            return;
        }
        let along = [b[0] - a[0], b[1] - a[1]];
        let squared = along[0] * along[0] + along[1] * along[1];
        let first = (a[0].min(b[0]) - reach).ceil().max(0.0) as usize;
        let end = ((a[0].max(b[0]) + reach).floor() + 1.0).clamp(0.0, self.cover.len() as f64) as usize;
        for x in first..end {
            let to = [x as f64 - a[0], self.row - a[1]];
            let share = if squared > 0.0 {
                ((to[0] * along[0] + to[1] * along[1]) / squared).clamp(0.0, 1.0)
            } else {
                0.0
            };
            let distance = (to[0] - share * along[0]).hypot(to[1] - share * along[1]);
            self.cover[x] = self.cover[x].max((reach - distance).clamp(0.0, 1.0));
        }
    }

    /// Draws the lines over a row: dark ones, or ones that stand out from each colour below.
    pub(super) fn draw(&self, pixels: &mut [Rgb], always_dark: bool) {
        for (pixel, &share) in pixels.iter_mut().zip(&self.cover) {
            if share > 0.0 {
                let ink = if always_dark || !is_dark(*pixel) { DARK } else { PALE };
                *pixel = over(*pixel, rgb(ink), share);
            }
        }
    }
}

/// Whether white stands out from a colour more than black.
pub(super) fn is_dark([red, green, blue]: Rgb) -> bool {
    0.2126 * light(red) + 0.7152 * light(green) + 0.0722 * light(blue) < DARK_LIGHT
}

#[cfg(test)]
mod tests {
    use super::super::light::oklab;
    use super::*;

    #[test]
    fn a_line_covers_what_its_width_says() {
        // 1.5 pixels wide, a quarter of a pixel below the centre of row 3, across all of it.
        let cover = |row| {
            let mut strokes = Strokes::new(row, 9);
            strokes.add([[-5.0, 3.25], [20.0, 3.25]], 0.75);
            strokes.cover
        };
        for (row, share) in [(1, 0.0), (2, 0.0), (3, 1.0), (4, 0.5), (5, 0.0)] {
            assert_eq!(cover(row), [share; 9], "{row}");
        }
        // A point covers a disc, and nothing beyond the row.
        let mut strokes = Strokes::new(0, 3);
        strokes.add([[2.0, 0.0]; 2], 0.75);
        assert_eq!(strokes.cover, [0.0, 0.25, 1.0]);
    }

    #[test]
    fn lines_stand_out() {
        assert!(is_dark([0x44, 0x01, 0x54]) && !is_dark([0xFD, 0xE7, 0x25]) && !is_dark([0xF7; 3]));
        let mut pixels = [[0x44, 0x01, 0x54], [0xFD, 0xE7, 0x25]];
        let before = pixels;
        let mut strokes = Strokes::new(0, 2);
        strokes.add([[0.0, 0.0], [1.0, 0.0]], 0.75);
        strokes.draw(&mut pixels, false);
        for (a, b) in before.into_iter().zip(pixels) {
            assert!((oklab(a)[0] - oklab(b)[0]).abs() > 0.4, "{a:?} {b:?}");
        }
    }
}
