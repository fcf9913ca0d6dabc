//! What is named becomes a candidate within limits, and who named it is remembered.

use tokio_postgres::{Client, error::SqlState};

use crate::support::{database, refusal, rows, text};

/// `name_candidates` as the finder calls it: each URL named once by one author.
fn named(urls: &str, author: &str, room: i32) -> String {
    format!(
        "SELECT added || ' ' || over_author || ' ' || over_domain || ' ' || over_total
         FROM (SELECT array_agg(u.url ORDER BY u.url COLLATE \"C\") AS urls, count(*)::integer AS n FROM ({urls}) AS u(url)) AS u
         CROSS JOIN LATERAL (SELECT array_agg(p) AS places, array_agg(({author})::integer) AS authors, array_agg(1) AS ones
                             FROM generate_series(1, u.n) AS p) AS k
         CROSS JOIN LATERAL bigbrotr.name_candidates(u.urls, 'event', k.ones, k.places, k.authors, k.places, k.authors, {room})"
    )
}

async fn name(client: &Client, urls: &str, author: &str, room: i32) -> String {
    text(client, &named(urls, author, room)).await.expect("an outcome")
}

async fn number(client: &Client, sql: &str) -> i64 {
    text(client, sql).await.expect("a row").parse().expect("a number")
}

async fn author(client: &Client, n: i32) {
    let sql = format!("INSERT INTO bigbrotr.author (id, pubkey) VALUES ({n}, sha256('{n}'))");
    client.batch_execute(&sql).await.expect("an author");
}

#[tokio::test]
async fn evidence_says_who_names_a_url_and_outlives_promotion() {
    let (_, client) = database().await;
    text(&client, "SELECT bigbrotr.seed('{wss://a.nos.lol}')").await;
    for (events, hashes) in [(3, "{-5,1,9}"), (2, "{1,7}")] {
        let name = format!(
            "SELECT bigbrotr.name_candidates('{{wss://a.nos.lol,wss://b.nos.lol}}', 'event', '{{{events},1}}', \
             array_fill(1, ARRAY[cardinality('{hashes}'::int[])]), '{hashes}', '{{1,2}}', '{{1,1}}', 100)"
        );
        text(&client, &name).await;
    }
    text(&client, "SELECT bigbrotr.add_candidates('{wss://a.nos.lol}', 'api')").await;
    let status =
        "SELECT url, network, sources, authors, events, failures, last_error FROM bigbrotr.candidate_status ORDER BY 1";
    assert_eq!(
        rows(&client, status).await,
        ["wss://a.nos.lol|clearnet|{api,event,operator}|4|5|0|NULL", "wss://b.nos.lol|clearnet|{event}|0|2|0|NULL"]
    );
    client.batch_execute("SELECT bigbrotr.promote_candidate('wss://a.nos.lol')").await.expect("promoted");
    text(
        &client,
        "SELECT bigbrotr.name_candidates('{wss://a.nos.lol}', 'event', '{1}', '{1}', '{8}', '{1}', '{1}', 100)",
    )
    .await;
    let evidence =
        "SELECT url, state, sources, authors, events, first_seen_at <= last_seen_at FROM bigbrotr.relay_evidence";
    assert_eq!(rows(&client, evidence).await, ["wss://a.nos.lol|active|{api,event,operator}|5|6|t"]);
    let none = "SELECT count(*) FROM bigbrotr.candidate WHERE url = 'wss://a.nos.lol'";
    assert_eq!(number(&client, none).await, 0, "a relay is no candidate again");
}

#[tokio::test]
async fn authors_are_counted_exactly_at_first_and_estimated_later() {
    let (_, client) = database().await;
    // Evenly spread numbers, as the finder's hashes are: the first bytes of a hash.
    let hash = |n: &str| format!("('x' || substr(md5({n}::text), 1, 8))::bit(32)::integer");
    for (authors, from, to) in
        [(1, 1, 1), (200, 200, 200), (255, 255, 255), (1_000, 850, 1_150), (100_000, 85_000, 115_000)]
    {
        let sql = format!(
            "SELECT bigbrotr.author_count(bigbrotr.merge_author_hashes('{{}}', array_agg({})))  FROM generate_series(1, {authors}) AS n",
            hash("n")
        );
        let count = number(&client, &sql).await;
        assert!((from..=to).contains(&count), "{count} for {authors}");
    }
    // In any portions, with anybody twice: the same.
    client.batch_execute("CREATE TABLE seen (hashes integer[])").await.expect("a table");
    client.batch_execute("INSERT INTO seen VALUES ('{}')").await.expect("a row");
    for portion in 0..40 {
        let from = portion * 50;
        let sql = format!(
            "UPDATE seen SET hashes = bigbrotr.merge_author_hashes(hashes, (SELECT array_agg(h ORDER BY h) FROM
             (SELECT {} AS h FROM generate_series({from}, {from} + 80) AS n) AS x))",
            hash("n")
        );
        client.batch_execute(&sql).await.expect("merged");
    }
    let same = format!(
        "SELECT hashes = ARRAY(SELECT {} FROM generate_series(0, 2030) AS n ORDER BY 1 LIMIT 256) FROM seen",
        hash("n")
    );
    assert_eq!(text(&client, &same).await.as_deref(), Some("t"));
    assert_eq!(number(&client, "SELECT bigbrotr.author_count('{}')").await, 0);
    let lowest = "SELECT bigbrotr.author_count(array_fill(-2147483648, ARRAY[256]))";
    assert!(number(&client, lowest).await > 0, "no division by zero");
}

