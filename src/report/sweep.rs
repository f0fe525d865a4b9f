//! The error of a spline over its number of pieces, its curvature and the choice of its pieces.
//!
//! All rows of a sweep share their products: an anchor's tangents and distances are computed once for each point
//! and feed the envelopes of every seed, curvature and number of pieces. Subsets of one seed are nested, so an
//! anchor belongs to one slot of each seed, and the envelope of a subset is the best of the first slots.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::data::Dataset;
use crate::engine::{Context, Curvature, EnvelopeSpec, EnvelopeValues, Search, SplineEngine};
use crate::network::Program;
use crate::spline::{Demand, JetSource, Label, NetworkJets, envelopes, shuffled};
use crate::{Error, Result, Scalar};

use super::judge::{Made, Outputs, Row, Sums, Unmeasured};

/// A curvature and where it comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    /// The curvature, for both halves and all outputs.
    pub curvature: f64,
    /// Its origin.
    pub label: Label,
    /// How it was chosen: `secant`, or the number itself.
    pub choice: String,
}

impl Setting {
    /// A curvature that the user gave.
    pub fn given(curvature: f64) -> Self {
        Self { curvature, label: Label::Given, choice: curvature.to_string() }
    }
}

/// The axes of a sweep.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SweepSettings {
    /// Numbers of pieces, ascending.
    pub pieces: Vec<usize>,
    /// Curvatures.
    pub curvatures: Vec<Setting>,
    /// Seeds of the random subsets.
    pub seeds: Vec<u64>,
    /// The certificate's curvature; that of the row where absent.
    pub certificate: Option<Setting>,
}

/// What has been summed so far; it can be stored and continued from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Points judged on.
    pub points: usize,
    outputs: Outputs,
    rows: Vec<Sums>,
}

impl State {
    /// Whether a sweep of these settings over so many points, of so many outputs, can have got here: what comes out of
    /// a file need not.
    pub fn fits(&self, settings: &SweepSettings, points: usize, outputs: usize) -> bool {
        let rows = if self.points == 0 { 0 } else { settings.rows() };
        self.points <= points
            && self.rows.len() == rows
            && self.outputs.are_sound()
            && self.rows.iter().all(|sums| sums.are_sound(self.points, outputs))
    }
}

/// A sweep over points `points` of a network's spline from `anchors`.
pub struct Sweep<'a, E: SplineEngine> {
    /// The network.
    pub program: &'a Program<E>,
    /// Its chosen outputs.
    pub outputs: Vec<usize>,
    /// Anchors.
    pub anchors: Dataset,
    /// Points that the spline is judged on.
    pub points: Dataset,
    /// A class for each point.
    pub labels: Option<Vec<u32>>,
    /// The axes.
    pub settings: SweepSettings,
}

impl SweepSettings {
    /// # Errors
    /// [`Error::Argument`] where an axis is empty or not sensible for so many anchors.
    pub fn check(&self, anchors: usize) -> Result<()> {
        let bad = |what: String| Err(Error::Argument(what));
        if self.pieces.is_empty() || self.curvatures.is_empty() || self.seeds.is_empty() {
            return bad("a sweep needs at least one number of pieces, one curvature and one seed".to_owned());
        }
        if let Some(pieces) = self.pieces.iter().find(|&&p| p == 0 || p > anchors) {
            return bad(format!("{pieces} pieces of {anchors} anchors: expected 1 to {anchors}"));
        }
        let settings = self.curvatures.iter().chain(&self.certificate);
        if let Some(c) = settings.map(|s| s.curvature).find(|c| !(c.is_finite() && *c >= 0.0)) {
            return bad(format!("a curvature must be finite and at least 0, not {c}"));
        }
        if !self.pieces.is_sorted_by(|a, b| a < b) {
            return bad("numbers of pieces must ascend".to_owned());
        }
        Ok(())
    }

    fn rows(&self) -> usize {
        self.pieces.len() * self.curvatures.len() * self.seeds.len()
    }

    /// The row of a number of pieces, a seed and a curvature, by their positions.
    fn row(&self, pieces: usize, (seed, curvature): (usize, usize)) -> usize {
        (pieces * self.curvatures.len() + curvature) * self.seeds.len() + seed
    }

    /// For each seed and anchor the first number of pieces that includes it.
    fn slots(&self, anchors: usize) -> Vec<u32> {
        let mut slots = vec![u32::MAX; self.seeds.len() * anchors];
        for (slots, &seed) in slots.chunks_exact_mut(anchors).zip(&self.seeds) {
            for (rank, anchor) in shuffled(anchors, seed).into_iter().enumerate() {
                let slot = self.pieces.partition_point(|&pieces| pieces <= rank);
                if slot < self.pieces.len() {
                    slots[anchor as usize] = slot as u32;
                }
            }
        }
        slots
    }

    /// The finished table: by pieces, then curvature, then seed.
    pub fn table(&self, state: &State, outputs: usize, has_labels: bool) -> Vec<Row> {
        let mut sums = state.rows.iter();
        let mut rows = Vec::with_capacity(self.rows());
        for &pieces in &self.pieces {
            for setting in &self.curvatures {
                for &seed in &self.seeds {
                    let certificate = self.certificate.as_ref().unwrap_or(setting);
                    let unmeasured = Unmeasured {
                        pieces,
                        curvature: setting.curvature,
                        seed,
                        points: state.points,
                        certificate: (certificate.curvature, certificate.label),
                        made: Made::published(setting.choice.clone()),
                    };
                    let sums = sums.next().copied().unwrap_or_default();
                    rows.push(sums.row(&state.outputs, outputs, has_labels, unmeasured));
                }
            }
        }
        rows
    }
}

