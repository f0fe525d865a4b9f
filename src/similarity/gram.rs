//! Gram matrices of gradients, streamed.

use std::ops::Range;

use ndarray::{Array2, ArrayView2};

use crate::data::Dataset;
use crate::engine::plan::Chunks;
use crate::engine::{Context, FactorsOf, SplineEngine, TensorOf};
use crate::{Error, Result, Scalar};

use super::combine::{Scale, terms};
use super::{Demand, Extent, Gradients, Metric, Plan, Road, Weights, projections};

/// Samples whose similarities with themselves are taken out of one Gram matrix.
const SELVES: usize = 32;

/// Similarities of samples in a metric.
pub struct Similarity<'a, E: SplineEngine> {
    gradients: &'a Gradients<E>,
    metric: Metric,
    weights: Weights<'a>,
    road: Option<Road>,
}

/// What some samples hold for a group of layers: for each chunk of them, its first sample and its terms.
type Held<E> = Vec<(usize, Vec<FactorsOf<E>>)>;

impl<'a, E: SplineEngine> Similarity<'a, E> {
    /// In a metric with its weights (see [`Weights::of`]).
    pub fn new(gradients: &'a Gradients<E>, metric: Metric, weights: Weights<'a>) -> Self {
        Self { gradients, metric, weights, road: None }
    }

    /// The same with all layers on one road: for comparison.
    #[must_use]
    pub fn on_road(self, road: Road) -> Self {
        Self { road: Some(road), ..self }
    }

    /// Elements of a similarity of two samples: 1, or `r^2` with a pair of each of `r` outputs.
    pub fn elements(&self) -> usize {
        self.gradients.rows() * self.gradients.rows()
    }

    /// The road of each layer, for so many samples and pairs of them.
    pub fn roads(&self, samples: usize, pairs: u64) -> Vec<Road> {
        let of = |shape: &super::Shape| match self.weights {
            _ if shape.depths[0] == 0 => Road::Gradient,
            Weights::None => {
                self.road.unwrap_or_else(|| shape.cheaper(self.gradients.combine(), samples, pairs))
            }
            Weights::Parameters | Weights::Mask(_) => Road::Gradient,
        };
        self.gradients.shapes().iter().map(of).collect()
    }

    /// Shows to `each`, in order, some rows of the similarities of all rows `x` with all rows `y` (with `x` itself where
    /// there are none), `[N, M]` or with pairs of outputs `[N, M, r, r]`; as many rows at a time as the context's budget
    /// has room for. With `normal`, of gradients that are normalised by their extents on both sides.
    ///
    /// # Errors
    /// [`Error::Shape`] for rows that do not fit the network; [`Error::Memory`], [`Error::Cancelled`],
    /// [`Error::NonFinite`]; what the data, the engine and `each` say.
    pub fn matrix(
        &self,
        x: &Dataset,
        y: Option<&Dataset>,
        normal: Option<(&[Extent], &[Extent])>,
        context: &Context,
        mut each: impl FnMut(Range<usize>, &[E::Scalar]) -> Result<()>,
    ) -> Result<()> {
        let dimension = self.gradients.program().dimension();
        std::iter::once(x).chain(y).try_for_each(|data| data.check_rows(dimension))?;
        let columns = y.map_or(x.len(), Dataset::len);
        let mut checked = |range: Range<usize>, values: &mut [E::Scalar]| {
            if let Some((of_x, of_y)) = normal {
                normalize(&of_x[range.clone()], of_y, values);
            }
            let row = columns * self.elements();
            if let Some(at) = values.iter().position(|value| !value.f64().is_finite()) {
                let what = "the matrix of similarities".to_owned();
                return Err(Error::NonFinite { what, row: range.start + at / row.max(1) });
            }
            each(range, values)
        };
        if self.metric.is_projected() {
            return self.of_projections(x, y, normal, context, checked);
        }
        let plan = self.plan(x.len(), y.map(Dataset::len), context.memory())?;
        let (samples, rows) = (x.len(), self.gradients.rows());
        let engine = self.gradients.program().engine();
        let roads = self.roads_of(x.len(), y.map(Dataset::len));
        context.progress().start("pairs of samples and layers", self.work(samples, columns, &plan));
        for strip in Chunks::new(samples, plan.strip).iter() {
            let mut gram = engine.gram(strip.len() * rows, columns * rows)?;
            for group in &plan.groups {
                let left = self.hold(x, strip.clone(), group.clone(), &roads, &plan, context)?;
                if plan.half {
                    for (i, (row, x)) in left.iter().enumerate() {
                        for (j, (column, y)) in left.iter().enumerate().skip(i) {
                            self.add(&mut gram, (x, *row), (y, *column), i == j, context)?;
                        }
                    }
                    continue;
                }
                for window in Chunks::new(columns, plan.window).iter() {
                    let right =
                        self.hold(y.unwrap_or(x), window.clone(), group.clone(), &roads, &plan, context)?;
                    for (row, x) in &left {
                        for (column, y) in &right {
                            self.add(&mut gram, (x, *row), (y, window.start + column), false, context)?;
                        }
                    }
                }
            }
            let mut values = engine.gram_finish(gram)?;
            if plan.half {
                mirror(&mut values, columns * rows);
            }
            if rows > 1 {
                values = by_pairs(&values, [strip.len(), columns], rows);
            }
            checked(strip, &mut values)?;
        }
        context.progress().finish();
        Ok(())
    }

