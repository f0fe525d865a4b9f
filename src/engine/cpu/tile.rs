//! Register tiles: a few rows of one operand times two vectors of columns of the other.
//!
//! Both the dense product and the convolution are loops over such tiles. What a tile reads lies in memory in the
//! order in which it reads it (see [`Shape`]), so a tile runs at the rate of its multiplications.

use std::any::TypeId;
use std::ops::{Deref, DerefMut, Range};

use pulp::{Arch, Simd, WithSimd};

use crate::Scalar;

use super::pool::{self, Buffer};

/// The left operand of a tile is laid out `[depth / CHUNK, rows, CHUNK]`: row by row it is copied whole vectors at a
/// time, and every address in the inner loop is one register plus a constant.
pub(super) const CHUNK: usize = 16;

/// Vectors in a row of a tile.
pub(super) const VECTORS: usize = 2;

/// The inner dimension is cut into equal pieces of at most this length: a piece of the right operand (64 KiB with
/// vectors of 64 bytes) and of the left one stay in L2 while they are reused. The cut depends on the inner
/// dimension alone, so an element's sum has one order whatever the batch, the tile and the number of threads.
pub(super) const DEPTH: usize = 512;

/// Bytes of a cache line and of the widest vector: a vector that crosses lines costs two loads.
const LINE: usize = 64;

/// A buffer that begins on a cache line.
#[derive(Debug)]
pub(super) struct Aligned<S> {
    values: Buffer<S>,
    start: usize,
    length: usize,
}

impl<S: Scalar> Aligned<S> {
    pub(super) fn new(length: usize) -> Self {
        let mut new = Self { values: Buffer::new(vec![]), start: 0, length: 0 };
        new.resize(length);
        new
    }

    /// Makes it so long; what it holds then is of no meaning.
    pub(super) fn resize(&mut self, length: usize) {
        let spare = LINE / size_of::<S>();
        if self.values.len() < length + spare {
            // A power of two comes back from the pool whichever layer gave it there.
            self.values = Buffer::new(pool::take((length + spare).next_power_of_two()));
            self.start = self.values.as_ptr().align_offset(LINE).min(spare);
        }
        self.length = length;
    }
}

impl<S> Deref for Aligned<S> {
    type Target = [S];
    fn deref(&self) -> &[S] {
        &self.values[self.start..][..self.length]
    }
}

impl<S> DerefMut for Aligned<S> {
    fn deref_mut(&mut self) -> &mut [S] {
        &mut self.values.as_mut_slice()[self.start..][..self.length]
    }
}

/// What fits the registers of this machine.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub arch: Arch,
    /// Rows of a tile at most: 14 with 32 registers, 6 with 16 (28 and 12 accumulators keep two multipliers of
    /// latency 4 busy and leave registers for the operands).
    pub rows: usize,
    /// Columns of a tile, exactly: the right operand is laid out in panels `[depth, width]`.
    pub width: usize,
}

impl Shape {
    pub(super) fn new<S>() -> Self {
        Self::of::<S>(Arch::new())
    }

    fn of<S>(arch: Arch) -> Self {
        struct Registers;
        impl WithSimd for Registers {
            type Output = (usize, usize);
            #[inline(always)]
            fn with_simd<V: Simd>(self, _: V) -> Self::Output {
                (V::REGISTER_COUNT, size_of::<V::f32s>())
            }
        }
        let (registers, bytes) = arch.dispatch(Registers);
        let lanes = (bytes / size_of::<S>()).max(1);
        Self { arch, rows: if registers < 32 { 6 } else { 14 }, width: VECTORS * lanes }
    }

    /// `rows` rows in as few tiles as possible, all of about the same height: that height.
    pub(super) fn height(&self, rows: usize) -> usize {
        rows.div_ceil(rows.div_ceil(self.rows).max(1)).max(1)
    }
}

/// The pieces of an inner dimension of `count` items of `size` elements each; at least one piece, if an empty one.
pub(super) fn pieces(count: usize, size: usize) -> impl ExactSizeIterator<Item = Range<usize>> + Clone {
    let most = (DEPTH / size.max(1)).max(1);
    let number = count.div_ceil(most).max(1);
    let length = count.div_ceil(number);
    (0..number).map(move |i| i * length..((i + 1) * length).min(count))
}

/// Elements of `rows` rows of a left operand.
pub(super) fn left_len(rows: usize, depth: usize) -> usize {
    depth.next_multiple_of(CHUNK) * rows
}

