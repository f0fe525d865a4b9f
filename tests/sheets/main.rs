//! Contact sheets against pixels and numbers by hand.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../common/mod.rs"]
mod common;
mod contents;

use std::path::Path;

use fenchel::Error;
use fenchel::data::{Dataset, Normalization, OutputFile, ReadOptions};
use fenchel::engine::{Context, Cpu};
use fenchel::network::onnx;
use fenchel::network::operators::Dense;
use fenchel::network::{Constant, Network};
use fenchel::render::sheet::{
    Content, Drawn, Headings, ImageShape, Linear, Look, Row, Sheet, Tile, templates,
};
use fenchel::render::{ColourMap, Rgb, Scale, Text};
use image::RgbImage;
use ndarray::{Array2, array};

type Cpu64 = Cpu<f64>;

/// The pixels of a sheet, and where everything is.
fn drawn(sheet: &Sheet, look: &Look) -> (RgbImage, Drawn) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.png");
    let output = OutputFile::create(&path).unwrap();
    let drawn = sheet.draw(look, output, "", &Context::default()).unwrap();
    (image::open(&path).unwrap().to_rgb8(), drawn)
}

fn refused(sheet: &Sheet, look: &Look, context: &Context) -> Error {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.png");
    let fault = sheet.draw(look, OutputFile::create(&path).unwrap(), "", context).unwrap_err();
    assert!(!path.exists());
    fault
}

/// The pixels of a tile `[H, W]`, and the ring around it.
fn tile_of(picture: &RgbImage, [x, y, width, height]: [usize; 4]) -> (Vec<Vec<Rgb>>, Vec<Rgb>) {
    let pixel = |x: usize, y: usize| picture.get_pixel(x as u32, y as u32).0;
    let inside = (y..y + height).map(|y| (x..x + width).map(|x| pixel(x, y)).collect()).collect();
    let sides = (y - 1..=y + height).flat_map(|y| [pixel(x - 1, y), pixel(x + width, y)]);
    let ends = (x - 1..=x + width).flat_map(|x| [pixel(x, y - 1), pixel(x, y + height)]);
    (inside, sides.chain(ends).collect())
}

fn linear(input: &[usize], weights: Vec<f64>, bias: Vec<f64>) -> Network {
    let (d, k) = (input.iter().product::<usize>(), bias.len());
    let weights = Constant::f64([d, k], weights).unwrap();
    let mut builder = Network::builder();
    builder.input("x", input).unwrap();
    if input.len() > 1 {
        builder.layer(fenchel::network::operators::Reshape { shape: vec![d] }).unwrap();
    }
    let end = builder.layer(Dense::new(weights, Some(Constant::f64([k], bias).unwrap())).unwrap()).unwrap();
    builder.finish(&[end]).unwrap()
}

fn dataset(rows: &Array2<f64>) -> Dataset {
    Dataset::from_array(rows.view()).unwrap()
}

/// Two templates of 2 x 3 inputs, symmetric in nothing, as `[D, K]`.
fn two_templates() -> (Network, Array2<f64>) {
    let weights = array![[1.0, -6.0], [2.0, 0.5], [-3.0, 0.0], [4.0, 2.5], [0.25, -1.0], [-0.5, 3.5]];
    (linear(&[2, 3], weights.iter().copied().collect(), vec![0.5, -1.5]), weights)
}

/// A sheet of tiles of one row of numbers each.
fn plain(tiles: Vec<(Content, Vec<f32>)>) -> Sheet {
    let width = tiles[0].1.len();
    let count = tiles.len();
    let tile = |(content, values): (Content, Vec<f32>)| {
        Some(Tile { content, shape: [1, 1, values.len()], values, caption: vec![], aside: false })
    };
    Sheet {
        title: "plain".to_owned(),
        groups: vec![count],
        rows: vec![Row { tiles: tiles.into_iter().map(tile).collect(), ..Row::default() }],
        names: ["a".to_owned(), "b".to_owned(), "c".to_owned()],
        subject: Content::Signed,
        data_shape: vec![count, width],
    }
}

