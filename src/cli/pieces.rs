//! `fenchel pieces`: what the pieces of a saved spline do at points, and which are the same.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Instant;

use serde::Serialize;

use crate::data::{Dataset, NpzEntry, NpzWriter, OutputFile};
use crate::engine::SplineEngine;
use crate::spline::SplineFile;
use crate::spline::statistics::{AffinePieces, HalfActivity, activity};
use crate::{Error, Result, Scalar};

use super::args;
use super::session::{Job, Session};

pub(super) fn pieces(session: &Session, arguments: &args::PieceStatistics) -> Result<()> {
    let spline = SplineFile::open(&arguments.spline)?;
    let other = arguments.with.as_deref().map(SplineFile::open).transpose()?;
    if let (Some(other), Some(path)) = (&other, &arguments.with) {
        comparable((&spline, &arguments.spline), (other, path))?;
    }
    let points = arguments.data.open_for(&spline)?;
    let job = Statistics { session, arguments, spline: &spline, other: other.as_ref(), points };
    session.on_engine(spline.precision(), job)
}

/// Refuses splines whose slopes cannot be compared, before anything is computed.
fn comparable((spline, path): (&SplineFile, &Path), (other, of_other): (&SplineFile, &Path)) -> Result<()> {
    let sizes = |file: &SplineFile| {
        let [anchors, outputs, dimension] = file.lengths();
        let [convex, concave] = file.spline().taken(anchors);
        [outputs, dimension, convex, concave]
    };
    let (first, second) = (sizes(spline), sizes(other));
    let (path, of_other) = (path.display(), of_other.display());
    if first != second {
        let words = |[outputs, dimension, convex, concave]: [usize; 4]| {
            format!("{outputs} outputs of {dimension} inputs, {convex} convex and {concave} concave pieces")
        };
        return Err(Error::Shape(format!(
            "'{of_other}' has {}; to be compared with '{path}' it needs {}",
            words(second),
            words(first)
        )));
    }
    if spline.spline().metric != other.spline().metric {
        return Err(Error::Shape(format!(
            "'{of_other}' has another metric than '{path}', and slopes are those of its coordinates"
        )));
    }
    Ok(())
}

struct Statistics<'a> {
    session: &'a Session,
    arguments: &'a args::PieceStatistics,
    spline: &'a SplineFile,
    other: Option<&'a SplineFile>,
    points: Dataset,
}

/// What is printed; of each half one number for each output.
#[derive(Serialize)]
struct Document {
    points: usize,
    pieces: usize,
    outputs: usize,
    convex: HalfDocument,
    concave: HalfDocument,
    seconds: f64,
    device: String,
}

#[derive(Default, Serialize)]
struct HalfDocument {
    ever_active: Vec<usize>,
    never_active: Vec<usize>,
    busiest_share: Vec<f64>,
    effective_pieces: Vec<f64>,
    duplicates: Vec<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    similarity: Option<Vec<f64>>,
}

impl HalfDocument {
    fn of(half: &HalfActivity, taken: usize, outputs: usize) -> Self {
        let all = 0..outputs;
        Self {
            ever_active: all.clone().map(|k| half.ever_active(k)).collect(),
            never_active: all.clone().map(|k| taken - half.ever_active(k)).collect(),
            busiest_share: all.clone().map(|k| half.busiest_share(k)).collect(),
            effective_pieces: all.map(|k| half.effective_pieces(k)).collect(),
            ..Self::default()
        }
    }
}

