//! `fenchel sweep`: error over pieces, curvatures and seeds.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::data::{Dataset, read_labels, write_whole};
use crate::engine::SplineEngine;
use crate::report::{self, Row, Setting, State, Sweep, SweepSettings};
use crate::spline::NetworkJets;
use crate::{Error, Result};

use super::args::{self, CurvatureChoice, Pieces};
use super::session::{Job, Loaded, Session, curvature_points, file_name, take};

pub(super) fn sweep(session: &Session, arguments: &args::Sweep) -> Result<()> {
    let loaded = arguments.model.load()?;
    let data = arguments.data.open()?;
    let rows = session.on_engine("f32", Measure { session, arguments, loaded, data })?;
    let document = serde_json::json!({ "rows": rows });
    session.print(&document, || {
        format!(
            "{}\nin '{}': rows.csv, rows.json, sweep.svg\n",
            report::markdown(&rows),
            arguments.output.display()
        )
    })
}

struct Measure<'a> {
    session: &'a Session,
    arguments: &'a args::Sweep,
    loaded: Loaded,
    data: Dataset,
}

/// What a sweep is, so that another is never continued by mistake, and how far it is.
#[derive(Debug, Serialize, Deserialize)]
struct Checkpoint {
    identity: Identity,
    state: State,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Identity {
    model: String,
    cut: [Option<String>; 2],
    outputs: Vec<usize>,
    anchors: String,
    points: String,
    normalization: String,
    labels: Option<Vec<u32>>,
    precision: String,
    settings: SweepSettings,
}

impl Job for Measure<'_> {
    type Output = Vec<Row>;

    fn run<E: SplineEngine>(self, engine: E) -> Result<Vec<Row>> {
        let Self { session, arguments, loaded, data } = self;
        let context = &session.context;
        let program = loaded.network.compile(&engine)?;
        let outputs = arguments.outputs.choose(program.outputs())?;
        let anchor_rows = take(&data, arguments.anchors.as_ref(), "--anchors")?;
        let anchors = data.select_range(anchor_rows.clone())?;
        let other =
            arguments.points_data.as_ref().map(|path| Dataset::open(path, &arguments.data.reading.options()));
        let other = other.transpose()?;
        let judged = other.as_ref().unwrap_or(&data);
        let point_rows = take(judged, arguments.points.as_ref(), "--points")?;
        let points = judged.select_range(point_rows.clone())?;
        let labels =
            arguments.labels.as_ref().map(|path| labels(path, judged.len(), &point_rows)).transpose()?;

        let source = NetworkJets::new(&program, anchors.clone(), outputs.clone())?;
        let mut secant: Option<Setting> = None;
        let mut setting = |choice: CurvatureChoice| -> Result<Setting> {
            if let (CurvatureChoice::Secant, Some(known)) = (choice, secant) {
                return Ok(known);
            }
            let used: &[_] = if other.is_some() { &[&anchor_rows] } else { &[&anchor_rows, &point_rows] };
            let (curvature, label) = session.curvature(choice, &source, &program, &outputs, || {
                curvature_points(&data, arguments.curving.curvature_points.as_ref(), used)
            })?;
            let setting = Setting { curvature, label };
            if choice == CurvatureChoice::Secant {
                secant = Some(setting);
            }
            Ok(setting)
        };
        let mut pieces: Vec<usize> = arguments
            .pieces
            .iter()
            .map(|pieces| match pieces {
                Pieces::All => anchors.len(),
                Pieces::Some(pieces) => *pieces,
            })
            .collect();
        pieces.sort_unstable();
        pieces.dedup();
        let mut curvatures: Vec<CurvatureChoice> = vec![];
        for &choice in &arguments.curvature {
            if !curvatures.contains(&choice) {
                curvatures.push(choice);
            }
        }
        let settings = SweepSettings {
            pieces,
            curvatures: curvatures.into_iter().map(&mut setting).collect::<Result<_>>()?,
            seeds: (0..arguments.seeds).map(|i| context.seed().wrapping_add(i)).collect(),
            certificate: arguments.curving.certificate.map(setting).transpose()?,
        };
        settings.check(anchors.len())?;

        let folder = Folder::at(&arguments.output)?;
        let identity = Identity {
            model: loaded.model.fingerprint.clone(),
            cut: [arguments.model.part.from.clone(), arguments.model.part.node.clone()],
            outputs: outputs.clone(),
            anchors: anchors.fingerprint()?,
            points: points.fingerprint()?,
            normalization: format!("{:?}", data.normalization()),
            labels: labels.clone(),
            precision: <E::Scalar as crate::Scalar>::NAME.to_owned(),
            settings: settings.clone(),
        };
        let state = if arguments.resume { folder.resume(&identity)? } else { State::default() };
        let has_labels = labels.is_some();
        let mut checkpoint = Checkpoint { identity, state: State::default() };
        let table = |state: &State| settings.table(state, outputs.len(), has_labels);
        let sweep = Sweep {
            program: &program,
            outputs: outputs.clone(),
            anchors,
            points,
            labels,
            settings: settings.clone(),
        };
        let state = if state.points == sweep.points.len() {
            state
        } else {
            sweep.run(state, context, |state| {
                checkpoint.state = state.clone();
                folder.store(&checkpoint, &table(state))
            })?
        };
        let rows = table(&state);
        let title = file_name(&arguments.model.model);
        folder.finish(&rows, &title)?;
        Ok(rows)
    }
}

