//! Nothing from outside makes us panic, and what we write we read.

use celeriac::protocol::event::Event;
use celeriac::protocol::pidbox::{Reply, Request};
use celeriac::protocol::{Headers, Json, Message, Properties, RawJson, ResultMeta, TaskMessage, Value, repr};
use proptest::collection::vec;
use proptest::prelude::*;

fn header_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        any::<f64>().prop_map(Value::Float),
        ".{0,20}".prop_map(Value::Str),
        vec(any::<u8>(), 0..9).prop_map(|bytes| Value::Bytes(bytes.into())),
        (any::<u8>(), any::<i64>()).prop_map(|(scale, mantissa)| Value::Decimal { scale, mantissa }),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::List),
            vec((".{0,8}", inner), 0..4).prop_map(|entries| Value::Table(entries.into_iter().collect())),
        ]
    })
}

fn header_name() -> impl Strategy<Value = String> {
    const KNOWN: [&str; 20] = [
        "lang",
        "task",
        "id",
        "shadow",
        "eta",
        "expires",
        "group",
        "group_index",
        "retries",
        "timelimit",
        "root_id",
        "parent_id",
        "argsrepr",
        "kwargsrepr",
        "origin",
        "ignore_result",
        "replaced_task_nesting",
        "stamped_headers",
        "stamps",
        "compression",
    ];
    prop_oneof![4 => (0..KNOWN.len()).prop_map(|index| KNOWN[index].to_owned()), 1 => ".{0,12}"]
}

fn headers() -> impl Strategy<Value = Headers> {
    vec((header_name(), header_value()), 0..12).prop_map(|entries| entries.into_iter().collect())
}

/// JSON text, well formed or nearly so.
fn json_text() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("NaN".to_owned()),
        Just("-Infinity".to_owned()),
        Just("1e400".to_owned()),
        any::<i128>().prop_map(|number| number.to_string()),
        any::<f64>()
            .prop_filter("JSON has no other numbers", |number| number.is_finite())
            .prop_map(|number| format!("{number:e}")),
        ".{0,12}".prop_map(|text| serde_json::to_string(&text).unwrap()),
        Just("\"\\ud83d\"".to_owned()),
        Just("\"\\ud83d\\ude00\"".to_owned()),
        Just("[1,]".to_owned()),
    ];
    let key = prop_oneof![
        Just("\"__type__\"".to_owned()),
        Just("\"__value__\"".to_owned()),
        "[a-z_]{0,9}".prop_map(|key| format!("\"{key}\"")),
        Just("\"task\"".to_owned()),
        Just("\"status\"".to_owned()),
        Just("\"type\"".to_owned()),
        Just("\"method\"".to_owned()),
    ];
    leaf.prop_recursive(4, 32, 5, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(|elements| format!("[{}]", elements.join(", "))),
            vec((key.clone(), inner), 0..5).prop_map(|entries| {
                let entries: Vec<_> = entries.into_iter().map(|(key, value)| format!("{key}: {value}")).collect();
                format!("{{{}}}", entries.join(","))
            }),
        ]
    })
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..64),
        json_text().prop_map(String::into_bytes),
        (json_text(), json_text(), json_text())
            .prop_map(|(a, b, c)| format!("[[{a}], {{\"k\": {b}}}, {c}]").into_bytes()),
    ]
}

