-- Keeps relay_latest and relay_holding as the tables they come from. In PL/pgSQL as that keeps its plans: they take many times
-- longer to make than to run.

CREATE FUNCTION bigbrotr.refresh_latest_check(relay_ids integer[]) RETURNS void
  LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
  AS $$
    BEGIN
      INSERT INTO bigbrotr.relay_latest AS l (relay_id, checked_at, ok, open_ms, read_ms, write_ms, error_class, error)
      SELECT u.relay_id, c.checked_at, c.ok, c.open_ms, c.read_ms, c.write_ms, c.error_class, c.error
      FROM (SELECT DISTINCT i.relay_id FROM unnest(relay_ids) AS i (relay_id)) AS u
      LEFT JOIN LATERAL (
        SELECT * FROM bigbrotr.relay_check AS k WHERE k.relay_id = u.relay_id ORDER BY k.checked_at DESC LIMIT 1
      ) AS c ON true
      ORDER BY u.relay_id
      ON CONFLICT (relay_id) DO UPDATE
      SET checked_at = excluded.checked_at, ok = excluded.ok, open_ms = excluded.open_ms, read_ms = excluded.read_ms,
          write_ms = excluded.write_ms, error_class = excluded.error_class, error = excluded.error;
    END
  $$;
COMMENT ON FUNCTION bigbrotr.refresh_latest_check(integer[]) IS 'Internal: looks the newest check of these relays up again for relay_latest.';

CREATE FUNCTION bigbrotr.refresh_latest_documents(relay_ids integer[]) RETURNS void
  LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
  AS $$
    BEGIN
      INSERT INTO bigbrotr.relay_latest AS l
        (relay_id, name, software, version, supported_nips, auth_required, payment_required, restricted_writes,
         country, city, asn, asn_org, ssl_valid, ssl_expires_at)
      SELECT
        u.relay_id, d.info ->> 'name', d.info ->> 'software', d.info ->> 'version', (d.info ->> 'supported_nips')::integer[],
        (d.info ->> 'auth_required')::boolean, (d.info ->> 'payment_required')::boolean, (d.info ->> 'restricted_writes')::boolean,
        d.geo ->> 'country', d.geo ->> 'city',
        COALESCE(d.net ->> 'asn', d.net ->> 'asn_v6')::bigint,
        CASE WHEN d.net ? 'asn' THEN d.net ->> 'asn_org' ELSE d.net ->> 'asn_org_v6' END,
        (d.ssl ->> 'valid')::boolean, to_timestamp((d.ssl ->> 'not_after')::double precision)
      FROM (SELECT DISTINCT i.relay_id FROM unnest(relay_ids) AS i (relay_id)) AS u
      CROSS JOIN LATERAL (
        SELECT
          (SELECT m.typed FROM bigbrotr.relay_metadata AS x JOIN bigbrotr.metadata AS m ON m.id = x.metadata_id AND m.type = x.type
           WHERE x.relay_id = u.relay_id AND x.type = 'nip11_info' ORDER BY x.first_seen_at DESC LIMIT 1) AS info,
          (SELECT m.typed FROM bigbrotr.relay_metadata AS x JOIN bigbrotr.metadata AS m ON m.id = x.metadata_id AND m.type = x.type
           WHERE x.relay_id = u.relay_id AND x.type = 'nip66_ssl' ORDER BY x.first_seen_at DESC LIMIT 1) AS ssl,
          (SELECT m.typed FROM bigbrotr.relay_metadata AS x JOIN bigbrotr.metadata AS m ON m.id = x.metadata_id AND m.type = x.type
           WHERE x.relay_id = u.relay_id AND x.type = 'nip66_geo' ORDER BY x.first_seen_at DESC LIMIT 1) AS geo,
          (SELECT m.typed FROM bigbrotr.relay_metadata AS x JOIN bigbrotr.metadata AS m ON m.id = x.metadata_id AND m.type = x.type
           WHERE x.relay_id = u.relay_id AND x.type = 'nip66_net' ORDER BY x.first_seen_at DESC LIMIT 1) AS net
        -- Or each would be looked up for each column made of it.
        OFFSET 0
      ) AS d
      ORDER BY u.relay_id
      ON CONFLICT (relay_id) DO UPDATE
      SET name = excluded.name, software = excluded.software, version = excluded.version, supported_nips = excluded.supported_nips,
          auth_required = excluded.auth_required, payment_required = excluded.payment_required,
          restricted_writes = excluded.restricted_writes, country = excluded.country, city = excluded.city, asn = excluded.asn,
          asn_org = excluded.asn_org, ssl_valid = excluded.ssl_valid, ssl_expires_at = excluded.ssl_expires_at;
    END
  $$;
