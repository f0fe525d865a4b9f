//! Cases of the kernels that splines spend their time in.

use fenchel::engine::{
    Cpu, Curvature, Engine, EnvelopeSpec, Jets, Search, SoftHalves, SoftSpec, SoftValues, SplineEngine,
};
use fenchel::tolerance::{APPROXIMATE, CLOSE};
use fenchel::{Result, Scalar};

use super::{Case, difference, tensor, values};

/// Envelopes of random affine pieces: values, and the values that their pieces say.
struct Envelope {
    points: usize,
    anchors: usize,
    dimension: usize,
    outputs: usize,
    families: usize,
    slots: usize,
    curvatures: usize,
    top: usize,
    pieces: bool,
}

impl Envelope {
    fn spec(&self) -> EnvelopeSpec {
        let curvature =
            |c: usize, k: usize| Curvature { a: 0.5 + c as f64 + 0.1 * k as f64, b: 1.0 + 2.0 * c as f64 };
        EnvelopeSpec {
            curvatures: (0..self.curvatures)
                .map(|c| (0..self.outputs).map(|k| curvature(c, k)).collect())
                .collect(),
            families: self.families,
            slots: self.slots,
            top: self.top,
            pieces: self.pieces,
            search: Search::Pruned,
        }
    }

    fn jets<E: Engine>(&self, engine: &E, range: std::ops::Range<usize>) -> Result<Jets<E::Buffer>> {
        let part = |seed: u64, row: usize| -> Result<Vec<E::Scalar>> {
            Ok(values(seed, self.anchors * row)[range.start * row..range.end * row].to_vec())
        };
        let (m, d, k) = (range.len(), self.dimension, self.outputs);
        Ok(Jets {
            points: engine.upload(&part(2, d)?, &[m, d])?,
            values: engine.upload(&part(3, k)?, &[m, k])?,
            jacobians: engine.upload(&part(4, k * d)?, &[m, k, d])?,
        })
    }

    fn center(&self) -> Vec<f64> {
        (0..self.dimension).map(|i| 0.3 + 1e-3 * i as f64).collect()
    }
}

impl Case for Envelope {
    fn run<E: SplineEngine>(&self, engine: &E) -> Result<Vec<f64>> {
        let x = tensor(engine, 1, &[self.points, self.dimension]);
        let mut envelope = engine.envelope(&x, self.outputs, &self.center(), &self.spec())?;
        // Blocks of anchors, of which some feed no slot.
        let step = self.anchors.div_ceil(3).max(1);
        for start in (0..self.anchors).step_by(step) {
            let range = start..(start + step).min(self.anchors);
            let slots: Vec<u32> =
                (0..self.families)
                    .flat_map(|f| range.clone().map(move |i| (i * 7 + f) % (self.slots + 1)))
                    .map(|slot| {
                        if slot == self.slots && self.slots > 1 {
                            u32::MAX
                        } else {
                            (slot % self.slots) as u32
                        }
                    })
                    .collect();
            engine.envelope_add(&mut envelope, &self.jets(engine, range)?, start, &slots)?;
        }
        let found = engine.envelope_finish(envelope)?;
        let halves = [found.lower, found.upper].concat();
        // Slots that nothing fed.
        let mut all: Vec<f64> =
            halves.iter().map(|v| v.f64()).map(|v| if v.abs() > 1e30 { 0.0 } else { v }).collect();
        let pieces = [found.lower_piece, found.upper_piece].concat();
        assert_eq!(pieces.len(), if self.pieces { halves.len() } else { 0 });
        all.extend(pieces.iter().map(|&piece| if piece == u32::MAX { -1.0 } else { f64::from(piece) }));
        Ok(all)
    }
}

/// Soft envelopes of random affine pieces at one temperature, each scaled so that none hides behind another.
struct SoftEnvelope {
    points: usize,
    anchors: usize,
    dimension: usize,
    outputs: usize,
    temperature: f64,
}