#[tokio::test]
async fn one_author_adds_so_many_a_day_and_others_are_not_kept_from_it() {
    let (_, client) = database().await;
    author(&client, 1).await;
    author(&client, 2).await;
    client.batch_execute("SET bigbrotr.max_candidates_per_author = 100").await.expect("set");
    let many = "SELECT 'wss://r' || n || 'x.com' FROM generate_series(1, 500) AS n";
    assert_eq!(name(&client, many, "1", 10_000).await, "100 400 0 0");
    assert_eq!(name(&client, many, "1", 10_000).await, "0 400 0 0", "nothing left today");
    let refused = "SELECT scope, name = encode(sha256('1'), 'hex'), refusals FROM bigbrotr.candidate_refusal";
    assert_eq!(rows(&client, refused).await, ["author|t|800"]);
    // What one may not add any more another may.
    assert_eq!(name(&client, many, "2", 10_000).await, "100 300 0 0");
    // Of two authors the one with something left brings it in.
    let both = "SELECT n.added FROM bigbrotr.name_candidates('{wss://both.com}', 'event', '{1}', '{1}', '{1}', '{1,1}', '{1,3}', 100) AS n";
    author(&client, 3).await;
    assert_eq!(text(&client, both).await.as_deref(), Some("1"));
    let charged = "SELECT author_id FROM bigbrotr.candidate_evidence WHERE url = 'wss://both.com'";
    assert_eq!(text(&client, charged).await.as_deref(), Some("3"));
    // A day later.
    client
        .batch_execute("UPDATE bigbrotr.candidate_evidence SET first_seen_at = now() - interval '25 hours'")
        .await
        .expect("aged");
    assert_eq!(name(&client, many, "1", 10_000).await, "100 200 0 0");
    // Operators are not strangers.
    let seeds = "SELECT bigbrotr.seed(ARRAY(SELECT 'wss://s' || n || '.nos.lol' FROM generate_series(1, 3000) AS n))";
    assert_eq!(text(&client, seeds).await.as_deref(), Some("3000"));
}

