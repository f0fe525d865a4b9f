//! Measurements over many settings, as tables and pictures.
//!
//! # Example
//!
//! ```
//! use fenchel::data::{Dataset, ReadOptions};
//! use fenchel::engine::{Context, Cpu};
//! use fenchel::network::onnx;
//! use fenchel::report::{Setting, State, Sweep, SweepSettings, markdown};
//!
//! let model = onnx::load("assets/moons.onnx".as_ref(), &onnx::LoadOptions::default())?;
//! let program = model.network.compile(&Cpu::<f32>::new())?;
//! let data = Dataset::open("assets/moons.npz".as_ref(), &ReadOptions::default())?;
//! let sweep = Sweep {
//!     program: &program,
//!     outputs: vec![0, 1],
//!     anchors: data.select_range(0..750)?,
//!     points: data.select_range(750..1000)?,
//!     labels: None,
//!     settings: SweepSettings {
//!         pieces: vec![50, 750],
//!         curvatures: vec![Setting::given(100.0)],
//!         seeds: vec![0],
//!         certificate: None,
//!     },
//! };
//! let state = sweep.run(State::default(), &Context::default(), |_| Ok(()))?;
//! let rows = sweep.settings.table(&state, 2, false);
//! assert!(rows[1].relative_rmse < rows[0].relative_rmse, "{}", markdown(&rows));
//! # Ok::<(), fenchel::Error>(())
//! ```

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
