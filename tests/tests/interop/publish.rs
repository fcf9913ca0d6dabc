//! Reports of our monitor on relays that other people wrote.

use bigbrotr_tests::publishing::World;
use futures_util::{SinkExt, StreamExt};
use nostr::event::Event;
use serde_json::Value;
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{client_async, tungstenite::Message};

use crate::{DEADLINE, server::Server};

const DOCUMENT: &str = r#"{"name":"Ünïcode \"relay\" \\","supported_nips":[1,11],"tags":["news"]}"#;

/// What the relay has for a filter.
async fn asked(server: &Server, filter: &str) -> Vec<Event> {
    let stream = TcpStream::connect(server.address()).await.expect("connects");
    let (mut socket, _) = client_async(server.url(), stream).await.expect("upgrades");
    socket.send(Message::text(format!(r#"["REQ","q",{filter}]"#))).await.expect("sends");
    let mut events = Vec::new();
    loop {
        let message = timeout(DEADLINE, socket.next()).await.expect("in time").expect("a message").expect("a frame");
        let Ok(message) = serde_json::from_str::<Value>(message.to_text().unwrap_or_default()) else { continue };
        match message[0].as_str() {
            Some("EVENT") => events.push(Event::from_json(message[2].to_string()).expect("an event")),
            Some("EOSE") => return events,
            Some("CLOSED") => panic!("{message}"),
            _ => {}
        }
    }
}

/// The relay accepts all four kinds, hands a report out by its `d` and its place, and keeps the newest one.
pub async fn is_published_to(server: &Server) {
    let mut world = World::new(&[]).await;
    let id = world.relay("wss://relay-a.com").await;
    world.document(id, "nip11_info", DOCUMENT).await;
    world.document(id, "nip66_geo", r#"{"country":"DE","geohash":"u33dc0cpke","accuracy_km":20}"#).await;
    world.check(id, true).await;
    world.publish_to_url(&server.url(), &[]).await;
    let accepted = "SELECT accepted = 4 AND refused + unanswered + pending = 0 FROM bigbrotr.publish_status";
    world.wait(accepted, "the relay to accept everything").await;
    for filter in [r##"{"kinds":[30166],"#d":["wss://relay-a.com/"]}"##, r##"{"kinds":[30166],"#g":["u33"]}"##] {
        let found = asked(server, filter).await;
        assert_eq!(found.len(), 1, "{filter}");
        found[0].verify().expect("valid");
        let document: Value = serde_json::from_str(&found[0].content).expect("the document");
        assert_eq!(document, serde_json::from_str::<Value>(DOCUMENT).expect("JSON"));
    }
    let key = asked(server, r#"{"kinds":[30166]}"#).await[0].pubkey;
    let own = asked(server, &format!(r#"{{"kinds":[0,10002,10166],"authors":["{key}"]}}"#)).await;
    assert_eq!(own.len(), 3);
    world.document(id, "nip11_info", r#"{"name":"renamed"}"#).await;
    world.check(id, true).await;
    world.wait("SELECT event LIKE '%renamed%' FROM bigbrotr.publication WHERE kind = 30166", "the next report").await;
    world.wait(accepted, "the relay to accept it").await;
    let found = asked(server, r##"{"kinds":[30166],"#d":["wss://relay-a.com/"]}"##).await;
    assert_eq!(found.iter().map(|event| event.content.as_str()).collect::<Vec<_>>(), [r#"{"name":"renamed"}"#]);
}
