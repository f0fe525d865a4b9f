//! How many regions there are near a point: those that random points see.

use std::collections::HashMap;

use rand::RngExt;
use serde::Serialize;

use crate::engine::{Context, Cpu, Engine};
use crate::maso::{Codes, LayerChoice, hash};
use crate::network::Network;
use crate::{Error, Result};

use super::polytope::check_point;

/// Regions that were seen among random points.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Density {
    /// Always `visited`: there may be more.
    pub label: &'static str,
    /// Different regions, told apart by 64-bit hashes of their codes.
    pub count: usize,
    /// Random points.
    pub samples: usize,
    /// The share of them in the region of the centre.
    pub own: f64,
    /// Regions that one point alone saw. Their share of the samples estimates the share of the ball that lies in regions
    /// not seen (Good 1953).
    pub once: usize,
}

/// Counts the regions among `samples` random points, uniform in the ball of a radius around a point, or on its `surface`.
/// The same seed gives the same points whatever the memory.
///
/// # Errors
/// [`Error::Shape`], [`Error::NonFinite`] for the point; [`Error::Argument`] for a radius that is not positive and finite
/// or no samples; [`Error::MissingSlot`] with the name of an operator that is not piecewise affine; [`Error::Memory`];
/// [`Error::Cancelled`].
pub fn density(
    network: &Network,
    point: &[f64],
    radius: f64,
    surface: bool,
    samples: usize,
    context: &Context,
) -> Result<Density> {
    if !(radius.is_finite() && radius > 0.0) {
        return Err(Error::Argument(format!("a radius must be positive and finite, not {radius}")));
    }
    if samples == 0 {
        return Err(Error::Argument("a density needs at least one sample".to_owned()));
    }
    let network = network.cut(None, None)?;
    let dimension = network.dimension();
    check_point(dimension, point)?;
    // A table of hashes at its fullest.
    let (held, budget) = (32 * samples as u64, context.memory());
    if 2 * held > budget {
        return Err(Error::Memory {
            what: format!("the hashes of {samples} codes"),
            needed: 2 * held,
            budget,
        });
    }
    let engine = Cpu::<f64>::new();
    let codes = Codes::new(&engine, &network, &LayerChoice::All, "a density of regions")?;
    let words = codes.words();
    let inner = &context.clone().with_memory(budget - held);
    let mut own = None;
    let mut seen: HashMap<u64, u64> = HashMap::new();
    context.progress().start("points", samples as u64);
    // The centre is number 0.
    let points = |range: std::ops::Range<usize>| {
        let count = range.len();
        let rows: Vec<f64> = range.flat_map(|i| random_point(point, radius, surface, i, inner)).collect();
        engine.upload(&rows, &[count, dimension])
    };
    codes.each(samples + 1, ("the network's output at random points", 0), inner, points, |coded| {
        for at in 0..coded.range.len() {
            let hash = hash(&coded.words[at * words..][..words]);
            if coded.range.start + at == 0 {
                own = Some(hash);
            } else {
                *seen.entry(hash).or_default() += 1;
            }
        }
        context.progress().advance(coded.range.len() as u64);
        Ok(())
    })?;
    context.progress().finish();
    let own = own.and_then(|own| seen.get(&own)).copied().unwrap_or(0);
    Ok(Density {
        label: "visited",
        count: seen.len(),
        samples,
        own: own as f64 / samples as f64,
        once: seen.values().filter(|&&times| times == 1).count(),
    })
}

/// The centre, or the random point of a number above 0.
fn random_point(centre: &[f64], radius: f64, surface: bool, number: usize, context: &Context) -> Vec<f64> {
    if number == 0 {
        return centre.to_vec();
    }
    let mut rng = context.rng(number as u64);
    let mut normal = || {
        // Box & Muller 1958.
        let (u, angle): (f64, f64) =
            (1.0 - rng.random_range(0.0..1.0), rng.random_range(0.0..std::f64::consts::TAU));
        (-2.0 * u.ln()).sqrt() * angle.cos()
    };
    let direction: Vec<f64> = centre.iter().map(|_| normal()).collect();
    let size = direction.iter().map(|x| x * x).sum::<f64>().sqrt();
    let share: f64 =
        if surface { 1.0 } else { rng.random_range(0.0_f64..1.0).powf(1.0 / centre.len() as f64) };
    centre.iter().zip(&direction).map(|(x, step)| x + radius * share * step / size).collect()
}
