//! The affine maps of regions in input space.

use ndarray::Array2;

use crate::Result;
use crate::engine::{Context, Cpu, Engine};
use crate::network::{Program, check_finite};

use super::partition::Partition;
use super::polygon::Point;

impl Partition {
    /// The affine maps `A x + b` of the regions in input space for the chosen outputs, in blocks of regions from the first
    /// on: `each` gets `A [n, K', D]` and `b [n, K']`. They are the jets of the network, laid out in `program`, at the
    /// middle of each region; `point` gives the input at coordinates of the plane.
    ///
    /// # Errors
    /// As [`Program::jets`] and [`Program::chunks`]; [`Error::NonFinite`](crate::Error::NonFinite) with the number of a
    /// region; [`Error::Cancelled`](crate::Error::Cancelled); whatever `each` says.
    pub fn in_input_space(
        &self,
        program: &Program<Cpu<f64>>,
        point: impl Fn(Point) -> Vec<f64>,
        outputs: &[usize],
        context: &Context,
        mut each: impl FnMut(&[f64], &[f64]) -> Result<()>,
    ) -> Result<()> {
        let (engine, dimension) = (program.engine(), program.dimension());
        context.progress().start("affine maps", self.len() as u64);
        for block in program.chunks(self.len(), Some(outputs.len()), context.memory() / 2)?.iter() {
            context.check()?;
            let rows: Vec<f64> = block.clone().flat_map(|i| point(self.middle(i))).collect();
            let rows = Array2::from_shape_vec((block.len(), dimension), rows)
                .map_err(|e| crate::Error::Shape(e.to_string()))?;
            let jets = program.jets(&program.upload(rows.view())?, outputs)?;
            let (values, slopes) = (engine.download(&jets.values)?, engine.download(&jets.jacobians)?);
            check_finite(&values, outputs.len(), block.start)?;
            check_finite(&slopes, outputs.len() * dimension, block.start)?;
            let offsets: Vec<f64> = values
                .iter()
                .zip(slopes.chunks_exact(dimension))
                .enumerate()
                .map(|(i, (value, slope))| {
                    let x = rows.row(i / outputs.len());
                    value - slope.iter().zip(x).map(|(slope, x)| slope * x).sum::<f64>()
                })
                .collect();
            each(&slopes, &offsets)?;
            context.progress().advance(block.len() as u64);
        }
        context.progress().finish();
        Ok(())
    }
}
