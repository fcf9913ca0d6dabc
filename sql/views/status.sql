-- How things stand: relays, coverage, workers.

CREATE VIEW bigbrotr.relay_status AS
SELECT
  r.url,
  r.network,
  r.state,
  c.ok AS online,
  c.checked_at,
  c.open_ms AS rtt_open_ms,
  c.read_ms AS rtt_read_ms,
  c.write_ms AS rtt_write_ms,
  bigbrotr.json_string(i.data, 'name') AS name,
  bigbrotr.json_string(i.data, 'software') AS software,
  bigbrotr.json_string(i.data, 'version') AS version,
  bigbrotr.nip_numbers(i.data -> 'supported_nips') AS supported_nips,
  bigbrotr.json_string(g.data, 'country') AS country,
  h.event_count,
  v.coverage,
  CASE WHEN NOT c.ok THEN COALESCE(pg_catalog.concat_ws(': ', c.error_class, c.error), 'failed') ELSE y.last_error END AS last_error,
  r.discovered_at
FROM bigbrotr.relay AS r
LEFT JOIN bigbrotr.relay_sync AS y ON y.relay_id = r.id
LEFT JOIN LATERAL (
  SELECT x.ok, x.checked_at, x.open_ms, x.read_ms, x.write_ms, x.error_class, x.error
  FROM bigbrotr.relay_check AS x
  WHERE x.relay_id = r.id
  ORDER BY x.checked_at DESC
  LIMIT 1
) AS c ON true
LEFT JOIN LATERAL (
  SELECT m.data
  FROM bigbrotr.relay_metadata AS x
  JOIN bigbrotr.metadata AS m ON m.id = x.metadata_id AND m.type = x.type
  WHERE x.relay_id = r.id AND x.type = 'nip11_info'
  ORDER BY x.first_seen_at DESC
  LIMIT 1
) AS i ON true
LEFT JOIN LATERAL (
  SELECT m.data
  FROM bigbrotr.relay_metadata AS x
  JOIN bigbrotr.metadata AS m ON m.id = x.metadata_id AND m.type = x.type
  WHERE x.relay_id = r.id AND x.type = 'nip66_geo'
  ORDER BY x.first_seen_at DESC
  LIMIT 1
) AS g ON true
CROSS JOIN LATERAL (
  SELECT COALESCE(pg_catalog.sum(s.n), 0)::bigint AS event_count FROM bigbrotr.sighting AS s WHERE s.relay_id = r.id
) AS h
-- The sub-select makes it one hash a query, not one a relay.
CROSS JOIN (SELECT bigbrotr.sync_filter_hash() AS filter_hash, bigbrotr.sync_since() AS since OFFSET 0) AS f
LEFT JOIN LATERAL (
  SELECT COALESCE(pg_catalog.sum(pg_catalog.upper(p.part)::numeric - pg_catalog.lower(p.part)::numeric), 0)::double precision
         / (y.horizon::numeric - f.since::numeric)::double precision AS coverage
  FROM bigbrotr.coverage AS k
  CROSS JOIN LATERAL pg_catalog.unnest(k.ranges * pg_catalog.int8multirange(pg_catalog.int8range(f.since, GREATEST(f.since, y.horizon)))) AS p(part)
  WHERE k.relay_id = r.id AND k.filter_hash = f.filter_hash AND k.state = 'complete'
) AS v ON y.horizon > f.since;
COMMENT ON VIEW bigbrotr.relay_status IS 'Each relay in one row: whether it is there, what it is, what of it is archived.';
COMMENT ON COLUMN bigbrotr.relay_status.url IS 'Canonical key.';
COMMENT ON COLUMN bigbrotr.relay_status.network IS 'Network the host belongs to.';
COMMENT ON COLUMN bigbrotr.relay_status.state IS 'active, dead or blocked.';
COMMENT ON COLUMN bigbrotr.relay_status.online IS 'Whether the last check was good; NULL: not checked yet.';
COMMENT ON COLUMN bigbrotr.relay_status.checked_at IS 'When the last check began.';
COMMENT ON COLUMN bigbrotr.relay_status.rtt_open_ms IS 'Milliseconds to an open WebSocket in that check.';
COMMENT ON COLUMN bigbrotr.relay_status.rtt_read_ms IS 'Milliseconds from REQ to the first answer.';
COMMENT ON COLUMN bigbrotr.relay_status.rtt_write_ms IS 'Milliseconds from EVENT to OK.';
COMMENT ON COLUMN bigbrotr.relay_status.name IS 'By its newest NIP-11 document.';
COMMENT ON COLUMN bigbrotr.relay_status.software IS 'By its newest NIP-11 document.';
COMMENT ON COLUMN bigbrotr.relay_status.version IS 'By its newest NIP-11 document.';
COMMENT ON COLUMN bigbrotr.relay_status.supported_nips IS 'By its newest NIP-11 document: numbers, ascending; NULL: it names none.';
COMMENT ON COLUMN bigbrotr.relay_status.country IS 'By its newest nip66_geo document.';
COMMENT ON COLUMN bigbrotr.relay_status.event_count IS 'Archived events seen there.';
COMMENT ON COLUMN bigbrotr.relay_status.coverage IS
  'Share, 0 to 1, of created_at from bigbrotr.sync_since to where its last pass ended that is known complete for bigbrotr.sync_filter; NULL: never synchronized.';
