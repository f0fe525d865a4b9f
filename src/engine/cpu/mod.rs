//! The engine that every machine has: all cores of the processor, SIMD chosen at run time.
//!
//! One file for each kernel, each with its tests beside it.

mod activation;
mod arithmetic;
mod best;
mod code;
mod conjugate;
mod convolution;
mod copy;
mod descent;
mod distances;
mod envelope;
mod epilogue;
mod filters;
mod floor;
mod gram;
mod hamming;
mod layout;
mod matmul;
mod max_affine;
mod multiply;
mod pairs;
mod piecewise;
mod pool;
mod pooling;
mod product;
mod reduction;
mod secant;
mod select;
mod series_product;
mod slice;
mod soft_envelope;
mod softmax;
mod stage;
mod tile;
mod wide;

use std::marker::PhantomData;
use std::sync::Arc;

use crate::activation::PiecewiseAffine;
use crate::{Error, Result, Scalar};

use super::kernels::{
    Activation, Arithmetic, ConjugateValues, Curvature, EnvelopeSpec, EnvelopeValues, Epilogue, Factors,
    Jets, MaxAffineSpec, MaxAffineValues, Packing, ProductTable, Pulls, Search, SliceValues, SoftSpec,
    SoftValues, Step, UnitWords, Window,
};
use super::{Engine, Floor, SplineEngine, Tensor};

pub use code::CpuCodes;
pub use conjugate::CpuConjugate;
pub use descent::CpuDescent;
pub use envelope::CpuEnvelope;
pub use filters::CpuFilters;
pub use gram::CpuGram;
pub use matmul::CpuMatrix;
pub use pool::{Buffer, keep_at_most};
pub use secant::CpuSecant;
pub use soft_envelope::CpuSoftEnvelope;

/// A buffer of the CPU engine.
pub type CpuBuffer<S> = Arc<Buffer<S>>;

/// A tensor of the CPU engine.
pub type CpuTensor<S> = Tensor<CpuBuffer<S>>;

/// Indices of the CPU engine.
pub type CpuIndices = Tensor<Arc<Vec<u32>>>;

/// The CPU as an engine, computing in `f32` or `f64`, on the threads of rayon's global pool.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cpu<S>(PhantomData<S>);

impl<S: Scalar> Cpu<S> {
    /// The engine; it holds nothing.
    pub fn new() -> Self {
        Self(PhantomData)
    }
}

impl<S: Scalar> Tensor<CpuBuffer<S>> {
    /// A tensor of these elements.
    fn of(shape: impl Into<Vec<usize>>, values: Vec<S>) -> Self {
        let shape = shape.into();
        debug_assert_eq!(shape.iter().product::<usize>(), values.len());
        Self::new(shape, Arc::new(Buffer::new(values)))
    }

    /// The elements.
    fn values(&self) -> &[S] {
        self.buffer()
    }

    /// The elements of rows `range`.
    fn row_range(&self, range: std::ops::Range<usize>) -> &[S] {
        let row: usize = self.shape()[1..].iter().product();
        &self.values()[range.start * row..range.end * row]
    }
}

