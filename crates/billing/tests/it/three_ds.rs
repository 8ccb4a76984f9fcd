//! The customer on the bank's page.

use billing::bill::BillStatus;
use billing::payment::{Outcome, PaymentState};
use billing::store::payments::{self, Begin3ds, Effect, NewPayment, PaymentView, Resolve, SubmitError};
use billing::{PaymentId, account::AccountStatus};
use secrecy::ExposeSecret;

use crate::shop::{Shop, purchase, refused, took, unknown};
use crate::support::sample::{TRANSACTION, three_ds};
use crate::support::{minutes, noon};

async fn submit(shop: &Shop, id: PaymentId, md: i64, minute: i64) -> Result<PaymentView, SubmitError> {
    let now = noon() + minutes(minute);
    payments::submit_pa_res(&mut *shop.conn().await, id, md, "answer".into(), &shop.cipher, now).await
}

async fn looked_at_as_overdue(shop: &Shop, minute: i64) -> Vec<PaymentId> {
    let now = noon() + minutes(minute);
    let overdue = payments::overdue_three_ds(&mut *shop.conn().await, now - minutes(2), now, 10).await.unwrap();
    let ids: Vec<PaymentId> = overdue.into_iter().map(|look| look.payment_id).collect();
    payments::told(&mut *shop.conn().await, &ids, now).await.unwrap();
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn the_customer_is_shown_the_page_of_this_payment() {
    let shop = Shop::open().await;
    let payment = shop.on_the_bank_page().await;
    assert_eq!(payment.state, PaymentState::AwaitingThreeDs);
    let (shown, asked) = (payment.three_ds.unwrap(), three_ds());
    assert_eq!((shown.acs_url, shown.pa_req), (asked.acs_url, asked.pa_req));
    assert_eq!((shown.md, shown.expires_at), (TRANSACTION, asked.expires_at));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_is_passed_on_once_and_pays() {
    let shop = Shop::open().await;
    let payment = shop.on_the_bank_page().await;
    let answered = shop.answer(payment.id, noon()).await;
    assert_eq!((answered.state, answered.three_ds), (PaymentState::PostingThreeDs, None));

    let Begin3ds::Post(order) = shop.post(payment.id, noon()).await else { panic!("the answer is there") };
    assert_eq!((order.transaction_id, order.resend_no), (TRANSACTION, 1));
    assert_eq!(order.request_id, format!("post3ds:{}", payment.id));
    assert_eq!(order.pa_res.expose_secret(), "PaRes: authenticated");
    assert!(matches!(shop.post(payment.id, noon()).await, Begin3ds::NotNow(PaymentState::PostingThreeDs)));

    let paid = shop.apply(payment.id, took(&payment, TRANSACTION), noon()).await.payment;
    assert_eq!((paid.bill_status, paid.account_status), (BillStatus::Paid, AccountStatus::Active));
    let kept = format!("bill where id = '{}' and pa_res is not null", payment.bill_id);
    assert_eq!(shop.count(&kept).await, 0);
    let kind = shop.text(&format!("select payment_type from bill where id = '{}'", payment.bill_id)).await;
    assert_eq!(kind.unwrap(), "POST3DS");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_first_answer_counts_and_a_repeat_gets_the_present_result() {
    let shop = Shop::open().await;
    let payment = shop.on_the_bank_page().await;
    submit(&shop, payment.id, TRANSACTION, 0).await.unwrap();
    let Err(SubmitError::NotAwaiting(present)) = submit(&shop, payment.id, TRANSACTION, 0).await else {
        panic!("the second answer was taken");
    };
    assert_eq!(present.state, PaymentState::PostingThreeDs);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_for_another_payment_or_out_of_time_is_refused() {
    let shop = Shop::open().await;
    let payment = shop.on_the_bank_page().await;
    let before = shop.everything().await;
    let error = submit(&shop, payment.id, TRANSACTION + 1, 0).await.unwrap_err();
    assert!(matches!(error, SubmitError::WrongTransaction));
    assert!(matches!(submit(&shop, payment.id, TRANSACTION, 30).await.unwrap_err(), SubmitError::Expired));
    let nobody = PaymentId::new();
    let error = submit(&shop, nobody, TRANSACTION, 0).await.unwrap_err();
    assert!(matches!(error, SubmitError::UnknownPayment(id) if id == nobody));
    let unasked = shop.created().await;
    let error = submit(&shop, unasked.id, TRANSACTION, 0).await.unwrap_err();
    assert!(matches!(error, SubmitError::NotAwaiting(_)));
    shop.sql(&format!("delete from payment where id = '{}'", unasked.id)).await.unwrap();
    shop.sql(&format!("delete from bill where id = '{}'", unasked.bill_id)).await.unwrap();
    shop.sql(&format!("delete from card where account_id = '{}'", unasked.account_id)).await.unwrap();
    shop.sql(&format!("delete from account where id = '{}'", unasked.account_id)).await.unwrap();
    assert_eq!(shop.everything().await, before, "nothing is written");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_never_answered_ends_the_attempt_and_the_bill_is_open_again() {
    let shop = Shop::open().await;
    let payment = shop.on_the_bank_page().await;
    let overdue = async |minute| looked_at_as_overdue(&shop, minute).await;
    assert_eq!(overdue(29).await, []);
    assert_eq!(overdue(30).await, [payment.id]);
    assert_eq!(overdue(30).await, [], "it is told once");
    let ended = shop.apply(payment.id, Outcome::Expired, noon() + minutes(30)).await.payment;
    assert_eq!(overdue(31).await, []);
    assert_eq!((ended.state, ended.bill_status), (PaymentState::Abandoned, BillStatus::NotPaid));
    shop.create(purchase(payment.account_id)).await.unwrap();
    // Should the gateway have taken it all the same, that counts.
    let late = shop.apply(payment.id, took(&payment, TRANSACTION), noon() + minutes(40)).await.payment;
    assert_eq!(late.state, PaymentState::Succeeded);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answered_page_does_not_expire() {
    let shop = Shop::open().await;
    let payment = shop.on_the_bank_page().await;
    shop.answer(payment.id, noon() + minutes(29)).await;
    assert_eq!(looked_at_as_overdue(&shop, 31).await, []);
    // Answered between the look and its consequence.
    shop.apply(payment.id, Outcome::Expired, noon() + minutes(31)).await;
    assert_eq!(shop.state(payment.id).await, PaymentState::PostingThreeDs);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_authentication_is_a_decline() {
    let shop = Shop::open().await;
    let payment = shop.on_the_bank_page().await;
    shop.answer(payment.id, noon()).await;
    shop.post(payment.id, noon()).await;
    let declined = shop.apply(payment.id, refused(5206), noon()).await.payment;
    assert_eq!((declined.state, declined.bill_status), (PaymentState::Declined, BillStatus::NotPaid));
    assert_eq!(declined.transaction_id, Some(TRANSACTION));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_not_processed_is_passed_on_again() {
    let shop = Shop::open().await;
    let payment = shop.on_the_bank_page().await;
    shop.answer(payment.id, noon()).await;
    shop.post(payment.id, noon()).await;
    shop.apply(payment.id, Outcome::NotSent { why: "429".into(), retry_after: None }, noon()).await;
    let Begin3ds::Post(again) = shop.post(payment.id, noon() + minutes(1)).await else { panic!("it waits") };
    assert_eq!(again.resend_no, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn doubt_about_the_answer_keeps_it_until_it_is_resolved() {
    let shop = Shop::open().await;
    let payment = shop.on_the_bank_page().await;
    shop.answer(payment.id, noon()).await;
    shop.post(payment.id, noon()).await;
    let doubted = shop.apply(payment.id, unknown(noon()), noon()).await.payment;
    assert_eq!((doubted.state, doubted.transaction_id, doubted.posts), (PaymentState::Unknown, Some(TRANSACTION), 1));
    let kept = format!("bill where id = '{}' and pa_res is not null", payment.bill_id);
    assert_eq!(shop.count(&kept).await, 1);
    shop.apply(payment.id, took(&payment, TRANSACTION), noon() + minutes(1)).await;
    assert_eq!(shop.count(&kept).await, 0);
}

/// The customer was on the bank's page and pays anew, after so many minutes.
async fn pays_anew(shop: &Shop, minute: i64) -> [PaymentView; 2] {
    let left = shop.on_the_bank_page().await;
    let new = NewPayment { now: noon() + minutes(minute), ..purchase(left.account_id) };
    let made = shop.create(new).await.unwrap().payment;
    [shop.view(left.id).await, made]
}

#[tokio::test(flavor = "multi_thread")]
async fn who_pays_anew_has_left_the_banks_page_whether_or_not_its_time_is_over() {
    let shop = Shop::open().await;
    for minute in [1, 31] {
        let [left, made] = pays_anew(&shop, minute).await;
        assert_eq!((left.state, made.state), (PaymentState::Abandoned, PaymentState::Created), "minute {minute}");
        assert_eq!((left.bill_id, left.bill_status), (made.bill_id, BillStatus::InWork), "the same debt");
        let late = submit(&shop, left.id, TRANSACTION, minute).await.unwrap_err();
        assert!(matches!(late, SubmitError::NotAwaiting(_)), "its answer is not passed on any more: {late}");
        shop.charge(made.id, took(&made, 2_000 + minute), noon() + minutes(minute)).await;
        shop.sql(&format!("update payment set transaction_id = null where id = '{}'", left.id)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_given_up_is_looked_after_at_the_gateway_for_a_while() {
    let shop = Shop::open().await;
    let [left, _] = pays_anew(&shop, 1).await;
    let resolving =
        async |now| payments::begin_resolving(&mut *shop.conn().await, left.id, now - minutes(2), now).await.unwrap();
    let given_up_at = noon() + minutes(1);
    assert!(matches!(resolving(given_up_at).await, Resolve::NotNow(PaymentState::Abandoned)));
    let soon = given_up_at + minutes(1);
    let ordered = payments::unresolved(&mut *shop.conn().await, soon - minutes(2), soon, 10).await.unwrap();
    assert_eq!(ordered.iter().map(|look| look.payment_id).collect::<Vec<_>>(), [left.id]);
    let Resolve::Look(look) = resolving(soon).await else { panic!("its look is due") };
    let next = billing::resolve::look_after_the_page(given_up_at, soon);
    assert_eq!(next, Some(given_up_at + minutes(60)));
    look.look_after(&mut *shop.conn().await, next).await.unwrap();
    let Resolve::Look(last) = resolving(given_up_at + minutes(60)).await else { panic!("its look is due") };
    last.look_after(&mut *shop.conn().await, billing::resolve::look_after_the_page(given_up_at, last.leased_until))
        .await
        .unwrap();
    assert!(matches!(resolving(noon() + minutes(10_000)).await, Resolve::NotNow(PaymentState::Abandoned)));
}

#[tokio::test(flavor = "multi_thread")]
async fn money_that_comes_by_a_page_given_up_pays_if_nothing_else_has_and_else_goes_back() {
    let shop = Shop::open().await;
    let [left, made] = pays_anew(&shop, 1).await;
    let late = shop.apply(left.id, took(&left, TRANSACTION), noon() + minutes(2)).await.payment;
    assert_eq!((late.state, late.bill_status), (PaymentState::Succeeded, BillStatus::Paid));
    assert_eq!(shop.state(made.id).await, PaymentState::NotExecuted, "the new one makes way");

    let shop = Shop::open().await;

    let [left, made] = pays_anew(&shop, 1).await;
    shop.charge(made.id, took(&made, 77), noon() + minutes(1)).await;
    let late = shop.apply(left.id, took(&left, TRANSACTION), noon() + minutes(2)).await;
    assert_eq!(late.payment.state, PaymentState::SucceededDuplicate);
    assert!(matches!(late.effects[..], [Effect::RefundOwed { transaction_id: TRANSACTION, .. }]), "{:?}", late.effects);
}
