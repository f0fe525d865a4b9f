//! `fenchel conjugate`, `fenchel sample` and `fenchel legendre` from outside: what they write, and what they refuse.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::place::Place;
use fenchel::data::{read_array, write_npy};
use fenchel::engine::{DeviceChoice, device};
use fenchel::tolerance::{CLOSE, EXACT, relative_difference};

impl Place {
    /// `x^2` on [-2, 2] x [-1, 1] plus `y^2 / 2`, and slopes within what it has.
    fn new() -> Self {
        let place = Self::with(&[]);
        let (x, y) = (axis(-2.0, 2.0, 81), axis(-1.0, 1.0, 41));
        place.npz("axes.npz", &[("axis0", &[81], &x), ("axis1", &[41], &y)]);
        let (s, t) = (axis(-3.0, 3.0, 13), axis(-0.75, 0.75, 7));
        place.npz("slopes.npz", &[("axis0", &[13], &s), ("axis1", &[7], &t)]);
        let f = x.iter().flat_map(|x| y.iter().map(move |y| x * x + y * y / 2.0));
        place.npy("f.npy", &[81, 41], &f.collect::<Vec<_>>());
        place
    }

    fn npy(&self, name: &str, shape: &[usize], values: &[f64]) {
        write_npy(&self.path(name), shape, values).unwrap();
    }

    fn read(&self, name: &str, key: Option<&str>) -> (Vec<usize>, Vec<f64>) {
        let array = read_array(&self.path(name), key).unwrap();
        (array.shape().to_vec(), array.into_iter().collect())
    }

    /// The exit code and the one line that says why; nothing is written.
    fn fail(&self, command: &str, code: i32) -> String {
        let (found, _, text) = self.run(command);
        assert_eq!(found, Some(code), "{command}: {text}");
        assert_eq!(text.lines().count(), 1, "{command}: {text}");
        assert!(!self.path("c.npy").exists() && !self.path("s.npz").exists(), "{command} left something");
        text
    }
}

fn axis(low: f64, high: f64, count: usize) -> Vec<f64> {
    (0..count).map(|i| low + (high - low) * i as f64 / (count - 1) as f64).collect()
}

fn has_gpu() -> bool {
    DeviceChoice::Gpu(None).resolve(&device::adapters()).is_ok()
}

const CONJUGATE: &str = "conjugate f.npy --axes axes.npz --slopes slopes.npz";

#[test]
fn a_conjugate_and_its_maximisers() {
    let place = Place::new();
    let (s, t) = (axis(-3.0, 3.0, 13), axis(-0.75, 0.75, 7));
    let exact: Vec<f64> = s.iter().flat_map(|s| t.iter().map(move |t| s * s / 4.0 + t * t / 2.0)).collect();
    let devices: &[(&str, f64)] =
        if has_gpu() { &[("cpu", EXACT), ("gpu", CLOSE)] } else { &[("cpu", EXACT)] };
    for (device, most) in devices {
        let command =
            format!("{CONJUGATE} -o c.npy --maximisers i.npy --save-slopes used.npz --device {device}");
        let document = place.succeed(&command);
        assert_eq!(document["points"], serde_json::json!([81, 41]));
        assert_eq!(document["slopes"], serde_json::json!([13, 7]));
        let (shape, values) = place.read("c.npy", None);
        assert_eq!(shape, [13, 7]);
        // s / 2 and t are points of the grid: the conjugate is exact.
        assert!(relative_difference(values, exact.clone()) < *most, "{device}");
        let (_, maximisers) = place.read("i.npy", None);
        for (number, at) in maximisers.iter().enumerate() {
            let (x, y) = (s[number / 7] / 2.0, t[number % 7]);
            let position = ((x + 2.0) / 0.05).round() * 41.0 + ((y + 1.0) / 0.05).round();
            assert_eq!(*at, position, "{device}");
        }
        assert_eq!(place.read("used.npz", Some("axis0")).1, s);
    }
}

