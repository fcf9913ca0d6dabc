//! The disk guard: pauses before the archive fills somebody's disk.

use std::time::{Duration, Instant};

use bigbrotr_core::log::Level;
use bigbrotr_core::{Config, Context, ServiceError};

/// How often the sizes are looked at.
const LOOK: Duration = Duration::from_secs(5);

const SIZES: &str = "SELECT bigbrotr.archive_size(), bigbrotr.disk_free()";

/// Remembers the last look.
#[derive(Default)]
pub struct DiskGuard {
    looked: Option<Instant>,
    verdict: Option<String>,
}

impl DiskGuard {
    /// Why archiving must pause now, in words. None: it need not.
    pub async fn pause(&mut self, context: &Context, config: &Config) -> Result<Option<String>, ServiceError> {
        if self.looked.is_none_or(|looked| looked.elapsed() > LOOK) {
            let rows = context.store.call(SIZES, Vec::new()).await?;
            let (size, free) = match rows.first() {
                Some(row) => (row.bigint(0)?.unsigned_abs(), row.bigint(1)?.unsigned_abs()),
                None => (0, u64::MAX),
            };
            let verdict = judge(size, free, config);
            if verdict.is_some() != self.verdict.is_some() {
                let line = verdict
                    .as_ref()
                    .map_or_else(|| "archiving goes on".to_owned(), |reason| format!("archiving is paused: {reason}"));
                context.log.write(Level::Warning, line);
            }
            self.verdict = verdict;
            self.looked = Some(Instant::now());
        }
        Ok(self.verdict.clone())
    }
}

fn judge(size: u64, free: u64, config: &Config) -> Option<String> {
    let mb = |bytes: u64| bytes >> 20;
    if let Some(limit) = config.archive_max_size.filter(|limit| size >= *limit) {
        return Some(format!("the archive has {} MB, bigbrotr.archive_max_size is {} MB", mb(size), mb(limit)));
    }
    let limit = config.min_disk_free.filter(|limit| free < *limit)?;
    Some(format!("{} MB are free on the disk, bigbrotr.min_disk_free is {} MB", mb(free), mb(limit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_pauses_and_zero_does_not() {
        let config = Config { archive_max_size: Some(100 << 20), min_disk_free: Some(50 << 20), ..Config::default() };
        assert_eq!(judge(0, u64::MAX, &config), None);
        assert!(judge(100 << 20, u64::MAX, &config).is_some_and(|reason| reason.contains("archive_max_size")));
        assert!(judge(0, 49 << 20, &config).is_some_and(|reason| reason.contains("min_disk_free")));
        let unlimited = Config { archive_max_size: None, min_disk_free: None, ..Config::default() };
        assert_eq!(judge(u64::MAX, 0, &unlimited), None);
    }
}
