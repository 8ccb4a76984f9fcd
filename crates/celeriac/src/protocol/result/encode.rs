//! Celery's JSON of a result, keys in Celery's order.

use super::{Extended, ResultMeta, ResultTuple};
use crate::protocol::json::{Object, string};
use crate::protocol::time::format_utc;
use crate::protocol::{Json, RawJson};
use crate::task::Failure;

impl ResultMeta {
    /// The JSON to store and to publish.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut out = Vec::with_capacity(192 + self.result.as_bytes().len());
        let mut object = Object::begin(&mut out);
        object.text("status", self.state.as_str());
        object.raw("result", self.result.as_bytes());
        object.optional("traceback", self.traceback.as_deref());
        match &self.children {
            None => object.raw("children", "null"),
            Some(children) => object.raw("children", tuples(children)),
        }
        object.optional("date_done", self.date_done.map(format_utc).as_deref());
        if let Some(group_id) = &self.group_id {
            object.text("group_id", group_id);
        }
        if let Some(parent_id) = &self.parent_id {
            object.text("parent_id", parent_id);
        }
        if let Some(extended) = &self.extended {
            extended.write(&mut object);
        }
        object.text("task_id", &self.task_id);
        object.end();
        String::from_utf8(out).expect("JSON is written as UTF-8")
    }
}

impl Extended {
    fn write(&self, object: &mut Object<'_>) {
        let raw = |value: &Option<RawJson>| value.clone().unwrap_or(RawJson::NULL);
        object.optional("name", self.name.as_deref());
        object.raw("args", raw(&self.args).as_bytes());
        object.raw("kwargs", raw(&self.kwargs).as_bytes());
        object.optional("worker", self.worker.as_deref());
        object.raw("retries", self.retries.map_or("null".to_owned(), |retries| retries.to_string()));
        object.optional("queue", self.queue.as_deref());
        if let Some(names) = &self.stamped_headers {
            object.raw("stamped_headers", list(names, |name, out| string(name, out)));
        }
        for (name, value) in &self.stamps {
            object.raw(name, value.as_bytes());
        }
    }
}

/// `{"exc_type": …, "exc_message": […], "exc_module": …}`
pub(super) fn exception(failure: &Failure) -> RawJson {
    let mut out = Vec::new();
    let mut object = Object::begin(&mut out);
    object.text("exc_type", &failure.exc_type);
    object.raw("exc_message", list(&failure.exc_message, |argument, out| out.extend(argument.to_string().bytes())));
    object.text("exc_module", &failure.exc_module);
    object.end();
    RawJson::parse(out).unwrap_or(RawJson::NULL)
}

/// `{"pid": …, "hostname": …}`
pub(super) fn started(pid: u32, hostname: &str) -> RawJson {
    let mut out = Vec::new();
    let mut object = Object::begin(&mut out);
    object.raw("pid", pid.to_string());
    object.text("hostname", hostname);
    object.end();
    RawJson::parse(out).unwrap_or(RawJson::NULL)
}

fn tuples(tuples: &[ResultTuple]) -> Vec<u8> {
    list(tuples, ResultTuple::write)
}

impl ResultTuple {
    /// Appends `[[id, parent], children]`.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"[[");
        string(&self.id, out);
        out.push(b',');
        match &self.parent {
            None => out.extend_from_slice(b"null"),
            Some(parent) => parent.write(out),
        }
        out.extend_from_slice(b"],");
        match &self.children {
            None => out.extend_from_slice(b"null"),
            Some(children) => out.extend(tuples(children)),
        }
        out.push(b']');
    }

    pub(crate) fn to_json(&self) -> Json {
        let parent = self.parent.as_ref().map_or(Json::Null, |parent| parent.to_json());
        let children = self.children.as_ref().map(|children| children.iter().map(Self::to_json).collect());
        Json::List(vec![Json::List(vec![Json::Str(self.id.clone()), parent]), children.map_or(Json::Null, Json::List)])
    }
}

fn list<T>(items: &[T], write: impl Fn(&T, &mut Vec<u8>)) -> Vec<u8> {
    let mut out = vec![b'['];
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(item, &mut out);
    }
    out.push(b']');
    out
}
