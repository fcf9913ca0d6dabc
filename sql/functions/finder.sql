-- What the finder reads: the archive in the order it grew, and HTTP APIs.

CREATE FUNCTION bigbrotr.finder_batch(max integer)
  RETURNS TABLE (seq bigint, kind integer, tags text, content text)
  LANGUAGE sql STABLE STRICT ROWS 1000 SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT b.seq, b.kind, bigbrotr.body_tags(b.body)::text, bigbrotr.body_content(b.body)
    FROM (
      -- At least one event, and no more once some 16 MB are together: one event alone may have a megabyte.
      SELECT e.*, sum(bigbrotr.body_size(e.body)) OVER (ORDER BY e.seq ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
      FROM (
        SELECT e.seq, e.kind, e.body
        FROM bigbrotr.stored_event AS e
        WHERE e.seq > COALESCE((SELECT (s.state ->> 'seq')::bigint FROM bigbrotr.service_state AS s WHERE s.service = 'finder'), 0)
        ORDER BY e.seq
        LIMIT max
      ) AS e
    ) AS b
    WHERE COALESCE(b.before, 0) < 16777216
    ORDER BY b.seq
  $$;
COMMENT ON FUNCTION bigbrotr.finder_batch(integer) IS
  'Internal: the next events after the finder''s watermark, up to max of them and some 16 MB, in the order they were archived.';

CREATE FUNCTION bigbrotr.finder_advance(seq bigint) RETURNS void
  LANGUAGE sql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
  AS $$
    INSERT INTO bigbrotr.service_state AS s (service, state)
    VALUES ('finder', jsonb_build_object('seq', finder_advance.seq))
    ON CONFLICT (service) DO UPDATE
      SET state = s.state || excluded.state
      WHERE COALESCE((s.state ->> 'seq')::bigint, 0) < finder_advance.seq
  $$;
COMMENT ON FUNCTION bigbrotr.finder_advance(bigint) IS 'Internal: the finder is done with events up to this seq. Never goes back.';

CREATE FUNCTION bigbrotr.claim_api_sources()
  RETURNS TABLE (url text, path text)
  LANGUAGE sql VOLATILE ROWS 10 SET search_path = pg_catalog, pg_temp
  AS $$
    WITH due AS MATERIALIZED (
      SELECT a.url
      FROM bigbrotr.api_source AS a
      WHERE a.enabled
        AND (a.last_fetched_at IS NULL
             OR now() - a.last_fetched_at >= CASE WHEN a.last_error IS NULL THEN a."interval" ELSE LEAST(a."interval", interval '1 hour') END)
      FOR UPDATE OF a SKIP LOCKED
    )
    -- Who dies over it leaves these words, by which release_api_sources() knows it.
    UPDATE bigbrotr.api_source AS a
    SET last_fetched_at = now(), last_error = 'being fetched'
    FROM due
    WHERE a.url = due.url
    RETURNING a.url, a.path
  $$;
COMMENT ON FUNCTION bigbrotr.claim_api_sources() IS
  'Internal: the API sources that are due, marked as fetched now. One that failed is due after an hour at most.';

CREATE FUNCTION bigbrotr.release_api_sources() RETURNS integer
  LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
  AS $$
    WITH released AS (
      UPDATE bigbrotr.api_source AS a SET last_fetched_at = NULL, last_error = 'interrupted' WHERE a.last_error = 'being fetched' RETURNING 1
    )
    SELECT count(*)::integer FROM released
  $$;
COMMENT ON FUNCTION bigbrotr.release_api_sources() IS
  'Internal: makes sources due whose fetch was not finished and returns how many. For a finder that starts: a database has one.';

CREATE FUNCTION bigbrotr.api_source_done(url text, error text) RETURNS void
  LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
  AS $$
    UPDATE bigbrotr.api_source AS a
    SET last_fetched_at = now(), last_error = left(api_source_done.error, 500)
    WHERE a.url = api_source_done.url
  $$;
COMMENT ON FUNCTION bigbrotr.api_source_done(text, text) IS 'Internal: an API source was fetched; error NULL: with success.';

CREATE FUNCTION bigbrotr.json_path_values(document text, path text) RETURNS SETOF text
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    DECLARE
      parsed_document jsonb;
      parsed_path     jsonpath;
    BEGIN
      BEGIN
        parsed_path := path::jsonpath;
      EXCEPTION WHEN OTHERS THEN
        RAISE EXCEPTION 'no SQL/JSON path: %', left(path, 200)
          USING ERRCODE = 'invalid_parameter_value', DETAIL = SQLERRM, HINT = 'For an array of URLs write $[*], for a member of each element $[*].url.';
      END;
      BEGIN
        parsed_document := document::jsonb;
      EXCEPTION WHEN OTHERS THEN
        RAISE EXCEPTION 'no JSON document' USING ERRCODE = 'invalid_parameter_value', DETAIL = SQLERRM;
      END;
      RETURN QUERY
        SELECT v.value #>> '{}'
        FROM jsonb_path_query(parsed_document, parsed_path, '{}', true) AS v(value)
        WHERE jsonb_typeof(v.value) = 'string';
    END
  $$;
COMMENT ON FUNCTION bigbrotr.json_path_values(text, text) IS
  'Internal: the strings this SQL/JSON path selects in a JSON document; 22023 if either is malformed.';