impl Case for SoftEnvelope {
    fn run<E: SplineEngine>(&self, engine: &E) -> Result<Vec<f64>> {
        let &Self { points, anchors, dimension, outputs, temperature } = self;
        let pieces = Envelope {
            points,
            anchors,
            dimension,
            outputs,
            families: 1,
            slots: 1,
            curvatures: 2,
            top: 1,
            pieces: false,
        };
        let halves = |curvatures| SoftHalves { curvatures, temperature };
        let spec = SoftSpec {
            nearest: vec![temperature, 3.0 * temperature],
            halves: pieces.spec().curvatures.into_iter().map(halves).collect(),
        };
        let x = tensor(engine, 1, &[points, dimension]);
        let mut envelope = engine.soft_envelope(&x, outputs, &pieces.center(), &spec)?;
        let step = anchors.div_ceil(3).max(1);
        for start in (0..anchors).step_by(step) {
            let jets = pieces.jets(engine, start..(start + step).min(anchors))?;
            engine.soft_envelope_add(&mut envelope, &jets)?;
        }
        let SoftValues { nearest, lower, upper } = engine.soft_envelope_finish(envelope)?;
        // Halves grow with the temperature, means do not.
        let scale = temperature.max(1.0).recip();
        let halves = [lower, upper].concat().into_iter().map(|v| v.f64() * scale);
        Ok(nearest.into_iter().map(Scalar::f64).chain(halves).collect())
    }
}

struct Secant {
    points: usize,
    anchors: usize,
    dimension: usize,
    outputs: usize,
}

impl Case for Secant {
    fn run<E: SplineEngine>(&self, engine: &E) -> Result<Vec<f64>> {
        let &Self { points, anchors, dimension, outputs } = self;
        let jets = Envelope {
            points,
            anchors,
            dimension,
            outputs,
            families: 1,
            slots: 1,
            curvatures: 1,
            top: 1,
            pieces: true,
        };
        // Points among which are anchors, exactly and nearly.
        let mut x: Vec<E::Scalar> = values(1, points * dimension);
        let anchors_at: Vec<E::Scalar> = values(2, anchors * dimension);
        x[..dimension].copy_from_slice(&anchors_at[..dimension]);
        for (x, a) in x[dimension..2 * dimension].iter_mut().zip(&anchors_at) {
            *x = E::Scalar::of(f64::from((a.f64() * 1.001) as f32));
        }
        let x = engine.upload(&x, &[points, dimension])?;
        let g = tensor(engine, 9, &[points, outputs]);
        let mut secant = engine.secant(&x, &g, &jets.center())?;
        for range in [0..anchors / 2, anchors / 2..anchors] {
            engine.secant_add(&mut secant, &jets.jets(engine, range)?)?;
        }
        Ok(engine.secant_finish(secant)?.iter().flat_map(|c| [c.a, c.b]).collect())
    }
}

/// Checks every case: its name, how far it may be off, and how far it is.
pub(super) fn check_all<E: SplineEngine>(engine: &E, mut check: impl FnMut(String, f64, Result<f64>)) {
    for (points, anchors, dimension, outputs, families, slots, curvatures, top, pieces) in [
        (37, 50, 20, 3, 1, 1, 1, 1, true),
        (300, 170, 3, 2, 1, 1, 2, 1, true),
        (70, 33, 9, 1, 2, 3, 2, 1, true),
        (20, 40, 130, 2, 3, 1, 1, 1, true),
        (150, 140, 40, 4, 1, 1, 3, 1, true),
        (20, 70, 300, 2, 1, 1, 1, 1, true),
        (20, 40, 130, 2, 1, 2, 1, 1, false),
        (600, 300, 2, 2, 1, 1, 1, 1, true),
        (90, 120, 6, 1, 1, 1, 2, 1, false),
        (37, 90, 20, 3, 1, 1, 2, 3, true),
        (60, 90, 3, 2, 2, 3, 1, 4, true),
        (50, 70, 2, 1, 1, 1, 1, 2, true),
    ] {
        let case = Envelope { points, anchors, dimension, outputs, families, slots, curvatures, top, pieces };
        let name = format!(
            "envelope {:?}",
            (points, anchors, dimension, outputs, families, slots, curvatures, top, pieces)
        );
        check(name, CLOSE, difference(&case, engine));
    }
    for (points, anchors, dimension, outputs) in [
        (37, 50, 20, 3),
        (300, 170, 3, 2),
        (130, 90, 8, 1),
        (70, 33, 9, 1),
        (150, 200, 5, 2),
        (20, 70, 300, 2),
    ] {
        for temperature in [1e-35, 1e-3, 0.1, 2.0, 1e4] {
            let case = SoftEnvelope { points, anchors, dimension, outputs, temperature };
            let name = format!("soft envelope {:?}", (points, anchors, dimension, outputs, temperature));
            check(name, CLOSE, difference(&case, engine));
        }
    }
    for (points, anchors, dimension, outputs) in [(40, 30, 12, 3), (300, 20, 2, 1), (9, 140, 200, 2)] {
        let case = Secant { points, anchors, dimension, outputs };
        check(
            format!("secant {:?}", (points, anchors, dimension, outputs)),
            APPROXIMATE,
            difference(&case, engine),
        );
    }
}

