//! `fenchel regions`: the regions of a network in a box, around a point and along a path.

use std::path::PathBuf;
use std::time::Instant;

use clap::{ArgGroup, Args};
use serde_json::{Value, json};

use crate::data::{Dataset, NpzEntry, NpzWriter, OutputFile};
use crate::network::Network;
use crate::regions::{CodeLayer, Enumeration};
use crate::{Error, Result};

use super::args;
use super::regions_of_points;
use super::session::Session;

#[derive(Debug, Args)]
#[command(
    group(ArgGroup::new("what").required(true).multiple(true).args(["limits", "at", "path"])),
    after_help = "Examples:
  # All regions in a box
  fenchel regions model.onnx --box -1,1 --budget 100000 -o regions.json
  # The region of row 3, with its facets; the second as far as 100 programs tell
  fenchel regions model.onnx --data x.npy --at 3 -o polytope.json
  fenchel regions cnn.onnx --data x.npy --at 3 --programs 100 -o polytope.json
  # Breakpoints from row 3 to row 8
  fenchel regions model.onnx --data x.npy --path 3,8 -o path.json
  # Regions that random points see
  fenchel regions model.onnx --data x.npy --at 3 --ball 0.5 -o ball.json

Takes affine and piecewise affine operators, as fenchel partition does; of smooth activations fenchel layers --save \
    makes such. Computes on the CPU in f64. Counts are labelled: exact (all facets crossed), capped (the budget ended it), \
    visited. Arrays of --npz: for a box code [R, words], centre [R, D], inradius [R]; for a point the constraints A [m, D], \
    b [m] (A x <= b, rows of length 1) with layer, unit, to [m] (4294967295 is the box), facet [F] (numbers of constraints), \
    point [F, D], code [words], slope [K, D], offset [K]; for a path at, layer, unit, from, to [B], places [T], \
    values [T, K]."
)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub model: args::Model,

    /// Only inside the box of all inputs between these ends, such as -1,1; alone: find all regions in it
    #[arg(long = "box", value_name = "LO,HI", value_parser = ends, allow_hyphen_values = true, help_heading = "All regions of a box")]
    pub limits: Option<[f64; 2]>,

    /// End after so many regions
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), conflicts_with_all = ["at", "path"], help_heading = "All regions of a box")]
    pub budget: Option<u32>,

    /// Go on from this file where it is there; what was found goes into it at the end, when the budget is spent or the job
    /// interrupted
    #[arg(long, value_name = "STATE.npz", conflicts_with_all = ["at", "path"], help_heading = "All regions of a box")]
    pub resume: Option<PathBuf>,

    /// Rows of data: .npy, .npz, IDX (also gzipped), or a folder of images
    #[arg(long, value_name = "FILE", help_heading = "Around rows of data")]
    pub data: Option<PathBuf>,

    #[command(flatten)]
    pub reading: args::Reading,

    /// The region of this row of the data, or with --ball those around it
    #[arg(
        long,
        value_name = "ROW",
        requires = "data",
        conflicts_with = "path",
        help_heading = "Around rows of data"
    )]
    pub at: Option<usize>,

    /// What a ray from the row --at towards this one meets first
    #[arg(
        long,
        value_name = "ROW",
        requires = "at",
        conflicts_with = "ball",
        help_heading = "Around rows of data"
    )]
    pub towards: Option<usize>,

    /// No more linear programs than this to tell facets from constraints that others imply: with --at in many dimensions
    #[arg(
        long,
        value_name = "N",
        requires = "at",
        conflicts_with = "ball",
        help_heading = "Around rows of data"
    )]
    pub programs: Option<u32>,

    /// Where units change their pieces on the segment between these two rows
    #[arg(long, value_name = "ROW,ROW", value_parser = pair, requires = "data", conflicts_with = "limits", help_heading = "Around rows of data")]
    pub path: Option<[usize; 2]>,

    /// Count the regions that random points see in a ball of this radius around the row --at
    #[arg(long, value_name = "RADIUS", requires = "at", conflicts_with_all = ["limits", "npz"], help_heading = "Around rows of data")]
    pub ball: Option<f64>,

    /// Take the points on the surface of the ball
    #[arg(long, requires = "ball", help_heading = "Around rows of data")]
    pub surface: bool,

    /// How many points
    #[arg(
        long,
        value_name = "N",
        default_value_t = 10_000,
        requires = "ball",
        help_heading = "Around rows of data"
    )]
    pub samples: usize,

    #[command(flatten)]
    pub outputs: args::Outputs,

    /// Where the results go
    #[arg(short, long, value_name = "R.json")]
    pub output: PathBuf,

    /// Where arrays go
    #[arg(long, value_name = "R.npz")]
    pub npz: Option<PathBuf>,
}

