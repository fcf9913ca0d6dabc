//! How far it is: one screen that is drawn again and again on a terminal, else now and then a line.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

use tokio_postgres::{Client, Error};

const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const PLAIN: &str = "\x1b[0m";
/// Columns of the coverage bar.
const BAR: usize = 20;

/// The state of the observatory at one moment, as its own views tell it.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// service, state, activity, last error.
    pub workers: Vec<(String, String, String, Option<String>)>,
    /// URL, online, events seen there, share of what is wanted that is complete.
    pub relays: Vec<(String, Option<bool>, i64, Option<f64>)>,
    /// URLs that are no relay yet.
    pub candidates: i64,
    /// Distinct events archived.
    pub events: i64,
    /// Event–relay pairs archived.
    pub sightings: i64,
    /// Relays, in any state.
    pub relay_count: i64,
    /// Relays all of whose wanted events are known to be archived.
    pub complete: i64,
}

impl Progress {
    /// Asks the database, for at most `relays` relays, those with most events.
    ///
    /// # Errors
    /// If a query fails, for example because the extension is being created.
    pub async fn read(client: &Client, relays: i64) -> Result<Self, Error> {
        let workers = "SELECT service, state, activity, CASE WHEN state = 'backoff' THEN last_error END
                       FROM bigbrotr.stat_workers WHERE database = current_database() 
                       ORDER BY array_position('{seeder,finder,validator,monitor,synchronizer,refresher}', service), worker";
        let workers = client.query(workers, &[]).await?;
        let status = "SELECT url, online, event_count, coverage FROM bigbrotr.relay_status ORDER BY event_count DESC, url LIMIT $1";
        let status = client.query(status, &[&relays]).await?;
        // The sequence, not a count: this is asked every second, of archives of any size.
        let totals = "SELECT (SELECT count(*) FROM bigbrotr.candidate),
                             (SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM bigbrotr.event_seq),
                             (SELECT coalesce(sum(n), 0)::bigint FROM bigbrotr.sighting),
                             (SELECT count(*) FROM bigbrotr.relay),
                             (SELECT count(*) FROM bigbrotr.coverage_gap WHERE isempty(gap))";
        let totals = client.query_one(totals, &[]).await?;
        Ok(Self {
            workers: workers.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect(),
            relays: status.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect(),
            candidates: totals.get(0),
            events: totals.get(1),
            sightings: totals.get(2),
            relay_count: totals.get(3),
            complete: totals.get(4),
        })
    }

    /// In one line.
    pub fn line(&self) -> String {
        let mut busy: Vec<_> =
            self.workers.iter().filter(|worker| worker.1 == "running").map(|worker| worker.0.as_str()).collect();
        busy.dedup();
        let busy = if busy.is_empty() { "nobody".to_owned() } else { busy.join(", ") };
        format!("{}   at work: {busy}", self.counts())
    }

    /// The totals.
    pub fn counts(&self) -> String {
        format!(
            "{:>4} candidates {:>4} relays {:>9} events {:>9} sightings {:>4} complete",
            self.candidates, self.relay_count, self.events, self.sightings, self.complete
        )
    }

    fn screen(&self, title: &str, elapsed: Duration) -> String {
        let mut text = String::new();
        let seconds = elapsed.as_secs();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{BOLD}{title}{PLAIN}   {:02}:{:02}", seconds / 60, seconds % 60);
        let _ = writeln!(
            text,
            "{} candidates, {} relays ({} complete), {BOLD}{} events{PLAIN}, {} sightings\n",
            self.candidates, self.relay_count, self.complete, self.events, self.sightings
        );
        let _ = writeln!(text, "{DIM}{:<14}{:<10}doing{PLAIN}", "worker", "state");
        for (service, state, activity, error) in &self.workers {
            let doing = error.as_deref().unwrap_or(activity);
            let _ = writeln!(text, "{service:<14}{state:<10}{doing}");
        }
        let _ = writeln!(text, "\n{DIM}{:<32}{:<8}{:>9}  coverage{PLAIN}", "relay", "online", "events");
        for (url, online, events, coverage) in &self.relays {
            let online = online.map_or("", |online| if online { "yes" } else { "no" });
            let filled = (coverage.unwrap_or(0.0).clamp(0.0, 1.0) * BAR as f64) as usize;
            let bar = "█".repeat(filled) + &"·".repeat(BAR - filled);
            let share = coverage.map_or(String::new(), |share| format!("{:.1} %", (share * 1000.0).floor() / 10.0));
            let _ = writeln!(text, "{url:<32}{online:<8}{events:>9}  {bar} {share}");
        }
        text
    }
}

/// Where progress is shown: standard output.
pub struct Screen {
    title: String,
    started: Instant,
    is_terminal: bool,
    drawn: usize,
    last: Option<(Instant, String)>,
    pause: Duration,
}

impl Screen {
    /// Without a terminal, a line is printed when something changed and `pause` has passed.
    pub fn new(title: &str, pause: Duration) -> Self {
        let is_terminal = io::stdout().is_terminal();
        Self { title: title.to_owned(), started: Instant::now(), is_terminal, drawn: 0, last: None, pause }
    }

    /// Shows the state; a later call replaces it.
    pub fn show(&mut self, progress: &Progress) {
        let mut out = io::stdout().lock();
        // Nobody looks when standard output is closed.
        let _ = if self.is_terminal {
            let screen = progress.screen(&self.title, self.started.elapsed());
            let back = if self.drawn > 0 { format!("\x1b[{}A", self.drawn) } else { String::new() };
            self.drawn = screen.lines().count();
            // A line that wrapped would be two: no wrapping while it is drawn.
            write!(out, "{back}\x1b[J\x1b[?7l{screen}\x1b[?7h")
        } else {
            let line = progress.line();
            let is_due = |(at, shown): &(Instant, String)| at.elapsed() >= self.pause && *shown != line;
            if !self.last.as_ref().is_none_or(is_due) {
                return;
            }
            let written = writeln!(out, "{:>4} s {line}", self.started.elapsed().as_secs());
            self.last = Some((Instant::now(), line));
            written
        };
        let _ = out.flush();
    }
}
