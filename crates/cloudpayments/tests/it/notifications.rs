//! Notifications: signatures and fields.

use base64::{Engine, engine::general_purpose::STANDARD};
use cloudpayments::{
    Amount, Operation, ReasonGroup, TransactionStatus,
    notification::{
        Kind, MAX_BODY, Notification, ParseError, Reply, parse,
        signature::{SignatureError, Signatures, verify},
    },
};
use hmac::{Hmac, KeyInit, Mac};
use proptest::prelude::*;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use sha2::Sha256;

use crate::fixtures;

struct Vector {
    name: String,
    secret: SecretString,
    content_type: String,
    body: String,
    content_hmac: String,
    x_content_hmac: String,
}

fn vectors() -> Vec<Vector> {
    let vectors: Vec<_> = fixtures::all("webhooks")
        .into_iter()
        .map(|(name, vector)| {
            let text = |field: &str| vector[field].as_str().unwrap().to_owned();
            Vector {
                name,
                secret: text("api_secret").into(),
                content_type: text("content_type"),
                body: text("body"),
                content_hmac: text("Content-HMAC"),
                x_content_hmac: text("X-Content-HMAC"),
            }
        })
        .collect();
    assert!(vectors.len() >= 7);
    vectors
}

fn vector(name: &str) -> Vector {
    vectors().into_iter().find(|vector| vector.name == name).unwrap()
}

fn parsed(name: &str, kind: Kind) -> Notification {
    let vector = vector(name);
    parse(kind, Some(&vector.content_type), vector.body.as_bytes()).unwrap()
}

fn content(signature: &str) -> Signatures<'_> {
    Signatures { content_hmac: Some(signature), x_content_hmac: None }
}

fn x_content(signature: &str) -> Signatures<'_> {
    Signatures { content_hmac: None, x_content_hmac: Some(signature) }
}

#[test]
fn either_header_alone_or_both_verify() {
    for vector in vectors() {
        let body = vector.body.as_bytes();
        let both =
            Signatures { content_hmac: Some(&vector.content_hmac), x_content_hmac: Some(&vector.x_content_hmac) };
        for signatures in [content(&vector.content_hmac), x_content(&vector.x_content_hmac), both] {
            assert_eq!(verify(std::slice::from_ref(&vector.secret), body, signatures), Ok(()), "{}", vector.name);
        }
    }
}

/// What is parsed is the body: where a header over these very bytes is there, no other one makes up for it.
#[test]
fn the_header_over_the_raw_bytes_decides_when_it_is_there() {
    let vector = vector("pay-form-cyrillic");
    let secrets = [vector.secret.clone()];
    let only_decoded_fits = Signatures { content_hmac: Some("AAAA"), x_content_hmac: Some(&vector.x_content_hmac) };
    assert_eq!(verify(&secrets, vector.body.as_bytes(), only_decoded_fits), Err(SignatureError::Mismatch));
    let only_raw_fits = Signatures { content_hmac: Some(&vector.content_hmac), x_content_hmac: Some("AAAA") };
    assert_eq!(verify(&secrets, vector.body.as_bytes(), only_raw_fits), Ok(()));
}

#[test]
fn either_of_two_secrets_will_do_while_one_is_replaced() {
    let vector = vector("pay-json");
    let (body, signature) = (vector.body.as_bytes(), content(&vector.content_hmac));
    let (ours, other) = (vector.secret.clone(), SecretString::from("sk_new"));
    assert_eq!(verify(&[other.clone(), ours.clone()], body, signature), Ok(()));
    assert_eq!(verify(&[ours, other.clone()], body, signature), Ok(()));
    assert_eq!(verify(&[other], body, signature), Err(SignatureError::Mismatch));
    assert_eq!(verify(&[], body, signature), Err(SignatureError::Mismatch));
}

