//! `fenchel eval`: a saved spline at points.

use std::time::Instant;

use serde_json::json;

use crate::data::{Dataset, NpzEntry, NpzWriter, OutputFile};
use crate::engine::{Search, SplineEngine};
use crate::network::columns;
use crate::spline::{Evaluated, SplineFile, evaluate};
use crate::{Result, Scalar};

use super::args;
use super::session::{Job, Session};

pub(super) fn eval(session: &Session, arguments: &args::Eval) -> Result<()> {
    let spline = SplineFile::open(&arguments.spline)?;
    let points = arguments.data.open_for(&spline)?;
    session.on_engine(spline.precision(), Eval { session, arguments, spline: &spline, points })
}

struct Eval<'a> {
    session: &'a Session,
    arguments: &'a args::Eval,
    spline: &'a SplineFile,
    points: Dataset,
}

impl Job for Eval<'_> {
    type Output = ();

    fn run<E: SplineEngine>(self, engine: E) -> Result<()> {
        let Self { session, arguments, spline, points } = self;
        let [anchors, all, _] = spline.lengths();
        let pieces = spline.spline().taken(anchors).into_iter().max().unwrap_or(anchors);
        let outputs = arguments.outputs.choose(all)?;
        let shape = [points.len(), outputs.len()];
        let float = |name| NpzEntry::new::<E::Scalar>(name, &shape);
        let entries = [
            float("value"),
            float("lower"),
            float("upper"),
            NpzEntry::new::<u32>("convex_piece", &shape),
            NpzEntry::new::<u32>("concave_piece", &shape),
        ];
        let mut writer = NpzWriter::create(OutputFile::create(&arguments.output)?, entries)?;
        let start = Instant::now();
        let (mut width, mut sum, mut squares) = (0.0, 0.0, 0.0);
        let search = if arguments.exhaustive { Search::Exhaustive } else { Search::Pruned };
        let mut skipped = 0.0;
        evaluate(spline.spline(), &spline.jets(&engine), &points, search, &session.context, |block| {
            skipped += block.skipped * block.range.len() as f64 / points.len() as f64;
            let Evaluated { value, lower, upper, convex_piece, concave_piece, .. } = block;
            let (value, lower, upper) = (
                columns(&value, all, &outputs),
                columns(&lower, all, &outputs),
                columns(&upper, all, &outputs),
            );
            for ((v, l), u) in value.iter().zip(&lower).zip(&upper) {
                width += (u.f64() - l.f64()) / 2.0;
                sum += v.f64();
                squares += v.f64() * v.f64();
            }
            writer.append("value", &value)?;
            writer.append("lower", &lower)?;
            writer.append("upper", &upper)?;
            writer.append("convex_piece", &columns(&convex_piece, all, &outputs))?;
            writer.append("concave_piece", &columns(&concave_piece, all, &outputs))
        })?;
        writer.finish()?;
        let seconds = start.elapsed().as_secs_f64();
        let count = (points.len() * outputs.len()) as f64;
        let half_width = width / count;
        let deviation = (squares / count - (sum / count).powi(2)).max(0.0).sqrt();
        let label = spline.spline().certificate.label;
        let document = json!({
            "points": points.len(),
            "pieces": pieces,
            "outputs": outputs.len(),
            "certificate": half_width,
            "relative_certificate": half_width / deviation,
            "certificate_label": label,
            "skipped": skipped,
            "seconds": seconds,
            "device": engine.describe(),
        });
        session.print(&document, || {
            let crossed = if half_width < 0.0 {
                "the lower bounds lie above the upper ones: the curvature is too small to bound anything\n"
            } else {
                ""
            };
            format!(
                "{} points, {pieces} pieces, {} outputs, {seconds:.2} s on {}, {:.1} % of the scores skipped\n\
                 mean half-width of the error bars {half_width:.4}, {:.2} standard deviations of the spline ({})\n\
                 {crossed}",
                points.len(),
                outputs.len(),
                engine.describe(),
                100.0 * skipped,
                half_width / deviation,
                label.describe(),
            )
        })
    }
}
