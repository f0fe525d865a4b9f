//! Derivatives along a direction, carried along with values.
//!
//! `(v, t)` stands for `v + t e` with `e^2 = 0` (forward-mode differentiation by dual numbers; Clifford 1873,
//! Griewank & Walther 2008). Whatever is computed on this engine comes with its derivative: values with the Jacobian
//! times the direction, Jacobians with the Hessian times the direction ("reverse over forward"; Pearlmutter 1994).

use super::kernels::{Activation, Arithmetic, Epilogue, Packing, Window};
use super::{Engine, IndicesOf, Tensor, TensorOf};
use crate::activation::PiecewiseAffine;
use crate::{Error, Result, Scalar};

/// An engine whose tensors carry one tangent each.
#[derive(Debug, Clone)]
pub struct Dual<E>(E);

/// A value, and its derivative along the direction unless that is zero.
#[derive(Debug, Clone)]
pub struct DualBuffer<B> {
    value: B,
    tangent: Option<B>,
}

/// A tensor of [`Dual`].
type DualTensor<E> = TensorOf<Dual<E>>;

impl<E: Engine> Dual<E> {
    /// The engine that carries tangents beside the values of another.
    pub fn new(engine: E) -> Self {
        Self(engine)
    }

    /// The engine below.
    pub fn inner(&self) -> &E {
        &self.0
    }

    /// A tensor with a tangent of the same shape; `None` where it does not vary.
    ///
    /// # Errors
    /// [`Error::Shape`] where the shapes differ.
    pub fn dual(&self, value: &TensorOf<E>, tangent: Option<&TensorOf<E>>) -> Result<DualTensor<E>> {
        if let Some(tangent) = tangent
            && tangent.shape() != value.shape()
        {
            let (value, tangent) = (value.shape(), tangent.shape());
            return Err(Error::Shape(format!("a tangent {tangent:?} does not fit a value {value:?}")));
        }
        let tangent = tangent.map(|tangent| tangent.buffer().clone());
        Ok(Tensor::new(value.shape(), DualBuffer { value: value.buffer().clone(), tangent }))
    }

    /// The value of a tensor.
    pub fn value(&self, x: &DualTensor<E>) -> TensorOf<E> {
        Tensor::new(x.shape(), x.buffer().value.clone())
    }

    /// The tangent of a tensor; `None` where it does not vary.
    pub fn tangent(&self, x: &DualTensor<E>) -> Option<TensorOf<E>> {
        x.buffer().tangent.as_ref().map(|tangent| Tensor::new(x.shape(), tangent.clone()))
    }

    fn join(&self, value: TensorOf<E>, tangent: Option<TensorOf<E>>) -> Result<DualTensor<E>> {
        self.dual(&value, tangent.as_ref())
    }

    /// A linear function of a tensor.
    fn linear(
        &self,
        x: &DualTensor<E>,
        f: impl Fn(&TensorOf<E>) -> Result<TensorOf<E>>,
    ) -> Result<DualTensor<E>> {
        self.join(f(&self.value(x))?, self.tangent(x).map(|t| f(&t)).transpose()?)
    }

    /// A function of two tensors that is linear in each: the product rule.
    fn bilinear(
        &self,
        a: &DualTensor<E>,
        b: &DualTensor<E>,
        f: impl Fn(&TensorOf<E>, &TensorOf<E>) -> Result<TensorOf<E>>,
    ) -> Result<DualTensor<E>> {
        let (value_a, value_b) = (self.value(a), self.value(b));
        let by_a = self.tangent(a).map(|t| f(&t, &value_b)).transpose()?;
        let by_b = self.tangent(b).map(|t| f(&value_a, &t)).transpose()?;
        self.join(f(&value_a, &value_b)?, self.sum_of(by_a, by_b)?)
    }

