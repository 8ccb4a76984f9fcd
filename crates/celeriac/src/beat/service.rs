//! Leads or waits to lead, and while it leads sends the tasks of the entries.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use chrono_tz::Tz;
use futures_util::FutureExt as _;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::entry::{DueTick, Tell};
use super::lease::{Tenure, Terms};
use super::readiness::{BeatHandle, Seen};
use super::store::{Lease, MemoryScheduleStore, ScheduleStore, StoreError};
use super::ticker::{Plan, Tick, Ticker};
use super::{Crontab, Entry, Schedule};
use crate::app::{App, SendError, SendOptions, host_name};
use crate::clock;
use crate::metrics;
use crate::protocol::RawJson;

/// Others are kept out this long after the last renewal.
const LEASE: Duration = Duration::from_secs(10);
/// How often a beat that leads looks for changes of the entries. The wall clock may be set, so no sleep is longer.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long a store that does not answer is left alone.
const RETRY_EVERY: Duration = Duration::from_secs(1);
/// How long sending may go on after the stop.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Sends tasks at their times. See the [module](super) for what holds when several run.
///
/// ```no_run
/// # use std::time::Duration;
/// # use celeriac::beat::{CatchUp, store};
/// # use celeriac::{App, Beat, Entry, Task};
/// # use serde::{Deserialize, Serialize};
/// # use tokio_util::sync::CancellationToken;
/// #[derive(Task, Serialize, Deserialize)]
/// #[task(name = "shop.sweep")]
/// struct Sweep;
///
/// # async fn example(app: App, shutdown: CancellationToken) -> Result<(), celeriac::backend::BackendError> {
/// let beat = Beat::builder(app)
///     .store(store::connect("redis://localhost/2").await?)
///     .entry(Entry::every("sweep", Duration::from_secs(60), Sweep).catch_up(CatchUp::Skip))
///     .build();
/// beat.run(shutdown).await;
/// # Ok(())
/// # }
/// ```
pub struct Beat {
    app: App,
    entries: Vec<Entry>,
    zone: Tz,
    store: Arc<dyn ScheduleStore>,
    /// What the lease names it.
    name: String,
    terms: Terms,
    seen: Arc<Mutex<Seen>>,
    tell: Option<Box<Tell>>,
}

/// Settings of a [`Beat`].
#[must_use]
pub struct BeatBuilder {
    beat: Beat,
}

impl Beat {
    /// A beat that sends by `app`; without entries, in UTC, with a store in memory until the builder says otherwise.
    pub fn builder(app: App) -> BeatBuilder {
        let store = Arc::new(MemoryScheduleStore::default());
        let name = format!("{}@{}", Uuid::new_v4(), host_name());
        BeatBuilder {
            beat: Self {
                app,
                entries: Vec::new(),
                zone: Tz::UTC,
                store,
                name,
                terms: Terms { ttl: LEASE },
                seen: Arc::default(),
                tell: None,
            },
        }
    }

