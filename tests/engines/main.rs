//! Every kernel on every engine against the same in f64: at sizes that are no multiple of anything, on numbers that are
//! symmetric in nothing, past the limits of a device, and on a device that was broken on purpose.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod codes;
#[path = "../common/mod.rs"]
mod common;
mod conjugates;
mod gram;
mod pieces;
mod series;
mod splines;

use common::{ACTIVATIONS, OF_POSITIVE, gpu, random};
use fenchel::activation::{Piece, PiecewiseAffine};
use fenchel::engine::gpu::Trial;
use fenchel::engine::{
    Activation, Arithmetic, Cpu, Engine, Epilogue, Gpu, SplineEngine, Tensor, TensorOf, Window, device,
};
use fenchel::tolerance::{CLOSE, relative_difference};
use fenchel::{Result, Scalar};

/// Something to compute on any engine.
trait Case {
    fn run<E: SplineEngine>(&self, engine: &E) -> Result<Vec<f64>>;
}

/// Random numbers that `f32` holds exactly, as a tensor.
fn tensor<E: Engine>(engine: &E, seed: u64, shape: &[usize]) -> TensorOf<E> {
    engine.upload(&values(seed, shape.iter().product()), shape).unwrap()
}

fn values<S: Scalar>(seed: u64, count: usize) -> Vec<S> {
    random(seed, count).iter().map(|&v| S::of(f64::from(v as f32))).collect()
}

fn read<E: Engine>(engine: &E, tensor: &TensorOf<E>) -> Result<Vec<f64>> {
    Ok(engine.download(tensor)?.iter().map(|v| v.f64()).collect())
}

/// How far an engine is from f64.
fn difference(case: &impl Case, engine: &impl SplineEngine) -> Result<f64> {
    let reference = case.run(&Cpu::<f64>::new())?;
    Ok(relative_difference(case.run(engine)?, reference))
}

struct Matmul {
    samples: usize,
    repeats: usize,
    inner: usize,
    k: usize,
    n: usize,
    gate: bool,
    bias: bool,
    activation: Option<Activation>,
}

impl Case for Matmul {
    fn run<E: SplineEngine>(&self, engine: &E) -> Result<Vec<f64>> {
        let &Self { samples, repeats, inner, k, n, gate, bias, activation } = self;
        let x = tensor(engine, 1, &[samples * repeats, inner, k]);
        let gate = gate.then(|| tensor(engine, 2, &[samples, inner, k]));
        let matrix = engine.matrix(&values(3, k * n), k, n)?;
        let bias = bias.then(|| tensor(engine, 4, &[n]));
        let epilogue = Epilogue { bias: bias.as_ref(), activation };
        let y = engine.matmul(&x, gate.as_ref(), &matrix, epilogue)?;
        assert_eq!(y.shape(), [samples * repeats, inner, n]);
        read(engine, &y)
    }
}

struct Multiply {
    a: &'static [usize],
    b: &'static [usize],
    transposed: [bool; 2],
}

impl Case for Multiply {
    fn run<E: SplineEngine>(&self, engine: &E) -> Result<Vec<f64>> {
        let (a, b) = (tensor(engine, 1, self.a), tensor(engine, 2, self.b));
        read(engine, &engine.multiply(&a, &b, self.transposed)?)
    }
}

struct Convolve {
    image: [usize; 4],
    outputs: usize,
    window: Window,
    groups: usize,
}

impl Case for Convolve {
    fn run<E: SplineEngine>(&self, engine: &E) -> Result<Vec<f64>> {
        let &Self { image, outputs, window, groups } = self;
        let shape = [outputs, image[1] / groups, window.kernel[0], window.kernel[1]];
        let filters = engine.filters(&values(2, shape.iter().product()), shape, window, groups)?;
        let bias = tensor(engine, 3, &[outputs]);
        let epilogue =
            Epilogue { bias: Some(&bias), activation: Some(Activation::LeakyRelu { slope: 0.25 }) };
        let y = engine.convolve(&tensor(engine, 1, &image), &filters, epilogue)?;
        // Two directions for each sample, with a gate.
        let gate = tensor(engine, 4, y.shape());
        let twice = [&[2 * image[0]], &y.shape()[1..]].concat();
        let size = [image[2], image[3]];
        let bias = tensor(engine, 6, &[image[1]]);
        let epilogue = Epilogue { bias: Some(&bias), activation: None };
        let cotangents = tensor(engine, 5, &twice);
        let gated = engine.convolve_transposed(&cotangents, Some(&gate), &filters, size, epilogue)?;
        let plain = engine.convolve_transposed(&cotangents, None, &filters, size, Epilogue::NONE)?;
        Ok([read(engine, &y)?, read(engine, &gated)?, read(engine, &plain)?].concat())
    }
}

