//! Every function is called, and those of the contract do what it says.

use std::collections::BTreeSet;

use tokio_postgres::error::SqlState;

use crate::support::{database, event, id, quote, refusal, rows, text};

/// Each function with a call of it that succeeds. `$E` is an event as a literal, `$I` its id as one.
const CALLS: &[(&str, &str)] = &[
    ("add_candidates(text[],text)", "add_candidates(ARRAY['wss://nos.lol'], 'event')"),
    ("add_relay(text)", "add_relay('wss://nos.lol')"),
    ("add_seen(integer,bytea[],bigint[])", "add_seen(1, '{}', '{}')"),
    (
        "admit_candidate(text,text,text,jsonb,integer[])",
        "admit_candidate('wss://nos.lol', 'wss://nos.lol', NULL, NULL, '{}')",
    ),
    ("recheck_aliases(integer)", "recheck_aliases(10)"),
    ("record_alias(text,integer,text,jsonb)", "record_alias('wss://nos.lol/x', 1, 'the same', '{}')"),
    ("relay_domain(text)", "relay_domain('wss://nos.lol')"),
    ("relay_host(text)", "relay_host('wss://nos.lol')"),
    ("relay_url_merits(text)", "relay_url_merits('wss://nos.lol/x')"),
    ("is_better_url(text,text)", "is_better_url('wss://nos.lol', 'wss://nos.lol/x')"),
    ("add_twin(text,text)", "add_twin('wss://nos.lol', 'ws://nos.lol')"),
    ("yield_places(text[],integer,text[])", "yield_places('{nos.lol}', 1, '{}')"),
    ("relay_path(text)", "relay_path('wss://nos.lol/x')"),
    ("relay_suspects(text,integer[])", "relay_suspects('wss://nos.lol/x', '{}')"),
    ("retry_pause(integer,boolean)", "retry_pause(1, false)"),
    (
        "merge_candidate(text,text,integer,text,jsonb)",
        "merge_candidate('wss://nos.lol/x', 'wss://nos.lol/x', (SELECT min(id) FROM bigbrotr.relay), 'the same', '{}')",
    ),
    ("add_sightings(integer,bigint[],bigint[])", "add_sightings(1, '{1700000000}', '{1}')"),
    ("address_target(integer,bytea,text)", "address_target(30023, '\\x00', 'd')"),
    ("analyze_next()", "analyze_next()"),
    ("api_source_done(text,text,integer)", "api_source_done('https://a.com', NULL, 3)"),
    ("apply_blocks()", "apply_blocks()"),
    (
        "archive(bytea[],bigint[],bigint[],bigint,bigint,integer[],bytea[],integer[],integer[],bytea[],integer[],integer[],boolean)",
        "archive('{}', '{}', '{}', 0, 0, '{}', '{}', '{}', '{}', '{}', '{}', '{}', true)",
    ),
    ("archive_size()", "archive_size()"),
    ("author_ids(bytea[])", "author_ids(ARRAY[$I])"),
    ("author_count(integer[])", "author_count('{1}')"),
    ("body_content(bytea)", "body_content(body) FROM bigbrotr.stored_event"),
    ("body_d_tag(bytea)", "body_d_tag(body) FROM bigbrotr.stored_event"),
    ("body_expiration(bytea)", "body_expiration(body) FROM bigbrotr.stored_event"),
    ("body_raw(bytea,bytea,bigint,integer)", "body_raw(body, $I, 1, 1) FROM bigbrotr.stored_event"),
    ("body_sig(bytea)", "body_sig(body) FROM bigbrotr.stored_event"),
    ("body_size(bytea)", "body_size(body) FROM bigbrotr.stored_event"),
    ("body_tag_hashes(bytea)", "body_tag_hashes(body) FROM bigbrotr.stored_event"),
    ("body_tags(bytea)", "body_tags(body) FROM bigbrotr.stored_event"),
    ("canonical_json(jsonb)", "canonical_json('{}')"),
    ("candidate_limit(text)", "candidate_limit('max_candidates')"),
    ("candidate_room()", "candidate_room()"),
    ("check_now()", "check_now()"),
    ("claim_api_sources()", "claim_api_sources()"),
    ("claim_candidates(integer,integer,text[],boolean)", "claim_candidates(1, 60, '{clearnet}', true)"),
    ("claim_checks(integer,integer,integer,text[])", "claim_checks(1, 60, 60, '{clearnet}')"),
    ("claim_relays(integer,integer,text[],boolean,text[])", "claim_relays(1, 60, '{clearnet}', true, '{a,b:1}')"),
    ("complete_ranges(integer,bytea)", "complete_ranges(1, '\\x00')"),
    ("content_hash(jsonb)", "content_hash('{}')"),
    ("count_sync(integer,bigint,bigint,bigint,double precision)", "count_sync(1, 1, 2, 1, 0.5)"),
    ("cover(integer,bytea,text[],text[])", "cover(1, '\\x00', '{complete}', ARRAY['{[0,1)}'])"),
    ("cover_live(integer,bytea,text,bigint)", "cover_live(1, '\\x00', '{[1,2)}', 2)"),
    ("d_tag(jsonb)", "d_tag('[[\"d\", \"x\"]]')"),
    ("defer_candidates(text[],integer)", "defer_candidates(ARRAY['wss://nos.lol'], 60)"),
    ("defer_checks(integer[],integer[])", "defer_checks('{1}', '{60}')"),
    ("delete_events(bigint[])", "delete_events('{1}')"),
    ("deletion_targets(bytea,bytea,bigint,jsonb)", "deletion_targets('\\x00', '\\x00', 1, '[[\"e\", \"00\"]]')"),
    ("disk_free()", "disk_free()"),
    ("enrol_relays()", "enrol_relays()"),
    ("event_id(text)", "event_id($E)"),
    ("event_insert(text[],text)", "event_insert(ARRAY[$E], 'wss://nos.lol')"),
    ("event_floor()", "event_floor()"),
    ("event_json(bigbrotr.event)", "event_json(e) FROM bigbrotr.event AS e"),
    ("event_json(bigbrotr.visible_event)", "event_json(e) FROM bigbrotr.visible_event AS e"),
    ("event_refusal(bytea)", "event_refusal('x')"),
    (
        "event_to_json(bytea,bytea,bigint,integer,text,text,bytea,bytea)",
        "event_to_json($I, $I, 1, 1, '[]', '', $I || $I, NULL)",
    ),
    ("event_verify(text)", "event_verify($E)"),
    ("expiration(jsonb)", "expiration('[[\"expiration\", \"5\"]]')"),
    ("expire_candidates(integer)", "expire_candidates(10)"),
    ("expire_evidence(integer)", "expire_evidence(10)"),
    ("extend_leases(integer[],integer)", "extend_leases('{1}', 60)"),
    ("extension_created()", "extension_created()"),
    ("extract_relay_urls(text)", "extract_relay_urls('wss://nos.lol')"),
    ("fail_candidate(text,text,boolean)", "fail_candidate('wss://nos.lol', 'tcp: refused', true)"),
    ("filter_condition(text)", "filter_condition('{}')"),
    ("filter_limit(text)", "filter_limit('{\"limit\": 1}')"),
    ("finder_advance(bigint)", "finder_advance(1)"),
    ("finder_batch(bigint,integer)", "finder_batch(NULL, 10)"),
    ("held_items(integer,text,bigint,bigint,integer)", "held_items(1, '{}', 0, 5, 10)"),
    ("is_blocked(text)", "is_blocked('wss://nos.lol')"),
    ("json_path_values(text,text)", "json_path_values('[\"a\"]', '$[*]')"),
    ("json_string(jsonb,text)", "json_string('{\"a\": \"b\"}', 'a')"),
    ("kind_category(integer)", "kind_category(0)"),
    ("known_events(bytea[])", "known_events(ARRAY[$I])"),
    ("live_size()", "live_size()"),
    ("lock_archive()", "lock_archive()"),
    ("maintain(integer,integer,integer)", "maintain(1, 1, 10)"),
    ("merge_author_hashes(integer[],integer[])", "merge_author_hashes('{1,2}', '{0}')"),
    (
        "name_candidates(text[],text,integer[],integer[],integer[],integer[],integer[],integer)",
        "name_candidates('{wss://nos.lol}', 'event', '{1}', '{1}', '{7}', '{1}', '{1}', 10)",
    ),
    ("mostly(boolean)", "mostly(true)"),
    ("native_canonical_json(text)", "native_canonical_json('{}')"),
    ("native_event_insert(text[],text)", "native_event_insert(ARRAY[$E], 'wss://nos.lol')"),
    ("native_extract_relay_urls(text)", "native_extract_relay_urls('wss://nos.lol')"),
    ("native_nip19_decode(text)", "native_nip19_decode('x')"),
    ("nip19_decode(text)", "nip19_decode('x')"),
    ("nip_numbers(jsonb)", "nip_numbers('[1, \"11\"]')"),
    ("normalize_relay_url(text)", "normalize_relay_url('wss://nos.lol')"),
    ("note(bytea)", "note($I)"),
    ("note_refusals(text,text[],bigint[])", "note_refusals('domain', '{nos.lol}', '{3}')"),
    ("npub(bytea)", "npub($I)"),
    ("operator_relay_url(text)", "operator_relay_url('nos.lol')"),
    (
        "pack_body(bytea,bytea,bigint,integer,text,text,bytea,bytea)",
        "pack_body($I, $I, 1, 1, '[]', '', $I || $I, NULL)",
    ),
    ("promote_candidate(text,text,text,jsonb)", "promote_candidate('wss://nos.lol', NULL)"),
    ("purge_vanished(integer)", "purge_vanished(10)"),
    ("quarantine(integer,text[],bytea[])", "quarantine(1, '{invalid}', '{\"\\\\x00\"}')"),
    ("query(jsonb,boolean)", "query('{}')"),
    (
        "record_check(integer,double precision,boolean,real,real,real,text,text,integer)",
        "record_check(1, 1700000000, true, 1, 1, NULL, NULL, NULL, 60)",
    ),
    ("newest_document(integer,text,timestamp with time zone)", "newest_document(1, 'nip11_info', '-infinity')"),
    ("publish_due(bytea,integer,double precision,integer[],integer)", "publish_due('\\x00', 60, NULL, '{}', 10)"),
    ("own_publications(bytea)", "own_publications('\\x00')"),
    ("open_publishing(text[],boolean[],integer[])", "open_publishing('{wss://a.com}', '{f}', '{0}')"),
    (
        "record_publications(bytea,integer[],text[],integer[],bytea[],bigint[],bytea[],bytea[],bigint[],boolean[],text[])",
        "record_publications('\\x00', '{0}', '{\"\"}', '{0}', '{\"\"}', '{1}', '{\"\"}', '{\"\"}', '{1}', '{f}', '{\"{}\"}')",
    ),
    ("publication_unchanged(text[],bytea[])", "publication_unchanged('{\"\"}', '{\"\"}')"),
    ("publish_pending(text,bytea,bigint,integer)", "publish_pending('wss://a.com', '\\x00', 0, 10)"),
    (
        "record_publication_results(text,integer[],text[],bytea[],integer[],text[],bigint[])",
        "record_publication_results('wss://a.com', '{0}', '{\"\"}', '{\"\"}', '{1}', '{\"\"}', '{1}')",
    ),
    ("record_publish_relay(text,boolean,text,integer)", "record_publish_relay('wss://a.com', true, NULL, NULL)"),
    ("close_publishing()", "close_publishing()"),
    (
        "record_cycle(text,double precision,boolean,bigint,text,text)",
        "record_cycle('finder', 1700000000, true, 1, '{}', NULL)",
    ),
    (
        "record_metadata(integer,text,bytea,text,double precision)",
        "record_metadata(1, 'nip11_info', '\\x00', '{}', 1700000000)",
    ),
    ("relay_url_network(text)", "relay_url_network('wss://nos.lol')"),
    ("relay_url_domain(text)", "relay_url_domain('wss://nos.lol')"),
    ("relays_of(bytea)", "relays_of($I)"),
    ("release_api_sources()", "release_api_sources()"),
    ("release_candidates()", "release_candidates()"),
    ("release_checks()", "release_checks()"),
    ("release_leases()", "release_leases()"),
    ("relay_holdings(integer)", "relay_holdings(1)"),
    ("relay_is_live(integer,text,bigint)", "relay_is_live(1, '{}', 5)"),
    (
        "release_relay(integer,boolean,text,bigint,double precision,double precision,integer,text)",
        "release_relay(1, true, '{}', 5, 60, 0, 0, NULL)",
    ),
    ("return_relays(integer[])", "return_relays('{1}')"),
    ("retry_needs_auth(text)", "retry_needs_auth('00')"),
    (
        "old_events(integer,integer,integer[],integer[],bigint,bigint,integer)",
        "old_events(0, 65535, '{3}', '{5}', 0, 5, 10)",
    ),
    ("remove_sightings(bigint[],bigint[])", "remove_sightings('{1700000000}', '{1}')"),
    ("run_service(text)", "run_service('finder')"),
    ("seed(text[])", "seed(ARRAY['nos.lol'])"),
    ("set_event_floor(bigint)", "set_event_floor(5)"),
    ("setting(text)", "setting('networks')"),
    ("setting_seconds(text)", "setting_seconds('sync_lag')"),
    ("sighting_has(bytea,bigint)", "sighting_has(members, 1) FROM bigbrotr.sighting"),
    ("sighting_members(bytea)", "sighting_members(members) FROM bigbrotr.sighting"),
    ("start_workers()", "start_workers()"),
    ("stop_workers()", "stop_workers()"),
    ("stuck_ranges(integer,bytea)", "stuck_ranges(1, '\\x00')"),
    ("sync_filter_hash()", "sync_filter_hash()"),
    ("sync_since()", "sync_since()"),
    ("tables_to_analyze()", "tables_to_analyze()"),
    ("tag_hash(text,text)", "tag_hash('t', 'nostr')"),
    ("tag_hashes(jsonb)", "tag_hashes('[[\"t\", \"nostr\"]]')"),
    ("document_traits(bigbrotr.metadata_type,jsonb)", "document_traits('nip11_info', '{}')"),
    ("json_boolean(jsonb)", "json_boolean('\"yes\"')"),
    ("json_hex(jsonb,integer)", "json_hex('\"ab\"', 1)"),
    ("json_integer(jsonb,bigint,bigint)", "json_integer('5', 0, 9)"),
    ("json_number(jsonb)", "json_number('5')"),
    ("json_pubkey(jsonb)", "json_pubkey('\"npub1\"')"),
    ("json_text(jsonb)", "json_text('\"x\"')"),
    ("json_texts(jsonb)", "json_texts('[\"x\"]')"),
    ("nip_entries(jsonb)", "nip_entries('[1]')"),
    ("nip_names(jsonb)", "nip_names('[\"7D\"]')"),
    (
        "record_changes(integer,bigbrotr.metadata_type,timestamp with time zone,bytea,bytea)",
        "record_changes(1, 'nip11_info', now(), '\\x00', '\\x01')",
    ),
    (
        "record_outcome(integer,timestamp with time zone,boolean,text,text,bigbrotr.relay_monitor)",
        "record_outcome(1, now(), true, NULL, NULL, NULL)",
    ),
    ("refresh_latest_check(integer[])", "refresh_latest_check('{1}')"),
    ("refresh_latest_documents(integer[])", "refresh_latest_documents('{1}')"),
    ("typed_document(bigbrotr.metadata_type,jsonb)", "typed_document('nip11_info', '{}')"),
    ("typed_nip11_info(jsonb)", "typed_nip11_info('{}')"),
    ("typed_nip66_dns(jsonb)", "typed_nip66_dns('{}')"),
    ("typed_nip66_geo(jsonb)", "typed_nip66_geo('{}')"),
    ("typed_nip66_http(jsonb)", "typed_nip66_http('{}')"),
    ("typed_nip66_net(jsonb)", "typed_nip66_net('{}')"),
    ("typed_nip66_ssl(jsonb)", "typed_nip66_ssl('{}')"),
    ("uptime(integer,timestamp with time zone,timestamp with time zone)", "uptime(1, '-infinity', 'infinity')"),
    ("workers()", "workers()"),
];

