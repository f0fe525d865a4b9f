//! The pieces of a spline that are active at points: which they are, and their slopes.

use ndarray::ArrayView2;

use crate::data::Dataset;
use crate::engine::{Context, SplineEngine};
use crate::{Result, Scalar};

use super::evaluate::halves;
use super::jets::check_outputs;
use super::planes::Half;
use super::{Form, JetSource, Planes, Spline, Tangents};

/// A hard spline at points; all arrays `[N, K']`, of the chosen outputs.
#[derive(Debug, Clone, PartialEq)]
pub struct Active {
    /// The chosen outputs.
    pub outputs: Vec<usize>,
    /// The spline's values.
    pub values: Vec<f64>,
    /// The piece that is active in the convex half: an anchor, or one of the spline's own pieces.
    pub convex: Vec<u32>,
    /// The piece that is active in the concave half.
    pub concave: Vec<u32>,
}

/// What is active at one point; all arrays `[K', D]`, in the elements of the data.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ActiveRow {
    /// Slopes of the pieces of the convex halves.
    pub convex: Vec<f64>,
    /// Slopes of the pieces of the concave halves.
    pub concave: Vec<f64>,
    /// Slopes of the spline itself there.
    pub slopes: Vec<f64>,
}

/// Finds the active pieces of the chosen outputs at points.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) for a soft spline, which has no active pieces, or an output that is not there;
/// [`Error::Shape`](crate::Error::Shape) where rows do not fit; as [`evaluate`](super::evaluate()).
pub fn active<E: SplineEngine>(
    spline: &Spline,
    source: &dyn JetSource<E>,
    points: &Dataset,
    outputs: &[usize],
    context: &Context,
) -> Result<Active> {
    let all = source.outputs();
    check_outputs(outputs, all)?;
    let mut active = Active { outputs: outputs.to_vec(), values: vec![], convex: vec![], concave: vec![] };
    let held = (points.len() * outputs.len() * (size_of::<f64>() + 2 * size_of::<u32>())) as u64;
    halves(spline, source, points, held, context, |rows: ArrayView2<'_, E::Scalar>, values| {
        for (row, &k) in (0..rows.nrows()).flat_map(|row| outputs.iter().map(move |k| (row, k))) {
            let at = row * all + k;
            active.values.push(spline.value(k, values.lower[at].f64(), values.upper[at].f64()));
            active.convex.push(values.convex_piece[at]);
            active.concave.push(values.concave_piece[at]);
        }
        Ok(())
    })?;
    Ok(active)
}

impl Active {
    /// How many points there are.
    pub fn len(&self) -> usize {
        self.values.len() / self.outputs.len().max(1)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The slopes at point `n`.
    ///
    /// A piece of tangents has the slope `J_i + a P x_i` in the convex half and `J_i - b P x_i` in the concave half, with
    /// curvatures `(a, b)` and the metric `P`: those of the convex function `g + (a/2) |x|_P^2` and of the concave one
    /// `g - (b/2) |x|_P^2` at its anchor. Pieces of a spline's own have their own slopes, for which distances are measured
    /// from the middle of the anchors. Either way the spline's slope is the mean of both, weighed as its halves are.
    ///
    /// # Errors
    /// What the source says.
    pub fn slopes<E: SplineEngine>(
        &self,
        spline: &Spline,
        source: &dyn JetSource<E>,
        n: usize,
    ) -> Result<ActiveRow> {
        let count = self.outputs.len();
        let mut row = match &spline.form {
            Form::Tangents(tangents) => self.of_tangents(spline, tangents, source, n)?,
            Form::Planes(planes) => {
                let of = |half: &Half, pieces: &[u32]| -> Vec<f64> {
                    let pairs = self.outputs.iter().zip(&pieces[n * count..]);
                    pairs.flat_map(|(&k, &i)| own_slope(spline, planes, half, k, i as usize)).collect()
                };
                let (convex, concave) = (of(&planes.lower, &self.convex), of(&planes.upper, &self.concave));
                ActiveRow { convex, concave, slopes: vec![] }
            }
        };
        let dimension = row.convex.len() / count.max(1);
        let pairs = row.convex.iter().zip(&row.concave).enumerate();
        row.slopes =
            pairs.map(|(i, (low, high))| spline.value(self.outputs[i / dimension], *low, *high)).collect();
        Ok(row)
    }

    /// The anchors that are active at point `n` of a spline of tangents, each with its image `[D]`, ascending.
    ///
    /// # Errors
    /// What the source says.
    pub fn anchors<E: SplineEngine>(
        &self,
        source: &dyn JetSource<E>,
        n: usize,
    ) -> Result<Vec<(u32, Vec<f64>)>> {
        let image = |i: u32| {
            let (jets, unchecked) = source.block(i as usize..i as usize + 1)?;
            let image = source.engine().download(&jets.points)?.into_iter().map(Scalar::f64).collect();
            unchecked.check(source.engine())?;
            Ok((i, image))
        };
        self.at(n).into_iter().map(image).collect()
    }

    /// The pieces of both halves at point `n`, ascending, each once.
    fn at(&self, n: usize) -> Vec<u32> {
        let range = n * self.outputs.len()..(n + 1) * self.outputs.len();
        let mut pieces = [&self.convex[range.clone()], &self.concave[range]].concat();
        pieces.sort_unstable();
        pieces.dedup();
        pieces
    }

    fn of_tangents<E: SplineEngine>(
        &self,
        spline: &Spline,
        tangents: &Tangents,
        source: &dyn JetSource<E>,
        n: usize,
    ) -> Result<ActiveRow> {
        let (engine, count, d) = (source.engine(), self.outputs.len(), source.dimension());
        let empty = || vec![0.0; count * d];
        let mut row = ActiveRow { convex: empty(), concave: empty(), slopes: vec![] };
        for i in self.at(n) {
            let (jets, unchecked) = source.block(i as usize..i as usize + 1)?;
            let [points, jacobians] = [&jets.points, &jets.jacobians].map(|tensor| engine.download(tensor));
            unchecked.check(engine)?;
            let [points, jacobians] =
                [points?, jacobians?].map(|v| v.into_iter().map(Scalar::f64).collect::<Vec<_>>());
            let bent = spline.metric.apply(&points);
            for (at, &k) in self.outputs.iter().enumerate() {
                let slope = spline.metric.seen_slope(&jacobians[k * d..][..d]);
                let curvature = spline.curvature[k];
                let halves = [
                    (&mut row.convex, self.convex[n * count + at], curvature.a),
                    (&mut row.concave, self.concave[n * count + at], -curvature.b),
                ];
                for (to, _, bend) in halves.into_iter().filter(|(_, piece, _)| *piece == i) {
                    let to = to[at * d..][..d].iter_mut();
                    to.zip(&slope).zip(&bent).for_each(|((to, p), x)| *to = tangents.slopes * p + bend * x);
                }
            }
        }
        Ok(row)
    }
}

/// The slope of a piece of a spline's own, in the elements of the data.
fn own_slope(spline: &Spline, planes: &Planes, half: &Half, k: usize, i: usize) -> Vec<f64> {
    let (r, m) = (planes.dimension(), planes.pieces(spline.curvature.len()));
    let slope: Vec<f64> = half.slopes[(k * m + i) * r..][..r].iter().map(|&p| f64::from(p)).collect();
    spline.metric.slope_of_inputs(&slope)
}
