//! What is chosen on a validation split: the curvature of least error, a factor on slopes, a softness.

use crate::data::Dataset;
use crate::engine::{Context, Curvature, EnvelopeSpec, Search, SoftHalves, SoftSpec, SplineEngine};
use crate::network::Program;
use crate::{Error, Result, Scalar};

use super::evaluate::Families;
use super::metric::Placed;
use super::{Demand, JetSource, Metric, Selection, Softness, envelopes, largest, secant, soft_envelopes};

/// Points apart from the anchors, with the network's values there.
pub struct Validation {
    points: Dataset,
    /// `[N, K]`
    truth: Vec<f64>,
    /// The standard deviation of the values, pooled over points and outputs.
    deviation: f64,
}

impl Validation {
    /// Asks the network at the points.
    ///
    /// # Errors
    /// [`Error::Argument`] without points; what the data and the network say.
    pub fn new<E: SplineEngine>(
        program: &Program<E>,
        outputs: &[usize],
        points: &Dataset,
        context: &Context,
    ) -> Result<Self> {
        if points.is_empty() {
            return Err(Error::Argument("what is chosen on validation needs points for it".to_owned()));
        }
        points.check_rows(program.dimension())?;
        /// Rows at a time.
        const ROWS: usize = 1 << 12;
        let mut truth = Vec::with_capacity(points.len() * outputs.len());
        for start in (0..points.len()).step_by(ROWS) {
            let rows = points.rows::<E::Scalar>(start..(start + ROWS).min(points.len()))?;
            let values = program.values(rows.view(), context)?;
            truth.extend(
                values
                    .rows()
                    .into_iter()
                    .flat_map(|row| outputs.iter().map(|&k| row[k].f64()).collect::<Vec<_>>()),
            );
        }
        let count = truth.len() as f64;
        let mean = truth.iter().sum::<f64>() / count;
        let variance = truth.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / count;
        // A constant is measured as it is.
        let deviation = if variance > 0.0 { variance.sqrt() } else { 1.0 };
        Ok(Self { points: points.clone(), truth, deviation })
    }

    /// The points.
    pub fn points(&self) -> &Dataset {
        &self.points
    }

    /// The root mean square error of values `[N, K]` over the standard deviation of the network's.
    pub fn relative_rmse<S: Scalar>(&self, values: &[S]) -> f64 {
        let squares: f64 = values.iter().zip(&self.truth).map(|(v, g)| (v.f64() - g).powi(2)).sum();
        self.relative(squares)
    }

    fn relative(&self, squares: f64) -> f64 {
        (squares / self.truth.len() as f64).sqrt() / self.deviation
    }
}

/// What is to be chosen, and what is given.
#[derive(Debug, Clone, PartialEq)]
pub struct Choices {
    /// The curvatures `[K]`; chosen where absent.
    pub curvature: Option<Vec<Curvature>>,
    /// Whether each output has a curvature of its own, where they are chosen.
    pub per_output: bool,
    /// Factors on slopes to choose from.
    pub slopes: Vec<f64>,
    /// The softness.
    pub softness: SoftnessChoice,
}

/// A softness, or which kind of it is chosen on validation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SoftnessChoice {
    /// This one.
    Given(Softness),
    /// The best temperature of means of the nearest tangents.
    Nearest,
    /// The best temperature of soft halves, and its curvature.
    Halves,
}

/// What was chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct Tuned {
    /// For each output, with respect to the metric.
    pub curvature: Vec<Curvature>,
    /// The factor on slopes.
    pub slopes: f64,
    /// The softness.
    pub softness: Softness,
    /// The error on the validation points.
    pub relative_rmse: f64,
}

/// Curvatures from the largest that any pair wants down: octaves tried at first.
const OCTAVES: i32 = 16;
/// And octaves above, which turn flattened pieces into the value of the nearest anchor.
const ABOVE: i32 = 3;
/// Pairs for the largest curvature.
const FOR_LARGEST: usize = 256;

/// Chooses the curvatures, the factor on slopes and the softness with the least squared error at the validation points,
/// pooled over outputs: first by octaves, then both halves apart by thirds of one.
///
/// # Errors
/// [`Error::Argument`] for a soft spline whose halves have different anchors; as [`envelopes`].
pub fn tune<E: SplineEngine>(
    (program, outputs): (&Program<E>, &[usize]),
    (source, metric): (&dyn JetSource<E>, &Metric),
    halves: &[Selection; 2],
    choices: &Choices,
    validation: &Validation,
    context: &Context,
) -> Result<Tuned> {
    let mut best: Option<Tuned> = None;
    for &slopes in &choices.slopes {
        let placed = Placed::new(source, metric, slopes)?;
        let trial = Trial { placed: &placed, halves, validation, context };
        let reach = || -> Result<f64> {
            let unmodified = Placed::new(source, metric, 1.0)?;
            let few = validation.points.select_range(0..validation.points.len().min(FOR_LARGEST))?;
            Ok(largest(&secant(&unmodified, program, outputs, &few, context)?))
        };
        let tuned = match choices.softness {
            SoftnessChoice::Given(Softness::Hard) => trial.hard(choices, reach)?,
            softness => trial.soft(softness, choices, reach)?,
        };
        let tuned = Tuned { slopes, ..tuned };
        if best.as_ref().is_none_or(|best| tuned.relative_rmse < best.relative_rmse) {
            best = Some(tuned);
        }
    }
    best.ok_or_else(|| Error::Argument("there is no factor on slopes to choose from".to_owned()))
}

