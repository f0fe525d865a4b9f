//! Layer, instance, group, root mean square and local response normalisation.

use rten_onnx::onnx::AttributeProto;

use crate::model::{float, graph, int, ints, numbers, weights};

/// `(x - mean) / sqrt(variance + epsilon)`
fn standard(x: &[f64], epsilon: f64) -> Vec<f64> {
    let mean = x.iter().sum::<f64>() / x.len() as f64;
    let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / x.len() as f64;
    x.iter().map(|x| (x - mean) / (variance + epsilon).sqrt()).collect()
}

/// The same in lines of `length`, then `scale * y + shift` with parameters for each position `at(i)`.
fn normalised(x: &[f64], length: usize, epsilon: f32, at: impl Fn(usize) -> usize) -> Vec<f64> {
    let (scale, shift) = (weights(6), weights(12));
    let lines = x.chunks_exact(length).flat_map(|line| standard(line, f64::from(epsilon)));
    let scaled = |(i, y): (usize, f64)| y * f64::from(scale[at(i)]) + f64::from(shift[6 + at(i)]);
    lines.enumerate().map(scaled).collect()
}

#[test]
fn layers_instances_and_groups() {
    let x = numbers(2 * 24);
    let of = |opset, sample: &[i64], operator: &str, dims: &[i64], attributes: Vec<AttributeProto>| {
        let count = dims.iter().product::<i64>() as usize;
        let graph = graph(opset, sample).weights("s", dims, &weights(6)[..count]);
        graph.weights("b", dims, &weights(12)[6..6 + count]).last(operator, &["x", "s", "b"], attributes)
    };
    let layer = |dims: &[i64], attributes| of(17, &[2, 3, 4], "LayerNormalization", dims, attributes);
    layer(&[4], vec![]).gives(&x, &[2, 3, 4], &normalised(&x, 4, 1e-5, |i| i % 4));
    let epsilon = || float("epsilon", 0.1);
    let expected = normalised(&x, 12, 0.1, |i| i / 4 % 3);
    layer(&[3, 1], vec![int("axis", 2), epsilon()]).gives(&x, &[2, 3, 4], &expected);
    layer(&[4], vec![int("axis", 0)]).refused("it runs over the batch");
    let no_shift = graph(17, &[4]).weights("s", &[4], &[2.0; 4]);
    let doubled: Vec<f64> =
        x.chunks_exact(4).flat_map(|x| standard(x, 1e-5_f32.into())).map(|y| 2.0 * y).collect();
    no_shift.last("LayerNormalization", &["x", "s"], vec![]).gives(&x, &[4], &doubled);
    let instance = of(7, &[2, 3, 4], "InstanceNormalization", &[2], vec![]);
    instance.gives(&x, &[2, 3, 4], &normalised(&x, 12, 1e-5, |i| i / 12 % 2));
    // Six channels in three groups of two, four positions each.
    let groups = |opset, count: i64| {
        of(opset, &[6, 2, 2], "GroupNormalization", &[count], vec![int("num_groups", 3), epsilon()])
    };
    groups(21, 6).gives(&x, &[6, 2, 2], &normalised(&x, 8, 0.1, |i| i / 4 % 6));
    groups(18, 3).gives(&x, &[6, 2, 2], &normalised(&x, 8, 0.1, |i| i / 8 % 3));
    of(21, &[6, 2, 2], "GroupNormalization", &[6], vec![int("num_groups", 4)])
        .refused("4 groups of 6 channels");
}

#[test]
fn means_squares_and_neighbours() {
    let x = numbers(2 * 24);
    let sample = [6, 2, 2];
    let both: Vec<f64> = x.chunks_exact(4).flat_map(|line| standard(line, 0.0)).collect();
    let axes = vec![ints("axes", &[2, 3])];
    graph(13, &[6, 2, 2]).last("MeanVarianceNormalization", &["x"], axes).gives(&x, &sample, &both);
    graph(13, &[6, 2, 2]).last("MeanVarianceNormalization", &["x"], vec![]).refused("it runs over the batch");
    let scale = weights(4);
    let root: Vec<f64> = x
        .chunks_exact(4)
        .flat_map(|line| {
            let mean = line.iter().map(|x| x * x).sum::<f64>() / 4.0 + f64::from(1e-5_f32);
            (0..4).map(|i| line[i] / mean.sqrt() * f64::from(scale[i])).collect::<Vec<_>>()
        })
        .collect();
    let graph23 = graph(23, &[6, 4]).weights("s", &[4], &scale);
    graph23.last("RMSNormalization", &["x", "s"], vec![]).gives(&x, &[6, 4], &root);
    for (size, before, after) in [(3_i64, 1, 1), (4, 1, 2)] {
        let (alpha, beta, bias) = (0.5_f32, 0.75_f32, 2.0_f32);
        let expected: Vec<f64> = (0..48)
            .map(|i: usize| {
                let (channel, base) = (i / 4 % 6, i / 24 * 24 + i % 4);
                let sum: f64 = (channel.saturating_sub(before)..=(channel + after).min(5))
                    .map(|c| x[base + 4 * c].powi(2))
                    .sum();
                x[i] / (f64::from(bias) + f64::from(alpha) / size as f64 * sum).powf(f64::from(beta))
            })
            .collect();
        let attributes =
            vec![int("size", size), float("alpha", alpha), float("beta", beta), float("bias", bias)];
        graph(13, &[6, 2, 2]).last("LRN", &["x"], attributes).gives(&x, &sample, &expected);
    }
}
