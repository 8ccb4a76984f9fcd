//! What the owner of a subscription holds, and how it talks to the task that has the channel.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use futures_util::FutureExt;
use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicRejectOptions};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use crate::broker::{BrokerError, ConsumerControl, DeliveryTag};

/// What the task is to do; it says when it is done.
pub(super) enum Command {
    SetPrefetch(u16, oneshot::Sender<()>),
    Cancel(oneshot::Sender<()>),
    Close(oneshot::Sender<()>),
}

/// What a consumer is at this moment.
#[derive(Default)]
pub(super) struct Current {
    /// The channel whose deliveries can be settled.
    pub(super) channel: Mutex<Option<(u64, Channel)>>,
    /// The broker delivers on it.
    pub(super) is_active: AtomicBool,
}

pub(super) struct Control {
    pub(super) no_ack: bool,
    pub(super) current: Arc<Current>,
    pub(super) commands: mpsc::Sender<Command>,
}

impl Control {
    /// The channel of a generation, if that is not dead and has anything to settle.
    fn channel(&self, generation: u64) -> Option<Channel> {
        let current = self.current.channel.lock();
        let alive = current.as_ref().filter(|(alive, _)| *alive == generation && !self.no_ack);
        alive.map(|(_, channel)| channel.clone())
    }

    /// No answer means that the consumer has ended.
    async fn tell(&self, command: impl FnOnce(oneshot::Sender<()>) -> Command) {
        let (done, answer) = oneshot::channel();
        if self.commands.send(command(done)).await.is_ok() {
            let _ = answer.await;
        }
    }
}

#[async_trait]
impl ConsumerControl for Control {
    async fn ack(&self, tag: DeliveryTag, multiple: bool) -> Result<(), BrokerError> {
        if let Some(channel) = self.channel(tag.generation) {
            // Polled once, it is in line for the socket, before everything that is sent later. Waiting until it is
            // written would tell no more: an error means that the channel is gone and the broker delivers again.
            let _ = channel.basic_ack(tag.tag, BasicAckOptions { multiple }).now_or_never();
        }
        Ok(())
    }

    async fn reject(&self, tag: DeliveryTag, requeue: bool) -> Result<(), BrokerError> {
        if let Some(channel) = self.channel(tag.generation) {
            let _ = channel.basic_reject(tag.tag, BasicRejectOptions { requeue }).now_or_never();
        }
        Ok(())
    }

    async fn set_prefetch(&self, prefetch: u16) -> Result<(), BrokerError> {
        self.tell(|done| Command::SetPrefetch(prefetch, done)).await;
        Ok(())
    }

    fn is_current(&self, generation: u64) -> bool {
        self.channel(generation).is_some_and(|channel| channel.status().connected())
    }

    fn is_active(&self) -> bool {
        self.current.is_active.load(Ordering::Relaxed)
    }

    async fn cancel(&self) -> Result<(), BrokerError> {
        self.tell(Command::Cancel).await;
        Ok(())
    }

    async fn close(&self) {
        self.tell(Command::Close).await;
    }
}
