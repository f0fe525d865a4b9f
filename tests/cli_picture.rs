//! `fenchel render` from outside: anti-aliasing, lines, axes and tiles.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::place::Place;
use fenchel::data::read_array;
use fenchel::render::category;

const RENDER: &str = "render moons.onnx --plane plane.npz --device cpu";

fn place() -> Place {
    let place = Place::with(&["moons.onnx", "moons.npz"]);
    place.succeed("plane moons.onnx --data moons.npz --domain -o plane.npz");
    place
}

fn rgb(place: &Place, name: &str) -> image::RgbImage {
    image::open(place.path(name)).unwrap().to_rgb8()
}

/// The one line that says why; nothing is written.
fn fail(place: &Place, command: &str, code: i32) -> String {
    let (found, _, text) = place.run(&format!("{RENDER} {command}"));
    assert_eq!(found, Some(code), "{command}: {text}");
    assert!(text.starts_with("error: "), "{command}: {text}");
    let left = ["i.png", "d.npy", "l.svg", "tiles"].iter().find(|name| place.path(name).exists());
    assert!(left.is_none(), "{command} left {left:?}");
    text
}

#[test]
fn classes_are_anti_aliased_unless_told_otherwise() {
    let place = place();
    let run = |options: &str| {
        let size = "--what class --size 90x70";
        let document = place.succeed(&format!("{RENDER} {size} {options} -o a.png --npy a.npy"));
        let values: Vec<f64> = read_array(&place.path("a.npy"), None).unwrap().into_iter().collect();
        (rgb(&place, "a.png"), values, document["further_samples"].as_u64().unwrap())
    };
    let (plain, values, none) = run("--antialias 1");
    let (smooth, same, some) = run("");
    assert_eq!((none, &values), (0, &same));
    assert!(plain.pixels().all(|p| p.0 == category(0) || p.0 == category(1)));
    let mixed = |image: &image::RgbImage| {
        image.pixels().filter(|p| p.0 != category(0) && p.0 != category(1)).count() as u64
    };
    assert!(mixed(&smooth) > 60 && some % 16 == 0 && some >= 16 * mixed(&smooth), "{some}");
    assert_eq!(run("--antialias 4").0, smooth);
    assert_ne!(run("--antialias 2").0, smooth);
    // What is far from any boundary is as it was.
    for (x, y, pixel) in plain.enumerate_pixels() {
        let around = (x.max(1) - 1..(x + 2).min(90))
            .flat_map(|x| (y.max(1) - 1..(y + 2).min(70)).map(move |y| (x, y)));
        if around.into_iter().all(|(x, y)| plain.get_pixel(x, y) == pixel) {
            assert_eq!(smooth.get_pixel(x, y), pixel, "{x} {y}");
        }
    }
}

#[test]
fn margins_vanish_where_the_boundary_line_is() {
    let place = place();
    let options = "--what margin --size 80x60 --npy a.npy";
    place.succeed(&format!("{RENDER} {options} -o a.png"));
    let document = place.succeed(&format!("{RENDER} {options} --lines class -o b.png"));
    assert!(document["further_samples"].as_u64().unwrap() > 80 * 60);
    let values: Vec<f64> = read_array(&place.path("a.npy"), None).unwrap().into_iter().collect();
    let (plain, lined) = (rgb(&place, "a.png"), rgb(&place, "b.png"));
    let (mut least, mut inked) = (f64::MAX, 0);
    for (i, (a, b)) in plain.pixels().zip(lined.pixels()).enumerate() {
        if a == b {
            least = least.min(values[i]);
        } else {
            inked += 1;
        }
    }
    // What lies off the line is not where the margin is least.
    let smallest = values.iter().copied().fold(f64::MAX, f64::min);
    assert!(inked > 60 && inked < 600 && least > 5.0 * smallest.max(1e-3), "{inked} {least} {smallest}");
    // The same line is that of level 0 of the difference of the two outputs: so of margins there is no contour.
    let contours = place.succeed(&format!("{RENDER} {options} --contours 0.5,1.0 -o c.png"));
    assert_eq!(contours["contours"], serde_json::json!([0.5, 1.0]));
    assert_ne!(rgb(&place, "c.png"), plain);
}

#[test]
fn directions_have_a_cycle_of_colours() {
    let place = place();
    let options = "--what direction --outputs 0 --size 20x30 --npy a.npy";
    let document = place.succeed(&format!("{RENDER} {options} -o a.png"));
    assert_eq!(document["range"], serde_json::json!([-180.0, 180.0]));
    let scale = fenchel::render::Scale::new(fenchel::render::ColourMap::Cyclic, -180.0..180.0).unwrap();
    let values: Vec<f64> = read_array(&place.path("a.npy"), None).unwrap().into_iter().collect();
    assert!(rgb(&place, "a.png").pixels().zip(&values).all(|(pixel, value)| pixel.0 == scale.colour(*value)));
    assert!(values.iter().any(|value| (value - values[0]).abs() > 10.0));
}

