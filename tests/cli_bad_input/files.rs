//! Data, models and splines that are damaged, or say what cannot be.

use std::fs;

use fenchel::data::read_array;

use super::asset;
use super::common::place::Place;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut encoder, bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn rows_that_are_not_finite_are_named() {
    let place = Place::new().with_spline();
    for (name, bad) in
        [("nan.npy", f32::NAN), ("infinite.npy", f32::INFINITY), ("minus.npy", f32::NEG_INFINITY)]
    {
        let mut values: Vec<f32> = (0..80).map(|i| (i as f32).sin()).collect();
        values[2 * 27 + 1] = bad;
        place.write_rows(name, &[40, 2], &values);
        place.data_fails(name, 1, &[name, "row 27", "finite"]);
        // Rows in front of it can be used.
        place.succeeds(&format!(
            "fit moons.onnx --data {name} --take 0..27 --curvature 3 -o part.safetensors"
        ));
    }
    // Finite, but not any more in 32 bits and scaled.
    place.write_rows("large.npy", &[3, 2], &[1.0, 2.0, 3.0, 3e38, 5.0, 6.0]);
    place.fails("run moons.onnx --data large.npy --scale 10 -o y.npy", 1, &["large.npy", "row 1", "finite"]);
}

#[test]
fn a_sweep_names_rows_that_are_not_finite() {
    let place = Place::new();
    let mut values: Vec<f32> = (0..80).map(|i| (i as f32).sin()).collect();
    values[2 * 27 + 1] = f32::NAN;
    place.write_rows("nan.npy", &[40, 2], &values);
    fs::create_dir(place.path("sweep")).unwrap();
    for (anchors, points) in [("0..10", "20..40"), ("20..40", "0..10")] {
        let sweep = "sweep moons.onnx --data nan.npy --curvature 3 -o sweep";
        let arguments = format!("{sweep} --anchors {anchors} --points {points}");
        place.fails(&arguments, 1, &["nan.npy", "row 27", "finite"]);
    }
}

#[test]
fn data_without_rows_or_of_another_shape_is_refused() {
    let place = Place::new().with_spline();
    place.write_rows("no_rows.npy", &[0, 2], &[]);
    place.data_fails("no_rows.npy", 1, &["'no_rows.npy' holds no rows"]);
    place.write_rows("no_columns.npy", &[5, 0], &[]);
    place.data_fails("no_columns.npy", 1, &["'no_columns.npy'"]);
    place.write_rows("long.npy", &[4, 3], &[0.5; 12]);
    place.data_fails("long.npy", 1, &["'long.npy'", "[3]", "2 elements are needed"]);
    place.write_rows("short.npy", &[4], &[0.5; 4]);
    place.data_fails("short.npy", 1, &["'short.npy'", "2 elements are needed"]);
    place.write_rows("other.npy", &[9, 3], &[0.5; 27]);
    let sweep = "sweep moons.onnx --data moons.npz --anchors 0..9 --curvature 1 --points-data other.npy -o d";
    fs::create_dir(place.path("d")).unwrap();
    place.fails(sweep, 1, &["'other.npy'", "2 elements are needed"]);
}

#[test]
fn damaged_data_is_one_clear_line() {
    let place = Place::new().with_spline();
    place.write_rows("whole.npy", &[40, 2], &[0.5; 80]);
    let npy = fs::read(place.path("whole.npy")).unwrap();
    let npz = fs::read(asset("moons.npz")).unwrap();
    let idx = gzip(&[&[0, 0, 8, 2, 0, 0, 0, 200, 0, 0, 0, 2], &[7; 400][..]].concat());
    for (name, bytes) in [("cut.npy", npy), ("cut.npz", npz), ("cut.idx.gz", idx)] {
        for length in [0, 1, 9, bytes.len() / 2, bytes.len() - 1] {
            place.write(name, &bytes[..length]);
            place.data_fails(name, 1, &[&format!("'{name}' ")]);
        }
    }
    place.write("text.npy", b"1.0, 2.0\n3.0, 4.0\n");
    place.data_fails("text.npy", 1, &["'text.npy'", ".npy, .npz and IDX"]);
    place.data_fails("moons.npz --key nosuch", 1, &["'nosuch'", "'x'", "'y'"]);
    fs::create_dir(place.path("folder")).unwrap();
    place.data_fails("folder", 1, &["'folder'", "image"]);
    place.data_fails("nosuch.npy", 1, &["cannot read 'nosuch.npy'", "No such file"]);
}

