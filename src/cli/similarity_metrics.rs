//! What `fenchel similarity` finds in each metric: the matrix, gaps, classes, neighbours and contributions of layers.

use std::time::Instant;

use ndarray::Array2;
use serde_json::{Value, json};

use crate::data::{NpzEntry, NpzWriter, OutputFile};
use crate::engine::{Context, SplineEngine};
use crate::network::Network;
use crate::render::sheet::Nearest;
use crate::similarity::{
    self, Extent, Gap, Gradients, Mask, Metric, Ridge, Road, SignRatios, Similarity, Votes, Weights, accuracy,
};
use crate::{Error, Result, Scalar};

use super::similarity::{Arguments, Rows, Sets};

/// Values to choose from where there are rows to choose on.
const NEIGHBOURS: [usize; 5] = [1, 3, 5, 10, 20];
const PENALTIES: [f64; 6] = [1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0];

/// All that every metric needs.
pub(super) struct Comparing<'a, E: SplineEngine> {
    pub arguments: &'a Arguments,
    pub network: &'a Network,
    pub gradients: &'a Gradients<E>,
    pub sets: &'a Sets,
    pub context: &'a Context,
}

/// What was found in a metric.
pub(super) struct Found {
    metric: Metric,
    mean: f64,
    gaps: Option<[Gap; 2]>,
    pub threshold: Option<f64>,
    kept: Option<usize>,
    neighbours: Option<(usize, f64)>,
    ridge: Option<(f64, f64)>,
    pub nearest: Vec<Nearest>,
    seconds: f64,
    seconds_of_matrix: f64,
}

impl Found {
    pub(super) fn document(&self) -> Value {
        let gap = |gap: &Gap| json!({"within": gap.within(), "across": gap.across(), "gap": gap.gap()});
        json!({
            "metric": self.metric.name(),
            "mean": self.mean,
            "gap": self.gaps.as_ref().map(|[plain, _]| gap(plain)),
            "cosine_gap": self.gaps.as_ref().map(|[_, cosine]| gap(cosine)),
            "threshold": self.threshold,
            "kept": self.kept,
            "neighbours": self.neighbours.map(|(k, _)| k),
            "neighbours_accuracy": self.neighbours.map(|(_, accuracy)| accuracy),
            "ridge": self.ridge.map(|(penalty, _)| penalty),
            "ridge_accuracy": self.ridge.map(|(_, accuracy)| accuracy),
            "nearest": self.nearest.iter().map(|near| {
                let (rows, similarities): (Vec<usize>, Vec<f64>) = near.neighbours.iter().copied().unzip();
                json!({"row": near.row, "rows": rows, "similarities": similarities})
            }).collect::<Vec<_>>(),
            "seconds": self.seconds,
            "seconds_of_matrix": self.seconds_of_matrix,
        })
    }

    pub(super) fn text(&self) -> String {
        let mut text = format!("{}: mean {:.4e}", self.metric.name(), self.mean);
        if let (Some(threshold), Some(kept)) = (self.threshold, self.kept) {
            text += &format!(", {kept} coordinates kept from {threshold} on");
        }
        if let Some([plain, cosine]) = &self.gaps
            && let (Some(plain), Some(cosine)) = (plain.gap(), cosine.gap())
        {
            text += &format!(", gap {plain:.4e} ({cosine:.4} by cosine)");
        }
        if let Some((k, accuracy)) = self.neighbours {
            text += &format!(", {k} neighbours {accuracy:.4}");
        }
        if let Some((penalty, accuracy)) = self.ridge {
            text += &format!(", ridge {accuracy:.4} (penalty {penalty})");
        }
        text + &format!(", {:.2} s\n", self.seconds)
    }
}

/// The extents of rows and of what they are compared with, where gradients are normalised.
type Normal = Option<(Vec<Extent>, Option<Vec<Extent>>)>;

