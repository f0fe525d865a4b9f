//! Pooling of images.

use crate::engine::{Engine, IndicesOf, Packing, TensorOf, Window};
use crate::network::Constant;
use crate::{Error, Result};

use super::{ConvexRule, Convolution, Kind, Operator, Pair, Pass, Rewriting, Unary};

/// The largest value of each window, the first in row-major order where several are largest.
#[derive(Debug, Clone, PartialEq)]
pub struct MaxPool {
    /// The windows; padding never wins.
    pub window: Window,
}

/// The mean of each window.
#[derive(Debug, Clone, PartialEq)]
pub struct AveragePool {
    /// The windows.
    pub window: Window,
    /// The part of the padding (top, left, bottom, right) that counts towards the divisor.
    pub counted: [usize; 4],
}

/// Shape of the pooled image; every window must see at least one element.
fn pooled(window: &Window, input: &[usize]) -> Result<Vec<usize>> {
    let &[channels, height, width] = input else {
        return Err(Error::Shape(format!("pooling needs samples [channels, height, width], not {input:?}")));
    };
    let output = window.output([height, width])?;
    let sees = |axis: usize, size: usize| {
        let (stride, pad) = (window.strides[axis], window.pads[axis]);
        let sees = |position: usize| {
            let start = position * stride;
            let first = pad.saturating_sub(start).div_ceil(window.dilations[axis]);
            first < window.kernel[axis] && start + first * window.dilations[axis] < pad + size
        };
        // Windows between those that begin in the padding and the last begin inside the image.
        (0..output[axis].min(pad.div_ceil(stride))).chain([output[axis] - 1]).all(sees)
    };
    if !sees(0, height) || !sees(1, width) {
        return Err(Error::Shape(format!("{window:?} has windows with nothing but padding over {input:?}")));
    }
    Ok(vec![channels, output[0], output[1]])
}

/// Height and width of a sample.
fn image_size(shape: &[usize]) -> [usize; 2] {
    [shape[1], shape[2]]
}

impl Operator for MaxPool {
    fn name(&self) -> &'static str {
        "MaxPool"
    }

    fn kind(&self) -> Kind {
        Kind::PiecewiseAffine
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        pooled(&self.window, inputs[0])
    }

    /// One for each element of a window.
    fn pieces_of_unit(&self, _: &[&[usize]]) -> Option<usize> {
        Some(self.window.kernel.iter().product())
    }

    fn convex_rule(&self) -> Option<&dyn ConvexRule> {
        Some(self)
    }
}

impl ConvexRule for MaxPool {
    fn pair(&self, rewriting: &mut Rewriting, inputs: &[Pair]) -> Result<Pair> {
        let channels = rewriting.input_shape(0)[0];
        let [height, width] = self.window.kernel;
        let ones = Constant::f64([channels, 1, height, width], vec![1.0; channels * height * width])?;
        let sum = Convolution::new(ones, None, self.window, channels)?;
        rewriting.largest(&self.clone().into(), &sum.into(), inputs[0])
    }
}

impl<E: Engine> Unary<E> for MaxPool {
    fn forward(&self, engine: &E, x: &TensorOf<E>) -> Result<(TensorOf<E>, Option<IndicesOf<E>>)> {
        let (y, picked) = engine.max_pool(x, self.window)?;
        Ok((y, Some(picked)))
    }

    fn jacobian_vector(&self, engine: &E, pass: &Pass<'_, E>, tangent: &TensorOf<E>) -> Result<TensorOf<E>> {
        engine.max_pool_gather(tangent, picked(pass))
    }

    fn vector_jacobian(
        &self,
        engine: &E,
        pass: &Pass<'_, E>,
        cotangent: &TensorOf<E>,
    ) -> Result<TensorOf<E>> {
        engine.max_pool_scatter(cotangent, picked(pass), image_size(pass.shape(0)))
    }

    fn code(&self, engine: &E, pass: &Pass<'_, E>, codes: &mut E::Codes, packing: Packing) -> Result<()> {
        engine.code_picks(codes, picked(pass), self.window, image_size(pass.shape(0)), packing)
    }
}

pub(super) fn picked<'a, E: Engine>(pass: &Pass<'a, E>) -> &'a IndicesOf<E> {
    match pass.picked {
        Some(picked) => picked,
        None => unreachable!("the forward pass of max-pooling keeps its picks"),
    }
}

impl Operator for AveragePool {
    fn name(&self) -> &'static str {
        "AveragePool"
    }

    fn kind(&self) -> Kind {
        Kind::Affine
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        pooled(&self.window, inputs[0])
    }

    fn convex_rule(&self) -> Option<&dyn ConvexRule> {
        Some(self)
    }
}

impl ConvexRule for AveragePool {
    fn pair(&self, rewriting: &mut Rewriting, inputs: &[Pair]) -> Result<Pair> {
        rewriting.alike(&self.clone().into(), inputs[0])
    }
}

impl<E: Engine> Unary<E> for AveragePool {
    fn forward(&self, engine: &E, x: &TensorOf<E>) -> Result<(TensorOf<E>, Option<IndicesOf<E>>)> {
        Ok((engine.average_pool(x, self.window, self.counted)?, None))
    }

    fn jacobian_vector(&self, engine: &E, _: &Pass<'_, E>, tangent: &TensorOf<E>) -> Result<TensorOf<E>> {
        engine.average_pool(tangent, self.window, self.counted)
    }

    fn vector_jacobian(
        &self,
        engine: &E,
        pass: &Pass<'_, E>,
        cotangent: &TensorOf<E>,
    ) -> Result<TensorOf<E>> {
        let size = image_size(pass.shape(0));
        engine.average_pool_transposed(cotangent, self.window, self.counted, size)
    }
}
