//! Reloads and the functions that stop, start and wake.

use std::time::{Duration, Instant};

use bigbrotr_tests::cluster::SUPERUSER;

use crate::world::{LASTING, LONG, NOBODY, SOON, running, world};

#[tokio::test]
async fn service_switched_off_leaves_and_comes_back() {
    let mut world = world().await;
    let others = world.text("SELECT string_agg(pid::text, ',' ORDER BY service) FROM bigbrotr.stat_workers WHERE service <> 'monitor' AND service <> 'seeder'").await;
    world.cluster.set(&[("bigbrotr.monitor_enabled", "off")]).await;
    let gone = "SELECT (SELECT state = 'disabled' AND pid IS NULL FROM bigbrotr.stat_workers WHERE service = 'monitor')
        AND NOT EXISTS (SELECT 1 FROM pg_stat_activity WHERE backend_type = 'bigbrotr monitor')";
    world.wait(gone, SOON, "the monitor's leave").await;
    world.cluster.set(&[("bigbrotr.monitor_enabled", "on")]).await;
    world.wait(&running(SUPERUSER, LASTING), SOON, "the monitor's return").await;
    let after = world.text("SELECT string_agg(pid::text, ',' ORDER BY service) FROM bigbrotr.stat_workers WHERE service <> 'monitor' AND service <> 'seeder'").await;
    assert_eq!(others, after, "the others stay");
}

#[tokio::test]
async fn database_taken_off_the_list_is_left() {
    let mut world = world().await;
    world.cluster.set(&[("bigbrotr.databases", "")]).await;
    world.wait(NOBODY, SOON, "leave of a database").await;
    world.wait("SELECT count(*) = 0 FROM bigbrotr.stat_workers", SOON, "an empty stat_workers").await;
    world.cluster.set(&[("bigbrotr.databases", SUPERUSER)]).await;
    world.wait(&running(SUPERUSER, LASTING), SOON, "return to a database").await;
}

#[tokio::test]
async fn synchronizers_follow_their_number() {
    let mut world = world().await;
    let count = |n: i64| {
        format!(
            "SELECT (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'bigbrotr synchronizer') = {n}
             AND (SELECT count(*) FROM bigbrotr.stat_workers WHERE service = 'synchronizer') = {n}
             AND (SELECT bool_and(pid IS NOT NULL) FROM bigbrotr.stat_workers WHERE service = 'synchronizer')"
        )
    };
    for n in [4, 16, 2, 1] {
        world.cluster.set(&[("bigbrotr.synchronizer_workers", &n.to_string())]).await;
        world.wait(&count(n), LONG, &format!("{n} synchronizers")).await;
    }
}

#[tokio::test]
async fn stopped_workers_are_gone_when_the_call_returns_and_stay_away() {
    let mut world = world().await;
    world
        .wait("SELECT state = 'finished' FROM bigbrotr.stat_workers WHERE service = 'seeder'", LONG, "the seeder's end")
        .await;
    let started = Instant::now();
    assert_eq!(world.number("SELECT bigbrotr.stop_workers()").await, LASTING);
    println!("stop_workers: {:.2?}", started.elapsed());
    assert!(started.elapsed() < SOON);
    assert_eq!(world.text(NOBODY).await, "t", "gone, not going");
    assert_eq!(world.number("SELECT bigbrotr.stop_workers()").await, 0);
    assert_eq!(
        world.number("SELECT count(*) FROM bigbrotr.stat_workers WHERE state = 'disabled' AND pid IS NULL").await,
        6
    );
    assert_eq!(world.text("SELECT bigbrotr.run_service('finder')").await, "f");
    // Neither a reload nor another launcher brings them back.
    world.cluster.reload().await;
    world.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'bigbrotr launcher'").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(world.text(NOBODY).await, "t");
    assert_eq!(world.number("SELECT bigbrotr.start_workers()").await, 6);
    world.wait(&running(SUPERUSER, LASTING), SOON, "workers after start_workers()").await;
    world.cluster.restart(bigbrotr_tests::Stop::Fast);
}

#[tokio::test]
async fn stop_and_start_in_one_breath_leave_one_of_each() {
    let world = world().await;
    for _ in 0..5 {
        world.run("SELECT bigbrotr.start_workers(), bigbrotr.start_workers(), bigbrotr.stop_workers(), bigbrotr.start_workers()").await;
    }
    world.wait(&running(SUPERUSER, LASTING), LONG, "workers after much ado").await;
    world.nobody_is_doubled().await;
}