struct Pool {
    image: [usize; 4],
    window: Window,
    counted: [usize; 4],
}

impl Case for Pool {
    fn run<E: SplineEngine>(&self, engine: &E) -> Result<Vec<f64>> {
        let &Self { image, window, counted } = self;
        // Few different numbers, so that windows hold ties.
        let few: Vec<E::Scalar> =
            random(1, image.iter().product()).iter().map(|v| E::Scalar::of((v * 3.0).round())).collect();
        let x = engine.upload(&few, &image)?;
        let size = [image[2], image[3]];
        let (y, picked) = engine.max_pool(&x, window)?;
        let twice = |shape: &[usize]| [&[2 * shape[0]], &shape[1..]].concat();
        let tangents = engine.max_pool_gather(&tensor(engine, 2, &twice(&image)), &picked)?;
        let cotangents = engine.max_pool_scatter(&tensor(engine, 3, &twice(y.shape())), &picked, size)?;
        let mean = engine.average_pool(&tensor(engine, 4, &image), window, counted)?;
        let shared =
            engine.average_pool_transposed(&tensor(engine, 5, mean.shape()), window, counted, size)?;
        let all = [&y, &tangents, &cotangents, &mean, &shared];
        Ok(all.into_iter().map(|t| read(engine, t)).collect::<Result<Vec<_>>>()?.concat())
    }
}

struct Activate(Activation, u8);

impl Case for Activate {
    fn run<E: SplineEngine>(&self, engine: &E) -> Result<Vec<f64>> {
        let Self(activation, order) = *self;
        let positive = matches!(activation, Activation::Log | Activation::Sqrt | Activation::Power { .. });
        let inputs =
            random(1, 1000).into_iter().map(|v| if positive { v.abs() + 0.1 } else { 3.0 * v - 1.0 });
        let kinks = [-3.0, 0.0, 1.0, 3.0].into_iter().filter(|&v| !positive || v > 0.0);
        let x: Vec<E::Scalar> = inputs.chain(kinks).map(|v| E::Scalar::of(f64::from(v as f32))).collect();
        read(engine, &engine.activate(activation, order, &engine.upload(&x, &[x.len()])?)?)
    }
}

/// A table of so many knots; a few inputs lie on them.
struct Piecewise {
    knots: usize,
    count: usize,
    order: u8,
}

impl Case for Piecewise {
    fn run<E: SplineEngine>(&self, engine: &E) -> Result<Vec<f64>> {
        let &Self { knots, count, order } = self;
        let numbers = values::<f64>(1, knots + 1);
        let at =
            |i: usize| f64::from((3.0 * i as f64 / knots.max(1) as f64 - 1.0 + 0.01 * numbers[i]) as f32);
        let mut knots: Vec<f64> = (0..knots).map(at).collect();
        knots.sort_by(f64::total_cmp);
        let mut table = vec![Piece { at: -1.5, value: 0.25, slope: -0.5 }];
        for (i, &at) in knots.iter().enumerate() {
            let value = f64::from(table[i].value_at(at) as f32);
            table.push(Piece { at, value, slope: numbers[i + 1] });
        }
        let mut x: Vec<E::Scalar> = values(2, count);
        let on_knots = knots.iter().zip(&mut x).step_by(3);
        on_knots.for_each(|(&knot, x)| *x = E::Scalar::of(knot));
        let function = PiecewiseAffine::new(knots, table)?;
        read(engine, &engine.piecewise(&function, order, &engine.upload(&x, &[x.len()])?)?)
    }
}

struct Combine {
    operation: Arithmetic,
    a: &'static [usize],
    b: &'static [usize],
}

impl Case for Combine {
    fn run<E: SplineEngine>(&self, engine: &E) -> Result<Vec<f64>> {
        let a = tensor(engine, 1, self.a);
        // Divisors away from 0.
        let b: Vec<E::Scalar> = values::<f64>(2, self.b.iter().product())
            .iter()
            .map(|v| E::Scalar::of(f64::from((v + v.signum() * 0.5) as f32)))
            .collect();
        read(engine, &engine.arithmetic(self.operation, &a, &engine.upload(&b, self.b)?)?)
    }
}

struct Sum(&'static [usize], &'static [usize]);

impl Case for Sum {
    fn run<E: SplineEngine>(&self, engine: &E) -> Result<Vec<f64>> {
        read(engine, &engine.sum(&tensor(engine, 1, self.0), self.1)?)
    }
}

