//! Constants out of the file, checked.

use std::fmt;
use std::sync::Arc;

use crate::network::Constant;

use super::call::{MOST_AXES, Step, Stop, wrong};
use super::decode::{self, Element, Storage};
use super::external::Weights;

/// A constant of a graph.
#[derive(Debug, Clone)]
pub(super) enum Tensor {
    /// Finite numbers.
    Float(Constant),
    /// One infinity. Only a bound may be that.
    Infinite(f64),
    /// Integers: shapes, axes, widths.
    Int {
        shape: Vec<usize>,
        values: Arc<Vec<Integer>>,
    },
    Bool {
        shape: Vec<usize>,
        values: Arc<Vec<bool>>,
    },
}

/// An integer of a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Integer {
    Known(i64),
    /// The length of the batch, so many times.
    Batch(i64),
}

impl fmt::Display for Integer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(value) => value.fmt(f),
            Self::Batch(1) => f.pad("N"),
            Self::Batch(factor) => write!(f, "{factor} N"),
        }
    }
}

impl Tensor {
    /// A list of integers.
    pub(super) fn ints(values: impl IntoIterator<Item = i64>) -> Self {
        let values: Vec<Integer> = values.into_iter().map(Integer::Known).collect();
        Self::Int { shape: vec![values.len()], values: Arc::new(values) }
    }

    /// The length of each axis.
    pub(super) fn shape(&self) -> &[usize] {
        match self {
            Self::Float(constant) => constant.shape(),
            Self::Infinite(_) => &[],
            Self::Int { shape, .. } | Self::Bool { shape, .. } => shape,
        }
    }

    /// The number of its elements.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Float(constant) => constant.len(),
            Self::Infinite(_) => 1,
            Self::Int { values, .. } => values.len(),
            Self::Bool { values, .. } => values.len(),
        }
    }

    /// What it holds, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Float(_) => "real numbers",
            Self::Infinite(_) => "an infinity",
            Self::Int { .. } => "integers",
            Self::Bool { .. } => "truth values",
        }
    }

    /// The same elements under a shape that they fill.
    pub(super) fn reshaped(&self, shape: Vec<usize>) -> crate::Result<Self> {
        Ok(match self {
            Self::Float(constant) => Self::Float(constant.reshaped(shape)?),
            Self::Infinite(value) => Self::Infinite(*value),
            Self::Int { values, .. } => Self::Int { shape, values: values.clone() },
            Self::Bool { values, .. } => Self::Bool { shape, values: values.clone() },
        })
    }

    /// Finite numbers of this shape, or one infinity.
    ///
    /// # Errors
    /// NaN, or an infinity among others; the clause goes on from the array's name.
    pub(super) fn f32(shape: Vec<usize>, values: Vec<f32>) -> Result<Self, String> {
        match values[..] {
            [value] if value.is_infinite() => Ok(Self::Infinite(f64::from(value))),
            _ => Constant::f32(shape, values).map(Self::Float).map_err(|_| nonfinite()),
        }
    }

    /// As [`f32`](Self::f32).
    pub(super) fn f64(shape: Vec<usize>, values: Vec<f64>) -> Result<Self, String> {
        match values[..] {
            [value] if value.is_infinite() => Ok(Self::Infinite(value)),
            _ => Constant::f64(shape, values).map(Self::Float).map_err(|_| nonfinite()),
        }
    }

    /// Checks and converts an array of the file; `name` is what messages call it.
    ///
    /// # Errors
    /// [`Stop::Unsupported`] for a type of elements that is not supported; [`Stop::Wrong`] where the elements do
    /// not fill the shape, are not finite, or cannot be read.
    pub(super) fn read(tensor: &decode::Tensor, name: &str, weights: &mut Weights<'_>) -> Step<Self> {
        if let Element::Other(_) = tensor.element {
            return Err(Stop::Unsupported(format!(
                "'{name}' has elements of type {}; FLOAT and DOUBLE are supported",
                tensor.element.name()
            )));
        }
        checked(tensor, weights).map_err(|reason| wrong(format!("the constant '{name}' {reason}")))
    }
}

