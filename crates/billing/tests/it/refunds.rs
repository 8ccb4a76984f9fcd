//! Money that goes back: by whom, how much, once, and what becomes of the bill and the access.

use billing::account::AccountStatus;
use billing::bill::BillStatus;
use billing::models::RefundRow;
use billing::payment::{Outcome, PaymentState};
use billing::refund::{AccessEffect, RefundOutcome, RefundSource, RefundState, RefundWay};
use billing::resolve::ResolvePolicy;
use billing::store::payments::PaymentView;
use billing::store::refunds::{
    self, Ask, BeginRefund, Chargeback, GatewayRefund, KnownFrom, Recognised, RefundError, RefundOrder,
};
use billing::store::subscriptions::{self, VerbError};
use billing::{AccountId, Currency, Kopecks, PaymentId, RefundId};
use chrono::{DateTime, Duration, Utc};
use uuid::Uuid;

use crate::shop::{Shop, month, purchase, refused, took, unknown, year};
use crate::support::{at, hours, minutes, noon};

impl Shop {
    /// A month that was paid at noon with the gateway's transaction `transaction_id`.
    async fn paid(&self, transaction_id: i64) -> PaymentView {
        let payment = self.created().await;
        self.charge(payment.id, took(&payment, transaction_id), noon()).await.payment
    }

    async fn asks(&self, ask: &Ask) -> Result<RefundRow, RefundError> {
        refunds::request(&mut *self.conn().await, ask).await.map(|requested| requested.refund)
    }

    async fn begin_refund(&self, id: RefundId, now: DateTime<Utc>) -> BeginRefund {
        refunds::begin(&mut *self.conn().await, id, now - minutes(6), now).await.unwrap()
    }

    async fn send_refund(&self, id: RefundId, now: DateTime<Utc>) -> RefundOrder {
        match self.begin_refund(id, now).await {
            BeginRefund::Send(order) => *order,
            other => panic!("{other:?}"),
        }
    }

    async fn refund_hears(&self, id: RefundId, outcome: RefundOutcome, now: DateTime<Utc>) -> RefundRow {
        refunds::apply(&mut *self.conn().await, id, outcome, None, now).await.unwrap().refund
    }

    /// Asked for, sent, done.
    async fn refunds(&self, ask: &Ask, number: i64) -> RefundRow {
        let refund = self.asks(ask).await.unwrap();
        self.send_refund(refund.id, ask.now).await;
        self.refund_hears(refund.id, RefundOutcome::Done { gateway_tx_id: Some(number) }, ask.now).await
    }

    async fn told_of(&self, told: &GatewayRefund, now: DateTime<Utc>) -> Recognised {
        refunds::recognise(&mut *self.conn().await, told, KnownFrom::Notification, now).await.unwrap()
    }

    async fn refunds_of(&self, id: PaymentId) -> Vec<RefundRow> {
        refunds::of_payment(&mut *self.conn().await, id).await.unwrap()
    }

    async fn events(&self, kind: &str) -> i64 {
        self.count(&format!("event where kind = '{kind}'")).await
    }
}

fn ask(payment_id: PaymentId) -> Ask {
    Ask {
        payment_id,
        amount: None,
        effect: None,
        reason: "the film did not start".into(),
        who: "anna".into(),
        role: "accountant".into(),
        client: "panel".into(),
        idempotency_key: Uuid::new_v4().to_string(),
        now: noon() + hours(1),
    }
}

fn part(payment_id: PaymentId, kopecks: i64) -> Ask {
    Ask { amount: Some(Kopecks::new(kopecks)), ..ask(payment_id) }
}

fn of(payment: &PaymentView, number: i64, kopecks: i64) -> GatewayRefund {
    GatewayRefund {
        gateway_tx_id: number,
        payment_tx_id: payment.transaction_id,
        invoice_id: Some(payment.invoice_no.to_string()),
        account_id: Some(payment.account_id.to_string()),
        json_data: None,
        amount: Kopecks::new(kopecks),
    }
}

