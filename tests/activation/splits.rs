//! Kinks, inflections, affine pieces, and the convex split.

use fenchel::activation::Activation;
use fenchel::engine::{Cpu, Engine};
use fenchel::tolerance::EXACT;
use rand::RngExt;

use super::{ALL, INFINITY, generator};

#[test]
fn kinks_and_inflections() {
    let inflections = |a: Activation| a.inflections_in(-INFINITY, INFINITY);
    assert_eq!(Activation::Relu.kinks(), [0.0]);
    assert!(Activation::LeakyRelu { slope: 1.0 }.kinks().is_empty());
    assert_eq!(Activation::Clip { low: 0.0, high: 6.0 }.kinks(), [0.0, 6.0]);
    assert_eq!(Activation::Clip { low: -INFINITY, high: 6.0 }.kinks(), [6.0]);
    assert_eq!(Activation::HardSigmoid { alpha: -0.25, beta: 0.5 }.kinks(), [-2.0, 2.0]);
    assert_eq!(Activation::HardSwish.kinks(), [-3.0, 3.0]);
    assert!(Activation::Elu { alpha: 1.0 }.kinks().is_empty());
    assert_eq!(Activation::Elu { alpha: 2.0 }.kinks(), [0.0]);
    assert!(Activation::Celu { alpha: 49.0 }.kinks().is_empty());
    assert!(Activation::Power { exponent: -2.0 }.kinks().is_empty());
    assert_eq!(inflections(Activation::Softsign), Some(vec![0.0]));
    assert_eq!(inflections(Activation::Elu { alpha: 1.0 }), Some(vec![]));
    assert_eq!(inflections(Activation::HardSwish), Some(vec![]));
    assert_eq!(inflections(Activation::Power { exponent: 3.0 }), Some(vec![0.0]));
    assert_eq!(inflections(Activation::Power { exponent: 4.0 }), Some(vec![]));
    assert_eq!(inflections(Activation::Sin), None);
    let close = |found: Vec<f64>, expected: &[f64]| {
        assert_eq!(found.len(), expected.len(), "{found:?}");
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < EXACT), "{found:?}");
    };
    let root = 2.0_f64.sqrt();
    close(inflections(Activation::Gelu).unwrap(), &[-root, root]);
    close(Activation::Gelu.inflections_in(0.0, 9.0).unwrap(), &[root]);
    close(inflections(Activation::Tanh).unwrap(), &[0.0]);
    let pi = std::f64::consts::PI;
    close(Activation::Sin.inflections_in(-4.0, 7.0).unwrap(), &[-pi, 0.0, pi, 2.0 * pi]);
    close(Activation::Cos.inflections_in(0.0, 5.0).unwrap(), &[0.5 * pi, 1.5 * pi]);
    // x tanh(x / 2) = 2
    let silu = inflections(Activation::Silu).unwrap();
    assert!(silu.len() == 2 && silu.iter().all(|x| (x * (x / 2.0).tanh() - 2.0).abs() < EXACT), "{silu:?}");
}

#[test]
fn pieces_are_the_function() {
    let engine = Cpu::<f64>::new();
    let all = [
        Activation::Relu,
        Activation::LeakyRelu { slope: 0.2 },
        Activation::Clip { low: -1.0, high: 2.0 },
        Activation::Clip { low: 2.0, high: 2.0 },
        Activation::Abs,
        Activation::HardSigmoid { alpha: 0.25, beta: 0.25 },
        Activation::HardSigmoid { alpha: -0.25, beta: 0.25 },
        Activation::HardSigmoid { alpha: 0.0, beta: 0.25 },
    ];
    let x = [-3.0, -1.0, -0.5, 0.0, 0.25, 1.0, 2.0, 3.0, 5.0];
    for activation in all {
        let input = engine.upload(&x, &[x.len()]).unwrap();
        let values = engine.download(&engine.activate(activation, 0, &input).unwrap()).unwrap();
        let slopes = engine.download(&engine.activate(activation, 1, &input).unwrap()).unwrap();
        let pieces = activation.pieces().unwrap();
        assert_eq!((pieces[0].from, pieces[pieces.len() - 1].to), (-INFINITY, INFINITY));
        assert!(pieces.windows(2).all(|pair| pair[0].to == pair[1].from), "{pieces:?}");
        for ((x, value), slope) in x.iter().zip(values).zip(slopes) {
            let piece = pieces.iter().find(|p| p.from < *x && *x <= p.to).unwrap();
            assert_eq!(
                (piece.slope * x + piece.offset, piece.slope),
                (value, slope),
                "{activation:?} at {x}"
            );
        }
    }
    assert_eq!(Activation::HardSwish.pieces(), None);
    assert_eq!(Activation::Tanh.pieces(), None);
}

#[test]
fn slopes_can_be_read_from_outputs_where_it_is_said() {
    let said: Vec<Activation> = ALL.into_iter().filter(Activation::slope_from_output).collect();
    assert_eq!(said.len(), 3, "ReLU, leaky ReLU, and the clip from below");
    for activation in said {
        for i in -50..50 {
            let x = 0.1 * f64::from(i);
            let y = activation.derivative(0, x);
            assert_eq!(activation.derivative(1, x), activation.derivative(1, y), "{activation:?} at {x}");
        }
    }
}

