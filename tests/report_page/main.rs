//! The page of `fenchel report` in a browser: what it draws and says, against the report's own JSON and arrays.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod charts;
#[path = "../common/mod.rs"]
mod common;
mod looks;
mod slice;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::OnceLock;

use common::browser::{Browser, browser};
use common::root;
use serde_json::{Value, json};

/// Keys by their names in WebDriver.
const TAB: char = '\u{e004}';
const SHIFT: char = '\u{e008}';
const LEFT: char = '\u{e012}';
const RIGHT: char = '\u{e014}';
const DOWN: char = '\u{e015}';

/// A report on disk.
struct Report {
    folder: PathBuf,
    json: Value,
}

/// Made by the program, in a folder of the build's.
fn made(name: &str, arguments: &str) -> Report {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("report_page_{name}"));
    let _ = std::fs::remove_dir_all(&folder);
    let output = assert_cmd::Command::new(env!("CARGO_BIN_EXE_fenchel"))
        .current_dir(root().join("assets"))
        .arg("report")
        .args(arguments.split_whitespace())
        .args(["--device", "cpu", "-o"])
        .arg(&folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    let json = std::fs::read(folder.join("report.json")).unwrap();
    Report { json: serde_json::from_slice(&json).unwrap(), folder }
}

/// The digits' convolutional network at a small size, made once for all tests.
fn digits() -> &'static Report {
    static REPORT: OnceLock<Report> = OnceLock::new();
    REPORT.get_or_init(|| {
        let of = "digits_cnn.onnx --data digits.npz --key x --scale 0.0625 --labels digits.npz";
        made("digits", &format!("{of} --anchors 0..300 --points 1700..1760 --pieces 10,30,all --curvature 1,3 --seeds 2 --size 96x96"))
    })
}

impl Report {
    fn figures(&self) -> &[Value] {
        self.json["figures"].as_array().unwrap()
    }

    /// The first figure of a kind.
    fn of_kind(&self, kind: &str) -> &Value {
        self.figures().iter().find(|figure| figure["kind"] == kind).unwrap()
    }

    /// All embedded files and their bytes on disk.
    fn files(&self) -> BTreeMap<&str, Vec<u8>> {
        let names = self.figures().iter().flat_map(|figure| figure["files"].as_array().unwrap());
        names
            .map(|name| name.as_str().unwrap())
            .map(|name| (name, std::fs::read(self.folder.join(name)).unwrap()))
            .collect()
    }

    /// The page in a browser, all of it drawn.
    fn page(&self) -> Option<Browser> {
        let browser = browser()?;
        browser.screen(1280, 900, false);
        browser.open(&self.folder.join("index.html"));
        browser.until(
            "document.readyState === 'complete'
                && [...document.querySelectorAll('.plot')].every((plot) => plot.querySelector('svg'))",
        );
        Some(browser)
    }
}

/// Numbers out of an array of JSON; nothing for what is none.
fn numbers(values: &Value) -> Vec<f64> {
    values.as_array().unwrap().iter().map(|value| value.as_f64().unwrap_or(f64::NAN)).collect()
}

#[test]
fn a_page_says_nothing_and_fetches_nothing() {
    let Some(browser) = digits().page() else { return };
    // Everything that is drawn late: the slice, tables, pictures further down.
    browser.run("for (const details of document.querySelectorAll('details')) details.open = true", &[]);
    browser.run("for (const figure of document.querySelectorAll('figure')) figure.scrollIntoView({ behavior: 'instant' })", &[]);
    browser.until("document.querySelector('canvas').dataset.drawn");
    browser.until("[...document.images].every((image) => image.complete && image.naturalWidth > 0)");
    assert_eq!(browser.console(), [] as [&str; 0]);
    let fetched =
        browser.run("return performance.getEntriesByType('resource').map((entry) => entry.name)", &[]);
    assert_eq!(fetched, json!([]));
    // The browser itself would not let it: an address that is asked for all the same is refused.
    let refused = "return new Promise((done) => {
        document.addEventListener('securitypolicyviolation', (event) => done(event.effectiveDirective));
        new Image().src = 'http://127.0.0.1:9/'; })";
    assert_eq!(browser.run(refused, &[]), "img-src");
    assert_eq!(browser.console().len(), 1, "the console hears of what was refused");
}

#[test]
fn every_figure_is_there_with_its_commands_and_files() {
    let report = digits();
    let Some(browser) = report.page() else { return };
    let said = browser.run(
        "return [...document.querySelectorAll('figure')].map((figure) => ({
            id: figure.id,
            title: figure.querySelector('h3').lastChild.data,
            caption: figure.querySelector('figcaption').textContent,
            commands: [...figure.querySelectorAll('pre')].map((code) => code.textContent),
            files: [...figure.querySelectorAll('[data-file]')].map((file) => file.dataset.file) }))",
        &[],
    );
    assert_eq!(said.as_array().unwrap().len(), report.figures().len());
    for (said, figure) in said.as_array().unwrap().iter().zip(report.figures()) {
        for part in ["id", "title", "caption", "commands", "files"] {
            assert_eq!(said[part], figure[part], "{part} of {}", figure["id"]);
        }
    }
    let title = browser.run("return document.querySelector('h1').textContent", &[]);
    assert_eq!(title, report.json["title"]);
}

