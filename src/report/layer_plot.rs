//! Pictures of splined layers, as SVG.

use std::ops::Range;

use plotters::prelude::*;

use crate::activation::PiecewiseAffine;
use crate::maso::SplinedActivation;
use crate::{Error, Result};

use super::drawing::{Area, COLOURS, Fallible, TEXT, styled, svg};
use super::plot::{logarithmic, padded};
use super::{ALL_LAYERS, LayerRow};

/// Lines beside the picture at most; the layers with the largest errors.
const MOST_LINES: usize = 16;

type Points = Vec<(f64, f64)>;

/// Relative error of the outputs against the number of pieces, both axes logarithmic: a line for each layer that is
/// splined alone, and one for all together.
///
/// # Errors
/// [`Error::Argument`] without rows.
pub fn layers_svg(rows: &[LayerRow], title: &str) -> Result<String> {
    if rows.is_empty() {
        return Err(Error::Argument("there are no rows to draw".to_owned()));
    }
    svg((940, 480), title, |root| draw_errors(root, rows))
}

fn draw_errors(root: &Area<'_>, rows: &[LayerRow]) -> Fallible {
    let (chart, side) = root.split_horizontally(720);
    let mut names: Vec<(&str, bool)> = vec![];
    for row in rows {
        if !names.contains(&(&row.layer[..], row.is_of_all())) {
            names.push((&row.layer, row.is_of_all()));
        }
    }
    let of = |&(name, all): &(&str, bool)| -> Points {
        let rows = rows.iter().filter(|row| row.layer == name && row.is_of_all() == all);
        rows.filter(|row| row.relative_rmse > 0.0).map(|row| (row.pieces as f64, row.relative_rmse)).collect()
    };
    let mut lines: Vec<(&str, bool, Points)> = names.iter().map(|key| (key.0, key.1, of(key))).collect();
    lines.sort_by_key(|&(_, all, _)| !all);
    let hidden = lines.len().saturating_sub(MOST_LINES);
    lines.truncate(MOST_LINES);
    let x = padded(rows.iter().map(|row| row.pieces as f64));
    let y = padded(lines.iter().flat_map(|(_, _, points)| points.iter().map(|&(_, error)| error)));
    let mut chart = ChartBuilder::on(&chart)
        .margin(10)
        .x_label_area_size(45)
        .y_label_area_size(80)
        .build_cartesian_2d(logarithmic(x), logarithmic(y))?;
    styled(
        chart
            .configure_mesh()
            .x_desc("pieces of each part")
            .y_desc("relative RMSE of the outputs")
            .x_labels(20)
            .y_labels(20),
    )
    .draw()?;
    for (i, (name, all, points)) in lines.iter().enumerate() {
        let colour = if *all { BLACK } else { COLOURS[(i - 1) % COLOURS.len()] };
        let style = colour.stroke_width(if *all { 3 } else { 2 });
        chart.draw_series(LineSeries::new(points.iter().copied(), style))?;
        // Colours come round again; full and open marks tell the rounds apart.
        let open = i > COLOURS.len();
        let mark = if open { colour.stroke_width(2) } else { colour.filled() };
        chart.draw_series(points.iter().map(|&at| Circle::new(at, 4, mark)))?;
        let y = 30 + 24 * i as i32;
        side.draw(&PathElement::new([(5, y), (35, y)], style))?;
        side.draw(&Circle::new((20, y), 4, mark))?;
        let label = if *all && *name == ALL_LAYERS { "all layers" } else { name };
        side.draw(&Text::new(shortened(label), (43, y - 8), TEXT))?;
    }
    if hidden > 0 {
        let y = 30 + 24 * lines.len() as i32;
        side.draw(&Text::new(format!("{hidden} more in rows.csv"), (5, y), TEXT))?;
    }
    Ok(())
}

/// The end of a name that is too long for its place.
fn shortened(name: &str) -> String {
    let length = name.chars().count();
    if length <= 22 {
        name.to_owned()
    } else {
        format!("..{}", name.chars().skip(length - 20).collect::<String>())
    }
}

/// An activation with its spline, its convex and concave part with theirs, and the error of the whole.
///
/// # Errors
/// [`Error::Argument`] where the drawing fails.
pub fn activation_svg(spline: &SplinedActivation, title: &str) -> Result<String> {
    svg((940, 860), title, |root| draw_activation(root, spline))
}

/// A line of a diagram: its name, colour, width, points, and marks on it.
struct Line<'a> {
    name: &'a str,
    colour: RGBColor,
    width: u32,
    points: Points,
    marks: Points,
}

