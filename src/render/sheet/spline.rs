//! Sheets of what a spline is made of at rows of data.

use crate::data::Dataset;
use crate::engine::{Context, SplineEngine};
use crate::spline::{Active, ActiveRow, Form, JetSource, Spline, active};
use crate::{Error, Result};

use super::{Beside, Content, Headings, ImageShape, Row, Sheet, Tile, check_chosen, check_finite, short};

/// A hard spline at rows of data.
pub struct SplineRows<'a, E: SplineEngine> {
    /// The spline.
    pub spline: &'a Spline,
    /// Its jets.
    pub source: &'a dyn JetSource<E>,
    /// The data, normalised as they were for the spline.
    pub data: &'a Dataset,
    /// The rows of the data.
    pub rows: &'a [usize],
    /// The outputs, as the spline counts them.
    pub outputs: &'a [usize],
    /// What a row is as an image.
    pub image: ImageShape,
}

impl<E: SplineEngine> SplineRows<'_, E> {
    /// The rows of the sheet are rows of data; its columns the data themselves and for each chosen output three slopes at
    /// that point: of the active piece of the convex half, of that of the concave half, and of the spline, their weighted
    /// mean (see [`Active::slopes`]). The numbers of the pieces and the spline's value stand below.
    ///
    /// # Errors
    /// [`Error::Shape`] where rows or images do not fit the spline; [`Error::Argument`] for a soft spline, and for an
    /// output or a row that is not there, or none; [`Error::NonFinite`]; [`Error::Memory`]; [`Error::Cancelled`]; what the
    /// source and the data say.
    pub fn slopes(&self, context: &Context) -> Result<Sheet> {
        let parts = ["convex", "concave", "spline"];
        let names = ["input".to_owned(), String::new(), "slope".to_owned()];
        let sheet = self.empty("slopes of active pieces", &parts, (Content::Signed, names));
        self.fill(sheet, &parts, context, |active, n| {
            let ActiveRow { convex, concave, slopes } = active.slopes(self.spline, self.source, n)?;
            let (d, count) = (self.image.elements(), self.outputs.len());
            let tile = |slopes: &[f64], k: usize, caption| {
                let values = self.image.arrange(&slopes[k * d..][..d]);
                Tile::new(Content::Signed, self.image.lengths(), values, vec![caption])
            };
            let of_output = |k: usize| {
                let at = n * count + k;
                [
                    tile(&convex, k, format!("piece {}", active.convex[at])),
                    tile(&concave, k, format!("piece {}", active.concave[at])),
                    tile(&slopes, k, short(active.values[at])),
                ]
            };
            Ok((0..count).flat_map(of_output).collect())
        })
    }

    /// The rows of the sheet are rows of data; its columns the data themselves and for each chosen output the anchors
    /// whose pieces are active at that point in the convex and in the concave half, with their numbers.
    ///
    /// # Errors
    /// As [`slopes`](Self::slopes); [`Error::Argument`] for a spline with pieces of its own, which belong to no anchors.
    pub fn anchors(&self, context: &Context) -> Result<Sheet> {
        if let Form::Planes(_) = self.spline.form {
            return Err(Error::Argument(
                "the spline has pieces of its own, which belong to no anchors: their slopes can be shown"
                    .to_owned(),
            ));
        }
        let names = ["input".to_owned(), String::new(), String::new()];
        let parts = ["convex", "concave"];
        let sheet = self.empty("anchors of active pieces", &parts, (Content::Image, names));
        self.fill(sheet, &parts, context, |active, n| {
            let images = active.anchors(self.source, n)?;
            let tile = |number: u32| {
                let at = images.partition_point(|(other, _)| *other < number);
                let values = self.image.arrange(&images[at].1);
                let caption = vec![format!("anchor {number}")];
                Tile::new(Content::Image, self.image.lengths(), values, caption)
            };
            let of_row = n * self.outputs.len()..(n + 1) * self.outputs.len();
            Ok(of_row.flat_map(|at| [active.convex[at], active.concave[at]]).map(tile).collect())
        })
    }

    /// A sheet without rows, of so many parts for each output.
    fn empty(&self, title: &str, parts: &[&str], (subject, names): (Content, [String; 3])) -> Sheet {
        let lengths = [self.rows.len(), self.outputs.len(), parts.len()];
        Sheet {
            title: title.to_owned(),
            groups: [vec![1], vec![parts.len(); self.outputs.len()]].concat(),
            rows: vec![],
            names,
            subject,
            data_shape: [lengths, self.image.lengths()].concat(),
        }
    }

    /// Fills a sheet with what `tiles` makes of each row.
    fn fill(
        &self,
        mut sheet: Sheet,
        parts: &[&str],
        context: &Context,
        mut tiles: impl FnMut(&Active, usize) -> Result<Vec<Tile>>,
    ) -> Result<Sheet> {
        let Self { spline, source, data, rows, outputs, image } = *self;
        let d = source.elements();
        data.check_rows(d)?;
        image.check(d)?;
        check_chosen(data, rows)?;
        if outputs.is_empty() {
            return Err(Error::Argument("a sheet shows at least one output".to_owned()));
        }
        let count = rows.len() * sheet.groups.iter().sum::<usize>();
        let beside = Beside::tiles(count, count * d, context)?;
        beside.run(|context| {
            // The jet of an anchor, as made and as it comes back, and a row of what is made of it in f64.
            let jet =
                (source.dimension() + source.outputs() * (source.dimension() + 1)) * size_of::<E::Scalar>();
            let of_row = (4 * outputs.len() + 2) * d * size_of::<f64>();
            let needed = (2 * jet + of_row) as u64 + source.bytes_to_make() + source.scratch_bytes();
            if needed > context.memory() {
                return Err(Error::Memory {
                    what: "one anchor".to_owned(),
                    needed,
                    budget: context.memory(),
                });
            }
            let active = active(spline, source, &data.select(rows)?, outputs, context)?;
            context.progress().start("rows of tiles", rows.len() as u64);
            for (n, &row) in rows.iter().enumerate() {
                context.check()?;
                let x = data.gather::<f32>(&[row])?.into_raw_vec_and_offset().0;
                let input = Tile::input(image.lengths(), image.arrange(&x));
                let tiles = std::iter::once(input).chain(tiles(&active, n)?);
                let tiles: Vec<Tile> = tiles.collect();
                tiles
                    .iter()
                    .try_for_each(|tile| check_finite(&tile.values, "the slopes of active pieces", row))?;
                sheet.rows.push(Row {
                    heading: vec![format!("row {row}")],
                    tiles: tiles.into_iter().map(Some).collect(),
                    above: None,
                });
                context.progress().advance(1);
            }
            context.progress().finish();
            Ok(())
        })?;
        let columns = outputs.iter().flat_map(|_| parts.iter().map(|part| (*part).to_owned()));
        let groups = outputs.iter().map(|k| format!("output {k}"));
        if let Some(first) = sheet.rows.first_mut() {
            first.above = Some(Headings::new(
                std::iter::once(String::new()).chain(groups),
                std::iter::once("input".to_owned()).chain(columns),
            ));
        }
        Ok(sheet)
    }
}
