-- HTTP APIs that list relays.

CREATE FUNCTION bigbrotr.check_api_source() RETURNS trigger
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
  AS $$
    BEGIN
      IF NEW.url !~* '^https?://[^/?#[:space:][:cntrl:]]+([/?#][^[:space:][:cntrl:]]*)?$' OR octet_length(NEW.url) > 2048 THEN
        RAISE EXCEPTION 'no http or https URL: %', left(NEW.url, 200)
          USING ERRCODE = 'check_violation', SCHEMA = 'bigbrotr', TABLE = 'api_source', COLUMN = 'url',
                HINT = 'Give the whole URL of a JSON document, up to 2,048 bytes, such as https://api.nostr.watch/v1/online.';
      END IF;
      IF NEW."interval" <= interval '0' THEN
        RAISE EXCEPTION 'an API cannot be asked every %', NEW."interval"
          USING ERRCODE = 'check_violation', SCHEMA = 'bigbrotr', TABLE = 'api_source', COLUMN = 'interval',
                HINT = 'Give a time above zero, such as 1 day. To stop asking set enabled to false.';
      END IF;
      BEGIN
        PERFORM NEW.path::jsonpath;
      EXCEPTION WHEN OTHERS THEN
        RAISE EXCEPTION 'no SQL/JSON path: %', left(NEW.path, 200)
          USING ERRCODE = 'check_violation', SCHEMA = 'bigbrotr', TABLE = 'api_source', COLUMN = 'path', DETAIL = SQLERRM,
                HINT = 'For an array of URLs write $[*], for a member of each element $[*].url, for everything in the document $.';
      END;
      -- What was wrong with another document, or at another time, is no reason to wait.
      IF TG_OP = 'UPDATE' AND (NEW.url, NEW.path) IS DISTINCT FROM (OLD.url, OLD.path) THEN
        NEW.last_fetched_at := NULL;
        NEW.failures := 0;
      END IF;
      RETURN NEW;
    END
  $$;
COMMENT ON FUNCTION bigbrotr.check_api_source() IS
  'Internal: refuses rows of api_source that could never be fetched, in words. One that is changed is due at once.';
CREATE TRIGGER check_api_source BEFORE INSERT OR UPDATE OF url, path, "interval" ON bigbrotr.api_source
  FOR EACH ROW EXECUTE FUNCTION bigbrotr.check_api_source();

CREATE FUNCTION bigbrotr.claim_api_sources()
  RETURNS TABLE (url text, path text)
  LANGUAGE sql VOLATILE ROWS 10 SET search_path = pg_catalog, pg_temp
  AS $$
    WITH due AS MATERIALIZED (
      SELECT a.url
      FROM bigbrotr.api_source AS a
      WHERE a.enabled
        AND (a.last_fetched_at IS NULL
             OR now() >= a.last_fetched_at + CASE
                  WHEN a.failures = 0 THEN a."interval"
                  ELSE LEAST(GREATEST(a."interval", interval '1 day'), interval '5 minutes' * 2 ^ LEAST(a.failures - 1, 20))
                END)
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
  'Internal: the API sources that are due, marked as fetched now. One that failed is due again in 5 minutes, each further time after twice as long, up to a day or its interval.';

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

CREATE FUNCTION bigbrotr.api_source_done(url text, error text, url_count integer DEFAULT NULL) RETURNS void
  LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
  AS $$
    UPDATE bigbrotr.api_source AS a
    SET last_fetched_at = now(),
        last_error      = left(api_source_done.error, 500),
        failures        = CASE WHEN error IS NULL THEN 0 ELSE a.failures + 1 END,
        url_count       = COALESCE(api_source_done.url_count, a.url_count)
    WHERE a.url = api_source_done.url
  $$;
COMMENT ON FUNCTION bigbrotr.api_source_done(text, text, integer) IS
  'Internal: an API source was fetched; error NULL: with success, and so many relay URLs were in it.';

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
        RAISE EXCEPTION 'no JSON document: %', SQLERRM USING ERRCODE = 'invalid_parameter_value';
      END;
      RETURN QUERY
        WITH selected AS MATERIALIZED (
          SELECT v.value, v.n FROM jsonb_path_query(parsed_document, parsed_path, '{}', true) WITH ORDINALITY AS v(value, n)
        ), looked_at AS (
          -- Of an object or an array all that is in it: documents as of NIP-05 have lists below keys, others URLs as keys.
          SELECT i.value, s.n
          FROM selected AS s
          CROSS JOIN LATERAL jsonb_path_query(s.value, 'strict $.**', '{}', true) AS i(value)
        )
        SELECT t.text
        FROM (
          SELECT l.value #>> '{}' AS text, l.n FROM looked_at AS l WHERE jsonb_typeof(l.value) = 'string'
          UNION ALL
          SELECT k.key, l.n FROM looked_at AS l CROSS JOIN LATERAL jsonb_object_keys(l.value) AS k(key) WHERE jsonb_typeof(l.value) = 'object'
        ) AS t
        ORDER BY t.n;
    END
  $$;
COMMENT ON FUNCTION bigbrotr.json_path_values(text, text) IS
  'Internal: the strings this SQL/JSON path selects in a JSON document, and every key and string in the objects and arrays it selects; 22023 if either is malformed.';
