//! What the pieces of a spline do at points, which of them are the same, and how two sets of slopes relate.

mod activity;
mod affine_pieces;
mod similarity;
#[cfg(test)]
mod testing;

use super::{Form, Selection, Spline};

pub use activity::{Activity, HalfActivity, activity};
pub use affine_pieces::{AffinePieces, Duplicates};
pub use similarity::similarity;

impl Spline {
    /// `M`, the pieces that each half numbers, of a spline with so many anchors.
    pub fn pieces(&self, anchors: usize) -> usize {
        match &self.form {
            Form::Tangents(_) => anchors,
            Form::Planes(planes) => planes.pieces(self.curvature.len()),
        }
    }

    /// How many of them the convex and the concave half take.
    pub fn taken(&self, anchors: usize) -> [usize; 2] {
        selections(self).map(|selection| match selection {
            Selection::All => self.pieces(anchors),
            Selection::Some(chosen) => chosen.len(),
        })
    }
}

/// The pieces that each half takes.
fn selections(spline: &Spline) -> [&Selection; 2] {
    static ALL: Selection = Selection::All;
    match &spline.form {
        Form::Tangents(tangents) => [&tangents.lower, &tangents.upper],
        Form::Planes(_) => [&ALL, &ALL],
    }
}
