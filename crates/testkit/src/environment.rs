//! What `services.sh` says about the servers.

use std::path::{Path, PathBuf};

/// A `TEST_*` variable.
pub(crate) fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: run the tests through `make test` (or under `deploy/local/services.sh exec --`)")
    })
}

/// The root of the checkout.
pub(crate) fn workspace() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

pub(crate) fn services_script() -> PathBuf {
    workspace().join("deploy/local/services.sh")
}
