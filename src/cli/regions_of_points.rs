//! `fenchel regions` around rows of data: polytopes, paths and densities.

use std::time::Instant;

use serde_json::{Value, json};

use crate::data::{Dataset, NpzEntry, NpzWriter, OutputFile};
use crate::network::Network;
use crate::regions::{Boundary, CodeLayer, Path, Polytope, breakpoints, density};
use crate::{Error, Result};

use super::regions::{Arguments, layers, put};
use super::session::Session;

/// What stands for the box where a layer is asked for.
const BOX: u32 = u32::MAX;

pub(super) fn run(session: &Session, arguments: &Arguments, network: &Network, data: &Dataset) -> Result<()> {
    let row = |i: usize| -> Result<Vec<f64>> {
        if i >= data.len() {
            let (last, path) = (data.len().saturating_sub(1), data.path().display());
            return Err(Error::Argument(format!("there is no row {i} in '{path}': expected 0 to {last}")));
        }
        Ok(data.rows::<f64>(i..i + 1)?.into_raw_vec_and_offset().0)
    };
    match (arguments.path, arguments.at, arguments.ball) {
        (Some([from, to]), ..) => along(session, arguments, network, [from, to], [&row(from)?, &row(to)?]),
        (None, Some(at), Some(radius)) => around(session, arguments, network, at, &row(at)?, radius),
        (None, at, _) => {
            let towards = arguments.towards.map(row).transpose()?;
            let at = at.unwrap_or_default();
            polytope(session, arguments, network, at, &row(at)?, towards.as_deref())
        }
    }
}

fn polytope(
    session: &Session,
    arguments: &Arguments,
    network: &Network,
    row: usize,
    x: &[f64],
    towards: Option<&[f64]>,
) -> Result<()> {
    let outputs = arguments.outputs.choose(network.output_len())?;
    let json = OutputFile::create(&arguments.output)?;
    let npz = arguments.npz.as_ref().map(|path| OutputFile::create(path)).transpose()?;
    let start = Instant::now();
    let programs = arguments.programs.map_or(usize::MAX, |programs| programs as usize);
    let polytope = Polytope::with_programs(network, x, arguments.limits, programs, &session.context)?;
    let seconds = start.elapsed().as_secs_f64();
    let named = |i: usize| name(polytope.layers(), polytope.constraint(i).2);
    let nearest = polytope.nearest();
    let decision = polytope.decision(&outputs);
    let ray = towards
        .map(|y| {
            let direction: Vec<f64> = x.iter().zip(y).map(|(x, y)| y - x).collect();
            polytope.ray(&direction, &outputs)
        })
        .transpose()?;
    let mut document = json!({
        "row": row,
        "dimension": polytope.dimension(),
        "constraints": polytope.constraints(),
        "facets": polytope.facets().len(),
        "undecided": polytope.undecided(),
        "inradius": polytope.inradius(),
        "distance": nearest.map(|(_, distance)| distance),
        "nearest": nearest.map(|(i, _)| named(i)),
        "decision": decision.as_ref().map(|d| json!({
            "class": d.class, "other": d.other, "distance": d.distance, "inside": d.inside,
        })),
        "ray": ray.as_ref().map(|ray| json!({
            "exit": ray.exit.map(|(_, at)| at),
            "through": ray.exit.map(|(i, _)| named(i)),
            "change": ray.change.map(|(class, at)| json!({"class": class, "at": at})),
        })),
        "seconds": seconds,
        "layers": layers(polytope.layers()),
    });
    let summary = document.clone();
    let facets = polytope.facets().iter().map(|facet| {
        let mut value = name(polytope.layers(), facet.boundary);
        value["constraint"] = facet.constraint.into();
        value["distance"] = facet.distance.into();
        value
    });
    document["facets"] = facets.collect();
    document["centre"] = polytope.centre().into();
    if let Some(npz) = npz {
        write_polytope(npz, &polytope, &outputs)?;
    }
    put(json, &document)?;
    session.print(&summary, || {
        let mut text = format!(
            "row {row}: {} constraints in {} dimensions, {} facets, {seconds:.3} s\n",
            polytope.constraints(),
            polytope.dimension(),
            polytope.facets().len()
        );
        if polytope.undecided() > 0 {
            text += &format!("{} more constraints may be facets: raise --programs\n", polytope.undecided());
        }
        text += &match polytope.inradius() {
            Some(radius) => format!("inradius {radius:.6e}\n"),
            None => "balls of any size lie inside\n".to_owned(),
        };
        if let Some((i, distance)) = nearest {
            text += &format!(
                "nearest boundary {distance:.6e}: {}\n",
                spoken(polytope.layers(), polytope.constraint(i).2)
            );
        }
        if let Some(d) = &decision {
            let place = if d.inside { "inside" } else { "by the affine map alone, beyond the region" };
            text += &format!("class {} equals {} at {:.6e}, {place}\n", d.class, d.other, d.distance);
        }
        if let Some((i, at)) = ray.as_ref().and_then(|ray| ray.exit) {
            let through = spoken(polytope.layers(), polytope.constraint(i).2);
            text += &format!("the ray leaves at {at:.6e} of the way: {through}\n");
        }
        if let Some((class, at)) = ray.as_ref().and_then(|ray| ray.change) {
            text += &format!("before, class {class} follows at {at:.6e} of the way\n");
        }
        text
    })
}

