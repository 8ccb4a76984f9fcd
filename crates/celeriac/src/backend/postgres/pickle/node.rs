//! The values a pickle builds. They may refer to each other, so they live in one place and are numbered.

use crate::protocol::Json;
use crate::protocol::json::{MAX_DEPTH, Tagged};

use super::PickleError;

/// How large a value may become, roughly in bytes, with everything counted as often as it is referred to.
const MAX_EXPANDED: usize = 64 << 20;
/// What a value takes at least.
const NODE_SIZE: usize = 64;

pub(super) type NodeId = usize;

pub(super) enum Node {
    None,
    Bool(bool),
    /// A number as text, if it is large.
    Int(Result<i128, String>),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    List(Vec<NodeId>),
    Dict(Vec<(NodeId, NodeId)>),
}

/// The tree that begins at a node.
pub(super) fn to_json(nodes: &[Node], root: NodeId) -> Result<Json, PickleError> {
    Expansion { nodes, left: MAX_EXPANDED }.json(root, 0)
}

struct Expansion<'a> {
    nodes: &'a [Node],
    left: usize,
}

impl Expansion<'_> {
    fn json(&mut self, id: NodeId, depth: usize) -> Result<Json, PickleError> {
        if depth > MAX_DEPTH {
            // Deeper than any reader of JSON goes, or a value that contains itself.
            return Err(PickleError::TooLarge);
        }
        let nodes = self.nodes;
        self.spend(NODE_SIZE)?;
        Ok(match &nodes[id] {
            Node::None => Json::Null,
            Node::Bool(value) => Json::Bool(*value),
            Node::Int(Ok(number)) => Json::Int(*number),
            Node::Int(Err(digits)) => Json::Number(self.copy(digits)?),
            Node::Float(number) => Json::Number(float(*number)),
            Node::Text(text) => Json::Str(self.copy(text)?),
            Node::Bytes(bytes) => {
                self.spend(bytes.len())?;
                Json::Tagged(Tagged::Bytes(bytes.clone()))
            }
            Node::List(items) => {
                Json::List(items.iter().map(|item| self.json(*item, depth + 1)).collect::<Result<_, _>>()?)
            }
            Node::Dict(entries) => {
                let mut object: Vec<(String, Json)> = Vec::with_capacity(entries.len());
                for (key, value) in entries {
                    object.push((self.key(*key)?, self.json(*value, depth + 1)?));
                }
                Json::Object(object)
            }
        })
    }

    /// A key as `json.dumps` writes it.
    fn key(&mut self, id: NodeId) -> Result<String, PickleError> {
        let nodes = self.nodes;
        self.spend(NODE_SIZE)?;
        Ok(match &nodes[id] {
            Node::None => "null".to_owned(),
            Node::Bool(value) => value.to_string(),
            Node::Int(Ok(number)) => number.to_string(),
            Node::Int(Err(text)) | Node::Text(text) => self.copy(text)?,
            Node::Float(number) => float(*number),
            Node::Bytes(_) => return Err(PickleError::NotJson("bytes as the key of a dict")),
            Node::List(_) | Node::Dict(_) => return Err(PickleError::NotJson("a tuple as the key of a dict")),
        })
    }

    fn copy(&mut self, text: &str) -> Result<String, PickleError> {
        self.spend(text.len())?;
        Ok(text.to_owned())
    }

    fn spend(&mut self, bytes: usize) -> Result<(), PickleError> {
        self.left = self.left.checked_sub(bytes).ok_or(PickleError::TooLarge)?;
        Ok(())
    }
}

/// A float as Python's JSON has it.
fn float(number: f64) -> String {
    if number.is_nan() {
        "NaN".to_owned()
    } else if number.is_infinite() {
        if number > 0.0 { "Infinity".to_owned() } else { "-Infinity".to_owned() }
    } else {
        // The shortest text that reads as the same number, always with a point or an exponent.
        format!("{number:?}")
    }
}
