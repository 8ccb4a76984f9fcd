//! What every task body works with.

use std::sync::Arc;
use std::time::Duration;

use billing::breaker::{BreakerPolicy, Circuit, Signal, Turn};
use billing::payment::identity::Terminal;
use billing::resolve::ResolvePolicy;
use billing::store::circuits::{self, Turned, Watch};
use billing::store::{StoreError, payments, receipts};
use billing::{AccountId, PaymentId, ReceiptId, Services, trail};
use chrono::{DateTime, TimeDelta, Utc};
use cloudpayments::{Client, Doubt, Error, NotProcessed};
use secrecy::SecretString;

use crate::allowance::Allowance;
use crate::config::Config;
use crate::receipts::Receipts;
use crate::setting::{ConfigError, delta};

/// The state of the worker: connections and rules, the same for all tasks. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) services: Services,
    pub(crate) gateway: Client,
    /// Whether money moves there.
    pub(crate) terminal: Terminal,
    /// Where that is. Holds no password.
    gateway_url: Arc<str>,
    /// How many requests may be on their way to it.
    pub(crate) allowance: Arc<Allowance>,
    /// The queues that this worker takes tasks from.
    queues: Arc<[String]>,
    pub(crate) resolve: ResolvePolicy,
    breaker: BreakerPolicy,
    pub(crate) three_ds_ttl: TimeDelta,
    pub(crate) renewal_notice: TimeDelta,
    pub(crate) price_change_notice: TimeDelta,
    pub(crate) stranded_after: TimeDelta,
    pub(crate) events_kept_for: TimeDelta,
    pub(crate) gateway_calls_kept_for: TimeDelta,
    pub(crate) notifications_kept_for: TimeDelta,
    /// How long an account is closed before its person is forgotten.
    pub(crate) personal_traces_kept: TimeDelta,
    /// `None`: no receipts are made.
    pub(crate) receipts: Option<Receipts>,
    /// A request sent longer ago than this has no sender any more that waits for its answer.
    abandoned_after: TimeDelta,
}

/// Between two looks at a gateway that could not be worked with at the start.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

impl Desk {
    pub(crate) fn new(config: &Config, services: Services) -> Result<Self, ConfigError> {
        let times = services.times;
        Ok(Self {
            allowance: Arc::new(Allowance::new(config, Arc::clone(services.app.backend()))),
            services,
            gateway: config.gateway(times.gateway_timeout)?,
            terminal: config.terminal(),
            gateway_url: config.gateway_url.as_str().into(),
            queues: config.queues().map(str::to_owned).collect(),
            resolve: times.resolve,
            breaker: config.breaker.policy()?,
            three_ds_ttl: delta("THREE_DS_TTL", config.three_ds_ttl)?,
            renewal_notice: delta("RENEWAL_NOTICE", config.renewal_notice)?,
            price_change_notice: delta("PRICE_CHANGE_NOTICE", config.price_change_notice)?,
            stranded_after: delta("STRANDED_AFTER", config.stranded_after)?,
            gateway_calls_kept_for: delta("GATEWAY_CALLS_KEPT_FOR", config.gateway_calls_kept_for)?,
            notifications_kept_for: delta("NOTIFICATIONS_KEPT_FOR", config.notifications_kept_for)?,
            events_kept_for: delta("EVENTS_KEPT_FOR", config.events_kept_for)?,
            personal_traces_kept: delta("PERSONAL_TRACES_KEPT", config.personal_traces_kept)?,
            receipts: config.receipts.receipts(&config.roles)?,
            abandoned_after: times.answer_within,
        })
    }

    /// Requests sent before this moment have lost their sender.
    pub(crate) fn sent_before(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        now - self.abandoned_after
    }

    /// Until when whoever begins a request now may be at it.
    pub(crate) fn lease(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        now + self.abandoned_after
    }

    /// How often whoever takes longer says so.
    pub(crate) fn half_a_lease(&self) -> Duration {
        self.abandoned_after.to_std().unwrap_or_default() / 2
    }

    /// Whose payment it is; `None`: there is no such payment.
    pub(crate) async fn account_of(&self, payment_id: PaymentId) -> Result<Option<AccountId>, StoreError> {
        payments::account_of(&mut *self.services.db.conn().await?, payment_id).await
    }

