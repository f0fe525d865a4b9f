//! What a file holds, as plain data: the only place that knows the decoder.
//!
//! The decoder is rten-onnx, which only decodes: two crates without unsafe code that keep the names of nodes.
//! onnx-ir 0.22 reads these files too, but drops nodes' names, fuses MatMul with Add, refuses AveragePool's
//! `ceil_mode` below opset 19 and brings about a hundred crates.

use rten_onnx::onnx::{
    AttributeProto, AttributeType, DataLocation, DataType, GraphProto, ModelProto, NodeProto, TensorProto,
    ValueInfoProto,
};

use super::wire;

/// A model file.
pub(super) struct File {
    pub(super) ir_version: Option<i64>,
    pub(super) producer_name: String,
    pub(super) producer_version: String,
    /// Domains of operators and their versions.
    pub(super) opsets: Vec<(String, i64)>,
    pub(super) graph: Option<Graph>,
}

/// The graph of a model.
pub(super) struct Graph {
    pub(super) nodes: Vec<Node>,
    pub(super) initializers: Vec<Tensor>,
    pub(super) inputs: Vec<Input>,
    /// Names of values.
    pub(super) outputs: Vec<String>,
}

/// A node, as it stands in the file.
pub(super) struct Node {
    pub(super) name: String,
    pub(super) operator: String,
    pub(super) domain: String,
    /// Names of values; empty where one is left out.
    pub(super) inputs: Vec<String>,
    pub(super) outputs: Vec<String>,
    pub(super) attributes: Vec<(String, Attribute)>,
}

/// The value of an attribute.
pub(super) enum Attribute {
    Float(f32),
    Int(i64),
    String(String),
    Tensor(Tensor),
    Floats(Vec<f32>),
    Ints(Vec<i64>),
    /// Anything else, by what it is called.
    Other(&'static str),
}

impl Attribute {
    /// What it is, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Float(_) => "a number",
            Self::Int(_) => "an integer",
            Self::String(_) => "a string",
            Self::Tensor(_) => "a tensor",
            Self::Floats(_) => "a list of numbers",
            Self::Ints(_) => "a list of integers",
            Self::Other(kind) => kind,
        }
    }
}

/// A declared input of the graph.
pub(super) struct Input {
    pub(super) name: String,
    pub(super) element: Element,
    /// `None` where the file says nothing of it.
    pub(super) shape: Option<Vec<Length>>,
}

/// The length of an axis.
#[derive(Debug)]
pub(super) enum Length {
    Known(i64),
    /// A name, or nothing at all.
    Symbol(String),
}

/// The types of elements that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    F32,
    F64,
    I32,
    I64,
    Bool,
    /// Any other, by its number in `onnx.proto`.
    Other(i32),
}

impl Element {
    /// The type with this number.
    pub(super) fn of(number: i32) -> Self {
        match DataType(number) {
            DataType::FLOAT => Self::F32,
            DataType::DOUBLE => Self::F64,
            DataType::INT32 => Self::I32,
            DataType::INT64 => Self::I64,
            DataType::BOOL => Self::Bool,
            _ => Self::Other(number),
        }
    }

    /// The name in `onnx.proto`.
    pub(super) fn name(self) -> String {
        match self {
            Self::F32 => DataType::FLOAT,
            Self::F64 => DataType::DOUBLE,
            Self::I32 => DataType::INT32,
            Self::I64 => DataType::INT64,
            Self::Bool => DataType::BOOL,
            Self::Other(0) => return "UNDEFINED".to_owned(),
            Self::Other(number) => DataType(number),
        }
        .to_string()
    }
}

/// An array, not yet checked against its shape.
pub(super) struct Tensor {
    pub(super) name: String,
    pub(super) dims: Vec<i64>,
    pub(super) element: Element,
    pub(super) storage: Storage,
}

/// Where the elements of an array are.
pub(super) enum Storage {
    /// Little-endian.
    Bytes(Vec<u8>),
    Floats(Vec<f32>),
    Doubles(Vec<f64>),
    Ints32(Vec<i32>),
    Ints64(Vec<i64>),
    /// In a file of their own, by keys and values.
    External(Vec<(String, String)>),
    /// In two fields at once.
    Ambiguous,
}

/// Decodes a model.
///
/// # Errors
/// Why that cannot be done, as a clause.
pub(super) fn decode(bytes: &[u8]) -> Result<File, String> {
    if bytes.is_empty() {
        return Err("it is empty".to_owned());
    }
    wire::check(bytes)?;
    let model = ModelProto::parse_buf(bytes).map_err(|e| e.to_string().replace("rten_onnx::onnx::", ""))?;
    let opsets = model.opset_import.into_iter();
    Ok(File {
        ir_version: model.ir_version,
        producer_name: name(model.producer_name)?,
        producer_version: name(model.producer_version)?,
        opsets: opsets.map(|set| (set.domain.unwrap_or_default(), set.version.unwrap_or(0))).collect(),
        graph: model.graph.map(graph).transpose()?,
    })
}

/// A name that can be shown: it stays on one line and does nothing to a terminal.
fn name(name: Option<String>) -> Result<String, String> {
    match name {
        Some(name) if name.chars().any(char::is_control) => {
            Err(format!("the name '{}' holds a control character", name.escape_debug()))
        }
        name => Ok(name.unwrap_or_default()),
    }
}

