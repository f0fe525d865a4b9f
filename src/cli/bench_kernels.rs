//! `fenchel bench` without a network: kernels at several shapes on each device, against what the device can do.

use std::fmt::Write as _;
use std::time::Instant;

use rand::RngExt;
use rayon::prelude::*;
use serde::Serialize;

use crate::engine::{
    Activation, Context, Cpu, Curvature, DeviceChoice, EnvelopeSpec, Epilogue, Floor, Gpu, Jets, JetsOf,
    MaxAffineSpec, Search, SoftSpec, SplineEngine, Window, device,
};
use crate::network::operators::Dense;
use crate::network::{Constant, Network};
use crate::{Error, Result};

use super::args;
use super::session::Session;

/// A kernel at a shape, which halves with every `shift`.
struct Case {
    name: &'static str,
    job: Job,
}

#[derive(Clone, Copy)]
enum Job {
    /// `[n, n] x [n, n]`
    Matmul { n: usize },
    /// `n` images `[c, size, size]` to as many channels, 3 x 3.
    Convolution { n: usize, c: usize, size: usize },
    /// Both halves, values and pieces, of `points` over `anchors`.
    Envelope { points: usize, anchors: usize, dimension: usize, outputs: usize, search: Search },
    /// The mean of tangents at one temperature.
    Soft { points: usize, anchors: usize, dimension: usize, outputs: usize },
    /// Of affine pieces at `points`.
    MaxAffine { points: usize, pieces: usize, dimension: usize, spec: MaxAffineSpec },
    /// An image of tangents of a paraboloid, with noise.
    Slice { side: usize, planes: usize },
    /// On a grid of `n` points a side at as many slopes, of a convex function or of one that is not even continuous.
    Conjugate { axes: u32, n: usize, wild: bool },
    /// Of all outputs of an MLP 784-256-256-10.
    Jets { samples: usize },
}

const CASES: &[Case] = &[
    Case { name: "matmul", job: Job::Matmul { n: 4096 } },
    Case { name: "convolution", job: Job::Convolution { n: 32, c: 64, size: 56 } },
    Case { name: "convolution", job: Job::Convolution { n: 32, c: 256, size: 14 } },
    Case { name: "jets", job: Job::Jets { samples: 1 << 14 } },
    Case {
        name: "envelope",
        job: Job::Envelope {
            points: 1 << 14,
            anchors: 1 << 16,
            dimension: 784,
            outputs: 1,
            search: Search::Exhaustive,
        },
    },
    Case {
        name: "envelope",
        job: Job::Envelope {
            points: 1 << 14,
            anchors: 1 << 16,
            dimension: 784,
            outputs: 10,
            search: Search::Exhaustive,
        },
    },
    Case {
        name: "envelope",
        job: Job::Envelope {
            points: 1 << 16,
            anchors: 1 << 14,
            dimension: 64,
            outputs: 10,
            search: Search::Exhaustive,
        },
    },
    Case {
        name: "envelope",
        job: Job::Envelope {
            points: 1 << 24,
            anchors: 1 << 12,
            dimension: 2,
            outputs: 1,
            search: Search::Pruned,
        },
    },
    Case {
        name: "soft envelope",
        job: Job::Soft { points: 1 << 14, anchors: 1 << 14, dimension: 784, outputs: 10 },
    },
    Case {
        name: "envelope",
        job: Job::Envelope {
            points: 1 << 11,
            anchors: 1 << 13,
            dimension: 784,
            outputs: 10,
            search: Search::Exhaustive,
        },
    },
    Case {
        name: "max-affine",
        job: Job::MaxAffine { points: 1 << 11, pieces: 1 << 13, dimension: 784, spec: EXHAUSTIVE },
    },
    Case {
        name: "max-affine",
        job: Job::MaxAffine { points: 1 << 20, pieces: 1 << 13, dimension: 2, spec: EXHAUSTIVE },
    },
    Case {
        name: "max-affine, values",
        job: Job::MaxAffine { points: 1 << 20, pieces: 1 << 13, dimension: 2, spec: VALUES },
    },
    Case {
        name: "max-affine, pruned",
        job: Job::MaxAffine { points: 1 << 20, pieces: 1 << 13, dimension: 2, spec: PRUNED },
    },
    Case {
        name: "max-affine, best 4",
        job: Job::MaxAffine { points: 1 << 20, pieces: 1 << 13, dimension: 2, spec: BEST },
    },
    Case { name: "slice", job: Job::Slice { side: 4096, planes: 60_000 } },
    Case { name: "conjugate", job: Job::Conjugate { axes: 1, n: 1 << 14, wild: false } },
    Case { name: "conjugate", job: Job::Conjugate { axes: 1, n: 1 << 14, wild: true } },
    Case { name: "conjugate", job: Job::Conjugate { axes: 1, n: 1 << 18, wild: false } },
    Case { name: "conjugate", job: Job::Conjugate { axes: 1, n: 1 << 22, wild: false } },
    Case { name: "conjugate", job: Job::Conjugate { axes: 1, n: 1 << 22, wild: true } },
    Case { name: "conjugate", job: Job::Conjugate { axes: 2, n: 1 << 9, wild: false } },
    Case { name: "conjugate", job: Job::Conjugate { axes: 2, n: 1 << 9, wild: true } },
    Case { name: "conjugate", job: Job::Conjugate { axes: 3, n: 1 << 6, wild: true } },
];

