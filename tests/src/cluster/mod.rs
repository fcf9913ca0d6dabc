//! A private PostgreSQL server for one test: own data, own socket, no TCP port, and no byte in a system folder.

mod proc;
mod root;
mod user;

use std::{
    collections::BTreeMap,
    env,
    fmt::Write,
    fs::{self, File, OpenOptions},
    io,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{self, Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use tokio_postgres::{Client, Config, NoTls};

pub use proc::rss_anon;
pub use root::{PgRoot, pg_root};
use user::ServerUser;

/// Bootstrap superuser of every cluster.
pub const SUPERUSER: &str = "postgres";
/// Longest path of a Unix socket, without the closing NUL (sun_path).
const SOCKET_PATH_BYTES: usize = 107;
const START_TIMEOUT: Duration = Duration::from_secs(60);
const STOP_TIMEOUT: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(10);
/// Lines of the log in the message of a failed wait.
const LOG_LINES: usize = 60;

/// How a cluster is made.
#[derive(Clone, Debug, Default)]
pub struct ClusterOptions {
    /// Settings beyond the harness's own (which they override).
    pub settings: Vec<(String, String)>,
    /// Environment of the server beyond the harness's own.
    pub env: Vec<(String, String)>,
    /// Put `bigbrotr` into `shared_preload_libraries`.
    pub preload: bool,
    /// The cluster's folder, of a short path: absent, empty, or one that an earlier cluster was told to keep, whose data
    /// are then used. By default a new one below the system's temporary folder.
    pub dir: Option<PathBuf>,
    /// Leave the folder, but not the server, behind.
    pub keep: bool,
}

impl ClusterOptions {
    /// With the library preloaded.
    pub fn preloaded() -> Self {
        Self { preload: true, ..Self::default() }
    }

    /// With one more setting.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }

    /// With one more variable in the server's environment.
    #[must_use]
    pub fn with_env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }
}

/// How a server is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Waits until clients have left.
    Smart,
    /// Ends sessions, writes a checkpoint.
    Fast,
    /// Like a crash: recovery at the next start.
    Immediate,
}

impl Stop {
    fn signal(self) -> &'static str {
        match self {
            Self::Smart => "TERM",
            Self::Fast => "INT",
            Self::Immediate => "QUIT",
        }
    }
}

/// A private server. Dropping it stops the server and removes its folder; so does the end of the test process, however
/// it ends, so a cluster may live in a static.
pub struct Cluster {
    root: PgRoot,
    user: ServerUser,
    dir: PathBuf,
    settings: BTreeMap<String, String>,
    env: Vec<(String, String)>,
    server: Option<Child>,
    keep: bool,
    watchdog: Option<Child>,
}

