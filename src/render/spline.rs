//! Splines on planes.

use crate::engine::plan::Chunks;
use crate::engine::{Context, SplineEngine};
use crate::network::Network;
use crate::spline::slice::{Frame, Slice, SliceImage, Sliced};
use crate::spline::{JetSource, Spline};
use crate::{Error, Result, Scalar};

use super::field::{check_one, check_points};
use super::network::Sampled;
use super::{Band, Field, Quantity, Slope};

/// What of a spline is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SplineQuantity {
    /// Its outputs, as a network's.
    Outputs(Quantity),
    /// The certificate's lower bound of one output.
    Lower,
    /// The certificate's upper bound of one output.
    Upper,
    /// Half the certificate's width, `(U - L) / 2`: the error bar of the middle.
    HalfWidth,
    /// The piece of one output that is active in the convex half.
    ConvexPiece,
    /// The piece of one output that is active in the concave half.
    ConcavePiece,
    /// The slope of one output along the plane.
    Slope(Slope),
}

impl SplineQuantity {
    /// Whether it shows the certificate.
    fn is_certificate(self) -> bool {
        matches!(self, Self::Lower | Self::Upper | Self::HalfWidth)
    }

    /// Whether it shows active pieces, of which soft splines have none.
    fn needs_pieces(self) -> bool {
        matches!(self, Self::ConvexPiece | Self::ConcavePiece | Self::Slope(_))
    }
}

/// A spline on a plane: planes of three coefficients, whatever the dimension of its space, of which each tile of a
/// picture is compared with those alone that can win in it.
pub struct SplineField<E: SplineEngine> {
    quantity: SplineQuantity,
    outputs: Vec<usize>,
    sliced: Vec<Sliced<E>>,
    frame: Frame,
    /// What is subtracted from the values.
    network: Option<Sampled<E>>,
}

impl<E: SplineEngine> SplineField<E> {
    /// The chosen `outputs` of a spline, as counted there, on a plane of its data's space.
    ///
    /// # Errors
    /// As [`Sliced::new`] and [`Quantity`]; [`Error::Argument`] where the quantity needs one output, active pieces that
    /// a soft spline does not have, or the whole gradient.
    pub fn new(
        spline: &Spline,
        source: &dyn JetSource<E>,
        slice: &Slice,
        quantity: SplineQuantity,
        outputs: &[usize],
        context: &Context,
    ) -> Result<Self> {
        match quantity {
            SplineQuantity::Outputs(quantity) => quantity.check(outputs, spline.curvature.len())?,
            SplineQuantity::Slope(Slope::Gradient) => {
                let reason = "a spline on a plane keeps its slopes along the plane alone: no whole gradient";
                return Err(Error::Argument(reason.to_owned()));
            }
            _ => {
                check_one("this", outputs)?;
                Quantity::Value.check(outputs, spline.curvature.len())?;
            }
        }
        let make = if quantity.is_certificate() { Sliced::certificate } else { Sliced::new };
        let sliced: Vec<Sliced<E>> =
            outputs.iter().map(|&k| make(spline, source, slice, k, context)).collect::<Result<_>>()?;
        if quantity.needs_pieces() && !sliced.iter().all(Sliced::has_pieces) {
            let reason = "the spline is soft: none of its pieces is active alone";
            return Err(Error::Argument(reason.to_owned()));
        }
        Ok(Self { quantity, outputs: outputs.to_vec(), sliced, frame: slice.frame(), network: None })
    }

    /// The error of one output of a spline: how far it lies above output `of` of `network`.
    ///
    /// # Errors
    /// As [`new`](Self::new) and [`NetworkField::new`](super::NetworkField::new).
    pub fn error(
        spline: &Spline,
        source: &dyn JetSource<E>,
        slice: &Slice,
        output: usize,
        (network, of): (&Network, usize),
        context: &Context,
    ) -> Result<Self> {
        let network = Sampled::new(source.engine(), network, slice, &[of])?;
        let value = SplineQuantity::Outputs(Quantity::Value);
        let field = Self::new(spline, source, slice, value, &[output], context)?;
        Ok(Self { network: Some(network), ..field })
    }