impl<E: SplineEngine> Sweep<'_, E> {
    /// Runs from `state` on to the end; after each chunk of points `visit` sees the new state.
    ///
    /// # Errors
    /// [`Error::Argument`] for axes, labels or a state that do not fit; as [`envelopes`]; what `visit` says.
    pub fn run(
        &self,
        mut state: State,
        context: &Context,
        mut visit: impl FnMut(&State) -> Result<()>,
    ) -> Result<State> {
        self.settings.check(self.anchors.len())?;
        if let Some(labels) = &self.labels
            && labels.len() != self.points.len()
        {
            let (labels, points) = (labels.len(), self.points.len());
            return Err(Error::Argument(format!("{labels} labels for {points} points")));
        }
        if !state.fits(&self.settings, self.points.len(), self.outputs.len()) {
            return Err(Error::Argument("this is no state of this sweep".to_owned()));
        }
        if self.points.is_empty() {
            return Err(Error::Argument("a sweep needs points to be judged on".to_owned()));
        }
        let source = NetworkJets::new(self.program, self.anchors.clone(), self.outputs.clone())?;
        state.rows.resize(self.settings.rows(), Sums::default());
        let outputs = self.outputs.len();
        let variants = self.settings.curvatures.iter().chain(&self.settings.certificate);
        let spec = EnvelopeSpec {
            curvatures: variants.map(|s| vec![Curvature::isotropic(s.curvature); outputs]).collect(),
            families: self.settings.seeds.len(),
            slots: self.settings.pieces.len(),
            top: 1,
            search: Search::Pruned,
            pieces: false,
        };
        let slots = self.settings.slots(source.anchors());
        // The network's own values at a chunk of points, in smaller pieces beside it.
        let least = self.program.bytes_per_sample(None) + self.program.scratch_bytes();
        let for_values = least.max(context.memory() / 8);
        let demand = Demand {
            bytes_per_point: (self.program.outputs() * 2 * size_of::<E::Scalar>()) as u64,
            bytes: for_values,
        };
        let values_context = context.clone().with_memory(for_values);
        let rest = self.points.select_range(state.points..self.points.len())?;
        envelopes(&source, &rest, &spec, &slots, demand, context, |block| {
            let all = self.program.values(block.points, &values_context)?;
            let points = block.range.len();
            let truth: Vec<f64> = (0..points)
                .flat_map(|n| self.outputs.iter().map(move |&k| (n, k)))
                .map(|(n, k)| all[[n, k]].f64())
                .collect();
            let labels = self.labels.as_ref().map(|labels| &labels[state.points..state.points + points]);
            // Each line of the table (a seed and a curvature) goes through the points in their order, from where
            // the last chunk left its sums: they come out the same to the bit however points are chunked.
            let lines: Vec<(usize, usize)> = (0..self.settings.seeds.len())
                .flat_map(|family| (0..self.settings.curvatures.len()).map(move |variant| (family, variant)))
                .collect();
            let sums: Vec<Vec<Sums>> = lines
                .par_iter()
                .map(|&line| self.judge(&block.envelopes, line, &truth, labels, &state.rows))
                .collect();
            for (&line, sums) in lines.iter().zip(sums) {
                for (slot, sums) in sums.into_iter().enumerate() {
                    state.rows[self.settings.row(slot, line)] = sums;
                }
            }
            state.outputs.take(&truth);
            state.points += points;
            visit(&state)
        })?;
        Ok(state)
    }

    /// The sums of one seed and curvature, for each number of pieces, with a chunk of points added; `truth [n, K]`.
    fn judge(
        &self,
        envelopes: &EnvelopeValues<E::Scalar>,
        (family, variant): (usize, usize),
        truth: &[f64],
        labels: Option<&[u32]>,
        before: &[Sums],
    ) -> Vec<Sums> {
        let SweepSettings { pieces, curvatures, certificate, .. } = &self.settings;
        let (outputs, points) = (self.outputs.len(), truth.len() / self.outputs.len());
        let variants = curvatures.len() + usize::from(certificate.is_some());
        let certified = if certificate.is_some() { variants - 1 } else { variant };
        // The envelopes [n, K] of the slots so far, for the spline and for its certificate.
        let mut best =
            [variant, certified].map(|variant| (variant, vec![[f64::MIN, f64::MAX]; points * outputs]));
        let mut sums = Vec::with_capacity(pieces.len());
        for slot in 0..pieces.len() {
            for (variant, best) in &mut best {
                let row = ((family * variants + *variant) * pieces.len() + slot) * outputs;
                for (i, [low, high]) in best.iter_mut().enumerate() {
                    let at = (row + i % outputs) * points + i / outputs;
                    *low = low.max(envelopes.lower[at].f64());
                    *high = high.min(envelopes.upper[at].f64());
                }
            }
            let mut row = before[self.settings.row(slot, (family, variant))];
            let [(_, spline), (_, certificate)] = &best;
            let rows = spline.chunks_exact(outputs).zip(certificate.chunks_exact(outputs));
            for (n, ((spline, certificate), truth)) in rows.zip(truth.chunks_exact(outputs)).enumerate() {
                let value = |k: usize| (spline[k][0] + spline[k][1]) / 2.0;
                let label = labels.map(|labels| labels[n]);
                row.take(&self.outputs, value, |k| certificate[k], truth, label);
            }
            sums.push(row);
        }
        sums
    }
}
