use proptest::prelude::*;
use serde::Deserialize;

use super::{PickleError, is_pickle, read};
use crate::protocol::{Json, RawJson};

#[derive(Deserialize)]
struct Fixture {
    read: Vec<Readable>,
    refused: Vec<Refused>,
}

#[derive(Deserialize)]
struct Readable {
    name: String,
    protocol: u8,
    pickle: String,
    json: String,
}

#[derive(Deserialize)]
struct Refused {
    name: String,
    protocol: u8,
    pickle: String,
}

fn fixture() -> Fixture {
    serde_json::from_str(include_str!("../../../../tests/fixtures/pickle.json")).unwrap()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// Equal, whichever way a number is written.
fn same(one: &Json, other: &Json) -> bool {
    match (one, other) {
        (Json::List(one), Json::List(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(a, b)| same(a, b))
        }
        (Json::Object(one), Json::Object(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(a, b)| a.0 == b.0 && same(&a.1, &b.1))
        }
        (Json::Number(a), Json::Number(b)) if a.contains(['.', 'e', 'n', 'N']) => {
            let (a, b) = (one.as_f64().unwrap(), other.as_f64().unwrap_or_else(|| panic!("{b}")));
            a == b || a.is_nan() && b.is_nan()
        }
        _ => one == other,
    }
}

#[test]
fn what_python_pickles_reads_as_what_python_writes_as_json() {
    for case in fixture().read {
        let pickle = unhex(&case.pickle);
        assert!(is_pickle(&pickle));
        let read = read(&pickle).unwrap_or_else(|error| panic!("{} {}: {error}", case.name, case.protocol));
        let expected = RawJson::parse(case.json).unwrap().to_tree();
        assert!(same(&read, &expected), "{} {}: {read:?} instead of {expected:?}", case.name, case.protocol);
    }
}

#[test]
fn what_json_does_not_have_is_refused() {
    for case in fixture().refused {
        let error = read(&unhex(&case.pickle)).expect_err(&case.name);
        match &*case.name {
            "itself" => assert_eq!(error, PickleError::TooLarge),
            "tuple key" | "half a surrogate" => assert!(matches!(error, PickleError::NotJson(_)), "{error}"),
            name => assert!(matches!(error, PickleError::Python { .. }), "{name} {}: {error}", case.protocol),
        }
    }
}

#[test]
fn whatever_could_call_something_is_refused_by_its_opcode() {
    // GLOBAL, STACK_GLOBAL, REDUCE, BUILD, INST, OBJ, NEWOBJ, NEWOBJ_EX, PERSID, BINPERSID, EXT1, EXT2, EXT4, NEXT_BUFFER
    for opcode in [b'c', 0x93, b'R', b'b', b'i', b'o', 0x81, 0x92, b'P', b'Q', 0x82, 0x83, 0x84, 0x97] {
        let pickle = [0x80, 4, b'(', b'N', opcode, b'o', b's', b'\n', b's', b'\n', b'.'];
        assert_eq!(read(&pickle), Err(PickleError::Python { opcode, at: 4 }));
    }
}

#[test]
fn a_short_pickle_of_a_huge_value_is_refused() {
    // Each list holds the one before it ten times: 10^30 elements in 1 KB.
    let mut pickle = vec![0x80, 4, b')', 0x94];
    for level in 0..30 {
        pickle.push(b'(');
        pickle.extend([b'h', level].repeat(10));
        pickle.extend([b't', 0x94]);
    }
    pickle.push(b'.');
    assert_eq!(read(&pickle), Err(PickleError::TooLarge));
    // A length is no reason to reserve memory.
    assert_eq!(read(&[0x80, 4, b'B', 0xff, 0xff, 0xff, 0xff]), Err(PickleError::Truncated));
    assert_eq!(read(&[0x80, 4, 0x8b, 0xff, 0xff, 0xff, 0x7f]), Err(PickleError::TooLarge));
    assert!(matches!(read(&[0x80, 4, b'N', b'r', 0xff, 0xff, 0xff, 0xff]), Err(PickleError::Malformed { .. })));
}

/// Pickles as Python's C pickler does at protocol 4: everything but small numbers gets a place in the memo.
fn write(value: &Json, out: &mut Vec<u8>) {
    match value {
        Json::Null => out.push(b'N'),
        Json::Bool(value) => out.push(if *value { 0x88 } else { 0x89 }),
        Json::Int(number) => {
            out.extend([0x8a, 16]);
            out.extend(number.to_le_bytes());
        }
        Json::Number(_) => {
            out.push(b'G');
            out.extend(value.as_f64().unwrap().to_be_bytes());
        }
        Json::Str(text) => write_text(text, out),
        Json::List(items) => {
            out.extend([b']', 0x94, b'(']);
            items.iter().for_each(|item| write(item, out));
            out.push(b'e');
        }
        Json::Object(entries) => {
            out.extend([b'}', 0x94]);
            for (key, value) in entries {
                write_text(key, out);
                write(value, out);
                out.push(b's');
            }
        }
        Json::Tagged(_) => unreachable!("not generated"),
    }
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    out.push(b'X');
    out.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
    out.extend(text.as_bytes());
    out.push(0x94);
}

fn pickle_of(value: &Json) -> Vec<u8> {
    let mut out = vec![0x80, 4];
    write(value, &mut out);
    out.push(b'.');
    out
}

fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::Bool),
        any::<i128>().prop_map(Json::Int),
        any::<f64>()
            .prop_filter("finite", |number| number.is_finite())
            .prop_map(|number| Json::Number(format!("{number:?}"))),
        any::<String>().prop_map(Json::Str),
    ];
    leaf.prop_recursive(6, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Json::List),
            prop::collection::vec((any::<String>(), inner), 0..6).prop_map(Json::Object),
        ]
    })
}

proptest! {
    #[test]
    fn every_value_comes_back(value in any_json()) {
        prop_assert_eq!(read(&pickle_of(&value)).unwrap(), value);
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&bytes);
        let _ = read(&[&[0x80, 4][..], &bytes].concat());
    }

    #[test]
    fn no_damage_panics(value in any_json(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let mut pickle = pickle_of(&value);
        let at = at.index(pickle.len());
        pickle[at] = byte;
        if cut {
            pickle.truncate(at);
            prop_assert!(read(&pickle).is_err());
        } else {
            let _ = read(&pickle);
        }
    }

    #[test]
    fn integers_of_any_length_are_exact(digits in "-?[1-9][0-9]{0,300}") {
        // By the decimal digits, the other way round than the reader goes.
        let (negative, magnitude) = digits.strip_prefix('-').map_or((false, &*digits), |rest| (true, rest));
        let mut bytes = vec![0_u8];
        for digit in magnitude.bytes() {
            let mut carry = u32::from(digit - b'0');
            for byte in &mut bytes {
                let sum = u32::from(*byte) * 10 + carry;
                *byte = (sum & 0xff) as u8;
                carry = sum >> 8;
            }
            bytes.push(u8::try_from(carry).unwrap());
        }
        if negative {
            let mut carry = true;
            for byte in &mut bytes {
                (*byte, carry) = (!*byte).overflowing_add(u8::from(carry));
            }
        }
        let mut pickle = vec![0x80, 2, 0x8b];
        pickle.extend(u32::try_from(bytes.len()).unwrap().to_le_bytes());
        pickle.extend(&bytes);
        pickle.push(b'.');
        let mut text = Vec::new();
        read(&pickle).unwrap().write(&mut text);
        prop_assert_eq!(String::from_utf8(text).unwrap(), digits);
    }
}
