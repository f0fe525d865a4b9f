//! Arguments as they are typed; what they mean is settled by the verbs.

mod values;

use std::ops::Range;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::engine::DeviceChoice;

use super::recipe::{Axes, Making};
use super::{
    conjugate, difference, distance, layers, legendre, manual, operators, partition, plane, polynomial,
    reduce, regions, render, report, sample, sheet, similarity, templates,
};

pub(super) use values::{Fix, List, Pieces, Size, list, memory, memory_text, pieces, positive, range, size};
use values::{fix, shape};

/// Turns trained neural networks into affine pieces and computes with them.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, subcommand_required = true, arg_required_else_help = true)]
#[command(after_help = "Examples:
  fenchel demo
  fenchel inspect model.onnx
  fenchel report model.onnx --data x.npy -o report

'fenchel VERB --help' has more, and the guides are in docs/ beside the program's source: docs/README.md says which is \
    which.")]
pub(super) struct Arguments {
    #[command(flatten)]
    pub globals: Globals,

    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Args)]
pub(super) struct Globals {
    /// Where to compute: cpu, gpu, gpu:N or auto
    #[arg(long, global = true, default_value = "auto", help_heading = "General")]
    pub device: DeviceChoice,

    /// Memory for everything beside the input data, such as 512MiB or 4GiB
    #[arg(long, global = true, default_value = "768MiB", value_parser = memory, help_heading = "General")]
    pub memory: u64,

    /// Seed of every random choice
    #[arg(long, global = true, default_value_t = 0, help_heading = "General")]
    pub seed: u64,

    /// Floating-point type to compute in
    #[arg(long, global = true, value_enum, help_heading = "General")]
    pub precision: Option<Precision>,

    /// Print one JSON document instead of text for people
    #[arg(long, global = true, help_heading = "General")]
    pub json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Precision {
    /// 32 bits (the default)
    F32,
    /// 64 bits, for references
    F64,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Turn two shipped networks into splines and measure the error; writes ./fenchel-demo
    #[command(after_help = "Examples:
  fenchel demo
  fenchel demo --device gpu

Needs no files: networks and data are part of the program.")]
    Demo,
    /// Compute a network's outputs and input Jacobians
    Run(Run),
    /// Fit a max-affine spline to a network and save it
    Fit(Fit),
    /// Evaluate a spline: values, error bars, active pieces
    Eval(Eval),
    /// Count how often each piece of a spline is active, and which pieces are the same
    Pieces(PieceStatistics),
    /// Measure the spline's error over pieces, curvatures and seeds
    Sweep(Sweep),
    /// Compute the conjugate of a function on a grid, or an envelope of it
    Conjugate(conjugate::Arguments),
    /// Evaluate one output of a network at the points of a grid
    Sample(sample::Arguments),
    /// Turn a function on a grid into a max-affine spline by grid conjugation
    Legendre(legendre::Arguments),
    /// Write a ReLU network as the difference of two convex functions, and check that it is
    Difference(difference::Arguments),
    /// Put splines in the place of a network's activations and measure the error, layer by layer
    Layers(layers::Arguments),
    /// List the layers of a piecewise affine network as spline operators, and write their slopes and offsets
    Operators(operators::Arguments),
    /// Compute the affine function that a network is around each input
    Templates(templates::Arguments),
    /// Compare inputs by the pieces that a network's units pick
    Distance(distance::Arguments),
    /// Choose a plane of input space to draw on: through three rows of data, or around one
    Plane(plane::Arguments),
    /// Cut a plane into the exact regions of a piecewise affine network, each with its affine map
    Partition(partition::Arguments),
    /// Find the regions of a piecewise affine network in a box, around a point or along a path
    Regions(regions::Arguments),
    /// Draw a network over a plane, as a PNG of any size
    Render(render::Arguments),
    /// Show templates, slopes, anchors, clusters or feature maps side by side, as a PNG
    Sheet(sheet::Arguments),
    /// Put few affine maps in the place of all that a network has, and measure what is lost
    Reduce(reduce::Reduce),
    /// Predict the affine maps of one network from those of another
    Compare(reduce::Compare),
    /// Expand a network into a polynomial in its inputs, and say where that holds
    Polynomial(polynomial::Arguments),
    /// Compare inputs by the network's parameter gradients, and classify by the most similar
    Similarity(similarity::Arguments),
    /// Measure and draw a network and its splines, and put it all on one page
    Report(report::Arguments),
    /// List a network's layers, shapes and parameters
    Inspect(Inspect),
    /// Time kernels on each device, or a network's forward passes and jets, in memory
    Bench(Bench),
    /// List the devices there are
    #[command(after_help = "Examples:
  fenchel devices
  fenchel devices --json")]
    Devices,
    /// Write manual pages
    Man(manual::Manual),
    /// Print a script that completes verbs and options in a shell
    Completions(manual::Completions),
}

#[derive(Debug, Args)]
pub(super) struct Model {
    /// The network, an ONNX file
    pub model: PathBuf,

