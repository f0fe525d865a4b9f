//! Tensors and kernels: one trait, several places to compute.
//!
//! An [`Engine`] holds tensors and runs kernels on them. Everything above this module (networks, splines and
//! what follows) is written once over the trait. [`Cpu<f32>`](Cpu) is the embedded default,
//! [`Cpu<f64>`](Cpu) computes references and proofs with the same code.
//!
//! Two engines compute with something else than numbers, so that whatever is written over the trait has further
//! meanings for free: [`Dual`] carries a derivative along a direction (a Jacobian computed on it comes with Hessian
//! products), and [`Interval`] carries proved bounds (values and Jacobians computed on it hold over a whole box).
//!
//! Each kernel is one file under [`cpu`]; the files of the same name under [`gpu`] and in `shaders/` are its twins.
//!
//! # Example
//!
//! ```
//! use fenchel::engine::{Cpu, Engine, MaxAffineSpec, SplineEngine};
//!
//! // max(x - 0, -x - 0, 2 x - 3) at four points: two slopes that meet at 0, a third from 3 on.
//! let engine = Cpu::<f64>::new();
//! let slopes = engine.upload(&[1.0, -1.0, 2.0], &[3, 1])?;
//! let conjugates = engine.upload(&[0.0, 0.0, 3.0], &[3])?;
//! let points = engine.upload(&[-2.0, 0.0, 1.0, 4.0], &[4, 1])?;
//! let found = engine.max_affine(&slopes, &conjugates, &points, &MaxAffineSpec::default())?;
//! assert_eq!(found.values, [2.0, 0.0, 1.0, 5.0]);
//! # Ok::<(), fenchel::Error>(())
//! ```

mod axes;
pub mod context;
pub mod cpu;
pub mod device;
mod dual;
pub mod gpu;
mod interval;
pub mod kernels;
pub mod plan;
pub mod tensor;

pub use context::{Cancellation, Context, Progress, Silent};
pub use cpu::Cpu;
pub use device::{Adapter, DeviceChoice};
pub use dual::{Dual, DualBuffer};
pub use gpu::Gpu;
pub use interval::{Interval, IntervalBuffer};
pub use kernels::{
    Activation, Arithmetic, ConjugateValues, Curvature, EnvelopeSpec, EnvelopeValues, Epilogue, Factors,
    Jets, MaxAffineSpec, MaxAffineValues, Packing, ProductTable, Pulls, Search, SliceValues, SoftHalves,
    SoftSpec, SoftValues, Step, UnitWords, Window,
};
pub use tensor::Tensor;

use crate::activation::PiecewiseAffine;
use crate::{Result, Scalar};

/// The tensor type of an engine.
pub type TensorOf<E> = Tensor<<E as Engine>::Buffer>;

/// The integer tensor type of an engine.
pub type IndicesOf<E> = Tensor<<E as Engine>::Indices>;

/// The factors of an engine.
pub type FactorsOf<E> = Factors<<E as Engine>::Buffer>;

/// The jets of an engine.
pub type JetsOf<E> = Jets<<E as Engine>::Buffer>;

/// What a device can do at most, for shares of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Floor {
    /// Floating-point operations in a second, in f32, by a loop of multiply-adds in registers.
    pub flops: f64,
    /// Bytes in a second that a copy reads and writes together.
    pub bytes: f64,
}