/// C37: the decoded text of a form in which `&` or `=` is escaped is that of other forms too.
#[test]
fn a_form_split_anew_under_the_signature_of_its_decoded_text_is_refused() {
    let secret = SecretString::from("sk_test_secret");
    let genuine = "TransactionId=1&Issuer=X&Amount=1.00&Name=Y%26Amount%3D399.00";
    let decoded = "TransactionId=1&Issuer=X&Amount=1.00&Name=Y&Amount=399.00";
    let signature = sign("sk_test_secret", decoded);
    for forged in [
        genuine,
        decoded,
        "TransactionId=1&Issuer=X%26Amount%3D1.00%26Name%3DY&Amount=399.00",
        "TransactionId=1&Issuer=X%26Amount%3d1.00&Name=Y&Amount=399.00",
        "TransactionId=1%26Issuer=X&Amount=1.00&Name=Y&Amount=399.00",
    ] {
        let verdict = verify(std::slice::from_ref(&secret), forged.as_bytes(), x_content(&signature));
        assert_eq!(verdict, Err(SignatureError::Ambiguous), "{forged}");
    }
    // By the header over its bytes the genuine one is believed, and only that one.
    let by_bytes = sign("sk_test_secret", genuine);
    assert_eq!(verify(std::slice::from_ref(&secret), genuine.as_bytes(), content(&by_bytes)), Ok(()));
    assert!(verify(&[secret], decoded.as_bytes(), content(&by_bytes)).is_err());
}

fn sign(secret: &str, message: &str) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("a key of any length").chain_update(message);
    STANDARD.encode(mac.finalize().into_bytes())
}

#[test]
fn without_headers_nothing_is_signed() {
    let vector = vector("empty-body");
    let verdict = verify(std::slice::from_ref(&vector.secret), vector.body.as_bytes(), Signatures::default());
    assert_eq!(verdict, Err(SignatureError::Missing));
}

#[test]
fn a_wrong_secret_or_a_malformed_signature_does_not_verify() {
    for vector in vectors() {
        let body = vector.body.as_bytes();
        let other = SecretString::from("sk_other");
        assert!(verify(std::slice::from_ref(&other), body, content(&vector.content_hmac)).is_err());
        for malformed in ["", "=", "not base64", &vector.content_hmac[1..], &"A".repeat(10_000)] {
            for signatures in [content(malformed), x_content(malformed)] {
                let verdict = verify(std::slice::from_ref(&vector.secret), body, signatures);
                assert_eq!(verdict, Err(SignatureError::Mismatch), "{malformed}");
            }
        }
    }
}

#[test]
fn the_raw_bytes_count_not_their_meaning() {
    // The same fields, percent-encoded in upper case: only the decoded signature still fits.
    let vector = vector("pay-form-lowerhex");
    let reencoded = vector.body.to_uppercase().replace("TRANSACTIONID", "TransactionId");
    let reencoded = reencoded.replace("AMOUNT", "Amount").replace("DESCRIPTION", "Description");
    let reencoded = reencoded.replace("CARDEXPDATE", "CardExpDate");
    assert_ne!(reencoded, vector.body);
    let body = reencoded.as_bytes();
    assert!(verify(std::slice::from_ref(&vector.secret), body, content(&vector.content_hmac)).is_err());
    assert!(verify(std::slice::from_ref(&vector.secret), body, x_content(&vector.x_content_hmac)).is_ok());
}

proptest! {
    #[test]
    fn a_changed_bit_breaks_the_signature(
        which in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), bit in 0..8_u8,
    ) {
        let signed: Vec<_> =
            vectors().into_iter().filter(|vector| !vector.body.is_empty()).collect();
        let vector = &signed[which.index(signed.len())];
        let mut body = vector.body.clone().into_bytes();
        let at = at.index(body.len());
        body[at] ^= 1 << bit;
        let signatures = content(&vector.content_hmac);
        prop_assert_eq!(verify(std::slice::from_ref(&vector.secret), &body, signatures), Err(SignatureError::Mismatch));

        let mut signature = STANDARD.decode(&vector.content_hmac).unwrap();
        signature[at % 32] ^= 1 << bit;
        let signature = STANDARD.encode(signature);
        let verdict = verify(std::slice::from_ref(&vector.secret), vector.body.as_bytes(), content(&signature));
        prop_assert_eq!(verdict, Err(SignatureError::Mismatch));
    }

    #[test]
    fn no_body_panics(
        kind in prop::sample::select(Kind::ALL.to_vec()),
        json: bool,
        body in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..300),
            "(TransactionId|Amount|Id|ReasonCode|DateTime|Data)=[%+&=0-9a-f./-]{0,20}".prop_map(String::into_bytes),
            r#"\{"(TransactionId|Amount|Id)":[0-9eE."\[\]{}-]{0,12}\}"#.prop_map(String::into_bytes),
        ],
    ) {
        let content_type = if json { "application/json" } else { "application/x-www-form-urlencoded" };
        let _ = parse(kind, Some(content_type), &body);
        let _ = parse(kind, None, &body);
    }
}

