//! `fenchel plane` and `fenchel render` from outside: what they write, and what they refuse.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::place::Place;
use fenchel::data::read_array;
use fenchel::engine::{Context, Cpu, DeviceChoice, device};
use fenchel::network::onnx;
use fenchel::render::{category, read_plane};
use fenchel::tolerance::{APPROXIMATE, CLOSE, relative_difference};
use ndarray::{Array2, s};

impl Place {
    /// The networks and data of the assets, and the rectangle of the moons as `plane.npz`.
    fn new() -> Self {
        let place =
            Self::with(&["moons.onnx", "moons.npz", "digits_cnn.onnx", "digits_gelu.onnx", "digits.npz"]);
        place.succeed("plane moons.onnx --data moons.npz --domain -o plane.npz");
        place
    }

    fn plane(&self, name: &str, origin: &[f64], u: &[f64], v: &[f64]) {
        self.npz(name, &[("origin", &[origin.len()], origin), ("u", &[u.len()], u), ("v", &[v.len()], v)]);
    }

    /// The one line that says why; nothing is written.
    fn fail(&self, command: &str, code: i32) -> String {
        let (found, _, text) = self.run(command);
        assert_eq!(found, Some(code), "{command}: {text}");
        assert!(text.starts_with("error: "), "{command}: {text}");
        let left = ["i.png", "d.npy", "l.svg", "p.npz"].iter().find(|name| self.path(name).exists());
        assert!(left.is_none(), "{command} left {left:?}");
        text
    }

    fn rgb(&self, name: &str) -> image::RgbImage {
        image::open(self.path(name)).unwrap().to_rgb8()
    }

    fn values(&self, name: &str) -> Vec<f64> {
        read_array(&self.path(name), None).unwrap().into_iter().collect()
    }
}

/// Outputs of moons.onnx at the centres of the pixels of `plane.npz`, by hand: `[H * W, 2]`.
fn outputs(place: &Place, [height, width]: [usize; 2]) -> Array2<f64> {
    let slice = read_plane(&place.path("plane.npz")).unwrap();
    let mut points = vec![];
    for row in 0..height {
        for column in 0..width {
            let s = -1.0 + (column as f64 + 0.5) * 2.0 / width as f64;
            let t = 1.0 - (row as f64 + 0.5) * 2.0 / height as f64;
            points.extend([0, 1].map(|i| slice.origin[i] + s * slice.u[i] + t * slice.v[i]));
        }
    }
    let points = Array2::from_shape_vec((height * width, 2), points).unwrap();
    let network = onnx::load(&place.path("moons.onnx"), &onnx::LoadOptions::default()).unwrap().network;
    let program = network.compile(&Cpu::<f64>::new()).unwrap();
    program.values(points.view(), &Context::default()).unwrap()
}

fn has_gpu() -> bool {
    DeviceChoice::Gpu(None).resolve(&device::adapters()).is_ok()
}

const RENDER: &str = "render moons.onnx --plane plane.npz";