#[test]
fn envelopes_on_the_grid_itself() {
    let place = Place::new();
    // Without slopes: those of the function.
    place.succeed("conjugate f.npy --axes axes.npz --what biconjugate -o b.npy");
    let (f, b) = (place.read("f.npy", None).1, place.read("b.npy", None).1);
    assert!(b.iter().zip(&f).all(|(b, f)| *b <= f + 1e-12 && f - b < 1e-3));
    place.succeed("conjugate f.npy --axes axes.npz --what concave-biconjugate -o a.npy");
    // The concave envelope of a convex function over a rectangle: that of its corners.
    assert!(place.read("a.npy", None).1.iter().all(|a| (a - 4.5).abs() < 1e-9));
    place.succeed("conjugate f.npy --axes axes.npz --what moreau --lambda 0.5 -o m.npy --maximisers p.npy");
    let (m, middle) = (place.read("m.npy", None).1, 40 * 41 + 20);
    assert_eq!((m[middle], place.read("p.npy", None).1[middle]), (0.0, middle as f64));
    place.succeed("conjugate f.npy --axes axes.npz --what infimal-convolution --with f.npy -o i.npy");
    assert!(place.read("i.npy", None).1[middle].abs() < 1e-3);
}

#[test]
fn functions_at_points() {
    let place = Place::new();
    place.npz("points.npz", &[("points", &[3, 2], &[0.0, 0.0, 1.0, 0.0, 0.0, 2.0])]);
    place.npz("at.npz", &[("points", &[2, 2], &[1.0, 0.5, -1.0, -1.0])]);
    place.npy("v.npy", &[3], &[0.0, 0.25, f64::INFINITY]);
    place.succeed("conjugate v.npy --axes points.npz --slopes at.npz -o c.npy --maximisers i.npy");
    assert_eq!(place.read("c.npy", None), (vec![2], vec![0.75, 0.0]));
    assert_eq!(place.read("i.npy", None).1, [1.0, 0.0]);
}

#[test]
fn a_network_becomes_a_spline_without_gradients() {
    let place = Place::new();
    let model = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/moons.onnx");
    std::fs::copy(model, place.path("m.onnx")).unwrap();
    place.succeed("sample m.onnx --axes axes.npz --outputs 1 -o g.npy");
    assert_eq!(place.read("g.npy", None).0, [81, 41]);
    let document = place.succeed("legendre g.npy --axes axes.npz --curvature 20 --pieces 60,60 -o s.npz");
    let pieces = document["convex_pieces"].as_u64().unwrap() as usize;
    let (shape, slopes) = place.read("s.npz", Some("convex_slopes"));
    assert_eq!(shape, [pieces, 2]);
    let conjugates = place.read("s.npz", Some("convex_conjugates")).1;
    // By hand: the convex half at a point of the grid, less its quadratic.
    let (x, y) = (axis(-2.0, 2.0, 81)[17], axis(-1.0, 1.0, 41)[30]);
    let score = |i: usize| slopes[2 * i] * x + slopes[2 * i + 1] * y - conjugates[i];
    let best = (0..pieces).map(score).fold(f64::MIN, f64::max) - 10.0 * (x * x + y * y);
    assert!((place.read("s.npz", Some("lower")).1[17 * 41 + 30] - best).abs() < 1e-9);
    let (g, value) = (place.read("g.npy", None).1, place.read("s.npz", Some("value")).1);
    let rms = |errors: &mut dyn Iterator<Item = f64>| errors.map(|e| e * e).sum::<f64>().sqrt();
    let mean = g.iter().sum::<f64>() / g.len() as f64;
    let relative = rms(&mut g.iter().zip(&value).map(|(g, v)| g - v)) / rms(&mut g.iter().map(|g| g - mean));
    let stated = document["relative_rmse"].as_f64().unwrap();
    assert!((relative - stated).abs() < 1e-9 && relative < 0.1, "{relative} and {stated}");

    // The same through a slice that is the whole plane, stretched.
    place.npz(
        "plane.npz",
        &[("origin", &[2], &[0.0, 0.0]), ("u", &[2], &[2.0, 0.0]), ("v", &[2], &[0.0, 1.0])],
    );
    let (s, t) = (axis(-1.0, 1.0, 81), axis(-1.0, 1.0, 41));
    place.npz("unit.npz", &[("axis0", &[81], &s), ("axis1", &[41], &t)]);
    place.succeed("sample m.onnx --axes unit.npz --plane plane.npz --outputs 1 -o h.npy");
    assert!(relative_difference(place.read("h.npy", None).1, g) < EXACT);
    std::fs::remove_file(place.path("s.npz")).unwrap();
    assert!(place.fail("sample m.onnx --axes axes.npz -o c.npy", 2).contains("choose one with --outputs"));
    place.npz("three.npz", &[("axis0", &[1], &[0.0]), ("axis1", &[1], &[0.0]), ("axis2", &[1], &[0.0])]);
    let text = place.fail("sample m.onnx --axes three.npz --outputs 0 -o c.npy", 1);
    assert!(text.contains("a grid of 3 axes does not fit: 2 are needed"));
}

