-- Who says that there is a relay, and where the finder asks.

-- By URL and apart from candidate: evidence outlives promotion, and a lease of the validator does not rewrite it.
CREATE TABLE bigbrotr.candidate_evidence (
  url           text        PRIMARY KEY,
  domain        text,
  sources       text[]      NOT NULL,
  events        bigint      NOT NULL DEFAULT 0,
  first_seen_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
  last_seen_at  timestamptz NOT NULL DEFAULT pg_catalog.now(),
  author_id     integer,
  author_hashes integer[]   NOT NULL DEFAULT '{}'
) WITH (fillfactor = 80);  -- no indexed column ever changes: an update finds room beside its row
-- For bigbrotr.max_candidates_per_domain and bigbrotr.max_candidates_per_author.
CREATE INDEX candidate_evidence_domain_idx ON bigbrotr.candidate_evidence (domain);
CREATE INDEX candidate_evidence_author_id_first_seen_at_idx ON bigbrotr.candidate_evidence (author_id, first_seen_at)
  WHERE author_id IS NOT NULL;
COMMENT ON TABLE bigbrotr.candidate_evidence IS
  'Who names a URL, whether it is a candidate, a relay or an alias; deleted a day after the last of these is. Read it through candidate_status and relay_evidence.';
COMMENT ON COLUMN bigbrotr.candidate_evidence.url IS 'Canonical key, as in relay.url.';
COMMENT ON COLUMN bigbrotr.candidate_evidence.domain IS 'relay_url_domain(url) when it was first named; NULL: it failed, and gave its place among bigbrotr.max_candidates_per_domain to a newer name. It may come back after a day.';
COMMENT ON COLUMN bigbrotr.candidate_evidence.sources IS 'Where it was named, sorted: api, event, operator, seed.';
COMMENT ON COLUMN bigbrotr.candidate_evidence.events IS
  'Archived events that named it, each once: exact. Also those that have left the archive since.';
COMMENT ON COLUMN bigbrotr.candidate_evidence.first_seen_at IS 'When it was first named, by our clock.';
COMMENT ON COLUMN bigbrotr.candidate_evidence.last_seen_at IS
  'When it was last named: by an event, or, to within an hour, by another source.';
COMMENT ON COLUMN bigbrotr.candidate_evidence.author_id IS
  'author.id of who made it a candidate, which counts against bigbrotr.max_candidates_per_author for a day; NULL: it was no event, or it was a relay before.';
COMMENT ON COLUMN bigbrotr.candidate_evidence.author_hashes IS
  'The 256 lowest hashes of the authors whose events named it, sorted: author_count() reads it. A hash is author.id, permuted, so no two authors share one.';

CREATE TABLE bigbrotr.candidate_refusal (
  scope            text        NOT NULL CHECK (scope IN ('author', 'domain', 'total')),
  name             text        NOT NULL,
  refusals         bigint      NOT NULL,
  first_refused_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
  last_refused_at  timestamptz NOT NULL DEFAULT pg_catalog.now(),
  PRIMARY KEY (scope, name)
);
COMMENT ON TABLE bigbrotr.candidate_refusal IS
  'Which limit kept URLs from becoming candidates: bigbrotr.max_candidates_per_author, max_candidates_per_domain, max_candidates. They come in when they are named again and there is room. Kept for 30 days, 10,000 rows at most.';
COMMENT ON COLUMN bigbrotr.candidate_refusal.scope IS 'author, domain or total.';
COMMENT ON COLUMN bigbrotr.candidate_refusal.name IS 'The public key of the author in hex, the registrable domain, or nothing.';
COMMENT ON COLUMN bigbrotr.candidate_refusal.refusals IS 'How many URLs; one that was refused twice counts twice.';
COMMENT ON COLUMN bigbrotr.candidate_refusal.first_refused_at IS 'When that began.';
COMMENT ON COLUMN bigbrotr.candidate_refusal.last_refused_at IS 'When it last happened.';

CREATE TABLE bigbrotr.api_source (
  url             text     PRIMARY KEY,
  path            text     NOT NULL DEFAULT '$[*]',
  "interval"      interval NOT NULL DEFAULT '1 day',
  enabled         boolean  NOT NULL DEFAULT true,
  last_fetched_at timestamptz,
  last_error      text,
  failures        integer  NOT NULL DEFAULT 0,
  url_count       integer
);
COMMENT ON TABLE bigbrotr.api_source IS 'HTTP APIs that list relays, fetched by the finder. Empty until the operator adds some.';
COMMENT ON COLUMN bigbrotr.api_source.url IS 'http(s) URL of a JSON document.';
COMMENT ON COLUMN bigbrotr.api_source.path IS
  'SQL/JSON path of what holds the URLs: strings, or objects and arrays, of which every key and string is looked at.';
COMMENT ON COLUMN bigbrotr.api_source."interval" IS 'Time between two fetches.';
COMMENT ON COLUMN bigbrotr.api_source.enabled IS 'Whether it is fetched.';
COMMENT ON COLUMN bigbrotr.api_source.last_fetched_at IS 'When it was last tried.';
COMMENT ON COLUMN bigbrotr.api_source.last_error IS 'Why the last try failed; NULL: it did not.';
COMMENT ON COLUMN bigbrotr.api_source.failures IS
  'Tries that failed in a row. The next comes 5 minutes after the first, twice as late after each further one, up to a day or the interval, whichever is longer.';
COMMENT ON COLUMN bigbrotr.api_source.url_count IS 'Distinct relay URLs in the document that was last fetched with success; NULL: none was.';