#[test]
fn values_and_classes_at_the_centres_of_pixels() {
    let place = Place::new();
    // Not square, so that exchanged axes show; the network is symmetric in nothing.
    let (width, height) = (37, 23);
    let exact = outputs(&place, [height, width]);
    let devices: &[&str] = if has_gpu() { &["cpu", "gpu"] } else { &["cpu"] };
    for device in devices {
        let size = format!("--size {width}x{height} --device {device}");
        let document =
            place.succeed(&format!("{RENDER} --outputs 1 --range -2,2 {size} -o v.png --npy v.npy"));
        assert_eq!(read_array(&place.path("v.npy"), None).unwrap().shape(), [height, width]);
        let (values, column) = (place.values("v.npy"), exact.slice(s![.., 1]));
        assert!(relative_difference(values.iter().copied(), column.iter().copied()) < CLOSE, "{device}");
        let least = values.iter().copied().fold(f64::MAX, f64::min);
        assert_eq!(document["least"].as_f64().unwrap(), least);
        let picture = place.rgb("v.png");
        assert_eq!(picture.dimensions(), (width as u32, height as u32));
        let scale = fenchel::render::Scale::new(fenchel::render::ColourMap::Sequential, -2.0..2.0).unwrap();
        for (i, pixel) in picture.pixels().enumerate() {
            assert_eq!(pixel.0, scale.colour(values[i]), "{device}: pixel {i}");
        }

        let document =
            place.succeed(&format!("{RENDER} --what class --antialias 1 {size} -o c.png --npy c.npy"));
        let (classes, picture) = (place.values("c.npy"), place.rgb("c.png"));
        let mut ties = 0;
        for (i, row) in exact.rows().into_iter().enumerate() {
            let class = u32::from(row[1] > row[0]);
            ties += usize::from((row[1] - row[0]).abs() < APPROXIMATE);
            if f64::from(class) != classes[i] {
                assert!((row[1] - row[0]).abs() < APPROXIMATE, "{device}: pixel {i}");
            }
            assert_eq!(
                picture.get_pixel((i % width) as u32, (i / width) as u32).0,
                category(classes[i] as u32)
            );
        }
        assert!(ties < 3, "{ties}");
        let share = classes.iter().sum::<f64>() / classes.len() as f64;
        assert!((document["classes"]["1"].as_f64().unwrap() - share).abs() < 1e-12);

        place.succeed(&format!("{RENDER} --what margin {size} -o m.png --npy m.npy"));
        let margins = exact.rows().into_iter().map(|row| (row[1] - row[0]).abs());
        assert!(relative_difference(place.values("m.npy"), margins) < CLOSE, "{device}");
    }
}

#[test]
fn memory_changes_no_byte() {
    let place = Place::new();
    let cut = "plane digits_cnn.onnx --data digits.npz --key x --scale 0.0625 --through 0,1,2 -o d.npz";
    place.succeed(cut);
    let picture = |memory: &str| {
        let options = "--outputs 3 --size 61x45 --range -9,9 --device cpu -o x.png --npy x.npy";
        place.succeed(&format!("render digits_cnn.onnx --plane d.npz {options} --memory {memory}"));
        (place.rgb("x.png").into_raw(), place.values("x.npy"))
    };
    assert!(picture("768MiB") == picture("5MiB"));
    let text = place.fail(&format!("{RENDER} --outputs 0 --size 9999x9 -o i.png --memory 100KiB"), 1);
    assert!(text.contains("a row of the picture needs at least"), "{text}");
}

#[test]
fn samples_are_averaged_as_light() {
    let place = Place::new();
    let run = |options: &str, to: &str| {
        place.succeed(&format!("{RENDER} --what class --antialias 1 --device cpu {options} -o {to}"));
        place.rgb(to)
    };
    let (fine, smooth) = (run("--size 60x40", "f.png"), run("--size 20x20 --ssaa 1", "n.png"));
    assert_eq!(smooth.dimensions(), (20, 20));
    let smooth = run("--size 30x20 --ssaa 2", "s.png");
    let light = |c: u8| {
        let x = f64::from(c) / 255.0;
        if x <= 0.04045 { x / 12.92 } else { ((x + 0.055) / 1.055).powf(2.4) }
    };
    let mut mixed = 0;
    for (x, y, pixel) in smooth.enumerate_pixels() {
        let of = |channel: usize| {
            let samples = [(0, 0), (1, 0), (0, 1), (1, 1)];
            samples.map(|(i, j)| light(fine.get_pixel(2 * x + i, 2 * y + j).0[channel])).iter().sum::<f64>()
                / 4.0
        };
        for channel in 0..3 {
            // Half a step of the 255.
            assert!((light(pixel.0[channel]) - of(channel)).abs() < 0.005, "{x} {y}");
        }
        mixed += u32::from(pixel.0 != category(0) && pixel.0 != category(1));
    }
    assert!(mixed > 10, "{mixed}");
}

