//! Products of computed values, batches that move, and shapes that are worked out.

use rten_onnx::onnx::DataType;

use crate::model::{Graph, bare, graph, int, ints, numbers, raw, value, weights};

/// Attention with two heads of two over samples `[3, 4]`, without weights: queries, keys and values are the input.
fn attention(x: &[f64]) -> Vec<f64> {
    let mut y = vec![0.0; x.len()];
    for (sample, y) in x.chunks_exact(12).zip(y.chunks_exact_mut(12)) {
        for head in 0..2 {
            let at = |token: usize, i: usize| sample[token * 4 + head * 2 + i];
            for token in 0..3 {
                let scores =
                    [0, 1, 2].map(|other| (0..2).map(|i| at(token, i) * at(other, i)).sum::<f64>().exp());
                let sum: f64 = scores.iter().sum();
                for i in 0..2 {
                    y[token * 4 + head * 2 + i] =
                        (0..3).map(|other| scores[other] / sum * at(other, i)).sum();
                }
            }
        }
    }
    y
}

/// From heads `[N, 2, 3, 2]` called `h` to tokens `y [N, 3, 4]`.
fn attend(graph: Graph) -> Graph {
    let graph = graph.node("Transpose", &["h"], &["k"], vec![ints("perm", &[0, 1, 3, 2])]);
    let graph = graph.node("MatMul", &["h", "k"], &["scores"], vec![]);
    let graph = graph.node("Softmax", &["scores"], &["shares"], vec![int("axis", -1)]);
    graph.node("MatMul", &["shares", "h"], &["mixed"], vec![])
}

#[test]
fn attention_with_the_batch_in_front() {
    let x = numbers(24);
    let graph = graph(13, &[3, 4]).integers("heads", &[0, 3, 2, 2]).integers("flat", &[0, 3, 4]);
    let graph = graph.node("Reshape", &["x", "heads"], &["r"], vec![]);
    let graph = attend(graph.node("Transpose", &["r"], &["h"], vec![ints("perm", &[0, 2, 1, 3])]));
    let graph = graph.node("Transpose", &["mixed"], &["t"], vec![ints("perm", &[0, 2, 1, 3])]);
    graph.last("Reshape", &["t", "flat"], vec![]).gives(&x, &[3, 4], &attention(&x));
}

/// As PyTorch writes it: tokens first, the batch joined with the heads, then with the tokens.
fn moved(mut graph: Graph, [joined, apart, flat, back]: [&[i64]; 4]) -> Graph {
    for (name, shape) in [("joined", joined), ("apart", apart), ("flat", flat), ("back", back)] {
        graph = graph.integers(name, shape);
    }
    let graph = graph.node("Transpose", &["x"], &["s"], vec![ints("perm", &[1, 0, 2])]);
    let graph = graph.node("Reshape", &["s", "joined"], &["j"], vec![]);
    let graph = graph.node("Transpose", &["j"], &["jt"], vec![ints("perm", &[1, 0, 2])]);
    let graph = attend(graph.node("Reshape", &["jt", "apart"], &["h"], vec![]));
    let graph = graph.node("Transpose", &["mixed"], &["mt"], vec![ints("perm", &[2, 0, 1, 3])]);
    let graph = graph.node("Reshape", &["mt", "flat"], &["f"], vec![]);
    let identity: Vec<f32> = (0..16).map(|i| if i % 5 == 0 { 2.0 } else { 0.0 }).collect();
    let graph = graph.weights("w", &[4, 4], &identity).node("Gemm", &["f", "w"], &["g"], vec![]);
    let graph = graph.node("Reshape", &["g", "back"], &["b"], vec![]);
    graph.last("Transpose", &["b"], vec![ints("perm", &[1, 0, 2])])
}

