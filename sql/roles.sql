-- Nothing to PUBLIC but the sight of the schema.
GRANT USAGE ON SCHEMA bigbrotr TO PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA bigbrotr FROM PUBLIC;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA bigbrotr FROM PUBLIC;
REVOKE ALL ON ALL ROUTINES IN SCHEMA bigbrotr FROM PUBLIC;

-- Roles belong to the whole cluster: other databases may have made them, and may use them when this extension is gone.
DO $$
DECLARE
  role text;
BEGIN
  FOREACH role IN ARRAY ARRAY['bigbrotr_reader', 'bigbrotr_writer'] LOOP
    IF pg_catalog.to_regrole(role) IS NULL THEN
      BEGIN
        EXECUTE pg_catalog.format('CREATE ROLE %I NOLOGIN', role);
      EXCEPTION
        WHEN duplicate_object OR unique_violation THEN
          NULL;  -- another database was faster
        WHEN insufficient_privilege THEN
          RAISE WARNING 'role % is missing and may not be created here', role
            USING HINT = 'Create it, then GRANT as roles.sql of the extension does.';
      END;
    END IF;
  END LOOP;

  IF pg_catalog.to_regrole('bigbrotr_reader') IS NOT NULL THEN
    GRANT SELECT ON ALL TABLES IN SCHEMA bigbrotr TO bigbrotr_reader;
    GRANT SELECT ON ALL SEQUENCES IN SCHEMA bigbrotr TO bigbrotr_reader;
    GRANT EXECUTE ON FUNCTION
      bigbrotr.normalize_relay_url(text),
      bigbrotr.extract_relay_urls(text),
      bigbrotr.relay_url_domain(text),
      bigbrotr.author_count(integer[]),
      bigbrotr.retry_pause(integer, boolean),
      bigbrotr.event_id(text),
      bigbrotr.event_verify(text),
      bigbrotr.event_refusal(bytea),
      bigbrotr.event_json(bigbrotr.event),
      bigbrotr.event_json(bigbrotr.visible_event),
      bigbrotr.canonical_json(jsonb),
      bigbrotr.content_hash(jsonb),
      bigbrotr.query(jsonb, boolean),
      bigbrotr.relays_of(bytea),
      bigbrotr.npub(bytea),
      bigbrotr.note(bytea),
      bigbrotr.nip19_decode(text),
      bigbrotr.sighting_members(bytea),
      bigbrotr.sighting_has(bytea, bigint),
      bigbrotr.body_tags(bytea),
      bigbrotr.body_content(bytea),
      bigbrotr.body_sig(bytea),
      bigbrotr.body_raw(bytea, bytea, bigint, integer),
      bigbrotr.body_size(bytea),
      bigbrotr.body_tag_hashes(bytea),
      bigbrotr.body_d_tag(bytea),
      bigbrotr.body_expiration(bytea),
      bigbrotr.mostly(boolean),
      bigbrotr.tag_hash(text, text),
      bigbrotr.tag_hashes(jsonb),
      bigbrotr.d_tag(jsonb),
      bigbrotr.expiration(jsonb),
      bigbrotr.kind_category(integer),
      bigbrotr.sync_filter_hash(),
      bigbrotr.sync_since(),
      bigbrotr.json_path_values(text, text),
      bigbrotr.uptime(integer, timestamptz, timestamptz)
      TO bigbrotr_reader;
    -- Functions of a view or an inlined function run with the rights of whoever asks.
    GRANT EXECUTE ON FUNCTION
      bigbrotr.native_extract_relay_urls(text),
      bigbrotr.operator_relay_url(text),
      bigbrotr.relay_url_network(text),
      bigbrotr.event_to_json(bytea, bytea, bigint, integer, text, text, bytea, bytea),
      bigbrotr.native_canonical_json(text),
      bigbrotr.native_nip19_decode(text),
      bigbrotr.filter_condition(text),
      bigbrotr.filter_limit(text),
      bigbrotr.workers(),
      bigbrotr.setting(text),
      bigbrotr.setting_seconds(text),
      bigbrotr.json_string(jsonb, text),
      bigbrotr.nip_numbers(jsonb),
      bigbrotr.nip_entries(jsonb)
      TO bigbrotr_reader;
  END IF;

  IF pg_catalog.to_regrole('bigbrotr_writer') IS NOT NULL THEN
    GRANT EXECUTE ON FUNCTION
      bigbrotr.seed(text[]),
      bigbrotr.event_insert(text[], text),
      bigbrotr.run_service(text),
      bigbrotr.stop_workers(),
      bigbrotr.start_workers()
      TO bigbrotr_writer;
    GRANT INSERT, UPDATE, DELETE ON bigbrotr.api_source, bigbrotr.block TO bigbrotr_writer;
    IF pg_catalog.to_regrole('bigbrotr_reader') IS NOT NULL AND NOT pg_catalog.pg_has_role('bigbrotr_writer', 'bigbrotr_reader', 'MEMBER') THEN
      BEGIN
        GRANT bigbrotr_reader TO bigbrotr_writer;
      EXCEPTION WHEN unique_violation OR insufficient_privilege THEN
        NULL;
      END;
    END IF;
  END IF;
END
$$;