#[test]
fn colours_are_common_or_each_tile_has_its_own() {
    let sheet = plain(vec![
        (Content::Signed, vec![1.0, -0.5, 0.25]),
        (Content::Signed, vec![10.0, -5.0, 2.5]),
        (Content::Map, vec![3.0, 5.0, 4.0]),
    ]);
    let look = Look { zoom: Some(1), ..Look::default() };
    let pixels = |look: &Look| {
        let (picture, drawn) = drawn(&sheet, look);
        let rows = drawn.places.iter().map(|&place| tile_of(&picture, place).0.remove(0));
        (rows.collect::<Vec<_>>(), drawn)
    };
    let (common, drawn) = pixels(&look);
    assert_eq!(drawn.ranges, [None, Some([3.0, 5.0]), Some([-10.0, 10.0])]);
    assert_ne!(common[0], common[1]);
    let wide = Scale::new(ColourMap::Diverging, -10.0..10.0).unwrap();
    assert_eq!(common[0], [1.0, -0.5, 0.25].map(|v| wide.colour(v)));
    let own_look = Look { own: true, ..look.clone() };
    let (own, drawn) = pixels(&own_look);
    assert_eq!((drawn.ranges, &own[0]), ([None; 3], &own[1]));
    assert_eq!(own[1], common[1]);
    assert_eq!(own[2], common[2]);
    // A range that is given is that of the subject alone.
    let (given, drawn) = pixels(&Look { range: Some(-1.0..2.0), ..look.clone() });
    assert_eq!(drawn.ranges, [None, Some([3.0, 5.0]), Some([-2.0, 2.0])]);
    assert_eq!(given[1][..2], [wide.colour(10.0), wide.colour(-10.0)]);

    let context = Context::default();
    let fault = refused(&sheet, &Look { range: Some(0.0..1.0), ..own_look }, &context);
    assert_eq!(fault.to_string(), "with colours of its own for each tile there is no range");
    #[allow(clippy::reversed_empty_ranges, reason = "that it is refused")]
    let fault = refused(&sheet, &Look { range: Some(2.0..1.0), ..look.clone() }, &context);
    assert_eq!(fault.to_string(), "a range of colours must ascend: 2,1 does not");
    let fault = refused(&sheet, &Look { zoom: Some(0), ..look.clone() }, &context);
    assert_eq!(fault.to_string(), "a number has 1 to 256 pixels a side, not 0");
    let fault = refused(&sheet, &look, &context.with_memory(1 << 19));
    assert!(matches!(fault, Error::Memory { budget: 524_288, .. }), "{fault}");
}

#[test]
fn headings_and_captions_have_room() {
    let text = Text::new(12.0);
    let mut sheet = plain(vec![(Content::Map, vec![1.0, 2.0]), (Content::Map, vec![1.0, 3.0])]);
    let places = |sheet: &Sheet| drawn(sheet, &Look::default()).1;
    let narrow = places(&sheet);
    let (column, caption) =
        ("a heading that is wider than its column", "a caption that is wider still, much wider");
    let columns = vec![column.to_owned(), String::new()];
    sheet.rows[0].above = Some(Headings { groups: vec![], columns });
    let wide = places(&sheet);
    let apart = |drawn: &Drawn| (drawn.places[1][0] - drawn.places[0][0]) as f32;
    // Of two columns of unequal width the centres are apart by half of both.
    let least = f32::midpoint(text.width(column), wide.places[1][2] as f32);
    assert!(apart(&wide) >= least && apart(&narrow) < least, "{} {least}", apart(&wide));
    sheet.rows[0].tiles[1].as_mut().unwrap().caption = vec![caption.to_owned()];
    let both = places(&sheet);
    assert!(apart(&both) >= f32::midpoint(text.width(column), text.width(caption)));
    let end = both.places[1][0] + both.places[1][2] / 2;
    assert!(both.size[1] as f32 >= end as f32 + text.width(caption) / 2.0);
    assert_eq!(both.size[0], wide.size[0] + 16, "a line more");
    // A heading of many letters is cut, and tiles move to the right of it.
    sheet.rows[0].heading = vec!["m".repeat(500)];
    let cut = places(&sheet);
    let (moved, most) = (cut.places[0][0] - both.places[0][0], text.width(&"m".repeat(61)));
    assert!(moved as f32 > 0.9 * most && (moved as f32) < most, "{moved} {most}");
}

