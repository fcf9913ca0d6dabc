-- Which relay is behind a URL that answered: a new one, or one we know under another URL.

CREATE FUNCTION bigbrotr.relay_host(url text) RETURNS text
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT substring(url FROM '^wss?://(\[[^]]*\]|[^/:]*)') $$;
COMMENT ON FUNCTION bigbrotr.relay_host(text) IS 'Internal: the host of a canonical key.';

CREATE FUNCTION bigbrotr.relay_path(url text) RETURNS text
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT COALESCE(substring(url FROM '^wss?://[^/]*(/.*)$'), '') $$;
COMMENT ON FUNCTION bigbrotr.relay_path(text) IS 'Internal: the path of a canonical key; empty: the root.';

CREATE FUNCTION bigbrotr.relay_suspects(url text, compared integer[] DEFAULT '{}')
  RETURNS TABLE (relay_id integer, relay_url text)
  LANGUAGE sql STABLE STRICT ROWS 5 SET search_path = pg_catalog, pg_temp
  AS $$
    WITH known AS MATERIALIZED (
      SELECT r.id, r.url, bigbrotr.relay_host(r.url) = h.host AS is_same_host,
             regexp_replace(bigbrotr.relay_host(r.url), '^www\.', '') = regexp_replace(h.host, '^www\.', '') AS is_www,
             bigbrotr.relay_path(r.url) AS path, h.path AS own_path
      FROM (SELECT bigbrotr.relay_host(relay_suspects.url) AS host, bigbrotr.relay_path(relay_suspects.url) AS path) AS h
      JOIN bigbrotr.relay AS r ON r.domain = bigbrotr.relay_url_domain(relay_suspects.url)
      WHERE r.url <> relay_suspects.url
        AND r.state = 'active'
        -- The state follows the blocks at the next maintenance only.
        AND NOT bigbrotr.is_blocked(r.url)
        -- What is known to be another's alias is no original, as long as that one lives.
        AND NOT EXISTS (
          SELECT FROM bigbrotr.relay_alias AS a JOIN bigbrotr.relay AS o ON o.id = a.relay_id AND o.state = 'active' WHERE a.url = r.url)
    )
    -- Those that were compared keep their places: it is once round, however many relays a provider has.
    SELECT s.id, s.url
    FROM (
      (SELECT k.id, k.url, 1 AS part, row_number() OVER nearest AS place
       FROM known AS k
       LEFT JOIN bigbrotr.relay_alias AS a ON a.url = relay_suspects.url AND a.relay_id = k.id
       WHERE k.is_same_host
       WINDOW nearest AS (ORDER BY a.url IS NULL, k.path <> k.own_path, length(k.path), k.id)
       ORDER BY place
       LIMIT 3)
      UNION ALL
      (SELECT k.id, k.url, 2, row_number() OVER nearest AS place
       FROM known AS k
       LEFT JOIN bigbrotr.relay_alias AS a ON a.url = relay_suspects.url AND a.relay_id = k.id
       WHERE NOT k.is_same_host
       WINDOW nearest AS (ORDER BY a.url IS NULL, k.path <> k.own_path, NOT k.is_www, k.id)
       ORDER BY place
       LIMIT 2)
    ) AS s
    WHERE s.id <> ALL (compared)
    ORDER BY s.part, s.place
  $$;
COMMENT ON FUNCTION bigbrotr.relay_suspects(text, integer[]) IS
  'Internal: a few active relays that might be the one behind this URL, below the same registrable domain: other paths, ports and schemes of its host, and the oldest of its other hosts. Without those in compared. Only a suspicion: the validator compares what they serve.';

CREATE FUNCTION bigbrotr.relay_url_merits(url text) RETURNS bit varying
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    -- An overlay encrypts by itself, and has no certificates. A key never names the usual port of its scheme.
    SELECT ((url LIKE 'wss:%') = (bigbrotr.relay_url_network(url) = 'clearnet'))::integer::bit(1)
        || (url !~ '^wss?://[^/]*:\d+(/|$)')::integer::bit(1)
        || (bigbrotr.relay_path(url) = '')::integer::bit(1)
  $$;
COMMENT ON FUNCTION bigbrotr.relay_url_merits(text) IS
  'Internal: what speaks for this canonical key among several of one relay: the better scheme of its network, the usual port, the root.';

CREATE FUNCTION bigbrotr.is_better_url(url text, other text) RETURNS boolean
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT bigbrotr.relay_host(is_better_url.url) = bigbrotr.relay_host(other)
       AND m.own <> m.others AND (m.own & m.others) = m.others
    FROM (SELECT bigbrotr.relay_url_merits(is_better_url.url) AS own, bigbrotr.relay_url_merits(other) AS others) AS m
  $$;
COMMENT ON FUNCTION bigbrotr.is_better_url(text, text) IS
  'Internal: of two URLs of one relay on one host, whether url is the one to keep: it has every merit of other, and one more.';

