//! How often each piece is active.

use ndarray::ArrayView1;

use crate::data::Dataset;
use crate::engine::{Context, SplineEngine};
use crate::spline::evaluate::halves;
use crate::spline::jets::check_outputs;
use crate::spline::{JetSource, Spline};
use crate::{Error, Result, Scalar};

/// How often each piece is active at some points.
#[derive(Debug, Clone, PartialEq)]
pub struct Activity {
    /// In the convex half.
    pub convex: HalfActivity,
    /// In the concave half.
    pub concave: HalfActivity,
}

/// How often each piece of one half is active; `K` are the chosen outputs.
#[derive(Debug, Clone, PartialEq)]
pub struct HalfActivity {
    /// `M`
    pub pieces: usize,
    /// At how many points `[K, M]`; each output's sum is the number of points.
    pub counts: Vec<u64>,
    /// The mean of those points `[K, M, D]`, in the elements of the data; 0 for a piece that never is.
    pub means: Option<Vec<f64>>,
}

impl HalfActivity {
    fn empty(outputs: usize, pieces: usize, elements: Option<usize>) -> Self {
        let entries = outputs * pieces;
        Self { pieces, counts: vec![0; entries], means: elements.map(|d| vec![0.0; entries * d]) }
    }

    /// A point at which the piece of an entry is active.
    fn count<S: Scalar>(&mut self, entry: usize, x: ArrayView1<'_, S>) {
        self.counts[entry] += 1;
        if let Some(sums) = &mut self.means {
            let sum = &mut sums[entry * x.len()..][..x.len()];
            sum.iter_mut().zip(x).for_each(|(sum, x)| *sum += x.f64());
        }
    }

    /// From sums of points to their means.
    fn divide(&mut self, elements: usize) {
        let Some(sums) = &mut self.means else { return };
        for (sum, &count) in sums.chunks_exact_mut(elements).zip(&self.counts) {
            sum.iter_mut().for_each(|sum| *sum /= count.max(1) as f64);
        }
    }

    /// The counts `[M]` of the chosen output `k`.
    pub fn of(&self, k: usize) -> &[u64] {
        &self.counts[k * self.pieces..][..self.pieces]
    }

    /// How many pieces are active at some point.
    pub fn ever_active(&self, k: usize) -> usize {
        self.of(k).iter().filter(|&&count| count > 0).count()
    }

    /// The share of points that the busiest piece takes.
    pub fn busiest_share(&self, k: usize) -> f64 {
        self.shares(k).fold(0.0, f64::max)
    }

    /// The effective number of pieces: `exp(-sum_i s_i ln s_i)` with the shares `s_i` of points. It is `M` where all
    /// are active equally often, 1 where one takes all points.
    pub fn effective_pieces(&self, k: usize) -> f64 {
        let entropy: f64 = self.shares(k).filter(|&share| share > 0.0).map(|share| -share * share.ln()).sum();
        entropy.exp()
    }

    fn shares(&self, k: usize) -> impl Iterator<Item = f64> {
        let points = self.of(k).iter().sum::<u64>().max(1) as f64;
        self.of(k).iter().map(move |&count| count as f64 / points)
    }
}

/// Counts how often each piece of the chosen outputs is active at points, and takes the mean of those points where
/// `means` asks for it. Points are streamed.
///
/// # Errors
/// [`Error::Argument`] for a soft spline, or an output that is not there; [`Error::Memory`] where counts and means do
/// not fit; as [`evaluate`](crate::spline::evaluate()).
pub fn activity<E: SplineEngine>(
    spline: &Spline,
    source: &dyn JetSource<E>,
    points: &Dataset,
    outputs: &[usize],
    means: bool,
    context: &Context,
) -> Result<Activity> {
    let (all, pieces) = (source.outputs(), spline.pieces(source.anchors()));
    check_outputs(outputs, all)?;
    let elements = Some(points.row_len()).filter(|_| means);
    let entry = size_of::<u64>() + elements.unwrap_or(0) * size_of::<f64>();
    let (bytes, budget) = (2 * (outputs.len() * pieces * entry) as u64, context.memory());
    if bytes > budget {
        let what = if means { "the mean points of all pieces" } else { "the counts of all pieces" };
        return Err(Error::Memory { what: what.to_owned(), needed: bytes, budget });
    }
    let empty = || HalfActivity::empty(outputs.len(), pieces, elements);
    let mut activity = Activity { convex: empty(), concave: empty() };
    halves(spline, source, points, bytes, context, |rows, values| {
        let halves =
            [(&mut activity.convex, &values.convex_piece), (&mut activity.concave, &values.concave_piece)];
        for (half, active) in halves {
            for (x, active) in rows.rows().into_iter().zip(active.chunks_exact(all)) {
                for (at, &k) in outputs.iter().enumerate() {
                    half.count(at * pieces + active[k] as usize, x);
                }
            }
        }
        Ok(())
    })?;
    activity.convex.divide(points.row_len());
    activity.concave.divide(points.row_len());
    Ok(activity)
}

#[cfg(test)]
mod tests {
    use super::super::AffinePieces;
    use super::super::testing::{random, random_rows};
    use super::*;
    use crate::engine::{Cpu, Curvature, Engine, Jets};
    use crate::spline::{Form, HeldJets, Selection, Softness, Tangents, values};
    use crate::tolerance::EXACT;

    const M: usize = 23;
    const K: usize = 3;
    const D: usize = 4;

