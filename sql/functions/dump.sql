-- Without this pg_dump would keep CREATE EXTENSION and lose every row.
DO $$
DECLARE
  member pg_catalog.regclass;
BEGIN
  FOR member IN
    SELECT c.oid
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_depend AS d
      ON d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.objsubid = 0 AND d.deptype = 'e'
    JOIN pg_catalog.pg_extension AS x
      ON d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.refobjid = x.oid AND x.extname = 'bigbrotr'
    WHERE c.relkind IN ('r', 'S')
    ORDER BY c.oid
  LOOP
    PERFORM pg_catalog.pg_extension_config_dump(member, '');
  END LOOP;
END
$$;

-- Triggers make these again of what is restored.
SELECT pg_catalog.pg_extension_config_dump('bigbrotr.relay_latest', 'WHERE false');
SELECT pg_catalog.pg_extension_config_dump('bigbrotr.relay_holding', 'WHERE false');
