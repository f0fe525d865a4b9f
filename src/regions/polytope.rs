//! The polytope of a point: the region of input space around it on which a network is affine.

use crate::engine::Context;
use crate::network::{Bend, Network};
use crate::{Error, Result};

use super::codes::CodeLayer;
use super::normal_form::Affine;
use super::simplex::{Side, Wanted, chebyshev, facets};
use super::split::table;
use super::walk::{BOX, Source, Walk, Walls, dot};

/// What is no deeper than this, relative to the size of its centre, is flat.
const FLAT: f64 = 1e-13;

/// The region of a point: all `x` with `a . x <= b` for the constraints of all units (Sattelberg, Cavalieri, Kirby,
/// Peterson & Beveridge 2020), where the network is `A x + b`.
///
/// A unit gives a constraint for each knot of its piece, a maximum one for each element of its window that does not win.
/// Units that are the same on all of the region give none. All constraints are scaled to `|a| = 1`, so that `b - a . x` is
/// the distance.
#[derive(Debug, Clone)]
pub struct Polytope {
    point: Vec<f64>,
    layers: Vec<CodeLayer>,
    code: Vec<u32>,
    walls: Walls,
    boundaries: Vec<Boundary>,
    centre: Vec<f64>,
    inradius: Option<f64>,
    facets: Vec<Facet>,
    undecided: usize,
    /// `[1 + D, K]`
    outputs: Vec<f64>,
}

/// What a constraint comes from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Boundary {
    /// A unit changes its piece.
    Unit {
        /// The layer, among those of [`Polytope::layers`].
        layer: usize,
        /// The unit.
        unit: usize,
        /// The number of its piece inside.
        from: u32,
        /// That beyond.
        to: u32,
        /// The knot between them; a maximum has none.
        knot: Option<f64>,
    },
    /// The end of the box.
    Box {
        /// The element of the input.
        input: usize,
        /// Whether it is the upper end.
        upper: bool,
    },
}

/// A constraint that no others imply, and what lies behind it.
#[derive(Debug, Clone)]
pub struct Facet {
    /// Its number among the constraints.
    pub constraint: usize,
    /// What it comes from.
    pub boundary: Boundary,
    /// How far the point is from its hyperplane.
    pub distance: f64,
    /// A point of it, inside all other facets.
    pub point: Vec<f64>,
    /// The code of the region beyond, as evaluated just across that point; none beyond the box.
    pub neighbour: Option<Vec<u32>>,
}

/// How far it is to another class, by the affine map of the polytope.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The largest output at the point.
    pub class: usize,
    /// The output that equals it nearest by.
    pub other: usize,
    /// How far.
    pub distance: f64,
    /// Where.
    pub point: Vec<f64>,
    /// Whether that is within the polytope, so that the network itself decides so there.
    pub inside: bool,
}

/// What a ray from the point meets.
#[derive(Debug, Clone, PartialEq)]
pub struct Ray {
    /// The constraint that it leaves the polytope by, and after how many times the direction; none where it does not.
    pub exit: Option<(usize, f64)>,
    /// The class that follows that of the point within the polytope, and after how many times the direction.
    pub change: Option<(usize, f64)>,
}

impl Polytope {
    /// The polytope of a point of a network of one input and one output, within the box `low <= x_d <= high` if there is
    /// one. A unit on a knot to within rounding is on the piece below it. Everything is in `f64`.
    ///
    /// Facets come from linear programs, one for each constraint that no ray from the centre finds to be one.
    ///
    /// # Errors
    /// [`Error::Shape`] for a point of other length; [`Error::NonFinite`]; [`Error::Argument`] for a box that is none or
    /// does not hold the point; [`Error::MissingSlot`] with the name of an operator that is not piecewise affine;
    /// [`Error::Graph`] for one that jumps; [`Error::Memory`]; [`Error::Cancelled`].
    pub fn new(
        network: &Network,
        point: &[f64],
        limits: Option<[f64; 2]>,
        context: &Context,
    ) -> Result<Self> {
        Self::with_programs(network, point, limits, usize::MAX, context)
    }

