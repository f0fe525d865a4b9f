//! `fenchel difference`: a network as the difference of two convex functions, checked.

use std::fmt::Write as _;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use serde::Serialize;

use crate::data::{Dataset, NpzEntry, NpzWriter, OutputFile};
use crate::difference::{Agreement, Convexity, Difference, Growth, convexity};
use crate::engine::SplineEngine;
use crate::network::Network;
use crate::{Error, Result};

use super::args;
use super::session::{Job, Session, take};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fenchel difference model.onnx --data x.npy --jacobian -o d.npz

The network is convex - subtracted, both convex. Arrays: convex, subtracted [N, K]; with --jacobian the active \
    affine pieces slope . x + offset of both: convex_slope, subtracted_slope [N, K, D], convex_offset, \
    subtracted_offset [N, K]. Takes affine and piecewise affine operators, such as ReLU and max-pooling; computes in \
    f64 unless --precision says otherwise. Prints the difference from the network itself, against what rounding \
    allows; how many random segments between rows violate convexity; and for each node how much larger its parts are \
    than its value.")]
pub(super) struct Arguments {
    #[command(flatten)]
    pub model: args::Model,
    #[command(flatten)]
    pub data: args::Data,
    #[command(flatten)]
    pub outputs: args::Outputs,

    /// Rows of the data to take, such as 0..1000 [default: all]
    #[arg(long, value_name = "RANGE", value_parser = args::range)]
    pub take: Option<Range<usize>>,

    /// Write the active affine pieces too
    #[arg(long)]
    pub jacobian: bool,

    /// Random segments between rows along which both parts are checked for convexity; 0 for none
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub segments: usize,

    /// Where the arrays go
    #[arg(short, long, value_name = "D.npz")]
    pub output: PathBuf,
}

pub(super) fn difference(session: &Session, arguments: &Arguments) -> Result<()> {
    let loaded = arguments.model.load()?;
    let data = arguments.data.open()?;
    let rows = take(&data, arguments.take.as_ref(), "--take")?;
    let data = data.select_range(rows)?;
    let parts = loaded.network.convex_difference().map_err(|error| match error {
        Error::MissingSlot { .. } => Error::Graph(format!(
            "{error}; of smooth activations fenchel layers --save makes piecewise affine ones"
        )),
        other => other,
    })?;
    session.on_engine(
        session.precise(),
        Parts { session, arguments, network: &loaded.network, parts: &parts, data },
    )
}

struct Parts<'a> {
    session: &'a Session,
    arguments: &'a Arguments,
    network: &'a Network,
    parts: &'a Network,
    data: Dataset,
}

/// What is printed.
#[derive(Serialize)]
struct Document {
    points: usize,
    outputs: usize,
    dimension: usize,
    nodes: [usize; 2],
    agreement: Agreement,
    holds: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    convexity: Option<Halves>,
    growth: Vec<Growth>,
    seed: u64,
    seconds: f64,
    device: String,
}

#[derive(Serialize)]
struct Halves {
    convex: Convexity,
    subtracted: Convexity,
}

impl Job for Parts<'_> {
    type Output = ();

    fn run<E: SplineEngine>(self, engine: E) -> Result<()> {
        let Self { session, arguments, network, parts, data } = self;
        let context = &session.context;
        let start = Instant::now();
        let difference = Difference::new(&engine, network, parts)?;
        data.check_rows(difference.dimension())?;
        let (n, all, d) = (data.len(), difference.outputs(), difference.dimension());
        let outputs = arguments.outputs.choose(all)?;
        let k = outputs.len();
        let entry = |name: &str, shape: &[usize]| NpzEntry::new::<E::Scalar>(name, shape);
        let mut entries = vec![entry("convex", &[n, k]), entry("subtracted", &[n, k])];
        if arguments.jacobian {
            entries.extend(["convex_slope", "subtracted_slope"].map(|name| entry(name, &[n, k, d])));
            entries.extend(["convex_offset", "subtracted_offset"].map(|name| entry(name, &[n, k])));
        }
        let mut writer = NpzWriter::create(OutputFile::create(&arguments.output)?, entries)?;
        let agreement = difference.evaluate(&data, &outputs, arguments.jacobian, context, |chunk| {
            writer.append("convex", &chunk.convex)?;
            writer.append("subtracted", &chunk.subtracted)?;
            let Some(pieces) = chunk.pieces else { return Ok(()) };
            writer.append("convex_slope", &pieces.convex_slope)?;
            writer.append("subtracted_slope", &pieces.subtracted_slope)?;
            writer.append("convex_offset", &pieces.convex_offset)?;
            writer.append("subtracted_offset", &pieces.subtracted_offset)
        })?;
        let convexity = if arguments.segments == 0 {
            None
        } else {
            let halves = [outputs.clone(), outputs.iter().map(|k| all + k).collect()];
            let allowed = difference.roundings();
            let found = convexity(difference.parts(), &halves, allowed, &data, arguments.segments, context)?;
            Some(Halves { convex: found[0], subtracted: found[1] })
        };
        let growth = difference.growth(&data, context)?;
        writer.finish()?;
        let document = Document {
            points: n,
            outputs: k,
            dimension: d,
            nodes: [network, parts].map(|network| network.nodes().len()),
            holds: agreement.holds(),
            agreement,
            convexity,
            growth,
            seed: context.seed(),
            seconds: start.elapsed().as_secs_f64(),
            device: engine.describe(),
        };
        session.print(&document, || text(&document))
    }
}

fn text(document: &Document) -> String {
    let Document { points, outputs, nodes: [nodes, of_parts], agreement, convexity, seconds, device, .. } =
        document;
    let mut text = format!(
        "{points} points, {outputs} outputs, {nodes} nodes became {of_parts}, {seconds:.2} s on {device}\n\
         network - (convex - subtracted): {:.2e} at most, parts up to {:.2e}; relative to the larger part {:.2} \
         epsilons, {} allowed: {}\n",
        agreement.difference,
        agreement.part,
        agreement.epsilons,
        agreement.allowed,
        if document.holds { "equal" } else { "NOT EQUAL" },
    );
    if let Some(slopes) = &agreement.slopes {
        let _ = writeln!(
            text,
            "slopes: {:.2} epsilons, another piece at {} points; {:.1} (convex) and {:.1} (subtracted) times as \
             large as the network's",
            slopes.epsilons, slopes.other_pieces, slopes.convex_growth, slopes.subtracted_growth,
        );
    }
    if let Some(Halves { convex, subtracted }) = convexity {
        for (name, half) in [("convex", convex), ("subtracted", subtracted)] {
            let _ = writeln!(
                text,
                "{name}: {} of {} segments violate convexity; largest excess over the chord {:.1e} of the value, \
                 {:.1e} allowed",
                half.violations, half.segments, half.excess, half.allowed,
            );
        }
    }
    let width = document.growth.iter().map(|row| row.node.chars().count()).max().unwrap_or(0).max(4);
    let _ =
        writeln!(text, "\n{:width$}  {:20}  {:>10}  {:>10}  {:>8}", "node", "", "parts", "value", "growth");
    for Growth { node, operator, parts, value, growth } in &document.growth {
        let _ = writeln!(text, "{node:width$}  {operator:20}  {parts:>10.4e}  {value:>10.4e}  {growth:>8.2}");
    }
    text
}
