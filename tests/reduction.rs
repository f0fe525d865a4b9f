//! Networks with few affine maps, and affine maps of one network from another's.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::place::Place;
use common::{dense, mlp, random_rows};
use fenchel::Error;
use fenchel::data::Dataset;
use fenchel::engine::{Activation, Arithmetic, Context, Cpu};
use fenchel::network::operators::ArithmeticConstant;
use fenchel::network::{Network, Program};
use fenchel::regions::{Assignment, Grouping, Settings, affine_rows, compare, reduce};
use fenchel::tolerance::{CLOSE, EXACT, relative_difference};
use ndarray::{Array2, Axis};

const D: usize = 5;
const K: usize = 3;

fn program(network: &Network) -> Program<Cpu<f64>> {
    network.compile(&Cpu::<f64>::new()).unwrap()
}

fn relu(seed: u64) -> Network {
    mlp(seed, [D, 16, K], Activation::Relu)
}

fn data(seed: u64, count: usize) -> Dataset {
    Dataset::from_array(random_rows(seed, count, D).view()).unwrap()
}

fn rows(program: &Program<Cpu<f64>>, data: &Dataset, output: usize) -> Array2<f64> {
    let mut all = vec![];
    affine_rows(program, data, &[output], &Context::default(), |range, rows| {
        assert_eq!(all.len(), range.start * (D + 1));
        all.extend_from_slice(rows);
        Ok(())
    })
    .unwrap();
    Array2::from_shape_vec((data.len(), D + 1), all).unwrap()
}

fn settings(groupings: &[Grouping], clusters: &[usize], curvature: f64) -> Settings {
    Settings { groupings: groupings.to_vec(), clusters: clusters.to_vec(), curvature }
}

#[test]
fn rows_give_the_network_back() {
    let program = program(&relu(3));
    let data = data(1, 50);
    let x = data.rows::<f64>(0..50).unwrap();
    let values = program.values(x.view(), &Context::default()).unwrap();
    for k in 0..K {
        let rows = rows(&program, &data, k);
        let back = rows
            .rows()
            .into_iter()
            .zip(x.rows())
            .map(|(row, x)| row.iter().zip(x).map(|(p, x)| p * x).sum::<f64>() + row[D]);
        assert!(relative_difference(back, values.column(k).iter().copied()) < EXACT, "output {k}");
    }
}

/// One map is the mean of all rows; as many as there are rows are the network itself at the anchors.
#[test]
fn one_map_and_all_maps() {
    let program = program(&relu(3));
    let (anchors, context) = (data(1, 60), Context::default());
    let settings = settings(&[Grouping::Output], &[1, 60], 1.0);
    let labels: Vec<u32> = (0..60).map(|i| i % K as u32).collect();
    let found = reduce(&program, &anchors, &anchors, Some(&labels), &settings, &context).unwrap();
    assert_eq!(found.rows.len(), 6);
    let x = anchors.rows::<f64>(0..60).unwrap();
    let values = program.values(x.view(), &context).unwrap();
    // By hand: the mean row of each output at all points.
    let mut mean = Array2::<f64>::zeros((60, K));
    for k in 0..K {
        let average = rows(&program, &anchors, k).mean_axis(Axis(0)).unwrap();
        for (n, x) in x.rows().into_iter().enumerate() {
            mean[[n, k]] = x.iter().zip(&average).map(|(x, p)| x * p).sum::<f64>() + average[D];
        }
    }
    let class = |row: ndarray::ArrayView1<'_, f64>| {
        (1..K).fold(0, |best, k| if row[k] > row[best] { k } else { best })
    };
    let share = |same: &dyn Fn(usize) -> bool| (0..60).filter(|&n| same(n)).count() as f64 / 60.0;
    let agreement = share(&|n| class(mean.row(n)) == class(values.row(n)));
    let accuracy = share(&|n| class(mean.row(n)) == n % K);
    let spread = values.iter().map(|v| (v - values.mean().unwrap()).powi(2)).sum::<f64>();
    let error = ((&mean - &values).mapv(|v| v * v).sum() / spread).sqrt();
    for row in &found.rows[..3] {
        assert_eq!((row.clusters, row.agreement, row.accuracy), (1, agreement, Some(accuracy)), "{row:?}");
        assert!((row.relative_rmse - error).abs() < EXACT, "{row:?} {error}");
    }
    assert_eq!(found.accuracy, Some(share(&|n| class(values.row(n)) == n % K)));
    let kinds: Vec<Assignment> = found.rows[3..].iter().map(|row| row.assignment).collect();
    assert_eq!(kinds, [Assignment::Own, Assignment::Nearest, Assignment::Envelope]);
    // The envelope at an anchor may be another anchor's piece, so that it is left out here.
    for row in &found.rows[3..5] {
        assert!(row.agreement == 1.0 && row.relative_rmse < EXACT, "{row:?}");
    }
}