CREATE FUNCTION bigbrotr.record_alias(url text, relay_id integer, reason text, evidence jsonb DEFAULT NULL) RETURNS void
  LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
  AS $$
    INSERT INTO bigbrotr.relay_alias AS a (url, relay_id, reason, evidence)
    SELECT record_alias.url, record_alias.relay_id, left(record_alias.reason, 500), record_alias.evidence
    -- Not itself.
    WHERE NOT EXISTS (SELECT FROM bigbrotr.relay AS r WHERE r.id = record_alias.relay_id AND r.url = record_alias.url)
    ON CONFLICT ON CONSTRAINT relay_alias_pkey DO UPDATE
      SET relay_id = excluded.relay_id, reason = excluded.reason, evidence = excluded.evidence, checked_at = now()
  $$;
COMMENT ON FUNCTION bigbrotr.record_alias(text, integer, text, jsonb) IS
  'Internal: this URL leads to that relay too, and why we believe so.';

CREATE FUNCTION bigbrotr.promote_candidate(url text, alias text DEFAULT NULL, reason text DEFAULT NULL, evidence jsonb DEFAULT NULL) RETURNS integer
  LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
  AS $$
    DECLARE
      relay_id integer;
    BEGIN
      relay_id := bigbrotr.add_relay(promote_candidate.url);
      -- It is one of its own now, if it was another's alias before.
      DELETE FROM bigbrotr.relay_alias AS a WHERE a.url = promote_candidate.url;
      -- Who is a relay already stays one: rows of relay are never taken back.
      IF alias IS NOT NULL AND NOT EXISTS (SELECT FROM bigbrotr.relay AS r WHERE r.url = alias) THEN
        PERFORM bigbrotr.record_alias(alias, relay_id, COALESCE(reason, 'the same URL answers as wss'), evidence);
      END IF;
      DELETE FROM bigbrotr.candidate AS c WHERE c.url IN (promote_candidate.url, alias);
      RETURN relay_id;
    END
  $$;
COMMENT ON FUNCTION bigbrotr.promote_candidate(text, text, text, jsonb) IS
  'Internal: the URL that answered becomes a relay, and alias, the URL it was found by, another URL of that relay; neither is a candidate afterwards. Returns the id of the relay; calling it again changes nothing.';

CREATE FUNCTION bigbrotr.admit_candidate(candidate text, url text, reason text, evidence jsonb, compared integer[])
  RETURNS TABLE (verdict text, relay_id integer, relay_url text)
  LANGUAGE plpgsql VOLATILE ROWS 1 SET search_path = pg_catalog, pg_temp
  AS $$
    DECLARE
      home text := bigbrotr.relay_url_domain(admit_candidate.url);
      most integer;
    BEGIN
      -- Most have a domain of their own: nothing more is planned and run for them.
      IF EXISTS (SELECT FROM bigbrotr.relay AS r WHERE r.domain = home)
         AND NOT EXISTS (SELECT FROM bigbrotr.relay AS r WHERE r.url = admit_candidate.url)
      THEN
        -- A batch admits one after the other, so also those that answered at the same time are compared.
        IF cardinality(compared) < 10 THEN
          RETURN QUERY SELECT 'compare', s.relay_id, s.relay_url FROM bigbrotr.relay_suspects(admit_candidate.url, compared) AS s;
          IF FOUND THEN
            RETURN;
          END IF;
        END IF;
        -- Whom the operator names is welcome.
        IF EXISTS (SELECT FROM bigbrotr.candidate AS c WHERE c.url = admit_candidate.candidate AND c.source NOT IN ('seed', 'operator')) THEN
          most := NULLIF(bigbrotr.setting('max_relays_per_domain')::integer, 0);
          -- Those that are gone, and other names of those that are there, must not close a shared domain for ever.
          IF (SELECT count(*)
              FROM (SELECT FROM bigbrotr.relay AS r
                    WHERE r.domain = home AND r.state = 'active'
                      AND NOT EXISTS (SELECT FROM bigbrotr.relay_alias AS a WHERE a.url = r.url)
                    LIMIT most) AS held) >= most
          THEN
            PERFORM bigbrotr.fail_candidate(
              candidate, format('limit: %s has %s relays already (bigbrotr.max_relays_per_domain)', home, most), true);
            RETURN QUERY SELECT 'refused', NULL::integer, NULL::text;
            RETURN;
          END IF;
        END IF;
      END IF;
      RETURN QUERY
        SELECT 'promoted', bigbrotr.promote_candidate(admit_candidate.url, NULLIF(candidate, admit_candidate.url), reason, evidence),
               admit_candidate.url;
    END
  $$;
