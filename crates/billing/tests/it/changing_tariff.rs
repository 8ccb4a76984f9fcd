//! Another tariff from the next period on, and tariffs whose price changes.

use billing::account::{Account, AccountEvent, AccountStatus, KeptCard};
use billing::bill::{BillKind, BillStatus};
use billing::decline::{DeclineGroup, RetryTerms};
use billing::event::EventKind;
use billing::models::{NewTariff, TariffPrice};
use billing::payment::PaymentState;
use billing::period::Period;
use billing::store::events;
use billing::store::payments::NewPayment;
use billing::store::subscriptions::{self, Request, VerbError, Written};
use billing::store::tariffs::{self, SetPriceError};
use billing::{AccountId, Currency, Kopecks, TariffId};
use chrono::{DateTime, Duration, TimeDelta, Utc};
use chrono_tz::Tz;
use proptest::prelude::*;

use crate::shop::{Shop, month, purchase, refused, took, unknown, year};
use crate::support::{at, hours, minutes, noon};

/// Paid at noon of 10 March: the month ends at noon of 10 April.
fn end() -> DateTime<Utc> {
    at("2026-04-10T09:00:00Z")
}

fn due() -> DateTime<Utc> {
    end() - hours(2)
}

async fn choose(shop: &Shop, account: AccountId, tariff: TariffId, now: DateTime<Utc>) -> Result<Written, VerbError> {
    let key = uuid::Uuid::new_v4().to_string();
    let request = Request { account_id: account, client: "frontend".into(), idempotency_key: key, now };
    subscriptions::change_tariff(&mut *shop.conn().await, &request, tariff).await
}

/// A month for more.
async fn dearer(shop: &Shop) -> TariffId {
    let id = TariffId::new();
    let tariff = NewTariff {
        id,
        name: "Семья".into(),
        description: String::new(),
        period: Period::months(1).unwrap(),
        amount: Kopecks::new(59_900),
        currency: Currency::RUB,
        trial_days: None,
        trial_amount: None,
        trial_currency: None,
    };
    tariffs::seed(&mut *shop.conn().await, &[tariff], noon()).await.unwrap();
    id
}

async fn costs(shop: &Shop, tariff: TariffId, kopecks: i64, from: DateTime<Utc>) -> Result<(), SetPriceError> {
    let price =
        TariffPrice { tariff_id: tariff, effective_from: from, amount: Kopecks::new(kopecks), currency: Currency::RUB };
    tariffs::set_price(&mut *shop.conn().await, price, TimeDelta::zero(), noon()).await
}

