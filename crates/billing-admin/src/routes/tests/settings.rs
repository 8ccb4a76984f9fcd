//! What is set is what was shown, once, and can be taken back.

use super::*;

const HERE: &str = "http://127.0.0.1:1";

/// The value of a hidden field.
fn field(body: &str, name: &str) -> String {
    let of = format!("name=\"{name}\" value=\"");
    let rest = body.split_once(&of).unwrap_or_else(|| panic!("no {name}: {body}")).1;
    rest.split('"').next().unwrap_or_default().to_owned()
}

impl Site {
    /// One value as text.
    async fn value(&self, select: &str) -> String {
        #[derive(diesel::QueryableByName)]
        struct Value {
            #[diesel(sql_type = diesel::sql_types::Text)]
            value: String,
        }
        let query = diesel::sql_query(format!("select coalesce(({select})::text, '') as value"));
        query.get_result::<Value>(&mut self.db.conn().await.expect("it answers")).await.expect("a value").value
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_set_is_what_was_shown_and_is_taken_back_by_another_change() {
    let site = Site::open().await;
    let cookie = site.signed_in(Role::ChiefAccountant, false).await;
    let (who, csrf) = (Who::In(cookie.clone()), access::csrf(&cookie));
    let soft = "select hours from decline_schedule where decline_group = 'soft'";
    let before = site.value(soft).await;

    let path = "/settings/schedule/soft?hours=29,%2072";
    let shown = site.get(path, &who).await;
    assert!(shown.body.contains("29 ч, 72 ч"), "{}", shown.body);
    assert_eq!(site.value(soft).await, before, "looking changes nothing");
    let sent = |shown: &Seen, fields: &str| {
        let (id, digest) = (field(&shown.body, "id"), field(&shown.body, "digest"));
        format!("csrf={csrf}&id={id}&digest={digest}&reason=fewer+complaints&{fields}")
    };
    let form = sent(&shown, "hours=29,72");
    for _ in 0..2 {
        let seen = site.ask(&Method::POST, "/settings/schedule/soft", &who, HERE, &form).await;
        assert_eq!((seen.status, seen.to.as_str()), (StatusCode::SEE_OTHER, "/settings?done=yes"), "{}", seen.body);
    }
    assert_eq!(site.value(soft).await, "[29, 72]");
    assert_eq!(site.value("select count(*) from setting_change").await, "1", "a form does it once");
    let audited = "select after from audit_log where action = 'setting' and reason = 'fewer complaints'";
    assert_eq!(site.value(audited).await, "[29, 72]");

    // Two have looked: who comes later is shown anew.
    let (one, two) = (
        site.get("/settings/schedule/soft?hours=30", &who).await,
        site.get("/settings/schedule/soft?hours=31", &who).await,
    );
    let form = sent(&one, "hours=30");
    site.ask(&Method::POST, "/settings/schedule/soft", &who, HERE, &form).await;
    let seen = site.ask(&Method::POST, "/settings/schedule/soft", &who, HERE, &sent(&two, "hours=31")).await;
    assert_eq!(seen.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(site.value(soft).await, "[30]", "nothing was done");

    let listed = site.get("/settings", &who).await.body;
    let newest = listed.split_once("/settings/changes/").expect("it can be taken back").1;
    let path = format!("/settings/changes/{}", newest.split('"').next().unwrap_or_default());
    let form = sent(&site.get(&path, &who).await, "");
    let seen = site.ask(&Method::POST, &path, &who, HERE, &form).await;
    assert_eq!(seen.to, "/settings?done=yes", "{}", seen.body);
    assert_eq!(site.value(soft).await, "[29, 72]");
    let again = site.get(&path, &who).await;
    assert!(again.body.contains("отменено"), "once: {}", again.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_only_look_is_shown_no_button_and_rules_are_named() {
    let site = Site::open().await;
    let auditor = Who::In(site.signed_in(Role::Auditor, false).await);
    let seen = site.get("/settings/schedule/soft?hours=29", &auditor).await;
    assert!(!seen.body.contains("name=\"reason\""), "{}", seen.body);
    for (path, says) in [
        ("/settings/schedule/soft?hours=1,2", "двух раз за 24 часа"),
        ("/settings/schedule/hard?hours=29", "повторов быть не может"),
        ("/settings/schedule/soft?hours=soon", "через запятую"),
        ("/settings/limit/accountant?alone=5&approves=x", "обе суммы"),
        ("/settings/stages/00010000-0000-4000-8000-000000000002?stages=two&days=7", "от 0 до 6"),
        ("/settings/price/00010000-0000-4000-8000-000000000002?amount=1&from=2020-01-01", "не раньше"),
    ] {
        let seen = site.get(path, &auditor).await;
        assert_eq!(seen.status, StatusCode::UNPROCESSABLE_ENTITY, "{path}");
        assert!(seen.body.contains(says), "{path}: {}", seen.body);
    }
    for path in ["/settings/nothing/x", "/settings/limit/support", "/settings/price/x", "/settings/schedule/x"] {
        assert_eq!(site.get(path, &auditor).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_refusal_means_is_set_as_it_was_shown_and_taken_back() {
    let site = Site::open().await;
    let cookie = site.signed_in(Role::ChiefAccountant, false).await;
    let (who, csrf) = (Who::In(cookie.clone()), access::csrf(&cookie));
    let tries = "select max_retries from decline_rule where code = 5051";
    let before = site.value(tries).await;
    assert_ne!(before, "1");

    let fields = "group=soft&tries=1&action=wait&ru=Ne+vyshlo&en=It+failed";
    assert!(site.get("/rules", &who).await.body.contains("href=\"/settings/rule/5051\""));
    let shown = site.get(&format!("/settings/rule/5051?{fields}"), &who).await;
    assert!(shown.body.contains("«Ne vyshlo»") && shown.body.contains("повторяется"), "{}", shown.body);
    assert_eq!(site.value(tries).await, before, "looking changes nothing");
    let confirm = |shown: &Seen, fields: &str| {
        let (id, digest) = (field(&shown.body, "id"), field(&shown.body, "digest"));
        format!("csrf={csrf}&id={id}&digest={digest}&reason=the+bank+asked&{fields}")
    };
    let seen = site.ask(&Method::POST, "/settings/rule/5051", &who, HERE, &confirm(&shown, fields)).await;
    assert_eq!(seen.to, "/settings?done=yes", "{}", seen.body);
    assert_eq!(site.value(tries).await, "1");

    let change = site.value("select id from setting_change where kind = 'rule' and subject = '5051'").await;
    let path = format!("/settings/changes/{change}");
    let form = confirm(&site.get(&path, &who).await, "");
    assert_eq!(site.ask(&Method::POST, &path, &who, HERE, &form).await.to, "/settings?done=yes");
    assert_eq!(site.value(tries).await, before);
    let audited = "select count(*) from audit_log where action = 'setting' and target = '5051'";
    assert_eq!(site.value(audited).await, "2");
}
