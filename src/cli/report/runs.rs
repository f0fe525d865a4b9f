//! Command lines, run in this process one after the other.

use std::rc::Rc;
use std::time::Instant;

use clap::Parser;
use serde_json::Value;

use crate::cli::args::Arguments;
use crate::cli::perform;
use crate::cli::session::Session;
use crate::{Error, Result};

use super::words::Words;

/// What became of a command line.
#[derive(Debug, Clone)]
pub(super) struct Run {
    /// What it was.
    pub command: String,
    /// The JSON document that it would have printed, or why there is none.
    pub result: std::result::Result<Rc<Value>, String>,
    pub seconds: f64,
}

/// All command lines so far. What is asked for again is not run again.
pub(super) struct Runs<'a> {
    session: &'a Session,
    done: Vec<Run>,
}

impl<'a> Runs<'a> {
    pub(super) fn new(session: &'a Session) -> Self {
        Self { session, done: vec![] }
    }

    /// Runs a command line; what the verb refuses for this network or data is no error.
    ///
    /// # Errors
    /// What keeps all else from being done, too: a full disk, a lost device, a file that is damaged, an interruption.
    pub(super) fn run(&mut self, words: &Words) -> Result<Run> {
        self.run_as(words, &[])
    }

    /// The same, with further words that are not part of what is shown.
    pub(super) fn run_as(&mut self, words: &Words, further: &[&str]) -> Result<Run> {
        let command = words.text();
        if let Some(run) = self.done.iter().find(|run| run.command == command) {
            return Ok(run.clone());
        }
        self.session.context.check()?;
        let all = words.as_slice().iter().cloned().chain(further.iter().map(Into::into));
        // The verb's own parser; what it refuses would be a mistake of this one.
        let arguments = Arguments::try_parse_from(all).map_err(|e| Error::Argument(e.to_string()))?;
        let session = self.session.within(&arguments.globals, command.clone());
        let start = Instant::now();
        let result = match perform(&session, arguments.verb) {
            Ok(()) => Ok(Rc::new(session.into_document())),
            Err(error) if is_refusal(&error) => Err(error.to_string()),
            Err(error) => return Err(error),
        };
        let run = Run { command, result, seconds: start.elapsed().as_secs_f64() };
        self.done.push(run.clone());
        Ok(run)
    }

    /// The document of a command line without which there is no report.
    ///
    /// # Errors
    /// Also what the verb refuses.
    pub(super) fn need(&mut self, words: &Words) -> Result<Rc<Value>> {
        self.run(words)?.result.map_err(Error::Argument)
    }
}

/// Whether a verb has nothing to say of this network, or not with so little memory: others may have.
fn is_refusal(error: &Error) -> bool {
    matches!(
        error,
        Error::MissingSlot { .. }
            | Error::Graph(_)
            | Error::Shape(_)
            | Error::Argument(_)
            | Error::Memory { .. }
            | Error::Tensor { .. }
            | Error::Unsupported { .. }
    )
}
