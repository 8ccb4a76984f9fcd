//! Walks the table: whoever has no right gets nothing, from every route that is there.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use billing::cipher::Cipher;
use billing::db::Db;
use billing::payment::{CardMask, Outcome};
use billing::staff::{Right, Role, password};
use billing::store::gateway_calls::{self, CallOutcome, Ended};
use billing::store::payments::{self, NewPayment};
use billing::store::staff::{self, By, SessionKey};
use billing::store::{accounts, tariffs};
use billing::{AccountId, BillId, PaymentId, ServicesConfig};
use chrono_tz::Tz;
use clap::Parser;
use diesel_async::RunQueryDsl as _;
use http_body_util::BodyExt as _;
use secrecy::{ExposeSecret as _, SecretString};
use testkit::TestDatabase;
use tokio::sync::Semaphore;
use tower::ServiceExt as _;

use super::*;
use crate::access;

mod acts;
mod coming_in;
mod lists;
mod settings;

const HOST: &str = "127.0.0.1:1";
const SCRIPT: &str = "<script>alert('x')</script>";
const SECRETS: [&str; 4] = ["01424242424227090128SMfGq1Uo5", "tk_secret", "cGFyZXE-secret", "$argon2id"];

#[derive(Parser)]
struct Options {
    #[command(flatten)]
    services: ServicesConfig,
}

struct Site {
    router: Router,
    db: Db,
    cipher: Cipher,
    account: AccountId,
    bill: BillId,
    payment: PaymentId,
    _database: TestDatabase,
}

struct Seen {
    status: StatusCode,
    to: String,
    /// The session that begins, or goes on under another name.
    cookie: Option<SecretString>,
    body: String,
    bytes: Vec<u8>,
}

/// A personal trace.
const CUSTOMERS_ADDRESS: &str = "203.0.113.7";

/// Who comes: what is in their cookie.
#[derive(Clone, Debug)]
enum Who {
    Nobody,
    Forged,
    In(SecretString),
}

impl Site {
    async fn open() -> Self {
        Self::opened(false).await
    }

    /// Where everybody needs a second factor, or not.
    async fn opened(needs_factor: bool) -> Self {
        let database = testkit::postgres_from_template("billing", |url| async move {
            let db = Db::connect(&url, 1).await?;
            db.migrate().await?;
            tariffs::seed(&mut *db.conn().await?, &tariffs::defaults(), db.now()).await?;
            Ok(())
        })
        .await;
        let memory = format!("memory://{}", uuid::Uuid::new_v4());
        let options = ["admin", "--database-url", database.url(), "--broker-url", &memory, "--result-backend", &memory];
        let services = Options::parse_from(options).services.connect().await.expect("the services answer");
        let (db, cipher) = (services.db.clone(), services.cipher.clone());
        let core = Core {
            services,
            https: false,
            proxies: 0,
            needs_factor,
            queues: Some("https://queues.example".into()),
            price_notice: chrono::TimeDelta::days(30),
            oidc: None,
            passwords: Arc::new(Semaphore::new(2)),
        };
        let (account, bill, payment) = hostile(&db, &cipher).await;
        Self { router: router(Arc::new(core)), db, cipher, account, bill, payment, _database: database }
    }

    /// Somebody of this role who is signed in.
    async fn signed_in(&self, role: Role, is_one_time: bool) -> SecretString {
        let (mut conn, now) = (self.db.conn().await.expect("it answers"), self.db.now());
        let (name, by) =
            (format!("{role}.{is_one_time}.{}", uuid::Uuid::new_v4().simple()), By::command_line("a test"));
        let name = &name[..name.len().min(60)];
        let added = staff::add(&mut conn, name, role, "no hash", &by, now).await.expect("nobody has this name");
        let cookie = staff::begin(&mut conn, added.id, "127.0.0.1", "a test", now).await.expect("it begins");
        if !is_one_time {
            let key = SessionKey::of(&cookie);
            staff::choose_password(&mut conn, added.id, "no hash", &key, &by, now).await.expect("it is kept");
        }
        cookie
    }

    fn path(&self, path: &str) -> String {
        let id = match path {
            path if path.starts_with("/accounts") => self.account.to_string(),
            path if path.starts_with("/bills") => self.bill.to_string(),
            _ => self.payment.to_string(),
        };
        let name = match path {
            path if path.starts_with("/assets") => crate::assets::STYLE_NAME.as_str(),
            path if path.starts_with("/reports") => "recovery",
            _ => "nobody",
        };
        let tariff = tariffs::defaults()[0].id.to_string();
        let path = path.replace("{kind}", "price").replace("{subject}", &tariff);
        path.replace("{id}", &id).replace("{name}", name).replace("{token}", "no-such-link")
    }

