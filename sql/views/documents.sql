-- The newest document of each relay, member by member. metadata.typed holds only what casts.

CREATE VIEW bigbrotr.relay_info AS
SELECT
  r.url AS relay_url,
  m.typed ->> 'name' AS name,
  m.typed ->> 'description' AS description,
  pg_catalog.decode(m.typed ->> 'pubkey', 'hex') AS pubkey,
  pg_catalog.decode(m.typed ->> 'self', 'hex') AS self,
  m.typed ->> 'contact' AS contact,
  m.typed ->> 'software' AS software,
  m.typed ->> 'version' AS version,
  (m.typed ->> 'supported_nips')::integer[] AS supported_nips,
  (m.typed ->> 'supported_nip_names')::text[] AS supported_nip_names,
  (m.typed ->> 'auth_required')::boolean AS auth_required,
  (m.typed ->> 'payment_required')::boolean AS payment_required,
  (m.typed ->> 'restricted_writes')::boolean AS restricted_writes,
  (m.typed ->> 'max_message_length')::bigint AS max_message_length,
  (m.typed ->> 'max_subscriptions')::bigint AS max_subscriptions,
  (m.typed ->> 'max_filters')::bigint AS max_filters,
  (m.typed ->> 'max_limit')::bigint AS max_limit,
  (m.typed ->> 'default_limit')::bigint AS default_limit,
  (m.typed ->> 'max_subid_length')::bigint AS max_subid_length,
  (m.typed ->> 'max_event_tags')::bigint AS max_event_tags,
  (m.typed ->> 'max_content_length')::bigint AS max_content_length,
  (m.typed ->> 'min_pow_difficulty')::integer AS min_pow_difficulty,
  (m.typed ->> 'created_at_lower_limit')::bigint AS created_at_lower_limit,
  (m.typed ->> 'created_at_upper_limit')::bigint AS created_at_upper_limit,
  m.typed ->> 'payments_url' AS payments_url,
  CASE pg_catalog.jsonb_typeof(m.data -> 'fees') WHEN 'object' THEN m.data -> 'fees' END AS fees,
  CASE pg_catalog.jsonb_typeof(m.data -> 'retention') WHEN 'array' THEN m.data -> 'retention' WHEN 'object' THEN pg_catalog.jsonb_build_array(m.data -> 'retention') END AS retention,
  m.typed ->> 'terms_of_service' AS terms_of_service,
  m.typed ->> 'privacy_policy' AS privacy_policy,
  m.typed ->> 'posting_policy' AS posting_policy,
  (m.typed ->> 'relay_countries')::text[] AS relay_countries,
  (m.typed ->> 'language_tags')::text[] AS language_tags,
  (m.typed ->> 'tags')::text[] AS tags,
  (m.typed ->> 'attributes')::text[] AS attributes,
  m.typed ->> 'icon' AS icon,
  m.typed ->> 'banner' AS banner,
  l.metadata_id AS metadata_id,
  l.first_seen_at,
  l.last_seen_at
