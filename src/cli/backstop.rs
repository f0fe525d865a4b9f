//! Ends an interrupted program that does not end by itself.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use signal_hook::low_level;

use crate::Error;
use crate::data::remove_temporaries;
use crate::engine::Cancellation;

/// How often the interrupt is looked for.
const OFTEN: Duration = Duration::from_millis(50);

/// How long jobs have to stop by themselves: with what is above and below it, less than a second in all.
const PATIENCE: Duration = Duration::from_millis(600);

/// Looks for the interrupt beside the job. Jobs look for it themselves, between chunks; what stands between two looks (a
/// large file being read, a kernel over millions of slopes, a driver that compiles) may take longer than anyone waits
/// for Ctrl-C.
pub(super) struct Backstop {
    /// Whether the program's end is settled: by its job or by this.
    settled: Arc<AtomicBool>,
}

impl Backstop {
    pub(super) fn start(cancellation: Cancellation) -> Self {
        let settled = Arc::new(AtomicBool::new(false));
        let shared = Arc::clone(&settled);
        std::thread::spawn(move || {
            while !cancellation.is_cancelled() {
                std::thread::sleep(OFTEN);
                if shared.load(Ordering::Relaxed) {
                    return;
                }
            }
            std::thread::sleep(PATIENCE);
            if !shared.swap(true, Ordering::Relaxed) {
                remove_temporaries();
                let _ = writeln!(io::stderr(), "error: {}", Error::Cancelled);
                // Other threads still compute: nothing may be torn down under them.
                low_level::exit(1);
            }
        });
        Self { settled }
    }

    /// The job has ended; does not return where the program is being ended for it.
    pub(super) fn call_off(self) {
        if self.settled.swap(true, Ordering::Relaxed) {
            loop {
                std::thread::park();
            }
        }
    }
}
