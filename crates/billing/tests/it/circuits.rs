//! A gateway that is left alone: payments wait, count for nothing, and one of them finds out.

use billing::breaker::{BreakerPolicy, Circuit, CircuitState, Signal, Turn};
use billing::event::{EventKind, Source};
use billing::payment::PaymentState;
use billing::store::circuits::{self, Watch};
use billing::store::payments::{self, Begin, Begin3ds, NewPayment, Resolve};
use billing::{PaymentId, store};
use chrono::{DateTime, TimeDelta, Utc};

use crate::shop::{Shop, month, purchase, took, unknown};
use crate::support::{at, hours, minutes, noon, sample};

const POLICY: BreakerPolicy = BreakerPolicy { failures: 3, calls: 8, share: 50, pause: TimeDelta::minutes(10) };

impl Shop {
    async fn hear(&self, watch: Watch, which: Circuit, signal: Signal, now: DateTime<Utc>) -> Vec<Turn> {
        let mut conn = self.conn().await;
        let turned = circuits::heard(&mut conn, watch, &[(which, signal)], "HTTP status 503", &POLICY, now).await;
        turned.unwrap().iter().map(|turned| turned.turn).collect()
    }

    /// Opens a circuit at `now`, for ten minutes.
    async fn leave_alone(&self, which: Circuit, now: DateTime<Utc>) {
        let mut turns = Vec::new();
        for _ in 0..5 {
            turns.extend(self.hear(Watch::UNASKED, which, Signal::Failed, now).await);
        }
        assert_eq!(turns, [Turn::Opened], "once");
    }

    async fn circuit(&self, which: Circuit) -> CircuitState {
        circuits::get(&mut *self.conn().await, which).await.unwrap().state
    }

