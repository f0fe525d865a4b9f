//! `fenchel run`: outputs and Jacobians.

use std::ops::Range;
use std::time::Instant;

use serde_json::json;

use crate::data::{Dataset, NpyWriter, OutputFile};
use crate::engine::SplineEngine;
use crate::engine::plan::overlapped;
use crate::network::{Network, check_finite};
use crate::{Error, Result};

use super::args;
use super::session::{Job, Session};

pub(super) fn run(session: &Session, arguments: &args::Run) -> Result<()> {
    if let Some(path) = &arguments.output
        && arguments.output == arguments.jacobian
    {
        return Err(Error::Argument(format!(
            "outputs and Jacobians cannot share the file '{}'",
            path.display()
        )));
    }
    let loaded = arguments.model.load()?;
    let data = arguments.data.open()?;
    session.on_engine("f32", Pass { session, arguments, network: &loaded.network, data })
}

struct Pass<'a> {
    session: &'a Session,
    arguments: &'a args::Run,
    network: &'a Network,
    data: Dataset,
}

impl Job for Pass<'_> {
    type Output = ();

    fn run<E: SplineEngine>(self, engine: E) -> Result<()> {
        let Self { session, arguments, network, data } = self;
        let context = &session.context;
        let program = network.compile(&engine)?;
        data.check_rows(program.dimension())?;
        let (n, d) = (data.len(), program.dimension());
        let outputs = arguments.outputs.choose(program.outputs())?;
        let k = outputs.len();
        let writer = |path: &std::path::PathBuf, shape: &[usize]| {
            NpyWriter::<E::Scalar>::create(OutputFile::create(path)?, shape)
        };
        let mut values = arguments.output.as_ref().map(|path| writer(path, &[n, k])).transpose()?;
        let mut jacobians = arguments.jacobian.as_ref().map(|path| writer(path, &[n, k, d])).transpose()?;
        let start = Instant::now();
        context.progress().start("samples", n as u64);
        let chunks = program.chunks(n, jacobians.is_some().then_some(k), context.memory())?;
        let wants_jets = jacobians.is_some();
        let begin = |range: Range<usize>| {
            context.check()?;
            let x = program.upload(data.rows::<E::Scalar>(range)?.view())?;
            if wants_jets {
                let jets = program.jets(&x, &outputs)?;
                Ok((engine.request(&jets.values)?, Some(engine.request(&jets.jacobians)?)))
            } else {
                Ok((engine.request(&program.forward(&x)?)?, None))
            }
        };
        overlapped(&engine, chunks, begin, |range, (y, slopes)| {
            let y = engine.receive(y)?;
            let chosen = if slopes.is_some() {
                y
            } else {
                y.chunks_exact(program.outputs()).flat_map(|row| outputs.iter().map(|&k| row[k])).collect()
            };
            check_finite(&chosen, k, range.start)?;
            if let Some(values) = &mut values {
                values.write(&chosen)?;
            }
            if let (Some(jacobians), Some(slopes)) = (&mut jacobians, slopes) {
                jacobians.write(&engine.receive(slopes)?)?;
            }
            context.progress().advance(range.len() as u64);
            Ok(())
        })?;
        context.progress().finish();
        values.map(NpyWriter::finish).transpose()?;
        jacobians.map(NpyWriter::finish).transpose()?;
        let seconds = start.elapsed().as_secs_f64();
        let device = engine.describe();
        let document =
            json!({ "samples": n, "outputs": k, "dimension": d, "seconds": seconds, "device": device });
        session.print(&document, || format!("{n} samples, {k} outputs, {seconds:.2} s on {device}\n"))
    }
}