#[tokio::test]
async fn a_registrable_domain_has_so_many_whoever_names_them() {
    let (_, client) = database().await;
    client.batch_execute("SET bigbrotr.max_candidates_per_domain = 50").await.expect("set");
    let below = "SELECT 'wss://r' || n || '.flood.co.uk' FROM generate_series(1, 500) AS n";
    assert_eq!(name(&client, below, "p", 10_000).await, "50 0 450 0");
    assert_eq!(name(&client, below, "p", 10_000).await, "0 0 450 0");
    assert_eq!(
        rows(&client, "SELECT scope, name, refusals FROM bigbrotr.candidate_refusal").await,
        ["domain|flood.co.uk|900"]
    );
    // Relays count as candidates do.
    client.batch_execute("SELECT bigbrotr.promote_candidate(url) FROM bigbrotr.candidate").await.expect("promoted");
    assert_eq!(name(&client, below, "p", 10_000).await, "0 0 450 0");
    // Another owner of the same suffix, and other kinds of owners.
    for (urls, added) in [
        ("SELECT 'wss://r' || n || '.other.co.uk' FROM generate_series(1, 60) AS n", 50),
        ("SELECT 'wss://user' || n || '.github.io' FROM generate_series(1, 60) AS n", 60),
        ("SELECT 'ws://1.1.1.1:' || n FROM generate_series(1000, 1059) AS n", 50),
        ("SELECT 'ws://[2606:4700:1:2::' || n || ']' FROM generate_series(1, 60) AS n", 50),
        ("SELECT 'ws://n' || n || '.nostr.i2p' FROM generate_series(1, 60) AS n", 50),
        ("SELECT 'ws://nostr' || n || '.i2p' FROM generate_series(1, 60) AS n", 60),
        ("SELECT 'ws://127.0.0.1:' || n FROM generate_series(1000, 1059) AS n", 60),
    ] {
        assert_eq!(name(&client, urls, "p", 10_000).await, format!("{added} 0 {} 0", 60 - added), "{urls}");
    }
    // There is room again, and it is named again.
    client
        .batch_execute("UPDATE bigbrotr.candidate_evidence SET domain = 'x' WHERE domain = 'flood.co.uk'")
        .await
        .expect("room");
    assert_eq!(name(&client, below, "p", 10_000).await, "50 0 400 0");
}

#[tokio::test]
async fn names_that_failed_give_their_places_in_a_full_domain_to_new_ones() {
    let (_, client) = database().await;
    author(&client, 1).await;
    client.batch_execute("SET bigbrotr.max_candidates_per_domain = 10").await.expect("set");
    let some = |from: i32, to: i32| {
        format!("SELECT 'wss://r' || lpad(n::text, 3, '0') || '.shared.com' FROM generate_series({from}, {to}) AS n")
    };
    let held = "SELECT string_agg(substr(url, 8, 3), ' ' ORDER BY url) FROM bigbrotr.candidate";
    assert_eq!(name(&client, &some(1, 12), "1", 10_000).await, "10 0 2 0");
    assert_eq!(name(&client, &some(20, 21), "1", 10_000).await, "0 0 2 0", "nobody has failed yet");
    client
        .batch_execute(
            "SELECT bigbrotr.seed('{wss://operator.shared.com}');
             UPDATE bigbrotr.candidate SET failures = 1 WHERE url BETWEEN 'wss://r003' AND 'wss://r007';
             UPDATE bigbrotr.candidate SET failures = 2 WHERE url LIKE 'wss://r005%' OR url LIKE 'wss://operator%';
             UPDATE bigbrotr.candidate SET leased_until = now() + interval '1 hour' WHERE url LIKE 'wss://r003%';
             UPDATE bigbrotr.candidate_evidence SET events = 9 WHERE url LIKE 'wss://r004%'",
        )
        .await
        .expect("tried");
    // The operator's own is one too many, and is nobody's to take: one more has to go.
    assert_eq!(name(&client, &some(30, 30), "1", 10_000).await, "0 0 1 0", "an operator went beyond the limit");
    client
        .batch_execute("DELETE FROM bigbrotr.candidate_evidence WHERE url LIKE 'wss://operator%'")
        .await
        .expect("gone");
    // The worst first, then those that few events name; not the one that is being tried.
    assert_eq!(name(&client, &some(30, 31), "1", 10_000).await, "2 0 0 0");
    assert_eq!(text(&client, held).await.as_deref(), Some("per 001 002 003 004 007 008 009 010 030 031"));
    // Whoever had to go does not come back at once, nor is it charged or refused again.
    assert_eq!(name(&client, &some(5, 6), "1", 10_000).await, "0 0 0 0");
    let aged = "UPDATE bigbrotr.candidate_evidence SET last_seen_at = now() - interval '25 hours' WHERE url LIKE 'wss://r005%'";
    client.batch_execute(aged).await.expect("a day later");
    assert_eq!(name(&client, &some(5, 6), "1", 10_000).await, "1 0 0 0");
    assert_eq!(text(&client, held).await.as_deref(), Some("per 001 002 003 005 007 008 009 010 030 031"));
    let places = "SELECT count(*) FROM bigbrotr.candidate_evidence WHERE domain = 'shared.com'";
    assert_eq!(number(&client, places).await, 10);
    // Whoever is named together with the new one does not yield, and takes no place back.
    client
        .batch_execute("UPDATE bigbrotr.candidate SET failures = 5 WHERE url LIKE 'wss://r00%'")
        .await
        .expect("failed");
    let mixed = "SELECT 'wss://' || h || '.shared.com' FROM unnest('{r001,r002,r040}'::text[]) AS h";
    assert_eq!(name(&client, mixed, "1", 10_000).await, "1 0 0 0");
    assert_eq!(number(&client, places).await, 10);
    let kept = "SELECT count(*) FROM bigbrotr.candidate WHERE url LIKE 'wss://r001.%' OR url LIKE 'wss://r002.%'";
    assert_eq!(number(&client, kept).await, 2);
    // The operator may name it whenever he likes.
    assert_eq!(number(&client, "SELECT bigbrotr.seed('{wss://r006.shared.com}')").await, 1);
    assert_eq!(number(&client, places).await, 11);
}

