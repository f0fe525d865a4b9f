//! Which kernels are timed at which shapes, and what each counts.

use crate::engine::{MaxAffineSpec, Search};

/// A kernel at a shape, which halves with every `shift`.
pub(super) struct Case {
    pub name: &'static str,
    pub job: Job,
}

#[derive(Clone, Copy)]
pub(super) enum Job {
    /// `[n, n] x [n, n]`
    Matmul { n: usize },
    /// `n` images `[c, size, size]` to as many channels, 3 x 3.
    Convolution { n: usize, c: usize, size: usize },
    /// Both halves, values and pieces, of `points` over `anchors`.
    Envelope { points: usize, anchors: usize, dimension: usize, outputs: usize, search: Search },
    /// The mean of tangents at one temperature.
    Soft { points: usize, anchors: usize, dimension: usize, outputs: usize },
    /// Of affine pieces at `points`.
    MaxAffine { points: usize, pieces: usize, dimension: usize, spec: MaxAffineSpec },
    /// An image of tangents of a paraboloid, with noise.
    Slice { side: usize, planes: usize },
    /// On a grid of `n` points a side at as many slopes, of a convex function or of one that is not even continuous.
    Conjugate { axes: u32, n: usize, wild: bool },
    /// Of `n` codes with each other, of so many words with 32 units of two pieces.
    Hamming { n: usize, words: usize },
    /// Of all outputs of an MLP 784-256-256-10.
    Jets { samples: usize },
}

pub(super) const CASES: &[Case] = &[
    Case { name: "matmul", job: Job::Matmul { n: 4096 } },
    Case { name: "convolution", job: Job::Convolution { n: 32, c: 64, size: 56 } },
    Case { name: "convolution", job: Job::Convolution { n: 32, c: 256, size: 14 } },
    Case { name: "jets", job: Job::Jets { samples: 1 << 14 } },
    Case {
        name: "envelope",
        job: Job::Envelope {
            points: 1 << 14,
            anchors: 1 << 16,
            dimension: 784,
            outputs: 1,
            search: Search::Exhaustive,
        },
    },
    Case {
        name: "envelope",
        job: Job::Envelope {
            points: 1 << 14,
            anchors: 1 << 16,
            dimension: 784,
            outputs: 10,
            search: Search::Exhaustive,
        },
    },
    Case {
        name: "envelope",
        job: Job::Envelope {
            points: 1 << 16,
            anchors: 1 << 14,
            dimension: 64,
            outputs: 10,
            search: Search::Exhaustive,
        },
    },
    Case {
        name: "envelope",
        job: Job::Envelope {
            points: 1 << 24,
            anchors: 1 << 12,
            dimension: 2,
            outputs: 1,
            search: Search::Pruned,
        },
    },
    Case {
        name: "soft envelope",
        job: Job::Soft { points: 1 << 14, anchors: 1 << 14, dimension: 784, outputs: 10 },
    },
    Case {
        name: "envelope",
        job: Job::Envelope {
            points: 1 << 11,
            anchors: 1 << 13,
            dimension: 784,
            outputs: 10,
            search: Search::Exhaustive,
        },
    },
    Case {
        name: "max-affine",
        job: Job::MaxAffine { points: 1 << 11, pieces: 1 << 13, dimension: 784, spec: EXHAUSTIVE },
    },
    Case {
        name: "max-affine",
        job: Job::MaxAffine { points: 1 << 20, pieces: 1 << 13, dimension: 2, spec: EXHAUSTIVE },
    },
    Case {
        name: "max-affine, values",
        job: Job::MaxAffine { points: 1 << 20, pieces: 1 << 13, dimension: 2, spec: VALUES },
    },
    Case {
        name: "max-affine, pruned",
        job: Job::MaxAffine { points: 1 << 20, pieces: 1 << 13, dimension: 2, spec: PRUNED },
    },
    Case {
        name: "max-affine, best 4",
        job: Job::MaxAffine { points: 1 << 20, pieces: 1 << 13, dimension: 2, spec: BEST },
    },
    Case { name: "slice", job: Job::Slice { side: 4096, planes: 60_000 } },
    Case { name: "conjugate", job: Job::Conjugate { axes: 1, n: 1 << 14, wild: false } },
    Case { name: "conjugate", job: Job::Conjugate { axes: 1, n: 1 << 14, wild: true } },
    Case { name: "conjugate", job: Job::Conjugate { axes: 1, n: 1 << 18, wild: false } },
    Case { name: "conjugate", job: Job::Conjugate { axes: 1, n: 1 << 22, wild: false } },
    Case { name: "conjugate", job: Job::Conjugate { axes: 1, n: 1 << 22, wild: true } },
    Case { name: "conjugate", job: Job::Conjugate { axes: 2, n: 1 << 9, wild: false } },
    Case { name: "conjugate", job: Job::Conjugate { axes: 2, n: 1 << 9, wild: true } },
    Case { name: "conjugate", job: Job::Conjugate { axes: 3, n: 1 << 6, wild: true } },
    Case { name: "hamming", job: Job::Hamming { n: 1 << 12, words: 64 } },
];

const PRUNED: MaxAffineSpec = MaxAffineSpec { top: 1, pieces: true, search: Search::Pruned };
const EXHAUSTIVE: MaxAffineSpec = MaxAffineSpec { search: Search::Exhaustive, ..PRUNED };
const VALUES: MaxAffineSpec = MaxAffineSpec { pieces: false, ..EXHAUSTIVE };
const BEST: MaxAffineSpec = MaxAffineSpec { top: 4, ..EXHAUSTIVE };

/// What a job counts.
pub(super) struct Work {
    pub flops: f64,
    /// Read and written once.
    pub bytes: f64,
    pub pairs: Option<f64>,
}

