//! `fenchel templates`: the affine function that a network is around each input.

use std::ops::Range;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use ndarray::ArrayView2;
use serde_json::json;

use crate::data::{Dataset, NpzEntry, NpzWriter, OutputFile};
use crate::engine::SplineEngine;
use crate::maso::{self, Orthogonality, SplineOperators, Templates, smooth_nodes};
use crate::network::{Network, Node};
use crate::{Error, Result, Scalar};

use super::args;
use super::session::{Job, Session, take};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fenchel templates model.onnx --data x.npy --take 0..100 -o templates.npz --correlation
  fenchel templates model.onnx --data x.npy --layer relu2 --alone -o layer.npz

Arrays: A [N,K,D] and b [N,K] with g(x) = A x + b at and around each row x, in the region where all units of the \
    network pick the same affine pieces; with --correlation also correlation [N,K,K], the cosines of the angles between \
    the templates of different outputs. With --layer the units of a layer are the outputs, from the input of the network; with \
    --alone too from what the layer takes, in the order that fenchel operators lists. In f64 on the CPU unless --precision says otherwise.")]
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

    /// The layer whose units are taken for the outputs, by the name of its node
    #[arg(long, value_name = "NAME", conflicts_with = "node")]
    pub layer: Option<String>,

    /// The layer alone, as a function of what it takes of the layers before it (A [N,units,D of these values])
    #[arg(long, requires = "layer", conflicts_with_all = ["outputs", "tangent", "correlation"])]
    pub alone: bool,

    /// Of a smooth network, too: what it has are tangents, which hold at the points alone
    #[arg(long)]
    pub tangent: bool,

    /// Write the correlations of the templates of different outputs, and print how orthogonal they are
    #[arg(long)]
    pub correlation: bool,

    /// Where the arrays go
    #[arg(short, long, value_name = "T.npz")]
    pub output: PathBuf,
}

pub(super) fn templates(session: &Session, arguments: &Arguments) -> Result<()> {
    let mut network = arguments.model.load()?.network;
    if let Some(layer) = &arguments.layer {
        network = network.cut(None, Some(layer))?;
    }
    let smooth = smooth_nodes(&network);
    if !smooth.is_empty() && !arguments.tangent {
        let name =
            |node: &&Node| format!("'{}' ({})", node.name(), node.op().map_or("", |op| op.operator().name()));
        let names: Vec<String> = smooth.iter().map(name).collect();
        return Err(Error::Argument(format!(
            "the network is not piecewise affine at {}: it has tangents, which --tangent writes, or first put splines in \
             their place with fenchel layers --save",
            names.join(", ")
        )));
    }
    let is_tangent = !smooth.is_empty();
    let data = arguments.data.open()?;
    let rows = take(&data, arguments.take.as_ref(), "--take")?;
    let data = data.select_range(rows)?;
    if let (true, Some(layer)) = (arguments.alone, &arguments.layer) {
        let operators = SplineOperators::new(&network)?;
        return session.on_engine(session.precise(), Alone { session, arguments, layer, operators, data });
    }
    session.on_engine(session.precise(), Writing { session, arguments, network: &network, data, is_tangent })
}

struct Alone<'a> {
    session: &'a Session,
    arguments: &'a Arguments,
    layer: &'a str,
    operators: SplineOperators,
    data: Dataset,
}