    /// The whole matrix `[N, M]`, in f64.
    ///
    /// # Errors
    /// As [`matrix`](Self::matrix); [`Error::Memory`] where it does not fit.
    pub fn whole(
        &self,
        x: &Dataset,
        y: Option<&Dataset>,
        normal: Option<(&[Extent], &[Extent])>,
        context: &Context,
    ) -> Result<Array2<f64>> {
        let columns = y.map_or(x.len(), Dataset::len) * self.elements();
        let bytes = (x.len() * columns * size_of::<f64>()) as u64;
        let budget = context.memory();
        if bytes > budget / 2 {
            let what = format!("a matrix of {} x {columns} similarities", x.len());
            return Err(Error::Memory { what, needed: 2 * bytes, budget });
        }
        let mut all = Array2::zeros((x.len(), columns));
        self.matrix(x, y, normal, &context.clone().with_memory(budget - bytes), |range, values| {
            let mut rows = all.slice_mut(ndarray::s![range, ..]);
            rows.iter_mut().zip(values).for_each(|(to, value)| *to = value.f64());
            Ok(())
        })?;
        Ok(all)
    }

    /// The similarity of each row with itself, `[N]`, of one number for each pair of samples.
    ///
    /// # Errors
    /// As [`matrix`](Self::matrix).
    pub fn selves(&self, x: &Dataset, normal: Option<&[Extent]>, context: &Context) -> Result<Vec<f64>> {
        let mut selves = Vec::with_capacity(x.len());
        for range in Chunks::new(x.len(), SELVES).iter() {
            let part = x.select_range(range.clone())?;
            let normal = normal.map(|all| (&all[range.clone()], &all[range.clone()]));
            let count = range.len();
            self.matrix(&part, None, normal, context, |rows, values| {
                selves.extend(rows.clone().map(|i| values[(i - rows.start) * count + i].f64()));
                Ok(())
            })?;
        }
        Ok(selves)
    }

    fn roads_of(&self, rows: usize, columns: Option<usize>) -> Vec<Road> {
        match columns {
            Some(columns) => self.roads(rows + columns, rows as u64 * columns as u64),
            None => self.roads(rows, rows as u64 * rows as u64 / 2),
        }
    }

    /// How a matrix is made within a memory budget; `columns` where they are other samples than the rows.
    ///
    /// # Errors
    /// As [`Demand::plan`]; what the engine says.
    pub fn plan(&self, rows: usize, columns: Option<usize>, budget: u64) -> Result<Plan> {
        let engine = self.gradients.program().engine();
        let scalar = size_of::<E::Scalar>() as u64;
        let roads = self.roads_of(rows, columns);
        let shapes = self.gradients.shapes().iter();
        let kept = shapes.zip(&roads).map(|(shape, &road)| shape.kept(road) as u64 * scalar);
        let elements = self.elements() as u64;
        // Columns laid out for a product.
        let laid_out = self.gradients.shapes().iter().map(|shape| shape.factors()).max().unwrap_or(0);
        Demand {
            rows,
            columns: columns.unwrap_or(rows),
            same: columns.is_none(),
            layers: kept.collect(),
            pair: elements * scalar * if elements > 1 { 3 } else { 2 },
            most_pairs: engine.largest_tensor() / (elements * scalar),
            making: self.gradients.making() + laid_out as u64 * scalar,
            at_once: self.gradients.at_once()?,
            scratch: self.gradients.program().scratch_bytes(),
        }
        .plan(budget)
    }

    fn work(&self, rows: usize, columns: usize, plan: &Plan) -> u64 {
        let pairs =
            if plan.half { rows as u64 * (rows as u64 + 1) / 2 } else { rows as u64 * columns as u64 };
        pairs * plan.groups.len() as u64
    }

