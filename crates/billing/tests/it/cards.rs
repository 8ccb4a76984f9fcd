//! The cards of an account: which one is charged, what an attempt may still bring, and that nothing of a forgotten one stays.

use billing::payment::{CardMask, Outcome, PaymentState};
use billing::store::payments::{NewPayment, PaymentView, Resend};
use billing::store::subscriptions::{self, Request, Verb};
use billing::{AccountId, PaymentId};
use chrono::{DateTime, Utc};

use crate::shop::{Shop, month, purchase, refused, took, unknown};
use crate::support::{at, hours, minutes, noon};

/// Where the month that was bought at noon of 10 March ends.
fn end() -> DateTime<Utc> {
    at("2026-04-10T09:00:00Z")
}

/// What disagrees between an account's row and its cards.
pub(crate) const DISAGREEMENTS: &str =
    "account a full join (select * from card where token is not null) c on c.account_id = a.id
    where a.payment_token is distinct from c.token or a.card is distinct from c.mask";

impl Shop {
    async fn assert_cards_agree(&self, after: &str) {
        assert_eq!(self.count(DISAGREEMENTS).await, 0, "after {after}");
    }

    async fn forget(&self, account_id: AccountId, now: DateTime<Utc>) {
        let idempotency_key = uuid::Uuid::new_v4().to_string();
        let request = Request { account_id, client: "frontend".into(), idempotency_key, now };
        subscriptions::perform(&mut *self.conn().await, &request, Verb::ForgetCard).await.unwrap();
    }

    /// How the cards of an account ended, from the first on.
    async fn ends(&self, account: AccountId) -> String {
        let ends = format!(
            "select string_agg(coalesce(ended, 'kept'), ' ' order by generation) from card where account_id = '{account}'"
        );
        self.text(&ends).await.unwrap()
    }
}

/// Paid by the card with these last digits.
fn by_card(payment: &PaymentView, transaction_id: i64, digits: &str) -> Outcome {
    let Outcome::Completed { token, amount, currency, .. } = took(payment, transaction_id) else { unreachable!() };
    let card = Some(CardMask { last_four: Some(digits.to_owned()), ..CardMask::default() });
    Outcome::Completed { transaction_id, token, amount, currency, card }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_account_and_its_kept_card_never_disagree() {
    let shop = Shop::open().await;
    let account = shop.account().await;
    let first = shop.create(purchase(account)).await.unwrap().payment;
    shop.assert_cards_agree("an attempt has begun").await;
    shop.charge(first.id, by_card(&first, 1, "1111"), noon()).await;
    shop.assert_cards_agree("the first card was kept").await;
    let renewal = shop.view(shop.open_due(end()).await[0]).await;
    shop.charge(renewal.id, took(&renewal, 2), end()).await;
    shop.assert_cards_agree("a renewal brought another token").await;
    let end = shop.account_of(account).await.paid_until.unwrap();
    let renewal = shop.open_due(end).await[0];
    shop.charge(renewal, refused(5051), end).await;
    let new = shop.create(NewPayment { now: end + hours(1), ..purchase(account) }).await.unwrap().payment;
    shop.charge(new.id, by_card(&new, 3, "2222"), end + hours(1)).await;
    shop.assert_cards_agree("another card took its place").await;
    assert_eq!(shop.ends(account).await, "replaced kept");
    shop.forget(account, end + hours(2)).await;
    shop.assert_cards_agree("it was forgotten").await;
    assert_eq!(shop.ends(account).await, "replaced forgotten");
    assert_eq!(shop.count("card where token is not null or mask is not null").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_refuses_a_token_that_is_not_that_of_the_kept_card() {
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), 1).await;
    for (statement, constraint) in [
        (format!("update account set payment_token = 'another' where id = '{account}'"), "is_its_"),
        ("update card set token = 'another'".to_owned(), "is_its_"),
        ("update card set token = null".to_owned(), "is_its_"),
        ("update card set ended_at = now(), ended = 'replaced'".to_owned(), "card_that_ended_has_no_token"),
        (format!("insert into card (account_id, generation, token) values ('{account}', 9, 'second')"), "card_kept"),
    ] {
        let error = shop.sql(&statement).await.unwrap_err().to_string();
        assert!(error.contains(constraint), "{statement}: {error}");
    }
    shop.sql(&format!("update account set payment_token = null where id = '{account}'")).await.unwrap();
    assert_eq!(shop.ends(account).await, "forgotten", "taken away by hand");
    shop.assert_cards_agree("it was taken away by hand").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_names_the_card_that_it_charges() {
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), 1).await;
    let renewal = shop.open_due(end()).await[0];
    let named = format!("attempt_card a join card c on c.id = a.card_id where a.payment_id = '{renewal}'");
    assert_eq!(shop.count(&named).await, 0, "it is named when it is sent");
    shop.send(renewal, end()).await;
    assert_eq!(shop.count(&format!("{named} and c.token is not null and c.account_id = '{account}'")).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resend_whose_card_was_forgotten_is_not_sent() {
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), 1).await;
    let renewal = shop.open_due(end()).await[0];
    shop.charge(renewal, unknown(end()), end()).await;
    let first = shop.created().await;
    shop.charge(first.id, unknown(noon()), noon()).await;

    let repeatable = shop.open_repeatable(end()).await;
    assert!(matches!(shop.resend(repeatable, end() + minutes(7)).await, Resend::Charge(_)), "otherwise it is repeated");
    for (payment, account, sent_at) in [(renewal, account, end()), (first.id, first.account_id, noon())] {
        shop.forget(account, sent_at + minutes(1)).await;
        let again = shop.resend(payment, sent_at + minutes(7)).await;
        assert!(matches!(again, Resend::CardIsGone), "{again:?}");
        assert_eq!(shop.state(payment).await, PaymentState::Unknown);
        assert_eq!(shop.count(&format!("payment where id = '{payment}' and sends = 1")).await, 1);
    }
}

impl Shop {
    /// A renewal in doubt whose card is kept.
    async fn open_repeatable(&self, now: DateTime<Utc>) -> PaymentId {
        self.subscribed(month(), 77).await;
        let renewal = self.open_due(now).await[0];
        self.charge(renewal, unknown(now), now).await;
        renewal
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_attempt_brings_that_began_before_the_card_was_forgotten_is_not_kept() {
    let shop = Shop::open().await;
    let payment = shop.created().await;
    shop.send(payment.id, noon()).await;
    // In the same instant: no clock tells them apart.
    shop.forget(payment.account_id, noon()).await;
    let paid = shop.apply(payment.id, by_card(&payment, 1, "1111"), noon()).await.payment;
    assert_eq!((paid.state, paid.renews), (PaymentState::Succeeded, false), "what was bought is paid");
    assert_eq!(shop.ends(payment.account_id).await, "forgotten");
    assert_eq!(shop.count("card where token is not null or mask is not null").await, 0);
    shop.assert_cards_agree("the late answer").await;
}
