//! Where the tests find vectors and the data that is too large for the repository.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A file of `tests/data` at the workspace root, as JSON.
pub(crate) fn vectors(name: &str) -> Vec<serde_json::Value> {
    let path = workspace().join("tests/data").join(name);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// A file of the data folder, if there is one.
pub(crate) fn real(name: &str) -> Option<String> {
    let folder = std::env::var_os("BIGBROTR_DATA").map_or_else(|| workspace().join("../shared/data"), PathBuf::from);
    let text = std::fs::read_to_string(folder.join(name)).ok();
    if text.is_none() {
        eprintln!("skipped: no {name} in the data folder (set BIGBROTR_DATA)");
    }
    text
}
