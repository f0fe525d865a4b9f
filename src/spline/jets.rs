//! Where jets come from: a network, or a file.

use std::ops::Range;

use crate::data::Dataset;
use crate::engine::plan::at_once;
use crate::engine::{Engine, Jets, JetsOf, SplineEngine, TensorOf};
use crate::network::Program;
use crate::{Error, Result, Scalar};

/// Jets at a list of anchors, made or read block by block.
pub trait JetSource<E: SplineEngine> {
    /// The engine that holds them.
    fn engine(&self) -> &E;

    /// `M`, the number of anchors.
    fn anchors(&self) -> usize;

    /// `D`, the coordinates of an anchor.
    fn dimension(&self) -> usize;

    /// The elements of a row of data: `D`, unless jets are in coordinates of their own.
    fn elements(&self) -> usize {
        self.dimension()
    }

    /// `K`, the number of outputs.
    fn outputs(&self) -> usize;

    /// Bytes that making one jet takes beside the jet itself.
    fn bytes_to_make(&self) -> u64;

    /// Bytes that making jets takes, however many.
    fn scratch_bytes(&self) -> u64;

    /// How many jets are one block at most.
    ///
    /// # Errors
    /// [`Error::Tensor`] where one is too large for the engine.
    fn most_jets(&self) -> Result<usize> {
        let elements = self.outputs() * self.dimension();
        at_once(self.engine(), elements, "the jet of one anchor")
    }

    /// Jets of these anchors, and what is to be found out about them when there is time.
    ///
    /// # Errors
    /// What reading or computing says; [`Error::NonFinite`] for anchors that are no numbers.
    fn block(&self, range: Range<usize>) -> Result<(JetsOf<E>, Unchecked<E>)>;

    /// Rows of data `[N, elements]` in the coordinates of the jets `[N, D]`: a linear map.
    ///
    /// # Errors
    /// What the engine says.
    fn place(&self, points: TensorOf<E>) -> Result<TensorOf<E>> {
        Ok(points)
    }

    /// A point amid the anchors `[D]`, from which points and anchors are measured.
    ///
    /// # Errors
    /// As [`block`](Self::block).
    fn center(&self) -> Result<Vec<f64>>;
}

/// Values at anchors that are on their way back, to see whether they are numbers. Whoever uses jets checks them before
/// a result goes out, and best after giving the engine more to do.
pub struct Unchecked<E: Engine>(Option<(usize, usize, E::Request)>);

impl<E: Engine> Unchecked<E> {
    /// For values that were checked before.
    pub(super) fn nothing() -> Self {
        Self(None)
    }

    /// Waits for the values and looks at them.
    ///
    /// # Errors
    /// [`Error::NonFinite`] for a value that is no number; what the engine says.
    pub fn check(self, engine: &E) -> Result<()> {
        let Some((first, outputs, values)) = self.0 else { return Ok(()) };
        match engine.receive(values)?.iter().position(|v| !v.f64().is_finite()) {
            None => Ok(()),
            Some(i) => {
                let what = "the network's output at the anchors".to_owned();
                Err(Error::NonFinite { what, row: first + i / outputs })
            }
        }
    }
}

/// Jets of a network at rows of data.
pub struct NetworkJets<'a, E: SplineEngine> {
    program: &'a Program<E>,
    anchors: Dataset,
    outputs: Vec<usize>,
}

/// How many anchors the center is the mean of: any point amid them serves.
const FOR_CENTER: usize = 1024;

/// The center of so many anchors, of which `rows` reads the first as the engine sees them.
pub(super) fn center<S: Scalar>(
    anchors: usize,
    dimension: usize,
    rows: impl FnOnce(Range<usize>) -> Result<Vec<S>>,
) -> Result<Vec<f64>> {
    let count = anchors.min(FOR_CENTER);
    let mut center = vec![0.0; dimension];
    for row in rows(0..count)?.chunks_exact(dimension) {
        center.iter_mut().zip(row).for_each(|(c, x)| *c += x.f64() / count as f64);
    }
    Ok(center)
}

