//! What two people do: closing a payment in doubt, and one action on all of a list; and what is done once more.

use billing::payment::PaymentState;
use billing::store::subscriptions;
use chrono::TimeDelta;

use super::*;

impl Site {
    /// What stands in a field of a form on the page.
    fn field(seen: &Seen, name: &str) -> String {
        let (_, rest) = seen.body.split_once(&format!("name=\"{name}\" value=\"")).expect("the field is there");
        rest.split('"').next().unwrap_or_default().to_owned()
    }

    async fn sends(&self, path: &str, who: &SecretString, form: &str) -> Seen {
        let form = format!("csrf={}&{form}", access::csrf(who));
        self.ask(&Method::POST, path, &Who::In(who.clone()), "http://127.0.0.1:1", &form).await
    }

    /// A first payment, sent two hours ago; what came of it is `outcome`.
    async fn sent(&self, outcome: impl FnOnce(&payments::PaymentView) -> Outcome) -> (AccountId, PaymentId) {
        let (mut conn, at, account) =
            (self.db.conn().await.expect("it answers"), self.db.now() - TimeDelta::hours(2), AccountId::new());
        accounts::register(&mut conn, account, Tz::Europe__Moscow, at).await.expect("it is new");
        let tariff = tariffs::list(&mut conn, at).await.expect("they are seeded").remove(1);
        let new = NewPayment {
            trial: None,
            account_id: account,
            tariff_id: tariff.id,
            cryptogram: "a cryptogram".into(),
            ip_address: [203, 0, 113, 7].into(),
            idempotency_key: uuid::Uuid::now_v7().to_string(),
            now: at,
        };
        let payment = payments::create(&mut conn, new, &self.cipher).await.expect("it is open").payment;
        payments::begin_sending(&mut conn, payment.id, &self.cipher, at).await.expect("it is sent");
        let outcome = outcome(&payment);
        payments::apply(&mut conn, payment.id, outcome, &self.cipher, at).await.expect("it is taken");
        (account, payment.id)
    }

    async fn state_of(&self, id: PaymentId) -> PaymentState {
        let found = payments::get(&mut self.db.conn().await.expect("it answers"), id).await.expect("it is read");
        found.expect("it is there").state
    }
}

