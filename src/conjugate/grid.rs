//! Grids, and functions on them.

use crate::{Error, Result};

/// The most axes of a grid.
const MOST_AXES: usize = 4;

/// The points whose coordinates are chosen from one list for each axis; row-major, the last axis the fastest.
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    axes: Vec<Vec<f64>>,
}

impl Grid {
    /// From the coordinates of each of 1 to 4 axes.
    ///
    /// # Errors
    /// [`Error::Argument`] for no axes or more than 4, an axis without elements or with one that is not finite or not
    /// above the one before; [`Error::Shape`] for 2^32 points and more.
    pub fn new(axes: Vec<Vec<f64>>) -> Result<Self> {
        if !(1..=MOST_AXES).contains(&axes.len()) {
            return Err(Error::Argument(format!("a grid has 1 to {MOST_AXES} axes, not {}", axes.len())));
        }
        for (i, axis) in axes.iter().enumerate() {
            if axis.is_empty() {
                return Err(Error::Argument(format!("axis {i} of a grid holds no coordinates")));
            }
            if let Some(at) = axis.iter().position(|x| !x.is_finite()) {
                let value = axis[at];
                return Err(Error::Argument(format!("axis {i} of a grid holds {value} at position {at}")));
            }
            if let Some(at) = axis.windows(2).position(|pair| pair[0] >= pair[1]) {
                return Err(Error::Argument(format!(
                    "axis {i} of a grid must ascend, but holds {} at position {at} and {} after it",
                    axis[at],
                    axis[at + 1]
                )));
            }
        }
        let points = axes.iter().try_fold(1_usize, |n, axis| n.checked_mul(axis.len()));
        if points.is_none_or(|points| points >= u32::MAX as usize) {
            let lengths: Vec<usize> = axes.iter().map(Vec::len).collect();
            return Err(Error::Shape(format!(
                "a grid of {lengths:?} points is too large: 2^32 are too many"
            )));
        }
        Ok(Self { axes })
    }

    /// Equidistant coordinates from the first number to the second, as many as the third says, for each axis. A single
    /// one lies in the middle.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn uniform(axes: &[(f64, f64, usize)]) -> Result<Self> {
        let axis = |&(low, high, count): &(f64, f64, usize)| match count {
            1 => vec![f64::midpoint(low, high)],
            // Both ends to the bit.
            _ => (0..count)
                .map(|i| {
                    let share = i as f64 / (count - 1) as f64;
                    low * (1.0 - share) + high * share
                })
                .collect(),
        };
        Self::new(axes.iter().map(axis).collect())
    }

    /// The coordinates of each axis.
    pub fn axes(&self) -> &[Vec<f64>] {
        &self.axes
    }

    /// The number of axes, `D`.
    pub fn dimension(&self) -> usize {
        self.axes.len()
    }

    /// The number of coordinates of each axis.
    pub fn shape(&self) -> Vec<usize> {
        self.axes.iter().map(Vec::len).collect()
    }

    /// The number of points.
    pub fn len(&self) -> usize {
        self.axes.iter().map(Vec::len).product()
    }

    /// Always false: a grid has points.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The point at a row-major position, `[D]`.
    ///
    /// # Panics
    /// Where the position is not below [`len`](Self::len).
    pub fn point(&self, position: usize) -> Vec<f64> {
        assert!(position < self.len(), "position {position} of a grid with {} points", self.len());
        let mut rest = position;
        let mut point: Vec<f64> = vec![];
        for axis in self.axes.iter().rev() {
            point.push(axis[rest % axis.len()]);
            rest /= axis.len();
        }
        point.reverse();
        point
    }

    /// All points in order, `[len, D]`.
    pub fn points(&self) -> impl Iterator<Item = Vec<f64>> + '_ {
        (0..self.len()).map(|position| self.point(position))
    }

    /// The points mirrored at the origin; row-major order is reversed.
    pub(super) fn mirrored(&self) -> Self {
        let mirrored = |axis: &Vec<f64>| axis.iter().rev().map(|x| -x).collect();
        Self { axes: self.axes.iter().map(mirrored).collect() }
    }

    /// `|x|^2` of each point, in order.
    pub(super) fn squares(&self) -> Vec<f64> {
        let mut sums = vec![0.0];
        for axis in &self.axes {
            sums = sums.iter().flat_map(|sum| axis.iter().map(move |x| sum + x * x)).collect();
        }
        sums
    }
}

/// A function on a grid; `+inf` outside its domain, or `-inf` if it shall count as concave.
#[derive(Debug, Clone, PartialEq)]
pub struct GridFunction {
    grid: Grid,
    values: Vec<f64>,
}

impl GridFunction {
    /// From its values at the points of the grid, in order.
    ///
    /// # Errors
    /// [`Error::Shape`] where they are not as many as the points; [`Error::Argument`] where one is NaN, or none is
    /// finite, or both infinities are there.
    pub fn new(grid: Grid, values: Vec<f64>) -> Result<Self> {
        if values.len() != grid.len() {
            return Err(Error::Shape(format!(
                "{} values do not fit a grid of {:?} points",
                values.len(),
                grid.shape()
            )));
        }
        if let Some(at) = values.iter().position(|v| v.is_nan()) {
            return Err(Error::Argument(format!(
                "the value at {:?} is NaN; values are finite, or infinite outside the domain",
                grid.point(at)
            )));
        }
        if !values.iter().any(|v| v.is_finite()) {
            return Err(Error::Argument("no value is finite: the domain is empty".to_owned()));
        }
        if values.contains(&f64::INFINITY) && values.contains(&f64::NEG_INFINITY) {
            return Err(Error::Argument(
                "both infinities are there; +inf is outside the domain of a function that counts as convex, -inf \
                 of one that counts as concave"
                    .to_owned(),
            ));
        }
        Ok(Self { grid, values })
    }

