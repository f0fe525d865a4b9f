//! Pictures of networks over a plane of their input space, of any size, streamed.
//!
//! A plane is a [`Slice`](crate::spline::slice::Slice): pixel centres lie at `origin + s u + t v`, `s` to the right and
//! `t` up, both in `[-1, 1]` from edge to edge. A [`Field`] is what has a value there; a [`Picture`] colours it band by
//! band into a PNG file.
//!
//! # Example
//!
//! ```
//! use fenchel::data::OutputFile;
//! use fenchel::engine::{Context, Cpu};
//! use fenchel::network::onnx;
//! use fenchel::render::{NetworkField, Picture, Quantity};
//! use fenchel::spline::slice::Slice;
//!
//! // The classes of a network of two inputs, 64 x 48 pixels.
//! let model = onnx::load("assets/moons.onnx".as_ref(), &onnx::LoadOptions::default())?;
//! let slice = Slice { origin: vec![0.5, 0.25], u: vec![1.5, 0.0], v: vec![0.0, 1.0] };
//! let field = NetworkField::new(&Cpu::<f32>::new(), &model.network, &slice, Quantity::Class, &[0, 1])?;
//! let folder = tempfile::tempdir().expect("a folder");
//! let png = OutputFile::create(&folder.path().join("classes.png"))?;
//! let drawn = Picture::new([48, 64]).draw(&field, png, None, &Context::default())?;
//! assert_eq!(drawn.categories.values().sum::<u64>(), 48 * 64);
//! # Ok::<(), fenchel::Error>(())
//! ```

mod boundary;
mod category;
mod colour;
mod contour;
mod density;
mod field;
mod frame;
pub(crate) mod html;
mod legend;
mod light;
mod network;
mod partition;
mod partition_svg;
mod picture;
mod plane;
mod png;
mod pyramid;
mod region;
pub mod sheet;
mod spline;
mod stroke;
mod target;
mod text;
mod window;

pub use category::category;
pub use colour::{ColourMap, Rgb, Scale, widened};
pub use contour::{MOST_LEVELS, contour_levels};
pub use density::DensityField;
pub use field::{Band, Field, Quantity};
pub use frame::{Frame, Legend};
pub use legend::{categories_svg, line_svg, scale_svg};
pub use network::{NetworkField, Slope, SlopeField};
pub use partition::PartitionField;
pub use partition_svg::{Fill, partition_svg};
pub use picture::{Drawn, MOST_SAMPLES, Picture, extremes, survey};
pub use plane::{
    around, channel_directions, gradient_directions, input_directions, principal_directions,
    random_directions, read_plane, rectangle, write_plane,
};
pub use png::{MOST_PIXELS, write_png};
pub use pyramid::{Page, Pyramid, TILE};
pub use region::{RegionField, Visited};
pub use spline::{SplineField, SplineQuantity};
pub use target::Targets;
pub use text::{Canvas, Horizontal, Text, Vertical};
