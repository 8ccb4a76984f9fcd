//! Tasks that the whole cluster limits: they wait for their seat and for their start like tasks that wait for their ETA,
//! without a slot.
//!
//! Of all tasks of one key that a worker has, only the first asks: the others stand in line behind it, so that they begin
//! in the order of their messages, and a worker never asks for more than it can begin. Between workers the seats go
//! round in the order of asking. While the result backend cannot be reached nothing that is limited begins.

mod key;
mod line;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use self::key::key_of;
pub(crate) use self::line::Lines;
pub(super) use self::line::Turn;
use super::admission::Admission;
use super::channel::Held;
use super::live::{admission_now, wait_in_line};
use super::run::{Phase, Run};
use crate::backend::{BackendError, ClusterLimits, Grant, Seat, wait_until_freed};
use crate::protocol::Revocation;
use crate::task::{ConcurrencyLimit, RateLimit};

/// While the result backend cannot be reached it is asked this often.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// The place of a task that has just arrived among those of this worker.
pub(super) fn line_up(run: &Run) -> Turn {
    let line = match &run.task.options.concurrency {
        Some(limit) => format!("key {}", key_of(run, limit)),
        None => rate_line(run),
    };
    run.shared().lines.line_up(line)
}

/// Room for another message while this one waits, within bounds.
pub(super) fn hold(run: &Run) -> Option<Held> {
    run.channel.hold_limited()
}

fn rate_line(run: &Run) -> String {
    format!("rate {}", run.task.name)
}

/// Waits until the cluster lets the task begin, and for a free slot. What is claimed for it stands in `claim`, also if
/// this is dropped half way.
pub(super) async fn wait(
    run: &Arc<Run>,
    turn: Option<Turn>,
    claims: &mut Claims,
) -> Result<OwnedSemaphorePermit, Revocation> {
    let mut turn = turn;
    loop {
        let mut waiting = Waiting { run, held: None };
        let options = &run.task.options;
        if let Some(limit) = &options.concurrency {
            let turn = turn.take().unwrap_or_else(|| line_up(run));
            let seat = waiting.seat(limit, turn, &mut claims.seat).await?;
            claims.seat = Some(Box::new(seat));
        }
        if let Some(rate) = options.cluster_rate
            && !run.shared().settings.disable_rate_limits
            && claims.start.is_none()
        {
            let turn = turn.take().unwrap_or_else(|| run.shared().lines.line_up(rate_line(run)));
            waiting.start(rate, turn, &mut claims.start).await?;
        }
        drop(waiting);
        let permit = wait_in_line(run, run.slots().line_up()).await?;
        if claims.seat.as_ref().is_none_or(|seat| !seat.is_lost()) {
            return Ok(permit);
        }
    }
}

struct Waiting<'a> {
    run: &'a Arc<Run>,
    /// Room for another message meanwhile, once this one has to wait.
    held: Option<Held>,
}

impl Waiting<'_> {
    /// Waits for a seat.
    async fn seat(
        &mut self,
        limit: &ConcurrencyLimit,
        turn: Turn,
        claim: &mut Option<Box<Claim>>,
    ) -> Result<Claim, Revocation> {
        let run = self.run;
        let _turn = self.turn(turn).await?;
        let seat = Seat {
            key: key_of(run, limit),
            token: Uuid::new_v4().simple().to_string(),
            limit: limit.limit,
            lease: run.shared().settings.lease,
        };
        let limits = limits(run);
        // Known before it is asked for: if nobody waits for the answer, it may have been granted nevertheless.
        *claim = Some(Box::new(Claim::asked(run, seat.clone())));
        let mut freed = None;
        loop {
            let asked = Instant::now();
            match limits.claim(&seat).await {
                Ok(Grant::Seated { fence }) => {
                    let _ = run.fence.set(fence);
                    return Ok(Claim::held(run, seat, asked));
                }
                Ok(Grant::Wait { at_most }) => {
                    self.give_way();
                    wait_until_freed(limits, &seat, &mut freed, at_most.min(seat.lease / 3)).await;
                }
                Err(error) => self.unanswered(&error).await,
            }
            self.still_wanted()?;
        }
    }

    /// Waits for the next start under a rate.
    async fn start(&mut self, rate: RateLimit, turn: Turn, start: &mut Option<Start>) -> Result<(), Revocation> {
        let _turn = self.turn(turn).await?;
        loop {
            match limits(self.run).reserve(&self.run.task.name, rate.interval()).await {
                Ok(delay) => {
                    *start = Some(Start { run: Arc::clone(self.run), interval: rate.interval() });
                    if !delay.is_zero() {
                        self.give_way();
                        sleep(delay).await;
                    }
                    return self.still_wanted();
                }
                Err(error) => self.unanswered(&error).await,
            }
            self.still_wanted()?;
        }
    }

    /// Waits until those before it have begun.
    async fn turn(&mut self, mut turn: Turn) -> Result<Turn, Revocation> {
        if !turn.has_come() {
            self.give_way();
            turn.come().await;
            self.still_wanted()?;
        }
        Ok(turn)
    }

    fn give_way(&mut self) {
        self.run.enter(Phase::Limited);
        if self.held.is_none() {
            self.held = hold(self.run);
        }
    }

    /// It may be revoked, or expire, while it waits.
    fn still_wanted(&self) -> Result<(), Revocation> {
        match admission_now(self.run, crate::clock::now()) {
            Admission::Drop(why) => Err(why),
            Admission::Hold(_) | Admission::Run => Ok(()),
        }
    }

    async fn unanswered(&mut self, error: &BackendError) {
        if self.held.is_none() {
            let task = &self.run.request.task;
            tracing::warn!(task, %error, "limits cannot be asked; limited tasks wait");
        }
        self.give_way();
        sleep(ASK_AGAIN.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
    }
}

