-- The statistics, under the names and columns analysts know from BigBrotr. Exact, over everything archived (all versions,
-- nothing hidden). Distinct counts are two steps: hashing the distinct pairs first is many times faster than the sort of
-- every event that count(DISTINCT …) alone would need.

CREATE FUNCTION bigbrotr.kind_category(kind integer) RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE
  AS $$ SELECT CASE
    WHEN kind IN (0, 3) OR kind BETWEEN 10000 AND 19999 THEN 'replaceable'
    WHEN kind BETWEEN 20000 AND 29999 THEN 'ephemeral'
    WHEN kind BETWEEN 30000 AND 39999 THEN 'addressable'
    ELSE 'regular'
  END $$;
COMMENT ON FUNCTION bigbrotr.kind_category(integer) IS
  'Class of a kind (NIP-01): regular, replaceable, ephemeral or addressable. Kinds no range names count as regular.';

CREATE VIEW bigbrotr.relay_metadata_latest AS
SELECT r.url AS relay_url, t.type AS metadata_type, l.last_seen_at AS generated_at, l.metadata_id, m.data
FROM bigbrotr.relay AS r
CROSS JOIN pg_catalog.unnest(pg_catalog.enum_range(NULL::bigbrotr.metadata_type)) AS t(type)
CROSS JOIN LATERAL (
  SELECT x.metadata_id, x.last_seen_at
  FROM bigbrotr.relay_metadata AS x
  WHERE x.relay_id = r.id AND x.type = t.type
  ORDER BY x.first_seen_at DESC
  LIMIT 1
) AS l
JOIN bigbrotr.metadata AS m ON m.id = l.metadata_id AND m.type = t.type;
COMMENT ON VIEW bigbrotr.relay_metadata_latest IS 'The newest document of each type of each relay.';
COMMENT ON COLUMN bigbrotr.relay_metadata_latest.relay_url IS 'relay.url.';
COMMENT ON COLUMN bigbrotr.relay_metadata_latest.metadata_type IS 'Which check it came from.';
COMMENT ON COLUMN bigbrotr.relay_metadata_latest.generated_at IS 'The last check that gave it.';
COMMENT ON COLUMN bigbrotr.relay_metadata_latest.metadata_id IS 'metadata.id.';
COMMENT ON COLUMN bigbrotr.relay_metadata_latest.data IS 'The document.';

CREATE VIEW bigbrotr.event_stats AS
SELECT
  a.event_count,
  (SELECT pg_catalog.count(*) FROM (SELECT DISTINCT p.author_id FROM bigbrotr.stored_event AS p) AS d) AS unique_pubkeys,
  a.unique_kinds,
  a.earliest_event_timestamp,
  a.latest_event_timestamp,
  a.regular_event_count,
  a.replaceable_event_count,
  a.ephemeral_event_count,
  a.addressable_event_count,
  w.event_count_last_1h,
  w.event_count_last_24h,
  w.event_count_last_7d,
  w.event_count_last_30d,
  CASE
    WHEN a.event_count = 0 THEN 0::numeric
    ELSE pg_catalog.round(
      a.event_count::numeric / GREATEST((a.latest_event_timestamp::numeric - a.earliest_event_timestamp::numeric) / 86400, 1::numeric), 2)
  END AS events_per_day