const PRUNED: MaxAffineSpec = MaxAffineSpec { top: 1, pieces: true, search: Search::Pruned };
const EXHAUSTIVE: MaxAffineSpec = MaxAffineSpec { search: Search::Exhaustive, ..PRUNED };
const VALUES: MaxAffineSpec = MaxAffineSpec { pieces: false, ..EXHAUSTIVE };
const BEST: MaxAffineSpec = MaxAffineSpec { top: 4, ..EXHAUSTIVE };

/// Anchors whose jets are there at once.
const JETS: usize = 8192;

/// Points whose envelopes are there at once.
const POINTS: usize = 1 << 20;

/// One measurement.
#[derive(Serialize, Clone)]
struct Row {
    device: String,
    kernel: &'static str,
    shape: String,
    seconds: f64,
    /// Counted operations, in 1e9 a second.
    gflops: f64,
    /// Pairs of point and anchor for each output, or of point and slope, in 1e9 a second.
    gpairs: Option<f64>,
    /// The time that the floor allows over the time taken.
    share_of_floor: f64,
    /// The share of pairs that were not compared, as a bound says that they cannot matter.
    skipped: Option<f64>,
    /// Pieces that are active somewhere.
    active: Option<usize>,
    /// Speed, in operations a second, over the CPU's.
    ratio_to_cpu: Option<f64>,
}

#[derive(Serialize)]
struct DeviceFloor {
    device: String,
    gflops: f64,
    gbytes: f64,
}

#[derive(Serialize)]
struct Document {
    floors: Vec<DeviceFloor>,
    rows: Vec<Row>,
}

/// What a run says of itself.
#[derive(Default, Clone, Copy)]
struct Outcome {
    /// Pairs that were compared.
    scored: Option<u64>,
    active: Option<usize>,
}

impl Outcome {
    fn none<T>(_: T) -> Self {
        Self::default()
    }
}

/// What a job counts.
struct Work {
    flops: f64,
    /// Read and written once.
    bytes: f64,
    pairs: Option<f64>,
}

impl Job {
    fn halved(self, shift: u32) -> Option<Self> {
        let half = |n: usize| n >> shift;
        let halved = match self {
            Self::Matmul { n } => Self::Matmul { n: half(n) },
            Self::Convolution { n, c, size } => Self::Convolution { n: half(n), c, size },
            Self::Envelope { points, anchors, dimension, outputs, search } => {
                Self::Envelope { points: half(points), anchors: half(anchors), dimension, outputs, search }
            }
            Self::Soft { points, anchors, dimension, outputs } => {
                Self::Soft { points: half(points), anchors: half(anchors), dimension, outputs }
            }
            Self::MaxAffine { points, pieces, dimension, spec } => {
                Self::MaxAffine { points: half(points), pieces: half(pieces), dimension, spec }
            }
            Self::Slice { side, planes } => Self::Slice { side: half(side), planes: half(planes) },
            Self::Conjugate { axes, n, wild } => Self::Conjugate { axes, n: half(n), wild },
            Self::Jets { samples } => Self::Jets { samples: half(samples) },
        };
        (halved.work().flops > 0.0).then_some(halved)
    }

