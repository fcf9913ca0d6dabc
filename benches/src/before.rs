//! Rows that are there before: what archiving costs must not depend on how much is archived already.

use tokio_postgres::Client;

/// Rows of one statement.
const STEP: usize = 100_000;

/// Fills the archive with `count` rows of the usual size over the usual three years. Neither ids nor signatures are real;
/// nothing looks at them. Returns when they are on disk, so that the next checkpoint does not count.
pub async fn fill(client: &Client, count: usize) {
    client
        .batch_execute(
            "INSERT INTO bigbrotr.author (pubkey) SELECT sha256(('author ' || n)::bytea) FROM generate_series(1, 20000) AS n",
        )
        .await
        .expect("authors");
    for from in (0..count).step_by(STEP) {
        let to = count.min(from + STEP);
        client
            .batch_execute(&format!(
                "INSERT INTO bigbrotr.stored_event (created_at, author_id, kind, body, id) \
                 SELECT extract(epoch FROM now())::bigint - 3600 - (random() * 94600000)::bigint, 1 + (random() * 19999)::int, \
                        (ARRAY[1, 1, 1, 7, 6, 9735, 1059])[1 + (random() * 6)::int], \
                        bigbrotr.pack_body(k.id, k.id, 0, 1, \
                          format('[[\"e\",\"%s\"],[\"p\",\"%s\"]]', encode(sha256(k.id), 'hex'), encode(sha256(('author ' || n % 20000)::bytea), 'hex')), \
                          left(string_agg, 60 + (random() * random() * 800)::int), k.id || k.id, NULL), \
                        k.id \
                 FROM generate_series({from} + 1, {to}) AS n \
                 CROSS JOIN LATERAL (SELECT sha256(('event ' || n)::bytea) AS id, (SELECT string_agg(encode(sha256(('text ' || n || ' ' || m)::bytea), 'base64'), ' ') FROM generate_series(1, 12) AS m) AS string_agg OFFSET 0) AS k"
            ))
            .await
            .expect("filled");
    }
    client.batch_execute("VACUUM (ANALYZE) bigbrotr.stored_event").await.expect("vacuumed");
    client.batch_execute("CHECKPOINT").await.expect("written");
}
