-- The write path. Every archiving transaction takes the archive lock in a statement of its own, before it first reads:
-- one writer at a time carries some 38,000 events a second, two batches with the same ids cannot deadlock, no seq is
-- burnt, and seq order is commit order, so that `seq > watermark` is a safe way to follow the archive.

CREATE FUNCTION bigbrotr.lock_archive() RETURNS void
  LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
  -- Any number will do that nobody else uses: the first eight bytes of SHA-256('bigbrotr archive').
  AS $$ SELECT pg_advisory_xact_lock(-5036003385600829949) $$;
COMMENT ON FUNCTION bigbrotr.lock_archive() IS 'Internal: the archive lock, until the end of the transaction.';

CREATE FUNCTION bigbrotr.known_events(ids bytea[]) RETURNS TABLE (place integer, seq bigint)
  LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
  -- LATERAL … LIMIT 1: one look-up in the index per id. A plain join may choose to read the whole table.
  AS $$
    SELECT u.place::integer, known.seq
    FROM unnest(ids) WITH ORDINALITY AS u (id, place)
    CROSS JOIN LATERAL (SELECT e.seq FROM bigbrotr.stored_event AS e WHERE e.id = u.id LIMIT 1) AS known
  $$;
COMMENT ON FUNCTION bigbrotr.known_events(bytea[]) IS
  'Internal: which of these the archive holds, as places in the array from 1, and where. Their signatures need not be checked again.';

CREATE FUNCTION bigbrotr.author_ids(pubkeys bytea[]) RETURNS integer[]
  LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  found integer[];
BEGIN
  FOR round IN 1..2 LOOP
    SELECT array_agg(a.id ORDER BY u.place)
    INTO found
    FROM unnest(pubkeys) WITH ORDINALITY AS u (pubkey, place)
    LEFT JOIN LATERAL (SELECT k.id FROM bigbrotr.author AS k WHERE k.pubkey = u.pubkey LIMIT 1) AS a ON true;
    EXIT WHEN round = 2 OR array_position(found, NULL) IS NULL;
    INSERT INTO bigbrotr.author (pubkey)
    SELECT DISTINCT u.pubkey
    FROM unnest(pubkeys, found) AS u (pubkey, id)
    WHERE u.id IS NULL
    -- Under the archive lock only a snapshot older than the lock (REPEATABLE READ) can conflict.
    ON CONFLICT DO NOTHING;
  END LOOP;
  IF array_position(found, NULL) IS NOT NULL THEN
    RAISE EXCEPTION 'an author was added meanwhile' USING ERRCODE = 'serialization_failure', HINT = 'Repeat the transaction.';
  END IF;
  RETURN found;
END
$$;
COMMENT ON FUNCTION bigbrotr.author_ids(bytea[]) IS 'Internal: author.id of each of these; those that are new are added. Under the archive lock only.';

CREATE FUNCTION bigbrotr.archive(
  ids bytea[], created_ats bigint[], seqs bigint[], as_of bigint, removals bigint,
  new_places integer[], authors bytea[], author_places integer[], kinds integer[], bodies bytea[],
  sighting_relays integer[], sighting_places integer[], vanish_enabled boolean)
  RETURNS TABLE (inserted integer, last_seq bigint, last_removal bigint, place_seqs bigint[])
  LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  numbers integer[];
  place   integer;
  oldest  bigint;