fn limits(run: &Run) -> &dyn ClusterLimits {
    run.app().backend().limits().expect("without limits the worker was not built")
}

/// What a task has of the cluster's.
#[derive(Default)]
pub(super) struct Claims {
    /// Asked for, or had.
    seat: Option<Box<Claim>>,
    /// Taken.
    start: Option<Start>,
}

/// A start under a rate.
struct Start {
    run: Arc<Run>,
    interval: Duration,
}

impl Claims {
    /// Lets others have the seat, and the start if the task has not begun.
    pub(super) async fn give_up(self, has_begun: bool) {
        if let Some(seat) = self.seat {
            seat.give_up().await;
        }
        if let Some(Start { run, interval }) = self.start.filter(|_| !has_begun) {
            let task = &run.task.name;
            if let Err(error) = limits(&run).give_back(task, interval).await {
                tracing::warn!(task, %error, "a start that was not used is not given back");
            }
        }
    }
}

/// A seat that a task has asked the cluster for.
struct Claim {
    run: Arc<Run>,
    seat: Seat,
    lost: Arc<AtomicBool>,
    /// Renews the lease as long as this value lives.
    _renewal: Option<AbortOnDropHandle<()>>,
}

impl Claim {
    fn asked(run: &Arc<Run>, seat: Seat) -> Self {
        Self { run: Arc::clone(run), seat, lost: Arc::default(), _renewal: None }
    }

    fn held(run: &Arc<Run>, seat: Seat, since: Instant) -> Self {
        let lost = Arc::new(AtomicBool::new(false));
        let renewal = renew(Arc::clone(run), seat.clone(), Arc::clone(&lost), since);
        let renewal = Some(AbortOnDropHandle::new(tokio::spawn(renewal)));
        Self { run: Arc::clone(run), seat, lost, _renewal: renewal }
    }

    fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// Lets others have the seat. If that cannot be said, they have it when the lease is over.
    async fn give_up(&self) {
        if let Err(error) = limits(&self.run).release(&self.seat).await {
            let Seat { key, lease, .. } = &self.seat;
            tracing::warn!(key, ?lease, %error, "seat not given up; it is free after its lease");
        }
    }
}

/// Renews a lease until it is lost. The body is told then, as at its soft time limit: another one may begin.
async fn renew(run: Arc<Run>, seat: Seat, lost: Arc<AtomicBool>, since: Instant) {
    let mut until = since + seat.lease;
    loop {
        sleep(seat.lease / 3).await;
        let asked = Instant::now();
        match limits(&run).renew(&seat).await {
            Ok(true) => until = asked + seat.lease,
            Err(error) if Instant::now() < until => {
                tracing::debug!(key = seat.key, %error, "lease not renewed");
            }
            Ok(false) | Err(_) => break,
        }
    }
    tracing::error!(task = run.request.task, id = run.request.id, key = seat.key, "lease lost; another task may run");
    lost.store(true, Ordering::Relaxed);
    if run.begun().is_some() {
        run.cancellation.tell();
    }
}
