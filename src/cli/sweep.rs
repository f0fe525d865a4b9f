//! `fenchel sweep`: error over pieces, curvatures and seeds.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::data::{Dataset, write_whole};
use crate::engine::{Context, SplineEngine};
use crate::report::{self, Made, Row, Setting, State, Sweep, SweepSettings};
use crate::spline::{CurvatureChoice, Fitted, NetworkJets, Recipe, Subject};
use crate::{Error, Result};

use super::args::{self, Preset};
use super::recipe::{Axes, count, default_metric, default_slopes, words};
use super::session::{Job, Loaded, Session, file_name, labels, take};

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
    /// Of the rows that are measured together.
    state: State,
    /// Those that are made one by one.
    rows: Vec<Row>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Identity {
    model: String,
    cut: [Option<String>; 2],
    logits: bool,
    /// Names of fixed inputs, and what they are fixed at.
    fixed: Vec<[String; 2]>,
    outputs: Vec<usize>,
    anchors: String,
    points: String,
    validation: Option<String>,
    normalization: String,
    labels: Option<Vec<u32>>,
    precision: String,
    settings: SweepSettings,
    /// The rows that are made one by one, and what they share.
    others: Vec<String>,
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
        let used: &[_] = if other.is_some() { &[&anchor_rows] } else { &[&anchor_rows, &point_rows] };
        let validation = arguments.axes.common.validation(&data, used)?;
        let subject = Subject {
            network: &loaded.network,
            program: &program,
            outputs: &outputs,
            anchors: &anchors,
            validation: validation.as_ref(),
        };

        let rows = Rows::new(arguments, &anchors, program.dimension(), context.seed())?;
        let settings = rows.settings(&subject, context)?;
        let folder = Folder::at(&arguments.output)?;
        let identity = Identity {
            model: loaded.model.fingerprint.clone(),
            cut: [arguments.model.part.from.clone(), arguments.model.part.node.clone()],
            logits: arguments.model.part.logits,
            fixed: arguments.model.part.fingerprints()?,
            outputs: outputs.clone(),
            anchors: anchors.fingerprint()?,
            points: points.fingerprint()?,
            validation: validation.as_ref().map(Dataset::fingerprint).transpose()?,
            normalization: format!("{:?}", data.normalization()),
            labels: labels.clone(),
            precision: <E::Scalar as crate::Scalar>::NAME.to_owned(),
            settings: settings.clone(),
            others: rows.single.iter().map(|single| format!("{:?}", single.recipe)).collect(),
        };
        let (state, done) = if arguments.resume {
            let fits = |state: &State, done: &[Row]| {
                state.fits(&settings, points.len(), outputs.len()) && done.len() <= rows.single.len()
            };
            folder.resume(&identity, fits)?
        } else {
            Default::default()
        };
        let mut checkpoint = Checkpoint { identity, state, rows: done };
        let has_labels = labels.is_some();
        let table = |checkpoint: &Checkpoint| {
            let mut rows = settings.table(&checkpoint.state, outputs.len(), has_labels);
            rows.extend_from_slice(&checkpoint.rows);
            rows
        };
        if !rows.shared.is_empty() && checkpoint.state.points < points.len() {
            let sweep = Sweep {
                program: &program,
                outputs: outputs.clone(),
                anchors: anchors.clone(),
                points: points.clone(),
                labels: labels.clone(),
                settings: settings.clone(),
            };
            let state = checkpoint.state.clone();
            sweep.run(state, context, |state| {
                checkpoint.state = state.clone();
                folder.store(&checkpoint, &table(&checkpoint))
            })?;
        }
        for single in &rows.single[checkpoint.rows.len()..] {
            let context = context.clone().with_seed(single.seed);
            let Fitted { spline, chosen, .. } = subject.fit(&single.recipe, &context)?;
            let source = NetworkJets::new(&program, anchors.select(&chosen)?, outputs.clone())?;
            let row = report::judge(
                (&program, &outputs),
                (&spline, &source),
                (&points, labels.as_deref()),
                (single.recipe.pieces, single.made.clone()),
                &context,
            )?;
            checkpoint.rows.push(row);
            folder.store(&checkpoint, &table(&checkpoint))?;
        }
        let rows = table(&checkpoint);
        folder.finish(&rows, &file_name(&arguments.model.model))?;
        Ok(rows)
    }
}

/// The rows of a sweep: published splines of random subsets share their products and are measured together, all others
/// are made and judged one by one.
struct Rows {
    pieces: Vec<usize>,
    seeds: Vec<u64>,
    /// The curvatures of the rows that are measured together, and of their error bars.
    shared: Vec<CurvatureChoice>,
    certificate: Option<CurvatureChoice>,
    single: Vec<Single>,
}

struct Single {
    recipe: Recipe,
    seed: u64,
    made: Made,
}

