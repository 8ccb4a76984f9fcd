//! Calls and the structs they are read as.

use celeriac::protocol::{ArgumentsError, RawJson, TaskMessage, read_arguments};
use celeriac::{Failure, Task};
use serde::{Deserialize, Serialize};

#[derive(Task, Serialize, Deserialize, Debug, PartialEq)]
#[task(name = "proj.add")]
struct Add {
    x: i64,
    y: i64,
}

#[derive(Task, Serialize, Deserialize, Debug, PartialEq)]
#[task(name = "billing.charge", queue = "payments", priority = 7)]
struct Charge {
    account_id: u64,
    amount: f64,
    #[serde(default = "rub")]
    currency: String,
    note: Option<String>,
}

fn rub() -> String {
    "RUB".to_owned()
}

#[derive(Task, Serialize, Deserialize, Debug, PartialEq)]
#[task(name = "proj.noop")]
struct Noop;

#[derive(Task, Serialize, Deserialize, Debug, PartialEq)]
#[task(name = "proj.rich")]
#[serde(rename_all = "camelCase")]
struct Rich {
    user_id: uuid::Uuid,
    when: chrono::DateTime<chrono::Utc>,
    raw_bytes: Vec<u8>,
    price: String,
    #[serde(rename = "type", alias = "kind")]
    kind_of: Option<String>,
    #[task(redact)]
    token: String,
}

fn call<T: Task>(args: &str, kwargs: &str) -> Result<T, ArgumentsError> {
    let raw = |text: &str| RawJson::parse(text.to_owned()).unwrap();
    read_arguments(T::NAME, &raw(args), &raw(kwargs))
}

fn refusal<T: Task + std::fmt::Debug>(args: &str, kwargs: &str) -> String {
    let failure = Failure::from(call::<T>(args, kwargs).unwrap_err());
    assert_eq!((failure.exc_type.as_str(), failure.exc_module.as_str()), ("TypeError", "builtins"));
    failure.exc_message[0].as_str().unwrap().to_owned()
}

