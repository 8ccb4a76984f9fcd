//! The client that Python shops use, from PyPI, unmodified.

use crate::shop::Shop;

#[tokio::test]
async fn the_pypi_client_runs_against_the_sandbox() {
    let shop = Shop::open().await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/shop.py");
    let printed = testkit::run_python(script, [shop.url("/")]).await;
    assert_eq!(printed.trim(), "all is as told");
}
