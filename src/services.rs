//! Which crate serves which service: the one place that names all six.

use std::sync::Arc;

use bigbrotr_core::{Service, ServiceKind};

/// The service of a worker.
pub fn make(kind: ServiceKind) -> Arc<dyn Service> {
    match kind {
        ServiceKind::Seeder => Arc::new(bigbrotr_seeder::Seeder),
        ServiceKind::Finder => Arc::new(bigbrotr_finder::Finder::default()),
        ServiceKind::Validator => Arc::new(bigbrotr_validator::Validator::default()),
        ServiceKind::Monitor => Arc::new(bigbrotr_monitor::Monitor::default()),
        ServiceKind::Synchronizer => Arc::new(bigbrotr_synchronizer::Synchronizer::default()),
        ServiceKind::Refresher => Arc::new(bigbrotr_refresher::Refresher::default()),
    }
}