impl Job for Statistics<'_> {
    type Output = ();

    fn run<E: SplineEngine>(self, engine: E) -> Result<()> {
        let Self { session, arguments, spline: file, other, points } = self;
        let context = &session.context;
        let [anchors, all, _] = file.lengths();
        let (spline, source) = (file.spline(), file.jets(&engine));
        let (outputs, pieces) = (arguments.outputs.choose(all)?, spline.pieces(anchors));
        let shape = [outputs.len(), pieces];
        let mut entries =
            vec![NpzEntry::new::<u64>("convex_count", &shape), NpzEntry::new::<u64>("concave_count", &shape)];
        if arguments.means {
            let shape = [outputs.len(), pieces, points.row_len()];
            entries.push(NpzEntry::new::<E::Scalar>("convex_mean", &shape));
            entries.push(NpzEntry::new::<E::Scalar>("concave_mean", &shape));
        }
        entries.push(NpzEntry::new::<u32>("convex_duplicate", &shape));
        entries.push(NpzEntry::new::<u32>("concave_duplicate", &shape));
        let mut writer = NpzWriter::create(OutputFile::create(&arguments.output)?, entries)?;

        let start = Instant::now();
        let active = activity(spline, &source, &points, &outputs, arguments.means, context)?;
        let mut halves = vec![];
        let names = [("convex_count", "convex_mean"), ("concave_count", "concave_mean")];
        for (((count, mean), half), taken) in
            names.into_iter().zip([active.convex, active.concave]).zip(spline.taken(anchors))
        {
            writer.append(count, &half.counts)?;
            for means in half.means.iter().flat_map(|means| means.chunks(1 << 16)) {
                let means: Vec<E::Scalar> = means.iter().map(|&v| E::Scalar::of(v)).collect();
                writer.append(mean, &means)?;
            }
            halves.push(HalfDocument::of(&half, taken, outputs.len()));
        }

        let affine = AffinePieces::of(spline, &source, 0, context)?;
        let duplicates = affine.duplicates(&outputs, context)?;
        writer.append("convex_duplicate", &duplicates.convex)?;
        writer.append("concave_duplicate", &duplicates.concave)?;
        for (half, first) in halves.iter_mut().zip([&duplicates.convex, &duplicates.concave]) {
            let others = |first: &[u32]| first.iter().enumerate().filter(|(i, j)| *i != **j as usize).count();
            half.duplicates = first.chunks_exact(pieces).map(others).collect();
        }
        if let Some(other) = other {
            let source = other.jets(&engine);
            let other = AffinePieces::of(other.spline(), &source, affine.bytes(), context)?;
            for &k in &outputs {
                let found = affine.similarity(&other, k, context)?;
                for (half, found) in halves.iter_mut().zip(found) {
                    half.similarity.get_or_insert_default().push(found);
                }
            }
        }
        writer.finish()?;

        let [convex, concave] = halves.try_into().unwrap_or_else(|_| unreachable!("there are two halves"));
        let document = Document {
            points: points.len(),
            pieces,
            outputs: outputs.len(),
            convex,
            concave,
            seconds: start.elapsed().as_secs_f64(),
            device: engine.describe(),
        };
        session.print(&document, || text(&document))
    }
}

fn text(document: &Document) -> String {
    let Document { points, pieces, outputs, convex, concave, seconds, device } = document;
    let mut text = format!(
        "{points} points, {pieces} pieces, {outputs} outputs, {seconds:.2} s on {device}\nmeans over outputs:\n\
         half     ever active  never active  busiest share  effective pieces  duplicates{}\n",
        if convex.similarity.is_some() { "  similarity" } else { "" }
    );
    let count = |values: &[usize]| values.iter().sum::<usize>() as f64 / values.len().max(1) as f64;
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    for (name, half) in [("convex", convex), ("concave", concave)] {
        let _ = write!(
            text,
            "{name:7}  {:>11.1}  {:>12.1}  {:>11.1} %  {:>16.1}  {:>10.1}",
            count(&half.ever_active),
            count(&half.never_active),
            100.0 * mean(&half.busiest_share),
            mean(&half.effective_pieces),
            count(&half.duplicates),
        );
        if let Some(similarity) = &half.similarity {
            let _ = write!(text, "  {:>10.4}", mean(similarity));
        }
        text.push('\n');
    }
    text
}
