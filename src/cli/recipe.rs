//! Arguments that say how splines are made, for one spline and for the axes of a sweep.

use std::ops::Range;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

use crate::data::Dataset;
use crate::engine::Curvature;
use crate::spline::metric::{Family, Metric};
use crate::spline::{
    Choice, CurvatureChoice, Domain, Features, Method, MetricChoice, Recipe, Refinement, SlopesChoice,
    Softness, SoftnessChoice,
};
use crate::{Error, Result};

use super::args::{Pieces, range};
use super::session::take;

/// How many rows choices are made on where the user does not say.
const FOR_CHOICES: usize = 2000;

/// How one spline is made.
#[derive(Debug, Args)]
pub(super) struct Making {
    /// How anchors become pieces: random, k-means, k-medoids, farthest, greedy, prune or genetic; after a colon what
    /// distances are between: inputs, gradients, both, or pieces (each half by itself), such as k-means:gradients
    #[arg(long, value_name = "METHOD", default_value = "random", value_parser = choice)]
    pub select: Choice,

    /// Metric of the distances: identity, diagonal or gradient (from the covariance of gradients), active, principal or
    /// informed (the first directions alone, of gradients, of the data, or of both), or a file with weights [D] or a
    /// matrix [D, D] [default: identity; informed with --refine]
    #[arg(long, value_name = "METRIC")]
    pub metric: Option<String>,

    /// Curvature: a number, A:B for the convex and the concave half, auto (of least error on validation rows), secant
    /// (the smallest for which the bounds hold over tested pairs), hessian (at samples), or proved (on --box)
    #[arg(long, value_name = "C", default_value = "auto", value_parser = curvature, allow_hyphen_values = true)]
    pub curvature: CurvatureChoice,

    /// Slopes of the pieces: a factor on those of the network, auto (the factor of least error), or averaged (one piece
    /// for each cluster of anchors) [default: 1; auto with --refine]
    #[arg(long, value_name = "SLOPES", value_parser = slopes, allow_hyphen_values = true)]
    pub slopes: Option<SlopesChoice>,

    /// Soften: nearest or halves (temperature of least error), or nearest:TAU, halves:T
    #[arg(long, value_name = "SOFTNESS", default_value = "hard", value_parser = softness)]
    pub soft: SoftnessChoice,

    /// Steps of refinement: values and slopes of pieces are fitted to the network at and around the anchors
    #[arg(long, value_name = "STEPS", default_value_t = 0)]
    pub refine: usize,

    #[command(flatten)]
    pub common: Common,
}

/// Lists of the same, every combination a row.
#[derive(Debug, Args)]
pub(super) struct Axes {
    /// Ways to choose pieces: random, k-means, k-medoids, farthest, greedy, prune, genetic; after a colon what
    /// distances are between: inputs, gradients, both or pieces
    #[arg(long, value_name = "LIST", default_value = "random", value_delimiter = ',', value_parser = choice)]
    pub select: Vec<Choice>,

    /// Metrics: identity, diagonal, gradient, active, principal, informed, or files [default: identity; informed where
    /// refined]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub metric: Vec<String>,

    /// Curvatures: numbers, A:B, auto, secant, hessian, proved
    #[arg(long, value_name = "LIST", default_value = "auto", value_delimiter = ',', value_parser = curvature, allow_hyphen_values = true)]
    pub curvature: Vec<CurvatureChoice>,

    /// Slopes: factors, auto, averaged [default: 1; auto where refined]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = slopes, allow_hyphen_values = true)]
    pub slopes: Vec<SlopesChoice>,

    /// Softness: hard, nearest, halves, nearest:TAU, halves:T
    #[arg(long, value_name = "LIST", default_value = "hard", value_delimiter = ',', value_parser = softness)]
    pub soft: Vec<SoftnessChoice>,

    /// Steps of refinement
    #[arg(long, value_name = "LIST", default_value = "0", value_delimiter = ',')]
    pub refine: Vec<usize>,

    #[command(flatten)]
    pub common: Common,
}

/// What one spline and all rows of a sweep share.
#[derive(Debug, Args)]
pub(super) struct Common {
    /// A curvature for each output, not one for all
    #[arg(long)]
    pub per_output: bool,

