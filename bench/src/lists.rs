//! The lists and reports of the panel while there are very many rows: each page beside the bare SQL of its rows, the ten
//! thousandth as well as the first; the figures of a year; and how long it takes to add up a day of them.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use billing::store::browse::{self, AccountFilter, BillFilter, EventFilter, Part, PaymentFilter};
use billing::store::reports::{self, Figure, Span};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

use crate::payments::system::{Database, connect};
use crate::renewals::{fill, services_of};
use crate::servers::Servers;

/// What a page of the panel holds.
const PAGE: i64 = 50;
/// How many pages lie before the one that is far from the beginning.
const FAR: i64 = 10_000;
const TIMES: usize = 101;

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Listed {
    pub accounts: usize,
    pub payments: usize,
    /// The worst of all lists, of the first page and of one far from it: its time to that of the bare SQL.
    pub to_sql: f64,
    /// The slowest page, in milliseconds.
    pub slowest_page: f64,
    /// The figures of a year, in milliseconds.
    pub year: f64,
    /// The figures of a day are added up in so many seconds.
    pub roll_up: f64,
}

/// Each of the accounts has so many payments.
pub async fn read(servers: &Servers, accounts: usize, payments_each: usize) -> Result<Listed> {
    ensure!(payments_each > 0, "an account here has a payment");
    let database = Database::migrated(servers).await?;
    fill(&database, accounts, "now() - interval '2 days'").await?;
    for period_no in 2..=payments_each {
        database.execute(&renewal(period_no)).await?;
    }
    database.execute(YEAR).await?;
    database.execute("vacuum analyze").await?;
    let mut lists = Lists { raw: connect(&database.url).await?, to_sql: 0.0, slowest_page: 0.0 };
    let services = services_of(servers, &database).connect().await?;
    let db = &services.db;
    let mut conn = db.conn().await?;

    let far = FAR.min(i64::try_from(accounts)? / PAGE / 2) * PAGE;
    for is_far in [false, true] {
        macro_rules! list {
            ($name:literal, $filter:expr, $read:path, $cursor:expr, $sql:literal, $order:expr) => {{
                let part = if is_far {
                    let last = $read(&mut conn, $filter, Part::First, far).await?;
                    Part::Behind($cursor(last.rows.last().context(concat!("no ", $name))?))
                } else {
                    Part::First
                };
                let mut ours = Vec::with_capacity(TIMES);
                for _ in 0..TIMES {
                    let began = Instant::now();
                    let slice = $read(&mut conn, $filter, part, PAGE).await?;
                    ours.push(began.elapsed());
                    ensure!(slice.rows.len() == 50, concat!($name, ": {} rows"), slice.rows.len());
                }
                lists.compare($name, is_far, median(ours), $sql, $order, far).await?;
            }};
        }
        list!(
            "accounts",
            AccountFilter::default(),
            browse::accounts,
            |row: &browse::AccountLine| row.cursor(browse::AccountKey::Created),
            "select account.*, tariff.name from account left join tariff on tariff.id = account.tariff_id",
            &["account.created_at", "account.id"]
        );
        list!(
            "bills",
            BillFilter::default(),
            browse::bills,
            |row: &billing::store::subscriptions::BillView| row.id,
            "select * from bill",
            &["bill.id"]
        );
        list!(
            "payments",
            PaymentFilter::default(),
            browse::payments,
            |row: &billing::store::payments::PaymentView| browse::PaymentCursor::Id(row.id),
            "select * from payment join bill on bill.id = payment.bill_id join account on account.id = bill.account_id",
            &["payment.id"]
        );
        list!(
            "events",
            EventFilter::default(),
            browse::events,
            |row: &billing::event::Event| row.id,
            "select * from event",
            &["event.id"]
        );
    }

    let mut year = Vec::new();
    let today = db.now().date_naive();
    for _ in 0..11 {
        let (began, span) = (Instant::now(), Span::ending(today, 365));
        let all = [Figure::Taken, Figure::GivenBack, Figure::Earned, Figure::Deferred, Figure::Paying, Figure::Gained];
        let read = reports::series(&mut conn, span, &all).await?.len();
        reports::totals(&mut conn, span, &all).await?;
        reports::totals(&mut conn, span.before(), &all).await?;
        reports::deferred_until(&mut conn, span.to).await?;
        year.push(began.elapsed());
        ensure!(read > 365, "{read} figures of a year");
    }
    let day = reports::next_day(&mut conn).await?.context("a day waits for its figures")?;
    let began = Instant::now();
    let figures =
        reports::roll_up(&mut conn, day, services.time_zone, db.now()).await?.context("nobody else is at it")?;
    let roll_up = began.elapsed().as_secs_f64();
    ensure!(figures > 0, "a day without figures");
    drop(conn);
    let payments = usize::try_from(database.count("select count(*) from payment").await?)?;
    database.drop().await?;
    let Lists { to_sql, slowest_page, .. } = lists;
    Ok(Listed { accounts, payments, to_sql, slowest_page, year: milliseconds(median(year)), roll_up })
}

