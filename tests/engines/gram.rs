//! Cases of Gram matrices out of factors.

use fenchel::Result;
use fenchel::engine::{Cpu, Factors, FactorsOf, SplineEngine};
use fenchel::tolerance::{EXACT, relative_difference};

use super::{Case, tensor, values};

/// The rows of two blocks of samples, in a matrix that is larger.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gram {
    /// Samples of both sides.
    pub samples: [usize; 2],
    pub groups: usize,
    pub positions: usize,
    /// Rows to a sample in the left and in the right factor, and their depths; no left factor where its depth is 0.
    pub repeats: [usize; 2],
    pub depths: [usize; 2],
    pub constant: bool,
    pub upper: bool,
}

/// Where the first product goes, and how much larger the matrix is than the products.
const AT: [usize; 2] = [3, 2];

impl Gram {
    fn shape(&self, side: usize, factor: usize) -> [usize; 5] {
        let &Self { samples, groups, positions, repeats, depths, .. } = self;
        [samples[side], repeats[factor], groups, positions, depths[factor]]
    }

    fn factors<E: SplineEngine>(&self, engine: &E, side: usize) -> FactorsOf<E> {
        let of = |factor: usize| {
            let seed = 1 + 2 * if self.upper { 0 } else { side } as u64 + factor as u64;
            tensor(engine, seed, &self.shape(side, factor))
        };
        let left = (self.depths[0] > 0).then(|| of(0));
        Factors { left, right: of(1), constant: self.constant }
    }

    fn all_repeats(&self) -> usize {
        self.repeats[0].max(self.repeats[1])
    }

    fn size(&self) -> [usize; 2] {
        [0, 1].map(|side| self.samples[side] * self.all_repeats() + AT[side])
    }

    /// By the definition, in f64.
    fn brute(&self) -> Vec<f64> {
        let element = |side: usize, factor: usize, row: usize, block: usize, i: usize| -> usize {
            let [_, repeats, groups, positions, depth] = self.shape(side, factor);
            let row = row / (self.all_repeats() / repeats);
            (row * groups * positions + block) * depth + i
        };
        let numbers = |side: usize, factor: usize| -> Vec<f64> {
            let seed = 1 + 2 * if self.upper { 0 } else { side } as u64 + factor as u64;
            values(seed, self.shape(side, factor).iter().product())
        };
        let all = [0, 1].map(|side| [0, 1].map(|factor| numbers(side, factor)));
        let dot = |factor: usize, [i, j]: [usize; 2], [p, q]: [usize; 2]| -> f64 {
            let term =
                |k| all[0][factor][element(0, factor, i, p, k)] * all[1][factor][element(1, factor, j, q, k)];
            (0..self.depths[factor]).map(term).sum()
        };
        let [rows, columns] = self.size();
        let mut gram = vec![0.0; rows * columns];
        for (i, j) in (0..rows - AT[0]).flat_map(|i| (0..columns - AT[1]).map(move |j| (i, j))) {
            for g in 0..self.groups {
                let positions = g * self.positions..(g + 1) * self.positions;
                for (p, q) in positions.clone().flat_map(|p| positions.clone().map(move |q| (p, q))) {
                    let constant = f64::from(u8::from(self.constant));
                    let left = if self.depths[0] > 0 { dot(0, [i, j], [p, q]) + constant } else { 1.0 };
                    gram[(i + AT[0]) * columns + j + AT[1]] += 2.0 * left * dot(1, [i, j], [p, q]);
                }
            }
        }
        self.kept(gram)
    }

    /// Without what may be left out.
    fn kept(&self, mut gram: Vec<f64>) -> Vec<f64> {
        let [_, columns] = self.size();
        for (at, value) in gram.iter_mut().enumerate() {
            let (i, j) = (at / columns, at % columns);
            if self.upper && i >= AT[0] && j >= AT[1] && j - AT[1] < i - AT[0] {
                *value = 0.0;
            }
        }
        gram
    }
}

impl Case for Gram {
    /// The products added twice.
    fn run<E: SplineEngine>(&self, engine: &E) -> Result<Vec<f64>> {
        use fenchel::Scalar;
        let [rows, columns] = self.size();
        let (x, y) = (self.factors(engine, 0), self.factors(engine, 1));
        let mut gram = engine.gram(rows, columns)?;
        for _ in 0..2 {
            engine.gram_add(&mut gram, (&x, AT[0]), (&y, AT[1]), self.upper)?;
        }
        Ok(self.kept(engine.gram_finish(gram)?.iter().map(|v| v.f64()).collect()))
    }
}

pub(super) const CASES: [Gram; 9] = {
    let plain = Gram {
        samples: [67, 45],
        groups: 1,
        positions: 1,
        repeats: [1, 1],
        depths: [35, 9],
        constant: true,
        upper: false,
    };
    [
        plain,
        Gram { depths: [601, 1], constant: false, ..plain },
        Gram { depths: [0, 37], constant: false, ..plain },
        Gram { samples: [19, 7], groups: 3, positions: 5, depths: [6, 2], ..plain },
        Gram { samples: [9, 11], positions: 3, repeats: [1, 4], depths: [7, 5], ..plain },
        Gram { samples: [9, 11], groups: 2, repeats: [3, 1], depths: [7, 5], constant: false, ..plain },
        Gram { samples: [1, 1], depths: [1, 1], ..plain },
        Gram { samples: [150, 150], upper: true, ..plain },
        // Enough tiles for large ones on a GPU.
        Gram { samples: [1030, 1025], depths: [3, 2], ..plain },
    ]
};

#[test]
fn gram_matrices_equal_the_definition() {
    for case in CASES {
        let found = case.run(&Cpu::<f64>::new()).unwrap();
        let difference = relative_difference(found, case.brute());
        assert!(difference < EXACT, "{case:?}: {difference:e}");
    }
}
