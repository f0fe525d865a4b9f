//! First and second derivatives against differences.

use fenchel::network::operators::Reshape;
use fenchel::network::{Network, NodeId};
use fenchel::tolerance::{CLOSE, EXACT, relative_difference};
use ndarray::Axis;

use super::common::{dense, jets, random_rows};
use super::{dimension, directions, second, table, values};

#[test]
fn derivatives_equal_central_differences_backward_and_forward() {
    let step = 1e-6;
    for (name, network) in table() {
        let d = dimension(&network);
        let x = random_rows(20, 2, d);
        let (_, backward) = jets(&network, &x);
        for j in 0..d {
            let moved = |by: f64| {
                let mut x = x.clone();
                x.column_mut(j).mapv_inplace(|v| v + by);
                values(&network, &x)
            };
            let difference = (&moved(step) - &moved(-step)) / (2.0 * step);
            let column = backward.slice(ndarray::s![.., .., j]);
            let largest = backward.iter().fold(1e-3_f64, |m, v| m.max(v.abs()));
            let error = (&difference - &column).iter().fold(0.0_f64, |m, v| m.max(v.abs())) / largest;
            assert!(error < CLOSE, "{name}, input {j}: {error:e}");
        }
        // The same network behind a narrow input has fewer inputs than outputs: it runs forward.
        let mut narrow = Network::builder();
        let t = narrow.input("t", &[2]).unwrap();
        let mut last = narrow.add("embed", dense(30, 2, d), &[t]).unwrap();
        let shape = network.inputs().next().unwrap().shape().to_vec();
        last = narrow.add("shape", Reshape { shape }, &[last]).unwrap();
        let mut ids = vec![last];
        for node in &network.nodes()[1..] {
            let inputs: Vec<NodeId> = node.inputs().iter().map(|&i| ids[i]).collect();
            ids.push(narrow.add(node.name(), node.op().unwrap().clone(), &inputs).unwrap());
        }
        let narrow = narrow.finish(&ids[ids.len() - 1..]).unwrap();
        let t = random_rows(31, 3, 2);
        let (_, forward) = jets(&narrow, &t);
        let embedded = values(&narrow.cut(None, Some("embed")).unwrap(), &t);
        let (_, embedding) = jets(&narrow.cut(None, Some("embed")).unwrap(), &t);
        let (_, whole) = jets(&network, &embedded);
        let mut expected = vec![];
        for (n, k, i) in (0..3).flat_map(|n| (0..3).flat_map(move |k| (0..2).map(move |i| (n, k, i)))) {
            expected.push((0..d).map(|j| whole[[n, k, j]] * embedding[[n, j, i]]).sum::<f64>());
        }
        let difference = relative_difference(forward.iter().copied(), expected);
        assert!(difference < EXACT, "{name}, forward: {difference:e}");
    }
}

#[test]
fn second_derivatives_equal_differences_of_jacobians() {
    let step = 1e-6;
    for (name, network) in table() {
        let d = dimension(&network);
        let (x, u) = (random_rows(20, 2, d), directions(21, 2, d));
        let [values_there, along, bend] = second(&network, &x, &u);
        assert!(relative_difference(values_there, values(&network, &x).iter().copied()) < EXACT, "{name}");
        let (_, jacobian) = jets(&network, &x);
        let product = (0..2).flat_map(|n| jacobian.index_axis(Axis(0), n).dot(&u.row(n)).to_vec());
        let difference = relative_difference(along, product);
        assert!(difference < EXACT, "{name}, first derivative: {difference:e}");
        let at = |by: f64| jets(&network, &(&x + &(&u * by))).1;
        let difference = (&at(step) - &at(-step)) / (2.0 * step);
        let largest = jacobian.iter().chain(&difference).fold(1e-3_f64, |m, v| m.max(v.abs()));
        let error = difference.iter().zip(&bend).fold(0.0_f64, |m, (a, b)| m.max((a - b).abs())) / largest;
        assert!(error < CLOSE, "{name}, second derivative: {error:e}");
    }
}
