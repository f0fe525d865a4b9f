//! Packed codes: which piece each unit picks, a few bits for each.

use pulp::Arch;
use rayon::prelude::*;

use crate::engine::kernels::{Packing, Window};
use crate::{Result, Scalar};

use super::arithmetic::SERIAL;
use super::wide::wide;
use super::{CpuIndices, CpuTensor, pool};

/// Packed codes in the making.
#[derive(Debug)]
pub struct CpuCodes {
    /// Of a row.
    words: usize,
    values: Vec<u32>,
}

impl CpuCodes {
    pub(super) fn new(rows: usize, words: usize) -> Self {
        Self { words, values: pool::take(rows * words) }
    }

    /// Those of the host.
    pub(super) fn of(values: &[u32], words: usize) -> Self {
        Self { words, values: values.to_vec() }
    }

    pub(super) fn words(&self) -> usize {
        self.words
    }

    pub(super) fn rows(&self) -> usize {
        self.values.len() / self.words.max(1)
    }

    pub(super) fn values(&self) -> &[u32] {
        &self.values
    }

    pub(super) fn values_mut(&mut self) -> &mut [u32] {
        &mut self.values
    }

    pub(super) fn into_values(self) -> Vec<u32> {
        self.values
    }

    /// Calls `pack` with the words of `packing` in each row and the elements of it in `x`, which has so many in a row.
    fn each<T: Sync>(
        &mut self,
        arch: Arch,
        packing: Packing,
        x: &[T],
        units: usize,
        pack: impl Fn(&mut [u32], &[T]) + Sync,
    ) {
        if units == 0 || self.values.is_empty() {
            return;
        }
        let (words, own) = (self.words, packing.first..packing.first + packing.words(units));
        let run = |rows: &mut [u32], x: &[T]| {
            wide(
                arch,
                #[inline(always)]
                || {
                    for (row, x) in rows.chunks_exact_mut(words).zip(x.chunks_exact(units)) {
                        pack(&mut row[own.clone()], x);
                    }
                },
            );
        };
        let together = SERIAL.div_ceil(units);
        self.values
            .par_chunks_mut(words * together)
            .zip(x.par_chunks(units * together))
            .for_each(|(rows, x)| run(rows, x));
    }

    /// How many of `knots` lie strictly below each element.
    pub(super) fn add_values<S: Scalar>(&mut self, x: &CpuTensor<S>, knots: &[f64], packing: Packing) {
        let knots: Vec<S> = knots.iter().map(|&knot| S::of(knot)).collect();
        let units = x.len() / x.rows().max(1);
        match knots[..] {
            [knot] => self.each(
                narrower(),
                packing,
                x.values(),
                units,
                #[inline(always)]
                |words, x| pack_signs(words, x, knot),
            ),
            _ => self.each(
                Arch::new(),
                packing,
                x.values(),
                units,
                #[inline(always)]
                |words, x| pack_counts(words, x, &knots, packing),
            ),
        }
    }

    /// Where in its window each pick lies, in row-major order.
    pub(super) fn add_picks(
        &mut self,
        picked: &CpuIndices,
        window: Window,
        size: [usize; 2],
        packing: Packing,
    ) -> Result<()> {
        let [height, width] = window.output(size)?;
        let units = picked.len() / picked.rows().max(1);
        let along = |axis: usize, position: usize, at: u32| {
            (at as usize + window.pads[axis] - position * window.strides[axis]) / window.dilations[axis]
        };
        self.each(
            Arch::new(),
            packing,
            picked.buffer(),
            units,
            #[inline(always)]
            |words, picked| {
                words.fill(0);
                let (mut word, mut shift, mut row, mut column) = (0, 0, 0, 0);
                for &pick in picked {
                    let (y, x) = (pick / size[1] as u32, pick % size[1] as u32);
                    let code = along(0, row, y) * window.kernel[1] + along(1, column, x);
                    words[word] |= (code as u32) << shift;
                    (word, shift) = packing.after(word, shift);
                    column += 1;
                    if column == width {
                        (row, column) = ((row + 1) % height, 0);
                    }
                }
            },
        );
        Ok(())
    }
}

/// The vectors that bits are packed with: not those of 512 bits, of which compilers make code of half the speed.
fn narrower() -> Arch {
    #[cfg(target_arch = "x86_64")]
    if let Some(simd) = pulp::x86::V3::try_new() {
        return Arch::V3(simd);
    }
    Arch::new()
}

