//! What is sold, earned, given back and paid out, in the ledger of a database; closed months; what accountants get.

use billing::ledger::{
    self, Deferral, LedgerAccount, PaidOut, Return, ReturnedBy, SaleTerms, Standing, Subject, VatRate,
};
use billing::payment::PaymentState;
use billing::store::journal::{self, CloseError, SetVatError};
use billing::store::payments::PaymentView;
use billing::store::refunds::{self, Chargeback, GatewayRefund, KnownFrom, Recognised};
use billing::store::subscriptions::{self, Request};
use billing::{Currency, Kopecks};
use chrono::{DateTime, Days, NaiveDate, Utc};
use chrono_tz::Tz;
use diesel::sql_types::{BigInt, Date};
use diesel_async::RunQueryDsl;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use crate::shop::{Shop, month, took, unknown, year};
use crate::support::{at, hours, minutes, noon};

const ZONE: Tz = Tz::Europe__Moscow;

fn date(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

impl Shop {
    /// Enters the revenue of all days before that one.
    async fn earns_until(&self, day: &str) {
        let mut conn = self.conn().await;
        while let Some(next) = journal::next_revenue_day(&mut conn).await.unwrap().filter(|next| *next < date(day)) {
            journal::recognize(&mut conn, next, ZONE, noon()).await.unwrap().unwrap();
        }
    }

    /// By hand in the gateway's cabinet. Returns whether that is new.
    async fn gives_back(&self, payment: &PaymentView, number: i64, amount: i64, now: DateTime<Utc>) -> bool {
        let told = GatewayRefund {
            gateway_tx_id: number,
            payment_tx_id: payment.transaction_id,
            invoice_id: None,
            account_id: None,
            json_data: None,
            amount: Kopecks::new(amount),
        };
        let recognised = refunds::recognise(&mut *self.conn().await, &told, KnownFrom::Notification, now).await;
        matches!(recognised.unwrap(), Recognised::New(_))
    }

    async fn balance(&self, account: LedgerAccount, day: &str) -> i64 {
        let balances = journal::balances(&mut *self.conn().await, date(day)).await.unwrap();
        balances.get(&(account, Currency::RUB)).map_or(0, |amount| amount.get())
    }

    async fn deferred(&self, day: &str) -> i64 {
        let deferred = journal::deferred(&mut *self.conn().await, date(day)).await.unwrap();
        deferred.get(&Currency::RUB).map_or(0, |amount| amount.get())
    }

    async fn plans(&self) -> String {
        let plans = "select string_agg(amount || ' from ' || starts_on || ' to ' || ends_on || ' known ' || known_on
            || coalesce(' cut ' || cut_on, ''), '; ' order by id) from deferral";
        self.text(plans).await.unwrap_or_default()
    }

    /// A month bought at noon on 10 March.
    async fn bought(&self, transaction_id: i64) -> PaymentView {
        let payment = self.created().await;
        self.charge(payment.id, took(&payment, transaction_id), noon()).await.payment
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_month_is_earned_day_by_day_in_one_entry_for_each_tariff() {
    let shop = Shop::open().await;
    let mut conn = shop.conn().await;
    assert_eq!(journal::next_revenue_day(&mut conn).await.unwrap(), None, "no money has come");
    for transaction in 1..=3 {
        shop.bought(transaction).await;
    }
    shop.subscribed(year(), 4).await;
    let first = date("2026-03-10");
    assert_eq!(journal::next_revenue_day(&mut conn).await.unwrap(), Some(first));
    assert_eq!(journal::recognize(&mut conn, first + Days::new(1), ZONE, noon()).await.unwrap(), None, "not the next");
    assert_eq!(journal::recognize(&mut conn, first, ZONE, noon()).await.unwrap(), Some(2), "one for each tariff");
    assert_eq!(journal::recognize(&mut conn, first, ZONE, noon()).await.unwrap(), None, "once");
    drop(conn);
    // 39900 / 31 is 1287 and a part; 299000 / 365 is 819 and a part.
    assert_eq!(shop.balance(LedgerAccount::Revenue, "2026-03-10").await, -(3 * 1_287 + 819));

    shop.earns_until("2026-04-10").await;
    assert_eq!(shop.balance(LedgerAccount::Revenue, "2026-04-09").await, -(3 * 39_900 + 299_000 * 31 / 365));
    shop.earns_until("2027-03-10").await;
    assert_eq!(shop.balance(LedgerAccount::Revenue, "2027-03-09").await, -(3 * 39_900 + 299_000), "to the kopeck");
    assert_eq!(shop.deferred("2027-03-09").await, 0);
    assert_eq!(shop.deferred("2026-03-10").await, 3 * 39_900 + 299_000 - (3 * 1_287 + 819), "at any past date");
    assert_eq!(shop.balance(LedgerAccount::Receivable, "2027-03-09").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn money_that_comes_late_catches_up_on_its_first_day() {
    let shop = Shop::open().await;
    shop.subscribed(month(), 1).await;
    // The renewal is in doubt over the end of its period, for five days.
    let due = at("2026-04-09T21:00:00Z");
    let renewal = shop.open_due(due).await[0];
    shop.charge(renewal, unknown(due), due).await;
    shop.earns_until("2026-04-15").await;
    let before = shop.balance(LedgerAccount::Revenue, "2026-04-14").await;
    assert_eq!(before, -39_900, "the first month");
    shop.apply(renewal, took(&shop.view(renewal).await, 2), at("2026-04-15T09:00:00Z")).await;
    assert!(
        shop.plans().await.ends_with("39900 from 2026-04-10 to 2026-05-10 known 2026-04-15"),
        "{}",
        shop.plans().await
    );
    shop.earns_until("2026-04-16").await;
    assert_eq!(shop.balance(LedgerAccount::Revenue, "2026-04-15").await, before - 39_900 * 6 / 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_for_a_day_that_is_entered_is_earned_from_the_next_one_on() {
    let shop = Shop::open().await;
    shop.bought(1).await;
    shop.earns_until("2026-03-13").await;
    // Whatever the clock of who enters it says.
    shop.bought(2).await;
    assert!(
        shop.plans().await.ends_with("39900 from 2026-03-10 to 2026-04-10 known 2026-03-13"),
        "{}",
        shop.plans().await
    );
    shop.earns_until("2026-04-10").await;
    assert_eq!(shop.balance(LedgerAccount::Revenue, "2026-04-09").await, -2 * 39_900);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_takes_what_is_not_earned_first_and_vat_in_its_share() {
    let shop = Shop::open().await;
    let rate = SaleTerms::of_service(Some(VatRate::percent(22).unwrap()));
    journal::set_vat(&mut *shop.conn().await, month(), rate, noon(), "accountant", noon()).await.unwrap();
    let payment = shop.bought(1).await;
    shop.earns_until("2026-04-01").await;
    let on_april_1 = at("2026-04-01T09:00:00Z");
    assert!(shop.gives_back(&payment, 101, 10_000, on_april_1).await);
    assert!(!shop.gives_back(&payment, 101, 10_000, on_april_1).await, "once");
    let day = "2026-04-01";
    // 7195 of 39900 were VAT: 1803 of 10000.
    assert_eq!(shop.balance(LedgerAccount::Vat, day).await, -(7_195 - 1_803));
    assert_eq!(shop.deferred(day).await, 32_705 - 23_210 - (10_000 - 1_803));
    assert_eq!(
        shop.plans().await,
        "32705 from 2026-03-10 to 2026-04-10 known 2026-03-10 cut 2026-04-01; \
         1298 from 2026-04-01 to 2026-04-10 known 2026-04-01"
    );
    // All the rest: what was earned is given back too.
    assert!(shop.gives_back(&payment, 102, 29_900, on_april_1 + hours(1)).await);
    for account in [LedgerAccount::GatewayClearing, LedgerAccount::Vat, LedgerAccount::DeferredRevenue] {
        assert_eq!(shop.balance(account, day).await, 0, "{account}");
    }
    assert_eq!(shop.balance(LedgerAccount::Revenue, day).await, 0, "nothing was sold");
    shop.earns_until("2026-05-01").await;
    assert_eq!(shop.balance(LedgerAccount::Revenue, "2026-04-30").await, 0, "and nothing is earned of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chargeback_loses_what_was_earned_and_a_duplicate_goes_back_as_it_came() {
    let shop = Shop::open().await;
    let payment = shop.bought(1).await;
    shop.apply(payment.id, took(&payment, 2), noon()).await;
    shop.earns_until("2026-03-20").await;
    let now = at("2026-03-20T09:00:00Z");
    let by_bank = |transaction_id: i64| Chargeback {
        id: transaction_id.to_string(),
        transaction_id,
        amount: Kopecks::new(39_900),
        currency: "RUB".into(),
        kind: "Chargeback".into(),
        operation: "Presentment".into(),
        at: now,
    };
    let mut conn = shop.conn().await;
    for (transaction_id, is_new) in [(1, true), (1, false), (2, true)] {
        let recognised = refunds::recognise_chargeback(&mut conn, &by_bank(transaction_id), now).await.unwrap();
        assert_eq!(recognised.unwrap().1, is_new);
    }
    drop(conn);
    let earned = 39_900 * 10 / 31;
    assert_eq!(shop.balance(LedgerAccount::Chargebacks, "2026-03-20").await, earned);
    assert_eq!(shop.balance(LedgerAccount::Revenue, "2026-03-20").await, -earned);
    assert_eq!(shop.balance(LedgerAccount::RefundsPayable, "2026-03-20").await, 0);
    assert_eq!(shop.balance(LedgerAccount::GatewayClearing, "2026-03-20").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dearer_tariff_takes_what_is_not_earned_along() {
    let shop = Shop::open().await;
    let account = shop.subscribed(month(), 1).await;
    let now = at("2026-03-26T09:00:00Z");
    let key = uuid::Uuid::new_v4().to_string();
    let request = Request { account_id: account, client: "frontend".into(), idempotency_key: key, now };
    let mut conn = shop.conn().await;
    let asked = subscriptions::change_tariff_at_once(&mut conn, &request, year(), Kopecks::new(279_694)).await;
    drop(conn);
    let change = asked.unwrap().subscription.open.unwrap().payment.unwrap().0;
    shop.charge(change.id, took(&change, 2), now).await;
    let left = 39_900 - 39_900 * 16 / 31;
    assert_eq!(
        shop.plans().await,
        format!(
            "39900 from 2026-03-10 to 2026-04-10 known 2026-03-10 cut 2026-03-26; \
             {left} from 2026-03-26 to 2027-03-26 known 2026-03-26; \
             279694 from 2026-03-26 to 2027-03-26 known 2026-03-26"
        )
    );
    shop.earns_until("2027-03-26").await;
    assert_eq!(shop.balance(LedgerAccount::Revenue, "2027-03-25").await, -(39_900 + 279_694));
    let of_month =
        format!("journal_entry where kind = 'revenue' and day >= '2026-03-26' and tariff_id = '{}'", month());
    assert_eq!(shop.count(&of_month).await, 0, "it is the year's from then on");
}

#[tokio::test(flavor = "multi_thread")]
async fn vat_is_that_of_the_time_at_which_the_money_comes() {
    let shop = Shop::open().await;
    let mut conn = shop.conn().await;
    let percent = |percent| SaleTerms::of_service(Some(VatRate::percent(percent).unwrap()));
    let mut set = async |rate, from, now| journal::set_vat(&mut conn, month(), rate, from, "accountant", now).await;
    set(percent(20), noon() + hours(1), noon()).await.unwrap();
    set(percent(22), noon() + hours(2), noon()).await.unwrap();
    set(SaleTerms::of_service(None), noon() + hours(3), noon()).await.unwrap();
    assert!(matches!(set(percent(5), noon() + hours(2), noon()).await, Err(SetVatError::NotTheLast(_))));
    assert!(matches!(set(percent(5), noon(), noon() + minutes(1)).await, Err(SetVatError::Past)));
    drop(conn);
    for (hour, vat) in [(0, 0), (1, 6_650), (2, 7_195), (3, 0)] {
        let before = shop.balance(LedgerAccount::Vat, "2026-03-10").await;
        let payment = shop.created().await;
        shop.send(payment.id, noon()).await;
        shop.apply(payment.id, took(&payment, 10 + hour), noon() + hours(hour)).await;
        assert_eq!(shop.balance(LedgerAccount::Vat, "2026-03-10").await, before - vat, "after {hour} h");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_month_takes_no_entries_and_keeps_what_it_came_to() {
    let shop = Shop::open().await;
    shop.bought(1).await;
    let close = async |month: &str, now| {
        journal::close_month(&mut *shop.conn().await, date(month), "accountant", ZONE, now).await
    };
    let over = at("2026-04-01T09:00:00Z");
    let too_soon = at("2026-03-31T21:59:59Z");
    assert!(matches!(close("2026-03-01", too_soon).await, Err(CloseError::NotOver { .. })), "an hour after midnight");
    shop.earns_until("2026-03-31").await;
    let missing = close("2026-03-01", over).await;
    assert!(matches!(missing, Err(CloseError::NotRecognized(day)) if day == date("2026-03-31")), "{missing:?}");
    shop.earns_until("2026-04-01").await;
    close("2026-03-15", over).await.unwrap();
    assert!(matches!(close("2026-03-01", over).await, Err(CloseError::Closed(_))));
    assert!(matches!(close("2026-02-01", over).await, Err(CloseError::Closed(_))), "with all before it");

    for day in ["2026-03-10", "2026-03-31", "2025-12-31"] {
        let entry = format!(
            "insert into journal_entry (day, at, kind, key, currency) values ('{day}', now(), 'payout', 'x', 'RUB')"
        );
        let refused = shop.sql(&entry).await.unwrap_err().to_string();
        assert!(refused.contains("is closed"), "{day}: {refused}");
    }
    assert!(shop.sql("delete from closed_month").await.unwrap_err().to_string().contains("append-only"));

    // Money is never refused: what comes with a day of that month is entered in the next one.
    shop.bought(2).await;
    assert_eq!(
        shop.text("select day from journal_entry where transaction_id = 2").await.as_deref(),
        Some("2026-04-01")
    );
    // What is read from the month's end on is what all entries come to.
    shop.earns_until("2026-04-06").await;
    let summed = shop.text("select -sum(amount) from journal_line where account = 'deferred_revenue'").await.unwrap();
    assert_eq!(shop.deferred("2026-04-05").await.to_string(), summed);
    assert_eq!(shop.deferred("2026-03-31").await, 39_900 - 39_900 * 22 / 31);
    assert_eq!(shop.deferred("2026-03-09").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payout_clears_on_its_day_what_the_gateway_owed() {
    let shop = Shop::open().await;
    shop.bought(1).await;
    let payout = PaidOut {
        transaction_id: 1,
        day: date("2026-03-12"),
        amount: Kopecks::new(39_900),
        paid_out: Kopecks::new(38_803),
        currency: Currency::RUB,
    };
    // What was kept back for a refund.
    let back = PaidOut { transaction_id: 2, amount: Kopecks::new(-100), paid_out: Kopecks::new(-100), ..payout };
    let mut conn = shop.conn().await;
    for (payout, is_new) in [(&payout, true), (&payout, false), (&back, true)] {
        let later = at("2026-03-13T09:00:00Z");
        assert_eq!(journal::enter_payout(&mut conn, payout, ZONE, later).await.unwrap(), is_new);
    }
    drop(conn);
    assert_eq!(shop.balance(LedgerAccount::Bank, "2026-03-11").await, 0);
    assert_eq!(shop.balance(LedgerAccount::Bank, "2026-03-12").await, 38_703);
    assert_eq!(shop.balance(LedgerAccount::Fees, "2026-03-12").await, 1_097);
    assert_eq!(shop.balance(LedgerAccount::GatewayClearing, "2026-03-12").await, 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_of_the_documentation() {
    let page = include_str!("../../../../docs/ledger.md");
    let shop = Shop::open().await;
    let rate = SaleTerms::of_service(Some(VatRate::percent(22).unwrap()));
    journal::set_vat(&mut *shop.conn().await, month(), rate, noon(), "accountant", noon()).await.unwrap();
    let payment = shop.bought(1).await;
    shop.earns_until("2026-04-01").await;
    shop.gives_back(&payment, 101, 10_000, at("2026-04-01T09:00:00Z")).await;
    let payout = PaidOut {
        transaction_id: 1,
        day: date("2026-04-02"),
        amount: Kopecks::new(39_900),
        paid_out: Kopecks::new(38_803),
        currency: Currency::RUB,
    };
    journal::enter_payout(&mut *shop.conn().await, &payout, ZONE, at("2026-04-02T09:00:00Z")).await.unwrap();
    let units = |kopecks: i64| Kopecks::new(kopecks).in_currency(Currency::RUB).to_string().replace(" RUB", "");
    let said = format!("At the end of March {} are earned and {} deferred", units(23_210), units(9_495));
    assert_eq!(shop.balance(LedgerAccount::Revenue, "2026-03-31").await, -23_210);
    assert_eq!(shop.deferred("2026-03-31").await, 9_495);
    assert!(page.contains(&said), "{said}");
    shop.earns_until("2026-04-10").await;
    let (earned, left) = (-shop.balance(LedgerAccount::Revenue, "2026-04-09").await, shop.deferred("2026-04-09").await);
    let said = format!("at the end of 9 April {} are earned and {} deferred", units(earned), units(left));
    assert!(page.contains(&said), "{said}");

    let mut conn = shop.conn().await;
    let (from, to) = (date("2026-03-01"), date("2026-04-30"));
    let all = journal::postings(&mut conn, from, to, None, 1_000).await.unwrap();
    // Page by page it is the same.
    let mut paged = Vec::new();
    loop {
        let page = journal::postings(&mut conn, from, to, paged.last(), 7).await.unwrap();
        if page.is_empty() {
            break;
        }
        paged.extend(page);
    }
    assert_eq!(paged, all);
    let is_shown = |day: &str| matches!(day, "2026-03-10" | "2026-04-01" | "2026-04-02");
    let shown = all.iter().filter(|posted| is_shown(&posted.day.to_string()));
    let rows =
        shown.filter(|posted| posted.kind.as_str() != "revenue" || posted.day == date("2026-03-10")).map(|posted| {
            let amount = units(posted.amount.get());
            format!("| {} | {} | {} | {} | {amount} |\n", posted.day, posted.kind, posted.debit, posted.credit)
        });
    let rows: String = rows.collect();
    assert!(page.contains(&rows), "{rows}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_reckons_as_the_rules_do() {
    #[derive(diesel::QueryableByName)]
    struct Earned {
        #[diesel(sql_type = BigInt)]
        earned: i64,
    }
    let shop = Shop::open().await;
    let mut conn = shop.conn().await;
    let (day, mut runner) = (|n| date("2026-01-01") + Days::new(n), TestRunner::deterministic());
    let plan = (1_i64..=100_000_000, 0_u64..60, 1_u64..400, 0_u64..500, proptest::option::of(0_u64..500), 0_u64..900);
    for _ in 0..300 {
        let (amount, starts, days, known, cut, by) = plan.new_tree(&mut runner).unwrap().current();
        let sold = Deferral::new(Kopecks::new(amount), day(starts), day(starts + days), day(known));
        let sold = Deferral { cut_on: cut.map(day), ..sold };
        let query = diesel::sql_query(
            "select earned_by($1, $2, $3, $4, least(greatest($4, $3 - 1), coalesce($5 - 1, 'infinity')), $6) as earned",
        );
        let query = query.bind::<BigInt, _>(amount).bind::<Date, _>(sold.starts_on).bind::<Date, _>(sold.ends_on);
        let query = query.bind::<Date, _>(sold.known_on);
        let query = query.bind::<diesel::sql_types::Nullable<Date>, _>(sold.cut_on).bind::<Date, _>(day(by));
        let there: Earned = query.get_result(&mut *conn).await.unwrap();
        assert_eq!(there.earned, sold.earned_by(day(by)).get(), "{sold:?} by {}", day(by));
    }
}

/// What a forged plan or entry would show.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_disagrees_with_the_ledger_is_a_fault() {
    let shop = Shop::open().await;
    let payment = shop.bought(1).await;
    assert_eq!(payment.state, PaymentState::Succeeded);
    shop.earns_until("2026-03-20").await;
    let mut conn = shop.conn().await;
    assert_eq!(journal::faults(&mut conn, 10).await.unwrap(), Vec::<String>::new());
    for forged in ["update deferral set amount = amount - 1", "update deferral set cut_on = '2026-03-25'"] {
        diesel::sql_query("begin").execute(&mut *conn).await.unwrap();
        diesel::sql_query(forged).execute(&mut *conn).await.unwrap();
        let faults = journal::faults(&mut conn, 10).await.unwrap();
        diesel::sql_query("rollback").execute(&mut *conn).await.unwrap();
        assert!(
            matches!(&faults[..], [fault] if fault.starts_with("deferred revenue in RUB is")),
            "{forged}: {faults:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn money_that_went_back_before_it_was_known_to_have_come_is_not_sold() {
    let shop = Shop::open().await;
    let rate = SaleTerms::of_service(Some(VatRate::percent(22).unwrap()));
    journal::set_vat(&mut *shop.conn().await, month(), rate, noon(), "accountant", noon()).await.unwrap();
    let payment = shop.created().await;
    shop.charge(payment.id, unknown(noon()), noon()).await;
    let told = GatewayRefund {
        gateway_tx_id: 101,
        payment_tx_id: None,
        invoice_id: Some(payment.invoice_no.to_string()),
        account_id: None,
        json_data: None,
        amount: Kopecks::new(10_000),
    };
    refunds::recognise(&mut *shop.conn().await, &told, KnownFrom::Notification, noon()).await.unwrap();
    assert_eq!(shop.balance(LedgerAccount::RefundsPayable, "2026-03-10").await, 10_000, "of what is not known yet");
    shop.apply(payment.id, took(&payment, 1), noon() + minutes(1)).await;
    for (account, comes_to) in [
        (LedgerAccount::RefundsPayable, 0),
        (LedgerAccount::GatewayClearing, 29_900),
        (LedgerAccount::Vat, -(7_195 - 1_803)),
        (LedgerAccount::DeferredRevenue, -(29_900 - (7_195 - 1_803))),
    ] {
        assert_eq!(shop.balance(account, "2026-03-10").await, comes_to, "{account}");
    }
}

#[test]
fn more_than_came_is_nobodys() {
    let standing = Standing {
        subject: Subject::default(),
        currency: Currency::RUB,
        taken: Kopecks::new(100),
        vat: Kopecks::new(0),
        returned: Kopecks::new(90),
        is_kept: true,
        unearned: Kopecks::new(0),
    };
    let amount = Kopecks::new(15);
    let back = Return { key: "refund:1".into(), by: ReturnedBy::Refund, amount, transaction_id: None };
    let (entry, less) = ledger::returned(&standing, &back, noon(), ZONE);
    let changes = [LedgerAccount::Revenue, LedgerAccount::Suspense, LedgerAccount::GatewayClearing];
    assert_eq!(changes.map(|account| entry.change_of(account)), [10, 5, -15]);
    assert_eq!(less, Kopecks::new(0));
}
