//! Finding the program under test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use tokio::sync::OnceCell;

use crate::environment::workspace;

/// The `billing` binary of this workspace, from the directory that this test was built into. Built first where
/// `cargo test` has not done so or a source is newer.
pub async fn billing_binary() -> &'static Path {
    static BINARY: OnceCell<PathBuf> = OnceCell::const_new();
    BINARY.get_or_init(async || tokio::task::spawn_blocking(find_or_build).await.expect("it builds")).await
}

fn find_or_build() -> PathBuf {
    let test = std::env::current_exe().expect("Linux tells");
    // target/<profile>/deps/<test>
    let profile = test.ancestors().nth(2).expect("cargo puts tests two levels below the target directory");
    let binary = profile.join("billing");
    if !is_fresh(&binary) {
        build(profile);
    }
    binary
}

/// The same selection of features as `cargo test --workspace` makes (an integration test brings the development
/// dependencies in), so that nothing is compiled twice.
fn build(profile: &Path) {
    let target = profile.parent().expect("target/<profile>");
    let profile = match profile.file_name().and_then(|name| name.to_str()) {
        Some("debug") => "dev",
        Some(name) => name,
        None => panic!("{} is no profile of cargo", profile.display()),
    };
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace()).args(["build", "--quiet", "--workspace", "--bin=billing", "--test=e2e"]);
    let output = cargo.arg("--profile").arg(profile).arg("--target-dir").arg(target).output().expect("cargo runs");
    assert!(output.status.success(), "{cargo:?}\n{}", String::from_utf8_lossy(&output.stderr));
}

fn is_fresh(binary: &Path) -> bool {
    let Ok(built) = binary.metadata().and_then(|file| file.modified()) else { return false };
    let crates = std::fs::read_dir(workspace().join("crates")).into_iter().flatten().flatten();
    let sources = crates.map(|package| package.path().join("src"));
    let others = ["migrations", "proto", "Cargo.lock"].map(|path| workspace().join(path));
    sources.chain(others).filter_map(|path| newest(&path)).all(|changed| changed <= built)
}

/// The last change of a file, or of anything below a directory.
fn newest(path: &Path) -> Option<SystemTime> {
    if path.is_dir() {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        entries.filter_map(|entry| newest(&entry.path())).max()
    } else {
        path.metadata().and_then(|file| file.modified()).ok()
    }
}
