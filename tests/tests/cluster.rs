//! The private cluster: what every end-to-end test relies on.

use std::{fs, process::Command, time::Duration};

use bigbrotr_tests::{
    Cluster, ClusterOptions, Stop,
    cluster::{SUPERUSER, rss_anon},
};

async fn text(cluster: &Cluster, sql: &str) -> String {
    cluster.connect(SUPERUSER).await.query_one(sql, &[]).await.expect("a row").get(0)
}

#[tokio::test]
async fn server_is_private_and_runs_from_the_relocated_copy() {
    let cluster = Cluster::start(ClusterOptions::default().with("work_mem", "5MB"));
    assert_eq!(text(&cluster, "SHOW listen_addresses").await, "");
    assert_eq!(text(&cluster, "SHOW server_encoding").await, "UTF8");
    assert_eq!(text(&cluster, "SHOW work_mem").await, "5MB");
    let config = "SELECT setting FROM pg_config WHERE name = 'SHAREDIR'";
    assert_eq!(text(&cluster, config).await, cluster.root().share.to_string_lossy());
    let config = "SELECT setting FROM pg_config WHERE name = 'PKGLIBDIR'";
    assert_eq!(text(&cluster, config).await, cluster.root().lib.to_string_lossy());
    let zones = "SELECT count(*)::text FROM pg_available_extensions WHERE name = 'plpgsql'";
    assert_eq!(text(&cluster, zones).await, "1");
}

#[tokio::test]
async fn settings_change_at_a_reload_and_stay_over_a_restart() {
    let mut cluster = Cluster::start(ClusterOptions::default());
    let hard = r"it's C:\new";
    cluster.set(&[("cluster_name", "later"), ("work_mem", "6MB"), ("log_statement_sample_rate", "0.5")]).await;
    cluster.set(&[("search_path", "a, b"), ("bigbrotr.odd", hard)]).await;
    assert_eq!(text(&cluster, "SHOW work_mem").await, "6MB");
    assert_eq!(text(&cluster, "SHOW search_path").await, "a, b");
    assert_eq!(text(&cluster, "SHOW bigbrotr.odd").await, hard);
    assert_eq!(text(&cluster, "SHOW cluster_name").await, "");
    cluster.restart(Stop::Fast);
    assert_eq!(text(&cluster, "SHOW cluster_name").await, "later");
    cluster.reset(&["work_mem"]).await;
    assert_eq!(text(&cluster, "SHOW work_mem").await, "4MB");
}

#[tokio::test]
async fn killed_server_comes_back_with_what_was_committed() {
    let mut cluster = Cluster::start(ClusterOptions::default());
    cluster.create_database("odd \"name").await;
    let client = cluster.connect("odd \"name").await;
    client.batch_execute("CREATE TABLE t AS SELECT 1 AS a").await.expect("created");
    let children = cluster.children();
    assert!(!children.is_empty());
    cluster.kill9();
    assert!(!cluster.is_running());
    assert!(children.iter().all(|pid| rss_anon(*pid).is_none()), "children outlive the postmaster");
    cluster.start_server();
    let client = cluster.connect("odd \"name").await;
    let done = "SELECT count(*) = 1 FROM t";
    cluster.wait_for(&client, done, Duration::from_secs(5), "the committed row").await;
    assert!(cluster.log().contains("automatic recovery in progress"));
}

#[tokio::test]
async fn failed_wait_names_what_was_waited_for_and_shows_the_log() {
    let cluster = Cluster::start(ClusterOptions::default().with("log_statement", "all"));
    let waiting = async {
        let client = cluster.connect(SUPERUSER).await;
        cluster.wait_for(&client, "SELECT false /*marker*/", Duration::from_millis(50), "a miracle").await;
    };
    let panic = futures_util::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(waiting)).await.expect_err("panics");
    let message = panic.downcast_ref::<String>().expect("text");
    assert!(message.contains("a miracle") && message.contains("LOG:") && message.contains("marker"), "{message}");
}

