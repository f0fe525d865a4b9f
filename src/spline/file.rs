//! Spline files: safetensors with a JSON header, written and read block by block.
//!
//! Tensors: `anchors.indices [M]` (rows of the data), `anchors.points [M, D]`, `anchors.values [M, K]`,
//! `anchors.slopes [M, K, D]`, `curvature [K, 2]` and `certificate.curvature [K, 2]` (`a`, `b`), and for a half
//! that does not take all anchors `lower.selection` or `upper.selection` (positions among the anchors).
//! The JSON document is the value of `fenchel` in the safetensors metadata: a [`Header`].

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use serde::{Deserialize, Serialize};

use crate::data::{Normalization, OutputFile};
use crate::engine::plan::Chunks;
use crate::engine::{Context, Curvature, Jets, JetsOf, SplineEngine};
use crate::{Error, Result, Scalar};

use super::{Certificate, JetSource, Label, Selection, Spline, Unchecked, jets};

/// The version of the format that this version writes and reads.
const VERSION: u32 = 1;

/// Headers are a few hundred bytes; one beyond this is not ours.
const LONGEST_HEADER: u64 = 1 << 20;

/// The JSON document in a spline file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// The version of this format: 1.
    pub version: u32,
    /// The version of Fenchel that wrote it.
    pub fenchel: String,
    /// Where the jets come from.
    pub provenance: Provenance,
    /// How values of data became inputs of the network; applies to points as well.
    pub normalization: Normalization,
    /// The metric of the distances: `identity`.
    pub metric: String,
    /// Where the certificate's curvature comes from.
    pub certificate: Label,
}

/// Where jets come from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// The model's file name.
    pub model: String,
    /// SHA-256 of the model.
    pub model_sha256: String,
    /// The node whose value is approximated; the model's output where absent.
    pub node: Option<String>,
    /// The chosen outputs, as numbered in the model.
    pub outputs: Vec<usize>,
    /// The data's file name.
    pub data: String,
    /// SHA-256 of the data's shape, type and values.
    pub data_sha256: String,
    /// How the pieces were chosen: `all` or `random`.
    pub selection: String,
    /// How the curvature was chosen: `given` or `secant`.
    pub curvature: String,
    /// The seed of everything random.
    pub seed: u64,
}

impl Header {
    /// A header of the present version.
    pub fn new(provenance: Provenance, normalization: Normalization, certificate: Label) -> Self {
        Self {
            version: VERSION,
            fenchel: env!("CARGO_PKG_VERSION").to_owned(),
            provenance,
            normalization,
            metric: "identity".to_owned(),
            certificate,
        }
    }
}

/// The type's name in the format.
fn dtype<S: Scalar>() -> Dtype {
    if S::NAME == "f32" { Dtype::F32 } else { Dtype::F64 }
}

