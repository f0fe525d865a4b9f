//! Pictures of any size: bands of rows that are computed, coloured and written before the next.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use rayon::prelude::*;

use crate::data::{NpyWriter, OutputFile};
use crate::engine::plan::Chunks;
use crate::engine::{Context, Engine};
use crate::spline::slice::pixels;
use crate::{Error, Result};

use super::colour::{component, light};
use super::png::{CHUNK, check_size};
use super::{Band, Field, Rgb, Scale, category, write_png};

/// Points of a band at most, between two looks at the clock.
const BAND: usize = 1 << 20;

/// Points along a side that the range of a field is looked for in.
const COARSE: usize = 256;

/// The most samples along a side of a pixel.
pub const MOST_SAMPLES: usize = 16;

/// How a field is drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture<'a> {
    /// `[H, W]`.
    pub size: [usize; 2],
    /// Samples along a side of each pixel, whose colours are averaged as light: 1 draws the centre alone.
    pub samples: usize,
    /// The colours of numbers; categories have their own.
    pub scale: Option<&'a Scale>,
    /// What the file is to say of itself: the command line.
    pub comment: &'a str,
}

/// What was drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct Drawn {
    /// The least and the largest number; `None` of categories.
    pub extremes: Option<[f64; 2]>,
    /// Samples with numbers beyond the scale.
    pub beyond: u64,
    /// Samples of each category that there is, unless they are [regions](Field::visited).
    pub categories: BTreeMap<u32, u64>,
}

impl Picture<'_> {
    /// Draws a field into a PNG file, and writes the values at the pixels into a `.npy` file `[H, W]` (f32, or u32 of
    /// categories) where one is given. What is held does not grow with the picture beyond a row of it.
    ///
    /// # Errors
    /// [`Error::Argument`] for a size or a number of samples that is 0 or too large, a field of numbers without a scale,
    /// and values of several samples; [`Error::Memory`] where a row does not fit; what the field says; a failed write.
    pub fn draw<E: Engine>(
        &self,
        field: &dyn Field<E>,
        png: OutputFile,
        data: Option<OutputFile>,
        context: &Context,
    ) -> Result<Drawn> {
        let [height, width] = self.size;
        let n = self.samples;
        if !(1..=MOST_SAMPLES).contains(&n) {
            return Err(Error::Argument(format!("a pixel has 1 to {MOST_SAMPLES} samples a side, not {n}")));
        }
        if data.is_some() && n > 1 {
            return Err(Error::Argument("values are written of one sample a pixel only".to_owned()));
        }
        if self.scale.is_none() && !field.is_categorical() {
            return Err(Error::Argument("numbers need a scale of colours".to_owned()));
        }
        check_size(self.size)?;
        let mut data =
            data.map(|output| Values::create(output, self.size, field.is_categorical())).transpose()?;
        let mut drawn = Drawn { extremes: None, beyond: 0, categories: BTreeMap::new() };
        context.progress().start("rows", height as u64);
        write_png(png, self.size, self.comment, |put| {
            bands(field, self.size, n, context, |band| {
                if let Some(data) = &mut data {
                    data.write(&band)?;
                }
                if field.visited().is_none() {
                    drawn.count(&band, self.scale);
                }
                let pixels = self.colours(&band);
                put(&pixels)?;
                context.progress().advance((pixels.len() / width) as u64);
                Ok(())
            })
        })?;
        context.progress().finish();
        data.map(Values::finish).transpose()?;
        Ok(drawn)
    }

    /// The pixels of a band of samples.
    fn colours(&self, band: &Band) -> Vec<Rgb> {
        let (n, across) = (self.samples, self.size[1] * self.samples);
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
        static LIGHT: LazyLock<[f64; 256]> =
            LazyLock::new(|| std::array::from_fn(|i| light(u8::try_from(i).unwrap_or(u8::MAX))));
        let rows = samples.par_chunks_exact(n * across);
        let rows = rows.flat_map_iter(|rows| {
            (0..self.size[1]).map(move |x| {
                let mut sum = [0.0; 3];
                for row in rows.chunks_exact(across) {
                    for sample in &row[n * x..n * (x + 1)] {
                        sum.iter_mut().zip(sample).for_each(|(sum, c)| *sum += LIGHT[usize::from(*c)]);
                    }
                }
                sum.map(|sum| component(sum / (n * n) as f64))
            })
        });
        rows.collect()
    }
}