impl<'a, E: SplineEngine> NetworkJets<'a, E> {
    /// Jets of the chosen outputs.
    ///
    /// # Errors
    /// [`Error::Shape`] where rows do not have as many elements as the network's input;
    /// [`Error::Argument`] without outputs or anchors, or for an output that is not there.
    pub fn new(program: &'a Program<E>, anchors: Dataset, outputs: Vec<usize>) -> Result<Self> {
        anchors.check_rows(program.dimension())?;
        if anchors.is_empty() || outputs.is_empty() {
            return Err(Error::Argument("at least one anchor and one output are needed".to_owned()));
        }
        check_outputs(&outputs, program.outputs())?;
        Ok(Self { program, anchors, outputs })
    }
}

/// # Errors
/// [`Error::Argument`] for an output that is not among `all`.
pub(super) fn check_outputs(outputs: &[usize], all: usize) -> Result<()> {
    match outputs.iter().find(|&&k| k >= all) {
        None => Ok(()),
        Some(k) => Err(Error::Argument(format!("there is no output {k}: expected 0 to {}", all - 1))),
    }
}

impl<E: SplineEngine> JetSource<E> for NetworkJets<'_, E> {
    fn engine(&self) -> &E {
        self.program.engine()
    }

    fn anchors(&self) -> usize {
        self.anchors.len()
    }

    fn dimension(&self) -> usize {
        self.program.dimension()
    }

    fn outputs(&self) -> usize {
        self.outputs.len()
    }

    fn bytes_to_make(&self) -> u64 {
        self.program.bytes_per_sample(Some(self.outputs.len()))
    }

    fn scratch_bytes(&self) -> u64 {
        self.program.scratch_bytes()
    }

    fn most_jets(&self) -> Result<usize> {
        self.program.at_once(Some(self.outputs.len()))
    }

    fn block(&self, range: Range<usize>) -> Result<(JetsOf<E>, Unchecked<E>)> {
        let rows = self.anchors.rows::<E::Scalar>(range.clone())?;
        let jets = self.program.jets(&self.program.upload(rows.view())?, &self.outputs)?;
        let values = self.engine().request(&jets.values)?;
        Ok((jets, Unchecked(Some((range.start, self.outputs.len(), values)))))
    }

    fn center(&self) -> Result<Vec<f64>> {
        center(self.anchors(), self.dimension(), |rows| {
            Ok(self.anchors.rows::<E::Scalar>(rows)?.iter().copied().collect())
        })
    }
}

/// Jets that are held on the engine.
pub struct HeldJets<E: SplineEngine> {
    engine: E,
    jets: JetsOf<E>,
}

impl<E: SplineEngine> HeldJets<E> {
    /// These jets, all numbers.
    pub fn new(engine: &E, jets: JetsOf<E>) -> Self {
        Self { engine: engine.clone(), jets }
    }
}

impl<E: SplineEngine> JetSource<E> for HeldJets<E> {
    fn engine(&self) -> &E {
        &self.engine
    }

    fn anchors(&self) -> usize {
        self.jets.points.rows()
    }

    fn dimension(&self) -> usize {
        self.jets.points.shape()[1]
    }

    fn outputs(&self) -> usize {
        self.jets.values.shape()[1]
    }

    fn bytes_to_make(&self) -> u64 {
        0
    }

    fn scratch_bytes(&self) -> u64 {
        0
    }

    fn block(&self, range: Range<usize>) -> Result<(JetsOf<E>, Unchecked<E>)> {
        let Jets { points, values, jacobians } = &self.jets;
        let cut = |tensor: &TensorOf<E>| {
            let mut before = vec![0; tensor.shape().len()];
            let mut after = before.clone();
            before[0] = -(range.start as isize);
            after[0] = range.end as isize - tensor.rows() as isize;
            self.engine.pad(tensor, &before, &after, E::Scalar::of(0.0))
        };
        let jets = Jets { points: cut(points)?, values: cut(values)?, jacobians: cut(jacobians)? };
        Ok((jets, Unchecked::nothing()))
    }

    fn center(&self) -> Result<Vec<f64>> {
        center(self.anchors(), self.dimension(), |rows| self.engine.download(&self.block(rows)?.0.points))
    }
}