COMMENT ON FUNCTION bigbrotr.admit_candidate(text, text, text, jsonb, integer[]) IS
  'Internal: a candidate answered as a Nostr relay under url (its own or the same with the other scheme; reason and evidence then say why that is the same). verdict: promoted; compare: nothing was done, find out first whether it is one of these relays; refused: its domain has as many as it may, and it failed. compared: relays it was found not to be.';

CREATE FUNCTION bigbrotr.add_twin(candidate text, twin text) RETURNS void
  LANGUAGE sql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
  AS $$
    INSERT INTO bigbrotr.candidate (url, network, source)
    SELECT add_twin.twin, c.network, c.source
    FROM bigbrotr.candidate AS c
    WHERE c.url = add_twin.candidate
      AND NOT EXISTS (SELECT FROM bigbrotr.relay AS r WHERE r.url = add_twin.twin)
      AND NOT bigbrotr.is_blocked(add_twin.twin)
    ON CONFLICT ON CONSTRAINT candidate_pkey DO UPDATE SET next_attempt_at = LEAST(candidate.next_attempt_at, now())
  $$;
COMMENT ON FUNCTION bigbrotr.add_twin(text, text) IS
  'Internal: the same URL with the other scheme answered too, as a relay of its own: a candidate like the one it was found by, due now.';

CREATE FUNCTION bigbrotr.merge_candidate(candidate text, url text, relay_id integer, reason text, evidence jsonb) RETURNS void
  LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
  AS $$
    DECLARE
      original text;
      target   integer := merge_candidate.relay_id;
    BEGIN
      SELECT r.url INTO STRICT original FROM bigbrotr.relay AS r WHERE r.id = merge_candidate.relay_id;
      IF bigbrotr.is_better_url(merge_candidate.url, original) THEN
        -- Though somebody named the other one first. That one keeps its row, and its aliases are those of the better one.
        target := bigbrotr.promote_candidate(merge_candidate.url);
        UPDATE bigbrotr.relay_alias AS a SET relay_id = target WHERE a.relay_id = merge_candidate.relay_id AND a.relay_id <> target;
        PERFORM bigbrotr.record_alias(original, target, reason, evidence);
      ELSIF NOT EXISTS (SELECT FROM bigbrotr.relay AS r WHERE r.url = merge_candidate.url) THEN
        PERFORM bigbrotr.record_alias(merge_candidate.url, target, reason, evidence);
      END IF;
      IF candidate <> merge_candidate.url AND NOT EXISTS (SELECT FROM bigbrotr.relay AS r WHERE r.url = candidate) THEN
        PERFORM bigbrotr.record_alias(candidate, target, reason, evidence);
      END IF;
      DELETE FROM bigbrotr.candidate AS c WHERE c.url IN (candidate, merge_candidate.url);
    END
  $$;
COMMENT ON FUNCTION bigbrotr.merge_candidate(text, text, integer, text, jsonb) IS
  'Internal: what answered under url, the candidate''s own or the same with the other scheme, is this relay. An alias is recorded instead of a relay; where its URL is the better one (is_better_url) that becomes the relay, and the lesser one its alias.';

CREATE FUNCTION bigbrotr.recheck_aliases(max integer DEFAULT 100) RETURNS integer
  LANGUAGE sql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
  AS $$
    WITH due AS MATERIALIZED (
      SELECT a.url
      FROM bigbrotr.relay_alias AS a
      WHERE a.url IN (
        (SELECT o.url FROM bigbrotr.relay_alias AS o WHERE o.checked_at < now() - interval '30 days' ORDER BY o.checked_at LIMIT max)
        UNION ALL
        -- Where the relay is dead, its other name may be what is left of it.
        (SELECT o.url
         FROM bigbrotr.relay AS r
         JOIN bigbrotr.relay_alias AS o ON o.relay_id = r.id
         WHERE r.state = 'dead' AND o.checked_at < now() - interval '1 day'
         ORDER BY o.checked_at
         LIMIT max)
      )
      LIMIT max
      FOR UPDATE OF a SKIP LOCKED
    ), noted AS (
      UPDATE bigbrotr.relay_alias AS a SET checked_at = now() FROM due WHERE a.url = due.url
    ), added AS (
      INSERT INTO bigbrotr.candidate (url, network, source)
      SELECT d.url, bigbrotr.relay_url_network(d.url)::bigbrotr.network, 'alias'
      FROM due AS d
      WHERE bigbrotr.relay_url_network(d.url) IS NOT NULL
        AND NOT EXISTS (SELECT FROM bigbrotr.relay AS r WHERE r.url = d.url)
      ORDER BY d.url COLLATE "C"
      ON CONFLICT (url) DO NOTHING
      RETURNING 1
    )
    SELECT count(*)::integer FROM added
  $$;
COMMENT ON FUNCTION bigbrotr.recheck_aliases(integer) IS
  'Internal: aliases last seen to be some 30 days ago (a day where their relay is dead) become candidates again, up to max, and stay aliases until they prove to be relays of their own; returns how many.';
