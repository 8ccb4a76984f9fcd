//! Keyword arguments as Python binds them to a function, and the errors that its callers get when they do not fit.

use super::Exception;
use crate::protocol::{Json, RawJson};

/// How a command is called.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signature {
    pub(super) name: &'static str,
    required: &'static [&'static str],
    optional: &'static [&'static str],
    /// Arguments that it does not know are ignored (`**kwargs`).
    is_open: bool,
}

impl Signature {
    pub(super) const fn open(
        name: &'static str,
        required: &'static [&'static str],
        optional: &'static [&'static str],
    ) -> Self {
        Self { name, required, optional, is_open: true }
    }

    /// Takes nothing but these, all of which may be left out.
    pub(super) const fn closed(name: &'static str, optional: &'static [&'static str]) -> Self {
        Self { name, required: &[], optional, is_open: false }
    }

    /// Binds the arguments of a request.
    pub(super) fn bind(&self, arguments: &RawJson) -> Result<Arguments, Exception> {
        let Json::Object(entries) = arguments.to_tree() else { return Ok(Arguments(Vec::new())) };
        let is_known = |name: &str| self.required.contains(&name) || self.optional.contains(&name);
        if !self.is_open
            && let Some((name, _)) = entries.iter().find(|(name, _)| !is_known(name))
        {
            let message = format!("{}() got an unexpected keyword argument '{name}'", self.name);
            return Err(Exception::type_error(message));
        }
        let is_missing = |name: &&&str| !entries.iter().any(|(key, _)| key == **name);
        let missing: Vec<&str> = self.required.iter().filter(is_missing).copied().collect();
        if missing.is_empty() { Ok(Arguments(entries)) } else { Err(self.missing(&missing)) }
    }

    fn missing(&self, names: &[&str]) -> Exception {
        let plural = if names.len() == 1 { "" } else { "s" };
        let quoted: Vec<_> = names.iter().map(|name| format!("'{name}'")).collect();
        let listed = match quoted.as_slice() {
            [one] => one.clone(),
            [one, other] => format!("{one} and {other}"),
            [all @ .., last] => format!("{}, and {last}", all.join(", ")),
            [] => String::new(),
        };
        let count = names.len();
        Exception::type_error(format!("{}() missing {count} required positional argument{plural}: {listed}", self.name))
    }
}

/// The arguments of one call.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Arguments(Vec<(String, Json)>);

impl Arguments {
    /// An argument; one that is `null` is as good as none.
    pub(super) fn get(&self, name: &str) -> Option<&Json> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value).filter(|value| !value.is_null())
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Json::as_str)
    }

    /// What Python takes for true: Flower sends `terminate: 1`.
    pub(super) fn truth(&self, name: &str) -> bool {
        match self.get(name) {
            None | Some(Json::Null | Json::Bool(false) | Json::Int(0)) => false,
            Some(Json::Number(number)) => number.parse() != Ok(0.0),
            Some(Json::Str(text)) => !text.is_empty(),
            Some(Json::List(items)) => !items.is_empty(),
            Some(Json::Object(entries)) => !entries.is_empty(),
            Some(Json::Bool(true) | Json::Int(_) | Json::Tagged(_)) => true,
        }
    }

    /// A number of things.
    pub(super) fn count(&self, name: &str) -> Result<Option<usize>, Exception> {
        match self.get(name) {
            None => Ok(None),
            Some(Json::Int(count)) => Ok(Some(usize::try_from((*count).max(0)).unwrap_or(usize::MAX))),
            Some(other) => {
                let kind = python_type(other);
                Err(Exception::type_error(format!("'{kind}' object cannot be interpreted as an integer")))
            }
        }
    }

    /// A list of texts, or one without the list around it (`maybe_list`). What is no text is left out.
    pub(super) fn texts(&self, name: &str) -> Vec<String> {
        match self.get(name) {
            Some(Json::List(items)) => items.iter().filter_map(Json::as_str).map(str::to_owned).collect(),
            Some(Json::Str(text)) => vec![text.clone()],
            _ => Vec::new(),
        }
    }
}

/// What Python calls the type of a value.
pub(super) fn python_type(value: &Json) -> &'static str {
    match value {
        Json::Null => "NoneType",
        Json::Bool(_) => "bool",
        Json::Int(_) => "int",
        Json::Number(_) => "float",
        Json::Str(_) => "str",
        Json::List(_) => "list",
        Json::Object(_) => "dict",
        Json::Tagged(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(signature: Signature, arguments: &str) -> Result<Arguments, String> {
        let arguments = RawJson::parse(arguments.to_owned()).unwrap();
        signature.bind(&arguments).map_err(|exception| exception.repr())
    }

    #[test]
    fn what_does_not_fit_is_told_in_pythons_words() {
        const RATE: Signature = Signature::open("rate_limit", &["task_name", "rate_limit"], &[]);
        const MANY: Signature = Signature::open("f", &["a", "b", "c"], &[]);
        const SCALE: Signature = Signature::closed("autoscale", &["max", "min"]);
        for (signature, arguments, error) in [
            (
                RATE,
                "{}",
                r#"TypeError("rate_limit() missing 2 required positional arguments: 'task_name' and 'rate_limit'")"#,
            ),
            (
                RATE,
                r#"{"task_name": "t", "x": 1}"#,
                r#"TypeError("rate_limit() missing 1 required positional argument: 'rate_limit'")"#,
            ),
            (MANY, "{}", r#"TypeError("f() missing 3 required positional arguments: 'a', 'b', and 'c'")"#),
            (SCALE, r#"{"mid": 1}"#, r#"TypeError("autoscale() got an unexpected keyword argument 'mid'")"#),
        ] {
            assert_eq!(bind(signature, arguments).unwrap_err(), error);
        }
        assert!(bind(RATE, r#"{"task_name": "t", "rate_limit": null, "more": 1}"#).is_ok());
        assert!(bind(SCALE, r#"{"max": 1}"#).is_ok());
        assert!(bind(SCALE, "null").is_ok());
    }

    #[test]
    fn values_are_taken_as_python_takes_them() {
        const ANY: Signature = Signature::open("f", &[], &[]);
        let arguments =
            bind(ANY, r#"{"one": 1, "zero": 0, "no": null, "nil": 0.0, "t": "a", "l": ["a", 5, "b"], "n": -3}"#)
                .unwrap();
        let truths: Vec<_> = ["one", "zero", "no", "nil", "t", "none"].map(|name| arguments.truth(name)).into();
        assert_eq!(truths, [true, false, false, false, true, false]);
        assert_eq!(
            (arguments.texts("t"), arguments.texts("l")),
            (vec!["a".to_owned()], vec!["a".to_owned(), "b".to_owned()])
        );
        assert_eq!(
            (arguments.count("one"), arguments.count("n"), arguments.count("no")),
            (Ok(Some(1)), Ok(Some(0)), Ok(None))
        );
        let error = arguments.count("t").unwrap_err().repr();
        assert_eq!(error, r#"TypeError("'str' object cannot be interpreted as an integer")"#);
    }
}
