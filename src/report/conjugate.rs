//! A function and its conjugate side by side, as SVG.

use std::ops::Range;

use plotters::prelude::*;

use crate::conjugate::GridFunction;
use crate::render::widened;
use crate::{Error, Result};

use super::drawing::{Area, COLOURS, Fallible, TEXT, styled, svg};
use super::table::significant;

/// Cells along a side of a map at most: more cannot be told apart, and each is an element of the file.
const CELLS: usize = 100;

/// A function with its convex envelope, and its conjugate beside it: lines in one dimension, maps in two (with the
/// envelope as a map of its own). What is outside the domain stays blank.
///
/// # Errors
/// [`Error::Argument`] for more than two dimensions.
pub fn conjugate_svg(
    f: &GridFunction,
    envelope: &GridFunction,
    conjugate: &GridFunction,
    title: &str,
) -> Result<String> {
    let dimension = f.grid().dimension();
    if dimension > 2 {
        return Err(Error::Argument(format!("pictures show one or two dimensions, not {dimension}")));
    }
    if dimension == 1 {
        svg((1000, 460), title, |root| lines(root, f, envelope, conjugate))
    } else {
        svg((1290, 460), title, |root| maps(root, f, envelope, conjugate))
    }
}

fn lines(root: &Area<'_>, f: &GridFunction, envelope: &GridFunction, conjugate: &GridFunction) -> Fallible {
    let panels = root.split_evenly((1, 2));
    let function = [("f", f, COLOURS[0], 3), ("convex envelope f**", envelope, COLOURS[1], 2)];
    panel(&panels[0], "x", "", &function)?;
    panel(&panels[1], "slope s", "", &[("conjugate f*", conjugate, COLOURS[2], 3)])
}

/// One diagram of functions on the same axis.
fn panel(area: &Area<'_>, x: &str, y: &str, all: &[(&str, &GridFunction, RGBColor, u32)]) -> Fallible {
    let axis = &all[0].1.grid().axes()[0];
    let values = all.iter().flat_map(|(_, f, ..)| f.values().iter().copied().filter(|v| v.is_finite()));
    let mut chart = ChartBuilder::on(area)
        .margin(10)
        .x_label_area_size(45)
        .y_label_area_size(70)
        .build_cartesian_2d(span(axis.iter().copied()), span(values))?;
    styled(chart.configure_mesh().x_desc(x).y_desc(y)).draw()?;
    for &(name, f, colour, width) in all {
        let points: Vec<(f64, f64)> = axis.iter().copied().zip(f.values().iter().copied()).collect();
        // A line for each part of the domain.
        let parts = points.split(|(_, v)| !v.is_finite()).filter(|part| !part.is_empty());
        for (i, part) in parts.enumerate() {
            let series =
                chart.draw_series(LineSeries::new(part.iter().copied(), colour.stroke_width(width)))?;
            if i == 0 {
                series.label(name).legend(move |(x, y)| {
                    PathElement::new([(x, y), (x + 25, y)], colour.stroke_width(width))
                });
            }
        }
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperMiddle)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .label_font(TEXT)
        .draw()?;
    Ok(())
}

fn maps(root: &Area<'_>, f: &GridFunction, envelope: &GridFunction, conjugate: &GridFunction) -> Fallible {
    let panels = root.split_evenly((1, 3));
    // The function and its envelope on one scale, so that they can be compared: that of the function's domain, around
    // which the envelope rises with the largest slopes there are.
    let inside = |(f, envelope): (&f64, &f64)| f.is_finite().then_some([*f, *envelope]);
    let both = || f.values().iter().zip(envelope.values()).filter_map(inside).flatten();
    map(&panels[0], "f", ["x0", "x1"], f, span(both()))?;
    map(&panels[1], "convex envelope f**", ["x0", "x1"], envelope, span(both()))?;
    let values = conjugate.values().iter().copied().filter(|v| v.is_finite());
    map(&panels[2], "conjugate f*", ["slope s0", "slope s1"], conjugate, span(values))
}

