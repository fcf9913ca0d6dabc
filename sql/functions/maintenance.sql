-- What the refresher does besides statistics. Every call is one bounded step.

CREATE FUNCTION bigbrotr.maintain(history_s integer, quarantine_s integer, batch integer) RETURNS jsonb
  LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
  AS $$
    DECLARE
      history      timestamptz := now() - make_interval(secs => history_s);
      cycles       integer;
      checks       integer;
      changes      integer;
      periods      integer;
      documents    integer;
      refused      integer;
      candidates   integer;
      evidence     integer;
      surplus_id   bigint;
      orphan_ids   bytea[];
      orphan_types bigbrotr.metadata_type[];
    BEGIN
      WITH old AS MATERIALIZED (
        SELECT c.id FROM bigbrotr.stat_cycles AS c WHERE c.finished_at < history ORDER BY c.finished_at LIMIT batch
      )
      DELETE FROM bigbrotr.stat_cycles AS c USING old WHERE c.id = old.id;
      GET DIAGNOSTICS cycles = ROW_COUNT;

      -- Relay by relay, on the primary key: the table has no index on time alone. The newest stays: it is what a relay that
      -- died is known by.
      WITH old AS MATERIALIZED (
        SELECT c.relay_id, c.checked_at
        FROM bigbrotr.relay_latest AS r
        CROSS JOIN LATERAL (
          SELECT k.relay_id, k.checked_at FROM bigbrotr.relay_check AS k
          WHERE k.relay_id = r.relay_id AND k.checked_at < LEAST(history, r.checked_at)
          ORDER BY k.checked_at LIMIT batch
        ) AS c
        LIMIT batch
      )
      DELETE FROM bigbrotr.relay_check AS c USING old WHERE c.relay_id = old.relay_id AND c.checked_at = old.checked_at;
      GET DIAGNOSTICS checks = ROW_COUNT;

      WITH old AS MATERIALIZED (
        SELECT c.id FROM bigbrotr.relay_change AS c WHERE c.changed_at < history ORDER BY c.changed_at LIMIT batch
      )
      DELETE FROM bigbrotr.relay_change AS c USING old WHERE c.id = old.id;
      GET DIAGNOSTICS changes = ROW_COUNT;

      -- The current one of each relay has no end yet.
      WITH old AS MATERIALIZED (
        SELECT p.relay_id, p.since
        FROM bigbrotr.relay AS r
        CROSS JOIN LATERAL (
          SELECT k.relay_id, k.since FROM bigbrotr.relay_period AS k
          WHERE k.relay_id = r.id AND k.since < history AND k.until < history
          ORDER BY k.since LIMIT batch
        ) AS p
        LIMIT batch
      )
      DELETE FROM bigbrotr.relay_period AS p USING old WHERE p.relay_id = old.relay_id AND p.since = old.since;
      GET DIAGNOSTICS periods = ROW_COUNT;

      -- Locked first, judged again by a statement of its own: a check may have come back to a document in between.
      SELECT array_agg(o.id), array_agg(o.type) INTO orphan_ids, orphan_types
      FROM (
        SELECT m.id, m.type
        FROM bigbrotr.metadata AS m
        WHERE NOT EXISTS (SELECT FROM bigbrotr.relay_metadata AS r WHERE r.metadata_id = m.id AND r.type = m.type)
        LIMIT batch
        FOR UPDATE OF m SKIP LOCKED
      ) AS o;
      DELETE FROM bigbrotr.metadata AS m
      USING unnest(orphan_ids, orphan_types) AS o(id, type)
      WHERE m.id = o.id AND m.type = o.type
        AND NOT EXISTS (SELECT FROM bigbrotr.relay_metadata AS r WHERE r.metadata_id = m.id AND r.type = m.type);
      GET DIAGNOSTICS documents = ROW_COUNT;

      SELECT q.id INTO surplus_id FROM bigbrotr.quarantine AS q ORDER BY q.id DESC OFFSET 100000 LIMIT 1;
      WITH old AS MATERIALIZED (
        (SELECT q.id FROM bigbrotr.quarantine AS q
         WHERE q.seen_at < now() - make_interval(secs => quarantine_s) ORDER BY q.seen_at LIMIT batch)
        UNION
        (SELECT q.id FROM bigbrotr.quarantine AS q WHERE q.id <= surplus_id ORDER BY q.id LIMIT batch)
      )
      DELETE FROM bigbrotr.quarantine AS q USING old WHERE q.id = old.id;
      GET DIAGNOSTICS refused = ROW_COUNT;

      candidates := bigbrotr.expire_candidates(batch);
      evidence := bigbrotr.expire_evidence(batch);

      RETURN jsonb_build_object(
        'stat_cycles', cycles, 'relay_check', checks, 'relay_change', changes, 'relay_period', periods, 'metadata', documents,
        'quarantine', refused, 'candidate', candidates, 'candidate_evidence', evidence,
        'more', GREATEST(cycles, checks, changes, periods, documents, refused, candidates, evidence) >= batch);
    END
  $$;
