//! `fenchel sheet` from outside: what it writes, and what it refuses.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::path::Path;

use common::place::Place;
use fenchel::data::read_array;
use fenchel::tolerance::{APPROXIMATE, CLOSE, relative_difference};
use serde_json::{Value, json};

const DIGITS: &str = "--data digits.npz --key x --scale 0.0625 --device cpu";

impl Place {
    fn new() -> Self {
        Self::with(&["digits_cnn.onnx", "digits_gelu.onnx", "digits.npz", "golden/digits_cnn.npz"])
    }

    /// The one line that says why; nothing is written.
    fn fail(&self, command: &str, code: i32) -> String {
        let (found, _, text) = self.run(command);
        assert_eq!(found, Some(code), "{command}: {text}");
        assert!(text.starts_with("error: "), "{command}: {text}");
        let left = ["i.png", "d.npy"].iter().find(|name| self.path(name).exists());
        assert!(left.is_none(), "{command} left {left:?}");
        text
    }

    fn values(&self, name: &str) -> Vec<f64> {
        read_array(&self.path(name), None).unwrap().into_iter().collect()
    }

    fn array(&self, name: &str, key: &str) -> Vec<f64> {
        read_array(&self.path(name), Some(key)).unwrap().into_iter().collect()
    }

    fn rgb(&self, name: &str) -> image::RgbImage {
        image::open(self.path(name)).unwrap().to_rgb8()
    }
}

fn numbers(value: &Value) -> Vec<usize> {
    value.as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect()
}

#[test]
fn templates_and_contributions_are_those_of_the_golden_jacobians() {
    let place = Place::new();
    let golden = "sheet digits_cnn.onnx --data digits_cnn.npz --rows 0..4 --device cpu";
    let document = place.succeed(&format!("{golden} --what templates -o t.png --npy t.npy"));
    assert_eq!((&document["kind"], &document["image"]), (&json!("piecewise-affine"), &json!([1, 8, 8])));
    assert_eq!((&document["tiles"], &document["shape"]), (&json!(44), &json!([4, 10, 1, 8, 8])));
    let jacobian = place.array("digits_cnn.npz", "jacobian");
    let slopes = place.values("t.npy");
    assert!(relative_difference(slopes.iter().copied(), jacobian.iter().copied()) < APPROXIMATE);
    let far = slopes.iter().fold(0.0, |far: f64, p| far.max(p.abs()));
    assert_eq!(document["range"], json!([-far, far]));

    let picture = place.rgb("t.png");
    let size = [&document["width"], &document["height"]].map(|side| side.as_u64().unwrap() as u32);
    assert_eq!(size, [picture.width(), picture.height()]);
    let places: Vec<Vec<usize>> = document["places"].as_array().unwrap().iter().map(numbers).collect();
    assert!(places.iter().all(|place| place[2..] == [64, 64]));
    // The pixel in the middle of each number of the second row's template of output 7: red above 0, blue below.
    let [x, y] = [places[11 + 8][0], places[11 + 8][1]];
    for at in 0..64 {
        let slope = jacobian[(10 + 7) * 64 + at];
        let [red, _, blue] =
            picture.get_pixel((x + 8 * (at % 8) + 4) as u32, (y + 8 * (at / 8) + 4) as u32).0;
        if slope.abs() > 0.05 * far {
            assert_eq!(red > blue, slope > 0.0, "{at}");
        }
    }

    place.succeed(&format!("{golden} --what contributions --outputs 3,9 -o c.png --npy c.npy"));
    let (x, contributions) = (place.array("digits_cnn.npz", "x"), place.values("c.npy"));
    let products = (0..4).flat_map(|n| [3, 9].map(|k| (n, k))).flat_map(|(n, k)| {
        let (x, slopes) = (&x[64 * n..], &jacobian[(10 * n + k) * 64..]);
        (0..64).map(move |i| x[i] * slopes[i])
    });
    assert!(relative_difference(contributions, products) < APPROXIMATE);

    // The command is in the file.
    let file = std::fs::File::open(place.path("c.png")).unwrap();
    let reader = png::Decoder::new(std::io::BufReader::new(file)).read_info().unwrap();
    let texts = &reader.info().uncompressed_latin1_text;
    let comment = texts.iter().find(|text| text.keyword == "Comment").unwrap();
    assert!(comment.text.starts_with("fenchel sheet digits_cnn.onnx"), "{}", comment.text);
}

