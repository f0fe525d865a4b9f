//! Fewer and cheaper nodes for the same function. Runs on what is about to be computed, never on the graph that
//! a user names nodes in.

use crate::Result;
use crate::engine::{Activation, Arithmetic};

use super::operators::{ArithmeticConstant, Branches, Convolution, Dense, ScaleShift};
use super::{Constant, Network, Node, Op};

/// The network with normalisation, constant shifts and ReLU folded into the layer below, and `x * sigmoid(x)` as
/// one activation.
pub(super) fn simplify(network: &Network) -> Result<Network> {
    rewrite(network, Fold::All, silu)
}

/// The network with `x * sigmoid(x)` as one activation: what leaves every constant as it is.
pub(super) fn merge(network: &Network) -> Result<Network> {
    rewrite(network, Fold::Nothing, silu)
}

/// The network with `x * sigmoid(x)`, `x/2 (1 + erf(x / sqrt(2)))` and the form of the latter with `tanh` as activations.
/// The last two have constants that files round.
pub(super) fn merge_products(network: &Network) -> Result<Network> {
    rewrite(network, Fold::Nothing, activations)
}

/// The same, with normalisation and constant shifts folded into the layer below, but no activation.
pub(super) fn merge_affine(network: &Network) -> Result<Network> {
    rewrite(network, Fold::Affine, activations)
}

fn activations(nodes: &[Node], i: usize) -> Merged {
    silu(nodes, i).or_else(|| gelu(nodes, i))
}

/// What is folded into the layer below.
#[derive(Clone, Copy, PartialEq)]
enum Fold {
    Nothing,
    Affine,
    All,
}

/// An activation that a node with others below it computes, and its input.
type Merged = Option<(Op, Vec<usize>)>;

fn rewrite(network: &Network, fold: Fold, merge: impl Fn(&[Node], usize) -> Merged) -> Result<Network> {
    let Network { mut nodes, outputs, names } = network.clone();
    let mut users = vec![0_usize; nodes.len()];
    nodes.iter().flat_map(|node| &node.inputs).for_each(|&i| users[i] += 1);
    outputs.iter().for_each(|&i| users[i] += 1);
    for i in 0..nodes.len() {
        if let Some((op, inputs)) = merge(&nodes, i) {
            (nodes[i].op, nodes[i].inputs) = (Some(op), inputs);
        } else if (fold == Fold::All
            || fold == Fold::Affine && !matches!(nodes[i].op, Some(Op::Activation(_))))
            && let &[below] = &nodes[i].inputs[..]
            && users[below] == 1
            && let Some(op) = absorb(&nodes[below], &nodes[i])?
        {
            // The node takes over the layer below, which nobody else uses: it is left without users.
            let inputs = nodes[below].inputs.clone();
            (nodes[i].op, nodes[i].inputs) = (Some(op), inputs);
        }
    }
    let simplified = Network { nodes, outputs, names };
    let output = simplified.nodes[simplified.outputs[0]].value.clone();
    // Cutting at the output drops what is no longer needed.
    simplified.cut(None, Some(&output))
}

/// `x * sigmoid(x)` where node `i` is such a product.
fn silu(nodes: &[Node], i: usize) -> Merged {
    let &[a, b] = &nodes[i].inputs[..] else { return None };
    let is_sigmoid_of = |y: usize, x: usize| {
        nodes[y].op == Some(Op::Activation(Activation::Sigmoid)) && nodes[y].inputs == [x]
    };
    let product = Op::Branches(Branches { operation: Arithmetic::Mul });
    let x = if is_sigmoid_of(b, a) { a } else { is_sigmoid_of(a, b).then_some(b)? };
    (nodes[i].op == Some(product)).then(|| (Op::Activation(Activation::Silu), vec![x]))
}

/// GELU where node `i` is the end of a product that is one, with the half at either factor or behind it.
fn gelu(nodes: &[Node], i: usize) -> Merged {
    // Files hold constants in f32.
    let near = |a: f64, b: f64| (a - b).abs() <= 1e-6 * b;
    // The input of a node that adds, or multiplies, a number.
    let constant = |i: usize, number: f64| {
        let Some(Op::ArithmeticConstant(ArithmeticConstant { operation, constant, reversed })) = &nodes[i].op
        else {
            return None;
        };
        let all = |number: f64| constant.to::<f64>().iter().all(|&v| near(v, number));
        let fits = match operation {
            Arithmetic::Add => number == 1.0 && all(1.0),
            Arithmetic::Mul => number != 1.0 && all(number),
            Arithmetic::Div => !reversed && number != 1.0 && all(1.0 / number),
            _ => false,
        };
        fits.then(|| nodes[i].inputs[0])
    };
    let factors = |i: usize| match (&nodes[i].op, &nodes[i].inputs[..]) {
        (Some(Op::Branches(Branches { operation: Arithmetic::Mul })), &[a, b]) => Some([(a, b), (b, a)]),
        _ => None,
    };
    let terms = |i: usize| match (&nodes[i].op, &nodes[i].inputs[..]) {
        (Some(Op::Branches(Branches { operation: Arithmetic::Add })), &[a, b]) => Some([(a, b), (b, a)]),
        _ => None,
    };
    let of =
        |i: usize, activation| (nodes[i].op == Some(Op::Activation(activation))).then(|| nodes[i].inputs[0]);
    let cube = |i: usize| {
        let product = || factors(i)?.into_iter().find(|&(x, y)| factors(y).is_some_and(|f| f[0] == (x, x)));
        of(i, Activation::Power { exponent: 3.0 }).or_else(|| product().map(|(x, _)| x))
    };
    // The x of `1 + erf(x / sqrt(2))` or `1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))`.
    let gate = |i: usize| {
        let inner = constant(i, 1.0)?;
        if let Some(erf) = of(inner, Activation::Erf) {
            return Some((constant(erf, std::f64::consts::FRAC_1_SQRT_2)?, Activation::Gelu));
        }
        let sum = constant(of(inner, Activation::Tanh)?, (2.0 / std::f64::consts::PI).sqrt())?;
        let is_sum = |&(x, y): &(usize, usize)| constant(y, 0.044_715).and_then(cube) == Some(x);
        let (x, _) = terms(sum)?.into_iter().find(is_sum)?;
        Some((x, Activation::GeluTanh))
    };
    let behind = || {
        let of = |(x, y): (usize, usize)| gate(y).filter(|&(of, _)| of == x);
        factors(constant(i, 0.5)?)?.into_iter().find_map(of)
    };
    let at_a_factor = || {
        let of = |(x, y): (usize, usize)| {
            let halved = constant(x, 0.5).and_then(|x| gate(y).filter(|&(of, _)| of == x));
            halved.or_else(|| constant(y, 0.5).and_then(gate).filter(|&(of, _)| of == x))
        };
        factors(i)?.into_iter().find_map(of)
    };
    let (x, activation) = behind().or_else(at_a_factor)?;
    Some((Op::Activation(activation), vec![x]))
}

