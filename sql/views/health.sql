-- The health of relays as analysts ask for it: documents with types, outages, uptime, changes. A member of a document
-- that is not what it should be is NULL here and never hides another; the documents themselves are in metadata.

CREATE VIEW bigbrotr.relay_info AS
SELECT
  r.url AS relay_url,
  bigbrotr.json_string(d.data, 'name') AS name,
  bigbrotr.json_string(d.data, 'description') AS description,
  bigbrotr.json_pubkey(d.data, 'pubkey') AS pubkey,
  bigbrotr.json_pubkey(d.data, 'self') AS self,
  bigbrotr.json_string(d.data, 'contact') AS contact,
  bigbrotr.json_string(d.data, 'software') AS software,
  bigbrotr.json_scalar(d.data, 'version') AS version,
  bigbrotr.nip_numbers(d.data -> 'supported_nips') AS supported_nips,
  bigbrotr.nip_names(d.data -> 'supported_nips') AS supported_nip_names,
  bigbrotr.json_string(d.data, 'icon') AS icon,
  bigbrotr.json_string(d.data, 'banner') AS banner,
  bigbrotr.json_string(d.data, 'terms_of_service') AS terms_of_service,
  bigbrotr.json_string(d.data, 'privacy_policy') AS privacy_policy,
  bigbrotr.json_string(d.data, 'posting_policy') AS posting_policy,
  bigbrotr.json_string(d.data, 'payments_url') AS payments_url,
  bigbrotr.json_boolean(d.data -> 'limitation', 'auth_required') AS auth_required,
  bigbrotr.json_boolean(d.data -> 'limitation', 'payment_required') AS payment_required,
  bigbrotr.json_boolean(d.data -> 'limitation', 'restricted_writes') AS restricted_writes,
  bigbrotr.json_integer(d.data -> 'limitation', 'max_message_length') AS max_message_length,
  bigbrotr.json_integer(d.data -> 'limitation', 'max_subscriptions') AS max_subscriptions,
  bigbrotr.json_integer(d.data -> 'limitation', 'max_limit') AS max_limit,
  bigbrotr.json_integer(d.data -> 'limitation', 'default_limit') AS default_limit,
  bigbrotr.json_integer(d.data -> 'limitation', 'max_subid_length') AS max_subid_length,
  bigbrotr.json_integer(d.data -> 'limitation', 'max_event_tags') AS max_event_tags,
  bigbrotr.json_integer(d.data -> 'limitation', 'max_content_length') AS max_content_length,
  bigbrotr.json_integer(d.data -> 'limitation', 'min_pow_difficulty') AS min_pow_difficulty,
  bigbrotr.json_integer(d.data -> 'limitation', 'created_at_lower_limit') AS created_at_lower_limit,
  bigbrotr.json_integer(d.data -> 'limitation', 'created_at_upper_limit') AS created_at_upper_limit,
  bigbrotr.json_strings(d.data, 'relay_countries') AS relay_countries,
  bigbrotr.json_strings(d.data, 'language_tags') AS language_tags,
  bigbrotr.json_strings(d.data, 'tags') AS tags,
  CASE WHEN pg_catalog.jsonb_typeof(d.data -> 'fees') = 'object' THEN d.data -> 'fees' END AS fees,
  CASE WHEN pg_catalog.jsonb_typeof(d.data -> 'retention') = 'array' THEN d.data -> 'retention' END AS retention,
  d.data AS data,
  d.first_seen_at,
  d.last_seen_at
