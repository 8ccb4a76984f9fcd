//! Wrong requests: the code, the reason, every field to blame – and nothing written.

use billing_api::proto::{
    CheckAccessRequest, CreatePaymentRequest, GetPaymentRequest, RegisterAccountRequest, SubmitThreeDsRequest,
    WatchPaymentRequest,
};
use tonic::{Code, Status};
use tonic_types::StatusExt;
use uuid::Uuid;

use crate::refused::{Refusal, refusal, refused};
use crate::world::{AUTH, FRONTEND, World, by};

type Spoil = fn(&mut CreatePaymentRequest);

fn invalid(fields: &[&str]) -> Refusal {
    refused(Code::InvalidArgument, "INVALID_FIELDS", fields)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_with_wrong_fields_is_refused_and_not_written() {
    let cases: &[(&str, Spoil, Refusal)] = &[
        ("no account", |r| r.account_id.clear(), invalid(&["account_id"])),
        ("account is no UUID", |r| r.account_id = "42".into(), invalid(&["account_id"])),
        ("tariff is no UUID", |r| r.tariff_id.push('0'), invalid(&["tariff_id"])),
        ("nil tariff", |r| r.tariff_id = Uuid::nil().to_string(), invalid(&["tariff_id"])),
        ("no cryptogram", |r| r.card_cryptogram_packet.clear(), invalid(&["card_cryptogram_packet"])),
        ("long cryptogram", |r| r.card_cryptogram_packet = "A".repeat(4097), invalid(&["card_cryptogram_packet"])),
        (
            "a card number",
            |r| r.card_cryptogram_packet = "4242424242424242".into(),
            invalid(&["card_cryptogram_packet"]),
        ),
        ("cryptogram in JSON", |r| r.card_cryptogram_packet = "{}".into(), invalid(&["card_cryptogram_packet"])),
        ("no address", |r| r.ip_address.clear(), invalid(&["ip_address"])),
        ("half an address", |r| r.ip_address = "203.0.113".into(), invalid(&["ip_address"])),
        ("a network", |r| r.ip_address = "203.0.113.0/24".into(), invalid(&["ip_address"])),
        ("everybody", |r| r.ip_address = "255.255.255.255".into(), invalid(&["ip_address"])),
        ("NUL in the key", |r| r.idempotency_key = "a\0b".into(), invalid(&["idempotency_key"])),
        ("NUL in the cryptogram", |r| r.card_cryptogram_packet.push('\0'), invalid(&["card_cryptogram_packet"])),
        ("NULs for an account", |r| r.account_id = "\0".repeat(36), invalid(&["account_id"])),
        ("a negative account", |r| r.account_id = "-1".into(), invalid(&["account_id"])),
        ("a huge tariff", |r| r.tariff_id = "9".repeat(1000), invalid(&["tariff_id"])),
        ("a host name", |r| r.ip_address = "cinema.example".into(), invalid(&["ip_address"])),
        ("no key", |r| r.idempotency_key.clear(), invalid(&["idempotency_key"])),
        ("long key", |r| r.idempotency_key = "k".repeat(129), invalid(&["idempotency_key"])),
        ("a space in the key", |r| r.idempotency_key = "a b".into(), invalid(&["idempotency_key"])),
        (
            "nothing at all",
            |r| *r = CreatePaymentRequest::default(),
            invalid(&["account_id", "tariff_id", "card_cryptogram_packet", "ip_address", "idempotency_key"]),
        ),
        (
            "unknown account",
            |r| r.account_id = Uuid::new_v4().to_string(),
            refused(Code::NotFound, "ACCOUNT_NOT_FOUND", &["account_id"]),
        ),
        (
            "unknown tariff",
            |r| r.tariff_id = Uuid::new_v4().to_string(),
            refused(Code::NotFound, "TARIFF_NOT_FOUND", &["tariff_id"]),
        ),
    ];
    let world = World::start().await;
    let order = world.order().await;
    let before = world.rows().await;
    let mut client = world.payments();
    for (what, spoil, expected) in cases {
        let mut request = order.clone();
        spoil(&mut request);
        let status = client.create_payment(by(FRONTEND, request)).await.expect_err(what);
        assert_eq!(&refusal(&status), expected, "{what}");
        assert!(status.message().contains(": "), "{what}: the message says what to do: {}", status.message());
        if status.code() == Code::InvalidArgument {
            assert!(expected.2.iter().all(|field| status.message().contains(&format!("{field} "))), "{status:?}");
        }
    }
    assert_eq!(world.rows().await, before, "nothing was written");
    assert_eq!(world.waiting().await, 0, "and no worker told");
    client.create_payment(by(FRONTEND, order)).await.expect("what was not spoiled is fine");
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_of_nothing_and_no_ids_are_told_apart_by_every_method() {
    let world = World::start().await;
    let unknown = Uuid::new_v4().to_string();
    for (id, expected) in [
        ("", invalid(&["payment_id"])),
        ("1", invalid(&["payment_id"])),
        (&*unknown, refused(Code::NotFound, "PAYMENT_NOT_FOUND", &["payment_id"])),
    ] {
        let payment_id = id.to_owned();
        let get = GetPaymentRequest { payment_id: payment_id.clone() };
        let status = world.payments().get_payment(by(FRONTEND, get)).await.expect_err("get");
        assert_eq!(refusal(&status), expected, "GetPayment {id:?}");

        let watch = WatchPaymentRequest { payment_id: payment_id.clone() };
        let status = world.payments().watch_payment(by(FRONTEND, watch)).await.expect_err("watch");
        assert_eq!(refusal(&status), expected, "WatchPayment {id:?}");

        let submit = SubmitThreeDsRequest { payment_id, md: "1".into(), pa_res: "eJx".into() };
        let status = world.payments().submit_three_ds(by(FRONTEND, submit)).await.expect_err("submit");
        assert_eq!(refusal(&status), expected, "SubmitThreeDs {id:?}");
    }
    for id in ["", "1", "00000000-0000-0000-0000-000000000000"] {
        let register = RegisterAccountRequest { account_id: id.into() };
        let status = world.access().register_account(by(AUTH, register)).await.expect_err("register");
        assert_eq!(refusal(&status), invalid(&["account_id"]), "RegisterAccount {id:?}");

        let check = CheckAccessRequest { account_id: id.into() };
        let status = world.access().check_access(by(AUTH, check)).await.expect_err("check");
        assert_eq!(refusal(&status), invalid(&["account_id"]), "CheckAccess {id:?}");
    }
    assert_eq!(world.rows().await, (0, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_exist_is_named_with_its_type() {
    let world = World::start().await;
    let payment_id = Uuid::new_v4().to_string();
    let get = GetPaymentRequest { payment_id: payment_id.clone() };
    let status: Status = world.payments().get_payment(by(FRONTEND, get)).await.expect_err("unknown");
    let details = status.get_error_details();
    let resource = details.resource_info().expect("ResourceInfo");
    assert_eq!((&*resource.resource_type, &resource.resource_name), ("billing.v1.Payment", &payment_id));
    assert_eq!(details.error_info().expect("ErrorInfo").domain, "billing.v1");
}
