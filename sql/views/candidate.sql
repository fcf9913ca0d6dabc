-- What candidates fail of.

CREATE VIEW bigbrotr.candidate_failures AS
SELECT
  f.class,
  f.kind,
  pg_catalog.count(*) AS candidates,
  pg_catalog.count(*) FILTER (WHERE f.failures >= 5) AS failed_five_times,
  pg_catalog.min(f.next_attempt_at) AS next_attempt_at,
  (pg_catalog.array_agg(f.url ORDER BY f.failures, f.url))[1] AS example_url,
  (pg_catalog.array_agg(f.last_error ORDER BY f.failures, f.url))[1] AS example
FROM (
  SELECT
    c.url, c.failures, c.next_attempt_at, c.last_error,
    pg_catalog.split_part(c.last_error, ':', 1) AS class,
    CASE pg_catalog.split_part(c.last_error, ':', 1)
      -- Why the handshake failed stands before the details, as does the status of an answer.
      WHEN 'tls' THEN pg_catalog.btrim(pg_catalog.substring(c.last_error, '^tls:([^(]*)'))
      WHEN 'http' THEN pg_catalog.substring(c.last_error, '^http: (HTTP \d+)')
    END AS kind
  FROM bigbrotr.candidate AS c
  WHERE c.last_error IS NOT NULL
) AS f
GROUP BY f.class, f.kind;
COMMENT ON VIEW bigbrotr.candidate_failures IS 'What candidates failed of when they were last tried, by class.';
COMMENT ON COLUMN bigbrotr.candidate_failures.class IS
  'dns, tcp, tls, http, ws, protocol, silence, timeout, oversize, proxy, refused_address, limit, blocked, …: what stands before the colon of candidate.last_error.';
COMMENT ON COLUMN bigbrotr.candidate_failures.kind IS
  'What exactly, where the class has kinds: what is wrong with the certificate, the HTTP status.';
COMMENT ON COLUMN bigbrotr.candidate_failures.candidates IS 'How many.';
COMMENT ON COLUMN bigbrotr.candidate_failures.failed_five_times IS 'Of these, how many failed at least five times.';
COMMENT ON COLUMN bigbrotr.candidate_failures.next_attempt_at IS 'When the first of them is tried again.';
COMMENT ON COLUMN bigbrotr.candidate_failures.example_url IS 'One of them.';
COMMENT ON COLUMN bigbrotr.candidate_failures.example IS 'Its candidate.last_error.';