FROM bigbrotr.relay AS r
CROSS JOIN LATERAL (
  SELECT m.data, x.first_seen_at, x.last_seen_at
  FROM bigbrotr.relay_metadata AS x
  JOIN bigbrotr.metadata AS m ON m.id = x.metadata_id AND m.type = x.type
  WHERE x.relay_id = r.id AND x.type = 'nip11_info'
  ORDER BY x.first_seen_at DESC
  LIMIT 1
) AS d;
COMMENT ON VIEW bigbrotr.relay_info IS 'What relays say of themselves: the newest NIP-11 document of each, with types. Claims, not facts.';
COMMENT ON COLUMN bigbrotr.relay_info.relay_url IS 'relay.url.';
COMMENT ON COLUMN bigbrotr.relay_info.name IS 'name.';
COMMENT ON COLUMN bigbrotr.relay_info.description IS 'description.';
COMMENT ON COLUMN bigbrotr.relay_info.pubkey IS 'The operator (32 bytes), given in hex or as npub.';
COMMENT ON COLUMN bigbrotr.relay_info.self IS 'The relay''s own key (32 bytes).';
COMMENT ON COLUMN bigbrotr.relay_info.contact IS 'contact.';
COMMENT ON COLUMN bigbrotr.relay_info.software IS 'software.';
COMMENT ON COLUMN bigbrotr.relay_info.version IS 'version, also one written as a number.';
COMMENT ON COLUMN bigbrotr.relay_info.supported_nips IS 'Numbers of supported_nips, ascending, each once; NULL: none.';
COMMENT ON COLUMN bigbrotr.relay_info.supported_nip_names IS 'NIPs named by letters, such as 7D or C7; NULL: none.';
COMMENT ON COLUMN bigbrotr.relay_info.icon IS 'icon.';
COMMENT ON COLUMN bigbrotr.relay_info.banner IS 'banner.';
COMMENT ON COLUMN bigbrotr.relay_info.terms_of_service IS 'terms_of_service.';
COMMENT ON COLUMN bigbrotr.relay_info.privacy_policy IS 'privacy_policy (no longer in the NIP).';
COMMENT ON COLUMN bigbrotr.relay_info.posting_policy IS 'posting_policy (no longer in the NIP).';
COMMENT ON COLUMN bigbrotr.relay_info.payments_url IS 'payments_url.';
COMMENT ON COLUMN bigbrotr.relay_info.auth_required IS 'limitation.auth_required (NIP-42 before anything else).';
COMMENT ON COLUMN bigbrotr.relay_info.payment_required IS 'limitation.payment_required.';
COMMENT ON COLUMN bigbrotr.relay_info.restricted_writes IS 'limitation.restricted_writes.';
COMMENT ON COLUMN bigbrotr.relay_info.max_message_length IS 'limitation.max_message_length, bytes.';
COMMENT ON COLUMN bigbrotr.relay_info.max_subscriptions IS 'limitation.max_subscriptions, for a connection.';
COMMENT ON COLUMN bigbrotr.relay_info.max_limit IS 'limitation.max_limit: a larger limit of a filter is cut to it.';
COMMENT ON COLUMN bigbrotr.relay_info.default_limit IS 'limitation.default_limit: of a filter without one.';
COMMENT ON COLUMN bigbrotr.relay_info.max_subid_length IS 'limitation.max_subid_length, characters.';
COMMENT ON COLUMN bigbrotr.relay_info.max_event_tags IS 'limitation.max_event_tags.';
COMMENT ON COLUMN bigbrotr.relay_info.max_content_length IS 'limitation.max_content_length, characters.';
COMMENT ON COLUMN bigbrotr.relay_info.min_pow_difficulty IS 'limitation.min_pow_difficulty, bits (NIP-13).';
COMMENT ON COLUMN bigbrotr.relay_info.created_at_lower_limit IS 'limitation.created_at_lower_limit: mostly seconds before now, of some relays a time.';
COMMENT ON COLUMN bigbrotr.relay_info.created_at_upper_limit IS 'limitation.created_at_upper_limit: mostly seconds after now, of some relays a time.';
COMMENT ON COLUMN bigbrotr.relay_info.relay_countries IS 'relay_countries (no longer in the NIP).';
COMMENT ON COLUMN bigbrotr.relay_info.language_tags IS 'language_tags (no longer in the NIP).';
COMMENT ON COLUMN bigbrotr.relay_info.tags IS 'tags (no longer in the NIP).';
COMMENT ON COLUMN bigbrotr.relay_info.fees IS 'fees, as it stands.';
COMMENT ON COLUMN bigbrotr.relay_info.retention IS 'retention, as it stands (no longer in the NIP).';
COMMENT ON COLUMN bigbrotr.relay_info.data IS 'The whole document.';
COMMENT ON COLUMN bigbrotr.relay_info.first_seen_at IS 'Since when it shows exactly this document.';
COMMENT ON COLUMN bigbrotr.relay_info.last_seen_at IS 'The last check that got it.';