#[test]
fn a_pay_form_is_read() {
    let Notification::Pay(pay) = parsed("pay-form-cyrillic", Kind::Pay) else { panic!() };
    let payment = pay.payment;
    assert_eq!(payment.transaction_id, 897728064);
    assert_eq!(payment.amount, Amount::from_kopecks(5950));
    assert_eq!(payment.currency.as_deref(), Some("RUB"));
    assert_eq!(payment.status, Some(TransactionStatus::Completed));
    assert_eq!(payment.operation, Some(Operation::Payment));
    assert_eq!(payment.date_time.unwrap().to_rfc3339(), "2026-11-01T00:00:05+00:00");
    assert_eq!(payment.invoice_id.as_deref(), Some("1000042"));
    assert_eq!(payment.account_id.as_deref(), Some("4be8a7f0-0000-4000-8000-000000000001"));
    assert_eq!(payment.card.expires.as_deref(), Some("12/30"));
    assert_eq!(payment.name.as_deref(), Some("CARD HOLDER"));
    assert_eq!(payment.description.as_deref(), Some("Подписка «Кино» на месяц"));
    assert_eq!(payment.data.as_deref(), Some(r#"{"tariff": "базовый"}"#));
    assert_eq!(payment.test_mode, Some(true));
    assert_eq!(payment.token.unwrap().expose_secret(), "tk_255c42192323f2e09ea17635302c3");
    assert_eq!(pay.gateway_name.as_deref(), Some("Test"));
}

#[test]
fn json_says_the_same_as_a_form() {
    let form = parsed("pay-form-ascii", Kind::Pay);
    let json = parsed("pay-json", Kind::Pay);
    assert_eq!(format!("{json:?}"), format!("{form:?}"));
}

#[test]
fn a_fail_says_when_the_next_attempt_is_allowed() {
    let Notification::Fail(fail) = parsed("fail-form", Kind::Fail) else { panic!() };
    assert_eq!((fail.decline.code, fail.decline.group), (5051, ReasonGroup::Temporary));
    assert_eq!(fail.decline.reason.as_deref(), Some("InsufficientFunds"));
    assert_eq!(fail.decline.retry_after.unwrap().to_rfc3339(), "2026-11-02T00:00:05+00:00");
    assert_eq!(fail.decline.cardholder_message.as_deref(), Some("Недостаточно средств на карте"));
    assert_eq!(fail.provider_message, None);
    assert_eq!(fail.payment.status, Some(TransactionStatus::Declined));
}

#[test]
fn a_refund_names_the_payment_it_gives_back() {
    let Notification::Refund(refund) = parsed("refund-form", Kind::Refund) else { panic!() };
    assert_eq!((refund.transaction_id, refund.payment_transaction_id), (568, 455));
    assert_eq!(refund.amount, Amount::from_kopecks(10000));
    assert_eq!(refund.operation, Some(Operation::Refund));
}

/// A value a documented parameter can have.
fn sample(name: &str, kind: &str) -> &'static str {
    match name {
        "Amount" | "PaymentAmount" => "59.50",
        "Status" => "Completed",
        "OperationType" => "Payment",
        _ if kind.contains("Long") || kind.contains("Int") => "5051",
        _ if kind.contains("yyyy") || kind.contains("DateTime") => "2026-11-01 00:00:05",
        _ if kind.contains("Bit") => "1",
        _ if kind.contains("Bool") => "False",
        _ if kind.contains("Decimal") => "1.234",
        _ if kind.contains("Json") => r#"{"a":1}"#,
        _ => "x",
    }
}

#[test]
fn every_kind_is_read_from_all_its_documented_parameters_and_needs_its_key_ones() {
    let documented = fixtures::one("reference/webhook_params.json");
    // Those of a receipt stand in the documentation of the cash registers.
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Receipt) {
        let parameters: Vec<(&str, &str)> = documented[kind.as_str()]
            .as_array()
            .unwrap()
            .iter()
            .map(|parameter| {
                let name = parameter["name"].as_str().unwrap();
                (name, sample(name, parameter["type"].as_str().unwrap()))
            })
            .collect();
        let form = |without: &str| {
            let mut form = url::form_urlencoded::Serializer::new(String::new());
            form.extend_pairs(parameters.iter().filter(|(name, _)| *name != without));
            form.finish()
        };
        let json = |without: &str| {
            let fields = parameters
                .iter()
                .filter(|(name, _)| *name != without)
                .map(|(name, value)| ((*name).to_owned(), Value::from(*value)));
            Value::Object(fields.collect()).to_string()
        };
        assert_eq!(parse(kind, None, form("").as_bytes()).unwrap().kind(), kind);
        assert_eq!(parse(kind, None, json("").as_bytes()).unwrap().kind(), kind);

        let required: &[&'static str] = match kind {
            Kind::Check | Kind::Pay | Kind::Confirm | Kind::Cancel => &["TransactionId", "Amount"],
            Kind::Fail => &["TransactionId", "Amount", "ReasonCode"],
            Kind::Refund => &["TransactionId", "PaymentTransactionId", "Amount"],
            Kind::Recurrent => &["Id", "Status"],
            Kind::Receipt => &["Id"],
        };
        for name in required {
            for body in [form(name), json(name)] {
                let complaint = parse(kind, None, body.as_bytes()).unwrap_err();
                assert_eq!(complaint, ParseError::Field(name), "{kind}");
            }
        }
    }
}

