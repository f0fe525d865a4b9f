//! Timing one kernel at one shape, on random numbers.

use std::time::Instant;

use rand::RngExt;
use rayon::prelude::*;

use crate::Result;
use crate::engine::{
    Activation, Context, Curvature, EnvelopeSpec, Epilogue, Jets, JetsOf, Search, SoftSpec, SplineEngine,
    UnitWords, Window,
};
use crate::network::operators::Dense;
use crate::network::{Constant, Network};

use super::job::Job;

/// Anchors whose jets are there at once.
const JETS: usize = 8192;

/// Points whose envelopes are there at once.
const POINTS: usize = 1 << 20;

/// What a run says of itself.
#[derive(Default, Clone, Copy)]
pub(super) struct Outcome {
    /// Pairs that were compared.
    pub scored: Option<u64>,
    pub active: Option<usize>,
}

impl Outcome {
    fn none<T>(_: T) -> Self {
        Self::default()
    }
}

impl Job {
    /// Seconds of the fastest of some runs, after one that does not count.
    pub(super) fn time<E: SplineEngine<Scalar = f32>>(
        self,
        engine: &E,
        context: &Context,
        repeats: usize,
    ) -> Result<(f64, Outcome)> {
        let mut rng = context.rng(0);
        let mut random =
            |count: usize| -> Vec<f32> { (0..count).map(|_| rng.random_range(-1.0..1.0)).collect() };
        let least = |run: &mut dyn FnMut() -> Result<Outcome>| -> Result<(f64, Outcome)> {
            let (mut least, mut outcome) = (f64::INFINITY, Outcome::default());
            for repeat in 0..=repeats {
                context.check()?;
                engine.synchronize()?;
                let start = Instant::now();
                outcome = run()?;
                engine.synchronize()?;
                if repeat > 0 {
                    least = least.min(start.elapsed().as_secs_f64());
                }
            }
            Ok((least, outcome))
        };
        match self {
            Self::Matmul { n } => {
                let x = engine.upload(&random(n * n), &[n, n])?;
                let matrix = engine.matrix(&random(n * n), n, n)?;
                least(&mut || engine.matmul(&x, None, &matrix, Epilogue::NONE).map(Outcome::none))
            }
            Self::Convolution { n, c, size } => {
                let x = engine.upload(&random(n * c * size * size), &[n, c, size, size])?;
                let window = Window::new([3, 3]).with_pads([1; 4]);
                let filters = engine.filters(&random(9 * c * c), [c, c, 3, 3], window, 1)?;
                let bias = engine.upload(&random(c), &[c])?;
                let epilogue = Epilogue { bias: Some(&bias), activation: Some(Activation::Relu) };
                least(&mut || engine.convolve(&x, &filters, epilogue).map(Outcome::none))
            }
            Self::Envelope { points, anchors, dimension, outputs, search } => {
                let at_once = points.min(POINTS);
                let x = engine.upload(&random(at_once * dimension), &[at_once, dimension])?;
                let m = anchors.min(JETS);
                let jets = random_jets(engine, &mut random, [m, dimension, outputs])?;
                let mut spec = EnvelopeSpec::single(vec![Curvature::isotropic(3.0); outputs]);
                spec.search = search;
                let (center, slots) = (vec![0.0; dimension], vec![0; m]);
                least(&mut || {
                    for _ in (0..points).step_by(at_once) {
                        let mut envelope = engine.envelope(&x, outputs, &center, &spec)?;
                        for first in (0..anchors).step_by(m) {
                            engine.envelope_add(&mut envelope, &jets, first, &slots)?;
                        }
                    }
                    Ok(Outcome::default())
                })
            }
            Self::Soft { points, anchors, dimension, outputs } => {
                let x = engine.upload(&random(points * dimension), &[points, dimension])?;
                let m = anchors.min(JETS);
                let jets = random_jets(engine, &mut random, [m, dimension, outputs])?;
                let spec = SoftSpec { nearest: vec![dimension as f64 / 10.0], halves: vec![] };
                let center = vec![0.0; dimension];
                least(&mut || {
                    let mut soft = engine.soft_envelope(&x, outputs, &center, &spec)?;
                    for _ in (0..anchors).step_by(m) {
                        engine.soft_envelope_add(&mut soft, &jets)?;
                    }
                    Ok(Outcome::default())
                })
            }
            Self::MaxAffine { points, pieces, dimension, spec } => {
                let x = engine.upload(&random(points * dimension), &[points, dimension])?;
                let slopes = engine.upload(&random(pieces * dimension), &[pieces, dimension])?;
                let conjugates = engine.upload(&random(pieces), &[pieces])?;
                least(&mut || {
                    let found = engine.max_affine(&slopes, &conjugates, &x, &spec)?;
                    Ok(Outcome { scored: Some(found.scored), active: None })
                })
            }
            Self::Slice { side, planes } => {
                // Without noise every tangent wins somewhere, in a cell 2 / sqrt(planes) wide; with it a seventh of 60,000
                // does.
                let tangents: Vec<f32> = (0..planes)
                    .flat_map(|_| {
                        let [s, t, p, q, r] = std::array::from_fn(|_| rng.random_range(-1.0..1.0_f32));
                        [s + 1e-3 * p, t + 1e-3 * q, 1e-5 * r - 0.5 * (s * s + t * t)]
                    })
                    .collect();
                let planes = engine.upload(&tangents, &[planes, 3])?;
                let pixel = |i: usize| 2.0 * (i as f32 + 0.5) / side as f32 - 1.0;
                let (across, up): (Vec<f32>, Vec<f32>) =
                    ((0..side).map(pixel).collect(), (0..side).rev().map(pixel).collect());
                let image = engine.slice(&planes, &across, &up, Search::Pruned)?;
                let mut active = image.pieces;
                active.par_sort_unstable();
                active.dedup();
                let (active, scored) = (Some(active.len()), Some(image.scored));
                least(&mut || {
                    engine.slice(&planes, &across, &up, Search::Pruned)?;
                    Ok(Outcome { scored, active })
                })
            }
            Self::Conjugate { axes, n, wild } => {
                let coordinate = |i: usize| 4.0 * i as f32 / (n - 1).max(1) as f32 - 2.0;
                let points: Vec<f32> = (0..n).map(coordinate).collect();
                let slopes: Vec<f32> = points.iter().map(|x| 2.0 * x).collect();
                let count = n.pow(axes);
                let noise = random(if wild { count } else { 0 });
                let value = |i: usize| {
                    let mut rest = i;
                    let sides = (0..axes).map(|_| {
                        let x = points[rest % n];
                        rest /= n;
                        x * x + if wild { 2.0 * (40.0 * x).sin() } else { 0.0 }
                    });
                    sides.sum::<f32>() + noise.get(i).unwrap_or(&0.0)
                };
                let values: Vec<f32> = (0..count).map(value).collect();
                let values = engine.upload(&values, &vec![n; axes as usize])?;
                let (axes, slopes) = (vec![&points[..]; axes as usize], vec![&slopes[..]; axes as usize]);
                least(&mut || engine.conjugate(&values, &axes, &slopes).map(Outcome::none))
            }
            Self::Hamming { n, words } => {
                let codes: Vec<u32> = (0..n * words).map(|_| rng.random()).collect();
                let codes = engine.upload_codes(&codes, words)?;
                let units = [UnitWords { words: 0..words, bits: 1 }];
                least(&mut || engine.hamming(&codes, &codes, &units).map(Outcome::none))
            }
            Self::Jets { samples } => {
                let program = mlp(&mut random)?.compile(engine)?;
                let outputs: Vec<usize> = (0..10).collect();
                let chunks = program.chunks(samples, Some(10), context.memory())?;
                let inputs = random(chunks.size() * 784);
                let x = engine.upload(&inputs, &[chunks.size(), 784])?;
                least(&mut || {
                    for _ in 0..chunks.count() {
                        program.jets(&x, &outputs)?;
                    }
                    Ok(Outcome::default())
                })
            }
        }
    }
}

fn random_jets<E: SplineEngine<Scalar = f32>>(
    engine: &E,
    random: &mut impl FnMut(usize) -> Vec<f32>,
    [m, d, k]: [usize; 3],
) -> Result<JetsOf<E>> {
    Ok(Jets {
        points: engine.upload(&random(m * d), &[m, d])?,
        values: engine.upload(&random(m * k), &[m, k])?,
        jacobians: engine.upload(&random(m * k * d), &[m, k, d])?,
    })
}

fn mlp(random: &mut impl FnMut(usize) -> Vec<f32>) -> Result<Network> {
    let mut builder = Network::builder();
    builder.input("x", &[784])?;
    let mut end = None;
    for (inputs, outputs) in [(784, 256), (256, 256), (256, 10)] {
        if end.is_some() {
            builder.layer(Activation::Relu)?;
        }
        let weights = random(inputs * outputs).iter().map(|&w| f64::from(w) / 16.0).collect();
        end = Some(builder.layer(Dense::new(Constant::f64([inputs, outputs], weights)?, None)?)?);
    }
    builder.finish(&end.into_iter().collect::<Vec<_>>())
}
