CREATE FUNCTION bigbrotr.setting(name text) RETURNS text
  LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT NULLIF(current_setting('bigbrotr.' || name, true), '') $$;
COMMENT ON FUNCTION bigbrotr.setting(text) IS
  'Internal: a setting bigbrotr.<name> as text; NULL when it is empty, or unknown because the library is not loaded.';

-- current_setting() writes seconds with a unit of its choice ("30d", "1min"): interval input reads them all, and bare seconds.
CREATE FUNCTION bigbrotr.setting_seconds(name text) RETURNS bigint
  LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT EXTRACT(epoch FROM bigbrotr.setting(name)::interval)::bigint $$;
COMMENT ON FUNCTION bigbrotr.setting_seconds(text) IS 'Internal: a setting in seconds; NULL as in setting().';

CREATE FUNCTION bigbrotr.sync_filter_hash() RETURNS bytea
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT bigbrotr.content_hash(COALESCE(bigbrotr.setting('sync_filter'), '{}')::jsonb) $$;
COMMENT ON FUNCTION bigbrotr.sync_filter_hash() IS 'coverage.filter_hash of the filter in force, bigbrotr.sync_filter.';

CREATE FUNCTION bigbrotr.sync_since() RETURNS bigint
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT COALESCE(bigbrotr.setting_seconds('sync_since'), 0) $$;
COMMENT ON FUNCTION bigbrotr.sync_since() IS 'bigbrotr.sync_since: the archive wants what is as young as this, unix seconds.';
