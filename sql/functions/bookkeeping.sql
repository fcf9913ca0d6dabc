CREATE FUNCTION bigbrotr.record_cycle(
  service text, started_at double precision, ok boolean, items bigint, detail text, error text) RETURNS void
  LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
  AS $$
    INSERT INTO bigbrotr.stat_cycles (service, started_at, ok, items, detail, error)
    VALUES (service, to_timestamp(started_at), ok, items, detail::jsonb, error)
  $$;
COMMENT ON FUNCTION bigbrotr.record_cycle(text, double precision, boolean, bigint, text, text) IS
  'Internal: what a service did in one cycle, as stat_cycles shows it.';
