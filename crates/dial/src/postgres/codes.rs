//! Keeps the SQLSTATE of an error through a driver that drops it.
//!
//! Diesel hands on the message of an error and not its code, and the message is in the language of the server
//! (`lc_messages`). So the code is put in front of the message where the message is read from the wire:
//! `deadlock detected` becomes `40P01: deadlock detected`, and [`code_of`] finds it there.

use tokio_postgres::error::SqlState;

/// The SQLSTATE in front of a message that came through [`Dialer::with_codes`](super::Dialer::with_codes).
#[must_use]
pub fn code_of(message: &str) -> Option<SqlState> {
    let (code, _) = message.split_once(": ")?;
    let is_code = code.len() == 5 && code.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase());
    is_code.then(|| SqlState::from_code(code))
}

pub(super) fn without_code(message: &str) -> &str {
    if code_of(message).is_some() { &message[7..] } else { message }
}

/// A type and a length that counts itself.
const HEADER: usize = 5;
const ERROR: u8 = b'E';

/// Follows what a server sends. Errors are held back until they are complete; everything else passes as it comes.
#[derive(Debug, Default)]
pub(super) struct Codes {
    /// The header of the message that is being read, as far as it is here.
    header: Vec<u8>,
    /// Bytes of the body that are still to come.
    body: usize,
    /// The error that is being read.
    error: Option<Vec<u8>>,
}

impl Codes {
    /// Takes what has come, and adds to `out` what may be handed on.
    pub(super) fn read(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        while !bytes.is_empty() {
            if self.body == 0 {
                let missing = HEADER - self.header.len();
                let (some, rest) = bytes.split_at(missing.min(bytes.len()));
                self.header.extend_from_slice(some);
                bytes = rest;
                if self.header.len() == HEADER {
                    self.begin(out);
                }
                continue;
            }
            let (some, rest) = bytes.split_at(self.body.min(bytes.len()));
            self.body -= some.len();
            bytes = rest;
            match &mut self.error {
                None => out.extend_from_slice(some),
                Some(error) => error.extend_from_slice(some),
            }
            if self.body == 0
                && let Some(error) = self.error.take()
            {
                write(&with_code(&error), out);
            }
        }
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        let length = u32::from_be_bytes([self.header[1], self.header[2], self.header[3], self.header[4]]);
        self.body = (length as usize).saturating_sub(4);
        if self.header[0] == ERROR && self.body > 0 {
            self.error = Some(Vec::new());
        } else {
            out.extend_from_slice(&self.header);
        }
        self.header.clear();
    }
}

fn write(body: &[u8], out: &mut Vec<u8>) {
    out.push(ERROR);
    out.extend_from_slice(&u32::try_from(body.len() + 4).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(body);
}

/// The fields of an error, each a letter and a text that ends with 0, with the code (`C`) in front of the message (`M`).
fn with_code(body: &[u8]) -> Vec<u8> {
    let fields = || body.split(|byte| *byte == 0).filter_map(|field| field.split_first());
    let Some((_, code)) = fields().find(|(name, _)| **name == b'C') else { return body.to_vec() };
    let mut changed = Vec::with_capacity(body.len() + code.len() + 2);
    for (name, text) in fields() {
        changed.push(*name);
        if *name == b'M' {
            changed.extend_from_slice(code);
            changed.extend_from_slice(b": ");
        }
        changed.extend_from_slice(text);
        changed.push(0);
    }
    changed.push(0);
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut message = vec![kind];
        message.extend_from_slice(&u32::try_from(body.len() + 4).unwrap().to_be_bytes());
        message.extend_from_slice(body);
        message
    }

    #[test]
    fn an_error_gets_its_code_wherever_the_bytes_are_cut_and_all_else_stays_as_it_is() {
        let error = "SОШИБКА\0VERROR\0C40P01\0Mобнаружена взаимоблокировка\0\0".as_bytes();
        let told = "SОШИБКА\0VERROR\0C40P01\0M40P01: обнаружена взаимоблокировка\0\0".as_bytes();
        let (row, ready) = (message(b'D', b"\0\x01E\0\0\0\x09C"), message(b'Z', b"I"));
        let sent = [row.clone(), message(b'1', b""), message(b'E', error), ready.clone()].concat();
        let expected = [row, message(b'1', b""), message(b'E', told), ready].concat();
        for size in 1..sent.len() {
            let (mut codes, mut out) = (Codes::default(), Vec::new());
            sent.chunks(size).for_each(|piece| codes.read(piece, &mut out));
            assert_eq!(out, expected, "pieces of {size}");
        }
    }

    #[test]
    fn a_message_tells_its_code() {
        assert_eq!(code_of("40P01: обнаружена взаимоблокировка"), Some(SqlState::T_R_DEADLOCK_DETECTED));
        for other in ["", "deadlock detected", "error: x", "40p01: x", "error communicating with the server"] {
            assert_eq!(code_of(other), None, "{other}");
        }
        assert_eq!(without_code("40P01: x"), "x");
        assert_eq!(without_code("x: y"), "x: y");
    }
}
