//! The captured data beside the tests.

use std::{fs, path::PathBuf};

use serde_json::Value;

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// Every file of a folder, by name.
pub(crate) fn all(name: &str) -> Vec<(String, Value)> {
    let mut files: Vec<_> = fs::read_dir(folder(name))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            (name, serde_json::from_slice(&fs::read(&path).unwrap()).unwrap())
        })
        .collect();
    files.sort_by(|left, right| left.0.cmp(&right.0));
    assert!(!files.is_empty(), "no fixtures in {name}");
    files
}

/// One file.
pub(crate) fn one(name: &str) -> Value {
    serde_json::from_slice(&fs::read(folder(name)).unwrap()).unwrap()
}
