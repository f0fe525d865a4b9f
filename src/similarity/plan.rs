//! What Gram matrices take, and how they are made within a memory budget. Pure.

use std::ops::Range;

use crate::engine::Engine;
use crate::network::operators::ParameterFactors;
use crate::{Error, Result};

use super::Combine;

/// How a layer's inner products are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Road {
    /// Products of activations and of deltas, multiplied; for layers whose parameters serve several positions, summed
    /// over pairs of these.
    Products,
    /// The layer's gradients themselves.
    Gradient,
}

/// The lengths of a layer's factors (see [`ParameterFactors`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shape {
    /// Sums of outputs whose gradients are taken.
    pub directions: usize,
    /// Whether each factor is of its own in each direction.
    pub own: [bool; 2],
    /// Groups that share no parameters.
    pub groups: usize,
    /// Positions that share all.
    pub positions: usize,
    /// Elements of both factors; 0 without weights.
    pub depths: [usize; 2],
    /// Elements of the bias, of all its groups.
    pub bias: usize,
    /// Groups of the bias.
    pub bias_groups: usize,
    /// Whether the bias's gradient is the sum of the deltas.
    pub sums_deltas: bool,
}

impl Shape {
    pub(super) fn of<E: Engine>(factors: &ParameterFactors<E>, directions: usize) -> Self {
        let bias = factors.bias.as_ref().map_or(0, |bias| bias.shape()[2..].iter().product());
        let bias_groups = factors.bias.as_ref().map_or(0, |bias| bias.shape()[2]);
        let empty =
            Self { directions, bias, bias_groups, sums_deltas: factors.sums_deltas, ..Self::default() };
        let Some([a, d]) = &factors.weights else { return empty };
        Self {
            own: [a, d].map(|t| t.shape()[1] > 1 || directions == 1),
            groups: a.shape()[2],
            positions: a.shape()[3],
            depths: [a.shape()[4], d.shape()[4]],
            ..empty
        }
    }

    /// Elements of both factors of one sample.
    pub fn factors(&self) -> usize {
        let of = |i: usize| if self.own[i] { self.directions * self.depths[i] } else { self.depths[i] };
        self.groups * self.positions * (of(0) + of(1)) + self.directions * self.bias
    }

    /// Elements of the gradient of one sample.
    pub fn gradient(&self) -> usize {
        self.directions * (self.groups * self.depths[0] * self.depths[1] + self.bias)
    }

    /// Elements that one sample holds on a road.
    pub fn kept(&self, road: Road) -> usize {
        match road {
            Road::Products if self.sums_deltas && self.depths[0] > 0 => {
                self.factors() - self.directions * self.bias
            }
            Road::Products => self.factors(),
            Road::Gradient => self.gradient(),
        }
    }

    /// Multiplications and additions for one pair of samples on a road.
    pub fn per_pair(&self, road: Road, combine: Combine) -> u64 {
        let [left, right] = self.depths;
        let r = self.directions;
        let bias = if road == Road::Products && self.sums_deltas && left > 0 { 0 } else { self.bias };
        let of_weights = match road {
            Road::Products => {
                let depth = match combine {
                    Combine::Trace if self.own == [true, true] => r * (left + right),
                    Combine::Trace => {
                        if self.own[0] {
                            r * left + right
                        } else {
                            left + r * right
                        }
                    }
                    Combine::Sum | Combine::Pairs => left + right,
                };
                self.groups * self.positions * self.positions * depth
            }
            Road::Gradient => self.groups * left * right * if combine == Combine::Trace { r } else { 1 },
        };
        let of_bias = bias * if combine == Combine::Trace { r } else { 1 };
        let pairs = if combine == Combine::Pairs { r * r } else { 1 };
        (pairs * (of_weights + of_bias)) as u64
    }

    /// Multiplications and additions that making the gradient of one sample takes.
    pub fn per_sample(&self, road: Road) -> u64 {
        match road {
            Road::Products => 0,
            Road::Gradient => {
                let [left, right] = self.depths;
                (self.directions * self.groups * self.positions * left * right) as u64
            }
        }
    }

    /// The cheaper road for so many samples and pairs of them.
    pub fn cheaper(&self, combine: Combine, samples: usize, pairs: u64) -> Road {
        let cost = |road: Road| {
            let of_pairs = u128::from(pairs) * u128::from(self.per_pair(road, combine));
            of_pairs + samples as u128 * u128::from(self.per_sample(road))
        };
        if cost(Road::Gradient) < cost(Road::Products) { Road::Gradient } else { Road::Products }
    }
}

/// What a Gram matrix takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demand {
    /// Samples of the rows.
    pub rows: usize,
    /// Samples of the columns; as many as of the rows where they are the same.
    pub columns: usize,
    /// Whether rows and columns are the same samples.
    pub same: bool,
    /// Bytes that one sample holds for each layer, in order.
    pub layers: Vec<u64>,
    /// Bytes of the matrix for one pair of samples, where it is made and where it is handed over.
    pub pair: u64,
    /// Pairs of samples at most, so that the matrix is no larger than a tensor.
    pub most_pairs: u64,
    /// Bytes that making the gradients of one sample takes.
    pub making: u64,
    /// Samples whose gradients are made at once at most.
    pub at_once: usize,
    /// Bytes of scratch, whatever the chunks.
    pub scratch: u64,
}