fn nonfinite() -> String {
    "holds a NaN or an infinity".to_owned()
}

fn checked(tensor: &decode::Tensor, weights: &mut Weights<'_>) -> Result<Tensor, String> {
    let lengths: Option<Vec<usize>> =
        tensor.dims.iter().map(|&length| usize::try_from(length).ok()).collect();
    let size = match tensor.element {
        Element::Bool => 1,
        Element::F32 | Element::I32 => 4,
        Element::F64 | Element::I64 | Element::Other(_) => 8,
    };
    let lengths = lengths.filter(|lengths| lengths.len() <= MOST_AXES);
    let sized = lengths.and_then(|shape| {
        let count = shape.iter().try_fold(1_usize, |n, &length| n.checked_mul(length))?;
        Some((shape, count, count.checked_mul(size)?))
    });
    let (shape, count, bytes) = sized.ok_or_else(|| impossible(&tensor.dims))?;
    let filled = |length: usize, unit: &str, needed: usize| {
        let misfit = || format!("of shape {shape:?} needs {needed} {unit} and has {length}");
        (length == needed).then_some(()).ok_or_else(misfit)
    };
    let external;
    let raw = match &tensor.storage {
        Storage::Bytes(raw) => {
            filled(raw.len(), "bytes", bytes)?;
            raw
        }
        Storage::External(entries) => {
            external = weights.read(entries, bytes)?;
            &external
        }
        Storage::Ambiguous => return Err("holds its elements twice".to_owned()),
        typed => {
            let length = match typed {
                Storage::Floats(values) => values.len(),
                Storage::Doubles(values) => values.len(),
                Storage::Ints32(values) => values.len(),
                Storage::Ints64(values) => values.len(),
                _ => 0,
            };
            filled(length, "elements", count)?;
            return match (tensor.element, typed) {
                (Element::F32, Storage::Floats(values)) => Tensor::f32(shape, values.clone()),
                (Element::F64, Storage::Doubles(values)) => Tensor::f64(shape, values.clone()),
                (Element::I64, Storage::Ints64(values)) => Ok(integers(shape, values.iter().copied())),
                (Element::I32, Storage::Ints32(values)) => {
                    Ok(integers(shape, values.iter().map(|&value| i64::from(value))))
                }
                (Element::Bool, Storage::Ints32(values)) => {
                    let values = values.iter().map(|&value| value != 0).collect();
                    Ok(Tensor::Bool { shape, values: Arc::new(values) })
                }
                _ => Err(format!("of type {} holds elements of another type", tensor.element.name())),
            };
        }
    };
    match tensor.element {
        Element::F32 => Tensor::f32(shape, numbers(raw, f32::from_le_bytes)),
        Element::F64 => Tensor::f64(shape, numbers(raw, f64::from_le_bytes)),
        Element::I64 => Ok(integers(shape, numbers(raw, i64::from_le_bytes).into_iter())),
        Element::I32 => {
            Ok(integers(shape, numbers(raw, |bytes| i64::from(i32::from_le_bytes(bytes))).into_iter()))
        }
        Element::Bool | Element::Other(_) => {
            let values = raw.iter().map(|&byte| byte != 0).collect();
            Ok(Tensor::Bool { shape, values: Arc::new(values) })
        }
    }
}

fn integers(shape: Vec<usize>, values: impl Iterator<Item = i64>) -> Tensor {
    Tensor::Int { shape, values: Arc::new(values.map(Integer::Known).collect()) }
}

/// The clause for a shape that nothing can have; a shape with very many axes is cut short.
fn impossible(dims: &[i64]) -> String {
    match dims.get(..8) {
        Some(first) if dims.len() > 8 => format!("has the shape {first:?} and more, {} axes", dims.len()),
        _ => format!("has the shape {dims:?}"),
    }
}

fn numbers<T, const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks().0.iter().map(|&chunk| number(chunk)).collect()
}