/// A bit for each element, 1 above the knot. 256 units take 40 ns, a hundredth of a layer of as many inputs.
#[inline(always)]
fn pack_signs<S: Scalar>(words: &mut [u32], x: &[S], knot: S) {
    let (whole, rest) = x.as_chunks::<32>();
    for (word, x) in words.iter_mut().zip(whole) {
        *word = (0..32).fold(0, |word, i| word | u32::from(x[i] > knot) << i);
    }
    if let Some(word) = words.get_mut(whole.len()) {
        *word = rest.iter().enumerate().map(|(i, &x)| u32::from(x > knot) << i).sum();
    }
}

/// Elements whose pieces are counted together.
const TOGETHER: usize = 64;

/// Knots up to which pieces are counted, as of piecewise affine functions.
const COUNTED: usize = 1024;

#[inline(always)]
fn pack_counts<S: Scalar>(words: &mut [u32], x: &[S], knots: &[S], packing: Packing) {
    words.fill(0);
    let (mut word, mut shift) = (0, 0);
    for x in x.chunks(TOGETHER) {
        let mut codes = [0_u32; TOGETHER];
        if knots.len() > COUNTED {
            for (code, &u) in codes.iter_mut().zip(x) {
                *code = knots.partition_point(|&knot| knot < u) as u32;
            }
        } else {
            let mut all = [S::zero(); TOGETHER];
            all[..x.len()].copy_from_slice(x);
            for &knot in knots {
                for i in 0..TOGETHER {
                    codes[i] += u32::from(knot < all[i]);
                }
            }
        }
        for &code in &codes[..x.len()] {
            words[word] |= code << shift;
            (word, shift) = packing.after(word, shift);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(x: &[f64], rows: usize, knots: &[f64]) -> Vec<u32> {
        let packing = Packing { first: 0, bits: Packing::bits(knots.len() + 1) };
        let units = x.len() / rows;
        let mut codes = CpuCodes::new(rows, packing.words(units));
        codes.add_values(&CpuTensor::of([rows, units], x.to_vec()), knots, packing);
        codes.into_values()
    }

    #[test]
    fn a_knot_belongs_to_the_side_below() {
        assert_eq!(packed(&[0.0, 1.0, -1.0, 1e-300, -0.0], 1, &[0.0]), [0b01010]);
        // Two bits each, the first unit in the lowest.
        assert_eq!(packed(&[0.0, 0.5, 6.0, 7.0], 1, &[0.0, 6.0]), [0b10_01_01_00]);
    }

    #[test]
    fn units_do_not_straddle_words_nor_rows() {
        // Five pieces are three bits, ten units a word.
        let x: Vec<f64> = (0..22).map(|i| f64::from(i % 5)).collect();
        let codes = packed(&x, 2, &[0.5, 1.5, 2.5, 3.5]);
        let word = |codes: &[u32]| codes.iter().enumerate().map(|(i, c)| c << (3 * i)).sum::<u32>();
        assert_eq!(
            codes,
            [word(&[0, 1, 2, 3, 4, 0, 1, 2, 3, 4]), 0, word(&[1, 2, 3, 4, 0, 1, 2, 3, 4, 0]), 1]
        );
    }

    #[test]
    fn picks_are_counted_within_their_windows() {
        // A dilated window with padding and steps over 5 x 6: windows start at (-1, 0), (1, 0), (-1, 3), ..
        let window = Window::new([2, 3]).with_dilations([2, 1]).with_strides([2, 3]).with_pads([1, 0, 0, 0]);
        let size = [5, 6];
        let [height, width] = window.output(size).expect("it fits");
        assert_eq!([height, width], [2, 2]);
        // The last element of each window, which lies inside.
        let picks: Vec<u32> = vec![6 + 2, 6 + 5, 18 + 2, 18 + 5, 6, 6 + 4, 6, 18 + 3];
        let picked = CpuIndices::new([1, 2, 2, 2], picks.into());
        let packing = Packing { first: 0, bits: Packing::bits(6) };
        let mut codes = CpuCodes::new(1, 1);
        codes.add_picks(&picked, window, size, packing).expect("it fits");
        let found: Vec<u32> = (0..8).map(|i| codes.values[0] >> (3 * i) & 7).collect();
        assert_eq!(found, [5, 5, 5, 5, 3, 4, 0, 3]);
    }
}