#[test]
fn arguments_come_by_position_by_name_or_mixed() {
    for (args, kwargs) in
        [("[1, 2]", "{}"), ("[]", r#"{"x": 1, "y": 2}"#), ("[]", r#"{"y": 2, "x": 1}"#), ("[1]", r#"{"y": 2}"#)]
    {
        assert_eq!(call::<Add>(args, kwargs), Ok(Add { x: 1, y: 2 }), "{args} {kwargs}");
    }
}

#[test]
fn what_has_a_default_may_be_left_out() {
    let expected = Charge { account_id: 42, amount: 9.5, currency: "RUB".to_owned(), note: None };
    assert_eq!(call::<Charge>("[42, 9.5]", "{}"), Ok(expected));
    let expected = Charge { account_id: 42, amount: 9.5, currency: "EUR".to_owned(), note: Some("x".to_owned()) };
    assert_eq!(call::<Charge>("[42]", r#"{"amount": 9.5, "note": "x", "currency": "EUR"}"#), Ok(expected));
}

#[test]
fn a_task_without_arguments_takes_none() {
    assert_eq!(call::<Noop>("[]", "{}"), Ok(Noop));
    assert_eq!(refusal::<Noop>("[1]", "{}"), "noop() takes 0 positional arguments but 1 was given");
}

#[test]
fn a_wrong_call_is_worded_as_python_words_it() {
    for (args, kwargs, expected) in [
        ("[1]", "{}", "add() missing 1 required positional argument: 'y'"),
        ("[]", "{}", "add() missing 2 required positional arguments: 'x' and 'y'"),
        ("[1, 2, 3]", "{}", "add() takes 2 positional arguments but 3 were given"),
        ("[1, 2]", r#"{"z": 3}"#, "add() got an unexpected keyword argument 'z'"),
        ("[1, 2]", r#"{"x": 3}"#, "add() got multiple values for argument 'x'"),
        (r#"[1, "two"]"#, "{}", "add() argument 'y': invalid type: string \"two\", expected i64"),
        ("[1, 2.5]", "{}", "add() argument 'y': invalid type: floating point `2.5`, expected i64"),
        ("[1, null]", "{}", "add() argument 'y': invalid type: null, expected i64"),
    ] {
        assert_eq!(refusal::<Add>(args, kwargs), expected, "{args} {kwargs}");
    }
}

#[test]
fn type_tags_read_as_what_they_say() {
    let args = r#"[
        {"__type__": "uuid", "__value__": {"hex": "11111111111141118111000000000000"}},
        {"__type__": "datetime", "__value__": "2031-05-06T07:08:09.123456+00:00"},
        {"__type__": "base64", "__value__": "AP8="},
        {"__type__": "decimal", "__value__": "12.3400"},
        {"__type__": "bytes", "__value__": "abc"},
        "secret"
    ]"#;
    let rich = call::<Rich>(args, "{}").unwrap();
    assert_eq!(rich.user_id.to_string(), "11111111-1111-4111-8111-000000000000");
    assert_eq!(rich.when.to_rfc3339(), "2031-05-06T07:08:09.123456+00:00");
    assert_eq!(rich.raw_bytes, [0, 255]);
    assert_eq!(rich.price, "12.3400");
    assert_eq!(rich.kind_of.as_deref(), Some("abc"));
}

#[test]
fn an_unknown_type_tag_is_named() {
    let text = refusal::<Add>(r#"[1, {"__type__": "complex", "__value__": [1, 2]}]"#, "{}");
    assert_eq!(text, "add() argument 'y': unreadable JSON type tag \"complex\": no such type");
}

#[test]
fn names_are_those_of_serde() {
    assert_eq!(Rich::FIELDS, ["userId", "when", "rawBytes", "price", "type", "token"]);
    assert_eq!(Rich::REQUIRED, ["userId", "when", "rawBytes", "price", "token"]);
    assert_eq!(Rich::ALIASES, ["kind"]);
    let kwargs = r#"{"userId": "11111111-1111-4111-8111-000000000000", "when": "2031-05-06T07:08:09Z",
        "rawBytes": [1], "price": "1", "kind": "k", "token": "t"}"#;
    assert_eq!(call::<Rich>("[]", kwargs).unwrap().kind_of.as_deref(), Some("k"));
    let twice = kwargs.replace("\"kind\"", "\"type\": \"x\", \"kind\"");
    assert_eq!(refusal::<Rich>("[]", &twice), "rich() got multiple values for argument 'type'");
}

#[test]
fn a_typed_task_survives_the_wire() {
    let task = Charge { account_id: 7, amount: 99.9, currency: "EUR".to_owned(), note: None };
    let message = TaskMessage::typed(&task, "id-1").unwrap().into_message();
    let read = TaskMessage::decode(message).unwrap();
    assert_eq!((read.task.as_str(), read.id.as_str()), ("billing.charge", "id-1"));
    assert_eq!(read.properties.priority, Some(7));
    assert_eq!(read.arguments::<Charge>(), Ok(task));
    let noop = TaskMessage::typed(&Noop, "id-2").unwrap().into_message();
    assert_eq!(TaskMessage::decode(noop).unwrap().arguments::<Noop>(), Ok(Noop));
}

#[test]
fn redacted_fields_are_not_shown() {
    let task = Rich {
        user_id: uuid::Uuid::nil(),
        when: chrono::DateTime::UNIX_EPOCH,
        raw_bytes: vec![1],
        price: "1".to_owned(),
        kind_of: None,
        token: "tk_live_1234".to_owned(),
    };
    let message = TaskMessage::typed(&task, "id-1").unwrap();
    let shown = message.kwargsrepr.clone().unwrap();
    assert!(shown.ends_with("'token': '***'}"), "{shown}");
    let message = message.into_message();
    assert!(!format!("{:?}", message.headers).contains("tk_live_1234"));
}

#[test]
fn big_integers_are_read_exactly() {
    #[derive(Task, Serialize, Deserialize, Debug)]
    #[task(name = "proj.big")]
    struct Big {
        number: i128,
        any: Box<serde_json::value::RawValue>,
    }

    let digits = "123456789012345678901234567890123456789012345678901234567890";
    let big = call::<Big>(&format!("[-170141183460469231731687303715884105728, {digits}]"), "{}").unwrap();
    assert_eq!((big.number, big.any.get()), (i128::MIN, digits));
}

#[test]
fn not_a_number_reads_as_a_float() {
    let charge = call::<Charge>("[1, Infinity]", "{}").unwrap();
    assert!(charge.amount.is_infinite());
    assert!(call::<Charge>("[1, NaN]", "{}").unwrap().amount.is_nan());
}