FROM (
  SELECT
    COALESCE(pg_catalog.sum(k.n), 0)::bigint AS event_count,
    pg_catalog.count(*) AS unique_kinds,
    pg_catalog.min(k.earliest) AS earliest_event_timestamp,
    pg_catalog.max(k.latest) AS latest_event_timestamp,
    COALESCE(pg_catalog.sum(k.n) FILTER (WHERE k.category = 'regular'), 0)::bigint AS regular_event_count,
    COALESCE(pg_catalog.sum(k.n) FILTER (WHERE k.category = 'replaceable'), 0)::bigint AS replaceable_event_count,
    COALESCE(pg_catalog.sum(k.n) FILTER (WHERE k.category = 'ephemeral'), 0)::bigint AS ephemeral_event_count,
    COALESCE(pg_catalog.sum(k.n) FILTER (WHERE k.category = 'addressable'), 0)::bigint AS addressable_event_count
  FROM (
    SELECT bigbrotr.kind_category(e.kind) AS category, pg_catalog.count(*) AS n,
           pg_catalog.min(e.created_at) AS earliest, pg_catalog.max(e.created_at) AS latest
    FROM bigbrotr.stored_event AS e
    GROUP BY e.kind
  ) AS k
) AS a
CROSS JOIN (
  SELECT
    pg_catalog.count(*) FILTER (WHERE e.created_at > t.now - 3600) AS event_count_last_1h,
    pg_catalog.count(*) FILTER (WHERE e.created_at > t.now - 86400) AS event_count_last_24h,
    pg_catalog.count(*) FILTER (WHERE e.created_at > t.now - 604800) AS event_count_last_7d,
    pg_catalog.count(e.created_at) AS event_count_last_30d
  FROM (SELECT pg_catalog.floor(EXTRACT(epoch FROM pg_catalog.now()))::bigint AS now) AS t
  LEFT JOIN bigbrotr.stored_event AS e ON e.created_at > t.now - 2592000 AND e.created_at <= t.now
) AS w;
COMMENT ON VIEW bigbrotr.event_stats IS 'The archive in one row.';
COMMENT ON COLUMN bigbrotr.event_stats.event_count IS 'Events archived.';
COMMENT ON COLUMN bigbrotr.event_stats.unique_pubkeys IS 'Authors.';
COMMENT ON COLUMN bigbrotr.event_stats.unique_kinds IS 'Kinds.';
COMMENT ON COLUMN bigbrotr.event_stats.earliest_event_timestamp IS 'Lowest created_at, unix seconds; NULL: no event.';
COMMENT ON COLUMN bigbrotr.event_stats.latest_event_timestamp IS 'Highest created_at, unix seconds, absurd ones included; NULL: no event.';
COMMENT ON COLUMN bigbrotr.event_stats.regular_event_count IS 'Events of regular kinds, kinds no range names included.';
COMMENT ON COLUMN bigbrotr.event_stats.replaceable_event_count IS 'Events of kinds 0, 3 and 10000 to 19999.';
COMMENT ON COLUMN bigbrotr.event_stats.ephemeral_event_count IS 'Events of kinds 20000 to 29999.';
COMMENT ON COLUMN bigbrotr.event_stats.addressable_event_count IS 'Events of kinds 30000 to 39999.';
COMMENT ON COLUMN bigbrotr.event_stats.event_count_last_1h IS 'Events with created_at in the last hour, none from the future.';
COMMENT ON COLUMN bigbrotr.event_stats.event_count_last_24h IS 'The same of 24 hours.';
COMMENT ON COLUMN bigbrotr.event_stats.event_count_last_7d IS 'The same of 7 days.';
COMMENT ON COLUMN bigbrotr.event_stats.event_count_last_30d IS 'The same of 30 days.';
COMMENT ON COLUMN bigbrotr.event_stats.events_per_day IS
  'event_count by the days between earliest and latest, one at least; 0: no event. Absurd dates stretch the days.';

CREATE VIEW bigbrotr.relay_stats AS
SELECT
  r.url AS relay_url,
  r.network,
  r.discovered_at,
  h.first_event_timestamp,
  h.last_event_timestamp,
  c.avg_rtt_open,
  c.avg_rtt_read,
  c.avg_rtt_write,
  h.event_count,
  h.unique_pubkeys,
  h.unique_kinds,
  bigbrotr.json_string(i.data, 'name') AS nip11_name,
  bigbrotr.json_string(i.data, 'software') AS nip11_software,
  bigbrotr.json_string(i.data, 'version') AS nip11_version
