//! NIP-42 on one connection: the newest challenge, and what became of our answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bigbrotr_core::Config;
use bigbrotr_models::{Signer, hex};
use bigbrotr_nips::nip01::{ClientMessage, ClosePrefix};
use bigbrotr_nips::nip19;
use bigbrotr_nips::nip42::auth_fields;
use bigbrotr_nips::paging::End;
use bigbrotr_utils::{DialError, secret_file};

use crate::link::{Link, Said};
use crate::now;

/// Challenges listened to on one connection; a relay that sends more of them plays.
const MAX_CHALLENGES: u32 = 64;
/// Challenges answered on one connection.
const MAX_ANSWERS: u32 = 3;
/// How long a relay that wants AUTH may take to send its challenge.
const CHALLENGE_PATIENCE: Duration = Duration::from_secs(3);

/// The key of `bigbrotr.secret_key_file`, if it is to be used for NIP-42. The error is for people and holds no secret.
pub fn signer(config: &Config) -> Result<Option<Arc<Signer>>, String> {
    if !config.auth_enabled {
        return Ok(None);
    }
    let Some(path) = &config.secret_key_file else {
        return Err("bigbrotr.auth_enabled is on, and bigbrotr.secret_key_file is not set".to_owned());
    };
    let text = secret_file::read(path).map_err(|error| format!("bigbrotr.secret_key_file: {error}"))?;
    let signer = nip19::secret_key(&text).ok().and_then(|secret| Signer::new(&secret));
    let signer = signer
        .ok_or_else(|| format!("bigbrotr.secret_key_file: \"{path}\" holds no nsec and no 64 hex digits of a key"))?;
    Ok(Some(Arc::new(signer)))
}

/// The state of a connection.
pub struct Auth {
    signer: Option<Arc<Signer>>,
    /// The URL the challenge is made for.
    url: String,
    /// The newest challenge, until it is answered.
    challenge: Option<String>,
    challenges: u32,
    answers: u32,
    accepted: bool,
    /// What the relay said when it did not accept.
    pub refusal: Option<String>,
}

impl Auth {
    /// Nothing happened yet on a connection to `url`.
    pub fn new(signer: Option<Arc<Signer>>, url: String) -> Self {
        Self { signer, url, challenge: None, challenges: 0, answers: 0, accepted: false, refusal: None }
    }

    /// The relay sent `["AUTH", challenge]`: it replaces any earlier one.
    pub fn challenged(&mut self, challenge: &str) {
        self.challenges = self.challenges.saturating_add(1);
        if self.signer.is_some() && self.challenges <= MAX_CHALLENGES && !challenge.is_empty() {
            self.challenge = Some(challenge.to_owned());
        }
    }

    /// Whether a challenge waits that we may answer.
    pub fn is_pending(&self) -> bool {
        self.challenge.is_some() && self.answers < MAX_ANSWERS
    }

    /// Whether the relay sent a challenge while we have a key.
    pub fn was_asked(&self) -> bool {
        self.challenges > 0 && self.signer.is_some()
    }

    /// Whether the relay accepted our key on this connection.
    pub fn is_accepted(&self) -> bool {
        self.accepted
    }

    /// The public key in use, in hex.
    pub fn key(&self) -> Option<String> {
        self.signer.as_ref().map(|signer| hex::encode(&signer.pubkey()))
    }

    /// The AUTH event for the newest challenge and its id in hex.
    fn answer(&mut self) -> Option<(String, String)> {
        if !self.is_pending() {
            return None;
        }
        let (signer, challenge) = (self.signer.as_ref()?, self.challenge.take()?);
        self.answers += 1;
        let fields = auth_fields(&self.url, &challenge, now());
        let event = signer.sign(fields.created_at, fields.kind, fields.tags, fields.content);
        Some((hex::encode(&event.id), event.to_json()))
    }
}

impl Link {
    /// Whether the request that ended thus is worth sending again, because the relay has learned by now who we are.
    /// `empty`: nothing came for it.
    ///
    /// # Errors
    /// When the connection broke meanwhile.
    pub async fn helped_by_auth(&mut self, end: End, empty: bool) -> Result<bool, DialError> {
        let wanted = match end {
            End::Closed(ClosePrefix::AuthRequired) => true,
            // Some relays send a challenge and then answer nothing at all.
            End::Timeout => empty && self.auth.is_pending(),
            _ => false,
        };
        // Accepted and refused all the same: this key has no right here.
        if !wanted || (self.auth.is_accepted() && !self.auth.is_pending()) {
            return Ok(false);
        }
        self.authenticate().await
    }

    /// Answers the relay's challenge, waiting for it if need be. False: there is no key or no challenge, or the relay
    /// refuses the key.
    ///
    /// # Errors
    /// When the connection broke meanwhile.
    pub async fn authenticate(&mut self) -> Result<bool, DialError> {
        if self.auth.signer.is_none() {
            return Ok(false);
        }
        let until = Instant::now() + CHALLENGE_PATIENCE.min(self.config.request_timeout);
        while !self.auth.is_pending() {
            match self.step_until(None, until).await {
                None => return Ok(false),
                Some(Said::Broken(error)) => return Err(error),
                Some(_) => {}
            }
        }
        let Some((id, event)) = self.auth.answer() else { return Ok(false) };
        self.send(ClientMessage::Auth { event: &event }.to_json()).await?;
        let until = Instant::now() + self.config.request_timeout;
        loop {
            match self.step_until(None, until).await {
                // Not every relay confirms; the request itself will tell.
                None => return Ok(true),
                Some(Said::Broken(error)) => return Err(error),
                Some(Said::Ok { id: of, accepted, message }) if of == id => {
                    self.auth.accepted = accepted;
                    self.auth.refusal = (!accepted).then_some(message);
                    return Ok(accepted);
                }
                Some(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auth() -> Auth {
        Auth::new(Signer::new(&[3; 32]).map(Arc::new), "wss://relay.example".to_owned())
    }

    #[test]
    fn the_newest_challenge_is_answered_once() {
        let mut auth = auth();
        assert!(auth.answer().is_none());
        auth.challenged("old");
        auth.challenged("new");
        let (id, event) = auth.answer().expect("an answer");
        assert!(event.contains(&id) && event.contains(r#"["challenge","new"]"#), "{event}");
        assert!(event.contains(r#"["relay","wss://relay.example"]"#) && event.contains(r#""kind":22242"#), "{event}");
        assert!(auth.answer().is_none());
    }

    #[test]
    fn a_relay_that_plays_with_challenges_gets_few_answers() {
        let mut auth = auth();
        for n in 0..10 {
            auth.challenged(&n.to_string());
            assert_eq!(auth.answer().is_some(), n < 3);
        }
        let mut flooded = self::auth();
        for n in 0..1000 {
            flooded.challenged(&n.to_string());
        }
        assert_eq!(flooded.challenge.as_deref(), Some("63"));
        auth.challenged("");
    }

    #[test]
    fn without_a_key_nothing_is_kept() {
        let mut auth = Auth::new(None, "wss://relay.example".to_owned());
        auth.challenged("x");
        assert!(!auth.is_pending() && auth.answer().is_none());
    }

    #[test]
    fn a_missing_key_is_said_only_where_one_is_wanted() {
        assert!(matches!(signer(&Config::default()), Ok(None)));
        let error = signer(&Config { auth_enabled: true, ..Config::default() }).expect_err("no file");
        assert!(error.contains("secret_key_file"), "{error}");
    }
}
