//! Slopes and offsets of a layer, computed for some of its units at a time.

use std::ops::Range;

use ndarray::Array2;

use crate::engine::plan::Chunks;
use crate::engine::{Context, Engine, TensorOf};
use crate::network::{Bend, Network, Program};
use crate::{Error, Result, Scalar};

use super::{SplineOperator, SplineOperators, entries, table};

/// Rows that are computed at once at most.
const ROWS: usize = 1024;

/// The affine functions of a layer, on an engine.
pub struct LayerMap<'a, E: Engine> {
    layer: &'a SplineOperator,
    engine: E,
    dimension: usize,
    ports: Vec<Port<'a, E>>,
    /// Elements of `u`.
    elements: usize,
    /// Rows that are computed at once.
    rows: usize,
    /// All rows, where they are kept.
    kept: Option<Rows<E::Scalar>>,
}

/// Affine functions: slopes `[n, D]` and offsets `[n]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows<S> {
    /// `[n, D]`
    pub slopes: Vec<S>,
    /// `[n]`
    pub offsets: Vec<S>,
}

/// Where elements of `u` come from.
struct Port<'a, E: Engine> {
    /// Elements of `u` before these.
    first: usize,
    positions: Option<&'a [usize]>,
    parts: Vec<Part<E>>,
    /// The value where it depends on none of them.
    fixed: Option<Vec<E::Scalar>>,
}

/// How a value depends on one of the layer's inputs.
struct Part<E: Engine> {
    columns: Range<usize>,
    /// `None` where it is the input.
    program: Option<Program<E>>,
}

