//! One pass over JSON text that checks it and finds where values begin and end. Nothing is allocated.

use std::ops::Range;

use super::{JsonError, MAX_DEPTH};

/// A cursor over text that is known to be UTF-8.
pub(super) struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    /// Neither a `NaN` or `Infinity` nor (possibly) a type tag was seen: `serde_json` reads it as it stands.
    pub(super) plain: bool,
}

type Scan<T> = Result<T, JsonError>;

const TAG: &[u8] = b"__type__";

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0, plain: true }
    }

    pub(super) fn slice(&self, range: Range<usize>) -> &'a [u8] {
        self.text.get(range).unwrap_or_default()
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    pub(super) fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Takes `byte` if it comes next.
    pub(super) fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    pub(super) fn expect(&mut self, byte: u8, expected: &'static str) -> Scan<()> {
        if self.take(byte) { Ok(()) } else { Err(self.syntax(expected)) }
    }

    pub(super) fn end(&mut self) -> Scan<()> {
        self.skip_space();
        if self.at == self.text.len() { Ok(()) } else { Err(self.syntax("the end")) }
    }

    pub(super) fn syntax(&self, expected: &'static str) -> JsonError {
        JsonError::Syntax { at: self.at, expected }
    }

    /// Checks one value with the space around it; answers where it lies, without that space.
    pub(super) fn value(&mut self, depth: usize) -> Scan<Range<usize>> {
        self.skip_space();
        let start = self.at;
        match self.peek() {
            Some(b'"') => self.string().map(|_| ())?,
            Some(b'{') => self.object(depth, |scanner, _, depth| scanner.value(depth).map(drop))?,
            Some(b'[') => self.list(depth, |scanner, depth| scanner.value(depth).map(drop))?,
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.literal(b"true")?,
            Some(b'f') => self.literal(b"false")?,
            Some(b'n') => self.literal(b"null")?,
            Some(b'N') => self.special(b"NaN")?,
            Some(b'I') => self.special(b"Infinity")?,
            _ => return Err(self.syntax("a value")),
        }
        let end = self.at;
        self.skip_space();
        Ok(start..end)
    }

    /// Walks over a list; `element` is called at the start of each element and must move behind it.
    pub(super) fn list(&mut self, depth: usize, mut element: impl FnMut(&mut Self, usize) -> Scan<()>) -> Scan<()> {
        let depth = self.deeper(depth)?;
        self.expect(b'[', "a list")?;
        self.skip_space();
        if self.take(b']') {
            return Ok(());
        }
        loop {
            element(self, depth)?;
            self.skip_space();
            if self.take(b']') {
                return Ok(());
            }
            self.expect(b',', "',' or ']'")?;
            self.skip_space();
        }
    }

    /// Walks over an object; `entry` is given where the key lies (with its quotes) and must move behind the value.
    pub(super) fn object(
        &mut self,
        depth: usize,
        mut entry: impl FnMut(&mut Self, Range<usize>, usize) -> Scan<()>,
    ) -> Scan<()> {
        let depth = self.deeper(depth)?;
        self.expect(b'{', "an object")?;
        self.skip_space();
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            let key = self.string()?;
            self.skip_space();
            self.expect(b':', "':'")?;
            self.skip_space();
            entry(self, key, depth)?;
            self.skip_space();
            if self.take(b'}') {
                return Ok(());
            }
            self.expect(b',', "',' or '}'")?;
            self.skip_space();
        }
    }

    /// Checks a string; answers where it lies, with its quotes.
    pub(super) fn string(&mut self) -> Scan<Range<usize>> {
        let start = self.at;
        self.expect(b'"', "a string")?;
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => self.escape()?,
                Some(0x20..) => self.at += 1,
                _ => return Err(self.syntax("the end of the string")),
            }
        }
        self.at += 1;
        if self.slice(start + 1..self.at - 1) == TAG {
            self.plain = false;
        }
        Ok(start..self.at)
    }

    fn escape(&mut self) -> Scan<()> {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => {
                let digits = self.slice(self.at + 1..self.at + 5);
                if digits.len() < 4 || !digits.iter().all(u8::is_ascii_hexdigit) {
                    return Err(self.syntax("four hexadecimal digits"));
                }
                self.at += 5;
            }
            _ => return Err(self.syntax("an escape")),
        }
        Ok(())
    }

    fn number(&mut self) -> Scan<()> {
        self.take(b'-');
        if self.peek() == Some(b'I') {
            return self.special(b"Infinity");
        }
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _signed = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Scan<()> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at > start { Ok(()) } else { Err(self.syntax("a digit")) }
    }

    fn special(&mut self, word: &'static [u8]) -> Scan<()> {
        self.plain = false;
        self.literal(word)
    }

    fn literal(&mut self, word: &'static [u8]) -> Scan<()> {
        if self.slice(self.at..self.at + word.len()) != word {
            return Err(self.syntax("a value"));
        }
        self.at += word.len();
        Ok(())
    }

    fn deeper(&self, depth: usize) -> Scan<usize> {
        if depth < MAX_DEPTH { Ok(depth + 1) } else { Err(JsonError::TooDeep { at: self.at }) }
    }
}
