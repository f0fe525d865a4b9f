//! The regions of the network: how many on the slice, and what lies around and between its rows.

use serde_json::{Value, json};

use crate::Result;
use crate::report::page::{Drawn, Figure, Image, Table};

use super::draft::Draft;
use super::plan::Plan;
use super::runs::{Run, Runs};
use super::slice::Shared;

/// Regions up to which the partition is also drawn and written, each with its affine map.
const MOST_DRAWN: u64 = 3000;

/// Linear programs for the facets of a region.
const PROGRAMS: usize = 64;

const SECTION: &str = "regions";

pub(super) fn figures(plan: &Plan, shared: &Shared, runs: &mut Runs) -> Result<Vec<Figure>> {
    let mut figures = vec![count(shared)?];
    let Ok(counted) = &shared.count.result else { return Ok(figures) };
    if counted["label"] == "exact" && counted["count"].as_u64().is_some_and(|count| count <= MOST_DRAWN) {
        figures.push(drawing(plan, shared, runs)?);
    }
    figures.push(polytopes(plan, runs)?);
    figures.push(paths(plan, runs)?);
    Ok(figures)
}

fn table(columns: &[&str], rows: Vec<Vec<Value>>) -> Drawn {
    Drawn::Table(Table { columns: columns.iter().map(ToString::to_string).collect(), rows })
}

fn count(shared: &Shared) -> Result<Figure> {
    let caption = "A region is where every unit is on one of its affine pieces, so that the network is affine. The plane is \
                   cut along the boundaries of all units, in f64, and no region is missed (exact) unless the count was \
                   ended by its budget (capped: there are more).";
    let runs = if shared.plane.result.is_ok() {
        vec![shared.plane.clone(), shared.count.clone()]
    } else {
        vec![shared.count.clone()]
    };
    Draft::new("regions", SECTION, "Regions on the slice", caption).finish(
        &runs,
        &["data/regions/count.json"],
        |document| {
            let label = match document["label"].as_str() {
                Some("capped") => "regions (capped: there are more)".to_owned(),
                label => format!("regions ({})", label.unwrap_or_default()),
            };
            let mut rows = vec![vec![json!(label), document["count"].clone()]];
            if let Some(tiny) = document["tiny"].as_u64() {
                rows.push(vec![json!("of these below 1e-9 of the slice"), json!(tiny)]);
                rows.push(vec![json!("area (4 but for rounding)"), document["area"].clone()]);
            }
            let layers = document["layers"].as_array().map(Vec::as_slice).unwrap_or_default();
            for layer in layers {
                let name = layer["node"].as_str().unwrap_or_default();
                rows.push(vec![json!(format!("units that bend in {name}")), layer["units"].clone()]);
            }
            Ok(table(&["what", "number"], rows))
        },
    )
}

fn drawing(plan: &Plan, shared: &Shared, runs: &mut Runs) -> Result<Figure> {
    let words = plan.of_model("partition").path("--plane", &plan.file("data/plane.npz"));
    let words = words.then(&plan.output_words()).path("-o", &plan.file("data/regions/partition.json"));
    let run = runs.run(&plan.into(words, "--svg", "data/regions/partition.svg"))?;
    let caption =
        "Every region of the slice as a polygon, exactly; in the JSON file each has its affine map.";
    let files = ["data/regions/partition.svg", "data/regions/partition.json"];
    Draft::new("partition", SECTION, "The partition", caption).finish(
        &[shared.plane.clone(), run],
        &files,
        |document| {
            let alt = format!("The slice cut into {} polygons", document["count"]);
            Ok(Drawn::Image(Image { image: files[0].to_owned(), alt }))
        },
    )
}

fn polytopes(plan: &Plan, runs: &mut Runs) -> Result<Figure> {
    let (mut done, mut files, mut rows): (Vec<Run>, _, _) = (vec![], vec![], vec![]);
    for row in plan.through {
        let file = format!("data/regions/polytope-{row}.json");
        let words = plan.of_data("regions").option("--at", row).option("--programs", PROGRAMS);
        let run = runs.run(&plan.into(words, "-o", &file))?;
        if let Ok(document) = &run.result {
            let near = &document["nearest"];
            let unit = match near["node"].as_str() {
                Some(node) => format!("unit {} of {node}", near["unit"]),
                None => "none".to_owned(),
            };
            rows.push(vec![
                json!(plan.named(row)),
                document["constraints"].clone(),
                document["facets"].clone(),
                document["undecided"].clone(),
                document["inradius"].clone(),
                document["distance"].clone(),
                json!(unit),
            ]);
            files.push(file);
        }
        done.push(run);
    }
    let caption = format!(
        "The region of a row in all dimensions is a polytope. A facet is certain; of the undecided constraints, {PROGRAMS} \
         linear programs do not tell whether others imply them. The inradius is that of the largest ball inside, the \
         distance that from the row to the nearest boundary: 0 where the row lies on one, such as of a pool whose largest \
         values are equal."
    );
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    Draft::new("polytopes", SECTION, "Regions of single rows", &caption).finish(&done, &files, |_| {
        let columns =
            ["row", "constraints", "facets", "undecided", "inradius", "distance", "nearest boundary"];
        Ok(table(&columns, rows))
    })
}

fn paths(plan: &Plan, runs: &mut Runs) -> Result<Figure> {
    let (mut done, mut files, mut rows): (Vec<Run>, _, _) = (vec![], vec![], vec![]);
    let [i, j, k] = plan.through;
    for [from, to] in [[i, j], [j, k], [k, i]] {
        let file = format!("data/regions/path-{from}-{to}.json");
        let words = plan.of_data("regions").option("--path", format!("{from},{to}"));
        let run = runs.run(&plan.into(words, "-o", &file))?;
        if let Ok(document) = &run.result {
            let changes = document["changes"].as_array().map_or(0, Vec::len);
            rows.push(vec![
                json!(format!("{from} to {to}")),
                document["count"].clone(),
                document["regions"].clone(),
                json!(changes),
            ]);
            files.push(file);
        }
        done.push(run);
    }
    let caption = "Along the straight segment between two rows: where some unit changes its piece (breakpoints), the regions \
                   that the segment passes, and how often the largest output changes. All are exact.";
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    Draft::new("paths", SECTION, "Between the rows", caption)
        .finish(&done, &files, |_| Ok(table(&["rows", "breakpoints", "regions", "changes of class"], rows)))
}
