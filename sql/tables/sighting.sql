CREATE TABLE bigbrotr.sighting (
  relay_id integer     NOT NULL,
  n        integer     NOT NULL,
  lo       bigint      NOT NULL,
  hi       bigint      NOT NULL,
  members  bytea       NOT NULL,
  seen_at  timestamptz NOT NULL DEFAULT pg_catalog.now(),
  PRIMARY KEY (relay_id, lo),
  CHECK (lo <= hi)
);
-- Roaring bitmaps do not compress: trying would only cost CPU.
ALTER TABLE bigbrotr.sighting ALTER COLUMN members SET STORAGE EXTERNAL;
-- From an event to the leaves around its time.
CREATE INDEX sighting_hi_lo_idx ON bigbrotr.sighting (hi, lo);
COMMENT ON TABLE bigbrotr.sighting IS
  'Which relay was seen to hold which events: sets of event.seq in leaves by created_at. Leaves of one relay never overlap. Read it through event_relay or relays_of().';
COMMENT ON COLUMN bigbrotr.sighting.relay_id IS 'relay.id. No foreign key: relays are never deleted, and every leaf written would lock its relay row.';
COMMENT ON COLUMN bigbrotr.sighting.n IS 'Number of members.';
COMMENT ON COLUMN bigbrotr.sighting.lo IS 'Lowest created_at the leaf covers, inclusive.';
COMMENT ON COLUMN bigbrotr.sighting.hi IS 'Highest created_at the leaf covers, inclusive.';
COMMENT ON COLUMN bigbrotr.sighting.members IS 'Serialised roaring treemap of event.seq.';
COMMENT ON COLUMN bigbrotr.sighting.seen_at IS 'When the leaf was first filled: coarse for its later members.';
