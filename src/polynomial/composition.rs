//! Networks as polynomials: Taylor polynomials of activations composed, layer by layer, truncated at a total order.

use std::time::Instant;

use ndarray::ArrayView2;

use crate::engine::{Context, Epilogue, ProductTable, SplineEngine, TensorOf};
use crate::network::{Program, Series};
use crate::{Error, Result, Scalar};

use super::function::Function;
use super::monomials::Products;
use super::rules::{Bend, Rules};
use super::{Monomials, Polynomial};

/// What needs Taylor series, for messages.
const TOOL: &str = "a polynomial";

/// Bytes of a block of products of the highest degree: it stays in the cache of a core until it is contracted.
const BLOCK: usize = 1 << 19;

/// Where activations are expanded.
#[derive(Debug, Clone, PartialEq)]
pub enum Centre {
    /// At the number of a layer, or at one for all of them.
    At(Vec<f64>),
    /// Each unit at its own potential at the point around which the network is expanded: then no Taylor order above the
    /// total order makes a difference, and the result is the network's own Taylor polynomial.
    Own,
}

/// How a network is expanded.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Total order of the result, 1 to [`Monomials::MOST_ORDER`].
    pub order: usize,
    /// Order of the activations' Taylor polynomials, at least 1: for each layer, or one for all of them.
    pub taylor: Vec<usize>,
    /// Where activations are expanded.
    pub centre: Centre,
    /// Puts smooth functions in the place of piecewise affine ones: ReLU becomes `ln(1 + exp(b u)) / b`.
    pub smooth: Option<f64>,
}

/// A layer of activations as it is expanded.
#[derive(Debug, Clone)]
pub struct Layer {
    /// The name of its node.
    pub name: String,
    /// What its units compute.
    pub function: Function,
    /// How many there are.
    pub units: usize,
    /// Order of the Taylor polynomial.
    pub taylor: usize,
    /// Where it is expanded; `None` where each unit is at its own potential.
    pub centre: Option<f64>,
    pub(super) step: usize,
}

impl Layer {
    pub(super) fn no_series(&self, centre: f64) -> Error {
        Error::Argument(format!(
            "{} ('{}') has no Taylor series at {centre}: choose another --centre, away from where its curves join",
            self.function.activation().name(),
            self.name
        ))
    }
}

/// A network that is ready to be expanded around a point.
pub struct Composition<'a, E: SplineEngine> {
    pub(super) program: &'a Program<E>,
    pub(super) settings: Settings,
    pub(super) layers: Vec<Layer>,
    /// `[D]`
    pub(super) at: Vec<f64>,
}

