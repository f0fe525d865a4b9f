//! Pictures of networks over a plane of their input space, of any size, streamed.
//!
//! A plane is a [`Slice`](crate::spline::slice::Slice): pixel centres lie at `origin + s u + t v`, `s` to the right and
//! `t` up, both in `[-1, 1]` from edge to edge. A [`Field`] is what has a value there; a [`Picture`] colours it band by
//! band into a PNG file.

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
pub use colour::{ColourMap, Rgb, Scale};
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
