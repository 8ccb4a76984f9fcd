//! A person asks to be forgotten.

use billing::account::AccountStatus;
use billing::bill::BillStatus;
use billing::payment::{CardMask, Outcome, PaymentState};
use billing::store::closing::wipe_traces;
use billing::store::payments::{self, Begin3ds, CreateError, Effect, NewPayment, Resend, SubmitError};
use billing::store::subscriptions::{self, Request, Subscription, Verb, VerbError};
use billing::{AccountId, resolve::ResolvePolicy};
use chrono::{DateTime, Duration, TimeDelta, Utc};
use uuid::Uuid;

use crate::shop::{Shop, month, purchase, refused, took, unknown};
use crate::support::{hours, minutes, noon, sample};

const KEPT: TimeDelta = TimeDelta::days(30);

impl Shop {
    pub(crate) async fn closes(&self, id: AccountId, at_once: bool, now: DateTime<Utc>) -> Subscription {
        let request = request(id, now);
        subscriptions::close(&mut *self.conn().await, &request, at_once).await.unwrap().subscription
    }

    async fn kinds(&self, id: AccountId) -> Vec<String> {
        let story = format!("select string_agg(kind, ' ' order by id) from event where account_id = '{id}'");
        self.text(&story).await.unwrap_or_default().split(' ').map(str::to_owned).collect()
    }

    async fn forgets(&self, now: DateTime<Utc>) -> Vec<AccountId> {
        wipe_traces(&mut *self.conn().await, now, KEPT, 100).await.unwrap()
    }

    /// Addresses and masks that are there of an account.
    async fn traces(&self, id: AccountId) -> i64 {
        self.count(&format!("bill where account_id = '{id}' and ip_address is not null")).await
            + self
                .count(&format!(
                    "payment join bill on bill.id = bill_id where account_id = '{id}' and payment.card is not null"
                ))
                .await
            + self.count(&format!("account where id = '{id}' and card is not null")).await
    }
}

fn request(account_id: AccountId, now: DateTime<Utc>) -> Request {
    Request { account_id, client: "frontend".into(), idempotency_key: Uuid::new_v4().to_string(), now }
}

/// The gateway took what was asked for, and shows the card.
fn took_with_mask(payment: &payments::PaymentView, transaction_id: i64) -> Outcome {
    let mask = CardMask { last_four: Some("4242".into()), ..CardMask::default() };
    match took(payment, transaction_id) {
        Outcome::Completed { transaction_id, token, amount, currency, .. } => {
            Outcome::Completed { transaction_id, token, amount, currency, card: Some(mask) }
        }
        other => other,
    }
}

async fn subscriber(shop: &Shop) -> AccountId {
    let account = shop.account().await;
    let payment = shop.create(purchase(account)).await.unwrap().payment;
    shop.charge(payment.id, took_with_mask(&payment, 1), noon()).await;
    account
}

