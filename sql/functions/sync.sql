-- Who is due is taken in the order of queue_at: the time it became due, less a head start for what is useful. A relay that
-- brings little still comes before a useful one that became due more than that head start later, so nobody starves.
CREATE FUNCTION bigbrotr.claim_relays(max integer, lease_s integer, networks text[], asked boolean, busy_hosts text[])
  RETURNS TABLE (
    relay_id integer, url text, learned text, failures integer, max_limit integer, novelty double precision, software text)
  LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
  AS $$
#variable_conflict use_column
BEGIN
  -- The newest relays may have no row yet; enrol_relays() looks at all of them, less often.
  INSERT INTO bigbrotr.relay_sync (relay_id)
  SELECT r.id FROM (SELECT n.id FROM bigbrotr.relay AS n ORDER BY n.id DESC LIMIT 200) AS r
  -- A look-up each: NOT EXISTS would be planned as a join with the whole table.
  WHERE (SELECT s.relay_id FROM bigbrotr.relay_sync AS s WHERE s.relay_id = r.id) IS NULL
  ON CONFLICT DO NOTHING;
  -- Somebody changed by hand when a relay is due.
  UPDATE bigbrotr.relay_sync AS s SET queue_at = s.next_attempt_at WHERE s.queue_at > s.next_attempt_at;
  IF asked THEN
    -- By run_service(): whoever only waits for the next interval is due.
    UPDATE bigbrotr.relay_sync AS s SET next_attempt_at = now(), queue_at = least(s.queue_at, now())
    WHERE s.next_attempt_at > now() AND s.last_error IS NULL AND s.leased_until IS NULL;
  END IF;

  RETURN QUERY
  WITH due AS (
    SELECT s.relay_id
    FROM bigbrotr.relay_sync AS s
    JOIN bigbrotr.relay AS r ON r.id = s.relay_id
    -- queue_at is never later than next_attempt_at, and it has the index.
    WHERE s.queue_at <= now()
      AND s.next_attempt_at <= now()
      AND r.state = 'active'
      AND r.network::text = ANY (networks)
      -- A lease ends with its holder: after a crash nobody waits for it to expire.
      AND (s.leased_until IS NULL OR s.leased_until < now()
           OR NOT EXISTS (SELECT FROM pg_stat_get_activity(s.leased_by)))
      AND (cardinality(busy_hosts) = 0
           OR substring(r.url FROM '^wss?://([^/]+)') <> ALL (busy_hosts)
              AND substring(r.url FROM '^wss?://(\[[^]/]*\]|[^:/]+)') <> ALL (busy_hosts))
    ORDER BY s.queue_at
    LIMIT max
    FOR UPDATE OF s SKIP LOCKED
  ), claimed AS (
    UPDATE bigbrotr.relay_sync AS s
    SET leased_until = now() + lease_s * interval '1 second', leased_by = pg_backend_pid(), live_since = NULL
    FROM due
    WHERE s.relay_id = due.relay_id
    RETURNING s.relay_id, s.learned, s.failures, s.queue_at, s.novelty
  )
  SELECT c.relay_id, r.url, c.learned::text, c.failures, info.max_limit, c.novelty, info.software
  FROM claimed AS c
  -- One look-up each; a plain join reads the whole table.
  CROSS JOIN LATERAL (SELECT r.url FROM bigbrotr.relay AS r WHERE r.id = c.relay_id LIMIT 1) AS r
  LEFT JOIN LATERAL (
    SELECT CASE WHEN m.data #>> '{limitation,max_limit}' ~ '^[1-9][0-9]{0,8}$'
                THEN (m.data #>> '{limitation,max_limit}')::integer END AS max_limit,
           left(concat_ws(' ', bigbrotr.json_string(m.data, 'software'), bigbrotr.json_string(m.data, 'version')), 200)
             AS software
    FROM bigbrotr.relay_metadata AS rm
    JOIN bigbrotr.metadata AS m ON m.id = rm.metadata_id AND m.type = rm.type
    WHERE rm.relay_id = c.relay_id AND rm.type = 'nip11_info'
    ORDER BY rm.first_seen_at DESC
    LIMIT 1
  ) AS info ON true
  ORDER BY c.queue_at;
END
$$;
COMMENT ON FUNCTION bigbrotr.claim_relays(integer, integer, text[], boolean, text[]) IS
  'Internal: takes relays that are due for a pass, the most useful first, so that no other synchronizer does.';

CREATE FUNCTION bigbrotr.enrol_relays() RETURNS void
  LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
  AS $$
    INSERT INTO bigbrotr.relay_sync (relay_id)
    SELECT r.id FROM bigbrotr.relay AS r
    WHERE NOT EXISTS (SELECT FROM bigbrotr.relay_sync AS s WHERE s.relay_id = r.id)
    ON CONFLICT DO NOTHING
  $$;
COMMENT ON FUNCTION bigbrotr.enrol_relays() IS 'Internal: relays that came in by hand have a place in the queue.';

CREATE FUNCTION bigbrotr.return_relays(relay_ids integer[]) RETURNS void
  LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
  AS $$
    UPDATE bigbrotr.relay_sync SET leased_until = NULL, leased_by = NULL
    WHERE relay_id = ANY (relay_ids) AND leased_by = pg_backend_pid()
  $$;
COMMENT ON FUNCTION bigbrotr.return_relays(integer[]) IS
  'Internal: these were claimed and not begun, since their hosts have connections enough; they keep their place.';

CREATE FUNCTION bigbrotr.extend_leases(relay_ids integer[], lease_s integer) RETURNS SETOF integer
  LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
  AS $$
    UPDATE bigbrotr.relay_sync AS s SET leased_until = now() + lease_s * interval '1 second'
    FROM bigbrotr.relay AS r
    WHERE s.relay_id = ANY (relay_ids) AND s.leased_by = pg_backend_pid()
      AND r.id = s.relay_id AND r.state <> 'blocked'
      AND NOT EXISTS (SELECT FROM bigbrotr.block AS b WHERE r.url LIKE b.pattern)
    RETURNING s.relay_id
  $$;
COMMENT ON FUNCTION bigbrotr.extend_leases(integer[], integer) IS
  'Internal: a synchronizer is still at these relays; returns those that nobody else has taken over and nobody has blocked.';

CREATE FUNCTION bigbrotr.release_leases() RETURNS void
  LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
  AS $$
    UPDATE bigbrotr.relay_sync SET leased_until = NULL, leased_by = NULL, live_since = NULL
    WHERE leased_by = pg_backend_pid()
  $$;
COMMENT ON FUNCTION bigbrotr.release_leases() IS 'Internal: this synchronizer is at no relay.';

CREATE FUNCTION bigbrotr.retry_needs_auth(key text) RETURNS void
  LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
  AS $$
    UPDATE bigbrotr.relay_sync AS s SET next_attempt_at = now(), queue_at = now(), failures = 0
    WHERE s.last_error LIKE 'needs\_auth:%' AND s.learned ->> 'key' IS DISTINCT FROM $1 AND s.next_attempt_at > now()
  $$;
COMMENT ON FUNCTION bigbrotr.retry_needs_auth(text) IS
  'Internal: relays that want NIP-42 AUTH and have not been shown this public key are due.';

CREATE FUNCTION bigbrotr.release_relay(
  relay_id integer, ok boolean, learned text, horizon bigint, pause_s double precision, head_start_s double precision,
  failures integer, error text) RETURNS void
  LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
  AS $$
    UPDATE bigbrotr.relay_sync AS s
    SET leased_until = NULL,
        leased_by = NULL,
        live_since = NULL,
        learned = coalesce($3::jsonb, s.learned),
        horizon = coalesce($4, s.horizon),
        next_attempt_at = now() + $5 * interval '1 second',
        queue_at = now() + ($5 - $6) * interval '1 second',
        failures = $7,
        last_synced_at = CASE WHEN $2 THEN now() ELSE s.last_synced_at END,
        last_error = $8
    WHERE s.relay_id = $1 AND s.leased_by = pg_backend_pid()
  $$;
COMMENT ON FUNCTION bigbrotr.release_relay(
  integer, boolean, text, bigint, double precision, double precision, integer, text) IS
  'Internal: a pass over a relay has ended; when to come back, and what was learned.';

CREATE FUNCTION bigbrotr.relay_is_live(relay_id integer, learned text, horizon bigint) RETURNS void
  LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
  AS $$
    UPDATE bigbrotr.relay_sync AS s
    SET learned = $2::jsonb, horizon = $3, failures = 0, last_synced_at = now(), next_attempt_at = now(), last_error = NULL,
        live_since = coalesce(s.live_since, now())
    WHERE s.relay_id = $1 AND s.leased_by = pg_backend_pid()
  $$;
COMMENT ON FUNCTION bigbrotr.relay_is_live(integer, text, bigint) IS
  'Internal: the history of a relay is done, and the synchronizer stays to hear what arrives.';

CREATE FUNCTION bigbrotr.cover_live(relay_id integer, filter_hash bytea, ranges text, horizon bigint) RETURNS void
  LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  PERFORM bigbrotr.cover(cover_live.relay_id, cover_live.filter_hash, ARRAY['complete'], ARRAY[cover_live.ranges]);
  UPDATE bigbrotr.relay_sync AS s SET horizon = cover_live.horizon, last_synced_at = now(), next_attempt_at = now()
  WHERE s.relay_id = cover_live.relay_id AND s.leased_by = pg_backend_pid();
END
$$;
COMMENT ON FUNCTION bigbrotr.cover_live(integer, bytea, text, bigint) IS
  'Internal: enters into coverage what a live subscription has brought in full. In a transaction after that of its events.';

CREATE FUNCTION bigbrotr.count_sync(
  relay_id integer, requests bigint, received bigint, archived bigint, novelty double precision) RETURNS void
  LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
  AS $$
    UPDATE bigbrotr.relay_sync AS s
    SET requests = s.requests + $2, received = s.received + $3, archived = s.archived + $4, novelty = $5
    WHERE s.relay_id = $1
  $$;
COMMENT ON FUNCTION bigbrotr.count_sync(integer, bigint, bigint, bigint, double precision) IS
  'Internal: adds what was done at a relay to its counts.';

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

CREATE FUNCTION bigbrotr.relay_holdings(relay_id integer, OUT oldest bigint, OUT held bigint)
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT min(s.lo), coalesce(sum(s.n), 0)::bigint FROM bigbrotr.sighting AS s WHERE s.relay_id = $1 $$;
COMMENT ON FUNCTION bigbrotr.relay_holdings(integer) IS 'Internal: how many events were seen on a relay, and since when.';

CREATE FUNCTION bigbrotr.held_items(relay_id integer, filter text, since bigint, until bigint, max integer) RETURNS bytea
  LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  items bytea;
BEGIN
  -- Packed: a row each would cost the worker ten times the memory.
  EXECUTE format(
    $q$
    WITH newest AS (
      SELECT e.seq, e.created_at, e.id FROM bigbrotr.stored_event AS e
      WHERE e.created_at BETWEEN $2 AND $3 AND (%s)
      ORDER BY e.created_at DESC, e.id DESC LIMIT $4
    ), seen AS (
      SELECT DISTINCT m.seq
      FROM bigbrotr.sighting AS s
      CROSS JOIN LATERAL unnest(bigbrotr.sighting_members(s.members)) AS m (seq)
      WHERE s.relay_id = $1 AND s.lo <= $3 AND s.hi >= (SELECT min(n.created_at) FROM newest AS n)
    )
    SELECT string_agg(int8send(n.created_at) || n.id || CASE WHEN s.seq IS NULL THEN '\x00'::bytea ELSE '\x01' END, '')
    FROM newest AS n
    LEFT JOIN seen AS s ON s.seq = n.seq
    $q$, bigbrotr.filter_condition(filter))
  INTO items USING relay_id, since, until, max;
  RETURN items;
END
$$;
COMMENT ON FUNCTION bigbrotr.held_items(integer, text, bigint, bigint, integer) IS
  'Internal: the newest archived events of a stretch of time that match a filter, 41 bytes each: created_at, id, and whether it was seen on the relay.';

CREATE FUNCTION bigbrotr.add_seen(relay_id integer, ids bytea[], created_ats bigint[]) RETURNS void
  LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT bigbrotr.add_sightings($1, array_agg(u.created_at), array_agg(known.seq))
    FROM unnest($2, $3) AS u (id, created_at)
    CROSS JOIN LATERAL (SELECT e.seq FROM bigbrotr.stored_event AS e WHERE e.id = u.id LIMIT 1) AS known
    HAVING count(*) > 0
  $$;
COMMENT ON FUNCTION bigbrotr.add_seen(integer, bytea[], bigint[]) IS
  'Internal: a relay turned out to hold these archived events. Call lock_archive() first, in a statement of its own.';

CREATE FUNCTION bigbrotr.archive_size() RETURNS bigint
  LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT pg_total_relation_size('bigbrotr.stored_event') + pg_total_relation_size('bigbrotr.sighting') $$;
COMMENT ON FUNCTION bigbrotr.archive_size() IS 'Internal: bytes of events and sightings with their indexes.';

CREATE FUNCTION bigbrotr.disk_free() RETURNS bigint
  LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'disk_free_wrapper';
COMMENT ON FUNCTION bigbrotr.disk_free() IS 'Internal: bytes free to the server on the disk of its data directory.';
