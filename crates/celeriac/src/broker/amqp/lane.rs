//! One channel with publisher confirms, and the task that owns it.
//!
//! A job is answered when its message was confirmed, returned or refused. When the channel or the connection breaks,
//! the jobs without an answer are published again, in their order, on the next one; one at a time where the broker has
//! closed it over one of them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lapin::Channel;
use lapin::options::ConfirmSelectOptions;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until};

use super::error::{is_not_found, offence, refusal};
use super::flight::{Fate, Flight};
use super::link::{Link, Live};
use super::trial::{Accusation, Trials, Turn};
use crate::broker::{BrokerError, Publication};

/// Messages on their way at once: enough to keep the broker busy, few enough to publish again after a loss.
const WINDOW: usize = 256;
/// A pause before what the broker rejected (its queue is full, its quorum incomplete) is published again.
const AFTER_NACK: Duration = Duration::from_millis(100);
/// How often it is said that the broker rejects messages.
const TELL_EVERY: Duration = Duration::from_secs(30);
/// A pause before another channel is tried on the same connection.
const AFTER_CHANNEL_ERROR: Duration = Duration::from_millis(20);

/// A message and who waits for its confirm.
pub(super) struct Job {
    pub(super) publication: Publication,
    pub(super) answer: oneshot::Sender<Result<(), BrokerError>>,
    /// Since when, and how long, its caller waits.
    pub(super) began: Instant,
    pub(super) timeout: Duration,
    /// Kept until it is answered.
    pub(super) _place: Place,
    /// The broker may have meant it when it closed a connection.
    pub(super) accusation: Option<Accusation>,
}

/// How many messages wait or are on their way on a lane.
#[derive(Clone, Default)]
pub(super) struct Load(Arc<AtomicUsize>);

impl Load {
    pub(super) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn place(&self) -> Place {
        self.0.fetch_add(1, Ordering::Relaxed);
        Place(self.clone())
    }
}

/// One message of a [`Load`], until it is dropped.
pub(super) struct Place(Load);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Job {
    fn abandoned(&self) -> bool {
        self.answer.is_closed()
    }

    /// Nobody may be waiting any more: that is no error.
    fn settle(self, answer: Result<(), BrokerError>) {
        let _ = self.answer.send(answer);
    }

    fn unroutable(self) {
        let Publication { exchange, routing_key, .. } = self.publication;
        let _ = self.answer.send(Err(BrokerError::Unroutable { exchange, routing_key }));
    }
}

/// What the lanes of a publisher share.
#[derive(Clone)]
pub(super) struct Base {
    pub(super) link: Link,
    pub(super) address: Arc<str>,
    pub(super) trials: Trials,
}

struct Lane {
    base: Base,
    jobs: mpsc::Receiver<Job>,
    /// To be published before new jobs, in this order.
    again: VecDeque<Job>,
    /// So many of `again`, from the front, are published one at a time: one of them made the broker close the
    /// channel, and this finds out which.
    suspects: usize,
    /// What is in flight is a suspect.
    alone: bool,
    /// It has the whole connection to itself.
    turn: Option<Turn>,
    /// Rejected by the broker; published again after a pause.
    rejected: Vec<Job>,
    retry_at: Instant,
    /// Until then nothing more is said of what is rejected.
    silent_until: Instant,
    /// Nobody can send jobs any more.
    orphaned: bool,
}

/// Why a channel is done.
enum End {
    /// Nothing is left to do, for ever.
    Finished,
    /// The connection is lost.
    Lost,
    /// The broker closed the channel for something that was published on it.
    Broken(lapin::Error),
}

/// Runs until the link is closed or nobody can publish any more.
pub(super) async fn run(base: Base, jobs: mpsc::Receiver<Job>) {
    let mut lane = Lane {
        base,
        jobs,
        again: VecDeque::new(),
        suspects: 0,
        alone: false,
        turn: None,
        rejected: Vec::new(),
        retry_at: Instant::now(),
        silent_until: Instant::now(),
        orphaned: false,
    };
    while let Some(live) = lane.base.link.live().await {
        match lane.serve(&live).await {
            End::Finished => break,
            End::Lost => {}
            End::Broken(_) => {
                lane.base.link.doubt();
                sleep(AFTER_CHANNEL_ERROR).await;
            }
        }
    }
    // Dropping the jobs tells those who wait that this broker is closed.
}

impl Lane {
    /// Publishes on one channel until it is done.
    async fn serve(&mut self, live: &Live) -> End {
        let opened = tokio::select! {
            opened = open(live) => opened,
            () = live.lost() => return End::Lost,
        };
        let channel = match opened {
            Ok(channel) => channel,
            Err(error) => return End::Broken(error),
        };
        let mut flight = Flight::new(channel, live.connection.configuration().frame_max() as usize);
        let end = self.pump(live, &mut flight).await;
        self.recall(flight, &end, live.offence());
        end
    }

