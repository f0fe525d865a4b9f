//! Models made in code, and references to compare them with.

use std::cell::RefCell;

use fenchel::engine::{Cpu, Engine};
use fenchel::network::onnx::{LoadOptions, Model, from_bytes};
use fenchel::tolerance::{EXACT, relative_difference};
use fenchel::{Error, Result};
use rten_onnx::onnx::{
    AttributeProto, AttributeType, DataType, Dimension, GraphProto, ModelProto, NodeProto,
    OperatorSetIdProto, TensorProto, TensorShapeProto, TypeProto, TypeProtoTensor, ValueInfoProto,
};

/// A length of an axis that is left open.
pub(crate) const OPEN: i64 = -7;

/// The graph of a model in the making.
#[derive(Clone)]
pub(crate) struct Graph {
    pub(crate) proto: GraphProto,
    opset: i64,
}

pub(crate) fn float(name: &str, value: f32) -> AttributeProto {
    let kind = Some(AttributeType::FLOAT);
    AttributeProto { name: Some(name.into()), f: Some(value), r#type: kind, ..Default::default() }
}

pub(crate) fn int(name: &str, value: i64) -> AttributeProto {
    let kind = Some(AttributeType::INT);
    AttributeProto { name: Some(name.into()), i: Some(value), r#type: kind, ..Default::default() }
}

pub(crate) fn ints(name: &str, values: &[i64]) -> AttributeProto {
    let kind = Some(AttributeType::INTS);
    AttributeProto { name: Some(name.into()), ints: values.to_vec(), r#type: kind, ..Default::default() }
}

pub(crate) fn floats(name: &str, values: &[f32]) -> AttributeProto {
    let kind = Some(AttributeType::FLOATS);
    AttributeProto { name: Some(name.into()), floats: values.to_vec(), r#type: kind, ..Default::default() }
}

pub(crate) fn string(name: &str, value: &str) -> AttributeProto {
    let kind = Some(AttributeType::STRING);
    AttributeProto { name: Some(name.into()), s: Some(value.into()), r#type: kind, ..Default::default() }
}

pub(crate) fn tensor(name: &str, value: TensorProto) -> AttributeProto {
    let kind = Some(AttributeType::TENSOR);
    AttributeProto { name: Some(name.into()), t: Some(value), r#type: kind, ..Default::default() }
}

/// An array of f32 in raw bytes.
pub(crate) fn array(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    raw(name, dims, DataType::FLOAT, values.iter().flat_map(|value| value.to_le_bytes()).collect())
}

pub(crate) fn raw(name: &str, dims: &[i64], kind: DataType, bytes: Vec<u8>) -> TensorProto {
    TensorProto {
        name: Some(name.into()),
        dims: dims.to_vec(),
        data_type: Some(kind),
        raw_data: Some(RefCell::new(bytes)),
        ..Default::default()
    }
}

pub(crate) fn value(name: &str, kind: DataType, dims: Option<&[i64]>) -> ValueInfoProto {
    let dim = |&length: &i64| match length {
        OPEN => Dimension { dim_param: Some("open".into()), ..Default::default() },
        length => Dimension { dim_value: Some(length), ..Default::default() },
    };
    let shape = dims.map(|dims| TensorShapeProto { dim: dims.iter().map(dim).collect() });
    let tensor_type = Some(TypeProtoTensor { elem_type: Some(kind), shape });
    ValueInfoProto { name: Some(name.into()), r#type: Some(TypeProto { tensor_type, sequence: None }) }
}

/// A graph whose input `x` has an open batch and samples of this shape, and whose output is `y`.
pub(crate) fn graph(opset: i64, sample: &[i64]) -> Graph {
    let dims = [&[OPEN], sample].concat();
    bare(opset).input(value("x", DataType::FLOAT, Some(&dims))).output("y")
}

/// A graph of nothing.
pub(crate) fn bare(opset: i64) -> Graph {
    Graph { proto: GraphProto::default(), opset }
}

impl Graph {
    pub(crate) fn input(mut self, input: ValueInfoProto) -> Self {
        self.proto.input.push(input);
        self
    }

    pub(crate) fn output(mut self, name: &str) -> Self {
        self.proto.output.push(value(name, DataType::FLOAT, None));
        self
    }

    pub(crate) fn initializer(mut self, tensor: TensorProto) -> Self {
        self.proto.initializer.push(tensor);
        self
    }

    pub(crate) fn weights(self, name: &str, dims: &[i64], values: &[f32]) -> Self {
        self.initializer(array(name, dims, values))
    }

    pub(crate) fn integers(self, name: &str, values: &[i64]) -> Self {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.initializer(raw(name, &[values.len() as i64], DataType::INT64, bytes))
    }

    /// A node named `operator:first output`.
    pub(crate) fn node(
        mut self,
        operator: &str,
        inputs: &[&str],
        outputs: &[&str],
        attribute: Vec<AttributeProto>,
    ) -> Self {
        let strings = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        self.proto.node.push(NodeProto {
            domain: None,
            name: Some(format!("{operator}:{}", outputs.first().unwrap_or(&""))),
            input: strings(inputs),
            output: strings(outputs),
            op_type: Some(operator.into()),
            attribute,
        });
        self
    }

    /// A node from `x` and constants to `y`.
    pub(crate) fn last(self, operator: &str, inputs: &[&str], attributes: Vec<AttributeProto>) -> Self {
        self.node(operator, inputs, &["y"], attributes)
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let version = |domain: &str, version: i64| OperatorSetIdProto {
            domain: Some(domain.into()),
            version: Some(version),
        };
        let model = ModelProto {
            ir_version: Some(8),
            graph: Some(self.proto.clone()),
            opset_import: vec![version("", self.opset), version("com.example", 1)],
            producer_name: Some("test".into()),
            ..Default::default()
        };
        model.write_buf().unwrap()
    }

    pub(crate) fn load(&self) -> Result<Model> {
        from_bytes(&self.bytes(), None, &LoadOptions::default())
    }

    /// The output at rows `x`, in f64, and the shape of a sample of it.
    pub(crate) fn run(&self, x: &[f64]) -> (Vec<f64>, Vec<usize>) {
        run(&self.load().unwrap(), x)
    }

    /// Checks the output at rows `x`, and the shape of a sample of it.
    pub(crate) fn gives(&self, x: &[f64], shape: &[usize], y: &[f64]) {
        let (values, found) = self.run(x);
        assert_eq!(found, shape, "{:?}", self.proto.node);
        let difference = relative_difference(values.iter().copied(), y.iter().copied());
        assert!(difference < EXACT, "{values:?} is not {y:?}: {:?}", self.proto.node);
    }

    /// The message of the refusal; anything else is a failure.
    pub(crate) fn refusal(&self) -> String {
        match self.load() {
            Err(error @ (Error::Unsupported { .. } | Error::Graph(_))) => error.to_string(),
            other => panic!("{other:?} for {:?}", self.proto.node),
        }
    }

    /// Checks that it is refused, for a reason that holds these words.
    pub(crate) fn refused(&self, words: &str) {
        let message = self.refusal();
        assert!(message.contains(words), "'{message}' does not say '{words}'");
        assert!(!message.contains('\n'), "{message}");
    }
}

pub(crate) fn run(model: &Model, x: &[f64]) -> (Vec<f64>, Vec<usize>) {
    let engine = Cpu::<f64>::new();
    let program = model.network.compile(&engine).unwrap();
    let rows = x.len() / program.dimension();
    let x = engine.upload(x, &[rows, program.dimension()]).unwrap();
    let y = engine.download(&program.forward(&x).unwrap()).unwrap();
    let shape = model.network.outputs().next().unwrap().shape().to_vec();
    (y, shape)
}

/// Uneven numbers, the same in every run, and exact in f32.
pub(crate) fn numbers(count: usize) -> Vec<f64> {
    (0..count).map(|i| f64::from(((i * 37 + 11) % 64) as f32 / 16.0 - 1.75)).collect()
}

/// The same as f32.
pub(crate) fn weights(count: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 29 + 5) % 32) as f32 / 8.0 - 1.875).collect()
}
