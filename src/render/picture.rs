//! Pictures of any size: bands of rows that are computed, coloured and written while the next is computed.

use std::collections::BTreeMap;

use rayon::prelude::*;

use crate::data::OutputFile;
use crate::engine::plan::Chunks;
use crate::engine::{Context, Engine};
use crate::spline::slice::pixels;
use crate::{Error, Result};

use super::boundary::{Boundaries, Closely};
use super::contour::Contours;
use super::light::mean;
use super::png::{CHUNK, check_size};
use super::stroke::{MOST_HALF, Strokes};
use super::target::{Targets, Values, written};
use super::window::Window;
use super::{Band, Field, Rgb, Scale, category};

/// Points of a band at most, between two looks at the clock.
const BAND: usize = 1 << 20;

/// Points along a side that a field is looked at in before it is drawn.
const COARSE: usize = 256;

/// The most samples along a side of a pixel.
pub const MOST_SAMPLES: usize = 16;

/// Samples along a side of the pixels that lines pass through.
const LINE_SAMPLES: usize = 4;

/// How a field is drawn.
pub struct Picture<'a, E: Engine> {
    /// `[H, W]`.
    pub size: [usize; 2],
    /// Samples along a side of each pixel, whose colours are averaged as light: 1 draws the centre alone.
    pub samples: usize,
    /// Samples along a side of the pixels that a boundary of categories passes through (those with a neighbour of
    /// another category at its centre), whose colours are averaged as light; 1 draws the centre alone. Only of fields
    /// of categories that are drawn with one sample a pixel.
    pub antialias: usize,
    /// The colours of numbers; categories have their own.
    pub scale: Option<&'a Scale>,
    /// Values of the field whose lines are drawn over it; 0 is wider on a diverging scale.
    pub contours: &'a [f64],
    /// A field of categories whose boundaries are drawn over the picture as lines.
    pub lines: Option<&'a dyn Field<E>>,
    /// Pixels across a line or contour, from 0.5 to 16.
    pub line_width: f64,
    /// What the file is to say of itself: the command line.
    pub comment: &'a str,
}

impl<E: Engine> Clone for Picture<'_, E> {
    fn clone(&self) -> Self {
        Self { ..*self }
    }
}

/// What was drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct Drawn {
    /// The least and the largest number; `None` of categories.
    pub extremes: Option<[f64; 2]>,
    /// Samples with numbers beyond the scale.
    pub beyond: u64,
    /// Samples of each category that there is; without those of closer looks at boundaries.
    pub categories: BTreeMap<u32, u64>,
    /// Samples beside those of all pixels: of closer looks at boundaries, and all those of the field of lines.
    pub further: u64,
}

impl<'a, E: Engine> Picture<'a, E> {
    /// One sample a pixel and no lines.
    pub fn new(size: [usize; 2]) -> Self {
        Self {
            size,
            samples: 1,
            antialias: 1,
            scale: None,
            contours: &[],
            lines: None,
            line_width: 1.5,
            comment: "",
        }
    }

    /// Draws a field into a PNG file, and writes the values at the pixels into a `.npy` file `[H, W]` (f32, or u32 of
    /// categories) where one is given, as [`draw_into`](Self::draw_into).
    ///
    /// # Errors
    /// As there.
    pub fn draw(
        &self,
        field: &dyn Field<E>,
        png: OutputFile,
        data: Option<OutputFile>,
        context: &Context,
    ) -> Result<Drawn> {
        self.draw_into(field, Targets { png: Some(png), data, ..Targets::default() }, context)
    }

