//! Convolution and pooling, against loops over every element.

use rten_onnx::onnx::AttributeProto;

use crate::model::{graph, int, ints, numbers, string, weights};

struct Window {
    size: [i64; 2],
    kernel: [i64; 2],
    strides: [i64; 2],
    dilations: [i64; 2],
    /// Top, left, bottom, right.
    pads: [i64; 4],
}

const WINDOW: Window =
    Window { size: [7, 6], kernel: [3, 2], strides: [2, 1], dilations: [1, 2], pads: [1, 0, 2, 1] };

impl Window {
    fn output(&self) -> [i64; 2] {
        [0, 1].map(|i| {
            let reach = (self.kernel[i] - 1) * self.dilations[i] + 1;
            (self.size[i] + self.pads[i] + self.pads[i + 2] - reach) / self.strides[i] + 1
        })
    }

    /// For each output position, the elements of one channel that its window sees (`None` in the padding).
    fn positions(&self) -> Vec<Vec<Option<usize>>> {
        let [height, width] = self.output();
        let mut all = vec![];
        for (row, column) in (0..height).flat_map(|row| (0..width).map(move |column| (row, column))) {
            let mut seen = vec![];
            for (i, j) in (0..self.kernel[0]).flat_map(|i| (0..self.kernel[1]).map(move |j| (i, j))) {
                let r = row * self.strides[0] + i * self.dilations[0] - self.pads[0];
                let c = column * self.strides[1] + j * self.dilations[1] - self.pads[1];
                let inside = (0..self.size[0]).contains(&r) && (0..self.size[1]).contains(&c);
                seen.push(inside.then_some((r * self.size[1] + c) as usize));
            }
            all.push(seen);
        }
        all
    }

    fn attributes(&self) -> Vec<AttributeProto> {
        vec![
            ints("kernel_shape", &self.kernel),
            ints("strides", &self.strides),
            ints("dilations", &self.dilations),
            ints("pads", &self.pads),
        ]
    }

    /// One function of every window in every channel of `x`.
    fn pooled(&self, x: &[f64], f: impl Fn(&[Option<f64>]) -> f64) -> Vec<f64> {
        let channels = x.chunks_exact((self.size[0] * self.size[1]) as usize);
        let see = |channel: &[f64], at: &[Option<usize>]| -> Vec<Option<f64>> {
            at.iter().map(|at| at.map(|at| channel[at])).collect()
        };
        let positions = self.positions();
        channels
            .flat_map(|channel| positions.iter().map(|at| f(&see(channel, at))).collect::<Vec<f64>>())
            .collect()
    }
}

/// A convolution of `x [N, channels, ..]` by the definition.
fn convolved(
    window: &Window,
    x: &[f64],
    channels: usize,
    filters: &[f32],
    bias: &[f32],
    groups: usize,
) -> Vec<f64> {
    let area = (window.size[0] * window.size[1]) as usize;
    let (outputs, per_group) = (bias.len(), channels / groups);
    let taps = (window.kernel[0] * window.kernel[1]) as usize;
    let mut y = vec![];
    for image in x.chunks_exact(channels * area) {
        for output in 0..outputs {
            let group = output / (outputs / groups);
            for at in window.positions() {
                let mut sum = f64::from(bias[output]);
                for channel in 0..per_group {
                    for (tap, at) in at.iter().enumerate().filter_map(|(tap, at)| Some((tap, (*at)?))) {
                        let weight = filters[(output * per_group + channel) * taps + tap];
                        sum += f64::from(weight) * image[(group * per_group + channel) * area + at];
                    }
                }
                y.push(sum);
            }
        }
    }
    y
}

#[test]
fn convolution_with_every_attribute() {
    let [h, w] = WINDOW.output().map(|length| length as usize);
    let x = numbers(2 * 4 * 42);
    for (groups, opset) in [(1, 7), (2, 11), (4, 22)] {
        let filters = weights(4 * 4 / groups * 6);
        let bias = weights(4);
        let expected = convolved(&WINDOW, &x, 4, &filters, &bias, groups);
        let dims = [4, 4 / groups as i64, 3, 2];
        let graph = graph(opset, &[4, 7, 6]).weights("w", &dims, &filters).weights("b", &[4], &bias);
        let mut attributes = WINDOW.attributes();
        attributes.push(int("group", groups as i64));
        graph.last("Conv", &["x", "w", "b"], attributes).gives(&x, &[4, h, w], &expected);
    }
}

