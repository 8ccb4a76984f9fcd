//! The customer on the bank's page.

use billing::bill::BillStatus;
use billing::payment::{Outcome, PaymentState};
use billing::store::payments::{self, Begin3ds, Overdue, PaymentView, SubmitError};
use billing::{PaymentId, account::AccountStatus};
use secrecy::ExposeSecret;

use crate::shop::{Shop, purchase, refused, took, unknown};
use crate::support::sample::{TRANSACTION, three_ds};
use crate::support::{minutes, noon};

async fn submit(shop: &Shop, id: PaymentId, md: i64, minute: i64) -> Result<PaymentView, SubmitError> {
    let now = noon() + minutes(minute);
    payments::submit_pa_res(&mut *shop.conn().await, id, md, "answer".into(), &shop.cipher, now).await
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
    shop.sql(&format!("delete from account where id = '{}'", unasked.account_id)).await.unwrap();
    assert_eq!(shop.everything().await, before, "nothing is written");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_never_answered_ends_the_attempt_and_the_bill_is_open_again() {
    let shop = Shop::open().await;
    let payment = shop.on_the_bank_page().await;
    let overdue =
        async |minute| payments::overdue_three_ds(&mut *shop.conn().await, noon() + minutes(minute), 10).await.unwrap();
    assert_eq!(overdue(29).await, []);
    let expected = Overdue { payment_id: payment.id, transaction_id: Some(TRANSACTION) };
    assert_eq!(overdue(30).await, [expected]);
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
    let overdue = payments::overdue_three_ds(&mut *shop.conn().await, noon() + minutes(31), 10).await.unwrap();
    assert_eq!(overdue, []);
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
