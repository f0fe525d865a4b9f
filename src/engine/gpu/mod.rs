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
mod engine;
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
mod spline_engine;

use std::fmt;
use std::sync::Arc;

use bytemuck::Pod;

use crate::{Error, Result};

use super::device::Adapter;
use super::{Engine, Tensor};

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::DeviceChoice;
    use crate::engine::kernels::Arithmetic;

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
