//! How alike the templates of different outputs are (Balestriero & Baraniuk 2018, section 5).

use ndarray::{Array2, ArrayView2, Axis};

/// `<A_c, A_c'>` for templates `[K, D]`: `[K, K]`.
pub fn gram(templates: ArrayView2<'_, f64>) -> Array2<f64> {
    templates.dot(&templates.t())
}

/// The cosines of the angles between templates, from their [`gram`] matrix: `[K, K]`, 0 where a template is 0.
pub fn correlation(gram: &Array2<f64>) -> Array2<f64> {
    let norms: Vec<f64> = gram.diag().iter().map(|square| square.sqrt()).collect();
    let mut correlation = gram.clone();
    for ((i, j), value) in correlation.indexed_iter_mut() {
        let product = norms[i] * norms[j];
        *value = if product > 0.0 { (*value / product).clamp(-1.0, 1.0) } else { 0.0 };
    }
    correlation
}

/// `sum over c != c' of <A_c, A_c'>^2`, from the [`gram`] matrix; both orders of a pair count.
pub fn penalty(gram: &Array2<f64>) -> f64 {
    let apart = gram.indexed_iter().filter(|((i, j), _)| i != j);
    apart.map(|(_, product)| product * product).sum()
}

/// The penalty's form for the last layer alone, of weights `W` `[K, D]` (a row for each output), and its gradient:
/// `sum over c != c' of <W_c, W_c'>^2` and `4 sum over c' != c of <W_c, W_c'> W_c'`.
pub fn last_layer_penalty(weights: ArrayView2<'_, f64>) -> (f64, Array2<f64>) {
    let mut gram = gram(weights);
    let value = penalty(&gram);
    gram.diag_mut().fill(0.0);
    (value, 4.0 * gram.dot(&weights))
}

/// Means over inputs of what their templates have in common.
#[derive(Debug, Clone, PartialEq)]
pub struct Orthogonality {
    samples: usize,
    penalty: f64,
    correlation: Array2<f64>,
}

impl Orthogonality {
    /// Of so many outputs, at no input yet.
    pub fn new(outputs: usize) -> Self {
        Self { samples: 0, penalty: 0.0, correlation: Array2::zeros([outputs; 2]) }
    }

    /// Takes an input with templates `[K, D]` into account; returns its correlations `[K, K]`.
    pub fn add(&mut self, templates: ArrayView2<'_, f64>) -> Array2<f64> {
        let gram = gram(templates);
        let correlation = correlation(&gram);
        self.samples += 1;
        self.penalty += penalty(&gram);
        self.correlation += &correlation;
        correlation
    }

    /// The mean of the penalty over inputs.
    pub fn penalty(&self) -> f64 {
        self.penalty / self.samples.max(1) as f64
    }

    /// The mean correlations `[K, K]`.
    pub fn correlation(&self) -> Array2<f64> {
        &self.correlation / self.samples.max(1) as f64
    }

    /// The mean over pairs of different outputs of the size of their mean correlation.
    pub fn mean_correlation(&self) -> f64 {
        let outputs = self.correlation.len_of(Axis(0));
        let apart =
            self.correlation().indexed_iter().filter(|((i, j), _)| i != j).map(|(_, c)| c.abs()).sum::<f64>();
        apart / (outputs * outputs.saturating_sub(1)).max(1) as f64
    }
}
