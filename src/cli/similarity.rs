//! `fenchel similarity`: inputs compared by a network's parameter gradients.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::classes::largest;
use crate::data::{Dataset, NpyWriter, NpzEntry, NpzWriter, OutputFile};
use crate::engine::SplineEngine;
use crate::network::Network;
use crate::render::sheet::{ImageShape, Look, Nearest, nearest};
use crate::similarity::{Combine, Gradients, Metric, accuracy};
use crate::{Error, Result};

use super::args::{self, List};
use super::session::{Job, Session, file_name, labels, take};
use super::similarity_metrics::{Comparing, Found};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fenchel similarity model.onnx --data x.npy -o g.npy
  fenchel similarity model.onnx --data x.npy --labels y.npy --metric plain,block,diagonal \\
    -o g.npz
  fenchel similarity model.onnx --data test.npy --labels ty.npy --against train.npy \\
    --against-labels y.npy --against-take 0..4000 --validation 4000..4500 \\
    --metric plain,sparse --threshold 1,1.5,2 --classify -o g.npz
  fenchel similarity model.onnx --data x.npy --against train.npy --nearest 5 \\
    --picture near.png -o g.npy

The similarity of two inputs is <g, G g'> for the gradients g, g' of the sum of the outputs (of one with --outputs 3) by \
    the parameters. Writes [N, N], or [N, M] with --against or --against-take; with --combine pairs [N, M, K, K]; with \
    several metrics an .npz with an array for each. With --labels the similarity gap is told: the mean over pairs of one \
    class less that over pairs of two, as it is and by cosine. --classify classifies the rows by the labelled rows they \
    are compared with. docs/similarity.md says what each metric is.")]
pub(super) struct Arguments {
    #[command(flatten)]
    pub model: args::Model,
    #[command(flatten)]
    pub data: args::Data,
    #[command(flatten)]
    pub outputs: args::Outputs,

    /// Rows of the data [default: all]
    #[arg(long, value_name = "RANGE", value_parser = args::range)]
    pub take: Option<Range<usize>>,

    /// Other data, read like the data, that its rows are compared with
    #[arg(long, value_name = "FILE")]
    pub against: Option<PathBuf>,

    /// Rows that are compared with, of --against where given, else of the data [default: all of --against]
    #[arg(long, value_name = "RANGE", value_parser = args::range)]
    pub against_take: Option<Range<usize>>,

    /// Classes of the rows, one for each row of the data or each one taken
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,

    /// Classes of the rows of --against
    #[arg(long, value_name = "FILE", requires = "against")]
    pub against_labels: Option<PathBuf>,

    /// Metrics on parameter space
    #[arg(long, value_enum, value_name = "LIST", default_value = "plain", value_delimiter = ',')]
    pub metric: Vec<MetricName>,

    /// What of several outputs is compared
    #[arg(long, value_enum, default_value_t = CombineName::Sum)]
    pub combine: CombineName,

    /// Layers whose parameters count, by the names of their nodes [default: all that are trained]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub layers: Option<Vec<String>>,

    /// Normalise the gradient of each sample to the range from 0 to 1 first
    #[arg(long, visible_alias = "normalise")]
    pub normalize: bool,

    /// Of the sparse metric: coordinates are kept whose gradients agree in sign so many times as often within classes as
    /// across them; of several the one of the largest gap (by cosine) on the rows of --validation is taken
    #[arg(long, value_name = "LIST", default_value = "1", value_delimiter = ',')]
    pub threshold: Vec<f64>,

    /// Labelled rows for choices, from where those that are compared with come, and none of them
    #[arg(long, value_name = "RANGE", value_parser = args::range)]
    pub validation: Option<Range<usize>>,

    /// Classify the rows by those they are compared with: k nearest neighbours (by cosine) and kernel ridge regression
    #[arg(long, requires = "labels")]
    pub classify: bool,

    /// Numbers of neighbours; of several the best on --validation is taken [default: 5, or 1,3,5,10,20 with --validation]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub neighbours: Option<Vec<usize>>,

    /// Ridge penalties, times the mean similarity of a sample with itself; of several the best on --validation is taken
    /// [default: 0.001, or 1e-5 to 1 with --validation]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub ridge: Option<Vec<f64>>,

    /// Tell what each layer contributes (in the first metric)
    #[arg(long)]
    pub contributions: bool,

    /// Where the similarities of each layer alone go (in the first metric)
    #[arg(long, value_name = "L.npz")]
    pub layers_output: Option<PathBuf>,

    /// How many of the most similar rows are shown (by cosine, in the first metric)
    #[arg(long, value_name = "K", requires = "picture")]
    pub nearest: Option<usize>,

