//! The GeoIP files: read again within a minute when they change.

use std::sync::Arc;
use std::time::Duration;

use bigbrotr_core::log::Level;
use bigbrotr_core::{Config, Context};
use bigbrotr_utils::GeoIp;
use bigbrotr_utils::geoip::Notice;
use tokio::time::Instant;

use crate::settings::geo_files;

/// Pause between two looks at the files.
const PAUSE: Duration = Duration::from_secs(60);

/// The files in use.
#[derive(Debug, Default)]
pub struct Files {
    geo: Option<Arc<GeoIp>>,
    /// The settings they are of.
    of: Option<Key>,
    looked: Option<Instant>,
}

/// What decides which files are read.
type Key = (Option<String>, Option<String>, Vec<String>);

impl Files {
    /// The files in use.
    pub fn geo(&self) -> Option<Arc<GeoIp>> {
        self.geo.clone()
    }

    /// Reads what changed, if it is time to look. True: a check may have become possible or impossible.
    pub async fn look(&mut self, config: &Config, context: &Context) -> bool {
        let key = (config.geoip_city_file.clone(), config.geoip_asn_file.clone(), config.monitor_checks.clone());
        if self.of.as_ref() == Some(&key) && self.looked.is_some_and(|at| at.elapsed() < PAUSE) {
            return false;
        }
        if self.of.as_ref() != Some(&key) {
            self.geo = Some(Arc::new(geo_files(config)));
            self.of = Some(key);
        }
        self.looked = Some(Instant::now());
        let Some(geo) = self.geo.clone() else { return false };
        let before = (geo.has_city().is_ok(), geo.has_asn().is_ok());
        let (files, memory) = (geo.clone(), context.memory.clone());
        let read = tokio::task::spawn_blocking(move || files.refresh(|bytes| memory.has_room_for(bytes)));
        let notices = match read.await {
            Ok(notices) => notices,
            Err(error) => vec![Notice::Failed(format!("a GeoIP file could not be read: {error}"))],
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
