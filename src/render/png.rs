//! PNG files that are written row by row.

use std::io::{self, Write};

use png::{BitDepth, ColorType, Compression, Encoder, EncodingError, Filter};

use crate::data::OutputFile;
use crate::{Error, Result};

use super::Rgb;

/// Bytes of a chunk of the file, which the encoder holds.
pub(super) const CHUNK: usize = 1 << 18;

/// The most pixels along a side, far below what the format can count.
pub const MOST_PIXELS: usize = 1 << 20;

/// Refuses sizes that a picture cannot have.
pub(super) fn check_size([height, width]: [usize; 2]) -> Result<()> {
    if (1..=MOST_PIXELS).contains(&height) && (1..=MOST_PIXELS).contains(&width) {
        return Ok(());
    }
    let size = format!("{width}x{height}");
    Err(Error::Argument(format!("a picture has 1 to {MOST_PIXELS} pixels a side, not {size}")))
}

/// Writes an sRGB picture of `[H, W]` pixels into `output`: `fill` gives the rows, from the top, to the function it is
/// given. `comment` (a command line) comes as the text `Comment`, the program as `Software`. The file appears, whole, at
/// the end; a row and a chunk of it are all that is held.
///
/// # Errors
/// [`Error::Argument`] for a size of 0 or beyond [`MOST_PIXELS`]; [`Error::Shape`] for more or fewer pixels than the size
/// has; what `fill` says; a failed write.
pub fn write_png(
    mut output: OutputFile,
    [height, width]: [usize; 2],
    comment: &str,
    fill: impl FnOnce(&mut dyn FnMut(&[Rgb]) -> Result<()>) -> Result<()>,
) -> Result<()> {
    check_size([height, width])?;
    let path = output.path().to_path_buf();
    let failed = |error: EncodingError| match error {
        EncodingError::IoError(error) => Error::io("write", &path)(error),
        other => Error::file(&path, format!("cannot be encoded: {other}")),
    };
    let mut encoder = Encoder::new(&mut output, width as u32, height as u32);
    describe(&mut encoder);
    let software = format!("fenchel {}", env!("CARGO_PKG_VERSION"));
    encoder.add_text_chunk("Software".to_owned(), software).map_err(&failed)?;
    // The plain kind of text holds Latin-1 only.
    let add = if comment.is_ascii() { Encoder::add_text_chunk } else { Encoder::add_itxt_chunk };
    add(&mut encoder, "Comment".to_owned(), comment.to_owned()).map_err(&failed)?;
    let mut writer = encoder.write_header().map_err(&failed)?;
    {
        let mut rows = writer.stream_writer_with_size(CHUNK).map_err(&failed)?;
        let mut left = height as u64 * width as u64;
        fill(&mut |pixels| {
            left = left.checked_sub(pixels.len() as u64).ok_or_else(|| {
                Error::Shape(format!("more than the {width}x{height} pixels of '{}'", path.display()))
            })?;
            rows.write_all(pixels.as_flattened()).map_err(|error: io::Error| Error::io("write", &path)(error))
        })?;
        if left > 0 {
            let what = format!("{left} of the {width}x{height} pixels of '{}' are missing", path.display());
            return Err(Error::Shape(what));
        }
        rows.finish().map_err(&failed)?;
    }
    writer.finish().map_err(&failed)?;
    output.commit()
}

/// sRGB, compressed fast. Differences to the pixel on the left take 0.25 s (of classes) to 0.45 s (of smooth numbers) for
/// 100 million pixels, which is faster than they are computed; to choose among differences for each row takes 0.8 to
/// 0.9 s for files of the same size, and level 3 of zlib ten times as long for a file of two thirds to a third.
fn describe<W: Write>(encoder: &mut Encoder<'_, W>) {
    encoder.set_color(ColorType::Rgb);
    encoder.set_depth(BitDepth::Eight);
    encoder.set_compression(Compression::Fast);
    encoder.set_filter(Filter::Sub);
    encoder.set_source_srgb(png::SrgbRenderingIntent::Perceptual);
}

/// The bytes of a small PNG file of `[H, W]` pixels.
///
/// # Errors
/// [`Error::Argument`] where it cannot be encoded.
pub(super) fn encoded([height, width]: [usize; 2], pixels: &[Rgb]) -> Result<Vec<u8>> {
    let mut bytes = vec![];
    let failed = |error: EncodingError| Error::Argument(format!("a tile cannot be encoded: {error}"));
    let mut encoder = Encoder::new(&mut bytes, width as u32, height as u32);
    describe(&mut encoder);
    let mut writer = encoder.write_header().map_err(failed)?;
    writer.write_image_data(pixels.as_flattened()).map_err(failed)?;
    writer.finish().map_err(failed)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_sizes_and_counts_leave_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        let write = |size, rows: &[&[Rgb]]| {
            let output = OutputFile::create(&path).unwrap();
            write_png(output, size, "", |put| rows.iter().try_for_each(|row| put(row)))
        };
        let text = write([1, 0], &[]).unwrap_err().to_string();
        assert_eq!(text, "a picture has 1 to 1048576 pixels a side, not 0x1");
        assert!(write([2, 2], &[&[[0; 3]; 3]]).unwrap_err().to_string().starts_with("1 of the 2x2 pixels"));
        assert!(write([2, 2], &[&[[0; 3]; 5]]).unwrap_err().to_string().starts_with("more than the 2x2"));
        assert!(!path.exists());
        write([2, 2], &[&[[0; 3]; 3], &[[9; 3]]]).unwrap();
        assert_eq!(image::open(&path).unwrap().to_rgb8().get_pixel(1, 1).0, [9; 3]);
    }
}
