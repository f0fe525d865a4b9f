//! What is around and between the pixels of pictures: against coverage, distances and places known in advance.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod frames;
mod lines;
mod pyramids;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use fenchel::data::OutputFile;
use fenchel::engine::{Context, Cpu};
use fenchel::render::{Band, ColourMap, Drawn, Field, Frame, Picture, Scale, TILE, Targets};
use fenchel::{Error, Result};
use image::RgbImage;

type Engine = Cpu<f64>;

/// A function of `s` and `t`; it counts the points it is asked for.
struct Numbers<F>(F, AtomicUsize);

struct Categories<F>(F, AtomicUsize);

fn numbers<F: Fn(f64, f64) -> f64>(f: F) -> Numbers<F> {
    Numbers(f, AtomicUsize::new(0))
}

fn categories<F: Fn(f64, f64) -> u32>(f: F) -> Categories<F> {
    Categories(f, AtomicUsize::new(0))
}

fn grid<'a>(across: &'a [f64], up: &'a [f64]) -> impl Iterator<Item = (f64, f64)> + 'a {
    up.iter().flat_map(move |&t| across.iter().map(move |&s| (s, t)))
}

impl<F: Fn(f64, f64) -> f64> Field<Engine> for Numbers<F> {
    fn is_categorical(&self) -> bool {
        false
    }

    fn band(&self, across: &[f64], up: &[f64], _: usize, context: &Context) -> Result<Band> {
        context.check()?;
        self.1.fetch_add(across.len() * up.len(), Ordering::Relaxed);
        Ok(Band::Numbers(grid(across, up).map(|(s, t)| (self.0)(s, t) as f32).collect()))
    }
}

impl<F: Fn(f64, f64) -> u32> Field<Engine> for Categories<F> {
    fn is_categorical(&self) -> bool {
        true
    }

    fn band(&self, across: &[f64], up: &[f64], _: usize, context: &Context) -> Result<Band> {
        context.check()?;
        self.1.fetch_add(across.len() * up.len(), Ordering::Relaxed);
        Ok(Band::Categories(grid(across, up).map(|(s, t)| (self.0)(s, t)).collect()))
    }
}

/// The same for all memory budgets: the bytes of a PNG, and what was drawn.
fn file(
    picture: &Picture<'_, Engine>,
    field: &dyn Field<Engine>,
    frame: Option<&Frame>,
    memory: u64,
) -> (Vec<u8>, Drawn) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    let targets = Targets { png: Some(OutputFile::create(&path).unwrap()), frame, ..Targets::default() };
    let context = Context::default().with_memory(memory);
    let drawn = picture.draw_into(field, targets, &context).unwrap();
    (std::fs::read(path).unwrap(), drawn)
}

fn drawn(picture: &Picture<'_, Engine>, field: &dyn Field<Engine>) -> (RgbImage, Drawn) {
    let (bytes, drawn) = file(picture, field, None, 64 << 20);
    (image::load_from_memory(&bytes).unwrap().to_rgb8(), drawn)
}