#[test]
fn convolution_without_attributes_or_bias() {
    let window = Window { strides: [1, 1], dilations: [1, 1], pads: [0; 4], ..WINDOW };
    let (x, filters) = (numbers(42), weights(12));
    let expected = convolved(&window, &x, 1, &filters, &[0.0; 2], 1);
    let graph = graph(11, &[1, 7, 6]).weights("w", &[2, 1, 3, 2], &filters);
    graph.clone().last("Conv", &["x", "w"], vec![]).gives(&x, &[2, 5, 5], &expected);
    graph.last("Conv", &["x", "w", ""], vec![string("auto_pad", "VALID")]).gives(&x, &[2, 5, 5], &expected);
}

#[test]
fn padding_that_is_worked_out() {
    // Rows: 7 with stride 2 and kernel 4 give 4 windows, which need (4 - 1) * 2 + 4 - 7 = 3 more. Columns: 6 with
    // stride 1 and kernel 2 give 6, which need 1 more.
    let same = Window { kernel: [4, 2], dilations: [1, 1], ..WINDOW };
    let (x, filters) = (numbers(2 * 42), weights(8));
    for (mode, pads) in [("SAME_UPPER", [1, 0, 2, 1]), ("SAME_LOWER", [2, 1, 1, 0])] {
        let window = Window { pads, ..same };
        let expected = convolved(&window, &x, 1, &filters, &[0.0], 1);
        let attributes = || vec![ints("strides", &window.strides), string("auto_pad", mode)];
        let conv = graph(11, &[1, 7, 6]).weights("w", &[1, 1, 4, 2], &filters);
        conv.last("Conv", &["x", "w"], attributes()).gives(&x, &[1, 4, 6], &expected);
        let largest = window.pooled(&x, |seen| seen.iter().flatten().copied().fold(f64::MIN, f64::max));
        let mut pool = attributes();
        pool.push(ints("kernel_shape", &window.kernel));
        graph(12, &[1, 7, 6]).last("MaxPool", &["x"], pool).gives(&x, &[1, 4, 6], &largest);
    }
}

#[test]
fn pools_with_every_attribute() {
    let [h, w] = WINDOW.output().map(|length| length as usize);
    let x = numbers(2 * 2 * 42);
    let shape = [2, h, w];
    let largest = WINDOW.pooled(&x, |seen| seen.iter().flatten().copied().fold(f64::MIN, f64::max));
    let mut attributes = WINDOW.attributes();
    attributes.extend([int("storage_order", 0), int("ceil_mode", 0)]);
    graph(10, &[2, 7, 6]).node("MaxPool", &["x"], &["y", "unused"], attributes).gives(&x, &shape, &largest);
    let sum = |seen: &[Option<f64>]| seen.iter().flatten().sum::<f64>();
    let mean = WINDOW.pooled(&x, |seen| sum(seen) / seen.iter().flatten().count() as f64);
    graph(19, &[2, 7, 6]).last("AveragePool", &["x"], WINDOW.attributes()).gives(&x, &shape, &mean);
    let padded = WINDOW.pooled(&x, |seen| sum(seen) / seen.len() as f64);
    let mut attributes = WINDOW.attributes();
    attributes.push(int("count_include_pad", 1));
    graph(22, &[2, 7, 6]).last("AveragePool", &["x"], attributes).gives(&x, &shape, &padded);
}

