//! `fenchel operators`: the layers of a network as spline operators.

use std::ops::Range;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use serde::Serialize;

use crate::data::{Dataset, NpzEntry, NpzWriter, OutputFile};
use crate::engine::{Context, SplineEngine};
use crate::error::size;
use crate::maso::{Form, LayerInput, Layers, SplineOperator, SplineOperators, smooth_nodes};
use crate::network::Network;
use crate::{Error, Result};

use super::args;
use super::session::{Job, Session, take};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fenchel operators model.onnx
  fenchel operators model.onnx --layer relu2 --units 0..10 --full -o pieces.npz
  fenchel operators sigmoid.onnx --pieces 8 --data x.npy -o operators.npz

Each layer takes values of layers before it, side by side z [D], forms u = W z + b, and each of its K units picks one of \
    R affine pieces of u. Arrays of layer 0 (and so on): 0.W [n, D] and 0.b [n], for the elements 0.rows [n] of u (where \
    u is part of z, 0.columns [n] alone, which elements they are); 0.slope, 0.offset [K, R] and 0.knots [K, R - 1] of \
    elementwise functions, with 0.convex_slope, 0.convex_offset (the largest counts) and 0.concave_slope, \
    0.concave_offset (the smallest counts) where these add up to one that is neither; 0.elements [K, R] of maxima, the \
    element of u that each piece is, 4294967295 in the padding. With --full 0.A [K, R, D] and 0.B [K, R], y = A z + B of \
    the piece that is picked, in the place of W and b. In f64 on the CPU unless --precision says otherwise.")]
pub(super) struct Arguments {
    #[command(flatten)]
    pub model: args::Model,

    /// Put splines of so many pieces for each part in the place of smooth activations, as fenchel layers does
    #[arg(long, value_name = "P", value_parser = super::layers::few, requires = "data")]
    pub pieces: Option<usize>,

    /// Rows of data that the ranges of smooth activations are taken from
    #[arg(long, value_name = "FILE", requires = "pieces")]
    pub data: Option<PathBuf>,

    #[command(flatten)]
    pub reading: args::Reading,

    /// Rows of the data [default: all]
    #[arg(long, value_name = "RANGE", value_parser = args::range, requires = "data")]
    pub take: Option<Range<usize>>,

    /// Only the layer of this node
    #[arg(long, value_name = "NAME")]
    pub layer: Option<String>,

    /// Only these units of it
    #[arg(long, value_name = "RANGE", value_parser = args::range, requires = "layer")]
    pub units: Option<Range<usize>>,

    /// Write the slopes and offsets of every piece in the place of one row for each unit
    #[arg(long, requires = "output")]
    pub full: bool,

    /// The largest file that may be written
    #[arg(long, value_name = "SIZE", default_value = "4GiB", value_parser = args::memory)]
    pub limit: u64,

    /// Where the arrays go [default: the layers are listed alone]
    #[arg(short, long, value_name = "O.npz")]
    pub output: Option<PathBuf>,
}

#[derive(Serialize)]
struct Document {
    layers: Vec<Row>,
    /// Of the arrays, as they are or would be written.
    bytes: u64,
    seconds: f64,
    device: String,
}

#[derive(Serialize)]
struct Row {
    /// What the names of its arrays begin with.
    number: usize,
    name: String,
    operator: &'static str,
    form: Form,
    inputs: Vec<LayerInput>,
    dimension: usize,
    units: usize,
    pieces: usize,
    bits: u32,
    /// Of its arrays.
    bytes: u64,
}

pub(super) fn operators(session: &Session, arguments: &Arguments) -> Result<()> {
    let network = arguments.model.load()?.network;
    let data =
        arguments.data.as_ref().map(|path| Dataset::open(path, &arguments.reading.options())).transpose()?;
    let data = match data {
        Some(data) => Some(data.select_range(take(&data, arguments.take.as_ref(), "--take")?)?),
        None => None,
    };
    let smooth = smooth_nodes(&network);
    if !smooth.is_empty() && arguments.pieces.is_none() {
        let names: Vec<String> = smooth.iter().map(|node| format!("'{}'", node.name())).collect();
        return Err(Error::Argument(format!(
            "the network is smooth at {}: --pieces with --data puts splines in their place",
            names.join(", ")
        )));
    }
    let document = session.on_engine(session.precise(), Listing { session, arguments, network, data })?;
    session.print(&document, || text(&document))
}

struct Listing<'a> {
    session: &'a Session,
    arguments: &'a Arguments,
    network: Network,
    data: Option<Dataset>,
}

