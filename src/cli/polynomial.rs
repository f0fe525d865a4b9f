//! `fenchel polynomial`: a network as a polynomial in its inputs.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use clap::Args;
use ndarray::Array2;
use serde::Serialize;

use crate::data::{Dataset, NpzEntry, NpzWriter, OutputFile};
use crate::engine::SplineEngine;
use crate::network::Network;
use crate::polynomial::{
    Centre, Comparison, Composition, Diagnosis, LayerDiagnosis, Polynomial, Settings, WeightNorms, diagnose,
    weight_norms,
};
use crate::report::terms_svg;
use crate::{Error, Result};

use super::args;
use super::session::{Job, Session, file_name, take};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fenchel polynomial model.onnx --order 3 --taylor 8 -o p.json
  fenchel polynomial model.onnx --order 2 --at x.npy --inputs 0..20 --data around.npy \\
    --plot terms.svg -o p.json

Taylor polynomials of the activations are composed through all layers and truncated at the total --order (NN2Poly; \
    Morala et al. 2023). Writes {\"terms\": [[], [1], .., [1, 1, 2], ..], \"coefficients\": [[..K..], ..], \"seconds\", ..}: \
    each term by its inputs, counted from 1, [] the constant, in the published order. Without --at the terms are products of \
    inputs; with it they are products of x - at, inputs less those of the point. Any smooth activation will do: tanh, \
    sigmoid, softplus, GELU, SiLU, Mish, erf, exp, softsign and ELU away from 0. In f64 on the CPU; a graphics device \
    computes in f32. Arrays of --npz: polynomial, network [N, K], gradient [N, K, D] of the polynomial.")]
pub(super) struct Arguments {
    #[command(flatten)]
    pub model: args::Model,
    #[command(flatten)]
    pub outputs: args::Outputs,

    /// Total order of the polynomial
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub order: usize,

    /// Order of the Taylor polynomials of activations: one for all layers, or one for each, such as 8,8,4
    #[arg(long, value_name = "LIST", default_value = "8", value_delimiter = ',', value_parser = taylor)]
    pub taylor: Vec<usize>,

    /// Expand around this observation, an array with one row, instead of 0
    #[arg(long, value_name = "X.npy")]
    pub at: Option<PathBuf>,

    /// The row of --at, where it has several
    #[arg(long, value_name = "I", requires = "at")]
    pub row: Option<usize>,

    /// Where activations are expanded: a number, one for each layer, or own, each unit's potential at the point of the
    /// expansion [default: own with --at, else 0]
    #[arg(long, value_name = "LIST|own", value_parser = centre, allow_hyphen_values = true)]
    pub centre: Option<Centre>,

    /// Inputs that vary, such as 0,3..5 (3..5 means 3 and 4); the others stay where they are at the centre, for
    /// the network too [default: all]
    #[arg(long, value_name = "LIST", value_parser = args::list)]
    pub inputs: Option<args::List>,

    /// Put smooth functions in the place of ReLU and other piecewise affine ones: ln(1 + exp(B u)) / B, which is within
    /// ln(2) / B of ReLU
    #[arg(long, value_name = "B", value_parser = args::positive)]
    pub smooth: Option<f64>,

    /// Compare with the network at these rows: .npy, .npz, IDX, or a folder of images
    #[arg(long, value_name = "FILE")]
    pub data: Option<PathBuf>,

    /// Of --data, and of --at
    #[command(flatten)]
    pub reading: args::Reading,

    /// Rows of the data [default: all]
    #[arg(long, value_name = "RANGE", value_parser = args::range, requires = "data")]
    pub take: Option<Range<usize>>,

    /// How far a Taylor polynomial may be from its activation and still counts as good
    #[arg(long, value_name = "T", default_value_t = 0.01, value_parser = args::positive)]
    pub tolerance: f64,

    /// Terms in the table and in the picture
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub top: usize,

    /// Where a picture of the most important terms goes
    #[arg(long, value_name = "TERMS.svg")]
    pub plot: Option<PathBuf>,

    /// Where values of the polynomial and the network at the data go, and gradients
    #[arg(long, value_name = "E.npz", requires = "data")]
    pub npz: Option<PathBuf>,

    /// Where the polynomial goes
    #[arg(short, long, value_name = "P.json")]
    pub output: PathBuf,
}

fn taylor(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=64).contains(number));
    number.ok_or_else(|| "expected a number from 1 to 64".to_owned())
}

