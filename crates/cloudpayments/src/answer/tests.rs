use proptest::prelude::*;
use secrecy::ExposeSecret;

use super::*;

const COMPLETED: &str = include_str!("../../tests/fixtures/docs/tokens-charge.response-accepted.json");
const AUTHORIZED: &str = include_str!("../../tests/fixtures/docs/cards-charge.response-accepted.json");
const DECLINED: &str = include_str!("../../tests/fixtures/docs/tokens-charge.response-declined.json");

/// The answer in one of the documentation's examples.
fn documented(fixture: &str) -> serde_json::Value {
    let mut fixture: serde_json::Value = serde_json::from_str(fixture).unwrap();
    fixture["body"].take()
}

fn received(status: u16, body: impl Into<Vec<u8>>) -> Received {
    Received { status, retry_after: None, body: body.into() }
}

/// The error of every reading of an answer; none where it was read as a success.
fn errors(answer: &Received) -> [Option<Error>; 6] {
    [
        answer.charge().err(),
        answer.lookup().err(),
        answer.page().err(),
        answer.done().err(),
        answer.refund().err(),
        answer.test().err(),
    ]
}

fn is_unknown(error: &Option<Error>) -> bool {
    matches!(error, Some(Error::OutcomeUnknown { .. }))
}

/// Bytes of any kind: noise, JSON-like noise, and documented answers with damage.
fn any_body() -> impl Strategy<Value = Vec<u8>> {
    let whole = prop::sample::select(vec![COMPLETED, AUTHORIZED, DECLINED])
        .prop_map(|fixture| documented(fixture).to_string().into_bytes());
    let damaged = (whole.clone(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(mut body, at, byte)| {
        let at = at.index(body.len());
        body[at] = byte;
        body
    });
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        r#"\{"Success":(true|false|null|1)(,"Message":("x"|null))?(,"Model":(null|\{\}|\[\]|\[\{\}\]|7))?\}"#
            .prop_map(String::into_bytes),
        whole,
        damaged,
    ]
}

