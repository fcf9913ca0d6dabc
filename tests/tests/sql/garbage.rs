//! Whatever a session hands to a function of the contract, it gets an answer, NULL, or an error that helps; the server
//! stays up.

use tokio_postgres::{Client, error::SqlState};

use crate::support::{cluster, database, event, quote, text, try_text};

fn texts() -> Vec<String> {
    let valid = event(0, "hello");
    let mut texts: Vec<String> = [
        "",
        " ",
        "\n",
        "\u{1}",
        "\u{7f}",
        "\u{feff}",
        "\u{fffd}",
        "💜",
        "NULL",
        "null",
        "true",
        "0",
        "-1",
        "1e999999",
        "[]",
        "{}",
        "[[]]",
        "{\"a\":}",
        "\"",
        "\\",
        "'",
        "''",
        "$1",
        "%s%n",
        "../../etc/passwd",
        "<script>",
        "; DROP TABLE bigbrotr.event",
        "wss://",
        "wss:///",
        "ws://[",
        "ws://[::1",
        "wss://a.com:99999",
        "wss://%00",
        "wss://\u{0430}pple.com",
        "wss://xn--a",
        "wss://a..com",
        "nsec1",
        "npub1",
        "note1\u{0}".trim_end_matches('\0'),
        "{\"id\":null}",
        "{\"id\":\"\\ud800\"}",
        "{\"content\":\"\\u0000\"}",
        "{\"kinds\":[99999999999999999999]}",
        "{\"since\":1e400}",
        "\\ud83d\\ude00",
        "\u{202e}gpj.exe",
        "{\"a\":1,\"a\":2}",
    ]
    .map(str::to_owned)
    .into();
    texts.push("a".repeat(1 << 20));
    texts.push("wss://".repeat(50_000));
    texts.push(format!("wss://{}.com", "a".repeat(70_000)));
    texts.push("[".repeat(200_000));
    texts.push("{\"a\":".repeat(100_000));
    texts.push(format!("{}1{}", "[".repeat(3_000), "]".repeat(3_000)));
    texts.push(format!("[{}]", "1,".repeat(100_000)));
    texts.push(format!("\"{}\"", "\\u0000".repeat(10_000)));
    texts.push("9".repeat(100_000));
    texts.push(format!("{{\"kinds\":[{}1]}}", "1,".repeat(20_000)));
    texts.push(format!("npub1{}", "q".repeat(100_000)));
    // An event with each of its bytes in turn taken out, one in ten.
    texts.extend(
        (0..valid.len())
            .step_by(10)
            .filter(|n| valid.is_char_boundary(*n))
            .map(|n| format!("{}{}", &valid[..n], &valid[n + 1..])),
    );
    texts.push(format!("{valid}{valid}"));
    texts.push(valid.replace("[[", "[[[").replace("]]", "]]]"));
    texts
}

/// Calls that take a text, and whether an error 22023 with a hint is among their answers.
const TEXT_CALLS: &[(&str, bool)] = &[
    ("bigbrotr.normalize_relay_url($1)", false),
    ("(SELECT count(*) FROM bigbrotr.extract_relay_urls($1))", false),
    ("bigbrotr.seed(ARRAY[$1])", false),
    ("bigbrotr.event_id($1)", false),
    ("bigbrotr.event_verify($1)", false),
    ("bigbrotr.event_refusal(convert_to($1, 'UTF8'))", false),
    ("bigbrotr.event_insert(ARRAY[$1], 'wss://nos.lol')", false),
    ("bigbrotr.event_insert(ARRAY['{}'], $1)", true),
    ("bigbrotr.nip19_decode($1)", true),
    ("bigbrotr.run_service($1)", true),
    ("bigbrotr.filter_condition($1)", true),
    ("bigbrotr.filter_limit($1)", true),
    ("bigbrotr.native_canonical_json($1)", true),
    ("bigbrotr.operator_relay_url($1)", false),
    ("bigbrotr.relay_url_network($1)", false),
    ("bigbrotr.tag_hash($1, 'x')", false),
    ("bigbrotr.tag_hash('t', $1)", false),
];

