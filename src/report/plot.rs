//! Pictures of tables, as SVG.

use plotters::coord::Shift;
use plotters::coord::ranged1d::Ranged;
use plotters::prelude::*;

use crate::{Error, Result};

use super::Row;
use super::table::significant;

/// Colours that stay apart for colour-blind readers too (Okabe & Ito 2008).
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(90, 90, 90),
];

/// One line: for each number of pieces the lowest, mean and highest value over seeds.
struct Series {
    label: String,
    points: Vec<(f64, [f64; 3])>,
}

/// Error and agreement of a sweep against the number of pieces on a logarithmic axis: one line for each
/// curvature (the mean over seeds), a band from the lowest to the highest seed.
///
/// # Errors
/// [`Error::Argument`] without rows.
pub fn sweep_svg(rows: &[Row], title: &str) -> Result<String> {
    if rows.is_empty() {
        return Err(Error::Argument("there are no rows to draw".to_owned()));
    }
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (900, 760)).into_drawing_area();
        draw(&root, rows, title).map_err(|e| Error::Argument(format!("the picture cannot be drawn: {e}")))?;
    }
    Ok(svg)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Fallible = std::result::Result<(), Box<dyn std::error::Error>>;

fn draw(root: &Area<'_>, rows: &[Row], title: &str) -> Fallible {
    root.fill(&WHITE)?;
    let root = root.titled(title, ("sans-serif", 22))?;
    let (above, below) = root.split_vertically(360);
    let errors = series(rows, |row| Some(row.relative_rmse));
    let agreement = series(rows, |row| row.agreement.map(|share| 100.0 * share));
    let x = padded(rows.iter().map(|row| row.pieces as f64));
    let values = |all: &[Series]| -> Vec<f64> {
        all.iter().flat_map(|s| s.points.iter().flat_map(|(_, [low, _, high])| [*low, *high])).collect()
    };
    // The error spans decades at small curvatures, so its axis is logarithmic too.
    let y = padded(values(&errors).into_iter());
    let mut chart = ChartBuilder::on(&above)
        .margin(10)
        .x_label_area_size(40)
        .y_label_area_size(70)
        .build_cartesian_2d(x.clone().log_scale(), y.log_scale())?;
    chart
        .configure_mesh()
        .y_desc("relative RMSE")
        .x_desc("pieces")
        .label_style(TEXT)
        .axis_desc_style(TEXT)
        .draw()?;
    lines(&mut chart, &errors)?;
    legend(&mut chart, SeriesLabelPosition::UpperRight)?;
    let shares = values(&agreement);
    if shares.is_empty() {
        return Ok(());
    }
    let lowest = shares.iter().copied().fold(100.0, f64::min);
    let y = ((lowest / 10.0).floor() * 10.0).clamp(0.0, 90.0)..100.0;
    let mut chart = ChartBuilder::on(&below)
        .margin(10)
        .x_label_area_size(40)
        .y_label_area_size(70)
        .build_cartesian_2d(x.log_scale(), y)?;
    chart
        .configure_mesh()
        .y_desc("agreement (%)")
        .x_desc("pieces")
        .label_style(TEXT)
        .axis_desc_style(TEXT)
        .draw()?;
    lines(&mut chart, &agreement)?;
    legend(&mut chart, SeriesLabelPosition::LowerRight)?;
    Ok(())
}

const TEXT: (&str, u32) = ("sans-serif", 15);

/// One series for each curvature.
fn series(rows: &[Row], value: impl Fn(&Row) -> Option<f64>) -> Vec<Series> {
    let mut all: Vec<(f64, Series)> = vec![];
    for row in rows {
        let Some(value) = value(row).filter(|v| v.is_finite()) else { continue };
        let at = all.iter().position(|(c, _)| *c == row.curvature).unwrap_or_else(|| {
            let label = format!("curvature {}", significant(row.curvature));
            all.push((row.curvature, Series { label, points: vec![] }));
            all.len() - 1
        });
        let points = &mut all[at].1.points;
        let seeds =
            rows.iter().filter(|r| (r.pieces, r.curvature) == (row.pieces, row.curvature)).count() as f64;
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

/// A range around values on a logarithmic axis, never empty.
fn padded(values: impl Iterator<Item = f64> + Clone) -> std::ops::Range<f64> {
    let low = values.clone().filter(|v| *v > 0.0).fold(f64::MAX, f64::min);
    let high = values.fold(f64::MIN_POSITIVE, f64::max);
    if low > high { 0.1..1.0 } else { low / 1.15..high * 1.15 }
}

fn lines<'a, X, Y>(
    chart: &mut ChartContext<'a, SVGBackend<'_>, Cartesian2d<X, Y>>,
    all: &[Series],
) -> Fallible
where
    X: Ranged<ValueType = f64>,
    Y: Ranged<ValueType = f64>,
{
    for (series, colour) in all.iter().zip(COLOURS.iter().cycle()) {
        let up = series.points.iter().map(|(x, [low, _, _])| (*x, *low));
        let down = series.points.iter().rev().map(|(x, [_, _, high])| (*x, *high));
        chart.draw_series(std::iter::once(Polygon::new(
            up.chain(down).collect::<Vec<_>>(),
            colour.mix(0.18),
        )))?;
        let mean: Vec<(f64, f64)> = series.points.iter().map(|(x, [_, mean, _])| (*x, *mean)).collect();
        let style = colour.stroke_width(2);
        chart
            .draw_series(LineSeries::new(mean.clone(), style))?
            .label(&series.label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], style));
        chart.draw_series(mean.into_iter().map(|at| Circle::new(at, 3, colour.filled())))?;
    }
    Ok(())
}

fn legend<'a, B, X, Y>(
    chart: &mut ChartContext<'a, B, Cartesian2d<X, Y>>,
    position: SeriesLabelPosition,
) -> Fallible
where
    B: DrawingBackend + 'a,
    B::ErrorType: 'static,
    X: Ranged<ValueType = f64>,
    Y: Ranged<ValueType = f64>,
{
    chart
        .configure_series_labels()
        .position(position)
        .label_font(TEXT)
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    Ok(())
}