#[test]
fn sheets_of_a_spline_show_what_eval_says() {
    let place = Place::new();
    place.done(&format!(
        "fit digits_gelu.onnx {DIGITS} --take 0..60 --pieces all --curvature 3 -o s.safetensors"
    ));
    place.done("eval s.safetensors --data digits.npz --key x --device cpu -o e.npz");
    let data = "--data digits.npz --key x --device cpu --rows 61,100..102 --outputs 4,2";
    let document = place.succeed(&format!("sheet s.safetensors {data} --what anchors -o a.png --npy a.npy"));
    assert_eq!((&document["shape"], &document["tiles"]), (&json!([3, 2, 2, 1, 8, 8]), &json!(15)));
    let (pixels, anchors) = (place.array("digits.npz", "x"), place.values("a.npy"));
    let [convex, concave] = ["convex_piece", "concave_piece"].map(|name| place.array("e.npz", name));
    for (n, row) in [61, 100, 101].into_iter().enumerate() {
        for (at, output) in [4, 2].into_iter().enumerate() {
            for (half, pieces) in [&convex, &concave].into_iter().enumerate() {
                // All of the first 60 rows are anchors, so that an anchor's number is that of its row.
                let anchor = pieces[10 * row + output] as usize;
                let shown = &anchors[((2 * n + at) * 2 + half) * 64..][..64];
                let expected = pixels[64 * anchor..][..64].iter().map(|pixel| pixel / 16.0);
                assert_eq!(shown, expected.collect::<Vec<f64>>());
            }
        }
    }
    let document = place.succeed(&format!("sheet s.safetensors {data} --what slopes -o s.png --npy s.npy"));
    assert_eq!((&document["shape"], &document["tiles"]), (&json!([3, 2, 3, 1, 8, 8]), &json!(21)));
    // With equal curvatures the spline's slope is the mean of both.
    for slopes in place.values("s.npy").chunks(3 * 64) {
        let mean = (0..64).map(|i| f64::midpoint(slopes[i], slopes[64 + i]));
        assert!(relative_difference(slopes[128..].iter().copied(), mean) < CLOSE);
    }
    let text = place.fail(&format!("sheet s.safetensors {data} -o i.png"), 2);
    assert_eq!(text, "error: --what templates is of networks; of a spline there are slopes and anchors\n");
    let text = place.fail(&format!("sheet s.safetensors {data} --what slopes --node x -o i.png"), 2);
    assert_eq!(text, "error: --node, --from, --fix and --logits are of networks, not of splines\n");
    place.done(&format!("fit digits_gelu.onnx {DIGITS} --take 0..60 --soft nearest:0.5 -o soft.safetensors"));
    let text = place.fail(&format!("sheet soft.safetensors {data} --what slopes -o i.png"), 2);
    assert!(text.contains("soft"), "{text}");
}

