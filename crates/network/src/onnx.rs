//! An ONNX model as its file says it: nodes and tensors, borrowed from the bytes. Bounded, and strict: what would have a meaning and is
//! not known here is refused.

mod tensor;
mod wire;

use std::collections::BTreeMap;

use crate::LoadError;
pub(crate) use tensor::{Elements, Tensor};
use wire::{Fields, Value, ints, text};

/// Operators of a network with hundreds of layers are some thousands.
const MOST_NODES: usize = 16_384;
/// Inputs, outputs or attributes of a node, dimensions, numbers of an attribute.
const MOST_PARTS: usize = 16;

/// The graph of a model.
pub(crate) struct Graph<'a> {
    /// The version of ONNX' own operators.
    pub(crate) version: u64,
    pub(crate) nodes: Vec<Node<'a>>,
    pub(crate) tensors: BTreeMap<&'a str, Tensor<'a>>,
    /// Inputs that no tensor stands for.
    pub(crate) inputs: Vec<Input<'a>>,
    pub(crate) outputs: Vec<&'a str>,
}

/// An input and its shape; `None` for a dimension that is only named.
#[derive(Debug)]
pub(crate) struct Input<'a> {
    pub(crate) name: &'a str,
    pub(crate) shape: Vec<Option<u64>>,
}

/// One operator, and what goes in and out by name; an input left out has an empty one.
pub(crate) struct Node<'a> {
    pub(crate) operator: &'a str,
    pub(crate) inputs: Vec<&'a str>,
    pub(crate) outputs: Vec<&'a str>,
    pub(crate) attributes: Vec<(&'a str, Attribute<'a>)>,
}

/// The value of an attribute.
#[derive(Debug)]
pub(crate) enum Attribute<'a> {
    Float(f32),
    Int(i64),
    Ints(Vec<i64>),
    Text(&'a [u8]),
    Tensor(Tensor<'a>),
    /// Graphs, lists of texts and whatever else there may be.
    Other,
}

/// Reads a model.
pub(crate) fn read(model: &[u8]) -> Result<Graph<'_>, LoadError> {
    let mut version = None;
    let mut graph = None;
    for field in Fields::of(model) {
        match field? {
            (7, Value::Bytes(bytes)) => once(&mut graph, bytes, "a second graph")?,
            (8, Value::Bytes(bytes)) => {
                let (domain, number) = operator_set(bytes)?;
                match domain {
                    "" | "ai.onnx" => once(&mut version, number, "a second version of the operators")?,
                    _ => return Err(unsupported(format!("operators of {}", shown(domain)))),
                }
            }
            (20 | 25, _) => return Err(unsupported("training and functions of its own")),
            _ => {}
        }
    }
    let version = version.ok_or_else(|| malformed("no version of the operators"))?;
    read_graph(graph.ok_or_else(|| malformed("no graph"))?, version)
}

pub(crate) fn malformed(what: impl Into<String>) -> LoadError {
    LoadError::Malformed(what.into())
}

pub(crate) fn unsupported(what: impl Into<String>) -> LoadError {
    LoadError::Unsupported(what.into())
}

/// A name out of the file as a message may show it: quoted, escaped and short.
pub(crate) fn shown(name: &str) -> String {
    const MOST: usize = 60;
    let short: String = name.chars().take(MOST).collect();
    if short.len() < name.len() { format!("{short:?}…") } else { format!("{short:?}") }
}

fn once<T>(slot: &mut Option<T>, value: T, otherwise: &str) -> Result<(), LoadError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(malformed(otherwise)),
    }
}

fn push<T>(list: &mut Vec<T>, value: T, most: usize, what: &str) -> Result<(), LoadError> {
    if list.len() >= most {
        return Err(unsupported(format!("more than {most} {what}")));
    }
    list.push(value);
    Ok(())
}

fn operator_set(bytes: &[u8]) -> Result<(&str, u64), LoadError> {
    let (mut domain, mut version) = ("", 0);
    for field in Fields::of(bytes) {
        match field? {
            (1, Value::Bytes(bytes)) => domain = text(bytes)?,
            (2, Value::Number(number)) => version = number,
            _ => {}
        }
    }
    Ok((domain, version))
}

