-- How publishing gets on.

CREATE VIEW bigbrotr.publish_status AS
SELECT
  t.url,
  t.connected_since,
  c.accepted,
  c.refused,
  c.unanswered,
  c.pending,
  c.last_sent_at,
  t.failures,
  t.next_attempt_at,
  t.last_error,
  t.last_error_at,
  f.message AS last_refusal
FROM bigbrotr.publish_relay AS t
CROSS JOIN LATERAL (
  SELECT
    pg_catalog.count(*) FILTER (WHERE x.event_id = p.event_id AND x.ok) AS accepted,
    pg_catalog.count(*) FILTER (WHERE x.event_id = p.event_id AND NOT x.ok) AS refused,
    pg_catalog.count(*) FILTER (WHERE x.event_id = p.event_id AND x.ok IS NULL) AS unanswered,
    pg_catalog.count(*) FILTER (WHERE x.event_id IS DISTINCT FROM p.event_id) AS pending,
    pg_catalog.max(x.sent_at) AS last_sent_at
  FROM bigbrotr.publication AS p
  LEFT JOIN bigbrotr.publication_result AS x ON x.publish_relay = t.url AND x.kind = p.kind AND x.d = p.d
  WHERE t.is_private OR NOT p.is_private
) AS c
LEFT JOIN LATERAL (
  SELECT x.message
  FROM bigbrotr.publication_result AS x
  WHERE x.publish_relay = t.url AND NOT x.ok
  ORDER BY x.sent_at DESC
  LIMIT 1
) AS f ON true;
COMMENT ON VIEW bigbrotr.publish_status IS
  'How each relay of bigbrotr.publish_relays takes what the monitor publishes. Counts are of the newest event of each kind and d.';
COMMENT ON COLUMN bigbrotr.publish_status.url IS 'publish_relay.url.';
COMMENT ON COLUMN bigbrotr.publish_status.connected_since IS 'Since when the monitor is connected; NULL: it is not.';
COMMENT ON COLUMN bigbrotr.publish_status.accepted IS 'Events it accepted.';
COMMENT ON COLUMN bigbrotr.publish_status.refused IS 'Events it refused. They are not sent again.';
COMMENT ON COLUMN bigbrotr.publish_status.unanswered IS 'Events it has been sent without saying anything.';
COMMENT ON COLUMN bigbrotr.publish_status.pending IS 'Events not sent yet, or too old to be.';
COMMENT ON COLUMN bigbrotr.publish_status.last_sent_at IS 'When it was last sent an event.';
COMMENT ON COLUMN bigbrotr.publish_status.failures IS 'Connections that failed since one last worked.';
COMMENT ON COLUMN bigbrotr.publish_status.next_attempt_at IS 'When it is used again; NULL: at once.';
COMMENT ON COLUMN bigbrotr.publish_status.last_error IS 'Why the last connection failed or ended, or why it pauses; NULL: it never did.';
COMMENT ON COLUMN bigbrotr.publish_status.last_error_at IS 'When that was.';
COMMENT ON COLUMN bigbrotr.publish_status.last_refusal IS 'What it said to the last event it refused.';
