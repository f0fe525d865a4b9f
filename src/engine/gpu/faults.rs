//! What went wrong on a device, until somebody asks: errors of a GPU arrive late, and not where they were made.

use std::sync::{Arc, Mutex, PoisonError};

use crate::{Error, Result};

/// The first fault of a device; clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Faults(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// What runs, for the message.
    running: String,
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
    pub(super) fn running(&self, what: impl FnOnce(&mut String)) {
        self.with(|state| {
            state.running.clear();
            what(&mut state.running);
        });
    }

    /// Notes a fault, unless there was one before: what follows from the first says nothing new.
    pub(super) fn put(&self, what: String) {
        self.with(|state| {
            if state.first.is_none() {
                let during = if state.running.is_empty() { String::new() } else { format!(" during {}", state.running) };
                state.first = Some(format!(
                    "the graphics device {what}{during}; a lower --memory makes smaller pieces, --device cpu does without it"
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
