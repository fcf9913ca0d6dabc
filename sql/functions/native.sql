-- Functions of the library (src/functions). Declared by hand: a test calls every one of them.

CREATE FUNCTION bigbrotr.normalize_relay_url(url text) RETURNS text
  LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'normalize_relay_url_wrapper';
COMMENT ON FUNCTION bigbrotr.normalize_relay_url(text) IS
  'The canonical key, if the input yields exactly one, else NULL. No implicit scheme. Depends on bigbrotr.allow_private_addresses.';

CREATE FUNCTION bigbrotr.native_extract_relay_urls(content text)
  RETURNS TABLE (url text, network text, recovered boolean)
  LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'native_extract_relay_urls_wrapper';
COMMENT ON FUNCTION bigbrotr.native_extract_relay_urls(text) IS 'Internal: behind extract_relay_urls().';

CREATE FUNCTION bigbrotr.extract_relay_urls(content text)
  RETURNS TABLE (url text, network bigbrotr.network, recovered boolean)
  LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT u.url, u.network::bigbrotr.network, u.recovered FROM bigbrotr.native_extract_relay_urls(content) AS u $$;
COMMENT ON FUNCTION bigbrotr.extract_relay_urls(text) IS
  'Every distinct relay URL in the text, in order of first occurrence. recovered: more than white space had to be trimmed or cut.';

CREATE FUNCTION bigbrotr.operator_relay_url(url text) RETURNS text
  LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'operator_relay_url_wrapper';
COMMENT ON FUNCTION bigbrotr.operator_relay_url(text) IS
  'Internal: the key of what an operator typed; a bare host and http(s):// mean wss and ws(s). NULL if it is no relay URL.';

CREATE FUNCTION bigbrotr.relay_url_network(url text) RETURNS text
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'relay_url_network_wrapper';
COMMENT ON FUNCTION bigbrotr.relay_url_network(text) IS 'Internal: clearnet, tor, i2p or loki for a canonical key.';

CREATE FUNCTION bigbrotr.relay_url_domain(url text) RETURNS text
  LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'relay_url_domain_wrapper';
COMMENT ON FUNCTION bigbrotr.relay_url_domain(text) IS
  'The registrable domain behind a canonical key (public suffix list), the address or name in an overlay, an IPv4 address, the /48 of an IPv6 address: by it floods are counted. NULL if it is no key.';

CREATE FUNCTION bigbrotr.relay_domain(url text) RETURNS text
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  -- As immutable as a generated column needs it: it keeps what the list said when the row was written.
  AS $$ SELECT bigbrotr.relay_url_domain(url) $$;
COMMENT ON FUNCTION bigbrotr.relay_domain(text) IS 'Internal: relay_url_domain(url), for relay.domain.';

CREATE FUNCTION bigbrotr.event_id(event text) RETURNS bytea
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'event_id_wrapper';
COMMENT ON FUNCTION bigbrotr.event_id(text) IS
  'Recomputed id of a JSON event; sig and id may be absent. Where id matches a variant serialisation, that one. NULL if it is no event.';

CREATE FUNCTION bigbrotr.event_verify(event text) RETURNS boolean
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 1000 AS 'MODULE_PATHNAME', 'event_verify_wrapper';
COMMENT ON FUNCTION bigbrotr.event_verify(text) IS 'Whether the archive would accept it: fields, id and signature. Never an error.';

CREATE FUNCTION bigbrotr.event_refusal(event bytea) RETURNS text
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 1000 AS 'MODULE_PATHNAME', 'event_refusal_wrapper';
COMMENT ON FUNCTION bigbrotr.event_refusal(bytea) IS 'Why the archive would refuse these bytes, as quarantine.reason says it; NULL if it would not.';

CREATE FUNCTION bigbrotr.event_to_json(
  id bytea, pubkey bytea, created_at bigint, kind integer, tags text, content text, sig bytea, raw bytea) RETURNS text
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'event_to_json_wrapper';
COMMENT ON FUNCTION bigbrotr.event_to_json(bytea, bytea, bigint, integer, text, text, bytea, bytea) IS 'Internal: behind event_json().';

CREATE FUNCTION bigbrotr.native_event_insert(events text[], relay_url text) RETURNS integer
  LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'native_event_insert_wrapper';
COMMENT ON FUNCTION bigbrotr.native_event_insert(text[], text) IS 'Internal: behind event_insert().';

CREATE FUNCTION bigbrotr.native_canonical_json(document text) RETURNS text
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'native_canonical_json_wrapper';
COMMENT ON FUNCTION bigbrotr.native_canonical_json(text) IS 'Internal: behind canonical_json().';

CREATE FUNCTION bigbrotr.canonical_json(document jsonb) RETURNS text
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT bigbrotr.native_canonical_json(document::text) $$;

