//! The settings of an application under Celery's names (`celery/app/defaults.py`), each with Celery's default.

use serde_json::{Value, json};

use super::App;
use super::queue::QueueType;
use crate::task::TaskOptions;

/// Name, value, default.
pub(crate) type Setting = (&'static str, Value, Value);

impl App {
    pub(crate) fn settings(&self) -> Vec<Setting> {
        let config = &self.inner.config;
        let results = &config.results;
        let seconds = |time: Option<std::time::Duration>| time.map_or(Value::Null, |time| json!(time.as_secs_f64()));
        let kind = |queue_type: QueueType| if queue_type == QueueType::Quorum { "quorum" } else { "classic" };
        let compression = results.compression.map_or(Value::Null, |_| "zlib".into());
        let mut transport = serde_json::Map::new();
        if !results.key_prefix.is_empty() {
            transport.insert("global_keyprefix".to_owned(), results.key_prefix.as_str().into());
        }
        if !results.chord_ordered {
            transport.insert("result_chord_ordered".to_owned(), false.into());
        }
        vec![
            ("task_default_queue", json!(config.default_queue), json!("celery")),
            ("task_default_queue_type", json!(kind(config.queue_type)), json!("classic")),
            ("task_create_missing_queue_type", json!(kind(config.queue_type)), json!("classic")),
            ("task_queue_max_priority", json!(config.max_priority), Value::Null),
            ("task_send_sent_event", json!(config.sent_events), json!(false)),
            ("broker_native_delayed_delivery_queue_type", json!(kind(config.delay_queue_type)), json!("quorum")),
            ("result_expires", seconds(results.expires), json!(86_400.0)),
            ("result_failure_expires", seconds(results.failure_expires), Value::Null),
            ("result_chord_expires", seconds(results.chord_expires), Value::Null),
            ("result_compression", compression, Value::Null),
            ("result_backend_transport_options", transport.into(), json!({})),
        ]
    }

    /// Where tasks of a name go whose senders say nothing else: the queue, or else the exchange.
    pub(crate) fn usual_destination(&self, task: &str, options: &TaskOptions) -> Result<String, String> {
        use crate::protocol::{RawJson, TaskMessage};
        let message = TaskMessage::new(task, "", RawJson::EMPTY_LIST, RawJson::EMPTY_OBJECT);
        let nothing = super::SendOptions::new();
        let destination = self.destination(&message, nothing.route(), options.queue);
        match destination.queue {
            Some(queue) => Ok(queue.into_owned()),
            None => Err(destination.exchange),
        }
    }
}
