//! The table of reason codes against the documentation.

use cloudpayments::reason::{REASON_CODES, ReasonGroup, find};

use crate::fixtures;

#[test]
fn every_documented_code_stands_in_the_table_as_documented() {
    let documented = fixtures::one("reference/reason_codes.json");
    let codes = documented["codes"].as_array().unwrap();
    assert_eq!(codes.len(), 61);
    for row in codes {
        let code = i32::try_from(row["code"].as_i64().unwrap()).unwrap();
        let ours = find(code).unwrap_or_else(|| panic!("{code} is missing"));
        assert_eq!(ours.name, row["name"]);
        assert_eq!(ours.cardholder_message, row["cardholder_message_ru"], "{code}");
        match row["doc_group"].as_str() {
            Some("unconditional_negative") => assert_eq!(ours.group, ReasonGroup::Hard, "{code}"),
            Some("conditional_negative") => assert_eq!(ours.group, ReasonGroup::Conditional, "{code}"),
            Some("temporary_negative") => assert_eq!(ours.group, ReasonGroup::Temporary, "{code}"),
            Some(other) => panic!("unknown group {other}"),
            None => assert_ne!(ours.group, ReasonGroup::Unknown, "{code} is not grouped"),
        }
    }
    let checks = fixtures::one("reference/check_result_reason_codes.json");
    for row in checks.as_array().unwrap() {
        let code = i32::try_from(row["code"].as_i64().unwrap()).unwrap();
        let ours = find(code).unwrap();
        assert_eq!((ours.name, ours.group), (row["name"].as_str().unwrap(), ReasonGroup::MerchantCheck));
    }
    assert_eq!(REASON_CODES.len(), codes.len() + checks.as_array().unwrap().len());
}

/// How we read the codes the documentation leaves ungrouped.
#[test]
fn codes_without_a_documented_group_are_read_cautiously() {
    for (group, codes) in [
        (ReasonGroup::Hard, &[5004, 5007, 5036, 5041, 5043, 5062][..]),
        (ReasonGroup::OnceMore, &[5006, 5019, 5058, 5059, 5204, 5300]),
        (ReasonGroup::NewCard, &[5015, 5031, 5082, 5113]),
        (ReasonGroup::Temporary, &[5061, 5303]),
        (ReasonGroup::Unreachable, &[5091, 5092]),
        (ReasonGroup::Authentication, &[5206, 5207]),
        (ReasonGroup::CustomerData, &[5761, 5762, 5763]),
        (ReasonGroup::Configuration, &[6001, 6012, 6025, 6999]),
    ] {
        for &code in codes {
            assert_eq!(ReasonGroup::of(code), group, "{code}");
        }
    }
}
