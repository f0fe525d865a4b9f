//! The table of the kernels that splines take.

use crate::Result;
use crate::engine::kernels::{
    ConjugateValues, Curvature, EnvelopeSpec, EnvelopeValues, Factors, Jets, MaxAffineSpec, MaxAffineValues,
    ProductTable, Pulls, Search, SliceValues, SoftSpec, SoftValues, Step, UnitWords,
};
use crate::engine::{Engine, Floor, SplineEngine};

use super::{
    Gpu, GpuBuffer, GpuCodes, GpuConjugate, GpuDescent, GpuEnvelope, GpuGram, GpuSecant, GpuSoftEnvelope,
    GpuTensor, floor, hamming, max_affine, series_product, slice,
};

impl SplineEngine for Gpu {
    type Envelope = GpuEnvelope;
    type SoftEnvelope = GpuSoftEnvelope;
    type Secant = GpuSecant;
    type Descent = GpuDescent;
    type Conjugate = GpuConjugate;
    type Gram = GpuGram;

    fn floor(&self) -> Result<Floor> {
        floor::floor(self)
    }

    fn spline_scratch(&self) -> u64 {
        self.0.scratch
    }

    fn envelope(
        &self,
        points: &GpuTensor,
        outputs: usize,
        center: &[f64],
        spec: &EnvelopeSpec,
    ) -> Result<GpuEnvelope> {
        GpuEnvelope::new(self, points, outputs, center, spec)
    }

    fn envelope_add(
        &self,
        envelope: &mut GpuEnvelope,
        jets: &Jets<GpuBuffer>,
        first: usize,
        slots: &[u32],
    ) -> Result<()> {
        envelope.add(self, jets, first, slots)
    }

    fn envelope_finish(&self, envelope: GpuEnvelope) -> Result<EnvelopeValues<f32>> {
        envelope.finish(self)
    }

    fn soft_envelope(
        &self,
        points: &GpuTensor,
        outputs: usize,
        center: &[f64],
        spec: &SoftSpec,
    ) -> Result<GpuSoftEnvelope> {
        GpuSoftEnvelope::new(self, points, outputs, center, spec)
    }

    fn soft_envelope_add(&self, envelope: &mut GpuSoftEnvelope, jets: &Jets<GpuBuffer>) -> Result<()> {
        envelope.add(self, jets)
    }

    fn soft_envelope_finish(&self, envelope: GpuSoftEnvelope) -> Result<SoftValues<f32>> {
        envelope.finish(self)
    }

    fn max_affine(
        &self,
        slopes: &GpuTensor,
        conjugates: &GpuTensor,
        points: &GpuTensor,
        spec: &MaxAffineSpec,
    ) -> Result<MaxAffineValues<f32>> {
        max_affine::max_affine(self, slopes, conjugates, points, spec)
    }

    fn conjugate(&self, values: &GpuTensor, axes: &[&[f32]], slopes: &[&[f32]]) -> Result<GpuConjugate> {
        GpuConjugate::new(self, values, axes, slopes)
    }

    fn conjugate_values(&self, conjugate: &GpuConjugate) -> GpuTensor {
        conjugate.values()
    }

    fn conjugate_finish(&self, conjugate: GpuConjugate) -> Result<ConjugateValues<f32>> {
        conjugate.finish(self)
    }

    fn slice(
        &self,
        planes: &GpuTensor,
        across: &[f32],
        up: &[f32],
        search: Search,
    ) -> Result<SliceValues<f32>> {
        slice::slice(self, planes, across, up, search)
    }

    fn upload_codes(&self, values: &[u32], words: usize) -> Result<GpuCodes> {
        GpuCodes::of(self, values, words)
    }

    fn hamming(&self, codes: &GpuCodes, others: &GpuCodes, units: &[UnitWords]) -> Result<GpuCodes> {
        hamming::hamming(self, codes, others, units)
    }

    fn gram(&self, rows: usize, columns: usize) -> Result<GpuGram> {
        GpuGram::new(self, rows, columns)
    }

    fn gram_add(
        &self,
        gram: &mut GpuGram,
        x: (&Factors<GpuBuffer>, usize),
        y: (&Factors<GpuBuffer>, usize),
        upper: bool,
    ) -> Result<()> {
        gram.add(self, x, y, upper)
    }

    fn gram_finish(&self, gram: GpuGram) -> Result<Vec<f32>> {
        self.download(gram.values())
    }

    fn secant(&self, points: &GpuTensor, values: &GpuTensor, center: &[f64]) -> Result<GpuSecant> {
        GpuSecant::new(self, points, values, center)
    }

    fn secant_add(&self, secant: &mut GpuSecant, jets: &Jets<GpuBuffer>) -> Result<()> {
        secant.add(self, jets)
    }

    fn secant_finish(&self, secant: GpuSecant) -> Result<Vec<Curvature>> {
        secant.finish(self)
    }

    fn descent(&self, slopes: &[f32], conjugates: &[f32]) -> Result<GpuDescent> {
        GpuDescent::new(self, slopes, conjugates)
    }

    fn descent_active(&self, descent: &GpuDescent, points: &GpuTensor) -> Result<MaxAffineValues<f32>> {
        descent.active(self, points)
    }

    fn descend(
        &self,
        descent: &mut GpuDescent,
        points: &GpuTensor,
        pulls: &Pulls<f32>,
        step: Step,
    ) -> Result<()> {
        descent.descend(self, points, pulls, step)
    }

    fn descent_finish(&self, descent: GpuDescent) -> Result<[Vec<f32>; 2]> {
        descent.finish(self)
    }

    fn series_product(
        &self,
        a: &GpuTensor,
        b: &GpuTensor,
        scale: Option<&GpuTensor>,
        table: &ProductTable,
    ) -> Result<GpuTensor> {
        series_product::series_product(self, a, b, scale, table)
    }
}
