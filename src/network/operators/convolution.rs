//! Convolutions of images.

use crate::engine::{Activation, Engine, Epilogue, IndicesOf, Packing, TensorOf, Window};
use crate::network::Constant;
use crate::{Error, Result};

use super::{
    ConvexRule, Kind, Operator, Pair, ParameterFactors, ParameterValues, Pass, Remembers, Rewriting,
    SignedOp, Unary, gate, gated, upload,
};

/// 2-D convolution (cross-correlation, as everywhere in this field) `[c_in, h, w] -> [c_out, h', w']`.
#[derive(Debug, Clone, PartialEq)]
pub struct Convolution {
    filters: Constant,
    bias: Option<Constant>,
    window: Window,
    groups: usize,
    /// What was fused into it.
    activation: Option<Activation>,
}

impl Convolution {
    /// Filters `[c_out, c_in / groups, kernel_h, kernel_w]`, bias `[c_out]`.
    ///
    /// # Errors
    /// [`Error::Shape`] where they do not fit together.
    pub fn new(filters: Constant, bias: Option<Constant>, window: Window, groups: usize) -> Result<Self> {
        let shape = filters.shape();
        let fits = shape.len() == 4 && shape[2..] == window.kernel && !filters.is_empty();
        if !fits || groups == 0 || !shape[0].is_multiple_of(groups) {
            return Err(Error::Shape(format!(
                "filters {shape:?} do not fit {groups} groups and a kernel {:?}",
                window.kernel
            )));
        }
        if let Some(bias) = &bias
            && bias.shape() != [shape[0]]
        {
            return Err(Error::Shape(format!(
                "a bias {:?} does not fit {} channels",
                bias.shape(),
                shape[0]
            )));
        }
        Ok(Self { filters, bias, window, groups, activation: None })
    }

    /// `[c_out, c_in / groups, kernel_h, kernel_w]`
    pub fn filters(&self) -> &Constant {
        &self.filters
    }

    /// `[c_out]`
    pub fn bias(&self) -> Option<&Constant> {
        self.bias.as_ref()
    }

    /// The same with other parameters of the same shape (and a bias, where there was none).
    pub(crate) fn with_parameters(&self, filters: Constant, bias: Constant) -> Result<Self> {
        Self::new(filters, Some(bias), self.window, self.groups)
    }

    /// The activation that was fused into it.
    pub(crate) fn fused(&self) -> Option<Activation> {
        self.activation
    }

    /// The same with an activation behind it whose slope can be read from its value.
    pub(crate) fn with_activation(&self, activation: Activation) -> Self {
        Self { activation: Some(activation), ..self.clone() }
    }

    pub(super) fn prepare<E: Engine>(&self, engine: &E, input: &[usize]) -> Result<PreparedConvolution<E>> {
        let &[a, b, c, d] = self.filters.shape() else { unreachable!("checked by new") };
        Ok(PreparedConvolution {
            filters: engine.filters(
                &self.filters.to::<E::Scalar>(),
                [a, b, c, d],
                self.window,
                self.groups,
            )?,
            bias: upload(engine, self.bias.as_ref())?,
            size: [input[1], input[2]],
            activation: self.activation,
            window: self.window,
            groups: self.groups,
        })
    }
}

impl Operator for Convolution {
    fn name(&self) -> &'static str {
        "Conv"
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
        let shape = self.filters.shape();
        match *inputs[0] {
            [channels, height, width] if channels == shape[1] * self.groups => {
                let [h, w] = self.window.output([height, width])?;
                Ok(vec![shape[0], h, w])
            }
            _ => Err(Error::Shape(format!(
                "a convolution of {} channels does not fit samples of shape {:?}",
                shape[1] * self.groups,
                inputs[0]
            ))),
        }
    }

    fn parameters(&self) -> usize {
        self.filters.len() + self.bias.as_ref().map_or(0, Constant::len)
    }

    fn has_parameter_factors(&self) -> bool {
        true
    }

    fn parameter_values(&self) -> Result<ParameterValues> {
        ParameterValues::filters(&self.filters, self.bias.as_ref(), self.groups)
    }

    fn flops(&self, inputs: &[&[usize]]) -> u64 {
        let positions = self.shape(inputs).map_or(0, |shape| shape[1] * shape[2]);
        2 * (self.filters.len() * positions) as u64
    }

    fn scratch(&self, inputs: &[&[usize]]) -> usize {
        scratch(&self.filters, inputs)
    }

    fn convex_rule(&self) -> Option<&dyn ConvexRule> {
        if self.activation.is_none() { Some(self) } else { None }
    }
}

