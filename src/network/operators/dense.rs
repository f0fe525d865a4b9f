//! Dense layers: Gemm, and MatMul with a constant.

use crate::engine::{Activation, Arithmetic, Engine, Epilogue, IndicesOf, Packing, TensorOf};
use crate::network::Constant;
use crate::{Error, Result};

use super::{
    ConvexRule, Kind, Operator, Pair, ParameterFactors, ParameterValues, Pass, Prepared, Remembers,
    Rewriting, SeriesRule, SignedOp, Unary, batched, broadcast, gate, gated, unbroadcast, upload,
};

/// `x W + b` over the last axis: `[.., in] -> [.., out]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Dense {
    weights: Constant,
    bias: Option<Constant>,
    /// What was fused into it.
    activation: Option<Activation>,
}

impl Dense {
    /// Weights `[in, out]`, bias `[out]`.
    ///
    /// # Errors
    /// [`Error::Shape`] where they do not fit together.
    pub fn new(weights: Constant, bias: Option<Constant>) -> Result<Self> {
        let &[inputs, outputs] = weights.shape() else {
            return Err(Error::Shape(format!("dense weights must be a matrix, not {:?}", weights.shape())));
        };
        if inputs == 0 || outputs == 0 {
            return Err(Error::Shape(format!("dense weights {:?} are empty", weights.shape())));
        }
        if let Some(bias) = &bias
            && bias.shape() != [outputs]
        {
            return Err(Error::Shape(format!("a bias {:?} does not fit {outputs} outputs", bias.shape())));
        }
        Ok(Self { weights, bias, activation: None })
    }

    /// `[in, out]`
    pub fn weights(&self) -> &Constant {
        &self.weights
    }

    /// `[out]`
    pub fn bias(&self) -> Option<&Constant> {
        self.bias.as_ref()
    }

    /// The activation that was fused into it.
    pub(crate) fn fused(&self) -> Option<Activation> {
        self.activation
    }

    /// The same with an activation behind it whose slope can be read from its value.
    pub(crate) fn with_activation(&self, activation: Activation) -> Self {
        Self { activation: Some(activation), ..self.clone() }
    }

    pub(super) fn prepare<E: Engine>(&self, engine: &E) -> Result<PreparedDense<E>> {
        let &[inputs, outputs] = self.weights.shape() else { unreachable!("checked by new") };
        let values: Vec<E::Scalar> = self.weights.to();
        let transposed: Vec<E::Scalar> = self.weights.transposed()?.to();
        Ok(PreparedDense {
            weights: engine.matrix(&values, inputs, outputs)?,
            transposed: engine.matrix(&transposed, outputs, inputs)?,
            bias: upload(engine, self.bias.as_ref())?,
            activation: self.activation,
        })
    }
}

impl Operator for Dense {
    fn name(&self) -> &'static str {
        "Gemm"
    }

    fn kind(&self) -> Kind {
        self.activation.map_or(Kind::Affine, |activation| activation.kind())
    }

    fn pieces_of_unit(&self, inputs: &[&[usize]]) -> Option<usize> {
        self.activation.map_or(Some(1), |activation| activation.pieces_of_unit(inputs))
    }

    fn remembers(&self) -> Remembers {
        Remembers { inputs: false, output: self.activation.is_some() }
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        match inputs[0].split_last() {
            Some((&last, rest)) if last == self.weights.shape()[0] => {
                Ok([rest, &[self.weights.shape()[1]]].concat())
            }
            _ => Err(Error::Shape(format!(
                "a dense layer of {} inputs does not fit samples of shape {:?}",
                self.weights.shape()[0],
                inputs[0]
            ))),
        }
    }

    fn parameters(&self) -> usize {
        self.weights.len() + self.bias.as_ref().map_or(0, Constant::len)
    }

    fn has_parameter_factors(&self) -> bool {
        true
    }

    fn parameter_values(&self) -> Result<ParameterValues> {
        let [inputs, outputs] = [self.weights.shape()[0], self.weights.shape()[1]];
        let weights = self.weights.reshaped([1, inputs, outputs])?;
        Ok(ParameterValues { weights: Some(weights), bias: self.bias.clone() })
    }

    fn flops(&self, inputs: &[&[usize]]) -> u64 {
        2 * (inputs[0].iter().product::<usize>() * self.weights.shape()[1]) as u64
    }

    fn convex_rule(&self) -> Option<&dyn ConvexRule> {
        if self.activation.is_none() { Some(self) } else { None }
    }
}