/// The layer `below` with `above` folded into it, where that can be done.
fn absorb(below: &Node, above: &Node) -> Result<Option<Op>> {
    let taken = match &below.op {
        Some(Op::Dense(dense)) => dense.fused().is_some(),
        Some(Op::Convolution(convolution)) => convolution.fused().is_some(),
        _ => false,
    };
    if taken {
        return Ok(None);
    }
    if let Some(Op::Activation(activation)) = above.op {
        return Ok(match &below.op {
            _ if !activation.slope_from_output() => None,
            Some(Op::Dense(dense)) => Some(Op::Dense(dense.with_activation(activation))),
            Some(Op::Convolution(layer)) => Some(Op::Convolution(layer.with_activation(activation))),
            _ => None,
        });
    }
    let (scale, shift) = match &above.op {
        Some(Op::ScaleShift(op)) => (Some(op.scale().to::<f64>()), op.shift().to::<f64>()),
        Some(Op::ArithmeticConstant(ArithmeticConstant { operation, constant, reversed: false }))
            if above.shape == below.shape =>
        {
            let sign = match operation {
                Arithmetic::Add => 1.0,
                Arithmetic::Sub => -1.0,
                _ => return Ok(None),
            };
            match per_channel(constant, &below.shape, matches!(below.op, Some(Op::Dense(_)))) {
                Some(values) => (None, values.iter().map(|v| sign * v).collect()),
                None => return Ok(None),
            }
        }
        _ => return Ok(None),
    };
    match &below.op {
        Some(Op::Dense(dense)) if scale.is_none() || below.shape.len() == 1 => {
            let outputs = dense.weights().shape()[1];
            let factor = |i: usize| scale.as_ref().map_or(1.0, |s| s[i % outputs]);
            let weights = dense.weights().map(|i, w| w * factor(i))?;
            let bias = folded_bias(dense.bias(), &factor, &shift)?;
            Ok(Some(Op::Dense(Dense::new(weights, Some(bias))?)))
        }
        Some(Op::Convolution(convolution)) => {
            let filter = convolution.filters().len() / convolution.filters().shape()[0];
            let factor = |channel: usize| scale.as_ref().map_or(1.0, |s| s[channel]);
            let filters = convolution.filters().map(|i, w| w * factor(i / filter))?;
            let bias = folded_bias(convolution.bias(), &factor, &shift)?;
            let folded: Convolution = convolution.with_parameters(filters, bias)?;
            Ok(Some(Op::Convolution(folded)))
        }
        Some(Op::ScaleShift(inner)) if scale.is_some() => {
            let factor = |i: usize| scale.as_ref().map_or(1.0, |s| s[i]);
            let scale = inner.scale().map(|i, w| w * factor(i))?;
            Ok(Some(Op::ScaleShift(ScaleShift::new(
                scale,
                inner.shift().map(|i, v| v * factor(i) + shift[i])?,
            )?)))
        }
        _ => Ok(None),
    }
}

/// A constant that adds one number to each channel: the last axis for dense layers, the first for others.
fn per_channel(constant: &Constant, sample: &[usize], last: bool) -> Option<Vec<f64>> {
    let axis = if last { sample.len().checked_sub(1)? } else { 0 };
    let channels = *sample.get(axis)?;
    let missing = sample.len().checked_sub(constant.shape().len().min(sample.len()))?;
    let varies = constant.shape().iter().enumerate().filter(|&(_, &length)| length != 1);
    let only_there = varies.map(|(i, _)| i + missing).all(|i| i == axis);
    let values = constant.to::<f64>();
    match values.len() {
        1 => Some(vec![values[0]; channels]),
        n if n == channels && only_there => Some(values),
        _ => None,
    }
}

/// `bias * factor + shift`
fn folded_bias(bias: Option<&Constant>, factor: &impl Fn(usize) -> f64, shift: &[f64]) -> Result<Constant> {
    let bias = bias.map_or_else(|| vec![0.0; shift.len()], Constant::to::<f64>);
    Constant::f64([shift.len()], bias.iter().enumerate().map(|(i, b)| b * factor(i) + shift[i]).collect())
}
