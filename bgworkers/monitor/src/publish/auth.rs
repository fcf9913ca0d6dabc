//! NIP-42 towards a relay published to: when to answer its challenge, and what came of it.

use std::time::Duration;

use bigbrotr_models::{Signer, hex};
use bigbrotr_nips::nip42::auth_fields;
use tokio::time::Instant;

/// How long a relay that wants AUTH may take to send its challenge.
const CHALLENGE_PATIENCE: Duration = Duration::from_secs(3);
/// Answers to challenges on one connection.
const MAX_ANSWERS: u32 = 3;

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nobody wants it.
    Idle,
    /// A challenge is waited for.
    Wanted { until: Instant },
    /// The answer's OK is waited for.
    Answered { until: Instant },
    /// The relay knows us.
    Accepted,
}

/// The state of a connection.
pub struct Auth {
    signer: Option<Signer>,
    url: String,
    state: State,
    challenge: Option<String>,
    answers: u32,
    /// Id of our answer, in hex.
    id: String,
}

impl Auth {
    /// A new connection to `url`; without a signer nobody is told anything.
    pub fn new(signer: Option<Signer>, url: String) -> Self {
        Self { signer, url, state: State::Idle, challenge: None, answers: 0, id: String::new() }
    }

    /// The relay sent a challenge; it replaces any earlier one.
    pub fn challenged(&mut self, challenge: &str) {
        if !challenge.is_empty() {
            self.challenge = Some(challenge.to_owned());
        }
    }

    /// The relay wants to know who we are. False: we cannot or will not tell, or it knows already.
    pub fn want(&mut self) -> bool {
        if self.signer.is_none() || self.answers >= MAX_ANSWERS {
            return false;
        }
        match self.state {
            // A new challenge is another try; without one it knows us and refuses all the same.
            State::Accepted if self.challenge.is_none() => false,
            State::Wanted { .. } | State::Answered { .. } => true,
            State::Idle | State::Accepted => {
                self.state = State::Wanted { until: Instant::now() + CHALLENGE_PATIENCE };
                true
            }
        }
    }

    /// Whether nothing should be sent until this is settled.
    pub fn is_under_way(&self) -> bool {
        matches!(self.state, State::Wanted { .. } | State::Answered { .. })
    }

    /// Whether the relay sent a challenge nobody answered yet.
    pub fn was_challenged(&self) -> bool {
        self.signer.is_some() && self.challenge.is_some()
    }

    /// When waiting ends.
    pub fn until(&self) -> Option<Instant> {
        match self.state {
            State::Wanted { until } | State::Answered { until } => Some(until),
            State::Idle | State::Accepted => None,
        }
    }

    /// The AUTH event to send now, if any; its OK may take as long as `patience`.
    pub fn answer(&mut self, now_s: i64, patience: Duration) -> Option<String> {
        if !matches!(self.state, State::Wanted { .. }) {
            return None;
        }
        let (signer, challenge) = (self.signer.as_ref()?, self.challenge.take()?);
        let fields = auth_fields(&self.url, &challenge, now_s);
        let event = signer.sign(fields.created_at, fields.kind, fields.tags, fields.content);
        self.answers += 1;
        self.id = hex::encode(&event.id);
        self.state = State::Answered { until: Instant::now() + patience };
        Some(event.to_json())
    }

    /// An OK came. None: it is not to our answer.
    pub fn confirmed(&mut self, id: &str, accepted: bool) -> Option<bool> {
        if !matches!(self.state, State::Answered { .. }) || id != self.id {
            return None;
        }
        self.state = if accepted { State::Accepted } else { State::Idle };
        if !accepted {
            self.answers = MAX_ANSWERS;
        }
        Some(accepted)
    }

    /// Waiting has ended: not every relay confirms, so an answer counts as accepted; without a challenge there is none.
    /// False: the relay sent no challenge.
    pub fn give_up(&mut self) -> bool {
        let was_answered = matches!(self.state, State::Answered { .. });
        self.state = if was_answered { State::Accepted } else { State::Idle };
        if !was_answered {
            self.answers += 1;
        }
        was_answered
    }
}