CREATE FUNCTION bigbrotr.content_hash(document jsonb) RETURNS bytea
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT pg_catalog.sha256(pg_catalog.convert_to(bigbrotr.native_canonical_json(document::text), 'UTF8')) $$;
COMMENT ON FUNCTION bigbrotr.content_hash(jsonb) IS 'SHA-256 of the UTF-8 bytes of canonical_json(document).';
COMMENT ON FUNCTION bigbrotr.canonical_json(jsonb) IS
  'Keys by code point, no white space, NIP-01 escapes, numbers in plain decimal without trailing zeros.';

CREATE FUNCTION bigbrotr.npub(pubkey bytea) RETURNS text
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'npub_wrapper';
COMMENT ON FUNCTION bigbrotr.npub(bytea) IS 'NIP-19 form of a public key (32 bytes).';

CREATE FUNCTION bigbrotr.note(event_id bytea) RETURNS text
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'note_wrapper';
COMMENT ON FUNCTION bigbrotr.note(bytea) IS 'NIP-19 form of an event id (32 bytes).';

CREATE FUNCTION bigbrotr.native_nip19_decode(entity text) RETURNS text
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'native_nip19_decode_wrapper';
COMMENT ON FUNCTION bigbrotr.native_nip19_decode(text) IS 'Internal: behind nip19_decode().';

CREATE FUNCTION bigbrotr.nip19_decode(entity text) RETURNS jsonb
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT bigbrotr.native_nip19_decode(entity)::jsonb $$;
COMMENT ON FUNCTION bigbrotr.nip19_decode(text) IS
  'type, data (hex) and, where present, relays, author, kind, identifier of a NIP-19 string. NULL if invalid; an nsec is refused.';

CREATE FUNCTION bigbrotr.tag_hash(name text, value text) RETURNS integer
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'tag_hash_wrapper';
COMMENT ON FUNCTION bigbrotr.tag_hash(text, text) IS 'Hash under which event_tag_idx finds a one-letter tag with this value. Stable: it is stored.';

CREATE FUNCTION bigbrotr.body_tags(body bytea) RETURNS jsonb
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 20 AS 'MODULE_PATHNAME', 'body_tags_wrapper';
COMMENT ON FUNCTION bigbrotr.body_tags(bytea) IS 'event.tags of stored_event.body.';

CREATE FUNCTION bigbrotr.body_content(body bytea) RETURNS text
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 10 AS 'MODULE_PATHNAME', 'body_content_wrapper';
COMMENT ON FUNCTION bigbrotr.body_content(bytea) IS 'event.content of stored_event.body.';

CREATE FUNCTION bigbrotr.body_sig(body bytea) RETURNS bytea
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'body_sig_wrapper';
COMMENT ON FUNCTION bigbrotr.body_sig(bytea) IS 'event.sig of stored_event.body.';

CREATE FUNCTION bigbrotr.body_raw(body bytea, pubkey bytea, created_at bigint, kind integer) RETURNS bytea
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 10 AS 'MODULE_PATHNAME', 'body_raw_wrapper';
COMMENT ON FUNCTION bigbrotr.body_raw(bytea, bytea, bigint, integer) IS 'event.raw of a row of stored_event.';

CREATE FUNCTION bigbrotr.body_size(body bytea) RETURNS bigint
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'body_size_wrapper';
COMMENT ON FUNCTION bigbrotr.body_size(bytea) IS 'Bytes of tags and content in stored_event.body, unpacked, about.';

CREATE FUNCTION bigbrotr.body_tag_hashes(body bytea) RETURNS integer[]
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 10 AS 'MODULE_PATHNAME', 'body_tag_hashes_wrapper';
COMMENT ON FUNCTION bigbrotr.body_tag_hashes(bytea) IS 'tag_hashes() of the tags in stored_event.body.';

CREATE FUNCTION bigbrotr.body_d_tag(body bytea) RETURNS text
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 10 AS 'MODULE_PATHNAME', 'body_d_tag_wrapper';
COMMENT ON FUNCTION bigbrotr.body_d_tag(bytea) IS 'd_tag() of the tags in stored_event.body.';

CREATE FUNCTION bigbrotr.body_expiration(body bytea) RETURNS bigint
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'body_expiration_wrapper';
COMMENT ON FUNCTION bigbrotr.body_expiration(bytea) IS 'expiration() of the tags in stored_event.body.';

CREATE FUNCTION bigbrotr.pack_body(
  id bytea, pubkey bytea, created_at bigint, kind integer, tags text, content text, sig bytea, raw bytea) RETURNS bytea
  LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'pack_body_wrapper';
COMMENT ON FUNCTION bigbrotr.pack_body(bytea, bytea, bigint, integer, text, text, bytea, bytea) IS
  'Internal: stored_event.body of the columns of event; NULL if they are no event. Neither id nor signature is checked.';

CREATE FUNCTION bigbrotr.mostly_support(internal) RETURNS internal
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mostly_support_wrapper';
COMMENT ON FUNCTION bigbrotr.mostly_support(internal) IS 'Internal: planner support of mostly().';

CREATE FUNCTION bigbrotr.mostly(condition boolean) RETURNS boolean
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE SUPPORT bigbrotr.mostly_support AS 'MODULE_PATHNAME', 'mostly_wrapper';
COMMENT ON FUNCTION bigbrotr.mostly(boolean) IS 'The condition itself; the planner expects it to hold for nearly every row.';