COMMENT ON COLUMN bigbrotr.relay_status.last_error IS 'Why the last check failed; if it did not, why the last pass of the synchronizer did; NULL: neither.';
COMMENT ON COLUMN bigbrotr.relay_status.discovered_at IS 'When it first answered us.';

CREATE VIEW bigbrotr.coverage_gap AS
SELECT
  r.url AS relay_url,
  pg_catalog.int8multirange(pg_catalog.int8range(f.since, GREATEST(f.since, y.horizon))) - COALESCE(k.ranges, '{}'::int8multirange) AS gap
FROM bigbrotr.relay AS r
JOIN bigbrotr.relay_sync AS y ON y.relay_id = r.id AND y.horizon IS NOT NULL
CROSS JOIN (SELECT bigbrotr.sync_filter_hash() AS filter_hash, bigbrotr.sync_since() AS since OFFSET 0) AS f
LEFT JOIN bigbrotr.coverage AS k ON k.relay_id = r.id AND k.filter_hash = f.filter_hash AND k.state = 'complete';
COMMENT ON VIEW bigbrotr.coverage_gap IS 'What is left to fetch of each relay that was synchronized at least once, for bigbrotr.sync_filter.';
COMMENT ON COLUMN bigbrotr.coverage_gap.relay_url IS 'relay.url.';
COMMENT ON COLUMN bigbrotr.coverage_gap.gap IS
  'Half-open ranges of created_at between bigbrotr.sync_since and where the last pass ended that are not known complete; {}: nothing.';

CREATE VIEW bigbrotr.sync_status AS
SELECT
  r.url,
  CASE
    WHEN r.state <> 'active' THEN 'off'
    WHEN y.live_since IS NOT NULL THEN 'live'
    WHEN y.leased_until > pg_catalog.now() THEN 'syncing'
    WHEN y.next_attempt_at > pg_catalog.now() + pg_catalog.make_interval(hours => 2) THEN 'parked'
    WHEN y.failures > 0 THEN 'backoff'
    ELSE 'waiting'
  END AS state,
  y.live_since,
  y.last_synced_at,
  y.next_attempt_at,
  y.failures,
  y.last_error,
  y.novelty,
  y.requests,
  y.received,
  y.archived,
  w.incomplete,
  y.learned ->> 'no_live' AS no_live,
  (y.learned -> 'negentropy' ->> 'proven')::boolean AS negentropy