    /// As [`new`](Self::new), of no more than so many linear programs for facets: in many dimensions with many units they
    /// take long. What they would have told is [undecided](Self::undecided).
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_programs(
        network: &Network,
        point: &[f64],
        limits: Option<[f64; 2]>,
        programs: usize,
        context: &Context,
    ) -> Result<Self> {
        let dimension = network.cut(None, None)?.dimension();
        check_point(dimension, point)?;
        if let Some(limits) = limits {
            check_limits(limits)?;
            if let Some((d, x)) =
                point.iter().enumerate().find(|(_, x)| !(limits[0] <= **x && **x <= limits[1]))
            {
                let [low, high] = limits;
                return Err(Error::Argument(format!(
                    "element {d} of the point, {x}, is not in [{low}, {high}]"
                )));
            }
        }
        let affine = Affine::new(network, "a polytope", context.memory())?;
        let Affine { stages, layers, .. } = &affine;
        let mut code = vec![0; affine.words()];
        let still = vec![0.0; dimension];
        Walk::along(stages, layers, point, &still, &mut code);
        let mut walls = Walls::new(dimension);
        let outputs = Walk::by_code(stages, layers, &mut code, &mut walls);
        if let Some([low, high]) = limits {
            walls.add_box(low, high);
        }
        let dictionary = (walls.len() + dimension) as u64 * (2 + dimension) as u64 * size_of::<f64>() as u64;
        if 3 * dictionary > context.memory() {
            let what = format!("linear programs of {} constraints in {dimension} dimensions", walls.len());
            return Err(Error::Memory { what, needed: 3 * dictionary, budget: context.memory() });
        }
        context.check()?;
        let deepest = chebyshev(&walls, point, || context.check())?;
        let size = deepest.x.iter().map(|x| x.abs()).fold(1.0, f64::max);
        let flat = deepest.depth <= FLAT * size;
        let boundaries: Vec<Boundary> =
            walls.sources.iter().map(|source| boundary(&affine, &code, *source)).collect();
        let mut polytope = Self {
            point: point.to_vec(),
            layers: layers.clone(),
            code,
            boundaries,
            inradius: deepest.bounded.then_some(if flat { 0.0 } else { deepest.depth }),
            centre: deepest.x,
            facets: vec![],
            undecided: 0,
            outputs,
            walls,
        };
        if !flat {
            context.progress().start("constraints", polytope.walls.len() as u64);
            let wanted = Wanted { points: true, programs };
            let sides = facets(&polytope.walls, &polytope.centre, deepest.depth, wanted, |decided| {
                context.progress().advance(decided as u64);
                context.check()
            })?;
            context.progress().finish();
            polytope.undecided = sides.iter().filter(|&side| *side == Side::Undecided).count();
            for (i, side) in sides.into_iter().enumerate() {
                let Side::Facet(mut at) = side else { continue };
                // Rounding off: onto its hyperplane.
                let lift = polytope.walls.slack(i, &at);
                at.iter_mut().zip(polytope.walls.normal(i)).for_each(|(x, a)| *x += lift * a);
                let boundary = polytope.boundaries[i];
                let neighbour = matches!(boundary, Boundary::Unit { .. }).then(|| {
                    let mut code = vec![0; affine.words()];
                    Walk::along(stages, layers, &at, polytope.walls.normal(i), &mut code);
                    code
                });
                let distance = polytope.slack(i);
                polytope.facets.push(Facet { constraint: i, boundary, distance, point: at, neighbour });
            }
        }
        Ok(polytope)
    }

    /// The number of elements of an input.
    pub fn dimension(&self) -> usize {
        self.point.len()
    }

    /// The layers that bend, in the order of their units in a code.
    pub fn layers(&self) -> &[CodeLayer] {
        &self.layers
    }

    /// Which piece each unit is on.
    pub fn code(&self) -> &[u32] {
        &self.code
    }

    /// How many constraints there are, the box's ends last.
    pub fn constraints(&self) -> usize {
        self.walls.len()
    }

    /// A constraint `a . x <= b` with `|a| = 1`, and what it comes from.
    ///
    /// # Panics
    /// Where there is none of that number.
    pub fn constraint(&self, i: usize) -> (&[f64], f64, Boundary) {
        (self.walls.normal(i), self.walls.offsets[i], self.boundaries[i])
    }

    /// The constraints that no others imply; of equal ones the first. There is none where the polytope is flat.
    pub fn facets(&self) -> &[Facet] {
        &self.facets
    }

    /// How many constraints may be facets or not: those for which there was no linear program left.
    pub fn undecided(&self) -> usize {
        self.undecided
    }

    /// The centre of the largest ball inside (Chebyshev centre); where there are balls of any size, of a large one.
    pub fn centre(&self) -> &[f64] {
        &self.centre
    }

    /// The radius of the largest ball inside; none where there are balls of any size.
    pub fn inradius(&self) -> Option<f64> {
        self.inradius
    }

    /// Whether a point lies inside or on the boundary.
    pub fn contains(&self, x: &[f64]) -> bool {
        (0..self.walls.len()).all(|i| self.walls.slack(i, x) >= 0.0)
    }

    /// The slopes of an output.
    pub fn slope(&self, output: usize) -> Vec<f64> {
        self.outputs.iter().skip(self.output_len() + output).step_by(self.output_len()).copied().collect()
    }

    /// The affine function of an output at 0.
    pub fn offset(&self, output: usize) -> f64 {
        self.outputs[output]
    }

