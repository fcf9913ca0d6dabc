//! One worker from outside: its memory, descriptors and CPU time.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bigbrotr_tests::Cluster;
use bigbrotr_tests::cluster::rss_anon;
use tokio_postgres::Client;

use crate::cpu;

/// Between two looks at its memory: what it takes for one burst must not be missed.
const SAMPLE: Duration = Duration::from_millis(10);
/// Until a worker that was switched on is there.
const APPEARS: Duration = Duration::from_secs(30);

/// Looks at a worker until dropped.
pub struct Watch {
    /// Its process.
    pub pid: u32,
    cpu_before: f64,
    peak: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
    sampler: Option<JoinHandle<()>>,
}

impl Watch {
    /// From now on; the worker of this service is waited for until it is idle.
    pub async fn worker(cluster: &Cluster, client: &Client, service: &str) -> Self {
        let idle = format!("SELECT bool_and(state = 'idle') FROM bigbrotr.stat_workers WHERE service = '{service}'");
        cluster.wait_for(client, &idle, APPEARS, "an idle worker").await;
        let row = client
            .query_one("SELECT pid FROM bigbrotr.stat_workers WHERE service = $1 AND pid IS NOT NULL", &[&service])
            .await
            .expect("a worker");
        let pid = row.get::<_, i32>(0).unsigned_abs();
        let (peak, is_over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let sampler = thread::spawn({
            let (peak, is_over) = (peak.clone(), is_over.clone());
            move || {
                while !is_over.load(Ordering::Relaxed) {
                    peak.fetch_max(rss_anon(pid).unwrap_or(0), Ordering::Relaxed);
                    thread::sleep(SAMPLE);
                }
            }
        });
        Self { pid, cpu_before: cpu::process(pid), peak, is_over, sampler: Some(sampler) }
    }

    /// Most RssAnon seen, in bytes.
    pub fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }

    /// RssAnon now, in bytes.
    pub fn memory(&self) -> u64 {
        rss_anon(self.pid).unwrap_or(0)
    }

    /// Open file descriptors now.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid)).map(Iterator::count).unwrap_or(0)
    }

    /// CPU seconds since the watch began.
    pub fn cpu(&self) -> f64 {
        cpu::process(self.pid) - self.cpu_before
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(sampler) = self.sampler.take() {
            let _ = sampler.join();
        }
    }
}
