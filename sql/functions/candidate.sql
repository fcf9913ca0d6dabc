-- From a URL somebody named to a relay that answered.

CREATE FUNCTION bigbrotr.is_blocked(url text) RETURNS boolean
  LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT EXISTS (SELECT FROM bigbrotr.block AS b WHERE is_blocked.url LIKE b.pattern) $$;
COMMENT ON FUNCTION bigbrotr.is_blocked(text) IS 'Internal: whether a row of bigbrotr.block matches this URL.';

CREATE FUNCTION bigbrotr.check_block() RETURNS trigger
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $$
    DECLARE
      given constant text := NEW.pattern;
      head  text;
    BEGIN
      -- Keys have a lower-case host and no root slash; what is written otherwise would match nothing, and nobody would notice.
      NEW.pattern := regexp_replace(NEW.pattern, '^([^/]*://[^/%]+)/$', '\1');
      head := substring(NEW.pattern FROM '^[A-Za-z%_]*://[^/%]*');
      IF head IS NOT NULL THEN
        NEW.pattern := lower(head) || substr(NEW.pattern, length(head) + 1);
      ELSIF NEW.pattern ~ '^%?[^/%]*[.:][^/%]*%?$' THEN
        NEW.pattern := lower(NEW.pattern);
      END IF;
      IF NEW.pattern ~ '^[a-z0-9.:\[\]-]+$' AND TG_OP = 'INSERT' THEN
        -- A host and no URL: all its schemes, ports and paths are meant, and no other host that begins like it.
        NEW.pattern := '%://' || NEW.pattern;
        INSERT INTO bigbrotr.block (pattern, reason)
        SELECT NEW.pattern || rest.text, NEW.reason
        FROM unnest(CASE WHEN given ~ ':\d+$' THEN '{/%}' ELSE '{/%,:%}' END::text[]) AS rest(text)
        ON CONFLICT (pattern) DO NOTHING;
      ELSIF NEW.pattern !~ '[%_\\]' THEN
        NEW.pattern := COALESCE(bigbrotr.normalize_relay_url(NEW.pattern), NEW.pattern);
      END IF;
      IF NEW.pattern !~ '^wss?://|[%_]' THEN
        RAISE WARNING 'this pattern matches no relay URL: %', NEW.pattern
          USING HINT = 'URLs begin with ws:// or wss://; % in a pattern stands for anything.';
      ELSIF NEW.pattern <> given THEN
        RAISE NOTICE 'taken as %', NEW.pattern;
      END IF;
      RETURN NEW;
    END
  $$;
COMMENT ON FUNCTION bigbrotr.check_block() IS 'Internal: writes patterns of block as canonical keys are written, makes three of a bare host (itself, its ports, its paths), and warns of one that can match none.';
CREATE TRIGGER check_block BEFORE INSERT OR UPDATE OF pattern ON bigbrotr.block
  FOR EACH ROW EXECUTE FUNCTION bigbrotr.check_block();
COMMENT ON TRIGGER check_block ON bigbrotr.block IS 'Writes patterns as canonical keys are written.';

CREATE FUNCTION bigbrotr.add_candidates(urls text[], source text) RETURNS integer
  LANGUAGE sql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
  AS $$ SELECT n.added FROM bigbrotr.name_candidates(urls, source) AS n $$;
COMMENT ON FUNCTION bigbrotr.add_candidates(text[], text) IS
  'Internal: adds canonical keys that are neither relay, alias nor blocked, without a limit, and returns how many are new. Known ones are marked as named again.';

CREATE FUNCTION bigbrotr.seed(urls text[]) RETURNS integer
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $$
    DECLARE
      keys     text[];
      refused  bigint;
      examples text;
    BEGIN
      SELECT array_agg(k.key) FILTER (WHERE k.key IS NOT NULL),
             count(*) FILTER (WHERE k.key IS NULL),
             string_agg(to_json(left(k.url, 100))::text, ', ' ORDER BY k.n) FILTER (WHERE k.key IS NULL AND k.nth <= 5)
        INTO keys, refused, examples
        FROM (SELECT o.n, o.url, o.key, row_number() OVER (PARTITION BY o.key IS NULL ORDER BY o.n) AS nth
                FROM (SELECT u.n, u.url, bigbrotr.operator_relay_url(u.url) AS key
                        FROM unnest(urls) WITH ORDINALITY AS u(url, n)
                       WHERE u.url IS NOT NULL
                      OFFSET 0) AS o) AS k;
      IF refused > 0 THEN
        RAISE NOTICE '% of the URLs refused: no relay URL that could be dialled', refused
          USING DETAIL = examples || CASE WHEN refused > 5 THEN ', …' ELSE '' END;
      END IF;
      RETURN COALESCE(bigbrotr.add_candidates(keys, 'operator'), 0);
    END
  $$;
