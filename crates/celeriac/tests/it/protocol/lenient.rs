//! Messages of other senders: what Celery's workers would take, we take.

use celeriac::protocol::{DecodeErrorKind, Headers, Message, RawJson, TaskMessage, Value};

fn message(headers: &[(&str, Value)], body: impl Into<bytes::Bytes>) -> Message {
    let headers: Headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    Message { headers, body: body.into(), ..Message::default() }
}

fn minimal(extra: &[(&str, Value)], body: impl Into<bytes::Bytes>) -> Message {
    let mut headers = vec![("task", Value::from("proj.add")), ("id", Value::from("1"))];
    headers.extend_from_slice(extra);
    message(&headers, body)
}

fn decode(message: Message) -> TaskMessage {
    TaskMessage::decode(message).unwrap()
}

fn refusal(message: Message) -> DecodeErrorKind {
    TaskMessage::decode(message).unwrap_err().kind
}

#[test]
fn a_name_and_an_id_are_enough() {
    let task = decode(minimal(&[], "[[1, 2], {}, null]"));
    assert_eq!((task.task.as_str(), task.id.as_str(), task.retries), ("proj.add", "1", 0));
    assert_eq!((task.root_id, task.parent_id, task.ignore_result), (None, None, None));
    assert!(task.embed.is_empty());
}

