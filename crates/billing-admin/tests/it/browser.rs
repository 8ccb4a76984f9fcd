//! Every page, by each role; and what an action does.

use std::process::Stdio;
use std::time::Duration;

use billing::cipher::Cipher;
use billing::db::Db;
use billing::event::Source;
use billing::payment::{CardMask, Outcome};
use billing::staff::{Role, password};
use billing::store::gateway_calls::{CallOutcome, Ended};
use billing::store::payments::{self, Begin, NewPayment, PaymentView};
use billing::store::staff::{self, By};
use billing::store::{accounts, tariffs};
use billing::trail::{self, Trail};
use billing::{AccountId, Currency};
use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use clap::Parser;
use diesel::sql_types::Text;
use diesel_async::{RunQueryDsl, SimpleAsyncConnection as _};
use secrecy::ExposeSecret as _;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use crate::seeded::{self, Options};

const ENDS_WITHIN: Duration = Duration::from_secs(480);

/// A subscriber's month: bought, renewed, refused, in doubt.
struct Month<'a> {
    db: &'a Db,
    cipher: &'a Cipher,
}

impl Month<'_> {
    async fn account(&self, at: DateTime<Utc>) -> AccountId {
        let id = AccountId::from(uuid::Uuid::now_v7());
        let registering =
            async { accounts::register(&mut self.db.conn().await.unwrap(), id, Tz::Europe__Moscow, at).await.unwrap() };
        trail::follow(Trail::of(Source::Api), registering).await;
        id
    }

    /// Writes a payment down and sends it; what the gateway says is `outcome`.
    async fn pays(
        &self,
        account_id: AccountId,
        at: DateTime<Utc>,
        outcome: impl FnOnce(&PaymentView) -> Outcome,
        called: CallOutcome,
    ) -> PaymentView {
        let mut conn = self.db.conn().await.unwrap();
        let tariff = tariffs::list(&mut conn, at).await.unwrap().remove(1);
        let new = NewPayment {
            trial: None,
            account_id,
            tariff_id: tariff.id,
            cryptogram: "a cryptogram".into(),
            ip_address: [203, 0, 113, 7].into(),
            idempotency_key: uuid::Uuid::now_v7().to_string(),
            now: at,
        };
        let payment = payments::create(&mut conn, new, self.cipher).await.unwrap().payment;
        let begun = payments::begin_sending(&mut conn, payment.id, self.cipher, at).await.unwrap();
        let Begin::Send(order) = begun else { panic!("it is sent: {begun:?}") };
        let later = at + TimeDelta::milliseconds(812);
        let ended = Ended {
            call: order.call,
            outcome: called,
            http_status: (called != CallOutcome::Unknown).then_some(200),
            request: Some("{\"Amount\":\"599.00\",\"InvoiceId\":\"7\"}".into()),
            response: Some("{\"Success\":true}".into()),
        };
        let outcome = outcome(&payment);
        let applied =
            payments::apply_answer(&mut conn, payment.id, outcome, Some(&ended), self.cipher, later).await.unwrap();
        applied.payment
    }
}