CREATE VIEW bigbrotr.relay_certificate AS
SELECT
  r.url AS relay_url,
  bigbrotr.json_boolean(d.data, 'valid') AS valid,
  bigbrotr.json_string(d.data, 'error') AS error,
  bigbrotr.json_string(d.data, 'protocol') AS protocol,
  bigbrotr.json_string(d.data, 'cipher') AS cipher,
  bigbrotr.json_string(d.data, 'subject_cn') AS subject_cn,
  bigbrotr.json_string(d.data, 'subject') AS subject,
  bigbrotr.json_string(d.data, 'issuer_cn') AS issuer_cn,
  bigbrotr.json_string(d.data, 'issuer') AS issuer,
  bigbrotr.json_timestamp(d.data, 'not_before') AS not_before,
  bigbrotr.json_timestamp(d.data, 'not_after') AS not_after,
  bigbrotr.json_strings(d.data, 'sans') AS sans,
  bigbrotr.json_string(d.data, 'serial') AS serial,
  bigbrotr.json_bytes(d.data, 'fingerprint') AS fingerprint,
  bigbrotr.json_string(d.data, 'signature_algorithm') AS signature_algorithm,
  bigbrotr.json_string(d.data, 'key_algorithm') AS key_algorithm,
  bigbrotr.json_integer(d.data, 'key_bits') AS key_bits,
  d.first_seen_at,
  d.last_seen_at
FROM bigbrotr.relay AS r
CROSS JOIN LATERAL (
  SELECT m.data, x.first_seen_at, x.last_seen_at
  FROM bigbrotr.relay_metadata AS x
  JOIN bigbrotr.metadata AS m ON m.id = x.metadata_id AND m.type = x.type
  WHERE x.relay_id = r.id AND x.type = 'nip66_ssl'
  ORDER BY x.first_seen_at DESC
  LIMIT 1
) AS d;
COMMENT ON VIEW bigbrotr.relay_certificate IS 'The TLS certificate each wss relay showed last, good or bad.';
COMMENT ON COLUMN bigbrotr.relay_certificate.relay_url IS 'relay.url.';
COMMENT ON COLUMN bigbrotr.relay_certificate.valid IS 'Whether it was accepted: name, time and a trusted issuer.';
COMMENT ON COLUMN bigbrotr.relay_certificate.error IS 'Why not: expired, not_yet_valid, wrong_name, self_signed, unknown_issuer, revoked, bad_certificate, incompatible, not_tls, …; NULL: valid.';
COMMENT ON COLUMN bigbrotr.relay_certificate.protocol IS 'TLSv1.2 or TLSv1.3; NULL: no handshake.';
COMMENT ON COLUMN bigbrotr.relay_certificate.cipher IS 'Cipher suite.';
COMMENT ON COLUMN bigbrotr.relay_certificate.subject_cn IS 'Common name of the subject.';
COMMENT ON COLUMN bigbrotr.relay_certificate.subject IS 'The whole subject.';
COMMENT ON COLUMN bigbrotr.relay_certificate.issuer_cn IS 'Common name of the issuer.';
COMMENT ON COLUMN bigbrotr.relay_certificate.issuer IS 'The whole issuer.';
COMMENT ON COLUMN bigbrotr.relay_certificate.not_before IS 'Valid from.';
COMMENT ON COLUMN bigbrotr.relay_certificate.not_after IS 'Valid until.';
COMMENT ON COLUMN bigbrotr.relay_certificate.sans IS 'Names and addresses it is for.';
COMMENT ON COLUMN bigbrotr.relay_certificate.serial IS 'Serial number, hex.';
COMMENT ON COLUMN bigbrotr.relay_certificate.fingerprint IS 'SHA-256 of the certificate.';
COMMENT ON COLUMN bigbrotr.relay_certificate.signature_algorithm IS 'How the issuer signed it.';
COMMENT ON COLUMN bigbrotr.relay_certificate.key_algorithm IS 'Kind of its key.';
COMMENT ON COLUMN bigbrotr.relay_certificate.key_bits IS 'Size of its key.';
COMMENT ON COLUMN bigbrotr.relay_certificate.first_seen_at IS 'Since when it shows exactly this document.';
COMMENT ON COLUMN bigbrotr.relay_certificate.last_seen_at IS 'The last check that got it.';

