//! Copies of short lines: rows of small images and of tiles.
//!
//! A line is copied as its first and its last few elements, which overlap. How many those are is chosen outside the
//! loop over lines, so that a line costs two loads and two stores where `copy_from_slice` is a call.

/// Runs a loop over lines with the `N` that goes with their length.
macro_rules! by_length {
    ($length:expr, $n:ident => $body:expr) => {
        match $length {
            0 => {}
            1 => {
                const $n: usize = 1;
                $body
            }
            2..4 => {
                const $n: usize = 2;
                $body
            }
            4..8 => {
                const $n: usize = 4;
                $body
            }
            8..16 => {
                const $n: usize = 8;
                $body
            }
            _ => {
                const $n: usize = 16;
                $body
            }
        }
    };
}
pub(super) use by_length;

/// Sets `to[i..i + N] = of(i)` for blocks that cover `to`, which has `N` elements or more; fewer than `2 N` if `N` is
/// not 16.
#[inline(always)]
fn blocks<const N: usize, T: Copy>(to: &mut [T], of: impl Fn(usize) -> Option<[T; N]>) {
    let last = to.len() - N.min(to.len());
    if N == 16 {
        for i in (0..last).step_by(N) {
            put(to, i, of(i));
        }
    } else {
        put(to, 0, of(0));
    }
    put(to, last, of(last));
}

#[inline(always)]
fn put<const N: usize, T: Copy>(to: &mut [T], i: usize, from: Option<[T; N]>) {
    if let (Some(to), Some(from)) = (to[i..].first_chunk_mut::<N>(), from) {
        *to = from;
    }
}

/// `to.copy_from_slice(from)`.
#[inline(always)]
pub(super) fn line<const N: usize, S: Copy>(to: &mut [S], from: &[S]) {
    let from = &from[..to.len()];
    blocks::<N, S>(to, |i| from[i..].first_chunk::<N>().copied());
}

/// `to = from * gate`.
#[inline(always)]
pub(super) fn gated_line<const N: usize, S: Copy + std::ops::Mul<Output = S>>(
    to: &mut [S],
    from: &[S],
    gate: &[S],
) {
    let (from, gate) = (&from[..to.len()], &gate[..to.len()]);
    blocks::<N, S>(to, |i| {
        let (from, gate) = (from[i..].first_chunk::<N>()?, gate[i..].first_chunk::<N>()?);
        Some(std::array::from_fn(|j| from[j] * gate[j]))
    });
}

/// `to[i] = [even[i], odd[i]]`.
#[inline(always)]
pub(super) fn interleaved_line<const N: usize, S: Copy>(to: &mut [[S; 2]], even: &[S], odd: &[S]) {
    let (even, odd) = (&even[..to.len()], &odd[..to.len()]);
    blocks::<N, [S; 2]>(to, |i| {
        let (even, odd) = (even[i..].first_chunk::<N>()?, odd[i..].first_chunk::<N>()?);
        Some(std::array::from_fn(|j| [even[j], odd[j]]))
    });
}

/// `to.copy_from_slice(from)` for a slice of any length, without a call.
#[inline(always)]
pub(super) fn copy<S: Copy>(to: &mut [S], from: &[S]) {
    by_length!(to.len(), N => line::<N, S>(to, from));
}

/// Elements 0, 2, 4 and so on.
#[inline(always)]
pub(super) fn every_second<S: Copy>(to: &mut [S], from: &[S]) {
    let Some((last, to)) = to.split_last_mut() else { return };
    let (pairs, rest) = from[..=2 * to.len()].as_chunks::<2>();
    to.iter_mut().zip(pairs).for_each(|(to, pair)| *to = pair[0]);
    *last = rest[0];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_every_length_are_copied_whole() {
        let values: Vec<f32> = (0..200).map(|i| i as f32).collect();
        for length in 0..80 {
            let mut to = vec![-1.0; length];
            copy(&mut to, &values);
            assert_eq!(to, values[..length]);
            by_length!(length, N => gated_line::<N, f32>(&mut to, &values, &values[3..]));
            assert!(to.iter().enumerate().all(|(i, &v)| v == (i * (i + 3)) as f32));
            every_second(&mut to, &values);
            assert!(to.iter().enumerate().all(|(i, &v)| v == (2 * i) as f32));
            let mut pairs = vec![[-1.0; 2]; length];
            by_length!(length, N => interleaved_line::<N, f32>(&mut pairs, &values[1..], &values));
            assert!(pairs.iter().enumerate().all(|(i, &v)| v == [(i + 1) as f32, i as f32]));
        }
    }
}
