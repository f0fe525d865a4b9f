//! `fenchel distance`: inputs compared by the pieces that a network's units pick.

use std::ops::Range;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use serde_json::json;

use crate::Result;
use crate::data::{Dataset, NpyWriter, NpzEntry, NpzWriter, OutputFile};
use crate::engine::SplineEngine;
use crate::maso::{Codes, Distances, populations};
use crate::network::Network;

use super::args;
use super::layer_choice::Layers;
use super::session::{Job, Session, take};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fenchel distance model.onnx --data x.npy -o distances.npy
  fenchel distance model.onnx --data x.npy --to y.npy --layer relu2 --neighbours 10 \\
    -o nearest.npz

The distance of two inputs is 1 - the share of units that pick the same affine piece (0: the same region). Writes f32 \
    [N, N], or [N, M] with --to; with --neighbours instead the arrays indices (u32) and distances [N, K], the nearest \
    first and of equally near ones the first. Rows of the data are no neighbours of themselves unless they are --to too.")]
pub(super) struct Arguments {
    #[command(flatten)]
    pub model: args::Model,
    #[command(flatten)]
    pub data: args::Data,
    #[command(flatten)]
    pub layers: Layers,

    /// Rows of the data [default: all]
    #[arg(long, value_name = "RANGE", value_parser = args::range)]
    pub take: Option<Range<usize>>,

    /// Other data, read like the data, that its rows are compared with
    #[arg(long, value_name = "FILE")]
    pub to: Option<PathBuf>,

    /// Only so many of the nearest
    #[arg(long, value_name = "K")]
    pub neighbours: Option<usize>,

    /// Where the distances go
    #[arg(short, long, value_name = "D.npy")]
    pub output: PathBuf,
}

pub(super) fn distance(session: &Session, arguments: &Arguments) -> Result<()> {
    let network = arguments.model.load()?.network;
    let data = arguments.data.open()?;
    let data = data.select_range(take(&data, arguments.take.as_ref(), "--take")?)?;
    let options = arguments.data.reading.options();
    let to = arguments.to.as_ref().map(|path| Dataset::open(path, &options)).transpose()?;
    session.on_engine("f32", Comparing { session, arguments, network, data, to })
}

struct Comparing<'a> {
    session: &'a Session,
    arguments: &'a Arguments,
    network: Network,
    data: Dataset,
    to: Option<Dataset>,
}

impl Job for Comparing<'_> {
    type Output = ();

    fn run<E: SplineEngine>(self, engine: E) -> Result<()> {
        let Self { session, arguments, network, data, to } = self;
        let context = &session.context;
        let layers = arguments.layers.choice();
        let codes = Codes::new(&engine, &layers.part(&network)?, &layers, "a distance between codes")?;
        let distances = Distances::new(&codes)?;
        std::iter::once(&data).chain(&to).try_for_each(|data| data.check_rows(codes.dimension()))?;
        let output = OutputFile::create(&arguments.output)?;
        let start = Instant::now();
        let samples = codes.of(&data, context)?;
        let others = to.as_ref().map(|to| codes.of(to, context)).transpose()?;
        let coded = start.elapsed().as_secs_f64();
        let (same, others) = (others.is_none(), others.as_ref().unwrap_or(&samples));
        let (n, m) = (samples.len(), others.len());
        let (mut sum, mut count) = (0.0, 0_u64);
        let mut add = |distances: &[f32]| {
            sum += distances.iter().map(|&d| f64::from(d)).sum::<f64>();
            count += distances.len() as u64;
        };
        if let Some(k) = arguments.neighbours {
            let entries =
                [NpzEntry::new::<u32>("indices", &[n, k]), NpzEntry::new::<f32>("distances", &[n, k])];
            let mut writer = NpzWriter::create(output, entries)?;
            distances.neighbours(&engine, [&samples, others], same, k, context, |near| {
                add(&near.distances);
                writer.append("indices", &near.indices)?;
                writer.append("distances", &near.distances)
            })?;
            writer.finish()?;
        } else {
            let mut writer = NpyWriter::<f32>::create(output, &[n, m])?;
            distances.matrix(&engine, &samples, others, context, |_, distances| {
                add(distances);
                writer.write(distances)
            })?;
            writer.finish()?;
        }
        let seconds = start.elapsed().as_secs_f64();
        let (populations, device) = (populations(&codes, &samples), engine.describe());
        let document = json!({
            "samples": n,
            "to": m,
            "units": distances.units(),
            "neighbours": arguments.neighbours,
            "mean": sum / count.max(1) as f64,
            "layers": populations,
            "seconds": seconds,
            "seconds_of_codes": coded,
            "device": device,
        });
        session.print(&document, || {
            let mut text = format!(
                "{n} x {m} samples by {} units: mean distance {:.4}, {seconds:.2} s on {device}\n",
                distances.units(),
                sum / count.max(1) as f64
            );
            for layer in &populations {
                text += &format!(
                    "{}: {} units of {} pieces, {} codes ({} samples share one), {} up to here ({})\n",
                    layer.name,
                    layer.units,
                    layer.pieces,
                    layer.codes,
                    layer.largest,
                    layer.cumulative_codes,
                    layer.cumulative_largest
                );
            }
            text
        })
    }
}
