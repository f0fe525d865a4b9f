//! `fenchel fit`: a spline of a network, saved.

use std::ops::Range;

use serde_json::json;

use crate::Result;
use crate::data::{Dataset, OutputFile};
use crate::engine::SplineEngine;
use crate::spline::{
    self, Fitted, Form, Header, JetSource, NetworkJets, Provenance, Recipe, Spline, Subject, largest,
};

use super::args;
use super::recipe::{count, words};
use super::session::{Job, Loaded, Session, file_name, take};

pub(super) fn fit(session: &Session, arguments: &args::Fit) -> Result<()> {
    let loaded = arguments.model.load()?;
    let data = arguments.data.open()?;
    session.on_engine("f32", Fit { session, arguments, loaded, data })
}

struct Fit<'a> {
    session: &'a Session,
    arguments: &'a args::Fit,
    loaded: Loaded,
    data: Dataset,
}

impl Job for Fit<'_> {
    type Output = ();

    fn run<E: SplineEngine>(self, engine: E) -> Result<()> {
        let Self { session, arguments, loaded, data } = self;
        let context = &session.context;
        let program = loaded.network.compile(&engine)?;
        let outputs = arguments.outputs.choose(program.outputs())?;
        let making = &arguments.making;
        let mut taken = take(&data, arguments.take.as_ref(), "--take")?;
        let whole = making.recipe(count(arguments.pieces, taken.len()), program.dimension())?;
        if arguments.take.is_none() {
            match &making.common.validation {
                Some(validation) => taken = beside(validation, &data),
                None if whole.needs_validation() => taken = held_out(&data),
                None => {}
            }
        }
        let recipe = Recipe { pieces: count(arguments.pieces, taken.len()), ..whole };
        let validation = making.common.validation(&data, &[&taken])?;
        let output = OutputFile::create(&arguments.output)?;
        let anchors = data.select_range(taken.clone())?;
        let subject = Subject {
            network: &loaded.network,
            program: &program,
            outputs: &outputs,
            anchors: &anchors,
            validation: validation.as_ref(),
        };
        let Fitted { spline, chosen, relative_rmse, before } = subject.fit(&recipe, context)?;

        let rows: Vec<usize> = chosen.iter().map(|i| taken.start + i).collect();
        let source = NetworkJets::new(&program, data.select(&rows)?, outputs.clone())?;
        let provenance = Provenance {
            model: file_name(&arguments.model.model),
            model_sha256: loaded.model.fingerprint.clone(),
            node: arguments.model.part.node.clone(),
            outputs: outputs.clone(),
            data: file_name(&arguments.data.data),
            data_sha256: data.fingerprint()?,
            selection: words::selection(&recipe.selection, recipe.pieces == taken.len()),
            curvature: words::curvature(&recipe.curvature),
            metric: making.metric_name().to_owned(),
            slopes: words::pieces(&recipe),
            seed: context.seed(),
        };
        let header = Header::new(provenance, data.normalization().clone(), &spline);
        let indices: Vec<u64> = rows.iter().map(|&row| row as u64).collect();
        spline::save(output, &spline, &header, &source, &indices, context)?;
        let Spline { curvature, certificate, metric, form } = &spline;
        let (slopes, softness) = match form {
            Form::Tangents(tangents) => (Some(tangents.slopes), header.softness),
            Form::Planes(_) => (None, header.softness),
        };
        let document = json!({
            "pieces": recipe.pieces,
            "anchors": rows.len(),
            "dimension": source.dimension(),
            "outputs": outputs.len(),
            "selection": header.provenance.selection,
            "metric": metric.describe(),
            "curvature": largest(curvature),
            "curvatures": curvature.iter().map(|c| [c.a, c.b]).collect::<Vec<_>>(),
            "curvature_choice": header.provenance.curvature,
            "slopes": slopes,
            "slopes_choice": header.provenance.slopes,
            "softness": softness,
            "relative_rmse_validation": relative_rmse,
            "relative_rmse_before_refinement": before,
            "certificate_curvature": largest(&certificate.curvature),
            "certificate_label": certificate.label,
            "seed": context.seed(),
        });
        session.print(&document, || {
            let error = relative_rmse.map_or_else(String::new, |error| {
                let before = before.map_or_else(String::new, |before| format!(", {before:.4} before refinement"));
                format!("relative error on validation {error:.4}{before}\n")
            });
            format!(
                "{} pieces in {} dimensions for {} outputs: {}, metric {}, curvature {:.4} ({}), slopes {}, in '{}'\n\
                 {error}error bars at curvature {:.4} ({})\n",
                recipe.pieces,
                source.dimension(),
                outputs.len(),
                header.provenance.selection,
                metric.describe(),
                largest(curvature),
                header.provenance.curvature,
                slopes.map_or_else(|| header.provenance.slopes.clone(), |slopes| slopes.to_string()),
                arguments.output.display(),
                largest(&certificate.curvature),
                certificate.label.describe(),
            )
        })
    }
}

/// The first nine tenths: the others are left for choices.
fn held_out(data: &Dataset) -> Range<usize> {
    0..(data.len() - data.len().div_ceil(10)).max(1)
}

/// The rows before a range, or those behind it where there are more.
fn beside(range: &Range<usize>, data: &Dataset) -> Range<usize> {
    let (before, behind) = (0..range.start.min(data.len()), range.end.min(data.len())..data.len());
    let longer = if before.len() >= behind.len() { before } else { behind };
    // A range that leaves nothing is refused where it is read.
    if longer.is_empty() { 0..data.len() } else { longer }
}
