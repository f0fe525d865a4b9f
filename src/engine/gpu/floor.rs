//! What the device can do at most.

use std::time::Instant;

use bytemuck::{Pod, Zeroable};

use crate::Result;
use crate::engine::Floor;

use super::pipelines::Kernel;
use super::{Gpu, INVOCATIONS};

/// Invocations of the loop of multiply-adds: enough for any device.
const CHAINS: usize = 1 << 20;

/// Flops that an invocation does in a step.
const FLOPS: usize = 64;

/// Runs are made longer until they take so many seconds.
const LONG: f64 = 0.05;

/// Bytes that are copied at most.
const BYTES: u64 = 256 << 20;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    first: u32,
    count: u32,
}

pub(super) fn floor(gpu: &Gpu) -> Result<Floor> {
    // Powers of a factor below 1 stay numbers.
    let constants = gpu.constants(&[0.5_f32; 8])?;
    let result = gpu.empty([4 * CHAINS])?;
    let mut flops = 0.0;
    let mut steps = 16;
    while flops == 0.0 {
        let params = Params { first: 0, count: steps as u32 };
        let seconds = least(gpu, || {
            gpu.each(Kernel::new("floor", "multiply_add"), &[&constants], &[result.buffer()], &params, CHAINS)
        })?;
        if seconds >= LONG {
            flops = (CHAINS * steps * FLOPS) as f64 / seconds;
        }
        steps *= 4;
    }
    let vectors = (BYTES.min(gpu.0.limits.tensor) / 16) as usize;
    let (from, to) = (gpu.empty([4 * vectors])?, gpu.empty([4 * vectors])?);
    let params = Params { first: 0, count: vectors as u32 };
    let seconds = least(gpu, || {
        let groups = vectors.div_ceil(INVOCATIONS);
        gpu.0.run(Kernel::new("floor", "copy"), &[from.buffer()], &[to.buffer()], &params, groups)
    })?;
    Ok(Floor { flops, bytes: 32.0 * vectors as f64 / seconds })
}

/// The least time of a few runs, after one that does not count.
fn least(gpu: &Gpu, run: impl Fn() -> Result<()>) -> Result<f64> {
    let mut least = f64::INFINITY;
    for repeat in 0..4 {
        gpu.0.wait()?;
        let start = Instant::now();
        run()?;
        gpu.0.wait()?;
        if repeat > 0 {
            least = least.min(start.elapsed().as_secs_f64());
        }
    }
    Ok(least)
}
