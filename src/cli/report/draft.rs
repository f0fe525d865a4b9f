//! Figures in the making.

use serde_json::Value;

use crate::Result;
use crate::report::page::{Drawn, Figure};

use super::runs::Run;

/// What a figure is, before it is known whether there is one.
pub(super) struct Draft {
    pub id: &'static str,
    pub section: &'static str,
    pub title: String,
    pub caption: String,
}

impl Draft {
    pub(super) fn new(id: &'static str, section: &'static str, title: &str, caption: &str) -> Self {
        Self { id, section, title: title.to_owned(), caption: caption.to_owned() }
    }

    /// The figure out of what its command lines gave, of which `draw` gets the last document; or why there is none.
    ///
    /// # Errors
    /// Files that cannot be read back.
    pub(super) fn finish(
        self,
        runs: &[Run],
        files: &[&str],
        draw: impl FnOnce(&Value) -> Result<Drawn>,
    ) -> Result<Figure> {
        let Self { id, section, title, caption } = self;
        let refused = runs.iter().position(|run| run.result.is_err());
        let runs = &runs[..refused.map_or(runs.len(), |at| at + 1)];
        let (drawn, refused, document) = match runs.last().map(|run| &run.result) {
            Some(Ok(document)) => (draw(document)?, None, Some((**document).clone())),
            Some(Err(reason)) => (Drawn::Refused, Some(reason.clone()), None),
            None => (draw(&Value::Null)?, None, None),
        };
        let files = if refused.is_none() { files } else { &[] };
        Ok(Figure {
            id,
            section,
            title,
            caption,
            drawn,
            commands: runs.iter().map(|run| run.command.clone()).collect(),
            files: files.iter().map(|&file| file.to_owned()).collect(),
            seconds: runs.iter().map(|run| run.seconds).sum(),
            refused,
            document,
        })
    }
}