#[test]
fn maps_are_compared_with_splined_networks_and_splines() {
    let place = Place::new();
    place.done(&format!(
        "layers digits_gelu.onnx {DIGITS} --take 0..200 --points 200..300 --pieces 4 --save -o layers"
    ));
    let rows = "--rows 7,3 --what channels --node gelu1";
    let command = format!("sheet digits_gelu.onnx {DIGITS} {rows} --against layers/splined-4.onnx");
    let document = place.succeed(&format!("{command} -o m.png --npy m.npy"));
    assert_eq!((&document["shape"], &document["tiles"]), (&json!([2, 1, 3, 8, 8]), &json!(8)));
    for (model, y) in [("digits_gelu.onnx", "own.npy"), ("layers/splined-4.onnx", "other.npy")] {
        place.done(&format!("run {model} {DIGITS} --node gelu1 -o {y}"));
    }
    let of = |name: &str| {
        let values = place.values(name);
        [7, 3].map(|row: usize| values[64 * row..64 * (row + 1)].to_vec())
    };
    let (own, other, shown) = (of("own.npy"), of("other.npy"), place.values("m.npy"));
    let mut squares = 0.0;
    for n in 0..2 {
        let tiles = &shown[3 * 64 * n..];
        assert!(relative_difference(tiles[..64].iter().copied(), own[n].iter().copied()) < CLOSE);
        assert!(relative_difference(tiles[64..128].iter().copied(), other[n].iter().copied()) < CLOSE);
        for i in 0..64 {
            let difference = other[n][i] - own[n][i];
            assert!((tiles[128 + i] - difference).abs() < CLOSE);
            squares += difference * difference;
        }
    }
    let rms = document["rms"].as_f64().unwrap();
    assert!((rms - (squares / 128.0_f64).sqrt()).abs() < CLOSE && rms > 1e-3, "{rms}");
    assert_eq!(document["channel_rms"], json!([rms]));

    // Eight channels of a first convolution, and one that is not there.
    let conv = format!("sheet digits_cnn.onnx {DIGITS} --rows 0..2 --what channels --node relu1");
    let document = place.succeed(&format!("{conv} --channels 3..11 -o c.png"));
    assert_eq!((&document["shape"], &document["tiles"]), (&json!([2, 8, 8, 8]), &json!(18)));
    assert!(document.get("rms").is_none());
    let text = place.fail(&format!("{conv} --channels 3,16 -o i.png"), 2);
    assert_eq!(text, "error: there is no channel 16: expected 0 to 15\n");
    let text =
        place.fail(&format!("sheet digits_cnn.onnx {DIGITS} --what channels --node relu9 -o i.png"), 2);
    assert!(text.starts_with("error: no node is called 'relu9'; there are "), "{text}");
    // A network does not differ from itself.
    let against = "--what channels --node logits --against digits_gelu.onnx";
    let same = place.succeed(&format!("sheet digits_gelu.onnx {DIGITS} {against} -o l.png"));
    assert_eq!((&same["rms"], &same["shape"]), (&json!(0.0), &json!([10, 1, 3, 2, 5])));

    // A spline of the node, at its own anchors.
    place.done(&format!(
        "fit digits_gelu.onnx {DIGITS} --node gelu1 --take 0..20 --curvature 50 -o n.safetensors"
    ));
    let command = format!("sheet digits_gelu.onnx {DIGITS} {rows}");
    let document = place.succeed(&format!("{command} --spline n.safetensors -o n.png"));
    assert!(document["relative_rms"].as_f64().unwrap() < APPROXIMATE);
    let other = "--what channels --node gelu2 --spline n.safetensors -o i.png";
    let text = place.fail(&format!("sheet digits_gelu.onnx {DIGITS} {other}"), 1);
    assert_eq!(text, "error: 'n.safetensors' is a spline of the node 'gelu1', not of 'gelu2'\n");
    let other = "--what channels --node relu1 --spline n.safetensors -o i.png";
    let text = place.fail(&format!("sheet digits_cnn.onnx {DIGITS} {other}"), 1);
    assert!(
        text.starts_with("error: 'n.safetensors' is a spline of another network, 'digits_gelu.onnx'"),
        "{text}"
    );
}