    /// Draws a field. What is held does not grow with the picture beyond some rows of it (and those of tiles); neither
    /// that nor the number of threads changes a byte. Rows are written while the next are computed.
    ///
    /// # Errors
    /// [`Error::Argument`] for a size, a number of samples or a width of lines that is 0 or too large, a field of numbers
    /// without a scale, values of several samples, contours of categories or at values that are not finite, lines that
    /// are no boundaries of categories; [`Error::Memory`] where the rows do not fit; what the fields say; a failed write.
    pub fn draw_into(&self, field: &dyn Field<E>, targets: Targets<'_>, context: &Context) -> Result<Drawn> {
        self.check(field, &targets)?;
        let contours = match self.contours {
            [] => None,
            levels => Some(Contours::new(levels, self.scale, self.line_width)?),
        };
        let held = targets.memory(self.size) + 2 * CHUNK as u64;
        let Targets { png, frame, pyramid, data } = targets;
        let data =
            data.map(|output| Values::create(output, self.size, field.is_categorical())).transpose()?;
        context.progress().start("rows", self.size[0] as u64);
        let drawn = written(self.size, self.comment, (png, frame, pyramid), |put| {
            self.compute(field, contours, data, held, context, put)
        })?;
        context.progress().finish();
        Ok(drawn)
    }

    fn check(&self, field: &dyn Field<E>, targets: &Targets<'_>) -> Result<()> {
        check_size(self.size)?;
        let refused = |text: &str| Err(Error::Argument(text.to_owned()));
        for n in [self.samples, self.antialias] {
            if !(1..=MOST_SAMPLES).contains(&n) {
                return Err(Error::Argument(format!(
                    "a pixel has 1 to {MOST_SAMPLES} samples a side, not {n}"
                )));
            }
        }
        if self.antialias > 1 && self.samples > 1 {
            return refused("boundaries are looked at closely where pixels have one sample only");
        }
        if self.antialias > 1 && !field.is_categorical() {
            return refused(
                "numbers have no boundaries to look at closely: take several samples of each pixel",
            );
        }
        if !(0.5..=2.0 * MOST_HALF - 1.0).contains(&self.line_width) {
            return Err(Error::Argument(format!("a line is 0.5 to 16 pixels wide, not {}", self.line_width)));
        }
        if targets.data.is_some() && self.samples > 1 {
            return refused("values are written of one sample a pixel only");
        }
        if self.scale.is_none() && !field.is_categorical() {
            return refused("numbers need a scale of colours");
        }
        if !self.contours.is_empty() && field.is_categorical() {
            return refused("categories have boundaries, not contours");
        }
        if self.lines.is_some_and(|lines| !lines.is_categorical()) {
            return refused("lines are boundaries of categories: numbers have contours");
        }
        Ok(())
    }