CREATE VIEW bigbrotr.relay_dns AS
SELECT
  r.url AS relay_url,
  bigbrotr.json_strings(d.data, 'a') AS a,
  bigbrotr.json_strings(d.data, 'aaaa') AS aaaa,
  bigbrotr.json_strings(d.data, 'cname') AS cname,
  bigbrotr.json_strings(d.data, 'ns') AS ns,
  bigbrotr.json_strings(d.data, 'ptr') AS ptr,
  bigbrotr.json_integer(d.data, 'ttl') AS ttl,
  d.first_seen_at,
  d.last_seen_at
FROM bigbrotr.relay AS r
CROSS JOIN LATERAL (
  SELECT m.data, x.first_seen_at, x.last_seen_at
  FROM bigbrotr.relay_metadata AS x
  JOIN bigbrotr.metadata AS m ON m.id = x.metadata_id AND m.type = x.type
  WHERE x.relay_id = r.id AND x.type = 'nip66_dns'
  ORDER BY x.first_seen_at DESC
  LIMIT 1
) AS d;
COMMENT ON VIEW bigbrotr.relay_dns IS 'Where the name of each relay leads, by its last DNS answers.';
COMMENT ON COLUMN bigbrotr.relay_dns.relay_url IS 'relay.url.';
COMMENT ON COLUMN bigbrotr.relay_dns.a IS 'IPv4 addresses.';
COMMENT ON COLUMN bigbrotr.relay_dns.aaaa IS 'IPv6 addresses.';
COMMENT ON COLUMN bigbrotr.relay_dns.cname IS 'The chain of aliases, in order.';
COMMENT ON COLUMN bigbrotr.relay_dns.ns IS 'Name servers of its zone.';
COMMENT ON COLUMN bigbrotr.relay_dns.ptr IS 'Names its addresses lead back to.';
COMMENT ON COLUMN bigbrotr.relay_dns.ttl IS 'Largest time to live seen of these answers, seconds.';
COMMENT ON COLUMN bigbrotr.relay_dns.first_seen_at IS 'Since when it shows exactly this document.';
COMMENT ON COLUMN bigbrotr.relay_dns.last_seen_at IS 'The last check that got it.';

CREATE VIEW bigbrotr.relay_location AS
SELECT
  r.url AS relay_url,
  bigbrotr.json_string(d.data, 'ip') AS ip,
  bigbrotr.json_string(d.data, 'country') AS country,
  bigbrotr.json_string(d.data, 'country_name') AS country_name,
  bigbrotr.json_string(d.data, 'continent') AS continent,
  bigbrotr.json_boolean(d.data, 'is_eu') AS is_eu,
  bigbrotr.json_string(d.data, 'region') AS region,
  bigbrotr.json_string(d.data, 'city') AS city,
  bigbrotr.json_scalar(d.data, 'postal') AS postal,
  bigbrotr.json_number(d.data, 'latitude') AS latitude,
  bigbrotr.json_number(d.data, 'longitude') AS longitude,
  bigbrotr.json_integer(d.data, 'accuracy_km') AS accuracy_km,
  bigbrotr.json_string(d.data, 'time_zone') AS time_zone,
  bigbrotr.json_string(d.data, 'geohash') AS geohash,
  d.first_seen_at,
  d.last_seen_at
FROM bigbrotr.relay AS r
CROSS JOIN LATERAL (
  SELECT m.data, x.first_seen_at, x.last_seen_at
  FROM bigbrotr.relay_metadata AS x
  JOIN bigbrotr.metadata AS m ON m.id = x.metadata_id AND m.type = x.type
  WHERE x.relay_id = r.id AND x.type = 'nip66_geo'
  ORDER BY x.first_seen_at DESC
  LIMIT 1
) AS d;
COMMENT ON VIEW bigbrotr.relay_location IS 'Where relays seem to be, by the address they answer from and the MaxMind file of bigbrotr.geoip_city_file.';
COMMENT ON COLUMN bigbrotr.relay_location.relay_url IS 'relay.url.';
COMMENT ON COLUMN bigbrotr.relay_location.ip IS 'The address looked up.';
COMMENT ON COLUMN bigbrotr.relay_location.country IS 'ISO 3166-1 code.';
COMMENT ON COLUMN bigbrotr.relay_location.country_name IS 'Its name.';
COMMENT ON COLUMN bigbrotr.relay_location.continent IS 'Code of the continent.';
COMMENT ON COLUMN bigbrotr.relay_location.is_eu IS 'Whether in the European Union.';
COMMENT ON COLUMN bigbrotr.relay_location.region IS 'Largest subdivision.';
COMMENT ON COLUMN bigbrotr.relay_location.city IS 'City.';
COMMENT ON COLUMN bigbrotr.relay_location.postal IS 'Postal code.';
COMMENT ON COLUMN bigbrotr.relay_location.latitude IS 'Degrees north.';
COMMENT ON COLUMN bigbrotr.relay_location.longitude IS 'Degrees east.';
COMMENT ON COLUMN bigbrotr.relay_location.accuracy_km IS 'Radius of uncertainty, kilometres.';
COMMENT ON COLUMN bigbrotr.relay_location.time_zone IS 'Name of the time zone.';
COMMENT ON COLUMN bigbrotr.relay_location.geohash IS 'Geohash.';
COMMENT ON COLUMN bigbrotr.relay_location.first_seen_at IS 'Since when it shows exactly this document.';
COMMENT ON COLUMN bigbrotr.relay_location.last_seen_at IS 'The last check that got it.';

