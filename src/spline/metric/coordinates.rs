//! Points and jets in the coordinates of a metric, on an engine.

use std::ops::Range;

use crate::engine::{Arithmetic, Engine, Epilogue, Jets, JetsOf, SplineEngine, TensorOf};
use crate::spline::{JetSource, Unchecked};
use crate::{Result, Scalar};

use super::{LowRank, Metric};

/// The coordinates `z = A x` of a metric `P = A^T A`.
pub struct Coordinates<E: Engine> {
    engine: E,
    count: usize,
    points: Map<E>,
    slopes: Map<E>,
}

/// A linear map of the last axis.
enum Map<E: Engine> {
    Identity,
    /// Elements times factors `[1, D]`.
    Scale(TensorOf<E>),
    /// A product with `[D, r]`.
    Project(E::Matrix),
    /// `factor x + (x @ down) @ up`, with `[D, r]` and `[r, D]`: twice the rank for each element, not its dimension.
    Update {
        factor: TensorOf<E>,
        down: E::Matrix,
        up: E::Matrix,
    },
}

impl<E: Engine> Coordinates<E> {
    /// The coordinates of points of `dimension` elements.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) for a metric of other points; what the engine says.
    pub fn new(engine: &E, metric: &Metric, dimension: usize) -> Result<Self> {
        metric.check(dimension)?;
        let map = |power: f64| Map::new(engine, metric, dimension, power);
        let (points, slopes) = (map(0.5)?, map(-0.5)?);
        Ok(Self { engine: engine.clone(), count: metric.coordinates(dimension), points, slopes })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Points `[N, D]` in these coordinates `[N, r]`.
    ///
    /// # Errors
    /// What the engine says.
    pub fn points(&self, x: &TensorOf<E>) -> Result<TensorOf<E>> {
        self.points.apply(&self.engine, x)
    }

    /// Jacobians `[N, K, D]` with respect to these coordinates `[N, K, r]`.
    ///
    /// # Errors
    /// What the engine says.
    pub fn slopes(&self, jacobians: &TensorOf<E>) -> Result<TensorOf<E>> {
        let &[n, k, d] = jacobians.shape() else { unreachable!("jets have Jacobians [N, K, D]") };
        self.slopes.apply(&self.engine, &jacobians.reshaped([n * k, d])?)?.reshaped([n, k, self.count])
    }
}

impl<E: Engine> Map<E> {
    /// `P` to a power: 1/2 for points, -1/2 for slopes.
    fn new(engine: &E, metric: &Metric, dimension: usize, power: f64) -> Result<Self> {
        let scalars = |values: Vec<f64>| values.into_iter().map(E::Scalar::of).collect::<Vec<_>>();
        Ok(match metric {
            Metric::Identity => Self::Identity,
            Metric::Diagonal(weights) => {
                let factors = scalars(weights.iter().map(|w| w.powf(power)).collect());
                Self::Scale(engine.upload(&factors, &[1, dimension])?)
            }
            Metric::LowRank(LowRank { basis, weights, rest }) => {
                let rank = weights.len();
                // [D, r], column j times factor(weight j)
                let down = |factor: &dyn Fn(f64) -> f64| {
                    let mut columns = vec![0.0; dimension * rank];
                    for (j, (row, &weight)) in basis.chunks_exact(dimension).zip(weights).enumerate() {
                        for (i, q) in row.iter().enumerate() {
                            columns[i * rank + j] = q * factor(weight);
                        }
                    }
                    engine.matrix(&scalars(columns), dimension, rank)
                };
                if *rest == 0.0 {
                    Self::Project(down(&|weight| weight.powf(power))?)
                } else {
                    let rest = rest.powf(power);
                    Self::Update {
                        factor: engine.upload(&[E::Scalar::of(rest)], &[1, 1])?,
                        down: down(&|weight| weight.powf(power) - rest)?,
                        up: engine.matrix(&scalars(basis.clone()), rank, dimension)?,
                    }
                }
            }
        })
    }

    fn apply(&self, engine: &E, x: &TensorOf<E>) -> Result<TensorOf<E>> {
        match self {
            Self::Identity => Ok(x.clone()),
            Self::Scale(factors) => engine.arithmetic(Arithmetic::Mul, x, factors),
            Self::Project(matrix) => engine.matmul(x, None, matrix, Epilogue::NONE),
            Self::Update { factor, down, up } => {
                let along = engine.matmul(x, None, down, Epilogue::NONE)?;
                let along = engine.matmul(&along, None, up, Epilogue::NONE)?;
                let rest = engine.arithmetic(Arithmetic::Mul, x, factor)?;
                engine.arithmetic(Arithmetic::Add, &rest, &along)
            }
        }
    }
}

/// Jets of a source in the coordinates of a metric, with their slopes multiplied by a factor.
///
/// With a factor below 1 a piece is flatter than its tangent; what comes out is as max-affine as before, but bounds
/// nothing.
pub struct Placed<'a, E: SplineEngine> {
    source: &'a dyn JetSource<E>,
    coordinates: Coordinates<E>,
    slopes: f64,
}

impl<'a, E: SplineEngine> Placed<'a, E> {
    /// The jets of `source`.
    ///
    /// # Errors
    /// As [`Coordinates::new`].
    pub fn new(source: &'a dyn JetSource<E>, metric: &Metric, slopes: f64) -> Result<Self> {
        let coordinates = Coordinates::new(source.engine(), metric, source.dimension())?;
        Ok(Self { source, coordinates, slopes })
    }
}

impl<E: SplineEngine> JetSource<E> for Placed<'_, E> {
    fn engine(&self) -> &E {
        self.source.engine()
    }

    fn anchors(&self) -> usize {
        self.source.anchors()
    }

    fn dimension(&self) -> usize {
        self.coordinates.count()
    }

    fn elements(&self) -> usize {
        self.source.elements()
    }

    fn outputs(&self) -> usize {
        self.source.outputs()
    }

    fn bytes_to_make(&self) -> u64 {
        // The jet as it was, and what a metric of low rank holds in between.
        let jet = (self.outputs() + 1) * (self.source.dimension() + 1);
        self.source.bytes_to_make() + (2 * jet * size_of::<E::Scalar>()) as u64
    }

    fn scratch_bytes(&self) -> u64 {
        self.source.scratch_bytes()
    }

    fn most_jets(&self) -> Result<usize> {
        self.source.most_jets()
    }

    fn block(&self, range: Range<usize>) -> Result<(JetsOf<E>, Unchecked<E>)> {
        let (jets, unchecked) = self.source.block(range)?;
        let mut jacobians = self.coordinates.slopes(&jets.jacobians)?;
        if self.slopes != 1.0 {
            let factor = self.engine().upload(&[E::Scalar::of(self.slopes)], &[1, 1, 1])?;
            jacobians = self.engine().arithmetic(Arithmetic::Mul, &jacobians, &factor)?;
        }
        let points = self.coordinates.points(&jets.points)?;
        Ok((Jets { points, values: jets.values, jacobians }, unchecked))
    }

    fn place(&self, points: TensorOf<E>) -> Result<TensorOf<E>> {
        self.coordinates.points(&self.source.place(points)?)
    }

    fn center(&self) -> Result<Vec<f64>> {
        let center: Vec<E::Scalar> = self.source.center()?.into_iter().map(E::Scalar::of).collect();
        let center = self.engine().upload(&center, &[1, center.len()])?;
        let placed = self.engine().download(&self.coordinates.points(&center)?)?;
        Ok(placed.into_iter().map(Scalar::f64).collect())
    }
}
