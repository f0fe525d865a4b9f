//! How far a network is from itself with splines in the place of its activations.

use serde::Serialize;

use crate::data::Dataset;
use crate::engine::{Context, Engine, plan};
use crate::maso::{Layers, SplinedActivation};
use crate::network::{Network, check_finite};
use crate::{Error, Result, Scalar, classes};

/// What the row of all layers together has in the place of a name.
pub const ALL_LAYERS: &str = "all";

/// One row of a table: some layers splined, the others as they are.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerRow {
    /// Pieces of each part at most.
    pub pieces: usize,
    /// The layer that is splined, alone, or `all`.
    pub layer: String,
    /// Its activation; absent for all together.
    pub activation: Option<&'static str>,
    /// The range of its inputs; absent for all together.
    pub low: Option<f64>,
    /// The upper end of the range.
    pub high: Option<f64>,
    /// The largest error of the activation on that range, of the worst one for all together.
    pub activation_error: f64,
    /// Points judged on.
    pub points: usize,
    /// Root mean square error of the outputs over their standard deviation, both pooled over points and outputs.
    pub relative_rmse: f64,
    /// Largest absolute error of an output.
    pub max_abs: f64,
    /// Share of points at which both have the same largest output; absent with one output.
    pub agreement: Option<f64>,
    /// Share of points at which the splined network's largest output is the label; absent without labels.
    pub accuracy: Option<f64>,
}

/// What splined networks are judged on.
pub struct LayerSweep<'a, E: Engine> {
    /// Where it is computed.
    pub engine: &'a E,
    /// The network's layers.
    pub layers: &'a Layers,
    /// The outputs that count.
    pub outputs: &'a [usize],
    /// The points.
    pub points: &'a Dataset,
    /// Their classes.
    pub labels: Option<&'a [u32]>,
}

/// The network's own outputs at all points.
pub struct Truth {
    /// `[N, K]`
    values: Vec<f64>,
    /// Pooled over points and outputs; 1 where they are all the same.
    deviation: f64,
    /// Share of points at which the largest output is the label; `None` without labels.
    pub accuracy: Option<f64>,
}

