//! What the processor can do at most.

use std::hint::black_box;
use std::time::Instant;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::engine::Floor;

/// Chains of multiply-adds that hide their latency, in registers.
const CHAINS: usize = 12;

/// Steps of each chain, some hundredths of a second.
const STEPS: usize = 1 << 23;

/// Elements that are copied, beyond any cache.
const ELEMENTS: usize = 1 << 26;

struct MultiplyAdd;

impl WithSimd for MultiplyAdd {
    /// Flops done.
    type Output = f64;

    #[inline(always)]
    fn with_simd<V: Simd>(self, simd: V) -> f64 {
        let (factor, term) = (simd.splat_f32s(black_box(0.5)), simd.splat_f32s(black_box(0.5)));
        let mut sums = [term; CHAINS];
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = simd.mul_add_e_f32s(*sum, factor, term);
            }
        }
        let sum = sums.into_iter().fold(term, |a, b| simd.add_f32s(a, b));
        black_box(simd.reduce_sum_f32s(sum));
        (2 * STEPS * CHAINS * size_of::<V::f32s>() / size_of::<f32>()) as f64
    }
}

pub(super) fn floor() -> Floor {
    let threads = rayon::current_num_threads();
    let least = |run: &dyn Fn() -> f64| -> f64 {
        let rates = (0..4).map(|_| {
            let start = Instant::now();
            run() / start.elapsed().as_secs_f64()
        });
        rates.fold(0.0, f64::max)
    };
    let flops = least(&|| rayon::broadcast(|_| Arch::new().dispatch(MultiplyAdd)).iter().sum());
    let from = vec![1.0_f32; ELEMENTS];
    let to = std::cell::RefCell::new(vec![0.0_f32; ELEMENTS]);
    let bytes = least(&|| {
        let mut to = to.borrow_mut();
        let parts = to.par_chunks_mut(ELEMENTS.div_ceil(threads));
        parts
            .zip(from.par_chunks(ELEMENTS.div_ceil(threads)))
            .for_each(|(to, from)| to.copy_from_slice(from));
        (2 * ELEMENTS * size_of::<f32>()) as f64
    });
    Floor { flops, bytes }
}