    /// A layer that is linear in its input and in its gate, with bias and activation behind it.
    fn layer(
        &self,
        x: &DualTensor<E>,
        gate: Option<&DualTensor<E>>,
        epilogue: Epilogue<'_, DualBuffer<E::Buffer>>,
        f: impl Fn(&TensorOf<E>, Option<&TensorOf<E>>, Epilogue<'_, E::Buffer>) -> Result<TensorOf<E>>,
    ) -> Result<DualTensor<E>> {
        let (value, value_of_gate) = (self.value(x), gate.map(|gate| self.value(gate)));
        let bias = epilogue.bias.map(|bias| self.value(bias));
        let by_x = self.tangent(x).map(|t| f(&t, value_of_gate.as_ref(), Epilogue::NONE)).transpose()?;
        let tangent_of_gate = gate.and_then(|gate| self.tangent(gate));
        let by_gate = tangent_of_gate.map(|t| f(&value, Some(&t), Epilogue::NONE)).transpose()?;
        let value = f(&value, value_of_gate.as_ref(), Epilogue { bias: bias.as_ref(), activation: None })?;
        let result = self.join(value, self.sum_of(by_x, by_gate)?)?;
        match epilogue.activation {
            Some(activation) => self.activate(activation, 0, &result),
            None => Ok(result),
        }
    }

    fn sum_of(&self, a: Option<TensorOf<E>>, b: Option<TensorOf<E>>) -> Result<Option<TensorOf<E>>> {
        Ok(match (a, b) {
            (Some(a), Some(b)) => Some(self.0.arithmetic(Arithmetic::Add, &a, &b)?),
            (a, b) => a.or(b),
        })
    }

    fn filled(&self, value: f64, shape: &[usize]) -> Result<TensorOf<E>> {
        self.0.upload(&vec![E::Scalar::of(value); shape.iter().product()], shape)
    }

    /// The tangent repeated to a shape that it broadcasts to.
    fn repeated(&self, t: TensorOf<E>, shape: &[usize]) -> Result<TensorOf<E>> {
        if t.shape() == shape {
            Ok(t)
        } else {
            self.0.arithmetic(Arithmetic::Add, &t, &self.filled(0.0, shape)?)
        }
    }
}

impl<E: Engine> Engine for Dual<E> {
    type Scalar = E::Scalar;
    type Buffer = DualBuffer<E::Buffer>;
    type Indices = E::Indices;
    type Request = E::Request;
    type Matrix = E::Matrix;
    type Filters = E::Filters;
    type Codes = E::Codes;
    type CodesRequest = E::CodesRequest;

    fn describe(&self) -> String {
        format!("{}, with tangents", self.0.describe())
    }

    fn parallelism(&self) -> usize {
        self.0.parallelism()
    }

    fn in_flight(&self) -> usize {
        self.0.in_flight()
    }

    fn largest_tensor(&self) -> u64 {
        self.0.largest_tensor()
    }

    fn synchronize(&self) -> Result<()> {
        self.0.synchronize()
    }

    /// Constants: without a tangent.
    fn upload(&self, values: &[E::Scalar], shape: &[usize]) -> Result<DualTensor<E>> {
        self.join(self.0.upload(values, shape)?, None)
    }

    /// The values, without their tangents.
    fn request(&self, tensor: &DualTensor<E>) -> Result<E::Request> {
        self.0.request(&self.value(tensor))
    }

    fn receive(&self, request: E::Request) -> Result<Vec<E::Scalar>> {
        self.0.receive(request)
    }

    fn matrix(&self, values: &[E::Scalar], k: usize, n: usize) -> Result<E::Matrix> {
        self.0.matrix(values, k, n)
    }

    fn matmul(
        &self,
        x: &DualTensor<E>,
        gate: Option<&DualTensor<E>>,
        matrix: &E::Matrix,
        epilogue: Epilogue<'_, Self::Buffer>,
    ) -> Result<DualTensor<E>> {
        self.layer(x, gate, epilogue, |x, gate, epilogue| self.0.matmul(x, gate, matrix, epilogue))
    }

    fn multiply(&self, a: &DualTensor<E>, b: &DualTensor<E>, transposed: [bool; 2]) -> Result<DualTensor<E>> {
        self.bilinear(a, b, |a, b| self.0.multiply(a, b, transposed))
    }

    fn filters(
        &self,
        values: &[E::Scalar],
        shape: [usize; 4],
        window: Window,
        groups: usize,
    ) -> Result<E::Filters> {
        self.0.filters(values, shape, window, groups)
    }

    fn convolve(
        &self,
        x: &DualTensor<E>,
        filters: &E::Filters,
        epilogue: Epilogue<'_, Self::Buffer>,
    ) -> Result<DualTensor<E>> {
        self.layer(x, None, epilogue, |x, _, epilogue| self.0.convolve(x, filters, epilogue))
    }

    fn convolve_transposed(
        &self,
        y: &DualTensor<E>,
        gate: Option<&DualTensor<E>>,
        filters: &E::Filters,
        size: [usize; 2],
        epilogue: Epilogue<'_, Self::Buffer>,
    ) -> Result<DualTensor<E>> {
        self.layer(y, gate, epilogue, |y, gate, epilogue| {
            self.0.convolve_transposed(y, gate, filters, size, epilogue)
        })
    }

