//! Exact difference of convex functions: a network `g = g1 - g2` of affine and piecewise affine operators, both parts
//! convex, by weights split by sign.
//!
//! The parts are an ordinary network ([`Network::convex_difference`]), so their values, their active affine pieces
//! (jets: the gradient of a part is the slope of its piece, `value - slope . x` the offset) and both engines come with
//! it. Here they are evaluated at data and checked: that their difference is the network as it was before
//! ([`Difference::evaluate`]), that both are convex along segments ([`convexity`]), and how far their values have
//! outgrown the network's at every node ([`Difference::growth`]).
//!
//! With the signs split, the terms of a part hardly cancel: only affine values and shifts have both signs. So a computed
//! value is off by about one rounding at most, relative to the value, for each term on the way;
//! [`Difference::roundings`] counts them on the longest way. That times the epsilon of the scalar times the larger part
//! is what differences are allowed.
//!
//! # Example
//!
//! ```
//! use fenchel::data::{Dataset, ReadOptions};
//! use fenchel::difference::Difference;
//! use fenchel::engine::{Context, Cpu};
//! use fenchel::network::onnx;
//!
//! let model = onnx::load("assets/moons.onnx".as_ref(), &onnx::LoadOptions::default())?;
//! let data = Dataset::open("assets/moons.npz".as_ref(), &ReadOptions::default())?.select_range(0..100)?;
//! let parts = model.network.convex_difference()?;
//! let difference = Difference::new(&Cpu::<f64>::new(), &model.network, &parts)?;
//!
//! // The network is the convex part less the subtracted one, but for rounding.
//! let agreement = difference.evaluate(&data, &[0, 1], false, &Context::default(), |_| Ok(()))?;
//! assert!(agreement.epsilons <= agreement.allowed as f64);
//! # Ok::<(), fenchel::Error>(())
//! ```

mod convexity;
mod evaluate;
mod growth;

use crate::engine::Engine;
use crate::network::{Network, Program};
use crate::{Error, Result, Scalar};

pub use convexity::{Convexity, convexity};
pub use evaluate::{AffinePieces, Agreement, Evaluated, SlopeAgreement};
pub use growth::Growth;

/// A network and its two convex parts, laid out on an engine.
pub struct Difference<E: Engine> {
    engine: E,
    whole: Program<E>,
    /// Outputs `0..K` are the convex part, `K..2K` the subtracted one.
    parts: Program<E>,
    original: Network,
    network: Network,
    roundings: u64,
}

impl<E: Engine> Difference<E> {
    /// Lays out the network as it is, and `difference`, its [`convex_difference`](Network::convex_difference).
    ///
    /// # Errors
    /// [`Error::Shape`] where the second does not have twice the outputs of the first; as [`Network::compile`].
    pub fn new(engine: &E, network: &Network, difference: &Network) -> Result<Self> {
        let (whole, parts) = (network.compile(engine)?, difference.compile(engine)?);
        let found = (parts.outputs(), parts.dimension());
        let needed = (2 * whole.outputs(), whole.dimension());
        if found != needed {
            return Err(Error::Shape(format!(
                "the convex parts of a network have {} outputs of {} inputs, not {} of {}",
                needed.0, needed.1, found.0, found.1
            )));
        }
        Ok(Self {
            engine: engine.clone(),
            whole,
            parts,
            original: network.clone(),
            network: difference.clone(),
            roundings: roundings(difference),
        })
    }

    /// `K`, the number of outputs of the network and of each part.
    pub fn outputs(&self) -> usize {
        self.whole.outputs()
    }

    /// `D`, the number of elements of an input sample.
    pub fn dimension(&self) -> usize {
        self.whole.dimension()
    }

    /// The terms of all sums on the longest way from the input to the parts: how many roundings, each relative to what
    /// is summed, a value has behind it.
    pub fn roundings(&self) -> u64 {
        self.roundings
    }

    /// The program of both parts, outputs `0..K` of the convex and `K..2K` of the subtracted one.
    pub fn parts(&self) -> &Program<E> {
        &self.parts
    }
}

/// The terms of all sums on the longest path through a network.
fn roundings(network: &Network) -> u64 {
    let nodes = network.nodes();
    let length = |shape: &[usize]| shape.iter().product::<usize>().max(1) as u64;
    let mut behind: Vec<u64> = vec![];
    for node in nodes {
        let steps = node.op().map_or(0, |op| {
            let shapes: Vec<&[usize]> = node.inputs().iter().map(|&i| nodes[i].shape()).collect();
            let outputs = length(node.shape());
            let inputs: u64 = shapes.iter().map(|shape| length(shape)).sum();
            // A product of n terms is n multiplications and n additions; pooling sees each input once or more.
            1 + (op.operator().flops(&shapes) / (2 * outputs)).max(inputs / outputs)
        });
        behind.push(steps + node.inputs().iter().map(|&i| behind[i]).max().unwrap_or(0));
    }
    behind.into_iter().max().unwrap_or(0)
}

/// The distance from 1 to the next number.
fn epsilon<S: Scalar>() -> f64 {
    S::epsilon().f64()
}