/// Calls that take a jsonb. What PostgreSQL itself refuses as jsonb does not reach them.
const JSON_CALLS: &[(&str, bool)] = &[
    ("bigbrotr.canonical_json($1)", true),
    ("bigbrotr.content_hash($1)", true),
    ("(SELECT count(*) FROM bigbrotr.query($1))", true),
    ("(SELECT count(*) FROM bigbrotr.query($1, true))", true),
    ("bigbrotr.tag_hashes($1)", false),
    ("bigbrotr.d_tag($1)", false),
    ("bigbrotr.expiration($1)", false),
    ("bigbrotr.nip_numbers($1)", false),
    ("bigbrotr.typed_document('nip11_info', $1)", false),
    ("bigbrotr.typed_document('nip66_ssl', $1)", false),
    ("bigbrotr.typed_document('nip66_dns', $1)", false),
    ("bigbrotr.typed_document('nip66_geo', $1)", false),
    ("bigbrotr.typed_document('nip66_net', $1)", false),
    ("bigbrotr.typed_document('nip66_http', $1)", false),
];

#[tokio::test]
async fn garbage_gets_an_answer_and_never_a_crash() {
    let (_, client) = database().await;
    let postmaster = cluster().pid();
    let backend = text(&client, "SELECT pg_backend_pid()").await;
    let mut asked = 0;
    for garbage in texts() {
        let literal = quote(&garbage);
        for (call, may_fail) in TEXT_CALLS {
            judge(&client, call, &literal, *may_fail).await;
            asked += 1;
        }
        let json = format!("{literal}::jsonb");
        if client.simple_query(&format!("SELECT {json}")).await.is_ok() {
            for (call, may_fail) in JSON_CALLS {
                judge(&client, call, &json, *may_fail).await;
                asked += 1;
            }
        }
    }
    for bytes in ["''", "'\\x00'", "'\\xff'", "decode(repeat('ff', 100000), 'hex')", "decode(repeat('00', 32), 'hex')"]
    {
        let bytes = format!("{bytes}::bytea");
        for call in ["bigbrotr.npub($1)", "bigbrotr.note($1)"] {
            judge(&client, call, &bytes, true).await;
        }
        for call in ["(SELECT count(*) FROM bigbrotr.relays_of($1))", "bigbrotr.event_refusal($1)"] {
            judge(&client, call, &bytes, false).await;
        }
        judge(&client, "bigbrotr.event_to_json($1, $1, 1, 1, '[]', '', $1, $1)", &bytes, false).await;
        // Damaged leaves are errors of their own.
        for call in ["bigbrotr.sighting_members($1)", "bigbrotr.sighting_has($1, 1)"] {
            let _ = try_text(&client, &format!("SELECT {}", call.replace("$1", &bytes))).await;
        }
    }
    assert!(asked > 1_000, "{asked} calls");
    assert_eq!(text(&client, "SELECT pg_backend_pid()").await, backend, "the session lives");
    assert_eq!(cluster().pid(), postmaster);
    assert!(!cluster().log().contains("was terminated by signal"), "{}", cluster().log());
}

async fn judge(client: &Client, call: &str, argument: &str, may_fail: bool) {
    let Err(error) = try_text(client, &format!("SELECT {}", call.replace("$1", argument))).await else { return };
    let shown: String = argument.chars().take(100).collect();
    let error = error.as_db_error().unwrap_or_else(|| panic!("{call} of {shown}: {error:?}"));
    assert!(may_fail, "{call} of {shown}: {error:?}");
    assert_eq!(error.code(), &SqlState::INVALID_PARAMETER_VALUE, "{call} of {shown}: {error:?}");
    assert!(error.hint().is_some_and(|hint| hint.len() > 10), "{call} of {shown}: no hint: {error:?}");
    assert!(error.message().len() < 1_000, "{call} of {shown}: it repeats the garbage");
}

#[tokio::test]
async fn null_gives_null_or_says_why_not() {
    let (_, client) = database().await;
    for call in [
        "normalize_relay_url(NULL)",
        "event_id(NULL)",
        "event_verify(NULL)",
        "canonical_json(NULL)",
        "content_hash(NULL)",
        "npub(NULL)",
        "note(NULL)",
        "nip19_decode(NULL)",
        "run_service(NULL)",
        "event_json(NULL::bigbrotr.event)",
    ] {
        assert_eq!(text(&client, &format!("SELECT bigbrotr.{call}")).await, None, "{call}");
    }
    for call in ["extract_relay_urls(NULL)", "relays_of(NULL)"] {
        assert_eq!(
            text(&client, &format!("SELECT count(*) FROM bigbrotr.{call}")).await.as_deref(),
            Some("0"),
            "{call}"
        );
    }
}