    /// Tells of each tick before it is sent, as what it is told says: to add headers, or to tell whatever watches that the
    /// timetable is kept. It happens on the tick's way: do not block.
    #[must_use]
    pub fn before_send(
        mut self,
        tell: impl Fn(&DueTick<'_>, SendOptions) -> SendOptions + Send + Sync + 'static,
    ) -> Self {
        self.tell = Some(Box::new(tell));
        self
    }

    /// Looks at the beat while it runs.
    #[must_use]
    pub fn handle(&self) -> BeatHandle {
        BeatHandle { app: self.app.clone(), terms: self.terms, seen: Arc::clone(&self.seen) }
    }

    /// Sends tasks until `shutdown` is cancelled. A broker or a store that cannot be reached is waited for.
    ///
    /// Where results have to be cleaned up, `celery.backend_cleanup` is sent too, daily at four by the clocks of the time
    /// zone, unless there is another entry of that name (`celery/beat.py`, `install_default_entries`).
    pub async fn run(mut self, shutdown: CancellationToken) {
        self.add_cleanup();
        let (sender, tenure) = watch::channel(None);
        tokio::select! {
            () = self.campaign(&sender) => {}
            () = self.serve(tenure, &shutdown) => {}
        }
        let tenure = sender.borrow().clone();
        if let Some(Tenure { lease, .. }) = tenure {
            let resigned = timeout(LAST_WORDS, self.store.resign(&lease));
            if let Ok(Err(error)) = resigned.await {
                tracing::debug!(%error, "lease not given back; it ends by itself");
            }
        }
    }

    fn add_cleanup(&mut self) {
        const NAME: &str = "celery.backend_cleanup";
        if self.app.backend().needs_cleanup()
            && self.entries.iter().all(|entry| entry.name != NAME)
            && let Ok(crontab) = "0 4 * * *".parse::<Crontab>()
        {
            let schedule = Schedule::Crontab(crontab, self.zone);
            let entry = Entry::named(NAME, schedule, NAME, RawJson::EMPTY_LIST, RawJson::EMPTY_OBJECT);
            self.entries.push(entry.options(SendOptions::new().expires(Duration::from_secs(12 * 60 * 60))));
        }
    }

    /// Asks for the lease, again and again.
    async fn campaign(&self, tenure: &watch::Sender<Option<Tenure>>) {
        let mut is_hindered = false;
        loop {
            let asked = Instant::now();
            self.seen.lock().asks(asked);
            let pause = match self.store.lead(&self.name, self.terms.ttl).await {
                Ok(Some(term)) => {
                    is_hindered = false;
                    let lease = Lease { beat: self.name.clone(), term };
                    let leads = Tenure { lease, ends: self.terms.ends(asked) };
                    self.seen.lock().is_told(Instant::now(), Some(&leads));
                    metrics::beat_leads(true);
                    tenure.send_replace(Some(leads));
                    self.terms.renew_after()
                }
                Ok(None) => {
                    is_hindered = false;
                    self.seen.lock().is_told(Instant::now(), None);
                    metrics::beat_leads(false);
                    tenure.send_replace(None);
                    self.terms.ask_every()
                }
                // Whoever led leads on until its time is over.
                Err(error) => {
                    if !std::mem::replace(&mut is_hindered, true) {
                        tracing::warn!(%error, "schedule store cannot be asked who leads; trying again");
                    }
                    self.terms.ask_every()
                }
            };
            sleep(pause).await;
        }
    }

    /// Sends whenever this beat leads.
    async fn serve(&self, mut tenure: watch::Receiver<Option<Tenure>>, shutdown: &CancellationToken) {
        let leads = |tenure: &Option<Tenure>| tenure.as_ref().is_some_and(|tenure| tenure.may_send(Instant::now()));
        loop {
            let waiting = async { tenure.wait_for(leads).await.ok().and_then(|tenure| tenure.clone()) };
            let Some(Some(Tenure { lease, .. })) = shutdown.run_until_cancelled(waiting).await else { return };
            tracing::info!(term = lease.term, "beat leads");
            let reign = Reign {
                beat: self,
                tenure: tenure.clone(),
                lease,
                schedule: None,
                seen: None,
                sends: FuturesUnordered::new(),
                is_hindered: false,
            };
            reign.run(shutdown).await;
            if shutdown.is_cancelled() {
                return;
            }
            tracing::warn!("beat leads no longer");
            sleep(self.terms.ask_every()).await;
        }
    }
}

impl BeatBuilder {
    /// Adds an entry; one of the same name is replaced. An entry of the store replaces one of the same name too.
    pub fn entry(mut self, entry: Entry) -> Self {
        self.beat.entries.retain(|other| other.name != entry.name);
        self.beat.entries.push(entry);
        self
    }

    /// The time zone of crontabs; UTC by default.
    pub fn time_zone(mut self, zone: Tz) -> Self {
        self.beat.zone = zone;
        self
    }

