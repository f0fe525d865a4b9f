//! From a network to a spline: which anchors, metric, curvature and slopes, and what is chosen on validation.

use crate::data::Dataset;
use crate::engine::plan::Chunks;
use crate::engine::{Context, Cpu, Curvature, Jets, SplineEngine};
use crate::network::{Network, Program};
use crate::{Error, Result, Scalar};

use super::jets::HeldJets;
use super::metric::{self, Placed};
use super::recipe::{CurvatureChoice, Domain, MetricChoice, Recipe, SlopesChoice};
use super::selection::{Features, clusters, select};
use super::tune::{Choices, SoftnessChoice, Validation, tune};
use super::{
    Certificate, Form, JetSource, Label, Metric, NetworkJets, Planes, Refinement, Selection, Softness,
    Spline, Tangents, Warp, curvature, largest, refine, secant, values,
};

/// The network to be approximated, and data for it.
pub struct Subject<'a, E: SplineEngine> {
    /// The network.
    pub network: &'a Network,
    /// The same, laid out.
    pub program: &'a Program<E>,
    /// The chosen outputs.
    pub outputs: &'a [usize],
    /// Rows that anchors are chosen from.
    pub anchors: &'a Dataset,
    /// Rows apart from them, for choices.
    pub validation: Option<&'a Dataset>,
}

/// A spline and what was found on the way.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    /// The spline; its anchors are those in `chosen`.
    pub spline: Spline,
    /// Rows of the anchors' data, ascending.
    pub chosen: Vec<usize>,
    /// The error on the validation points, where there are some.
    pub relative_rmse: Option<f64>,
    /// The same before refinement, where there was one.
    pub before: Option<f64>,
}

/// Pieces that refinement starts from; they are split as it goes on.
const SEEDS: usize = 32;

/// Rows of the anchors' data whose Hessians are looked at.
const FOR_HESSIANS: usize = 64;

/// Factors on slopes that are tried.
const FACTORS: [f64; 5] = [0.0, 0.25, 0.5, 0.75, 1.0];

