CREATE TABLE bigbrotr.coverage (
  relay_id    integer NOT NULL REFERENCES bigbrotr.relay,
  filter_hash bytea   NOT NULL,
  state       bigbrotr.coverage_state NOT NULL,
  ranges      int8multirange NOT NULL,
  PRIMARY KEY (relay_id, filter_hash, state)
);
COMMENT ON TABLE bigbrotr.coverage IS
  'What the archive knows that it knows: ranges of created_at per relay and filter that are complete, or incomplete and why. What is left to fetch is range − complete.';
COMMENT ON COLUMN bigbrotr.coverage.relay_id IS 'relay.id.';
COMMENT ON COLUMN bigbrotr.coverage.filter_hash IS 'SHA-256 of the canonical JSON of the filter: content_hash(filter). A changed bigbrotr.sync_filter starts a ledger of its own.';
COMMENT ON COLUMN bigbrotr.coverage.state IS 'complete, or why not.';
COMMENT ON COLUMN bigbrotr.coverage.ranges IS 'Half-open ranges of created_at, unix seconds. Ranges of different states never overlap.';

CREATE TABLE bigbrotr.relay_sync (
  relay_id        integer PRIMARY KEY REFERENCES bigbrotr.relay,
  learned         jsonb   NOT NULL DEFAULT '{}',
  horizon         bigint,
  leased_until    timestamptz,
  leased_by       integer,
  next_attempt_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
  queue_at        timestamptz NOT NULL DEFAULT pg_catalog.now() - pg_catalog.make_interval(hours => 1),
  failures        integer NOT NULL DEFAULT 0,
  last_synced_at  timestamptz,
  live_since      timestamptz,
  requests        bigint  NOT NULL DEFAULT 0,
  received        bigint  NOT NULL DEFAULT 0,
  archived        bigint  NOT NULL DEFAULT 0,
  novelty         double precision NOT NULL DEFAULT 0,
  last_error      text
);
CREATE INDEX relay_sync_queue_at_idx ON bigbrotr.relay_sync (queue_at);
-- Empty but for rows changed by hand.
CREATE INDEX relay_sync_misplaced_idx ON bigbrotr.relay_sync (queue_at) WHERE queue_at > next_attempt_at;
COMMENT ON TABLE bigbrotr.relay_sync IS
  'How the synchronizer gets on with each relay. Apart from coverage, so that a heartbeat never rewrites ranges.';
COMMENT ON COLUMN bigbrotr.relay_sync.relay_id IS 'relay.id.';
COMMENT ON COLUMN bigbrotr.relay_sync.learned IS 'What was learned of its answers: page cap, order, bounds.';
COMMENT ON COLUMN bigbrotr.relay_sync.horizon IS 'Upper end (exclusive, unix seconds) of what the last pass could call complete.';
COMMENT ON COLUMN bigbrotr.relay_sync.leased_until IS 'A synchronizer is at it until then; NULL: nobody.';
COMMENT ON COLUMN bigbrotr.relay_sync.leased_by IS 'Process id of that synchronizer.';
COMMENT ON COLUMN bigbrotr.relay_sync.next_attempt_at IS 'When it is due again; while it is live, when it was last heard of.';
COMMENT ON COLUMN bigbrotr.relay_sync.queue_at IS
  'Its place among those that are due: next_attempt_at, less a head start of up to an hour for relays never asked, with gaps, or with much that was new lately.';
COMMENT ON COLUMN bigbrotr.relay_sync.failures IS 'Passes that failed since the last good one.';
COMMENT ON COLUMN bigbrotr.relay_sync.last_synced_at IS 'When it was last known to have nothing more: the last pass ended well, or what arrived live was entered into coverage.';
COMMENT ON COLUMN bigbrotr.relay_sync.live_since IS 'Since when a synchronizer is subscribed to what arrives there; NULL: it is not.';
COMMENT ON COLUMN bigbrotr.relay_sync.requests IS 'Requests sent, ever.';
COMMENT ON COLUMN bigbrotr.relay_sync.received IS 'Events received, copies included, ever.';
COMMENT ON COLUMN bigbrotr.relay_sync.archived IS 'Of those, events that were new to the archive.';
COMMENT ON COLUMN bigbrotr.relay_sync.novelty IS 'New events per request lately: an average in which each pass counts 30 %.';
COMMENT ON COLUMN bigbrotr.relay_sync.last_error IS 'Why the last pass did not; NULL: it did.';
