//! When workers appear, and when they do not.

use std::time::Duration;

use bigbrotr_tests::{Cluster, ClusterOptions, cluster::SUPERUSER};

use crate::world::{LASTING, LONG, SERVICES, SOON, World, options, running, text, world, world_with};

#[tokio::test]
async fn workers_appear_when_a_reload_lists_their_database() {
    let cluster = Cluster::start(options());
    let client = cluster.connect(SUPERUSER).await;
    let mut world = World { cluster, client };
    world.run("CREATE EXTENSION bigbrotr").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let ours = "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'bigbrotr %'";
    assert_eq!(world.number(ours).await, 1, "only the launcher runs while no database is listed");
    assert_eq!(world.number("SELECT count(*) FROM bigbrotr.stat_workers").await, 0);
    world.cluster.set(&[("bigbrotr.databases", SUPERUSER)]).await;
    world.wait(&running(SUPERUSER, LASTING), SOON, "workers after a reload").await;
}

#[tokio::test]
async fn workers_appear_after_create_extension_in_a_listed_database() {
    let cluster = Cluster::start(options().with("bigbrotr.databases", SUPERUSER));
    let client = cluster.connect(SUPERUSER).await;
    let world = World { cluster, client };
    // Long enough for the launcher to have lost hope.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(world.lines("has no extension bigbrotr"), 1, "{}", world.cluster.log());
    assert_eq!(world.lines("HINT:  Run CREATE EXTENSION bigbrotr there"), 1);
    world.run("CREATE EXTENSION bigbrotr").await;
    world.wait(&running(SUPERUSER, LASTING), SOON, "workers after CREATE EXTENSION").await;
    assert_eq!(world.lines("has no extension bigbrotr"), 1);
}

#[tokio::test]
async fn rolled_back_create_extension_starts_nothing() {
    let cluster = Cluster::start(options().with("bigbrotr.databases", SUPERUSER));
    let client = cluster.connect(SUPERUSER).await;
    let world = World { cluster, client };
    world.run("BEGIN; CREATE EXTENSION bigbrotr; ROLLBACK").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let services = "SELECT count(*) FROM pg_stat_activity WHERE backend_type ~ 'bigbrotr (finder|monitor|refresher)'";
    assert_eq!(world.number(services).await, 0);
    world.run("CREATE EXTENSION bigbrotr").await;
    world.wait(&running(SUPERUSER, LASTING), SOON, "workers after the second try").await;
}

#[tokio::test]
async fn extension_without_the_preloaded_library_warns_and_works() {
    let cluster = Cluster::start(ClusterOptions::default());
    let script = "CREATE EXTENSION bigbrotr; SELECT bigbrotr.normalize_relay_url('WSS://Relay.Damus.io/');
        SELECT count(*) FROM bigbrotr.stat_workers; SELECT bigbrotr.run_service('finder'), bigbrotr.stop_workers(), bigbrotr.start_workers()";
    let output = cluster.psql_command().args(["-At", "-c", script]).output().expect("psql runs");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{err}");
    assert!(err.contains("WARNING:  bigbrotr is not preloaded") && err.contains("HINT:"), "{err}");
    assert_eq!(out.lines().collect::<Vec<_>>(), ["CREATE EXTENSION", "wss://relay.damus.io", "0", "f|0|0"]);
}

#[tokio::test]
async fn unlisted_database_is_left_alone() {
    let world = world_with(options().with("bigbrotr.databases", SUPERUSER)).await;
    world.cluster.create_database("other").await;
    let other = world.cluster.connect("other").await;
    other.batch_execute("CREATE EXTENSION bigbrotr").await.expect("created");
    tokio::time::sleep(Duration::from_secs(3)).await;
    let ours = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'other' AND backend_type LIKE 'bigbrotr %'";
    assert_eq!(world.number(ours).await, 0);
    assert_eq!(text(&other, "SELECT count(*) FROM bigbrotr.candidate").await, "0");
    assert_eq!(text(&other, "SELECT bigbrotr.run_service('finder')").await, "f");
    assert_eq!(text(&other, "SELECT bigbrotr.start_workers()").await, "0");
    assert_eq!(text(&other, "SELECT bigbrotr.stop_workers()").await, "0");
}

#[tokio::test]
async fn missing_database_is_named_once_and_served_when_it_comes() {
    let mut world = world_with(options().with("bigbrotr.databases", SUPERUSER)).await;
    world.cluster.set(&[("bigbrotr.databases", "postgres, later")]).await;
    let backoff =
        "SELECT count(*) = 6 FROM bigbrotr.stat_workers WHERE database = 'later' AND state = 'backoff' AND pid IS NULL
        AND last_error LIKE '%does not exist%'";
    world.wait(backoff, SOON, "back-off of a missing database").await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(world.lines("database \"later\""), 1, "{}", world.cluster.log());
    world.cluster.create_database("later").await;
    let later = world.cluster.connect("later").await;
    later.batch_execute("CREATE EXTENSION bigbrotr").await.expect("created");
    world.wait(&running("later", LASTING), LONG, "workers of a database that came later").await;
    world.wait(&running(SUPERUSER, LASTING), SOON, "the other database").await;
}

#[tokio::test]
async fn database_that_refuses_connections_is_named_once() {
    let mut world = world_with(options().with("bigbrotr.databases", SUPERUSER)).await;
    world.cluster.set(&[("bigbrotr.databases", "postgres, template0")]).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(world.lines("database \"template0\""), 1, "{}", world.cluster.log());
    assert_eq!(
        world
            .number("SELECT count(*) FROM bigbrotr.stat_workers WHERE database = 'template0' AND state = 'backoff'")
            .await,
        6
    );
}