/// Assignments differ, and each is what it says: against brute force with the clusters that there are.
#[test]
fn more_maps_lose_less() {
    let program = program(&relu(5));
    let (anchors, points, context) = (data(1, 300), data(2, 200), Context::default());
    let settings = settings(&[Grouping::Output], &[1, 8, 64, 300], 0.5);
    let found = reduce(&program, &anchors, &points, None, &settings, &context).unwrap();
    let errors = |kind: Assignment| -> Vec<f64> {
        found.rows.iter().filter(|row| row.assignment == kind).map(|row| row.relative_rmse).collect()
    };
    let own = errors(Assignment::Own);
    assert!(own.windows(2).all(|pair| pair[1] < pair[0]), "{own:?}");
    assert!(found.rows.iter().all(|row| row.accuracy.is_none()) && found.accuracy.is_none());
    // With all anchors as clusters the nearest one's row is the nearest tangent.
    let (x, y) = (anchors.rows::<f64>(0..300).unwrap(), points.rows::<f64>(0..200).unwrap());
    let exact = program.values(y.view(), &context).unwrap();
    let mut squares = 0.0;
    let tables: Vec<Array2<f64>> = (0..K).map(|k| rows(&program, &anchors, k)).collect();
    for (n, y) in y.rows().into_iter().enumerate() {
        let distance = |i: usize| x.row(i).iter().zip(y).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
        let nearest = (0..300).min_by(|&i, &j| distance(i).total_cmp(&distance(j))).unwrap();
        for (k, table) in tables.iter().enumerate() {
            let row = table.row(nearest);
            let value = row.iter().zip(y).map(|(p, y)| p * y).sum::<f64>() + row[D];
            squares += (value - exact[[n, k]]).powi(2);
        }
    }
    let spread = exact.iter().map(|v| (v - exact.mean().unwrap()).powi(2)).sum::<f64>();
    let nearest = errors(Assignment::Nearest)[3];
    assert!((nearest - (squares / spread).sqrt()).abs() < EXACT, "{nearest}");
    let refused = |clusters: Vec<usize>| {
        let settings = Settings { clusters, ..settings.clone() };
        reduce(&program, &anchors, &points, None, &settings, &context).unwrap_err().to_string()
    };
    assert!(refused(vec![0]).contains("0 clusters of 300 anchors"));
    assert!(refused(vec![301]).contains("301 clusters"));
    let little = context.with_memory(10_000);
    let error = reduce(&program, &anchors, &points, None, &settings, &little).unwrap_err();
    assert!(matches!(error, Error::Memory { .. }), "{error}");
}