#[test]
fn pictures_in_one_and_two_dimensions() {
    let place = Place::new();
    place.succeed(&format!("{CONJUGATE} -o c.npy --picture two.svg"));
    place.npz("line.npz", &[("axis0", &[81], &axis(-2.0, 2.0, 81))]);
    let f: Vec<f64> = axis(-2.0, 2.0, 81).iter().map(|x| (x * x - 1.0).powi(2)).collect();
    place.npy("well.npy", &[81], &f);
    place.succeed("conjugate well.npy --axes line.npz -o c.npy --picture one.svg");
    for (name, words) in
        [("two.svg", ["convex envelope", "slope s1"]), ("one.svg", ["conjugate f*", "slope s"])]
    {
        let svg = std::fs::read_to_string(place.path(name)).unwrap();
        assert!(svg.starts_with("<svg") && words.iter().all(|word| svg.contains(word)), "{name}");
    }
}

#[test]
fn bad_input_is_one_clear_line() {
    let place = Place::new();
    let out = "-o c.npy";
    assert!(place.fail(&format!("conjugate none.npy --axes axes.npz {out}"), 1).contains("none.npy"));
    assert!(place.fail(&format!("conjugate f.npy --axes . {out}"), 1).contains("folder"));
    place.npz("wrong.npz", &[("axis0", &[2], &[0.0, 1.0]), ("axis2", &[2], &[0.0, 1.0])]);
    let text = place.fail(&format!("conjugate f.npy --axes wrong.npz {out}"), 1);
    assert!(text.contains("holds an array 'axis2'; expected axis0, axis1"), "{text}");
    place.npz("down.npz", &[("axis0", &[2], &[1.0, 0.0])]);
    assert!(place.fail(&format!("conjugate f.npy --axes down.npz {out}"), 1).contains("must ascend"));
    place.npz("flat.npz", &[("axis0", &[2, 1], &[0.0, 1.0])]);
    assert!(place.fail(&format!("conjugate f.npy --axes flat.npz {out}"), 1).contains("one line of numbers"));
    place.npz("empty.npz", &[("axis0", &[0], &[])]);
    assert!(
        place.fail(&format!("conjugate f.npy --axes empty.npz {out}"), 1).contains("holds no coordinates")
    );
    place.npy("small.npy", &[3, 2], &[0.0; 6]);
    let text = place.fail(&format!("conjugate small.npy --axes axes.npz {out}"), 1);
    assert!(text.contains("has shape [3, 2], the axes [81, 41]"), "{text}");
    place.npz("line.npz", &[("axis0", &[3], &[0.0, 1.0, 2.0])]);
    for (values, words) in [
        ([0.0, f64::NAN, 1.0], "the value at [1.0] is NaN"),
        ([f64::INFINITY; 3], "the domain is empty"),
        ([0.0, f64::NEG_INFINITY, 1.0], "holds -inf, but only inf is outside the domain"),
    ] {
        place.npy("bad.npy", &[3], &values);
        let text = place.fail(&format!("conjugate bad.npy --axes line.npz {out}"), 1);
        assert!(text.contains(words), "{text}");
    }
    let text = place.fail(&format!("{CONJUGATE} --what moreau --lambda 0 {out}"), 2);
    assert!(text.contains("lambda must be positive"), "{text}");
    let text = place.fail("conjugate f.npy --axes axes.npz --slopes line.npz -o c.npy", 1);
    assert!(text.contains("slopes of 1 axes do not fit a function of 2"), "{text}");
    let text = place.fail("legendre f.npy --axes axes.npz --curvature -1 -o s.npz", 2);
    assert!(text.contains("a curvature must be finite and at least 0, not -1"), "{text}");
    let text = place.fail("legendre f.npy --axes axes.npz --curvature 1 --pieces 0,3 -o s.npz", 2);
    assert!(text.contains("holds no coordinates"), "{text}");
    let text = place.fail(&format!("{CONJUGATE} {out} --memory 10KiB"), 1);
    assert!(text.contains("a conjugate needs at least") && text.contains("--memory"), "{text}");
    // Half a file.
    let truncated = std::fs::read(place.path("f.npy")).unwrap();
    std::fs::write(place.path("cut.npy"), &truncated[..truncated.len() / 2]).unwrap();
    assert!(place.fail(&format!("conjugate cut.npy --axes axes.npz {out}"), 1).contains("cut.npy"));
    if cfg!(target_os = "linux") {
        assert!(place.fail(&format!("{CONJUGATE} -o /dev/full"), 1).contains("No space left"));
    }
}
