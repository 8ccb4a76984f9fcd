//! A failure as it travels: Celery's exception triple.

use serde_json::Value;

use crate::protocol::repr;

/// How a task failed, in the form that Celery stores an exception: type, arguments, module.
///
/// A Python client that gets such a result raises an exception of that type, if it can import it, else one that it
/// makes up with this name.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// The name of the exception type, for instance `PaymentDeclined` or `ValueError`.
    pub exc_type: String,
    /// The arguments of the exception.
    pub exc_message: Vec<Value>,
    /// The Python module of the type; `builtins` for Python's own.
    pub exc_module: String,
    /// What Python shows under the exception: for Rust errors, those that caused them.
    pub traceback: Option<String>,
}

/// The module of failures that Python does not know. No Python module is called so: one that exists would be searched
/// for the type, and a client refuses what it finds there unless it is an exception.
const FOREIGN_MODULE: &str = "rust.errors";

impl Failure {
    /// A failure of our own.
    #[must_use]
    pub fn new<M: Into<Value>>(exc_type: impl Into<String>, message: impl IntoIterator<Item = M>) -> Self {
        Self {
            exc_type: exc_type.into(),
            exc_message: message.into_iter().map(Into::into).collect(),
            exc_module: FOREIGN_MODULE.to_owned(),
            traceback: None,
        }
    }

    /// One of Python's own exceptions, for instance `ValueError`, which a Python client can catch.
    #[must_use]
    pub fn builtin(exc_type: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(exc_type, [message.into()]).with_module("builtins")
    }

    /// One of Celery's exceptions (`celery.exceptions`), for instance `NotRegistered`.
    #[must_use]
    pub fn celery<M: Into<Value>>(exc_type: impl Into<String>, message: impl IntoIterator<Item = M>) -> Self {
        Self::new(exc_type, message).with_module("celery.exceptions")
    }

    /// The failure that stands for a Rust error: its type and module by name, its message, and in place of a traceback
    /// the errors that caused it.
    #[must_use]
    pub fn from_error<E: std::error::Error + ?Sized>(error: &E) -> Self {
        let name = std::any::type_name::<E>();
        let name = name.strip_prefix("dyn ").unwrap_or(name);
        let path = name.split(['<', ' ']).next().unwrap_or(name).replace("::", ".");
        let (module, exc_type) = path.rsplit_once('.').unwrap_or(("errors", &path));
        Self {
            exc_type: exc_type.to_owned(),
            exc_message: vec![error.to_string().into()],
            exc_module: format!("rust.{module}"),
            traceback: Some(causes(error)),
        }
    }

    /// As Python's `repr` shows the exception: `CustomError(402, 'insufficient funds')`.
    #[must_use]
    pub fn repr(&self) -> String {
        // Two of Celery's have words of their own (`celery/exceptions.py`).
        match (self.exc_module.as_str(), self.exc_type.as_str(), self.exc_message.as_slice()) {
            ("celery.exceptions", "NotRegistered", [name]) => {
                // It is a `KeyError`, whose text is the `repr` of its key.
                let mut key = String::new();
                repr::python_value(name, &mut key);
                format!("Task of kind {key} never registered, please make sure it's imported.")
            }
            ("celery.exceptions", "Reject", [reason, requeue]) => {
                let requeue = if requeue == &Value::Bool(true) { "True" } else { "False" };
                let mut text = String::new();
                match reason {
                    Value::String(reason) => text.push_str(reason),
                    reason => repr::python_value(reason, &mut text),
                }
                format!("reject requeue={requeue}: {text}")
            }
            _ => repr::call(&self.exc_type, &self.exc_message),
        }
    }

    /// The same from another Python module.
    #[must_use]
    pub fn with_module(mut self, module: impl Into<String>) -> Self {
        self.exc_module = module.into();
        self
    }

    /// The same with a traceback.
    #[must_use]
    pub fn with_traceback(mut self, traceback: impl Into<String>) -> Self {
        self.traceback = Some(traceback.into());
        self
    }
}

/// The error and what caused it, one a line.
fn causes<E: std::error::Error + ?Sized>(error: &E) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str("\ncaused by: ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// `PaymentDeclined: insufficient funds`
impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.exc_type)?;
        let mut separator = ": ";
        for argument in &self.exc_message {
            match argument {
                Value::String(text) => write!(f, "{separator}{text}")?,
                other => write!(f, "{separator}{other}")?,
            }
            separator = ", ";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the gateway did not answer")]
    struct NoAnswer(#[source] std::io::Error);

    #[test]
    fn an_error_becomes_an_exception_of_its_name_with_its_causes() {
        let error = NoAnswer(std::io::Error::other("connection reset"));
        let failure = Failure::from_error(&error);
        assert_eq!(failure.exc_type, "NoAnswer");
        assert_eq!(failure.exc_module, "rust.celeriac.task.failure.tests");
        assert_eq!(failure.exc_message, ["the gateway did not answer"]);
        assert_eq!(failure.traceback.as_deref(), Some("the gateway did not answer\ncaused by: connection reset"));
        let unnamed: &dyn std::error::Error = &error;
        assert_eq!(Failure::from_error(unnamed).exc_type, "Error");
    }

    #[test]
    fn a_failure_is_shown_to_people_and_to_python() {
        let failure = Failure::new("CustomError", [Value::from(402), "insufficient funds".into()]);
        assert_eq!(failure.repr(), "CustomError(402, 'insufficient funds')");
        assert_eq!(failure.to_string(), "CustomError: 402, insufficient funds");
        assert_eq!(Failure::builtin("ValueError", "boom").repr(), "ValueError('boom')");
        let unknown = Failure::celery("NotRegistered", ["t.x"]).repr();
        assert_eq!(unknown, "Task of kind 't.x' never registered, please make sure it's imported.");
        let reject = Failure::celery("Reject", [Value::from("no"), false.into()]).repr();
        assert_eq!(reject, "reject requeue=False: no");
        assert_eq!(Failure::new::<Value>("SoftTimeLimitExceeded", []).repr(), "SoftTimeLimitExceeded()");
    }
}