#[test]
fn rounding_up_adds_windows_that_begin_inside() {
    let x = numbers(25);
    let pool = |opset, operator, kernel: i64, stride, others: Vec<AttributeProto>| {
        let attributes =
            vec![ints("kernel_shape", &[kernel; 2]), ints("strides", &[stride; 2]), int("ceil_mode", 1)];
        graph(opset, &[1, 5, 5]).last(operator, &["x"], [attributes, others].concat())
    };
    let largest = |seen: &[Option<f64>]| seen.iter().flatten().copied().fold(f64::MIN, f64::max);
    let mean =
        |seen: &[Option<f64>]| seen.iter().flatten().sum::<f64>() / seen.iter().flatten().count() as f64;
    // Nothing to add, and one window that hangs over by one.
    for (kernel, over) in [(3, 0), (2, 1)] {
        let window = Window {
            size: [5, 5],
            kernel: [kernel; 2],
            strides: [2, 2],
            dilations: [1, 1],
            pads: [0, 0, over, over],
        };
        let [h, w] = window.output().map(|length| length as usize);
        pool(11, "MaxPool", kernel, 2, vec![]).gives(&x, &[1, h, w], &window.pooled(&x, largest));
        pool(11, "AveragePool", kernel, 2, vec![]).gives(&x, &[1, h, w], &window.pooled(&x, mean));
    }
    // Explicit padding counts, the overhang behind it does not: the last window sees rows 3, 4, the padding, one more.
    let window =
        Window { size: [5, 5], kernel: [4, 4], strides: [3, 3], dilations: [1, 1], pads: [0, 0, 2, 2] };
    let attributes = vec![ints("pads", &[0, 0, 1, 1]), int("count_include_pad", 1)];
    let position = |i: usize| if i == 0 { 4.0 } else { 3.0 };
    let sums = window.pooled(&x, |seen| seen.iter().flatten().sum());
    let counted: Vec<f64> =
        sums.iter().enumerate().map(|(i, sum)| sum / (position(i / 2) * position(i % 2))).collect();
    pool(22, "AveragePool", 4, 3, attributes).gives(&x, &[1, 2, 2], &counted);
    // A window in the end padding.
    let pads = || vec![ints("pads", &[1, 1, 1, 1])];
    let window =
        Window { size: [5, 5], kernel: [2, 2], strides: [3, 3], dilations: [1, 1], pads: [1, 1, 0, 0] };
    pool(22, "MaxPool", 2, 3, pads()).gives(&x, &[1, 2, 2], &window.pooled(&x, largest));
    let window = Window { strides: [6, 6], ..window };
    pool(22, "MaxPool", 2, 6, pads()).gives(&x, &[1, 1, 1], &window.pooled(&x, largest));
    pool(21, "MaxPool", 2, 6, pads()).refused("versions disagree");
    pool(22, "MaxPool", 2, 2, vec![string("auto_pad", "VALID")]).refused("implementations disagree");
}

#[test]
fn signals_are_images_of_one_row() {
    let x = numbers(2 * 2 * 6);
    let window =
        Window { size: [1, 6], kernel: [1, 3], strides: [1, 2], dilations: [1, 1], pads: [0, 1, 0, 0] };
    let filters = weights(12);
    let expected = convolved(&window, &x, 2, &filters, &[0.5, -1.0], 1);
    let attributes = || vec![ints("strides", &[2]), ints("pads", &[1, 0])];
    let conv = graph(13, &[2, 6]).weights("w", &[2, 2, 3], &filters).weights("b", &[2], &[0.5, -1.0]);
    conv.last("Conv", &["x", "w", "b"], attributes()).gives(&x, &[2, 3], &expected);
    let pool = [attributes(), vec![ints("kernel_shape", &[3])]].concat();
    let largest = window.pooled(&x, |seen| seen.iter().flatten().copied().fold(f64::MIN, f64::max));
    graph(13, &[2, 6]).last("MaxPool", &["x"], pool.clone()).gives(&x, &[2, 3], &largest);
    let mean =
        window.pooled(&x, |seen| seen.iter().flatten().sum::<f64>() / seen.iter().flatten().count() as f64);
    graph(13, &[2, 6]).last("AveragePool", &["x"], pool).gives(&x, &[2, 3], &mean);
    let all: Vec<f64> = x.chunks_exact(6).map(|row| row.iter().copied().fold(f64::MIN, f64::max)).collect();
    graph(13, &[2, 6]).last("GlobalMaxPool", &["x"], vec![]).gives(&x, &[2, 1], &all);
}

