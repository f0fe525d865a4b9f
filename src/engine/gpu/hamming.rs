//! In how many units codes differ: 4,096 pairs for each workgroup.

use bytemuck::{Pod, Zeroable};

use crate::Result;
use crate::engine::kernels::UnitWords;

use super::Gpu;
use super::code::GpuCodes;
use super::pipelines::Kernel;

/// Rows and others that a workgroup takes.
const SIDE: usize = 64;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    first: u32,
    rows: u32,
    others: u32,
    words: u32,
    start: u32,
    end: u32,
    bits: u32,
    lowest: u32,
    add: u32,
}

/// What [`SplineEngine::hamming`](crate::engine::SplineEngine::hamming) says.
pub(super) fn hamming(
    gpu: &Gpu,
    codes: &GpuCodes,
    others: &GpuCodes,
    units: &[UnitWords],
) -> Result<GpuCodes> {
    let counts = GpuCodes::new(gpu, codes.rows(), others.rows())?;
    let groups = codes.rows().div_ceil(SIDE) * others.rows().div_ceil(SIDE);
    let nothing = [UnitWords { words: 0..0, bits: 1 }];
    for (i, units) in (if units.is_empty() { &nothing } else { units }).iter().enumerate() {
        let params = Params {
            first: 0,
            rows: codes.rows() as u32,
            others: others.rows() as u32,
            words: codes.words() as u32,
            start: units.words.start as u32,
            end: units.words.end as u32,
            bits: units.bits,
            lowest: units.packing().lowest(),
            add: u32::from(i > 0),
        };
        let kernel = Kernel::new("hamming", "hamming");
        gpu.0.run(kernel, &[codes.buffer(), others.buffer()], &[counts.buffer()], &params, groups)?;
    }
    Ok(counts)
}
