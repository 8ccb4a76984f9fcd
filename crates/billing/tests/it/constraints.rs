//! What the database itself forbids, whatever the code above it believes.

use diesel::result::{DatabaseErrorKind as Kind, Error as QueryError};

use crate::shop::{Shop, month, purchase, took};
use crate::support::{noon, sample};

async fn refusal(shop: &Shop, statement: &str) -> (String, Option<String>) {
    match shop.sql(statement).await {
        Err(QueryError::DatabaseError(kind, info)) => {
            let kind = match kind {
                Kind::UniqueViolation => "unique",
                Kind::CheckViolation => "check",
                Kind::ForeignKeyViolation => "foreign key",
                other => panic!("{other:?}: {}", info.message()),
            };
            (kind.to_owned(), info.constraint_name().map(str::to_owned))
        }
        other => panic!("{statement} was not refused: {other:?}"),
    }
}

async fn refuses(shop: &Shop, statement: &str, kind: &str, constraint: &str) {
    let refused = refusal(shop, statement).await;
    assert_eq!(refused, (kind.to_owned(), Some(constraint.to_owned())), "{statement}");
}

/// Another row like the payment's, with some columns changed.
fn another(payment: impl std::fmt::Display, changes: &[(&str, &str)]) -> String {
    let columns = [
        ("id", "gen_random_uuid()"),
        ("created_at", "created_at"),
        ("updated_at", "updated_at"),
        ("bill_id", "bill_id"),
        ("is_success", "null"),
        ("finished_at", "null"),
        ("transaction_id", "null"),
        ("state", "'created'"),
        ("instrument", "instrument"),
        ("amount", "amount"),
        ("currency", "currency"),
        ("request_id", "gen_random_uuid()::text"),
        ("invoice_no", "nextval('payment_invoice_no_seq')"),
        ("sends", "0"),
        ("woken_at", "now()"),
    ];
    let value = |column: &str, usual: &'static str| {
        changes.iter().find(|(name, _)| *name == column).map_or(usual, |(_, value)| *value).to_owned()
    };
    let names = columns.map(|(name, _)| name).join(", ");
    let values = columns.map(|(name, usual)| value(name, usual)).join(", ");
    format!("insert into payment ({names}) select {values} from payment where id = '{payment}'")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bill_takes_no_second_live_or_succeeded_payment() {
    const ONE: &str = "payment_one_live_or_succeeded_per_bill";
    let shop = Shop::open().await;
    let payment = shop.created().await;
    for state in ["created", "awaiting_3ds", "posting_3ds", "unknown", "authorized"] {
        let state = format!("'{state}'");
        refuses(&shop, &another(payment.id, &[("state", &state)]), "unique", ONE).await;
    }
    let success = [("state", "'succeeded'"), ("is_success", "true"), ("finished_at", "now()"), ("transaction_id", "7")];
    refuses(&shop, &another(payment.id, &success), "unique", ONE).await;

    shop.charge(payment.id, took(&payment, sample::TRANSACTION), noon()).await;
    refuses(&shop, &another(payment.id, &[]), "unique", ONE).await;
    refuses(&shop, &another(payment.id, &success), "unique", ONE).await;

    let declined = [("state", "'declined'"), ("is_success", "false"), ("finished_at", "now()")];
    assert_eq!(shop.sql(&another(payment.id, &declined)).await.unwrap(), 1, "what is over is history");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_gateway_knows_an_attempt_by_is_unique() {
    let shop = Shop::open().await;
    let payment = shop.created().await;
    shop.charge(payment.id, took(&payment, 7), noon()).await;
    let dead = [("state", "'declined'"), ("is_success", "false"), ("finished_at", "now()")];
    for (column, constraint) in [
        ("request_id", "payment_request_id"),
        ("invoice_no", "payment_invoice_no"),
        ("transaction_id", "payment_transaction_id"),
    ] {
        let copy = [&dead[..], &[(column, column)]].concat();
        refuses(&shop, &another(payment.id, &copy), "unique", constraint).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_owes_one_bill_a_period_and_one_at_a_time() {
    let shop = Shop::open().await;
    let bill = shop.created().await.bill_id;
    let copy = |changes: &str| {
        format!(
            "insert into bill (id, created_at, updated_at, status, amount, account_id, paid_period, payment_type,
                               currency, tariff_id, description, kind, period_no)
             select gen_random_uuid(), created_at, updated_at, {changes} from bill where id = '{bill}'"
        )
    };
    let rest = "amount, account_id, paid_period, payment_type, currency, tariff_id, description";
    let open = copy(&format!("'Not paid', {rest}, kind, period_no + 1"));
    refuses(&shop, &open, "unique", "bill_one_open_per_account").await;
    let same_period = copy(&format!("'Uncollectible', {rest}, kind, period_no"));
    refuses(&shop, &same_period, "unique", "bill_one_per_period").await;
    let void = copy(&format!("'Void', {rest}, kind, period_no"));
    assert_eq!(shop.sql(&void).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn financial_history_cannot_be_deleted() {
    let shop = Shop::open().await;
    let payment = shop.created().await;
    for (table, id, constraint) in [
        ("tariff", payment.tariff_id.to_string(), "bill_tariff_id_fkey"),
        ("account", payment.account_id.to_string(), "bill_account_id_fkey"),
        ("bill", payment.bill_id.to_string(), "payment_bill_id_fkey"),
    ] {
        refuses(&shop, &format!("delete from {table} where id = '{id}'"), "foreign key", constraint).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn amounts_and_periods_have_bounds() {
    let shop = Shop::open().await;
    for (column, values, constraint) in [
        ("amount", &["0", "-1", "100000001"][..], "tariff_amount_check"),
        (
            "period",
            &["'0'", "'-1 month'", "'1 month 1 day'", "'36 hours'", "'1 day 1 second'", "'121 months'", "'3601 days'"],
            "tariff_period_check",
        ),
        ("currency", &["'rub'", "'RU'"], "tariff_currency_check"),
    ] {
        for value in values {
            refuses(&shop, &format!("update tariff set {column} = {value}"), "check", constraint).await;
        }
    }
    for period in ["1 day", "3600 days", "1 month", "1 year", "10 years"] {
        assert_eq!(shop.sql(&format!("update tariff set period = '{period}'")).await.unwrap(), 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_contradict_themselves_are_refused() {
    let shop = Shop::open().await;
    let payment = shop.created().await;
    let (id, bill) = (payment.id, payment.bill_id);
    let cases = [
        (format!("update payment set finished_at = now() where id = '{id}'"), "payment_verdict_follows_state"),
        (
            format!("update payment set state = 'succeeded', is_success = true, finished_at = now() where id = '{id}'"),
            "payment_success_has_a_transaction",
        ),
        (format!("update payment set state = 'sending' where id = '{id}'"), "payment_sent_before_its_answer"),
        (format!("update payment set acs_url = 'x' where id = '{id}'"), "payment_three_ds_is_whole"),
        (format!("update payment set state = 'paid' where id = '{id}'"), "payment_state_check"),
        (format!("update bill set status = 'Not paid' where id = '{bill}'"), "bill_keeps_secrets_only_in_work"),
        (
            format!("update bill set status = 'Paid', card_cryptogram_packet = null where id = '{bill}'"),
            "bill_knows_when_it_was_paid",
        ),
        ("update account set status = 'Active'".to_owned(), "account_term_is_whole"),
        ("update account set next_charge_at = now()".to_owned(), "account_is_charged_only_while_running"),
    ];
    for (statement, constraint) in cases {
        refuses(&shop, &statement, "check", constraint).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_counts_periods_as_we_do() {
    let shop = Shop::open().await;
    let periods = ["1 month", "3 months", "1 year", "1 day", "7 days"];
    let zones = ["Europe/Moscow", "Europe/Berlin", "America/New_York", "Pacific/Auckland", "Asia/Kathmandu"];
    // The nights around every change of the clocks, and the ends of months.
    let anchors = [
        "2026-01-30T21:30:00Z",
        "2026-01-31T12:00:00Z",
        "2026-02-28T23:59:59Z",
        "2026-03-28T01:30:00Z",
        "2026-10-24T00:30:00Z",
        "2026-03-07T07:30:00Z",
        "2026-10-31T05:30:00Z",
        "2028-02-29T10:00:00Z",
    ];
    for zone in zones {
        for text in periods {
            let period = period(text);
            for anchor in anchors {
                let sql = format!(
                    "select string_agg(to_char((('{anchor}'::timestamptz at time zone '{zone}') + n * interval '{text}')
                        at time zone '{zone}', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), ' ' order by n)
                     from generate_series(0, 13) n"
                );
                let ours = (0..=13).map(|n| {
                    let end = period.nth_instant(crate::support::at(anchor), n, zone.parse().unwrap()).unwrap();
                    end.format("%Y-%m-%dT%H:%M:%SZ").to_string()
                });
                let ours = ours.collect::<Vec<_>>().join(" ");
                assert_eq!(shop.text(&sql).await.unwrap(), ours, "{anchor} + n × {text} in {zone}");
            }
        }
    }
}

fn period(text: &str) -> billing::period::Period {
    use billing::period::Period;
    let (n, unit) = text.split_once(' ').unwrap();
    let n: u32 = n.parse().unwrap();
    match unit.trim_end_matches('s') {
        "day" => Period::days(n),
        "month" => Period::months(n),
        "year" => Period::months(12 * n),
        other => panic!("{other}"),
    }
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_period_survives_the_way_into_the_database_and_back() {
    let shop = Shop::open().await;
    let account = shop.account().await;
    let bill = shop.create(purchase(account)).await.unwrap().payment.bill_id;
    let stored = shop.text(&format!("select paid_period from bill where id = '{bill}'")).await.unwrap();
    assert_eq!(stored, "1 mon");
    let tariff =
        billing::store::tariffs::get(&mut *shop.conn().await, month(), crate::support::noon()).await.unwrap().unwrap();
    assert_eq!(tariff.period, period("1 month"));
}