impl SplineOperators {
    /// The affine functions of a layer, laid out on an engine.
    ///
    /// # Errors
    /// As [`Network::compile`]; [`Error::Memory`] where not even one row fits.
    pub fn map<'a, E: Engine>(
        &'a self,
        layer: &'a SplineOperator,
        engine: &E,
        context: &Context,
    ) -> Result<LayerMap<'a, E>> {
        let sources: Vec<usize> = layer.inputs.iter().map(|input| input.node).collect();
        let mut first = 0;
        let mut ports = vec![];
        for (node, positions) in &layer.ports {
            let parts = self.parts(layer, &sources, *node, engine)?;
            let own: usize = self.network.nodes()[*node].shape().iter().product();
            let fixed =
                if parts.is_empty() { Some(engine.download(&self.fixed(*node, engine)?)?) } else { None };
            ports.push(Port { first, positions: positions.as_deref(), parts, fixed });
            first += positions.as_ref().map_or(own, Vec::len);
        }
        let dimension = layer.dimension();
        let row = ((dimension + 1) * size_of::<E::Scalar>()) as u64;
        let mut map = LayerMap {
            layer,
            engine: engine.clone(),
            dimension,
            ports,
            elements: first,
            rows: 1,
            kept: None,
        };
        map.rows = map.plan(row, context.memory())?;
        Ok(map)
    }

    fn parts<E: Engine>(
        &self,
        layer: &SplineOperator,
        sources: &[usize],
        node: usize,
        engine: &E,
    ) -> Result<Vec<Part<E>>> {
        let mut start = 0;
        let mut parts = vec![];
        for input in &layer.inputs {
            let columns = start..start + input.elements;
            start = columns.end;
            if input.node == node {
                return Ok(vec![Part { columns, program: None }]);
            }
            match self.network.between(sources, input.node, node) {
                Ok(part) => parts.push(Part { columns, program: Some(Network::compile(&part, engine)?) }),
                // Only what another of the nodes depends on.
                Err(Error::Graph(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(parts)
    }

    /// The value of a node that depends on no input.
    fn fixed<E: Engine>(&self, node: usize, engine: &E) -> Result<TensorOf<E>> {
        let at = &self.network.nodes()[node];
        let Some(op) = at.op() else {
            return Err(Error::Graph(format!("'{}' is an input", at.name())));
        };
        let inputs: Vec<TensorOf<E>> =
            at.inputs().iter().map(|&j| self.fixed(j, engine)).collect::<Result<_>>()?;
        let shapes: Vec<&[usize]> = at.inputs().iter().map(|&j| self.network.nodes()[j].shape()).collect();
        let prepared = op.prepare(engine, &shapes)?;
        Ok(prepared.forward(engine, &inputs.iter().collect::<Vec<_>>())?.0)
    }
}

impl<'a, E: Engine> LayerMap<'a, E> {
    /// The layer.
    pub fn layer(&self) -> &'a SplineOperator {
        self.layer
    }

    /// The same with all rows computed once for all, where they fit half of the context's budget.
    ///
    /// # Errors
    /// As [`rows`](Self::rows).
    pub fn keep(mut self, context: &Context) -> Result<Self> {
        let row = ((self.dimension + 1) * size_of::<E::Scalar>()) as u64;
        if row.saturating_mul(self.elements as u64) <= context.memory() / 2 {
            self.kept = Some(self.rows(&(0..self.elements).collect::<Vec<_>>())?);
        }
        Ok(self)
    }

    /// How many rows are computed at once, and fit.
    pub fn at_once(&self) -> usize {
        self.rows
    }

    /// How many rows fit at once.
    fn plan(&self, row: u64, memory: u64) -> Result<usize> {
        let what = format!("the slopes of one unit of '{}'", self.layer.name);
        let mut rows = Chunks::within(&what, ROWS, row, 0, memory / 4, ROWS)?.size();
        for program in self.ports.iter().flat_map(|port| &port.parts).filter_map(|part| part.program.as_ref())
        {
            while rows > 1 && program.chunks(1, Some(rows), memory / 4).is_err() {
                rows = rows.div_ceil(2);
            }
            program.chunks(1, Some(rows), memory / 4)?;
        }
        Ok(rows)
    }

    /// `W` and `b` of some elements of `u`.
    ///
    /// # Errors
    /// What the engine says.
    pub fn rows(&self, elements: &[usize]) -> Result<Rows<E::Scalar>> {
        let d = self.dimension;
        let mut rows = Rows {
            slopes: vec![E::Scalar::of(0.0); elements.len() * d],
            offsets: vec![E::Scalar::of(0.0); elements.len()],
        };
        if let Some(kept) = &self.kept {
            for (i, &element) in elements.iter().enumerate() {
                rows.slopes[i * d..][..d].copy_from_slice(&kept.slopes[element * d..][..d]);
                rows.offsets[i] = kept.offsets[element];
            }
            return Ok(rows);
        }
        for (p, port) in self.ports.iter().enumerate() {
            let end = self.ports.get(p + 1).map_or(usize::MAX, |next| next.first);
            let own: Vec<usize> =
                (0..elements.len()).filter(|&i| (port.first..end).contains(&elements[i])).collect();
            if let Some(fixed) = &port.fixed {
                own.iter().for_each(|&i| rows.offsets[i] = fixed[port.element(elements[i])]);
            }
            for at in own.chunks(self.rows) {
                let elements: Vec<usize> = at.iter().map(|&i| port.element(elements[i])).collect();
                for (number, part) in port.parts.iter().enumerate() {
                    self.add(part, &elements, at, number == 0, &mut rows)?;
                }
            }
        }
        Ok(rows)
    }

    /// Adds what a part gives to rows `at`.
    fn add(
        &self,
        part: &Part<E>,
        elements: &[usize],
        at: &[usize],
        is_first: bool,
        rows: &mut Rows<E::Scalar>,
    ) -> Result<()> {
        let (d, width) = (self.dimension, part.columns.len());
        let Some(program) = &part.program else {
            for (&i, &element) in at.iter().zip(elements) {
                rows.slopes[i * d + part.columns.start + element] = E::Scalar::of(1.0);
            }
            return Ok(());
        };
        // An affine function is its tangent at 0.
        let zero = Array2::from_elem([1, width], E::Scalar::of(0.0));
        let jets = program.jets(&program.upload(zero.view())?, elements)?;
        let slopes = self.engine.download(&jets.jacobians)?;
        for (&i, slopes) in at.iter().zip(slopes.chunks_exact(width)) {
            rows.slopes[i * d..][part.columns.clone()].copy_from_slice(slopes);
        }
        if is_first {
            let offsets = self.engine.download(&jets.values)?;
            at.iter().zip(offsets).for_each(|(&i, offset)| rows.offsets[i] = offset);
        }
        Ok(())
    }

    /// Shows all pieces of some units to `each`, as `A [n, R, D]` and `B [n, R]`, as many units at a time as there is room
    /// for. What lies in the padding of a window has slopes 0 and an offset that never is picked: `-inf` of a maximum,
    /// `inf` of a minimum.
    ///
    /// # Errors
    /// As [`rows`](Self::rows); [`Error::Cancelled`]; what `each` says.
    pub fn pieces(
        &self,
        units: Range<usize>,
        context: &Context,
        mut each: impl FnMut(Range<usize>, Rows<E::Scalar>) -> Result<()>,
    ) -> Result<()> {
        let (d, r) = (self.dimension, self.layer.pieces);
        for part in Chunks::new(units.len(), (self.rows / r).max(1)).iter() {
            context.check()?;
            let part = units.start + part.start..units.start + part.end;
            let elements = self.layer.elements(part.clone());
            let rows = self.rows(&elements)?;
            let mut pieces = Rows {
                slopes: Vec::with_capacity(part.len() * r * d),
                offsets: Vec::with_capacity(part.len() * r),
            };
            for unit in part.clone() {
                match &self.layer.bend {
                    Some(Bend::Largest(windows)) => {
                        for element in self.layer.window(unit) {
                            match element.and_then(|element| elements.binary_search(&element).ok()) {
                                Some(at) => pieces.extend(&rows, at, d, [1.0, 0.0]),
                                None => {
                                    pieces.slopes.extend(std::iter::repeat_n(E::Scalar::of(0.0), d));
                                    pieces.offsets.push(E::Scalar::of(-windows.sign * f64::INFINITY));
                                }
                            }
                        }
                    }
                    Some(Bend::Elementwise(tables)) => {
                        let table = table(tables, unit);
                        for piece in table.slopes.iter().zip(&table.offsets) {
                            pieces.extend(&rows, unit - part.start, d, [*piece.0, *piece.1]);
                        }
                    }
                    None => pieces.extend(&rows, unit - part.start, d, [1.0, 0.0]),
                }
            }
            each(part, pieces)?;
        }
        Ok(())
    }

    /// Shows the pieces that some units pick to `each`, as `A [n, D]` and `b [n]`, given the code of every unit of the
    /// layer (of an affine one none): the layer at an input, as an affine function of what it takes.
    ///
    /// # Errors
    /// As [`pieces`](Self::pieces); [`Error::Argument`] for a code that a unit does not have.
    pub fn picked(
        &self,
        codes: &[u32],
        context: &Context,
        mut each: impl FnMut(Range<usize>, Rows<E::Scalar>) -> Result<()>,
    ) -> Result<()> {
        let d = self.dimension;
        let wrong = |unit: usize| {
            let name = &self.layer.name;
            Error::Argument(format!(
                "unit {unit} of '{name}' has no such code among its {}",
                self.layer.pieces
            ))
        };
        let code = |unit: usize| codes.get(unit).map(|&code| code as usize).ok_or_else(|| wrong(unit));
        for part in Chunks::new(self.layer.units, self.rows).iter() {
            context.check()?;
            let mut lines = vec![[1.0, 0.0]; part.len()];
            let mut elements: Vec<usize> = part.clone().collect();
            for ((unit, line), element) in part.clone().zip(&mut lines).zip(&mut elements) {
                match &self.layer.bend {
                    Some(Bend::Largest(windows)) => {
                        let wanted = code(unit)?;
                        let mut entries = entries(windows, unit);
                        let entry = entries.find(|&entry| windows.codes[entry] as usize == wanted);
                        *element = windows.elements[entry.ok_or_else(|| wrong(unit))?] as usize;
                    }
                    Some(Bend::Elementwise(tables)) => {
                        let (table, code) =
                            (table(tables, unit), if tables[0].slopes.len() > 1 { code(unit)? } else { 0 });
                        match (table.slopes.get(code), table.offsets.get(code)) {
                            (Some(&slope), Some(&offset)) => *line = [slope, offset],
                            _ => return Err(wrong(unit)),
                        }
                    }
                    None => {}
                }
            }
            let rows = self.rows(&elements)?;
            let mut picked =
                Rows { slopes: Vec::with_capacity(part.len() * d), offsets: Vec::with_capacity(part.len()) };
            lines.into_iter().enumerate().for_each(|(at, line)| picked.extend(&rows, at, d, line));
            each(part, picked)?;
        }
        Ok(())
    }
}

impl<E: Engine> Port<'_, E> {
    /// The element of the node's value that an element of `u` is.
    fn element(&self, element: usize) -> usize {
        let own = element - self.first;
        self.positions.map_or(own, |positions| positions[own])
    }
}

impl<S: Scalar> Rows<S> {
    /// Adds a line of row `at` of others.
    fn extend(&mut self, rows: &Self, at: usize, d: usize, [slope, offset]: [f64; 2]) {
        self.slopes.extend(rows.slopes[at * d..][..d].iter().map(|w| S::of(slope * w.f64())));
        self.offsets.push(S::of(slope * rows.offsets[at].f64() + offset));
    }
}
