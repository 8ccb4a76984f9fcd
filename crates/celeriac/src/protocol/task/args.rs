//! A call's arguments and the struct that a task is written for.

use std::borrow::Cow;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor, value::StrDeserializer};
use serde::forward_to_deserialize_any;

use crate::protocol::json::{elements, entries};
use crate::protocol::{JsonError, RawJson};
use crate::task::{Failure, Task};

/// A call that does not fit the task. The texts are those of Python's `TypeError`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentsError {
    /// Arguments that the task cannot do without.
    #[error("{task}() missing {} required positional argument{}: {}", .names.len(), plural(.names.len()), listed(.names))]
    Missing {
        /// The name of the task.
        task: String,
        /// In the order of the fields.
        names: Vec<String>,
    },
    /// More positional arguments than fields.
    #[error("{task}() takes {} positional argument{} but {given} {} given", .takes, plural(*.takes), if *.given == 1 { "was" } else { "were" })]
    TooMany {
        /// The name of the task.
        task: String,
        /// How many fields there are.
        takes: usize,
        /// How many arguments there are.
        given: usize,
    },
    /// A keyword argument for which there is no field.
    #[error("{task}() got an unexpected keyword argument '{name}'")]
    Unexpected {
        /// The name of the task.
        task: String,
        /// Of the argument.
        name: String,
    },
    /// An argument that came by position and by keyword.
    #[error("{task}() got multiple values for argument '{name}'")]
    Multiple {
        /// The name of the task.
        task: String,
        /// Of the argument.
        name: String,
    },
    /// The value is of another type.
    #[error("{task}() argument '{name}': {reason}")]
    Type {
        /// The name of the task.
        task: String,
        /// Of the argument.
        name: String,
        /// What was expected; no values are shown.
        reason: String,
    },
    /// The struct as a whole refused.
    #[error("{task}(): {reason}")]
    Whole {
        /// The name of the task.
        task: String,
        /// What its `Deserialize` said.
        reason: String,
    },
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// `'x'` · `'x' and 'y'` · `'x', 'y', and 'z'`
fn listed(names: &[String]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("'{name}'")).collect();
    match quoted.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [one, two] => format!("{one} and {two}"),
        [others @ .., last] => format!("{}, and {last}", others.join(", ")),
    }
}

/// Stored as Python stores a wrong call: a `TypeError`.
impl From<ArgumentsError> for Failure {
    fn from(error: ArgumentsError) -> Self {
        Self::builtin("TypeError", error.to_string())
    }
}

/// The struct, as it is written, as an object of keyword arguments.
pub(super) fn as_arguments<T: Task>(written: RawJson) -> Result<RawJson, JsonError> {
    match written.as_bytes() {
        [b'{', ..] => Ok(written),
        // A unit struct: a task without arguments.
        b"null" => Ok(RawJson::EMPTY_OBJECT),
        _ => Err(JsonError::Type(format!("{} is not written as an object of its fields", T::NAME))),
    }
}

/// Reads a call's arguments as the struct of a task: positional ones belong to the fields in their order, keyword ones
/// to the fields of their names.
///
/// # Errors
/// The call does not fit, as Python would say it.
pub fn read_arguments<T: Task>(task: &str, args: &RawJson, kwargs: &RawJson) -> Result<T, ArgumentsError> {
    // Python words these errors with the name of the function, which is the last part of the task's name.
    let task = task.rsplit_once('.').map_or(task, |(_, name)| name);
    let given = bind::<T>(task, args, kwargs)?;
    T::deserialize(Call { given: given.iter(), value: None }).map_err(|problem| match problem {
        Problem::Missing(field) => missing::<T>(task, &given, field),
        Problem::Duplicate(name) => ArgumentsError::Multiple { task: task.to_owned(), name: name.to_owned() },
        Problem::Type { name, .. } if T::REDACTED.contains(&name.as_str()) => {
            // `serde` shows the value that it did not expect.
            ArgumentsError::Type {
                task: task.to_owned(),
                name,
                reason: "its value does not fit, and is hidden".to_owned(),
            }
        }
        Problem::Type { name, reason } => ArgumentsError::Type { task: task.to_owned(), name, reason },
        Problem::Whole(reason) => ArgumentsError::Whole { task: task.to_owned(), reason },
    })
}

type Given<'a> = Vec<(Cow<'a, str>, RawJson)>;

/// Brings the arguments together under the names of the fields.
fn bind<'a, T: Task>(task: &str, args: &RawJson, kwargs: &'a RawJson) -> Result<Given<'a>, ArgumentsError> {
    let task = || task.to_owned();
    let args = elements(args).unwrap_or_default();
    let kwargs = entries(kwargs).unwrap_or_default();
    let positional = args.len();
    if positional > T::FIELDS.len() {
        return Err(ArgumentsError::TooMany { task: task(), takes: T::FIELDS.len(), given: positional });
    }
    let mut given: Given<'a> = Vec::with_capacity(positional + kwargs.len());
    given.extend(T::FIELDS.iter().map(|name| Cow::Borrowed(*name)).zip(args));
    for (name, value) in kwargs {
        if !T::FIELDS.contains(&&*name) && !T::ALIASES.contains(&&*name) {
            return Err(ArgumentsError::Unexpected { task: task(), name: name.into_owned() });
        }
        match given.iter().position(|(earlier, _)| *earlier == name) {
            None => given.push((name, value)),
            Some(at) if at < positional => {
                return Err(ArgumentsError::Multiple { task: task(), name: name.into_owned() });
            }
            // A key written twice: the last one counts, as in Python's dict.
            Some(at) => given[at].1 = value,
        }
    }
    Ok(given)
}

/// All that is missing, not only the field at which `serde` gave up.
fn missing<T: Task>(task: &str, given: &Given<'_>, field: &'static str) -> ArgumentsError {
    let absent = |name: &&&str| !given.iter().any(|(given, _)| given == **name);
    let mut names: Vec<_> = T::REQUIRED.iter().filter(absent).map(|name| (*name).to_owned()).collect();
    if !names.iter().any(|name| name == field) {
        names = vec![field.to_owned()];
    }
    ArgumentsError::Missing { task: task.to_owned(), names }
}

/// The arguments as a `serde` map.
struct Call<'a> {
    given: std::slice::Iter<'a, (Cow<'a, str>, RawJson)>,
    value: Option<&'a (Cow<'a, str>, RawJson)>,
}

/// What `serde` may find wrong, kept apart.
#[derive(Debug)]
enum Problem {
    Missing(&'static str),
    Duplicate(&'static str),
    Type { name: String, reason: String },
    Whole(String),
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for Problem {}

impl serde::de::Error for Problem {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self::Whole(message.to_string())
    }

    fn missing_field(field: &'static str) -> Self {
        Self::Missing(field)
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::Duplicate(field)
    }
}

impl<'de> Deserializer<'de> for Call<'de> {
    type Error = Problem;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_map(self)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit newtype_struct
        seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de> MapAccess<'de> for Call<'de> {
    type Error = Problem;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Problem> {
        self.value = self.given.next();
        self.value.map(|(name, _)| seed.deserialize(StrDeserializer::new(name))).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Problem> {
        let (name, value) = self.value.expect("serde asks for a value after its key");
        value.read_seed(seed).map_err(|error| Problem::Type { name: name.to_string(), reason: error.to_string() })
    }
}
