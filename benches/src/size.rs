//! Bytes by object.

use tokio_postgres::Client;

/// Prints sizes per distinct event and per sighting.
pub async fn print(client: &Client, events: usize, sightings: usize) {
    client.batch_execute("VACUUM bigbrotr.stored_event").await.expect("vacuumed");
    client.batch_execute("VACUUM bigbrotr.sighting").await.expect("vacuumed");
    let rows = client
        .query(
            "SELECT CASE WHEN c.relkind = 't' THEN t.relname || ' (TOAST)' ELSE c.relname::text END, \
                    CASE WHEN c.relkind = 't' THEN pg_total_relation_size(c.oid) ELSE pg_table_size(c.oid) \
                      - coalesce(pg_total_relation_size(nullif(c.reltoastrelid, 0)), 0) END, \
                    t.relname = 'sighting' \
             FROM pg_class AS t \
             JOIN pg_index AS i ON i.indrelid = t.oid \
             JOIN pg_class AS c ON c.oid IN (t.oid, i.indexrelid, t.reltoastrelid) \
             WHERE t.oid IN ('bigbrotr.stored_event'::regclass, 'bigbrotr.author'::regclass, 'bigbrotr.sighting'::regclass) \
             GROUP BY 1, 2, 3 ORDER BY 3, 2 DESC",
            &[],
        )
        .await
        .expect("sizes");
    let (mut total, mut of_sightings) = (0, 0);
    for row in &rows {
        let (name, bytes, is_sighting): (String, i64, bool) = (row.get(0), row.get(1), row.get(2));
        let (divisor, unit) = if is_sighting { (sightings, "sighting") } else { (events, "event") };
        println!("  {name}: {:.1} bytes per {unit}", bytes as f64 / divisor as f64);
        total += bytes;
        of_sightings += if is_sighting { bytes } else { 0 };
    }
    println!("bytes per event, everything: {:.0}", total as f64 / events as f64);
    println!("bytes per sighting: {:.2}", of_sightings as f64 / sightings as f64);
}
