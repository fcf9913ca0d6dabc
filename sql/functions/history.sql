-- The history of relays: when they were up, and what became different.

CREATE FUNCTION bigbrotr.uptime(relay_id integer, from_at timestamptz, to_at timestamptz) RETURNS double precision
  LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT COALESCE(sum(k.seconds) FILTER (WHERE k.online), 0) / NULLIF(sum(k.seconds), 0)
    FROM (
      SELECT p.online, EXTRACT(epoch FROM LEAST(COALESCE(p.until, m.last_check_at), to_at) - GREATEST(p.since, from_at))::double precision AS seconds
      FROM bigbrotr.relay_period AS p
      LEFT JOIN bigbrotr.relay_monitor AS m ON m.relay_id = p.relay_id
      WHERE p.relay_id = uptime.relay_id AND p.since < to_at AND COALESCE(p.until, m.last_check_at) > from_at
    ) AS k
  $$;
COMMENT ON FUNCTION bigbrotr.uptime(integer, timestamptz, timestamptz) IS
  'Share, 0 to 1, of the known time between the two that this relay (relay.id) was up; 0 if it never was; NULL: nothing known.';

CREATE FUNCTION bigbrotr.follow_state() RETURNS trigger
  LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
  AS $$
    BEGIN
      INSERT INTO bigbrotr.relay_change (relay_id, changed_at, what, old, new)
      VALUES (
        NEW.id, now(),
        CASE
          WHEN NEW.state = 'blocked' THEN 'blocked'
          WHEN OLD.state = 'blocked' THEN 'unblocked'
          WHEN NEW.state = 'dead' THEN 'dead'
          ELSE 'revived'
        END,
        to_jsonb(OLD.state), to_jsonb(NEW.state));
      RETURN NULL;
    END
  $$;
COMMENT ON FUNCTION bigbrotr.follow_state() IS 'Internal: trigger of relay that notes changes of state in relay_change.';
CREATE TRIGGER follow_state AFTER UPDATE OF state ON bigbrotr.relay
  FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION bigbrotr.follow_state();
COMMENT ON TRIGGER follow_state ON bigbrotr.relay IS 'Notes changes of state in relay_change.';

CREATE FUNCTION bigbrotr.record_outcome(
  relay_id integer, seen timestamptz, ok boolean, error_class text, error text, before bigbrotr.relay_monitor) RETURNS void
  LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
  AS $$
    DECLARE
      has_gap constant boolean := COALESCE(seen > before.expected_by, false);
    BEGIN
      UPDATE bigbrotr.relay_period AS p
      SET until = GREATEST(p.since, CASE WHEN has_gap THEN before.last_check_at ELSE seen END)
      WHERE p.relay_id = record_outcome.relay_id AND p.until IS NULL;
      INSERT INTO bigbrotr.relay_period AS p (relay_id, since, online, error_class, error)
      VALUES (record_outcome.relay_id, seen, ok, record_outcome.error_class, record_outcome.error)
      ON CONFLICT ON CONSTRAINT relay_period_pkey
      DO UPDATE SET until = NULL, online = excluded.online, error_class = excluded.error_class, error = excluded.error;
      IF before.online <> ok THEN
        INSERT INTO bigbrotr.relay_change (relay_id, changed_at, what, old, new)
        VALUES (
          record_outcome.relay_id, seen, CASE WHEN ok THEN 'up' ELSE 'down' END,
          jsonb_build_object('since', before.online_since),
          CASE WHEN NOT ok THEN jsonb_strip_nulls(jsonb_build_object('error_class', error_class, 'error', error)) END);
      END IF;
    END
  $$;
COMMENT ON FUNCTION bigbrotr.record_outcome(integer, timestamptz, boolean, text, text, bigbrotr.relay_monitor) IS
  'Internal: the newest check of a relay differs from the one before, or came so late that nothing is known of the time between: relay_period and relay_change. before: relay_monitor as it was.';

