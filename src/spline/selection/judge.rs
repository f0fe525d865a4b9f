//! What a spline of chosen anchors does at the anchors.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use ndarray::ArrayView2;

use crate::data::Dataset;
use crate::engine::plan::Chunks;
use crate::engine::{
    Context, Curvature, EnvelopeSpec, EnvelopeValues, Jets, JetsOf, Search, Silent, SplineEngine, TensorOf,
};
use crate::spline::{Demand, JetSource, Unchecked, envelopes};
use crate::{Error, Result, Scalar};

/// Evaluates splines of subsets of the anchors at some of the anchors, whose values are known from their jets.
pub(super) struct Judge<'a, E: SplineEngine> {
    blocks: Blocks<'a, E>,
    curvature: &'a [Curvature],
    /// The anchors that are judged on, and the network's values there `[N, K]`.
    points: Dataset,
    values: Vec<f64>,
    context: Context,
}

/// Jets of all anchors in blocks, of which the first stay on the engine.
struct Blocks<'a, E: SplineEngine> {
    source: &'a dyn JetSource<E>,
    center: Vec<f64>,
    chunks: Chunks,
    kept: RefCell<HashMap<usize, JetsOf<E>>>,
    /// How many stay, as there is room: methods ask for jets many times.
    room: usize,
}

/// Envelopes of a chunk of the judged anchors.
pub(super) struct Judged<'a, S> {
    /// Which of the judged anchors.
    pub(super) range: Range<usize>,
    /// Their envelopes `[families, 1, 1, K, 1, n]`; a piece is a place in `anchors`.
    pub(super) envelopes: EnvelopeValues<S>,
    /// The anchors of all families.
    pub(super) anchors: &'a [u32],
}

impl<'a, E: SplineEngine> Judge<'a, E> {
    /// Judges on the anchors `rows` (ascending), and leaves the caller `extra` bytes.
    ///
    /// # Errors
    /// [`Error::Memory`] where the judged anchors do not fit into half the budget;
    /// [`Error::Cancelled`]; what the source says.
    pub(super) fn new(
        source: &'a dyn JetSource<E>,
        curvature: &'a [Curvature],
        rows: &[u32],
        extra: u64,
        context: &Context,
    ) -> Result<Self> {
        let (anchors, dimension, outputs) = (source.anchors(), source.dimension(), source.outputs());
        super::features::check_curvature(curvature, outputs)?;
        let (scalar, budget) = (size_of::<E::Scalar>(), context.memory());
        // Points are copied once in the making.
        let held = (rows.len() * (2 * dimension * scalar + outputs * size_of::<f64>())) as u64 + extra;
        if 2 * held > budget {
            let what = format!("judging pieces at {} anchors", rows.len());
            return Err(Error::Memory { what, needed: 2 * held, budget });
        }
        let jet = ((dimension + outputs * (dimension + 1)) * scalar) as u64;
        let free = budget - held;
        // An eighth for the making of a block, a third for blocks that stay.
        let fit = (free / 8).saturating_sub(source.scratch_bytes()) / (jet + source.bytes_to_make());
        let fit = usize::try_from(fit).unwrap_or(usize::MAX).max(1);
        let chunks = Chunks::new(anchors, fit.min(source.most_jets()?).min(1 << 10));
        let block = chunks.size() as u64 * jet;
        let room = usize::try_from(free / 3 / block).unwrap_or(usize::MAX).min(chunks.count());
        let blocks = Blocks { source, center: source.center()?, chunks, kept: RefCell::default(), room };
        let mut values = Vec::with_capacity(rows.len() * outputs);
        let mut points: Vec<E::Scalar> = Vec::with_capacity(rows.len() * dimension);
        context.progress().start("jets", rows.len() as u64);
        for rows in blocks.split(rows) {
            context.check()?;
            let jets = blocks.rows(rows)?;
            points.extend(source.engine().download(&jets.points)?);
            values.extend(source.engine().download(&jets.values)?.iter().map(|v| v.f64()));
            context.progress().advance(rows.len() as u64);
        }
        context.progress().finish();
        let points = ArrayView2::from_shape((rows.len(), dimension), &points);
        let points = Dataset::from_array(points.map_err(|e| Error::Shape(e.to_string()))?)?;
        // Passes are parts of a stage of the method.
        let context = context.clone().with_memory(free - room as u64 * block).with_progress(Arc::new(Silent));
        Ok(Self { blocks, curvature, points, values, context })
    }

    /// How many anchors are judged on.
    pub(super) fn points(&self) -> usize {
        self.points.len()
    }

    /// How many outputs there are.
    pub(super) fn outputs(&self) -> usize {
        self.curvature.len()
    }

