//! The documentation: its SQL runs, its links lead somewhere, and it names every setting as it is.

use std::{fs, path::PathBuf};

use bigbrotr_tests::{Cluster, ClusterOptions, Generator, Spec, demo, paths};
use tokio_postgres::{Client, SimpleQueryMessage};

/// README.md and docs/*.md.
fn documents() -> Vec<(PathBuf, String)> {
    let root = paths::workspace_root();
    let docs = fs::read_dir(root.join("docs")).expect("docs/").filter_map(|entry| Some(entry.ok()?.path()));
    let mut files: Vec<_> = docs.filter(|file| file.extension().is_some_and(|extension| extension == "md")).collect();
    files.push(root.join("README.md"));
    files.sort();
    files.into_iter().map(|file| (file.clone(), fs::read_to_string(file).expect("text"))).collect()
}

/// Line and text of the blocks whose info string is this.
fn blocks(text: &str, info: &str) -> Vec<(usize, String)> {
    let mut blocks = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if let Some(found) = line.strip_prefix("```") {
            let body: Vec<_> = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
            if found == info {
                blocks.push((number + 1, body.join("\n")));
            }
        }
    }
    blocks
}

async fn archive(cluster: &Cluster) -> Client {
    cluster.create_database("observatory").await;
    let client = cluster.connect("observatory").await;
    client.batch_execute("CREATE EXTENSION bigbrotr").await.expect("created");
    let events = Generator::new(5).corpus(200, &Spec::default());
    let list: Vec<String> = events.iter().map(ToString::to_string).collect();
    for url in ["wss://relay.damus.io", "wss://nos.lol"] {
        client.query("SELECT bigbrotr.event_insert($1, $2)", &[&list, &url]).await.expect("archived");
    }
    client
}

#[tokio::test]
async fn sql_of_the_documentation_runs() {
    let cluster = Cluster::start(ClusterOptions::preloaded());
    let client = archive(&cluster).await;
    let mut ran = 0;
    for (file, text) in documents() {
        for (line, sql) in blocks(&text, "sql") {
            let place = format!("{}:{line}", file.display());
            client.batch_execute("BEGIN").await.expect("begun");
            client.simple_query(&sql).await.unwrap_or_else(|error| panic!("{place}: {error:?}\n{sql}"));
            client.batch_execute("ROLLBACK").await.expect("undone");
            ran += 1;
        }
    }
    assert!(ran >= 15, "{ran} blocks");
}

#[tokio::test]
async fn results_shown_in_comments_are_what_comes_out() {
    let cluster = Cluster::start(ClusterOptions::preloaded());
    let client = archive(&cluster).await;
    let mut compared = 0;
    for (file, text) in documents() {
        for (line, block) in blocks(&text, "sql") {
            // A statement on lines of its own, then one comment line with its result.
            for statement in block.split("\n\n") {
                let Some((sql, shown)) = statement.split_once("\n-- ") else { continue };
                if shown.contains('\n') || !sql.trim_end().ends_with(';') {
                    continue;
                }
                let rows = client.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
                let first = rows.iter().find_map(|message| match message {
                    SimpleQueryMessage::Row(row) => row.get(0),
                    _ => None,
                });
                assert_eq!(first, Some(shown), "{}:{line}: {sql}", file.display());
                compared += 1;
            }
        }
    }
    assert!(compared >= 2, "{compared} results");
}