COMMENT ON FUNCTION bigbrotr.seed(text[]) IS
  'Adds candidates by hand and returns how many are new. A bare host and http(s):// mean wss:// and ws(s)://; NULL elements are ignored, what is no relay URL is refused with one NOTICE.';

CREATE FUNCTION bigbrotr.claim_candidates(max integer, lease_s integer, networks text[], untried_only boolean DEFAULT false)
  RETURNS TABLE (url text, may_try_tls boolean)
  LANGUAGE plpgsql VOLATILE STRICT ROWS 100 SET search_path = pg_catalog, pg_temp
  -- Index order, whatever the planner knows of a table that fills within a minute.
  SET enable_seqscan = off SET enable_bitmapscan = off
  AS $$
    DECLARE
      began   constant timestamptz := clock_timestamp();
      wanted  integer := max;
      seen    integer;
      claimed text[];
    BEGIN
      LOOP
        WITH due AS MATERIALIZED (
          SELECT d.url, d.next_attempt_at
          FROM unnest(networks::bigbrotr.network[]) AS n(network)
          CROSS JOIN unnest(CASE WHEN untried_only THEN '{f}' ELSE '{f,t}' END::boolean[]) AS f(failed)
          CROSS JOIN LATERAL (
            SELECT c.url, c.next_attempt_at
            FROM bigbrotr.candidate AS c
            WHERE c.network = n.network
              AND (c.failures > 0) = f.failed
              AND c.next_attempt_at <= now()
              AND (c.leased_until IS NULL OR c.leased_until <= now())
            ORDER BY c.next_attempt_at
            LIMIT wanted
            FOR UPDATE OF c SKIP LOCKED
          ) AS d
          ORDER BY d.next_attempt_at, d.url
          LIMIT wanted
        ), judged AS MATERIALIZED (
          SELECT due.url, bigbrotr.is_blocked(due.url) AS is_blocked FROM due
        ), put_off AS (
          -- So that thousands of them do not stand before everybody else at each claim.
          UPDATE bigbrotr.candidate AS c
          SET next_attempt_at = now() + interval '1 day', last_error = 'blocked: a row of bigbrotr.block matches'
          FROM judged AS j
          WHERE j.is_blocked AND c.url = j.url
        ), leased AS (
          UPDATE bigbrotr.candidate AS c
          SET leased_until = now() + make_interval(secs => lease_s)
          FROM judged AS j
          WHERE NOT j.is_blocked AND c.url = j.url
          RETURNING c.url, c.next_attempt_at
        )
        SELECT (SELECT count(*) FROM due), (SELECT array_agg(l.url ORDER BY l.next_attempt_at, l.url) FROM leased AS l)
          INTO seen, claimed;

        RETURN QUERY
          SELECT u.url, NOT bigbrotr.is_blocked(CASE WHEN u.url LIKE 'wss:%' THEN 'ws:' || substr(u.url, 5) ELSE 'wss:' || substr(u.url, 4) END)
          FROM unnest(claimed) AS u(url);
        -- Each of them is leased or put off by now, so there is an end; but no statement may be long, however many are blocked.
        EXIT WHEN seen < wanted OR cardinality(claimed) >= wanted OR clock_timestamp() > began + interval '2 seconds';
        wanted := wanted - COALESCE(cardinality(claimed), 0);
      END LOOP;
    END
  $$;
COMMENT ON FUNCTION bigbrotr.claim_candidates(integer, integer, text[], boolean) IS
  'Internal: leases up to max due candidates of these networks for lease_s seconds, the longest due first; untried_only leaves out those that failed before. Blocked ones are put off for a day. may_try_tls: no block covers the same URL with the other scheme.';

CREATE FUNCTION bigbrotr.release_candidates() RETURNS integer
  LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
  AS $$
    WITH released AS (
      UPDATE bigbrotr.candidate AS c SET leased_until = NULL WHERE c.leased_until IS NOT NULL RETURNING 1
    )
    SELECT count(*)::integer FROM released
  $$;
COMMENT ON FUNCTION bigbrotr.release_candidates() IS
  'Internal: ends every lease and returns how many. For a validator that starts: a database has one, so they are those of a dead one.';

CREATE FUNCTION bigbrotr.defer_candidates(urls text[], seconds integer) RETURNS void
  LANGUAGE sql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
  AS $$
    UPDATE bigbrotr.candidate AS c
    SET leased_until    = NULL,
        next_attempt_at = now() + (0.8 + 0.4 * random()) * make_interval(secs => seconds)
    FROM (
      -- Whoever is being written to by somebody else is left to the end of its lease.
      SELECT d.url FROM bigbrotr.candidate AS d WHERE d.url = ANY (urls) ORDER BY d.url COLLATE "C" FOR UPDATE SKIP LOCKED
    ) AS ours
    WHERE c.url = ours.url
  $$;