FROM bigbrotr.relay AS r
CROSS JOIN LATERAL (
  SELECT
    pg_catalog.min(g.earliest) AS first_event_timestamp,
    pg_catalog.max(g.latest) AS last_event_timestamp,
    COALESCE(pg_catalog.sum(g.n), 0)::bigint AS event_count,
    pg_catalog.count(DISTINCT g.author_id) AS unique_pubkeys,
    pg_catalog.count(DISTINCT g.kind) AS unique_kinds
  FROM (
    SELECT e.author_id, e.kind, pg_catalog.count(*) AS n, pg_catalog.min(e.created_at) AS earliest, pg_catalog.max(e.created_at) AS latest
    FROM bigbrotr.sighting AS s
    CROSS JOIN LATERAL pg_catalog.unnest(bigbrotr.sighting_members(s.members)) AS m(seq)
    JOIN bigbrotr.stored_event AS e ON e.seq = m.seq
    WHERE s.relay_id = r.id
    GROUP BY e.author_id, e.kind
  ) AS g
) AS h
CROSS JOIN LATERAL (
  SELECT
    pg_catalog.round(pg_catalog.avg(k.open_ms)::numeric, 2) AS avg_rtt_open,
    pg_catalog.round(pg_catalog.avg(k.read_ms)::numeric, 2) AS avg_rtt_read,
    pg_catalog.round(pg_catalog.avg(k.write_ms)::numeric, 2) AS avg_rtt_write
  FROM (
    SELECT x.open_ms, x.read_ms, x.write_ms
    FROM bigbrotr.relay_check AS x
    WHERE x.relay_id = r.id
    ORDER BY x.checked_at DESC
    LIMIT 10
  ) AS k
) AS c
LEFT JOIN LATERAL (
  SELECT m.data
  FROM bigbrotr.relay_metadata AS x
  JOIN bigbrotr.metadata AS m ON m.id = x.metadata_id AND m.type = x.type
  WHERE x.relay_id = r.id AND x.type = 'nip11_info'
  ORDER BY x.first_seen_at DESC
  LIMIT 1
) AS i ON true;
COMMENT ON VIEW bigbrotr.relay_stats IS 'What each relay holds, how fast it is and what it says it is; relays without events too.';
COMMENT ON COLUMN bigbrotr.relay_stats.relay_url IS 'relay.url.';
COMMENT ON COLUMN bigbrotr.relay_stats.network IS 'Network the host belongs to.';
COMMENT ON COLUMN bigbrotr.relay_stats.discovered_at IS 'When it first answered us.';
COMMENT ON COLUMN bigbrotr.relay_stats.first_event_timestamp IS 'Lowest created_at seen there, unix seconds; NULL: no event.';
COMMENT ON COLUMN bigbrotr.relay_stats.last_event_timestamp IS 'Highest created_at seen there, unix seconds; NULL: no event.';
COMMENT ON COLUMN bigbrotr.relay_stats.avg_rtt_open IS 'Milliseconds to an open WebSocket, mean of the last ten checks that got there; NULL: none did.';
COMMENT ON COLUMN bigbrotr.relay_stats.avg_rtt_read IS 'Milliseconds from REQ to the first answer, the same way.';
COMMENT ON COLUMN bigbrotr.relay_stats.avg_rtt_write IS 'Milliseconds from EVENT to OK, the same way.';
COMMENT ON COLUMN bigbrotr.relay_stats.event_count IS 'Archived events seen there.';
COMMENT ON COLUMN bigbrotr.relay_stats.unique_pubkeys IS 'Their authors.';
COMMENT ON COLUMN bigbrotr.relay_stats.unique_kinds IS 'Their kinds.';
COMMENT ON COLUMN bigbrotr.relay_stats.nip11_name IS 'name of its newest NIP-11 document, if that is a string.';
COMMENT ON COLUMN bigbrotr.relay_stats.nip11_software IS 'software of that document, likewise.';
COMMENT ON COLUMN bigbrotr.relay_stats.nip11_version IS 'version of that document, likewise.';

CREATE VIEW bigbrotr.kind_counts AS
SELECT g.kind, pg_catalog.sum(g.n)::bigint AS event_count, pg_catalog.count(*) AS unique_pubkeys, bigbrotr.kind_category(g.kind) AS category
FROM (
  SELECT e.kind, e.author_id, pg_catalog.count(*) AS n FROM bigbrotr.stored_event AS e GROUP BY e.kind, e.author_id
) AS g
GROUP BY g.kind;
COMMENT ON VIEW bigbrotr.kind_counts IS 'Events and authors of each kind.';
COMMENT ON COLUMN bigbrotr.kind_counts.kind IS '0 to 65535.';
COMMENT ON COLUMN bigbrotr.kind_counts.event_count IS 'Events of this kind.';
COMMENT ON COLUMN bigbrotr.kind_counts.unique_pubkeys IS 'Their authors.';
COMMENT ON COLUMN bigbrotr.kind_counts.category IS 'regular, replaceable, ephemeral or addressable.';

