//! Pictures of networks over a plane of their input space, of any size, streamed.
//!
//! A plane is a [`Slice`](crate::spline::slice::Slice): pixel centres lie at `origin + s u + t v`, `s` to the right and
//! `t` up, both in `[-1, 1]` from edge to edge.

mod plane;

pub use plane::{
    around, input_directions, principal_directions, random_directions, read_plane, rectangle, write_plane,
};
