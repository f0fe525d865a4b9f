//! Options of what is in and around a picture beside its pixels, and of where it goes.

use std::path::{Component, Path, PathBuf};

use clap::Args;

use crate::engine::{Context, Engine};
use crate::render::{
    Drawn, Field, Frame, MOST_SAMPLES, Page, Pyramid, Scale, Visited, categories_svg, contour_levels,
    line_svg, scale_svg,
};
use crate::{Error, Result};

use super::what::What;

/// Samples along a side of the pixels at boundaries of categories, unless told otherwise.
const ANTIALIAS: usize = 4;

#[derive(Debug, Args)]
#[command(next_help_heading = "Lines, axes and tiles")]
pub(super) struct PictureOptions {
    /// Samples along a side of the pixels that a boundary of classes passes through, whose colours are averaged as
    /// light; 1 leaves them as they are [default: 4, and 1 with --ssaa]
    #[arg(long, value_name = "N", value_parser = samples)]
    pub antialias: Option<usize>,

    /// Lines of constant value: at round values, at about COUNT of them, or at given LEVELS, such as -1,0,2.5 (a
    /// single whole one as 3.0)
    #[arg(long, value_name = "auto|COUNT|LEVELS", value_parser = contours, allow_hyphen_values = true)]
    pub contours: Option<Contours>,

    /// The boundaries of this as lines over the picture: of all classes, where --outputs chooses one output
    #[arg(long, value_enum, value_name = "WHAT")]
    pub lines: Option<What>,

    /// Pixels across a line or contour, 0.5 to 16
    #[arg(long, value_name = "PIXELS", default_value_t = 1.5, allow_negative_numbers = true)]
    pub line_width: f64,

    /// Axes with ticks of s and t around the picture, a title, and a bar or list of its colours
    #[arg(long)]
    pub axes: bool,

    /// What the axes are called
    #[arg(long, value_name = "S,T", value_parser = pair, requires = "axes")]
    pub axis_labels: Option<[String; 2]>,

    /// The title of a picture with --axes, of a legend, and of a page [default: the model's name and what is drawn]
    #[arg(long, value_name = "TEXT")]
    pub title: Option<String>,

    /// A new folder for the picture as tiles of every size (512 x 512 pixels each) and a page, index.html, to move
    /// through them
    #[arg(long, value_name = "DIR")]
    pub pyramid: Option<PathBuf>,
}

/// Where contours are.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Contours {
    /// At round values, about so many.
    Round(Option<usize>),
    /// At these.
    At(Vec<f64>),
}

fn samples(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|n| (1..=MOST_SAMPLES).contains(n));
    number.ok_or_else(|| format!("expected a number from 1 to {MOST_SAMPLES}"))
}

fn contours(text: &str) -> Result<Contours, String> {
    if text == "auto" {
        return Ok(Contours::Round(None));
    }
    if let Ok(count @ 1..) = text.parse::<usize>() {
        return Ok(Contours::Round(Some(count)));
    }
    let levels: Option<Vec<f64>> = text
        .split(',')
        .map(|level| level.trim().parse().ok().filter(|level: &f64| level.is_finite()))
        .collect();
    levels
        .map(Contours::At)
        .ok_or_else(|| "expected auto, how many contours, or finite values such as -1,0,2.5".to_owned())
}

fn pair(text: &str) -> Result<[String; 2], String> {
    match text.split_once(',') {
        Some((s, t)) => Ok([s.trim().to_owned(), t.trim().to_owned()]),
        None => Err("expected two names, such as s,t".to_owned()),
    }
}

impl PictureOptions {
    /// Samples along a side of pixels at boundaries.
    pub(super) fn antialias(&self, is_categorical: bool, ssaa: usize) -> usize {
        self.antialias.unwrap_or(if is_categorical && ssaa == 1 { ANTIALIAS } else { 1 })
    }

