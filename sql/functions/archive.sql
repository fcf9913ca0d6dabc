-- The write path. Every archiving transaction takes the archive lock in a statement of its own, before it first reads:
-- one writer at a time carries some 38,000 events a second, two batches with the same ids cannot deadlock, no seq is
-- burnt, and seq order is commit order, so that `seq > watermark` is a safe way to follow the archive.

CREATE FUNCTION bigbrotr.lock_archive() RETURNS void
  LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
  -- Any number will do that nobody else uses: the first eight bytes of SHA-256('bigbrotr archive').
  AS $$ SELECT pg_advisory_xact_lock(-5036003385600829949) $$;
COMMENT ON FUNCTION bigbrotr.lock_archive() IS 'Internal: the archive lock, until the end of the transaction.';

CREATE FUNCTION bigbrotr.known_events(ids bytea[], created_ats bigint[]) RETURNS SETOF integer
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
  -- LATERAL … LIMIT 1: one look-up in the primary key per id. A plain join may choose to read the whole table.
  AS $$
    SELECT u.place::integer
    FROM unnest(ids, created_ats) WITH ORDINALITY AS u (id, created_at, place)
    CROSS JOIN LATERAL (
      SELECT FROM bigbrotr.event AS e WHERE e.created_at = u.created_at AND e.id = u.id LIMIT 1) AS known
  $$;
COMMENT ON FUNCTION bigbrotr.known_events(bytea[], bigint[]) IS
  'Internal: which of these the archive holds, as places in the arrays from 1. Their signatures need not be checked again.';

CREATE FUNCTION bigbrotr.archive(
  ids bytea[], created_ats bigint[],
  new_places integer[], pubkeys bytea[], kinds integer[], tags text[], contents text[], sigs bytea[], raws bytea[],
  sighting_relays integer[], sighting_places integer[], vanish_enabled boolean, oldest bigint) RETURNS integer
  LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  seqs bigint[];
  refused boolean[];
  inserted integer := 0;
BEGIN
  -- Where each event of the batch stands in the archive; what a tombstone or retention keeps out stays out.
  SELECT array_agg(known.seq ORDER BY u.place), array_agg(u.created_at < oldest ORDER BY u.place)
  INTO seqs, refused
  FROM unnest(ids, created_ats) WITH ORDINALITY AS u (id, created_at, place)
  LEFT JOIN LATERAL (
    SELECT e.seq FROM bigbrotr.event AS e WHERE e.created_at = u.created_at AND e.id = u.id LIMIT 1) AS known ON true;

  IF cardinality(new_places) > 0 THEN
    WITH batch AS (
      SELECT n.place, ids[n.place] AS id, n.pubkey, created_ats[n.place] AS created_at, n.kind, n.tags, n.content, n.sig, n.raw
      FROM unnest(new_places, pubkeys, kinds, tags, contents, sigs, raws)
        AS n (place, pubkey, kind, tags, content, sig, raw)
      WHERE seqs[n.place] IS NULL
    ), kept_out AS (
      SELECT b.place
      FROM batch AS b
      WHERE b.created_at < oldest
         OR vanish_enabled AND b.kind <> 62 AND EXISTS (
              SELECT FROM bigbrotr.vanish AS v WHERE v.pubkey = b.pubkey AND v.until >= b.created_at)
    ), added AS (
      INSERT INTO bigbrotr.event (id, pubkey, created_at, kind, tags, content, sig, raw)
      SELECT b.id, b.pubkey, b.created_at, b.kind, b.tags::jsonb, b.content, b.sig, b.raw
      FROM batch AS b
      WHERE b.place NOT IN (SELECT k.place FROM kept_out AS k)
      ORDER BY b.created_at, b.id
      -- Under the archive lock only a snapshot older than the lock (REPEATABLE READ) can conflict.
      ON CONFLICT DO NOTHING
      RETURNING seq, id, created_at, kind
    ), deletions AS (
      INSERT INTO bigbrotr.deletion (target, pubkey, until, request_id)
      SELECT d.target, d.pubkey, max(d.until), (array_agg(d.request_id ORDER BY d.created_at DESC, d.request_id))[1]
      FROM added AS a
      JOIN batch AS b ON b.id = a.id
      CROSS JOIN LATERAL bigbrotr.deletion_targets(b.id, b.pubkey, b.created_at, b.tags::jsonb) AS d
      WHERE a.kind = 5
      GROUP BY d.target, d.pubkey
      ON CONFLICT (target, pubkey) DO UPDATE
        SET until = greatest(deletion.until, excluded.until), request_id = excluded.request_id
        WHERE excluded.until > deletion.until
    ), vanishings AS (
      INSERT INTO bigbrotr.vanish (pubkey, until, request_id)
      SELECT DISTINCT ON (b.pubkey) b.pubkey, b.created_at, b.id
      FROM added AS a
      JOIN batch AS b ON b.id = a.id
      WHERE vanish_enabled AND a.kind = 62 AND b.tags::jsonb @> '[["relay", "ALL_RELAYS"]]'
      ORDER BY b.pubkey, b.created_at DESC
      ON CONFLICT (pubkey) DO UPDATE SET until = excluded.until, request_id = excluded.request_id
        WHERE excluded.until > vanish.until
    ), placed AS (
      SELECT u.place, coalesce(known.seq, a.seq) AS seq, k.place IS NOT NULL AS refused
      FROM unnest(ids, seqs) WITH ORDINALITY AS u (id, seq, place)
      CROSS JOIN LATERAL (SELECT u.seq) AS known
      LEFT JOIN added AS a ON a.id = u.id
      LEFT JOIN kept_out AS k ON k.place = u.place
    )
    SELECT array_agg(p.seq ORDER BY p.place), array_agg(p.refused ORDER BY p.place), (SELECT count(*) FROM added)
    INTO seqs, refused, inserted
    FROM placed AS p;
  END IF;

  -- Neither known, nor new, nor kept out: it left the archive after the caller looked.
  IF EXISTS (SELECT FROM unnest(seqs, refused) AS u (seq, refused) WHERE u.seq IS NULL AND u.refused IS NOT TRUE) THEN
    RAISE EXCEPTION 'an event left the archive while it was being archived again'
      USING ERRCODE = 'BB001', HINT = 'Look the events up again and repeat the transaction.';
  END IF;

  PERFORM bigbrotr.add_sightings(s.relay_id, s.created_ats, s.seqs)
  FROM (
    SELECT r.relay_id, array_agg(created_ats[r.place]) AS created_ats, array_agg(seqs[r.place]) AS seqs
    FROM unnest(sighting_relays, sighting_places) AS r (relay_id, place)
    WHERE seqs[r.place] IS NOT NULL
    GROUP BY r.relay_id
    ORDER BY r.relay_id
  ) AS s;
  RETURN inserted;
