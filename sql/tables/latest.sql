-- What relay_status would have to look up for each relay, kept by triggers: exact whoever writes the tables it comes from.
-- Looking it up is quick for one relay; for ten thousand the planner would compile the query for longer than it runs.

CREATE TABLE bigbrotr.relay_latest (
  relay_id          integer PRIMARY KEY,
  checked_at        timestamptz,
  ok                boolean,
  open_ms           real,
  read_ms           real,
  write_ms          real,
  error_class       text,
  error             text,
  name              text,
  software          text,
  version           text,
  supported_nips    integer[],
  auth_required     boolean,
  payment_required  boolean,
  restricted_writes boolean,
  country           text,
  city              text,
  asn               bigint,
  asn_org           text,
  ssl_valid         boolean,
  ssl_expires_at    timestamptz
) WITH (fillfactor = 70);
COMMENT ON TABLE bigbrotr.relay_latest IS
  'The newest check of each relay and what its newest documents say, for relay_status. Follows relay_check, relay_metadata and metadata by triggers; made anew at a restore.';
COMMENT ON COLUMN bigbrotr.relay_latest.relay_id IS 'relay.id.';
COMMENT ON COLUMN bigbrotr.relay_latest.checked_at IS 'relay_check.checked_at of the newest; NULL: no check.';
COMMENT ON COLUMN bigbrotr.relay_latest.ok IS 'Its ok.';
COMMENT ON COLUMN bigbrotr.relay_latest.open_ms IS 'Its open_ms.';
COMMENT ON COLUMN bigbrotr.relay_latest.read_ms IS 'Its read_ms.';
COMMENT ON COLUMN bigbrotr.relay_latest.write_ms IS 'Its write_ms.';
COMMENT ON COLUMN bigbrotr.relay_latest.error_class IS 'Its error_class.';
COMMENT ON COLUMN bigbrotr.relay_latest.error IS 'Its error.';
COMMENT ON COLUMN bigbrotr.relay_latest.name IS 'As relay_info has it.';
COMMENT ON COLUMN bigbrotr.relay_latest.software IS 'As relay_info has it.';
COMMENT ON COLUMN bigbrotr.relay_latest.version IS 'As relay_info has it.';
COMMENT ON COLUMN bigbrotr.relay_latest.supported_nips IS 'As relay_info has it.';
COMMENT ON COLUMN bigbrotr.relay_latest.auth_required IS 'As relay_info has it.';
COMMENT ON COLUMN bigbrotr.relay_latest.payment_required IS 'As relay_info has it.';
COMMENT ON COLUMN bigbrotr.relay_latest.restricted_writes IS 'As relay_info has it.';
COMMENT ON COLUMN bigbrotr.relay_latest.country IS 'As relay_geo has it.';
COMMENT ON COLUMN bigbrotr.relay_latest.city IS 'As relay_geo has it.';
COMMENT ON COLUMN bigbrotr.relay_latest.asn IS 'As relay_net has it; of its IPv6 address if there is no other.';
COMMENT ON COLUMN bigbrotr.relay_latest.asn_org IS 'As relay_net has it, likewise.';
COMMENT ON COLUMN bigbrotr.relay_latest.ssl_valid IS 'relay_certificate.valid.';
COMMENT ON COLUMN bigbrotr.relay_latest.ssl_expires_at IS 'relay_certificate.not_after.';

-- Apart from relay_latest: one is written under the archive lock, the other by the monitor, and neither may wait for the other.
CREATE TABLE bigbrotr.relay_holding (
  relay_id    integer PRIMARY KEY,
  event_count bigint  NOT NULL
) WITH (fillfactor = 50);
COMMENT ON TABLE bigbrotr.relay_holding IS
  'How many events each relay was seen to hold: the sum of sighting.n, which it follows by triggers; made anew at a restore.';
COMMENT ON COLUMN bigbrotr.relay_holding.relay_id IS 'relay.id.';
COMMENT ON COLUMN bigbrotr.relay_holding.event_count IS 'Archived events seen there.';
