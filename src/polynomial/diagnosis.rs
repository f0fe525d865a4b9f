//! Polynomials against the networks that they expand, layer by layer.

use std::collections::HashMap;
use std::ops::Range;

use ndarray::{Array2, s};
use rayon::prelude::*;
use serde::Serialize;

use crate::classes::largest;
use crate::engine::plan::Chunks;
use crate::engine::{Context, SplineEngine};
use crate::{Error, Result, Scalar};

use super::composition::{Composition, Layer};
use super::function::horner;

/// Rows that are taken through the network at once at most.
const ROWS: usize = 256;

/// Potentials of a layer that quantiles are taken from at most, evenly spread over rows and units.
const SAMPLE: usize = 1 << 20;

/// The shares of potentials below the quantiles that are reported.
pub const QUANTILES: [f64; 7] = [0.0, 0.01, 0.25, 0.5, 0.75, 0.99, 1.0];

/// What the polynomial of a network is worth on data.
#[derive(Debug, Clone, Serialize)]
pub struct Diagnosis {
    /// Rows of data.
    pub rows: usize,
    /// The chosen outputs, all together.
    pub outputs: Errors,
    /// The share of rows at which the largest output is the same; `None` with fewer than two.
    pub agreement: Option<f64>,
    /// The layers of activations.
    pub layers: Vec<LayerDiagnosis>,
}

/// Errors of polynomials against the true values, all units and rows together.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Errors {
    /// Mean of the squares.
    pub mse: f64,
    /// The largest.
    pub max_abs: f64,
    /// Root mean square over the standard deviation of the true values; `None` where that is 0.
    pub relative_rmse: Option<f64>,
}

/// A layer of activations: what its units see, and how far the polynomial is from them.
#[derive(Debug, Clone, Serialize)]
pub struct LayerDiagnosis {
    /// The name of its node.
    pub layer: String,
    /// The function.
    pub activation: &'static str,
    /// Units.
    pub units: usize,
    /// Order of the Taylor polynomial.
    pub taylor: usize,
    /// Where it is expanded; `None` where each unit is at its own potential.
    pub centre: Option<f64>,
    /// Radius of convergence there, the smallest of the units'; `None` where it is infinite.
    pub radius: Option<f64>,
    /// Where the Taylor polynomial is good, that is within the tolerance of the function; `None` where units differ in it.
    pub interval: Option<[f64; 2]>,
    /// The share of potentials where it is good.
    pub inside: f64,
    /// The share of potentials beyond the radius of convergence, where more Taylor terms make things worse.
    pub beyond: f64,
    /// The [`QUANTILES`] of the potentials that the network has.
    pub potentials: [f64; 7],
    /// Mean square of the Taylor polynomial's error at these potentials: of this layer alone.
    pub taylor_mse: f64,
    /// Errors of the composed and truncated polynomial at the output of the layer: of this one and all before it.
    pub errors: Errors,
    /// What smoothing kinks costs at most.
    pub smoothing_error: f64,
}

impl LayerDiagnosis {
    /// Why the expansion cannot hold there, if it cannot.
    pub fn warning(&self) -> Option<String> {
        let Self { layer, activation, taylor, .. } = self;
        let percent = |share: f64| format!("{:.3} %", 100.0 * share);
        if self.beyond > 0.0 {
            let radius = self.radius.map_or_else(String::new, |radius| format!(" {radius:.4}"));
            let place = self.centre.map_or_else(|| "their centres".to_owned(), |centre| format!("{centre}"));
            return Some(format!(
                "'{layer}': {} of the potentials lie beyond the radius of convergence{radius} of {activation} around \
                 {place}: the expansion cannot hold there, and more Taylor terms make it worse",
                percent(self.beyond)
            ));
        }
        (self.inside < 0.99).then(|| {
            format!(
                "'{layer}': {} of the potentials lie where the Taylor polynomial of order {taylor} of {activation} is \
                 off by more than the tolerance",
                percent(1.0 - self.inside)
            )
        })
    }
}

/// What is compared.
#[derive(Debug, Clone, Copy)]
pub struct Comparison<'a> {
    /// The inputs that vary; the others stay at the centre, for the polynomial and for the network.
    pub variables: &'a [usize],
    /// The outputs.
    pub outputs: &'a [usize],
    /// A Taylor polynomial is good where it is so near to the function, on the largest interval around its centre
    /// ([`Function::good_interval`](super::Function::good_interval)).
    pub tolerance: f64,
}

