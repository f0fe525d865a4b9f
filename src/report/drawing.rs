//! What pictures of tables and functions share.

use plotters::chart::MeshStyle;
use plotters::coord::Shift;
use plotters::coord::ranged1d::Ranged;
use plotters::prelude::*;

use crate::{Error, Result};

use super::table::significant;

/// Colours that stay apart for colour-blind readers too (Okabe & Ito 2008).
pub(super) const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(90, 90, 90),
];

pub(super) const TEXT: (&str, u32) = ("sans-serif", 15);

pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub(super) type Fallible = std::result::Result<(), Box<dyn std::error::Error>>;

/// A picture with a title, on white.
///
/// # Errors
/// [`Error::Argument`] where the drawing fails.
pub(super) fn svg(size: (u32, u32), title: &str, draw: impl FnOnce(&Area<'_>) -> Fallible) -> Result<String> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        let titled = root.fill(&WHITE).and_then(|()| root.titled(title, ("sans-serif", 22)));
        let drawn = titled.map_err(Into::into).and_then(|root| draw(&root));
        drawn.map_err(|e| Error::Argument(format!("the picture cannot be drawn: {e}")))?;
    }
    Ok(svg)
}

/// A mesh with numbers of few digits, and lines between them that hardly show.
pub(super) fn styled<'m, 'a, 'b, X, Y, DB>(
    mesh: &'m mut MeshStyle<'a, 'b, X, Y, DB>,
) -> &'m mut MeshStyle<'a, 'b, X, Y, DB>
where
    X: Ranged<ValueType = f64>,
    Y: Ranged<ValueType = f64>,
    DB: DrawingBackend,
{
    mesh.x_label_formatter(&|x| significant(*x))
        .y_label_formatter(&|y| significant(*y))
        .light_line_style(BLACK.mix(0.04))
        .label_style(TEXT)
        .axis_desc_style(TEXT)
}
