//! Every loader, each with a first use of what it gives: what fuzz targets and malformed inputs go through.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};

use fenchel::data::{Dataset, ReadOptions, array_names, read_array, read_labels};
use fenchel::engine::{Context, Cpu, Search};
use fenchel::network::Network;
use fenchel::network::onnx::{self, LoadOptions, from_bytes};
use fenchel::regions::Enumeration;
use fenchel::render::read_plane;
use fenchel::report::{Setting, State, Sweep, SweepSettings};
use fenchel::spline::{SplineFile, evaluate};
use fenchel::{Error, Result};
use ndarray::Array2;

/// Reads bytes as a file of its kind and uses what comes out.
pub(crate) type Loader = fn(&[u8]) -> Result<()>;

/// The loaders by the kind of file.
pub(crate) const LOADERS: [(&str, Loader); 9] = [
    ("onnx", network),
    ("npy", array),
    ("npz", array),
    ("idx", array),
    ("images", images),
    ("splines", spline),
    ("planes", plane),
    ("enumerations", enumeration),
    ("checkpoints", checkpoint),
];

/// Networks that need more than this for one sample are not run.
const MOST_BYTES: u64 = 8 << 20;
const MOST_FLOPS: u64 = 10_000_000;

fn small() -> Context {
    Context::default().with_memory(64 << 20)
}

/// A file in a temporary folder of its own, always the same one of a thread.
fn written(name: &str, bytes: &[u8]) -> PathBuf {
    thread_local! {
        static FOLDER: RefCell<Option<tempfile::TempDir>> = const { RefCell::new(None) };
    }
    FOLDER.with_borrow_mut(|folder| {
        let folder = folder.get_or_insert_with(|| tempfile::tempdir().expect("a temporary folder"));
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap_or(folder.path())).expect("a folder of files");
        fs::write(&path, bytes).expect("a temporary file");
        path
    })
}

fn network(bytes: &[u8]) -> Result<()> {
    let model = from_bytes(bytes, None, &LoadOptions::default())?;
    run(&model.network)?;
    // What is written for splined activations is read by a scanner of its own.
    onnx::has_external_weights(bytes).map(drop)
}

/// One sample through a network, and its jet, where they are cheap.
fn run(network: &Network) -> Result<()> {
    let _ = (network.kind(), network.parameters());
    let program = network.cut(None, None)?.compile(&Cpu::<f32>::new())?;
    let outputs: Vec<usize> = (0..program.outputs().min(3)).collect();
    let x = Array2::from_elem((1, program.dimension()), 0.5_f32);
    if program.bytes_per_sample(None) <= MOST_BYTES && program.flops_per_sample(None) <= MOST_FLOPS {
        program.values(x.view(), &small())?;
    }
    let jets = Some(outputs.len());
    if program.bytes_per_sample(jets) <= MOST_BYTES && program.flops_per_sample(jets) <= MOST_FLOPS {
        match program.jets(&program.upload(x.view())?, &outputs) {
            // Not every operator has derivatives.
            Err(Error::MissingSlot { .. }) => {}
            jets => drop(jets?),
        }
    }
    Ok(())
}

fn array(bytes: &[u8]) -> Result<()> {
    let path = written("array", bytes);
    for name in array_names(&path).unwrap_or_default().iter().take(4) {
        let _ = read_array(&path, Some(name));
    }
    let _ = read_labels(&path, None);
    rows(&path)?;
    read_array(&path, None).map(drop)
}

/// The first rows of a dataset, all of them as a fingerprint.
fn rows(path: &Path) -> Result<()> {
    let data = Dataset::open(path, &ReadOptions::default())?;
    data.fingerprint()?;
    data.rows::<f32>(0..data.len().min(3)).map(drop)
}

fn images(bytes: &[u8]) -> Result<()> {
    let image = written("images/0.png", bytes);
    rows(image.parent().unwrap_or(&image))
}

fn spline(bytes: &[u8]) -> Result<()> {
    let file = SplineFile::open(&written("spline", bytes))?;
    let [_, outputs, dimension] = file.lengths();
    let points = Dataset::from_array(Array2::from_elem((2, dimension), 0.5_f32).view())?;
    let source = file.jets(&Cpu::<f32>::new());
    evaluate(file.spline(), &source, &points, Search::Pruned, &small(), |chunk| {
        assert_eq!(chunk.value.len(), chunk.range.len() * outputs);
        Ok(())
    })
}

fn plane(bytes: &[u8]) -> Result<()> {
    let plane = read_plane(&written("plane", bytes))?;
    assert_eq!((plane.u.len(), plane.v.len()), (plane.origin.len(), plane.origin.len()));
    Ok(())
}

/// What an enumeration of the regions of a network of `assets/` continues from.
fn enumeration(bytes: &[u8]) -> Result<()> {
    let network =
        from_bytes(include_bytes!("../../assets/moons.onnx"), None, &LoadOptions::default())?.network;
    let path = written("enumeration", bytes);
    let mut enumeration = Enumeration::resume(&network, [-1.0, 1.0], &path, &small())?;
    enumeration.run(enumeration.len() + 5, &small())
}

/// What a sweep continues from: sums of two points out of three, or whatever the bytes say.
fn checkpoint(bytes: &[u8]) -> Result<()> {
    let state: State =
        serde_json::from_slice(bytes).map_err(|e| Error::Argument(format!("no state of a sweep: {e}")))?;
    let mut builder = Network::builder();
    builder.input("x", &[2])?;
    let end = builder.layer(fenchel::engine::Activation::Tanh)?;
    let program = builder.finish(&[end])?.compile(&Cpu::<f32>::new())?;
    let rows = Dataset::from_array(ndarray::arr2(&[[0.5_f32, -1.0], [1.5, 0.25], [-0.75, 2.0]]).view())?;
    let sweep = Sweep {
        program: &program,
        outputs: vec![0, 1],
        anchors: rows.clone(),
        points: rows,
        labels: None,
        settings: SweepSettings {
            pieces: vec![1, 2],
            curvatures: vec![Setting::given(1.0)],
            seeds: vec![0],
            certificate: None,
        },
    };
    let end = sweep.run(state, &small(), |_| Ok(()))?;
    assert_eq!(end.points, 3);
    assert_eq!(sweep.settings.table(&end, 2, false).len(), 2);
    Ok(())
}
