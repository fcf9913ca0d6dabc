//! A file that holds a secret, under the rules PostgreSQL has for the key of its TLS certificate.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::Path,
};

/// Most bytes read; a key is far shorter.
const MAX_BYTES: u64 = 1024;

/// Why a secret was not read. Names the file, never what is in it.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// It cannot be opened or read.
    #[error("could not read \"{path}\": {error}")]
    Io {
        /// The file.
        path: String,
        /// What the system said.
        error: io::Error,
    },
    /// A directory, a device, a pipe.
    #[error("\"{0}\" is not a regular file")]
    NotRegular(String),
    /// Others may read it.
    #[error(
        "\"{0}\" has group or world access; it must have permissions u=rw (0600) or less if owned by the server's user, or u=rw,g=r (0640) or less if owned by root"
    )]
    Exposed(String),
    /// Longer than any key, or no text.
    #[error("\"{0}\" does not look like a file with a key")]
    NotAKey(String),
}

/// Reads a short text that only its owner may read.
///
/// # Errors
/// See [`SecretFileError`].
pub fn read(path: &str) -> Result<String, SecretFileError> {
    let failed = |error| SecretFileError::Io { path: path.to_owned(), error };
    // Looked at before it is opened: opening a pipe would wait for a writer.
    if !fs::metadata(Path::new(path)).map_err(failed)?.is_file() {
        return Err(SecretFileError::NotRegular(path.to_owned()));
    }
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    // What the server's user can read with such a mode is its own or root's, so the owner needs no comparing.
    let exposed = if metadata.uid() == 0 { 0o027 } else { 0o077 };
    if metadata.mode() & exposed != 0 {
        return Err(SecretFileError::Exposed(path.to_owned()));
    }
    let mut text = String::new();
    match file.take(MAX_BYTES).read_to_string(&mut text) {
        Ok(read) if (read as u64) < MAX_BYTES => Ok(text),
        Ok(_) => Err(SecretFileError::NotAKey(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(SecretFileError::NotAKey(path.to_owned())),
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn file(name: &str, bytes: &[u8], mode: u32) -> String {
        let path = std::env::temp_dir().join(format!("bigbrotr-secret-{}-{name}", std::process::id()));
        fs::write(&path, bytes).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("changed");
        path.to_string_lossy().into_owned()
    }

    #[test]
    fn only_a_file_of_ones_own_is_read() {
        let private = file("private", b"secret\n", 0o600);
        assert_eq!(read(&private).expect("readable"), "secret\n");
        for mode in [0o604, 0o602, 0o601, 0o660, 0o644, 0o666] {
            let exposed = file("exposed", b"secret\n", mode);
            let error = read(&exposed).expect_err("exposed");
            assert!(matches!(error, SecretFileError::Exposed(_)), "{mode:o}: {error}");
            assert!(!error.to_string().contains("secret\n"));
        }
    }

    #[test]
    fn what_cannot_be_a_key_is_refused() {
        assert!(matches!(read("/nowhere/at/all"), Err(SecretFileError::Io { .. })));
        assert!(matches!(read("/"), Err(SecretFileError::NotRegular(_))));
        assert!(matches!(read("/dev/zero"), Err(SecretFileError::NotRegular(_))));
        let long = file("long", &[b'a'; 5000], 0o600);
        assert!(matches!(read(&long), Err(SecretFileError::NotAKey(_))));
        let binary = file("binary", &[0xff, 0xfe], 0o600);
        assert!(matches!(read(&binary), Err(SecretFileError::NotAKey(_))));
    }
}
