//! Splines at the pixels of a picture.

use ndarray::Array2;
use rayon::prelude::*;

use crate::data::Dataset;
use crate::engine::{Context, Cpu, Curvature, Engine, Jets, Search, SliceValues, SplineEngine, TensorOf};
use crate::spline::evaluate::soft_spec;
use crate::spline::metric::{Coordinates, Placed};
use crate::spline::planes::{Half, check};
use crate::spline::{
    Demand, Form, HeldJets, JetSource, Metric, Planes, Selection, Softness, Spline, Tangents, soft_envelopes,
};
use crate::{Error, Result, Scalar};

use super::planes::{check_length, planes, projected};
use super::{Frame, Slice, dot};

/// One output of a spline, or of its certificate, on a slice: laid out on an engine.
///
/// In the coordinates `z = A x` of the spline's metric a slice is a slice, so that all forms come down to planes of three
/// coefficients; soft splines to tangents in three coordinates, two along the slice and the distance from it.
pub struct Sliced<E: SplineEngine> {
    engine: E,
    pieces: Pieces<E>,
    curvature: Curvature,
}

enum Pieces<E: SplineEngine> {
    Hard {
        /// The convex half, and the concave one negated.
        halves: [Maximum<E>; 2],
        /// What to take from the convex half, and to add to the concave one, of `|s u + t v|^2 / 2`.
        bends: [f64; 2],
        /// `u . u`, `u . v` and `v . v` in the metric.
        form: [f64; 3],
    },
    Soft {
        jets: HeldJets<E>,
        softness: Softness,
        frame: Frame,
    },
}

/// The largest of planes.
struct Maximum<E: SplineEngine> {
    planes: TensorOf<E>,
    /// The same `[M, 3]`.
    held: Vec<E::Scalar>,
    /// The pieces that they are, where those are not all.
    numbers: Option<Vec<u32>>,
}

/// One output of a spline at the pixels of a picture; all arrays `[H, W]`, row 0 at the top.
#[derive(Debug, Clone, PartialEq)]
pub struct SliceImage<S> {
    /// The spline.
    pub value: Vec<S>,
    /// The lower envelope `L`; of a spline with pieces of its own the convex half.
    pub lower: Vec<S>,
    /// The upper envelope `U`; of a spline with pieces of its own the concave half.
    pub upper: Vec<S>,
    /// The piece that is active in the convex half (the lower envelope); `u32::MAX` where the spline is soft.
    pub convex_piece: Vec<u32>,
    /// The piece that is active in the concave half (the upper envelope).
    pub concave_piece: Vec<u32>,
    /// Pairs of pixel and plane that were compared, in both halves together.
    pub scored: u64,
}

impl<E: SplineEngine> Sliced<E> {
    /// One output (as counted in the spline) of a spline on a slice of the space of its data.
    ///
    /// # Errors
    /// As [`planes`]; [`Error::Argument`] for a soft spline whose halves have different anchors.
    pub fn new(
        spline: &Spline,
        source: &dyn JetSource<E>,
        slice: &Slice,
        output: usize,
        context: &Context,
    ) -> Result<Self> {
        check_length(slice, source.elements())?;
        let curvature = *spline.curvature.get(output).ok_or_else(|| {
            Error::Argument(format!(
                "there is no output {output} of the {} of the spline",
                spline.curvature.len()
            ))
        })?;
        let inside = placed(slice, &spline.metric)?;
        let engine = source.engine();
        let pieces = match &spline.form {
            Form::Planes(own) => {
                check(own, spline.curvature.len(), inside.origin.len())?;
                let half = |half: &Half, sign: f64| {
                    let rows = own_planes(own, half, spline.curvature.len(), output, &inside, sign)?;
                    Maximum::new(engine, rows, &Selection::All)
                };
                let halves = [half(&own.lower, 1.0)?, half(&own.upper, -1.0)?];
                Pieces::Hard { halves, bends: [0.0; 2], form: form(&inside) }
            }
            Form::Tangents(tangents) => {
                let source = Placed::new(source, &spline.metric, tangents.slopes)?;
                match tangents.softness {
                    Softness::Hard => hard(&source, tangents, &inside, output, curvature, context)?,
                    softness => {
                        tangents.check_soft()?;
                        let jets = held(engine, &projected(&source, &inside, output, context)?)?;
                        Pieces::Soft { jets, softness, frame: inside.frame() }
                    }
                }
            }
        };
        Ok(Self { engine: engine.clone(), pieces, curvature })
    }

