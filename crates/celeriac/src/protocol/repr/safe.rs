//! `saferepr`: like `repr`, but short: three levels deep and about 1,024 characters.

use super::hidden::{REDACTED, masked};
use super::python;
use crate::protocol::RawJson;
use crate::protocol::json::{Json, Tagged};

/// `Task.argsrepr_maxsize` and its brothers.
const MAX_LENGTH: isize = 1024;

/// `task_repr_maxlevels`
const MAX_LEVELS: usize = 3;

/// The positional arguments as a tuple: `(2, 3)`.
#[must_use]
pub fn args(args: &RawJson) -> String {
    match args.to_tree() {
        Json::List(elements) => shown(|repr| repr.tuple(&elements)),
        other => shown(|repr| repr.value(&other)),
    }
}

/// The keyword arguments: `{'amount': 199.5}`.
#[must_use]
pub fn kwargs(kwargs: &RawJson) -> String {
    value(kwargs)
}

/// Any value, for instance a result.
#[must_use]
pub fn value(value: &RawJson) -> String {
    let value = value.to_tree();
    shown(|repr| repr.value(&value))
}

/// Keyword arguments, some of them hidden: `{'account': 7, 'token': '***'}`.
#[must_use]
pub fn redacted(kwargs: &RawJson, hidden: &[&str]) -> String {
    let mut kwargs = kwargs.to_tree();
    if let Json::Object(entries) = &mut kwargs {
        for (_, value) in entries.iter_mut().filter(|(name, _)| hidden.contains(&name.as_str())) {
            *value = Json::Str(REDACTED.to_owned());
        }
    }
    shown(|repr| repr.value(&kwargs))
}

/// Positional arguments, some of them hidden: `(7, '***')`. `fields` are their names, in their order.
#[must_use]
pub fn redacted_args(args: &RawJson, fields: &[&str], hidden: &[&str]) -> String {
    let Json::List(mut elements) = args.to_tree() else { return REDACTED.to_owned() };
    for (element, _) in elements.iter_mut().zip(fields).filter(|(_, field)| hidden.contains(field)) {
        *element = Json::Str(REDACTED.to_owned());
    }
    shown(|repr| repr.tuple(&elements))
}

fn shown(write: impl FnOnce(&mut Repr)) -> String {
    let mut repr = Repr { out: String::new(), left: MAX_LENGTH, level: 0, full: false };
    write(&mut repr);
    repr.out
}

/// A representation in the making.
struct Repr {
    out: String,
    /// Characters that may still be written; what is begun is finished.
    left: isize,
    level: usize,
    /// The limit was reached: only the brackets that are open are still closed.
    full: bool,
}

impl Repr {
    fn value(&mut self, value: &Json) {
        match value {
            Json::Null => self.scalar("None"),
            Json::Bool(true) => self.scalar("True"),
            Json::Bool(false) => self.scalar("False"),
            Json::Int(number) => self.scalar(&number.to_string()),
            Json::Number(text) => self.scalar(&number(text)),
            Json::Str(text) => self.text(text),
            Json::List(elements) => self.sequence(elements, "[", "]"),
            Json::Object(entries) => self.object(entries),
            Json::Tagged(Tagged::Bytes(bytes)) => self.bytes(bytes),
            Json::Tagged(tagged) => self.scalar(&python::tagged(tagged)),
        }
    }

    fn tuple(&mut self, elements: &[Json]) {
        self.sequence(elements, "(", if elements.len() == 1 { ",)" } else { ")" });
    }

    fn sequence(&mut self, elements: &[Json], open: &str, close: &str) {
        self.nested(open, close, |repr| {
            for (index, element) in elements.iter().enumerate() {
                if index > 0 {
                    repr.token(", ");
                }
                repr.value(element);
            }
        });
    }

    fn object(&mut self, entries: &[(String, Json)]) {
        if let Some(entries) = masked(entries) {
            return self.entries(&entries);
        }
        self.entries(entries);
    }

    fn entries(&mut self, entries: &[(String, Json)]) {
        self.nested("{", "}", |repr| {
            for (index, (key, value)) in entries.iter().enumerate() {
                if index > 0 {
                    repr.token(", ");
                }
                repr.text(key);
                repr.token(": ");
                repr.value(value);
            }
        });
    }

    fn nested(&mut self, open: &str, close: &str, contents: impl FnOnce(&mut Self)) {
        if self.level >= MAX_LEVELS {
            return self.token(&format!("{open}...{close}"));
        }
        self.token(open);
        if self.full {
            return;
        }
        self.level += 1;
        contents(self);
        self.level -= 1;
        // Brackets that were opened are closed, whatever the limit says.
        self.out.push_str(close);
        self.left -= close.chars().count() as isize;
    }

    fn text(&mut self, text: &str) {
        let shortened = truncated(text, self.left);
        self.token(&format!("'{}'", shortened.replace('\'', "\\'")));
    }

    fn bytes(&mut self, bytes: &[u8]) {
        let shown = bytes.get(..usize::try_from(self.left).unwrap_or(0)).unwrap_or(bytes);
        let ellipsis = if shown.len() < bytes.len() { "..." } else { "" };
        match std::str::from_utf8(shown) {
            Ok(text) => self.token(&format!("b'{text}{ellipsis}'")),
            Err(_) => self.token(&format!("b'{}{ellipsis}'", hex(shown))),
        }
    }

    /// A value without parts; only the last one shown is ever cut.
    fn scalar(&mut self, text: &str) {
        let shortened = truncated(text, self.left);
        self.token(&shortened);
    }

    fn token(&mut self, token: &str) {
        if self.full {
            return;
        }
        if self.left <= 0 {
            self.full = true;
            self.out.push_str(", ...");
            return;
        }
        self.out.push_str(token);
        self.left -= token.chars().count() as isize;
    }
}

/// `celery.utils.text.truncate`: cut at the last space, if there is one.
fn truncated(text: &str, limit: isize) -> std::borrow::Cow<'_, str> {
    let limit = usize::try_from(limit).unwrap_or(0);
    match text.char_indices().nth(limit) {
        None if text.chars().count() < limit || limit == 0 => text.into(),
        cut => {
            let head = cut.map_or(text, |(end, _)| &text[..end]);
            let head = head.rsplit_once(' ').map_or(head, |(head, _)| head);
            format!("{head}...").into()
        }
    }
}

pub(super) fn number(text: &str) -> String {
    match text {
        "NaN" => "nan".to_owned(),
        "Infinity" => "inf".to_owned(),
        "-Infinity" => "-inf".to_owned(),
        _ if text.contains(['.', 'e', 'E']) => text.parse().map_or_else(|_| text.to_owned(), python::float),
        _ => text.to_owned(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
