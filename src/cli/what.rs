//! What `fenchel render` draws: names on the command line, fields behind them.

use std::ops::Range;
use std::path::Path;

use clap::ValueEnum;

use crate::engine::{Context, SplineEngine};
use crate::maso::LayerChoice;
use crate::network::Network;
use crate::regions::Partition;
use crate::render::{
    ColourMap, DensityField, Field, NetworkField, PartitionField, Quantity, RegionField, Slope, SlopeField,
    SplineField, SplineQuantity,
};
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
    /// The regions on which the network is affine, each in a colour that it has in every picture
    Region,
    /// The length of the boundaries of regions in a unit of area, both as s and t are measured
    Density,
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

/// What is drawn, in full.
#[derive(Debug, Clone, Copy)]
pub(super) struct Drawing<'a> {
    pub what: What,
    pub outputs: &'a [usize],
    /// The layers whose units' pieces are shown.
    pub layers: &'a LayerChoice,
    /// `[H, W]` of all samples.
    pub samples: [usize; 2],
    /// The exact partition of the plane, to draw from in the place of the network.
    pub partition: Option<&'a Partition>,
}

/// What is drawn of: a network, or a spline of it.
pub(super) struct Subject {
    network: Network,
    spline: Option<SplineFile>,
}

impl What {
    /// Whether it has categories as values.
    pub(super) fn is_categorical(self) -> bool {
        matches!(self, Self::Class | Self::Region | Self::ConvexPiece | Self::ConcavePiece)
    }

    /// The colours of its numbers.
    pub(super) fn map(self, diverging: bool) -> ColourMap {
        match self {
            Self::Direction => ColourMap::Cyclic,
            // 0 is its middle.
            Self::Error => ColourMap::Diverging,
            _ if diverging => ColourMap::Diverging,
            _ => ColourMap::Sequential,
        }
    }

    /// The range of its colours, where that is always the same.
    pub(super) fn range(self) -> Option<Range<f64>> {
        (self == Self::Direction).then_some(-180.0..180.0)
    }

    /// Whether it shows which pieces units take, not outputs.
    pub(super) fn is_of_units(self) -> bool {
        matches!(self, Self::Region | Self::Density)
    }

    /// What one of its categories is, and what several are.
    pub(super) fn category(self) -> [&'static str; 2] {
        match self {
            Self::Class => ["class", "classes"],
            Self::Region => ["region", "regions"],
            _ => ["piece", "pieces"],
        }
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
            Self::Region => "regions".to_owned(),
            Self::Density => "density of boundaries".to_owned(),
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

    /// The exact partition of a plane by the network.
    ///
    /// # Errors
    /// As [`Partition::new`]; [`Error::Argument`] where there is a spline.
    pub(super) fn partition(&self, slice: &Slice, context: &Context) -> Result<Partition> {
        if self.spline.is_some() {
            return Err(Error::Argument("--exact is of networks, not of a --spline".to_owned()));
        }
        Partition::new(&self.network.on_slice(&slice.origin, &[&slice.u, &slice.v])?, context)
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
    pub(super) fn field<'a, E: SplineEngine>(
        &self,
        engine: &E,
        Drawing { what, outputs, layers, samples, partition }: Drawing<'a>,
        slice: &Slice,
        context: &Context,
    ) -> Result<Box<dyn Field<E> + 'a>> {
        if let Some(partition) = partition {
            let field = |quantity| PartitionField::new(partition, quantity, outputs);
            return Ok(Box::new(match what {
                What::Value => field(Quantity::Value)?,
                What::Class => field(Quantity::Class)?,
                What::Margin => field(Quantity::Margin)?,
                What::Region => PartitionField::regions(partition),
                _ => {
                    let reason = "--exact draws values, classes, margins and regions of networks";
                    return Err(Error::Argument(reason.to_owned()));
                }
            }));
        }
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
                What::Region => Box::new(RegionField::new(engine, &self.network, slice, layers)?),
                What::Density => Box::new(DensityField::new(engine, &self.network, slice, layers, samples)?),
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
            What::Region | What::Density => {
                let reason = "regions are those of a network: leave --spline out";
                return Err(Error::Argument(reason.to_owned()));
            }
        };
        Ok(Box::new(SplineField::new(file.spline(), &source, slice, quantity, outputs, context)?))
    }
}
