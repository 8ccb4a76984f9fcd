//! Turns `proto/` into Rust, without `protoc`.

use std::path::PathBuf;
use std::{env, fs};

use prost::Message;

const FILES: [&str; 7] = [
    "billing/v1/tariffs.proto",
    "billing/v1/payments.proto",
    "billing/v1/access.proto",
    "billing/v1/events.proto",
    "billing/v1/subscriptions.proto",
    "billing/v1/refunds.proto",
    "billing/v1/reconciliation.proto",
];

/// Messages that carry card data: their `Debug` is written by hand in `src/proto.rs` and keeps it to itself.
const SENSITIVE: [&str; 3] =
    ["billing.v1.CreatePaymentRequest", "billing.v1.SubmitThreeDsRequest", "billing.v1.ThreeDs"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo::rerun-if-changed={}", root.display());

    let descriptors = protox::compile(FILES, [&root])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    // For reflection.
    fs::write(out.join("billing.v1.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().skip_debug(SENSITIVE).compile_fds(descriptors)?;
    Ok(())
}
