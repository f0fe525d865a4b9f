//! Exact partitions as drawings of lines, sharp at any size.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::regions::{Classes, Mesh, Partition, Point};

use super::{Rgb, category};

/// Units along a side of the drawing.
const SIDE: f64 = 1000.0;

/// The height of the title, and the border around the drawing.
const TITLE: f64 = 34.0;
const BORDER: f64 = 10.0;

/// Lines of regions, at most, and of decision boundaries.
const THIN: f64 = 0.8;
const THICK: f64 = 2.6;

/// What a drawing of a partition shows by colour.
#[derive(Debug, Clone, Copy)]
pub enum Fill<'a> {
    /// Each region for itself.
    Regions,
    /// The largest output; with the decision boundary as a thick line.
    Classes(&'a Classes),
}

/// A partition as an SVG: filled polygons, thin edges, `s` to the right and `t` up. Coordinates are written to 1e-6 of
/// the side.
pub fn partition_svg(partition: &Partition, mesh: &Mesh, fill: Fill<'_>, title: &str) -> String {
    let (width, height) = (SIDE + 2.0 * BORDER, SIDE + 2.0 * BORDER + TITLE);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"{BORDER}\" y=\"26\" font-family=\"sans-serif\" font-size=\"20\">{}</text>\n",
        escaped(title)
    );
    // One path of a colour, so that no seams show between its polygons.
    let mut paths: BTreeMap<Rgb, String> = BTreeMap::new();
    match fill {
        Fill::Regions => {
            for i in 0..partition.len() {
                outline(paths.entry(pale(category(i as u32))).or_default(), partition.polygon(i));
            }
        }
        Fill::Classes(classes) => {
            for (i, &class) in classes.classes().iter().enumerate() {
                outline(paths.entry(pale(category(class))).or_default(), classes.polygon(i));
            }
        }
    }
    for ([red, green, blue], path) in paths {
        let _ = writeln!(svg, "<path fill=\"#{red:02x}{green:02x}{blue:02x}\" d=\"{path}\"/>");
    }
    let vertices = partition.vertices();
    let edges = mesh.edges.iter().map(|edge| edge.vertices.map(|vertex| vertices[vertex as usize]));
    // So many lines that they would cover the picture are drawn thinner.
    let thin = THIN.min(60.0 / (partition.len() as f64).sqrt());
    svg += &format!("<path fill=\"none\" stroke=\"#222\" stroke-width=\"{thin:.3}\" d=\"");
    edges.for_each(|ends| line(&mut svg, ends));
    svg += "\"/>\n";
    if let Fill::Classes(classes) = fill {
        svg += &format!(
            "<path fill=\"none\" stroke=\"#000\" stroke-width=\"{THICK}\" stroke-linecap=\"round\" d=\""
        );
        classes.boundary().iter().for_each(|segment| line(&mut svg, segment.ends));
        svg += "\"/>\n";
    }
    svg + "</svg>\n"
}

/// Where a point of the plane lies in the drawing.
fn place([s, t]: Point) -> Point {
    [BORDER + 0.5 * SIDE * (1.0 + s), BORDER + TITLE + 0.5 * SIDE * (1.0 - t)]
}

fn outline(path: &mut String, corners: impl Iterator<Item = Point>) {
    for (i, corner) in corners.enumerate() {
        let [x, y] = place(corner);
        let _ = write!(path, "{}{} {}", if i == 0 { 'M' } else { 'L' }, short(x), short(y));
    }
    path.push('Z');
}

fn line(path: &mut String, ends: [Point; 2]) {
    let [[a, b], [c, d]] = ends.map(place);
    let _ = write!(path, "M{} {}L{} {}", short(a), short(b), short(c), short(d));
}

/// Three digits, without zeros at the end.
fn short(x: f64) -> f64 {
    (1000.0 * x).round() / 1000.0
}

/// Half the way to white: lines show on it.
fn pale(colour: Rgb) -> Rgb {
    colour.map(|c| (u16::from(c) / 2 + 127) as u8)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