impl Job for Listing<'_> {
    type Output = Document;

    fn run<E: SplineEngine>(self, engine: E) -> Result<Document> {
        let Self { session, arguments, network, data } = self;
        let (context, start) = (&session.context, Instant::now());
        let network = match (arguments.pieces, &data) {
            (Some(pieces), Some(data)) if !smooth_nodes(&network).is_empty() => {
                data.check_rows(network.dimension())?;
                let layers = Layers::measure(&network, &engine, data, context)?;
                layers.splined(&layers.splines(pieces)?)?
            }
            _ => network,
        };
        let operators = SplineOperators::new(&network)?;
        let chosen: Vec<(usize, &SplineOperator)> = match &arguments.layer {
            Some(name) => {
                let layer = operators.layer(name)?;
                operators
                    .layers()
                    .iter()
                    .enumerate()
                    .filter(|(_, other)| std::ptr::eq(*other, layer))
                    .collect()
            }
            None => operators.layers().iter().enumerate().collect(),
        };
        let units = |layer: &SplineOperator| arguments.units.clone().unwrap_or(0..layer.units());
        if let Some((_, layer)) = chosen.iter().find(|(_, layer)| units(layer).end > layer.units()) {
            let (name, last) = (layer.name(), layer.units());
            return Err(Error::Argument(format!("'{name}' has {last} units: --units reaches beyond them")));
        }
        let tables: Vec<Arrays> = chosen
            .iter()
            .map(|&(number, layer)| Arrays::of(number, layer, units(layer), arguments.full))
            .collect();
        let scalar = size_of::<E::Scalar>() as u64;
        let rows = chosen.iter().zip(&tables).map(|(&(number, layer), arrays)| Row {
            number,
            name: layer.name().to_owned(),
            operator: layer.operator(),
            form: layer.form(),
            inputs: layer.inputs().to_vec(),
            dimension: layer.dimension(),
            units: layer.units(),
            pieces: layer.pieces(),
            bits: layer.bits(),
            bytes: arrays.bytes(scalar),
        });
        let layers: Vec<Row> = rows.collect();
        let bytes: u64 = layers.iter().map(|row| row.bytes).sum();
        if let Some(path) = &arguments.output {
            if bytes > arguments.limit {
                return Err(Error::Argument(format!(
                    "the arrays would take {}, more than --limit: choose with --layer and --units, or raise it",
                    size(bytes)
                )));
            }
            let entries = tables.iter().flat_map(Arrays::entries::<E>);
            let mut writer = NpzWriter::create(OutputFile::create(path)?, entries)?;
            context.progress().start("layers", tables.len() as u64);
            for arrays in &tables {
                arrays.write(&operators, &engine, context, &mut writer)?;
                context.progress().advance(1);
            }
            context.progress().finish();
            writer.finish()?;
        }
        Ok(Document { layers, bytes, seconds: start.elapsed().as_secs_f64(), device: engine.describe() })
    }
}

/// The arrays of a layer.
struct Arrays<'a> {
    number: usize,
    layer: &'a SplineOperator,
    units: Range<usize>,
    /// The elements of `u` whose rows are written.
    rows: Vec<usize>,
    /// The elements of `z` that they are, where they are such.
    columns: Option<Vec<usize>>,
    full: bool,
    /// Pieces of the two parts, at most, where both count.
    parts: Option<[usize; 2]>,
}

/// Names and shapes; numbers of pieces, elements and the like are integers.
enum Kind {
    Float,
    Index,
}

impl<'a> Arrays<'a> {
    fn of(number: usize, layer: &'a SplineOperator, units: Range<usize>, full: bool) -> Self {
        let mut parts = None;
        if layer.form() == Form::Difference {
            let most = units.clone().filter_map(|unit| layer.elementwise(unit)).map(|pieces| pieces.split());
            parts = Some(most.fold([1, 1], |[a, b], [c, d]| [a.max(c.slopes.len()), b.max(d.slopes.len())]));
        }
        let rows = layer.elements(units.clone());
        Self { number, layer, columns: layer.selected(&rows), rows, units, full, parts }
    }

    fn shapes(&self) -> Vec<(&'static str, Kind, Vec<usize>)> {
        let (n, r, d, m) = (self.units.len(), self.layer.pieces(), self.layer.dimension(), self.rows.len());
        let mut shapes = match (self.full, self.layer.elementwise(0).is_some()) {
            (true, _) => vec![("A", Kind::Float, vec![n, r, d]), ("B", Kind::Float, vec![n, r])],
            (false, elementwise) => {
                let mut shapes = vec![("rows", Kind::Index, vec![m])];
                if self.columns.is_some() {
                    shapes.push(("columns", Kind::Index, vec![m]));
                } else {
                    shapes.push(("W", Kind::Float, vec![m, d]));
                    shapes.push(("b", Kind::Float, vec![m]));
                }
                if !elementwise {
                    shapes.push(("elements", Kind::Index, vec![n, r]));
                }
                shapes
            }
        };
        if self.layer.elementwise(0).is_some() {
            shapes.push(("slope", Kind::Float, vec![n, r]));
            shapes.push(("offset", Kind::Float, vec![n, r]));
            shapes.push(("knots", Kind::Float, vec![n, r - 1]));
        }
        if let Some([convex, concave]) = self.parts {
            shapes.push(("convex_slope", Kind::Float, vec![n, convex]));
            shapes.push(("convex_offset", Kind::Float, vec![n, convex]));
            shapes.push(("concave_slope", Kind::Float, vec![n, concave]));
            shapes.push(("concave_offset", Kind::Float, vec![n, concave]));
        }
        shapes
    }