FROM bigbrotr.relay AS r
CROSS JOIN LATERAL (
  SELECT x.metadata_id, x.first_seen_at, x.last_seen_at
  FROM bigbrotr.relay_metadata AS x
  WHERE x.relay_id = r.id AND x.type = 'nip11_info'
  ORDER BY x.first_seen_at DESC
  LIMIT 1
) AS l
JOIN bigbrotr.metadata AS m ON m.id = l.metadata_id AND m.type = 'nip11_info';
COMMENT ON VIEW bigbrotr.relay_info IS 'What each relay says of itself in its newest NIP-11 document: claims. What cannot be understood is NULL and discards nothing else.';
COMMENT ON COLUMN bigbrotr.relay_info.relay_url IS 'relay.url.';
COMMENT ON COLUMN bigbrotr.relay_info.name IS 'What it calls itself. A text is NULL when it is blank or no string.';
COMMENT ON COLUMN bigbrotr.relay_info.description IS 'What it says about itself.';
COMMENT ON COLUMN bigbrotr.relay_info.pubkey IS 'Key of the operator, from hex, npub or nprofile.';
COMMENT ON COLUMN bigbrotr.relay_info.self IS 'Key of the relay itself, likewise.';
COMMENT ON COLUMN bigbrotr.relay_info.contact IS 'How to reach the operator.';
COMMENT ON COLUMN bigbrotr.relay_info.software IS 'What it runs.';
COMMENT ON COLUMN bigbrotr.relay_info.version IS 'Version of that.';
COMMENT ON COLUMN bigbrotr.relay_info.supported_nips IS 'Numbers of the NIPs it claims, ascending, each once; strings, a lone value and lists in a string are understood; NULL: none.';
COMMENT ON COLUMN bigbrotr.relay_info.supported_nip_names IS 'NIPs whose two digits are no decimal number, such as 7D and C7, in upper case.';
COMMENT ON COLUMN bigbrotr.relay_info.auth_required IS 'limitation: whether one has to authenticate (NIP-42). A boolean may be given as 1, 0 or a word.';
COMMENT ON COLUMN bigbrotr.relay_info.payment_required IS 'limitation: whether one has to pay.';
COMMENT ON COLUMN bigbrotr.relay_info.restricted_writes IS 'limitation: whether some condition has to be met to write.';
COMMENT ON COLUMN bigbrotr.relay_info.max_message_length IS 'limitation: bytes of a message. A number may be given as a string, loses its fraction, and is NULL when it is negative or no bigint.';
COMMENT ON COLUMN bigbrotr.relay_info.max_subscriptions IS 'limitation: subscriptions of one connection.';
COMMENT ON COLUMN bigbrotr.relay_info.max_filters IS 'limitation: filters of one subscription (no longer in the NIP).';
COMMENT ON COLUMN bigbrotr.relay_info.max_limit IS 'limitation: highest limit of a filter.';
COMMENT ON COLUMN bigbrotr.relay_info.default_limit IS 'limitation: limit of a filter that names none.';
COMMENT ON COLUMN bigbrotr.relay_info.max_subid_length IS 'limitation: characters of a subscription id.';
COMMENT ON COLUMN bigbrotr.relay_info.max_event_tags IS 'limitation: tags of an event.';
COMMENT ON COLUMN bigbrotr.relay_info.max_content_length IS 'limitation: characters of an events content.';
COMMENT ON COLUMN bigbrotr.relay_info.min_pow_difficulty IS 'limitation: bits of work an event must show (NIP-13), 0 to 256.';
COMMENT ON COLUMN bigbrotr.relay_info.created_at_lower_limit IS 'limitation: how old an event may be, seconds; some relays give a unix time. May be negative.';
COMMENT ON COLUMN bigbrotr.relay_info.created_at_upper_limit IS 'limitation: how far ahead an event may be, seconds; likewise.';
COMMENT ON COLUMN bigbrotr.relay_info.payments_url IS 'Where to pay.';
COMMENT ON COLUMN bigbrotr.relay_info.fees IS 'What costs how much, as the relay writes it; NULL unless it is a JSON object.';
COMMENT ON COLUMN bigbrotr.relay_info.retention IS 'How long it keeps which kinds, as the relay writes it (no longer in the NIP); NULL unless it is a JSON array or object.';
COMMENT ON COLUMN bigbrotr.relay_info.terms_of_service IS 'Where its terms are.';
COMMENT ON COLUMN bigbrotr.relay_info.privacy_policy IS 'Where its privacy policy is (no longer in the NIP).';
COMMENT ON COLUMN bigbrotr.relay_info.posting_policy IS 'Where its posting policy is (no longer in the NIP).';
COMMENT ON COLUMN bigbrotr.relay_info.relay_countries IS 'Countries whose law it says it is under; a lone string is understood; NULL: none.';
COMMENT ON COLUMN bigbrotr.relay_info.language_tags IS 'Languages it is for.';
COMMENT ON COLUMN bigbrotr.relay_info.tags IS 'Limits to the topics, such as sfw-only.';
COMMENT ON COLUMN bigbrotr.relay_info.attributes IS 'What kind of relay it says it is (not in the NIP).';
COMMENT ON COLUMN bigbrotr.relay_info.icon IS 'URL of its icon.';
COMMENT ON COLUMN bigbrotr.relay_info.banner IS 'URL of its banner.';
COMMENT ON COLUMN bigbrotr.relay_info.metadata_id IS 'metadata.id: the whole document is there.';
COMMENT ON COLUMN bigbrotr.relay_info.first_seen_at IS 'The check that first gave this document.';
COMMENT ON COLUMN bigbrotr.relay_info.last_seen_at IS 'The last check that gave it.';

