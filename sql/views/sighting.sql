-- Either side can lead. From an event: the index on (hi, lo), then the bitmaps of the leaves around its time. From a relay
-- or a LIMIT: a leaf, its members unpacked, each looked up in the index on seq.
CREATE VIEW bigbrotr.event_relay AS
SELECT e.id AS event_id, r.url AS relay_url, s.seen_at
FROM bigbrotr.stored_event AS e
JOIN bigbrotr.sighting AS s
  ON e.created_at BETWEEN s.lo AND s.hi
  AND e.seq = ANY (bigbrotr.sighting_members(s.members))
  AND bigbrotr.sighting_has(s.members, e.seq)
JOIN bigbrotr.relay AS r ON r.id = s.relay_id;
COMMENT ON VIEW bigbrotr.event_relay IS 'Which relay was seen to hold which event. For one event relays_of() is faster.';
COMMENT ON COLUMN bigbrotr.event_relay.event_id IS 'event.id.';
COMMENT ON COLUMN bigbrotr.event_relay.relay_url IS 'relay.url.';
COMMENT ON COLUMN bigbrotr.event_relay.seen_at IS 'When the first event of that time was seen on that relay: coarse.';

CREATE FUNCTION bigbrotr.relays_of(event_id bytea)
  RETURNS TABLE (relay_url text, seen_at timestamptz)
  LANGUAGE sql STABLE STRICT PARALLEL SAFE ROWS 10 SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT r.url, s.seen_at
    FROM (SELECT v.created_at, v.seq FROM bigbrotr.stored_event AS v WHERE v.id = relays_of.event_id LIMIT 1) AS e
    CROSS JOIN bigbrotr.relay AS r
    -- Leaves of a relay do not overlap: only the last one that begins early enough can hold it.
    CROSS JOIN LATERAL (
      SELECT l.hi, l.members, l.seen_at
      FROM bigbrotr.sighting AS l
      WHERE l.relay_id = r.id AND l.lo <= e.created_at
      ORDER BY l.lo DESC
      LIMIT 1
    ) AS s
    WHERE s.hi >= e.created_at AND bigbrotr.sighting_has(s.members, e.seq)
    ORDER BY s.seen_at, r.url
  $$;
COMMENT ON FUNCTION bigbrotr.relays_of(bytea) IS
  'The relays that were seen to hold this event, by the time each was first seen to hold events of its time.';
