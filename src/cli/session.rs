//! What all verbs share: settled arguments, devices, models and data.

use std::io::{self, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use serde::Serialize;
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::data::{Dataset, Normalization, ReadOptions, read_labels};
use crate::engine::cpu::keep_at_most;
use crate::engine::{Cancellation, Context, Cpu, DeviceChoice, Gpu, SplineEngine, device};
use crate::network::onnx::{self, LoadOptions};
use crate::network::{Constant, Network};
use crate::spline::SplineFile;
use crate::{Error, Result};

use super::args::{self, Fix, Globals, Precision};
use super::progress::Bars;

/// The settled general arguments.
pub(super) struct Session {
    pub context: Context,
    /// What interrupts ask the context's jobs to stop by.
    pub cancellation: Cancellation,
    pub json: bool,
    /// What was typed.
    pub command: String,
    precision: Option<Precision>,
    device: DeviceChoice,
    /// What it settled on: to look for adapters takes some hundredths of a second.
    adapter: OnceLock<Option<usize>>,
    /// Opened once for all verbs of a job: its kernels are compiled only once.
    gpu: Arc<OnceLock<Gpu>>,
    /// Where the document goes in the place of standard output, for a verb that is run by another.
    kept: Option<Mutex<serde_json::Value>>,
}

/// Something to do on an engine that is chosen at run time.
pub(super) trait Job {
    type Output;

    fn run<E: SplineEngine>(self, engine: E) -> Result<Self::Output>;
}

/// A network, cut as asked, and its file.
pub(super) struct Loaded {
    pub network: Network,
    pub model: onnx::Model,
}

impl Session {
    pub(super) fn new(globals: &Globals, command: String) -> Result<Self> {
        // Freed tensors are kept within a small part of the budget, of which plans leave more unused.
        keep_at_most(usize::try_from(globals.memory / 8).unwrap_or(usize::MAX).min(256 << 20));
        let cancellation = Cancellation::default();
        let mut context = Context::default()
            .with_memory(globals.memory)
            .with_seed(globals.seed)
            .with_cancellation(cancellation.clone());
        if let Some(bars) = Bars::on_terminal() {
            context = context.with_progress(Arc::new(bars));
        }
        // Jobs stop at their next chunk and clean up. A hang-up is left to the system, so that nohup works.
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, cancellation.flag())
                .map_err(|e| Error::Device(format!("interrupts cannot be handled: {e}")))?;
        }
        Ok(Self {
            context,
            cancellation,
            json: globals.json,
            command,
            precision: globals.precision,
            device: globals.device,
            adapter: OnceLock::new(),
            gpu: Arc::default(),
            kept: None,
        })
    }

    /// A session for one command line among others of this job: it computes on the same device, stops with this one, and
    /// keeps its document for [`into_document`](Self::into_document).
    pub(super) fn within(&self, globals: &Globals, command: String) -> Self {
        Self {
            context: self.context.clone().with_memory(globals.memory).with_seed(globals.seed),
            json: true,
            command,
            precision: globals.precision,
            device: globals.device,
            adapter: self.adapter.clone(),
            gpu: Arc::clone(&self.gpu),
            cancellation: self.cancellation.clone(),
            kept: Some(Mutex::default()),
        }
    }

    /// What was printed.
    pub(super) fn into_document(self) -> serde_json::Value {
        let kept = self.kept.unwrap_or_default();
        kept.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// The precision that the user asked for.
    pub(super) fn precision(&self) -> Option<Precision> {
        self.precision
    }

    /// What the user asked for.
    pub(super) fn device(&self) -> DeviceChoice {
        self.device
    }

    /// Refuses a device that is not there, before anything is written.
    pub(super) fn check_device(&self) -> Result<()> {
        self.adapter().map(drop)
    }

    /// The number of the adapter to compute on, `None` for the CPU.
    fn adapter(&self) -> Result<Option<usize>> {
        if let Some(adapter) = self.adapter.get() {
            return Ok(*adapter);
        }
        let found = match self.device {
            DeviceChoice::Cpu => None,
            choice => choice.resolve(&device::adapters())?,
        };
        Ok(*self.adapter.get_or_init(|| found))
    }

    fn gpu(&self, number: usize) -> Result<Gpu> {
        if let Some(gpu) = self.gpu.get() {
            return Ok(gpu.clone());
        }
        let opened = Gpu::open(number, self.context.memory())?;
        Ok(self.gpu.get_or_init(|| opened).clone())
    }

    /// Runs a job in the precision asked for, or else in `default` (`"f32"` or `"f64"`). Graphics devices compute in
    /// f32; `auto` takes the CPU for f64.
    pub(super) fn on_engine<J: Job>(&self, default: &str, job: J) -> Result<J::Output> {
        let double = self.precision.map_or(default == "f64", |precision| precision == Precision::F64);
        if double && self.device == DeviceChoice::Auto {
            return job.run(Cpu::<f64>::new());
        }
        match (self.adapter()?, double) {
            (Some(_), true) => Err(Error::Argument(format!(
                "--device {}: graphics devices compute in f32; use --precision f32, or --device cpu for f64",
                self.device
            ))),
            (Some(number), false) => job.run(self.gpu(number)?),
            (None, true) => job.run(Cpu::<f64>::new()),
            (None, false) => job.run(Cpu::<f32>::new()),
        }
    }

    /// The precision of jobs that are better done in f64, as far as the device has it.
    pub(super) fn precise(&self) -> &'static str {
        if matches!(self.device, DeviceChoice::Gpu(_)) { "f32" } else { "f64" }
    }

    /// Prints one JSON document, or text for people.
    pub(super) fn print(&self, document: &impl Serialize, text: impl FnOnce() -> String) -> Result<()> {
        let bad = |e: serde_json::Error| Error::Argument(e.to_string());
        let text =
            if self.json { serde_json::to_string_pretty(document).map_err(bad)? + "\n" } else { text() };
        if let Some(kept) = &self.kept {
            // Read back from the text, so that a number in f32 is the one that is printed.
            *kept.lock().unwrap_or_else(PoisonError::into_inner) =
                serde_json::from_str(&text).map_err(bad)?;
            return Ok(());
        }
        let mut stdout = io::stdout().lock();
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            // Whoever reads has read enough.
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result.map_err(Error::io("write", Path::new("standard output"))),
        }
    }
}

