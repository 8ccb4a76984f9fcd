//! From `created` to settled, and what is told thrice.

use billing::account::AccountStatus;
use billing::bill::BillStatus;
use billing::payment::{CardMask, Outcome, OutcomeKind, PaymentState};
use billing::store::StoreError;
use billing::store::payments::{self, Begin, ChargeInstrument, Effect};
use billing::{Currency, Kopecks, PaymentId};
use secrecy::ExposeSecret;

use crate::shop::{CRYPTOGRAM, Shop, month, page, purchase, refused, took, unknown};
use crate::support::sample::{KINDS, TRANSACTION, outcome};
use crate::support::{minutes, noon};

async fn secrets_of(shop: &Shop, bill: billing::BillId) -> i64 {
    let kept = "num_nonnulls(card_cryptogram_packet, pa_res)";
    shop.text(&format!("select {kept} from bill where id = '{bill}'")).await.unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_to_be_sent_is_written_down_before_it_is_sent() {
    let shop = Shop::open().await;
    let payment = shop.created().await;
    let order = shop.send(payment.id, noon()).await;
    assert_eq!((order.payment_id, order.bill_id, order.account_id), (payment.id, payment.bill_id, payment.account_id));
    assert_eq!((order.amount, order.currency), (payment.amount, payment.currency));
    assert_eq!((order.request_id.as_str(), order.invoice_no), (payment.request_id.as_str(), payment.invoice_no));
    assert_eq!((order.ip_address.as_deref(), order.description.as_str()), (Some("203.0.113.7"), "Месяц"));
    assert_eq!((order.first_sent_at, order.resend_no), (noon(), 1));
    assert!(matches!(order.instrument, ChargeInstrument::Cryptogram(secret) if secret.expose_secret() == CRYPTOGRAM));

    let written = shop.view(payment.id).await;
    assert_eq!((written.state, written.sent.unwrap().first_at), (PaymentState::Sending, noon()));
    assert!(matches!(shop.begin(payment.id, noon()).await, Begin::NotNow(PaymentState::Sending)), "it is sent once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_success_pays_the_bill_extends_the_account_and_keeps_the_card() {
    let shop = Shop::open().await;
    let payment = shop.created().await;
    let card = CardMask { first_six: Some("424242".into()), last_four: Some("4242".into()), ..CardMask::default() };
    let outcome = Outcome::Completed {
        transaction_id: TRANSACTION,
        token: Some("tk_1".into()),
        amount: payment.amount,
        currency: payment.currency,
        card: Some(card.clone()),
    };
    let applied = shop.charge(payment.id, outcome, noon()).await;
    let paid = applied.payment;
    assert_eq!((paid.state, paid.bill_status), (PaymentState::Succeeded, BillStatus::Paid));
    assert_eq!((paid.account_status, paid.transaction_id), (AccountStatus::Active, Some(TRANSACTION)));
    assert_eq!((paid.card, paid.expires_on.unwrap().to_string()), (Some(card), "2026-04-10".into()));
    assert_eq!(
        applied.effects,
        [Effect::AccessGranted {
            account_id: paid.account_id,
            tariff_id: month(),
            expires_on: "2026-04-10".parse().unwrap(),
        }]
    );
    let account = shop.account_of(paid.account_id).await;
    assert!(account.has_token && account.access(noon()).has_access);
    assert_eq!(account.tariff_id, Some(month()));
    let last_four = shop.text(&format!("select card ->> 'last_four' from account where id = '{}'", account.id)).await;
    assert_eq!(last_four.unwrap(), "4242");
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_wiped_when_the_attempt_needs_them_no_longer() {
    let shop = Shop::open().await;
    for (outcome, kept) in [
        (took(&shop.created().await, 9), 0),
        (refused(5051), 0),
        (Outcome::Rejected { message: "Amount is required".into() }, 0),
        (page(), 0),
        (unknown(noon()), 1),
        (Outcome::NotSent { why: "429".into(), retry_after: None }, 1),
    ] {
        let payment = shop.created().await;
        assert_eq!(secrets_of(&shop, payment.bill_id).await, 1);
        shop.charge(payment.id, outcome.clone(), noon()).await;
        assert_eq!(secrets_of(&shop, payment.bill_id).await, kept, "{:?}", outcome.kind());
        shop.sql("update payment set transaction_id = null where is_success is null").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_outcome_told_three_times_changes_as_much_as_told_once() {
    let mut shop = Shop::open().await;
    for kind in KINDS {
        let payment = shop.created().await;
        shop.send(payment.id, noon()).await;
        let told =
            async || payments::apply(&mut *shop.conn().await, payment.id, outcome(kind), &shop.cipher, noon()).await;
        let Ok(once) = told().await else { continue };
        let after_one = shop.everything().await;
        for _ in 0..2 {
            if let Ok(again) = told().await {
                assert_eq!(again.payment, once.payment, "{kind:?}");
                assert_eq!(again.effects, [], "{kind:?} has no second effect");
            }
        }
        assert_eq!(shop.everything().await, after_one, "{kind:?}");
        // The next one is of the same transaction. Money stays where it is; anything else makes way.
        if once.payment.state.is_success() {
            shop = Shop::open().await;
            continue;
        }
        shop.sql(
            "update payment set transaction_id = null, state = 'declined', is_success = false,
                  finished_at = now(), acs_url = null, pa_req = null, three_ds_expires_at = null",
        )
        .await
        .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn success_outranks_every_earlier_belief() {
    let shop = Shop::open().await;
    for (n, believed) in [refused(5005), Outcome::Rejected { message: "?".into() }].into_iter().enumerate() {
        let payment = shop.created().await;
        shop.charge(payment.id, believed, noon()).await;
        let late = shop.apply(payment.id, took(&payment, i64::try_from(n).unwrap()), noon() + minutes(5)).await;
        assert_eq!((late.payment.state, late.payment.bill_status), (PaymentState::Succeeded, BillStatus::Paid));
        assert_eq!(late.payment.account_status, AccountStatus::Active);
        let nothing = shop.apply(payment.id, refused(5005), noon() + minutes(6)).await;
        assert_eq!((nothing.payment.state, nothing.effects), (PaymentState::Succeeded, vec![]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn late_money_on_a_paid_bill_is_a_duplicate_to_be_refunded() {
    let shop = Shop::open().await;
    let first = shop.created().await;
    shop.charge(first.id, refused(5051), noon()).await;
    let second = shop.create(purchase(first.account_id)).await.unwrap().payment;
    shop.charge(second.id, took(&second, 2), noon()).await;

    let before = shop.account_of(first.account_id).await;
    let late = shop.apply(first.id, took(&first, 1), noon() + minutes(5)).await;
    assert_eq!(late.payment.state, PaymentState::SucceededDuplicate);
    assert_eq!(late.effects, [Effect::RefundOwed { payment_id: first.id, transaction_id: 1 }]);
    assert_eq!(shop.account_of(first.account_id).await, before, "it buys nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn late_money_on_a_void_bill_goes_back() {
    let shop = Shop::open().await;
    let first = shop.created().await;
    shop.charge(first.id, refused(5051), noon()).await;
    let other = billing::store::payments::NewPayment { tariff_id: crate::shop::year(), ..purchase(first.account_id) };
    shop.create(other).await.unwrap();
    let late = shop.apply(first.id, took(&first, 1), noon()).await;
    assert_eq!(late.payment.state, PaymentState::SucceededDuplicate);
    assert_eq!(late.payment.bill_status, BillStatus::Void);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_is_not_sent_yet_makes_way_for_late_money() {
    let shop = Shop::open().await;
    let first = shop.created().await;
    shop.charge(first.id, refused(5051), noon()).await;
    let second = shop.create(purchase(first.account_id)).await.unwrap().payment;

    let late = shop.apply(first.id, took(&first, 1), noon()).await;
    assert_eq!((late.payment.state, late.payment.bill_status), (PaymentState::Succeeded, BillStatus::Paid));
    assert_eq!(shop.state(second.id).await, PaymentState::NotExecuted);
    assert_eq!(secrets_of(&shop, first.bill_id).await, 0);
    assert!(matches!(shop.begin(second.id, noon()).await, Begin::NotNow(PaymentState::NotExecuted)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_under_way_does_not_make_way_and_late_money_goes_back() {
    let shop = Shop::open().await;
    let first = shop.created().await;
    shop.charge(first.id, refused(5051), noon()).await;
    let second = shop.create(purchase(first.account_id)).await.unwrap().payment;
    shop.send(second.id, noon()).await;

    let late = shop.apply(first.id, took(&first, 1), noon()).await;
    assert_eq!(late.payment.state, PaymentState::SucceededDuplicate);
    let paid = shop.apply(second.id, took(&second, 2), noon()).await.payment;
    assert_eq!((paid.state, paid.bill_status), (PaymentState::Succeeded, BillStatus::Paid));
}

#[tokio::test(flavor = "multi_thread")]
async fn money_taken_twice_for_one_attempt_gets_a_row_of_its_own() {
    let shop = Shop::open().await;
    let payment = shop.created().await;
    shop.charge(payment.id, took(&payment, 1), noon()).await;
    let second = shop.apply(payment.id, took(&payment, 2), noon()).await;
    assert_eq!((second.payment.id, second.payment.transaction_id), (payment.id, Some(1)));
    let [Effect::RefundOwed { payment_id, transaction_id: 2 }] = second.effects[..] else {
        panic!("{:?}", second.effects);
    };
    let duplicate = shop.view(payment_id).await;
    assert_eq!((duplicate.state, duplicate.bill_id), (PaymentState::SucceededDuplicate, payment.bill_id));
    assert_eq!(shop.apply(payment.id, took(&payment, 2), noon()).await.effects, [], "once is enough");
    assert_eq!(shop.count("payment").await, 2);
    let told = format!("event where payment_id = '{payment_id}' and");
    for what in ["kind = 'payment_moved' and to_state = 'succeeded_duplicate'", "kind = 'needs_attention'"] {
        assert_eq!(shop.count(&format!("{told} {what}")).await, 1, "its story begins with it: {what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_amount_waits_for_a_person_and_grants_nothing() {
    let shop = Shop::open().await;
    let payment = shop.created().await;
    let other = Outcome::Completed {
        transaction_id: 1,
        token: Some("tk_1".into()),
        amount: Kopecks::new(100),
        currency: Currency::RUB,
        card: None,
    };
    let applied = shop.charge(payment.id, other, noon()).await;
    assert_eq!((applied.payment.state, applied.payment.bill_status), (PaymentState::Unknown, BillStatus::InWork));
    assert!(matches!(applied.effects[..], [Effect::NeedsAttention { .. }]));
    assert!(!shop.account_of(payment.account_id).await.has_token);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_request_is_our_fault_and_is_shown_to_a_person() {
    let shop = Shop::open().await;
    let payment = shop.created().await;
    let applied = shop.charge(payment.id, Outcome::Rejected { message: "Amount is required".into() }, noon()).await;
    assert_eq!((applied.payment.state, applied.payment.bill_status), (PaymentState::Rejected, BillStatus::NotPaid));
    let what = "Amount is required".to_owned();
    assert_eq!(applied.effects, [Effect::NeedsAttention { payment_id: payment.id, what }]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_processed_is_sent_again_by_the_same_id() {
    let shop = Shop::open().await;
    let payment = shop.created().await;
    let put_off = Outcome::NotSent { why: "429".into(), retry_after: None };
    let back = shop.charge(payment.id, put_off, noon()).await.payment;
    assert_eq!((back.state, back.sent), (PaymentState::Created, None));
    let order = shop.send(payment.id, noon() + minutes(1)).await;
    assert_eq!((order.request_id, order.first_sent_at, order.resend_no), (payment.request_id, noon() + minutes(1), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_have_happened_changes_nothing_and_says_so() {
    let shop = Shop::open().await;
    let payment = shop.created().await;
    let before = shop.everything().await;
    let mut conn = shop.conn().await;
    let error = payments::apply(&mut conn, payment.id, refused(5051), &shop.cipher, noon()).await.unwrap_err();
    assert!(matches!(error, StoreError::Illegal { id, .. } if id == payment.id));
    let nobody = PaymentId::new();
    let error = payments::apply(&mut conn, nobody, refused(5051), &shop.cipher, noon()).await.unwrap_err();
    assert!(matches!(error, StoreError::UnknownPayment(id) if id == nobody));
    drop(conn);
    assert_eq!(shop.everything().await, before);
    assert!(payments::get(&mut *shop.conn().await, nobody).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_taken_away_stops_the_charge_and_loses_nothing() {
    let shop = Shop::open().await;
    let payment = shop.created().await;
    let other = billing::cipher::Cipher::from_keys(&"other:Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA=".into());
    let begun = payments::begin_sending(&mut *shop.conn().await, payment.id, &other.unwrap(), noon()).await;
    assert!(matches!(begun, Ok(Begin::NotNow(PaymentState::Created))));
    let waiting = shop.view(payment.id).await;
    assert!(waiting.info.unwrap().contains("sealed with the key `test`"), "it says what is missing");
    assert_eq!(waiting.look_again_at, Some(noon() + minutes(1)), "and is not tried at once");
    shop.send(payment.id, noon() + minutes(2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cryptogram_that_does_not_open_ends_its_payment_and_makes_room() {
    let shop = Shop::open().await;
    let payment = shop.created().await;
    let other = shop.created().await;
    shop.sql(&format!(
        "update bill set card_cryptogram_packet = (select card_cryptogram_packet from bill where id = '{}') where id = '{}'",
        other.bill_id, payment.bill_id
    ))
    .await
    .unwrap();
    assert!(matches!(shop.begin(payment.id, noon()).await, Begin::NotNow(PaymentState::NotExecuted)));
    assert_eq!(shop.view(payment.id).await.bill_status, BillStatus::NotPaid);
    shop.create(purchase(payment.account_id)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_transaction_is_written_down_with_the_money_that_the_gateway_took() {
    let shop = Shop::open().await;
    let payment = shop.created().await;
    shop.charge(payment.id, took(&payment, 1), noon()).await;
    for (transaction_id, amount, currency) in [(2, 100, "RUB"), (3, 500, "JPY")] {
        let second = Outcome::Completed {
            transaction_id,
            token: None,
            amount: Kopecks::new(amount),
            currency: currency.parse().unwrap(),
            card: None,
        };
        let applied = shop.apply(payment.id, second, noon()).await;
        assert!(applied.effects.iter().any(|effect| matches!(effect, Effect::RefundOwed { .. })), "{applied:?}");
        let row = format!("select amount || ' ' || currency from payment where transaction_id = {transaction_id}");
        assert_eq!(shop.text(&row).await.unwrap(), format!("{amount} {currency}"));
    }
    let absurd = Outcome::Completed {
        transaction_id: 4,
        token: None,
        amount: Kopecks::new(0),
        currency: Currency::RUB,
        card: None,
    };
    shop.apply(payment.id, absurd, noon()).await;
    assert_eq!(shop.count("orphan where transaction_id = 4 and amount = 0").await, 1, "a person is told");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_of_another_payment_ends_the_task_and_waits_for_a_person() {
    let shop = Shop::open().await;
    let first = shop.created().await;
    shop.charge(first.id, took(&first, 1), noon()).await;
    let second = shop.created().await;
    let applied = shop.charge(second.id, took(&second, 1), noon()).await;
    assert_eq!((applied.payment.state, applied.payment.transaction_id), (PaymentState::Unknown, None));
    assert_eq!(applied.payment.look_again_at, None, "nothing is to be had by looking");
    assert!(matches!(applied.effects[..], [Effect::NeedsAttention { .. }]));
    assert!(!shop.account_of(second.account_id).await.access(noon()).has_access);
    assert_eq!(shop.apply(second.id, took(&second, 1), noon()).await.effects, [], "said once");
    assert_eq!(shop.count("orphan").await, 1);

    let third = shop.created().await;
    let refusal = Outcome::Declined {
        transaction_id: Some(1),
        code: 5051,
        reason: "InsufficientFunds".into(),
        cardholder_message: String::new(),
        retry_after: Some("-200000-01-01T00:00:00Z".parse().unwrap()),
    };
    let declined = shop.charge(third.id, refusal, noon()).await;
    assert_eq!((declined.payment.state, declined.payment.transaction_id), (PaymentState::Declined, None));
    assert_eq!(shop.count("orphan").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_back_whole_pays_nothing_and_leaves_the_period_to_be_billed_anew() {
    let shop = Shop::open().await;
    let back = |transaction_id, whole| Outcome::Refunded {
        transaction_id,
        token: Some("tk".into()),
        amount: Kopecks::new(39_900),
        currency: Currency::RUB,
        card: None,
        whole,
    };
    let payment = shop.created().await;
    let applied = shop.charge(payment.id, back(1, true), noon()).await;
    assert_eq!((applied.payment.state, applied.payment.bill_status), (PaymentState::Succeeded, BillStatus::Refunded));
    assert_eq!(applied.effects, [Effect::GivenBack { payment_id: payment.id, transaction_id: 1, whole: true }]);
    let account = shop.account_of(payment.account_id).await;
    assert!(!account.has_token && !account.access(noon()).has_access);
    shop.create(purchase(payment.account_id)).await.unwrap();

    let partly = shop.created().await;
    let applied = shop.charge(partly.id, back(2, false), noon()).await;
    assert_eq!(applied.payment.bill_status, BillStatus::PartiallyRefunded);
    assert!(shop.account_of(partly.account_id).await.access(noon()).has_access);

    let dead = shop.created().await;
    shop.charge(dead.id, refused(5051), noon()).await;
    let late = shop.apply(dead.id, back(3, true), noon()).await;
    assert_eq!((late.payment.state, late.payment.bill_status), (PaymentState::SucceededDuplicate, BillStatus::NotPaid));
    assert!(!late.effects.iter().any(|effect| matches!(effect, Effect::RefundOwed { .. })), "it is back already");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_that_was_given_back_is_not_charged_again() {
    let shop = Shop::open().await;
    let account_id = shop.subscribed(month(), 1).await;
    let due = shop.account_of(account_id).await.next_charge_at.unwrap();
    let [renewal] = shop.open_due(due).await[..] else { panic!("one renewal") };
    let back = Outcome::Refunded {
        transaction_id: 2,
        token: None,
        amount: Kopecks::new(39_900),
        currency: Currency::RUB,
        card: None,
        whole: true,
    };
    let applied = shop.charge(renewal, back, due).await;
    assert_eq!(applied.payment.bill_status, BillStatus::Refunded);
    let account = shop.account_of(account_id).await;
    assert_eq!((account.period_no, account.next_charge_at, account.cancel_at_period_end), (1, None, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_of_the_gateway_is_one_that_cannot_be_written_down() {
    let shop = Shop::open().await;
    let odd = || "\0ЖЖ\u{1F4B3}".repeat(2_000);
    let asked = shop.created().await;
    let page =
        Outcome::ThreeDsRequired { transaction_id: 1, acs_url: odd(), pa_req: odd(), expires_at: noon() + minutes(30) };
    assert_eq!(shop.charge(asked.id, page, noon()).await.payment.state, PaymentState::AwaitingThreeDs);
    let paid = shop.created().await;
    let card = CardMask {
        first_six: Some(odd()),
        last_four: Some(odd()),
        expires: Some(odd()),
        scheme: Some(odd()),
        fingerprint: Some(odd()),
    };
    let took = Outcome::Completed {
        transaction_id: i64::MAX,
        token: Some(odd().into()),
        amount: paid.amount,
        currency: paid.currency,
        card: Some(card),
    };
    assert_eq!(shop.charge(paid.id, took, noon()).await.payment.state, PaymentState::Succeeded);
    assert!(!shop.account_of(paid.account_id).await.has_token, "that is no token");
    for outcome in [
        Outcome::Rejected { message: odd() },
        Outcome::Unknown { why: odd(), look_again_at: noon() },
        Outcome::NotSent { why: odd(), retry_after: None },
        Outcome::Declined {
            transaction_id: Some(i64::MIN),
            code: i32::MIN,
            reason: odd(),
            cardholder_message: odd(),
            retry_after: Some(noon()),
        },
    ] {
        let payment = shop.created().await;
        shop.charge(payment.id, outcome, noon()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_late_page_of_a_closed_attempt_is_not_shown() {
    let shop = Shop::open().await;
    let payment = shop.created().await;
    shop.charge(payment.id, refused(5051), noon()).await;
    let late = shop.apply(payment.id, outcome(OutcomeKind::ThreeDsRequired), noon()).await.payment;
    assert_eq!((late.state, late.three_ds), (PaymentState::Declined, None));
}
