//! What checks leave behind: documents and their runs, changes, times up and down, and how long all that is kept.

use tokio_postgres::Client;

use crate::documents::{add_relay, show};
use crate::support::{database, rows, text};

const HOUR: i64 = 3600;
const T: i64 = 1_700_000_000;

async fn check(client: &Client, relay: i32, at: i64, error: Option<&str>) {
    let (ok, class) = (error.is_none(), error.map_or("NULL".to_owned(), |class| format!("'{class}'")));
    let sql = format!(
        "SELECT bigbrotr.record_check({relay}, {at}, {ok}, 10, 20, NULL, {class}, {class} || ' in words', {HOUR})"
    );
    text(client, &sql).await;
}

/// Unix seconds, by the server's clock.
async fn now(client: &Client) -> i64 {
    let now = text(client, "SELECT floor(EXTRACT(epoch FROM now()))::bigint").await.expect("a time");
    now.parse().expect("a number")
}

/// `what old new` of every change but of the state.
async fn changes(client: &Client) -> Vec<String> {
    let sql = "SELECT concat_ws(' ', what, coalesce(old, '-'), coalesce(new, '-')) FROM bigbrotr.relay_changelog
               WHERE what NOT IN ('dead', 'revived') ORDER BY id";
    rows(client, sql).await
}

async fn runs(client: &Client) -> Vec<String> {
    let sql = "SELECT m.data, EXTRACT(epoch FROM r.first_seen_at)::bigint - 1700000000, EXTRACT(epoch FROM r.last_seen_at)::bigint - 1700000000
               FROM bigbrotr.relay_metadata AS r JOIN bigbrotr.metadata AS m ON m.id = r.metadata_id AND m.type = r.type ORDER BY r.first_seen_at";
    rows(client, sql).await
}

