//! What the tiles of sheets show, against numbers by hand.

use fenchel::Error;
use fenchel::engine::{Activation, Context, Cpu, Curvature, Engine, Jets};
use fenchel::network::operators::Dense;
use fenchel::network::{Constant, Network};
use fenchel::render::sheet::{
    Channels, Content, ImageShape, Linear, Look, Other, SplineRows, Tile, channels, clusters, templates,
};
use fenchel::render::{ColourMap, Scale};
use fenchel::spline::{
    Form, HeldJets, JetSource, Metric, NetworkJets, Planes, Selection, Softness, Spline, Tangents, values,
};
use fenchel::tolerance::{APPROXIMATE, CLOSE, EXACT, relative_difference};
use ndarray::{Array2, array};

use super::common::{random, random_rows};
use super::{Cpu64, asset, dataset, digits, drawn, linear, tile_of, two_templates};

#[test]
fn templates_are_the_weights_pixel_by_pixel() {
    let (network, weights) = two_templates();
    let program = network.compile(&Cpu64::new()).unwrap();
    let x = array![[0.0, 0.5, 1.0, 0.25, 0.75, 0.125], [1.0, 0.0, 0.0, 0.0, 0.0, 2.0], [0.0; 6]];
    let image = ImageShape::of(&[2, 3]);
    let context = Context::default();
    let sheet =
        templates(&program, &dataset(&x), &[1, 0], &[1, 0], image, Linear::Templates, &context).unwrap();
    assert_eq!(sheet.data_shape, [2, 2, 1, 2, 3]);
    let (zoom, look) = (5, Look { zoom: Some(5), ..Look::default() });
    let (picture, drawn) = drawn(&sheet, &look);
    assert_eq!(drawn.size, [picture.height() as usize, picture.width() as usize]);
    assert_eq!(drawn.places.len(), 6);
    assert_eq!((drawn.ranges[2], drawn.extremes[2]), (Some([-6.0, 6.0]), Some([-6.0, 4.0])));
    assert_eq!(drawn.ranges[0], Some([0.0, 2.0]));

    let scale = Scale::new(ColourMap::Diverging, -6.0..6.0).unwrap();
    for (number, &place) in drawn.places.iter().enumerate() {
        let (row, column) = (number / 3, number % 3);
        assert_eq!(place[2..], [3 * zoom, 2 * zoom]);
        let (inside, ring) = tile_of(&picture, place);
        for (y, line) in inside.iter().enumerate() {
            for (x_at, pixel) in line.iter().enumerate() {
                let at = y / zoom * 3 + x_at / zoom;
                let expected = match column {
                    // Grey, between 0 and 2, the largest input of both rows.
                    0 => [(255.0 * x[[1 - row, at]] / 2.0).round() as u8; 3],
                    // Outputs were chosen the other way round.
                    _ => scale.colour(weights[[at, 2 - column]]),
                };
                assert_eq!(*pixel, expected, "tile {number}, {x_at} {y}");
            }
        }
        // A frame, and no letter of a heading in it.
        assert!(ring.iter().all(|pixel| *pixel == ring[0]), "tile {number}");
    }
    // Tiles lie in rows and columns, apart.
    let places = &drawn.places;
    assert!(places[0][1] == places[2][1] && places[3][1] > places[0][1] + 2 * zoom + 2);
    assert!(places[1][0] == places[4][0] && places[2][0] > places[1][0] + 3 * zoom + 2);
    // Values stand below: 1 * -6 + 2 * 3.5 - 1.5, and 1 - 2 * 0.5 + 0.5.
    let captions: Vec<&str> = sheet.tiles().flat_map(|tile| &tile.caption).map(String::as_str).collect();
    assert_eq!(captions[..2], ["-0.500", "0.500"]);
    // Something is written beside the tiles, and nothing where no caption is.
    let inked = |[x, y, width, height]: [usize; 4]| {
        let pixels = (y..y + height).flat_map(|y| (x..x + width).map(move |x| (x, y)));
        pixels.into_iter().any(|(x, y)| picture.get_pixel(x as u32, y as u32).0[0] < 128)
    };
    let [x, y, width, height] = places[1];
    assert!(inked([x, y + height + 2, width, 14]), "a caption");
    assert!(inked([x, y - 18, width, 16]), "a heading of a column");
    assert!(inked([0, y, places[0][0] - 2, height]), "a heading of a row");
    let [x, y, width, height] = places[0];
    assert!(!inked([x, y + height + 2, width, 14]), "inputs have no caption");
}

