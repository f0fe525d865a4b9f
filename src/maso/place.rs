//! Where the pieces of a convex or concave part go: knots that equi-oscillate.

use crate::activation::{Activation, ConvexSplit, Piece};

use super::root::root;

/// A part of an activation, turned so that it is convex.
pub(super) struct Part<'a> {
    split: &'a ConvexSplit,
    /// 1 for the convex part, -1 for the concave one.
    sign: f64,
    stretches: Vec<Stretch>,
}

/// An interval on which the part is a line, or bends.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Stretch {
    Line(Line),
    Bend { from: f64, to: f64 },
}

/// `slope u + offset` from here on.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Line {
    from: f64,
    slope: f64,
    offset: f64,
}

/// A bend between what lies beside it.
#[derive(Debug, Clone, Copy)]
struct Bend {
    from: f64,
    to: f64,
    /// The lines that go on below and above, which the part touches at the ends.
    lines: [Option<Line>; 2],
}

/// Pieces of a bend: how far they are from the part, and where they end (one more than there are pieces; where a
/// line takes the place of all, none, or where two do, that of their crossing).
#[derive(Debug)]
struct Placed {
    error: f64,
    ends: Vec<f64>,
}

impl Line {
    fn value(&self, u: f64) -> f64 {
        self.slope * u + self.offset
    }
}

impl<'a> Part<'a> {
    /// The convex part, or the concave one turned over.
    pub(super) fn new(activation: &Activation, split: &'a ConvexSplit, convex: bool) -> Self {
        let sign = if convex { 1.0 } else { -1.0 };
        let mut stretches: Vec<Stretch> = vec![];
        for region in split.regions() {
            let joins = activation.joins_in(region.from, region.to);
            let starts = std::iter::once(region.from).chain(joins.iter().copied());
            for (from, to) in starts.zip(joins.iter().copied().chain([region.to])) {
                let line = |slope: f64, offset: f64| {
                    Stretch::Line(Line { from, slope: sign * slope, offset: sign * offset })
                };
                let next = match activation.line_on(from, to) {
                    _ if region.convex != convex => line(region.slope, region.offset),
                    Some(f) => line(f.slope - region.slope, f.offset - region.offset),
                    None => Stretch::Bend { from, to },
                };
                match (stretches.last_mut(), next) {
                    (Some(Stretch::Bend { to, .. }), Stretch::Bend { to: further, .. }) => *to = further,
                    (Some(Stretch::Line(last)), Stretch::Line(line)) if last.goes_on_as(&line) => {}
                    (_, next) => stretches.push(next),
                }
            }
        }
        Self { split, sign, stretches }
    }

    fn value(&self, u: f64) -> f64 {
        let (convex, concave) = self.split.values(u);
        if self.sign > 0.0 { convex } else { -concave }
    }

    fn slope(&self, u: f64) -> f64 {
        let (convex, concave) = self.split.slopes(u);
        if self.sign > 0.0 { convex } else { -concave }
    }

    /// At most so many pieces, with the knots between them, each as near the part as their number allows. Where they
    /// are too few to keep the lines, the part is taken as one bend.
    pub(super) fn pieces(mut self, most: usize) -> (Vec<f64>, Vec<Piece>) {
        let lines = self.stretches.iter().filter(|stretch| matches!(stretch, Stretch::Line(_))).count();
        let regions = self.split.regions();
        let mut free = most.saturating_sub(lines);
        if most < lines.max(1) {
            let whole = Stretch::Bend { from: regions[0].from, to: regions[regions.len() - 1].to };
            (self.stretches, free) = (vec![whole], most);
        }
        let placed = self.placed(free);
        let (mut knots, mut pieces) = (vec![], vec![]);
        let mut placed = placed.into_iter();
        for (i, stretch) in self.stretches.iter().enumerate() {
            let is_line = |at: Option<&Stretch>| matches!(at, Some(Stretch::Line(_)));
            let below = is_line(i.checked_sub(1).and_then(|i| self.stretches.get(i)));
            match stretch {
                Stretch::Line(line) => {
                    if below {
                        knots.push(line.from);
                    }
                    pieces.push(Piece { at: line.from, value: line.value(line.from), slope: line.slope });
                }
                Stretch::Bend { .. } => {
                    let Some(Placed { error, ends }) = placed.next() else { continue };
                    if below {
                        knots.extend(ends.first());
                    }
                    for (j, pair) in ends.windows(2).enumerate() {
                        let [value, next] = [pair[0], pair[1]].map(|u| self.value(u) - error);
                        let slope = (next - value) / (pair[1] - pair[0]);
                        pieces.push(Piece { at: pair[0], value, slope });
                        if j + 2 < ends.len() || is_line(self.stretches.get(i + 1)) {
                            knots.push(pair[1]);
                        }
                    }
                }
            }
        }
        for piece in &mut pieces {
            (piece.value, piece.slope) = (self.sign * piece.value, self.sign * piece.slope);
        }
        (knots, pieces)
    }