COMMENT ON FUNCTION bigbrotr.refresh_latest_documents(integer[]) IS 'Internal: looks up again for relay_latest what the newest documents of these relays say.';

CREATE FUNCTION bigbrotr.follow_checks() RETURNS trigger
  LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
  AS $$
    BEGIN
      IF TG_OP = 'INSERT' THEN
        INSERT INTO bigbrotr.relay_latest AS l (relay_id, checked_at, ok, open_ms, read_ms, write_ms, error_class, error)
        SELECT DISTINCT ON (c.relay_id) c.relay_id, c.checked_at, c.ok, c.open_ms, c.read_ms, c.write_ms, c.error_class, c.error
        FROM added AS c
        ORDER BY c.relay_id, c.checked_at DESC
        ON CONFLICT (relay_id) DO UPDATE
        SET checked_at = excluded.checked_at, ok = excluded.ok, open_ms = excluded.open_ms, read_ms = excluded.read_ms,
            write_ms = excluded.write_ms, error_class = excluded.error_class, error = excluded.error
        -- Or the clock was ahead.
        WHERE l.checked_at IS NULL OR l.checked_at < excluded.checked_at OR l.checked_at > now();
      ELSIF TG_OP = 'DELETE' THEN
        PERFORM bigbrotr.refresh_latest_check(array_agg(l.relay_id))
        FROM removed AS o
        JOIN bigbrotr.relay_latest AS l ON l.relay_id = o.relay_id AND l.checked_at = o.checked_at;
      ELSIF TG_OP = 'UPDATE' THEN
        PERFORM bigbrotr.refresh_latest_check(array_agg(i.relay_id))
        FROM (SELECT o.relay_id FROM removed AS o UNION SELECT n.relay_id FROM added AS n) AS i;
      ELSE
        UPDATE bigbrotr.relay_latest AS l
        SET checked_at = NULL, ok = NULL, open_ms = NULL, read_ms = NULL, write_ms = NULL, error_class = NULL, error = NULL;
      END IF;
      RETURN NULL;
    END
  $$;
COMMENT ON FUNCTION bigbrotr.follow_checks() IS 'Internal: triggers of relay_check that keep relay_latest.';
CREATE TRIGGER follow_insert AFTER INSERT ON bigbrotr.relay_check
  REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION bigbrotr.follow_checks();
CREATE TRIGGER follow_update AFTER UPDATE ON bigbrotr.relay_check
  REFERENCING OLD TABLE AS removed NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION bigbrotr.follow_checks();
CREATE TRIGGER follow_delete AFTER DELETE ON bigbrotr.relay_check
  REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION bigbrotr.follow_checks();
CREATE TRIGGER follow_truncate AFTER TRUNCATE ON bigbrotr.relay_check
  FOR EACH STATEMENT EXECUTE FUNCTION bigbrotr.follow_checks();
COMMENT ON TRIGGER follow_insert ON bigbrotr.relay_check IS 'Keeps relay_latest.';
COMMENT ON TRIGGER follow_update ON bigbrotr.relay_check IS 'Keeps relay_latest.';
COMMENT ON TRIGGER follow_delete ON bigbrotr.relay_check IS 'Keeps relay_latest.';
COMMENT ON TRIGGER follow_truncate ON bigbrotr.relay_check IS 'Keeps relay_latest.';

CREATE FUNCTION bigbrotr.follow_runs() RETURNS trigger
  LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
  AS $$
    BEGIN
      IF TG_OP = 'INSERT' THEN
        PERFORM bigbrotr.refresh_latest_documents(array_agg(n.relay_id)) FROM added AS n WHERE n.type NOT IN ('nip66_dns', 'nip66_http');
      ELSIF TG_OP = 'DELETE' THEN
        PERFORM bigbrotr.refresh_latest_documents(array_agg(o.relay_id)) FROM removed AS o;
      ELSIF TG_OP = 'UPDATE' THEN
        PERFORM bigbrotr.refresh_latest_documents(ARRAY[OLD.relay_id, NEW.relay_id]);
      ELSE
        PERFORM bigbrotr.refresh_latest_documents(array_agg(l.relay_id)) FROM bigbrotr.relay_latest AS l;
      END IF;
      RETURN NULL;
    END
  $$;
COMMENT ON FUNCTION bigbrotr.follow_runs() IS 'Internal: triggers of relay_metadata that keep relay_latest.';
CREATE TRIGGER follow_insert AFTER INSERT ON bigbrotr.relay_metadata
  REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION bigbrotr.follow_runs();
