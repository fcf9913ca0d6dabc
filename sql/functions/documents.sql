-- What can be understood of documents that strangers wrote: each member by itself, so that no bad one discards the rest.
-- Total: any jsonb gives a value or NULL, never an error. Evaluated when a document is stored (metadata.typed). In PL/pgSQL
-- as that keeps its plans: functions in SQL would be planned anew for every document.

CREATE FUNCTION bigbrotr.json_string(document jsonb, member text) RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE
  AS $$ SELECT CASE WHEN pg_catalog.jsonb_typeof(document OPERATOR(pg_catalog.->) member) OPERATOR(pg_catalog.=) 'string'
                    THEN document OPERATOR(pg_catalog.->>) member END $$;
COMMENT ON FUNCTION bigbrotr.json_string(jsonb, text) IS 'Internal: a member of a JSON object if it is a string, else NULL.';

CREATE FUNCTION bigbrotr.json_text(value jsonb) RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE
  AS $$ SELECT CASE WHEN pg_catalog.jsonb_typeof(value) OPERATOR(pg_catalog.=) 'string'
                         AND (value OPERATOR(pg_catalog.#>>) '{}') OPERATOR(pg_catalog.~) '\S'
                    THEN value OPERATOR(pg_catalog.#>>) '{}' END $$;
COMMENT ON FUNCTION bigbrotr.json_text(jsonb) IS 'Internal: a JSON string as it is; NULL if it is blank or no string.';

-- Blanks by name: \s would match more than the cast takes.
CREATE FUNCTION bigbrotr.json_number(value jsonb) RETURNS numeric
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    BEGIN
      RETURN CASE
        WHEN jsonb_typeof(value) = 'number' THEN (value #>> '{}')::numeric
        WHEN jsonb_typeof(value) = 'string' AND value #>> '{}' ~ '^[ \t\r\n]*[+-]?[0-9]{1,40}(\.[0-9]{0,40})?([eE][+-]?[0-9]{1,2})?[ \t\r\n]*$'
          THEN btrim(value #>> '{}', E' \t\r\n')::numeric
      END;
    END
  $$;
COMMENT ON FUNCTION bigbrotr.json_number(jsonb) IS 'Internal: a JSON number, or a string that holds a decimal number; else NULL.';

CREATE FUNCTION bigbrotr.json_integer(value jsonb, lowest bigint, highest bigint) RETURNS bigint
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    DECLARE
      number numeric := bigbrotr.json_number(value);
    BEGIN
      RETURN CASE WHEN number >= lowest AND trunc(number) <= highest THEN trunc(number)::bigint END;
    END
  $$;
COMMENT ON FUNCTION bigbrotr.json_integer(jsonb, bigint, bigint) IS
  'Internal: json_number() without its fraction if it lies from lowest to highest, else NULL.';

CREATE FUNCTION bigbrotr.json_boolean(value jsonb) RETURNS boolean
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    BEGIN
      RETURN CASE
        WHEN jsonb_typeof(value) = 'number' THEN CASE (value #>> '{}')::numeric WHEN 1 THEN true WHEN 0 THEN false END
        WHEN jsonb_typeof(value) IN ('boolean', 'string') THEN
          CASE
            WHEN lower(btrim(value #>> '{}', E' \t\r\n')) IN ('true', '1', 'yes', 'y', 'on') THEN true
            WHEN lower(btrim(value #>> '{}', E' \t\r\n')) IN ('false', '0', 'no', 'n', 'off') THEN false
          END
      END;
    END
  $$;
COMMENT ON FUNCTION bigbrotr.json_boolean(jsonb) IS 'Internal: true or false, also as 1 or 0 and as words for them in a string; else NULL.';

CREATE FUNCTION bigbrotr.json_texts(value jsonb) RETURNS text[]
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    BEGIN
      RETURN (
        SELECT array_agg(u.text ORDER BY u.place)
        FROM (
          SELECT bigbrotr.json_text(v.value) AS text, min(v.place) AS place
          FROM jsonb_path_query(value, 'lax $[*]') WITH ORDINALITY AS v (value, place)
          GROUP BY 1
        ) AS u
        WHERE u.text IS NOT NULL);
    END
  $$;
COMMENT ON FUNCTION bigbrotr.json_texts(jsonb) IS
  'Internal: the strings of a JSON array, or a lone string, each once in the order of first occurrence; what is no string is left out; NULL if nothing is left.';

CREATE FUNCTION bigbrotr.json_hex(value jsonb, bytes integer) RETURNS text
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    BEGIN
      RETURN (
        SELECT h.hex
        FROM lower(regexp_replace(bigbrotr.json_text(value), '[ \t\r\n:]', '', 'g')) AS h (hex)
        WHERE h.hex ~ '^[0-9a-f]*$' AND length(h.hex) = 2 * bytes);
    END
  $$;
COMMENT ON FUNCTION bigbrotr.json_hex(jsonb, integer) IS
  'Internal: a string of so many bytes in hex, as lowercase; blanks and colons in it do not matter; else NULL.';

-- An nsec is never looked at: decoding one is an error.
CREATE FUNCTION bigbrotr.json_pubkey(value jsonb) RETURNS text
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    BEGIN
      RETURN (
        SELECT COALESCE(
          bigbrotr.json_hex(value, 32),
          CASE WHEN t.entity ~ '^(npub|nprofile)1[02-9ac-hj-np-z]{50,}$' THEN bigbrotr.nip19_decode(t.entity) ->> 'data' END)
        FROM regexp_replace(lower(btrim(bigbrotr.json_text(value), E' \t\r\n')), '^nostr:', '') AS t (entity));
    END
  $$;
COMMENT ON FUNCTION bigbrotr.json_pubkey(jsonb) IS 'Internal: a public key given in hex, as npub or as nprofile, in lowercase hex; else NULL.';

CREATE FUNCTION bigbrotr.nip_entries(supported_nips jsonb) RETURNS SETOF text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE ROWS 20
  AS $$
    SELECT v.value OPERATOR(pg_catalog.#>>) '{}'
    FROM pg_catalog.jsonb_path_query(supported_nips, 'lax $[*]') AS v (value)
    WHERE pg_catalog.jsonb_typeof(v.value) OPERATOR(pg_catalog.=) 'number'
    UNION ALL
    SELECT e.entry
    FROM pg_catalog.jsonb_path_query(supported_nips, 'lax $[*]') AS v (value)
    CROSS JOIN LATERAL pg_catalog.regexp_split_to_table(
      pg_catalog.regexp_replace(v.value OPERATOR(pg_catalog.#>>) '{}', '\mnip[-_ ]*(?=[0-9a-f])', '', 'gi'), '[\s,;]+') AS e (entry)
    WHERE pg_catalog.jsonb_typeof(v.value) OPERATOR(pg_catalog.=) 'string' AND e.entry OPERATOR(pg_catalog.<>) ''
  $$;
COMMENT ON FUNCTION bigbrotr.nip_entries(jsonb) IS
  'Internal: what a supported_nips member lists, as texts: elements of an array or a lone value, numbers and strings; a string may list several; NIP- in front is dropped.';

CREATE FUNCTION bigbrotr.nip_numbers(supported_nips jsonb) RETURNS integer[]
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    BEGIN
      RETURN (
        SELECT (array_agg(DISTINCT n.nip ORDER BY n.nip))[:500]
        FROM (
          SELECT substring(e.entry FROM '^(0*[0-9]{1,9})(?:\.0*)?$')::integer AS nip
          FROM bigbrotr.nip_entries(supported_nips) AS e (entry)
        ) AS n
        -- NIPs have up to four digits by now; a stranger's list may have thousands.
        WHERE n.nip <= 9999);
    END
  $$;
COMMENT ON FUNCTION bigbrotr.nip_numbers(jsonb) IS
  'Internal: the numbers of a supported_nips member, ascending, each once. Numbers as strings and a lone number are understood, the rest is left out; NULL if nothing is left.';

CREATE FUNCTION bigbrotr.nip_names(supported_nips jsonb) RETURNS text[]
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    BEGIN
      RETURN (
        SELECT array_agg(DISTINCT upper(e.entry) COLLATE "C" ORDER BY upper(e.entry) COLLATE "C")
        FROM bigbrotr.nip_entries(supported_nips) AS e (entry)
        WHERE e.entry ~* '^[0-9a-f]{2}$' AND e.entry ~* '[a-f]');
    END
  $$;
COMMENT ON FUNCTION bigbrotr.nip_names(jsonb) IS
  'Internal: the NIPs of a supported_nips member whose two digits are no decimal number, such as 7D and C7, in upper case, ascending, each once; NULL if there are none.';

-- Arrays are kept in their text form: a cast reads them back.
CREATE FUNCTION bigbrotr.typed_nip11_info(data jsonb) RETURNS jsonb
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    DECLARE
      said jsonb := data -> 'limitation';
    BEGIN
      IF jsonb_typeof(said) = 'array' THEN
        said := said -> 0;
      END IF;
      RETURN jsonb_strip_nulls(
          jsonb_build_object(
            'name', bigbrotr.json_text(data -> 'name'),
            'description', bigbrotr.json_text(data -> 'description'),
            'pubkey', bigbrotr.json_pubkey(data -> 'pubkey'),
            'self', bigbrotr.json_pubkey(data -> 'self'),
            'contact', bigbrotr.json_text(data -> 'contact'),
            'software', bigbrotr.json_text(data -> 'software'),
            'version', bigbrotr.json_text(data -> 'version'),
            'supported_nips', bigbrotr.nip_numbers(data -> 'supported_nips')::text,
            'supported_nip_names', bigbrotr.nip_names(data -> 'supported_nips')::text,
            'banner', bigbrotr.json_text(data -> 'banner'),
            'icon', bigbrotr.json_text(data -> 'icon'),
            'terms_of_service', bigbrotr.json_text(data -> 'terms_of_service'),
            'privacy_policy', bigbrotr.json_text(data -> 'privacy_policy'),
            'posting_policy', bigbrotr.json_text(data -> 'posting_policy'),
            'payments_url', bigbrotr.json_text(data -> 'payments_url'),
            'relay_countries', bigbrotr.json_texts(data -> 'relay_countries')::text,
            'language_tags', bigbrotr.json_texts(data -> 'language_tags')::text,
            'tags', bigbrotr.json_texts(data -> 'tags')::text,
            'attributes', bigbrotr.json_texts(data -> 'attributes')::text)
          || jsonb_build_object(
            'auth_required', bigbrotr.json_boolean(said -> 'auth_required'),
            'payment_required', bigbrotr.json_boolean(said -> 'payment_required'),
            'restricted_writes', bigbrotr.json_boolean(said -> 'restricted_writes'),
            'max_message_length', bigbrotr.json_integer(said -> 'max_message_length', 0, 9223372036854775807),
            'max_subscriptions', bigbrotr.json_integer(said -> 'max_subscriptions', 0, 9223372036854775807),
            'max_filters', bigbrotr.json_integer(said -> 'max_filters', 0, 9223372036854775807),
            'max_limit', bigbrotr.json_integer(said -> 'max_limit', 0, 9223372036854775807),
            'max_subid_length', bigbrotr.json_integer(said -> 'max_subid_length', 0, 9223372036854775807),
            'max_event_tags', bigbrotr.json_integer(said -> 'max_event_tags', 0, 9223372036854775807),
            'max_content_length', bigbrotr.json_integer(said -> 'max_content_length', 0, 9223372036854775807),
            'min_pow_difficulty', bigbrotr.json_integer(said -> 'min_pow_difficulty', 0, 256),
            'default_limit', bigbrotr.json_integer(said -> 'default_limit', 0, 9223372036854775807),
            'created_at_lower_limit', bigbrotr.json_integer(said -> 'created_at_lower_limit', -9223372036854775807, 9223372036854775807),
            'created_at_upper_limit', bigbrotr.json_integer(said -> 'created_at_upper_limit', -9223372036854775807, 9223372036854775807)));
    END
  $$;
COMMENT ON FUNCTION bigbrotr.typed_nip11_info(jsonb) IS 'Internal: what can be understood of a NIP-11 document (relay_info).';

CREATE FUNCTION bigbrotr.typed_nip66_ssl(data jsonb) RETURNS jsonb
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    BEGIN
      RETURN jsonb_strip_nulls(jsonb_build_object(
        'valid', bigbrotr.json_boolean(data -> 'valid'),
        'error', bigbrotr.json_text(data -> 'error'),
        'protocol', bigbrotr.json_text(data -> 'protocol'),
        'cipher', bigbrotr.json_text(data -> 'cipher'),
        'subject', bigbrotr.json_text(data -> 'subject'),
        'subject_cn', bigbrotr.json_text(data -> 'subject_cn'),
        'issuer', bigbrotr.json_text(data -> 'issuer'),
        'issuer_cn', bigbrotr.json_text(data -> 'issuer_cn'),
        -- The years 1 to 9999: what every client reads as a date.
        'not_before', bigbrotr.json_integer(data -> 'not_before', -62135596800, 253402300799),
        'not_after', bigbrotr.json_integer(data -> 'not_after', -62135596800, 253402300799),
        'sans', bigbrotr.json_texts(data -> 'sans')::text,
        'serial', bigbrotr.json_text(data -> 'serial'),
        'fingerprint', bigbrotr.json_hex(data -> 'fingerprint', 32),
        'signature_algorithm', bigbrotr.json_text(data -> 'signature_algorithm'),
        'key_algorithm', bigbrotr.json_text(data -> 'key_algorithm'),
        'key_bits', bigbrotr.json_integer(data -> 'key_bits', 0, 2147483647),
        'chain_length', bigbrotr.json_integer(data -> 'chain_length', 0, 2147483647)));
    END
  $$;
COMMENT ON FUNCTION bigbrotr.typed_nip66_ssl(jsonb) IS 'Internal: what can be understood of a nip66_ssl document (relay_certificate).';

CREATE FUNCTION bigbrotr.typed_nip66_dns(data jsonb) RETURNS jsonb
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    BEGIN
      RETURN jsonb_strip_nulls(jsonb_build_object(
        'a', bigbrotr.json_texts(data -> 'a')::text,
        'aaaa', bigbrotr.json_texts(data -> 'aaaa')::text,
        'cname', bigbrotr.json_texts(data -> 'cname')::text,
        'ns', bigbrotr.json_texts(data -> 'ns')::text,
        'ptr', bigbrotr.json_texts(data -> 'ptr')::text,
        'ttl', bigbrotr.json_integer(data -> 'ttl', 0, 4294967295)));
    END
  $$;
COMMENT ON FUNCTION bigbrotr.typed_nip66_dns(jsonb) IS 'Internal: what can be understood of a nip66_dns document (relay_dns).';

CREATE FUNCTION bigbrotr.typed_nip66_geo(data jsonb) RETURNS jsonb
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    BEGIN
      RETURN jsonb_strip_nulls(jsonb_build_object(
        'ip', bigbrotr.json_text(data -> 'ip'),
        'country', bigbrotr.json_text(data -> 'country'),
        'country_name', bigbrotr.json_text(data -> 'country_name'),
        'continent', bigbrotr.json_text(data -> 'continent'),
        'is_eu', bigbrotr.json_boolean(data -> 'is_eu'),
        'region', bigbrotr.json_text(data -> 'region'),
        'city', bigbrotr.json_text(data -> 'city'),
        'postal', bigbrotr.json_text(data -> 'postal'),
        'latitude', (SELECT round(n.n, 6) FROM bigbrotr.json_number(data -> 'latitude') AS n (n) WHERE n.n BETWEEN -90 AND 90),
        'longitude', (SELECT round(n.n, 6) FROM bigbrotr.json_number(data -> 'longitude') AS n (n) WHERE n.n BETWEEN -180 AND 180),
        'accuracy_km', bigbrotr.json_integer(data -> 'accuracy_km', 0, 2147483647),
        'time_zone', bigbrotr.json_text(data -> 'time_zone'),
        'geohash', bigbrotr.json_text(data -> 'geohash'),
        'geoname_id', bigbrotr.json_integer(data -> 'geoname_id', 0, 9223372036854775807)));
    END
  $$;
COMMENT ON FUNCTION bigbrotr.typed_nip66_geo(jsonb) IS 'Internal: what can be understood of a nip66_geo document (relay_geo).';

CREATE FUNCTION bigbrotr.typed_nip66_net(data jsonb) RETURNS jsonb
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    BEGIN
      RETURN jsonb_strip_nulls(jsonb_build_object(
        'ip', bigbrotr.json_text(data -> 'ip'),
        'asn', bigbrotr.json_integer(data -> 'asn', 0, 4294967295),
        'asn_org', bigbrotr.json_text(data -> 'asn_org'),
        'network', bigbrotr.json_text(data -> 'network'),
        'ip_v6', bigbrotr.json_text(data -> 'ip_v6'),
        'asn_v6', bigbrotr.json_integer(data -> 'asn_v6', 0, 4294967295),
        'asn_org_v6', bigbrotr.json_text(data -> 'asn_org_v6'),
        'network_v6', bigbrotr.json_text(data -> 'network_v6')));
    END
  $$;
COMMENT ON FUNCTION bigbrotr.typed_nip66_net(jsonb) IS 'Internal: what can be understood of a nip66_net document (relay_net).';

CREATE FUNCTION bigbrotr.typed_nip66_http(data jsonb) RETURNS jsonb
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    BEGIN
      RETURN jsonb_strip_nulls(jsonb_build_object(
        'server', bigbrotr.json_text(data -> 'server'),
        'powered_by', bigbrotr.json_text(data -> 'x-powered-by'),
        'via', bigbrotr.json_text(data -> 'via'),
        'alt_svc', bigbrotr.json_text(data -> 'alt-svc'),
        'strict_transport_security', bigbrotr.json_text(data -> 'strict-transport-security'),
        'websocket_protocol', bigbrotr.json_text(data -> 'sec-websocket-protocol'),
        'websocket_extensions', bigbrotr.json_text(data -> 'sec-websocket-extensions')));
    END
  $$;
COMMENT ON FUNCTION bigbrotr.typed_nip66_http(jsonb) IS 'Internal: what can be understood of a nip66_http document (relay_http).';

CREATE FUNCTION bigbrotr.typed_document(type bigbrotr.metadata_type, data jsonb) RETURNS jsonb
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    BEGIN
      RETURN CASE type
        WHEN 'nip11_info' THEN bigbrotr.typed_nip11_info(data)
        WHEN 'nip66_ssl' THEN bigbrotr.typed_nip66_ssl(data)
        WHEN 'nip66_dns' THEN bigbrotr.typed_nip66_dns(data)
        WHEN 'nip66_geo' THEN bigbrotr.typed_nip66_geo(data)
        WHEN 'nip66_net' THEN bigbrotr.typed_nip66_net(data)
        WHEN 'nip66_http' THEN bigbrotr.typed_nip66_http(data)
      END;
    END
  $$;
COMMENT ON FUNCTION bigbrotr.typed_document(bigbrotr.metadata_type, jsonb) IS
  'Internal: metadata.typed: the members of a document that could be understood, each of its type; the rest is absent. After a change of these functions UPDATE metadata SET data = data brings all up to date.';