    /// Where the picture of rows and their most similar ones goes
    #[arg(long, value_name = "IMG.png")]
    pub picture: Option<PathBuf>,

    /// Rows of the picture, counted among those taken, such as 0,3..8 [default: the first ten]
    #[arg(long, value_name = "LIST", value_parser = args::list, requires = "picture")]
    pub rows: Option<List>,

    /// What the numbers of an input are as an image, channels first [default: from the model and the data]
    #[arg(long, value_name = "CxHxW", requires = "picture")]
    pub shape: Option<ImageShape>,

    /// Where the similarities go
    #[arg(short, long, value_name = "G.npy")]
    pub output: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum MetricName {
    /// The inner product of the gradients
    Plain,
    /// <g, theta> <g', theta> for the parameters theta
    Full,
    /// The same layer by layer, summed
    Block,
    /// The same parameter by parameter, summed
    Diagonal,
    /// The inner product over coordinates whose signs tell classes apart
    Sparse,
}

impl MetricName {
    pub(super) fn metric(self) -> Metric {
        match self {
            Self::Plain => Metric::Plain,
            Self::Full => Metric::Full,
            Self::Block => Metric::Block,
            Self::Diagonal => Metric::Diagonal,
            Self::Sparse => Metric::Sparse,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum CombineName {
    /// The gradients of their sum
    Sum,
    /// The gradients of each, summed over outputs
    Trace,
    /// The gradients of each with those of each
    Pairs,
}

impl CombineName {
    fn combine(self) -> Combine {
        match self {
            Self::Sum => Combine::Sum,
            Self::Trace => Combine::Trace,
            Self::Pairs => Combine::Pairs,
        }
    }
}

/// Rows with their classes.
pub(super) struct Rows {
    pub data: Dataset,
    pub labels: Option<Vec<u32>>,
}

/// What is compared.
pub(super) struct Sets {
    pub rows: Rows,
    /// What they are compared with, where that is not themselves.
    pub columns: Option<Rows>,
    pub validation: Option<Rows>,
}

impl Sets {
    /// What rows are compared with.
    pub(super) fn others(&self) -> &Rows {
        self.columns.as_ref().unwrap_or(&self.rows)
    }
}

fn check(arguments: &Arguments) -> Result<()> {
    let refuse = |line: &str| Err(Error::Argument(line.to_owned()));
    let metrics: Vec<Metric> = arguments.metric.iter().map(|name| name.metric()).collect();
    let mut names: Vec<&str> = metrics.iter().map(|metric| metric.name()).collect();
    names.sort_unstable();
    names.dedup();
    if names.len() < metrics.len() {
        return refuse("--metric names a metric twice");
    }
    let is_npz = arguments.output.extension().is_some_and(|extension| extension == "npz");
    if metrics.len() > 1 && !is_npz {
        return refuse("several metrics need an .npz file for their arrays: -o G.npz");
    }
    let is_pairs = arguments.combine == CombineName::Pairs;
    let of_one_number = [
        (arguments.labels.is_some(), "--labels"),
        (arguments.classify, "--classify"),
        (arguments.picture.is_some(), "--picture"),
        (arguments.contributions || arguments.layers_output.is_some(), "the contributions of layers"),
    ];
    if let Some((_, what)) = of_one_number.iter().find(|(given, _)| is_pairs && *given) {
        return refuse(&format!("{what} needs one similarity for each pair of rows, not --combine pairs"));
    }
    if arguments.classify && arguments.against.is_none() && arguments.against_take.is_none() {
        return refuse("--classify needs labelled rows to classify by: --against or --against-take");
    }
    if arguments.threshold.iter().any(|t| !t.is_finite() || *t < 0.0) {
        return refuse("--threshold takes numbers from 0");
    }
    if arguments.ridge.iter().flatten().any(|penalty| !penalty.is_finite() || *penalty < 0.0) {
        return refuse("--ridge takes numbers from 0");
    }
    if arguments.neighbours.iter().flatten().any(|&k| k == 0) || arguments.nearest == Some(0) {
        return refuse("there is at least one neighbour");
    }
    let several = [
        (metrics.contains(&Metric::Sparse) && arguments.threshold.len() > 1, "--threshold"),
        (arguments.neighbours.as_ref().is_some_and(|all| all.len() > 1), "--neighbours"),
        (arguments.ridge.as_ref().is_some_and(|all| all.len() > 1), "--ridge"),
    ];
    if let Some((_, flag)) = several.iter().find(|(given, _)| *given && arguments.validation.is_none()) {
        return refuse(&format!("several values of {flag} need rows to choose on: --validation"));
    }
    let of_layers = arguments.contributions || arguments.layers_output.is_some();
    if of_layers && (arguments.normalize || metrics[0] == Metric::Full) {
        return refuse(
            "layers contribute to a sum in the metrics plain, block, diagonal and sparse, without --normalize",
        );
    }
    let mut files: Vec<&Path> = vec![&arguments.output];
    files.extend([&arguments.layers_output, &arguments.picture].into_iter().flatten().map(PathBuf::as_path));
    let count = files.len();
    files.sort_unstable();
    files.dedup();
    if files.len() < count {
        return refuse("two results cannot share a file");
    }
    Ok(())
}

/// Rows of the data, those that they are compared with, and those for choices.
fn sets(arguments: &Arguments) -> Result<Sets> {
    let all = arguments.data.open()?;
    let range = take(&all, arguments.take.as_ref(), "--take")?;
    let classes = |path: Option<&PathBuf>, all: &Dataset, range: &Range<usize>| {
        path.map(|path| labels(path, all.len(), range)).transpose()
    };
    let of = |all: &Dataset, range: &Range<usize>, path: Option<&PathBuf>| -> Result<Rows> {
        Ok(Rows { data: all.select_range(range.clone())?, labels: classes(path, all, range)? })
    };
    let rows = of(&all, &range, arguments.labels.as_ref())?;
    let options = arguments.data.reading.options();
    let against = arguments.against.as_ref().map(|path| Dataset::open(path, &options)).transpose()?;
    let is_same_file = against.is_none();
    let path = if is_same_file { &arguments.labels } else { &arguments.against_labels };
    let source = against.as_ref().unwrap_or(&all);
    let mut used = if is_same_file { vec![range] } else { vec![] };
    let columns = if is_same_file && arguments.against_take.is_none() {
        None
    } else {
        let range = take(source, arguments.against_take.as_ref(), "--against-take")?;
        used.push(range.clone());
        Some(of(source, &range, path.as_ref())?)
    };
    let validation = match &arguments.validation {
        None => None,
        Some(range) => {
            let range = take(source, Some(range), "--validation")?;
            if let Some(used) = used.iter().find(|used| used.start < range.end && range.start < used.end) {
                return Err(Error::Argument(format!(
                    "--validation {}..{} overlaps with the rows {}..{} that are compared",
                    range.start, range.end, used.start, used.end
                )));
            }
            Some(of(source, &range, path.as_ref())?)
        }
    };
    Ok(Sets { rows, columns, validation })
}

pub(super) fn similarity(session: &Session, arguments: &Arguments) -> Result<()> {
    check(arguments)?;
    let network = arguments.model.load()?.network;
    let sets = sets(arguments)?;
    session.on_engine("f32", Writing { session, arguments, network, sets })
}

struct Writing<'a> {
    session: &'a Session,
    arguments: &'a Arguments,
    network: Network,
    sets: Sets,
}

/// The arrays of all metrics: one alone, or each under its name.
enum Writer<S: crate::data::Element> {
    One(NpyWriter<S>),
    Several(NpzWriter),
}

impl Job for Writing<'_> {
    type Output = ();

    fn run<E: SplineEngine>(self, engine: E) -> Result<()> {
        let Self { session, arguments, network, sets } = self;
        let context = &session.context;
        let start = Instant::now();
        let all = network.output_len();
        let outputs = arguments.outputs.choose(all)?;
        let combine = arguments.combine.combine();
        let names = arguments.layers.as_deref();
        let gradients = Gradients::new(&network, &engine, &outputs, combine, names)?;
        let data = [Some(&sets.rows), sets.columns.as_ref(), sets.validation.as_ref()];
        let dimension = gradients.program().dimension();
        data.iter().flatten().try_for_each(|rows| rows.data.check_rows(dimension))?;

        let metrics: Vec<Metric> = arguments.metric.iter().map(|name| name.metric()).collect();
        let (n, m, r) = (sets.rows.data.len(), sets.others().data.len(), gradients.rows());
        let shape = if combine == Combine::Pairs { vec![n, m, r, r] } else { vec![n, m] };
        let output = OutputFile::create(&arguments.output)?;
        let mut writer = if metrics.len() == 1 && arguments.output.extension().is_none_or(|e| e != "npz") {
            Writer::One(NpyWriter::<E::Scalar>::create(output, &shape)?)
        } else {
            let entry = |metric: &Metric| NpzEntry::new::<E::Scalar>(metric.name(), &shape);
            Writer::Several(NpzWriter::create(output, metrics.iter().map(entry).collect::<Vec<_>>())?)
        };
        let picture = arguments.picture.as_deref().map(OutputFile::create).transpose()?;
        let layers_output = arguments.layers_output.as_deref().map(OutputFile::create).transpose()?;

        let shown = shown(arguments, n)?;
        let comparing =
            Comparing { arguments, network: &network, gradients: &gradients, sets: &sets, context };
        let own = own_accuracy(&comparing, &sets.rows)?;
        let mut found: Vec<Found> = vec![];
        let mut near: Vec<Nearest> = vec![];
        for (i, &metric) in metrics.iter().enumerate() {
            let shown = if i == 0 { &shown[..] } else { &[] };
            let one = comparing.metric(metric, shown, |values| match &mut writer {
                Writer::One(writer) => writer.write(values),
                Writer::Several(writer) => writer.append(metric.name(), values),
            })?;
            if i == 0 {
                near.clone_from(&one.nearest);
            }
            found.push(one);
        }
        let contributions = if arguments.contributions || layers_output.is_some() {
            Some(comparing.contributions(metrics[0], found[0].threshold, layers_output)?)
        } else {
            None
        };
        if let Some(picture) = picture {
            let input = network.inputs().next().map_or(&[][..], |node| node.shape());
            let image = arguments.shape.unwrap_or_else(|| ImageShape::of(input));
            let labels = [&sets.rows, sets.others()].map(|rows| rows.labels.as_deref());
            let mut sheet = nearest(&sets.rows.data, &sets.others().data, &near, labels, image, context)?;
            sheet.title = format!("{}: {}", file_name(&arguments.model.model), sheet.title);
            sheet.draw(&Look::default(), picture, &session.command, context)?;
        }
        match writer {
            Writer::One(writer) => writer.finish()?,
            Writer::Several(writer) => writer.finish()?,
        }
        let (seconds, device) = (start.elapsed().as_secs_f64(), engine.describe());
        let roads = comparing.roads();
        let layers: Vec<Value> = gradients
            .layers()
            .iter()
            .zip(roads)
            .map(|(layer, road)| {
                json!({
                    "name": layer.name,
                    "operator": layer.operator,
                    "parameters": layer.parameters,
                    "road": road,
                })
            })
            .collect();
        let document = json!({
            "samples": n,
            "against": sets.columns.as_ref().map(|columns| columns.data.len()),
            "outputs": outputs,
            "combine": combine.name(),
            "normalized": arguments.normalize,
            "parameters": gradients.parameters(),
            "layers": layers,
            "metrics": found.iter().map(Found::document).collect::<Vec<_>>(),
            "contributions": contributions,
            "accuracy": own,
            "seconds": seconds,
            "device": device,
        });
        session.print(&document, || {
            let mut text = format!(
                "{n} x {m} samples by {} parameters of {} layers, {seconds:.2} s on {device}\n",
                gradients.parameters(),
                gradients.layers().len()
            );
            found.iter().for_each(|found| text += &found.text());
            if let Some(own) = own {
                text += &format!("the network's own accuracy: {own:.4}\n");
            }
            for one in contributions.iter().flatten() {
                text += &format!(
                    "{}: {:.4} of all similarities{}\n",
                    one["name"].as_str().unwrap_or_default(),
                    one["share"].as_f64().unwrap_or(f64::NAN),
                    one["gap"].as_f64().map_or_else(String::new, |gap| format!(", gap {gap:.4e}"))
                );
            }
            text
        })
    }
}

/// The rows of the picture.
fn shown(arguments: &Arguments, rows: usize) -> Result<Vec<usize>> {
    if arguments.picture.is_none() {
        return Ok(vec![]);
    }
    let Some(list) = &arguments.rows else { return Ok((0..rows.min(10)).collect()) };
    list.below(rows).map_err(|range| {
        Error::Argument(format!("--rows: there is no row {} of the {rows} taken", range.end - 1))
    })
}

/// The share of rows whose largest output is their class, where labels are known.
fn own_accuracy<E: SplineEngine>(comparing: &Comparing<'_, E>, rows: &Rows) -> Result<Option<f64>> {
    let Some(labels) = &rows.labels else { return Ok(None) };
    let mut classes = vec![];
    for chunk in crate::engine::plan::Chunks::new(rows.data.len(), 4096).iter() {
        let values =
            comparing.gradients.program().values(rows.data.rows(chunk)?.view(), comparing.context)?;
        classes.extend(values.rows().into_iter().map(|row| largest(row) as u32));
    }
    Ok(Some(accuracy(&classes, labels)))
}
