-- Publishing (NIP-66): what is due, what was made of it, what is still to be sent, and what became of it.

CREATE FUNCTION bigbrotr.newest_document(relay_id integer, type text, shown_after timestamptz) RETURNS bytea
  LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT n.metadata_id
    FROM (
      SELECT m.metadata_id, m.last_seen_at
      FROM bigbrotr.relay_metadata AS m
      WHERE m.relay_id = newest_document.relay_id AND m.type = newest_document.type::bigbrotr.metadata_type
      ORDER BY m.first_seen_at DESC
      LIMIT 1
    ) AS n
    WHERE n.last_seen_at > shown_after
  $$;
COMMENT ON FUNCTION bigbrotr.newest_document(integer, text, timestamptz) IS
  'Internal: metadata.id of what a relay last showed of this type; NULL: nothing, or not since shown_after.';

CREATE FUNCTION bigbrotr.publish_due(pubkey bytea, interval_s integer, after double precision, skip integer[], max integer)
  RETURNS TABLE (
    relay_id integer, url text, checked_us bigint, open_ms real, read_ms real, write_ms real, needs_auth boolean,
    nip11 text, dns text, geo text, net text, documents bytea, created_at bigint, content_hash bytea, is_elapsed boolean)
  LANGUAGE sql STABLE ROWS 50 SET search_path = pg_catalog, pg_temp
  AS $$
    WITH checked AS (
      SELECT r.id AS relay_id, r.url, c.checked_at, c.open_ms, c.read_ms, c.write_ms, c.error,
             p.created_at, p.content_hash, p.documents,
             -- Checks come up to a tenth early.
             COALESCE(c.checked_at >= p.checked_at + 0.9 * make_interval(secs => interval_s), true) AS is_elapsed
      FROM bigbrotr.relay AS r
      LEFT JOIN bigbrotr.relay_monitor AS m ON m.relay_id = r.id
      CROSS JOIN LATERAL (
        SELECT x.checked_at, x.ok, x.open_ms, x.read_ms, x.write_ms, x.error
        FROM bigbrotr.relay_check AS x
        -- Not by a clock that was ahead.
        WHERE x.relay_id = r.id AND x.checked_at <= now() + interval '1 minute'
        ORDER BY x.checked_at DESC
        LIMIT 1
      ) AS c
      LEFT JOIN bigbrotr.publication AS p ON p.relay_id = r.id AND p.pubkey = publish_due.pubkey
      WHERE r.state <> 'blocked'
        AND (after IS NULL OR m.last_ok_at >= to_timestamp(after))
        AND c.ok
        AND c.checked_at > now() - interval '1 day'
        AND (p.kind IS NULL OR c.checked_at > p.checked_at)
        AND r.id <> ALL (skip)
    ), due AS MATERIALIZED (
      SELECT k.relay_id, k.url, k.checked_at, k.open_ms, k.read_ms, k.write_ms, k.error, k.created_at, k.content_hash, k.is_elapsed,
             n.id AS nip11_id, d.id AS dns_id, g.id AS geo_id, t.id AS net_id, s.documents
      FROM checked AS k
      -- A document that is not shown any more is not what the relay is like now.
      CROSS JOIN LATERAL (SELECT k.checked_at - 3 * make_interval(secs => interval_s) - interval '1 day' AS shown_after) AS f
      CROSS JOIN LATERAL (SELECT bigbrotr.newest_document(k.relay_id, 'nip11_info', f.shown_after) AS id) AS n
      CROSS JOIN LATERAL (SELECT bigbrotr.newest_document(k.relay_id, 'nip66_dns', f.shown_after) AS id) AS d
      CROSS JOIN LATERAL (SELECT bigbrotr.newest_document(k.relay_id, 'nip66_geo', f.shown_after) AS id) AS g
      CROSS JOIN LATERAL (SELECT bigbrotr.newest_document(k.relay_id, 'nip66_net', f.shown_after) AS id) AS t
      CROSS JOIN LATERAL (
        SELECT sha256(COALESCE(n.id, '\x00') || COALESCE(g.id, '\x00') || COALESCE(t.id, '\x00')) AS documents
      ) AS s
      WHERE (k.is_elapsed OR s.documents <> k.documents)
        AND NOT EXISTS (SELECT FROM bigbrotr.block AS b WHERE k.url LIKE b.pattern)
      ORDER BY k.checked_at
      LIMIT max
    )
    SELECT u.relay_id, u.url, (EXTRACT(epoch FROM u.checked_at) * 1000000)::bigint, u.open_ms, u.read_ms, u.write_ms,
           COALESCE(u.error ILIKE 'CLOSED auth-required%', false),
           bigbrotr.canonical_json(n.data), d.data::text, g.data::text, t.data::text,
           u.documents, u.created_at, u.content_hash, u.is_elapsed
    FROM due AS u
    LEFT JOIN bigbrotr.metadata AS n ON n.id = u.nip11_id AND n.type = 'nip11_info'
    LEFT JOIN bigbrotr.metadata AS d ON d.id = u.dns_id AND d.type = 'nip66_dns'
    LEFT JOIN bigbrotr.metadata AS g ON g.id = u.geo_id AND g.type = 'nip66_geo'
    LEFT JOIN bigbrotr.metadata AS t ON t.id = u.net_id AND t.type = 'nip66_net'
    ORDER BY u.checked_at
  $$;