CREATE VIEW bigbrotr.relay_network AS
SELECT
  r.url AS relay_url,
  bigbrotr.json_string(d.data, 'ip') AS ip,
  bigbrotr.json_integer(d.data, 'asn') AS asn,
  bigbrotr.json_string(d.data, 'asn_org') AS asn_org,
  bigbrotr.json_string(d.data, 'network') AS network,
  bigbrotr.json_string(d.data, 'ip_v6') AS ip_v6,
  bigbrotr.json_integer(d.data, 'asn_v6') AS asn_v6,
  bigbrotr.json_string(d.data, 'asn_org_v6') AS asn_org_v6,
  bigbrotr.json_string(d.data, 'network_v6') AS network_v6,
  d.first_seen_at,
  d.last_seen_at
FROM bigbrotr.relay AS r
CROSS JOIN LATERAL (
  SELECT m.data, x.first_seen_at, x.last_seen_at
  FROM bigbrotr.relay_metadata AS x
  JOIN bigbrotr.metadata AS m ON m.id = x.metadata_id AND m.type = x.type
  WHERE x.relay_id = r.id AND x.type = 'nip66_net'
  ORDER BY x.first_seen_at DESC
  LIMIT 1
) AS d;
COMMENT ON VIEW bigbrotr.relay_network IS 'Whose network relays are in, by the MaxMind file of bigbrotr.geoip_asn_file.';
COMMENT ON COLUMN bigbrotr.relay_network.relay_url IS 'relay.url.';
COMMENT ON COLUMN bigbrotr.relay_network.ip IS 'IPv4 address.';
COMMENT ON COLUMN bigbrotr.relay_network.asn IS 'Number of the autonomous system.';
COMMENT ON COLUMN bigbrotr.relay_network.asn_org IS 'Its owner.';
COMMENT ON COLUMN bigbrotr.relay_network.network IS 'Its block of addresses.';
COMMENT ON COLUMN bigbrotr.relay_network.ip_v6 IS 'IPv6 address.';
COMMENT ON COLUMN bigbrotr.relay_network.asn_v6 IS 'Number of its autonomous system.';
COMMENT ON COLUMN bigbrotr.relay_network.asn_org_v6 IS 'Its owner.';
COMMENT ON COLUMN bigbrotr.relay_network.network_v6 IS 'Its block of addresses.';
COMMENT ON COLUMN bigbrotr.relay_network.first_seen_at IS 'Since when it shows exactly this document.';
COMMENT ON COLUMN bigbrotr.relay_network.last_seen_at IS 'The last check that got it.';

CREATE VIEW bigbrotr.relay_http AS
SELECT
  r.url AS relay_url,
  bigbrotr.json_string(d.data, 'server') AS server,
  bigbrotr.json_string(d.data, 'x-powered-by') AS powered_by,
  bigbrotr.json_string(d.data, 'via') AS via,
  d.data AS data,
  d.first_seen_at,
  d.last_seen_at
