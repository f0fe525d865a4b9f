//! What happens to a product's elements while they are in L1: the sum of the pieces, the bias, the activation.

use crate::Scalar;
use crate::engine::kernels::{Activation, Epilogue};

use super::activation::activate;
use super::{CpuBuffer, CpuTensor};

/// The functions that cost a comparison or two: they run on the tile. Others run over the finished tensor.
#[derive(Debug, Clone, Copy)]
enum Kink<S> {
    None,
    Leaky(S),
    Clip(S, S),
}

/// The end of a product of tiles.
#[derive(Debug, Clone, Copy)]
pub(super) struct Finish<'a, S> {
    pub bias: Option<&'a [S]>,
    kink: Kink<S>,
    rest: Option<Activation>,
}

impl<'a, S: Scalar> Finish<'a, S> {
    pub(super) fn new(epilogue: Epilogue<'a, CpuBuffer<S>>) -> Self {
        let bias = epilogue.bias.map(|bias| bias.values());
        let (kink, rest) = match epilogue.activation {
            Some(Activation::Relu) => (Kink::Leaky(S::zero()), None),
            Some(Activation::LeakyRelu { slope }) => (Kink::Leaky(S::of(slope)), None),
            Some(Activation::Clip { low, high }) => (Kink::Clip(S::of(low), S::of(high)), None),
            rest => (Kink::None, rest),
        };
        Self { bias, kink, rest }
    }

    /// Applies the activation to a few elements. Comparisons are written so that NaN passes through.
    #[inline(always)]
    pub(super) fn activate(&self, values: &mut [S]) {
        let zero = S::zero();
        match self.kink {
            Kink::None => {}
            Kink::Leaky(slope) if slope == zero => each(values, |x| if x <= zero { zero } else { x }),
            Kink::Leaky(slope) => each(values, |x| if x <= zero { slope * x } else { x }),
            Kink::Clip(low, high) => each(values, |x| {
                let above = if x <= low { low } else { x };
                if above > high { high } else { above }
            }),
        }
    }

    /// What is left to do when the tensor is whole.
    pub(super) fn tensor(&self, y: CpuTensor<S>) -> CpuTensor<S> {
        match self.rest {
            Some(activation) => activate(activation, 0, &y),
            None => y,
        }
    }
}

/// Elements that loops over rows of tiles take at once: a row has 32 or fewer, too few for loops that the compiler
/// unrolls for long slices.
const LANES: usize = 8;

/// `x = f(x)` for each element.
#[inline(always)]
pub(super) fn each<S: Copy>(values: &mut [S], f: impl Fn(S) -> S) {
    let (chunks, rest) = values.as_chunks_mut::<LANES>();
    for chunk in chunks {
        for x in chunk {
            *x = f(*x);
        }
    }
    for x in rest {
        *x = f(*x);
    }
}

/// `x = y + x` for each pair.
#[inline(always)]
pub(super) fn add<S: Scalar>(values: &mut [S], others: &[S]) {
    let (chunks, rest) = values.as_chunks_mut::<LANES>();
    let (other_chunks, other_rest) = others.as_chunks::<LANES>();
    for (chunk, other) in chunks.iter_mut().zip(other_chunks) {
        for (x, &y) in chunk.iter_mut().zip(other) {
            *x = y + *x;
        }
    }
    for (x, &y) in rest.iter_mut().zip(other_rest) {
        *x = y + *x;
    }
}
