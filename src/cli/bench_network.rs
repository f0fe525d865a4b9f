//! `fenchel bench MODEL`: how long passes take, in memory.

use std::time::Instant;

use ndarray::Array2;
use rand::RngExt;
use rayon::prelude::*;
use serde::Serialize;

use crate::data::Dataset;
use crate::engine::plan::Chunks;
use crate::engine::{Curvature, Search, SplineEngine};
use crate::network::{Network, Program};
use crate::spline::NetworkJets;
use crate::spline::slice::{Slice, pixels, planes};
use crate::{Error, Result, Scalar};

use super::args;
use super::session::{Job, Session};

/// One kind of pass.
#[derive(Serialize)]
struct Timing {
    /// Wall time of each repetition.
    seconds: Vec<f64>,
    median: f64,
    /// Operations in products alone, all counted, over the median.
    gflops: f64,
}

#[derive(Serialize)]
struct Document {
    model: String,
    device: String,
    samples: usize,
    outputs: usize,
    dimension: usize,
    forward: Timing,
    jets: Timing,
    #[serde(skip_serializing_if = "Option::is_none")]
    slice: Option<Picture>,
}

/// A picture of the lower half of one output's spline, on the slice through the first three samples.
#[derive(Serialize)]
struct Picture {
    width: usize,
    height: usize,
    planes: usize,
    curvature: f64,
    /// Wall time of each repetition, from planes on the device to values and pieces on the host.
    seconds: Vec<f64>,
    least: f64,
    median: f64,
    /// Pairs of pixel and plane.
    pairs: u64,
    /// The share of them that were not compared.
    skipped: f64,
    /// Planes that are the largest at a pixel at least.
    active: usize,
}

/// The curvature of a picture's spline.
const CURVATURE: f64 = 3.0;

pub(super) fn bench(session: &Session, arguments: &args::Bench, model: &args::Model) -> Result<()> {
    let loaded = model.load()?;
    session.on_engine("f32", Passes { session, arguments, model, network: &loaded.network })
}

struct Passes<'a> {
    session: &'a Session,
    arguments: &'a args::Bench,
    model: &'a args::Model,
    network: &'a Network,
}

impl Passes<'_> {
    /// Rows of data, or random numbers in [0, 1).
    fn rows<S: Scalar>(&self, dimension: usize) -> Result<Array2<S>> {
        let samples = self.arguments.samples;
        if let Some(path) = &self.arguments.data {
            let data = Dataset::open(path, &self.arguments.reading.options())?;
            data.check_rows(dimension)?;
            return data.rows(0..samples.min(data.len()));
        }
        let mut rng = self.session.context.rng(0);
        Ok(Array2::from_shape_simple_fn((samples, dimension), || S::of(rng.random_range(0.0..1.0))))
    }

    /// Times `pass` over all chunks of the rows, once for each repetition, after one that does not count.
    fn time<E: SplineEngine>(
        &self,
        program: &Program<E>,
        rows: &Array2<E::Scalar>,
        jets_of: Option<&[usize]>,
    ) -> Result<Timing> {
        let context = &self.session.context;
        let chunks = program.chunks(rows.nrows(), jets_of.map(<[usize]>::len), context.memory())?;
        let mut seconds = vec![];
        for repeat in 0..=self.arguments.repeats {
            let start = Instant::now();
            for range in chunks.iter() {
                context.check()?;
                let x = program.upload(rows.slice(ndarray::s![range, ..]))?;
                match jets_of {
                    Some(outputs) => drop(program.jets(&x, outputs)?),
                    None => drop(program.forward(&x)?),
                }
            }
            program.engine().synchronize()?;
            if repeat > 0 {
                seconds.push(start.elapsed().as_secs_f64());
            }
        }
        let [_, median] = least_and_median(&seconds);
        let flops = rows.nrows() as f64 * program.flops_per_sample(jets_of.map(<[usize]>::len)) as f64;
        Ok(Timing { seconds, median, gflops: flops / median / 1e9 })
    }

    /// Times the picture alone, once for each repetition, after one that does not count.
    fn picture<E: SplineEngine>(
        &self,
        program: &Program<E>,
        rows: &Array2<E::Scalar>,
        output: usize,
        args::Size { width, height }: args::Size,
    ) -> Result<Picture> {
        if rows.nrows() < 3 {
            let there = rows.nrows();
            return Err(Error::Argument(format!("--slice goes through three samples, there are {there}")));
        }
        let (engine, context) = (program.engine(), &self.session.context);
        let pairs = (width * height * rows.nrows()) as u64;
        // Values, pieces, and the pieces again to see which are active.
        let bytes = (width * height * (size_of::<E::Scalar>() + 2 * size_of::<u32>())) as u64;
        Chunks::within("the picture of --slice", 1, bytes, engine.spline_scratch(), context.memory(), 1)?;
        let [first, second, third] =
            [0, 1, 2].map(|i| rows.row(i).iter().map(|x| x.f64()).collect::<Vec<f64>>());
        let slice = Slice::through([&first, &second, &third])?;
        let source = NetworkJets::new(program, Dataset::from_array(rows.view())?, vec![output])?;
        let [lower, _] = planes(&source, &slice, 0, Curvature::isotropic(CURVATURE), context)?;
        let lower = engine.upload(&lower, &[rows.nrows(), 3])?;
        let [across, up] = pixels([height, width]);
        let image = engine.slice(&lower, &across, &up, Search::Pruned)?;
        let (scored, mut active) = (image.scored, image.pieces);
        active.par_sort_unstable();
        active.dedup();
        let mut seconds = vec![];
        for _ in 0..self.arguments.repeats {
            context.check()?;
            let start = Instant::now();
            engine.slice(&lower, &across, &up, Search::Pruned)?;
            seconds.push(start.elapsed().as_secs_f64());
        }
        let [least, median] = least_and_median(&seconds);
        Ok(Picture {
            width,
            height,
            planes: rows.nrows(),
            curvature: CURVATURE,
            seconds,
            least,
            median,
            pairs,
            skipped: 1.0 - scored as f64 / pairs as f64,
            active: active.len(),
        })
    }
}

