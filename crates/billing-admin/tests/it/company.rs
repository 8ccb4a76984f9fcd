//! Signing in with a company's account: with npm `oidc-provider` as the provider, and with one that lies.

mod forger;
mod panel;
mod person;

use std::time::Duration;

use billing::staff::{Role, password, totp};
use billing::store::staff::{self, By, Identity};
use secrecy::ExposeSecret as _;
use testkit::{Process, eventually};

use self::forger::{Forger, Lie};
use self::panel::{Panel, Setting};
use self::person::Person;

const ADA: &str = "ada@cinema.example";
const PASSWORD: &str = "correct horse battery";
const PATIENCE: Duration = Duration::from_secs(30);

/// The company's provider, and a panel that knows it.
struct Company {
    panel: Panel,
    provider: Process,
}

impl Company {
    async fn open(settings: &[Setting]) -> Self {
        let port = testkit::free_port();
        let panel = Panel::open(&format!("http://127.0.0.1:{port}"), settings).await;
        let provider = start(port, &panel.address).await;
        Self { panel, provider }
    }
}

async fn start(port: u16, panel: &str) -> Process {
    let environment = testkit::python().ancestors().nth(2).expect("it is in bin/ of its environment").to_owned();
    let module = environment.join("oidc-provider/node_modules/oidc-provider/lib/index.js");
    assert!(module.exists(), "{} is missing: run `deploy/local/services.sh install`", module.display());
    let mut command = std::process::Command::new("node");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/company/provider.mjs"));
    command.arg(module).arg(port.to_string()).arg(panel);
    let mut provider = Process::spawn("oidc-provider", command);
    provider.wait_for_line("listens", PATIENCE).await;
    provider
}

