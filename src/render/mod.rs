//! Pictures of networks over a plane of their input space, of any size, streamed.
//!
//! A plane is a [`Slice`](crate::spline::slice::Slice): pixel centres lie at `origin + s u + t v`, `s` to the right and
//! `t` up, both in `[-1, 1]` from edge to edge. A [`Field`] is what has a value there; a [`Picture`] colours it band by
//! band into a PNG file.

mod colour;
mod field;
mod legend;
mod partition;
mod partition_svg;
mod picture;
mod plane;
mod png;

pub use colour::{ColourMap, Rgb, Scale, category};
pub use field::{Band, Field, NetworkField, Quantity};
pub use legend::{categories_svg, scale_svg};
pub use partition::PartitionField;
pub use partition_svg::{Fill, partition_svg};
pub use picture::{Drawn, MOST_SAMPLES, Picture, extremes};
pub use plane::{
    around, input_directions, principal_directions, random_directions, read_plane, rectangle, write_plane,
};
pub use png::{MOST_PIXELS, write_png};