#[test]
fn a_receipt_tells_where_it_can_be_seen() {
    let body = b"Id=rc-1&DocumentNumber=21&FiscalSign=3115431&FiscalNumber=9999078900001234&RegNumber=0000000001006999&\
        Type=Income&Url=https%3A%2F%2Freceipts.ru%2Frc-1&TransactionId=455&Amount=399.00&InvoiceId=1000042&AccountId=acc-1";
    let Notification::Receipt(receipt) = parse(Kind::Receipt, None, body).unwrap() else { panic!() };
    assert_eq!((receipt.id.as_str(), receipt.transaction_id), ("rc-1", Some(455)));
    assert_eq!(receipt.url.as_deref(), Some("https://receipts.ru/rc-1"));
    assert_eq!(receipt.fiscal_sign.as_deref(), Some("3115431"));
    assert_eq!(parse(Kind::Receipt, None, b"Type=Income").unwrap_err(), ParseError::Field("Id"));
}

#[test]
fn json_with_a_byte_order_mark_is_read() {
    let body = "\u{feff}{\"TransactionId\":1,\"Amount\":59.50}";
    for content_type in [None, Some("application/json; charset=utf-8")] {
        let Notification::Cancel(cancel) = parse(Kind::Cancel, content_type, body.as_bytes()).unwrap() else {
            panic!()
        };
        assert_eq!(cancel.transaction_id, 1);
    }
}

#[test]
fn only_what_calls_itself_a_payment_or_nothing_is_one() {
    for (operation, is_payment) in [
        ("", true),
        ("&OperationType=Payment", true),
        ("&OperationType=CardPayout", false),
        ("&OperationType=New", false),
    ] {
        let body = format!("TransactionId=1&Amount=1.00{operation}");
        let Notification::Pay(pay) = parse(Kind::Pay, None, body.as_bytes()).unwrap() else { panic!() };
        assert_eq!(pay.payment.is_payment, is_payment, "{operation}");
    }
}

#[test]
fn booleans_are_read_however_they_are_spelled() {
    for (spelled, expected) in
        [("False", Some(false)), ("true", Some(true)), ("1", Some(true)), ("0", Some(false)), ("да", None)]
    {
        let body = format!("Id=sc_1&Status=Active&RequireConfirmation={spelled}");
        let Notification::Recurrent(recurrent) = parse(Kind::Recurrent, None, body.as_bytes()).unwrap() else {
            panic!()
        };
        assert_eq!(recurrent.require_confirmation, expected, "{spelled}");
    }
}

#[test]
fn a_body_that_is_too_large_or_not_json_is_refused() {
    let large = vec![b'a'; MAX_BODY + 1];
    assert_eq!(parse(Kind::Pay, None, &large).unwrap_err(), ParseError::TooLarge);
    for body in ["", "[]", "TransactionId=1&Amount=1"] {
        let complaint = parse(Kind::Pay, Some("application/json; charset=utf-8"), body.as_bytes());
        assert_eq!(complaint.unwrap_err(), ParseError::NotJson, "{body}");
    }
}

#[test]
fn kinds_are_named_as_in_urls() {
    for kind in Kind::ALL {
        assert_eq!(kind.to_string().parse(), Ok(kind));
    }
    assert_eq!("Pay".parse(), Ok(Kind::Pay));
    assert!("payment".parse::<Kind>().is_err());
}

#[test]
fn replies_are_the_documented_codes() {
    assert_eq!(Reply::Accepted.body(), r#"{"code":0}"#);
    let codes = [Reply::WrongInvoice, Reply::WrongAccount, Reply::WrongAmount, Reply::NotAcceptable, Reply::Expired]
        .map(Reply::code);
    assert_eq!(codes, [10, 11, 12, 13, 20]);
}
