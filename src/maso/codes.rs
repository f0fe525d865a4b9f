//! Codes of a network at many points, layer by layer, and in how many units they differ.

use std::ops::Range;

use xxhash_rust::xxh3::xxh3_64;

use crate::data::Dataset;
use crate::engine::plan::overlapped;
use crate::engine::{Context, Engine, Packing, TensorOf};
use crate::network::{CodedLayer, Kind, Network, Op, Program};
use crate::{Error, Result, Scalar};

/// Whose codes count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LayerChoice {
    /// All layers.
    All,
    /// The layer of this name.
    One(String),
    /// The layer of this name and those that its input depends on: what makes the network up to there affine.
    UpTo(String),
}

impl LayerChoice {
    /// The part of a network that has them, from its only input on.
    ///
    /// # Errors
    /// As [`Network::cut`]; [`Error::Argument`] for a node that has no codes, with those that have.
    pub fn part(&self, network: &Network) -> Result<Network> {
        let (Self::One(name) | Self::UpTo(name)) = self else { return network.cut(None, None) };
        let bends = |op: &Op| op.operator().kind() == Kind::PiecewiseAffine;
        if !network.find(name)?.op().is_some_and(bends) {
            let coded = network.nodes().iter().filter(|node| node.op().is_some_and(bends));
            let coded: Vec<String> = coded.map(|node| format!("'{}'", node.name())).collect();
            return Err(Error::Argument(match &coded[..] {
                [] => format!("'{name}' is affine or smooth, as all layers are: none picks pieces"),
                coded => format!("'{name}' picks no pieces; {} do", coded.join(", ")),
            }));
        }
        network.cut(None, Some(name))
    }
}

/// A network that tells its codes.
pub struct Codes<E: Engine> {
    program: Program<E>,
    layers: Vec<CodedLayer>,
}

/// Codes of some points.
pub struct CodedPoints {
    /// Which.
    pub range: Range<usize>,
    /// The words of each.
    pub words: Vec<u32>,
}

/// The words of the rows of a data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    rows: usize,
    words: usize,
    values: Vec<u32>,
}

/// The hash of a code, the same on every machine: XXH3 of its words, the lowest byte first.
pub fn hash(words: &[u32]) -> u64 {
    if cfg!(target_endian = "little") {
        return xxh3_64(bytemuck::cast_slice(words));
    }
    xxh3_64(&words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>())
}

impl Packed {
    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The words of a row.
    pub fn row(&self, i: usize) -> &[u32] {
        self.rows(i..i + 1)
    }

    /// The words of some rows, one after the other.
    pub fn rows(&self, rows: Range<usize>) -> &[u32] {
        &self.values[rows.start * self.words..rows.end * self.words]
    }

    /// Bytes that it holds.
    pub fn bytes(&self) -> u64 {
        size_of_val(&self.values[..]) as u64
    }
}

impl<E: Engine> Codes<E> {
    /// The codes of the chosen layers of a [part](LayerChoice::part) of a network, or of such a part on a slice, for a tool
    /// that is to be named. An affine network has none, and one region.
    ///
    /// # Errors
    /// As [`Network::compile`]; [`Error::MissingSlot`] for an operator that is not piecewise affine.
    pub fn new(engine: &E, part: &Network, layers: &LayerChoice, tool: &'static str) -> Result<Self> {
        let program = part.compile(engine)?;
        let mut coded = program.coded_layers(tool)?;
        if matches!(layers, LayerChoice::One(_)) {
            // Windows and axes of one element have one piece.
            let is_last = |layer: &CodedLayer| part.outputs().any(|node| node.value() == layer.value);
            coded.retain(is_last);
        }
        Ok(Self { program, layers: coded })
    }

    /// The engine it runs on.
    pub fn engine(&self) -> &E {
        self.program.engine()
    }

    /// The number of elements of an input sample.
    pub fn dimension(&self) -> usize {
        self.program.dimension()
    }