    /// The bends, with what lies beside them.
    fn bends(&self) -> Vec<Bend> {
        let line = |i: Option<usize>| match i.and_then(|i| self.stretches.get(i)) {
            Some(Stretch::Line(line)) => Some(*line),
            _ => None,
        };
        let bend = |(i, stretch): (usize, &Stretch)| match *stretch {
            Stretch::Bend { from, to } => {
                Some(Bend { from, to, lines: [line(i.checked_sub(1)), line(Some(i + 1))] })
            }
            Stretch::Line(_) => None,
        };
        self.stretches.iter().enumerate().filter_map(bend).collect()
    }

    /// Pieces of all bends, so many together, which make the largest error least.
    fn placed(&self, pieces: usize) -> Vec<Placed> {
        let bends = self.bends();
        let mut counts = vec![pieces; bends.len()];
        if bends.len() > 1 {
            // The least error of all for which the pieces suffice.
            let (mut low, mut high) =
                (0.0, bends.iter().map(|bend| self.without(bend)).fold(0.0, f64::max).sqrt());
            let needed = |root_of_error: f64| -> Vec<usize> {
                bends.iter().map(|bend| self.count(bend, root_of_error * root_of_error, pieces)).collect()
            };
            for _ in 0..40 {
                let middle = f64::midpoint(low, high);
                *(if needed(middle).iter().sum::<usize>() <= pieces { &mut high } else { &mut low }) = middle;
            }
            counts = needed(high);
        }
        let mut placed: Vec<Placed> =
            bends.iter().zip(&counts).map(|(bend, &count)| self.best(bend, count)).collect();
        // Where bends are alike, a few pieces are left over.
        for _ in counts.iter().sum::<usize>()..pieces {
            let worst = (0..bends.len()).max_by(|&i, &j| placed[i].error.total_cmp(&placed[j].error));
            let Some(worst) = worst else { break };
            counts[worst] += 1;
            placed[worst] = self.best(&bends[worst], counts[worst]);
        }
        placed
    }

    /// The error of as few pieces as there can be: the lines alone, or one piece where there is none.
    fn without(&self, bend: &Bend) -> f64 {
        match bend.lines {
            [None, None] => self.sag(bend.from, bend.to) / 2.0,
            [Some(line), None] => self.value(bend.to) - line.value(bend.to),
            [None, Some(line)] => self.value(bend.from) - line.value(bend.from),
            [Some(below), Some(above)] => {
                let crossing = crossing(bend, &below, &above);
                self.value(crossing) - below.value(crossing)
            }
        }
        .max(0.0)
    }