impl<'a, E: SplineEngine> Composition<'a, E> {
    /// Of a program whose [layers are as they stand in the graph](crate::network::Network::compile_unfolded), around the
    /// point `at [D]`.
    ///
    /// # Errors
    /// [`Error::MissingSlot`] or [`Error::Unsupported`] naming operators that have no Taylor series; [`Error::Argument`]
    /// for settings outside their ranges or a centre without a series; [`Error::Shape`] where `at` does not fit.
    pub fn new(program: &'a Program<E>, settings: Settings, at: Vec<f64>) -> Result<Self> {
        if at.len() != program.dimension() {
            let (given, needed) = (at.len(), program.dimension());
            return Err(Error::Shape(format!(
                "a point of {given} elements for a network of {needed} inputs"
            )));
        }
        if !(1..=Monomials::MOST_ORDER).contains(&settings.order) {
            let most = Monomials::MOST_ORDER;
            return Err(Error::Argument(format!(
                "a total order of {}: expected 1 to {most}",
                settings.order
            )));
        }
        program.require_series(TOOL)?;
        let functions: Vec<_> = program
            .series_bends()
            .filter_map(|(step, name, units, function)| {
                function.map(|function| (step, name, units, function))
            })
            .collect();
        let mut kinked = vec![];
        let mut layers = vec![];
        for (i, &(step, name, units, activation)) in functions.iter().enumerate() {
            let Some(function) = Function::new(activation, settings.smooth) else {
                kinked.push(crate::error::UnsupportedOperator {
                    operator: activation.name().to_owned(),
                    node: name.to_owned(),
                    reason: String::new(),
                });
                continue;
            };
            let taylor = of_layer("Taylor orders", &settings.taylor, i, functions.len())?;
            let centre = match &settings.centre {
                Centre::Own => None,
                Centre::At(all) => Some(of_layer("centres", all, i, functions.len())?),
            };
            layers.push(Layer { name: name.to_owned(), function, units, taylor, centre, step });
        }
        if let Some(last) = kinked.last_mut() {
            last.reason = "piecewise affine: its Taylor series is a line on each side of a kink and knows nothing of the \
                 other; put a smooth function in its place with --smooth, or take its affine pieces with fenchel \
                 templates"
                .to_owned();
            return Err(Error::Unsupported { operators: kinked });
        }
        for layer in &layers {
            if layer.taylor == 0 {
                return Err(Error::Argument("a Taylor order of 0: expected at least 1".to_owned()));
            }
            if let Some(centre) = layer.centre.filter(|&centre| layer.function.taylor(centre, 1).is_none()) {
                return Err(layer.no_series(centre));
            }
        }
        Ok(Self { program, settings, layers, at })
    }

    /// The layers of activations, in the order in which they are computed.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The polynomial of the chosen outputs in some of the inputs, ascending; the others stay where they are at the
    /// centre.
    ///
    /// All terms below the highest degree go forward through the network, for all units at once: for each activation
    /// `order - 1` products of series at most (Horner's rule in what is left of its input beyond the constant term, whose
    /// powers above the order vanish). The terms of the highest degree enter everything after them linearly. They are
    /// most of all terms, so they are never held for a layer: block by block the products are formed and contracted with
    /// the cotangents of the outputs. With 54 inputs, two layers of 32 units and order 3 that is 10 MFlop of products and
    /// 4 of contractions, against 60 to carry 27,720 terms through a layer of 32 x 32, and 2 MB held instead of 7 for
    /// each layer.
    ///
    /// # Errors
    /// [`Error::Memory`] where it does not fit, [`Error::Argument`] for variables or outputs that are not there,
    /// [`Error::NonFinite`] where a coefficient overflows, [`Error::Cancelled`].
    pub fn polynomial(
        &self,
        variables: &[usize],
        outputs: &[usize],
        context: &Context,
    ) -> Result<Polynomial> {
        let start = Instant::now();
        let (program, order, k) = (self.program, self.settings.order, outputs.len());
        let dimension = program.dimension();
        let is_ascending = variables.windows(2).all(|two| two[0] < two[1]);
        if variables.is_empty() || !is_ascending || variables.iter().any(|&c| c >= dimension) {
            return Err(Error::Argument(format!("inputs must be ascending numbers below {dimension}")));
        }
        if outputs.is_empty() || outputs.iter().any(|&k| k >= program.outputs()) {
            return Err(Error::Argument(format!("outputs must be numbers below {}", program.outputs())));
        }
        let monomials = self.fitting(variables.len(), k, context)?;
        let engine = program.engine();

        let mut rules = Rules::new(self, &monomials, 1, order - 1, context);
        let directions = (order > 1).then(|| {
            let mut seed = vec![E::Scalar::of(0.0); variables.len() * dimension];
            for (row, &c) in seed.chunks_exact_mut(dimension).zip(variables) {
                row[c] = E::Scalar::of(1.0);
            }
            engine.upload(&seed, &[variables.len(), dimension])
        });
        let input = Series { constant: self.point()?, terms: directions.transpose()? };
        let (series, trace) = program.series(&input, &mut rules)?;
        let all = program.outputs();
        let mut coefficients = Vec::with_capacity(monomials.len() * k);
        let mut put = |values: Vec<E::Scalar>| {
            for row in values.chunks_exact(all) {
                coefficients.extend(outputs.iter().map(|&output| row[output].f64()));
            }
        };
        put(engine.download(&series.constant)?);
        if let Some(terms) = &series.terms {
            put(engine.download(terms)?);
        }
        let top = monomials.of_degree(order);
        coefficients.resize(top.start * k, 0.0);

        let Rules { bends, .. } = rules;
        let mut contractions = vec![];
        let mut linear = vec![];
        let slope = |step: usize| match bends.iter().find(|bend| bend.step == step) {
            Some(Bend { slope: Some(slope), .. }) => Ok(slope.clone()),
            _ => unreachable!("every elementwise function left its slopes"),
        };
        program.series_cotangents(&trace, outputs, slope, |step, cotangent| {
            let bend = bends.iter().find(|bend| bend.step == step && bend.factors.is_some());
            if let Some(Bend { factors: Some([a, b]), degrees, .. }) = bend {
                let units = a.shape()[1];
                let values = engine.download(cotangent)?;
                let transposed: Vec<E::Scalar> =
                    (0..units * k).map(|i| values[i % k * units + i / k]).collect();
                let matrix = engine.matrix(&transposed, units, k)?;
                contractions.push(Contraction { a: a.clone(), b: b.clone(), degrees: *degrees, matrix });
            }
            if step == 0 && order == 1 {
                linear = engine.download(cotangent)?;
            }
            Ok(())
        })?;
        if order == 1 {
            let column = |&c: &usize| (0..k).map(move |row| (row, c));
            coefficients
                .extend(variables.iter().flat_map(column).map(|(row, c)| linear[row * dimension + c].f64()));
        } else {
            self.contract(&monomials, &contractions, k, &mut coefficients, context)?;
        }
        if let Some(at) = coefficients.iter().position(|c| !c.is_finite()) {
            return Err(Error::NonFinite { what: "the coefficients".to_owned(), row: at / k });
        }
        Ok(Polynomial {
            variables: variables.to_vec(),
            at: self.at.clone(),
            outputs: k,
            seconds: start.elapsed().as_secs_f64(),
            monomials,
            coefficients,
        })
    }

