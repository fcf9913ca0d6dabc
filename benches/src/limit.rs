//! The limit: every signature once, and a COPY of the same rows into the same tables.

use std::fmt;

use bigbrotr_models::Event;
use bigbrotr_tests::Cluster;
use tokio_postgres::Client;

use crate::cpu;

/// CPU seconds.
pub struct Limit {
    signatures: f64,
    copy: f64,
}

impl Limit {
    /// Both.
    pub fn total(&self) -> f64 {
        self.signatures + self.copy
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "limit: {:.2} CPU s of signature checks + {:.2} CPU s of COPY = {:.2}",
            self.signatures,
            self.copy,
            self.total()
        )
    }
}

/// Measures it for the events of `corpus`, which the archive of `client` holds.
pub async fn measure(cluster: &Cluster, client: &Client, corpus: &[std::sync::Arc<str>]) -> Limit {
    let file = |name: &str| cluster.data().join(name).to_string_lossy().replace('\'', "''");
    let (events, authors, sightings) = (file("events.copy"), file("authors.copy"), file("sightings.copy"));
    client
        .batch_execute(&format!(
            "CREATE TABLE public.event (LIKE bigbrotr.stored_event INCLUDING ALL); CREATE TABLE public.author (LIKE bigbrotr.author INCLUDING ALL); \
             CREATE TABLE public.sighting (LIKE bigbrotr.sighting INCLUDING ALL); \
             COPY (SELECT * FROM bigbrotr.stored_event ORDER BY seq) TO '{events}' (FORMAT binary); COPY bigbrotr.author TO '{authors}' (FORMAT binary); \
             COPY bigbrotr.sighting TO '{sightings}' (FORMAT binary);"
        ))
        .await
        .expect("copied out");
    // Both at once, on as many threads as the synchronizer has: two threads of one core share its units, and a second of CPU
    // time is worth less beside another.
    let parsed: Vec<Event> = corpus.iter().filter_map(|json| Event::from_json(json.as_bytes()).ok()).collect();
    assert_eq!(parsed.len(), corpus.len());
    let half = parsed.len() / 2;
    let parts = [parsed[..half].to_vec(), parsed[half..].to_vec()];
    let checking = parts.map(|events| std::thread::spawn(move || check(&events)));
    let before = cluster.server_cpu_seconds();
    client
        .batch_execute(&format!("COPY public.event FROM '{events}' (FORMAT binary); COPY public.author FROM '{authors}' (FORMAT binary); COPY public.sighting FROM '{sightings}' (FORMAT binary);"))
        .await
        .expect("copied in");
    let copy = cluster.server_cpu_seconds() - before;
    let signatures = checking.into_iter().map(|thread| thread.join().expect("no panic")).sum();
    client.batch_execute("DROP TABLE public.event, public.author, public.sighting").await.expect("dropped");
    Limit { signatures, copy }
}

/// CPU seconds of checking each signature.
fn check(events: &[Event]) -> f64 {
    let before = cpu::thread();
    assert!(events.iter().all(|event| event.check_signature().is_ok()));
    cpu::thread() - before
}
