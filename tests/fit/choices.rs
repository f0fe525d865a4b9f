//! What is tuned, averaged and refined is better than what is not.

use fenchel::Error;
use fenchel::data::Dataset;
use fenchel::engine::{Context, Cpu, Curvature, SplineEngine};
use fenchel::spline::metric::Family;
use fenchel::spline::{
    Choice, CurvatureChoice, Features, Form, Label, Method, MetricChoice, NetworkJets, Recipe, SlopesChoice,
    Softness, SoftnessChoice, Spline, Subject, Tangents, Validation, values,
};

use super::common::gpu;
use super::digits;

struct Outcome {
    validation: f64,
    before: Option<f64>,
    test: f64,
    spline: Spline,
}

/// Fits on digits 0..1200, chooses on 1200..1400, judges on the rest.
fn outcome<E: SplineEngine>(engine: &E, name: &str, recipe: &Recipe, context: &Context) -> Outcome {
    let (network, data) = digits(name);
    let program = network.compile(engine).unwrap();
    let outputs: Vec<usize> = (0..10).collect();
    let anchors = data.select_range(0..1200).unwrap();
    let validation = data.select_range(1200..1400).unwrap();
    let subject = Subject {
        network: &network,
        program: &program,
        outputs: &outputs,
        anchors: &anchors,
        validation: Some(&validation),
    };
    let fitted = subject.fit(recipe, context).unwrap();
    let source =
        NetworkJets::new(&program, anchors.select(&fitted.chosen).unwrap(), outputs.clone()).unwrap();
    let error = |points: &Dataset| {
        let found = values(&fitted.spline, &source, points, context).unwrap();
        Validation::new(&program, &outputs, points, context).unwrap().relative_rmse(&found)
    };
    // What fitting reports is what the spline does.
    let again = error(&validation);
    let reported = fitted.relative_rmse.unwrap_or(again);
    assert!((again - reported).abs() < 1e-3 * reported, "{again} and {reported}");
    let test = error(&data.select_range(1400..1797).unwrap());
    Outcome { validation: reported, before: fitted.before, test, spline: fitted.spline }
}

#[test]
fn what_is_chosen_on_validation_is_better_than_what_is_not() {
    let engine = Cpu::<f32>::new();
    let context = Context::default();
    let of = |change: &dyn Fn(&mut Recipe)| {
        let mut recipe = Recipe::new(100);
        change(&mut recipe);
        outcome(&engine, "digits_sigmoid.onnx", &recipe, &context)
    };
    let best = of(&|_| ());
    for c in [0.3, 1.0, 3.0, 10.0, 30.0] {
        let given = of(&|r| r.curvature = CurvatureChoice::Given(Curvature::isotropic(c)));
        assert!(
            best.validation <= given.validation * 1.02,
            "{} against {} at {c}",
            best.validation,
            given.validation
        );
    }
    // More to choose from is no worse on the points it is chosen on.
    let outputs = of(&|r| r.per_output = true);
    assert!(outputs.validation <= best.validation);
    assert!(outputs.spline.curvature.iter().any(|c| *c != outputs.spline.curvature[0]));
    let slopes = of(&|r| r.slopes = SlopesChoice::Chosen);
    assert!(slopes.validation <= best.validation);
    let nearest = of(&|r| r.slopes = SlopesChoice::Given(0.0));
    assert!(slopes.validation <= nearest.validation);
    let soft = of(&|r| r.softness = SoftnessChoice::Nearest);
    assert!(matches!(soft.spline.form, Form::Tangents(Tangents { softness: Softness::Nearest(_), .. })));
    assert!(soft.validation < best.validation);
    let halves = of(&|r| r.softness = SoftnessChoice::Halves);
    assert!(halves.validation < best.validation, "{} {}", halves.validation, best.validation);
    let clustered = of(&|r| r.selection = Choice { method: Method::KMeans, features: Features::Inputs });
    assert!(clustered.test < best.test);
    // The certificate keeps a valid curvature of its own.
    assert_eq!(best.spline.certificate.label, Label::Tested);
}

#[test]
fn every_metric_and_slope_fits() {
    let engine = Cpu::<f32>::new();
    let context = Context::default();
    for family in [Family::Diagonal, Family::Gradient, Family::Active, Family::Principal, Family::Informed] {
        let mut recipe = Recipe::new(100);
        recipe.metric =
            MetricChoice::Found { family, power: 0.5, rank: (family == Family::Active).then_some(20) };
        let found = outcome(&engine, "digits_cnn.onnx", &recipe, &context);
        assert!(found.test < 0.6, "{family:?}: {}", found.test);
        let rank = found.spline.metric.coordinates(64);
        assert_eq!(rank == 64, matches!(family, Family::Diagonal | Family::Gradient), "{family:?}: {rank}");
    }
    let mut recipe = Recipe::new(60);
    recipe.slopes = SlopesChoice::Averaged;
    let found = outcome(&engine, "digits_cnn.onnx", &recipe, &context);
    let Form::Planes(planes) = &found.spline.form else { panic!("averaged pieces are no tangents") };
    assert!(planes.pieces(10) == 60 && found.test < 0.3, "{}", found.test);
}