fn centre(text: &str) -> Result<Centre, String> {
    if text == "own" {
        return Ok(Centre::Own);
    }
    let number = |part: &str| part.trim().parse().ok().filter(|number: &f64| number.is_finite());
    let numbers: Option<Vec<f64>> = text.split(',').map(number).collect();
    numbers.map(Centre::At).ok_or_else(|| "expected numbers, such as 0 or 0,0.5,0, or own".to_owned())
}

pub(super) fn polynomial(session: &Session, arguments: &Arguments) -> Result<()> {
    let files = [Some(&arguments.output), arguments.npz.as_ref(), arguments.plot.as_ref()];
    let files: Vec<&PathBuf> = files.into_iter().flatten().collect();
    if let Some(path) =
        files.iter().enumerate().find_map(|(i, path)| files[..i].contains(path).then_some(path))
    {
        return Err(Error::Argument(format!("two results cannot share the file '{}'", path.display())));
    }
    let network = arguments.model.load()?.network;
    let dimension = network.dimension();
    let at = point(arguments, dimension)?;
    let variables = variables(arguments, dimension)?;
    let options = arguments.reading.options();
    let data = arguments.data.as_ref().map(|path| -> Result<Dataset> {
        let data = Dataset::open(path, &options)?;
        data.check_rows(dimension)?;
        data.select_range(take(&data, arguments.take.as_ref(), "--take")?)
    });
    let data = data.transpose()?;
    session.on_engine(session.precise(), Expanding { session, arguments, network, at, variables, data })
}

/// The point of the expansion.
fn point(arguments: &Arguments, dimension: usize) -> Result<Vec<f64>> {
    let Some(path) = &arguments.at else { return Ok(vec![0.0; dimension]) };
    let rows = Dataset::open(path, &arguments.reading.options())?;
    // One sample without an axis for the batch is a row, too.
    let single = rows.row_len() != dimension && rows.row_len() * rows.len() == dimension;
    if single && arguments.row.is_none() {
        return Ok(rows.rows::<f64>(0..rows.len())?.into_raw_vec_and_offset().0);
    }
    rows.check_rows(dimension)?;
    let row = match (arguments.row, rows.len()) {
        (Some(row), n) if row < n => row,
        (None, 1) => 0,
        (Some(row), n) => {
            let path = path.display();
            return Err(Error::Argument(format!("there is no row {row} of the {n} in '{path}'")));
        }
        (None, n) => {
            let path = path.display();
            return Err(Error::Argument(format!("'{path}' has {n} rows: choose one with --row")));
        }
    };
    Ok(rows.gather::<f64>(&[row])?.into_raw_vec_and_offset().0)
}

fn variables(arguments: &Arguments, dimension: usize) -> Result<Vec<usize>> {
    let Some(list) = &arguments.inputs else { return Ok((0..dimension).collect()) };
    let mut variables = list.below(dimension).map_err(|range| {
        let (wrong, last) = (range.end - 1, dimension - 1);
        Error::Argument(format!("there is no input {wrong}: expected 0 to {last}"))
    })?;
    variables.sort_unstable();
    variables.dedup();
    Ok(variables)
}

struct Expanding<'a> {
    session: &'a Session,
    arguments: &'a Arguments,
    network: Network,
    at: Vec<f64>,
    variables: Vec<usize>,
    data: Option<Dataset>,
}

/// What is printed, and what the polynomial's file begins with.
#[derive(Serialize)]
struct Summary {
    count: usize,
    order: usize,
    /// The numbers of the inputs that vary, from 1 on, as terms have them.
    inputs: Vec<usize>,
    outputs: Vec<usize>,
    at: Vec<f64>,
    /// Of the fastest composition, and of the first one, which finds caches cold.
    seconds: f64,
    first_seconds: f64,
    runs: usize,
    device: String,
    weights: Vec<WeightNorms>,
    /// At the data, or else at the centre alone.
    diagnosis: Diagnosis,
    warnings: Vec<String>,
    largest: Vec<Largest>,
}

/// The most important terms of an output.
#[derive(Serialize)]
struct Largest {
    output: usize,
    terms: Vec<Vec<usize>>,
    coefficients: Vec<f64>,
}