impl Drawn {
    fn count(&mut self, band: &Band, scale: Option<&Scale>) {
        match band {
            Band::Numbers(values) => {
                let range = scale.map_or(f64::NEG_INFINITY..f64::INFINITY, Scale::range);
                let [mut low, mut high] = self.extremes.unwrap_or([f64::INFINITY, f64::NEG_INFINITY]);
                for value in values.iter().map(|&v| f64::from(v)) {
                    (low, high) = (low.min(value), high.max(value));
                    self.beyond += u64::from(value < range.start || value > range.end);
                }
                self.extremes = Some([low, high]);
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
/// As [`Picture::draw`].
pub fn extremes<E: Engine>(
    field: &dyn Field<E>,
    size: [usize; 2],
    context: &Context,
) -> Result<Option<[f64; 2]>> {
    check_size(size)?;
    if field.is_categorical() {
        return Ok(None);
    }
    let mut seen = Drawn { extremes: None, beyond: 0, categories: BTreeMap::new() };
    bands(field, size.map(|side| side.min(COARSE)), 1, context, |band| {
        seen.count(&band, None);
        Ok(())
    })?;
    Ok(seen.extremes)
}

/// The samples of a picture in bands of whole rows of pixels, from the top.
fn bands<E: Engine>(
    field: &dyn Field<E>,
    [height, width]: [usize; 2],
    samples: usize,
    context: &Context,
    mut each: impl FnMut(Band) -> Result<()>,
) -> Result<()> {
    let [across, up] = pixels::<E::Scalar>([height * samples, width * samples]);
    // Of a row of pixels: values and colours of its samples, and its own colours; half the budget is the field's.
    let row = (width * (samples * samples * (size_of::<f32>() + size_of::<Rgb>()) + size_of::<Rgb>())) as u64;
    let coordinates = (across.len() + up.len()) * size_of::<E::Scalar>();
    let fixed = (coordinates + 2 * CHUNK + 4 * width * size_of::<Rgb>()) as u64;
    let most = (BAND / (width * samples * samples)).max(1);
    let half = context.memory() / 2;
    let rows = Chunks::within("a row of the picture", height, row, fixed, half, most)?;
    let inner = context.clone().with_memory(half);
    rows.iter().try_for_each(|rows| {
        let first = rows.start * samples * across.len();
        each(field.band(&across, &up[samples * rows.start..samples * rows.end], first, &inner)?)
    })
}

/// The values behind a picture.
enum Values {
    Numbers(NpyWriter<f32>),
    Categories(NpyWriter<u32>),
}

impl Values {
    fn create(output: OutputFile, size: [usize; 2], categorical: bool) -> Result<Self> {
        Ok(match categorical {
            true => Self::Categories(NpyWriter::create(output, &size)?),
            false => Self::Numbers(NpyWriter::create(output, &size)?),
        })
    }

    fn write(&mut self, band: &Band) -> Result<()> {
        match (self, band) {
            (Self::Numbers(writer), Band::Numbers(values)) => writer.write(values),
            (Self::Categories(writer), Band::Categories(values)) => writer.write(values),
            _ => unreachable!("a field has values of one kind"),
        }
    }

    fn finish(self) -> Result<()> {
        match self {
            Self::Numbers(writer) => writer.finish(),
            Self::Categories(writer) => writer.finish(),
        }
    }
}
