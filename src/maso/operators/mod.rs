//! The layers of a network as spline operators (Balestriero & Baraniuk 2018, section 3).
//!
//! A layer takes what the layers before it give (or the network's input), side by side a vector `z [D]`. Between them and
//! its nonlinearity all is affine, `u = W z + b`; each of its units picks one of `R` affine pieces of `u`, so
//!
//! ```text
//! y[k] = A[k, r] . z + B[k, r],   r = code of unit k
//! ```
//!
//! with the largest piece as the one that is picked where the operator is max-affine. Elementwise functions have
//! `A[k, r] = slope[k, r] W[k]` and `B[k, r] = slope[k, r] b[k] + offset[k, r]`: `R` numbers and one row for each unit.
//! Of windows piece `r` is the row of element `r`.

mod map;

use std::ops::Range;

use crate::engine::Packing;
use crate::network::{Bend, Network, Table, Windows};
use crate::{Error, Result};

pub use map::{LayerMap, Rows};

/// The layers of a piecewise affine network.
pub struct SplineOperators {
    network: Network,
    layers: Vec<SplineOperator>,
}

/// One layer as a spline operator.
pub struct SplineOperator {
    name: String,
    operator: &'static str,
    form: Form,
    inputs: Vec<LayerInput>,
    units: usize,
    pieces: usize,
    /// The nodes whose values it bends, side by side, and which elements of each.
    ports: Vec<(usize, Option<Vec<usize>>)>,
    bend: Option<Bend>,
}

/// A value that a layer takes.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct LayerInput {
    /// Its position among the network's nodes.
    #[serde(skip)]
    node: usize,
    /// The name of the node that makes it.
    pub name: String,
    /// Its elements.
    pub elements: usize,
}

/// What kind of spline operator a layer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// One piece.
    Affine,
    /// The largest piece counts.
    MaxAffine,
    /// The smallest piece counts.
    MinAffine,
    /// Continuous, and the sum of the largest of some pieces and the smallest of others: the difference of two max-affine
    /// operators.
    Difference,
}

/// The elementwise pieces of one unit, or of all alike, as a function of `u`.
#[derive(Debug, Clone, PartialEq)]
pub struct UnitPieces {
    /// Where pieces meet, `[R - 1]`.
    pub knots: Vec<f64>,
    /// `[R]`
    pub slopes: Vec<f64>,
    /// Their values at 0, `[R]`.
    pub offsets: Vec<f64>,
}

impl SplineOperators {
    /// Those of a network from its only input to its output; what follows the last nonlinearity is an affine layer of its
    /// own.
    ///
    /// # Errors
    /// As [`Network::cut`]; [`Error::MissingSlot`] for an operator that is not piecewise affine, [`Error::Graph`] for one
    /// that jumps.
    pub fn new(network: &Network) -> Result<Self> {
        let network = network.cut(None, None)?;
        let bending = network.bending("a spline operator")?;
        let mut is_source: Vec<bool> = network.nodes().iter().map(|node| node.op().is_none()).collect();
        bending.iter().for_each(|at| is_source[at.node] = true);
        let varying = network.varying();
        let inputs = |ports: &[(usize, Option<Vec<usize>>)]| {
            let mut wanted = vec![false; is_source.len()];
            ports.iter().for_each(|&(i, _)| wanted[i] = true);
            for i in (0..wanted.len()).rev().filter(|&i| !is_source[i]) {
                if wanted[i] {
                    network.nodes()[i].inputs().iter().for_each(|&j| wanted[j] = true);
                }
            }
            let sources = (0..wanted.len()).filter(|&i| wanted[i] && is_source[i] && varying[i]);
            let input = |node: usize| {
                let at = &network.nodes()[node];
                LayerInput { node, name: at.name().to_owned(), elements: at.shape().iter().product() }
            };
            sources.map(input).collect::<Vec<_>>()
        };
        let end = network.nodes().len() - 1;
        let affine_end = (!is_source[end]).then(|| {
            let (at, ports) = (&network.nodes()[end], vec![(end, None)]);
            SplineOperator {
                name: at.name().to_owned(),
                operator: at.op().map_or("", |op| op.operator().name()),
                form: Form::Affine,
                inputs: inputs(&ports),
                units: at.shape().iter().product(),
                pieces: 1,
                ports,
                bend: None,
            }
        });
        let layer = |at: crate::network::Bending| SplineOperator {
            operator: network.nodes()[at.node].op().map_or("", |op| op.operator().name()),
            form: Form::of(&at.bend),
            inputs: inputs(&at.inputs),
            units: at.units,
            pieces: at.bend.choices(),
            name: at.name,
            ports: at.inputs,
            bend: Some(at.bend),
        };
        let layers = bending.into_iter().map(layer).chain(affine_end).collect();
        Ok(Self { network, layers })
    }

    /// The network, cut to its input and output.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The elements of an input sample.
    pub fn dimension(&self) -> usize {
        self.network.dimension()
    }

    /// The layers, each after those that it takes.
    pub fn layers(&self) -> &[SplineOperator] {
        &self.layers
    }

    /// The layer of a node.
    ///
    /// # Errors
    /// [`Error::Argument`] where it is none, with those there are.
    pub fn layer(&self, name: &str) -> Result<&SplineOperator> {
        let node = self.network.find(name)?.name();
        self.layers.iter().find(|layer| layer.name == node).ok_or_else(|| {
            let names: Vec<String> = self.layers.iter().map(|layer| format!("'{}'", layer.name)).collect();
            Error::Argument(format!("'{name}' is no layer of its own; {} are", names.join(", ")))
        })
    }
}

