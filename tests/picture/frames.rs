//! Ticks, bars and legends.

use fenchel::engine::Context;
use fenchel::render::{
    Canvas, ColourMap, Frame, Horizontal, Legend, Picture, Scale, Text, Vertical, category, survey,
};

use super::{categories, drawn, file, numbers};

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
