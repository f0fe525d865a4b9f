//! Products, normalisation, elementwise functions and arithmetic.

use rten_onnx::onnx::DataType;

use crate::model::{Graph, float, graph, int, numbers, raw, string, weights};

/// `x [N, k] * w [k, n]`, row-major.
fn product(x: &[f64], w: &[f32], k: usize) -> Vec<f64> {
    let n = w.len() / k;
    let rows = x.chunks_exact(k);
    rows.flat_map(|row| {
        (0..n).map(move |j| row.iter().enumerate().map(|(i, x)| x * f64::from(w[i * n + j])).sum())
    })
    .collect()
}

#[test]
fn gemm_in_all_forms() {
    let (x, w) = (numbers(6), weights(12));
    let plain = product(&x, &w, 3);
    let gemm = |opset| graph(opset, &[3]).weights("w", &[3, 4], &w);
    gemm(11).last("Gemm", &["x", "w"], vec![]).gives(&x, &[4], &plain);
    gemm(13).last("Gemm", &["x", "w", ""], vec![float("beta", 3.0)]).gives(&x, &[4], &plain);
    let (alpha, beta) = (0.7_f32, -1.3_f32);
    let c = [0.5_f32, -2.0, 1.0, 3.0];
    for dims in [&[4_i64][..], &[1, 4], &[], &[1], &[1, 1]] {
        let c = &c[..dims.iter().product::<i64>() as usize];
        let expected: Vec<f64> = plain
            .iter()
            .enumerate()
            .map(|(i, p)| f64::from(alpha) * p + f64::from(beta) * f64::from(c[i % c.len()]))
            .collect();
        let attributes = vec![float("alpha", alpha), float("beta", beta), int("transA", 0)];
        gemm(9).weights("c", dims, c).last("Gemm", &["x", "w", "c"], attributes).gives(&x, &[4], &expected);
    }
    let transposed: Vec<f32> = (0..12).map(|i| w[(i % 3) * 4 + i / 3]).collect();
    let graph = graph(7, &[3]).weights("w", &[4, 3], &transposed).weights("c", &[4], &[0.0; 4]);
    graph.last("Gemm", &["x", "w", "c"], vec![int("transB", 1)]).gives(&x, &[4], &plain);
}

#[test]
fn matmul_over_the_last_axis() {
    let (x, w) = (numbers(12), weights(6));
    let expected = product(&x, &w, 3);
    graph(9, &[3]).weights("w", &[3, 2], &w).last("MatMul", &["x", "w"], vec![]).gives(&x, &[2], &expected);
    for dims in [&[3_i64, 2][..], &[1, 3, 2]] {
        let graph = graph(13, &[2, 3]).weights("w", dims, &w);
        graph.last("MatMul", &["x", "w"], vec![]).gives(&x, &[2, 2], &expected);
    }
}

#[test]
fn weights_in_every_storage() {
    let x = numbers(4);
    let w = weights(2);
    let expected = product(&x, &w, 2);
    let check = |tensor| {
        graph(13, &[2]).initializer(tensor).last("MatMul", &["x", "w"], vec![]).gives(&x, &[1], &expected)
    };
    let mut typed = raw("w", &[2, 1], DataType::FLOAT, vec![]);
    typed.float_data = w.clone();
    check(typed);
    let doubles: Vec<f64> = w.iter().map(|&value| f64::from(value)).collect();
    check(raw("w", &[2, 1], DataType::DOUBLE, doubles.iter().flat_map(|v| v.to_le_bytes()).collect()));
    let mut typed = raw("w", &[2, 1], DataType::DOUBLE, vec![]);
    typed.double_data = doubles;
    check(typed);
}