impl Job for Alone<'_> {
    type Output = ();

    fn run<E: SplineEngine>(self, engine: E) -> Result<()> {
        let Self { session, arguments, layer, operators, data } = self;
        let layer = operators.layer(layer)?;
        data.check_rows(operators.dimension())?;
        let (n, k, d) = (data.len(), layer.units(), layer.dimension());
        let entries = [NpzEntry::new::<E::Scalar>("A", &[n, k, d]), NpzEntry::new::<E::Scalar>("b", &[n, k])];
        let mut writer = NpzWriter::create(OutputFile::create(&arguments.output)?, entries)?;
        let start = Instant::now();
        maso::layer_templates(&operators, layer, &engine, &data, &session.context, |block| {
            writer.append("A", &block.rows.slopes)?;
            writer.append("b", &block.rows.offsets)
        })?;
        writer.finish()?;
        let (seconds, device) = (start.elapsed().as_secs_f64(), engine.describe());
        let document = json!({
            "samples": n,
            "outputs": k,
            "dimension": d,
            "inputs": layer.inputs(),
            "seconds": seconds,
            "device": device,
        });
        session.print(&document, || {
            let inputs: Vec<&str> = layer.inputs().iter().map(|input| &input.name[..]).collect();
            format!(
                "templates of the {k} units of '{}' at {n} samples, of the {d} elements of {}, {seconds:.2} s on {device}\n",
                layer.name(),
                inputs.join(", ")
            )
        })
    }
}

struct Writing<'a> {
    session: &'a Session,
    arguments: &'a Arguments,
    network: &'a Network,
    data: Dataset,
    is_tangent: bool,
}

impl Job for Writing<'_> {
    type Output = ();

    fn run<E: SplineEngine>(self, engine: E) -> Result<()> {
        let Self { session, arguments, network, data, is_tangent } = self;
        let context = &session.context;
        let program = network.compile(&engine)?;
        data.check_rows(program.dimension())?;
        let (n, d) = (data.len(), program.dimension());
        let outputs = arguments.outputs.choose(program.outputs())?;
        let k = outputs.len();
        let float = |name, shape: &[usize]| NpzEntry::new::<E::Scalar>(name, shape);
        let mut entries = vec![float("A", &[n, k, d]), float("b", &[n, k])];
        if arguments.correlation {
            entries.push(float("correlation", &[n, k, k]));
        }
        let mut writer = NpzWriter::create(OutputFile::create(&arguments.output)?, entries)?;
        let mut orthogonality = arguments.correlation.then(|| Orthogonality::new(k));
        let start = Instant::now();
        context.progress().start("samples", n as u64);
        maso::templates(&program, &data, &outputs, arguments.correlation, context, |block| {
            let Templates { samples, outputs, slopes, offsets } = block;
            writer.append("A", &slopes)?;
            writer.append("b", &offsets)?;
            if let Some(orthogonality) = &mut orthogonality {
                for slopes in slopes.chunks_exact(k * d) {
                    let slopes: Vec<f64> = slopes.iter().map(|a| a.f64()).collect();
                    let templates = ArrayView2::from_shape((k, d), &slopes);
                    let templates = templates.map_err(|e| Error::Shape(e.to_string()))?;
                    let correlation = orthogonality.add(templates);
                    let correlation: Vec<E::Scalar> = correlation.iter().map(|&c| E::Scalar::of(c)).collect();
                    writer.append("correlation", &correlation)?;
                }
            }
            context.progress().advance(if outputs.end == k { samples.len() as u64 } else { 0 });
            Ok(())
        })?;
        context.progress().finish();
        writer.finish()?;
        let (seconds, device) = (start.elapsed().as_secs_f64(), engine.describe());
        let orthogonality = orthogonality.map(|of| (of.penalty(), of.mean_correlation()));
        let document = json!({
            "samples": n,
            "outputs": k,
            "dimension": d,
            "tangent": is_tangent,
            "penalty": orthogonality.map(|(penalty, _)| penalty),
            "correlation": orthogonality.map(|(_, correlation)| correlation),
            "seconds": seconds,
            "device": device,
        });
        session.print(&document, || {
            let what = if is_tangent { "tangents" } else { "templates" };
            let mut text =
                format!("{what} of {k} outputs at {n} samples of {d} elements, {seconds:.2} s on {device}\n");
            if let Some((penalty, correlation)) = orthogonality {
                text += &format!(
                    "sum over pairs of squared products {penalty:.4e} on average; mean correlation {correlation:.4} in size\n"
                );
            }
            text
        })
    }
}