/// Values of an attribute of the elements of a kind, in the order of the file.
fn attributes<'a>(svg: &'a str, element: &str, name: &str) -> Vec<&'a str> {
    let (start, name) = (format!("<{element} "), format!("{name}=\""));
    let values = svg.split(&start).skip(1).map(|rest| rest.split(&name).nth(1).unwrap());
    values.map(|rest| rest.split('"').next().unwrap()).collect()
}

/// The texts of an SVG.
fn texts(svg: &str) -> Vec<&str> {
    svg.split("<text ").skip(1).map(|rest| rest.split(['>', '<']).nth(1).unwrap().trim()).collect()
}

#[test]
fn legends_say_what_the_colours_are() {
    let place = Place::new();
    place.succeed(&format!("{RENDER} --outputs 0 --range -1,3 --size 8x8 -o a.png --legend a.svg"));
    let svg = std::fs::read_to_string(place.path("a.svg")).unwrap();
    let scale = fenchel::render::Scale::new(fenchel::render::ColourMap::Sequential, -1.0..3.0).unwrap();
    // The first rectangle is the paper, the first text the title.
    let (tops, fills) = (attributes(&svg, "rect", "y"), attributes(&svg, "rect", "fill"));
    assert_eq!(texts(&svg)[0], "moons.onnx: output 0");
    let mut seen = 0;
    for (name, line) in texts(&svg)[1..].iter().zip(attributes(&svg, "polyline", "points")) {
        let (value, y): (f64, f64) =
            (name.parse().unwrap(), line.split([',', ' ']).nth(1).unwrap().parse().unwrap());
        let [r, g, b] = scale.colour(value);
        // The step of the bar beside the tick, or the next one.
        let near = (1..tops.len()).filter(|&i| (tops[i].parse::<f64>().unwrap() + 1.0 - y).abs() <= 3.0);
        let near: Vec<[u8; 3]> = near
            .map(|i| [1, 3, 5].map(|at| u8::from_str_radix(&fills[i][at..at + 2], 16).unwrap()))
            .collect();
        let off = |c: &[u8; 3]| c.iter().zip([r, g, b]).map(|(a, b)| a.abs_diff(b)).max().unwrap();
        assert!(near.iter().any(|c| off(c) <= 2), "{value}: {near:?} and {:?}", [r, g, b]);
        seen += 1;
    }
    assert_eq!(seen, texts(&svg).len() - 1);
    assert!(texts(&svg).contains(&"-1") && texts(&svg).contains(&"3"), "{:?}", texts(&svg));

    place.succeed(&format!("{RENDER} --what class --size 8x8 -o c.png --legend c.svg"));
    let svg = std::fs::read_to_string(place.path("c.svg")).unwrap();
    assert_eq!(attributes(&svg, "rect", "fill")[1..], ["#0072B2", "#D55E00"]);
    assert!(texts(&svg)[1].starts_with("0 (") && texts(&svg)[2].starts_with("1 ("), "{:?}", texts(&svg));
}

#[test]
fn pictures_say_what_made_them() {
    let place = Place::new();
    place.succeed(&format!("{RENDER} --outputs 0 --size 5x4 -o i.png"));
    let file = std::io::BufReader::new(std::fs::File::open(place.path("i.png")).unwrap());
    let reader = png::Decoder::new(file).read_info().unwrap();
    let texts: Vec<(&str, &str)> = reader
        .info()
        .uncompressed_latin1_text
        .iter()
        .map(|chunk| (chunk.keyword.as_str(), chunk.text.as_str()))
        .collect();
    let comment = format!("fenchel {RENDER} --outputs 0 --size 5x4 -o i.png --json");
    assert!(texts.contains(&("Comment", &comment)), "{texts:?}");
    assert!(texts.iter().any(|(key, text)| *key == "Software" && text.starts_with("fenchel ")));
}

