//! The addresses of names, and a memory of them that a stranger's zone cannot fill: the resolver's own would keep whole
//! answers, and one answer may hold thousands of records.

use crate::{
    error::{DialError, clip},
    overlay_guard::GuardedResolver,
};
use hickory_resolver::{
    net::{DnsError, NetError},
    proto::{
        op::ResponseCode,
        rr::{RData, RecordType},
    },
};
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, timeout};

/// Names kept, so that 200 checks in a row of a busy host ask once.
const MAX_NAMES: usize = 2048;
/// Addresses of a family taken of an answer; no relay has more places, and no more than a few are ever tried.
const MAX_ADDRESSES: usize = 16;
/// An answer is not believed longer, so that a relay that moved is found again.
const MAX_TTL: Duration = Duration::from_secs(600);
/// A "does not exist" is not believed longer, nor half an answer.
const MAX_NEGATIVE_TTL: Duration = Duration::from_secs(60);
/// How long the family that has answered waits for the other one (RFC 8305 §3 has 50 ms for browsers; nobody waits for us). Some name servers
/// never answer AAAA.
const RESOLUTION_DELAY: Duration = Duration::from_secs(1);

/// What was found lately, with the time it ends.
#[derive(Debug, Default)]
pub(crate) struct Names(Mutex<HashMap<String, (Instant, Vec<IpAddr>)>>);

/// The records of one family: some, or none for sure; and how long that may be believed.
type Family = Result<(Vec<IpAddr>, Duration), NetError>;

impl Names {
    /// The addresses of `name`, asked for as `query`; at least one. The caller limits the time.
    pub(crate) async fn addresses(
        &self,
        dns: &GuardedResolver,
        name: &str,
        query: &str,
    ) -> Result<Vec<IpAddr>, DialError> {
        let found = match self.recall(name) {
            Some(known) => known,
            None => {
                let (found, ttl) = look_up(dns, query).await?;
                self.keep(name, &found, ttl);
                found
            }
        };
        if found.is_empty() { Err(DialError::NameNotFound(clip(name))) } else { Ok(found) }
    }

    fn recall(&self, name: &str) -> Option<Vec<IpAddr>> {
        let names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (until, addresses) = names.get(name)?;
        (Instant::now() < *until).then(|| addresses.clone())
    }

    fn keep(&self, name: &str, addresses: &[IpAddr], ttl: Duration) {
        if ttl.is_zero() {
            return;
        }
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if names.len() >= MAX_NAMES && !names.contains_key(name) {
            names.retain(|_, (until, _)| now < *until);
            // Full of what is still good: asking again is all it costs.
            if names.len() >= MAX_NAMES {
                names.clear();
            }
        }
        names.insert(name.to_owned(), (now + ttl, addresses.to_vec()));
    }
}

/// Both families at once. What one of them has is enough; that there is nothing, both must say.
async fn look_up(dns: &GuardedResolver, query: &str) -> Result<(Vec<IpAddr>, Duration), DialError> {
    let mut v4 = std::pin::pin!(family(dns, query, RecordType::A));
    let mut v6 = std::pin::pin!(family(dns, query, RecordType::AAAA));
    let (v4, v6) = tokio::select! {
        found = &mut v4 => match has_some(&found) {
            true => (Some(found), timeout(RESOLUTION_DELAY, v6).await.ok()),
            false => (Some(found), Some(v6.await)),
        },
        found = &mut v6 => match has_some(&found) {
            true => (timeout(RESOLUTION_DELAY, v4).await.ok(), Some(found)),
            false => (Some(v4.await), Some(found)),
        },
    };
    let (mut all, mut ttl, mut trouble) = (Vec::new(), MAX_TTL, None);
    for found in [v4, v6] {
        match found {
            Some(Ok((addresses, lasts))) => {
                all.extend(addresses);
                ttl = ttl.min(lasts);
            }
            Some(Err(error)) => {
                ttl = ttl.min(MAX_NEGATIVE_TTL);
                trouble = trouble.or(Some(error));
            }
            None => ttl = ttl.min(MAX_NEGATIVE_TTL),
        }
    }
    match trouble {
        Some(error) if all.is_empty() => Err(failure(&error)),
        _ => Ok((all, ttl)),
    }
}

fn has_some(found: &Family) -> bool {
    found.as_ref().is_ok_and(|(addresses, _)| !addresses.is_empty())
}

async fn family(dns: &GuardedResolver, query: &str, kind: RecordType) -> Family {
    match dns.lookup(query, kind).await {
        Ok(found) => {
            let addresses = found.answers().iter().filter_map(|record| match &record.data {
                RData::A(address) => Some(IpAddr::V4(address.0)),
                RData::AAAA(address) => Some(IpAddr::V6(address.0)),
                _ => None,
            });
            let lasts = found.valid_until().saturating_duration_since(std::time::Instant::now());
            Ok((addresses.take(MAX_ADDRESSES).collect(), lasts.min(MAX_TTL)))
        }
        Err(error) if is_absence(&error) => {
            let lasts = match &error {
                NetError::Dns(DnsError::NoRecordsFound(none)) => none.negative_ttl.unwrap_or(0),
                _ => 0,
            };
            Ok((Vec::new(), Duration::from_secs(lasts.into()).min(MAX_NEGATIVE_TTL)))
        }
        Err(error) => Err(error),
    }
}

/// There is no such name, or it has no such record. A SERVFAIL or REFUSED without records is trouble, not absence.
pub(crate) fn is_absence(error: &NetError) -> bool {
    let is_empty =
        matches!(error, NetError::Dns(DnsError::NoRecordsFound(none)) if none.response_code == ResponseCode::NoError);
    is_empty || error.is_nx_domain()
}

/// A look-up that failed.
pub(crate) fn failure(error: &NetError) -> DialError {
    match error {
        NetError::Io(error) => DialError::of_connect(error, |error| DialError::Dns(clip(&error.to_string()))),
        error => DialError::Dns(clip(&error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_kept_is_bounded_and_ends() {
        let names = Names::default();
        let address: Vec<IpAddr> = vec!["192.0.2.1".parse().unwrap()];
        names.keep("none.example", &address, Duration::ZERO);
        assert_eq!(names.recall("none.example"), None);
        for n in 0..MAX_NAMES {
            names.keep(&format!("{n}.example"), &address, Duration::from_secs(10));
        }
        names.keep("0.example", &address, Duration::from_secs(20));
        assert_eq!(names.0.lock().unwrap().len(), MAX_NAMES);
        tokio::time::advance(Duration::from_secs(11)).await;
        assert_eq!((names.recall("0.example"), names.recall("1.example")), (Some(address.clone()), None));
        names.keep("new.example", &address, Duration::from_secs(10));
        assert_eq!(names.0.lock().unwrap().len(), 2, "what has ended makes room");
    }
}
