//! Relays that other people wrote, filled by their own EVENT interface and archived by the real synchronizer.

mod publish;
mod server;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    process::Command,
    sync::Arc,
    time::Duration,
};

use bigbrotr_tests::{
    Cluster, Generator, Spec, generate,
    paths::{target_dir, workspace_root},
    truth::{archive_options, forged, wait_until_archived},
};
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use server::{Server, free_port, step, unavailable};
use tokio::{net::TcpStream, time::timeout};
use tokio_postgres::Client;
use tokio_tungstenite::{client_async, tungstenite::Message};

const DEADLINE: Duration = Duration::from_secs(60);
/// Largest answer of these relays, far below what they hold.
const CAP: usize = 100;

/// Events that every relay keeps: no version replaces another, none deletes, none is too large or from another time.
fn events(seed: u64, n: usize) -> Vec<Arc<str>> {
    let now = generate::now();
    let mut generator = Generator::new(seed);
    let mut events =
        generator.corpus(n * 2, &Spec { authors: 30, created_at: now - 30 * 86_400..now - 300, ..Spec::default() });
    events.retain(|event| {
        let event: Value = serde_json::from_str(event).expect("JSON");
        [1, 4, 6, 7, 1059, 9735].contains(&event["kind"].as_u64().expect("kind"))
            && event["content"].as_str().is_some_and(|content| content.len() < 4_000)
    });
    events.truncate(n);
    assert_eq!(events.len(), n);
    events
}