impl Job for Expanding<'_> {
    type Output = ();

    fn run<E: SplineEngine>(self, engine: E) -> Result<()> {
        let Self { session, arguments, network, at, variables, data } = self;
        let context = &session.context;
        let network = network.merged_layers()?;
        let program = network.compile_unfolded(&engine)?;
        let outputs = arguments.outputs.choose(program.outputs())?;
        let otherwise = if arguments.at.is_some() { Centre::Own } else { Centre::At(vec![0.0]) };
        let settings = Settings {
            order: arguments.order,
            taylor: arguments.taylor.clone(),
            centre: arguments.centre.clone().unwrap_or(otherwise),
            smooth: arguments.smooth,
        };
        let composition = Composition::new(&program, settings, at)?;
        let output = OutputFile::create(&arguments.output)?;
        let plot = arguments.plot.as_ref().map(|path| OutputFile::create(path)).transpose()?;
        let mut polynomial = composition.polynomial(&variables, &outputs, context)?;
        let (first, mut runs, mut total) = (polynomial.seconds(), 1, polynomial.seconds());
        while total < SHORT && runs < MOST_RUNS {
            let again = composition.polynomial(&variables, &outputs, context)?;
            (runs, total) = (runs + 1, total + again.seconds());
            if again.seconds() < polynomial.seconds() {
                polynomial = again;
            }
        }

        let n = data.as_ref().map_or(1, Dataset::len);
        let mut writer = arguments.npz.as_ref().map(|path| {
            let (k, d) = (outputs.len(), polynomial.at().len());
            let float = |name, shape: &[usize]| NpzEntry::new::<f64>(name, shape);
            let entries =
                [float("polynomial", &[n, k]), float("network", &[n, k]), float("gradient", &[n, k, d])];
            NpzWriter::create(OutputFile::create(path)?, entries)
        });
        let mut writer = writer.take().transpose()?;
        let rows = |range: Range<usize>| match &data {
            Some(data) => data.rows::<f64>(range),
            None => Array2::from_shape_vec((1, polynomial.at().len()), polynomial.at().to_vec())
                .map_err(|e| Error::Shape(e.to_string())),
        };
        let comparison =
            Comparison { variables: &variables, outputs: &outputs, tolerance: arguments.tolerance };
        let diagnosis = diagnose(&composition, comparison, n, rows, context, |x, _, network| {
            let Some(writer) = &mut writer else { return Ok(()) };
            writer.append("polynomial", &polynomial.values(x.view())?.into_raw_vec_and_offset().0)?;
            writer.append("network", network)?;
            writer.append("gradient", &polynomial.gradients(x.view())?.into_raw_vec_and_offset().0)
        })?;
        if let Some(writer) = writer {
            writer.finish()?;
        }
        let warnings: Vec<String> = diagnosis.layers.iter().filter_map(LayerDiagnosis::warning).collect();
        let largest = outputs.iter().enumerate().map(|(i, &output)| {
            let largest = polynomial.largest(i, arguments.top);
            let (terms, coefficients) = largest.into_iter().map(|(_, term, c)| (term, c)).unzip();
            Largest { output, terms, coefficients }
        });
        let summary = Summary {
            count: polynomial.monomials().len(),
            order: arguments.order,
            inputs: variables.iter().map(|&c| c + 1).collect(),
            largest: largest.collect(),
            at: polynomial.at().to_vec(),
            seconds: polynomial.seconds(),
            first_seconds: first,
            runs,
            device: engine.describe(),
            weights: weight_norms(&network),
            diagnosis,
            warnings,
            outputs,
        };
        if let Some(mut plot) = plot {
            let (count, order) = (summary.count, summary.order);
            let title = format!("{}: {count} terms to order {order}", file_name(&arguments.model.model));
            plot.put(terms_svg(&polynomial, &summary.outputs, arguments.top, &title)?.as_bytes())?;
            plot.commit()?;
        }
        write_json(output, &polynomial, &summary)?;
        for warning in &summary.warnings {
            // Whoever closed standard error does not want to know.
            let _ = writeln!(io::stderr(), "warning: {warning}");
        }
        session.print(&summary, || text(&summary, arguments.data.as_deref()))
    }
}

/// The summary, and term by term what has no place in memory twice.
fn write_json(mut file: OutputFile, polynomial: &Polynomial, summary: &Summary) -> Result<()> {
    let mut write = || -> io::Result<()> {
        let head = serde_json::to_string(summary)?;
        file.write_all(&head.as_bytes()[..head.len() - 1])?;
        file.write_all(b",\n\"terms\": [")?;
        for (i, monomial) in polynomial.monomials().iter().enumerate() {
            file.write_all(if i == 0 { b"\n" } else { b",\n" })?;
            serde_json::to_writer(&mut file, &polynomial.term(&monomial))?;
        }
        file.write_all(b"\n],\n\"coefficients\": [")?;
        for (i, row) in polynomial.coefficients().chunks_exact(polynomial.outputs()).enumerate() {
            file.write_all(if i == 0 { b"\n" } else { b",\n" })?;
            serde_json::to_writer(&mut file, row)?;
        }
        file.write_all(b"\n]}\n")
    };
    write().map_err(Error::io("write", file.path()))?;
    file.commit()
}