    async fn ask(&self, method: &Method, path: &str, who: &Who, origin: &str, form: &str) -> Seen {
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, HOST);
        let cookie = match who {
            Who::Nobody => None,
            Who::Forged => Some("0".repeat(64)),
            Who::In(cookie) => Some(cookie.expose_secret().to_owned()),
        };
        if let Some(cookie) = cookie {
            request = request.header(header::COOKIE, format!("billing={cookie}"));
        }
        let request = request.header(header::ORIGIN, origin).body(Body::from(form.to_owned()));
        let response = self.router.clone().oneshot(request.expect("a request")).await.expect("a response");
        let headers = response.headers();
        let policy = headers["content-security-policy"].to_str().expect("text");
        assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(headers["x-frame-options"], "DENY", "{path}");
        let to = headers.get(header::LOCATION).map_or("", |to| to.to_str().expect("text")).to_owned();
        let cookie = headers.get(header::SET_COOKIE).and_then(|cookie| cookie.to_str().ok());
        let cookie = cookie.and_then(|cookie| cookie.strip_prefix("billing=")?.split(';').next());
        let cookie = cookie.map(SecretString::from);
        let status = response.status();
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        Seen { status, to, cookie, body: String::from_utf8_lossy(&body).into_owned(), bytes: body.to_vec() }
    }

    async fn get(&self, path: &str, who: &Who) -> Seen {
        self.ask(&Method::GET, path, who, "http://127.0.0.1:1", "").await
    }
}

/// A payment that went through the bank's page and was declined, with a script in every text that comes from outside.
async fn hostile(db: &Db, cipher: &Cipher) -> (AccountId, BillId, PaymentId) {
    let (mut conn, now, account) = (db.conn().await.expect("it answers"), db.now(), AccountId::new());
    accounts::register(&mut conn, account, Tz::Europe__Moscow, now).await.expect("it is new");
    let tariff = tariffs::list(&mut conn, now).await.expect("they are seeded").remove(0);
    let new = NewPayment {
        trial: None,
        account_id: account,
        tariff_id: tariff.id,
        cryptogram: SECRETS[0].into(),
        ip_address: CUSTOMERS_ADDRESS.parse().expect("an address"),
        idempotency_key: "k".into(),
        now,
    };
    let payment = payments::create(&mut conn, new, cipher).await.expect("it is open").payment;
    payments::begin_sending(&mut conn, payment.id, cipher, now).await.expect("it is sent");
    let call = gateway_calls::begin(&mut conn, payment.id, SCRIPT, Some(SCRIPT), now).await.expect("it begins");
    let body = || Some(SCRIPT.to_owned());
    let ended =
        Ended { call, outcome: CallOutcome::Declined, http_status: Some(200), request: body(), response: body() };
    gateway_calls::end(&mut conn, &ended, now).await.expect("it ends");
    let page = Outcome::ThreeDsRequired {
        transaction_id: 504,
        acs_url: "https://acs.example/page".into(),
        pa_req: SECRETS[2].into(),
        expires_at: now + chrono::Duration::minutes(30),
    };
    payments::apply(&mut conn, payment.id, page, cipher, now).await.expect("it waits");
    payments::submit_pa_res(&mut conn, payment.id, 504, "PaRes".into(), cipher, now).await.expect("it is answered");
    payments::begin_posting(&mut conn, payment.id, cipher, now).await.expect("it is posted");
    let declined = Outcome::Declined {
        transaction_id: Some(504),
        code: 5051,
        reason: SCRIPT.into(),
        cardholder_message: SCRIPT.into(),
        retry_after: None,
    };
    payments::apply(&mut conn, payment.id, declined, cipher, now).await.expect("it is declined");
    let mask = CardMask { scheme: body(), last_four: body(), ..CardMask::default() };
    for text in [
        format!("update tariff set name = $${SCRIPT}$$, description = $${SCRIPT}$$ where id = '{}'", tariff.id),
        format!("update bill set description = $${SCRIPT}$$"),
        format!("update payment set info = $${SCRIPT}$$, card = $${}$$", serde_json::to_string(&mask).expect("JSON")),
        format!("update account set tariff_id = '{}'", tariff.id),
    ] {
        diesel::sql_query(text).execute(&mut *conn).await.expect("it can be written");
    }
    (account, payment.bill_id, payment.id)
}

