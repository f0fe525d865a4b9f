//! The table of the kernels that networks take.

use std::sync::Arc;

use crate::activation::PiecewiseAffine;
use crate::engine::kernels::{Activation, Arithmetic, Epilogue, Packing, Window};
use crate::engine::{Engine, Tensor};
use crate::{Error, Result};

use super::{
    Gpu, GpuBuffer, GpuCodes, GpuFilters, GpuIndices, GpuMatrix, GpuRequest, GpuTensor, activation,
    arithmetic, convolution, layout, matmul, multiply, piecewise, pooling, reduction, select, softmax,
};

impl Engine for Gpu {
    type Scalar = f32;
    type Buffer = GpuBuffer;
    type Indices = GpuIndices;
    type Request = GpuRequest;
    type Matrix = GpuMatrix;
    type Filters = GpuFilters;
    type Codes = GpuCodes;
    type CodesRequest = GpuRequest;

    fn describe(&self) -> String {
        let software = if self.0.adapter.software { ", software" } else { "" };
        format!("{} ({}{software}), f32", self.0.adapter.name, self.0.adapter.backend)
    }

    fn parallelism(&self) -> usize {
        1
    }

    fn largest_tensor(&self) -> u64 {
        self.0.limits.tensor
    }

    fn synchronize(&self) -> Result<()> {
        self.0.wait()
    }

    fn upload(&self, values: &[f32], shape: &[usize]) -> Result<GpuTensor> {
        if shape.iter().product::<usize>() != values.len() {
            return Err(Error::Shape(format!(
                "{} values do not fill a tensor of shape {shape:?}",
                values.len()
            )));
        }
        Ok(Tensor::new(shape, Arc::new(self.constants(values)?)))
    }

    fn request(&self, tensor: &GpuTensor) -> Result<GpuRequest> {
        self.0.request(tensor.buffer(), tensor.len())
    }

    fn receive(&self, request: GpuRequest) -> Result<Vec<f32>> {
        self.0.receive(request)
    }

    fn in_flight(&self) -> usize {
        2
    }

    fn matrix(&self, values: &[f32], k: usize, n: usize) -> Result<GpuMatrix> {
        GpuMatrix::new(self, values, k, n)
    }

    fn matmul(
        &self,
        x: &GpuTensor,
        gate: Option<&GpuTensor>,
        matrix: &GpuMatrix,
        epilogue: Epilogue<'_, GpuBuffer>,
    ) -> Result<GpuTensor> {
        matmul::matmul(self, x, gate, matrix, epilogue)
    }

    fn multiply(&self, a: &GpuTensor, b: &GpuTensor, transposed: [bool; 2]) -> Result<GpuTensor> {
        multiply::multiply(self, a, b, transposed)
    }

    fn filters(
        &self,
        values: &[f32],
        shape: [usize; 4],
        window: Window,
        groups: usize,
    ) -> Result<GpuFilters> {
        Ok(GpuFilters::new(values, shape, window, groups))
    }

    fn convolve(
        &self,
        x: &GpuTensor,
        filters: &GpuFilters,
        epilogue: Epilogue<'_, GpuBuffer>,
    ) -> Result<GpuTensor> {
        convolution::convolve(self, x, filters, epilogue)
    }

    fn convolve_transposed(
        &self,
        y: &GpuTensor,
        gate: Option<&GpuTensor>,
        filters: &GpuFilters,
        size: [usize; 2],
        epilogue: Epilogue<'_, GpuBuffer>,
    ) -> Result<GpuTensor> {
        convolution::convolve_transposed(self, y, gate, filters, size, epilogue)
    }

    fn max_pool(&self, x: &GpuTensor, window: Window) -> Result<(GpuTensor, Tensor<GpuIndices>)> {
        pooling::max_pool(self, x, window)
    }

    fn max_pool_gather(&self, tangents: &GpuTensor, picked: &Tensor<GpuIndices>) -> Result<GpuTensor> {
        pooling::max_pool_gather(self, tangents, picked)
    }

    fn max_pool_scatter(
        &self,
        cotangents: &GpuTensor,
        picked: &Tensor<GpuIndices>,
        size: [usize; 2],
    ) -> Result<GpuTensor> {
        pooling::max_pool_scatter(self, cotangents, picked, size)
    }

    fn average_pool(&self, x: &GpuTensor, window: Window, counted: [usize; 4]) -> Result<GpuTensor> {
        pooling::average_pool(self, x, window, counted)
    }

    fn average_pool_transposed(
        &self,
        y: &GpuTensor,
        window: Window,
        counted: [usize; 4],
        size: [usize; 2],
    ) -> Result<GpuTensor> {
        pooling::average_pool_transposed(self, y, window, counted, size)
    }

    fn activate(&self, activation: Activation, order: u8, x: &GpuTensor) -> Result<GpuTensor> {
        activation::activate(self, activation, order, x)
    }

    fn piecewise(&self, function: &PiecewiseAffine, order: u8, x: &GpuTensor) -> Result<GpuTensor> {
        piecewise::piecewise(self, function, order, x)
    }

    fn arithmetic(&self, operation: Arithmetic, a: &GpuTensor, b: &GpuTensor) -> Result<GpuTensor> {
        arithmetic::arithmetic(self, operation, a, b)
    }

    fn sum(&self, x: &GpuTensor, axes: &[usize]) -> Result<GpuTensor> {
        reduction::sum(self, x, axes)
    }

    fn softmax(&self, x: &GpuTensor, axis: usize, log: bool) -> Result<GpuTensor> {
        softmax::softmax(self, x, axis, log)
    }

    fn select(&self, x: &GpuTensor, axis: usize, indices: &[u32]) -> Result<GpuTensor> {
        select::select(self, x, axis, indices)
    }

    fn select_transposed(
        &self,
        y: &GpuTensor,
        axis: usize,
        indices: &[u32],
        length: usize,
    ) -> Result<GpuTensor> {
        select::select_transposed(self, y, axis, indices, length)
    }

    fn permute(&self, x: &GpuTensor, order: &[usize]) -> Result<GpuTensor> {
        layout::permute(self, x, order)
    }

    fn pad(&self, x: &GpuTensor, before: &[isize], after: &[isize], value: f32) -> Result<GpuTensor> {
        layout::pad(self, x, before, after, value)
    }

    fn concat(&self, parts: &[&GpuTensor], axis: usize) -> Result<GpuTensor> {
        layout::concat(self, parts, axis)
    }

    fn codes(&self, rows: usize, words: usize) -> Result<GpuCodes> {
        GpuCodes::new(self, rows, words)
    }

    fn code_values(
        &self,
        codes: &mut GpuCodes,
        x: &GpuTensor,
        knots: &[f64],
        packing: Packing,
    ) -> Result<()> {
        codes.add_values(self, x, knots, packing)
    }

    fn code_picks(
        &self,
        codes: &mut GpuCodes,
        picked: &Tensor<GpuIndices>,
        window: Window,
        size: [usize; 2],
        packing: Packing,
    ) -> Result<()> {
        codes.add_picks(self, picked, window, size, packing)
    }

    fn request_codes(&self, codes: GpuCodes) -> Result<GpuRequest> {
        codes.request(self)
    }

    fn receive_codes(&self, request: GpuRequest) -> Result<Vec<u32>> {
        self.0.receive(request)
    }
}