#[test]
fn three_channels_are_panels_or_colours() {
    // Output = the sum over channels c and pixels p of (c + 1) (p - 1.5) x.
    let weights: Vec<f64> = (0..12).map(|i| f64::from(i / 4 + 1) * (f64::from(i % 4) - 1.5)).collect();
    let network = linear(&[3, 2, 2], weights.clone(), vec![0.0]);
    let program = network.compile(&Cpu64::new()).unwrap();
    let x = Array2::from_shape_fn((1, 12), |(_, i)| i as f64);
    let context = Context::default();
    let make =
        |image| templates(&program, &dataset(&x), &[0], &[0], image, Linear::Templates, &context).unwrap();
    let sheet = make(ImageShape::of(&[3, 2, 2]));
    let look = Look { zoom: Some(2), ..Look::default() };
    let (picture, panels) = drawn(&sheet, &look);
    // The input in colour, of 4 x 4 pixels; three panels with 2 pixels between.
    assert_eq!((&panels.places[0][2..], &panels.places[1][2..]), (&[4, 4][..], &[16, 4][..]));
    let grey = |value: f64| (255.0 * value / 11.0).round() as u8;
    let (inside, _) = tile_of(&picture, panels.places[0]);
    assert_eq!(inside[3][0], [2.0, 6.0, 10.0].map(grey));
    let scale = Scale::new(ColourMap::Diverging, -4.5..4.5).unwrap();
    let (inside, ring) = tile_of(&picture, panels.places[1]);
    for (channel, left) in [0, 6, 12].into_iter().enumerate() {
        for at in 0..4 {
            let (x, y) = (left + 2 * (at % 2), 2 * (at / 2));
            assert_eq!(inside[y + 1][x + 1], scale.colour(weights[4 * channel + at]));
        }
    }
    assert!(inside.iter().all(|line| line[4..6] == [ring[0]; 2] && line[10..12] == [ring[0]; 2]));

    let (picture, colours) = drawn(&sheet, &Look { rgb: true, ..look });
    assert_eq!(colours.places[1][2..], [4, 4]);
    let (inside, _) = tile_of(&picture, colours.places[1]);
    // The last pixel is 1.5, 3, 4.5 out of 4.5; the first the opposite.
    assert_eq!((inside[3][3], inside[0][0]), ([170, 213, 255], [85, 43, 0]));

    // The same numbers as four pixels of three channels each.
    let last = make(ImageShape::of(&[2, 2, 3]));
    let tile = &last.rows[0].tiles[1].as_ref().unwrap();
    assert_eq!((tile.shape, tile.values[1]), ([3, 2, 2], weights[3] as f32));
    // As one row: no channels.
    let flat = make("1x12".parse().unwrap());
    assert_eq!(flat.rows[0].tiles[1].as_ref().unwrap().shape, [1, 1, 12]);
}

