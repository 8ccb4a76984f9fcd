//! Figures of payments for whatever watches the workers, by the `metrics` facade as celeriac's.
//!
//! | name | kind | labels | what |
//! |---|---|---|---|
//! | `billing.payments` | counter | state, `reason_group`, kind | outcomes of attempts that this worker has written down; `reason_group` is empty where nothing was declined |
//! | `billing.gateway.duration` | histogram, s | path, outcome | requests to the gateway |
//! | `billing.renewals.planned` | counter | – | renewals that this worker has opened |
//! | `billing.payments.unknown` | gauge | – | payments of which nobody knows whether they were taken |
//! | `billing.payments.unknown.age` | gauge, s | – | how long the oldest of them is |
//! | `billing.renewals.late` | gauge | – | renewals that were due an hour ago and have not begun, 10,000 at most |
//! | `billing.events.behind` | gauge | reader | public events that a reader inside this system has not seen |
//! | `billing.events.lag` | gauge, s | reader | for how long it has not seen the first of them |
//! | `billing.events.unsequenced` | gauge | – | public events without a position |
//! | `billing.receipts.missing` | gauge | – | fiscal receipts that were not made an hour after their money moved, 10,000 at most |
//! | `billing.reconciliation.open` | gauge | – | differences between the gateway and our rows that nobody has decided about, 10,000 at most |
//! | `billing.refunds` | counter | state, source | refunds that this worker has brought from one state to another |
//! | `billing.notifications` | counter | kind, verdict | notifications that had their effect late, by the timetable; those taken at once are counted by the API, under the same name |
//! | `billing.gateway.circuit` | gauge | circuit | 0 closed, 1 open, 0.5 while one request finds out |
//!
//! The gauges are the database's, and the same in all workers: take the maximum, not the sum.

use std::time::Duration;

use billing::Services;
use billing::breaker::CircuitState;
use billing::models::RefundRow;
use billing::notification::{NoticeEffect, NoticeKind};
use billing::refund::{RefundSource, RefundState};
use billing::store::circuits;
use billing::store::gateway_calls::CallOutcome;
use billing::store::payments::PaymentView;
use billing::store::standing::{self, Standing};
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use crate::circuits::Circuits;

/// How often the database is asked.
const EVERY: Duration = Duration::from_secs(5);

const PAYMENTS: &str = "billing.payments";
const GATEWAY_DURATION: &str = "billing.gateway.duration";
const PLANNED: &str = "billing.renewals.planned";
const UNKNOWN: &str = "billing.payments.unknown";
const UNKNOWN_AGE: &str = "billing.payments.unknown.age";
const LATE: &str = "billing.renewals.late";
const BEHIND: &str = "billing.events.behind";
const UNSEQUENCED: &str = "billing.events.unsequenced";
const LAG: &str = "billing.events.lag";
const RECEIPTS_MISSING: &str = "billing.receipts.missing";
const DIFFERENCES_OPEN: &str = "billing.reconciliation.open";
const REFUNDS: &str = "billing.refunds";
const NOTIFICATIONS: &str = "billing.notifications";
const CIRCUIT: &str = "billing.gateway.circuit";

/// Tells the recorder that is installed what each figure is.
pub fn describe() {
    describe_counter!(PAYMENTS, Unit::Count, "Outcomes of attempts that were written down");
    describe_histogram!(GATEWAY_DURATION, Unit::Seconds, "Requests to the gateway");
    describe_counter!(PLANNED, Unit::Count, "Renewals that were opened");
    describe_gauge!(UNKNOWN, Unit::Count, "Payments of which nobody knows whether they were taken");
    describe_gauge!(UNKNOWN_AGE, Unit::Seconds, "How long the oldest of them is");
    describe_gauge!(LATE, Unit::Count, "Renewals that were due an hour ago and have not begun");
    describe_gauge!(BEHIND, Unit::Count, "Public events that a reader has not seen");
    describe_gauge!(UNSEQUENCED, Unit::Count, "Public events without a position");
    describe_gauge!(LAG, Unit::Seconds, "For how long a reader has not seen the first public event behind it");
    describe_gauge!(RECEIPTS_MISSING, Unit::Count, "Receipts that were not made an hour after their money moved");
    describe_gauge!(DIFFERENCES_OPEN, Unit::Count, "Differences between the gateway and our rows that are open");
    describe_counter!(REFUNDS, Unit::Count, "Refunds that went from one state to another");
    describe_counter!(NOTIFICATIONS, Unit::Count, "Notifications of the gateway, by what came of them");
    describe_gauge!(CIRCUIT, Unit::Count, "0 closed, 1 open, 0.5 while one request finds out");
}

