//! The slice: its layers, what is read from them, lines over them, and how one moves.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::common::browser::Browser;
use super::{DOWN, LEFT, RIGHT, Report, SHIFT, digits, numbers};

const CANVAS: &str = "const canvas = document.querySelector('.stage canvas');";

/// What the page reads from every layer, the place it says, and the zoom.
struct Reading {
    values: BTreeMap<String, f64>,
    place: [f64; 2],
    zoom: f64,
}

fn reading(browser: &Browser) -> Reading {
    let said = browser.run(
        "const place = document.querySelector('.place');
         return [
            [...document.querySelectorAll('.layer')].map((layer) =>
                [layer.querySelector('input').value, layer.querySelector('output data').value]),
            [...place.querySelectorAll('data')].map((number) => Number(number.value)),
            place.textContent.match(/zoom ([0-9,]+)/)[1].replace(',', '')]",
        &[],
    );
    let pair =
        |pair: &Value| (pair[0].as_str().unwrap().to_owned(), pair[1].as_str().unwrap().parse().unwrap());
    let place = numbers(&said[1]);
    Reading {
        values: said[0].as_array().unwrap().iter().map(pair).collect(),
        place: [place[0], place[1]],
        zoom: said[2].as_str().unwrap().parse().unwrap(),
    }
}

/// The layers of a report's slice with their arrays, as numpy's format has them.
struct Layers {
    size: usize,
    arrays: BTreeMap<String, Vec<f64>>,
}

fn layers(report: &Report) -> Layers {
    let slice = &report.of_kind("slice")["drawn"];
    let array = |layer: &Value| {
        let bytes = std::fs::read(report.folder.join(layer["npy"].as_str().unwrap())).unwrap();
        let file = npyz::NpyFile::new(&bytes[..]).unwrap();
        let values = match layer["type"].as_str().unwrap() {
            "u32" => file.into_vec::<u32>().unwrap().into_iter().map(f64::from).collect(),
            _ => file.into_vec::<f32>().unwrap().into_iter().map(f64::from).collect(),
        };
        (layer["id"].as_str().unwrap().to_owned(), values)
    };
    let arrays: BTreeMap<_, _> = slice["layers"].as_array().unwrap().iter().map(array).collect();
    Layers { size: slice["size"][0].as_u64().unwrap() as usize, arrays }
}

impl Layers {
    /// Every value that is read is that of the arrays at the place that is said; the pixel's column and row.
    fn agree(&self, read: &Reading) -> [usize; 2] {
        let pixel = |coordinate: f64| {
            let pixel = (coordinate + 1.0) / 2.0 * self.size as f64 - 0.5;
            assert!((pixel - pixel.round()).abs() < 1e-9, "{coordinate} is no pixel's centre");
            pixel.round() as usize
        };
        let [x, y] = [pixel(read.place[0]), self.size - 1 - pixel(read.place[1])];
        assert_eq!(read.values.len(), self.arrays.len());
        for (layer, array) in &self.arrays {
            assert_eq!(read.values[layer], array[y * self.size + x], "{layer} at {x}, {y}");
        }
        [x, y]
    }
}

/// The page with its slice in sight and drawn, and the canvas' box in the window.
fn page() -> Option<(Browser, [f64; 3])> {
    let browser = digits().page()?;
    browser.run(&format!("{CANVAS} canvas.scrollIntoView({{ behavior: 'instant', block: 'center' }})"), &[]);
    browser.until("document.querySelector('.stage canvas').dataset.drawn && document.querySelector('.layer output data')");
    let place =
        format!("{CANVAS} const box = canvas.getBoundingClientRect(); return [box.left, box.top, box.width]");
    let place = numbers(&browser.run(&place, &[]));
    Some((browser, [place[0], place[1], place[2]]))
}

/// The colours of the canvas at places of it.
fn colours(browser: &Browser, places: &[[f64; 2]]) -> Vec<[u8; 3]> {
    // After the next frame all is drawn.
    let read = format!(
        "{CANVAS} const [places] = arguments, pen = canvas.getContext('2d');
         const colour = ([x, y]) => [...pen.getImageData(Math.floor(x), Math.floor(y), 1, 1).data];
         return new Promise((done) =>
            requestAnimationFrame(() => requestAnimationFrame(() => done(places.map(colour)))))"
    );
    let read = browser.run(&read, &[json!(places)]);
    read.as_array().unwrap().iter().map(numbers).map(|c| [c[0] as u8, c[1] as u8, c[2] as u8]).collect()
}