/// Compares the polynomials of all layers with the network at `count` rows, which `rows` reads as `[n, D]`. `each` sees,
/// block by block, the rows as both see them, the polynomial's outputs and the network's.
///
/// The polynomials are evaluated along the ray to each row, with one term for each degree, so that it does not matter how
/// many terms they have.
///
/// # Errors
/// [`Error::Argument`] without rows; [`Error::NonFinite`] where the network has no value; [`Error::Memory`],
/// [`Error::Cancelled`].
pub fn diagnose<E: SplineEngine>(
    composition: &Composition<'_, E>,
    Comparison { variables, outputs, tolerance }: Comparison<'_>,
    count: usize,
    rows: impl Fn(Range<usize>) -> Result<Array2<f64>>,
    context: &Context,
    mut each: impl FnMut(&Array2<f64>, &[f64], &[f64]) -> Result<()>,
) -> Result<Diagnosis> {
    if count == 0 {
        return Err(Error::Argument("there are no rows to compare at".to_owned()));
    }
    let (program, order) = (composition.program, composition.settings.order);
    let per_row = 8 * (order + 4) * (2 * program.series_peak() + program.dimension());
    let what = "the comparison with the network at one row";
    let chunks = Chunks::within(what, count, per_row as u64, 0, context.memory() / 2, ROWS)?;
    let mut layers: Vec<Seen<'_>> =
        composition.layers.iter().map(|layer| Seen::new(layer, program.source(layer.step), count)).collect();
    let at = Array2::from_shape_vec((1, composition.at.len()), composition.at.clone());
    let at = at.map_err(|e| Error::Shape(e.to_string()))?;
    let end = program.last_step();
    let wanted: Vec<usize> =
        layers.iter().flat_map(|layer| [layer.source, layer.layer.step]).chain([end]).collect();
    let centre = truth(composition, &at, &wanted)?;
    layers.par_iter_mut().try_for_each(|layer| layer.place(&centre[&layer.source], tolerance))?;

    let (mut sums, mut agreed) = (Sums::default(), 0);
    context.progress().start("rows", count as u64);
    for range in chunks.iter() {
        context.check()?;
        let given = rows(range.clone())?;
        let mut seen = Array2::from_shape_fn(given.dim(), |(_, c)| composition.at[c]);
        variables.iter().for_each(|&c| seen.column_mut(c).assign(&given.column(c)));
        let offsets = Array2::from_shape_fn(seen.dim(), |at| E::Scalar::of(seen[at] - composition.at[at.1]));
        let real = truth(composition, &seen, &wanted)?;
        let mut expanded = HashMap::new();
        let mut keep = |step, values| drop(expanded.insert(step, values));
        composition.along(offsets.view(), &wanted, &mut keep, context)?;
        for layer in &mut layers {
            layer.add(&real[&layer.source], &expanded[&layer.layer.step], &real[&layer.layer.step]);
        }
        let chosen = |values: &[f64]| -> Vec<f64> {
            let rows = values.chunks_exact(program.outputs());
            rows.flat_map(|row| outputs.iter().map(|&k| row[k])).collect()
        };
        let (polynomial, network) = (chosen(&expanded[&end]), chosen(&real[&end]));
        if let Some(i) = network.iter().position(|v| !v.is_finite()) {
            let row = range.start + i / outputs.len();
            return Err(Error::NonFinite { what: "the network's output".to_owned(), row });
        }
        sums.add(&polynomial, &network);
        let both = polynomial.chunks_exact(outputs.len()).zip(network.chunks_exact(outputs.len()));
        agreed += both.filter(|(a, b)| largest(*a) == largest(*b)).count();
        each(&seen, &polynomial, &network)?;
        context.progress().advance(range.len() as u64);
    }
    context.progress().finish();
    Ok(Diagnosis {
        rows: count,
        outputs: sums.errors(),
        agreement: (outputs.len() > 1).then(|| agreed as f64 / count as f64),
        layers: layers.into_iter().map(Seen::finish).collect(),
    })
}

/// What the network has at some steps.
fn truth<E: SplineEngine>(
    composition: &Composition<'_, E>,
    x: &Array2<f64>,
    wanted: &[usize],
) -> Result<HashMap<usize, Vec<f64>>> {
    let program = composition.program;
    let x = program.upload(x.mapv(E::Scalar::of).slice(s![.., ..]))?;
    let mut found = HashMap::new();
    program.visit(&x, |step, value| {
        if wanted.contains(&step) {
            found.insert(step, program.engine().download(value)?.iter().map(|v| v.f64()).collect());
        }
        Ok(())
    })?;
    Ok(found)
}