CREATE VIEW bigbrotr.relay_certificate AS
SELECT
  r.url AS relay_url,
  (m.typed ->> 'valid')::boolean AS valid,
  m.typed ->> 'error' AS error,
  m.typed ->> 'subject' AS subject,
  m.typed ->> 'subject_cn' AS subject_cn,
  m.typed ->> 'issuer' AS issuer,
  m.typed ->> 'issuer_cn' AS issuer_cn,
  pg_catalog.to_timestamp((m.typed ->> 'not_before')::double precision) AS not_before,
  pg_catalog.to_timestamp((m.typed ->> 'not_after')::double precision) AS not_after,
  pg_catalog.to_timestamp((m.typed ->> 'not_after')::double precision) - pg_catalog.now() AS expires_in,
  (m.typed ->> 'sans')::text[] AS sans,
  m.typed ->> 'serial' AS serial,
  pg_catalog.decode(m.typed ->> 'fingerprint', 'hex') AS fingerprint,
  m.typed ->> 'protocol' AS protocol,
  m.typed ->> 'cipher' AS cipher,
  m.typed ->> 'signature_algorithm' AS signature_algorithm,
  m.typed ->> 'key_algorithm' AS key_algorithm,
  (m.typed ->> 'key_bits')::integer AS key_bits,
  (m.typed ->> 'chain_length')::integer AS chain_length,
  l.first_seen_at,
  l.last_seen_at
FROM bigbrotr.relay AS r
CROSS JOIN LATERAL (
  SELECT x.metadata_id, x.first_seen_at, x.last_seen_at
  FROM bigbrotr.relay_metadata AS x
  WHERE x.relay_id = r.id AND x.type = 'nip66_ssl'
  ORDER BY x.first_seen_at DESC
  LIMIT 1
) AS l
JOIN bigbrotr.metadata AS m ON m.id = l.metadata_id AND m.type = 'nip66_ssl';
COMMENT ON VIEW bigbrotr.relay_certificate IS 'The newest certificate and TLS session of each relay.';
COMMENT ON COLUMN bigbrotr.relay_certificate.relay_url IS 'relay.url.';
COMMENT ON COLUMN bigbrotr.relay_certificate.valid IS 'Whether a client would trust it for this host now.';
COMMENT ON COLUMN bigbrotr.relay_certificate.error IS 'Why not.';
COMMENT ON COLUMN bigbrotr.relay_certificate.subject IS 'Whom it names.';
COMMENT ON COLUMN bigbrotr.relay_certificate.subject_cn IS 'Common name of that.';
COMMENT ON COLUMN bigbrotr.relay_certificate.issuer IS 'Who signed it.';
COMMENT ON COLUMN bigbrotr.relay_certificate.issuer_cn IS 'Common name of that.';
COMMENT ON COLUMN bigbrotr.relay_certificate.not_before IS 'From when it is good.';
COMMENT ON COLUMN bigbrotr.relay_certificate.not_after IS 'Until when.';
COMMENT ON COLUMN bigbrotr.relay_certificate.expires_in IS 'Time left; negative: expired.';
COMMENT ON COLUMN bigbrotr.relay_certificate.sans IS 'Names and addresses it is for.';
COMMENT ON COLUMN bigbrotr.relay_certificate.serial IS 'Serial number, hex.';
COMMENT ON COLUMN bigbrotr.relay_certificate.fingerprint IS 'SHA-256 of it.';
COMMENT ON COLUMN bigbrotr.relay_certificate.protocol IS 'TLS version agreed upon.';
COMMENT ON COLUMN bigbrotr.relay_certificate.cipher IS 'Cipher suite agreed upon.';
COMMENT ON COLUMN bigbrotr.relay_certificate.signature_algorithm IS 'How it is signed.';
COMMENT ON COLUMN bigbrotr.relay_certificate.key_algorithm IS 'Kind of its key.';
COMMENT ON COLUMN bigbrotr.relay_certificate.key_bits IS 'Size of its key.';
COMMENT ON COLUMN bigbrotr.relay_certificate.chain_length IS 'Certificates the server sent.';
COMMENT ON COLUMN bigbrotr.relay_certificate.first_seen_at IS 'The check that first gave this document.';
COMMENT ON COLUMN bigbrotr.relay_certificate.last_seen_at IS 'The last check that gave it.';