impl Job {
    pub(super) fn halved(self, shift: u32) -> Option<Self> {
        let half = |n: usize| n >> shift;
        let halved = match self {
            Self::Matmul { n } => Self::Matmul { n: half(n) },
            Self::Convolution { n, c, size } => Self::Convolution { n: half(n), c, size },
            Self::Envelope { points, anchors, dimension, outputs, search } => {
                Self::Envelope { points: half(points), anchors: half(anchors), dimension, outputs, search }
            }
            Self::Soft { points, anchors, dimension, outputs } => {
                Self::Soft { points: half(points), anchors: half(anchors), dimension, outputs }
            }
            Self::MaxAffine { points, pieces, dimension, spec } => {
                Self::MaxAffine { points: half(points), pieces: half(pieces), dimension, spec }
            }
            Self::Slice { side, planes } => Self::Slice { side: half(side), planes: half(planes) },
            Self::Conjugate { axes, n, wild } => Self::Conjugate { axes, n: half(n), wild },
            Self::Hamming { n, words } => Self::Hamming { n: half(n), words },
            Self::Jets { samples } => Self::Jets { samples: half(samples) },
        };
        (halved.work().flops > 0.0).then_some(halved)
    }

    pub(super) fn shape(self) -> String {
        match self {
            Self::Matmul { n } => format!("{n} x {n} x {n}"),
            Self::Convolution { n, c, size } => format!("{n} x {c} x {size} x {size}, 3 x 3"),
            Self::Envelope { points, anchors, dimension, outputs, .. }
            | Self::Soft { points, anchors, dimension, outputs } => {
                format!("N {points}, M {anchors}, D {dimension}, K {outputs}")
            }
            Self::MaxAffine { points, pieces, dimension, .. } => {
                format!("N {points}, M {pieces}, D {dimension}")
            }
            Self::Slice { side, planes } => format!("{side} x {side}, M {planes}"),
            Self::Conjugate { axes, n, wild } => {
                let sides = vec![n.to_string(); axes as usize].join(" x ");
                format!("{sides}, {}", if wild { "wild" } else { "convex" })
            }
            Self::Hamming { n, words } => format!("{n} x {n}, {} units", 32 * words),
            Self::Jets { samples } => format!("{samples} x 784-256-256-10"),
        }
    }

    pub(super) fn work(self) -> Work {
        match self {
            Self::Matmul { n } => {
                let n = n as f64;
                Work { flops: 2.0 * n.powi(3), bytes: 12.0 * n * n, pairs: None }
            }
            Self::Convolution { n, c, size } => {
                let (image, c) = ((n * c * size * size) as f64, c as f64);
                Work { flops: 18.0 * image * c, bytes: 8.0 * image + 36.0 * c * c, pairs: None }
            }
            // Products for each output and one for distances; per pair and output the scores of both halves and their
            // comparisons, 6. In low dimension differences are taken first.
            Self::Envelope { points, anchors, dimension, outputs, .. } => {
                let pairs = points as f64 * anchors as f64;
                let (d, k) = (dimension as f64, outputs as f64);
                let flops = pairs * (2.0 * d * (k + 1.0) + 6.0 * k + if dimension <= 8 { d } else { 0.0 });
                let bytes = 4.0 * (points as f64 * (d + 4.0 * k) + anchors as f64 * (d + k * (d + 1.0)));
                Work { flops, bytes, pairs: Some(pairs * k) }
            }
            // Differences are squared one by one; then a weight, and a mean for each output.
            Self::Soft { points, anchors, dimension, outputs } => {
                let pairs = points as f64 * anchors as f64;
                let (d, k) = (dimension as f64, outputs as f64);
                let bytes = 4.0 * (points as f64 * (d + k) + anchors as f64 * (d + k * (d + 1.0)));
                Work {
                    flops: pairs * (2.0 * d * k + 3.0 * d + 20.0 + 2.0 * k),
                    bytes,
                    pairs: Some(pairs * k),
                }
            }
            Self::MaxAffine { points, pieces, dimension, .. } => {
                let (pairs, d) = (points as f64 * pieces as f64, dimension as f64);
                let bytes = 4.0 * (points as f64 * (d + 2.0) + pieces as f64 * (d + 1.0));
                Work { flops: pairs * (2.0 * d + 1.0), bytes, pairs: Some(pairs) }
            }
            Self::Slice { side, planes } => {
                let (pixels, planes) = ((side * side) as f64, planes as f64);
                let bytes = 8.0 * pixels + 12.0 * planes;
                Work { flops: 5.0 * pixels * planes, bytes, pairs: Some(pixels * planes) }
            }
            // Of each line: an edge for each point (two differences, a quotient, a comparison), and for each slope a
            // comparison and a value.
            Self::Conjugate { axes, n, .. } => {
                let (passes, elements) = (f64::from(axes), (n as f64).powi(axes as i32));
                Work { flops: 7.0 * passes * elements, bytes: 12.0 * passes * elements, pairs: None }
            }
            // Of each word a difference, a count and a sum.
            Self::Hamming { n, words } => {
                let (pairs, words) = ((n * n) as f64, words as f64);
                let bytes = 4.0 * (pairs + 2.0 * n as f64 * words);
                Work { flops: 3.0 * pairs * words, bytes, pairs: Some(pairs) }
            }
            Self::Jets { samples } => {
                let forward = (784 * 256 + 256 * 256 + 256 * 10) as f64 * 2.0;
                let n = samples as f64;
                Work { flops: 11.0 * n * forward, bytes: 4.0 * n * 784.0 * 11.0, pairs: None }
            }
        }
    }
}