COMMENT ON FUNCTION bigbrotr.maintain(integer, integer, integer) IS
  'Internal: deletes up to batch rows of each table that is kept for a time only and tells the counts. more: call it again. Ages in seconds.';

CREATE FUNCTION bigbrotr.apply_blocks() RETURNS jsonb
  LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
  AS $$
    DECLARE
      blocked    integer;
      unblocked  integer;
      candidates integer;
    BEGIN
      UPDATE bigbrotr.relay AS r SET state = 'blocked'
      WHERE r.state <> 'blocked' AND EXISTS (SELECT FROM bigbrotr.block AS b WHERE r.url LIKE b.pattern);
      GET DIAGNOSTICS blocked = ROW_COUNT;

      WITH free AS (
        UPDATE bigbrotr.relay AS r SET state = 'active'
        WHERE r.state = 'blocked' AND NOT EXISTS (SELECT FROM bigbrotr.block AS b WHERE r.url LIKE b.pattern)
        RETURNING r.id
      ), due AS (
        UPDATE bigbrotr.relay_monitor AS m SET next_check_at = now() FROM free WHERE m.relay_id = free.id
      )
      SELECT count(*) INTO unblocked FROM free;

      -- Those that match are put off when their turn comes (claim_candidates), and stay: a pattern may be a mistake.
      WITH free AS MATERIALIZED (
        SELECT c.url
        FROM bigbrotr.candidate AS c
        WHERE c.last_error LIKE 'blocked:%' AND NOT EXISTS (SELECT FROM bigbrotr.block AS b WHERE c.url LIKE b.pattern)
        LIMIT 10000
        FOR UPDATE OF c SKIP LOCKED
      )
      UPDATE bigbrotr.candidate AS c SET next_attempt_at = now(), last_error = NULL FROM free AS f WHERE c.url = f.url;
      GET DIAGNOSTICS candidates = ROW_COUNT;

      RETURN jsonb_build_object('blocked', blocked, 'unblocked', unblocked, 'candidates', candidates);
    END
  $$;
COMMENT ON FUNCTION bigbrotr.apply_blocks() IS
  'Internal: makes relay.state agree with bigbrotr.block and tells the counts. A relay no longer matched is active again and checked at once, and candidates that were put off for a block are due, up to 10,000 a call.';

-- Autovacuum would do as much; where it is off or late, the plans over a fast growing archive would suffer.
CREATE FUNCTION bigbrotr.tables_to_analyze() RETURNS SETOF text
  LANGUAGE sql STABLE ROWS 5 SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT format('%I.%I', s.schemaname, s.relname)
    FROM pg_stat_user_tables AS s
    WHERE s.schemaname = 'bigbrotr' AND s.n_mod_since_analyze > 1000 + 0.1 * s.n_live_tup
    ORDER BY s.n_mod_since_analyze DESC
  $$;
COMMENT ON FUNCTION bigbrotr.tables_to_analyze() IS 'Internal: tables a tenth of which changed since they were last analyzed, the most changed first.';

CREATE FUNCTION bigbrotr.analyze_next() RETURNS text
  LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
  AS $$
    DECLARE
      wanted text;
    BEGIN
      SELECT t.name INTO wanted FROM bigbrotr.tables_to_analyze() AS t(name) LIMIT 1;
      IF FOUND THEN
        EXECUTE 'ANALYZE ' || wanted;
      END IF;
      RETURN wanted;
    END
  $$;
COMMENT ON FUNCTION bigbrotr.analyze_next() IS
  'Internal: analyzes the table that needs it most and returns its name; NULL: none does. One a call, so that no transaction grows long.';

