//! The engine that computes on a graphics device, through wgpu: each kernel the twin of the CPU's of the same name,
//! its shader in `shaders/` under that name too.
//!
//! Kernels are recorded and run while the host goes on; reading back waits for them, and their errors surface there.
//! No tensor is larger than one binding ([`Engine::largest_tensor`]), which plans see to; weights that are larger are
//! kept in parts.

mod activation;
mod arithmetic;
mod code;
mod conjugate;
mod convolution;
mod descent;
mod device;
mod distances;
mod envelope;
mod faults;
mod floor;
mod gram;
mod hamming;
mod layout;
mod matmul;
mod max_affine;
mod multiply;
mod pairs;
mod piecewise;
mod pipelines;
mod pool;
mod pooling;
mod reduction;
mod secant;
mod select;
mod series_product;
mod shaders;
mod slice;
mod soft_envelope;
mod softmax;

use std::fmt;
use std::sync::Arc;

use bytemuck::Pod;

use crate::activation::PiecewiseAffine;
use crate::{Error, Result};

use super::device::Adapter;
use super::kernels::{
    Activation, Arithmetic, ConjugateValues, Curvature, EnvelopeSpec, EnvelopeValues, Epilogue, Factors,
    Jets, MaxAffineSpec, MaxAffineValues, Packing, ProductTable, Pulls, Search, SliceValues, SoftSpec,
    SoftValues, Step, UnitWords, Window,
};
use super::{Engine, Floor, SplineEngine, Tensor};

use device::Device;
use pipelines::Kernel;

pub use code::GpuCodes;
pub use conjugate::GpuConjugate;
pub use convolution::GpuFilters;
pub use descent::GpuDescent;
pub use device::{GpuRequest, Trial};
pub use envelope::GpuEnvelope;
pub use gram::GpuGram;
pub use matmul::GpuMatrix;
pub use pool::Pooled;
pub use pooling::GpuIndices;
pub use secant::GpuSecant;
pub use soft_envelope::GpuSoftEnvelope;

/// A buffer of the GPU engine.
pub type GpuBuffer = Arc<Pooled>;

/// A tensor of the GPU engine.
pub type GpuTensor = Tensor<GpuBuffer>;

/// A graphics device as an engine, computing in `f32`. Clones share it.
#[derive(Clone)]
pub struct Gpu(Arc<Device>);

impl fmt::Debug for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gpu({})", self.describe())
    }
}

/// Invocations of a workgroup, in every kernel.
const INVOCATIONS: usize = 256;

impl Gpu {
    /// Opens the adapter with this number (as [`device::adapters`](super::device::adapters) counts them). A part of
    /// `memory` bytes is the engine's own: for scratch, and for the next tensors.
    ///
    /// # Errors
    /// [`Error::Device`] where there is no such adapter, or it lacks what kernels need, or its driver refuses.
    pub fn open(number: usize, memory: u64) -> Result<Self> {
        let gpu = Self::open_for_trial(number, memory, Trial::default())?;
        // A software adapter compiles with the threads that it computes on.
        if !gpu.adapter().software {
            let device = Arc::clone(&gpu.0);
            std::thread::spawn(move || device.pipelines.warm_up());
        }
        Ok(gpu)
    }

    /// The same, with a device that is made worse than it is.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_for_trial(number: usize, memory: u64, trial: Trial) -> Result<Self> {
        Ok(Self(Arc::new(Device::open(number, memory, trial)?)))
    }

    /// The adapter.
    pub fn adapter(&self) -> &Adapter {
        &self.0.adapter
    }

    /// A tensor whose elements have no meaning yet.
    fn empty(&self, shape: impl Into<Vec<usize>>) -> Result<GpuTensor> {
        let shape = shape.into();
        let buffer = self.0.allocate(shape.iter().product())?;
        Ok(Tensor::new(shape, Arc::new(buffer)))
    }

    /// Numbers for a kernel, of either type.
    fn constants<T: Pod>(&self, values: &[T]) -> Result<Pooled> {
        self.0.upload(bytemuck::cast_slice(values))
    }

    /// Runs a kernel over so many elements, one for each invocation.
    fn each<P: Pod>(
        &self,
        kernel: Kernel,
        reads: &[&Pooled],
        writes: &[&Pooled],
        parameters: &P,
        elements: usize,
    ) -> Result<()> {
        self.0.run(kernel, reads, writes, parameters, elements.div_ceil(INVOCATIONS))
    }
}

/// The first axes of a kernel that takes up to `N`, fastest first.
fn axes<const N: usize>(slowest_first: &[usize]) -> Option<[u32; N]> {
    let mut axes = [0; N];
    for (i, &axis) in slowest_first.iter().rev().enumerate() {
        *axes.get_mut(i)? = axis as u32;
    }
    Some(axes)
}

/// More axes than a kernel takes remain where neighbours cannot be merged.
fn too_many_axes(what: &str, shape: &[usize]) -> Error {
    Error::Shape(format!(
        "{what} of shape {shape:?} walks more axes than the graphics kernels take; use --device cpu"
    ))
}

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

impl SplineEngine for Gpu {
    type Envelope = GpuEnvelope;
    type SoftEnvelope = GpuSoftEnvelope;
    type Secant = GpuSecant;
    type Descent = GpuDescent;
    type Conjugate = GpuConjugate;
    type Gram = GpuGram;

    fn floor(&self) -> Result<Floor> {
        floor::floor(self)
    }

    fn spline_scratch(&self) -> u64 {
        self.0.scratch
    }

    fn envelope(
        &self,
        points: &GpuTensor,
        outputs: usize,
        center: &[f64],
        spec: &EnvelopeSpec,
    ) -> Result<GpuEnvelope> {
        GpuEnvelope::new(self, points, outputs, center, spec)
    }