#[test]
fn axes_tiles_and_a_page() {
    let place = place();
    let options = "--outputs 1 --size 700x600 --contours auto";
    place.succeed(&format!("{RENDER} {options} -o bare.png"));
    let axes = "--axes --axis-labels first,second --title both";
    let tiles = "--pyramid tiles --npy d.npy --legend l.svg";
    let document = place.succeed(&format!("{RENDER} {options} {axes} {tiles} -o framed.png"));
    assert_eq!(document["levels"], 2);
    let (bare, framed) = (rgb(&place, "bare.png"), rgb(&place, "framed.png"));
    assert!(framed.width() > bare.width() + 60 && framed.height() > bare.height() + 40);
    // The tiles are the picture without its frame, which lies in the framed picture.
    let corner = rgb(&place, "tiles/tiles/1/0_0.png");
    assert!(corner.enumerate_pixels().all(|(x, y, p)| bare.get_pixel(x, y) == p));
    let rest = rgb(&place, "tiles/tiles/1/1_1.png");
    assert_eq!(rest.dimensions(), (188, 88));
    assert!(rest.enumerate_pixels().all(|(x, y, p)| bare.get_pixel(512 + x, 512 + y) == p));
    let first = *framed.get_pixel(framed.width() / 2, framed.height() / 2);
    assert!(bare.pixels().any(|p| *p == first));
    let html = std::fs::read_to_string(place.path("tiles/index.html")).unwrap();
    let legend = std::fs::read_to_string(place.path("l.svg")).unwrap();
    assert!(html.contains("<title>both</title>") && html.contains(legend.trim()) && legend.contains("both"));
    assert!(html.contains("href=\"../d.npy\"") && html.contains("href=\"../plane.npz\""));
    assert!(html.contains("fenchel render moons.onnx") && html.contains("xmlns"));
    // The name of a language is no address.
    assert!(!html.replace("xmlns=\"http://www.w3.org/2000/svg\"", "").contains("http"));
    // The page alone, where there is an empty folder.
    std::fs::create_dir(place.path("empty")).unwrap();
    place.succeed(&format!("{RENDER} --what class --size 30x20 --pyramid empty"));
    assert!(place.path("empty/index.html").exists() && place.path("empty/tiles/0/0_0.png").exists());
    let (code, _, text) = place.run(&format!("{RENDER} --what class --size 30x20 --pyramid empty"));
    assert!(code == Some(1) && text.contains("the folder is not empty"), "{text}");
    // A legend of classes in the picture.
    place.succeed(&format!("{RENDER} --what class --size 200x150 --axes -o c.png"));
    let framed = rgb(&place, "c.png");
    let column = (200..framed.width()).find(|&x| {
        (0..framed.height()).filter(|&y| framed.get_pixel(x, y).0 == category(1)).count() == 13
            && (0..framed.height()).filter(|&y| framed.get_pixel(x, y).0 == category(0)).count() == 13
    });
    assert!(column.is_some());
}

#[test]
fn what_makes_no_sense_is_one_clear_line() {
    let place = place();
    let classes = "--what class -o i.png";
    let value = "--outputs 0 -o i.png";
    assert!(fail(&place, &format!("{classes} --contours auto"), 2).contains("boundaries, not --contours"));
    for levels in ["nan", "0,inf", "", "x"] {
        let (code, _, text) = place.run(&format!("{RENDER} {value} --contours={levels}"));
        assert!(code == Some(2) && !place.path("i.png").exists(), "{levels}: {text}");
    }
    for samples in ["0", "17", "-1", "two"] {
        assert!(
            fail(&place, &format!("{classes} --antialias={samples}"), 2).contains("1 to 16"),
            "{samples}"
        );
    }
    assert!(fail(&place, &format!("{classes} --antialias 4 --ssaa 2"), 2).contains("one sample"));
    assert!(fail(&place, &format!("{value} --antialias 4"), 2).contains("numbers have no boundaries"));
    assert!(fail(&place, &format!("{value} --lines margin"), 2).contains("margin has --contours"));
    let direction = "--what direction --outputs 0 -o i.png --diverging";
    assert!(fail(&place, direction, 2).contains("directions go round"));
    assert!(fail(&place, &format!("{value} --line-width 0"), 2).contains("0.5 to 16 pixels"));
    assert!(fail(&place, &format!("{value} --line-width -1"), 2).contains("0.5 to 16 pixels"));
    assert!(fail(&place, &format!("{value} --contours 1001"), 2).contains("1 to 1000 contours"));
    assert!(fail(&place, "--what class --axes --pyramid tiles", 2).contains("give -o IMG.png"));
    assert!(fail(&place, &format!("{value} --pyramid i.png"), 2).contains("cannot share the file"));
    assert!(fail(&place, &format!("{value} --axis-labels a,b"), 2).contains("--axes"));
    assert!(fail(&place, &format!("{value} --axes --axis-labels a"), 2).contains("two names"));
    assert!(fail(&place, &format!("{value} --pyramid none/tiles"), 1).contains("there is no folder 'none'"));
    assert!(fail(&place, &format!("{value} --pyramid plane.npz"), 1).contains("cannot write 'plane.npz'"));
    let (code, _, text) = place.run(&format!("{RENDER} --what class"));
    assert!(code == Some(2) && text.contains("--output"), "{text}");
}