impl<E: SplineEngine> Comparing<'_, E> {
    /// How each layer's products are made in the first metric.
    pub(super) fn roads(&self) -> Vec<&'static str> {
        let metric = self.arguments.metric[0].metric();
        if metric.is_projected() {
            return vec!["projections"; self.gradients.layers().len()];
        }
        let weights = if metric == Metric::Plain { Weights::None } else { Weights::Parameters };
        let (n, m) = (self.sets.rows.data.len(), self.sets.others().data.len());
        let similarity = Similarity::new(self.gradients, metric, weights);
        let roads = match &self.sets.columns {
            Some(_) => similarity.roads(n + m, n as u64 * m as u64),
            None => similarity.roads(n, n as u64 * n as u64 / 2),
        };
        let name = |road: &Road| if *road == Road::Products { "products" } else { "gradient" };
        roads.iter().map(name).collect()
    }

    /// Everything in one metric; `write` takes the rows of the matrix, in order.
    pub(super) fn metric(
        &self,
        metric: Metric,
        shown: &[usize],
        mut write: impl FnMut(&[E::Scalar]) -> Result<()>,
    ) -> Result<Found> {
        let start = Instant::now();
        let (rows, others, context) = (&self.sets.rows, self.sets.others(), self.context);
        let columns = self.sets.columns.as_ref();
        let chosen = if metric == Metric::Sparse { Some(self.mask(None)?) } else { None };
        let (threshold, mask) = chosen.map_or((None, None), |(t, mask)| (Some(t), Some(mask)));
        let weights = Weights::of(metric, mask.as_ref())?;
        let similarity = Similarity::new(self.gradients, metric, weights);
        let normal = self.normal(metric, weights, rows, columns)?;
        let extents = pair(&normal);

        let labels = [rows.labels.as_deref(), others.labels.as_deref()];
        let both = if let [Some(a), Some(b)] = labels { Some([a, b]) } else { None };
        let needs_selves = both.is_some() || !shown.is_empty();
        let selves = if needs_selves {
            let own = similarity.selves(&rows.data, extents.map(|(x, _)| x), context)?;
            let others =
                columns.map(|columns| similarity.selves(&columns.data, extents.map(|(_, y)| y), context));
            Some((own, others.transpose()?))
        } else {
            None
        };
        let selves = selves.as_ref().map(|(own, others)| [&own[..], others.as_ref().unwrap_or(own)]);

        let m = others.data.len();
        let mut gaps = both.map(|_| [Gap::default(); 2]);
        let (mut sum, mut count) = (0.0, 0_u64);
        let mut nearest: Vec<Nearest> = vec![];
        let classify = self.arguments.classify;
        let bytes = (rows.data.len() * m * size_of::<f64>()) as u64;
        let inside =
            if classify { self.left(bytes, "similarities to classify by")? } else { context.clone() };
        let mut whole = classify.then(|| Array2::<f64>::zeros((rows.data.len(), m)));
        let matrix = Instant::now();
        similarity.matrix(&rows.data, columns.map(|c| &c.data), extents, &inside, |range, values| {
            sum += values.iter().map(|v| v.f64()).sum::<f64>();
            count += values.len() as u64;
            if let (Some([plain, cosine]), Some(both)) = (&mut gaps, both) {
                plain.add(range.clone(), values, both, columns.is_none(), None);
                cosine.add(range.clone(), values, both, columns.is_none(), selves);
            }
            for &row in shown.iter().filter(|&&row| range.contains(&row)) {
                let of_row = &values[(row - range.start) * m..][..m];
                let count = self.arguments.nearest.unwrap_or(5);
                let own = selves.map(|[own, others]| (own[row], others));
                let without = columns.is_none().then_some(row);
                let neighbours = similarity::nearest(of_row, own, count, without);
                nearest.push(Nearest { row, neighbours });
            }
            if let Some(whole) = &mut whole {
                let mut to = whole.slice_mut(ndarray::s![range, ..]);
                to.iter_mut().zip(values).for_each(|(to, value)| *to = value.f64());
            }
            write(values)
        })?;
        let seconds_of_matrix = matrix.elapsed().as_secs_f64();
        nearest.sort_by_key(|near| shown.iter().position(|&row| row == near.row));
        let (mut neighbours, mut ridge) = (None, None);
        if let (Some(whole), Some(columns)) = (whole, columns) {
            let Some([of_rows, of_columns]) = both else {
                let flag = if self.arguments.against.is_some() { "--against-labels" } else { "--labels" };
                return Err(Error::Argument(format!("--classify needs the classes to classify by: {flag}")));
            };
            let classifying = Classifying { similarity: &similarity, columns, labels: of_columns, metric };
            let judged = self.classify(&classifying, weights, &whole, selves, of_rows)?;
            (neighbours, ridge) = (Some(judged.0), Some(judged.1));
        }
        Ok(Found {
            metric,
            mean: sum / count.max(1) as f64,
            gaps,
            threshold,
            kept: mask.map(|mask| mask.kept().iter().sum()),
            neighbours,
            ridge,
            nearest,
            seconds: start.elapsed().as_secs_f64(),
            seconds_of_matrix,
        })
    }

    /// The context with what is left of the memory beside `bytes`.
    fn left(&self, bytes: u64, what: &str) -> Result<Context> {
        let budget = self.context.memory();
        if bytes > budget / 2 {
            return Err(Error::Memory { what: what.to_owned(), needed: 2 * bytes, budget });
        }
        Ok(self.context.clone().with_memory(budget - bytes))
    }

    fn normal(
        &self,
        metric: Metric,
        weights: Weights<'_>,
        rows: &Rows,
        columns: Option<&Rows>,
    ) -> Result<Normal> {
        if !self.arguments.normalize {
            return Ok(None);
        }
        let of = |rows: &Rows| similarity::extents(self.gradients, metric, weights, &rows.data, self.context);
        Ok(Some((of(rows)?, columns.map(of).transpose()?)))
    }

    /// The threshold and the coordinates that the sparse metric keeps: given, or of several thresholds that of the largest
    /// gap by cosine on the rows for choices.
    fn mask(&self, given: Option<f64>) -> Result<(f64, Mask)> {
        let others = self.sets.others();
        let Some(labels) = &others.labels else {
            let flag = match self.arguments.against {
                Some(_) => "--against-labels",
                None => "--labels",
            };
            return Err(Error::Argument(format!("the sparse metric needs the classes of rows: {flag}")));
        };
        let ratios = SignRatios::new(self.gradients, &others.data, labels, self.context)?;
        let thresholds = given.map_or(self.arguments.threshold.clone(), |given| vec![given]);
        let (Some(validation), true) = (&self.sets.validation, thresholds.len() > 1) else {
            return Ok((thresholds[0], ratios.mask(thresholds[0])?));
        };
        let Some(labels) = &validation.labels else {
            return Err(Error::Argument("--validation needs the classes of its rows".to_owned()));
        };
        let mut best: Option<(f64, f64, Mask)> = None;
        for &threshold in &thresholds {
            // What keeps nothing cannot be chosen.
            let Ok(mask) = ratios.mask(threshold) else { continue };
            let similarity = Similarity::new(self.gradients, Metric::Sparse, Weights::Mask(&mask));
            let selves = similarity.selves(&validation.data, None, self.context)?;
            let mut gap = Gap::default();
            similarity.matrix(&validation.data, None, None, self.context, |range, values| {
                gap.add(range, values, [labels, labels], true, Some([&selves, &selves]));
                Ok(())
            })?;
            let Some(gap) = gap.gap() else {
                return Err(Error::Argument(
                    "--validation needs two rows of one class and rows of two".to_owned(),
                ));
            };
            if best.as_ref().is_none_or(|(most, ..)| gap > *most) {
                best = Some((gap, threshold, mask));
            }
        }
        match best {
            Some((_, threshold, mask)) => Ok((threshold, mask)),
            None => ratios.mask(thresholds[0]).map(|mask| (thresholds[0], mask)),
        }
    }

    /// Numbers of neighbours and ridge penalties with their accuracies on the rows, chosen where there is a choice.
    fn classify(
        &self,
        by: &Classifying<'_, E>,
        weights: Weights<'_>,
        whole: &Array2<f64>,
        selves: Option<[&[f64]; 2]>,
        labels: &[u32],
    ) -> Result<((usize, f64), (f64, f64))> {
        let columns = by.columns.data.len();
        let validation = self.sets.validation.as_ref();
        let of_choice = match validation {
            Some(Rows { data, labels: Some(labels) }) => Some((data, labels)),
            Some(_) => return Err(Error::Argument("--validation needs the classes of its rows".to_owned())),
            None => None,
        };
        let defaults = |all: &[usize], one| if of_choice.is_some() { all.to_vec() } else { vec![one] };
        let mut counts = self.arguments.neighbours.clone().unwrap_or_else(|| defaults(&NEIGHBOURS, 5));
        if self.arguments.neighbours.is_none() {
            counts.iter_mut().for_each(|k| *k = columns.min(*k));
        }
        if let Some(k) = counts.iter().find(|&&k| k > columns) {
            return Err(Error::Argument(format!("{k} neighbours: expected 1 to {columns}")));
        }
        let penalties = match (&self.arguments.ridge, of_choice) {
            (Some(given), _) => given.clone(),
            (None, Some(_)) => PENALTIES.to_vec(),
            (None, None) => vec![1e-3],
        };
        let extents = self.normal(by.metric, weights, by.columns, None)?;
        let normal = pair(&extents);
        let held = (whole.len() * size_of::<f64>() + columns * columns * size_of::<f64>()) as u64;
        let context = self.left(held, "kernel ridge regression")?;
        let gram = by.similarity.whole(&by.columns.data, None, normal, &context)?;
        let votes = |similarities: &Array2<f64>, selves: Option<[&[f64]; 2]>| {
            let most = counts.iter().max().copied().unwrap_or(1);
            let mut votes = Votes::default();
            for (i, row) in similarities.rows().into_iter().enumerate() {
                let own = selves.map(|[own, others]| (own[i], others));
                let row = row.to_vec();
                votes.add(&similarity::nearest(&row, own, most, None), by.labels);
            }
            votes
        };
        let (mut k, mut penalty) = (counts[0], penalties[0]);
        if let Some((data, of_choice)) = of_choice {
            let of_columns: Option<&[Extent]> = normal.map(|(x, _)| x);
            let own = match of_columns {
                Some(_) => Some(similarity::extents(self.gradients, by.metric, weights, data, &context)?),
                None => None,
            };
            let normal = own.as_deref().zip(of_columns);
            let similarities = by.similarity.whole(data, Some(&by.columns.data), normal, &context)?;
            let own = by.similarity.selves(data, own.as_deref(), &context)?;
            let votes = votes(&similarities, selves.map(|[_, others]| [&own[..], others]));
            k = best(&counts, |&k| Some(accuracy(&votes.classes(k), of_choice))).unwrap_or(k);
            penalty = best(&penalties, |&penalty| {
                let ridge = Ridge::new(gram.view(), by.labels, penalty).ok()?;
                Some(accuracy(&ridge.classes(similarities.view()), of_choice))
            })
            .unwrap_or(penalty);
        }
        let of_neighbours = accuracy(&votes(whole, selves).classes(k), labels);
        let ridge = Ridge::new(gram.view(), by.labels, penalty)?;
        Ok(((k, of_neighbours), (penalty, accuracy(&ridge.classes(whole.view()), labels))))
    }

    /// What each layer adds to the similarities, as a share of their sum, and the gap of its own; its similarities go to
    /// `output`.
    pub(super) fn contributions(
        &self,
        metric: Metric,
        threshold: Option<f64>,
        output: Option<OutputFile>,
    ) -> Result<Vec<Value>> {
        let (rows, columns, others) = (&self.sets.rows, self.sets.columns.as_ref(), self.sets.others());
        let (n, m) = (rows.data.len(), others.data.len());
        let entry = |layer: &crate::network::ParameterLayer| NpzEntry::new::<E::Scalar>(&layer.name, &[n, m]);
        let entries: Vec<NpzEntry> = self.gradients.layers().iter().map(entry).collect();
        let mut writer = output.map(|output| NpzWriter::create(output, entries)).transpose()?;
        let mask = match threshold {
            Some(threshold) => Some(self.mask(Some(threshold))?.1),
            None => None,
        };
        let mut sums = vec![];
        for (i, layer) in self.gradients.layers().iter().enumerate() {
            let own = self.gradients.of_layer(self.network, i)?;
            let mask = mask.as_ref().map(|mask| mask.of_layer(i));
            let similarity = Similarity::new(&own, metric, Weights::of(metric, mask.as_ref())?);
            let mut gap = Gap::default();
            let (mut sum, mut diagonal) = (0.0, 0.0);
            similarity.matrix(
                &rows.data,
                columns.map(|c| &c.data),
                None,
                self.context,
                |range, values| {
                    sum += values.iter().map(|v| v.f64()).sum::<f64>();
                    if columns.is_none() {
                        diagonal +=
                            range.clone().map(|i| values[(i - range.start) * m + i].f64()).sum::<f64>();
                    }
                    if let (Some(a), Some(b)) = (&rows.labels, &others.labels) {
                        gap.add(range, values, [a, b], columns.is_none(), None);
                    }
                    writer.as_mut().map_or(Ok(()), |writer| writer.append(&layer.name, values))
                },
            )?;
            sums.push((layer, sum, diagonal, gap.gap()));
        }
        writer.map_or(Ok(()), NpzWriter::finish)?;
        let all: f64 = sums.iter().map(|of| of.1).sum();
        let on_diagonal: f64 = sums.iter().map(|of| of.2).sum();
        let document =
            |&(layer, sum, diagonal, gap): &(&crate::network::ParameterLayer, f64, f64, Option<f64>)| {
                json!({
                    "name": layer.name,
                    "share": sum / all,
                    "share_of_diagonal": columns.is_none().then_some(diagonal / on_diagonal),
                    "gap": gap,
                })
            };
        Ok(sums.iter().map(document).collect())
    }
}

/// What classifies.
struct Classifying<'a, E: SplineEngine> {
    similarity: &'a Similarity<'a, E>,
    columns: &'a Rows,
    labels: &'a [u32],
    metric: Metric,
}

fn pair(normal: &Normal) -> Option<(&[Extent], &[Extent])> {
    normal.as_ref().map(|(x, y)| (&x[..], y.as_ref().map_or(&x[..], |y| &y[..])))
}

/// The value of the largest score; of equals the first.
fn best<T: Copy>(values: &[T], score: impl Fn(&T) -> Option<f64>) -> Option<T> {
    let mut best: Option<(T, f64)> = None;
    for value in values {
        if let Some(score) = score(value)
            && best.is_none_or(|(_, most)| score > most)
        {
            best = Some((*value, score));
        }
    }
    best.map(|(value, _)| value)
}
