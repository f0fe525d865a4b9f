//! How operators bend: tables of affine pieces, and windows of which the largest element wins.

use crate::activation::{AffinePiece, PiecewiseAffine};
use crate::engine::Arithmetic;

use super::{ArithmeticConstant, Branches, MaxPool, Op, PRelu, ReduceMax};

/// How a stage bends.
pub(crate) enum Bend {
    /// Each element by a table of affine pieces of its own, or all by one.
    Elementwise(Vec<Table>),
    /// The largest element of each window, of equals the first.
    Largest(Windows),
}

/// A piecewise affine function: piece `i` is `slopes[i] u + offsets[i]`, between knots `i - 1` and `i`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Table {
    pub knots: Vec<f64>,
    pub slopes: Vec<f64>,
    pub offsets: Vec<f64>,
}

/// Windows of elements.
pub(crate) struct Windows {
    /// 1, or -1 where the smallest element wins.
    pub sign: f64,
    /// Where each window ends in `elements`.
    pub ends: Vec<usize>,
    /// Positions of elements, window by window.
    pub elements: Vec<u32>,
    /// The number of each element within its window, padding counted.
    pub codes: Vec<u32>,
    /// Numbers that there are.
    pub choices: usize,
}

impl Op {
    /// How it bends; `None` where it does not, or jumps. Shapes are those of samples.
    pub(in crate::network) fn bend(&self, inputs: &[&[usize]], shape: &[usize]) -> Option<Bend> {
        match self {
            Self::Activation(activation) => activation.pieces().map(|pieces| Bend::table(&pieces)),
            Self::PiecewiseAffine(function) => Some(Bend::Elementwise(vec![Table::of(function)])),
            Self::PRelu(PRelu { slopes }) => {
                let values = slopes.to::<f64>();
                let positions = repeated_elements(slopes.shape(), shape);
                let table = |&i: &usize| Table::two(0.0, [(values[i], 0.0), (1.0, 0.0)]);
                Some(Bend::Elementwise(positions.iter().map(table).collect()))
            }
            Self::ArithmeticConstant(ArithmeticConstant { operation, constant, .. })
                if matches!(operation, Arithmetic::Max | Arithmetic::Min) =>
            {
                let values = constant.to::<f64>();
                let positions = repeated_elements(constant.shape(), shape);
                let table = |&i: &usize| {
                    let [line, level] = [(1.0, 0.0), (0.0, values[i])];
                    let below_first = *operation == Arithmetic::Min;
                    Table::two(values[i], if below_first { [line, level] } else { [level, line] })
                };
                Some(Bend::Elementwise(positions.iter().map(table).collect()))
            }
            Self::MaxPool(pool) => Some(Bend::Largest(Windows::of_pool(pool, inputs[0], shape))),
            Self::ReduceMax(reduce) => Some(Bend::Largest(Windows::of_axes(reduce, inputs[0]))),
            Self::Branches(Branches { operation: operation @ (Arithmetic::Max | Arithmetic::Min) }) => {
                let units: usize = shape.iter().product();
                Some(Bend::Largest(Windows {
                    sign: if *operation == Arithmetic::Max { 1.0 } else { -1.0 },
                    ends: (1..=units).map(|i| 2 * i).collect(),
                    elements: (0..units).flat_map(|i| [i as u32, (units + i) as u32]).collect(),
                    codes: (0..units).flat_map(|_| [0, 1]).collect(),
                    choices: 2,
                }))
            }
            _ => None,
        }
    }
}

impl Bend {
    /// How many pieces there are to choose among, for each unit.
    pub(crate) fn choices(&self) -> usize {
        match self {
            Self::Elementwise(tables) => tables.iter().map(|table| table.slopes.len()).max().unwrap_or(1),
            Self::Largest(windows) => windows.choices,
        }
    }

    fn table(pieces: &[AffinePiece]) -> Self {
        Self::Elementwise(vec![Table {
            knots: pieces[1..].iter().map(|piece| piece.from).collect(),
            slopes: pieces.iter().map(|piece| piece.slope).collect(),
            offsets: pieces.iter().map(|piece| piece.offset).collect(),
        }])
    }
}

impl Table {
    fn of(function: &PiecewiseAffine) -> Self {
        Self {
            knots: function.knots().to_vec(),
            slopes: function.table().iter().map(|piece| piece.slope).collect(),
            offsets: function.table().iter().map(|piece| piece.value_at(0.0)).collect(),
        }
    }

    fn two(knot: f64, pieces: [(f64, f64); 2]) -> Self {
        let [slopes, offsets] = [pieces.map(|p| p.0), pieces.map(|p| p.1)];
        Self { knots: vec![knot], slopes: slopes.to_vec(), offsets: offsets.to_vec() }
    }
}

impl Windows {
    fn of_pool(pool: &MaxPool, input: &[usize], output: &[usize]) -> Self {
        let (height, width) = (input[1], input[2]);
        let mut windows = Self::empty(pool.window.kernel.iter().product());
        for channel in 0..output[0] {
            for row in 0..output[1] {
                for column in 0..output[2] {
                    for (i, y) in pool.window.coordinates(0, row, height).enumerate() {
                        for (j, x) in pool.window.coordinates(1, column, width).enumerate() {
                            if let (Some(y), Some(x)) = (y, x) {
                                windows.elements.push(((channel * height + y) * width + x) as u32);
                                windows.codes.push((i * pool.window.kernel[1] + j) as u32);
                            }
                        }
                    }
                    windows.ends.push(windows.elements.len());
                }
            }
        }
        windows
    }

    fn of_axes(reduce: &ReduceMax, input: &[usize]) -> Self {
        let terms: usize = reduce.axes.iter().map(|&axis| input[axis]).product();
        let total: usize = input.iter().product();
        let mut parts: Vec<Vec<u32>> = vec![vec![]; total / terms.max(1)];
        // Row-major order of elements is that of the terms of each result, too.
        for element in 0..total {
            let (mut rest, mut at, mut stride) = (element, 0, 1);
            for (axis, &length) in input.iter().enumerate().rev() {
                if !reduce.axes.contains(&axis) {
                    at += rest % length * stride;
                    stride *= length;
                }
                rest /= length;
            }
            parts[at].push(element as u32);
        }
        let mut windows = Self::empty(terms);
        for part in parts {
            windows.codes.extend(0..part.len() as u32);
            windows.elements.extend(part);
            windows.ends.push(windows.elements.len());
        }
        windows
    }

    fn empty(choices: usize) -> Self {
        Self { sign: 1.0, ends: vec![], elements: vec![], codes: vec![], choices }
    }
}

/// For each element of a sample of shape `to` the element of one of shape `from` that it repeats, the last axes aligned.
pub(in crate::network) fn repeated_elements(from: &[usize], to: &[usize]) -> Vec<usize> {
    let missing = to.len() - from.len();
    let position = |mut element: usize| {
        let (mut at, mut stride) = (0, 1);
        for (axis, &length) in to.iter().enumerate().rev() {
            if axis >= missing {
                let own = from[axis - missing];
                at += if own == 1 { 0 } else { element % length * stride };
                stride *= own;
            }
            element /= length;
        }
        at
    };
    (0..to.iter().product()).map(position).collect()
}
