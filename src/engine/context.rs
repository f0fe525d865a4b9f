//! What every job is told: how much memory it may take, when to stop, whom to tell, and its seed.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::{Error, Result};

/// The memory budget where none is given: 768 MiB.
pub const DEFAULT_MEMORY: u64 = 768 << 20;

/// A flag that asks running jobs to stop. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Cancellation(Arc<AtomicBool>);

impl Cancellation {
    /// Asks every job that holds this flag to stop at its next chunk.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// The flag itself, for a signal handler to set.
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }

    /// Whether [`cancel`](Self::cancel) was called.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Hears how far a job has come. Implementations must be cheap: they are called once for each chunk.
pub trait Progress: Send + Sync {
    /// A stage begins; `total` is in units of its own (samples, pairs of point and anchor).
    fn start(&self, stage: &str, total: u64);
    /// So many more units are done.
    fn advance(&self, units: u64);
    /// The stage is over.
    fn finish(&self);
}

/// A [`Progress`] that says nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn start(&self, _stage: &str, _total: u64) {}
    fn advance(&self, _units: u64) {}
    fn finish(&self) {}
}

/// The circumstances of a job.
#[derive(Clone)]
pub struct Context {
    memory: u64,
    seed: u64,
    cancellation: Cancellation,
    progress: Arc<dyn Progress>,
}

impl Default for Context {
    /// [`DEFAULT_MEMORY`], seed 0, silent.
    fn default() -> Self {
        Self {
            memory: DEFAULT_MEMORY,
            seed: 0,
            cancellation: Cancellation::default(),
            progress: Arc::new(Silent),
        }
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("memory", &self.memory)
            .field("seed", &self.seed)
            .field("cancellation", &self.cancellation)
            .finish_non_exhaustive()
    }
}

impl Context {
    /// The same with a memory budget in bytes, for everything a job holds beside its input data.
    #[must_use]
    pub fn with_memory(mut self, bytes: u64) -> Self {
        self.memory = bytes;
        self
    }

    /// The same with a seed.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The same with a flag that stops it.
    #[must_use]
    pub fn with_cancellation(mut self, cancellation: Cancellation) -> Self {
        self.cancellation = cancellation;
        self
    }

    /// The same with someone to tell.
    #[must_use]
    pub fn with_progress(mut self, progress: Arc<dyn Progress>) -> Self {
        self.progress = progress;
        self
    }

    /// The memory budget in bytes.
    pub fn memory(&self) -> u64 {
        self.memory
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// A random stream of its own for each `stream`: no two share a number, whatever runs in parallel.
    pub fn rng(&self, stream: u64) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(stream);
        rng
    }

    /// Whom to tell.
    pub fn progress(&self) -> &dyn Progress {
        &*self.progress
    }

    /// # Errors
    /// [`Error::Cancelled`] once the job was asked to stop.
    pub fn check(&self) -> Result<()> {
        if self.cancellation.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }
}
