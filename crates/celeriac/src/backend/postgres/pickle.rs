//! Reads pickles of what JSON can say, without ever executing one.
//!
//! Celery before 5.7 stored `result` as a pickle whatever the serializer was (celery/celery#3025; 5.7 still reads such
//! rows, and so do we). A pickle is a program for a stack machine (`pickletools`); the opcodes that build `None`,
//! booleans, numbers, text, bytes, lists, tuples and dicts are obeyed, and any other, above all those that name or call
//! something of Python's, ends the reading with an error.

mod machine;
mod node;
#[cfg(test)]
mod tests;

use self::machine::Machine;
use crate::protocol::Json;

/// A pickle that is not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PickleError {
    #[error("the pickle ends in the middle")]
    Truncated,
    /// It needs Python: an object, a function, a persistent id.
    #[error("the pickle has Python objects in it (opcode 0x{opcode:02x} at byte {at}), which only Python can read")]
    Python { opcode: u8, at: usize },
    #[error("the pickle is malformed at byte {at}: {what}")]
    Malformed { at: usize, what: &'static str },
    /// Valid, but JSON has no such value.
    #[error("the pickle has {0}, which JSON does not have")]
    NotJson(&'static str),
    /// References to one value may be repeated: a short pickle can describe a value without bounds.
    #[error("the pickled value is too large")]
    TooLarge,
}

/// Whether stored bytes are a pickle: Celery tells so too (`_decode_stored_result`).
pub(super) fn is_pickle(bytes: &[u8]) -> bool {
    bytes.first() == Some(&machine::PROTO)
}

/// Reads a pickle of protocol 2 to 5. A tuple reads as a list, and keys of dicts become text as `json.dumps` writes them.
///
/// # Errors
/// See [`PickleError`].
pub(super) fn read(bytes: &[u8]) -> Result<Json, PickleError> {
    Machine::new(bytes).run()
}
