//! Curvatures: how far a network bends, over tested pairs, at samples, at most.
//!
//! `(a, b)` of output `k` is valid on a domain where `g_k + (a/2) |x|^2` is convex and `g_k - (b/2) |x|^2` concave. Of a
//! twice differentiable network that means `a >= -smallest` and `b >= largest`, over all eigenvalues of the Hessian
//! in the domain, and at least 0.
//!
//! | | needs | gives |
//! |---|---|---|
//! | [`secant`] | values | what holds over tested pairs, of any network |
//! | [`hessian`] | Hessian products | the extreme eigenvalues at samples |
//! | [`search`] | Hessian products | the largest found in a box: a lower bound |
//! | [`proved`] | intervals | what holds everywhere in a box: an upper bound |

mod entries;
mod hessian;
mod lanczos;
mod layers;
mod proved;
mod search;
mod secant;
mod spectrum;

use crate::network::{Kind, Network, Op};
use crate::{Error, Result};

pub use hessian::{Extremes, hessian, worst};
pub use proved::{Proof, proved, proved_ball};
pub use search::{Found, search};
pub use secant::secant;

/// # Errors
/// [`Error::Argument`] naming the first operator whose slope jumps: there is no second derivative, and where there is
/// one it says nothing about the jumps.
fn refuse_kinks(network: &Network) -> Result<()> {
    for node in network.nodes() {
        let Some(op) = node.op() else { continue };
        let kinks = match op {
            Op::Activation(activation) => !activation.kinks().is_empty(),
            op => op.operator().kind() == Kind::PiecewiseAffine,
        };
        if kinks {
            return Err(Error::Argument(format!(
                "{} ('{}') has kinks, whose curvature no second derivative shows: use a secant curvature",
                op.operator().name(),
                node.name()
            )));
        }
    }
    Ok(())
}

/// # Errors
/// [`Error::Argument`] without outputs or for one that is not there; [`Error::Shape`], [`Error::Argument`] for corners
/// that are no box of the network's input.
fn check_box(dimension: usize, outputs: (usize, &[usize]), low: &[f64], high: &[f64]) -> Result<()> {
    check_outputs(outputs.0, outputs.1)?;
    if low.len() != dimension || high.len() != dimension {
        let (low, high) = (low.len(), high.len());
        return Err(Error::Shape(format!(
            "a box with {low} lower and {high} upper ends does not fit the network's {dimension} inputs"
        )));
    }
    let wrong = |i: &usize| !(low[*i].is_finite() && high[*i].is_finite() && low[*i] <= high[*i]);
    match (0..dimension).find(wrong) {
        Some(i) => Err(Error::Argument(format!(
            "side {i} of the box goes from {} to {}: two numbers in ascending order are needed",
            low[i], high[i]
        ))),
        None => Ok(()),
    }
}

/// # Errors
/// [`Error::Argument`] without outputs or for one that is not there.
fn check_outputs(all: usize, outputs: &[usize]) -> Result<()> {
    if outputs.is_empty() {
        return Err(Error::Argument("at least one output is needed".to_owned()));
    }
    super::jets::check_outputs(outputs, all)
}