/// A place to compute: one method for each kernel.
///
/// Tensors stay where they are between kernels. Shapes below are row-major; `N` is the batch. A kernel's
/// result for one row never depends on the other rows of its batch, to the bit, so that a job gives the same
/// numbers however it is cut into chunks. Kernels trust their callers with shapes (operators infer and check
/// them); what can fail on a device, fails as an [`Error`](crate::Error).
pub trait Engine: Clone + Send + Sync + 'static {
    /// The floating-point type of its tensors.
    type Scalar: Scalar;
    /// Holds the elements of a tensor; reference-counted.
    type Buffer: Clone + Send + Sync + 'static;
    /// Holds `u32` elements; reference-counted.
    type Indices: Clone + Send + Sync + 'static;
    /// A tensor on its way back.
    type Request: Send;
    /// The right operand of a product, laid out for it once.
    type Matrix: Send + Sync + 'static;
    /// The filters of a convolution, laid out for it once.
    type Filters: Send + Sync + 'static;
    /// Packed codes in the making: rows of 32-bit words.
    type Codes: Send;
    /// Packed codes on their way back.
    type CodesRequest: Send;
    /// What computes, for people: `"CPU, 2 threads, f32"`.
    fn describe(&self) -> String;

    /// How many rows of work run at once (threads here, workgroups elsewhere): the planner multiplies the
    /// scratch of one by it.
    fn parallelism(&self) -> usize;

    /// Bytes of a tensor at most: plans make pieces so that none is larger.
    fn largest_tensor(&self) -> u64 {
        u64::MAX
    }

    /// Waits until everything that was asked for is done.
    fn synchronize(&self) -> Result<()> {
        Ok(())
    }

    /// Copies host values to the device.
    fn upload(&self, values: &[Self::Scalar], shape: &[usize]) -> Result<TensorOf<Self>>;

    /// Copies a tensor back. Errors of earlier kernels may surface here.
    fn download(&self, tensor: &TensorOf<Self>) -> Result<Vec<Self::Scalar>> {
        self.receive(self.request(tensor)?)
    }

    /// Begins to copy a tensor back, while other work is prepared.
    fn request(&self, tensor: &TensorOf<Self>) -> Result<Self::Request>;

    /// Waits for a tensor that was requested. Errors of kernels before it may surface here.
    fn receive(&self, request: Self::Request) -> Result<Vec<Self::Scalar>>;

    /// Pieces of a job that should be under way at once, so that the device never waits for the host; plans share the
    /// memory among them.
    fn in_flight(&self) -> usize {
        1
    }

    /// Lays out a matrix `[k, n]` as the right operand of [`matmul`](Self::matmul).
    fn matrix(&self, values: &[Self::Scalar], k: usize, n: usize) -> Result<Self::Matrix>;

    /// `(x * gate) @ matrix` over the last axis, `[N * r, .., k] -> [N * r, .., n]`, and the epilogue.
    ///
    /// The gate `[N, .., k]` holds one factor for each element of a sample, the same for its `r` directions (the
    /// slopes of an activation, when cotangents go back through it); what it shuts off (factor 0) need not be
    /// multiplied.
    fn matmul(
        &self,
        x: &TensorOf<Self>,
        gate: Option<&TensorOf<Self>>,
        matrix: &Self::Matrix,
        epilogue: Epilogue<'_, Self::Buffer>,
    ) -> Result<TensorOf<Self>>;

    /// Products of matrices in the last two axes, `[B.., m, k] @ [B.., k, n] -> [B.., m, n]`. Both have equally many
    /// axes, and those before the last two broadcast; `transposed` says which operands lie transposed
    /// (`[B.., k, m]`, `[B.., n, k]`).
    fn multiply(
        &self,
        a: &TensorOf<Self>,
        b: &TensorOf<Self>,
        transposed: [bool; 2],
    ) -> Result<TensorOf<Self>>;

    /// Lays out convolution filters `[c_out, c_in / groups, kernel_h, kernel_w]`.
    fn filters(
        &self,
        values: &[Self::Scalar],
        shape: [usize; 4],
        window: Window,
        groups: usize,
    ) -> Result<Self::Filters>;

    /// Convolution (cross-correlation) `[N, c_in, h, w] -> [N, c_out, h', w']`, and the epilogue.
    fn convolve(
        &self,
        x: &TensorOf<Self>,
        filters: &Self::Filters,
        epilogue: Epilogue<'_, Self::Buffer>,
    ) -> Result<TensorOf<Self>>;

    /// The transpose of [`convolve`](Self::convolve), `[N * r, c_out, h', w'] -> [N * r, c_in, h, w]` with `[h, w]`
    /// given, of `y * gate`, and the epilogue. The gate `[N, c_out, h', w']` is the same for the `r` directions of
    /// a sample, as in [`matmul`](Self::matmul).
    fn convolve_transposed(
        &self,
        y: &TensorOf<Self>,
        gate: Option<&TensorOf<Self>>,
        filters: &Self::Filters,
        size: [usize; 2],
        epilogue: Epilogue<'_, Self::Buffer>,
    ) -> Result<TensorOf<Self>>;

    /// Largest value in each window of `[N, c, h, w]`, and its flat position within `h * w` (the first in
    /// row-major order where several are largest).
    fn max_pool(&self, x: &TensorOf<Self>, window: Window) -> Result<(TensorOf<Self>, IndicesOf<Self>)>;

    /// Picks the elements that [`max_pool`](Self::max_pool) picked out of tangents `[N * r, c, h, w]`.
    fn max_pool_gather(&self, tangents: &TensorOf<Self>, picked: &IndicesOf<Self>) -> Result<TensorOf<Self>>;

    /// The transpose of [`max_pool_gather`](Self::max_pool_gather): cotangents `[N * r, c, h', w']` added into
    /// zeros `[N * r, c, h, w]`.
    fn max_pool_scatter(
        &self,
        cotangents: &TensorOf<Self>,
        picked: &IndicesOf<Self>,
        size: [usize; 2],
    ) -> Result<TensorOf<Self>>;

    /// Mean of each window of `[N, c, h, w]`; of its elements in the padding, those within `counted` (top, left,
    /// bottom, right; at most the window's) count towards the divisor.
    fn average_pool(&self, x: &TensorOf<Self>, window: Window, counted: [usize; 4])
    -> Result<TensorOf<Self>>;

    /// The transpose of [`average_pool`](Self::average_pool).
    fn average_pool_transposed(
        &self,
        y: &TensorOf<Self>,
        window: Window,
        counted: [usize; 4],
        size: [usize; 2],
    ) -> Result<TensorOf<Self>>;

    /// The `order`-th derivative (0: the value, 1, 2) of an activation at each element.
    fn activate(&self, activation: Activation, order: u8, x: &TensorOf<Self>) -> Result<TensorOf<Self>>;

    /// A piecewise affine function of each element (order 0), its slope (1; at a knot that of the side below) or its
    /// second derivative (2), which is 0 within a piece.
    fn piecewise(&self, function: &PiecewiseAffine, order: u8, x: &TensorOf<Self>) -> Result<TensorOf<Self>>;

    /// Elementwise arithmetic with broadcasting of equally many axes (each pair of lengths equal, or one of
    /// them 1).
    fn arithmetic(
        &self,
        operation: Arithmetic,
        a: &TensorOf<Self>,
        b: &TensorOf<Self>,
    ) -> Result<TensorOf<Self>>;

    /// Sum over `axes` (ascending), which stay with length 1; in an order that depends on their lengths alone.
    fn sum(&self, x: &TensorOf<Self>, axes: &[usize]) -> Result<TensorOf<Self>>;

    /// `exp(x) / sum of exp(x)` along an axis, or the logarithm of it; without overflow.
    fn softmax(&self, x: &TensorOf<Self>, axis: usize, log: bool) -> Result<TensorOf<Self>>;

    /// The elements of an axis that have these indices, in their order; an index may be there often.
    fn select(&self, x: &TensorOf<Self>, axis: usize, indices: &[u32]) -> Result<TensorOf<Self>>;

    /// The transpose of [`select`](Self::select): elements added, in order, into zeros of `length` along the axis.
    fn select_transposed(
        &self,
        y: &TensorOf<Self>,
        axis: usize,
        indices: &[u32],
        length: usize,
    ) -> Result<TensorOf<Self>>;

    /// Axis `i` of the result is axis `order[i]` of `x`.
    fn permute(&self, x: &TensorOf<Self>, order: &[usize]) -> Result<TensorOf<Self>>;

    /// `before[i]` and `after[i]` elements of `value` added at the ends of axis `i`; negative numbers cut.
    fn pad(
        &self,
        x: &TensorOf<Self>,
        before: &[isize],
        after: &[isize],
        value: Self::Scalar,
    ) -> Result<TensorOf<Self>>;

    /// Joins tensors along an axis.
    fn concat(&self, parts: &[&TensorOf<Self>], axis: usize) -> Result<TensorOf<Self>>;

    /// Begins packed codes `[rows, words]`, every word of which is to be written by what follows.
    fn codes(&self, rows: usize, words: usize) -> Result<Self::Codes>;

    /// Packs, for each element of `x [rows, ..]`, how many of `knots` (ascending) lie strictly below it.
    fn code_values(
        &self,
        codes: &mut Self::Codes,
        x: &TensorOf<Self>,
        knots: &[f64],
        packing: Packing,
    ) -> Result<()>;

    /// Packs, for each maximum that [`max_pool`](Self::max_pool) found with `window` in images of `size`, which element
    /// of its window it is, in row-major order; elements in the padding count.
    fn code_picks(
        &self,
        codes: &mut Self::Codes,
        picked: &IndicesOf<Self>,
        window: Window,
        size: [usize; 2],
        packing: Packing,
    ) -> Result<()>;

    /// Begins to copy packed codes back.
    fn request_codes(&self, codes: Self::Codes) -> Result<Self::CodesRequest>;

    /// Waits for packed codes that were requested, row by row.
    fn receive_codes(&self, request: Self::CodesRequest) -> Result<Vec<u32>>;
}

