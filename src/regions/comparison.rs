//! Affine rows of one network from those of another (Sattelberg, Cavalieri, Kirby, Peterson & Beveridge 2020), and how
//! similar their structures are.

use ndarray::Array2;
use serde::Serialize;

use crate::cholesky::Cholesky;
use crate::data::Dataset;
use crate::engine::{Context, Cpu, Engine, Epilogue};
use crate::network::Program;
use crate::{Error, Result};

use super::affine_rows::{affine_rows, agreement, at, classes, mean};

/// How two networks of the same inputs and outputs compare.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The share of points that both put into the same class.
    pub agreement: f64,
    /// The accuracy of the first and of the second; absent without labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<[f64; 2]>,
    /// The accuracy with the second network's affine rows as the linear regression predicts them from the first's; absent
    /// without labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub substituted_accuracy: Option<f64>,
    /// The share of points that the second network and these predicted rows put into the same class.
    pub substituted_agreement: f64,
    /// For each output.
    pub outputs: Vec<OutputComparison>,
}

/// How the affine rows of one output compare.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct OutputComparison {
    /// The share of the variance of the second network's rows that the regression explains, at the points that it was
    /// fitted on and at the others.
    pub explained: [f64; 2],
    /// Linear centred kernel alignment of both networks' rows (Kornblith, Norouzi, Lee & Hinton 2019): 1 where they are
    /// equal up to a rotation and a scale.
    pub alignment: f64,
}

/// Compares two networks: for each output the second one's affine rows are regressed on the first one's, with an
/// intercept, at the data `fitted`; then, at `points`, predicted rows take the place of the second network's own.
///
/// `ridge` times the mean square of the first network's centred rows is added to the diagonal. Everything is in `f64`;
/// the rows of one output of both networks are held.
///
/// # Errors
/// [`Error::Shape`] for networks of different inputs or outputs, or data that do not fit; [`Error::Argument`] for a ridge
/// that is not positive, or labels that are not as many as points; [`Error::Memory`], [`Error::Cancelled`];
/// [`Error::NonFinite`].
pub fn compare(
    [first, second]: [&Program<Cpu<f64>>; 2],
    fitted: &Dataset,
    points: &Dataset,
    labels: Option<&[u32]>,
    ridge: f64,
    context: &Context,
) -> Result<Comparison> {
    let (dimension, outputs, count) = (first.dimension(), first.outputs(), points.len());
    if (second.dimension(), second.outputs()) != (dimension, outputs) {
        return Err(Error::Shape(format!(
            "a network of {dimension} inputs and {outputs} outputs cannot be compared with one of {} and {}",
            second.dimension(),
            second.outputs()
        )));
    }
    if !(ridge.is_finite() && ridge > 0.0) {
        return Err(Error::Argument(format!("a ridge must be positive and finite, not {ridge}")));
    }
    if let Some(labels) = labels.filter(|labels| labels.len() != count) {
        return Err(Error::Argument(format!("{} labels for {count} points", labels.len())));
    }
    let width = dimension + 1;
    // Rows of both networks, one of them transposed, and a prediction; products and the solution.
    let numbers = 4 * fitted.len().max(count) * width + 6 * width * width;
    let (held, budget) = ((numbers * size_of::<f64>()) as u64, context.memory());
    if held + held / 4 > budget {
        let what = format!("the regression of {width} numbers at {} rows", fitted.len().max(count));
        return Err(Error::Memory { what, needed: held + held / 4, budget });
    }
    let inner = &context.clone().with_memory(budget - held);
    let x = points.rows::<f64>(0..count)?;
    let values = |program: &Program<Cpu<f64>>| {
        Ok::<_, Error>(program.values(x.view(), inner)?.into_raw_vec_and_offset().0)
    };
    let exact = [values(first)?, values(second)?];
    let mut substituted = vec![0.0; count * outputs];
    let mut each = Vec::with_capacity(outputs);
    for k in 0..outputs {
        let regression = Regression::fit([first, second], fitted, k, ridge, inner)?;
        let [a, b] = [Rows::of(first, points, k, inner)?, Rows::of(second, points, k, inner)?];
        let predicted = regression.predict(a)?;
        let residual = squared_distance(&predicted.values, &b.values);
        for ((row, point), values) in
            predicted.values.chunks_exact(width).zip(x.rows()).zip(substituted.chunks_exact_mut(outputs))
        {
            values[k] = at(row, &point.to_vec());
        }
        let means = b.means();
        let spread = b.centred(&means).squared_norm();
        each.push(OutputComparison {
            explained: [regression.explained, 1.0 - residual / spread],
            alignment: regression.alignment,
        });
    }
    let own = classes(&exact[1], outputs);
    let accuracy = |values: &[f64]| labels.map(|labels| agreement(values, outputs, labels));
    Ok(Comparison {
        agreement: agreement(&exact[0], outputs, &own),
        accuracy: accuracy(&exact[0]).zip(accuracy(&exact[1])).map(|(a, b)| [a, b]),
        substituted_accuracy: accuracy(&substituted),
        substituted_agreement: agreement(&substituted, outputs, &own),
        outputs: each,
    })
}

