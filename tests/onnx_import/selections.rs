//! Slices, splits, gathers, borders, repetitions, blocks and sizes.

use crate::model::{float, floats, graph, int, ints, numbers, string};

/// Rows `[N, 2, 4]` with these columns of each line.
fn columns(x: &[f64], picked: &[usize]) -> Vec<f64> {
    x.chunks_exact(4).flat_map(|line| picked.iter().map(|&i| line[i])).collect()
}

#[test]
fn slices_forward_and_backward() {
    let x = numbers(16);
    for (start, end, step, picked) in [
        (1, 3, 1, &[1, 2][..]),
        (0, i64::MAX, 2, &[0, 2]),
        (-2, i64::MAX, 1, &[2, 3]),
        (-1, i64::MIN, -1, &[3, 2, 1, 0]),
        (2, 0, -1, &[2, 1]),
        (3, i64::MIN, -3, &[3, 0]),
        (0, i64::MAX, i64::MAX, &[0]),
    ] {
        let graph = graph(13, &[2, 4]).integers("from", &[start]).integers("to", &[end]);
        let graph = graph.integers("axis", &[-1]).integers("step", &[step]);
        let slice = graph.last("Slice", &["x", "from", "to", "axis", "step"], vec![]);
        slice.gives(&x, &[2, picked.len()], &columns(&x, picked));
    }
    let old = graph(9, &[2, 4]);
    let old = old.last("Slice", &["x"], vec![ints("starts", &[0, 1]), ints("ends", &[i64::MAX, 2])]);
    let second: Vec<f64> = x.chunks_exact(8).flat_map(|sample| sample[4..].to_vec()).collect();
    old.gives(&x, &[1, 4], &second);
    let empty = graph(9, &[2, 4]).last(
        "Slice",
        &["x"],
        vec![ints("axes", &[1]), ints("starts", &[2]), ints("ends", &[2])],
    );
    empty.refused("nothing is left");
    let step = graph(13, &[4]).integers("z", &[0]).integers("a", &[1]);
    step.last("Slice", &["x", "z", "a", "a", "z"], vec![]).refused("a step of 0");
}

#[test]
fn splits_name_several_values() {
    let x = numbers(16);
    let split = |opset, outputs: &[&str], attributes| {
        graph(opset, &[2, 4]).node("Split", &["x"], outputs, attributes).integers("l", &[1, 3])
    };
    let swapped = |graph: crate::model::Graph| graph.last("Concat", &["b", "a"], vec![int("axis", -1)]);
    let halves = swapped(split(11, &["a", "b"], vec![int("axis", 2)]));
    halves.gives(&x, &[2, 4], &columns(&x, &[2, 3, 0, 1]));
    let network = halves.load().unwrap().network;
    assert_eq!(network.find("b").unwrap().value(), "b");
    let uneven = swapped(split(11, &["a", "b"], vec![int("axis", 2), ints("split", &[1, 3])]));
    uneven.gives(&x, &[2, 4], &columns(&x, &[1, 2, 3, 0]));
    let by_input = graph(13, &[2, 4]).integers("l", &[1, 3]);
    let by_input = by_input.node("Split", &["x", "l"], &["a", "b"], vec![int("axis", -1)]);
    swapped(by_input).gives(&x, &[2, 4], &columns(&x, &[1, 2, 3, 0]));
    let three = split(18, &["a", "b", "c"], vec![int("axis", 2), int("num_outputs", 3)]);
    three.last("Relu", &["a"], vec![]).refused("parts of [2, 2, 0]");
    let second = split(18, &["", "b"], vec![int("axis", 2), int("num_outputs", 2)]);
    second.last("Relu", &["b"], vec![]).refused("makes no value");
    let wrong = split(11, &["a", "b"], vec![int("axis", 2), ints("split", &[1, 2])]);
    swapped(wrong).refused("are not 4 elements");
}

