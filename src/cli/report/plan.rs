//! What a report settles before it runs anything: which rows are for what, how much of each, and how fine.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::cli::args::{Precision, Size, memory_text};
use crate::cli::session::{Job, Session, labels, take};
use crate::data::Dataset;
use crate::engine::context::DEFAULT_MEMORY;
use crate::engine::{DeviceChoice, SplineEngine};
use crate::network::{Kind, Network};
use crate::{Error, Result, Scalar};

use super::Arguments;
use super::words::{Words, list};

/// Rows at most for each purpose.
const MOST_ANCHORS: usize = 8000;
const MOST_POINTS: usize = 2000;

/// Rows whose classes are looked at, and on which the network's speed is measured.
const SURVEYED: usize = 512;

/// Sides of a slice, of which the largest is taken that the network can be computed on in about so many seconds.
const SIDES: [usize; 5] = [384, 256, 192, 128, 96];
const PATIENCE: f64 = 6.0;

/// Rows that sheets show.
const SHOWN: usize = 5;

/// Everything that the figures agree on.
pub(super) struct Plan<'a> {
    pub session: &'a Session,
    pub arguments: &'a Arguments,
    pub network: Network,
    pub sha256: String,
    pub data: Dataset,
    /// The outputs that the report is about.
    pub outputs: Vec<usize>,
    pub anchors: Range<usize>,
    /// Rows apart that choices are made on.
    pub validation: Option<Range<usize>>,
    pub points: Range<usize>,
    /// Of the points.
    labels: Option<Vec<u32>>,
    /// The largest output at some rows.
    classes: BTreeMap<usize, usize>,
    pub device: String,
    /// Rows that the plane goes through.
    pub through: [usize; 3],
    /// Rows that sheets show.
    pub rows: Vec<usize>,
    /// The output that the slice shows.
    pub output: usize,
    pub size: Size,
}

/// Classes of rows, and how long a row takes.
struct Survey<'a> {
    session: &'a Session,
    network: &'a Network,
    data: &'a Dataset,
    outputs: &'a [usize],
    rows: Vec<usize>,
}

struct Surveyed {
    classes: BTreeMap<usize, usize>,
    device: String,
    seconds: f64,
}

impl Job for Survey<'_> {
    type Output = Surveyed;

    fn run<E: SplineEngine>(self, engine: E) -> Result<Surveyed> {
        let Self { session, network, data, outputs, rows } = self;
        let program = network.compile(&engine)?;
        let inputs = data.gather::<E::Scalar>(&rows)?;
        let values = program.values(inputs.view(), &session.context)?;
        // The first pass compiles kernels and touches memory.
        let start = Instant::now();
        program.values(inputs.view(), &session.context)?;
        let seconds = start.elapsed().as_secs_f64() / rows.len() as f64;
        let class = |row: usize| {
            let value = |i: usize| values[[row, outputs[i]]].f64();
            outputs[(1..outputs.len()).fold(0, |best, i| if value(i) > value(best) { i } else { best })]
        };
        let classes = rows.iter().enumerate().map(|(i, &row)| (row, class(i))).collect();
        Ok(Surveyed { classes, device: engine.describe(), seconds })
    }
}