CREATE VIEW bigbrotr.relay_dns AS
SELECT
  r.url AS relay_url,
  (m.typed ->> 'a')::text[] AS a,
  (m.typed ->> 'aaaa')::text[] AS aaaa,
  (m.typed ->> 'cname')::text[] AS cname,
  (m.typed ->> 'ns')::text[] AS ns,
  (m.typed ->> 'ptr')::text[] AS ptr,
  (m.typed ->> 'ttl')::bigint AS ttl,
  l.first_seen_at,
  l.last_seen_at
FROM bigbrotr.relay AS r
CROSS JOIN LATERAL (
  SELECT x.metadata_id, x.first_seen_at, x.last_seen_at
  FROM bigbrotr.relay_metadata AS x
  WHERE x.relay_id = r.id AND x.type = 'nip66_dns'
  ORDER BY x.first_seen_at DESC
  LIMIT 1
) AS l
JOIN bigbrotr.metadata AS m ON m.id = l.metadata_id AND m.type = 'nip66_dns';
COMMENT ON VIEW bigbrotr.relay_dns IS 'The newest DNS records of each relay.';
COMMENT ON COLUMN bigbrotr.relay_dns.relay_url IS 'relay.url.';
COMMENT ON COLUMN bigbrotr.relay_dns.a IS 'IPv4 addresses.';
COMMENT ON COLUMN bigbrotr.relay_dns.aaaa IS 'IPv6 addresses.';
COMMENT ON COLUMN bigbrotr.relay_dns.cname IS 'Names it leads through, in that order.';
COMMENT ON COLUMN bigbrotr.relay_dns.ns IS 'Name servers of its domain.';
COMMENT ON COLUMN bigbrotr.relay_dns.ptr IS 'Names of its addresses.';
COMMENT ON COLUMN bigbrotr.relay_dns.ttl IS 'Highest remaining time to live seen while nothing else changed, seconds.';
COMMENT ON COLUMN bigbrotr.relay_dns.first_seen_at IS 'The check that first gave this document.';
COMMENT ON COLUMN bigbrotr.relay_dns.last_seen_at IS 'The last check that gave it.';

