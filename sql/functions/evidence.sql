-- What is named becomes a candidate, within limits, and who named it is counted.

-- The k lowest of n evenly spread numbers tell n: exact below k, and above by how far up the k-th lies, to within 6 %
-- (one standard deviation for k = 256). Once n is large a new author seldom is among the lowest, so a popular URL's row
-- hardly changes but for its counter, and never exceeds 2 kB.
CREATE FUNCTION bigbrotr.author_count(author_hashes integer[]) RETURNS bigint
  LANGUAGE sql IMMUTABLE PARALLEL SAFE
  AS $$
    -- Operators by their schema: so it may be inlined, without a search_path of its own.
    SELECT CASE
      WHEN $1[256] IS NULL THEN pg_catalog.cardinality($1)::bigint
      ELSE 255::bigint OPERATOR(pg_catalog.*) 4294967296 OPERATOR(pg_catalog./) ($1[256]::bigint OPERATOR(pg_catalog.+) 2147483649)
    END
  $$;
COMMENT ON FUNCTION bigbrotr.author_count(integer[]) IS
  'How many authors candidate_evidence.author_hashes stands for: exact up to 255, an estimate beyond (one standard deviation is 6 %), which never falls when authors are added.';

CREATE FUNCTION bigbrotr.merge_author_hashes(known integer[], more integer[]) RETURNS integer[]
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT CASE
      WHEN cardinality(more) = 0 OR cardinality(known) = 256 AND more[1] > known[256] THEN known
      ELSE ARRAY(SELECT a.hash FROM unnest(known) AS a(hash) UNION SELECT b.hash FROM unnest(more) AS b(hash) ORDER BY 1 LIMIT 256)
    END
  $$;
COMMENT ON FUNCTION bigbrotr.merge_author_hashes(integer[], integer[]) IS
  'Internal: the 256 lowest of two sorted lists of hashes, sorted, each once.';

CREATE FUNCTION bigbrotr.candidate_limit(name text) RETURNS integer
  LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT COALESCE(NULLIF(bigbrotr.setting(name)::integer, 0), 2147483647) $$;
COMMENT ON FUNCTION bigbrotr.candidate_limit(text) IS
  'Internal: one of the settings max_candidates…; 0, or a library that is not loaded, is no limit.';

CREATE FUNCTION bigbrotr.candidate_room() RETURNS integer
  LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
  AS $$
    DECLARE
      most integer := bigbrotr.candidate_limit('max_candidates');
      held bigint;
      gone bigint;
    BEGIN
      SELECT count(*) INTO held FROM bigbrotr.candidate;
      IF held > most - most / 20 THEN
        -- Whoever floods the network with names must not keep new relays out for the month until candidates expire.
        WITH surplus AS MATERIALIZED (
          SELECT c.url
          FROM bigbrotr.candidate AS c
          WHERE c.source IN ('event', 'api')
            -- Whoever could not be tried for a day counts no failures: its network is off, or its proxy knows nothing.
            AND (c.failures >= 3 OR (c.first_seen_at < now() - interval '1 day' AND (c.failures = 0 OR c.last_error ~ '^(proxy|no_roots):')))
            AND (c.leased_until IS NULL OR c.leased_until <= now())
          ORDER BY c.failures DESC, COALESCE(c.last_seen_at, c.first_seen_at)
          LIMIT LEAST(GREATEST(most / 20, 1), 10000)
          FOR UPDATE OF c SKIP LOCKED
        ), deleted AS (
          DELETE FROM bigbrotr.candidate AS c USING surplus WHERE c.url = surplus.url RETURNING 1
        )
        SELECT count(*) INTO gone FROM deleted;
        held := held - gone;
      END IF;
      RETURN GREATEST(most - held, 0);
    END
  $$;
COMMENT ON FUNCTION bigbrotr.candidate_room() IS
  'Internal: how many candidates may come in before there are bigbrotr.max_candidates. When few may, some of those that events or APIs named are deleted: that failed three times, the worst first, then that could not be tried for a day.';