COMMENT ON FUNCTION bigbrotr.publish_due(bytea, integer, double precision, integer[], integer) IS
  'Internal: up to max relays whose newest check is good and is to be reported under this key, because the last report is interval_s old (is_elapsed) or its documents changed; with that report, if any. after: only those checked well since then, unix seconds. skip: not these.';

CREATE FUNCTION bigbrotr.record_publications(
  pubkey bytea, kinds integer[], ds text[], relay_ids integer[], event_ids bytea[], created_ats bigint[], content_hashes bytea[],
  documents bytea[], checked_us bigint[], privates boolean[], events text[]) RETURNS integer
  LANGUAGE sql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
  AS $$
    -- A relay whose URL was changed by hand.
    DELETE FROM bigbrotr.publication AS p
    USING unnest(relay_ids, ds) AS u (relay_id, d)
    WHERE p.relay_id = u.relay_id AND p.d <> u.d;
    WITH recorded AS (
      INSERT INTO bigbrotr.publication AS p
        (kind, d, relay_id, pubkey, event_id, created_at, content_hash, documents, checked_at, is_private, event)
      SELECT u.kind, u.d, NULLIF(u.relay_id, 0), record_publications.pubkey, u.event_id, u.created_at, u.content_hash, u.documents,
             timestamptz 'epoch' + u.checked_us * interval '1 microsecond', u.is_private, u.event
      FROM unnest(kinds, ds, relay_ids, event_ids, created_ats, content_hashes, record_publications.documents,
                  record_publications.checked_us, privates, events)
        AS u (kind, d, relay_id, event_id, created_at, content_hash, documents, checked_us, is_private, event)
      ON CONFLICT (kind, d) DO UPDATE
      SET seq = EXCLUDED.seq, relay_id = EXCLUDED.relay_id, pubkey = EXCLUDED.pubkey, event_id = EXCLUDED.event_id,
          created_at = EXCLUDED.created_at, content_hash = EXCLUDED.content_hash, documents = EXCLUDED.documents,
          checked_at = EXCLUDED.checked_at, is_private = EXCLUDED.is_private, event = EXCLUDED.event
      -- Of two events of one second relays keep the one with the lower id.
      WHERE p.pubkey <> EXCLUDED.pubkey OR p.created_at < EXCLUDED.created_at
      RETURNING 1
    )
    SELECT count(*)::integer FROM recorded
  $$;
COMMENT ON FUNCTION bigbrotr.record_publications(bytea, integer[], text[], integer[], bytea[], bigint[], bytea[], bytea[], bigint[], boolean[], text[]) IS
  'Internal: new events to be sent, each in place of the one before it. relay_ids: 0 for other kinds than 30166. checked_us: unix microseconds. Returns how many were newer.';

CREATE FUNCTION bigbrotr.publication_unchanged(ds text[], documents bytea[]) RETURNS integer
  LANGUAGE sql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
  AS $$
    WITH noted AS (
      UPDATE bigbrotr.publication AS p SET documents = u.documents
      FROM unnest(ds, publication_unchanged.documents) AS u (d, documents)
      WHERE p.kind = 30166 AND p.d = u.d
      RETURNING 1
    )
    SELECT count(*)::integer FROM noted
  $$;
COMMENT ON FUNCTION bigbrotr.publication_unchanged(text[], bytea[]) IS
  'Internal: these documents are new and say nothing that a report would: the reports stand until they are old. Returns how many.';

CREATE FUNCTION bigbrotr.own_publications(pubkey bytea) RETURNS TABLE (kind integer, created_at bigint, content_hash bytea)
  LANGUAGE sql STABLE STRICT ROWS 3 SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT p.kind, p.created_at, p.content_hash
    FROM bigbrotr.publication AS p
    WHERE p.kind IN (0, 10002, 10166) AND p.pubkey = own_publications.pubkey
  $$;
COMMENT ON FUNCTION bigbrotr.own_publications(bytea) IS 'Internal: what was last published under this key about the monitor itself.';

CREATE FUNCTION bigbrotr.open_publishing(urls text[], privates boolean[], kinds integer[]) RETURNS integer
  LANGUAGE sql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
  AS $$
    DELETE FROM bigbrotr.publish_relay AS r WHERE r.url <> ALL (urls);
    DELETE FROM bigbrotr.publication AS p WHERE p.relay_id IS NULL AND p.kind <> ALL (kinds);
    WITH opened AS (
      INSERT INTO bigbrotr.publish_relay AS r (url, is_private)
      SELECT u.url, u.is_private FROM unnest(urls, privates) AS u (url, is_private)
      ON CONFLICT (url) DO UPDATE SET is_private = EXCLUDED.is_private, connected_since = NULL, next_attempt_at = NULL
      RETURNING 1
    )
    SELECT count(*)::integer FROM opened
  $$;
