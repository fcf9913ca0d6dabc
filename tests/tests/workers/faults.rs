//! Faults: injected, and by the kill command.

use std::time::Duration;

use bigbrotr_tests::cluster::SUPERUSER;

use crate::world::{LASTING, LONG, SOON, World, running, world};

async fn inject(world: &mut World, fault: &str) {
    world.cluster.set(&[("bigbrotr.inject_fault", fault)]).await;
}

fn others(service: &str) -> String {
    format!(
        "SELECT string_agg(pid::text, ',' ORDER BY service) FROM bigbrotr.stat_workers WHERE service NOT IN ('{service}', 'seeder')"
    )
}

#[tokio::test]
async fn sql_error_is_counted_and_survived() {
    let mut world = world().await;
    let (pid, rest) = (world.pid("refresher").await, world.text(&others("refresher")).await);
    inject(&mut world, "refresher:sql").await;
    let seen = "SELECT errors >= 2 AND last_error LIKE '%division by zero%22012%' AND last_error_at > now() - interval '1 minute'
        FROM bigbrotr.stat_workers WHERE service = 'refresher'";
    world.wait(seen, LONG, "two failed cycles").await;
    assert_eq!(world.pid("refresher").await, pid, "the process lives");
    assert_eq!(world.text(&others("refresher")).await, rest);
    world.cluster.reset(&["bigbrotr.inject_fault"]).await;
    let well =
        "SELECT state = 'idle' AND activity LIKE 'waiting%' FROM bigbrotr.stat_workers WHERE service = 'refresher'";
    world.wait(well, LONG, "health").await;
    assert_eq!(world.pid("refresher").await, pid);
}

#[tokio::test]
async fn panic_in_a_cycle_is_recorded_and_survived() {
    let mut world = world().await;
    let (pid, rest) = (world.pid("finder").await, world.text(&others("finder")).await);
    inject(&mut world, "finder:panic").await;
    let recorded = "SELECT count(*) >= 3 FROM bigbrotr.stat_cycles WHERE service = 'finder' AND NOT ok AND error LIKE '%injected fault%'";
    world.wait(recorded, LONG, "three panics").await;
    // The pauses grow.
    let pauses = world.text("SELECT string_agg(round(extract(epoch FROM pause), 1)::text, ' ') FROM (
        SELECT started_at - lag(finished_at) OVER (ORDER BY id) AS pause FROM bigbrotr.stat_cycles WHERE service = 'finder' AND NOT ok) AS x").await;
    println!("pauses after panics: {pauses}");
    let growing =
        "SELECT (array_agg(started_at ORDER BY id))[3] - (array_agg(finished_at ORDER BY id))[2] > interval '1.4 s'
        FROM bigbrotr.stat_cycles WHERE service = 'finder' AND NOT ok";
    assert_eq!(world.text(growing).await, "t", "{pauses}");
    assert_eq!(world.pid("finder").await, pid, "the process lives");
    assert_eq!(world.text(&others("finder")).await, rest);
    let lines = world.lines("cycle failed");
    assert_eq!(lines, 1, "{}", world.cluster.log());
    world.cluster.reset(&["bigbrotr.inject_fault"]).await;
    let well = "SELECT state = 'idle' FROM bigbrotr.stat_workers WHERE service = 'finder'";
    world.wait(well, LONG, "health").await;
}

#[tokio::test]
async fn failing_worker_comes_back_with_growing_pauses() {
    let mut world = world().await;
    for (service, fault, said) in [("monitor", "main", "ended unexpectedly"), ("validator", "exit", "injected fault")] {
        let (pid, rest) = (world.pid(service).await, world.text(&others(service)).await);
        let before = world.lines(" ");
        inject(&mut world, &format!("{service}:{fault}")).await;
        let backoff = format!(
            "SELECT state = 'backoff' AND pid IS NULL AND errors = 1 AND last_error LIKE '%{said}%' FROM bigbrotr.stat_workers WHERE service = '{service}'"
        );
        world.wait(&backoff, LONG, "back-off").await;
        tokio::time::sleep(Duration::from_secs(6)).await;
        let errors =
            world.number(&format!("SELECT errors FROM bigbrotr.stat_workers WHERE service = '{service}'")).await;
        let lines = world.lines(" ") - before;
        println!("{service}:{fault}: {errors} ends and {lines} lines in 7 s");
        assert!((2..=4).contains(&errors), "{errors}");
        assert!(lines <= 6 + 3 * 4, "{lines} lines\n{}", world.cluster.log());
        world.cluster.reset(&["bigbrotr.inject_fault"]).await;
        assert_eq!(world.text(&others(service)).await, rest, "the others are not concerned");
        world.run("SELECT bigbrotr.start_workers()").await;
        world.wait(&running(SUPERUSER, LASTING), SOON, "return by start_workers()").await;
        assert_ne!(world.pid(service).await, pid);
    }
}

