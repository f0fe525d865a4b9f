//! A convex and a concave part of an activation.

use super::Activation;

/// The minimal split `f = convex + concave` on an interval: nowhere do both parts bend.
///
/// The interval is cut where the curvature changes its sign and where pieces join. Where `f` is convex the convex part
/// is `f` less an affine function and the concave part that affine function; where `f` is concave, the other way
/// round. Both parts are continuous, and so are their slopes, except that at a kink of `f` the slope of one part
/// jumps: that of the convex part where the slope of `f` grows, else that of the concave part. In the first region
/// the affine function is 0.
#[derive(Debug, Clone, PartialEq)]
pub struct ConvexSplit {
    activation: Activation,
    regions: Vec<Region>,
}

/// One region `(from, to]` of a [`ConvexSplit`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Region {
    /// The end below (not included, except in the first region).
    pub from: f64,
    /// The end above (included).
    pub to: f64,
    /// Whether `f` is convex here; a piece that is affine counts with its neighbour below, the first as convex.
    pub convex: bool,
    /// Slope of the part that is affine here.
    pub slope: f64,
    /// Value of the affine part at 0.
    pub offset: f64,
}

impl Activation {
    /// The minimal split of the function over `[low, high]` into a convex and a concave part. Ends may be infinite;
    /// `None` where the interval is empty or a point, leaves the domain, holds a pole, or has too many inflections to list.
    pub fn convex_split(&self, low: f64, high: f64) -> Option<ConvexSplit> {
        let (first, last) = self.domain();
        if !(first <= low && low < high && high <= last) || self.poles().any(|at| low <= at && at <= high) {
            return None;
        }
        let joints: Vec<_> = self.joints().filter(|&(at, _)| low < at && at < high).collect();
        let mut cuts = self.inflections_in(low, high)?;
        cuts.extend(joints.iter().map(|&(at, _)| at));
        cuts.sort_by(f64::total_cmp);
        cuts.dedup();
        let mut regions: Vec<Region> = vec![];
        for (i, from) in std::iter::once(low).chain(cuts.iter().copied()).enumerate() {
            let to = cuts.get(i).copied().unwrap_or(high);
            let bend = self.bend_between(from, to);
            let Some(last) = regions.last_mut() else {
                regions.push(Region { from, to, convex: bend >= 0.0, slope: 0.0, offset: 0.0 });
                continue;
            };
            let convex = if bend == 0.0 { last.convex } else { bend > 0.0 };
            let jump =
                joints.iter().find(|&&(at, _)| at == from).map_or(0.0, |&(_, [below, above])| above - below);
            let next = last.continued(self, convex, jump, to);
            if next.convex == last.convex && next.slope == last.slope && next.offset == last.offset {
                last.to = to;
            } else {
                regions.push(next);
            }
        }
        Some(ConvexSplit { activation: *self, regions })
    }

    /// The second derivative somewhere between two neighbouring cuts; 0 where the function is affine there. Far out it
    /// may be too small for a number while the function still bends near a cut.
    fn bend_between(&self, from: f64, to: f64) -> f64 {
        if self.line_on(from, to).is_some() {
            return 0.0;
        }
        let inner = inner_point(from, to);
        let nearer = (0..50).map(|halvings| 0.5_f64.powi(halvings));
        let points = nearer.flat_map(|share| [from + (inner - from) * share, to - (to - inner) * share]);
        let mut bends = points.filter(|u| from < *u && *u < to).map(|u| self.derivative(2, u));
        bends.find(|bend| *bend != 0.0 && !bend.is_nan()).unwrap_or(0.0)
    }
}

impl Region {
    /// The convex and the concave of two numbers that belong to `f` and to the affine part.
    fn parts(&self, function: f64, affine: f64) -> (f64, f64) {
        if self.convex { (function - affine, affine) } else { (affine, function - affine) }
    }

    /// The region above this one, given the jump of the slope between them.
    fn continued(&self, activation: &Activation, convex: bool, jump: f64, to: f64) -> Self {
        let from = self.to;
        let at = |order| activation.derivative(order, from);
        let values = self.parts(at(0), self.slope * from + self.offset);
        let slopes = self.parts(at(1), self.slope);
        // The part that will be affine goes on as it is, but for a jump of its own.
        let (value, slope) =
            if convex { (values.1, slopes.1 + jump.min(0.0)) } else { (values.0, slopes.0 + jump.max(0.0)) };
        Self { from, to, convex, slope, offset: value - slope * from }
    }
}

impl ConvexSplit {
    /// The regions, ascending: neighbours share an end.
    pub fn regions(&self) -> &[Region] {
        &self.regions
    }

    /// The convex and the concave part at `x` in the interval.
    pub fn values(&self, x: f64) -> (f64, f64) {
        let region = self.region(x);
        region.parts(self.activation.derivative(0, x), region.slope * x + region.offset)
    }

    /// Their slopes at `x`: at kinks those of the side below.
    pub fn slopes(&self, x: f64) -> (f64, f64) {
        let region = self.region(x);
        region.parts(self.activation.derivative(1, x), region.slope)
    }

    fn region(&self, x: f64) -> &Region {
        let last = self.regions.len() - 1;
        self.regions.iter().find(|region| x <= region.to).unwrap_or(&self.regions[last])
    }
}

/// A point within an interval, not far from its finite ends.
fn inner_point(low: f64, high: f64) -> f64 {
    match (low.is_finite(), high.is_finite()) {
        (true, true) => f64::midpoint(low, high),
        (true, false) => low + 1.0,
        (false, true) => high - 1.0,
        (false, false) => 0.0,
    }
}