#[tokio::test]
async fn another_version_is_named_once_and_served_when_it_fits() {
    let world = world().await;
    world.run("UPDATE pg_extension SET extversion = '0.0.1' WHERE extname = 'bigbrotr'").await;
    let backoff = "SELECT count(*) = 6 FROM bigbrotr.stat_workers WHERE state = 'backoff' AND pid IS NULL";
    world.wait(backoff, LONG, "back-off with another version").await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(world.lines("is not version"), 1, "{}", world.cluster.log());
    world.run("UPDATE pg_extension SET extversion = '0.1.0' WHERE extname = 'bigbrotr'").await;
    world.wait(&running(SUPERUSER, LASTING), LONG, "workers when the version fits again").await;
    assert_eq!(world.lines("is not version"), 1);
}

#[tokio::test]
async fn each_service_runs_alone() {
    let mut world = world().await;
    for service in SERVICES {
        let settings: Vec<(String, &str)> = SERVICES
            .map(|other| (format!("bigbrotr.{other}_enabled"), if other == service { "on" } else { "off" }))
            .to_vec();
        let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        world.cluster.set(&settings).await;
        let alone = format!(
            "SELECT count(*) FILTER (WHERE service <> '{service}' AND state = 'disabled' AND pid IS NULL) = 5
                AND count(*) FILTER (WHERE service = '{service}' AND state IN ('running', 'idle', 'finished')) = 1
                AND count(*) = 6
             FROM bigbrotr.stat_workers"
        );
        world.wait(&alone, LONG, &format!("{service} alone")).await;
    }
    assert_eq!(world.text("SELECT COALESCE(string_agg(last_error, ', '), '') FROM bigbrotr.stat_workers").await, "");
}

#[tokio::test]
async fn workers_show_what_they_are() {
    let world = world().await;
    world
        .wait(
            "SELECT state = 'finished' AND pid IS NULL FROM bigbrotr.stat_workers WHERE service = 'seeder'",
            LONG,
            "the seeder's end",
        )
        .await;
    for service in SERVICES.into_iter().filter(|service| *service != "seeder") {
        let idle = format!(
            "SELECT state = 'idle' AND activity LIKE 'waiting%' FROM bigbrotr.stat_workers WHERE service = '{service}'"
        );
        world.wait(&idle, LONG, "an idle service").await;
        let pid = world.pid(service).await;
        let shown = world.text(&format!("SELECT concat_ws('|', backend_type, application_name, datname, query LIKE 'waiting%') FROM pg_stat_activity WHERE pid = {pid}")).await;
        assert_eq!(shown, format!("bigbrotr {service}|bigbrotr {service}|postgres|t"));
    }
    let started =
        "SELECT bool_and(started_at BETWEEN now() - interval '1 minute' AND now()) FROM bigbrotr.stat_workers";
    assert_eq!(world.text(started).await, "t");
    assert_eq!(world.number("SELECT count(*) FROM bigbrotr.stat_cycles WHERE service = 'seeder' AND ok").await, 1);
}

#[tokio::test]
async fn workers_run_as_the_owner_of_the_extension() {
    let cluster = Cluster::start(options().with("bigbrotr.databases", SUPERUSER));
    let client = cluster.connect(SUPERUSER).await;
    let world = World { cluster, client };
    let odd = "Odd \"owner\" of, it";
    let quoted = format!("\"{}\"", odd.replace('"', "\"\""));
    world
        .run(&format!(
            "CREATE ROLE {quoted} SUPERUSER NOLOGIN; SET ROLE {quoted}; CREATE EXTENSION bigbrotr; RESET ROLE"
        ))
        .await;
    world.wait(&running(SUPERUSER, LASTING), LONG, "workers of a NOLOGIN owner").await;
    let mut world = world;
    // A table says who writes to it.
    world.run("CREATE TABLE public.who AS SELECT session_user::text AS session, current_user::text AS now LIMIT 0;
        CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.who VALUES (session_user, current_user); RETURN NEW; END $$;
        CREATE TRIGGER note AFTER INSERT ON bigbrotr.stat_cycles FOR EACH ROW EXECUTE FUNCTION public.note();
").await;
    world.cluster.set(&[("bigbrotr.inject_fault", "finder:panic")]).await;
    world.wait("SELECT count(*) > 0 FROM public.who", LONG, "a recorded cycle").await;
    let who = world.text("SELECT string_agg(DISTINCT session || '/' || now, ';') FROM public.who").await;
    assert_eq!(who, format!("{odd}/{odd}"));
    // The owner changes: so do the sessions.
    world.run(&format!("REASSIGN OWNED BY {quoted} TO postgres; TRUNCATE public.who")).await;
    world
        .wait("SELECT EXISTS (SELECT 1 FROM public.who WHERE session = 'postgres')", LONG, "sessions of the new owner")
        .await;
}

#[tokio::test]
async fn sessions_keep_their_own_defaults() {
    let world = world().await;
    world.run("ALTER DATABASE postgres SET default_transaction_isolation = 'serializable';
        ALTER DATABASE postgres SET default_transaction_read_only = on; ALTER DATABASE postgres SET statement_timeout = '1ms';
        ALTER DATABASE postgres SET search_path = nowhere; ALTER ROLE postgres SET lock_timeout = '1ms'").await;
    let client = world.cluster.connect(SUPERUSER).await;
    let world = World { client, ..world };
    world.run("SET statement_timeout = 0; SET lock_timeout = 0").await;
    world.run("SELECT bigbrotr.stop_workers(), bigbrotr.start_workers()").await;
    world.wait(&running(SUPERUSER, LASTING), LONG, "workers with hostile defaults").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(world.text("SELECT COALESCE(string_agg(last_error, ', '), '') FROM bigbrotr.stat_workers").await, "");
}