/// Writes a spline of all jets of `source`, whose anchors are rows `indices` of the data.
///
/// # Errors
/// What the source says, and the file system; nothing is left half-written.
pub fn save<E: SplineEngine, J: JetSource<E> + ?Sized>(
    output: OutputFile,
    spline: &Spline,
    header: &Header,
    source: &J,
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
    let halves = [("lower.selection", &spline.lower), ("upper.selection", &spline.upper)];
    for (name, selection) in halves {
        if let Selection::Some(chosen) = selection {
            tensors.push((name, Dtype::U32, vec![chosen.len()]));
        }
    }
    let mut writer = Writer::new(output, header, tensors)?;
    writer.put("anchors.indices", 0, indices)?;
    writer.put("curvature", 0, &pairs(&spline.curvature))?;
    writer.put("certificate.curvature", 0, &pairs(&spline.certificate.curvature))?;
    for (name, selection) in halves {
        if let Selection::Some(chosen) = selection {
            writer.put(name, 0, chosen)?;
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

/// A spline file that is open; its jets are read as they are needed.
#[derive(Debug)]
pub struct SplineFile {
    path: PathBuf,
    file: Mutex<File>,
    metadata: Metadata,
    data: u64,
    header: Header,
    spline: Spline,
    indices: Vec<u64>,
    /// `M`, `K`, `D`
    lengths: [usize; 3],
}

impl SplineFile {
    /// Opens a spline file and checks that it is whole and consistent.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::File`] with the reason.
    pub fn open(path: &Path) -> Result<Self> {
        let io = || Error::io("read", path);
        let mut file = File::open(path).map_err(io())?;
        let kind = file.metadata().map_err(io())?;
        if kind.is_dir() {
            return Err(Error::Io {
                action: "read",
                path: path.to_path_buf(),
                source: std::io::ErrorKind::IsADirectory.into(),
            });
        }
        let whole = kind.len();
        let foreign = |reason: &str| Error::file(path, format!("is not a Fenchel spline: {reason}"));
        let mut length = [0; 8];
        file.read_exact(&mut length).map_err(|_| foreign("it is shorter than a header"))?;
        let length = u64::from_le_bytes(length);
        if length > LONGEST_HEADER || length + 8 > whole {
            return Err(foreign("its header is longer than the file or than any of ours"));
        }
        let mut text = vec![0; length as usize];
        file.read_exact(&mut text).map_err(io())?;
        let metadata: Metadata = serde_json::from_slice(&text)
            .map_err(|e| foreign(&format!("its header cannot be read ({e})")))?;
        if metadata.data_len() as u64 + 8 + length != whole {
            return Err(foreign("it is truncated, or longer than its header says"));
        }
        let document = metadata.metadata().as_ref().and_then(|m| m.get("fenchel"));
        let document = document.ok_or_else(|| foreign("its metadata has no entry 'fenchel'"))?;
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let Versioned { version } = serde_json::from_str(document)
            .map_err(|e| foreign(&format!("its metadata cannot be read ({e})")))?;
        if version != VERSION {
            let reason =
                format!("has format version {version}; this version of Fenchel reads version {VERSION}");
            return Err(Error::file(path, reason));
        }
        let header: Header = serde_json::from_str(document)
            .map_err(|e| foreign(&format!("its metadata cannot be read ({e})")))?;
        if header.metric != "identity" {
            return Err(foreign(&format!("its metric '{}' is not known", header.metric)));
        }
        let shape = |name: &str, rank: usize| {
            let found = metadata.info(name).map(|info| info.shape.clone()).filter(|s| s.len() == rank);
            found.ok_or_else(|| foreign(&format!("it lacks the tensor '{name}' of rank {rank}")))
        };
        let slopes = shape("anchors.slopes", 3)?;
        let [m, k, d] = [slopes[0], slopes[1], slopes[2]];
        let expected: [(&str, &[usize]); 5] = [
            ("anchors.points", &[m, d]),
            ("anchors.values", &[m, k]),
            ("anchors.indices", &[m]),
            ("curvature", &[k, 2]),
            ("certificate.curvature", &[k, 2]),
        ];
        for (name, expected) in expected {
            if shape(name, expected.len())? != expected {
                return Err(foreign(&format!("its tensor '{name}' does not fit the slopes {slopes:?}")));
            }
        }
        if m == 0 || k == 0 || d == 0 {
            return Err(foreign("it holds no anchor"));
        }
        let placeholder = Certificate { curvature: vec![], label: header.certificate };
        let spline = Spline {
            curvature: vec![],
            lower: Selection::All,
            upper: Selection::All,
            certificate: placeholder,
        };
        let file = Mutex::new(file);
        let path = path.to_path_buf();
        let mut opened = Self {
            path,
            file,
            metadata,
            data: 8 + length,
            header,
            spline,
            indices: vec![],
            lengths: [m, k, d],
        };
        opened.indices = opened.read("anchors.indices", Dtype::U64, 0..m, u64::from_le_bytes)?;
        opened.spline.curvature = opened.curvatures("curvature")?;
        opened.spline.certificate.curvature = opened.curvatures("certificate.curvature")?;
        opened.spline.lower = opened.selection("lower.selection")?;
        opened.spline.upper = opened.selection("upper.selection")?;
        Ok(opened)
    }

    /// The JSON document.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Curvatures, selections and certificate.
    pub fn spline(&self) -> &Spline {
        &self.spline
    }

    /// The anchors' rows in the data they were taken from.
    pub fn indices(&self) -> &[u64] {
        &self.indices
    }

    /// `M` anchors, `K` outputs, `D` dimensions.
    pub fn lengths(&self) -> [usize; 3] {
        self.lengths
    }

    /// The floating-point type of its jets: `"f32"` or `"f64"`.
    pub fn precision(&self) -> &'static str {
        match self.metadata.info("anchors.slopes").map(|info| info.dtype) {
            Some(Dtype::F64) => "f64",
            _ => "f32",
        }
    }

    /// Its jets on an engine.
    pub fn jets<E: SplineEngine>(&self, engine: &E) -> impl JetSource<E> + use<'_, E> {
        FileJets { file: self, engine: engine.clone() }
    }

    fn foreign(&self, reason: &str) -> Error {
        Error::file(&self.path, format!("is not a Fenchel spline: {reason}"))
    }

    fn curvatures(&self, name: &str) -> Result<Vec<Curvature>> {
        let [_, k, _] = self.lengths;
        let values = self.read(name, Dtype::F64, 0..2 * k, f64::from_le_bytes)?;
        if values.iter().any(|v| !(v.is_finite() && *v >= 0.0)) {
            return Err(self.foreign(&format!("its tensor '{name}' holds something else than curvatures")));
        }
        Ok(values.chunks_exact(2).map(|pair| Curvature { a: pair[0], b: pair[1] }).collect())
    }

    fn selection(&self, name: &str) -> Result<Selection> {
        let Some(info) = self.metadata.info(name) else { return Ok(Selection::All) };
        let chosen = self.read(name, Dtype::U32, 0..info.shape.iter().product(), u32::from_le_bytes)?;
        let inside = chosen.last().is_some_and(|&last| (last as usize) < self.lengths[0]);
        if !inside || !chosen.is_sorted() {
            return Err(
                self.foreign(&format!("its tensor '{name}' does not list anchors in ascending order"))
            );
        }
        Ok(Selection::Some(chosen))
    }

    /// Elements `range` of a tensor of a type.
    fn read<T, const N: usize>(
        &self,
        name: &str,
        dtype: Dtype,
        range: Range<usize>,
        convert: impl Fn([u8; N]) -> T,
    ) -> Result<Vec<T>> {
        let info = self.metadata.info(name).filter(|info| info.dtype == dtype);
        let info =
            info.ok_or_else(|| self.foreign(&format!("its tensor '{name}' is not of type {dtype:?}")))?;
        let start = self.data + (info.data_offsets.0 + range.start * N) as u64;
        let mut bytes = vec![0; range.len() * N];
        {
            let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
            let io = || Error::io("read", &self.path);
            file.seek(SeekFrom::Start(start)).map_err(io())?;
            file.read_exact(&mut bytes).map_err(io())?;
        }
        let (elements, _) = bytes.as_chunks::<N>();
        Ok(elements.iter().map(|&element| convert(element)).collect())
    }

    /// Elements `range` of a floating-point tensor, each checked to be finite; rows are `row` long.
    fn floats<S: Scalar>(&self, name: &str, range: Range<usize>, row: usize) -> Result<Vec<S>> {
        let values: Vec<S> = if self.precision() == "f64" {
            self.read(name, Dtype::F64, range.clone(), |b| S::of(f64::from_le_bytes(b)))?
        } else {
            self.read(name, Dtype::F32, range.clone(), |b| S::of(f64::from(f32::from_le_bytes(b))))?
        };
        match values.iter().position(|v| !v.is_finite()) {
            Some(i) => {
                let what = format!("'{}', tensor '{name}'", self.path.display());
                Err(Error::NonFinite { what, row: (range.start + i) / row })
            }
            None => Ok(values),
        }
    }
}

struct FileJets<'a, E> {
    file: &'a SplineFile,
    engine: E,
}