    /// The certificate of one output: its lower and upper bound are those of the image.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn certificate(
        spline: &Spline,
        source: &dyn JetSource<E>,
        slice: &Slice,
        output: usize,
        context: &Context,
    ) -> Result<Self> {
        let curvature = spline.certificate.curvature.clone();
        let (metric, form) = (Metric::Identity, Form::Tangents(Tangents::default()));
        let unmodified = Spline { metric, curvature, form, certificate: spline.certificate.clone() };
        Self::new(&unmodified, source, slice, output, context)
    }

    /// Whether it has active pieces: soft splines have none.
    pub fn has_pieces(&self) -> bool {
        matches!(self.pieces, Pieces::Hard { .. })
    }

    /// Bytes that [`image`](Self::image) holds, whatever the picture.
    pub fn scratch(&self) -> u64 {
        self.engine.spline_scratch()
    }

    /// Bytes that [`image`](Self::image) holds for each pixel.
    pub fn bytes_per_pixel() -> u64 {
        // Values and pieces; of soft splines points instead of pieces.
        (6 * size_of::<E::Scalar>() + 2 * size_of::<u32>()) as u64
    }

    /// The spline at all pairs of `s` in `across` and `t` in `up`, both monotonous: a picture has them from the left to
    /// the right and from the top down, as [`pixels`](super::pixels) does.
    ///
    /// # Errors
    /// [`Error::Memory`] where the picture does not fit; [`Error::Cancelled`]; what the engine says.
    pub fn image(
        &self,
        across: &[E::Scalar],
        up: &[E::Scalar],
        context: &Context,
    ) -> Result<SliceImage<E::Scalar>> {
        let (width, height) = (across.len(), up.len());
        let picture = (width as u64).saturating_mul(height as u64).saturating_mul(Self::bytes_per_pixel());
        let (needed, budget) = (picture.saturating_add(self.scratch()), context.memory());
        if needed > budget {
            return Err(Error::Memory {
                what: format!("a picture of {width}x{height} pixels"),
                needed,
                budget,
            });
        }
        match &self.pieces {
            Pieces::Hard { halves, bends, form } => self.hard(halves, *bends, *form, across, up, context),
            Pieces::Soft { jets, softness, frame } => self.soft(jets, *softness, *frame, across, up, context),
        }
    }

    fn hard(
        &self,
        halves: &[Maximum<E>; 2],
        bends: [f64; 2],
        [uu, uv, vv]: [f64; 3],
        across: &[E::Scalar],
        up: &[E::Scalar],
        context: &Context,
    ) -> Result<SliceImage<E::Scalar>> {
        let half = |half: &Maximum<E>| {
            context.check()?;
            let mut values = self.engine.slice(&half.planes, across, up, Search::Pruned)?;
            if let Some(numbers) = &half.numbers {
                values.pieces.par_iter_mut().for_each(|piece| *piece = numbers[*piece as usize]);
            }
            Ok::<_, Error>(values)
        };
        let SliceValues { values: mut lower, pieces: convex_piece, scored: convex } = half(&halves[0])?;
        let SliceValues { values: mut upper, pieces: concave_piece, scored: concave } = half(&halves[1])?;
        let [low, high] = self.curvature.weights();
        let mut value = vec![E::Scalar::default(); lower.len()];
        let row = across.len().max(1);
        let halves = lower.par_chunks_mut(row).zip(upper.par_chunks_mut(row));
        value.par_chunks_mut(row).zip(halves).zip(up).for_each(|((value, (lower, upper)), t)| {
            let pixels = value.iter_mut().zip(lower.iter_mut().zip(upper)).zip(across);
            for ((value, (lower, upper)), s) in pixels {
                let (s, t, convex, concave) = (s.f64(), t.f64(), lower.f64(), -upper.f64());
                let half_squared = (uu * s * s + 2.0 * uv * s * t + vv * t * t) / 2.0;
                // The quadratics cancel.
                *value = E::Scalar::of(low * convex + high * concave);
                *lower = E::Scalar::of(convex - bends[0] * half_squared);
                *upper = E::Scalar::of(concave + bends[1] * half_squared);
            }
        });
        Ok(SliceImage { value, lower, upper, convex_piece, concave_piece, scored: convex + concave })
    }

    fn soft(
        &self,
        jets: &HeldJets<E>,
        softness: Softness,
        frame: Frame,
        across: &[E::Scalar],
        up: &[E::Scalar],
        context: &Context,
    ) -> Result<SliceImage<E::Scalar>> {
        let count = across.len() * up.len();
        let empty = || vec![E::Scalar::default(); count];
        let (mut lower, mut upper) = (empty(), empty());
        let spec = soft_spec(softness, &[self.curvature]);
        if count > 0 {
            let points = up.iter().flat_map(|t| {
                across.iter().flat_map(move |s| {
                    let [x, y] = frame.point(s.f64(), t.f64());
                    [x, y, 0.0].map(E::Scalar::of)
                })
            });
            let points = Array2::from_shape_vec((count, 3), points.collect())
                .map_err(|e| Error::Shape(e.to_string()))?;
            let points = Dataset::from_array(points.view())?;
            let demand = Demand { bytes_per_point: 0, bytes: count as u64 * Self::bytes_per_pixel() };
            soft_envelopes(jets, &points, &spec, demand, context, |range, soft| {
                let (low, high) = if spec.halves.is_empty() {
                    (&soft.nearest, &soft.nearest)
                } else {
                    (&soft.lower, &soft.upper)
                };
                lower[range.clone()].copy_from_slice(low);
                upper[range].copy_from_slice(high);
                Ok(())
            })?;
        }
        let [low, high] = self.curvature.weights();
        let mixed = lower.iter().zip(&upper).map(|(l, u)| E::Scalar::of(low * l.f64() + high * u.f64()));
        let none = vec![u32::MAX; count];
        let scored = (count * jets.anchors()) as u64;
        let value = mixed.collect();
        Ok(SliceImage { value, lower, upper, convex_piece: none.clone(), concave_piece: none, scored })
    }

    /// The slopes of the spline along `s` and `t` at a pixel, by its active pieces.
    ///
    /// # Panics
    /// For pieces that [`image`](Self::image) has not named.
    pub fn slope(&self, convex_piece: u32, concave_piece: u32) -> [f64; 2] {
        let Pieces::Hard { halves, .. } = &self.pieces else { panic!("a soft spline has no active pieces") };
        let [low, high] = self.curvature.weights();
        let [p, q] = [halves[0].slope(convex_piece), halves[1].slope(concave_piece)];
        [low * p[0] - high * q[0], low * p[1] - high * q[1]]
    }
}