fn name(layers: &[CodeLayer], boundary: Boundary) -> Value {
    match boundary {
        Boundary::Unit { layer, unit, from, to, knot } => {
            json!({"node": layers[layer].name, "unit": unit, "from": from, "to": to, "knot": knot})
        }
        Boundary::Box { input, upper } => {
            json!({"input": input, "end": if upper { "upper" } else { "lower" }})
        }
    }
}

fn spoken(layers: &[CodeLayer], boundary: Boundary) -> String {
    match boundary {
        Boundary::Unit { layer, unit, from, to, .. } => {
            format!("unit {unit} of '{}' goes from piece {from} to {to}", layers[layer].name)
        }
        Boundary::Box { input, .. } => format!("the end of the box at input {input}"),
    }
}

fn write_polytope(file: OutputFile, polytope: &Polytope, outputs: &[usize]) -> Result<()> {
    let (m, d, k, f) = (polytope.constraints(), polytope.dimension(), outputs.len(), polytope.facets().len());
    let entries = [
        NpzEntry::new::<f64>("A", &[m, d]),
        NpzEntry::new::<f64>("b", &[m]),
        NpzEntry::new::<u32>("layer", &[m]),
        NpzEntry::new::<u32>("unit", &[m]),
        NpzEntry::new::<u32>("to", &[m]),
        NpzEntry::new::<u32>("facet", &[f]),
        NpzEntry::new::<f64>("point", &[f, d]),
        NpzEntry::new::<u32>("code", &[polytope.code().len()]),
        NpzEntry::new::<f64>("slope", &[k, d]),
        NpzEntry::new::<f64>("offset", &[k]),
    ];
    let mut writer = NpzWriter::create(file, entries)?;
    for i in 0..m {
        let (normal, offset, boundary) = polytope.constraint(i);
        writer.append("A", normal)?;
        writer.append("b", &[offset])?;
        let [layer, unit, to] = match boundary {
            Boundary::Unit { layer, unit, to, .. } => [layer as u32, unit as u32, to],
            Boundary::Box { input, upper } => [BOX, input as u32, u32::from(upper)],
        };
        writer.append("layer", &[layer])?;
        writer.append("unit", &[unit])?;
        writer.append("to", &[to])?;
    }
    for facet in polytope.facets() {
        writer.append("facet", &[facet.constraint as u32])?;
        writer.append("point", &facet.point)?;
    }
    writer.append("code", polytope.code())?;
    for &output in outputs {
        writer.append("slope", &polytope.slope(output))?;
        writer.append("offset", &[polytope.offset(output)])?;
    }
    writer.finish()
}

