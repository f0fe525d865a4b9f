//! Which gradients are compared, and the terms that their inner products are summed from.

use crate::Result;
use crate::engine::{Arithmetic, Engine, Factors, FactorsOf, TensorOf};
use crate::network::operators::ParameterFactors;

use super::Road;

/// What of several outputs is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Combine {
    /// The gradients of their sum, as published (Racz & Daroczy 2021).
    Sum,
    /// The gradients of each: the similarity is the sum over outputs, the trace of the empirical tangent kernel.
    Trace,
    /// The gradients of each with those of each: a similarity for every pair of outputs.
    Pairs,
}

impl Combine {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Trace => "trace",
            Self::Pairs => "pairs",
        }
    }
}

/// Factors of each coordinate of a layer's gradient, on the engine: `[1, 1, G, I, O]` and `[1, 1, 1, O]`.
pub(super) struct Scale<E: Engine> {
    pub weights: Option<TensorOf<E>>,
    pub bias: Option<TensorOf<E>>,
}

/// The terms of a layer's inner products at some samples, on a road; with a scale on that of the gradient.
pub(super) fn terms<E: Engine>(
    engine: &E,
    factors: ParameterFactors<E>,
    combine: Combine,
    road: Road,
    scale: Option<&Scale<E>>,
) -> Result<Vec<FactorsOf<E>>> {
    let ParameterFactors { weights, bias, sums_deltas } = factors;
    let scaled = |t: TensorOf<E>, by: Option<&TensorOf<E>>| match by {
        Some(by) => engine.arithmetic(Arithmetic::Mul, &t, by),
        None => Ok(t),
    };
    let mut terms = vec![];
    let mut constant = false;
    match (weights, road) {
        (Some(factors), Road::Products) => {
            constant = sums_deltas && bias.is_some();
            let [left, right] = folded(engine, factors, combine)?;
            terms.push(Factors { left: Some(left), right, constant });
        }
        (Some([a, d]), Road::Gradient) => {
            let gradient = engine.multiply(&a, &d, [true, false])?;
            terms.push(flat(&scaled(gradient, scale.and_then(|scale| scale.weights.as_ref()))?, combine)?);
        }
        (None, _) => {}
    }
    if let Some(bias) = bias.filter(|_| !constant) {
        terms.push(flat(&scaled(bias, scale.and_then(|scale| scale.bias.as_ref()))?, combine)?);
    }
    Ok(terms)
}

/// Gradients `[N, r, ..]` as rows.
fn flat<B: Clone>(gradients: &crate::engine::Tensor<B>, combine: Combine) -> Result<Factors<B>> {
    let shape = gradients.shape();
    let (samples, elements) = (shape[0], shape[1..].iter().product::<usize>());
    let repeats = if combine == Combine::Pairs { shape[1] } else { 1 };
    let right = gradients.reshaped([samples, repeats, 1, 1, elements / repeats.max(1)])?;
    Ok(Factors { left: None, right, constant: false })
}

/// Factors `[N, r, G, P, I]` and `[N, r, G, P, O]` for one row to a sample, where a trace is asked for: with a factor that is
/// the same for all `r` the sum over them goes into the other's product, else they are groups.
fn folded<E: Engine>(engine: &E, [a, d]: [TensorOf<E>; 2], combine: Combine) -> Result<[TensorOf<E>; 2]> {
    if combine != Combine::Trace {
        return Ok([a, d]);
    }
    let into_depth = |t: &TensorOf<E>| {
        let &[n, r, g, p, depth] = t.shape() else { unreachable!("factors have five axes") };
        engine.permute(t, &[0, 2, 3, 1, 4])?.reshaped([n, 1, g, p, r * depth])
    };
    let into_groups = |t: &TensorOf<E>| {
        let &[n, r, g, p, depth] = t.shape() else { unreachable!("factors have five axes") };
        t.reshaped([n, 1, r * g, p, depth])
    };
    match [a.shape()[1], d.shape()[1]] {
        [1, 1] => Ok([a, d]),
        [1, _] => Ok([a, into_depth(&d)?]),
        [_, 1] => Ok([into_depth(&a)?, d]),
        _ => Ok([into_groups(&a)?, into_groups(&d)?]),
    }
}
