CREATE TABLE bigbrotr.metadata (
  id   bytea NOT NULL,
  type bigbrotr.metadata_type NOT NULL,
  data jsonb NOT NULL,
  typed jsonb GENERATED ALWAYS AS (bigbrotr.typed_document(type, data)) STORED,
  PRIMARY KEY (id, type)
);
COMMENT ON TABLE bigbrotr.metadata IS 'Documents about relays, each once, addressed by content.';
COMMENT ON COLUMN bigbrotr.metadata.id IS 'SHA-256 of the canonical JSON: content_hash(data) unless data had to replace U+0000.';
COMMENT ON COLUMN bigbrotr.metadata.type IS 'Which check it came from.';
COMMENT ON COLUMN bigbrotr.metadata.data IS 'The document. U+0000 shows as U+FFFD.';
COMMENT ON COLUMN bigbrotr.metadata.typed IS 'What could be understood of it, each member of its type: read relay_info, relay_certificate, … instead.';

CREATE TABLE bigbrotr.relay_metadata (
  relay_id      integer NOT NULL REFERENCES bigbrotr.relay,
  type          bigbrotr.metadata_type NOT NULL,
  metadata_id   bytea NOT NULL,
  first_seen_at timestamptz NOT NULL,
  last_seen_at  timestamptz NOT NULL,
  PRIMARY KEY (relay_id, type, first_seen_at),
  FOREIGN KEY (metadata_id, type) REFERENCES bigbrotr.metadata
);
CREATE INDEX relay_metadata_metadata_id_idx ON bigbrotr.relay_metadata (metadata_id, type);
COMMENT ON TABLE bigbrotr.relay_metadata IS
  'Which document a relay had from when to when. An unchanged document extends its row instead of adding one. History is kept: the newest thousand rows of each relay and type, or as many as have 4 MB of documents.';
COMMENT ON COLUMN bigbrotr.relay_metadata.relay_id IS 'relay.id.';
COMMENT ON COLUMN bigbrotr.relay_metadata.type IS 'Which check it came from.';
COMMENT ON COLUMN bigbrotr.relay_metadata.metadata_id IS 'metadata.id.';
COMMENT ON COLUMN bigbrotr.relay_metadata.first_seen_at IS 'First check of this run that gave it.';
COMMENT ON COLUMN bigbrotr.relay_metadata.last_seen_at IS 'Last check of this run that gave it.';

CREATE TABLE bigbrotr.relay_check (
  relay_id    integer     NOT NULL REFERENCES bigbrotr.relay,
  checked_at  timestamptz NOT NULL,
  ok          boolean     NOT NULL,
  open_ms     real,
  read_ms     real,
  write_ms    real,
  error_class text,
  error       text,
  PRIMARY KEY (relay_id, checked_at)
);
COMMENT ON TABLE bigbrotr.relay_check IS 'Measurements that never repeat, one row a check, kept for bigbrotr.history_retention.';
COMMENT ON COLUMN bigbrotr.relay_check.relay_id IS 'relay.id.';
COMMENT ON COLUMN bigbrotr.relay_check.checked_at IS 'When the check began.';
COMMENT ON COLUMN bigbrotr.relay_check.ok IS 'Whether a WebSocket opened and a REQ was answered.';
COMMENT ON COLUMN bigbrotr.relay_check.open_ms IS 'Milliseconds to an open WebSocket; NULL: not reached.';
COMMENT ON COLUMN bigbrotr.relay_check.read_ms IS 'Milliseconds from REQ to the first answer; NULL: none.';
COMMENT ON COLUMN bigbrotr.relay_check.write_ms IS 'Milliseconds from EVENT to OK true; NULL: not tried or refused.';
COMMENT ON COLUMN bigbrotr.relay_check.error_class IS 'dns, tcp, tls, http, ws, protocol, timeout, silence, …; NULL: ok.';
COMMENT ON COLUMN bigbrotr.relay_check.error IS 'The failure in words.';

