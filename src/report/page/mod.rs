//! Reports: what a network, its splines and its regions look like and measure, on one page that holds all of its data.
//!
//! [`Report`] is the content, as `report.json` has it; [`write()`] puts it and the files that it names into one HTML page
//! that fetches nothing. Every figure carries the command lines that make it.

mod base64;

use std::collections::BTreeSet;
use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use crate::data::OutputFile;
use crate::render::html::{PANZOOM, escaped, filled};
use crate::{Error, Result};

use base64::encode;

/// Files beyond this many bytes stay beside the page, the layers of a slice excepted: a page can then still be sent by
/// mail.
pub const MOST_EMBEDDED: u64 = 1 << 20;

/// The parts of the page's skeleton that are files of their own.
const PARTS: [(&str, &str); 16] = [
    ("{{style.css}}", include_str!("style.css")),
    ("{{dom.js}}", include_str!("dom.js")),
    ("{{numbers.js}}", include_str!("numbers.js")),
    ("{{files.js}}", include_str!("files.js")),
    ("{{table.js}}", include_str!("table.js")),
    ("{{axes.js}}", include_str!("axes.js")),
    ("{{chart.js}}", include_str!("chart.js")),
    ("{{sweep.js}}", include_str!("sweep.js")),
    ("{{bars.js}}", include_str!("bars.js")),
    ("{{colours.js}}", include_str!("colours.js")),
    ("{{matrix.js}}", include_str!("matrix.js")),
    ("{{panzoom.js}}", PANZOOM),
    ("{{boundaries.js}}", include_str!("boundaries.js")),
    ("{{slice.js}}", include_str!("slice.js")),
    ("{{figures.js}}", include_str!("figures.js")),
    ("{{page.js}}", include_str!("page.js")),
];

/// A whole report.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The version of Fenchel that made it.
    pub fenchel: &'static str,
    /// The command line that made it.
    pub command: String,
    /// The command line that makes the folders which those of the figures write into.
    pub prepare: String,
    /// Its title: the model's name.
    pub title: String,
    /// The network.
    pub model: Model,
    /// The data, and what of it was used for what.
    pub data: Data,
    /// The device, in words.
    pub device: String,
    /// What else the numbers depend on.
    pub settings: Settings,
    /// How long it took.
    pub seconds: f64,
    /// The few numbers that come first.
    pub summary: Vec<Key>,
    /// The page's parts, in order.
    pub sections: Vec<Section>,
    /// The figures, in order.
    pub figures: Vec<Figure>,
}

/// The network of a report.
#[derive(Debug, Serialize)]
pub struct Model {
    /// The file as it was typed.
    pub file: String,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256, with that of files it refers to.
    pub sha256: String,
    /// What `fenchel inspect --json` prints.
    pub document: Value,
}

/// The data of a report.
#[derive(Debug, Serialize)]
pub struct Data {
    /// The file or folder as it was typed.
    pub file: String,
    /// The number of rows.
    pub rows: usize,
    /// The shape of one.
    pub shape: Vec<usize>,
    /// The SHA-256 of its raw values, as [`Dataset::fingerprint`](crate::data::Dataset::fingerprint) has it.
    pub fingerprint: String,
    /// How it is read, as options of the command line.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reading: String,
    /// The file of labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<String>,
    /// Rows that anchors are taken from, from the first to before the last.
    pub anchors: [usize; 2],
    /// Rows that choices are made on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<[usize; 2]>,
    /// Rows that are judged on.
    pub points: [usize; 2],
}

/// What a report's numbers depend on beside model and data.
#[derive(Debug, Serialize)]
pub struct Settings {
    /// The first seed.
    pub seed: u64,
    /// How many seeds the sweep has.
    pub seeds: u64,
    /// The memory budget in bytes.
    pub memory: u64,
    /// The precision that was asked for.
    pub precision: &'static str,
    /// Threads of the processor.
    pub threads: usize,
}