    #[command(flatten)]
    pub part: Part,
}

/// What of a network is meant.
#[derive(Debug, Clone, Args)]
pub(super) struct Part {
    /// The node whose value counts as the output, by its name in the file [default: the output, or all side by side]
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,

    /// The node that counts as the input [default: the input]
    #[arg(long, value_name = "NAME")]
    pub from: Option<String>,

    /// Fix another input of the graph at a value, such as state=zeros.npy (an array with the elements of one sample)
    #[arg(long, value_name = "INPUT=FILE", value_parser = fix)]
    pub fix: Vec<Fix>,

    /// Strip a softmax at the end
    #[arg(long)]
    pub logits: bool,
}

#[derive(Debug, Args)]
pub(super) struct Outputs {
    /// Outputs to compute, such as 0,3..5 (3..5 means 3 and 4) [default: all]
    #[arg(long, value_name = "LIST", value_parser = list)]
    pub outputs: Option<List>,
}

#[derive(Debug, Args)]
pub(super) struct Data {
    /// Rows of data: .npy, .npz, IDX (also gzipped), or a folder of images
    #[arg(long, value_name = "FILE")]
    pub data: PathBuf,

    #[command(flatten)]
    pub reading: Reading,
}

#[derive(Debug, Args)]
pub(super) struct Reading {
    /// The array to take from an .npz file
    #[arg(long, value_name = "NAME")]
    pub key: Option<String>,

    /// Factor for every value, such as 0.00392 for pixels
    #[arg(long, value_name = "FACTOR", allow_negative_numbers = true)]
    pub scale: Option<f64>,

    /// Subtracted after scaling: one number, or one for each channel
    #[arg(long, value_name = "LIST", value_delimiter = ',', allow_negative_numbers = true)]
    pub mean: Option<Vec<f64>>,

    /// Divided by after that: one number, or one for each channel
    #[arg(long, value_name = "LIST", value_delimiter = ',', allow_negative_numbers = true)]
    pub std: Option<Vec<f64>>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fenchel bench --only envelope
  fenchel bench model.onnx --samples 1000 --outputs 0..10
  fenchel bench model.onnx --data x.npy --slice 4096x4096 --json")]
pub(super) struct Bench {
    /// The network, an ONNX file [default: none, but kernels on each device]
    pub model: Option<PathBuf>,
    #[command(flatten)]
    pub part: Part,
    #[command(flatten)]
    pub outputs: Outputs,

    /// Rows of data, of which the first are taken [default: random numbers in [0, 1)]
    #[arg(long, value_name = "FILE")]
    pub data: Option<PathBuf>,

    #[command(flatten)]
    pub reading: Reading,

    /// Number of samples
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub samples: usize,

    /// Repetitions that are timed, after one that is not
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub repeats: usize,

    /// With a network: time a picture too, of the lower half of the first output's spline (curvature 3, all samples
    /// as anchors) on the slice through the first three samples
    #[arg(long, value_name = "WIDTHxHEIGHT", value_parser = size)]
    pub slice: Option<Size>,

    /// Without a network: the envelope alone, at exactly this shape, every pair compared: points, anchors, dimension,
    /// outputs
    #[arg(long, value_name = "N,M,D,K", value_parser = shape)]
    pub shape: Option<[usize; 4]>,

    /// Without a network: how long one measurement may take; larger jobs are halved until they fit
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    pub seconds: f64,

    /// Without a network: only kernels whose name and shape, such as 'matmul, 4096 x 4096 x 4096', contain this
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub only: String,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fenchel run model.onnx --data x.npy -o y.npy --jacobian j.npy
  fenchel run model.onnx --data images/ --scale 0.00392 --node relu3 -o features.npy")]
pub(super) struct Run {
    #[command(flatten)]
    pub model: Model,
    #[command(flatten)]
    pub data: Data,
    #[command(flatten)]
    pub outputs: Outputs,

    /// Where the outputs [N, K] go
    #[arg(short, long, value_name = "Y.npy", required_unless_present = "jacobian")]
    pub output: Option<PathBuf>,

    /// Where the input Jacobians [N, K, D] go
    #[arg(long, value_name = "J.npy")]
    pub jacobian: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fenchel fit model.onnx --data x.npy --take 0..8000 --pieces 1000 --curvature 3 \\
    -o spline.safetensors
  # Better pieces: refined by descent on the network, 500 rows kept for choices
  fenchel fit model.onnx --data x.npy --take 0..8000 --validation 8000..8500 \\
    --pieces 200 --refine 6000 -o spline.safetensors")]
pub(super) struct Fit {
    #[command(flatten)]
    pub model: Model,
    #[command(flatten)]
    pub data: Data,
    #[command(flatten)]
    pub outputs: Outputs,

    /// Rows of the data to take anchors from, such as 0..8000 [default: all; the first nine tenths where choices need
    /// rows apart]
    #[arg(long, value_name = "RANGE", value_parser = range)]
    pub take: Option<Range<usize>>,

