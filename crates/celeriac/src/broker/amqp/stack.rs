//! The consumers that stand for one subscription on its channel ([`prefetch`](super::prefetch) says why several).

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::task::{Context, Poll};

use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Consumer};

use super::error::reason;
use super::prefetch::{Change, change};
use super::wire::short;
use crate::broker::ConsumeOptions;

/// Room for the number that makes the tags of a stack unique.
const LONGEST_TAG: usize = 245;

/// How the consumers of a stack are called and what they ask for.
pub(super) struct Names {
    queue: ShortString,
    /// Empty: the broker chooses.
    tag: String,
    no_ack: bool,
    exclusive: bool,
}

impl Names {
    /// # Errors
    /// What cannot be put on the wire, in words.
    pub(super) fn new(options: &ConsumeOptions) -> Result<Self, String> {
        let tag = &options.consumer_tag;
        if tag.len() > LONGEST_TAG {
            return Err(format!("the consumer tag has {} bytes, {LONGEST_TAG} are allowed", tag.len()));
        }
        let queue = short("the name of a queue", &options.queue)?;
        Ok(Self { queue, tag: tag.clone(), no_ack: options.no_ack, exclusive: options.exclusive })
    }
}

#[derive(Default)]
pub(super) struct Stack {
    counts: Vec<u16>,
    tags: Vec<ShortString>,
    /// Of all consumers, also cancelled ones that have deliveries left.
    consumers: Vec<Consumer>,
    started: u32,
    cancelled: bool,
    delivered: u64,
    /// Deliveries that overtook an older one of another consumer.
    early: BTreeMap<u64, Delivery>,
}

impl Stack {
    /// Starts and cancels consumers until their counts add up to `wanted`.
    pub(super) async fn set(&mut self, channel: &Channel, names: &Names, wanted: u16) -> Result<(), lapin::Error> {
        let mut plan = change(&self.counts, wanted);
        if self.started == 0 {
            plan = Change { cancel: 0, start: Some(wanted) };
        } else if names.no_ack {
            return Ok(());
        } else if names.exclusive && plan.start.is_some() {
            // It tolerates no second one.
            plan = Change { cancel: self.counts.len(), start: Some(wanted) };
        }
        for _ in 0..plan.cancel {
            self.cancel_top(channel).await?;
        }
        match plan.start {
            Some(count) => self.start(channel, names, count).await,
            None => Ok(()),
        }
    }

    async fn start(&mut self, channel: &Channel, names: &Names, count: u16) -> Result<(), lapin::Error> {
        channel.basic_qos(count, BasicQosOptions { global: false }).await?;
        let tag = match (names.tag.as_str(), self.started) {
            ("", _) => ShortString::default(),
            (tag, 0) => tag.into(),
            (tag, number) => format!("{tag}.{number}").as_str().into(),
        };
        let options =
            BasicConsumeOptions { no_ack: names.no_ack, exclusive: names.exclusive, ..BasicConsumeOptions::default() };
        let consumer = channel.basic_consume(names.queue.clone(), tag, options, FieldTable::default()).await?;
        self.counts.push(count);
        self.tags.push(consumer.tag());
        self.consumers.push(consumer);
        self.started += 1;
        Ok(())
    }

    /// Stops all deliveries. What is on its way still comes out of [`next`](Self::next), and then its end.
    pub(super) async fn cancel(&mut self, channel: &Channel) -> Result<(), lapin::Error> {
        self.cancelled = true;
        while !self.tags.is_empty() {
            self.cancel_top(channel).await?;
        }
        Ok(())
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled
    }

    async fn cancel_top(&mut self, channel: &Channel) -> Result<(), lapin::Error> {
        self.counts.pop();
        match self.tags.pop() {
            Some(tag) => channel.basic_cancel(tag, BasicCancelOptions::default()).await,
            None => Ok(()),
        }
    }

    /// The next delivery of the channel, in the order of the tags: to acknowledge all up to one must never mean one
    /// that was not handed out. The error says why there are no more.
    pub(super) async fn next(&mut self) -> Result<Delivery, String> {
        poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Delivery, String>> {
        let mut index = 0;
        loop {
            if let Some(entry) = self.early.first_entry()
                && *entry.key() == self.delivered + 1
            {
                self.delivered += 1;
                return Poll::Ready(Ok(entry.remove()));
            }
            let Some(consumer) = self.consumers.get_mut(index) else { break };
            match consumer.poll_next_unpin(context) {
                Poll::Ready(Some(Ok(delivery))) if delivery.delivery_tag == self.delivered + 1 => {
                    self.delivered += 1;
                    return Poll::Ready(Ok(delivery));
                }
                Poll::Ready(Some(Ok(delivery))) => drop(self.early.insert(delivery.delivery_tag, delivery)),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(reason(&error))),
                Poll::Ready(None) => drop(self.consumers.remove(index)),
                Poll::Pending => index += 1,
            }
        }
        if self.consumers.is_empty() {
            return Poll::Ready(Err("the broker cancelled the consumer: was its queue deleted?".to_owned()));
        }
        Poll::Pending
    }
}