#[test]
fn damaged_models_are_one_clear_line() {
    let place = Place::new();
    let whole = fs::read(asset("moons.onnx")).unwrap();
    let run = "run cut.onnx --data moons.npz -o y.npy";
    for length in [0, 1, 10, whole.len() / 3, whole.len() / 2, whole.len() - 1] {
        place.write("cut.onnx", &whole[..length]);
        place.fails(run, 1, &["'cut.onnx'"]);
        place.fails("inspect cut.onnx", 1, &["'cut.onnx'"]);
    }
    place.write("text.onnx", b"This is no network.\n");
    place.fails("run text.onnx --data moons.npz -o y.npy", 1, &["'text.onnx'", "ONNX"]);
    fs::create_dir(place.path("folder")).unwrap();
    for verb in ["run", "fit"] {
        let rest = "--data moons.npz -o y.npy";
        place.fails(&format!("{verb} folder {rest}"), 1, &["'folder'", "folder, not an ONNX file"]);
        place.fails(&format!("{verb} nosuch.onnx {rest}"), 1, &["'nosuch.onnx'", "No such file"]);
    }
    place.fails("run moons.npz --data moons.npz -o y.npy", 1, &["'moons.npz'", "ONNX"]);
}

#[test]
fn damaged_splines_are_one_clear_line() {
    let place = Place::new().with_spline();
    let whole = fs::read(place.path("good.safetensors")).unwrap();
    let eval = "eval cut.safetensors --data moons.npz -o e.npz";
    let with = "pieces good.safetensors --data moons.npz --with cut.safetensors -o e.npz";
    for length in [0, 7, 100, whole.len() / 2, whole.len() - 1] {
        place.write("cut.safetensors", &whole[..length]);
        place.fails(eval, 1, &["'cut.safetensors'"]);
        place.fails(with, 1, &["'cut.safetensors'"]);
    }
    // A length of the header that no file has.
    place.write("cut.safetensors", &[&[255; 8], &whole[8..]].concat());
    place.fails(eval, 1, &["'cut.safetensors'"]);
    fs::create_dir(place.path("folder")).unwrap();
    place.fails("eval folder --data moons.npz -o e.npz", 1, &["'folder'", "irectory"]);
    place.fails("eval nosuch --data moons.npz -o e.npz", 1, &["cannot read 'nosuch'", "No such file"]);
    place.fails("eval moons.onnx --data moons.npz -o e.npz", 1, &["'moons.onnx'", "spline"]);
}

#[test]
fn pieces_that_cannot_be_counted_or_compared_are_refused() {
    let place = Place::new().with_spline();
    let fit = "fit moons.onnx --data moons.npz --curvature 3 --take";
    let pieces = "pieces good.safetensors --data moons.npz -o e.npz";
    place.fails(&format!("{pieces} --outputs 2"), 2, &["no output 2: expected 0 to 1"]);
    place.fails(&format!("{pieces} --with nosuch"), 1, &["cannot read 'nosuch'", "No such file"]);
    place.fails(&format!("{pieces} --with moons.onnx"), 1, &["'moons.onnx'", "spline"]);
    place.refuses("pieces good.safetensors --data moons.npz", 2, &["--output"]);
    place.fails(&format!("{pieces} --memory 300B"), 1, &["raise --memory", "at least"]);

    place.succeeds(&format!("{fit} 0..49 -o less"));
    place.fails(&format!("{pieces} --with less"), 1, &["'less' has 2 outputs", "49 convex", "50 convex"]);
    place.succeeds(&format!("{fit} 0..50 --outputs 1 -o one"));
    place.fails(&format!("{pieces} --with one"), 1, &["'one' has 1 outputs", "needs 2 outputs"]);
    place.succeeds(&format!("{fit} 0..50 --metric diagonal --certificate 3 -o stretched"));
    place.fails(&format!("{pieces} --with stretched"), 1, &["'stretched' has another metric"]);
    place.succeeds(&format!("{fit} 0..50 --soft nearest:0.1 -o soft"));
    place.fails("pieces soft --data moons.npz -o e.npz", 2, &["soft"]);
}

