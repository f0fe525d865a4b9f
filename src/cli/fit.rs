//! `fenchel fit`: a spline of a network, saved.

use serde_json::json;

use crate::Result;
use crate::data::{Dataset, OutputFile};
use crate::engine::{Curvature, SplineEngine};
use crate::spline::{self, Certificate, Header, JetSource, NetworkJets, Provenance, Selection, Spline};

use super::args::{self, CurvatureChoice, Pieces};
use super::session::{Job, Loaded, Session, curvature_points, file_name, take};

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
        let taken = take(&data, arguments.take.as_ref(), "--take")?;
        let pieces = match arguments.pieces {
            Pieces::All => taken.len(),
            Pieces::Some(pieces) => pieces,
        };
        let rows: Vec<usize> = match Selection::random(pieces, taken.len(), context.seed())? {
            Selection::All => taken.clone().collect(),
            Selection::Some(chosen) => chosen.iter().map(|&i| taken.start + i as usize).collect(),
        };
        let output = OutputFile::create(&arguments.output)?;
        let source = NetworkJets::new(&program, data.select(&rows)?, outputs.clone())?;
        let estimate = |choice| {
            session.curvature(choice, &source, &program, &outputs, || {
                curvature_points(&data, arguments.curving.curvature_points.as_ref(), &[&taken])
            })
        };
        let (curvature, label) = estimate(arguments.curvature)?;
        let (certified, certificate_label) = match arguments.curving.certificate {
            None => (curvature, label),
            Some(choice) if choice == arguments.curvature => (curvature, label),
            Some(choice) => estimate(choice)?,
        };
        let mut spline = Spline::isotropic(curvature, outputs.len())?;
        let certified = vec![Curvature::isotropic(certified); outputs.len()];
        spline.certificate = Certificate { curvature: certified, label: certificate_label };
        let provenance = Provenance {
            model: file_name(&arguments.model.model),
            model_sha256: loaded.model.fingerprint.clone(),
            node: arguments.model.part.node.clone(),
            outputs,
            data: file_name(&arguments.data.data),
            data_sha256: data.fingerprint()?,
            selection: if pieces == taken.len() { "all" } else { "random" }.to_owned(),
            curvature: match arguments.curvature {
                CurvatureChoice::Given(_) => "given",
                CurvatureChoice::Secant => "secant",
            }
            .to_owned(),
            seed: context.seed(),
        };
        let header = Header::new(provenance, data.normalization().clone(), certificate_label);
        let indices: Vec<u64> = rows.iter().map(|&row| row as u64).collect();
        spline::save(output, &spline, &header, &source, &indices, context)?;
        let document = json!({
            "pieces": pieces,
            "dimension": source.dimension(),
            "outputs": source.outputs(),
            "curvature": curvature,
            "curvature_label": label,
            "certificate_curvature": spline.certificate.curvature[0].a,
            "certificate_label": certificate_label,
            "seed": context.seed(),
        });
        session.print(&document, || {
            format!(
                "{pieces} pieces in {} dimensions for {} outputs, curvature {curvature} ({}), in '{}'\n",
                source.dimension(),
                source.outputs(),
                label.describe(),
                arguments.output.display(),
            )
        })
    }
}