/// One map for each class is the mean of the whole maps of the anchors that the network puts there.
#[test]
fn one_map_of_each_class() {
    let program = program(&relu(7));
    let (anchors, points, context) = (data(1, 300), data(2, 200), Context::default());
    let settings = settings(&[Grouping::Output, Grouping::Class], &[1, 300], 0.5);
    let found = reduce(&program, &anchors, &points, None, &settings, &context).unwrap();
    let groupings: Vec<Grouping> = found.rows.iter().map(|row| row.grouping).collect();
    assert_eq!(groupings, [[Grouping::Output; 6], [Grouping::Class; 6]].concat());
    let class = |row: ndarray::ArrayView1<'_, f64>| {
        (1..K).fold(0, |best, k| if row[k] > row[best] { k } else { best })
    };
    let (x, y) = (anchors.rows::<f64>(0..300).unwrap(), points.rows::<f64>(0..200).unwrap());
    let classes: Vec<usize> =
        program.values(x.view(), &context).unwrap().rows().into_iter().map(class).collect();
    let exact = program.values(y.view(), &context).unwrap();
    let tables: Vec<Array2<f64>> = (0..K).map(|k| rows(&program, &anchors, k)).collect();
    let map = |class: usize, k: usize| {
        let members: Vec<usize> = (0..300).filter(|&i| classes[i] == class).collect();
        tables[k].select(Axis(0), &members).mean_axis(Axis(0)).unwrap()
    };
    let squares = |of: &dyn Fn(usize) -> usize| -> f64 {
        let spread = exact.iter().map(|v| (v - exact.mean().unwrap()).powi(2)).sum::<f64>();
        let term = |n: usize, k: usize| {
            let (row, y) = (map(of(n), k), y.row(n));
            (y.iter().zip(&row).map(|(y, p)| y * p).sum::<f64>() + row[D] - exact[[n, k]]).powi(2)
        };
        let sum: f64 = (0..200).flat_map(|n| (0..K).map(move |k| (n, k))).map(|(n, k)| term(n, k)).sum();
        (sum / spread).sqrt()
    };
    let nearest = |n: usize| {
        let distance = |i: usize| (&x.row(i) - &y.row(n)).mapv(|v| v * v).sum();
        classes[(0..300).min_by(|&i, &j| distance(i).total_cmp(&distance(j))).unwrap()]
    };
    let of_class: Vec<f64> = found.rows[6..].iter().map(|row| row.relative_rmse).collect();
    assert!((of_class[0] - squares(&|n| class(exact.row(n)))).abs() < EXACT, "{of_class:?}");
    assert!((of_class[1] - squares(&nearest)).abs() < EXACT, "{of_class:?}");
    // As many maps as anchors: the nearest anchor's and the active ones' rows are the same however they are grouped.
    for (row, other) in found.rows[4..6].iter().zip(&found.rows[10..]) {
        assert_eq!(row.assignment, other.assignment);
        assert!((row.relative_rmse - other.relative_rmse).abs() < EXACT, "{row:?} {other:?}");
    }
    // A class that no anchor has.
    let of_one: Vec<usize> = (0..300).filter(|&i| classes[i] == classes[0]).collect();
    let of_one = anchors.select(&of_one).unwrap();
    let error =
        reduce(&program, &of_one, &points, None, &Settings { clusters: vec![1], ..settings }, &context);
    let error = error.unwrap_err().to_string();
    assert!(error.starts_with("no anchor is of class") && error.contains("every class"), "{error}");
}

/// `2 g + 1` has rows `(2 p, 2 q + 1)`: an affine map of those of `g`.
fn doubled(seed: u64) -> Network {
    let mut builder = Network::builder();
    builder.input("x", &[D]).unwrap();
    builder.layer(dense(seed, D, 16)).unwrap();
    builder.layer(Activation::Relu).unwrap();
    builder.layer(dense(seed + 10, 16, 16)).unwrap();
    builder.layer(Activation::Relu).unwrap();
    builder.layer(dense(seed + 20, 16, K)).unwrap();
    let constant =
        |operation, value: f64| ArithmeticConstant { operation, constant: value.into(), reversed: false };
    builder.layer(constant(Arithmetic::Mul, 2.0)).unwrap();
    let end = builder.layer(constant(Arithmetic::Add, 1.0)).unwrap();
    builder.finish(&[end]).unwrap()
}

#[test]
fn rows_that_are_an_affine_map_of_others_are_predicted() {
    let [one, twice] = [program(&relu(3)), program(&doubled(3))];
    let (anchors, points, context) = (data(1, 400), data(2, 150), Context::default());
    let labels: Vec<u32> = (0..150).map(|i| i % K as u32).collect();
    let found = compare([&one, &twice], &anchors, &points, Some(&labels), 1e-12, &context).unwrap();
    assert_eq!((found.agreement, found.substituted_agreement), (1.0, 1.0));
    let [a, b] = found.accuracy.unwrap();
    assert!(a == b && found.substituted_accuracy == Some(a));
    for output in &found.outputs {
        assert!(output.explained.iter().all(|share| (share - 1.0).abs() < CLOSE), "{output:?}");
        assert!((output.alignment - 1.0).abs() < EXACT, "{output:?}");
    }
    // Another network's rows are not.
    let other = program(&relu(31));
    let found = compare([&one, &other], &anchors, &points, None, 1e-6, &context).unwrap();
    assert!(found.accuracy.is_none() && found.substituted_accuracy.is_none());
    for output in &found.outputs {
        let [fitted, judged] = output.explained;
        assert!(fitted > judged && fitted < 0.9 && output.alignment < 0.9, "{output:?}");
    }
}