    /// The values of contours.
    pub(super) fn levels(&self, scale: Option<&Scale>) -> Result<Vec<f64>> {
        match (&self.contours, scale) {
            (None, _) => Ok(vec![]),
            (Some(_), None) => Err(Error::Argument("classes have boundaries, not --contours".to_owned())),
            (Some(Contours::At(levels)), _) => Ok(levels.clone()),
            (Some(Contours::Round(count)), Some(scale)) => contour_levels(scale.range(), *count),
        }
    }

    /// The title, by default `otherwise`.
    pub(super) fn title(&self, otherwise: String) -> String {
        self.title.clone().unwrap_or(otherwise)
    }

    /// What is around a picture of `size` `[H, W]`, if anything is.
    pub(super) fn frame<E: Engine>(
        &self,
        size: [usize; 2],
        title: &str,
        scale: Option<&Scale>,
        field: &dyn Field<E>,
        context: &Context,
    ) -> Result<Option<Frame>> {
        if !self.axes {
            return Ok(None);
        }
        let labels = self.axis_labels.as_ref().map_or(["s", "t"], |[s, t]| [s.as_str(), t.as_str()]);
        Frame::of(field, size, title, labels, scale, context).map(Some)
    }
}

/// The legend of a picture as SVG.
pub(super) fn legend(
    scale: Option<&Scale>,
    drawn: &Drawn,
    visited: Option<Visited>,
    title: &str,
) -> Result<String> {
    match (scale, visited) {
        (Some(scale), _) => scale_svg(scale, title),
        (None, Some(visited)) => line_svg(&said(visited), title),
        (None, None) => categories_svg(&drawn.categories, title),
    }
}

/// How many regions a picture has seen.
pub(super) fn said(Visited { count, is_capped }: Visited) -> String {
    format!("{}{count} regions visited", if is_capped { "at least " } else { "" })
}

/// Writes the page of a pyramid, with links to files as far as there are ways to them.
pub(super) fn finish(
    pyramid: Pyramid,
    title: &str,
    command: &str,
    legend: &str,
    files: &[(&str, Option<&PathBuf>)],
) -> Result<()> {
    let links: Vec<(String, String)> = files
        .iter()
        .filter_map(|(name, path)| Some(((*name).to_owned(), way(pyramid.path(), (*path)?)?)))
        .collect();
    pyramid.finish(&Page { title, command, legend, links: &links })
}

/// The way from a folder that need not be there yet to a file.
fn way(folder: &Path, file: &Path) -> Option<String> {
    let [from, to] = [folder, file].map(|path| {
        let parent = path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
        Some(parent.canonicalize().ok()?.join(path.file_name()?))
    });
    let (from, to) = (from?, to?);
    let (from, to): (Vec<Component>, Vec<Component>) =
        (from.components().collect(), to.components().collect());
    let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let up = from[shared..].iter().map(|_| Some(".."));
    let down = to[shared..].iter().map(|part| part.as_os_str().to_str());
    Some(up.chain(down).collect::<Option<Vec<_>>>()?.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contours_are_counted_or_given() {
        assert_eq!(contours("auto"), Ok(Contours::Round(None)));
        assert_eq!(contours("12"), Ok(Contours::Round(Some(12))));
        assert_eq!(contours("0"), Ok(Contours::At(vec![0.0])));
        assert_eq!(contours("3.0"), Ok(Contours::At(vec![3.0])));
        assert_eq!(contours("-1, 2.5"), Ok(Contours::At(vec![-1.0, 2.5])));
        for text in ["", "a", "1,", "nan", "0,inf", "1,nan"] {
            assert!(contours(text).is_err(), "{text}");
        }
    }

    #[test]
    fn ways_from_folders_to_files() {
        let here = tempfile::tempdir().unwrap();
        let path = |name: &str| here.path().join(name);
        std::fs::create_dir(path("a")).unwrap();
        assert_eq!(way(&path("tiles"), &path("x.npy")).unwrap(), "../x.npy");
        assert_eq!(way(&path("a/tiles"), &path("x.npy")).unwrap(), "../../x.npy");
        assert_eq!(way(&path("tiles"), &path("a/x.npy")).unwrap(), "../a/x.npy");
        assert_eq!(way(&path("tiles"), &path("none/x.npy")), None);
    }
}
