//! Where everything lies on a sheet.

use crate::render::{MOST_PIXELS, Text};
use crate::{Error, Result};

use super::legend::Legends;
use super::{Content, Headings, Look, MOST_ZOOM, Row, Sheet, Tile};

/// Pixels around everything.
pub(super) const MARGIN: usize = 12;
/// Pixels between tiles, which have frames of one pixel.
pub(super) const GAP: usize = 7;
/// Pixels between groups of columns.
const GROUP_GAP: usize = 18;
/// Pixels between the channels of a tile.
pub(super) const PANEL_GAP: usize = 2;
/// Font sizes in pixels.
pub(super) const LABEL: f32 = 12.0;
const TITLE: f32 = 15.0;
/// Pixels of a line of labels.
pub(super) const LINE: usize = 16;

/// The least side of a tile where no zoom is given, the largest zoom that is taken for it, and the least one of a tile
/// that is but a row.
const SIDE: usize = 64;
const MOST_USUAL_ZOOM: usize = 16;
const ZOOM_OF_ROWS: usize = 4;

/// Letters of a heading; the end of longer ones is left out.
const MOST_LETTERS: usize = 60;

/// Pixels of a sheet, all in all.
const MOST: u64 = 1 << 28;

/// Places of everything on a sheet, in pixels.
pub(super) struct Layout {
    /// `[H, W]`.
    pub size: [usize; 2],
    pub title: Text,
    pub label: Text,
    /// The rows of pixels of the title.
    pub top: usize,
    /// Where the headings of rows end.
    pub left: usize,
    /// Where each column begins, and its width.
    pub columns: Vec<[usize; 2]>,
    /// Likewise of groups.
    pub groups: Vec<[usize; 2]>,
    pub bands: Vec<Band>,
    pub legends: Legends,
}

/// A row of tiles with what belongs to it.
pub(super) struct Band {
    /// Pixels from the top of the band to the headings of columns, and to the tiles.
    pub columns: usize,
    pub tiles: usize,
    /// Pixels of the highest tile.
    pub tile: usize,
    pub height: usize,
}

impl Layout {
    /// Each tile's line of `own` comes below its caption; there are none where colours are common.
    ///
    /// # Errors
    /// [`Error::Argument`] for a zoom of 0 or beyond [`MOST_ZOOM`], a sheet without tiles, and one of too many pixels.
    pub(super) fn new(sheet: &Sheet, look: &Look, own: &[String], legends: Legends) -> Result<Self> {
        if let Some(zoom) = look.zoom.filter(|zoom| !(1..=MOST_ZOOM).contains(zoom)) {
            return Err(Error::Argument(format!("a number has 1 to {MOST_ZOOM} pixels a side, not {zoom}")));
        }
        if sheet.tiles().next().is_none() {
            return Err(Error::Argument("a sheet has at least one tile".to_owned()));
        }
        let (title, label) = (Text::new(TITLE), Text::new(LABEL));
        let wide = |text: &str| label.width(&shortened(text)).ceil() as usize;
        let of_rows =
            sheet.rows.iter().flat_map(|row| &row.heading).map(|line| wide(line)).max().unwrap_or(0);
        let left = MARGIN + of_rows + if of_rows > 0 { GAP } else { 0 };

        let count = sheet.groups.iter().sum();
        if let Some(row) = sheet.rows.iter().find(|row| row.tiles.len() > count) {
            let tiles = row.tiles.len();
            return Err(Error::Shape(format!("a row of {tiles} tiles on a sheet of {count} columns")));
        }
        let mut widths = vec![0; count];
        for above in sheet.rows.iter().filter_map(|row| row.above.as_ref()) {
            widths.iter_mut().zip(&above.columns).for_each(|(width, text)| *width = wide(text).max(*width));
        }
        let mut widen = |at: usize, by: usize| widths[at] = by.max(widths[at]);
        let mut number = 0;
        for row in &sheet.rows {
            for (at, tile) in row.tiles.iter().enumerate() {
                let Some(tile) = tile else { continue };
                widen(at, tile_size(tile, look)[1] + 2);
                let lines = tile.caption.iter().chain(own.get(number));
                lines.for_each(|line| widen(at, wide(line)));
                number += 1;
            }
        }
        // The last column of a group makes up for what its heading needs.
        let (mut columns, mut groups, mut x, mut at) = (vec![], vec![], left, 0);
        for (group, &of_group) in sheet.groups.iter().enumerate() {
            let start = x;
            for width in &widths[at..at + of_group] {
                columns.push([x, *width]);
                x += width + GAP;
            }
            let texts = sheet.rows.iter().filter_map(|row| row.above.as_ref()?.groups.get(group));
            let needed = texts.map(|text| wide(text)).max().unwrap_or(0);
            let has = x.saturating_sub(start + GAP);
            x += needed.saturating_sub(has);
            groups.push([start, has.max(needed)]);
            (x, at) = (x - GAP + GROUP_GAP, at + of_group);
        }
        let of_title = title.width(&shortened(&sheet.title)).ceil() as usize;
        let width = (x - GROUP_GAP).max(MARGIN + of_title).max(MARGIN + legends.least_width()) + MARGIN;
        let top = if sheet.title.is_empty() { MARGIN } else { MARGIN + (1.6 * TITLE) as usize };

        let legends = legends.wrapped(width - 2 * MARGIN);
        let bands: Vec<Band> = sheet.rows.iter().map(|row| Band::new(row, look)).collect();
        let height = top + bands.iter().map(|band| band.height).sum::<usize>() + legends.height() + MARGIN;
        let all = width as u64 * height as u64;
        if all > MOST || width.max(height) > MOST_PIXELS {
            return Err(Error::Argument(format!(
                "the sheet would have {width} x {height} pixels; a sheet has {MOST} at most, {MOST_PIXELS} a side: \
                 choose fewer rows, outputs or channels, or a smaller zoom"
            )));
        }
        Ok(Self { size: [height, width], title, label, top, left, columns, groups, bands, legends })
    }