#[test]
fn gathers_by_lists_and_by_scalars() {
    let x = numbers(16);
    let list = graph(13, &[2, 4]).integers("i", &[3, 0, -1]);
    list.last("Gather", &["x", "i"], vec![int("axis", 2)]).gives(&x, &[2, 3], &columns(&x, &[3, 0, 3]));
    let matrix = graph(13, &[2, 4]).integers("f", &[0, 1, 2, 2]).integers("s", &[2, 2]);
    let matrix = matrix.node("Reshape", &["f", "s"], &["i"], vec![]);
    let matrix = matrix.last("Gather", &["x", "i"], vec![int("axis", 2)]);
    matrix.gives(&x, &[2, 2, 2], &columns(&x, &[0, 1, 2, 2]));
    let scalar = graph(13, &[2, 4]).node("Constant", &[], &["i"], vec![int("value_int", -2)]);
    scalar.last("Gather", &["x", "i"], vec![int("axis", -1)]).gives(&x, &[2], &columns(&x, &[2]));
    let beyond = graph(13, &[2, 4]).integers("i", &[4]);
    beyond.last("Gather", &["x", "i"], vec![int("axis", 2)]).refused("no index 4 among 4");
    let batch = graph(13, &[2, 4]).integers("i", &[0]);
    batch.last("Gather", &["x", "i"], vec![]).refused("it picks from the batch");
    // Positions (1, 3) and (0, 2), as PyTorch writes advanced indices: the indexed axes in front.
    let graph = graph(13, &[2, 4]).node("Transpose", &["x"], &["t"], vec![ints("perm", &[1, 2, 0])]);
    let graph = graph.integers("f", &[1, 3, 0, 2]).integers("s", &[2, 2]);
    let graph =
        graph.node("Reshape", &["f", "s"], &["i"], vec![]).node("GatherND", &["t", "i"], &["g"], vec![]);
    let expected: Vec<f64> = x.chunks_exact(8).flat_map(|sample| [sample[7], sample[2]]).collect();
    graph.last("Transpose", &["g"], vec![ints("perm", &[1, 0])]).gives(&x, &[2], &expected);
}

#[test]
fn borders_of_the_elements_inside() {
    let x = numbers(16);
    for (mode, picked) in
        [("reflect", [2, 1, 0, 1, 2, 3, 2]), ("edge", [0, 0, 0, 1, 2, 3, 3]), ("wrap", [2, 3, 0, 1, 2, 3, 0])]
    {
        let graph = graph(19, &[2, 4]).integers("p", &[0, 0, 2, 0, 0, 1]);
        let graph = graph.last("Pad", &["x", "p"], vec![string("mode", mode)]);
        graph.gives(&x, &[2, 7], &columns(&x, &picked));
    }
    // Wider than the axis.
    let wide = graph(11, &[2, 4]).integers("p", &[0, 0, 0, 0, 0, 5]).last(
        "Pad",
        &["x", "p"],
        vec![string("mode", "reflect")],
    );
    wide.gives(&x, &[2, 9], &columns(&x, &[0, 1, 2, 3, 2, 1, 0, 1, 2]));
}

#[test]
fn repetitions() {
    let x = numbers(8);
    let tile = graph(13, &[1, 4]).integers("r", &[1, 2, 2]).last("Tile", &["x", "r"], vec![]);
    tile.gives(&x, &[2, 8], &x.chunks_exact(4).flat_map(|line| line.repeat(4)).collect::<Vec<_>>());
    graph(13, &[4]).integers("r", &[2, 1]).last("Tile", &["x", "r"], vec![]).refused("it repeats the batch");
    graph(13, &[4])
        .integers("r", &[1, 1 << 60])
        .last("Tile", &["x", "r"], vec![])
        .refused("it repeats an axis");
    let expand = graph(13, &[1, 4]).integers("s", &[1, 3, 1]).last("Expand", &["x", "s"], vec![]);
    expand.gives(&x, &[3, 4], &x.chunks_exact(4).flat_map(|line| line.repeat(3)).collect::<Vec<_>>());
    graph(13, &[2, 4])
        .integers("s", &[3, 4])
        .last("Expand", &["x", "s"], vec![])
        .refused("cannot be expanded");
}

#[test]
fn blocks_of_channels_and_of_the_image() {
    let x = numbers(2 * 16);
    // Samples [8, 1, 2] to [2, 2, 4]: channel c, row 2 r + a, column 2 k + b.
    for (opset, mode) in [(9, None), (13, Some("DCR")), (13, Some("CRD"))] {
        let mut expected = vec![];
        for sample in x.chunks_exact(16) {
            for (c, a, k, b) in (0..16).map(|i| (i / 8, i / 4 % 2, i / 2 % 2, i % 2)) {
                let channel = if mode == Some("CRD") { 4 * c + 2 * a + b } else { 4 * a + 2 * b + c };
                expected.push(sample[channel * 2 + k]);
            }
        }
        let mut attributes = vec![int("blocksize", 2)];
        attributes.extend(mode.map(|mode| string("mode", mode)));
        graph(opset, &[8, 1, 2]).last("DepthToSpace", &["x"], attributes.clone()).gives(
            &x,
            &[2, 2, 4],
            &expected,
        );
        // And back, which knows its modes only from opset 28.
        let opset = if mode.is_some() { 28 } else { opset };
        let back = graph(opset, &[2, 2, 4]).last("SpaceToDepth", &["x"], attributes);
        back.gives(&expected, &[8, 1, 2], &x);
    }
    let misfit = graph(13, &[2, 3, 4]).last("SpaceToDepth", &["x"], vec![int("blocksize", 2)]);
    misfit.refused("blocks of 2 do not fit");
}

