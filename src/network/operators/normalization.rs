//! Normalisation layers.

use crate::engine::{Activation, Arithmetic, Engine, IndicesOf, TensorOf};
use crate::network::Constant;
use crate::{Error, Result, Scalar};

use super::{
    ConvexRule, Kind, Operator, Pair, ParameterFactors, ParameterValues, Pass, Reduce, Remembers, Rewriting,
    Unary, scale_directions,
};

/// `scale[c] * x + shift[c]` for channel `c`, the first axis of a sample: batch normalisation at inference.
#[derive(Debug, Clone, PartialEq)]
pub struct ScaleShift {
    scale: Constant,
    shift: Constant,
    /// Mean and deviation that the channels are normalised with before the parameters come.
    statistics: Option<[Constant; 2]>,
}

impl ScaleShift {
    /// Scale and shift, both `[c]`.
    ///
    /// # Errors
    /// [`Error::Shape`] where they do not fit together.
    pub fn new(scale: Constant, shift: Constant) -> Result<Self> {
        if scale.shape().len() != 1 || scale.shape() != shift.shape() || scale.is_empty() {
            return Err(Error::Shape(format!(
                "a scale {:?} and a shift {:?} do not fit together",
                scale.shape(),
                shift.shape()
            )));
        }
        Ok(Self { scale, shift, statistics: None })
    }

    /// `scale[c] * (x - mean[c]) / deviation[c] + shift[c]`, all `[c]`: scale and shift are the parameters.
    ///
    /// # Errors
    /// [`Error::Shape`] where they do not fit together; [`Error::Argument`] where a deviation is 0.
    pub fn normalizing(
        scale: &Constant,
        shift: &Constant,
        mean: Constant,
        deviation: Constant,
    ) -> Result<Self> {
        if mean.shape() != scale.shape() || deviation.shape() != scale.shape() {
            let (mean, deviation) = (mean.shape(), deviation.shape());
            return Err(Error::Shape(format!(
                "a mean {mean:?} and a deviation {deviation:?} do not fit a scale {:?}",
                scale.shape()
            )));
        }
        let (m, d) = (mean.to::<f64>(), deviation.to::<f64>());
        let slopes = scale.map(|i, s| s / d[i])?;
        let s = slopes.to::<f64>();
        let new = Self::new(slopes, shift.map(|i, b| b - m[i] * s[i])?)?;
        Ok(Self { statistics: Some([mean, deviation]), ..new })
    }

    /// `[c]`
    pub fn scale(&self) -> &Constant {
        &self.scale
    }

    /// `[c]`
    pub fn shift(&self) -> &Constant {
        &self.shift
    }

    pub(super) fn prepare<E: Engine>(&self, engine: &E, input: &[usize]) -> Result<PreparedScaleShift<E>> {
        let mut shape = vec![1; input.len() + 1];
        shape[1] = self.scale.len();
        let upload = |values: &Constant| engine.upload(&values.to::<E::Scalar>(), &shape);
        let statistics = self.statistics.as_ref().map(|[mean, deviation]| {
            let inverse = deviation.map(|_, d| 1.0 / d)?;
            Ok([upload(mean)?, upload(&inverse)?])
        });
        let statistics = statistics.transpose()?;
        Ok(PreparedScaleShift { scale: upload(&self.scale)?, shift: upload(&self.shift)?, statistics })
    }
}

impl Operator for ScaleShift {
    fn name(&self) -> &'static str {
        "BatchNormalization"
    }

    fn kind(&self) -> Kind {
        Kind::Affine
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        if inputs[0].first() != Some(&self.scale.len()) {
            return Err(Error::Shape(format!(
                "a normalisation of {} channels does not fit samples of shape {:?}",
                self.scale.len(),
                inputs[0]
            )));
        }
        Ok(inputs[0].to_vec())
    }

    fn parameters(&self) -> usize {
        2 * self.scale.len()
    }

    fn has_parameter_factors(&self) -> bool {
        true
    }

    fn parameter_values(&self) -> Result<ParameterValues> {
        let Some([mean, deviation]) = &self.statistics else {
            return ParameterValues::elementwise(Some(&self.scale), Some(&self.shift));
        };
        let (m, d, slope) = (mean.to::<f64>(), deviation.to::<f64>(), self.scale.to::<f64>());
        let scale = self.scale.map(|i, s| s * d[i])?;
        let shift = self.shift.map(|i, b| b + m[i] * slope[i])?;
        ParameterValues::elementwise(Some(&scale), Some(&shift))
    }

    fn convex_rule(&self) -> Option<&dyn ConvexRule> {
        Some(self)
    }
}

impl ConvexRule for ScaleShift {
    fn pair(&self, rewriting: &mut Rewriting, inputs: &[Pair]) -> Result<Pair> {
        let mut shape = vec![1; rewriting.input_shape(0).len()];
        shape[0] = self.scale.len();
        let (scale, shift) = (self.scale.reshaped(&shape[..])?, self.shift.reshaped(shape)?);
        rewriting.scaled(inputs[0], &scale, Some(shift))
    }
}

pub(super) struct PreparedScaleShift<E: Engine> {
    scale: TensorOf<E>,
    shift: TensorOf<E>,
    /// Means, and the inverse deviations.
    statistics: Option<[TensorOf<E>; 2]>,
}

impl<E: Engine> Unary<E> for PreparedScaleShift<E> {
    fn forward(&self, engine: &E, x: &TensorOf<E>) -> Result<(TensorOf<E>, Option<IndicesOf<E>>)> {
        let scaled = engine.arithmetic(Arithmetic::Mul, x, &self.scale)?;
        Ok((engine.arithmetic(Arithmetic::Add, &scaled, &self.shift)?, None))
    }

