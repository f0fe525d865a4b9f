//! Measurements over many settings, as tables and pictures.

mod plot;
mod sweep;
mod table;

pub use plot::sweep_svg;
pub use sweep::{Row, Setting, State, Sweep, SweepSettings};
pub use table::{csv, markdown};
