//! What is drawn: a number or a category at each point of a plane.

use crate::engine::{Context, Engine};
use crate::{Error, Result, Scalar};

use super::Visited;

/// Values at the points of a grid, row by row from the top.
#[derive(Debug, Clone, PartialEq)]
pub enum Band {
    /// Numbers, shown on a [`Scale`](super::Scale).
    Numbers(Vec<f32>),
    /// Categories, each with its [colour](super::category).
    Categories(Vec<u32>),
}

/// A function on a plane.
pub trait Field<E: Engine> {
    /// Whether it has categories as values, not numbers.
    fn is_categorical(&self) -> bool;

    /// Its values at all pairs of `s` in `across` and `t` in `up`, the first of these at the top. `first` counts the
    /// points of the picture before them, for messages.
    ///
    /// # Errors
    /// [`Error::NonFinite`] with the number of the point where a value is not finite; [`Error::Memory`] where one point
    /// does not fit the context's budget; [`Error::Cancelled`]; what the engine says.
    fn band(&self, across: &[E::Scalar], up: &[E::Scalar], first: usize, context: &Context) -> Result<Band>;

    /// The regions seen up to now, of a field that tells regions apart: its categories are too many to be counted one by
    /// one.
    fn visited(&self) -> Option<Visited> {
        None
    }
}

/// What of outputs is drawn: of a network's or of a spline's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantity {
    /// The one output that was chosen.
    Value,
    /// Which of the chosen outputs is the largest, by its number among all; of equals the first.
    Class,
    /// By how much the largest of the chosen outputs is above the second largest.
    Margin,
}

impl Quantity {
    /// # Errors
    /// [`Error::Argument`] for an output that is not among `all` or chosen twice, and where there are too few or too
    /// many: one for a value, at least two else.
    pub(super) fn check(self, outputs: &[usize], all: usize) -> Result<()> {
        let twice = |(i, k): (usize, &usize)| outputs[..i].contains(k);
        if let Some(wrong) = outputs.iter().find(|&&k| k >= all) {
            return Err(Error::Argument(format!("output {wrong} of a network with {all}")));
        }
        if outputs.iter().enumerate().any(twice) {
            return Err(Error::Argument("an output is chosen twice".to_owned()));
        }
        match (self, outputs.len()) {
            (Self::Value, _) => check_one("the value", outputs).map(drop),
            (Self::Class | Self::Margin, 2..) => Ok(()),
            (_, count) => {
                Err(Error::Argument(format!("classes and margins need at least two outputs, not {count}")))
            }
        }
    }

    /// What is drawn of rows of the chosen outputs.
    pub(super) fn read<S: Scalar>(self, values: &[S], outputs: &[usize], band: &mut Band) {
        let rows = values.chunks_exact(outputs.len());
        match band {
            Band::Categories(classes) => {
                classes.extend(rows.map(|row| outputs[two_largest(row.iter().map(|v| v.f64())).0] as u32));
            }
            Band::Numbers(numbers) if self == Self::Margin => numbers.extend(rows.map(|row| {
                let (_, largest, second) = two_largest(row.iter().map(|v| v.f64()));
                (largest - second) as f32
            })),
            Band::Numbers(numbers) => numbers.extend(values.iter().map(|v| v.f64() as f32)),
        }
    }

    /// A band of so many points, of which none is there yet.
    pub(super) fn empty(self, points: usize) -> Band {
        match self {
            Self::Class => Band::Categories(Vec::with_capacity(points)),
            Self::Value | Self::Margin => Band::Numbers(Vec::with_capacity(points)),
        }
    }
}

/// # Errors
/// [`Error::Argument`] unless one output is chosen; `what` of it a picture shows.
pub(super) fn check_one(what: &str, outputs: &[usize]) -> Result<usize> {
    match outputs {
        &[output] => Ok(output),
        _ => Err(Error::Argument(format!(
            "a picture shows {what} of one output, not of {}: choose one with --outputs",
            outputs.len()
        ))),
    }
}

/// # Errors
/// [`Error::NonFinite`] for the first of the values of a `subject`, `each` of a point, that is no number; `first` points
/// come before.
pub(super) fn check_points<S: Scalar>(subject: &str, values: &[S], each: usize, first: usize) -> Result<()> {
    match values.iter().position(|v| !v.f64().is_finite()) {
        None => Ok(()),
        Some(at) => {
            let what = format!("the {subject} at the points of a picture, counted row by row");
            Err(Error::NonFinite { what, row: first + at / each })
        }
    }
}

/// The largest of numbers with its position, of equals the first, and the largest of the others.
pub(super) fn two_largest(numbers: impl IntoIterator<Item = f64>) -> (usize, f64, f64) {
    let (mut at, mut largest, mut second) = (0, f64::NEG_INFINITY, f64::NEG_INFINITY);
    for (i, value) in numbers.into_iter().enumerate() {
        if value > largest {
            (at, second, largest) = (i, largest, value);
        } else {
            second = second.max(value);
        }
    }
    (at, largest, second)
}