#[tokio::test]
async fn worker_over_its_memory_leaves_in_order() {
    let mut world = world().await;
    let pid = world.pid("finder").await;
    world.cluster.set(&[("bigbrotr.worker_memory", "24MB"), ("bigbrotr.inject_fault", "finder:memory")]).await;
    let left = "SELECT errors >= 1 AND last_error LIKE 'out of its memory budget%' FROM bigbrotr.stat_workers WHERE service = 'finder'";
    world.wait(left, LONG, "leave for memory").await;
    world.cluster.reset(&["bigbrotr.inject_fault"]).await;
    world.wait(&running(SUPERUSER, LASTING), LONG, "return").await;
    assert_ne!(world.pid("finder").await, pid);
    assert!(!world.cluster.log().contains("terminated by signal"));
}

#[tokio::test]
async fn terminated_worker_comes_back() {
    let world = world().await;
    for service in ["finder", "validator", "monitor", "synchronizer", "refresher"] {
        let pid = world.pid(service).await;
        world.run(&format!("SELECT pg_terminate_backend({pid})")).await;
        world
            .wait(
                &format!("SELECT NOT EXISTS (SELECT 1 FROM pg_stat_activity WHERE pid = {pid})"),
                SOON,
                &format!("end of the {service}"),
            )
            .await;
        world.wait(&running(SUPERUSER, LASTING), SOON, &format!("return of the {service}")).await;
        assert_ne!(world.pid(service).await, pid);
    }
    world.nobody_is_doubled().await;
}

#[tokio::test]
async fn terminated_launcher_comes_back_and_doubles_nobody() {
    let world = world().await;
    let launcher = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'bigbrotr launcher'";
    for _ in 0..3 {
        let pid = world.number(launcher).await;
        world.run(&format!("SELECT pg_terminate_backend({pid})")).await;
        world.wait(&format!("SELECT ({launcher}) <> {pid}"), SOON, "another launcher").await;
        world.wait(&running(SUPERUSER, LASTING), LONG, "workers of the other launcher").await;
        world.nobody_is_doubled().await;
    }
    // While its workers are on their way.
    for pause in [0, 20, 60, 150] {
        world.run("SELECT bigbrotr.stop_workers(), bigbrotr.start_workers()").await;
        tokio::time::sleep(Duration::from_millis(pause)).await;
        world.run(&format!("SELECT pg_terminate_backend(pid) FROM ({launcher}) AS x")).await;
        world.wait(&running(SUPERUSER, LASTING), LONG, "workers after an early end").await;
        world.nobody_is_doubled().await;
    }
}

#[tokio::test]
async fn cancel_of_an_idle_worker_does_nothing() {
    let world = world().await;
    let pids =
        "SELECT string_agg(pid::text, ',' ORDER BY pid) FROM pg_stat_activity WHERE backend_type LIKE 'bigbrotr %'";
    world
        .wait(
            "SELECT state = 'finished' AND pid IS NULL FROM bigbrotr.stat_workers WHERE service = 'seeder'",
            LONG,
            "the seeder's end",
        )
        .await;
    let before = world.text(pids).await;
    for _ in 0..20 {
        world.run("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE backend_type LIKE 'bigbrotr %'").await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.text(pids).await, before, "{}", world.cluster.log());
}

#[tokio::test]
async fn killed_worker_restarts_the_cluster_and_the_workers() {
    let world = world().await;
    let pid = world.pid("finder").await;
    // The shell's own: a minimal system has no program of that name.
    let killed = std::process::Command::new("/bin/sh").args(["-c", &format!("kill -9 {pid}")]).status();
    let killed = killed.expect("a shell runs");
    assert!(killed.success());
    tokio::time::sleep(Duration::from_millis(500)).await;
    let client = world.cluster.connect(SUPERUSER).await;
    let world = World { client, ..world };
    world.wait(&running(SUPERUSER, LASTING), LONG, "workers after a crash").await;
    world.nobody_is_doubled().await;
    assert!(world.cluster.log().contains("terminating any other active server processes"));
}