#[tokio::test(flavor = "multi_thread")]
async fn access_goes_on_until_the_paid_end_and_nothing_is_charged() {
    let shop = Shop::open().await;
    let id = subscriber(&shop).await;
    let paid_until = shop.account_of(id).await.paid_until.unwrap();
    let closed = shop.closes(id, false, noon() + hours(1)).await;
    assert_eq!((closed.account.closed_at, closed.card), (Some(noon() + hours(1)), None));
    assert!(!closed.account.has_token && !closed.account.renews() && closed.account.next_charge_at.is_none());
    let account = shop.account_of(id).await;
    assert!(account.access(paid_until - minutes(1)).has_access, "what is paid is given");
    assert!(!account.access(paid_until).has_access);
    assert!(shop.open_due(paid_until).await.is_empty());
    assert_eq!(shop.close(paid_until).await, [id]);
    let kinds = shop.kinds(id).await;
    assert_eq!(
        kinds[kinds.len() - 5..],
        ["account_closed", "card_forgotten", "access_ends", "account_moved", "access_ended"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn access_ends_at_once_if_that_is_asked_also_later() {
    let shop = Shop::open().await;
    let (id, later) = (subscriber(&shop).await, subscriber_of(&shop, 2).await);
    let now = noon() + hours(1);
    for (id, first) in [(id, None), (later, Some(false))] {
        if let Some(at_once) = first {
            shop.closes(id, at_once, now).await;
        }
        let closed = shop.closes(id, true, now + hours(1)).await.account;
        assert!(!closed.access(now + hours(1)).has_access, "{closed:?}");
        assert_eq!(closed.status, AccountStatus::Canceled);
        assert_eq!(shop.kinds(id).await.iter().filter(|kind| *kind == "access_ended").count(), 1);
        let again = shop.closes(id, true, now + hours(2)).await.account;
        assert_eq!(again, closed, "what is so already changes nothing");
    }
}

async fn subscriber_of(shop: &Shop, transaction_id: i64) -> AccountId {
    shop.subscribed(month(), transaction_id).await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_closes_once_and_is_no_key_of_another_wish() {
    let shop = Shop::open().await;
    let id = subscriber(&shop).await;
    let request = request(id, noon() + hours(1));
    let mut conn = shop.conn().await;
    let first = subscriptions::close(&mut conn, &request, false).await.unwrap();
    let again = subscriptions::close(&mut conn, &request, false).await.unwrap();
    assert_eq!((first.replayed, again.replayed), (false, true));
    let other = subscriptions::close(&mut conn, &request, true).await;
    assert!(matches!(other, Err(VerbError::IdempotencyConflict)), "{other:?}");
    assert_eq!(shop.kinds(id).await.iter().filter(|kind| *kind == "account_closed").count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_verb_and_every_purchase_is_refused_afterwards() {
    let shop = Shop::open().await;
    for (id, at_once) in [(subscriber(&shop).await, false), (shop.account().await, true)] {
        let earlier = request(id, noon() + hours(1));
        let cancelled = subscriptions::perform(&mut *shop.conn().await, &earlier, Verb::ForgetCard).await;
        cancelled.unwrap();
        shop.closes(id, at_once, noon() + hours(1)).await;
        let before = shop.everything().await;
        for verb in [Verb::Cancel, Verb::Resume, Verb::ForgetCard] {
            let refused = subscriptions::perform(&mut *shop.conn().await, &request(id, noon() + hours(2)), verb).await;
            assert!(matches!(refused, Err(VerbError::Closed)), "{verb:?}: {refused:?}");
        }
        let refused = shop.create(NewPayment { now: noon() + hours(2), ..purchase(id) }).await;
        assert!(matches!(refused, Err(CreateError::Closed)), "{refused:?}");
        assert_eq!(shop.everything().await, before, "nothing was written");
        let replayed = subscriptions::perform(&mut *shop.conn().await, &earlier, Verb::ForgetCard).await.unwrap();
        assert!(replayed.replayed, "what was done before is told as before");
    }
}

/// C27: closed while a renewal is due.
#[tokio::test(flavor = "multi_thread")]
async fn c27_a_renewal_that_is_due_is_not_charged() {
    let shop = Shop::open().await;
    let id = subscriber(&shop).await;
    let due = shop.account_of(id).await.next_charge_at.unwrap();
    let opened = shop.open_due(due).await;
    assert_eq!(opened.len(), 1, "its message waits for a worker");
    shop.closes(id, false, due).await;
    let begun = shop.begin(opened[0], due).await;
    assert!(matches!(begun, payments::Begin::NotNow(state) if state.is_failure()), "{begun:?}");
    assert_eq!(shop.view(opened[0]).await.bill_status, BillStatus::Void);
    assert!(shop.open_due(due + hours(24)).await.is_empty());
    assert_eq!(shop.count(&format!("bill where account_id = '{id}'")).await, 2, "the history stays");
    assert!(!shop.kinds(id).await.contains(&"renewal_refused".to_owned()), "nobody is told of a refusal");
}

/// C27: the renewal was on its way. Its money is nobody's debt.
#[tokio::test(flavor = "multi_thread")]
async fn c27_a_late_success_is_to_be_given_back_and_a_refusal_ends_it() {
    let shop = Shop::open().await;
    for (transaction_id, is_taken) in [(10, true), (20, false)] {
        let id = shop.subscribed(month(), transaction_id).await;
        let before = shop.account_of(id).await;
        let due = before.next_charge_at.unwrap();
        let opened = shop.open_due(due).await;
        let renewal = shop.send(opened[0], due).await.payment_id;
        shop.apply(renewal, unknown(due), due).await;
        shop.closes(id, false, due + minutes(1)).await;
        let mut conn = shop.conn().await;
        let policy = ResolvePolicy::default();
        let resent =
            payments::begin_resend(&mut conn, renewal, &policy, &shop.cipher, due + minutes(10)).await.unwrap();
        assert!(matches!(resent, Resend::CardIsGone), "nothing is repeated: {resent:?}");
        drop(conn);
        let view = shop.view(renewal).await;
        let late = if is_taken { took_with_mask(&view, transaction_id + 1) } else { refused(5051) };
        let applied = shop.apply(renewal, late, due + minutes(20)).await;
        assert_eq!(applied.payment.bill_status, BillStatus::Void);
        let after = shop.account_of(id).await;
        assert_eq!((after.paid_until, after.period_no, after.has_token), (before.paid_until, 1, false));
        if is_taken {
            assert_eq!(applied.payment.state, PaymentState::SucceededDuplicate);
            assert!(matches!(*applied.effects, [Effect::RefundOwed { .. }]), "{:?}", applied.effects);
        } else {
            assert_eq!((applied.payment.state, applied.effects), (PaymentState::Declined, Vec::new()));
            assert_eq!(after.status, AccountStatus::Active, "what is paid is given");
        }
        assert_eq!(shop.traces(id).await, 1, "only the address of the first payment: a late answer leaves no new mask");
    }
}

/// C27: closed while 3-D Secure is open.
#[tokio::test(flavor = "multi_thread")]
async fn c27_an_open_bank_page_leads_nowhere() {
    let shop = Shop::open().await;
    let payment = shop.on_the_bank_page().await;
    shop.closes(payment.account_id, true, noon() + minutes(1)).await;
    let ended = shop.view(payment.id).await;
    assert_eq!((ended.state, ended.bill_status), (PaymentState::Abandoned, BillStatus::Void));
    let mut conn = shop.conn().await;
    let answer = "PaRes: authenticated".into();
    let now = noon() + minutes(2);
    let late = payments::submit_pa_res(&mut conn, payment.id, sample::TRANSACTION, answer, &shop.cipher, now).await;
    assert!(matches!(late, Err(SubmitError::NotAwaiting(_))), "{late:?}");
    drop(conn);
    // The gateway had the answer past us.
    let applied = shop.apply(payment.id, took(&payment, sample::TRANSACTION), noon() + minutes(3)).await;
    assert_eq!(applied.payment.state, PaymentState::SucceededDuplicate);
    assert!(matches!(*applied.effects, [Effect::RefundOwed { .. }]), "{:?}", applied.effects);
}

/// C27: the customer has answered the page, and nobody has passed the answer on.
#[tokio::test(flavor = "multi_thread")]
async fn c27_an_answer_of_the_page_is_not_passed_on() {
    let shop = Shop::open().await;
    let payment = shop.on_the_bank_page().await;
    shop.answer(payment.id, noon() + minutes(1)).await;
    shop.closes(payment.account_id, false, noon() + minutes(2)).await;
    let begun = shop.post(payment.id, noon() + minutes(3)).await;
    assert!(matches!(begun, Begin3ds::GiveUp { .. }), "{begun:?}");
    let never = Outcome::NeverAuthenticated { transaction_id: sample::TRANSACTION };
    let applied = shop.apply(payment.id, never, noon() + minutes(3)).await;
    assert_eq!(applied.payment.bill_status, BillStatus::Void);
}

#[tokio::test(flavor = "multi_thread")]
async fn persons_are_forgotten_later_and_what_is_financial_stays() {
    let shop = Shop::open().await;
    let (closed, other) = (subscriber(&shop).await, subscriber_of(&shop, 2).await);
    shop.closes(closed, false, noon() + hours(1)).await;
    assert!(shop.forgets(noon() + hours(1) + KEPT - minutes(1)).await.is_empty(), "not yet");
    assert_eq!(shop.traces(closed).await, 2, "address and mask of its payment");
    let now = noon() + hours(1) + KEPT;
    assert_eq!(shop.forgets(now).await, [closed]);
    assert_eq!((shop.traces(closed).await, shop.traces(other).await), (0, 1));
    assert_eq!(shop.count(&format!("bill where account_id = '{closed}' and status = 'Paid'")).await, 1);
    assert!(shop.forgets(now + hours(1)).await.is_empty(), "once");
}

#[tokio::test(flavor = "multi_thread")]
async fn forgetting_waits_for_doubt_and_for_money_that_has_to_go_back() {
    let shop = Shop::open().await;
    let id = subscriber(&shop).await;
    let due = shop.account_of(id).await.next_charge_at.unwrap();
    let renewal = shop.open_due(due).await[0];
    shop.send(renewal, due).await;
    shop.closes(id, true, due).await;
    let now = due + KEPT + hours(1);
    assert!(shop.forgets(now).await.is_empty(), "on its way");
    shop.apply(renewal, unknown(due), due + minutes(1)).await;
    assert!(shop.forgets(now).await.is_empty(), "in doubt");
    shop.apply(renewal, refused(5051), now).await;
    assert!(shop.forgets(now + Duration::days(29)).await.is_empty(), "it has only just ended");
    assert_eq!(shop.forgets(now + KEPT).await, [id]);

    let payment = shop.on_the_bank_page().await;
    shop.closes(payment.account_id, true, noon() + minutes(1)).await;
    shop.apply(payment.id, took(&payment, sample::TRANSACTION), noon() + minutes(2)).await;
    assert!(shop.forgets(noon() + KEPT * 3).await.is_empty(), "money that nobody owes has to go back");
}

/// Two workers at the same time, and a transaction that never happened.
#[tokio::test(flavor = "multi_thread")]
async fn forgetting_is_done_in_chunks_once_whoever_does_it() {
    let shop = Shop::open().await;
    let mut ids = Vec::new();
    for n in 0..6 {
        let id = subscriber_of(&shop, n + 1).await;
        shop.closes(id, true, noon() + minutes(n)).await;
        ids.push(id);
    }
    let now = noon() + KEPT + hours(1);
    let (mut one, mut another) = (shop.conn().await, shop.conn().await);
    let (a, b) = tokio::join!(wipe_traces(&mut one, now, KEPT, 2), wipe_traces(&mut another, now, KEPT, 2));
    let mut done = [a.unwrap(), b.unwrap()].concat();
    while done.len() < ids.len() {
        let more = wipe_traces(&mut one, now, KEPT, 2).await.unwrap();
        assert!(!more.is_empty(), "{done:?}");
        done.extend(more);
    }
    done.sort_unstable();
    ids.sort_unstable();
    assert_eq!(done, ids, "each once");
}

/// The log may tell of everything, but of no person.
#[tokio::test(flavor = "multi_thread")]
async fn events_hold_ids_dates_and_amounts_only() {
    let shop = Shop::open().await;
    let id = subscriber(&shop).await;
    let due = shop.account_of(id).await.next_charge_at.unwrap();
    let renewal = shop.open_due(due).await[0];
    shop.charge(renewal, refused(5051), due).await;
    shop.closes(id, false, due + hours(1)).await;
    let said = "(select jsonb_object_keys(detail) as name, jsonb_typeof(detail) from event) said";
    // What a customer is told of a refusal are our own words, by its code.
    let known =
        "'tariff_id', 'expires_on', 'amount', 'currency', 'reason_code', 'next_charge_at', 'periods', 'period_no',
        'message_en', 'message_ru', 'customer_action'";
    let unknown = shop.text(&format!("select string_agg(name, ' ') from {said} where name not in ({known})")).await;
    assert_eq!(unknown, None, "is that an id, a date, an amount or a code?");
    for trace in ["203.0.113.7", "4242", "tk_1"] {
        assert_eq!(shop.count(&format!("event where detail::text like '%{trace}%'")).await, 0, "{trace}");
    }
}
