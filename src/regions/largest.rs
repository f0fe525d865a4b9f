//! Which of several affine functions is the largest on which part of a polygon.

use super::polygon::{Point, area, cut, middle};

/// Affine functions.
pub(super) struct Functions<F> {
    pub count: usize,
    /// The value of each at a point.
    pub value: F,
    /// By how much two that are equal may differ.
    pub rounding: f64,
}

impl<F: Fn(usize, Point) -> f64> Functions<F> {
    /// The first that is the largest at all corners of a polygon.
    pub(super) fn winner(&self, corners: &[Point], values: &mut Vec<f64>) -> Option<u32> {
        values.clear();
        for &corner in corners {
            values.extend((0..self.count).map(|i| (self.value)(i, corner)));
        }
        let rows = || values.chunks_exact(self.count);
        let wins = |i: &usize| rows().all(|row| row.iter().all(|other| other - row[*i] <= self.rounding));
        (0..self.count).find(wins).map(|i| i as u32)
    }

    /// The parts of a polygon on which each is the largest, of equals the first, in their order.
    pub(super) fn parts(&self, corners: &[Point]) -> Vec<(u32, Vec<Point>)> {
        let mut parts: Vec<(u32, Vec<Point>)> =
            (0..self.count).filter_map(|i| Some((i as u32, self.part(corners, i)?))).collect();
        if parts.len() < 2 {
            // All but one are the largest on less than rounding.
            let [s, t] = middle(corners);
            let best = (0..self.count).fold((0, f64::MIN), |best, i| {
                let value = (self.value)(i, [s, t]);
                if value > best.1 { (i, value) } else { best }
            });
            let first = parts.first().map_or(best.0 as u32, |(i, _)| *i);
            parts = vec![(first, corners.to_vec())];
        }
        parts
    }

    fn part(&self, corners: &[Point], i: usize) -> Option<Vec<Point>> {
        let mut part = corners.to_vec();
        let mut values = vec![];
        for other in (0..self.count).filter(|&other| other != i) {
            values.clear();
            values.extend(part.iter().map(|&corner| {
                let value = (self.value)(i, corner) - (self.value)(other, corner);
                if value.abs() <= self.rounding { 0.0 } else { value }
            }));
            let above = values.iter().any(|&value| value > 0.0);
            let below = values.iter().any(|&value| value < 0.0);
            match (above, below) {
                (true, true) => [part, _] = cut(&part, &values),
                (false, true) => return None,
                (false, false) if other < i => return None,
                _ => {}
            }
        }
        (part.len() > 2 && area(&part) > 0.0).then_some(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SQUARE: [Point; 4] = [[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]];

    fn functions(rows: &[[f64; 3]]) -> Functions<impl Fn(usize, Point) -> f64> {
        let value = |i: usize, [s, t]: Point| rows[i][0] + rows[i][1] * s + rows[i][2] * t;
        Functions { count: rows.len(), value, rounding: 1e-14 }
    }

    #[test]
    fn parts_cover_the_polygon_and_each_has_its_winner() {
        let rows = [[0.1, 1.0, 0.0], [0.0, -1.0, 0.5], [0.2, 0.0, -1.0], [-9.0, 0.0, 0.0], [0.1, 0.3, 0.9]];
        let functions = functions(&rows);
        assert_eq!(functions.winner(&SQUARE, &mut vec![]), None);
        let parts = functions.parts(&SQUARE);
        assert_eq!(parts.iter().map(|(i, _)| *i).collect::<Vec<_>>(), [0, 1, 2, 4]);
        assert!((parts.iter().map(|(_, part)| area(part)).sum::<f64>() - 4.0).abs() < 1e-14);
        for (i, part) in &parts {
            let value = |j: usize| (functions.value)(j, middle(part));
            assert!((0..5).all(|j| value(j) <= value(*i as usize)));
        }
    }

    #[test]
    fn of_equals_the_first_wins() {
        let rows = [[-5.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, -1.0, 0.0], [0.0, -1.0, 0.0]];
        let parts = functions(&rows).parts(&SQUARE);
        assert_eq!(parts.iter().map(|(i, part)| (*i, area(part))).collect::<Vec<_>>(), [(1, 2.0), (3, 2.0)]);
        let rows = [[0.0; 3]; 3];
        assert_eq!(functions(&rows).winner(&SQUARE, &mut vec![]), Some(0));
    }
}