#[tokio::test]
async fn run_service_wakes_a_service_that_runs() {
    let world = world().await;
    world
        .wait(
            "SELECT state = 'idle' AND cycles > 0 FROM bigbrotr.stat_workers WHERE service = 'refresher'",
            LONG,
            "an idle refresher",
        )
        .await;
    let before = world.number("SELECT cycles FROM bigbrotr.stat_workers WHERE service = 'refresher'").await;
    let started = Instant::now();
    assert_eq!(world.text("SELECT bigbrotr.run_service('refresher')").await, "t");
    let woken = format!("SELECT cycles > {before} FROM bigbrotr.stat_workers WHERE service = 'refresher'");
    world.wait(&woken, SOON, "a woken cycle").await;
    println!("woken in {:.2?}", started.elapsed());
    let error = world.client.simple_query("SELECT bigbrotr.run_service('nobody')").await.expect_err("no such service");
    assert_eq!(error.code().expect("an SQL error").code(), "22023");
    assert_eq!(world.text("SELECT COALESCE(bigbrotr.run_service(NULL)::text, 'null')").await, "null");
}

#[tokio::test]
async fn database_settings_apply_after_stop_and_start() {
    let world = world().await;
    let value = "SELECT substring(activity from 'next cycle in (\\d+) s')::int FROM bigbrotr.stat_workers WHERE service = 'refresher'";
    world.wait(&format!("SELECT ({value}) > 100"), LONG, "the usual pause").await;
    world.run("ALTER DATABASE postgres SET bigbrotr.refresher_interval = '77s'").await;
    world.cluster.reload().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.text(&format!("SELECT ({value}) > 100")).await, "t", "not at a reload");
    world.run("SELECT bigbrotr.stop_workers(), bigbrotr.start_workers()").await;
    world.wait(&format!("SELECT ({value}) <= 77"), LONG, "the database's pause").await;
}

#[tokio::test]
async fn reload_that_changes_something_begins_a_cycle_and_one_that_does_not_does_not() {
    let mut world = world().await;
    world
        .wait(
            "SELECT state = 'idle' AND cycles > 0 FROM bigbrotr.stat_workers WHERE service = 'refresher'",
            LONG,
            "an idle refresher",
        )
        .await;
    let cycles = "SELECT cycles FROM bigbrotr.stat_workers WHERE service = 'refresher'";
    let before = world.number(cycles).await;
    world.cluster.set(&[("work_mem", "5MB")]).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.number(cycles).await, before);
    world.cluster.set(&[("bigbrotr.refresher_interval", "88s")]).await;
    let applied = "SELECT substring(activity from 'next cycle in (\\d+) s')::int <= 88 FROM bigbrotr.stat_workers WHERE service = 'refresher'";
    world.wait(applied, SOON, "a setting at a reload").await;
}

#[tokio::test]
async fn finished_seeder_runs_again_when_its_source_changes() {
    let mut world = world().await;
    // Nobody shall dial what the file names.
    world.cluster.set(&[("bigbrotr.validator_enabled", "off")]).await;
    let runs = "SELECT count(*) FROM bigbrotr.stat_cycles WHERE service = 'seeder' AND ok";
    world.wait(&format!("SELECT ({runs}) = 1"), LONG, "the first run").await;
    let file = world.cluster.dir().join("seeds.txt");
    std::fs::write(&file, "wss://one.damus.io\n").expect("written");
    world.cluster.set(&[("bigbrotr.seed_file", &file.to_string_lossy())]).await;
    world
        .wait(
            "SELECT EXISTS (SELECT 1 FROM bigbrotr.candidate WHERE url LIKE '%one.damus.io%')",
            LONG,
            "the named file",
        )
        .await;
    std::fs::write(&file, "wss://one.damus.io\nwss://two.damus.io\n").expect("written");
    world
        .wait(
            "SELECT EXISTS (SELECT 1 FROM bigbrotr.candidate WHERE url LIKE '%two.damus.io%')",
            LONG,
            "the changed file",
        )
        .await;
    world
        .wait(
            "SELECT state = 'finished' AND pid IS NULL FROM bigbrotr.stat_workers WHERE service = 'seeder'",
            LONG,
            "the end",
        )
        .await;
    let count = world.number(runs).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(world.number(runs).await, count, "it does not run on");
}