impl<E: Engine> LayerSweep<'_, E> {
    /// Computes the network's own outputs, once.
    ///
    /// # Errors
    /// [`Error::Argument`] for labels that do not fit; [`Error::Memory`] where the outputs take more than half the
    /// budget; as [`Program::values`](crate::network::Program::values).
    pub fn truth(&self, context: &Context) -> Result<Truth> {
        let n = self.points.len();
        if let Some(labels) = self.labels.filter(|labels| labels.len() != n) {
            return Err(Error::Argument(format!("{} labels for {n} points", labels.len())));
        }
        let needed = 2 * (n * self.outputs.len() * size_of::<f64>()) as u64;
        if needed > context.memory() {
            let what = "the outputs at all points, for comparison,".to_owned();
            return Err(Error::Memory { what, needed, budget: context.memory() });
        }
        let mut values = Vec::with_capacity(n * self.outputs.len());
        let mut correct = 0;
        self.stream(&self.layers.network, context, |row, outputs| {
            correct += usize::from(self.is_correct(row, outputs));
            values.extend_from_slice(outputs);
        })?;
        let count = values.len().max(1) as f64;
        let mean = values.iter().sum::<f64>() / count;
        let variance = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / count;
        let deviation = if variance > 0.0 { variance.sqrt() } else { 1.0 };
        let accuracy = self.labels.map(|_| correct as f64 / n.max(1) as f64);
        Ok(Truth { values, deviation, accuracy })
    }

    /// The rows of splines with so many pieces: each layer alone, then all together.
    ///
    /// # Errors
    /// As [`Program::values`](crate::network::Program::values).
    pub fn rows(
        &self,
        pieces: usize,
        splines: &[SplinedActivation],
        truth: &Truth,
        context: &Context,
    ) -> Result<Vec<LayerRow>> {
        let mut rows = vec![];
        for (i, (layer, spline)) in self.layers.layers.iter().zip(splines).enumerate() {
            let network = self.layers.replaced(&[(i, &spline.sum)])?;
            let row = LayerRow {
                pieces,
                layer: layer.name.clone(),
                activation: Some(layer.activation.name()),
                low: Some(layer.range[0]),
                high: Some(layer.range[1]),
                activation_error: spline.error,
                ..LayerRow::of_all(pieces)
            };
            rows.push(self.judge(&network, truth, row, context)?);
        }
        let activation_error = splines.iter().map(|spline| spline.error).fold(0.0, f64::max);
        let row = LayerRow { activation_error, ..LayerRow::of_all(pieces) };
        rows.push(self.judge(&self.layers.splined(splines)?, truth, row, context)?);
        Ok(rows)
    }

    /// Completes a row.
    fn judge(&self, network: &Network, truth: &Truth, row: LayerRow, context: &Context) -> Result<LayerRow> {
        let (mut squared, mut largest, mut agree, mut correct) = (0.0, 0.0_f64, 0, 0);
        let k = self.outputs.len();
        self.stream(network, context, |row, outputs| {
            let own = &truth.values[row * k..][..k];
            for (value, own) in outputs.iter().zip(own) {
                squared += (value - own) * (value - own);
                largest = largest.max((value - own).abs());
            }
            agree += usize::from(classes::largest(outputs) == classes::largest(own));
            correct += usize::from(self.is_correct(row, outputs));
        })?;
        let points = self.points.len();
        let share = |count: usize| count as f64 / points.max(1) as f64;
        Ok(LayerRow {
            points,
            relative_rmse: (squared / (points * k).max(1) as f64).sqrt() / truth.deviation,
            max_abs: largest,
            agreement: (k > 1).then_some(share(agree)),
            accuracy: self.labels.map(|_| share(correct)),
            ..row
        })
    }

    fn is_correct(&self, row: usize, outputs: &[f64]) -> bool {
        self.labels.is_some_and(|labels| self.outputs[classes::largest(outputs)] == labels[row] as usize)
    }

    /// Shows the chosen outputs at every point.
    fn stream(
        &self,
        network: &Network,
        context: &Context,
        mut each: impl FnMut(usize, &[f64]),
    ) -> Result<()> {
        let program = network.compile(self.engine)?;
        let chunks = program.chunks(self.points.len(), None, context.memory() / 2)?;
        let start = |range: std::ops::Range<usize>| {
            context.check()?;
            let x = program.upload(self.points.rows::<E::Scalar>(range)?.view())?;
            self.engine.request(&program.forward(&x)?)
        };
        plan::overlapped(self.engine, chunks, start, |range, y| {
            let y = self.engine.receive(y)?;
            check_finite(&y, program.outputs(), range.start)?;
            for (row, y) in range.clone().zip(y.chunks_exact(program.outputs())) {
                each(row, &self.outputs.iter().map(|&k| y[k].f64()).collect::<Vec<_>>());
            }
            context.progress().advance(range.len() as u64);
            Ok(())
        })
    }
}

impl LayerRow {
    /// Nothing measured yet.
    fn of_all(pieces: usize) -> Self {
        Self {
            pieces,
            layer: ALL_LAYERS.to_owned(),
            activation: None,
            low: None,
            high: None,
            activation_error: 0.0,
            points: 0,
            relative_rmse: 0.0,
            max_abs: 0.0,
            agreement: None,
            accuracy: None,
        }
    }

    /// Whether all layers are splined.
    pub fn is_of_all(&self) -> bool {
        self.activation.is_none()
    }
}

/// The layer that alone has the largest error at each number of pieces.
pub fn dominant(rows: &[LayerRow]) -> Vec<&LayerRow> {
    let mut found: Vec<&LayerRow> = vec![];
    for row in rows.iter().filter(|row| !row.is_of_all()) {
        match found.last_mut() {
            Some(last) if last.pieces == row.pieces => {
                if row.relative_rmse > last.relative_rmse {
                    *last = row;
                }
            }
            _ => found.push(row),
        }
    }
    found
}