impl args::Model {
    /// Loads the network and cuts it as asked.
    pub(super) fn load(&self) -> Result<Loaded> {
        let Loaded { network, model } = self.load_all()?;
        let network = network.cut(self.part.from.as_deref(), self.part.node.as_deref())?;
        Ok(Loaded { network, model })
    }

    /// Loads the network; all of it, with all inputs and outputs, where no cut is asked for.
    pub(super) fn load_whole(&self) -> Result<Loaded> {
        if self.part.from.is_some() || self.part.node.is_some() { self.load() } else { self.load_all() }
    }

    /// Loads the network with the fixed inputs fixed.
    fn load_all(&self) -> Result<Loaded> {
        let model = onnx::load(&self.model, &LoadOptions { logits: self.part.logits })?;
        let mut network = model.network.clone();
        for Fix { input, file } in &self.part.fix {
            let data = Dataset::open(file, &ReadOptions::default())?;
            let value: Vec<f64> = data.rows(0..data.len())?.into_iter().collect();
            network = network.fix(input, &Constant::f64([value.len()], value)?)?;
        }
        Ok(Loaded { network, model })
    }
}

impl args::Part {
    /// The names of the fixed inputs, and the fingerprints of what they are fixed at.
    pub(super) fn fingerprints(&self) -> Result<Vec<[String; 2]>> {
        let of = |Fix { input, file }: &Fix| {
            Ok([input.clone(), Dataset::open(file, &ReadOptions::default())?.fingerprint()?])
        };
        self.fix.iter().map(of).collect()
    }
}

impl args::Reading {
    pub(super) fn options(&self) -> ReadOptions {
        let (mean, std) = (self.mean.clone(), self.std.clone());
        ReadOptions { key: self.key.clone(), normalization: Normalization { scale: self.scale, mean, std } }
    }
}

impl args::Data {
    pub(super) fn open(&self) -> Result<Dataset> {
        Dataset::open(&self.data, &self.reading.options())
    }

    /// As it was for the fit of a spline unless told otherwise.
    pub(super) fn open_for(&self, spline: &SplineFile) -> Result<Dataset> {
        let mut options = self.reading.options();
        if options.normalization == Normalization::default() {
            options.normalization = spline.header().normalization.clone();
        }
        Dataset::open(&self.data, &options)
    }
}

impl args::Outputs {
    /// The chosen outputs of a network with `count`.
    pub(super) fn choose(&self, count: usize) -> Result<Vec<usize>> {
        let Some(list) = &self.outputs else { return Ok((0..count).collect()) };
        list.below(count).map_err(|range| {
            let last = count.saturating_sub(1);
            Error::Argument(format!("there is no output {}: expected 0 to {last}", range.end - 1))
        })
    }
}

/// Rows of data, checked to be there; `flag` is what the user typed them behind.
pub(super) fn take(data: &Dataset, range: Option<&Range<usize>>, flag: &str) -> Result<Range<usize>> {
    let range = range.cloned().unwrap_or(0..data.len());
    if range.end > data.len() {
        return Err(Error::Argument(format!(
            "{flag} {}..{} goes beyond the {} rows of '{}'",
            range.start,
            range.end,
            data.len(),
            data.path().display()
        )));
    }
    Ok(range)
}

/// Labels of the points: one for each row of their data, or one for each point.
pub(super) fn labels(path: &Path, rows: usize, points: &Range<usize>) -> Result<Vec<u32>> {
    let labels = read_labels(path, None)?;
    match labels.len() {
        n if n == rows => Ok(labels[points.clone()].to_vec()),
        n if n == points.len() => Ok(labels),
        n => Err(Error::Argument(format!(
            "'{}' holds {n} labels; {rows} (one for each row) or {} (one for each point) would fit",
            path.display(),
            points.len()
        ))),
    }
}

/// The last part of a path, for titles and provenance.
pub(super) fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}