struct Softmax(&'static [usize], usize, bool);

impl Case for Softmax {
    fn run<E: SplineEngine>(&self, engine: &E) -> Result<Vec<f64>> {
        read(engine, &engine.softmax(&tensor(engine, 1, self.0), self.1, self.2)?)
    }
}

/// Selections, permutations, padding and joining of `[3, 5, 4, 7]`.
struct Move;

impl Case for Move {
    fn run<E: SplineEngine>(&self, engine: &E) -> Result<Vec<f64>> {
        let shape = [3, 5, 4, 7];
        let x = tensor(engine, 1, &shape);
        let mut all = vec![];
        for (axis, length) in shape.into_iter().enumerate() {
            let indices: Vec<u32> = (0..9).map(|i| (i * i + 1) % length as u32).collect();
            let picked = engine.select(&x, axis, &indices)?;
            all.push(read(engine, &engine.select_transposed(&picked, axis, &indices, length + 2)?)?);
            all.push(read(engine, &picked)?);
            all.push(read(engine, &engine.concat(&[&x, &picked, &x], axis)?)?);
        }
        let orders = [
            [0, 1, 2, 3],
            [0, 2, 1, 3],
            [0, 1, 3, 2],
            [3, 2, 1, 0],
            [1, 0, 3, 2],
            [0, 3, 1, 2],
            [2, 3, 0, 1],
        ];
        for order in orders {
            all.push(read(engine, &engine.permute(&x, &order)?)?);
        }
        let value = E::Scalar::of(0.5);
        all.push(read(engine, &engine.pad(&x, &[0, 1, 0, 2], &[0, 0, 3, 1], value)?)?);
        all.push(read(engine, &engine.pad(&x, &[-1, 0, -2, -3], &[0, -1, 1, -2], value)?)?);
        Ok(all.concat())
    }
}

/// Runs everything and names what is too far off.
fn failures<E: SplineEngine>(engine: &E) -> Vec<String> {
    let mut failures = vec![];
    let mut check = |name: String, tolerance: f64, found: Result<f64>| match found {
        Ok(difference) if difference <= tolerance => {}
        Ok(difference) => failures.push(format!("{name}: {difference:e}")),
        Err(error) => failures.push(format!("{name}: {error}")),
    };
    for (samples, repeats, inner, k, n) in [
        (5, 1, 1, 33, 70),
        (3, 10, 1, 300, 37),
        (3, 5, 2, 20, 9),
        (1, 1, 1, 530, 300),
        (2, 17, 1, 8, 1),
        (130, 1, 1, 64, 128),
    ] {
        for (gate, bias, activation) in [
            (false, false, None),
            (true, true, Some(Activation::Relu)),
            (true, false, Some(Activation::Clip { low: -0.5, high: 0.75 })),
            (false, true, Some(Activation::Tanh)),
        ] {
            let case = Matmul { samples, repeats, inner, k, n, gate, bias, activation };
            let name = format!("matmul {:?}", (samples, repeats, inner, k, n, gate, bias, activation));
            check(name, CLOSE, difference(&case, engine));
        }
    }
    for (a, b) in [
        (&[1, 37, 20][..], &[1, 20, 45][..]),
        (&[3, 2, 9, 40], &[3, 2, 40, 9]),
        (&[2, 3, 5, 140], &[1, 3, 140, 130]),
        (&[1, 130, 7], &[4, 7, 3]),
    ] {
        for transposed in [[false, false], [true, false], [false, true], [true, true]] {
            let flip = |shape: &'static [usize], flip: bool| -> &'static [usize] {
                let mut shape = shape.to_vec();
                let last = shape.len() - 1;
                if flip {
                    shape.swap(last - 1, last);
                }
                Box::leak(shape.into_boxed_slice())
            };
            let case = Multiply { a: flip(a, transposed[0]), b: flip(b, transposed[1]), transposed };
            check(format!("multiply {a:?} {b:?} {transposed:?}"), CLOSE, difference(&case, engine));
        }
    }
    let plain = Window::new([3, 3]).with_pads([1; 4]);
    let strided = Window::new([3, 3]).with_strides([2, 2]).with_pads([1; 4]);
    for (image, outputs, window, groups) in [
        ([3, 4, 7, 9], 6, Window::new([1, 1]), 1),
        ([2, 6, 11, 9], 70, plain, 1),
        ([2, 20, 9, 11], 33, strided, 1),
        ([2, 3, 20, 33], 5, Window::new([7, 7]).with_strides([2, 2]).with_pads([3; 4]), 1),
        ([3, 12, 13, 10], 12, strided, 12),
        ([1, 40, 6, 5], 130, Window::new([1, 1]), 1),
        ([2, 4, 8, 7], 8, Window::new([3, 2]).with_strides([2, 3]).with_pads([1, 0, 2, 1]), 2),
        ([2, 4, 1, 40], 6, Window::new([1, 5]).with_dilations([1, 3]).with_strides([1, 3]), 2),
        ([2, 2, 9, 8], 3, Window::new([2, 3]).with_dilations([2, 2]).with_pads([0, 3, 1, 0]), 1),
    ] {
        let case = Convolve { image, outputs, window, groups };
        check(
            format!("convolution {image:?} to {outputs}, {window:?}, {groups}"),
            CLOSE,
            difference(&case, engine),
        );
    }
    for (image, window, counted) in [
        ([2, 3, 7, 9], Window::new([2, 2]).with_strides([2, 2]), [0; 4]),
        ([1, 2, 8, 5], Window::new([3, 2]).with_strides([2, 1]).with_pads([1, 0, 1, 1]), [1, 0, 1, 1]),
        ([2, 2, 9, 9], Window::new([2, 3]).with_dilations([2, 2]).with_pads([1, 2, 1, 2]), [1, 0, 0, 2]),
        ([1, 5, 6, 6], Window::new([6, 6]), [0; 4]),
    ] {
        check(
            format!("pooling {image:?} {window:?}"),
            CLOSE,
            difference(&Pool { image, window, counted }, engine),
        );
    }
    for activation in ACTIVATIONS.into_iter().chain(OF_POSITIVE) {
        for order in 0..3 {
            check(
                format!("{activation:?}, order {order}"),
                CLOSE,
                difference(&Activate(activation, order), engine),
            );
        }
    }
    for (knots, count) in [(0, 5), (1, 7), (2, 300), (37, 1000), (200, 70_001)] {
        for order in 0..3 {
            let case = Piecewise { knots, count, order };
            check(format!("{knots} knots at {count}, order {order}"), CLOSE, difference(&case, engine));
        }
    }
    let operations = [
        Arithmetic::Add,
        Arithmetic::Sub,
        Arithmetic::Mul,
        Arithmetic::Div,
        Arithmetic::Min,
        Arithmetic::Max,
        Arithmetic::AtLeast,
    ];
    for operation in operations {
        for (a, b) in [
            (&[13, 70][..], &[13, 70][..]),
            (&[13, 70], &[1, 70]),
            (&[13, 1], &[1, 70]),
            (&[4, 3, 1, 5], &[1, 3, 6, 1]),
            (&[1], &[1]),
            (&[2, 1, 3, 1, 2, 1, 3], &[1, 2, 1, 3, 1, 2, 3]),
        ] {
            check(
                format!("{operation:?} {a:?} {b:?}"),
                CLOSE,
                difference(&Combine { operation, a, b }, engine),
            );
        }
    }
    for (shape, axes) in [
        (&[7, 5, 9][..], &[1][..]),
        (&[7, 5, 9], &[2]),
        (&[7, 5, 9], &[0]),
        (&[7, 5, 9], &[0, 2]),
        (&[7, 5, 9], &[0, 1, 2]),
        (&[3, 2000], &[1]),
        (&[3, 2000, 2], &[1]),
        (&[5, 90], &[1]),
        (&[2, 3, 4, 5, 6], &[1, 3]),
    ] {
        check(format!("sum {shape:?} over {axes:?}"), CLOSE, difference(&Sum(shape, axes), engine));
    }
    for (shape, axis) in
        [(&[7, 5, 9][..], 1), (&[7, 5, 9], 2), (&[3, 300], 1), (&[2, 70, 3], 1), (&[4, 6], 0)]
    {
        for log in [false, true] {
            check(
                format!("softmax {shape:?} {axis} {log}"),
                CLOSE,
                difference(&Softmax(shape, axis, log), engine),
            );
        }
    }
    check("moves".to_owned(), 0.0, difference(&Move, engine).map(|d| if d < 1e-7 { 0.0 } else { d }));
    codes::check_all(engine, &mut check);
    conjugates::check_all(engine, &mut check);
    for case in gram::CASES {
        check(format!("{case:?}"), CLOSE, difference(&case, engine));
    }
    pieces::check_all(engine, &mut check);
    series::check_all(engine, &mut check);
    splines::check_all(engine, check);
    failures
}

#[test]
fn the_cpu_passes() {
    assert_eq!(failures(&Cpu::<f32>::new()), Vec::<String>::new());
}

#[test]
fn the_gpu_passes() {
    let Some(gpu) = gpu() else { return };
    assert_eq!(failures(&gpu), Vec::<String>::new());
}

/// Parameters as uniforms, and jobs cut into many dispatches; scratch memory for a few products at a time.
#[test]
fn the_gpu_passes_with_few_workgroups_at_once_and_without_immediates() {
    let Some(first) = gpu() else { return };
    let trial = Trial { workgroups: Some(3), immediates: false, ..Trial::default() };
    let gpu = Gpu::open_for_trial(first.adapter().number, 1 << 18, trial).unwrap();
    assert_eq!(failures(&gpu), Vec::<String>::new());
}

#[test]
fn weights_beyond_a_binding_are_kept_in_parts() {
    let Some(first) = gpu() else { return };
    // 130 x 300 numbers are 156 KB; two of the parts hold 96 columns each, the last what is left.
    let trial = Trial { tensor: Some(1 << 16), ..Trial::default() };
    let gpu = Gpu::open_for_trial(first.adapter().number, 1 << 28, trial).unwrap();
    let (bias, activation) = (true, Some(Activation::Relu));
    let case = Matmul { samples: 3, repeats: 2, inner: 1, k: 130, n: 300, gate: true, bias, activation };
    let found = difference(&case, &gpu).unwrap();
    assert!(found < CLOSE, "{found:e}");
}

#[test]
fn adapters_describe_themselves() {
    let Some(_) = gpu() else { return };
    for (number, adapter) in device::adapters().iter().enumerate() {
        assert_eq!(adapter.number, number);
        assert!(!adapter.name.is_empty() && adapter.largest_binding >= 1 << 20, "{adapter:?}");
        assert_eq!(adapter.software, adapter.kind == "software");
    }
}

/// The suite itself: each of these breaks one kernel a little.
#[test]
fn a_broken_kernel_fails() {
    let Some(first) = gpu() else { return };
    for (file, right, wrong) in [
        ("arithmetic", "return a - b;", "return b - a;"),
        ("pooling", "value > largest", "value >= largest"),
        ("piecewise", "1u) < u)", "1u) <= u)"),
        ("code", "1u) < u)", "1u) <= u)"),
        ("code", "column * params.stride_x", "column"),
        ("envelope", "max(pairs.norm +", "max(pairs.norm -"),
        ("soft_envelope", "sums.tangent * scale,", "sums.tangent,"),
        ("distances", "k * STRIDE + quad] = point", "quad * STRIDE + k] = point"),
        ("hamming", "countOneBits(any &", "countOneBits(differences &"),
        ("hamming", "params.add == 1", "false"),
        ("max_affine", "score > best && conjugate", "score >= best && conjugate"),
        ("max_affine", "if score <= values[before]", "if score < values[before]"),
        ("slice", "MARGIN * sizes", "-MARGIN * sizes"),
        ("descent", "derivative -= pull", "derivative += pull"),
        ("conjugate", "select(best[j], score, better)", "select(score, best[j], better)"),
        ("conjugate", "if score > best {", "if score >= best {"),
        ("series_product", "if term < params.scaled", "if term <= params.scaled"),
        ("series_product", "b[pair.y * params.units", "b[pair.x * params.units"),
        ("gram", "sum_4 + params.constant", "sum_4"),
        ("gram", "rows / shared_by", "rows"),
    ] {
        let trial = Trial { edit: Some((file, right, wrong)), ..Trial::default() };
        let gpu = Gpu::open_for_trial(first.adapter().number, 1 << 28, trial).unwrap();
        let failures = failures(&gpu);
        assert!(!failures.is_empty(), "nobody notices {wrong} in {file}");
    }
}

#[test]
fn a_tensor_beyond_a_binding_is_refused_by_name() {
    let Some(first) = gpu() else { return };
    let trial = Trial { tensor: Some(1 << 12), ..Trial::default() };
    let gpu = Gpu::open_for_trial(first.adapter().number, 1 << 28, trial).unwrap();
    let error = gpu.upload(&[1.0; 2000], &[2000]).unwrap_err().to_string();
    assert!(error.contains("MiB") && error.contains(&first.adapter().name), "{error}");
    assert_eq!(gpu.largest_tensor(), 1 << 12);
    let kept: Tensor<_> = gpu.upload(&[1.0; 1000], &[1000]).unwrap();
    assert_eq!(gpu.download(&kept).unwrap(), [1.0; 1000]);
}
