//! The monitor: watches the health of relays. A pool of checks runs continuously; a cycle is a stretch of its work.

mod batch;
mod check;
#[doc(hidden)] // for the fuzz targets
pub mod document;
mod pool;
mod reading;
mod report;
mod settings;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bigbrotr_core::{BoxFuture, Config, Context, CycleReport, Next, Service, ServiceError, ServiceKind};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::pool::Pool;
use crate::settings::Settings;

/// A cycle reports at least so often while the pool is never empty.
const LONGEST_CYCLE: Duration = Duration::from_secs(30);
/// Pause between two looks for relays that are due.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Pause between two claims while checks run and nothing more was due.
const CLAIM_PAUSE: Duration = Duration::from_secs(1);

const RELEASE: &str = "SELECT bigbrotr.release_checks()";
const CHECK_NOW: &str = "SELECT bigbrotr.check_now()";

/// The service.
#[derive(Debug, Default)]
pub struct Monitor {
    state: Mutex<State>,
}

/// What outlives a cycle: checks that were under way when it ended go on.
#[derive(Debug, Default)]
struct State {
    /// Whether the leases of a predecessor that crashed are released.
    entered: bool,
    config: Option<Arc<Config>>,
    settings: Option<Arc<Settings>>,
    pool: Pool,
}

impl State {
    /// The settings for this cycle; the dialer is made anew only when something changed.
    fn settings(&mut self, config: Arc<Config>) -> Arc<Settings> {
        match &self.settings {
            Some(settings) if self.config.as_ref() == Some(&config) => settings.clone(),
            _ => {
                let settings = Arc::new(Settings::new(&config));
                self.config = Some(config);
                self.settings = Some(settings.clone());
                settings
            }
        }
    }
}

impl Service for Monitor {
    fn kind(&self) -> ServiceKind {
        ServiceKind::Monitor
    }

    fn cycle<'a>(&'a self, context: &'a Context) -> BoxFuture<'a, Result<CycleReport, ServiceError>> {
        Box::pin(async move {
            let mut state = self.state.lock().await;
            run(&mut state, context).await
        })
    }

    fn interval(&self, config: &Config) -> Duration {
        config.monitor_interval.clamp(Duration::from_secs(1), LONGEST_PAUSE)
    }
}

async fn run(state: &mut State, context: &Context) -> Result<CycleReport, ServiceError> {
    let mut changes = context.config.clone();
    let config = changes.borrow_and_update().clone();
    let pause = Next::After(config.monitor_interval.clamp(Duration::from_secs(1), LONGEST_PAUSE));
    if !state.entered {
        context.store.call(RELEASE, Vec::new()).await?;
        state.entered = true;
    }
    let settings = state.settings(config);
    let pool = &mut state.pool;
    let started = Instant::now();
    let mut next_claim = started;
    let (mut is_idle, mut is_changed) = (false, false);
    let failure = loop {
        if context.take_asked() {
            if let Err(error) = context.store.call(CHECK_NOW, Vec::new()).await {
                break Some(error);
            }
            next_claim = Instant::now();
        }
        let now = Instant::now();
        if now >= next_claim && settings.has_work() && pool.wants_more(&settings) && !context.memory.is_tight() {
            match pool.claim(&settings, context).await {
                Ok(true) => {}
                Ok(false) => next_claim = Instant::now() + CLAIM_PAUSE,
                Err(error) => break Some(error),
            }
        }
        if let Err(error) = pool.record(&settings, context).await {
            break Some(error);
        }
        context.progress.set_activity(format!("checking {} relays", pool.under_way()));
        if pool.is_idle() && (next_claim > now || !settings.has_work()) {
            is_idle = true;
            break None;
        }
        if context.is_shutting_down() || started.elapsed() >= LONGEST_CYCLE || is_changed {
            break None;
        }
        let wake_at = [Some(now + CLAIM_PAUSE), Some(next_claim).filter(|at| *at > now), pool.batch_due()];
        let wake_at = wake_at.into_iter().flatten().min().unwrap_or(now);
        tokio::select! {
            () = pool.advance(context) => {}
            () = tokio::time::sleep_until(wake_at) => {}
            () = context.until_shutdown() => {}
            _ = changes.changed() => is_changed = true,
        }
    };
    // What is finished is written also when the cycle ends early.
    let flushed = pool.flush(&settings, context).await;
    if let Some(error) = failure {
        return Err(error.into());
    }
    flushed?;
    let report = pool.take_report();
    Ok(CycleReport {
        items: report.checked,
        detail: report.detail(),
        next: if is_idle { pause } else { Next::Now },
        record: report.is_worth_a_row(),
    })
}