    /// Power of the gradient covariance in the metrics diagonal, gradient and active, and its weight in informed: 0 is
    /// the inverse covariance of the data, 1 that of gradients [default: 0.5; of informed 0.75]
    #[arg(long, value_name = "P", allow_hyphen_values = true)]
    pub power: Option<f64>,

    /// Directions of the metrics gradient, active, principal and informed [default: all; of principal those with 97 %
    /// of the variance, of informed those with 99.9 % of what outputs vary by, 256 at most]
    #[arg(long, value_name = "R")]
    pub rank: Option<usize>,

    /// Rows are images, and refinement asks the network at warped ones too: moved, turned, stretched and bent by so much;
    /// 1 did best on handwritten digits
    #[arg(long, value_name = "STRENGTH", allow_hyphen_values = true)]
    pub warp: Option<f64>,

    /// Rate at which a round of refinement begins. Lower ones suit steep networks and many steps
    #[arg(long, value_name = "RATE", default_value_t = Refinement::RATE, allow_hyphen_values = true)]
    pub rate: f64,

    /// Rows of the data that choices are made on and secants estimated on, apart from anchors and points [default: up
    /// to 2000 rows that are neither]
    #[arg(long, visible_alias = "curvature-points", value_name = "RANGE", value_parser = range)]
    pub validation: Option<Range<usize>>,

    /// Curvature of the error bars: a number, A:B, secant, hessian or proved [default: that of the spline; secant where
    /// that is chosen for its error or belongs to another metric]
    #[arg(long, value_name = "C", value_parser = curvature, allow_hyphen_values = true)]
    pub certificate: Option<CurvatureChoice>,

    /// Where a proved curvature holds: every element of the input between LO and HI
    #[arg(long = "box", value_name = "LO,HI", value_parser = interval, allow_hyphen_values = true)]
    pub domain: Option<[f64; 2]>,

    /// How many boxes the domain may be split into for a proof
    #[arg(long, value_name = "N", default_value_t = 4096)]
    pub boxes: usize,
}

impl Making {
    /// The recipe for so many pieces.
    pub(super) fn recipe(&self, pieces: usize, dimension: usize) -> Result<Recipe> {
        let refined = self.refine > 0;
        let metric = self.metric.as_deref().unwrap_or(default_metric(refined));
        Ok(Recipe {
            pieces,
            selection: self.select,
            metric: self.common.metric(metric, dimension)?,
            curvature: self.curvature,
            per_output: self.common.per_output,
            slopes: self.slopes.unwrap_or(default_slopes(refined)),
            softness: self.soft,
            refine: self.refine,
            warp: self.common.warp,
            rate: self.common.rate,
            certificate: self.common.certificate,
            domain: self.common.domain(dimension),
        })
    }

    /// The name of the metric.
    pub(super) fn metric_name(&self) -> &str {
        self.metric.as_deref().unwrap_or(default_metric(self.refine > 0))
    }
}

pub(super) fn default_metric(refined: bool) -> &'static str {
    if refined { "informed" } else { "identity" }
}

pub(super) fn default_slopes(refined: bool) -> SlopesChoice {
    if refined { SlopesChoice::Chosen } else { SlopesChoice::Given(1.0) }
}

impl Common {
    /// A metric by its name, or from a file.
    pub(super) fn metric(&self, text: &str, dimension: usize) -> Result<MetricChoice> {
        let family = match text {
            "identity" => return Ok(MetricChoice::Given(Metric::Identity)),
            "diagonal" => Family::Diagonal,
            "gradient" => Family::Gradient,
            "active" => Family::Active,
            "principal" => Family::Principal,
            "informed" => Family::Informed,
            file => {
                let path = PathBuf::from(file);
                if !path.exists() {
                    return Err(Error::Argument(format!(
                        "'{file}' is no metric and no file: expected identity, diagonal, gradient, active, \
                         principal, informed, or a file with weights or a matrix"
                    )));
                }
                return Ok(MetricChoice::Given(Metric::open(&path, dimension)?));
            }
        };
        let power = self.power.unwrap_or(family.usual_power());
        Ok(MetricChoice::Found { family, power, rank: self.rank })
    }

