//! Sums over axes.

use bytemuck::{Pod, Zeroable};

use crate::Result;
use crate::engine::axes::{self, Merged};

use super::pipelines::Kernel;
use super::{Gpu, GpuTensor, too_many_axes};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    first: u32,
    count: u32,
    length: u32,
    padding: u32,
    kept_lengths: [u32; 4],
    kept_strides: [u32; 4],
    reduced_lengths: [u32; 4],
    reduced_strides: [u32; 4],
}

/// Sums of so many elements are a workgroup's work, where a thread would walk them alone.
const LONG: usize = 1024;

/// Already from so many on where neighbours in memory are summed, which threads side by side would read apart.
const LONG_ALONG_MEMORY: usize = 64;

/// Elements of a line of memory that is read at once.
const LINE: usize = 8;

pub(super) fn sum(gpu: &Gpu, x: &GpuTensor, reduced: &[usize]) -> Result<GpuTensor> {
    let strides = axes::strides(x.shape());
    let part = |wanted: bool| {
        let axes: Vec<usize> = (0..x.shape().len()).filter(|axis| reduced.contains(axis) == wanted).collect();
        let of = |values: &[usize]| axes.iter().map(|&axis| values[axis]).collect::<Vec<usize>>();
        Merged::new(&of(x.shape()), [&of(&strides)])
    };
    let (kept, summed) = (part(false), part(true));
    let length: usize = summed.lengths.iter().product();
    let shape: Vec<usize> = x
        .shape()
        .iter()
        .enumerate()
        .map(|(axis, &length)| if reduced.contains(&axis) { 1 } else { length })
        .collect();
    let y = gpu.empty(shape)?;
    let lengths = |merged: &Merged<1>| {
        let unused = 4_usize.saturating_sub(merged.lengths.len());
        super::axes::<4>(&[&vec![1; unused], &merged.lengths[..]].concat())
    };
    let all = || {
        Some(Params {
            first: 0,
            count: y.len() as u32,
            length: length as u32,
            padding: 0,
            kept_lengths: lengths(&kept)?,
            kept_strides: super::axes(&kept.strides[0])?,
            reduced_lengths: lengths(&summed)?,
            reduced_strides: super::axes(&summed.strides[0])?,
        })
    };
    let params = all().ok_or_else(|| too_many_axes("a sum", x.shape()))?;
    let along_memory = summed.strides[0].last().is_some_and(|&stride| stride < LINE);
    // By lengths that are no batch: the two round differently.
    if length >= LONG || (length >= LONG_ALONG_MEMORY && along_memory) {
        gpu.0.run(Kernel::new("reduction", "sum_long"), &[x.buffer()], &[y.buffer()], &params, y.len())?;
    } else {
        gpu.each(Kernel::new("reduction", "sum"), &[x.buffer()], &[y.buffer()], &params, y.len())?;
    }
    Ok(y)
}