#[test]
fn attention_with_the_batch_on_its_way_through_the_axes() {
    let x = numbers(36);
    let expected: Vec<f64> = attention(&x).iter().map(|y| 2.0 * y).collect();
    let open = moved(graph(13, &[3, 4]), [&[3, -1, 2], &[-1, 2, 3, 2], &[-1, 4], &[3, -1, 4]]);
    open.gives(&x, &[3, 4], &expected);
    let file = |batch| bare(13).input(value("x", DataType::FLOAT, Some(&[batch, 3, 4]))).output("y");
    moved(file(1), [&[3, 2, 2], &[1, 2, 3, 2], &[3, 4], &[3, 1, 4]]).gives(&x, &[3, 4], &expected);
    moved(file(5), [&[3, 10, 2], &[5, 2, 3, 2], &[15, 4], &[3, 5, 4]]).gives(&x, &[3, 4], &expected);
}

#[test]
fn products_with_constants_on_either_side() {
    let x = numbers(12);
    let w = weights(6);
    // [4, 2] x [2, 3] and, for samples [2, 3], [2, 2] x [2, 3].
    let left = graph(13, &[2, 3]).weights("w", &[3, 2], &w).last("MatMul", &["w", "x"], vec![]);
    let mut expected = vec![];
    for sample in x.chunks_exact(6) {
        for (i, j) in (0..9).map(|at| (at / 3, at % 3)) {
            expected.push((0..2).map(|k| f64::from(w[i * 2 + k]) * sample[k * 3 + j]).sum());
        }
    }
    left.gives(&x, &[3, 3], &expected);
    let dots: Vec<f64> =
        x.chunks_exact(3).map(|row| row.iter().zip(&w).map(|(x, &w)| x * f64::from(w)).sum()).collect();
    graph(13, &[2, 3]).weights("w", &[3], &w[..3]).last("MatMul", &["x", "w"], vec![]).gives(&x, &[2], &dots);
    let many = graph(13, &[2, 1, 3]).weights("w", &[1, 2, 3, 1], &w).last("MatMul", &["x", "w"], vec![]);
    let expected: Vec<f64> = x
        .chunks_exact(3)
        .enumerate()
        .map(|(i, row)| (0..3).map(|k| row[k] * f64::from(w[i % 2 * 3 + k])).sum())
        .collect();
    many.gives(&x, &[2, 1, 1], &expected);
}

#[test]
fn a_constant_that_becomes_as_long_as_the_batch() {
    // The class token of a vision transformer.
    let x = numbers(12);
    let graph = graph(15, &[2, 3]).weights("token", &[1, 1, 3], &[7.0, 8.0, 9.0]).integers("ones", &[1, 3]);
    let graph = graph.node("Shape", &["x"], &["n"], vec![int("end", 1)]);
    let graph = graph.node("Concat", &["n", "ones"], &["shape"], vec![int("axis", 0)]);
    let graph = graph.node("Expand", &["token", "shape"], &["tokens"], vec![]);
    let graph = graph.last("Concat", &["tokens", "x"], vec![int("axis", 1)]);
    let expected: Vec<f64> =
        x.chunks_exact(6).flat_map(|sample| [&[7.0, 8.0, 9.0], sample].concat()).collect();
    graph.gives(&x, &[3, 3], &expected);
}