fn refined<E: SplineEngine>(engine: &E, context: &Context, steps: usize) -> Outcome {
    let mut recipe = Recipe::new(50);
    recipe.refine = steps;
    recipe.slopes = SlopesChoice::Chosen;
    outcome(engine, "digits_gelu.onnx", &recipe, context)
}

#[test]
fn refined_pieces_are_far_better_than_tangents() {
    let context = Context::default();
    let published = outcome(&Cpu::<f32>::new(), "digits_gelu.onnx", &Recipe::new(50), &context);
    let found = refined(&Cpu::<f32>::new(), &context, 600);
    assert!(found.validation < found.before.unwrap() / 2.0);
    assert!(found.test < published.test / 2.0, "{} against {}", found.test, published.test);
    let Form::Planes(planes) = &found.spline.form else { panic!("refined pieces are no tangents") };
    assert_eq!(planes.pieces(10), 50);

    // The same bits again, and in f64 as good a spline.
    let again = refined(&Cpu::<f32>::new(), &context, 600);
    assert!(again.spline == found.spline);
    let double = refined(&Cpu::<f64>::new(), &context, 600);
    assert!((double.test / found.test - 1.0).abs() < 0.3, "{} {}", double.test, found.test);
}

#[test]
fn outputs_are_refined_in_groups_where_memory_is_short() {
    let few = |memory: u64| refined(&Cpu::<f32>::new(), &Context::default().with_memory(memory), 20).spline;
    assert!(few(768 << 20) == few(12 << 20));
    let (network, data) = digits("digits_gelu.onnx");
    let program = network.compile(&Cpu::<f32>::new()).unwrap();
    let subject = Subject {
        network: &network,
        program: &program,
        outputs: &[0, 1],
        anchors: &data.select_range(0..100).unwrap(),
        validation: Some(&data.select_range(100..150).unwrap()),
    };
    let mut recipe = Recipe::new(40);
    recipe.refine = 3;
    let tiny = subject.fit(&recipe, &Context::default().with_memory(1 << 16)).unwrap_err();
    assert!(matches!(tiny, Error::Memory { .. }), "{tiny}");
    recipe.softness = SoftnessChoice::Nearest;
    assert!(subject.fit(&recipe, &Context::default()).unwrap_err().to_string().contains("hard"));
}

#[test]
fn refinement_runs_on_a_graphics_device() {
    let Some(gpu) = gpu() else { return };
    let mut recipe = Recipe::new(40);
    recipe.refine = 40;
    recipe.metric = MetricChoice::Found { family: Family::Informed, power: 0.75, rank: Some(24) };
    let found = outcome(&gpu, "digits_gelu.onnx", &recipe, &Context::default());
    assert!(found.validation < 0.9 * found.before.unwrap(), "{} {:?}", found.validation, found.before);
}

#[test]
fn images_may_be_warped_in_refinement() {
    let (context, engine) = (Context::default(), Cpu::<f32>::new());
    let mut recipe = Recipe::new(40);
    recipe.refine = 200;
    recipe.metric = MetricChoice::Found { family: Family::Informed, power: 0.75, rank: None };
    let plain = outcome(&engine, "digits_cnn.onnx", &recipe, &context);
    recipe.warp = Some(1.0);
    let warped = outcome(&engine, "digits_cnn.onnx", &recipe, &context);
    assert!(warped.validation < warped.before.unwrap() / 1.5, "{} {:?}", warped.validation, warped.before);
    assert!(warped.spline != plain.spline);
    assert!(outcome(&engine, "digits_cnn.onnx", &recipe, &context).spline == warped.spline);

    // Rows of 64 elements are no images, and nobody says how wide they are.
    let (network, data) = digits("digits_gelu.onnx");
    let program = network.compile(&engine).unwrap();
    let subject = Subject {
        network: &network,
        program: &program,
        outputs: &[0],
        anchors: &data.select_range(0..100).unwrap(),
        validation: Some(&data.select_range(100..150).unwrap()),
    };
    assert!(subject.fit(&recipe, &context).unwrap_err().to_string().contains("[H, W]"));
}
