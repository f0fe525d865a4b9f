//! Splines that a file holds as the largest of some lines plus the smallest of others, as
//! [`with_splines`](super::with_splines) writes them: read as what they are, one operator with one code for each unit.

use std::collections::HashMap;

use crate::activation::{Piece, PiecewiseAffine};
use crate::engine::Arithmetic;
use crate::network::operators::{ArithmeticConstant, Branches, ReduceMax};
use crate::network::{Network, Node, Op};

/// A spline, of the value of a node, and the nodes that computed it.
struct Spline {
    function: PiecewiseAffine,
    input: usize,
    within: Vec<usize>,
}

/// The network with such sums as [`PiecewiseAffine`] nodes; nodes that nobody uses any more are left out.
pub(super) fn read(mut network: Network) -> Network {
    let mut within = vec![];
    for i in 0..network.nodes.len() {
        let Some(spline) = spline(&network.nodes, i) else { continue };
        // The sum is of a column; behind it the axes come back, where there are several.
        let shape = network.nodes[spline.input].shape.clone();
        let back = |node: &Node| {
            node.inputs == [i] && matches!(node.op, Some(Op::Reshape(_))) && node.shape == shape
        };
        let end = if network.nodes[i].shape == shape { Some(i) } else { network.nodes.iter().position(back) };
        let Some(end) = end else { continue };
        let node = &mut network.nodes[end];
        (node.op, node.inputs) = (Some(Op::PiecewiseAffine(spline.function)), vec![spline.input]);
        // The sum stands for the activation, whose name is a further one of it.
        if let Some(name) = node.name.strip_suffix("/spline/sum").map(str::to_owned)
            && network.names.get(&name) == Some(&end)
        {
            node.name.clone_from(&name);
            node.value = name;
        }
        within.extend(spline.within);
        within.push(i);
    }
    without(network, within)
}

/// The spline that node `i` adds up.
fn spline(nodes: &[Node], i: usize) -> Option<Spline> {
    let (Some(Op::Branches(Branches { operation: Arithmetic::Add })), &[a, b]) =
        (&nodes[i].op, &nodes[i].inputs[..])
    else {
        return None;
    };
    let mut within = vec![a, b];
    let (column, convex) = lines(nodes, maximum(nodes, a)?, &mut within)?;
    let inner = negated(nodes, b)?;
    let turned = maximum(nodes, inner)?;
    within.extend([inner, turned]);
    let (other, concave) = lines(nodes, negated(nodes, turned)?, &mut within)?;
    let is_column = matches!(nodes[column].op, Some(Op::Reshape(_)));
    if other != column || !is_column {
        return None;
    }
    within.push(column);
    let negative: Vec<[f64; 2]> = concave.iter().map(|line| line.map(|v| -v)).collect();
    let function = envelope(&convex, 1.0)?.plus(&envelope(&negative, -1.0)?);
    Some(Spline { function, input: nodes[column].inputs[0], within })
}

/// What node `i` takes the largest element of each row of.
fn maximum(nodes: &[Node], i: usize) -> Option<usize> {
    match (&nodes[i].op, &nodes[i].inputs[..]) {
        (Some(Op::ReduceMax(ReduceMax { axes, keep: false })), &[rows])
            if axes[..] == [1] && nodes[rows].shape.len() == 2 =>
        {
            Some(rows)
        }
        _ => None,
    }
}

/// What node `i` changes the sign of.
fn negated(nodes: &[Node], i: usize) -> Option<usize> {
    let (rows, values) = constant(nodes, i, Arithmetic::Mul)?;
    values.iter().all(|&v| v == -1.0).then_some(rows)
}

/// The column `u [n, 1]` of which node `i` is lines `[n, P]`, and their slopes and offsets.
fn lines(nodes: &[Node], i: usize, within: &mut Vec<usize>) -> Option<(usize, Vec<[f64; 2]>)> {
    let (products, offsets) = constant(nodes, i, Arithmetic::Add)?;
    let (column, slopes) = constant(nodes, products, Arithmetic::Mul)?;
    let (&[n, 1], &[rows, count]) = (&nodes[column].shape[..], &nodes[i].shape[..]) else { return None };
    within.extend([i, products]);
    let fits = rows == n && slopes.len() == count && offsets.len() == count;
    fits.then(|| (column, slopes.into_iter().zip(offsets).map(|(slope, offset)| [slope, offset]).collect()))
}

/// What node `i` adds a constant row to, or multiplies with one.
fn constant(nodes: &[Node], i: usize, wanted: Arithmetic) -> Option<(usize, Vec<f64>)> {
    match (&nodes[i].op, &nodes[i].inputs[..]) {
        (Some(Op::ArithmeticConstant(ArithmeticConstant { operation, constant, .. })), &[from])
            if *operation == wanted && constant.shape().last().is_none_or(|&last| last == constant.len()) =>
        {
            Some((from, constant.to()))
        }
        _ => None,
    }
}

/// `sign` times the largest of lines `[slope, offset]`; those that never are the largest are left out.
fn envelope(lines: &[[f64; 2]], sign: f64) -> Option<PiecewiseAffine> {
    let mut lines = lines.to_vec();
    lines.sort_by(|a, b| a[0].total_cmp(&b[0]).then(b[1].total_cmp(&a[1])));
    lines.dedup_by(|later, first| later[0] == first[0]);
    let crossing = |a: &[f64; 2], b: &[f64; 2]| (a[1] - b[1]) / (b[0] - a[0]);
    let mut kept: Vec<[f64; 2]> = vec![];
    let mut knots: Vec<f64> = vec![];
    for line in lines {
        while let Some(last) = kept.last() {
            let knot = crossing(last, &line);
            if knots.last().is_none_or(|&before| knot > before) {
                knots.push(knot);
                break;
            }
            kept.pop();
            knots.pop();
        }
        kept.push(line);
    }
    let first = knots.first().copied().unwrap_or(0.0);
    let piece = |(i, &[slope, offset]): (usize, &[f64; 2])| {
        let at = if i == 0 { first } else { knots[i - 1] };
        Piece { at, value: sign * (slope * at + offset), slope: sign * slope }
    };
    let table = kept.iter().enumerate().map(piece).collect();
    PiecewiseAffine::new(knots, table).ok()
}

/// The network without those of some nodes that nobody uses.
fn without(network: Network, mut candidates: Vec<usize>) -> Network {
    let Network { nodes, mut outputs, names } = network;
    let mut users = vec![0_usize; nodes.len()];
    nodes.iter().flat_map(|node| &node.inputs).chain(&outputs).for_each(|&i| users[i] += 1);
    let mut dropped = vec![false; nodes.len()];
    candidates.sort_unstable();
    candidates.dedup();
    for i in candidates.into_iter().rev() {
        if users[i] == 0 {
            dropped[i] = true;
            nodes[i].inputs.iter().for_each(|&j| users[j] -= 1);
        }
    }
    let mut position = HashMap::new();
    let mut kept = vec![];
    for (i, node) in nodes.into_iter().enumerate().filter(|(i, _)| !dropped[*i]) {
        position.insert(i, kept.len());
        kept.push(node);
    }
    kept.iter_mut().flat_map(|node| &mut node.inputs).for_each(|i| *i = position[i]);
    outputs.iter_mut().for_each(|i| *i = position[i]);
    let names = names.into_iter().filter_map(|(name, i)| position.get(&i).map(|&i| (name, i))).collect();
    Network { nodes: kept, outputs, names }
}