CREATE FUNCTION bigbrotr.delete_events(gone bigint[]) RETURNS integer
  LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
  AS $$
    DECLARE
      gone_ats  bigint[];
      gone_seqs bigint[];
    BEGIN
      WITH deleted AS (
        DELETE FROM bigbrotr.stored_event AS e
        WHERE e.seq = ANY (gone)
        RETURNING e.created_at, e.seq
      )
      SELECT array_agg(d.created_at), array_agg(d.seq) INTO gone_ats, gone_seqs FROM deleted AS d;
      IF gone_seqs IS NULL THEN
        RETURN 0;
      END IF;
      PERFORM nextval('bigbrotr.removal_seq');
      PERFORM bigbrotr.remove_sightings(gone_ats, gone_seqs);
      RETURN cardinality(gone_seqs);
    END
  $$;
COMMENT ON FUNCTION bigbrotr.delete_events(bigint[]) IS
  'Internal: takes the events with these seqs out of the archive and out of the leaves; returns how many there were. Under the archive lock only.';

-- What has expired is looked for without the archive lock, and taken out with it in small batches by delete_events().
-- Coverage stays: it says that everything a relay held in a range was seen, which is as true afterwards. Were it taken
-- back, the range would be fetched again, and refused.
CREATE FUNCTION bigbrotr.old_events(
  first_kind integer, last_kind integer, but_first integer[], but_last integer[], from_at bigint, up_to bigint, stretch integer)
  RETURNS TABLE (seqs bigint[], newest bigint, more boolean)
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
  AS $$
    WITH stretch AS MATERIALIZED (
      SELECT e.seq, e.created_at, e.kind
      FROM bigbrotr.stored_event AS e
      WHERE e.created_at >= from_at AND e.created_at <= up_to
      ORDER BY e.created_at
      FETCH FIRST (stretch) ROWS WITH TIES
    )
    SELECT
      COALESCE(array_agg(s.seq ORDER BY s.created_at, s.seq) FILTER (WHERE s.kind BETWEEN first_kind AND last_kind
        AND NOT EXISTS (SELECT FROM unnest(but_first, but_last) AS b (lo, hi) WHERE s.kind BETWEEN b.lo AND b.hi)), '{}'),
      max(s.created_at),
      count(*) >= stretch AND max(s.created_at) < up_to
    FROM stretch AS s
  $$;
COMMENT ON FUNCTION bigbrotr.old_events(integer, integer, integer[], integer[], bigint, bigint, integer) IS
  'Internal: looks through the next stretch of the archive in the order of created_at, whole seconds, and names the events of these kinds but those. newest: where it ended. more: go on behind it.';

-- Files do not shrink when rows are deleted: what counts is what is alive in them. Up to 2,000 pages are read, so on a
-- large archive this is an estimate, some 3 % off at most; indexes count in proportion.
CREATE FUNCTION bigbrotr.live_size(OUT bytes bigint, OUT events bigint)
  LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
  AS $$
    DECLARE
      -- A line pointer, a tuple header with padding, and the columns of fixed size.
      row_bytes constant integer := 60;
      pages     bigint := pg_relation_size('bigbrotr.stored_event') / current_setting('block_size')::integer;
      share     double precision := LEAST(1, 2000.0 / GREATEST(pages, 1));
      alive     double precision;
      held      double precision;
    BEGIN
      SELECT count(*) / share, COALESCE(sum(row_bytes + pg_column_size(e.body) + pg_column_size(e.id)), 0) / share
      INTO events, alive
      FROM bigbrotr.stored_event AS e TABLESAMPLE SYSTEM (100 * share);
      SELECT COALESCE(sum(row_bytes + pg_column_size(s.members)), 0) INTO held FROM bigbrotr.sighting AS s;
      bytes := pg_total_relation_size('bigbrotr.stored_event') * LEAST(1, alive / GREATEST(pg_table_size('bigbrotr.stored_event'), 1))
             + pg_total_relation_size('bigbrotr.sighting') * LEAST(1, held / GREATEST(pg_table_size('bigbrotr.sighting'), 1));
    END
  $$;
COMMENT ON FUNCTION bigbrotr.live_size() IS
  'Internal: bytes that living events and sightings take with their indexes, and how many events there are: an estimate. bigbrotr.event_retention_size is about these bytes.';

CREATE FUNCTION bigbrotr.event_floor() RETURNS bigint
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT COALESCE((SELECT (s.state ->> 'event_floor')::bigint FROM bigbrotr.service_state AS s WHERE s.service = 'refresher'), 0)
  $$;
COMMENT ON FUNCTION bigbrotr.event_floor() IS
  'Internal: bigbrotr.event_retention_size took out what is older (created_at), and archive() takes in nothing as old; 0: everything is welcome.';