#[test]
fn planes_of_every_kind() {
    let place = Place::new();
    let digits = "plane digits_cnn.onnx --data digits.npz --key x --scale 0.0625";
    place.succeed(&format!("{digits} --through 5,0,9 -o a.npz"));
    let slice = read_plane(&place.path("a.npz")).unwrap();
    let rows = read_array(&place.path("digits.npz"), Some("x")).unwrap();
    // The first two rows lie on one horizontal, within four fifths: here is a point between them.
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    for row in [5, 0, 9] {
        let x: Vec<f64> =
            rows.slice(s![row, ..]).iter().zip(&slice.origin).map(|(x, o)| x / 16.0 - o).collect();
        let (s, t) =
            (dot(&x, &slice.u) / dot(&slice.u, &slice.u), dot(&x, &slice.v) / dot(&slice.v, &slice.v));
        assert!(s.abs() <= 0.8 + CLOSE && t.abs() <= 0.8 + CLOSE, "{row}: {s} {t}");
        let point = slice.point(s, t);
        let expected = rows.slice(s![row, ..]).iter().map(|x| x / 16.0).collect::<Vec<_>>();
        assert!(relative_difference(point, expected) < CLOSE, "{row}");
    }
    place.succeed(&format!("{digits} --at 3 --inputs 20,7 --extent 2 -o b.npz"));
    let slice = read_plane(&place.path("b.npz")).unwrap();
    assert_eq!((slice.u[20], slice.v[7], dot(&slice.u, &slice.u)), (2.0, 2.0, 4.0));
    for kind in ["random", "principal"] {
        place.succeed(&format!(
            "plane none --data digits.npz --key x --at 3 --directions {kind} --extent 3 -o c.npz"
        ));
        let slice = read_plane(&place.path("c.npz")).unwrap();
        assert!((dot(&slice.u, &slice.u) - 9.0).abs() < CLOSE && dot(&slice.u, &slice.v).abs() < CLOSE);
        assert_eq!(slice.origin, rows.slice(s![3, ..]).to_vec(), "{kind}");
    }
    // Along the first direction output 4 grows the fastest, along the second it stays.
    // Not of the convolutional network: its pools tie over the empty corners of the image, and have no gradient there.
    let dense = "plane digits_gelu.onnx --data digits.npz --key x --scale 0.0625";
    place.succeed(&format!("{dense} --at 3 --directions gradients --outputs 4,1 --extent 0.000001 -o d.npz"));
    let slice = read_plane(&place.path("d.npz")).unwrap();
    let network = onnx::load(&place.path("digits_gelu.onnx"), &onnx::LoadOptions::default()).unwrap().network;
    let program = network.compile(&Cpu::<f64>::new()).unwrap();
    let points: Vec<f64> =
        [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)].into_iter().flat_map(|(s, t)| slice.point(s, t)).collect();
    let points = Array2::from_shape_vec((3, 64), points).unwrap();
    let y = program.values(points.view(), &Context::default()).unwrap();
    let (steepest, beside) = (y[[1, 4]] - y[[0, 4]], y[[2, 4]] - y[[0, 4]]);
    assert!(steepest > 0.0 && beside.abs() < APPROXIMATE * steepest, "{steepest} {beside}");
    assert!(y[[2, 1]] > y[[0, 1]]);
    place.succeed(&format!("{digits} --at 3 --directions gradients -o e.npz"));
    assert!(place.fail(&format!("{digits} --at 3 --channels 0,1 -o p.npz"), 2).contains("channels 0 and 1"));
    assert!(
        place
            .fail(&format!("{digits} --at 3 --inputs 0,1 --outputs 1,2 -o p.npz"), 2)
            .contains("--directions")
    );
    assert!(
        place
            .fail("plane none --data digits.npz --key x --at 0 --directions gradients -o p.npz", 2)
            .contains("model")
    );
}

