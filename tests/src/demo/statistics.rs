//! The thirteen statistics, each once more: plain SQL over the base tables, written from the contract and not from the
//! views. Slow and simple on purpose.

use tokio_postgres::{Client, Error};

/// A statistic and how many of its rows differ from those of the independent query, in either direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Name of the view.
    pub name: &'static str,
    /// Rows of the view.
    pub rows: i64,
    /// Rows that only one side has.
    pub differing: i64,
}

/// Which relay holds which event, as the archive has it: read once, then used by half of the queries.
const HELD: &str = "
    CREATE TEMPORARY TABLE held ON COMMIT DROP AS
    SELECT r.id AS relay_id, r.url, r.network, e.id, e.pubkey, e.created_at, e.kind
    FROM bigbrotr.event_relay AS x
    JOIN bigbrotr.relay AS r ON r.url = x.relay_url
    JOIN bigbrotr.event AS e ON e.id = x.event_id";

/// The document a relay gave last.
const LATEST: &str = "
    CREATE TEMPORARY TABLE latest ON COMMIT DROP AS
    SELECT DISTINCT ON (m.relay_id, m.type) r.url, m.relay_id, m.type, m.last_seen_at, m.metadata_id, d.data
    FROM bigbrotr.relay_metadata AS m
    JOIN bigbrotr.relay AS r ON r.id = m.relay_id
    JOIN bigbrotr.metadata AS d ON d.id = m.metadata_id AND d.type = m.type
    ORDER BY m.relay_id, m.type, m.last_seen_at DESC, m.first_seen_at DESC";

const CATEGORY: &str =
    "CASE WHEN kind = 0 OR kind = 3 OR kind / 10000 = 1 THEN 'replaceable' WHEN kind / 10000 = 2 THEN 'ephemeral'
                             WHEN kind / 10000 = 3 THEN 'addressable' ELSE 'regular' END";

