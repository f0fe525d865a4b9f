//! Similarities and metrics against gradients out of their factors.

use fenchel::data::{Dataset, ReadOptions};
use fenchel::engine::{Activation, Context, Cpu, Engine, Window};
use fenchel::network::onnx::{self, LoadOptions};
use fenchel::network::operators::{Convolution, Dense, Reshape};
use fenchel::network::{Constant, Network};
use fenchel::similarity::{
    Combine, Gradients, Metric, SignRatios, Similarity, Weights, extents, projections,
};
use fenchel::tolerance::{CLOSE, EXACT, relative_difference};
use ndarray::{Array2, Axis, s};

use super::common::{mlp, random, random_rows};
use super::{dataset, everything, matrix, parameters};

/// The gradient of every parameter `[N, P]` of the sum of the outputs, in the order of layers, weights and bias.
fn explicit(network: &Network, x: &Array2<f64>) -> (Array2<f64>, Vec<Vec<f64>>) {
    let layers = network.parameter_layers(None).unwrap();
    let program = network.compile_unfolded(&Cpu::<f64>::new()).unwrap();
    let (engine, ones) = (program.engine(), Array2::ones((1, program.outputs())));
    let positions: Vec<usize> = layers.iter().map(|layer| layer.position).collect();
    let mut parts: Vec<Option<Array2<f64>>> = vec![None; layers.len()];
    let rows = |t: &fenchel::engine::TensorOf<Cpu<f64>>| {
        Array2::from_shape_vec((x.nrows(), t.len() / x.nrows()), engine.download(t).unwrap()).unwrap()
    };
    program
        .parameter_factors(
            &program.upload(x.view()).unwrap(),
            ones.view(),
            &positions,
            |position, factors| {
                let both = [factors.gradient(engine)?, factors.bias];
                let both: Vec<Array2<f64>> = both.iter().flatten().map(rows).collect();
                let both: Vec<_> = both.iter().map(|part| part.view()).collect();
                let layer = positions.iter().position(|&p| p == position).unwrap();
                parts[layer] = Some(ndarray::concatenate(Axis(1), &both).unwrap());
                Ok(())
            },
        )
        .unwrap();
    let parts: Vec<Array2<f64>> = parts.into_iter().flatten().collect();
    let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
    let theta = layers.iter().map(|layer| {
        let own = [&layer.values.weights, &layer.values.bias].into_iter().flatten();
        own.flat_map(Constant::to::<f64>).collect()
    });
    (ndarray::concatenate(Axis(1), &views).unwrap(), theta.collect())
}