    /// The best `count` pieces of a bend.
    fn best(&self, bend: &Bend, count: usize) -> Placed {
        let least = usize::from(bend.lines == [None, None]);
        let without = self.without(bend);
        // Errors fall with the square of the count; below the rounding of the values there is nothing to place.
        let rounding = 1e-14 * self.value(bend.from).abs().max(self.value(bend.to).abs());
        let sensible = (without / rounding).sqrt();
        let count = if sensible < count as f64 { (sensible as usize).max(least) } else { count };
        if count == least {
            let ends = match bend.lines {
                [None, None] => vec![bend.from, bend.to],
                [Some(below), Some(above)] => vec![crossing(bend, &below, &above)],
                _ => vec![],
            };
            return Placed { error: without, ends };
        }
        // The last piece ends where it must; its error tells whether the others went too far. Knots move in proportion
        // to the root of the error.
        let root_of_error = root(0.0, without.sqrt(), |root_of_error| {
            let error = root_of_error * root_of_error;
            let [mut at, end] = self.ends(bend, error);
            for _ in 1..count {
                match self.step(at, bend.to, error) {
                    Some(next) if next < end => at = next,
                    _ => return 2.0 * error,
                }
            }
            if at < end { 2.0 * error - self.sag(at, end) } else { 2.0 * error }
        });
        let error = root_of_error * root_of_error;
        let [at, end] = self.ends(bend, error);
        let mut ends = vec![at];
        while ends.len() < count {
            match self.step(ends[ends.len() - 1], bend.to, error) {
                Some(next) if next < end => ends.push(next),
                _ => break,
            }
        }
        ends.push(end);
        Placed { error, ends }
    }

    /// How many pieces a bend needs for an error; more than `most` counts as one more.
    fn count(&self, bend: &Bend, error: f64, most: usize) -> usize {
        let [mut at, end] = self.ends(bend, error);
        let mut count = 0;
        while at < end && count <= most {
            count += 1;
            match self.step(at, bend.to, error) {
                Some(next) => at = next,
                None => break,
            }
        }
        count
    }

    /// Between which points a bend needs pieces of its own: up to there the lines beside it are near enough.
    fn ends(&self, bend: &Bend, error: f64) -> [f64; 2] {
        let &Bend { from, to, lines } = bend;
        let above = |line: Line| move |u: f64| self.value(u) - line.value(u) - error;
        let low = lines[0].map_or(from, |line| root(from, to, above(line)));
        let high = lines[1].map_or(to, |line| -root(-to, -from, |u| above(line)(-u)));
        [low, high]
    }

    /// Where a piece from `k` on ends whose largest distance from its chord is twice the error; `None` beyond `to`.
    fn step(&self, k: f64, to: f64, error: f64) -> Option<f64> {
        let (start, sag) = (self.value(k), 2.0 * error);
        // The part's tangent at the farthest point is parallel to the chord.
        let reached = |t: f64| {
            if t == k { -sag } else { start + self.slope(t) * (t - k) - self.value(t) - sag }
        };
        if reached(to) <= 0.0 {
            return None;
        }
        let tangent = root(k, to, reached);
        let slope = (sag + self.value(tangent) - start) / (tangent - k);
        let beyond = |u: f64| self.value(u) - start - slope * (u - k);
        if beyond(to) <= 0.0 { None } else { Some(root(tangent, to, beyond)) }
    }

    /// How far the chord rises above the part.
    fn sag(&self, from: f64, to: f64) -> f64 {
        let start = self.value(from);
        let slope = (self.value(to) - start) / (to - from);
        let t = root(from, to, |t| self.slope(t) - slope);
        (start + slope * (t - from) - self.value(t)).max(0.0)
    }
}

impl Line {
    /// Whether another line is the same, but for rounding.
    fn goes_on_as(&self, other: &Self) -> bool {
        let near = |a: f64, b: f64| (a - b).abs() <= 1e-13 * a.abs().max(b.abs());
        near(self.slope, other.slope) && near(self.offset, other.offset)
    }
}

/// Where the lines beside a bend cross, which is within it.
fn crossing(bend: &Bend, below: &Line, above: &Line) -> f64 {
    let crossing = (below.offset - above.offset) / (above.slope - below.slope);
    // Of what is a line but for rounding, any point will do.
    if crossing.is_finite() { crossing.clamp(bend.from, bend.to) } else { f64::midpoint(bend.from, bend.to) }
}
