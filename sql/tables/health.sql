CREATE TABLE bigbrotr.metadata (
  id   bytea NOT NULL,
  type bigbrotr.metadata_type NOT NULL,
  data jsonb NOT NULL,
  PRIMARY KEY (id, type)
);
COMMENT ON TABLE bigbrotr.metadata IS 'Documents about relays, each once, addressed by content.';
COMMENT ON COLUMN bigbrotr.metadata.id IS 'SHA-256 of the canonical JSON: content_hash(data) unless data had to replace U+0000.';
COMMENT ON COLUMN bigbrotr.metadata.type IS 'Which check it came from.';
COMMENT ON COLUMN bigbrotr.metadata.data IS 'The document. U+0000 shows as U+FFFD.';

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
  'Which document a relay had from when to when. An unchanged document extends its row instead of adding one. History is kept.';
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
  last_ok_at    timestamptz
);
CREATE INDEX relay_monitor_next_check_at_idx ON bigbrotr.relay_monitor (next_check_at);
COMMENT ON TABLE bigbrotr.relay_monitor IS 'When the monitor looks at each relay again.';
COMMENT ON COLUMN bigbrotr.relay_monitor.relay_id IS 'relay.id.';
COMMENT ON COLUMN bigbrotr.relay_monitor.next_check_at IS 'When it is due.';
COMMENT ON COLUMN bigbrotr.relay_monitor.leased_until IS 'A monitor is at it until then; NULL: nobody.';
COMMENT ON COLUMN bigbrotr.relay_monitor.failures IS 'Checks that failed since the last good one.';
COMMENT ON COLUMN bigbrotr.relay_monitor.last_ok_at IS 'The last good check.';