impl<E: SplineEngine> Maximum<E> {
    /// Of planes `[M, 3]` those that are selected.
    fn new(engine: &E, all: Vec<E::Scalar>, selection: &Selection) -> Result<Self> {
        let (held, numbers) = match selection {
            Selection::All => (all, None),
            Selection::Some(chosen) => {
                let rows = chosen.iter().flat_map(|&i| &all[3 * i as usize..][..3]);
                (rows.copied().collect(), Some(chosen.clone()))
            }
        };
        Ok(Self { planes: engine.upload(&held, &[held.len() / 3, 3])?, held, numbers })
    }

    fn slope(&self, piece: u32) -> [f64; 2] {
        let at = self.numbers.as_ref().map_or(Ok(piece as usize), |numbers| numbers.binary_search(&piece));
        let at = 3 * at.unwrap_or_else(|_| panic!("piece {piece} is not in this half"));
        [self.held[at].f64(), self.held[at + 1].f64()]
    }
}

fn hard<E: SplineEngine>(
    source: &Placed<'_, E>,
    tangents: &Tangents,
    slice: &Slice,
    output: usize,
    curvature: Curvature,
    context: &Context,
) -> Result<Pieces<E>> {
    let [lower, upper] = planes(source, slice, output, curvature, context)?;
    let halves = [
        Maximum::new(source.engine(), lower, &tangents.lower)?,
        Maximum::new(source.engine(), upper, &tangents.upper)?,
    ];
    Ok(Pieces::Hard { halves, bends: [curvature.a, curvature.b], form: form(slice) })
}