/// Sums over what was compared.
#[derive(Default)]
struct Sums {
    count: usize,
    squares: f64,
    largest: f64,
    truth: f64,
    truth_squares: f64,
}

impl Sums {
    fn add(&mut self, values: &[f64], truth: &[f64]) {
        for (&value, &truth) in values.iter().zip(truth) {
            let error = (value - truth).abs();
            self.count += 1;
            self.squares += error * error;
            self.largest = self.largest.max(error);
            self.truth += truth;
            self.truth_squares += truth * truth;
        }
    }

    fn errors(&self) -> Errors {
        let n = self.count as f64;
        let variance = (self.truth_squares / n - (self.truth / n).powi(2)).max(0.0);
        let mse = self.squares / n;
        // A variance of rounding errors is none.
        let varies = variance > 1e-24 * self.truth_squares / n;
        Errors { mse, max_abs: self.largest, relative_rmse: varies.then(|| (mse / variance).sqrt()) }
    }
}

/// A layer in the making.
struct Seen<'a> {
    layer: &'a Layer,
    /// The step that its potentials are the value of.
    source: usize,
    units: Vec<Unit>,
    stride: usize,
    sample: Vec<f64>,
    seen: usize,
    inside: usize,
    beyond: usize,
    taylor_squares: f64,
    sums: Sums,
}

/// Where a unit is expanded, or all units of a layer.
#[derive(Clone)]
struct Unit {
    centre: f64,
    interval: [f64; 2],
    radius: f64,
    series: Vec<f64>,
}

impl<'a> Seen<'a> {
    fn new(layer: &'a Layer, source: usize, rows: usize) -> Self {
        Self {
            layer,
            source,
            units: vec![],
            stride: (rows * layer.units).div_ceil(SAMPLE).max(1),
            sample: vec![],
            seen: 0,
            inside: 0,
            beyond: 0,
            taylor_squares: 0.0,
            sums: Sums::default(),
        }
    }

    /// Finds intervals and radii, given the potentials at the centre of the expansion.
    fn place(&mut self, potentials: &[f64], tolerance: f64) -> Result<()> {
        let Layer { function, taylor, centre, .. } = self.layer;
        let unit = |centre: f64| {
            let interval = function.good_interval(centre, *taylor, tolerance);
            let found = interval.zip(function.radius(centre)).zip(function.taylor(centre, *taylor));
            match found {
                Some(((interval, radius), series)) => Ok(Unit { centre, interval, radius, series }),
                None => Err(self.layer.no_series(centre)),
            }
        };
        self.units = match centre {
            Some(centre) => vec![unit(*centre)?],
            None => potentials.par_iter().map(|&centre| unit(centre)).collect::<Result<_>>()?,
        };
        Ok(())
    }

    fn add(&mut self, potentials: &[f64], values: &[f64], truth: &[f64]) {
        for (i, &potential) in potentials.iter().enumerate() {
            let Unit { centre, interval, radius, series } = &self.units[i % self.units.len()];
            self.inside += usize::from(interval[0] <= potential && potential <= interval[1]);
            self.beyond += usize::from((potential - centre).abs() >= *radius);
            let error = horner(series, potential - centre) - self.layer.function.value(potential);
            self.taylor_squares += error * error;
            if self.seen.is_multiple_of(self.stride) {
                self.sample.push(potential);
            }
            self.seen += 1;
        }
        self.sums.add(values, truth);
    }

    fn finish(mut self) -> LayerDiagnosis {
        self.sample.sort_unstable_by(f64::total_cmp);
        let last = self.sample.len() - 1;
        let share = |count: usize| count as f64 / self.seen as f64;
        let radius = self.units.iter().map(|unit| unit.radius).fold(f64::INFINITY, f64::min);
        let Layer { name, function, units, taylor, centre, .. } = self.layer;
        LayerDiagnosis {
            layer: name.clone(),
            activation: function.activation().name(),
            units: *units,
            taylor: *taylor,
            centre: *centre,
            radius: radius.is_finite().then_some(radius),
            interval: centre.map(|_| self.units[0].interval),
            inside: share(self.inside),
            beyond: share(self.beyond),
            potentials: QUANTILES.map(|q| self.sample[(q * last as f64).round() as usize]),
            taylor_mse: self.taylor_squares / self.seen as f64,
            errors: self.sums.errors(),
            smoothing_error: function.smoothing_error(),
        }
    }
}
