use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use bigbrotr_core::log::Log;
use bigbrotr_core::memory::MemoryBudget;
use bigbrotr_core::progress::Progress;
use bigbrotr_core::retention::{Keep, Retention};
use bigbrotr_core::{Call, Row, Rows, Store, StoreError, Value};
use serde_json::json;
use tokio::sync::{Notify, watch};

use super::*;

type Answers = VecDeque<Result<Vec<Value>, StoreError>>;

/// Answers each function with what was put there for it, the last answer again and again.
#[derive(Default)]
struct Script {
    answers: Mutex<Vec<(&'static str, Answers)>>,
    calls: Mutex<Vec<Vec<&'static str>>>,
}

impl Script {
    fn on(self, function: &'static str, answers: impl IntoIterator<Item = Result<Value, StoreError>>) -> Self {
        let rows = answers.into_iter().map(|answer| answer.map(|value| vec![value]));
        self.answers.lock().expect("no panic").push((function, rows.collect()));
        self
    }

    fn on_row(self, function: &'static str, rows: impl IntoIterator<Item = Vec<Value>>) -> Self {
        self.answers.lock().expect("no panic").push((function, rows.into_iter().map(Ok).collect()));
        self
    }

    fn count(&self, function: &str) -> usize {
        self.calls.lock().expect("no panic").iter().flatten().filter(|sql| sql.contains(function)).count()
    }
}

impl Store for Script {
    fn transaction(&self, calls: Vec<Call>) -> BoxFuture<'_, Result<Vec<Rows>, StoreError>> {
        self.calls.lock().expect("no panic").push(calls.iter().map(|call| call.sql).collect());
        let mut answers = self.answers.lock().expect("no panic");
        let mut answer = |call: &Call| {
            let queue = answers.iter_mut().find(|(function, _)| call.sql.contains(function)).map(|(_, queue)| queue);
            let value = match queue {
                None if call.sql.contains("::text") => Ok(vec![Value::from("{}")]),
                None => Ok(vec![Value::Null]),
                Some(queue) if queue.len() > 1 => queue.pop_front().expect("not empty"),
                Some(queue) => queue.front().expect("not empty").clone(),
            };
            value.map(|values| vec![Row(values)])
        };
        let outcome = calls.iter().map(&mut answer).collect();
        Box::pin(async move { outcome })
    }
}

fn object(value: serde_json::Value) -> Result<Value, StoreError> {
    Ok(Value::from(value.to_string()))
}

fn kept_for_a_minute() -> Config {
    Config { retention: Retention::new(Vec::new(), Keep::For(Duration::from_secs(60))), ..Config::default() }
}

/// A stretch of the archive.
fn found(events: i64, more: bool) -> Vec<Value> {
    vec![Value::BigIntArray((1..=events).collect()), Value::BigInt(7), Value::Bool(more)]
}

fn refusal(message: &str) -> Result<Value, StoreError> {
    Err(StoreError::Sql { sqlstate: "55P03".to_owned(), message: message.to_owned() })
}

fn context(store: Arc<Script>, config: Config) -> (Context, watch::Sender<bool>) {
    let (shutdown, leaving) = watch::channel(false);
    let context = Context {
        store,
        config: watch::channel(Arc::new(config)).1,
        progress: Arc::new(Progress::default()),
        wake: Arc::new(Notify::new()),
        asked: Arc::default(),
        shutdown: leaving,
        memory: MemoryBudget::unlimited(),
        log: Log::channel(16).0,
    };
    (context, shutdown)
}

#[tokio::test]
async fn steps_are_repeated_until_there_is_no_more_and_counted() {
    let store = Arc::new(
        Script::default()
            .on(
                "maintain",
                [object(json!({"quarantine": 7, "more": true})), object(json!({"quarantine": 2, "more": false}))],
            )
            .on("apply_blocks", [object(json!({"blocked": 1}))])
            .on("purge_vanished", [object(json!({"events": 3, "gift_wraps": 1, "more": false}))])
            .on_row("old_events", [found(1200, true), found(5, false)])
            .on("delete_events", [Ok(Value::Int(500)), Ok(Value::Int(700)), Ok(Value::Int(5))])
            .on("analyze_next", [Ok(Value::from("bigbrotr.event")), Ok(Value::Null)]),
    );
    let config = kept_for_a_minute();
    let (context, _shutdown) = context(store.clone(), config);
    let report = Refresher::default().cycle(&context).await.expect("no error");
    let detail = json!({"quarantine": 9, "blocked": 1, "events": 3, "gift_wraps": 1, "expired": 1205, "analyzed": ["bigbrotr.event"]});
    assert_eq!(report.detail, detail);
    assert_eq!((report.items, report.record), (1219, true));
    assert_eq!(report.next, Next::After(Duration::from_secs(300)));
    assert_eq!(context.progress.snapshot().items, 1219);
}