/// An engine that computes splines too: envelopes of affine pieces, hard and soft, curvatures over pairs of points,
/// maxima of given ones; what else is between all pairs of rows; and products of power series.
pub trait SplineEngine: Engine {
    /// An envelope in the making.
    type Envelope: Send;
    /// A soft envelope in the making.
    type SoftEnvelope: Send;
    /// A secant curvature in the making.
    type Secant: Send;
    /// Affine pieces that are being fitted.
    type Descent: Send;
    /// A discrete conjugate with its maximisers.
    type Conjugate: Send;
    /// A Gram matrix in the making.
    type Gram: Send;

    /// What the device can do at most, measured.
    fn floor(&self) -> Result<Floor>;

    /// Bytes that each of these kernels takes beside points, jets and results.
    fn spline_scratch(&self) -> u64 {
        0
    }

    /// Begins envelopes at `points [N, D]` of a network with `outputs` values; `center [D]` is subtracted from
    /// points and anchors alike before anything is multiplied (design: expanded distances lose digits in
    /// proportion to `|x|^2 / d^2`).
    fn envelope(
        &self,
        points: &TensorOf<Self>,
        outputs: usize,
        center: &[f64],
        spec: &EnvelopeSpec,
    ) -> Result<Self::Envelope>;

    /// Takes the pieces of `jets` (anchors `first..first + M`) into envelopes. `slots [families, M]` says which
    /// slot of each family an anchor feeds; `u32::MAX` means none. Ties go to the lowest index if anchors come
    /// in ascending order.
    fn envelope_add(
        &self,
        envelope: &mut Self::Envelope,
        jets: &JetsOf<Self>,
        first: usize,
        slots: &[u32],
    ) -> Result<()>;