/// Where a left operand of `rows` rows has element `k` of row `row`.
pub(super) fn left_at(rows: usize, row: usize, k: usize) -> usize {
    (k / CHUNK * rows + row) * CHUNK + k % CHUNK
}

/// Lays out row `row` of a left operand of `rows` rows; what lies past its end in the last chunk has no meaning.
#[inline(always)]
pub(super) fn lay_out<S: Scalar>(values: &[S], row: usize, rows: usize, to: &mut [S]) {
    let (chunks, rest) = values.as_chunks::<CHUNK>();
    for (i, chunk) in chunks.iter().enumerate() {
        to[left_at(rows, row, i * CHUNK)..][..CHUNK].copy_from_slice(chunk);
    }
    if !rest.is_empty() {
        to[left_at(rows, row, chunks.len() * CHUNK)..][..rest.len()].copy_from_slice(rest);
    }
}

/// Which rows of the right operand a tile runs over.
#[derive(Debug, Clone, Copy)]
pub(super) enum Order<'a> {
    /// All, as they lie: `[depth, width]`.
    Panel,
    /// Those alone whose numbers are given.
    Active(&'a [u32]),
    /// Those that begin at these elements.
    Offsets(&'a [u32]),
}

/// `out [rows, width] = left [rows, depth] @ right [depth, width]`, or adds that to it.
pub(super) fn multiply<S: Scalar>(
    shape: Shape,
    rows: usize,
    left: &[S],
    right: &[S],
    order: Order<'_>,
    add: bool,
    out: &mut [S],
) {
    use bytemuck::{cast_slice, cast_slice_mut};
    if TypeId::of::<S>() == TypeId::of::<f32>() {
        let (left, right, out) = (cast_slice(left), cast_slice(right), cast_slice_mut(out));
        shape.arch.dispatch(Product::<f32> { rows, left, right, order, add, out });
    } else {
        let (left, right, out) = (cast_slice(left), cast_slice(right), cast_slice_mut(out));
        shape.arch.dispatch(Product::<f64> { rows, left, right, order, add, out });
    }
}

/// A scalar with its vectors.
pub(super) trait Element: Scalar {
    type Vector<V: Simd>: Copy;
    type Mask<V: Simd>: Copy;
    fn splat<V: Simd>(simd: V, value: Self) -> Self::Vector<V>;
    /// `a * b + c`, fused where the machine can.
    fn multiply_add<V: Simd>(
        simd: V,
        a: Self::Vector<V>,
        b: Self::Vector<V>,
        c: Self::Vector<V>,
    ) -> Self::Vector<V>;
    fn plus<V: Simd>(simd: V, a: Self::Vector<V>, b: Self::Vector<V>) -> Self::Vector<V>;
    fn subtract<V: Simd>(simd: V, a: Self::Vector<V>, b: Self::Vector<V>) -> Self::Vector<V>;
    fn absolute<V: Simd>(simd: V, a: Self::Vector<V>) -> Self::Vector<V>;
    fn maximum<V: Simd>(simd: V, a: Self::Vector<V>, b: Self::Vector<V>) -> Self::Vector<V>;
    /// Where `a > b`.
    fn greater<V: Simd>(simd: V, a: Self::Vector<V>, b: Self::Vector<V>) -> Self::Mask<V>;
    /// Lanes of `a` where the mask says so, else of `b`; bits stay as they are.
    fn select<V: Simd>(
        simd: V,
        mask: Self::Mask<V>,
        a: Self::Vector<V>,
        b: Self::Vector<V>,
    ) -> Self::Vector<V>;
    /// The largest of the lanes.
    fn largest<V: Simd>(simd: V, a: Self::Vector<V>) -> Self;
    /// Whole vectors of a slice.
    fn vectors<V: Simd>(values: &[Self]) -> &[Self::Vector<V>];
    fn vectors_mut<V: Simd>(values: &mut [Self]) -> &mut [Self::Vector<V>];
}

macro_rules! element {
    ($scalar:ty, $vector:ident, $mask:ident, $splat:ident, $multiply_add:ident, $add:ident,
     $subtract:ident, $absolute:ident, $maximum:ident, $greater:ident, $select:ident,
     $largest:ident, $vectors:ident, $vectors_mut:ident) => {
        impl Element for $scalar {
            type Vector<V: Simd> = V::$vector;
            type Mask<V: Simd> = V::$mask;
            #[inline(always)]
            fn splat<V: Simd>(simd: V, value: Self) -> V::$vector {
                simd.$splat(value)
            }
            #[inline(always)]
            fn multiply_add<V: Simd>(simd: V, a: V::$vector, b: V::$vector, c: V::$vector) -> V::$vector {
                simd.$multiply_add(a, b, c)
            }
            #[inline(always)]
            fn plus<V: Simd>(simd: V, a: V::$vector, b: V::$vector) -> V::$vector {
                simd.$add(a, b)
            }
            #[inline(always)]
            fn subtract<V: Simd>(simd: V, a: V::$vector, b: V::$vector) -> V::$vector {
                simd.$subtract(a, b)
            }
            #[inline(always)]
            fn absolute<V: Simd>(simd: V, a: V::$vector) -> V::$vector {
                simd.$absolute(a)
            }
            #[inline(always)]
            fn maximum<V: Simd>(simd: V, a: V::$vector, b: V::$vector) -> V::$vector {
                simd.$maximum(a, b)
            }
            #[inline(always)]
            fn greater<V: Simd>(simd: V, a: V::$vector, b: V::$vector) -> V::$mask {
                simd.$greater(a, b)
            }
            #[inline(always)]
            fn select<V: Simd>(simd: V, mask: V::$mask, a: V::$vector, b: V::$vector) -> V::$vector {
                simd.$select(mask, a, b)
            }
            #[inline(always)]
            fn largest<V: Simd>(simd: V, a: V::$vector) -> Self {
                simd.$largest(a)
            }
            #[inline(always)]
            fn vectors<V: Simd>(values: &[Self]) -> &[V::$vector] {
                V::$vectors(values).0
            }
            #[inline(always)]
            fn vectors_mut<V: Simd>(values: &mut [Self]) -> &mut [V::$vector] {
                V::$vectors_mut(values).0
            }
        }
    };
}

element!(
    f32,
    f32s,
    m32s,
    splat_f32s,
    mul_add_e_f32s,
    add_f32s,
    sub_f32s,
    abs_f32s,
    max_f32s,
    greater_than_f32s,
    select_f32s,
    reduce_max_f32s,
    as_simd_f32s,
    as_mut_simd_f32s
);
element!(
    f64,
    f64s,
    m64s,
    splat_f64s,
    mul_add_e_f64s,
    add_f64s,
    sub_f64s,
    abs_f64s,
    max_f64s,
    greater_than_f64s,
    select_f64s,
    reduce_max_f64s,
    as_simd_f64s,
    as_mut_simd_f64s
);

struct Product<'a, T> {
    rows: usize,
    left: &'a [T],
    right: &'a [T],
    order: Order<'a>,
    add: bool,
    out: &'a mut [T],
}