#[tokio::test]
async fn deletions_take_the_archive_lock_in_a_statement_of_their_own() {
    let store =
        Arc::new(Script::default().on_row("old_events", [found(1, false)]).on("delete_events", [Ok(Value::Int(1))]));
    let config = kept_for_a_minute();
    let (context, _shutdown) = context(store.clone(), config);
    Refresher::default().cycle(&context).await.expect("no error");
    let calls = store.calls.lock().expect("no panic").clone();
    for step in ["delete_events", "purge_vanished"] {
        let transaction = calls.iter().find(|calls| calls.iter().any(|sql| sql.contains(step))).expect("it was called");
        assert!(transaction.len() == 2 && transaction[0].contains("lock_archive"), "{transaction:?}");
    }
}

#[tokio::test]
async fn what_is_off_is_not_done() {
    let store = Arc::new(Script::default());
    let (context, _shutdown) = context(store.clone(), Config { vanish_enabled: false, ..Config::default() });
    Refresher::default().cycle(&context).await.expect("no error");
    assert_eq!((store.count("old_events"), store.count("live_size"), store.count("purge_vanished")), (0, 0, 0));
    assert_eq!((store.count("maintain"), store.count("apply_blocks")), (1, 1));
}

#[tokio::test]
async fn a_step_that_fails_keeps_no_other_from_being_done() {
    let store =
        Arc::new(Script::default().on("apply_blocks", [refusal("blocks")]).on("maintain", [refusal("maintain")]));
    let (context, _shutdown) = context(store.clone(), Config::default());
    let error = Refresher::default().cycle(&context).await.expect_err("it failed");
    assert!(error.to_string().contains("blocks"), "{error}");
    assert_eq!((store.count("maintain"), store.count("purge_vanished"), store.count("analyze_next")), (1, 1, 1));
}

#[tokio::test]
async fn the_same_table_is_not_analyzed_for_ever() {
    let store = Arc::new(Script::default().on("analyze_next", [Ok(Value::from("bigbrotr.event"))]));
    let (context, _shutdown) = context(store.clone(), Config::default());
    Refresher::default().cycle(&context).await.expect("no error");
    assert_eq!(store.count("analyze_next"), 2);
}

#[tokio::test]
async fn a_worker_that_leaves_does_not_finish_its_stretch() {
    let store = Arc::new(Script::default().on("maintain", [object(json!({"candidate": 5000, "more": true}))]));
    let (context, shutdown) = context(store.clone(), Config::default());
    shutdown.send_replace(true);
    Refresher::default().cycle(&context).await.expect("no error");
    assert_eq!(store.count("maintain"), 1);
}

#[tokio::test]
async fn the_oldest_events_go_until_the_archive_is_small_enough() {
    let size = |bytes: i64, floor: i64| vec![Value::BigInt(bytes), Value::BigInt(1000), Value::BigInt(floor)];
    let megabyte = 1 << 20;
    let store = Arc::new(
        Script::default()
            .on_row("live_size", [size(3 * megabyte, 0), size(2 * megabyte, 8)])
            .on_row("old_events", [found(300, true)])
            .on("delete_events", [Ok(Value::Int(300))]),
    );
    let config = Config { event_retention_size: Some(2 << 20), ..Config::default() };
    let (context, _shutdown) = context(store.clone(), config);
    let report = Refresher::default().cycle(&context).await.expect("no error");
    assert_eq!(report.detail["expired_by_size"], 300);
    let calls = store.calls.lock().expect("no panic").clone();
    let removal = calls.iter().find(|calls| calls.iter().any(|sql| sql.contains("delete_events"))).expect("a removal");
    assert!(
        removal.len() == 3 && removal[0].contains("lock_archive") && removal[1].contains("set_event_floor"),
        "{removal:?}"
    );
    drop(calls);
    assert_eq!((store.count("old_events"), store.count("set_event_floor(0)")), (1, 0));
}

#[tokio::test]
async fn the_floor_goes_when_there_is_room_again() {
    let row = vec![Value::BigInt(1 << 20), Value::BigInt(1000), Value::BigInt(8)];
    let store = Arc::new(Script::default().on_row("live_size", [row]));
    let config = Config { event_retention_size: Some(2 << 20), ..Config::default() };
    let (context, _shutdown) = context(store.clone(), config);
    Refresher::default().cycle(&context).await.expect("no error");
    assert_eq!((store.count("old_events"), store.count("set_event_floor(0)")), (0, 1));
}

#[tokio::test]
async fn what_expired_is_walked_through_twice_and_then_only_where_it_grew() {
    let store = Arc::new(Script::default().on_row("old_events", [found(0, true), found(0, false)]));
    let (context, _shutdown) = context(store.clone(), kept_for_a_minute());
    let refresher = Refresher::default();
    let mut walks = Vec::new();
    for _ in 0..3 {
        refresher.cycle(&context).await.expect("no error");
        let sweep = format!("{:?}", refresher.sweep.lock().await);
        walks.push(sweep.contains("from: 0, finished: 1"));
    }
    assert_eq!(walks, [true, false, false]);
}
