//! Convex polygons of a plane, cut by lines.

/// A point of a plane.
pub type Point = [f64; 2];

/// Where the edge from `a` to `b` crosses the line on which values are 0: they are `at_a` and `at_b`, of opposite signs.
fn crossing(a: Point, b: Point, at_a: f64, at_b: f64) -> Point {
    let share = at_a / (at_a - at_b);
    [a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1])]
}

/// The parts of a convex polygon where an affine function is at least, and at most, 0; `values` are the function's at the
/// corners, 0 where they are no more than rounding. A corner on the line belongs to both parts, and each other end of the
/// cut is one point, the same for both.
pub(super) fn cut(corners: &[Point], values: &[f64]) -> [Vec<Point>; 2] {
    let room = corners.len() + 2;
    let (mut above, mut below) = (Vec::with_capacity(room), Vec::with_capacity(room));
    for (i, (&corner, &value)) in corners.iter().zip(values).enumerate() {
        let next = if i + 1 == corners.len() { 0 } else { i + 1 };
        if value >= 0.0 {
            above.push(corner);
        }
        if value <= 0.0 {
            below.push(corner);
        }
        if (value > 0.0 && values[next] < 0.0) || (value < 0.0 && values[next] > 0.0) {
            let point = crossing(corner, corners[next], value, values[next]);
            above.push(point);
            below.push(point);
        }
    }
    [above, below]
}

/// The area of a polygon whose corners go round anticlockwise.
pub(super) fn area(corners: &[Point]) -> f64 {
    let Some((&[x, y], rest)) = corners.split_first() else { return 0.0 };
    // From a corner, so that small polygons do not cancel.
    let fan = rest.windows(2).map(|pair| {
        let [[a, b], [c, d]] = [pair[0], pair[1]].map(|[s, t]| [s - x, t - y]);
        a * d - b * c
    });
    0.5 * fan.sum::<f64>()
}

/// The mean of the corners: a point inside.
pub(super) fn middle(corners: &[Point]) -> Point {
    let count = corners.len().max(1) as f64;
    [0, 1].map(|i| corners.iter().map(|corner| corner[i]).sum::<f64>() / count)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SQUARE: [Point; 4] = [[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]];

    fn values(line: impl Fn(Point) -> f64) -> Vec<f64> {
        SQUARE.iter().map(|&corner| line(corner)).collect()
    }

    #[test]
    fn both_parts_share_the_ends_of_the_cut() {
        let [above, below] = cut(&SQUARE, &values(|[s, t]| s + 0.25 * t - 0.25));
        assert_eq!([above.len(), below.len()], [4, 4]);
        let shared: Vec<&Point> = above.iter().filter(|point| below.contains(point)).collect();
        assert_eq!(shared, [&[0.5, -1.0], &[0.0, 1.0]]);
        assert_eq!([area(&above), area(&below)], [1.5, 2.5]);
    }

    #[test]
    fn a_line_through_corners_makes_none() {
        let [above, below] = cut(&SQUARE, &values(|[s, t]| s - t));
        assert_eq!(above, [[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0]]);
        assert_eq!(below, [[-1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]]);
        let [above, below] = cut(&SQUARE, &values(|[s, t]| 3.0 * s - t + 2.0));
        assert_eq!([above.len(), below.len()], [4, 3]);
    }

    #[test]
    fn a_side_on_the_line_is_no_part() {
        let [above, below] = cut(&SQUARE, &values(|[s, _]| s + 1.0));
        assert_eq!((above.len(), below.len(), area(&below)), (4, 2, 0.0));
    }

    #[test]
    fn the_middle_is_inside() {
        assert_eq!(middle(&SQUARE), [0.0, 0.0]);
        assert_eq!(middle(&SQUARE[..3]), [1.0 / 3.0, -1.0 / 3.0]);
    }
}