CREATE TABLE bigbrotr.relay_monitor (
  relay_id      integer PRIMARY KEY REFERENCES bigbrotr.relay,
  next_check_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
  leased_until  timestamptz,
  failures      integer NOT NULL DEFAULT 0,
  last_ok_at    timestamptz,
  online        boolean,
  online_since  timestamptz,
  last_check_at timestamptz,
  expected_by   timestamptz,
  uptime_7d     real
);
CREATE INDEX relay_monitor_next_check_at_idx ON bigbrotr.relay_monitor (next_check_at);
COMMENT ON TABLE bigbrotr.relay_monitor IS 'When the monitor looks at each relay again, and where its history stands.';
COMMENT ON COLUMN bigbrotr.relay_monitor.relay_id IS 'relay.id.';
COMMENT ON COLUMN bigbrotr.relay_monitor.next_check_at IS 'When it is due.';
COMMENT ON COLUMN bigbrotr.relay_monitor.leased_until IS 'A monitor is at it until then; NULL: nobody.';
COMMENT ON COLUMN bigbrotr.relay_monitor.failures IS 'Checks that failed since the last good one.';
COMMENT ON COLUMN bigbrotr.relay_monitor.last_ok_at IS 'The last good check.';
COMMENT ON COLUMN bigbrotr.relay_monitor.online IS 'Outcome of the newest check; NULL: none yet.';
COMMENT ON COLUMN bigbrotr.relay_monitor.online_since IS 'The check that first found it so: since when it is up, or down.';
COMMENT ON COLUMN bigbrotr.relay_monitor.last_check_at IS 'The newest check.';
COMMENT ON COLUMN bigbrotr.relay_monitor.expected_by IS 'A next check later than this leaves a time of which nothing is known.';
COMMENT ON COLUMN bigbrotr.relay_monitor.uptime_7d IS 'Share, 0 to 1, of the known time of the seven days before the newest check that it was up; NULL: nothing known.';

CREATE TABLE bigbrotr.relay_period (
  relay_id    integer     NOT NULL REFERENCES bigbrotr.relay,
  since       timestamptz NOT NULL,
  until       timestamptz,
  online      boolean     NOT NULL,
  error_class text,
  error       text,
  PRIMARY KEY (relay_id, since),
  CHECK (until >= since)
);
CREATE UNIQUE INDEX relay_period_current_idx ON bigbrotr.relay_period (relay_id) WHERE until IS NULL;
COMMENT ON TABLE bigbrotr.relay_period IS
  'Checks of a relay that agree, as one row: it was up, or down, from the first of them to the check that said otherwise. What no check vouches for is in no period. Kept for bigbrotr.history_retention.';
COMMENT ON COLUMN bigbrotr.relay_period.relay_id IS 'relay.id.';
COMMENT ON COLUMN bigbrotr.relay_period.since IS 'The first check that found it so.';
COMMENT ON COLUMN bigbrotr.relay_period.until IS
  'The check that found it otherwise or, when checks stopped for a while, the last one before; NULL: it is so now, known up to relay_monitor.last_check_at.';
COMMENT ON COLUMN bigbrotr.relay_period.online IS 'Up or down.';
COMMENT ON COLUMN bigbrotr.relay_period.error_class IS 'If down: relay_check.error_class of its first check.';
COMMENT ON COLUMN bigbrotr.relay_period.error IS 'If down: relay_check.error of its first check.';

CREATE TABLE bigbrotr.relay_change (
  id         bigint      GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
  relay_id   integer     NOT NULL REFERENCES bigbrotr.relay,
  changed_at timestamptz NOT NULL,
  what       text        NOT NULL,
  old        jsonb,
  new        jsonb
);
CREATE INDEX relay_change_relay_id_changed_at_idx ON bigbrotr.relay_change (relay_id, changed_at);
CREATE INDEX relay_change_changed_at_idx ON bigbrotr.relay_change (changed_at);
COMMENT ON TABLE bigbrotr.relay_change IS
  'What became different at a relay, in the transaction of the check that showed it. What is first seen is no change. Kept for bigbrotr.history_retention. Read relay_changelog.';
COMMENT ON SEQUENCE bigbrotr.relay_change_id_seq IS 'Numbers of changes.';
COMMENT ON COLUMN bigbrotr.relay_change.id IS 'Local number.';
COMMENT ON COLUMN bigbrotr.relay_change.relay_id IS 'relay.id.';
COMMENT ON COLUMN bigbrotr.relay_change.changed_at IS 'The check that showed it; for dead, revived, blocked and unblocked when the state was set.';
COMMENT ON COLUMN bigbrotr.relay_change.what IS
  'up, down, dead, revived, blocked, unblocked; of NIP-11: name, software, version, nips, operator, access, limits; certificate, certificate_valid, address, country, asn, server.';
COMMENT ON COLUMN bigbrotr.relay_change.old IS 'As it was; NULL: it did not say, or nothing to say.';
COMMENT ON COLUMN bigbrotr.relay_change.new IS 'As it is; NULL: it does not say any more, or nothing to say.';