    /// The terms of the highest degree.
    fn contract(
        &self,
        monomials: &Monomials,
        contractions: &[Contraction<E>],
        outputs: usize,
        coefficients: &mut Vec<f64>,
        context: &Context,
    ) -> Result<()> {
        let (engine, order) = (self.program.engine(), self.settings.order);
        let total = monomials.of_degree(order).len();
        let mut kinds: Vec<[usize; 2]> = contractions.iter().map(|contraction| contraction.degrees).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let mut tables: Vec<Products<'_>> = kinds.iter().map(|_| Products::new(monomials, order)).collect();
        let size = self.block(contractions.iter().map(|contraction| contraction.a.shape()[1]));
        context.progress().start("terms", total as u64);
        for first in (0..total).step_by(size) {
            context.check()?;
            let count = size.min(total - first);
            let mut sum = vec![0.0; count * outputs];
            for (kind, products) in kinds.iter().zip(&mut tables) {
                let table = products.take(count, kind[0], kind[1]);
                if table.pairs.is_empty() {
                    continue;
                }
                for contraction in contractions.iter().filter(|contraction| contraction.degrees == *kind) {
                    let part = contraction.block(engine, &table)?;
                    sum.iter_mut().zip(engine.download(&part)?).for_each(|(sum, part)| *sum += part.f64());
                }
            }
            coefficients.extend(sum);
            context.progress().advance(count as u64);
        }
        context.progress().finish();
        Ok(())
    }

    /// Terms of the highest degree that are formed at once.
    fn block(&self, units: impl Iterator<Item = usize>) -> usize {
        (BLOCK / (units.max().unwrap_or(1) * size_of::<E::Scalar>())).clamp(64, 1 << 16)
    }