/// Publishes; the ids the relay said yes to, and its reasons for the others.
async fn fill(server: &Server, events: &[Arc<str>]) -> (BTreeSet<String>, BTreeMap<String, usize>) {
    let stream = TcpStream::connect(server.address()).await.expect("connects");
    let (mut socket, _) = client_async(server.url(), stream).await.expect("upgrades");
    let (mut taken, mut refused) = (BTreeSet::new(), BTreeMap::new());
    for some in events.chunks(50) {
        for event in some {
            socket.feed(Message::text(format!(r#"["EVENT",{event}]"#))).await.expect("sends");
        }
        socket.flush().await.expect("sends");
        let mut left = some.len();
        while left > 0 {
            let message =
                timeout(DEADLINE, socket.next()).await.expect("in time").expect("a message").expect("a frame");
            let Ok(message) = serde_json::from_str::<Value>(message.to_text().unwrap_or_default()) else { continue };
            if message[0] != "OK" {
                continue;
            }
            left -= 1;
            if message[2] == true {
                taken.insert(message[1].as_str().expect("id").to_owned());
            } else {
                *refused.entry(message[3].to_string()).or_insert(0) += 1;
            }
        }
    }
    (taken, refused)
}

struct Archive {
    cluster: Cluster,
    client: Client,
}

async fn archive(server: &Server) -> Archive {
    let cluster = Cluster::start(archive_options(&[]));
    let client = cluster.connect("postgres").await;
    client.batch_execute("CREATE EXTENSION bigbrotr").await.expect("created");
    let enrol = "INSERT INTO bigbrotr.relay (url, network) VALUES ($1, 'clearnet')";
    client.execute(enrol, &[&server.url()]).await.expect("enrolled");
    Archive { cluster, client }
}

impl Archive {
    /// Waits until exactly these events of the relay are archived and its past is known complete.
    async fn holds(&self, server: &Server, ids: &BTreeSet<String>) {
        let pairs = ids.iter().map(|id| (id.clone(), server.url())).collect();
        wait_until_archived(&self.cluster, &self.client, &pairs, DEADLINE).await;
        let complete = "SELECT count(*) = 1 FROM bigbrotr.coverage_gap WHERE isempty(gap)";
        self.cluster.wait_for(&self.client, complete, DEADLINE, "complete coverage").await;
        assert_eq!(forged(&self.client).await, Vec::<String>::new());
        let error: Option<String> =
            self.client.query_one("SELECT last_error FROM bigbrotr.relay_sync", &[]).await.expect("a relay").get(0);
        assert_eq!(error, None);
    }
}

/// The whole story of one relay: an archive of what it held, then of what came later, then of too much at once.
async fn is_archived(server: &Server) {
    let events = events(5, 1_200);
    let (mut taken, refused) = fill(server, &events).await;
    println!("{} of {} taken, refused: {refused:?}", taken.len(), events.len());
    assert!(taken.len() > 10 * CAP, "too few events for a test: {refused:?}");
    let archive = archive(server).await;
    archive.holds(server, &taken).await;
    let mut generator = Generator::new(6);
    let mut notes = |n: usize, at: i64| -> Vec<Arc<str>> {
        (0..n).map(|n| generator.event_by(n % 7, 1, at, &[], &format!("{at} {n}")).into()).collect()
    };
    let new = fill(server, &notes(20, generate::now())).await;
    println!("{} new ones taken, refused: {:?}", new.0.len(), new.1);
    taken.extend(new.0);
    archive.holds(server, &taken).await;
    // More events of one second than an answer may have.
    let at = generate::now();
    let (burst, refused) = fill(server, &notes(3 * CAP, at)).await;
    println!("{} more in one second, refused: {refused:?}", burst.len());
    let seen = format!(
        "SELECT (SELECT count(*) FROM bigbrotr.event WHERE created_at = {at}) >= {n} OR \
         EXISTS (SELECT FROM bigbrotr.coverage WHERE state = 'capped' AND ranges @> {at}::bigint)",
        n = burst.len(),
    );
    archive.cluster.wait_for(&archive.client, &seen, DEADLINE, "the burst, or the word that it is too much").await;
}

/// `nostr-relay` of PyPI in a virtual environment below the target directory.
fn python_relay() -> Result<PathBuf, String> {
    let place = target_dir().join("interop");
    let (venv, done) = (place.join("venv"), place.join("venv.done"));
    let requirements = workspace_root().join("tests/tests/interop/requirements.txt");
    let wanted = fs::read_to_string(&requirements).map_err(|error| error.to_string())?;
    let program = venv.join("bin/nostr-relay");
    if fs::read_to_string(&done).is_ok_and(|have| have == wanted) && program.exists() {
        return Ok(program);
    }
    let _ = fs::remove_dir_all(&venv);
    fs::create_dir_all(&place).map_err(|error| error.to_string())?;
    step(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    let pip = venv.join("bin/pip");
    step(Command::new(pip).args(["install", "--quiet", "--disable-pip-version-check", "-r"]).arg(&requirements))?;
    fs::write(done, wanted).map_err(|error| error.to_string())?;
    Ok(program)
}

#[tokio::test]
async fn nostr_relay_in_python_is_archived_completely() {
    let program = match python_relay() {
        Ok(program) => program,
        Err(why) => return unavailable(&why),
    };
    let dir = tempfile::tempdir().expect("a folder");
    let port = free_port();
    let config = format!(
        "relay_name: interop\nstorage:\n  sqlalchemy.url: sqlite+aiosqlite:///{}\n  validators:\n    - nostr_relay.validators.is_signed\n\
         gunicorn:\n  bind: 127.0.0.1:{port}\n  workers: 1\nmax_limit: {CAP}\n",
        dir.path().join("nostr.sqlite3").display()
    );
    fs::write(dir.path().join("config.yaml"), config).expect("writes");
    let server = Server::start(port, dir.path(), program, &["-c", "config.yaml", "serve", "--use-uvicorn"]);
    is_archived(&server).await;
    publish::is_published_to(&server).await;
}

/// The program of tests/interop-relay, built apart from this workspace.
fn rust_relay() -> Result<PathBuf, String> {
    let target = target_dir().join("interop");
    let manifest = workspace_root().join("tests/interop-relay/Cargo.toml");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--release", "--locked", "--manifest-path"]).arg(manifest).arg("--target-dir").arg(&target);
    // Cargo's own variables are those of this package.
    build.env_remove("CARGO_TARGET_DIR").env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    step(&mut build)?;
    Ok(target.join("release/interop-relay"))
}

#[tokio::test]
async fn nostr_relay_builder_is_archived_completely() {
    let program = match rust_relay() {
        Ok(program) => program,
        Err(why) => return unavailable(&why),
    };
    let dir = tempfile::tempdir().expect("a folder");
    let port = free_port();
    let server = Server::start(port, dir.path(), program, &[&port.to_string(), &CAP.to_string()]);
    is_archived(&server).await;
    publish::is_published_to(&server).await;
}

/// Where `NOSTR_RS_RELAY` names the program (`cargo install nostr-rs-relay`, 4 to 8 minutes; without `--locked`, as its
/// lock file is too old for today's compilers).
#[tokio::test]
async fn nostr_rs_relay_is_archived_completely() {
    let Some(program) = std::env::var_os("NOSTR_RS_RELAY") else {
        println!("skipped: NOSTR_RS_RELAY names no program");
        return;
    };
    let dir = tempfile::tempdir().expect("a folder");
    let port = free_port();
    let config = format!(
        "[info]\nrelay_url = \"ws://127.0.0.1:{port}\"\nname = \"interop\"\n[database]\ndata_directory = \"{}\"\n\
         [network]\nport = {port}\naddress = \"127.0.0.1\"\n[limits]\nmax_event_bytes = 131072\n",
        dir.path().display()
    );
    fs::write(dir.path().join("config.toml"), config).expect("writes");
    let server = Server::start(port, dir.path(), program, &["--config", "config.toml"]);
    is_archived(&server).await;
    publish::is_published_to(&server).await;
}
