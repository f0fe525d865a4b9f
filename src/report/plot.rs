//! Pictures of tables, as SVG.

use std::ops::Range;

use plotters::coord::combinators::{BindKeyPoints, LogCoord, WithKeyPoints};
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;

use crate::{Error, Result};

use super::drawing::{Area, COLOURS, Fallible, TEXT, styled, svg};
use super::{Made, Row};

/// One line: for each number of pieces the lowest, mean and highest value over seeds.
struct Series {
    label: String,
    points: Vec<(f64, [f64; 3])>,
}

/// Error, agreement and accuracy of a sweep, as far as they are known, against the number of pieces on a logarithmic axis: one line for each way to
/// make a spline (the mean over seeds), a band from the lowest to the highest seed.
///
/// # Errors
/// [`Error::Argument`] without rows.
pub fn sweep_svg(rows: &[Row], title: &str) -> Result<String> {
    if rows.is_empty() {
        return Err(Error::Argument("there are no rows to draw".to_owned()));
    }
    // The same height for each diagram, whatever is known.
    let known = |value: &dyn Fn(&Row) -> bool| u32::from(rows.iter().any(value));
    let height =
        40 + 360 * (1 + known(&|row| row.agreement.is_some()) + known(&|row| row.accuracy.is_some()));
    svg((940, height), title, |root| draw(root, rows))
}

fn draw(root: &Area<'_>, rows: &[Row]) -> Fallible {
    let (charts, side) = root.split_horizontally(740);
    let errors = series(rows, |row| Some(row.relative_rmse));
    let percent = |share: Option<f64>| share.map(|share| 100.0 * share);
    let shares = [
        ("agreement (%)", series(rows, |row| percent(row.agreement))),
        ("accuracy (%)", series(rows, |row| percent(row.accuracy))),
    ];
    let shares: Vec<_> = shares.into_iter().filter(|(_, series)| !series.is_empty()).collect();
    legend(&side, &errors)?;
    let x = padded(rows.iter().map(|row| row.pieces as f64));
    let values = |all: &[Series]| -> Vec<f64> {
        all.iter().flat_map(|s| s.points.iter().flat_map(|(_, [low, _, high])| [*low, *high])).collect()
    };
    // The error spans decades at small curvatures, so its axis is logarithmic too.
    let y = padded(values(&errors).into_iter());
    let areas = charts.split_evenly((1 + shares.len(), 1));
    panel(&areas[0], x.clone(), logarithmic(y), "relative RMSE", &errors)?;
    for (area, (name, series)) in areas[1..].iter().zip(&shares) {
        let lowest = values(series).into_iter().fold(100.0, f64::min);
        let y = ((lowest / 10.0).floor() * 10.0).clamp(0.0, 90.0)..100.0;
        panel(area, x.clone(), y, name, series)?;
    }
    Ok(())
}

/// One diagram over the number of pieces.
fn panel<Y>(area: &Area<'_>, x: Range<f64>, y: Y, name: &str, all: &[Series]) -> Fallible
where
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    let mut chart = ChartBuilder::on(area)
        .margin(10)
        .x_label_area_size(45)
        .y_label_area_size(70)
        .build_cartesian_2d(logarithmic(x), y)?;
    styled(chart.configure_mesh().x_desc("pieces of each half").y_desc(name).y_labels(10).x_labels(20))
        .draw()?;
    for (series, colour) in all.iter().zip(COLOURS.iter().cycle()) {
        let up = series.points.iter().map(|(x, [low, _, _])| (*x, *low));
        let down = series.points.iter().rev().map(|(x, [_, _, high])| (*x, *high));
        let band = Polygon::new(up.chain(down).collect::<Vec<_>>(), colour.mix(0.18));
        chart.draw_series(std::iter::once(band))?;
        let mean: Vec<(f64, f64)> = series.points.iter().map(|(x, [_, mean, _])| (*x, *mean)).collect();
        chart.draw_series(LineSeries::new(mean.clone(), colour.stroke_width(2)))?;
        chart.draw_series(mean.into_iter().map(|at| Circle::new(at, 3, colour.filled())))?;
    }
    Ok(())
}

