//! The figures of reports: made once for each day, equal to the ledger, and the same whenever they are made.

use std::collections::BTreeMap;

use billing::ledger::LedgerAccount;
use billing::models::Trial;
use billing::payment::Outcome;
use billing::store::payments::NewPayment;
use billing::store::refunds::{self, GatewayRefund, KnownFrom};
use billing::store::reports::{self, Change, Figure, Span, Sum};
use billing::store::subscriptions::{self, Request, Verb};
use billing::store::{journal, tariffs};
use billing::{AccountId, Currency, Kopecks};
use chrono::{DateTime, Days, NaiveDate, Utc};
use chrono_tz::Tz;

use crate::shop::{Shop, day, month, purchase, refused, took, year};
use crate::support::{at, hours, minutes, noon};
use crate::timetable::Timetable;

const ZONE: Tz = Tz::Europe__Moscow;

fn date(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

/// No money, and the card must not be tried again.
const NO_MONEY: i32 = 5051;
const LOST_CARD: i32 = 5041;

impl Shop {
    /// Enters the revenue of the days before that one.
    async fn is_entered_until(&self, day: NaiveDate) {
        let mut conn = self.conn().await;
        while let Some(next) = journal::next_revenue_day(&mut conn).await.unwrap().filter(|next| *next < day) {
            journal::recognize(&mut conn, next, ZONE, noon()).await.unwrap().unwrap();
        }
    }

    async fn is_rolled_up(&self) {
        let mut conn = self.conn().await;
        while let Some(next) = reports::next_day(&mut conn).await.unwrap() {
            reports::roll_up(&mut conn, next, ZONE, noon()).await.unwrap().unwrap();
        }
    }

    async fn totals(&self, span: Span, figure: Figure) -> Vec<Sum> {
        reports::totals(&mut *self.conn().await, span, &[figure]).await.unwrap()
    }

    /// How many of each label.
    async fn labels(&self, span: Span, figure: Figure) -> BTreeMap<String, i64> {
        let mut counts = BTreeMap::new();
        for sum in self.totals(span, figure).await {
            *counts.entry(sum.label).or_default() += sum.count;
        }
        counts
    }

    /// How many on a day, and what they come to.
    async fn on(&self, day: &str, figure: Figure) -> (i64, i64) {
        let sums = self.totals(Span { from: date(day), to: date(day) }, figure).await;
        sums.iter().fold((0, 0), |(count, amount), sum| (count + sum.count, amount + sum.amount.get()))
    }

    async fn wants(&self, account_id: AccountId, verb: Verb, now: DateTime<Utc>) {
        let idempotency_key = uuid::Uuid::new_v4().to_string();
        let request = Request { account_id, client: "frontend".into(), idempotency_key, now };
        subscriptions::perform(&mut *self.conn().await, &request, verb).await.unwrap();
    }
}

/// Six weeks of a small shop: who stays, who leaves, who has no money at first, who has lost the card, who pays for a year,
/// and who only tries.
async fn six_weeks() -> (Shop, [AccountId; 6]) {
    let shop = Shop::open().await;
    let mut accounts = Vec::new();
    for number in 1..=5 {
        let tariff = if number == 5 { year() } else { month() };
        accounts.push(shop.subscribed(tariff, number).await);
    }
    let trial = Trial { days: 7, amount: Kopecks::new(1_000), currency: Currency::RUB };
    tariffs::set_trial(&mut *shop.conn().await, day(), Some(trial), noon()).await.unwrap();
    let tries = shop.account().await;
    let new = NewPayment { tariff_id: day(), trial: Some(trial), ..purchase(tries) };
    let payment = shop.create(new).await.unwrap().payment;
    shop.charge(payment.id, took(&payment, 6), noon()).await;
    shop.wants(tries, Verb::Cancel, noon() + hours(1)).await;
    accounts.push(tries);
    let [stays, leaves, without_money, lost, pays_for_a_year, tries] = accounts.try_into().unwrap();

    shop.wants(leaves, Verb::Cancel, at("2026-04-01T09:00:00Z")).await;
    let (mut transaction, mut has_none) = (100, true);
    let end = at("2026-04-21T21:00:00Z");
    Timetable::of(&shop)
        .run(at("2026-03-11T09:00:00Z"), end, minutes(360), |payment| {
            transaction += 1;
            Some(if payment.account_id == lost {
                refused(LOST_CARD)
            } else if payment.account_id == without_money && std::mem::take(&mut has_none) {
                refused(NO_MONEY)
            } else {
                took(payment, transaction)
            })
        })
        .await;
    shop.is_entered_until(date("2026-04-22")).await;
    shop.is_rolled_up().await;
    (shop, [stays, leaves, without_money, lost, pays_for_a_year, tries])
}

fn weeks() -> Span {
    Span { from: date("2026-03-10"), to: date("2026-04-21") }
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribers_are_followed_from_day_to_day() {
    let (shop, _) = six_weeks().await;
    // 299000 / 12 = 24917.
    assert_eq!(shop.on("2026-03-10", Figure::Paying).await, (5, 4 * 39_900 + 24_917));
    assert_eq!(shop.on("2026-03-16", Figure::Trial).await.0, 1);
    assert_eq!(shop.on("2026-03-17", Figure::Trial).await.0, 0, "seven days");
    assert_eq!(shop.on("2026-04-09", Figure::Paying).await, (5, 4 * 39_900 + 24_917));
    assert_eq!(shop.on("2026-04-21", Figure::Paying).await, (3, 2 * 39_900 + 24_917));

    let gained = shop.labels(weeks(), Figure::Gained).await;
    assert!(!gained.contains_key(Change::Expanded.as_str()), "a month of 30 days is worth no more: {gained:?}");
    assert_eq!(gained[Change::New.as_str()], 5, "a trial is nobody who pays: {gained:?}");
    assert_eq!(gained[Change::Left.as_str()], 1, "{gained:?}");
    // Who had no money is missing for a day, and pays again.
    assert_eq!(gained[Change::Lapsed.as_str()] - gained.get(Change::Returned.as_str()).copied().unwrap_or(0), 1);

    // Every change there was comes to what there is.
    let changes: i64 = shop.totals(weeks(), Figure::Gained).await.iter().map(|sum| sum.amount.get()).sum();
    assert_eq!(changes, 2 * 39_900 + 24_917);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_and_cohorts_are_those_of_the_rows() {
    let (shop, _) = six_weeks().await;
    let calls = shop.totals(weeks(), Figure::Call).await;
    assert_eq!(calls.iter().map(|sum| sum.count).sum::<i64>(), shop.count("gateway_call").await);
    let cohorts = reports::cohorts(&mut *shop.conn().await, date("2026-04-21")).await.unwrap();
    let told: Vec<_> =
        cohorts.iter().map(|sum| (sum.day.unwrap().to_string(), sum.label.as_str(), sum.count)).collect();
    assert_eq!(told, [("2026-03-31".to_owned(), "2026-03", 5)], "at the end of a month: {told:?}");
    let paying = shop.on("2026-03-31", Figure::Paying).await;
    assert_eq!((cohorts[0].count, cohorts[0].amount.get()), paying, "each who pays is of one cohort");
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_counted_by_their_reason_and_what_came_of_them() {
    let (shop, _) = six_weeks().await;
    let refused = shop.labels(weeks(), Figure::Refused).await;
    assert_eq!(refused, BTreeMap::from([(NO_MONEY.to_string(), 1), (LOST_CARD.to_string(), 1)]));
    assert_eq!(shop.labels(weeks(), Figure::Recovered).await, BTreeMap::from([(format!("{NO_MONEY}:1"), 1)]));
    let attempts = shop.labels(weeks(), Figure::Attempt).await;
    assert_eq!(attempts["cryptogram:succeeded"], 6, "{attempts:?}");
    assert_eq!(attempts["token:succeeded"], 2, "{attempts:?}");
    assert_eq!(attempts.values().sum::<i64>(), shop.count("payment where finished_at is not null").await);
}

/// No report disagrees with the books.
#[tokio::test(flavor = "multi_thread")]
async fn money_is_the_ledgers_day_by_day() {
    let (shop, _) = six_weeks().await;
    let told = GatewayRefund {
        gateway_tx_id: 901,
        payment_tx_id: Some(5),
        invoice_id: None,
        account_id: None,
        json_data: None,
        amount: Kopecks::new(10_000),
    };
    let given_back = at("2026-04-25T09:00:00Z");
    refunds::recognise(&mut *shop.conn().await, &told, KnownFrom::Notification, given_back).await.unwrap();
    let last = date("2026-04-26");
    shop.is_entered_until(last + Days::new(1)).await;
    shop.is_rolled_up().await;

    assert_eq!(shop.on("2026-04-25", Figure::GivenBack).await, (1, 10_000));
    assert_eq!(
        shop.labels(Span { to: last, ..weeks() }, Figure::GivenBack).await,
        BTreeMap::from([("refund".into(), 1)])
    );
    let by_tariff = reports::deferred_by_tariff(&mut *shop.conn().await, last).await.unwrap();
    for sum in &by_tariff {
        let raw = format!(
            "select -sum(l.amount) from journal_line l join journal_entry e on e.id = l.entry_id
             where l.account = 'deferred_revenue' and e.day <= '{last}' and e.tariff_id is not distinct from '{}'",
            sum.tariff_id.expect("each sale is of a tariff")
        );
        assert_eq!(shop.text(&raw).await, Some(sum.amount.get().to_string()), "{sum:?}");
    }
    assert_eq!(by_tariff.len(), 3, "day, month, year");
    let figures = [Figure::Taken, Figure::GivenBack, Figure::Earned, Figure::Deferred, Figure::Vat];
    let series = reports::series(&mut *shop.conn().await, Span { to: last, ..weeks() }, &figures).await.unwrap();
    let mut sums = BTreeMap::new();
    for day in weeks().from.iter_days().take_while(|day| *day <= last) {
        for sum in series.iter().filter(|sum| sum.day == Some(day)) {
            *sums.entry(sum.figure.as_str()).or_default() += sum.amount.get();
        }
        let balances = journal::balances(&mut *shop.conn().await, day).await.unwrap();
        let balance = |account| balances.get(&(account, Currency::RUB)).map_or(0, |amount| amount.get());
        let sum = |figure: Figure| sums.get(figure.as_str()).copied().unwrap_or(0);
        let at_the_gateway = sum(Figure::Taken) - sum(Figure::GivenBack);
        assert_eq!(at_the_gateway, balance(LedgerAccount::GatewayClearing), "{day}");
        assert_eq!(sum(Figure::Earned), -balance(LedgerAccount::Revenue), "{day}");
        assert_eq!(sum(Figure::Deferred), -balance(LedgerAccount::DeferredRevenue), "{day}");
        assert_eq!(sum(Figure::Vat), -balance(LedgerAccount::Vat), "{day}");
        let deferred = reports::deferred_until(&mut *shop.conn().await, day).await.unwrap();
        assert_eq!(deferred.iter().map(|sum| sum.amount.get()).sum::<i64>(), sum(Figure::Deferred), "{day}");
    }
}

/// A day that is made late is the day that was.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_comes_of_the_rows_whenever_a_day_is_rolled_up() {
    let (shop, [stays, ..]) = six_weeks().await;
    let figures = "select string_agg(text, '; ' order by text) from (
        select concat_ws(' ', day, figure, label, tariff_id, currency, count, amount) as text, day from daily_figure) f where day < '2026-04-15'";
    let before = shop.text(figures).await.unwrap();
    // What happens afterwards does not change what was.
    shop.wants(stays, Verb::Cancel, at("2026-04-23T09:00:00Z")).await;
    let payment = shop.text("select id from payment where transaction_id = 5").await.unwrap();
    let year = shop.view(payment.parse::<uuid::Uuid>().unwrap().into()).await;
    let told = GatewayRefund {
        gateway_tx_id: 902,
        payment_tx_id: year.transaction_id,
        invoice_id: None,
        account_id: None,
        json_data: None,
        amount: year.amount,
    };
    let now = at("2026-04-23T09:00:00Z");
    refunds::recognise(&mut *shop.conn().await, &told, KnownFrom::Notification, now).await.unwrap();
    shop.sql("delete from daily_figure").await.unwrap();
    shop.sql("delete from report_day").await.unwrap();
    shop.is_rolled_up().await;
    assert!(shop.text(figures).await.unwrap() == before, "the past has changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_is_rolled_up_once_in_its_turn_and_not_before_its_revenue_is_entered() {
    let shop = Shop::open().await;
    shop.subscribed(month(), 1).await;
    let mut conn = shop.conn().await;
    assert_eq!(reports::next_day(&mut conn).await.unwrap(), None);
    drop(conn);
    shop.is_entered_until(date("2026-03-13")).await;
    let mut conn = shop.conn().await;
    let first = date("2026-03-10");
    assert_eq!(reports::next_day(&mut conn).await.unwrap(), Some(first));
    assert_eq!(reports::roll_up(&mut conn, first + Days::new(1), ZONE, noon()).await.unwrap(), None, "not the next");
    assert!(reports::roll_up(&mut conn, first, ZONE, noon()).await.unwrap() > Some(0));
    assert_eq!(reports::roll_up(&mut conn, first, ZONE, noon()).await.unwrap(), None, "once");
    assert_eq!(reports::next_day(&mut conn).await.unwrap(), Some(first + Days::new(1)));
    assert_eq!(reports::last_day(&mut conn).await.unwrap(), Some(first));
}

#[test]
fn a_span_is_compared_with_as_many_days_before() {
    let span = Span::ending(date("2026-03-31"), 31);
    assert_eq!((span.from, span.days()), (date("2026-03-01"), 31));
    assert_eq!(span.before(), Span { from: date("2026-01-29"), to: date("2026-02-28") });
}

/// An attempt that is in doubt has not ended.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_decided_is_in_no_report() {
    let shop = Shop::open().await;
    let payment = shop.created().await;
    let unknown: Outcome = crate::shop::unknown(noon());
    shop.charge(payment.id, unknown, noon()).await;
    shop.subscribed(month(), 1).await;
    shop.is_entered_until(date("2026-03-11")).await;
    shop.is_rolled_up().await;
    assert_eq!(shop.labels(weeks(), Figure::Attempt).await, BTreeMap::from([("cryptogram:succeeded".into(), 1)]));
}

/// What is open is what the rows say, with its age.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_settled_is_counted_by_its_age() {
    let shop = Shop::open().await;
    for _ in 0..2 {
        let payment = shop.created().await;
        shop.charge(payment.id, crate::shop::unknown(noon()), noon()).await;
    }
    shop.subscribed(month(), 1).await;
    for (after, age) in [(minutes(30), 0), (hours(2), 1), (hours(48), 2), (hours(24 * 8), 3)] {
        let open = reports::open(&mut *shop.conn().await, noon() + after).await.unwrap();
        let [open] = &open[..] else { panic!("{open:?}") };
        assert_eq!((open.what, open.label.as_str()), (reports::OpenKind::Payment, "unknown"));
        assert_eq!((open.count, open.age, open.oldest), (2, age, noon()), "{after}");
        let raw = "select sum(amount) from payment where state = 'unknown'";
        assert_eq!(shop.text(raw).await, Some(open.amount.get().to_string()));
    }
}
