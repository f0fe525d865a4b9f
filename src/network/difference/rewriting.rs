//! What rules for pairs of convex functions are made of.

use crate::activation::AffinePiece;
use crate::engine::{Activation, Arithmetic};
use crate::network::operators::{ArithmeticConstant, Branches, Expand, Fixed};
use crate::network::{Constant, Network, Node, Op};
use crate::{Error, Result};

use super::{Pair, Part};

/// A linear operator with its weights split by sign.
pub(in crate::network) struct SignedOp {
    /// The operator as it is, with its shift.
    pub whole: Op,
    /// The weights above 0 and minus those below, without the shift; `None` where there are none.
    pub signed: [Option<Op>; 2],
    /// The shift, aligned with the last axes of an output sample.
    pub shift: Option<Constant>,
}

impl SignedOp {
    /// From weights, and what makes an operator of some.
    pub(in crate::network) fn new(
        whole: Op,
        weights: &Constant,
        shift: Option<Constant>,
        make: impl Fn(Constant) -> Result<Op>,
    ) -> Result<Self> {
        let [plus, minus] = signed(weights)?;
        Ok(Self { whole, signed: [plus.map(&make).transpose()?, minus.map(&make).transpose()?], shift })
    }
}

/// What is above 0, and minus what is below; `None` where there is nothing.
fn signed(values: &Constant) -> Result<[Option<Constant>; 2]> {
    let part = |sign: f64| -> Result<Option<Constant>> {
        // A negative zero is none.
        let part = values.map(|_, v| if sign * v > 0.0 { sign * v } else { 0.0 })?;
        Ok(part.to::<f64>().iter().any(|&v| v > 0.0).then_some(part))
    };
    Ok([part(1.0)?, part(-1.0)?])
}

/// The network of pairs while it is made, at one node of the network that it is made of.
#[derive(Debug)]
pub struct Rewriting {
    pub(super) network: Network,
    /// The node's name.
    label: String,
    /// The shapes of its inputs, for one sample.
    shapes: Vec<Vec<usize>>,
    /// The shape of its value.
    shape: Vec<usize>,
}

impl Rewriting {
    /// From a network without nodes.
    pub(super) fn new(network: Network) -> Self {
        Self { network, label: String::new(), shapes: vec![], shape: vec![] }
    }

    /// The shape of an input of the node, for one sample.
    pub(in crate::network) fn input_shape(&self, i: usize) -> &[usize] {
        &self.shapes[i]
    }

    /// Goes on to a node.
    pub(super) fn at(&mut self, node: &Node, network: &Network) {
        self.label.clone_from(&node.value);
        self.shapes = node.inputs.iter().map(|&i| network.nodes[i].shape.clone()).collect();
        self.shape.clone_from(&node.shape);
    }

    /// An input of the graph, as it is.
    pub(super) fn input(&mut self, node: &Node) -> Pair {
        let i = self.network.nodes.len();
        self.network.nodes.push(node.clone());
        self.network.names.insert(node.value.clone(), i);
        Pair { convex: Some(Part { node: i, affine: true }), subtracted: None }
    }

    /// What does not depend on the input, as it is.
    pub(in crate::network) fn alone(&mut self, op: &Op, inputs: &[Pair]) -> Result<Pair> {
        let inputs: Vec<usize> = inputs.iter().filter_map(|pair| pair.convex).map(|part| part.node).collect();
        Ok(Pair {
            convex: Some(Part { node: self.push(op.clone(), &inputs)?, affine: true }),
            subtracted: None,
        })
    }

    /// Adds a node on top of others.
    fn push(&mut self, op: Op, inputs: &[usize]) -> Result<usize> {
        let shapes: Vec<&[usize]> = inputs.iter().map(|&i| self.network.nodes[i].shape()).collect();
        let shape = op.operator().shape(&shapes)?;
        let count = self.network.nodes.len();
        let name = self.network.free_name(&format!("{} [{count}]", self.label));
        Ok(self.network.push(name, op, inputs.to_vec(), shape))
    }

    /// Gives a node its final name.
    pub(super) fn rename(&mut self, i: usize, name: &str) {
        let name = self.network.free_name(name);
        let node = &mut self.network.nodes[i];
        self.network.names.remove(&node.value);
        (node.name, node.value) = (name.clone(), name.clone());
        self.network.names.insert(name, i);
    }

    fn zero(&mut self, shape: &[usize]) -> Result<Part> {
        let value = Constant::f64(shape, vec![0.0; shape.iter().product()])?;
        Ok(Part { node: self.push(Op::Fixed(Fixed { value }), &[])?, affine: true })
    }

