//! Writing spline files.

use std::collections::HashMap;
use std::io::{Seek, SeekFrom};

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use crate::data::OutputFile;
use crate::engine::plan::Chunks;
use crate::engine::{Context, Curvature, SplineEngine};
use crate::spline::{Form, JetSource, Metric, Selection, Spline, planes};
use crate::{Error, Result};

use super::{Header, dtype};

/// Writes a spline of all jets of `source`, whose anchors are rows `indices` of the data.
///
/// # Errors
/// What the source says, and the file system; nothing is left half-written.
pub fn save<E: SplineEngine>(
    output: OutputFile,
    spline: &Spline,
    header: &Header,
    source: &dyn JetSource<E>,
    indices: &[u64],
    context: &Context,
) -> Result<()> {
    let (m, d, k) = (source.anchors(), source.dimension(), source.outputs());
    let mut tensors: Vec<(&str, Dtype, Vec<usize>)> = vec![
        ("anchors.indices", Dtype::U64, vec![m]),
        ("curvature", Dtype::F64, vec![k, 2]),
        ("certificate.curvature", Dtype::F64, vec![k, 2]),
        ("anchors.points", dtype::<E::Scalar>(), vec![m, d]),
        ("anchors.values", dtype::<E::Scalar>(), vec![m, k]),
        ("anchors.slopes", dtype::<E::Scalar>(), vec![m, k, d]),
    ];
    let others = others(spline, k)?;
    tensors.extend(others.iter().map(|(name, shape, values)| (*name, values.dtype(), shape.clone())));
    // Larger elements first: each tensor then starts at a multiple of its element's size.
    tensors.sort_by_key(|(_, dtype, _)| std::cmp::Reverse(dtype.bitsize()));
    let mut writer = Writer::new(output, header, tensors)?;
    writer.put("anchors.indices", 0, indices)?;
    writer.put("curvature", 0, &pairs(&spline.curvature))?;
    writer.put("certificate.curvature", 0, &pairs(&spline.certificate.curvature))?;
    for (name, _, values) in &others {
        match values {
            Values::U32(values) => writer.put(name, 0, values)?,
            Values::F32(values) => writer.put(name, 0, values)?,
            Values::F64(values) => writer.put(name, 0, values)?,
        }
    }
    let jet = ((d + k + d * k) * size_of::<E::Scalar>()) as u64 * 2 + source.bytes_to_make();
    let blocks = Chunks::within(
        "one jet",
        m,
        jet,
        source.scratch_bytes(),
        context.memory(),
        source.most_jets()?.min(1 << 10),
    )?;
    context.progress().start("jets", m as u64);
    for block in blocks.iter() {
        context.check()?;
        let (jets, unchecked) = source.block(block.clone())?;
        let engine = source.engine();
        unchecked.check(engine)?;
        writer.put("anchors.points", block.start * d, &engine.download(&jets.points)?)?;
        writer.put("anchors.values", block.start * k, &engine.download(&jets.values)?)?;
        writer.put("anchors.slopes", block.start * k * d, &engine.download(&jets.jacobians)?)?;
        context.progress().advance(block.len() as u64);
    }
    context.progress().finish();
    writer.output.commit()
}