#[test]
fn what_follows_may_be_null_or_absent() {
    for body in
        ["[[], {}, null]", "[[], {}]", "[[], {}, {}]", r#"[[], {}, {"chain": null}]"#, r#"[[], {}, {"chain": []}]"#]
    {
        assert!(decode(minimal(&[], body)).embed.is_empty(), "{body}");
    }
    assert!(decode(minimal(&[], "[null, null, null]")).args == RawJson::EMPTY_LIST);
}

#[test]
fn one_callback_needs_no_list() {
    let task = decode(minimal(&[], r#"[[], {}, {"callbacks": {"task": "proj.cb"}}]"#));
    assert_eq!(task.embed.callbacks.unwrap()[0].task, "proj.cb");
}

#[test]
fn times_are_read_with_any_offset_and_without_one() {
    for (eta, expected) in [
        ("2031-05-06T07:08:09+03:00", "2031-05-06T04:08:09+00:00"),
        ("2031-05-06T07:08:09.5Z", "2031-05-06T07:08:09.500+00:00"),
        ("2031-05-06T07:08:09", "2031-05-06T07:08:09+00:00"),
    ] {
        let task = decode(minimal(&[("eta", eta.into()), ("expires", eta.into())], "[[], {}]"));
        assert_eq!(task.eta.unwrap().to_utc().to_rfc3339(), expected);
        assert_eq!(task.expires, task.eta);
    }
    let at: chrono::DateTime<chrono::Utc> = "2031-05-06T07:08:09Z".parse().unwrap();
    assert_eq!(decode(minimal(&[("eta", Value::Timestamp(at))], "[[], {}]")).eta, Some(at.fixed_offset()));
    assert_eq!(decode(minimal(&[("eta", "".into())], "[[], {}]")).eta, None);
}

#[test]
fn time_limits_are_hard_then_soft_and_zero_is_none() {
    use std::time::Duration;
    let limits = |limits: Vec<Value>| {
        let task = decode(minimal(&[("timelimit", Value::List(limits))], "[[], {}]"));
        (task.time_limit, task.soft_time_limit)
    };
    let expected = (Some(Duration::from_secs(30)), Some(Duration::from_millis(20_500)));
    assert_eq!(limits(vec![30.into(), 20.5.into()]), expected);
    assert_eq!(limits(vec![Value::Null, 1.into()]), (None, Some(Duration::from_secs(1))));
    assert_eq!(limits(vec![0.into(), 0.0.into()]), (None, None));
    assert_eq!(limits(vec![]), (None, None));
}

#[test]
fn flags_may_be_numbers() {
    assert_eq!(decode(minimal(&[("ignore_result", 1.into())], "[[], {}]")).ignore_result, Some(true));
    assert_eq!(decode(minimal(&[("ignore_result", Value::Null)], "[[], {}]")).ignore_result, None);
}

#[test]
fn headers_of_the_sender_are_kept() {
    let bytes = Value::Bytes(bytes::Bytes::from_static(&[0xff]));
    let decimal = Value::Decimal { scale: 2, mantissa: 1234 };
    let task = decode(minimal(&[("x-raw", bytes.clone()), ("x-decimal", decimal.clone())], "[[], {}]"));
    assert_eq!((task.headers.get("x-raw"), task.headers.get("x-decimal")), (Some(&bytes), Some(&decimal)));
    let written = task.into_message();
    assert_eq!(written.headers.get("x-raw"), Some(&bytes));
}

#[test]
fn a_bad_header_is_named_with_its_task() {
    for (header, value) in [
        ("eta", Value::from("soon")),
        ("eta", Value::from(7_i64)),
        ("retries", Value::from(-1_i64)),
        ("retries", Value::from("two")),
        ("timelimit", Value::from(30_i64)),
        ("timelimit", Value::List(vec![Value::Float(f64::NAN)])),
        ("timelimit", Value::List(vec![Value::Float(-1.0)])),
        ("stamps", Value::from(1_i64)),
        ("stamped_headers", Value::List(vec![Value::Null])),
        ("compression", Value::from("application/x-brotli")),
        ("root_id", Value::Bytes(bytes::Bytes::from_static(&[0xff]))),
    ] {
        let error = TaskMessage::decode(minimal(&[(header, value.clone())], "[[], {}]")).unwrap_err();
        assert!(matches!(&error.kind, DecodeErrorKind::Header { name, .. } if name == header), "{error}");
        assert!(error.to_string().starts_with(&format!("task proj.add[1]: header {header:?}")), "{error}");
    }
}

#[test]
fn a_message_that_names_no_task_is_told_apart() {
    assert_eq!(refusal(message(&[], "{\"foo\": 1}")), DecodeErrorKind::NotATask);
    assert_eq!(refusal(message(&[], "[[], {}]")), DecodeErrorKind::NotATask);
    let id = |kind| matches!(kind, DecodeErrorKind::Header { name, .. } if name == "id");
    assert!(id(refusal(message(&[("task", "proj.add".into())], "[[], {}]"))));
    assert!(id(refusal(message(&[], r#"{"task": "proj.add", "args": []}"#))));
}

#[test]
fn a_body_of_another_shape_is_refused() {
    for body in [
        "{}",
        "7",
        "[]",
        "[[]]",
        "[1, {}]",
        "[[], 1]",
        "[[], {}, 1]",
        "[[], {}, {}, {}]",
        r#"[[], {}, {"chain": [1]}]"#,
    ] {
        assert!(matches!(refusal(minimal(&[], body)), DecodeErrorKind::Shape { .. }), "{body}");
    }
}

#[test]
fn text_that_is_no_json_is_refused() {
    let deep = format!("[[{}{}], {{}}]", "[".repeat(300), "]".repeat(300));
    for body in [
        "",
        "[[], {}",
        "[[],, {}]",
        "[[01], {}]",
        "[[\"\n\"], {}]",
        "[[], {}] x",
        "[[nul], {}]",
        "[[\"\\x\"], {}]",
        deep.as_str(),
    ] {
        assert!(matches!(refusal(minimal(&[], body.to_owned())), DecodeErrorKind::Json(_)), "{body}");
    }
    assert!(matches!(refusal(minimal(&[], &b"[[\"\xff\"], {}]"[..])), DecodeErrorKind::Json(_)));
}

#[test]
fn other_encodings_are_refused() {
    let mut message = minimal(&[], "[[], {}]");
    message.properties.content_encoding = Some("utf-16".to_owned());
    assert!(matches!(refusal(message), DecodeErrorKind::ContentEncoding { .. }));
    let mut message = minimal(&[], "[[], {}]");
    message.properties.content_encoding = Some("UTF-8".to_owned());
    decode(message);
}

mod compressed {
    use std::io::Write as _;

    use celeriac::protocol::MAX_BODY;
    use flate2::Compression as Level;
    use flate2::write::{GzEncoder, ZlibEncoder};

    use super::*;

    const BODY: &[u8] = b"[[1, 2], {}, null]";

    fn zlib(body: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Level::fast());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    }

    fn gzip(body: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Level::fast());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    }

    fn with(mime: &str, body: Vec<u8>) -> Message {
        minimal(&[("compression", mime.into())], body)
    }

    #[test]
    fn a_zlib_stream_is_what_kombu_calls_gzip() {
        for mime in ["application/x-gzip", "gzip", "zlib"] {
            assert_eq!(decode(with(mime, zlib(BODY))).args.as_str(), "[1, 2]");
        }
        let written = decode(with("application/x-gzip", zlib(BODY))).into_message();
        assert_eq!(written.body[..1], [0x78]);
        assert_eq!(written.headers.get("compression"), Some(&Value::from("application/x-gzip")));
        assert_eq!(decode(written).args.as_str(), "[1, 2]");
    }

    #[test]
    fn real_gzip_is_read_too() {
        assert_eq!(decode(with("application/x-gzip", gzip(BODY))).args.as_str(), "[1, 2]");
    }

    #[test]
    fn what_cannot_be_unpacked_is_refused() {
        let mut cut = zlib(BODY);
        cut.truncate(8);
        for body in [Vec::new(), cut, b"[[1, 2], {}]".to_vec(), vec![0x1f, 0x8b, 0]] {
            assert!(matches!(refusal(with("gzip", body)), DecodeErrorKind::Corrupt { .. }));
        }
    }

    #[test]
    fn a_bomb_is_refused_before_it_fills_the_memory() {
        let bomb = zlib(&vec![b' '; MAX_BODY + 1]);
        assert!(bomb.len() < 1 << 20);
        assert!(matches!(refusal(with("gzip", bomb)), DecodeErrorKind::TooLarge { limit: MAX_BODY }));
    }
}
