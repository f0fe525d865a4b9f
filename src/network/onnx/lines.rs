//! Splines that a file holds as the largest of some lines plus the smallest of others, as
//! [`with_splines`](super::with_splines) writes them: read as what they are, one operator with one code for each unit.

use std::collections::HashMap;

use crate::activation::{Piece, PiecewiseAffine};
use crate::engine::Arithmetic;
use crate::network::operators::{ArithmeticConstant, Branches, ReduceMax};
use crate::network::{Network, Node, Op};

/// A spline of some elements, and the nodes that computed it.
struct Spline {
    function: PiecewiseAffine,
    /// Nodes that hold these elements, whatever their shapes.
    inputs: Vec<usize>,
    within: Vec<usize>,
}

/// Lines of some elements: slopes and offsets.
struct Lines {
    lines: Vec<[f64; 2]>,
    /// Nodes that hold the elements, whatever their shapes.
    inputs: Vec<usize>,
    /// The nodes between.
    within: Vec<usize>,
}

/// The network with such sums as [`PiecewiseAffine`] nodes; nodes that nobody uses any more are left out.
pub(super) fn read(mut network: Network) -> Network {
    let mut within = vec![];
    for i in 0..network.nodes.len() {
        let Some(spline) = spline(&network.nodes, i) else { continue };
        // It stands for the activation, whose name is the value's or, where no axes come back, a further one of the sum.
        let named = |end: usize, ending: &str| {
            let prefix = network.nodes[end].name.strip_suffix(ending)?;
            let name = prefix.trim_end_matches('\'').strip_suffix("/spline")?;
            (network.names.get(name) == Some(&end)).then(|| (end, name.to_owned()))
        };
        let back = |node: &Node| node.inputs == [i] && matches!(node.op, Some(Op::Reshape(_)));
        let behind = || network.nodes.iter().position(back).and_then(|end| named(end, "/output"));
        let Some((end, name)) = named(i, "/sum").or_else(behind) else { continue };
        let shape = &network.nodes[end].shape;
        let input = spline.inputs.iter().find(|&&input| network.nodes[input].shape == *shape);
        let Some(&input) = input else { continue };
        let node = &mut network.nodes[end];
        (node.op, node.inputs) = (Some(Op::PiecewiseAffine(spline.function)), vec![input]);
        node.name.clone_from(&name);
        node.value = name;
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
    let convex = lines(nodes, maximum(nodes, a)?)?;
    let inner = negated(nodes, b)?;
    let turned = maximum(nodes, inner)?;
    let concave = lines(nodes, negated(nodes, turned)?)?;
    let inputs: Vec<usize> =
        convex.inputs.into_iter().filter(|input| concave.inputs.contains(input)).collect();
    let negative: Vec<[f64; 2]> = concave.lines.iter().map(|line| line.map(|v| -v)).collect();
    let function = envelope(&convex.lines, 1.0)?.plus(&envelope(&negative, -1.0)?);
    let within = [&[a, b, inner, turned][..], &convex.within, &concave.within].concat();
    Some(Spline { function, inputs, within })
}

/// What node `i` takes the largest element of each row of.
fn maximum(nodes: &[Node], i: usize) -> Option<usize> {
    match (&nodes[i].op, &nodes[i].inputs[..]) {
        (Some(Op::ReduceMax(ReduceMax { axes, keep: false })), &[rows])
            if axes[..] == [nodes[rows].shape.len().checked_sub(1)?] =>
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

/// The lines that the rows `[.., P]` of a node are, of elements in a column `[.., 1]`.
fn lines(nodes: &[Node], rows: usize) -> Option<Lines> {
    let count = *nodes[rows].shape.last()?;
    // A single line needs no column.
    let mut within = same_elements(nodes, rows);
    let last = within.pop()?;
    let (products, offsets) = constant(nodes, last, Arithmetic::Add)?;
    let (column, slopes) = constant(nodes, products, Arithmetic::Mul)?;
    let is_column = nodes[column].shape.last() == Some(&1) && within.is_empty();
    if slopes.len() != count || offsets.len() != count || !(is_column || count == 1) {
        return None;
    }
    let inputs = same_elements(nodes, column);
    within.extend([last, products]);
    within.extend(&inputs);
    let lines = slopes.into_iter().zip(offsets).map(|(slope, offset)| [slope, offset]).collect();
    Some(Lines { lines, inputs, within })
}

/// A node and those that it is another shape of.
fn same_elements(nodes: &[Node], mut i: usize) -> Vec<usize> {
    let mut same = vec![i];
    while let (Some(Op::Reshape(_)), &[from]) = (&nodes[i].op, &nodes[i].inputs[..]) {
        i = from;
        same.push(i);
    }
    same
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
