//! The table of the kernels that networks take.

use std::sync::Arc;

use crate::activation::PiecewiseAffine;
use crate::engine::Engine;
use crate::engine::kernels::{Activation, Arithmetic, Epilogue, Packing, Window};
use crate::{Error, Result, Scalar};

use super::{
    Cpu, CpuBuffer, CpuCodes, CpuFilters, CpuIndices, CpuMatrix, CpuTensor, activation, arithmetic,
    convolution, layout, matmul, multiply, piecewise, pool, pooling, reduction, select, softmax,
};

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
    };
}

engine!(f32);
engine!(f64);
