//! Factors of the parameters' gradients.

use fenchel::engine::{Arithmetic, Context, Cpu, Engine, Window};
use fenchel::network::operators::{
    ArithmeticConstant, Convolution, ConvolutionTransposed, Dense, PRelu, ScaleShift,
};
use fenchel::network::{Constant, Network, Op};
use fenchel::tolerance::{APPROXIMATE, CLOSE, EXACT, relative_difference};
use ndarray::Array2;

use super::common::{random, random_rows};
use super::{dimension, one, table, values};

/// An operator from its weights and its bias.
type Make = Box<dyn Fn(&[f64], &[f64]) -> Op>;

/// A parametrised operator: input shape, parameters, and the operator with given ones.
struct Parametrised {
    name: &'static str,
    input: Vec<usize>,
    weights: usize,
    bias: usize,
    make: Make,
    /// Where the weight `(group, i, o)` of `[G, I, O]` stands among the operator's own.
    position: fn([usize; 3], [usize; 3]) -> usize,
}

fn parametrised() -> Vec<Parametrised> {
    let of = |shape: &[usize], values: &[f64]| Constant::f64(shape, values.to_vec()).unwrap();
    let window = Window::new([2, 3]).with_strides([1, 2]).with_pads([1, 0, 0, 2]).with_dilations([2, 1]);
    let straight: fn([usize; 3], [usize; 3]) -> usize = |[g, i, o], [_, il, ol]| (g * il + i) * ol + o;
    let filters: fn([usize; 3], [usize; 3]) -> usize = |[g, i, o], [_, il, ol]| (g * ol + o) * il + i;
    vec![
        Parametrised {
            name: "dense",
            input: vec![3, 4],
            weights: 20,
            bias: 5,
            make: Box::new(move |w, b| Dense::new(of(&[4, 5], w), Some(of(&[5], b))).unwrap().into()),
            position: straight,
        },
        Parametrised {
            name: "grouped convolution",
            input: vec![4, 5, 6],
            weights: 6 * 2 * 6,
            bias: 6,
            make: Box::new(move |w, b| {
                Convolution::new(of(&[6, 2, 2, 3], w), Some(of(&[6], b)), window, 2).unwrap().into()
            }),
            position: filters,
        },
        Parametrised {
            name: "grouped transposed convolution",
            input: vec![4, 5, 6],
            weights: 4 * 3 * 6,
            bias: 6,
            make: Box::new(move |w, b| {
                let window = Window::new([2, 3]).with_strides([1, 2]).with_pads([1, 0, 0, 2]);
                let (filters, bias) = (of(&[4, 3, 2, 3], w), of(&[6], b));
                ConvolutionTransposed::new(filters, Some(bias), window, 2, [5, 11]).unwrap().into()
            }),
            position: filters,
        },
        Parametrised {
            name: "scale and shift",
            input: vec![4, 5],
            weights: 4,
            bias: 4,
            make: Box::new(move |w, b| ScaleShift::new(of(&[4], w), of(&[4], b)).unwrap().into()),
            position: straight,
        },
        Parametrised {
            name: "batch normalisation",
            input: vec![4, 5],
            weights: 4,
            bias: 4,
            make: Box::new(move |w, b| {
                let (mean, deviation) = (of(&[4], &[0.3, -0.2, 0.7, -1.0]), of(&[4], &[2.0, 0.3, 1.5, 0.7]));
                ScaleShift::normalizing(&of(&[4], w), &of(&[4], b), mean, deviation).unwrap().into()
            }),
            position: straight,
        },
        Parametrised {
            name: "product with a constant",
            input: vec![4, 5, 3],
            weights: 20,
            bias: 0,
            make: Box::new(move |w, _| {
                let constant = of(&[4, 5, 1], w);
                ArithmeticConstant { operation: Arithmetic::Mul, constant, reversed: true }.into()
            }),
            position: straight,
        },
        Parametrised {
            name: "sum with a constant",
            input: vec![4, 5, 3],
            weights: 0,
            bias: 15,
            make: Box::new(move |_, b| {
                let constant = of(&[5, 3], b);
                ArithmeticConstant { operation: Arithmetic::Add, constant, reversed: false }.into()
            }),
            position: straight,
        },
        Parametrised {
            name: "PRelu",
            input: vec![4, 5, 3],
            weights: 4,
            bias: 0,
            make: Box::new(move |w, _| PRelu { slopes: of(&[4, 1, 1], w) }.into()),
            position: straight,
        },
    ]
}