#[tokio::test]
async fn cpu_of_ended_backends_counts() {
    let cluster = Cluster::start(ClusterOptions::default());
    let before = cluster.server_cpu_seconds();
    let client = cluster.connect(SUPERUSER).await;
    let backend: i32 = client.query_one("SELECT pg_backend_pid()", &[]).await.expect("a row").get(0);
    let backend = u32::try_from(backend).expect("a pid is positive");
    assert!(rss_anon(backend).expect("it lives") > 100_000);
    let work = "DO $$ BEGIN WHILE clock_timestamp() < now() + '500 ms' LOOP END LOOP; END $$";
    client.batch_execute(work).await.expect("work");
    let living = cluster.server_cpu_seconds() - before;
    drop(client);
    let observer = cluster.connect(SUPERUSER).await;
    let gone = format!("SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = {backend}");
    cluster.wait_for(&observer, &gone, Duration::from_secs(5), "the backend's end").await;
    while rss_anon(backend).is_some() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let after = cluster.server_cpu_seconds() - before;
    // The share of a busy machine's CPU is unknown; that work counts, and goes on counting, is not.
    assert!(living >= 0.05 && after >= living - 0.02, "{living} s, then {after} s");
}

#[tokio::test]
async fn programs_of_the_server_reach_it() {
    let cluster = Cluster::start(ClusterOptions::default());
    let output = cluster.psql_command().args(["-At", "-c", "SELECT 6 * 7"]).output().expect("psql runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "42\n");
    let output = cluster.command("pg_dump").args(["--schema-only", "postgres"]).output().expect("pg_dump runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(cluster.conninfo("x'y").ends_with(r"dbname='x\'y'"));
}

#[test]
fn nothing_is_left_behind() {
    let cluster = Cluster::start(ClusterOptions::default());
    let (dir, pid) = (cluster.dir().to_owned(), cluster.pid());
    assert!(dir.join(".s.PGSQL.5432").exists());
    drop(cluster);
    assert!(!dir.exists());
    assert_eq!(rss_anon(pid), None);
}

#[test]
fn kept_folder_stays_and_the_server_does_not() {
    let cluster = Cluster::start(ClusterOptions { keep: true, ..ClusterOptions::default() });
    let (dir, pid) = (cluster.dir().to_owned(), cluster.pid());
    drop(cluster);
    assert!(dir.join("data/PG_VERSION").exists());
    assert_eq!(rss_anon(pid), None);
    fs::remove_dir_all(dir).expect("removable");
}

/// Not a test of its own: the process that [`killed_test_leaves_no_server`] kills.
#[test]
fn victim() {
    if std::env::var_os("BIGBROTR_TEST_VICTIM").is_none() {
        return;
    }
    let cluster = Cluster::start(ClusterOptions::default());
    println!("victim {} {}", cluster.pid(), cluster.dir().display());
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn killed_test_leaves_no_server() {
    use std::io::BufRead;
    let mut command = Command::new(std::env::current_exe().expect("a path"));
    command.args(["--exact", "victim", "--nocapture"]).env("BIGBROTR_TEST_VICTIM", "1");
    let mut victim = command.stdout(std::process::Stdio::piped()).spawn().expect("spawned");
    let output = std::io::BufReader::new(victim.stdout.take().expect("piped"));
    let line = output.lines().map_while(Result::ok).find_map(|line| line.split_once("victim ").map(|l| l.1.to_owned()));
    victim.kill().expect("killed");
    victim.wait().expect("waited");
    let line = line.expect("the victim's line");
    let (pid, dir) = line.split_once(' ').expect("pid and folder");
    let pid = pid.parse().expect("a pid");
    for _ in 0..500 {
        if rss_anon(pid).is_none() && !std::path::Path::new(dir).exists() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("{line} is still there");
}
