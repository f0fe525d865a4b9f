//! Planes, networks on them, and pictures: against values computed point by point.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::path::Path;

use common::{dense, mlp, random};
use fenchel::data::{Dataset, OutputFile, read_array};
use fenchel::engine::{Activation, Arithmetic, Context, Cpu, Window};
use fenchel::network::operators::{ArithmeticConstant, Branches, Convolution, Dense, Reshape};
use fenchel::network::{Constant, Network, onnx};
use fenchel::render::{
    ColourMap, NetworkField, Picture, Quantity, Scale, around, channel_directions, extremes,
    gradient_directions, input_directions, principal_directions, random_directions, rectangle,
};
use fenchel::spline::slice::Slice;
use fenchel::tolerance::{CLOSE, EXACT, relative_difference};
use ndarray::{Array2, array};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn load(path: &Path) -> Network {
    onnx::load(path, &onnx::LoadOptions::default()).unwrap().network.cut(None, None).unwrap()
}

fn slice_of(dimension: usize) -> Slice {
    let [origin, u, v] = [1, 2, 3].map(|seed| random(seed, dimension));
    Slice { origin, u, v }
}

fn on(network: &Network, slice: &Slice) -> Network {
    network.on_slice(&slice.origin, &[&slice.u, &slice.v]).unwrap()
}

/// Values in f64 at some points of a slice, by way of the points and by way of their coordinates.
fn both_ways(network: &Network, slice: &Slice) -> [Vec<f64>; 2] {
    let at = Array2::from_shape_vec((7, 2), random(9, 14)).unwrap();
    let points: Vec<f64> = at.rows().into_iter().flat_map(|row| slice.point(row[0], row[1])).collect();
    let points = Array2::from_shape_vec((7, slice.origin.len()), points).unwrap();
    let values = |network: &Network, x: &Array2<f64>| {
        let program = network.compile(&Cpu::<f64>::new()).unwrap();
        program.values(x.view(), &Context::default()).unwrap().into_raw_vec_and_offset().0
    };
    [values(&on(network, slice), &at), values(network, &points)]
}

#[test]
fn networks_on_a_slice_are_the_networks_at_its_points() {
    for name in ["digits_relu", "digits_sigmoid", "digits_cnn", "digits_gelu", "moons"] {
        let network = load(&root().join(format!("assets/{name}.onnx")));
        let slice = slice_of(network.nodes()[0].shape().iter().product());
        let [sliced, points] = both_ways(&network, &slice);
        assert!(relative_difference(sliced, points) < EXACT, "{name}");
        // The first layer is one of two inputs: of a convolution too.
        let sliced = on(&network, &slice);
        let kinds: Vec<&str> =
            sliced.nodes()[1..3].iter().map(|n| n.op().unwrap().operator().name()).collect();
        assert_eq!(kinds[0], "Gemm", "{name}");
        assert!(!sliced.nodes().iter().any(|node| node.name() == "conv1") || kinds[1] == "Reshape", "{name}");
    }
}

#[test]
#[allow(clippy::print_stdout, reason = "says why a test was skipped")]
fn shared_networks_too() {
    let data = root().join("../shared/data/models");
    if !data.is_dir() {
        println!("skipped: '{}' is not there", data.display());
        return;
    }
    for name in
        ["mnist-net_256x4", "ffnnSIGMOID__Point_6x200", "Convnet_maxpool", "cifar10_medium", "resnet_2b"]
    {
        let network = load(&data.join(format!("{name}.onnx")));
        let [sliced, points] = both_ways(&network, &slice_of(network.nodes()[0].shape().iter().product()));
        let difference = relative_difference(sliced, points);
        assert!(difference < EXACT, "{name}: {difference:e}");
    }
}