    /// Number of pieces of each half, or all
    #[arg(long, default_value = "all", value_parser = pieces, allow_negative_numbers = true)]
    pub pieces: Pieces,

    #[command(flatten)]
    pub making: Making,

    /// Where the spline goes
    #[arg(short, long, value_name = "S.safetensors")]
    pub output: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fenchel eval spline.safetensors --data x.npy -o e.npz

Arrays: value, lower, upper [N, K] (the certificate); convex_piece, concave_piece [N, K], numbers of the \
    spline's anchors or of its own pieces (4294967295 where it is soft). Data is scaled as it was for the fit unless \
    --scale, --mean or --std say otherwise.")]
pub(super) struct Eval {
    /// A spline that fit has saved
    pub spline: PathBuf,
    #[command(flatten)]
    pub data: Data,
    #[command(flatten)]
    pub outputs: Outputs,

    /// Compare every point with every piece, without the bounds that rule pieces out. The results are the same
    #[arg(long)]
    pub exhaustive: bool,

    /// Where the arrays go
    #[arg(short, long, value_name = "E.npz")]
    pub output: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fenchel pieces spline.safetensors --data x.npy --means -o p.npz
  fenchel pieces spline.safetensors --data x.npy --with other.safetensors -o p.npz

Arrays: convex_count, concave_count [K, M], how many points each piece is active at; convex_duplicate, \
    concave_duplicate [K, M], the first piece that a piece equals (its own number where there is none); with --means \
    convex_mean, concave_mean [K, M, D], as the network sees the data. Data is scaled as it was for the fit unless \
    --scale, --mean or --std say otherwise.")]
pub(super) struct PieceStatistics {
    /// A spline that fit has saved
    pub spline: PathBuf,
    #[command(flatten)]
    pub data: Data,
    #[command(flatten)]
    pub outputs: Outputs,

    /// Write the mean of the points that each piece is active at
    #[arg(long)]
    pub means: bool,

    /// Another spline of as many pieces: tell how far its slopes V' are from this one's V, |I - pinv(V) V'|
    #[arg(long, value_name = "OTHER.safetensors")]
    pub with: Option<PathBuf>,

    /// Where the arrays go
    #[arg(short, long, value_name = "P.npz")]
    pub output: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fenchel sweep model.onnx --data x.npy --labels y.npy --anchors 0..8000 \\
    --points 8000..10000 --pieces 100,1000 --curvature 1,3 --seeds 5 -o sweep
  # The rows of a figure; an interrupted sweep goes on
  fenchel sweep model.onnx --data x.npy --anchors 0..8000 --points 8000..10000 \\
    --preset published --resume -o figure

Writes rows.csv, rows.json and sweep.svg. Published splines of random subsets at given or secant curvatures are \
    measured together, point by point, and rows.csv is complete after each chunk of points; all others are made one \
    by one, and rows.csv grows by a row. --resume goes on from there.")]
pub(super) struct Sweep {
    #[command(flatten)]
    pub model: Model,
    #[command(flatten)]
    pub data: Data,
    #[command(flatten)]
    pub outputs: Outputs,

    /// Classes of the points, for accuracy
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,

    /// Rows of the data to take anchors from [default: all]
    #[arg(long, value_name = "RANGE", value_parser = range)]
    pub anchors: Option<Range<usize>>,

    /// Rows to judge on, of --points-data where given, else of the data
    #[arg(long, value_name = "RANGE", value_parser = range, required_unless_present = "points_data")]
    pub points: Option<Range<usize>>,

    /// Other data to judge on
    #[arg(long, value_name = "FILE")]
    pub points_data: Option<PathBuf>,

    /// Numbers of pieces, such as 100,1000,all
    #[arg(long, value_name = "LIST", default_value = "all", value_delimiter = ',', value_parser = pieces, allow_negative_numbers = true)]
    pub pieces: Vec<Pieces>,

    #[command(flatten)]
    pub axes: Axes,

    /// The rows of a figure: published (10, 20, 50, 100 and so on to all pieces, ten seeds, mean and band of error,
    /// agreement and accuracy)
    #[arg(long, value_enum, conflicts_with_all = ["pieces", "seeds"])]
    pub preset: Option<Preset>,

    /// How many seeds, from --seed on
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub seeds: u64,

    /// Go on with an interrupted sweep
    #[arg(long)]
    pub resume: bool,

    /// The folder for the results
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fenchel inspect model.onnx
  fenchel inspect model.onnx --json

Nodes are listed as --node and --from name them. What is affine or piecewise affine all through has regions, codes and \
    templates; of what is smooth fenchel layers --save makes such.")]
pub(super) struct Inspect {
    #[command(flatten)]
    pub model: Model,
}

/// Rows that are asked for by one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Preset {
    /// Numbers of pieces 1, 2 and 5 times powers of ten from 10 on, and all; ten seeds
    Published,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }
}
