use super::*;
use crate::testing::{Answers, Relay, config};

async fn measure_with(answers: Answers) -> Reading {
    let relay = Relay::start(answers).await;
    let settings = Settings::new(&config(), None);
    let url = RelayUrl::from_key(&relay.url()).expect("a key");
    let wanted = Wanted { rtt: true, stay: false };
    measure(&url, wanted, &settings, &MemoryBudget::unlimited()).await.reading
}

fn assert_answered(reading: &Reading) {
    assert!(reading.open_ms.is_some_and(|ms| ms > 0.0), "{reading:?}");
    assert!(reading.read_ms.is_some_and(|ms| ms > 0.0), "{reading:?}");
    assert_eq!(reading.failure, None);
}

fn class(reading: &Reading) -> Option<&'static str> {
    reading.failure.as_ref().map(|failure| failure.class)
}

#[tokio::test]
async fn an_empty_relay_that_ends_its_answer_is_a_success() {
    for frame in [r#"["EOSE","SUB"]"#, r#"["EOSE","SUB","finish"]"#, r#"["EVENT","SUB",{"id":"x"}]"#] {
        let reading = measure_with(Answers::frames(&[frame])).await;
        assert_answered(&reading);
        assert_eq!(reading.remark, None, "{frame}");
    }
}

#[tokio::test]
async fn a_refusal_is_an_answer_and_says_why() {
    let reading = measure_with(Answers::frames(&[r#"["CLOSED","SUB","auth-required: who are\nyou?"]"#])).await;
    assert_answered(&reading);
    assert_eq!(reading.remark.as_deref(), Some("CLOSED auth-required: who are\u{FFFD}you?"));
}

#[tokio::test]
async fn only_our_subscription_counts() {
    let noise = [r#"["EVENT","other",{}]"#, r#"["EOSE","other"]"#, "nonsense", "[[[[", r#"["NOTICE","welcome"]"#];
    let reading = measure_with(Answers::frames(&noise[..4])).await;
    assert_eq!((class(&reading), reading.read_ms), (Some("silence"), None));
    assert!(reading.open_ms.is_some());
    let answered = [&noise[..], &[r#"["EOSE","SUB"]"#]].concat();
    let reading = measure_with(Answers::frames(&answered)).await;
    assert_answered(&reading);
    assert_eq!(reading.remark, None);
}

#[tokio::test]
async fn a_relay_that_only_asks_for_auth_or_sends_a_notice_is_there_but_was_not_read() {
    let greeting = vec![r#"["AUTH","challenge"]"#.to_owned()];
    let reading = measure_with(Answers { greeting, ..Answers::default() }).await;
    assert_eq!((class(&reading), reading.read_ms), (None, None));
    assert_eq!(reading.remark.as_deref(), Some("AUTH asked for"));
    let hang_up = Answers { hang_up: true, ..Answers::frames(&[r#"["NOTICE","blocked: go away"]"#]) };
    let reading = measure_with(hang_up).await;
    assert_eq!((class(&reading), reading.remark.as_deref()), (None, Some("NOTICE blocked: go away")));
}

#[tokio::test]
async fn a_notice_that_refuses_nothing_is_no_answer() {
    let reading = measure_with(Answers::frames(&[r#"["NOTICE","maintenance tonight"]"#])).await;
    assert_eq!((class(&reading), reading.read_ms, reading.remark.as_deref()), (Some("silence"), None, None));
    assert!(reading.failure.is_some_and(|failure| failure.text.ends_with("; NOTICE maintenance tonight")));
    let gone = Answers { hang_up: true, ..Answers::frames(&[r#"["NOTICE","maintenance tonight"]"#]) };
    assert!(matches!(class(&measure_with(gone).await), Some("tcp" | "ws")));
    // Nor does a challenge excuse what follows it.
    let event = format!(r#"["EVENT","SUB",{{"content":"{}"}}]"#, "x".repeat(5 << 20));
    let greeting = vec![r#"["AUTH","challenge"]"#.to_owned()];
    let large = Answers { greeting: greeting.clone(), ..Answers::frames(&[&event]) };
    assert_eq!(class(&measure_with(large).await), Some("oversize"));
    let event = format!(r#"["EVENT","SUB",{{"content":"{}"}}]"#, "x".repeat(300 << 10));
    assert_answered(&measure_with(Answers { greeting, ..Answers::frames(&[&event]) }).await);
}

#[tokio::test]
async fn failures_have_their_class() {
    let silent = measure_with(Answers::default()).await;
    assert_eq!(class(&silent), Some("silence"));
    let gone = measure_with(Answers { hang_up: true, ..Answers::default() }).await;
    assert!(matches!(class(&gone), Some("tcp" | "ws")), "{gone:?}");
    let web = Answers { http_only: true, ..Answers::document(200, "<html></html>") };
    assert_eq!(class(&measure_with(web).await), Some("http"));
    let flood = vec![r#"["EVENT","other",{}]"#.to_owned(); MAX_FRAMES + 10];
    assert_eq!(class(&measure_with(Answers { frames: flood, ..Answers::default() }).await), Some("protocol"));
}

#[tokio::test]
async fn a_large_event_is_an_answer() {
    let event = format!(r#"["EVENT","SUB",{{"content":"{}"}}]"#, "x".repeat(300 << 10));
    assert_answered(&measure_with(Answers::frames(&[&event])).await);
    let beyond = format!(r#"["EVENT","SUB",{{"content":"{}"}}]"#, "x".repeat(5 << 20));
    assert_eq!(class(&measure_with(Answers::frames(&[&beyond])).await), Some("oversize"));
}