/// A number that comes first on the page.
#[derive(Debug, Serialize)]
pub struct Key {
    /// What it is.
    pub label: &'static str,
    /// A number, or text.
    pub value: Value,
    /// `share` for a fraction; absent for a plain number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<&'static str>,
    /// What it is of.
    pub note: String,
    /// The figure that it is from.
    pub figure: &'static str,
}

/// A part of the page.
#[derive(Debug, Serialize)]
pub struct Section {
    /// Its name in addresses.
    pub id: &'static str,
    /// Its heading.
    pub title: &'static str,
}

/// A figure: a chart, table or picture, or a refusal.
#[derive(Debug, Serialize)]
pub struct Figure {
    /// Its name in addresses.
    pub id: &'static str,
    /// The section it is in.
    pub section: &'static str,
    /// Its heading.
    pub title: String,
    /// What one sees, how to read it, and what of it is proved, exact, tested or visited.
    pub caption: String,
    /// What is drawn.
    #[serde(flatten)]
    pub drawn: Drawn,
    /// The command lines that make it, in order.
    pub commands: Vec<String>,
    /// The files that they write and that are offered, relative to the report's folder.
    pub files: Vec<String>,
    /// How long the commands took; those that another figure also needs count for each.
    pub seconds: f64,
    /// Why there is no such figure of this network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// The JSON document of the last command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<Value>,
}

/// What a figure draws.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", content = "drawn", rename_all = "lowercase")]
pub enum Drawn {
    /// Nothing.
    Refused,
    /// The rows of the figure's document, as `fenchel sweep` prints them.
    Sweep,
    /// A picture.
    Image(Image),
    /// A plane of input space, layer over layer.
    Slice(Slice),
    /// A table.
    Table(Table),
    /// Bars side by side.
    Bars(Bars),
    /// A square of colours.
    Matrix(Matrix),
}

/// A picture.
#[derive(Debug, Serialize)]
pub struct Image {
    /// Its file.
    pub image: String,
    /// What is on it, in words.
    pub alt: String,
}

/// A plane of input space; `s` and `t` run from -1 to 1, row 0 of every layer is the upper one.
#[derive(Debug, Serialize)]
pub struct Slice {
    /// Width and height in pixels.
    pub size: [usize; 2],
    /// The output whose values are shown.
    pub output: usize,
    /// Points of the plane that have a name.
    pub marks: Vec<Mark>,
    /// What can be shown.
    pub layers: Vec<Layer>,
    /// What cannot.
    pub missing: Vec<Missing>,
}

/// A point of a slice.
#[derive(Debug, Serialize)]
pub struct Mark {
    /// The row of the data that lies there.
    pub row: usize,
    /// Where it is to the right.
    pub s: f64,
    /// Where it is upwards.
    pub t: f64,
    /// What it is.
    pub label: String,
}

/// A layer of a slice.
#[derive(Debug, Serialize)]
pub struct Layer {
    /// Its name.
    pub id: String,
    /// What it is, for people.
    pub title: String,
    /// `network`, `regions`, `spline` or `certificate`.
    pub group: &'static str,
    /// What `fenchel render --what` calls it.
    pub what: &'static str,
    /// `f32` or `u32`.
    #[serde(rename = "type")]
    pub element: &'static str,
    /// The picture.
    pub png: String,
    /// The numbers `[H, W]`.
    pub npy: String,
    /// What the colours mean, an SVG.
    pub legend: String,
    /// The command line that makes all three.
    pub command: String,
    /// Its JSON document.
    pub document: Value,
}

/// A layer that there is not.
#[derive(Debug, Serialize)]
pub struct Missing {
    /// What it would be.
    pub title: String,
    /// Why not.
    pub refused: String,
}

/// A table.
#[derive(Debug, Serialize)]
pub struct Table {
    /// Headings.
    pub columns: Vec<String>,
    /// Numbers and texts, as many in each row as there are columns.
    pub rows: Vec<Vec<Value>>,
}