#[test]
fn batch_normalization_of_channels() {
    let parameters: [(&str, [f32; 2]); 4] =
        [("s", [1.5, -0.5]), ("b", [0.25, 2.0]), ("m", [-1.0, 0.5]), ("v", [0.75, 3.0])];
    for (opset, sample, epsilon) in
        [(7, &[2_i64, 3, 1][..], None), (9, &[2], Some(0.01_f32)), (15, &[2, 2], None)]
    {
        let count: i64 = sample.iter().product();
        let x = numbers(2 * count as usize);
        let inner = count as usize / 2;
        let expected: Vec<f64> = x
            .iter()
            .enumerate()
            .map(|(i, x)| {
                let [s, b, m, v] = parameters.map(|(_, values)| f64::from(values[i / inner % 2]));
                s * (x - m) / (v + f64::from(epsilon.unwrap_or(1e-5))).sqrt() + b
            })
            .collect();
        let mut graph = graph(opset, sample);
        for (name, values) in parameters {
            graph = graph.weights(name, &[2], &values);
        }
        let mut attributes = vec![float("momentum", 0.9)];
        attributes.extend(epsilon.map(|epsilon| float("epsilon", epsilon)));
        let shape: Vec<usize> = sample.iter().map(|&length| length as usize).collect();
        graph.last("BatchNormalization", &["x", "s", "b", "m", "v"], attributes).gives(&x, &shape, &expected);
    }
}

