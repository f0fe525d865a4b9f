//! Interval bounds over boxes.

use fenchel::engine::{Activation, Dual, Engine, Interval};
use fenchel::network::Network;
use fenchel::tolerance::{CLOSE, EXACT};
use ndarray::Array2;

use super::common::{jets, random_rows};
use super::{dimension, directions, one, second, table};

/// Bounds over boxes around the rows of `x`: of values, Jacobians, and derivatives of Jacobians along `u`.
fn bounds(network: &Network, x: &Array2<f64>, radius: f64, u: &Array2<f64>) -> [[Vec<f64>; 2]; 3] {
    let engine = Dual::new(Interval::new());
    let program = network.compile(&engine).unwrap();
    let (low, high) = (x.mapv(|v| v - radius), x.mapv(|v| v + radius));
    let boxes = engine.inner().boxes(low.as_slice().unwrap(), high.as_slice().unwrap(), x.shape()).unwrap();
    let direction = engine.inner().upload(u.as_slice().unwrap(), u.shape()).unwrap();
    let outputs: Vec<usize> = (0..program.outputs()).collect();
    let jets = program.jets(&engine.dual(&boxes, Some(&direction)).unwrap(), &outputs).unwrap();
    let ends = |t: &fenchel::engine::TensorOf<Interval>| engine.inner().bounds(t).unwrap();
    let zeros = vec![0.0; jets.jacobians.len()];
    [
        ends(&engine.value(&jets.values)),
        ends(&engine.value(&jets.jacobians)),
        engine.tangent(&jets.jacobians).map_or([zeros.clone(), zeros], |t| ends(&t)),
    ]
}

#[test]
fn bounds_hold_over_boxes() {
    for (name, network) in table() {
        let d = dimension(&network);
        let (x, u) = (random_rows(50, 2, d), directions(51, 2, d));
        for radius in [1e-7, 0.05, 1.5] {
            let bounds = bounds(&network, &x, radius, &u);
            for seed in 0..12 {
                // Corners and points inside.
                let inside =
                    directions(60 + seed, 2, d).mapv(|v| if seed % 2 == 0 { v.signum() } else { v / 1.5 });
                let point = &x + &(inside * radius);
                let [there, _, bend] = second(&network, &point, &u);
                let (_, jacobian) = jets(&network, &point);
                let quantities = [there, jacobian.iter().copied().collect(), bend];
                for (what, (values, [low, high])) in quantities.iter().zip(&bounds).enumerate() {
                    for (i, value) in values.iter().enumerate() {
                        // The values themselves were rounded on their way.
                        let slack = EXACT * (1.0 + value.abs());
                        assert!(
                            low[i] - slack <= *value && *value <= high[i] + slack,
                            "{name}, derivative {what} at {i}, radius {radius}: {value} is not in [{}, {}]",
                            low[i],
                            high[i]
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn bounds_shrink_with_their_boxes() {
    for (name, network) in table() {
        let d = dimension(&network);
        let (x, u) = (random_rows(50, 2, d), directions(51, 2, d));
        let bounds = bounds(&network, &x, 1e-9, &u);
        for (what, [low, high]) in bounds.iter().enumerate() {
            let largest = low.iter().chain(high).fold(1.0_f64, |m, v| m.max(v.abs()));
            let width = low.iter().zip(high).fold(0.0_f64, |m, (l, h)| m.max(h - l)) / largest;
            assert!(width < CLOSE, "{name}, derivative {what}: {width:e}");
        }
    }
}

#[test]
fn bounds_of_unbounded_things_are_the_whole_line() {
    let network = one(&[3], Activation::Log);
    let [[low, high], ..] = bounds(&network, &Array2::zeros((1, 3)), 1.0, &Array2::zeros((1, 3)));
    assert!(low.iter().all(|v| *v == f64::NEG_INFINITY) && high.iter().all(|v| *v == f64::INFINITY));
    let engine = Interval::new();
    assert!(engine.boxes(&[1.0], &[0.0], &[1]).is_err() && engine.boxes(&[f64::NAN], &[0.0], &[1]).is_err());
}
