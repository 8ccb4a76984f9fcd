//! Lists as tables, and what is decided about a difference.

use billing::reconciliation::{Range, RunKind};
use billing::store::reconciliation;
use chrono::TimeDelta;

use super::*;

const HERE: &str = "http://127.0.0.1:1";

impl Site {
    pub(super) async fn count(&self, of: &str) -> i64 {
        #[derive(diesel::QueryableByName)]
        struct Count {
            #[diesel(sql_type = diesel::sql_types::BigInt)]
            n: i64,
        }
        let count = diesel::sql_query(format!("select count(*) as n from {of}"));
        let mut conn = self.db.conn().await.expect("it answers");
        let counted: Count = count.get_result(&mut *conn).await.expect("it counts");
        counted.n
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_has_the_rows_of_its_list_and_is_in_the_log() {
    let site = Site::open().await;
    let who = Who::In(site.signed_in(Role::Accountant, false).await);
    let many = format!(
        "insert into account (id, created_at, updated_at, status, time_zone)
         select gen_random_uuid(), now() - n * interval '1 second', now(), 'Inactive', 'Europe/Moscow'
         from generate_series(1, {}) as n",
        2_100
    );
    diesel::sql_query(many).execute(&mut site.db.conn().await.unwrap()).await.unwrap();
    let seen = site.get("/accounts/export", &who).await;
    let lines: Vec<&str> = seen.body.lines().collect();
    assert_eq!(lines.len(), 1 + 2_101, "all of them, though they are read in parts");
    assert!(lines[0].starts_with("id,created_at,status,"), "{}", lines[0]);
    let ids: std::collections::BTreeSet<_> = lines[1..].iter().filter_map(|line| line.split(',').next()).collect();
    assert_eq!(ids.len(), 2_101, "each once");

    let seen = site.get("/payments/export?state=declined", &who).await;
    assert_eq!(seen.body.lines().count(), 2, "{}", seen.body);
    let seen = site.get("/payments/export?state=succeeded&format=excel", &who).await;
    assert_eq!(
        seen.body,
        "\u{feff}id;invoice_no;created_at;account;bill;amount;currency;state;reason_code;instrument;card;transaction_id\r\n"
    );
    let taken = "audit_log where action = 'exported' and target in ('accounts', 'payments')";
    assert_eq!(site.count(taken).await, 3);
    let ended = "audit_log where action = 'export_ended' and target = 'accounts' and (after ->> 'rows')::int = 2101";
    assert_eq!(site.count(ended).await, 1);

    let formula =
        "insert into refund (payment_id, amount, currency, state, source, effect, reason, request_id, finished_at)
        select id, 1, 'RUB', 'failed', 'external', 'keep', '=HYPERLINK(1)', 'r', now() from payment";
    diesel::sql_query(formula).execute(&mut site.db.conn().await.unwrap()).await.unwrap();
    let seen = site.get("/refunds/export", &who).await;
    assert!(seen.body.contains(",'=HYPERLINK(1)"), "{}", seen.body);
}

/// What stands in the cells of a table with commas.
fn cells(text: &str) -> Vec<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_bytes());
    reader.records().map(|line| line.expect("a line").iter().map(str::to_owned).collect()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workbook_has_what_the_table_has_of_every_list() {
    let site = Site::open().await;
    let (books, audit) =
        (Who::In(site.signed_in(Role::Accountant, false).await), Who::In(site.signed_in(Role::Auditor, false).await));
    let mut compared = 0;
    for route in table().iter().filter(|route| route.path.ends_with("/export")) {
        let who = if route.path.starts_with("/audit") { &audit } else { &books };
        let lines = cells(&site.get(route.path, who).await.body);
        let seen = site.get(&format!("{}?format=xlsx", route.path), who).await;
        let parts = crate::workbook::tests::parts(seen.bytes);
        let (_, sheet) = parts.iter().find(|(name, _)| name == "xl/worksheets/sheet1.xml").expect("a sheet");
        let rows = crate::workbook::tests::rows(sheet);
        // The log has grown by who took it.
        let rows = if route.path.starts_with("/audit") { &rows[..1] } else { &rows[..] };
        let lines = &lines[..rows.len()];
        for (line, row) in lines.iter().zip(rows) {
            for (at, text) in line.iter().enumerate() {
                let cell = row.get(at).map_or("", String::as_str);
                let is_time = text.parse::<chrono::DateTime<chrono::Utc>>();
                match is_time {
                    Ok(time) => assert_eq!(cell, crate::workbook::serial(time, Tz::Europe__Moscow), "{}", route.path),
                    Err(_) => assert_eq!(cell, text.strip_prefix('\'').unwrap_or(text), "{}", route.path),
                }
                compared += 1;
            }
        }
    }
    assert!(compared > 100, "{compared} cells were compared");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_sorted_as_its_address_says_and_its_table_and_views_are_too() {
    let site = Site::open().await;
    let who = Who::In(site.signed_in(Role::Accountant, false).await);
    let many = "insert into account (id, created_at, updated_at, status)
        select ('00000000-0000-4000-8000-00000000000' || n)::uuid, timestamptz '2020-01-01' + n * interval '1 day', now(), 'Inactive'
        from generate_series(1, 3) as n";
    diesel::sql_query(many).execute(&mut site.db.conn().await.unwrap()).await.unwrap();
    let first = |body: &str| cells(body)[1][0].clone();
    let oldest = "00000000-0000-4000-8000-000000000001";
    assert_eq!(first(&site.get("/accounts/export?sort=created", &who).await.body), oldest);
    assert_ne!(first(&site.get("/accounts/export", &who).await.body), oldest);
    assert_ne!(first(&site.get("/accounts/export?sort=nothing", &who).await.body), oldest);

    let page = site.get("/accounts?sort=created&col=8", &who).await.body;
    assert!(page.contains("aria-sort=\"ascending\"") && page.contains("2020"), "{page}");
    for kept in [
        "/accounts/export?sort=created&#38;col=8&#38;format=csv",
        "name=\"query\" value=\"sort=created&#38;col=8\"",
        "type=\"hidden\" name=\"sort\" value=\"created\"",
    ] {
        assert!(page.contains(kept), "{kept}: {page}");
    }
    let position = |body: &str| body.find("00000001\"").or_else(|| body.find(oldest)).expect("it is listed");
    let by_default = site.get("/accounts", &who).await.body;
    assert!(position(&page) < page.find(&site.account.to_string()).expect("it is listed"));
    assert!(position(&by_default) > by_default.find(&site.account.to_string()).expect("it is listed"));
    let charged = site.get("/accounts?sort=next_charge", &who).await.body;
    assert!(charged.contains("только со следующим списанием") && !charged.contains(oldest), "{charged}");
    // What is done to all of the list is done to those that it shows.
    assert!(site.get("/accounts/extend?sort=next_charge", &who).await.body.contains("только со следующим списанием"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_is_an_address_of_whoever_saved_it() {
    let site = Site::open().await;
    let (ada, bob) = (site.signed_in(Role::Accountant, false).await, site.signed_in(Role::Accountant, false).await);
    let save = async |cookie: &SecretString, list: &str, name: &str| {
        let form = format!(
            "csrf={}&list={list}&name={name}&query=state%3Dsucceeded%26col%3D2%26after%3D1",
            access::csrf(cookie)
        );
        site.ask(&Method::POST, "/views", &Who::In(cookie.clone()), HERE, &form).await
    };
    let seen = save(&ada, "refunds", "Back").await;
    assert_eq!(seen.to, "/refunds?state=succeeded&col=2", "conditions and columns, not the place: {}", seen.body);
    save(&ada, "refunds", "Back").await;
    assert_eq!(site.count("saved_view").await, 1, "a name is given once");
    assert_eq!(save(&ada, "elsewhere", "x").await.status, StatusCode::NOT_FOUND);
    assert_eq!(save(&ada, "refunds", &"x".repeat(61)).await.status, StatusCode::PAYLOAD_TOO_LARGE);

    let (me, other) = (Who::In(ada.clone()), Who::In(bob.clone()));
    let listed = site.get("/refunds", &me).await.body;
    let forget =
        format!("/views/{}", listed.split_once("action=\"/views/").expect("it is there").1.split('"').next().unwrap());
    assert!(listed.contains("href=\"/refunds?state=succeeded&#38;col=2\""), "{listed}");
    assert!(!site.get("/refunds", &other).await.body.contains("action=\"/views/"), "nobody else's");
    let forgotten = async |cookie: &SecretString| {
        let form = format!("csrf={}", access::csrf(cookie));
        site.ask(&Method::POST, &forget, &Who::In(cookie.clone()), HERE, &form).await
    };
    assert_eq!(forgotten(&bob).await.status, StatusCode::NOT_FOUND);
    assert_eq!(forgotten(&ada).await.to, "/refunds");
    assert_eq!(site.count("saved_view").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_difference_is_decided_once_by_what_was_seen_of_it() {
    let site = Site::open().await;
    let who = site.signed_in(Role::Accountant, false).await;
    let now = site.db.now();
    let id = uuid::Uuid::now_v7();
    {
        let mut conn = site.db.conn().await.unwrap();
        let range = Range { from: now - TimeDelta::days(1), to: now };
        let run = reconciliation::ask(&mut conn, RunKind::Asked, range, "a test", now).await.unwrap();
        let found = format!(
            "insert into difference (id, kind, subject, created_at, found_by, seen_at, seen_by, at, payment_id,
                our_amount, our_currency, their_amount, their_currency, their_status, state)
             values ('{id}', 'amount', 'transaction:1', now(), '{0}', now(), '{0}', now(), '{1}', 39900, 'RUB', 39901, 'RUB',
                $${SCRIPT}$$, 'open')",
            run.id, site.payment
        );
        diesel::sql_query(found).execute(&mut *conn).await.unwrap();
    }
    let path = format!("/differences/{id}");
    let (me, csrf) = (Who::In(who.clone()), access::csrf(&who));
    let list = site.get("/differences?state=open", &me).await;
    assert!(list.body.contains(&path) && list.body.contains("399,01"), "{}", list.body);
    assert!(!site.get("/differences?state=resolved", &me).await.body.contains(&path));
    let one = site.get(&path, &me).await;
    assert!(one.body.contains("&#60;script&#62;") && !one.body.contains(SCRIPT), "{}", one.body);

    let decide = async |reason: &str| {
        let form = format!("csrf={csrf}&seen=open&state=resolved&reason={reason}");
        site.ask(&Method::POST, &path, &me, HERE, &form).await
    };
    assert_eq!(decide("x").await.status, StatusCode::UNPROCESSABLE_ENTITY, "a reason is a reason");
    assert_eq!(decide("booked by hand").await.to, path);
    let again = decide("booked twice").await;
    assert!(again.body.contains("кто-то уже принял решение"), "{}", again.body);
    let decided = "difference where state = 'resolved' and reason = 'booked by hand' and decided_by is not null";
    assert_eq!(site.count(decided).await, 1);
    let logged = "audit_log where action = 'difference_decided' and reason = 'booked by hand'";
    assert_eq!(site.count(logged).await, 1);
    let auditor = Who::In(site.signed_in(Role::Auditor, false).await);
    assert!(!site.get(&path, &auditor).await.body.contains("<form class=\"card\" method=\"post\">"), "who only looks");
}
