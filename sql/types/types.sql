-- An event id is a hash over UTF-8 bytes: in any other encoding a stored text could not be hashed again.
DO $$
BEGIN
  IF pg_catalog.getdatabaseencoding() <> 'UTF8' THEN
    RAISE EXCEPTION 'bigbrotr needs a database with encoding UTF8, this one has %', pg_catalog.getdatabaseencoding()
      USING ERRCODE = 'feature_not_supported',
            HINT = 'CREATE DATABASE … ENCODING ''UTF8'' TEMPLATE template0';
  END IF;
END
$$;

CREATE TYPE bigbrotr.network AS ENUM ('clearnet', 'tor', 'i2p', 'loki');
COMMENT ON TYPE bigbrotr.network IS 'Where a relay is reached (the values of the NIP-66 tag n).';

CREATE TYPE bigbrotr.relay_state AS ENUM ('active', 'dead', 'blocked');
COMMENT ON TYPE bigbrotr.relay_state IS
  'active: answers or did lately; dead: silent for a week, tried again with a growing pause; blocked: matched by bigbrotr.block.';

CREATE TYPE bigbrotr.coverage_state AS ENUM (
  'complete', 'capped', 'timeout', 'closed', 'disconnected', 'rate_limited', 'needs_auth', 'refused', 'oversize', 'unsupported');
COMMENT ON TYPE bigbrotr.coverage_state IS 'What is known of a range of created_at on a relay: complete, or why it is not.';

CREATE TYPE bigbrotr.metadata_type AS ENUM ('nip11_info', 'nip66_ssl', 'nip66_dns', 'nip66_geo', 'nip66_net', 'nip66_http');
COMMENT ON TYPE bigbrotr.metadata_type IS 'Which check a document came from.';
