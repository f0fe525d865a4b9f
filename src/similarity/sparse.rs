//! The sparse metric: coordinates whose gradients agree in sign within classes more than across them.

use rayon::prelude::*;

use crate::data::Dataset;
use crate::engine::{Context, Engine};
use crate::{Error, Result};

use super::{Combine, Gradients};

/// For each coordinate, how often the gradients of two samples agree in sign there (both above 0 or both below): the share
/// among pairs of one class over the share among pairs of two. 0 where no pair of one class agrees, infinite where no
/// other one does.
///
/// Counted from the signs of each class, in time linear in the samples. The published program (Racz & Daroczy 2021)
/// divides other counts: of pairs above 0 within classes and pairs below 0 among all other samples, by pairs below 0
/// within classes and pairs above 0 among the others.
#[derive(Debug, Clone, PartialEq)]
pub struct SignRatios {
    /// Of each layer: weights, then bias.
    layers: Vec<Vec<f32>>,
}

/// Coordinates that are kept, a bit for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    layers: Vec<Vec<u64>>,
    kept: Vec<usize>,
}

/// Signs at one coordinate.
#[derive(Debug, Clone, Copy, Default)]
struct Signs {
    /// Above and below 0, in the class at hand and in those before.
    class: [u32; 2],
    before: [u32; 2],
    /// Sum over classes of the squares of both counts.
    squares: u64,
}

impl Signs {
    fn end_of_class(&mut self) {
        for (own, before) in self.class.iter_mut().zip(&mut self.before) {
            *before += *own;
            self.squares += u64::from(*own) * u64::from(*own);
            *own = 0;
        }
    }

    /// `pairs` of samples of one class and of two.
    fn ratio(&self, pairs: [f64; 2]) -> f32 {
        let all: f64 = self.before.iter().map(|&n| f64::from(n)).sum();
        let squared: f64 = self.before.iter().map(|&n| f64::from(n) * f64::from(n)).sum();
        let within = (self.squares as f64 - all) / 2.0 / pairs[0];
        let across = (squared - self.squares as f64) / 2.0 / pairs[1];
        if within > 0.0 { (within / across) as f32 } else { 0.0 }
    }
}

impl SignRatios {
    /// At rows of data with their classes.
    ///
    /// # Errors
    /// [`Error::Argument`] where labels do not fit, there are not two classes and one of at least two rows, or gradients of
    /// more than one sum of outputs are compared; [`Error::Shape`] for rows that do not fit the network;
    /// [`Error::Memory`], [`Error::Cancelled`]; what the data and the engine say.
    pub fn new<E: Engine>(
        gradients: &Gradients<E>,
        data: &Dataset,
        labels: &[u32],
        context: &Context,
    ) -> Result<Self> {
        data.check_rows(gradients.program().dimension())?;
        if gradients.combine() != Combine::Sum {
            let what = "the sparse metric is of the gradients of the sum of the outputs";
            return Err(Error::Argument(format!("{what}, not of each: leave --combine away")));
        }
        if labels.len() != data.len() {
            return Err(Error::Argument(format!("{} labels of {} rows", labels.len(), data.len())));
        }
        let mut classes: std::collections::BTreeMap<u32, Vec<usize>> = std::collections::BTreeMap::new();
        labels.iter().enumerate().for_each(|(row, &label)| classes.entry(label).or_default().push(row));
        let count = |n: usize| n as f64 * (n as f64 - 1.0) / 2.0;
        let within: f64 = classes.values().map(|rows| count(rows.len())).sum();
        let pairs = [within, count(data.len()) - within];
        if pairs.contains(&0.0) {
            return Err(Error::Argument(
                "the sparse metric needs rows of two classes, and two rows of one".to_owned(),
            ));
        }
        let mut signs: Vec<Vec<Signs>> =
            gradients.layers().iter().map(|layer| vec![Signs::default(); layer.parameters]).collect();
        let held = signs.iter().map(|signs| size_of_val(&signs[..])).sum::<usize>() as u64;
        context.progress().start("gradients", data.len() as u64);
        for rows in classes.values() {
            let of_class = data.select(rows)?;
            gradients.explicit(&of_class, held, context, |range, layer, weights, bias| {
                let (of_weights, of_bias) = signs[layer].split_at_mut(weights.len() / range.len());
                count_signs(of_weights, &weights);
                count_signs(of_bias, &bias);
                Ok(())
            })?;
            signs.par_iter_mut().flatten().for_each(Signs::end_of_class);
        }
        context.progress().finish();
        let ratios = |signs: Vec<Signs>| signs.par_iter().map(|signs| signs.ratio(pairs)).collect();
        Ok(Self { layers: signs.into_iter().map(ratios).collect() })
    }

    /// The ratios of a layer: of its weights as their gradient lies, and of its bias.
    pub fn layer(&self, layer: usize) -> &[f32] {
        &self.layers[layer]
    }

    /// Keeps the coordinates whose ratio is at least `threshold`.
    ///
    /// # Errors
    /// [`Error::Argument`] where none is left.
    pub fn mask(&self, threshold: f64) -> Result<Mask> {
        let is_kept = |&ratio: &f32| ratio > 0.0 && f64::from(ratio) >= threshold;
        let bits = |layer: &Vec<f32>| -> Vec<u64> {
            let word = |ratios: &[f32]| {
                ratios.iter().enumerate().fold(0, |word, (i, ratio)| word | u64::from(is_kept(ratio)) << i)
            };
            layer.chunks(u64::BITS as usize).map(word).collect()
        };
        let layers: Vec<Vec<u64>> = self.layers.iter().map(bits).collect();
        let count = |words: &Vec<u64>| words.iter().map(|word| word.count_ones() as usize).sum();
        let kept: Vec<usize> = layers.iter().map(count).collect();
        if kept.iter().all(|&kept| kept == 0) {
            let largest = self.layers.iter().flatten().fold(0.0_f32, |most, &ratio| most.max(ratio));
            return Err(Error::Argument(format!(
                "no coordinate's gradients agree in sign {threshold} times as often within classes as across: the \
                 largest ratio is {largest}"
            )));
        }
        Ok(Mask { layers, kept })
    }
}

/// Adds the signs of gradients, row after row.
fn count_signs<S: crate::Scalar>(signs: &mut [Signs], gradients: &[S]) {
    if signs.is_empty() {
        return;
    }
    let length = signs.len();
    const SHARE: usize = 4096;
    signs.par_chunks_mut(SHARE).enumerate().for_each(|(share, signs)| {
        for row in gradients.chunks_exact(length) {
            for (signs, &value) in signs.iter_mut().zip(&row[share * SHARE..]) {
                signs.class[0] += u32::from(value > S::zero());
                signs.class[1] += u32::from(value < S::zero());
            }
        }
    });
}

impl Mask {
    /// How many coordinates of each layer are kept.
    pub fn kept(&self) -> &[usize] {
        &self.kept
    }

    /// That of one layer alone.
    #[must_use]
    pub fn of_layer(&self, layer: usize) -> Self {
        Self { layers: vec![self.layers[layer].clone()], kept: vec![self.kept[layer]] }
    }

    /// Ones and zeros for the first `count` coordinates of a layer.
    pub(super) fn values(&self, layer: usize, count: usize) -> Vec<f64> {
        let bit = |i: usize| (self.layers[layer][i / 64] >> (i % 64)) & 1;
        (0..count).map(|i| bit(i) as f64).collect()
    }
}
