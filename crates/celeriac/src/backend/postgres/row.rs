//! One result as a row of `celery_taskmeta` (`celery/backends/database/models.py`, `TaskExtended`).

use chrono::{DateTime, Utc};

use super::pickle;
use crate::backend::StoredResult;
use crate::protocol::json::entries;
use crate::protocol::{Extended, Json, RawJson, ResultMeta, ResultTuple, State};

/// `String(155)` of the models, in characters.
pub(super) const MAX_NAME: usize = 155;
/// `String(50)`.
const MAX_STATUS: usize = 50;

/// The columns of one row but its number.
///
/// The table has no columns for `group_id` and `parent_id`: neither Celery nor we keep them here.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) task_id: String,
    pub(super) status: String,
    /// JSON; what Celery before 5.7 wrote is a pickle.
    pub(super) result: Option<Vec<u8>>,
    pub(super) date_done: Option<DateTime<Utc>>,
    pub(super) traceback: Option<String>,
    /// JSON, as the columns of bytes below.
    pub(super) children: Option<Vec<u8>>,
    pub(super) name: Option<String>,
    pub(super) args: Option<Vec<u8>>,
    pub(super) kwargs: Option<Vec<u8>>,
    pub(super) worker: Option<String>,
    pub(super) retries: Option<i32>,
    pub(super) queue: Option<String>,
    pub(super) stamps: Option<Vec<u8>>,
}

impl Row {
    /// The row of a result that is stored now. A final state without a time has ended now, as in Celery's models.
    ///
    /// # Errors
    /// Why no row can hold it.
    pub(super) fn of(stored: &StoredResult, now: DateTime<Utc>) -> Result<Self, String> {
        let meta = ResultMeta::from_json(&stored.meta).map_err(|error| error.to_string())?;
        let extended = meta.extended.map(|extended| *extended).unwrap_or_default();
        Ok(Self {
            task_id: exactly(&stored.task_id, MAX_NAME, "task id")?,
            status: exactly(meta.state.as_str(), MAX_STATUS, "state")?,
            result: Some(meta.result.as_bytes().to_vec()),
            date_done: meta.date_done.or_else(|| meta.state.is_ready().then_some(now)),
            traceback: meta.traceback.map(|text| without_nul(&text)),
            children: meta.children.as_deref().map(children_to_json),
            stamps: stamps_to_json(&extended),
            name: extended.name.map(|text| shortened(&text)),
            args: extended.args.map(|json| json.as_bytes().to_vec()),
            kwargs: extended.kwargs.map(|json| json.as_bytes().to_vec()),
            worker: extended.worker.map(|text| shortened(&text)),
            retries: extended.retries.map(|retries| i32::try_from(retries).unwrap_or(i32::MAX)),
            queue: extended.queue.map(|text| shortened(&text)),
        })
    }

    /// The metadata of a row, whoever wrote it.
    ///
    /// # Errors
    /// Why the result cannot be read: it is neither JSON nor a pickle of what JSON can say.
    pub(super) fn into_meta(self) -> Result<ResultMeta, String> {
        let result = match self.result {
            None => RawJson::NULL,
            Some(bytes) => result_of(bytes)?,
        };
        let (stamped_headers, stamps) = self.stamps.and_then(stamps_of).unzip();
        let extended = Extended {
            name: self.name,
            args: self.args.and_then(json_unless_null),
            kwargs: self.kwargs.and_then(json_unless_null),
            worker: self.worker,
            retries: self.retries.and_then(|retries| u32::try_from(retries).ok()),
            queue: self.queue,
            stamped_headers,
            stamps: stamps.unwrap_or_default(),
        };
        Ok(ResultMeta {
            traceback: self.traceback,
            children: self.children.and_then(children_of),
            date_done: self.date_done,
            extended: (extended != Extended::default()).then(|| Box::new(extended)),
            ..ResultMeta::new(self.task_id, State::from(self.status), result)
        })
    }
}

