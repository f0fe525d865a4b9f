//! Contact sheets: images in rows and columns, with headings and the scale of their colours.
//!
//! | sheet | what a row shows |
//! |---|---|
//! | [`templates()`] | the slopes `A_k[x]` of chosen outputs at a row of data, or what each input contributes, `A_k[x] * x` |
//! | [`SplineRows::slopes`] | the slopes of a spline's pieces that are active there |
//! | [`SplineRows::anchors`] | the anchors whose pieces these are |
//! | [`clusters()`] | means of clusters of the data |
//! | [`nearest()`] | rows of data with the rows that are most similar to them |
//! | [`channels()`] | the feature maps of a node, and by how much those of another network or a spline differ |

mod channels;
mod clusters;
mod draw;
mod layout;
mod legend;
mod nearest;
mod paint;
mod shape;
mod spline;
mod templates;

use std::ops::Range;

use crate::data::{NpyWriter, OutputFile};
use crate::engine::Context;
use crate::{Error, Result};

pub use channels::{Channels, Difference, Other, channels};
pub use clusters::{ClusterSheet, clusters};
pub use draw::Drawn;
pub use nearest::{Nearest, nearest};
pub use shape::ImageShape;
pub use spline::SplineRows;
pub use templates::{Linear, templates};

/// What the numbers of a tile are, and so their colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// An image: grey from black to white, or red, green and blue where it has three channels.
    Image,
    /// Numbers: viridis.
    Map,
    /// Numbers on both sides of 0, such as slopes: from blue over white at 0 to red.
    Signed,
}

impl Content {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Image, Self::Map, Self::Signed];
}

/// An image on a sheet. Its channels are panels side by side, unless they are shown as red, green and blue.
#[derive(Debug, Clone, PartialEq)]
pub struct Tile {
    /// What it shows.
    pub content: Content,
    /// `[C, H, W]`.
    pub shape: [usize; 3],
    /// Its numbers, row-major.
    pub values: Vec<f32>,
    /// Lines below it.
    pub caption: Vec<String>,
    /// Whether it is there for comparison only: it is not among the [data](Sheet::write_data) of the sheet.
    pub aside: bool,
}

/// Tiles beside each other.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Row {
    /// Lines to the left.
    pub heading: Vec<String>,
    /// Headings of columns, above this row and those below it.
    pub above: Option<Headings>,
    /// At most as many as there are columns; none where a place stays empty.
    pub tiles: Vec<Option<Tile>>,
}

/// Headings of columns.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Headings {
    /// Of each group of columns.
    pub groups: Vec<String>,
    /// Of each column.
    pub columns: Vec<String>,
}

/// Tiles in rows and columns.
#[derive(Debug, Clone, PartialEq)]
pub struct Sheet {
    /// Above everything.
    pub title: String,
    /// How many columns each group has; groups stand apart.
    pub groups: Vec<usize>,
    /// From the top.
    pub rows: Vec<Row>,
    /// What the numbers of each [`Content`] are, for legends.
    pub names: [String; 3],
    /// What the sheet is about: a range of colours that is given is that of this.
    pub subject: Content,
    /// The shape of the data behind the tiles, all but those aside, row by row.
    pub data_shape: Vec<usize>,
}

/// How a sheet is drawn.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Look {
    /// Pixels along a side of each number; where not given as few as make tiles of 64 pixels a side, at most 16, and at
    /// least 4 in tiles that are but a row.
    pub zoom: Option<usize>,
    /// Whether each tile has colours of its own; else there is one range for each [`Content`].
    pub own: bool,
    /// The ends of the colours of the sheet's subject; without one they are the least and the largest number.
    pub range: Option<Range<f64>>,
    /// Whether signed numbers of three channels are shown as red, green and blue around grey, not as panels.
    pub rgb: bool,
}

/// The largest [`Look::zoom`].
pub const MOST_ZOOM: usize = 256;

impl Tile {
    fn new(content: Content, shape: [usize; 3], values: Vec<f32>, caption: Vec<String>) -> Self {
        Self { content, shape, values, caption, aside: false }
    }

    /// An image of the data itself.
    fn input(shape: [usize; 3], values: Vec<f32>) -> Self {
        Self { aside: true, ..Self::new(Content::Image, shape, values, vec![]) }
    }
}

impl Headings {
    fn new(groups: impl IntoIterator<Item = String>, columns: impl IntoIterator<Item = String>) -> Self {
        Self { groups: groups.into_iter().collect(), columns: columns.into_iter().collect() }
    }
}