/// Points, anchors and slopes near a few directions, as images are: most scores are skipped, and no bit changes.
#[test]
fn high_dimension_skips_scores_and_changes_nothing() {
    fn check<S: Scalar>(kinds: &[f64])
    where
        Cpu<S>: SplineEngine<Scalar = S>,
    {
        let (n, m, d, k, latent) = (1003, 1300, 120, 3, 6);
        let directions: Vec<f64> = values(1, latent * d);
        let near = |seed: u64, count: usize, noise: f64| -> Vec<S> {
            let (weights, rest): (Vec<f64>, Vec<f64>) =
                (values(seed, count * latent), values(seed + 1, count * d));
            let at = |i: usize, j: usize| {
                let inside: f64 = (0..latent).map(|l| weights[i * latent + l] * directions[l * d + j]).sum();
                S::of(f64::from((inside + noise * rest[i * d + j]) as f32))
            };
            (0..count * d).map(|i| at(i / d, i % d)).collect()
        };
        let engine = Cpu::<S>::new();
        let upload = |values: &[S], shape: &[usize]| engine.upload(values, shape).unwrap();
        let points = upload(&near(2, n, 0.05), &[n, d]);
        let (anchors, slopes, heights) = (near(4, m, 0.05), near(6, m * k, 0.05), values::<S>(8, m * k));
        for &curvature in kinds {
            let run = |search: Search| {
                let mut spec = EnvelopeSpec::single(vec![Curvature { a: curvature, b: 2.0 * curvature }; k]);
                spec.search = search;
                let mut envelope = engine.envelope(&points, k, &vec![0.25; d], &spec).unwrap();
                for range in [0..600, 600..m] {
                    let jets = Jets {
                        points: upload(&anchors[range.start * d..range.end * d], &[range.len(), d]),
                        values: upload(&heights[range.start * k..range.end * k], &[range.len(), k]),
                        jacobians: upload(
                            &slopes[range.start * k * d..range.end * k * d],
                            &[range.len(), k, d],
                        ),
                    };
                    engine.envelope_add(&mut envelope, &jets, range.start, &vec![0; range.len()]).unwrap();
                }
                engine.envelope_finish(envelope).unwrap()
            };
            let (found, all) = (run(Search::Pruned), run(Search::Exhaustive));
            assert!(found.lower == all.lower && found.upper == all.upper, "curvature {curvature}");
            assert!(found.lower_piece == all.lower_piece && found.upper_piece == all.upper_piece);
            assert_eq!(all.scored, (n * m * k) as u64);
            if curvature >= 1.0 {
                assert!(
                    found.scored < all.scored / 2,
                    "{} of {}, curvature {curvature}",
                    found.scored,
                    all.scored
                );
            }
        }
    }
    check::<f32>(&[0.0, 0.01, 1.0, 30.0]);
    check::<f64>(&[3.0]);
}