/// Written out for both types, not generic, so that the kernels are compiled here and not again in every program that
/// uses them.
macro_rules! engine {
    ($S:ident) => {
        impl Engine for Cpu<$S> {
            type Scalar = $S;
            type Buffer = CpuBuffer<$S>;
            type Indices = Arc<Vec<u32>>;
            type Request = CpuTensor<$S>;
            type Matrix = CpuMatrix<$S>;
            type Filters = CpuFilters<$S>;
            type Codes = CpuCodes;
            type CodesRequest = CpuCodes;

            fn describe(&self) -> String {
                format!("CPU, {} threads, {}", rayon::current_num_threads(), $S::NAME)
            }

            fn parallelism(&self) -> usize {
                rayon::current_num_threads()
            }

            fn upload(&self, values: &[$S], shape: &[usize]) -> Result<CpuTensor<$S>> {
                if shape.iter().product::<usize>() != values.len() {
                    return Err(Error::Shape(format!(
                        "{} values do not fill a tensor of shape {shape:?}",
                        values.len()
                    )));
                }
                let mut copy = pool::take(values.len());
                copy.copy_from_slice(values);
                Ok(CpuTensor::of(shape, copy))
            }

            fn request(&self, tensor: &CpuTensor<$S>) -> Result<CpuTensor<$S>> {
                Ok(tensor.clone())
            }

            fn receive(&self, request: CpuTensor<$S>) -> Result<Vec<$S>> {
                Ok(request.values().to_vec())
            }

            fn matrix(&self, values: &[$S], k: usize, n: usize) -> Result<CpuMatrix<$S>> {
                Ok(CpuMatrix::new(values, k, n))
            }

            fn matmul(
                &self,
                x: &CpuTensor<$S>,
                gate: Option<&CpuTensor<$S>>,
                matrix: &CpuMatrix<$S>,
                epilogue: Epilogue<'_, CpuBuffer<$S>>,
            ) -> Result<CpuTensor<$S>> {
                Ok(matmul::matmul(x, gate, matrix, epilogue))
            }

            fn multiply(
                &self,
                a: &CpuTensor<$S>,
                b: &CpuTensor<$S>,
                transposed: [bool; 2],
            ) -> Result<CpuTensor<$S>> {
                multiply::multiply(a, b, transposed)
            }

            fn filters(
                &self,
                values: &[$S],
                shape: [usize; 4],
                window: Window,
                groups: usize,
            ) -> Result<CpuFilters<$S>> {
                Ok(CpuFilters::new(values, shape, window, groups))
            }

            fn convolve(
                &self,
                x: &CpuTensor<$S>,
                filters: &CpuFilters<$S>,
                epilogue: Epilogue<'_, CpuBuffer<$S>>,
            ) -> Result<CpuTensor<$S>> {
                convolution::convolve(x, filters, epilogue)
            }

            fn convolve_transposed(
                &self,
                y: &CpuTensor<$S>,
                gate: Option<&CpuTensor<$S>>,
                filters: &CpuFilters<$S>,
                size: [usize; 2],
                epilogue: Epilogue<'_, CpuBuffer<$S>>,
            ) -> Result<CpuTensor<$S>> {
                Ok(convolution::convolve_transposed(y, gate, filters, size, epilogue))
            }

            fn max_pool(&self, x: &CpuTensor<$S>, window: Window) -> Result<(CpuTensor<$S>, CpuIndices)> {
                pooling::max_pool(x, window)
            }

            fn max_pool_gather(
                &self,
                tangents: &CpuTensor<$S>,
                picked: &CpuIndices,
            ) -> Result<CpuTensor<$S>> {
                Ok(pooling::max_pool_gather(tangents, picked))
            }

            fn max_pool_scatter(
                &self,
                cotangents: &CpuTensor<$S>,
                picked: &CpuIndices,
                size: [usize; 2],
            ) -> Result<CpuTensor<$S>> {
                Ok(pooling::max_pool_scatter(cotangents, picked, size))
            }

            fn average_pool(
                &self,
                x: &CpuTensor<$S>,
                window: Window,
                counted: [usize; 4],
            ) -> Result<CpuTensor<$S>> {
                pooling::average_pool(x, window, counted)
            }

            fn average_pool_transposed(
                &self,
                y: &CpuTensor<$S>,
                window: Window,
                counted: [usize; 4],
                size: [usize; 2],
            ) -> Result<CpuTensor<$S>> {
                Ok(pooling::average_pool_transposed(y, window, counted, size))
            }

            fn activate(
                &self,
                activation: Activation,
                order: u8,
                x: &CpuTensor<$S>,
            ) -> Result<CpuTensor<$S>> {
                Ok(activation::activate(activation, order, x))
            }

            fn piecewise(
                &self,
                function: &PiecewiseAffine,
                order: u8,
                x: &CpuTensor<$S>,
            ) -> Result<CpuTensor<$S>> {
                Ok(piecewise::piecewise(function, order, x))
            }

            fn arithmetic(
                &self,
                operation: Arithmetic,
                a: &CpuTensor<$S>,
                b: &CpuTensor<$S>,
            ) -> Result<CpuTensor<$S>> {
                arithmetic::arithmetic(operation, a, b)
            }

            fn sum(&self, x: &CpuTensor<$S>, axes: &[usize]) -> Result<CpuTensor<$S>> {
                Ok(reduction::sum(x, axes))
            }

            fn softmax(&self, x: &CpuTensor<$S>, axis: usize, log: bool) -> Result<CpuTensor<$S>> {
                Ok(softmax::softmax(x, axis, log))
            }

            fn select(&self, x: &CpuTensor<$S>, axis: usize, indices: &[u32]) -> Result<CpuTensor<$S>> {
                Ok(select::select(x, axis, indices))
            }

            fn select_transposed(
                &self,
                y: &CpuTensor<$S>,
                axis: usize,
                indices: &[u32],
                length: usize,
            ) -> Result<CpuTensor<$S>> {
                Ok(select::select_transposed(y, axis, indices, length))
            }

            fn permute(&self, x: &CpuTensor<$S>, order: &[usize]) -> Result<CpuTensor<$S>> {
                Ok(layout::permute(x, order))
            }

            fn pad(
                &self,
                x: &CpuTensor<$S>,
                before: &[isize],
                after: &[isize],
                value: $S,
            ) -> Result<CpuTensor<$S>> {
                layout::pad(x, before, after, value)
            }

            fn concat(&self, parts: &[&CpuTensor<$S>], axis: usize) -> Result<CpuTensor<$S>> {
                Ok(layout::concat(parts, axis))
            }

            fn codes(&self, rows: usize, words: usize) -> Result<CpuCodes> {
                Ok(CpuCodes::new(rows, words))
            }

            fn code_values(
                &self,
                codes: &mut CpuCodes,
                x: &CpuTensor<$S>,
                knots: &[f64],
                packing: Packing,
            ) -> Result<()> {
                codes.add_values(x, knots, packing);
                Ok(())
            }

            fn code_picks(
                &self,
                codes: &mut CpuCodes,
                picked: &CpuIndices,
                window: Window,
                size: [usize; 2],
                packing: Packing,
            ) -> Result<()> {
                codes.add_picks(picked, window, size, packing)
            }

            fn request_codes(&self, codes: CpuCodes) -> Result<CpuCodes> {
                Ok(codes)
            }

            fn receive_codes(&self, request: CpuCodes) -> Result<Vec<u32>> {
                Ok(request.into_values())
            }
        }

        impl SplineEngine for Cpu<$S> {
            type Envelope = CpuEnvelope<$S>;
            type SoftEnvelope = CpuSoftEnvelope<$S>;
            type Secant = CpuSecant<$S>;
            type Descent = CpuDescent<$S>;
            type Conjugate = CpuConjugate<$S>;
            type Gram = CpuGram<$S>;

            fn floor(&self) -> Result<Floor> {
                Ok(floor::floor())
            }

            fn envelope(
                &self,
                points: &CpuTensor<$S>,
                outputs: usize,
                center: &[f64],
                spec: &EnvelopeSpec,
            ) -> Result<CpuEnvelope<$S>> {
                Ok(CpuEnvelope::new(points, outputs, center, spec))
            }

            fn envelope_add(
                &self,
                envelope: &mut CpuEnvelope<$S>,
                jets: &Jets<CpuBuffer<$S>>,
                first: usize,
                slots: &[u32],
            ) -> Result<()> {
                envelope.add(jets, first, slots);
                Ok(())
            }

            fn envelope_finish(&self, envelope: CpuEnvelope<$S>) -> Result<EnvelopeValues<$S>> {
                Ok(envelope.finish())
            }

            fn soft_envelope(
                &self,
                points: &CpuTensor<$S>,
                outputs: usize,
                center: &[f64],
                spec: &SoftSpec,
            ) -> Result<CpuSoftEnvelope<$S>> {
                Ok(CpuSoftEnvelope::new(points, outputs, center, spec))
            }

            fn soft_envelope_add(
                &self,
                envelope: &mut CpuSoftEnvelope<$S>,
                jets: &Jets<CpuBuffer<$S>>,
            ) -> Result<()> {
                envelope.add(jets);
                Ok(())
            }

            fn soft_envelope_finish(&self, envelope: CpuSoftEnvelope<$S>) -> Result<SoftValues<$S>> {
                Ok(envelope.finish())
            }

            fn max_affine(
                &self,
                slopes: &CpuTensor<$S>,
                conjugates: &CpuTensor<$S>,
                points: &CpuTensor<$S>,
                spec: &MaxAffineSpec,
            ) -> Result<MaxAffineValues<$S>> {
                Ok(max_affine::max_affine(slopes, conjugates, points, spec))
            }

            fn conjugate(
                &self,
                values: &CpuTensor<$S>,
                axes: &[&[$S]],
                slopes: &[&[$S]],
            ) -> Result<CpuConjugate<$S>> {
                Ok(CpuConjugate::new(values, axes, slopes))
            }

            fn conjugate_values(&self, conjugate: &CpuConjugate<$S>) -> CpuTensor<$S> {
                conjugate.values()
            }

            fn conjugate_finish(&self, conjugate: CpuConjugate<$S>) -> Result<ConjugateValues<$S>> {
                Ok(conjugate.finish())
            }

            fn slice(
                &self,
                planes: &CpuTensor<$S>,
                across: &[$S],
                up: &[$S],
                search: Search,
            ) -> Result<SliceValues<$S>> {
                Ok(slice::slice(planes, across, up, search))
            }

            fn upload_codes(&self, values: &[u32], words: usize) -> Result<CpuCodes> {
                Ok(CpuCodes::of(values, words))
            }

            fn hamming(&self, codes: &CpuCodes, others: &CpuCodes, units: &[UnitWords]) -> Result<CpuCodes> {
                Ok(hamming::hamming(codes, others, units))
            }

            fn gram(&self, rows: usize, columns: usize) -> Result<CpuGram<$S>> {
                Ok(CpuGram::new(rows, columns))
            }

            fn gram_add(
                &self,
                gram: &mut CpuGram<$S>,
                x: (&Factors<CpuBuffer<$S>>, usize),
                y: (&Factors<CpuBuffer<$S>>, usize),
                upper: bool,
            ) -> Result<()> {
                gram.add(x, y, upper);
                Ok(())
            }

            fn gram_finish(&self, gram: CpuGram<$S>) -> Result<Vec<$S>> {
                Ok(gram.finish())
            }

            fn secant(
                &self,
                points: &CpuTensor<$S>,
                values: &CpuTensor<$S>,
                center: &[f64],
            ) -> Result<CpuSecant<$S>> {
                Ok(CpuSecant::new(points, values, center))
            }

            fn secant_add(&self, secant: &mut CpuSecant<$S>, jets: &Jets<CpuBuffer<$S>>) -> Result<()> {
                secant.add(jets);
                Ok(())
            }

            fn secant_finish(&self, secant: CpuSecant<$S>) -> Result<Vec<Curvature>> {
                Ok(secant.finish())
            }

            fn descent(&self, slopes: &[$S], conjugates: &[$S]) -> Result<CpuDescent<$S>> {
                Ok(CpuDescent::new(slopes, conjugates))
            }

            fn descent_active(
                &self,
                descent: &CpuDescent<$S>,
                points: &CpuTensor<$S>,
            ) -> Result<MaxAffineValues<$S>> {
                Ok(descent.active(points))
            }

            fn descend(
                &self,
                descent: &mut CpuDescent<$S>,
                points: &CpuTensor<$S>,
                pulls: &Pulls<$S>,
                step: Step,
            ) -> Result<()> {
                descent.descend(points, pulls, step);
                Ok(())
            }

            fn descent_finish(&self, descent: CpuDescent<$S>) -> Result<[Vec<$S>; 2]> {
                Ok(descent.finish())
            }

            fn series_product(
                &self,
                a: &CpuTensor<$S>,
                b: &CpuTensor<$S>,
                scale: Option<&CpuTensor<$S>>,
                table: &ProductTable,
            ) -> Result<CpuTensor<$S>> {
                Ok(series_product::series_product(a, b, scale, table))
            }
        }
    };
}

engine!(f32);
engine!(f64);