/// Of at least one repetition.
fn least_and_median(seconds: &[f64]) -> [f64; 2] {
    let mut sorted = seconds.to_vec();
    sorted.sort_by(f64::total_cmp);
    [sorted[0], sorted[sorted.len() / 2]]
}

impl Job for Passes<'_> {
    type Output = ();

    fn run<E: SplineEngine>(self, engine: E) -> Result<()> {
        let program = self.network.compile(&engine)?;
        let rows = self.rows::<E::Scalar>(program.dimension())?;
        let outputs = self.arguments.outputs.choose(program.outputs())?;
        let picture = |size| self.picture(&program, &rows, outputs[0], size);
        let document = Document {
            model: self.model.model.display().to_string(),
            device: engine.describe(),
            samples: rows.nrows(),
            outputs: outputs.len(),
            dimension: program.dimension(),
            forward: self.time(&program, &rows, None)?,
            jets: self.time(&program, &rows, Some(&outputs))?,
            slice: self.arguments.slice.map(picture).transpose()?,
        };
        self.session.print(&document, || {
            let line = |what: &str, timing: &Timing| {
                let [least, median] = least_and_median(&timing.seconds).map(|seconds| seconds * 1e3);
                let gflops = timing.gflops;
                format!("{what}: {median:.2} ms (least {least:.2} ms), {gflops:.1} GFLOP/s in products\n")
            };
            let picture = |picture: &Picture| {
                let [least, median] = [picture.least, picture.median].map(|seconds| seconds * 1e3);
                let Picture { width, height, planes, pairs, skipped, active, .. } = picture;
                format!(
                    "slice of {width} x {height} pixels: {median:.2} ms (least {least:.2} ms), {pairs:.3e} pairs with \
                     {planes} planes, {:.2} % skipped, {active} planes active\n",
                    skipped * 100.0
                )
            };
            format!(
                "{} samples of {} numbers on {}\n{}{}{}",
                document.samples,
                document.dimension,
                document.device,
                line("forward", &document.forward),
                line(&format!("jets of {} outputs", document.outputs), &document.jets),
                document.slice.as_ref().map(picture).unwrap_or_default(),
            )
        })
    }
}
