//! Reading spline files.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use safetensors::Dtype;
use safetensors::tensor::Metadata;
use serde::Deserialize;

use crate::engine::{Curvature, Jets, JetsOf, SplineEngine};
use crate::spline::metric::LowRank;
use crate::spline::planes::{self, Half};
use crate::spline::{
    Certificate, Form, JetSource, Metric, Planes, Selection, Softness, Spline, Tangents, Unchecked, jets,
};
use crate::{Error, Result, Scalar};

use super::{Header, VERSION};

/// Headers are a few hundred bytes; one beyond this is not ours.
const LONGEST_HEADER: u64 = 1 << 20;

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
        // Looked at first: to open a pipe would wait for its other end.
        let kind = fs::metadata(path).map_err(io())?;
        if kind.is_dir() {
            return Err(Error::Io {
                action: "read",
                path: path.to_path_buf(),
                source: std::io::ErrorKind::IsADirectory.into(),
            });
        }
        if !kind.is_file() {
            return Err(Error::file(path, "is no regular file; splines are read from regular files only"));
        }
        let mut file = File::open(path).map_err(io())?;
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
        if !["tangents", "planes"].contains(&header.form.as_str()) {
            return Err(foreign(&format!("its pieces are of the unknown form '{}'", header.form)));
        }
        if !header.slopes.is_finite() {
            return Err(foreign("its slopes are multiplied by no number"));
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
            metric: Metric::Identity,
            curvature: vec![],
            form: Form::Tangents(Tangents::default()),
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
        opened.spline.metric = opened.metric()?;
        opened.spline.form = opened.form()?;
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

    fn metric(&self) -> Result<Metric> {
        let Some(info) = self.metadata.info("metric.weights") else { return Ok(Metric::Identity) };
        let [_, _, d] = self.lengths;
        let all = |name: &str| {
            let count = self.metadata.info(name).map_or(0, |info| info.shape.iter().product());
            let values = self.read(name, Dtype::F64, 0..count, f64::from_le_bytes)?;
            if values.iter().all(|v| v.is_finite()) {
                return Ok(values);
            }
            Err(self.foreign(&format!("its tensor '{name}' holds something else than numbers")))
        };
        let weights = all("metric.weights")?;
        let no_metric =
            || self.foreign("its metric does not fit its anchors, or has weights that are not positive");
        if info.shape.len() != 1 || weights.is_empty() || weights.iter().any(|w| *w <= 0.0) {
            return Err(no_metric());
        }
        let metric = if self.metadata.info("metric.basis").is_some() {
            let rest = match all("metric.rest")?[..] {
                [rest] if rest >= 0.0 => rest,
                _ => return Err(no_metric()),
            };
            Metric::LowRank(LowRank { basis: all("metric.basis")?, weights, rest })
        } else {
            Metric::Diagonal(weights)
        };
        metric.check(d).map_err(|_| no_metric())?;
        Ok(metric)
    }

    fn form(&self) -> Result<Form> {
        let Header { slopes, softness, .. } = self.header;
        let positive = |t: f64| t.is_finite() && t > 0.0;
        if !matches!(softness, Softness::Hard)
            && !matches!(softness, Softness::Nearest(t) | Softness::Halves(t) if positive(t))
        {
            return Err(self.foreign("its softness is not positive"));
        }
        if self.header.form == "tangents" {
            let [lower, upper] = [self.selection("lower.selection")?, self.selection("upper.selection")?];
            return Ok(Form::Tangents(Tangents { lower, upper, slopes, softness }));
        }
        let [_, k, d] = self.lengths;
        let half = |slopes: &str, offsets: &str| {
            let count = |name: &str| self.metadata.info(name).map_or(0, |info| info.shape.iter().product());
            Ok(Half {
                slopes: self.floats_of(slopes, Dtype::F32, 0..count(slopes), 1)?,
                offsets: self.floats_of(offsets, Dtype::F32, 0..count(offsets), 1)?,
            })
        };
        let r = self.spline.metric.coordinates(d);
        let planes = Planes {
            center: self.floats_of("planes.center", Dtype::F64, 0..r, 1)?,
            lower: half("lower.slopes", "lower.offsets")?,
            upper: half("upper.slopes", "upper.offsets")?,
        };
        planes::check(&planes, k, r)
            .map_err(|_| self.foreign("its pieces do not fit its anchors and its metric"))?;
        Ok(Form::Planes(planes))
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
        if range.end * N > info.data_offsets.1 - info.data_offsets.0 {
            return Err(self.foreign(&format!("its tensor '{name}' is too short")));
        }
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
    fn floats_of<S: Scalar>(
        &self,
        name: &str,
        dtype: Dtype,
        range: Range<usize>,
        row: usize,
    ) -> Result<Vec<S>> {
        let values: Vec<S> = if dtype == Dtype::F64 {
            self.read(name, dtype, range.clone(), |b| S::of(f64::from_le_bytes(b)))?
        } else {
            self.read(name, dtype, range.clone(), |b| S::of(f64::from(f32::from_le_bytes(b))))?
        };
        match values.iter().position(|v| !v.is_finite()) {
            Some(i) => {
                let what = format!("'{}', tensor '{name}'", self.path.display());
                Err(Error::NonFinite { what, row: (range.start + i) / row })
            }
            None => Ok(values),
        }
    }

    /// The same of jets.
    fn floats<S: Scalar>(&self, name: &str, range: Range<usize>, row: usize) -> Result<Vec<S>> {
        let dtype = if self.precision() == "f64" { Dtype::F64 } else { Dtype::F32 };
        self.floats_of(name, dtype, range, row)
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