fn read_graph(bytes: &[u8], version: u64) -> Result<Graph<'_>, LoadError> {
    let mut graph = Graph { version, nodes: Vec::new(), tensors: BTreeMap::new(), inputs: Vec::new(), outputs: Vec::new() };
    for field in Fields::of(bytes) {
        match field? {
            (1, Value::Bytes(bytes)) => push(&mut graph.nodes, read_node(bytes)?, MOST_NODES, "nodes")?,
            (5, Value::Bytes(bytes)) => {
                let (name, tensor) = tensor::read(bytes)?;
                if graph.tensors.len() >= 4 * MOST_NODES {
                    return Err(unsupported("too many tensors"));
                }
                if graph.tensors.insert(name, tensor).is_some() {
                    return Err(malformed(format!("two tensors named {}", shown(name))));
                }
            }
            (11, Value::Bytes(bytes)) => push(&mut graph.inputs, read_input(bytes)?, 4 * MOST_NODES, "inputs")?,
            (12, Value::Bytes(bytes)) => push(&mut graph.outputs, read_input(bytes)?.name, MOST_PARTS, "outputs")?,
            (15, _) => return Err(unsupported("sparse tensors")),
            _ => {}
        }
    }
    // Older files name tensors among the inputs as well.
    let Graph { inputs, tensors, .. } = &mut graph;
    inputs.retain(|input| !tensors.contains_key(input.name));
    Ok(graph)
}

fn read_node(bytes: &[u8]) -> Result<Node<'_>, LoadError> {
    let mut node = Node { operator: "", inputs: Vec::new(), outputs: Vec::new(), attributes: Vec::new() };
    for field in Fields::of(bytes) {
        match field? {
            (1, Value::Bytes(bytes)) => push(&mut node.inputs, text(bytes)?, MOST_PARTS, "inputs of a node")?,
            (2, Value::Bytes(bytes)) => push(&mut node.outputs, text(bytes)?, MOST_PARTS, "outputs of a node")?,
            (4, Value::Bytes(bytes)) => node.operator = text(bytes)?,
            (5, Value::Bytes(bytes)) => push(&mut node.attributes, read_attribute(bytes)?, MOST_PARTS, "attributes of a node")?,
            (7, Value::Bytes(bytes)) if !matches!(bytes, b"" | b"ai.onnx") => {
                return Err(unsupported(format!("operators of {}", shown(text(bytes)?))));
            }
            _ => {}
        }
    }
    Ok(node)
}

fn read_attribute(bytes: &[u8]) -> Result<(&str, Attribute<'_>), LoadError> {
    /// How `AttributeProto.type` numbers the kinds.
    const FLOAT: u64 = 1;
    const INT: u64 = 2;
    const STRING: u64 = 3;
    const TENSOR: u64 = 4;
    const INTS: u64 = 7;

    let mut name = "";
    let mut kind = 0;
    let (mut float, mut int, mut list, mut string, mut tensor) = (0.0, 0, Vec::new(), b"".as_slice(), None);
    for field in Fields::of(bytes) {
        match field? {
            (1, Value::Bytes(bytes)) => name = text(bytes)?,
            (2, Value::Four(four)) => float = f32::from_le_bytes(four),
            (3, Value::Number(number)) => int = number.cast_signed(),
            (4, Value::Bytes(bytes)) => string = bytes,
            (5, Value::Bytes(bytes)) => tensor = Some(tensor::read(bytes)?.1),
            (8, value) => ints(value, &mut list, MOST_PARTS)?,
            (20, Value::Number(number)) => kind = number,
            (21, _) => return Err(unsupported("attributes by reference")),
            _ => {}
        }
    }
    let value = match kind {
        FLOAT => Attribute::Float(float),
        INT => Attribute::Int(int),
        STRING => Attribute::Text(string),
        TENSOR => Attribute::Tensor(tensor.ok_or_else(|| malformed("an attribute without its tensor"))?),
        INTS => Attribute::Ints(list),
        _ => Attribute::Other,
    };
    Ok((name, value))
}

/// A `ValueInfoProto`: its name, and the dimensions of its tensor.
fn read_input(bytes: &[u8]) -> Result<Input<'_>, LoadError> {
    let mut input = Input { name: "", shape: Vec::new() };
    for field in Fields::of(bytes) {
        match field? {
            (1, Value::Bytes(bytes)) => input.name = text(bytes)?,
            (2, Value::Bytes(kind)) => {
                for bytes in inner(kind, 1).flat_map(|tensor| inner(tensor, 2)).flat_map(|shape| inner(shape, 1)) {
                    let mut length = None;
                    for field in Fields::of(bytes) {
                        if let (1, Value::Number(number)) = field? {
                            length = Some(number);
                        }
                    }
                    push(&mut input.shape, length, MOST_PARTS, "dimensions")?;
                }
            }
            _ => {}
        }
    }
    Ok(input)
}

/// The messages in one field of a message; what does not read as one has none.
fn inner(message: &[u8], number: u64) -> impl Iterator<Item = &[u8]> {
    Fields::of(message).filter_map(move |field| match field {
        Ok((found, Value::Bytes(bytes))) if found == number => Some(bytes),
        Ok(_) | Err(_) => None,
    })
}