    async fn pump(&mut self, live: &Live, flight: &mut Flight) -> End {
        let mut blocked = live.blocked();
        let mut trials = self.base.trials.follow();
        let mut batch = Vec::with_capacity(WINDOW);
        loop {
            let open = blocked.borrow_and_update().is_none();
            let is_free = *trials.borrow_and_update() == 0;
            if open {
                self.resend(live, flight);
            }
            if self.orphaned && flight.is_empty() && self.again.is_empty() && self.rejected.is_empty() {
                return End::Finished;
            }
            let takes_more = open && is_free && self.again.is_empty() && !self.orphaned;
            let room = if takes_more { self.room(flight) } else { 0 };
            tokio::select! {
                () = live.lost() => return End::Lost,
                landed = flight.landed(), if !flight.is_empty() => {
                    for (job, fate) in landed.jobs {
                        self.settle(job, fate);
                    }
                    if flight.is_empty() {
                        self.turn = None;
                    }
                    match landed.error {
                        Some(error) if live.connection.status().connected() && offence(&error).is_none() => {
                            return End::Broken(error);
                        }
                        Some(error) => {
                            live.heard(&error);
                            self.base.link.doubt();
                            live.lost().await;
                            return End::Lost;
                        }
                        None => {}
                    }
                }
                received = self.jobs.recv_many(&mut batch, room), if room > 0 => {
                    self.orphaned = received == 0;
                    for job in batch.drain(..) {
                        self.send(flight, job);
                    }
                }
                _ = blocked.changed() => {}
                _ = trials.changed() => {}
                () = sleep_until(self.retry_at), if !self.rejected.is_empty() => {
                    self.again.extend(self.rejected.drain(..));
                }
            }
        }
    }

    /// How many messages may be put on their way now.
    fn room(&mut self, flight: &Flight) -> usize {
        self.alone &= !flight.is_empty();
        if self.alone { 0 } else { WINDOW.saturating_sub(flight.len()) }
    }

    /// Publishes what waits to be published again: suspects alone, the rest as far as the window allows.
    fn resend(&mut self, live: &Live, flight: &mut Flight) {
        while let Some(next) = self.again.front() {
            let is_accused = next.accusation.is_some();
            let suspect = is_accused || self.suspects > 0;
            if self.room(flight) == 0 || (suspect && !flight.is_empty()) {
                return;
            }
            if is_accused {
                let Some(turn) = self.base.trials.turn() else { return };
                // The turn before may have ended with the connection, which is no fault of this one.
                if live.is_lost() {
                    return;
                }
                self.turn = Some(turn);
            } else if self.base.trials.are_open() {
                return;
            } else {
                self.suspects = self.suspects.saturating_sub(1);
            }
            let Some(job) = self.again.pop_front() else { return };
            self.alone = suspect;
            self.send(flight, job);
            if flight.is_empty() {
                self.turn = None;
            }
        }
    }

    fn send(&self, flight: &mut Flight, job: Job) {
        if job.abandoned() {
            return;
        }
        if let Some((job, reason)) = flight.launch(job) {
            job.settle(Err(self.refused(reason)));
        }
    }

    fn settle(&mut self, mut job: Job, fate: Fate) {
        match fate {
            Fate::Confirmed => job.settle(Ok(())),
            Fate::Returned => job.unroutable(),
            // Its caller is told that it was rejected, rather than to run out of time.
            Fate::Rejected if job.began.elapsed() + last_try(job.timeout) >= job.timeout => {
                let (address, waited) = (self.base.address.to_string(), job.began.elapsed());
                job.settle(Err(BrokerError::Rejected { address, waited }));
            }
            Fate::Rejected => {
                self.tell_of_rejection(&job);
                // The broker has read it, and the connection lives.
                job.accusation = None;
                self.retry_at = Instant::now() + AFTER_NACK;
                self.rejected.push(job);
            }
        }
    }

    fn tell_of_rejection(&mut self, job: &Job) {
        let now = Instant::now();
        if now < self.silent_until {
            return;
        }
        self.silent_until = now + TELL_EVERY;
        let Publication { exchange, routing_key, .. } = &job.publication;
        tracing::warn!(
            exchange,
            routing_key,
            timeout = ?job.timeout,
            "the broker rejects messages, because a queue is full or too few of its replicas run; each is tried again until \
             the publish timeout"
        );
    }

    /// Takes back what has no answer when a channel is done.
    fn recall(&mut self, flight: Flight, end: &End, offence: Option<&str>) {
        self.alone = false;
        let turn = self.turn.take();
        let mut jobs: VecDeque<Job> = flight.into_jobs().filter(|job| !job.abandoned()).collect();
        match (end, offence) {
            (End::Broken(_), _) if jobs.len() > 1 => self.suspects = jobs.len(),
            (End::Broken(error), _) => {
                if let Some(why) = refusal(error)
                    && let Some(job) = jobs.pop_front()
                {
                    // It was alone: the broker means this one.
                    if is_not_found(error) { job.unroutable() } else { job.settle(Err(self.refused(why))) }
                }
            }
            (End::Lost, Some(why)) => self.accuse(&mut jobs, turn.is_some_and(|turn| turn.is_to_blame()), why),
            (End::Lost, None) | (End::Finished, _) => {}
        }
        jobs.append(&mut self.again);
        self.again = jobs;
    }

    /// The broker has closed the connection over one of these, or over one of another lane; or over the only one that was on
    /// its way.
    fn accuse(&mut self, jobs: &mut VecDeque<Job>, was_alone: bool, why: &str) {
        self.suspects = 0;
        for job in jobs.iter_mut() {
            let accusation = job.accusation.get_or_insert_with(|| self.base.trials.accuse());
            if was_alone && accusation.confirmed() {
                let Some(job) = jobs.pop_front() else { return };
                return job.settle(Err(self.refused(why.to_owned())));
            }
        }
    }

    fn refused(&self, reason: String) -> BrokerError {
        BrokerError::Refused { address: self.base.address.to_string(), reason }
    }
}

/// How long before its caller runs out of time a message is not tried once more: another answer may come too late.
fn last_try(timeout: Duration) -> Duration {
    AFTER_NACK + (timeout / 4).min(Duration::from_secs(2))
}

async fn open(live: &Live) -> Result<Channel, lapin::Error> {
    let channel = live.connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok(channel)
}
