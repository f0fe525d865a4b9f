//! Cases of packed codes, against a direct evaluation of every unit.

use fenchel::engine::{Packing, SplineEngine, UnitWords, Window};
use fenchel::{Result, Scalar};

use super::{random, values};

/// Packs the codes of each row, `[rows, units]`, from word `packing.first` of rows of so many words on.
fn pack(codes: &[u32], rows: usize, packing: Packing, words: usize, all: &mut [u32]) {
    let units = codes.len() / rows;
    for (i, code) in codes.iter().enumerate() {
        let (row, unit) = (i / units, i % units);
        let word = packing.first + unit / packing.per_word();
        all[row * words + word] |= code << (unit % packing.per_word() * packing.bits as usize);
    }
}

/// Two layers of values side by side, with so many knots each; some values lie on a knot.
fn of_values<E: SplineEngine>(engine: &E, rows: usize, layers: [(usize, usize); 2]) -> Result<bool> {
    let bits = layers.map(|(_, knots)| Packing::bits(knots + 1));
    let first = Packing { first: 0, bits: bits[0] };
    let second = Packing { first: first.words(layers[0].0), bits: bits[1] };
    let words = second.first + second.words(layers[1].0);
    let mut codes = engine.codes(rows, words)?;
    let mut expected = vec![0; rows * words];
    for (seed, ((units, count), packing)) in layers.into_iter().zip([first, second]).enumerate() {
        let mut knots: Vec<f64> = values(10 + seed as u64, count);
        knots.sort_by(f64::total_cmp);
        let mut x: Vec<f64> = values(20 + seed as u64, rows * units);
        x.iter_mut().zip(knots.iter().cycle()).step_by(5).for_each(|(x, &knot)| *x = knot);
        let below: Vec<u32> =
            x.iter().map(|x| knots.iter().filter(|&knot| knot < x).count() as u32).collect();
        pack(&below, rows, packing, words, &mut expected);
        let x: Vec<E::Scalar> = x.into_iter().map(E::Scalar::of).collect();
        engine.code_values(&mut codes, &engine.upload(&x, &[rows, units])?, &knots, packing)?;
    }
    Ok(engine.receive_codes(engine.request_codes(codes)?)? == expected)
}

/// Which element of its window is the largest.
fn of_picks<E: SplineEngine>(engine: &E, image: [usize; 4], window: Window) -> Result<bool> {
    let [rows, channels, height, width] = image;
    let x: Vec<f64> = values::<f64>(1, image.iter().product()).iter().map(|v| (v * 3.0).round()).collect();
    let [down, across] = window.output([height, width])?;
    let mut expected = vec![];
    for plane in x.chunks(height * width) {
        for (row, column) in (0..down).flat_map(|row| (0..across).map(move |column| (row, column))) {
            let (mut best, mut code) = (f64::NEG_INFINITY, 0);
            let ys = window.coordinates(0, row, height).enumerate();
            for (i, y) in ys {
                for (j, x) in window.coordinates(1, column, width).enumerate() {
                    if let (Some(y), Some(x)) = (y, x)
                        && plane[y * width + x] > best
                    {
                        (best, code) = (plane[y * width + x], i * window.kernel[1] + j);
                    }
                }
            }
            expected.push(code as u32);
        }
    }
    let units = channels * down * across;
    let packing = Packing { first: 2, bits: Packing::bits(window.kernel.iter().product()) };
    let words = 2 + packing.words(units);
    let scalars: Vec<E::Scalar> = x.iter().map(|&v| E::Scalar::of(v)).collect();
    let (_, picked) = engine.max_pool(&engine.upload(&scalars, &image)?, window)?;
    let mut codes = engine.codes(rows, words)?;
    let before = engine.upload(&vec![E::Scalar::of(1.0); rows * 40], &[rows, 40])?;
    engine.code_values(&mut codes, &before, &[0.0], Packing { first: 0, bits: 1 })?;
    engine.code_picks(&mut codes, &picked, window, [height, width], packing)?;
    let mut packed = vec![0; rows * words];
    pack(&vec![1; rows * 40], rows, Packing { first: 0, bits: 1 }, words, &mut packed);
    pack(&expected, rows, packing, words, &mut packed);
    Ok(engine.receive_codes(engine.request_codes(codes)?)? == packed)
}