impl ConvexRule for Convolution {
    fn pair(&self, rewriting: &mut Rewriting, inputs: &[Pair]) -> Result<Pair> {
        let make = |filters| Ok(Self::new(filters, None, self.window, self.groups)?.into());
        let shift = per_channel(self.bias.as_ref())?;
        rewriting.linear(SignedOp::new(self.clone().into(), &self.filters, shift, make)?, inputs[0])
    }
}

pub(super) struct PreparedConvolution<E: Engine> {
    filters: E::Filters,
    bias: Option<TensorOf<E>>,
    size: [usize; 2],
    activation: Option<Activation>,
    window: Window,
    groups: usize,
}

impl<E: Engine> Unary<E> for PreparedConvolution<E> {
    fn forward(&self, engine: &E, x: &TensorOf<E>) -> Result<(TensorOf<E>, Option<IndicesOf<E>>)> {
        let epilogue = Epilogue { bias: self.bias.as_ref(), activation: self.activation };
        Ok((engine.convolve(x, &self.filters, epilogue)?, None))
    }

    fn jacobian_vector(&self, engine: &E, pass: &Pass<'_, E>, tangent: &TensorOf<E>) -> Result<TensorOf<E>> {
        let tangent = engine.convolve(tangent, &self.filters, Epilogue::NONE)?;
        gated(engine, self.activation, pass, &tangent)
    }

    fn vector_jacobian(
        &self,
        engine: &E,
        pass: &Pass<'_, E>,
        cotangent: &TensorOf<E>,
    ) -> Result<TensorOf<E>> {
        let gate = gate(engine, self.activation, pass)?;
        engine.convolve_transposed(cotangent, gate.as_ref(), &self.filters, self.size, Epilogue::NONE)
    }

    fn code(&self, engine: &E, pass: &Pass<'_, E>, codes: &mut E::Codes, packing: Packing) -> Result<()> {
        match self.activation {
            Some(activation) => activation.pack(engine, pass.output(), codes, packing),
            None => unreachable!("the layer itself is affine"),
        }
    }

    /// `a` the patches of the input and `d` the cotangent, a position for each window.
    fn parameter_factors(
        &self,
        engine: &E,
        pass: &Pass<'_, E>,
        cotangent: &TensorOf<E>,
    ) -> Result<Option<ParameterFactors<E>>> {
        let cotangent = gated(engine, self.activation, pass, cotangent)?;
        let (x, bias) = (pass.input(0), self.bias.as_ref().map(|_| &cotangent));
        let (window, groups) = (self.window, self.groups);
        let factors = ParameterFactors::windows(engine, [x, &cotangent], bias, window, groups, x.rows())?;
        Ok(Some(ParameterFactors { sums_deltas: true, ..factors }))
    }
}

/// A bias as a constant that is added to images.
fn per_channel(bias: Option<&Constant>) -> Result<Option<Constant>> {
    bias.map(|bias| bias.reshaped([bias.len(), 1, 1])).transpose()
}

/// Elements that one task holds beside its results: panels of gathered columns, or padded rows of the image.
fn scratch(filters: &Constant, inputs: &[&[usize]]) -> usize {
    /// Pieces of the inner dimension times the columns of eight tiles, and as much for a copy behind a gate.
    const PANELS: usize = 1 << 18;
    // Rows that one window sees are held whole, for as many channels as make a piece of 512.
    let (kernel, image) = (filters.shape()[2..].iter().product::<usize>(), &inputs[0][1..]);
    let rows = filters.shape()[2] * (image[1] + filters.shape()[3]);
    PANELS + 512 * kernel + rows * 512_usize.div_ceil(kernel)
}

/// Transposed 2-D convolution `[c_in, h, w] -> [c_out, h', w']`: the transpose of a convolution from the output to
/// the input.
#[derive(Debug, Clone, PartialEq)]
pub struct ConvolutionTransposed {
    filters: Constant,
    bias: Option<Constant>,
    window: Window,
    groups: usize,
    size: [usize; 2],
}

impl ConvolutionTransposed {
    /// Filters `[c_in, c_out / groups, kernel_h, kernel_w]`, bias `[c_out]`; `window` is that of the convolution
    /// from the output, `size` the height and width of the output.
    ///
    /// # Errors
    /// [`Error::Shape`] where they do not fit together.
    pub fn new(
        filters: Constant,
        bias: Option<Constant>,
        window: Window,
        groups: usize,
        size: [usize; 2],
    ) -> Result<Self> {
        // The bias belongs to the other side of the convolution.
        let Convolution { filters, .. } = Convolution::new(filters, None, window, groups)?;
        let channels = filters.shape()[1] * groups;
        if let Some(bias) = &bias
            && bias.shape() != [channels]
        {
            return Err(Error::Shape(format!("a bias {:?} does not fit {channels} channels", bias.shape())));
        }
        Ok(Self { filters, bias, window, groups, size })
    }