impl<'a> Plan<'a> {
    /// # Errors
    /// Files that cannot be read or do not fit each other, ranges beyond the data.
    pub(super) fn settle(session: &'a Session, arguments: &'a Arguments) -> Result<Self> {
        session.check_device()?;
        let loaded = arguments.model.load()?;
        let network = loaded.network;
        let data = arguments.data.open()?;
        data.check_rows(network.dimension())?;
        let outputs = arguments.outputs.choose(network.output_len())?;
        let [anchors, points, validation] = split(arguments, &data)?;
        let (Some(anchors), Some(points)) = (anchors, points) else {
            return Err(Error::Argument(format!(
                "'{}' has {} rows; a report needs at least 2, one for anchors and one to judge on",
                data.path().display(),
                data.len()
            )));
        };
        let labels = arguments.labels.as_ref().map(|path| labels(path, data.len(), &points)).transpose()?;
        let given = |i: &usize| {
            if *i < data.len() {
                return Ok(*i);
            }
            let (rows, path) = (data.len(), data.path().display());
            Err(Error::Argument(format!("there is no row {i} of the {rows} in '{path}'")))
        };
        let through: Vec<usize> = arguments.through.iter().flatten().map(given).collect::<Result<_>>()?;
        let rows = match &arguments.rows {
            Some(list) => list.0.iter().flat_map(Clone::clone).map(|i| given(&i)).collect::<Result<_>>()?,
            None => vec![],
        };
        if let Some(k) = arguments.show.filter(|k| !outputs.contains(k)) {
            return Err(Error::Argument(format!("--show {k} is none of the outputs {}", list(&outputs))));
        }
        let mut surveyed: Vec<usize> = points.clone().take(SURVEYED).collect();
        surveyed.extend(
            through.iter().chain(&rows).filter(|row| !surveyed.contains(row)).copied().collect::<Vec<_>>(),
        );
        let survey = Survey { session, network: &network, data: &data, outputs: &outputs, rows: surveyed };
        let Surveyed { classes, device, seconds } = session.on_engine("f32", survey)?;
        let through = match &through[..] {
            &[i, j, k] => [i, j, k],
            [] => three(&classes, &points),
            _ => return Err(Error::Argument("--through takes three rows, such as 0,1,2".to_owned())),
        };
        let rows = if rows.is_empty() { different(&classes, &points, SHOWN) } else { rows };
        let side = SIDES.into_iter().find(|side| seconds * (side * side) as f64 <= PATIENCE);
        let side = side.unwrap_or(SIDES[SIDES.len() - 1]);
        let size = arguments.size.unwrap_or(Size { width: side, height: side });
        let output = arguments.show.unwrap_or(classes[&through[0]]);
        let sha256 = loaded.model.fingerprint;
        Ok(Self {
            session,
            arguments,
            network,
            sha256,
            data,
            outputs,
            anchors,
            validation,
            points,
            labels,
            classes,
            device,
            through,
            rows,
            output,
            size,
        })
    }

    /// A verb, the model, and what of it is meant.
    pub(super) fn of_model(&self, verb: &str) -> Words {
        Words::verb(verb).word(&self.arguments.model.model).then(&self.arguments.model.part.words())
    }

    /// The same, and the data.
    pub(super) fn of_data(&self, verb: &str) -> Words {
        self.of_model(verb).then(&self.data_words())
    }

    /// The data, and how it is read.
    pub(super) fn data_words(&self) -> Words {
        let data = &self.arguments.data;
        Words::none().path("--data", &data.data).then(&data.reading.words())
    }

    /// The outputs, where the user chose some.
    pub(super) fn output_words(&self) -> Words {
        Words::none().maybe("--outputs", self.arguments.outputs.outputs.as_ref())
    }

    /// Where results go, which ends a command line but for what the user said of the device and the like.
    pub(super) fn into(&self, words: Words, flag: &str, file: &str) -> Words {
        self.ended(words.path(flag, &self.file(file)))
    }

    /// A command line with what the user said of the device and the like.
    pub(super) fn ended(&self, words: Words) -> Words {
        let (session, context) = (self.session, &self.session.context);
        let device = Some(session.device()).filter(|device| *device != DeviceChoice::Auto);
        let precision = session.precision().map(|precision| match precision {
            Precision::F32 => "f32",
            Precision::F64 => "f64",
        });
        words
            .maybe("--device", device)
            .maybe(
                "--memory",
                Some(context.memory()).filter(|&memory| memory != DEFAULT_MEMORY).map(memory_text),
            )
            .maybe("--seed", Some(context.seed()).filter(|&seed| seed != 0))
            .maybe("--precision", precision)
    }

    /// A file of the report, named relative to its folder.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.arguments.output.join(name)
    }

    pub(super) fn is_piecewise_affine(&self) -> bool {
        self.network.kind() <= Kind::PiecewiseAffine
    }

    /// The class that the network gives a row, where it was looked at and there are several.
    pub(super) fn class(&self, row: usize) -> Option<usize> {
        self.classes.get(&row).copied().filter(|_| self.outputs.len() > 1)
    }

    /// The label of a row, of points only.
    pub(super) fn label(&self, row: usize) -> Option<u32> {
        let labels = self.labels.as_ref()?;
        labels.get(row.checked_sub(self.points.start)?).copied()
    }

    pub(super) fn has_labels(&self) -> bool {
        self.labels.is_some()
    }

    /// A row and what it is, for people.
    pub(super) fn named(&self, row: usize) -> String {
        match (self.class(row), self.label(row)) {
            (Some(class), Some(label)) => format!("row {row}: class {class}, label {label}"),
            (Some(class), None) => format!("row {row}: class {class}"),
            (None, Some(label)) => format!("row {row}: label {label}"),
            (None, None) => format!("row {row}"),
        }
    }
}