    async fn woken(&self, now: DateTime<Utc>) -> Vec<PaymentId> {
        let mut conn = self.conn().await;
        let found = payments::stranded(&mut conn, now, now, true, 10).await.unwrap();
        let ids: Vec<PaymentId> = found.iter().map(|stranded| stranded.payment_id).collect();
        payments::told(&mut conn, &ids, now).await.unwrap();
        ids
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn payments_wait_and_count_for_nothing_until_one_of_them_has_found_out() {
    let shop = Shop::open().await;
    let (first, second) = (shop.created().await, shop.created().await);
    shop.leave_alone(Circuit::Gateway, noon()).await;
    for id in [first.id, second.id] {
        for _ in 0..3 {
            assert!(matches!(shop.begin(id, noon() + minutes(1)).await, Begin::NotNow(PaymentState::Created)));
        }
        let waits = shop.view(id).await;
        assert_eq!((waits.state, waits.look_again_at), (PaymentState::Created, Some(noon() + minutes(10))));
        assert_eq!(shop.count(&format!("payment where id = '{id}' and sends = 0 and first_sent_at is null")).await, 1);
    }
    assert_eq!(shop.count("tries").await, 0);
    assert_eq!(shop.woken(noon() + minutes(9)).await, [], "nobody is told of them meanwhile");

    let over = noon() + minutes(10);
    let [finds_out] = shop.woken(over).await[..] else { panic!("one") };
    let order = shop.send(finds_out, over).await;
    assert_eq!(shop.circuit(Circuit::Gateway).await, CircuitState::HalfOpen);
    let other = if finds_out == first.id { second.id } else { first.id };
    assert!(matches!(shop.begin(other, over).await, Begin::NotNow(PaymentState::Created)), "one at a time");
    assert_eq!(shop.hear(order.watch, Circuit::Gateway, Signal::Well, over).await, [Turn::Closed]);
    shop.apply(finds_out, took(&first, 1), over).await;
    let later = over + minutes(1);
    assert_eq!(shop.woken(later).await, [other]);
    shop.charge(other, took(&second, 2), later).await;

    let alarms: Vec<_> =
        store::events::read(&mut *shop.conn().await, 0, &[EventKind::NeedsAttention], None, 10).await.unwrap();
    assert_eq!(alarms, [], "they have no place in the log before they are put in order");
    store::events::sequence(&mut *shop.conn().await, 100).await.unwrap();
    let alarms = store::events::read(&mut *shop.conn().await, 0, &[EventKind::NeedsAttention], None, 10).await.unwrap();
    assert_eq!(alarms.len(), 1, "once, when it opened");
    assert_eq!((alarms[0].account_id, &alarms[0].detail["circuit"]), (None, &"gateway".into()));
    assert_ne!(alarms[0].source, Source::Staff);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_fails_every_other_request_is_left_alone_too() {
    let shop = Shop::open().await;
    let mut turns = Vec::new();
    for n in 0..7 {
        let signal = if n % 2 == 0 { Signal::Failed } else { Signal::Well };
        turns.push(shop.hear(Watch::UNASKED, Circuit::Gateway, signal, noon() + TimeDelta::seconds(n)).await);
    }
    assert_eq!(turns.concat(), [Turn::Opened], "once");
    assert_eq!(turns[6], [Turn::Opened], "with the fourth of eight");
    assert_eq!(shop.circuit(Circuit::Gateway).await, CircuitState::Open);
    assert_eq!(shop.circuit(Circuit::KeptCards).await, CircuitState::Closed);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_all_who_come_when_the_pause_is_over_one_is_sent() {
    let shop = Shop::open().await;
    shop.leave_alone(Circuit::Gateway, noon()).await;
    let mut waiting = Vec::new();
    for _ in 0..6 {
        waiting.push(shop.created().await.id);
    }
    let over = noon() + minutes(10);
    let begun = futures_util::future::join_all(waiting.iter().map(|id| shop.begin(*id, over))).await;
    assert_eq!(begun.iter().filter(|begun| matches!(begun, Begin::Send(_))).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_in_vain_has_all_wait_longer_and_is_no_second_alarm() {
    let shop = Shop::open().await;
    let payment = shop.created().await;
    shop.leave_alone(Circuit::Gateway, noon()).await;
    let over = noon() + minutes(10);
    let order = shop.send(payment.id, over).await;
    assert_eq!(shop.hear(order.watch, Circuit::Gateway, Signal::Failed, over).await, []);
    let again = shop.created().await;
    assert!(matches!(shop.begin(again.id, over + minutes(19)).await, Begin::NotNow(PaymentState::Created)));
    assert!(matches!(shop.begin(again.id, over + minutes(20)).await, Begin::Send(_)));
    assert_eq!(shop.count("event where kind = 'needs_attention'").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn looks_and_answers_of_the_banks_page_wait_too() {
    let shop = Shop::open().await;
    let doubtful = shop.created().await;
    shop.charge(doubtful.id, unknown(noon()), noon()).await;
    let on_the_page = shop.on_the_bank_page().await;
    shop.answer(on_the_page.id, noon() + minutes(1)).await;
    shop.leave_alone(Circuit::Gateway, noon() + minutes(1)).await;
    let now = noon() + minutes(2);
    let look = async |now| {
        let mut conn = shop.conn().await;
        payments::begin_resolving(&mut conn, doubtful.id, now - minutes(2), now).await.unwrap()
    };
    assert!(matches!(look(now).await, Resolve::NotNow(PaymentState::Unknown)));
    assert_eq!(shop.view(doubtful.id).await.look_again_at, Some(noon() + minutes(11)));
    assert_eq!(shop.count("tries").await, 0, "no look in vain");
    assert!(matches!(shop.post(on_the_page.id, now).await, Begin3ds::NotNow(PaymentState::PostingThreeDs)));

    let over = noon() + minutes(11);
    assert!(matches!(look(over).await, Resolve::Look(_)), "that it is answered says nothing of charges");
    assert_eq!(shop.circuit(Circuit::Gateway).await, CircuitState::Open);
    assert!(
        matches!(shop.post(on_the_page.id, over).await, Begin3ds::Post(order) if order.transaction_id == sample::TRANSACTION)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn customers_pay_while_charges_of_kept_cards_wait() {
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), 1).await;
    let due = at("2026-04-09T21:00:00Z");
    let renewal = shop.open_due(due).await[0];
    shop.leave_alone(Circuit::KeptCards, due).await;
    assert!(matches!(shop.begin(renewal, due).await, Begin::NotNow(PaymentState::Created)));
    let access = shop.account_of(account).await.access_until;
    let new = shop.account().await;
    let typed = shop.create(NewPayment { now: due, ..purchase(new) }).await.unwrap().payment;
    shop.charge(typed.id, took(&typed, 5), due).await;
    assert_eq!(shop.circuit(Circuit::KeptCards).await, CircuitState::Open, "that says nothing of kept cards");
    assert_eq!(shop.woken(due + minutes(9)).await, []);
    assert_eq!(shop.woken(due + hours(1)).await, [renewal]);
    let order = shop.send(renewal, due + hours(1)).await;
    shop.hear(order.watch, Circuit::KeptCards, Signal::Well, due + hours(1)).await;
    assert_eq!(shop.account_of(account).await.access_until, access, "waiting gives no access");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_starts_anew_ends_the_pause() {
    let shop = Shop::open().await;
    let payment = shop.created().await;
    let ended = async |now| circuits::end_pause(&mut *shop.conn().await, Circuit::Gateway, now).await.unwrap();
    assert!(!ended(noon()).await, "there is none");
    shop.leave_alone(Circuit::Gateway, noon()).await;
    assert!(ended(noon() + minutes(1)).await);
    assert!(matches!(shop.begin(payment.id, noon() + minutes(1)).await, Begin::Send(_)));
}