    /// The layers; their words are counted from that of the first layer on.
    pub fn layers(&self) -> &[CodedLayer] {
        &self.layers
    }

    /// The number of the first word of the first layer.
    fn first_word(&self) -> usize {
        self.layers.first().map_or(0, |layer| layer.packing.first)
    }

    /// Words of a sample.
    pub fn words(&self) -> usize {
        self.layers.last().map_or(0, |layer| layer.words().end) - self.first_word()
    }

    /// The words of a layer among those of a sample.
    pub fn words_of(&self, layer: &CodedLayer) -> Range<usize> {
        let words = layer.words();
        words.start - self.first_word()..words.end - self.first_word()
    }

    /// The code of every unit, layer after layer, from the words of a sample.
    pub fn unpack(&self, row: &[u32]) -> Vec<u32> {
        let of = |layer: &CodedLayer| {
            let packing = Packing { first: self.words_of(layer).start, ..layer.packing };
            (0..layer.units).map(move |unit| packing.get(row, unit))
        };
        self.layers.iter().flat_map(of).collect()
    }

    /// In how many units two samples differ, from their words.
    pub fn differing(&self, a: &[u32], b: &[u32]) -> u32 {
        let of = |layer: &CodedLayer| {
            let words = self.words_of(layer);
            layer.packing.differing(&a[words.clone()], &b[words])
        };
        self.layers.iter().map(of).sum()
    }

    /// Computes the words at `count` points, in as many pieces as the context's budget asks for, and shows them to
    /// `each` in order. `points` makes rows `[N, D]` of those in a range.
    ///
    /// # Errors
    /// [`Error::NonFinite`] with the number of the point where what is computed overflows, counted from `first`;
    /// [`Error::Memory`] where one point does not fit; [`Error::Cancelled`]; what the engine, `points` and `each` say.
    pub fn each(
        &self,
        count: usize,
        (what, first): (&str, usize),
        context: &Context,
        mut points: impl FnMut(Range<usize>) -> Result<TensorOf<E>>,
        mut each: impl FnMut(CodedPoints) -> Result<()>,
    ) -> Result<()> {
        let engine = self.engine();
        let chunks = self.program.code_chunks(count, self.words(), context.memory())?;
        let start = |range: Range<usize>| {
            context.check()?;
            let (codes, outputs) = self.program.codes(&points(range)?, &self.layers)?;
            Ok((engine.request_codes(codes)?, engine.request(&outputs)?))
        };
        overlapped(engine, chunks, start, |range, (codes, outputs)| {
            let words = engine.receive_codes(codes)?;
            let outputs = engine.receive(outputs)?;
            if let Some(at) = outputs.iter().position(|v| !v.f64().is_finite()) {
                let row = first + range.start + at / (outputs.len() / range.len());
                return Err(Error::NonFinite { what: what.to_owned(), row });
            }
            each(CodedPoints { range, words })
        })
    }

    /// The words of every row of the data, all of which are held.
    ///
    /// # Errors
    /// As [`each`](Self::each); [`Error::Shape`] for rows that do not fit; [`Error::Memory`] where the codes take more
    /// than half the budget.
    pub fn of(&self, data: &Dataset, context: &Context) -> Result<Packed> {
        let (rows, words, half) = (data.len(), self.words(), context.memory() / 2);
        let needed = (rows * words * size_of::<u32>()) as u64;
        if needed > half {
            let what = format!("the codes of {rows} samples");
            return Err(Error::Memory { what, needed: 2 * needed, budget: context.memory() });
        }
        let mut values = Vec::with_capacity(rows * words);
        let points = |range| self.program.upload(data.rows::<E::Scalar>(range)?.view());
        context.progress().start("codes", rows as u64);
        self.each(rows, ("the network's output", 0), &context.clone().with_memory(half), points, |coded| {
            context.progress().advance(coded.range.len() as u64);
            values.extend(coded.words);
            Ok(())
        })?;
        context.progress().finish();
        Ok(Packed { rows, words, values })
    }
}
