//! Values as Python prints them: what a person of Celery's command line expects to read, and scripts to parse.

use std::fmt::Write as _;

use celeriac::protocol::{Json, RawJson, Tagged, repr};

/// `str(value)`
pub(super) fn text(value: &Json) -> String {
    match value {
        Json::Str(text) | Json::Tagged(Tagged::Date(text) | Tagged::Time(text) | Tagged::Decimal(text)) => text.clone(),
        Json::Tagged(Tagged::DateTime(text)) => text.replacen('T', " ", 1),
        Json::Tagged(Tagged::Uuid(uuid)) => uuid.to_string(),
        other => self::repr(other),
    }
}

/// `repr(value)`
pub(super) fn repr(value: &Json) -> String {
    let mut out = String::new();
    write_repr(value, &mut out);
    out
}

fn write_repr(value: &Json, out: &mut String) {
    match value {
        Json::Null => out.push_str("None"),
        Json::Bool(true) => out.push_str("True"),
        Json::Bool(false) => out.push_str("False"),
        Json::Int(number) => {
            let _ = write!(out, "{number}");
        }
        Json::Number(number) => out.push_str(&match float(number) {
            Some(float) => repr::float(float),
            None => number.clone(),
        }),
        Json::Str(text) => repr::quoted(text, out),
        Json::List(elements) => {
            out.push('[');
            separated(elements, ", ", out, write_repr);
            out.push(']');
        }
        Json::Object(entries) => {
            out.push('{');
            separated(entries, ", ", out, |(key, value), out| {
                repr::quoted(key, out);
                out.push_str(": ");
                write_repr(value, out);
            });
            out.push('}');
        }
        Json::Tagged(_) => out.push_str(&repr::value(&raw(value))),
    }
}

/// `json.dumps(value)`
pub(super) fn dumps(value: &Json) -> String {
    let mut out = String::new();
    Dump { indent: None, depth: 0 }.write(value, &mut out);
    out
}

/// `json.dumps(value, sort_keys=True, indent=4)`
pub(super) fn dumps_pretty(value: &Json) -> String {
    let mut out = String::new();
    Dump { indent: Some(4), depth: 0 }.write(value, &mut out);
    out
}

/// How JSON is laid out. Keys are sorted where it is indented.
#[derive(Clone, Copy)]
struct Dump {
    indent: Option<usize>,
    depth: usize,
}

impl Dump {
    fn write(self, value: &Json, out: &mut String) {
        match value {
            Json::Str(text) => quoted(text, out),
            Json::Number(number) => out.push_str(&match float(number) {
                Some(float) if float.is_finite() => repr::float(float),
                _ => number.clone(),
            }),
            Json::List(elements) if !elements.is_empty() => {
                out.push('[');
                self.contents(elements, out, Self::write);
                out.push(']');
            }
            Json::Object(entries) if !entries.is_empty() => {
                let mut entries: Vec<_> = entries.iter().collect();
                if self.indent.is_some() {
                    entries.sort_by(|a, b| a.0.cmp(&b.0));
                }
                out.push('{');
                self.contents(&entries, out, |inner, (key, value), out| {
                    quoted(key, out);
                    out.push_str(": ");
                    inner.write(value, out);
                });
                out.push('}');
            }
            other => out.push_str(raw(other).as_str()),
        }
    }

    fn contents<T>(self, items: &[T], out: &mut String, write: impl Fn(Self, &T, &mut String)) {
        let inner = Self { depth: self.depth + 1, ..self };
        let separator = if self.indent.is_some() { "," } else { ", " };
        inner.new_line(out);
        separated(items, separator, out, |item, out| {
            // The first stands on the line that was just begun.
            if self.indent.is_some() && out.ends_with(',') {
                inner.new_line(out);
            }
            write(inner, item, out);
        });
        self.new_line(out);
    }

    fn new_line(self, out: &mut String) {
        if let Some(indent) = self.indent {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent * self.depth));
        }
    }
}

/// A string as `json.dumps` writes it: ASCII alone.
fn quoted(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            ' '..='~' => out.push(character),
            _ => character.encode_utf16(&mut [0; 2]).iter().for_each(|unit| {
                let _ = write!(out, "\\u{unit:04x}");
            }),
        }
    }
    out.push('"');
}

/// The number if Python reads it as a float; an integer of any size is none.
fn float(number: &str) -> Option<f64> {
    let is_float = number.contains(['.', 'e', 'E', 'N', 'I']);
    is_float.then(|| Json::Number(number.to_owned()).as_f64()).flatten()
}

fn raw(value: &Json) -> RawJson {
    let mut out = Vec::new();
    value.write(&mut out);
    RawJson::parse(out).unwrap_or(RawJson::NULL)
}

fn separated<T>(items: &[T], separator: &str, out: &mut String, mut write: impl FnMut(&T, &mut String)) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push_str(separator);
        }
        write(item, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Json {
        RawJson::parse(text.to_owned()).unwrap().to_tree()
    }

    const VALUE: &str = r#"{"b":[1,-2.50,1e3,NaN,18446744073709551616000000000000000000000],"a":{"é":null,"t":true},"z":[],"y":{},"s":"it's"}"#;

    #[test]
    fn values_are_shown_as_python_shows_them() {
        let shown = "{'b': [1, -2.5, 1000.0, nan, 18446744073709551616000000000000000000000], \
                     'a': {'é': None, 't': True}, 'z': [], 'y': {}, 's': \"it's\"}";
        assert_eq!(repr(&read(VALUE)), shown);
        assert_eq!(text(&read(VALUE)), shown);
        assert_eq!((text(&read("\"a\\nb\"")), repr(&read("\"a\\nb\""))), ("a\nb".to_owned(), "'a\\nb'".to_owned()));
    }

    #[test]
    fn json_is_written_as_python_writes_it() {
        assert_eq!(
            dumps(&read(VALUE)),
            "{\"b\": [1, -2.5, 1000.0, NaN, 18446744073709551616000000000000000000000], \
             \"a\": {\"\\u00e9\": null, \"t\": true}, \"z\": [], \"y\": {}, \"s\": \"it's\"}"
        );
        assert_eq!(dumps(&read("\"\\ud83d\\ude00\\u007f\"")), "\"\\ud83d\\ude00\\u007f\"");
        assert_eq!(
            dumps_pretty(&read(r#"{"b":[1,{"d":2,"c":","}],"a":{},"e":[]}"#)),
            "{\n    \"a\": {},\n    \"b\": [\n        1,\n        {\n            \"c\": \",\",\n            \"d\": 2\n        }\n    ],\n    \"e\": []\n}"
        );
    }
}