#[tokio::test]
async fn every_setting_is_documented_as_it_is() {
    let cluster = Cluster::start(ClusterOptions::preloaded());
    let client = cluster.connect("postgres").await;
    let file = paths::workspace_root().join("docs/configuration.md");
    let text = fs::read_to_string(file).expect("text");
    let settings = client
        .query(
            "SELECT name, vartype, coalesce(unit, CASE name WHEN 'bigbrotr.sync_since' THEN 'unix s' END), boot_val, min_val, max_val, context = 'sighup'
             FROM pg_settings WHERE name LIKE 'bigbrotr.%'",
            &[],
        )
        .await
        .expect("settings");
    assert!(settings.len() > 40);
    for row in &settings {
        let name: String = row.get(0);
        let cells = text.lines().find_map(|line| line.strip_prefix(&format!("| `{name}` | ")));
        let cells: Vec<_> =
            cells.unwrap_or_else(|| panic!("{name} is not documented")).split('|').map(str::trim).collect();
        let unit = row.get::<_, Option<String>>(2).map_or(String::new(), |unit| format!(", {unit}"));
        match row.get::<_, String>(1).as_str() {
            "string" => assert!(["list", "text"].contains(&cells[0]), "{name}: {}", cells[0]),
            kind => assert_eq!(cells[0], format!("{kind}{unit}"), "{name}"),
        }
        let default: Option<String> = row.get(3);
        let default =
            default.filter(|value| !value.is_empty()).map_or("empty".to_owned(), |value| format!("`{value}`"));
        assert_eq!(cells[1], default, "{name}");
        if let (Some(min), Some(max)) = (row.get::<_, Option<String>>(4), row.get::<_, Option<String>>(5)) {
            assert_eq!(cells[2], format!("{min}–{max}"), "{name}");
        }
        assert_eq!(cells[3], if row.get(6) { "server" } else { "database" }, "{name}");
    }
    let documented = text.lines().filter(|line| line.starts_with("| `bigbrotr.")).count();
    assert_eq!(documented, settings.len(), "a setting that does not exist is documented, or one twice");
}

#[tokio::test]
async fn public_functions_and_views_are_in_the_reference() {
    let cluster = Cluster::start(ClusterOptions::preloaded());
    let client = archive(&cluster).await;
    let file = paths::workspace_root().join("docs/sql-reference.md");
    let text = fs::read_to_string(file).expect("text");
    // Columns of the views are listed in their order.
    let views = "
        SELECT c.relname, string_agg(a.attname, ', ' ORDER BY a.attnum)
        FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0
        WHERE c.relnamespace = 'bigbrotr'::regnamespace AND c.relkind = 'v'
          AND obj_description(c.oid) !~ '^Internal' GROUP BY c.relname";
    for row in client.query(views, &[]).await.expect("views") {
        let (name, columns): (String, String) = (row.get(0), row.get(1));
        let listed = text.lines().find_map(|line| line.strip_prefix(&format!("| `{name}` | ")));
        let listed = listed.unwrap_or_else(|| panic!("{name} is not in the reference"));
        assert!(listed.starts_with("as `event`") || listed.trim_end_matches(" |") == columns, "{name}: {columns}");
    }
    let granted = "
        SELECT DISTINCT p.proname FROM pg_proc AS p
        WHERE p.pronamespace = 'bigbrotr'::regnamespace AND has_function_privilege('bigbrotr_writer', p.oid, 'EXECUTE')
          AND obj_description(p.oid) !~ '^Internal'";
    for row in client.query(granted, &[]).await.expect("functions") {
        let name: String = row.get(0);
        let helper = [
            "sighting_members",
            "sighting_has",
            "body_content",
            "body_d_tag",
            "body_expiration",
            "body_raw",
            "body_sig",
            "body_size",
            "body_tag_hashes",
            "body_tags",
            "mostly",
            "tag_hash",
            "tag_hashes",
            "d_tag",
            "expiration",
            "kind_category",
            "sync_filter_hash",
            "sync_since",
        ];
        assert!(
            helper.contains(&name.as_str()) || text.contains(&format!("{name}(")),
            "{name} is not in the reference"
        );
    }
}

#[test]
fn links_lead_somewhere() {
    for (file, text) in documents() {
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = link.split('#').next().unwrap_or_default();
            if path.is_empty() || path.contains("://") {
                continue;
            }
            let target = file.parent().expect("a folder").join(path);
            assert!(target.exists(), "{}: {link}", file.display());
        }
    }
}

#[tokio::test]
async fn queries_the_demo_suggests_run() {
    let cluster = Cluster::start(ClusterOptions::preloaded());
    let client = archive(&cluster).await;
    client.simple_query(demo::QUERIES).await.unwrap_or_else(|error| panic!("{error:?}"));
}
