//! `fenchel report`: a page made of command lines that can be run again.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::collections::BTreeMap;
use std::fs;

use common::place::Place;
use serde_json::Value;

/// A report of seconds.
const SMALL: &str = "--data digits.npz --scale 0.0625 --anchors 0..150 --validation 150..200 --points 300..340 \
                     --pieces 10,50 --curvature 3,secant --seeds 2 --size 40x32 --budget 50 -o r";

fn report(place: &Place, name: &str) -> Value {
    serde_json::from_slice(&fs::read(place.path(name)).unwrap()).unwrap()
}

fn figures(report: &Value) -> BTreeMap<&str, &Value> {
    let figures = report["figures"].as_array().unwrap();
    figures.iter().map(|figure| (figure["id"].as_str().unwrap(), figure)).collect()
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

/// A document without how long it took, which is never the same again.
fn timeless(mut document: Value) -> Value {
    match &mut document {
        Value::Object(fields) => {
            fields.retain(|name, _| !name.contains("second"));
            fields.values_mut().for_each(|value| *value = timeless(value.take()));
        }
        Value::Array(items) => items.iter_mut().for_each(|value| *value = timeless(value.take())),
        _ => {}
    }
    document
}

/// Bytes out of base64 (RFC 4648), by arithmetic on digits.
fn decoded(text: &str) -> Vec<u8> {
    let digit = |c: u8| match c {
        b'A'..=b'Z' => c - b'A',
        b'a'..=b'z' => c - b'a' + 26,
        b'0'..=b'9' => c - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        other => panic!("{other}"),
    };
    let digits: Vec<u8> = text.bytes().filter(|&c| c != b'=').map(digit).collect();
    let mut bytes = vec![];
    for group in digits.chunks(4) {
        let bits = group.iter().fold(0_u32, |bits, &digit| bits << 6 | u32::from(digit));
        let bits = bits << (6 * (4 - group.len()));
        bytes.extend_from_slice(&bits.to_be_bytes()[1..group.len()]);
    }
    bytes
}

#[test]
fn its_command_lines_give_the_same_again() {
    let place = Place::with(&["digits_relu.onnx", "digits.npz"]);
    place.done(&format!("report digits_relu.onnx --labels digits.npz {SMALL}"));
    let report = report(&place, "r/report.json");

    // In another folder, which has what the report was made from and nothing else.
    let other = Place::with(&["digits_relu.onnx", "digits.npz"]);
    let mut prepare = report["prepare"].as_str().unwrap().split(' ');
    assert_eq!((prepare.next(), prepare.next()), (Some("mkdir"), Some("-p")));
    prepare.for_each(|folder| fs::create_dir_all(other.path(folder)).unwrap());

    let mut done = BTreeMap::new();
    let mut compared = 0;
    for figure in report["figures"].as_array().unwrap() {
        let id = figure["id"].as_str().unwrap();
        assert!(figure.get("refused").is_none(), "{id}: {figure}");
        let commands = texts(&figure["commands"]);
        let files = texts(&figure["files"]);
        assert!(!commands.is_empty() && !files.is_empty(), "{id}");
        assert!(figure["caption"].as_str().unwrap().len() > 40, "{id}");
        for command in &commands {
            let arguments = command.strip_prefix("fenchel ").unwrap();
            if !done.contains_key(command) {
                other.done(arguments);
                done.insert(*command, ());
            }
        }
        for file in files {
            let [ours, theirs] =
                [&place, &other].map(|place| fs::read(place.path(&format!("r/{file}"))).unwrap());
            if file.ends_with(".json") {
                let [ours, theirs] =
                    [ours, theirs].map(|text| timeless(serde_json::from_slice(&text).unwrap()));
                assert_eq!(ours, theirs, "{id}: {file}");
            } else {
                assert!(ours == theirs, "{id}: {file}");
            }
            compared += 1;
        }
        // What is printed is what is drawn; this writes the files once more.
        let last = commands.last().unwrap().strip_prefix("fenchel ").unwrap();
        if let Some(document) = figure.get("document") {
            assert_eq!(timeless(other.succeed(last)), timeless(document.clone()), "{id}");
        } else {
            for layer in figure["drawn"]["layers"].as_array().unwrap() {
                let command = layer["command"].as_str().unwrap();
                assert!(commands.contains(&command));
                let document = other.succeed(command.strip_prefix("fenchel ").unwrap());
                assert_eq!(timeless(document), timeless(layer["document"].clone()), "{id}: {command}");
            }
        }
    }
    assert!(done.len() > 25 && compared > 50, "{} {compared}", done.len());
}

#[test]
fn the_page_holds_its_data_and_fetches_nothing() {
    let place = Place::with(&["digits_relu.onnx", "digits.npz"]);
    let printed = place.succeed(&format!("report digits_relu.onnx --labels digits.npz {SMALL}"));
    let report = report(&place, "r/report.json");
    let page = fs::read_to_string(place.path("r/index.html")).unwrap();
    assert_eq!(printed["bytes"], page.len());
    assert_eq!(printed["figures"], report["figures"].as_array().unwrap().len());

    let json = page.split_once("<script type=\"application/json\" id=\"report\">").unwrap().1;
    let json = json.split_once("</script>").unwrap().0;
    assert_eq!(serde_json::from_str::<Value>(json).unwrap(), report);

    let mut embedded = vec![];
    for part in page.split("<script type=\"text/plain\" class=\"file\" data-name=\"").skip(1) {
        let (name, rest) = part.split_once('"').unwrap();
        let (_, rest) = rest.split_once('>').unwrap();
        let content = decoded(rest.split_once("</script>").unwrap().0);
        assert!(content == fs::read(place.path(&format!("r/{name}"))).unwrap(), "{name}");
        embedded.push(name);
    }
    for (id, figure) in figures(&report) {
        for file in texts(&figure["files"]) {
            let bytes = fs::metadata(place.path(&format!("r/{file}"))).unwrap().len();
            assert!(embedded.contains(&file) || bytes > 1 << 20, "{id}: {file}");
        }
    }
    // The skeleton without what is embedded: no address but those of names in XML.
    let mut skeleton = page.replace("http://www.w3.org/", "");
    for marker in ["<script type=\"application/json\"", "<script type=\"text/plain\""] {
        while let Some(at) = skeleton.find(marker) {
            let end = at + skeleton[at..].find("</script>").unwrap();
            skeleton.replace_range(at..end, "");
        }
    }
    for word in ["http:", "https:", "src=\"", "@import", "url(", "XMLHttpRequest", "fetch(", "{{"] {
        assert!(!skeleton.contains(word), "{word}");
    }
    assert!(page.contains("default-src 'none'"));

    // What the reader is told first is what the figures hold.
    let rows = report["figures"][0]["document"]["rows"].as_array().unwrap().clone();
    let mut errors = BTreeMap::<String, Vec<f64>>::new();
    for row in &rows {
        let setting = format!("{} {}", row["pieces"], row["curvature_choice"]);
        errors.entry(setting).or_default().push(row["relative_rmse"].as_f64().unwrap());
    }
    let least = errors.values().map(|of| of.iter().sum::<f64>() / of.len() as f64).fold(f64::MAX, f64::min);
    assert_eq!((rows.len(), errors.len()), (8, 4));
    assert_eq!(report["summary"][0]["value"], least);
    assert_eq!(report["settings"]["seed"], 0);
    assert_eq!(report["data"]["points"], serde_json::json!([300, 340]));
    let of = figures(&report);
    // More regions than the budget: the number says so.
    assert_eq!(of["regions"]["document"]["label"], "capped");
    assert_eq!(of["regions"]["document"]["count"], 50);
    // Distances in the order of labels, each row as far from the others as it was.
    let drawn = &of["distances"]["drawn"];
    let groups: Vec<u32> = texts(&drawn["groups"]).iter().map(|group| group.parse().unwrap()).collect();
    assert!(groups.is_sorted() && groups.len() == 40);
    let values = |i: usize, j: usize| drawn["values"][i][j].as_f64().unwrap();
    assert!((0..40).all(|i| values(i, i) == 0.0 && (0..40).all(|j| values(i, j) == values(j, i))));
    // The rows of the plane lie where they should: within four fifths, the first two at one height.
    let marks = of["slice"]["drawn"]["marks"].as_array().unwrap();
    let [s, t] = ["s", "t"].map(|at| marks.iter().map(|mark| mark[at].as_f64().unwrap()).collect::<Vec<_>>());
    assert!((t[0] - t[1]).abs() < 1e-9 && s[0] < s[1] && t[2] > t[0]);
    assert!(s.iter().chain(&t).all(|x| x.abs() < 0.8 + 1e-9));

    // A new report takes the place of an old one, whose page goes as soon as it would not fit the data.
    let (code, _, _) =
        place.run(&format!("report digits_relu.onnx {} --pieces 5000", SMALL.replace("--pieces 10,50", "")));
    assert_eq!(code, Some(2));
    assert!(!place.path("r/index.html").exists() && !place.path("r/report.json").exists());
}

#[test]
fn what_a_smooth_network_lacks_is_said_in_its_place() {
    let place = Place::with(&["digits_sigmoid.onnx", "digits.npz"]);
    let printed = place.succeed(&format!("report digits_sigmoid.onnx {SMALL} --seed 7"));
    let report = report(&place, "r/report.json");
    let of = figures(&report);
    for id in ["regions", "distances"] {
        let refused = of[id]["refused"].as_str().unwrap();
        assert!(refused.contains("Sigmoid"), "{refused}");
        assert_eq!((&of[id]["kind"], of[id].get("drawn")), (&"refused".into(), None));
        assert!(!texts(&of[id]["commands"]).is_empty());
    }
    assert_eq!(printed["refused"], 2);
    let missing = of["slice"]["drawn"]["missing"].as_array().unwrap();
    assert_eq!(missing.len(), 2);
    let caption = |id: &str| of[id]["caption"].as_str().unwrap();
    assert!(caption("sheet-templates").contains("smooth") && !caption("sheet-templates").contains("exactly"));
    // No labels: nothing that needs them. What the user says for all goes into every command line.
    assert!(report["data"].get("labels").is_none() && !caption("sweep").contains("Accuracy"));
    assert!(report["figures"][0]["document"]["rows"][0]["accuracy"].is_null());
    for (id, figure) in of {
        assert!(texts(&figure["commands"]).iter().all(|command| command.contains("--seed 7")), "{id}");
    }
}

#[test]
fn a_network_of_two_inputs_is_shown_whole() {
    let place = Place::with(&["moons.onnx", "moons.npz"]);
    place.succeed(
        "report moons.onnx --data moons.npz --labels moons.npz --pieces 10,all --seeds 1 --size 64x64 -o r",
    );
    let report = report(&place, "r/report.json");
    let of = figures(&report);
    assert!(texts(&of["slice"]["commands"])[0].contains("--domain"));
    // The whole partition, as many regions as are counted; the picture has one path for each.
    let count = &of["regions"]["document"]["count"];
    assert_eq!(
        (&of["partition"]["document"]["count"], &of["regions"]["document"]["label"]),
        (count, &"exact".into())
    );
    // Slopes as numbers, which are those of the templates at these rows.
    let slopes = &of["slopes"]["drawn"];
    assert_eq!(texts(&slopes["columns"]), ["input 0", "input 1"]);
    let a = fenchel::data::read_array(&place.path("r/data/sheets/slopes.npz"), Some("A")).unwrap();
    let drawn = slopes["values"].as_array().unwrap().iter().flat_map(|row| row.as_array().unwrap().clone());
    assert!(drawn.map(|x| x.as_f64().unwrap()).eq(a.iter().copied()) && a.len() == 4 * 2 * 2);
    assert!(!of.contains_key("sheet-templates"));
    // A third of the data by default at most is kept from anchors.
    assert_eq!(report["data"]["anchors"], serde_json::json!([0, 700]));
    assert_eq!(report["data"]["validation"], serde_json::json!([700, 800]));
    assert_eq!(report["data"]["points"], serde_json::json!([800, 1000]));
}

#[test]
fn what_is_wrong_is_said_before_anything_is_computed() {
    let place = Place::with(&["digits_cnn.onnx", "digits.npz", "moons.npz"]);
    fs::write(place.path("file"), "x").unwrap();
    fs::create_dir(place.path("full")).unwrap();
    fs::write(place.path("full/thesis.tex"), "x").unwrap();
    place.npz("few.npz", &[("x", &[1, 64], &[0.5; 64])]);
    place.npz("labels.npz", &[("y", &[3], &[0.0, 1.0, 2.0])]);
    let mut values = vec![0.5; 20 * 64];
    values[17 * 64 + 5] = f64::NAN;
    place.npz("nan.npz", &[("x", &[20, 64], &values)]);
    let data = "--data digits.npz --scale 0.0625";
    for (arguments, code, expected) in [
        (format!("{data} -o file"), 1, "error: 'file' is no folder; a report needs one for its results\n"),
        (
            format!("{data} -o full"),
            1,
            "error: 'full' holds something else than a report; choose a folder that is empty or not there yet\n",
        ),
        (
            "--data few.npz -o r".to_owned(),
            2,
            "error: 'few.npz' has 1 rows; a report needs at least 2, one for anchors and one to judge on\n",
        ),
        (
            "--data nan.npz -o r".to_owned(),
            1,
            "error: nan.npz: row 17 holds a NaN or an infinity; every value must be finite\n",
        ),
        (
            format!("{data} --through 0,1,5000 -o r"),
            2,
            "error: there is no row 5000 of the 1797 in 'digits.npz'\n",
        ),
        (format!("{data} --through 0,1 -o r"), 2, "error: --through takes three rows, such as 0,1,2\n"),
        (
            format!("{data} --show 10 -o r"),
            2,
            "error: --show 10 is none of the outputs 0,1,2,3,4,5,6,7,8,9\n",
        ),
        (
            format!("{data} --points 1000..2000 -o r"),
            2,
            "error: --points 1000..2000 goes beyond the 1797 rows",
        ),
        (format!("{data} --labels labels.npz -o r"), 2, "error: 'labels.npz' holds 3 labels; 1797"),
        ("--data moons.npz -o r".to_owned(), 1, "error: 'moons.npz' has rows of shape [2] (2 elements); 64"),
        (format!("{data} --size 4096x4096 -o r"), 2, "error: invalid value '4096x4096' for '--size"),
        (format!("{data} --budget 0 -o r"), 2, "error: invalid value '0' for '--budget"),
        (
            format!("{data} -o /dev/full"),
            1,
            "error: '/dev/full' is no folder; a report needs one for its results\n",
        ),
    ] {
        let (found, _, said) = place.run(&format!("report digits_cnn.onnx {arguments}"));
        assert!(found == Some(code) && said.starts_with(expected), "{arguments}: {found:?} {said}");
        assert!(!place.path("r").exists(), "{arguments}");
    }
    // What the sweep refuses is the user's own choice, too; nothing but the folder is there.
    let (code, _, said) = place.run(&format!("report digits_cnn.onnx {data} --pieces 5000 -o r"));
    assert_eq!((code, said.as_str()), (Some(2), "error: 5000 pieces of 1259 anchors: expected 1 to 1259\n"));
    assert!(!place.path("r/index.html").exists() && !place.path("r/report.json").exists());
}

#[cfg(unix)]
#[test]
fn an_interrupted_report_goes_on() {
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    // Three chunks of points in so little memory.
    let long = "report digits_relu.onnx --data digits.npz --scale 0.0625 --anchors 10..310 --points 1000..1797 \
                --validation 0..10 --pieces 10,100,all --curvature 1,2,3,4,5,6,7,8 --seeds 40 --memory 80MiB \
                --size 16x16 --budget 100 -o r";
    let place = Place::with(&["digits_relu.onnx", "digits.npz"]);
    let mut child = Command::new(env!("CARGO_BIN_EXE_fenchel"))
        .current_dir(place.path(""))
        .args(long.split_whitespace())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while !place.path("r/data/sweep/checkpoint.json").exists() {
        assert!(start.elapsed() < Duration::from_secs(100) && child.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        (output.status.code(), output.stderr.as_slice()),
        (Some(1), b"error: interrupted\n".as_slice())
    );
    let names = |folder: &str| {
        let entries = fs::read_dir(place.path(folder)).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(
        (names("r"), names("r/data/sweep")),
        (vec!["data".to_owned()], vec!["checkpoint.json".to_owned(), "rows.csv".to_owned()])
    );

    place.succeed(&format!("{long} --resume"));
    let resumed = report(&place, "r/report.json");
    let whole = Place::with(&["digits_relu.onnx", "digits.npz"]);
    whole.succeed(long);
    let rows = |report: &Value| figures(report)["sweep"]["document"].clone();
    assert_eq!(rows(&resumed), rows(&report(&whole, "r/report.json")));
    assert!(!figures(&resumed)["sweep"]["commands"].to_string().contains("--resume"));
    // Another report is not taken for this one, and keeps what is there.
    let (code, _, said) = place.run(&format!("{} --resume", long.replace("--seeds 40", "--seeds 41")));
    assert!(code == Some(2) && said.contains("belongs to a sweep of another model"), "{said}");
}