COMMENT ON FUNCTION bigbrotr.defer_candidates(text[], integer) IS
  'Internal: ends the leases of candidates that were not tried, which is no failure of theirs, and makes them due again in about so many seconds.';

CREATE FUNCTION bigbrotr.add_relay(url text) RETURNS integer
  LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
  AS $$
    DECLARE
      relay_id integer;
    BEGIN
      SELECT r.id INTO relay_id FROM bigbrotr.relay AS r WHERE r.url = add_relay.url;
      IF NOT FOUND THEN
        INSERT INTO bigbrotr.relay AS r (url, network, state)
        VALUES (add_relay.url,
                bigbrotr.relay_url_network(add_relay.url)::bigbrotr.network,
                CASE WHEN bigbrotr.is_blocked(add_relay.url) THEN 'blocked' ELSE 'active' END::bigbrotr.relay_state)
        ON CONFLICT ON CONSTRAINT relay_url_key DO NOTHING;
        -- A statement of its own: it also sees the row of a transaction that was faster.
        SELECT r.id INTO STRICT relay_id FROM bigbrotr.relay AS r WHERE r.url = add_relay.url;
        INSERT INTO bigbrotr.relay_sync AS s (relay_id) VALUES (relay_id) ON CONFLICT ON CONSTRAINT relay_sync_pkey DO NOTHING;
        INSERT INTO bigbrotr.relay_monitor AS m (relay_id) VALUES (relay_id) ON CONFLICT ON CONSTRAINT relay_monitor_pkey DO NOTHING;
        DELETE FROM bigbrotr.candidate AS c WHERE c.url = add_relay.url;
      END IF;
      RETURN relay_id;
    END
  $$;
COMMENT ON FUNCTION bigbrotr.add_relay(text) IS
  'Internal: the id of the relay with this canonical key, which is added, with its bookkeeping, if it is new. It is no candidate afterwards.';

CREATE FUNCTION bigbrotr.retry_pause(failures integer, is_lasting boolean) RETURNS interval
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT ('{1 minute,5 minutes,30 minutes,2 hours,8 hours,1 day,2 days,4 days,7 days}'::interval[])[
      -- What is lasting takes every other step.
      LEAST(GREATEST(CASE WHEN is_lasting THEN 2 * failures ELSE failures END, 1), 9)]
  $$;
COMMENT ON FUNCTION bigbrotr.retry_pause(integer, boolean) IS
  'How long a candidate that failed so many times in a row is left alone, before ±20 % of jitter. is_lasting: the last failure is of a kind that does not pass soon.';

CREATE FUNCTION bigbrotr.fail_candidate(url text, error text, is_lasting boolean DEFAULT false) RETURNS void
  LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
  AS $$
    UPDATE bigbrotr.candidate AS c
    -- A proxy of ours that is down, or a system without roots of trust, says nothing about the candidate: its ladder stays where it is.
    SET failures        = c.failures + (fail_candidate.error !~ '^(proxy|no_roots):')::integer,
        last_error      = left(fail_candidate.error, 500),
        leased_until    = NULL,
        -- So that what failed together is not tried again together.
        next_attempt_at = now() + (0.8 + 0.4 * random())
          * bigbrotr.retry_pause(CASE WHEN fail_candidate.error ~ '^(proxy|no_roots):' THEN 2 ELSE c.failures + 1 END, is_lasting)
    WHERE c.url = fail_candidate.url
  $$;
COMMENT ON FUNCTION bigbrotr.fail_candidate(text, text, boolean) IS
  'Internal: ends the lease of a candidate that did not answer and sets its next attempt, from a minute later to a week: retry_pause().';

CREATE FUNCTION bigbrotr.expire_candidates(max integer DEFAULT 10000) RETURNS integer
  LANGUAGE sql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
  AS $$
    WITH expired AS MATERIALIZED (
      SELECT c.url
      FROM bigbrotr.candidate AS c
      WHERE c.first_seen_at < now() - interval '30 days'
        AND COALESCE(c.last_seen_at, c.first_seen_at) < now() - interval '7 days'
        -- What could not be tried in all that time (its network is off, its proxy knows nothing, it is blocked) counts no failures;
        -- what a person named waits for its network.
        AND (c.failures >= 5 OR c.last_error ~ '^(proxy|no_roots):' OR (c.failures = 0 AND c.source IN ('event', 'api')))
        AND (c.leased_until IS NULL OR c.leased_until <= now())
      LIMIT max
      FOR UPDATE OF c SKIP LOCKED
    ), deleted AS (
      DELETE FROM bigbrotr.candidate AS c USING expired AS x WHERE c.url = x.url RETURNING 1
    )
    SELECT count(*)::integer FROM deleted
  $$;
COMMENT ON FUNCTION bigbrotr.expire_candidates(integer) IS
  'Internal: deletes up to max candidates that are 30 days old, were not named for a week, and failed five times or could not be tried; returns how many.';
