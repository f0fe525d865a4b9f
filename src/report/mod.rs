//! Measurements over many settings, as tables and pictures.

mod conjugate;
mod judge;
mod plot;
mod sweep;
mod table;

pub use conjugate::conjugate_svg;
pub use judge::{Made, Row, judge};
pub use plot::sweep_svg;
pub use sweep::{Setting, State, Sweep, SweepSettings};
pub use table::{csv, markdown};