proptest! {
    #[test]
    fn http_401_is_unauthorized_whatever_the_body(body in any_body()) {
        for error in errors(&received(401, body)) {
            prop_assert!(matches!(error, Some(Error::Unauthorized)), "{error:?}");
        }
    }

    #[test]
    fn http_429_is_safe_to_retry_whatever_the_body(body in any_body(), seconds in 0..100_u64) {
        let wait = Duration::from_secs(seconds);
        let answer = Received { status: 429, retry_after: Some(wait), body };
        for error in errors(&answer) {
            let safe = matches!(
                error,
                Some(Error::SafeToRetry { why: NotProcessed::RateLimited, retry_after: Some(after) })
                    if after == wait
            );
            prop_assert!(safe, "{error:?}");
        }
    }

    #[test]
    fn a_status_that_tells_nothing_leaves_the_outcome_unknown_whatever_the_body(
        status in prop_oneof![100..200_u16, 300..400_u16, 500..=999_u16],
        body in any_body(),
    ) {
        for error in errors(&received(status, body)) {
            prop_assert!(is_unknown(&error), "{error:?}");
        }
    }

    #[test]
    fn only_429_is_safe_to_retry_and_only_401_unauthorized(status: u16, body in any_body()) {
        for error in errors(&received(status, body)) {
            match error {
                Some(Error::SafeToRetry { .. }) => prop_assert_eq!(status, 429),
                Some(Error::Unauthorized) => prop_assert_eq!(status, 401),
                _ => {}
            }
        }
    }

    #[test]
    fn nothing_succeeds_without_http_2xx(status: u16, body in any_body()) {
        let answer = received(status, body);
        let accepted = matches!(answer.charge(), Ok(Charge::Completed(_) | Charge::Authorized(_)));
        let succeeded = accepted || answer.done().is_ok() || answer.refund().is_ok();
        prop_assert!(!succeeded || (200..300).contains(&status));
    }

    #[test]
    fn half_an_answer_leaves_the_outcome_unknown(
        fixture in prop::sample::select(vec![COMPLETED, AUTHORIZED, DECLINED]),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut body = documented(fixture).to_string().into_bytes();
        body.truncate(cut.index(body.len()));
        for error in errors(&received(200, body)) {
            prop_assert!(is_unknown(&error), "{error:?}");
        }
    }

    #[test]
    fn a_surprise_in_a_field_nobody_decides_by_changes_no_decision(
        fixture in prop::sample::select(vec![COMPLETED, AUTHORIZED, DECLINED]),
        field in prop::sample::select(vec![
            "Amount", "InvoiceId", "IpLatitude", "CreatedDate", "CreatedDateIso", "TestMode", "Token",
            "TotalFee", "CardHolderMessage", "Refunded", "Type", "SomethingNew", "InfoShopData",
        ]),
        value in prop::sample::select(vec![
            serde_json::json!(null), serde_json::json!(true), serde_json::json!(-1.5e300),
            serde_json::json!("text"), serde_json::json!([1, [2]]), serde_json::json!({"a": {"b": 1}}),
        ]),
    ) {
        let mut body = documented(fixture);
        let before = decision(&received(200, body.to_string()));
        body["Model"][field] = value;
        prop_assert_eq!(decision(&received(200, body.to_string())), before);
    }

    #[test]
    fn tokens_and_requests_to_the_bank_never_show(secret in "[a-zA-Z0-9]{24}", declined: bool) {
        let mut body = documented(if declined { DECLINED } else { COMPLETED });
        body["Model"]["Token"] = secret.clone().into();
        let answer = received(200, body.to_string());
        let three_ds = received(200, format!(
            r#"{{"Success":false,"Model":{{"TransactionId":1,"PaReq":"{secret}","AcsUrl":"https://acs"}}}}"#
        ));
        let shown = format!(
            "{answer:?} {:?} {:?} {three_ds:?} {:?}",
            answer.charge(), answer.lookup(), three_ds.charge(),
        );
        prop_assert!(!shown.contains(&secret));
        let token = answer.lookup().unwrap().unwrap().token.unwrap();
        prop_assert_eq!(token.expose_secret(), secret);
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Decision {
    Completed,
    Authorized,
    ThreeDs,
    Declined,
    OurFault,
    Unknown,
}

fn decision(answer: &Received) -> Decision {
    match answer.charge() {
        Ok(Charge::Completed(_)) => Decision::Completed,
        Ok(Charge::Authorized(_)) => Decision::Authorized,
        Ok(Charge::ThreeDsRequired(_)) => Decision::ThreeDs,
        Err(Error::Declined(_)) => Decision::Declined,
        Err(Error::OurFault { .. }) => Decision::OurFault,
        Err(Error::OutcomeUnknown { .. }) => Decision::Unknown,
        Err(error) => panic!("{error}"),
    }
}

/// What can stand in an answer to a charge, each piece in every form. Empty: not there.
const SUCCESS: [&str; 2] = ["true", "false"];
const MESSAGE: [&str; 3] = ["", "null", r#""Amount is required""#];
const ID: [&str; 3] = ["", "null", "891510444"];
const STATUS: [&str; 8] = [
    "",
    "null",
    r#""Completed""#,
    r#""Authorized""#,
    r#""Declined""#,
    r#""Cancelled""#,
    r#""AwaitingAuthentication""#,
    r#""Surprise""#,
];
const STATUS_CODE: [&str; 6] = ["", "1", "2", "3", "5", "[]"];
const REASON: [&str; 6] = ["", "null", "0", "5051", r#""5051""#, r#""x""#];
const ACS_URL: [&str; 3] = ["", "null", r#""https://acs""#];
const PA_REQ: [&str; 3] = ["", r#""""#, r#""eJxV""#];

fn object(fields: &[(&str, &str)]) -> String {
    let fields: Vec<_> = fields
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!(r#""{name}":{value}"#))
        .collect();
    format!("{{{}}}", fields.join(","))
}

fn is_there(value: &str) -> bool {
    !matches!(value, "" | "null" | r#""""#)
}

/// Every combination of the pieces above, against the rules said once more in other words.
#[test]
fn a_charge_is_decided_only_where_everything_agrees() {
    let mut seen = 0;
    for success in SUCCESS {
        for message in MESSAGE {
            for (id, status) in pairs(&ID, &STATUS) {
                for (code, reason) in pairs(&STATUS_CODE, &REASON) {
                    for (acs, pa_req) in pairs(&ACS_URL, &PA_REQ) {
                        let model = object(&[
                            ("TransactionId", id),
                            ("Status", status),
                            ("StatusCode", code),
                            ("ReasonCode", reason),
                            ("AcsUrl", acs),
                            ("PaReq", pa_req),
                        ]);
                        let body = object(&[("Success", success), ("Message", message), ("Model", &model)]);
                        let expected = expected(success == "true", [id, status, code, reason, acs, pa_req]);
                        assert_eq!(decision(&received(200, body.as_str())), expected, "{body}");
                        seen += 1;
                    }
                }
            }
        }
    }
    assert_eq!(seen, 2 * 3 * 3 * 8 * 6 * 6 * 3 * 3);
}

fn pairs<'a>(left: &[&'a str], right: &[&'a str]) -> Vec<(&'a str, &'a str)> {
    left.iter().flat_map(|left| right.iter().map(|right| (*left, *right))).collect()
}

fn expected(success: bool, [id, status, code, reason, acs, pa_req]: [&str; 6]) -> Decision {
    let has_id = is_there(id);
    if is_there(acs) && is_there(pa_req) && !is_there(reason) {
        return if has_id { Decision::ThreeDs } else { Decision::Unknown };
    }
    let named = is_there(status).then(|| status.trim_matches('"'));
    let coded = match code {
        "2" => Some("Authorized"),
        "3" => Some("Completed"),
        "5" => Some("Declined"),
        _ => None,
    };
    let disagree = named.is_some() && coded.is_some() && named != coded;
    if disagree || reason == r#""x""# {
        return Decision::Unknown;
    }
    let refused = matches!(reason, "5051" | r#""5051""#);
    match named.or(coded) {
        Some("Completed") if success && has_id && !refused => Decision::Completed,
        Some("Authorized") if success && has_id && !refused => Decision::Authorized,
        Some("Declined") if !(success && reason == "0") => Decision::Declined,
        None if refused => Decision::Declined,
        _ => Decision::Unknown,
    }
}

#[test]
fn a_refusal_without_a_model_is_our_fault_only_if_it_says_why() {
    for text in refusal::VALIDATION {
        let body = format!(r#"{{"Success":false,"Message":"{text}"}}"#);
        assert_eq!(decision(&received(200, body)), Decision::OurFault, "{text}");
    }
    for (body, expected) in [
        (r#"{"Success":false,"Message":"Amount is required"}"#, Decision::OurFault),
        (r#"{"Success":false,"Message":"Amount is required","Model":null}"#, Decision::OurFault),
        (r#"{"Success":false,"Message":"Internal error"}"#, Decision::Unknown),
        (r#"{"Success":false,"Message":"Token does not belong to this AccountId"}"#, Decision::Unknown),
        (r#"{"Success":false,"Message":"not emulated by the sandbox"}"#, Decision::Unknown),
        (r#"{"Success":false,"Message":null,"Model":null}"#, Decision::Unknown),
        (r#"{"Success":false,"Message":""}"#, Decision::Unknown),
        (r#"{"Success":true,"Message":"Amount is required"}"#, Decision::Unknown),
        (r#"{"Success":false,"Message":"x","Model":[]}"#, Decision::Unknown),
        (r#"{"Success":false,"Message":"x","Model":"y"}"#, Decision::Unknown),
        (r#"{"Message":"Amount is required"}"#, Decision::Unknown),
        (r#"["Success"]"#, Decision::Unknown),
        ("", Decision::Unknown),
        ("<html>", Decision::Unknown),
    ] {
        assert_eq!(decision(&received(200, body)), expected, "{body}");
    }
}

#[test]
fn another_4xx_is_believed_when_it_refuses_and_not_when_it_succeeds() {
    let bad = r#"{"Success":false,"Message":"Amount is required"}"#;
    assert_eq!(decision(&received(400, bad)), Decision::OurFault);
    assert_eq!(decision(&received(402, documented(DECLINED).to_string())), Decision::Declined);
    assert_eq!(decision(&received(400, documented(COMPLETED).to_string())), Decision::Unknown);
    assert_eq!(decision(&received(404, "no such page")), Decision::Unknown);
}

#[test]
fn a_decline_says_what_may_come_next() {
    let mut body = documented(DECLINED);
    body["Model"]["RetryAfter"] = "2026-11-02 00:00:05".into();
    let Err(Error::Declined(decline)) = received(200, body.to_string()).charge() else {
        panic!("not declined");
    };
    assert_eq!((decline.code, decline.group), (5051, crate::ReasonGroup::Temporary));
    assert_eq!(decline.reason.as_deref(), Some("InsufficientFunds"));
    assert_eq!(decline.cardholder_message.as_deref(), Some("Недостаточно средств на карте"));
    assert_eq!(decline.retry_after.unwrap().to_rfc3339(), "2026-11-02T00:00:05+00:00");
    assert_eq!(decline.transaction_id(), Some(891583633));
}

#[test]
fn a_decline_without_words_for_the_customer_gets_the_documented_ones() {
    let body = r#"{"Success":false,"Model":{"ReasonCode":5082}}"#;
    let Err(Error::Declined(decline)) = received(200, body).charge() else {
        panic!("not declined");
    };
    assert_eq!(decline.cardholder_message.as_deref(), Some("Неверно указан код CVV"));
    assert_eq!(decline.transaction_id(), None);
}

#[test]
fn a_declined_transaction_is_found_although_success_is_false() {
    let found = received(200, documented(DECLINED).to_string()).lookup().unwrap().unwrap();
    assert_eq!(found.status, Some(TransactionStatus::Declined));
    let decline = Decline::from(found);
    assert_eq!((decline.code, decline.transaction_id()), (5051, Some(891583633)));
}

#[test]
fn only_not_found_means_not_found() {
    let found = |status, message: &str| {
        let body = format!(r#"{{"Success":false,"Message":"{message}"}}"#);
        received(status, body).lookup()
    };
    assert!(matches!(found(200, "Not found"), Ok(None)));
    assert!(matches!(found(404, "Not found"), Ok(None)));
    assert!(matches!(found(200, "InvoiceId is required"), Err(Error::OurFault { .. })));
    for body in [
        r#"{"Success":true,"Message":"Not found"}"#,
        r#"{"Success":false,"Message":"Not found","Model":{}}"#,
        r#"{"Success":true,"Model":null}"#,
        r#"{"message":"Not found"}"#,
    ] {
        let error = received(200, body).lookup().err();
        assert!(is_unknown(&error), "{body}: {error:?}");
    }
}

#[test]
fn a_transaction_that_contradicts_itself_has_no_status() {
    let mut body = documented(COMPLETED);
    body["Model"]["ReasonCode"] = 5051.into();
    let found = received(200, body.to_string()).lookup().unwrap().unwrap();
    assert_eq!(found.status, None);
}

#[test]
fn a_page_with_an_entry_without_an_id_is_unreadable() {
    let page = |model: &str| received(200, format!(r#"{{"Success":true,"Model":{model}}}"#)).page();
    assert_eq!(page(r#"[{"TransactionId":1},{"TransactionId":"2"}]"#).unwrap().len(), 2);
    assert_eq!(page("[]").unwrap().len(), 0);
    for model in ["null", "{}", r#"[{"TransactionId":1},{}]"#, "[1]"] {
        assert!(is_unknown(&page(model).err()), "{model}");
    }
}

#[test]
fn an_order_is_done_only_if_the_answer_says_so() {
    let done = |body: &str| received(200, body).done();
    assert!(done(r#"{"Success":true,"Message":null}"#).is_ok());
    assert!(done(r#"{"Success":true,"Model":{"TransactionId":1,"Status":"Cancelled"}}"#).is_ok());
    assert!(matches!(done(r#"{"Success":false,"Message":"Amount is required"}"#), Err(Error::OurFault { .. })));
    assert!(is_unknown(&done(r#"{"Success":false,"Message":"Internal error"}"#).err()), "it may be done");
    assert!(matches!(done(r#"{"Success":false,"Model":{"ReasonCode":5096}}"#), Err(Error::Declined(_))));
    for body in [
        r#"{"Success":false}"#,
        r#"{"Success":true,"Model":{"ReasonCode":5096,"Status":"Completed"}}"#,
        r#"{"Success":true,"Model":[]}"#,
        r#"{"Success":null}"#,
    ] {
        assert!(is_unknown(&done(body).err()), "{body}");
    }
}

#[test]
fn a_refund_has_an_id_of_its_own() {
    let refund = |body: &str| received(200, body).refund();
    assert_eq!(refund(r#"{"Success":true,"Model":{"TransactionId":568}}"#).unwrap(), 568);
    assert!(is_unknown(&refund(r#"{"Success":true}"#).err()));
    assert!(matches!(refund(r#"{"Success":false,"Message":"Amount is required"}"#), Err(Error::OurFault { .. })));
    assert!(is_unknown(&refund(r#"{"Success":false,"Message":"Internal error"}"#).err()), "it may be given back");
}

#[test]
fn a_long_explanation_is_cut() {
    let body = format!(r#"{{"Success":false,"Message":"{}"}}"#, "ы".repeat(10_000));
    let Err(Error::OutcomeUnknown { why: Doubt::Refusal(message) }) = received(200, body).charge() else {
        panic!("no refusal");
    };
    assert_eq!(message.chars().count(), MAX_MESSAGE);
}
