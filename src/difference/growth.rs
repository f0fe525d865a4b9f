//! How far the parts of each value have outgrown it.

use serde::Serialize;

use crate::data::Dataset;
use crate::engine::{Context, Engine};
use crate::network::{Network, Side, check_finite};
use crate::{Result, Scalar};

use super::Difference;

/// The size of a node's parts at data.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Growth {
    /// The node of the original network.
    pub node: String,
    /// Its operator.
    pub operator: &'static str,
    /// The root mean square of `|convex| + |subtracted|` over points and elements.
    pub parts: f64,
    /// That of `convex - subtracted`, the value itself.
    pub value: f64,
    /// The first over the second: how many times larger than its result what is subtracted is.
    pub growth: f64,
}

/// A node's parts among the values that are computed.
struct Place {
    node: String,
    operator: &'static str,
    /// Where each part begins, if it is not zero.
    starts: [Option<usize>; 2],
    length: usize,
    /// Sums of squares: of the parts together, and of the value.
    squares: [f64; 2],
}

impl<E: Engine> Difference<E> {
    /// The size of the parts of every value at the data, in the order of the graph: what the weights' signs cost in
    /// digits by that depth. All values of a chunk are held at once.
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate).
    pub fn growth(&self, data: &Dataset, context: &Context) -> Result<Vec<Growth>> {
        let (mut places, names) = self.places()?;
        let program = self.network.with_outputs(&names)?.compile(&self.engine)?;
        let all = program.outputs();
        context.progress().start("points", data.len() as u64);
        for range in program.chunks(data.len(), None, context.memory())?.iter() {
            context.check()?;
            let x = program.upload(data.rows(range.clone())?.view())?;
            let values = self.engine.download(&program.forward(&x)?)?;
            check_finite(&values, all, range.start)?;
            for row in values.chunks_exact(all) {
                places.iter_mut().for_each(|place| place.add(row));
            }
            context.progress().advance(range.len() as u64);
        }
        context.progress().finish();
        Ok(places.into_iter().map(|place| place.finish(data.len())).collect())
    }

    /// Every value that depends on the input and has a part, and the names of the parts, each once.
    fn places(&self) -> Result<(Vec<Place>, Vec<String>)> {
        let nodes = self.original.nodes();
        let (mut places, mut names, mut starts) = (vec![], vec![], vec![]);
        let mut end = 0;
        let mut varies = vec![];
        for node in nodes {
            varies.push(node.op().is_none() || node.inputs().iter().any(|&i| varies[i]));
            let (Some(op), Some(true)) = (node.op(), varies.last()) else { continue };
            let length = node.shape().iter().product();
            let mut place = Place {
                node: node.name().to_owned(),
                operator: op.operator().name(),
                starts: [None; 2],
                length,
                squares: [0.0; 2],
            };
            for (start, side) in place.starts.iter_mut().zip(Side::BOTH) {
                let Some(part) = part(&self.network, &side.of(node.value())) else { continue };
                let known = names.iter().position(|name| *name == part);
                *start = Some(known.map_or(end, |i| starts[i]));
                if known.is_none() {
                    names.push(part);
                    starts.push(end);
                    end += length;
                }
            }
            if place.starts != [None; 2] {
                places.push(place);
            }
        }
        Ok((places, names))
    }
}

/// The name of the node that a part is.
fn part(network: &Network, name: &str) -> Option<String> {
    network.find(name).ok().map(|node| node.value().to_owned())
}

impl Place {
    /// Takes in all values of a point.
    fn add<S: Scalar>(&mut self, row: &[S]) {
        let at = |start: Option<usize>, i: usize| start.map_or(0.0, |start| row[start + i].f64());
        for i in 0..self.length {
            let [convex, subtracted] = self.starts.map(|start| at(start, i));
            self.squares[0] += (convex.abs() + subtracted.abs()).powi(2);
            self.squares[1] += (convex - subtracted).powi(2);
        }
    }

    fn finish(self, points: usize) -> Growth {
        let [parts, value] = self.squares.map(|sum| (sum / (points * self.length) as f64).sqrt());
        let growth = if parts == value { 1.0 } else { parts / value };
        Growth { node: self.node, operator: self.operator, parts, value, growth }
    }
}