#[test]
fn several_readers_of_what_is_affine() {
    // x -> (3 - x) / 2 -> conv -> [relu, sum with relu] and the input itself beside, through a product.
    let mut builder = Network::builder();
    let x = builder.input("x", &[1, 4, 5]).unwrap();
    let minus = ArithmeticConstant { operation: Arithmetic::Sub, constant: 3.0.into(), reversed: true };
    let shifted = builder.add("shifted", minus, &[x]).unwrap();
    let filters = Constant::f64([1, 1, 3, 3], random(5, 9)).unwrap();
    let window = Window::new([3, 3]).with_pads([1; 4]);
    let conv = builder.add("conv", Convolution::new(filters, None, window, 1).unwrap(), &[shifted]).unwrap();
    let relu = builder.add("relu", Activation::Relu, &[conv]).unwrap();
    let sum = builder.add("sum", Branches { operation: Arithmetic::Add }, &[relu, conv]).unwrap();
    let product = builder.add("product", Branches { operation: Arithmetic::Mul }, &[sum, x]).unwrap();
    let flat = builder.add("flat", Reshape { shape: vec![20] }, &[product]).unwrap();
    let end = builder.add("end", dense(8, 20, 3), &[flat]).unwrap();
    let network = builder.finish(&[end]).unwrap();
    let [sliced, points] = both_ways(&network, &slice_of(20));
    assert!(relative_difference(sliced, points) < EXACT);
    // What is left keeps its name and its shape.
    let sliced = on(&network, &slice_of(20));
    assert_eq!(sliced.find("conv").unwrap().shape(), [1, 4, 5]);
    assert!(sliced.find("shifted").is_err());
}

#[test]
fn slices_that_are_small_against_their_origin() {
    let network = mlp(3, [6, 9, 2], Activation::Relu);
    let mut slice = slice_of(6);
    slice.u.iter_mut().chain(&mut slice.v).for_each(|x| *x *= 1e-5);
    let at = array![[-1.0_f32, 0.5], [1.0, -0.5]];
    let program = on(&network, &slice).compile(&Cpu::<f32>::new()).unwrap();
    let step = |values: &[f64]| [values[2] - values[0], values[3] - values[1]];
    let values: Vec<f64> =
        program.values(at.view(), &Context::default()).unwrap().iter().map(|&v| f64::from(v)).collect();
    let exact: Vec<f64> = at
        .rows()
        .into_iter()
        .flat_map(|row| {
            let point = slice.point(row[0].into(), row[1].into());
            let point = Array2::from_shape_vec((1, 6), point).unwrap();
            let program = network.compile(&Cpu::<f64>::new()).unwrap();
            program.values(point.view(), &Context::default()).unwrap().into_raw_vec_and_offset().0
        })
        .collect();
    assert!(relative_difference(values.iter().copied(), exact.iter().copied()) < CLOSE);
    // Right is the step across too, which is some bits of a point in f32.
    assert!(relative_difference(step(&values), step(&exact)) < 0.05, "{values:?} {exact:?}");
}

#[test]
fn slices_that_do_not_fit_are_refused() {
    let network = mlp(3, [6, 9, 2], Activation::Relu);
    let refused =
        |origin: &[f64], directions: &[&[f64]]| network.on_slice(origin, directions).unwrap_err().to_string();
    let text = refused(&[0.0; 5], &[&[1.0; 6]]);
    assert_eq!(text, "a slice of points of 5 elements does not fit a network of 6 inputs");
    assert!(refused(&[0.0; 6], &[&[1.0; 6], &[1.0; 7]]).contains("points of 7 elements"));
    assert!(refused(&[0.0; 6], &[]).contains("at least one direction"));
    assert!(refused(&[f64::NAN; 6], &[&[1.0; 6]]).contains("NaN"));
}

fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

