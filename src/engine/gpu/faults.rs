//! What went wrong on a device, until somebody asks: errors of a GPU arrive late, and not where they were made.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::{Error, Result};

use super::pipelines::Kernel;

/// The first fault of a device; clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Faults(Arc<Mutex<State>>);

/// What runs, for the message: said before each kernel, and put into words when something goes wrong.
#[derive(Debug, Default, Clone, Copy)]
pub(super) enum Running {
    #[default]
    Nothing,
    Allocation {
        bytes: u64,
    },
    Kernel(Kernel),
}

impl fmt::Display for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => Ok(()),
            Self::Allocation { bytes } => {
                write!(f, " during the allocation of {} MiB", bytes.div_ceil(1 << 20))
            }
            Self::Kernel(kernel) => write!(f, " during the kernel {}/{}", kernel.file, kernel.entry),
        }
    }
}

#[derive(Debug, Default)]
struct State {
    running: Running,
    first: Option<String>,
}

impl Faults {
    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Hears of everything that goes wrong from now on.
    pub(super) fn listen(&self, device: &wgpu::Device) {
        let faults = self.clone();
        device.on_uncaptured_error(Arc::new(move |error| {
            faults.put(match error {
                wgpu::Error::OutOfMemory { .. } => "ran out of memory".to_owned(),
                wgpu::Error::Validation { description, .. } => {
                    format!("refused a command: {}", one_line(&description))
                }
                wgpu::Error::Internal { description, .. } => format!("failed: {}", one_line(&description)),
            });
        }));
        let faults = self.clone();
        device.set_device_lost_callback(move |_, reason| {
            faults.put(format!("was lost: {}", one_line(&reason)))
        });
    }

    /// Says what runs from now on.
    pub(super) fn running(&self, what: Running) {
        self.with(|state| state.running = what);
    }

    /// Notes a fault, unless there was one before: what follows from the first says nothing new.
    pub(super) fn put(&self, what: String) {
        self.with(|state| {
            if state.first.is_none() {
                let running = state.running;
                state.first = Some(format!(
                    "the graphics device {what}{running}; a lower --memory makes smaller pieces, --device cpu does without it"
                ));
            }
        });
    }

    /// # Errors
    /// [`Error::Device`] with the first fault, if there was one.
    pub(super) fn check(&self) -> Result<()> {
        self.with(|state| state.first.clone().map_or(Ok(()), |fault| Err(Error::Device(fault))))
    }
}

/// The first of several lines is what happened, the last is why.
fn one_line(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    match lines[..] {
        [] => "no reason given".to_owned(),
        [only] => only.to_owned(),
        [first, .., last] => format!("{first} {last}"),
    }
}