    /// Computes all rows in bands, from the top.
    fn compute(
        &self,
        field: &dyn Field<E>,
        contours: Option<Contours>,
        mut data: Option<Values>,
        held: u64,
        context: &Context,
        put: &mut dyn FnMut(Vec<Rgb>) -> Result<()>,
    ) -> Result<Drawn> {
        let ([height, width], n) = (self.size, self.samples);
        let [across, up] = pixels::<E::Scalar>([height * n, width * n]);
        let centers = match self.lines {
            Some(_) if n > 1 => pixels::<E::Scalar>(self.size),
            _ => [vec![], vec![]],
        };
        let [line_across, line_up] = if n > 1 { [&centers[0], &centers[1]] } else { [&across, &up] };
        // A row of pixels may wait for so many rows below it.
        let line_reach = (0.5 * self.line_width + 1.0).ceil() as usize;
        let halo = (usize::from(self.antialias > 1))
            .max(self.lines.map_or(0, |_| line_reach + 1))
            .max(contours.as_ref().map_or(0, Contours::reach));

        // Of a row of pixels: values and colours of its samples, its own colours where it is made, waits, and is written,
        // its value and rank, and the categories at boundaries if these are everywhere.
        let line_pixel = 4 + 2 * 4 * LINE_SAMPLES * LINE_SAMPLES + 8;
        let pixel = n * n * (size_of::<f32>() + size_of::<Rgb>())
            + 5 * size_of::<Rgb>()
            + contours.as_ref().map_or(0, |_| 6)
            + if self.antialias > 1 { 4 * (2 + self.antialias * self.antialias) } else { 0 }
            + self.lines.map_or(0, |_| line_pixel);
        let coordinates =
            (across.len() + up.len() + centers[0].len() + centers[1].len()) * size_of::<E::Scalar>();
        let fixed = coordinates as u64 + held + (2 * halo * width * pixel) as u64;
        let half = context.memory() / 2;
        let most = (BAND / (width * n * n)).max(1);
        let chunks =
            Chunks::within("a row of the picture", height, (width * pixel) as u64, fixed, half, most)?;
        let inner = &context.clone().with_memory(half);

        let mut drawn = Drawn::nothing();
        let (mut base, mut values, mut ranks) = (Window::new(width), Window::new(width), Window::new(width));
        let mut categories = Window::new(width);
        let closely = |field, side: usize| {
            let most = (chunks.size() * width * side * side).min(BAND);
            Closely { field, size: self.size, side, most }
        };
        let mut boundaries = self.lines.map(|field| Boundaries::new(closely(field, LINE_SAMPLES)));
        let closely = closely(field, self.antialias);
        let (mut seen, mut done) = (0, 0);
        for rows in chunks.iter() {
            let band = field.band(
                &across,
                &up[n * rows.start..n * rows.end],
                n * rows.start * across.len(),
                inner,
            )?;
            if let Some(data) = &mut data {
                data.write(&band)?;
            }
            if field.visited().is_none() {
                drawn.count(&band, self.scale);
            }
            base.push(self.colours(&band));
            // From the top to here all rows are complete, given so many rows below them.
            let complete =
                |below: usize| if rows.end == height { height } else { rows.end.saturating_sub(below) };
            match band {
                Band::Numbers(samples) => {
                    if let Some(contours) = &contours {
                        let numbers = self.means(samples);
                        ranks.push(contours.ranks(&numbers));
                        values.push(numbers);
                    }
                }
                Band::Categories(centers) if self.antialias > 1 => {
                    categories.push(centers);
                    let to = complete(1).max(seen);
                    drawn.further += closely.look(seen..to, &categories, inner, |row, column, samples| {
                        *base.at_mut(row, column) = mean(samples.iter().map(|&number| category(number)));
                    })?;
                    categories.take(to.saturating_sub(1));
                    seen = to;
                }
                Band::Categories(_) => {}
            }
            if let Some(boundaries) = &mut boundaries {
                drawn.further += boundaries.extend(line_across, &line_up[rows.clone()], inner)?;
            }
            let to = complete(halo).max(done);
            let mut pixels = base.take(to);
            if contours.is_some() || boundaries.is_some() {
                let edges = boundaries.as_ref().map(Boundaries::edges);
                let (contours, half, dark) =
                    (contours.as_ref(), 0.5 * self.line_width, field.is_categorical());
                pixels.par_chunks_exact_mut(width).enumerate().for_each(|(i, pixels)| {
                    let row = done + i;
                    let mut strokes = Strokes::new(row, width);
                    if let Some(contours) = contours {
                        contours.draw(&values, &ranks, row, &mut strokes);
                    }
                    if let Some(edges) = edges {
                        for row in row.saturating_sub(line_reach)..=row + line_reach {
                            edges.each(row, |at| strokes.add([at, at], half));
                        }
                    }
                    strokes.draw(pixels, dark);
                });
                let before = to.saturating_sub(halo);
                values.take(before.min(values.end()));
                ranks.take(before.min(ranks.end()));
                boundaries.iter_mut().for_each(|boundaries| boundaries.forget(before));
            }
            context.progress().advance((to - done) as u64);
            done = to;
            put(pixels)?;
        }
        data.map(Values::finish).transpose()?;
        Ok(drawn)
    }

