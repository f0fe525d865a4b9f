//! Progress bars on standard error.

use std::io::{IsTerminal, stderr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::engine::Progress;

/// A stage shows a bar once it has taken so long.
const PATIENCE: Duration = Duration::from_millis(500);

/// Bars for people: only on a terminal, and only for stages that take their time.
pub(super) struct Bars(Mutex<Option<Stage>>);

struct Stage {
    name: String,
    since: Instant,
    done: u64,
    total: u64,
    bar: Option<ProgressBar>,
}

impl Bars {
    /// Bars, where standard error is a terminal.
    pub(super) fn on_terminal() -> Option<Self> {
        stderr().is_terminal().then(|| Self(Mutex::new(None)))
    }

    fn with(&self, f: impl FnOnce(&mut Option<Stage>)) {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Progress for Bars {
    fn start(&self, stage: &str, total: u64) {
        let stage = Stage { name: stage.to_owned(), since: Instant::now(), done: 0, total, bar: None };
        self.with(|current| *current = Some(stage));
    }

    fn advance(&self, units: u64) {
        self.with(|current| {
            let Some(stage) = current else { return };
            stage.done += units;
            if stage.bar.is_none() && stage.since.elapsed() > PATIENCE && stage.done < stage.total {
                let template = "{msg} {wide_bar} {percent:>3} %  {elapsed} of {duration}";
                let style = ProgressStyle::with_template(template);
                let bar = ProgressBar::new(stage.total).with_elapsed(stage.since.elapsed());
                bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
                bar.set_message(stage.name.clone());
                stage.bar = Some(bar);
            }
            if let Some(bar) = &stage.bar {
                bar.set_position(stage.done);
            }
        });
    }

    fn finish(&self) {
        self.with(|current| {
            if let Some(Stage { bar: Some(bar), .. }) = current.take() {
                bar.finish_and_clear();
            }
        });
    }
}