#[test]
fn key_numbers_are_those_of_the_report() {
    let report = digits();
    let Some(browser) = report.page() else { return };
    let said = "return [...document.querySelectorAll('.key li')].map((item) =>
        [item.querySelector('a').hash, item.querySelector('data')?.value ?? item.querySelector('.big').textContent])";
    let said = browser.run(said, &[]);
    let summary = report.json["summary"].as_array().unwrap();
    assert!(summary.len() >= 3 && said.as_array().unwrap().len() == summary.len(), "{said}");
    for (said, key) in said.as_array().unwrap().iter().zip(summary) {
        assert_eq!(said[0], format!("#{}", key["figure"].as_str().unwrap()));
        match key["value"].as_f64() {
            Some(value) => assert_eq!(said[1].as_str().unwrap().parse::<f64>().unwrap(), value, "{key}"),
            None => assert_eq!(said[1], key["value"]),
        }
    }
    let parameters = &report.json["model"]["document"]["parameters"];
    let said = "return [...document.querySelectorAll('dt')].find((name) => name.textContent === 'Parameters')
        .nextSibling.firstChild.value";
    let said = browser.run(said, &[]);
    assert_eq!(said, parameters.to_string());
}

#[test]
fn downloads_are_the_files_on_disk() {
    let report = digits();
    let Some(browser) = report.page() else { return };
    let files = report.files();
    assert!(files.len() > 30, "{}", files.len());
    // What a button would save, all of them.
    let held = "const read = (blob) => new Promise((done) => {
            const reader = new FileReader();
            reader.onload = () => done(reader.result.split(',')[1]);
            reader.readAsDataURL(blob); });
        return Promise.all([...files.keys()].map(async (name) => [name, await read(blobOf(name))]))";
    let held = browser.run(held, &[]);
    let held: BTreeMap<&str, &str> = held
        .as_array()
        .unwrap()
        .iter()
        .map(|pair| (pair[0].as_str().unwrap(), pair[1].as_str().unwrap()))
        .collect();
    for (name, bytes) in &files {
        assert_eq!(&from_base64(held[name]), bytes, "{name}");
    }
    // And three of them saved.
    browser.run("for (const details of document.querySelectorAll('details.files')) details.open = true", &[]);
    for name in ["data/sweep/rows.csv", "data/plane.npz", "data/slice/value.png"] {
        browser.click("return document.querySelector(`[data-file=\"${arguments[0]}\"]`)", &[json!(name)]);
        let saved = browser.downloads().join(name.split('/').next_back().unwrap());
        let start = std::time::Instant::now();
        while std::fs::read(&saved).ok().as_ref() != Some(&files[name]) {
            assert!(start.elapsed().as_secs() < 60, "{name} is not saved");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
    assert_eq!(browser.console(), [] as [&str; 0]);
}

fn from_base64(text: &str) -> Vec<u8> {
    let place = |c: u8| {
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".iter().position(|&d| d == c)
    };
    let digits: Vec<u32> = text.bytes().filter_map(place).map(|digit| digit as u32).collect();
    let bytes = digits.chunks(4).flat_map(|four| {
        let all = four.iter().enumerate().fold(0, |all, (i, digit)| all | digit << (18 - 6 * i));
        all.to_be_bytes()[1..four.len()].to_vec()
    });
    bytes.collect()
}

/// Networks without regions, of two inputs, of the plainest kind: whatever a report has, its page shows.
#[test]
fn other_networks_have_pages_too() {
    for (name, arguments) in [
        (
            "gelu",
            "digits_gelu.onnx --data digits.npz --key x --scale 0.0625 --anchors 0..100 --points 1700..1730 --pieces 10,30 --curvature 3 --seeds 1 --size 32x32",
        ),
        (
            "moons",
            "moons.onnx --data moons.npz --key x --anchors 0..100 --points 100..150 --pieces 10,30 --curvature 3 --seeds 1 --size 32x32",
        ),
    ] {
        let report = made(name, arguments);
        let Some(browser) = report.page() else { return };
        browser.until("document.querySelector('canvas').dataset.drawn");
        assert_eq!(browser.console(), [] as [&str; 0], "{name}");
        let refused =
            "return [...document.querySelectorAll('figure .refused')].map((text) => text.lastChild.data)";
        let refused = browser.run(refused, &[]);
        let expected: Vec<_> = report
            .figures()
            .iter()
            .map(|figure| &figure["refused"])
            .filter(|text| text.is_string())
            .collect();
        assert_eq!(refused, json!(expected), "{name}");
        assert_eq!(
            expected.is_empty(),
            name == "moons",
            "a smooth network has no regions, {name}: {expected:?}"
        );
        let drawn = "return [...document.querySelectorAll('figure .drawing')]
            .every((drawing) => drawing.getBoundingClientRect().height > 10)";
        let drawn = browser.run(drawn, &[]);
        assert_eq!(drawn, true, "{name}");
    }
}
