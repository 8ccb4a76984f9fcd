//! However a renewal fails, it ends: so many charges, so much access, one alarm, and then the subscription is over.

use billing::AccountId;
use billing::account::AccountStatus;
use billing::bill::BillStatus;
use billing::cipher::Cipher;
use billing::payment::{Outcome, PaymentState};
use billing::store::payments::{self, Begin, Effect};
use chrono::{DateTime, Duration, Utc};

use crate::shop::{Shop, day, month, refused, took, unknown};
use crate::support::{at, hours, minutes};
use crate::timetable::Timetable;

/// Where the month that was bought at noon on 10 March ends.
fn end() -> DateTime<Utc> {
    at("2026-04-10T09:00:00Z")
}

fn rejected() -> Outcome {
    Outcome::Rejected { message: "Token does not belong to this AccountId".into() }
}

/// Two months of the timetable, every twenty minutes at first, on which each charge comes to `outcome`.
async fn two_months<'a>(shop: &'a Shop, outcome: impl Fn() -> Option<Outcome>) -> Timetable<'a> {
    let mut timetable = Timetable::of(shop);
    timetable.run(end() - hours(48), end() + hours(72), minutes(20), |_| outcome()).await;
    timetable.run(end() + hours(73), end() + Duration::days(60), hours(12), |_| outcome()).await;
    timetable
}

async fn is_over(shop: &Shop, account: AccountId) {
    let after = shop.account_of(account).await;
    assert_eq!((after.status, after.next_charge_at), (AccountStatus::Canceled, None));
    assert!(!after.access(end() + Duration::days(9)).has_access);
    assert_eq!(shop.count("bill where status in ('Not paid', 'In work')").await, 0);
    assert_eq!(shop.count("bill where status = 'Uncollectible'").await, 1);
}

fn alarms(timetable: &Timetable<'_>) -> usize {
    timetable.effects.iter().filter(|effect| matches!(effect, Effect::NeedsAttention { .. })).count()
}

/// C28.
#[tokio::test(flavor = "multi_thread")]
async fn c28_a_renewal_refused_without_a_reason_code_is_tried_three_times_and_then_the_subscription_ends() {
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), 1).await;
    let timetable = two_months(&shop, || Some(rejected())).await;
    let charges = timetable.charges_of(account);
    assert_eq!(charges.len(), 3);
    assert_eq!((charges[1] - charges[0], charges[2] - charges[1]), (hours(1), hours(47)));
    timetable.assert_cards_are_left_alone();
    assert_eq!(alarms(&timetable), 1, "said once, not with each try");
    is_over(&shop, account).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trying_a_renewal_again_moves_no_access() {
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), 1).await;
    let first = shop.open_due(end()).await[0];
    shop.charge(first, rejected(), end()).await;
    let mut now = end();
    for _ in 0..2 {
        assert_eq!(shop.account_of(account).await.access_until, Some(end() + hours(48)));
        now = shop.account_of(account).await.next_charge_at.unwrap();
        assert_eq!(shop.open_due(now - minutes(1)).await, [], "not before it is planned");
        let next = shop.open_due(now).await[0];
        assert_eq!(shop.account_of(account).await.access_until, Some(end() + hours(48)), "opening gives nothing");
        shop.charge(next, rejected(), now).await;
    }
    let overdue = shop.account_of(account).await;
    assert_eq!((overdue.status, overdue.next_charge_at), (AccountStatus::Overdue, None));
    assert_eq!(overdue.access_until, Some(now + Duration::days(7)), "grace, once");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_other_failure_ends_too() {
    // What it comes to, how often it is tried.
    let declined = |code| move || Some(refused(code));
    let absent = || Some(unknown(end()));
    type Comes = Box<dyn Fn() -> Option<Outcome>>;
    let cases: [(&str, Comes, usize); 8] = [
        ("a lost card", Box::new(declined(5041)), 1),
        ("an expired card", Box::new(declined(5054)), 1),
        ("no money", Box::new(declined(5051)), 5),
        ("the issuer is out of order", Box::new(declined(5091)), 3),
        ("a suspicion", Box::new(declined(5063)), 2),
        ("a token of another terminal", Box::new(declined(6025)), 2),
        ("the bank asks for 3-D Secure", Box::new(|| Some(crate::shop::page())), 1),
        ("never sent", Box::new(|| None), 0),
    ];
    for (what, outcome, tries) in cases {
        let shop = Shop::open().await;
        let account = shop.subscribed(month(), 1).await;
        let timetable = two_months(&shop, outcome).await;
        assert_eq!(timetable.charges.len(), tries, "{what}");
        timetable.assert_cards_are_left_alone();
        is_over(&shop, account).await;
    }
    // In doubt for ever: access ends, nothing else is charged, and a person decides.
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), 1).await;
    let timetable = two_months(&shop, absent).await;
    assert_eq!(timetable.charges.len(), 1);
    let doubtful = shop.account_of(account).await;
    assert_eq!((doubtful.status, doubtful.next_charge_at), (AccountStatus::Overdue, None));
    assert_eq!(doubtful.access_until, Some(end() + Duration::days(7)));
}

