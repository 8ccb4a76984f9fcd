//! The tree behind a workflow, and its JSON.

use super::CanvasError;
use crate::protocol::{DecodeErrorKind, Json, Signature};

pub(super) type Options = Vec<(String, Json)>;

/// A signature by its kind. What makes up the kind (tasks, header, body) is taken out of the keyword arguments; the rest
/// of the signature stays as it came.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Task(Signature),
    Chain { tasks: Vec<Node>, shell: Signature },
    Group { tasks: Vec<Node>, shell: Signature },
    Chord(Box<Chord>),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Chord {
    pub(super) header: Vec<Node>,
    /// The group around the header, once the chord has got its ids.
    pub(super) header_group: Option<Signature>,
    pub(super) body: Node,
    pub(super) shell: Signature,
}

impl Node {
    pub(super) fn chain(tasks: Vec<Self>) -> Self {
        Self::Chain { tasks, shell: shell("celery.chain", "chain") }
    }

    pub(super) fn group(tasks: Vec<Self>) -> Self {
        Self::Group { tasks, shell: shell("celery.group", "group") }
    }

    pub(super) fn chord(header: Vec<Self>, body: Self) -> Self {
        let mut shell = shell("celery.chord", "chord");
        shell.kwargs.push(("kwargs".to_owned(), Json::Object(Vec::new())));
        Self::Chord(Box::new(Chord { header, header_group: None, body, shell }))
    }

    /// The signature itself, without what makes up its kind.
    pub(super) fn shell(&self) -> &Signature {
        match self {
            Self::Task(shell) | Self::Chain { shell, .. } | Self::Group { shell, .. } => shell,
            Self::Chord(chord) => &chord.shell,
        }
    }

    pub(super) fn shell_mut(&mut self) -> &mut Signature {
        match self {
            Self::Task(shell) | Self::Chain { shell, .. } | Self::Group { shell, .. } => shell,
            Self::Chord(chord) => &mut chord.shell,
        }
    }

    pub(super) fn from_json(json: &Json) -> Result<Self, CanvasError> {
        let mut shell = Signature::from_json(json)?;
        match shell.subtask_type.as_deref() {
            Some("chain") => Ok(Self::Chain { tasks: members(take(&mut shell, "tasks"))?, shell }),
            Some("group") => Ok(Self::Group { tasks: members(take(&mut shell, "tasks"))?, shell }),
            Some("chord") => {
                let body = take(&mut shell, "body").filter(|body| !body.is_null()).ok_or(CanvasError::NoBody)?;
                let body = Self::from_json(&body)?;
                let header = header(take(&mut shell, "header"))?;
                Ok(Self::Chord(Box::new(Chord { header, header_group: None, body, shell })))
            }
            _ => Ok(Self::Task(shell)),
        }
    }

    pub(super) fn to_json(&self) -> Json {
        self.to_signature().to_json()
    }

    pub(super) fn to_signature(&self) -> Signature {
        let list = |nodes: &[Self]| Json::List(nodes.iter().map(Self::to_json).collect());
        let with = |shell: &Signature, name: &str, value: Json| {
            let mut signature = shell.clone();
            signature.kwargs.push((name.to_owned(), value));
            signature
        };
        match self {
            Self::Task(signature) => signature.clone(),
            Self::Chain { tasks, shell } | Self::Group { tasks, shell } => with(shell, "tasks", list(tasks)),
            Self::Chord(chord) => {
                let header = match &chord.header_group {
                    None => list(&chord.header),
                    Some(group) => with(group, "tasks", list(&chord.header)).to_json(),
                };
                with(&with(&chord.shell, "header", header), "body", chord.body.to_json())
            }
        }
    }

    /// A group of one stands for that one (`maybe_unroll_group`).
    pub(super) fn unroll(self) -> Self {
        match self {
            Self::Group { mut tasks, .. } if tasks.len() == 1 => tasks.remove(0),
            other => other,
        }
    }