#[test]
fn metrics_equal_their_formulas() {
    let network = everything(&parameters()).0;
    let (x, y) = (random_rows(1, 6, 40), random_rows(2, 5, 40));
    let ((of_x, theta), (of_y, _)) = (explicit(&network, &x), explicit(&network, &y));
    let gradients = Gradients::new(&network, &Cpu::<f64>::new(), &[0, 1, 2], Combine::Sum, None).unwrap();
    let all: Array2<f64> =
        Array2::from_shape_vec((theta.iter().map(Vec::len).sum(), 1), theta.concat()).unwrap();
    let blocks = |g: &Array2<f64>| {
        let mut at = 0;
        let columns: Vec<Array2<f64>> = theta
            .iter()
            .map(|theta| {
                let part = g.slice(s![.., at..at + theta.len()]);
                at += theta.len();
                part.dot(&Array2::from_shape_vec((theta.len(), 1), theta.clone()).unwrap())
            })
            .collect();
        ndarray::concatenate(Axis(1), &columns.iter().map(|c| c.view()).collect::<Vec<_>>()).unwrap()
    };
    let diagonal = |g: &Array2<f64>| g * &all.t();
    let labels = [0, 1, 0, 2, 1, 1];
    let ratios = SignRatios::new(&gradients, &dataset(&x), &labels, &Context::default()).unwrap();
    let mask = ratios.mask(1.2).unwrap();
    // The ratios, pair by pair.
    let agree = |i: usize, j: usize, k: usize| of_x[[i, k]] * of_x[[j, k]] > 0.0;
    let expected: Vec<f64> = (0..of_x.ncols())
        .map(|k| {
            let (mut rates, mut pairs) = ([0.0; 2], [0.0; 2]);
            for (i, j) in (0..6).flat_map(|j| (0..j).map(move |i| (i, j))) {
                let kind = usize::from(labels[i] != labels[j]);
                pairs[kind] += 1.0;
                rates[kind] += f64::from(u8::from(agree(i, j, k)));
            }
            let [within, across] = [0, 1].map(|kind| rates[kind] / pairs[kind]);
            if within > 0.0 { within / across } else { 0.0 }
        })
        .collect();
    let found: Vec<f64> = (0..gradients.layers().len())
        .flat_map(|layer| ratios.layer(layer).iter().map(|&r| f64::from(r)).collect::<Vec<_>>())
        .collect();
    assert!(found.iter().zip(&expected).all(|(a, b)| a == b || (a - b).abs() < CLOSE * b));
    let kept: Vec<bool> = expected.iter().map(|&ratio| ratio >= 1.2).collect();
    assert_eq!(mask.kept().iter().sum::<usize>(), kept.iter().filter(|&&kept| kept).count());
    assert!(kept.contains(&true) && kept.contains(&false));
    let sparse =
        |g: &Array2<f64>| Array2::from_shape_fn(g.dim(), |(i, k)| if kept[k] { g[[i, k]] } else { 0.0 });
    assert!(ratios.mask(1e9).is_err() || expected.contains(&f64::INFINITY));
    for metric in Metric::ALL {
        let transformed = |g: &Array2<f64>| match metric {
            Metric::Plain => g.clone(),
            Metric::Full => g.dot(&all),
            Metric::Block => blocks(g),
            Metric::Diagonal => diagonal(g),
            Metric::Sparse => sparse(g),
        };
        let weights = Weights::of(metric, Some(&mask)).unwrap();
        let similarity = Similarity::new(&gradients, metric, weights);
        let expected = transformed(&of_x).dot(&transformed(&of_y).t());
        let found = matrix(&similarity, &x, Some(&y), &Context::default());
        let error = relative_difference(found, expected.iter().copied());
        assert!(error < EXACT, "{}: {error:e}", metric.name());
        let selves = similarity.selves(&dataset(&x), None, &Context::default()).unwrap();
        let expected = transformed(&of_x).mapv(|v| v * v).sum_axis(Axis(1));
        assert!(relative_difference(selves, expected) < EXACT, "{}", metric.name());
        // Normalised gradients.
        let normal = |g: &Array2<f64>| {
            let mut g = g.clone();
            for mut row in g.rows_mut() {
                let counted = |k: usize| metric != Metric::Sparse || kept[k];
                let counted = row.iter().enumerate().filter(|&(k, _)| counted(k)).map(|(_, &v)| v);
                let (low, high) =
                    counted.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
                row.mapv_inplace(|v| (v - low) / (high - low));
            }
            g
        };
        let both =
            [&x, &y].map(|x| extents(&gradients, metric, weights, &dataset(x), &Context::default()).unwrap());
        let mut found = vec![];
        let context = Context::default();
        similarity
            .matrix(&dataset(&x), Some(&dataset(&y)), Some((&both[0], &both[1])), &context, |_, values| {
                found.extend_from_slice(values);
                Ok(())
            })
            .unwrap();
        let expected = transformed(&normal(&of_x)).dot(&transformed(&normal(&of_y)).t());
        let error = relative_difference(found, expected.iter().copied());
        assert!(error < EXACT, "normalised {}: {error:e}", metric.name());
    }
}

