//! Folders of images.

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use image::{DynamicImage, ImageFormat, ImageReader};

use super::array::Array;
use super::dtype::Format;
use super::jpeg;
use crate::{Error, Result};

/// Reads the `.png`, `.jpg` and `.jpeg` files of a folder, in order of their names, as one array of bytes of
/// shape `[images, channels, height, width]`.
pub(super) fn read_folder(folder: &Path) -> Result<Array> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io("read", folder))? {
        let path = entry.map_err(Error::io("read", folder))?.path();
        if is_image(&path) {
            files.push(path);
        }
    }
    files.sort_unstable();
    let mut bytes = Vec::new();
    let mut first: Option<(&PathBuf, [usize; 3])> = None;
    for path in &files {
        let shape = read_image(path, &mut bytes)?;
        let (first, expected) = *first.get_or_insert((path, shape));
        if shape != expected {
            return Err(Error::file(
                path,
                format!(
                    "is {}, but '{}' is {}; all images of a folder must have the same size and channels",
                    sizes(shape),
                    first.display(),
                    sizes(expected)
                ),
            ));
        }
    }
    let Some((_, [channels, height, width])) = first else {
        return Err(Error::file(folder, "holds no images: .png, .jpg and .jpeg files are read"));
    };
    bytes.shrink_to_fit();
    Ok(Array::in_memory(folder, Format::BYTES, vec![files.len(), channels, height, width], bytes))
}

fn is_image(path: &Path) -> bool {
    let extension = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
    matches!(extension.as_deref(), Some("png" | "jpg" | "jpeg")) && path.is_file()
}

fn sizes([channels, height, width]: [usize; 3]) -> String {
    let colour = if channels == 1 { "grey" } else { "colour" };
    format!("{width} x {height} in {colour}")
}

/// The most pixels that a byte of a file can stand for: one bit each, in data that deflate to a 1032nd. JPEG packs less.
const MOST_PIXELS: u64 = 8 * 1032;

/// Appends an image, one channel after the other, to `bytes`; returns `[channels, height, width]`.
fn read_image(path: &Path, bytes: &mut Vec<u8>) -> Result<[usize; 3]> {
    let file = fs::read(path).map_err(Error::io("read", path))?;
    let unreadable = |reason: &str| {
        let reason = reason.replace('\n', " ");
        Error::file(path, format!("is no image that can be read: {reason}"))
    };
    // The content decides, not the extension.
    let reader = || ImageReader::new(Cursor::new(&file)).with_guessed_format();
    let of_format = reader().map_err(Error::io("read", path))?;
    if of_format.format() == Some(ImageFormat::Jpeg) && !jpeg::is_whole(&file) {
        return Err(unreadable("it ends early"));
    }
    // Looked at first: decoders set memory aside for all pixels that the header promises.
    let (width, height) = of_format.into_dimensions().map_err(|e| unreadable(&e.to_string()))?;
    if u64::from(width) * u64::from(height) > MOST_PIXELS * file.len() as u64 {
        let length = file.len();
        return Err(unreadable(&format!(
            "{length} bytes cannot hold the {width} x {height} pixels it promises"
        )));
    }
    // The decoders' own limit of 512 MiB stays in force.
    let image = reader().map_err(Error::io("read", path))?;
    let image = image.decode().map_err(|e| unreadable(&e.to_string()))?;
    let [height, width] = [image.height() as usize, image.width() as usize];
    let (pixels, channels, alpha) = match &image {
        DynamicImage::ImageLuma8(pixels) => (pixels.as_raw(), 1, false),
        DynamicImage::ImageLumaA8(pixels) => (pixels.as_raw(), 1, true),
        DynamicImage::ImageRgb8(pixels) => (pixels.as_raw(), 3, false),
        DynamicImage::ImageRgba8(pixels) => (pixels.as_raw(), 3, true),
        _ => return Err(Error::file(path, "has more than 8 bits a channel; 8 are accepted")),
    };
    let stride = channels + usize::from(alpha);
    if alpha && pixels.iter().skip(channels).step_by(stride).any(|&alpha| alpha != u8::MAX) {
        return Err(Error::file(path, "is partly transparent; only opaque images are accepted"));
    }
    for channel in 0..channels {
        bytes.extend(pixels.iter().skip(channel).step_by(stride));
    }
    Ok([channels, height, width])
}

#[cfg(test)]
mod tests {
    use image::{GrayImage, ImageBuffer, Luma, Rgb, RgbImage, Rgba, RgbaImage};

    use super::*;
    use crate::data::{Dataset, ReadOptions};

    fn open(folder: &Path) -> Result<Dataset, String> {
        Dataset::open(folder, &ReadOptions::default()).map_err(|e| e.to_string())
    }

    #[test]
    fn colour_is_channel_first_in_order_of_names() {
        let dir = tempfile::tempdir().unwrap();
        let image = |shift: u8| RgbImage::from_fn(3, 2, |x, y| Rgb([x as u8, y as u8 + 10, shift]));
        image(2).save(dir.path().join("b.PNG")).unwrap();
        image(1).save(dir.path().join("a.png")).unwrap();
        // Opaque images with an alpha channel are colour images like others.
        let opaque = RgbaImage::from_fn(3, 2, |x, y| Rgba([x as u8, y as u8 + 10, 3, 255]));
        opaque.save(dir.path().join("c.png")).unwrap();
        fs::write(dir.path().join("labels.csv"), "a,1").unwrap();
        let data = open(dir.path()).unwrap();
        assert_eq!((data.len(), data.row_shape()), (3, &[3, 2, 3][..]));
        let rows = data.rows::<f32>(0..3).unwrap();
        let red_green = [0., 1., 2., 0., 1., 2., 10., 10., 10., 11., 11., 11.];
        for (row, blue) in rows.outer_iter().zip([1.0, 2.0, 3.0]) {
            assert_eq!(row.as_slice().unwrap(), [&red_green[..], &[blue; 6]].concat());
        }
    }