#[test]
fn contributions_and_the_offset_make_the_output() {
    // Hidden units 1, -2 and 0.5 at the first row; the second is inactive.
    let first = Constant::f64([2, 3], vec![1.0, -1.0, 2.0, 0.5, 0.25, -3.0]).unwrap();
    let second = Constant::f64([3, 1], vec![2.0, 5.0, -4.0]).unwrap();
    let mut builder = Network::builder();
    builder.input("x", &[2]).unwrap();
    builder
        .layer(Dense::new(first, Some(Constant::f64([3], vec![-1.0, 0.5, 1.0]).unwrap())).unwrap())
        .unwrap();
    builder.layer(Activation::Relu).unwrap();
    let end =
        builder.layer(Dense::new(second, Some(Constant::f64([1], vec![0.75]).unwrap())).unwrap()).unwrap();
    let network = builder.finish(&[end]).unwrap();
    let program = network.compile(&Cpu64::new()).unwrap();
    let x = array![[2.0, 1.5]];
    // u = (2 + 0.75 - 1, -2 + 0.375 + 0.5, 4 - 4.5 + 1) = (1.75, -1.125, 0.5); A = 2 (1, 0.5) - 4 (2, -3); b = -2 - 4 + 0.75.
    let (slope, offset, output) = ([-6.0, 13.0], -5.25, 2.0 * 1.75 - 4.0 * 0.5 + 0.75);
    let context = Context::default();
    let of = |linear| {
        let image = ImageShape::of(&[2]);
        let sheet = templates(&program, &dataset(&x), &[0], &[0], image, linear, &context).unwrap();
        sheet.rows[0].tiles[1].clone().unwrap()
    };
    let (template, contribution) = (of(Linear::Templates), of(Linear::Contributions));
    assert_eq!(template.values, slope.map(|p| p as f32));
    assert_eq!(contribution.values, [-12.0, 19.5]);
    assert_eq!(contribution.values.iter().sum::<f32>() + offset, output as f32);
    assert_eq!((template.caption, contribution.caption), (vec!["2.25".to_owned()], vec!["2.25".to_owned()]));
}

/// Jets that belong to no network, in general position.
fn jets([m, k, d]: [usize; 3]) -> (HeldJets<Cpu64>, [Vec<f64>; 3]) {
    let engine = Cpu64::new();
    let parts = [random(1, m * d), random(2, m * k), random(3, m * k * d)];
    let upload = |values: &[f64], shape: &[usize]| engine.upload(values, shape).unwrap();
    let jets = Jets {
        points: upload(&parts[0], &[m, d]),
        values: upload(&parts[1], &[m, k]),
        jacobians: upload(&parts[2], &[m, k, d]),
    };
    (HeldJets::new(&engine, jets), parts)
}

