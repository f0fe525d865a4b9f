//! `fenchel partition`: the exact regions of a network on a plane.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Instant;

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::data::{NpzEntry, NpzWriter, OutputFile};
use crate::engine::{Context, Cpu};
use crate::network::Network;
use crate::regions::{Classes, CodeLayer, Mesh, Partition, Segment};
use crate::render::{Fill, partition_svg, read_plane};
use crate::spline::slice::Slice;
use crate::{Error, Result};

use super::args;
use super::session::{Session, file_name};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fenchel partition model.onnx --plane plane.npz -o partition.json --svg partition.svg
  # Their number alone, however many
  fenchel partition model.onnx --plane plane.npz --count

Takes affine and piecewise affine operators (dense layers, convolutions, normalisation, pools, sums of branches; \
    ReLU, leaky ReLU, max-pooling); of smooth activations fenchel layers --save makes such. Computes on the CPU in f64. \
    The plane is origin + s u + t v with s and t in [-1, 1]; each region is a convex polygon with the affine map slope \
    [K, 2], offset [K] in s and t. Arrays of --npz: vertices [V, 2], corners [C] (numbers of vertices, region by \
    region), ends [R] (where each region ends among them), area [R], slope [R, K, 2], offset [R, K], code [R, words], \
    and the affine map in input space, A [R, K, D] and b [R, K].")]
pub(super) struct Arguments {
    #[command(flatten)]
    pub model: args::Model,

    /// The plane: arrays origin, u, v [D], as fenchel plane writes them
    #[arg(long, value_name = "PLANE.npz")]
    pub plane: PathBuf,

    #[command(flatten)]
    pub outputs: args::Outputs,

    /// Where the regions go
    #[arg(short, long, value_name = "P.json", required_unless_present = "count")]
    pub output: Option<PathBuf>,

    /// Only count them: no region is kept, so that there may be any number
    #[arg(long, conflicts_with_all = ["npz", "svg"])]
    pub count: bool,

    /// End the count once there are more than so many
    #[arg(long, value_name = "N", requires = "count", value_parser = clap::value_parser!(u64).range(1..))]
    pub budget: Option<u64>,

    /// Where they go as arrays, with codes and slopes in input space
    #[arg(long, value_name = "P.npz")]
    pub npz: Option<PathBuf>,

    /// Where a drawing of them goes
    #[arg(long, value_name = "P.svg")]
    pub svg: Option<PathBuf>,

    /// What the drawing shows by colour [default: classes where there are several outputs, else regions]
    #[arg(long, value_enum, requires = "svg")]
    pub colour: Option<Colour>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Colour {
    /// The largest output
    Class,
    /// Each region for itself
    Region,
}

/// What is printed, and what the regions' file begins with.
#[derive(Serialize)]
struct Summary {
    label: &'static str,
    count: usize,
    area: f64,
    seconds: f64,
    /// Regions below 1e-9 of the area.
    tiny: usize,
    vertices: usize,
    edges: usize,
    /// How many vertices have how many edges.
    degrees: BTreeMap<u32, usize>,
    /// Edges of one region alone that are not at the border.
    open_edges: usize,
    layers: Vec<Layer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<Decision>,
}

#[derive(Serialize)]
struct Layer {
    node: String,
    units: usize,
    bits: usize,
    first_word: usize,
}

/// What is printed and written of regions that are counted.
#[derive(Serialize)]
struct Counted {
    label: &'static str,
    count: u64,
    /// Absent where capped: what was found by then is left to chance.
    #[serde(skip_serializing_if = "Option::is_none")]
    area: Option<f64>,
    seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    tiny: Option<u64>,
    layers: Vec<Layer>,
}

/// The decision boundary between the chosen outputs.
#[derive(Serialize)]
struct Decision {
    segments: usize,
    length: f64,
    /// The share of the area of each class.
    shares: BTreeMap<u32, f64>,
}

#[derive(Serialize)]
struct Row<'a> {
    polygon: &'a [[f64; 2]],
    slope: &'a [[f64; 2]],
    offset: &'a [f64],
    area: f64,
}

#[derive(Serialize)]
struct Piece {
    from: [f64; 2],
    to: [f64; 2],
    classes: [u32; 2],
}

