-- Inlined into the query that calls them, hence no SET search_path.
CREATE FUNCTION bigbrotr.event_json(event bigbrotr.event) RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE
  AS $$ SELECT bigbrotr.event_to_json(($1).id, ($1).pubkey, ($1).created_at, ($1).kind, ($1).tags::text, ($1).content, ($1).sig, ($1).raw) $$;
COMMENT ON FUNCTION bigbrotr.event_json(bigbrotr.event) IS
  'The exact event as compact JSON: id, pubkey, created_at, kind, tags, content, sig. U+0000 as \u0000.';

CREATE FUNCTION bigbrotr.event_json(event bigbrotr.visible_event) RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE
  AS $$ SELECT bigbrotr.event_to_json(($1).id, ($1).pubkey, ($1).created_at, ($1).kind, ($1).tags::text, ($1).content, ($1).sig, ($1).raw) $$;
COMMENT ON FUNCTION bigbrotr.event_json(bigbrotr.visible_event) IS 'The same for a row of visible_event.';

CREATE FUNCTION bigbrotr.query(filter jsonb, all_versions boolean DEFAULT false) RETURNS SETOF bigbrotr.event
  LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    BEGIN
      IF filter IS NULL THEN
        RAISE EXCEPTION 'a filter must not be NULL'
          USING ERRCODE = 'invalid_parameter_value', HINT = 'The filter {} matches every event.';
      END IF;
      -- Values stand in the statement as literals: the plan depends on which kind and whose events are asked for.
      RETURN QUERY EXECUTE format(
        'SELECT e.seq, e.id, a.pubkey, e.created_at, e.kind, bigbrotr.body_tags(e.body), bigbrotr.body_content(e.body), '
        '       bigbrotr.body_sig(e.body), bigbrotr.body_raw(e.body, a.pubkey, e.created_at, e.kind) '
        'FROM (SELECT * FROM bigbrotr.%I AS e WHERE %s ORDER BY e.created_at DESC, e.id LIMIT %s) AS e '
        'JOIN bigbrotr.author AS a ON a.id = e.author_id '
        'ORDER BY e.created_at DESC, e.id',
        CASE WHEN all_versions THEN 'stored_event' ELSE 'visible_stored_event' END,
        bigbrotr.filter_condition(filter::text),
        COALESCE(bigbrotr.filter_limit(filter::text)::text, 'ALL'));
    END
  $$;
COMMENT ON FUNCTION bigbrotr.query(jsonb, boolean) IS
  'Events for one NIP-01 filter, newest first, ties by the lowest id. By default what a relay would return; all_versions: everything archived. 22023 for what is no filter.';