fn ours(payment: &PaymentView, refund: &RefundRow, number: i64) -> GatewayRefund {
    let json_data = Some(format!(r#"{{"refund_id":"{}"}}"#, refund.id));
    GatewayRefund { json_data, ..of(payment, number, refund.amount.get()) }
}

fn no_answer(now: DateTime<Utc>) -> RefundOutcome {
    RefundOutcome::Unknown { why: "no answer in time".into(), look_again_at: now + minutes(1) }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_of_the_present_period_goes_back_and_its_access_ends() {
    let shop = Shop::open().await;
    let payment = shop.paid(1).await;
    let refund = shop.asks(&ask(payment.id)).await.unwrap();
    assert_eq!((refund.state, refund.effect, refund.amount.get()), (RefundState::Requested, AccessEffect::End, 39_900));
    let order = shop.send_refund(refund.id, ask(payment.id).now).await;
    assert_eq!((order.transaction_id, order.way, order.resend_no), (1, RefundWay::Refund, 1));
    assert_eq!(order.request_id, format!("refund:{}", refund.id));
    assert_eq!(shop.view(payment.id).await.bill_status, BillStatus::Paid, "nothing is back yet");
    let now = noon() + hours(2);
    let done = shop.refund_hears(refund.id, RefundOutcome::Done { gateway_tx_id: Some(2) }, now).await;
    assert_eq!((done.state, done.gateway_tx_id, done.finished_at), (RefundState::Succeeded, Some(2), Some(now)));
    let view = shop.view(payment.id).await;
    assert_eq!((view.state, view.bill_status), (PaymentState::Succeeded, BillStatus::Refunded));
    let account = shop.account_of(payment.account_id).await;
    assert_eq!((account.status, account.next_charge_at), (AccountStatus::Canceled, None));
    assert!(!account.access(now).has_access);
    let story = "select string_agg(kind || coalesce(' ' || to_state, ''), ', ' order by id) from event where at = \
                 '2026-03-10T14:00:00Z'";
    let story = shop.text(&story.replace("2026-03-10T14:00:00Z", &now.to_rfc3339())).await;
    assert_eq!(
        story.as_deref(),
        Some("refund_moved succeeded, refund_succeeded, bill_moved Refunded, account_moved Canceled, access_ended")
    );
    shop.refund_hears(refund.id, RefundOutcome::Done { gateway_tx_id: Some(2) }, now).await;
    assert_eq!(shop.events("refund_succeeded").await, 1, "hearing of it again changes nothing");
    shop.create(purchase(payment.account_id)).await.unwrap();
}

/// C15's sums, by our own hand.
#[tokio::test(flavor = "multi_thread")]
async fn parts_go_back_up_to_what_was_taken_and_the_last_ends_the_access() {
    let shop = Shop::open().await;
    let payment = shop.paid(1).await;
    shop.refunds(&part(payment.id, 10_000), 2).await;
    assert_eq!(shop.view(payment.id).await.bill_status, BillStatus::PartiallyRefunded);
    assert!(shop.account_of(payment.account_id).await.access(noon() + hours(2)).has_access, "a part keeps it");
    let more = shop.asks(&part(payment.id, 29_901)).await;
    assert!(matches!(more, Err(RefundError::MoreThanLeft { left }) if left.get() == 29_900), "{more:?}");
    let none = shop.asks(&part(payment.id, 0)).await;
    assert!(matches!(none, Err(RefundError::MoreThanLeft { .. })), "{none:?}");
    shop.refunds(&part(payment.id, 29_900), 3).await;
    assert_eq!(shop.view(payment.id).await.bill_status, BillStatus::Refunded);
    assert!(!shop.account_of(payment.account_id).await.access(noon() + hours(2)).has_access, "all of it is back");
    let nothing = shop.asks(&ask(payment.id)).await;
    assert!(matches!(nothing, Err(RefundError::MoreThanLeft { left }) if left.get() == 0), "{nothing:?}");
}

/// C17: two operators, and one key twice.
#[tokio::test(flavor = "multi_thread")]
async fn c17_of_two_operators_one_gives_it_back_and_the_other_is_told_so() {
    let shop = Shop::open().await;
    let payment = shop.paid(1).await;
    let (anna, boris) = (ask(payment.id), Ask { who: "boris".into(), ..ask(payment.id) });
    let (one, other) = tokio::join!(shop.asks(&anna), shop.asks(&boris));
    let (won, lost) = if one.is_ok() { (one, other) } else { (other, one) };
    let won = won.unwrap();
    assert!(matches!(lost, Err(RefundError::Unfinished { refund_id, .. }) if refund_id == won.id), "{lost:?}");
    assert_eq!(shop.refunds_of(payment.id).await.len(), 1);

    let payment = shop.paid(2).await;
    let asked = ask(payment.id);
    let first = shop.asks(&asked).await.unwrap();
    let again = refunds::request(&mut *shop.conn().await, &asked).await.unwrap();
    assert!(again.replayed && again.refund == first);
    let other = Ask { amount: Some(Kopecks::new(1)), ..asked };
    assert!(matches!(shop.asks(&other).await, Err(RefundError::IdempotencyConflict)));
    let elsewhere = Ask { payment_id: shop.paid(3).await.id, ..ask(payment.id) };
    let elsewhere = Ask { idempotency_key: other.idempotency_key, ..elsewhere };
    assert!(matches!(shop.asks(&elsewhere).await, Err(RefundError::IdempotencyConflict)));
}

/// C18: refused before anything is sent, each for its reason.
#[tokio::test(flavor = "multi_thread")]
async fn c18_what_cannot_go_back_is_refused_with_its_reason() {
    let shop = Shop::open().await;
    let doubted = shop.created().await;
    shop.charge(doubted.id, unknown(noon()), noon()).await;
    assert!(matches!(shop.asks(&ask(doubted.id)).await, Err(RefundError::InDoubt(id)) if id == doubted.id));

    let old = shop.paid(1).await;
    let asked = Ask { now: noon() + Duration::days(365), ..ask(old.id) };
    assert!(matches!(shop.asks(&asked).await, Err(RefundError::TooOld(_))));
    let asked = Ask { now: noon() + Duration::days(365) - minutes(1), ..asked };
    shop.asks(&asked).await.unwrap();

    let declined = shop.created().await;
    shop.charge(declined.id, refused(5051), noon()).await;
    let state = PaymentState::Declined;
    assert!(matches!(shop.asks(&ask(declined.id)).await, Err(RefundError::NotTaken { state: is, .. }) if is == state));

    let duplicate = shop.duplicate().await;
    let refused = shop.asks(&ask(duplicate.id)).await;
    let id = refunds::automatic_id(duplicate.id);
    assert!(
        matches!(refused, Err(RefundError::AlreadyBeingReturned { refund_id, .. }) if refund_id == id),
        "{refused:?}"
    );

    let nobody = PaymentId::new();
    assert!(matches!(shop.asks(&ask(nobody)).await, Err(RefundError::UnknownPayment(id)) if id == nobody));
    let support = Ask { role: "support".into(), ..ask(shop.paid(9).await.id) };
    assert!(matches!(shop.asks(&support).await, Err(RefundError::RoleMayNot(role)) if role == "support"));
    assert_eq!(shop.count("gateway_call where path like '/payments/refund%'").await, 0);
}

impl Shop {
    /// A payment that was believed refused and came after all, while another had paid the bill.
    async fn duplicate(&self) -> PaymentView {
        let account = self.account().await;
        let first = self.create(purchase(account)).await.unwrap().payment;
        self.charge(first.id, refused(5051), noon()).await;
        let second = self.create(purchase(account)).await.unwrap().payment;
        self.charge(second.id, took(&second, 700), noon()).await;
        let late = self.apply(first.id, took(&first, 701), noon() + minutes(5)).await.payment;
        assert_eq!(late.state, PaymentState::SucceededDuplicate);
        late
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn money_that_nobody_owed_goes_back_by_itself_and_once() {
    let shop = Shop::open().await;
    let duplicate = shop.duplicate().await;
    shop.apply(duplicate.id, took(&duplicate, 701), noon() + minutes(6)).await;
    let [refund] = &shop.refunds_of(duplicate.id).await[..] else { panic!("one") };
    assert_eq!((refund.id, refund.source), (refunds::automatic_id(duplicate.id), RefundSource::Automatic));
    assert_eq!(
        (refund.amount, refund.state, refund.effect),
        (duplicate.amount, RefundState::Requested, AccessEffect::Keep)
    );
    shop.send_refund(refund.id, noon() + minutes(7)).await;
    shop.refund_hears(refund.id, RefundOutcome::Done { gateway_tx_id: Some(702) }, noon() + minutes(7)).await;
    let view = shop.view(duplicate.id).await;
    assert_eq!((view.state, view.bill_status), (PaymentState::SucceededDuplicate, BillStatus::Paid), "it pays no bill");
    assert!(shop.account_of(duplicate.account_id).await.access(noon() + hours(1)).has_access);
}

/// C14: by hand in the cabinet, told twice.
#[tokio::test(flavor = "multi_thread")]
async fn c14_a_refund_from_the_cabinet_is_recognised_once() {
    let shop = Shop::open().await;
    let payment = shop.paid(1).await;
    let told = of(&payment, 2, 39_900);
    let now = noon() + hours(1);
    let Recognised::New(row) = shop.told_of(&told, now).await else { panic!("new") };
    assert_eq!((row.source, row.state, row.gateway_tx_id), (RefundSource::External, RefundState::Succeeded, Some(2)));
    let Recognised::Known(again) = shop.told_of(&told, now + hours(1)).await else { panic!("known") };
    assert_eq!(again, row);
    assert_eq!(shop.view(payment.id).await.bill_status, BillStatus::Refunded);
    assert!(!shop.account_of(payment.account_id).await.access(now).has_access, "as by our own hand");
    assert_eq!((shop.events("refund_succeeded").await, shop.events("access_ended").await), (1, 1));
}

/// C15: parts from the cabinet, in reverse order of time, and one too many.
#[tokio::test(flavor = "multi_thread")]
async fn c15_parts_from_the_cabinet_add_up_and_never_to_more_than_was_taken() {
    let shop = Shop::open().await;
    let payment = shop.paid(1).await;
    let now = noon() + hours(1);
    shop.told_of(&of(&payment, 3, 29_900), now).await;
    assert_eq!(shop.view(payment.id).await.bill_status, BillStatus::PartiallyRefunded);
    shop.told_of(&of(&payment, 2, 10_000), now).await;
    assert_eq!(shop.view(payment.id).await.bill_status, BillStatus::Refunded);
    assert_eq!(shop.told_of(&of(&payment, 4, 100), now).await, Recognised::Orphan { is_new: true });
    assert_eq!(shop.told_of(&of(&payment, 4, 100), now).await, Recognised::Orphan { is_new: false });
    let back = refunds::sum_of_payment(&mut *shop.conn().await, payment.id).await.unwrap();
    assert_eq!(back, payment.amount);
}

/// C19: a refund of a payment whose own response was lost proves that it was taken.
#[tokio::test(flavor = "multi_thread")]
async fn c19_a_refund_of_a_payment_in_doubt_is_kept_and_has_it_looked_at() {
    let shop = Shop::open().await;
    let payment = shop.created().await;
    shop.charge(payment.id, unknown(noon()), noon()).await;
    let now = noon() + Duration::seconds(20);
    let told = GatewayRefund { payment_tx_id: Some(1), ..of(&payment, 2, 39_900) };
    assert!(matches!(shop.told_of(&told, now).await, Recognised::New(_)));
    assert_eq!(shop.view(payment.id).await.look_again_at, Some(now));
    // The look by the payment's number says that it is completed.
    let found = shop.apply(payment.id, took(&payment, 1), now).await.payment;
    assert_eq!((found.state, found.bill_status), (PaymentState::Succeeded, BillStatus::Refunded));
    assert!(!shop.account_of(payment.account_id).await.access(now).has_access);
    assert_eq!(shop.refunds_of(payment.id).await.len(), 1);
    assert_eq!(shop.events("refund_succeeded").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn ours_is_known_by_its_own_number_before_the_response_comes() {
    let shop = Shop::open().await;
    let payment = shop.paid(1).await;
    let refund = shop.asks(&ask(payment.id)).await.unwrap();
    let now = noon() + hours(1);
    shop.send_refund(refund.id, now).await;
    let Recognised::New(row) = shop.told_of(&ours(&payment, &refund, 2), now).await else { panic!("new") };
    assert_eq!((row.id, row.state, row.source), (refund.id, RefundState::Succeeded, RefundSource::Ours));
    shop.refund_hears(refund.id, RefundOutcome::Done { gateway_tx_id: Some(2) }, now).await;
    assert_eq!((shop.refunds_of(payment.id).await.len(), shop.events("refund_succeeded").await), (1, 1));
}

/// A message that does not say that the refund is ours is believed to be of another's, until our response has the same number.
#[tokio::test(flavor = "multi_thread")]
async fn one_movement_that_was_taken_for_anothers_is_counted_once() {
    let shop = Shop::open().await;
    let payment = shop.paid(1).await;
    let refund = shop.asks(&part(payment.id, 10_000)).await.unwrap();
    let now = noon() + hours(1);
    shop.send_refund(refund.id, now).await;
    shop.told_of(&of(&payment, 2, 10_000), now).await;
    let done = shop.refund_hears(refund.id, RefundOutcome::Done { gateway_tx_id: Some(2) }, now).await;
    assert_eq!((done.state, done.gateway_tx_id), (RefundState::Succeeded, Some(2)));
    let back = refunds::sum_of_payment(&mut *shop.conn().await, payment.id).await.unwrap();
    assert_eq!((back.get(), shop.events("refund_succeeded").await), (10_000, 1));
    let other = shop.refunds_of(payment.id).await.into_iter().find(|row| row.id != refund.id).unwrap();
    assert_eq!((other.state, other.gateway_tx_id), (RefundState::Failed, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_back_without_a_number_is_named_later_and_counted_once() {
    let shop = Shop::open().await;
    let payment = shop.created().await;
    let back = Outcome::Refunded {
        transaction_id: 1,
        token: None,
        amount: payment.amount,
        currency: payment.currency,
        card: None,
        whole: true,
    };
    let payment = shop.charge(payment.id, back, noon()).await.payment;
    let [nameless] = &shop.refunds_of(payment.id).await[..] else { panic!("one") };
    assert_eq!((nameless.amount, nameless.gateway_tx_id), (payment.amount, None));
    for (number, kopecks) in [(2, 10_000), (3, 29_900)] {
        assert!(matches!(shop.told_of(&of(&payment, number, kopecks), noon()).await, Recognised::New(_)));
    }
    let refunds = shop.refunds_of(payment.id).await;
    let named: Vec<_> = refunds.iter().map(|row| (row.gateway_tx_id.unwrap(), row.amount.get())).collect();
    assert_eq!(named.iter().copied().collect::<std::collections::BTreeSet<_>>(), [(2, 10_000), (3, 29_900)].into());
    assert_eq!(shop.events("refund_succeeded").await, 1, "no more money went back by being named");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_names_another_as_ours_is_kept_for_a_person() {
    let shop = Shop::open().await;
    let payment = shop.paid(1).await;
    for told in [
        GatewayRefund { account_id: Some(AccountId::new().to_string()), ..of(&payment, 5, 100) },
        GatewayRefund { invoice_id: Some("7".into()), ..of(&payment, 6, 100) },
        GatewayRefund { payment_tx_id: Some(999), invoice_id: None, ..of(&payment, 7, 100) },
        GatewayRefund { payment_tx_id: Some(999), ..of(&payment, 8, 100) },
    ] {
        assert_eq!(shop.told_of(&told, noon()).await, Recognised::Orphan { is_new: true }, "{told:?}");
    }
    assert_eq!((shop.count("refund").await, shop.count("orphan").await), (0, 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn doubt_is_looked_at_then_repeated_then_only_looked_at_and_ends_by_evidence() {
    let shop = Shop::open().await;
    let policy = ResolvePolicy::default();
    let payment = shop.paid(1).await;
    let refund = shop.asks(&ask(payment.id)).await.unwrap();
    let sent = noon() + hours(1);
    let order = shop.send_refund(refund.id, sent).await;
    assert_eq!(shop.begin_refund(refund.id, sent + minutes(1)).await, BeginRefund::NotNow(RefundState::Sending));
    // Its sender died: after six minutes it is in doubt, and looked at by one.
    let now = sent + minutes(6);
    let BeginRefund::Look(look) = shop.begin_refund(refund.id, now).await else { panic!("a look") };
    assert_eq!((look.refund.state, look.known_back.get()), (RefundState::Unknown, 0));
    assert_eq!(shop.begin_refund(refund.id, now).await, BeginRefund::NotNow(RefundState::Unknown), "leased");
    let again = refunds::begin_resend(&mut *shop.conn().await, refund.id, &policy, now).await.unwrap();
    let BeginRefund::Send(again) = again else { panic!("{again:?}") };
    assert_eq!((&again.request_id, again.resend_no, again.first_sent_at), (&order.request_id, 2, order.first_sent_at));
    shop.refund_hears(refund.id, no_answer(now), now).await;
    let later = sent + minutes(51);
    let resent = refunds::begin_resend(&mut *shop.conn().await, refund.id, &policy, later).await.unwrap();
    assert_eq!(resent, BeginRefund::NotNow(RefundState::Unknown), "the gateway may have forgotten the request id");
    let absent = |at| RefundOutcome::NotFound { absent: true, look_again_at: at };
    shop.refund_hears(refund.id, absent(sent + hours(2)), sent + hours(2)).await;
    assert!(matches!(shop.asks(&ask(payment.id)).await, Err(RefundError::Unfinished { .. })), "doubt blocks another");
    let ended = shop.refund_hears(refund.id, RefundOutcome::NotExecuted, sent + hours(3)).await;
    assert_eq!(ended.state, RefundState::Failed);
    assert_eq!(shop.view(payment.id).await.bill_status, BillStatus::Paid);
    shop.asks(&Ask { now: sent + hours(3), ..ask(payment.id) }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_gave_back_meanwhile_is_not_given_again() {
    let shop = Shop::open().await;
    let payment = shop.paid(1).await;
    let refund = shop.asks(&ask(payment.id)).await.unwrap();
    shop.told_of(&of(&payment, 2, 20_000), noon() + hours(1)).await;
    assert_eq!(shop.begin_refund(refund.id, noon() + hours(1)).await, BeginRefund::NotNow(RefundState::Failed));
    shop.refunds(&Ask { now: noon() + hours(2), ..ask(payment.id) }, 3).await;
    assert_eq!(shop.view(payment.id).await.bill_status, BillStatus::Refunded);
}

#[tokio::test(flavor = "multi_thread")]
async fn above_the_limit_a_second_person_must_speak_who_is_another_and_may() {
    let shop = Shop::open().await;
    shop.sql("update refund_limit set alone = 10000 where role = 'accountant'").await.unwrap();
    let payment = shop.paid(1).await;
    shop.refunds(&part(payment.id, 6_000), 2).await;
    // What was asked for before counts: a limit is not passed by asking twice.
    let refund = shop.asks(&part(payment.id, 6_000)).await.unwrap();
    assert!(refund.needs_approval);
    let now = noon() + hours(2);
    assert_eq!(shop.begin_refund(refund.id, now).await, BeginRefund::NotNow(RefundState::Requested));
    let approve =
        async |who: &str, role: &str| refunds::approve(&mut *shop.conn().await, refund.id, who, role, now).await;
    assert!(matches!(approve("anna", "chief_accountant").await, Err(RefundError::SamePerson)));
    assert!(matches!(approve("boris", "accountant").await, Err(RefundError::RoleMayNot(_))));
    assert!(matches!(approve("boris", "support").await, Err(RefundError::RoleMayNot(_))));
    shop.sql("update refund_limit set approves = 5999 where role = 'accountant'").await.unwrap();
    assert!(matches!(approve("boris", "accountant").await, Err(RefundError::ApprovesLess { .. })));
    let approved = approve("vera", "chief_accountant").await.unwrap();
    assert_eq!((approved.approved_by.as_deref(), approved.approved_at), (Some("vera"), Some(now)));
    assert_eq!(approve("vera", "chief_accountant").await.unwrap(), approved, "twice is once");
    assert!(matches!(approve("gleb", "chief_accountant").await, Err(RefundError::NotWaiting { .. })));
    shop.send_refund(refund.id, now).await;
    let unapproved = "update refund set approved_by = null, approved_at = null where state = 'sending'";
    assert!(shop.sql(unapproved).await.is_err(), "the database says so too");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_taken_back_before_it_is_sent_and_not_after() {
    let shop = Shop::open().await;
    let payment = shop.paid(1).await;
    let refund = shop.asks(&ask(payment.id)).await.unwrap();
    let now = noon() + hours(1);
    let withdraw = async |id| refunds::withdraw(&mut *shop.conn().await, id, "boris", now).await;
    let back = withdraw(refund.id).await.unwrap();
    assert_eq!((back.state, back.info.as_deref()), (RefundState::Failed, Some("taken back by boris")));
    assert_eq!(withdraw(refund.id).await.unwrap(), back);
    assert_eq!(shop.events("needs_attention").await, 0, "nothing went wrong");
    let other = shop.asks(&ask(payment.id)).await.unwrap();
    shop.send_refund(other.id, now).await;
    assert!(matches!(withdraw(other.id).await, Err(RefundError::NotWithdrawable { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_can_take_the_same_part_of_the_paid_time_with_it() {
    let shop = Shop::open().await;
    let payment = shop.paid(1).await;
    let before = shop.account_of(payment.account_id).await;
    let shorter = Ask { effect: Some(AccessEffect::Shorten), ..part(payment.id, 19_950) };
    shop.refunds(&shorter, 2).await;
    let after = shop.account_of(payment.account_id).await;
    // Half of the 31 days, rounded down.
    assert_eq!(after.paid_until, before.paid_until.map(|end| end - Duration::days(15)));
    assert_eq!(after.access_until, before.access_until.map(|end| end - Duration::days(15)));
    assert!(after.next_charge_at < before.next_charge_at && after.next_charge_at > Some(noon()));
    assert_eq!(after.status, AccountStatus::Active);
    let all = Ask { effect: Some(AccessEffect::Keep), ..ask(payment.id) };
    shop.refunds(&all, 3).await;
    assert!(shop.account_of(payment.account_id).await.access(noon() + hours(1)).has_access, "kept, as was chosen");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_loses_access_is_charged_no_renewal_that_was_not_sent() {
    let shop = Shop::open().await;
    let payment = shop.paid(1).await;
    let due = shop.account_of(payment.account_id).await.next_charge_at.unwrap();
    let [renewal] = shop.open_due(due).await[..] else { panic!("one renewal") };
    shop.refunds(&Ask { now: due, ..ask(payment.id) }, 2).await;
    let view = shop.view(renewal).await;
    assert!(view.state.is_failure(), "{view:?}");
    assert_eq!(view.bill_status, BillStatus::Uncollectible);
    assert!(!shop.account_of(payment.account_id).await.access(due).has_access);
}

#[tokio::test(flavor = "multi_thread")]
async fn money_that_is_only_held_is_let_go_as_a_whole() {
    let shop = Shop::open().await;
    let payment = shop.created().await;
    let held = Outcome::Authorized {
        transaction_id: 1,
        token: None,
        amount: payment.amount,
        currency: Currency::RUB,
        card: None,
    };
    shop.charge(payment.id, held, noon()).await;
    assert!(matches!(shop.asks(&part(payment.id, 100)).await, Err(RefundError::PartOfAHold)));
    let refund = shop.asks(&ask(payment.id)).await.unwrap();
    assert_eq!(refund.way, RefundWay::Void);
    let now = noon() + hours(1);
    assert_eq!(shop.send_refund(refund.id, now).await.way, RefundWay::Void);
    let done = shop.refund_hears(refund.id, RefundOutcome::Done { gateway_tx_id: None }, now).await;
    assert_eq!(done.state, RefundState::Succeeded);
    let view = shop.view(payment.id).await;
    assert_eq!((view.state, view.bill_status), (PaymentState::Voided, BillStatus::NotPaid));
    assert_eq!(shop.events("refund_succeeded").await, 0, "no money went back, for none was taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chargeback_ends_access_forgets_the_card_and_bars_refunds() {
    let shop = Shop::open().await;
    let payment = shop.paid(1).await;
    let asked = shop.asks(&ask(payment.id)).await.unwrap();
    let told = Chargeback {
        id: "6811d4a17bab1c4b44c19371".into(),
        transaction_id: 1,
        amount: payment.amount,
        currency: "RUB".into(),
        kind: "Chargeback".into(),
        operation: "Presentment".into(),
        at: noon(),
    };
    let now = noon() + hours(1);
    let recognise =
        async |told: &Chargeback| refunds::recognise_chargeback(&mut *shop.conn().await, told, now).await.unwrap();
    assert_eq!(recognise(&told).await, Some((payment.id, true)));
    assert_eq!(recognise(&told).await, Some((payment.id, false)));
    assert_eq!(recognise(&Chargeback { transaction_id: 999, ..told }).await, None);
    let account = shop.account_of(payment.account_id).await;
    assert!(!account.has_token && !account.access(now).has_access);
    assert_eq!(account.status, AccountStatus::Canceled);
    assert_eq!(shop.begin_refund(asked.id, now).await, BeginRefund::NotNow(RefundState::Failed), "it was not sent yet");
    assert!(matches!(shop.asks(&ask(payment.id)).await, Err(RefundError::ChargedBack(_))));
    assert_eq!((shop.events("chargeback_received").await, shop.events("access_ended").await), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_timetable_finds_what_nobody_turns_to() {
    let shop = Shop::open().await;
    let due = async |now| {
        let mut conn = shop.conn().await;
        let due = refunds::due(&mut conn, now - minutes(2), now - minutes(6), now, 10).await.unwrap();
        due.into_iter().map(|due| due.id).collect::<Vec<_>>()
    };
    let now = noon() + hours(1);
    let refund = shop.asks(&ask(shop.paid(1).await.id)).await.unwrap();
    shop.sql("update refund_limit set alone = 0").await.unwrap();
    let waiting = shop.asks(&ask(shop.paid(2).await.id)).await.unwrap();
    assert!(due(now + minutes(1)).await.is_empty());
    assert_eq!(due(now + minutes(2)).await, [refund.id], "and not what waits for a second person");
    refunds::told(&mut *shop.conn().await, &[refund.id], now + minutes(2)).await.unwrap();
    assert!(due(now + minutes(3)).await.is_empty());
    shop.send_refund(refund.id, now + minutes(3)).await;
    assert!(due(now + minutes(8)).await.is_empty());
    assert_eq!(due(now + minutes(9)).await, [refund.id], "its sender died");
    shop.refund_hears(refund.id, no_answer(now + minutes(9)), now + minutes(9)).await;
    assert!(due(now + minutes(9)).await.is_empty());
    assert_eq!(due(now + minutes(10)).await, [refund.id], "a look is due");
    refunds::approve(&mut *shop.conn().await, waiting.id, "vera", "chief_accountant", now).await.unwrap();
    assert_eq!(due(now + minutes(9)).await, [waiting.id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_by_account_payment_and_what_waits_the_newest_first() {
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), 1).await;
    let payment: PaymentId = shop
        .text(&format!("select p.id from payment p join bill b on b.id = p.bill_id where account_id = '{account}'"))
        .await
        .unwrap()
        .parse()
        .unwrap();
    let first = shop.refunds(&part(payment, 100), 2).await.id;
    shop.sql("update refund_limit set alone = 0").await.unwrap();
    let second = shop.asks(&part(payment, 200)).await.unwrap().id;
    let elsewhere = shop.asks(&ask(shop.paid(3).await.id)).await.unwrap().id;
    let all = refunds::Listing { limit: 10, ..refunds::Listing::default() };
    for (wanted, ids) in [
        (all.clone(), vec![elsewhere, second, first]),
        (refunds::Listing { account_id: Some(account), ..all.clone() }, vec![second, first]),
        (refunds::Listing { payment_id: Some(payment), limit: 1, ..all.clone() }, vec![second]),
        (refunds::Listing { payment_id: Some(payment), before: Some(second), ..all.clone() }, vec![first]),
        (refunds::Listing { waiting_for_approval: true, ..all }, vec![elsewhere, second]),
    ] {
        let rows = refunds::list(&mut *shop.conn().await, &wanted).await.unwrap();
        assert_eq!(rows.iter().map(|row| row.id).collect::<Vec<_>>(), ids, "{wanted:?}");
    }
}

/// What is back is not credited once more; and what is on its way is waited for.
#[tokio::test(flavor = "multi_thread")]
async fn a_dearer_tariff_at_once_credits_what_was_taken_less_what_is_back() {
    let shop = Shop::open().await;
    let payment = shop.paid(1).await;
    let now = at("2026-03-26T09:00:00Z");
    let at_once = async || {
        let mut conn = shop.conn().await;
        subscriptions::preview_change(&mut conn, payment.account_id, year(), now).await.unwrap().at_once
    };
    let refund = shop.asks(&part(payment.id, 10_000)).await.unwrap();
    assert!(matches!(at_once().await, Err(VerbError::RefundInProgress)));
    shop.send_refund(refund.id, now).await;
    shop.refund_hears(refund.id, RefundOutcome::Done { gateway_tx_id: Some(2) }, now).await;
    // 299000 − 29900 × 15 / 31.
    assert_eq!(at_once().await.unwrap().0.get(), 284_532);
}
