//! NIP-77, the relay's side.

use std::collections::{HashMap, HashSet};

use negentropy::{Id, Negentropy as Engine, NegentropyStorageVector as Snapshot};
use rand::{RngCore, rng};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::{NegFault, NegOff, NegOn, Negentropy, RelayOptions, connection::Connection, filter::Filter, served::bump};
use crate::signed::hex;

/// Protocol version 1 (NIP-77).
const VERSION: u8 = 0x61;
/// A bound at the end of all: timestamp "infinity", no id prefix.
const END: [u8; 2] = [0, 0];

/// Reconciliations open on one connection.
#[derive(Default)]
pub(crate) struct Reconciliations(HashMap<String, Open>);

struct Open {
    engine: Engine<'static, Snapshot>,
    round: u64,
}

impl Reconciliations {
    pub fn close(&mut self, sub: &str) {
        self.0.remove(sub);
    }

    /// NEG-OPEN.
    pub async fn open(
        &mut self,
        sub: &str,
        filter: &Value,
        message: &str,
        connection: &Connection,
        options: &RelayOptions,
    ) -> Result<(), Error> {
        self.close(sub);
        let on = match &options.negentropy {
            Negentropy::On(on) => on,
            Negentropy::Off(off) => {
                let answer = match off {
                    NegOff::Notice => json!(["NOTICE", "invalid: NEG-OPEN not understood"]),
                    NegOff::NegErr(text) => json!(["NEG-ERR", sub, text]),
                    NegOff::Closed(text) => json!(["CLOSED", sub, text]),
                    NegOff::Silent => return Ok(()),
                };
                return connection.say(answer).await;
            }
        };
        let filter = match Filter::parse(filter) {
            Ok(filter) => filter,
            Err(error) => return connection.say(json!(["NEG-ERR", sub, format!("invalid: {error}")])).await,
        };
        let mut records = connection.shared.records(filter);
        if let Some(max) = on.max_records.filter(|max| records.len() > *max) {
            const TEXT: &str = "blocked: too many query results";
            let answer = if on.tell_max { json!(["NEG-ERR", sub, TEXT, max]) } else { json!(["NEG-ERR", sub, TEXT]) };
            return connection.say(answer).await;
        }
        records.extend(&on.phantoms);
        match engine(&records, on.frame_limit) {
            Ok(engine) => {
                self.0.insert(sub.to_owned(), Open { engine, round: 0 });
                self.message(sub, message, connection, options).await
            }
            Err(error) => connection.say(json!(["NEG-ERR", sub, format!("error: {error}")])).await,
        }
    }

    /// The client's part of a round.
    pub async fn message(
        &mut self,
        sub: &str,
        message: &str,
        connection: &Connection,
        options: &RelayOptions,
    ) -> Result<(), Error> {
        bump(&connection.shared.counters.neg_messages);
        let fault = match &options.negentropy {
            Negentropy::On(NegOn { fault, .. }) => fault.as_ref(),
            Negentropy::Off(_) => None,
        };
        let Some(open) = self.0.get_mut(sub) else {
            return connection.say(json!(["NEG-ERR", sub, "closed: no such subscription"])).await;
        };
        open.round += 1;
        let answer = match fault {
            Some(NegFault::Garbage(text)) => Ok(text.clone()),
            Some(NegFault::Endless) => Ok(hex(&differs())),
            Some(NegFault::Flood(number)) => Ok(hex(&flood(*number))),
            Some(NegFault::SilentFrom(round)) if open.round >= *round => return Ok(()),
            Some(NegFault::ErrAt(round, text)) if open.round == *round => Err(text.clone()),
            Some(NegFault::CutAt(round)) if open.round == *round => return Err(Error::ConnectionClosed),
            Some(NegFault::OtherVersion) => Ok("62".to_owned()),
            _ => bytes(message)
                .ok_or_else(|| "invalid: no hex".to_owned())
                .and_then(|query| open.engine.reconcile(&query).map_err(|error| format!("invalid: {error}")))
                .map(|answer| hex(&answer)),
        };
        let foreign = format!("not-{sub}");
        let name = if fault == Some(&NegFault::ForeignSub) { &foreign } else { sub };
        match answer {
            Ok(answer) => connection.send(Message::text(format!(r#"["NEG-MSG",{},"{answer}"]"#, json!(name)))).await,
            Err(text) => {
                self.close(sub);
                connection.say(json!(["NEG-ERR", name, text])).await
            }
        }
    }
}

fn engine(
    records: &HashSet<(u64, [u8; 32])>,
    frame_limit: u64,
) -> Result<Engine<'static, Snapshot>, negentropy::Error> {
    let mut snapshot = Snapshot::with_capacity(records.len());
    for (created_at, id) in records {
        snapshot.insert(*created_at, Id::from_byte_array(*id))?;
    }
    snapshot.seal()?;
    Engine::owned(snapshot, frame_limit)
}

/// One range over everything with a fingerprint that no set has.
fn differs() -> Vec<u8> {
    let mut message = vec![VERSION, END[0], END[1], 1];
    let mut fingerprint = [0; 16];
    rng().fill_bytes(&mut fingerprint);
    message.extend(fingerprint);
    message
}

/// One range over everything with this many random ids.
fn flood(number: usize) -> Vec<u8> {
    let mut message = vec![VERSION, END[0], END[1], 2];
    message.extend(varint(number));
    let mut ids = vec![0; number * 32];
    rng().fill_bytes(&mut ids);
    message.extend(ids);
    message
}

/// Base 128, most significant group first.
fn varint(mut number: usize) -> Vec<u8> {
    let mut groups = vec![(number & 127) as u8];
    while number > 127 {
        number >>= 7;
        groups.push((number & 127) as u8 | 128);
    }
    groups.reverse();
    groups
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    if hex.len() % 2 == 1 || !hex.is_ascii() {
        return None;
    }
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(hex.get(i..i + 2)?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_the_protocol_says() {
        assert_eq!([127, 128, 300, 1_700_000_000].map(|n| hex(&varint(n))), ["7f", "8100", "822c", "86aacfe200"]);
    }
}
