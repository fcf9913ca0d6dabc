//! `\d+` explains everything: each object has a comment.

use crate::support::{database, rows};

#[tokio::test]
async fn every_object_has_a_comment() {
    let (_, client) = database().await;
    let uncommented = "
        SELECT pg_describe_object(d.classid, d.objid, 0)
        FROM pg_depend AS d
        JOIN pg_extension AS x ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = x.oid AND x.extname = 'bigbrotr'
        WHERE d.deptype = 'e'
          -- Row types and array types come with their tables and enums.
          AND NOT EXISTS (SELECT FROM pg_type AS t WHERE d.classid = 'pg_type'::regclass AND t.oid = d.objid
                          AND (t.typrelid <> 0 OR t.typelem <> 0))
          AND obj_description(d.objid, (SELECT relname FROM pg_class WHERE oid = d.classid)) IS NULL";
    assert_eq!(rows(&client, uncommented).await, Vec::<String>::new());
    let columns = "
        SELECT c.relname, a.attname
        FROM pg_class AS c
        JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        WHERE c.relnamespace = 'bigbrotr'::regnamespace AND c.relkind IN ('r', 'v', 'm', 'p')
          AND col_description(c.oid, a.attnum) IS NULL";
    assert_eq!(rows(&client, columns).await, Vec::<String>::new());
    let members = "
        SELECT count(*) > 100 FROM pg_depend AS d JOIN pg_extension AS x ON d.refobjid = x.oid
        WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND x.extname = 'bigbrotr'";
    assert_eq!(rows(&client, members).await, ["t"]);
}

#[tokio::test]
async fn every_table_is_dumped_and_has_a_primary_key() {
    let (_, client) = database().await;
    let lost = "
        SELECT c.oid::regclass
        FROM pg_class AS c, pg_extension AS x
        WHERE x.extname = 'bigbrotr' AND c.relnamespace = 'bigbrotr'::regnamespace AND c.relkind IN ('r', 'S')
          AND NOT c.oid = ANY (x.extconfig)";
    assert_eq!(rows(&client, lost).await, Vec::<String>::new());
    let keyless = "
        SELECT c.oid::regclass
        FROM pg_class AS c
        WHERE c.relnamespace = 'bigbrotr'::regnamespace AND c.relkind = 'r'
          AND NOT EXISTS (SELECT FROM pg_index AS i WHERE i.indrelid = c.oid AND i.indisprimary)";
    assert_eq!(rows(&client, keyless).await, Vec::<String>::new());
}

#[tokio::test]
async fn every_function_is_safe_from_the_callers_search_path() {
    let (_, client) = database().await;
    // Either the path is pinned, or the function is in C, or it is inlined and qualifies every name in its body.
    let open = r"
        SELECT p.oid::regprocedure
        FROM pg_proc AS p
        JOIN pg_language AS l ON l.oid = p.prolang
        WHERE p.pronamespace = 'bigbrotr'::regnamespace AND l.lanname <> 'c'
          AND NOT coalesce(p.proconfig::text LIKE '%search_path%', false)
          AND NOT (l.lanname = 'sql' AND p.provolatile = 'i' AND NOT p.prosecdef)";
    assert_eq!(rows(&client, open).await, Vec::<String>::new());
}