impl<E: SplineEngine> Subject<'_, E> {
    /// Makes a spline.
    ///
    /// # Errors
    /// [`Error::Argument`] for choices that do not fit together or that lack validation points; what their parts say.
    pub fn fit(&self, recipe: &Recipe, context: &Context) -> Result<Fitted> {
        recipe.check()?;
        // Rows that nothing is chosen on are not read.
        let validation = self
            .validation
            .filter(|_| recipe.needs_validation())
            .map(|points| Validation::new(self.program, self.outputs, points, context))
            .transpose()?;
        if validation.is_none() && recipe.needs_validation() {
            return Err(Error::Argument(
                "what is chosen or estimated on validation points needs some: rows of the data that are no anchors"
                    .to_owned(),
            ));
        }
        let all = NetworkJets::new(self.program, self.anchors.clone(), self.outputs.to_vec())?;
        let metric = self.metric(&recipe.metric, &all, context)?;
        let halves = self.select(recipe, recipe.pieces, &all, &metric, validation.as_ref(), context)?;
        let chosen = union(&halves, self.anchors.len());
        let halves = halves.map(|half| within(&half, &chosen));
        let anchors = self.anchors.select(&chosen)?;
        let source = NetworkJets::new(self.program, anchors, self.outputs.to_vec())?;

        let mut fitted = if recipe.refine > 0 {
            self.refined(recipe, &all, metric, validation.as_ref(), context)?
        } else if recipe.slopes == SlopesChoice::Averaged {
            self.averaged(recipe, recipe.pieces, &all, metric, validation.as_ref(), context)?
        } else {
            self.tangents(recipe, &source, metric, halves, validation.as_ref(), context)?
        };
        fitted.spline.certificate = self.certificate(recipe, &fitted.spline, &source, context)?;
        fitted.chosen = chosen;
        Ok(fitted)
    }

    /// One curvature for all outputs and both halves, of all anchors, in the identity metric, and where it comes from.
    ///
    /// # Errors
    /// [`Error::Argument`] for a curvature that is chosen for its error, as there is no spline yet; what finding it says.
    pub fn isotropic(&self, choice: CurvatureChoice, context: &Context) -> Result<(f64, Label)> {
        let all = NetworkJets::new(self.program, self.anchors.clone(), self.outputs.to_vec())?;
        match self.curvature((choice, false), None, (&all, &Metric::Identity), context)? {
            Some((curvatures, label)) => Ok((largest(&curvatures), label)),
            None => Err(Error::Argument("a curvature is chosen for one spline at a time".to_owned())),
        }
    }

    fn metric(&self, choice: &MetricChoice, all: &NetworkJets<'_, E>, context: &Context) -> Result<Metric> {
        Ok(match choice {
            MetricChoice::Given(metric) => metric.clone(),
            MetricChoice::Found { family, power, rank } => match family {
                metric::Family::Diagonal => metric::diagonal(all, *power, context)?,
                metric::Family::Gradient => metric::gradients(all, *power, (*rank, true), context)?,
                metric::Family::Active => metric::gradients(all, *power, (*rank, false), context)?,
                metric::Family::Principal => metric::principal(all, *rank, context)?,
                metric::Family::Informed => metric::informed(all, *power, *rank, context)?,
            },
        })
    }

    /// The anchors of both halves. What needs a curvature for it gets the one that is best with a random subset.
    fn select(
        &self,
        recipe: &Recipe,
        pieces: usize,
        all: &NetworkJets<'_, E>,
        metric: &Metric,
        validation: Option<&Validation>,
        context: &Context,
    ) -> Result<[Selection; 2]> {
        let seed = context.seed();
        let placed = Placed::new(all, metric, 1.0)?;
        if pieces == all.anchors() || !recipe.selection.needs_curvature() {
            return select(&recipe.selection, &placed, pieces, &[], seed, context);
        }
        let curvature = match (recipe.curvature, validation) {
            (CurvatureChoice::Given(given), _) => vec![given; self.outputs.len()],
            (_, None) => {
                return Err(Error::Argument(
                    "this selection needs a curvature, and validation points to choose it on".to_owned(),
                ));
            }
            (_, Some(validation)) => {
                let random = Selection::random(pieces, all.anchors(), seed)?;
                let choices = Choices {
                    curvature: None,
                    per_output: false,
                    slopes: vec![1.0],
                    softness: SoftnessChoice::Given(Softness::Hard),
                };
                let network = (self.program, self.outputs);
                tune(network, (all, metric), &[random.clone(), random], &choices, validation, context)?
                    .curvature
            }
        };
        select(&recipe.selection, &placed, pieces, &curvature, seed, context)
    }

    /// The curvatures of the approximation where they are not chosen on validation.
    fn curvature(
        &self,
        (choice, per_output): (CurvatureChoice, bool),
        domain: Option<&Domain>,
        (source, metric): (&dyn JetSource<E>, &Metric),
        context: &Context,
    ) -> Result<Option<(Vec<Curvature>, Label)>> {
        let found = match choice {
            CurvatureChoice::Chosen => return Ok(None),
            CurvatureChoice::Given(given) => {
                return Ok(Some((vec![given; self.outputs.len()], Label::Given)));
            }
            CurvatureChoice::Secant => {
                let points = self.validation.ok_or_else(|| {
                    Error::Argument("a secant curvature needs points to be tested on".to_owned())
                })?;
                let placed = Placed::new(source, metric, 1.0)?;
                secant(&placed, self.program, self.outputs, points, context)?
            }
            CurvatureChoice::Hessian => {
                let samples = self.anchors.select_range(0..self.anchors.len().min(FOR_HESSIANS))?;
                // Second derivatives lose digits twice; in f64 a few samples cost little.
                let engine = Cpu::<f64>::new();
                let found = curvature::hessian(self.network, &engine, self.outputs, &samples, context)?;
                curvature::worst(&found)
            }
            CurvatureChoice::Proved => {
                let domain = domain.ok_or_else(|| {
                    Error::Argument("a proved curvature needs the box that it is to hold on".to_owned())
                })?;
                let Domain { low, high, boxes } = domain;
                curvature::proved(self.network, self.outputs, low, high, *boxes, context)?.curvature
            }
        };
        let curvatures = if per_output { found } else { vec![widest(&found); found.len()] };
        Ok(choice.label().map(|label| (curvatures, label)))
    }

    fn tangents(
        &self,
        recipe: &Recipe,
        source: &dyn JetSource<E>,
        metric: Metric,
        halves: [Selection; 2],
        validation: Option<&Validation>,
        context: &Context,
    ) -> Result<Fitted> {
        let choice = (recipe.curvature, recipe.per_output);
        let found = self.curvature(choice, recipe.domain.as_ref(), (source, &metric), context)?;
        let choices = Choices {
            curvature: found.map(|(curvature, _)| curvature),
            per_output: recipe.per_output,
            slopes: match recipe.slopes {
                SlopesChoice::Given(factor) => vec![factor],
                _ => FACTORS.to_vec(),
            },
            softness: recipe.softness,
        };
        let (curvature, slopes, softness, relative_rmse) = match (validation, &choices) {
            // Nothing is left to choose.
            (
                None,
                Choices { curvature: Some(given), slopes, softness: SoftnessChoice::Given(softness), .. },
            ) if slopes.len() == 1 => (given.clone(), slopes[0], *softness, None),
            (None, _) => return Err(Error::Argument("there are no points to choose on".to_owned())),
            (Some(validation), _) => {
                let network = (self.program, self.outputs);
                let tuned = tune(network, (source, &metric), &halves, &choices, validation, context)?;
                (tuned.curvature, tuned.slopes, tuned.softness, Some(tuned.relative_rmse))
            }
        };
        let [lower, upper] = halves;
        let form = Form::Tangents(Tangents { lower, upper, slopes, softness });
        Ok(Fitted {
            spline: uncertified(metric, curvature, form),
            chosen: vec![],
            relative_rmse,
            before: None,
        })
    }

    /// One piece for each cluster of the anchors: the mean of its points, values and Jacobians.
    fn averaged(
        &self,
        recipe: &Recipe,
        pieces: usize,
        all: &NetworkJets<'_, E>,
        metric: Metric,
        validation: Option<&Validation>,
        context: &Context,
    ) -> Result<Fitted> {
        let means = mean_jets(all, pieces, context)?;
        let plain = Recipe { slopes: SlopesChoice::Given(1.0), ..recipe.clone() };
        let halves = [Selection::All, Selection::All];
        let fitted = self.tangents(&plain, &means, metric, halves, validation, context)?;
        let Spline { metric, curvature, .. } = fitted.spline;
        let planes = Planes::of_tangents(&Placed::new(&means, &metric, 1.0)?, &curvature, context)?;
        Ok(Fitted { spline: uncertified(metric, curvature, Form::Planes(planes)), ..fitted })
    }

    /// Few pieces, as they are best without refinement, and refined. The result is the better of both.
    fn refined(
        &self,
        recipe: &Recipe,
        all: &NetworkJets<'_, E>,
        metric: Metric,
        validation: Option<&Validation>,
        context: &Context,
    ) -> Result<Fitted> {
        let validation = validation
            .ok_or_else(|| Error::Argument("a refinement needs points to be judged on".to_owned()))?;
        let seeds = recipe.pieces.min(SEEDS);
        let start = if recipe.slopes == SlopesChoice::Averaged {
            self.averaged(recipe, seeds, all, metric, Some(validation), context)?
        } else {
            let halves = self.select(recipe, seeds, all, &metric, Some(validation), context)?;
            let chosen = union(&halves, all.anchors());
            let anchors = self.anchors.select(&chosen)?;
            let source = NetworkJets::new(self.program, anchors, self.outputs.to_vec())?;
            let halves = [Selection::All, Selection::All];
            let fitted = self.tangents(recipe, &source, metric, halves, Some(validation), context)?;
            let Spline { metric, curvature, form, .. } = fitted.spline;
            let slopes = if let Form::Tangents(tangents) = &form { tangents.slopes } else { 1.0 };
            let planes = Planes::of_tangents(&Placed::new(&source, &metric, slopes)?, &curvature, context)?;
            let spline = uncertified(metric, curvature, Form::Planes(planes));
            Fitted { spline, ..fitted }
        };
        let Fitted { spline, relative_rmse: before, .. } = start;
        let Form::Planes(planes) = &spline.form else { unreachable!("refinement starts from planes") };
        let weights: Vec<[f64; 2]> = spline.curvature.iter().map(|c| c.weights()).collect();
        let warp = recipe.warp.map(|strength| self.warp(strength)).transpose()?;
        let refinement =
            Refinement { warp, rate: recipe.rate, ..Refinement::new(recipe.refine, recipe.pieces) };
        let network = (self.program, self.outputs);
        let refined =
            refine(network, self.anchors, (&spline.metric, planes), &weights, &refinement, context)?;
        let refined = Spline { form: Form::Planes(refined), ..spline.clone() };
        let after = validation.relative_rmse(&values(&refined, all, validation.points(), context)?);
        let better = before.is_none_or(|before| after <= before);
        let (spline, relative_rmse) = if better { (refined, Some(after)) } else { (spline, before) };
        Ok(Fitted { spline, chosen: vec![], relative_rmse, before })
    }

    /// Warps of the images that rows are, by their shape or the network's.
    fn warp(&self, strength: f64) -> Result<Warp> {
        Warp::new(self.anchors.row_shape(), strength).or_else(|wrong| {
            self.network.inputs().find_map(|input| Warp::new(input.shape(), strength).ok()).ok_or(wrong)
        })
    }

    fn certificate(
        &self,
        recipe: &Recipe,
        spline: &Spline,
        source: &NetworkJets<'_, E>,
        context: &Context,
    ) -> Result<Certificate> {
        let plain = spline.metric == Metric::Identity && recipe.curvature != CurvatureChoice::Chosen;
        let choice = match recipe.certificate {
            Some(choice) => choice,
            None if plain => recipe.curvature,
            None => CurvatureChoice::Secant,
        };
        // A secant depends on the anchors that it is of; others are found once.
        let own_anchors = recipe.refine > 0 || recipe.slopes == SlopesChoice::Averaged;
        if let Some(label) = choice.label()
            && choice == recipe.curvature
            && spline.metric == Metric::Identity
            && !(own_anchors && choice == CurvatureChoice::Secant)
        {
            return Ok(Certificate { curvature: spline.curvature.clone(), label });
        }
        let of = (choice, recipe.per_output);
        match self.curvature(of, recipe.domain.as_ref(), (source, &Metric::Identity), context)? {
            Some((curvature, label)) => Ok(Certificate { curvature, label }),
            None => Err(Error::Argument(
                "the curvature of least error bounds nothing: choose another for the error bars".to_owned(),
            )),
        }
    }
}