/// The names of the lines, beside the diagrams, where they hide nothing.
fn legend(area: &Area<'_>, all: &[Series]) -> Fallible {
    for (i, (series, colour)) in all.iter().zip(COLOURS.iter().cycle()).enumerate() {
        let y = 30 + 24 * i as i32;
        area.draw(&PathElement::new([(5, y), (30, y)], colour.stroke_width(3)))?;
        area.draw(&Text::new(series.label.clone(), (38, y - 8), TEXT))?;
    }
    let y = 40 + 24 * all.len() as i32;
    for (i, line) in ["line: mean over seeds", "band: lowest to highest"].into_iter().enumerate() {
        area.draw(&Text::new(line, (5, y + 20 * i as i32), ("sans-serif", 13)))?;
    }
    Ok(())
}

/// One series for each way to make a spline.
fn series(rows: &[Row], value: impl Fn(&Row) -> Option<f64>) -> Vec<Series> {
    let mut all: Vec<(&Made, Series)> = vec![];
    for row in rows {
        let Some(value) = value(row).filter(|v| v.is_finite()) else { continue };
        let at = all.iter().position(|(made, _)| **made == row.made).unwrap_or_else(|| {
            all.push((&row.made, Series { label: row.made.name(), points: vec![] }));
            all.len() - 1
        });
        let points = &mut all[at].1.points;
        let seeds = rows.iter().filter(|r| (r.pieces, &r.made) == (row.pieces, &row.made)).count() as f64;
        let x = row.pieces as f64;
        match points.last_mut().filter(|(last, _)| *last == x) {
            Some((_, [low, mean, high])) => {
                (*low, *mean, *high) = (low.min(value), *mean + value / seeds, high.max(value));
            }
            None => points.push((x, [value, value / seeds, value])),
        }
    }
    all.into_iter().map(|(_, series)| series).collect()
}

/// A logarithmic axis with ticks at 1, 2 and 5 times powers of ten, or at every digit where those are few: the
/// library's own leave a range of less than a decade with a single number.
pub(super) fn logarithmic(range: Range<f64>) -> WithKeyPoints<LogCoord<f64>> {
    let ticks = |digits: &[i32]| -> Vec<f64> {
        let decades = range.start.log10().floor() as i32..=range.end.log10().ceil() as i32;
        let all = decades.flat_map(|decade| digits.iter().map(move |&d| f64::from(d) * 10_f64.powi(decade)));
        all.filter(|tick| range.contains(tick)).collect()
    };
    let few = ticks(&[1, 2, 5]);
    let ticks = if few.len() < 4 { ticks(&[1, 2, 3, 4, 5, 6, 7, 8, 9]) } else { few };
    LogCoord::from(range.log_scale()).with_key_points(ticks)
}

/// A range around values on a logarithmic axis, never empty.
pub(super) fn padded(values: impl Iterator<Item = f64> + Clone) -> Range<f64> {
    let low = values.clone().filter(|v| *v > 0.0).fold(f64::MAX, f64::min);
    let high = values.fold(f64::MIN_POSITIVE, f64::max);
    if low > high { 0.1..1.0 } else { low / 1.15..high * 1.15 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spline::Label;

    fn row(pieces: usize, curvature: f64, seed: u64, agreement: Option<f64>) -> Row {
        Row {
            pieces,
            curvature,
            seed,
            points: 10,
            relative_rmse: 1.0 / pieces as f64 + seed as f64,
            mean_abs: 0.1,
            max_abs: 0.2,
            agreement,
            accuracy: None,
            certificate: 1.0,
            relative_certificate: 1.0,
            violations: 0.0,
            certificate_curvature: curvature,
            certificate_label: Label::Given,
            made: Made::published(curvature.to_string()),
        }
    }

    #[test]
    fn lines_are_means_within_bands() {
        let rows =
            [row(10, 1.0, 0, None), row(10, 1.0, 2, None), row(20, 1.0, 0, None), row(10, 3.0, 0, None)];
        let series = series(&rows, |row| Some(row.relative_rmse));
        assert_eq!(series.len(), 2);
        assert_eq!(series[0].points, [(10.0, [0.1, 1.1, 2.1]), (20.0, [0.05, 0.05, 0.05])]);
    }

    #[test]
    fn pictures_have_a_line_for_each_curvature() {
        let count = |rows: &[Row]| sweep_svg(rows, "title").unwrap().matches("curvature ").count();
        assert_eq!(
            count(&[row(10, 1.0, 0, Some(0.5)), row(20, 1.0, 0, Some(0.6)), row(10, 3.0, 0, Some(0.5))]),
            2
        );
        // One row only, and no agreement: the axes must not be empty.
        assert_eq!(count(&[row(10, 1.0, 0, None)]), 1);
        assert!(sweep_svg(&[], "title").is_err());
    }
}