    /// Envelopes of families of anchors at the judged ones, chunk by chunk.
    ///
    /// # Errors
    /// As [`envelopes`].
    pub(super) fn pass(
        &self,
        families: &[&[u32]],
        pieces: bool,
        mut visit: impl FnMut(Judged<'_, E::Scalar>),
    ) -> Result<()> {
        let mut union = families.concat();
        union.sort_unstable();
        union.dedup();
        let mut slots = vec![u32::MAX; families.len() * union.len()];
        for (family, slots) in families.iter().zip(slots.chunks_exact_mut(union.len().max(1))) {
            let places = family.iter().filter_map(|i| union.binary_search(i).ok());
            places.for_each(|place| slots[place] = 0);
        }
        let spec = EnvelopeSpec {
            curvatures: vec![self.curvature.to_vec()],
            families: families.len(),
            slots: 1,
            top: 1,
            pieces,
            search: Search::Pruned,
        };
        let subset = Subset { blocks: &self.blocks, anchors: &union };
        envelopes(&subset, &self.points, &spec, &slots, Demand::default(), &self.context, |block| {
            visit(Judged { range: block.range, envelopes: block.envelopes, anchors: &union });
            Ok(())
        })
    }

    /// The sum of squared errors over the outputs at a judged anchor, from its two envelopes.
    pub(super) fn squared_error(&self, point: usize, envelopes: impl Fn(usize) -> [f64; 2]) -> f64 {
        let outputs = self.curvature.len();
        let values = &self.values[point * outputs..][..outputs];
        let errors = self.curvature.iter().zip(values).enumerate().map(|(k, (curvature, value))| {
            let ([low, high], [lower, upper]) = (curvature.weights(), envelopes(k));
            (low * lower + high * upper - value).powi(2)
        });
        errors.sum()
    }
}

impl<E: SplineEngine> Blocks<'_, E> {
    /// Splits ascending anchors into those of each block.
    fn split<'r>(&self, rows: &'r [u32]) -> impl Iterator<Item = &'r [u32]> + use<'r, E> {
        let size = self.chunks.size();
        rows.chunk_by(move |&i, &j| i as usize / size == j as usize / size)
    }

    /// The jets of some anchors of one block.
    fn rows(&self, rows: &[u32]) -> Result<JetsOf<E>> {
        let engine = self.source.engine();
        let number = rows.first().map_or(0, |&first| first as usize / self.chunks.size());
        let first = number * self.chunks.size();
        let range = first..(first + self.chunks.size()).min(self.source.anchors());
        let kept = self.kept.borrow().get(&number).cloned();
        let jets = match kept {
            Some(jets) => jets,
            None => {
                let (jets, unchecked) = self.source.block(range.clone())?;
                unchecked.check(engine)?;
                if number < self.room {
                    self.kept.borrow_mut().insert(number, jets.clone());
                }
                jets
            }
        };
        if rows.len() == range.len() {
            return Ok(jets);
        }
        let indices: Vec<u32> = rows.iter().map(|&i| i - first as u32).collect();
        let pick = |x: &TensorOf<E>| engine.select(x, 0, &indices);
        Ok(Jets {
            points: pick(&jets.points)?,
            values: pick(&jets.values)?,
            jacobians: pick(&jets.jacobians)?,
        })
    }
}

/// Jets of some of the anchors, as a source of its own.
struct Subset<'s, 'a, E: SplineEngine> {
    blocks: &'s Blocks<'a, E>,
    anchors: &'s [u32],
}

impl<E: SplineEngine> JetSource<E> for Subset<'_, '_, E> {
    fn engine(&self) -> &E {
        self.blocks.source.engine()
    }

    fn anchors(&self) -> usize {
        self.anchors.len()
    }

    fn dimension(&self) -> usize {
        self.blocks.source.dimension()
    }

    fn outputs(&self) -> usize {
        self.blocks.source.outputs()
    }

    /// Jets are picked out of blocks, and then joined.
    fn bytes_to_make(&self) -> u64 {
        ((self.dimension() + self.outputs() * (self.dimension() + 1)) * size_of::<E::Scalar>()) as u64
    }

    /// A block, where it is not kept.
    fn scratch_bytes(&self) -> u64 {
        let source = self.blocks.source;
        if self.blocks.room == self.blocks.chunks.count() {
            return 0;
        }
        source.scratch_bytes()
            + self.blocks.chunks.size() as u64 * (self.bytes_to_make() + source.bytes_to_make())
    }

    fn block(&self, range: Range<usize>) -> Result<(JetsOf<E>, Unchecked<E>)> {
        let engine = self.engine();
        let parts = self.blocks.split(&self.anchors[range]);
        let mut parts: Vec<JetsOf<E>> = parts.map(|rows| self.blocks.rows(rows)).collect::<Result<_>>()?;
        if parts.len() > 1 {
            let join = |of: fn(&JetsOf<E>) -> &TensorOf<E>| {
                engine.concat(&parts.iter().map(of).collect::<Vec<_>>(), 0)
            };
            let points = join(|jets| &jets.points)?;
            let values = join(|jets| &jets.values)?;
            let jacobians = join(|jets| &jets.jacobians)?;
            parts = vec![Jets { points, values, jacobians }];
        }
        match parts.pop() {
            Some(jets) => Ok((jets, Unchecked::nothing())),
            None => Err(Error::Argument("a block of jets needs at least one anchor".to_owned())),
        }
    }

    fn center(&self) -> Result<Vec<f64>> {
        Ok(self.blocks.center.clone())
    }
}