CREATE VIEW bigbrotr.kind_counts_by_relay AS
SELECT g.kind, g.relay_url, pg_catalog.sum(g.n)::bigint AS event_count, pg_catalog.count(*) AS unique_pubkeys
FROM (
  SELECT e.kind, r.url AS relay_url, e.author_id, pg_catalog.count(*) AS n
  FROM bigbrotr.relay AS r
  JOIN bigbrotr.sighting AS s ON s.relay_id = r.id
  CROSS JOIN LATERAL pg_catalog.unnest(bigbrotr.sighting_members(s.members)) AS m(seq)
  JOIN bigbrotr.stored_event AS e ON e.seq = m.seq
  GROUP BY e.kind, r.url, e.author_id
) AS g
GROUP BY g.kind, g.relay_url;
COMMENT ON VIEW bigbrotr.kind_counts_by_relay IS 'Events and authors of each kind on each relay. Ask for one relay_url: the whole is work.';
COMMENT ON COLUMN bigbrotr.kind_counts_by_relay.kind IS '0 to 65535.';
COMMENT ON COLUMN bigbrotr.kind_counts_by_relay.relay_url IS 'relay.url.';
COMMENT ON COLUMN bigbrotr.kind_counts_by_relay.event_count IS 'Events of this kind seen there.';
COMMENT ON COLUMN bigbrotr.kind_counts_by_relay.unique_pubkeys IS 'Their authors.';

CREATE VIEW bigbrotr.pubkey_counts AS
SELECT
  pg_catalog.encode(a.pubkey, 'hex') AS pubkey,
  pg_catalog.sum(g.n)::bigint AS event_count,
  pg_catalog.count(*) AS unique_kinds,
  pg_catalog.min(g.earliest) AS first_event_timestamp,
  pg_catalog.max(g.latest) AS last_event_timestamp
FROM (
  SELECT e.author_id, e.kind, pg_catalog.count(*) AS n, pg_catalog.min(e.created_at) AS earliest, pg_catalog.max(e.created_at) AS latest
  FROM bigbrotr.stored_event AS e
  GROUP BY e.author_id, e.kind
) AS g
JOIN bigbrotr.author AS a ON a.id = g.author_id
GROUP BY a.id;
COMMENT ON VIEW bigbrotr.pubkey_counts IS 'Events and kinds of each author.';
COMMENT ON COLUMN bigbrotr.pubkey_counts.pubkey IS 'Author, 64 hex digits.';
COMMENT ON COLUMN bigbrotr.pubkey_counts.event_count IS 'Events archived.';
COMMENT ON COLUMN bigbrotr.pubkey_counts.unique_kinds IS 'Their kinds.';
COMMENT ON COLUMN bigbrotr.pubkey_counts.first_event_timestamp IS 'Lowest created_at, unix seconds.';
COMMENT ON COLUMN bigbrotr.pubkey_counts.last_event_timestamp IS 'Highest created_at, unix seconds.';

CREATE VIEW bigbrotr.pubkey_counts_by_relay AS
SELECT
  g.relay_url,
  pg_catalog.encode(a.pubkey, 'hex') AS pubkey,
  pg_catalog.sum(g.n)::bigint AS event_count,
  pg_catalog.count(*) AS unique_kinds,
  pg_catalog.min(g.earliest) AS first_event_timestamp,
  pg_catalog.max(g.latest) AS last_event_timestamp
FROM (
  SELECT r.url AS relay_url, e.author_id, e.kind, pg_catalog.count(*) AS n, pg_catalog.min(e.created_at) AS earliest, pg_catalog.max(e.created_at) AS latest
  FROM bigbrotr.relay AS r
  JOIN bigbrotr.sighting AS s ON s.relay_id = r.id
  CROSS JOIN LATERAL pg_catalog.unnest(bigbrotr.sighting_members(s.members)) AS m(seq)
  JOIN bigbrotr.stored_event AS e ON e.seq = m.seq
  GROUP BY r.url, e.author_id, e.kind
) AS g
JOIN bigbrotr.author AS a ON a.id = g.author_id
GROUP BY g.relay_url, a.id;
COMMENT ON VIEW bigbrotr.pubkey_counts_by_relay IS 'Events and kinds of each author on each relay. Ask for one relay_url: the whole is work.';
COMMENT ON COLUMN bigbrotr.pubkey_counts_by_relay.relay_url IS 'relay.url.';
COMMENT ON COLUMN bigbrotr.pubkey_counts_by_relay.pubkey IS 'Author, 64 hex digits.';
COMMENT ON COLUMN bigbrotr.pubkey_counts_by_relay.event_count IS 'Events seen there.';
COMMENT ON COLUMN bigbrotr.pubkey_counts_by_relay.unique_kinds IS 'Their kinds.';
COMMENT ON COLUMN bigbrotr.pubkey_counts_by_relay.first_event_timestamp IS 'Lowest created_at, unix seconds.';
COMMENT ON COLUMN bigbrotr.pubkey_counts_by_relay.last_event_timestamp IS 'Highest created_at, unix seconds.';