#[test]
fn slopes_are_those_of_the_active_pieces() {
    let (m, k, d) = (9, 3, 4);
    let (source, [points, values_at, slopes_at]) = jets([m, k, d]);
    let weights = vec![0.5, 2.0, 1.0, 0.75];
    let spline = Spline {
        metric: Metric::diagonal(weights.clone()).unwrap(),
        curvature: [0.5, 1.0, 2.0].map(|a| Curvature { a, b: 3.0 * a }).to_vec(),
        form: Form::Tangents(Tangents { lower: Selection::Some(vec![0, 2, 3, 5, 8]), ..Tangents::default() }),
        ..Spline::isotropic(1.0, k).unwrap()
    };
    let (x, context) = (random_rows(7, 11, d), Context::default());
    let data = dataset(&x);
    let (rows, outputs, image) = ([3, 0, 10], [2, 0], ImageShape::of(&[4]));
    let shown =
        |spline| SplineRows { spline, source: &source, data: &data, rows: &rows, outputs: &outputs, image };
    let sheet = shown(&spline).slopes(&context).unwrap();
    let images = shown(&spline).anchors(&context).unwrap();
    assert_eq!(
        (&sheet.data_shape[..], &images.data_shape[..]),
        (&[3, 2, 3, 1, 2, 2][..], &[3, 2, 2, 1, 2, 2][..])
    );

    for (n, &row) in rows.iter().enumerate() {
        for (at, &output) in outputs.iter().enumerate() {
            let Curvature { a, b } = spline.curvature[output];
            let x: Vec<f64> = x.row(row).to_vec();
            // T_i(x), and |x - x_i|_P^2
            let tangent = |i: usize| {
                let slope = &slopes_at[(i * k + output) * d..][..d];
                let along = (0..d).map(|j| slope[j] * (x[j] - points[i * d + j])).sum::<f64>();
                let squared = (0..d).map(|j| weights[j] * (x[j] - points[i * d + j]).powi(2)).sum::<f64>();
                (values_at[i * k + output] + along, squared)
            };
            let lower = |i: &usize| tangent(*i).0 - a / 2.0 * tangent(*i).1;
            let upper = |i: &usize| tangent(*i).0 + b / 2.0 * tangent(*i).1;
            let convex = [0, 2, 3, 5, 8].into_iter().max_by(|i, j| lower(i).total_cmp(&lower(j))).unwrap();
            let concave = (0..m).min_by(|i, j| upper(i).total_cmp(&upper(j))).unwrap();
            let slope = |i: usize, bend: f64, j: usize| {
                slopes_at[(i * k + output) * d + j] + bend * weights[j] * points[i * d + j]
            };
            let tiles = &sheet.rows[n].tiles[1 + 3 * at..][..3];
            let tiles: Vec<&Tile> = tiles.iter().flatten().collect();
            for j in 0..d {
                let (low, high) = (slope(convex, a, j), slope(concave, -b, j));
                let mean = (b * low + a * high) / (a + b);
                for (tile, expected) in tiles.iter().zip([low, high, mean]) {
                    assert!((f64::from(tile.values[j]) - expected).abs() < CLOSE, "{row} {output} {j}");
                }
            }
            let value = (b * lower(&convex) + a * upper(&concave)) / (a + b);
            let captions: Vec<&str> = tiles.iter().map(|tile| &tile.caption[0][..]).collect();
            assert_eq!(captions[..2], [format!("piece {convex}"), format!("piece {concave}")]);
            assert!((captions[2].parse::<f64>().unwrap() - value).abs() < 0.01 * value.abs());
            for (half, anchor) in [convex, concave].into_iter().enumerate() {
                let tile = images.rows[n].tiles[1 + 2 * at + half].as_ref().unwrap();
                assert_eq!(tile.caption, [format!("anchor {anchor}")]);
                let expected = points[anchor * d..][..d].iter().copied();
                assert!(relative_difference(tile.values.iter().map(|&v| v.into()), expected) < CLOSE);
            }

            // The spline is affine around the point.
            let step = 1e-6;
            let around =
                Array2::from_shape_fn((d + 1, d), |(i, j)| x[j] + if i == j + 1 { step } else { 0.0 });
            let found = values(&spline, &source, &dataset(&around), &context).unwrap();
            for j in 0..d {
                let rise = (found[(j + 1) * k + output] - found[output]) / step;
                assert!((rise - f64::from(tiles[2].values[j])).abs() < APPROXIMATE, "{row} {output} {j}");
            }
        }
    }

    // The same pieces as the spline's own: slopes about the middle of the anchors, with the same mean.
    let all =
        Spline { form: Form::Tangents(Tangents::default()), metric: Metric::Identity, ..spline.clone() };
    let planes = Planes::of_tangents(&source, &all.curvature, &context).unwrap();
    let own = Spline { form: Form::Planes(planes.clone()), ..all.clone() };
    let (tangents, own_sheet) =
        (shown(&all).slopes(&context).unwrap(), shown(&own).slopes(&context).unwrap());
    let pairs = tangents.rows[0].tiles.iter().zip(&own_sheet.rows[0].tiles).skip(1);
    for (at, (tile, of_own)) in pairs.enumerate() {
        let (tile, of_own) = (tile.as_ref().unwrap(), of_own.as_ref().unwrap());
        assert_eq!(tile.caption, of_own.caption);
        let Curvature { a, b } = all.curvature[outputs[at / 3]];
        let bend = [a, -b, 0.0][at % 3];
        let shifted = of_own.values.iter().zip(&planes.center).map(|(&p, c)| f64::from(p) + bend * c);
        assert!(relative_difference(shifted, tile.values.iter().map(|&p| p.into())) < CLOSE, "{at}");
    }
    let piece: usize = own_sheet.rows[0].tiles[1].as_ref().unwrap().caption[0][6..].parse().unwrap();
    let plane = &planes.lower.slopes[(outputs[0] * m + piece) * d..][..d];
    assert_eq!(own_sheet.rows[0].tiles[1].as_ref().unwrap().values, plane);

    let fault = shown(&own).anchors(&context).unwrap_err().to_string();
    assert!(fault.starts_with("the spline has pieces of its own, which belong to no anchors"), "{fault}");
    let soft = Tangents { softness: Softness::Nearest(0.1), ..Tangents::default() };
    let soft = Spline { form: Form::Tangents(soft), ..all.clone() };
    for made in [shown(&soft).slopes(&context), shown(&soft).anchors(&context)] {
        assert!(made.unwrap_err().to_string().contains("soft"));
    }
    let little = Context::default().with_memory(20 * 256 + 1000);
    assert!(matches!(shown(&spline).slopes(&little), Err(Error::Memory { .. })));
}

