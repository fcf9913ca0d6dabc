//! The seeder against a store in memory.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::{Arc, Mutex};

use bigbrotr_core::log::Log;
use bigbrotr_core::memory::MemoryBudget;
use bigbrotr_core::progress::Progress;
use bigbrotr_core::{Call, Row, Rows, Store, StoreError};
use tokio::sync::{Notify, watch};

use super::*;

/// Keeps URLs as `candidate` does.
#[derive(Default)]
struct Candidates(Mutex<(BTreeSet<String>, usize)>);

impl Store for Candidates {
    fn transaction(&self, calls: Vec<Call>) -> BoxFuture<'_, Result<Vec<Rows>, StoreError>> {
        let answers = calls.into_iter().map(|call| {
            assert_eq!(call.sql, ADD);
            let [Value::TextArray(urls)] = &call.args[..] else { panic!("{call:?}") };
            let mut held = self.0.lock().unwrap();
            held.1 = held.1.max(urls.len());
            let new = urls.iter().flatten().filter(|url| held.0.insert((*url).clone())).count();
            vec![Row(vec![Value::Int(new as i32)])]
        });
        let answers: Vec<Rows> = answers.collect();
        Box::pin(async move { Ok(answers) })
    }
}

fn context(store: Arc<dyn Store>, config: Config) -> (Context, watch::Sender<bool>) {
    let (stop, shutdown) = watch::channel(false);
    let context = Context {
        store,
        config: watch::channel(Arc::new(config)).1,
        progress: Arc::new(Progress::default()),
        wake: Arc::new(Notify::new()),
        asked: Arc::default(),
        shutdown,
        memory: MemoryBudget::unlimited(),
        log: Log::channel(16).0,
    };
    (context, stop)
}

#[tokio::test]
async fn the_built_in_list_is_added_once_and_the_seeder_is_finished() {
    let store = Arc::new(Candidates::default());
    let (context, _stop) = context(store.clone(), Config::default());
    let first = Seeder.cycle(&context).await.unwrap();
    assert_eq!((first.next, first.record), (Next::Finished, true));
    assert_eq!(first.detail["new"].as_u64(), Some(first.items));
    assert_eq!(store.0.lock().unwrap().0.len() as u64, first.items);
    assert_eq!(context.progress.snapshot().items, first.items);
    let second = Seeder.cycle(&context).await.unwrap();
    assert_eq!((second.items, second.detail["new"].as_u64()), (first.items, Some(0)));
}

#[tokio::test]
async fn a_seed_file_replaces_the_list_and_goes_in_in_batches() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    for number in 0..1234 {
        writeln!(file, "wss://r{number}.example.com").unwrap();
    }
    writeln!(file, "nonsense here").unwrap();
    let path = file.path().to_str().unwrap().to_owned();
    let store = Arc::new(Candidates::default());
    let config = Config { seed_file: Some(path.clone()), ..Config::default() };
    let (context, _stop) = context(store.clone(), config);
    let report = Seeder.cycle(&context).await.unwrap();
    let (held, largest) = store.0.lock().unwrap().clone();
    assert_eq!((held.len(), largest), (1234, BATCH));
    assert_eq!(report.items, 1234);
    assert_eq!(report.detail["refused"], 1);
    assert_eq!(report.detail["refused_examples"][0], "nonsense here");
    assert_eq!(report.detail["source"], path);
}

#[tokio::test]
async fn a_missing_seed_file_is_an_error_that_names_it_and_not_the_built_in_list() {
    let store = Arc::new(Candidates::default());
    let config = Config { seed_file: Some("/nowhere/seeds.txt".into()), ..Config::default() };
    let (context, _stop) = context(store.clone(), config);
    let error = Seeder.cycle(&context).await.unwrap_err().to_string();
    assert!(error.contains("/nowhere/seeds.txt"), "{error}");
    assert!(store.0.lock().unwrap().0.is_empty());
}

#[tokio::test]
async fn nothing_is_added_when_the_worker_is_leaving() {
    let store = Arc::new(Candidates::default());
    let (context, stop) = context(store.clone(), Config::default());
    stop.send_replace(true);
    assert_eq!(Seeder.cycle(&context).await.unwrap().items, 0);
}