pub(super) fn regions(session: &Session, arguments: &Arguments) -> Result<()> {
    let files = [Some(&arguments.output), arguments.npz.as_ref(), arguments.resume.as_ref()];
    let files: Vec<&PathBuf> = files.into_iter().flatten().collect();
    if let Some(path) =
        files.iter().enumerate().find_map(|(i, path)| files[..i].contains(path).then_some(path))
    {
        return Err(Error::Argument(format!("two results cannot share the file '{}'", path.display())));
    }
    let network = arguments.model.load()?.network;
    let result = match &arguments.data {
        Some(data) if arguments.at.is_some() || arguments.path.is_some() => {
            let data = Dataset::open(data, &arguments.reading.options())?;
            regions_of_points::run(session, arguments, &network, &data)
        }
        _ => in_a_box(session, arguments, &network),
    };
    result.map_err(|error| match error {
        Error::MissingSlot { .. } => Error::Graph(format!(
            "{error}; of smooth activations fenchel layers --save makes piecewise affine ones"
        )),
        other => other,
    })
}

fn in_a_box(session: &Session, arguments: &Arguments, network: &Network) -> Result<()> {
    let limits = arguments.limits.unwrap_or_default();
    let context = &session.context;
    let json = OutputFile::create(&arguments.output)?;
    let npz = arguments.npz.as_ref().map(|path| OutputFile::create(path)).transpose()?;
    let start = Instant::now();
    let state = arguments.resume.as_ref();
    let mut enumeration = match state.filter(|path| path.exists()) {
        Some(path) => Enumeration::resume(network, limits, path, context)?,
        None => Enumeration::new(network, limits, context)?,
    };
    let before = enumeration.len();
    let run = enumeration.run(arguments.budget.map_or(usize::MAX, |budget| budget as usize), context);
    if let Some(path) = state {
        enumeration.save(path)?;
    }
    run?;
    let seconds = start.elapsed().as_secs_f64();
    if let Some(npz) = npz {
        let (count, words, dimension) = (enumeration.len(), enumeration.words(), enumeration.dimension());
        let entries = [
            NpzEntry::new::<u32>("code", &[count, words]),
            NpzEntry::new::<f64>("centre", &[count, dimension]),
            NpzEntry::new::<f64>("inradius", &[count]),
        ];
        let mut writer = NpzWriter::create(npz, entries)?;
        for i in 0..count {
            writer.append("code", enumeration.code(i))?;
            writer.append("centre", &enumeration.centre(i))?;
            writer.append("inradius", &[enumeration.inradius(i)])?;
        }
        writer.finish()?;
    }
    let mut radii: Vec<f64> = (0..enumeration.len()).map(|i| enumeration.inradius(i)).collect();
    radii.sort_by(f64::total_cmp);
    let (label, count, tiny) = (enumeration.label().name(), enumeration.len(), enumeration.tiny());
    let (open, unresolved) = (enumeration.open(), enumeration.unresolved());
    let document = json!({
        "label": label,
        "count": count,
        "seconds": seconds,
        "tiny": tiny,
        "unresolved": unresolved,
        "open_facets": open,
        "resumed": before > 1,
        "box": limits,
        "dimension": enumeration.dimension(),
        "inradius": [radii[0], radii[count / 2], radii[count - 1]],
        "layers": layers(enumeration.layers()),
    });
    put(json, &document)?;
    session.print(&document, || {
        let mut text = format!(
            "{count} regions ({label}) with all inputs in [{}, {}], {seconds:.4} s\n\
             inradius {:.4e} to {:.4e}, median {:.4e}; {tiny} tiny (below 1e-9 of half the edge)\n",
            limits[0],
            limits[1],
            radii[0],
            radii[count - 1],
            radii[count / 2]
        );
        if open > 0 {
            text += &format!("{open} facets were not crossed: there are more regions\n");
        }
        if unresolved > 0 {
            text += &format!("behind {unresolved} facets nothing was thicker than rounding\n");
        }
        text
    })
}

/// Where the units of layers lie in a code.
pub(super) fn layers(layers: &[CodeLayer]) -> Vec<Value> {
    let layer = |layer: &CodeLayer| {
        json!({
            "node": layer.name,
            "units": layer.units,
            "bits": layer.bits(),
            "first_word": layer.words.start,
        })
    };
    layers.iter().map(layer).collect()
}

/// Writes a document.
pub(super) fn put(mut file: OutputFile, document: &Value) -> Result<()> {
    let text = serde_json::to_string_pretty(document).map_err(|e| Error::Argument(e.to_string()))?;
    file.put(text.as_bytes())?;
    file.put(b"\n")?;
    file.commit()
}

fn ends(text: &str) -> Result<[f64; 2], String> {
    match text.split_once(',').map(|(low, high)| (low.trim().parse(), high.trim().parse())) {
        Some((Ok(low), Ok(high))) if f64::is_finite(low) && f64::is_finite(high) && low < high => {
            Ok([low, high])
        }
        _ => Err("expected LO,HI with LO below HI, such as -1,1".to_owned()),
    }
}

fn pair(text: &str) -> Result<[usize; 2], String> {
    match text.split_once(',').map(|(from, to)| (from.trim().parse(), to.trim().parse())) {
        Some((Ok(from), Ok(to))) if from != to => Ok([from, to]),
        _ => Err("expected two different rows, such as 3,8".to_owned()),
    }
}
