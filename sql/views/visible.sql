-- What a relay would return of the archive.
--
-- Every condition is a CASE or ends in IS NOT TRUE, so that the planner leaves the sub-selects where they are. As joins
-- they would be estimated, and a wrong estimate turns "newest 100" from some hundred index look-ups into a sort of the archive. mostly() tells it that nearly every event passes: left to itself it
-- takes each condition for a rare one, and an order by time for not worth its while.

CREATE FUNCTION bigbrotr.expiration(tags jsonb) RETURNS bigint
  LANGUAGE sql IMMUTABLE PARALLEL SAFE
  -- Beyond 18 digits it is further away than time is kept: as good as none, and no cast to fail.
  AS $$ SELECT (pg_catalog.jsonb_path_query_first(tags, 'strict $[*] ? (@[0] == "expiration" && @[1] like_regex "^0*[0-9]{1,18}$")', '{}', true)
                OPERATOR(pg_catalog.->>) 1)::bigint $$;
COMMENT ON FUNCTION bigbrotr.expiration(jsonb) IS 'Unix seconds of the first well-formed expiration tag (NIP-40), NULL without one.';

-- The rows as they lie on disk: what looks for them (query()) has the indexed columns, and unpacks only what it returns.
CREATE VIEW bigbrotr.visible_stored_event AS
SELECT e.seq, e.created_at, e.author_id, e.kind, e.body, e.id, a.pubkey
FROM bigbrotr.stored_event AS e
JOIN bigbrotr.author AS a ON a.id = e.author_id
WHERE
  -- Replaced (NIP-01): another version is newer, or as new with a lower id. A version deleted by its id replaces nothing:
  -- a relay that saw the request first would never have taken that version, and what is visible must not depend on the
  -- order of arrival. An expired one does replace: it was valid, and its author wanted nothing to be left of it.
  -- (A deletion by address or a vanish request that covers the newer version covers the older one as well.)
  bigbrotr.mostly(CASE
    WHEN e.kind IN (0, 3) OR e.kind BETWEEN 10000 AND 19999 THEN NOT EXISTS (
      SELECT FROM bigbrotr.stored_event AS n
      WHERE n.author_id = e.author_id AND n.kind = e.kind
        AND (n.kind IN (0, 3) OR n.kind BETWEEN 10000 AND 19999)
        AND n.created_at >= e.created_at AND (n.created_at > e.created_at OR n.id < e.id)
        AND (SELECT true FROM bigbrotr.deletion AS d WHERE d.target = n.id AND d.pubkey = a.pubkey) IS NOT TRUE)
    WHEN e.kind BETWEEN 30000 AND 39999 THEN NOT EXISTS (
      SELECT FROM bigbrotr.stored_event AS n
      WHERE n.author_id = e.author_id AND n.kind = e.kind
        AND n.kind BETWEEN 30000 AND 39999
        AND bigbrotr.tag_hash('d', bigbrotr.body_d_tag(n.body)) = bigbrotr.tag_hash('d', bigbrotr.body_d_tag(e.body))
        AND bigbrotr.body_d_tag(n.body) = bigbrotr.body_d_tag(e.body)
        AND n.created_at >= e.created_at AND (n.created_at > e.created_at OR n.id < e.id)
        AND (SELECT true FROM bigbrotr.deletion AS d WHERE d.target = n.id AND d.pubkey = a.pubkey) IS NOT TRUE)
    ELSE true
  END)
  -- Deleted (NIP-09) by id. A request to delete (5) or to vanish (62) cannot be deleted.
  AND bigbrotr.mostly(CASE
    WHEN e.kind IN (5, 62) THEN true
    ELSE (SELECT true FROM bigbrotr.deletion AS d WHERE d.target = e.id AND d.pubkey = a.pubkey) IS NOT TRUE
  END)
  -- Deleted by address: versions up to the request. (address_target() written out: a call of it a row takes longer.)
  AND bigbrotr.mostly(CASE
    WHEN e.kind IN (0, 3) OR e.kind BETWEEN 10000 AND 19999 OR e.kind BETWEEN 30000 AND 39999 THEN (
      SELECT e.created_at <= d.until
      FROM (SELECT pg_catalog.convert_to(
              pg_catalog.concat(e.kind, ':', pg_catalog.encode(a.pubkey, 'hex'), ':', CASE WHEN e.kind >= 30000 THEN bigbrotr.body_d_tag(e.body) END),
              'UTF8') AS bytes OFFSET 0) AS k
      JOIN bigbrotr.deletion AS d
        ON d.target = CASE WHEN pg_catalog.octet_length(k.bytes) <= 1024 THEN k.bytes ELSE pg_catalog.sha256(k.bytes) END
        AND d.pubkey = a.pubkey) IS NOT TRUE
    ELSE true
  END)
  -- Vanished (NIP-62), all but the request; gift wraps (1059) vanish with whom they are addressed to.
  AND bigbrotr.mostly(CASE
    WHEN e.kind = 62 THEN true
    ELSE (SELECT e.created_at <= v.until FROM bigbrotr.vanish AS v WHERE v.pubkey = a.pubkey) IS NOT TRUE
  END)
  AND bigbrotr.mostly(CASE
    WHEN e.kind = 1059 THEN (
      SELECT pg_catalog.bool_or(e.created_at <= v.until)
      FROM pg_catalog.jsonb_path_query(bigbrotr.body_tags(e.body), 'strict $[*] ? (@[0] == "p" && @[1] like_regex "^[0-9a-f]{64}$")') AS t(tag)
      JOIN bigbrotr.vanish AS v ON v.pubkey = pg_catalog.decode(t.tag ->> 1, 'hex')) IS NOT TRUE
    ELSE true
  END)
  -- Expired (NIP-40).
  AND bigbrotr.mostly((bigbrotr.body_expiration(e.body) <= EXTRACT(epoch FROM pg_catalog.now())::bigint) IS NOT TRUE);