impl Cluster {
    /// Makes and starts a cluster; it accepts connections when this returns. Needs no runtime, blocks for about a second.
    ///
    /// # Panics
    /// If that fails, with the server's log.
    pub fn start(options: ClusterOptions) -> Self {
        let root = pg_root();
        if options.preload {
            assert!(
                root.lib.join("bigbrotr.so").is_file(),
                "{} is missing: build it",
                crate::paths::library().display()
            );
        }
        let user = ServerUser::current();
        let dir = options.dir.unwrap_or_else(new_dir);
        let made = make(&root, &user, &dir);
        made.unwrap_or_else(|error| panic!("no cluster in {}: {error}", dir.display()));
        let socket = dir.join(".s.PGSQL.5432");
        assert!(socket.as_os_str().len() <= SOCKET_PATH_BYTES, "{} is too long for a socket", socket.display());
        let mut settings = BTreeMap::from(
            [
                ("listen_addresses", ""),
                ("unix_socket_directories", &dir.to_string_lossy()),
                ("fsync", "off"),
                ("log_line_prefix", "%m [%p] %b "),
                ("log_timezone", "UTC"),
                ("timezone", "UTC"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        if options.preload {
            settings.insert("shared_preload_libraries".into(), "bigbrotr".into());
        }
        settings.extend(options.settings);
        let watchdog = watchdog(&dir, options.keep);
        let mut cluster =
            Self { root, user, dir, settings, env: options.env, server: None, keep: options.keep, watchdog };
        cluster.start_server();
        cluster
    }

    /// Starts the server again after [`Cluster::stop`] or [`Cluster::kill9`].
    ///
    /// # Panics
    /// If it does not start, with its log.
    pub fn start_server(&mut self) {
        assert!(self.server.is_none(), "the server runs already");
        self.write_settings();
        let log = OpenOptions::new().create(true).append(true).open(self.log_file());
        let log = log.unwrap_or_else(|error| panic!("{}: {error}", self.log_file().display()));
        let errors = log.try_clone().expect("a descriptor can be copied");
        let mut command = self.command("postgres");
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        // A group of its own: an interrupt at the terminal is for the test, which then stops the server.
        command.arg("-D").arg(self.data()).stdin(Stdio::null()).stdout(log).stderr(errors).process_group(0);
        let mut server = command.spawn().unwrap_or_else(|error| panic!("postgres does not start: {error}"));
        let started = Instant::now();
        while !self.is_ready(server.id()) {
            if let Ok(Some(status)) = server.try_wait() {
                panic!("postgres ended at its start with {status}; its log:\n{}", self.log_tail());
            }
            if started.elapsed() > START_TIMEOUT {
                let _ = server.kill();
                panic!("postgres is not ready after {START_TIMEOUT:?}; its log:\n{}", self.log_tail());
            }
            thread::sleep(POLL);
        }
        self.server = Some(server);
    }

    /// Line 1 of postmaster.pid names the process, line 8 its state (`src/include/utils/pidfile.h`).
    fn is_ready(&self, pid: u32) -> bool {
        let text = fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default();
        let mut lines = text.lines();
        lines.next() == Some(&pid.to_string()) && lines.nth(6).is_some_and(|state| state.trim() == "ready")
    }

    /// Stops the server and waits for its end.
    ///
    /// # Panics
    /// If it is still there after a minute, with its log.
    pub fn stop(&mut self, mode: Stop) {
        let Some(server) = self.server.take() else { return };
        signal(server.id(), mode.signal());
        self.wait_for_end(server);
    }

    /// Stops the server, if it runs, and starts it.
    pub fn restart(&mut self, mode: Stop) {
        self.stop(mode);
        self.start_server();
    }

    /// Kills the postmaster with signal 9 and waits until its children have noticed.
    pub fn kill9(&mut self) {
        let Some(server) = self.server.take() else { return };
        let children = proc::children(server.id());
        signal(server.id(), "KILL");
        self.wait_for_end(server);
        let killed = Instant::now();
        while let Some(pid) = children.iter().find(|pid| proc::alive(**pid)) {
            assert!(killed.elapsed() < STOP_TIMEOUT, "process {pid} outlives its postmaster:\n{}", self.log_tail());
            thread::sleep(POLL);
        }
    }

    fn wait_for_end(&self, mut server: Child) {
        let told = Instant::now();
        while !matches!(server.try_wait(), Ok(Some(_))) {
            if told.elapsed() > STOP_TIMEOUT {
                signal(server.id(), "QUIT");
                panic!("postgres runs on {STOP_TIMEOUT:?} after it was told to stop; its log:\n{}", self.log_tail());
            }
            thread::sleep(POLL);
        }
    }

    /// Whether the postmaster lives.
    pub fn is_running(&self) -> bool {
        self.server.as_ref().is_some_and(|server| proc::alive(server.id()))
    }

    /// Process id of the postmaster.
    ///
    /// # Panics
    /// If the server is stopped.
    pub fn pid(&self) -> u32 {
        self.server.as_ref().expect("the server is stopped").id()
    }

    /// Changes settings in the configuration and reloads it; in a stopped server they count from its start.
    pub async fn set(&mut self, settings: &[(&str, &str)]) {
        for (name, value) in settings {
            self.settings.insert((*name).to_owned(), (*value).to_owned());
        }
        self.reload().await;
    }

    /// Takes settings out of the configuration and reloads it.
    pub async fn reset(&mut self, settings: &[&str]) {
        for name in settings {
            self.settings.remove(*name);
        }
        self.reload().await;
    }

    /// Reloads the configuration. When this returns, the postmaster has read it; other processes are about to.
    pub async fn reload(&self) {
        self.write_settings();
        if !self.is_running() {
            return;
        }
        let before = self.conf_load_time().await;
        signal(self.pid(), "HUP");
        let told = Instant::now();
        // A new session inherits the time from the postmaster.
        while self.conf_load_time().await == before {
            assert!(told.elapsed() < CONNECT_TIMEOUT, "no reload after {CONNECT_TIMEOUT:?}:\n{}", self.log_tail());
            tokio::time::sleep(POLL).await;
        }
    }

    async fn conf_load_time(&self) -> String {
        let client = self.connect(SUPERUSER).await;
        let row = client.query_one("SELECT pg_conf_load_time()::text", &[]).await;
        row.expect("pg_conf_load_time works in a new session").get(0)
    }

    /// Atomically, as the server may be reading.
    fn write_settings(&self) {
        let mut text = String::new();
        for (name, value) in &self.settings {
            let value = value.replace('\\', "\\\\").replace('\'', "''").replace('\n', "\\n");
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{name} = '{value}'");
        }
        let (file, new) = (self.data().join("harness.conf"), self.data().join("harness.conf.new"));
        let written = fs::write(&new, text).and_then(|()| self.user.own(&new)).and_then(|()| fs::rename(&new, &file));
        written.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }

    /// Connects as superuser; waits up to 30 s while the server starts or recovers. The connection's task runs on the
    /// caller's runtime.
    ///
    /// # Panics
    /// If the server refuses, or does not answer in time.
    pub async fn connect(&self, database: &str) -> Client {
        let started = Instant::now();
        loop {
            match self.try_connect(database, SUPERUSER).await {
                Ok(client) => return client,
                Err(error) if started.elapsed() < CONNECT_TIMEOUT && is_passing(&error) && self.is_running() => {
                    tokio::time::sleep(POLL).await;
                }
                Err(error) => panic!("no connection to {database}: {error:?}\n{}", self.log_tail()),
            }
        }
    }

    /// Connects once, as any user.
    ///
    /// # Errors
    /// What the server says, or that it cannot be reached.
    pub async fn try_connect(&self, database: &str, user: &str) -> Result<Client, tokio_postgres::Error> {
        let (client, connection) = self.config(database, user).connect(NoTls).await?;
        // Its error is the client's too.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(client)
    }

    /// Settings of a client, for those who drive the connection themselves (to see notices, for example).
    pub fn config(&self, database: &str, user: &str) -> Config {
        let mut config = Config::new();
        config.host_path(&self.dir).user(user).dbname(database).application_name("bigbrotr-tests");
        config
    }

    /// A libpq connection string.
    pub fn conninfo(&self, database: &str) -> String {
        let quote = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"));
        format!("host={} user={SUPERUSER} dbname={}", quote(&self.dir.to_string_lossy()), quote(database))
    }

    /// A program of the server's version (`pg_dump` …), run as the server's user, with the cluster's socket in `PGHOST`.
    pub fn command(&self, program: &str) -> Command {
        let mut command = self.user.command(&self.root.bin.join(program), &self.data());
        command.env("PGHOST", &self.dir).env("PGUSER", SUPERUSER);
        command
    }

    /// `psql` on the cluster, without the user's psqlrc, stopping at the first error; add `-d` and `-c` or input.
    pub fn psql_command(&self) -> Command {
        let mut command = self.command("psql");
        command.args(["-X", "-v", "ON_ERROR_STOP=1"]);
        command
    }

    /// Creates a database.
    ///
    /// # Panics
    /// If it cannot be created.
    pub async fn create_database(&self, name: &str) {
        let client = self.connect(SUPERUSER).await;
        let created = client.batch_execute(&format!("CREATE DATABASE \"{}\"", name.replace('"', "\"\""))).await;
        created.unwrap_or_else(|error| panic!("CREATE DATABASE {name}: {error:?}"));
    }

    /// Runs a query that returns one boolean until it is true. NULL and no row are false; an error counts as false while
    /// time is left, unless the statement itself is wrong.
    ///
    /// # Panics
    /// If it is not true in time, with what was waited for and the end of the log.
    pub async fn wait_for(&self, client: &Client, sql: &str, deadline: Duration, what: &str) {
        let started = Instant::now();
        loop {
            let result = client.query_opt(sql, &[]).await;
            let last = match &result {
                Ok(Some(row)) => match row.try_get::<_, Option<bool>>(0) {
                    Ok(Some(true)) => return,
                    Ok(value) => format!("{value:?}"),
                    Err(error) => panic!("waiting for {what}: not a boolean ({error}): {sql}"),
                },
                Ok(None) => "no row".to_owned(),
                Err(error) => format!("{error:?}"),
            };
            let wrong = result.err().is_some_and(|error| error.code().is_some_and(|c| c.code() == "42601"));
            if wrong || client.is_closed() || started.elapsed() > deadline {
                let elapsed = started.elapsed();
                panic!("waited {elapsed:.1?} for {what}; last: {last}\n{sql}\nserver log:\n{}", self.log_tail());
            }
            tokio::time::sleep(POLL * 2).await;
        }
    }

    /// The server's log since the cluster was made.
    pub fn log(&self) -> String {
        fs::read(self.log_file()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }

    fn log_file(&self) -> PathBuf {
        self.data().join("server.log")
    }

    /// CPU seconds, user and system, of the postmaster and all its children since it started, those that have ended
    /// included; 0 if the server is stopped.
    pub fn server_cpu_seconds(&self) -> f64 {
        self.server.as_ref().map_or(0.0, |server| proc::cpu_seconds(server.id()))
    }

    /// Process ids of the postmaster's living children.
    pub fn children(&self) -> Vec<u32> {
        self.server.as_ref().map(|server| proc::children(server.id())).unwrap_or_default()
    }

    /// The cluster's folder, where the socket is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The data folder (PGDATA).
    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// The relocated installation it runs from.
    pub fn root(&self) -> &PgRoot {
        &self.root
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            signal(server.id(), Stop::Immediate.signal());
            let _ = server.wait();
        }
        // It finds the server gone and removes the folder.
        if let Some(mut watchdog) = self.watchdog.take() {
            drop(watchdog.stdin.take());
            let _ = watchdog.wait();
        }
        if !self.keep {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// Errors that pass when the server has started: nobody listens, or the server says so (57P03).
fn is_passing(error: &tokio_postgres::Error) -> bool {
    error.code().is_none_or(|code| code.code() == "57P03")
}

/// Whether the user servers run as gets into a folder, as far as permission bits tell.
pub fn server_may_enter(dir: &Path) -> bool {
    ServerUser::current().may_enter(dir)
}

/// A program of the installation that clusters run from, as the server's user, on a data folder without a [`Cluster`].
pub fn program(name: &str, data: &Path) -> Command {
    ServerUser::current().command(&pg_root().bin.join(name), data)
}

/// A short name, so that the socket's path is short.
fn new_dir() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let mut dirs = std::iter::repeat_with(|| COUNT.fetch_add(1, Ordering::Relaxed))
        .map(|count| env::temp_dir().join(format!("bbt-{}-{count}", process::id())));
    // An earlier process of the same id may have been told to keep its folder.
    dirs.find(|dir| !dir.exists()).unwrap_or_default()
}

/// The folder with an initialised data folder in it.
fn make(root: &PgRoot, user: &ServerUser, dir: &Path) -> io::Result<()> {
    if dir.join("data/PG_VERSION").is_file() {
        // A server that was killed leaves its socket; the data are recovered by themselves.
        return Ok(());
    }
    // Exactly this must be new: a folder of that name by somebody else, or by a dead process, is not ours to use.
    match fs::create_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && fs::read_dir(dir)?.next().is_none() => {}
        result => result?,
    }
    // Whoever reaches the socket is superuser.
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
    user.own(dir)?;
    let data = dir.join("data");
    run(user.command(Path::new("cp"), dir).arg("-a").arg(template(root, user)?).arg(&data))?;
    let mut conf = OpenOptions::new().append(true).open(data.join("postgresql.conf"))?;
    io::Write::write_all(&mut conf, b"\ninclude 'harness.conf'\n")
}

/// A data folder as `initdb` leaves it, made once for each installation: copying it is far cheaper.
fn template(root: &PgRoot, user: &ServerUser) -> io::Result<PathBuf> {
    let lock = File::create(root.top.join("template.lock"))?;
    lock.lock()?;
    let home = root.top.join("template");
    let data = home.join("data");
    if home.join("complete").exists() {
        return Ok(data);
    }
    let _ = fs::remove_dir_all(&home);
    fs::create_dir(&home)?;
    user.own(&home)?;
    let mut initdb = user.command(&root.bin.join("initdb"), &home);
    initdb.args(["-N", "-E", "UTF8", "--locale=C.UTF-8", "-U", SUPERUSER, "--auth=trust", "-D"]).arg(&data);
    run(&mut initdb)?;
    File::create(home.join("complete"))?;
    Ok(data)
}

fn run(command: &mut Command) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let (out, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Err(io::Error::other(format!("{command:?} ended with {}\n{out}{errors}", output.status)))
}

/// By the shell's own `kill`: a system call would need `unsafe`.
fn signal(pid: u32, name: &str) {
    let _ = Command::new("/bin/sh").arg("-c").arg(format!("kill -{name} {pid}")).stderr(Stdio::null()).status();
}

/// A shell that reads from this process until it ends, then stops the server and removes the folder: statics are never
/// dropped, and a killed test drops nothing.
fn watchdog(dir: &Path, keep: bool) -> Option<Child> {
    const SCRIPT: &str = r#"
        trap '' INT TERM HUP
        read -r _
        pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null)
        if [ -n "$pid" ]; then
            kill -QUIT "$pid" 2>/dev/null
            n=0
            while kill -0 "$pid" 2>/dev/null && [ $n -lt 100 ]; do sleep 0.1; n=$((n + 1)); done
        fi
        if [ "$2" = remove ]; then rm -rf -- "$1"; fi
    "#;
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", SCRIPT, "watchdog"]).arg(dir).arg(if keep { "keep" } else { "remove" });
    shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    shell.spawn().ok()
}
