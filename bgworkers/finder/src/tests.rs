//! Cycles against a store in memory and an HTTP server on loopback.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use bigbrotr_core::log::Log;
use bigbrotr_core::memory::MemoryBudget;
use bigbrotr_core::progress::Progress;
use bigbrotr_core::{Call, Row, Rows, Store, StoreError, Value};
use bigbrotr_models::AddressPolicy;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};

use super::*;

#[derive(Debug, Clone)]
struct Tables {
    /// kind, tags, content; seq is the place, from 1.
    events: Vec<(i32, String, String)>,
    watermark: i64,
    candidates: BTreeMap<String, String>,
    /// Events that name each.
    mentions: BTreeMap<String, i32>,
    room: i32,
    sources: BTreeSet<String>,
    done: BTreeMap<String, Option<String>>,
    counts: BTreeMap<String, i32>,
    releases: usize,
    /// Transactions that advance by more than this fail.
    too_much: Option<i64>,
}

impl Default for Tables {
    fn default() -> Self {
        Self {
            events: Vec::new(),
            watermark: 0,
            candidates: BTreeMap::new(),
            mentions: BTreeMap::new(),
            room: 1_000_000,
            sources: BTreeSet::new(),
            done: BTreeMap::new(),
            counts: BTreeMap::new(),
            releases: 0,
            too_much: None,
        }
    }
}

#[derive(Debug, Default)]
struct Memory(Mutex<Tables>);

fn text(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => text.clone(),
        other => panic!("{other:?}"),
    }
}

fn failure(message: &str) -> StoreError {
    StoreError::Sql { sqlstate: "57014".into(), message: message.into() }
}

impl Tables {
    fn answer(&mut self, call: &Call) -> Result<Rows, StoreError> {
        match (call.sql, &call.args[..]) {
            (api::RELEASE, []) => self.releases += 1,
            (archive::BATCH, [Value::BigInt(after), Value::Int(max)]) => {
                let from = usize::try_from(if *after == 0 { self.watermark } else { *after }).unwrap();
                let rows = self.events.iter().enumerate().skip(from).take(*max as usize);
                return Ok(rows
                    .map(|(at, (kind, tags, content))| {
                        Row(vec![
                            Value::BigInt(at as i64 + 1),
                            Value::Int(*kind),
                            tags.clone().into(),
                            content.clone().into(),
                            Value::Int(at as i32 % 7),
                        ])
                    })
                    .collect());
            }
            (archive::ADVANCE, [Value::BigInt(seq)]) => {
                if self.too_much.is_some_and(|most| *seq - self.watermark > most) {
                    return Err(failure("canceling statement due to statement timeout"));
                }
                self.watermark = *seq;
            }
            (naming::ROOM, []) => return Ok(vec![Row(vec![Value::Int(self.room)])]),
            (naming::NAME, [Value::TextArray(urls), source, Value::IntArray(events), .., Value::Int(room)]) => {
                let source = text(source).unwrap();
                let (mut added, mut over) = (0, 0);
                for (url, events) in urls.iter().flatten().zip(events) {
                    if !self.candidates.contains_key(url) {
                        if added == *room {
                            over += 1;
                            continue;
                        }
                        self.candidates.insert(url.clone(), source.clone());
                        added += 1;
                    }
                    *self.mentions.entry(url.clone()).or_default() += events;
                }
                return Ok(vec![Row(vec![Value::Int(added), Value::Int(0), Value::Int(0), Value::Int(over)])]);
            }
            (api::CLAIM, []) => {
                let due = std::mem::take(&mut self.sources);
                return Ok(due.into_iter().map(|url| Row(vec![url.into(), "$[*]".into()])).collect());
            }
            (api::VALUES, [document, _]) => {
                let Ok(values) = serde_json::from_str::<Vec<String>>(&text(document).unwrap()) else {
                    return Err(failure("no JSON document"));
                };
                return Ok(values.into_iter().map(|value| Row(vec![value.into()])).collect());
            }
            (api::DONE, [url, error, Value::Int(count)]) => {
                self.counts.insert(text(url).unwrap(), *count);
                self.done.insert(text(url).unwrap(), text(error));
            }
            other => panic!("{other:?}"),
        }
        Ok(Rows::new())
    }
}

