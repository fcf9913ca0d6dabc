-- The health of relays: whom to check, and what came of it.

CREATE FUNCTION bigbrotr.claim_checks(max integer, lease_s integer, interval_s integer, networks text[])
  RETURNS TABLE (relay_id integer, url text, state text)
  LANGUAGE sql VOLATILE STRICT ROWS 200 SET search_path = pg_catalog, pg_temp
  AS $$
    -- A relay somebody added by hand has no row yet.
    INSERT INTO bigbrotr.relay_monitor (relay_id)
    SELECT r.id FROM bigbrotr.relay AS r
    WHERE NOT EXISTS (SELECT FROM bigbrotr.relay_monitor AS m WHERE m.relay_id = r.id)
    ORDER BY r.id
    ON CONFLICT (relay_id) DO NOTHING;

    WITH due AS MATERIALIZED (
      SELECT m.relay_id, m.next_check_at, r.url, r.state
      FROM bigbrotr.relay_monitor AS m
      JOIN bigbrotr.relay AS r ON r.id = m.relay_id
      WHERE (m.next_check_at <= now()
             -- The interval was shortened since the last check; not what failed through a fault of ours, which is due within minutes anyway.
             OR m.failures = 0 AND m.last_ok_at <= now() - 1.1 * make_interval(secs => interval_s)
                AND m.next_check_at > now() + 1.1 * LEAST(make_interval(secs => interval_s), interval '5 minutes')
             -- No pause is that long: the clock was ahead.
             OR m.next_check_at > now() + GREATEST(1.2 * make_interval(secs => interval_s), interval '8 days'))
        AND (m.leased_until IS NULL OR m.leased_until <= now())
        AND r.state <> 'blocked'
        AND r.network = ANY (networks::bigbrotr.network[])
        AND NOT EXISTS (SELECT FROM bigbrotr.block AS b WHERE r.url LIKE b.pattern)
      ORDER BY m.next_check_at
      LIMIT max
      FOR UPDATE OF m SKIP LOCKED
    ), claimed AS (
      UPDATE bigbrotr.relay_monitor AS m
      SET leased_until = now() + make_interval(secs => lease_s)
      FROM due
      WHERE m.relay_id = due.relay_id
      RETURNING m.relay_id, due.next_check_at, due.url, due.state
    )
    SELECT claimed.relay_id, claimed.url, claimed.state::text FROM claimed ORDER BY claimed.next_check_at, claimed.relay_id
  $$;
COMMENT ON FUNCTION bigbrotr.claim_checks(integer, integer, integer, text[]) IS
  'Internal: leases up to max relays of these networks that are due for a check, for lease_s seconds, the longest due first. interval_s: bigbrotr.monitor_interval.';

CREATE FUNCTION bigbrotr.release_checks() RETURNS integer
  LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
  AS $$
    WITH released AS (
      UPDATE bigbrotr.relay_monitor AS m SET leased_until = NULL WHERE m.leased_until IS NOT NULL RETURNING 1
    )
    SELECT count(*)::integer FROM released
  $$;
COMMENT ON FUNCTION bigbrotr.release_checks() IS
  'Internal: ends every lease and returns how many there were. For a monitor that starts: there is one a database, so they are of a dead one.';

CREATE FUNCTION bigbrotr.check_now() RETURNS integer
  LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
  AS $$
    WITH due AS (
      UPDATE bigbrotr.relay_monitor AS m SET next_check_at = now() WHERE m.next_check_at > now() RETURNING 1
    )
    SELECT count(*)::integer FROM due
  $$;
COMMENT ON FUNCTION bigbrotr.check_now() IS 'Internal: every relay that waits for its next check is due now (run_service); returns how many.';