FROM bigbrotr.relay AS r
CROSS JOIN LATERAL (
  SELECT m.data, x.first_seen_at, x.last_seen_at
  FROM bigbrotr.relay_metadata AS x
  JOIN bigbrotr.metadata AS m ON m.id = x.metadata_id AND m.type = x.type
  WHERE x.relay_id = r.id AND x.type = 'nip66_http'
  ORDER BY x.first_seen_at DESC
  LIMIT 1
) AS d;
COMMENT ON VIEW bigbrotr.relay_http IS 'What the web servers before the relays say of themselves when a WebSocket opens.';
COMMENT ON COLUMN bigbrotr.relay_http.relay_url IS 'relay.url.';
COMMENT ON COLUMN bigbrotr.relay_http.server IS 'Header server.';
COMMENT ON COLUMN bigbrotr.relay_http.powered_by IS 'Header x-powered-by.';
COMMENT ON COLUMN bigbrotr.relay_http.via IS 'Header via.';
COMMENT ON COLUMN bigbrotr.relay_http.data IS 'All headers kept.';
COMMENT ON COLUMN bigbrotr.relay_http.first_seen_at IS 'Since when it shows exactly this document.';
COMMENT ON COLUMN bigbrotr.relay_http.last_seen_at IS 'The last check that got it.';

CREATE VIEW bigbrotr.relay_changes AS
SELECT r.url AS relay_url, c.changed_at, c.what, c.old, c.new
FROM bigbrotr.relay_change AS c
JOIN bigbrotr.relay AS r ON r.id = c.relay_id;
COMMENT ON VIEW bigbrotr.relay_changes IS 'What changed about relays: relay_change with URLs. For when they were down, see relay_history.';
COMMENT ON COLUMN bigbrotr.relay_changes.relay_url IS 'relay.url.';
COMMENT ON COLUMN bigbrotr.relay_changes.changed_at IS 'The check that showed it.';
COMMENT ON COLUMN bigbrotr.relay_changes.what IS
  'state, name, software, version, nips, auth_required, payment_required, certificate (its fingerprint), certificate_error, address, country or asn.';
COMMENT ON COLUMN bigbrotr.relay_changes.old IS 'Before; NULL: it had none.';
COMMENT ON COLUMN bigbrotr.relay_changes.new IS 'Since then; NULL: it has none.';

CREATE VIEW bigbrotr.relay_history AS
SELECT r.url AS relay_url, s.online, s.since, s.until, s.error_class, s.error
FROM bigbrotr.relay AS r
JOIN bigbrotr.relay_monitor AS m ON m.relay_id = r.id
CROSS JOIN (SELECT pg_catalog.now() - pg_catalog.make_interval(secs => bigbrotr.setting_seconds('history_retention')) AS kept_since OFFSET 0) AS k
CROSS JOIN LATERAL (
  SELECT true AS online, GREATEST(m.watched_since, k.kept_since) AS since, pg_catalog.min(o.down_at) AS until, NULL::text AS error_class, NULL::text AS error
  FROM bigbrotr.relay_outage AS o
  WHERE o.relay_id = r.id
  UNION ALL
  SELECT false, o.down_at, o.up_at, o.error_class, o.error FROM bigbrotr.relay_outage AS o WHERE o.relay_id = r.id
  UNION ALL
  SELECT true, o.up_at, pg_catalog.lead(o.down_at) OVER (ORDER BY o.down_at), NULL, NULL
  FROM bigbrotr.relay_outage AS o
  WHERE o.relay_id = r.id
) AS s
WHERE s.since IS NOT NULL AND (s.until IS NULL OR s.until > s.since);
COMMENT ON VIEW bigbrotr.relay_history IS
  'When each relay was there and when not, without gaps from its first check on, or as far back as bigbrotr.history_retention. Between two checks the earlier one holds.';
COMMENT ON COLUMN bigbrotr.relay_history.relay_url IS 'relay.url.';
COMMENT ON COLUMN bigbrotr.relay_history.online IS 'Whether it answered.';
COMMENT ON COLUMN bigbrotr.relay_history.since IS 'From the check that showed it';
COMMENT ON COLUMN bigbrotr.relay_history.until IS 'to the check that showed otherwise; NULL: it lasts.';
COMMENT ON COLUMN bigbrotr.relay_history.error_class IS 'Why it was not there, by the first check that failed; NULL: it was.';
COMMENT ON COLUMN bigbrotr.relay_history.error IS 'The failure in words.';