pub(super) fn partition(session: &Session, arguments: &Arguments) -> Result<()> {
    let files = [arguments.output.as_ref(), arguments.npz.as_ref(), arguments.svg.as_ref()];
    let files: Vec<&PathBuf> = files.into_iter().flatten().collect();
    if let Some(path) =
        files.iter().enumerate().find_map(|(i, path)| files[..i].contains(path).then_some(path))
    {
        return Err(Error::Argument(format!("two results cannot share the file '{}'", path.display())));
    }
    let context = &session.context;
    let slice = read_plane(&arguments.plane)?;
    let network = arguments.model.load()?.network;
    let outputs = arguments.outputs.choose(network.output_len())?;
    if let Some(k) = outputs.iter().enumerate().find_map(|(i, k)| outputs[..i].contains(k).then_some(k)) {
        return Err(Error::Argument(format!("output {k} is chosen twice")));
    }
    if arguments.colour == Some(Colour::Class) && outputs.len() < 2 {
        return Err(Error::Argument("--colour class needs at least two outputs".to_owned()));
    }
    let json = arguments.output.as_ref().map(|path| OutputFile::create(path)).transpose()?;
    let npz = arguments.npz.as_ref().map(|path| OutputFile::create(path)).transpose()?;
    let svg = arguments.svg.as_ref().map(|path| OutputFile::create(path)).transpose()?;

    let start = Instant::now();
    let sliced = network.on_slice(&slice.origin, &[&slice.u, &slice.v])?;
    if arguments.count {
        let budget = arguments.budget.unwrap_or(u64::MAX);
        let count = Partition::count_up_to(&sliced, budget, context).map_err(with_advice)?;
        let counted = Counted {
            label: if count.capped { "capped" } else { "exact" },
            count: count.regions,
            area: (!count.capped).then_some(count.area),
            seconds: start.elapsed().as_secs_f64(),
            tiny: (!count.capped).then_some(count.tiny),
            layers: count.layers.iter().map(layer).collect(),
        };
        if let Some(mut json) = json {
            json.put(&serde_json::to_vec(&counted).map_err(|e| Error::Graph(e.to_string()))?)?;
            json.commit()?;
        }
        return session.print(&counted, || count_text(&counted));
    }
    let partition = Partition::new(&sliced, context).map_err(with_advice)?;
    let seconds = start.elapsed().as_secs_f64();

    let mesh = partition.mesh();
    let classes = if outputs.len() > 1 { Some(partition.classes(&outputs)?) } else { None };
    let boundary = classes.as_ref().map(Classes::boundary);
    let summary = summary(&partition, &mesh, classes.as_ref().zip(boundary.as_deref()), seconds);
    if let Some(json) = json {
        write_json(json, &partition, &outputs, &summary, boundary.as_deref().unwrap_or(&[]))?;
    }
    if let Some(npz) = npz {
        write_arrays(npz, &partition, &outputs, &network, &slice, context)?;
    }
    if let Some(mut svg) = svg {
        let fill = match (arguments.colour, &classes) {
            (Some(Colour::Region), _) | (_, None) => Fill::Regions,
            (_, Some(classes)) => Fill::Classes(classes),
        };
        let title = format!("{}: {} regions", file_name(&arguments.model.model), partition.len());
        svg.put(partition_svg(&partition, &mesh, fill, &title).as_bytes())?;
        svg.commit()?;
    }
    session.print(&summary, || text(&summary))
}

fn with_advice(error: Error) -> Error {
    match error {
        Error::MissingSlot { .. } => Error::Graph(format!(
            "{error}; of smooth activations fenchel layers --save makes piecewise affine ones"
        )),
        other => other,
    }
}

fn layer(layer: &CodeLayer) -> Layer {
    Layer { node: layer.name.clone(), units: layer.units, bits: layer.bits(), first_word: layer.words.start }
}

fn summary(
    partition: &Partition,
    mesh: &Mesh,
    decision: Option<(&Classes, &[Segment])>,
    seconds: f64,
) -> Summary {
    let mut degrees = BTreeMap::new();
    mesh.degrees.iter().for_each(|&degree| *degrees.entry(degree).or_default() += 1);
    let decision = decision.map(|(classes, boundary)| {
        let mut shares = BTreeMap::new();
        for (&class, area) in classes.classes().iter().zip(classes.areas()) {
            *shares.entry(class).or_default() += area / 4.0;
        }
        let length = |segment: &Segment| {
            let [[a, b], [c, d]] = segment.ends;
            (c - a).hypot(d - b)
        };
        Decision { segments: boundary.len(), length: boundary.iter().map(length).sum(), shares }
    });
    Summary {
        label: "exact",
        count: partition.len(),
        area: partition.area(),
        seconds,
        tiny: partition.tiny(),
        vertices: partition.vertices().len(),
        edges: mesh.edges.len(),
        degrees,
        open_edges: mesh.open,
        layers: partition.layers().iter().map(layer).collect(),
        decision,
    }
}