/// Name of the view, its columns in the order of the query, the query.
const STATISTICS: [(&str, &str, &str); 13] = [
    (
        "relay_metadata_latest",
        "relay_url, metadata_type, generated_at, metadata_id, data",
        "SELECT url, type, last_seen_at, metadata_id, data FROM latest",
    ),
    (
        "event_stats",
        "event_count, unique_pubkeys, unique_kinds, earliest_event_timestamp, latest_event_timestamp, regular_event_count,
         replaceable_event_count, ephemeral_event_count, addressable_event_count, event_count_last_1h, event_count_last_24h,
         event_count_last_7d, event_count_last_30d, events_per_day",
        "SELECT count(*), count(DISTINCT pubkey), count(DISTINCT kind), min(created_at), max(created_at),
                count(*) FILTER (WHERE {category} = 'regular'), count(*) FILTER (WHERE {category} = 'replaceable'),
                count(*) FILTER (WHERE {category} = 'ephemeral'), count(*) FILTER (WHERE {category} = 'addressable'),
                count(*) FILTER (WHERE created_at <= {now} AND {now} - created_at < 60 * 60),
                count(*) FILTER (WHERE created_at <= {now} AND {now} - created_at < 24 * 60 * 60),
                count(*) FILTER (WHERE created_at <= {now} AND {now} - created_at < 7 * 24 * 60 * 60),
                count(*) FILTER (WHERE created_at <= {now} AND {now} - created_at < 30 * 24 * 60 * 60),
                coalesce(round(count(*) / greatest((max(created_at)::numeric - min(created_at)::numeric) / 86400, 1), 2), 0)
         FROM bigbrotr.event",
    ),
    (
        "relay_stats",
        "relay_url, network, discovered_at, first_event_timestamp, last_event_timestamp, avg_rtt_open, avg_rtt_read,
         avg_rtt_write, event_count, unique_pubkeys, unique_kinds, nip11_name, nip11_software, nip11_version",
        "SELECT r.url, r.network, r.discovered_at, min(h.created_at), max(h.created_at),
                (SELECT round(avg(open_ms)::numeric, 2) FROM checks AS c WHERE c.relay_id = r.id AND c.nth <= 10),
                (SELECT round(avg(read_ms)::numeric, 2) FROM checks AS c WHERE c.relay_id = r.id AND c.nth <= 10),
                (SELECT round(avg(write_ms)::numeric, 2) FROM checks AS c WHERE c.relay_id = r.id AND c.nth <= 10),
                count(h.id), count(DISTINCT h.pubkey), count(DISTINCT h.kind),
                d.name, d.software, d.version
         FROM bigbrotr.relay AS r
         LEFT JOIN held AS h ON h.relay_id = r.id
         LEFT JOIN documents AS d ON d.relay_id = r.id
         GROUP BY r.id, d.name, d.software, d.version",
    ),
    (
        "kind_counts",
        "kind, event_count, unique_pubkeys, category",
        "SELECT kind, count(*), count(DISTINCT pubkey), {category} FROM bigbrotr.event GROUP BY kind",
    ),
    (
        "kind_counts_by_relay",
        "kind, relay_url, event_count, unique_pubkeys",
        "SELECT kind, url, count(*), count(DISTINCT pubkey) FROM held GROUP BY kind, url",
    ),
    (
        "pubkey_counts",
        "pubkey, event_count, unique_kinds, first_event_timestamp, last_event_timestamp",
        "SELECT encode(pubkey, 'hex'), count(*), count(DISTINCT kind), min(created_at), max(created_at)
         FROM bigbrotr.event GROUP BY pubkey",
    ),
    (
        "pubkey_counts_by_relay",
        "relay_url, pubkey, event_count, unique_kinds, first_event_timestamp, last_event_timestamp",
        "SELECT url, encode(pubkey, 'hex'), count(*), count(DISTINCT kind), min(created_at), max(created_at)
         FROM held GROUP BY url, pubkey",
    ),
    (
        "network_stats",
        "network, relay_count, event_count, unique_pubkeys, unique_kinds",
        "SELECT r.network, count(DISTINCT r.id), count(DISTINCT h.id), count(DISTINCT h.pubkey), count(DISTINCT h.kind)
         FROM bigbrotr.relay AS r LEFT JOIN held AS h ON h.relay_id = r.id GROUP BY r.network",
    ),
    (
        "relay_software_counts",
        "software, version, relay_count",
        "SELECT software, coalesce(version, 'unknown'), count(*) FROM documents WHERE software IS NOT NULL GROUP BY 1, 2",
    ),
    (
        "supported_nip_counts",
        "nip, relay_count",
        r"SELECT nip, count(DISTINCT relay_id)
          FROM (
            SELECT relay_id, split_part(btrim(n #>> '{}'), '.', 1)::integer AS nip
            FROM documents
            CROSS JOIN LATERAL jsonb_array_elements(
              CASE jsonb_typeof(nips) WHEN 'array' THEN nips ELSE jsonb_build_array(nips) END) AS n
            WHERE nips IS NOT NULL AND jsonb_typeof(n) IN ('number', 'string') AND n #>> '{}' ~ '^\s*0*[0-9]{1,9}(\.0*)?\s*$'
          ) AS claims
          GROUP BY nip",
    ),
    (
        "event_daily_counts",
        "day, event_count, unique_pubkeys, unique_kinds",
        "SELECT CASE WHEN created_at >= 0 AND created_at < 253402300800 THEN (to_timestamp(created_at) AT TIME ZONE 'UTC')::date END,
                count(*), count(DISTINCT pubkey), count(DISTINCT kind)
         FROM bigbrotr.event GROUP BY 1",
    ),
    (
        "events_replaceable_latest",
        "id, pubkey, created_at, kind, tags, content, sig, raw, seq",
        "SELECT DISTINCT ON (pubkey, kind) id, pubkey, created_at, kind, tags, content, sig, raw, seq
         FROM bigbrotr.event WHERE {category} = 'replaceable' ORDER BY pubkey, kind, created_at DESC, id",
    ),
    (
        "events_addressable_latest",
        "id, pubkey, created_at, kind, tags, content, sig, raw, seq, d_tag",
        "SELECT DISTINCT ON (pubkey, kind, d) id, pubkey, created_at, kind, tags, content, sig, raw, seq, d
         FROM bigbrotr.event
         CROSS JOIN LATERAL (
           SELECT coalesce((SELECT t ->> 1 FROM jsonb_array_elements(tags) WITH ORDINALITY AS x (t, place)
                            WHERE t ->> 0 = 'd' ORDER BY place LIMIT 1), '') AS d) AS tag
         WHERE {category} = 'addressable' ORDER BY pubkey, kind, d, created_at DESC, id",
    ),
];

/// The checks of each relay, numbered from the last.
const CHECKS: &str = "
    CREATE TEMPORARY TABLE checks ON COMMIT DROP AS
    SELECT relay_id, open_ms, read_ms, write_ms, row_number() OVER (PARTITION BY relay_id ORDER BY checked_at DESC) AS nth
    FROM bigbrotr.relay_check";

/// What relays say of themselves.
const DOCUMENTS: &str = "
    CREATE TEMPORARY TABLE documents ON COMMIT DROP AS
    SELECT relay_id, data -> 'supported_nips' AS nips,
           CASE WHEN jsonb_typeof(data -> 'name') = 'string' THEN data ->> 'name' END AS name,
           CASE WHEN jsonb_typeof(data -> 'software') = 'string' THEN data ->> 'software' END AS software,
           CASE WHEN jsonb_typeof(data -> 'version') = 'string' THEN data ->> 'version' END AS version
    FROM latest WHERE type = 'nip11_info'";

/// Compares every statistic with its independent query, in one snapshot.
///
/// # Errors
/// If a query fails.
pub async fn compare_statistics(client: &mut Client) -> Result<Vec<Difference>, Error> {
    let transaction = client.build_transaction();
    let transaction = transaction.isolation_level(tokio_postgres::IsolationLevel::RepeatableRead).start().await?;
    for table in [HELD, LATEST, CHECKS, DOCUMENTS] {
        transaction.batch_execute(table).await?;
    }
    transaction.batch_execute("ANALYZE pg_temp.held").await?;
    let mut differences = Vec::new();
    for (name, columns, query) in STATISTICS {
        let query = query.replace("{category}", &format!("({CATEGORY})"));
        let query = query.replace("{now}", "floor(extract(epoch FROM now()))");
        let view = format!("SELECT {columns} FROM bigbrotr.{name}");
        let compare = format!(
            "SELECT (SELECT count(*) FROM ({view}) AS v),
                    (SELECT count(*) FROM ((({view}) EXCEPT ALL ({query})) UNION ALL (({query}) EXCEPT ALL ({view}))) AS d)"
        );
        let row = transaction.query_one(&compare, &[]).await?;
        differences.push(Difference { name, rows: row.get(0), differing: row.get(1) });
    }
    transaction.rollback().await?;
    Ok(differences)
}