#[tokio::test]
async fn those_that_many_events_name_come_in_first() {
    let (_, client) = database().await;
    let sql = "SELECT n.added, n.over_total FROM bigbrotr.name_candidates('{wss://a.com,wss://b.com,wss://c.com}', 'event', '{1,5,3}',
               '{}', '{}', '{1,2,3}', '{1,1,1}', 2) AS n";
    assert_eq!(rows(&client, sql).await, ["2|1"]);
    assert_eq!(rows(&client, "SELECT url FROM bigbrotr.candidate ORDER BY 1").await, ["wss://b.com", "wss://c.com"]);
    assert_eq!(rows(&client, "SELECT scope, name, refusals FROM bigbrotr.candidate_refusal").await, ["total||1"]);
}

#[tokio::test]
async fn a_full_table_makes_room_among_those_that_failed_most() {
    let (_, client) = database().await;
    client
        .batch_execute("SET bigbrotr.max_candidates = 100; SET bigbrotr.max_candidates_per_domain = 0")
        .await
        .expect("set");
    assert_eq!(number(&client, "SELECT bigbrotr.candidate_room()").await, 100);
    let urls = "SELECT 'wss://r' || n || '.com' FROM generate_series(1, 100) AS n";
    assert_eq!(name(&client, urls, "p", 100).await, "100 0 0 0");
    assert_eq!(number(&client, "SELECT bigbrotr.candidate_room()").await, 0, "none of them was tried");
    let others = "SELECT 'wss://o' || n || '.com' FROM generate_series(1, 10) AS n";
    assert_eq!(name(&client, others, "p", 0).await, "0 0 0 10");
    client
        .batch_execute(
            "UPDATE bigbrotr.candidate SET failures = 3 WHERE url < 'wss://r2';
             UPDATE bigbrotr.candidate SET failures = 9 WHERE url IN ('wss://r10.com', 'wss://r11.com', 'wss://r12.com');
             UPDATE bigbrotr.candidate SET failures = 30, source = 'seed' WHERE url = 'wss://r13.com'",
        )
        .await
        .expect("tried");
    assert_eq!(number(&client, "SELECT bigbrotr.candidate_room()").await, 5);
    let worst = "SELECT count(*) FROM bigbrotr.candidate WHERE failures = 9";
    assert_eq!(number(&client, worst).await, 0);
    assert_eq!(number(&client, "SELECT count(*) FROM bigbrotr.candidate WHERE failures = 30").await, 1);
    assert_eq!(name(&client, others, "p", 5).await, "5 0 0 5");
    // Those that nobody could try for a day go when there is nobody worse: their network is off, or its proxy knows nothing.
    client
        .batch_execute(
            "UPDATE bigbrotr.candidate SET failures = 1, last_error = 'tcp: x' WHERE failures = 3 OR url LIKE 'wss://o%';
             UPDATE bigbrotr.candidate SET first_seen_at = now() - interval '2 days', last_seen_at = now() - interval '2 days'
             WHERE url IN ('wss://r90.com', 'wss://r91.com', 'wss://r92.com', 'wss://r1.com');
             UPDATE bigbrotr.candidate SET failures = 2, last_error = 'proxy: x' WHERE url = 'wss://r92.com';
             UPDATE bigbrotr.candidate SET source = 'seed' WHERE url = 'wss://r90.com'",
        )
        .await
        .expect("a flood of names nobody can try");
    assert_eq!(number(&client, "SELECT bigbrotr.candidate_room()").await, 2);
    let left = "SELECT url FROM bigbrotr.candidate WHERE url IN ('wss://r90.com', 'wss://r91.com', 'wss://r92.com', 'wss://r1.com') ORDER BY 1";
    assert_eq!(rows(&client, left).await, ["wss://r1.com", "wss://r90.com"]);
}

