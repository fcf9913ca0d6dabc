-- When relays were up, how quick they are, and what became different.

CREATE VIEW bigbrotr.relay_changelog AS
SELECT r.url AS relay_url, c.changed_at, c.what, c.old OPERATOR(pg_catalog.#>>) '{}' AS old, c.new OPERATOR(pg_catalog.#>>) '{}' AS new, c.id
FROM bigbrotr.relay_change AS c
JOIN bigbrotr.relay AS r ON r.id = c.relay_id;
COMMENT ON VIEW bigbrotr.relay_changelog IS 'What became different at which relay. What is first seen is no change; what changes to and fro, or all the time, is told a few times a day.';
COMMENT ON COLUMN bigbrotr.relay_changelog.relay_url IS 'relay.url.';
COMMENT ON COLUMN bigbrotr.relay_changelog.changed_at IS 'The check that showed it; for dead, revived, blocked and unblocked when the state was set.';
COMMENT ON COLUMN bigbrotr.relay_changelog.what IS
  'up, down, dead, revived, blocked, unblocked; of NIP-11: name, software, version, nips, operator, access, limits; certificate, certificate_valid, address, country, asn, server.';
COMMENT ON COLUMN bigbrotr.relay_changelog.old IS 'As it was; lists and objects as JSON. NULL: it did not say.';
COMMENT ON COLUMN bigbrotr.relay_changelog.new IS 'As it is, likewise.';
COMMENT ON COLUMN bigbrotr.relay_changelog.id IS 'relay_change.id.';

CREATE VIEW bigbrotr.relay_history AS
SELECT
  r.url AS relay_url,
  p.online,
  p.since,
  COALESCE(p.until, m.last_check_at) AS until,
  COALESCE(p.until, m.last_check_at) - p.since AS duration,
  p.until IS NULL AS is_current,
  p.error_class,
  p.error
FROM bigbrotr.relay_period AS p
JOIN bigbrotr.relay AS r ON r.id = p.relay_id
LEFT JOIN bigbrotr.relay_monitor AS m ON m.relay_id = p.relay_id;
COMMENT ON VIEW bigbrotr.relay_history IS
  'When each relay was up and when down. A check vouches for the time up to the next one; if that comes more than an interval (at least 15 minutes) late, nothing is known of the time between, and no row covers it.';
COMMENT ON COLUMN bigbrotr.relay_history.relay_url IS 'relay.url.';
COMMENT ON COLUMN bigbrotr.relay_history.online IS 'Up or down.';
COMMENT ON COLUMN bigbrotr.relay_history.since IS 'The first check that found it so.';
COMMENT ON COLUMN bigbrotr.relay_history.until IS 'The check that found it otherwise; the last one before checks stopped; the newest if it is so now.';
COMMENT ON COLUMN bigbrotr.relay_history.duration IS 'until − since.';
COMMENT ON COLUMN bigbrotr.relay_history.is_current IS 'Whether it is so now.';
COMMENT ON COLUMN bigbrotr.relay_history.error_class IS 'If down: why its first check failed.';
COMMENT ON COLUMN bigbrotr.relay_history.error IS 'The same in words.';

-- An outage that was not watched for a while is one outage. Its number is that of the times the relay was up before.
CREATE VIEW bigbrotr.relay_outage AS
SELECT
  o.relay_url,
  pg_catalog.min(o.since) AS down_at,
  pg_catalog.min(o.next_up) AS up_at,
  COALESCE(pg_catalog.min(o.next_up), pg_catalog.max(o.until)) - pg_catalog.min(o.since) AS duration,
  (pg_catalog.array_agg(o.error_class ORDER BY o.since))[1] AS error_class,
  (pg_catalog.array_agg(o.error ORDER BY o.since))[1] AS error
FROM (
  SELECT
    r.url AS relay_url, p.online, p.since, COALESCE(p.until, m.last_check_at) AS until, p.error_class, p.error,
    pg_catalog.count(*) FILTER (WHERE p.online) OVER (PARTITION BY r.url ORDER BY p.since) AS era,
    pg_catalog.min(p.since) FILTER (WHERE p.online)
      OVER (PARTITION BY r.url ORDER BY p.since DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS next_up
  FROM bigbrotr.relay_period AS p
  JOIN bigbrotr.relay AS r ON r.id = p.relay_id
  LEFT JOIN bigbrotr.relay_monitor AS m ON m.relay_id = p.relay_id
) AS o
WHERE NOT o.online
GROUP BY o.relay_url, o.era;
COMMENT ON VIEW bigbrotr.relay_outage IS 'Each time a relay was down, from the first failed check to the next good one.';
COMMENT ON COLUMN bigbrotr.relay_outage.relay_url IS 'relay.url.';
COMMENT ON COLUMN bigbrotr.relay_outage.down_at IS 'The first check that failed.';
COMMENT ON COLUMN bigbrotr.relay_outage.up_at IS 'The next good one; NULL: none yet.';
COMMENT ON COLUMN bigbrotr.relay_outage.duration IS 'up_at − down_at; of one that lasts, up to the newest check.';
COMMENT ON COLUMN bigbrotr.relay_outage.error_class IS 'Why the first check failed.';
COMMENT ON COLUMN bigbrotr.relay_outage.error IS 'The same in words.';

CREATE VIEW bigbrotr.relay_uptime AS
SELECT
  r.url AS relay_url,
  m.online,
  m.online_since AS since,
  u.up_1d / NULLIF(u.known_1d, 0) AS uptime_1d,
  u.up_7d / NULLIF(u.known_7d, 0) AS uptime_7d,
  u.up_30d / NULLIF(u.known_30d, 0) AS uptime_30d,
  pg_catalog.make_interval(secs => u.known_30d) AS known_30d,
  u.outages_7d,
  u.outages_30d,
  pg_catalog.make_interval(secs => u.known_30d - u.up_30d) AS down_30d,
  u.longest_outage_30d,
  u.last_down_at
FROM bigbrotr.relay AS r
LEFT JOIN bigbrotr.relay_monitor AS m ON m.relay_id = r.id
CROSS JOIN LATERAL (
  SELECT
    COALESCE(pg_catalog.sum(k.s_1d), 0) AS known_1d,
    COALESCE(pg_catalog.sum(k.s_7d), 0) AS known_7d,
    COALESCE(pg_catalog.sum(k.s_30d), 0) AS known_30d,
    COALESCE(pg_catalog.sum(k.s_1d) FILTER (WHERE k.online), 0) AS up_1d,
    COALESCE(pg_catalog.sum(k.s_7d) FILTER (WHERE k.online), 0) AS up_7d,
    COALESCE(pg_catalog.sum(k.s_30d) FILTER (WHERE k.online), 0) AS up_30d,
    pg_catalog.count(*) FILTER (WHERE k.begins AND k.since > pg_catalog.now() - interval '7 days') AS outages_7d,
    pg_catalog.count(*) FILTER (WHERE k.begins AND k.since > pg_catalog.now() - interval '30 days') AS outages_30d,
    pg_catalog.max(k.until - k.since) FILTER (WHERE NOT k.online AND k.until > pg_catalog.now() - interval '30 days') AS longest_outage_30d,
    pg_catalog.max(k.since) FILTER (WHERE k.begins) AS last_down_at
  FROM (
    SELECT
      p.online, p.since, e.until,
      NOT p.online AND COALESCE(pg_catalog.lag(p.online) OVER (ORDER BY p.since), true) AS begins,
      GREATEST(EXTRACT(epoch FROM e.until - GREATEST(p.since, pg_catalog.now() - interval '1 day')), 0)::double precision AS s_1d,
      GREATEST(EXTRACT(epoch FROM e.until - GREATEST(p.since, pg_catalog.now() - interval '7 days')), 0)::double precision AS s_7d,
      GREATEST(EXTRACT(epoch FROM e.until - GREATEST(p.since, pg_catalog.now() - interval '30 days')), 0)::double precision AS s_30d
    FROM bigbrotr.relay_period AS p
    CROSS JOIN LATERAL (SELECT COALESCE(p.until, m.last_check_at) AS until) AS e
    WHERE p.relay_id = r.id
  ) AS k
) AS u;
COMMENT ON VIEW bigbrotr.relay_uptime IS
  'How much of the time each relay was up: shares, 0 to 1, of the time of which something is known (relay_history), by time and not by checks. uptime() has any other stretch.';
COMMENT ON COLUMN bigbrotr.relay_uptime.relay_url IS 'relay.url.';
COMMENT ON COLUMN bigbrotr.relay_uptime.online IS 'Whether the newest check was good; NULL: not checked yet.';
COMMENT ON COLUMN bigbrotr.relay_uptime.since IS 'The check that first found it so.';
COMMENT ON COLUMN bigbrotr.relay_uptime.uptime_1d IS 'Share of the last 24 hours; NULL: nothing known of them.';
COMMENT ON COLUMN bigbrotr.relay_uptime.uptime_7d IS 'The same of 7 days.';
COMMENT ON COLUMN bigbrotr.relay_uptime.uptime_30d IS 'The same of 30 days; no more than bigbrotr.history_retention is known.';
COMMENT ON COLUMN bigbrotr.relay_uptime.known_30d IS 'How much of the last 30 days is known.';
COMMENT ON COLUMN bigbrotr.relay_uptime.outages_7d IS 'Outages that began in the last 7 days.';
COMMENT ON COLUMN bigbrotr.relay_uptime.outages_30d IS 'The same of 30 days.';
COMMENT ON COLUMN bigbrotr.relay_uptime.down_30d IS 'How long it is known to have been down in the last 30 days.';
COMMENT ON COLUMN bigbrotr.relay_uptime.longest_outage_30d IS 'The longest time it was down without a gap in what is known, of those that ended in the last 30 days or last; NULL: none.';
COMMENT ON COLUMN bigbrotr.relay_uptime.last_down_at IS 'When it last went down; NULL: never, as far as is known.';

CREATE VIEW bigbrotr.relay_latency AS
SELECT
  r.url AS relay_url,
  k.checks,
  k.failed,
  k.open_ms_avg,
  k.open_ms_p50,
  k.open_ms_p95,
  k.read_ms_avg,
  k.read_ms_p50,
  k.read_ms_p95,
  k.write_ms_avg,
  k.write_ms_p50,
  k.write_ms_p95
FROM bigbrotr.relay AS r
CROSS JOIN LATERAL (
  SELECT
    pg_catalog.count(*) AS checks,
    pg_catalog.count(*) FILTER (WHERE NOT c.ok) AS failed,
    pg_catalog.avg(c.open_ms) AS open_ms_avg,
    pg_catalog.percentile_cont(0.5) WITHIN GROUP (ORDER BY c.open_ms) AS open_ms_p50,
    pg_catalog.percentile_cont(0.95) WITHIN GROUP (ORDER BY c.open_ms) AS open_ms_p95,
    pg_catalog.avg(c.read_ms) AS read_ms_avg,
    pg_catalog.percentile_cont(0.5) WITHIN GROUP (ORDER BY c.read_ms) AS read_ms_p50,
    pg_catalog.percentile_cont(0.95) WITHIN GROUP (ORDER BY c.read_ms) AS read_ms_p95,
    pg_catalog.avg(c.write_ms) AS write_ms_avg,
    pg_catalog.percentile_cont(0.5) WITHIN GROUP (ORDER BY c.write_ms) AS write_ms_p50,
    pg_catalog.percentile_cont(0.95) WITHIN GROUP (ORDER BY c.write_ms) AS write_ms_p95
  FROM bigbrotr.relay_check AS c
  WHERE c.relay_id = r.id AND c.checked_at > pg_catalog.now() - interval '7 days'
) AS k;
COMMENT ON VIEW bigbrotr.relay_latency IS 'Round trips of the checks of the last 7 days. Quick for one relay_url: the whole reads every check.';
COMMENT ON COLUMN bigbrotr.relay_latency.relay_url IS 'relay.url.';
COMMENT ON COLUMN bigbrotr.relay_latency.checks IS 'Checks.';
COMMENT ON COLUMN bigbrotr.relay_latency.failed IS 'Of those, how many failed.';
COMMENT ON COLUMN bigbrotr.relay_latency.open_ms_avg IS 'Milliseconds to an open WebSocket, mean of those that got there; NULL: none did.';
COMMENT ON COLUMN bigbrotr.relay_latency.open_ms_p50 IS 'Median of the same.';
COMMENT ON COLUMN bigbrotr.relay_latency.open_ms_p95 IS '95th percentile of the same.';
COMMENT ON COLUMN bigbrotr.relay_latency.read_ms_avg IS 'Milliseconds from REQ to the first answer, likewise.';
COMMENT ON COLUMN bigbrotr.relay_latency.read_ms_p50 IS 'Median of the same.';
COMMENT ON COLUMN bigbrotr.relay_latency.read_ms_p95 IS '95th percentile of the same.';
COMMENT ON COLUMN bigbrotr.relay_latency.write_ms_avg IS 'Milliseconds from EVENT to OK, likewise.';
COMMENT ON COLUMN bigbrotr.relay_latency.write_ms_p50 IS 'Median of the same.';
COMMENT ON COLUMN bigbrotr.relay_latency.write_ms_p95 IS '95th percentile of the same.';
