//! Images of the largest of planes.
//!
//! Tiles of pixels are taken in two steps: `coarse` lists the planes that can win somewhere in a large tile, and `fine`
//! what remains of them in a small one, whose pixels it computes. Lists of all large tiles of an image need not fit
//! memory: they are made for some tiles after the other.

use bytemuck::{Pod, Zeroable};

use crate::Result;
use crate::engine::kernels::{Search, SliceValues};

use super::pipelines::Kernel;
use super::pool::Pooled;
use super::{Gpu, GpuTensor, INVOCATIONS};

/// Pixels along a side of a fine tile.
const FINE: usize = 16;

/// Pixels along a side of a coarse tile at most.
const COARSE: usize = 128;

/// Coarse tiles that keep a large device busy.
const BUSY: usize = 512;

/// Planes that a list has room for at most. Where more remain, nearly all do.
const LISTED: usize = 4096;

/// Bytes of lists at most.
const LISTS: u64 = 64 << 20;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    first: u32,
    width: u32,
    height: u32,
    planes: u32,
    edge: u32,
    tile: u32,
    tiles: u32,
    capacity: u32,
}

const fn kernel(entry: &'static str) -> Kernel {
    Kernel::new("slice", entry)
}

/// At each pixel `(across[x], up[y])` the largest of `planes [M, 3]` and the first that attains it. Both coordinates
/// are monotonous.
pub(super) fn slice(
    gpu: &Gpu,
    planes: &GpuTensor,
    across: &[f32],
    up: &[f32],
    search: Search,
) -> Result<SliceValues<f32>> {
    let mut image = SliceValues { values: vec![], pieces: vec![], scored: 0 };
    if across.is_empty() {
        return Ok(image);
    }
    let columns = gpu.constants(across)?;
    // Strips of rows whose results can be bound, of whole tiles where these are not wider than that.
    let most = (gpu.0.limits.tensor / 4) as usize / across.len();
    let most = if most > COARSE { most / COARSE * COARSE } else { most.max(1) };
    for rows in up.chunks(most) {
        let up = gpu.constants(rows)?;
        let strip = Strip {
            planes: if planes.is_empty() { &gpu.0.nothing } else { planes.buffer() },
            across: &columns,
            up: &up,
            size: [across.len(), rows.len()],
            number: planes.rows(),
        };
        let part = match search {
            Search::Pruned => strip.pruned(gpu)?,
            Search::Exhaustive => strip.exhaustive(gpu)?,
        };
        image.values.extend(part.values);
        image.pieces.extend(part.pieces);
        image.scored += part.scored;
    }
    Ok(image)
}

/// Some rows of an image.
struct Strip<'a> {
    /// `[M, 3]`
    planes: &'a Pooled,
    /// `[W]`
    across: &'a Pooled,
    /// `[H]`
    up: &'a Pooled,
    /// W and H.
    size: [usize; 2],
    /// M.
    number: usize,
}

impl Strip<'_> {
    fn params(&self) -> Params {
        let [width, height] = self.size.map(|length| length as u32);
        Params { width, height, planes: self.number as u32, ..Params::zeroed() }
    }

    fn pixels(&self) -> usize {
        self.size.iter().product()
    }

    fn exhaustive(&self, gpu: &Gpu) -> Result<SliceValues<f32>> {
        let pixels = self.pixels();
        let (values, pieces) = (gpu.empty([pixels])?, gpu.empty([pixels])?);
        let reads = [self.across, self.up, self.planes];
        let writes: [&Pooled; 2] = [values.buffer(), pieces.buffer()];
        gpu.0.run(kernel("exhaustive"), &reads, &writes, &self.params(), pixels.div_ceil(INVOCATIONS))?;
        let (values, pieces) =
            (gpu.0.request(values.buffer(), pixels)?, gpu.0.request(pieces.buffer(), pixels)?);
        Ok(SliceValues {
            values: gpu.0.receive(values)?,
            pieces: gpu.0.receive(pieces)?,
            scored: pixels as u64 * self.number as u64,
        })
    }

    fn pruned(&self, gpu: &Gpu) -> Result<SliceValues<f32>> {
        let pixels = self.pixels();
        let (edge, tiles) = coarse_tiles(self.size);
        let side = edge / FINE;
        let room = (LISTS.min(gpu.0.scratch).min(gpu.0.limits.tensor) / 4) as usize;
        let capacity = self.number.min(LISTED).min(room).max(1);
        let step = (room / capacity).clamp(1, tiles);
        let (values, pieces) = (gpu.empty([pixels])?, gpu.empty([pixels])?);
        let work = gpu.empty([tiles * side * side, 2])?;
        let (lists, counts) = (gpu.empty([step, capacity])?, gpu.empty([step])?);
        let params = Params { edge: edge as u32, capacity: capacity as u32, ..self.params() };
        for tile in (0..tiles).step_by(step) {
            let count = step.min(tiles - tile);
            let params = Params { tile: tile as u32, tiles: count as u32, ..params };
            let reads = [self.across, self.up, self.planes];
            let writes: [&Pooled; 2] = [lists.buffer(), counts.buffer()];
            gpu.0.run(kernel("coarse"), &reads, &writes, &params, count)?;
            let reads: [&Pooled; 5] = [self.across, self.up, self.planes, lists.buffer(), counts.buffer()];
            let writes: [&Pooled; 3] = [values.buffer(), pieces.buffer(), work.buffer()];
            gpu.0.run(kernel("fine"), &reads, &writes, &params, count * side * side)?;
        }
        let (values, pieces, work) = (
            gpu.0.request(values.buffer(), pixels)?,
            gpu.0.request(pieces.buffer(), pixels)?,
            gpu.0.request(work.buffer(), work.len())?,
        );
        let (values, pieces) = (gpu.0.receive(values)?, gpu.0.receive(pieces)?);
        let work: Vec<u32> = gpu.0.receive(work)?;
        // Of each fine tile the scores of pixels, and the planes tested.
        let scored = work.iter().step_by(2).map(|&scores| u64::from(scores)).sum();
        Ok(SliceValues { values, pieces, scored })
    }
}

/// Pixels along a side of the coarse tiles of an image, as many as leave enough tiles, and how many tiles there are.
fn coarse_tiles(size: [usize; 2]) -> (usize, usize) {
    let tiles = |edge: usize| size.iter().map(|length| length.div_ceil(edge)).product::<usize>();
    let mut edge = COARSE;
    while edge > FINE && tiles(edge) < BUSY {
        edge /= 2;
    }
    (edge, tiles(edge))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coarse_tiles_keep_a_device_busy() {
        assert_eq!(coarse_tiles([1, 1]), (16, 1));
        assert_eq!(coarse_tiles([1024, 1024]), (32, 1024));
        assert_eq!(coarse_tiles([4096, 2048]), (128, 512));
        assert_eq!(coarse_tiles([4096, 2047]), (128, 512));
        assert_eq!(coarse_tiles([4096, 1920]), (64, 1920));
    }
}