CREATE FUNCTION bigbrotr.set_event_floor(created_at bigint) RETURNS void
  LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
  AS $$
    INSERT INTO bigbrotr.service_state AS s (service, state) VALUES ('refresher', jsonb_build_object('event_floor', $1))
    ON CONFLICT (service) DO UPDATE SET state = s.state || excluded.state
    WHERE s.state ->> 'event_floor' IS DISTINCT FROM excluded.state ->> 'event_floor'
  $$;
COMMENT ON FUNCTION bigbrotr.set_event_floor(bigint) IS 'Internal: sets event_floor(). Under the archive lock.';

CREATE FUNCTION bigbrotr.purge_vanished(max integer) RETURNS jsonb
  LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
  AS $$
    DECLARE
      -- Positions of the archive looked through for gift wraps in one step.
      stretch constant bigint := 20000;
      done    bigint;
      upper   bigint;
      newest  bigint;
      gone    bigint[];
      events  integer;
      wraps   integer := 0;
    BEGIN
      PERFORM bigbrotr.lock_archive();
      -- What its authors wrote: an index look-up for each of them.
      gone := ARRAY(
        SELECT e.seq
        FROM bigbrotr.vanish AS v
        JOIN bigbrotr.author AS a ON a.pubkey = v.pubkey
        CROSS JOIN LATERAL (
          SELECT k.seq FROM bigbrotr.stored_event AS k
          WHERE k.author_id = a.id AND k.created_at <= v.until AND k.kind <> 62
          LIMIT max) AS e
        LIMIT max);
      events := bigbrotr.delete_events(gone);

      -- Gift wraps addressed to them. Mentions of a popular author are too many to look through each time, so the archive
      -- is followed: new requests are matched with the wraps there are, new wraps with the requests there are.
      SELECT COALESCE((SELECT (s.state ->> 'vanish_seq')::bigint FROM bigbrotr.service_state AS s WHERE s.service = 'refresher'), 0) INTO done;
      SELECT COALESCE(max(e.seq), 0) INTO newest FROM bigbrotr.stored_event AS e;
      -- Without a request there is nothing to match: all that is there is passed over at once.
      upper := CASE WHEN EXISTS (SELECT FROM bigbrotr.vanish) THEN LEAST(newest, done + stretch) ELSE newest END;
      IF upper > done THEN
        gone := ARRAY(
          SELECT g.seq
          FROM bigbrotr.stored_event AS r
          JOIN bigbrotr.vanish AS v ON v.request_id = r.id
          JOIN bigbrotr.stored_event AS g
            ON bigbrotr.body_tag_hashes(g.body) @> ARRAY[bigbrotr.tag_hash('p', encode(v.pubkey, 'hex'))]
           AND g.kind = 1059 AND g.created_at <= v.until
          WHERE r.seq > done AND r.seq <= upper AND r.kind = 62
            AND EXISTS (SELECT FROM jsonb_array_elements(bigbrotr.body_tags(g.body)) AS t (tag)
                        WHERE t.tag ->> 0 = 'p' AND t.tag ->> 1 = encode(v.pubkey, 'hex'))
          UNION
          SELECT g.seq
          FROM bigbrotr.stored_event AS g
          CROSS JOIN LATERAL jsonb_array_elements(bigbrotr.body_tags(g.body)) AS t (tag)
          JOIN bigbrotr.vanish AS v ON t.tag ->> 0 = 'p' AND t.tag ->> 1 = encode(v.pubkey, 'hex')
          WHERE g.seq > done AND g.seq <= upper AND g.kind = 1059 AND g.created_at <= v.until
          LIMIT max);
        wraps := bigbrotr.delete_events(gone);
        IF wraps < max THEN
          INSERT INTO bigbrotr.service_state AS s (service, state) VALUES ('refresher', jsonb_build_object('vanish_seq', upper))
          ON CONFLICT (service) DO UPDATE SET state = s.state || excluded.state;
          done := upper;
        END IF;
      END IF;
      RETURN jsonb_build_object('events', events, 'gift_wraps', wraps, 'more', events >= max OR done < newest);
    END
  $$;
COMMENT ON FUNCTION bigbrotr.purge_vanished(integer) IS
  'Internal: deletes up to max events of authors that vanished (NIP-62; all but the requests), and up to max gift wraps addressed to them, with their sightings, and tells the counts. more: call it again.';