CREATE FUNCTION bigbrotr.defer_checks(relay_ids integer[], pauses_s integer[]) RETURNS integer
  LANGUAGE sql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
  -- By the lease: when they are due says nothing about when their host has time.
  AS $$
    WITH deferred AS (
      UPDATE bigbrotr.relay_monitor AS m
      SET leased_until = now() + make_interval(secs => u.pause_s)
      FROM unnest(relay_ids, pauses_s) AS u (relay_id, pause_s)
      WHERE m.relay_id = u.relay_id
      RETURNING 1
    )
    SELECT count(*)::integer FROM deferred
  $$;
COMMENT ON FUNCTION bigbrotr.defer_checks(integer[], integer[]) IS
  'Internal: claimed relays whose host is busy with others may be claimed again after so many seconds each; returns how many.';

CREATE FUNCTION bigbrotr.record_check(
  relay_id integer, checked_at double precision, ok boolean, open_ms real, read_ms real, write_ms real, error_class text, error text,
  interval_s integer) RETURNS void
  LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
  AS $$
    DECLARE
      pause    interval := make_interval(secs => interval_s);
      week     constant interval := interval '7 days';
      -- Silent for the time of sixty checks: two and a half days of hourly ones.
      grave    constant interval := LEAST(60 * pause, week);
      -- Checks may come so late, whatever the interval, and still say what was in between.
      grace    constant interval := GREATEST(pause, interval '15 minutes');
      jitter   constant double precision := 0.9 + 0.2 * random();
      seen     constant timestamptz := to_timestamp(record_check.checked_at);
      monitor  bigbrotr.relay_monitor;
      relay    bigbrotr.relay;
      silence  interval;
      is_news  boolean;
    BEGIN
      INSERT INTO bigbrotr.relay_check AS c (relay_id, checked_at, ok, open_ms, read_ms, write_ms, error_class, error)
      VALUES (record_check.relay_id, seen, record_check.ok, record_check.open_ms, record_check.read_ms,
              record_check.write_ms, record_check.error_class, left(record_check.error, 500))
      ON CONFLICT ON CONSTRAINT relay_check_pkey DO NOTHING;
      INSERT INTO bigbrotr.relay_monitor AS m (relay_id) VALUES (record_check.relay_id) ON CONFLICT ON CONSTRAINT relay_monitor_pkey DO NOTHING;
      SELECT * INTO STRICT monitor FROM bigbrotr.relay_monitor AS m WHERE m.relay_id = record_check.relay_id FOR UPDATE;
      SELECT * INTO STRICT relay FROM bigbrotr.relay AS r WHERE r.id = record_check.relay_id;

      -- A proxy of ours that is down, a network that is off, too many connections of ours: nothing is known of the relay.
      IF NOT record_check.ok AND record_check.error_class IN ('proxy', 'network_off', 'busy', 'no_roots') THEN
        UPDATE bigbrotr.relay_monitor AS m
        SET leased_until = NULL, next_check_at = now() + jitter * LEAST(pause, interval '5 minutes')
        WHERE m.relay_id = record_check.relay_id;
        RETURN;
      END IF;

      IF record_check.ok THEN
        monitor.failures := 0;
        monitor.last_ok_at := CASE WHEN monitor.last_ok_at <= now() THEN GREATEST(monitor.last_ok_at, seen) ELSE seen END;
        IF relay.state = 'dead' THEN
          UPDATE bigbrotr.relay AS r SET state = 'active' WHERE r.id = record_check.relay_id AND r.state = 'dead';
          -- The synchronizer need not sit out the pause it had come to.
          UPDATE bigbrotr.relay_sync AS s SET next_attempt_at = now(), queue_at = now() WHERE s.relay_id = record_check.relay_id AND s.next_attempt_at > now();
        END IF;
      ELSE
        monitor.failures := monitor.failures + 1;
        silence := seen - COALESCE(monitor.last_ok_at, relay.discovered_at);
        IF silence >= grave AND monitor.failures >= 5 THEN
          UPDATE bigbrotr.relay AS r SET state = 'dead' WHERE r.id = record_check.relay_id AND r.state = 'active';
          -- A seventh of the silence: every nine hours at first, weekly after seven weeks.
          pause := GREATEST(pause, LEAST(silence / 7, week));
        ELSE
          -- Soon again at first: most failures are a hiccup of the way there.
          pause := LEAST(pause, COALESCE(('{1 minute,5 minutes,15 minutes}'::interval[])[monitor.failures], pause));
        END IF;
      END IF;

      -- What is told after a newer check was is a measurement and no news.
      -- Unless that one's clock was ahead.
      is_news := COALESCE(seen > monitor.last_check_at OR monitor.last_check_at > now(), true);
      IF is_news THEN
        IF monitor.online IS DISTINCT FROM record_check.ok OR seen > monitor.expected_by THEN
          PERFORM bigbrotr.record_outcome(
            record_check.relay_id, seen, record_check.ok, record_check.error_class, left(record_check.error, 500), monitor);
        END IF;
        IF monitor.online IS DISTINCT FROM record_check.ok THEN
          monitor.online := record_check.ok;
          monitor.online_since := seen;
        END IF;
        monitor.last_check_at := seen;
        monitor.expected_by := seen + 1.1 * pause + grace;
        IF monitor.online_since <= seen - week THEN
          monitor.uptime_7d := record_check.ok::integer;
        ELSE
          SELECT COALESCE(sum(k.seconds) FILTER (WHERE k.online), 0) / NULLIF(sum(k.seconds), 0) INTO monitor.uptime_7d
          FROM (
            SELECT p.online, EXTRACT(epoch FROM COALESCE(p.until, seen) - GREATEST(p.since, seen - week))::double precision AS seconds
            FROM bigbrotr.relay_period AS p
            WHERE p.relay_id = record_check.relay_id AND COALESCE(p.until, seen) > seen - week
          ) AS k;
        END IF;
      END IF;
      UPDATE bigbrotr.relay_monitor AS m
      SET failures = monitor.failures, leased_until = NULL, next_check_at = now() + jitter * pause, last_ok_at = monitor.last_ok_at,
          online = monitor.online, online_since = monitor.online_since, last_check_at = monitor.last_check_at,
          expected_by = monitor.expected_by, uptime_7d = monitor.uptime_7d
      WHERE m.relay_id = record_check.relay_id;
    END
  $$;