/// The elements of a tensor that is held as a whole.
enum Values<'a> {
    U32(&'a [u32]),
    F32(&'a [f32]),
    F64(&'a [f64]),
}

impl Values<'_> {
    fn dtype(&self) -> Dtype {
        match self {
            Self::U32(_) => Dtype::U32,
            Self::F32(_) => Dtype::F32,
            Self::F64(_) => Dtype::F64,
        }
    }
}

/// Names, shapes and values of the tensors that not every spline has.
fn others(spline: &Spline, outputs: usize) -> Result<Vec<(&'static str, Vec<usize>, Values<'_>)>> {
    let mut tensors = vec![];
    match &spline.metric {
        Metric::Identity => {}
        Metric::Diagonal(weights) => {
            tensors.push(("metric.weights", vec![weights.len()], Values::F64(weights)));
        }
        Metric::LowRank(metric) => {
            let rank = metric.weights.len();
            let rest = Values::F64(std::slice::from_ref(&metric.rest));
            tensors.push(("metric.weights", vec![rank], Values::F64(&metric.weights)));
            let shape = vec![rank, metric.basis.len() / rank.max(1)];
            tensors.push(("metric.basis", shape, Values::F64(&metric.basis)));
            tensors.push(("metric.rest", vec![1], rest));
        }
    }
    match &spline.form {
        Form::Tangents(tangents) => {
            let halves = [("lower.selection", &tangents.lower), ("upper.selection", &tangents.upper)];
            for (name, selection) in halves {
                if let Selection::Some(chosen) = selection {
                    tensors.push((name, vec![chosen.len()], Values::U32(chosen)));
                }
            }
        }
        Form::Planes(planes) => {
            let (r, pieces) = (planes.dimension(), planes.pieces(outputs));
            planes::check(planes, outputs, r)?;
            tensors.push(("planes.center", vec![r], Values::F64(&planes.center)));
            let halves = [
                ("lower.slopes", "lower.offsets", &planes.lower),
                ("upper.slopes", "upper.offsets", &planes.upper),
            ];
            for (slopes, offsets, half) in halves {
                tensors.push((slopes, vec![outputs, pieces, r], Values::F32(&half.slopes)));
                tensors.push((offsets, vec![outputs, pieces], Values::F32(&half.offsets)));
            }
        }
    }
    Ok(tensors)
}

fn pairs(curvatures: &[Curvature]) -> Vec<f64> {
    curvatures.iter().flat_map(|c| [c.a, c.b]).collect()
}

/// Writes into tensors at known places.
struct Writer {
    output: OutputFile,
    metadata: Metadata,
    data: u64,
}

impl Writer {
    fn new(mut output: OutputFile, header: &Header, tensors: Vec<(&str, Dtype, Vec<usize>)>) -> Result<Self> {
        let path = output.path().to_path_buf();
        let unwritable = |reason: String| Error::file(&path, format!("cannot hold this spline: {reason}"));
        let mut start = 0;
        let mut infos = Vec::with_capacity(tensors.len());
        for (name, dtype, shape) in tensors {
            let end = start + shape.iter().product::<usize>() * dtype.bitsize() / 8;
            infos.push((name.to_owned(), TensorInfo { dtype, shape, data_offsets: (start, end) }));
            start = end;
        }
        let document = serde_json::to_string(header).map_err(|e| unwritable(e.to_string()))?;
        let metadata = Metadata::new(Some(HashMap::from([("fenchel".to_owned(), document)])), infos)
            .map_err(|e| unwritable(e.to_string()))?;
        let mut text = serde_json::to_vec(&metadata).map_err(|e| unwritable(e.to_string()))?;
        // The format aligns tensors to 8 bytes by padding the header with spaces.
        text.resize(text.len().next_multiple_of(8), b' ');
        output.put(&(text.len() as u64).to_le_bytes())?;
        output.put(&text)?;
        Ok(Self { output, metadata, data: 8 + text.len() as u64 })
    }

    /// Writes `values` from element `at` of a tensor on. The format is little-endian.
    fn put<T: bytemuck::Pod>(&mut self, name: &str, at: usize, values: &[T]) -> Result<()> {
        let start = self.metadata.info(name).map_or(0, |info| info.data_offsets.0 + at * size_of::<T>());
        let place = SeekFrom::Start(self.data + start as u64);
        let path = self.output.path().to_path_buf();
        self.output.seek(place).map_err(Error::io("write", &path))?;
        if cfg!(target_endian = "little") {
            return self.output.put(bytemuck::cast_slice(values));
        }
        let mut bytes = bytemuck::cast_slice(values).to_vec();
        bytes.chunks_exact_mut(size_of::<T>()).for_each(<[u8]>::reverse);
        self.output.put(&bytes)
    }
}
