//! Coming in: invitations, the second factor, and the password once more.

use billing::staff::totp;
use chrono::TimeDelta;

use super::*;

const HERE: &str = "http://127.0.0.1:1";
const PASSWORD: &str = "correct horse battery";

impl Site {
    async fn post(&self, path: &str, who: &Who, form: &str) -> Seen {
        let csrf = match who {
            Who::In(cookie) => access::csrf(cookie),
            Who::Nobody | Who::Forged => String::new(),
        };
        self.ask(&Method::POST, path, who, HERE, &format!("csrf={csrf}&{form}")).await
    }

    async fn sign_in(&self, name: &str) -> Who {
        let seen = self.post("/login", &Who::Nobody, &format!("name={name}&password={PASSWORD}&to=/payments")).await;
        assert_eq!(seen.to, "/payments", "{}", seen.body);
        Who::In(seen.cookie.expect("a session begins"))
    }

    /// Somebody with a password of their own.
    async fn known(&self, name: &str, role: Role) -> staff::Staff {
        let (mut conn, by, now) =
            (self.db.conn().await.expect("it answers"), By::command_line("a test"), self.db.now());
        let token = staff::invite(&mut conn, name, role, &by, now).await.expect("nobody has this name");
        let hash = password::hash(&PASSWORD.into());
        let accepted = staff::accept_invitation(&mut conn, &token, &hash, "127.0.0.1", now).await;
        accepted.expect("it answers").expect("the link is new")
    }