#[tokio::test]
async fn limits_of_zero_are_none() {
    let (_, client) = database().await;
    author(&client, 1).await;
    for limit in ["", "_per_author", "_per_domain"] {
        client.batch_execute(&format!("SET bigbrotr.max_candidates{limit} = 0")).await.expect("set");
    }
    let urls = "SELECT 'wss://r' || n || '.nos.lol' FROM generate_series(1, 5000) AS n";
    // Also where somebody is there who could yield.
    assert_eq!(name(&client, "SELECT 'wss://r0.nos.lol'", "1", 10).await, "1 0 0 0");
    client.batch_execute("UPDATE bigbrotr.candidate SET failures = 1").await.expect("failed");
    let room = number(&client, "SELECT bigbrotr.candidate_room()").await;
    assert_eq!(name(&client, urls, "1", i32::try_from(room).expect("fits")).await, "5000 0 0 0");
}

#[tokio::test]
async fn evidence_leaves_a_day_after_the_last_thing_it_speaks_of() {
    let (_, client) = database().await;
    text(
        &client,
        "SELECT bigbrotr.seed('{wss://candidate.com,wss://relay.com,wss://alias.com,ws://gone.com,wss://new.com}')",
    )
    .await;
    client
        .batch_execute(
            "SELECT bigbrotr.promote_candidate('wss://relay.com', 'wss://alias.com');
             DELETE FROM bigbrotr.candidate WHERE url IN ('ws://gone.com', 'wss://new.com');
             UPDATE bigbrotr.candidate_evidence SET last_seen_at = now() - interval '2 days' WHERE url <> 'wss://new.com';
             INSERT INTO bigbrotr.candidate_refusal VALUES ('total', '', 1, now(), now() - interval '31 days'), ('domain', 'x', 1, now(), now())",
        )
        .await
        .expect("an old world");
    let mut deleted = 0;
    // Stretch by stretch, and round again.
    for _ in 0..12 {
        deleted += number(&client, "SELECT bigbrotr.expire_evidence(1)").await;
    }
    assert_eq!(deleted, 2);
    let left = "SELECT url FROM bigbrotr.candidate_evidence ORDER BY 1";
    assert_eq!(
        rows(&client, left).await,
        ["wss://alias.com", "wss://candidate.com", "wss://new.com", "wss://relay.com"]
    );
    assert_eq!(rows(&client, "SELECT name FROM bigbrotr.candidate_refusal").await, ["x"]);
    assert_eq!(number(&client, "SELECT bigbrotr.expire_evidence(1000)").await, 0);
}