/// What `serde_json` makes of a value that it can hold.
fn value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        "\\PC{0,12}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Into::into),
            prop::collection::btree_map("\\PC{0,6}", inner, 0..5)
                .prop_map(|entries| serde_json::Value::Object(entries.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_message_makes_the_decoder_panic(headers in headers(), body in body(), encoding in ".{0,8}", json in any::<bool>()) {
        let properties = if json {
            Properties { content_type: Some("application/json".to_owned()), ..Properties::default() }
        } else {
            Properties { content_encoding: Some(encoding), ..Properties::default() }
        };
        let message = Message { properties, headers, body: body.into() };
        let _ = Event::decode(&message);
        let _ = Request::decode(&message).map(|request| request.is_for("w1@cap"));
        let _ = Reply::decode(&message);
        let _ = ResultMeta::from_json(&String::from_utf8_lossy(&message.body)).map(|meta| (meta.exception_info(), meta.to_json()));
        match TaskMessage::decode(message) {
            Ok(task) => {
                let _ = task.arguments::<super::hostile::Anything>();
                let again = TaskMessage::decode(task.clone().into_message()).expect("what we wrote");
                prop_assert_eq!(again.args, task.args);
                prop_assert_eq!(again.id, task.id);
            }
            Err(error) => drop(error.to_string()),
        }
    }

    #[test]
    fn our_scanner_takes_what_serde_takes(text in json_text()) {
        let ours = RawJson::parse(text.clone());
        if let Ok(theirs) = serde_json::from_str::<serde_json::Value>(&text) {
            prop_assert!(ours.is_ok(), "{text}");
            // The tree differs where tags are resolved and where floats overflow.
            let tagged = text.contains("__type__");
            if !tagged {
                prop_assert_eq!(ours.unwrap().read::<serde_json::Value>().unwrap(), theirs);
            }
        }
    }

    #[test]
    fn a_tree_is_written_as_the_text_it_was_read_from(value in value()) {
        let raw = RawJson::of(&value).unwrap();
        let mut written = Vec::new();
        raw.to_tree().write(&mut written);
        prop_assert_eq!(serde_json::from_slice::<serde_json::Value>(&written).unwrap(), value);
    }

    #[test]
    fn reading_through_the_tree_and_by_serde_agree(value in value()) {
        // The tag in a list makes the reader take the way through the tree.
        let text = format!("[{value}, \"__type__\"]");
        let slow = RawJson::parse(text.clone()).unwrap().read::<(serde_json::Value, String)>().unwrap();
        let fast = serde_json::from_str::<(serde_json::Value, String)>(&text).unwrap();
        prop_assert_eq!(slow, fast);
    }

    #[test]
    fn a_task_survives_the_wire(args in vec(value(), 0..4), id in "[a-f0-9-]{1,36}", retries in any::<u32>(),
                                priority in any::<u8>(), stamp in value(), compressed in any::<bool>()) {
        let args = RawJson::of(&args).unwrap();
        let mut task = TaskMessage::new("proj.add", id, args, RawJson::EMPTY_OBJECT);
        task.retries = retries;
        task.properties.priority = Some(priority);
        task.origin = Some("gen1@host".to_owned());
        task.headers.insert("x-stamp", stamp.to_string());
        task.compression = compressed.then_some(celeriac::protocol::Compression::Gzip);
        let read = TaskMessage::decode(task.clone().into_message()).unwrap();
        task.argsrepr.clone_from(&read.argsrepr);
        task.kwargsrepr.clone_from(&read.kwargsrepr);
        prop_assert_eq!(read, task);
    }

    #[test]
    fn what_operators_see_is_short(value in value()) {
        let shown = repr::args(&RawJson::of(&vec![value; 40]).unwrap());
        // The limit counts what is whole; the last piece, the marks of what was cut and open brackets come on top.
        prop_assert!(shown.chars().count() <= 1024 + 64, "{}", shown.chars().count());
    }
}

/// Takes any argument.
#[derive(celeriac::Task, serde::Serialize, serde::Deserialize)]
#[task(name = "proj.anything")]
pub(super) struct Anything {
    #[serde(default)]
    k: Option<serde_json::Value>,
}

#[test]
fn numbers_keep_every_digit() {
    let digits = "98765432109876543210987654321098765432109876543210";
    let text = format!("[{digits},1.10,1E5,-0,NaN]");
    let tree = RawJson::parse(text.clone()).unwrap().to_tree();
    let Json::List(numbers) = &tree else { panic!("{tree:?}") };
    assert_eq!(numbers[0], Json::Number(digits.to_owned()));
    let mut written = Vec::new();
    tree.write(&mut written);
    assert_eq!(String::from_utf8(written).unwrap(), format!("[{digits},1.10,1E5,0,NaN]"));
}
