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
fn rounding_up_is_accepted_where_it_changes_nothing() {
    let x = numbers(16);
    let pool = |kernel: i64| {
        let attributes =
            vec![ints("kernel_shape", &[kernel; 2]), ints("strides", &[2, 2]), int("ceil_mode", 1)];
        graph(11, &[1, 4, 4]).last("MaxPool", &["x"], attributes)
    };
    let window = Window { size: [4, 4], kernel: [2, 2], strides: [2, 2], dilations: [1, 1], pads: [0; 4] };
    let largest = window.pooled(&x, |seen| seen.iter().flatten().copied().fold(f64::MIN, f64::max));
    pool(2).gives(&x, &[1, 2, 2], &largest);
    pool(3).refused("ceil_mode=1");
}

#[test]
fn global_average_pool_keeps_its_axes() {
    let x = numbers(2 * 2 * 6);
    let mean: Vec<f64> = x.chunks_exact(6).map(|channel| channel.iter().sum::<f64>() / 6.0).collect();
    graph(7, &[2, 2, 3]).last("GlobalAveragePool", &["x"], vec![]).gives(&x, &[2, 1, 1], &mean);
    graph(13, &[2, 6]).last("GlobalAveragePool", &["x"], vec![]).gives(&x, &[2, 1], &mean);
}