    /// Reads finished envelopes back.
    fn envelope_finish(&self, envelope: Self::Envelope) -> Result<EnvelopeValues<Self::Scalar>>;

    /// Begins soft envelopes at `points [N, D]` of a network with `outputs` values; [`SoftSpec`] says what they are
    /// and how accurate. `center [D]` is subtracted from points and anchors before slopes are multiplied with them.
    fn soft_envelope(
        &self,
        points: &TensorOf<Self>,
        outputs: usize,
        center: &[f64],
        spec: &SoftSpec,
    ) -> Result<Self::SoftEnvelope>;

    /// Takes the pieces of `jets` into soft envelopes. Anchors may come in any number of blocks: how they are cut
    /// changes the result by rounding alone.
    fn soft_envelope_add(&self, envelope: &mut Self::SoftEnvelope, jets: &JetsOf<Self>) -> Result<()>;

    /// Reads finished soft envelopes back.
    fn soft_envelope_finish(&self, envelope: Self::SoftEnvelope) -> Result<SoftValues<Self::Scalar>>;

    /// The largest of affine pieces with `slopes [M, D]` and `conjugates [M]` at `points [N, D]`:
    /// `max_i (p_i . x_n - c_i)`. Of equal scores the lowest `i` wins. A piece whose conjugate is `S::MAX` (or infinite,
    /// on the CPU) is not there.
    ///
    /// Scores are compared as they round, and those of the winners are computed anew (in `f64` on the CPU) where pieces
    /// are wanted. Nothing of size `N M` is held.
    ///
    /// With points `x_i` as slopes and a function's values as conjugates this is the discrete conjugate
    /// `f*(s_n) = max_i (s_n . x_i - f_i)` on sets of points; on grids [`conjugate`](Self::conjugate) is faster.
    fn max_affine(
        &self,
        slopes: &TensorOf<Self>,
        conjugates: &TensorOf<Self>,
        points: &TensorOf<Self>,
        spec: &MaxAffineSpec,
    ) -> Result<MaxAffineValues<Self::Scalar>>;

    /// The discrete Legendre-Fenchel conjugate `f*(s) = max_x (s . x - f(x))` of `values` on the grid of `axes`, at the
    /// grid of `slopes`, one axis after the other. Both are as many as the values have axes, ascending and finite; axis
    /// `i` has `axes[i].len()` elements. A value of `S::MAX` (or infinite, on the CPU) is outside the domain.
    ///
    /// Of equal maxima the one with the lowest index on the last axis wins, then on the one before.
    fn conjugate(
        &self,
        values: &TensorOf<Self>,
        axes: &[&[Self::Scalar]],
        slopes: &[&[Self::Scalar]],
    ) -> Result<Self::Conjugate>;