#[tokio::test(flavor = "multi_thread")]
async fn the_companys_account_lets_in_whom_the_staff_has_and_nobody_else() {
    let company = Company::open(&[]).await;
    let panel = &company.panel;
    for name in [ADA, "gone@cinema.example", "unverified@cinema.example"] {
        panel.add(name, Role::Accountant).await;
    }
    staff::disable(&mut *panel.conn().await, "gone@cinema.example", &by(), panel.now()).await.unwrap();

    let mut ada = Person::new();
    let seen = ada.get(&panel.at("/login")).await;
    assert!(seen.body.contains("Sign in with the company") && seen.body.contains("id=\"password\""), "{}", seen.body);
    let seen = ada.sign_in(panel, "/accounts?status=Active", "ada", "pwd").await;
    assert_eq!((seen.path(), seen.status), ("/accounts?status=Active".to_owned(), 200), "{}", seen.body);
    assert!(seen.body.contains(ADA));
    let asked = seen.passed.iter().find(|url| url.path() == "/auth").expect("the page of sign-in there");
    let asks = |name: &str| asked.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    for (name, value) in [
        ("response_type", "code"),
        ("client_id", "billing"),
        ("scope", "openid email profile"),
        ("code_challenge_method", "S256"),
        ("redirect_uri", panel.at("/login/oidc/callback").as_str()),
    ] {
        assert_eq!(asks(name).as_deref(), Some(value), "{name}");
    }
    assert!(["state", "nonce", "code_challenge"].iter().all(|name| asks(name).is_some_and(|value| value.len() >= 32)));
    let log = panel.log().await;
    assert_eq!(log, [format!("{ADA} identity_linked -"), format!("{ADA} signed_in -")]);

    // From another machine, with a way back that leads elsewhere.
    let mut laptop = Person::new();
    let seen = laptop.sign_in(panel, "https://elsewhere.example/", "ada", "pwd").await;
    assert_eq!(seen.url.as_str(), panel.at("/"), "{}", seen.body);

    for (login, says, logged) in [
        ("bob", "belongs to nobody who works here", "nobody sign_in_refused the account is nobody's here"),
        ("unverified", "belongs to nobody who works here", "nobody sign_in_refused the account is nobody's here"),
        ("gone", "You are let in here no more", "gone@cinema.example sign_in_refused they are let in no more"),
        // Her address was given to another person.
        (
            "ada+2",
            "with another account of the company",
            &format!("{ADA} sign_in_refused they come with another account"),
        ),
    ] {
        let seen = Person::new().sign_in(panel, "/", login, "pwd").await;
        assert_eq!(seen.status, 403, "{login}: {}", seen.body);
        assert!(seen.body.contains(says), "{login}: {}", seen.body);
        assert_eq!(seen.link("/session/end").is_some(), login != "gone", "whether another account would help: {login}");
        assert_eq!(panel.log().await.last().map(String::as_str), Some(logged), "{login}");
    }

    // What counts is the account, whatever the name.
    staff::disable(&mut *panel.conn().await, ADA, &by(), panel.now()).await.unwrap();
    assert!(ada.get(&panel.at("/accounts")).await.path().starts_with("/login"), "at once");
    assert_eq!(ada.sign_in(panel, "/", "ada", "pwd").await.status, 403, "whatever the provider says");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_back_counts_once_and_in_the_browser_that_has_begun() {
    let company = Company::open(&[]).await;
    let panel = &company.panel;
    panel.add(ADA, Role::Accountant).await;
    let mut ada = Person::new();
    ada.stops_at("/login/oidc/callback");
    let back = ada.sign_in(panel, "/accounts", "ada", "pwd").await.url;
    ada.goes_on();
    let refused = async |person: &mut Person, url: &str, says: &str| {
        let seen = person.get(url).await;
        assert_eq!(seen.status, 403, "{url}: {}", seen.body);
        assert!(seen.body.contains(says), "{url}: {}", seen.body);
        let seen = person.get(&panel.at("/accounts")).await;
        assert!(seen.path().starts_with("/login?to="), "{}", seen.path());
    };
    // Who is sent such a link by somebody else would work under their name.
    refused(&mut Person::new(), back.as_str(), "not begun in this browser").await;
    let state = back.query_pairs().find(|(key, _)| key == "state").expect("it comes back").1.into_owned();
    let forged = format!("{}{}", &state[..8], "0".repeat(24));
    refused(&mut ada, &back.as_str().replace(&state, &forged), "not begun in this browser").await;
    refused(&mut ada, &panel.at("/login/oidc/callback"), "not begun in this browser").await;

    let mut copy = ada.clone();
    assert_eq!(ada.get(back.as_str()).await.path(), "/accounts");
    refused(&mut copy, back.as_str(), "was used already").await;
    assert!(ada.get(back.as_str()).await.body.contains("not begun in this browser"), "its cookie has gone");
    assert_eq!(ada.get(&panel.at("/accounts")).await.status, 200, "and she stays in");

    let seen = Person::new().sign_in(panel, "/", "cancel", "").await;
    assert!(seen.status == 403 && seen.body.contains("without letting you in"), "{}", seen.body);
    let mut late = Person::new();
    late.stops_at("/login/oidc/callback");
    let back = late.sign_in(panel, "/", "ada", "pwd").await.url;
    late.goes_on();
    let mixed = back.as_str().replace("&iss=", "&iss=https%3A%2F%2Fother.example%2F");
    refused(&mut late, &mixed, "cannot be believed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_factor_that_the_provider_did_not_ask_for_is_asked_for_here() {
    let company = Company::open(&[Setting::Mfa("mfa"), Setting::SecondFactor]).await;
    let panel = &company.panel;
    let ada = panel.add(ADA, Role::ChiefAccountant).await;
    panel.add("new@cinema.example", Role::Accountant).await;
    let (mut conn, now) = (panel.conn().await, panel.now());
    staff::offer_factor(&mut conn, ada.id, &panel.cipher, now).await.unwrap();
    let secret = staff::offered_factor(&mut conn, ada.id, &panel.cipher).await.unwrap().unwrap();
    let code = totp::code(&secret, now);
    staff::confirm_factor(&mut conn, ada.id, &code, &panel.cipher, &by(), now).await.unwrap().unwrap();
    drop(conn);

    let mut person = Person::new();
    let seen = person.sign_in(panel, "/accounts", "ada", "pwd").await;
    assert!(seen.path().starts_with("/login/code?to="), "{}", seen.path());
    let code = totp::code(&secret, panel.now() + chrono::TimeDelta::seconds(30));
    let seen = person.post(&panel.at("/login/code"), &[("code", &code), ("to", "/accounts")], &seen.body).await;
    assert_eq!((seen.path().as_str(), seen.status), ("/accounts", 200), "{}", seen.body);

    let seen = Person::new().sign_in(panel, "/accounts", "ada", "pwd mfa").await;
    assert_eq!(seen.path(), "/accounts", "{}", seen.body);

    // Whoever has none needs one where everybody does, but not one more.
    let seen = Person::new().sign_in(panel, "/accounts", "new", "pwd").await;
    assert_eq!(seen.path(), "/me/factor", "{}", seen.body);
    let seen = Person::new().sign_in(panel, "/accounts", "new", "pwd mfa").await;
    assert_eq!(seen.path(), "/accounts", "{}", seen.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_to_do_something_delicate_is_asked_again_by_the_provider() {
    let company = Company::open(&[]).await;
    let panel = &company.panel;
    panel.add(ADA, Role::Administrator).await;
    panel.add("bob@cinema.example", Role::Administrator).await;
    Person::new().sign_in(panel, "/", "bob", "pwd").await;
    let mut ada = Person::new();
    ada.sign_in(panel, "/staff", "ada", "pwd").await;
    let later = "update staff_session set proved_at = proved_at - interval '11 minutes'";
    panel.run(later).await;
    let let_in = async |ada: &mut Person, name: &str| {
        let form = ada.get(&panel.at("/staff")).await.body;
        let fields = [("name", name), ("role", "support")];
        (form.contains("/me/again"), ada.post(&panel.at("/staff"), &fields, &form).await)
    };
    let (is_told, seen) = let_in(&mut ada, "carol").await;
    assert!(is_told && seen.status == 403 && seen.body.contains("asks again who you are"), "{}", seen.body);
    let delicate = async |ada: &mut Person| {
        let form = ada.get(&panel.at("/me/factor")).await.body;
        ada.post(&panel.at("/me/factor/begin"), &[("password", PASSWORD)], &form).await
    };
    assert_eq!(delicate(&mut ada).await.status, 403);

    // She is signed in there, and is asked nevertheless. Somebody else's account shows nothing.
    let seen = ada.prove(panel, "bob").await;
    assert!(seen.status == 403 && seen.body.contains("another person"), "{}", seen.body);
    assert_eq!(delicate(&mut ada).await.status, 403);
    let seen = ada.prove(panel, "ada").await;
    assert!(seen.status == 200 && seen.body.contains("You have shown who you are"), "{}", seen.body);
    let (is_told, seen) = let_in(&mut ada, "carol").await;
    assert!(!is_told && seen.status == 200 && seen.body.contains("/invite/"), "{}", seen.body);
    assert_eq!(delicate(&mut ada).await.path(), "/me/factor");
    assert!(panel.log().await.contains(&format!("{ADA} proved_again -")));

    let form = ada.get(&panel.at("/me")).await.body;
    assert!(form.contains("need no password here"), "{form}");
    let seen = ada.post(&panel.at("/logout"), &[], &form).await;
    assert_eq!(seen.path(), "/login?left=1");
    let there = seen.link("/session/end").expect("she may sign out there");
    let seen = ada.get(&there).await;
    assert!(seen.status == 200 && seen.body.contains("op.logoutForm"), "{} {}", seen.status, seen.body);
    assert!(ada.get(&panel.at("/staff")).await.path().starts_with("/login"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_passwords_an_invitation_is_accepted_with_the_companys_account() {
    let company = Company::open(&[Setting::Only]).await;
    let panel = &company.panel;
    let (mut conn, now) = (panel.conn().await, panel.now());
    let dora = staff::invite(&mut conn, "dora", Role::Accountant, &by(), now).await.unwrap();
    for (name, is_let) in [("plain", false), ("rescue", true)] {
        let link = staff::invite(&mut conn, name, Role::Accountant, &by(), now).await.unwrap();
        let hash = password::hash(&PASSWORD.into());
        staff::accept_invitation(&mut conn, &link, &hash, "127.0.0.1", now).await.unwrap().unwrap();
        if is_let {
            staff::allow_password(&mut conn, name, &by(), now).await.unwrap();
        }
    }
    drop(conn);
    for (name, status) in [("plain", 403), ("rescue", 200)] {
        let fields = [("name", name), ("password", PASSWORD), ("to", "/accounts")];
        let seen = Person::new().post(&panel.at("/login"), &fields, "").await;
        assert_eq!(seen.status, status, "{name}: {}", seen.body);
    }

    let link = panel.at(&format!("/invite/{}", dora.expose_secret()));
    let mut person = Person::new();
    let seen = person.get(&link).await;
    assert!(!seen.body.contains("name=\"new\""), "no password is chosen: {}", seen.body);
    let seen = person.post(&link, &[("new", PASSWORD), ("again", PASSWORD)], "").await;
    assert_eq!(seen.status, 403);
    let seen = person.begin(panel, &format!("{link}/oidc"), "dora.k", "pwd").await;
    assert_eq!((seen.path().as_str(), seen.status), ("/", 200), "{}", seen.body);
    let seen = Person::new().begin(panel, &format!("{link}/oidc"), "eve", "pwd").await;
    assert!(seen.status == 403 && seen.body.contains("link of the invitation was used"), "{}", seen.body);
    assert_eq!(person.get(&link).await.status, 404);
    let seen = Person::new().sign_in(panel, "/accounts", "dora.k", "pwd").await;
    assert_eq!(seen.path(), "/accounts", "from then on by the account alone");

    // Nobody comes with an account that is another's here, and who is invited anew has none.
    let mut conn = panel.conn().await;
    let again = staff::invite_again(&mut conn, "plain", &by(), panel.now()).await.unwrap();
    drop(conn);
    let link = panel.at(&format!("/invite/{}/oidc", again.expose_secret()));
    let seen = Person::new().begin(panel, &link, "dora.k", "pwd").await;
    assert!(seen.status == 403 && seen.body.contains("another person"), "{}", seen.body);
    let seen = Person::new().begin(panel, &link, "plain", "pwd").await;
    assert_eq!(seen.status, 200, "that link was not used up: {}", seen.body);
    let identity = Identity { issuer: panel.issuer.clone(), subject: "dora.k".into() };
    let mut conn = panel.conn().await;
    staff::invite_again(&mut conn, "dora", &by(), panel.now()).await.unwrap();
    assert!(staff::identity_owner(&mut conn, &identity).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_down_keeps_nobody_waiting_and_passwords_go_on() {
    // One that takes the connection and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let panel = Panel::open(&format!("http://{}", silent.local_addr().unwrap()), &[]).await;
    panel.add_with_password("ada", Role::Accountant).await;
    let mut ada = Person::new();
    let seen = tokio::time::timeout(Duration::from_secs(15), ada.get(&panel.at("/login/oidc"))).await;
    let seen = seen.expect("it is given up");
    assert_eq!(seen.status, 503, "{}", seen.body);
    assert!(seen.body.contains("does not answer") && seen.body.contains("Sign in with a password"), "{}", seen.body);
    let fields = [("name", "ada"), ("password", PASSWORD), ("to", "/accounts")];
    assert_eq!(ada.post(&panel.at("/login"), &fields, "").await.path(), "/accounts");

    // One that dies while somebody is there, and comes back.
    let Company { panel, provider } = Company::open(&[]).await;
    panel.add(ADA, Role::Accountant).await;
    let mut ada = Person::new();
    ada.stops_at("/login/oidc/callback");
    let back = ada.sign_in(&panel, "/accounts", "ada", "pwd").await.url;
    ada.goes_on();
    drop(provider);
    let seen = ada.get(back.as_str()).await;
    assert!(seen.status == 503 && seen.body.contains("does not answer"), "{} {}", seen.status, seen.body);
    assert!(panel.log().await.is_empty(), "nobody is at fault");
    let port = url::Url::parse(&panel.issuer).unwrap().port().unwrap();
    let _provider = start(port, &panel.address).await;
    let (panel, seen) = (&panel, async || {
        let seen = Person::new().sign_in(&panel, "/accounts", "ada", "pwd").await;
        (seen.path() == "/accounts").then_some(()).ok_or(seen.body)
    });
    eventually(PATIENCE, seen).await;
    assert_eq!(panel.log().await.len(), 2);
}

#[tokio::test]
async fn what_the_provider_says_is_believed_only_if_all_of_it_is_right() {
    let logs = testkit::Logs::of_this_thread("info");
    let forger = Forger::open().await;
    let panel = Panel::open(&forger.issuer, &[]).await;
    panel.add(ADA, Role::Administrator).await;
    let come = async |lie: Lie| {
        let mut person = Person::new();
        person.stops_at("/authorize");
        let asked = person.get(&panel.at("/login/oidc?to=/staff")).await.url;
        person.goes_on();
        forger.tell(lie, &asked);
        let seen = person.get(&forger.back(&asked)).await;
        (seen.path(), seen.status, seen.body, person)
    };
    let (path, status, body, _) = come(Lie::None).await;
    assert_eq!((path.as_str(), status), ("/staff", 200), "the truth: {body}");
    // A key that is not known yet is asked for.
    forger.change_key();
    let (path, status, body, mut ada) = come(Lie::None).await;
    assert_eq!((path.as_str(), status), ("/staff", 200), "{body}");

    for lie in Lie::ALL {
        let (path, status, body, mut person) = come(*lie).await;
        assert!(path.starts_with("/login/oidc/callback") && status == 403, "{lie:?}: {path} {status} {body}");
        assert!(body.contains("cannot be believed"), "{lie:?}: {body}");
        assert!(person.get(&panel.at("/staff")).await.path().starts_with("/login"), "{lie:?}");
        let logged = panel.log().await.pop().unwrap_or_default();
        assert!(logged.starts_with("nobody sign_in_refused it"), "{lie:?}: {logged}");
        // Whoever guesses would have to wait.
        panel.run("delete from staff_sign_in").await;
    }

    // Asked again, it tells of the last time.
    ada.stops_at("/authorize");
    let asked = ada.get(&panel.at("/me/again")).await.url;
    ada.goes_on();
    assert!(asked.query().unwrap().contains("prompt=login") && asked.query().unwrap().contains("max_age=0"), "{asked}");
    forger.tell(Lie::NotAsked, &asked);
    let seen = ada.get(&forger.back(&asked)).await;
    assert!(seen.status == 403 && seen.body.contains("did not ask again"), "{}", seen.body);

    // After too many tries it is not asked any more.
    for _ in 0..staff::MAX_FAILURES {
        come(Lie::Nonce).await;
    }
    let (_, status, body, _) = come(Lie::None).await;
    assert!(status == 429 && body.contains("too many tries"), "{status} {body}");

    let lines = logs.lines();
    assert!(lines.iter().any(|line| line.contains("it is of another sign-in")), "{lines:#?}");
    for secret in forger.secrets() {
        assert!(!lines.iter().any(|line| line.contains(&secret)), "the log has {secret}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_comes_in_with_the_companys_account_in_a_browser() {
    let company = Company::open(&[]).await;
    company.panel.add(ADA, Role::Accountant).await;
    let mut browser = tokio::process::Command::new(testkit::python());
    browser.arg("company.py").arg(&company.panel.address).env("PYTHONDONTWRITEBYTECODE", "1").kill_on_drop(true);
    browser.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it")).stdin(std::process::Stdio::null());
    let output = tokio::time::timeout(Duration::from_secs(240), browser.output()).await.expect("it ends").unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));
}

fn by() -> By {
    By::command_line("a test")
}
