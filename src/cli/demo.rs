//! `fenchel demo`: the main job on networks and data that are part of the program.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::json;

use crate::data::{Dataset, Normalization, ReadOptions, read_labels, write_whole};
use crate::engine::SplineEngine;
use crate::network::onnx::{self, LoadOptions};
use crate::report::{self, Row, Setting, State, Sweep, SweepSettings};
use crate::spline::{Label, NetworkJets, largest, secant};
use crate::{Error, Result};

use super::demo_pictures::Pictures;
use super::session::{Job, Session};
use super::sweep::Folder;

/// The networks of the demonstration.
const MODELS: [(&str, &[u8]); 2] = [
    ("digits_sigmoid.onnx", include_bytes!("../../assets/digits_sigmoid.onnx")),
    ("digits_cnn.onnx", include_bytes!("../../assets/digits_cnn.onnx")),
];

/// 1797 handwritten digits of 8 x 8 pixels; the networks were trained on the first 1400.
const DIGITS: &[u8] = include_bytes!("../../assets/digits.npz");

/// Rows that anchors are taken from, that curvatures are estimated on, and that splines are judged on.
const ANCHORS: std::ops::Range<usize> = 0..1200;
const ESTIMATE: std::ops::Range<usize> = 1200..1400;
const POINTS: std::ops::Range<usize> = 1400..1797;

pub(super) fn demo(session: &Session) -> Result<()> {
    session.check_device()?;
    let folder = PathBuf::from("fenchel-demo");
    std::fs::create_dir_all(&folder).map_err(Error::io("create folder", &folder))?;
    let digits = folder.join("digits.npz");
    write_whole(&digits, DIGITS)?;
    let mut text = String::new();
    let mut documents = vec![];
    for (name, bytes) in MODELS {
        let model = folder.join(name);
        write_whole(&model, bytes)?;
        let results = folder.join(name.trim_end_matches(".onnx"));
        let job = Demonstration { session, model: &model, digits: &digits, results: &results };
        let Done { rows, summary, pictures, device, seconds } = session.on_engine("f32", job)?;
        Folder::at(&results)?.finish(&rows, &format!("{name}: spline error on 397 test digits"))?;
        let _ = writeln!(text, "{name}: {summary}\n\n{}", report::markdown(&rows));
        let _ = writeln!(
            text,
            "{} rows in {seconds:.2} s on {device}; in '{}': rows.csv, rows.json, sweep.svg, {}\n",
            rows.len(),
            results.display(),
            pictures.join(", ")
        );
        documents.push(json!({
            "model": name,
            "device": device,
            "seconds": seconds,
            "rows": rows,
            "pictures": pictures,
        }));
    }
    write_whole(&folder.join("summary.md"), text.as_bytes())?;
    text.push_str(
        "Read a row as: a max-affine spline of so many pieces comes so close to the network. Half-width is the mean\n\
         error bar, violations the share of test values outside it.\n\n\
         Next, the same by hand (docs/gallery.md has pictures with their commands):\n  \
         fenchel inspect fenchel-demo/digits_cnn.onnx\n  \
         fenchel sweep fenchel-demo/digits_cnn.onnx --data fenchel-demo/digits.npz --scale 0.0625 \
         --anchors 0..1200 --points 1400..1797 --pieces 100,1000 --curvature 1,3 --seeds 5 -o sweep\n",
    );
    session.print(&json!({ "demo": documents }), || text)
}

struct Demonstration<'a> {
    session: &'a Session,
    model: &'a Path,
    digits: &'a Path,
    results: &'a Path,
}

struct Done {
    rows: Vec<Row>,
    summary: String,
    /// Names of files.
    pictures: Vec<String>,
    device: String,
    seconds: f64,
}

impl Job for Demonstration<'_> {
    type Output = Done;

    fn run<E: SplineEngine>(self, engine: E) -> Result<Done> {
        let context = &self.session.context;
        let model = onnx::load(self.model, &LoadOptions::default())?;
        // Pixels are 0..16; the networks take them divided by 16.
        let normalization = Normalization { scale: Some(1.0 / 16.0), ..Normalization::default() };
        let data = Dataset::open(self.digits, &ReadOptions { key: None, normalization })?;
        let labels = read_labels(self.digits, None)?;
        let start = Instant::now();
        let program = model.network.compile(&engine)?;
        let outputs: Vec<usize> = (0..program.outputs()).collect();
        let anchors = data.select_range(ANCHORS)?;
        let source = NetworkJets::new(&program, anchors.clone(), outputs.clone())?;
        let tested = largest(&secant(&source, &program, &outputs, &data.select_range(ESTIMATE)?, context)?);
        let sweep = Sweep {
            program: &program,
            outputs,
            anchors,
            points: data.select_range(POINTS)?,
            labels: Some(labels[POINTS].to_vec()),
            settings: SweepSettings {
                pieces: vec![10, 25, 50, 100, 200, 400, 800, 1200],
                curvatures: [1.0, 3.0, 10.0].map(Setting::given).to_vec(),
                seeds: (0..5).map(|i| context.seed().wrapping_add(i)).collect(),
                certificate: Some(Setting { label: Label::Tested, ..Setting::given(tested) }),
            },
        };
        let state = sweep.run(State::default(), context, |_| Ok(()))?;
        let rows = sweep.settings.table(&state, sweep.outputs.len(), true);
        let summary = format!(
            "{} network, {} parameters; error bars at curvature {tested:.2}, which holds over the {} pairs of \
             anchors and validation digits",
            model.network.kind(),
            model.network.parameters(),
            ANCHORS.len() * ESTIMATE.len(),
        );
        let seconds = start.elapsed().as_secs_f64();
        let pictures = Pictures {
            network: &model.network,
            data: &data,
            folder: self.results,
            comment: &self.session.command,
            context,
        };
        let pictures = pictures.make(&program, &source)?;
        Ok(Done { rows, summary, pictures, device: engine.describe(), seconds })
    }
}
