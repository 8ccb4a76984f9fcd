//! The messages that are on their way on one channel.

use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use lapin::message::BasicReturnMessage;
use lapin::options::BasicPublishOptions;
use lapin::{Channel, Confirmation};

use super::lane::Job;
use super::wire::{encode_properties, short};
use crate::broker::Publication;

/// What the broker did with a message.
#[derive(Clone, Copy)]
pub(super) enum Fate {
    Confirmed,
    /// No queue takes it.
    Returned,
    /// The broker could not take responsibility for it, now.
    Rejected,
}

/// Jobs whose fate is known, and the error if the channel is broken.
pub(super) struct Landed {
    pub(super) jobs: Vec<(Job, Fate)>,
    pub(super) error: Option<lapin::Error>,
}

type Confirm = Pin<Box<dyn Future<Output = (u64, Result<Confirmation, lapin::Error>)> + Send>>;

pub(super) struct Flight {
    channel: Channel,
    frame_max: usize,
    launched: u64,
    jobs: BTreeMap<u64, Job>,
    confirms: FuturesUnordered<Confirm>,
    /// Confirmed or rejected, but perhaps returned: not decided before [`decide`](Self::decide).
    undecided: Vec<(u64, Fate)>,
    returned: Vec<BasicReturnMessage>,
    /// Jobs still in flight whose message came back already.
    came_back: BTreeSet<u64>,
    error: Option<lapin::Error>,
}

impl Flight {
    pub(super) fn new(channel: Channel, frame_max: usize) -> Self {
        Self {
            channel,
            frame_max,
            launched: 0,
            jobs: BTreeMap::new(),
            confirms: FuturesUnordered::new(),
            undecided: Vec::new(),
            returned: Vec::new(),
            came_back: BTreeSet::new(),
            error: None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Puts a message on its way: the next poll of [`landed`](Self::landed) hands it to lapin. A message that cannot be
    /// put on the wire comes back with the reason.
    pub(super) fn launch(&mut self, job: Job) -> Option<(Job, String)> {
        match self.confirm(&job.publication) {
            Ok(confirm) => {
                self.confirms.push(confirm);
                self.jobs.insert(self.launched, job);
                self.launched += 1;
                None
            }
            Err(reason) => Some((job, reason)),
        }
    }

    fn confirm(&self, publication: &Publication) -> Result<Confirm, String> {
        let exchange = short("the name of an exchange", &publication.exchange)?;
        let routing_key = short("a routing key", &publication.routing_key)?;
        let properties = encode_properties(&publication.message, self.frame_max)?;
        let options = BasicPublishOptions { mandatory: publication.mandatory, ..BasicPublishOptions::default() };
        let body = publication.message.body.clone();
        let (channel, number) = (self.channel.clone(), self.launched);
        Ok(Box::pin(async move {
            let outcome = match channel.basic_publish(exchange, routing_key, options, &body, properties).await {
                Ok(confirm) => confirm.await,
                Err(error) => Err(error),
            };
            (number, outcome)
        }))
    }

    /// Waits until the fate of at least one message is known, or the channel is broken.
    pub(super) async fn landed(&mut self) -> Landed {
        poll_fn(|context| {
            self.collect(context);
            if self.undecided.is_empty() && self.error.is_none() { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
        self.settle_returns();
        Landed { jobs: self.decide(), error: self.error.take() }
    }

    fn collect(&mut self, context: &mut Context<'_>) {
        while let Poll::Ready(Some((number, outcome))) = self.confirms.poll_next_unpin(context) {
            let (fate, returned) = match outcome {
                Ok(Confirmation::Ack(returned)) => (Fate::Confirmed, returned),
                Ok(Confirmation::Nack(returned)) => (Fate::Rejected, returned),
                // Only without `confirm_select`, which opening a lane waits for.
                Ok(Confirmation::NotRequested) => (Fate::Rejected, None),
                Err(error) => {
                    self.error = Some(error);
                    continue;
                }
            };
            self.undecided.push((number, fate));
            self.returned.extend(returned);
        }
    }

    /// Makes sure that every message that came back before these confirms is known.
    ///
    /// The broker returns a message before it confirms it, but lapin hands the return to whichever confirm it sees
    /// next, and resolves the confirms of one `basic.ack(multiple)` in any order (`acknowledgement.rs`,
    /// `complete_pending_before`). It holds a lock until all of them are resolved, and `wait_for_confirms` takes that
    /// lock when it is first polled. After it, all confirms of the same ack are there to be collected.
    fn settle_returns(&mut self) {
        let mandatory = |(number, _): &(u64, Fate)| self.jobs.get(number).is_some_and(|job| job.publication.mandatory);
        if !self.undecided.iter().any(mandatory) {
            return;
        }
        let mut context = Context::from_waker(Waker::noop());
        let channel = self.channel.clone();
        let _ = pin!(channel.wait_for_confirms()).poll(&mut context);
        self.collect(&mut context);
    }

    fn decide(&mut self) -> Vec<(Job, Fate)> {
        for message in std::mem::take(&mut self.returned) {
            let sent = |(number, job): &(&u64, &Job)| {
                job.publication.mandatory
                    && !self.came_back.contains(*number)
                    && is_the_same(&job.publication, &message)
            };
            // Equal messages come back in the order in which they were sent.
            let number = self.jobs.iter().find(sent).map(|(number, _)| *number);
            match number {
                Some(number) => drop(self.came_back.insert(number)),
                None => tracing::warn!(
                    exchange = message.exchange.as_str(),
                    routing_key = message.routing_key.as_str(),
                    "the broker returned a message that was not sent here"
                ),
            }
        }
        let undecided = std::mem::take(&mut self.undecided);
        let fates = undecided.into_iter().filter_map(|(number, fate)| {
            let fate = if self.came_back.remove(&number) { Fate::Returned } else { fate };
            Some((self.jobs.remove(&number)?, fate))
        });
        fates.collect()
    }

    /// The jobs whose fate is not known, in the order in which they were launched.
    pub(super) fn into_jobs(self) -> impl Iterator<Item = Job> {
        self.jobs.into_values()
    }
}

fn is_the_same(sent: &Publication, returned: &BasicReturnMessage) -> bool {
    let properties = &sent.message.properties;
    let text = |text: &Option<lapin::types::ShortString>| text.as_ref().map(ToString::to_string);
    sent.exchange == returned.exchange.as_str()
        && sent.routing_key == returned.routing_key.as_str()
        && properties.correlation_id == text(returned.properties.correlation_id())
        && properties.message_id == text(returned.properties.message_id())
        && sent.message.body == returned.data
}