/// A transposed convolution of `x [N, channels, h, w]` by the definition: every element of the input adds the filter,
/// times itself, to the output.
fn scattered(
    window: &Window,
    x: &[f64],
    channels: usize,
    filters: &[f32],
    size: [usize; 2],
    groups: usize,
) -> Vec<f64> {
    let [h, w] = window.size.map(|length| length as usize);
    let taps = (window.kernel[0] * window.kernel[1]) as usize;
    let per_group = filters.len() / taps / channels;
    let outputs = per_group * groups;
    let mut y = vec![];
    for image in x.chunks_exact(channels * h * w) {
        let mut sum = vec![0.0; outputs * size[0] * size[1]];
        for (i, value) in image.iter().enumerate() {
            let (channel, row, column) = (i / (h * w), (i / w % h) as i64, (i % w) as i64);
            let group = channel / (channels / groups);
            for (j, tap) in (0..per_group).flat_map(|j| (0..taps).map(move |tap| (j, tap))) {
                let (a, b) = ((tap as i64) / window.kernel[1], (tap as i64) % window.kernel[1]);
                let r = row * window.strides[0] + a * window.dilations[0] - window.pads[0];
                let c = column * window.strides[1] + b * window.dilations[1] - window.pads[1];
                if (0..size[0] as i64).contains(&r) && (0..size[1] as i64).contains(&c) {
                    let at = ((group * per_group + j) * size[0] + r as usize) * size[1] + c as usize;
                    sum[at] += value * f64::from(filters[(channel * per_group + j) * taps + tap]);
                }
            }
        }
        y.extend(sum);
    }
    y
}

#[test]
fn transposed_convolution_in_all_forms() {
    let base = Window { size: [3, 4], kernel: [3, 2], strides: [2, 3], dilations: [1, 1], pads: [0; 4] };
    let x = numbers(2 * 2 * 12);
    let filters = weights(2 * 2 * 6);
    let check = |window: Window, size: [usize; 2], groups: usize, attributes: Vec<AttributeProto>| {
        let expected = scattered(&window, &x, 2, &filters, size, groups);
        let channels = 2 * groups;
        let conv = graph(11, &[2, 3, 4]).weights("w", &[2, 2, 3, 2], &filters);
        let strides = ints("strides", &window.strides);
        let attributes = [vec![strides, int("group", groups as i64)], attributes].concat();
        conv.last("ConvTranspose", &["x", "w"], attributes).gives(
            &x,
            &[channels, size[0], size[1]],
            &expected,
        );
    };
    check(Window { ..base }, [7, 11], 1, vec![]);
    check(Window { ..base }, [7, 11], 2, vec![]);
    check(Window { ..base }, [8, 13], 1, vec![ints("output_padding", &[1, 2])]);
    check(Window { pads: [1, 0, 1, 1], ..base }, [5, 10], 1, vec![ints("pads", &[1, 0, 1, 1])]);
    let dilated = Window { dilations: [2, 1], ..base };
    check(dilated, [9, 11], 1, vec![ints("dilations", &[2, 1])]);
    // 7 x 11 cut to 6 x 9: one row, which goes in front, and two columns.
    check(Window { pads: [1, 1, 0, 1], ..base }, [6, 9], 1, vec![ints("output_shape", &[6, 9])]);
    check(Window { ..base }, [8, 12], 1, vec![ints("output_shape", &[8, 12])]);
    // As large as stride times size: 6 x 12.
    check(Window { pads: [0, 0, 1, 0], ..base }, [6, 12], 1, vec![string("auto_pad", "SAME_UPPER")]);
    check(Window { pads: [1, 0, 0, 0], ..base }, [6, 12], 1, vec![string("auto_pad", "SAME_LOWER")]);
    let conv = graph(11, &[2, 3, 4]).weights("w", &[2, 2, 3, 2], &filters);
    let padding = vec![ints("output_padding", &[2, 0])];
    conv.last("ConvTranspose", &["x", "w"], padding).refused("does not fit samples");
    let line = graph(11, &[2, 3]).weights("w", &[2, 1, 2], &weights(4)).weights("b", &[1], &[0.5]);
    let expected: Vec<f64> = {
        let window =
            Window { size: [1, 3], kernel: [1, 2], strides: [1, 1], dilations: [1, 1], pads: [0; 4] };
        scattered(&window, &numbers(6), 2, &weights(4), [1, 4], 1).iter().map(|y| y + 0.5).collect()
    };
    line.last("ConvTranspose", &["x", "w", "b"], vec![]).gives(&numbers(6), &[1, 4], &expected);
}

#[test]
fn global_average_pool_keeps_its_axes() {
    let x = numbers(2 * 2 * 6);
    let mean: Vec<f64> = x.chunks_exact(6).map(|channel| channel.iter().sum::<f64>() / 6.0).collect();
    graph(7, &[2, 2, 3]).last("GlobalAveragePool", &["x"], vec![]).gives(&x, &[2, 1, 1], &mean);
    graph(13, &[2, 6]).last("GlobalAveragePool", &["x"], vec![]).gives(&x, &[2, 1], &mean);
}
