//! An activation as a spline: its convex and its concave part, each with pieces of its own.

use crate::activation::{Activation, ConvexSplit, Piece, PiecewiseAffine};
use crate::{Error, Result};

use super::place::Part;
use super::root::root;

/// So many regions may have fewer pieces than it takes to keep what is affine between bends: more make the parts so
/// large that what is left of their sum would be nothing like the activation.
const MOST_REGIONS: usize = 8;

/// An activation on a range, and the spline in its place.
#[derive(Debug, Clone, PartialEq)]
pub struct SplinedActivation {
    /// The activation.
    pub activation: Activation,
    /// The range of its inputs that the pieces were placed on.
    pub range: [f64; 2],
    /// Its convex and concave part; `None` where the range is a single point.
    pub split: Option<ConvexSplit>,
    /// The spline of the convex part: the largest of its pieces.
    pub convex: PiecewiseAffine,
    /// The spline of the concave part: the smallest of its pieces.
    pub concave: PiecewiseAffine,
    /// Their sum.
    pub sum: PiecewiseAffine,
    /// The largest error of the sum on the range.
    pub error: f64,
}

impl SplinedActivation {
    /// The spline of an activation on `[low, high]` with at most `pieces` pieces for each part. Where the activation is
    /// affine it is kept, as far as the pieces suffice; where a part bends the error equi-oscillates: it alternates
    /// between its largest positive and negative value at knots and between them, and no other pieces, as many, have
    /// a smaller largest error there.
    ///
    /// # Errors
    /// [`Error::Argument`] for no pieces, a range that is none or leaves the domain, holds a pole, or holds more
    /// inflections than can be listed or than there are pieces for.
    pub fn new(activation: Activation, [low, high]: [f64; 2], pieces: usize) -> Result<Self> {
        if pieces == 0 {
            return Err(Error::Argument("a spline needs at least one piece".to_owned()));
        }
        if !(low.is_finite() && high.is_finite() && low <= high) {
            return Err(Error::Argument(format!("inputs from {low} to {high} are no range")));
        }
        let infinite = [low, high].into_iter().find(|&u| !activation.derivative(0, u).is_finite());
        if let Some(at) = infinite {
            let (first, last) = activation.domain();
            return Err(Error::Argument(format!(
                "it has no finite value at {at}, which its inputs reach; it takes numbers from {first} to {last}"
            )));
        }
        let line =
            |at: f64, value: f64, slope: f64| PiecewiseAffine::new(vec![], vec![Piece { at, value, slope }]);
        if low == high {
            let slope = Some(activation.derivative(1, low)).filter(|slope| slope.is_finite()).unwrap_or(0.0);
            let convex = line(low, activation.derivative(0, low), slope)?;
            let concave = line(low, 0.0, 0.0)?;
            let sum = convex.clone();
            return Ok(Self {
                activation,
                range: [low, high],
                split: None,
                convex,
                concave,
                sum,
                error: 0.0,
            });
        }
        let Some(split) = activation.convex_split(low, high) else {
            return Err(Error::Argument(format!(
                "it has a pole, or more inflections than can be listed, between {low} and {high}, the range of its \
                 inputs"
            )));
        };
        let needed = split.regions().len().div_ceil(2);
        if pieces < needed && split.regions().len() > MOST_REGIONS {
            return Err(Error::Argument(format!(
                "it changes its curvature {} times between {low} and {high}, the range of its inputs: at least \
                 {needed} pieces are needed",
                split.regions().len() - 1
            )));
        }
        let part = |convex: bool| {
            let (knots, table) = Part::new(&activation, &split, convex).pieces(pieces);
            PiecewiseAffine::new(knots, table)
        };
        let (convex, concave) = (part(true)?, part(false)?);
        let sum = convex.plus(&concave);
        let error = largest_error(&activation, &split, &sum, [low, high]);
        let split = Some(split);
        Ok(Self { activation, range: [low, high], split, convex, concave, sum, error })
    }
}

/// The largest distance of a piecewise affine function from the activation on a range: at ends, knots, joins, or where
/// the slopes agree.
fn largest_error(
    activation: &Activation,
    split: &ConvexSplit,
    spline: &PiecewiseAffine,
    [low, high]: [f64; 2],
) -> f64 {
    let mut largest = 0.0_f64;
    for region in split.regions() {
        let sign = if region.convex { 1.0 } else { -1.0 };
        let mut ends = [activation.joins_in(region.from, region.to), spline.knots().to_vec()].concat();
        ends.retain(|&u| region.from.max(low) < u && u < region.to.min(high));
        ends.extend([region.from, region.to]);
        ends.sort_by(f64::total_cmp);
        for pair in ends.windows(2).filter(|pair| pair[0] < pair[1]) {
            let [from, to] = [pair[0], pair[1]];
            let piece = spline.table()[spline.piece(to)];
            // Just above its lower end the interval has one curve; the end itself may belong to another.
            let slope = |u: f64| {
                let u = if u == from { u.next_up() } else { u };
                sign * (activation.derivative(1, u) - piece.slope)
            };
            for u in [from, to, root(from, to, slope)] {
                largest = largest.max((activation.derivative(0, u) - piece.value_at(u)).abs());
            }
        }
    }
    largest
}
