//! Sheets into PNG files, a row of tiles at a time.

use std::ops::Range;

use crate::data::OutputFile;
use crate::engine::Context;
use crate::render::png::CHUNK;
use crate::render::{Canvas, Horizontal, Rgb, Vertical, write_png};
use crate::{Error, Result};

use super::layout::{Band, LINE, Layout, MARGIN, PANEL_GAP, is_rgb, shortened, tile_size, zoom};
use super::legend::Legends;
use super::paint::Paint;
use super::{Content, Look, Row, Sheet, Tile, short};

const PAPER: Rgb = [255; 3];
const INK: Rgb = [0x1A; 3];
const FRAME: Rgb = [0xB0; 3];

/// What was drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct Drawn {
    /// `[H, W]` in pixels.
    pub size: [usize; 2],
    /// The upper left corner `x`, `y` of each tile, row by row, its width and its height in pixels.
    pub places: Vec<[usize; 4]>,
    /// The least and the largest number of each [`Content`] that there is.
    pub extremes: [Option<[f64; 2]>; 3],
    /// The ends of its colours; none where each tile has its own.
    pub ranges: [Option<[f64; 2]>; 3],
}

impl Sheet {
    /// Draws the sheet into a PNG file, with `comment` as its text `Comment`. A row of tiles is held as pixels at a time,
    /// beside the tiles themselves.
    ///
    /// # Errors
    /// [`Error::NonFinite`] with the number of the tile that holds a NaN; [`Error::Argument`] for a range that does not
    /// ascend, or is given with own colours, for a zoom that is too large or 0, and for a sheet of more than 2^28 pixels;
    /// [`Error::Shape`] for a tile whose numbers do not have its shape; [`Error::Memory`]; a failed write.
    pub fn draw(&self, look: &Look, output: OutputFile, comment: &str, context: &Context) -> Result<Drawn> {
        let extremes = self.extremes()?;
        let own = if look.own { self.own(look)? } else { vec![] };
        let common = if look.own { [const { None }; 3] } else { self.common(look, &extremes)? };
        let note = "each tile has colours of its own, between the numbers below it".to_owned();
        let named = self.names.iter().zip(&common);
        let bars = named.filter_map(|(name, paint)| Some((name.clone(), paint.clone()?)));
        let legends = Legends::new(bars, look.own.then_some(note));
        let layout = Layout::new(self, look, &own, legends)?;
        let [height, width] = layout.size;
        let highest =
            layout.bands.iter().map(|band| band.height).chain([layout.top, layout.legends.height()]);
        let pixels = width * highest.max().unwrap_or(0) * size_of::<Rgb>();
        let (needed, budget) = (self.bytes() + (pixels + 2 * CHUNK) as u64, context.memory());
        if needed > budget {
            return Err(Error::Memory {
                what: format!("a sheet of {width} x {height} pixels"),
                needed,
                budget,
            });
        }
        let (mut places, mut y) = (vec![], layout.top);
        context.progress().start("rows of tiles", self.rows.len() as u64);
        write_png(output, layout.size, comment, |put| {
            let mut canvas = Canvas::new(width, layout.top, PAPER);
            let corner = [MARGIN as isize, MARGIN as isize];
            let anchor = (Horizontal::Left, Vertical::Top);
            canvas.text(&layout.title, &shortened(&self.title), corner, anchor, INK);
            put(canvas.pixels())?;
            let mut own = own.iter();
            for (row, band) in self.rows.iter().zip(&layout.bands) {
                context.check()?;
                let mut canvas = Canvas::new(width, band.height, PAPER);
                headings(&mut canvas, &layout, band, row);
                for (column, tile) in row.tiles.iter().enumerate() {
                    let Some(tile) = tile else { continue };
                    let size = tile_size(tile, look);
                    let [left, top, wide, high] = layout.place(band, column, size);
                    let alone;
                    let paint = match &common[tile.content as usize] {
                        Some(paint) => paint,
                        None => {
                            alone = Paint::new(
                                tile.content,
                                least_and_largest(&tile.values),
                                is_rgb(tile, look),
                            )?;
                            &alone
                        }
                    };
                    canvas.rectangle([left as isize - 1, top as isize - 1], [wide + 2, high + 2], FRAME);
                    paint_tile(&mut canvas, tile, look, [left, top], paint);
                    let [x, of_column] = layout.columns[column];
                    let middle = (x + of_column / 2) as isize;
                    for (line, text) in tile.caption.iter().chain(own.next()).enumerate() {
                        let at = [middle, (top + high + 2 + line * LINE) as isize];
                        let anchor = (Horizontal::Middle, Vertical::Top);
                        canvas.text(&layout.label, &shortened(text), at, anchor, INK);
                    }
                    places.push([left, y + top, wide, high]);
                }
                put(canvas.pixels())?;
                y += band.height;
                context.progress().advance(1);
            }
            let mut canvas = Canvas::new(width, height - y, PAPER);
            layout.legends.draw(&mut canvas, INK, FRAME);
            put(canvas.pixels())
        })?;
        context.progress().finish();
        let ranges = common.map(|paint| paint.map(|paint| [paint.range().start, paint.range().end]));
        Ok(Drawn { size: layout.size, places, extremes, ranges })
    }