#[tokio::test]
async fn what_is_named_badly_or_blocked_or_twice_is_no_candidate() {
    let (_, client) = database().await;
    client.batch_execute("INSERT INTO bigbrotr.block VALUES ('%.bad.com')").await.expect("blocked");
    let urls = "'{wss://x.bad.com,not a key,NULL,wss://a.com,wss://a.com,https://b.com,wss://A.com}'";
    assert_eq!(number(&client, &format!("SELECT bigbrotr.add_candidates({urls}, 'api')")).await, 1);
    assert_eq!(rows(&client, "SELECT url FROM bigbrotr.candidate_evidence").await, ["wss://a.com"]);
    for nothing in ["'{}'", "ARRAY[NULL]::text[]"] {
        let sql = format!(
            "SELECT n.added FROM bigbrotr.name_candidates({nothing}, 'event', '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', 10) AS n"
        );
        assert_eq!(number(&client, &sql).await, 0, "{nothing}");
    }
}

#[tokio::test]
async fn what_a_stranger_named_first_is_the_operators_once_he_names_it() {
    let (_, client) = database().await;
    text(&client, "SELECT bigbrotr.add_candidates('{wss://a.com,wss://b.com,wss://c.com}', 'event')").await;
    let failed = "SELECT bigbrotr.fail_candidate(url, 'limit: x', true) FROM bigbrotr.candidate";
    client.batch_execute(failed).await.expect("refused");
    assert_eq!(number(&client, "SELECT bigbrotr.seed('{wss://a.com}')").await, 0);
    assert_eq!(number(&client, "SELECT bigbrotr.add_candidates('{wss://b.com}', 'seed')").await, 0);
    assert_eq!(number(&client, "SELECT bigbrotr.add_candidates('{wss://a.com,wss://b.com}', 'event')").await, 0);
    let sources =
        "SELECT url, source, next_attempt_at <= now(), last_seen_at IS NOT NULL FROM bigbrotr.candidate ORDER BY 1";
    assert_eq!(
        rows(&client, sources).await,
        ["wss://a.com|operator|t|t", "wss://b.com|seed|f|t", "wss://c.com|event|f|f"]
    );
}

#[tokio::test]
async fn who_brings_a_url_in_again_pays_for_it_again() {
    let (_, client) = database().await;
    author(&client, 1).await;
    client.batch_execute("SET bigbrotr.max_candidates_per_author = 10").await.expect("set");
    let urls = "SELECT 'wss://r' || n || 'x.com' FROM generate_series(1, 10) AS n";
    assert_eq!(name(&client, urls, "1", 10_000).await, "10 0 0 0");
    client
        .batch_execute(
            "UPDATE bigbrotr.candidate_evidence SET first_seen_at = now() - interval '2 days';
             DELETE FROM bigbrotr.candidate",
        )
        .await
        .expect("evicted two days later");
    assert_eq!(name(&client, urls, "1", 10_000).await, "10 0 0 0");
    client.batch_execute("DELETE FROM bigbrotr.candidate").await.expect("and again");
    assert_eq!(name(&client, urls, "1", 10_000).await, "0 10 0 0");
}

