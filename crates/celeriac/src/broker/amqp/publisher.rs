//! Publishing with confirms.
//!
//! lapin numbers the messages of a channel when they are handed over and pairs the broker's confirms with these
//! numbers, so a channel may be used by one task only ([`lane`](super::lane)). Several lanes share the connection:
//! the broker works on their channels in parallel. While one lane has room the others rest: what goes together through
//! one channel is read, written to disk and confirmed together, and costs the broker less.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use lapin::options::BasicPublishOptions;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use super::lane::{self, Base, Job, Load};
use super::link::{Link, Live};
use super::trial::Trials;
use super::wire::{encode_properties, short};
use crate::broker::{BrokerError, Publication};

const LANES: usize = 4;
/// Messages that wait for their turn on one lane; more callers wait in line.
const QUEUE: usize = 256;
/// From so many messages that wait or are on their way on, another lane is faster.
const BUSY: usize = 64;

/// How many exchanges have a channel without confirms at once.
const MOST_UNCONFIRMED: usize = 8;

type Answer = Result<(), BrokerError>;

pub(super) struct Publisher {
    base: Base,
    timeout: Duration,
    lanes: Vec<Lane>,
    /// The channels without confirms, one for each exchange: where one may not be published to, the broker closes the
    /// channel, and what goes elsewhere must not suffer for it. They are opened on first use and after every error.
    unconfirmed: Mutex<HashMap<String, (Weak<Live>, lapin::Channel)>>,
}

/// The way to one lane.
struct Lane {
    jobs: mpsc::Sender<Job>,
    load: Load,
}

impl Publisher {
    pub(super) fn start(link: Link, address: Arc<str>, timeout: Duration) -> Self {
        let base = Base { link, address, trials: Trials::default() };
        let lanes = (0..LANES)
            .map(|_| {
                let (sender, receiver) = mpsc::channel(QUEUE);
                tokio::spawn(lane::run(base.clone(), receiver));
                Lane { jobs: sender, load: Load::default() }
            })
            .collect();
        Self { base, timeout, lanes, unconfirmed: Mutex::default() }
    }

    /// Publishes one message and waits for its confirm.
    pub(super) async fn publish(&self, publication: Publication) -> Answer {
        let began = Instant::now();
        let (answer, confirmed) = oneshot::channel();
        let lane = self.lane();
        let job = self.job(lane, publication, answer, began);
        self.hand_over(lane, job, began).await?;
        self.answer(confirmed, began).await
    }

    /// Publishes many on one lane, which keeps their order, and waits for all confirms.
    pub(super) async fn publish_batch(&self, publications: Vec<Publication>) -> Vec<Answer> {
        let began = Instant::now();
        let lane = self.least_loaded();
        let mut waiting = Vec::with_capacity(publications.len());
        for publication in publications {
            let (answer, confirmed) = oneshot::channel();
            let job = self.job(lane, publication, answer, began);
            let handed_over = self.hand_over(lane, job, began).await;
            waiting.push(handed_over.map(|()| confirmed));
        }
        let mut answers = Vec::with_capacity(waiting.len());
        for confirmed in waiting {
            answers.push(match confirmed {
                Ok(confirmed) => self.answer(confirmed, began).await,
                Err(error) => Err(error),
            });
        }
        answers
    }

    /// Publishes without a confirm. It waits for the socket only: without a connection it fails at once.
    pub(super) async fn publish_unconfirmed(&self, publication: Publication) -> Answer {
        let Publication { exchange, routing_key, mandatory: _, message } = publication;
        let refused = |reason| BrokerError::Refused { address: self.base.address.to_string(), reason };
        let exchange = short("the name of an exchange", &exchange).map_err(refused)?;
        let routing_key = short("a routing key", &routing_key).map_err(refused)?;
        let began = Instant::now();
        let sending = async {
            let (live, channel) = self.unconfirmed_channel(exchange.as_str(), began).await?;
            let frame_max = live.connection.configuration().frame_max() as usize;
            let properties = encode_properties(&message, frame_max).map_err(refused)?;
            let options = BasicPublishOptions::default();
            tokio::select! {
                sent = channel.basic_publish(exchange.clone(), routing_key, options, &message.body, properties) => {
                    sent.map(drop).map_err(|_| self.unavailable(began))
                }
                () = live.lost() => Err(self.unavailable(began)),
            }
        };
        timeout(self.timeout, sending).await.unwrap_or_else(|_| Err(self.unavailable(began)))
    }

    /// The open channel, or a new one. A lost connection and one that takes no messages are errors, at once.
    async fn unconfirmed_channel(
        &self,
        exchange: &str,
        began: Instant,
    ) -> Result<(Arc<Live>, lapin::Channel), BrokerError> {
        let live = self.base.link.current().ok_or_else(|| self.unavailable(began))?;
        if live.blocked().borrow().is_some() {
            return Err(self.unavailable(began));
        }
        let mut channels = self.unconfirmed.lock().await;
        if let Some((of, channel)) = channels.get(exchange)
            && of.ptr_eq(&Arc::downgrade(&live))
            && channel.status().connected()
        {
            return Ok((live, channel.clone()));
        }
        let opened = tokio::select! {
            opened = live.connection.create_channel() => opened.ok(),
            () = live.lost() => None,
        };
        let Some(channel) = opened else {
            self.base.link.doubt();
            return Err(self.unavailable(began));
        };
        if channels.len() >= MOST_UNCONFIRMED {
            // Those of exchanges that nobody publishes to any longer, such as for replies to somebody who is gone.
            channels.clear();
        }
        channels.insert(exchange.to_owned(), (Arc::downgrade(&live), channel.clone()));
        Ok((live, channel))
    }

    /// The first lane that is not busy.
    fn lane(&self) -> &Lane {
        self.lanes.iter().find(|lane| lane.load.get() < BUSY).unwrap_or_else(|| self.least_loaded())
    }

    fn least_loaded(&self) -> &Lane {
        self.lanes.iter().min_by_key(|lane| lane.load.get()).expect("there are some")
    }

    fn job(&self, lane: &Lane, publication: Publication, answer: oneshot::Sender<Answer>, began: Instant) -> Job {
        Job { publication, answer, began, timeout: self.timeout, _place: lane.load.place(), accusation: None }
    }

    async fn hand_over(&self, lane: &Lane, job: Job, began: Instant) -> Result<(), BrokerError> {
        let job = match lane.jobs.try_send(job) {
            Ok(()) => return Ok(()),
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(self.closed()),
            Err(mpsc::error::TrySendError::Full(job)) => job,
        };
        match timeout_at(began + self.timeout, lane.jobs.send(job)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(self.closed()),
            Err(_) => Err(self.unavailable(began)),
        }
    }

    async fn answer(&self, confirmed: oneshot::Receiver<Answer>, began: Instant) -> Answer {
        match timeout_at(began + self.timeout, confirmed).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(self.closed()),
            Err(_) => Err(self.unavailable(began)),
        }
    }

    fn unavailable(&self, began: Instant) -> BrokerError {
        let (address, reason) = (self.base.address.to_string(), self.base.link.trouble());
        BrokerError::Timeout { address, waited: began.elapsed(), reason }
    }

    fn closed(&self) -> BrokerError {
        BrokerError::Closed { address: self.base.address.to_string() }
    }
}