CREATE FUNCTION bigbrotr.tag_hashes_support(internal) RETURNS internal
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'tag_hashes_support_wrapper';
COMMENT ON FUNCTION bigbrotr.tag_hashes_support(internal) IS 'Internal: planner support of tag_hashes(): lets it use the tag index.';

CREATE FUNCTION bigbrotr.tag_hashes(tags jsonb) RETURNS integer[]
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE SUPPORT bigbrotr.tag_hashes_support AS 'MODULE_PATHNAME', 'tag_hashes_wrapper';
COMMENT ON FUNCTION bigbrotr.tag_hashes(jsonb) IS 'tag_hash of every one-letter tag that has a value, sorted, each once.';

CREATE FUNCTION bigbrotr.d_tag(tags jsonb) RETURNS text
  -- strict: in the default mode the filter would look into each tag and never see it as an array. Silent: what is no array
  -- has no tag. Not STRICT: it is inlined.
  LANGUAGE sql IMMUTABLE PARALLEL SAFE
  AS $$ SELECT COALESCE(pg_catalog.jsonb_path_query_first(tags, 'strict $[*] ? (@[0] == "d")', '{}', true) OPERATOR(pg_catalog.->>) 1, '') $$;
COMMENT ON FUNCTION bigbrotr.d_tag(jsonb) IS 'Value of the first d tag, empty without one (NIP-01 addressable events).';

CREATE FUNCTION bigbrotr.filter_condition(filter text) RETURNS text
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'filter_condition_wrapper';
COMMENT ON FUNCTION bigbrotr.filter_condition(text) IS
  'Internal: a NIP-01 filter as an SQL condition over the columns of bigbrotr.stored_event, without its limit; 22023 for what is no filter.';

CREATE FUNCTION bigbrotr.filter_limit(filter text) RETURNS bigint
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'filter_limit_wrapper';
COMMENT ON FUNCTION bigbrotr.filter_limit(text) IS 'Internal: the limit of a NIP-01 filter, NULL without one.';

CREATE FUNCTION bigbrotr.sighting_members(members bytea) RETURNS bigint[]
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 20 AS 'MODULE_PATHNAME', 'sighting_members_wrapper';
COMMENT ON FUNCTION bigbrotr.sighting_members(bytea) IS 'The event.seq in a leaf, ascending.';

CREATE FUNCTION bigbrotr.sighting_has(members bytea, seq bigint) RETURNS boolean
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 5 AS 'MODULE_PATHNAME', 'sighting_has_wrapper';
COMMENT ON FUNCTION bigbrotr.sighting_has(bytea, bigint) IS 'Whether a leaf holds this event.seq.';

CREATE FUNCTION bigbrotr.add_sightings(relay_id integer, created_ats bigint[], seqs bigint[]) RETURNS integer
  LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'add_sightings_wrapper';
COMMENT ON FUNCTION bigbrotr.add_sightings(integer, bigint[], bigint[]) IS
  'Internal: adds events to the leaves of a relay and returns how many leaves changed. Under the archive lock only.';

CREATE FUNCTION bigbrotr.remove_sightings(created_ats bigint[], seqs bigint[]) RETURNS integer
  LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'remove_sightings_wrapper';
COMMENT ON FUNCTION bigbrotr.remove_sightings(bigint[], bigint[]) IS
  'Internal: takes events out of the leaves of all relays and returns how many leaves changed. Under the archive lock only.';

CREATE FUNCTION bigbrotr.workers()
  RETURNS TABLE (database text, service text, worker integer, pid integer, state text, activity text, items bigint, cycles bigint,
                 errors bigint, last_error text, last_error_at double precision, started_at double precision)
  LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'workers_wrapper';
COMMENT ON FUNCTION bigbrotr.workers() IS 'Internal: behind stat_workers. Empty when the library is not preloaded.';

CREATE FUNCTION bigbrotr.run_service(service text) RETURNS boolean
  LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'run_service_wrapper';
COMMENT ON FUNCTION bigbrotr.run_service(text) IS 'Wakes that service in this database; false if it is not running.';

CREATE FUNCTION bigbrotr.stop_workers() RETURNS integer
  LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'stop_workers_wrapper';
COMMENT ON FUNCTION bigbrotr.stop_workers() IS
  'Stops the workers of this database, waits until they are gone and returns how many there were. They stay away until start_workers() or a server restart.';

CREATE FUNCTION bigbrotr.start_workers() RETURNS integer
  LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'start_workers_wrapper';
COMMENT ON FUNCTION bigbrotr.start_workers() IS 'Lets the workers of this database run again and returns how many will.';

CREATE FUNCTION bigbrotr.extension_created() RETURNS void
  LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'extension_created_wrapper';
COMMENT ON FUNCTION bigbrotr.extension_created() IS
  'Internal: the last call of the install script. Tells the launcher at commit; warns when the library is not preloaded.';
