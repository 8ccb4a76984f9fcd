//! Tasks to be sent later: what a message says about what follows it (`celery/canvas.py`).

use super::RawJson;
use super::json::Json;
use super::task::DecodeErrorKind;

/// A task that is to be sent when another one has ended.
///
/// Unknown keys and options are kept as they came, so that a canvas built in Python passes through unharmed.
///
/// ```
/// use celeriac::canvas::Signature;
///
/// let refund = Signature::new("shop.refund").arg(4711).kwarg("reason", "damaged").with("queue", "refunds").immutable();
/// let again = Signature::from_json(&refund.to_json())?;
/// assert_eq!(again, refund);
/// # Ok::<(), celeriac::protocol::DecodeErrorKind>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Signature {
    /// The name of the task; `celery.chain`, `celery.group`, `celery.chord` for what is no single task.
    pub task: String,
    /// Its own positional arguments; the result of the task before comes in front of them.
    pub args: Vec<Json>,
    /// Its own keyword arguments.
    pub kwargs: Vec<(String, Json)>,
    /// `task_id`, `queue`, `countdown`, `link_error`, …
    pub options: Vec<(String, Json)>,
    /// `group`, `chord` or `chain` for what is no single task.
    pub subtask_type: Option<String>,
    /// Takes no result of the task before.
    pub immutable: bool,
    /// Keys that are none of these.
    pub others: Vec<(String, Json)>,
}

/// What follows a task: the third part of a message's body.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Embed {
    /// Sent with the result of this task.
    pub callbacks: Option<Vec<Signature>>,
    /// Sent when this task has failed.
    pub errbacks: Option<Vec<Signature>>,
    /// The rest of the chain, the next task last.
    pub chain: Option<Vec<Signature>>,
    /// The task that is sent once all tasks of this one's group have ended.
    pub chord: Option<Box<Signature>>,
}

type Read<T> = Result<T, DecodeErrorKind>;

impl Embed {
    /// Reads it from a body; `null` and absent keys mean nothing follows.
    pub(super) fn read(embed: &RawJson) -> Read<Self> {
        let mut read = Self::default();
        if embed.is_null() {
            return Ok(read);
        }
        let entries =
            super::json::entries(embed).ok_or(DecodeErrorKind::Shape { expected: "an object of callbacks" })?;
        for (key, value) in entries {
            // Almost every message says `null` four times.
            if !value.is_null() {
                read.read_key(&key, &value.to_tree())?;
            }
        }
        Ok(read)
    }

    pub(super) fn read_key(&mut self, key: &str, value: &Json) -> Read<()> {
        match key {
            "callbacks" => self.callbacks = Signature::list(value)?,
            "errbacks" => self.errbacks = Signature::list(value)?,
            "chain" => self.chain = Signature::list(value)?,
            "chord" if value.is_null() => self.chord = None,
            "chord" => self.chord = Some(Box::new(Signature::from_json(value)?)),
            _ => {}
        }
        Ok(())
    }

    /// Whether nothing follows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let none = |list: &Option<Vec<Signature>>| list.as_ref().is_none_or(Vec::is_empty);
        none(&self.callbacks) && none(&self.errbacks) && none(&self.chain) && self.chord.is_none()
    }

    /// With Celery's keys in Celery's order.
    pub(crate) fn to_json(&self) -> Json {
        let list = |list: &Option<Vec<Signature>>| {
            list.as_ref().map_or(Json::Null, |list| Json::List(list.iter().map(Signature::to_json).collect()))
        };
        let chord = self.chord.as_ref().map_or(Json::Null, |chord| chord.to_json());
        let entries = [
            ("callbacks", list(&self.callbacks)),
            ("errbacks", list(&self.errbacks)),
            ("chain", list(&self.chain)),
            ("chord", chord),
        ];
        Json::Object(entries.map(|(key, value)| (key.to_owned(), value)).into())
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        const NOTHING: &[u8] = br#"{"callbacks":null,"errbacks":null,"chain":null,"chord":null}"#;
        if *self == Self::default() {
            out.extend_from_slice(NOTHING);
        } else {
            self.to_json().write(out);
        }
    }
}

impl Signature {
    /// A task without arguments and options, for a program that does not know it as a type; else [`of`](Self::of).
    #[must_use]
    pub fn new(task: impl Into<String>) -> Self {
        Self {
            task: task.into(),
            args: Vec::new(),
            kwargs: Vec::new(),
            options: Vec::new(),
            subtask_type: None,
            immutable: false,
            others: Vec::new(),
        }
    }

    /// An option by its name.
    #[must_use]
    pub fn option(&self, name: &str) -> Option<&Json> {
        self.options.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// Sets an option, or replaces it.
    pub fn set_option(&mut self, name: &str, value: Json) {
        match self.options.iter_mut().find(|(key, _)| key == name) {
            Some((_, old)) => *old = value,
            None => self.options.push((name.to_owned(), value)),
        }
    }

    /// `options.task_id`: the id that the task will have.
    #[must_use]
    pub fn task_id(&self) -> Option<&str> {
        self.option("task_id")?.as_str()
    }

    /// Reads a signature; only its `task` is required.
    ///
    /// # Errors
    /// It is no object, or one of the known keys has another type.
    pub fn from_json(json: &Json) -> Result<Self, DecodeErrorKind> {
        const SHAPE: DecodeErrorKind = DecodeErrorKind::Shape { expected: "a signature" };
        let Json::Object(entries) = json else { return Err(SHAPE) };
        let task = json.get("task").and_then(Json::as_str).ok_or(SHAPE)?;
        let mut signature = Self::new(task);
        for (key, value) in entries {
            match (key.as_str(), value) {
                ("task", _) | ("args" | "kwargs" | "options" | "subtask_type" | "immutable", Json::Null) => {}
                ("args", Json::List(args)) => signature.args.clone_from(args),
                ("kwargs", Json::Object(kwargs)) => signature.kwargs.clone_from(kwargs),
                ("options", Json::Object(options)) => signature.options.clone_from(options),
                ("subtask_type", Json::Str(kind)) => signature.subtask_type = Some(kind.clone()),
                ("immutable", Json::Bool(immutable)) => signature.immutable = *immutable,
                ("immutable", Json::Int(number)) => signature.immutable = *number != 0,
                ("args" | "kwargs" | "options" | "subtask_type" | "immutable", _) => return Err(SHAPE),
                _ => signature.others.push((key.clone(), value.clone())),
            }
        }
        Ok(signature)
    }

    /// Writes it with Celery's keys in Celery's order.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let mut entries = vec![
            ("task".to_owned(), Json::Str(self.task.clone())),
            ("args".to_owned(), Json::List(self.args.clone())),
            ("kwargs".to_owned(), Json::Object(self.kwargs.clone())),
            ("options".to_owned(), Json::Object(self.options.clone())),
            ("subtask_type".to_owned(), self.subtask_type.clone().map_or(Json::Null, Json::Str)),
            ("immutable".to_owned(), Json::Bool(self.immutable)),
        ];
        entries.extend(self.others.iter().cloned());
        Json::Object(entries)
    }

    /// One signature or a list of them (`celery.canvas.maybe_list`).
    fn list(json: &Json) -> Read<Option<Vec<Self>>> {
        match json {
            Json::Null => Ok(None),
            Json::List(list) => list.iter().map(Self::from_json).collect::<Read<_>>().map(Some),
            one => Ok(Some(vec![Self::from_json(one)?])),
        }
    }
}
