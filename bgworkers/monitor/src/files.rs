//! The GeoIP files: read again within a minute when they change.

use std::sync::Arc;
use std::time::Duration;

use bigbrotr_core::log::Level;
use bigbrotr_core::{Config, Context};
use bigbrotr_utils::GeoIp;
use bigbrotr_utils::geoip::Notice;
use tokio::time::{Instant, timeout};

use crate::settings::geo_files;

/// Pause between two looks at the files.
const PAUSE: Duration = Duration::from_secs(60);

/// Longest wait for them: a disk of the network may be gone.
const LONGEST: Duration = Duration::from_secs(30);

/// The files in use.
#[derive(Debug, Default)]
pub struct Files {
    geo: Option<Arc<GeoIp>>,
    /// The settings they are of.
    of: Option<Key>,
    looked: Option<Instant>,
}

/// The paths of what is read.
type Key = (Option<String>, Option<String>);

impl Files {
    /// The files in use.
    pub fn geo(&self) -> Option<Arc<GeoIp>> {
        self.geo.clone()
    }

    /// Reads what changed, if it is time to look or `now`. True: a check may have become possible or impossible.
    pub async fn look(&mut self, config: &Config, now: bool, context: &Context) -> bool {
        if !now && self.looked.is_some_and(|at| at.elapsed() < PAUSE) {
            return false;
        }
        let wanted = geo_files(config);
        let key = wanted.paths();
        if self.of.as_ref() != Some(&key) {
            self.geo = Some(Arc::new(wanted));
            self.of = Some(key);
        }
        self.looked = Some(Instant::now());
        let Some(geo) = self.geo.clone() else { return false };
        let before = (geo.has_city().is_ok(), geo.has_asn().is_ok());
        let (files, memory) = (geo.clone(), context.memory.clone());
        let read = tokio::task::spawn_blocking(move || files.refresh(|bytes| memory.has_room_for(bytes)));
        let notices = match timeout(LONGEST, read).await {
            Ok(Ok(notices)) => notices,
            Err(_) => vec![Notice::Failed(format!("could not be read within {} s", LONGEST.as_secs()))],
            Ok(Err(error)) => vec![Notice::Failed(format!("a GeoIP file could not be read: {error}"))],
        };
        for notice in notices {
            match notice {
                Notice::Loaded(line) => context.log.write(Level::Log, format!("GeoIP file {line}")),
                Notice::Failed(line) => context.log.write(Level::Warning, format!("GeoIP file {line}")),
            }
        }
        before != (geo.has_city().is_ok(), geo.has_asn().is_ok())
    }
}