impl<T: Element> WithSimd for Product<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<V: Simd>(self, simd: V) {
        match self.rows {
            1 => self.run::<V, 1>(simd),
            2 => self.run::<V, 2>(simd),
            3 => self.run::<V, 3>(simd),
            4 => self.run::<V, 4>(simd),
            5 => self.run::<V, 5>(simd),
            6 => self.run::<V, 6>(simd),
            rows if V::REGISTER_COUNT < 32 => unreachable!("a tile of {rows} rows"),
            7 => self.run::<V, 7>(simd),
            8 => self.run::<V, 8>(simd),
            9 => self.run::<V, 9>(simd),
            10 => self.run::<V, 10>(simd),
            11 => self.run::<V, 11>(simd),
            12 => self.run::<V, 12>(simd),
            13 => self.run::<V, 13>(simd),
            14 => self.run::<V, 14>(simd),
            rows => unreachable!("a tile of {rows} rows"),
        }
    }
}

impl<T: Element> Product<'_, T> {
    // Arrays of arrays are indexed: what registers they become is plain then, to the compiler as well.
    #[allow(clippy::needless_range_loop)]
    #[inline(always)]
    fn run<V: Simd, const R: usize>(self, simd: V) {
        let (left, _) = self.left.as_chunks::<CHUNK>().0.as_chunks::<R>();
        let (all, _) = T::vectors::<V>(self.right).as_chunks::<VECTORS>();
        let mut sums = [[T::splat(simd, T::default()); VECTORS]; R];
        match self.order {
            Order::Panel => {
                for (left, right) in left.iter().zip(all.chunks(CHUNK)) {
                    for k in 0..CHUNK {
                        let Some(right) = right.get(k) else { break };
                        for r in 0..R {
                            let a = T::splat(simd, left[r][k]);
                            for v in 0..VECTORS {
                                sums[r][v] = T::multiply_add(simd, a, right[v], sums[r][v]);
                            }
                        }
                    }
                }
            }
            Order::Offsets(offsets) => {
                let width = VECTORS * (size_of::<T::Vector<V>>() / size_of::<T>());
                for (left, offsets) in left.iter().zip(offsets.chunks(CHUNK)) {
                    for k in 0..CHUNK {
                        let Some(&offset) = offsets.get(k) else { break };
                        let right = T::vectors::<V>(&self.right[offset as usize..][..width]);
                        for r in 0..R {
                            let a = T::splat(simd, left[r][k]);
                            for v in 0..VECTORS {
                                sums[r][v] = T::multiply_add(simd, a, right[v], sums[r][v]);
                            }
                        }
                    }
                }
            }
            Order::Active(active) => {
                for &k in active {
                    let k = k as usize;
                    let (left, right) = (&left[k / CHUNK], &all[k]);
                    for r in 0..R {
                        let a = T::splat(simd, left[r][k % CHUNK]);
                        for v in 0..VECTORS {
                            sums[r][v] = T::multiply_add(simd, a, right[v], sums[r][v]);
                        }
                    }
                }
            }
        }
        let (out, _) = T::vectors_mut::<V>(self.out).as_chunks_mut::<VECTORS>();
        // By index: an iterator over the sums would take them to memory first (a tenth of the time at depth 144).
        let Some(out) = out.first_chunk_mut::<R>() else { return };
        if self.add {
            for r in 0..R {
                for v in 0..VECTORS {
                    out[r][v] = T::plus(simd, out[r][v], sums[r][v]);
                }
            }
        } else {
            for r in 0..R {
                for v in 0..VECTORS {
                    out[r][v] = sums[r][v];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_whole_and_equal() {
        for count in 0..1300 {
            for size in [0, 1, 9, 49, 600] {
                let all: Vec<Range<usize>> = pieces(count, size).collect();
                assert_eq!((all[0].start, all[all.len() - 1].end), (0, count));
                assert!(all.windows(2).all(|p| p[0].end == p[1].start && p[1].len() <= p[0].len()));
                assert!(all.len() == 1 || all.iter().all(|p| !p.is_empty()));
                assert!(all.iter().all(|p| p.len() <= 1 || p.len() * size <= DEPTH));
            }
        }
    }

    /// Every height of tile with every order, as integers, whose sums are exact.
    #[test]
    fn tiles_of_every_height_equal_their_sums() {
        fn check<S: Scalar>(arch: Arch) {
            let shape = Shape::of::<S>(arch);
            let (width, depth) = (shape.width, 2 * CHUNK + 5);
            let small = |i: usize| S::of((i * i % 17) as f64 - 8.0);
            let right: Vec<S> = (0..depth * width + 7).map(small).collect();
            let active: Vec<u32> = (0..depth as u32).filter(|k| k % 3 != 1).collect();
            let offsets: Vec<u32> = (0..depth).map(|k| (k * 5 % (depth * width - width)) as u32).collect();
            for rows in 1..=shape.rows {
                let mut left = vec![S::zero(); left_len(rows, depth)];
                let value = |row: usize, k: usize| small(3 * row + k + 1);
                for (row, k) in (0..rows).flat_map(|row| (0..depth).map(move |k| (row, k))) {
                    left[left_at(rows, row, k)] = value(row, k);
                }
                let panel = |k: usize| (0..depth).contains(&k).then_some(k * width);
                let cases: [(Order<'_>, Vec<Option<usize>>); 3] = [
                    (Order::Panel, (0..depth).map(panel).collect()),
                    (Order::Active(&active), (0..depth).map(|k| panel(k).filter(|_| k % 3 != 1)).collect()),
                    (Order::Offsets(&offsets), offsets.iter().map(|&o| Some(o as usize)).collect()),
                ];
                for (order, starts) in cases {
                    let mut out = vec![S::one(); rows * width];
                    let right =
                        if matches!(order, Order::Offsets(_)) { &right[..] } else { &right[..depth * width] };
                    multiply(shape, rows, &left, right, order, false, &mut out);
                    multiply(shape, rows, &left, right, order, true, &mut out);
                    for (i, &out) in out.iter().enumerate() {
                        let (row, column) = (i / width, i % width);
                        let terms = starts.iter().enumerate().filter_map(|(k, start)| {
                            start.map(|start| value(row, k) * right[start + column])
                        });
                        assert_eq!(out, S::of(2.0) * terms.sum::<S>(), "{rows} rows, {order:?}");
                    }
                }
            }
        }
        let mut all = vec![Arch::Scalar, Arch::new()];
        #[cfg(target_arch = "x86_64")]
        all.extend(pulp::x86::V3::try_new().map(Arch::V3));
        for arch in all {
            check::<f32>(arch);
            check::<f64>(arch);
        }
    }
}