    pub(super) fn domain(&self, dimension: usize) -> Option<Domain> {
        self.domain.map(|[low, high]| Domain {
            low: vec![low; dimension],
            high: vec![high; dimension],
            boxes: self.boxes,
        })
    }

    /// Rows for choices: those asked for, or rows of `data` in none of `used`, of which the first are the anchors';
    /// `None` where there are none.
    pub(super) fn validation(&self, data: &Dataset, used: &[&Range<usize>]) -> Result<Option<Dataset>> {
        if let Some(range) = &self.validation {
            if let Some(anchors) =
                used.first().filter(|used| used.start < range.end && range.start < used.end)
            {
                return Err(Error::Argument(format!(
                    "--validation {}..{} overlaps the rows {}..{} that anchors are taken from",
                    range.start, range.end, anchors.start, anchors.end
                )));
            }
            return data.select_range(take(data, Some(range), "--validation")?).map(Some);
        }
        let free = (0..data.len()).filter(|row| !used.iter().any(|range| range.contains(row)));
        let rows: Vec<usize> = free.take(FOR_CHOICES).collect();
        if rows.is_empty() { Ok(None) } else { data.select(&rows).map(Some) }
    }
}

/// The number of pieces out of so many anchors.
pub(super) fn count(pieces: Pieces, anchors: usize) -> usize {
    match pieces {
        Pieces::All => anchors,
        Pieces::Some(pieces) => pieces,
    }
}

/// A choice as it is typed.
pub(super) fn choice(text: &str) -> Result<Choice, String> {
    let (method, features) = text.split_once(':').unwrap_or((text, "inputs"));
    Ok(Choice { method: Method::from_str(method)?, features: Features::from_str(features)? })
}

pub(super) fn curvature(text: &str) -> Result<CurvatureChoice, String> {
    let wrong = || "expected a number of at least 0, A:B, auto, secant, hessian or proved".to_owned();
    let number = |text: &str| match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number >= 0.0 => Ok(number),
        _ => Err(wrong()),
    };
    Ok(match text {
        "auto" => CurvatureChoice::Chosen,
        "secant" => CurvatureChoice::Secant,
        "hessian" => CurvatureChoice::Hessian,
        "proved" => CurvatureChoice::Proved,
        _ => CurvatureChoice::Given(match text.split_once(':') {
            Some((a, b)) => Curvature { a: number(a)?, b: number(b)? },
            None => Curvature::isotropic(number(text)?),
        }),
    })
}

fn slopes(text: &str) -> Result<SlopesChoice, String> {
    match (text, text.parse::<f64>()) {
        ("auto", _) => Ok(SlopesChoice::Chosen),
        ("averaged", _) => Ok(SlopesChoice::Averaged),
        (_, Ok(factor)) if factor.is_finite() => Ok(SlopesChoice::Given(factor)),
        _ => Err("expected a factor, auto or averaged".to_owned()),
    }
}

fn softness(text: &str) -> Result<SoftnessChoice, String> {
    let wrong = || "expected hard, nearest, halves, nearest:TAU or halves:T with a number above 0".to_owned();
    let (kind, temperature) = match text.split_once(':') {
        Some((kind, number)) => {
            let number: f64 = number.parse().map_err(|_| wrong())?;
            if !(number.is_finite() && number > 0.0) {
                return Err(wrong());
            }
            (kind, Some(number))
        }
        None => (text, None),
    };
    match (kind, temperature) {
        ("hard", None) => Ok(SoftnessChoice::Given(Softness::Hard)),
        ("nearest", None) => Ok(SoftnessChoice::Nearest),
        ("halves", None) => Ok(SoftnessChoice::Halves),
        ("nearest", Some(tau)) => Ok(SoftnessChoice::Given(Softness::Nearest(tau))),
        ("halves", Some(temperature)) => Ok(SoftnessChoice::Given(Softness::Halves(temperature))),
        _ => Err(wrong()),
    }
}