#[test]
fn layers_switch_by_keyboard_and_are_the_pictures() {
    let report = digits();
    let Some((browser, [_, _, width])) = page() else { return };
    let slice = &report.of_kind("slice")["drawn"];
    let layers = slice["layers"].as_array().unwrap();
    assert!(layers.len() >= 10, "{}", layers.len());
    // Pixels' centres, away from the buttons (which lie over the canvas, not in it) and from the marks and their names.
    let size = slice["size"][0].as_u64().unwrap() as usize;
    let mark_rows: Vec<f64> = slice["marks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|mark| (1.0 - mark["t"].as_f64().unwrap()) / 2.0 * size as f64)
        .collect();
    let pixels: Vec<[u32; 2]> = (0..60)
        .map(|i| [(i * 37 + 5) % size as u32, (i * 23 + 3) % size as u32])
        .filter(|[_, y]| mark_rows.iter().all(|row| (f64::from(*y) - row).abs() > 4.0))
        .collect();
    assert!(pixels.len() > 20);
    let places: Vec<[f64; 2]> =
        pixels.iter().map(|pixel| pixel.map(|i| (f64::from(i) + 0.5) * width / size as f64)).collect();

    let mut seen: Vec<Vec<[u8; 3]>> = vec![];
    browser.run("document.querySelector('.layer input').focus()", &[]);
    for (i, layer) in layers.iter().enumerate() {
        if i > 0 {
            browser.keys(&[DOWN]);
        }
        browser.until(&format!("document.querySelector('.stage canvas').dataset.drawn === {}", layer["id"]));
        let chosen = browser.run(
            "return [...document.querySelectorAll('.layer input:checked')].map((input) => input.value)",
            &[],
        );
        assert_eq!(chosen, json!([layer["id"]]));
        let drawn = colours(&browser, &places);
        let picture = image::open(report.folder.join(layer["png"].as_str().unwrap())).unwrap().to_rgb8();
        for ((colour, [x, y]), place) in drawn.iter().zip(&pixels).zip(&places) {
            assert_eq!(*colour, picture.get_pixel(*x, *y).0, "{} at {place:?}", layer["id"]);
        }
        assert!(!seen.contains(&drawn), "{} looks like another layer", layer["id"]);
        seen.push(drawn);
        let legend = browser
            .run("return document.querySelector('.legend svg')?.getAttribute('aria-label') ?? ''", &[]);
        assert!(legend.as_str().unwrap().contains(layer["title"].as_str().unwrap()), "{legend}");
    }
}

#[test]
fn every_layer_is_read_under_the_pointer() {
    let arrays = layers(digits());
    let Some((browser, [left, top, width])) = page() else { return };
    for (x, y) in [(0.31, 0.22), (0.77, 0.9), (0.05, 0.6), (0.998, 0.002)] {
        browser.mouse(&[[left + x * width, top + y * width]]);
        let pixel = arrays.agree(&reading(&browser));
        let expected = [x, y].map(|share| share * arrays.size as f64);
        for (pixel, expected) in pixel.iter().zip(expected) {
            assert!((*pixel as f64 + 0.5 - expected).abs() <= 0.6, "{pixel} {expected}");
        }
    }
    // It stays when the pointer leaves.
    browser.mouse(&[[left + 0.4 * width, top + 0.4 * width]]);
    let before = reading(&browser);
    browser.mouse(&[[left + width + 40.0, top]]);
    assert_eq!(reading(&browser).values, before.values);
}

#[test]
fn keys_move_and_zoom_and_read_in_the_middle() {
    let arrays = layers(digits());
    let Some((browser, [_, _, width])) = page() else { return };
    // As if it came by the keyboard.
    browser.run(&format!("{CANVAS} canvas.focus({{ focusVisible: true }})"), &[]);
    let middle = arrays.size / 2;
    assert_eq!(arrays.agree(&reading(&browser)), [middle, middle]);
    let whole = colours(&browser, &[[width / 2.0 + 9.0, width / 2.0]]);
    assert_eq!(whole, [[255; 3]], "a cross in the middle");

    browser.keys(&['+', '+', '+', '+']);
    let zoomed = reading(&browser);
    assert_eq!(zoomed.zoom, 400.0);
    assert_eq!(arrays.agree(&zoomed), [middle, middle]);
    // A twelfth of the window at a time.
    let step = arrays.size as f64 / 12.0 / 4.0;
    browser.keys(&[RIGHT, RIGHT, RIGHT, DOWN]);
    let moved = arrays.agree(&reading(&browser));
    for (moved, steps) in moved.iter().zip([3.0, 1.0]) {
        assert!(
            (*moved as f64 - middle as f64 - steps * step).abs() <= 1.0,
            "{moved:?} after {steps} steps of {step}"
        );
    }
    // And a pixel at a time; the middle lies between two pixels, and rounding may choose either.
    browser.keys(&[SHIFT, LEFT, LEFT, LEFT]);
    let [x, y] = arrays.agree(&reading(&browser));
    assert!((2..=4).contains(&(moved[0] - x)) && y == moved[1], "{moved:?} to {x}, {y}");
    browser.keys(&['-', '-']);
    assert_eq!(reading(&browser).zoom, 200.0);
    browser.keys(&['0']);
    let fitted = reading(&browser);
    assert_eq!((fitted.zoom, arrays.agree(&fitted)), (100.0, [middle, middle]));
    let spoken = browser.run("return document.querySelector('.view [aria-live]').textContent", &[]);
    assert!(spoken.as_str().unwrap().contains("zoom 100"), "{spoken}");
}

#[test]
fn dragging_and_the_wheel_keep_what_is_under_the_pointer() {
    let arrays = layers(digits());
    let Some((browser, [left, top, width])) = page() else { return };
    let at = |x: f64, y: f64| [left + x * width, top + y * width];
    browser.mouse(&[at(0.3, 0.35)]);
    let before = reading(&browser);
    browser.wheel(at(0.3, 0.35), -600);
    browser.until("document.querySelector('.place').textContent.includes('zoom 400')");
    browser.mouse(&[at(0.3, 0.35)]);
    assert_eq!(arrays.agree(&reading(&browser)), arrays.agree(&before));

    browser.mouse(&[at(0.3, 0.35), at(0.4, 0.5), at(0.52, 0.61)]);
    let dragged = reading(&browser);
    assert_eq!(arrays.agree(&dragged), arrays.agree(&before));
    browser.mouse(&[at(0.3, 0.35)]);
    assert_ne!(arrays.agree(&reading(&browser)), arrays.agree(&before), "the picture has moved");
    browser.run("document.querySelector('[aria-label=\"Show all\"]').click()", &[]);
    browser.until("document.querySelector('.place').textContent.includes('zoom 100')");

    // At its whole size the wheel scrolls the page on.
    let scrolled = || browser.run("return scrollY", &[]).as_f64().unwrap();
    let start = scrolled();
    browser.wheel(at(0.5, 0.5), 300);
    browser.until(&format!("scrollY > {start}"));
}

#[test]
fn boundaries_lie_where_neighbours_differ() {
    let report = digits();
    let arrays = layers(report);
    let Some((browser, [_, _, width])) = page() else { return };
    let size = arrays.size;
    let slice = &report.of_kind("slice")["drawn"];
    let offered =
        browser.run("return [...document.querySelectorAll('.lines input')].map((input) => input.value)", &[]);
    let whole: Vec<&Value> = slice["layers"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|layer| layer["type"] == "u32")
        .map(|layer| &layer["id"])
        .collect();
    assert_eq!(offered, json!(whole));
    // Middles of the edges between a pixel and its right neighbour, away from marks and names: where they differ, and where
    // those above and below are no different either.
    let marks: Vec<f64> = slice["marks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|mark| (1.0 - mark["t"].as_f64().unwrap()) / 2.0 * size as f64)
        .collect();
    let classes = &arrays.arrays["class"];
    let scale = width / size as f64;
    let class = |x: usize, y: usize| classes[y * size + x];
    let edges: Vec<[usize; 2]> = (1..size - 1)
        .filter(|y| marks.iter().all(|mark| (*y as f64 - mark).abs() > 6.0))
        .flat_map(|y| (0..size - 1).map(move |x| [x, y]))
        .collect();
    let middles = |wanted: &dyn Fn(usize, usize) -> bool| -> Vec<[f64; 2]> {
        let edges = edges.iter().filter(|[x, y]| wanted(*x, *y));
        edges.map(|[x, y]| [(x + 1) as f64 * scale, (*y as f64 + 0.5) * scale]).collect()
    };
    let differing = middles(&|x, y| class(x, y) != class(x + 1, y));
    let alike = |x: usize, y: usize| (y - 1..=y + 1).all(|y| class(x, y) == class(x + 1, y));
    let equal =
        middles(&|x, y| alike(x, y) && [y - 1, y + 1].iter().all(|other| class(x, *other) == class(x, y)));
    let equal: Vec<_> = equal.into_iter().step_by(97).collect();
    assert!(differing.len() > 5 && equal.len() > 20, "{} {}", differing.len(), equal.len());
    let before = [colours(&browser, &differing), colours(&browser, &equal)];
    let check = "document.querySelector('.lines input[value=\"class\"]').click()";
    browser.run(check, &[]);
    let after = [colours(&browser, &differing), colours(&browser, &equal)];
    assert!(
        after[0].iter().all(|colour| colour.iter().all(|channel| *channel > 150)),
        "white lines, smoothed: {:?}",
        after[0]
    );
    assert_eq!(before[1], after[1]);
    browser.run(check, &[]);
    assert_eq!(colours(&browser, &differing), before[0]);
}
