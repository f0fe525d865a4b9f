//! Whether a JPEG file is all there: its decoder paints what is missing grey and says nothing.

const START_OF_SCAN: u8 = 0xda;
const END: u8 = 0xd9;

/// Whether the segments of a JPEG file, one after another, lead to its end marker.
pub(super) fn is_whole(file: &[u8]) -> bool {
    // Behind the start marker.
    let mut at = 2;
    while let Some(marker) = next_marker(file, &mut at) {
        match marker {
            END => return true,
            // Without a length: restarts of a scan, which a marker has ended, and others that stand alone.
            0x01 | 0xd0..=0xd8 => {}
            _ => {
                let Some(&[high, low]) = file.get(at..at + 2) else { return false };
                at += usize::from(u16::from_be_bytes([high, low]));
                if marker == START_OF_SCAN {
                    skip_scan(file, &mut at);
                }
            }
        }
    }
    false
}

/// The marker that begins at `at` or behind it, and the place after it. Bytes between segments are skipped, as decoders
/// do.
fn next_marker(file: &[u8], at: &mut usize) -> Option<u8> {
    loop {
        *at += file.get(*at..)?.iter().position(|&byte| byte == 0xff)?;
        // Any number of these may fill the space before a marker.
        *at += file[*at..].iter().position(|&byte| byte != 0xff)?;
        let marker = file[*at];
        *at += 1;
        if marker != 0 {
            return Some(marker);
        }
    }
}

/// Goes to the marker that ends a scan: in its data every 0xff is followed by 0 or begins a restart.
fn skip_scan(file: &[u8], at: &mut usize) {
    while let Some(&[first, second]) = file.get(*at..*at + 2) {
        if first == 0xff && !matches!(second, 0 | 0xd0..=0xd7 | 0xff) {
            return;
        }
        *at += 1;
    }
}