    fn jacobian_vector(&self, engine: &E, _: &Pass<'_, E>, tangent: &TensorOf<E>) -> Result<TensorOf<E>> {
        engine.arithmetic(Arithmetic::Mul, tangent, &self.scale)
    }

    fn vector_jacobian(&self, engine: &E, _: &Pass<'_, E>, cotangent: &TensorOf<E>) -> Result<TensorOf<E>> {
        engine.arithmetic(Arithmetic::Mul, cotangent, &self.scale)
    }

    /// A group for each channel: `a` the normalised input and `d` the cotangent for the scale, and the shift as a bias.
    fn parameter_factors(
        &self,
        engine: &E,
        pass: &Pass<'_, E>,
        cotangent: &TensorOf<E>,
    ) -> Result<Option<ParameterFactors<E>>> {
        let (x, wide) = (pass.input(0), &self.scale.shape()[1..]);
        let normal = match &self.statistics {
            Some([mean, inverse]) => {
                let centred = engine.arithmetic(Arithmetic::Sub, x, mean)?;
                &engine.arithmetic(Arithmetic::Mul, &centred, inverse)?
            }
            None => x,
        };
        let factors = ParameterFactors::elementwise(engine, wide, Some(normal), cotangent, x.rows())?;
        let bias = ParameterFactors::elementwise(engine, wide, None, cotangent, x.rows())?.bias;
        Ok(Some(ParameterFactors { bias, sums_deltas: true, ..factors }))
    }
}

/// `(x - mean) / sqrt(variance + epsilon)` over axes of each sample: the core of layer, instance and group
/// normalisation, whose scale and shift are nodes of their own.
#[derive(Debug, Clone, PartialEq)]
pub struct Standardize {
    /// The axes, ascending.
    pub axes: Vec<usize>,
    /// What is added to the variance; above 0.
    pub epsilon: f64,
}

impl Operator for Standardize {
    fn name(&self) -> &'static str {
        "MeanVarianceNormalization"
    }

    fn kind(&self) -> Kind {
        Kind::Smooth
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        let ascending = self.axes.windows(2).all(|pair| pair[0] < pair[1]);
        if self.axes.is_empty() || !ascending || self.axes.iter().any(|&axis| axis >= inputs[0].len()) {
            return Err(Error::Shape(format!(
                "{:?} are no axes of {:?} in ascending order",
                self.axes, inputs[0]
            )));
        }
        if self.epsilon.is_nan() || self.epsilon <= 0.0 {
            return Err(Error::Argument(format!("epsilon {} is not above 0", self.epsilon)));
        }
        Ok(inputs[0].to_vec())
    }

    fn intermediates(&self) -> usize {
        3
    }

    fn remembers(&self) -> Remembers {
        Remembers::ALL
    }
}

impl Standardize {
    /// The mean over the axes, which stay.
    fn mean<E: Engine>(&self, engine: &E, x: &TensorOf<E>) -> Result<TensorOf<E>> {
        Reduce { axes: self.axes.clone(), keep: true, mean: true }.apply(engine, x)
    }

    fn centered<E: Engine>(&self, engine: &E, x: &TensorOf<E>) -> Result<TensorOf<E>> {
        engine.arithmetic(Arithmetic::Sub, x, &self.mean(engine, x)?)
    }

    /// `1 / sqrt(variance + epsilon)` of something centered.
    fn inverse_deviation<E: Engine>(&self, engine: &E, centered: &TensorOf<E>) -> Result<TensorOf<E>> {
        let squares = engine.activate(Activation::Power { exponent: 2.0 }, 0, centered)?;
        let epsilon = engine.upload(&[E::Scalar::of(self.epsilon)], &vec![1; centered.shape().len()])?;
        let variance = engine.arithmetic(Arithmetic::Add, &self.mean(engine, &squares)?, &epsilon)?;
        engine.activate(Activation::Power { exponent: -0.5 }, 0, &variance)
    }
}

impl<E: Engine> Unary<E> for Standardize {
    fn forward(&self, engine: &E, x: &TensorOf<E>) -> Result<(TensorOf<E>, Option<IndicesOf<E>>)> {
        let centered = self.centered(engine, x)?;
        let inverse = self.inverse_deviation(engine, &centered)?;
        Ok((engine.arithmetic(Arithmetic::Mul, &centered, &inverse)?, None))
    }

    /// `(t - mean(t) - y mean(y t)) / deviation` for the output `y`, whose mean is 0.
    fn jacobian_vector(&self, engine: &E, pass: &Pass<'_, E>, tangent: &TensorOf<E>) -> Result<TensorOf<E>> {
        let inverse = self.inverse_deviation(engine, &self.centered(engine, pass.input(0))?)?;
        let along = self.mean(engine, &scale_directions(engine, tangent, pass.output())?)?;
        let along = scale_directions(engine, &along, pass.output())?;
        let rest = engine.arithmetic(Arithmetic::Sub, &self.centered(engine, tangent)?, &along)?;
        scale_directions(engine, &rest, &inverse)
    }

    /// The Jacobian is symmetric.
    fn vector_jacobian(
        &self,
        engine: &E,
        pass: &Pass<'_, E>,
        cotangent: &TensorOf<E>,
    ) -> Result<TensorOf<E>> {
        self.jacobian_vector(engine, pass, cotangent)
    }
}
