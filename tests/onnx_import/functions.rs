//! Elementwise functions and limits.

use rten_onnx::onnx::{AttributeProto, DataType};

use crate::model::{Graph, float, graph, numbers, raw, string};

fn check(graph: &Graph, f: impl Fn(f64) -> f64) {
    let x = numbers(12);
    graph.gives(&x, &[3], &x.iter().map(|&x| f(x)).collect::<Vec<f64>>());
}

fn one(opset: i64, operator: &str, attributes: Vec<AttributeProto>) -> Graph {
    graph(opset, &[3]).last(operator, &["x"], attributes)
}

#[test]
fn functions_with_and_without_parameters() {
    check(&one(7, "Abs", vec![]), f64::abs);
    check(&one(7, "Neg", vec![]), |x| -x);
    check(&one(7, "Softsign", vec![]), |x| x / (1.0 + x.abs()));
    check(&one(7, "Exp", vec![]), f64::exp);
    check(&one(7, "Sin", vec![]), f64::sin);
    check(&one(28, "Cos", vec![]), f64::cos);
    check(&one(7, "Elu", vec![]), |x| if x > 0.0 { x } else { x.exp_m1() });
    check(&one(22, "Elu", vec![float("alpha", 0.5)]), |x| if x > 0.0 { x } else { 0.5 * x.exp_m1() });
    // The defaults are numbers of f32.
    let (alpha, gamma) = (f64::from(1.673_263_2_f32), f64::from(1.050_701_f32));
    check(&one(7, "Selu", vec![]), |x| gamma * if x > 0.0 { x } else { alpha * x.exp_m1() });
    check(
        &one(12, "Celu", vec![float("alpha", 2.0)]),
        |x| if x > 0.0 { x } else { 2.0 * (x / 2.0).exp_m1() },
    );
    let hard = |alpha: f32, beta: f32| move |x: f64| (f64::from(alpha) * x + f64::from(beta)).clamp(0.0, 1.0);
    check(&one(7, "HardSigmoid", vec![]), hard(0.2, 0.5));
    check(&one(7, "HardSigmoid", vec![float("alpha", 0.75), float("beta", 0.25)]), hard(0.75, 0.25));
    check(&one(14, "HardSwish", vec![]), |x| x * (x / 6.0 + 0.5).clamp(0.0, 1.0));
    check(&one(18, "Mish", vec![]), |x| x * (1.0 + x.exp()).ln().tanh());
    check(&one(24, "Swish", vec![]), |x| x / (1.0 + (-x).exp()));
    check(&one(24, "Swish", vec![float("alpha", 2.0)]), |x| x / (1.0 + (-2.0 * x).exp()));
    check(&one(10, "ThresholdedRelu", vec![float("alpha", 0.5)]), |x| if x > 0.5 { x } else { 0.0 });
    let positive =
        |operator: &str| graph(13, &[3]).node("Exp", &["x"], &["e"], vec![]).last(operator, &["e"], vec![]);
    check(&positive("Log"), |x| x);
    check(&positive("Sqrt"), |x| (x / 2.0).exp());
    check(&positive("Reciprocal"), |x| (-x).exp());
    // erf(1) and erf(-0.5) from tables.
    let erf = one(9, "Erf", vec![]);
    erf.gives(&[1.0, -0.5, 0.0], &[3], &[0.842_700_792_949_714_9, -0.520_499_877_813_046_5, 0.0]);
}

#[test]
fn powers_of_constants_and_by_constants() {
    let power =
        |exponent: f32| graph(13, &[3]).weights("e", &[], &[exponent]).last("Pow", &["x", "e"], vec![]);
    check(&power(2.0), |x| x * x);
    check(&power(3.0), |x| x * x * x);
    let same = graph(13, &[3]).weights("e", &[3], &[2.0; 3]).last("Pow", &["x", "e"], vec![]);
    check(&same, |x| x * x);
    let integer = graph(13, &[3]).initializer(raw("e", &[], DataType::INT64, 2_i64.to_le_bytes().to_vec()));
    check(&integer.last("Pow", &["x", "e"], vec![]), |x| x * x);
    check(&graph(13, &[3]).weights("b", &[], &[2.0]).last("Pow", &["b", "x"], vec![]), f64::exp2);
}

#[test]
fn gelu_as_exporters_take_it_apart() {
    let exact = graph(13, &[3]).weights("root", &[], &[2.0_f32.sqrt()]).weights("one", &[], &[1.0]);
    let exact = exact.weights("half", &[], &[0.5]).node("Div", &["x", "root"], &["d"], vec![]);
    let exact = exact.node("Erf", &["d"], &["e"], vec![]).node("Add", &["e", "one"], &["s"], vec![]);
    let exact = exact.node("Mul", &["x", "s"], &["p"], vec![]).last("Mul", &["p", "half"], vec![]);
    let root = f64::from(2.0_f32.sqrt());
    check(&exact, |x| 0.5 * x * (1.0 + libm_erf(x / root)));
    check(&graph(20, &[3]).last("Gelu", &["x"], vec![string("approximate", "tanh")]), |x| {
        0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh())
    });
}