CREATE VIEW bigbrotr.network_stats AS
SELECT
  n.network,
  n.relay_count,
  COALESCE(h.event_count, 0)::bigint AS event_count,
  COALESCE(h.unique_pubkeys, 0) AS unique_pubkeys,
  COALESCE(h.unique_kinds, 0) AS unique_kinds
FROM (SELECT r.network, pg_catalog.count(*) AS relay_count FROM bigbrotr.relay AS r GROUP BY r.network) AS n
LEFT JOIN (
  SELECT g.network, pg_catalog.sum(g.n) AS event_count, pg_catalog.count(DISTINCT g.author_id) AS unique_pubkeys,
         pg_catalog.count(DISTINCT g.kind) AS unique_kinds
  FROM (
    SELECT d.network, e.author_id, e.kind, pg_catalog.count(*) AS n
    FROM (
      SELECT DISTINCT r.network, m.seq
      FROM bigbrotr.relay AS r
      JOIN bigbrotr.sighting AS s ON s.relay_id = r.id
      CROSS JOIN LATERAL pg_catalog.unnest(bigbrotr.sighting_members(s.members)) AS m(seq)
    ) AS d
    JOIN bigbrotr.stored_event AS e ON e.seq = d.seq
    GROUP BY d.network, e.author_id, e.kind
  ) AS g
  GROUP BY g.network
) AS h ON h.network = n.network;
COMMENT ON VIEW bigbrotr.network_stats IS 'Relays of each network that has any, and the distinct events they were seen to hold together.';
COMMENT ON COLUMN bigbrotr.network_stats.network IS 'clearnet, tor, i2p or loki.';
COMMENT ON COLUMN bigbrotr.network_stats.relay_count IS 'Relays, in any state.';
COMMENT ON COLUMN bigbrotr.network_stats.event_count IS 'Distinct events seen on them.';
COMMENT ON COLUMN bigbrotr.network_stats.unique_pubkeys IS 'Their authors.';
COMMENT ON COLUMN bigbrotr.network_stats.unique_kinds IS 'Their kinds.';

CREATE VIEW bigbrotr.relay_software_counts AS
SELECT l.software, l.version, pg_catalog.count(*) AS relay_count
FROM (
  SELECT bigbrotr.json_string(m.data, 'software') AS software, COALESCE(bigbrotr.json_string(m.data, 'version'), 'unknown') AS version
  FROM bigbrotr.relay_metadata_latest AS m
  WHERE m.metadata_type = 'nip11_info'
) AS l
WHERE l.software IS NOT NULL
GROUP BY l.software, l.version;
COMMENT ON VIEW bigbrotr.relay_software_counts IS 'What relays run, by their newest NIP-11 document. Those that do not say are left out.';
COMMENT ON COLUMN bigbrotr.relay_software_counts.software IS 'As the relay writes it.';
COMMENT ON COLUMN bigbrotr.relay_software_counts.version IS 'As the relay writes it; unknown: it does not.';
COMMENT ON COLUMN bigbrotr.relay_software_counts.relay_count IS 'Relays, in any state.';

CREATE VIEW bigbrotr.supported_nip_counts AS
SELECT n.nip, pg_catalog.count(*) AS relay_count
FROM bigbrotr.relay_latest AS l
CROSS JOIN LATERAL pg_catalog.unnest(l.supported_nips) AS n(nip)
GROUP BY n.nip;
COMMENT ON VIEW bigbrotr.supported_nip_counts IS 'How many relays claim each NIP, by their newest NIP-11 document.';
COMMENT ON COLUMN bigbrotr.supported_nip_counts.nip IS 'Number of the NIP.';
COMMENT ON COLUMN bigbrotr.supported_nip_counts.relay_count IS 'Relays, in any state.';

CREATE VIEW bigbrotr.event_daily_counts AS
SELECT
  g.day,
  pg_catalog.sum(g.n)::bigint AS event_count,
  pg_catalog.count(DISTINCT g.author_id) AS unique_pubkeys,
  pg_catalog.count(DISTINCT g.kind) AS unique_kinds