    /// Where to remember what was done, and to agree with other beats on who does it; in memory by default.
    pub fn store(mut self, store: Arc<dyn ScheduleStore>) -> Self {
        self.beat.store = store;
        self
    }

    /// How long the others wait for a beat that leads and is not heard of; 10 seconds by default.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.beat.terms = Terms { ttl: lease };
        self
    }

    /// The beat, which does nothing before it [runs](Beat::run).
    #[must_use]
    pub fn build(self) -> Beat {
        self.beat
    }
}

/// The sending of one tick; `Err`: it took longer than the beat may send.
type Sending = Pin<Box<dyn Future<Output = (Tick, Result<Result<(), SendError>, Elapsed>)> + Send>>;

/// A beat while it leads.
struct Reign<'a> {
    beat: &'a Beat,
    tenure: watch::Receiver<Option<Tenure>>,
    lease: Lease,
    /// Not loaded yet at first.
    schedule: Option<Loaded>,
    /// When the store was last asked for changes.
    seen: Option<Instant>,
    /// Ticks on their way. None waits for another.
    sends: FuturesUnordered<Sending>,
    is_hindered: bool,
}

/// The entries as they were when they were last loaded.
struct Loaded {
    version: String,
    /// Those of the store. They come before those of the same name in code.
    stored: HashMap<String, Entry>,
    ticker: Ticker,
}