    fn source() -> HeldJets<Cpu<f64>> {
        let engine = Cpu::<f64>::new();
        let upload =
            |seed, shape: &[usize]| engine.upload(&random(seed, shape.iter().product()), shape).unwrap();
        let jets =
            Jets { points: upload(1, &[M, D]), values: upload(2, &[M, K]), jacobians: upload(3, &[M, K, D]) };
        HeldJets::new(&engine, jets)
    }

    fn tangents(tangents: Tangents) -> Spline {
        let form = Form::Tangents(tangents);
        let curvature = [1.0, 0.5, 3.0].map(|a| Curvature { a, b: 2.0 * a }).to_vec();
        Spline { form, curvature, ..Spline::isotropic(1.0, K).unwrap() }
    }

    #[test]
    fn activity_is_that_of_the_affine_pieces() {
        let (source, context) = (source(), Context::default());
        let points = random_rows(4, 301, D);
        let data = Dataset::from_array(points.view()).unwrap();
        let (lower, upper) =
            (Selection::Some((0..M as u32).step_by(2).collect()), Selection::Some((5..20).collect()));
        let spline = tangents(Tangents { lower: lower.clone(), upper: upper.clone(), ..Tangents::default() });
        assert_eq!((spline.pieces(M), spline.taken(M)), (M, [12, 15]));
        let outputs = [2, 0];
        let found = activity(&spline, &source, &data, &outputs, true, &context).unwrap();
        let pieces = AffinePieces::of(&spline, &source, 0, &context).unwrap();
        for (number, (half, sign)) in [(&found.convex, 1.0), (&found.concave, -1.0)].into_iter().enumerate() {
            for (at, &k) in outputs.iter().enumerate() {
                let (slopes, offsets) = pieces.half(number, k);
                let (mut counts, mut sums) = (vec![0_u64; M], vec![0.0; M * D]);
                for x in points.rows() {
                    let value = |i: usize| {
                        let z = x.iter().zip(&pieces.planes.center).map(|(x, c)| x - c);
                        let along: f64 = z.zip(&slopes[i * D..]).map(|(z, &p)| z * f64::from(p)).sum();
                        sign * (along + f64::from(offsets[i]))
                    };
                    let taken = (0..M).filter(|&i| [&lower, &upper][number].contains(i as u32));
                    let best = taken.max_by(|&i, &j| value(i).total_cmp(&value(j))).unwrap();
                    counts[best] += 1;
                    x.iter().enumerate().for_each(|(j, x)| sums[best * D + j] += x);
                }
                assert_eq!(half.of(at), counts);
                assert_eq!(half.of(at).iter().sum::<u64>(), 301);
                let means = &half.means.as_ref().unwrap()[at * M * D..][..M * D];
                for (i, mean) in means.iter().enumerate() {
                    assert!((mean - sums[i] / counts[i / D].max(1) as f64).abs() < EXACT);
                }
                assert_eq!(half.ever_active(at), counts.iter().filter(|&&c| c > 0).count());
                let most = *counts.iter().max().unwrap() as f64 / 301.0;
                assert!((half.busiest_share(at) - most).abs() < EXACT);
            }
        }

        // The same pieces as the spline's own, and in chunks.
        let all = tangents(Tangents::default());
        let planes = AffinePieces::of(&all, &source, 0, &context).unwrap().planes.into_owned();
        let own = Spline { form: Form::Planes(planes), ..all.clone() };
        let small = Context::default().with_memory(64 << 10);
        let every = activity(&all, &source, &data, &[0, 1, 2], true, &small).unwrap();
        let of_own = activity(&own, &source, &data, &[0, 1, 2], true, &context).unwrap();
        assert_eq!(
            (&every.convex.counts, &every.concave.counts),
            (&of_own.convex.counts, &of_own.concave.counts)
        );
        // Halves that are gathered chunk by chunk are the same as well.
        let [small, whole] = [&small, &context].map(|c| values(&all, &source, &data, c).unwrap());
        assert_eq!(small, whole);
    }

    #[test]
    fn what_cannot_be_counted_is_refused() {
        let (source, context) = (source(), Context::default());
        let data = Dataset::from_array(random_rows(4, 9, D).view()).unwrap();
        let soft = tangents(Tangents { softness: Softness::Nearest(0.1), ..Tangents::default() });
        let fault = activity(&soft, &source, &data, &[0], false, &context).unwrap_err();
        assert!(matches!(&fault, Error::Argument(line) if line.contains("soft")), "{fault}");
        let hard = tangents(Tangents::default());
        assert!(matches!(
            activity(&hard, &source, &data, &[3], false, &context),
            Err(Error::Argument(line)) if line == "there is no output 3: expected 0 to 2"
        ));
        let little = Context::default().with_memory(100);
        let fault = activity(&hard, &source, &data, &[0], true, &little);
        assert!(matches!(fault, Err(Error::Memory { needed, .. }) if needed == (2 * M * 8 * (1 + D)) as u64));
        let narrow = Dataset::from_array(random_rows(4, 9, D - 1).view()).unwrap();
        assert!(matches!(activity(&hard, &source, &narrow, &[0], false, &context), Err(Error::Shape(_))));
    }

    #[test]
    fn shares_make_an_effective_number() {
        let half = HalfActivity { pieces: 4, counts: vec![5, 5, 5, 5, 0, 20, 0, 0], means: None };
        assert!((half.effective_pieces(0) - 4.0).abs() < EXACT);
        assert_eq!((half.effective_pieces(1), half.busiest_share(1), half.ever_active(1)), (1.0, 1.0, 1));
        assert_eq!((half.busiest_share(0), half.ever_active(0)), (0.25, 4));
    }
}