struct Lists {
    raw: Client,
    to_sql: f64,
    slowest_page: f64,
}

impl Lists {
    /// Has the same rows read by the bare SQL.
    async fn compare(
        &mut self,
        name: &str,
        is_far: bool,
        ours: Duration,
        rows: &str,
        order: &[&str],
        far: i64,
    ) -> Result<()> {
        let descending = order.iter().map(|column| format!("{column} desc")).collect::<Vec<_>>().join(", ");
        let (table, _) = order[0].split_once('.').context("a column of a table")?;
        let (mut page, mut cursor) = (String::new(), Vec::<String>::new());
        let id = if table == "event" { "bigint" } else { "uuid" };
        if is_far {
            let texts = order.iter().map(|column| format!("{column}::text")).collect::<Vec<_>>().join(", ");
            let last = format!("select array[{texts}] from {table} order by {descending} offset {} limit 1", far - 1);
            cursor = self.raw.query_one(&last, &[]).await?.try_get(0)?;
            let of = |column: &str| if column.ends_with("_at") { "timestamptz" } else { id };
            let places = order.iter().enumerate().map(|(n, column)| format!("${}::text::{}", n + 1, of(column)));
            page = format!("where ({}) < ({})", order.join(", "), places.collect::<Vec<_>>().join(", "));
        }
        let page = format!("{rows} {page} order by {descending} limit {}", PAGE + 1);
        let statement = self.raw.prepare(&page).await?;
        let cursor: Vec<_> = cursor.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
        let mut raw = Vec::with_capacity(TIMES);
        for _ in 0..TIMES {
            let began = Instant::now();
            let read = self.raw.query(&statement, &cursor).await?;
            raw.push(began.elapsed());
            ensure!(read.len() == 51, "{name}: {} rows by SQL", read.len());
        }
        let (ours, raw) = (milliseconds(ours), milliseconds(median(raw)));
        eprintln!("  {name}, {}: {ours:.2} ms, by SQL {raw:.2} ms", if is_far { "far" } else { "first" });
        self.to_sql = self.to_sql.max(ours / raw);
        self.slowest_page = self.slowest_page.max(ours);
        Ok(())
    }
}

/// One more paid renewal of each account.
fn renewal(period_no: usize) -> String {
    format!(
        "begin;
         create temporary table renewal on commit drop as
         select gen_random_uuid() as bill_id, gen_random_uuid() as payment_id, a.id, b.amount, b.currency, b.tariff_id,
             b.description, now() - interval '1 hour' * {period_no} as at
         from account a join bill b on b.account_id = a.id and b.kind = 'primary';
         insert into bill (id, created_at, updated_at, status, amount, account_id, paid_period, payment_type, currency,
             tariff_id, description, kind, period_no, paid_at)
         select bill_id, at, at, 'Paid', amount, id, interval '1 month', 'TOKEN', currency, tariff_id, description, 'renewal',
             {period_no}, at from renewal;
         insert into payment (id, created_at, updated_at, is_success, bill_id, transaction_id, state, instrument, amount,
             currency, request_id, idempotency_key, request_digest, sends, first_sent_at, last_sent_at, woken_at, finished_at)
         select payment_id, at, at, true, bill_id, 1000000000 + {period_no}::bigint * 100000000 + row_number() over (),
             'succeeded', 'token', amount, currency, 'charge:' || payment_id, payment_id, '\\x00', 1, at, at, at, at
         from renewal;
         commit"
    )
}

/// Figures of a year, and a day that has none yet.
const YEAR: &str = "
    insert into daily_figure (day, figure, label, tariff_id, currency, count, amount)
    select current_date - n, figure, case when figure = 'gained' then label else '' end, tariff.id, 'RUB', n, n * 100
    from generate_series(1, 730) as n, (select distinct id from tariff) as tariff,
        unnest(array['taken', 'given_back', 'earned', 'deferred', 'vat', 'paying', 'trial', 'gained']) as figure,
        unnest(array['new', 'returned', 'expanded', 'contracted', 'left', 'lapsed']) as label
    where (figure = 'gained' or label = 'new') and n <> 3;
    insert into revenue_day (day, recognized_at) values (current_date - 3, now())";

fn median(mut all: Vec<Duration>) -> Duration {
    all.sort();
    all[all.len() / 2]
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
