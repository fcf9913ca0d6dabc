CREATE FUNCTION bigbrotr.claim_relays(max integer, lease_s integer, networks text[], asked boolean)
  RETURNS TABLE (relay_id integer, url text, learned text, failures integer, max_limit integer)
  LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
  AS $$
#variable_conflict use_column
BEGIN
  -- Relays that came in by hand have no row yet.
  INSERT INTO bigbrotr.relay_sync (relay_id)
  SELECT r.id FROM bigbrotr.relay AS r
  WHERE NOT EXISTS (SELECT FROM bigbrotr.relay_sync AS s WHERE s.relay_id = r.id)
  ON CONFLICT DO NOTHING;

  RETURN QUERY
  WITH due AS (
    SELECT s.relay_id
    FROM bigbrotr.relay_sync AS s
    JOIN bigbrotr.relay AS r ON r.id = s.relay_id
    -- Asked for by run_service(): whoever only waits for the next interval is due.
    WHERE (s.next_attempt_at <= now() OR asked AND s.last_error IS NULL)
      AND r.state = 'active'
      AND r.network::text = ANY (networks)
      -- A lease ends with its holder: after a crash nobody waits for it to expire.
      AND (s.leased_until IS NULL OR s.leased_until < now()
           OR NOT EXISTS (SELECT FROM pg_stat_get_activity(s.leased_by)))
    ORDER BY s.next_attempt_at
    LIMIT max
    FOR UPDATE OF s SKIP LOCKED
  ), claimed AS (
    UPDATE bigbrotr.relay_sync AS s
    SET leased_until = now() + lease_s * interval '1 second', leased_by = pg_backend_pid()
    FROM due
    WHERE s.relay_id = due.relay_id
    RETURNING s.relay_id, s.learned, s.failures, s.next_attempt_at
  )
  SELECT c.relay_id, r.url, c.learned::text, c.failures, info.max_limit
  FROM claimed AS c
  JOIN bigbrotr.relay AS r ON r.id = c.relay_id
  LEFT JOIN LATERAL (
    SELECT CASE WHEN m.data #>> '{limitation,max_limit}' ~ '^[1-9][0-9]{0,8}$'
                THEN (m.data #>> '{limitation,max_limit}')::integer END AS max_limit
    FROM bigbrotr.relay_metadata AS rm
    JOIN bigbrotr.metadata AS m ON m.id = rm.metadata_id AND m.type = rm.type
    WHERE rm.relay_id = c.relay_id AND rm.type = 'nip11_info'
    ORDER BY rm.first_seen_at DESC
    LIMIT 1
  ) AS info ON true
  ORDER BY c.next_attempt_at;
END
$$;
COMMENT ON FUNCTION bigbrotr.claim_relays(integer, integer, text[], boolean) IS
  'Internal: takes relays that are due for a pass, longest due first, so that no other synchronizer does.';

CREATE FUNCTION bigbrotr.extend_leases(relay_ids integer[], lease_s integer) RETURNS void
  LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
  AS $$
    UPDATE bigbrotr.relay_sync SET leased_until = now() + lease_s * interval '1 second'
    WHERE relay_id = ANY (relay_ids) AND leased_by = pg_backend_pid()
  $$;
COMMENT ON FUNCTION bigbrotr.extend_leases(integer[], integer) IS 'Internal: a synchronizer is still at these relays.';

CREATE FUNCTION bigbrotr.release_leases() RETURNS void
  LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
  AS $$
    UPDATE bigbrotr.relay_sync SET leased_until = NULL, leased_by = NULL WHERE leased_by = pg_backend_pid()
  $$;
COMMENT ON FUNCTION bigbrotr.release_leases() IS 'Internal: this synchronizer is at no relay.';

CREATE FUNCTION bigbrotr.retry_needs_auth(key text) RETURNS void
  LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
  AS $$
    UPDATE bigbrotr.relay_sync AS s SET next_attempt_at = now(), failures = 0
    WHERE s.last_error LIKE 'needs\_auth:%' AND s.learned ->> 'key' IS DISTINCT FROM $1 AND s.next_attempt_at > now()
  $$;
COMMENT ON FUNCTION bigbrotr.retry_needs_auth(text) IS
  'Internal: relays that want NIP-42 AUTH and have not been shown this public key are due.';

CREATE FUNCTION bigbrotr.release_relay(
  relay_id integer, ok boolean, learned text, horizon bigint, pause_s double precision, error text) RETURNS void
  LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
  AS $$
    UPDATE bigbrotr.relay_sync AS s
    SET leased_until = NULL,
        leased_by = NULL,
        learned = coalesce($3::jsonb, s.learned),
        horizon = coalesce($4, s.horizon),
        next_attempt_at = now() + $5 * interval '1 second',
        failures = CASE WHEN $2 THEN 0 ELSE s.failures + 1 END,
        last_synced_at = CASE WHEN $2 THEN now() ELSE s.last_synced_at END,
        last_error = $6
    WHERE s.relay_id = $1
  $$;
COMMENT ON FUNCTION bigbrotr.release_relay(integer, boolean, text, bigint, double precision, text) IS
  'Internal: a pass over a relay has ended; when to come back, and what was learned.';

CREATE FUNCTION bigbrotr.complete_ranges(relay_id integer, filter_hash bytea) RETURNS text
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT coalesce(
      (SELECT c.ranges::text FROM bigbrotr.coverage AS c
       WHERE c.relay_id = $1 AND c.filter_hash = $2 AND c.state = 'complete'), '{}')
  $$;
COMMENT ON FUNCTION bigbrotr.complete_ranges(integer, bytea) IS 'Internal: what of a relay is known complete for a filter.';

CREATE FUNCTION bigbrotr.stuck_ranges(relay_id integer, filter_hash bytea) RETURNS text
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT coalesce(range_agg(u.range), '{}')::text
    FROM bigbrotr.coverage AS c
    CROSS JOIN LATERAL unnest(c.ranges) AS u (range)
    WHERE c.relay_id = $1 AND c.filter_hash = $2 AND c.state IN ('capped', 'oversize', 'unsupported')
  $$;
COMMENT ON FUNCTION bigbrotr.stuck_ranges(integer, bytea) IS
  'Internal: what a relay was asked for and cannot give; asking at every pass would only fetch it again.';

CREATE FUNCTION bigbrotr.cover(
  relay_id integer, filter_hash bytea, states text[], ranges text[]) RETURNS void
  LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  complete int8multirange := '{}';
  step record;
BEGIN
  -- One row per state; ranges of different states never overlap. What is complete stays so: a later failure in the same
  -- range says nothing about what was proven.
  SELECT coalesce(range_agg(c.ranges), '{}') INTO complete
  FROM (SELECT unnest(c.ranges) AS ranges FROM bigbrotr.coverage AS c
        WHERE c.relay_id = cover.relay_id AND c.filter_hash = cover.filter_hash AND c.state = 'complete') AS c;
  FOR step IN
    SELECT u.state::bigbrotr.coverage_state AS state, u.range::int8multirange AS range
    FROM unnest(states, cover.ranges) WITH ORDINALITY AS u (state, range, place)
    -- Complete last, so that it wins over what the same answer left open elsewhere.
    ORDER BY u.state = 'complete', u.place
  LOOP
    IF step.state = 'complete' THEN
      complete := complete + step.range;
    ELSE
      step.range := step.range - complete;
    END IF;
    UPDATE bigbrotr.coverage AS c
    SET ranges = c.ranges - step.range
    WHERE c.relay_id = cover.relay_id AND c.filter_hash = cover.filter_hash AND c.state <> step.state
      AND c.state <> 'complete' AND c.ranges && step.range;
    IF NOT isempty(step.range) THEN
      INSERT INTO bigbrotr.coverage AS c (relay_id, filter_hash, state, ranges)
      VALUES (cover.relay_id, cover.filter_hash, step.state, step.range)
      ON CONFLICT ON CONSTRAINT coverage_pkey DO UPDATE SET ranges = c.ranges + excluded.ranges
        WHERE NOT c.ranges @> excluded.ranges;
    END IF;
  END LOOP;
  DELETE FROM bigbrotr.coverage AS c
  WHERE c.relay_id = cover.relay_id AND c.filter_hash = cover.filter_hash AND isempty(c.ranges);
END
$$;
COMMENT ON FUNCTION bigbrotr.cover(integer, bytea, text[], text[]) IS
  'Internal: enters what an answer proved, or failed to, into coverage. In the transaction of its events.';

CREATE FUNCTION bigbrotr.archive_size() RETURNS bigint
  LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT pg_total_relation_size('bigbrotr.event') + pg_total_relation_size('bigbrotr.sighting') $$;
COMMENT ON FUNCTION bigbrotr.archive_size() IS 'Internal: bytes of events and sightings with their indexes.';

CREATE FUNCTION bigbrotr.disk_free() RETURNS bigint
  LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'disk_free_wrapper';
COMMENT ON FUNCTION bigbrotr.disk_free() IS 'Internal: bytes free to the server on the disk of its data directory.';