FROM (
  -- The first second of the year 10000 ends what other systems read as a date.
  SELECT CASE WHEN e.created_at BETWEEN 0 AND 253402300799 THEN '1970-01-01'::date + (e.created_at / 86400)::integer END AS day,
         e.author_id, e.kind, pg_catalog.count(*) AS n
  FROM bigbrotr.stored_event AS e
  GROUP BY 1, e.author_id, e.kind
) AS g
GROUP BY g.day;
COMMENT ON VIEW bigbrotr.event_daily_counts IS 'Events, authors and kinds of each day.';
COMMENT ON COLUMN bigbrotr.event_daily_counts.day IS 'Day of created_at, UTC; NULL: all that lie beyond the year 9999.';
COMMENT ON COLUMN bigbrotr.event_daily_counts.event_count IS 'Events of that day.';
COMMENT ON COLUMN bigbrotr.event_daily_counts.unique_pubkeys IS 'Their authors.';
COMMENT ON COLUMN bigbrotr.event_daily_counts.unique_kinds IS 'Their kinds.';

-- IS TRUE for the reason given in visible.sql.
CREATE VIEW bigbrotr.events_replaceable_latest AS
SELECT
  e.seq,
  e.id,
  a.pubkey,
  e.created_at,
  e.kind,
  bigbrotr.body_tags(e.body) AS tags,
  bigbrotr.body_content(e.body) AS content,
  bigbrotr.body_sig(e.body) AS sig,
  bigbrotr.body_raw(e.body, a.pubkey, e.created_at, e.kind) AS raw
FROM bigbrotr.stored_event AS e
JOIN bigbrotr.author AS a ON a.id = e.author_id
WHERE (e.kind IN (0, 3) OR e.kind BETWEEN 10000 AND 19999)
  AND (NOT EXISTS (
    SELECT FROM bigbrotr.stored_event AS n
    WHERE n.author_id = e.author_id AND n.kind = e.kind
      AND (n.kind IN (0, 3) OR n.kind BETWEEN 10000 AND 19999)
      AND n.created_at >= e.created_at AND (n.created_at > e.created_at OR n.id < e.id))) IS TRUE;
COMMENT ON VIEW bigbrotr.events_replaceable_latest IS
  'The newest version of each replaceable event, ties by the lowest id (NIP-01), of all archived: deleted or expired ones are not left out.';

CREATE VIEW bigbrotr.events_addressable_latest AS
SELECT
  e.seq,
  e.id,
  a.pubkey,
  e.created_at,
  e.kind,
  bigbrotr.body_tags(e.body) AS tags,
  bigbrotr.body_content(e.body) AS content,
  bigbrotr.body_sig(e.body) AS sig,
  bigbrotr.body_raw(e.body, a.pubkey, e.created_at, e.kind) AS raw,
  bigbrotr.body_d_tag(e.body) AS d_tag
FROM bigbrotr.stored_event AS e
JOIN bigbrotr.author AS a ON a.id = e.author_id
WHERE e.kind BETWEEN 30000 AND 39999
  AND (NOT EXISTS (
    SELECT FROM bigbrotr.stored_event AS n
    WHERE n.author_id = e.author_id AND n.kind = e.kind
      AND n.kind BETWEEN 30000 AND 39999
      AND bigbrotr.tag_hash('d', bigbrotr.body_d_tag(n.body)) = bigbrotr.tag_hash('d', bigbrotr.body_d_tag(e.body))
      AND bigbrotr.body_d_tag(n.body) = bigbrotr.body_d_tag(e.body)
      AND n.created_at >= e.created_at AND (n.created_at > e.created_at OR n.id < e.id))) IS TRUE;
COMMENT ON VIEW bigbrotr.events_addressable_latest IS
  'The newest version of each addressable event, ties by the lowest id (NIP-01), of all archived: deleted or expired ones are not left out.';
COMMENT ON COLUMN bigbrotr.events_addressable_latest.d_tag IS 'Value of the first d tag, empty without one.';

-- The columns both share with event mean the same.
DO $$
DECLARE
  name text;
  note record;
BEGIN
  FOREACH name IN ARRAY ARRAY['events_replaceable_latest', 'events_addressable_latest'] LOOP
    FOR note IN
      SELECT a.attname, pg_catalog.col_description(a.attrelid, a.attnum) AS text
      FROM pg_catalog.pg_attribute AS a
      WHERE a.attrelid = 'bigbrotr.event'::pg_catalog.regclass AND a.attnum > 0 AND NOT a.attisdropped
    LOOP
      EXECUTE pg_catalog.format('COMMENT ON COLUMN bigbrotr.%I.%I IS %L', name, note.attname, note.text);
    END LOOP;
  END LOOP;
END
$$;
