//! A relocated copy of the PostgreSQL installation with the extension in it.
//!
//! PostgreSQL finds its share and library folders relative to its own binary (`make_relative_path` in `src/port/path.c`).
//! So real copies of the binaries, in a tree of the same shape whose other files are links to the originals, take an
//! extension without a byte in a system folder.

use std::{
    env,
    fs::{self, File},
    hash::{DefaultHasher, Hash, Hasher},
    io,
    os::unix::fs::{MetadataExt, symlink},
    path::{Component, Path, PathBuf},
    process::Command,
};

use super::user::ServerUser;
use crate::paths;

/// The server's programs; `bin` itself may be `/usr/bin`.
const PROGRAMS: [&str; 16] = [
    "postgres",
    "initdb",
    "pg_config",
    "pg_controldata",
    "pg_ctl",
    "pg_basebackup",
    "pg_dump",
    "pg_dumpall",
    "pg_isready",
    "pg_resetwal",
    "pg_restore",
    "pg_upgrade",
    "pg_waldump",
    "pgbench",
    "psql",
    "vacuumdb",
];

/// The relocated installation.
#[derive(Clone, Debug)]
pub struct PgRoot {
    /// Folder of the programs.
    pub bin: PathBuf,
    /// Share folder, with `extension` in it.
    pub share: PathBuf,
    /// Folder of loadable libraries.
    pub lib: PathBuf,
    /// Version text, such as `PostgreSQL 15.20 (Debian …)`.
    pub version: String,
    /// Top of the tree; `template`, an initialised data folder, lies in it.
    pub(super) top: PathBuf,
}

/// What `pg_config` says of the original.
struct Original {
    bin: PathBuf,
    share: PathBuf,
    pkglib: PathBuf,
    lib: PathBuf,
    version: String,
}

/// Builds the copy, or brings the extension's files in it up to date.
///
/// `PG_CONFIG` chooses the server, else the `pg_config` on the path if it has a server beside it, else the newest below
/// `/usr/lib/postgresql`.
///
/// # Panics
/// If there is no server, or the copy cannot be made.
pub fn pg_root() -> PgRoot {
    let user = ServerUser::current();
    let original = Original::find();
    build(&original, &user).unwrap_or_else(|error| panic!("no relocated copy of {}: {error}", original.version))
}

impl Original {
    fn find() -> Self {
        if let Some(chosen) = env::var_os("PG_CONFIG").filter(|chosen| !chosen.is_empty()) {
            let found = Self::ask(Path::new(&chosen));
            return found.unwrap_or_else(|| panic!("PG_CONFIG={} has no server beside it", chosen.display()));
        }
        let mut packaged: Vec<_> = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().collect();
        packaged.sort_by_key(|entry| entry.file_name().to_string_lossy().parse::<u32>().unwrap_or(0));
        let packaged = packaged.iter().rev().map(|entry| entry.path().join("bin/pg_config"));
        let mut places = std::iter::once(PathBuf::from("pg_config")).chain(packaged);
        places.find_map(|place| Self::ask(&place)).expect("no PostgreSQL server found: install one or set PG_CONFIG")
    }

    /// `None` unless the folder this pg_config names has a server: libpq alone brings a pg_config too.
    fn ask(pg_config: &Path) -> Option<Self> {
        let ask = |option: &str| {
            let output = Command::new(pg_config).arg(option).output().ok()?;
            let text = String::from_utf8(output.stdout).ok()?;
            output.status.success().then(|| text.trim().to_owned())
        };
        let dir = |option| ask(option).map(PathBuf::from);
        let found = Self {
            bin: dir("--bindir")?,
            share: dir("--sharedir")?,
            pkglib: dir("--pkglibdir")?,
            lib: dir("--libdir")?,
            version: ask("--version")?,
        };
        found.bin.join("postgres").is_file().then_some(found)
    }

    /// The deepest folder all of the installation lies in.
    fn prefix(&self) -> PathBuf {
        let common = |a: &Path, b: &Path| -> PathBuf {
            a.components().zip(b.components()).take_while(|(a, b)| a == b).map(|(a, _)| a).collect()
        };
        [&self.share, &self.pkglib, &self.lib].into_iter().fold(self.bin.clone(), |prefix, dir| common(&prefix, dir))
    }
}

fn build(original: &Original, user: &ServerUser) -> io::Result<PgRoot> {
    let top = top(original, user)?;
    let lock = File::create(top.join("lock"))?;
    lock.lock()?;
    let prefix = original.prefix();
    // Links would lead where the server's user may not look, for example into somebody's home.
    let link = user.may_enter(&prefix) && user.may_enter(&original.pkglib) && user.may_enter(&original.share);
    let place = |dir: &Path| top.join("tree").join(dir.strip_prefix(&prefix).unwrap_or(dir));
    let root = PgRoot {
        bin: place(&original.bin),
        share: place(&original.share),
        lib: place(&original.pkglib),
        version: original.version.clone(),
        top: top.clone(),
    };
    if !top.join("complete").exists() {
        let _ = fs::remove_dir_all(top.join("tree"));
        for program in PROGRAMS {
            let from = original.bin.join(program);
            if from.is_file() {
                copy(&from, &root.bin.join(program))?;
            }
        }
        mirror(&original.pkglib, &root.lib, link)?;
        mirror(&original.share.join("extension"), &root.share.join("extension"), link)?;
        mirror(&original.share, &root.share, link)?;
        // Where the programs find shared libraries relative to themselves; a system folder needs no mirror.
        if original.lib != original.pkglib && !original.lib.starts_with("/usr/lib") {
            mirror(&original.lib, &place(&original.lib), link)?;
        }
        check(&root)?;
        fs::write(top.join("complete"), &original.version)?;
    }
    install(&root)?;
    Ok(root)
}

