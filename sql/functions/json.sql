-- Members of a stranger's JSON document as SQL types: what is of another shape is NULL, never an error, and never spoils another member.

CREATE FUNCTION bigbrotr.json_string(document jsonb, member text) RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE
  AS $$ SELECT CASE WHEN pg_catalog.jsonb_typeof(document OPERATOR(pg_catalog.->) member) OPERATOR(pg_catalog.=) 'string'
                    THEN document OPERATOR(pg_catalog.->>) member END $$;
COMMENT ON FUNCTION bigbrotr.json_string(jsonb, text) IS 'Internal: a member of a JSON object if it is a string, else NULL.';

-- Without a search_path of its own where it can be, so that the planner inlines it: thousands of documents are read at a time.
CREATE FUNCTION bigbrotr.nip_numbers(supported_nips jsonb) RETURNS integer[]
  LANGUAGE sql IMMUTABLE PARALLEL SAFE
  AS $$ SELECT bigbrotr.native_nip_numbers(supported_nips::pg_catalog.text) $$;
COMMENT ON FUNCTION bigbrotr.nip_numbers(jsonb) IS
  'Internal: the numbers of a supported_nips member, ascending, each once. Numbers as strings and a lone number are understood, the rest is left out; NULL if nothing is left.';

CREATE FUNCTION bigbrotr.json_scalar(document jsonb, member text) RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE
  AS $$ SELECT CASE WHEN pg_catalog.jsonb_typeof(document OPERATOR(pg_catalog.->) member) IN ('string', 'number', 'boolean')
                    THEN document OPERATOR(pg_catalog.->>) member END $$;
COMMENT ON FUNCTION bigbrotr.json_scalar(jsonb, text) IS
  'Internal: a member of a JSON object as text if it is a string, number or boolean, else NULL. For members whose type relays get wrong, such as a version that is a number.';

CREATE FUNCTION bigbrotr.json_integer(document jsonb, member text) RETURNS bigint
  LANGUAGE sql IMMUTABLE PARALLEL SAFE
  AS $$ SELECT pg_catalog.substring(bigbrotr.json_scalar(document, member), '^\s*([-+]?0*[0-9]{1,18})(?:\.0*)?\s*$')::bigint $$;
COMMENT ON FUNCTION bigbrotr.json_integer(jsonb, text) IS
  'Internal: a member of a JSON object if it is a whole number of at most 18 digits, also as a string, else NULL.';

CREATE FUNCTION bigbrotr.json_number(document jsonb, member text) RETURNS double precision
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT substring(bigbrotr.json_scalar(document, member) FROM '^\s*([-+]?[0-9]{1,15}(?:\.[0-9]{1,30})?)\s*$')::double precision $$;
COMMENT ON FUNCTION bigbrotr.json_number(jsonb, text) IS
  'Internal: a member of a JSON object if it is a plain decimal number, also as a string, else NULL.';

CREATE FUNCTION bigbrotr.json_boolean(document jsonb, member text) RETURNS boolean
  LANGUAGE sql IMMUTABLE PARALLEL SAFE
  AS $$
    SELECT CASE pg_catalog.lower(pg_catalog.btrim(bigbrotr.json_scalar(document, member)))
      WHEN 'true' THEN true WHEN '1' THEN true WHEN '1.0' THEN true WHEN 'yes' THEN true WHEN 'on' THEN true
      WHEN 'false' THEN false WHEN '0' THEN false WHEN '0.0' THEN false WHEN 'no' THEN false WHEN 'off' THEN false
    END
  $$;
COMMENT ON FUNCTION bigbrotr.json_boolean(jsonb, text) IS
  'Internal: a member of a JSON object if it is true or false, also as a string, a word or 0 and 1, else NULL.';

CREATE FUNCTION bigbrotr.json_timestamp(document jsonb, member text) RETURNS timestamptz
  LANGUAGE sql IMMUTABLE PARALLEL SAFE
  AS $$
    SELECT CASE
      -- Beyond these there is no timestamptz.
      WHEN bigbrotr.json_integer(document, member) OPERATOR(pg_catalog.>=) -210866803200
       AND bigbrotr.json_integer(document, member) OPERATOR(pg_catalog.<=) 9224318015999
      THEN pg_catalog.to_timestamp(bigbrotr.json_integer(document, member))
    END
  $$;
COMMENT ON FUNCTION bigbrotr.json_timestamp(jsonb, text) IS 'Internal: a member of a JSON object in unix seconds, else NULL.';

CREATE FUNCTION bigbrotr.json_pubkey(document jsonb, member text) RETURNS bytea
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT CASE
      WHEN s.value ~ '^[0-9A-Fa-f]{64}$' THEN decode(s.value, 'hex')
      WHEN s.value ~* '^npub1[0-9a-z]{58}$' THEN decode(bigbrotr.nip19_decode(lower(s.value)) ->> 'data', 'hex')
    END
    FROM (SELECT btrim(bigbrotr.json_string(document, member))) AS s(value)
  $$;
COMMENT ON FUNCTION bigbrotr.json_pubkey(jsonb, text) IS
  'Internal: a member of a JSON object if it is a public key in hex or as npub, else NULL.';

CREATE FUNCTION bigbrotr.json_bytes(document jsonb, member text) RETURNS bytea
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT CASE WHEN s.value ~ '^([0-9A-Fa-f]{2})+$' THEN decode(s.value, 'hex') END
    FROM (SELECT bigbrotr.json_string(document, member)) AS s(value)
  $$;
COMMENT ON FUNCTION bigbrotr.json_bytes(jsonb, text) IS 'Internal: a member of a JSON object if it is a string in hex, else NULL.';

CREATE FUNCTION bigbrotr.json_strings(document jsonb, member text) RETURNS text[]
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT array_agg(v.value #>> '{}' ORDER BY v.n)
    FROM jsonb_path_query(document -> member, 'lax $[*]') WITH ORDINALITY AS v(value, n)
    WHERE jsonb_typeof(v.value) IN ('string', 'number')
  $$;
COMMENT ON FUNCTION bigbrotr.json_strings(jsonb, text) IS
  'Internal: the strings and numbers of a member of a JSON object that is an array, or a lone one, in their order; NULL: none.';

CREATE FUNCTION bigbrotr.nip_names(supported_nips jsonb) RETURNS text[]
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT array_agg(DISTINCT n.name ORDER BY n.name)
    FROM (
      SELECT upper(btrim(v.value #>> '{}')) AS name
      FROM jsonb_path_query(supported_nips, 'lax $[*]') AS v(value)
      WHERE jsonb_typeof(v.value) = 'string'
    ) AS n
    WHERE n.name ~ '^[0-9A-F]{2}$' AND n.name !~ '^[0-9]+$'
  $$;
COMMENT ON FUNCTION bigbrotr.nip_names(jsonb) IS
  'Internal: what of a supported_nips member is named by letters, such as C7 or 7D, upper-case, each once; NULL: none.';
