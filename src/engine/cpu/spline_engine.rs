//! The table of the kernels that splines take.

use crate::Result;
use crate::engine::kernels::{
    ConjugateValues, Curvature, EnvelopeSpec, EnvelopeValues, Factors, Jets, MaxAffineSpec, MaxAffineValues,
    ProductTable, Pulls, Search, SliceValues, SoftSpec, SoftValues, Step, UnitWords,
};
use crate::engine::{Floor, SplineEngine};

use super::{
    Cpu, CpuBuffer, CpuCodes, CpuConjugate, CpuDescent, CpuEnvelope, CpuGram, CpuSecant, CpuSoftEnvelope,
    CpuTensor, floor, hamming, max_affine, series_product, slice,
};

/// Written out for both types, as [`engine`](super::engine) is.
macro_rules! spline_engine {
    ($S:ident) => {
        impl SplineEngine for Cpu<$S> {
            type Envelope = CpuEnvelope<$S>;
            type SoftEnvelope = CpuSoftEnvelope<$S>;
            type Secant = CpuSecant<$S>;
            type Descent = CpuDescent<$S>;
            type Conjugate = CpuConjugate<$S>;
            type Gram = CpuGram<$S>;

            fn floor(&self) -> Result<Floor> {
                Ok(floor::floor())
            }

            fn envelope(
                &self,
                points: &CpuTensor<$S>,
                outputs: usize,
                center: &[f64],
                spec: &EnvelopeSpec,
            ) -> Result<CpuEnvelope<$S>> {
                Ok(CpuEnvelope::new(points, outputs, center, spec))
            }

            fn envelope_add(
                &self,
                envelope: &mut CpuEnvelope<$S>,
                jets: &Jets<CpuBuffer<$S>>,
                first: usize,
                slots: &[u32],
            ) -> Result<()> {
                envelope.add(jets, first, slots);
                Ok(())
            }

            fn envelope_finish(&self, envelope: CpuEnvelope<$S>) -> Result<EnvelopeValues<$S>> {
                Ok(envelope.finish())
            }

            fn soft_envelope(
                &self,
                points: &CpuTensor<$S>,
                outputs: usize,
                center: &[f64],
                spec: &SoftSpec,
            ) -> Result<CpuSoftEnvelope<$S>> {
                Ok(CpuSoftEnvelope::new(points, outputs, center, spec))
            }

            fn soft_envelope_add(
                &self,
                envelope: &mut CpuSoftEnvelope<$S>,
                jets: &Jets<CpuBuffer<$S>>,
            ) -> Result<()> {
                envelope.add(jets);
                Ok(())
            }

            fn soft_envelope_finish(&self, envelope: CpuSoftEnvelope<$S>) -> Result<SoftValues<$S>> {
                Ok(envelope.finish())
            }

            fn max_affine(
                &self,
                slopes: &CpuTensor<$S>,
                conjugates: &CpuTensor<$S>,
                points: &CpuTensor<$S>,
                spec: &MaxAffineSpec,
            ) -> Result<MaxAffineValues<$S>> {
                Ok(max_affine::max_affine(slopes, conjugates, points, spec))
            }

            fn conjugate(
                &self,
                values: &CpuTensor<$S>,
                axes: &[&[$S]],
                slopes: &[&[$S]],
            ) -> Result<CpuConjugate<$S>> {
                Ok(CpuConjugate::new(values, axes, slopes))
            }

            fn conjugate_values(&self, conjugate: &CpuConjugate<$S>) -> CpuTensor<$S> {
                conjugate.values()
            }

            fn conjugate_finish(&self, conjugate: CpuConjugate<$S>) -> Result<ConjugateValues<$S>> {
                Ok(conjugate.finish())
            }

            fn slice(
                &self,
                planes: &CpuTensor<$S>,
                across: &[$S],
                up: &[$S],
                search: Search,
            ) -> Result<SliceValues<$S>> {
                Ok(slice::slice(planes, across, up, search))
            }

            fn upload_codes(&self, values: &[u32], words: usize) -> Result<CpuCodes> {
                Ok(CpuCodes::of(values, words))
            }

            fn hamming(&self, codes: &CpuCodes, others: &CpuCodes, units: &[UnitWords]) -> Result<CpuCodes> {
                Ok(hamming::hamming(codes, others, units))
            }

            fn gram(&self, rows: usize, columns: usize) -> Result<CpuGram<$S>> {
                Ok(CpuGram::new(rows, columns))
            }

            fn gram_add(
                &self,
                gram: &mut CpuGram<$S>,
                x: (&Factors<CpuBuffer<$S>>, usize),
                y: (&Factors<CpuBuffer<$S>>, usize),
                upper: bool,
            ) -> Result<()> {
                gram.add(x, y, upper);
                Ok(())
            }

            fn gram_finish(&self, gram: CpuGram<$S>) -> Result<Vec<$S>> {
                Ok(gram.finish())
            }

            fn secant(
                &self,
                points: &CpuTensor<$S>,
                values: &CpuTensor<$S>,
                center: &[f64],
            ) -> Result<CpuSecant<$S>> {
                Ok(CpuSecant::new(points, values, center))
            }

            fn secant_add(&self, secant: &mut CpuSecant<$S>, jets: &Jets<CpuBuffer<$S>>) -> Result<()> {
                secant.add(jets);
                Ok(())
            }

            fn secant_finish(&self, secant: CpuSecant<$S>) -> Result<Vec<Curvature>> {
                Ok(secant.finish())
            }

            fn descent(&self, slopes: &[$S], conjugates: &[$S]) -> Result<CpuDescent<$S>> {
                Ok(CpuDescent::new(slopes, conjugates))
            }

            fn descent_active(
                &self,
                descent: &CpuDescent<$S>,
                points: &CpuTensor<$S>,
            ) -> Result<MaxAffineValues<$S>> {
                Ok(descent.active(points))
            }

            fn descend(
                &self,
                descent: &mut CpuDescent<$S>,
                points: &CpuTensor<$S>,
                pulls: &Pulls<$S>,
                step: Step,
            ) -> Result<()> {
                descent.descend(points, pulls, step);
                Ok(())
            }

            fn descent_finish(&self, descent: CpuDescent<$S>) -> Result<[Vec<$S>; 2]> {
                Ok(descent.finish())
            }

            fn series_product(
                &self,
                a: &CpuTensor<$S>,
                b: &CpuTensor<$S>,
                scale: Option<&CpuTensor<$S>>,
                table: &ProductTable,
            ) -> Result<CpuTensor<$S>> {
                Ok(series_product::series_product(a, b, scale, table))
            }
        }
    };
}

spline_engine!(f32);
spline_engine!(f64);
