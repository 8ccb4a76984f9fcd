//! The stack machine.

use super::PickleError;
use super::node::{Node, NodeId, to_json};
use crate::protocol::Json;

/// The first byte of a pickle of protocol 2 and later.
pub(super) const PROTO: u8 = 0x80;
const LATEST_PROTOCOL: u8 = 5;

/// The largest integer, in bytes. Python prints none of more than 4,300 digits, so JSON cannot have come from one.
const MAX_INTEGER: usize = 1785;

pub(super) struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    nodes: Vec<Node>,
    stack: Vec<NodeId>,
    /// Where the stack stood at each open mark.
    marks: Vec<usize>,
    memo: Vec<Option<NodeId>>,
}

impl<'a> Machine<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, nodes: Vec::new(), stack: Vec::new(), marks: Vec::new(), memo: Vec::new() }
    }

    pub(super) fn run(mut self) -> Result<Json, PickleError> {
        if self.array()? != [PROTO] {
            return Err(self.malformed("no protocol"));
        }
        if self.byte()? > LATEST_PROTOCOL {
            return Err(self.malformed("an unknown protocol"));
        }
        loop {
            let opcode = self.byte()?;
            if opcode == b'.' {
                let root = self.pop()?;
                return to_json(&self.nodes, root);
            }
            self.step(opcode)?;
        }
    }

    fn step(&mut self, opcode: u8) -> Result<(), PickleError> {
        match opcode {
            // FRAME: how much to read ahead, which we have.
            0x95 => {
                self.array::<8>()?;
            }

            b'N' => self.push(Node::None),
            0x88 => self.push(Node::Bool(true)),
            0x89 => self.push(Node::Bool(false)),
            b'K' => self.integer::<1>(false)?,
            b'M' => self.integer::<2>(false)?,
            b'J' => self.integer::<4>(true)?,
            0x8a => self.long::<1>()?,
            0x8b => self.long::<4>()?,
            b'G' => {
                let number = f64::from_be_bytes(self.array()?);
                self.push(Node::Float(number));
            }
            0x8c => self.text::<1>()?,
            b'X' => self.text::<4>()?,
            0x8d => self.text::<8>()?,
            b'C' => self.binary::<1>()?,
            b'B' => self.binary::<4>()?,
            0x8e => self.binary::<8>()?,

            b'(' => self.marks.push(self.stack.len()),
            b']' => self.push(Node::List(Vec::new())),
            b'}' => self.push(Node::Dict(Vec::new())),
            b')' => self.tuple(self.stack.len())?,
            0x85..=0x87 => {
                let length = usize::from(opcode - 0x84);
                let start = self.stack.len().checked_sub(length).ok_or_else(|| self.malformed("an empty stack"))?;
                self.tuple(start)?;
            }
            b't' => {
                let start = self.mark()?;
                self.tuple(start)?;
            }
            b'a' => {
                let start = self.stack.len().saturating_sub(1);
                self.append(start)?;
            }
            b'e' => {
                let start = self.mark()?;
                self.append(start)?;
            }
            b's' => {
                let start = self.stack.len().saturating_sub(2);
                self.set(start)?;
            }
            b'u' => {
                let start = self.mark()?;
                self.set(start)?;
            }

            b'q' => {
                let index = self.length::<1>()?;
                self.remember(index)?;
            }
            b'r' => {
                let index = self.length::<4>()?;
                self.remember(index)?;
            }
            0x94 => self.remember(self.memo.len())?,
            b'h' => {
                let index = self.length::<1>()?;
                self.recall(index)?;
            }
            b'j' => {
                let index = self.length::<4>()?;
                self.recall(index)?;
            }
            _ => return Err(PickleError::Python { opcode, at: self.at - 1 }),
        }
        Ok(())
    }

    fn push(&mut self, node: Node) {
        self.stack.push(self.nodes.len());
        self.nodes.push(node);
    }

    /// The value on top, which must lie above the last mark.
    fn pop(&mut self) -> Result<NodeId, PickleError> {
        if self.stack.len() <= self.marks.last().copied().unwrap_or(0) {
            return Err(self.malformed("an empty stack"));
        }
        self.stack.pop().ok_or_else(|| self.malformed("an empty stack"))
    }

    fn mark(&mut self) -> Result<usize, PickleError> {
        self.marks.pop().ok_or_else(|| self.malformed("no mark"))
    }

    /// Takes what lies on the stack from `start` on.
    fn take_from(&mut self, start: usize) -> Result<Vec<NodeId>, PickleError> {
        if start < self.marks.last().copied().unwrap_or(0) || start > self.stack.len() {
            return Err(self.malformed("an empty stack"));
        }
        Ok(self.stack.split_off(start))
    }

    fn tuple(&mut self, start: usize) -> Result<(), PickleError> {
        let items = self.take_from(start)?;
        self.push(Node::List(items));
        Ok(())
    }

    fn append(&mut self, start: usize) -> Result<(), PickleError> {
        let items = self.take_from(start)?;
        let Some(Node::List(list)) = self.stack.last().map(|id| &mut self.nodes[*id]) else {
            return Err(self.malformed("no list to append to"));
        };
        list.extend(items);
        Ok(())
    }

    fn set(&mut self, start: usize) -> Result<(), PickleError> {
        let items = self.take_from(start)?;
        let (pairs, rest) = items.as_chunks::<2>();
        let Some(Node::Dict(entries)) = self.stack.last().map(|id| &mut self.nodes[*id]) else {
            return Err(self.malformed("no dict to set items of"));
        };
        if !rest.is_empty() {
            return Err(self.malformed("a key without a value"));
        }
        entries.extend(pairs.iter().map(|[key, value]| (*key, *value)));
        Ok(())
    }

    fn remember(&mut self, index: usize) -> Result<(), PickleError> {
        let Some(top) = self.stack.last().copied() else { return Err(self.malformed("an empty stack")) };
        // Writers count up from zero, so an index beyond the length of the pickle is none of theirs.
        if index > self.bytes.len() {
            return Err(self.malformed("a memo index without bounds"));
        }
        if index >= self.memo.len() {
            self.memo.resize(index + 1, None);
        }
        self.memo[index] = Some(top);
        Ok(())
    }

    fn recall(&mut self, index: usize) -> Result<(), PickleError> {
        let known = self.memo.get(index).copied().flatten();
        self.stack.push(known.ok_or_else(|| self.malformed("an unknown memo index"))?);
        Ok(())
    }

    fn integer<const N: usize>(&mut self, signed: bool) -> Result<(), PickleError> {
        let mut wide = [0; 8];
        wide[..N].copy_from_slice(&self.array::<N>()?);
        let mut number = i64::from_le_bytes(wide);
        if signed {
            let unused = 64 - 8 * N;
            number = (number << unused) >> unused;
        }
        self.push(Node::Int(Ok(number.into())));
        Ok(())
    }

    /// An integer of any size, in two's complement.
    fn long<const N: usize>(&mut self) -> Result<(), PickleError> {
        let length = self.length::<N>()?;
        if length > MAX_INTEGER {
            return Err(PickleError::TooLarge);
        }
        let bytes = self.take(length)?;
        let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let node = if length <= 16 {
            let mut wide = [if negative { 0xff } else { 0 }; 16];
            wide[..length].copy_from_slice(bytes);
            Node::Int(Ok(i128::from_le_bytes(wide)))
        } else {
            Node::Int(Err(decimal(bytes, negative)))
        };
        self.push(node);
        Ok(())
    }

    fn text<const N: usize>(&mut self) -> Result<(), PickleError> {
        let length = self.length::<N>()?;
        let bytes = self.take(length)?;
        // Python lets half a surrogate pair through, which no JSON text can hold.
        let text = std::str::from_utf8(bytes).map_err(|_| PickleError::NotJson("text that is not Unicode"))?;
        self.push(Node::Text(text.to_owned()));
        Ok(())
    }

    fn binary<const N: usize>(&mut self) -> Result<(), PickleError> {
        let length = self.length::<N>()?;
        let bytes = self.take(length)?.to_vec();
        self.push(Node::Bytes(bytes));
        Ok(())
    }

    fn byte(&mut self) -> Result<u8, PickleError> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    fn length<const N: usize>(&mut self) -> Result<usize, PickleError> {
        let mut wide = [0; 8];
        wide[..N].copy_from_slice(&self.array::<N>()?);
        usize::try_from(u64::from_le_bytes(wide)).map_err(|_| PickleError::Truncated)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], PickleError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let array = rest.first_chunk().ok_or(PickleError::Truncated)?;
        self.at += N;
        Ok(*array)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], PickleError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let taken = rest.get(..length).ok_or(PickleError::Truncated)?;
        self.at += length;
        Ok(taken)
    }

    fn malformed(&self, what: &'static str) -> PickleError {
        PickleError::Malformed { at: self.at, what }
    }
}

/// The decimal digits of a number in two's complement, lowest byte first.
fn decimal(bytes: &[u8], negative: bool) -> String {
    // Nine digits at a time, lowest first; the bytes are taken highest first.
    let mut groups: Vec<u64> = vec![0];
    for byte in bytes.iter().rev() {
        multiply_add(&mut groups, 256, u64::from(if negative { !byte } else { *byte }));
    }
    if negative {
        multiply_add(&mut groups, 1, 1);
    }
    let mut text = if negative { "-".to_owned() } else { String::new() };
    let highest = groups.iter().rposition(|group| *group != 0).unwrap_or(0);
    text.push_str(&groups[highest].to_string());
    text.extend(groups[..highest].iter().rev().map(|group| format!("{group:09}")));
    text
}

/// `groups = groups * factor + addend`
fn multiply_add(groups: &mut Vec<u64>, factor: u64, addend: u64) {
    const GROUP: u64 = 1_000_000_000;
    let mut carry = addend;
    for group in groups.iter_mut() {
        let sum = *group * factor + carry;
        *group = sum % GROUP;
        carry = sum / GROUP;
    }
    if carry > 0 {
        groups.push(carry);
    }
}