/// A text that means something else when it is cut.
pub(super) fn exactly(text: &str, max: usize, what: &str) -> Result<String, String> {
    if text.contains('\0') {
        return Err(format!("the {what} has a NUL in it, which PostgreSQL does not store"));
    }
    if text.chars().nth(max).is_some() {
        return Err(format!("the {what} is longer than the {max} characters of its column"));
    }
    Ok(text.to_owned())
}

/// A text that is for people: better cut than a reason to lose the result.
fn shortened(text: &str) -> String {
    without_nul(text).chars().take(MAX_NAME).collect()
}

/// PostgreSQL has no NUL in texts.
fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

fn result_of(bytes: Vec<u8>) -> Result<RawJson, String> {
    if pickle::is_pickle(&bytes) {
        let value = pickle::read(&bytes).map_err(|error| error.to_string())?;
        let mut json = Vec::new();
        value.write(&mut json);
        return RawJson::parse(json).map_err(|error| error.to_string());
    }
    RawJson::parse(bytes).map_err(|error| format!("{error}; only results written with result_serializer=json are read"))
}

fn json_unless_null(bytes: Vec<u8>) -> Option<RawJson> {
    RawJson::parse(bytes).ok().filter(|json| !json.is_null())
}

fn children_to_json(children: &[ResultTuple]) -> Vec<u8> {
    let mut out = vec![b'['];
    for (index, child) in children.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        child.write(&mut out);
    }
    out.push(b']');
    out
}

fn children_of(bytes: Vec<u8>) -> Option<Vec<ResultTuple>> {
    match RawJson::parse(bytes).ok()?.to_tree() {
        Json::List(children) => Some(children.iter().filter_map(ResultTuple::from_json).collect()),
        _ => None,
    }
}

type Stamps = Vec<(String, RawJson)>;

/// `{"stamped_headers": […], "stamps": {…}}`
fn stamps_to_json(extended: &Extended) -> Option<Vec<u8>> {
    let names = extended.stamped_headers.as_ref()?;
    let tree = |(name, value): &(String, RawJson)| (name.clone(), value.to_tree());
    let json = Json::Object(vec![
        ("stamped_headers".to_owned(), Json::List(names.iter().cloned().map(Json::Str).collect())),
        ("stamps".to_owned(), Json::Object(extended.stamps.iter().map(tree).collect())),
    ]);
    let mut out = Vec::new();
    json.write(&mut out);
    Some(out)
}

fn stamps_of(bytes: Vec<u8>) -> Option<(Vec<String>, Stamps)> {
    let tree = RawJson::parse(bytes).ok()?.to_tree();
    let Some(Json::List(names)) = tree.get("stamped_headers") else { return None };
    let names = names.iter().filter_map(Json::as_str).map(str::to_owned).collect();
    let raw = |value: &Json| {
        let mut out = Vec::new();
        value.write(&mut out);
        RawJson::parse(out).unwrap_or(RawJson::NULL)
    };
    let stamps = match tree.get("stamps") {
        Some(Json::Object(stamps)) => stamps.iter().map(|(name, value)| (name.clone(), raw(value))).collect(),
        _ => Stamps::new(),
    };
    Some((names, stamps))
}

/// What `celery_tasksetmeta` has of a group: its tuple, without the `{"result": …}` around it that Redis has.
pub(super) fn group_to_column(group: &str) -> Option<Vec<u8>> {
    let json = RawJson::parse(group.to_owned()).ok()?;
    let (_, tuple) = entries(&json)?.into_iter().find(|(key, _)| key == "result")?;
    Some(tuple.as_bytes().to_vec())
}

