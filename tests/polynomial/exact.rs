//! Coefficients against those by hand, published ones, and exact rational arithmetic.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fenchel::engine::Activation;
use fenchel::network::Network;
use fenchel::tolerance::{EXACT, relative_difference};

use super::rational::{self, Fraction};
use super::{by_term, expand, layered, local, matrix, settings};

#[test]
fn small_cases_are_as_by_hand() {
    // tanh u = u - u^3/3 + .., u = x1 + 2 x2; twice that and 1/2.
    let network = layered(2, |b| {
        b.layer(matrix(&[&[1.0], &[2.0]], &[0.0])).unwrap();
        b.layer(Activation::Tanh).unwrap();
        b.layer(matrix(&[&[2.0]], &[0.5])).unwrap()
    });
    let found = expand(&network, &settings(3, 3), &[0.0, 0.0]);
    let expected = [0.5, 2.0, 4.0, 0.0, 0.0, 0.0, -2.0 / 3.0, -4.0, -8.0, -16.0 / 3.0];
    assert!(relative_difference(found.coefficients().iter().copied(), expected) < EXACT);
    // exp about 0 to order 2, of a potential with the constant 1: (1 + u + u^2/2) at u = 1 + x.
    let network = layered(1, |b| {
        b.layer(matrix(&[&[1.0]], &[1.0])).unwrap();
        b.layer(Activation::Exp).unwrap()
    });
    let found = expand(&network, &settings(2, 2), &[0.0]);
    assert!(relative_difference(found.coefficients().iter().copied(), [2.5, 2.0, 0.5]) < EXACT);
    // Own centres: e (1 + x + x^2/2).
    let e = std::f64::consts::E;
    let found = expand(&network, &local(2), &[0.0]);
    assert!(relative_difference(found.coefficients().iter().copied(), [e, e, e / 2.0]) < EXACT);
    // An affine network, to every order.
    let network = layered(2, |b| b.layer(matrix(&[&[3.0], &[-1.0]], &[0.25])).unwrap());
    for order in 1..4 {
        let found = by_term(&expand(&network, &settings(order, 8), &[1.0, 1.0]), 0);
        let expected = [(vec![], 2.25), (vec![1], 3.0), (vec![2], -1.0)];
        assert!(expected.iter().all(|(term, c)| found[term] == *c));
        assert!(found.iter().all(|(term, &c)| term.len() < 2 || c == 0.0));
    }
}

/// The shared networks, where they are.
#[allow(clippy::print_stdout, reason = "says why a test was skipped")]
fn shared() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/polynomial");
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: no ../shared/data/polynomial");
    None
}

/// A network of tanh layers out of its tables, in f64.
fn published(folder: &Path, name: &str) -> Network {
    let mut builder = Network::builder();
    let (mut layer, mut end) = (1, None);
    while let Ok(text) = std::fs::read_to_string(folder.join(format!("{name}_W{layer}.csv"))) {
        let row = |line: &str| line.split(',').map(|v| v.trim().parse::<f64>().unwrap()).collect();
        let rows: Vec<Vec<f64>> = text.lines().map(row).collect();
        if layer == 1 {
            builder.input("x", &[rows.len() - 1]).unwrap();
        } else {
            builder.layer(Activation::Tanh).unwrap();
        }
        let weights: Vec<&[f64]> = rows[1..].iter().map(|row| &row[..]).collect();
        end = Some(builder.layer(matrix(&weights, &rows[0])).unwrap());
        layer += 1;
    }
    builder.finish(&[end.unwrap()]).unwrap()
}

/// How near published coefficients are asked for, of the largest one.
const PUBLISHED: f64 = 1e-12;

#[test]
fn published_coefficients_come_out() {
    let Some(folder) = shared() else { return };
    for (name, inputs) in [("tanh_p5w50x3", 5), ("tanh_p10w100x2", 10), ("tanh_p54w32x2", 54)] {
        let found = expand(&published(&folder, name), &settings(3, 8), &vec![0.0; inputs]);
        let text = std::fs::read_to_string(folder.join(format!("{name}_coef.csv"))).unwrap();
        let (mut lines, mut expected) = (text.lines().skip(1), vec![]);
        for monomial in found.monomials().iter() {
            let (label, value) = lines.next().unwrap().split_once(',').unwrap();
            let term: Vec<String> = found.term(&monomial).iter().map(ToString::to_string).collect();
            assert_eq!(label, if term.is_empty() { "0".to_owned() } else { term.join("-") });
            expected.push(value.trim().parse::<f64>().unwrap());
        }
        assert!(lines.next().is_none());
        let off = relative_difference(found.coefficients().iter().copied(), expected);
        assert!(off <= PUBLISHED, "{name}: {off:e}");
    }
}

