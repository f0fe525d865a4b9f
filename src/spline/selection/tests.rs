//! Selections against brute force, and what they promise.

use std::ops::Range;

use rand::RngExt;

use super::clusters::{Assigner, k_means, members};
use super::features::{Table, squared_distance, tables};
use super::genetic::genetic;
use super::judge::Judge;
use super::*;
use crate::Scalar;
use crate::data::{Dataset, Normalization, ReadOptions};
use crate::engine::{Cancellation, Cpu, Engine, Jets, JetsOf};
use crate::network::onnx::{LoadOptions, load};
use crate::spline::{NetworkJets, Unchecked};
use crate::tolerance::{CLOSE, EXACT};

/// Jets in memory.
struct Given<E: Engine> {
    engine: E,
    shape: [usize; 3],
    points: Vec<f64>,
    values: Vec<f64>,
    jacobians: Vec<f64>,
}

impl<E: Engine> Given<E> {
    fn random(engine: E, shape: [usize; 3], seed: u64) -> Self {
        let [m, k, d] = shape;
        let mut rng = stream(seed, Stream::Sample);
        let mut random = |count| (0..count).map(|_| rng.random_range(-1.0..2.0)).collect();
        Self { engine, shape, points: random(m * d), values: random(m * k), jacobians: random(m * k * d) }
    }
}

impl<E: SplineEngine> JetSource<E> for Given<E> {
    fn engine(&self) -> &E {
        &self.engine
    }

    fn anchors(&self) -> usize {
        self.shape[0]
    }

    fn dimension(&self) -> usize {
        self.shape[2]
    }

    fn outputs(&self) -> usize {
        self.shape[1]
    }

    fn bytes_to_make(&self) -> u64 {
        0
    }

    fn scratch_bytes(&self) -> u64 {
        0
    }

    fn block(&self, range: Range<usize>) -> Result<(JetsOf<E>, Unchecked<E>)> {
        let [_, k, d] = self.shape;
        let part = |values: &[f64], shape: &[usize]| {
            let row: usize = shape.iter().product();
            let part = values[range.start * row..range.end * row].iter().map(|&v| E::Scalar::of(v));
            self.engine.upload(&part.collect::<Vec<_>>(), &[&[range.len()], shape].concat())
        };
        let points = part(&self.points, &[d])?;
        let (values, jacobians) = (part(&self.values, &[k])?, part(&self.jacobians, &[k, d])?);
        Ok((Jets { points, values, jacobians }, Unchecked::nothing()))
    }

    fn center(&self) -> Result<Vec<f64>> {
        Ok(vec![0.0; self.shape[2]])
    }
}

fn random_table<S: Scalar>(rows: usize, width: usize, seed: u64) -> Table<S> {
    let mut rng = stream(seed, Stream::Search);
    Table::new(width, (0..rows * width).map(|_| S::of(rng.random_range(-1.0..2.0))).collect())
}

fn curvature(outputs: usize) -> Vec<Curvature> {
    (0..outputs).map(|k| Curvature { a: 1.0 + k as f64, b: 0.5 }).collect()
}

fn chosen(selection: &Selection, anchors: usize) -> Vec<u32> {
    match selection {
        Selection::All => (0..anchors as u32).collect(),
        Selection::Some(chosen) => chosen.clone(),
    }
}