impl<E: SplineEngine> JetSource<E> for FileJets<'_, E> {
    fn engine(&self) -> &E {
        &self.engine
    }

    fn anchors(&self) -> usize {
        self.file.lengths[0]
    }

    fn outputs(&self) -> usize {
        self.file.lengths[1]
    }

    fn dimension(&self) -> usize {
        self.file.lengths[2]
    }

    fn bytes_to_make(&self) -> u64 {
        // As read from the file, and converted, before it goes to the engine.
        ((self.dimension() * (self.outputs() + 1) + self.outputs()) * (8 + size_of::<E::Scalar>())) as u64
    }

    fn scratch_bytes(&self) -> u64 {
        0
    }

    fn block(&self, range: Range<usize>) -> Result<(JetsOf<E>, Unchecked<E>)> {
        let [_, k, d] = self.file.lengths;
        let upload = |name: &str, shape: &[usize]| {
            let row: usize = shape.iter().product();
            let values = self.file.floats::<E::Scalar>(name, range.start * row..range.end * row, row)?;
            self.engine.upload(&values, &[&[range.len()], shape].concat())
        };
        let jets = Jets {
            points: upload("anchors.points", &[d])?,
            values: upload("anchors.values", &[k])?,
            jacobians: upload("anchors.slopes", &[k, d])?,
        };
        Ok((jets, Unchecked::nothing()))
    }

    fn center(&self) -> Result<Vec<f64>> {
        let d = self.dimension();
        jets::center(self.anchors(), d, |rows| {
            self.file.floats::<E::Scalar>("anchors.points", rows.start * d..rows.end * d, d)
        })
    }
}
