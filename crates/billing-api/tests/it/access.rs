use billing_api::proto::{AccountStatus, CheckAccessRequest, RegisterAccountRequest};
use tonic::Code;
use uuid::Uuid;

use crate::refused::{refusal, refused};
use crate::worker::completed;
use crate::world::{AUTH, World, by};

#[tokio::test(flavor = "multi_thread")]
async fn registering_an_account_twice_leaves_it_as_it_is() {
    let world = World::start().await;
    let request = RegisterAccountRequest { account_id: Uuid::new_v4().to_string() };
    for _ in 0..2 {
        let account =
            world.access().register_account(by(AUTH, request.clone())).await.expect("registered").into_inner();
        assert_eq!(account.account_id, request.account_id);
        assert_eq!(account.status(), AccountStatus::Inactive);
        assert!(!account.has_access && account.tariff_id.is_empty() && account.expires_on.is_empty());
    }
    assert_eq!(world.rows().await, (1, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_paid_has_access() {
    let world = World::start().await;
    let payment = world.payment().await;
    let check = CheckAccessRequest { account_id: payment.account_id.clone() };
    let before = world.access().check_access(by(AUTH, check.clone())).await.expect("known").into_inner();
    assert!(!before.has_access);

    world.charged(&payment.payment_id, completed(payment.amount_kopecks)).await;
    let after = world.access().check_access(by(AUTH, check)).await.expect("known").into_inner();
    assert!(after.has_access);
    assert_eq!(after.status(), AccountStatus::Active);
    assert_eq!(after.tariff_id, payment.tariff_id);
    assert_eq!(after.expires_on.len(), "2030-01-31".len(), "{}", after.expires_on);
}

#[tokio::test(flavor = "multi_thread")]
async fn access_of_an_account_that_was_never_registered_is_not_found() {
    let world = World::start().await;
    let check = CheckAccessRequest { account_id: Uuid::new_v4().to_string() };
    let status = world.access().check_access(by(AUTH, check)).await.expect_err("unknown");
    assert_eq!(refusal(&status), refused(Code::NotFound, "ACCOUNT_NOT_FOUND", &["account_id"]));
    assert_eq!(world.rows().await, (0, 0, 0));
}
