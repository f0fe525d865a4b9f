//! Sheets of the means of clusters of data.

use crate::data::Dataset;
use crate::engine::{Context, SplineEngine};
use crate::network::Program;
use crate::spline::{ClusterMeans, cluster_means};
use crate::{Error, Result, Scalar};

use super::{Beside, Content, ImageShape, Row, Sheet, Tile, short};

/// Tiles in a row.
const ACROSS: usize = 10;

/// Clusters, and their means as tiles.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterSheet {
    /// The sheet.
    pub sheet: Sheet,
    /// What it shows.
    pub clusters: ClusterMeans,
    /// Of each mean the largest of the network's chosen outputs, by its number; of equals the first. None without a
    /// network, and where one output was chosen.
    pub classes: Option<Vec<usize>>,
}

/// The means of `count` clusters of rows of data (k-means, see [`cluster_means`]), the largest cluster first; below each
/// its number and that of its rows, and with a program and its outputs the class of the mean, or the value of a single output.
///
/// # Errors
/// As [`cluster_means`]; [`Error::Shape`] where rows or images do not fit each other or the network; [`Error::Argument`]
/// for an output that is not there, or none; [`Error::Memory`]; what the engine says.
pub fn clusters<E: SplineEngine>(
    engine: &E,
    network: Option<(&Program<E>, &[usize])>,
    data: &Dataset,
    count: usize,
    image: ImageShape,
    context: &Context,
) -> Result<ClusterSheet> {
    let d = data.row_len();
    image.check(d)?;
    if let Some((program, outputs)) = network {
        data.check_rows(program.dimension())?;
        let all = program.outputs();
        if let Some(wrong) = outputs.iter().find(|&&k| k >= all) {
            return Err(Error::Argument(format!("there is no output {wrong}: expected 0 to {}", all - 1)));
        }
        if outputs.is_empty() {
            return Err(Error::Argument("at least one output is needed".to_owned()));
        }
    }
    let (shape, tiles) = (image.lengths(), count.min(data.len()));
    let beside = Beside::tiles(tiles, tiles * d, context)?;
    let (clusters, values) = beside.run(|context| {
        let clusters = cluster_means(engine, data, count, context.seed(), context)?;
        let Some((program, _)) = network else { return Ok((clusters, None)) };
        let held = (clusters.means.len() * (size_of::<f64>() + size_of::<E::Scalar>())) as u64;
        let rest = context.clone().with_memory(context.memory().saturating_sub(held));
        let means = clusters.means.iter().map(|&x| E::Scalar::of(x)).collect();
        let means = ndarray::Array2::from_shape_vec((clusters.sizes.len(), d), means)
            .map_err(|e| Error::Shape(e.to_string()))?;
        let values = program.values(means.view(), &rest)?;
        Ok((clusters, Some(values)))
    })?;
    let mut classes = vec![];
    let mut tiles = vec![];
    for (cluster, (mean, size)) in clusters.means.chunks_exact(d).zip(&clusters.sizes).enumerate() {
        let mut caption = vec![format!("{cluster}: {size} rows")];
        if let (Some((_, outputs)), Some(values)) = (network, &values) {
            let value = |k: usize| values[[cluster, k]].f64();
            if let &[k] = outputs {
                caption.push(short(value(k)));
            } else {
                let largest = outputs.iter().copied().reduce(|a, b| if value(b) > value(a) { b } else { a });
                let class = largest.unwrap_or_else(|| unreachable!("there are outputs"));
                caption.push(format!("class {class}"));
                classes.push(class);
            }
        }
        tiles.push(Some(Tile::new(Content::Image, shape, image.arrange(mean), caption)));
    }
    let across = ACROSS.min(tiles.len());
    let rows = tiles.chunks(across).map(|tiles| Row { tiles: tiles.to_vec(), ..Row::default() });
    let sheet = Sheet {
        title: format!("means of {count} clusters"),
        groups: vec![across],
        rows: rows.collect(),
        names: ["mean".to_owned(), String::new(), String::new()],
        subject: Content::Image,
        data_shape: [&[clusters.sizes.len()], &shape[..]].concat(),
    };
    let classes = Some(classes).filter(|classes| !classes.is_empty());
    Ok(ClusterSheet { sheet, clusters, classes })
}
