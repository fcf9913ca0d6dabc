//! The loop around every service: cycle, record, pause.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::backoff::{Backoff, jitter};
use crate::log::Level;
use crate::{Call, Context, CycleReport, Next, Service, ServiceError, Value};

/// How long a cycle may take to end by itself when the worker leaves.
const GRACE: Duration = Duration::from_millis(1000);
/// The longest pause after failed cycles, unless the service's own interval is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

const RECORD: &str = "SELECT bigbrotr.record_cycle($1, $2, $3, $4, $5, $6)";

/// Runs a service until the worker leaves or the service is finished. A panic in a cycle is that cycle's error.
pub async fn run(service: Arc<dyn Service>, context: Context) {
    let mut backoff = Backoff::new(Duration::from_secs(1), LONGEST_PAUSE);
    let mut config = context.config.clone();
    loop {
        config.mark_unchanged();
        let started = SystemTime::now();
        context.progress.begin_cycle();
        let Some(outcome) = cycle(&service, &context).await else { return };
        context.progress.end_cycle();
        if context.is_shutting_down() {
            // The store may be gone already; what the cycle did is committed.
            return;
        }
        let pause = match outcome {
            Ok(report) => {
                backoff.reset();
                if report.record {
                    record(&service, &context, started, Ok(&report)).await;
                }
                match report.next {
                    Next::Now => continue,
                    Next::After(pause) => pause,
                    Next::Finished => return,
                }
            }
            Err(error) => {
                let text = error.to_string();
                context.progress.error(text.clone());
                // The first of a series, then every tenth: a log is not a place for a loop.
                if backoff.failures().is_multiple_of(10) {
                    let failures = backoff.failures() + 1;
                    context.log.write(Level::Warning, format!("cycle failed ({failures} in a row): {text}"));
                }
                record(&service, &context, started, Err(&text)).await;
                jitter(backoff.fail())
            }
        };
        context.progress.set_activity(format!("waiting, next cycle in {} s", pause.as_secs()));
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = context.wake.notified() => {}
            _ = config.changed() => {}
            () = context.until_shutdown() => return,
        }
    }
}

/// One cycle in a task of its own, so that a panic ends the task only. None: the worker is leaving.
async fn cycle(service: &Arc<dyn Service>, context: &Context) -> Option<Result<CycleReport, ServiceError>> {
    let (service, inner) = (service.clone(), context.clone());
    let mut task = tokio::spawn(async move {
        let wanted = inner.config().inject_fault.clone();
        if wanted.as_deref() == Some(&format!("{}:panic", service.kind())) {
            panic!("injected fault");
        }
        if wanted.as_deref() == Some(&format!("{}:busy", service.kind())) {
            return keep_busy(&inner).await;
        }
        service.cycle(&inner).await
    });
    let joined = tokio::select! {
        joined = &mut task => joined,
        () = context.until_shutdown() => match tokio::time::timeout(GRACE, &mut task).await {
            Ok(joined) => joined,
            Err(_) => {
                task.abort();
                return None;
            }
        },
    };
    Some(joined.unwrap_or_else(|error| Err(ServiceError::Other(describe_panic(error)))))
}

/// The injected fault `busy`: instead of its work the service makes many small transactions, some with locks on its tables.
async fn keep_busy(context: &Context) -> Result<CycleReport, ServiceError> {
    let mut items: u32 = 0;
    while items < 1000 && !context.is_shutting_down() {
        context.store.call("SELECT pg_catalog.now()::text, $1", vec![Value::from(i64::from(items))]).await?;
        items += 1;
        if items.is_multiple_of(10) {
            let calls = [
                "LOCK TABLE bigbrotr.relay IN ROW EXCLUSIVE MODE",
                "LOCK TABLE bigbrotr.event IN ROW EXCLUSIVE MODE",
                "LOCK TABLE bigbrotr.candidate IN ROW EXCLUSIVE MODE",
                "LOCK TABLE bigbrotr.stat_cycles IN ROW EXCLUSIVE MODE",
            ];
            context.store.transaction(calls.map(|sql| Call::new(sql, Vec::new())).to_vec()).await?;
        }
    }
    context.progress.add_items(u64::from(items));
    Ok(CycleReport { items: u64::from(items), detail: serde_json::json!({}), next: Next::Now, record: false })
}