    fn max_pool(&self, x: &DualTensor<E>, window: Window) -> Result<(DualTensor<E>, IndicesOf<Self>)> {
        let (value, picked) = self.0.max_pool(&self.value(x), window)?;
        let tangent = self.tangent(x).map(|t| self.0.max_pool_gather(&t, &picked)).transpose()?;
        Ok((self.join(value, tangent)?, picked))
    }

    fn max_pool_gather(&self, tangents: &DualTensor<E>, picked: &IndicesOf<Self>) -> Result<DualTensor<E>> {
        self.linear(tangents, |t| self.0.max_pool_gather(t, picked))
    }

    fn max_pool_scatter(
        &self,
        cotangents: &DualTensor<E>,
        picked: &IndicesOf<Self>,
        size: [usize; 2],
    ) -> Result<DualTensor<E>> {
        self.linear(cotangents, |c| self.0.max_pool_scatter(c, picked, size))
    }

    fn average_pool(&self, x: &DualTensor<E>, window: Window, counted: [usize; 4]) -> Result<DualTensor<E>> {
        self.linear(x, |x| self.0.average_pool(x, window, counted))
    }

    fn average_pool_transposed(
        &self,
        y: &DualTensor<E>,
        window: Window,
        counted: [usize; 4],
        size: [usize; 2],
    ) -> Result<DualTensor<E>> {
        self.linear(y, |y| self.0.average_pool_transposed(y, window, counted, size))
    }

    /// Up to order 1: the tangent takes the order above.
    fn activate(&self, activation: Activation, order: u8, x: &DualTensor<E>) -> Result<DualTensor<E>> {
        let value = self.value(x);
        let tangent = match self.tangent(x) {
            Some(_) if order > 1 => {
                return Err(Error::Argument("third derivatives are not computed".to_owned()));
            }
            Some(t) => {
                let slope = self.0.activate(activation, order + 1, &value)?;
                Some(self.0.arithmetic(Arithmetic::Mul, &slope, &t)?)
            }
            None => None,
        };
        self.join(self.0.activate(activation, order, &value)?, tangent)
    }

    fn piecewise(&self, function: &PiecewiseAffine, order: u8, x: &DualTensor<E>) -> Result<DualTensor<E>> {
        let value = self.value(x);
        let along = |t: TensorOf<E>| {
            let slope = self.0.piecewise(function, (order + 1).min(2), &value)?;
            self.0.arithmetic(Arithmetic::Mul, &slope, &t)
        };
        let tangent = self.tangent(x).map(along).transpose()?;
        self.join(self.0.piecewise(function, order, &value)?, tangent)
    }

    fn arithmetic(
        &self,
        operation: Arithmetic,
        a: &DualTensor<E>,
        b: &DualTensor<E>,
    ) -> Result<DualTensor<E>> {
        let of = |operation, a: &TensorOf<E>, b: &TensorOf<E>| self.0.arithmetic(operation, a, b);
        let (value_a, value_b) = (self.value(a), self.value(b));
        let value = of(operation, &value_a, &value_b)?;
        let (by_a, by_b) = match operation {
            Arithmetic::Add => (self.tangent(a), self.tangent(b)),
            Arithmetic::Sub => {
                let minus = self.filled(-1.0, &vec![1; b.shape().len()])?;
                (self.tangent(a), self.tangent(b).map(|t| of(Arithmetic::Mul, &t, &minus)).transpose()?)
            }
            Arithmetic::Mul => return self.bilinear(a, b, |a, b| of(Arithmetic::Mul, a, b)),
            Arithmetic::Div => {
                let by_b = |t: TensorOf<E>| {
                    let share = of(Arithmetic::Div, &of(Arithmetic::Mul, &value, &t)?, &value_b)?;
                    of(Arithmetic::Mul, &share, &self.filled(-1.0, &vec![1; b.shape().len()])?)
                };
                let by_a = self.tangent(a).map(|t| of(Arithmetic::Div, &t, &value_b)).transpose()?;
                (by_a, self.tangent(b).map(by_b).transpose()?)
            }
            // Where both are equal the first counts.
            Arithmetic::Max | Arithmetic::Min => {
                let first = match operation {
                    Arithmetic::Max => of(Arithmetic::AtLeast, &value_a, &value_b)?,
                    _ => of(Arithmetic::AtLeast, &value_b, &value_a)?,
                };
                let second = of(Arithmetic::Sub, &self.filled(1.0, &vec![1; first.shape().len()])?, &first)?;
                (
                    self.tangent(a).map(|t| of(Arithmetic::Mul, &t, &first)).transpose()?,
                    self.tangent(b).map(|t| of(Arithmetic::Mul, &t, &second)).transpose()?,
                )
            }
            Arithmetic::AtLeast => (None, None),
        };
        let tangent = self.sum_of(by_a, by_b)?.map(|t| self.repeated(t, value.shape())).transpose()?;
        self.join(value, tangent)
    }