/// The kinds of all events of an account about its tariff.
async fn told(shop: &Shop, account: AccountId) -> Vec<EventKind> {
    use EventKind as K;
    let story = events::story_of_account(&mut *shop.conn().await, account, None, 100).await.unwrap();
    let about = [K::TariffChangeAsked, K::TariffChangeTakenBack, K::TariffChanged];
    story.into_iter().rev().map(|event| event.kind).filter(|kind| about.contains(kind)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn c24_the_last_choice_is_charged_once_at_the_price_of_the_day_its_bill_opens() {
    let shop = Shop::open().await;
    let family = dearer(&shop).await;
    let account = shop.subscribed(month(), 1).await;
    choose(&shop, account, year(), noon() + hours(1)).await.unwrap();
    choose(&shop, account, month(), noon() + hours(2)).await.unwrap();
    let written = choose(&shop, account, family, noon() + hours(3)).await.unwrap();
    assert_eq!(written.subscription.next_charge().unwrap().1.get(), 59_900);
    assert_eq!(shop.open_due(noon() + hours(4)).await, [], "nothing is charged today");
    assert_eq!(shop.account_of(account).await.tariff_id, Some(month()), "nor changed");

    costs(&shop, family, 64_900, due() - hours(1)).await.unwrap();
    let [charge] = shop.open_due(due()).await[..] else { panic!("one bill") };
    assert_eq!(shop.view(charge).await.amount.get(), 64_900, "the price when the bill opens");

    costs(&shop, family, 99_900, due() + hours(1)).await.unwrap();
    shop.charge(charge, refused(5051), due()).await;
    let retry = shop.open_due(due() + hours(29)).await[0];
    let view = shop.view(retry).await;
    assert_eq!((view.bill_id, view.amount.get()), (shop.view(charge).await.bill_id, 64_900), "it keeps its price");
    shop.charge(retry, took(&view, 2), due() + hours(29)).await;
    assert_eq!(shop.count("bill where kind = 'renewal'").await, 1);

    let after = shop.account_of(account).await;
    assert_eq!((after.tariff_id, after.pending_tariff_id), (Some(family), None));
    assert_eq!(after.paid_until, Some(at("2026-05-10T09:00:00Z")), "the same length: the anchor stays");
    use EventKind as K;
    assert_eq!(
        told(&shop, account).await,
        [K::TariffChangeAsked, K::TariffChangeTakenBack, K::TariffChangeAsked, K::TariffChanged]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tariff_of_another_length_begins_a_term_where_the_paid_time_ends() {
    let shop = Shop::open().await;
    let account = shop.account().await;
    let new = NewPayment { now: at("2026-01-31T09:00:00Z"), ..purchase(account) };
    let bought = shop.create(new).await.unwrap().payment;
    shop.charge(bought.id, took(&bought, 1), at("2026-01-31T09:00:00Z")).await;
    choose(&shop, account, year(), at("2026-02-01T09:00:00Z")).await.unwrap();
    let due = at("2026-02-28T06:00:00Z");
    let charge = shop.open_due(due).await[0];
    shop.charge(charge, took(&shop.view(charge).await, 2), due).await;
    let after = shop.account_of(account).await;
    assert_eq!(after.term.unwrap().anchor_at, at("2026-02-28T09:00:00Z"));
    assert_eq!(after.paid_until, Some(at("2027-02-28T09:00:00Z")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_that_was_not_sent_gives_way_to_the_choice() {
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), 1).await;
    let unsent = shop.open_due(due()).await[0];
    choose(&shop, account, year(), due() + minutes(1)).await.unwrap();
    let view = shop.view(unsent).await;
    assert_eq!((view.state, view.bill_status), (PaymentState::NotExecuted, BillStatus::Void));
    let [charge] = shop.open_due(due() + minutes(2)).await[..] else { panic!("it is due still") };
    assert_eq!((shop.view(charge).await.tariff_id, shop.view(charge).await.amount.get()), (year(), 299_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_that_was_sent_ends_by_its_own_answer_and_the_choice_is_for_the_period_after_it() {
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), 1).await;
    let sent = shop.open_due(due()).await[0];
    shop.charge(sent, unknown(due()), due()).await;
    let written = choose(&shop, account, year(), due() + minutes(1)).await.unwrap();
    assert_eq!(written.subscription.open.unwrap().payment.unwrap().0.id, sent, "the caller is told of it");
    shop.apply(sent, took(&shop.view(sent).await, 2), due() + minutes(20)).await;
    let after = shop.account_of(account).await;
    assert_eq!((after.tariff_id, after.pending_tariff_id), (Some(month()), Some(year())));
    let charge = shop.open_due(at("2026-05-10T06:00:00Z")).await[0];
    assert_eq!(shop.view(charge).await.tariff_id, year());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_renewal_gives_way_to_the_choice_and_its_next_try_charges_that() {
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), 1).await;
    let first = shop.open_due(due()).await[0];
    shop.charge(first, refused(5051), due()).await;
    let planned = shop.account_of(account).await.next_charge_at;
    choose(&shop, account, year(), due() + hours(1)).await.unwrap();
    assert_eq!(shop.view(first).await.bill_status, BillStatus::Void);
    assert_eq!(shop.account_of(account).await.next_charge_at, planned, "no try more, and none earlier");
    let retry = shop.open_due(due() + hours(29)).await[0];
    assert_eq!(shop.view(retry).await.tariff_id, year());

    // Or the customer pays the choice with another card: it goes on, and nothing is bought anew.
    let other = shop.subscribed(month(), 11).await;
    let refused_hard = shop.open_due(due() + hours(30)).await[0];
    shop.charge(refused_hard, refused(5043), due() + hours(30)).await;
    choose(&shop, other, year(), due() + hours(31)).await.unwrap();
    let new = NewPayment { tariff_id: year(), now: due() + hours(32), ..purchase(other) };
    assert_eq!(shop.create(new).await.unwrap().payment.kind, BillKind::Renewal);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_one_choice_and_each_refusal_has_its_reason() {
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), 1).await;
    let request =
        Request { account_id: account, client: "frontend".into(), idempotency_key: "one".into(), now: noon() };
    let change = async |tariff: TariffId| subscriptions::change_tariff(&mut *shop.conn().await, &request, tariff).await;
    assert!(!change(year()).await.unwrap().replayed);
    assert!(change(year()).await.unwrap().replayed);
    assert!(matches!(change(month()).await, Err(VerbError::IdempotencyConflict)), "another choice under the same key");
    assert_eq!(told(&shop, account).await, [EventKind::TariffChangeAsked]);

    let unknown = TariffId::new();
    let error = choose(&shop, account, unknown, noon()).await.unwrap_err();
    assert!(matches!(error, VerbError::UnknownTariff(id) if id == unknown));
    shop.sql("update tariff set is_active = false").await.unwrap();
    assert!(matches!(choose(&shop, account, crate::shop::day(), noon()).await, Err(VerbError::UnknownTariff(_))));
    choose(&shop, account, month(), noon()).await.expect("one's own tariff can be kept though it is not sold any more");

    let never_paid = shop.account().await;
    assert!(matches!(choose(&shop, never_paid, month(), noon()).await, Err(VerbError::NoSubscription)));
    assert!(matches!(choose(&shop, AccountId::new(), month(), noon()).await, Err(VerbError::UnknownAccount(_))));
    let cancel = Request { idempotency_key: "cancel".into(), ..request.clone() };
    subscriptions::perform(&mut *shop.conn().await, &cancel, subscriptions::Verb::Cancel).await.unwrap();
    assert!(matches!(choose(&shop, account, month(), noon()).await, Err(VerbError::Cancelled)));
    shop.close(end()).await;
    assert!(matches!(choose(&shop, account, month(), end()).await, Err(VerbError::Ended)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_price_reaches_subscribers_with_the_first_bill_that_opens_from_its_day_on() {
    let shop = Shop::open().await;
    shop.subscribed(month(), 1).await;
    shop.subscribed(month(), 2).await;
    costs(&shop, month(), 49_900, due() + minutes(1)).await.unwrap();
    let renewals = shop.open_due(due()).await;
    assert_eq!(renewals.len(), 2);
    for (n, renewal) in renewals.into_iter().enumerate() {
        let view = shop.view(renewal).await;
        assert_eq!(view.amount.get(), 39_900, "opened a minute before");
        shop.charge(renewal, took(&view, 10 + i64::try_from(n).unwrap()), due() + hours(1)).await;
    }
    let next = shop.open_due(at("2026-05-10T06:00:00Z")).await[0];
    assert_eq!(shop.view(next).await.amount.get(), 49_900);

    let bought = NewPayment { now: due() + minutes(1), ..purchase(shop.account().await) };
    assert_eq!(shop.create(bought).await.unwrap().payment.amount.get(), 49_900, "who buys pays it at once");
    let mut conn = shop.conn().await;
    let price = async |conn: &mut _, now| tariffs::get(conn, month(), now).await.unwrap().unwrap().amount.get();
    assert_eq!((price(&mut conn, due()).await, price(&mut conn, due() + minutes(1)).await), (39_900, 49_900));
    let listed = tariffs::list(&mut conn, due() + minutes(1)).await.unwrap();
    assert_eq!(listed.iter().map(|tariff| tariff.amount.get()).collect::<Vec<_>>(), [5_900, 49_900, 299_000]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_price_is_set_in_time_in_order_and_for_a_tariff_that_exists() {
    let shop = Shop::open().await;
    let set = async |tariff_id, effective_from, kopecks| {
        let price = TariffPrice { tariff_id, effective_from, amount: Kopecks::new(kopecks), currency: Currency::RUB };
        tariffs::set_price(&mut *shop.conn().await, price, Duration::days(30), noon()).await
    };
    let first = noon() + Duration::days(30);
    assert!(
        matches!(set(month(), first - minutes(1), 1).await, Err(SetPriceError::TooSoon { earliest, .. }) if earliest == first)
    );
    assert!(matches!(set(month(), first, 0).await, Err(SetPriceError::Amount(_))));
    assert!(matches!(set(TariffId::new(), first, 1).await, Err(SetPriceError::UnknownTariff(_))));
    set(month(), first, 1).await.unwrap();
    assert!(matches!(set(month(), first, 2).await, Err(SetPriceError::NotTheLast(last)) if last == first));
    assert_eq!(shop.count("tariff_price").await, 1);
    assert_eq!(shop.count("event where kind = 'price_set' and not is_public").await, 1);
}

/// What may happen to a subscription.
#[derive(Debug, Clone, Copy)]
enum Happening {
    Choose(u8),
    Cancel,
    Resume,
    Opened,
    Renewed,
    Refused,
    Later(i64),
    RanOut,
}

fn happening() -> impl Strategy<Value = Happening> {
    use Happening as H;
    prop_oneof![
        3 => (0u8..3).prop_map(H::Choose),
        1 => Just(H::Cancel),
        1 => Just(H::Resume),
        2 => Just(H::Opened),
        3 => Just(H::Renewed),
        1 => Just(H::Refused),
        3 => (1i64..800).prop_map(H::Later),
        1 => Just(H::RanOut),
    ]
}

const LENGTHS: [u32; 3] = [1, 1, 12];

fn tariff(n: u8) -> TariffId {
    uuid::Uuid::from_u128(u128::from(n) + 1).into()
}

fn period(id: TariffId) -> Period {
    Period::months(LENGTHS[usize::try_from(id.get().as_u128() - 1).unwrap()]).unwrap()
}

proptest! {
    /// Choosing a tariff gives no access, takes none and plans no charge; what is paid is what was chosen last.
    #[test]
    fn a_choice_changes_nothing_but_what_is_charged_next(happenings in prop::collection::vec(happening(), 1..60)) {
        use {AccountEvent as E, Happening as H};
        let mut now = noon();
        let first = E::Paid {
            kind: BillKind::Primary, tariff_id: tariff(0), period: period(tariff(0)), period_no: 1, card: KeptCard::New,
        };
        let mut account = Account::registered(AccountId::new(), Tz::Europe__Moscow).apply(first, now).unwrap();
        for happening in happenings {
            let before = account.clone();
            let event = match happening {
                H::Choose(n) => E::TariffChosen(tariff(n)),
                H::Cancel => E::CancelRequested,
                H::Resume => E::Resumed,
                H::Opened => E::RenewalOpened,
                H::Renewed => {
                    let tariff_id = before.next_tariff_id().unwrap();
                    let Ok(next) = before.next_period(period(tariff_id), now) else { continue };
                    let kind = BillKind::Renewal;
                    E::Paid { kind, tariff_id, period: period(tariff_id), period_no: next.no, card: KeptCard::Same }
                }
                H::Refused => {
                    let period_no = before.period_no + 1;
                    E::RenewalRefused { period_no, terms: RetryTerms::seeded(DeclineGroup::Soft), retry_after: None }
                }
                H::Later(hours_on) => {
                    now += hours(hours_on);
                    continue;
                }
                H::RanOut => E::AccessRanOut,
            };
            if matches!(event, E::Paid { .. }) && !before.is_running() {
                continue;
            }
            let Ok(after) = before.clone().apply(event, now) else { continue };
            prop_assert_ne!(after.pending_tariff_id, after.tariff_id, "a choice is of another tariff");
            match event {
                E::TariffChosen(chosen) => {
                    prop_assert_eq!(after.next_tariff_id(), Some(chosen));
                    let but_for_it = Account { pending_tariff_id: before.pending_tariff_id, ..after.clone() };
                    prop_assert_eq!(but_for_it, before);
                }
                E::Paid { tariff_id, .. } => {
                    prop_assert_eq!((after.tariff_id, after.pending_tariff_id), (Some(tariff_id), None));
                    prop_assert!(after.paid_until > before.paid_until, "time is added, never taken");
                }
                _ if after.status == AccountStatus::Canceled => prop_assert_eq!(after.pending_tariff_id, None),
                _ => prop_assert_eq!(after.next_tariff_id(), before.next_tariff_id(), "no choice is lost"),
            }
            account = after;
        }
    }
}