CREATE FUNCTION bigbrotr.note_refusals(scope text, names text[], counts bigint[]) RETURNS void
  LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
  AS $$
    INSERT INTO bigbrotr.candidate_refusal AS r (scope, name, refusals)
    SELECT note_refusals.scope, n.name, n.refusals
    FROM unnest(names, counts) AS n(name, refusals)
    -- A thousand strangers, each beyond the limit: the worst of them will do.
    ORDER BY n.refusals DESC, n.name
    LIMIT 100
    ON CONFLICT ON CONSTRAINT candidate_refusal_pkey DO UPDATE
      SET refusals = r.refusals + excluded.refusals, last_refused_at = now()
  $$;
COMMENT ON FUNCTION bigbrotr.note_refusals(text, text[], bigint[]) IS
  'Internal: counts URLs that a limit kept out, for the hundred names with the most of them.';

CREATE FUNCTION bigbrotr.yield_places(domains text[], per_domain integer, named text[]) RETURNS TABLE (domain text, held bigint)
  LANGUAGE sql VOLATILE STRICT ROWS 100 SET search_path = pg_catalog, pg_temp
  AS $$
    WITH counted AS MATERIALIZED (
      SELECT d.domain, d.n AS fresh, h.n AS held
      FROM (SELECT u.domain, count(*) AS n FROM unnest(domains) AS u(domain) GROUP BY u.domain) AS d
      CROSS JOIN LATERAL (
        SELECT count(*) AS n
        FROM (SELECT FROM bigbrotr.candidate_evidence AS e WHERE e.domain = d.domain LIMIT per_domain::bigint + 1) AS places
      ) AS h
    ), yielding AS MATERIALIZED (
      SELECT d.domain, y.url
      FROM counted AS d
      CROSS JOIN LATERAL (
        SELECT c.url
        FROM bigbrotr.candidate_evidence AS e
        JOIN bigbrotr.candidate AS c ON c.url = e.url
        WHERE e.domain = d.domain
          AND c.failures > 0
          AND c.source IN ('event', 'api')
          AND (c.leased_until IS NULL OR c.leased_until <= now())
          -- Whoever is named this very moment is counted by name_candidates(), and would have its place back.
          AND c.url NOT IN (SELECT u.url FROM unnest(named) AS u(url) WHERE u.url IS NOT NULL)
        ORDER BY c.failures DESC, e.events, c.url COLLATE "C"
        LIMIT d.fresh + d.held - per_domain
        FOR UPDATE OF c SKIP LOCKED
      ) AS y
      -- Where an operator named more than that there is no place to be had.
      WHERE d.held <= per_domain AND d.fresh + d.held > per_domain
    ), deleted AS (
      DELETE FROM bigbrotr.candidate AS c USING yielding AS y WHERE c.url = y.url
    ), displaced AS (
      UPDATE bigbrotr.candidate_evidence AS e SET domain = NULL FROM yielding AS y WHERE e.url = y.url
    )
    SELECT d.domain, d.held - (SELECT count(*) FROM yielding AS y WHERE y.domain = d.domain) FROM counted AS d
  $$;
COMMENT ON FUNCTION bigbrotr.yield_places(text[], integer, text[]) IS
  'Internal: how many places are taken of each of these domains (one entry for each new URL), up to one more than the limit. Where the new URLs would go beyond it, as many candidates as needed are deleted first that events or APIs named before (not now, in named) and that failed, the worst first: nobody can close a shared domain by names that lead nowhere.';