fn describe_panic(error: tokio::task::JoinError) -> String {
    let Ok(payload) = error.try_into_panic() else { return "the cycle was cancelled".to_owned() };
    let text = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    format!("the cycle panicked: {}", text.unwrap_or("no message"))
}

async fn record(
    service: &Arc<dyn Service>,
    context: &Context,
    started: SystemTime,
    outcome: Result<&CycleReport, &str>,
) {
    let started = started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let (ok, items, detail, error) = match outcome {
        Ok(report) => (true, report.items, report.detail.to_string(), None),
        Err(text) => (false, 0, "{}".to_owned(), Some(text.to_owned())),
    };
    let args = vec![
        Value::from(service.kind().as_str()),
        Value::from(started),
        Value::from(ok),
        Value::from(i64::try_from(items).unwrap_or(i64::MAX)),
        Value::from(detail),
        Value::from(error),
    ];
    if let Err(error) = context.store.call(RECORD, args).await {
        context.log.write(Level::Debug, format!("cycle not recorded: {error}"));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::{Notify, watch};

    use super::*;
    use crate::log::Log;
    use crate::memory::MemoryBudget;
    use crate::progress::Progress;
    use crate::{BoxFuture, Config, Rows, ServiceKind, Store, StoreError};

    #[derive(Default)]
    struct Recorder(Mutex<Vec<(bool, String)>>);

    impl Store for Recorder {
        fn transaction(&self, calls: Vec<Call>) -> BoxFuture<'_, Result<Vec<Rows>, StoreError>> {
            for call in &calls {
                let (Value::Bool(ok), Value::Text(error)) = (&call.args[2], &call.args[5]) else { panic!("{call:?}") };
                self.0.lock().expect("no panic").push((*ok, error.clone().unwrap_or_default()));
            }
            Box::pin(async move { Ok(vec![Rows::new(); calls.len()]) })
        }
    }

    /// Panics, fails, succeeds, finishes.
    struct Moody(AtomicU32);

    impl Service for Moody {
        fn kind(&self) -> ServiceKind {
            ServiceKind::Seeder
        }
        fn cycle<'a>(&'a self, _: &'a Context) -> BoxFuture<'a, Result<CycleReport, ServiceError>> {
            let turn = self.0.fetch_add(1, Ordering::Relaxed);
            Box::pin(async move {
                let next = match turn {
                    0 => panic!("mood"),
                    1 => return Err(ServiceError::Other("bad".to_owned())),
                    2 => Next::Now,
                    _ => Next::Finished,
                };
                Ok(CycleReport { items: 1, detail: serde_json::json!({}), next, record: true })
            })
        }
        fn interval(&self, _: &Config) -> Duration {
            Duration::from_secs(1)
        }
    }

    fn context(store: Arc<dyn Store>) -> (Context, watch::Sender<bool>, watch::Sender<Arc<Config>>) {
        let (shutdown_sender, shutdown) = watch::channel(false);
        let (config_sender, config) = watch::channel(Arc::new(Config::default()));
        let context = Context {
            store,
            config,
            progress: Arc::new(Progress::default()),
            wake: Arc::new(Notify::new()),
            asked: Arc::default(),
            shutdown,
            memory: MemoryBudget::unlimited(),
            log: Log::channel(16).0,
        };
        (context, shutdown_sender, config_sender)
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_and_an_error_are_recorded_and_survived() {
        let store = Arc::new(Recorder::default());
        let (context, _shutdown, _config) = context(store.clone());
        run(Arc::new(Moody(AtomicU32::new(0))), context.clone()).await;
        let records = store.0.lock().expect("no panic").clone();
        let texts: Vec<&str> = records.iter().map(|(_, error)| error.as_str()).collect();
        assert_eq!(texts, ["the cycle panicked: mood", "bad", "", ""]);
        assert_eq!(context.progress.snapshot().errors, 2);
        assert_eq!(context.progress.snapshot().cycles, 4);
    }

    #[tokio::test(start_paused = true)]
    async fn shutdown_ends_a_pause_at_once() {
        let store = Arc::new(Recorder::default());
        let (context, shutdown, _config) = context(store);
        let task = tokio::spawn(run(Arc::new(Moody(AtomicU32::new(0))), context));
        tokio::time::sleep(Duration::from_millis(100)).await;
        shutdown.send_replace(true);
        tokio::time::timeout(Duration::from_millis(100), task).await.expect("it ended").expect("no panic");
    }
}