/// Jets of a network of the digits at its first rows.
fn with_digits<R>(name: &str, rows: usize, f: impl FnOnce(&NetworkJets<'_, Cpu<f32>>) -> R) -> R {
    let path = format!("{}/assets/{name}.onnx", env!("CARGO_MANIFEST_DIR"));
    let program = load(path.as_ref(), &LoadOptions::default()).unwrap().network.compile(&Cpu::new()).unwrap();
    let normalization = Normalization { scale: Some(1.0 / 16.0), ..Normalization::default() };
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/digits.npz");
    let data = Dataset::open(data.as_ref(), &ReadOptions { key: None, normalization }).unwrap();
    f(&NetworkJets::new(&program, data.select_range(0..rows).unwrap(), (0..10).collect()).unwrap())
}

#[test]
fn subsets_of_a_seed_are_nested_and_of_two_seeds_differ() {
    let chosen = |pieces, seed| chosen(&Selection::random(pieces, 100, seed).unwrap(), 100);
    let (few, many) = (chosen(10, 7), chosen(40, 7));
    assert!(few.iter().all(|i| many.contains(i)) && few.is_sorted() && few.len() == 10);
    assert_ne!(chosen(10, 8), few);
    assert_eq!(Selection::random(100, 100, 7).unwrap(), Selection::All);
    assert!(Selection::random(0, 100, 7).is_err() && Selection::random(101, 100, 7).is_err());
    assert_eq!(Selection::of(vec![2, 0, 1], 3), Selection::All);
    assert_eq!(Selection::of(vec![2, 0], 3), Selection::Some(vec![0, 2]));
}

#[test]
fn names_are_read_back() {
    for method in Method::ALL {
        assert_eq!(method.to_string().parse::<Method>().unwrap(), method);
        assert_eq!(serde_json::to_string(&method).unwrap(), format!("\"{method}\""));
    }
    for features in Features::ALL {
        assert_eq!(features.to_string().parse::<Features>().unwrap(), features);
        assert_eq!(serde_json::to_string(&features).unwrap(), format!("\"{features}\""));
    }
    let error = "kmeans".parse::<Method>().unwrap_err();
    assert_eq!(error, "expected one of random, k-means, k-medoids, farthest, greedy, prune, genetic");
}

#[test]
fn blobs_are_found() {
    const BLOBS: usize = 6;
    let mut source = Given::random(Cpu::<f32>::new(), [BLOBS * 40, 1, 5], 3);
    for (i, row) in source.points.chunks_exact_mut(5).enumerate() {
        row.iter_mut().for_each(|x| *x *= 0.1);
        row[i % BLOBS % 5] += 10.0 * (1 + i % BLOBS) as f64;
    }
    for seed in 0..5 {
        let [found, upper] =
            clusters(Features::Inputs, &source, BLOBS, &curvature(1), seed, &Context::default()).unwrap();
        assert_eq!(found, upper);
        assert_eq!(found.sizes, [40; BLOBS]);
        for i in 0..BLOBS * 40 {
            assert_eq!(found.assignment[i], found.assignment[i % BLOBS], "seed {seed}, anchor {i}");
        }
        for (cluster, &medoid) in found.medoids.iter().enumerate() {
            assert_eq!(found.assignment[medoid as usize], cluster as u32);
        }
    }
}

/// The nearest centre by plain code, and by how much it wins relative to the distance of the second.
fn naive_nearest<S: Scalar>(centers: &[f64], row: &[S]) -> (u32, f64) {
    let squared = |c: &[f64]| c.iter().zip(row).map(|(c, x)| (x.f64() - c).powi(2)).sum::<f64>();
    let distances: Vec<f64> = centers.chunks_exact(row.len()).map(squared).collect();
    let mut order: Vec<usize> = (0..distances.len()).collect();
    order.sort_by(|&i, &j| distances[i].total_cmp(&distances[j]));
    (order[0] as u32, 1.0 - distances[order[0]] / distances[order[1]])
}

fn check_assignment<S: Scalar>(engine: &impl SplineEngine<Scalar = S>, tolerance: f64) {
    let (table, context) = (random_table::<S>(523, 7, 5), Context::default());
    let means = k_means(engine, &table, 13, 1, &context).unwrap();
    let assigned = |memory| {
        let context = Context::default().with_memory(memory);
        let centers: Vec<S> = means.means.iter().map(|&c| S::of(c)).collect();
        Assigner::new(engine, &table, 13, &context).unwrap().assign(&centers, &context).unwrap()
    };
    let (all, little) = (assigned(1 << 28), assigned(table.bytes() + (1 << 16) + engine.spline_scratch()));
    assert_eq!(all, little, "memory changes the result");
    let mut close = 0;
    for (i, &found) in all.iter().enumerate() {
        let (nearest, margin) = naive_nearest(&means.means, table.row(i));
        close += usize::from(margin < tolerance);
        assert!(found == nearest || margin < tolerance, "row {i}: {found} instead of {nearest}");
    }
    assert!(close < 5, "{close} ties: the test says nothing");
    // The rounds have settled, so means are those of the members.
    assert_eq!(means.assignment, all);
    for (mean, members) in means.means.chunks_exact(7).zip(members(&all, 13)) {
        for (f, mean) in mean.iter().enumerate() {
            let sum: f64 = members.iter().map(|&i| table.row(i as usize)[f].f64()).sum();
            assert!((sum / members.len() as f64 - mean).abs() < EXACT);
        }
    }
    for (&medoid, (mean, members)) in
        means.medoids(&table).iter().zip(means.means.chunks_exact(7).zip(means.members()))
    {
        let rows: Vec<f64> = members.iter().flat_map(|&i| table.row(i as usize)).map(|x| x.f64()).collect();
        assert_eq!(medoid, members[naive_nearest(&rows, mean).0 as usize]);
    }
}

#[test]
fn assignments_are_the_nearest_by_brute_force() {
    check_assignment(&Cpu::<f64>::new(), EXACT);
    check_assignment(&Cpu::<f32>::new(), CLOSE);
}

#[test]
fn equal_anchors_still_give_so_many_pieces() {
    let mut source = Given::random(Cpu::<f32>::new(), [50, 2, 3], 4);
    source.points = (0..150).map(|i| (i / 3 % 3) as f64).collect();
    source.jacobians = vec![0.0; 300];
    for method in Method::ALL {
        for features in [Features::Inputs, Features::Gradients, Features::Both] {
            let choice = Choice { method, features };
            let halves = select(&choice, &source, 10, &curvature(2), 1, &Context::default()).unwrap();
            halves.iter().for_each(|half| assert_eq!(chosen(half, 50).len(), 10, "{choice:?}"));
        }
    }
    let [found, _] = clusters(Features::Inputs, &source, 10, &curvature(2), 1, &Context::default()).unwrap();
    assert!(found.sizes.iter().all(|&size| size > 0) && found.sizes.iter().sum::<u32>() == 50);
}

#[test]
fn farthest_points_are_those_of_plain_code() {
    let table = random_table::<f64>(211, 9, 6);
    let found = farthest::farthest(&table, 40, &Context::default()).unwrap();
    let squared = |i: usize, j: usize| -> f64 {
        table.row(i).iter().zip(table.row(j)).map(|(x, y)| (x - y) * (x - y)).sum()
    };
    let norm = |i: &usize| table.row(*i).iter().map(|x| x * x).sum::<f64>();
    let mut expected = vec![(0..211).min_by(|i, j| norm(i).total_cmp(&norm(j))).unwrap()];
    while expected.len() < 40 {
        let distance = |i: &usize| expected.iter().map(|&j| squared(*i, j)).fold(f64::MAX, f64::min);
        let next = (0..211).rev().max_by(|i, j| distance(i).total_cmp(&distance(j))).unwrap();
        expected.push(next);
    }
    assert_eq!(found, expected.iter().map(|&i| i as u32).collect::<Vec<_>>());
}

#[test]
fn medoids_are_the_best_members_and_no_worse_than_those_of_means() {
    let (engine, context) = (Cpu::<f64>::new(), Context::default());
    let mut better = 0;
    for seed in 0..6 {
        // Skewed, so that the member nearest to the mean is not already the best.
        let random = random_table::<f64>(300, 6, seed);
        let table = Table::new(6, random.range(0..300).iter().map(|x| (1.5 * x).exp()).collect());
        let means = k_means(&engine, &table, 11, seed, &context).unwrap().medoids(&table);
        let medoids = medoids::k_medoids(&engine, &table, 11, seed, &context).unwrap();
        let distance = |i: usize, j: u32| table.between(i, j as usize).sqrt();
        let nearest = |medoids: &[u32], i: usize| {
            let order = |c: &usize, d: &usize| distance(i, medoids[*c]).total_cmp(&distance(i, medoids[*d]));
            (0..11).min_by(order).unwrap()
        };
        let cost =
            |medoids: &[u32]| -> f64 { (0..300).map(|i| distance(i, medoids[nearest(medoids, i)])).sum() };
        assert!(cost(&medoids) <= cost(&means), "{} and {}", cost(&medoids), cost(&means));
        better += usize::from(cost(&medoids) < 0.999 * cost(&means));
        for (cluster, &medoid) in medoids.iter().enumerate() {
            let members: Vec<usize> = (0..300).filter(|&i| nearest(&medoids, i) == cluster).collect();
            let sum = |i: u32| members.iter().map(|&j| distance(j, i)).sum::<f64>();
            members.iter().for_each(|&i| assert!(sum(i as u32) >= sum(medoid) - CLOSE, "cluster {cluster}"));
        }
    }
    assert!(better > 1, "means already give the best medoids: the test says little");
}

#[test]
fn sketches_keep_distances() {
    let source = Given::random(Cpu::<f32>::new(), [60, 5, 400], 9);
    let table = |features| tables(features, &source, &curvature(5), 3, &Context::default()).unwrap();
    let sketched = &table(Features::Gradients).distinct()[0].clone();
    assert_eq!(sketched.width(), 512);
    let (mut ratios, mut worst) = (vec![], 0.0_f64);
    for i in 0..60 {
        for j in 0..i {
            let [x, y] = [i, j].map(|i| &source.jacobians[i * 2000..][..2000]);
            let ratio = sketched.between(i, j) / squared_distance(x, y);
            worst = worst.max((ratio - 1.0).abs());
            ratios.push(ratio);
        }
    }
    let mean = ratios.iter().sum::<f64>() / ratios.len() as f64;
    assert!((mean - 1.0).abs() < 0.03 && worst < 0.3 && worst > 0.02, "mean {mean}, worst {worst}");
}

#[test]
fn features_are_what_they_are_called() {
    let source = Given::random(Cpu::<f64>::new(), [70, 3, 4], 10);
    let curvature = curvature(3);
    let context = Context::default().with_memory(400_000);
    let get = |features| tables(features, &source, &curvature, 3, &context).unwrap();
    let same = |table: &Table<f64>, expected: &dyn Fn(usize) -> Vec<f64>| {
        let expected = Table::new(table.width(), (0..70).flat_map(expected).collect());
        (0..70).all(|i| squared_distance(table.row(i), expected.row(i)) < EXACT)
    };
    let input = |i: usize| source.points[i * 4..][..4].to_vec();
    let gradient = |i: usize| source.jacobians[i * 12..][..12].to_vec();
    assert!(same(&get(Features::Inputs).distinct()[0], &input));
    assert!(same(&get(Features::Gradients).distinct()[0], &gradient));
    assert!(!same(&get(Features::Gradients).distinct()[0], &|i| gradient((i + 1) % 70)));
    let pieces = get(Features::Pieces);
    for (table, bend) in pieces.distinct().iter().zip([|c: &Curvature| c.a, |c: &Curvature| -c.b]) {
        let slope = |i: usize| -> Vec<f64> {
            let bent = curvature.iter().flat_map(|c| input(i).into_iter().map(move |x| bend(c) * x));
            gradient(i).iter().zip(bent).map(|(slope, bent)| slope + bent).collect()
        };
        assert!(same(table, &slope));
    }
    let both = get(Features::Both);
    for columns in [0..4, 4..16] {
        let rows = (0..70).map(|i| &both.distinct()[0].row(i)[columns.clone()]);
        let variance = rows.map(|row| row.iter().map(|x| x * x).sum::<f64>()).sum::<f64>() / 70.0;
        assert!((variance - 1.0).abs() < EXACT);
    }
}

/// So strong a curvature that each anchor is active at itself, and every other one a copy that never is.
#[test]
fn pruning_keeps_what_is_active() {
    let mut source = Given::random(Cpu::<f64>::new(), [60, 2, 3], 11);
    for (values, row) in [(&mut source.points, 3), (&mut source.values, 2), (&mut source.jacobians, 6)] {
        for pair in values.chunks_exact_mut(2 * row) {
            let (first, copy) = pair.split_at_mut(row);
            copy.copy_from_slice(first);
        }
    }
    let choice = Choice { method: Method::Prune, features: Features::Inputs };
    let strong = vec![Curvature::isotropic(1e6); 2];
    let [lower, upper] = select(&choice, &source, 30, &strong, 1, &Context::default()).unwrap();
    assert_eq!(chosen(&lower, 60), (0..30).map(|i| 2 * i).collect::<Vec<_>>());
    assert_eq!(lower, upper);
}

/// The mean squared error at all anchors.
fn error_at_anchors<E: SplineEngine>(
    source: &dyn JetSource<E>,
    halves: &[Selection; 2],
    curvature: &[Curvature],
) -> f64 {
    let (anchors, outputs) = (source.anchors(), source.outputs());
    let all: Vec<u32> = (0..anchors as u32).collect();
    let judge = Judge::new(source, curvature, &all, 0, &Context::default()).unwrap();
    let halves = halves.each_ref().map(|half| chosen(half, anchors));
    let mut sum = 0.0;
    judge
        .pass(&[&halves[0], &halves[1]], false, |judged| {
            let count = judged.range.len();
            for n in 0..count {
                sum += judge.squared_error(judged.range.start + n, |k| {
                    let low = judged.envelopes.lower[k * count + n].f64();
                    [low, judged.envelopes.upper[(outputs + k) * count + n].f64()]
                });
            }
        })
        .unwrap();
    sum / (anchors * outputs) as f64
}

#[test]
fn greedy_is_better_at_the_anchors_than_random() {
    with_digits("digits_sigmoid", 500, |source| {
        let curvature = vec![Curvature::isotropic(3.0); 10];
        let error = |method, seed| {
            let choice = Choice { method, features: Features::Inputs };
            let halves = select(&choice, source, 50, &curvature, seed, &Context::default()).unwrap();
            error_at_anchors(source, &halves, &curvature)
        };
        let mean = |method| (0..3).map(|seed| error(method, seed)).sum::<f64>() / 3.0;
        let (greedy, random) = (mean(Method::Greedy), mean(Method::Random));
        assert!(greedy < random, "{greedy} against {random}");
    });
}

#[test]
fn the_least_error_of_a_genetic_search_never_rises() {
    with_digits("digits_relu", 300, |source| {
        let curvature = vec![Curvature::isotropic(3.0); 10];
        let found = genetic(source, 30, &curvature, 5, &Context::default()).unwrap();
        assert!(found.history.is_sorted_by(|before, after| after <= before), "{:?}", found.history);
        assert!(found.history[20] < 0.95 * found.history[0], "{:?}", found.history);
        // All anchors were judged on, so the error is that of the spline, and the first subset is the random one.
        let error = |half: Selection| error_at_anchors(source, &[half.clone(), half], &curvature);
        let best = error(Selection::of(found.best, 300));
        assert!((best / found.history[20] - 1.0).abs() < CLOSE);
        assert!(best < error(Selection::random(30, 300, 5).unwrap()));
    });
}

#[test]
fn a_seed_gives_one_choice_whatever_the_memory() {
    with_digits("digits_sigmoid", 260, |source| {
        let curvature = vec![Curvature::isotropic(2.0); 10];
        for method in Method::ALL {
            for features in [Features::Inputs, Features::Pieces] {
                let choice = Choice { method, features };
                let select = |memory| {
                    let context = Context::default().with_memory(memory);
                    select(&choice, source, 40, &curvature, 9, &context).unwrap()
                };
                let halves = select(1 << 28);
                assert!(halves == select(1 << 28), "{choice:?} is not deterministic");
                assert!(halves == select(6 << 20), "{choice:?} depends on memory");
                halves.iter().for_each(|half| assert_eq!(chosen(half, 260).len(), 40));
                let own = !matches!(method, Method::Random | Method::Genetic | Method::Prune)
                    && features == Features::Pieces;
                assert_eq!(halves[0] != halves[1], own, "{choice:?}");
            }
        }
    });
}

#[test]
fn what_cannot_be_chosen_is_said_in_one_line() {
    let source = Given::random(Cpu::<f32>::new(), [30, 2, 3], 12);
    let (curvature, context) = (curvature(2), Context::default());
    let cancellation = Cancellation::default();
    let cancelled = context.clone().with_cancellation(cancellation.clone());
    cancellation.cancel();
    for method in Method::ALL {
        let choice = Choice { method, features: Features::Both };
        let select =
            |pieces, curvature: &[_], context: &_| select(&choice, &source, pieces, curvature, 1, context);
        for pieces in [0, 31] {
            let error = select(pieces, &curvature, &context).unwrap_err().to_string();
            assert_eq!(error, format!("{pieces} pieces cannot be chosen from 30 anchors: expected 1 to 30"));
        }
        assert_eq!(select(30, &curvature, &context).unwrap(), [Selection::All, Selection::All]);
        for pieces in [1, 2, 29] {
            let halves = select(pieces, &curvature, &context).unwrap();
            halves.iter().for_each(|half| assert_eq!(chosen(half, 30).len(), pieces, "{method}"));
        }
        if method != Method::Random {
            let short = select(5, &curvature[..1], &context);
            assert_eq!(matches!(short, Err(Error::Shape(_))), choice.needs_curvature(), "{method}");
            assert!(matches!(select(5, &curvature, &cancelled), Err(Error::Cancelled)), "{method}");
            let little = context.clone().with_memory(1000);
            let error = select(5, &curvature, &little).unwrap_err();
            assert!(matches!(error, Error::Memory { .. }), "{method}: {error}");
            assert!(!error.to_string().contains('\n'));
        }
    }
}
