//! Pictures of exact partitions, against the network at each pixel.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::mlp;
use fenchel::data::OutputFile;
use fenchel::engine::{Activation, Context, Cpu};
use fenchel::network::operators::Dense;
use fenchel::network::{Constant, Network};
use fenchel::regions::Partition;
use fenchel::render::{Band, Field, NetworkField, PartitionField, Picture, Quantity};
use fenchel::spline::slice::{Slice, pixels};
use fenchel::tolerance::{EXACT, relative_difference};

type Double = Cpu<f64>;

/// The plane itself.
fn whole() -> Slice {
    Slice { origin: vec![0.0; 2], u: vec![1.0, 0.0], v: vec![0.0, 1.0] }
}

fn band(field: &dyn Field<Double>, size: [usize; 2], memory: u64) -> Band {
    let [across, up] = pixels::<f64>(size);
    field.band(&across, &up, 0, &Context::default().with_memory(memory)).unwrap()
}

fn numbers(band: Band) -> Vec<f64> {
    match band {
        Band::Numbers(values) => values.into_iter().map(f64::from).collect(),
        Band::Categories(values) => values.into_iter().map(f64::from).collect(),
    }
}

/// The outputs at each pixel, in f64.
fn outputs(network: &Network, [height, width]: [usize; 2]) -> Vec<Vec<f64>> {
    let [across, up] = pixels::<f64>([height, width]);
    let points: Vec<f64> = (0..height * width).flat_map(|i| [across[i % width], up[i / width]]).collect();
    let points = ndarray::Array2::from_shape_vec((height * width, 2), points).unwrap();
    let values = network.compile(&Double::new()).unwrap().values(points.view(), &Context::default()).unwrap();
    values.rows().into_iter().map(|row| row.to_vec()).collect()
}

#[test]
fn pixels_are_the_network_at_their_centres() {
    let network = mlp(17, [2, 20, 4], Activation::Relu);
    let partition = Partition::new(&network, &Context::default()).unwrap();
    assert!(partition.len() > 150, "{}", partition.len());
    let size = [83, 119];
    let exact = outputs(&network, size);
    let field = |quantity, of: &[usize]| PartitionField::new(&partition, quantity, of).unwrap();
    let value = numbers(band(&field(Quantity::Value, &[2]), size, 1 << 30));
    let reference: Vec<f64> = exact.iter().map(|row| f64::from(row[2] as f32)).collect();
    assert!(relative_difference(value, reference) < 1e-7);
    for of in [vec![0, 1, 2, 3], vec![3, 1]] {
        let classes = numbers(band(&field(Quantity::Class, &of), size, 1 << 30));
        let margins = numbers(band(&field(Quantity::Margin, &of), size, 1 << 30));
        for ((row, class), margin) in exact.iter().zip(classes).zip(margins) {
            let mut sorted: Vec<f64> = of.iter().map(|&k| row[k]).collect();
            sorted.sort_by(|a, b| b.total_cmp(a));
            assert!((margin - (sorted[0] - sorted[1])).abs() < 1e-6);
            assert!(sorted[0] - row[class as usize] < EXACT && of.contains(&(class as usize)));
        }
    }
    // As the picture of the network drawn pixel by pixel, but for ties.
    let direct =
        NetworkField::new(&Double::new(), &network, &whole(), Quantity::Class, &[0, 1, 2, 3]).unwrap();
    let (ours, theirs) = (
        numbers(band(&field(Quantity::Class, &[0, 1, 2, 3]), size, 1 << 30)),
        numbers(band(&direct, size, 1 << 30)),
    );
    assert_eq!(ours, theirs);
}

#[test]
fn each_pixel_is_in_its_region() {
    let network = mlp(19, [2, 24, 2], Activation::LeakyRelu { slope: 0.2 });
    let partition = Partition::new(&network, &Context::default()).unwrap();
    let size = [64, 50];
    let [across, up] = pixels::<f64>(size);
    let regions = numbers(band(&PartitionField::regions(&partition), size, 1 << 30));
    for (i, &region) in regions.iter().enumerate() {
        let corners: Vec<[f64; 2]> = partition.polygon(region as usize).collect();
        let (s, t) = (across[i % size[1]], up[i / size[1]]);
        let inside = (0..corners.len()).all(|j| {
            let (a, b) = (corners[j], corners[(j + 1) % corners.len()]);
            (b[0] - a[0]) * (t - a[1]) - (b[1] - a[1]) * (s - a[0]) >= -1e-14
        });
        assert!(inside, "pixel {i} is not in region {region}");
    }
    let seen = regions.iter().map(|&r| r as usize).collect::<std::collections::HashSet<_>>().len();
    assert!(2 * seen > partition.len(), "{seen} of {}", partition.len());
    assert!(
        numbers(band(&PartitionField::regions(&partition), size, 999)) == regions,
        "memory changes a pixel"
    );
}

#[test]
fn pixels_on_edges_belong_to_one_side() {
    // Edges through the middle column and the middle row, and along the diagonal.
    let weights = Constant::f64([2, 3], vec![1.0, 0.0, 1.0, 0.0, 1.0, 1.0]).unwrap();
    let mut builder = Network::builder();
    builder.input("x", &[2]).unwrap();
    builder.layer(Dense::new(weights, None).unwrap()).unwrap();
    builder.layer(Activation::Relu).unwrap();
    let sum = Constant::f64([3, 1], vec![1.0; 3]).unwrap();
    let end = builder.layer(Dense::new(sum, None).unwrap()).unwrap();
    let network = builder.finish(&[end]).unwrap();
    let partition = Partition::new(&network, &Context::default()).unwrap();
    assert_eq!(partition.len(), 6);
    let size = [9, 9];
    let regions = numbers(band(&PartitionField::regions(&partition), size, 1 << 30));
    // The middle column has the regions of the column to its right, the middle row those of the row above.
    let at = |row: usize, column: usize| regions[9 * row + column];
    assert!((0..4).all(|row| at(row, 4) == at(row, 5)));
    assert!((5..9).all(|column| at(4, column) == at(3, column)));
    let exact: Vec<f64> = outputs(&network, size).concat();
    let value =
        numbers(band(&PartitionField::new(&partition, Quantity::Value, &[0]).unwrap(), size, 1 << 30));
    assert!(relative_difference(value, exact) < 1e-7);
}

#[test]
fn partitions_are_fields_of_pictures() {
    let network = mlp(11, [2, 14, 4], Activation::Relu);
    let partition = Partition::new(&network, &Context::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let draw = |size: [usize; 2], memory: u64| {
        let path = folder.path().join("p.png");
        let picture = Picture::<Cpu<f32>> { samples: 2, ..Picture::new(size) };
        let field = PartitionField::new(&partition, Quantity::Class, &[0, 1, 2, 3]).unwrap();
        let context = Context::default().with_memory(memory);
        let drawn = picture.draw(&field, OutputFile::create(&path).unwrap(), None, &context).unwrap();
        (drawn, std::fs::read(&path).unwrap())
    };
    let (drawn, file) = draw([40, 30], 1 << 30);
    assert_eq!(drawn.categories.values().sum::<u64>(), 4 * 1200);
    assert!(drawn.categories.len() > 1, "{drawn:?}");
    assert!(file == draw([40, 30], 1100 << 10).1, "memory changes a byte");
    for (quantity, of) in [
        (Quantity::Value, vec![0, 1]),
        (Quantity::Class, vec![0]),
        (Quantity::Value, vec![4]),
        (Quantity::Margin, vec![1, 1]),
    ] {
        assert!(PartitionField::new(&partition, quantity, &of).is_err());
    }
}
