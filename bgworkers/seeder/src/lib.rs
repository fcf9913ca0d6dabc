//! The seeder.

use std::time::Duration;

use bigbrotr_core::{BoxFuture, Config, Context, CycleReport, Next, Service, ServiceError, ServiceKind};

/// The service.
#[derive(Debug, Default)]
pub struct Seeder;

impl Service for Seeder {
    fn kind(&self) -> ServiceKind {
        ServiceKind::Seeder
    }

    fn cycle<'a>(&'a self, context: &'a Context) -> BoxFuture<'a, Result<CycleReport, ServiceError>> {
        let pause = self.interval(&context.config());
        Box::pin(async move {
            Ok(CycleReport { items: 0, detail: serde_json::json!({}), next: Next::After(pause), record: true })
        })
    }

    fn interval(&self, _config: &Config) -> Duration {
        Duration::from_secs(1)
    }
}