#[tokio::test]
async fn a_ttl_that_counts_down_is_no_news() {
    let (_, client) = database().await;
    let relay = add_relay(&client, "wss://a.com").await;
    let dns = |ttl: &str| format!(r#"{{"a":["192.0.2.1"],"ttl":{ttl}}}"#);
    show(&client, relay, "nip66_dns", &dns("300"), T).await;
    for (n, ttl) in ["120", "1", "300", "7"].into_iter().enumerate() {
        show(&client, relay, "nip66_dns", &dns(ttl), T + 1 + n as i64).await;
    }
    assert_eq!(runs(&client).await, [r#"{"a": ["192.0.2.1"], "ttl": 300}|0|4"#]);
    // The cache began with a higher one: the run shows it, and is the same run.
    show(&client, relay, "nip66_dns", &dns("3600"), T + 10).await;
    show(&client, relay, "nip66_dns", &dns("299"), T + 11).await;
    // One without a TTL says nothing else; one with nonsense does not spoil the number.
    show(&client, relay, "nip66_dns", r#"{"a":["192.0.2.1"]}"#, T + 12).await;
    assert_eq!(runs(&client).await, [r#"{"a": ["192.0.2.1"], "ttl": 3600}|0|12"#]);
    show(&client, relay, "nip66_dns", r#"{"a":["192.0.2.2"],"ttl":300}"#, T + 20).await;
    show(&client, relay, "nip66_dns", &dns("300"), T + 30).await;
    assert_eq!(
        runs(&client).await,
        [
            r#"{"a": ["192.0.2.1"], "ttl": 3600}|0|12"#,
            r#"{"a": ["192.0.2.2"], "ttl": 300}|20|20"#,
            r#"{"a": ["192.0.2.1"], "ttl": 300}|30|30"#
        ]
    );
    // Of other documents a member called ttl is a member.
    for ttl in [300, 120] {
        show(&client, relay, "nip11_info", &dns(&ttl.to_string()), T + 40).await;
    }
    let infos = "SELECT count(*) FROM bigbrotr.relay_metadata WHERE type = 'nip11_info'";
    assert_eq!(text(&client, infos).await.as_deref(), Some("2"));
    let found = "SELECT ttl FROM bigbrotr.relay_dns";
    assert_eq!(text(&client, found).await.as_deref(), Some("300"));
}

#[tokio::test]
async fn changes_of_documents_are_rows() {
    let (_, client) = database().await;
    let relay = add_relay(&client, "wss://a.com").await;
    let day = 24 * HOUR;
    let (one, two) = ("aa".repeat(32), "bb".repeat(32));
    let ssl = |fingerprint: &str, valid: bool, at: i64| {
        let error = if valid { "" } else { r#""error":"expired","# };
        format!(r#"{{"valid":{valid},{error}"fingerprint":"{fingerprint}","issuer_cn":"E5","not_after":{at}}}"#)
    };
    for (kind, document, at) in [
        ("nip11_info", r#"{"name":"n","software":"s","version":"1","supported_nips":[1,11],"limitation":{"max_limit":500,"auth_required":false}}"#.to_owned(), T),
        ("nip66_ssl", ssl(&one, true, 5), T),
        ("nip66_geo", r#"{"country":"DE","ip":"192.0.2.1"}"#.into(), T),
        ("nip66_net", r#"{"asn":1,"ip":"192.0.2.1"}"#.into(), T),
        ("nip66_http", r#"{"server":"nginx","via":"1"}"#.into(), T),
    ] {
        show(&client, relay, kind, &document, at).await;
    }
    assert_eq!(changes(&client).await, Vec::<String>::new(), "what is first seen is no change");
    for (kind, document, expected) in [
        ("nip11_info", r#"{"name":"n","software":"s","version":"1","supported_nips":["11",1,1],"limitation":{"auth_required":0,"max_limit":"500"},"x":1}"#.to_owned(), vec![]),
        ("nip11_info", r#"{"name":"m","software":"s","version":"2","supported_nips":[1,"7D"],"limitation":{"auth_required":true,"max_limit":500}}"#.into(),
         vec![r#"access {"auth_required": false} {"auth_required": true}"#, "name n m", r#"nips ["1", "11"] ["1", "7D"]"#, "version 1 2"]),
        ("nip11_info", r#"{"name":"m","version":"2"}"#.into(),
         vec![r#"access {"auth_required": true} -"#, r#"limits {"max_limit": 500} -"#, r#"nips ["1", "7D"] []"#, "software s -"]),
        ("nip66_ssl", ssl(&one, false, 5), vec![r#"certificate_valid {"valid": true} {"error": "expired", "valid": false}"#]),
        // Could not be read this time: nothing is known to have changed.
        ("nip66_ssl", r#"{"valid":false,"error":"expired"}"#.into(), vec![]),
        ("nip66_geo", r#"{"country":"DE","ip":"192.0.2.9"}"#.into(), vec![]),
        ("nip66_geo", r#"{"country":"FI"}"#.into(), vec!["country DE FI"]),
        ("nip66_geo", "{}".into(), vec![]),
        ("nip66_net", r#"{"asn":2}"#.into(), vec!["asn 1 2"]),
        ("nip66_http", r#"{"server":"nginx","via":"2"}"#.into(), vec![]),
        ("nip66_http", r#"{"server":"caddy"}"#.into(), vec!["server nginx caddy"]),
    ] {
        client.batch_execute("TRUNCATE bigbrotr.relay_change").await.expect("emptied");
        show(&client, relay, kind, &document, T + day).await;
        assert_eq!(changes(&client).await, expected, "{document}");
    }
    client.batch_execute("TRUNCATE bigbrotr.relay_change").await.expect("emptied");
    show(&client, relay, "nip66_ssl", &ssl(&one, true, 5), T + 2 * day).await;
    client.batch_execute("TRUNCATE bigbrotr.relay_change").await.expect("emptied");
    show(&client, relay, "nip66_ssl", &ssl(&two, true, 6), T + 3 * day).await;
    let renewed = format!(
        r#"certificate {{"issuer": "E5", "not_after": 5, "fingerprint": "{one}"}} {{"issuer": "E5", "not_after": 6, "fingerprint": "{two}"}}"#
    );
    assert_eq!(changes(&client).await, [renewed]);
    let at = "SELECT changed_at = to_timestamp(1700259200) FROM bigbrotr.relay_change";
    assert_eq!(text(&client, at).await.as_deref(), Some("t"), "it is dated by the check");
}

#[tokio::test]
async fn an_address_changed_when_it_shares_none_with_the_last_runs() {
    let (_, client) = database().await;
    let relay = add_relay(&client, "wss://a.com").await;
    let mut at = T;
    for (addresses, expected) in [
        (r#""a":["192.0.2.1","192.0.2.2"]"#, 0),
        // Round robin: some of many, others each time.
        (r#""a":["192.0.2.2","192.0.2.3"]"#, 0),
        (r#""a":["192.0.2.3","192.0.2.4"]"#, 0),
        (r#""a":["192.0.2.1"],"aaaa":["2001:db8::1"]"#, 0),
        // No answer is no move.
        (r#""a":[]"#, 0),
        (r#""aaaa":["2001:db8::1"]"#, 0),
        (r#""a":["198.51.100.1"]"#, 1),
        (r#""a":["198.51.100.1","198.51.100.2"]"#, 1),
    ] {
        at += 30 * HOUR;
        show(&client, relay, "nip66_dns", &format!("{{{addresses}}}"), at).await;
        assert_eq!(changes(&client).await.len(), expected, "{addresses}");
    }
    assert_eq!(changes(&client).await, [r#"address ["2001:db8::1"] ["198.51.100.1"]"#]);
}

#[tokio::test]
async fn machines_that_take_turns_are_told_twice_a_day() {
    let (_, client) = database().await;
    let relay = add_relay(&client, "wss://a.com").await;
    for n in 0..48 {
        show(&client, relay, "nip11_info", &format!(r#"{{"version":"{}"}}"#, n % 2), T + n * HOUR).await;
    }
    let found = changes(&client).await;
    assert!((6..=10).contains(&found.len()), "{found:?}");
    assert_eq!(text(&client, "SELECT count(*) FROM bigbrotr.relay_metadata").await.as_deref(), Some("48"));
}

#[tokio::test]
async fn a_document_that_differs_each_time_takes_no_more_than_its_share() {
    let (_, client) = database().await;
    let relay = add_relay(&client, "wss://a.com").await;
    let sql = format!(
        "SELECT bigbrotr.record_metadata({relay}, 'nip11_info', sha256(n::text::bytea), jsonb_build_object('name', n)::text, {T} + n * 60),
                bigbrotr.record_metadata({relay}, 'nip66_http', sha256(n::text::bytea), jsonb_build_object('server', n::text)::text, {T} + n * 60)
         FROM generate_series(1, 1200) AS n ORDER BY n"
    );
    client.batch_execute(&sql).await.expect("recorded");
    let runs = "SELECT type, count(*), bool_and(first_seen_at > to_timestamp(1700000000 + 200 * 60)) FROM bigbrotr.relay_metadata GROUP BY 1 ORDER BY 1";
    assert_eq!(rows(&client, runs).await, ["nip11_info|1000|t", "nip66_http|1000|t"]);
    assert_eq!(changes(&client).await.len(), 8);
    text(&client, "SELECT bigbrotr.maintain(1000000000, 1, 100000)").await;
    assert_eq!(text(&client, "SELECT count(*) FROM bigbrotr.metadata").await.as_deref(), Some("2000"));
}

#[tokio::test]
async fn large_documents_that_differ_each_time_take_a_few_megabytes() {
    let (_, client) = database().await;
    let relay = add_relay(&client, "wss://a.com").await;
    let noise = "(SELECT string_agg(md5(n || '-' || k), '') FROM generate_series(1, 3200) AS k)";
    let sql = format!(
        "SELECT bigbrotr.record_metadata({relay}, 'nip11_info', sha256(n::text::bytea), jsonb_build_object('x', {noise})::text, {T} + n * 60)
         FROM generate_series(1, 80) AS n ORDER BY n"
    );
    client.batch_execute(&sql).await.expect("recorded");
    let kept = "SELECT count(*) BETWEEN 30 AND 60, max(last_seen_at) = to_timestamp(1700000000 + 80 * 60) FROM bigbrotr.relay_metadata";
    assert_eq!(rows(&client, kept).await, ["t|t"]);
    text(&client, "SELECT bigbrotr.maintain(1000000000, 1, 100000)").await;
    let bytes = "SELECT sum(pg_column_size(data)) BETWEEN 3000000 AND 4200000 FROM bigbrotr.metadata";
    assert_eq!(text(&client, bytes).await.as_deref(), Some("t"));
}

#[tokio::test]
async fn times_up_and_down_are_exact_and_weighted_by_time() {
    let (_, client) = database().await;
    let relay = add_relay(&client, "wss://a.com").await;
    // Up 0–10 h, down 10–12 h (tried often), up 12–20 h.
    for h in 0..10 {
        check(&client, relay, T + h * HOUR, None).await;
    }
    for minute in [0, 1, 6, 21, 60] {
        check(&client, relay, T + 10 * HOUR + minute * 60, Some("tcp")).await;
    }
    for h in 12..=20 {
        check(&client, relay, T + h * HOUR, None).await;
    }
    let history = "SELECT online, (EXTRACT(epoch FROM since) - 1700000000)::int / 3600, (EXTRACT(epoch FROM until) - 1700000000)::int / 3600, is_current, error_class
                   FROM bigbrotr.relay_history ORDER BY since";
    assert_eq!(rows(&client, history).await, ["t|0|10|f|NULL", "f|10|12|f|tcp", "t|12|20|t|NULL"]);
    let outage = "SELECT duration, error_class, error, up_at = down_at + duration FROM bigbrotr.relay_outage";
    assert_eq!(rows(&client, outage).await, ["02:00:00|tcp|tcp in words|t"]);
    assert_eq!(
        changes(&client).await,
        [
            r#"down {"since": "2023-11-14T22:13:20+00:00"} {"error": "tcp in words", "error_class": "tcp"}"#,
            r#"up {"since": "2023-11-15T08:13:20+00:00"} -"#
        ]
    );
    let uptime = |from: i64, to: i64| {
        format!("SELECT round(bigbrotr.uptime({relay}, to_timestamp({from}), to_timestamp({to}))::numeric, 4)")
    };
    for (from, to, expected) in [
        (T, T + 20 * HOUR, Some("0.9000")),
        (T + 10 * HOUR, T + 12 * HOUR, Some("0.0000")),
        (T + 9 * HOUR, T + 11 * HOUR, Some("0.5000")),
        (T - 50 * HOUR, T + 50 * HOUR, Some("0.9000")),
        (T + 30 * HOUR, T + 50 * HOUR, None),
    ] {
        assert_eq!(text(&client, &uptime(from, to)).await.as_deref(), expected, "{from} {to}");
    }
    let status = "SELECT online, round(uptime_7d::numeric, 4), online_since = to_timestamp(1700043200), error_class FROM bigbrotr.relay_status";
    assert_eq!(rows(&client, status).await, ["t|0.9000|t|NULL"]);
}

#[tokio::test]
async fn periods_are_the_checks_in_short() {
    let (_, client) = database().await;
    for n in 0..5 {
        add_relay(&client, &format!("wss://relay-{n}.com")).await;
    }
    // Streaks of random length, as often down as up.
    let sql = format!(
        "SELECT bigbrotr.record_check(r, {T} + n * 1800, ok, 1, 1, NULL, CASE WHEN NOT ok THEN 'tcp' || n END, NULL, 3600)
         FROM (SELECT r, n, ('x' || substr(md5((r * 1000 + n / (1 + r))::text), 1, 1))::bit(4)::int > 7 AS ok
               FROM generate_series(1, 5) AS r, generate_series(1, 300) AS n) AS c ORDER BY n, r"
    );
    client.batch_execute(&sql).await.expect("recorded");
    let kept =
        "SELECT relay_url, online, since, until, error_class FROM bigbrotr.relay_history ORDER BY relay_url, since";
    let short = "
        SELECT r.url, s.ok, s.since, coalesce(lead(s.since) OVER (PARTITION BY r.url ORDER BY s.since), s.last), s.error_class
        FROM (SELECT relay_id, ok, min(checked_at) AS since, max(checked_at) AS last, (array_agg(error_class ORDER BY checked_at))[1] AS error_class
              FROM (SELECT *, row_number() OVER (PARTITION BY relay_id ORDER BY checked_at)
                              - row_number() OVER (PARTITION BY relay_id, ok ORDER BY checked_at) AS streak
                    FROM bigbrotr.relay_check) AS c
              GROUP BY relay_id, ok, streak) AS s
        JOIN bigbrotr.relay AS r ON r.id = s.relay_id ORDER BY r.url, s.since";
    let kept = rows(&client, kept).await;
    assert_eq!(kept, rows(&client, short).await);
    assert!(kept.len() > 100, "{} periods", kept.len());
    let flips = "SELECT relay_url, changed_at FROM bigbrotr.relay_changelog WHERE what IN ('up', 'down')
                 EXCEPT SELECT relay_url, since FROM bigbrotr.relay_history";
    assert_eq!(rows(&client, flips).await, Vec::<String>::new());
    let all = "SELECT (SELECT count(*) FROM bigbrotr.relay_changelog WHERE what IN ('up', 'down')) + 5 = (SELECT count(*) FROM bigbrotr.relay_history),
                      (SELECT count(*) FROM bigbrotr.relay_outage) = (SELECT count(*) FROM bigbrotr.relay_history WHERE NOT online)";
    assert_eq!(rows(&client, all).await, ["t|t"]);
    let uptime = "
        SELECT count(*) FROM bigbrotr.relay_monitor AS m
        WHERE abs(m.uptime_7d - (
          SELECT sum(extract(epoch FROM h.until - greatest(h.since, m.last_check_at - interval '7 days'))) FILTER (WHERE h.online)
                 / sum(extract(epoch FROM h.until - greatest(h.since, m.last_check_at - interval '7 days')))
          FROM bigbrotr.relay_history AS h JOIN bigbrotr.relay AS r ON r.url = h.relay_url
          WHERE r.id = m.relay_id AND h.until > m.last_check_at - interval '7 days')) < 0.0001";
    assert_eq!(text(&client, uptime).await.as_deref(), Some("5"));
}

#[tokio::test]
async fn time_nobody_looked_at_counts_neither_way() {
    let (_, client) = database().await;
    let relay = add_relay(&client, "wss://a.com").await;
    for h in [0, 1, 2] {
        check(&client, relay, T + h * HOUR, None).await;
    }
    // A day later; two hours on is late but not too late.
    for h in [26, 27, 29] {
        check(&client, relay, T + h * HOUR, None).await;
    }
    check(&client, relay, T + 30 * HOUR, Some("dns")).await;
    // And an outage that was not watched for a while is one outage.
    for h in [60, 61] {
        check(&client, relay, T + h * HOUR, Some("tcp")).await;
    }
    check(&client, relay, T + 62 * HOUR, None).await;
    let history = "SELECT online, (EXTRACT(epoch FROM since) - 1700000000)::int / 3600, (EXTRACT(epoch FROM until) - 1700000000)::int / 3600
                   FROM bigbrotr.relay_history ORDER BY since";
    assert_eq!(rows(&client, history).await, ["t|0|2", "t|26|30", "f|30|30", "f|60|62", "t|62|62"]);
    let outage = "SELECT duration, error_class FROM bigbrotr.relay_outage";
    assert_eq!(rows(&client, outage).await, ["1 day 08:00:00|dns"]);
    assert_eq!(changes(&client).await.len(), 2, "down and up");
    let known = format!("SELECT bigbrotr.uptime({relay}, '-infinity', 'infinity') = 6.0 / 8.0");
    assert_eq!(text(&client, &known).await.as_deref(), Some("t"));
}

#[tokio::test]
async fn a_late_report_is_a_measurement_and_no_news() {
    let (_, client) = database().await;
    let relay = add_relay(&client, "wss://a.com").await;
    check(&client, relay, T, None).await;
    check(&client, relay, T + 2 * HOUR, None).await;
    check(&client, relay, T + HOUR, Some("timeout")).await;
    check(&client, relay, T + 2 * HOUR, Some("timeout")).await;
    assert_eq!(text(&client, "SELECT count(*) FROM bigbrotr.relay_check").await.as_deref(), Some("3"));
    assert_eq!(text(&client, "SELECT count(*) FROM bigbrotr.relay_history WHERE online").await.as_deref(), Some("1"));
    assert_eq!(text(&client, "SELECT count(*) FROM bigbrotr.relay_outage").await.as_deref(), Some("0"));
    assert_eq!(changes(&client).await, Vec::<String>::new());
    assert_eq!(text(&client, "SELECT online FROM bigbrotr.relay_status").await.as_deref(), Some("t"));
}

#[tokio::test]
async fn a_failure_of_ours_is_none_of_the_relays() {
    let (_, client) = database().await;
    let relay = add_relay(&client, "wss://a.com").await;
    check(&client, relay, T, None).await;
    for (n, class) in ["proxy", "network_off", "busy"].into_iter().enumerate() {
        check(&client, relay, T + (n as i64 + 1) * 60, Some(class)).await;
    }
    check(&client, relay, T + HOUR, None).await;
    let history = "SELECT online, duration FROM bigbrotr.relay_history";
    assert_eq!(rows(&client, history).await, ["t|01:00:00"]);
    assert_eq!(changes(&client).await, Vec::<String>::new());
    assert_eq!(text(&client, "SELECT failures FROM bigbrotr.relay_status").await.as_deref(), Some("0"));
    // Where it lasts, nothing is known of the time.
    check(&client, relay, T + 2 * HOUR, Some("proxy")).await;
    check(&client, relay, T + 9 * HOUR, None).await;
    assert_eq!(rows(&client, history).await, ["t|01:00:00", "t|00:00:00"]);
}

#[tokio::test]
async fn what_fails_through_a_fault_of_ours_waits_its_turn_and_stays_as_it_was() {
    let (_, client) = database().await;
    let relay = add_relay(&client, "wss://a.com").await;
    let now = now(&client).await;
    check(&client, relay, now - 3 * HOUR, None).await;
    let claim = format!("SELECT count(*) FROM bigbrotr.claim_checks(10, 60, {HOUR}, '{{clearnet}}')");
    let status = "SELECT online, last_error, failures FROM bigbrotr.relay_status";
    for class in ["proxy", "network_off", "busy", "no_roots"] {
        client.batch_execute("UPDATE bigbrotr.relay_monitor SET next_check_at = now()").await.expect("due");
        assert_eq!(text(&client, &claim).await.as_deref(), Some("1"), "{class}");
        check(&client, relay, now, Some(class)).await;
        assert_eq!(text(&client, &claim).await.as_deref(), Some("0"), "{class}: not again at once");
        assert_eq!(rows(&client, status).await, [format!("t|{class}: {class} in words|0")]);
        client.batch_execute("DELETE FROM bigbrotr.relay_check WHERE NOT ok").await.expect("the next one");
    }
    // The interval was shortened: who was good is due by the new one.
    client
        .batch_execute("UPDATE bigbrotr.relay_monitor SET next_check_at = now() + interval '5 hours'")
        .await
        .expect("planned by a longer one");
    assert_eq!(text(&client, &claim).await.as_deref(), Some("1"));
}

#[tokio::test]
async fn a_clock_that_was_ahead_holds_up_nothing() {
    let (_, client) = database().await;
    let relay = add_relay(&client, "wss://a.com").await;
    let now = now(&client).await;
    check(&client, relay, now + 9000 * HOUR, None).await;
    client
        .batch_execute("UPDATE bigbrotr.relay_monitor SET next_check_at = now() + interval '1 year'")
        .await
        .expect("as that clock had it");
    let claim = format!("SELECT count(*) FROM bigbrotr.claim_checks(10, 60, {HOUR}, '{{clearnet}}')");
    assert_eq!(text(&client, &claim).await.as_deref(), Some("1"));
    check(&client, relay, now, Some("tcp")).await;
    assert_eq!(
        rows(&client, "SELECT online, failures, checked_at < now() + interval '1 hour' FROM bigbrotr.relay_status")
            .await,
        ["f|1|t"]
    );
}

#[tokio::test]
async fn a_relay_is_dead_after_the_time_of_sixty_checks_and_a_week_at_most() {
    let (_, client) = database().await;
    for (interval, silence, dead) in [
        (1, 59, false),
        (1, 61, true),
        (HOUR, 59 * HOUR, false),
        (HOUR, 61 * HOUR, true),
        (24 * HOUR, 7 * 24 * HOUR + 1, true),
    ] {
        let relay = add_relay(&client, &format!("wss://r{interval}-{silence}.com")).await;
        let fail = |at: i64| {
            format!("SELECT bigbrotr.record_check({relay}, {at}, false, NULL, NULL, NULL, 'tcp', 'x', {interval})")
        };
        text(&client, &format!("SELECT bigbrotr.record_check({relay}, {T}, true, 1, 1, NULL, NULL, NULL, {interval})"))
            .await;
        for n in 1..=4 {
            text(&client, &fail(T + n)).await;
        }
        text(&client, &fail(T + silence)).await;
        let state = format!("SELECT state = 'dead' FROM bigbrotr.relay WHERE id = {relay}");
        assert_eq!(text(&client, &state).await.as_deref(), Some(if dead { "t" } else { "f" }), "{interval} {silence}");
    }
}

#[tokio::test]
async fn the_history_of_a_dead_relay_has_no_holes_of_our_own_making() {
    let (_, client) = database().await;
    let relay = add_relay(&client, "wss://a.com").await;
    check(&client, relay, T, None).await;
    let mut at = T;
    // As late as the schedule has it each time.
    for _ in 0..20 {
        at += HOUR;
        check(&client, relay, at, Some("tcp")).await;
    }
    for _ in 0..20 {
        let next = format!(
            "SELECT ceil(EXTRACT(epoch FROM next_check_at - now()))::bigint FROM bigbrotr.relay_monitor WHERE relay_id = {relay}"
        );
        at += text(&client, &next).await.expect("planned").parse::<i64>().expect("a number");
        check(&client, relay, at, Some("tcp")).await;
    }
    assert_eq!(
        text(&client, "SELECT count(*) FROM bigbrotr.relay_history WHERE NOT online").await.as_deref(),
        Some("1")
    );
}

#[tokio::test]
async fn the_state_of_a_relay_has_a_history() {
    let (_, client) = database().await;
    let relay = add_relay(&client, "wss://a.com").await;
    client.batch_execute("UPDATE bigbrotr.relay SET discovered_at = 'epoch'").await.expect("an old one");
    for n in 0..5 {
        check(&client, relay, T + n * HOUR, Some("dns")).await;
    }
    assert_eq!(text(&client, "SELECT state FROM bigbrotr.relay").await.as_deref(), Some("dead"));
    check(&client, relay, T + 6 * HOUR, None).await;
    for sql in ["INSERT INTO bigbrotr.block (pattern) VALUES ('wss://a.%')", "DELETE FROM bigbrotr.block"] {
        client.batch_execute(&format!("{sql}; SELECT bigbrotr.apply_blocks()")).await.expect("applied");
    }
    let told = "SELECT what, old, new FROM bigbrotr.relay_changelog WHERE what <> 'up' ORDER BY id";
    assert_eq!(
        rows(&client, told).await,
        ["dead|active|dead", "revived|dead|active", "blocked|active|blocked", "unblocked|blocked|active"]
    );
    let up = "SELECT count(*) FROM bigbrotr.relay_changelog WHERE what = 'up'";
    assert_eq!(text(&client, up).await.as_deref(), Some("1"));
}

#[tokio::test]
async fn history_goes_after_its_time_but_what_is_so_now_stays() {
    let (_, client) = database().await;
    let (old, young) = (add_relay(&client, "wss://a.com").await, add_relay(&client, "wss://b.com").await);
    let now: i64 = text(&client, "SELECT floor(EXTRACT(epoch FROM now()))::bigint - 60")
        .await
        .and_then(|n| n.parse().ok())
        .expect("now");
    for h in 0..40 {
        check(&client, old, T + h * HOUR, (h % 10 > 4).then_some("tcp")).await;
        check(&client, young, now - (40 - h) * HOUR, (h % 10 > 4).then_some("tcp")).await;
    }
    let before = rows(&client, "SELECT * FROM bigbrotr.relay_status ORDER BY url").await;
    let mut rounds = 0;
    loop {
        let more = text(&client, "SELECT bigbrotr.maintain(88200, 88200, 7) -> 'more'").await;
        rounds += 1;
        assert!(rounds < 50, "it ends");
        if more.as_deref() == Some("false") {
            break;
        }
    }
    assert!(rounds > 3, "in batches");
    let kept = "SELECT r.url, count(*) FROM bigbrotr.relay AS r JOIN bigbrotr.relay_check AS c ON c.relay_id = r.id GROUP BY 1 ORDER BY 1";
    assert_eq!(rows(&client, kept).await, ["wss://a.com|1", "wss://b.com|24"]);
    let open = "SELECT count(*), bool_and(up_at IS NULL) FROM bigbrotr.relay_outage WHERE relay_url = 'wss://a.com'";
    assert_eq!(rows(&client, open).await, ["1|t"], "it is still down");
    let late = "SELECT count(*) FROM bigbrotr.relay_change WHERE changed_at < now() - interval '1 day 1 hour'";
    assert_eq!(text(&client, late).await.as_deref(), Some("0"));
    assert_eq!(text(&client, "SELECT count(*) > 0 FROM bigbrotr.relay_change").await.as_deref(), Some("t"));
    assert_eq!(rows(&client, "SELECT * FROM bigbrotr.relay_status ORDER BY url").await, before, "and shown as before");
}

#[tokio::test]
async fn uptime_views_tell_the_windows_apart() {
    let (_, client) = database().await;
    let relay = add_relay(&client, "wss://a.com").await;
    add_relay(&client, "wss://new.com").await;
    let now: i64 = text(&client, "SELECT floor(EXTRACT(epoch FROM now()))::bigint - 60")
        .await
        .and_then(|n| n.parse().ok())
        .expect("now");
    // Twenty days, the hours 48 to 72 ago down.
    for h in (0..=480).rev() {
        check(&client, relay, now - h * HOUR, (h > 48 && h <= 72).then_some("tcp")).await;
    }
    let shown = "SELECT relay_url, online, round(uptime_1d::numeric, 2), round(uptime_7d::numeric, 2), round(uptime_30d::numeric, 2),
                        outages_7d, outages_30d, down_30d, longest_outage_30d, EXTRACT(epoch FROM known_30d) / 3600
                 FROM bigbrotr.relay_uptime ORDER BY relay_url";
    assert_eq!(
        rows(&client, shown).await,
        [
            "wss://a.com|t|1.00|0.86|0.95|1|1|24:00:00|1 day|480.0000000000000000",
            "wss://new.com|NULL|NULL|NULL|NULL|0|0|00:00:00|NULL|0.00000000000000000000"
        ]
    );
    let latency =
        "SELECT checks, failed, open_ms_p50, read_ms_avg, write_ms_p95 FROM bigbrotr.relay_latency ORDER BY relay_url";
    assert_eq!(rows(&client, latency).await, ["168|24|10|20|NULL", "0|0|NULL|NULL|NULL"]);
}
