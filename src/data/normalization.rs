//! How raw values become a network's inputs.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// What is done to each raw value of a row: `(raw * scale - mean) / std`, in `f64`.
///
/// `mean` and `std` hold one value for all, one for each element of a row, or, for rows of two or more axes,
/// one for each channel: the row's first axis. What is absent changes nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normalization {
    /// The factor, finite and not 0; absent: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<f64>,
    /// What is subtracted, in units of the scaled values; absent: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean: Option<Vec<f64>>,
    /// What is divided by, in units of the scaled values, greater than 0; absent: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub std: Option<Vec<f64>>,
}

/// A normalisation written out for each element of a row.
#[derive(Debug)]
pub(super) struct Elementwise {
    scale: f64,
    mean: Vec<f64>,
    std: Vec<f64>,
}

impl Normalization {
    /// Whether it changes nothing because nothing is given.
    pub fn is_identity(&self) -> bool {
        *self == Self::default()
    }

    /// Writes it out for rows of shape `row_shape`; `None` where there is nothing to do.
    pub(super) fn elementwise(&self, row_shape: &[usize]) -> Result<Option<Elementwise>> {
        if self.is_identity() {
            return Ok(None);
        }
        let scale = self.scale.unwrap_or(1.0);
        if !scale.is_finite() || scale == 0.0 {
            return Err(Error::Argument(format!("scale is {scale}; it must be finite and not 0")));
        }
        let mean = spread("mean", self.mean.as_deref().unwrap_or(&[0.0]), row_shape)?;
        let std = spread("std", self.std.as_deref().unwrap_or(&[1.0]), row_shape)?;
        if let Some(bad) = mean.iter().find(|v| !v.is_finite()) {
            return Err(Error::Argument(format!("mean holds {bad}; every value must be finite")));
        }
        if let Some(bad) = std.iter().find(|v| !v.is_finite() || **v <= 0.0) {
            return Err(Error::Argument(format!(
                "std holds {bad}; every value must be finite and greater than 0"
            )));
        }
        Ok(Some(Elementwise { scale, mean, std }))
    }
}

impl Elementwise {
    /// The normalised value of the row's element `at`.
    pub(super) fn apply(&self, raw: f64, at: usize) -> f64 {
        (raw * self.scale - self.mean[at]) / self.std[at]
    }
}

fn spread(what: &str, values: &[f64], row_shape: &[usize]) -> Result<Vec<f64>> {
    let row_len: usize = row_shape.iter().product();
    let channels = if row_shape.len() >= 2 { row_shape[0] } else { 1 };
    let repeat = match values.len() {
        1 => row_len,
        n if n == row_len => 1,
        n if n == channels => row_len / channels,
        n => {
            let channel = match channels {
                1 => String::new(),
                channels => format!(", {channels} (one for each channel)"),
            };
            return Err(Error::Argument(format!(
                "{what} holds {n} values; 1{channel} or {row_len} (one for each element of a row) are accepted"
            )));
        }
    };
    Ok(values.iter().flat_map(|&v| std::iter::repeat_n(v, repeat)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(normalization: Normalization) -> String {
        normalization.elementwise(&[3, 2, 2]).unwrap_err().to_string()
    }

    #[test]
    fn one_value_one_per_channel_or_one_per_element() {
        assert_eq!(spread("mean", &[5.0], &[3, 2]).unwrap(), [5.0; 6]);
        assert_eq!(spread("mean", &[1.0, 2.0, 3.0], &[3, 2]).unwrap(), [1.0, 1.0, 2.0, 2.0, 3.0, 3.0]);
        assert_eq!(spread("mean", &[1.0, 2.0, 3.0], &[3]).unwrap(), [1.0, 2.0, 3.0]);
        assert_eq!(spread("mean", &[7.0], &[]).unwrap(), [7.0]);
    }

    #[test]
    fn the_formula() {
        let given = Normalization { scale: Some(0.5), mean: Some(vec![1.0]), std: Some(vec![4.0]) };
        assert_eq!(given.elementwise(&[2]).unwrap().unwrap().apply(10.0, 1), 1.0);
        assert!(Normalization::default().elementwise(&[2]).unwrap().is_none());
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let none = Normalization::default;
        let lengths = fault(Normalization { mean: Some(vec![0.0; 4]), ..none() });
        assert_eq!(
            lengths,
            "mean holds 4 values; 1, 3 (one for each channel) or 12 (one for each element of a row) are accepted"
        );
        assert!(fault(Normalization { mean: Some(vec![]), ..none() }).contains("mean holds 0 values"));
        assert!(fault(Normalization { std: Some(vec![0.0]), ..none() }).contains("std holds 0"));
        assert!(fault(Normalization { std: Some(vec![f64::NAN]), ..none() }).contains("std holds NaN"));
        assert!(fault(Normalization { scale: Some(0.0), ..none() }).contains("scale is 0"));
        assert!(
            fault(Normalization { mean: Some(vec![f64::INFINITY]), ..none() }).contains("mean holds inf")
        );
    }

    #[test]
    fn json_keeps_it_and_leaves_out_what_is_absent() {
        let given = Normalization { scale: Some(1.0 / 255.0), mean: None, std: Some(vec![0.3, 0.1]) };
        let json = serde_json::to_string(&given).unwrap();
        assert_eq!(json, r#"{"scale":0.00392156862745098,"std":[0.3,0.1]}"#);
        assert_eq!(serde_json::from_str::<Normalization>(&json).unwrap(), given);
        assert!(serde_json::from_str::<Normalization>(r#"{"men":[1.0]}"#).is_err());
    }
}
