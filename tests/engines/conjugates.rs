//! Cases of the discrete conjugate on grids.

use fenchel::engine::{ConjugateValues, Cpu, SplineEngine};
use fenchel::tolerance::{CLOSE, EXACT, relative_difference};
use fenchel::{Result, Scalar};

use super::{Case, difference, values};

/// What a function on a grid is.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Random,
    Convex,
    /// Whole numbers on whole axes, so that maxima tie exactly, and part of the grid is outside the domain.
    Whole,
    /// Nothing is there but on two lines.
    Sparse,
}

#[derive(Debug, Clone, Copy)]
struct Conjugate {
    kind: Kind,
    points: &'static [usize],
    slopes: &'static [usize],
}

fn largest<S: Scalar>() -> S {
    S::max_value()
}

/// A function on a grid, and slopes.
struct Input {
    values: Vec<f64>,
    axes: Vec<Vec<f64>>,
    slopes: Vec<Vec<f64>>,
}

impl Conjugate {
    fn input(&self) -> Input {
        let whole = self.kind == Kind::Whole;
        // Not equidistant, but for whole numbers.
        let axis = |seed: u64, count: usize| -> Vec<f64> {
            let steps = values::<f64>(seed, count);
            let mut at = -3.0;
            let step =
                |v: f64| if whole { (v.abs() + 1.0).floor() } else { f64::from((0.1 + v.abs()) as f32) };
            steps
                .iter()
                .map(|&v| {
                    at = f64::from((at + step(v)) as f32);
                    at
                })
                .collect()
        };
        let axes: Vec<Vec<f64>> = self.points.iter().zip(10..).map(|(&n, seed)| axis(seed, n)).collect();
        let slopes: Vec<Vec<f64>> = self.slopes.iter().zip(20..).map(|(&m, seed)| axis(seed, m)).collect();
        let count = self.points.iter().product();
        let mut f: Vec<f64> = values(1, count);
        let last = self.points[self.points.len() - 1];
        for (i, f) in f.iter_mut().enumerate() {
            match self.kind {
                Kind::Random => *f *= 5.0,
                Kind::Whole if i % 7 == 3 => *f = f64::INFINITY,
                Kind::Whole => *f = (*f * 4.0).round(),
                Kind::Sparse if ![1, last / 2].contains(&(i % last)) => *f = f64::INFINITY,
                Kind::Sparse => {}
                Kind::Convex => {
                    let mut rest = i;
                    let squares = axes.iter().rev().map(|axis| {
                        let x = axis[rest % axis.len()];
                        rest /= axis.len();
                        x * x / 2.0
                    });
                    *f = f64::from(squares.sum::<f64>() as f32);
                }
            }
        }
        Input { values: f, axes, slopes }
    }

    fn run_on<E: SplineEngine>(&self, engine: &E) -> Result<ConjugateValues<E::Scalar>> {
        let Input { values, axes, slopes } = self.input();
        let of = |v: &f64| if v.is_finite() { E::Scalar::of(*v) } else { largest::<E::Scalar>() };
        let convert = |axes: &[Vec<f64>]| -> Vec<Vec<E::Scalar>> {
            axes.iter().map(|axis| axis.iter().map(of).collect()).collect()
        };
        let (axes, slopes) = (convert(&axes), convert(&slopes));
        let axes: Vec<&[E::Scalar]> = axes.iter().map(Vec::as_slice).collect();
        let slopes: Vec<&[E::Scalar]> = slopes.iter().map(Vec::as_slice).collect();
        let values = engine.upload(&values.iter().map(of).collect::<Vec<_>>(), self.points)?;
        engine.conjugate_finish(engine.conjugate(&values, &axes, &slopes)?)
    }

    /// By the definition: every slope with every point.
    fn brute(&self) -> (Vec<f64>, Vec<u32>) {
        let Input { values, axes, slopes } = self.input();
        let points = points(&axes);
        // The lowest index on the last axis wins, then on the one before.
        let mut order: Vec<usize> = (0..points.len()).collect();
        order.sort_by_key(|&i| {
            let mut rest = i;
            let digits = axes.iter().rev().map(|axis| {
                let digit = rest % axis.len();
                rest /= axis.len();
                digit
            });
            digits.collect::<Vec<_>>()
        });
        let best = |slope: &Vec<f64>| {
            let mut best = (f64::MIN, u32::MAX);
            for &i in &order {
                let score = slope.iter().zip(&points[i]).map(|(s, x)| s * x).sum::<f64>() - values[i];
                if score > best.0 {
                    best = (score, i as u32);
                }
            }
            best
        };
        self::points(&slopes).iter().map(best).unzip()
    }
}

/// The points of a grid, row-major.
fn points(axes: &[Vec<f64>]) -> Vec<Vec<f64>> {
    axes.iter().fold(vec![vec![]], |points: Vec<Vec<f64>>, axis| {
        points.iter().flat_map(|point| axis.iter().map(|&x| [&point[..], &[x]].concat())).collect()
    })
}

impl Case for Conjugate {
    /// Values; where numbers are whole, maximisers too.
    fn run<E: SplineEngine>(&self, engine: &E) -> Result<Vec<f64>> {
        let found = self.run_on(engine)?;
        let picks = if self.kind == Kind::Whole { &found.maximisers[..] } else { &[] };
        let values = found.values.iter().map(|v| v.f64());
        Ok(values.chain(picks.iter().map(|&i| f64::from(i))).collect())
    }
}

const SHAPES: [(&[usize], &[usize]); 9] = [
    (&[1], &[1]),
    (&[1], &[70]),
    (&[300], &[37]),
    (&[517], &[700]),
    (&[90, 70], &[33, 81]),
    (&[5, 130], &[67, 3]),
    (&[130, 7], &[2, 90]),
    (&[7, 5, 9], &[4, 11, 6]),
    (&[3, 4, 2, 5], &[5, 2, 3, 4]),
];

pub(super) fn check_all<E: SplineEngine>(engine: &E, check: &mut impl FnMut(String, f64, Result<f64>)) {
    for kind in [Kind::Random, Kind::Convex, Kind::Whole, Kind::Sparse] {
        for (points, slopes) in SHAPES {
            let case = Conjugate { kind, points, slopes };
            check(
                format!("{case:?}"),
                if kind == Kind::Whole { 0.0 } else { CLOSE },
                difference(&case, engine),
            );
        }
    }
}

#[test]
fn conjugates_equal_the_definition() {
    for kind in [Kind::Random, Kind::Convex, Kind::Whole, Kind::Sparse] {
        for (points, slopes) in SHAPES {
            let case = Conjugate { kind, points, slopes };
            let found = case.run_on(&Cpu::<f64>::new()).unwrap();
            let (expected, maximisers) = case.brute();
            assert!(found.maximisers == maximisers, "{case:?}");
            assert!(relative_difference(found.values, expected) < EXACT, "{case:?}");
        }
    }
}