/// In how many units random codes differ, of layers with so many units and bits side by side, by unpacking every one. The
/// first and the last word of a row count for nothing.
fn of_hamming<E: SplineEngine>(
    engine: &E,
    [rows, others]: [usize; 2],
    layers: &[(usize, u32)],
) -> Result<bool> {
    let mut units = vec![];
    let mut words = 1;
    for &(count, bits) in layers {
        let packing = Packing { first: words, bits };
        units.push((packing, count));
        words += packing.words(count);
    }
    words += 1;
    let codes = |seed: u64, rows: usize| {
        let mut all: Vec<u32> = random(seed, rows * words).iter().map(|v| v.to_bits() as u32).collect();
        for row in all.chunks_mut(words) {
            for (layer, &(packing, count)) in units.iter().enumerate() {
                let codes: Vec<u32> = random(seed + layer as u64, count)
                    .iter()
                    .zip(row.iter().cycle())
                    .map(|(v, word)| (v.to_bits() as u32 & word) >> (32 - packing.bits))
                    .collect();
                row[packing.first..][..packing.words(count)].fill(0);
                pack(&codes, 1, packing, words, row);
            }
        }
        all
    };
    let (a, b) = (codes(1, rows), codes(2, others));
    let mut expected = vec![];
    for a in a.chunks(words) {
        for b in b.chunks(words) {
            let of = |&(packing, count): &(Packing, usize)| {
                (0..count).filter(|&unit| packing.get(a, unit) != packing.get(b, unit)).count()
            };
            expected.push(units.iter().map(of).sum::<usize>() as u32);
        }
    }
    let units: Vec<UnitWords> = units
        .iter()
        .map(|&(packing, count)| UnitWords {
            words: packing.first..packing.first + packing.words(count),
            bits: packing.bits,
        })
        .collect();
    let [a, b] = [a, b].map(|codes| engine.upload_codes(&codes, words));
    let counts = engine.hamming(&a?, &b?, &units)?;
    Ok(engine.receive_codes(engine.request_codes(counts)?)? == expected)
}

pub(super) fn check_all<E: SplineEngine>(engine: &E, check: &mut impl FnMut(String, f64, Result<f64>)) {
    let wrong = |same: bool| if same { 0.0 } else { 1.0 };
    for (rows, layers) in [
        (1, [(1, 1), (1, 2)]),
        (3, [(33, 1), (31, 1)]),
        (7, [(1000, 1), (70, 4)]),
        (130, [(257, 1), (129, 2)]),
        (2, [(45, 3), (65, 37)]),
        (2, [(100, 7), (37, 1100)]),
        (1, [(3, 70_000), (64, 1)]),
    ] {
        let found = of_values(engine, rows, layers);
        check(format!("codes of {rows} rows of {layers:?} units and knots"), 0.0, found.map(wrong));
    }
    for (image, window) in [
        ([2, 3, 7, 9], Window::new([2, 2]).with_strides([2, 2])),
        ([1, 2, 8, 5], Window::new([3, 2]).with_strides([2, 1]).with_pads([1, 0, 1, 1])),
        ([5, 2, 9, 9], Window::new([2, 3]).with_dilations([2, 2]).with_pads([1, 2, 1, 2])),
        ([3, 5, 1, 70], Window::new([1, 70])),
    ] {
        let found = of_picks(engine, image, window);
        check(format!("codes of maxima in {image:?}, {window:?}"), 0.0, found.map(wrong));
    }
    for (rows, layers) in [
        ([1, 1], &[(1, 1)][..]),
        ([65, 130], &[(1030, 1)]),
        ([3, 200], &[(40, 1), (33, 2), (10, 5)]),
        ([70, 67], &[(5, 32), (700, 3), (1, 1)]),
        ([129, 5], &[]),
    ] {
        let found = of_hamming(engine, rows, layers);
        check(format!("differences of {rows:?} codes of {layers:?} units and bits"), 0.0, found.map(wrong));
    }
}