struct Trial<'a, E: SplineEngine> {
    placed: &'a dyn JetSource<E>,
    halves: &'a [Selection; 2],
    validation: &'a Validation,
    context: &'a Context,
}

impl<E: SplineEngine> Trial<'_, E> {
    fn hard(&self, choices: &Choices, reach: impl FnOnce() -> Result<f64>) -> Result<Tuned> {
        let outputs = self.placed.outputs();
        let (curvature, errors) = match &choices.curvature {
            Some(given) => (given.clone(), self.errors(std::slice::from_ref(given))?.swap_remove(0)),
            None => {
                let reach = reach()?;
                let coarse: Vec<Vec<Curvature>> =
                    octaves(reach).map(|c| vec![Curvature::isotropic(c); outputs]).collect();
                let start = choose(&coarse, &self.errors(&coarse)?, choices.per_output).0;
                let fine: Vec<Vec<Curvature>> = (-2..=2)
                    .flat_map(|i| (-2..=2).map(move |j| (i, j)))
                    .map(|(i, j): (i32, i32)| {
                        let by = |c: f64, i: i32| c * (f64::from(i) / 3.0).exp2();
                        start.iter().map(|c| Curvature { a: by(c.a, i), b: by(c.b, j) }).collect()
                    })
                    .collect();
                choose(&fine, &self.errors(&fine)?, choices.per_output)
            }
        };
        let relative_rmse = self.validation.relative(errors.iter().sum());
        Ok(Tuned { curvature, slopes: 1.0, softness: Softness::Hard, relative_rmse })
    }

    /// Squared errors of splines of these curvatures `[C][K]`, summed over the points.
    fn errors(&self, curvatures: &[Vec<Curvature>]) -> Result<Vec<Vec<f64>>> {
        let (outputs, variants) = (self.placed.outputs(), curvatures.len());
        let mut families = Families::default();
        let [lower, upper] = self.halves.each_ref().map(|half| families.of(half));
        let spec = EnvelopeSpec {
            curvatures: curvatures.to_vec(),
            families: families.count(),
            slots: 1,
            top: 1,
            pieces: false,
            search: Search::Pruned,
        };
        let slots = families.slots(self.placed.anchors());
        let mut errors = vec![vec![0.0; outputs]; variants];
        let validation = self.validation;
        envelopes(
            self.placed,
            &validation.points,
            &spec,
            &slots,
            Demand::default(),
            self.context,
            |block| {
                let count = block.range.len();
                for (c, (errors, curvatures)) in errors.iter_mut().zip(curvatures).enumerate() {
                    for (k, (error, curvature)) in errors.iter_mut().zip(curvatures).enumerate() {
                        let [low, high] = curvature.weights();
                        let at = |family: usize| ((family * variants + c) * outputs + k) * count;
                        let (below, above) =
                            (&block.envelopes.lower[at(lower)..], &block.envelopes.upper[at(upper)..]);
                        for (i, n) in block.range.clone().enumerate() {
                            let value = low * below[i].f64() + high * above[i].f64();
                            *error += (value - validation.truth[n * outputs + k]).powi(2);
                        }
                    }
                }
                Ok(())
            },
        )?;
        Ok(errors)
    }

    fn soft(
        &self,
        choice: SoftnessChoice,
        choices: &Choices,
        reach: impl FnOnce() -> Result<f64>,
    ) -> Result<Tuned> {
        let outputs = self.placed.outputs();
        if self.halves.iter().any(|half| *half != Selection::All) {
            return Err(Error::Argument("a soft spline takes all anchors into both halves".to_owned()));
        }
        let given = choices.curvature.clone();
        let mut spec = SoftSpec::default();
        match choice {
            SoftnessChoice::Given(Softness::Hard) => unreachable!("hard splines are tuned apart"),
            SoftnessChoice::Given(Softness::Nearest(tau)) => spec.nearest.push(tau),
            SoftnessChoice::Nearest => {
                let squared = self.nearest_squared()?;
                spec.nearest.extend((-12..=2).map(|i| squared * (f64::from(i) / 2.0).exp2()));
            }
            SoftnessChoice::Given(Softness::Halves(_)) | SoftnessChoice::Halves => {
                let temperatures: Vec<f64> = match choice {
                    SoftnessChoice::Given(Softness::Halves(temperature)) => vec![temperature],
                    _ => (-6..=2).map(|i| self.validation.deviation * f64::from(i).exp2()).collect(),
                };
                let curvatures: Vec<Vec<Curvature>> = match &given {
                    Some(given) => vec![given.clone()],
                    None => {
                        let reach = reach()?;
                        octaves(reach).step_by(2).map(|c| vec![Curvature::isotropic(c); outputs]).collect()
                    }
                };
                for curvatures in &curvatures {
                    spec.halves.extend(
                        temperatures
                            .iter()
                            .map(|&temperature| SoftHalves { curvatures: curvatures.clone(), temperature }),
                    );
                }
            }
        }
        let errors = self.soft_errors(&spec)?;
        let totals = errors.iter().map(|errors| errors.iter().sum::<f64>());
        let Some((best, total)) = totals.enumerate().min_by(|a, b| a.1.total_cmp(&b.1)) else {
            unreachable!("there is a temperature to try");
        };
        let relative_rmse = self.validation.relative(total);
        // Means of tangents have no use for curvatures; weights are one half each.
        let nothing = vec![Curvature::default(); outputs];
        let (softness, curvature) = match spec.halves.get(best) {
            Some(halves) => (Softness::Halves(halves.temperature), halves.curvatures.clone()),
            None => (Softness::Nearest(spec.nearest[best]), given.unwrap_or(nothing)),
        };
        Ok(Tuned { curvature, slopes: 1.0, softness, relative_rmse })
    }

    fn soft_errors(&self, spec: &SoftSpec) -> Result<Vec<Vec<f64>>> {
        let outputs = self.placed.outputs();
        let variants = spec.nearest.len() + spec.halves.len();
        let mut errors = vec![vec![0.0; outputs]; variants];
        let validation = self.validation;
        soft_envelopes(
            self.placed,
            &validation.points,
            spec,
            Demand::default(),
            self.context,
            |range, soft| {
                let count = range.len();
                for (c, errors) in errors.iter_mut().enumerate() {
                    for (k, error) in errors.iter_mut().enumerate() {
                        let at = (c * outputs + k) * count;
                        for (i, n) in range.clone().enumerate() {
                            let value = match spec.halves.get(c) {
                                None => soft.nearest[at + i].f64(),
                                Some(halves) => {
                                    let [low, high] = halves.curvatures[k].weights();
                                    low * soft.lower[at + i].f64() + high * soft.upper[at + i].f64()
                                }
                            };
                            *error += (value - validation.truth[n * outputs + k]).powi(2);
                        }
                    }
                }
                Ok(())
            },
        )?;
        Ok(errors)
    }

    /// The mean squared distance of some validation points from the nearest of some anchors, which temperatures are
    /// tried around.
    fn nearest_squared(&self) -> Result<f64> {
        let engine = self.placed.engine();
        let count = self.validation.points.len().min(FOR_LARGEST);
        let rows = self.validation.points.rows::<E::Scalar>(0..count)?;
        let rows = rows.as_standard_layout();
        let shape = [count, rows.ncols()];
        let x = self.placed.place(engine.upload(rows.as_slice().unwrap_or_default(), &shape)?)?;
        let x = engine.download(&x)?;
        let (d, block) = (self.placed.dimension(), self.placed.most_jets()?.min(FOR_LARGEST));
        let mut nearest = vec![f64::MAX; count];
        for start in (0..self.placed.anchors().min(16 * FOR_LARGEST)).step_by(block) {
            self.context.check()?;
            let (jets, unchecked) = self.placed.block(start..(start + block).min(self.placed.anchors()))?;
            unchecked.check(engine)?;
            let anchors = engine.download(&jets.points)?;
            for (nearest, x) in nearest.iter_mut().zip(x.chunks_exact(d)) {
                for anchor in anchors.chunks_exact(d) {
                    let squared: f64 = x.iter().zip(anchor).map(|(x, y)| (x.f64() - y.f64()).powi(2)).sum();
                    *nearest = nearest.min(squared);
                }
            }
        }
        let mean = nearest.iter().sum::<f64>() / count as f64;
        Ok(if mean > 0.0 { mean } else { 1.0 })
    }
}

/// Curvatures to try, where no pair wants more than `reach`.
fn octaves(reach: f64) -> impl Iterator<Item = f64> {
    let reach = if reach > 0.0 { reach } else { 1.0 };
    (-OCTAVES..=ABOVE).map(move |i| reach * f64::from(i).exp2())
}

/// The curvatures with the least errors `[C][K]`, for all outputs together or for each alone, and these.
fn choose(
    curvatures: &[Vec<Curvature>],
    errors: &[Vec<f64>],
    per_output: bool,
) -> (Vec<Curvature>, Vec<f64>) {
    let outputs = curvatures[0].len();
    let least = |error: &dyn Fn(usize) -> f64| {
        (1..curvatures.len()).fold(0, |best, c| if error(c) < error(best) { c } else { best })
    };
    let all = least(&|c| errors[c].iter().sum());
    let chosen = (0..outputs).map(|k| if per_output { least(&|c| errors[c][k]) } else { all });
    chosen.enumerate().map(|(k, c)| (curvatures[c][k], errors[c][k])).unzip()
}
