//! `fenchel bench MODEL`: how long passes take, in memory.

use std::time::Instant;

use ndarray::Array2;
use rand::RngExt;
use serde::Serialize;

use crate::engine::SplineEngine;
use crate::network::{Network, Program};
use crate::spline::check_rows;
use crate::{Result, Scalar};

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
}

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
            let data = crate::data::Dataset::open(path, &self.arguments.reading.options())?;
            check_rows(&data, dimension)?;
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
        let mut sorted = seconds.clone();
        sorted.sort_by(f64::total_cmp);
        let median = sorted[sorted.len() / 2];
        let flops = rows.nrows() as f64 * program.flops_per_sample(jets_of.map(<[usize]>::len)) as f64;
        Ok(Timing { seconds, median, gflops: flops / median / 1e9 })
    }
}

impl Job for Passes<'_> {
    type Output = ();

    fn run<E: SplineEngine>(self, engine: E) -> Result<()> {
        let program = self.network.compile(&engine)?;
        let rows = self.rows::<E::Scalar>(program.dimension())?;
        let outputs = self.arguments.outputs.choose(program.outputs())?;
        let document = Document {
            model: self.model.model.display().to_string(),
            device: engine.describe(),
            samples: rows.nrows(),
            outputs: outputs.len(),
            dimension: program.dimension(),
            forward: self.time(&program, &rows, None)?,
            jets: self.time(&program, &rows, Some(&outputs))?,
        };
        self.session.print(&document, || {
            let line = |what: &str, timing: &Timing| {
                let least = timing.seconds.iter().fold(f64::INFINITY, |m, &s| m.min(s));
                let (median, gflops) = (timing.median * 1e3, timing.gflops);
                format!(
                    "{what}: {median:.2} ms (least {:.2} ms), {gflops:.1} GFLOP/s in products\n",
                    least * 1e3
                )
            };
            format!(
                "{} samples of {} numbers on {}\n{}{}",
                document.samples,
                document.dimension,
                document.device,
                line("forward", &document.forward),
                line(&format!("jets of {} outputs", document.outputs), &document.jets),
            )
        })
    }
}
