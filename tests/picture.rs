//! What is around and between the pixels of pictures: against coverage, distances and places known in advance.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use fenchel::data::{OutputFile, read_array};
use fenchel::engine::{Context, Cpu};
use fenchel::render::{
    Band, Canvas, ColourMap, Drawn, Field, Frame, Horizontal, Legend, Page, Picture, Pyramid, Scale, TILE,
    Targets, Text, Vertical, category, survey,
};
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

/// Which share of a pixel is of the second of two colours, from its light.
fn share(pixel: [u8; 3], [a, b]: [[u8; 3]; 2]) -> f64 {
    let [a, b, p] = [a, b, pixel].map(|colour| colour.map(light));
    // The channel in which they differ most.
    let c = (0..3).max_by(|&i, &j| (b[i] - a[i]).abs().total_cmp(&(b[j] - a[j]).abs())).unwrap();
    (p[c] - a[c]) / (b[c] - a[c])
}

/// The area of the unit square around `[x, y]` where `a x + b y > c`, by strips.
fn area([x, y]: [f64; 2], [a, b, c]: [f64; 3]) -> f64 {
    let strips = 1000;
    let strip = |i: usize| {
        let at = x - 0.5 + (i as f64 + 0.5) / f64::from(strips as u32);
        // Above or below this.
        let edge = (c - a * at) / b;
        let above = (y + 0.5 - edge).clamp(0.0, 1.0);
        if b > 0.0 { above } else { 1.0 - above }
    };
    (0..strips).map(strip).sum::<f64>() / f64::from(strips as u32)
}

const COLOURS: [u32; 2] = [0, 4];

#[test]
fn boundaries_cover_what_they_should() {
    let [height, width] = [23, 37];
    for n in [2, 4, 8] {
        // Steep, flat, and neither; the first would look the same with both axes flipped, the others do not.
        for [a, b, c] in [[1.0, 0.3, 0.137], [0.2, 1.0, -0.211], [0.9, -0.7, 0.31]] {
            let field = categories(move |s, t| COLOURS[usize::from(a * s + b * t > c)]);
            let picture = Picture { antialias: n, ..Picture::new([height, width]) };
            let (image, drawn) = drawn(&picture, &field);
            let (mut mixed, mut error) = (0, 0.0);
            for (x, y, pixel) in image.enumerate_pixels() {
                // In pixels, from the lower left corner, whose s and t are -1.
                let line = [a * 2.0 / width as f64, b * 2.0 / height as f64, c + a + b];
                let exact = area([f64::from(x) + 0.5, height as f64 - 0.5 - f64::from(y)], line);
                let found = share(pixel.0, COLOURS.map(category));
                assert!((found - exact).abs() < 1.0 / n as f64, "{n}: {x} {y}: {found} {exact}");
                error += found - exact;
                mixed += usize::from((0.02..0.98).contains(&found));
            }
            assert!(mixed > 10 && (error / mixed as f64).abs() < 0.02, "{n}: {mixed} {error}");
            // Three pixels for each column or row at most, n x n samples for each.
            assert!(drawn.further <= (3 * 60 * n * n) as u64 && drawn.further >= (mixed * n * n) as u64);
            assert_eq!(drawn.categories.values().sum::<u64>(), (height * width) as u64);
        }
    }
}

#[test]
fn samples_that_are_not_needed_are_few() {
    let count = |n: usize| {
        let field = categories(|s, t| u32::from(s * s + t * t > 0.5) + 7 * u32::from(s > 0.3 * t));
        let (_, found) = drawn(&Picture { antialias: n, ..Picture::new([300, 400]) }, &field);
        (field.1.into_inner(), found.further as usize)
    };
    assert_eq!(count(1), (120_000, 0));
    let (asked, further) = count(4);
    assert!(further > 16 * 1000 && asked - 120_000 < 5 * further / 2, "{asked} {further}");
}

