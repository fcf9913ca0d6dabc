//! NIP-42, the relay's side.

use rand::random;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Error;

use super::{Auth, Challenge, RelayOptions, connection::Connection, served::bump};
use crate::signed;

/// Allowed distance of an AUTH event from now, in seconds (NIP-42: about 10 minutes).
const WINDOW: i64 = 600;
const REQUIRED: &str = "auth-required: only for authenticated clients";

/// What a client without the right to ask gets.
pub(crate) enum Barred {
    /// Nothing.
    Silently,
    /// A refusal.
    With(&'static str),
}

/// Who a client has proven to be.
pub(crate) struct Gate {
    /// The challenge that counts.
    challenge: Option<String>,
    pub authenticated: bool,
}

fn new_challenge(bytes: usize) -> String {
    format!("{:032x}{}", random::<u128>(), "x".repeat(bytes.saturating_sub(32)))
}

impl Gate {
    pub fn new() -> Self {
        Self { challenge: None, authenticated: false }
    }

    /// The challenges of a new connection.
    pub async fn open(&mut self, connection: &Connection, options: &RelayOptions) -> Result<(), Error> {
        let (number, bytes) = match options.challenge {
            _ if options.auth == Auth::None => (0, 0),
            Challenge::AtConnect => (1, 32),
            Challenge::Several(number) => (number, 32),
            Challenge::Oversize(bytes) => (1, bytes),
            Challenge::OnRefusal | Challenge::Renewed | Challenge::Never => (0, 0),
        };
        for _ in 0..number {
            self.send(connection, new_challenge(bytes)).await?;
        }
        Ok(())
    }

    async fn send(&mut self, connection: &Connection, challenge: String) -> Result<(), Error> {
        let message = json!(["AUTH", challenge]);
        self.challenge = Some(challenge);
        connection.say(message).await
    }

    /// What NIP-42 leaves of a request; a challenge is sent along where the relay is of that sort.
    pub async fn check(&mut self, connection: &Connection, options: &RelayOptions) -> Result<Option<Barred>, Error> {
        let barred = match options.auth {
            Auth::None => None,
            Auth::Restricted if self.authenticated => return Ok(Some(Barred::With("restricted: not for you"))),
            _ if self.authenticated => None,
            Auth::Silent => Some(Barred::Silently),
            _ => Some(Barred::With(REQUIRED)),
        };
        let challenge = match options.challenge {
            Challenge::OnRefusal => self.challenge.is_none(),
            Challenge::Renewed => true,
            _ => false,
        };
        if barred.is_some() && challenge {
            self.send(connection, new_challenge(32)).await?;
        }
        Ok(barred)
    }

    pub async fn authenticate(
        &mut self,
        event: &Value,
        connection: &Connection,
        options: &RelayOptions,
    ) -> Result<(), Error> {
        let id = event.get("id").and_then(Value::as_str).unwrap_or_default();
        let result = match options.auth {
            Auth::None => Err("no challenge"),
            Auth::Rejected => Err("you are not known here"),
            _ => self.verify(event, connection),
        };
        if result.is_ok() {
            self.authenticated = true;
            bump(&connection.shared.counters.auths);
            if options.auth == Auth::Unconfirmed {
                return Ok(());
            }
        }
        let text = result.err().map(|reason| format!("invalid: {reason}")).unwrap_or_default();
        connection.say(json!(["OK", id, result.is_ok(), text])).await
    }

    fn verify(&self, event: &Value, connection: &Connection) -> Result<(), &'static str> {
        signed::verify(event)?;
        let tags = event.get("tags").and_then(Value::as_array).ok_or("no tags")?;
        let tag = |name: &str| {
            let tag = tags.iter().find(|tag| tag.get(0).and_then(Value::as_str) == Some(name));
            tag.and_then(|tag| tag.get(1)).and_then(Value::as_str)
        };
        if event.get("kind").and_then(Value::as_u64) != Some(22242) {
            return Err("kind is not 22242");
        }
        if self.challenge.is_none() || tag("challenge") != self.challenge.as_deref() {
            return Err("wrong challenge");
        }
        let address = connection.shared.address;
        let hosts = [format!("ws://{address}"), format!("ws://localhost:{}", address.port())];
        let relay = tag("relay").map(|relay| relay.trim_end_matches('/'));
        if !hosts.iter().any(|host| relay == Some(host.as_str())) {
            return Err("relay tag names another relay");
        }
        let at = event.get("created_at").and_then(Value::as_i64).unwrap_or_default();
        if (at - crate::generate::now()).abs() > WINDOW { Err("created_at is not now") } else { Ok(()) }
    }
}
