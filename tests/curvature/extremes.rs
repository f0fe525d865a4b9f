//! Extreme curvatures against dense Hessians and differences.

use fenchel::data::Dataset;
use fenchel::engine::{Activation, Context, Cpu, Curvature, Dual, Engine};
use fenchel::network::operators::Dense;
use fenchel::network::{Constant, Network};
use fenchel::spline::curvature::{hessian, proved, proved_ball, worst};
use ndarray::{Array1, Array2, Axis, s};

use super::common::{gpu, jets, mlp, random_rows};
use super::{digits, model};

/// All of the Hessian of output `k` at `x`, by one product for each unit vector.
fn dense_hessian(network: &Network, x: &Array1<f64>, k: usize) -> Array2<f64> {
    let d = x.len();
    let engine = Dual::new(Cpu::<f64>::new());
    let program = network.compile(&engine).unwrap();
    let plain = |rows: Vec<f64>| engine.inner().upload(&rows, &[d, d]).unwrap();
    let x = plain(x.to_vec().repeat(d));
    let units = plain(Array2::<f64>::eye(d).into_raw_vec_and_offset().0);
    let jets = program.jets(&engine.dual(&x, Some(&units)).unwrap(), &[k]).unwrap();
    let hessian = engine.inner().download(&engine.tangent(&jets.jacobians).unwrap()).unwrap();
    Array2::from_shape_vec((d, d), hessian).unwrap()
}

/// Eigenvalues of a symmetric matrix by cyclic Jacobi rotations, ascending.
fn eigenvalues(matrix: &Array2<f64>) -> Vec<f64> {
    let n = matrix.nrows();
    let mut a = (matrix + &matrix.t()) / 2.0;
    for _ in 0..30 {
        for p in 0..n {
            for q in p + 1..n {
                if a[[p, q]] == 0.0 {
                    continue;
                }
                let theta = (a[[q, q]] - a[[p, p]]) / (2.0 * a[[p, q]]);
                let t = 1.0_f64.copysign(theta) / (theta.abs() + (theta * theta + 1.0).sqrt());
                let c = 1.0 / (t * t + 1.0).sqrt();
                let s = t * c;
                for i in 0..n {
                    let (x, y) = (a[[i, p]], a[[i, q]]);
                    (a[[i, p]], a[[i, q]]) = (c * x - s * y, s * x + c * y);
                }
                for i in 0..n {
                    let (x, y) = (a[[p, i]], a[[q, i]]);
                    (a[[p, i]], a[[q, i]]) = (c * x - s * y, s * x + c * y);
                }
            }
        }
    }
    let mut values = a.diag().to_vec();
    values.sort_by(f64::total_cmp);
    values
}

fn extremes_match<E: Engine>(engine: &E) {
    for name in ["digits_sigmoid", "digits_gelu"] {
        let network = model(name);
        let x = digits(0..12);
        let outputs = [0, 3, 9];
        let data = Dataset::from_array(x.view()).unwrap();
        let found = hessian(&network, engine, &outputs, &data, &Context::default()).unwrap();
        assert_eq!((found.len(), found[0].len()), (3, 12));
        for (k, found) in outputs.into_iter().zip(&found) {
            for (x, found) in x.rows().into_iter().zip(found) {
                let values = eigenvalues(&dense_hessian(&network, &x.to_owned(), k));
                let size = values[0].abs().max(values[63]);
                let error = (found.smallest - values[0]).abs().max((found.largest - values[63]).abs());
                assert!(
                    error < 1e-3 * size,
                    "{name}, output {k}: {found:?} for {} to {}",
                    values[0],
                    values[63]
                );
                assert!(found.residuals.iter().all(|r| *r <= 1e-4 * size * 1.001 || found.steps == 64));
            }
        }
        // With less memory, the same.
        let all = worst(&found);
        let small = Context::default().with_memory(1 << 20);
        let again = hessian(&network, engine, &outputs, &data, &small).unwrap();
        assert_eq!(worst(&again), all);
    }
}

#[test]
fn extremes_are_those_of_dense_hessians() {
    extremes_match(&Cpu::<f64>::new());
    extremes_match(&Cpu::<f32>::new());
}

#[test]
fn extremes_are_those_of_dense_hessians_on_the_gpu() {
    if let Some(gpu) = gpu() {
        extremes_match(&gpu);
    }
}

#[test]
fn extremes_are_those_of_differences() {
    let network = mlp(3, [6, 20, 2], Activation::Softplus);
    let x = random_rows(5, 1, 6);
    let step = 1e-5;
    let column = |j: usize| {
        let moved = |by: f64| {
            let mut x = x.clone();
            x[[0, j]] += by;
            jets(&network, &x).1.slice(s![0, 1, ..]).to_owned()
        };
        (moved(step) - moved(-step)) / (2.0 * step)
    };
    let columns: Vec<Array1<f64>> = (0..6).map(column).collect();
    let views: Vec<_> = columns.iter().map(|c| c.view()).collect();
    let values = eigenvalues(&ndarray::stack(Axis(1), &views).unwrap());
    let data = Dataset::from_array(x.view()).unwrap();
    let found = hessian(&network, &Cpu::<f64>::new(), &[1], &data, &Context::default()).unwrap()[0][0];
    assert!((found.smallest - values[0]).abs() < 1e-6 && (found.largest - values[5]).abs() < 1e-6);
    let curvature = found.curvature();
    assert_eq!(curvature, Curvature { a: (-found.smallest).max(0.0), b: found.largest.max(0.0) });
}

/// `x^T A x / 2 + ..` has one Hessian everywhere.
#[test]
fn a_quadratic_function_is_known_exactly() {
    let mut builder = Network::builder();
    builder.input("x", &[3]).unwrap();
    let weights = vec![1.0, 1.0, 0.0, 1.0, -1.0, 0.0, 0.0, 0.0, 2.0];
    builder.layer(Dense::new(Constant::f64([3, 3], weights).unwrap(), None).unwrap()).unwrap();
    builder.layer(Activation::Power { exponent: 2.0 }).unwrap();
    let signs = Constant::f64([3, 1], vec![1.0, -2.0, 0.5]).unwrap();
    let end = builder.layer(Dense::new(signs, None).unwrap()).unwrap();
    let network = builder.finish(&[end]).unwrap();
    // (x + y)^2 - 2 (x - y)^2 + 2 z^2: along (1, 1, 0) 4, along (1, -1, 0) -8, along z 4.
    let proof = proved(&network, &[0], &[-5.0; 3], &[9.0; 3], 1, &Context::default()).unwrap();
    let Curvature { a, b } = proof.curvature[0];
    assert!((8.0..8.0 + 1e-10).contains(&a) && (4.0..4.0 + 1e-10).contains(&b), "{a} {b}");
    assert_eq!(proof.boxes, 1);
    let ball = proved_ball(&network, &[0], &[1.0, 2.0, 3.0], 2.0, &Context::default()).unwrap();
    assert!((8.0..8.0 + 1e-10).contains(&ball.curvature[0].a));
}
