//! Boundaries and contours, against coverage and distances known in advance.

use std::path::Path;

use fenchel::data::{OutputFile, read_array};
use fenchel::engine::Context;
use fenchel::render::{ColourMap, Picture, Scale, category};
use image::RgbImage;

use super::{Engine, categories, drawn, light, numbers};

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