BEGIN
  -- A sequence shows 1 before its first number and with it.
  SELECT e.last_value + e.is_called::integer, r.last_value + r.is_called::integer INTO last_seq, last_removal
  FROM bigbrotr.event_seq AS e CROSS JOIN bigbrotr.removal_seq AS r;
  -- Somebody else wrote or removed since the caller looked: what it says may be out of date.
  IF last_seq IS DISTINCT FROM as_of OR last_removal IS DISTINCT FROM removals THEN
    SELECT array_agg(known.seq ORDER BY u.place)
    INTO seqs
    FROM unnest(ids) WITH ORDINALITY AS u (id, place)
    LEFT JOIN LATERAL (SELECT e.seq FROM bigbrotr.stored_event AS e WHERE e.id = u.id LIMIT 1) AS known ON true;
  END IF;

  place_seqs := seqs;
  inserted := 0;
  IF vanish_enabled AND EXISTS (SELECT FROM bigbrotr.vanish) THEN
    FOR place IN
      SELECT n.place
      FROM unnest(new_places, author_places, kinds) AS n (place, author, kind)
      JOIN bigbrotr.vanish AS v ON v.pubkey = authors[n.author]
      WHERE n.kind <> 62 AND created_ats[n.place] <= v.until
    LOOP
      place_seqs[place] := coalesce(place_seqs[place], 0);
    END LOOP;
  END IF;
  -- Here, not where events are fetched: under the lock nobody is behind.
  oldest := bigbrotr.event_floor();
  IF oldest > 0 THEN
    FOREACH place IN ARRAY new_places LOOP
      IF created_ats[place] < oldest THEN
        place_seqs[place] := coalesce(place_seqs[place], 0);
      END IF;
    END LOOP;
  END IF;
  FOREACH place IN ARRAY new_places LOOP
    IF place_seqs[place] IS NULL THEN
      place_seqs[place] := nextval('bigbrotr.event_seq');
      inserted := inserted + 1;
    END IF;
  END LOOP;
  IF array_position(place_seqs, NULL) IS NOT NULL THEN
    RAISE EXCEPTION 'an event left the archive while it was being archived again'
      USING ERRCODE = 'BB001', HINT = 'Look the events up again and repeat the transaction.';
  END IF;
  IF inserted > 0 THEN
    numbers := bigbrotr.author_ids(authors);
    -- Without ON CONFLICT, which costs a tenth: under the archive lock only a snapshot older than the lock (REPEATABLE READ)
    -- can conflict, and had better fail. The arrays come in the order of time, so neighbours in the indexes come together.
    INSERT INTO bigbrotr.stored_event (seq, created_at, author_id, kind, body, id)
    SELECT place_seqs[n.place], created_ats[n.place], numbers[n.author], n.kind, n.body, ids[n.place]
    FROM unnest(new_places, author_places, kinds, bodies) AS n (place, author, kind, body)
    WHERE seqs[n.place] IS NULL AND place_seqs[n.place] > 0;
  END IF;

  IF 5 = ANY (kinds) THEN
    INSERT INTO bigbrotr.deletion (target, pubkey, until, request_id)
    SELECT d.target, d.pubkey, max(d.until), (array_agg(d.request_id ORDER BY d.created_at DESC, d.request_id))[1]
    FROM unnest(new_places, author_places, kinds, bodies) AS n (place, author, kind, body)
    CROSS JOIN LATERAL bigbrotr.deletion_targets(
      ids[n.place], authors[n.author], created_ats[n.place], bigbrotr.body_tags(n.body)) AS d
    WHERE n.kind = 5 AND seqs[n.place] IS NULL AND place_seqs[n.place] > 0
    GROUP BY d.target, d.pubkey
    ON CONFLICT (target, pubkey) DO UPDATE
      SET until = greatest(deletion.until, excluded.until), request_id = excluded.request_id
      WHERE excluded.until > deletion.until;
  END IF;
  IF vanish_enabled AND 62 = ANY (kinds) THEN
    INSERT INTO bigbrotr.vanish (pubkey, until, request_id)
    SELECT DISTINCT ON (authors[n.author]) authors[n.author], created_ats[n.place], ids[n.place]
    FROM unnest(new_places, author_places, kinds, bodies) AS n (place, author, kind, body)
    WHERE n.kind = 62 AND seqs[n.place] IS NULL AND place_seqs[n.place] > 0
      AND bigbrotr.body_tags(n.body) @> '[["relay", "ALL_RELAYS"]]'
    ORDER BY authors[n.author], created_ats[n.place] DESC
    ON CONFLICT (pubkey) DO UPDATE SET until = excluded.until, request_id = excluded.request_id
      WHERE excluded.until > vanish.until;
  END IF;

  PERFORM bigbrotr.add_sightings(s.relay_id, s.created_ats, s.seqs)
  FROM (
    SELECT r.relay_id, array_agg(created_ats[r.place]) AS created_ats, array_agg(place_seqs[r.place]) AS seqs
    FROM unnest(sighting_relays, sighting_places) AS r (relay_id, place)
    WHERE place_seqs[r.place] > 0
    GROUP BY r.relay_id
    ORDER BY r.relay_id
  ) AS s;
  SELECT e.last_value + e.is_called::integer INTO last_seq FROM bigbrotr.event_seq AS e;
  RETURN NEXT;
END
$$;
COMMENT ON FUNCTION bigbrotr.archive(
  bytea[], bigint[], bigint[], bigint, bigint, integer[], bytea[], integer[], integer[], bytea[], integer[], integer[], boolean) IS
  'Internal: archives a batch. ids and created_ats name every distinct event of it, seqs those the caller found in the archive when event_seq and removal_seq stood at as_of and removals; then the verified ones with their place there; then who holds what. Call lock_archive() first, in a statement of its own.';

CREATE FUNCTION bigbrotr.write_event() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  packed bytea;
BEGIN
  PERFORM bigbrotr.lock_archive();
  IF TG_OP = 'DELETE' THEN
    PERFORM bigbrotr.delete_events(ARRAY[OLD.seq]);
    RETURN OLD;
  END IF;
  packed := bigbrotr.pack_body(
    NEW.id, NEW.pubkey, NEW.created_at, NEW.kind, NEW.tags::text, NEW.content, NEW.sig, NEW.raw);
  IF packed IS NULL THEN
    RAISE EXCEPTION 'not an event'
      USING ERRCODE = 'invalid_parameter_value',
            HINT = 'event_insert() takes the JSON of an event and checks its id and signature.';
  END IF;
  -- Not a default of the view: that would be taken before the lock, and seq is the order of commit.
  NEW.seq := COALESCE(NEW.seq, nextval('bigbrotr.event_seq'));
  INSERT INTO bigbrotr.stored_event (seq, created_at, author_id, kind, id, body)
  VALUES (NEW.seq, NEW.created_at, (bigbrotr.author_ids(ARRAY[NEW.pubkey]))[1], NEW.kind, NEW.id, packed);
  RETURN NEW;
END
$$;
COMMENT ON FUNCTION bigbrotr.write_event() IS
  'Internal: rows of the view event put in (unchecked: for restores and tests) or taken out, by whoever may.';
CREATE TRIGGER write_event INSTEAD OF INSERT OR DELETE ON bigbrotr.event
  FOR EACH ROW EXECUTE FUNCTION bigbrotr.write_event();

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