/// The summary, and region by region what has no place in memory twice.
fn write_json(
    mut file: OutputFile,
    partition: &Partition,
    outputs: &[usize],
    summary: &Summary,
    boundary: &[Segment],
) -> Result<()> {
    let mut write = || -> io::Result<()> {
        let head = serde_json::to_string(summary)?;
        file.write_all(&head.as_bytes()[..head.len() - 1])?;
        file.write_all(b",\n\"regions\": [")?;
        let (mut polygon, mut slope, mut offset) = (vec![], vec![], vec![]);
        for (i, region) in partition.regions().enumerate() {
            polygon.clear();
            polygon.extend(partition.polygon(i));
            slope.clear();
            slope.extend(outputs.iter().map(|&k| [region.slopes[2 * k], region.slopes[2 * k + 1]]));
            offset.clear();
            offset.extend(outputs.iter().map(|&k| region.offsets[k]));
            file.write_all(if i == 0 { b"\n" } else { b",\n" })?;
            let row = Row { polygon: &polygon, slope: &slope, offset: &offset, area: region.area };
            serde_json::to_writer(&mut file, &row)?;
        }
        file.write_all(b"\n],\n\"boundary\": [")?;
        for (i, segment) in boundary.iter().enumerate() {
            file.write_all(if i == 0 { b"\n" } else { b",\n" })?;
            let [from, to] = segment.ends;
            serde_json::to_writer(&mut file, &Piece { from, to, classes: segment.classes })?;
        }
        file.write_all(b"\n]}\n")
    };
    write().map_err(Error::io("write", file.path()))?;
    file.commit()
}

fn write_arrays(
    file: OutputFile,
    partition: &Partition,
    outputs: &[usize],
    network: &Network,
    slice: &Slice,
    context: &Context,
) -> Result<()> {
    let (r, k, d, words) = (partition.len(), outputs.len(), slice.origin.len(), partition.words());
    let corners: usize = partition.regions().map(|region| region.corners.len()).sum();
    let entries = [
        NpzEntry::new::<f64>("vertices", &[partition.vertices().len(), 2]),
        NpzEntry::new::<u32>("corners", &[corners]),
        NpzEntry::new::<u64>("ends", &[r]),
        NpzEntry::new::<f64>("area", &[r]),
        NpzEntry::new::<f64>("slope", &[r, k, 2]),
        NpzEntry::new::<f64>("offset", &[r, k]),
        NpzEntry::new::<u32>("code", &[r, words]),
        NpzEntry::new::<f64>("A", &[r, k, d]),
        NpzEntry::new::<f64>("b", &[r, k]),
    ];
    let mut writer = NpzWriter::create(file, entries)?;
    for &vertex in partition.vertices() {
        writer.append("vertices", &vertex)?;
    }
    let mut end = 0_u64;
    for region in partition.regions() {
        end += region.corners.len() as u64;
        writer.append("corners", region.corners)?;
        writer.append("ends", &[end])?;
        writer.append("area", &[region.area])?;
        writer.append("code", region.code)?;
        for &output in outputs {
            writer.append("slope", &region.slopes[2 * output..2 * output + 2])?;
            writer.append("offset", &[region.offsets[output]])?;
        }
    }
    let program = network.compile(&Cpu::<f64>::new())?;
    partition.in_input_space(
        &program,
        |[s, t]| slice.point(s, t),
        outputs,
        context,
        |slopes, offsets| {
            writer.append("A", slopes)?;
            writer.append("b", offsets)
        },
    )?;
    writer.finish()
}

fn count_text(counted: &Counted) -> String {
    let Counted { label, count, seconds, .. } = counted;
    match (counted.tiny, counted.area) {
        (Some(tiny), Some(area)) => format!(
            "{count} regions ({label}), {tiny} of them below 1e-9 of the area, {seconds:.4} s\narea {area:.12}\n"
        ),
        _ => format!("more than {count} regions ({label}), {seconds:.4} s\n"),
    }
}

fn text(summary: &Summary) -> String {
    let Summary { count, area, seconds, tiny, vertices, edges, degrees, open_edges, .. } = summary;
    let degrees: Vec<String> = degrees.iter().map(|(degree, n)| format!("{n} of degree {degree}")).collect();
    let mut text = format!(
        "{count} regions (exact), {tiny} of them below 1e-9 of the area, {seconds:.4} s\n\
         area {area:.12}, {edges} edges, {vertices} vertices: {}\n",
        degrees.join(", ")
    );
    if *open_edges > 0 {
        text += &format!("{open_edges} edges do not meet their neighbours to within rounding\n");
    }
    if let Some(Decision { segments, length, shares }) = &summary.decision {
        text += &format!("decision boundary: {segments} segments, length {length:.6}\n");
        for (class, share) in shares {
            text += &format!("class {class}: {:.4} %\n", 100.0 * share);
        }
    }
    text
}
