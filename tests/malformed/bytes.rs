//! Damage to files, byte by byte and number by number.

use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;

/// Lengths and counts that no small file has.
const EXTREME: [u64; 12] =
    [0, 1, 0x7f, 0xff, 0x7fff, 0xffff, 1 << 20, 0x7fff_ffff, 0xffff_ffff, 1 << 40, i64::MAX as u64, u64::MAX];

/// What texts may say in the place of a number.
const NUMBERS: [&str; 14] = [
    "0",
    "1",
    "-1",
    "3",
    "65536",
    "1048576",
    "4294967296",
    "1099511627776",
    "9223372036854775807",
    "18446744073709551615",
    "99999999999999999999999",
    "1e300",
    "-1e999",
    "NaN",
];

/// A file of this kind with one to three damages.
pub(crate) fn damaged(kind: &str, seed: &[u8], other: &[u8], rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut file = seed.to_vec();
    for _ in 0..rng.random_range(1..=3) {
        if file.is_empty() {
            break;
        }
        let at = rng.random_range(0..file.len());
        match rng.random_range(0..12) {
            0 => file.truncate(at),
            1 => file[at] ^= 1 << rng.random_range(0..8),
            2 => file[at] = rng.next_u32() as u8,
            3 => {
                let until = (at + rng.random_range(1..64)).min(file.len());
                file.drain(at..until);
            }
            4 => {
                let until = (at + rng.random_range(1..64)).min(file.len());
                let again = file[at..until].to_vec();
                file.splice(at..at, again);
            }
            5 => {
                let from = rng.random_range(0..other.len());
                file.truncate(at);
                file.extend(&other[from..]);
            }
            6 => {
                let more = rng.random_range(1..100);
                file.extend((0..more).map(|_| rng.next_u32() as u8));
            }
            // In the first bytes, where headers are.
            7 => {
                let at = rng.random_range(0..file.len().min(16));
                file[at] = rng.next_u32() as u8;
            }
            8 | 9 => length(&mut file, at, rng),
            _ => number(&mut file, at, rng),
        }
    }
    // What is in front of the damage would hide it.
    match kind {
        "splines" if rng.random_range(0..4) > 0 => mend_header(&mut file),
        "images" if rng.random_range(0..4) > 0 => mend_chunks(&mut file),
        _ => {}
    }
    file
}

/// Another length in the place of one, whatever its width and order.
fn length(file: &mut [u8], at: usize, rng: &mut ChaCha8Rng) {
    let value = EXTREME[rng.random_range(0..EXTREME.len())];
    let width = [1, 2, 4, 8][rng.random_range(0..4)].min(file.len() - at);
    let bytes =
        if rng.random() { value.to_le_bytes() } else { value.swap_bytes().rotate_right(0).to_le_bytes() };
    let bytes = if bytes[0] == 0 && value != 0 { &bytes[8 - width..] } else { &bytes[..width] };
    file[at..at + width].copy_from_slice(bytes);
}

/// Another number in the place of the next digits.
fn number(file: &mut Vec<u8>, at: usize, rng: &mut ChaCha8Rng) {
    let Some(start) = file[at..].iter().position(u8::is_ascii_digit).map(|found| at + found) else { return };
    let digits = file[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = NUMBERS[rng.random_range(0..NUMBERS.len())];
    file.splice(start..start + digits, number.bytes());
}

/// Has the length in front of a spline's header lead to its end.
fn mend_header(file: &mut [u8]) {
    let end = b"\"}";
    let text = file.len().min(8192);
    if let Some(found) = file[..text].windows(2).rposition(|two| two == b"}}" || two == end)
        && let Some(length) = (found + 2).checked_sub(8)
    {
        let spaces = file[found + 2..].iter().take_while(|&&byte| byte == b' ').count();
        file[..8].copy_from_slice(&((length + spaces) as u64).to_le_bytes());
    }
}

/// Has the checksums of a PNG file's chunks fit.
fn mend_chunks(file: &mut [u8]) {
    if !file.starts_with(b"\x89PNG") {
        return;
    }
    let mut at = 8;
    while let Some(length) = file.get(at..at + 4) {
        let length = u32::from_be_bytes([length[0], length[1], length[2], length[3]]) as usize;
        let Some(end) = at.checked_add(8 + length).filter(|end| end + 4 <= file.len()) else { return };
        let mut sum = flate2::Crc::new();
        sum.update(&file[at + 4..end]);
        file[end..end + 4].copy_from_slice(&sum.sum().to_be_bytes());
        at = end + 4;
    }
}
