//! `fenchel legendre`: the spline of a sampled function, by grid conjugation.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use serde_json::json;

use crate::conjugate::{GridFunction, LegendreSpline, LegendreValues};
use crate::data::write_npz;
use crate::engine::{Curvature, SplineEngine};
use crate::{Error, Result};

use super::conjugate::{read_function, read_grid};
use super::session::{Job, Session};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fenchel sample model.onnx --axes axes.npz --outputs 0 -o f.npy
  fenchel legendre f.npy --axes axes.npz --curvature 3 --pieces 32,32 -o s.npz

Arrays: convex_slopes, concave_slopes [J, D] and convex_conjugates, concave_conjugates [J], whose pieces are \
    slope . x - conjugate (the largest of the convex ones and the least of the concave ones count); value, lower, \
    upper on the grid.")]
pub(super) struct Arguments {
    /// The values of the function, finite
    pub function: PathBuf,

    /// The coordinates of its grid: arrays axis0, axis1, ... (ascending)
    #[arg(long, value_name = "AXES.npz")]
    pub axes: PathBuf,

    /// The curvature c, or a,b of the convex and of the concave half
    #[arg(long, value_name = "C", value_delimiter = ',', required = true, allow_negative_numbers = true)]
    pub curvature: Vec<f64>,

    /// How many slopes each axis has, such as 32,32 [default: as many as there are coordinates]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub pieces: Option<Vec<usize>>,

    /// Where the pieces and the values on the grid go
    #[arg(short, long, value_name = "S.npz")]
    pub output: PathBuf,
}

pub(super) fn legendre(session: &Session, arguments: &Arguments) -> Result<()> {
    let curvature = match arguments.curvature[..] {
        [c] => Curvature::isotropic(c),
        [a, b] => Curvature { a, b },
        _ => return Err(Error::Argument("--curvature takes one number or two: c, or a,b".to_owned())),
    };
    let f = read_function(&arguments.function, read_grid(&arguments.axes)?)?;
    session.on_engine(session.precise(), Legendre { session, arguments, f, curvature })
}

struct Legendre<'a> {
    session: &'a Session,
    arguments: &'a Arguments,
    f: GridFunction,
    curvature: Curvature,
}

impl Job for Legendre<'_> {
    type Output = ();

    fn run<E: SplineEngine>(self, engine: E) -> Result<()> {
        let Self { session, arguments, f, curvature } = self;
        let (grid, context) = (f.grid(), &session.context);
        let counts = arguments.pieces.clone().unwrap_or_else(|| grid.shape());
        let start = Instant::now();
        let spline = LegendreSpline::new(&engine, &f, curvature, &counts, context)?;
        let points: Vec<f64> = grid.points().flatten().collect();
        let LegendreValues { value, lower, upper, .. } = spline.values(&engine, &points, context)?;
        let seconds = start.elapsed().as_secs_f64();

        let [convex, concave] = [&spline.convex, &spline.concave];
        let [below, above] = [convex, concave].map(|pieces| pieces.conjugates.len());
        let (dimension, shape) = (grid.dimension(), grid.shape());
        write_npz(
            &arguments.output,
            &[
                ("convex_slopes", &[below, dimension], &convex.slopes),
                ("convex_conjugates", &[below], &convex.conjugates),
                ("concave_slopes", &[above, dimension], &concave.slopes),
                ("concave_conjugates", &[above], &concave.conjugates),
                ("value", &shape, &value),
                ("lower", &shape, &lower),
                ("upper", &shape, &upper),
            ],
        )?;

        let errors = || value.iter().zip(f.values()).map(|(s, f)| (s - f).abs());
        let largest = errors().fold(0.0, f64::max);
        let rms = (errors().map(|e| e * e).sum::<f64>() / grid.len() as f64).sqrt();
        let mean = f.values().iter().sum::<f64>() / grid.len() as f64;
        let spread = (f.values().iter().map(|v| (v - mean).powi(2)).sum::<f64>() / grid.len() as f64).sqrt();
        let document = json!({
            "points": shape,
            "convex_pieces": below,
            "concave_pieces": above,
            "relative_rmse": rms / spread,
            "max_abs": largest,
            "seconds": seconds,
            "device": engine.describe(),
        });
        session.print(&document, || {
            format!(
                "{shape:?} points, {below} convex and {above} concave pieces, {seconds:.3} s on {}\n\
                 at the points of the grid: relative RMSE {:.4}, largest error {largest:.4}\n",
                engine.describe(),
                rms / spread
            )
        })
    }
}
