//! Ways of getting the same rows into `stored_event` with all its indexes: CPU of the server for each.

use bigbrotr_tests::{Cluster, ClusterOptions};
use tokio_postgres::Client;

use crate::before;

/// Rows of one transaction.
const BATCH: usize = 2000;

/// Each path, as the body of a loop over `b`, the number of a batch; `$ROWS` selects its rows in order.
const PATHS: [(&str, &str); 4] = [
    (
        "INSERT row by row",
        "FOR r IN $ROWS LOOP INSERT INTO bigbrotr.stored_event (seq, created_at, author_id, kind, body, id) \
         VALUES (r.seq, r.created_at, r.author_id, r.kind, r.body, r.id); END LOOP;",
    ),
    (
        "INSERT … SELECT FROM unnest(arrays), as archive() does",
        "SELECT array_agg(s.seq), array_agg(s.created_at), array_agg(s.author_id), array_agg(s.kind), array_agg(s.body), array_agg(s.id) \
         INTO seqs, ats, authors, kinds, bodies, ids FROM ($ROWS) AS s; \
         INSERT INTO bigbrotr.stored_event (seq, created_at, author_id, kind, body, id) \
         SELECT * FROM unnest(seqs, ats, authors, kinds, bodies, ids);",
    ),
    (
        "the same, ON CONFLICT DO NOTHING",
        "SELECT array_agg(s.seq), array_agg(s.created_at), array_agg(s.author_id), array_agg(s.kind), array_agg(s.body), array_agg(s.id) \
         INTO seqs, ats, authors, kinds, bodies, ids FROM ($ROWS) AS s; \
         INSERT INTO bigbrotr.stored_event (seq, created_at, author_id, kind, body, id) \
         SELECT * FROM unnest(seqs, ats, authors, kinds, bodies, ids) ON CONFLICT DO NOTHING;",
    ),
    (
        "reading the rows and making the arrays, nothing more",
        "SELECT array_agg(s.seq), array_agg(s.created_at), array_agg(s.author_id), array_agg(s.kind), array_agg(s.body), array_agg(s.id) \
         INTO seqs, ats, authors, kinds, bodies, ids FROM ($ROWS) AS s;",
    ),
];

/// Runs each and prints rows per CPU second, the making of the arrays taken off.
pub async fn run(rows: usize) {
    let cluster = Cluster::start(
        ClusterOptions::preloaded()
            .with("shared_buffers", "512MB")
            .with("max_wal_size", "8GB")
            .with("autovacuum", "off"),
    );
    let client = cluster.connect("postgres").await;
    client.batch_execute("CREATE EXTENSION bigbrotr").await.expect("created");
    before::fill(&client, rows).await;
    client
        .batch_execute("CREATE TABLE public.source AS SELECT * FROM bigbrotr.stored_event ORDER BY seq; CREATE INDEX ON public.source (seq); ANALYZE public.source")
        .await
        .expect("kept");
    let mut seconds = Vec::new();
    for (_, body) in PATHS {
        seconds.push(measure(&cluster, &client, rows, body).await);
    }
    let idle = seconds.last().copied().unwrap_or_default();
    for ((name, _), seconds) in PATHS.iter().zip(&seconds).take(PATHS.len() - 1) {
        println!("{name}: {:.0} rows per CPU second", rows as f64 / (seconds - idle));
    }
    let file = cluster.data().join("source.copy").to_string_lossy().replace('\'', "''");
    client
        .batch_execute(&format!("TRUNCATE bigbrotr.stored_event; COPY public.source TO '{file}' (FORMAT binary)"))
        .await
        .expect("copied out");
    let before = cluster.server_cpu_seconds();
    client
        .batch_execute(&format!("COPY bigbrotr.stored_event FROM '{file}' (FORMAT binary)"))
        .await
        .expect("copied in");
    println!("one COPY of all: {:.0} rows per CPU second", rows as f64 / (cluster.server_cpu_seconds() - before));
}

async fn measure(cluster: &Cluster, client: &Client, rows: usize, body: &str) -> f64 {
    client.batch_execute("TRUNCATE bigbrotr.stored_event; CHECKPOINT").await.expect("emptied");
    let slice = format!(
        "SELECT * FROM public.source AS o WHERE o.seq > b * {BATCH} AND o.seq <= (b + 1) * {BATCH} ORDER BY o.seq"
    );
    let batches = rows.div_ceil(BATCH);
    let procedure = format!(
        "DO $do$ DECLARE r record; seqs bigint[]; ats bigint[]; authors integer[]; kinds integer[]; bodies bytea[]; ids bytea[]; \
         BEGIN FOR b IN 0..{batches} - 1 LOOP {} COMMIT; END LOOP; END $do$",
        body.replace("$ROWS", &slice)
    );
    let before = cluster.server_cpu_seconds();
    client.batch_execute(&procedure).await.expect("loaded");
    cluster.server_cpu_seconds() - before
}
