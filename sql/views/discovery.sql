-- Who names what.

CREATE VIEW bigbrotr.candidate_status AS
SELECT
  c.url,
  c.network,
  COALESCE(e.sources, ARRAY[c.source]) AS sources,
  COALESCE(bigbrotr.author_count(e.author_hashes), 0) AS authors,
  COALESCE(e.events, 0) AS events,
  COALESCE(e.first_seen_at, c.first_seen_at) AS first_seen_at,
  GREATEST(c.first_seen_at, c.last_seen_at, e.last_seen_at) AS last_seen_at,
  c.failures,
  c.next_attempt_at,
  c.last_error
FROM bigbrotr.candidate AS c
LEFT JOIN bigbrotr.candidate_evidence AS e ON e.url = c.url;
COMMENT ON VIEW bigbrotr.candidate_status IS 'Each candidate with who names it and how its tries went.';
COMMENT ON COLUMN bigbrotr.candidate_status.url IS 'Canonical key.';
COMMENT ON COLUMN bigbrotr.candidate_status.network IS 'Network the host belongs to.';
COMMENT ON COLUMN bigbrotr.candidate_status.sources IS 'Where it was named: api, event, operator, seed.';
COMMENT ON COLUMN bigbrotr.candidate_status.authors IS 'Distinct authors whose events name it: exact up to 255, then to within some 6 %.';
COMMENT ON COLUMN bigbrotr.candidate_status.events IS 'Archived events that name it.';
COMMENT ON COLUMN bigbrotr.candidate_status.first_seen_at IS 'When it was first named.';
COMMENT ON COLUMN bigbrotr.candidate_status.last_seen_at IS 'When it was last named.';
COMMENT ON COLUMN bigbrotr.candidate_status.failures IS 'Attempts that failed.';
COMMENT ON COLUMN bigbrotr.candidate_status.next_attempt_at IS 'When it is tried again.';
COMMENT ON COLUMN bigbrotr.candidate_status.last_error IS 'class: text of the last failure.';

CREATE VIEW bigbrotr.relay_evidence AS
SELECT
  r.url,
  r.network,
  r.state,
  COALESCE(e.sources, '{}') AS sources,
  COALESCE(bigbrotr.author_count(e.author_hashes), 0) AS authors,
  COALESCE(e.events, 0) AS events,
  e.first_seen_at,
  e.last_seen_at
FROM bigbrotr.relay AS r
LEFT JOIN bigbrotr.candidate_evidence AS e ON e.url = r.url;
COMMENT ON VIEW bigbrotr.relay_evidence IS 'Each relay with who names it, from when it was a candidate on. What names an alias is counted there.';
COMMENT ON COLUMN bigbrotr.relay_evidence.url IS 'Canonical key.';
COMMENT ON COLUMN bigbrotr.relay_evidence.network IS 'Network the host belongs to.';
COMMENT ON COLUMN bigbrotr.relay_evidence.state IS 'active, dead or blocked.';
COMMENT ON COLUMN bigbrotr.relay_evidence.sources IS 'Where it was named: api, event, operator, seed; empty: nowhere, events were archived as seen on it.';
COMMENT ON COLUMN bigbrotr.relay_evidence.authors IS 'Distinct authors whose events name it: exact up to 255, then to within some 6 %.';
COMMENT ON COLUMN bigbrotr.relay_evidence.events IS 'Archived events that name it.';
COMMENT ON COLUMN bigbrotr.relay_evidence.first_seen_at IS 'When it was first named.';
COMMENT ON COLUMN bigbrotr.relay_evidence.last_seen_at IS 'When it was last named.';