#[test]
fn bad_input_is_one_clear_line() {
    let place = Place::new();
    let out = "--outputs 0 -o i.png";
    for size in ["0x0", "5", "5x-1", "1048577x1"] {
        assert!(place.fail(&format!("{RENDER} {out} --size {size}"), 2).contains("expected WIDTHxHEIGHT"));
    }
    let text = place.fail(&format!("{RENDER} -o i.png"), 2);
    assert!(text.contains("the value of one output, not of 2: choose one with --outputs"), "{text}");
    assert!(place.fail(&format!("{RENDER} --what class {out}"), 2).contains("at least two outputs"));
    assert!(place.fail(&format!("{RENDER} --outputs 2 -o i.png"), 2).contains("no output 2"));
    let text = place.fail(&format!("{RENDER} --what class --diverging -o i.png"), 2);
    assert!(text.contains("classes have no --range"), "{text}");
    assert!(place.fail(&format!("{RENDER} {out} --npy i.png"), 2).contains("cannot share the file"));
    assert!(place.fail(&format!("{RENDER} {out} --ssaa 2 --npy d.npy"), 2).contains("one sample a pixel"));
    assert!(place.fail(&format!("{RENDER} {out} --ssaa 0"), 2).contains("1 to 16 samples"));
    assert!(place.fail(&format!("{RENDER} --outputs 0 -o . --legend l.svg"), 1).contains("folder"));
    let render = |plane: &str| format!("render moons.onnx --plane {plane} {out}");
    assert!(place.fail(&render("moons.npz"), 1).contains("origin"));
    place.plane("three.npz", &[0.0; 3], &[1.0; 3], &[1.0; 3]);
    assert!(place.fail(&render("three.npz"), 1).contains("does not fit a network of 2 inputs"));
    place.plane("odd.npz", &[0.0; 2], &[1.0; 3], &[1.0; 2]);
    assert!(place.fail(&render("odd.npz"), 1).contains("[2, 3, 2] elements"));
    place.plane("nan.npz", &[0.0; 2], &[1.0, f64::NAN], &[1.0; 2]);
    assert!(place.fail(&render("nan.npz"), 1).contains("infinity in 'u'"));
    let plane = "plane moons.onnx --data moons.npz -o p.npz";
    assert!(place.fail(&format!("{plane} --through 0,1"), 2).contains("three rows"));
    assert!(place.fail(&format!("{plane} --through 0,0,1"), 2).contains("coincide"));
    assert!(place.fail(&format!("{plane} --at 1000 --inputs 0,1"), 2).contains("no row 1000"));
    assert!(place.fail(&format!("{plane} --at 0"), 2).contains("--at needs"));
    assert!(place.fail(&format!("{plane} --at 0 --inputs 0,2"), 2).contains("inputs 0 and 2 span no plane"));
    assert!(place.fail(&format!("{plane} --at 0 --inputs 0,1 --extent -1"), 2).contains("must be positive"));
    let text = place.fail("plane digits_cnn.onnx --data moons.npz --key x --through 0,1,2 -o p.npz", 1);
    assert!(text.contains("64 elements are needed"), "{text}");
    if cfg!(target_os = "linux") {
        assert!(place.fail(&format!("{RENDER} --outputs 0 -o /dev/full"), 1).contains("No space left"));
    }
}