    pub(super) fn is_empty_group(&self) -> bool {
        matches!(self, Self::Group { tasks, .. } if tasks.is_empty())
    }

    /// A chain whose first step is no group. As the body of a chord it need not be copied into each header task.
    pub(super) fn is_chain_led_by_task(&self) -> bool {
        matches!(self, Self::Chain { tasks, .. } if tasks.first().is_some_and(|task| !matches!(task, Self::Group { .. })))
    }
}

fn shell(task: &str, kind: &str) -> Signature {
    Signature { subtask_type: Some(kind.to_owned()), ..Signature::new(task) }
}

fn take(shell: &mut Signature, name: &str) -> Option<Json> {
    let at = shell.kwargs.iter().position(|(key, _)| key == name)?;
    Some(shell.kwargs.remove(at).1)
}

fn members(json: Option<Json>) -> Result<Vec<Node>, CanvasError> {
    match json {
        Some(Json::List(tasks)) => tasks.iter().map(Node::from_json).collect(),
        _ => Err(DecodeErrorKind::Shape { expected: "a list of signatures" }.into()),
    }
}

/// A list of tasks, a group around them, or one task. Of a group only its tasks count: the chord itself keeps the id
/// (`_maybe_group`).
fn header(json: Option<Json>) -> Result<Vec<Node>, CanvasError> {
    match json {
        Some(header @ Json::Object(_)) => Ok(match Node::from_json(&header)? {
            Node::Group { tasks, .. } | Node::Chain { tasks, .. } => tasks,
            one => vec![one],
        }),
        list => members(list),
    }
}

/// The value of an option; `null` counts as absent.
pub(super) fn option<'a>(options: &'a [(String, Json)], name: &str) -> Option<&'a Json> {
    options.iter().find(|(key, _)| key == name).map(|(_, value)| value).filter(|value| !value.is_null())
}

/// An option that is text. Empty text counts as absent, as it does in Python; only the default exchange is called so.
pub(super) fn text_option(options: &[(String, Json)], name: &str) -> Option<String> {
    let text = option(options, name).and_then(Json::as_str).filter(|text| !text.is_empty() || name == "exchange");
    text.map(str::to_owned)
}

pub(super) fn set_option(options: &mut Options, name: &str, value: Json) {
    match options.iter_mut().find(|(key, _)| key == name) {
        Some((_, old)) => *old = value,
        None => options.push((name.to_owned(), value)),
    }
}

/// Removes an option and answers its value; `null` counts as absent.
pub(super) fn take_option(options: &mut Options, name: &str) -> Option<Json> {
    let at = options.iter().position(|(key, _)| key == name)?;
    Some(options.remove(at).1).filter(|value| !value.is_null())
}

/// One or many, as a list (`maybe_list`).
pub(super) fn to_list(value: Option<Json>) -> Vec<Json> {
    match value {
        None | Some(Json::Null) => Vec::new(),
        Some(Json::List(list)) => list,
        Some(one) => vec![one],
    }
}

/// Adds to an option that is a list, unless it is there already (`append_to_list_option`).
pub(super) fn append_to_list(options: &mut Options, name: &str, value: Json) {
    let mut list = to_list(take_option(options, name));
    if !list.contains(&value) {
        list.push(value);
    }
    set_option(options, name, Json::List(list));
}

/// `_merge`: options given to a call override those of the signature, but neither its group nor its stamps.
pub(super) fn merge(own: &Options, given: Options) -> Options {
    let stamps = to_list(option(own, "stamped_headers").cloned());
    let fixed = |name: &str| {
        let is_fixed =
            matches!(name, "group_id" | "stamped_headers") || stamps.iter().any(|stamp| stamp.as_str() == Some(name));
        is_fixed && own.iter().any(|(key, _)| key == name)
    };
    let mut merged = own.clone();
    for (name, value) in given {
        if !fixed(&name) {
            set_option(&mut merged, &name, value);
        }
    }
    merged
}
