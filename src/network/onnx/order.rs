//! An order in which nodes can be imported.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::{Error, Result};

use super::decode::Node;
use super::graph::{Origin, Origins, label};

/// The nodes, each after those it needs, and else as in the file (which should be in such an order already).
///
/// # Errors
/// [`Error::Graph`] where a value is missing, or nodes need each other.
pub(super) fn order(nodes: &[Node], origins: &Origins<'_>) -> Result<Vec<usize>> {
    let mut users: Vec<Vec<usize>> = vec![vec![]; nodes.len()];
    let mut waits_for = vec![0_usize; nodes.len()];
    for (i, node) in nodes.iter().enumerate() {
        for name in node.inputs.iter().filter(|name| !name.is_empty()) {
            match origins.get(name.as_str()) {
                Some(&Origin::Node(maker)) => {
                    users[maker].push(i);
                    waits_for[i] += 1;
                }
                Some(_) => {}
                None => {
                    return Err(Error::Graph(format!(
                        "{} ('{}') needs '{name}', which no input, initializer or node makes",
                        node.operator,
                        label(node)
                    )));
                }
            }
        }
    }
    let mut ready: BinaryHeap<Reverse<usize>> =
        (0..nodes.len()).filter(|&i| waits_for[i] == 0).map(Reverse).collect();
    let mut order = Vec::with_capacity(nodes.len());
    while let Some(Reverse(i)) = ready.pop() {
        order.push(i);
        for &user in &users[i] {
            waits_for[user] -= 1;
            if waits_for[user] == 0 {
                ready.push(Reverse(user));
            }
        }
    }
    match (0..nodes.len()).find(|&i| waits_for[i] > 0) {
        Some(start) => Err(Error::Graph(cycle(nodes, origins, &waits_for, start))),
        None => Ok(order),
    }
}

/// The names of nodes that need each other, found by going back from `start`.
fn cycle(nodes: &[Node], origins: &Origins<'_>, waits_for: &[usize], start: usize) -> String {
    let mut path = vec![];
    let mut place = vec![None; nodes.len()];
    let mut at = start;
    while place[at].is_none() {
        place[at] = Some(path.len());
        path.push(at);
        let makers = nodes[at].inputs.iter().filter_map(|name| match origins.get(name.as_str()) {
            Some(&Origin::Node(maker)) if waits_for[maker] > 0 => Some(maker),
            _ => None,
        });
        // A node that was never ready waits for another one like it.
        at = makers.min().unwrap_or(at);
    }
    let members = &path[place[at].unwrap_or(0)..];
    let names: Vec<String> = members.iter().take(8).map(|&i| format!("'{}'", label(&nodes[i]))).collect();
    let more = if members.len() > 8 { " and others" } else { "" };
    format!("the graph has a cycle: {}{more} need each other", names.join(", "))
}
