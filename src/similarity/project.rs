//! Gradients projected on the parameters.

use ndarray::Array2;

use crate::data::Dataset;
use crate::engine::plan::Chunks;
use crate::engine::{Arithmetic, Context, Engine, TensorOf};
use crate::network::operators::ParameterFactors;
use crate::{Result, Scalar};

use super::{Combine, Extent, Gradients, Weights};

/// `a W`, `[N, r, G, P, O]`, for `a [N, r, G, P, I]` and `W [1, 1, G, I, O]`: of a single group one product of all rows.
fn images<E: Engine>(engine: &E, a: &TensorOf<E>, theta: &TensorOf<E>) -> Result<TensorOf<E>> {
    let (&[n, r, g, p, depth], outputs) = (a.shape(), theta.shape()[4]) else {
        unreachable!("factors have five axes")
    };
    if g != 1 {
        return engine.multiply(a, theta, [false, false]);
    }
    let rows = a.reshaped([1, 1, 1, n * r * p, depth])?;
    engine.multiply(&rows, theta, [false, false])?.reshaped([n, r, 1, p, outputs])
}

/// `<grad f(x), theta_l>` for each layer (`blocks`), or their sum, `[N, L]` or `[N, 1]`; with a trace over outputs all of them
/// side by side, with pairs of outputs `[N r, L]`. The gradient itself is not made: with `g = a^T d` and weights `W` it is
/// `sum (a W) d`. With extents, of normalised gradients.
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) for rows that do not fit the network; [`Error::Memory`](crate::Error::Memory),
/// [`Error::Cancelled`](crate::Error::Cancelled); what the data and the engine say.
pub fn projections<E: Engine>(
    gradients: &Gradients<E>,
    data: &Dataset,
    blocks: bool,
    normal: Option<&[Extent]>,
    context: &Context,
) -> Result<Array2<f64>> {
    let (program, layers, r) = (gradients.program(), gradients.layers().len(), gradients.directions());
    data.check_rows(program.dimension())?;
    let engine = program.engine();
    let held = (data.len() * r * layers * size_of::<f64>()) as u64 + program.scratch_bytes();
    let what = "the parameter gradient of one sample";
    let chunks =
        Chunks::within(what, data.len(), gradients.making(), held, context.memory(), gradients.at_once()?)?;
    let mut all = Array2::<f64>::zeros((data.len() * r, layers));
    let scales =
        (0..layers).map(|layer| Weights::Parameters.scale(gradients, layer)).collect::<Result<Vec<_>>>()?;
    context.progress().start("gradients", data.len() as u64);
    for range in chunks.iter() {
        context.check()?;
        let x = program.upload(data.rows(range.clone())?.view())?;
        gradients.factors(&x, 0..layers, |layer, ParameterFactors { weights, bias, .. }| {
            let Some(scale) = &scales[layer] else { unreachable!("parameters are no ones") };
            let mut add = |values: &TensorOf<E>| -> Result<()> {
                let axes: Vec<usize> = (2..values.shape().len()).collect();
                let sums = engine.download(&engine.sum(values, &axes)?)?;
                for (row, sum) in sums.iter().enumerate() {
                    all[[range.start * r + row, layer]] += sum.f64();
                }
                Ok(())
            };
            if let (Some([a, d]), Some(theta)) = (&weights, &scale.weights) {
                let image = images(engine, a, theta)?;
                add(&engine.arithmetic(Arithmetic::Mul, &image, d)?)?;
            }
            if let (Some(bias), Some(theta)) = (&bias, &scale.bias) {
                add(&engine.arithmetic(Arithmetic::Mul, bias, theta)?)?;
            }
            Ok(())
        })?;
        context.progress().advance(range.len() as u64);
    }
    context.progress().finish();
    if let Some(extents) = normal {
        // <1, theta_l>
        let sum = |layer: usize| -> f64 {
            Weights::Parameters
                .values(layer, &gradients.layers()[layer])
                .into_iter()
                .flatten()
                .flatten()
                .sum()
        };
        let sums: Vec<f64> = (0..layers).map(sum).collect();
        for (mut row, extent) in all.rows_mut().into_iter().zip(extents) {
            row.iter_mut()
                .zip(&sums)
                .for_each(|(value, sum)| *value = (*value - extent.low * sum) / extent.size);
        }
    }
    if !blocks {
        all = all.sum_axis(ndarray::Axis(1)).insert_axis(ndarray::Axis(1));
    }
    if gradients.combine() == Combine::Trace {
        let (samples, columns) = (data.len(), r * all.ncols());
        let flat = all.into_iter().collect();
        all = Array2::from_shape_vec((samples, columns), flat)
            .map_err(|e| crate::Error::Shape(e.to_string()))?;
    }
    Ok(all)
}
