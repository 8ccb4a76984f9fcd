//! A customer pays by a card just typed in: what is written, what is refused, what comes twice.

use std::net::IpAddr;

use billing::account::AccountStatus;
use billing::bill::{BillKind, BillStatus};
use billing::payment::PaymentState;
use billing::store::payments::{Begin, CreateError, NewPayment};
use billing::{AccountId, TariffId};
use chrono::Duration;

use crate::shop::{CRYPTOGRAM, Shop, day, month, purchase, refused, took, unknown, year};
use crate::support::{hours, minutes, noon};

#[tokio::test(flavor = "multi_thread")]
async fn a_purchase_is_a_bill_in_work_with_one_attempt_that_is_not_sent() {
    let shop = Shop::open().await;
    let account = shop.account().await;
    let created = shop.create(purchase(account)).await.unwrap();
    assert!(!created.replayed);
    let payment = created.payment;
    assert_eq!((payment.account_id, payment.tariff_id), (account, month()));
    assert_eq!((payment.amount.get(), payment.currency.as_str()), (39_900, "RUB"));
    assert_eq!((payment.state, payment.bill_status), (PaymentState::Created, BillStatus::InWork));
    assert_eq!((payment.kind, payment.sent), (BillKind::Primary, None));
    assert_eq!(payment.request_id, format!("charge:{}", payment.id));
    assert_eq!(shop.view(payment.id).await, payment);
    let bill =
        shop.text(&format!("select ip_address || payment_type from bill where id = '{}'", payment.bill_id)).await;
    assert_eq!(bill.unwrap(), "203.0.113.7CRYPTOGRAM");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_lies_open_in_the_database() {
    let shop = Shop::open().await;
    let payment = shop.on_the_bank_page().await;
    let other = shop.created().await;
    shop.answer(payment.id, noon()).await;
    shop.subscribed(month(), 4_711).await;
    let everything = shop.everything().await;
    for secret in [CRYPTOGRAM, "tk_4711", "PaRes"] {
        assert!(!everything.contains(secret), "{secret}");
    }
    assert!(everything.contains(&other.id.to_string()), "the look was at the right place");
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_accounts_and_tariffs_are_named() {
    let shop = Shop::open().await;
    let nobody = AccountId::new();
    let error = shop.create(purchase(nobody)).await.unwrap_err();
    assert!(matches!(error, CreateError::UnknownAccount(id) if id == nobody));

    let account = shop.account().await;
    let nothing = TariffId::new();
    let error = shop.create(NewPayment { tariff_id: nothing, ..purchase(account) }).await.unwrap_err();
    assert!(matches!(error, CreateError::UnknownTariff(id) if id == nothing));

    shop.sql("update tariff set is_active = false").await.unwrap();
    let error = shop.create(purchase(account)).await.unwrap_err();
    assert!(matches!(error, CreateError::UnknownTariff(id) if id == month()), "no longer on sale");
    assert_eq!(shop.count("bill").await + shop.count("payment").await, 0, "nothing is written");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_with_the_same_content_is_the_same_payment() {
    let shop = Shop::open().await;
    let new = purchase(shop.account().await);
    let first = shop.create(new.clone()).await.unwrap();
    let later = NewPayment { now: noon() + hours(1), ..new.clone() };
    let again = shop.create(later.clone()).await.unwrap();
    assert!(again.replayed);
    assert_eq!(again.payment, first.payment);

    shop.charge(first.payment.id, refused(5051), noon()).await;
    let after = shop.create(later).await.unwrap();
    assert_eq!((after.replayed, after.payment.state), (true, PaymentState::Declined), "also once it is over");
    assert_eq!(shop.count("payment").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_with_other_content_is_a_conflict() {
    let shop = Shop::open().await;
    let new = purchase(shop.account().await);
    shop.create(new.clone()).await.unwrap();
    let other_account = shop.account().await;
    let ip_address: IpAddr = [203, 0, 113, 8].into();
    for other in [
        NewPayment { tariff_id: year(), ..new.clone() },
        NewPayment { account_id: other_account, ..new.clone() },
        NewPayment { cryptogram: "another".into(), ..new.clone() },
        NewPayment { ip_address, ..new.clone() },
    ] {
        let error = shop.create(other).await.unwrap_err();
        assert!(matches!(error, CreateError::IdempotencyConflict), "{error}");
    }
    assert_eq!(shop.count("payment").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_payment_must_end_first() {
    let shop = Shop::open().await;
    let payment = shop.created().await;
    let blocked = |error| matches!(error, CreateError::PaymentInProgress { payment_id } if payment_id == payment.id);
    assert!(blocked(shop.create(purchase(payment.account_id)).await.unwrap_err()), "while it waits");
    shop.charge(payment.id, unknown(noon()), noon()).await;
    assert!(blocked(shop.create(purchase(payment.account_id)).await.unwrap_err()), "while it is in doubt");
    shop.apply(payment.id, refused(5051), noon()).await;
    shop.create(purchase(payment.account_id)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_paid_is_not_charged_again() {
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), 1).await;
    for tariff_id in [month(), year()] {
        let error = shop.create(NewPayment { tariff_id, ..purchase(account) }).await.unwrap_err();
        assert!(matches!(error, CreateError::AlreadyActive));
    }
    assert_eq!(shop.count("bill").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declined_purchase_leaves_a_bill_that_the_next_card_pays() {
    let shop = Shop::open().await;
    let first = shop.created().await;
    let declined = shop.charge(first.id, refused(5051), noon()).await.payment;
    assert_eq!((declined.state, declined.bill_status), (PaymentState::Declined, BillStatus::NotPaid));
    assert_eq!(declined.account_status, AccountStatus::Inactive);
    assert_eq!(declined.decline.unwrap().message, "Недостаточно средств на карте");

    let second = shop.create(purchase(first.account_id)).await.unwrap().payment;
    assert_eq!(second.bill_id, first.bill_id);
    assert_ne!((second.request_id.clone(), second.invoice_no), (first.request_id, first.invoice_no));
    let paid = shop.charge(second.id, took(&second, 7), noon()).await.payment;
    assert_eq!((paid.bill_status, paid.account_status), (BillStatus::Paid, AccountStatus::Active));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tariff_or_price_voids_the_open_bill() {
    let shop = Shop::open().await;
    let first = shop.created().await;
    shop.charge(first.id, refused(5051), noon()).await;

    let yearly = NewPayment { tariff_id: year(), ..purchase(first.account_id) };
    let second = shop.create(yearly).await.unwrap().payment;
    assert_ne!(second.bill_id, first.bill_id);
    assert_eq!(shop.view(first.id).await.bill_status, BillStatus::Void);
    shop.charge(second.id, refused(5051), noon()).await;

    shop.sql(&format!("update tariff set amount = amount + 100 where id = '{}'", year())).await.unwrap();
    let dearer = NewPayment { tariff_id: year(), ..purchase(first.account_id) };
    let third = shop.create(dearer).await.unwrap().payment;
    assert_ne!(third.bill_id, second.bill_id);
    assert_eq!(third.amount.get(), second.amount.get() + 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overdue_customer_pays_the_renewal_with_a_new_card_and_keeps_the_anchor() {
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), 1).await;
    let end = shop.account_of(account).await.paid_until.unwrap();
    let renewal = shop.open_due(end).await[0];
    let overdue = shop.charge(renewal, refused(5041), end).await.payment;
    assert_eq!(overdue.account_status, AccountStatus::Overdue);

    let later = end + Duration::days(3);
    let new = shop.create(NewPayment { now: later, ..purchase(account) }).await.unwrap().payment;
    assert_eq!((new.bill_id, new.kind), (overdue.bill_id, BillKind::Renewal));
    let paid = shop.charge(new.id, took(&new, 2), later).await.payment;
    assert_eq!(paid.account_status, AccountStatus::Active);
    assert_eq!(paid.expires_on.unwrap().to_string(), "2026-05-10", "two months after 10 March");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overdue_customer_who_takes_another_tariff_begins_anew() {
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), 1).await;
    let end = shop.account_of(account).await.paid_until.unwrap();
    let renewal = shop.open_due(end).await[0];
    shop.charge(renewal, refused(5041), end).await;

    let later = end + Duration::days(3);
    let daily = NewPayment { now: later, tariff_id: day(), ..purchase(account) };
    let new = shop.create(daily).await.unwrap().payment;
    assert_eq!(new.kind, BillKind::Primary);
    assert_eq!(shop.view(renewal).await.bill_status, BillStatus::Void);
    shop.charge(new.id, took(&new, 2), later).await;
    assert_eq!(shop.account_of(account).await.paid_until, Some(later + hours(24)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cryptogram_that_could_not_be_sent_in_time_is_not_sent_any_more() {
    let shop = Shop::open().await;
    let payment = shop.created().await;
    let begin = shop.begin(payment.id, noon() + minutes(31)).await;
    assert!(matches!(begin, Begin::NotNow(PaymentState::NotExecuted)));
    let secrets = format!("bill where id = '{}' and card_cryptogram_packet is not null", payment.bill_id);
    assert_eq!(shop.count(&secrets).await, 0);
    let again = NewPayment { now: noon() + minutes(31), ..purchase(payment.account_id) };
    assert_eq!(shop.create(again).await.unwrap().payment.bill_id, payment.bill_id, "the bill is open again");
}
