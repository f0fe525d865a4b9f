//! A genetic search over subsets.

use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::engine::{Context, Curvature, SplineEngine};
use crate::spline::JetSource;
use crate::{Result, Scalar};

use super::judge::Judge;
use super::{Stream, shuffled, stream};

/// Subsets that live at once.
const POPULATION: usize = 16;

/// Of those the best, which go on as they are: the least error never rises.
const ELITE: usize = 4;

/// Generations after the first.
const GENERATIONS: usize = 20;

/// The share of a child's anchors that are replaced by others.
const MUTATION: f64 = 0.03;

/// Anchors at most that subsets are judged on.
const JUDGED: usize = 2000;

/// What a search found.
pub(super) struct Found {
    /// The subset of the least error, ascending.
    pub(super) best: Vec<u32>,
    /// Its mean squared error over the judged anchors, in each generation.
    #[cfg_attr(not(test), expect(dead_code, reason = "for tests"))]
    pub(super) history: Vec<f64>,
}

/// A subset and its mean squared error.
#[derive(Clone)]
struct Individual {
    chosen: Vec<u32>,
    error: f64,
}

/// Sixteen random subsets (the first that of [`Random`](super::Method::Random)), and 20 generations in which the best
/// four stay and twelve children follow: what both parents have, half of what one of them has, and 3 % (at least one)
/// replaced at random. Parents are the better of two drawn ones. Subsets are judged by the mean squared error of the
/// spline at 2000 random anchors, a generation in one pass.
///
/// # Errors
/// As [`select`](super::select).
pub(super) fn genetic<E: SplineEngine>(
    source: &dyn JetSource<E>,
    pieces: usize,
    curvature: &[Curvature],
    seed: u64,
    context: &Context,
) -> Result<Found> {
    let anchors = source.anchors();
    let mut sample: Vec<u32> = (0..anchors as u32).collect();
    sample.shuffle(&mut stream(seed, Stream::Sample));
    sample.truncate(JUDGED);
    sample.sort_unstable();
    let judge = Judge::new(source, curvature, &sample, (anchors * 16) as u64, context)?;
    let mut rng = stream(seed, Stream::Search);
    let first = (0..POPULATION).map(|number| {
        let mut order = shuffled(anchors, seed);
        if number > 0 {
            order.shuffle(&mut rng);
        }
        order.truncate(pieces);
        order.sort_unstable();
        order
    });
    let first = first.collect();
    context.progress().start("genetic search", (GENERATIONS + 1) as u64);
    let mut population = judged(&judge, first)?;
    let mut history = vec![population[0].error];
    for _ in 0..GENERATIONS {
        context.check()?;
        context.progress().advance(1);
        let children = (ELITE..POPULATION).map(|_| {
            let mut parent = || {
                let [one, other] = [0; 2].map(|_| rng.random_range(0..POPULATION));
                &population[one.min(other)].chosen
            };
            let parents = [parent(), parent()];
            child(parents, anchors, &mut rng)
        });
        let children = judged(&judge, children.collect())?;
        population.truncate(ELITE);
        population.extend(children);
        population.sort_by(|a, b| a.error.total_cmp(&b.error));
        history.push(population[0].error);
    }
    context.progress().finish();
    Ok(Found { best: population.swap_remove(0).chosen, history })
}

/// What both parents have, of the rest a random part, and a few others.
fn child([one, other]: [&Vec<u32>; 2], anchors: usize, rng: &mut ChaCha8Rng) -> Vec<u32> {
    let pieces = one.len();
    let (mut chosen, mut single): (Vec<u32>, Vec<u32>) =
        one.iter().partition(|i| other.binary_search(i).is_ok());
    single.extend(other.iter().filter(|i| one.binary_search(i).is_err()));
    single.shuffle(rng);
    single.truncate(pieces - chosen.len());
    chosen.extend(single);
    chosen.shuffle(rng);
    let replaced = ((pieces as f64 * MUTATION).ceil() as usize).min(anchors - pieces);
    let mut is_in = vec![false; anchors];
    chosen.iter().for_each(|&i| is_in[i as usize] = true);
    for place in chosen.iter_mut().take(replaced) {
        // There are as many others at least as are replaced, so one is found.
        let next = loop {
            let i = rng.random_range(0..anchors as u32);
            if !is_in[i as usize] {
                break i;
            }
        };
        is_in[next as usize] = true;
        *place = next;
    }
    chosen.sort_unstable();
    chosen
}

/// The mean squared errors of subsets, best first.
fn judged<E: SplineEngine>(judge: &Judge<'_, E>, subsets: Vec<Vec<u32>>) -> Result<Vec<Individual>> {
    let mut sums = vec![0.0; subsets.len()];
    let families: Vec<&[u32]> = subsets.iter().map(|subset| &subset[..]).collect();
    let outputs = judge.outputs();
    judge.pass(&families, false, |judged| {
        let (count, values) = (judged.range.len(), &judged.envelopes);
        sums.iter_mut().enumerate().for_each(|(family, sum)| {
            for n in 0..count {
                *sum += judge.squared_error(judged.range.start + n, |k| {
                    let at = (family * outputs + k) * count + n;
                    [values.lower[at].f64(), values.upper[at].f64()]
                });
            }
        });
    })?;
    let of_all = (judge.points() * outputs) as f64;
    let individuals =
        subsets.into_iter().zip(sums).map(|(chosen, sum)| Individual { chosen, error: sum / of_all });
    let mut individuals: Vec<Individual> = individuals.collect();
    individuals.sort_by(|a, b| a.error.total_cmp(&b.error));
    Ok(individuals)
}