#[test]
fn sheets_that_cannot_be_are_refused() {
    let context = Context::default();
    let look = Look::default();
    let bad = plain(vec![(Content::Map, vec![1.0, 2.0]), (Content::Map, vec![1.0, f32::NAN])]);
    assert!(matches!(refused(&bad, &look, &context), Error::NonFinite { row: 1, .. }));
    let mut narrow = plain(vec![(Content::Map, vec![1.0]), (Content::Map, vec![1.0])]);
    narrow.groups = vec![];
    assert_eq!(refused(&narrow, &look, &context).to_string(), "a row of 2 tiles on a sheet of 0 columns");
    let mut short = plain(vec![(Content::Map, vec![1.0; 4])]);
    short.rows[0].tiles[0].as_mut().unwrap().shape = [1, 1, 5];
    assert_eq!(refused(&short, &look, &context).to_string(), "a tile of shape [1, 1, 5] with 4 numbers");
    let large = plain(vec![(Content::Map, vec![1.0; 5000])]);
    let fault = refused(&large, &Look { zoom: Some(256), ..look.clone() }, &context);
    assert!(matches!(&fault, Error::Argument(line) if line.contains("choose fewer rows")), "{fault}");
    let mut empty = plain(vec![(Content::Map, vec![1.0])]);
    empty.rows[0].tiles[0] = None;
    assert_eq!(refused(&empty, &look, &context).to_string(), "a sheet has at least one tile");

    let (network, _) = two_templates();
    let program = network.compile(&Cpu64::new()).unwrap();
    let x = array![[0.0, 0.5, 1.0, 0.25, 0.75, 0.125], [1.0, 0.0, 0.0, f64::NAN, 0.0, 2.0]];
    let (data, image) = (dataset(&x), ImageShape::of(&[2, 3]));
    let make = |rows: &[usize], outputs: &[usize], image| {
        templates(&program, &data, rows, outputs, image, Linear::Templates, &context)
    };
    let line = |made: fenchel::Result<Sheet>| made.unwrap_err().to_string();
    assert_eq!(line(make(&[2], &[0], image)), "there is no row 2 of the 2 in 'array'");
    assert_eq!(line(make(&[], &[0], image)), "a sheet shows at least one row of data");
    assert_eq!(line(make(&[0], &[], image)), "a sheet shows at least one output");
    assert_eq!(line(make(&[0], &[2], image)), "output 2 of a network with 2");
    assert!(matches!(make(&[0, 1], &[0], image), Err(Error::NonFinite { row: 1, .. })));
    let square = ImageShape::new(1, 2, 2).unwrap();
    assert_eq!(line(make(&[0], &[0], square)), "an image of 1x2x2 has 4 numbers, the rows have 6");
    let little = context.clone().with_memory(600);
    let fault = templates(&program, &data, &[0], &[0], image, Linear::Templates, &little).unwrap_err();
    assert!(matches!(&fault, Error::Memory { what, budget: 600, .. } if what.contains("jet")), "{fault}");
}

fn asset(name: &str) -> Network {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets").join(name);
    onnx::load(&path, &onnx::LoadOptions::default()).unwrap().network
}

fn digits() -> Dataset {
    let normalization = Normalization { scale: Some(0.0625), ..Normalization::default() };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/digits.npz");
    Dataset::open(&path, &ReadOptions { key: Some("x".to_owned()), normalization }).unwrap()
}

#[test]
fn the_memory_budget_changes_no_byte() {
    let (network, data) = (asset("digits_cnn.onnx"), digits());
    let program = network.compile(&Cpu::<f32>::new()).unwrap();
    let rows: Vec<usize> = (0..40).collect();
    let outputs: Vec<usize> = (0..10).collect();
    let jet = program.bytes_per_sample(Some(10));
    let make = |memory: u64| {
        let context = Context::default().with_memory(memory);
        let image = ImageShape::of(&[1, 8, 8]);
        let sheet =
            templates(&program, &data, &rows, &outputs, image, Linear::Contributions, &context).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.png");
        let context = context.with_memory(memory.max(2 << 20));
        sheet.draw(&Look::default(), OutputFile::create(&path).unwrap(), "", &context).unwrap();
        (sheet, std::fs::read(&path).unwrap())
    };
    let tiles = 40 * 11 * (256 + 4 * 64);
    // Two rows at a time, and all at once.
    let small = make(tiles + program.scratch_bytes() + 3 * jet);
    assert!(small == make(1 << 30));
}
