//! Lines of constant value.

use std::ops::Range;

use rayon::prelude::*;

use crate::{Error, Result};

use super::ColourMap;
use super::Scale;
use super::legend::ticks;
use super::stroke::Strokes;
use super::window::Window;

/// The most levels of a picture.
pub const MOST_LEVELS: usize = 1000;

/// By how much the line of value 0 is wider on diverging scales, in pixels.
const EMPHASIS: f64 = 1.0;

/// Round values within a range, about so many (or 10): a third of that at least, one more at most.
///
/// # Errors
/// [`Error::Argument`] for a range that is empty or not finite, none, or more than [`MOST_LEVELS`].
pub fn contour_levels(range: Range<f64>, count: Option<usize>) -> Result<Vec<f64>> {
    let count = count.unwrap_or(10);
    if !(1..=MOST_LEVELS).contains(&count) {
        return Err(Error::Argument(format!("a picture has 1 to {MOST_LEVELS} contours, not {count}")));
    }
    let Range { start, end } = range;
    if !(start.is_finite() && end.is_finite() && start < end && (end - start).is_finite()) {
        return Err(Error::Argument(format!("the values of contours must ascend: {start},{end} do not")));
    }
    Ok(ticks(start, end, count).into_iter().map(|(value, _)| value).collect())
}

/// The levels of a picture.
pub(super) struct Contours {
    /// Ascending.
    levels: Vec<f64>,
    /// Half the width of each.
    halves: Vec<f64>,
}

impl Contours {
    /// # Errors
    /// [`Error::Argument`] for levels that are not finite, and more than [`MOST_LEVELS`].
    pub(super) fn new(levels: &[f64], scale: Option<&Scale>, width: f64) -> Result<Self> {
        if levels.len() > MOST_LEVELS {
            let count = levels.len();
            return Err(Error::Argument(format!(
                "a picture has at most {MOST_LEVELS} contours, not {count}"
            )));
        }
        if let Some(level) = levels.iter().find(|level| !level.is_finite()) {
            return Err(Error::Argument(format!("the value of a contour must be finite, not {level}")));
        }
        let mut levels = levels.to_vec();
        levels.sort_by(f64::total_cmp);
        levels.dedup();
        let diverging = scale.is_some_and(|scale| scale.map() == ColourMap::Diverging);
        let half = |&level: &f64| 0.5 * (width + if diverging && level == 0.0 { EMPHASIS } else { 0.0 });
        let halves = levels.iter().map(half).collect();
        Ok(Self { levels, halves })
    }

    /// Rows to each side that a row depends on.
    pub(super) fn reach(&self) -> usize {
        self.halves.iter().fold(0.0, |a: f64, b| a.max(b + 0.5)).ceil() as usize
    }

    /// How many levels lie below each value: where neighbours differ, lines pass between them.
    pub(super) fn ranks(&self, values: &[f32]) -> Vec<u16> {
        let rank = |&value: &f32| self.levels.partition_point(|&level| level < f64::from(value)) as u16;
        values.par_iter().with_min_len(1 << 12).map(rank).collect()
    }

    /// Draws what of the lines covers a row. Between four neighbouring centres a line is straight, from side to side, where
    /// the values along these would be affine: so it is closed or ends at an edge of the picture, is as wide where the
    /// field is flat or has a kink as elsewhere, and passes around plateaus.
    pub(super) fn draw(&self, values: &Window<f32>, ranks: &Window<u16>, row: usize, strokes: &mut Strokes) {
        let reach = self.reach();
        for above in row.saturating_sub(reach)..row + reach {
            let rows = [above, above + 1].map(|row| Some((values.row(row)?, ranks.row(row)?)));
            if let [Some((above_values, a)), Some((below_values, b))] = rows {
                for x in 1..a.len() {
                    if (a[x - 1], b[x - 1], b[x]) != (a[x], a[x], a[x]) {
                        let of = |values: &[f32]| [f64::from(values[x - 1]), f64::from(values[x])];
                        let ranks = [a[x - 1], a[x], b[x - 1], b[x]].map(usize::from);
                        let least = ranks.into_iter().min().unwrap_or(0);
                        let most = ranks.into_iter().max().unwrap_or(0);
                        for level in least..most {
                            let at = [(x - 1) as f64, above as f64];
                            let half = self.halves[level];
                            cell(of(above_values), of(below_values), self.levels[level], |segment| {
                                strokes.add(segment.map(|[x, y]| [at[0] + x, at[1] + y]), half);
                            });
                        }
                    }
                }
            }
        }
    }
}

