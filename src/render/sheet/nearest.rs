//! Sheets of rows of data with the rows that are most similar to them.

use crate::data::Dataset;
use crate::engine::Context;
use crate::{Error, Result};

use super::{Beside, Content, Headings, ImageShape, Row, Sheet, Tile, check_chosen, short};

/// A row of data and what is most similar to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Nearest {
    /// The row of the data.
    pub row: usize,
    /// The most similar rows of the others with their similarities, the most similar first.
    pub neighbours: Vec<(usize, f64)>,
}

/// Rows of the sheet are rows of data, the first tile the row itself and behind it its most similar rows of `others`, with
/// their numbers, classes and similarities below. Both are shown as they are, before any normalisation that data asks for.
///
/// # Errors
/// [`Error::Shape`] where images do not fit the data; [`Error::Argument`] for a row that is not there, or none;
/// [`Error::Memory`]; what the data say.
pub fn nearest(
    data: &Dataset,
    others: &Dataset,
    shown: &[Nearest],
    labels: [Option<&[u32]>; 2],
    image: ImageShape,
    context: &Context,
) -> Result<Sheet> {
    image.check(data.row_len())?;
    image.check(others.row_len())?;
    check_chosen(data, &shown.iter().map(|nearest| nearest.row).collect::<Vec<_>>())?;
    let most = shown.iter().map(|nearest| nearest.neighbours.len()).max().unwrap_or(0);
    let (tiles, shape) = (shown.len() * (1 + most), image.lengths());
    Beside::tiles(tiles, tiles * data.row_len(), context)?;
    let class = |labels: Option<&[u32]>, row: usize| -> Result<Option<String>> {
        match labels.map(|labels| labels.get(row)) {
            Some(None) => Err(Error::Argument(format!("there is no label of row {row}"))),
            Some(Some(class)) => Ok(Some(format!("class {class}"))),
            None => Ok(None),
        }
    };
    let mut rows = vec![];
    for (number, Nearest { row, neighbours }) in shown.iter().enumerate() {
        let values = data.rows::<f64>(*row..row + 1)?;
        let numbers = image.arrange(values.as_slice().unwrap_or_default());
        let query =
            Tile { caption: class(labels[0], *row)?.into_iter().collect(), ..Tile::input(shape, numbers) };
        let mut tiles = vec![Some(query)];
        for &(other, similarity) in neighbours {
            let values = others.rows::<f64>(other..other + 1)?;
            let numbers = image.arrange(values.as_slice().unwrap_or_default());
            let class = class(labels[1], other)?.map_or_else(String::new, |class| format!(", {class}"));
            let caption = vec![format!("row {other}{class}"), short(similarity)];
            tiles.push(Some(Tile::new(Content::Image, shape, numbers, caption)));
        }
        let above = (number == 0).then(|| {
            Headings::new(["row".to_owned(), "most similar rows".to_owned()], std::iter::empty::<String>())
        });
        rows.push(Row { heading: vec![format!("row {row}")], above, tiles });
    }
    Ok(Sheet {
        title: format!("the {most} most similar rows"),
        groups: vec![1, most],
        rows,
        names: ["data".to_owned(), String::new(), String::new()],
        subject: Content::Image,
        data_shape: [&[shown.len(), most], &shape[..]].concat(),
    })
}