COMMENT ON FUNCTION bigbrotr.record_check(integer, double precision, boolean, real, real, real, text, text, integer) IS
  'Internal: a finished check (checked_at in unix seconds): its row, the history of the relay, its state (dead after five failures and the time of sixty checks without a good one, a week at most) and when it is due again.';

-- Caches count a TTL down, so a document that differs in nothing else is the same; its run shows the highest TTL seen, the
-- nearest to what the zone says.
CREATE FUNCTION bigbrotr.record_metadata(relay_id integer, type text, id bytea, data text, seen_at double precision) RETURNS void
  LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
  AS $$
    DECLARE
      kind     constant bigbrotr.metadata_type := record_metadata.type::bigbrotr.metadata_type;
      -- A relay whose document differs at every check keeps as many: weeks of them, or what takes so many bytes.
      most       constant integer := 1000;
      most_bytes constant bigint := 4194304;
      document jsonb;
      newest   bigbrotr.relay_metadata;
      known    jsonb;
      seen     timestamptz := to_timestamp(record_metadata.seen_at);
      shown    bytea := record_metadata.id;
      is_same  boolean;
    BEGIN
      -- A check whose lease ran out may still report while the next one does: one after the other.
      PERFORM FROM bigbrotr.relay_monitor AS m WHERE m.relay_id = record_metadata.relay_id FOR UPDATE;
      SELECT * INTO newest
      FROM bigbrotr.relay_metadata AS m
      WHERE m.relay_id = record_metadata.relay_id AND m.type = kind
      ORDER BY m.first_seen_at DESC
      LIMIT 1
      FOR UPDATE;
      is_same := COALESCE(newest.metadata_id = record_metadata.id, false);
      IF NOT is_same THEN
        document := record_metadata.data::jsonb;
      END IF;
      IF kind = 'nip66_dns' AND NOT is_same AND newest.metadata_id IS NOT NULL AND jsonb_typeof(document) = 'object' THEN
        SELECT m.data INTO known FROM bigbrotr.metadata AS m WHERE m.id = newest.metadata_id AND m.type = kind;
        IF jsonb_typeof(known) = 'object' AND known - 'ttl' = document - 'ttl' THEN
          is_same := true;
          IF COALESCE(bigbrotr.json_number(document -> 'ttl') <= bigbrotr.json_number(known -> 'ttl'), NOT document ? 'ttl') THEN
            shown := newest.metadata_id;
          END IF;
        END IF;
      END IF;
      IF is_same AND shown = newest.metadata_id THEN
        UPDATE bigbrotr.relay_metadata AS m
        SET last_seen_at = seen
        WHERE m.relay_id = newest.relay_id AND m.type = newest.type AND m.first_seen_at = newest.first_seen_at AND m.last_seen_at < seen;
        RETURN;
      END IF;
      -- An update that changes nothing, but locks the row: maintain() cannot take an unreferenced document away under us.
      INSERT INTO bigbrotr.metadata AS m (id, type, data)
      VALUES (record_metadata.id, kind, document)
      ON CONFLICT ON CONSTRAINT metadata_pkey DO UPDATE SET data = m.data;
      IF is_same THEN
        UPDATE bigbrotr.relay_metadata AS m
        SET metadata_id = shown, last_seen_at = GREATEST(m.last_seen_at, seen)
        WHERE m.relay_id = newest.relay_id AND m.type = newest.type AND m.first_seen_at = newest.first_seen_at;
        RETURN;
      END IF;
      -- A clock that was set back must not put a new run before the last one.
      seen := GREATEST(seen, newest.last_seen_at + interval '1 microsecond');
      INSERT INTO bigbrotr.relay_metadata (relay_id, type, metadata_id, first_seen_at, last_seen_at)
      VALUES (record_metadata.relay_id, kind, record_metadata.id, seen, seen);
      IF newest.metadata_id IS NOT NULL THEN
        PERFORM bigbrotr.record_changes(record_metadata.relay_id, kind, seen, newest.metadata_id, record_metadata.id);
        DELETE FROM bigbrotr.relay_metadata AS m
        WHERE m.relay_id = record_metadata.relay_id AND m.type = kind
          AND m.first_seen_at <= (
            SELECT k.first_seen_at
            FROM (
              SELECT n.first_seen_at, row_number() OVER newest_first AS place,
                     sum(pg_column_size(d.data) + pg_column_size(d.typed)) OVER newest_first AS bytes
              FROM (
                SELECT r.first_seen_at, r.metadata_id FROM bigbrotr.relay_metadata AS r
                WHERE r.relay_id = record_metadata.relay_id AND r.type = kind
                ORDER BY r.first_seen_at DESC LIMIT most + 1
              ) AS n
              CROSS JOIN LATERAL (SELECT m.data, m.typed FROM bigbrotr.metadata AS m WHERE m.id = n.metadata_id AND m.type = kind LIMIT 1) AS d
              WINDOW newest_first AS (ORDER BY n.first_seen_at DESC)
            ) AS k
            WHERE k.place > most OR k.place > 3 AND k.bytes > most_bytes
            ORDER BY k.first_seen_at DESC
            LIMIT 1);
      END IF;
    END
  $$;
COMMENT ON FUNCTION bigbrotr.record_metadata(integer, text, bytea, text, double precision) IS
  'Internal: a relay gave this document (id: its content hash) at seen_at, unix seconds. Extends the newest run if it is the same document (of DNS: but for its TTL), else begins a run, notes what changed, and keeps the newest thousand runs, or as many as have 4 MB of documents.';