/// A polynomial in exact arithmetic, by monomials of sorted inputs.
type Exact = BTreeMap<Vec<usize>, Fraction>;

fn product(a: &Exact, b: &Exact) -> Exact {
    let mut sum = Exact::new();
    for (one, &c) in a {
        for (other, &d) in b {
            let mut term = [&one[..], other].concat();
            term.sort_unstable();
            let entry = sum.entry(term).or_insert(Fraction::new(0, 1));
            *entry = *entry + c * d;
        }
    }
    sum
}

/// Sums of polynomials times eighths, and eighths.
fn affine(inputs: &[Exact], weights: &[i128], bias: i128) -> Exact {
    let mut sum = Exact::from([(vec![], Fraction::new(bias, 8))]);
    for (input, &w) in inputs.iter().zip(weights) {
        for (term, &c) in input {
            let entry = sum.entry(term.clone()).or_insert(Fraction::new(0, 1));
            *entry = *entry + c * Fraction::new(w, 8);
        }
    }
    sum
}

/// Every power of every unit multiplied out, nothing truncated before the end.
#[test]
fn coefficients_are_those_of_brute_force_in_fractions() {
    let weights: [[[i128; 3]; 3]; 3] = [
        [[3, -2, 1], [1, 4, -3], [-1, 2, 2]],
        [[2, 1, -3], [-2, 3, 1], [1, -1, 2]],
        [[1, -3, 2], [2, 2, -1], [-1, 1, 3]],
    ];
    let biases: [[i128; 3]; 3] = [[1, -2, 0], [0, 1, -1], [2, 0, -1]];
    let exponential = (0..3).map(|n| Fraction::new(1, rational::factorial(n))).collect();
    for (layers, order, series, taylor) in [
        (2, 4, rational::tanh(3), Activation::Tanh),
        // A Taylor order above the total one: constant terms see it.
        (2, 2, rational::tanh(5), Activation::Tanh),
        (3, 3, exponential, Activation::Exp),
    ] {
        let mut polynomials: Vec<Exact> =
            (1..4).map(|i| Exact::from([(vec![i], Fraction::new(1, 1))])).collect();
        for layer in 0..layers {
            polynomials = (0..3)
                .map(|unit| {
                    let column: Vec<i128> = weights[layer].iter().map(|row| row[unit]).collect();
                    affine(&polynomials, &column, biases[layer][unit])
                })
                .collect();
            if layer + 1 == layers {
                break;
            }
            for polynomial in &mut polynomials {
                let (mut power, mut sum) = (Exact::from([(vec![], Fraction::new(1, 1))]), Exact::new());
                for &c in &series {
                    for (term, &d) in &power {
                        let entry = sum.entry(term.clone()).or_insert(Fraction::new(0, 1));
                        *entry = *entry + c * d;
                    }
                    power = product(&power, polynomial);
                }
                *polynomial = sum;
                // The highest terms would overflow; they do not come down again.
                polynomial.retain(|term, _| term.len() <= order);
            }
        }
        let network = layered(3, |b| {
            let mut end = None;
            for layer in 0..layers {
                if layer > 0 {
                    b.layer(taylor).unwrap();
                }
                let eighths = |row: &[i128; 3]| row.map(|w| w as f64 / 8.0);
                let rows = weights[layer].map(|row| eighths(&row));
                let rows: Vec<&[f64]> = rows.iter().map(|row| &row[..]).collect();
                end = Some(b.layer(matrix(&rows, &eighths(&biases[layer]))).unwrap());
            }
            end.unwrap()
        });
        let found = expand(&network, &settings(order, series.len() - 1), &[0.0; 3]);
        for (output, polynomial) in polynomials.iter().enumerate() {
            let found = by_term(&found, output);
            let exact = found.keys().map(|term| polynomial.get(term).map_or(0.0, |c| c.value()));
            let off = relative_difference(found.values().copied(), exact);
            assert!(off < EXACT, "{layers} layers, order {order}, output {output}: {off:e}");
        }
    }
}
