//! What is around a picture: title, axes and legend, composed as its rows come.

use std::collections::BTreeMap;

use crate::Result;
use crate::engine::{Context, Engine};

use super::legend::ticks;
use super::text::{Canvas, Horizontal, Text, Vertical};
use super::{Field, Rgb, Scale, category, survey};

const PAPER: Rgb = [255; 3];
const INK: Rgb = [0x22; 3];

/// The size of letters in pixels, of pictures of any size: one 45th of the shorter side within these.
const LETTERS: [f32; 2] = [13.0, 160.0];

/// Rows that are composed at a time.
const STRIP: usize = 16;

/// Categories that a legend lists; of more it only tells the number.
pub(super) const LISTED: usize = 40;

/// What the colours of a picture are.
#[derive(Debug, Clone)]
pub enum Legend<'a> {
    /// Said elsewhere.
    None,
    /// A bar of numbers.
    Scale(&'a Scale),
    /// Categories, each with what it is called. Of more than 40 only their number is told, in one line.
    Categories(&'a [(u32, String)]),
}

/// Margins around a picture of `size` `[H, W]` with ticks of `s` and `t`, each from -1 to 1 between its edges.
///
/// Letters grow with the picture; margins are made as rows come, so that a framed picture takes no more memory.
#[derive(Debug)]
pub struct Frame {
    picture: [usize; 2],
    /// Rows above and columns to the left of the picture.
    corner: [usize; 2],
    size: [usize; 2],
    items: Vec<Item>,
}

#[derive(Debug)]
struct Item {
    /// The upper left corner and the size, in pixels; of text, where it may have ink.
    at: [isize; 2],
    size: [usize; 2],
    what: What,
}

#[derive(Debug)]
enum What {
    Fill(Rgb),
    /// The colours of its rows.
    Bar(Vec<Rgb>),
    /// A line, the point it is put at, how, and whether it runs upwards.
    Text {
        text: Text,
        line: String,
        point: [isize; 2],
        anchor: (Horizontal, Vertical),
        up: bool,
    },
}

/// What is laid out, before it is known how large the margins are; coordinates are those of the picture.
struct Layout {
    text: Text,
    items: Vec<Item>,
}

impl Layout {
    fn fill(&mut self, at: [isize; 2], size: [usize; 2], colour: Rgb) {
        self.items.push(Item { at, size, what: What::Fill(colour) });
    }

    fn text(&mut self, line: &str, point: [isize; 2], anchor: (Horizontal, Vertical), up: bool) {
        let (long, high) =
            (self.text.width(line).ceil() as usize + 2, self.text.height().ceil() as usize + 2);
        let along = match anchor.0 {
            Horizontal::Left => 0,
            Horizontal::Middle => long / 2 + 1,
            Horizontal::Right => long,
        };
        let below = match anchor.1 {
            Vertical::Top => 0,
            // Of a line's height three quarters at most lie above the middle of a capital.
            Vertical::Middle => 3 * high / 4,
            Vertical::Baseline | Vertical::Bottom => high,
        };
        let (at, size) = if up {
            let top = point[1] - long as isize + along as isize;
            ([point[0] - below as isize, top], [high, long])
        } else {
            ([point[0] - along as isize, point[1] - below as isize], [long, high])
        };
        let what = What::Text { text: self.text.clone(), line: line.to_owned(), point, anchor, up };
        self.items.push(Item { at, size, what });
    }
}

/// Where a share of the way along so many pixels is, as the first pixel of a mark `thick` pixels wide around it.
fn mark(share: f64, pixels: usize, thick: usize) -> isize {
    (share * pixels as f64 - 0.5 * thick as f64 + 0.5).floor() as isize
}

impl Frame {
    /// As [`new`](Self::new), around a picture `[H, W]` of a field, with a legend of its numbers (where there is a scale)
    /// or of its categories: these are surveyed first, as the legend is written with the first rows. Visited regions are
    /// not listed.
    ///
    /// # Errors
    /// As [`survey`].
    pub fn of<E: Engine>(
        field: &dyn Field<E>,
        picture: [usize; 2],
        title: &str,
        axes: [&str; 2],
        scale: Option<&Scale>,
        context: &Context,
    ) -> Result<Self> {
        let categories = match scale {
            None if field.visited().is_none() => survey(field, picture, context)?.categories,
            _ => BTreeMap::new(),
        };
        let named: Vec<(u32, String)> =
            categories.into_keys().map(|number| (number, number.to_string())).collect();
        let legend = scale.map_or(Legend::Categories(&named), Legend::Scale);
        Ok(Self::new(picture, title, axes, &legend))
    }

    /// Lays out what is around a picture: `axes` are the names of `s` and `t`.
    pub fn new(picture: [usize; 2], title: &str, axes: [&str; 2], legend: &Legend<'_>) -> Self {
        let [height, width] = picture;
        let letters = (height.min(width) as f32 / 45.0).clamp(LETTERS[0], LETTERS[1]);
        let text = Text::new(letters);
        let unit = letters.round() as usize;
        let line = text.height().ceil() as usize;
        let thick = (unit / 13).max(1);
        let (tick, gap) = ((unit / 2) as isize, (unit / 3) as isize);
        let mut layout = Layout { text, items: vec![] };

        // A line around the picture.
        let (w, h, t) = (width as isize, height as isize, thick as isize);
        for (at, size) in [
            ([-t, -t], [width + 2 * thick, thick]),
            ([-t, h], [width + 2 * thick, thick]),
            ([-t, 0], [thick, height]),
            ([w, 0], [thick, height]),
        ] {
            layout.fill(at, size, INK);
        }
        for (value, name) in ticks(-1.0, 1.0, (width / (4 * unit)).clamp(2, 10)) {
            let x = mark(0.5 * (value + 1.0), width, thick);
            layout.fill([x, h + t], [thick, tick as usize], INK);
            let point = [(0.5 * (value + 1.0) * width as f64).round() as isize, h + t + tick + gap / 2];
            layout.text(&name, point, (Horizontal::Middle, Vertical::Top), false);
        }
        let names = ticks(-1.0, 1.0, (height / (3 * unit)).clamp(2, 10));
        let widest = names.iter().map(|(_, name)| layout.text.width(name).ceil() as isize).max().unwrap_or(0);
        for (value, name) in names {
            let y = mark(0.5 * (1.0 - value), height, thick);
            layout.fill([-t - tick, y], [tick as usize, thick], INK);
            let point = [-t - tick - gap, (0.5 * (1.0 - value) * height as f64).round() as isize];
            layout.text(&name, point, (Horizontal::Right, Vertical::Middle), false);
        }
        let below = h + t + tick + gap + line as isize;
        layout.text(axes[0], [w / 2, below], (Horizontal::Middle, Vertical::Top), false);
        let left = -t - tick - 2 * gap - widest;
        layout.text(axes[1], [left, h / 2], (Horizontal::Middle, Vertical::Bottom), true);
        let mut above = -t - gap;
        if let Legend::Categories(all) = legend
            && all.len() > LISTED
        {
            layout.text(
                &format!("{} categories", all.len()),
                [0, above],
                (Horizontal::Left, Vertical::Bottom),
                false,
            );
            above -= line as isize;
        }
        layout.text(title, [0, above], (Horizontal::Left, Vertical::Bottom), false);
        let from = w + t + 2 * gap + gap / 2;
        match legend {
            Legend::None => {}
            Legend::Scale(scale) => bar(&mut layout, scale, from, height, unit),
            Legend::Categories(all) if all.len() > LISTED => {}
            Legend::Categories(all) => list(&mut layout, all, from, height, unit),
        }
        Self::around_all(picture, layout.items, unit / 2)
    }

    /// The margins that all items need, and so many pixels more.
    fn around_all(picture: [usize; 2], mut items: Vec<Item>, pad: usize) -> Self {
        let [height, width] = picture.map(|side| side as isize);
        let (mut low, mut high) = ([0, 0], [width, height]);
        for item in &items {
            for i in 0..2 {
                low[i] = low[i].min(item.at[i]);
                high[i] = high[i].max(item.at[i] + item.size[i] as isize);
            }
        }
        let pad = pad as isize;
        let [left, above] = low.map(|low| pad - low);
        for item in &mut items {
            let shift = |at: &mut [isize; 2]| *at = [at[0] + left, at[1] + above];
            shift(&mut item.at);
            if let What::Text { point, .. } = &mut item.what {
                shift(point);
            }
        }
        let size = [high[1] + above + pad, high[0] + left + pad].map(isize::unsigned_abs);
        Self { picture, corner: [above.unsigned_abs(), left.unsigned_abs()], size, items }
    }

    /// `[H, W]` of the picture with all that is around it.
    pub fn size(&self) -> [usize; 2] {
        self.size
    }

    /// The row and the column of the picture's first pixel.
    pub fn corner(&self) -> [usize; 2] {
        self.corner
    }

    /// Bytes that are held.
    pub(super) fn memory(&self) -> u64 {
        (2 * STRIP * size_of::<Rgb>() * self.size[1]) as u64
    }

    /// Gives all rows to `put`, from the top; `rows` are those of the picture, some at a time.
    ///
    /// # Errors
    /// What `rows` and `put` say.
    pub(super) fn around(
        &self,
        rows: &mut dyn Iterator<Item = Result<Vec<Rgb>>>,
        put: &mut dyn FnMut(&[Rgb]) -> Result<()>,
    ) -> Result<()> {
        let [height, width] = self.picture;
        let end = self.corner[0] + height;
        let margin = |from: usize, to: usize, put: &mut dyn FnMut(&[Rgb]) -> Result<()>| {
            (from..to).step_by(STRIP).try_for_each(|y| put(self.strip(y, STRIP.min(to - y)).pixels()))
        };
        margin(0, self.corner[0], put)?;
        let mut y = self.corner[0];
        for pixels in rows {
            for pixels in pixels?.chunks(STRIP * width) {
                let count = pixels.len() / width;
                let strip = self.strip(y, count);
                let mut framed = Vec::with_capacity(strip.pixels().len());
                for (i, pixels) in pixels.chunks_exact(width).enumerate() {
                    let (left, right) = strip.row(i).split_at(self.corner[1]);
                    framed.extend_from_slice(left);
                    framed.extend_from_slice(pixels);
                    framed.extend_from_slice(&right[width..]);
                }
                put(&framed)?;
                y += count;
            }
        }
        // Too few rows are an error of whoever gave them.
        if y == end { margin(end, self.size[0], put) } else { Ok(()) }
    }

    /// Some rows, from the `y`-th on, with paper where the picture is.
    fn strip(&self, y: usize, count: usize) -> Canvas {
        let mut canvas = Canvas::new(self.size[1], count, PAPER);
        let shift = -(y as isize);
        for Item { at, size, what } in &self.items {
            let top = at[1] + shift;
            if top >= count as isize || top + size[1] as isize <= 0 {
                continue;
            }
            match what {
                What::Fill(colour) => canvas.rectangle([at[0], top], *size, *colour),
                What::Bar(colours) => {
                    let rows =
                        (0..count as isize).filter_map(|row| Some((row, usize::try_from(row - top).ok()?)));
                    for (row, i) in rows {
                        if let Some(colour) = colours.get(i) {
                            canvas.rectangle([at[0], row], [size[0], 1], *colour);
                        }
                    }
                }
                What::Text { text, line, point, anchor, up } => {
                    let write = if *up { Canvas::text_up } else { Canvas::text };
                    write(&mut canvas, text, line, [point[0], point[1] + shift], *anchor, INK);
                }
            }
        }
        canvas
    }
}

/// A bar of colours, the largest number at its top, which is that of the picture.
fn bar(layout: &mut Layout, scale: &Scale, from: isize, height: usize, unit: usize) {
    let (thick, wide) = ((unit / 13).max(1), unit + unit / 4);
    let high = height.min(30 * unit);
    let range = scale.range();
    let at = |row: usize| {
        let share = (row as f64 + 0.5) / high as f64;
        scale.colour(range.end - share * (range.end - range.start))
    };
    let what = What::Bar((0..high).map(at).collect());
    layout.items.push(Item { at: [from, 0], size: [wide, high], what });
    let right = from + wide as isize;
    for (value, name) in ticks(range.start, range.end, (high / (2 * unit)).clamp(2, 10)) {
        let share = (range.end - value) / (range.end - range.start);
        layout.fill([right, mark(share, high, thick)], [unit / 3, thick], INK);
        let point = [right + (2 * unit / 3) as isize, (share * high as f64).round() as isize];
        layout.text(&name, point, (Horizontal::Left, Vertical::Middle), false);
    }
}

/// Categories below each other, in as many columns as the height of the picture needs.
fn list(layout: &mut Layout, all: &[(u32, String)], from: isize, height: usize, unit: usize) {
    let pitch = unit + unit / 2;
    let rows = (height / pitch).max(1);
    let mut x = from;
    for column in all.chunks(rows) {
        let mut widest = 0;
        for (i, (number, name)) in column.iter().enumerate() {
            let y = (i * pitch) as isize;
            layout.fill([x, y], [unit, unit], category(*number));
            let point = [x + (unit + unit / 2) as isize, y + (unit / 2) as isize];
            layout.text(name, point, (Horizontal::Left, Vertical::Middle), false);
            widest = widest.max(layout.text.width(name).ceil() as usize);
        }
        x += (3 * unit + widest) as isize;
    }
}