#[tokio::test(flavor = "multi_thread")]
async fn c28_a_renewal_that_turns_out_never_executed_is_tried_three_times() {
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), 1).await;
    let mut now = end();
    let mut told = Vec::new();
    for _ in 0..3 {
        let renewal = shop.open_due(now).await[0];
        shop.charge(renewal, unknown(now), now).await;
        for minute in [61, 72] {
            let later = now + minutes(minute);
            let absent = Outcome::NotFound { absent: true, look_again_at: later + minutes(10) };
            let gone = if minute == 61 { absent } else { Outcome::NotExecuted };
            told.extend(shop.apply(renewal, gone, later).await.effects);
        }
        assert_eq!(shop.state(renewal).await, PaymentState::NotExecuted);
        now = shop.account_of(account).await.next_charge_at.unwrap_or(now);
    }
    let overdue = shop.account_of(account).await;
    assert_eq!((overdue.status, overdue.next_charge_at), (AccountStatus::Overdue, None));
    let (staff, customer): (Vec<_>, Vec<_>) =
        told.iter().partition(|effect| matches!(effect, Effect::NeedsAttention { .. }));
    assert_eq!(staff.len(), 1, "operators are told once: {told:?}");
    let refused = |effect: &&Effect| matches!(effect, Effect::RenewalRefused { .. });
    assert_eq!((customer.len(), customer.iter().filter(|effect| refused(effect)).count()), (3, 3), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_does_not_open_ends_like_any_fault_of_ours() {
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), 1).await;
    let other_key = "other:Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA=";
    let cipher = Cipher::from_keys(&other_key.into()).unwrap();
    let mut tries = 0;
    let mut now = end() - hours(8);
    while now < end() + Duration::days(30) {
        for renewal in shop.open_due(now).await {
            let begun = payments::begin_sending(&mut *shop.conn().await, renewal, &cipher, now).await.unwrap();
            assert!(matches!(begun, Begin::NotNow(PaymentState::NotExecuted)), "not tried for ever");
            tries += 1;
        }
        shop.close(now).await;
        now += hours(1);
    }
    assert_eq!(tries, 3);
    is_over(&shop, account).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_nobody_could_send_is_taken_back_when_its_subscription_ends() {
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), 1).await;
    let renewal = shop.open_due(end()).await[0];
    // Its message kills every worker: nobody ever takes the last look.
    shop.close(end() + hours(48)).await;
    assert_eq!(shop.close(end() + Duration::days(7)).await, [account]);
    assert_eq!(shop.state(renewal).await, PaymentState::NotExecuted);
    is_over(&shop, account).await;
    assert!(matches!(shop.begin(renewal, end() + Duration::days(8)).await, Begin::NotNow(PaymentState::NotExecuted)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_that_waited_through_its_period_is_not_charged_for_it() {
    let shop = Shop::open().await;
    let account = shop.subscribed(day(), 1).await;
    let paid_until = shop.account_of(account).await.paid_until.unwrap();
    let renewal = shop.open_due(paid_until - hours(1)).await[0];
    // The gateway was out of reach until two thirds of that day are not left any more.
    let late = paid_until + hours(9);
    assert!(matches!(shop.begin(renewal, late).await, Begin::NotNow(PaymentState::NotExecuted)));
    assert_eq!(shop.view(renewal).await.bill_status, BillStatus::Void);
    let again = shop.open_due(late + hours(1)).await[0];
    let paid = shop.charge(again, took(&shop.view(again).await, 2), late + hours(1)).await.payment;
    assert_eq!(paid.expires_on.unwrap().to_string(), "2026-03-13", "the day after it");
}

#[tokio::test(flavor = "multi_thread")]
async fn doubt_that_ends_in_a_refusal_gives_no_second_grace() {
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), 1).await;
    let renewal = shop.open_due(end()).await[0];
    shop.charge(renewal, unknown(end()), end()).await;
    shop.close(end() + hours(48)).await;
    shop.apply(renewal, refused(5051), end() + Duration::days(5)).await;
    let overdue = shop.account_of(account).await;
    assert_eq!(overdue.access_until, Some(end() + Duration::days(7)));
    assert!(overdue.next_charge_at.is_some_and(|at| at < end() + Duration::days(7)));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_tried_after_the_grace_even_if_the_gateway_says_when() {
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), 1).await;
    let renewal = shop.open_due(end()).await[0];
    let Outcome::Declined { transaction_id, code, reason, cardholder_message, .. } = refused(5051) else { panic!() };
    let retry_after = Some(end() + Duration::days(10));
    let refusal = Outcome::Declined { transaction_id, code, reason, cardholder_message, retry_after };
    let applied = shop.charge(renewal, refusal, end()).await;
    assert_eq!(applied.effects, [Effect::RenewalRefused { account_id: account, retry_at: None }]);
    assert_eq!(shop.open_due(end() + Duration::days(11)).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_is_charged_twice_a_day_at_most_whatever_is_done_to_its_account_by_hand() {
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), 1).await;
    let mut timetable = Timetable::of(&shop);
    let mut now = end();
    for n in 0..200_i64 {
        timetable
            .tick(now, &mut |payment| match n % 3 {
                0 => Some(refused(5051)),
                1 => Some(rejected()),
                _ => Some(took(payment, 100 + n)),
            })
            .await;
        let by_hand = match n % 4 {
            0 => "next_charge_at = '2026-01-01'".to_owned(),
            1 => "expiration_dt = expiration_dt - 40".to_owned(),
            2 => "expiration_dt = expiration_dt + 1".to_owned(),
            _ => "declines = 0, faults = 0, status = 'Active', next_charge_at = '2026-01-01'".to_owned(),
        };
        // The last also brings a closed account back.
        let which = if n % 4 == 3 { "" } else { "and status in ('Active', 'Overdue')" };
        shop.sql(&format!("update account set {by_hand} where id = '{account}' {which}")).await.unwrap();
        now += minutes(37);
    }
    assert!(timetable.charges.len() > 6, "{:?}", timetable.charges);
    timetable.assert_cards_are_left_alone();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_period_that_has_a_bill_already_is_set_aside_and_keeps_nobody_else_from_being_renewed() {
    let shop = Shop::open().await;
    let broken = shop.subscribed(month(), 1).await;
    let renewal = shop.open_due(end()).await[0];
    shop.charge(renewal, took(&shop.view(renewal).await, 2), end()).await;
    let sound = shop.subscribed(month(), 3).await;
    let paid_anew = format!("period_no = 1, paid_until = '{0}', next_charge_at = '{0}'", end().to_rfc3339());
    shop.sql(&format!("update account set {paid_anew} where id = '{broken}'")).await.unwrap();
    let [opened] = shop.open_due(end() + hours(1)).await[..] else { panic!("one can be renewed") };
    assert_eq!(shop.view(opened).await.account_id, sound);
    assert_eq!(shop.account_of(broken).await.next_charge_at, None, "not tried again and again");
}