-- What a change of is worth a row. The key is relay_change.what.
CREATE FUNCTION bigbrotr.document_traits(type bigbrotr.metadata_type, typed jsonb) RETURNS jsonb
  LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    BEGIN
      RETURN jsonb_strip_nulls(CASE type
        WHEN 'nip11_info' THEN jsonb_build_object(
          'name', typed -> 'name',
          'software', typed -> 'software',
          'version', typed -> 'version',
          'nips', to_jsonb(COALESCE((typed ->> 'supported_nips')::text[], '{}') || COALESCE((typed ->> 'supported_nip_names')::text[], '{}')),
          'operator', typed -> 'pubkey',
          'access', NULLIF(jsonb_strip_nulls(jsonb_build_object(
            'auth_required', typed -> 'auth_required',
            'payment_required', typed -> 'payment_required',
            'restricted_writes', typed -> 'restricted_writes')), '{}'),
          'limits', NULLIF(jsonb_strip_nulls(jsonb_build_object(
            'max_message_length', typed -> 'max_message_length',
            'max_subscriptions', typed -> 'max_subscriptions',
            'max_filters', typed -> 'max_filters',
            'max_limit', typed -> 'max_limit',
            'max_subid_length', typed -> 'max_subid_length',
            'max_event_tags', typed -> 'max_event_tags',
            'max_content_length', typed -> 'max_content_length',
            'min_pow_difficulty', typed -> 'min_pow_difficulty',
            'default_limit', typed -> 'default_limit',
            'created_at_lower_limit', typed -> 'created_at_lower_limit',
            'created_at_upper_limit', typed -> 'created_at_upper_limit')), '{}'))
        WHEN 'nip66_ssl' THEN jsonb_build_object(
          'certificate', CASE WHEN typed ? 'fingerprint' THEN jsonb_build_object(
            'fingerprint', typed -> 'fingerprint', 'issuer', COALESCE(typed -> 'issuer_cn', typed -> 'issuer'), 'not_after', typed -> 'not_after') END,
          'certificate_valid', CASE WHEN typed ? 'valid' THEN jsonb_build_object(
            'valid', typed -> 'valid', 'error', CASE WHEN typed -> 'valid' = 'false' THEN typed -> 'error' END) END)
        WHEN 'nip66_dns' THEN jsonb_build_object(
          'address', to_jsonb(COALESCE((typed ->> 'a')::text[], '{}') || COALESCE((typed ->> 'aaaa')::text[], '{}')))
        WHEN 'nip66_geo' THEN jsonb_build_object('country', typed -> 'country')
        WHEN 'nip66_net' THEN jsonb_build_object('asn', COALESCE(typed -> 'asn', typed -> 'asn_v6'))
        WHEN 'nip66_http' THEN jsonb_build_object('server', typed -> 'server')
      END);
    END
  $$;
COMMENT ON FUNCTION bigbrotr.document_traits(bigbrotr.metadata_type, jsonb) IS
  'Internal: what relay_change follows of a document of this type (metadata.typed), by relay_change.what.';

CREATE FUNCTION bigbrotr.record_changes(
  relay_id integer, type bigbrotr.metadata_type, seen timestamptz, old_id bytea, new_id bytea) RETURNS void
  LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
  AS $$
    BEGIN
      INSERT INTO bigbrotr.relay_change (relay_id, changed_at, what, old, new)
      SELECT record_changes.relay_id, seen, c.what, c.old, c.new
      FROM (
        SELECT key AS what,
               CASE WHEN length(o.value::text) > 2000 THEN to_jsonb(left(o.value::text, 2000)) ELSE o.value END AS old,
               CASE WHEN length(n.value::text) > 2000 THEN to_jsonb(left(n.value::text, 2000)) ELSE n.value END AS new
        FROM jsonb_each((SELECT bigbrotr.document_traits(m.type, m.typed) FROM bigbrotr.metadata AS m
                         WHERE m.id = old_id AND m.type = record_changes.type)) AS o (key, value)
        FULL JOIN jsonb_each((SELECT bigbrotr.document_traits(m.type, m.typed) FROM bigbrotr.metadata AS m
                              WHERE m.id = new_id AND m.type = record_changes.type)) AS n (key, value) USING (key)
        WHERE o.value IS DISTINCT FROM n.value
      ) AS c
      WHERE
        -- Found by our own probes: what was not found out this time is no change of theirs.
        (record_changes.type = 'nip11_info' OR c.old IS NOT NULL AND c.new IS NOT NULL)
        -- Names with many addresses give some of them, others each time: moved is who shares none with the last runs.
        AND (c.what <> 'address' OR c.old <> '[]' AND c.new <> '[]' AND NOT EXISTS (
          SELECT
          FROM (
            SELECT x.metadata_id
            FROM bigbrotr.relay_metadata AS x
            WHERE x.relay_id = record_changes.relay_id AND x.type = 'nip66_dns' AND x.first_seen_at < seen
            ORDER BY x.first_seen_at DESC
            LIMIT 5
          ) AS l
          JOIN bigbrotr.metadata AS m ON m.id = l.metadata_id AND m.type = 'nip66_dns'
          WHERE bigbrotr.document_traits(m.type, m.typed) -> 'address' ?| ARRAY(SELECT jsonb_array_elements_text(c.new))))
        -- Several machines behind one name take turns, and some documents differ each time: a few rows a day tell that.
        AND (SELECT count(*) < 8 AND count(*) FILTER (WHERE k.new IS NOT DISTINCT FROM c.new) < 2
             FROM bigbrotr.relay_change AS k
             WHERE k.relay_id = record_changes.relay_id AND k.changed_at > seen - interval '1 day' AND k.what = c.what)
      ORDER BY c.what;
    END
  $$;
COMMENT ON FUNCTION bigbrotr.record_changes(integer, bigbrotr.metadata_type, timestamptz, bytea, bytea) IS
  'Internal: what differs between two documents of a relay (metadata.id), the newest run having begun at seen, as rows of relay_change.';
