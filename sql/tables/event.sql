-- seq comes from a sequence of its own: a position in this archive, never reused, node-local.
CREATE SEQUENCE bigbrotr.event_seq AS bigint;
COMMENT ON SEQUENCE bigbrotr.event_seq IS 'Positions in the archive. Taken under the archive lock, so their order is commit order.';

CREATE TABLE bigbrotr.event (
  seq        bigint  NOT NULL DEFAULT pg_catalog.nextval('bigbrotr.event_seq'),
  id         bytea   NOT NULL,
  pubkey     bytea   NOT NULL,
  created_at bigint  NOT NULL,
  kind       integer NOT NULL,
  tags       jsonb   NOT NULL,
  content    text    NOT NULL,
  sig        bytea   NOT NULL,
  raw        bytea,
  -- The id is a hash over created_at, so this is as unique as the id alone; inserts of one time stay together,
  -- and it is the order NIP-77 compares in.
  PRIMARY KEY (created_at, id)
);
COMMENT ON TABLE bigbrotr.event IS
  'The archive: every valid event once, all versions, nothing hidden (see visible_event). Written only by bigbrotr.archive().';
COMMENT ON COLUMN bigbrotr.event.seq IS 'Position in this archive; order of commit. Local to this database.';
COMMENT ON COLUMN bigbrotr.event.id IS 'NIP-01 id, recomputed by us (32 bytes).';
COMMENT ON COLUMN bigbrotr.event.pubkey IS 'Author (32 bytes, x-only).';
COMMENT ON COLUMN bigbrotr.event.created_at IS 'Unix seconds, as the author wrote it: may be absurd.';
COMMENT ON COLUMN bigbrotr.event.kind IS '0 to 65535.';
COMMENT ON COLUMN bigbrotr.event.tags IS 'Array of arrays of strings. U+0000 shows as U+FFFD; event_json() is exact.';
COMMENT ON COLUMN bigbrotr.event.content IS 'U+0000 shows as U+FFFD; event_json() is exact.';
COMMENT ON COLUMN bigbrotr.event.sig IS 'BIP-340 signature over the id, verified (64 bytes).';
COMMENT ON COLUMN bigbrotr.event.raw IS
  'The exact bytes whose SHA-256 is the id, where the usual serialisation of the columns does not give them; mostly NULL.';

-- A hash index on id takes half the bytes of a btree, and ids are only ever looked up whole.
CREATE INDEX event_id_idx ON bigbrotr.event USING hash (id);
CREATE UNIQUE INDEX event_seq_idx ON bigbrotr.event (seq);
CREATE INDEX event_pubkey_created_at_idx ON bigbrotr.event (pubkey, created_at);
CREATE INDEX event_kind_created_at_idx ON bigbrotr.event (kind, created_at);
-- Hashes of the one-letter tags: a value of any length fits, every match is rechecked.
CREATE INDEX event_tag_idx ON bigbrotr.event USING gin (bigbrotr.tag_hashes(tags));
-- Which version is current: newest, ties by the lowest id (NIP-01). The d tag may be long, so its hash is indexed.
CREATE INDEX event_replaceable_idx ON bigbrotr.event (pubkey, kind, created_at DESC, id)
  WHERE kind IN (0, 3) OR kind BETWEEN 10000 AND 19999;
CREATE INDEX event_addressable_idx ON bigbrotr.event (pubkey, kind, bigbrotr.tag_hash('d', bigbrotr.d_tag(tags)), created_at DESC, id)
  WHERE kind BETWEEN 30000 AND 39999;

CREATE TABLE bigbrotr.deletion (
  target     bytea  NOT NULL,
  pubkey     bytea  NOT NULL,
  until      bigint,
  request_id bytea  NOT NULL,
  PRIMARY KEY (target, pubkey)
);
COMMENT ON TABLE bigbrotr.deletion IS
  'What kind 5 events (NIP-09) ask to delete, written as they are archived, so that a target that comes later is covered too.';
COMMENT ON COLUMN bigbrotr.deletion.target IS 'Event id (32 bytes), or address_target() of an address kind:pubkey:d.';
COMMENT ON COLUMN bigbrotr.deletion.pubkey IS 'Who asked: effective only for events of the same author.';
COMMENT ON COLUMN bigbrotr.deletion.until IS 'For an address: versions up to this created_at. NULL for an event id.';
COMMENT ON COLUMN bigbrotr.deletion.request_id IS 'The kind 5 event.';

CREATE FUNCTION bigbrotr.address_target(kind integer, pubkey bytea, d text) RETURNS bytea
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  -- A btree entry ends at 2,704 bytes and a d tag does not: a long address stands as its hash.
  AS $$
    SELECT CASE WHEN octet_length(a.bytes) <= 1024 THEN a.bytes ELSE sha256(a.bytes) END
    FROM (SELECT convert_to(concat(kind, ':', encode(pubkey, 'hex'), ':', d), 'UTF8') AS bytes) AS a
  $$;
COMMENT ON FUNCTION bigbrotr.address_target(integer, bytea, text) IS
  'Internal: deletion.target of an address: the UTF-8 text kind:pubkey:d (pubkey in hex), or its SHA-256 if that is longer than 1,024 bytes.';

CREATE TABLE bigbrotr.vanish (
  pubkey     bytea  PRIMARY KEY,
  until      bigint NOT NULL,
  request_id bytea  NOT NULL
);
COMMENT ON TABLE bigbrotr.vanish IS
  'Tombstones of NIP-62 requests to ALL_RELAYS: what this author wrote up to then stays out. Filled while bigbrotr.vanish_enabled is on.';
COMMENT ON COLUMN bigbrotr.vanish.pubkey IS 'Who asked.';
COMMENT ON COLUMN bigbrotr.vanish.until IS 'created_at of the newest request.';
COMMENT ON COLUMN bigbrotr.vanish.request_id IS 'The kind 62 event.';