    /// What the gateway is told for the receipt of an attempt or a refund, if anything.
    pub(crate) async fn receipt(&self, of: impl Into<ReceiptId>) -> Result<Option<SecretString>, StoreError> {
        receipts::kept(&mut *self.services.db.conn().await?, of.into(), &self.services.cipher).await
    }

    /// Whether this worker takes tasks from a queue.
    pub(crate) fn takes(&self, queue: &str) -> bool {
        self.queues.iter().any(|taken| taken == queue)
    }

    /// Tells the circuits what a response says of them, and operators of one that has turned. That it cannot be written down
    /// now keeps no response from being taken.
    pub(crate) async fn report(&self, watch: Watch, heard: &[(Circuit, Signal)], error: Option<&Error>) {
        if !watch.is_news(heard) {
            return;
        }
        let why = error.map(ToString::to_string).unwrap_or_default();
        let written = async {
            let mut conn = self.services.db.conn().await?;
            circuits::heard(&mut conn, watch, heard, &why, &self.breaker, self.now()).await
        };
        match written.await {
            Ok(turned) => {
                if !turned.is_empty() {
                    self.services.bell.ring();
                }
                turned.iter().for_each(|turned| self.tell(turned, &why));
            }
            Err(error) => tracing::warn!(%error, "what an answer says of the gateway could not be written down"),
        }
    }

    fn tell(&self, turned: &Turned, why: &str) {
        let (gateway, circuit) = (&*self.gateway_url, turned.circuit);
        let until = turned.breaker.until.map(|until| until.to_rfc3339());
        match (turned.turn, circuit) {
            (Turn::Opened, Circuit::Gateway) => {
                tracing::error!(gateway, %circuit, why, until, "nobody can pay: the gateway is left alone, payments wait");
            }
            (Turn::Opened, Circuit::KeptCards) => {
                tracing::error!(
                    gateway,
                    %circuit,
                    why,
                    until,
                    "the gateway takes charges of kept cards for wrong, whosever they are: renewals wait"
                );
            }
            (Turn::Closed, _) => tracing::info!(gateway, %circuit, "the gateway works again: payments go on"),
        }
    }

    /// Tells operators of a gateway that does not do as it should.
    pub(crate) fn alarm(&self, error: &Error) {
        let gateway = &*self.gateway_url;
        match error {
            Error::SafeToRetry { why: NotProcessed::Unreachable(_), .. } => {
                tracing::warn!(gateway, %error, "the gateway cannot be reached: payments wait for it");
            }
            Error::OutcomeUnknown { why: Doubt::Refusal(_) } => {
                tracing::warn!(gateway, %error, "the gateway refuses in words it does not document: the payment is in doubt");
            }
            _ => {}
        }
    }

    /// Says once whether the gateway can be worked with. Payments wait for it by themselves, so nobody waits for this. Where
    /// it was left alone the next payment finds out: who has started this worker may have mended it.
    pub(crate) async fn greet_the_gateway(self) {
        let gateway = &*self.gateway_url;
        let mut pause = Duration::from_secs(1);
        while let Err(error) = self.gateway.test().await {
            match error {
                Error::Unauthorized => {
                    tracing::error!(gateway, %error, "CLOUDPAYMENTS_PUBLIC_ID or CLOUDPAYMENTS_API_SECRET is wrong: nobody can pay");
                    self.report(Watch::UNASKED, &[(Circuit::Gateway, Signal::Refused)], Some(&error)).await;
                }
                Error::SafeToRetry { .. } => self.alarm(&error),
                _ => tracing::warn!(gateway, %error, "the gateway does not answer as it should"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        tracing::info!(gateway, "the gateway answers");
        let ended = async {
            let mut conn = self.services.db.conn().await?;
            circuits::end_pause(&mut conn, Circuit::Gateway, self.now()).await
        };
        if let Err(error) = ended.await {
            tracing::debug!(%error, "whether it was left alone could not be read");
        }
    }

    /// Wakes whoever follows the events, if there are any since this was last called. Called after a commit.
    pub(crate) fn tell_news(&self) {
        if trail::take_news() {
            self.services.bell.ring();
        }
    }

    /// The present, by the clock of the database: the times in the rows are other machines' too.
    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.services.db.now()
    }
}