#[test]
fn parameter_gradients_equal_central_differences() {
    let (samples, step) = (2, 1e-6);
    for op in parametrised() {
        let name = op.name;
        let (w, b) = (random(70, op.weights), random(71, op.bias));
        let build = |w: &[f64], b: &[f64]| one(&op.input, (op.make)(w, b));
        let base = build(&w, &b);
        let x = random_rows(72, samples, dimension(&base));
        let program = base.compile_unfolded(&Cpu::<f64>::new()).unwrap();
        let engine = program.engine();
        let (mut weights, mut bias, mut sizes) = (vec![], vec![], vec![]);
        let each = |_: usize, factors: fenchel::network::operators::ParameterFactors<Cpu<f64>>| {
            if let Some(gradient) = factors.gradient(engine)? {
                sizes = gradient.shape()[2..].to_vec();
                weights = engine.download(&gradient)?;
            }
            bias = factors.bias.map(|bias| engine.download(&bias)).transpose()?.unwrap_or_default();
            Ok(())
        };
        let layer = base.nodes().iter().position(|node| node.name() == "op").unwrap();
        let units = Array2::from_shape_fn((2, program.outputs()), |(r, k)| f64::from(k == 2 * r));
        let x_there = program.upload(x.view()).unwrap();
        program.parameter_factors(&x_there, units.view(), &[layer], each).unwrap();
        // The parameters, laid out as their gradient.
        let own = base.nodes()[layer].op().unwrap().operator().parameter_values().unwrap();
        let laid_out = (0..op.weights).map(|index| {
            let [_, il, ol] = sizes[..] else { panic!("{name} has weights") };
            let place = [index / (il * ol), index / ol % il, index % ol];
            w[(op.position)(place, [sizes[0], il, ol])]
        });
        let found = |values: Option<Constant>| values.map_or(vec![], |values| values.to::<f64>());
        assert!(relative_difference(found(own.weights), laid_out) < EXACT, "{name}");
        assert!(relative_difference(found(own.bias), b.iter().copied()) < EXACT, "{name}");
        assert_eq!((weights.len(), bias.len()), (samples * 2 * op.weights, samples * 2 * op.bias), "{name}");
        let slope = |moved: &dyn Fn(f64) -> Network| {
            let (up, down) = (values(&moved(step), &x), values(&moved(-step), &x));
            (up - down) / (2.0 * step)
        };
        for j in 0..op.bias {
            let difference = slope(&|by| {
                let mut b = b.clone();
                b[j] += by;
                build(&w, &b)
            });
            let found = (0..samples * 2).map(|row| bias[row * op.bias + j]);
            let expected = (0..samples).flat_map(|n| [difference[[n, 0]], difference[[n, 2]]]);
            let error = relative_difference(found, expected);
            assert!(error < APPROXIMATE, "{name}, bias {j}: {error:e}");
        }
        for index in 0..op.weights {
            let [_, il, ol] = sizes[..] else { panic!("{name} has weights") };
            let place = [index / (il * ol), index / ol % il, index % ol];
            let difference = slope(&|by| {
                let mut w = w.clone();
                w[(op.position)(place, [sizes[0], il, ol])] += by;
                build(&w, &b)
            });
            let found = (0..samples * 2).map(|row| weights[row * op.weights + index]);
            let expected: Vec<f64> =
                (0..samples).flat_map(|n| [difference[[n, 0]], difference[[n, 2]]]).collect();
            // A weight that few elements see has a small gradient.
            let scale = weights.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
            let error = found.zip(expected).fold(0.0_f64, |m, (a, b)| m.max((a - b).abs())) / scale;
            assert!(error < CLOSE, "{name}, weight {place:?}: {error:e}");
        }
    }
}

#[test]
fn folded_networks_equal_unfolded_ones() {
    for (name, network) in table() {
        let x = random_rows(80, 3, dimension(&network));
        let unfolded = network.compile_unfolded(&Cpu::<f64>::new()).unwrap();
        let reference = unfolded.values(x.view(), &Context::default()).unwrap();
        let folded = values(&network, &x);
        assert!(relative_difference(folded.iter().copied(), reference.iter().copied()) < EXACT, "{name}");
    }
}