    /// The function `f` at the points of a grid.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn sampled(grid: Grid, f: impl FnMut(Vec<f64>) -> f64) -> Result<Self> {
        let values = grid.points().map(f).collect();
        Self::new(grid, values)
    }

    /// The grid.
    pub fn grid(&self) -> &Grid {
        &self.grid
    }

    /// The values, in the order of the points.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// The function with each value, numbered, replaced.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub(super) fn map(&self, f: impl Fn(usize, f64) -> f64) -> Result<Self> {
        let values = self.values.iter().enumerate().map(|(i, &v)| f(i, v)).collect();
        Self::new(self.grid.clone(), values)
    }

    /// Slopes that a convex envelope of the function can have: on each axis `counts` equidistant numbers from the least
    /// to the largest difference quotient of neighbours in the domain. An axis without any (a single coordinate), or
    /// with only one value of it, has slopes within 1 of it.
    ///
    /// # Errors
    /// [`Error::Argument`] where `counts` are not as many as the axes, or one is 0.
    pub fn slopes(&self, counts: &[usize]) -> Result<Grid> {
        if counts.len() != self.grid.dimension() {
            return Err(Error::Argument(format!(
                "{} numbers of slopes for a function of {} axes",
                counts.len(),
                self.grid.dimension()
            )));
        }
        let mut inner = self.grid.len();
        let ranges = self.grid.axes.iter().zip(counts).map(|(axis, &count)| {
            inner /= axis.len();
            let line = axis.len() * inner;
            let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
            for (i, pair) in self.values.windows(inner + 1).enumerate() {
                let at = i % line / inner;
                let rise = pair[inner] - pair[0];
                if at + 1 < axis.len() && rise.is_finite() {
                    let slope = rise / (axis[at + 1] - axis[at]);
                    (low, high) = (low.min(slope), high.max(slope));
                }
            }
            match low.partial_cmp(&high) {
                Some(std::cmp::Ordering::Less) => (low, high, count),
                Some(std::cmp::Ordering::Equal) => (low - 1.0, high + 1.0, count),
                _ => (-1.0, 1.0, count),
            }
        });
        Grid::uniform(&ranges.collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_row_major() {
        let grid = Grid::new(vec![vec![0.0, 1.0], vec![5.0, 7.0, 8.0]]).unwrap();
        assert_eq!(grid.shape(), [2, 3]);
        assert_eq!(grid.point(4), [1.0, 7.0]);
        assert_eq!(grid.points().count(), 6);
        assert_eq!(grid.squares(), [25.0, 49.0, 64.0, 26.0, 50.0, 65.0]);
        let mirrored = grid.mirrored();
        let mut points: Vec<Vec<f64>> = grid.points().map(|x| x.iter().map(|x| -x).collect()).collect();
        points.reverse();
        assert_eq!(mirrored.points().collect::<Vec<_>>(), points);
    }

    #[test]
    fn axes_are_checked() {
        let fault = |axes: Vec<Vec<f64>>| Grid::new(axes).unwrap_err().to_string();
        assert!(fault(vec![]).contains("1 to 4 axes, not 0"));
        assert!(fault(vec![vec![0.0]; 5]).contains("not 5"));
        assert!(fault(vec![vec![0.0], vec![]]).contains("axis 1 of a grid holds no coordinates"));
        assert!(fault(vec![vec![0.0, f64::NAN]]).contains("NaN at position 1"));
        assert!(fault(vec![vec![0.0, 1.0, 1.0]]).contains("must ascend, but holds 1 at position 1"));
        assert!(fault(vec![(0..300).map(f64::from).collect(); 4]).contains("too large"));
    }

    #[test]
    fn functions_are_checked() {
        let grid = Grid::uniform(&[(0.0, 1.0, 3)]).unwrap();
        let fault =
            |values: &[f64]| GridFunction::new(grid.clone(), values.to_vec()).unwrap_err().to_string();
        assert!(fault(&[1.0; 2]).contains("2 values do not fit a grid of [3] points"));
        assert!(fault(&[0.0, f64::NAN, 0.0]).contains("the value at [0.5] is NaN"));
        assert!(fault(&[f64::INFINITY; 3]).contains("the domain is empty"));
        assert!(fault(&[f64::INFINITY, 1.0, f64::NEG_INFINITY]).contains("both infinities"));
    }

    #[test]
    fn slopes_span_the_difference_quotients_of_each_axis() {
        let grid = Grid::new(vec![vec![0.0, 1.0, 3.0], vec![0.0, 2.0]]).unwrap();
        let f = GridFunction::new(grid, vec![0.0, 1.0, 5.0, f64::INFINITY, 4.0, 4.0]).unwrap();
        let slopes = f.slopes(&[3, 2]).unwrap();
        assert_eq!(slopes.axes(), [vec![-0.5, 2.25, 5.0], vec![0.0, 0.5]]);
        let flat = GridFunction::new(Grid::uniform(&[(0.0, 1.0, 2)]).unwrap(), vec![3.0, 3.0]).unwrap();
        assert_eq!(flat.slopes(&[2]).unwrap().axes(), [vec![-1.0, 1.0]]);
        assert!(flat.slopes(&[0]).is_err() && flat.slopes(&[2, 2]).is_err());
    }
}