/// Affine rows `[n, width]`.
struct Rows {
    width: usize,
    values: Vec<f64>,
}

impl Rows {
    fn of(program: &Program<Cpu<f64>>, data: &Dataset, output: usize, context: &Context) -> Result<Self> {
        let width = program.dimension() + 1;
        let mut values = Vec::with_capacity(data.len() * width);
        affine_rows(program, data, &[output], context, |_, rows| {
            values.extend_from_slice(rows);
            Ok(())
        })?;
        Ok(Self { width, values })
    }

    fn means(&self) -> Vec<f64> {
        mean(&self.values, self.width)
    }

    /// Less these means.
    fn centred(mut self, means: &[f64]) -> Self {
        for row in self.values.chunks_exact_mut(self.width) {
            row.iter_mut().zip(means).for_each(|(x, mean)| *x -= mean);
        }
        self
    }

    fn squared_norm(&self) -> f64 {
        self.values.iter().map(|x| x * x).sum()
    }

    /// `A^T B`, `[width of A, width of B]`.
    fn products(&self, other: &Self) -> Result<Array2<f64>> {
        let engine = Cpu::<f64>::new();
        let count = self.values.len() / self.width;
        let a = engine.permute(&engine.upload(&self.values, &[count, self.width])?, &[1, 0])?;
        let b = engine.matrix(&other.values, count, other.width)?;
        let product = engine.download(&engine.matmul(&a, None, &b, Epilogue::NONE)?)?;
        Array2::from_shape_vec((self.width, other.width), product).map_err(|e| Error::Shape(e.to_string()))
    }

    /// `A M` with `M` `[width, any]`.
    fn times(&self, matrix: &Array2<f64>) -> Result<Vec<f64>> {
        let engine = Cpu::<f64>::new();
        let a = engine.upload(&self.values, &[self.values.len() / self.width, self.width])?;
        let values: Vec<f64> = matrix.iter().copied().collect();
        let matrix = engine.matrix(&values, matrix.nrows(), matrix.ncols())?;
        engine.download(&engine.matmul(&a, None, &matrix, Epilogue::NONE)?)
    }
}

/// `b = mean of b + (a - mean of a) matrix`.
struct Regression {
    means: [Vec<f64>; 2],
    matrix: Array2<f64>,
    explained: f64,
    alignment: f64,
}

impl Regression {
    fn fit(
        programs: [&Program<Cpu<f64>>; 2],
        data: &Dataset,
        output: usize,
        ridge: f64,
        context: &Context,
    ) -> Result<Self> {
        let centred = |program| {
            let rows = Rows::of(program, data, output, context)?;
            let means = rows.means();
            Ok::<_, Error>((rows.centred(&means), means))
        };
        let ((a, first), (b, second)) = (centred(programs[0])?, centred(programs[1])?);
        let [mut within, across, of_b] = [a.products(&a)?, a.products(&b)?, b.products(&b)?];
        let squared = |matrix: &Array2<f64>| matrix.iter().map(|x| x * x).sum::<f64>();
        let alignment = squared(&across) / (squared(&within).sqrt() * squared(&of_b).sqrt());
        let added = ridge * within.diag().sum() / a.width as f64;
        within.diag_mut().iter_mut().for_each(|x| *x += added);
        context.check()?;
        let Some(factors) = Cholesky::new(within) else {
            let reason = format!("the affine rows of output {output} of the first network are all the same");
            return Err(Error::Argument(format!("{reason}, or the ridge is too small for rounding")));
        };
        let matrix = factors.solve(across);
        let residual = squared_distance(&a.times(&matrix)?, &b.values);
        let explained = 1.0 - residual / b.squared_norm();
        Ok(Self { means: [first, second], matrix, explained, alignment })
    }

    fn predict(&self, rows: Rows) -> Result<Rows> {
        let rows = rows.centred(&self.means[0]);
        let mut values = rows.times(&self.matrix)?;
        let width = self.means[1].len();
        for row in values.chunks_exact_mut(width) {
            row.iter_mut().zip(&self.means[1]).for_each(|(x, mean)| *x += mean);
        }
        Ok(Rows { width, values })
    }
}

fn squared_distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum()
}