    /// And with a second factor: the secret that the app has, and the recovery codes.
    async fn with_factor(&self, name: &str) -> (SecretString, Vec<SecretString>) {
        let ada = self.known(name, Role::ChiefAccountant).await;
        let (mut conn, by, now) =
            (self.db.conn().await.expect("it answers"), By::command_line("a test"), self.db.now());
        staff::offer_factor(&mut conn, ada.id, &self.cipher, now).await.expect("it is written");
        let secret =
            staff::offered_factor(&mut conn, ada.id, &self.cipher).await.expect("it opens").expect("it is there");
        let code = totp::code(&secret, now);
        let codes = staff::confirm_factor(&mut conn, ada.id, &code, &self.cipher, &by, now).await.expect("it answers");
        (secret, codes.expect("the code is right"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_is_accepted_once_and_in_time() {
    let site = Site::open().await;
    let (by, now) = (By::command_line("a test"), site.db.now());
    let old = now - staff::INVITED_FOR;
    let mut conn = site.db.conn().await.unwrap();
    let stale = staff::invite(&mut conn, "late", Role::Support, &by, old).await.unwrap();
    let first = staff::invite(&mut conn, "ada", Role::Support, &by, now).await.unwrap();
    let second = staff::invite_again(&mut conn, "ada", &by, now).await.unwrap();
    drop(conn);
    let link = |token: &SecretString| format!("/invite/{}", token.expose_secret());
    for nothing in [&stale, &first] {
        assert_eq!(site.get(&link(nothing), &Who::Nobody).await.status, StatusCode::NOT_FOUND);
    }
    let accept = async |password: &str| {
        site.post(&link(&second), &Who::Nobody, &format!("new={password}&again={password}")).await
    };
    let seen = site.post("/login", &Who::Nobody, "name=ada&password=!").await;
    assert_eq!(seen.status, StatusCode::FORBIDDEN, "nothing is a password before one is chosen");
    for _ in 0..2 {
        assert_eq!(site.get(&link(&second), &Who::Nobody).await.status, StatusCode::OK, "looking uses nothing up");
    }
    assert_eq!(accept("short").await.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(accept(PASSWORD).await.to, "/login");
    assert_eq!(accept("another horse battery").await.status, StatusCode::NOT_FOUND, "once");
    site.sign_in("ada").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_alone_opens_nothing_where_there_is_a_second_factor() {
    let site = Site::open().await;
    let (secret, recovery) = site.with_factor("ada").await;
    let who = site.sign_in("ada").await;
    for path in ["/payments", "/me", "/me/factor", "/staff"] {
        assert!(site.get(path, &who).await.to.starts_with("/login/code?to="), "{path}");
    }
    let seen = site.post("/me/factor/remove", &who, &format!("password={PASSWORD}")).await;
    assert_eq!(seen.status, StatusCode::FORBIDDEN, "nor is it taken away");

    assert_eq!(site.post("/login/code", &who, "code=abcdef&to=/payments").await.status, StatusCode::FORBIDDEN);
    let next = totp::code(&secret, site.db.now() + TimeDelta::seconds(30));
    let seen = site.post("/login/code", &who, &format!("code={next}&to=/payments")).await;
    assert_eq!(seen.to, "/payments", "{}", seen.body);
    assert!(site.get("/payments", &who).await.to.starts_with("/login?to="), "the old cookie is worth nothing");
    let through = Who::In(seen.cookie.unwrap());
    assert_eq!(site.get("/payments", &through).await.status, StatusCode::OK);

    let again = site.sign_in("ada").await;
    let seen = site.post("/login/code", &again, &format!("code={next}")).await;
    assert_eq!(seen.status, StatusCode::FORBIDDEN, "a code is taken once");
    let code = recovery[0].expose_secret().to_uppercase();
    let seen = site.post("/login/code", &again, &format!("code={code}&to=/payments")).await;
    assert_eq!(seen.to, "/payments", "whoever has lost the phone");
    let third = site.sign_in("ada").await;
    assert_eq!(site.post("/login/code", &third, &format!("code={code}")).await.status, StatusCode::FORBIDDEN, "once");

    for _ in 0..staff::MAX_FAILURES {
        site.post("/login/code", &third, "code=000000").await;
    }
    let code = recovery[1].expose_secret();
    let seen = site.post("/login/code", &third, &format!("code={code}")).await;
    assert_eq!(seen.status, StatusCode::TOO_MANY_REQUESTS, "whoever guesses waits, even with the right one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_factor_is_set_up_and_may_be_asked_of_everybody() {
    let site = Site::opened(true).await;
    let ada = site.known("ada", Role::ChiefAccountant).await;
    let who = site.sign_in("ada").await;
    assert_eq!(site.get("/payments", &who).await.to, "/me/factor");
    assert_eq!(site.post("/me/factor/begin", &who, "").await.to, "/me/factor");
    let secret =
        staff::offered_factor(&mut site.db.conn().await.unwrap(), ada.id, &site.cipher).await.unwrap().unwrap();
    let seen = site.get("/me/factor", &who).await;
    let shown = seen.body.replace(' ', "");
    assert!(shown.contains(secret.expose_secret()) && seen.body.contains("<svg"), "{}", seen.body);
    assert_eq!(site.post("/me/factor/confirm", &who, "code=12").await.status, StatusCode::UNPROCESSABLE_ENTITY);
    let code = totp::code(&secret, site.db.now());
    let seen = site.post("/me/factor/confirm", &who, &format!("code={code}")).await;
    assert_eq!(seen.body.matches("<li><code>").count(), staff::RECOVERY_CODES, "{}", seen.body);
    assert_eq!(site.get("/payments", &who).await.status, StatusCode::OK);
    let seen = site.get("/me/factor", &who).await;
    assert!(!seen.body.contains(secret.expose_secret()) && !seen.body.contains("<svg"), "it is shown no more");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_sits_down_at_an_open_session_cannot_do_what_is_delicate() {
    let site = Site::open().await;
    site.known("ada", Role::ChiefAccountant).await;
    let who = site.sign_in("ada").await;
    let later = "update staff_session set created_at = created_at - interval '11 minutes'";
    diesel::sql_query(later).execute(&mut site.db.conn().await.unwrap()).await.unwrap();
    for route in table().into_iter().filter(|route| route.proof == Proof::Password) {
        let path = site.path(route.path);
        for form in ["", "password=wrong"] {
            let seen = site.post(&path, &who, form).await;
            let said = seen.body.contains("пароль спрашивается");
            assert_eq!((seen.status, said), (StatusCode::FORBIDDEN, true), "{path} {form}: {}", seen.body);
        }
        diesel::sql_query("delete from staff_sign_in").execute(&mut site.db.conn().await.unwrap()).await.unwrap();
    }
    let delicate = table().iter().filter(|route| route.proof == Proof::Password).count();
    assert!(delicate >= 7, "refunds, rules and the second factor: {delicate}");
    assert_eq!(site.post("/me/factor/begin", &who, &format!("password={PASSWORD}")).await.to, "/me/factor");
    assert_eq!(site.post("/me/factor/begin", &who, "").await.to, "/me/factor", "and for some minutes not again");
}