#[test]
fn clusters_of_data_and_their_classes() {
    let place = Place::new();
    let document =
        place.succeed(&format!("sheet none {DIGITS} --what clusters --clusters 12 -o k.png --npy k.npy"));
    let sizes = numbers(&document["sizes"]);
    assert_eq!((sizes.len(), sizes.iter().sum::<usize>()), (12, 1797));
    assert!(sizes.is_sorted_by(|a, b| a >= b));
    // Means weighed by their numbers make the mean of all.
    let (means, pixels) = (place.values("k.npy"), place.array("digits.npz", "x"));
    for i in 0..64 {
        let weighed: f64 = sizes.iter().enumerate().map(|(k, &n)| n as f64 * means[64 * k + i]).sum();
        let all: f64 = pixels.iter().skip(i).step_by(64).map(|pixel| pixel / 16.0).sum();
        assert!((weighed - all).abs() < APPROXIMATE * all.max(1.0), "{i}");
    }
    let command =
        format!("sheet digits_cnn.onnx {DIGITS} --what clusters --clusters 12 -o c.png --npy c.npy");
    let document = place.succeed(&command);
    assert_eq!(place.values("c.npy"), means);
    // The classes are those that the network gives to the means.
    place.done("run digits_cnn.onnx --data c.npy --device cpu -o y.npy");
    let largest = |row: &[f64]| (0..10).max_by(|&i, &j| row[i].total_cmp(&row[j])).unwrap();
    let classes: Vec<usize> = place.values("y.npy").chunks(10).map(largest).collect();
    assert_eq!(numbers(&document["classes"]), classes);
    let some =
        place.succeed(&format!("sheet none {DIGITS} --what clusters --rows 0..30 --clusters 3 -o s.png"));
    assert_eq!(numbers(&some["sizes"]).iter().sum::<usize>(), 30);
}

#[test]
fn what_is_wrong_is_named() {
    let place = Place::new();
    let sheet = format!("sheet digits_cnn.onnx {DIGITS} -o i.png --npy d.npy");
    for (more, code, line) in [
        ("--rows 1797", 2, "--rows: there is no row 1797 of the 1797 in 'digits.npz'"),
        ("--rows 0,1790..1799", 2, "--rows: there is no row 1797 of the 1797 in 'digits.npz'"),
        ("--outputs 10", 2, "there is no output 10: expected 0 to 9"),
        ("--shape 1x8x9", 2, "--shape 1x8x9 has 72 numbers, the rows of 'digits.npz' have 64"),
        ("--colours own --range 0,1", 2, "--range is for common colours, not for --colours own"),
        ("--clusters 3", 2, "--clusters goes with --what clusters, not with templates"),
        ("--what clusters --clusters 0", 2, "0 clusters of 1797 rows: expected 1 to 1797"),
        (
            "--what clusters --rgb",
            2,
            "--rgb is for slopes and contributions; images of --what clusters are in colour anyway",
        ),
        ("--against x.onnx", 2, "--against goes with --what channels, not with templates"),
        ("--what slopes", 2, "--what slopes needs a spline that fit has saved, a .safetensors file"),
        ("--what channels", 2, "--what channels needs --node NAME (fenchel inspect lists the nodes)"),
        ("--what channels --node relu1 --outputs 0", 2, "--what channels takes --channels, not --outputs"),
        ("--what channels --node relu1 --against .", 1, "'.' is a folder, not an ONNX file"),
        (
            "--memory 10KiB",
            1,
            "a sheet of 110 tiles needs at least 55 KiB of memory, the budget is 10 KiB: raise --memory",
        ),
        ("--zoom 256 --rows 0..1000", 2, "the sheet would have"),
    ] {
        let text = place.fail(&format!("{sheet} {more}"), code);
        assert!(text.starts_with(&format!("error: {line}")), "{more}: {text}");
    }
    let text = place.fail(&format!("sheet none {DIGITS} -o i.png"), 2);
    assert_eq!(text, "error: 'none' stands for no network: there are only clusters then, without outputs\n");
    let text = place.fail(&format!("sheet digits_cnn.onnx {DIGITS} -o i.png --npy i.png"), 2);
    assert_eq!(text, "error: two results cannot share the file 'i.png'\n");
    place.npz("nan.npz", &[("x", &[2, 64], &[vec![0.5; 100], vec![f64::NAN; 28]].concat())]);
    for (data, line) in [
        (".", "holds no"),
        ("nan.npz", "row 1 holds a NaN or an infinity"),
        ("digits_cnn.npz --key y", "64 elements are needed"),
        ("none.npz", "cannot read 'none.npz'"),
    ] {
        let text = place.fail(&format!("sheet digits_cnn.onnx --data {data} -o i.png"), 1);
        assert!(text.contains(line), "{data}: {text}");
    }
    for wrong in
        ["--zoom 0", "--zoom 257", "--range 1,1", "--shape 8", "--colours mine", "--what art", "--rows x"]
    {
        let (code, _, text) = place.run(&format!("{sheet} {wrong}"));
        assert_eq!(code, Some(2), "{wrong}: {text}");
    }
    let (code, _, text) = place.run(&format!("sheet digits.npz {DIGITS} --what slopes -o i.png"));
    assert_eq!((code, text.contains(".safetensors")), (Some(2), true));
    place.done(&format!("fit digits_gelu.onnx {DIGITS} --take 0..9 -o s.safetensors"));
    std::fs::write(place.path("bad.safetensors"), [7; 100]).unwrap();
    let text = place.fail(&format!("sheet bad.safetensors {DIGITS} --what slopes -o i.png"), 1);
    assert!(text.contains("is not a Fenchel spline"), "{text}");
}