/// The part of the range that is drawn: around the knots, beyond which the outer pieces only go on.
fn shown(spline: &SplinedActivation) -> [f64; 2] {
    let [low, high] = spline.range;
    match spline.sum.knots() {
        [first, .., last] => {
            let beside = 0.4 * (last - first);
            [low.max(first - beside), high.min(last + beside)]
        }
        _ => [low, high],
    }
}

fn draw_activation(root: &Area<'_>, spline: &SplinedActivation) -> Fallible {
    let (charts, side) = root.split_horizontally(720);
    let areas = charts.split_evenly((3, 1));
    let sides = side.split_evenly((3, 1));
    let [low, high] = shown(spline);
    let mut samples: Vec<f64> = (0..=1500).map(|i| low + (high - low) * f64::from(i) / 1500.0).collect();
    // The error turns at knots.
    samples.extend(spline.sum.knots().iter().filter(|&&knot| low < knot && knot < high));
    samples.sort_by(f64::total_cmp);
    let sampled = |f: &dyn Fn(f64) -> f64| -> Points { samples.iter().map(|&u| (u, f(u))).collect() };
    let knots =
        |part: &PiecewiseAffine| -> Points { part.knots().iter().map(|&u| (u, part.value(u))).collect() };
    let line = |name, colour, width, points, marks| Line { name, colour, width, points, marks };
    let function = |u: f64| spline.activation.derivative(0, u);
    let name = spline.activation.name();
    panel(
        (&areas[0], &sides[0]),
        low..high,
        "value",
        &[
            line(name, COLOURS[5], 5, sampled(&function), vec![]),
            line("its pieces", COLOURS[0], 1, sampled(&|u| spline.sum.value(u)), knots(&spline.sum)),
        ],
    )?;
    let part = |convex: bool| -> Points {
        let of = |u: f64| match &spline.split {
            Some(split) if convex => split.values(u).0,
            Some(split) => split.values(u).1,
            None => 0.0,
        };
        sampled(&of)
    };
    let pieces = |part: &PiecewiseAffine| sampled(&|u| part.value(u));
    panel(
        (&areas[1], &sides[1]),
        low..high,
        "parts",
        &[
            line("convex part", COLOURS[5], 5, part(true), vec![]),
            line("its pieces", COLOURS[0], 1, pieces(&spline.convex), knots(&spline.convex)),
            line("concave part", COLOURS[4], 5, part(false), vec![]),
            line("its pieces", COLOURS[1], 1, pieces(&spline.concave), knots(&spline.concave)),
        ],
    )?;
    let error = |u: f64| spline.sum.value(u) - function(u);
    let bound = spline.error;
    let level = |level: f64| vec![(low, level), (high, level)];
    panel(
        (&areas[2], &sides[2]),
        low..high,
        "error of the spline",
        &[
            line("error", COLOURS[2], 2, sampled(&error), vec![]),
            line("largest on the range", COLOURS[6], 1, level(bound), vec![]),
            line("", COLOURS[6], 1, level(-bound), vec![]),
        ],
    )
}

fn panel((area, side): (&Area<'_>, &Area<'_>), x: Range<f64>, name: &str, lines: &[Line<'_>]) -> Fallible {
    let values = lines.iter().flat_map(|line| line.points.iter().map(|&(_, y)| y));
    let low = values.clone().fold(f64::MAX, f64::min);
    let high = values.fold(f64::MIN, f64::max);
    let margin = (0.08 * (high - low)).max(1e-12 * high.abs().max(low.abs())).max(f64::MIN_POSITIVE);
    // A range of a single point has a width too.
    let x = if x.start < x.end { x } else { x.start - 1.0..x.end + 1.0 };
    let mut chart = ChartBuilder::on(area)
        .margin(10)
        .x_label_area_size(30)
        .y_label_area_size(90)
        .build_cartesian_2d(x, low - margin..high + margin)?;
    styled(chart.configure_mesh().y_desc(name).x_labels(12).y_labels(6)).draw()?;
    for (i, line) in lines.iter().enumerate() {
        let style = line.colour.stroke_width(line.width);
        chart.draw_series(LineSeries::new(line.points.iter().copied(), style))?;
        chart.draw_series(line.marks.iter().map(|&at| Circle::new(at, 3, line.colour.filled())))?;
        if !line.name.is_empty() {
            let y = 25 + 24 * i as i32;
            side.draw(&PathElement::new([(5, y), (35, y)], style))?;
            if !line.marks.is_empty() {
                side.draw(&Circle::new((20, y), 3, line.colour.filled()))?;
            }
            side.draw(&Text::new(line.name, (43, y - 8), TEXT))?;
        }
    }
    Ok(())
}