#[test]
fn maps_are_those_of_the_node_and_differences_are_measured() {
    let (network, data, context) = (asset("digits_cnn.onnx"), digits(), Context::default());
    let cut = network.cut(None, Some("relu1")).unwrap();
    let engine = Cpu::<f32>::new();
    let program = cut.compile(&engine).unwrap();
    let rows = [5, 1];
    let expected = program.values(data.gather(&rows).unwrap().view(), &context).unwrap();
    let chosen: Vec<usize> = (0..16).rev().collect();
    let image = ImageShape::of(&[1, 8, 8]);
    let subject = Channels { program: &program, node: [16, 8, 8], chosen: &chosen, other: None };
    let (sheet, difference) = channels(&subject, &data, &rows, image, &context).unwrap();
    assert!(difference.is_none() && sheet.rows.len() == 2 && sheet.data_shape == [2, 16, 8, 8]);
    for (n, row) in sheet.rows.iter().enumerate() {
        for (at, tile) in row.tiles.iter().flatten().enumerate().skip(1) {
            let channel = 16 - at;
            let map = expected.row(n).to_vec()[64 * channel..64 * (channel + 1)].to_vec();
            assert_eq!((tile.content, &tile.values), (Content::Map, &map), "{n} {channel}");
        }
    }

    // Two networks whose first layers have as many units, as eight channels of 8 x 1.
    let program_of =
        |name: &str, node: &str| asset(name).cut(None, Some(node)).unwrap().compile(&engine).unwrap();
    let (gelu, sigmoid) =
        (program_of("digits_gelu.onnx", "gelu1"), program_of("digits_sigmoid.onnx", "sigmoid1"));
    let x = data.gather(&rows).unwrap();
    let [own, other] = [&gelu, &sigmoid].map(|program| program.values(x.view(), &context).unwrap());
    let chosen = [7, 2, 3, 0, 1, 4, 5];
    let subject =
        Channels { program: &gelu, node: [8, 8, 1], chosen: &chosen, other: Some(Other::Program(&sigmoid)) };
    let (sheet, difference) = channels(&subject, &data, &rows, image, &context).unwrap();
    let difference = difference.unwrap();
    assert_eq!(sheet.data_shape, [2, 7, 3, 8, 1]);
    // Five channels in a row of tiles.
    assert_eq!(sheet.rows.iter().map(|row| row.tiles.len()).collect::<Vec<_>>(), [16, 7, 16, 7]);
    let (mut squares, mut all) = (vec![0.0; 7], vec![]);
    for n in 0..2 {
        let of_row = sheet.rows[2 * n..2 * n + 2].iter().flat_map(|row| row.tiles[1..].iter().flatten());
        let tiles: Vec<&Tile> = of_row.collect();
        for (at, &channel) in chosen.iter().enumerate() {
            for i in 0..8 {
                let (own, other) = (own[[n, 8 * channel + i]], other[[n, 8 * channel + i]]);
                let shown = [0, 1, 2].map(|part| tiles[3 * at + part].values[i]);
                assert_eq!(shown, [own, other, (f64::from(other) - f64::from(own)) as f32]);
                squares[at] += (f64::from(other) - f64::from(own)).powi(2);
                all.push(f64::from(own));
            }
        }
    }
    let rms: Vec<f64> = squares.iter().map(|sum| (sum / 16.0).sqrt()).collect();
    assert!(relative_difference(difference.channels.clone(), rms) < EXACT);
    let total = (squares.iter().sum::<f64>() / 112.0).sqrt();
    let mean = all.iter().sum::<f64>() / 112.0;
    let deviation = (all.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 112.0).sqrt();
    assert!((difference.rms - total).abs() < EXACT && total > 0.1);
    assert!((difference.relative.unwrap() - total / deviation).abs() < EXACT * 10.0);

    // A spline with the rows themselves among its anchors is the network there.
    let jets = NetworkJets::new(&gelu, data.select_range(0..20).unwrap(), (0..64).collect()).unwrap();
    let spline = Spline::isotropic(50.0, 64).unwrap();
    let of_spline = |chosen, source: &dyn JetSource<_>| {
        let other = Some(Other::Spline(&spline, source));
        let subject = Channels { program: &gelu, node: [1, 8, 8], chosen, other };
        channels(&subject, &data, &rows, image, &context).map(|(_, difference)| difference.unwrap())
    };
    assert!(of_spline(&[0], &jets).unwrap().relative.unwrap() < CLOSE);

    let few = NetworkJets::new(&gelu, data.select_range(0..20).unwrap(), vec![3]).unwrap();
    let fault = of_spline(&[0], &few).unwrap_err().to_string();
    assert_eq!(fault, "the spline makes 1 values of 64 elements; the node makes 64 of 64");
    let fault = of_spline(&[1], &jets).unwrap_err().to_string();
    assert_eq!(fault, "there is no channel 1: expected 0 to 0");
    assert_eq!(of_spline(&[], &jets).unwrap_err().to_string(), "a sheet shows at least one channel");
}