/// The error function by its series.
fn libm_erf(x: f64) -> f64 {
    let mut term = x;
    let mut sum = x;
    for n in 1..80 {
        term *= -x * x / f64::from(n);
        sum += term / f64::from(2 * n + 1);
    }
    std::f64::consts::FRAC_2_SQRT_PI * sum
}

#[test]
fn slopes_below_zero() {
    let below = |x: f64, slope: f64| if x > 0.0 { x } else { slope * x };
    let x = numbers(12);
    // Samples [2, 3]: one slope, one for each channel, one for each element.
    for (dims, slopes) in [
        (&[][..], &[0.25_f32][..]),
        (&[2, 1], &[0.5, -0.25]),
        (&[1, 2, 1], &[0.5, -0.25]),
        (&[2, 3], &[0.5, 1.0, 2.0, 0.0, -1.0, 0.25]),
    ] {
        let count = slopes.len();
        let at = |i: usize| f64::from(slopes[i % 6 * count / 6]);
        let expected: Vec<f64> = x.iter().enumerate().map(|(i, &x)| below(x, at(i))).collect();
        let graph = graph(9, &[2, 3]).weights("s", dims, slopes);
        graph.last("PRelu", &["x", "s"], vec![]).gives(&x, &[2, 3], &expected);
    }
}

#[test]
fn limits_sums_and_means_of_several() {
    let several = |operator: &str, inputs: &[&str]| {
        let graph = graph(13, &[3]).node("Neg", &["x"], &["n"], vec![]).weights("c", &[3], &[0.5; 3]);
        graph.weights("one", &[], &[1.0]).last(operator, inputs, vec![])
    };
    check(&several("Min", &["x", "n"]), |x| -x.abs());
    check(&several("Max", &["x", "n", "one"]), |x| x.abs().max(1.0));
    check(&several("Max", &["c", "x"]), |x| x.max(0.5));
    check(&several("Min", &["one", "x", "c"]), |x| x.min(0.5));
    check(&several("Max", &["n"]), |x| -x);
    check(&several("Sum", &["x", "x", "c", "one"]), |x| 2.0 * x + 1.5);
    check(&several("Mean", &["x", "n", "x", "one"]), |x| (x + 1.0) / 4.0);
}

#[test]
fn choices_by_constants_and_by_comparisons() {
    let x = numbers(12);
    let mask = raw("m", &[3], DataType::BOOL, vec![1, 0, 1]);
    let graph = |g: Graph| g.initializer(mask.clone()).weights("c", &[], &[7.0]);
    let masked = graph(crate::model::graph(13, &[3])).last("Where", &["m", "x", "c"], vec![]);
    let expected: Vec<f64> = x.iter().enumerate().map(|(i, &x)| if i % 3 == 1 { 7.0 } else { x }).collect();
    masked.gives(&x, &[3], &expected);
    type Comparison = fn(&f64, &f64) -> bool;
    let comparisons: [(&str, Comparison); 4] =
        [("Greater", f64::gt), ("GreaterOrEqual", f64::ge), ("Less", f64::lt), ("LessOrEqual", f64::le)];
    for (operator, holds) in comparisons {
        // One of the numbers is equal to the limit.
        let graph = crate::model::graph(16, &[3]).weights("c", &[], &[x[4] as f32]);
        let graph = graph.node(operator, &["x", "c"], &["t"], vec![]).node("Neg", &["x"], &["n"], vec![]);
        check(&graph.last("Where", &["t", "x", "n"], vec![]), |value| {
            if holds(&value, &x[4]) { value } else { -value }
        });
    }
    // The form of softplus that PyTorch writes.
    let softplus =
        crate::model::graph(18, &[3]).weights("t", &[], &[20.0]).node("Softplus", &["x"], &["s"], vec![]);
    let softplus =
        softplus.node("Greater", &["x", "t"], &["g"], vec![]).last("Where", &["g", "x", "s"], vec![]);
    check(&softplus, |x| (1.0 + x.exp()).ln());
}

#[test]
fn conversions_between_floats_change_nothing() {
    let graph = graph(19, &[3]).node("Relu", &["x"], &["r"], vec![]);
    let graph = graph.node("Cast", &["r"], &["c"], vec![crate::model::int("to", 11)]);
    let graph = graph.node("CastLike", &["c", "x"], &["l"], vec![]).last("Tanh", &["l"], vec![]);
    check(&graph, |x| x.max(0.0).tanh());
    assert_eq!(graph.load().unwrap().network.nodes().len(), 3);
}
