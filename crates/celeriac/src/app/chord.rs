//! What a chord begins with, by what the result backend can (`celery/backends/base.py`, `apply_chord`).

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::{App, Destination, Route, SendError};
use crate::broker::{ExchangeKind, Publication};
use crate::canvas::{ApplyChord, Publish, Route as SaidRoute};
use crate::protocol::{Headers, Json, JsonError, RawJson, ResultTuple, Signature, TaskMessage, Value};
use crate::result::write_group;

/// The task that looks for the parts of a chord where nobody counts them.
pub(crate) const UNLOCK: &str = "celery.chord_unlock";

/// When it looks first.
const COUNTDOWN: TimeDelta = TimeDelta::seconds(1);

pub(super) enum Opening {
    Nothing,
    /// There are groups in the header: what its results are to look like.
    Group {
        id: String,
        group: String,
    },
    /// Somebody has to look for its parts.
    Unlock(Box<Publication>),
}

impl App {
    pub(super) async fn open_chord(&self, chord: &ApplyChord) -> Result<Opening, SendError> {
        let header = &chord.header;
        if !self.backend().counts_chords() {
            return Ok(Opening::Unlock(Box::new(self.unlock(chord).await?)));
        }
        let is_nested = header.children.iter().flatten().any(|child| child.children.is_some());
        let group = || Opening::Group { id: header.id.clone(), group: write_group(header) };
        Ok(if is_nested { group() } else { Opening::Nothing })
    }

    /// Sent to where the body goes (`fallback_chord_unlock`).
    async fn unlock(&self, chord: &ApplyChord) -> Result<Publication, SendError> {
        let SaidRoute { queue, exchange, routing_key } = chord.route.clone();
        let said = Route { queue, exchange, routing_key };
        let Signature { task, args, kwargs, .. } = &chord.body;
        let encode = |reason| SendError::Encode { task: task.clone(), reason };
        let args = text(&Json::List(args.clone())).map_err(encode)?;
        let body = TaskMessage::new(task, "", args, text(&Json::Object(kwargs.clone())).map_err(encode)?);
        let Destination { exchange, routing_key, queue, .. } = self.destination(&body, &said, None);
        let (kind, route) = match queue {
            Some(queue) => {
                let kind = self.queue(&queue).kind();
                let routing_key = chord.route.routing_key.clone();
                (Some(kind), SaidRoute { queue: Some(queue.into_owned()), exchange: None, routing_key })
            }
            None => {
                let (exchange, routing_key) = (Some(exchange), Some(routing_key));
                (None, SaidRoute { exchange, routing_key, queue: None })
            }
        };
        let message = self.unlock_message(chord, kind, crate::clock::now());
        let message = message.map_err(|reason| SendError::Encode { task: UNLOCK.to_owned(), reason })?;
        self.publication(Publish { message, route }).await
    }

    fn unlock_message(
        &self,
        chord: &ApplyChord,
        kind: Option<ExchangeKind>,
        now: DateTime<Utc>,
    ) -> Result<TaskMessage, JsonError> {
        let ApplyChord { header, body, parent, .. } = chord;
        let mut kwargs = vec![
            ("interval".to_owned(), Json::Null),
            ("max_retries".to_owned(), Json::Null),
            ("result".to_owned(), Json::List(header.children.iter().flatten().map(ResultTuple::to_json).collect())),
        ];
        if let Some(kind) = kind {
            // A Python worker needs it to send the message again.
            kwargs.push(("_chord_unlock_exchange_type".to_owned(), Json::Str(kind.name().to_owned())));
        }
        let args = Json::List(vec![Json::Str(header.id.clone()), body.to_json()]);
        // Sent twice, it is the same task.
        let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{}:unlock", header.id).as_bytes()).to_string();
        let mut message = TaskMessage::new(UNLOCK, id.clone(), text(&args)?, text(&Json::Object(kwargs))?);
        message.root_id = Some(parent.as_ref().map_or(id, |parent| parent.root_id.clone()));
        message.parent_id = parent.as_ref().map(|parent| parent.id.clone());
        message.ignore_result = Some(true);
        message.eta = now.checked_add_signed(COUNTDOWN).map(|eta| eta.fixed_offset());
        message.countdown = COUNTDOWN.to_std().ok();
        message.properties.reply_to = Some(self.inner.reply_to.clone());
        if let Some(Json::Int(priority)) = body.option("priority") {
            message.properties.priority = u8::try_from(*priority).ok();
        }
        if let Some(Json::Object(headers)) = body.option("headers") {
            message.headers =
                headers.iter().map(|(name, value)| (name.clone(), Value::from_json(value))).collect::<Headers>();
        }
        Ok(message)
    }
}

fn text(json: &Json) -> Result<RawJson, JsonError> {
    let mut text = Vec::new();
    json.write(&mut text);
    RawJson::parse(text)
}