/// Intervals of the domain, without poles, on which a function is split.
fn intervals(activation: Activation) -> Vec<(f64, f64)> {
    let (first, _) = activation.domain();
    let pole = matches!(activation, Activation::Power { exponent } if exponent < 0.0);
    if first == 0.0 || pole {
        vec![(0.25, 7.0), (1.5, 2.0)]
    } else {
        vec![(-7.5, 6.0), (-1.0, 0.5), (0.3, 9.0)]
    }
}

#[test]
fn splits_are_convex_and_concave_and_minimal() {
    let mut rng = generator(5);
    for activation in ALL {
        for (low, high) in intervals(activation) {
            let split = activation.convex_split(low, high).unwrap();
            let regions = split.regions();
            assert_eq!((regions[0].from, regions[regions.len() - 1].to), (low, high));
            let scale =
                [low, high].map(|x| activation.derivative(0, x).abs()).into_iter().fold(1.0, f64::max);
            let margin = EXACT * scale * (high - low);
            for _ in 0..4000 {
                let (x, y) = (rng.random_range(low..high), rng.random_range(low..high));
                let (convex, concave) = split.values(x);
                assert!(
                    (convex + concave - activation.derivative(0, x)).abs() <= margin,
                    "{activation:?} at {x}"
                );
                // Tangents lie below the convex part and above the concave one.
                let (slope_convex, slope_concave) = split.slopes(x);
                let at_y = split.values(y);
                let (rise, fall) =
                    (at_y.0 - convex - slope_convex * (y - x), at_y.1 - concave - slope_concave * (y - x));
                assert!(
                    rise >= -margin && fall <= margin,
                    "{activation:?} from {x} to {y}: {rise:e}, {fall:e}"
                );
            }
            for region in regions {
                // One part bends, the other is affine; it may only turn where regions meet.
                let inner = [0.1, 0.5, 0.9].map(|t| region.from + t * (region.to - region.from));
                let affine = inner.map(|x| if region.convex { split.slopes(x).1 } else { split.slopes(x).0 });
                assert!(affine.iter().all(|&slope| slope == region.slope), "{activation:?}: {affine:?}");
            }
            for pair in regions.windows(2) {
                let (at, above) = (pair[1].from, pair[1].from.next_up());
                assert_eq!(pair[0].to, at);
                let (a, b) = (split.values(at), split.values(above));
                assert!((a.0 - b.0).abs() <= margin && (a.1 - b.1).abs() <= margin, "{activation:?} at {at}");
                let (a, b) = (split.slopes(at), split.slopes(above));
                let turns = [(a.0 - b.0).abs() > margin, (a.1 - b.1).abs() > margin];
                let kink = activation.kinks().contains(&at);
                assert_eq!(
                    turns[0] != turns[1],
                    kink,
                    "{activation:?} at {at}: one part turns at a kink, none elsewhere"
                );
            }
        }
    }
}

#[test]
fn splits_of_known_functions() {
    // Convex and concave functions have one region, kinks of their own sign included.
    for (activation, convex) in [
        (Activation::Relu, true),
        (Activation::Abs, true),
        (Activation::Softplus, true),
        (Activation::Elu { alpha: 0.7 }, true),
        (Activation::Log, false),
        (Activation::Power { exponent: 4.0 }, true),
    ] {
        let low = activation.domain().0.max(-4.0);
        let split = activation.convex_split(low, INFINITY).unwrap();
        let found: Vec<bool> = split.regions().iter().map(|region| region.convex).collect();
        assert_eq!(found, [convex], "{activation:?}");
        assert_eq!(split.regions()[0].slope, 0.0);
    }
    // A clip to [0, 1] is relu(x) - relu(x - 1).
    let split = Activation::Clip { low: 0.0, high: 1.0 }.convex_split(-INFINITY, INFINITY).unwrap();
    assert_eq!([-1.0, 0.5, 3.0].map(|x| split.values(x)), [(0.0, 0.0), (0.5, 0.0), (3.0, -2.0)]);
    // Tanh: convex up to 0, then the tangent there.
    let split = Activation::Tanh.convex_split(-INFINITY, INFINITY).unwrap();
    assert!(
        (split.values(2.0).0 - 2.0).abs() < EXACT
            && (split.values(2.0).1 - 2.0_f64.tanh() + 2.0).abs() < EXACT
    );
    assert_eq!(Activation::Log.convex_split(-1.0, 1.0), None);
    assert_eq!(Activation::Power { exponent: -1.0 }.convex_split(-1.0, 1.0), None);
    assert_eq!(Activation::Sin.convex_split(0.0, INFINITY), None);
    assert_eq!(Activation::Sin.convex_split(0.0, 20.0).unwrap().regions().len(), 7);
    assert_eq!(Activation::Tanh.convex_split(1.0, 1.0), None);
}

/// Where curvatures far out are too small for a number, the regions are those that they are nearby.
#[test]
fn wide_ranges_have_the_regions_of_narrow_ones() {
    for activation in
        [Activation::Gelu, Activation::GeluTanh, Activation::Silu, Activation::Erf, Activation::Tanh]
    {
        let kinds = |reach: f64| -> Vec<bool> {
            let split = activation.convex_split(-reach, 1.1 * reach).unwrap();
            split.regions().iter().map(|region| region.convex).collect()
        };
        assert_eq!(kinds(1e4), kinds(5.0), "{activation:?}");
    }
}