impl ConvexRule for Dense {
    fn pair(&self, rewriting: &mut Rewriting, inputs: &[Pair]) -> Result<Pair> {
        let make = |weights| Ok(Self::new(weights, None)?.into());
        let op = SignedOp::new(self.clone().into(), &self.weights, self.bias.clone(), make)?;
        rewriting.linear(op, inputs[0])
    }
}

pub(super) struct PreparedDense<E: Engine> {
    weights: E::Matrix,
    transposed: E::Matrix,
    bias: Option<TensorOf<E>>,
    activation: Option<Activation>,
}

impl<E: Engine> Unary<E> for PreparedDense<E> {
    fn forward(&self, engine: &E, x: &TensorOf<E>) -> Result<(TensorOf<E>, Option<IndicesOf<E>>)> {
        let epilogue = Epilogue { bias: self.bias.as_ref(), activation: self.activation };
        Ok((engine.matmul(x, None, &self.weights, epilogue)?, None))
    }

    fn jacobian_vector(&self, engine: &E, pass: &Pass<'_, E>, tangent: &TensorOf<E>) -> Result<TensorOf<E>> {
        let tangent = engine.matmul(tangent, None, &self.weights, Epilogue::NONE)?;
        gated(engine, self.activation, pass, &tangent)
    }

    fn vector_jacobian(
        &self,
        engine: &E,
        pass: &Pass<'_, E>,
        cotangent: &TensorOf<E>,
    ) -> Result<TensorOf<E>> {
        let gate = gate(engine, self.activation, pass)?;
        engine.matmul(cotangent, gate.as_ref(), &self.transposed, Epilogue::NONE)
    }

    fn code(&self, engine: &E, pass: &Pass<'_, E>, codes: &mut E::Codes, packing: Packing) -> Result<()> {
        match self.activation {
            Some(activation) => activation.pack(engine, pass.output(), codes, packing),
            None => unreachable!("the layer itself is affine"),
        }
    }

    /// `a` the input and `d` the cotangent, a position for each index of the axes before the last.
    fn parameter_factors(
        &self,
        engine: &E,
        pass: &Pass<'_, E>,
        cotangent: &TensorOf<E>,
    ) -> Result<Option<ParameterFactors<E>>> {
        let cotangent = gated(engine, self.activation, pass, cotangent)?;
        let samples = pass.input(0).rows();
        let positions = |t: &TensorOf<E>| {
            let last = t.shape()[t.shape().len() - 1];
            let rows = t.rows() / samples.max(1);
            t.reshaped([samples, rows, 1, t.len() / (t.rows() * last).max(1), last])
        };
        let (left, right) = (positions(pass.input(0))?, positions(&cotangent)?);
        let bias = self.bias.is_some().then(|| ParameterFactors::sum(engine, &right)).transpose()?;
        Ok(Some(ParameterFactors { weights: Some([left, right]), bias, sums_deltas: true }))
    }
}

/// The product of two computed matrices, `[.., m, k] x [.., k, n] -> [.., m, n]`, as in attention; the axes before
/// them broadcast.
#[derive(Debug, Clone, PartialEq)]
pub struct Product;

impl Product {
    /// Sample shapes with equally many axes, and the result's.
    fn shapes(a: &[usize], b: &[usize]) -> Result<[Vec<usize>; 3]> {
        let misfit = || Error::Shape(format!("the matrices of {a:?} and {b:?} do not fit together"));
        let (leading_a, &[m, k]) = a.split_last_chunk::<2>().ok_or_else(misfit)?;
        let (leading_b, &[inner, n]) = b.split_last_chunk::<2>().ok_or_else(misfit)?;
        let [wide_a, wide_b, joined] = broadcast(leading_a, leading_b)?;
        if k != inner {
            return Err(misfit());
        }
        Ok([[wide_a, vec![m, k]].concat(), [wide_b, vec![k, n]].concat(), [joined, vec![m, n]].concat()])
    }