    /// The part, or zeros in the shape of the output.
    pub(super) fn or_zero(&mut self, part: Option<Part>) -> Result<Part> {
        let shape = self.shape.clone();
        part.map_or_else(|| self.zero(&shape), Ok)
    }

    fn constant(&mut self, operation: Arithmetic, part: Part, constant: Constant) -> Result<Part> {
        let op = ArithmeticConstant { operation, constant, reversed: false };
        Ok(Part { node: self.push(Op::ArithmeticConstant(op), &[part.node])?, ..part })
    }

    fn branches(&mut self, operation: Arithmetic, a: Part, b: Part) -> Result<usize> {
        self.push(Op::Branches(Branches { operation }), &[a.node, b.node])
    }

    fn add(&mut self, a: Option<Part>, b: Part) -> Result<Part> {
        let Some(a) = a else { return Ok(b) };
        Ok(Part { node: self.branches(Arithmetic::Add, a, b)?, affine: a.affine && b.affine })
    }

    /// Both parts under the shape of the output, where one was not broadcast with the other.
    fn fitted(&mut self, pair: Pair) -> Result<Pair> {
        let mut fit = |part: Part| -> Result<Part> {
            let shape = self.shape.clone();
            if self.network.nodes[part.node].shape == shape {
                return Ok(part);
            }
            Ok(Part { node: self.push(Op::Expand(Expand { shape }), &[part.node])?, ..part })
        };
        Ok(Pair {
            convex: pair.convex.map(&mut fit).transpose()?,
            subtracted: pair.subtracted.map(&mut fit).transpose()?,
        })
    }

    /// Of an operator that is linear with no weight below 0: it acts on both parts alike.
    ///
    /// # Errors
    /// As [`ConvexRule::pair`](super::ConvexRule::pair).
    pub fn alike(&mut self, op: &Op, input: Pair) -> Result<Pair> {
        let mut on =
            |part: Part| -> Result<Part> { Ok(Part { node: self.push(op.clone(), &[part.node])?, ..part }) };
        let [convex, subtracted] = input.sides();
        Ok(Pair {
            convex: convex.map(&mut on).transpose()?,
            subtracted: subtracted.map(&mut on).transpose()?,
        })
    }

    /// Of a linear operator and a shift: with `A = A+ - A-` the convex part is `A+ convex + A- subtracted + shift`, the
    /// subtracted one `A- convex + A+ subtracted`.
    pub(in crate::network) fn linear(&mut self, op: SignedOp, input: Pair) -> Result<Pair> {
        let SignedOp { whole, signed: [plus, minus], mut shift } = op;
        let mut sums: [Option<Part>; 2] = [None, None];
        let mut terms = vec![];
        match input.convex {
            Some(part) if part.affine => {
                sums[0] = Some(Part { node: self.push(whole, &[part.node])?, affine: true });
                shift = None;
            }
            Some(part) => terms.extend([(0, &plus, part), (1, &minus, part)]),
            None => {}
        }
        if let Some(part) = input.subtracted {
            terms.extend([(0, &minus, part), (1, &plus, part)]);
        }
        for (side, op, part) in terms {
            let Some(op) = op else { continue };
            let mut term = Part { node: self.push(op.clone(), &[part.node])?, affine: false };
            // Right behind the product it is folded into when the network is compiled.
            if side == 0
                && let Some(shift) = shift.take()
            {
                term = self.constant(Arithmetic::Add, term, shift)?;
            }
            sums[side] = Some(self.add(sums[side], term)?);
        }
        let [convex, subtracted] = sums;
        self.shifted(Pair { convex, subtracted }, shift)
    }

    /// The pair plus a constant.
    fn shifted(&mut self, mut pair: Pair, shift: Option<Constant>) -> Result<Pair> {
        if let Some(shift) = shift.filter(|shift| shift.to::<f64>().iter().any(|&v| v != 0.0)) {
            let convex = self.or_zero(pair.convex)?;
            pair.convex = Some(self.constant(Arithmetic::Add, convex, shift)?);
        }
        Ok(pair)
    }

