-- How things stand: relays, coverage, workers.

CREATE VIEW bigbrotr.relay_status AS
SELECT
  r.url,
  r.network,
  r.state,
  -- What is our own fault says nothing about the relay: as before then.
  CASE WHEN l.ok OR COALESCE(l.error_class NOT IN ('proxy', 'network_off', 'busy', 'no_roots'), true) THEN l.ok ELSE m.online END AS online,
  l.checked_at,
  l.open_ms AS rtt_open_ms,
  l.read_ms AS rtt_read_ms,
  l.write_ms AS rtt_write_ms,
  l.name,
  l.software,
  l.version,
  l.supported_nips,
  l.country,
  COALESCE(h.event_count, 0) AS event_count,
  CASE WHEN y.horizon > f.since THEN (
    SELECT COALESCE(pg_catalog.sum(pg_catalog.upper(p.part)::numeric - pg_catalog.lower(p.part)::numeric), 0)::double precision
           / (y.horizon::numeric - f.since::numeric)::double precision
    FROM pg_catalog.unnest(k.ranges * pg_catalog.int8multirange(pg_catalog.int8range(f.since, GREATEST(f.since, y.horizon)))) AS p(part)
  ) END AS coverage,
  CASE WHEN NOT l.ok THEN COALESCE(NULLIF(pg_catalog.concat_ws(': ', l.error_class, l.error), ''), 'failed') ELSE y.last_error END AS last_error,
  r.discovered_at,
  l.error_class,
  m.failures,
  m.last_ok_at,
  m.online_since,
  m.uptime_7d,
  m.next_check_at,
  l.auth_required,
  l.payment_required,
  l.restricted_writes,
  l.ssl_valid,
  l.ssl_expires_at,
  l.city,
  l.asn,
  l.asn_org,
  y.last_synced_at,
  y.live_since
FROM bigbrotr.relay AS r
LEFT JOIN bigbrotr.relay_latest AS l ON l.relay_id = r.id
LEFT JOIN bigbrotr.relay_monitor AS m ON m.relay_id = r.id
LEFT JOIN bigbrotr.relay_holding AS h ON h.relay_id = r.id
LEFT JOIN bigbrotr.relay_sync AS y ON y.relay_id = r.id
-- The sub-select makes it one hash a query, not one a relay.
CROSS JOIN (SELECT bigbrotr.sync_filter_hash() AS filter_hash, bigbrotr.sync_since() AS since OFFSET 0) AS f
LEFT JOIN bigbrotr.coverage AS k ON k.relay_id = r.id AND k.filter_hash = f.filter_hash AND k.state = 'complete';
COMMENT ON VIEW bigbrotr.relay_status IS 'Each relay in one row: whether it is there, what it is, what of it is archived.';
COMMENT ON COLUMN bigbrotr.relay_status.url IS 'Canonical key.';
COMMENT ON COLUMN bigbrotr.relay_status.network IS 'Network the host belongs to.';
COMMENT ON COLUMN bigbrotr.relay_status.state IS 'active, dead or blocked.';
COMMENT ON COLUMN bigbrotr.relay_status.online IS 'Whether the last check that could be made was good; NULL: none could be yet.';
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
COMMENT ON COLUMN bigbrotr.relay_status.error_class IS 'Class of the last check''s failure: dns, tcp, tls, http, …; NULL: it was good.';
COMMENT ON COLUMN bigbrotr.relay_status.failures IS 'Checks that failed since the last good one.';
COMMENT ON COLUMN bigbrotr.relay_status.last_ok_at IS 'The last good check.';
COMMENT ON COLUMN bigbrotr.relay_status.online_since IS 'Since when it is online or, if it is not, offline: the first check that found it so.';
COMMENT ON COLUMN bigbrotr.relay_status.uptime_7d IS 'Share, 0 to 1, of the 7 days before the last check that it was up; relay_uptime has more.';
COMMENT ON COLUMN bigbrotr.relay_status.next_check_at IS 'When it is checked again.';
COMMENT ON COLUMN bigbrotr.relay_status.auth_required IS 'By its newest NIP-11 document.';
COMMENT ON COLUMN bigbrotr.relay_status.payment_required IS 'By its newest NIP-11 document.';
COMMENT ON COLUMN bigbrotr.relay_status.restricted_writes IS 'By its newest NIP-11 document.';
COMMENT ON COLUMN bigbrotr.relay_status.ssl_valid IS 'Whether its newest certificate would be trusted; NULL: none seen.';
COMMENT ON COLUMN bigbrotr.relay_status.ssl_expires_at IS 'When that certificate expires.';
COMMENT ON COLUMN bigbrotr.relay_status.city IS 'By its newest nip66_geo document.';
COMMENT ON COLUMN bigbrotr.relay_status.asn IS 'Autonomous system of its address, by its newest nip66_net document.';
COMMENT ON COLUMN bigbrotr.relay_status.asn_org IS 'Who runs that.';
COMMENT ON COLUMN bigbrotr.relay_status.last_synced_at IS 'When it was last known to have nothing more to archive; NULL: never.';
COMMENT ON COLUMN bigbrotr.relay_status.live_since IS 'Since when what arrives there is archived at once; NULL: it is not.';

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
