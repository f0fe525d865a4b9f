//! Similarities against finite differences over the parameters.

use fenchel::engine::{Context, Cpu};
use fenchel::similarity::{Combine, Gradients, Metric, Road, Similarity, Weights};
use fenchel::tolerance::{CLOSE, relative_difference};
use ndarray::{Array2, Array3, Axis, s};

use super::common::random_rows;
use super::{COMBINES, everything, matrix, parameters};

/// Gradients `[N, K, P]` by central differences.
fn differences(values: &[f64], x: &Array2<f64>) -> Array3<f64> {
    let step = 1e-5;
    let outputs = |values: &[f64]| {
        let program = everything(values).0.compile(&Cpu::<f64>::new()).unwrap();
        program.values(x.view(), &Context::default()).unwrap()
    };
    let mut all = Array3::zeros((x.nrows(), 3, values.len()));
    for i in 0..values.len() {
        let moved = |by: f64| {
            let mut values = values.to_vec();
            values[i] += by;
            outputs(&values)
        };
        all.slice_mut(s![.., .., i]).assign(&((moved(step) - moved(-step)) / (2.0 * step)));
    }
    all
}

/// Similarities `[N, M * r * r]` by the definition.
fn definition(x: &Array3<f64>, y: &Array3<f64>, combine: Combine) -> Vec<f64> {
    let mut all = vec![];
    for (a, b) in x.outer_iter().flat_map(|a| y.outer_iter().map(move |b| (a, b))) {
        match combine {
            Combine::Sum => all.push(a.sum_axis(Axis(0)).dot(&b.sum_axis(Axis(0)))),
            Combine::Trace => all.push(a.outer_iter().zip(b.outer_iter()).map(|(a, b)| a.dot(&b)).sum()),
            Combine::Pairs => all.extend(a.dot(&b.t()).iter()),
        }
    }
    all
}

#[test]
fn similarities_equal_those_of_finite_differences() {
    let values = parameters();
    let network = everything(&values).0;
    let (x, y) = (random_rows(1, 5, 40), random_rows(2, 4, 40));
    let (of_x, of_y) = (differences(&values, &x), differences(&values, &y));
    for combine in COMBINES {
        let gradients = Gradients::new(&network, &Cpu::<f64>::new(), &[0, 1, 2], combine, None).unwrap();
        assert_eq!(gradients.parameters(), values.len());
        for road in [None, Some(Road::Products), Some(Road::Gradient)] {
            let mut similarity = Similarity::new(&gradients, Metric::Plain, Weights::None);
            if let Some(road) = road {
                similarity = similarity.on_road(road);
            }
            let context = Context::default();
            let found = matrix(&similarity, &x, Some(&y), &context);
            let error = relative_difference(found, definition(&of_x, &of_y, combine));
            assert!(error < CLOSE, "{combine:?} on {road:?}: {error:e}");
            let found = matrix(&similarity, &x, None, &context);
            let error = relative_difference(found, definition(&of_x, &of_x, combine));
            assert!(error < CLOSE, "{combine:?} on {road:?} with itself: {error:e}");
        }
    }
}

#[test]
fn one_output_and_one_layer_can_be_chosen() {
    let values = parameters();
    let network = everything(&values).0;
    let x = random_rows(1, 4, 40);
    let of_x = differences(&values, &x);
    let engine = Cpu::<f64>::new();
    let names = ["inside".to_owned()];
    let gradients = Gradients::new(&network, &engine, &[1], Combine::Sum, Some(&names)).unwrap();
    let similarity = Similarity::new(&gradients, Metric::Plain, Weights::None);
    // Behind the first convolution (24 + 4), its normalisation (8) and the slopes (4).
    let own = of_x.slice(s![.., 1..2, 40..40 + 144]).to_owned();
    let error = relative_difference(
        matrix(&similarity, &x, None, &Context::default()),
        definition(&own, &own, Combine::Sum),
    );
    assert!(error < CLOSE, "{error:e}");
    let refused = Gradients::new(&network, &engine, &[1], Combine::Sum, Some(&["tanh".to_owned()]));
    let line = refused.map(drop).unwrap_err().to_string();
    assert!(line.contains("'tanh'") && line.contains("'inside'"), "{line}");
    assert!(Gradients::new(&network, &engine, &[3], Combine::Sum, None).is_err());
    assert!(Gradients::new(&network, &engine, &[], Combine::Sum, None).is_err());
}