#[test]
fn a_model_with_a_weight_that_is_no_number_is_refused() {
    let place = Place::new();
    place.edit_model("nan.onnx", |model| {
        let graph = model.graph.as_mut().unwrap();
        let tensor =
            graph.initializer.iter_mut().find(|t| t.name.as_deref() == Some("hidden2.weight")).unwrap();
        let mut raw = tensor.raw_data.as_ref().unwrap().borrow().clone();
        raw[40..44].copy_from_slice(&f32::NAN.to_le_bytes());
        tensor.raw_data = Some(raw.into());
    });
    for arguments in ["run nan.onnx --data moons.npz -o y.npy", "inspect nan.onnx"] {
        place.fails(arguments, 1, &["hidden2.weight", "NaN"]);
    }
}

#[test]
fn everything_unsupported_is_named_at_once() {
    let place = Place::new();
    place.edit_model("odd.onnx", |model| {
        for node in &mut model.graph.as_mut().unwrap().node {
            match node.name.as_deref() {
                Some("relu1") => node.op_type = Some("LSTM".to_owned()),
                Some("relu2") => node.op_type = Some("Fancy".to_owned()),
                _ => {}
            }
        }
    });
    for arguments in ["run odd.onnx --data moons.npz -o y.npy", "inspect odd.onnx"] {
        place.fails(arguments, 1, &["not supported", "LSTM ('relu1'", "Fancy ('relu2'"]);
    }
}

#[test]
fn names_in_a_file_cannot_break_the_line() {
    let place = Place::new();
    let nasty = "re\nerror: lu\x1b[31m";
    place.edit_model("name.onnx", |model| {
        model.graph.as_mut().unwrap().node[1].name = Some(nasty.to_owned());
    });
    place.edit_model("operator.onnx", |model| {
        model.graph.as_mut().unwrap().node[1].op_type = Some(nasty.to_owned());
    });
    for name in ["name.onnx", "operator.onnx"] {
        place.fails(&format!("run {name} --data moons.npz -o y.npy"), 1, &[name]);
        place.fails(&format!("inspect {name}"), 1, &[name]);
    }
    let mut npz = fs::read(asset("moons.npz")).unwrap();
    for at in 0..npz.len() - 5 {
        if &npz[at..at + 5] == b"x.npy" {
            npz[at] = b'\n';
        }
    }
    place.write("names.npz", &npz);
    place.fails("run moons.onnx --data names.npz --key x -o y.npy", 1, &["'names.npz'", "'x'"]);
}

#[test]
fn labels_that_do_not_fit_are_refused() {
    let place = Place::new();
    fs::create_dir(place.path("d")).unwrap();
    let sweep =
        "sweep moons.onnx --data moons.npz --curvature 1 --anchors 0..50 --points 50..90 -o d --labels";
    place.write_rows("few.npy", &[41], &[1.0; 41]);
    place.fails(&format!("{sweep} few.npy"), 2, &["'few.npy'", "41 labels", "1000", "40"]);
    place.write_rows("halves.npy", &[40], &[0.5; 40]);
    place.fails(&format!("{sweep} halves.npy"), 1, &["'halves.npy'", "0.5", "row 0", "whole numbers"]);
    let mut values = [1.0; 40];
    values[7] = -1.0;
    place.write_rows("negative.npy", &[40], &values);
    place.fails(&format!("{sweep} negative.npy"), 1, &["'negative.npy'", "-1", "row 7"]);
    values[7] = f32::NAN;
    place.write_rows("nan.npy", &[40], &values);
    place.fails(&format!("{sweep} nan.npy"), 1, &["'nan.npy'", "NaN", "row 7"]);
    place.write_rows("wide.npy", &[40, 2], &[1.0; 80]);
    place.fails(&format!("{sweep} wide.npy"), 1, &["'wide.npy'", "[40, 2]"]);
    place.fails(&format!("{sweep} nosuch.npy"), 1, &["'nosuch.npy'", "No such file"]);
    // One for each point, or one for each row of the data.
    place.write_rows("points.npy", &[40], &[1.0; 40]);
    place.succeeds(&format!("{sweep} points.npy"));
    place.succeeds(&format!("{sweep} moons.npz"));
}

#[test]
fn a_row_of_a_good_file_is_read_whole() {
    // The comparison of contents above would not see a file that was never written.
    let place = Place::new();
    place.succeeds("run moons.onnx --data moons.npz -o y.npy");
    assert_eq!(read_array(&place.path("y.npy"), None).unwrap().shape(), [1000, 2]);
}