#[test]
fn clusters_are_labelled_with_their_rows_and_classes() {
    // Seven rows about (10, 0, 0, 0), four about (0, 0, 0, 10), two about (0, 5, 5, 0).
    let x = Array2::from_shape_fn((13, 4), |(i, j)| {
        let center = match i % 6 {
            0 | 2 | 4 => [10.0, 0.0, 0.0, 0.0],
            1 | 3 => [0.0, 0.0, 0.0, 10.0],
            _ => [0.0, 5.0, 5.0, 0.0],
        };
        center[j] + 0.125 * (i / 6) as f64
    });
    let (engine, context) = (Cpu64::new(), Context::default());
    let network =
        linear(&[4], vec![0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 3.0], vec![0.0; 3]);
    let program = network.compile(&engine).unwrap();
    let image = ImageShape::of(&[4]);
    let made = clusters(&engine, Some((&program, &[0, 2])), &dataset(&x), 3, image, &context).unwrap();
    assert_eq!(made.clusters.sizes, [7, 4, 2]);
    let tiles: Vec<&Tile> = made.sheet.tiles().collect();
    let mean = |rows: &[usize], j: usize| rows.iter().map(|&i| x[[i, j]]).sum::<f64>() / rows.len() as f64;
    for (tile, rows) in tiles.iter().zip([&[0, 2, 4, 6, 8, 10, 12][..], &[1, 3, 7, 9], &[5, 11]]) {
        assert_eq!(tile.shape, [1, 2, 2]);
        let expected = (0..4).map(|j| mean(rows, j));
        assert!(relative_difference(tile.values.iter().map(|&v| v.into()), expected) < CLOSE);
    }
    // Weights [4, 3] of outputs 0 and 2: the first mean ties near 0, where the first wins.
    let classes = made.classes.unwrap();
    let class = |mean: &[f64]| {
        let weights = [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 3.0]];
        let value = |k: usize| mean.iter().zip(weights).map(|(x, w)| x * w[k]).sum::<f64>();
        if value(2) > value(0) { 2 } else { 0 }
    };
    let expected: Vec<usize> = made.clusters.means.chunks(4).map(class).collect();
    assert_eq!(classes, expected);
    assert_eq!(tiles[1].caption, ["1: 4 rows", "class 2"]);
    let fault = clusters::<Cpu64>(&engine, None, &dataset(&x), 14, image, &context).map(drop).unwrap_err();
    assert_eq!(fault.to_string(), "14 clusters of 13 rows: expected 1 to 13");
}