fn interval(text: &str) -> Result<[f64; 2], String> {
    let ends = text.split_once(',').map(|(low, high)| (low.parse::<f64>(), high.parse::<f64>()));
    match ends {
        Some((Ok(low), Ok(high))) if low < high && low.is_finite() && high.is_finite() => Ok([low, high]),
        _ => Err("expected LO,HI with LO below HI, such as 0,1".to_owned()),
    }
}

/// The words that make these choices, for tables and files.
pub(super) mod words {
    use super::*;

    pub(in super::super) fn selection(choice: &Choice, everything: bool) -> String {
        match (choice.method, choice.features) {
            _ if everything => "all".to_owned(),
            (method, Features::Inputs) => method.to_string(),
            (method, features) => format!("{method}:{features}"),
        }
    }

    pub(in super::super) fn curvature(choice: &CurvatureChoice) -> String {
        match choice {
            CurvatureChoice::Given(Curvature { a, b }) if a == b => a.to_string(),
            CurvatureChoice::Given(Curvature { a, b }) => format!("{a}:{b}"),
            CurvatureChoice::Chosen => "auto".to_owned(),
            CurvatureChoice::Secant => "secant".to_owned(),
            CurvatureChoice::Hessian => "hessian".to_owned(),
            CurvatureChoice::Proved => "proved".to_owned(),
        }
    }

    pub(in super::super) fn slopes(choice: &SlopesChoice) -> String {
        match choice {
            SlopesChoice::Given(factor) => factor.to_string(),
            SlopesChoice::Chosen => "auto".to_owned(),
            SlopesChoice::Averaged => "averaged".to_owned(),
        }
    }

    pub(in super::super) fn warp(strength: Option<f64>) -> String {
        strength.unwrap_or(0.0).to_string()
    }

    /// Slopes of pieces, refined or not.
    pub(in super::super) fn pieces(recipe: &Recipe) -> String {
        if recipe.refine == 0 {
            return slopes(&recipe.slopes);
        }
        let warped = recipe.warp.map_or_else(String::new, |strength| format!(", warped {strength}"));
        format!("refined {} at rate {}{warped}", recipe.refine, recipe.rate)
    }

    pub(in super::super) fn softness(choice: &SoftnessChoice) -> String {
        match choice {
            SoftnessChoice::Given(Softness::Hard) => "hard".to_owned(),
            SoftnessChoice::Given(Softness::Nearest(tau)) => format!("nearest:{tau}"),
            SoftnessChoice::Given(Softness::Halves(temperature)) => format!("halves:{temperature}"),
            SoftnessChoice::Nearest => "nearest".to_owned(),
            SoftnessChoice::Halves => "halves".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curvatures_are_numbers_pairs_or_words() {
        assert_eq!(curvature("2.5"), Ok(CurvatureChoice::Given(Curvature::isotropic(2.5))));
        assert_eq!(curvature("1:0"), Ok(CurvatureChoice::Given(Curvature { a: 1.0, b: 0.0 })));
        assert_eq!(curvature("auto"), Ok(CurvatureChoice::Chosen));
        for text in ["-1", "NaN", "inf", "1:", ":1", "1:-2", "1:2:3", "best", ""] {
            assert!(curvature(text).is_err(), "{text}");
        }
    }

    #[test]
    fn other_choices_are_words_with_numbers() {
        assert_eq!(softness("nearest:0.5"), Ok(SoftnessChoice::Given(Softness::Nearest(0.5))));
        assert_eq!(softness("halves"), Ok(SoftnessChoice::Halves));
        for text in ["nearest:0", "halves:-1", "halves:x", "hard:1", "soft", ""] {
            assert!(softness(text).is_err(), "{text}");
        }
        assert_eq!(slopes("0.25"), Ok(SlopesChoice::Given(0.25)));
        assert!(slopes("inf").is_err() && slopes("steep").is_err());
        let gradients = Choice { method: Method::KMeans, features: Features::Gradients };
        assert_eq!(choice("k-means:gradients"), Ok(gradients));
        assert!(choice("best").is_err() && choice("k-means:colours").is_err());
        assert_eq!(interval("-1,2"), Ok([-1.0, 2.0]));
        assert!(interval("2,1").is_err() && interval("1").is_err() && interval("0,inf").is_err());
    }
}