-- By row: a run that is only extended, which every check does, must cost nothing.
CREATE TRIGGER follow_update AFTER UPDATE OF relay_id, type, metadata_id, first_seen_at ON bigbrotr.relay_metadata
  FOR EACH ROW EXECUTE FUNCTION bigbrotr.follow_runs();
CREATE TRIGGER follow_delete AFTER DELETE ON bigbrotr.relay_metadata
  REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION bigbrotr.follow_runs();
CREATE TRIGGER follow_truncate AFTER TRUNCATE ON bigbrotr.relay_metadata
  FOR EACH STATEMENT EXECUTE FUNCTION bigbrotr.follow_runs();
COMMENT ON TRIGGER follow_insert ON bigbrotr.relay_metadata IS 'Keeps relay_latest.';
COMMENT ON TRIGGER follow_update ON bigbrotr.relay_metadata IS 'Keeps relay_latest.';
COMMENT ON TRIGGER follow_delete ON bigbrotr.relay_metadata IS 'Keeps relay_latest.';
COMMENT ON TRIGGER follow_truncate ON bigbrotr.relay_metadata IS 'Keeps relay_latest.';

CREATE FUNCTION bigbrotr.follow_document() RETURNS trigger
  LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
  AS $$
    BEGIN
      PERFORM bigbrotr.refresh_latest_documents(array_agg(x.relay_id))
      FROM bigbrotr.relay_metadata AS x
      WHERE x.metadata_id = NEW.id AND x.type = NEW.type;
      RETURN NULL;
    END
  $$;
COMMENT ON FUNCTION bigbrotr.follow_document() IS 'Internal: trigger of metadata that keeps relay_latest.';
CREATE TRIGGER follow_update AFTER UPDATE ON bigbrotr.metadata
  FOR EACH ROW WHEN (OLD.typed IS DISTINCT FROM NEW.typed) EXECUTE FUNCTION bigbrotr.follow_document();
COMMENT ON TRIGGER follow_update ON bigbrotr.metadata IS 'Keeps relay_latest.';

CREATE FUNCTION bigbrotr.follow_sightings() RETURNS trigger
  LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
  AS $$
    BEGIN
      IF TG_OP = 'INSERT' THEN
        INSERT INTO bigbrotr.relay_holding AS h (relay_id, event_count)
        SELECT a.relay_id, sum(a.n) FROM added AS a GROUP BY a.relay_id ORDER BY a.relay_id
        ON CONFLICT (relay_id) DO UPDATE SET event_count = h.event_count + excluded.event_count;
      ELSIF TG_OP = 'DELETE' THEN
        UPDATE bigbrotr.relay_holding AS h
        SET event_count = h.event_count - r.n
        FROM (SELECT o.relay_id, sum(o.n) AS n FROM removed AS o GROUP BY o.relay_id) AS r
        WHERE h.relay_id = r.relay_id;
      ELSIF TG_OP = 'UPDATE' THEN
        INSERT INTO bigbrotr.relay_holding AS h (relay_id, event_count)
        SELECT d.relay_id, sum(d.n)
        FROM (SELECT a.relay_id, a.n FROM added AS a UNION ALL SELECT o.relay_id, -o.n FROM removed AS o) AS d
        GROUP BY d.relay_id ORDER BY d.relay_id
        ON CONFLICT (relay_id) DO UPDATE SET event_count = h.event_count + excluded.event_count;
      ELSE
        DELETE FROM bigbrotr.relay_holding;
      END IF;
      RETURN NULL;
    END
  $$;
COMMENT ON FUNCTION bigbrotr.follow_sightings() IS 'Internal: triggers of sighting that keep relay_holding.';
CREATE TRIGGER follow_insert AFTER INSERT ON bigbrotr.sighting
  REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION bigbrotr.follow_sightings();
CREATE TRIGGER follow_update AFTER UPDATE ON bigbrotr.sighting
  REFERENCING OLD TABLE AS removed NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION bigbrotr.follow_sightings();
CREATE TRIGGER follow_delete AFTER DELETE ON bigbrotr.sighting
  REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION bigbrotr.follow_sightings();
CREATE TRIGGER follow_truncate AFTER TRUNCATE ON bigbrotr.sighting
  FOR EACH STATEMENT EXECUTE FUNCTION bigbrotr.follow_sightings();
COMMENT ON TRIGGER follow_insert ON bigbrotr.sighting IS 'Keeps relay_holding.';
COMMENT ON TRIGGER follow_update ON bigbrotr.sighting IS 'Keeps relay_holding.';
COMMENT ON TRIGGER follow_delete ON bigbrotr.sighting IS 'Keeps relay_holding.';
COMMENT ON TRIGGER follow_truncate ON bigbrotr.sighting IS 'Keeps relay_holding.';