#[tokio::test]
async fn patterns_of_blocks_are_read_as_they_are_meant() {
    let (_, client) = database().await;
    for (pattern, kept) in [
        ("wss://Relay.Example.com/", "wss://relay.example.com"),
        ("WSS://Relay.nos.lol:443", "wss://relay.nos.lol"),
        ("%://X.nos.lol/", "%://x.nos.lol"),
        ("wss://nos.lol/Path", "wss://nos.lol/Path"),
        ("%://nos.lol/Path%", "%://nos.lol/Path%"),
        ("%.Bad.com%", "%.bad.com%"),
        ("wss://a\\_b.com", "wss://a\\_b.com"),
        ("Relay.damus.io", "%://relay.damus.io"),
        ("127.0.0.7:7777", "%://127.0.0.7:7777"),
        ("%Inbox%", "%Inbox%"),
        ("wss://Nos.lol%Foo", "wss://nos.lol%Foo"),
        ("*.damus.io", "*.damus.io"),
    ] {
        let sql = format!("INSERT INTO bigbrotr.block (pattern) VALUES ('{pattern}') RETURNING pattern");
        assert_eq!(text(&client, &sql).await.as_deref(), Some(kept), "{pattern}");
    }
    assert_eq!(text(&client, "SELECT bigbrotr.is_blocked('wss://relay.nos.lol')").await.as_deref(), Some("t"));
    // A bare host is a host with its schemes, ports and paths, and no other one.
    for (url, blocked) in [
        ("wss://relay.damus.io", "t"),
        ("ws://relay.damus.io:81", "t"),
        ("wss://relay.damus.io/x", "t"),
        ("wss://relay.damus.iox", "f"),
        ("wss://x.relay.damus.io", "f"),
        ("ws://127.0.0.7:7777/x", "t"),
        ("ws://127.0.0.7:77777", "f"),
        ("ws://127.0.0.7", "f"),
    ] {
        assert_eq!(
            text(&client, &format!("SELECT bigbrotr.is_blocked('{url}')")).await.as_deref(),
            Some(blocked),
            "{url}"
        );
    }
    let again = "INSERT INTO bigbrotr.block (pattern) VALUES ('WSS://nos.lol/Path'), ('ws://C%'), ('ws://c%2') ON CONFLICT (pattern) DO UPDATE SET reason = 'again'";
    client.batch_execute(again).await.expect("read as they are meant");
    assert_eq!(number(&client, "SELECT count(*) FROM bigbrotr.block WHERE reason = 'again'").await, 1);
}

#[tokio::test]
async fn api_sources_that_could_never_be_fetched_are_refused_in_words() {
    let (_, client) = database().await;
    for (columns, message, hint) in [
        ("(url) VALUES ('ftp://a.com/')", "no http or https URL: ftp://a.com/", "https://"),
        ("(url) VALUES ('a.com')", "no http or https URL: a.com", "https://"),
        ("(url) VALUES ('')", "no http or https URL: ", "https://"),
        ("(url) VALUES ('https://')", "no http or https URL: https://", "https://"),
        ("(url) VALUES ('https://a.com/x y')", "no http or https URL: https://a.com/x y", "https://"),
        ("(url) VALUES (E'https://a.com/\\nx')", "no http or https URL: https://a.com/\nx", "https://"),
        ("(url) VALUES ('https://a.com/' || repeat('x', 3000))", "no http or https URL: https://a.com/xx", "2,048"),
        ("(url, \"interval\") VALUES ('https://a.com/', '0')", "an API cannot be asked every 00:00:00", "1 day"),
        ("(url, \"interval\") VALUES ('https://a.com/', '-1 day')", "an API cannot be asked every -1 days", "1 day"),
        ("(url, path) VALUES ('https://a.com/', '$.a[*')", "no SQL/JSON path: $.a[*", "$[*]"),
        ("(url, path) VALUES ('https://a.com/', '')", "no SQL/JSON path: ", "$[*]"),
    ] {
        let error = refusal(&client, &format!("INSERT INTO bigbrotr.api_source {columns}")).await;
        assert_eq!(error.code(), &SqlState::CHECK_VIOLATION, "{columns}");
        assert!(error.message().starts_with(message), "{}", error.message());
        assert!(error.hint().is_some_and(|text| text.contains(hint)), "{columns}");
    }
    let good = "INSERT INTO bigbrotr.api_source (url, path, \"interval\") VALUES
                ('https://a.com', '$', '1 second'), ('HTTP://[2606:4700::1]:8080/x?y=z#f', 'strict $.a[*].b ? (@ like_regex \"^ws\")', '1 month')";
    client.batch_execute(good).await.expect("these may be asked");
    let change = "UPDATE bigbrotr.api_source SET path = '$['";
    assert_eq!(refusal(&client, change).await.code(), &SqlState::CHECK_VIOLATION);
}

