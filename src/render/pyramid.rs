//! Pictures as tiles of every size, with a page to move through them.

use std::path::Path;

use rayon::prelude::*;
use serde_json::json;

use crate::data::OutputFolder;
use crate::{Error, Result};

use super::Rgb;
use super::html;
use super::light::mean;
use super::png::{check_size, encoded};

/// Pixels along a side of a tile; those at the right and lower edges of a level may be smaller.
pub const TILE: usize = 512;

/// A folder of tiles, made in one pass over the rows of a picture.
///
/// `tiles/LEVEL/ROW_COLUMN.png`, all counted from 0 at the top left. The last level is the picture; each level above has
/// half the pixels along each side (rounded up), each the mean of at most 2 x 2 as light; level 0 is one tile.
#[derive(Debug)]
pub struct Pyramid {
    folder: OutputFolder,
    size: [usize; 2],
    /// From the picture up.
    levels: Vec<Level>,
}

#[derive(Debug)]
struct Level {
    number: usize,
    size: [usize; 2],
    /// The first rows of tiles are written; then come some rows of pixels.
    done: usize,
    strip: Vec<Rgb>,
}

/// What the page says beside the picture.
#[derive(Debug, Clone, Default)]
pub struct Page<'a> {
    /// Its title.
    pub title: &'a str,
    /// What made it: the command line.
    pub command: &'a str,
    /// An SVG of what the colours are, or nothing.
    pub legend: &'a str,
    /// Files it links to: what they are called, and where they are, from the folder.
    pub links: &'a [(String, String)],
}

impl Pyramid {
    /// Begins a folder for a picture of `size` `[H, W]`.
    ///
    /// # Errors
    /// [`Error::Argument`] for a size of 0 or too large; what [`OutputFolder::create`] says, as of a folder that is not
    /// empty.
    pub fn create(path: &Path, size: [usize; 2]) -> Result<Self> {
        check_size(size)?;
        let folder = OutputFolder::create(path)?;
        let mut sizes = vec![size];
        let mut last = size;
        while last.iter().any(|&side| side > TILE) {
            last = last.map(|side| side.div_ceil(2));
            sizes.push(last);
        }
        let count = sizes.len();
        let level = |(i, size)| Level { number: count - 1 - i, size, done: 0, strip: vec![] };
        let levels: Vec<Level> = sizes.into_iter().enumerate().map(level).collect();
        levels.iter().try_for_each(|level| folder.make(&format!("tiles/{}", level.number)))?;
        Ok(Self { folder, size, levels })
    }

    /// Where it shall be.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The number of levels.
    pub fn levels(&self) -> usize {
        self.levels.len()
    }

    /// Bytes that are held: a row of tiles of each level, half a row that goes up, and tiles that are encoded.
    pub(super) fn memory(&self) -> u64 {
        let rows = |level: &Level| TILE.min(level.size[0]) * level.size[1];
        let strips = self.levels.iter().map(rows).sum::<usize>() + rows(&self.levels[0]) / 4;
        let tiles = 2 * TILE * TILE * rayon::current_num_threads();
        (size_of::<Rgb>() * (strips + tiles)) as u64
    }

    /// Adds rows of the picture.
    ///
    /// # Errors
    /// [`Error::Shape`] for more rows than it has; a failed write.
    pub(super) fn put(&mut self, pixels: &[Rgb]) -> Result<()> {
        let Level { size, done, strip, .. } = &self.levels[0];
        if done * TILE * size[1] + strip.len() + pixels.len() > size[0] * size[1] {
            return Err(Error::Shape(format!(
                "more than the {} rows of '{}'",
                size[0],
                self.path().display()
            )));
        }
        push(&self.folder, &mut self.levels, pixels)
    }

    /// Writes the page, and gives the folder its name.
    ///
    /// # Errors
    /// [`Error::Shape`] where rows are missing; a failed write.
    pub fn finish(self, page: &Page<'_>) -> Result<()> {
        if let Some(level) = self.levels.iter().find(|level| level.done < level.size[0].div_ceil(TILE)) {
            let (rows, path) = (level.size[0], self.path().display());
            return Err(Error::Shape(format!("rows of the {rows} of '{path}' are missing")));
        }
        self.folder.put("index.html", page.html(self.size, self.levels.len()).as_bytes())?;
        self.folder.commit()
    }
}

/// Adds rows to the first of some levels; what is complete is written, and goes up to the next.
fn push(folder: &OutputFolder, levels: &mut [Level], mut pixels: &[Rgb]) -> Result<()> {
    let Some((level, above)) = levels.split_first_mut() else { return Ok(()) };
    let [height, width] = level.size;
    while !pixels.is_empty() {
        let rows = TILE.min(height - TILE * level.done);
        let (now, rest) = pixels.split_at(pixels.len().min(rows * width - level.strip.len()));
        level.strip.extend_from_slice(now);
        pixels = rest;
        if level.strip.len() == rows * width {
            level.write(folder)?;
            if !above.is_empty() {
                push(folder, above, &halved(&level.strip, width))?;
            }
            level.strip.clear();
        }
    }
    Ok(())
}

impl Level {
    /// Writes a row of tiles.
    fn write(&mut self, folder: &OutputFolder) -> Result<()> {
        let (width, row) = (self.size[1], self.done);
        (0..width.div_ceil(TILE)).into_par_iter().try_for_each(|column| {
            let across = TILE * column..(TILE * (column + 1)).min(width);
            let rows = self.strip.chunks_exact(width).map(|pixels| &pixels[across.clone()]);
            let pixels: Vec<Rgb> = rows.flatten().copied().collect();
            let name = format!("tiles/{}/{row}_{column}.png", self.number);
            folder.put(&name, &encoded([pixels.len() / across.len(), across.len()], &pixels)?)
        })?;
        self.done += 1;
        Ok(())
    }
}

/// The means of 2 x 2 pixels each, of fewer at the right and lower edges.
fn halved(pixels: &[Rgb], width: usize) -> Vec<Rgb> {
    let rows = pixels.par_chunks(2 * width).flat_map_iter(|rows| {
        (0..width.div_ceil(2)).map(move |x| {
            let across = 2 * x..(2 * x + 2).min(width);
            mean(rows.chunks_exact(width).flat_map(|row| row[across.clone()].iter().copied()))
        })
    });
    rows.collect()
}

impl Page<'_> {
    /// A page of its own, which refers to nothing but the tiles and the links.
    fn html(&self, [height, width]: [usize; 2], levels: usize) -> String {
        let picture = json!({ "width": width, "height": height, "tile": TILE, "levels": levels });
        let links = self.links.iter().map(|(name, to)| {
            format!("<a href=\"{}\">{}</a>", html::escaped(&encoded_path(to)), html::escaped(name))
        });
        let size = format!("{width} \u{d7} {height} pixels");
        let parts = [
            ("{{title}}", html::escaped(self.title)),
            ("{{size}}", size),
            ("{{command}}", html::escaped(self.command)),
            ("{{links}}", links.collect::<Vec<_>>().join(" ")),
            ("{{legend}}", self.legend.to_owned()),
            ("{{picture}}", picture.to_string()),
            ("{{panzoom.js}}", html::PANZOOM.to_owned()),
        ];
        html::filled(include_str!("viewer.html"), &parts)
    }
}

/// A relative path as an address (RFC 3986).
fn encoded_path(path: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/".contains(&b);
    path.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}
