//! The same task once more, from arguments that are known exactly. What events tell of arguments is cut, and printed: it is
//! shown, and never read.

use celeriac::SendOptions;
use celeriac::protocol::RawJson;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::hiding::{HIDDEN, Hiding};
use crate::memory::{Kept, Text};
use crate::{Core, find};

/// Exactly what a task was called with, and where it went.
pub(crate) struct Call {
    pub(crate) name: String,
    pub(crate) args: Box<RawValue>,
    pub(crate) kwargs: Box<RawValue>,
    pub(crate) queue: Option<String>,
}

impl Call {
    /// In words, for the preview.
    pub(crate) fn says(&self, hiding: &Hiding) -> Vec<String> {
        let shown =
            |json: &RawValue| if hiding.hides(Some(&self.name)) { HIDDEN.to_owned() } else { json.get().to_owned() };
        let queue = self
            .queue
            .as_ref()
            .map_or_else(|| "where the application sends it".to_owned(), |queue| format!("to {queue}"));
        vec![
            format!("{} is sent {queue}, with a new id.", self.name),
            format!("Positional arguments: {}", shown(&self.args)),
            format!("Keyword arguments: {}", shown(&self.kwargs)),
        ]
    }
}

/// What a task was called with. `Err`: it is not known exactly, and why.
pub(crate) async fn call(core: &Core, id: &str) -> Result<Call, String> {
    let kept = find::task(core, id).await;
    let queue = kept.as_ref().and_then(queue);
    if let Some(call) = of_application(core, kept.as_ref(), queue.clone()) {
        return Ok(call);
    }
    let meta = core.app.result::<()>(id).meta().await;
    let meta =
        meta.map_err(|error| format!("The result backend, which may know its arguments, does not answer: {error}"))?;
    let unknown = "Its arguments are not known exactly: events tell them only as they are printed, and cut. The result backend \
                   keeps them for workers with result_extended.";
    let extended = meta.and_then(|meta| meta.extended).ok_or(unknown)?;
    let text = |json: Option<&RawJson>, first: char| {
        let text = json?.as_str().trim().to_owned();
        RawValue::from_string(text).ok().filter(|json| json.get().starts_with(first))
    };
    let name = extended.name.clone().or_else(|| kept?.task.name).ok_or("Its name is not known.")?;
    let args = text(extended.args.as_ref(), '[').ok_or(unknown)?;
    let kwargs = text(extended.kwargs.as_ref(), '{').ok_or(unknown)?;
    Ok(Call { name, args, kwargs, queue: queue.or(extended.queue) })
}

/// Sends it; returns its new id.
pub(crate) async fn send(core: &Core, call: &Call) -> Result<String, String> {
    let id = Uuid::new_v4().to_string();
    let options = SendOptions::new().task_id(&id);
    let options = call.queue.iter().fold(options, SendOptions::queue);
    let sent = core.app.send_named(&call.name, &call.args, &call.kwargs, options).await;
    sent.map(|_| id).map_err(|error| error.to_string())
}

fn queue(kept: &Kept) -> Option<String> {
    let task = &kept.task;
    let direct = task.routing_key.clone().filter(|_| task.exchange.as_deref().is_none_or(str::is_empty));
    task.queue.clone().or(direct).filter(|queue| !queue.is_empty())
}

/// The application may know its own tasks by what is printed of them.
fn of_application(core: &Core, kept: Option<&Kept>, queue: Option<String>) -> Option<Call> {
    let kept = kept?;
    let name = kept.task.name.clone()?;
    if kept.cuts.iter().any(|(text, _)| matches!(text, Text::Args | Text::Kwargs)) {
        return None;
    }
    let kwargs = core.rerunner.as_ref()?(&name, kept.task.kwargs.as_deref()?)?;
    let kwargs = RawValue::from_string(kwargs.to_string()).ok()?;
    Some(Call { name, args: RawValue::from_string("[]".to_owned()).ok()?, kwargs, queue })
}