CREATE VIEW bigbrotr.relay_geo AS
SELECT
  r.url AS relay_url,
  m.typed ->> 'ip' AS ip,
  m.typed ->> 'country' AS country,
  m.typed ->> 'country_name' AS country_name,
  m.typed ->> 'continent' AS continent,
  (m.typed ->> 'is_eu')::boolean AS is_eu,
  m.typed ->> 'region' AS region,
  m.typed ->> 'city' AS city,
  m.typed ->> 'postal' AS postal,
  (m.typed ->> 'latitude')::double precision AS latitude,
  (m.typed ->> 'longitude')::double precision AS longitude,
  (m.typed ->> 'accuracy_km')::integer AS accuracy_km,
  m.typed ->> 'time_zone' AS time_zone,
  m.typed ->> 'geohash' AS geohash,
  (m.typed ->> 'geoname_id')::bigint AS geoname_id,
  l.first_seen_at,
  l.last_seen_at
FROM bigbrotr.relay AS r
CROSS JOIN LATERAL (
  SELECT x.metadata_id, x.first_seen_at, x.last_seen_at
  FROM bigbrotr.relay_metadata AS x
  WHERE x.relay_id = r.id AND x.type = 'nip66_geo'
  ORDER BY x.first_seen_at DESC
  LIMIT 1
) AS l
JOIN bigbrotr.metadata AS m ON m.id = l.metadata_id AND m.type = 'nip66_geo';
COMMENT ON VIEW bigbrotr.relay_geo IS 'Where the address of each relay is.';
COMMENT ON COLUMN bigbrotr.relay_geo.relay_url IS 'relay.url.';
COMMENT ON COLUMN bigbrotr.relay_geo.ip IS 'Address it was looked up for.';
COMMENT ON COLUMN bigbrotr.relay_geo.country IS 'ISO 3166-1 code.';
COMMENT ON COLUMN bigbrotr.relay_geo.country_name IS 'In English.';
COMMENT ON COLUMN bigbrotr.relay_geo.continent IS 'Code of the continent.';
COMMENT ON COLUMN bigbrotr.relay_geo.is_eu IS 'Whether the country is in the European Union.';
COMMENT ON COLUMN bigbrotr.relay_geo.region IS 'First subdivision.';
COMMENT ON COLUMN bigbrotr.relay_geo.city IS 'In English.';
COMMENT ON COLUMN bigbrotr.relay_geo.postal IS 'Postal code.';
COMMENT ON COLUMN bigbrotr.relay_geo.latitude IS 'Degrees north.';
COMMENT ON COLUMN bigbrotr.relay_geo.longitude IS 'Degrees east.';
COMMENT ON COLUMN bigbrotr.relay_geo.accuracy_km IS 'How far off that may be.';
COMMENT ON COLUMN bigbrotr.relay_geo.time_zone IS 'IANA name.';
COMMENT ON COLUMN bigbrotr.relay_geo.geohash IS 'The place as a geohash.';
COMMENT ON COLUMN bigbrotr.relay_geo.geoname_id IS 'The city, else the country, in GeoNames.';
COMMENT ON COLUMN bigbrotr.relay_geo.first_seen_at IS 'The check that first gave this document.';
COMMENT ON COLUMN bigbrotr.relay_geo.last_seen_at IS 'The last check that gave it.';

CREATE VIEW bigbrotr.relay_net AS
SELECT
  r.url AS relay_url,
  m.typed ->> 'ip' AS ip,
  (m.typed ->> 'asn')::bigint AS asn,
  m.typed ->> 'asn_org' AS asn_org,
  m.typed ->> 'network' AS network,
  m.typed ->> 'ip_v6' AS ip_v6,
  (m.typed ->> 'asn_v6')::bigint AS asn_v6,
  m.typed ->> 'asn_org_v6' AS asn_org_v6,
  m.typed ->> 'network_v6' AS network_v6,
  l.first_seen_at,
  l.last_seen_at