#[test]
fn random_directions_are_orthonormal_and_come_from_the_seed() {
    let [u, v] = random_directions(37, &Context::default()).unwrap();
    assert!(
        (dot(&u, &u) - 1.0).abs() < EXACT && (dot(&v, &v) - 1.0).abs() < EXACT && dot(&u, &v).abs() < EXACT
    );
    assert_eq!(random_directions(37, &Context::default()).unwrap(), [u.clone(), v]);
    assert_ne!(random_directions(37, &Context::default().with_seed(1)).unwrap()[0], u);
    assert!(random_directions(1, &Context::default()).is_err());
}

#[test]
fn channels_move_alike() {
    let [a, b] = channel_directions(&[3, 2, 2], [2, 0]).unwrap();
    assert_eq!(a, [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.5, 0.5, 0.5, 0.5]);
    assert_eq!(b[..5], [0.5, 0.5, 0.5, 0.5, 0.0]);
    for (shape, channels) in [(&[3, 2, 2][..], [0, 3]), (&[3, 2, 2], [1, 1]), (&[12], [0, 1])] {
        assert!(channel_directions(shape, channels).is_err(), "{shape:?} {channels:?}");
    }
}

#[test]
fn gradients_that_span_no_plane_are_refused() {
    let weights = Constant::f64([2, 3], vec![1.0, -2.0, 0.0, 2.0, -4.0, 0.0]).unwrap();
    let mut builder = Network::builder();
    let x = builder.input("x", &[2]).unwrap();
    let y = builder.add("y", Dense::new(weights, None).unwrap(), &[x]).unwrap();
    let network = builder.finish(&[y]).unwrap();
    let refusal =
        |outputs| gradient_directions(&network, &[1.0, 1.0], Some(outputs)).unwrap_err().to_string();
    assert!(refusal([0, 1]).contains("lie on one line"));
    assert!(refusal([0, 2]).contains("output 2 has no gradient"));
    assert!(refusal([0, 3]).contains("output 3 of a network with 3"));
}

#[test]
fn principal_directions_are_those_of_the_covariance() {
    // Deviations 3 and 2 along known directions, and a little along all others, whatever the blocks.
    let (n, d) = (900, 12);
    let (a, b) = (random(1, n), random(2, n));
    let [first, second] = random_directions(d, &Context::default().with_seed(5)).unwrap();
    let noise = random(3, n * d);
    let values: Vec<f64> = (0..n * d)
        .map(|i| 7.0 + 3.0 * a[i / d] * first[i % d] + 2.0 * b[i / d] * second[i % d] + 1e-9 * noise[i])
        .collect();
    let data = Dataset::from_array(Array2::from_shape_vec((n, d), values).unwrap().view()).unwrap();
    let [u, v] = principal_directions(&data, &Context::default()).unwrap();
    assert!((dot(&u, &u) - 1.0).abs() < EXACT && dot(&u, &v).abs() < EXACT);
    // The two samples are not quite uncorrelated; their span is what is known, and the order.
    for x in [&first, &second] {
        let inside = dot(x, &u).powi(2) + dot(x, &v).powi(2);
        assert!((inside - 1.0).abs() < CLOSE, "{inside}");
    }
    assert!(dot(&first, &u).abs() > 0.99);
    let small = Context::default().with_memory(16 << 10);
    let [again, _] = principal_directions(&data, &small).unwrap();
    assert!(relative_difference(again, u) < CLOSE);
    let line = Dataset::from_array(array![[0.0, 0.0, 1.0], [1.0, 2.0, 1.0], [2.0, 4.0, 1.0]].view()).unwrap();
    let text = principal_directions(&line, &Context::default()).unwrap_err().to_string();
    assert!(text.contains("vary along fewer than two directions"), "{text}");
}