    /// Makes what the samples of a range hold for some layers.
    fn hold(
        &self,
        data: &Dataset,
        range: Range<usize>,
        layers: Range<usize>,
        roads: &[Road],
        plan: &Plan,
        context: &Context,
    ) -> Result<Held<E>> {
        let program = self.gradients.program();
        let engine = program.engine();
        let scales: Vec<Option<Scale<E>>> =
            layers.clone().map(|layer| self.weights.scale(self.gradients, layer)).collect::<Result<_>>()?;
        let mut held = vec![];
        for chunk in Chunks::new(range.len(), plan.chunk).iter() {
            context.check()?;
            let rows = range.start + chunk.start..range.start + chunk.end;
            let x: TensorOf<E> = program.upload(data.rows(rows)?.view())?;
            let mut all = vec![];
            self.gradients.factors(&x, layers.clone(), |layer, factors| {
                let scale = scales[layer - layers.start].as_ref();
                all.extend(terms(engine, factors, self.gradients.combine(), roads[layer], scale)?);
                Ok(())
            })?;
            held.push((chunk.start, all));
        }
        Ok(held)
    }

    fn add(
        &self,
        gram: &mut E::Gram,
        (x, row): (&[FactorsOf<E>], usize),
        (y, column): (&[FactorsOf<E>], usize),
        upper: bool,
        context: &Context,
    ) -> Result<()> {
        let (engine, rows) = (self.gradients.program().engine(), self.gradients.rows());
        for (x, y) in x.iter().zip(y) {
            context.check()?;
            engine.gram_add(gram, (x, row * rows), (y, column * rows), upper)?;
        }
        let [down, across] = [x, y].map(|terms| terms.first().map_or(0, |of| of.right.rows()) as u64);
        context.progress().advance(if upper { down * (down + 1) / 2 } else { down * across });
        Ok(())
    }

    /// The same out of one number for each row, or layer and row.
    fn of_projections(
        &self,
        x: &Dataset,
        y: Option<&Dataset>,
        normal: Option<(&[Extent], &[Extent])>,
        context: &Context,
        mut each: impl FnMut(Range<usize>, &mut [E::Scalar]) -> Result<()>,
    ) -> Result<()> {
        let blocks = self.metric == Metric::Block;
        let left = projections(self.gradients, x, blocks, normal.map(|(of_x, _)| of_x), context)?;
        let right = match y {
            Some(y) => projections(self.gradients, y, blocks, normal.map(|(_, of_y)| of_y), context)?,
            None => left.clone(),
        };
        let (rows, columns) = (self.gradients.rows(), right.nrows() / self.gradients.rows());
        let row = (columns * rows * rows * (size_of::<f64>() + 2 * size_of::<E::Scalar>())) as u64;
        let held = ((left.len() + right.len()) * size_of::<f64>()) as u64;
        let chunks = Chunks::within("a row of similarities", x.len(), row, held, context.memory(), 1024)?;
        for range in chunks.iter() {
            context.check()?;
            let part: ArrayView2<'_, f64> = left.slice(ndarray::s![range.start * rows..range.end * rows, ..]);
            let products = part.dot(&right.t());
            let mut values: Vec<E::Scalar> = products.iter().map(|&value| E::Scalar::of(value)).collect();
            if rows > 1 {
                values = by_pairs(&values, [range.len(), columns], rows);
            }
            each(range, &mut values)?;
        }
        Ok(())
    }
}

/// Fills the lower half of a square matrix with the upper one.
fn mirror<S: Copy>(values: &mut [S], side: usize) {
    const SQUARE: usize = 32;
    for top in (0..side).step_by(SQUARE) {
        for left in (0..=top).step_by(SQUARE) {
            for i in top..side.min(top + SQUARE) {
                for j in left..i.min(left + SQUARE) {
                    values[i * side + j] = values[j * side + i];
                }
            }
        }
    }
}

/// `[N, r, M, r]` as `[N, M, r, r]`.
fn by_pairs<S: Copy>(values: &[S], [samples, columns]: [usize; 2], rows: usize) -> Vec<S> {
    let mut all = Vec::with_capacity(values.len());
    for (n, m) in (0..samples).flat_map(|n| (0..columns).map(move |m| (n, m))) {
        for k in 0..rows {
            let start = ((n * rows + k) * columns + m) * rows;
            all.extend_from_slice(&values[start..start + rows]);
        }
    }
    all
}

/// Similarities of normalised gradients `(g - low) / size` out of those of the gradients.
fn normalize<S: Scalar>(x: &[Extent], y: &[Extent], values: &mut [S]) {
    for (a, row) in x.iter().zip(values.chunks_exact_mut(y.len().max(1))) {
        for (b, value) in y.iter().zip(row) {
            *value = S::of(a.similarity(b, value.f64()));
        }
    }
}