#[test]
fn splines_and_their_errors() {
    let place = Place::new();
    let fit = "fit moons.onnx --data moons.npz --take 0..300 --curvature 5";
    place.succeed(&format!("{fit} -o s.safetensors"));
    let size = "--size 31x22 --outputs 1";
    let draw = |what: &str| {
        place.succeed(&format!("{RENDER} {size} --what {what} -o v.png --npy v.npy"));
        place.values("v.npy")
    };
    let network = draw("value");
    let spline = draw("value --spline s.safetensors");
    let error = draw("error --spline s.safetensors");
    let expected = spline.iter().zip(&network).map(|(s, g)| s - g);
    assert!(relative_difference(error, expected) < APPROXIMATE);
    let [lower, upper, half] =
        ["lower", "upper", "half-width"].map(|what| draw(&format!("{what} --spline s.safetensors")));
    let expected = lower.iter().zip(&upper).map(|(l, u)| (u - l) / 2.0);
    assert!(relative_difference(half, expected) < CLOSE);
    // A node's spline is compared with the node.
    place.succeed(&format!("{fit} --node hidden2 --outputs 4,7 -o n.safetensors"));
    let unit = |what: &str, outputs: usize| {
        let files = "--size 31x22 -o v.png --npy v.npy";
        place.succeed(&format!("{RENDER} {files} --outputs {outputs} --what {what}"));
        place.values("v.npy")
    };
    let network = unit("value --node hidden2", 7);
    let spline = unit("value --spline n.safetensors", 1);
    let expected = spline.iter().zip(&network).map(|(s, g)| s - g);
    assert!(relative_difference(unit("error --spline n.safetensors", 1), expected) < APPROXIMATE);

    let out = "-o i.png";
    assert!(place.fail(&format!("{RENDER} {out} --outputs 0 --what error"), 2).contains("give --spline"));
    let of = |more: &str| format!("{RENDER} --spline s.safetensors {out} {more}");
    assert!(place.fail(&of("--what error"), 2).contains("not of 2: choose one"));
    assert!(place.fail(&of("--what region"), 2).contains("leave --spline out"));
    assert!(
        place.fail(&of("--what convex-piece --outputs 0 --range 0,1"), 2).contains("pieces have no --range")
    );
    assert!(place.fail(&of("--what gradient --outputs 0"), 2).contains("whole gradient"));
    assert!(place.fail(&of("--exact --outputs 0"), 2).contains("--exact is of networks"));
    let other = "render digits_cnn.onnx --spline s.safetensors --plane plane.npz -o i.png --outputs 0";
    assert!(place.fail(other, 2).contains("is a spline of 'moons.onnx'"));
}

/// From the exact partition, in f64, and by passes through the network, in f32.
#[test]
fn exact_pictures_are_those_of_the_network() {
    let place = Place::new();
    place.succeed(
        "plane digits_cnn.onnx --data digits.npz --key x --scale 0.0625 --at 3 --directions random --extent 0.2 -o d.npz",
    );
    for (model, plane) in [("moons.onnx", "plane.npz"), ("digits_cnn.onnx", "d.npz")] {
        let draw = |what: &str| {
            let command = format!("render {model} --plane {plane} --size 70x50 {what}");
            place.succeed(&format!("{command} --antialias 1 -o v.png --npy v.npy"))
        };
        draw("--what value --outputs 1");
        let direct = place.values("v.npy");
        let document = draw("--what value --outputs 1 --exact");
        assert_eq!(document["regions"]["label"], "exact", "{model}");
        assert!(document["regions"]["count"].as_u64().unwrap() > 20, "{document}");
        assert!(relative_difference(place.values("v.npy"), direct.iter().copied()) < APPROXIMATE, "{model}");
        draw("--what margin");
        let margins = place.values("v.npy");
        draw("--what class");
        let classes = place.values("v.npy");
        draw("--what class --exact --lines region");
        let far = direct.iter().fold(0.0, |far: f64, v| far.max(v.abs()));
        let exact = place.values("v.npy");
        for (i, (a, b)) in exact.iter().zip(&classes).enumerate() {
            assert!(a == b || margins[i] < APPROXIMATE * far, "{model}: pixel {i}");
        }
    }
    let text = place.fail(&format!("{RENDER} --exact --what slope --outputs 0 -o i.png"), 2);
    assert!(text.contains("--exact draws values"), "{text}");
    let smooth = "render digits_gelu.onnx --plane d.npz --exact --outputs 0 -o i.png";
    assert!(place.fail(smooth, 1).contains("gelu1"), "{}", place.fail(smooth, 1));
}