    fn shape(self) -> String {
        match self {
            Self::Matmul { n } => format!("{n} x {n} x {n}"),
            Self::Convolution { n, c, size } => format!("{n} x {c} x {size} x {size}, 3 x 3"),
            Self::Envelope { points, anchors, dimension, outputs, .. }
            | Self::Soft { points, anchors, dimension, outputs } => {
                format!("N {points}, M {anchors}, D {dimension}, K {outputs}")
            }
            Self::MaxAffine { points, pieces, dimension, .. } => {
                format!("N {points}, M {pieces}, D {dimension}")
            }
            Self::Slice { side, planes } => format!("{side} x {side}, M {planes}"),
            Self::Conjugate { axes, n, wild } => {
                let sides = vec![n.to_string(); axes as usize].join(" x ");
                format!("{sides}, {}", if wild { "wild" } else { "convex" })
            }
            Self::Jets { samples } => format!("{samples} x 784-256-256-10"),
        }
    }

    fn work(self) -> Work {
        match self {
            Self::Matmul { n } => {
                let n = n as f64;
                Work { flops: 2.0 * n.powi(3), bytes: 12.0 * n * n, pairs: None }
            }
            Self::Convolution { n, c, size } => {
                let (image, c) = ((n * c * size * size) as f64, c as f64);
                Work { flops: 18.0 * image * c, bytes: 8.0 * image + 36.0 * c * c, pairs: None }
            }
            // Products for each output and one for distances; per pair and output the scores of both halves and their
            // comparisons, 6. In low dimension differences are taken first.
            Self::Envelope { points, anchors, dimension, outputs, .. } => {
                let pairs = points as f64 * anchors as f64;
                let (d, k) = (dimension as f64, outputs as f64);
                let flops = pairs * (2.0 * d * (k + 1.0) + 6.0 * k + if dimension <= 8 { d } else { 0.0 });
                let bytes = 4.0 * (points as f64 * (d + 4.0 * k) + anchors as f64 * (d + k * (d + 1.0)));
                Work { flops, bytes, pairs: Some(pairs * k) }
            }
            // Differences are squared one by one; then a weight, and a mean for each output.
            Self::Soft { points, anchors, dimension, outputs } => {
                let pairs = points as f64 * anchors as f64;
                let (d, k) = (dimension as f64, outputs as f64);
                let bytes = 4.0 * (points as f64 * (d + k) + anchors as f64 * (d + k * (d + 1.0)));
                Work {
                    flops: pairs * (2.0 * d * k + 3.0 * d + 20.0 + 2.0 * k),
                    bytes,
                    pairs: Some(pairs * k),
                }
            }
            Self::MaxAffine { points, pieces, dimension, .. } => {
                let (pairs, d) = (points as f64 * pieces as f64, dimension as f64);
                let bytes = 4.0 * (points as f64 * (d + 2.0) + pieces as f64 * (d + 1.0));
                Work { flops: pairs * (2.0 * d + 1.0), bytes, pairs: Some(pairs) }
            }
            Self::Slice { side, planes } => {
                let (pixels, planes) = ((side * side) as f64, planes as f64);
                let bytes = 8.0 * pixels + 12.0 * planes;
                Work { flops: 5.0 * pixels * planes, bytes, pairs: Some(pixels * planes) }
            }
            // Of each line: an edge for each point (two differences, a quotient, a comparison), and for each slope a
            // comparison and a value.
            Self::Conjugate { axes, n, .. } => {
                let (passes, elements) = (f64::from(axes), (n as f64).powi(axes as i32));
                Work { flops: 7.0 * passes * elements, bytes: 12.0 * passes * elements, pairs: None }
            }
            Self::Jets { samples } => {
                let forward = (784 * 256 + 256 * 256 + 256 * 10) as f64 * 2.0;
                let n = samples as f64;
                Work { flops: 11.0 * n * forward, bytes: 4.0 * n * 784.0 * 11.0, pairs: None }
            }
        }
    }