fn took(payment: &PaymentView, transaction_id: i64) -> Outcome {
    Outcome::Completed {
        transaction_id,
        token: Some("tk_of_a_test".into()),
        amount: payment.amount,
        currency: Currency::RUB,
        card: Some(CardMask {
            fingerprint: None,
            first_six: Some("424242".into()),
            last_four: Some("4242".into()),
            expires: Some("12/39".into()),
            scheme: Some("Visa".into()),
        }),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_can_be_read_by_everybody_and_an_action_does_what_it_shows() {
    let database = seeded::database().await;
    let memory = format!("memory://{}", uuid::Uuid::new_v4());
    let options = ["admin", "--database-url", database.url(), "--broker-url", &memory, "--result-backend", &memory];
    let options = Options::parse_from(options.into_iter().chain(["--admin-listen", "127.0.0.1:0"]));
    let services = options.services.connect().await.unwrap();
    let (db, cipher) = (services.db.clone(), services.cipher.clone());

    let (month, now) = (Month { db: &db, cipher: &cipher }, db.now());
    let paying = month.account(now - TimeDelta::days(2)).await;
    let paid = month.pays(paying, now - TimeDelta::days(2), |of| took(of, 1_001), CallOutcome::Ok).await;
    let refused = month.account(now - TimeDelta::hours(3)).await;
    let declined = |_: &PaymentView| Outcome::Declined {
        transaction_id: Some(1_002),
        code: 5051,
        reason: "InsufficientFunds".into(),
        cardholder_message: "Недостаточно средств на карте".into(),
        retry_after: None,
    };
    let declined = month.pays(refused, now - TimeDelta::hours(3), declined, CallOutcome::Declined).await;
    let doubtful = month.account(now - TimeDelta::hours(2)).await;
    let unknown = |_: &PaymentView| Outcome::Unknown {
        why: "no response within 60 s".into(),
        look_again_at: now + TimeDelta::hours(1),
    };
    let unknown = month.pays(doubtful, now - TimeDelta::hours(2), unknown, CallOutcome::Unknown).await;
    for _ in 0..60 {
        month.account(now - TimeDelta::days(5)).await;
    }

    db.conn().await.unwrap().batch_execute(include_str!("figures.sql")).await.unwrap();

    let by = By::command_line("a test");
    let mut passwords = Vec::new();
    for (name, role) in
        [("chief", Role::ChiefAccountant), ("second", Role::ChiefAccountant), ("admin", Role::Administrator)]
    {
        let password = password::one_time();
        let hash = password::hash(&password);
        staff::add(&mut db.conn().await.unwrap(), name, role, &hash, &by, now).await.unwrap();
        passwords.push(password.expose_secret().to_owned());
    }
    // Every refund of the chief's needs a second person.
    let limit = "update refund_limit set alone = 0 where role = 'chief_accountant'";
    diesel::sql_query(limit).execute(&mut db.conn().await.unwrap()).await.unwrap();
    let before = accounts::get(&mut db.conn().await.unwrap(), paying).await.unwrap().unwrap().paid_until;
    let bound = billing_admin::bind(options.admin).await.unwrap();
    let (address, stop) = (format!("http://{}", bound.local_addr()), CancellationToken::new());
    let serving = tokio::spawn(bound.run(services, stop.clone()));

    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it");
    let ids = [paying.to_string(), paid.id.to_string(), paid.bill_id.to_string(), declined.id.to_string()];
    let mut browser = Command::new(testkit::python());
    browser.arg("browse.py").arg(&address).args(&passwords).args(&ids).arg(unknown.id.to_string());
    browser.current_dir(directory).env("PYTHONDONTWRITEBYTECODE", "1").stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(ENDS_WITHIN, browser.output()).await.expect("it ends").unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));

    // What its buttons have done.
    let account = accounts::get(&mut db.conn().await.unwrap(), paying).await.unwrap().unwrap();
    assert!(account.cancel_at_period_end, "cancelled, once, though the form was sent twice");
    assert_eq!(account.paid_until, before.map(|end| end + TimeDelta::days(3)), "extended by three days");
    #[derive(diesel::QueryableByName)]
    struct Line {
        #[diesel(sql_type = Text)]
        text: String,
    }
    let audit =
        "select action || ' ' || coalesce(reason, '') as text from audit_log where target is not null order by id";
    let lines: Vec<Line> = diesel::sql_query(audit).load(&mut db.conn().await.unwrap()).await.unwrap();
    let lines: Vec<_> = lines.iter().map(|line| line.text.trim()).filter(|line| !line.starts_with("staff_")).collect();
    assert_eq!(
        lines,
        [
            "extend an outage on Monday",
            "change_tariff the customer wants more",
            "cancel the customer called",
            "refund the film did not play",
            "closing_asked looked by number and in the list of the day",
            "bulk_asked an outage on Tuesday",
            "refund_approved",
            "bulk_approved an outage on Tuesday"
        ]
    );
    let wiped = diesel::sql_query("delete from audit_log").execute(&mut db.conn().await.unwrap()).await;
    assert!(wiped.is_err(), "the log takes new rows and nothing else");

    stop.cancel();
    serving.await.unwrap();
}