END
$$;
COMMENT ON FUNCTION bigbrotr.archive(
  bytea[], bigint[], integer[], bytea[], integer[], text[], text[], bytea[], bytea[], integer[], integer[], boolean, bigint) IS
  'Internal: archives a batch. ids and created_ats name every distinct event of it; the columns of the verified ones follow with their place there; then who holds what. Returns how many were new. Call lock_archive() first, in a statement of its own.';

CREATE FUNCTION bigbrotr.deletion_targets(event_id bytea, author bytea, stamp bigint, tags jsonb)
  RETURNS TABLE (target bytea, pubkey bytea, until bigint, request_id bytea, created_at bigint)
  LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT decode(t.value, 'hex'), $2, NULL::bigint, $1, $3
    FROM (SELECT tag ->> 0 AS name, tag ->> 1 AS value FROM jsonb_array_elements($4) AS tag) AS t
    WHERE t.name = 'e' AND t.value ~ '^[0-9a-f]{64}$'
    UNION ALL
    -- kind:pubkey:d, where only the author's own count and a replaceable kind has no d.
    SELECT bigbrotr.address_target(p.kind, $2, CASE WHEN p.kind >= 30000 THEN p.d ELSE '' END), $2, $3, $1, $3
    FROM (SELECT tag ->> 0 AS name, tag ->> 1 AS value FROM jsonb_array_elements($4) AS tag) AS t
    CROSS JOIN LATERAL (
      SELECT substring(t.value FROM '^[0-9]{1,5}')::integer AS kind,
             coalesce(substring(t.value FROM '^[0-9]{1,5}:[0-9a-f]{64}:(.*)$'), '') AS d) AS p
    WHERE t.name = 'a' AND t.value ~ ('^[0-9]{1,5}:' || encode($2, 'hex') || '(:|$)')
  $$;
COMMENT ON FUNCTION bigbrotr.deletion_targets(bytea, bytea, bigint, jsonb) IS 'Internal: what a kind 5 event (NIP-09) asks to delete.';

CREATE FUNCTION bigbrotr.quarantine(relay_id integer, reasons text[], bytes bytea[]) RETURNS integer
  LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
  AS $$
    WITH added AS (
      INSERT INTO bigbrotr.quarantine (relay_id, reason, bytes, size, hash)
      SELECT $1, u.reason, substr(u.bytes, 1, 65536), octet_length(u.bytes), sha256(u.bytes)
      FROM unnest($2, $3) AS u (reason, bytes)
      ON CONFLICT (hash) DO NOTHING
      RETURNING 1
    )
    SELECT count(*)::integer FROM added
  $$;
COMMENT ON FUNCTION bigbrotr.quarantine(integer, text[], bytea[]) IS
  'Internal: keeps refused bytes with their reasons, each once; returns how many were new.';

CREATE FUNCTION bigbrotr.event_insert(events text[], relay_url text) RETURNS integer
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  IF relay_url IS NULL OR bigbrotr.normalize_relay_url(relay_url) IS NULL THEN
    RAISE EXCEPTION 'not a relay URL: %', coalesce(quote_literal(left(relay_url, 200)), 'NULL')
      USING ERRCODE = 'invalid_parameter_value',
            HINT = 'Give the URL under which the relay answers, such as wss://relay.damus.io. Private addresses need bigbrotr.allow_private_addresses.';
  END IF;
  IF events IS NULL THEN
    RETURN 0;
  END IF;
  PERFORM bigbrotr.lock_archive();
  RETURN bigbrotr.native_event_insert(events, bigbrotr.normalize_relay_url(relay_url));
END
$$;
COMMENT ON FUNCTION bigbrotr.event_insert(text[], text) IS
  'Archives JSON events as seen on a relay and returns how many are new. Refused ones go to quarantine and do not stop the rest; a known one adds its sighting; the relay is added if new; coverage is unchanged.';
