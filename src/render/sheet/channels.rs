//! Sheets of the feature maps of a node.

use ndarray::Array2;

use crate::data::Dataset;
use crate::engine::{Context, SplineEngine};
use crate::network::Program;
use crate::spline::{JetSource, Spline, values};
use crate::{Error, Result, Scalar};

use super::{Beside, Content, Headings, ImageShape, Row, Sheet, Tile, check_chosen};

/// Tiles of maps in a row: all channels where there are no more, else the others come below.
const ACROSS: usize = 16;

/// What a node's maps are compared with.
pub enum Other<'a, E: SplineEngine> {
    /// Another network, cut at a node of the same shape: one with splines in the place of its activations.
    Program(&'a Program<E>),
    /// A spline of the node, of all its elements.
    Spline(&'a Spline, &'a dyn JetSource<E>),
}

/// A node's feature maps.
pub struct Channels<'a, E: SplineEngine> {
    /// The network, cut at the node.
    pub program: &'a Program<E>,
    /// `[C, H, W]` of the node's value.
    pub node: [usize; 3],
    /// The channels to show.
    pub chosen: &'a [usize],
    /// What they are compared with.
    pub other: Option<Other<'a, E>>,
}

/// How far maps are from those they are compared with, over the rows of a sheet.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// The root mean square of the difference of each chosen channel.
    pub channels: Vec<f64>,
    /// Of all of them together.
    pub rms: f64,
    /// The same over the standard deviation of the network's maps; none where they do not vary.
    pub relative: Option<f64>,
}