    /// Some whole rows.
    fn rows(
        &self,
        across: &[E::Scalar],
        up: &[E::Scalar],
        first: usize,
        context: &Context,
        band: &mut Band,
    ) -> Result<()> {
        let image = |sliced: &Sliced<E>| sliced.image(across, up, context);
        match (self.quantity, &mut *band) {
            (SplineQuantity::Outputs(quantity), band) => {
                let count = self.sliced.len();
                let mut values = vec![E::Scalar::default(); across.len() * up.len() * count];
                for (k, sliced) in self.sliced.iter().enumerate() {
                    let row = values.iter_mut().skip(k).step_by(count);
                    row.zip(image(sliced)?.value).for_each(|(to, value)| *to = value);
                }
                if let Some(network) = &self.network {
                    network.visit(across, up, first, context, |range, outputs| {
                        let pairs = values[range].iter_mut().zip(outputs);
                        pairs.for_each(|(value, output)| *value -= *output);
                        Ok(())
                    })?;
                }
                check_points("spline", &values, count, first)?;
                quantity.read(&values, &self.outputs, band);
            }
            (quantity, Band::Categories(pieces)) => {
                let SliceImage { convex_piece, concave_piece, .. } = image(&self.sliced[0])?;
                let convex = quantity == SplineQuantity::ConvexPiece;
                pieces.extend(if convex { convex_piece } else { concave_piece });
            }
            (quantity, Band::Numbers(numbers)) => {
                let SliceImage { lower, upper, convex_piece, concave_piece, .. } = image(&self.sliced[0])?;
                let at = numbers.len();
                if let SplineQuantity::Slope(slope) = quantity {
                    let slopes = convex_piece.iter().zip(&concave_piece);
                    numbers.extend(slopes.map(|(&i, &j)| slope.of(self.frame, self.sliced[0].slope(i, j))));
                } else {
                    numbers.extend(lower.iter().zip(&upper).map(|(lower, upper)| match quantity {
                        SplineQuantity::Lower => lower.f64() as f32,
                        SplineQuantity::Upper => upper.f64() as f32,
                        _ => ((upper.f64() - lower.f64()) / 2.0) as f32,
                    }));
                }
                check_points("spline", &numbers[at..], 1, first)?;
            }
        }
        Ok(())
    }
}

impl<E: SplineEngine> Field<E> for SplineField<E> {
    fn is_categorical(&self) -> bool {
        use SplineQuantity::{ConcavePiece, ConvexPiece, Outputs};
        matches!(self.quantity, Outputs(Quantity::Class) | ConvexPiece | ConcavePiece)
    }

    fn band(&self, across: &[E::Scalar], up: &[E::Scalar], first: usize, context: &Context) -> Result<Band> {
        let width = across.len();
        let scalars = self.sliced.len() * size_of::<E::Scalar>();
        let row = (width as u64).saturating_mul(Sliced::<E>::bytes_per_pixel() + scalars as u64);
        // The other half is the network's.
        let budget = if self.network.is_some() { context.memory() / 2 } else { context.memory() };
        let scratch = self.sliced[0].scratch();
        let chunks = Chunks::within("a row of the spline", up.len(), row, scratch, budget, up.len())?;
        let total = width * up.len();
        let mut band = if Field::<E>::is_categorical(self) {
            Band::Categories(Vec::with_capacity(total))
        } else {
            Band::Numbers(Vec::with_capacity(total))
        };
        let inner = context.clone().with_memory(budget);
        for rows in chunks.iter() {
            self.rows(across, &up[rows.clone()], first + rows.start * width, &inner, &mut band)?;
        }
        Ok(band)
    }
}