    /// The least and the largest number of each kind of content.
    fn extremes(&self) -> Result<[Option<[f64; 2]>; 3]> {
        let mut extremes = [None; 3];
        for (number, tile) in self.tiles().enumerate() {
            if tile.values.is_empty() || tile.values.len() != tile.shape.iter().product::<usize>() {
                let (count, shape) = (tile.values.len(), tile.shape);
                return Err(Error::Shape(format!("a tile of shape {shape:?} with {count} numbers")));
            }
            super::check_finite(&tile.values, "the tiles of a sheet, counted row by row", number)?;
            let Range { start, end } = least_and_largest(&tile.values);
            let [low, high] = extremes[tile.content as usize].unwrap_or([f64::INFINITY, f64::NEG_INFINITY]);
            extremes[tile.content as usize] = Some([low.min(start), high.max(end)]);
        }
        Ok(extremes)
    }

    /// Colours that all tiles of a content share.
    fn common(&self, look: &Look, extremes: &[Option<[f64; 2]>; 3]) -> Result<[Option<Paint>; 3]> {
        let mut paints = [const { None }; 3];
        for content in Content::ALL {
            let Some([low, high]) = extremes[content as usize] else { continue };
            let given = look.range.clone().filter(|_| content == self.subject);
            if let Some(Range { start, end }) = given.clone().filter(|given| given.start >= given.end) {
                return Err(Error::Argument(format!(
                    "a range of colours must ascend: {start},{end} does not"
                )));
            }
            let rgb = self.tiles().any(|tile| tile.content == content && is_rgb(tile, look));
            paints[content as usize] = Some(Paint::new(content, given.unwrap_or(low..high), rgb)?);
        }
        Ok(paints)
    }

    /// A line for each tile with the ends of its colours.
    fn own(&self, look: &Look) -> Result<Vec<String>> {
        if look.range.is_some() {
            return Err(Error::Argument(
                "with colours of its own for each tile there is no range".to_owned(),
            ));
        }
        let line = |tile: &Tile| {
            let Range { start, end } = least_and_largest(&tile.values);
            match tile.content {
                Content::Signed => format!("\u{b1}{}", short(start.abs().max(end.abs()))),
                Content::Image | Content::Map => format!("{} \u{2026} {}", short(start), short(end)),
            }
        };
        Ok(self.tiles().map(line).collect())
    }
}

fn least_and_largest(values: &[f32]) -> Range<f64> {
    let (low, high) =
        values.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &v| (low.min(v), high.max(v)));
    f64::from(low)..f64::from(high)
}

/// The headings of a row and, where they come above it, of columns.
fn headings(canvas: &mut Canvas, layout: &Layout, band: &Band, row: &Row) {
    let mut text = |line: &str, [x, y]: [usize; 2], horizontal, vertical| {
        canvas.text(&layout.label, &shortened(line), [x as isize, y as isize], (horizontal, vertical), INK);
    };
    if let Some(above) = &row.above {
        for (line, [x, width]) in above.groups.iter().zip(&layout.groups) {
            text(line, [x + width / 2, 0], Horizontal::Middle, Vertical::Top);
        }
        for (line, [x, width]) in above.columns.iter().zip(&layout.columns) {
            text(line, [x + width / 2, band.columns], Horizontal::Middle, Vertical::Top);
        }
    }
    // Beside the middle of the tiles.
    let body = (band.tile + 2).max(row.heading.len() * LINE);
    let first = band.tiles + (body - row.heading.len() * LINE) / 2;
    for (number, line) in row.heading.iter().enumerate() {
        text(
            line,
            [layout.left - super::layout::GAP, first + number * LINE],
            Horizontal::Right,
            Vertical::Top,
        );
    }
}

/// The numbers of a tile, each a square of pixels.
fn paint_tile(canvas: &mut Canvas, tile: &Tile, look: &Look, [left, top]: [usize; 2], paint: &Paint) {
    let ([channels, height, width], zoom) = (tile.shape, zoom(tile, look));
    let plane = height * width;
    let mut square = |x: usize, y: usize, colour: Rgb| {
        canvas.rectangle([x as isize, y as isize], [zoom; 2], colour);
    };
    if is_rgb(tile, look) {
        for at in 0..plane {
            let values = [0, 1, 2].map(|c| f64::from(tile.values[c * plane + at]));
            square(left + at % width * zoom, top + at / width * zoom, paint.rgb(values));
        }
        return;
    }
    for channel in 0..channels {
        let left = left + channel * (width * zoom + PANEL_GAP);
        for at in 0..plane {
            let colour = paint.colour(f64::from(tile.values[channel * plane + at]));
            square(left + at % width * zoom, top + at / width * zoom, colour);
        }
    }
}
