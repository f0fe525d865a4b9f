//! Joins, borders, orders of axes and shapes.

use rten_onnx::onnx::DataType;

use crate::model::{bare, float, graph, int, ints, numbers, string, value};

#[test]
fn concat_along_every_axis_but_the_batch() {
    let x = [1.0, -2.0, -3.0, 4.0];
    let join = |axis| {
        let graph = graph(13, &[2, 2]).node("Relu", &["x"], &["r"], vec![]);
        graph.last("Concat", &["r", "x"], vec![int("axis", axis)])
    };
    let rows = [1.0, 0.0, 0.0, 4.0, 1.0, -2.0, -3.0, 4.0];
    let columns = [1.0, 0.0, 1.0, -2.0, 0.0, 4.0, -3.0, 4.0];
    join(1).gives(&x, &[4, 2], &rows);
    join(-2).gives(&x, &[4, 2], &rows);
    join(2).gives(&x, &[2, 4], &columns);
    join(-1).gives(&x, &[2, 4], &columns);
}

#[test]
fn transpose_keeps_the_batch_first() {
    let x = numbers(12);
    let expected: Vec<f64> = (0..12).map(|i| x[i / 6 * 6 + i % 2 * 3 + i % 6 / 2]).collect();
    graph(7, &[2, 3]).last("Transpose", &["x"], vec![ints("perm", &[0, 2, 1])]).gives(&x, &[3, 2], &expected);
}

#[test]
fn borders_in_every_form() {
    let x = [1.0, 2.0, 3.0, 4.0];
    let nines = [9.0, 9.0, 1.0, 2.0, 3.0, 4.0, 9.0, 9.0];
    let widths = [0, 1, 0, 0, 1, 0];
    let attributes = vec![ints("pads", &widths), float("value", 9.0), string("mode", "constant")];
    graph(10, &[2, 2]).last("Pad", &["x"], attributes).gives(&x, &[4, 2], &nines);
    let by_input = graph(11, &[2, 2]).integers("p", &widths).weights("v", &[], &[9.0]);
    by_input.clone().last("Pad", &["x", "p", "v"], vec![]).gives(&x, &[4, 2], &nines);
    let zeros = nines.map(|value| if value == 9.0 { 0.0 } else { value });
    by_input.last("Pad", &["x", "p"], vec![]).gives(&x, &[4, 2], &zeros);
    let with_axes = graph(18, &[2, 2]).integers("p", &[-1, 2]).integers("a", &[-1]);
    with_axes.last("Pad", &["x", "p", "", "a"], vec![]).gives(&x, &[2, 3], &[2.0, 0.0, 0.0, 4.0, 0.0, 0.0]);
}

#[test]
fn reshape_leaves_the_batch_in_front() {
    let x = numbers(24);
    for (target, shape) in [
        (&[-1_i64, 12][..], &[12_usize][..]),
        (&[0, -1], &[12]),
        (&[1, -1], &[12]),
        (&[1, 12], &[12]),
        (&[0, 3, -1, 2], &[3, 2, 2]),
        (&[0, 0, -1], &[2, 6]),
        (&[0, 0, 0, 1, 0], &[2, 3, 1, 2]),
        (&[-1, 2, 0, 2], &[2, 3, 2]),
    ] {
        // A 0 stands for the length at its place: here for samples [2, 3, 1, 2] in the seventh case.
        let sample: &[i64] = if target.len() == 5 { &[2, 3, 1, 2] } else { &[2, 3, 2] };
        let graph = graph(13, sample).integers("s", target).node("Neg", &["x"], &["n"], vec![]);
        let minus: Vec<f64> = x.iter().map(|x| -x).collect();
        graph.last("Reshape", &["n", "s"], vec![]).gives(&x, shape, &minus);
    }
    let fixed = bare(14).input(value("x", DataType::FLOAT, Some(&[4, 2, 3]))).output("y");
    let fixed = fixed.integers("s", &[4, -1]).last("Reshape", &["x", "s"], vec![int("allowzero", 0)]);
    fixed.gives(&x, &[6], &x);
}

#[test]
fn flatten_squeeze_and_unsqueeze() {
    let x = numbers(12);
    graph(7, &[2, 3]).last("Flatten", &["x"], vec![]).gives(&x, &[6], &x);
    graph(13, &[2, 3]).last("Flatten", &["x"], vec![int("axis", -2)]).gives(&x, &[6], &x);
    graph(9, &[1, 1, 6]).last("Flatten", &["x"], vec![int("axis", 3)]).gives(&x, &[6], &x);
    graph(9, &[1, 1]).last("Flatten", &["x"], vec![int("axis", 3)]).gives(&x, &[1], &x);
    let squeeze = |axes: &[i64]| graph(11, &[1, 6, 1]).last("Squeeze", &["x"], vec![ints("axes", axes)]);
    squeeze(&[1]).gives(&x, &[6, 1], &x);
    squeeze(&[-1, 1]).gives(&x, &[6], &x);
    let by_input = graph(13, &[1, 6, 1]).integers("a", &[3]);
    by_input.last("Squeeze", &["x", "a"], vec![]).gives(&x, &[1, 6], &x);
    let unsqueeze = |axes: &[i64]| graph(11, &[2, 3]).last("Unsqueeze", &["x"], vec![ints("axes", axes)]);
    unsqueeze(&[1]).gives(&x, &[1, 2, 3], &x);
    unsqueeze(&[4, 2]).gives(&x, &[2, 1, 3, 1], &x);
    let by_input = graph(13, &[2, 3]).integers("a", &[-1]);
    by_input.last("Unsqueeze", &["x", "a"], vec![]).gives(&x, &[2, 3, 1], &x);
}

#[test]
fn shapes_that_are_worked_out_from_constants() {
    // The target comes through a node, and the constant is reshaped four times on its way.
    let x = numbers(6);
    let graph =
        graph(13, &[2, 3]).weights("c", &[6], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).integers("s", &[2, -1]);
    let graph = graph.integers("front", &[0]).node("Reshape", &["c", "s"], &["a"], vec![]);
    let graph =
        graph.node("Unsqueeze", &["a", "front"], &["b"], vec![]).node("Squeeze", &["b"], &["d"], vec![]);
    let graph = graph.node("Flatten", &["d"], &["e"], vec![int("axis", 1)]);
    let target =
        graph.node("Unsqueeze", &["s", "front"], &["t"], vec![]).node("Squeeze", &["t"], &["u"], vec![]);
    let target = target.node("Reshape", &["e", "u"], &["f"], vec![]).last("Add", &["x", "f"], vec![]);
    let expected: Vec<f64> = x.iter().enumerate().map(|(i, x)| x + 1.0 + i as f64).collect();
    target.gives(&x, &[2, 3], &expected);
}