/// # Errors
/// It is a pickle of Python's objects, as Celery before 5.7 stored groups.
pub(super) fn group_of_column(bytes: Vec<u8>) -> Result<String, String> {
    Ok(format!(r#"{{"result": {}}}"#, result_of(bytes)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(task_id: &str, meta: &str) -> StoredResult {
        StoredResult { task_id: task_id.to_owned(), meta: meta.to_owned(), is_final: true }
    }

    fn row_of(task_id: &str, meta: &str) -> Result<Row, String> {
        Row::of(&stored(task_id, meta), DateTime::UNIX_EPOCH)
    }

    #[test]
    fn everything_but_group_and_parent_comes_back() {
        let text = r#"{"status":"FAILURE","result":{"exc_type":"E","exc_message":[1.50,"\u00fc"],"exc_module":"m"},"traceback":"tb","children":[[["c",null],null]],"date_done":"2031-05-06T07:08:09.123456+00:00","group_id":"g","parent_id":"p","name":"n","args":[1],"kwargs":{"k":{"__type__":"decimal","__value__":"1.0"}},"worker":"w","retries":2,"queue":"q","stamped_headers":["s"],"s":["x"],"task_id":"t"}"#;
        let meta = row_of("t", text).unwrap().into_meta().unwrap();
        let expected = text.replace(r#""group_id":"g","parent_id":"p","#, "");
        assert_eq!(meta.to_json(), expected);
    }

    #[test]
    fn a_bare_result_has_null_in_all_other_columns_and_comes_back_bare() {
        for (text, children) in [
            (
                r#"{"status":"STARTED","result":null,"traceback":null,"children":[],"date_done":null,"task_id":"t"}"#,
                true,
            ),
            (
                r#"{"status":"STARTED","result":null,"traceback":null,"children":null,"date_done":null,"task_id":"t"}"#,
                false,
            ),
        ] {
            let row = row_of("t", text).unwrap();
            assert_eq!((row.children.is_some(), &row.name, &row.args, &row.stamps), (children, &None, &None, &None));
            assert_eq!(row.into_meta().unwrap().to_json(), text);
        }
    }

    #[test]
    fn what_no_row_can_hold_is_an_error_and_texts_for_people_are_cut() {
        let meta = r#"{"status":"SUCCESS","result":1}"#;
        assert!(row_of(&"ü".repeat(155), meta).is_ok());
        assert!(row_of(&"ü".repeat(156), meta).unwrap_err().contains("longer than the 155"));
        assert!(row_of("a\0b", meta).unwrap_err().contains("NUL"));
        let state = format!(r#"{{"status":"{}","result":1}}"#, "S".repeat(51));
        assert!(row_of("t", &state).unwrap_err().contains("longer than the 50"));
        assert!(row_of("t", "{}").is_err());

        let long =
            format!(r#"{{"status":"SUCCESS","result":"a\u0000","traceback":"a\u0000","name":"{}"}}"#, "ü".repeat(200));
        let row = row_of("t", &long).unwrap();
        assert_eq!(row.name.as_ref().map(|name| name.chars().count()), Some(155));
        assert_eq!(row.traceback.as_deref(), Some("a\u{fffd}"));
        // In JSON it is an escape, and stays.
        assert_eq!(row.result.as_deref(), Some(&br#""a\u0000""#[..]));
    }

    #[test]
    fn a_row_of_an_older_celery_is_a_pickle_and_what_is_neither_is_refused() {
        let row = |result: Option<&[u8]>| Row {
            result: result.map(<[u8]>::to_vec),
            ..row_of("t", r#"{"status":"SUCCESS"}"#).unwrap()
        };
        let read = |result| row(result).into_meta().map(|meta| meta.result.as_str().to_owned());
        assert_eq!(read(Some(b"\x80\x05K\x07.")).as_deref(), Ok("7"));
        assert_eq!(read(Some(b"[1, NaN]")).as_deref(), Ok("[1, NaN]"));
        assert_eq!(read(None).as_deref(), Ok("null"));
        assert!(read(Some(b"\x80\x05cos\nsystem\n.")).unwrap_err().contains("only Python"));
        assert!(read(Some(b"- yaml")).unwrap_err().contains("result_serializer=json"));
    }
}