    /// `[c_in, c_out / groups, kernel_h, kernel_w]`
    pub fn filters(&self) -> &Constant {
        &self.filters
    }

    /// `[c_out]`
    pub fn bias(&self) -> Option<&Constant> {
        self.bias.as_ref()
    }

    pub(super) fn prepare<E: Engine>(&self, engine: &E) -> Result<PreparedTransposed<E>> {
        let &[a, b, c, d] = self.filters.shape() else { unreachable!("checked by new") };
        let filters = self.filters.to::<E::Scalar>();
        Ok(PreparedTransposed {
            filters: engine.filters(&filters, [a, b, c, d], self.window, self.groups)?,
            bias: upload(engine, self.bias.as_ref())?,
            size: self.size,
            window: self.window,
            groups: self.groups,
        })
    }
}

impl Operator for ConvolutionTransposed {
    fn name(&self) -> &'static str {
        "ConvTranspose"
    }

    fn kind(&self) -> Kind {
        Kind::Affine
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        let shape = self.filters.shape();
        match *inputs[0] {
            [channels, height, width]
                if channels == shape[0] && self.window.output(self.size).ok() == Some([height, width]) =>
            {
                Ok(vec![shape[1] * self.groups, self.size[0], self.size[1]])
            }
            _ => Err(Error::Shape(format!(
                "a transposed convolution of {} channels to {:?} does not fit samples of shape {:?}",
                shape[0], self.size, inputs[0]
            ))),
        }
    }

    fn parameters(&self) -> usize {
        self.filters.len() + self.bias.as_ref().map_or(0, Constant::len)
    }

    fn has_parameter_factors(&self) -> bool {
        true
    }

    fn parameter_values(&self) -> Result<ParameterValues> {
        ParameterValues::filters(&self.filters, self.bias.as_ref(), self.groups)
    }

    fn flops(&self, inputs: &[&[usize]]) -> u64 {
        2 * (self.filters.len() * inputs[0][1..].iter().product::<usize>()) as u64
    }

    fn scratch(&self, inputs: &[&[usize]]) -> usize {
        scratch(&self.filters, inputs)
    }

    fn convex_rule(&self) -> Option<&dyn ConvexRule> {
        Some(self)
    }
}

impl ConvexRule for ConvolutionTransposed {
    fn pair(&self, rewriting: &mut Rewriting, inputs: &[Pair]) -> Result<Pair> {
        let make = |filters| Ok(Self::new(filters, None, self.window, self.groups, self.size)?.into());
        let shift = per_channel(self.bias.as_ref())?;
        rewriting.linear(SignedOp::new(self.clone().into(), &self.filters, shift, make)?, inputs[0])
    }
}

pub(super) struct PreparedTransposed<E: Engine> {
    filters: E::Filters,
    bias: Option<TensorOf<E>>,
    size: [usize; 2],
    window: Window,
    groups: usize,
}

impl<E: Engine> Unary<E> for PreparedTransposed<E> {
    fn forward(&self, engine: &E, x: &TensorOf<E>) -> Result<(TensorOf<E>, Option<IndicesOf<E>>)> {
        let epilogue = Epilogue { bias: self.bias.as_ref(), activation: None };
        Ok((engine.convolve_transposed(x, None, &self.filters, self.size, epilogue)?, None))
    }

    fn jacobian_vector(&self, engine: &E, _: &Pass<'_, E>, tangent: &TensorOf<E>) -> Result<TensorOf<E>> {
        engine.convolve_transposed(tangent, None, &self.filters, self.size, Epilogue::NONE)
    }

    fn vector_jacobian(&self, engine: &E, _: &Pass<'_, E>, cotangent: &TensorOf<E>) -> Result<TensorOf<E>> {
        engine.convolve(cotangent, &self.filters, Epilogue::NONE)
    }

    /// `a` the patches of the cotangent and `d` the input: the roles that they have in the convolution from the
    /// output.
    fn parameter_factors(
        &self,
        engine: &E,
        pass: &Pass<'_, E>,
        cotangent: &TensorOf<E>,
    ) -> Result<Option<ParameterFactors<E>>> {
        let (x, bias) = (pass.input(0), self.bias.as_ref().map(|_| cotangent));
        ParameterFactors::windows(engine, [cotangent, x], bias, self.window, self.groups, x.rows()).map(Some)
    }
}
