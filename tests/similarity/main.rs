//! Gradient similarity against the gradients themselves, in f64: by finite differences over the parameters, and out of
//! their factors.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../common/mod.rs"]
mod common;
mod differences;
mod factors;

use common::{dense, gpu, mlp, random, random_rows};
use fenchel::Scalar;
use fenchel::data::Dataset;
use fenchel::engine::{Activation, Arithmetic, Context, Cpu, SplineEngine, Window};
use fenchel::network::operators::{
    Branches, Convolution, ConvolutionTransposed, Dense, PRelu, Reshape, ScaleShift,
};
use fenchel::network::{Constant, Network};
use fenchel::similarity::{Combine, Gradients, Metric, Road, Similarity, Weights};
use fenchel::tolerance::{APPROXIMATE, CLOSE, EXACT, relative_difference};
use ndarray::Array2;

const COMBINES: [Combine; 3] = [Combine::Sum, Combine::Trace, Combine::Pairs];

fn dataset(x: &Array2<f64>) -> Dataset {
    Dataset::from_array(x.view()).unwrap()
}

/// Numbers handed out one after the other, each tensor's marked by its size.
struct Parameters {
    values: Vec<f64>,
    at: usize,
}

impl Parameters {
    fn take(&mut self, shape: &[usize]) -> Constant {
        let count: usize = shape.iter().product();
        let values = self.values[self.at..self.at + count].to_vec();
        self.at += count;
        Constant::f64(shape, values).unwrap()
    }
}

/// A network with every operator that has parameters, and a residual block, out of its parameters; how many it takes.
fn everything(values: &[f64]) -> (Network, usize) {
    let mut p = Parameters { values: values.to_vec(), at: 0 };
    let mut b = Network::builder();
    let x = b.input("x", &[2, 5, 4]).unwrap();
    let window = Window::new([3, 2]).with_pads([1, 0, 1, 1]);
    let conv = Convolution::new(p.take(&[4, 1, 3, 2]), Some(p.take(&[4])), window, 2).unwrap();
    let h = b.add("conv", conv, &[x]).unwrap();
    let (mean, deviation) = ([0.1, -0.3, 0.2, 0.5].to_vec(), [0.5, 2.0, 1.5, 0.7].to_vec());
    let (mean, deviation) = (Constant::f64([4], mean).unwrap(), Constant::f64([4], deviation).unwrap());
    let norm = ScaleShift::normalizing(&p.take(&[4]), &p.take(&[4]), mean, deviation).unwrap();
    let h = b.add("norm", norm, &[h]).unwrap();
    let h = b.add("prelu", PRelu { slopes: p.take(&[4, 1, 1]) }, &[h]).unwrap();
    let same = Window::new([3, 3]).with_pads([1; 4]);
    let inner = Convolution::new(p.take(&[4, 4, 3, 3]), None, same, 1).unwrap();
    let inside = b.add("inside", inner, &[h]).unwrap();
    let inside = b.add("tanh", Activation::Tanh, &[inside]).unwrap();
    let h = b.add("residual", Branches { operation: Arithmetic::Add }, &[inside, h]).unwrap();
    let wide = Window::new([2, 2]).with_strides([2, 1]);
    let transposed =
        ConvolutionTransposed::new(p.take(&[4, 1, 2, 2]), Some(p.take(&[2])), wide, 2, [10, 5]).unwrap();
    let h = b.add("transposed", transposed, &[h]).unwrap();
    let h = b.add("sigmoid", Activation::Sigmoid, &[h]).unwrap();
    let add = |operation, constant| fenchel::network::operators::ArithmeticConstant {
        operation,
        constant,
        reversed: false,
    };
    let h = b.add("scale", add(Arithmetic::Mul, p.take(&[2, 1, 5])), &[h]).unwrap();
    // Rows of five go through a layer of their own, so that it has several positions.
    let rows = Dense::new(p.take(&[5, 3]), Some(p.take(&[3]))).unwrap();
    let h = b.add("rows", rows, &[h]).unwrap();
    let h = b.add("shift", add(Arithmetic::Add, p.take(&[10, 1])), &[h]).unwrap();
    let h = b.add("softplus", Activation::Softplus, &[h]).unwrap();
    let h = b.add("flat", Reshape { shape: vec![60] }, &[h]).unwrap();
    let end = b.add("end", Dense::new(p.take(&[60, 3]), Some(p.take(&[3]))).unwrap(), &[h]).unwrap();
    (b.finish(&[end]).unwrap(), p.at)
}

/// The parameters of [`everything`].
fn parameters() -> Vec<f64> {
    let many: Vec<f64> = random(3, 1000).iter().map(|v| 0.3 * (v - 0.5)).collect();
    let (_, count) = everything(&many);
    many[..count].to_vec()
}

fn matrix<E: SplineEngine>(
    similarity: &Similarity<'_, E>,
    x: &Array2<f64>,
    y: Option<&Array2<f64>>,
    context: &Context,
) -> Vec<f64> {
    let (x, y) = (dataset(x), y.map(dataset));
    let mut all = vec![];
    let mut next = 0;
    similarity
        .matrix(&x, y.as_ref(), None, context, |range, values| {
            assert_eq!(range.start, next);
            next = range.end;
            all.extend(values.iter().map(|v| v.f64()));
            Ok(())
        })
        .unwrap();
    assert_eq!(next, x.len());
    all
}

