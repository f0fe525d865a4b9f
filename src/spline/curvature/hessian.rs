//! Extreme eigenvalues of the input Hessian at samples.

use ndarray::{Array2, ArrayView2};
use rand::RngExt;
use rayon::prelude::*;

use super::lanczos::{Lanczos, STEPS, TOLERANCE};
use super::{check_outputs, refuse_kinks};
use crate::data::Dataset;
use crate::engine::plan::Chunks;
use crate::engine::{Context, Curvature, Dual, Engine};
use crate::network::{Network, Program};
use crate::{Error, Result, Scalar};

/// The extreme eigenvalues of a Hessian, in units of the output per squared unit of the input.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Extremes {
    /// The smallest.
    pub smallest: f64,
    /// The largest.
    pub largest: f64,
    /// How far the nearest eigenvalue may be from either (rounding aside): `|H v - lambda v|` of unit vectors.
    pub residuals: [f64; 2],
    /// Products of the Hessian with a vector that it took.
    pub steps: usize,
}

impl Extremes {
    /// The smallest curvatures that hold at this point.
    pub fn curvature(&self) -> Curvature {
        Curvature { a: (-self.smallest).max(0.0), b: self.largest.max(0.0) }
    }
}

/// The extreme eigenvalues of the Hessian of each chosen output at each sample, `[K][N]`.
///
/// By Lanczos iterations, at most `min(D, 64)` steps each: until residuals are a 10,000th of the larger eigenvalue.
/// Products of Hessians with directions are computed on the engine, as tangents of Jacobians (Pearlmutter 1994), for
/// many samples at once; bases are orthogonalised on the host in f64. Start vectors are random, by the context's
/// seed and the sample's number. No matrix of size `D^2` is held.
///
/// # Errors
/// [`Error::Argument`] for an operator with kinks, by name (its second derivatives vanish or say nothing: there a
/// secant serves), for outputs that are not there; [`Error::Shape`] where rows do not fit; [`Error::NonFinite`] where
/// a derivative is no number; [`Error::Memory`], [`Error::Cancelled`]; what the engine and the data say.
pub fn hessian<E: Engine>(
    network: &Network,
    engine: &E,
    outputs: &[usize],
    samples: &Dataset,
    context: &Context,
) -> Result<Vec<Vec<Extremes>>> {
    let hessians = Hessians::new(network, engine)?;
    samples.check_rows(hessians.program.dimension())?;
    check_outputs(hessians.program.outputs(), outputs)?;
    let chunks = hessians.chunks(samples.len(), context)?;
    context.progress().start("Hessians", (samples.len() * outputs.len()) as u64);
    let mut all = vec![Vec::with_capacity(samples.len()); outputs.len()];
    for range in chunks.iter() {
        let rows = samples.rows::<E::Scalar>(range.clone())?;
        for (all, &k) in all.iter_mut().zip(outputs) {
            all.extend(hessians.extremes(rows.view(), k, range.start as u64, context)?);
            context.progress().advance(range.len() as u64);
        }
    }
    context.progress().finish();
    Ok(all)
}

/// The smallest curvature of each output that holds at all samples, from extremes `[K][N]`.
pub fn worst(extremes: &[Vec<Extremes>]) -> Vec<Curvature> {
    let larger = |m: Curvature, c: Curvature| Curvature { a: m.a.max(c.a), b: m.b.max(c.b) };
    let of = |extremes: &Vec<Extremes>| {
        extremes.iter().map(Extremes::curvature).fold(Curvature::default(), larger)
    };
    extremes.iter().map(of).collect()
}

/// A network whose Hessians can be multiplied.
pub(super) struct Hessians<E: Engine> {
    pub(super) program: Program<Dual<E>>,
}

impl<E: Engine> Hessians<E> {
    pub(super) fn new(network: &Network, engine: &E) -> Result<Self> {
        let network = network.cut(None, None)?;
        refuse_kinks(&network)?;
        Ok(Self { program: network.compile(&Dual::new(engine.clone()))? })
    }

    /// Samples at a time: values, Jacobians and the tangents of both on the engine; on the host a basis each.
    pub(super) fn chunks(&self, samples: usize, context: &Context) -> Result<Chunks> {
        let d = self.program.dimension();
        let basis = (d.min(STEPS) + 4) * d * size_of::<f64>();
        let bytes = 3 * self.program.bytes_per_sample(Some(1)) + basis as u64;
        let most = self.program.at_once(Some(1))?.min(1 << 10);
        Chunks::within(
            "the Hessian at one sample",
            samples,
            bytes,
            2 * self.program.scratch_bytes(),
            context.memory(),
            most,
        )
    }

    /// Extremes of output `k` at `rows [N, D]`, which are a chunk; the first is number `first`.
    pub(super) fn extremes(
        &self,
        rows: ArrayView2<'_, E::Scalar>,
        k: usize,
        first: u64,
        context: &Context,
    ) -> Result<Vec<Extremes>> {
        let d = rows.ncols();
        // Products on the engine are rounded by its own type.
        let noise = if size_of::<E::Scalar>() == 4 { 1e-6 } else { 1e-14 };
        let start = |n: usize| {
            let mut rng = context.rng((1 << 44) + first + n as u64);
            Lanczos::new((0..d).map(|_| rng.random_range(-1.0..1.0)).collect(), noise, TOLERANCE)
        };
        let mut states: Vec<Lanczos> = (0..rows.nrows()).into_par_iter().map(start).collect();
        let mut open: Vec<usize> = (0..rows.nrows()).collect();
        while !open.is_empty() {
            context.check()?;
            let x = rows.select(ndarray::Axis(0), &open);
            let directions =
                open.iter().flat_map(|&n| states[n].direction()).map(|&v| E::Scalar::of(v)).collect();
            let directions = Array2::from_shape_vec((open.len(), d), directions);
            let products =
                self.products(x.view(), directions.map_err(|e| Error::Shape(e.to_string()))?.view(), k)?;
            if let Some(i) = products.iter().position(|v| !v.f64().is_finite()) {
                let what = format!("the second derivatives of output {k}");
                return Err(Error::NonFinite { what, row: first as usize + open[i / d] });
            }
            let mut waiting = vec![None; states.len()];
            open.iter().zip(products.chunks_exact(d)).for_each(|(&n, product)| waiting[n] = Some(product));
            states.par_iter_mut().zip(waiting).for_each(|(state, product)| {
                if let Some(product) = product {
                    state.add(product.iter().map(|v| v.f64()).collect());
                }
            });
            open.retain(|&n| states[n].found().is_none());
        }
        Ok(states.iter().filter_map(Lanczos::found).collect())
    }

    /// Products `[N, D]` of the Hessians of output `k` at `x [N, D]` with `directions [N, D]`.
    pub(super) fn products(
        &self,
        x: ArrayView2<'_, E::Scalar>,
        directions: ArrayView2<'_, E::Scalar>,
        k: usize,
    ) -> Result<Vec<E::Scalar>> {
        let dual = self.program.engine();
        let upload = |rows: ArrayView2<'_, E::Scalar>| {
            dual.inner().upload(&rows.iter().copied().collect::<Vec<_>>(), rows.shape())
        };
        let x = dual.dual(&upload(x)?, Some(&upload(directions)?))?;
        let jets = self.program.jets(&x, &[k])?;
        match dual.tangent(&jets.jacobians) {
            Some(products) => dual.inner().download(&products),
            // An affine network.
            None => Ok(vec![E::Scalar::of(0.0); directions.len()]),
        }
    }
}