impl SplineOperator {
    /// The name of the node that bends, or of the network's output.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name of its operator.
    pub fn operator(&self) -> &'static str {
        self.operator
    }

    /// What kind it is.
    pub fn form(&self) -> Form {
        self.form
    }

    /// What it takes, side by side.
    pub fn inputs(&self) -> &[LayerInput] {
        &self.inputs
    }

    /// `D`, the elements of what it takes.
    pub fn dimension(&self) -> usize {
        self.inputs.iter().map(|input| input.elements).sum()
    }

    /// `K`
    pub fn units(&self) -> usize {
        self.units
    }

    /// `R`
    pub fn pieces(&self) -> usize {
        self.pieces
    }

    /// Bits of a unit's code.
    pub fn bits(&self) -> u32 {
        if self.pieces > 1 { Packing::bits(self.pieces) } else { 0 }
    }

    /// The pieces of a unit as a function of its element of `u`; `None` where it takes the largest of a window.
    pub fn elementwise(&self, unit: usize) -> Option<UnitPieces> {
        match &self.bend {
            None => Some(UnitPieces { knots: vec![], slopes: vec![1.0], offsets: vec![0.0] }),
            Some(Bend::Elementwise(tables)) => {
                let Table { knots, slopes, offsets } = table(tables, unit).clone();
                Some(UnitPieces { knots, slopes, offsets })
            }
            Some(Bend::Largest(_)) => None,
        }
    }

    /// The elements of `u` that are the pieces of a unit, by their codes; `None` for one in the padding, which never is
    /// picked. Empty for elementwise functions.
    pub fn window(&self, unit: usize) -> Vec<Option<usize>> {
        let Some(Bend::Largest(windows)) = &self.bend else { return vec![] };
        let mut elements = vec![None; windows.choices];
        for entry in entries(windows, unit) {
            elements[windows.codes[entry] as usize] = Some(windows.elements[entry] as usize);
        }
        elements
    }

    /// The elements of `z` that some of `u` are, where there is nothing in between: `W` is a selection, and `b` is 0.
    pub fn selected(&self, elements: &[usize]) -> Option<Vec<usize>> {
        let mut starts = vec![];
        let mut first = 0;
        for (node, positions) in &self.ports {
            let mut column = 0;
            let input = self.inputs.iter().find(|input| {
                column += input.elements;
                input.node == *node
            })?;
            starts.push((first, column - input.elements, positions));
            first += positions.as_ref().map_or(input.elements, Vec::len);
        }
        let column = |&element: &usize| {
            let port = starts.iter().rfind(|(first, ..)| *first <= element);
            port.map_or(0, |(first, column, positions)| {
                let own = element - first;
                column + positions.as_ref().map_or(own, |positions| positions[own])
            })
        };
        Some(elements.iter().map(column).collect())
    }

    /// The elements of `u` that some units depend on, ascending.
    pub fn elements(&self, units: Range<usize>) -> Vec<usize> {
        let Some(Bend::Largest(windows)) = &self.bend else { return units.collect() };
        let entries = units.flat_map(|unit| entries(windows, unit));
        let mut elements: Vec<usize> = entries.map(|entry| windows.elements[entry] as usize).collect();
        elements.sort_unstable();
        elements.dedup();
        elements
    }
}

impl UnitPieces {
    /// The largest of which pieces and the smallest of which others add up to the function: the minimal split, bending where
    /// the slope grows and where it falls.
    pub fn split(&self) -> [Self; 2] {
        let part = |slope, offset| Self { knots: vec![], slopes: vec![slope], offsets: vec![offset] };
        let [mut convex, mut concave] = [part(self.slopes[0], self.offsets[0]), part(0.0, 0.0)];
        for (i, &knot) in self.knots.iter().enumerate() {
            let [rise, shift] = [&self.slopes, &self.offsets].map(|of| of[i + 1] - of[i]);
            let part = if rise > 0.0 { &mut convex } else { &mut concave };
            let last = part.slopes.len() - 1;
            part.knots.push(knot);
            part.slopes.push(part.slopes[last] + rise);
            part.offsets.push(part.offsets[last] + shift);
        }
        [convex, concave]
    }
}

impl Form {
    fn of(bend: &Bend) -> Self {
        let (mut rises, mut falls) = (false, false);
        match bend {
            Bend::Elementwise(tables) => {
                for pair in tables.iter().flat_map(|table| table.slopes.windows(2)) {
                    rises |= pair[0] < pair[1];
                    falls |= pair[0] > pair[1];
                }
            }
            Bend::Largest(windows) => {
                rises = windows.choices > 1 && windows.sign > 0.0;
                falls = windows.choices > 1 && windows.sign < 0.0;
            }
        }
        match (rises, falls) {
            (false, false) => Self::Affine,
            (true, false) => Self::MaxAffine,
            (false, true) => Self::MinAffine,
            (true, true) => Self::Difference,
        }
    }

    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Affine => "affine",
            Self::MaxAffine => "max-affine",
            Self::MinAffine => "min-affine",
            Self::Difference => "difference of max-affine",
        }
    }
}

fn table(tables: &[Table], unit: usize) -> &Table {
    &tables[unit % tables.len()]
}

/// The entries of a window.
fn entries(windows: &Windows, unit: usize) -> Range<usize> {
    (if unit == 0 { 0 } else { windows.ends[unit - 1] })..windows.ends[unit]
}