    /// The monomials, where what they take fits into memory.
    fn fitting(&self, variables: usize, outputs: usize, context: &Context) -> Result<Monomials> {
        let order = self.settings.order;
        let count = Monomials::count(variables, order);
        let below = Monomials::count(variables, order - 1);
        let bends = self.program.series_bends();
        let (held, widest) = bends
            .fold((0, 1), |(held, widest), (_, _, units, _)| (held + 2 * units as u64, widest.max(units)));
        let scalar = size_of::<E::Scalar>() as u64;
        // Powers of a series in the making, what is held of it for the highest degree, and what is on its way.
        let rows =
            below.saturating_mul(scalar * (held + 3 * widest as u64 + self.program.series_peak() as u64));
        // The result, and as much again while it is written.
        let terms = count.saturating_mul(8 * outputs as u64 + 16);
        let block = self.block(std::iter::once(widest)) as u64;
        let blocks = block * (scalar * (widest + 2 * outputs) as u64 + (8 << order.min(10)));
        let needed = rows.saturating_add(terms).saturating_add(blocks);
        let monomials = Monomials::new(variables, order);
        match monomials.filter(|_| needed <= context.memory()) {
            Some(monomials) => Ok(monomials),
            None => Err(Error::Memory {
                what: format!(
                    "a polynomial of {variables} inputs to order {order} has {count} terms (a lower --order or fewer \
                     --inputs have less) and"
                ),
                needed,
                budget: context.memory(),
            }),
        }
    }

    fn point(&self) -> Result<TensorOf<E>> {
        let at: Vec<E::Scalar> = self.at.iter().map(|&x| E::Scalar::of(x)).collect();
        self.program.engine().upload(&at, &[1, at.len()])
    }

    /// Values of the polynomials of steps `wanted`, shown to `each` as `[N, units]`, at `at + offsets [N, D]`: the same
    /// truncated composition along rays, with one term for each degree, whatever the number of inputs.
    ///
    /// Along a ray `at + t z` a polynomial is a power series in `t`, and truncation at a total order is truncation of that
    /// series; so no monomial in the inputs is formed, and a network whose polynomial would have too many can be judged.
    ///
    /// # Errors
    /// What the engine says; [`Error::Cancelled`].
    pub(super) fn along(
        &self,
        offsets: ArrayView2<'_, E::Scalar>,
        wanted: &[usize],
        each: &mut dyn FnMut(usize, Vec<f64>),
        context: &Context,
    ) -> Result<()> {
        let order = self.settings.order;
        let Some(monomials) = Monomials::new(1, order) else { unreachable!("the order was checked") };
        let mut rules = Rules::new(self, &monomials, offsets.nrows(), order, context);
        rules.wanted = wanted;
        rules.each = Some(each);
        let terms = Some(self.program.upload(offsets)?);
        self.program.series(&Series { constant: self.point()?, terms }, &mut rules)?;
        Ok(())
    }
}

/// Factors whose product of the highest degree goes into the outputs.
struct Contraction<E: SplineEngine> {
    a: TensorOf<E>,
    b: TensorOf<E>,
    degrees: [usize; 2],
    /// `[units, K]`
    matrix: E::Matrix,
}

impl<E: SplineEngine> Contraction<E> {
    fn block(&self, engine: &E, table: &ProductTable) -> Result<TensorOf<E>> {
        let products = engine.series_product(&self.a, &self.b, None, table)?;
        engine.matmul(&products, None, &self.matrix, Epilogue::NONE)
    }
}

/// What is given for one layer of several: one value for all, or one for each.
fn of_layer<T: Copy>(what: &str, given: &[T], layer: usize, layers: usize) -> Result<T> {
    match given {
        [all] => Ok(*all),
        each if each.len() == layers => Ok(each[layer]),
        _ => Err(Error::Argument(format!(
            "{} {what} for {layers} layers of activations: expected one for all, or one for each",
            given.len()
        ))),
    }
}