    /// The sum of factors times parts, and of a shift: what is convex goes to the side of its factor's sign, what is
    /// affine to the convex one. Factors and shift are aligned with the last axes of an output sample.
    fn sum(&mut self, terms: Vec<(Constant, Part)>, shift: Option<Constant>) -> Result<Pair> {
        let mut merged: Vec<(Constant, Part)> = vec![];
        for (factor, part) in terms {
            match merged.iter_mut().find(|(of, other)| *other == part && of.shape() == factor.shape()) {
                // Equal terms of either sign would otherwise grow both sides.
                Some((sum, _)) => {
                    let factor = factor.to::<f64>();
                    *sum = sum.map(|i, v| v + factor[i])?;
                }
                None => merged.push((factor, part)),
            }
        }
        let mut sums: [Option<Part>; 2] = [None, None];
        for (factor, part) in merged {
            let split = if part.affine {
                let zero = factor.to::<f64>().iter().all(|&v| v == 0.0);
                [(!zero).then_some(factor), None]
            } else {
                signed(&factor)?
            };
            for (sum, factor) in sums.iter_mut().zip(split) {
                let Some(factor) = factor else { continue };
                let one = factor.to::<f64>().iter().all(|&v| v == 1.0);
                let term = if one { part } else { self.constant(Arithmetic::Mul, part, factor)? };
                *sum = Some(self.add(*sum, term)?);
            }
        }
        let [convex, subtracted] = sums;
        let pair = self.shifted(Pair { convex, subtracted }, shift)?;
        self.fitted(pair)
    }

    /// `factor * value + shift`, elementwise.
    ///
    /// # Errors
    /// As [`ConvexRule::pair`](super::ConvexRule::pair).
    pub fn scaled(&mut self, input: Pair, factor: &Constant, shift: Option<Constant>) -> Result<Pair> {
        self.sum(input.terms(factor)?, shift)
    }

    /// The sum of two values, each counted so many times, with broadcasting.
    ///
    /// # Errors
    /// As [`ConvexRule::pair`](super::ConvexRule::pair).
    pub fn added(&mut self, inputs: [(f64, Pair); 2]) -> Result<Pair> {
        let [first, second] = inputs.map(|(factor, pair)| pair.terms(&Constant::from(factor)));
        self.sum([first?, second?].concat(), None)
    }

    /// An elementwise function of affine `pieces` that join, ascending.
    ///
    /// With the slopes `s_0 .. s_m`, the kinks `k_j` between them, `b` the offset of the last piece and `u = p - n` it
    /// is `s_0 p - s_m n + sum of (s_j - s_(j-1)) max(p, n + k_j) + b`, each term on the side of its sign.
    /// At a kink the maximum takes the piece below, as the function does.
    ///
    /// # Errors
    /// As [`ConvexRule::pair`](super::ConvexRule::pair); [`Error::Argument`] without a piece.
    pub fn elementwise(&mut self, whole: Op, pieces: &[AffinePiece], input: Pair) -> Result<Pair> {
        let slopes: Vec<Constant> = pieces.iter().map(|piece| Constant::from(piece.slope)).collect();
        let kinks: Vec<f64> = pieces.iter().skip(1).map(|piece| piece.from).collect();
        let Some(last) = pieces.last() else {
            return Err(Error::Argument("a piecewise affine function has at least one piece".to_owned()));
        };
        self.bent(whole, &slopes, &kinks, last.offset, input)
    }

    /// As [`elementwise`](Self::elementwise), with slopes that may differ between elements (aligned with the last axes
    /// of a sample).
    pub(in crate::network) fn bent(
        &mut self,
        whole: Op,
        slopes: &[Constant],
        kinks: &[f64],
        offset: f64,
        input: Pair,
    ) -> Result<Pair> {
        let numbers: Vec<Vec<f64>> = slopes.iter().map(Constant::to).collect();
        let ascends = |pair: &[Vec<f64>]| pair[0].iter().zip(&pair[1]).all(|(below, above)| below <= above);
        match input {
            // A convex function of something affine is convex, a convex one that never falls also of something convex.
            Pair { convex: Some(part), subtracted: None }
                if numbers.windows(2).all(ascends)
                    && (part.affine || numbers[0].iter().all(|&s| s >= 0.0)) =>
            {
                let affine = part.affine && slopes.len() == 1;
                let convex = Some(Part { node: self.push(whole, &[part.node])?, affine });
                return Ok(Pair { convex, subtracted: None });
            }
            _ => {}
        }
        let (first, last) = (&slopes[0], &slopes[slopes.len() - 1]);
        let mut terms = Pair { convex: input.convex, subtracted: None }.terms(first)?;
        terms.extend(Pair { convex: None, subtracted: input.subtracted }.terms(last)?);
        let convex = self.or_zero(input.convex)?;
        for (&kink, pair) in kinks.iter().zip(numbers.windows(2)) {
            let node = match input.subtracted {
                None if kink == 0.0 => self.push(Op::Activation(Activation::Relu), &[convex.node])?,
                None => {
                    let above = Activation::Clip { low: kink, high: f64::INFINITY };
                    self.push(Op::Activation(above), &[convex.node])?
                }
                Some(part) => {
                    let part = match kink {
                        0.0 => part,
                        _ => self.constant(Arithmetic::Add, part, Constant::from(kink))?,
                    };
                    // Of equal branches the first counts.
                    self.branches(Arithmetic::Max, part, convex)?
                }
            };
            let jumps = pair[0].iter().zip(&pair[1]).map(|(below, above)| above - below).collect();
            let jumps = Constant::f64(slopes[0].shape(), jumps)?;
            terms.push((jumps, Part { node, affine: false }));
        }
        self.sum(terms, Some(Constant::from(offset)))
    }