impl Rows {
    fn new(arguments: &args::Sweep, anchors: &Dataset, dimension: usize, seed: u64) -> Result<Self> {
        let Axes { select, metric, curvature, slopes, soft, refine, common } = &arguments.axes;
        let (mut pieces, count_of_seeds) = match arguments.preset {
            Some(Preset::Published) => (of_the_published_figure(anchors.len()), 10),
            None => {
                let pieces = arguments.pieces.iter().map(|&p| count(p, anchors.len())).collect();
                (pieces, arguments.seeds)
            }
        };
        pieces.sort_unstable();
        pieces.dedup();
        let seeds: Vec<u64> = (0..count_of_seeds).map(|i| seed.wrapping_add(i)).collect();
        let plain = |choice: &CurvatureChoice| match choice {
            CurvatureChoice::Given(given) => given.a == given.b,
            choice => *choice == CurvatureChoice::Secant,
        };
        let together = !common.per_output && common.certificate.as_ref().is_none_or(plain);
        let (mut shared, mut single) = (vec![], vec![]);
        for (&select, &refine) in product(select, refine) {
            let warp = common.warp.filter(|_| refine > 0);
            let metrics =
                if metric.is_empty() { &[default_metric(refine > 0).to_owned()] } else { &metric[..] };
            let slopes = if slopes.is_empty() { &[default_slopes(refine > 0)] } else { &slopes[..] };
            for ((metric, &slopes), (&soft, &curvature)) in
                product(metrics, slopes).flat_map(|a| product(soft, curvature).map(move |b| (a, b)))
            {
                let made = Made {
                    selection: words::selection(&select, false),
                    metric: metric.clone(),
                    curvature_choice: words::curvature(&curvature),
                    slopes: words::slopes(&slopes),
                    softness: words::softness(&soft),
                    refine,
                    warp: words::warp(warp),
                };
                if together && plain(&curvature) && made == Made::published(made.curvature_choice.clone()) {
                    if !shared.contains(&curvature) {
                        shared.push(curvature);
                    }
                    continue;
                }
                for (&pieces, &seed) in product(&pieces, &seeds) {
                    let recipe = Recipe {
                        pieces,
                        selection: select,
                        metric: common.metric(metric, dimension)?,
                        curvature,
                        per_output: common.per_output,
                        slopes,
                        softness: soft,
                        refine,
                        warp,
                        rate: common.rate,
                        certificate: common.certificate,
                        domain: common.domain(dimension),
                    };
                    recipe.check()?;
                    single.push(Single { recipe, seed, made: made.clone() });
                }
            }
        }
        if let Some(pieces) = pieces.iter().find(|&&p| p > anchors.len()) {
            let anchors = anchors.len();
            return Err(Error::Argument(format!(
                "{pieces} pieces of {anchors} anchors: expected 1 to {anchors}"
            )));
        }
        Ok(Self { pieces, seeds, shared, certificate: common.certificate, single })
    }

    /// The settings of the rows that are measured together.
    fn settings<E: SplineEngine>(
        &self,
        subject: &Subject<'_, E>,
        context: &Context,
    ) -> Result<SweepSettings> {
        let mut known: Vec<(CurvatureChoice, Setting)> = vec![];
        let mut setting = |choice: CurvatureChoice| -> Result<Setting> {
            if let Some((_, setting)) = known.iter().find(|(known, _)| *known == choice) {
                return Ok(setting.clone());
            }
            let (curvature, label) = subject.isotropic(choice, context)?;
            let setting = Setting { curvature, label, choice: words::curvature(&choice) };
            known.push((choice, setting.clone()));
            Ok(setting)
        };
        let curvatures: Vec<Setting> = self.shared.iter().map(|&c| setting(c)).collect::<Result<_>>()?;
        let certificate = if curvatures.is_empty() { None } else { self.certificate };
        let settings = SweepSettings {
            pieces: self.pieces.clone(),
            certificate: certificate.map(setting).transpose()?,
            curvatures,
            seeds: self.seeds.clone(),
        };
        Ok(settings)
    }
}

/// 10, 20, 50, 100 and so on below `anchors`, and all.
fn of_the_published_figure(anchors: usize) -> Vec<usize> {
    let decades = (1..).map(|decade| 10_usize.pow(decade));
    let all = decades.flat_map(|ten| [1, 2, 5].map(|digit| digit * ten));
    all.take_while(|&pieces| pieces < anchors).chain([anchors]).collect()
}

/// All pairs, the second changing faster.
fn product<'a, A, B>(a: &'a [A], b: &'a [B]) -> impl Iterator<Item = (&'a A, &'a B)> {
    a.iter().flat_map(move |a| b.iter().map(move |b| (a, b)))
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

    /// The state of the same sweep and its rows, if they `fit` it; from its beginning where there is none.
    fn resume(&self, identity: &Identity, fit: impl Fn(&State, &[Row]) -> bool) -> Result<(State, Vec<Row>)> {
        let path = self.0.join("checkpoint.json");
        if !path.exists() {
            return Ok(Default::default());
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
        if !fit(&checkpoint.state, &checkpoint.rows) {
            return Err(Error::file(&path, "is damaged: its sums and rows are not those of this sweep"));
        }
        Ok((checkpoint.state, checkpoint.rows))
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
