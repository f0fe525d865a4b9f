//! How pieces are chosen: a method, and what it goes by.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How pieces are chosen among the anchors.
///
/// Measured on two networks of the digits, 100 of 1200 anchors, relative RMSE on 397 others at the best of the curvatures
/// 1, 3 and 10, by inputs, mean of five seeds (two of the genetic search, one of pruning):
///
/// | | random | k-means | k-medoids | farthest | greedy | prune | genetic |
/// |---|---|---|---|---|---|---|---|
/// | sigmoid | 0.233 | 0.176 | 0.175 | 0.266 | 0.189 | 0.179 | 0.185 |
/// | ReLU | 0.158 | 0.125 | 0.125 | 0.175 | 0.132 | 0.133 | 0.132 |
///
/// Where the curvature is too small for the network (1), greedy and genetic choices are the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// A random subset, the same for every feature; subsets of one seed are nested.
    #[default]
    Random,
    /// The anchor nearest to each of so many means (Lloyd 1982; Arthur & Vassilvitskii 2007).
    KMeans,
    /// So many anchors with a small sum of distances from each anchor to the nearest of them (Park & Jun 2009).
    KMedoids,
    /// Always the anchor farthest from those chosen (Gonzalez 1985). It takes no seed, but that of long features.
    Farthest,
    /// Round by round the anchors at which the spline so far is most wrong.
    Greedy,
    /// From many anchors down: those drop out that are active at the fewest anchors. Features do not matter.
    Prune,
    /// A genetic search for the subset of the least error. Features do not matter.
    Genetic,
}

/// What distances between anchors are distances of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Features {
    /// The anchors themselves.
    #[default]
    Inputs,
    /// The gradients of all outputs there.
    Gradients,
    /// Both, each scaled to a total variance of 1.
    Both,
    /// The slopes of a half's own affine pieces, `J_i + a x_i` of the lower and `J_i - b x_i` of the upper half, so
    /// that each half has its own choice. The halves then touch the network at different anchors, where what one is
    /// off by is not made up for by the other: on the digits it is as good as [`Inputs`](Self::Inputs) at curvature 1,
    /// and the worse the larger that is.
    Pieces,
}

/// A method and what it goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Choice {
    /// The method.
    pub method: Method,
    /// What distances are between.
    pub features: Features,
}

impl Choice {
    /// Whether it goes by a spline, or by slopes of its halves, which a curvature makes.
    pub fn needs_curvature(&self) -> bool {
        let by_spline = matches!(self.method, Method::Greedy | Method::Prune | Method::Genetic);
        by_spline || (self.features == Features::Pieces && self.method != Method::Random)
    }
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Random,
        Self::KMeans,
        Self::KMedoids,
        Self::Farthest,
        Self::Greedy,
        Self::Prune,
        Self::Genetic,
    ];
}

impl Features {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Inputs, Self::Gradients, Self::Both, Self::Pieces];
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Random => "random",
            Self::KMeans => "k-means",
            Self::KMedoids => "k-medoids",
            Self::Farthest => "farthest",
            Self::Greedy => "greedy",
            Self::Prune => "prune",
            Self::Genetic => "genetic",
        })
    }
}

impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Inputs => "inputs",
            Self::Gradients => "gradients",
            Self::Both => "both",
            Self::Pieces => "pieces",
        })
    }
}

impl FromStr for Method {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        by_name(text, &Self::ALL)
    }
}

impl FromStr for Features {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        by_name(text, &Self::ALL)
    }
}

/// The one of `all` that is called so.
fn by_name<T: fmt::Display + Copy>(text: &str, all: &[T]) -> Result<T, String> {
    let names: Vec<String> = all.iter().map(T::to_string).collect();
    let found = all.iter().zip(&names).find(|(_, name)| *name == text).map(|(&one, _)| one);
    found.ok_or_else(|| format!("expected one of {}", names.join(", ")))
}