#[test]
fn values_are_those_at_the_centres() {
    let folder = tempfile::tempdir().unwrap();
    let [png, npy] = ["a.png", "a.npy"].map(|name| folder.path().join(name));
    let field = categories(|s, t| u32::from(s + 0.3 * t > 0.1));
    let picture = Picture { antialias: 4, ..Picture::new([9, 14]) };
    let create = |path: &Path| OutputFile::create(path).unwrap();
    picture.draw(&field, create(&png), Some(create(&npy)), &Context::default()).unwrap();
    let values: Vec<f64> = read_array(&npy, None).unwrap().into_iter().collect();
    for (i, value) in values.into_iter().enumerate() {
        let (s, t) = ((2.0 * (i % 14) as f64 + 1.0) / 14.0 - 1.0, 1.0 - (2.0 * (i / 14) as f64 + 1.0) / 9.0);
        assert_eq!(value, f64::from(u32::from(s + 0.3 * t > 0.1)), "{i}");
    }
}

/// How much darker or lighter than without lines each pixel is.
fn inked(with: &RgbImage, without: &RgbImage, x: u32, y: u32) -> f64 {
    let of = |image: &RgbImage| image.get_pixel(x, y).0.map(light);
    of(with).iter().zip(of(without)).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

/// Lines over a field must be where `distance` from a curve, in pixels, is less than half their width.
fn check_lines(with: &RgbImage, without: &RgbImage, half: f64, distance: impl Fn(f64, f64) -> f64) {
    let (mut near, mut most) = (0, 0.0_f64);
    for (x, y, _) in with.enumerate_pixels() {
        let (d, ink) = (distance(f64::from(x) + 0.5, f64::from(y) + 0.5), inked(with, without, x, y));
        most = most.max(ink);
        // A quarter of a pixel beyond what it covers, or within.
        if d > half + 0.75 {
            assert_eq!(ink, 0.0, "{x} {y}, {d} pixels away");
        }
        if d < half - 0.75 {
            near += 1;
            assert!(ink > 0.1, "{x} {y}: {ink}, {d} pixels away");
        }
    }
    assert!(near > 30 && most > 0.2, "{near} {most}");
}

#[test]
fn contours_pass_where_the_formula_says() {
    let (height, width) = (90, 140);
    let scale = Scale::new(ColourMap::Sequential, -1.0..3.0).unwrap();
    // An ellipse, not in the middle: (s - 0.2)^2 + 2 (t + 0.1)^2 = 0.5.
    let field = numbers(|s, t| (s - 0.2_f64).powi(2) + 2.0 * (t + 0.1_f64).powi(2));
    let plain = Picture { scale: Some(&scale), line_width: 3.0, ..Picture::new([height, width]) };
    let picture = Picture { contours: &[0.5], ..plain.clone() };
    let [with, without] = [&picture, &plain].map(|picture| drawn(picture, &field).0);
    let distance = |x: f64, y: f64| {
        let (h, w) = (height as f64, width as f64);
        let point = |angle: f64| {
            let (s, t) = (0.2 + 0.5_f64.sqrt() * angle.cos(), -0.1 + 0.5 * angle.sin());
            ((s + 1.0) / 2.0 * w, (1.0 - t) / 2.0 * h)
        };
        let to = |i: u32| {
            let (px, py) = point(f64::from(i) * std::f64::consts::TAU / 2000.0);
            (px - x).hypot(py - y)
        };
        (0..2000).map(to).fold(f64::MAX, f64::min)
    };
    check_lines(&with, &without, 1.5, distance);
    // Of several samples too: the mean over a pixel differs little.
    let fine = |picture: &Picture<'_, Engine>| drawn(&Picture { samples: 2, ..picture.clone() }, &field).0;
    check_lines(&fine(&picture), &fine(&plain), 1.5, distance);
}

#[test]
fn contours_neither_break_at_kinks_nor_smear_over_plateaus() {
    let (height, width) = (80, 80);
    let scale = Scale::new(ColourMap::Sequential, -1.0..1.0).unwrap();
    let plain = Picture { scale: Some(&scale), line_width: 3.0, ..Picture::new([height, width]) };
    let compare = |f: fn(f64, f64) -> f64, level: f64, distance: &dyn Fn(f64, f64) -> f64| {
        let field = numbers(f);
        let with = drawn(&Picture { contours: &[level], ..plain.clone() }, &field).0;
        check_lines(&with, &drawn(&plain, &field).0, 1.5, distance);
    };
    let s = |x: f64| x / 40.0 - 1.0;
    let t = |y: f64| 1.0 - y / 40.0;
    // |s| with slopes 1 and 50 beside each other: a line at s = -0.31, one at s = 0.0062.
    compare(|s, _| if s < 0.0 { -s } else { 50.0 * s }, 0.31, &|x, _| {
        (x - 40.0 * 0.69).abs().min((x - 40.0 * 1.0062).abs())
    });
    // A relu at its own level: 0 on a whole half, the line is where that ends.
    compare(|s, t| (s + 0.4 * t - 0.1).max(0.0), 0.0, &|x, y| {
        40.0 * (s(x) + 0.4 * t(y) - 0.1).abs() / 1.0_f64.hypot(0.4)
    });
    // A corner, in whose diagonals the slope jumps.
    compare(|s, t| s.abs().max(t.abs()), 0.5, &|x, y| {
        let (u, v) = (s(x).abs() - 0.5, t(y).abs() - 0.5);
        40.0 * if u > 0.0 && v > 0.0 { u.hypot(v) } else { u.max(v).abs() }
    });
}

#[test]
fn zero_is_wider_on_diverging_scales() {
    let field = numbers(|s, _| s);
    // Three columns of pixels, with coverages that add up to the width.
    let wide = |map| {
        let scale = Scale::new(map, -1.0..1.0).unwrap();
        let plain = Picture { scale: Some(&scale), ..Picture::new([2, 41]) };
        let with = drawn(&Picture { contours: &[0.0], ..plain.clone() }, &field).0;
        let without = drawn(&plain, &field).0;
        (0..41).map(|x| share_of_ink(&with, &without, x)).sum::<f64>()
    };
    let (narrow, wide) = (wide(ColourMap::Sequential), wide(ColourMap::Diverging));
    assert!((narrow - 1.5).abs() < 0.05 && (wide - 2.5).abs() < 0.05, "{narrow} {wide}");
}

/// How much of a pixel of the first row nearly black or nearly white ink covers.
fn share_of_ink(with: &RgbImage, without: &RgbImage, x: u32) -> f64 {
    let (a, b) = (without.get_pixel(x, 0).0, with.get_pixel(x, 0).0);
    if a == b {
        return 0.0;
    }
    let ink = if b.map(u32::from).iter().sum::<u32>() < a.map(u32::from).iter().sum() { 0x14 } else { 0xF4 };
    share(b, [a, [ink; 3]])
}

#[test]
fn boundaries_are_lines_over_other_fields() {
    let (height, width) = (70, 110);
    let scale = Scale::new(ColourMap::Sequential, -2.0..2.0).unwrap();
    let values = numbers(|s, t| s - 0.5 * t);
    // Three categories that meet where s = 0.1, t = -0.2.
    let lines = categories(|s, t| if t < -0.2 { 0 } else { 5 + u32::from(s > 0.1) });
    let plain = Picture { scale: Some(&scale), line_width: 3.0, ..Picture::new([height, width]) };
    let picture = Picture { lines: Some(&lines), ..plain.clone() };
    let distance = |x: f64, y: f64| {
        let (cx, cy) = (1.1 / 2.0 * width as f64, 1.2 / 2.0 * height as f64);
        let upright = if y < cy { (x - cx).abs() } else { (x - cx).hypot(y - cy) };
        upright.min((y - cy).abs())
    };
    let (with, found) = drawn(&picture, &values);
    check_lines(&with, &drawn(&plain, &values).0, 1.5, distance);
    assert!(found.further > 0);
    // Over categories, and beside several samples a pixel.
    let plain = Picture { samples: 2, scale: None, ..plain };
    let below = categories(|s, t| 3 + u32::from(s + t > 0.3));
    let with = drawn(&Picture { lines: Some(&lines), ..plain.clone() }, &below).0;
    check_lines(&with, &drawn(&plain, &below).0, 1.5, distance);
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

#[test]
fn frames_have_ticks_and_bars_where_they_belong() {
    let (height, width) = (200, 300);
    let scale = Scale::new(ColourMap::Sequential, -1.0..3.0).unwrap();
    let frame = Frame::new([height, width], "a title", ["s", "t"], &Legend::Scale(&scale));
    let field = numbers(|s, t| 1.0 + s + t);
    let picture = Picture { scale: Some(&scale), ..Picture::new([height, width]) };
    let (bytes, _) = file(&picture, &field, Some(&frame), 64 << 20);
    // Strips of rows change nothing.
    assert!(file(&picture, &field, Some(&frame), 2 << 20).0 == bytes);
    let framed = image::load_from_memory(&bytes).unwrap().to_rgb8();
    let ([h, w], [top, left]) = (frame.size(), frame.corner());
    assert_eq!(framed.dimensions(), (w as u32, h as u32));
    let at = |x: usize, y: usize| framed.get_pixel(x as u32, y as u32).0;
    // The picture itself, between lines of one pixel.
    let inner = drawn(&picture, &field).0;
    assert!(inner.enumerate_pixels().all(|(x, y, p)| at(left + x as usize, top + y as usize) == p.0));
    let is_ink = |p: [u8; 3]| p == [0x22; 3];
    assert!((0..height).all(|y| is_ink(at(left - 1, top + y)) && is_ink(at(left + width, top + y))));
    assert!((0..width).all(|x| is_ink(at(left + x, top - 1)) && is_ink(at(left + x, top + height))));
    // Ticks of s at 0, 1/4, 1/2, ... of the width, those of t likewise, and none between.
    let across: Vec<isize> = (left - 1..=left + width)
        .filter(|&x| is_ink(at(x, top + height + 3)))
        .map(|x| x as isize - left as isize)
        .collect();
    assert_eq!(across, [0, 75, 150, 225, 300]);
    let down: Vec<isize> = (top - 1..=top + height)
        .filter(|&y| is_ink(at(left - 3, y)))
        .map(|y| y as isize - top as isize)
        .collect();
    assert_eq!(down, [0, 50, 100, 150, 200]);

    // The bar: its colours against those of the numbers at its ticks.
    let bar = (left + width + 2..w).find(|&x| at(x, top) == scale.colour(3.0 - 0.5 * 4.0 / 200.0)).unwrap();
    let high = (top..).take_while(|&y| at(bar, y) != [255; 3]).count();
    assert_eq!(high, 200);
    let right = (bar..).find(|&x| at(x, top + 1) == [255; 3]).unwrap();
    let ticks: Vec<usize> = (top - 1..=top + high).filter(|&y| is_ink(at(right + 1, y))).collect();
    assert_eq!(ticks.len(), 5, "{ticks:?}");
    for (i, y) in ticks.into_iter().enumerate() {
        let exact = top as f64 + 50.0 * i as f64;
        assert!((y as f64 + 0.5 - exact).abs() <= 1.0, "tick {i}: {y} {exact}");
        let near = [y.max(top + 1) - 1, y.min(top + high - 1)].map(|y| at(bar, y));
        let colour = scale.colour(3.0 - i as f64);
        let off = |c: [u8; 3]| c.iter().zip(colour).map(|(a, b)| a.abs_diff(b)).max().unwrap();
        assert!(near.into_iter().any(|c| off(c) <= 3), "tick {i}: {near:?} {colour:?}");
    }
    // The largest number's name stands beside the top of the bar, and no other's.
    let written = |name: &str, y: isize| {
        let mut canvas = Canvas::new(40, 30, [255; 3]);
        canvas.text(&Text::new(13.0), name, [1, 15], (Horizontal::Left, Vertical::Middle), [0x22; 3]);
        let x = (right + 2 * 13 / 3) as isize - 1;
        (6..24).all(|j| {
            (1..20).all(|i| canvas.row(j)[i] == at((x + i as isize) as usize, (y - 15 + j as isize) as usize))
        })
    };
    assert!(written("3", top as isize) && !written("2", top as isize));
    assert!(written("1", top as isize + 100) && written("-1", top as isize + 200));
}

#[test]
fn frames_list_categories_or_count_them() {
    let name = |number: u32| (number, number.to_string());
    let few: Vec<(u32, String)> = [0, 3, 7].map(name).to_vec();
    let frame = Frame::new([100, 100], "", ["s", "t"], &Legend::Categories(&few));
    let field = categories(|_, _| 3);
    let (bytes, _) = file(&Picture::new([100, 100]), &field, Some(&frame), 64 << 20);
    let framed = image::load_from_memory(&bytes).unwrap().to_rgb8();
    let [top, left] = frame.corner();
    // Squares of 13 pixels, one above the other, from the top of the picture on.
    let x = (left + 103..frame.size()[1]).find(|&x| framed.get_pixel(x as u32, top as u32).0 == category(0));
    let x = x.unwrap() as u32;
    for (i, (number, _)) in few.iter().enumerate() {
        let y = (top + 19 * i) as u32;
        for (a, b, inside) in [(0, 0, true), (12, 12, true), (13, 0, false), (0, 13, false)] {
            assert_eq!(framed.get_pixel(x + a, y + b).0 == category(*number), inside, "{number} {a} {b}");
        }
    }
    let many: Vec<(u32, String)> = (0..5000).map(name).collect();
    let counted = Frame::new([100, 100], "", ["s", "t"], &Legend::Categories(&many));
    assert!(counted.size()[1] < 250 && counted.size()[0] > frame.size()[0], "{:?}", counted.size());
    assert_eq!(survey(&field, [1000, 20], &Context::default()).unwrap().categories[&3], 256 * 20);
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
fn pyramids_are_the_picture_at_every_size() {
    let here = tempfile::tempdir().unwrap();
    let field = numbers(|s, t| (7.0 * s).sin() * (20.0 * t).cos() + s);
    let scale = Scale::new(ColourMap::Sequential, -2.0..2.0).unwrap();
    // Three levels: 1301 x 777, 651 x 389, 326 x 195; odd at both edges.
    let size = [777, 1301];
    let picture = Picture { scale: Some(&scale), contours: &[0.25], ..Picture::new(size) };
    let make = |name: &str, memory: u64| {
        let path = here.path().join(name);
        let mut pyramid = Pyramid::create(&path, size).unwrap();
        let context = Context::default().with_memory(memory);
        let targets = Targets { pyramid: Some(&mut pyramid), ..Targets::default() };
        picture.draw_into(&field, targets, &context).unwrap();
        assert!(!path.exists());
        pyramid.finish(&Page::default()).unwrap();
        path
    };
    let path = make("a", 256 << 20);
    let sizes = [[195, 326], [389, 651], [777, 1301]];
    let levels: Vec<RgbImage> =
        sizes.iter().enumerate().map(|(number, size)| level(&path, number, *size)).collect();
    assert_eq!(std::fs::read_dir(path.join("tiles")).unwrap().count(), 3);
    assert!(levels[2] == drawn(&picture, &field).0);
    for pair in levels.windows(2) {
        for (x, y, pixel) in pair[0].enumerate_pixels() {
            let square = [(0, 0), (1, 0), (0, 1), (1, 1)].map(|(i, j)| (2 * x + i, 2 * y + j));
            let inside: Vec<[u8; 3]> = square
                .iter()
                .filter(|(x, y)| *x < pair[1].width() && *y < pair[1].height())
                .map(|&(x, y)| pair[1].get_pixel(x, y).0)
                .collect();
            for c in 0..3 {
                let mean = inside.iter().map(|p| light(p[c])).sum::<f64>() / inside.len() as f64;
                // Half a step of the 255.
                let [low, high] = [-0.5, 0.5].map(|off| {
                    let x = ((f64::from(pixel.0[c]) + off) / 255.0).clamp(0.0, 1.0);
                    if x <= 0.04045 { x / 12.92 } else { ((x + 0.055) / 1.055).powf(2.4) }
                });
                assert!((low - 1e-9..=high + 1e-9).contains(&mean), "{x} {y}: {mean} not in {low}..{high}");
            }
        }
    }
    // A small budget changes no byte of any tile.
    let small = make("b", 24 << 20);
    for (number, size) in sizes.iter().enumerate() {
        assert!(level(&small, number, *size) == levels[number]);
    }
}

#[test]
fn pages_refer_to_nothing_outside() {
    let here = tempfile::tempdir().unwrap();
    let path = here.path().join("p");
    let mut pyramid = Pyramid::create(&path, [20, 30]).unwrap();
    let field = categories(|s, _| u32::from(s > 0.0));
    let targets = Targets { pyramid: Some(&mut pyramid), ..Targets::default() };
    Picture::new([20, 30]).draw_into(&field, targets, &Context::default()).unwrap();
    let links = [("values".to_owned(), "../a b.npy".to_owned())];
    let page = Page {
        title: "<a> & {{command}}",
        command: "fenchel 'x' </script>",
        legend: "<svg></svg>",
        links: &links,
    };
    pyramid.finish(&page).unwrap();
    let html = std::fs::read_to_string(path.join("index.html")).unwrap();
    assert!(
        !html.contains("http://")
            && !html.contains("https://")
            && !html.contains("src=\"")
            && !html.contains("@import")
    );
    assert!(!html.contains("fetch(") && !html.contains("XMLHttpRequest"));
    assert!(html.contains("<title>&lt;a&gt; &amp; {{command}}</title>"), "{}", &html[..300]);
    assert!(html.contains("<code>fenchel 'x' &lt;/script&gt;</code>") && html.contains("<svg></svg>"));
    assert!(html.contains("<a href=\"../a%20b.npy\">values</a>"));
    let data = html.split("id=\"picture\">").nth(1).unwrap().split("</script>").next().unwrap();
    let data: serde_json::Value = serde_json::from_str(data).unwrap();
    assert_eq!((&data["width"], &data["height"], &data["levels"]), (&30.into(), &20.into(), &1.into()));
    assert!(!html.replace("{{command}}", "").contains("{{"));
}

#[test]
fn pyramids_appear_whole_or_not_at_all() {
    let here = tempfile::tempdir().unwrap();
    let count = || std::fs::read_dir(here.path()).unwrap().count();
    let path = here.path().join("p");
    let pyramid = Pyramid::create(&path, [600, 30]).unwrap();
    assert!(pyramid.finish(&Page::default()).unwrap_err().to_string().contains("missing"));
    assert_eq!(count(), 0);
    // A field that fails half-way.
    struct Failing;
    impl Field<Engine> for Failing {
        fn is_categorical(&self) -> bool {
            true
        }

        fn band(&self, across: &[f64], up: &[f64], first: usize, _: &Context) -> Result<Band> {
            match first {
                0 => Ok(Band::Categories(vec![0; across.len() * up.len()])),
                _ => Err(Error::NonFinite { what: "half-way".to_owned(), row: first }),
            }
        }
    }
    let mut pyramid = Pyramid::create(&path, [3000, 1000]).unwrap();
    let png = OutputFile::create(&here.path().join("a.png")).unwrap();
    let targets = Targets { png: Some(png), pyramid: Some(&mut pyramid), ..Targets::default() };
    let error = Picture::new([3000, 1000]).draw_into(&Failing, targets, &Context::default()).unwrap_err();
    assert!(error.to_string().starts_with("half-way"), "{error}");
    drop(pyramid);
    assert_eq!(count(), 0);
    std::fs::create_dir(&path).unwrap();
    std::fs::write(path.join("mine"), "").unwrap();
    assert!(Pyramid::create(&path, [6, 3]).unwrap_err().to_string().contains("not empty"));
    let mut pyramid = Pyramid::create(&here.path().join("q"), [60_000, 60_000]).unwrap();
    let targets = Targets { pyramid: Some(&mut pyramid), ..Targets::default() };
    let context = Context::default().with_memory(64 << 20);
    let error = Picture::new([60_000, 60_000]).draw_into(&Failing, targets, &context).unwrap_err();
    assert!(matches!(error, Error::Memory { .. }), "{error}");
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