/// The feature maps of a node at rows of data, the data themselves to their left. With something to compare with each
/// channel has three tiles: the network's, the other's on the same colours, and the network's subtracted from that. More
/// channels than fit a row come below.
///
/// # Errors
/// [`Error::Shape`] where rows, images, the node and what it is compared with do not fit; [`Error::Argument`] for a row
/// or a channel that is not there, or none; [`Error::NonFinite`]; [`Error::Memory`]; [`Error::Cancelled`]; what the engine
/// and the data say.
pub fn channels<E: SplineEngine>(
    subject: &Channels<'_, E>,
    data: &Dataset,
    rows: &[usize],
    image: ImageShape,
    context: &Context,
) -> Result<(Sheet, Option<Difference>)> {
    let Channels { program, node, chosen, other } = subject;
    let (d, [all, height, width]) = (program.dimension(), *node);
    let (plane, length) = (height * width, all * height * width);
    data.check_rows(d)?;
    image.check(d)?;
    check_chosen(data, rows)?;
    if length != program.outputs() {
        let has = program.outputs();
        return Err(Error::Shape(format!("maps {all}x{height}x{width} of a node with {has} elements")));
    }
    if chosen.is_empty() {
        return Err(Error::Argument("a sheet shows at least one channel".to_owned()));
    }
    if let Some(wrong) = chosen.iter().find(|&&channel| channel >= all) {
        return Err(Error::Argument(format!("there is no channel {wrong}: expected 0 to {}", all - 1)));
    }
    let parts = if other.is_some() { 3 } else { 1 };
    let across = chosen.len().min(ACROSS / parts);
    let tiles = rows.len() * (1 + parts * chosen.len());
    let beside = Beside::tiles(tiles, rows.len() * (d + parts * chosen.len() * plane), context)?;
    let (inputs, own, others) = beside.run(|context| {
        // Inputs and values in all.
        let held = (rows.len() * (d + (parts - parts / 2) * length) * size_of::<E::Scalar>()) as u64;
        if held > context.memory() {
            let what = "the values of the node".to_owned();
            return Err(Error::Memory { what, needed: held, budget: context.memory() });
        }
        let rest = context.clone().with_memory(context.memory() - held);
        let x = data.gather::<E::Scalar>(rows)?;
        // Networks count the rows that they are given.
        let named = |error| match error {
            Error::NonFinite { what, row } => Error::NonFinite { what, row: rows[row] },
            error => error,
        };
        let own = program.values(x.view(), &rest).map_err(named)?;
        let others = match other {
            None => None,
            Some(Other::Program(other)) => {
                same(other.dimension(), other.outputs(), (d, length), "the other network")?;
                Some(other.values(x.view(), &rest).map_err(named)?)
            }
            Some(Other::Spline(spline, source)) => {
                same(source.elements(), source.outputs(), (d, length), "the spline")?;
                let found = values(spline, *source, &data.select(rows)?, &rest)?;
                let found = Array2::from_shape_vec((rows.len(), length), found);
                Some(found.map_err(|e| Error::Shape(e.to_string()))?)
            }
        };
        Ok((x, own, others))
    })?;

    let names = ["network", "spline", "difference"];
    let headings = |block: &[usize], is_first: bool| {
        let groups = [String::new(), "channel".to_owned()];
        let input = std::iter::once(if is_first { "input" } else { "" }.to_owned());
        if parts == 1 {
            return Headings::new(groups, input.chain(block.iter().map(usize::to_string)));
        }
        let of_channels = block.iter().map(|channel| format!("channel {channel}"));
        let parts = block.iter().flat_map(|_| names.map(str::to_owned));
        Headings::new(std::iter::once(String::new()).chain(of_channels), input.chain(parts))
    };
    let mut sheet = Sheet {
        title: "feature maps".to_owned(),
        groups: if parts == 1 { vec![1, across] } else { [vec![1], vec![parts; across]].concat() },
        rows: vec![],
        names: ["input".to_owned(), "value".to_owned(), "difference".to_owned()],
        subject: Content::Map,
        data_shape: vec![rows.len(), chosen.len(), height, width],
    };
    if parts > 1 {
        sheet.data_shape.insert(2, parts);
    }
    let wraps = chosen.len() > across;
    for (n, row) in rows.iter().enumerate() {
        for (number, block) in chosen.chunks(across).enumerate() {
            let x: Vec<E::Scalar> = inputs.row(n).iter().copied().collect();
            let input = (number == 0).then(|| Tile::input(image.lengths(), image.arrange(&x)));
            let mut tiles = vec![input];
            for &channel in block {
                let of = |values: &Array2<E::Scalar>| -> Vec<f64> {
                    (channel * plane..(channel + 1) * plane).map(|at| values[[n, at]].f64()).collect()
                };
                let mut push = |content, values: &[f64]| {
                    let values = values.iter().map(|&v| v as f32).collect();
                    tiles.push(Some(Tile::new(content, [1, height, width], values, vec![])));
                };
                let own = of(&own);
                push(Content::Map, &own);
                if let Some(others) = &others {
                    let other = of(others);
                    push(Content::Map, &other);
                    let difference = other.iter().zip(&own).map(|(other, own)| other - own);
                    push(Content::Signed, &difference.collect::<Vec<f64>>());
                }
            }
            let is_first = n == 0 && number == 0;
            sheet.rows.push(Row {
                heading: if number == 0 { vec![format!("row {row}")] } else { vec![] },
                above: (wraps || is_first).then(|| headings(block, number == 0)),
                tiles,
            });
        }
    }
    let difference = others.map(|others| difference(&own, &others, chosen, plane));
    Ok((sheet, difference))
}

/// # Errors
/// [`Error::Shape`] where `who` takes other rows, or makes other values.
fn same(elements: usize, outputs: usize, (d, length): (usize, usize), who: &str) -> Result<()> {
    if (elements, outputs) == (d, length) {
        return Ok(());
    }
    Err(Error::Shape(format!(
        "{who} makes {outputs} values of {elements} elements; the node makes {length} of {d}"
    )))
}

fn difference<S: Scalar>(own: &Array2<S>, others: &Array2<S>, chosen: &[usize], plane: usize) -> Difference {
    let count = (own.nrows() * plane) as f64;
    let (mut channels, mut all, mut sum, mut squares) = (vec![], 0.0, 0.0, 0.0);
    for channel in chosen {
        let mut of_channel = 0.0;
        for (own, other) in own.rows().into_iter().zip(others.rows()) {
            for at in channel * plane..(channel + 1) * plane {
                let value = own[at].f64();
                of_channel += (other[at].f64() - value).powi(2);
                sum += value;
                squares += value * value;
            }
        }
        channels.push((of_channel / count).sqrt());
        all += of_channel;
    }
    let count = count * chosen.len() as f64;
    let variance = squares / count - (sum / count).powi(2);
    let rms = (all / count).sqrt();
    let relative = Some(rms / variance.sqrt()).filter(|_| variance > 0.0);
    Difference { channels, rms, relative }
}