/// For each strip of rows, for each group of layers: what the strip's samples hold is made once, and that of the columns a
/// window at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Samples in a strip of rows; all where the matrix is made whole.
    pub strip: usize,
    /// Samples in a window of columns.
    pub window: usize,
    /// Layers whose samples are held at once.
    pub groups: Vec<Range<usize>>,
    /// Samples whose gradients are made at once.
    pub chunk: usize,
    /// Whether only one half of the matrix is computed.
    pub half: bool,
}

impl Demand {
    /// Strips, windows and groups of layers within `budget` bytes.
    ///
    /// A third of the memory is the matrix's, a third what gradients are made with, the rest what samples hold. Layers are
    /// parted before samples are: that costs passes through the network, not products.
    ///
    /// # Errors
    /// [`Error::Memory`] where not one row, or not one sample on both sides, fits.
    pub fn plan(&self, budget: u64) -> Result<Plan> {
        let what = format!("similarities of one sample with {} others", self.columns);
        let largest = self.layers.iter().max().copied().unwrap_or(0);
        let row = self.pair.saturating_mul(self.columns as u64);
        let least = self.scratch.saturating_add(row).saturating_add(self.making).saturating_add(2 * largest);
        if budget < least || self.most_pairs < self.columns as u64 {
            return Err(Error::Memory { what, needed: least.max(budget.saturating_add(1)), budget });
        }
        let free = budget - self.scratch;
        let fit = |bytes: u64, each: u64| usize::try_from(bytes / each.max(1)).unwrap_or(usize::MAX);
        let most = usize::try_from(self.most_pairs / (self.columns as u64).max(1)).unwrap_or(usize::MAX);
        // What one sample needs is left in any case.
        let spare = free - self.making - 2 * largest;
        let mut strip = fit((free / 3).min(spare), row).clamp(1, self.rows.max(1)).min(most);
        let left = free - strip as u64 * row;
        let for_making = (left / 2).min(left - 2 * largest).max(self.making);
        let chunk = fit(for_making, self.making).min(self.at_once).min(self.rows.max(self.columns)).max(1);
        let left = left - chunk as u64 * self.making;
        let whole = |strip: usize| strip >= self.rows && self.same;
        let samples = |strip: usize| if whole(strip) { strip } else { strip + self.columns } as u64;
        let mut window = self.columns.max(1);
        if largest.saturating_mul(samples(strip)) > left {
            let both = fit(left, largest).max(2);
            strip = strip.min(both / 2).max(1);
            window = (both - strip).clamp(1, self.columns.max(1));
        }
        let half = whole(strip) && window >= self.columns;
        let held = if half { strip } else { strip + window } as u64;
        let mut groups: Vec<Range<usize>> = vec![];
        let mut bytes = 0_u64;
        for (i, layer) in self.layers.iter().enumerate() {
            let own = layer.saturating_mul(held);
            match groups.last_mut() {
                Some(group) if bytes.saturating_add(own) <= left => {
                    group.end = i + 1;
                    bytes += own;
                }
                _ => {
                    groups.push(i..i + 1);
                    bytes = own;
                }
            }
        }
        Ok(Plan { strip, window, groups, chunk, half })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shape(positions: usize, depths: [usize; 2]) -> Shape {
        let (groups, bias, sums_deltas) = (1, depths[1], true);
        Shape { directions: 1, own: [true; 2], groups, positions, depths, bias, bias_groups: 1, sums_deltas }
    }

    #[test]
    fn the_cheaper_road_is_taken() {
        let cheaper = |shape: Shape| shape.cheaper(Combine::Sum, 4000, 4_000_000);
        assert_eq!(cheaper(shape(1, [784, 256])), Road::Products);
        // 28 x 28 positions of a small kernel, and 4 of a large one.
        assert_eq!(cheaper(shape(784, [9, 16])), Road::Gradient);
        assert_eq!(cheaper(shape(4, [4608, 512])), Road::Products);
    }

    proptest! {
        #[test]
        fn a_plan_stays_within_its_budget(
            rows in 1usize..5000, columns in 1usize..5000, same: bool,
            layers in proptest::collection::vec(1u64..1 << 22, 1..6),
            pair in 4u64..64, making in 1u64..1 << 22, at_once in 1usize..600, scratch in 0u64..1 << 22,
            budget in 1u64..1 << 34, most_pairs in 1u64..1 << 28,
        ) {
            let columns = if same { rows } else { columns };
            let demand = Demand {
                rows, columns, same, layers: layers.clone(), pair, most_pairs, making, at_once, scratch,
            };
            match demand.plan(budget) {
                Err(_) => {
                    let largest = layers.iter().max().copied().unwrap_or(0);
                    let least = scratch + pair * columns as u64 + making + 2 * largest;
                    prop_assert!(budget < least || most_pairs < columns as u64);
                }
                Ok(plan) => {
                    let samples = if plan.half { plan.strip } else { plan.strip + plan.window } as u64;
                    let group = |range: &Range<usize>| layers[range.clone()].iter().sum::<u64>();
                    let kept = samples * plan.groups.iter().map(group).max().unwrap_or(0);
                    let held = scratch
                        + plan.strip as u64 * columns as u64 * pair
                        + plan.chunk as u64 * making
                        + kept;
                    prop_assert!(held <= budget, "{plan:?} holds {held} of {budget}");
                    prop_assert!(plan.strip as u64 * columns as u64 <= most_pairs);
                    prop_assert!(plan.chunk <= at_once);
                    let covered: Vec<usize> = plan.groups.iter().flat_map(Clone::clone).collect();
                    prop_assert_eq!(covered, (0..layers.len()).collect::<Vec<_>>());
                    prop_assert!(!plan.half || (plan.strip >= rows && plan.window >= columns && same));
                }
            }
        }
    }
}
