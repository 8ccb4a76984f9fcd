//! The card that is charged without the customer: its token and its mask are of one card, the last one that paid.

use billing::AccountId;
use billing::account::AccountStatus;
use billing::payment::{CardMask, Outcome, PaymentState};
use billing::store::accounts;
use billing::store::payments::{ChargeInstrument, Effect, NewPayment, PaymentView};
use chrono::{DateTime, Duration, Utc};
use secrecy::ExposeSecret;

use crate::shop::{Shop, month, purchase, refused, took};
use crate::support::{at, hours, noon};

/// Where the month that was bought at noon on 10 March ends.
fn end() -> DateTime<Utc> {
    at("2026-04-10T09:00:00Z")
}

/// Paid by the card with these last digits.
fn by_card(payment: &PaymentView, transaction_id: i64, digits: &str, gives_token: bool) -> Outcome {
    let Outcome::Completed { token, amount, currency, .. } = took(payment, transaction_id) else { unreachable!() };
    let card = Some(CardMask { last_four: Some(digits.to_owned()), ..CardMask::default() });
    Outcome::Completed { transaction_id, token: token.filter(|_| gives_token), amount, currency, card }
}

/// The last digits of the kept card.
async fn mask(shop: &Shop, account: AccountId) -> Option<String> {
    shop.text(&format!("select card->>'last_four' from account where id = '{account}'")).await
}

/// An account whose card 1111 paid the first month and is refused for the second.
async fn refused_for_good(shop: &Shop) -> AccountId {
    let account = shop.account().await;
    let first = shop.create(purchase(account)).await.unwrap().payment;
    shop.charge(first.id, by_card(&first, 1, "1111", true), noon()).await;
    assert_eq!(mask(shop, account).await.as_deref(), Some("1111"));
    let renewal = shop.open_due(end()).await[0];
    shop.charge(renewal, refused(5043), end()).await;
    account
}

async fn pays(shop: &Shop, account: AccountId, now: DateTime<Utc>) -> PaymentView {
    shop.create(NewPayment { now, ..purchase(account) }).await.unwrap().payment
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_card_takes_the_place_of_the_old_one() {
    let shop = Shop::open().await;
    let account = refused_for_good(&shop).await;
    let new = pays(&shop, account, end() + hours(1)).await;
    shop.charge(new.id, by_card(&new, 2, "2222", true), end() + hours(1)).await;
    assert_eq!(mask(&shop, account).await.as_deref(), Some("2222"));
    let due = at("2026-05-10T08:00:00Z");
    let order = shop.send(shop.open_due(due).await[0], due).await;
    assert!(matches!(order.instrument, ChargeInstrument::Token(token) if token.expose_secret() == "tk_2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_card_without_a_token_ends_the_automatic_renewal_and_the_customer_is_told() {
    let shop = Shop::open().await;
    let account = refused_for_good(&shop).await;
    let new = pays(&shop, account, end() + hours(1)).await;
    let paid = shop.charge(new.id, by_card(&new, 2, "2222", false), end() + hours(1)).await;
    assert!(paid.effects.contains(&Effect::CardNotKept { account_id: account }));
    assert!(!paid.payment.renews);
    let access = accounts::access(&mut *shop.conn().await, account, end() + hours(1)).await.unwrap().unwrap();
    assert!(access.has_access && !access.renews);
    let kept = format!("account where id = '{account}' and (payment_token is not null or card is not null)");
    assert_eq!(shop.count(&kept).await, 0, "neither token nor mask of the card before");

    let due = at("2026-05-10T08:00:00Z");
    assert_eq!(shop.open_due(due).await, [], "the card before is never charged again");
    assert_eq!(shop.account_of(account).await.status, AccountStatus::Overdue, "the customer owes it");
    assert_eq!(shop.count("bill where period_no = 3 and status = 'Not paid'").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_a_kept_card_is_told_that_it_renews() {
    let shop = Shop::open().await;
    let account = shop.account().await;
    let first = shop.create(purchase(account)).await.unwrap().payment;
    let paid = shop.charge(first.id, by_card(&first, 1, "1111", true), noon()).await;
    assert!(paid.payment.renews && shop.account_of(account).await.access(noon()).renews);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_card_of_which_the_gateway_says_nothing_has_no_mask_of_the_old_one() {
    let shop = Shop::open().await;
    let account = refused_for_good(&shop).await;
    let new = pays(&shop, account, end() + hours(1)).await;
    shop.charge(new.id, took(&new, 2), end() + hours(1)).await;
    assert_eq!(mask(&shop, account).await, None);
    assert!(shop.account_of(account).await.can_be_charged());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_charge_of_the_kept_card_keeps_it_whatever_the_answer_repeats() {
    for gives_token in [true, false] {
        let shop = Shop::open().await;
        let account = shop.account().await;
        let first = shop.create(purchase(account)).await.unwrap().payment;
        shop.charge(first.id, by_card(&first, 1, "1111", true), noon()).await;
        let renewal = shop.view(shop.open_due(end()).await[0]).await;
        let Outcome::Completed { transaction_id, token, amount, currency, .. } = took(&renewal, 2) else { panic!() };
        let token = token.filter(|_| gives_token);
        let silent = Outcome::Completed { transaction_id, token, amount, currency, card: None };
        shop.charge(renewal.id, silent, end()).await;
        assert_eq!(mask(&shop, account).await.as_deref(), Some("1111"));
        assert!(shop.account_of(account).await.can_be_charged());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_card_that_is_refused_leaves_the_old_one_as_it_is() {
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), 1).await;
    let renewal = shop.open_due(end()).await[0];
    shop.charge(renewal, refused(5051), end()).await;
    let new = pays(&shop, account, end() + hours(1)).await;
    shop.charge(new.id, refused(5041), end() + hours(1)).await;
    assert!(shop.account_of(account).await.can_be_charged(), "the lost card is the other one");
    assert_eq!(shop.open_due(end() + hours(29)).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_late_success_of_an_older_card_does_not_bring_it_back() {
    for gives_token in [true, false] {
        let shop = Shop::open().await;
        let account = refused_for_good(&shop).await;
        let old = shop.text("select id from payment where instrument = 'token'").await.unwrap().parse().unwrap();
        // The subscription ends, and the customer returns with another card.
        let over = end() + Duration::days(8);
        shop.close(over).await;
        let new = pays(&shop, account, over).await;
        shop.charge(new.id, by_card(&new, 2, "2222", gives_token), over).await;
        // Then it turns out that the old one had paid after all.
        let late = by_card(&shop.view(old).await, 3, "1111", true);
        let found = shop.apply(old, late, over + hours(1)).await.payment;
        assert_eq!(found.state, PaymentState::Succeeded, "the money is taken for what it paid");
        assert_eq!(mask(&shop, account).await.as_deref(), gives_token.then_some("2222"));
        assert_eq!(shop.account_of(account).await.can_be_charged(), gives_token);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_keeps_no_mask_without_its_token() {
    let shop = Shop::open().await;
    let account = refused_for_good(&shop).await;
    shop.sql(&format!("update account set payment_token = null where id = '{account}'")).await.unwrap();
    assert_eq!(mask(&shop, account).await, None);
}