fn names(names: Vec<String>) -> Result<Vec<String>, String> {
    names.into_iter().map(|text| name(Some(text))).collect()
}

fn graph(graph: GraphProto) -> Result<Graph, String> {
    Ok(Graph {
        nodes: graph.node.into_iter().map(node).collect::<Result<_, _>>()?,
        initializers: graph.initializer.into_iter().map(tensor).collect::<Result<_, _>>()?,
        inputs: graph.input.into_iter().map(input).collect::<Result<_, _>>()?,
        outputs: graph.output.into_iter().map(|output| name(output.name)).collect::<Result<_, _>>()?,
    })
}

fn node(node: NodeProto) -> Result<Node, String> {
    let named = |mut attribute: AttributeProto| -> Result<(String, Attribute), String> {
        Ok((name(attribute.name.take())?, self::attribute(attribute)?))
    };
    Ok(Node {
        name: name(node.name)?,
        operator: name(node.op_type)?,
        domain: name(node.domain)?,
        inputs: names(node.input)?,
        outputs: names(node.output)?,
        attributes: node.attribute.into_iter().map(named).collect::<Result<_, _>>()?,
    })
}

fn attribute(proto: AttributeProto) -> Result<Attribute, String> {
    // Files of the first IR version name no type: the one field that is there tells.
    let by_field = [
        (proto.f.is_some(), AttributeType::FLOAT),
        (proto.i.is_some(), AttributeType::INT),
        (proto.s.is_some(), AttributeType::STRING),
        (proto.t.is_some(), AttributeType::TENSOR),
        (proto.g.is_some(), AttributeType::GRAPH),
        (!proto.floats.is_empty(), AttributeType::FLOATS),
        (!proto.ints.is_empty(), AttributeType::INTS),
        (!proto.strings.is_empty(), AttributeType::STRINGS),
    ];
    let mut present = by_field.into_iter().filter_map(|(there, kind)| there.then_some(kind));
    let (first, second) = (present.next(), present.next());
    let kind = match (proto.r#type.filter(|&kind| kind != AttributeType::UNDEFINED), first, second) {
        (None, Some(only), None) => only,
        // A writer may leave out a field that holds 0 or nothing, but not fill another one.
        (Some(kind), None, _) => kind,
        (Some(kind), Some(only), None) if kind == only => kind,
        _ => return Ok(Attribute::Other("of no clear type")),
    };
    Ok(match (kind, proto.t) {
        (AttributeType::FLOAT, _) => Attribute::Float(proto.f.unwrap_or_default()),
        (AttributeType::INT, _) => Attribute::Int(proto.i.unwrap_or_default()),
        (AttributeType::STRING, _) => Attribute::String(proto.s.unwrap_or_default()),
        (AttributeType::TENSOR, Some(t)) => Attribute::Tensor(tensor(t)?),
        (AttributeType::FLOATS, _) => Attribute::Floats(proto.floats),
        (AttributeType::INTS, _) => Attribute::Ints(proto.ints),
        (AttributeType::GRAPH, _) => Attribute::Other("a graph"),
        (AttributeType::STRINGS, _) => Attribute::Other("a list of strings"),
        _ => Attribute::Other("of a rare type"),
    })
}

fn input(input: ValueInfoProto) -> Result<Input, String> {
    let tensor = input.r#type.and_then(|kind| kind.tensor_type).unwrap_or_default();
    let shape = tensor.shape.map(|shape| {
        let lengths = shape.dim.into_iter().map(|axis| match axis.dim_value {
            Some(length) => Length::Known(length),
            None => Length::Symbol(axis.dim_param.unwrap_or_default()),
        });
        lengths.collect()
    });
    let element = Element::of(tensor.elem_type.map_or(0, |kind| kind.0));
    Ok(Input { name: name(input.name)?, element, shape })
}

fn tensor(tensor: TensorProto) -> Result<Tensor, String> {
    let raw = tensor.raw_data.map(|bytes| bytes.into_inner()).unwrap_or_default();
    let typed = [
        tensor.float_data.is_empty(),
        tensor.double_data.is_empty(),
        tensor.int32_data.is_empty(),
        tensor.int64_data.is_empty(),
    ];
    let filled = typed.iter().filter(|&&empty| !empty).count() + usize::from(!raw.is_empty());
    let external = tensor.data_location == Some(DataLocation::EXTERNAL);
    let storage = match typed {
        _ if filled + usize::from(external) > 1 => Storage::Ambiguous,
        _ if external => {
            let pairs = tensor.external_data.into_iter();
            let pairs = pairs.map(|pair| (pair.key.unwrap_or_default(), pair.value.unwrap_or_default()));
            Storage::External(pairs.collect())
        }
        [false, ..] => Storage::Floats(tensor.float_data),
        [_, false, ..] => Storage::Doubles(tensor.double_data),
        [_, _, false, _] => Storage::Ints32(tensor.int32_data),
        [.., false] => Storage::Ints64(tensor.int64_data),
        _ => Storage::Bytes(raw),
    };
    Ok(Tensor {
        name: name(tensor.name)?,
        dims: tensor.dims,
        element: Element::of(tensor.data_type.map_or(0, |kind| kind.0)),
        storage,
    })
}
