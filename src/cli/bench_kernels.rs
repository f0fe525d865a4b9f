//! `fenchel bench` without a network: kernels at several shapes on each device, against what the device can do.

mod job;
mod time;

use std::fmt::Write as _;

use serde::Serialize;

use crate::engine::{Cpu, DeviceChoice, Floor, Gpu, Search, SplineEngine, device};
use crate::{Error, Result};

use super::args;
use super::session::Session;

use job::{CASES, Case, Job};

/// One measurement.
#[derive(Serialize, Clone)]
struct Row {
    device: String,
    kernel: &'static str,
    shape: String,
    seconds: f64,
    /// Counted operations, in 1e9 a second.
    gflops: f64,
    /// Pairs of point and anchor for each output, or of point and slope, in 1e9 a second.
    gpairs: Option<f64>,
    /// The time that the floor allows over the time taken.
    share_of_floor: f64,
    /// The share of pairs that were not compared, as a bound says that they cannot matter.
    skipped: Option<f64>,
    /// Pieces that are active somewhere.
    active: Option<usize>,
    /// Speed, in operations a second, over the CPU's.
    ratio_to_cpu: Option<f64>,
}

#[derive(Serialize)]
struct DeviceFloor {
    device: String,
    gflops: f64,
    gbytes: f64,
}

#[derive(Serialize)]
struct Document {
    floors: Vec<DeviceFloor>,
    rows: Vec<Row>,
}

pub(super) fn bench(session: &Session, arguments: &args::Bench) -> Result<()> {
    let adapters = device::adapters();
    let chosen = match session.device() {
        DeviceChoice::Auto => adapters.iter().map(|adapter| adapter.number).collect(),
        choice => choice.resolve(&adapters)?.into_iter().collect::<Vec<usize>>(),
    };
    let mut document = Document { floors: vec![], rows: vec![] };
    // The CPU comes first, as the others are compared with it.
    measure(&Cpu::<f32>::new(), session, arguments, &mut document)?;
    for number in chosen {
        let gpu = Gpu::open(number, session.context.memory())?;
        measure(&gpu, session, arguments, &mut document)?;
    }
    session.print(&document, || text(&document))
}

/// Appends the rows of one device.
fn measure<E: SplineEngine<Scalar = f32>>(
    engine: &E,
    session: &Session,
    arguments: &args::Bench,
    document: &mut Document,
) -> Result<()> {
    let (device, floor) = (engine.describe(), engine.floor()?);
    let (gflops, gbytes) = (floor.flops / 1e9, floor.bytes / 1e9);
    document.floors.push(DeviceFloor { device: device.clone(), gflops, gbytes });
    let own = arguments.shape.map(|[points, anchors, dimension, outputs]| Case {
        name: "envelope",
        job: Job::Envelope { points, anchors, dimension, outputs, search: Search::Exhaustive },
    });
    let cases: Vec<&Case> = match &own {
        Some(case) => vec![case],
        None => {
            let named =
                |case: &&Case| format!("{}, {}", case.name, case.job.shape()).contains(&arguments.only);
            CASES.iter().filter(named).collect()
        }
    };
    session.context.progress().start(&device, cases.len() as u64);
    for (number, case) in cases.into_iter().enumerate() {
        session.context.check()?;
        let job = match arguments.shape {
            Some(_) => case.job,
            None => largest(case.job, engine, &floor, session, arguments.seconds)?,
        };
        let work = job.work();
        let (seconds, outcome) = job.time(engine, &session.context, arguments.repeats)?;
        let allowed = (work.flops / floor.flops).max(work.bytes / floor.bytes);
        let gflops = work.flops / seconds / 1e9;
        // The CPU's rows are the first, in the same order.
        let on_cpu = document.rows.get(number).filter(|_| document.floors.len() > 1);
        document.rows.push(Row {
            device: device.clone(),
            kernel: case.name,
            shape: job.shape(),
            seconds,
            gflops,
            gpairs: work.pairs.map(|pairs| pairs / seconds / 1e9),
            share_of_floor: allowed / seconds,
            skipped: outcome.scored.zip(work.pairs).map(|(scored, pairs)| 1.0 - scored as f64 / pairs),
            active: outcome.active,
            ratio_to_cpu: on_cpu.map(|cpu| gflops / cpu.gflops),
        });
        session.context.progress().advance(1);
    }
    session.context.progress().finish();
    Ok(())
}

/// The job, halved until it takes no longer than asked for.
fn largest<E: SplineEngine<Scalar = f32>>(
    job: Job,
    engine: &E,
    floor: &Floor,
    session: &Session,
    seconds: f64,
) -> Result<Job> {
    /// What a first trial may take at the floor.
    const TRIAL: f64 = 2e-3;
    let sizes: Vec<Job> = (0..usize::BITS).map_while(|shift| job.halved(shift)).collect();
    let small = |job: &&Job| job.work().flops / floor.flops <= TRIAL;
    let Some(mut found) = sizes.iter().copied().find(|job| small(&job)).or(sizes.last().copied()) else {
        return Err(Error::Argument("a kernel without work cannot be timed".to_owned()));
    };
    // Small jobs run at a lower rate than large ones, so the size is approached from below.
    loop {
        let rate = found.work().flops / found.time(engine, &session.context, 1)?.0;
        let fits = |job: &&Job| job.work().flops / rate <= seconds;
        match sizes.iter().copied().find(|job| fits(&job)) {
            Some(next) if next.work().flops > found.work().flops => found = next,
            _ => return Ok(found),
        }
    }
}

fn text(document: &Document) -> String {
    let mut text = String::new();
    for floor in &document.floors {
        let DeviceFloor { device, gflops, gbytes } = floor;
        let _ = writeln!(text, "{device}: {gflops:.0} GFLOP/s in multiply-adds, {gbytes:.0} GB/s copied");
    }
    text.push_str(
        "\n| device | kernel | shape | seconds | GFLOP/s | Gpairs/s | share of floor | skipped | speed / CPU's |\n",
    );
    text.push_str("|---|---|---|---:|---:|---:|---:|---:|---:|\n");
    for row in &document.rows {
        let Row { device, kernel, shape, seconds, gflops, .. } = row;
        let pairs = row.gpairs.map_or("-".to_owned(), |pairs| format!("{pairs:.2}"));
        let ratio = row.ratio_to_cpu.map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
        let share = 100.0 * row.share_of_floor;
        let skipped = match row.skipped {
            Some(share) if share > 0.0 => format!("{:.3} %", 100.0 * share),
            _ => "-".to_owned(),
        };
        let _ = writeln!(
            text,
            "| {device} | {kernel} | {shape} | {seconds:.4} | {gflops:.1} | {pairs} | {share:.1} % | {skipped} | {ratio} |"
        );
    }
    text
}