CREATE FUNCTION bigbrotr.name_candidates(
  urls text[], source text,
  events integer[] DEFAULT NULL, hash_places integer[] DEFAULT NULL, hashes integer[] DEFAULT NULL,
  author_places integer[] DEFAULT NULL, authors integer[] DEFAULT NULL, room integer DEFAULT NULL,
  OUT added integer, OUT over_author integer, OUT over_domain integer, OUT over_total integer)
  LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
  AS $$
    DECLARE
      per_author integer;
      per_domain integer;
      fresh      integer[];
      known      integer[];
      charged    integer[];
      allowed    integer[];
      refused    text[];
      refusals   bigint[];
    BEGIN
      over_author := 0;
      over_domain := 0;
      over_total := 0;
      -- One at a time: no two transactions that each hold rows the other wants, and limits that are exact.
      -- The number: the first eight bytes of SHA-256('bigbrotr candidates').
      PERFORM pg_advisory_xact_lock(-4142334375739003687);

      -- LATERAL … LIMIT 1: one look-up in each index per URL, whatever the planner thinks of the tables.
      SELECT array_agg(n.place) FILTER (WHERE k.known IS NULL), array_agg(n.place) FILTER (WHERE k.known)
        INTO fresh, known
        FROM (SELECT min(u.place)::integer AS place, u.url
                FROM unnest(urls) WITH ORDINALITY AS u(url, place)
               WHERE u.url IS NOT NULL AND bigbrotr.relay_url_network(u.url) IS NOT NULL
               GROUP BY u.url) AS n
        LEFT JOIN LATERAL (
          SELECT true AS known
          FROM (
            (SELECT 1 FROM bigbrotr.relay AS r WHERE r.url = n.url LIMIT 1)
            UNION ALL (SELECT 1 FROM bigbrotr.relay_alias AS a WHERE a.url = n.url LIMIT 1)
            UNION ALL (SELECT 1 FROM bigbrotr.candidate AS c WHERE c.url = n.url LIMIT 1)
          ) AS any_of
          LIMIT 1
        ) AS k ON true
       WHERE NOT EXISTS (SELECT FROM bigbrotr.block AS b WHERE n.url LIKE b.pattern)
         -- Whoever lost its place below its domain is out for a day, or two that take turns would be tried all the time.
         AND (room IS NULL OR NOT EXISTS (
           SELECT FROM bigbrotr.candidate_evidence AS e
           WHERE e.url = n.url AND e.domain IS NULL AND e.last_seen_at > now() - interval '1 day'));

      IF room IS NOT NULL AND fresh IS NOT NULL THEN
        per_author := bigbrotr.candidate_limit('max_candidates_per_author');
        per_domain := bigbrotr.candidate_limit('max_candidates_per_domain');

        -- Each of its authors may bring a URL in; the first one with something left is charged for it.
        IF authors IS NOT NULL THEN
          WITH pairs AS MATERIALIZED (
            SELECT p.place, p.author, p.nth, row_number() OVER (PARTITION BY p.author ORDER BY p.place) AS rank
            FROM unnest(author_places, authors) WITH ORDINALITY AS p(place, author, nth)
            JOIN unnest(fresh) AS f(place) ON f.place = p.place
          ), spent AS MATERIALIZED (
            SELECT a.author, (
              SELECT count(*)
              FROM (SELECT FROM bigbrotr.candidate_evidence AS e
                    WHERE e.author_id = a.author AND e.first_seen_at > now() - interval '1 day'
                    LIMIT per_author) AS recent) AS n
            FROM (SELECT DISTINCT p.author FROM pairs AS p) AS a
          ), judged AS MATERIALIZED (
            SELECT p.place, p.author, p.nth, p.rank + s.n <= per_author AS fits
            FROM pairs AS p
            JOIN spent AS s ON s.author = p.author
          ), payers AS MATERIALIZED (
            SELECT DISTINCT ON (j.place) j.place, j.author
            FROM judged AS j
            WHERE j.fits
            ORDER BY j.place, j.nth
          ), turned_away AS (
            -- To the charge of the first who named it.
            SELECT DISTINCT ON (j.place) j.place, j.author
            FROM judged AS j
            WHERE NOT EXISTS (SELECT FROM payers AS y WHERE y.place = j.place)
            ORDER BY j.place, j.nth
          ), by_author AS (
            SELECT encode(k.pubkey, 'hex') AS name, count(*) AS n
            FROM turned_away AS t
            JOIN bigbrotr.author AS k ON k.id = t.author
            GROUP BY k.pubkey
          )
          SELECT y.places, y.authors, t.n, b.names, b.counts
            INTO fresh, charged, over_author, refused, refusals
            FROM (SELECT array_agg(p.place) AS places, array_agg(p.author) AS authors FROM payers AS p) AS y
            CROSS JOIN (SELECT count(*) AS n FROM turned_away) AS t
            CROSS JOIN (SELECT array_agg(n.name) AS names, array_agg(n.n) AS counts FROM by_author AS n) AS b;
          PERFORM bigbrotr.note_refusals('author', refused, refusals);
        END IF;

        WITH new AS MATERIALIZED (
          SELECT f.place, f.author, bigbrotr.relay_url_domain(urls[f.place]) AS domain, COALESCE(events[f.place], 0) AS popularity
          FROM unnest(fresh, charged) AS f(place, author)
        ), taken AS MATERIALIZED (
          SELECT y.domain, y.held AS n
          FROM bigbrotr.yield_places(ARRAY(SELECT w.domain FROM new AS w), per_domain, urls) AS y
        ), judged AS MATERIALIZED (
          SELECT w.place, w.author, w.domain, w.popularity,
                 t.n + row_number() OVER (PARTITION BY w.domain ORDER BY w.popularity DESC, w.place) <= per_domain AS fits
          FROM new AS w
          JOIN taken AS t ON t.domain = w.domain
        ), admitted AS MATERIALIZED (
          SELECT j.place, j.author
          FROM judged AS j
          WHERE j.fits
          ORDER BY j.popularity DESC, j.place
          LIMIT GREATEST(room, 0)
        ), by_domain AS (
          SELECT j.domain AS name, count(*) AS n FROM judged AS j WHERE NOT j.fits GROUP BY j.domain
        )
        SELECT a.places, a.authors, j.unfit, j.fit - a.n, b.names, b.counts
          INTO fresh, charged, over_domain, over_total, refused, refusals
          FROM (SELECT array_agg(m.place) AS places, array_agg(m.author) AS authors, count(*) AS n FROM admitted AS m) AS a
          CROSS JOIN (SELECT count(*) FILTER (WHERE m.fits) AS fit, count(*) FILTER (WHERE NOT m.fits) AS unfit FROM judged AS m) AS j
          CROSS JOIN (SELECT array_agg(n.name) AS names, array_agg(n.n) AS counts FROM by_domain AS n) AS b;
        PERFORM bigbrotr.note_refusals('domain', refused, refusals);
        IF over_total > 0 THEN
          PERFORM bigbrotr.note_refusals('total', '{""}', ARRAY[over_total::bigint]);
        END IF;
      END IF;

      WITH written AS (
        INSERT INTO bigbrotr.candidate AS c (url, network, source)
        SELECT urls[f.place], bigbrotr.relay_url_network(urls[f.place])::bigbrotr.network, name_candidates.source
        FROM unnest(fresh) AS f(place)
        ORDER BY urls[f.place] COLLATE "C"
        ON CONFLICT ON CONSTRAINT candidate_pkey DO NOTHING
        RETURNING 1
      )
      SELECT count(*) INTO added FROM written;

      -- A popular URL is named thousands of times: its row is written once an hour at most. What a stranger named first is an
      -- operator's own once he names it too, and what he names by hand is due.
      WITH named AS MATERIALIZED (
        SELECT k.url
        -- One order for all, whatever the locale: no deadlock.
        FROM (SELECT urls[p.place] AS url FROM unnest(known) AS p(place) ORDER BY urls[p.place] COLLATE "C") AS u
        CROSS JOIN LATERAL (
          SELECT d.url
          FROM bigbrotr.candidate AS d
          WHERE d.url = u.url
            AND (COALESCE(d.last_seen_at, d.first_seen_at) <= now() - interval '1 hour'
                 OR name_candidates.source IN ('seed', 'operator') AND d.source NOT IN ('seed', 'operator')
                 OR name_candidates.source = 'operator')
          LIMIT 1
          FOR UPDATE
        ) AS k
      )
      UPDATE bigbrotr.candidate AS c
      SET last_seen_at    = now(),
          source          = CASE WHEN name_candidates.source IN ('seed', 'operator') AND c.source NOT IN ('seed', 'operator')
                                 THEN name_candidates.source ELSE c.source END,
          next_attempt_at = CASE WHEN name_candidates.source = 'operator' THEN LEAST(c.next_attempt_at, now()) ELSE c.next_attempt_at END
      FROM named AS n
      WHERE c.url = n.url;

      INSERT INTO bigbrotr.candidate_evidence AS e (url, domain, sources, events, author_id, author_hashes)
      SELECT urls[p.place], bigbrotr.relay_url_domain(urls[p.place]), ARRAY[name_candidates.source],
             COALESCE(name_candidates.events[p.place], 0), p.author, COALESCE(h.hashes, '{}')
      FROM (SELECT f.place, f.author FROM unnest(fresh, charged) AS f(place, author)
            UNION ALL SELECT k.place, NULL FROM unnest(known) AS k(place)) AS p
      LEFT JOIN (SELECT n.place, array_agg(n.hash ORDER BY n.hash) AS hashes
                   FROM unnest(hash_places, name_candidates.hashes) AS n(place, hash)
                  GROUP BY n.place) AS h ON h.place = p.place
      ORDER BY urls[p.place] COLLATE "C"
      ON CONFLICT ON CONSTRAINT candidate_evidence_pkey DO UPDATE
        SET domain = COALESCE(e.domain, excluded.domain),
            sources = CASE WHEN e.sources @> excluded.sources THEN e.sources
                           ELSE ARRAY(SELECT s.source FROM unnest(e.sources || excluded.sources) AS s(source) ORDER BY 1) END,
            events = e.events + excluded.events,
            -- Who brings a URL in again pays for it again.
            author_id = COALESCE(excluded.author_id, e.author_id),
            first_seen_at = CASE WHEN excluded.author_id IS NULL THEN e.first_seen_at ELSE now() END,
            last_seen_at = now(),
            author_hashes = bigbrotr.merge_author_hashes(e.author_hashes, excluded.author_hashes)
        WHERE excluded.events > 0 OR excluded.author_id IS NOT NULL OR e.domain IS NULL OR NOT e.sources @> excluded.sources OR e.last_seen_at <= now() - interval '1 hour';
    END
  $$;