FROM bigbrotr.relay AS r
CROSS JOIN LATERAL (
  SELECT x.metadata_id, x.first_seen_at, x.last_seen_at
  FROM bigbrotr.relay_metadata AS x
  WHERE x.relay_id = r.id AND x.type = 'nip66_net'
  ORDER BY x.first_seen_at DESC
  LIMIT 1
) AS l
JOIN bigbrotr.metadata AS m ON m.id = l.metadata_id AND m.type = 'nip66_net';
COMMENT ON VIEW bigbrotr.relay_net IS 'Whose network the addresses of each relay are in.';
COMMENT ON COLUMN bigbrotr.relay_net.relay_url IS 'relay.url.';
COMMENT ON COLUMN bigbrotr.relay_net.ip IS 'IPv4 address.';
COMMENT ON COLUMN bigbrotr.relay_net.asn IS 'Autonomous system it belongs to.';
COMMENT ON COLUMN bigbrotr.relay_net.asn_org IS 'Who runs that.';
COMMENT ON COLUMN bigbrotr.relay_net.network IS 'Its network.';
COMMENT ON COLUMN bigbrotr.relay_net.ip_v6 IS 'IPv6 address.';
COMMENT ON COLUMN bigbrotr.relay_net.asn_v6 IS 'The same of that.';
COMMENT ON COLUMN bigbrotr.relay_net.asn_org_v6 IS 'The same of that.';
COMMENT ON COLUMN bigbrotr.relay_net.network_v6 IS 'The same of that.';
COMMENT ON COLUMN bigbrotr.relay_net.first_seen_at IS 'The check that first gave this document.';
COMMENT ON COLUMN bigbrotr.relay_net.last_seen_at IS 'The last check that gave it.';

CREATE VIEW bigbrotr.relay_http AS
SELECT
  r.url AS relay_url,
  m.typed ->> 'server' AS server,
  m.typed ->> 'powered_by' AS powered_by,
  m.typed ->> 'via' AS via,
  m.typed ->> 'alt_svc' AS alt_svc,
  m.typed ->> 'strict_transport_security' AS strict_transport_security,
  m.typed ->> 'websocket_protocol' AS websocket_protocol,
  m.typed ->> 'websocket_extensions' AS websocket_extensions,
  CASE pg_catalog.jsonb_typeof(m.data) WHEN 'object' THEN m.data END AS headers,
  l.first_seen_at,
  l.last_seen_at
FROM bigbrotr.relay AS r
CROSS JOIN LATERAL (
  SELECT x.metadata_id, x.first_seen_at, x.last_seen_at
  FROM bigbrotr.relay_metadata AS x
  WHERE x.relay_id = r.id AND x.type = 'nip66_http'
  ORDER BY x.first_seen_at DESC
  LIMIT 1
) AS l
JOIN bigbrotr.metadata AS m ON m.id = l.metadata_id AND m.type = 'nip66_http';
COMMENT ON VIEW bigbrotr.relay_http IS 'The newest headers of each relays answer to the WebSocket upgrade.';
COMMENT ON COLUMN bigbrotr.relay_http.relay_url IS 'relay.url.';
COMMENT ON COLUMN bigbrotr.relay_http.server IS 'server.';
COMMENT ON COLUMN bigbrotr.relay_http.powered_by IS 'x-powered-by.';
COMMENT ON COLUMN bigbrotr.relay_http.via IS 'via.';
COMMENT ON COLUMN bigbrotr.relay_http.alt_svc IS 'alt-svc.';
COMMENT ON COLUMN bigbrotr.relay_http.strict_transport_security IS 'strict-transport-security.';
COMMENT ON COLUMN bigbrotr.relay_http.websocket_protocol IS 'sec-websocket-protocol.';
COMMENT ON COLUMN bigbrotr.relay_http.websocket_extensions IS 'sec-websocket-extensions.';
COMMENT ON COLUMN bigbrotr.relay_http.headers IS 'All that were kept, by lowercase name.';
COMMENT ON COLUMN bigbrotr.relay_http.first_seen_at IS 'The check that first gave this document.';
COMMENT ON COLUMN bigbrotr.relay_http.last_seen_at IS 'The last check that gave it.';