    /// The upper left corner of a tile in a column, below the top of its band, and its size.
    pub(super) fn place(&self, band: &Band, column: usize, size: [usize; 2]) -> [usize; 4] {
        let [x, width] = self.columns[column];
        [x + (width - size[1]) / 2, band.tiles + 1, size[1], size[0]]
    }
}

impl Band {
    fn new(row: &Row, look: &Look) -> Self {
        let (mut columns, mut tiles) = (0, 0);
        if let Some(Headings { groups, .. }) = &row.above {
            columns = if groups.iter().any(|text| !text.is_empty()) { LINE } else { 0 };
            tiles = columns + LINE;
        }
        let tile = row.tiles.iter().flatten().map(|tile| tile_size(tile, look)[0]).max().unwrap_or(0);
        let lines = |tile: &Tile| tile.caption.len() + usize::from(look.own);
        let captions = row.tiles.iter().flatten().map(lines).max().unwrap_or(0);
        // A heading may be higher than a tile.
        let body = (tile + 2 + captions * LINE).max(row.heading.len() * LINE);
        Self { columns, tiles, tile, height: tiles + body + GAP }
    }
}

/// Pixels along a side of each number of a tile.
pub(super) fn zoom(tile: &Tile, look: &Look) -> usize {
    let [_, height, width] = tile.shape;
    let least = if height.min(width) == 1 { ZOOM_OF_ROWS } else { 1 };
    look.zoom.unwrap_or_else(|| SIDE.div_ceil(height.max(width).max(1)).clamp(least, MOST_USUAL_ZOOM))
}

/// Whether the three channels of a tile are red, green and blue.
pub(super) fn is_rgb(tile: &Tile, look: &Look) -> bool {
    let shown = match tile.content {
        Content::Image => true,
        Content::Map => false,
        Content::Signed => look.rgb,
    };
    shown && tile.shape[0] == 3
}

/// Pixels of a tile `[H, W]`, without its frame.
pub(super) fn tile_size(tile: &Tile, look: &Look) -> [usize; 2] {
    let ([channels, height, width], zoom) = (tile.shape, zoom(tile, look));
    let panels = if is_rgb(tile, look) { 1 } else { channels };
    [height * zoom, panels * width * zoom + panels.saturating_sub(1) * PANEL_GAP]
}

/// A text that is not too long.
pub(super) fn shortened(text: &str) -> String {
    if text.chars().count() <= MOST_LETTERS {
        return text.to_owned();
    }
    text.chars().take(MOST_LETTERS - 1).chain(['\u{2026}']).collect()
}
