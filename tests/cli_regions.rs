//! `fenchel render --what region` and `--what density` from outside.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::place::Place;
use fenchel::data::read_array;
use fenchel::render::category;
use serde_json::Value;

const RENDER: &str = "render moons.onnx --plane plane.npz";

fn moons() -> Place {
    let place =
        Place::with(&["moons.onnx", "moons.npz", "digits_sigmoid.onnx", "digits_relu.onnx", "digits.npz"]);
    place.succeed("plane moons.onnx --data moons.npz --domain -o plane.npz");
    place
}

fn values(place: &Place, name: &str) -> Vec<f64> {
    read_array(&place.path(name), None).unwrap().into_iter().collect()
}

fn fail(place: &Place, command: &str, code: i32) -> String {
    let (found, _, text) = place.run(command);
    assert_eq!(found, Some(code), "{command}: {text}");
    assert!(text.starts_with("error: ") && !place.path("i.png").exists(), "{command}: {text}");
    text
}

#[test]
fn regions_have_one_colour_in_every_picture() {
    let place = moons();
    let drawn = place.succeed(&format!(
        "{RENDER} --what region --antialias 1 --size 24x24 -o i.png --npy a.npy --legend l.svg"
    ));
    let large = values(&place, "a.npy");
    let mut regions = large.clone();
    regions.sort_by(f64::total_cmp);
    regions.dedup();
    assert_eq!(
        drawn["regions"],
        serde_json::json!({"label": "visited", "count": regions.len(), "capped": false})
    );
    assert!(regions.len() > 10 && drawn["classes"] == Value::Null && drawn["range"] == Value::Null);
    let image = image::open(place.path("i.png")).unwrap().to_rgb8();
    assert!(image.pixels().zip(&large).all(|(pixel, &number)| pixel.0 == category(number as u32)));
    let legend = std::fs::read_to_string(place.path("l.svg")).unwrap();
    let line = format!("{} regions visited", regions.len());
    assert!(legend.contains(&line) && legend.matches("<rect").count() == 1, "{legend}");
    assert!(
        place.done(&format!("{RENDER} --what region --antialias 1 --size 24x24 -o i.png")).contains(&line)
    );
    // The middle of a pixel of the small picture is that of every third of the large one.
    place.succeed(&format!(
        "{RENDER} --what region --antialias 1 --size 8x8 -o i.png --npy b.npy --memory 2MiB"
    ));
    let middle = (0..8).flat_map(|y| (0..8).map(move |x| (3 * y + 1) * 24 + 3 * x + 1));
    assert!(values(&place, "b.npy").into_iter().eq(middle.map(|at| large[at])));
}

#[test]
fn layers_are_chosen_by_name() {
    let place = moons();
    let count = |options: &str| {
        let drawn = place.succeed(&format!("{RENDER} --what region --size 64x64 -o c.png {options}"));
        drawn["regions"]["count"].as_u64().unwrap()
    };
    let (first, last) = ("relu1", "relu2");
    let all = count("");
    assert_eq!(count(&format!("--cumulative {last}")), all);
    assert_eq!(count(&format!("--layer {first}")), count(&format!("--cumulative {first}")));
    assert!(count(&format!("--layer {first}")) < all && count(&format!("--layer {last}")) <= all);
    let text = fail(&place, &format!("{RENDER} --what region --layer nothing -o i.png"), 2);
    assert!(text.contains("no node is called 'nothing'"), "{text}");
    let text = fail(&place, &format!("{RENDER} --what density --cumulative logits -o i.png"), 2);
    assert!(text.contains("'logits' picks no pieces; 'relu1', 'relu2' do"), "{text}");
}

#[test]
fn densities_are_numbers() {
    let place = moons();
    let drawn =
        place.succeed(&format!("{RENDER} --what density --size 40x30 -o i.png --npy d.npy --legend l.svg"));
    let values = values(&place, "d.npy");
    let largest = values.iter().copied().fold(0.0, f64::max);
    assert!(values.iter().all(|&d| d >= 0.0) && largest > 0.0);
    assert_eq!((drawn["least"].as_f64(), drawn["largest"].as_f64()), (Some(0.0), Some(largest)));
    assert_eq!(drawn["beyond"].as_f64(), Some(0.0));
    // An edge along s that meets one boundary, and one along t.
    let step = std::f64::consts::PI / 8.0;
    let fits = |d: f64| {
        (0..60)
            .any(|i| (0..60).any(|j| (d - step * (f64::from(i) * 20.0 + f64::from(j) * 15.0)).abs() < 1e-3))
    };
    assert!(values.iter().take(200).all(|&d| fits(d)));
    let smaller =
        place.succeed(&format!("{RENDER} --what density --size 40x30 -o i.png --layer relu1 --ssaa 2"));
    assert!(smaller["largest"].as_f64().is_some());
}

#[test]
fn what_makes_no_sense_is_refused() {
    let place = moons();
    let region = format!("{RENDER} --what region -o i.png");
    assert!(fail(&place, &format!("{region} --diverging"), 2).contains("regions have no --range"));
    assert!(fail(&place, &format!("{region} --range 0,1"), 2).contains("regions have no --range"));
    assert!(fail(&place, &format!("{region} --outputs 0"), 2).contains("all --outputs"));
    let text = fail(&place, &format!("{RENDER} --what class --layer x -o i.png"), 2);
    assert!(text.contains("--layer and --cumulative are for regions and densities"), "{text}");
    assert!(fail(&place, &format!("{region} --layer a --cumulative b"), 2).contains("cannot be used with"));
    place.succeed("plane digits_sigmoid.onnx --data digits.npz --key x --through 0,1,2 -o digits.npz.plane");
    let text = fail(&place, "render digits_sigmoid.onnx --plane digits.npz.plane --what density -o i.png", 1);
    assert!(text.contains("needs affine pieces of every operator, which Sigmoid"), "{text}");
}
