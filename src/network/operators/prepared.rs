//! What an operator does on an engine.

use crate::Result;
use crate::engine::{Engine, IndicesOf, Packing, TensorOf};

use super::ParameterFactors;

/// What is left of an operator's forward pass. Batches `[N, ..]`; tangents and cotangents `[N * r, ..]`, `r`
/// directions for each sample.
pub struct Pass<'a, E: Engine> {
    inputs: Vec<Option<&'a TensorOf<E>>>,
    output: Option<&'a TensorOf<E>>,
    pub(super) shapes: Vec<&'a [usize]>,
    pub(super) picked: Option<&'a IndicesOf<E>>,
}

impl<'a, E: Engine> Pass<'a, E> {
    /// From values, where they are still there, sample shapes of the inputs, and what max-pooling picked.
    pub(in crate::network) fn new(
        inputs: Vec<Option<&'a TensorOf<E>>>,
        output: Option<&'a TensorOf<E>>,
        shapes: Vec<&'a [usize]>,
        picked: Option<&'a IndicesOf<E>>,
    ) -> Self {
        Self { inputs, output, shapes, picked }
    }

    /// An input, of an operator that remembers them.
    pub(super) fn input(&self, i: usize) -> &'a TensorOf<E> {
        match self.inputs[i] {
            Some(input) => input,
            None => unreachable!("the operator says that it does not remember its inputs"),
        }
    }

    /// The output, of an operator that remembers it.
    pub(super) fn output(&self) -> &'a TensorOf<E> {
        match self.output {
            Some(output) => output,
            None => unreachable!("the operator says that it does not remember its output"),
        }
    }

    /// The shape of a sample of an input.
    pub(super) fn shape(&self, i: usize) -> &'a [usize] {
        self.shapes[i]
    }
}

/// What an operator does on an engine.
pub trait Prepared<E: Engine>: Send + Sync {
    /// Values, and what max-pooling picked.
    fn forward(&self, engine: &E, inputs: &[&TensorOf<E>]) -> Result<(TensorOf<E>, Option<IndicesOf<E>>)>;

    /// Tangent of the output from tangents of the inputs, `None` where an input does not vary; at least one
    /// does.
    fn jacobian_vector(
        &self,
        engine: &E,
        pass: &Pass<'_, E>,
        tangents: &[Option<&TensorOf<E>>],
    ) -> Result<TensorOf<E>>;

    /// Cotangents of those inputs that are `wanted` from the cotangent of the output.
    fn vector_jacobian(
        &self,
        engine: &E,
        pass: &Pass<'_, E>,
        cotangent: &TensorOf<E>,
        wanted: &[bool],
    ) -> Result<Vec<Option<TensorOf<E>>>>;

    /// Packs the code of each unit at a batch, of an operator whose units have several pieces; its inputs and its output
    /// are all there.
    fn code(&self, _engine: &E, _pass: &Pass<'_, E>, _codes: &mut E::Codes, _packing: Packing) -> Result<()> {
        unreachable!("an operator whose units have several pieces has codes")
    }

    /// The factors of the gradient by its own parameters, from the cotangent of the output; `None` for an operator
    /// that has none.
    fn parameter_factors(
        &self,
        _engine: &E,
        _pass: &Pass<'_, E>,
        _cotangent: &TensorOf<E>,
    ) -> Result<Option<ParameterFactors<E>>> {
        Ok(None)
    }
}

/// [`Prepared`] for an operator of one input: what most operators implement.
pub(super) trait Unary<E: Engine>: Send + Sync {
    fn forward(&self, engine: &E, x: &TensorOf<E>) -> Result<(TensorOf<E>, Option<IndicesOf<E>>)>;

    fn jacobian_vector(&self, engine: &E, pass: &Pass<'_, E>, tangent: &TensorOf<E>) -> Result<TensorOf<E>>;

    fn vector_jacobian(&self, engine: &E, pass: &Pass<'_, E>, cotangent: &TensorOf<E>)
    -> Result<TensorOf<E>>;

    fn code(&self, _engine: &E, _pass: &Pass<'_, E>, _codes: &mut E::Codes, _packing: Packing) -> Result<()> {
        unreachable!("an operator whose units have several pieces has codes")
    }

    fn parameter_factors(
        &self,
        _engine: &E,
        _pass: &Pass<'_, E>,
        _cotangent: &TensorOf<E>,
    ) -> Result<Option<ParameterFactors<E>>> {
        Ok(None)
    }
}

/// Gives a [`Unary`] its place in the table.
pub(super) struct Single<T>(pub(super) T);

impl<E: Engine, T: Unary<E>> Prepared<E> for Single<T> {
    fn forward(&self, engine: &E, inputs: &[&TensorOf<E>]) -> Result<(TensorOf<E>, Option<IndicesOf<E>>)> {
        self.0.forward(engine, inputs[0])
    }

    fn jacobian_vector(
        &self,
        engine: &E,
        pass: &Pass<'_, E>,
        tangents: &[Option<&TensorOf<E>>],
    ) -> Result<TensorOf<E>> {
        match tangents {
            [Some(tangent)] => self.0.jacobian_vector(engine, pass, tangent),
            _ => unreachable!("an operator of one input gets one tangent"),
        }
    }

    fn vector_jacobian(
        &self,
        engine: &E,
        pass: &Pass<'_, E>,
        cotangent: &TensorOf<E>,
        _wanted: &[bool],
    ) -> Result<Vec<Option<TensorOf<E>>>> {
        Ok(vec![Some(self.0.vector_jacobian(engine, pass, cotangent)?)])
    }

    fn code(&self, engine: &E, pass: &Pass<'_, E>, codes: &mut E::Codes, packing: Packing) -> Result<()> {
        self.0.code(engine, pass, codes, packing)
    }

    fn parameter_factors(
        &self,
        engine: &E,
        pass: &Pass<'_, E>,
        cotangent: &TensorOf<E>,
    ) -> Result<Option<ParameterFactors<E>>> {
        self.0.parameter_factors(engine, pass, cotangent)
    }
}