#[test]
fn elementwise_functions() {
    let x = numbers(12);
    let check = |graph: Graph, f: &dyn Fn(f64) -> f64| {
        graph.gives(&x, &[3], &x.iter().map(|&x| f(x)).collect::<Vec<f64>>());
    };
    let one = |opset, operator, attributes| graph(opset, &[3]).last(operator, &["x"], attributes);
    check(one(7, "Relu", vec![]), &|x| x.max(0.0));
    check(one(7, "Sigmoid", vec![]), &|x| 1.0 / (1.0 + (-x).exp()));
    check(one(9, "Tanh", vec![]), &f64::tanh);
    check(one(9, "Softplus", vec![]), &|x| (1.0 + x.exp()).ln());
    let leaky = |slope: f32| move |x: f64| if x < 0.0 { f64::from(slope) * x } else { x };
    check(one(9, "LeakyRelu", vec![]), &leaky(0.01));
    check(one(16, "LeakyRelu", vec![float("alpha", 0.3)]), &leaky(0.3));
    check(one(10, "Clip", vec![float("min", -0.5), float("max", 1.0)]), &|x| x.clamp(-0.5, 1.0));
    check(one(7, "Clip", vec![float("max", 1.0)]), &|x| x.min(1.0));
    let limits = graph(11, &[3]).weights("low", &[], &[-0.5]).weights("high", &[], &[1.0]);
    check(limits.clone().last("Clip", &["x", "low", "high"], vec![]), &|x| x.clamp(-0.5, 1.0));
    check(limits.clone().last("Clip", &["x", "", "high"], vec![]), &|x| x.min(1.0));
    check(limits.clone().last("Clip", &["x", "low"], vec![]), &|x| x.max(-0.5));
    check(limits.last("Clip", &["x"], vec![]), &|x| x);
    let open = graph(13, &[3]).weights("low", &[], &[0.0]).weights("high", &[], &[f32::INFINITY]);
    check(open.last("Clip", &["x", "low", "high"], vec![]), &|x| x.max(0.0));
    let inner = |x: f64| (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
    check(one(20, "Gelu", vec![string("approximate", "tanh")]), &|x| 0.5 * x * (1.0 + inner(x).tanh()));
    // x Phi(x) from tables of the normal distribution.
    let gelu = graph(20, &[3]).last("Gelu", &["x"], vec![]);
    gelu.gives(&[1.0, -2.0, 0.0], &[3], &[0.841_344_746_068_542_9, -0.045_500_263_896_358_42, 0.0]);
    let silu = graph(13, &[3]).node("Sigmoid", &["x"], &["s"], vec![]).last("Mul", &["s", "x"], vec![]);
    check(silu, &|x| x / (1.0 + (-x).exp()));
}

type Operation = fn(f64, f64) -> f64;

/// From the position of an element in a batch to that of its partner in a constant.
type Place = fn(usize) -> usize;

const ARITHMETIC: [(&str, Operation); 4] =
    [("Add", |a, b| a + b), ("Sub", |a, b| a - b), ("Mul", |a, b| a * b), ("Div", |a, b| a / b)];

#[test]
fn arithmetic_with_constants_on_either_side() {
    // Away from 0, to divide by it.
    let x: Vec<f64> = numbers(12).iter().map(|x| x + 4.0).collect();
    let c = [1.5_f32, -0.5, 2.0];
    for (operator, f) in ARITHMETIC {
        // Samples [2, 3].
        let cases: [(&[i64], Place); 6] = [
            (&[3], |i| i % 3),
            (&[1, 3], |i| i % 3),
            (&[1, 1, 3], |i| i % 3),
            (&[2, 1], |i| i / 3 % 2),
            (&[1, 2, 1], |i| i / 3 % 2),
            (&[], |_| 0),
        ];
        for (dims, at) in cases {
            let graph = graph(13, &[2, 3]).weights("c", dims, &c[..dims.iter().product::<i64>() as usize]);
            let right: Vec<f64> = x.iter().enumerate().map(|(i, &x)| f(x, f64::from(c[at(i)]))).collect();
            graph.clone().last(operator, &["x", "c"], vec![]).gives(&x, &[2, 3], &right);
            let left: Vec<f64> = x.iter().enumerate().map(|(i, &x)| f(f64::from(c[at(i)]), x)).collect();
            graph.last(operator, &["c", "x"], vec![]).gives(&x, &[2, 3], &left);
        }
    }
    // A constant that is larger than a sample.
    let graph = graph(7, &[1, 3]).weights("c", &[2, 1], &[10.0, 20.0]);
    graph.last("Add", &["c", "x"], vec![]).gives(
        &[1.0, 2.0, 3.0],
        &[2, 3],
        &[11.0, 12.0, 13.0, 21.0, 22.0, 23.0],
    );
}

#[test]
fn arithmetic_of_branches() {
    let x: Vec<f64> = numbers(6).iter().map(|x| x + 4.0).collect();
    for (operator, f) in ARITHMETIC {
        let expected: Vec<f64> = x.iter().map(|&x| f(x.max(0.0), x.tanh())).collect();
        let branches =
            graph(7, &[3]).node("Relu", &["x"], &["a"], vec![]).node("Tanh", &["x"], &["b"], vec![]);
        branches.last(operator, &["a", "b"], vec![]).gives(&x, &[3], &expected);
    }
    // [3, 1] and [1, 3] to [3, 3]
    let outer = graph(13, &[3]).integers("column", &[1]).integers("row", &[2]);
    let outer = outer.node("Unsqueeze", &["x", "column"], &["a"], vec![]);
    let outer = outer.node("Unsqueeze", &["x", "row"], &["b"], vec![]).last("Sub", &["b", "a"], vec![]);
    let expected = [0.0, -1.0, -3.0, 1.0, 0.0, -2.0, 3.0, 2.0, 0.0];
    outer.gives(&[1.0, 2.0, 4.0], &[3, 3], &expected);
}

#[test]
fn constants_are_folded() {
    let x = numbers(6);
    let graph =
        graph(13, &[2, 3]).weights("a", &[1, 2], &[1.0, 4.0]).weights("b", &[3, 1], &[2.0, 8.0, -1.0]);
    let graph = graph.node("Div", &["a", "b"], &["q"], vec![]).node("Transpose", &["q"], &["t"], vec![]);
    let graph =
        graph.node("Identity", &["t"], &["i"], vec![]).node("Cast", &["i"], &["d"], vec![int("to", 11)]);
    let graph = graph.last("Add", &["x", "d"], vec![]);
    let quotients = [0.5, 0.125, -1.0, 2.0, 0.5, -4.0];
    let expected: Vec<f64> = x.iter().zip(quotients).map(|(x, q)| x + q).collect();
    graph.gives(&x, &[2, 3], &expected);
}
