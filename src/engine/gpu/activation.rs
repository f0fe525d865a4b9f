//! Elementwise activations and their first two derivatives.

use bytemuck::{Pod, Zeroable};

use crate::Result;
use crate::engine::kernels::Activation;

use super::pipelines::Kernel;
use super::{Gpu, GpuTensor};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    first: u32,
    count: u32,
    function: u32,
    order: u32,
    parameters: [f32; 4],
}

pub(super) fn activate(gpu: &Gpu, activation: Activation, order: u8, x: &GpuTensor) -> Result<GpuTensor> {
    let y = gpu.empty(x.shape())?;
    let (function, parameters) = number(activation);
    let params = Params { first: 0, count: x.len() as u32, function, order: u32::from(order), parameters };
    gpu.each(Kernel::new("activation", "activate"), &[x.buffer()], &[y.buffer()], &params, x.len())?;
    Ok(y)
}

/// As the shaders number functions, and their parameters.
pub(super) fn number(activation: Activation) -> (u32, [f32; 4]) {
    // Limits may be infinite, which shaders have no word for.
    let finite = |v: f64| (v as f32).clamp(f32::MIN, f32::MAX);
    let of = |a: f64, b: f64| [finite(a), finite(b), 0.0, 0.0];
    // In the order of their declaration.
    match activation {
        Activation::Relu => (0, of(0.0, 0.0)),
        Activation::LeakyRelu { slope } => (1, of(slope, 0.0)),
        Activation::Clip { low, high } => (2, of(low, high)),
        Activation::Abs => (3, of(0.0, 0.0)),
        Activation::HardSigmoid { alpha, beta } => (4, of(alpha, beta)),
        Activation::HardSwish => (5, of(0.0, 0.0)),
        Activation::Softsign => (6, of(0.0, 0.0)),
        Activation::Elu { alpha } => (7, of(alpha, 0.0)),
        Activation::Selu { alpha, gamma } => (8, of(alpha, gamma)),
        Activation::Celu { alpha } => (9, of(alpha, 0.0)),
        Activation::Sigmoid => (10, of(0.0, 0.0)),
        Activation::Tanh => (11, of(0.0, 0.0)),
        Activation::Softplus => (12, of(0.0, 0.0)),
        Activation::Gelu => (13, of(0.0, 0.0)),
        Activation::GeluTanh => (14, of(0.0, 0.0)),
        Activation::Silu => (15, of(0.0, 0.0)),
        Activation::Mish => (16, of(0.0, 0.0)),
        Activation::Erf => (17, of(0.0, 0.0)),
        Activation::Exp => (18, of(0.0, 0.0)),
        Activation::Log => (19, of(0.0, 0.0)),
        Activation::Sqrt => (20, of(0.0, 0.0)),
        Activation::Power { exponent } => (21, of(exponent, 0.0)),
        Activation::Sin => (22, of(0.0, 0.0)),
        Activation::Cos => (23, of(0.0, 0.0)),
    }
}

/// A function that products apply to their elements at once, or what says that there is none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fused {
    pub function: u32,
    pub parameters: [f32; 4],
    /// What is left to do when the tensor is whole.
    pub rest: Option<Activation>,
}

impl Fused {
    pub(super) fn new(activation: Option<Activation>) -> Self {
        const NONE: u32 = u32::MAX;
        match activation {
            Some(kink @ (Activation::Relu | Activation::LeakyRelu { .. } | Activation::Clip { .. })) => {
                let (function, parameters) = number(kink);
                Self { function, parameters, rest: None }
            }
            rest => Self { function: NONE, parameters: [0.0; 4], rest },
        }
    }

    pub(super) fn finish(&self, gpu: &Gpu, y: GpuTensor) -> Result<GpuTensor> {
        self.rest.map_or(Ok(y.clone()), |activation| activate(gpu, activation, 0, &y))
    }
}