    fn bytes(&self, scalar: u64) -> u64 {
        let of = |(_, kind, shape): (&str, Kind, Vec<usize>)| {
            let size = if matches!(kind, Kind::Float) { scalar } else { 4 };
            shape.iter().fold(size, |bytes, &length| bytes.saturating_mul(length as u64))
        };
        self.shapes().into_iter().map(of).fold(0, u64::saturating_add)
    }

    fn name(&self, array: &str) -> String {
        format!("{}.{array}", self.number)
    }

    fn entries<E: SplineEngine>(&self) -> Vec<NpzEntry> {
        let entry = |(name, kind, shape): (&str, Kind, Vec<usize>)| match kind {
            Kind::Float => NpzEntry::new::<E::Scalar>(&self.name(name), &shape),
            Kind::Index => NpzEntry::new::<u32>(&self.name(name), &shape),
        };
        self.shapes().into_iter().map(entry).collect()
    }

    fn write<E: SplineEngine>(
        &self,
        operators: &SplineOperators,
        engine: &E,
        context: &Context,
        writer: &mut NpzWriter,
    ) -> Result<()> {
        let numbers = |of: &[usize]| of.iter().map(|&i| i as u32).collect::<Vec<_>>();
        if self.full {
            let map = operators.map(self.layer, engine, context)?;
            map.pieces(self.units.clone(), context, |_, pieces| {
                writer.append(&self.name("A"), &pieces.slopes)?;
                writer.append(&self.name("B"), &pieces.offsets)
            })?;
        } else {
            writer.append(&self.name("rows"), &numbers(&self.rows))?;
            if let Some(columns) = &self.columns {
                writer.append(&self.name("columns"), &numbers(columns))?;
            } else {
                let map = operators.map(self.layer, engine, context)?;
                for rows in self.rows.chunks(map.at_once()) {
                    context.check()?;
                    let affine = map.rows(rows)?;
                    writer.append(&self.name("W"), &affine.slopes)?;
                    writer.append(&self.name("b"), &affine.offsets)?;
                }
            }
        }
        let floats =
            |values: &[f64]| values.iter().map(|&v| <E::Scalar as crate::Scalar>::of(v)).collect::<Vec<_>>();
        for unit in self.units.clone() {
            let Some(pieces) = self.layer.elementwise(unit) else {
                if !self.full {
                    let elements = self.layer.window(unit);
                    let numbers: Vec<u32> =
                        elements.iter().map(|e| e.map_or(u32::MAX, |e| e as u32)).collect();
                    writer.append(&self.name("elements"), &numbers)?;
                }
                continue;
            };
            writer.append(&self.name("slope"), &floats(&pieces.slopes))?;
            writer.append(&self.name("offset"), &floats(&pieces.offsets))?;
            writer.append(&self.name("knots"), &floats(&pieces.knots))?;
            let Some(lengths) = self.parts else { continue };
            for ((part, length), name) in pieces.split().iter().zip(lengths).zip(["convex", "concave"]) {
                // Units of fewer pieces have the last one more often.
                let filled = |of: &[f64]| {
                    let mut of = floats(of);
                    let last = of[of.len() - 1];
                    of.resize(length, last);
                    of
                };
                writer.append(&self.name(&format!("{name}_slope")), &filled(&part.slopes))?;
                writer.append(&self.name(&format!("{name}_offset")), &filled(&part.offsets))?;
            }
        }
        Ok(())
    }
}

fn text(document: &Document) -> String {
    let heads = ["", "layer", "operator", "takes", "D", "units", "R", "bits", "form"].map(str::to_owned);
    let row = |row: &Row| {
        let takes: Vec<&str> = row.inputs.iter().map(|input| &input.name[..]).collect();
        let [d, k, r] = [row.dimension, row.units, row.pieces].map(|n| n.to_string());
        let (bits, form) = (row.bits.to_string(), row.form.name().to_owned());
        [
            row.number.to_string(),
            row.name.clone(),
            row.operator.to_owned(),
            takes.join(" + "),
            d,
            k,
            r,
            bits,
            form,
        ]
    };
    let table: Vec<[String; 9]> = std::iter::once(heads).chain(document.layers.iter().map(row)).collect();
    let widths: [usize; 9] =
        std::array::from_fn(|i| table.iter().map(|row| row[i].chars().count()).max().unwrap_or(0));
    let mut text = String::new();
    for row in &table {
        let cells: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text += cells.join("  ").trim_end();
        text.push('\n');
    }
    let Document { bytes, seconds, device, .. } = document;
    text + &format!("{:.1} MiB of arrays, {seconds:.2} s on {device}\n", *bytes as f64 / f64::from(1 << 20))
}