#[test]
fn shapes_that_are_worked_out_from_the_input() {
    let x = numbers(24);
    let start = || {
        let graph = graph(13, &[3, 4]).node("Shape", &["x"], &["s"], vec![]);
        let graph = graph.integers("zero", &[0]).integers("one", &[1]).integers("two", &[2]);
        let scalars = [("i0", 0_i64), ("i1", 1), ("i2", 2)];
        scalars.iter().fold(graph, |graph, (name, value)| {
            graph.initializer(raw(name, &[], DataType::INT64, value.to_le_bytes().to_vec()))
        })
    };
    // [N, 3 * 4 / 2, 2], by way of single numbers.
    let graph =
        start().node("Gather", &["s", "i0"], &["n"], vec![]).node("Gather", &["s", "i1"], &["a"], vec![]);
    let graph = graph.node("Gather", &["s", "i2"], &["b"], vec![]).node("Mul", &["a", "b"], &["ab"], vec![]);
    let graph = graph.node("Div", &["ab", "i2"], &["half"], vec![]).node(
        "Cast",
        &["half"],
        &["c"],
        vec![int("to", 7)],
    );
    let graph = graph.node("Unsqueeze", &["n", "zero"], &["n1"], vec![]).node(
        "Unsqueeze",
        &["c", "zero"],
        &["c1"],
        vec![],
    );
    let graph = graph.node("Concat", &["n1", "c1", "two"], &["target"], vec![int("axis", 0)]);
    graph.last("Reshape", &["x", "target"], vec![]).gives(&x, &[6, 2], &x);
    // The same with -1 replaced as PyTorch's expand does it.
    let graph = start().node("Slice", &["s", "zero", "one"], &["n"], vec![]).integers("rest", &[-1, 2]);
    let graph = graph.node("Concat", &["n", "rest"], &["target"], vec![int("axis", 0)]);
    let graph = graph.node("Shape", &["target"], &["three"], vec![]);
    let ones = crate::model::tensor("value", raw("", &[1], DataType::INT64, 1_i64.to_le_bytes().to_vec()));
    let graph = graph.node("ConstantOfShape", &["three"], &["ones"], vec![ones]).integers("minus", &[-1]);
    let graph = graph.node("Mul", &["ones", "minus"], &["free"], vec![]);
    let graph = graph.node("Equal", &["target", "free"], &["open"], vec![]).integers("six", &[6]);
    let graph = graph.node("Where", &["open", "six", "target"], &["shape"], vec![]);
    graph.last("Reshape", &["x", "shape"], vec![]).gives(&x, &[6, 2], &x);
    // What must not be done with the length of the batch.
    let sum = start().node("Add", &["s", "one"], &["t"], vec![]).last("Reshape", &["x", "t"], vec![]);
    sum.refused("it computes with the length of the batch");
    let real = start().node("Cast", &["s"], &["t"], vec![int("to", 1)]).last("Add", &["x", "t"], vec![]);
    real.refused("a real number of the length of the batch");
    let twice = start().node("Gather", &["s", "zero"], &["n"], vec![]);
    let twice = twice.node("Concat", &["n", "n"], &["t"], vec![int("axis", 0)]);
    twice.last("Reshape", &["x", "t"], vec![]).refused("twice");
}

#[test]
fn sequences_forward_and_backward() {
    let x = numbers(10);
    for (limits, picked) in [
        ([0_i64, 5, 2], &[0_usize, 2, 4][..]),
        ([4, 0, -2], &[4, 2]),
        ([4, -1, -2], &[4, 2, 0]),
        ([1, 4, 1], &[1, 2, 3]),
    ] {
        let names = ["from", "to", "step"];
        let graph = names.iter().zip(limits).fold(graph(13, &[5]), |graph, (name, value)| {
            graph.initializer(raw(name, &[], DataType::INT64, value.to_le_bytes().to_vec()))
        });
        let graph = graph.node("Range", &names, &["i"], vec![]);
        let expected: Vec<f64> =
            x.chunks_exact(5).flat_map(|row| picked.iter().map(|&i| row[i]).collect::<Vec<_>>()).collect();
        let gather = graph.last("Gather", &["x", "i"], vec![int("axis", 1)]);
        gather.gives(&x, &[picked.len()], &expected);
    }
}

#[test]
fn a_file_for_one_sample_may_use_its_batch() {
    let x = numbers(12);
    let file = || bare(13).input(value("x", DataType::FLOAT, Some(&[1, 2, 3]))).output("y");
    let sum: Vec<f64> = x.chunks_exact(6).map(|sample| sample.iter().sum()).collect();
    file().last("ReduceSum", &["x"], vec![int("keepdims", 0)]).gives(&x, &[], &sum);
    let columns: Vec<f64> =
        x.chunks_exact(6).flat_map(|sample| [0, 1, 2].map(|i| sample[i].max(sample[i + 3]))).collect();
    let squeezed = file().node("Squeeze", &["x"], &["s"], vec![]);
    squeezed.last("ReduceMax", &["s"], vec![ints("axes", &[0])]).gives(&x, &[1, 3], &columns);
}
