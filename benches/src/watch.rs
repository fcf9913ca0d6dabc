//! What a worker's process holds, from /proc.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use bigbrotr_tests::cluster::rss_anon;
use tokio_postgres::Client;

/// The process of a service, once it is there.
pub async fn pid(client: &Client, service: &str) -> u32 {
    let sql = "SELECT pid FROM bigbrotr.stat_workers WHERE service = $1 AND pid IS NOT NULL";
    loop {
        if let Some(row) = client.query_opt(sql, &[&service]).await.expect("workers") {
            return row.get::<_, i32>(0).unsigned_abs();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Descriptors a process has open.
pub fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map(Iterator::count).unwrap_or(0)
}

/// The highest RssAnon of a process while this value lives, looked at every 10 ms by a thread of its own.
pub struct Peak {
    bytes: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
}

impl Peak {
    /// Begins to look.
    pub fn of(pid: u32) -> Self {
        let (bytes, ended) = <(Arc<AtomicU64>, Arc<AtomicBool>)>::default();
        let (highest, stop) = (bytes.clone(), ended.clone());
        thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                highest.fetch_max(rss_anon(pid).unwrap_or(0), Ordering::Relaxed);
                thread::sleep(Duration::from_millis(10));
            }
        });
        Self { bytes, ended }
    }

    /// The highest so far, in MB.
    pub fn megabytes(&self) -> f64 {
        self.bytes.load(Ordering::Relaxed) as f64 / f64::from(1 << 20)
    }
}

impl Drop for Peak {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

/// `met` or `MISSED`, for a target.
pub fn verdict(is_met: bool) -> &'static str {
    if is_met { "met" } else { "MISSED" }
}