/// Labels of the points: one for each row of their data, or one for each point.
fn labels(path: &Path, rows: usize, points: &std::ops::Range<usize>) -> Result<Vec<u32>> {
    let labels = read_labels(path, None)?;
    match labels.len() {
        n if n == rows => Ok(labels[points.clone()].to_vec()),
        n if n == points.len() => Ok(labels),
        n => Err(Error::Argument(format!(
            "'{}' holds {n} labels; {rows} (one for each row) or {} (one for each point) would fit",
            path.display(),
            points.len()
        ))),
    }
}

/// The folder of a sweep's results. Every file in it appears whole or not at all.
pub(super) struct Folder(PathBuf);

impl Folder {
    /// The folder of this name, which is made once there is something to put in.
    pub(super) fn at(path: &Path) -> Result<Self> {
        if path.exists() && !path.is_dir() {
            return Err(Error::file(path, "is no folder; a sweep needs one for its results"));
        }
        Ok(Self(path.to_path_buf()))
    }

    fn make(&self) -> Result<()> {
        fs::create_dir_all(&self.0).map_err(Error::io("create folder", &self.0))
    }

    /// The state of the same sweep, from its beginning where there is none.
    fn resume(&self, identity: &Identity) -> Result<State> {
        let path = self.0.join("checkpoint.json");
        if !path.exists() {
            return Ok(State::default());
        }
        let text = fs::read(&path).map_err(Error::io("read", &path))?;
        let checkpoint: Checkpoint =
            serde_json::from_slice(&text).map_err(|e| Error::file(&path, format!("is damaged: {e}")))?;
        if checkpoint.identity != *identity {
            return Err(Error::Argument(format!(
                "'{}' belongs to a sweep of another model, data or settings; repeat its arguments, or choose \
                 another folder",
                path.display()
            )));
        }
        Ok(checkpoint.state)
    }

    fn store(&self, checkpoint: &Checkpoint, rows: &[Row]) -> Result<()> {
        self.make()?;
        // What an older sweep left would contradict the rows that are being written.
        for name in ["rows.json", "sweep.svg"] {
            let path = self.0.join(name);
            match fs::remove_file(&path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io("remove", &path)(e));
                }
                _ => {}
            }
        }
        let path = self.0.join("checkpoint.json");
        let text = serde_json::to_vec(checkpoint).map_err(|e| Error::file(&path, e.to_string()))?;
        write_whole(&path, &text)?;
        write_whole(&self.0.join("rows.csv"), report::csv(rows).as_bytes())
    }

    /// Writes the finished table and its picture.
    pub(super) fn finish(&self, rows: &[Row], title: &str) -> Result<()> {
        self.make()?;
        let path = self.0.join("rows.json");
        let document = serde_json::json!({ "rows": rows });
        let text = serde_json::to_vec_pretty(&document).map_err(|e| Error::file(&path, e.to_string()))?;
        write_whole(&self.0.join("rows.csv"), report::csv(rows).as_bytes())?;
        write_whole(&self.0.join("sweep.svg"), report::sweep_svg(rows, title)?.as_bytes())?;
        write_whole(&path, &text)
    }
}
