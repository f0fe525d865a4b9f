//! The memory of freed tensors, for the next ones of about their size.
//!
//! Commands run in the order in which they were recorded, so a buffer may be written again as soon as nobody holds it,
//! whether or not the device has read it yet.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::faults::Faults;

/// Buffers of one usage, by size class.
#[derive(Debug)]
pub(super) struct Pool {
    device: wgpu::Device,
    faults: Faults,
    usage: wgpu::BufferUsages,
    /// Bytes kept at most.
    most: u64,
    largest: u64,
    /// How often recorded commands were handed over.
    handed_over: Arc<AtomicU64>,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// With the count of hand-overs when they were freed.
    buffers: BTreeMap<u64, Vec<(wgpu::Buffer, u64)>>,
    bytes: u64,
}

/// A buffer that goes back to its pool.
#[derive(Debug)]
pub struct Pooled {
    buffer: wgpu::Buffer,
    pool: Weak<Pool>,
    /// The count of hand-overs when it was freed before.
    freed: Option<u64>,
}

impl Pool {
    pub(super) fn new(
        device: &wgpu::Device,
        faults: &Faults,
        usage: wgpu::BufferUsages,
        [most, largest]: [u64; 2],
        handed_over: &Arc<AtomicU64>,
    ) -> Arc<Self> {
        let (device, faults, handed_over) = (device.clone(), faults.clone(), Arc::clone(handed_over));
        Arc::new(Self { device, faults, usage, most, largest, handed_over, kept: Mutex::default() })
    }

    /// A buffer of at least so many bytes; what it holds is of no meaning.
    pub(super) fn take(self: &Arc<Self>, bytes: u64) -> Pooled {
        let class = class(bytes).min(self.largest.max(bytes));
        let found = self.with(|kept| {
            let found = kept.buffers.get_mut(&class).and_then(Vec::pop);
            if found.is_some() {
                kept.bytes -= class;
            }
            found
        });
        let (buffer, freed) = found.map(|(buffer, freed)| (buffer, Some(freed))).unwrap_or_else(|| {
            let (usage, mapped_at_creation) = (self.usage, false);
            let descriptor = wgpu::BufferDescriptor { label: None, size: class, usage, mapped_at_creation };
            (self.device.create_buffer(&descriptor), None)
        });
        Pooled { buffer, pool: Arc::downgrade(self), freed }
    }

    /// A buffer that does not come back unless it is [adopted](Self::adopt): one that will be mapped.
    pub(super) fn take_apart(self: &Arc<Self>, bytes: u64) -> Pooled {
        let mut pooled = self.take(bytes);
        pooled.pool = Weak::new();
        pooled
    }

    /// Lets a buffer come back.
    pub(super) fn adopt(self: &Arc<Self>, mut pooled: Pooled) {
        pooled.pool = Arc::downgrade(self);
    }

    /// Gives everything kept back to the device.
    pub(super) fn clear(&self) {
        self.with(|kept| *kept = Kept::default());
    }

    fn with<T>(&self, f: impl FnOnce(&mut Kept) -> T) -> T {
        f(&mut self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Pooled {
    pub(super) fn buffer(&self) -> &wgpu::Buffer {
        &self.buffer
    }

    /// Whether commands that were recorded and not handed over since `handed_over` may still read what it held before.
    pub(super) fn is_read(&self, handed_over: u64) -> bool {
        self.freed.is_some_and(|freed| freed >= handed_over)
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        let Some(pool) = self.pool.upgrade() else { return };
        // A device that failed has nothing worth keeping.
        if pool.faults.check().is_err() {
            return pool.clear();
        }
        let size = self.buffer.size();
        pool.with(|kept| {
            if kept.bytes + size <= pool.most {
                kept.bytes += size;
                let freed = pool.handed_over.load(Ordering::Relaxed);
                kept.buffers.entry(size).or_default().push((self.buffer.clone(), freed));
            }
        });
    }
}

/// The size class of a buffer: powers of two with three steps between, so a quarter is wasted at most.
fn class(bytes: u64) -> u64 {
    const SMALLEST: u64 = 256;
    let bytes = bytes.max(SMALLEST);
    let step = (bytes.next_power_of_two() / 8).max(SMALLEST / 4);
    bytes.next_multiple_of(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_waste_a_quarter_at_most() {
        for bytes in (1..5000).chain([1 << 20, (1 << 20) + 1, 3 << 30]) {
            let class = class(bytes);
            assert!(class >= bytes && class.is_multiple_of(4), "{bytes}");
            assert!(class <= 256 || class - bytes <= bytes / 4 + 64, "{bytes} in {class}");
            assert_eq!(super::class(class), class);
        }
    }
}