impl Reign<'_> {
    async fn run(mut self, shutdown: &CancellationToken) {
        while let Some(ends) = self.ends() {
            let cut_off = async {
                shutdown.cancelled().await;
                sleep(LAST_WORDS).await;
            };
            let round = tokio::select! {
                round = self.round() => round,
                // What was claimed is sent by the next beat.
                () = cut_off => return,
            };
            let pause = match round {
                Ok(pause) => {
                    if std::mem::take(&mut self.is_hindered) {
                        tracing::info!("beat goes on");
                    }
                    pause
                }
                Err(StoreError::NotLeading) => return,
                Err(error) => {
                    if !std::mem::replace(&mut self.is_hindered, true) {
                        tracing::warn!(%error, "schedule store does not answer; trying again");
                    }
                    RETRY_EVERY
                }
            };
            let pause = pause.min(ends.saturating_duration_since(Instant::now()));
            tokio::select! {
                () = shutdown.cancelled() => return self.finish().await,
                () = sleep(pause) => {}
                Some((tick, outcome)) = self.sends.next() => {
                    self.arrived(&tick, outcome);
                    // Those that have arrived by now are recorded together.
                    while let Some(Some((tick, outcome))) = self.sends.next().now_or_never() {
                        self.arrived(&tick, outcome);
                    }
                }
            }
        }
    }

    /// The last ticks on their way are waited for, not for long, and recorded.
    async fn finish(&mut self) {
        let deadline = Instant::now() + LAST_WORDS;
        while let Ok(Some((tick, outcome))) = timeout_at(deadline, self.sends.next()).await {
            self.arrived(&tick, outcome);
        }
        // What is not recorded is sent again by the next beat.
        if let Ok(Err(error)) = timeout(LAST_WORDS, self.record()).await {
            tracing::debug!(%error, "the last ticks are not recorded");
        }
    }

    /// Until when this beat may send, if it still may.
    fn ends(&self) -> Option<Instant> {
        let tenure = self.tenure.borrow();
        let tenure = tenure.as_ref().filter(|tenure| tenure.lease == self.lease && tenure.may_send(Instant::now()));
        tenure.map(|tenure| tenure.ends)
    }

    /// Records what was sent, claims what is due and begins to send it. Returns how long there is nothing to do, unless a tick
    /// arrives before.
    async fn round(&mut self) -> Result<Duration, StoreError> {
        if self.seen.is_none_or(|seen| seen.elapsed() >= LOOK_EVERY) {
            self.load().await?;
        }
        self.record().await?;
        self.begin_to_send();
        let pause = self.schedule.as_ref().and_then(|loaded| loaded.ticker.pause(clock::now(), Instant::now()));
        Ok(pause.unwrap_or(LOOK_EVERY).min(LOOK_EVERY))
    }

    async fn load(&mut self) -> Result<(), StoreError> {
        let store = &self.beat.store;
        let seen = self.schedule.as_ref().map(|loaded| loaded.version.as_str());
        if let Some(found) = store.entries(seen).await? {
            let entries = found.entries.into_iter().map(|entry| (entry.name.clone(), Entry::stored(entry)));
            let stored: HashMap<_, _> = entries.collect();
            let plans = self.plans(&stored);
            let ticker = match self.schedule.take() {
                Some(Loaded { mut ticker, .. }) => {
                    ticker.change(plans);
                    ticker
                }
                None => Ticker::new(plans, &store.progress().await?),
            };
            self.schedule = Some(Loaded { version: found.version, stored, ticker });
        }
        self.seen = Some(Instant::now());
        Ok(())
    }

    fn plans(&self, stored: &HashMap<String, Entry>) -> HashMap<String, Plan> {
        let in_code = self.beat.entries.iter().filter(|entry| !stored.contains_key(&entry.name));
        let plan = |entry: &Entry| Some((entry.name.clone(), entry.plan(self.beat.zone)?));
        in_code.chain(stored.values()).filter_map(plan).collect()
    }

    async fn record(&mut self) -> Result<(), StoreError> {
        let Some(loaded) = &mut self.schedule else { return Ok(()) };
        let records = loaded.ticker.records(clock::now());
        if !records.is_empty() {
            self.beat.store.record(&self.lease, &records).await?;
            loaded.ticker.recorded(&records);
        }
        Ok(())
    }

    /// Sends what is due, each tick by itself.
    fn begin_to_send(&mut self) {
        let Some(ends) = self.ends() else { return };
        let Some(Loaded { stored, ticker, .. }) = &mut self.schedule else { return };
        let Beat { app, entries, tell, zone, .. } = self.beat;
        let told = tell.as_deref().map(|tell| (tell, *zone));
        for tick in ticker.take_claimed(Instant::now()) {
            let in_code = || entries.iter().find(|entry| entry.name == tick.entry);
            let Some(entry) = stored.get(&tick.entry).or_else(in_code) else {
                ticker.failed(&tick, Instant::now());
                continue;
            };
            let sending = entry.send(app, tick.time, tick.again, told);
            self.sends.push(Box::pin(async move {
                let outcome = timeout_at(ends, sending).await;
                (tick, outcome)
            }));
        }
    }

    /// A tick has come to the broker, or not.
    fn arrived(&mut self, tick: &Tick, outcome: Result<Result<(), SendError>, Elapsed>) {
        let Some(Loaded { ticker, .. }) = &mut self.schedule else { return };
        let entry = &tick.entry;
        let error = match outcome {
            Ok(Ok(())) => {
                tracing::debug!(entry, tick = %tick.time, "tick sent");
                let now = clock::now();
                metrics::ticked(entry, (now - tick.time).as_seconds_f64());
                return ticker.sent(tick, now);
            }
            Ok(Err(error @ SendError::Encode { .. })) => {
                metrics::tick_failed(entry, "encode");
                tracing::error!(entry, tick = %tick.time, %error, "tick cannot be sent; it is left out");
                return ticker.given_up(tick);
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no confirmation for as long as this beat was sure to lead".to_owned(),
        };
        metrics::tick_failed(entry, "broker");
        let failures = tick.failures + 1;
        // That the broker is away is told once, and after that for no entry again.
        if tick.failures == 0 || self.beat.app.broker().health().connected {
            tracing::warn!(entry, tick = %tick.time, failures, error, "tick not sent; trying again");
        } else {
            tracing::debug!(entry, tick = %tick.time, failures, error, "tick not sent; trying again");
        }
        ticker.failed(tick, Instant::now());
    }
}