impl Store for Memory {
    fn transaction(&self, calls: Vec<Call>) -> BoxFuture<'_, Result<Vec<Rows>, StoreError>> {
        Box::pin(async move {
            let mut tables = self.0.lock().unwrap();
            let mut next = tables.clone();
            let answers: Result<Vec<Rows>, StoreError> = calls.iter().map(|call| next.answer(call)).collect();
            if answers.is_ok() {
                *tables = next;
            }
            answers
        })
    }
}

fn world(tables: Tables) -> (Context, Arc<Memory>, watch::Sender<bool>) {
    let store = Arc::new(Memory(Mutex::new(tables)));
    let (stop, shutdown) = watch::channel(false);
    let config = Config {
        address_policy: AddressPolicy { allow_private: true },
        request_timeout: Duration::from_millis(500),
        ..Config::default()
    };
    let context = Context {
        store: store.clone(),
        config: watch::channel(Arc::new(config)).1,
        progress: Arc::new(Progress::default()),
        wake: Arc::new(Notify::new()),
        asked: Arc::default(),
        shutdown,
        memory: MemoryBudget::unlimited(),
        log: Log::channel(16).0,
    };
    (context, store, stop)
}

fn hint(url: &str) -> (i32, String, String) {
    (1, format!(r#"[["r","{url}"]]"#), String::new())
}

#[tokio::test]
async fn the_archive_is_followed_to_its_end_and_not_read_twice() {
    let events = (0..2_500).map(|n| hint(&format!("wss://r{}.nos.lol", n % 700))).collect();
    let (context, store, _stop) = world(Tables { events, ..Tables::default() });
    let finder = Finder::default();
    let report = finder.cycle(&context).await.unwrap();
    assert_eq!((report.items, report.next), (2_500, Next::After(Config::default().finder_interval)));
    assert_eq!(report.detail["new"], 700);
    assert_eq!(context.progress.snapshot().items, 2_500);
    store.0.lock().unwrap().events.push(hint("wss://late.nos.lol"));
    let report = finder.cycle(&context).await.unwrap();
    assert_eq!((report.items, report.record), (1, true));
    assert_eq!(store.0.lock().unwrap().candidates.get("wss://late.nos.lol").map(String::as_str), Some("event"));
    assert!(!finder.cycle(&context).await.unwrap().record, "an idle look is not worth a row");
    assert_eq!(store.0.lock().unwrap().releases, 1);
}

#[tokio::test]
async fn candidates_and_watermark_go_together_and_a_batch_that_is_too_much_gets_smaller() {
    let events = (0..40).map(|n| hint(&format!("wss://r{n}.nos.lol"))).collect();
    let (context, store, _stop) = world(Tables { events, too_much: Some(3), ..Tables::default() });
    let finder = Finder::default();
    for _ in 0..10 {
        let _ = finder.cycle(&context).await;
        let tables = store.0.lock().unwrap();
        assert_eq!(tables.candidates.len() as i64, tables.watermark);
    }
    let mut cycles = 0;
    while store.0.lock().unwrap().watermark < 40 {
        let _ = finder.cycle(&context).await;
        cycles += 1;
        assert!(cycles < 100, "it does not get through");
    }
}

#[tokio::test]
async fn many_urls_are_spread_over_several_transactions() {
    let events = (0..300)
        .map(|n| {
            let tags: Vec<_> = (0..100).map(|m| vec!["r".to_owned(), format!("wss://r{n}x{m}.nos.lol")]).collect();
            (1, serde_json::to_string(&tags).unwrap(), String::new())
        })
        .collect();
    let (context, store, _stop) = world(Tables { events, too_much: Some(100), ..Tables::default() });
    Finder::default().cycle(&context).await.unwrap();
    assert_eq!(store.0.lock().unwrap().candidates.len(), 30_000);
}

/// An HTTP server that gives every request this answer after a while.
async fn api(answer: String, after: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/relays.json", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                tokio::time::sleep(after).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    url
}

fn http(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn apis_are_asked_and_what_goes_wrong_is_written_to_their_row() {
    let now = Duration::ZERO;
    let good = api(http("200 OK", r#"["wss://a.nos.lol/","no url","wss://b.nos.lol"]"#), now).await;
    let missing = api(http("404 Not Found", "[]"), now).await;
    let html = api(http("200 OK", "<html>"), now).await;
    let large = api("HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\n".into(), now).await;
    let slow = api(http("200 OK", "[]"), Duration::from_secs(30)).await;
    let wrong = "ftp://example.com/".to_owned();
    let onion = "http://2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion/".to_owned();
    let all = [&good, &missing, &html, &large, &slow, &wrong, &onion];
    let sources = all.into_iter().cloned().collect();
    let (context, store, _stop) = world(Tables { sources, ..Tables::default() });
    let report = Finder::default().cycle(&context).await.unwrap();
    let tables = store.0.lock().unwrap();
    let keys: Vec<_> = tables.candidates.iter().map(|(url, source)| (url.as_str(), source.as_str())).collect();
    assert_eq!(keys, [("wss://a.nos.lol", "api"), ("wss://b.nos.lol", "api")]);
    assert_eq!(tables.done.get(&good), Some(&None));
    for (url, reason) in [
        (&missing, "http: status 404"),
        (&html, "json: an HTML or XML page"),
        (&large, "oversize: "),
        (&slow, "timeout: "),
        (&wrong, "http: HTTP: no http or https URL"),
        (&onion, "network_off: "),
    ] {
        let error = tables.done.get(url).unwrap().clone().unwrap();
        assert!(error.starts_with(reason), "{url}: {error}");
    }
    assert_eq!((report.detail["sources"].as_u64(), report.detail["failed_sources"].as_u64()), (Some(7), Some(6)));
}

#[tokio::test]
async fn a_worker_that_leaves_does_not_wait_for_an_api_and_it_is_made_due_again() {
    let slow = api(http("200 OK", "[]"), Duration::from_secs(30)).await;
    let (context, store, stop) = world(Tables { sources: [slow].into(), ..Tables::default() });
    let finder = Arc::new(Finder::default());
    let (service, inner) = (finder.clone(), context.clone());
    let task = tokio::spawn(async move { service.cycle(&inner).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    stop.send_replace(true);
    tokio::time::timeout(Duration::from_millis(300), task).await.unwrap().unwrap().unwrap();
    assert!(store.0.lock().unwrap().done.is_empty());
    stop.send_replace(false);
    finder.cycle(&context).await.unwrap();
    assert_eq!(store.0.lock().unwrap().releases, 2);
}

/// An HTTP server that does this with every connection once the request has come.
async fn server<F, Fut>(serve: F) -> String
where
    F: Fn(tokio::net::TcpStream) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/relays.json", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            tokio::spawn(serve(stream));
        }
    });
    url
}

#[tokio::test]
async fn hostile_apis_cost_a_time_limit_at_most() {
    let now = Duration::ZERO;
    let drip = |head: &'static str, every: Duration| {
        server(move |mut stream| async move {
            let _ = stream.write_all(head.as_bytes()).await;
            while stream.write_all(b" ").await.is_ok() {
                tokio::time::sleep(every).await;
            }
        })
    };
    // A byte at a time, for ever: of the body, of the head, of a chunk.
    let slow_body = drip("HTTP/1.1 200 OK\r\nContent-Length: 4000000\r\n\r\n", Duration::from_millis(20)).await;
    let slow_head = drip("HTTP/1.1 200 OK\r\nX:", Duration::from_millis(20)).await;
    let slow_chunk =
        drip("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n", Duration::from_millis(20)).await;
    let silent = server(|stream| async move {
        tokio::time::sleep(Duration::from_secs(30)).await;
        drop(stream);
    })
    .await;
    let endless = server(|mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n[").await;
        while stream.write_all(&[b' '; 65_536]).await.is_ok() {}
    })
    .await;
    let zipped = api("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n[]".into(), now).await;
    let cut = api("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[\"wss://a.nos.lol\"".into(), now).await;
    let nul = api(http("200 OK", "[\"a\0b\"]"), now).await;
    let deep = api(http("200 OK", &"[".repeat(100_000)), now).await;
    let around = api("HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n".into(), now).await;
    let away = api("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.2/\r\nContent-Length: 0\r\n\r\n".into(), now).await;
    let metadata = api("HTTP/1.1 307 X\r\nLocation: http://169.254.169.254/latest\r\n\r\n".into(), now).await;
    let file = api("HTTP/1.1 301 X\r\nLocation: file:///etc/passwd\r\n\r\n".into(), now).await;
    let nonsense = api("SSH-2.0-OpenSSH_9.2\r\n".into(), now).await;
    let wanted = [
        (slow_body, "timeout: "),
        (slow_head, "timeout: "),
        (slow_chunk, "timeout: "),
        (silent, "timeout: "),
        (endless, "oversize: "),
        (zipped, "http: encoded as gzip, which was not asked for"),
        (cut, "tcp: connection lost"),
        (nul, "json: binary"),
        (deep, "json: nested deeper than 32 levels"),
        (around, "http: HTTP: more than 3 redirects"),
        (away, "http: HTTP: redirect"),
        (metadata, "http: HTTP: redirect"),
        (file, "http: HTTP: redirect"),
        (nonsense, "http: "),
    ];
    let sources = wanted.iter().map(|(url, _)| url.clone()).collect();
    let (context, store, _stop) = world(Tables { sources, ..Tables::default() });
    let cycle = tokio::time::timeout(Duration::from_secs(20), async { Finder::default().cycle(&context).await });
    let report = cycle.await.expect("four of them at a time, half a second each").unwrap();
    let tables = store.0.lock().unwrap();
    for (url, reason) in &wanted {
        let error = tables.done.get(url).unwrap().clone().unwrap_or_default();
        assert!(error.starts_with(reason), "{reason} {error}");
        assert_eq!(tables.counts.get(url), Some(&-1));
    }
    assert_eq!(report.detail["failed_sources"].as_u64(), Some(wanted.len() as u64));
    assert!(tables.candidates.is_empty());
}

#[tokio::test]
async fn what_an_api_lists_is_counted_and_kept_within_the_room() {
    let list: Vec<String> = (0..30).map(|n| format!("wss://r{n}.nos.lol")).collect();
    let good = api(http("200 OK", &serde_json::to_string(&list).unwrap()), Duration::ZERO).await;
    let (context, store, _stop) = world(Tables { sources: [good.clone()].into(), room: 20, ..Tables::default() });
    let report = Finder::default().cycle(&context).await.unwrap();
    assert_eq!(report.detail["source_urls"], 30);
    assert_eq!((report.detail["source_new"].as_u64(), report.detail["over_limit"].as_u64()), (Some(20), Some(10)));
    let tables = store.0.lock().unwrap();
    assert_eq!((tables.counts.get(&good), tables.candidates.len()), (Some(&30), 20));
}

#[tokio::test]
async fn the_room_is_that_of_all_calls_together() {
    let events = (0..50)
        .map(|n| {
            let tags: Vec<_> = (0..100).map(|m| vec!["r".to_owned(), format!("wss://r{n}x{m}.nos.lol")]).collect();
            (1, serde_json::to_string(&tags).unwrap(), String::new())
        })
        .collect();
    let (context, store, _stop) = world(Tables { events, room: 1_500, ..Tables::default() });
    let report = Finder::default().cycle(&context).await.unwrap();
    assert_eq!((report.detail["new"].as_u64(), report.detail["over_limit"].as_u64()), (Some(1_500), Some(3_500)));
    assert_eq!(store.0.lock().unwrap().candidates.len(), 1_500);
}

#[tokio::test]
async fn every_event_is_counted_once_also_when_writing_fails() {
    let events = (0..3_000).map(|n| hint(&format!("wss://r{}.nos.lol", n % 3))).collect();
    let (context, store, _stop) = world(Tables { events, too_much: Some(700), ..Tables::default() });
    let finder = Finder::default();
    let mut cycles = 0;
    while store.0.lock().unwrap().watermark < 3_000 {
        let _ = finder.cycle(&context).await;
        cycles += 1;
        assert!(cycles < 200, "it does not get through");
    }
    assert_eq!(store.0.lock().unwrap().mentions.values().copied().collect::<Vec<_>>(), [1_000; 3]);
}
