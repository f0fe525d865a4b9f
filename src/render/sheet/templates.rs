//! Sheets of the affine maps of a network at rows of data.

use std::ops::Range;

use crate::data::Dataset;
use crate::engine::plan::{Chunks, overlapped};
use crate::engine::{Context, Engine};
use crate::network::Program;
use crate::{Error, Result, Scalar};

use super::{Beside, Content, Headings, ImageShape, Row, Sheet, Tile, check_chosen, check_finite, short};

/// Samples whose jets are made at once at most.
const SAMPLES: usize = 64;

/// What of a network's affine map `g(x') = A x' + b` near a row `x` is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Linear {
    /// Row `k` of the Jacobian `A[x]`: the template of output `k`.
    Templates,
    /// `A_k[x] * x`, element by element: their sum and `b_k` make the output.
    Contributions,
}

/// The rows of the sheet are rows of data; its columns the data themselves, as the network sees them, and what `linear`
/// says of each chosen output. The output's value stands below each tile.
///
/// # Errors
/// [`Error::Shape`] where rows or images do not fit the network; [`Error::Argument`] for an output or a row that is not
/// there, or none; [`Error::NonFinite`]; [`Error::Memory`] where the tiles and one jet do not fit; [`Error::Cancelled`];
/// what the engine and the data say.
pub fn templates<E: Engine>(
    program: &Program<E>,
    data: &Dataset,
    rows: &[usize],
    outputs: &[usize],
    image: ImageShape,
    linear: Linear,
    context: &Context,
) -> Result<Sheet> {
    let (d, count) = (program.dimension(), outputs.len());
    data.check_rows(d)?;
    image.check(d)?;
    check_chosen(data, rows)?;
    if outputs.is_empty() {
        return Err(Error::Argument("a sheet shows at least one output".to_owned()));
    }
    let tiles = rows.len() * (1 + count);
    let beside = Beside::tiles(tiles, tiles * d, context)?;
    let (engine, shape) = (program.engine(), image.lengths());
    let (title, name, heading) = match linear {
        Linear::Templates => ("templates", "slope", "slope of output"),
        Linear::Contributions => ("contributions", "contribution", "contribution to output"),
    };
    let columns = std::iter::once("input".to_owned()).chain(outputs.iter().map(usize::to_string));
    let mut above = Some(Headings::new([String::new(), heading.to_owned()], columns));
    let mut sheet = Sheet {
        title: title.to_owned(),
        groups: vec![1, count],
        rows: Vec::with_capacity(rows.len()),
        names: ["input".to_owned(), String::new(), name.to_owned()],
        subject: Content::Signed,
        data_shape: [&[rows.len(), count], &shape[..]].concat(),
    };
    beside.run(|context| {
        // What comes back is held beside what makes it.
        let back = ((d + count * (d + 1)) * size_of::<E::Scalar>()) as u64;
        let jet = (program.bytes_per_sample(Some(count)) + back) * engine.in_flight() as u64;
        let most = program.at_once(Some(count))?.min(SAMPLES);
        let (what, scratch) = ("the jet of one row", program.scratch_bytes());
        let chunks = Chunks::within(what, rows.len(), jet, scratch, context.memory(), most)?;
        context.progress().start("jets", rows.len() as u64);
        let start = |range: Range<usize>| {
            context.check()?;
            let x = data.gather::<E::Scalar>(&rows[range])?;
            let jets = program.jets(&program.upload(x.view())?, outputs)?;
            Ok((x, engine.request(&jets.values)?, engine.request(&jets.jacobians)?))
        };
        overlapped(engine, chunks, start, |range, (x, values, jacobians)| {
            let (values, jacobians) = (engine.receive(values)?, engine.receive(jacobians)?);
            for (n, at) in range.clone().enumerate() {
                let x = x.row(n);
                let x: Vec<E::Scalar> = x.iter().copied().collect();
                let mut tiles = vec![Some(Tile::input(shape, image.arrange(&x)))];
                for k in n * count..(n + 1) * count {
                    let slope = &jacobians[k * d..][..d];
                    let shown = match linear {
                        Linear::Templates => image.arrange(slope),
                        Linear::Contributions => {
                            let products = slope.iter().zip(&x).map(|(p, x)| p.f64() * x.f64());
                            image.arrange(&products.collect::<Vec<f64>>())
                        }
                    };
                    check_finite(&shown, "the slopes of the network at the data", rows[at])?;
                    let value = vec![short(values[k].f64())];
                    tiles.push(Some(Tile::new(Content::Signed, shape, shown, value)));
                }
                sheet.rows.push(Row {
                    heading: vec![format!("row {}", rows[at])],
                    above: above.take(),
                    tiles,
                });
            }
            context.progress().advance(range.len() as u64);
            Ok(())
        })
    })?;
    context.progress().finish();
    Ok(sheet)
}
