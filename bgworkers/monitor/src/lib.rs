//! The monitor: watches the health of relays. A pool of checks runs continuously; a cycle is a stretch of its work.

mod batch;
mod check;
mod checks;
mod clock;
#[doc(hidden)] // for the fuzz targets
pub mod document;
mod files;
mod pool;
mod publish;
mod reading;
mod report;
mod settings;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bigbrotr_core::log::Level;
use bigbrotr_core::{BoxFuture, Config, Context, CycleReport, Next, Service, ServiceError, ServiceKind};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::files::Files;
use crate::pool::Pool;
use crate::publish::Publisher;
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
    files: Files,
    /// What the log was last told of checks that are off.
    said: Option<String>,
    pool: Pool,
    publisher: Publisher,
}

impl State {
    /// The settings for this cycle; the dialer is made anew only when something changed.
    async fn settings(&mut self, config: Arc<Config>, context: &Context) -> Arc<Settings> {
        let is_new = self.config.as_ref() != Some(&config);
        let has_news = self.files.look(&config, is_new, context).await;
        match &self.settings {
            Some(settings) if !has_news && !is_new => settings.clone(),
            _ => {
                let settings = Arc::new(Settings::new(&config, self.files.geo()));
                self.tell(&settings, context);
                self.config = Some(config);
                self.settings = Some(settings.clone());
                settings
            }
        }
    }

    /// Says once which checks are off, and why.
    fn tell(&mut self, settings: &Settings, context: &Context) {
        if let Some(trouble) = &settings.key_trouble {
            context.log.write(Level::Warning, trouble.as_str());
        }
        if let Some(trouble) = settings.dialer.without_roots() {
            context.log.write(Level::Warning, trouble);
        }
        let off: Vec<String> = settings.off.iter().map(|(name, reason)| format!("{name} ({reason})")).collect();
        let line = off.join(", ");
        if !off.is_empty() && self.said.as_ref() != Some(&line) {
            let hint = "set what is missing, or take them out of bigbrotr.monitor_checks";
            let hint = if settings.off.contains_key("write") {
                format!("{hint}; bigbrotr.write_check_enabled is for write")
            } else {
                hint.to_owned()
            };
            context.log.write(Level::Log, format!("checks that are off: {line}; {hint}"));
        }
        self.said = Some(line);
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
    state.publisher.keep_running(context);
    let mut changes = context.config.clone();
    let config = changes.borrow_and_update().clone();
    let pause = Next::After(config.monitor_interval.clamp(Duration::from_secs(1), LONGEST_PAUSE));
    if !state.entered {
        context.store.call(RELEASE, Vec::new()).await?;
        state.entered = true;
    }
    let settings = state.settings(config, context).await;
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
        context.progress.set_activity(activity(pool.under_way(), &settings));
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
    if let Some(error) = failure.or(flushed.err()) {
        // What was claimed and not recorded is to be due again.
        state.entered = false;
        return Err(error.into());
    }
    if let Some(complaint) = settings.clocks.complaint() {
        context.log.write(Level::Warning, complaint);
    }
    let report = pool.take_report();
    Ok(CycleReport {
        items: report.checked,
        detail: report.detail(settings.checks, &settings.off),
        next: if is_idle { pause } else { Next::Now },
        record: report.is_worth_a_row(),
    })
}

fn activity(under_way: usize, settings: &Settings) -> String {
    let mut text = format!("checking {under_way} relays");
    if !settings.off.is_empty() {
        let names: Vec<&str> = settings.off.keys().copied().collect();
        text.push_str(&format!(" (off: {})", names.join(", ")));
    }
    text
}
