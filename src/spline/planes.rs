//! Affine pieces of a spline's own: no longer tangents of the network.

use ndarray::ArrayView2;

use crate::engine::plan::Chunks;
use crate::engine::{
    Arithmetic, Context, Curvature, MaxAffineSpec, MaxAffineValues, Search, SplineEngine, TensorOf,
};
use crate::{Error, Result, Scalar};

use super::JetSource;
use super::evaluate::Values;

/// Affine pieces of both halves, in the coordinates `z` of the spline's metric: of output `k` the lower half is
/// `max_i (p_ki . (z - center) + q_ki)`, the upper half the minimum of its own pieces.
///
/// Both stand for the network itself: the quadratics that bent the halves cancel in their weighted mean, and are left
/// out.
#[derive(Debug, Clone, PartialEq)]
pub struct Planes {
    /// Where pieces are measured from `[r]`; keeps products small, and so their rounding.
    pub center: Vec<f64>,
    /// The lower half.
    pub lower: Half,
    /// The upper half.
    pub upper: Half,
}

/// Affine pieces of one half, equally many of each output.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Half {
    /// `[K, M, r]`
    pub slopes: Vec<f32>,
    /// `[K, M]`
    pub offsets: Vec<f32>,
}

impl Planes {
    /// The pieces that tangents make in the coordinates of a source: with
    /// `p_i = J_i + a z_i` those of `max_i T_i - (a/2) d_i^2 + (a/2) |z|^2`, and likewise with `-b`.
    ///
    /// # Errors
    /// [`Error::Memory`] where they do not fit, [`Error::Cancelled`]; what the source says.
    pub fn of_tangents<E: SplineEngine>(
        source: &dyn JetSource<E>,
        curvature: &[Curvature],
        context: &Context,
    ) -> Result<Self> {
        let (m, k, d) = (source.anchors(), source.outputs(), source.dimension());
        let needed = (2 * k * m * (d + 1) * size_of::<f32>()) as u64;
        let jet = (2 * (k + 1) * (d + 1) * size_of::<E::Scalar>()) as u64 + source.bytes_to_make();
        let (fixed, budget) = (needed + source.scratch_bytes(), context.memory());
        let blocks = Chunks::within(
            "affine pieces of its own",
            m,
            jet,
            fixed,
            budget,
            source.most_jets()?.min(1 << 10),
        )?;
        let center = source.center()?;
        let empty = || Half { slopes: vec![0.0; k * m * d], offsets: vec![0.0; k * m] };
        let mut planes = Self { center, lower: empty(), upper: empty() };
        let engine = source.engine();
        for block in blocks.iter() {
            context.check()?;
            let (jets, unchecked) = source.block(block.clone())?;
            let [points, values, slopes] =
                [&jets.points, &jets.values, &jets.jacobians].map(|t| engine.download(t));
            let (points, values, slopes) = (points?, values?, slopes?);
            unchecked.check(engine)?;
            for (n, i) in block.enumerate() {
                let from_center = points[n * d..][..d].iter().zip(&planes.center).map(|(x, c)| x.f64() - c);
                let z: Vec<f64> = from_center.collect();
                let squared: f64 = z.iter().map(|z| z * z).sum();
                for (output, curvature) in curvature.iter().enumerate() {
                    let at = output * m + i;
                    let slope = &slopes[(n * k + output) * d..][..d];
                    let along: f64 = slope.iter().zip(&z).map(|(p, z)| p.f64() * z).sum();
                    let offset = values[n * k + output].f64() - along;
                    for (half, bend) in [(&mut planes.lower, curvature.a), (&mut planes.upper, -curvature.b)]
                    {
                        let to = &mut half.slopes[at * d..][..d];
                        for ((to, slope), z) in to.iter_mut().zip(slope).zip(&z) {
                            *to = (slope.f64() + bend * z) as f32;
                        }
                        half.offsets[at] = (offset - bend / 2.0 * squared) as f32;
                    }
                }
            }
        }
        Ok(planes)
    }

    /// `r`, the coordinates of a point.
    pub fn dimension(&self) -> usize {
        self.center.len()
    }