    /// The pixels of a band of samples.
    fn colours(&self, band: &Band) -> Vec<Rgb> {
        let (n, width) = (self.samples, self.size[1]);
        let across = n * width;
        let samples: Vec<Rgb> = match (band, self.scale) {
            (Band::Numbers(values), Some(scale)) => {
                values.par_iter().with_min_len(1 << 12).map(|&v| scale.colour(f64::from(v))).collect()
            }
            (Band::Numbers(_), None) => unreachable!("draw has checked that there is a scale"),
            (Band::Categories(values), _) => {
                values.par_iter().with_min_len(1 << 12).map(|&v| category(v)).collect()
            }
        };
        if n == 1 {
            return samples;
        }
        let rows = samples.par_chunks_exact(n * across);
        let rows = rows.flat_map_iter(|rows| {
            (0..width).map(move |x| {
                mean(rows.chunks_exact(across).flat_map(|row| row[n * x..n * (x + 1)].iter().copied()))
            })
        });
        rows.collect()
    }

    /// The mean value of each pixel.
    fn means(&self, samples: Vec<f32>) -> Vec<f32> {
        let (n, width) = (self.samples, self.size[1]);
        let across = n * width;
        if n == 1 {
            return samples;
        }
        let rows = samples.par_chunks_exact(n * across);
        let rows = rows.flat_map_iter(|rows| {
            (0..width).map(move |x| {
                let samples = rows.chunks_exact(across).flat_map(|row| &row[n * x..n * (x + 1)]);
                (samples.map(|&value| f64::from(value)).sum::<f64>() / (n * n) as f64) as f32
            })
        });
        rows.collect()
    }
}

impl Drawn {
    fn nothing() -> Self {
        Self { extremes: None, beyond: 0, categories: BTreeMap::new(), further: 0 }
    }

    fn count(&mut self, band: &Band, scale: Option<&Scale>) {
        match band {
            Band::Numbers(values) => {
                let range = scale.map_or(f64::NEG_INFINITY..f64::INFINITY, Scale::range);
                let chunks = values.par_chunks(1 << 14).map(|values| {
                    let (mut low, mut high, mut beyond) = (f64::INFINITY, f64::NEG_INFINITY, 0);
                    for value in values.iter().map(|&v| f64::from(v)) {
                        (low, high) = (low.min(value), high.max(value));
                        beyond += u64::from(value < range.start || value > range.end);
                    }
                    (low, high, beyond)
                });
                let nothing = || (f64::INFINITY, f64::NEG_INFINITY, 0);
                let (low, high, beyond) =
                    chunks.reduce(nothing, |a, b| (a.0.min(b.0), a.1.max(b.1), a.2 + b.2));
                let [least, largest] = self.extremes.unwrap_or([low, high]);
                self.extremes = Some([least.min(low), largest.max(high)]);
                self.beyond += beyond;
            }
            Band::Categories(values) => {
                for run in values.chunk_by(|a, b| a == b) {
                    *self.categories.entry(run[0]).or_default() += run.len() as u64;
                }
            }
        }
    }
}

/// The least and the largest value of a field of numbers on at most 256 x 256 points of a picture of `size` `[H, W]`,
/// spread over the plane: at all its pixels where those are fewer. `None` for categories.
///
/// # Errors
/// As [`survey`].
pub fn extremes<E: Engine>(
    field: &dyn Field<E>,
    size: [usize; 2],
    context: &Context,
) -> Result<Option<[f64; 2]>> {
    if field.is_categorical() {
        return Ok(None);
    }
    Ok(survey(field, size, context)?.extremes)
}

/// What there is at the points of [`extremes`]: the extremes of numbers, and how many points each category has.
///
/// # Errors
/// As [`Picture::draw`].
pub fn survey<E: Engine>(field: &dyn Field<E>, size: [usize; 2], context: &Context) -> Result<Drawn> {
    check_size(size)?;
    let [height, width] = size.map(|side| side.min(COARSE));
    let [across, up] = pixels::<E::Scalar>([height, width]);
    let half = context.memory() / 2;
    let row = (width * size_of::<f32>()) as u64;
    let inner = context.clone().with_memory(half);
    let mut seen = Drawn::nothing();
    for rows in Chunks::within("a row of the picture", height, row, 0, half, height)?.iter() {
        seen.count(&field.band(&across, &up[rows.clone()], rows.start * width, &inner)?, None);
    }
    Ok(seen)
}
