//! The seeder: puts the URLs the search begins with into `candidate`, then is finished.

mod source;

use std::time::Duration;

use bigbrotr_core::{BoxFuture, Config, Context, CycleReport, Next, Service, ServiceError, ServiceKind, Value};
use serde_json::json;

/// URLs added in one transaction.
const BATCH: usize = 500;
/// The pause after a failure, before back-off: a file that is missing may be there soon.
const RETRY: Duration = Duration::from_secs(5);

const ADD: &str = "SELECT bigbrotr.add_candidates($1, 'seed')";

/// The service.
#[derive(Debug, Default)]
pub struct Seeder;

impl Service for Seeder {
    fn kind(&self) -> ServiceKind {
        ServiceKind::Seeder
    }

    fn cycle<'a>(&'a self, context: &'a Context) -> BoxFuture<'a, Result<CycleReport, ServiceError>> {
        Box::pin(seed(context))
    }

    fn interval(&self, _config: &Config) -> Duration {
        RETRY
    }
}

async fn seed(context: &Context) -> Result<CycleReport, ServiceError> {
    let config = context.config();
    context.progress.set_activity("reading the seed list");
    let (file, policy) = (config.seed_file.clone().filter(|path| !path.is_empty()), config.address_policy);
    let read = move || {
        let text = file.as_deref().map(source::read).transpose()?;
        Ok(source::parse(text.as_deref().unwrap_or(source::BUILT_IN), policy))
    };
    // A file system may hang, and a long list takes a moment of CPU.
    let seeds = tokio::task::spawn_blocking(read).await;
    let seeds = seeds.map_err(|error| ServiceError::Other(error.to_string()))?.map_err(ServiceError::Other)?;

    let urls: Vec<Option<String>> = seeds.urls.iter().map(|url| Some(url.as_str().to_owned())).collect();
    let (mut done, mut new) = (0, 0);
    for batch in urls.chunks(BATCH) {
        if context.is_shutting_down() {
            break;
        }
        context.progress.set_activity(format!("adding seeds: {done} of {}", urls.len()));
        let rows = context.store.call(ADD, vec![Value::TextArray(batch.to_vec())]).await?;
        new += u64::try_from(rows.first().map_or(Ok(0), |row| row.int(0))?).unwrap_or_default();
        done += batch.len();
        context.progress.add_items(batch.len() as u64);
    }
    Ok(CycleReport {
        items: done as u64,
        detail: json!({
            "source": config.seed_file.as_deref().filter(|path| !path.is_empty()).unwrap_or("built-in list"),
            "lines": seeds.lines,
            "urls": seeds.urls.len(),
            "new": new,
            "refused": seeds.refused,
            "refused_examples": seeds.examples,
        }),
        next: Next::Finished,
        record: true,
    })
}

#[cfg(test)]
mod tests;
