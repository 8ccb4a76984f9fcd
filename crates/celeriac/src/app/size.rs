//! No message is larger than the broker and the workers take, and no result than is to be stored.

use super::{App, SendError};
use crate::backend::{BackendError, StoredResult};
use crate::protocol::{Headers, MAX_BODY, Message, TaskMessage, Value};

/// As `RabbitMQ` 4 has it (`max_message_size`).
pub(super) const MAX_MESSAGE_SIZE: usize = 16 * 1024 * 1024;

impl App {
    /// The message of a task that is to be sent.
    ///
    /// # Errors
    /// [`SendError::TooLarge`]
    pub(super) fn message(&self, task: TaskMessage) -> Result<Message, SendError> {
        let limit = self.max_body();
        let size = task.args.as_bytes().len().saturating_add(task.kwargs.as_bytes().len());
        if task.compression.is_some() && size > limit {
            return Err(SendError::TooLarge { task: task.task, size, limit });
        }
        let message = task.into_message();
        self.check_size(&message)?;
        Ok(message)
    }

    /// # Errors
    /// [`SendError::TooLarge`]
    pub(crate) fn check_size(&self, message: &Message) -> Result<(), SendError> {
        let (size, limit) = (message.body.len(), self.inner.config.max_message_size);
        if size <= limit {
            return Ok(());
        }
        Err(SendError::TooLarge { task: name(&message.headers), size, limit })
    }

    /// Whether a result, or a state on the way, may be stored.
    ///
    /// # Errors
    /// [`BackendError::Refused`], which names the setting.
    pub(crate) fn check_result(&self, result: &StoredResult) -> Result<(), BackendError> {
        self.check_result_size(result.meta.len())
    }

    /// # Errors
    /// [`BackendError::Refused`], which names the setting.
    pub(crate) fn check_result_size(&self, size: usize) -> Result<(), BackendError> {
        let limit = self.inner.config.max_result_size;
        if size <= limit {
            return Ok(());
        }
        let address = self.backend().address().to_owned();
        Err(BackendError::Refused {
            address,
            reason: format!("the result has {size} bytes, max_result_size is {limit}"),
        })
    }

    /// The largest body that is read, in bytes, when it is unpacked.
    pub(crate) fn max_body(&self) -> usize {
        self.inner.config.max_message_size.max(MAX_BODY)
    }
}

fn name(headers: &Headers) -> String {
    headers.get("task").and_then(Value::as_str).unwrap_or_default().to_owned()
}
