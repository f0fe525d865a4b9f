//! Templates: the affine function that a network is around each input.
//!
//! Given the codes of its units a piecewise affine network is affine, `g(x) = A[x] x + b[x]`. Row `k` of `A[x]` is the
//! template of output `k` (Balestriero & Baraniuk 2018). Of a smooth network the same formulas give tangents.

use std::ops::Range;

use crate::data::Dataset;
use crate::engine::plan::{Chunks, overlapped};
use crate::engine::{Context, Engine};
use crate::network::{Kind, Network, Node, Program, check_finite};
use crate::{Error, Result, Scalar};

use super::{Codes, LayerChoice, Rows, SplineOperator, SplineOperators};

/// Templates of some outputs at some inputs.
#[derive(Debug, Clone, PartialEq)]
pub struct Templates<S> {
    /// Which inputs, as rows of the data.
    pub samples: Range<usize>,
    /// Which of the chosen outputs.
    pub outputs: Range<usize>,
    /// `A[x]`: `[samples, outputs, D]`.
    pub slopes: Vec<S>,
    /// `b[x] = g(x) - A[x] x`, summed in `f64`: `[samples, outputs]`.
    pub offsets: Vec<S>,
}

/// The nodes that depend on the input and are smooth: where there is one, what a network has are tangents.
pub fn smooth_nodes(network: &Network) -> Vec<&Node> {
    let is_smooth = |node: &Node| node.op().is_some_and(|op| op.operator().kind() == Kind::Smooth);
    let nodes = network.nodes().iter().zip(network.varying());
    nodes.filter(|(node, varies)| *varies && is_smooth(node)).map(|(node, _)| node).collect()
}

/// Computes the templates of the chosen outputs at every row of the data, in as many pieces as the context's budget asks
/// for, and shows them to `each` in the order of a row-major array `[N, K, D]`: where not even one sample fits, some of
/// its outputs after the other, unless `whole` samples are wanted.
///
/// # Errors
/// As [`Program::jets`]; [`Error::NonFinite`] with the row where a value or a slope is not finite; [`Error::Memory`]
/// where one output (or a whole sample) does not fit; [`Error::Cancelled`]; what the data and `each` say.
pub fn templates<E: Engine>(
    program: &Program<E>,
    data: &Dataset,
    outputs: &[usize],
    whole: bool,
    context: &Context,
    mut each: impl FnMut(Templates<E::Scalar>) -> Result<()>,
) -> Result<()> {
    let engine = program.engine();
    let (samples, parts) = plan(program, [data.len(), outputs.len()], whole, context.memory())?;
    let chunks: Vec<(Range<usize>, Range<usize>)> =
        samples.iter().flat_map(|samples| parts.iter().map(move |part| (samples.clone(), part))).collect();
    let dimension = program.dimension();
    let start = |at: Range<usize>| {
        context.check()?;
        let (samples, part) = chunks[at.start].clone();
        let x = data.rows::<E::Scalar>(samples)?;
        let jets = program.jets(&program.upload(x.view())?, &outputs[part])?;
        Ok((x, engine.request(&jets.values)?, engine.request(&jets.jacobians)?))
    };
    overlapped(engine, Chunks::new(chunks.len(), 1), start, |at, (x, values, slopes)| {
        let (samples, outputs) = chunks[at.start].clone();
        let (values, slopes) = (engine.receive(values)?, engine.receive(slopes)?);
        check_finite(&values, outputs.len(), samples.start)?;
        check_finite(&slopes, outputs.len() * dimension, samples.start)?;
        let offset = |(i, (value, slope)): (usize, (&E::Scalar, &[E::Scalar]))| {
            let row = x.row(i / outputs.len());
            let product: f64 = slope.iter().zip(row).map(|(a, x)| a.f64() * x.f64()).sum();
            E::Scalar::of(value.f64() - product)
        };
        let offsets = values.iter().zip(slopes.chunks_exact(dimension)).enumerate().map(offset).collect();
        each(Templates { samples, outputs, slopes, offsets })
    })
}

/// The affine function that one layer is at an input, of what the layer takes: the pieces that its units pick.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerTemplates<S> {
    /// Which input, as a row of the data.
    pub sample: usize,
    /// Which units.
    pub units: Range<usize>,
    /// `A_l[x] [units, D]` and `b_l[x] [units]`, with `D` the elements of what the [layer](SplineOperator::inputs) takes.
    pub rows: Rows<S>,
}

/// Shows to `each`, in the order of a row-major array `[N, K, D]`, the layer alone at every row of the data: codes by a
/// forward pass, and the pieces that they pick.
///
/// # Errors
/// As [`Codes::of`] and [`LayerMap::picked`](super::LayerMap::picked); what `each` says.
pub fn layer_templates<E: Engine>(
    operators: &SplineOperators,
    layer: &SplineOperator,
    engine: &E,
    data: &Dataset,
    context: &Context,
    mut each: impl FnMut(LayerTemplates<E::Scalar>) -> Result<()>,
) -> Result<()> {
    let map = operators.map(layer, engine, context)?.keep(context)?;
    let coded = if layer.pieces() > 1 {
        let choice = LayerChoice::One(layer.name().to_owned());
        let codes = Codes::new(engine, &choice.part(operators.network())?, &choice, "a layer's templates")?;
        let packed = codes.of(data, context)?;
        Some((codes, packed))
    } else {
        None
    };
    context.progress().start("samples", data.len() as u64);
    for sample in 0..data.len() {
        let picked: Vec<u32> =
            coded.as_ref().map_or_else(Vec::new, |(codes, packed)| codes.unpack(packed.row(sample)));
        map.picked(&picked, context, |units, rows| each(LayerTemplates { sample, units, rows }))?;
        context.progress().advance(1);
    }
    context.progress().finish();
    Ok(())
}

/// How many samples and how many of their outputs are taken at a time.
fn plan<E: Engine>(
    program: &Program<E>,
    [samples, outputs]: [usize; 2],
    whole: bool,
    budget: u64,
) -> Result<(Chunks, Chunks)> {
    let refused = match program.chunks(samples, Some(outputs), budget) {
        Ok(chunks) => return Ok((chunks, Chunks::new(outputs, outputs))),
        Err(error @ (Error::Memory { .. } | Error::Tensor { .. })) => error,
        Err(error) => return Err(error),
    };
    // Fewer outputs than inputs are computed backward, one by one; of more, all come at once from as many directions as
    // there are inputs.
    if whole || outputs > program.dimension() {
        return Err(refused);
    }
    let mut some = outputs;
    while some > 1 {
        some = some.div_ceil(2);
        if program.chunks(1, Some(some), budget).is_ok() {
            return Ok((Chunks::new(samples, 1), Chunks::new(outputs, some)));
        }
    }
    program.chunks(1, Some(1), budget)?;
    Err(refused)
}
