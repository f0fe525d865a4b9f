//! What `fenchel render` draws: names on the command line, fields behind them.

use std::path::Path;

use clap::ValueEnum;

use crate::engine::{Context, SplineEngine};
use crate::network::Network;
use crate::render::{Field, NetworkField, Quantity, Slope, SlopeField, SplineField, SplineQuantity};
use crate::spline::SplineFile;
use crate::spline::slice::Slice;
use crate::{Error, Result};

use super::args;
use super::session::Loaded;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum What {
    /// One output
    Value,
    /// The largest output, by its number
    Class,
    /// By how much the largest output is above the second largest
    Margin,
    /// The length of one output's gradient along the plane
    Slope,
    /// The direction of one output's gradient along the plane, in degrees from u towards v
    Direction,
    /// The length of one output's whole gradient, along all inputs
    Gradient,
    /// With --spline: one output of the spline less the network's
    Error,
    /// With --spline: the certificate's lower bound
    Lower,
    /// With --spline: the certificate's upper bound
    Upper,
    /// With --spline: half the certificate's width
    HalfWidth,
    /// With --spline: the piece that is active in the convex half
    ConvexPiece,
    /// With --spline: the piece that is active in the concave half
    ConcavePiece,
}

/// What is drawn of: a network, or a spline of it.
pub(super) struct Subject {
    network: Network,
    spline: Option<SplineFile>,
}

impl What {
    /// Whether it has categories as values.
    pub(super) fn is_categorical(self) -> bool {
        matches!(self, Self::Class | Self::ConvexPiece | Self::ConcavePiece)
    }

    /// Whether 0 is its middle.
    pub(super) fn is_signed(self) -> bool {
        self == Self::Error
    }

    /// What one of its categories is.
    pub(super) fn category(self) -> &'static str {
        if self == Self::Class { "class" } else { "piece" }
    }

    /// For legends and tables.
    pub(super) fn title(self, outputs: &[usize]) -> String {
        let of = |what: &str| format!("{what} of output {}", outputs[0]);
        match self {
            Self::Value => format!("output {}", outputs[0]),
            Self::Class => "class".to_owned(),
            Self::Margin => "margin".to_owned(),
            Self::Slope => of("slope along the plane"),
            Self::Direction => of("direction of the slope"),
            Self::Gradient => of("length of the gradient"),
            Self::Error => of("error"),
            Self::Lower => of("lower bound"),
            Self::Upper => of("upper bound"),
            Self::HalfWidth => of("half-width of the error bar"),
            Self::ConvexPiece => of("convex piece"),
            Self::ConcavePiece => of("concave piece"),
        }
    }
}

impl Subject {
    /// The network, cut as asked, and the spline of it; a spline of a node is one of the network up to there.
    ///
    /// # Errors
    /// What cannot be read; [`Error::Argument`] for a spline of another network.
    pub(super) fn open(model: &args::Model, spline: Option<&Path>) -> Result<Self> {
        let Some(path) = spline else {
            return Ok(Self { network: model.load()?.network, spline: None });
        };
        let spline = SplineFile::open(path)?;
        let of = &spline.header().provenance;
        let Loaded { network, model: file } = model.load_whole()?;
        if file.fingerprint != of.model_sha256 {
            return Err(Error::Argument(format!(
                "'{}' is a spline of '{}' ({:.12}..), not of '{}' ({:.12}..)",
                path.display(),
                of.model,
                of.model_sha256,
                model.model.display(),
                file.fingerprint
            )));
        }
        // Where --node is given it is cut already.
        let node = of.node.as_deref().filter(|_| model.part.node.is_none());
        Ok(Self { network: network.cut(None, node)?, spline: Some(spline) })
    }

    /// Of how many outputs some are chosen.
    pub(super) fn outputs(&self) -> usize {
        match &self.spline {
            Some(spline) => spline.lengths()[1],
            None => self.network.output_len(),
        }
    }

    /// The precision that it is drawn in.
    pub(super) fn precision(&self) -> &'static str {
        self.spline.as_ref().map_or("f32", SplineFile::precision)
    }

    /// What is drawn.
    ///
    /// # Errors
    /// [`Error::Argument`] for what needs a spline, or has none; what the field says.
    pub(super) fn field<E: SplineEngine>(
        &self,
        engine: &E,
        what: What,
        slice: &Slice,
        outputs: &[usize],
        context: &Context,
    ) -> Result<Box<dyn Field<E>>> {
        let Some(file) = &self.spline else {
            let network = |quantity| NetworkField::new(engine, &self.network, slice, quantity, outputs);
            let slope = |slope| SlopeField::new(engine, &self.network, slice, slope, outputs);
            return Ok(match what {
                What::Value => Box::new(network(Quantity::Value)?),
                What::Class => Box::new(network(Quantity::Class)?),
                What::Margin => Box::new(network(Quantity::Margin)?),
                What::Slope => Box::new(slope(Slope::Norm)?),
                What::Direction => Box::new(slope(Slope::Direction)?),
                What::Gradient => Box::new(slope(Slope::Gradient)?),
                _ => return Err(Error::Argument("this is drawn of a spline: give --spline".to_owned())),
            });
        };
        let source = file.jets(engine);
        if what == What::Error
            && let &[output] = outputs
        {
            let of = (&self.network, file.header().provenance.outputs[output]);
            return Ok(Box::new(SplineField::error(file.spline(), &source, slice, output, of, context)?));
        }
        let quantity = match what {
            // Of several outputs, which is refused as for values.
            What::Value | What::Error => SplineQuantity::Outputs(Quantity::Value),
            What::Class => SplineQuantity::Outputs(Quantity::Class),
            What::Margin => SplineQuantity::Outputs(Quantity::Margin),
            What::Slope => SplineQuantity::Slope(Slope::Norm),
            What::Direction => SplineQuantity::Slope(Slope::Direction),
            What::Gradient => SplineQuantity::Slope(Slope::Gradient),
            What::Lower => SplineQuantity::Lower,
            What::Upper => SplineQuantity::Upper,
            What::HalfWidth => SplineQuantity::HalfWidth,
            What::ConvexPiece => SplineQuantity::ConvexPiece,
            What::ConcavePiece => SplineQuantity::ConcavePiece,
        };
        Ok(Box::new(SplineField::new(file.spline(), &source, slice, quantity, outputs, context)?))
    }
}