fn refused(picture: &Picture<'_, Engine>, field: &dyn Field<Engine>) -> String {
    let folder = tempfile::tempdir().unwrap();
    let png = OutputFile::create(&folder.path().join("a.png")).unwrap();
    let error = picture.draw(field, png, None, &Context::default()).unwrap_err();
    assert!(matches!(error, Error::Argument(_)), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    error.to_string()
}

fn light(c: u8) -> f64 {
    let x = f64::from(c) / 255.0;
    if x <= 0.04045 { x / 12.92 } else { ((x + 0.055) / 1.055).powf(2.4) }
}

/// Everything at once, of numbers and of categories.
fn everything(mut with: impl FnMut(&Picture<'_, Engine>, &dyn Field<Engine>)) {
    let scale = Scale::new(ColourMap::Diverging, -2.0..2.0).unwrap();
    let values = numbers(|s, t| (5.0 * s).sin() + (4.0 * t).cos() * s);
    let classes =
        categories(|s, t| ((3.0 * s + (7.0 * t).sin()) as i32 + (2.0 * t * t - s) as i32).unsigned_abs());
    let size = [211, 150];
    with(
        &Picture {
            scale: Some(&scale),
            contours: &[-1.0, 0.0, 0.5],
            lines: Some(&classes),
            ..Picture::new(size)
        },
        &values,
    );
    let wide = Picture { antialias: 4, lines: Some(&classes), line_width: 5.0, ..Picture::new(size) };
    with(&wide, &classes);
    with(&Picture { samples: 3, scale: Some(&scale), contours: &[0.0], ..Picture::new(size) }, &values);
}

#[test]
fn neither_memory_nor_threads_change_a_byte() {
    everything(|picture, field| {
        let (bytes, found) = file(picture, field, None, 768 << 20);
        // Bands of some rows, down to a single one.
        let least = (1..).map(|i| i * 50_000).find(|&memory| {
            let folder = tempfile::tempdir().unwrap();
            let png = OutputFile::create(&folder.path().join("a.png")).unwrap();
            let context = Context::default().with_memory(memory);
            picture.draw(field, png, None, &context).is_ok()
        });
        for memory in [least.unwrap(), least.unwrap() + 100_000, 8 << 20] {
            assert!(file(picture, field, None, memory) == (bytes.clone(), found.clone()), "{memory}");
        }
    });
    let all = || {
        let mut all = vec![];
        everything(|picture, field| all.push(file(picture, field, None, 64 << 20)));
        all
    };
    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    assert!(pool(1).install(all) == pool(5).install(all));
}

/// The pixels of one level of a pyramid, from its tiles.
fn level(folder: &Path, number: usize, [height, width]: [usize; 2]) -> RgbImage {
    let mut whole = RgbImage::new(width as u32, height as u32);
    let mut tiles = 0;
    for row in 0..height.div_ceil(TILE) {
        for column in 0..width.div_ceil(TILE) {
            let tile =
                image::open(folder.join(format!("tiles/{number}/{row}_{column}.png"))).unwrap().to_rgb8();
            let expected = [width - TILE * column, height - TILE * row].map(|left| left.min(TILE) as u32);
            assert_eq!([tile.width(), tile.height()], expected, "{number} {row} {column}");
            for (x, y, pixel) in tile.enumerate_pixels() {
                whole.put_pixel((TILE * column) as u32 + x, (TILE * row) as u32 + y, *pixel);
            }
            tiles += 1;
        }
    }
    assert_eq!(std::fs::read_dir(folder.join(format!("tiles/{number}"))).unwrap().count(), tiles);
    whole
}

#[test]
fn what_makes_no_sense_is_refused() {
    let scale = Scale::new(ColourMap::Sequential, 0.0..1.0).unwrap();
    let (values, classes) = (numbers(|s, _| s), categories(|_, _| 0));
    let plain = Picture::new([5, 6]);
    let scaled = Picture { scale: Some(&scale), ..plain.clone() };
    assert!(refused(&Picture { antialias: 0, ..plain.clone() }, &classes).contains("1 to 16 samples"));
    assert!(refused(&Picture { antialias: 17, ..plain.clone() }, &classes).contains("1 to 16 samples"));
    assert!(refused(&Picture { antialias: 4, samples: 2, ..plain.clone() }, &classes).contains("one sample"));
    assert!(
        refused(&Picture { antialias: 4, ..scaled.clone() }, &values).contains("numbers have no boundaries")
    );
    assert!(refused(&Picture { contours: &[0.0], ..plain.clone() }, &classes).contains("not contours"));
    let text = refused(&Picture { contours: &[0.0, f64::NAN], ..scaled.clone() }, &values);
    assert_eq!(text, "the value of a contour must be finite, not NaN");
    assert!(
        refused(&Picture { lines: Some(&values), ..scaled.clone() }, &values)
            .contains("boundaries of categories")
    );
    for line_width in [0.0, -1.0, 17.0, f64::NAN] {
        assert!(refused(&Picture { line_width, ..plain.clone() }, &classes).contains("0.5 to 16 pixels"));
    }
    assert!(refused(&plain, &values).contains("scale"));
    assert!(refused(&Picture { size: [0, 5], ..plain }, &classes).contains("0"));
}