#[test]
fn little_memory_gives_the_same() {
    let network = everything(&parameters()).0;
    let (x, y) = (random_rows(1, 12, 40), random_rows(2, 8, 40));
    for combine in COMBINES {
        let gradients = Gradients::new(&network, &Cpu::<f64>::new(), &[0, 1, 2], combine, None).unwrap();
        // Each road with some of what is combined.
        let roads = if combine == Combine::Trace { vec![Road::Gradient] } else { vec![Road::Products] };
        for road in roads {
            let similarity = Similarity::new(&gradients, Metric::Plain, Weights::None).on_road(road);
            let whole = Context::default();
            let all = [matrix(&similarity, &x, None, &whole), matrix(&similarity, &x, Some(&y), &whole)];
            // Strips, windows and groups of layers, down to what is refused.
            let scratch = gradients.program().scratch_bytes();
            let mut kinds = std::collections::BTreeSet::new();
            for budget in (14..19).flat_map(|exponent| [4, 5, 6, 7].map(|n| scratch + (n << exponent))) {
                let context = Context::default().with_memory(budget);
                let plans = [similarity.plan(12, None, budget), similarity.plan(12, Some(8), budget)];
                let [Ok(square), Ok(other)] = plans else { continue };
                kinds.insert((square.half, square.groups.len() > 1, square.strip < 12, other.window < 8));
                let found =
                    [matrix(&similarity, &x, None, &context), matrix(&similarity, &x, Some(&y), &context)];
                for (found, all) in found.into_iter().zip(&all) {
                    let error = relative_difference(found, all.iter().copied());
                    assert!(error < EXACT, "{combine:?} on {road:?}, {budget} bytes: {error:e}");
                }
            }
            assert!(kinds.len() > 2, "{kinds:?}");
            let context = Context::default().with_memory(1 << 10);
            let refused = similarity.matrix(&dataset(&x), None, None, &context, |_, _| Ok(()));
            assert!(refused.unwrap_err().to_string().contains("--memory"));
        }
    }
}

#[test]
fn a_matrix_with_itself_is_symmetric_to_the_bit() {
    let network = mlp(5, [7, 40, 3], Activation::Relu);
    let x = random_rows(1, 150, 7);
    let gradients = Gradients::new(&network, &Cpu::<f32>::new(), &[0, 1, 2], Combine::Sum, None).unwrap();
    let similarity = Similarity::new(&gradients, Metric::Plain, Weights::None);
    let found = matrix(&similarity, &x, None, &Context::default());
    let found = Array2::from_shape_vec((150, 150), found).unwrap();
    assert_eq!(found, found.t());
    let other = matrix(&similarity, &x, Some(&x), &Context::default());
    assert!(relative_difference(found.iter().copied(), other) < CLOSE);
}

#[test]
fn both_engines_give_the_same() {
    let Some(gpu) = gpu() else { return };
    let network = everything(&parameters()).0;
    let (x, y) = (random_rows(1, 9, 40), random_rows(2, 4, 40));
    for combine in COMBINES {
        let on = |metric, combine| {
            let cpu = Gradients::new(&network, &Cpu::<f64>::new(), &[0, 2], combine, None).unwrap();
            let there = Gradients::new(&network, &gpu, &[0, 2], combine, None).unwrap();
            let weights = Weights::of(metric, None).unwrap();
            let reference =
                matrix(&Similarity::new(&cpu, metric, weights), &x, Some(&y), &Context::default());
            let found = matrix(&Similarity::new(&there, metric, weights), &x, Some(&y), &Context::default());
            relative_difference(found, reference)
        };
        for metric in [Metric::Plain, Metric::Block, Metric::Diagonal] {
            let error = on(metric, combine);
            assert!(error < APPROXIMATE, "{combine:?}, {}: {error:e}", metric.name());
        }
    }
    let similarity = Gradients::new(&network, &gpu, &[0], Combine::Sum, None).unwrap();
    let similarity = Similarity::new(&similarity, Metric::Plain, Weights::None);
    let found = Array2::from_shape_vec((9, 9), matrix(&similarity, &x, None, &Context::default())).unwrap();
    assert_eq!(found, found.t());
}

/// What normalises the input and single numbers are no parameters, unless they are named.
#[test]
fn constants_before_the_first_layer_are_no_parameters() {
    use fenchel::network::operators::ArithmeticConstant;
    let constant = |operation, values: &[f64]| ArithmeticConstant {
        operation,
        constant: Constant::f64([values.len()], values.to_vec()).unwrap(),
        reversed: false,
    };
    let mut b = Network::builder();
    let x = b.input("x", &[3]).unwrap();
    let h = b.add("mean", constant(Arithmetic::Sub, &[0.1, 0.2, 0.3]), &[x]).unwrap();
    let h = b.add("gain", constant(Arithmetic::Mul, &[2.0, 3.0, 4.0]), &[h]).unwrap();
    let h = b.add("dense", dense(1, 3, 4), &[h]).unwrap();
    let h = b.add("half", constant(Arithmetic::Mul, &[0.5]), &[h]).unwrap();
    let h = b.add("shift", constant(Arithmetic::Add, &[0.1, 0.2, 0.3, 0.4]), &[h]).unwrap();
    let network = b.finish(&[h]).unwrap();
    let names = |chosen: Option<&[String]>| -> Vec<String> {
        network.parameter_layers(chosen).unwrap().into_iter().map(|layer| layer.name).collect()
    };
    assert_eq!(names(None), ["dense", "shift"]);
    let chosen = ["half".to_owned(), "gain".to_owned()];
    assert_eq!(names(Some(&chosen)), ["gain", "half"]);
    let refused = network.parameter_layers(Some(&["mean".to_owned()])).unwrap_err().to_string();
    assert!(refused.contains("'mean'") && refused.contains("factors"), "{refused}");
}
