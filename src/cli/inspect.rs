//! `fenchel inspect`: what a network is made of.

use std::fmt::Write as _;

use serde::Serialize;

use crate::Result;
use crate::network::Kind;

use super::args;
use super::session::Session;

#[derive(Serialize)]
struct Document {
    model: String,
    sha256: String,
    opset: i64,
    producer: String,
    kind: Kind,
    parameters: usize,
    inputs: Vec<Value>,
    outputs: Vec<Value>,
    layers: Vec<Layer>,
}

#[derive(Serialize)]
struct Value {
    name: String,
    shape: Vec<usize>,
}

#[derive(Serialize)]
struct Layer {
    name: String,
    value: String,
    operator: &'static str,
    kind: Kind,
    shape: Vec<usize>,
    parameters: usize,
    inputs: Vec<String>,
}

pub(super) fn inspect(session: &Session, arguments: &args::Inspect) -> Result<()> {
    let loaded = arguments.model.load_whole()?;
    let (network, model) = (&loaded.network, &loaded.model);
    let value =
        |node: &crate::network::Node| Value { name: node.value().to_owned(), shape: node.shape().to_vec() };
    let layers = network.nodes().iter().filter_map(|node| {
        let operator = node.op()?.operator();
        Some(Layer {
            name: node.name().to_owned(),
            value: node.value().to_owned(),
            operator: operator.name(),
            kind: operator.kind(),
            shape: node.shape().to_vec(),
            parameters: operator.parameters(),
            inputs: node.inputs().iter().map(|&i| network.nodes()[i].name().to_owned()).collect(),
        })
    });
    let document = Document {
        model: arguments.model.model.display().to_string(),
        sha256: model.fingerprint.clone(),
        opset: model.description.opset,
        producer: format!("{} {}", model.description.producer_name, model.description.producer_version)
            .trim()
            .to_owned(),
        kind: network.kind(),
        parameters: network.parameters(),
        inputs: network.inputs().map(value).collect(),
        outputs: network.outputs().map(value).collect(),
        layers: layers.collect(),
    };
    session.print(&document, || text(&document))
}

fn shape(lengths: &[usize]) -> String {
    let lengths: Vec<String> = lengths.iter().map(usize::to_string).collect();
    if lengths.is_empty() { "scalar".to_owned() } else { lengths.join(" x ") }
}

fn text(document: &Document) -> String {
    let mut text = format!(
        "{}: {}, {} parameters, opset {}{}\n",
        document.model,
        document.kind,
        document.parameters,
        document.opset,
        if document.producer.is_empty() { String::new() } else { format!(", by {}", document.producer) },
    );
    let width = |texts: &mut dyn Iterator<Item = usize>| texts.max().unwrap_or(0);
    let names = width(&mut document.layers.iter().map(|l| l.name.chars().count())).max(4);
    let operators = width(&mut document.layers.iter().map(|l| l.operator.len())).max(8);
    let shapes = width(&mut document.layers.iter().map(|l| shape(&l.shape).len())).max(5);
    for value in &document.inputs {
        let _ = writeln!(text, "input '{}', {}", value.name, shape(&value.shape));
    }
    let _ = writeln!(
        text,
        "{:names$}  {:operators$}  {:16}  {:>shapes$}  parameters  from",
        "node", "operator", "kind", "shape"
    );
    for layer in &document.layers {
        let _ = writeln!(
            text,
            "{:names$}  {:operators$}  {:16}  {:>shapes$}  {:>10}  {}",
            layer.name,
            layer.operator,
            layer.kind,
            shape(&layer.shape),
            layer.parameters,
            layer.inputs.join(", "),
        );
    }
    for value in &document.outputs {
        let _ = writeln!(text, "output '{}', {}", value.name, shape(&value.shape));
    }
    text
}
