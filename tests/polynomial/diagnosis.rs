//! What is said of polynomials on data, and of weights.

use fenchel::engine::{Activation, Context, Cpu, Window};
use fenchel::network::operators::Convolution;
use fenchel::network::{Constant, Network};
use fenchel::polynomial::{Centre, Comparison, Composition, Settings, diagnose, weight_norms};
use fenchel::tolerance::{CLOSE, EXACT, relative_difference};
use ndarray::{Array2, s};

use super::common::{jets, mlp, random_rows};
use super::{layered, local, matrix, settings};

/// Values along rays are those of the monomials; errors are those of the network.
#[test]
fn diagnoses_are_what_the_polynomial_and_the_network_say() {
    let network = mlp(31, [3, 6, 2], Activation::Tanh);
    let program = network.merged_layers().unwrap().compile_unfolded(&Cpu::<f64>::new()).unwrap();
    let x = random_rows(11, 700, 3);
    for (settings, variables) in [
        (settings(3, 5), vec![0, 1, 2]),
        (local(2), vec![0, 2]),
        (Settings { taylor: vec![5, 2], centre: Centre::At(vec![0.1, -0.2]), ..settings(4, 5) }, vec![1]),
    ] {
        let composition = Composition::new(&program, settings, vec![0.2, 0.1, -0.1]).unwrap();
        let polynomial = composition.polynomial(&variables, &[0, 1], &Context::default()).unwrap();
        let mut seen = x.clone();
        (0..3).filter(|c| !variables.contains(c)).for_each(|c| seen.column_mut(c).fill([0.2, 0.1, -0.1][c]));
        let (values, truth) = (polynomial.values(seen.view()).unwrap(), jets(&network, &seen).0);
        let (mut along, mut compared) = (vec![], vec![]);
        let rows = |range: std::ops::Range<usize>| Ok(x.slice(s![range, ..]).to_owned());
        let context = Context::default();
        let comparison = Comparison { variables: &variables, outputs: &[0, 1], tolerance: 0.01 };
        let found = diagnose(&composition, comparison, 700, rows, &context, |_, polynomial, network| {
            along.extend_from_slice(polynomial);
            compared.extend_from_slice(network);
            Ok(())
        })
        .unwrap();
        assert!(relative_difference(along, values.iter().copied()) < EXACT);
        assert!(relative_difference(compared, truth.iter().copied()) < EXACT);
        let errors = (&values - &truth).mapv(f64::abs);
        let mse = errors.mapv(|e| e * e).mean().unwrap();
        assert!(relative_difference([found.outputs.mse], [mse]) < EXACT);
        let largest = errors.iter().copied().fold(0.0, f64::max);
        assert!(relative_difference([found.outputs.max_abs], [largest]) < EXACT);
        let deviation = (truth.mapv(|v| v * v).mean().unwrap() - truth.mean().unwrap().powi(2)).sqrt();
        let relative = found.outputs.relative_rmse.unwrap();
        assert!(relative_difference([relative], [mse.sqrt() / deviation]) < CLOSE);
        let same =
            values.rows().into_iter().zip(truth.rows()).filter(|(a, b)| (a[0] < a[1]) == (b[0] < b[1]));
        assert_eq!(found.agreement, Some(same.count() as f64 / 700.0));
        assert_eq!(found.layers.len(), 2);
    }
}

#[test]
fn layers_say_where_they_are_good() {
    // One unit with the potential 2 x: tanh about 0, radius pi/2.
    let network = layered(1, |b| {
        b.layer(matrix(&[&[2.0]], &[0.0])).unwrap();
        b.layer(Activation::Tanh).unwrap()
    });
    let program = network.merged_layers().unwrap().compile_unfolded(&Cpu::<f64>::new()).unwrap();
    let composition = Composition::new(&program, settings(3, 3), vec![0.0]).unwrap();
    let x = Array2::from_shape_fn((1001, 1), |(i, _)| i as f64 / 1000.0);
    let rows = |range: std::ops::Range<usize>| Ok(x.slice(s![range, ..]).to_owned());
    let comparison = Comparison { variables: &[0], outputs: &[0], tolerance: 0.01 };
    let found =
        diagnose(&composition, comparison, 1001, rows, &Context::default(), |_, _, _| Ok(())).unwrap();
    let layer = &found.layers[0];
    assert_eq!(layer.radius, Some(std::f64::consts::FRAC_PI_2));
    assert_eq!(layer.potentials, [0.0, 0.02, 0.5, 1.0, 1.5, 1.98, 2.0]);
    // Beyond: 2 x >= pi/2.
    assert!((layer.beyond - (1000 - 785) as f64 / 1001.0).abs() < EXACT, "{}", layer.beyond);
    let taylor = |u: f64| u - u * u * u / 3.0;
    let good = (0..=1000).filter(|&i| {
        let u = f64::from(i) / 500.0;
        (taylor(u) - u.tanh()).abs() <= 0.01
    });
    assert_eq!(layer.inside, good.count() as f64 / 1001.0);
    let square = |i: i32| {
        let u = f64::from(i) / 500.0;
        (taylor(u) - u.tanh()).powi(2)
    };
    let mse = (0..=1000).map(square).sum::<f64>() / 1001.0;
    assert!(relative_difference([layer.taylor_mse, layer.errors.mse], [mse, mse]) < EXACT);
    assert!(layer.warning().unwrap().contains("radius of convergence 1.5708"));
}

#[test]
fn norms_are_sums_over_weights_and_bias() {
    let network = layered(2, |b| {
        b.layer(matrix(&[&[3.0, -1.0], &[0.0, 2.0]], &[-4.0, 0.5])).unwrap();
        b.layer(Activation::Tanh).unwrap();
        b.layer(matrix(&[&[0.5], &[-0.25]], &[0.0])).unwrap()
    });
    let norms = weight_norms(&network);
    assert_eq!(norms.len(), 2);
    assert_eq!((norms[0].units, norms[0].l1), (2, [7.0, 5.25]));
    assert!(relative_difference(norms[0].l2, [5.0, (5.0 + 5.25_f64.sqrt()) / 2.0]) < EXACT);
    let filters = Constant::f64([2, 1, 1, 2], vec![1.0, -2.0, 0.5, 0.25]).unwrap();
    let mut b = Network::builder();
    b.input("x", &[1, 1, 5]).unwrap();
    let bias = Some(Constant::f64([2], vec![1.0, -1.0]).unwrap());
    let end = b.layer(Convolution::new(filters, bias, Window::new([1, 2]), 1).unwrap()).unwrap();
    let norms = weight_norms(&b.finish(&[end]).unwrap());
    assert_eq!(norms[0].l1, [4.0, (4.0 + 1.75) / 2.0]);
}
