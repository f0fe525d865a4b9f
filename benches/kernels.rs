//! The kernels that splines spend their time in, with counted work: `cargo bench`.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fenchel::engine::{Activation, Cpu, Curvature, Engine, EnvelopeSpec, Jets};
use fenchel::network::operators::Dense;
use fenchel::network::{Constant, Network};
use rand::{RngExt, SeedableRng};

fn random(count: usize) -> Vec<f32> {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// The envelope of both halves: `2 N M (K + 1) D` flops in products.
fn envelope(criterion: &mut Criterion) {
    let engine = Cpu::<f32>::new();
    let mut group = criterion.benchmark_group("envelope");
    for (n, m, d, k) in [(1024, 1024, 784, 1), (1024, 1024, 784, 10), (4096, 1024, 2, 1)] {
        let tensor = |shape: &[usize]| engine.upload(&random(shape.iter().product()), shape).expect("fits");
        let points = tensor(&[n, d]);
        let jets = Jets { points: tensor(&[m, d]), values: tensor(&[m, k]), jacobians: tensor(&[m, k, d]) };
        let spec = EnvelopeSpec::single(vec![Curvature::isotropic(3.0); k]);
        group.throughput(Throughput::Elements((2 * n * m * (k + 1) * d) as u64));
        group.bench_function(format!("N={n} M={m} D={d} K={k}"), |bencher| {
            bencher.iter(|| {
                let mut envelope = engine.envelope(&points, k, &vec![0.0; d], &spec).expect("starts");
                engine.envelope_add(&mut envelope, &jets, 0, &vec![0; m]).expect("adds");
                black_box(engine.envelope_finish(envelope).expect("finishes"))
            });
        });
    }
    group.finish();
}

/// Jets of all outputs of a dense network: forward once, backward for each output.
fn jets(criterion: &mut Criterion) {
    let engine = Cpu::<f32>::new();
    let mut builder = Network::builder();
    builder.input("x", &[784]).expect("a new name");
    let mut flops = 0;
    let mut last = None;
    for (i, (inputs, outputs)) in [(784, 256), (256, 256), (256, 10)].into_iter().enumerate() {
        if i > 0 {
            builder.layer(Activation::Relu).expect("fits");
        }
        let weights = Constant::f32([inputs, outputs], random(inputs * outputs)).expect("fits");
        last = Some(builder.layer(Dense::new(weights, None).expect("fits")).expect("fits"));
        flops += 2 * inputs * outputs;
    }
    let network = builder.finish(&[last.expect("has layers")]).expect("is whole");
    let program = network.compile(&engine).expect("compiles");
    let n = 256;
    let x = engine.upload(&random(n * 784), &[n, 784]).expect("fits");
    let outputs: Vec<usize> = (0..10).collect();
    let mut group = criterion.benchmark_group("jets");
    group.throughput(Throughput::Elements((n * flops * 11) as u64));
    group.bench_function("784-256-256-10, 256 samples, 10 outputs", |bencher| {
        bencher.iter(|| black_box(program.jets(&x, &outputs).expect("runs")));
    });
    group.finish();
}

criterion_group!(benches, envelope, jets);
criterion_main!(benches);