/// A spline whose certificate follows.
fn uncertified(metric: Metric, curvature: Vec<Curvature>, form: Form) -> Spline {
    let certificate = Certificate { curvature: curvature.clone(), label: Label::Given };
    Spline { metric, curvature, form, certificate }
}

/// The largest of all outputs and both halves, for all.
fn widest(curvatures: &[Curvature]) -> Curvature {
    Curvature::isotropic(largest(curvatures))
}

/// Anchors of either half, ascending.
fn union(halves: &[Selection; 2], anchors: usize) -> Vec<usize> {
    (0..anchors).filter(|&i| halves.iter().any(|half| half.contains(i as u32))).collect()
}

/// A selection as positions among the chosen anchors.
fn within(half: &Selection, chosen: &[usize]) -> Selection {
    let positions = (0..chosen.len() as u32).filter(|&at| half.contains(chosen[at as usize] as u32));
    Selection::of(positions.collect(), chosen.len())
}

/// The means of the jets in `pieces` clusters of the anchors' inputs.
fn mean_jets<E: SplineEngine>(
    all: &NetworkJets<'_, E>,
    pieces: usize,
    context: &Context,
) -> Result<HeldJets<E>> {
    let (m, d, k) = (all.anchors(), all.dimension(), all.outputs());
    let engine = all.engine();
    let [found, _] = clusters(Features::Inputs, all, pieces, &[], context.seed(), context)?;
    let count = found.sizes.len();
    let jet = (2 * (k + 1) * (d + 1) * size_of::<E::Scalar>()) as u64 + all.bytes_to_make();
    let fixed = (2 * count * (k + 1) * (d + 1) * size_of::<f64>()) as u64 + all.scratch_bytes();
    let blocks =
        Chunks::within("means of jets", m, jet, fixed, context.memory(), all.most_jets()?.min(1 << 10))?;
    let mut sums = [vec![0.0; count * d], vec![0.0; count * k], vec![0.0; count * k * d]];
    for block in blocks.iter() {
        context.check()?;
        let (jets, unchecked) = all.block(block.clone())?;
        let parts = [&jets.points, &jets.values, &jets.jacobians];
        for (sums, part) in sums.iter_mut().zip(parts) {
            let values = engine.download(part)?;
            let row = values.len() / block.len();
            for (i, values) in block.clone().zip(values.chunks_exact(row)) {
                let cluster = found.assignment[i] as usize;
                let share = 1.0 / f64::from(found.sizes[cluster]);
                let to = &mut sums[cluster * row..][..row];
                to.iter_mut().zip(values).for_each(|(sum, v)| *sum += share * v.f64());
            }
        }
        unchecked.check(engine)?;
    }
    let upload = |values: &[f64], shape: &[usize]| {
        engine.upload(&values.iter().map(|&v| E::Scalar::of(v)).collect::<Vec<_>>(), shape)
    };
    let jets = Jets {
        points: upload(&sums[0], &[count, d])?,
        values: upload(&sums[1], &[count, k])?,
        jacobians: upload(&sums[2], &[count, k, d])?,
    };
    Ok(HeldJets::new(engine, jets))
}