COMMENT ON FUNCTION bigbrotr.name_candidates(text[], text, integer[], integer[], integer[], integer[], integer[], integer) IS
  'Internal: canonical keys that somebody named. Those that are neither relay, alias, candidate nor blocked become candidates; what names the others is counted too. By place in urls: how many events, hashes of their authors, and author.id of the first few. room: what candidate_room() said, and the limits apply; NULL: none does.';

CREATE FUNCTION bigbrotr.expire_evidence(max integer) RETURNS integer
  LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
  AS $$
    DECLARE
      since   text;
      upto    text;
      deleted integer;
      more    integer;
    BEGIN
      -- Round and round in the order of URLs, a stretch a call: the table is too large to look through each time.
      SELECT COALESCE(s.state ->> 'evidence_url', '') INTO since FROM bigbrotr.service_state AS s WHERE s.service = 'refresher';
      since := COALESCE(since, '');
      SELECT e.url INTO upto FROM bigbrotr.candidate_evidence AS e WHERE e.url > since ORDER BY e.url OFFSET max LIMIT 1;

      -- Who is named meanwhile is younger than a day, which the row itself says when its lock is had.
      WITH orphaned AS MATERIALIZED (
        SELECT e.url
        FROM bigbrotr.candidate_evidence AS e
        WHERE e.url > since AND (e.url <= upto OR upto IS NULL)
          AND e.last_seen_at < now() - interval '1 day'
          AND NOT EXISTS (SELECT FROM bigbrotr.candidate AS c WHERE c.url = e.url)
          AND NOT EXISTS (SELECT FROM bigbrotr.relay AS r WHERE r.url = e.url)
          AND NOT EXISTS (SELECT FROM bigbrotr.relay_alias AS a WHERE a.url = e.url)
        FOR UPDATE OF e SKIP LOCKED
      )
      DELETE FROM bigbrotr.candidate_evidence AS e USING orphaned WHERE e.url = orphaned.url;
      GET DIAGNOSTICS deleted = ROW_COUNT;

      IF since <> COALESCE(upto, '') THEN
        INSERT INTO bigbrotr.service_state AS s (service, state)
        VALUES ('refresher', jsonb_build_object('evidence_url', COALESCE(upto, '')))
        ON CONFLICT (service) DO UPDATE SET state = s.state || excluded.state;
      END IF;

      WITH surplus AS MATERIALIZED (
        SELECT r.scope, r.name
        FROM bigbrotr.candidate_refusal AS r
        WHERE r.last_refused_at < now() - interval '30 days'
           OR r.last_refused_at < (SELECT k.last_refused_at FROM bigbrotr.candidate_refusal AS k ORDER BY 1 DESC OFFSET 10000 LIMIT 1)
        LIMIT max
        FOR UPDATE OF r SKIP LOCKED
      )
      DELETE FROM bigbrotr.candidate_refusal AS r USING surplus AS x WHERE r.scope = x.scope AND r.name = x.name;
      GET DIAGNOSTICS more = ROW_COUNT;
      RETURN deleted + more;
    END
  $$;
COMMENT ON FUNCTION bigbrotr.expire_evidence(integer) IS
  'Internal: looks at the next max rows of candidate_evidence, deletes those of URLs that are nothing any more and were not named for a day, and old refusals; returns how many rows.';