    /// The inputs `[N, 1, ..]`, with an axis for directions behind the batch.
    fn widen<E: Engine>(pass: &Pass<'_, E>) -> Result<[TensorOf<E>; 2]> {
        let [a, b, _] = Self::shapes(pass.shape(0), pass.shape(1))?;
        let widen = |x: &TensorOf<E>, sample: &[usize]| x.reshaped([&[x.rows(), 1], sample].concat());
        Ok([widen(pass.input(0), &a)?, widen(pass.input(1), &b)?])
    }

    /// How many samples a pass holds.
    fn samples<E: Engine>(pass: &Pass<'_, E>) -> usize {
        pass.input(0).rows().max(pass.input(1).rows())
    }
}

impl Operator for Product {
    fn name(&self) -> &'static str {
        "MatMul"
    }

    fn kind(&self) -> Kind {
        Kind::Smooth
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        let [_, _, joined] = Self::shapes(inputs[0], inputs[1])?;
        Ok(joined)
    }

    fn remembers(&self) -> Remembers {
        Remembers::INPUTS
    }

    /// Linear in one matrix where the other does not vary.
    fn series_rule(&self, varies: &[bool]) -> Option<SeriesRule> {
        (varies != [true, true]).then_some(SeriesRule::Linear)
    }

    fn flops(&self, inputs: &[&[usize]]) -> u64 {
        let result = self.shape(inputs).map_or(0, |shape| shape.iter().product());
        2 * (result * inputs[0].last().copied().unwrap_or(0)) as u64
    }
}

impl<E: Engine> Prepared<E> for Product {
    fn forward(&self, engine: &E, inputs: &[&TensorOf<E>]) -> Result<(TensorOf<E>, Option<IndicesOf<E>>)> {
        let [a, b, _] = Self::shapes(&inputs[0].shape()[1..], &inputs[1].shape()[1..])?;
        let a = inputs[0].reshaped(batched(inputs[0].rows(), &a))?;
        let b = inputs[1].reshaped(batched(inputs[1].rows(), &b))?;
        Ok((engine.multiply(&a, &b, [false, false])?, None))
    }

    fn jacobian_vector(
        &self,
        engine: &E,
        pass: &Pass<'_, E>,
        tangents: &[Option<&TensorOf<E>>],
    ) -> Result<TensorOf<E>> {
        let [a, b] = Self::widen(pass)?;
        let samples = Self::samples(pass);
        let directions = |t: &TensorOf<E>, of: &TensorOf<E>| {
            t.reshaped([&[samples, t.rows() / samples.max(1)], &of.shape()[2..]].concat())
        };
        let left =
            tangents[0].map(|t| engine.multiply(&directions(t, &a)?, &b, [false, false])).transpose()?;
        let right =
            tangents[1].map(|t| engine.multiply(&a, &directions(t, &b)?, [false, false])).transpose()?;
        let sum = match (left, right) {
            (Some(left), Some(right)) => engine.arithmetic(Arithmetic::Add, &left, &right)?,
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => unreachable!("at least one input varies"),
        };
        let rows = sum.shape()[0] * sum.shape()[1];
        let sample = sum.shape()[2..].to_vec();
        sum.reshaped(batched(rows, &sample))
    }

    fn vector_jacobian(
        &self,
        engine: &E,
        pass: &Pass<'_, E>,
        cotangent: &TensorOf<E>,
        wanted: &[bool],
    ) -> Result<Vec<Option<TensorOf<E>>>> {
        let [a, b] = Self::widen(pass)?;
        let samples = Self::samples(pass);
        let [_, _, joined] = Self::shapes(&a.shape()[2..], &b.shape()[2..])?;
        let rows = cotangent.rows();
        let cotangent = cotangent.reshaped([&[samples, rows / samples.max(1)], &joined[..]].concat())?;
        let finish = |t: TensorOf<E>, i: usize| {
            let wide = [&a, &b][i].shape()[2..].to_vec();
            let sample = t.shape()[2..].to_vec();
            unbroadcast(engine, &t.reshaped(batched(rows, &sample))?, &wide, pass.shape(i))
        };
        let left =
            wanted[0].then(|| finish(engine.multiply(&cotangent, &b, [false, true])?, 0)).transpose()?;
        let right =
            wanted[1].then(|| finish(engine.multiply(&a, &cotangent, [true, false])?, 1)).transpose()?;
        Ok(vec![left, right])
    }
}
