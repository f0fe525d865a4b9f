//! The memory of freed tensors, for the next ones.
//!
//! A fresh large result costs a page fault for every 4 KiB and a pass that writes zeros, on top of the pass that
//! writes the numbers.

use std::any::Any;
use std::ops::Deref;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytemuck::Pod;

/// Smaller buffers are left to the allocator, which keeps them warm itself.
const SMALLEST: usize = 1 << 15;

/// Bytes kept at most, of each type.
static LARGEST: AtomicUsize = AtomicUsize::new(64 << 20);

static F32: Mutex<Vec<Vec<f32>>> = Mutex::new(vec![]);
static F64: Mutex<Vec<Vec<f64>>> = Mutex::new(vec![]);
static U32: Mutex<Vec<Vec<u32>>> = Mutex::new(vec![]);

/// Lets the CPU keep so many bytes of freed tensors for the next ones, for each type; 64 MiB where nobody says.
pub fn keep_at_most(bytes: usize) {
    LARGEST.store(bytes, Ordering::Relaxed);
}

/// The elements of a tensor, which go back to the pool.
#[derive(Debug)]
pub struct Buffer<S> {
    values: Vec<S>,
    /// Where they go: known where the type is, as dropping asks nothing of it.
    give: fn(Vec<S>),
}

impl<S: Pod> Buffer<S> {
    pub(super) fn new(values: Vec<S>) -> Self {
        Self { values, give }
    }
}

impl<S> Buffer<S> {
    pub(super) fn as_mut_slice(&mut self) -> &mut [S] {
        &mut self.values
    }
}

impl<S> Deref for Buffer<S> {
    type Target = Vec<S>;
    fn deref(&self) -> &Vec<S> {
        &self.values
    }
}

impl<S> Drop for Buffer<S> {
    fn drop(&mut self) {
        (self.give)(std::mem::take(&mut self.values));
    }
}

/// Keeps the memory of a `Vec`, if it is worth it and there is room.
fn give<S: Pod>(values: Vec<S>) {
    if values.len() * size_of::<S>() < SMALLEST {
        return;
    }
    with(|kept: &mut Vec<Vec<S>>| {
        let bytes: usize = kept.iter().map(|v| v.capacity() * size_of::<S>()).sum();
        if bytes + values.capacity() * size_of::<S>() <= LARGEST.load(Ordering::Relaxed) {
            kept.push(values);
        }
    });
}

/// A `Vec` of this length whose elements have no meaning: the caller writes each.
pub(super) fn take<S: Pod>(length: usize) -> Vec<S> {
    let found = if length * size_of::<S>() < SMALLEST {
        None
    } else {
        with(|kept: &mut Vec<Vec<S>>| {
            let fits = |v: &Vec<S>| (length..=length + length / 4).contains(&v.capacity());
            // The last one freed is the warmest.
            let at = kept.iter().rposition(fits)?;
            Some(kept.swap_remove(at))
        })
        .flatten()
    };
    match found {
        Some(mut values) => {
            values.resize(length, S::zeroed());
            values
        }
        None => vec![S::zeroed(); length],
    }
}

/// Runs `f` on the buffers kept of this type; `None` where none are kept of it.
fn with<S: Pod, T>(f: impl FnOnce(&mut Vec<Vec<S>>) -> T) -> Option<T> {
    let pools: [&dyn Any; 3] = [&F32, &F64, &U32];
    let pool: &Mutex<Vec<Vec<S>>> = pools.into_iter().find_map(|pool| pool.downcast_ref())?;
    pool.lock().ok().map(|mut kept| f(&mut kept))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_comes_back_with_the_length_asked_for() {
        let length = 987_653;
        let values: Vec<f32> = take(length);
        let at = values.as_ptr();
        drop(Buffer::new(values));
        let again: Vec<f32> = take(length - 3);
        assert_eq!((again.as_ptr(), again.len()), (at, length - 3));
        drop(Buffer::new(again));
        let longer: Vec<f32> = take(length);
        assert_eq!(longer.len(), length);
        let other: Vec<f64> = take(length);
        assert_eq!(other.len(), length);
    }
}