#[test]
fn planes_around_a_point_and_around_all_data() {
    let slice = around(vec![5.0; 4], input_directions(4, [2, 0]).unwrap(), 3.0).unwrap();
    assert_eq!(slice.point(1.0, 0.0), [5.0, 5.0, 8.0, 5.0]);
    assert_eq!(slice.point(0.0, -1.0), [2.0, 5.0, 5.0, 5.0]);
    assert!(input_directions(4, [1, 1]).is_err() && input_directions(4, [0, 4]).is_err());
    assert!(around(vec![0.0; 4], input_directions(4, [2, 0]).unwrap(), 0.0).is_err());
    let data = Dataset::from_array(array![[0.0, 5.0], [4.0, 1.0], [2.0, 3.0]].view()).unwrap();
    let slice = rectangle(&data, &Context::default()).unwrap();
    assert_eq!((slice.origin, slice.u, slice.v), (vec![2.0, 3.0], vec![2.2, 0.0], vec![0.0, 2.2]));
}

/// `exp(x0) + 3 x1`: the input itself is what is not affine any more.
fn exponential() -> Network {
    let mut builder = Network::builder();
    let x = builder.input("x", &[2]).unwrap();
    let exp = builder.add("exp", Activation::Exp, &[x]).unwrap();
    let sum = Dense::new(Constant::f64([2, 1], vec![1.0, 0.0]).unwrap(), None);
    let first = builder.add("first", sum.unwrap(), &[exp]).unwrap();
    let other = Dense::new(Constant::f64([2, 1], vec![0.0, 3.0]).unwrap(), None);
    let second = builder.add("second", other.unwrap(), &[x]).unwrap();
    let end = builder.add("end", Branches { operation: Arithmetic::Add }, &[first, second]).unwrap();
    builder.finish(&[end]).unwrap()
}

#[test]
fn pixels_by_hand() {
    let (engine, context) = (Cpu::<f32>::new(), Context::default());
    let slice = Slice { origin: vec![0.5, 1.0], u: vec![1.0, 0.0], v: vec![0.0, 2.0] };
    let field = NetworkField::new(&engine, &exponential(), &slice, Quantity::Value, &[0]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (png, npy) = (folder.path().join("a.png"), folder.path().join("a.npy"));
    let scale = Scale::new(ColourMap::Diverging, -4.0..11.0).unwrap();
    let picture = Picture { scale: Some(&scale), comment: "by hand", ..Picture::new([2, 4]) };
    let create = |path: &Path| OutputFile::create(path).unwrap();
    let drawn = picture.draw(&field, create(&png), Some(create(&npy)), &context).unwrap();
    // s is -3/4, -1/4, 1/4, 3/4 from the left, so x0 from -1/4 to 5/4; t is 1/2 above, so x1 is 2 and then 0.
    let exact: Vec<f64> =
        [6.0, 0.0].iter().flat_map(|y| [-0.25, 0.25, 0.75, 1.25].map(|x: f64| x.exp() + y)).collect();
    let values: Vec<f64> = read_array(&npy, None).unwrap().into_iter().collect();
    assert!(relative_difference(values, exact.iter().copied()) < CLOSE);
    let image = image::open(&png).unwrap().to_rgb8();
    assert!(image.pixels().zip(&exact).all(|(pixel, value)| pixel.0 == scale.colour(*value)));
    let [low, high] = drawn.extremes.unwrap();
    assert!(relative_difference([low, high], [exact[4], exact[3]]) < CLOSE && drawn.beyond == 0);
    assert_eq!(extremes(&field, [2, 4], &context).unwrap(), Some([low, high]));
    let two = Picture { samples: 2, ..picture.clone() };
    assert!(two.draw(&field, create(&png), Some(create(&npy)), &context).is_err());

    // Too large for f32 in the last column alone.
    let wide = Slice { u: vec![130.0, 0.0], ..slice };
    let field = NetworkField::new(&engine, &exponential(), &wide, Quantity::Value, &[0]).unwrap();
    std::fs::remove_file(&png).unwrap();
    let text = picture.draw(&field, create(&png), None, &context).unwrap_err().to_string();
    assert!(
        text.starts_with("the network at the points of a picture, counted row by row: row 3 holds"),
        "{text}"
    );
    assert!(!png.exists());
}
