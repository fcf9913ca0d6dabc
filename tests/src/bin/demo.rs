//! `make demo`, `make demo-stop`, `make run`.
//!
//! Without an argument: the demo. `stop`: stops the server it left. `live` and `live-stop`: the real network. `clean`:
//! removes both servers.

use std::{
    env, fs,
    io::{self, Write},
    net::ToSocketAddrs,
    os::unix::fs::PermissionsExt,
    process::ExitCode,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use bigbrotr_tests::{
    Cluster, ClusterOptions, Stop,
    cluster::SUPERUSER,
    demo::{self, Claim, Network, Place, Screen, progress::Progress},
};
use tokio_postgres::Client;

const DATABASE: &str = "bigbrotr";
/// The demo takes seconds; a machine that is busy with something else gets this long.
const DEADLINE: Duration = Duration::from_secs(300);
/// Nothing new for so long means that nothing will come.
const STALLED: Duration = Duration::from_secs(60);
const REDRAW: Duration = Duration::from_millis(250);

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

fn main() -> ExitCode {
    let argument = env::args().nth(1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime needs nothing");
    let result = match argument.as_deref() {
        None => runtime.block_on(demo()),
        Some("stop") => stop("demo"),
        Some("live") => runtime.block_on(live()),
        Some("live-stop") => stop("live"),
        Some("clean") => clean(),
        Some(other) => Err(format!("{other}? Nothing, stop, live, live-stop or clean").into()),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("demo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn stop(name: &str) -> Result<bool> {
    let place = Place::find(name)?;
    let stopped = place.stop()?;
    println!("{} in {}", if stopped { "Stopped the server" } else { "No server runs" }, place.dir().display());
    Ok(true)
}

fn clean() -> Result<bool> {
    for name in ["demo", "live"] {
        Place::find(name)?.remove()?;
    }
    Ok(true)
}

fn place(name: &str) -> Result<Place> {
    let place = Place::find(name)?;
    if let Some(why) = place.why_elsewhere() {
        println!("The server's folder is {}, not in this checkout: {why}.", place.dir().display());
    }
    Ok(place)
}

async fn demo() -> Result<bool> {
    let place = place("demo")?;
    if place.exists() {
        println!("Replacing the last demo in {}", place.dir().display());
    }
    place.remove()?;

    println!("Signing events and starting relays …");
    let network = Network::start();
    println!(
        "{} relays on this machine hold {} distinct events, {} event–relay pairs; {} more URLs lead to no relay.",
        network.relays.len(),
        network.distinct,
        network.pairs(),
        network.dead.len()
    );

    let seeds = place.dir().with_extension("seeds");
    fs::write(&seeds, network.seeds())?;
    // Under a strict umask the server could not read it.
    fs::set_permissions(&seeds, fs::Permissions::from_mode(0o644))?;
    let options = ClusterOptions { dir: Some(place.dir().to_owned()), keep: true, ..ClusterOptions::preloaded() };
    let mut cluster = settings(&seeds.to_string_lossy()).into_iter().fold(options, |o, (k, v)| o.with(k, &v)).start();
    println!("Started {} in {}", cluster.root().version, place.dir().display());
    cluster.create_database(DATABASE).await;
    let mut client = cluster.connect(DATABASE).await;
    // The events name real relays. The demo is offline, also on a machine that is not: only 127.0.0.1 is left.
    println!("\n  bigbrotr=# CREATE EXTENSION bigbrotr;\n");
    client
        .batch_execute(
            "BEGIN;
             CREATE EXTENSION bigbrotr;
             INSERT INTO bigbrotr.block (pattern, reason)
             SELECT pattern, 'the demo is offline'
             FROM (SELECT 'wss://%' AS pattern
                   UNION ALL SELECT 'ws://' || chr(c) || '%' FROM generate_series(33, 126) AS c WHERE chr(c) = lower(chr(c)) AND chr(c) NOT IN ('1', '%', '_', '\\')
                   UNION ALL SELECT 'ws://1' || chr(c) || '%' FROM generate_series(33, 126) AS c WHERE chr(c) = lower(chr(c)) AND chr(c) NOT IN ('2', '%', '_', '\\')) AS p;
             COMMIT",
        )
        .await?;

    let started = Instant::now();
    let mut changed = (started, String::new());
    let mut screen = Screen::new("BigBrotr demo", Duration::from_secs(1));
    loop {
        let progress = Progress::read(&client, 20).await?;
        screen.show(&progress);
        if is_done(&client, &network).await? {
            break;
        }
        if progress.counts() != changed.1 {
            changed = (Instant::now(), progress.counts());
        }
        if started.elapsed() > DEADLINE || changed.0.elapsed() > STALLED {
            println!(
                "\nNot done, and nothing new for {} s. The end of the server's log:",
                changed.0.elapsed().as_secs()
            );
            println!("{}", place.log_tail(60));
            show_claims(&demo::compare(&mut client, &network).await?);
            return Ok(false);
        }
        tokio::time::sleep(REDRAW).await;
    }
    let seconds = started.elapsed().as_secs_f64();
    println!("\nEverything is archived, {seconds:.1} s after CREATE EXTENSION. Is it really? Asking the relays:\n");
    client.execute("SELECT bigbrotr.stop_workers()", &[]).await?;
    let claims = demo::compare(&mut client, &network).await?;
    let holds = show_claims(&claims);
    print_statistics(&client).await?;
    drop(client);

    // The relays end with this program; a server of its own stays, without workers.
    cluster.stop(Stop::Fast);
    cluster.set(&[("bigbrotr.databases", "")]).await;
    drop(cluster);
    place.start()?;
    println!(
        "The relays are gone, so the workers are switched off (bigbrotr.databases is empty). The server stays. Connect:\n"
    );
    println!("  psql -h {} -U {SUPERUSER} {DATABASE}\n", place.dir().display());
    println!("and try:\n\n{}", demo::QUERIES);
    println!("`make demo-stop` stops it; `make demo` replaces it.");
    Ok(holds)
}

/// For a small network that is near and does nothing else.
fn settings(seeds: &str) -> Vec<(&'static str, String)> {
    let mut settings = vec![("bigbrotr.databases", DATABASE), ("bigbrotr.seed_file", seeds)];
    settings.extend([
        ("bigbrotr.allow_private_addresses", "on"),
        ("bigbrotr.finder_interval", "1s"),
        ("bigbrotr.validator_interval", "1s"),
        ("bigbrotr.monitor_interval", "5s"),
        ("bigbrotr.synchronizer_interval", "2s"),
        ("bigbrotr.refresher_interval", "2s"),
        ("bigbrotr.sync_lag", "1s"),
        ("bigbrotr.connect_timeout", "2s"),
        ("bigbrotr.request_timeout", "2s"),
        ("bigbrotr.min_disk_free", "64MB"),
        ("max_worker_processes", "16"),
    ]);
    settings.into_iter().map(|(name, value)| (name, value.to_owned())).collect()
}

trait Start {
    fn start(self) -> Cluster;
}

impl Start for ClusterOptions {
    fn start(self) -> Cluster {
        Cluster::start(self)
    }
}

/// Every relay found, checked and complete, every other URL tried, and the finder through with what was archived.
async fn is_done(client: &Client, network: &Network) -> Result<bool> {
    let sql = "
        SELECT (SELECT count(*) FROM bigbrotr.coverage_gap WHERE isempty(gap)) = $1
           AND (SELECT count(*) FROM bigbrotr.relay_status WHERE online) = $1
           AND (SELECT count(*) FROM bigbrotr.candidate WHERE url = ANY ($2) AND failures > 0) = cardinality($2)
           AND (SELECT sum(n) FROM bigbrotr.sighting) >= $3";
    let relays = i64::try_from(network.relays.len())?;
    let dead: Vec<&str> = network.dead.iter().map(|(url, _)| url.as_str()).collect();
    let row = client.query_one(sql, &[&relays, &dead, &i64::try_from(network.pairs())?]).await?;
    Ok(row.get::<_, Option<bool>>(0) == Some(true))
}

fn show_claims(claims: &[Claim]) -> bool {
    for claim in claims {
        println!("  {}  {}", if claim.holds { "ok  " } else { "FAIL" }, claim.text);
        for example in &claim.examples {
            println!("          {example}");
        }
    }
    let failed = claims.iter().filter(|claim| !claim.holds).count();
    if failed > 0 {
        println!("\n{failed} of {} comparisons failed.", claims.len());
    }
    println!();
    failed == 0
}

/// A look at what is there, as a user would ask for it.
async fn print_statistics(client: &Client) -> Result<()> {
    let rows = client
        .query(
            "SELECT relay_url, coalesce(nip11_name, ''), event_count, unique_pubkeys, coalesce(avg_rtt_open::text, '')
             FROM bigbrotr.relay_stats ORDER BY event_count DESC",
            &[],
        )
        .await?;
    println!("  SELECT … FROM bigbrotr.relay_stats;\n");
    println!("  {:<24} {:<12} {:>8} {:>8} {:>12}", "relay_url", "nip11_name", "events", "authors", "avg_rtt_open");
    for row in rows {
        let (url, name, rtt) = (row.get::<_, String>(0), row.get::<_, String>(1), row.get::<_, String>(4));
        println!("  {url:<24} {name:<12} {:>8} {:>8} {rtt:>12}", row.get::<_, i64>(2), row.get::<_, i64>(3));
    }
    println!();
    Ok(())
}

async fn live() -> Result<bool> {
    if let Err(why) = network_is_there() {
        eprintln!("No network here: {why}.\n`make demo` needs none: it brings its own relays.");
        return Ok(false);
    }
    let place = place("live")?;
    if place.stop()? {
        println!("A server ran there already; it was stopped.");
    }
    let is_new = !place.exists();
    let options = ClusterOptions { dir: Some(place.dir().to_owned()), keep: true, ..ClusterOptions::preloaded() };
    let options = options.with("fsync", "on").with("max_worker_processes", "16").with("bigbrotr.databases", DATABASE);
    let mut cluster = options.start();
    if is_new {
        cluster.create_database(DATABASE).await;
        cluster.connect(DATABASE).await.batch_execute("CREATE EXTENSION bigbrotr").await?;
    }
    let config = cluster.config(DATABASE, SUPERUSER);
    // A server of its own can be stopped in order after this program has been interrupted.
    cluster.stop(Stop::Fast);
    drop(cluster);
    place.start()?;
    println!("{} an archive in {}", if is_new { "Began" } else { "Continuing" }, place.dir().display());
    println!("Connect: psql -h {} -U {SUPERUSER} {DATABASE}", place.dir().display());
    println!("Ctrl-C stops the server; what is archived stays.\n");
    io::stdout().flush()?;

    let (client, connection) = config.connect(tokio_postgres::NoTls).await?;
    tokio::spawn(connection);
    let mut screen = Screen::new("BigBrotr on the real network", Duration::from_secs(5));
    loop {
        match Progress::read(&client, 20).await {
            Ok(progress) => screen.show(&progress),
            Err(error) if client.is_closed() => {
                return Err(format!("the server is gone: {error}\n{}", place.log_tail(20)).into());
            }
            Err(error) => eprintln!("{error}"),
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Whether there is a way out, found out in seconds and without asking anybody but the resolver.
fn network_is_there() -> Result<(), String> {
    let ipv4 = fs::read_to_string("/proc/net/route").unwrap_or_default();
    let ipv6 = fs::read_to_string("/proc/net/ipv6_route").unwrap_or_default();
    let default4 = ipv4.lines().skip(1).any(|line| line.split_whitespace().nth(1) == Some("00000000"));
    let default6 = ipv6.lines().any(|line| {
        let mut words = line.split_whitespace();
        let (to, length) = (words.next().unwrap_or_default(), words.next());
        to.bytes().all(|byte| byte == b'0') && length == Some("00") && words.next_back() != Some("lo")
    });
    if !default4 && !default6 {
        return Err("there is no default route".into());
    }
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(("relay.damus.io", 443).to_socket_addrs().map(|_| ())));
    match receiver.recv_timeout(Duration::from_secs(5)) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(format!("names cannot be looked up ({error})")),
        Err(_) => Err("names cannot be looked up (no answer in 5 s)".into()),
    }
}
