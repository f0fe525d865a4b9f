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
mod engine;
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
mod spline_engine;
mod stage;
mod tile;
mod wide;

use std::marker::PhantomData;
use std::sync::Arc;

use crate::Scalar;

use super::Tensor;

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