    #[test]
    fn grey_and_jpeg() {
        let dir = tempfile::tempdir().unwrap();
        GrayImage::from_pixel(16, 8, Luma([200])).save(dir.path().join("0.jpeg")).unwrap();
        GrayImage::from_pixel(16, 8, Luma([40])).save(dir.path().join("1.jpg")).unwrap();
        GrayImage::from_fn(16, 8, |x, y| Luma([(16 * y + x) as u8])).save(dir.path().join("2.png")).unwrap();
        let data = open(dir.path()).unwrap();
        assert_eq!((data.len(), data.row_shape()), (3, &[1, 8, 16][..]));
        let rows = data.rows::<f64>(0..3).unwrap();
        assert!(rows.row(0).iter().all(|v| (v - 200.0).abs() <= 2.0));
        assert!(rows.row(1).iter().all(|v| (v - 40.0).abs() <= 2.0));
        assert!(rows.row(2).iter().enumerate().all(|(i, &v)| v == i as f64));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let dir = tempfile::tempdir().unwrap();
        assert!(open(dir.path()).unwrap_err().contains("holds no images"));
        GrayImage::new(4, 3).save(dir.path().join("a.png")).unwrap();
        let second = dir.path().join("b.png");
        GrayImage::new(3, 4).save(&second).unwrap();
        let fault = open(dir.path()).unwrap_err();
        assert!(fault.contains("b.png' is 3 x 4 in grey") && fault.contains("a.png' is 4 x 3"), "{fault}");
        RgbImage::new(4, 3).save(&second).unwrap();
        assert!(open(dir.path()).unwrap_err().contains("is 4 x 3 in colour"));
        RgbaImage::new(4, 3).save(&second).unwrap();
        assert!(open(dir.path()).unwrap_err().contains("partly transparent"));
        ImageBuffer::<Luma<u16>, _>::new(4, 3).save(&second).unwrap();
        assert!(open(dir.path()).unwrap_err().contains("more than 8 bits"));
        fs::write(&second, "no image").unwrap();
        let fault = open(dir.path()).unwrap_err();
        assert!(fault.contains("b.png' is no image") && !fault.contains('\n'), "{fault}");
        let whole = fs::read(dir.path().join("a.png")).unwrap();
        for end in 0..whole.len() - 12 {
            fs::write(&second, &whole[..end]).unwrap();
            assert!(open(dir.path()).is_err(), "{end}");
        }
    }

    #[test]
    fn every_truncated_jpeg_is_an_error() {
        // Its decoder fills what is missing with grey.
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jpg");
        RgbImage::from_fn(40, 24, |x, y| Rgb([(6 * x) as u8, (9 * y) as u8, (x * y) as u8]))
            .save(&path)
            .unwrap();
        let whole = fs::read(&path).unwrap();
        assert_eq!(open(dir.path()).unwrap().row_shape(), [3, 24, 40]);
        for end in 0..whole.len() {
            fs::write(&path, &whole[..end]).unwrap();
            let fault = open(dir.path()).unwrap_err();
            assert!(
                fault.contains("is no image that can be read") && !fault.contains('\n'),
                "{end}: {fault}"
            );
        }
        // Cameras write more behind the end.
        fs::write(&path, [&whole[..], b"more"].concat()).unwrap();
        assert_eq!(open(dir.path()).unwrap().row_shape(), [3, 24, 40]);
    }

    #[test]
    fn pixels_that_a_file_cannot_hold_take_no_memory() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.png");
        GrayImage::new(4, 3).save(&path).unwrap();
        let mut file = fs::read(&path).unwrap();
        for size in [20_000_u32, 100_000] {
            // The header's size, and its checksum over it.
            file[16..20].copy_from_slice(&size.to_be_bytes());
            file[20..24].copy_from_slice(&size.to_be_bytes());
            let mut sum = flate2::Crc::new();
            sum.update(&file[12..29]);
            file[29..33].copy_from_slice(&sum.sum().to_be_bytes());
            fs::write(&path, &file).unwrap();
            let fault = open(dir.path()).unwrap_err();
            assert!(fault.contains(&format!("cannot hold the {size} x {size} pixels")), "{fault}");
        }
        let jpeg = dir.path().join("a.jpg");
        GrayImage::new(16, 8).save(&jpeg).unwrap();
        fs::remove_file(&path).unwrap();
        let mut file = fs::read(&jpeg).unwrap();
        let frame = file.windows(2).position(|bytes| bytes == [0xff, 0xc0]).unwrap();
        file[frame + 5..frame + 9].fill(0xff);
        fs::write(&jpeg, &file).unwrap();
        let fault = open(dir.path()).unwrap_err();
        assert!(fault.contains("cannot hold the 65535 x 65535 pixels"), "{fault}");
        // What is really there is read, however well it packs.
        fs::remove_file(&jpeg).unwrap();
        GrayImage::new(2000, 2000).save(&path).unwrap();
        assert_eq!(open(dir.path()).unwrap().row_shape(), [1, 2000, 2000]);
    }
}