/// The first axis to the right, the second up; a bar of colours beside it.
fn map(area: &Area<'_>, name: &str, names: [&str; 2], f: &GridFunction, values: Range<f64>) -> Fallible {
    let area = area.titled(name, ("sans-serif", 16))?;
    let (chart, bar) = area.split_horizontally(area.dim_in_pixel().0 as i32 - 80);
    let [across, up] = [0, 1].map(|i| cells(&f.grid().axes()[i]));
    let (Some(first), Some(last)) = (across.first(), across.last()) else { return Ok(()) };
    let (Some(bottom), Some(top)) = (up.first(), up.last()) else { return Ok(()) };
    let mut chart = ChartBuilder::on(&chart)
        .margin(8)
        .x_label_area_size(42)
        .y_label_area_size(56)
        .build_cartesian_2d(first.1.start..last.1.end, bottom.1.start..top.1.end)?;
    let mut mesh = chart.configure_mesh();
    styled(mesh.disable_mesh().x_desc(names[0]).y_desc(names[1]).x_labels(6).y_labels(8)).draw()?;
    let rows = f.grid().axes()[1].len();
    let colour =
        |v: f64| ViridisRGB.get_color_normalized(v.clamp(values.start, values.end), values.start, values.end);
    for (i, x) in &across {
        let column = up.iter().filter_map(|(j, y)| {
            let value = f.values()[i * rows + j];
            let corners = [(x.start, y.start), (x.end, y.end)];
            value.is_finite().then(|| Rectangle::new(corners, colour(value).filled()))
        });
        chart.draw_series(column)?;
    }
    let height = bar.dim_in_pixel().1 as i32;
    let (top, bottom) = (12, height - 54);
    for y in top..bottom {
        let share = f64::from(bottom - y) / f64::from(bottom - top);
        let value = values.start + share * (values.end - values.start);
        bar.draw(&Rectangle::new([(0, y), (16, y + 1)], colour(value).filled()))?;
    }
    for share in [0.0, 0.25, 0.5, 0.75, 1.0] {
        let value = values.start + share * (values.end - values.start);
        let y = bottom - (share * f64::from(bottom - top)) as i32;
        bar.draw(&Text::new(significant(value), (21, y - 7), ("sans-serif", 13)))?;
    }
    Ok(())
}

/// Some coordinates of an axis with the intervals that are nearest to them.
fn cells(axis: &[f64]) -> Vec<(usize, Range<f64>)> {
    let step = axis.len().div_ceil(CELLS).max(1);
    let taken: Vec<usize> = (step / 2..axis.len()).step_by(step).collect();
    let taken = if taken.is_empty() { vec![0] } else { taken };
    let between = |i: usize| f64::midpoint(axis[taken[i - 1]], axis[taken[i]]);
    let (low, high) = (axis[0], axis[axis.len() - 1]);
    let last = taken.len() - 1;
    // A single coordinate still has an extent.
    let margin = if low < high { 0.0 } else { 0.5 };
    let interval = |i: usize| {
        let start = if i == 0 { low - margin } else { between(i) };
        start..if i == last { high + margin } else { between(i + 1) }
    };
    taken.iter().enumerate().map(|(i, &at)| (at, interval(i))).collect()
}

/// A range around values, never empty.
fn span(values: impl Iterator<Item = f64> + Clone) -> Range<f64> {
    let (low, high) = (values.clone().fold(f64::MAX, f64::min), values.fold(f64::MIN, f64::max));
    widened(low..high)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conjugate::Grid;

    #[test]
    fn cells_cover_an_axis_without_gaps() {
        for count in [1, 2, 99, 100, 101, 350] {
            let axis: Vec<f64> = (0..count).map(|i| f64::from(i * i)).collect();
            let cells = cells(&axis);
            assert!(cells.len() <= CELLS && cells.len() >= axis.len().min(CELLS) / 2, "{count}");
            assert!(cells.windows(2).all(|pair| pair[0].1.end == pair[1].1.start));
            assert!(cells.iter().all(|(i, range)| (range.start..=range.end).contains(&axis[*i])));
        }
    }

    #[test]
    fn what_is_outside_the_domain_stays_blank() {
        let grid = Grid::uniform(&[(0.0, 1.0, 4), (0.0, 1.0, 3)]).unwrap();
        let whole = GridFunction::sampled(grid.clone(), |x| x[0] + x[1]).unwrap();
        let part =
            GridFunction::sampled(grid, |x| if x[0] > 0.5 { f64::INFINITY } else { x[0] + x[1] }).unwrap();
        let count =
            |f: &GridFunction| conjugate_svg(f, &whole, &whole, "t").unwrap().matches("<rect").count();
        assert_eq!(count(&whole) - count(&part), 6);
    }
}
