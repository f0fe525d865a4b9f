//! Which layers' codes a verb takes.

use clap::Args;

use crate::maso::LayerChoice;

#[derive(Debug, Args)]
pub(super) struct Layers {
    /// Only the pieces that the units of this layer pick, by the name of its node [default: those of all layers]
    #[arg(long, value_name = "NAME")]
    pub layer: Option<String>,

    /// The pieces of this layer and of those below it
    #[arg(long, value_name = "NAME", conflicts_with = "layer")]
    pub cumulative: Option<String>,
}

impl Layers {
    pub(super) fn is_given(&self) -> bool {
        self.layer.is_some() || self.cumulative.is_some()
    }

    pub(super) fn choice(&self) -> LayerChoice {
        match (&self.layer, &self.cumulative) {
            (Some(name), _) => LayerChoice::One(name.clone()),
            (None, Some(name)) => LayerChoice::UpTo(name.clone()),
            (None, None) => LayerChoice::All,
        }
    }
}
