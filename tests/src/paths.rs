//! Where things lie, found at run time.

use std::{
    env,
    path::{Path, PathBuf},
};

/// The root of the checkout.
pub fn workspace_root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests).to_path_buf()
}

/// Cargo's target directory: `CARGO_TARGET_DIR`, else `target` in the workspace.
pub fn target_dir() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => workspace_root().join(dir),
        None => workspace_root().join("target"),
    }
}

/// The freshly built extension library: `BIGBROTR_SO`, else the one in the target directory.
pub fn library() -> PathBuf {
    match env::var_os("BIGBROTR_SO") {
        Some(file) => workspace_root().join(file),
        None => target_dir().join("release").join("libbigbrotr.so"),
    }
}

/// The folder with real events and relay URLs: `BIGBROTR_DATA`, else `../shared/data` from the workspace. `None`, with a
/// printed message, when it is absent: it is no part of the repository.
pub fn data_dir() -> Option<PathBuf> {
    let dir = match env::var_os("BIGBROTR_DATA") {
        Some(dir) => PathBuf::from(dir),
        None => workspace_root().join("../shared/data"),
    };
    if dir.is_dir() {
        return Some(dir);
    }
    eprintln!("skipped: no test data in {} (set BIGBROTR_DATA)", dir.display());
    None
}
