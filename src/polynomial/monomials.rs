//! Monomials in the published order, and which of them make which in products.

use std::ops::Range;

use crate::engine::ProductTable;

/// The monomials of some variables up to a total order, by degree and then lexicographically: the constant,
/// `1, 2, .., p, 1-1, 1-2, .., p-p, 1-1-1, ..` (NN2Poly's order).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Monomials {
    variables: usize,
    order: usize,
    /// `starts[d]` monomials have a degree below `d`, for `d` up to the order and one.
    starts: Vec<usize>,
    /// For each degree above 0 and each variable `c`: what the first variable `c` of a monomial adds to its number,
    /// counted without the constant, beyond the number of the monomial without it.
    steps: Vec<Vec<usize>>,
}

impl Monomials {
    /// Highest total order at most: a monomial's divisors are told apart by the bits of a mask.
    pub const MOST_ORDER: usize = 16;

    /// `None` where they are more than 2^31, or the order is above [`MOST_ORDER`](Self::MOST_ORDER).
    pub fn new(variables: usize, order: usize) -> Option<Self> {
        if order > Self::MOST_ORDER || Self::count(variables, order) > 1 << 31 {
            return None;
        }
        // left[d][c]: monomials of degree d in variables c and above.
        let left = |d: usize, c: usize| homogeneous(variables - c, d) as usize;
        let mut starts = vec![0, 1];
        (1..=order).for_each(|d| starts.push(starts[d] + left(d, 0)));
        let below = |d: usize| starts[d] - 1;
        let step = |d: usize, c: usize| {
            // Those of degree d that come before x_c times anything, and what of that holds for the rest already.
            let ahead = below(d) + left(d, 0) - left(d, c);
            let rest = if d == 1 { 0 } else { below(d - 1) + left(d - 1, 0) - left(d - 1, c) };
            ahead - rest
        };
        let steps = (1..=order).map(|d| (0..variables).map(|c| step(d, c)).collect()).collect();
        Some(Self { variables, order, starts, steps })
    }

    /// How many there are, `C(variables + order, order)`, or `u64::MAX` where that is more.
    pub fn count(variables: usize, order: usize) -> u64 {
        homogeneous(variables + 1, order)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.starts[self.order + 1]
    }

    /// Never: the constant is always there.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The total order.
    pub fn order(&self) -> usize {
        self.order
    }

    /// The number of variables.
    pub fn variables(&self) -> usize {
        self.variables
    }

    /// The numbers of those of a degree.
    pub fn of_degree(&self, degree: usize) -> Range<usize> {
        self.starts[degree]..self.starts[degree + 1]
    }

    /// The highest degree among the first `rows` ones after the constant.
    pub(super) fn degree_of(&self, rows: usize) -> usize {
        (0..=self.order).rfind(|&d| self.starts[d] - usize::from(d > 0) < rows).unwrap_or(0)
    }

    /// For monomials of degree `d` the number, among those of `d - 1`, of the first whose variables are all at least `c`.
    pub(super) fn tail(&self, d: usize, c: usize) -> usize {
        let lower = self.of_degree(d - 1);
        lower.len() - homogeneous(self.variables - c, d - 1) as usize
    }

    /// All of them, each as its variables (from 0 on) in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = Vec<usize>> + use<'_> {
        let mut cursor = Cursor { monomial: vec![], variables: self.variables };
        (0..self.len()).map(move |i| {
            if i > 0 {
                cursor.advance();
            }
            cursor.monomial.clone()
        })
    }

    /// Which terms make those of degrees `degrees` in the product of two series without constant terms, of degrees up to
    /// `a` and up to `b`. Terms of factors are counted without the constant.
    pub(super) fn products(&self, degrees: Range<usize>, a: usize, b: usize) -> ProductTable {
        let rows = self.starts[degrees.start]..self.starts[degrees.end];
        Products::new(self, degrees.start).take(rows.len(), a, b)
    }
}

/// Goes through monomials in order.
struct Cursor {
    monomial: Vec<usize>,
    variables: usize,
}

impl Cursor {
    fn advance(&mut self) {
        let last = self.variables - 1;
        match self.monomial.iter().rposition(|&c| c < last) {
            Some(at) => {
                let next = self.monomial[at] + 1;
                self.monomial[at..].fill(next);
            }
            None => self.monomial = vec![0; self.monomial.len() + 1],
        }
    }
}

/// Makes tables of products monomial by monomial, so that those of the highest degree need not be there at once.
pub(super) struct Products<'a> {
    monomials: &'a Monomials,
    next: Cursor,
    /// The number of each divisor, by the mask of its variables' positions.
    numbers: Vec<u32>,
}

