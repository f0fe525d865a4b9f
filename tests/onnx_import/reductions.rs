//! Sums, means, limits and norms over axes; softmax.

use rten_onnx::onnx::AttributeProto;

use crate::model::{graph, int, ints, numbers};

type Reduction = fn(&[f64]) -> f64;

const REDUCTIONS: [(&str, Reduction); 9] = [
    ("ReduceSum", |x| x.iter().sum()),
    ("ReduceMean", |x| x.iter().sum::<f64>() / x.len() as f64),
    ("ReduceMax", |x| x.iter().copied().fold(f64::MIN, f64::max)),
    ("ReduceMin", |x| x.iter().copied().fold(f64::MAX, f64::min)),
    ("ReduceL1", |x| x.iter().map(|x| x.abs()).sum()),
    ("ReduceL2", |x| x.iter().map(|x| x * x).sum::<f64>().sqrt()),
    ("ReduceSumSquare", |x| x.iter().map(|x| x * x).sum()),
    ("ReduceLogSumExp", |x| x.iter().map(|x| x.exp()).sum::<f64>().ln()),
    ("ReduceLogSum", |x| x.iter().sum::<f64>().ln()),
];

/// Rows `[N, 2, 3, 2]` with all but axis 1 (of the sample) put in the order outer, inner.
fn over(x: &[f64], middle: bool, f: Reduction) -> Vec<f64> {
    let mut y = vec![];
    for sample in x.chunks_exact(12) {
        if middle {
            for (a, c) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                y.push(f(&[0, 1, 2].map(|b| sample[a * 6 + b * 2 + c])));
            }
        } else {
            y.extend(sample.chunks_exact(6).map(f));
        }
    }
    y
}

#[test]
fn reductions_over_axes_by_attribute_and_by_input() {
    // Above 0, for the logarithm.
    let x: Vec<f64> = numbers(24).iter().map(|x| x + 3.0).collect();
    for (operator, f) in REDUCTIONS {
        let old = |attributes: Vec<AttributeProto>| graph(12, &[2, 3, 2]).last(operator, &["x"], attributes);
        old(vec![ints("axes", &[2])]).gives(&x, &[2, 1, 2], &over(&x, true, f));
        old(vec![ints("axes", &[-2]), int("keepdims", 0)]).gives(&x, &[2, 2], &over(&x, true, f));
        old(vec![ints("axes", &[3, 2]), int("keepdims", 0)]).gives(&x, &[2], &over(&x, false, f));
        old(vec![]).refused("it runs over the batch");
        old(vec![ints("axes", &[1, 1])]).refused("is there twice");
        let new = |attributes| {
            let graph = graph(18, &[2, 3, 2]).integers("a", &[-1, 2]);
            graph.last(operator, &["x", "a"], attributes)
        };
        new(vec![]).gives(&x, &[2, 1, 1], &over(&x, false, f));
        new(vec![int("keepdims", 0), int("noop_with_empty_axes", 1)]).gives(&x, &[2], &over(&x, false, f));
    }
    let nothing = graph(18, &[3]).node("ReduceSum", &["x"], &["s"], vec![int("noop_with_empty_axes", 1)]);
    nothing.last("Relu", &["s"], vec![]).gives(&[-1.0, 0.5, 2.0], &[3], &[0.0, 0.5, 2.0]);
    graph(18, &[3])
        .last("ReduceProd", &["x"], vec![int("noop_with_empty_axes", 1)])
        .refused("of computed values");
}

#[test]
fn softmax_along_an_axis_and_over_flattened_ones() {
    let x = numbers(12);
    let shares = |line: &[f64]| -> Vec<f64> {
        let sum: f64 = line.iter().map(|x| x.exp()).sum();
        line.iter().map(|x| x.exp() / sum).collect()
    };
    let last: Vec<f64> = x.chunks_exact(3).flat_map(shares).collect();
    let all: Vec<f64> = x.chunks_exact(6).flat_map(shares).collect();
    let softmax =
        |opset, operator: &str, axis| graph(opset, &[2, 3]).last(operator, &["x"], vec![int("axis", axis)]);
    softmax(13, "Softmax", -1).gives(&x, &[2, 3], &last);
    softmax(11, "Softmax", 2).gives(&x, &[2, 3], &last);
    // Before opset 13 all axes from one on are joined.
    softmax(11, "Softmax", 1).gives(&x, &[2, 3], &all);
    graph(11, &[2, 3]).last("Softmax", &["x"], vec![]).gives(&x, &[2, 3], &all);
    let logs: Vec<f64> = last.iter().map(|share| share.ln()).collect();
    softmax(13, "LogSoftmax", 2).gives(&x, &[2, 3], &logs);
    let mut columns = vec![0.0; 12];
    for (n, c) in [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)] {
        let at = [n * 6 + c, n * 6 + 3 + c];
        shares(&at.map(|i| x[i])).iter().zip(at).for_each(|(share, i)| columns[i] = *share);
    }
    softmax(13, "Softmax", 1).gives(&x, &[2, 3], &columns);
}
