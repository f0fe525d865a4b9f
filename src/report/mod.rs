//! Measurements over many settings, as tables and pictures.

mod conjugate;
mod drawing;
mod judge;
mod layer_plot;
mod layer_table;
mod layers;
pub mod page;
mod plot;
mod sweep;
mod table;
mod terms_plot;

pub use conjugate::conjugate_svg;
pub use judge::{Made, Row, judge};
pub use layer_plot::{activation_svg, layers_svg};
pub use layer_table::{layers_csv, layers_markdown};
pub use layers::{ALL_LAYERS, LayerRow, LayerSweep, Truth, dominant};
pub use plot::sweep_svg;
pub use sweep::{Setting, State, Sweep, SweepSettings};
pub use table::{csv, markdown};
pub use terms_plot::terms_svg;