impl<'a> Products<'a> {
    /// From the first monomial of a degree on.
    pub(super) fn new(monomials: &'a Monomials, degree: usize) -> Self {
        let next = Cursor { monomial: vec![0; degree], variables: monomials.variables };
        Self { monomials, next, numbers: vec![] }
    }

    /// The table of so many further monomials, for factors of degrees up to `a` and up to `b`.
    pub(super) fn take(&mut self, count: usize, a: usize, b: usize) -> ProductTable {
        let mut table = ProductTable { starts: Vec::with_capacity(count + 1), pairs: vec![] };
        table.starts.push(0);
        for i in 0..count {
            if i == 1 {
                table.pairs.reserve(table.pairs.len() * count);
            }
            self.pairs(a, b, &mut table.pairs);
            table.starts.push(table.pairs.len() as u32);
            self.next.advance();
        }
        table
    }

    /// The pairs of the monomial at hand.
    #[inline]
    fn pairs(&mut self, a: usize, b: usize, pairs: &mut Vec<[u32; 2]>) {
        let (monomial, steps) = (&self.next.monomial[..], &self.monomials.steps);
        let degree = monomial.len();
        let full = (1_usize << degree) - 1;
        self.numbers.resize(full + 1, 0);
        let mut repeats = 0;
        for k in 1..degree {
            repeats |= usize::from(monomial[k] == monomial[k - 1]) << k;
        }
        // The least variable is the lowest bit: without it a mask is one that was there before.
        for mask in 1..=full {
            let least = monomial[mask.trailing_zeros() as usize];
            let size = mask.count_ones() as usize;
            self.numbers[mask] = (self.numbers[mask & (mask - 1)] as usize + steps[size - 1][least]) as u32;
        }
        for mask in 1..full {
            let size = mask.count_ones() as usize;
            // Of equal variables the first ones are taken, so that each divisor comes once.
            let is_first = mask & repeats & !(mask << 1) == 0;
            if is_first && size <= a && degree - size <= b {
                pairs.push([self.numbers[mask], self.numbers[full ^ mask]]);
            }
        }
    }
}

/// Monomials of exactly this degree, `C(variables + degree - 1, degree)`, or `u64::MAX`.
fn homogeneous(variables: usize, degree: usize) -> u64 {
    if variables == 0 {
        return u64::from(degree == 0);
    }
    let mut count: u128 = 1;
    for i in 1..=degree as u128 {
        count = count * (variables as u128 - 1 + i) / i;
        if count > u128::from(u64::MAX) {
            return u64::MAX;
        }
    }
    count as u64
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn the_order_is_the_published_one() {
        let monomials = Monomials::new(3, 2).unwrap();
        let all: Vec<Vec<usize>> = monomials.iter().collect();
        let expected: [&[usize]; 10] =
            [&[], &[0], &[1], &[2], &[0, 0], &[0, 1], &[0, 2], &[1, 1], &[1, 2], &[2, 2]];
        assert_eq!(all, expected);
        assert_eq!((monomials.len(), monomials.of_degree(2)), (10, 4..10));
        assert_eq!((monomials.degree_of(3), monomials.degree_of(9), monomials.degree_of(0)), (1, 2, 0));
        assert_eq!(Monomials::count(784, 3), 80_931_145);
        assert!(Monomials::new(784, 5).is_none() && Monomials::new(1, 17).is_none());
    }

    /// Against products of all pairs of monomials, sorted and looked up.
    #[test]
    fn tables_hold_every_factorisation_once() {
        for (variables, order, a, b) in [(3, 4, 3, 3), (2, 5, 4, 2), (1, 6, 5, 5), (5, 3, 1, 2), (4, 3, 2, 1)]
        {
            let monomials = Monomials::new(variables, order).unwrap();
            let all: Vec<Vec<usize>> = monomials.iter().collect();
            let number: HashMap<&[usize], usize> = all.iter().enumerate().map(|(i, m)| (&m[..], i)).collect();
            let table = monomials.products(1..order + 1, a, b);
            assert_eq!(table.terms(), all.len() - 1);
            let mut expected = vec![vec![]; all.len()];
            for (i, one) in all.iter().enumerate().skip(1).filter(|(_, one)| one.len() <= a) {
                for (j, other) in all.iter().enumerate().skip(1).filter(|(_, other)| other.len() <= b) {
                    let mut product = [&one[..], other].concat();
                    product.sort_unstable();
                    if let Some(&t) = number.get(&product[..]) {
                        expected[t].push([i as u32 - 1, j as u32 - 1]);
                    }
                }
            }
            for t in 1..all.len() {
                let mut found = table.pairs_of(t - 1).to_vec();
                found.sort_unstable();
                assert_eq!(found, expected[t], "{:?}", all[t]);
            }
        }
    }
}