fn along(
    session: &Session,
    arguments: &Arguments,
    network: &Network,
    [from, to]: [usize; 2],
    [x, y]: [&[f64]; 2],
) -> Result<()> {
    let outputs = arguments.outputs.choose(network.output_len())?;
    let json = OutputFile::create(&arguments.output)?;
    let npz = arguments.npz.as_ref().map(|path| OutputFile::create(path)).transpose()?;
    let start = Instant::now();
    let path = breakpoints(network, x, y, &session.context)?;
    let seconds = start.elapsed().as_secs_f64();
    let (class, changes) = path.classes(&outputs);
    let change = |c: &crate::regions::ClassChange| json!({"at": c.at, "from": c.from, "to": c.to});
    let mut document = json!({
        "label": "exact",
        "rows": [from, to],
        "regions": path.regions(),
        "count": path.breakpoints().len(),
        "class": class,
        "changes": changes.iter().map(change).collect::<Vec<_>>(),
        "seconds": seconds,
        "layers": layers(path.layers()),
    });
    let summary = document.clone();
    let breakpoint = |b: &crate::regions::Breakpoint| json!({"at": b.at, "node": path.layers()[b.layer].name, "unit": b.unit, "from": b.from, "to": b.to});
    document["breakpoints"] = path.breakpoints().iter().map(breakpoint).collect();
    document["places"] = path.places().into();
    document["values"] = (0..path.places().len())
        .map(|i| Value::from(outputs.iter().map(|&k| path.values(i)[k]).collect::<Vec<_>>()))
        .collect();
    if let Some(npz) = npz {
        write_path(npz, &path, &outputs)?;
    }
    put(json, &document)?;
    session.print(&summary, || {
        let mut text = format!(
            "from row {from} to row {to}: {} breakpoints, {} regions (exact), {seconds:.3} s\nclass {class}",
            path.breakpoints().len(),
            path.regions()
        );
        for change in &changes {
            text += &format!(", {} from {:.6}", change.to, change.at);
        }
        text + "\n"
    })
}

fn write_path(file: OutputFile, path: &Path, outputs: &[usize]) -> Result<()> {
    let (b, t, k) = (path.breakpoints().len(), path.places().len(), outputs.len());
    let numbers = ["layer", "unit", "from", "to"].map(|name| NpzEntry::new::<u32>(name, &[b]));
    let floats = [("at", vec![b]), ("places", vec![t]), ("values", vec![t, k])];
    let floats = floats.iter().map(|(name, shape)| NpzEntry::new::<f64>(name, shape));
    let mut writer = NpzWriter::create(file, numbers.into_iter().chain(floats))?;
    for breakpoint in path.breakpoints() {
        writer.append("at", &[breakpoint.at])?;
        writer.append("layer", &[breakpoint.layer as u32])?;
        writer.append("unit", &[breakpoint.unit as u32])?;
        writer.append("from", &[breakpoint.from])?;
        writer.append("to", &[breakpoint.to])?;
    }
    writer.append("places", path.places())?;
    for i in 0..t {
        let values: Vec<f64> = outputs.iter().map(|&k| path.values(i)[k]).collect();
        writer.append("values", &values)?;
    }
    writer.finish()
}

fn around(
    session: &Session,
    arguments: &Arguments,
    network: &Network,
    row: usize,
    x: &[f64],
    radius: f64,
) -> Result<()> {
    let json = OutputFile::create(&arguments.output)?;
    let start = Instant::now();
    let found = density(network, x, radius, arguments.surface, arguments.samples, &session.context)?;
    let seconds = start.elapsed().as_secs_f64();
    let (place, samples) = (if arguments.surface { "sphere" } else { "ball" }, found.samples);
    let document = json!({
        "label": found.label,
        "count": found.count,
        "row": row,
        "radius": radius,
        "place": place,
        "samples": samples,
        "own": found.own,
        "once": found.once,
        "seed": session.context.seed(),
        "seconds": seconds,
    });
    put(json, &document)?;
    session.print(&document, || {
        format!(
            "{} regions (visited) at {samples} points of the {place} of radius {radius} around row {row}, {seconds:.3} s\n\
             {:.2} % of the points in the region of the row, {} regions seen once\n",
            found.count,
            100.0 * found.own,
            found.once
        )
    })
}