    /// The larger of two values, the first where they are equal, with broadcasting:
    /// `max(p - n, q - m) = max(p + m, q + n) - (n + m)`.
    ///
    /// # Errors
    /// As [`ConvexRule::pair`](super::ConvexRule::pair).
    pub fn larger(&mut self, first: Pair, second: Pair) -> Result<Pair> {
        let mut sum = |a: Option<Part>, b: Option<Part>| match (a, b) {
            (a, Some(b)) => self.add(a, b).map(Some),
            (a, None) => Ok(a),
        };
        let left = sum(first.convex, second.subtracted)?;
        let right = sum(second.convex, first.subtracted)?;
        let subtracted = sum(first.subtracted, second.subtracted)?;
        let (left, right) = (self.or_zero(left)?, self.or_zero(right)?);
        let node = self.branches(Arithmetic::Max, left, right)?;
        self.fitted(Pair { convex: Some(Part { node, affine: false }), subtracted })
    }

    /// The smaller of two values, the first where they are equal: minus the larger of their negatives.
    ///
    /// # Errors
    /// As [`ConvexRule::pair`](super::ConvexRule::pair).
    pub fn smaller(&mut self, first: Pair, second: Pair) -> Result<Pair> {
        let minus = Constant::from(-1.0);
        let (first, second) = (self.scaled(first, &minus, None)?, self.scaled(second, &minus, None)?);
        let larger = self.larger(first, second)?;
        self.scaled(larger, &minus, None)
    }

    /// Of an operator that takes maxima of elements, where `sum` adds the same ones:
    /// `max_i (p_i - n_i) = [max_i (p_i - n_i) + sum_i n_i] - sum_i n_i`, in brackets a maximum of convex functions
    /// `p_i + sum_(j != i) n_j`.
    ///
    /// # Errors
    /// As [`ConvexRule::pair`](super::ConvexRule::pair).
    pub fn largest(&mut self, whole: &Op, sum: &Op, input: Pair) -> Result<Pair> {
        let Some(subtracted) = input.subtracted else {
            let Some(convex) = input.convex else { return Ok(input) };
            let node = self.push(whole.clone(), &[convex.node])?;
            return Ok(Pair { convex: Some(Part { node, affine: false }), subtracted: None });
        };
        let of_inputs = self.shapes[0].clone();
        let convex = input.convex.map_or_else(|| self.zero(&of_inputs), Ok)?;
        let value = self.branches(Arithmetic::Sub, convex, subtracted)?;
        let largest = Part { node: self.push(whole.clone(), &[value])?, affine: false };
        let sum = Part { node: self.push(sum.clone(), &[subtracted.node])?, affine: false };
        let convex = self.add(Some(largest), sum)?;
        Ok(Pair { convex: Some(convex), subtracted: Some(sum) })
    }

    /// A constant as a pair.
    pub(in crate::network) fn fixed(&mut self, value: &Constant) -> Result<Pair> {
        let node = self.push(Op::Fixed(Fixed { value: value.clone() }), &[])?;
        Ok(Pair { convex: Some(Part { node, affine: true }), subtracted: None })
    }

    /// Of an operator that only moves elements and sets others: `convex` what it does to the one part, `subtracted` to
    /// the other; zeros stand in for a part that is zero where `inputs` have both.
    ///
    /// # Errors
    /// As [`ConvexRule::pair`](super::ConvexRule::pair).
    pub fn moved(&mut self, ops: [&Op; 2], inputs: &[Pair]) -> Result<Pair> {
        let shapes = self.shapes.clone();
        let mut sides = [None, None];
        for (side, op) in ops.into_iter().enumerate() {
            let parts: Vec<Option<Part>> = inputs.iter().map(|pair| pair.sides()[side]).collect();
            if side == 1 && parts.iter().all(Option::is_none) {
                continue;
            }
            let mut nodes = vec![];
            let mut affine = true;
            for (part, shape) in parts.into_iter().zip(&shapes) {
                let part = part.map_or_else(|| self.zero(shape), Ok)?;
                affine &= part.affine;
                nodes.push(part.node);
            }
            sides[side] = Some(Part { node: self.push(op.clone(), &nodes)?, affine });
        }
        let [convex, subtracted] = sides;
        Ok(Pair { convex, subtracted })
    }
}
