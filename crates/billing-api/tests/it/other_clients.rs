//! Clients of other languages, made from `proto/` alone.

use std::path::Path;

use serde_json::Value;
use testkit::run_python;

use crate::world::{AUTH, FRONTEND, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_python_client_made_from_proto_alone_does_the_first_payment() {
    let world = World::start().await;
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (script, proto) = (here.join("tests/it/python/first_payment.py"), here.join("../../proto"));
    let proto = proto.to_str().expect("UTF-8").to_owned();
    let printed = run_python(script, [&proto, &world.address.to_string(), FRONTEND, AUTH]).await;
    let told: Value = serde_json::from_str(&printed).expect("JSON");

    assert_eq!(told["has_access"], false, "{told}");
    assert_eq!(told["amount_kopecks"], 5_900, "{told}");
    assert_eq!(told["status"], "PAYMENT_STATUS_CREATED", "{told}");
    assert_eq!(told["watched"], told["payment_id"], "{told}");
    assert_eq!(told["refused"], "INVALID_ARGUMENT", "{told}");
    assert_eq!(world.rows().await, (1, 1, 1));
    assert_eq!(world.waiting().await, 1);
}