/// The regression of one output against its normal equations, solved by hand.
#[test]
fn the_regression_is_the_least_squares_one() {
    let [one, other] = [program(&relu(3)), program(&relu(31))];
    let (anchors, context) = (data(1, 200), Context::default());
    let found = compare([&one, &other], &anchors, &anchors, None, 1e-3, &context).unwrap();
    for k in 0..K {
        let centred = |program| {
            let rows = rows(program, &anchors, k);
            let mean = rows.mean_axis(Axis(0)).unwrap();
            rows - mean
        };
        let (a, b) = (centred(&one), centred(&other));
        let mut gram = a.t().dot(&a);
        let ridge = 1e-3 * gram.diag().sum() / (D + 1) as f64;
        gram.diag_mut().iter_mut().for_each(|g| *g += ridge);
        let solution = solve(gram, a.t().dot(&b));
        let residual = (&b - &a.dot(&solution)).mapv(|v| v * v).sum() / b.mapv(|v| v * v).sum();
        let [fitted, judged] = found.outputs[k].explained;
        assert!((fitted - (1.0 - residual)).abs() < CLOSE && (judged - fitted).abs() < CLOSE, "output {k}");
    }
}

/// Gauss and Jordan.
fn solve(mut a: Array2<f64>, mut b: Array2<f64>) -> Array2<f64> {
    for i in 0..a.nrows() {
        let pivot = a[[i, i]];
        let (row, right) = (a.row(i).mapv(|v| v / pivot), b.row(i).mapv(|v| v / pivot));
        a.row_mut(i).assign(&row);
        b.row_mut(i).assign(&right);
        for j in (0..a.nrows()).filter(|&j| j != i) {
            let factor = a[[j, i]];
            let (next, right) = (&a.row(j) - &(&row * factor), &b.row(j) - &(&right * factor));
            a.row_mut(j).assign(&next);
            b.row_mut(j).assign(&right);
        }
    }
    b
}

#[test]
fn networks_that_cannot_be_compared_are_refused() {
    let one = program(&relu(3));
    let other = program(&mlp(3, [D, 16, K + 1], Activation::Relu));
    let (data, context) = (data(1, 40), Context::default());
    let refusal = |second: &Program<Cpu<f64>>, ridge, labels: Option<&[u32]>| {
        compare([&one, second], &data, &data, labels, ridge, &context).unwrap_err().to_string()
    };
    assert!(refusal(&other, 1.0, None).contains("with one of 5 and 4"));
    assert!(refusal(&one, 0.0, None).contains("ridge must be positive"));
    assert!(refusal(&one, 1.0, Some(&[1, 2])).contains("2 labels for 40 points"));
}

#[test]
fn tables_on_the_command_line() {
    let place = Place::with(&["digits_relu.onnx", "digits_sigmoid.onnx", "digits.npz"]);
    let data = "--data digits.npz --key x --scale 0.0625 --labels digits.npz --anchors 0..1400";
    let document = place.succeed(&format!("reduce digits_relu.onnx {data} --clusters 1,20 -o r.json"));
    let rows = document["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 12);
    let accuracy = |row: &serde_json::Value| row["accuracy"].as_f64().unwrap();
    // Twenty maps of its own rows are nearly the network; one is a linear classifier.
    let network = document["accuracy"].as_f64().unwrap();
    assert!(network > 0.95 && accuracy(&rows[0]) > 0.8, "{document}");
    assert!(accuracy(&rows[3]) > accuracy(&rows[0]) && accuracy(&rows[3]) <= network + 0.01, "{document}");
    let written: serde_json::Value =
        serde_json::from_slice(&std::fs::read(place.path("r.json")).unwrap()).unwrap();
    assert_eq!(written["rows"], document["rows"]);
    let document = place.succeed(&format!("compare digits_relu.onnx digits_sigmoid.onnx {data} -o c.json"));
    assert!(document["substituted_accuracy"].as_f64().unwrap() > 0.8, "{document}");
    let fail = |command: &str| {
        let (code, _, text) = place.run(command);
        assert!(code == Some(2) && text.starts_with("error: ") && text.lines().count() == 1, "{text}");
        text
    };
    assert!(fail(&format!("reduce digits_relu.onnx {data} --clusters 0 -o x.json")).contains("0 clusters"));
    assert!(fail(&format!("reduce digits_relu.onnx {data} --curvature -1 -o x.json")).contains("curvature"));
    assert!(
        fail(&format!("reduce digits_relu.onnx {data} --points 1700..1800 -o x.json")).contains("--points")
    );
    assert!(!place.path("x.json").exists());
}
