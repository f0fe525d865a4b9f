//! The kernels that splines spend their time in, with counted work: `cargo bench`.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fenchel::engine::{
    Activation, Cpu, Curvature, DeviceChoice, Engine, EnvelopeSpec, Epilogue, Gpu, Jets, MaxAffineSpec,
    Packing, ProductTable, Pulls, Search, SoftHalves, SoftSpec, SplineEngine, Step, UnitWords, Window,
    device,
};
use fenchel::maso::SplinedActivation;
use fenchel::network::operators::Dense;
use fenchel::network::{Constant, Network};
use rand::{RngExt, SeedableRng};

fn random(count: usize) -> Vec<f32> {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// A result, when it is there.
fn finished<T>(engine: &impl Engine, result: fenchel::Result<T>) -> T {
    engine.synchronize().expect("runs");
    black_box(result.expect("runs"))
}

/// The envelope of both halves: `2 N M (K + 1) D` flops in products.
fn envelope(criterion: &mut Criterion, on: &str, engine: &impl SplineEngine<Scalar = f32>, few: usize) {
    let mut group = criterion.benchmark_group(format!("envelope, {on}"));
    for (n, m, d, k) in
        [(1024, 1024, 784, 1), (1024, 1024, 784, 10), (1024, 1024, 64, 10), (4096, 1024, 2, 1)]
    {
        let (n, m) = (n / few, m / few);
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

/// A mean of tangents and a pair of soft halves: `2 N M (K + 1) D` flops as of the envelope, of which those of the
/// distances count for more, and `N M (1 + 2 K)` exponentials.
fn soft_envelope(criterion: &mut Criterion, on: &str, engine: &impl SplineEngine<Scalar = f32>, few: usize) {
    let mut group = criterion.benchmark_group(format!("soft envelope, {on}"));
    for (n, m, d, k) in [(1024, 1024, 784, 1), (1024, 1024, 784, 10), (4096, 1024, 2, 1)] {
        let (n, m) = (n / few, m / few);
        let tensor = |shape: &[usize]| engine.upload(&random(shape.iter().product()), shape).expect("fits");
        let points = tensor(&[n, d]);
        let jets = Jets { points: tensor(&[m, d]), values: tensor(&[m, k]), jacobians: tensor(&[m, k, d]) };
        let halves = SoftHalves { curvatures: vec![Curvature::isotropic(3.0); k], temperature: 0.1 };
        let spec = SoftSpec { nearest: vec![0.1], halves: vec![halves] };
        group.throughput(Throughput::Elements((2 * n * m * (k + 1) * d) as u64));
        group.bench_function(format!("N={n} M={m} D={d} K={k}"), |bencher| {
            bencher.iter(|| {
                let mut envelope = engine.soft_envelope(&points, k, &vec![0.0; d], &spec).expect("starts");
                engine.soft_envelope_add(&mut envelope, &jets).expect("adds");
                black_box(engine.soft_envelope_finish(envelope).expect("finishes"))
            });
        });
    }
    group.finish();
}

/// Maxima of affine pieces, every pair: `2 N M D` flops in products.
fn max_affine(criterion: &mut Criterion, on: &str, engine: &impl SplineEngine<Scalar = f32>, few: usize) {
    let mut group = criterion.benchmark_group(format!("max-affine, {on}"));
    let spec = MaxAffineSpec { search: Search::Exhaustive, ..MaxAffineSpec::default() };
    for (n, m, d) in [(4096, 4096, 2), (2048, 2048, 100)] {
        let (n, m) = (n / few, m / few);
        let tensor = |shape: &[usize]| engine.upload(&random(shape.iter().product()), shape).expect("fits");
        let (points, conjugates, slopes) = (tensor(&[n, d]), tensor(&[m]), tensor(&[m, d]));
        group.throughput(Throughput::Elements((2 * n * m * d) as u64));
        group.bench_function(format!("N={n} M={m} D={d}"), |bencher| {
            bencher
                .iter(|| black_box(engine.max_affine(&slopes, &conjugates, &points, &spec).expect("runs")));
        });
    }
    group.finish();
}

/// A step of refinement of one half and one output: `2 N M D` flops to find the active pieces, `4 N D` to move them.
fn descent(criterion: &mut Criterion, on: &str, engine: &impl SplineEngine<Scalar = f32>, few: usize) {
    let mut group = criterion.benchmark_group(format!("descent, {on}"));
    for (n, m, d) in [(512, 128, 192), (512, 1024, 192)] {
        let (n, m) = (n / few, m / few);
        let points = engine.upload(&random(n * d), &[n, d]).expect("fits");
        let mut descent = engine.descent(&random(m * d), &random(m)).expect("starts");
        let derivatives = random(n);
        group.throughput(Throughput::Elements((2 * n * m * d) as u64));
        group.bench_function(format!("N={n} M={m} D={d}"), |bencher| {
            bencher.iter(|| {
                let active = engine.descent_active(&descent, &points).expect("runs");
                let pulls = Pulls::new(&active.pieces, &derivatives);
                // So small a rate that the pieces stay where they are, and every step costs the same.
                let step = engine.descend(&mut descent, &points, &pulls, Step { rate: 1e-9, number: 1 });
                finished(engine, step);
            });
        });
    }
    group.finish();
}

/// An image of planes, nearly all of which win somewhere.
fn slice(criterion: &mut Criterion, on: &str, engine: &impl SplineEngine<Scalar = f32>, few: usize) {
    let mut group = criterion.benchmark_group(format!("slice, {on}"));
    let (side, count) = (1024 / few, 4000 / few / few);
    let slopes = random(2 * count);
    let planes = slopes.chunks(2).flat_map(|p| [p[0], p[1], -0.5 * (p[0] * p[0] + p[1] * p[1])]);
    let planes = engine.upload(&planes.collect::<Vec<_>>(), &[count, 3]).expect("fits");
    let pixels: Vec<f32> = (0..side).map(|i| 2.0 * (i as f32 + 0.5) / side as f32 - 1.0).collect();
    group.throughput(Throughput::Elements((side * side * count) as u64));
    group.bench_function(format!("{side} x {side} M={count}"), |bencher| {
        bencher.iter(|| black_box(engine.slice(&planes, &pixels, &pixels, Search::Pruned).expect("runs")));
    });
    group.finish();
}

/// Conjugates of a convex function and of one that is not even continuous, at as many slopes as there are points; the
/// throughput is in points.
fn conjugate(criterion: &mut Criterion, on: &str, engine: &impl SplineEngine<Scalar = f32>, few: usize) {
    let mut group = criterion.benchmark_group(format!("conjugate, {on}"));
    for (axes, n) in [(1, (1 << 14) / few), (1, (1 << 20) / few.pow(3)), (2, 512 / few)] {
        let points: Vec<f32> = (0..n).map(|i| 4.0 * i as f32 / (n - 1) as f32 - 2.0).collect();
        let slopes: Vec<f32> = points.iter().map(|x| 2.0 * x).collect();
        let count = usize::pow(n, axes);
        let convex = |i: usize| points[i % n].powi(2) + if axes > 1 { points[i / n].powi(2) } else { 0.0 };
        let convex: Vec<f32> = (0..count).map(convex).collect();
        let wild: Vec<f32> = convex.iter().zip(random(count)).map(|(v, noise)| v + noise).collect();
        for (name, values) in [("convex", convex), ("wild", wild)] {
            let shape = vec![n; axes as usize];
            let values = engine.upload(&values, &shape).expect("fits");
            let (axes, slopes) = (vec![&points[..]; shape.len()], vec![&slopes[..]; shape.len()]);
            group.throughput(Throughput::Elements(count as u64));
            group.bench_function(format!("{shape:?} {name}"), |bencher| {
                bencher.iter(|| finished(engine, engine.conjugate(&values, &axes, &slopes)));
            });
        }
    }
    group.finish();
}

/// A sigmoid, and the splines in its place; the throughput is in elements.
fn piecewise(criterion: &mut Criterion, on: &str, engine: &impl Engine<Scalar = f32>, few: usize) {
    let mut group = criterion.benchmark_group(format!("piecewise, {on}"));
    let count = (1 << 20) / few.pow(3);
    let x = random(count).iter().map(|v| 8.0 * v).collect::<Vec<_>>();
    let x = engine.upload(&x, &[count]).expect("fits");
    group.throughput(Throughput::Elements(count as u64));
    group.bench_function("sigmoid", |bencher| {
        bencher.iter(|| finished(engine, engine.activate(Activation::Sigmoid, 0, &x)));
    });
    for pieces in [8, 64] {
        let spline =
            SplinedActivation::new(Activation::Sigmoid, [-8.0, 8.0], pieces).expect("a sigmoid has one");
        group.bench_function(format!("{pieces} pieces of each part"), |bencher| {
            bencher.iter(|| finished(engine, engine.piecewise(&spline.sum, 0, &x)));
        });
    }
    group.finish();
}

/// Jets of all outputs of a dense network: forward once, backward for each output.
fn jets(criterion: &mut Criterion, on: &str, engine: &impl Engine<Scalar = f32>, few: usize) {
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
    let program = network.compile(engine).expect("compiles");
    let n = 256 / few;
    let x = engine.upload(&random(n * 784), &[n, 784]).expect("fits");
    let outputs: Vec<usize> = (0..10).collect();
    let mut group = criterion.benchmark_group(format!("jets, {on}"));
    group.throughput(Throughput::Elements((n * flops * 11) as u64));
    group.bench_function(format!("784-256-256-10, {n} samples, 10 outputs"), |bencher| {
        bencher.iter(|| finished(engine, program.jets(&x, &outputs)));
    });
    group.finish();
}

/// Dense products: `2 rows k n` flops. With a gate that is half shut and shared by ten directions half of them are
/// enough.
fn dense(criterion: &mut Criterion, on: &str, engine: &impl Engine<Scalar = f32>, few: usize) {
    let mut group = criterion.benchmark_group(format!("dense, {on}"));
    for (rows, k, n) in [(1000, 784, 256), (10_000, 256, 256), (1, 1024, 1024)] {
        let rows = usize::div_ceil(rows, few * few);
        let x = engine.upload(&random(rows * k), &[rows, k]).expect("fits");
        let matrix = engine.matrix(&random(k * n), k, n).expect("fits");
        group.throughput(Throughput::Elements((2 * rows * k * n) as u64));
        group.bench_function(format!("[{rows}, {k}] x [{k}, {n}]"), |bencher| {
            bencher.iter(|| finished(engine, engine.matmul(&x, None, &matrix, Epilogue::NONE)));
        });
        if rows % 10 == 0 {
            let gate: Vec<f32> =
                random(rows / 10 * k).iter().map(|&v| f32::from(u8::from(v > 0.0))).collect();
            let gate = engine.upload(&gate, &[rows / 10, k]).expect("fits");
            group.bench_function(format!("[{rows}, {k}] x [{k}, {n}], gated"), |bencher| {
                bencher.iter(|| finished(engine, engine.matmul(&x, Some(&gate), &matrix, Epilogue::NONE)));
            });
        }
    }
    group.finish();
}

/// Convolutions with bias and ReLU, and their transposes: `2 N c_out h' w' c_in / groups kernel` flops.
fn convolution(criterion: &mut Criterion, on: &str, engine: &impl Engine<Scalar = f32>, few: usize) {
    let mut group = criterion.benchmark_group(format!("convolution, {on}"));
    // Samples, channels in and out, size, kernel, stride, groups: ResNet-18, a small ResNet's jets, depthwise.
    for [n, inputs, outputs, size, kernel, stride, groups] in [
        [2, 3, 64, 224, 7, 2, 1],
        [2, 64, 64, 56, 3, 1, 1],
        [2, 128, 128, 28, 3, 1, 1],
        [2, 512, 512, 7, 3, 1, 1],
        [2, 256, 64, 56, 1, 1, 1],
        [200, 16, 16, 8, 3, 1, 1],
        [2, 96, 96, 112, 3, 1, 96],
        [2, 144, 144, 56, 3, 2, 144],
    ] {
        let (n, size) = (usize::div_ceil(n, few * few), usize::div_ceil(size, few));
        let window = Window::new([kernel; 2]).with_strides([stride; 2]).with_pads([kernel / 2; 4]);
        let shape = [outputs, inputs / groups, kernel, kernel];
        let weights = random(shape.iter().product());
        let filters = engine.filters(&weights, shape, window, groups).expect("fits");
        let image = [n, inputs, size, size];
        let x = engine.upload(&random(image.iter().product()), &image).expect("fits");
        let bias = engine.upload(&random(outputs), &[outputs]).expect("fits");
        let epilogue = Epilogue { bias: Some(&bias), activation: Some(Activation::Relu) };
        let y = engine.convolve(&x, &filters, epilogue).expect("runs");
        let name = format!("{n} x {inputs} -> {outputs}, {size} x {size}, {kernel} x {kernel} / {stride}");
        group.throughput(Throughput::Elements((2 * y.len() * weights.len() / outputs) as u64));
        group.bench_function(&name, |bencher| {
            bencher.iter(|| finished(engine, engine.convolve(&x, &filters, epilogue)));
        });
        group.bench_function(format!("{name}, transposed"), |bencher| {
            bencher.iter(|| {
                let size = [size; 2];
                finished(engine, engine.convolve_transposed(&y, Some(&y), &filters, size, Epilogue::NONE))
            });
        });
    }
    group.finish();
}

/// In how many units codes differ, for ReLU and for units of 5 to 8 pieces: `N M` pairs.
fn hamming(criterion: &mut Criterion, on: &str, engine: &impl SplineEngine<Scalar = f32>, few: usize) {
    let mut group = criterion.benchmark_group(format!("hamming, {on}"));
    let n = 4096 / few;
    for (units, bits) in [(1024, 1), (1024, 3)] {
        let words = Packing { first: 0, bits }.words(units);
        let codes: Vec<u32> =
            random(n * words).iter().map(|v| v.to_bits() & (u32::MAX >> (32 % bits))).collect();
        let codes = engine.upload_codes(&codes, words).expect("fits");
        let units_of = [UnitWords { words: 0..words, bits }];
        group.throughput(Throughput::Elements((n * n) as u64));
        group.bench_function(format!("N=M={n}, {units} units of {bits} bits"), |bencher| {
            bencher.iter(|| {
                let counts = engine.hamming(&codes, &codes, &units_of).expect("runs");
                let request = engine.request_codes(counts).expect("starts");
                black_box(engine.receive_codes(request).expect("finishes"))
            });
        });
    }
    group.finish();
}

/// The product of power series in one variable up to degree `T`: `T (T - 1) / 2` pairs of terms to each unit, 2 flops
/// each.
fn series_product(criterion: &mut Criterion, on: &str, engine: &impl SplineEngine<Scalar = f32>, few: usize) {
    let mut group = criterion.benchmark_group(format!("series product, {on}"));
    for (terms, units) in [(32, 4096), (256, 256)] {
        let (terms, units) = (terms / few.min(8), units / few);
        let mut table = ProductTable { starts: vec![0], pairs: vec![] };
        for t in 0..terms {
            table.pairs.extend((0..t).map(|i| [i as u32, (t - 1 - i) as u32]));
            table.starts.push(table.pairs.len() as u32);
        }
        let series = engine.upload(&random(terms * units), &[terms, units]).expect("fits");
        group.throughput(Throughput::Elements((2 * table.pairs.len() * units) as u64));
        group.bench_function(format!("T={terms}, {units} units"), |bencher| {
            bencher.iter(|| finished(engine, engine.series_product(&series, &series, None, &table)));
        });
    }
    group.finish();
}

fn all(criterion: &mut Criterion, on: &str, engine: &impl SplineEngine<Scalar = f32>, few: usize) {
    envelope(criterion, on, engine, few);
    soft_envelope(criterion, on, engine, few);
    max_affine(criterion, on, engine, few);
    descent(criterion, on, engine, few);
    slice(criterion, on, engine, few);
    conjugate(criterion, on, engine, few);
    piecewise(criterion, on, engine, few);
    jets(criterion, on, engine, few);
    dense(criterion, on, engine, few);
    convolution(criterion, on, engine, few);
    hamming(criterion, on, engine, few);
    series_product(criterion, on, engine, few);
}

/// On the processor, and on the best adapter there is; a software one takes smaller jobs.
fn devices(criterion: &mut Criterion) {
    all(criterion, "CPU", &Cpu::<f32>::new(), 1);
    let adapters = device::adapters();
    let Ok(Some(number)) = DeviceChoice::Gpu(None).resolve(&adapters) else { return };
    let gpu = Gpu::open(number, 1 << 30).expect("the adapter opens");
    all(criterion, "GPU", &gpu, if gpu.adapter().software { 4 } else { 1 });
}

criterion_group!(benches, devices);
criterion_main!(benches);