#[tokio::test]
async fn a_failing_api_is_asked_less_and_less_often_and_at_once_when_its_row_is_changed() {
    let (_, client) = database().await;
    client
        .batch_execute("INSERT INTO bigbrotr.api_source (url, \"interval\") VALUES ('https://a.com/', '6 hours')")
        .await
        .expect("a source");
    let claim = "SELECT count(*) FROM bigbrotr.claim_api_sources()";
    let ago = |time: &str| {
        let sql = format!("UPDATE bigbrotr.api_source SET last_fetched_at = now() - interval '{time}'");
        let client = &client;
        async move {
            client.batch_execute(&sql).await.expect("aged");
            number(client, claim).await
        }
    };
    assert_eq!(number(&client, claim).await, 1);
    assert_eq!(number(&client, claim).await, 0, "it is being fetched");
    for (not_yet, due) in [("4 minutes", "6 minutes"), ("9 minutes", "11 minutes"), ("19 minutes", "21 minutes")] {
        client.batch_execute("SELECT bigbrotr.api_source_done('https://a.com/', 'tcp: x')").await.expect("done");
        assert_eq!((ago(not_yet).await, ago(due).await), (0, 1), "{not_yet}");
    }
    client.batch_execute("UPDATE bigbrotr.api_source SET failures = 2000000").await.expect("long dead");
    assert_eq!((ago("23 hours").await, ago("25 hours").await), (0, 1));
    client.batch_execute("UPDATE bigbrotr.api_source SET path = '$.x'").await.expect("changed");
    assert_eq!(number(&client, claim).await, 1);
    client.batch_execute("SELECT bigbrotr.api_source_done('https://a.com/', NULL, 7)").await.expect("done");
    assert_eq!(rows(&client, "SELECT failures, last_error, url_count FROM bigbrotr.api_source").await, ["0|NULL|7"]);
    assert_eq!((ago("5 hours").await, ago("7 hours").await), (0, 1));
}

#[tokio::test]
async fn documents_of_many_shapes_yield_their_strings() {
    let (_, client) = database().await;
    for (document, path, wanted) in [
        (r#"["wss://a","wss://b",5,null]"#, "$[*]", &["wss://a", "wss://b"][..]),
        (
            r#"{"relays":{"ab":["wss://a"],"cd":["wss://b","wss://c"]}}"#,
            "$.relays",
            &["ab", "cd", "wss://a", "wss://b", "wss://c"],
        ),
        (r#"{"relays":{"ab":["wss://a"]}}"#, "$.relays.*[*]", &["wss://a"]),
        (r#"{"wss://a":{"read":true},"wss:\/\/b":1}"#, "$", &["wss://a", "wss://b", "read"]),
        (r#"{"wss://a":1}"#, "$.keyvalue().key", &["wss://a"]),
        (r#"[{"url":"wss://a"},{"url":7},{}]"#, "$[*].url", &["wss://a"]),
        (r#""wss://a""#, "$", &["wss://a"]),
        ("null", "$[*]", &[]),
        ("{}", "$.a.b.c", &[]),
    ] {
        let sql = format!("SELECT v FROM bigbrotr.json_path_values('{document}', '{path}') AS v");
        let mut found = rows(&client, &sql).await;
        let mut wanted: Vec<String> = wanted.iter().map(|text| (*text).to_owned()).collect();
        found.sort();
        wanted.sort();
        assert_eq!(found, wanted, "{document} {path}");
    }
    for document in ["", "{", "nonsense", r#"["\u0000"]"#, "[1e999999]"] {
        let error = refusal(&client, &format!("SELECT bigbrotr.json_path_values('{document}', '$')")).await;
        assert_eq!(error.code(), &SqlState::INVALID_PARAMETER_VALUE, "{document}");
        assert!(error.message().starts_with("no JSON document: "), "{}", error.message());
    }
}