fn taken(payment: &payments::PaymentView) -> Outcome {
    let (amount, currency) = (payment.amount, payment.currency);
    Outcome::Completed { transaction_id: payment.invoice_no, token: None, amount, currency, card: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_in_doubt_is_closed_by_two_people() {
    let site = Site::open().await;
    let later = site.db.now() + TimeDelta::hours(1);
    let (account, payment) = site.sent(|_| Outcome::Unknown { why: "no response".into(), look_again_at: later }).await;
    let anna = site.signed_in(Role::Accountant, false).await;
    let boris = site.signed_in(Role::ChiefAccountant, false).await;
    let (path, me) = (format!("/payments/{payment}/close"), Who::In(anna.clone()));
    let bare = site.get(&path, &me).await;
    assert!(bare.status == StatusCode::OK && !bare.body.contains("name=\"digest\""), "it begins with the evidence");
    let too_little = site.get(&format!("{path}?ending=taken"), &me).await;
    assert_eq!(too_little.status, StatusCode::UNPROCESSABLE_ENTITY, "and takes nothing for granted");

    let shown = site.get(&format!("{path}?ending=not_taken"), &me).await;
    let (id, digest) = (Site::field(&shown, "id"), Site::field(&shown, "digest"));
    let form = |said: &str| format!("id={id}&digest={digest}&ending=not_taken&said={said}");
    assert_eq!(site.sends(&path, &anna, &form("no")).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    for _ in 0..2 {
        let asked = site.sends(&path, &anna, &form("neither by number nor in the list")).await;
        assert_eq!((asked.status, asked.to), (StatusCode::SEE_OTHER, format!("/closings/{id}")));
    }
    assert_eq!(site.state_of(payment).await, PaymentState::Unknown);
    let (page, agree) = (format!("/closings/{id}"), format!("/closings/{id}/approve"));
    let own = site.sends(&agree, &anna, &format!("digest={digest}")).await;
    assert_eq!(own.status, StatusCode::FORBIDDEN, "an accountant agrees to nothing");
    assert!(site.get("/approvals", &Who::In(boris.clone())).await.body.contains(&page));
    assert!(site.get("/", &Who::In(boris.clone())).await.body.contains("/approvals"));
    let seen = site.get(&page, &Who::In(boris.clone())).await;
    assert!(seen.body.contains("neither by number nor in the list"), "{}", seen.body);
    let stale = site.sends(&agree, &boris, "digest=0").await;
    assert_eq!(stale.status, StatusCode::CONFLICT, "what was not seen is not done");
    let done = site.sends(&agree, &boris, &format!("digest={}", Site::field(&seen, "digest"))).await;
    assert_eq!((done.status, done.to), (StatusCode::SEE_OTHER, page));
    assert_eq!(site.state_of(payment).await, PaymentState::NotExecuted);
    let story = site.get(&format!("/payments/{payment}"), &me).await;
    assert!(story.body.contains("Неизвестный платёж закрыт"), "{}", story.body);
    let owed = subscriptions::get(&mut site.db.conn().await.unwrap(), account).await.unwrap().unwrap();
    assert!(owed.open.is_some_and(|open| open.payment.is_none()), "another card may pay it");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_of_a_list_is_frozen_agreed_to_paused_and_stopped() {
    let site = Site::open().await;
    for _ in 0..3 {
        site.sent(taken).await;
    }
    let anna = site.signed_in(Role::Accountant, false).await;
    let boris = site.signed_in(Role::ChiefAccountant, false).await;
    let me = Who::In(anna.clone());
    let list = site.get("/payments?state=succeeded", &me).await;
    assert!(list.body.contains("/payments/refund?state=succeeded"), "{}", list.body);
    let begun = site.get("/payments/refund?state=succeeded", &me).await;
    let (id, conditions) = (Site::field(&begun, "id"), Site::field(&begun, "conditions"));
    assert_eq!(conditions, "state=succeeded");
    let freeze = format!("id={id}&conditions=state%3Dsucceeded&effect=keep");
    let page = format!("/bulk/{id}");
    for _ in 0..2 {
        assert_eq!(site.sends("/payments/refund", &anna, &freeze).await.to, page, "one form makes one");
    }
    let seen = site.get(&page, &me).await;
    assert!(seen.body.contains("<strong>3</strong>") && seen.body.contains("Первые десять строк"), "{}", seen.body);
    let say = async |who: &SecretString, word: &str, form: &str| site.sends(&format!("{page}/{word}"), who, form).await;
    assert_eq!(say(&boris, "approve", "").await.status, StatusCode::CONFLICT, "nobody has asked for it");
    assert_eq!(say(&anna, "ask", "reason=x").await.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(say(&anna, "ask", "reason=an outage").await.to, page);
    assert_eq!(say(&anna, "approve", "").await.status, StatusCode::FORBIDDEN);
    for word in ["approve", "approve", "pause", "pause", "resume", "stop"] {
        assert_eq!(say(&boris, word, "").await.to, page, "{word}");
    }
    assert_eq!(say(&boris, "resume", "").await.status, StatusCode::CONFLICT, "it is over");
    assert_eq!(site.count("bulk_item where state = 'left'").await, 3);
    assert_eq!(site.count("refund").await, 0, "no worker was here");
    let report = site.get(&format!("/bulk/rows/export?of={id}&only=left"), &me).await;
    assert_eq!(report.body.lines().count(), 1 + 3, "{}", report.body);
    let words = "audit_log where target_kind = 'bulk' and reason = 'an outage'";
    assert_eq!(site.count(words).await, 5, "asked, approved, paused, resumed, stopped: each once");
    let nothing =
        site.sends("/payments/refund", &anna, "id=0199c3a0-0000-7000-8000-000000000000&conditions=code%3D1").await;
    assert_eq!(nothing.status, StatusCode::CONFLICT, "{}", nothing.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notification_is_taken_again_once_for_each_form() {
    let site = Site::open().await;
    let anna = site.signed_in(Role::Accountant, false).await;
    let told = format!(
        "insert into notification (kind, gateway_id, body_sha256, received_at, told, payment_id, effect, effected_at, try_at)
         values ('fail', 'a/b 1', sha256('x'), now(), jsonb_build_object('status', $${SCRIPT}$$), '{}', 'orphan', now(), now())",
        site.payment
    );
    diesel::sql_query(told).execute(&mut site.db.conn().await.unwrap()).await.unwrap();
    let list = site.get("/notifications", &Who::In(anna.clone())).await;
    let (_, rest) = list.body.split_once("href=\"/notifications/fail").expect("it has a page");
    let path = format!("/notifications/fail{}", rest.split('"').next().unwrap());
    let seen = site.get(&path, &Who::In(anna.clone())).await;
    assert!(seen.status == StatusCode::OK && !seen.body.contains(SCRIPT), "{}", seen.body);
    let form =
        format!("id={}&digest={}&reason=the payment is there", Site::field(&seen, "id"), Site::field(&seen, "digest"));
    let again = format!("{path}/again");
    assert_eq!(
        site.sends(&again, &anna, &form.replace("the payment is there", "x")).await.status,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    for _ in 0..2 {
        assert_eq!(site.sends(&again, &anna, &form).await.status, StatusCode::SEE_OTHER);
    }
    assert_eq!(site.count("notification where effect is null and try_at <= now()").await, 1);
    assert_eq!(site.count("audit_log where action = 'notification_again'").await, 1);
    let other = site.get(&path, &Who::In(anna.clone())).await;
    let late = form.replace(&Site::field(&seen, "id"), &Site::field(&other, "id"));
    assert_eq!(site.sends(&again, &anna, &late).await.status, StatusCode::CONFLICT, "it is another by now");

    let receipts = site.get(&format!("/payments/{}/receipts", site.payment), &Who::In(anna)).await;
    assert!(receipts.body.contains("По этому платежу всё есть"), "{}", receipts.body);
}