COMMENT ON FUNCTION bigbrotr.open_publishing(text[], boolean[], integer[]) IS
  'Internal: these are the relays published to from now on; what others said is forgotten. So is what was published about the monitor itself, but for these kinds. Returns how many relays.';

CREATE FUNCTION bigbrotr.close_publishing() RETURNS void
  LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
  AS $$
    UPDATE bigbrotr.publish_relay AS r SET connected_since = NULL, next_attempt_at = NULL WHERE r.connected_since IS NOT NULL
  $$;
COMMENT ON FUNCTION bigbrotr.close_publishing() IS 'Internal: nothing is published any more.';

CREATE FUNCTION bigbrotr.publish_pending(publish_relay text, pubkey bytea, after bigint, max integer)
  RETURNS TABLE (seq bigint, kind integer, d text, event_id bytea, event text)
  LANGUAGE sql STABLE STRICT ROWS 50 SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT p.seq, p.kind, p.d, p.event_id, p.event
    FROM bigbrotr.publish_relay AS t
    JOIN bigbrotr.publication AS p ON t.is_private OR NOT p.is_private
    LEFT JOIN bigbrotr.relay AS r ON r.id = p.relay_id
    WHERE t.url = publish_pending.publish_relay
      AND p.pubkey = publish_pending.pubkey
      AND p.seq > after
      -- Older reports are of no use to anybody.
      AND (p.relay_id IS NULL OR p.checked_at > now() - interval '1 day')
      AND NOT EXISTS (
        SELECT FROM bigbrotr.publication_result AS x
        WHERE x.publish_relay = t.url AND x.kind = p.kind AND x.d = p.d AND x.event_id = p.event_id
          AND (x.ok IS NOT NULL OR x.attempts >= 3 OR x.sent_at > now() - (x.attempts - 1) * interval '1 minute')
      )
      AND r.state IS DISTINCT FROM 'blocked'
      AND NOT EXISTS (SELECT FROM bigbrotr.block AS b WHERE r.url LIKE b.pattern OR t.url LIKE b.pattern)
    ORDER BY p.seq
    LIMIT max
  $$;
COMMENT ON FUNCTION bigbrotr.publish_pending(text, bytea, bigint, integer) IS
  'Internal: up to max events by this key, with numbers above after, that are still to be sent to this relay, the oldest first.';

CREATE FUNCTION bigbrotr.record_publication_results(
  publish_relay text, kinds integer[], ds text[], event_ids bytea[], answers integer[], messages text[], sent_us bigint[]) RETURNS integer
  LANGUAGE sql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
  AS $$
    WITH recorded AS (
      INSERT INTO bigbrotr.publication_result AS x (publish_relay, kind, d, event_id, sent_at, ok, message)
      SELECT t.url, u.kind, u.d, u.event_id, timestamptz 'epoch' + u.sent_us * interval '1 microsecond',
             CASE u.answer WHEN 0 THEN false WHEN 1 THEN true END, NULLIF(u.message, '')
      FROM bigbrotr.publish_relay AS t
      CROSS JOIN unnest(kinds, ds, event_ids, answers, messages, record_publication_results.sent_us)
        AS u (kind, d, event_id, answer, message, sent_us)
      WHERE t.url = record_publication_results.publish_relay
      ON CONFLICT ON CONSTRAINT publication_result_pkey DO UPDATE
      SET event_id = EXCLUDED.event_id, sent_at = EXCLUDED.sent_at, ok = EXCLUDED.ok, message = EXCLUDED.message,
          attempts = CASE WHEN x.event_id = EXCLUDED.event_id THEN x.attempts + 1 ELSE 1 END
      RETURNING 1
    )
    SELECT count(*)::integer FROM recorded
  $$;
COMMENT ON FUNCTION bigbrotr.record_publication_results(text, integer[], text[], bytea[], integer[], text[], bigint[]) IS
  'Internal: what this relay said to events: 1 accepted, 0 refused, -1 nothing. sent_us: unix microseconds. Returns how many.';

CREATE FUNCTION bigbrotr.record_publish_relay(url text, is_connected boolean, error text, pause_s integer) RETURNS void
  LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
  AS $$
    UPDATE bigbrotr.publish_relay AS r
    SET connected_since = CASE WHEN is_connected THEN COALESCE(r.connected_since, now()) END,
        failures = CASE WHEN is_connected THEN 0 WHEN error IS NULL THEN r.failures ELSE r.failures + 1 END,
        next_attempt_at = now() + make_interval(secs => pause_s),
        last_error = COALESCE(left(error, 500), r.last_error),
        last_error_at = CASE WHEN error IS NULL THEN r.last_error_at ELSE now() END
    WHERE r.url = record_publish_relay.url
  $$;
COMMENT ON FUNCTION bigbrotr.record_publish_relay(text, boolean, text, integer) IS
  'Internal: the monitor is connected to this relay, or not and why, and uses it again after pause_s (NULL: when there is something to send).';