/// The lines of a value within a square of four values: above left and right, below left and right. Above a value is what
/// is larger, not equal.
fn cell(above: [f64; 2], below: [f64; 2], level: f64, mut each: impl FnMut([[f64; 2]; 2])) {
    let crossing = |a: f64, b: f64| ((a > level) != (b > level)).then(|| (level - a) / (b - a));
    let top = crossing(above[0], above[1]).map(|share| [share, 0.0]);
    let right = crossing(above[1], below[1]).map(|share| [1.0, share]);
    let bottom = crossing(below[0], below[1]).map(|share| [share, 1.0]);
    let left = crossing(above[0], below[0]).map(|share| [0.0, share]);
    if let (Some(top), Some(right), Some(bottom), Some(left)) = (top, right, bottom, left) {
        // A saddle: the mean says which of the corners are joined.
        let mean = 0.25 * (above[0] + above[1] + below[0] + below[1]);
        if (above[0] > level) == (mean > level) {
            each([top, right]);
            each([bottom, left]);
        } else {
            each([left, top]);
            each([right, bottom]);
        }
        return;
    }
    let mut ends = [top, right, bottom, left].into_iter().flatten();
    if let (Some(a), Some(b)) = (ends.next(), ends.next()) {
        each([a, b]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(above: [f64; 2], below: [f64; 2], level: f64) -> Vec<[[f64; 2]; 2]> {
        let mut found = vec![];
        cell(above, below, level, |segment| found.push(segment));
        found
    }

    #[test]
    fn lines_within_a_square() {
        assert_eq!(lines([0.0, 4.0], [0.0, 4.0], 1.0), [[[0.25, 0.0], [0.25, 1.0]]]);
        assert_eq!(lines([0.0, 0.0], [0.0, 4.0], 1.0), [[[1.0, 0.25], [0.25, 1.0]]]);
        // A plateau at the level has its line where it ends.
        assert!(lines([1.0, 1.0], [1.0, 1.0], 1.0).is_empty());
        assert_eq!(lines([1.0, 1.0], [3.0, 3.0], 1.0), [[[1.0, 0.0], [0.0, 0.0]]]);
        // Saddles: two corners are cut off, which ones the mean says.
        assert_eq!(lines([3.0, 0.0], [0.0, 3.0], 1.0)[0], [[2.0 / 3.0, 0.0], [1.0, 1.0 / 3.0]]);
        assert_eq!(lines([3.0, 0.0], [0.0, 3.0], 2.0)[0], [[0.0, 1.0 / 3.0], [1.0 / 3.0, 0.0]]);
    }

    #[test]
    fn levels_are_round_or_refused() {
        assert_eq!(contour_levels(-1.0..1.0, Some(5)).unwrap(), [-1.0, -0.5, 0.0, 0.5, 1.0]);
        assert_eq!(contour_levels(-3.2..3.9, None).unwrap(), [-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0]);
        let many = contour_levels(0.0..1.0, Some(40)).unwrap().len();
        assert!((20..=41).contains(&many), "{many}");
        assert!(contour_levels(0.0..1.0, Some(0)).is_err() && contour_levels(0.0..f64::NAN, None).is_err());
        assert!(Contours::new(&[0.0, f64::NAN], None, 1.5).is_err());
        assert!(Contours::new(&[0.0; MOST_LEVELS + 1], None, 1.5).is_err());
    }
}