/// A short composition is repeated for so many seconds, so that its time means something: the first run of one that takes
/// 0.1 ms is mostly page faults and waking.
const SHORT: f64 = 0.05;

/// How often at most.
const MOST_RUNS: usize = 20;

/// Outputs in the table of terms at most.
const MOST_OUTPUTS: usize = 10;

fn text(summary: &Summary, data: Option<&Path>) -> String {
    let Summary { count, order, seconds, device, diagnosis, weights, largest, at, .. } = summary;
    let mut text = format!("{count} terms to order {order}, composed in {seconds:.6} s on {device}\n");
    let local = at.iter().any(|&x| x != 0.0);
    for Largest { output, terms, coefficients } in largest.iter().take(MOST_OUTPUTS) {
        let _ = writeln!(text, "\nlargest coefficients of output {output}");
        for (term, coefficient) in terms.iter().zip(coefficients) {
            let _ = writeln!(text, "  {coefficient:>13.6e}  {}", name(term, local));
        }
    }
    if largest.len() > MOST_OUTPUTS {
        let _ = writeln!(text, "\n{} more outputs in the file", largest.len() - MOST_OUTPUTS);
    }
    let _ = writeln!(text, "\n| layer | units | L1 norm, largest | mean | L2 norm, largest | mean |");
    text += "| --- | --- | --- | --- | --- | --- |\n";
    for WeightNorms { layer, units, l1, l2 } in weights {
        let _ = writeln!(
            text,
            "| {layer} | {units} | {:.4} | {:.4} | {:.4} | {:.4} |",
            l1[0], l1[1], l2[0], l2[1]
        );
    }
    let rows = diagnosis.rows;
    let place = if data.is_some() { format!("at {rows} rows") } else { "at the centre alone".to_owned() };
    let _ = writeln!(
        text,
        "\n| activation, {place} | Taylor | centre | radius | good on | potentials: 1 %, median, 99 % | good | \
         RMSE of Taylor | of polynomial | relative |"
    );
    text += "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n";
    for layer in &diagnosis.layers {
        let centre = layer.centre.map_or_else(|| "own".to_owned(), |centre| format!("{centre}"));
        let radius = layer.radius.map_or_else(|| "infinite".to_owned(), |radius| format!("{radius:.4}"));
        let interval =
            layer.interval.map_or_else(String::new, |[low, high]| format!("{low:.3} .. {high:.3}"));
        let [_, low, _, middle, _, high, _] = layer.potentials;
        let relative = layer.errors.relative_rmse.map_or_else(String::new, |error| format!("{error:.2e}"));
        let _ = writeln!(
            text,
            "| {} ({}) | {} | {centre} | {radius} | {interval} | {low:.3}, {middle:.3}, {high:.3} | {:.2} % | {:.2e} | \
             {:.2e} | {relative} |",
            layer.layer,
            layer.activation,
            layer.taylor,
            100.0 * layer.inside,
            layer.taylor_mse.sqrt(),
            layer.errors.mse.sqrt(),
        );
    }
    for layer in diagnosis.layers.iter().filter(|layer| layer.smoothing_error > 0.0) {
        let _ = writeln!(
            text,
            "{}: smoothed, at most {:.4} from {}",
            layer.layer, layer.smoothing_error, layer.activation
        );
    }
    if data.is_some() {
        let errors = &diagnosis.outputs;
        let relative = errors.relative_rmse.map_or_else(String::new, |e| format!(", relative RMSE {e:.3e}"));
        let agreement = diagnosis
            .agreement
            .map_or_else(String::new, |share| format!(", agreement {:.2} %", 100.0 * share));
        let _ = writeln!(
            text,
            "\noutputs: mean squared error {:.3e}, largest {:.3e}{relative}{agreement}",
            errors.mse, errors.max_abs
        );
    }
    text
}

/// A term for people: `x1 x1 x2`, with a `d` in front where it is a difference.
fn name(term: &[usize], local: bool) -> String {
    let letter = if local { "dx" } else { "x" };
    let factors: Vec<String> = term.iter().map(|i| format!("{letter}{i}")).collect();
    if factors.is_empty() { "1".to_owned() } else { factors.join(" ") }
}