/// The tree's folder: in the target directory, or below the system's temporary folder if the server's user cannot get
/// there. One for each server, version and checkout, which may share a target directory.
fn top(original: &Original, user: &ServerUser) -> io::Result<PathBuf> {
    let mut hasher = DefaultHasher::new();
    (&original.bin, &original.version, paths::workspace_root()).hash(&mut hasher);
    let inside = paths::target_dir().join("pg");
    fs::create_dir_all(&inside)?;
    let base = if user.may_enter(&inside) {
        inside
    } else {
        let base = env::temp_dir().join(format!("bigbrotr-pg-{}", user.caller_uid()?));
        fs::create_dir_all(&base)?;
        // In a folder everybody writes to, the name may be taken by somebody else, who could swap the binaries.
        let meta = fs::symlink_metadata(&base)?;
        if !meta.is_dir() || meta.uid() != user.caller_uid()? || meta.mode() & 0o022 != 0 {
            return Err(io::Error::other(format!("{} belongs to somebody else", base.display())));
        }
        base
    };
    let top = base.join(format!("{:016x}", hasher.finish()));
    fs::create_dir_all(&top)?;
    fs::canonicalize(top)
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    to.parent().map_or(Ok(()), fs::create_dir_all)?;
    fs::copy(from, to).map(drop)
}

/// Fills a folder with links to (or copies of) what is in another one and not yet here.
fn mirror(from: &Path, to: &Path, link: bool) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let from = entry?.path();
        let Some(Component::Normal(name)) = from.components().next_back() else { continue };
        let to = to.join(name);
        if fs::symlink_metadata(&to).is_ok() {
            continue;
        }
        match (link, from.is_dir()) {
            (true, _) => symlink(&from, &to)?,
            (false, true) => mirror(&from, &to, false)?,
            (false, false) => copy(&from, &to)?,
        }
    }
    Ok(())
}

/// The copied pg_config must find itself at home, or the server would read the system's folders.
fn check(root: &PgRoot) -> io::Result<()> {
    for (option, expected) in [("--bindir", &root.bin), ("--sharedir", &root.share), ("--pkglibdir", &root.lib)] {
        let output = Command::new(root.bin.join("pg_config")).arg(option).output()?;
        let found = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if Path::new(&found) != expected {
            return Err(io::Error::other(format!("{option} is {found}, not {}", expected.display())));
        }
    }
    Ok(())
}

/// Puts the extension's files in: the library, the control file, the install script and the upgrade scripts. Absent
/// ones are left out, and the server says so when they are needed.
fn install(root: &PgRoot) -> io::Result<()> {
    let workspace = paths::workspace_root();
    let library = paths::library();
    if library.is_file() {
        replace(&root.lib.join("bigbrotr.so"), &fs::read(&library)?)?;
    }
    let extension = root.share.join("extension");
    let control = workspace.join("bigbrotr.control");
    if control.is_file() {
        replace(&extension.join("bigbrotr.control"), &fs::read(control)?)?;
    }
    let sql = workspace.join("sql");
    if sql.join("ORDER").is_file() {
        let script = format!("bigbrotr--{}.sql", env!("CARGO_PKG_VERSION"));
        replace(&extension.join(script), install_script(&sql)?.as_bytes())?;
    }
    for entry in fs::read_dir(&sql).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("bigbrotr--") && name.ends_with(".sql") {
            replace(&extension.join(&*name), &fs::read(entry.path())?)?;
        }
    }
    Ok(())
}

/// The SQL files in the order of the list `ORDER`: one relative path a line, `#` comments.
fn install_script(sql: &Path) -> io::Result<String> {
    let mut script = String::new();
    for line in fs::read_to_string(sql.join("ORDER"))?.lines() {
        let name = line.split('#').next().unwrap_or_default().trim();
        if name.is_empty() {
            continue;
        }
        let file = fs::read_to_string(sql.join(name));
        script.push_str(&file.map_err(|error| io::Error::new(error.kind(), format!("sql/{name}: {error}")))?);
        script.push('\n');
    }
    Ok(script)
}

/// By rename: a running server keeps the file it has mapped. Equal contents are left alone.
fn replace(file: &Path, contents: &[u8]) -> io::Result<()> {
    if fs::read(file).is_ok_and(|old| old == contents) {
        return Ok(());
    }
    let new = file.with_extension("new");
    fs::write(&new, contents)?;
    fs::rename(new, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn install_script_follows_the_list() {
        let dir = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).expect("writes");
        fs::create_dir(dir.path().join("views")).expect("a folder");
        write("views/b.sql", "SELECT 2;");
        write("a.sql", "SELECT 1;\n");
        write("ORDER", "# first\nviews/b.sql  # why\n\na.sql\n");
        assert_eq!(install_script(dir.path()).expect("complete"), "SELECT 2;\nSELECT 1;\n\n");
        write("ORDER", "missing.sql\n");
        let error = install_script(dir.path()).expect_err("incomplete");
        assert!(error.to_string().contains("sql/missing.sql"), "{error}");
    }

    #[test]
    fn library_is_replaced_by_rename() {
        use std::io::Read;
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("x.so");
        replace(&file, b"old").expect("writes");
        let mut mapped = File::open(&file).expect("opens");
        replace(&file, b"new").expect("writes");
        let mut text = String::new();
        mapped.read_to_string(&mut text).expect("reads");
        assert_eq!((text.as_str(), fs::read(&file).expect("reads").as_slice()), ("old", &b"new"[..]));
    }
}
