//! A picture of the most important terms of polynomials, as SVG.

use plotters::prelude::*;

use crate::polynomial::Polynomial;
use crate::{Error, Result};

use super::drawing::{Area, COLOURS, Fallible, TEXT, svg};
use super::table::significant;

/// Outputs in a picture at most.
const MOST_OUTPUTS: usize = 12;

/// Pixels of a bar with its distance to the next.
const BAR: usize = 24;

/// The largest coefficients in size of each output, a bar each, positive ones in one colour and negative ones in another.
/// `outputs` are the numbers of the polynomial's outputs in their network; terms are named by their inputs, from 1 on.
///
/// # Errors
/// [`Error::Argument`] for no terms.
pub fn terms_svg(polynomial: &Polynomial, outputs: &[usize], count: usize, title: &str) -> Result<String> {
    if count == 0 {
        return Err(Error::Argument("there are no terms to draw".to_owned()));
    }
    let shown = outputs.len().min(MOST_OUTPUTS);
    let rows = count.min(polynomial.monomials().len());
    let panel = BAR * rows + 46;
    svg((940, (panel * shown + 50) as u32), title, |root| {
        for (i, area) in root.split_evenly((shown, 1)).iter().enumerate() {
            draw(area, polynomial, i, outputs[i], rows)?;
        }
        Ok(())
    })
}

fn draw(area: &Area<'_>, polynomial: &Polynomial, index: usize, output: usize, rows: usize) -> Fallible {
    let largest = polynomial.largest(index, rows);
    let longest = largest.iter().map(|(_, _, c)| c.abs()).fold(f64::MIN_POSITIVE, f64::max);
    area.draw(&Text::new(format!("output {output}"), (10, 6), TEXT))?;
    // Names to the left, bars from there on, numbers behind them.
    let (left, length) = (220.0, 560.0);
    for (row, (_, term, coefficient)) in largest.iter().enumerate() {
        let top = 30 + (BAR * row) as i32;
        let names: Vec<String> = term.iter().map(ToString::to_string).collect();
        let name = if names.is_empty() { "constant".to_owned() } else { names.join("-") };
        area.draw(&Text::new(name, (10, top), TEXT))?;
        let end = left + length * coefficient.abs() / longest;
        let colour = if *coefficient < 0.0 { COLOURS[1] } else { COLOURS[0] };
        let corners = [(left as i32, top), (end.max(left + 1.0) as i32, top + BAR as i32 - 8)];
        area.draw(&Rectangle::new(corners, colour.filled()))?;
        area.draw(&Text::new(significant(*coefficient), (end as i32 + 8, top), TEXT))?;
    }
    Ok(())
}