#[test]
fn full_and_block_are_of_each_output_too() {
    let network = mlp(5, [4, 6, 3], Activation::Tanh);
    let x = random_rows(1, 3, 4);
    let of = |combine, outputs: &[usize], blocks| {
        let gradients = Gradients::new(&network, &Cpu::<f64>::new(), outputs, combine, None).unwrap();
        projections(&gradients, &dataset(&x), blocks, None, &Context::default()).unwrap()
    };
    let single: Vec<Array2<f64>> = (0..3).map(|k| of(Combine::Sum, &[k], true)).collect();
    let trace = of(Combine::Trace, &[0, 1, 2], true);
    let pairs = of(Combine::Pairs, &[0, 1, 2], true);
    for (i, (k, l)) in (0..3).flat_map(|i| (0..3).flat_map(move |k| (0..3).map(move |l| (i, (k, l))))) {
        assert!((trace[[i, 3 * k + l]] - single[k][[i, l]]).abs() < EXACT);
        assert!((pairs[[3 * i + k, l]] - single[k][[i, l]]).abs() < EXACT);
    }
    let gradients = Gradients::new(&network, &Cpu::<f64>::new(), &[0, 2], Combine::Pairs, None).unwrap();
    let similarity = Similarity::new(&gradients, Metric::Block, Weights::None);
    let found = matrix(&similarity, &x, None, &Context::default());
    let expected = (0..3).flat_map(|i| {
        let single = &single;
        (0..3).flat_map(move |j| {
            let pairs = [(0, 0), (0, 2), (2, 0), (2, 2)].into_iter();
            pairs.map(move |(k, l): (usize, usize)| single[k].row(i).dot(&single[l].row(j)))
        })
    });
    assert!(relative_difference(found, expected) < EXACT);
}

/// Euler's identity: a ReLU network without biases is linear in the weights of each layer.
#[test]
fn without_biases_the_gradient_of_each_layer_times_its_weights_is_the_output() {
    let mut b = Network::builder();
    b.input("x", &[2, 6, 6]).unwrap();
    let part = |seed: u64, count: usize| random(seed, count).iter().map(|v| v - 0.4).collect::<Vec<_>>();
    let filters = |seed: u64, shape: [usize; 4]| {
        let filters = Constant::f64(shape, part(seed, shape.iter().product())).unwrap();
        Convolution::new(filters, None, Window::new([3, 3]).with_pads([1; 4]), 1).unwrap()
    };
    b.layer(filters(1, [4, 2, 3, 3])).unwrap();
    b.layer(Activation::Relu).unwrap();
    b.layer(filters(2, [3, 4, 3, 3])).unwrap();
    b.layer(Activation::Relu).unwrap();
    b.layer(Reshape { shape: vec![108] }).unwrap();
    b.layer(Dense::new(Constant::f64([108, 9], part(3, 972)).unwrap(), None).unwrap()).unwrap();
    b.layer(Activation::Relu).unwrap();
    let end = b.layer(Dense::new(Constant::f64([9, 4], part(4, 36)).unwrap(), None).unwrap()).unwrap();
    let network = b.finish(&[end]).unwrap();
    let x = random_rows(9, 7, 72);
    let values = network.compile(&Cpu::<f64>::new()).unwrap().values(x.view(), &Context::default()).unwrap();
    for k in 0..4 {
        let gradients = Gradients::new(&network, &Cpu::<f64>::new(), &[k], Combine::Sum, None).unwrap();
        let found = projections(&gradients, &dataset(&x), true, None, &Context::default()).unwrap();
        assert_eq!(found.ncols(), 4);
        for layer in found.columns() {
            let error = relative_difference(layer.iter().copied(), values.column(k).iter().copied());
            assert!(error < EXACT, "output {k}: {error:e}");
        }
    }
}

