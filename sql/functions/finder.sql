-- What the finder reads: the archive in the order it grew.

CREATE FUNCTION bigbrotr.finder_batch(after bigint, max integer)
  RETURNS TABLE (seq bigint, kind integer, tags text, content text, author_id integer)
  LANGUAGE sql STABLE ROWS 1000 SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT b.seq, b.kind, bigbrotr.body_tags(b.body)::text, bigbrotr.body_content(b.body), b.author_id
    FROM (
      -- At least one event, and no more once some 16 MB are together: one event alone may have a megabyte.
      SELECT e.*, sum(bigbrotr.body_size(e.body)) OVER (ORDER BY e.seq ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
      FROM (
        SELECT e.seq, e.kind, e.author_id, e.body
        FROM bigbrotr.stored_event AS e
        WHERE e.seq > COALESCE(
          finder_batch.after, (SELECT (s.state ->> 'seq')::bigint FROM bigbrotr.service_state AS s WHERE s.service = 'finder'), 0)
        ORDER BY e.seq
        LIMIT max
      ) AS e
    ) AS b
    WHERE COALESCE(b.before, 0) < 16777216
    ORDER BY b.seq
  $$;
COMMENT ON FUNCTION bigbrotr.finder_batch(bigint, integer) IS
  'Internal: the next events after this seq, or after the finder''s watermark if it is NULL, up to max of them and some 16 MB, in the order they were archived.';

CREATE FUNCTION bigbrotr.finder_advance(seq bigint) RETURNS void
  LANGUAGE sql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
  AS $$
    INSERT INTO bigbrotr.service_state AS s (service, state)
    -- Not beyond what was ever given or is there: it may be the seq of an extension that was dropped meanwhile.
    VALUES ('finder', jsonb_build_object('seq', LEAST(finder_advance.seq, GREATEST(
      (SELECT q.last_value - (NOT q.is_called)::integer FROM bigbrotr.event_seq AS q), (SELECT max(e.seq) FROM bigbrotr.stored_event AS e)))))
    ON CONFLICT (service) DO UPDATE
      SET state = s.state || excluded.state
      WHERE COALESCE((s.state ->> 'seq')::bigint, 0) < (excluded.state ->> 'seq')::bigint
  $$;
COMMENT ON FUNCTION bigbrotr.finder_advance(bigint) IS 'Internal: the finder is done with events up to this seq. Never goes back.';