/// Who may, for each right: written down a second time, on purpose.
fn may(right: Right) -> &'static [Role] {
    use Role::{Accountant, Administrator, Auditor, ChiefAccountant, Support};
    match right {
        Right::SeeCustomers => &[Support, Accountant, ChiefAccountant, Auditor],
        Right::SeeBooks => &[Accountant, ChiefAccountant, Auditor],
        Right::ServeCustomers => &[Support, Accountant, ChiefAccountant],
        Right::MendSubscriptions | Right::GiveBack | Right::SettleDifferences | Right::SeeTraces => {
            &[Accountant, ChiefAccountant]
        }
        Right::Agree | Right::ChangeRules => &[ChiefAccountant],
        Right::SeeAudit => &[ChiefAccountant, Auditor, Administrator],
        Right::ManageStaff => &[Administrator],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_lets_in_whom_it_may_and_nobody_else() {
    let site = Site::open().await;
    let expired = site.signed_in(Role::ChiefAccountant, false).await;
    let idle = "update staff_session set last_seen_at = last_seen_at - interval '31 minutes'";
    diesel::sql_query(idle).execute(&mut site.db.conn().await.unwrap()).await.unwrap();
    let mut roles = BTreeMap::new();
    for role in Role::ALL {
        roles.insert(*role, site.signed_in(*role, false).await);
    }
    let newcomer = Who::In(site.signed_in(Role::ChiefAccountant, true).await);

    for route in table() {
        let (method, path) = (&route.method, site.path(route.path));
        let said = format!("{method} {path}");
        let here = "http://127.0.0.1:1";
        for who in [Who::Nobody, Who::Forged, Who::In(expired.clone())] {
            let seen = site.ask(method, &path, &who, here, "").await;
            let is_out = match (route.access, method) {
                (Access::Open, _) => true,
                (_, &Method::GET) => seen.status == StatusCode::SEE_OTHER && seen.to.starts_with("/login?to="),
                _ => seen.status == StatusCode::FORBIDDEN,
            };
            assert!(is_out, "{said} as {who:?}: {} {}", seen.status, seen.to);
        }
        for (role, cookie) in &roles {
            let is_let_in = match route.access {
                Access::Has(right) => may(right).contains(role),
                _ => true,
            };
            let who = Who::In(cookie.clone());
            if *method == Method::POST {
                let foreign = site.ask(method, &path, &who, "https://elsewhere.example", "").await;
                assert_eq!(foreign.status, StatusCode::FORBIDDEN, "{said} from elsewhere");
                let wrong =
                    if route.path.starts_with("/invite") { StatusCode::NOT_FOUND } else { StatusCode::FORBIDDEN };
                let seen = site.ask(method, &path, &who, here, "name=a&password=b&csrf=0000").await;
                assert_eq!(seen.status, wrong, "{said} as {role} without the token");
                let long = format!("csrf={}&a={}", access::csrf(cookie), "a".repeat(1_000_000));
                let seen = site.ask(method, &path, &who, here, &long).await;
                let refused = if is_let_in { StatusCode::PAYLOAD_TOO_LARGE } else { StatusCode::FORBIDDEN };
                assert_eq!(seen.status, refused, "{said} as {role}, 1 MB");
                continue;
            }
            let seen = site.get(&path, &who).await;
            // An action that is not possible with this account says so.
            let is_refused = seen.status == StatusCode::CONFLICT && seen.body.contains("Это невозможно.");
            let of_another_kind = [
                "/refunds/{id}",
                "/differences/{id}",
                "/closings/{id}",
                "/bulk/{id}",
                "/notifications/{id}",
                "/settings/changes/{id}",
            ];
            let may_be_missing = of_another_kind.contains(&route.path) || route.path.starts_with("/invite/");
            // There is no provider of sign-in, and who is here has come with a password.
            let may_be_missing = may_be_missing || route.path.contains("/oidc") || route.path == "/me/again";
            let is_missing = may_be_missing && seen.status == StatusCode::NOT_FOUND;
            // Nothing is asked of whoever has shown everything.
            let is_sent_on = route.access == Access::HalfWay && seen.status == StatusCode::SEE_OTHER;
            let is_shown = seen.status == StatusCode::OK || is_refused || is_missing || is_sent_on;
            assert_eq!(is_shown, is_let_in, "{said} as {role}: {} {}", seen.status, seen.body);
            assert!(is_let_in || seen.status == StatusCode::FORBIDDEN, "{said} as {role}: {}", seen.status);
            // A table is not a page: browsers are told so, and told not to guess.
            let is_page = !route.path.ends_with("/export");
            assert!(!is_page || !seen.body.contains("<script>alert"), "{said} lets a script through");
            let shown: Vec<_> = SECRETS.iter().filter(|secret| seen.body.contains(**secret)).collect();
            assert!(shown.is_empty(), "{said} shows {shown:?}");
            assert!(!seen.body.contains(CUSTOMERS_ADDRESS), "{said} shows a personal trace to who only looks");
            if route.path.contains("{id}") {
                let hidden =
                    site.get(&path.replace(|c: char| c.is_ascii_hexdigit() && c.is_ascii_digit(), "0"), &who).await;
                let nothing = if is_let_in { StatusCode::NOT_FOUND } else { StatusCode::FORBIDDEN };
                assert_eq!(hidden.status, nothing, "{said} as {role}, of what is not there");
                let tells = seen.status == StatusCode::OK;
                assert!(!tells || seen.body.contains("&#60;script&#62;"), "{said} shows what came from outside");
            }
        }
        if *method == Method::GET {
            let seen = site.get(&path, &newcomer).await;
            match route.access {
                Access::Open | Access::SignedIn if route.path.contains("/oidc") || route.path == "/me/again" => {
                    assert_eq!(seen.status, StatusCode::NOT_FOUND, "{said}");
                }
                Access::Open if route.path.starts_with("/invite") => assert_eq!(seen.status, StatusCode::NOT_FOUND),
                Access::Open | Access::SignedIn => assert_eq!(seen.status, StatusCode::OK, "{said}"),
                Access::HalfWay => assert_eq!(seen.to, "/", "{said}"),
                Access::Staff | Access::Has(_) => assert_eq!(seen.to, "/me", "{said} with a one-time password"),
            }
        }
    }
    assert_eq!(site.get("/nowhere", &Who::Nobody).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_guesses_waits_and_learns_nothing() {
    let site = Site::open().await;
    let (password, now) = (password::one_time(), site.db.now());
    let by = By::command_line("a test");
    staff::add(&mut site.db.conn().await.unwrap(), "ada", Role::Support, &password::hash(&password), &by, now)
        .await
        .unwrap();
    let here = "http://127.0.0.1:1";
    let sign_in = async |name: &str, password: &str| {
        site.ask(&Method::POST, "/login", &Who::Nobody, here, &format!("name={name}&password={password}")).await
    };
    let (known, unknown) = (sign_in("ada", "wrong").await, sign_in("bob", "wrong").await);
    assert_eq!((known.status, unknown.status), (StatusCode::FORBIDDEN, StatusCode::FORBIDDEN));
    let plain = |seen: &Seen, name: &str| {
        let body = seen.body.replace(&format!("value=\"{name}\""), "");
        assert!(body.contains("не подходят"), "{body}");
        body
    };
    assert_eq!(plain(&known, "ada"), plain(&unknown, "bob"), "the same is said");

    let seen = sign_in("Ada", password.expose_secret()).await;
    assert_eq!((seen.status, seen.to.as_str()), (StatusCode::SEE_OTHER, "/me"), "and then chooses a password");
    for _ in 0..billing::store::staff::MAX_FAILURES {
        sign_in("ada", "wrong").await;
    }
    let seen = sign_in("ada", password.expose_secret()).await;
    assert_eq!(seen.status, StatusCode::TOO_MANY_REQUESTS, "even with the right one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_chosen_and_sessions_end() {
    let site = Site::open().await;
    let (first, by, here) = (password::one_time(), By::command_line("a test"), "http://127.0.0.1:1");
    let hash = password::hash(&first);
    let (mut conn, now) = (site.db.conn().await.unwrap(), site.db.now());
    let ada = staff::add(&mut conn, "ada", Role::Accountant, &hash, &by, now).await.unwrap();
    let this = staff::begin(&mut conn, ada.id, "127.0.0.1", "", now).await.unwrap();
    let other = staff::begin(&mut conn, ada.id, "127.0.0.1", "", now).await.unwrap();
    drop(conn);
    let (me, csrf) = (Who::In(this.clone()), access::csrf(&this));
    let choose = async |present: &str, new: &str| {
        let form = format!("csrf={csrf}&present={present}&new={new}&again={new}");
        site.ask(&Method::POST, "/me/password", &me, here, &form).await
    };
    let first = first.expose_secret();
    assert_eq!(choose(first, "short").await.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(choose("wrong", "correct horse battery").await.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(choose(first, "correct horse battery").await.status, StatusCode::SEE_OTHER);
    for old in [this, other] {
        let seen = site.get("/payments", &Who::In(old)).await;
        assert!(seen.to.starts_with("/login"), "both cookies are worth nothing now: {}", seen.status);
    }
    let form = "name=ada&password=correct horse battery&to=/payments";
    let seen = site.ask(&Method::POST, "/login", &Who::Nobody, here, form).await;
    assert_eq!((seen.status, seen.to.as_str()), (StatusCode::SEE_OTHER, "/payments"));

    staff::disable(&mut site.db.conn().await.unwrap(), "ada", &by, now).await.unwrap();
    let seen = site.ask(&Method::POST, "/login", &Who::Nobody, here, form).await;
    assert_eq!(seen.status, StatusCode::FORBIDDEN, "who is disabled is nobody");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_has_a_number_is_found() {
    let site = Site::open().await;
    let who = Who::In(site.signed_in(Role::Support, false).await);
    let found = async |text: &str| site.get(&format!("/find?q={}", text.replace(' ', "+")), &who).await;
    for (text, to) in [
        (site.account.to_string(), format!("/accounts/{}", site.account)),
        (site.bill.to_string(), format!("/bills/{}", site.bill)),
        (site.payment.to_string(), format!("/payments/{}", site.payment)),
        ("504".to_owned(), format!("/payments/{}", site.payment)),
    ] {
        let seen = found(&text).await;
        assert_eq!((seen.status, seen.to), (StatusCode::SEE_OTHER, to), "{text}");
    }
    let sql = r#"update payment set card = '{"last_four": "4242"}'"#;
    diesel::sql_query(sql).execute(&mut site.db.conn().await.unwrap()).await.unwrap();
    let today = site.db.now().with_timezone(&Tz::Europe__Moscow).format("%Y-%m-%d");
    assert_eq!(found(&format!("4242 {today}")).await.to, format!("/payments/{}", site.payment));
    let nothing = found(&format!("4242 {today} 0,07")).await;
    assert!(nothing.body.contains("Ничего не найдено"), "{}", nothing.body);
    assert!(found("what?").await.body.contains("Можно искать"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_story_of_an_account_tells_what_the_bank_said() {
    let site = Site::open().await;
    let who = Who::In(site.signed_in(Role::Support, false).await);
    let told = format!(
        "insert into notification (kind, gateway_id, body_sha256, received_at, told, transaction_id, payment_id, try_at)
         values ('fail', '504', sha256('a body'), now(), '{{\"provider_message\": \"do not honour\"}}', 504, '{}', now())",
        site.payment
    );
    diesel::sql_query(told).execute(&mut site.db.conn().await.unwrap()).await.unwrap();
    let story = site.get(&format!("/accounts/{}", site.account), &who).await.body;
    assert!(story.contains("Банк сообщил: «&#60;script&#62;"), "what the gateway passed on to the customer: {story}");
    assert!(story.contains("Банк сообщил: «do not honour»"), "and what the bank said to the gateway: {story}");
}

#[tokio::test(flavor = "multi_thread")]
async fn personal_traces_are_shown_by_right_and_each_look_is_written_down() {
    let (site, here) = (Site::open().await, "http://127.0.0.1:1");
    let (page, traces) = (format!("/bills/{}", site.bill), format!("/bills/{}/traces", site.bill));
    let looks =
        async || site.count(&format!("audit_log where action = 'saw_traces' and target = '{}'", site.bill)).await;
    for (role, sees) in
        [(Role::Support, false), (Role::Auditor, false), (Role::Accountant, true), (Role::ChiefAccountant, true)]
    {
        let cookie = site.signed_in(role, false).await;
        let (who, before) = (Who::In(cookie.clone()), looks().await);
        let masked = site.get(&page, &who).await.body;
        assert!(masked.contains("203.0.•.•") && !masked.contains(CUSTOMERS_ADDRESS), "{role}: {masked}");
        assert_eq!(masked.contains(&traces), sees, "{role} is offered to see it");
        assert_eq!(looks().await, before, "{role}: nothing was seen");
        let seen = site.ask(&Method::POST, &traces, &who, here, &format!("csrf={}", access::csrf(&cookie))).await;
        assert_eq!(seen.body.contains(CUSTOMERS_ADDRESS), sees, "{role}: {}", seen.body);
        assert_eq!(looks().await - before, i64::from(sees), "{role}");
    }
}