/// The numbers of a tensor in a file, as it holds them or with its last two axes exchanged, and which of both.
fn place_in_file(bytes: &[u8], values: &Constant) -> Option<(usize, bool)> {
    let raw = |values: &Constant| -> Vec<u8> {
        values.to::<f64>().iter().flat_map(|&v| (v as f32).to_le_bytes()).collect()
    };
    let find = |pattern: Vec<u8>| bytes.windows(pattern.len()).position(|window| window == pattern);
    if let Some(at) = find(raw(values)) {
        return Some((at, false));
    }
    let [g, i, o] = values.shape()[..] else { return None };
    let of = values.to::<f64>();
    let flipped = (0..g * i * o).map(|at| of[(at / (i * o) * i + at % i) * o + at / i % o]).collect();
    find(raw(&Constant::f64([g * i * o], flipped).unwrap())).map(|at| (at, true))
}

#[test]
fn every_shipped_network_has_the_similarities_of_its_gradients() {
    let assets = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("assets");
    for name in ["digits_sigmoid", "digits_relu", "digits_gelu", "digits_cnn", "moons"] {
        let bytes = std::fs::read(assets.join(name).with_extension("onnx")).unwrap();
        let load = |bytes: &[u8]| onnx::from_bytes(bytes, None, &LoadOptions::default()).unwrap().network;
        let network = load(&bytes);
        let golden = Dataset::open(
            &assets.join("golden").join(name).with_extension("npz"),
            &ReadOptions { key: Some("x".to_owned()), ..ReadOptions::default() },
        )
        .unwrap();
        let x: Array2<f64> = golden.rows(0..12).unwrap();
        let (explicit, _) = explicit(&network, &x);
        let expected = explicit.dot(&explicit.t());
        let outputs: Vec<usize> = (0..network.outputs().next().unwrap().shape()[0]).collect();
        let double = Gradients::new(&network, &Cpu::<f64>::new(), &outputs, Combine::Sum, None).unwrap();
        let similarity = Similarity::new(&double, Metric::Plain, Weights::None);
        let found = matrix(&similarity, &x, None, &Context::default());
        assert!(relative_difference(found, expected.iter().copied()) < EXACT, "{name}");
        let single = Gradients::new(&network, &Cpu::<f32>::new(), &outputs, Combine::Sum, None).unwrap();
        let similarity = Similarity::new(&single, Metric::Plain, Weights::None);
        let found = matrix(&similarity, &x, None, &Context::default());
        let error = relative_difference(found, expected.iter().copied());
        assert!(error < CLOSE, "{name} in f32: {error:e}");

        // A few parameters of each tensor, moved in the file itself.
        // At rows that keep away from kinks.
        let sums = |bytes: &[u8]| {
            let program = load(bytes).compile(&Cpu::<f64>::new()).unwrap();
            program.values(x.slice(s![..4, ..]), &Context::default()).unwrap().sum_axis(Axis(1))
        };
        let scale = explicit.iter().fold(0.0_f64, |most, v| most.max(v.abs()));
        let mut first = 0;
        for layer in network.parameter_layers(None).unwrap() {
            for values in [&layer.values.weights, &layer.values.bias].into_iter().flatten() {
                let (start, flipped) = place_in_file(&bytes, values)
                    .unwrap_or_else(|| panic!("{name}: {} is not in the file", layer.name));
                for sample in 0..4 {
                    let own = sample * 7919 % values.len();
                    let in_file = match values.shape() {
                        &[_, i, o] if flipped => (own / (i * o) * o + own % o) * i + own / o % i,
                        _ => own,
                    };
                    let at = start + 4 * in_file;
                    let number = f32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
                    let moved = |by: f32| {
                        let mut bytes = bytes.clone();
                        bytes[at..at + 4].copy_from_slice(&(number + by).to_le_bytes());
                        (f64::from(number + by), sums(&bytes))
                    };
                    let ((up, above), (down, below)) = (moved(2e-5), moved(-2e-5));
                    let slope = (above - below) / (up - down);
                    let found = explicit.column(first + own);
                    let error = slope.iter().zip(found).fold(0.0_f64, |most, (a, b)| most.max((a - b).abs()));
                    assert!(error < CLOSE * scale, "{name}, {} at {own}: {error:e}", layer.name);
                }
                first += values.len();
            }
        }
        assert_eq!(first, explicit.ncols());
    }
}