    /// `M`, the pieces of each half, of splines with so many outputs.
    pub fn pieces(&self, outputs: usize) -> usize {
        self.lower.offsets.len() / outputs.max(1)
    }

    /// Lays them out on an engine.
    pub(super) fn prepare<E: SplineEngine>(&self, engine: &E, outputs: usize) -> Result<Prepared<E>> {
        let (d, m) = (self.dimension(), self.pieces(outputs));
        let center: Vec<E::Scalar> = self.center.iter().map(|&c| E::Scalar::of(c)).collect();
        let half = |half: &Half, sign: f64| {
            let tensors = half.slopes.chunks_exact(m * d).zip(half.offsets.chunks_exact(m));
            tensors
                .map(|(slopes, offsets)| {
                    let scaled = |values: &[f32], by: f64| -> Vec<E::Scalar> {
                        values.iter().map(|&v| E::Scalar::of(by * f64::from(v))).collect()
                    };
                    // The kernel subtracts conjugates and takes maxima.
                    let slopes = engine.upload(&scaled(slopes, sign), &[m, d])?;
                    Ok((slopes, engine.upload(&scaled(offsets, -sign), &[m])?))
                })
                .collect::<Result<Vec<_>>>()
        };
        Ok(Prepared {
            center: engine.upload(&center, &[1, d])?,
            halves: [half(&self.lower, 1.0)?, half(&self.upper, -1.0)?],
        })
    }
}

/// Planes on an engine; those of the upper half negated.
pub(super) struct Prepared<E: SplineEngine> {
    center: TensorOf<E>,
    /// Slopes and conjugates of each output.
    halves: [Vec<(TensorOf<E>, TensorOf<E>)>; 2],
}

impl<E: SplineEngine> Prepared<E> {
    /// Both halves at points `[n, D]` in the elements of the data.
    pub(super) fn values(
        &self,
        placed: &dyn JetSource<E>,
        points: ArrayView2<'_, E::Scalar>,
        search: Search,
    ) -> Result<Values<E::Scalar>> {
        let engine = placed.engine();
        let rows = points.as_standard_layout();
        let shape = [points.nrows(), points.ncols()];
        let x = engine.upload(rows.as_slice().unwrap_or_default(), &shape)?;
        let z = engine.arithmetic(Arithmetic::Sub, &placed.place(x)?, &self.center)?;
        let (count, outputs) = (points.nrows(), self.halves[0].len());
        let mut values = Values::empty(count * outputs);
        for k in 0..outputs {
            let half = |half: usize| {
                let (slopes, conjugates) = &self.halves[half][k];
                let spec = MaxAffineSpec { top: 1, pieces: true, search };
                engine.max_affine(slopes, conjugates, &z, &spec)
            };
            let (lower, upper): (MaxAffineValues<_>, MaxAffineValues<_>) = (half(0)?, half(1)?);
            for n in 0..count {
                let at = n * outputs + k;
                values.lower[at] = lower.values[n];
                values.upper[at] = -upper.values[n];
                values.convex_piece[at] = lower.pieces[n];
                values.concave_piece[at] = upper.pieces[n];
            }
            values.scored += (lower.scored + upper.scored) as f64 / 2.0;
        }
        Ok(values)
    }
}

/// # Errors
/// [`Error::Shape`] where planes are not those of so many outputs and coordinates.
pub(super) fn check(planes: &Planes, outputs: usize, dimension: usize) -> Result<()> {
    let fits = |half: &Half| {
        let pieces = half.offsets.len() / outputs.max(1);
        pieces > 0
            && half.offsets.len() == pieces * outputs
            && half.slopes.len() == half.offsets.len() * dimension
    };
    let alike = planes.lower.offsets.len() == planes.upper.offsets.len();
    if alike && planes.dimension() == dimension && fits(&planes.lower) && fits(&planes.upper) {
        return Ok(());
    }
    Err(Error::Shape(format!(
        "the spline's own pieces are not those of {outputs} outputs and {dimension} coordinates"
    )))
}
