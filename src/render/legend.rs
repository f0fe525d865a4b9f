//! Legends beside pictures, as SVG.

use std::collections::BTreeMap;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::{Error, Result};

use super::{Rgb, Scale, category};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Fallible = std::result::Result<(), Box<dyn std::error::Error>>;

const TEXT: (&str, u32) = ("sans-serif", 14);

/// The bar of a scale: its edges, its top, its height (in steps of 2).
const BAR: [i32; 2] = [20, 44];
const TOP: i32 = 50;
const HEIGHT: i32 = 300;

/// Rows of a column of categories.
const ROWS: usize = 20;

/// The colours of a scale as a bar, the largest number at the top, with ticks at round numbers.
///
/// # Errors
/// [`Error::Argument`] where it cannot be drawn.
pub fn scale_svg(scale: &Scale, title: &str) -> Result<String> {
    svg((260, (TOP + HEIGHT + 20) as u32), title, |root| {
        let range = scale.range();
        for y in (0..HEIGHT).step_by(2) {
            let share = 1.0 - f64::from(y + 1) / f64::from(HEIGHT);
            let colour = scale.colour(range.start + share * (range.end - range.start));
            let corners = [(BAR[0], TOP + y), (BAR[1], TOP + y + 2)];
            root.draw(&Rectangle::new(corners, colour_of(colour).filled()))?;
        }
        for (value, name) in ticks(range.start, range.end) {
            let share = (range.end - value) / (range.end - range.start);
            let y = TOP + (share * f64::from(HEIGHT)).round() as i32;
            root.draw(&PathElement::new([(BAR[1], y), (BAR[1] + 5, y)], BLACK))?;
            root.draw(&Text::new(name, (BAR[1] + 10, y - 7), TEXT))?;
        }
        Ok(())
    })
}

/// The colours of categories that a picture has, ascending, each with its share of the picture.
///
/// # Errors
/// [`Error::Argument`] where it cannot be drawn.
pub fn categories_svg(categories: &BTreeMap<u32, u64>, title: &str) -> Result<String> {
    let columns = categories.len().div_ceil(ROWS).max(1);
    let rows = categories.len().min(ROWS);
    let all = categories.values().sum::<u64>().max(1) as f64;
    svg(((150 * columns).max(260) as u32, (TOP as usize + 22 * rows + 10) as u32), title, |root| {
        for (i, (&number, &count)) in categories.iter().enumerate() {
            let (x, y) = (20 + 150 * (i / ROWS) as i32, TOP + 22 * (i % ROWS) as i32);
            let corners = [(x, y), (x + 16, y + 16)];
            root.draw(&Rectangle::new(corners, colour_of(category(number)).filled()))?;
            let share = 100.0 * count as f64 / all;
            root.draw(&Text::new(format!("{number} ({share:.2} %)"), (x + 24, y + 1), TEXT))?;
        }
        Ok(())
    })
}

fn svg(size: (u32, u32), title: &str, draw: impl FnOnce(&Area<'_>) -> Fallible) -> Result<String> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        let title = || Ok(root.draw(&Text::new(title.to_owned(), (20, 16), ("sans-serif", 16)))?);
        let drawn: Fallible = root.fill(&WHITE).map_err(Into::into).and_then(|()| title()).and_then(|()| {
            draw(&root)?;
            Ok(root.present()?)
        });
        drawn.map_err(|e| Error::Argument(format!("the legend cannot be drawn: {e}")))?;
    }
    Ok(svg)
}

fn colour_of([red, green, blue]: Rgb) -> RGBColor {
    RGBColor(red, green, blue)
}

/// Multiples of 1, 2 or 5 times a power of ten within a range, some five of them, with as many digits as they need.
fn ticks(low: f64, high: f64) -> Vec<(f64, String)> {
    let rough = (high - low) / 6.0;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|digit| digit * power).into_iter().find(|step| *step >= rough);
    let step = step.unwrap_or(10.0 * power);
    let (first, last) = ((low / step).ceil(), (high / step).floor());
    // Where the range is but some roundings wide there are no round numbers in it.
    if !(0.0..=10.0).contains(&(last - first)) {
        return vec![(low, low.to_string()), (high, high.to_string())];
    }
    let digits = (-step.log10().floor()).max(0.0) as usize;
    let tick = |i: i32| {
        let value = (first + f64::from(i)) * step;
        // Neither the least range nor the largest shall give a line of zeros.
        let plain = digits <= 6 && value.abs() < 1e7;
        // No minus before a zero.
        let value = value + 0.0;
        (value, if plain { format!("{value:.digits$}") } else { format!("{value:.3e}") })
    };
    (0..=(last - first) as i32).map(tick).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        let names = |low, high| ticks(low, high).into_iter().map(|(_, name)| name).collect::<Vec<_>>();
        assert_eq!(names(-1.0, 1.0), ["-1.0", "-0.5", "0.0", "0.5", "1.0"]);
        assert_eq!(names(0.0, 57.3), ["0", "10", "20", "30", "40", "50"]);
        assert_eq!(names(-0.031, 0.012), ["-0.03", "-0.02", "-0.01", "0.00", "0.01"]);
        assert_eq!(names(2e9, 5.1e9)[0], "2.000e9");
        for (low, high) in [(1.0, 1.0 + 1e-15), (1e-12, 3e-12), (-1e300, 1e300), (7.0, 1e9)] {
            let ticks = ticks(low, high);
            assert!((2..=12).contains(&ticks.len()) && ticks.iter().all(|(v, _)| (low..=high).contains(v)));
        }
    }
}