    /// Seconds of the fastest of some runs, after one that does not count.
    fn time<E: SplineEngine<Scalar = f32>>(
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

pub(super) fn bench(session: &Session, arguments: &args::Bench) -> Result<()> {
    let adapters = device::adapters();
    let chosen = match session.device() {
        DeviceChoice::Auto => adapters.iter().map(|adapter| adapter.number).collect(),
        choice => choice.resolve(&adapters)?.into_iter().collect::<Vec<usize>>(),
    };
    let mut document = Document { floors: vec![], rows: vec![] };
    // The CPU comes first, as the others are compared with it.
    measure(&Cpu::<f32>::new(), session, arguments, &mut document)?;
    for number in chosen {
        let gpu = Gpu::open(number, session.context.memory())?;
        measure(&gpu, session, arguments, &mut document)?;
    }
    session.print(&document, || text(&document))
}

/// Appends the rows of one device.
fn measure<E: SplineEngine<Scalar = f32>>(
    engine: &E,
    session: &Session,
    arguments: &args::Bench,
    document: &mut Document,
) -> Result<()> {
    let (device, floor) = (engine.describe(), engine.floor()?);
    let (gflops, gbytes) = (floor.flops / 1e9, floor.bytes / 1e9);
    document.floors.push(DeviceFloor { device: device.clone(), gflops, gbytes });
    let own = arguments.shape.map(|[points, anchors, dimension, outputs]| Case {
        name: "envelope",
        job: Job::Envelope { points, anchors, dimension, outputs, search: Search::Exhaustive },
    });
    let cases: Vec<&Case> = match &own {
        Some(case) => vec![case],
        None => {
            let named =
                |case: &&Case| format!("{}, {}", case.name, case.job.shape()).contains(&arguments.only);
            CASES.iter().filter(named).collect()
        }
    };
    session.context.progress().start(&device, cases.len() as u64);
    for (number, case) in cases.into_iter().enumerate() {
        session.context.check()?;
        let job = match arguments.shape {
            Some(_) => case.job,
            None => largest(case.job, engine, &floor, session, arguments.seconds)?,
        };
        let work = job.work();
        let (seconds, outcome) = job.time(engine, &session.context, arguments.repeats)?;
        let allowed = (work.flops / floor.flops).max(work.bytes / floor.bytes);
        let gflops = work.flops / seconds / 1e9;
        // The CPU's rows are the first, in the same order.
        let on_cpu = document.rows.get(number).filter(|_| document.floors.len() > 1);
        document.rows.push(Row {
            device: device.clone(),
            kernel: case.name,
            shape: job.shape(),
            seconds,
            gflops,
            gpairs: work.pairs.map(|pairs| pairs / seconds / 1e9),
            share_of_floor: allowed / seconds,
            skipped: outcome.scored.zip(work.pairs).map(|(scored, pairs)| 1.0 - scored as f64 / pairs),
            active: outcome.active,
            ratio_to_cpu: on_cpu.map(|cpu| gflops / cpu.gflops),
        });
        session.context.progress().advance(1);
    }
    session.context.progress().finish();
    Ok(())
}

/// The job, halved until it takes no longer than asked for.
fn largest<E: SplineEngine<Scalar = f32>>(
    job: Job,
    engine: &E,
    floor: &Floor,
    session: &Session,
    seconds: f64,
) -> Result<Job> {
    /// What a first trial may take at the floor.
    const TRIAL: f64 = 2e-3;
    let sizes: Vec<Job> = (0..usize::BITS).map_while(|shift| job.halved(shift)).collect();
    let small = |job: &&Job| job.work().flops / floor.flops <= TRIAL;
    let Some(mut found) = sizes.iter().copied().find(|job| small(&job)).or(sizes.last().copied()) else {
        return Err(Error::Argument("a kernel without work cannot be timed".to_owned()));
    };
    // Small jobs run at a lower rate than large ones, so the size is approached from below.
    loop {
        let rate = found.work().flops / found.time(engine, &session.context, 1)?.0;
        let fits = |job: &&Job| job.work().flops / rate <= seconds;
        match sizes.iter().copied().find(|job| fits(&job)) {
            Some(next) if next.work().flops > found.work().flops => found = next,
            _ => return Ok(found),
        }
    }
}

fn text(document: &Document) -> String {
    let mut text = String::new();
    for floor in &document.floors {
        let DeviceFloor { device, gflops, gbytes } = floor;
        let _ = writeln!(text, "{device}: {gflops:.0} GFLOP/s in multiply-adds, {gbytes:.0} GB/s copied");
    }
    text.push_str(
        "\n| device | kernel | shape | seconds | GFLOP/s | Gpairs/s | share of floor | skipped | speed / CPU's |\n",
    );
    text.push_str("|---|---|---|---:|---:|---:|---:|---:|---:|\n");
    for row in &document.rows {
        let Row { device, kernel, shape, seconds, gflops, .. } = row;
        let pairs = row.gpairs.map_or("-".to_owned(), |pairs| format!("{pairs:.2}"));
        let ratio = row.ratio_to_cpu.map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
        let share = 100.0 * row.share_of_floor;
        let skipped = match row.skipped {
            Some(share) if share > 0.0 => format!("{:.3} %", 100.0 * share),
            _ => "-".to_owned(),
        };
        let _ = writeln!(
            text,
            "| {device} | {kernel} | {shape} | {seconds:.4} | {gflops:.1} | {pairs} | {share:.1} % | {skipped} | {ratio} |"
        );
    }
    text
}