COMMENT ON VIEW bigbrotr.visible_stored_event IS 'Internal: stored_event without what visible_event leaves out, with the author.';
COMMENT ON COLUMN bigbrotr.visible_stored_event.seq IS 'As in stored_event.';
COMMENT ON COLUMN bigbrotr.visible_stored_event.created_at IS 'As in stored_event.';
COMMENT ON COLUMN bigbrotr.visible_stored_event.author_id IS 'As in stored_event.';
COMMENT ON COLUMN bigbrotr.visible_stored_event.kind IS 'As in stored_event.';
COMMENT ON COLUMN bigbrotr.visible_stored_event.body IS 'As in stored_event.';
COMMENT ON COLUMN bigbrotr.visible_stored_event.id IS 'As in stored_event.';
COMMENT ON COLUMN bigbrotr.visible_stored_event.pubkey IS 'author.pubkey.';

CREATE VIEW bigbrotr.visible_event AS
SELECT
  e.seq,
  e.id,
  e.pubkey,
  e.created_at,
  e.kind,
  bigbrotr.body_tags(e.body) AS tags,
  bigbrotr.body_content(e.body) AS content,
  bigbrotr.body_sig(e.body) AS sig,
  bigbrotr.body_raw(e.body, e.pubkey, e.created_at, e.kind) AS raw
FROM bigbrotr.visible_stored_event AS e;
COMMENT ON VIEW bigbrotr.visible_event IS
  'The archive as a relay would return it: without what is deleted (NIP-09), expired (NIP-40), replaced (NIP-01) or vanished (NIP-62).';
COMMENT ON COLUMN bigbrotr.visible_event.seq IS 'Position in this archive, as in event.';
COMMENT ON COLUMN bigbrotr.visible_event.id IS 'NIP-01 id (32 bytes).';
COMMENT ON COLUMN bigbrotr.visible_event.pubkey IS 'Author (32 bytes, x-only).';
COMMENT ON COLUMN bigbrotr.visible_event.created_at IS 'Unix seconds, as the author wrote it: may be absurd.';
COMMENT ON COLUMN bigbrotr.visible_event.kind IS '0 to 65535.';
COMMENT ON COLUMN bigbrotr.visible_event.tags IS 'Array of arrays of strings. U+0000 shows as U+FFFD; event_json() is exact.';
COMMENT ON COLUMN bigbrotr.visible_event.content IS 'U+0000 shows as U+FFFD; event_json() is exact.';
COMMENT ON COLUMN bigbrotr.visible_event.sig IS 'Verified signature (64 bytes).';
COMMENT ON COLUMN bigbrotr.visible_event.raw IS 'Exact bytes where the columns do not give them, as in event; mostly NULL.';