#[tokio::test]
async fn every_function_is_called() {
    let (_, client) = database().await;
    let declared: BTreeSet<String> = rows(
        &client, // A trigger and the planner's helper are called by neither: see views.rs and plans.rs.
        "SELECT oid::regprocedure FROM pg_proc WHERE pronamespace = 'bigbrotr'::regnamespace \
         AND prorettype NOT IN ('trigger'::regtype, 'internal'::regtype)",
    )
    .await
    .iter()
    .map(|name| name.trim_start_matches("bigbrotr.").to_owned())
    .collect();
    let listed: BTreeSet<String> = CALLS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(declared, listed, "a function without a call here, or a call of none");
    let event = event(0, "hello");
    let insert = format!("SELECT bigbrotr.event_insert(ARRAY[{}], 'wss://relay.damus.io')", quote(&event));
    assert_eq!(text(&client, &insert).await.as_deref(), Some("1"));
    for (name, call) in CALLS {
        let call = call.replace("$E", &quote(&event)).replace("$I", &format!("'\\x{}'::bytea", id(&event)));
        let sql = format!("BEGIN; SELECT bigbrotr.{call}; ROLLBACK");
        client.batch_execute(&sql).await.unwrap_or_else(|error| panic!("{name}: {error:?}"));
    }
}