impl Sheet {
    /// Its tiles, row by row.
    pub fn tiles(&self) -> impl Iterator<Item = &Tile> {
        self.rows.iter().flat_map(|row| row.tiles.iter().flatten())
    }

    /// Bytes that its tiles take.
    pub fn bytes(&self) -> u64 {
        self.tiles().map(|tile| BYTES + size_of_val(&tile.values[..]) as u64).sum()
    }

    /// Writes the numbers behind all tiles but those aside, `f32` of the shape [`data_shape`](Self::data_shape).
    ///
    /// # Errors
    /// A failed write.
    pub fn write_data(&self, output: OutputFile) -> Result<()> {
        let mut writer = NpyWriter::<f32>::create(output, &self.data_shape)?;
        self.tiles().filter(|tile| !tile.aside).try_for_each(|tile| writer.write(&tile.values))?;
        writer.finish()
    }
}

/// Bytes of a tile beside its numbers, its caption among them.
const BYTES: u64 = 256;

/// The memory that is left for computing what tiles show.
struct Beside {
    held: u64,
    budget: u64,
    context: Context,
}

impl Beside {
    /// Beside `tiles` of so many numbers in all.
    ///
    /// # Errors
    /// [`Error::Memory`] where the tiles alone do not fit.
    fn tiles(tiles: usize, numbers: usize, context: &Context) -> Result<Self> {
        let (held, budget) = (tiles as u64 * BYTES + (numbers * size_of::<f32>()) as u64, context.memory());
        if held > budget {
            return Err(Error::Memory { what: format!("a sheet of {tiles} tiles"), needed: held, budget });
        }
        Ok(Self { held, budget, context: context.clone().with_memory(budget - held) })
    }

    /// What a computation says; memory that it lacks is told of with that of the tiles.
    fn run<T>(&self, compute: impl FnOnce(&Context) -> Result<T>) -> Result<T> {
        compute(&self.context).map_err(|error| match error {
            Error::Memory { what, needed, .. } => {
                let what = format!("a sheet with {what}");
                Error::Memory { what, needed: needed + self.held, budget: self.budget }
            }
            error => error,
        })
    }
}

/// A number in a caption: three digits.
fn short(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 {
        return "0".to_owned();
    }
    if !(1e-3..1e5).contains(&size) {
        return format!("{value:.2e}");
    }
    let digits = (2.0 - size.log10().floor()).clamp(0.0, 5.0) as usize;
    format!("{value:.digits$}")
}

/// # Errors
/// [`Error::NonFinite`] with the number of the row where not all values are finite.
fn check_finite(values: &[f32], what: &str, row: usize) -> Result<()> {
    if values.iter().all(|v| v.is_finite()) {
        return Ok(());
    }
    Err(Error::NonFinite { what: what.to_owned(), row })
}

/// # Errors
/// [`Error::Argument`] for rows that are not in the data, or none.
fn check_chosen(data: &crate::data::Dataset, rows: &[usize]) -> Result<()> {
    let (count, path) = (data.len(), data.path().display());
    if rows.is_empty() {
        return Err(Error::Argument("a sheet shows at least one row of data".to_owned()));
    }
    match rows.iter().find(|&&row| row >= count) {
        None => Ok(()),
        Some(row) => Err(Error::Argument(format!("there is no row {row} of the {count} in '{path}'"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_captions_have_three_digits() {
        let texts = [0.0, 1.0, -3.2468, 0.012345, 99_999.0, 123.456, 1e5, -1e-9].map(short);
        assert_eq!(texts, ["0", "1.00", "-3.25", "0.0123", "99999", "123", "1.00e5", "-1.00e-9"]);
    }

    #[test]
    fn memory_that_lacks_is_told_of_with_the_tiles() {
        let context = Context::default().with_memory(1000);
        let fault = Beside::tiles(4, 10, &context).map(drop).unwrap_err();
        assert!(matches!(fault, Error::Memory { needed: 1064, budget: 1000, .. }), "{fault}");
        let beside = Beside::tiles(1, 10, &context).unwrap();
        let fault = beside.run::<()>(|inner| {
            assert_eq!(inner.memory(), 1000 - 296);
            Err(Error::Memory { what: "a pass".to_owned(), needed: 800, budget: inner.memory() })
        });
        assert!(matches!(fault, Err(Error::Memory { needed: 1096, budget: 1000, .. })));
    }
}