    /// How many outputs there are.
    pub fn output_len(&self) -> usize {
        self.outputs.len() / (1 + self.dimension())
    }

    /// The constraint whose hyperplane is nearest the point, and how far it is: the distance to where a unit changes its
    /// piece, or to the end of the box. None where there are no constraints.
    pub fn nearest(&self) -> Option<(usize, f64)> {
        let distances = (0..self.walls.len()).map(|i| (i, self.slack(i).max(0.0)));
        distances.reduce(|best, next| if next.1 < best.1 { next } else { best })
    }

    /// The nearest point at which another of the chosen outputs equals the largest, by the polytope's own affine map. None
    /// where no output comes up to it.
    pub fn decision(&self, outputs: &[usize]) -> Option<Decision> {
        let class = self.class(outputs)?;
        let (value, slope) = (self.value(class, &self.point), self.slope(class));
        let mut nearest: Option<Decision> = None;
        for &other in outputs.iter().filter(|&&other| other != class) {
            let gap = value - self.value(other, &self.point);
            let towards: Vec<f64> = self.slope(other).iter().zip(&slope).map(|(a, b)| a - b).collect();
            let size = dot(&towards, &towards).sqrt();
            let distance = gap / size;
            if distance.is_finite() && nearest.as_ref().is_none_or(|best| distance < best.distance) {
                let point: Vec<f64> =
                    self.point.iter().zip(&towards).map(|(x, p)| x + distance * p / size).collect();
                let inside = self.contains(&point);
                nearest = Some(Decision { class, other, distance, point, inside });
            }
        }
        nearest
    }

    /// What a ray from the point along a direction meets, distances in units of the direction.
    ///
    /// # Errors
    /// [`Error::Shape`] for a direction of other length, [`Error::NonFinite`].
    pub fn ray(&self, direction: &[f64], outputs: &[usize]) -> Result<Ray> {
        check_point(self.dimension(), direction)?;
        let walls = (0..self.walls.len()).filter_map(|i| {
            let speed = dot(self.walls.normal(i), direction);
            (speed > 0.0).then(|| (i, self.slack(i).max(0.0) / speed))
        });
        let exit = walls.reduce(|best, next| if next.1 < best.1 { next } else { best });
        let change = self.class(outputs).and_then(|class| {
            let (value, along) = (self.value(class, &self.point), dot(&self.slope(class), direction));
            let others = outputs.iter().filter(|&&other| other != class).filter_map(|&other| {
                let gain = dot(&self.slope(other), direction) - along;
                (gain > 0.0).then(|| (other, (value - self.value(other, &self.point)) / gain))
            });
            others.reduce(|best, next| if next.1 < best.1 { next } else { best })
        });
        let within = |(_, at): &(usize, f64)| exit.is_none_or(|(_, end)| *at <= end);
        Ok(Ray { exit, change: change.filter(within) })
    }

    fn slack(&self, i: usize) -> f64 {
        self.walls.slack(i, &self.point)
    }

    fn value(&self, output: usize, x: &[f64]) -> f64 {
        self.offset(output) + dot(&self.slope(output), x)
    }

    fn class(&self, outputs: &[usize]) -> Option<usize> {
        let values = outputs.iter().map(|&k| (k, self.value(k, &self.point)));
        values.reduce(|best, next| if next.1 > best.1 { next } else { best }).map(|(k, _)| k)
    }
}

fn boundary(affine: &Affine, code: &[u32], source: Source) -> Boundary {
    let Source { stage, unit, piece } = source;
    let unit = unit as usize;
    if stage == BOX {
        return Boundary::Box { input: unit, upper: piece == 1 };
    }
    let layer = stage as usize;
    let from = affine.layers[layer].get(code, unit);
    let knot = match &affine.stages.stages[layer].bend {
        Bend::Elementwise(tables) => table(tables, unit).knots.get(from.min(piece) as usize).copied(),
        Bend::Largest(_) => None,
    };
    Boundary::Unit { layer, unit, from, to: piece, knot }
}

/// # Errors
/// [`Error::Shape`], [`Error::NonFinite`].
pub(super) fn check_point(dimension: usize, point: &[f64]) -> Result<()> {
    if point.len() != dimension {
        let length = point.len();
        return Err(Error::Shape(format!(
            "a point of {length} elements does not fit a network of {dimension} inputs"
        )));
    }
    if point.iter().any(|x| !x.is_finite()) {
        return Err(Error::NonFinite { what: "the point".to_owned(), row: 0 });
    }
    Ok(())
}

/// # Errors
/// [`Error::Argument`].
pub(super) fn check_limits([low, high]: [f64; 2]) -> Result<()> {
    if !(low.is_finite() && high.is_finite() && low < high) {
        return Err(Error::Argument(format!(
            "a box from {low} to {high} is none: its ends must be finite and ascend"
        )));
    }
    Ok(())
}