#[test]
fn memory_changes_no_pixel_and_zoom_and_colours_do() {
    let place = Place::new();
    let sheet = format!("sheet digits_cnn.onnx {DIGITS} --rows 0..30 --outputs 0..10");
    place.done(&format!("{sheet} -o a.png --npy a.npy"));
    place.done(&format!("{sheet} --memory 4MiB -o b.png --npy b.npy"));
    assert!(place.rgb("a.png") == place.rgb("b.png") && place.values("a.npy") == place.values("b.npy"));
    let small = place.succeed(&format!("{sheet} --zoom 2 -o c.png"));
    assert_eq!(numbers(&small["places"][0])[2..], [16, 16]);
    let own = place.succeed(&format!("{sheet} --colours own -o d.png"));
    assert_eq!(own["range"], Value::Null);
    // A smooth network has tangents.
    let smooth = place.succeed(&format!("sheet digits_gelu.onnx {DIGITS} --rows 0 -o g.png"));
    assert_eq!(smooth["kind"], "smooth");
    let wide = place.succeed(&format!("{sheet} --shape 4x4x4 -o p.png"));
    assert_eq!((&wide["image"], numbers(&wide["places"][1])[2]), (&json!([4, 4, 4]), 4 * 64 + 3 * 2));
}

/// Files as they come; skipped where they are not there.
#[test]
#[allow(clippy::print_stdout, reason = "says why a test was skipped")]
fn inputs_of_published_networks_are_images() {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    if !shared.is_dir() {
        println!("skipped: ../shared/data is not there");
        return;
    }
    let place = Place::with(&[]);
    for (name, image) in [
        ("mnist-net_256x4", json!([1, 28, 28])),
        ("resnet_2b", json!([3, 32, 32])),
        ("cifar10_medium", json!([3, 32, 32])),
        ("ACASXU_run2a_1_1_batch_2000", json!([1, 1, 5])),
    ] {
        let [model, data] = ["models", "golden"].map(|folder| shared.join(folder).join(name));
        let (model, data) = (model.with_extension("onnx"), data.with_extension("npz"));
        let files = format!("{} --data {}", model.display(), data.display());
        let document = place
            .succeed(&format!("sheet {files} --rows 0..2 --outputs 0,1 --device cpu -o s.png --npy s.npy"));
        assert_eq!(document["image"], image, "{name}");
        let Ok(jacobian) = read_array(&data, Some("jacobian")) else { continue };
        let slopes = read_array(&place.path("s.npy"), None).unwrap();
        // Channels come first on a sheet, wherever the network has them.
        let last = name == "cifar10_medium";
        let (d, k) = (slopes.len() / 4, jacobian.shape()[1]);
        let jacobian: Vec<f64> = jacobian.into_iter().collect();
        let expected = (0..2).flat_map(|n| [0, 1].map(|output| (n, output))).flat_map(|(n, output)| {
            let row = jacobian[(n * k + output) * d..][..d].to_vec();
            (0..d).map(move |i| row[if last { i % (d / 3) * 3 + i / (d / 3) } else { i }])
        });
        assert!(relative_difference(slopes, expected) < APPROXIMATE, "{name}");
    }
}