/// Bars side by side.
#[derive(Debug, Serialize)]
pub struct Bars {
    /// What the bars are called.
    pub x: Vec<String>,
    /// Their lengths.
    pub series: Vec<Series>,
    /// What the lengths are.
    pub axis: String,
}

/// One bar for each name.
#[derive(Debug, Serialize)]
pub struct Series {
    /// What is measured.
    pub name: String,
    /// The lengths.
    pub values: Vec<f64>,
}

/// Numbers of pairs, as colours.
#[derive(Debug, Serialize)]
pub struct Matrix {
    /// The names of the rows.
    pub rows: Vec<String>,
    /// The names of the columns.
    pub columns: Vec<String>,
    /// A number for each row and column.
    pub values: Vec<Vec<f64>>,
    /// What the numbers are.
    pub unit: String,
    /// A name for each row, equal for rows that belong together.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Numbers at the ends of the colours.
    pub range: [f64; 2],
}

impl Report {
    /// The files that the page offers, and whether each is part of it however large.
    fn files(&self) -> (BTreeSet<&str>, BTreeSet<&str>) {
        let all = self.figures.iter().flat_map(|figure| &figure.files).map(String::as_str).collect();
        let layers = self.figures.iter().filter_map(|figure| match &figure.drawn {
            Drawn::Slice(slice) => Some(&slice.layers),
            _ => None,
        });
        let drawn = layers.flatten().flat_map(|layer| [&layer.png, &layer.npy, &layer.legend]);
        let images = self.figures.iter().filter_map(|figure| match &figure.drawn {
            Drawn::Image(image) => Some(&image.image),
            _ => None,
        });
        (all, drawn.chain(images).map(String::as_str).collect())
    }
}

/// Writes `report.json` and `index.html` into `folder`, where the report's files are; both appear once all is done.
/// Returns the bytes of the page.
///
/// # Errors
/// A file that is not there or cannot be read; a failed write.
pub fn write(report: &Report, folder: &Path) -> Result<u64> {
    let bad = |e: serde_json::Error| Error::Argument(e.to_string());
    let mut json = OutputFile::create(&folder.join("report.json"))?;
    let mut page = OutputFile::create(&folder.join("index.html"))?;
    let mut text = serde_json::to_string_pretty(report).map_err(bad)?;
    text.push('\n');
    json.put(text.as_bytes())?;
    let (all, drawn) = report.files();
    let mut files = String::new();
    for name in all.union(&drawn) {
        let path = folder.join(name);
        let bytes = std::fs::metadata(&path).map_err(Error::io("read", &path))?.len();
        if bytes <= MOST_EMBEDDED || drawn.contains(name) {
            let content = std::fs::read(&path).map_err(Error::io("read", &path))?;
            let (name, kind) = (escaped(name), media_type(name));
            files += &format!(
                "<script type=\"text/plain\" class=\"file\" data-name=\"{name}\" data-type=\"{kind}\">"
            );
            encode(&content, &mut files);
            files += "</script>\n";
        }
    }
    // The end of a script is the only thing that JSON must not hold there.
    let document = serde_json::to_string(report).map_err(bad)?.replace('<', "\\u003c");
    let own = [("{{title}}", escaped(&report.title)), ("{{report}}", document), ("{{files}}", files)];
    let parts: Vec<(&str, &str)> =
        own.iter().map(|(name, part)| (*name, part.as_str())).chain(PARTS).collect();
    let html = filled(include_str!("page.html"), &parts);
    page.put(html.as_bytes())?;
    json.commit()?;
    page.commit()?;
    Ok(html.len() as u64)
}

/// What a file is, by its name (RFC 6838).
fn media_type(name: &str) -> &'static str {
    match Path::new(name).extension().and_then(|e| e.to_str()).unwrap_or_default() {
        "csv" => "text/csv",
        "json" => "application/json",
        "png" => "image/png",
        "svg" => "image/svg+xml",
        "npz" => "application/zip",
        _ => "application/octet-stream",
    }
}
