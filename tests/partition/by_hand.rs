//! Partitions of lines whose regions are known.

use fenchel::network::operators::Dense;

use super::common::dense;
use super::common::regions::{layer, relus};
use super::{check, check_degenerate};

#[test]
fn lines_by_hand() {
    // Three lines in general position that meet within the square: 7 regions, 3 vertices inside.
    let first = || layer([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]], [0.0, 0.25, -0.5]);
    let network = relus::<2>([first(), layer([[1.0], [1.0], [-1.0]], [0.0])]);
    let partition = check(&network, 100);
    assert_eq!(partition.len(), 7);
    let mesh = partition.mesh();
    let of = |degree: u32| mesh.degrees.iter().filter(|&&d| d == degree).count();
    // The corners, the ends of the lines on the border, the crossings.
    assert_eq!((of(2), of(3), of(4), mesh.degrees.len()), (4, 6, 3, 13));
    // Where all are on: s + (t + 0.25) - (s + t - 0.5) = 0.75.
    let all_on = partition.regions().find(|region| region.code == [0b111]).unwrap();
    assert_eq!((all_on.slopes, all_on.offsets), (&[0.0, 0.0][..], &[0.75][..]));
    // s > 0, t > -0.25, s + t < 0.5: a triangle with legs of 0.75.
    let corner = partition.regions().find(|region| region.code == [0b011]).unwrap();
    assert!((corner.area - 0.75 * 0.75 / 2.0).abs() < 1e-15 && corner.corners.len() == 3);
    assert_eq!((corner.slopes, corner.offsets), (&[1.0, 1.0][..], &[0.25][..]));
}

#[test]
fn units_that_coincide_or_are_parallel_make_no_slivers() {
    // Twice the same line, its double, its negative, and one that is parallel; then the same again behind it.
    let first = layer([[0.3, 0.3, 0.6, -0.3, 0.3], [0.7, 0.7, 1.4, -0.7, 0.7]], [0.1, 0.1, 0.2, -0.1, -0.2]);
    let second = layer(
        [[1.0, 1.0, 0.1], [0.0, -1.0, 0.2], [0.0, 0.0, -0.15], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]],
        [0.0, 0.0, 0.0],
    );
    let network = relus::<2>([first, second, layer([[1.0], [1.0], [1.0]], [0.0])]);
    let partition = check_degenerate(&network, 1);
    assert_eq!(partition.len(), 3);
}

#[test]
fn lines_through_one_point_and_through_corners() {
    // Four lines through (0.1, 0.2), two of them through corners of the square: 8 regions, one vertex of degree 8.
    let lines = [[0.8, -0.9], [1.2, 1.1], [1.0, 0.3], [0.2, -1.0]];
    let through = |[a, b]: [f64; 2]| -(a * 0.1 + b * 0.2);
    let first = layer([lines.map(|l| l[0]), lines.map(|l| l[1])], lines.map(through));
    let network = relus::<2>([first, layer([[1.0], [0.5], [-1.0], [2.0]], [0.0])]);
    let partition = check(&network, 30);
    assert_eq!((partition.len(), partition.mesh().degrees.iter().max()), (8, Some(&8)));
    // Later layers through the same point: of what is 0 there whatever the pieces.
    let first = layer([lines.map(|l| l[0]), lines.map(|l| l[1])], lines.map(through));
    let second = dense(3, 4, 6);
    let second = Dense::new(second.weights().clone(), None).unwrap();
    let partition = check_degenerate(&relus::<2>([first, second, dense(5, 6, 2)]), 1);
    assert!(partition.len() > 8 && partition.len() <= 8 * 7);
    let mesh = partition.mesh();
    assert_eq!(
        *mesh.degrees.iter().max().unwrap() as usize,
        partition.len(),
        "all regions meet in the point"
    );
}

#[test]
fn knots_on_edges_and_borders() {
    // Lines along the border, and one on which the first layer already bends.
    let first = layer([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]], [1.0, 0.0, -1.0]);
    let second = layer([[0.0, 1.0], [1.0, 0.0], [0.0, 0.0]], [0.0, -1.0]);
    let partition = check_degenerate(&relus::<2>([first, second, layer([[1.0], [1.0]], [0.0])]), 1);
    // Unit 0 is on, unit 2 off all over; 1 bends at s = 0, and so does 0 of the second layer; 1 of the second would
    // bend there too: (s + 1) - 1.
    assert_eq!(partition.len(), 2);
    assert_eq!(partition.region(0).code.len(), 2);
}

#[test]
fn constant_and_dead_units() {
    let first = layer([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]], [0.0, -5.0, 3.0]);
    let partition =
        check_degenerate(&relus::<2>([first, layer([[1.0, 1.0], [1.0, 2.0], [0.0, 0.0]], [0.0, 1.0])]), 1);
    // A unit that is 0 everywhere is on the side below.
    assert_eq!((partition.len(), partition.region(0).code), (1, &[0b100][..]));
    // A layer that is off as a whole, behind one that bends.
    let dead = layer([[-1.0; 3]; 4], [-0.1; 3]);
    let first = dense(7, 2, 4);
    let alone = check_degenerate(&relus::<2>([first.clone(), dense(8, 4, 1)]), 1).len();
    let partition = check_degenerate(&relus::<2>([first, dead, dense(9, 3, 2)]), 1);
    assert_eq!(partition.len(), alone);
    assert!(partition.regions().all(|region| region.slopes == [0.0; 4]));
}