CREATE FUNCTION bigbrotr.uptime(relay_id integer, since timestamptz, until timestamptz) RETURNS double precision
  LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT 1 - COALESCE(sum(extract(epoch FROM LEAST(o.up_at, uptime.until) - GREATEST(o.down_at, uptime.since))), 0)::double precision
               / NULLIF(extract(epoch FROM uptime.until - uptime.since), 0)::double precision
    FROM bigbrotr.relay_outage AS o
    WHERE o.relay_id = uptime.relay_id
      AND o.down_at < uptime.until
      AND (o.up_at IS NULL OR o.up_at > uptime.since)
    HAVING uptime.until > uptime.since
  $$;
COMMENT ON FUNCTION bigbrotr.uptime(integer, timestamptz, timestamptz) IS
  'Share, 0 to 1, of the time from since to until in which this relay (relay.id) was not known to be down; NULL if until is not after since. Counts no time before its first check: see relay_uptime.';

CREATE VIEW bigbrotr.relay_uptime AS
SELECT
  r.url AS relay_url,
  r.network,
  r.state,
  x.down_at IS NULL AS online,
  COALESCE(x.down_at, p.up_at, m.watched_since) AS since,
  m.watched_since,
  m.last_check_at,
  bigbrotr.uptime(r.id, GREATEST(w.since, m.last_check_at - interval '1 day'), m.last_check_at) AS uptime_1d,
  bigbrotr.uptime(r.id, GREATEST(w.since, m.last_check_at - interval '7 days'), m.last_check_at) AS uptime_7d,
  bigbrotr.uptime(r.id, GREATEST(w.since, m.last_check_at - interval '30 days'), m.last_check_at) AS uptime_30d,
  t.outages_30d,
  t.longest_outage_30d
FROM bigbrotr.relay AS r
JOIN bigbrotr.relay_monitor AS m ON m.relay_id = r.id AND m.watched_since IS NOT NULL
CROSS JOIN (SELECT pg_catalog.now() - pg_catalog.make_interval(secs => bigbrotr.setting_seconds('history_retention')) AS kept_since OFFSET 0) AS k
CROSS JOIN LATERAL (SELECT GREATEST(m.watched_since, k.kept_since) AS since) AS w
LEFT JOIN LATERAL (
  SELECT o.down_at FROM bigbrotr.relay_outage AS o WHERE o.relay_id = r.id AND o.up_at IS NULL
) AS x ON true
LEFT JOIN LATERAL (
  SELECT o.up_at FROM bigbrotr.relay_outage AS o WHERE o.relay_id = r.id ORDER BY o.down_at DESC LIMIT 1
) AS p ON true
CROSS JOIN LATERAL (
  SELECT
    pg_catalog.count(*) AS outages_30d,
    pg_catalog.max(COALESCE(o.up_at, m.last_check_at) - o.down_at) AS longest_outage_30d
  FROM bigbrotr.relay_outage AS o
  WHERE o.relay_id = r.id AND (o.up_at IS NULL OR o.up_at > m.last_check_at - interval '30 days')
) AS t;
COMMENT ON VIEW bigbrotr.relay_uptime IS
  'How reliable each relay is. Shares are of time, not of checks, up to the last check, and of no more than was watched and is kept (bigbrotr.history_retention).';
COMMENT ON COLUMN bigbrotr.relay_uptime.relay_url IS 'relay.url.';
COMMENT ON COLUMN bigbrotr.relay_uptime.network IS 'Network the host belongs to.';
COMMENT ON COLUMN bigbrotr.relay_uptime.state IS 'active, dead or blocked.';
COMMENT ON COLUMN bigbrotr.relay_uptime.online IS 'Whether the last check was good.';
COMMENT ON COLUMN bigbrotr.relay_uptime.since IS 'Since when that is so.';
COMMENT ON COLUMN bigbrotr.relay_uptime.watched_since IS 'Its first check.';
COMMENT ON COLUMN bigbrotr.relay_uptime.last_check_at IS 'Its last check.';
COMMENT ON COLUMN bigbrotr.relay_uptime.uptime_1d IS 'Share, 0 to 1, of the day before its last check in which it was there; NULL: checked only once.';
COMMENT ON COLUMN bigbrotr.relay_uptime.uptime_7d IS 'The same of 7 days.';
COMMENT ON COLUMN bigbrotr.relay_uptime.uptime_30d IS 'The same of 30 days.';
COMMENT ON COLUMN bigbrotr.relay_uptime.outages_30d IS 'Outages in those 30 days.';
COMMENT ON COLUMN bigbrotr.relay_uptime.longest_outage_30d IS 'The longest of them; NULL: none.';