    /// The values of a conjugate, with the axes of the slopes, `-S::MAX` where the domain is empty: a function for another
    /// conjugate.
    fn conjugate_values(&self, conjugate: &Self::Conjugate) -> TensorOf<Self>;

    /// Reads a conjugate back.
    fn conjugate_finish(&self, conjugate: Self::Conjugate) -> Result<ConjugateValues<Self::Scalar>>;

    /// The largest of `planes [M, 3]`, `p_i s + q_i t + r_i`, at the pixels of an image whose columns have the
    /// coordinates `across [W]` (`s`) and whose rows `up [H]` (`t`), either ascending or descending. Of equal scores the
    /// lowest `i` wins. Tiles of pixels keep the planes that can win in them.
    fn slice(
        &self,
        planes: &TensorOf<Self>,
        across: &[Self::Scalar],
        up: &[Self::Scalar],
        search: Search,
    ) -> Result<SliceValues<Self::Scalar>>;

    /// Copies packed codes `[rows, words]` to the engine.
    fn upload_codes(&self, values: &[u32], words: usize) -> Result<Self::Codes>;

    /// In how many units each row of codes differs from each of `others`, which has as many words: `[rows, others]`, read
    /// back as codes are. Units are those of `units`, whose words count.
    fn hamming(&self, codes: &Self::Codes, others: &Self::Codes, units: &[UnitWords]) -> Result<Self::Codes>;

    /// Begins a Gram matrix `[rows, columns]`, of zeros.
    fn gram(&self, rows: usize, columns: usize) -> Result<Self::Gram>;

    /// Adds the inner products of all rows of `x` and `y`, each with the row or column of the matrix that its own first
    /// one has. With `upper`, tiles wholly below the diagonal of these products may be left out.
    fn gram_add(
        &self,
        gram: &mut Self::Gram,
        x: (&FactorsOf<Self>, usize),
        y: (&FactorsOf<Self>, usize),
        upper: bool,
    ) -> Result<()>;

    /// Reads a Gram matrix back.
    fn gram_finish(&self, gram: Self::Gram) -> Result<Vec<Self::Scalar>>;

    /// Begins a secant curvature at `points [N, D]` where the network has `values [N, K]`.
    fn secant(
        &self,
        points: &TensorOf<Self>,
        values: &TensorOf<Self>,
        center: &[f64],
    ) -> Result<Self::Secant>;

    /// Takes the pairs of every point and every anchor of `jets` into account.
    fn secant_add(&self, secant: &mut Self::Secant, jets: &JetsOf<Self>) -> Result<()>;

    /// For each output the smallest `(a, b)` for which `T_i - (a/2) d^2 <= g <= T_i + (b/2) d^2` over all pairs
    /// of distinct points (never below 0).
    fn secant_finish(&self, secant: Self::Secant) -> Result<Vec<Curvature>>;

    /// Begins to fit affine pieces, from `slopes [M, D]` and `conjugates [M]` on.
    fn descent(&self, slopes: &[Self::Scalar], conjugates: &[Self::Scalar]) -> Result<Self::Descent>;

    /// The largest piece at each of `points [N, D]` and which it is, as [`max_affine`](Self::max_affine).
    fn descent_active(
        &self,
        descent: &Self::Descent,
        points: &TensorOf<Self>,
    ) -> Result<MaxAffineValues<Self::Scalar>>;

    /// Moves the pieces that points pull at, each by a step of its own: the derivative of the loss with respect to
    /// `p_i` is the sum of the points times their derivatives, with respect to `c_i` the negative sum of these.
    fn descend(
        &self,
        descent: &mut Self::Descent,
        points: &TensorOf<Self>,
        pulls: &Pulls<Self::Scalar>,
        step: Step,
    ) -> Result<()>;

    /// Reads the pieces back: slopes `[M, D]` and conjugates `[M]`.
    fn descent_finish(&self, descent: Self::Descent) -> Result<[Vec<Self::Scalar>; 2]>;

    /// Terms of products of truncated power series `a [.., units]` and `b [.., units]`, one term a row and each unit
    /// for itself: `y[t] = scale a[t] + sum of a[i] b[j]` over the pairs `(i, j)` that `table` has for `t`, `[terms,
    /// units]`. `scale [1, units]` is for the terms that `a` has; without it there is the sum alone.
    fn series_product(
        &self,
        a: &TensorOf<Self>,
        b: &TensorOf<Self>,
        scale: Option<&TensorOf<Self>>,
        table: &ProductTable,
    ) -> Result<TensorOf<Self>>;
}
