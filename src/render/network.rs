//! Networks on planes.

use std::ops::Range;

use crate::engine::plan::overlapped;
use crate::engine::{Context, Engine};
use crate::network::{Network, Program};
use crate::spline::slice::{Frame, Slice};
use crate::{Result, Scalar};

use super::field::{check_one, check_points};
use super::{Band, Field, Quantity};

/// A network on a plane: only what comes behind its first affine layers is computed for each point.
pub struct NetworkField<E: Engine> {
    outputs: Sampled<E>,
    quantity: Quantity,
}

/// The chosen outputs of a network, whose inputs are the two coordinates of a plane.
pub(super) struct Sampled<E: Engine> {
    program: Program<E>,
    outputs: Vec<usize>,
}

impl<E: Engine> Sampled<E> {
    /// # Errors
    /// As [`Network::on_slice`] and [`Network::compile`].
    pub(super) fn new(engine: &E, network: &Network, slice: &Slice, outputs: &[usize]) -> Result<Self> {
        let program = network.on_slice(&slice.origin, &[&slice.u, &slice.v])?.compile(engine)?;
        Ok(Self { program, outputs: outputs.to_vec() })
    }

    /// Hands the chosen outputs at the points of a grid over, in rows and in order.
    pub(super) fn visit(
        &self,
        across: &[E::Scalar],
        up: &[E::Scalar],
        first: usize,
        context: &Context,
        mut each: impl FnMut(Range<usize>, &[E::Scalar]) -> Result<()>,
    ) -> Result<()> {
        let engine = self.program.engine();
        let chunks = self.program.chunks(across.len() * up.len(), None, context.memory())?;
        let is_all = self.outputs.iter().copied().eq(0..self.program.outputs());
        let chosen: Vec<u32> = self.outputs.iter().map(|&k| k as u32).collect();
        let start = |range: Range<usize>| {
            context.check()?;
            let points = points(across, up, range.clone());
            let values = self.program.forward(&engine.upload(&points, &[range.len(), 2])?)?;
            engine.request(&if is_all { values } else { engine.select(&values, 1, &chosen)? })
        };
        overlapped(engine, chunks, start, |range, request| {
            let values = engine.receive(request)?;
            check_points("network", &values, self.outputs.len(), first + range.start)?;
            each(range, &values)
        })
    }
}

/// The coordinates `[n, 2]` of points of a grid.
pub(super) fn points<S: Scalar>(across: &[S], up: &[S], range: Range<usize>) -> Vec<S> {
    range.flat_map(|i| [across[i % across.len()], up[i / across.len()]]).collect()
}

impl<E: Engine> NetworkField<E> {
    /// The chosen `outputs` of a network on a plane, laid out on an engine.
    ///
    /// # Errors
    /// As [`Network::on_slice`] and [`Network::compile`]; [`Error::Argument`](crate::Error::Argument) for an output that
    /// is not there or chosen twice, and where there are too few or too many for the quantity: one for a value, at least
    /// two else.
    pub fn new(
        engine: &E,
        network: &Network,
        slice: &Slice,
        quantity: Quantity,
        outputs: &[usize],
    ) -> Result<Self> {
        let sampled = Sampled::new(engine, network, slice, outputs)?;
        quantity.check(outputs, sampled.program.outputs())?;
        Ok(Self { outputs: sampled, quantity })
    }
}

impl<E: Engine> Field<E> for NetworkField<E> {
    fn is_categorical(&self) -> bool {
        self.quantity == Quantity::Class
    }

    fn band(&self, across: &[E::Scalar], up: &[E::Scalar], first: usize, context: &Context) -> Result<Band> {
        let mut band = self.quantity.empty(across.len() * up.len());
        self.outputs.visit(across, up, first, context, |_, values| {
            self.quantity.read(values, &self.outputs.outputs, &mut band);
            Ok(())
        })?;
        Ok(band)
    }
}