    fn envelope_add(
        &self,
        envelope: &mut GpuEnvelope,
        jets: &Jets<GpuBuffer>,
        first: usize,
        slots: &[u32],
    ) -> Result<()> {
        envelope.add(self, jets, first, slots)
    }

    fn envelope_finish(&self, envelope: GpuEnvelope) -> Result<EnvelopeValues<f32>> {
        envelope.finish(self)
    }

    fn soft_envelope(
        &self,
        points: &GpuTensor,
        outputs: usize,
        center: &[f64],
        spec: &SoftSpec,
    ) -> Result<GpuSoftEnvelope> {
        GpuSoftEnvelope::new(self, points, outputs, center, spec)
    }

    fn soft_envelope_add(&self, envelope: &mut GpuSoftEnvelope, jets: &Jets<GpuBuffer>) -> Result<()> {
        envelope.add(self, jets)
    }

    fn soft_envelope_finish(&self, envelope: GpuSoftEnvelope) -> Result<SoftValues<f32>> {
        envelope.finish(self)
    }

    fn max_affine(
        &self,
        slopes: &GpuTensor,
        conjugates: &GpuTensor,
        points: &GpuTensor,
        spec: &MaxAffineSpec,
    ) -> Result<MaxAffineValues<f32>> {
        max_affine::max_affine(self, slopes, conjugates, points, spec)
    }

    fn conjugate(&self, values: &GpuTensor, axes: &[&[f32]], slopes: &[&[f32]]) -> Result<GpuConjugate> {
        GpuConjugate::new(self, values, axes, slopes)
    }

    fn conjugate_values(&self, conjugate: &GpuConjugate) -> GpuTensor {
        conjugate.values()
    }

    fn conjugate_finish(&self, conjugate: GpuConjugate) -> Result<ConjugateValues<f32>> {
        conjugate.finish(self)
    }

    fn slice(
        &self,
        planes: &GpuTensor,
        across: &[f32],
        up: &[f32],
        search: Search,
    ) -> Result<SliceValues<f32>> {
        slice::slice(self, planes, across, up, search)
    }

    fn upload_codes(&self, values: &[u32], words: usize) -> Result<GpuCodes> {
        GpuCodes::of(self, values, words)
    }

    fn hamming(&self, codes: &GpuCodes, others: &GpuCodes, units: &[UnitWords]) -> Result<GpuCodes> {
        hamming::hamming(self, codes, others, units)
    }

    fn gram(&self, rows: usize, columns: usize) -> Result<GpuGram> {
        GpuGram::new(self, rows, columns)
    }

    fn gram_add(
        &self,
        gram: &mut GpuGram,
        x: (&Factors<GpuBuffer>, usize),
        y: (&Factors<GpuBuffer>, usize),
        upper: bool,
    ) -> Result<()> {
        gram.add(self, x, y, upper)
    }

    fn gram_finish(&self, gram: GpuGram) -> Result<Vec<f32>> {
        self.download(gram.values())
    }

    fn secant(&self, points: &GpuTensor, values: &GpuTensor, center: &[f64]) -> Result<GpuSecant> {
        GpuSecant::new(self, points, values, center)
    }

    fn secant_add(&self, secant: &mut GpuSecant, jets: &Jets<GpuBuffer>) -> Result<()> {
        secant.add(self, jets)
    }

    fn secant_finish(&self, secant: GpuSecant) -> Result<Vec<Curvature>> {
        secant.finish(self)
    }

    fn descent(&self, slopes: &[f32], conjugates: &[f32]) -> Result<GpuDescent> {
        GpuDescent::new(self, slopes, conjugates)
    }

    fn descent_active(&self, descent: &GpuDescent, points: &GpuTensor) -> Result<MaxAffineValues<f32>> {
        descent.active(self, points)
    }

    fn descend(
        &self,
        descent: &mut GpuDescent,
        points: &GpuTensor,
        pulls: &Pulls<f32>,
        step: Step,
    ) -> Result<()> {
        descent.descend(self, points, pulls, step)
    }

    fn descent_finish(&self, descent: GpuDescent) -> Result<[Vec<f32>; 2]> {
        descent.finish(self)
    }

    fn series_product(
        &self,
        a: &GpuTensor,
        b: &GpuTensor,
        scale: Option<&GpuTensor>,
        table: &ProductTable,
    ) -> Result<GpuTensor> {
        series_product::series_product(self, a, b, scale, table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::DeviceChoice;

    #[test]
    fn kernels_that_are_compiled_ahead_are_there() {
        let adapters = crate::engine::device::adapters();
        let Ok(Some(number)) = DeviceChoice::Gpu(None).resolve(&adapters) else { return };
        let gpu = Gpu::open(number, 1 << 26).expect("the adapter opens");
        gpu.0.pipelines.warm_up();
        gpu.synchronize().expect("every entry point and its bindings are as the shaders say");
    }

    #[test]
    fn a_lost_device_is_an_error_that_names_what_ran() {
        let adapters = crate::engine::device::adapters();
        let Ok(Some(number)) = DeviceChoice::Gpu(None).resolve(&adapters) else { return };
        let gpu = Gpu::open(number, 1 << 26).expect("the adapter opens");
        let x = gpu.upload(&[1.0; 100], &[10, 10]).expect("100 numbers fit");
        gpu.0.destroy();
        let y = gpu.arithmetic(Arithmetic::Add, &x, &x);
        let error = y.and_then(|y| gpu.download(&y)).expect_err("nothing runs on a lost device").to_string();
        assert!(error.contains("arithmetic") && error.contains("--memory"), "{error}");
        assert!(gpu.upload(&[1.0], &[1]).is_err(), "a lost device stays lost");
    }
}