#[test]
fn sizes_by_the_nearest_element() {
    let x = numbers(16);
    let upsample = graph(7, &[2, 4]).last("Upsample", &["x"], vec![floats("scales", &[1.0, 1.0, 2.0])]);
    upsample.gives(&x, &[2, 8], &columns(&x, &[0, 0, 1, 1, 2, 2, 3, 3]));
    let resize = |mode: &str, nearest: &str, size: i64| {
        let graph = graph(13, &[2, 4]).integers("s", &[1, 2, size]);
        let attributes =
            vec![string("coordinate_transformation_mode", mode), string("nearest_mode", nearest)];
        graph.last("Resize", &["x", "", "", "s"], attributes)
    };
    // Element i of 6 lies at (i + 1/2) 4/6 - 1/2: -0.17, 0.5, 1.17, 1.83, 2.5, 3.17.
    let half = |nearest| resize("half_pixel", nearest, 6);
    half("round_prefer_floor").refused("it resizes the batch");
    let fixed = |mode: &str, nearest: &str, size: i64| {
        let graph = crate::model::bare(13);
        let input = crate::model::value("x", rten_onnx::onnx::DataType::FLOAT, Some(&[1, 2, 4]));
        let graph = graph.input(input).output("y").integers("s", &[1, 2, size]);
        let attributes =
            vec![string("coordinate_transformation_mode", mode), string("nearest_mode", nearest)];
        graph.last("Resize", &["x", "", "", "s"], attributes)
    };
    let half = |nearest, picked: &[usize]| {
        fixed("half_pixel", nearest, 6).gives(&x, &[2, 6], &columns(&x, picked));
    };
    half("round_prefer_floor", &[0, 0, 1, 2, 2, 3]);
    half("round_prefer_ceil", &[0, 1, 1, 2, 3, 3]);
    half("floor", &[0, 0, 1, 1, 2, 3]);
    half("ceil", &[0, 1, 2, 2, 3, 3]);
    // 0, 1.5, 3
    fixed("align_corners", "floor", 3).gives(&x, &[2, 3], &columns(&x, &[0, 1, 3]));
    // 0, 4/3, 8/3
    fixed("asymmetric", "round_prefer_floor", 3).gives(&x, &[2, 3], &columns(&x, &[0, 1, 3]));
    fixed("pytorch_half_pixel", "floor", 1).gives(&x, &[2, 1], &columns(&x, &[0]));
    fixed("tf_crop_and_resize", "floor", 3).refused("'tf_crop_and_resize'");
    fixed("half_pixel", "round", 3).refused("'nearest_mode' is 'round'");
    fixed("half_pixel", "floor", 1 << 40).refused("elements");
}

#[test]
fn sizes_by_linear_interpolation() {
    let x = numbers(16);
    let linear = |mode: &str, scale: f32| {
        let graph = graph(13, &[2, 4]).weights("s", &[3], &[1.0, 1.0, scale]);
        let attributes = vec![string("mode", "linear"), string("coordinate_transformation_mode", mode)];
        graph.last("Resize", &["x", "", "s"], attributes)
    };
    let at = |places: &[f64]| -> Vec<f64> {
        let value = |line: &[f64], place: f64| {
            let place = place.clamp(0.0, 3.0);
            let (low, high) = (place.floor() as usize, (place.floor() as usize + 1).min(3));
            line[low] + (place - place.floor()) * (line[high] - line[low])
        };
        x.chunks_exact(4)
            .flat_map(|line| places.iter().map(|&place| value(line, place)).collect::<Vec<_>>())
            .collect()
    };
    let half: Vec<f64> = (0..8).map(|i| (f64::from(i) + 0.5) / 2.0 - 0.5).collect();
    linear("half_pixel", 2.0).gives(&x, &[2, 8], &at(&half));
    let corners: Vec<f64> = (0..8).map(|i| f64::from(i) * 3.0 / 7.0).collect();
    linear("align_corners", 2.0).gives(&x, &[2, 8], &at(&corners));
    linear("asymmetric", 0.5).gives(&x, &[2, 2], &at(&[0.0, 2.0]));
    linear("align_corners", 0.6).refused("implementations disagree");
    let cubic = graph(13, &[4]).weights("s", &[2], &[1.0, 2.0]);
    cubic
        .last("Resize", &["x", "", "s"], vec![string("mode", "cubic"), float("cubic_coeff_a", -0.5)])
        .refused("'cubic'");
    let smooth = graph(18, &[4]).weights("s", &[2], &[1.0, 0.5]);
    smooth
        .last("Resize", &["x", "", "s"], vec![string("mode", "linear"), int("antialias", 1)])
        .refused("antialias=1");
}