FROM bigbrotr.relay AS r
LEFT JOIN bigbrotr.relay_sync AS y ON y.relay_id = r.id
CROSS JOIN (SELECT bigbrotr.sync_filter_hash() AS filter_hash OFFSET 0) AS f
LEFT JOIN LATERAL (
  SELECT pg_catalog.jsonb_object_agg(k.state, k.ranges::text) AS incomplete
  FROM bigbrotr.coverage AS k
  WHERE k.relay_id = r.id AND k.filter_hash = f.filter_hash AND k.state <> 'complete'
) AS w ON true;
COMMENT ON VIEW bigbrotr.sync_status IS 'How the synchronizer gets on with each relay.';
COMMENT ON COLUMN bigbrotr.sync_status.url IS 'relay.url.';
COMMENT ON COLUMN bigbrotr.sync_status.state IS
  'live: subscribed to what arrives; syncing: being read; waiting: for its turn; backoff: after a failure, for a while; parked: for hours or days; off: not active.';
COMMENT ON COLUMN bigbrotr.sync_status.live_since IS 'Since when it is subscribed to; NULL: it is not.';
COMMENT ON COLUMN bigbrotr.sync_status.last_synced_at IS 'When it was last known to have nothing more; NULL: never.';
COMMENT ON COLUMN bigbrotr.sync_status.next_attempt_at IS 'When it is due again.';
COMMENT ON COLUMN bigbrotr.sync_status.failures IS 'Passes that failed since the last good one.';
COMMENT ON COLUMN bigbrotr.sync_status.last_error IS 'Why the last pass did not end well; NULL: it did.';
COMMENT ON COLUMN bigbrotr.sync_status.novelty IS 'New events per request lately.';
COMMENT ON COLUMN bigbrotr.sync_status.requests IS 'Requests sent, ever.';
COMMENT ON COLUMN bigbrotr.sync_status.received IS 'Events received, copies included, ever.';
COMMENT ON COLUMN bigbrotr.sync_status.archived IS 'Of those, events that were new to the archive.';
COMMENT ON COLUMN bigbrotr.sync_status.incomplete IS
  'What was asked for and not got, by reason: ranges of created_at for each state of coverage but complete; NULL: nothing.';
COMMENT ON COLUMN bigbrotr.sync_status.no_live IS 'Why it was last used without a live subscription; NULL: it never was.';
COMMENT ON COLUMN bigbrotr.sync_status.negentropy IS 'Whether it was seen to speak NIP-77; NULL: not tried.';

CREATE VIEW bigbrotr.stat_workers AS
SELECT
  w.database, w.service, w.worker, w.pid, w.state, w.activity, w.items, w.cycles, w.errors, w.last_error,
  pg_catalog.to_timestamp(w.last_error_at) AS last_error_at,
  pg_catalog.to_timestamp(w.started_at) AS started_at
FROM bigbrotr.workers() AS w;
COMMENT ON VIEW bigbrotr.stat_workers IS
  'The services of every database in bigbrotr.databases, also those that do not run now. Empty when the library is not preloaded.';
COMMENT ON COLUMN bigbrotr.stat_workers.database IS 'Database it works for.';
COMMENT ON COLUMN bigbrotr.stat_workers.service IS 'seeder, finder, validator, monitor, synchronizer or refresher.';
COMMENT ON COLUMN bigbrotr.stat_workers.worker IS 'Which of several workers of that service.';
COMMENT ON COLUMN bigbrotr.stat_workers.pid IS 'Its process; NULL: none now.';
COMMENT ON COLUMN bigbrotr.stat_workers.state IS 'starting, running, idle, backoff, disabled or finished.';
COMMENT ON COLUMN bigbrotr.stat_workers.activity IS 'What it does.';
COMMENT ON COLUMN bigbrotr.stat_workers.items IS 'Things handled since it started: candidates, relays, events.';
COMMENT ON COLUMN bigbrotr.stat_workers.cycles IS 'Cycles since it started.';
COMMENT ON COLUMN bigbrotr.stat_workers.errors IS 'Cycles that failed.';
COMMENT ON COLUMN bigbrotr.stat_workers.last_error IS 'Why the last one that failed did.';
COMMENT ON COLUMN bigbrotr.stat_workers.last_error_at IS 'When that was.';
COMMENT ON COLUMN bigbrotr.stat_workers.started_at IS 'When it started.';