    fn sum(&self, x: &DualTensor<E>, axes: &[usize]) -> Result<DualTensor<E>> {
        self.linear(x, |x| self.0.sum(x, axes))
    }

    /// The tangent of a softmax `s` is `s * (t - sum of s * t)`, of its logarithm `t - sum of s * t`.
    fn softmax(&self, x: &DualTensor<E>, axis: usize, log: bool) -> Result<DualTensor<E>> {
        let value = self.0.softmax(&self.value(x), axis, log)?;
        let tangent = match self.tangent(x) {
            Some(t) => {
                let shares = if log { self.0.softmax(&self.value(x), axis, false)? } else { value.clone() };
                let weighted = self.0.arithmetic(Arithmetic::Mul, &shares, &t)?;
                let mean = self.0.sum(&weighted, &[axis])?;
                Some(if log {
                    self.0.arithmetic(Arithmetic::Sub, &t, &mean)?
                } else {
                    let common = self.0.arithmetic(Arithmetic::Mul, &shares, &mean)?;
                    self.0.arithmetic(Arithmetic::Sub, &weighted, &common)?
                })
            }
            None => None,
        };
        self.join(value, tangent)
    }

    fn select(&self, x: &DualTensor<E>, axis: usize, indices: &[u32]) -> Result<DualTensor<E>> {
        self.linear(x, |x| self.0.select(x, axis, indices))
    }

    fn select_transposed(
        &self,
        y: &DualTensor<E>,
        axis: usize,
        indices: &[u32],
        length: usize,
    ) -> Result<DualTensor<E>> {
        self.linear(y, |y| self.0.select_transposed(y, axis, indices, length))
    }

    fn permute(&self, x: &DualTensor<E>, order: &[usize]) -> Result<DualTensor<E>> {
        self.linear(x, |x| self.0.permute(x, order))
    }

    fn pad(
        &self,
        x: &DualTensor<E>,
        before: &[isize],
        after: &[isize],
        value: E::Scalar,
    ) -> Result<DualTensor<E>> {
        let tangent =
            self.tangent(x).map(|t| self.0.pad(&t, before, after, E::Scalar::of(0.0))).transpose()?;
        self.join(self.0.pad(&self.value(x), before, after, value)?, tangent)
    }

    fn concat(&self, parts: &[&DualTensor<E>], axis: usize) -> Result<DualTensor<E>> {
        let values: Vec<TensorOf<E>> = parts.iter().map(|part| self.value(part)).collect();
        let value = self.0.concat(&values.iter().collect::<Vec<_>>(), axis)?;
        if parts.iter().all(|part| part.buffer().tangent.is_none()) {
            return self.join(value, None);
        }
        let tangents = parts.iter().map(|part| match self.tangent(part) {
            Some(tangent) => Ok(tangent),
            None => self.filled(0.0, part.shape()),
        });
        let tangents = tangents.collect::<Result<Vec<_>>>()?;
        self.join(value, Some(self.0.concat(&tangents.iter().collect::<Vec<_>>(), axis)?))
    }

    fn codes(&self, rows: usize, words: usize) -> Result<E::Codes> {
        self.0.codes(rows, words)
    }

    fn code_values(
        &self,
        codes: &mut E::Codes,
        x: &DualTensor<E>,
        knots: &[f64],
        packing: Packing,
    ) -> Result<()> {
        self.0.code_values(codes, &self.value(x), knots, packing)
    }

    fn code_picks(
        &self,
        codes: &mut E::Codes,
        picked: &IndicesOf<Self>,
        window: Window,
        size: [usize; 2],
        packing: Packing,
    ) -> Result<()> {
        self.0.code_picks(codes, picked, window, size, packing)
    }

    fn request_codes(&self, codes: E::Codes) -> Result<E::CodesRequest> {
        self.0.request_codes(codes)
    }

    fn receive_codes(&self, request: E::CodesRequest) -> Result<Vec<u32>> {
        self.0.receive_codes(request)
    }
}
