//! Cases of products of power series.

use fenchel::engine::{ProductTable, SplineEngine};
use fenchel::tolerance::{CLOSE, relative_difference};
use fenchel::{Result, Scalar};

use super::{Case, difference, read, tensor, values};

/// A product by a random table, with terms that have no pair.
#[derive(Debug, Clone, Copy)]
struct SeriesProduct {
    /// Terms of both factors and of the product.
    terms: [usize; 3],
    units: usize,
    scale: bool,
}

impl SeriesProduct {
    fn table(&self) -> ProductTable {
        let [a, b, product] = self.terms;
        let mut table = ProductTable { starts: vec![0], pairs: vec![] };
        for t in 0..product {
            let pair = |i: usize| [((3 * t + 5 * i) % a) as u32, ((7 * t + 2 * i + 1) % b) as u32];
            table.pairs.extend((0..t * t % 5).map(pair));
            table.starts.push(table.pairs.len() as u32);
        }
        table
    }

    /// By the definition, in f64.
    fn brute(&self) -> Vec<f64> {
        let ([of_a, of_b, product], units) = (self.terms, self.units);
        let (a, b) = (values::<f64>(1, of_a * units), values::<f64>(2, of_b * units));
        let (scale, table) = (values::<f64>(3, units), self.table());
        let mut y = vec![0.0; product * units];
        for t in 0..product {
            for u in 0..units {
                let pairs = &table.pairs[table.starts[t] as usize..table.starts[t + 1] as usize];
                let sum: f64 =
                    pairs.iter().map(|&[i, j]| a[i as usize * units + u] * b[j as usize * units + u]).sum();
                let linear = if self.scale && t < of_a { scale[u] * a[t * units + u] } else { 0.0 };
                y[t * units + u] = linear + sum;
            }
        }
        y
    }
}

impl Case for SeriesProduct {
    fn run<E: SplineEngine>(&self, engine: &E) -> Result<Vec<f64>> {
        let [a, b, product] = self.terms;
        let (a, b) = (tensor(engine, 1, &[a, self.units]), tensor(engine, 2, &[b, self.units]));
        let scale = self.scale.then(|| tensor(engine, 3, &[1, self.units]));
        let y = engine.series_product(&a, &b, scale.as_ref(), &self.table())?;
        assert_eq!(y.shape(), [product, self.units]);
        let found = read(engine, &y)?;
        let off = relative_difference(found.iter().copied(), self.brute());
        assert!(off < CLOSE || E::Scalar::NAME == "f32", "{self:?}: {off:e}");
        Ok(found)
    }
}

pub(crate) fn check_all<E: SplineEngine>(engine: &E, check: &mut impl FnMut(String, f64, Result<f64>)) {
    for (terms, units) in [
        ([5, 4, 9], 1),
        ([3, 7, 40], 13),
        ([8, 2, 6], 32),
        ([20, 30, 300], 75),
        ([2, 3, 1], 1000),
        // No pairs at all.
        ([4, 1, 1], 9),
    ] {
        for scale in [false, true] {
            let case = SeriesProduct { terms, units, scale };
            check(format!("{case:?}"), CLOSE, difference(&case, engine));
        }
    }
}