/// What of the slope of one output is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slope {
    /// The length of the part of the gradient along the plane: the steepest slope that the plane shows, in units of the
    /// output per unit of the input space.
    Norm,
    /// The direction in which the output grows the fastest along the plane, in degrees from `u` towards `v`, in
    /// `(-180, 180]`; lengths and angles are those of the input space.
    Direction,
    /// The length of the whole gradient, along all inputs.
    Gradient,
}

impl Slope {
    /// From the derivatives along `s` and `t`.
    pub(super) fn of(self, frame: Frame, derivatives: [f64; 2]) -> f32 {
        let [x, y] = frame.along(derivatives);
        (match self {
            Self::Direction => {
                let degrees = libm::atan2(y, x).to_degrees();
                // No minus before a zero, which would be half a turn away.
                if degrees <= -180.0 { 180.0 } else { degrees }
            }
            Self::Norm | Self::Gradient => libm::hypot(x, y),
        }) as f32
    }
}

/// The slope of one output of a network on a plane, by derivatives in the plane's two coordinates alone, or in all inputs
/// for the whole gradient.
pub struct SlopeField<E: Engine> {
    program: Program<E>,
    slope: Slope,
    slice: Slice,
    output: usize,
}

impl<E: Engine> SlopeField<E> {
    /// The slope of the one chosen output.
    ///
    /// # Errors
    /// As [`NetworkField::new`].
    pub fn new(
        engine: &E,
        network: &Network,
        slice: &Slice,
        slope: Slope,
        outputs: &[usize],
    ) -> Result<Self> {
        let output = check_one("the slope", outputs)?;
        let on_slice = network.on_slice(&slice.origin, &[&slice.u, &slice.v])?;
        let program = if slope == Slope::Gradient { network } else { &on_slice }.compile(engine)?;
        Quantity::Value.check(outputs, program.outputs())?;
        Ok(Self { program, slope, slice: slice.clone(), output })
    }

    /// The points as the program takes them.
    fn points(&self, across: &[E::Scalar], up: &[E::Scalar], range: Range<usize>) -> Vec<E::Scalar> {
        if self.slope != Slope::Gradient {
            return points(across, up, range);
        }
        let mut all = Vec::with_capacity(range.len() * self.program.dimension());
        for i in range {
            let point = self.slice.point(across[i % across.len()].f64(), up[i / across.len()].f64());
            all.extend(point.into_iter().map(E::Scalar::of));
        }
        all
    }
}

impl<E: Engine> Field<E> for SlopeField<E> {
    fn is_categorical(&self) -> bool {
        false
    }

    fn band(&self, across: &[E::Scalar], up: &[E::Scalar], first: usize, context: &Context) -> Result<Band> {
        let (engine, dimension) = (self.program.engine(), self.program.dimension());
        let total = across.len() * up.len();
        // Half of the budget for jets, the other for points and what comes back.
        let chunks = self.program.chunks(total, Some(1), context.memory() / 2)?;
        let frame = self.slice.frame();
        let mut numbers = Vec::with_capacity(total);
        let start = |range: Range<usize>| {
            context.check()?;
            let points = self.points(across, up, range.clone());
            let points = engine.upload(&points, &[range.len(), dimension])?;
            engine.request(&self.program.jets(&points, &[self.output])?.jacobians)
        };
        overlapped(engine, chunks, start, |range, request| {
            let slopes = engine.receive(request)?;
            check_points("slope of the network", &slopes, dimension, first + range.start)?;
            numbers.extend(slopes.chunks_exact(dimension).map(|slope| match (self.slope, slope) {
                (Slope::Gradient, _) => slope.iter().map(|p| p.f64() * p.f64()).sum::<f64>().sqrt() as f32,
                (_, slope) => self.slope.of(frame, [slope[0].f64(), slope[1].f64()]),
            }));
            Ok(())
        })?;
        Ok(Band::Numbers(numbers))
    }
}