/// An outcome is in the rows.
pub(crate) fn written_down(payment: &PaymentView) {
    let group = payment.decline.as_ref().map_or("", |decline| decline.group.as_str());
    let (state, kind) = (payment.state.as_str(), payment.kind.as_str());
    counter!(PAYMENTS, "state" => state, "reason_group" => group, "kind" => kind).increment(1);
}

pub(crate) fn gateway_called(path: &'static str, outcome: CallOutcome, took: Duration) {
    histogram!(GATEWAY_DURATION, "path" => path, "outcome" => outcome.as_str()).record(took);
}

/// A refund stands elsewhere than before.
pub(crate) fn refund_moved(refund: &RefundRow) {
    let (state, source) = (refund.state.as_str(), refund.source.as_str());
    counter!(REFUNDS, "state" => state, "source" => source).increment(1);
}

/// A notification had its effect after all.
pub(crate) fn notified(kind: NoticeKind, effect: NoticeEffect) {
    counter!(NOTIFICATIONS, "kind" => kind.as_str(), "verdict" => effect.as_str()).increment(1);
}

pub(crate) fn planned(renewals: usize) {
    counter!(PLANNED).increment(renewals as u64);
}

/// Asks the database how things stand, now and then, for ever. While it cannot be asked, they stay as they were.
pub(crate) async fn follow(services: Services, circuits: Circuits) {
    // A counter that is not there until it counts looks like one that nobody keeps.
    planned(0);
    for state in [RefundState::Succeeded, RefundState::Failed, RefundState::Unknown] {
        counter!(REFUNDS, "state" => state.as_str(), "source" => RefundSource::Ours.as_str()).increment(0);
    }
    for effect in [NoticeEffect::Applied, NoticeEffect::Orphan] {
        counter!(NOTIFICATIONS, "kind" => NoticeKind::Pay.as_str(), "verdict" => effect.as_str()).increment(0);
    }
    loop {
        let looked = async {
            let mut conn = services.db.conn().await?;
            let now = services.db.now();
            Ok::<_, billing::store::StoreError>((
                standing::look(&mut conn, now).await?,
                circuits::all(&mut conn).await?,
            ))
        };
        match looked.await {
            Ok((standing, all)) => {
                tell(&standing);
                all.iter().for_each(tell_circuit);
                circuits.are(all);
            }
            Err(error) => tracing::debug!(%error, "it cannot be read how things stand"),
        }
        tokio::time::sleep(EVERY).await;
    }
}

#[expect(clippy::cast_precision_loss, reason = "gauges are floats; nothing here comes near 2^53")]
fn tell(standing: &Standing) {
    gauge!(UNKNOWN).set(standing.unknown as f64);
    gauge!(UNKNOWN_AGE).set(standing.oldest_unknown.as_seconds_f64());
    gauge!(LATE).set(standing.late_renewals as f64);
    gauge!(UNSEQUENCED).set(standing.unsequenced as f64);
    gauge!(RECEIPTS_MISSING).set(standing.missing_receipts as f64);
    gauge!(DIFFERENCES_OPEN).set(standing.open_differences as f64);
    for (reader, lag) in &standing.lags {
        gauge!(LAG, "reader" => reader.clone()).set(lag.as_seconds_f64());
    }
    for (reader, behind) in &standing.readers {
        gauge!(BEHIND, "reader" => reader.clone()).set(*behind as f64);
    }
}

fn tell_circuit(standing: &circuits::Standing) {
    let open = match standing.breaker.state {
        CircuitState::Closed => 0.0,
        CircuitState::HalfOpen => 0.5,
        CircuitState::Open => 1.0,
    };
    gauge!(CIRCUIT, "circuit" => standing.circuit.as_str()).set(open);
}