#[tokio::test]
async fn seed_understands_operators_and_counts_what_is_new() {
    let (name, client) = database().await;
    let seeds = "ARRAY['relay.damus.io', 'https://nos.lol/', 'WSS://NOS.LOL', 'http://relay.example.org:8080/x/', NULL, ' ws://relay.primal.net ']";
    assert_eq!(text(&client, &format!("SELECT bigbrotr.seed({seeds})")).await.as_deref(), Some("4"));
    assert_eq!(text(&client, &format!("SELECT bigbrotr.seed({seeds})")).await.as_deref(), Some("0"));
    assert_eq!(
        rows(&client, "SELECT url FROM bigbrotr.candidate ORDER BY url COLLATE \"C\"").await,
        ["ws://relay.example.org:8080/x", "ws://relay.primal.net", "wss://nos.lol", "wss://relay.damus.io"]
    );
    let sql = "SELECT bigbrotr.seed(ARRAY['', 'not a url', 'ftp://a.com', 'wss://127.0.0.1', 'wss://a.com:0', 'x', 'y', 'wss://relay.nostr.band'])";
    let output =
        crate::support::cluster().psql_command().args(["-At", "-d", &name, "-c", sql]).output().expect("psql runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "1\n");
    assert_eq!(said.matches("NOTICE:").count(), 1, "{said}");
    assert!(said.contains('7') && said.contains("not a url"), "{said}");
    for nothing in ["NULL", "'{}'", "ARRAY[NULL]::text[]"] {
        assert_eq!(text(&client, &format!("SELECT bigbrotr.seed({nothing})")).await.as_deref(), Some("0"), "{nothing}");
    }
}

#[tokio::test]
async fn event_insert_counts_new_ones_and_adds_sightings() {
    let (_, client) = database().await;
    let (one, two) = (event(0, "one"), event(1, "two"));
    let insert = |events: &[&str], url: &str| {
        let list: Vec<_> = events.iter().map(|event| quote(event)).collect();
        format!("SELECT bigbrotr.event_insert(ARRAY[{}]::text[], {})", list.join(","), quote(url))
    };
    assert_eq!(text(&client, &insert(&[&one, &one], "wss://nos.lol")).await.as_deref(), Some("1"));
    assert_eq!(text(&client, &insert(&[&one, &two, "junk"], "WSS://Relay.Damus.io/")).await.as_deref(), Some("1"));
    assert_eq!(text(&client, &insert(&[], "wss://relay.primal.net")).await.as_deref(), Some("0"));
    let pairs =
        "SELECT content, relay_url FROM bigbrotr.event_relay JOIN bigbrotr.event ON id = event_id ORDER BY 1, 2";
    assert_eq!(
        rows(&client, pairs).await,
        ["one|wss://nos.lol", "one|wss://relay.damus.io", "two|wss://relay.damus.io"]
    );
    assert_eq!(
        text(&client, "SELECT count(*) FROM bigbrotr.coverage").await.as_deref(),
        Some("0"),
        "coverage is unchanged"
    );
    let sql = format!("SELECT relay_url FROM bigbrotr.relays_of('\\x{}') ORDER BY 1", id(&one));
    assert_eq!(rows(&client, &sql).await, ["wss://nos.lol", "wss://relay.damus.io"]);
    let unchanged = "SELECT count(*) FROM bigbrotr.quarantine";
    assert_eq!(text(&client, unchanged).await.as_deref(), Some("1"));
    for url in ["", "relay.damus.io", "https://nos.lol", "wss://127.0.0.1", "wss://a.com wss://b.com"] {
        let error = refusal(&client, &insert(&[&one], url)).await;
        assert_eq!(error.code(), &SqlState::INVALID_PARAMETER_VALUE, "{url}");
        assert!(error.hint().is_some(), "{error:?}");
    }
    let error = refusal(&client, "SELECT bigbrotr.event_insert(ARRAY['{}'], NULL)").await;
    assert_eq!(error.code(), &SqlState::INVALID_PARAMETER_VALUE);
    let known = format!("SELECT bigbrotr.event_insert(ARRAY[NULL, {}], 'wss://nos.lol')", quote(&one));
    assert_eq!(text(&client, &known).await.as_deref(), Some("0"));
    assert_eq!(text(&client, "SELECT bigbrotr.event_insert(NULL, 'wss://nos.lol')").await.as_deref(), Some("0"));
    let ephemeral = bigbrotr_tests::Generator::new(7).event(20_001, 1_700_000_000, &[], "");
    assert_eq!(
        text(&client, &insert(&[&ephemeral], "wss://nos.lol")).await.as_deref(),
        Some("0"),
        "counted, not stored"
    );
    assert_eq!(text(&client, unchanged).await.as_deref(), Some("1"), "and nothing is wrong with it");
}

#[tokio::test]
async fn event_id_recomputes_and_needs_neither_id_nor_sig() {
    let (_, client) = database().await;
    let whole = event(0, "hello");
    let mut value: serde_json::Value = serde_json::from_str(&whole).expect("JSON");
    let members = value.as_object_mut().expect("an object");
    members.remove("id");
    members.remove("sig");
    for json in [whole.clone(), value.to_string()] {
        let computed = format!("SELECT encode(bigbrotr.event_id({}), 'hex')", quote(&json));
        assert_eq!(text(&client, &computed).await, Some(id(&whole)));
    }
    value["content"] = "other".into();
    let computed = format!("SELECT encode(bigbrotr.event_id({}), 'hex')", quote(&value.to_string()));
    assert_ne!(text(&client, &computed).await, Some(id(&whole)));
    for junk in ["NULL", "''", "'{}'", "'[]'", "'null'", "'{\"pubkey\":\"00\"}'"] {
        assert_eq!(text(&client, &format!("SELECT bigbrotr.event_id({junk})")).await, None, "{junk}");
        let verdict = if junk == "NULL" { None } else { Some("f".to_owned()) };
        assert_eq!(text(&client, &format!("SELECT bigbrotr.event_verify({junk})")).await, verdict, "{junk}");
    }
}

#[tokio::test]
async fn query_answers_as_a_relay_does() {
    let (_, client) = database().await;
    let mut generator = bigbrotr_tests::Generator::new(3);
    let tag = |name: &str, value: &str| vec![vec![name.to_owned(), value.to_owned()]];
    let at = 1_700_000_000;
    let mut events = vec![
        generator.event(1, at, &tag("t", "nostr"), "a"),
        generator.event(1, at + 1, &tag("T", "nostr"), "b"),
        generator.event_by(1, 7, at + 2, &tag("t", "bitcoin"), "c"),
        generator.event(0, at + 3, &[], "old profile"),
        generator.event(0, at + 4, &[], "new profile"),
        generator.event(30023, at + 5, &tag("d", "x"), "old article"),
        generator.event(30023, at + 6, &tag("d", "x"), "new article"),
        generator.event(30023, at + 5, &tag("d", "y"), "other article"),
        generator.event(1, at + 7, &tag("expiration", "1700000100"), "expired"),
        generator.event(1, at + 8, &tag("expiration", "9700000100"), "not yet"),
    ];
    let doomed = generator.event(1, at + 9, &[], "deleted");
    events.push(generator.event(5, at + 10, &tag("e", &id(&doomed)), "delete"));
    events.push(generator.event_by(1, 5, at + 10, &tag("e", &id(&events[0])), "not the author"));
    events.push(doomed.clone());
    let list: Vec<_> = events.iter().map(|event| quote(event)).collect();
    let insert = format!("SELECT bigbrotr.event_insert(ARRAY[{}], 'wss://nos.lol')", list.join(","));
    assert_eq!(text(&client, &insert).await, Some(events.len().to_string()));

    let ask = async |filter: &str, all: bool| {
        rows(&client, &format!("SELECT content FROM bigbrotr.query({}, {all})", quote(filter))).await
    };
    assert_eq!(ask("{\"kinds\":[1]}", false).await, ["not yet", "b", "a"]);
    assert_eq!(ask("{\"kinds\":[1]}", true).await, ["deleted", "not yet", "expired", "b", "a"]);
    assert_eq!(ask("{\"kinds\":[0]}", false).await, ["new profile"]);
    assert_eq!(ask("{\"kinds\":[0]}", true).await, ["new profile", "old profile"]);
    assert_eq!(ask("{\"kinds\":[30023]}", false).await, ["new article", "other article"]);
    assert_eq!(ask("{\"kinds\":[30023],\"#d\":[\"x\"]}", true).await, ["new article", "old article"]);
    assert_eq!(ask("{\"#t\":[\"nostr\"]}", false).await, ["a"], "letters have case");
    assert_eq!(ask("{\"#T\":[\"nostr\"]}", false).await, ["b"]);
    assert_eq!(ask("{\"#t\":[\"nostr\",\"bitcoin\"]}", false).await, ["c", "a"]);
    assert_eq!(ask("{\"#t\":[\"nostr\"],\"#T\":[\"nostr\"]}", false).await, Vec::<String>::new(), "keys are ANDed");
    let bounds = format!("{{\"kinds\":[1],\"since\":{},\"until\":{}}}", at, at + 1);
    assert_eq!(ask(&bounds, false).await, ["b", "a"], "both bounds are inclusive");
    assert_eq!(ask("{\"kinds\":[1],\"limit\":2}", false).await, ["not yet", "b"]);
    assert_eq!(ask("{\"limit\":0}", false).await, Vec::<String>::new());
    for empty in ["ids", "authors", "kinds", "#t"] {
        assert_eq!(ask(&format!("{{\"{empty}\":[]}}"), true).await, Vec::<String>::new(), "{empty}");
    }
    assert_eq!(ask(&format!("{{\"ids\":[\"{}\"]}}", id(&events[2])), false).await, ["c"]);
    assert_eq!(ask(&format!("{{\"ids\":[\"{}\"]}}", id(&doomed)), false).await, Vec::<String>::new());
    assert_eq!(ask("{}", true).await.len(), events.len());

    // Ties: lowest id first.
    let ids =
        rows(&client, "SELECT id FROM bigbrotr.query('{}', true) WHERE created_at IN (1700000005, 1700000010)").await;
    assert_eq!(ids.len(), 4);
    assert!(ids[0] < ids[1] && ids[2] < ids[3], "{ids:?}");
}

#[tokio::test]
async fn a_query_that_is_no_filter_is_refused_with_a_hint() {
    let (_, client) = database().await;
    for filter in [
        "null",
        "[]",
        "1",
        "\"x\"",
        "{\"kind\":[1]}",
        "{\"kinds\":1}",
        "{\"kinds\":[\"1\"]}",
        "{\"kinds\":[-1]}",
        "{\"kinds\":[1.5]}",
        "{\"kinds\":[65536]}",
        "{\"ids\":[\"abc\"]}",
        "{\"ids\":[1]}",
        "{\"authors\":\"x\"}",
        "{\"since\":\"now\"}",
        "{\"since\":-1}",
        "{\"until\":1.5}",
        "{\"limit\":-1}",
        "{\"limit\":\"5\"}",
        "{\"#\":[\"x\"]}",
        "{\"#tt\":[\"x\"]}",
        "{\"#1\":[\"x\"]}",
        "{\"#t\":\"x\"}",
        "{\"#t\":[1]}",
        "{\"#é\":[\"x\"]}",
        "{\"search\":\"x\"}",
        "{\"\":[]}",
    ] {
        let error = refusal(&client, &format!("SELECT * FROM bigbrotr.query({})", quote(filter))).await;
        assert_eq!(error.code(), &SqlState::INVALID_PARAMETER_VALUE, "{filter}: {error:?}");
        assert!(error.hint().is_some(), "{filter}: {error:?}");
    }
    let error = refusal(&client, "SELECT * FROM bigbrotr.query(NULL)").await;
    assert_eq!(error.code(), &SqlState::INVALID_PARAMETER_VALUE);
}

#[tokio::test]
async fn values_of_a_filter_are_data_and_never_sql() {
    let (_, client) = database().await;
    let evil = r#"'; DROP TABLE bigbrotr.event; -- \ " $$ E'\x27' {}"#;
    let event = bigbrotr_tests::Generator::new(3).event(1, 5, &[vec!["t".into(), evil.into()]], evil);
    let insert = format!("SELECT bigbrotr.event_insert(ARRAY[{}], 'wss://nos.lol')", quote(&event));
    assert_eq!(text(&client, &insert).await.as_deref(), Some("1"));
    let filter = serde_json::json!({"#t": [evil]}).to_string();
    assert_eq!(rows(&client, &format!("SELECT content FROM bigbrotr.query({})", quote(&filter))).await, [evil]);
    client.batch_execute("SET standard_conforming_strings = off").await.expect("off");
    let filter = quote(&filter.replace('\\', "\\\\"));
    assert_eq!(rows(&client, &format!("SELECT content FROM bigbrotr.query({filter})")).await, [evil]);
}

#[tokio::test]
async fn canonical_json_sorts_and_shortens() {
    let (_, client) = database().await;
    for (document, canonical) in [
        (r#"{"b": 1, "a": [1.0, 2.50, 1e2, -0, 0.001]}"#, r#"{"a":[1,2.5,100,0,0.001],"b":1}"#),
        (r#"{"é": 1, "z": 2, "Z": 3, "": 4}"#, r#"{"":4,"Z":3,"z":2,"é":1}"#),
        (r#""\u0001 \" \\ / é \n\r\t\b\f \u007f""#, "\"\\u0001 \\\" \\\\ / é \\n\\r\\t\\b\\f \u{7f}\""),
        ("[null, true, false, []]", "[null,true,false,[]]"),
        ("123456789012345678901234567890.10", "123456789012345678901234567890.1"),
    ] {
        let sql = format!("SELECT bigbrotr.canonical_json({})", quote(document));
        assert_eq!(text(&client, &sql).await.as_deref(), Some(canonical), "{document}");
        let hash = format!("SELECT bigbrotr.content_hash({})", quote(document));
        assert_eq!(text(&client, &hash).await, Some(crate::support::sha256(canonical)));
    }
}

#[tokio::test]
async fn nip19_forms_are_written_and_read() {
    let (_, client) = database().await;
    // Examples of NIP-19.
    let hex = "3bf0c63fcb93463407af97a5e5ee64fa883d107ef9e558472c4eb9aaaefa459d";
    let npub = "npub180cvv07tjdrrgpa0j7j7tmnyl2yr6yr7l8j4s3evf6u64th6gkwsyjh6w6";
    assert_eq!(text(&client, &format!("SELECT bigbrotr.npub('\\x{hex}')")).await.as_deref(), Some(npub));
    let decoded = |entity: &str| format!("SELECT bigbrotr.nip19_decode({})", quote(entity));
    assert_eq!(text(&client, &decoded(npub)).await, Some(format!(r#"{{"data": "{hex}", "type": "npub"}}"#)));
    let nprofile = "nprofile1qqsrhuxx8l9ex335q7he0f09aej04zpazpl0ne2cgukyawd24mayt8gpp4mhxue69uhhytnc9e3k7mgpz4mhxue69uhkg6nzv9ejuumpv34kytnrdaksjlyr9p";
    let profile = text(&client, &decoded(nprofile)).await.expect("valid");
    let profile: serde_json::Value = serde_json::from_str(&profile).expect("JSON");
    assert_eq!(profile["type"], "nprofile");
    assert_eq!(profile["data"], hex);
    assert_eq!(profile["relays"], serde_json::json!(["wss://r.x.com", "wss://djbas.sadkb.com"]));
    let note = format!("SELECT bigbrotr.nip19_decode(bigbrotr.note('\\x{hex}'))");
    assert_eq!(text(&client, &note).await, Some(format!(r#"{{"data": "{hex}", "type": "note"}}"#)));
    for junk in [
        "",
        "npub",
        "npub1",
        "npub1x",
        &npub[..npub.len() - 1],
        &npub.replace('8', "9"),
        "Npub180cvv",
        "lnbc1",
        "💜",
        &"a".repeat(100_000),
    ] {
        assert_eq!(text(&client, &decoded(junk)).await, None, "{junk:.50}");
    }
    let nsec = "nsec1vl029mgpspedva04g90vltkh6fvh240zqtv9k0t9af8935ke9laqsnlfe5";
    let error = refusal(&client, &decoded(nsec)).await;
    assert_eq!(error.code(), &SqlState::INVALID_PARAMETER_VALUE);
    assert!(error.hint().is_some());
    let said = format!("{} {:?} {:?}", error.message(), error.detail(), error.hint());
    assert!(!said.contains("vl029mgpsp") && !said.contains("67dea2ed"), "the secret is repeated: {said}");
    for function in ["npub", "note"] {
        for wrong in ["''", "'\\x00'", &format!("'\\x{hex}00'")] {
            let error = refusal(&client, &format!("SELECT bigbrotr.{function}({wrong}::bytea)")).await;
            assert_eq!(error.code(), &SqlState::INVALID_PARAMETER_VALUE, "{function}({wrong})");
            assert!(error.hint().is_some());
        }
        assert_eq!(text(&client, &format!("SELECT bigbrotr.{function}(NULL)")).await, None);
    }
}

#[tokio::test]
async fn workers_can_be_asked_for_where_there_are_none() {
    let (_, client) = database().await;
    for service in ["seeder", "finder", "validator", "monitor", "synchronizer", "refresher"] {
        assert_eq!(text(&client, &format!("SELECT bigbrotr.run_service('{service}')")).await.as_deref(), Some("f"));
    }
    for wrong in ["", "Finder", "finder ", "sync", "'; SELECT 1"] {
        let error = refusal(&client, &format!("SELECT bigbrotr.run_service({})", quote(wrong))).await;
        assert_eq!(error.code(), &SqlState::INVALID_PARAMETER_VALUE, "{wrong}");
        assert!(error.hint().is_some_and(|hint| hint.contains("synchronizer")), "{error:?}");
    }
    assert_eq!(text(&client, "SELECT bigbrotr.run_service(NULL)").await, None);
    assert_eq!(text(&client, "SELECT bigbrotr.stop_workers()").await.as_deref(), Some("0"));
    assert_eq!(
        text(&client, "SELECT bigbrotr.start_workers()").await.as_deref(),
        Some("0"),
        "the database is not listed"
    );
}