/// Rows for anchors, to judge on, and apart for choices: as the user says; else the last fifth is judged on, the tenth
/// before it is for choices, and the first rows are for anchors.
fn split(arguments: &Arguments, data: &Dataset) -> Result<[Option<Range<usize>>; 3]> {
    let given = |range: &Option<Range<usize>>, flag| match range {
        Some(range) => take(data, Some(range), flag).map(Some),
        None => Ok(None),
    };
    let anchors = given(&arguments.anchors, "--anchors")?;
    let points = given(&arguments.points, "--points")?;
    let validation = given(&arguments.validation, "--validation")?;
    let n = data.len();
    // The longest run of rows that are for nothing yet; the last of equally long ones.
    let free = |used: &[&Range<usize>]| {
        let ends = used.iter().flat_map(|range| [range.start, range.end]).chain([0, n]);
        let ends: BTreeSet<usize> = ends.collect();
        let runs = ends.iter().zip(ends.iter().skip(1)).map(|(&start, &end)| start..end);
        runs.filter(|run| !used.iter().any(|used| used.contains(&run.start))).max_by_key(Range::len)
    };
    let points = points.or_else(|| {
        let used: Vec<&Range<usize>> = anchors.iter().collect();
        let run = free(&used)?;
        let most = if anchors.is_some() { run.len() } else { n - 1 };
        let length = (n / 5).clamp(1, MOST_POINTS).min(most);
        (length > 0).then(|| run.end - length..run.end)
    });
    let Some(points) = points else { return Ok([anchors, None, None]) };
    let validation = validation.or_else(|| match &anchors {
        Some(anchors) => free(&[anchors, &points]).map(|run| run.start..run.end.min(run.start + MOST_POINTS)),
        None => free(&[&points]).and_then(|run| {
            let length = (n / 10).clamp(1, MOST_POINTS).min(run.len().saturating_sub(1));
            (length > 0).then(|| run.end - length..run.end)
        }),
    });
    let anchors = anchors.or_else(|| {
        let used: Vec<&Range<usize>> = std::iter::once(&points).chain(&validation).collect();
        free(&used).map(|run| run.start..run.end.min(run.start + MOST_ANCHORS))
    });
    Ok([anchors, Some(points), validation])
}

/// The first points of different classes, then the first of all.
fn different(classes: &BTreeMap<usize, usize>, points: &Range<usize>, count: usize) -> Vec<usize> {
    let mut chosen: Vec<usize> = vec![];
    for row in points.clone().filter(|row| classes.contains_key(row)) {
        if chosen.len() < count && chosen.iter().all(|other| classes[other] != classes[&row]) {
            chosen.push(row);
        }
    }
    let rest = points.clone().filter(|row| classes.contains_key(row) && !chosen.contains(row));
    let rest: Vec<usize> = rest.take(count - chosen.len()).collect();
    chosen.extend(rest);
    chosen
}

/// Three rows for a plane: where there are fewer, the last again, which the plane then refuses.
fn three(classes: &BTreeMap<usize, usize>, points: &Range<usize>) -> [usize; 3] {
    let rows = different(classes, points, 3);
    std::array::from_fn(|i| rows[i.min(rows.len() - 1)])
}

/// A path of the report's own, as it is named in it.
pub(super) fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_different_classes_come_first() {
        let classes = [(10, 3), (11, 3), (12, 1), (13, 3), (14, 2)].into_iter().collect();
        assert_eq!(different(&classes, &(10..15), 4), [10, 12, 14, 11]);
        assert_eq!(three(&classes, &(10..15)), [10, 12, 14]);
        assert_eq!(three(&[(0, 1)].into_iter().collect(), &(0..1)), [0, 0, 0]);
    }
}
