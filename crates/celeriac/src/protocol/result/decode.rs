//! Reads what Celery 5 of any version has stored.

use chrono::{DateTime, Utc};

use super::{Extended, ResultMeta, ResultTuple, State};
use crate::protocol::RawJson;
use crate::protocol::json::{Json, JsonError, entries};
use crate::protocol::time::parse_time;
use crate::task::Failure;

/// Stored text that is no result of Celery's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResultError {
    /// The text is not JSON.
    #[error("the stored result is {0}")]
    Json(#[from] JsonError),
    /// It lacks what every result has.
    #[error("the stored result has no valid {0:?}")]
    Field(&'static str),
}

impl ResultMeta {
    /// Reads stored metadata. Only `status` is required: a missing `task_id` reads as the empty string.
    ///
    /// # Errors
    /// The text is no JSON object with a `status`.
    pub fn from_json(text: &str) -> Result<Self, ResultError> {
        let json = RawJson::parse(text.to_owned())?;
        let mut state = None;
        let mut meta = Self::new(String::new(), State::Pending, RawJson::NULL);
        meta.children = None;
        let mut extended = Extended::default();
        let mut others = Vec::new();
        let mut is_extended = false;
        for (key, value) in entries(&json).ok_or(ResultError::Field("status"))? {
            match &*key {
                "status" => state = text_of(&value).map(State::from),
                "result" => meta.result = value,
                "traceback" => meta.traceback = text_of(&value),
                "children" => meta.children = children(&value.to_tree()),
                "date_done" => meta.date_done = text_of(&value).and_then(|text| utc(&text)),
                "group_id" => meta.group_id = text_of(&value),
                "parent_id" => meta.parent_id = text_of(&value),
                "task_id" => meta.task_id = text_of(&value).unwrap_or_default(),
                _ => {
                    is_extended = true;
                    extended.read(&key, value, &mut others);
                }
            }
        }
        meta.state = state.ok_or(ResultError::Field("status"))?;
        if is_extended {
            let stamps = extended.stamped_headers.iter().flatten();
            extended.stamps =
                stamps.filter_map(|stamp| others.iter().find(|(name, _)| name == stamp).cloned()).collect();
            meta.extended = Some(Box::new(extended));
        }
        Ok(meta)
    }
}

impl Extended {
    fn read(&mut self, key: &str, value: RawJson, others: &mut Vec<(String, RawJson)>) {
        match key {
            "name" => self.name = text_of(&value),
            "args" => self.args = (!value.is_null()).then_some(value),
            "kwargs" => self.kwargs = (!value.is_null()).then_some(value),
            "worker" => self.worker = text_of(&value),
            "retries" => self.retries = value.read().ok(),
            "queue" => self.queue = text_of(&value),
            "stamped_headers" => self.stamped_headers = value.read().ok(),
            _ => others.push((key.to_owned(), value)),
        }
    }
}

fn text_of(value: &RawJson) -> Option<String> {
    value.read().ok()
}

/// Celery 5.3 stored times without an offset; they are UTC.
fn utc(text: &str) -> Option<DateTime<Utc>> {
    parse_time(text).map(|time| time.to_utc())
}

fn children(json: &Json) -> Option<Vec<ResultTuple>> {
    match json {
        Json::List(tuples) => Some(tuples.iter().filter_map(ResultTuple::from_json).collect()),
        _ => None,
    }
}

impl ResultTuple {
    /// Reads `[[id, parent], children]`; `None` if it is something else (`celery.result.result_from_tuple`).
    #[must_use]
    pub fn from_json(json: &Json) -> Option<Self> {
        let Json::List(pair) = json else { return None };
        let [head, nested] = pair.as_slice() else { return None };
        let (id, parent) = match head {
            Json::Str(id) => (id, None),
            Json::List(head) => match head.as_slice() {
                [Json::Str(id), parent] => (id, Self::from_json(parent).map(Box::new)),
                _ => return None,
            },
            _ => return None,
        };
        Some(Self { id: id.clone(), parent, children: children(nested) })
    }
}

/// An exception as it is stored; whatever else is there is shown as a message.
pub(super) fn failure(result: &RawJson, traceback: Option<String>) -> Failure {
    let tree = result.to_tree();
    let text = |key| tree.get(key).and_then(Json::as_str).map(str::to_owned);
    let message = match entries(result).and_then(|entries| entries.into_iter().find(|(key, _)| key == "exc_message")) {
        None if tree.get("exc_type").is_none() => vec![result.read().unwrap_or_default()],
        None => Vec::new(),
        Some((_, message)) => match message.read() {
            Ok(serde_json::Value::Array(arguments)) => arguments,
            Ok(single) => vec![single],
            Err(_) => Vec::new(),
        },
    };
    Failure {
        exc_type: text("exc_type").unwrap_or_else(|| "Exception".to_owned()),
        exc_message: message,
        exc_module: text("exc_module").unwrap_or_default(),
        traceback,
    }
}