/// The slice in the coordinates of a metric.
fn placed(slice: &Slice, metric: &Metric) -> Result<Slice> {
    if *metric == Metric::Identity {
        return Ok(slice.clone());
    }
    let engine = Cpu::<f64>::new();
    let dimension = slice.origin.len();
    let coordinates = Coordinates::new(&engine, metric, dimension)?;
    let rows = [&slice.origin[..], &slice.u, &slice.v].concat();
    let all = engine.download(&coordinates.points(&engine.upload(&rows, &[3, dimension])?)?)?;
    let row = |i: usize| all[i * coordinates.count()..(i + 1) * coordinates.count()].to_vec();
    Ok(Slice { origin: row(0), u: row(1), v: row(2) })
}

fn form(Slice { u, v, .. }: &Slice) -> [f64; 3] {
    [dot(u, u), dot(u, v), dot(v, v)]
}

/// The planes `[M, 3]` of a half's own pieces on a slice in the coordinates of the metric, times `sign`.
fn own_planes<S: Scalar>(
    planes: &Planes,
    half: &Half,
    outputs: usize,
    output: usize,
    slice: &Slice,
    sign: f64,
) -> Result<Vec<S>> {
    let (d, m) = (planes.dimension(), planes.pieces(outputs));
    let from_center: Vec<f64> = slice.origin.iter().zip(&planes.center).map(|(x, c)| x - c).collect();
    let slopes = half.slopes[output * m * d..][..m * d].chunks_exact(d);
    let rows = slopes.zip(&half.offsets[output * m..][..m]).flat_map(|(slope, &offset)| {
        let along = |x: &[f64]| slope.iter().zip(x).map(|(p, x)| f64::from(*p) * x).sum::<f64>();
        [along(&slice.u), along(&slice.v), along(&from_center) + f64::from(offset)].map(|c| S::of(sign * c))
    });
    let rows: Vec<S> = rows.collect();
    match rows.iter().position(|c| !c.f64().is_finite()) {
        None => Ok(rows),
        Some(at) => Err(Error::NonFinite { what: "the planes of a slice".to_owned(), row: at / 3 }),
    }
}

/// Jets `[M, 7]` (three coordinates, a value, three slopes) on an engine.
fn held<E: SplineEngine>(engine: &E, jets: &[[f64; 7]]) -> Result<HeldJets<E>> {
    let columns = |range: std::ops::Range<usize>| -> Vec<E::Scalar> {
        jets.iter().flat_map(|jet| &jet[range.clone()]).map(|&x| E::Scalar::of(x)).collect()
    };
    let count = jets.len();
    let points = engine.upload(&columns(0..3), &[count, 3])?;
    let values = engine.upload(&columns(3..4), &[count, 1])?;
    let jacobians = engine.upload(&columns(4..7), &[count, 1, 3])?;
    Ok(HeldJets::new(engine, Jets { points, values, jacobians }))
}
