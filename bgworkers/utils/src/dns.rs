//! What DNS says of a relay's host: addresses, aliases, the name servers of its zone and the names of its addresses. Data, never a reason to connect anywhere.

use crate::{
    endpoint::EndpointHost,
    error::{DialError, clip},
    names::{failure, is_absence},
    resolver::{Resolver, is_localhost, query_of},
};
use futures_util::future::join_all;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};
use tokio::time::timeout;

/// Records of one kind kept; a stranger's zone may hold thousands.
const MAX_RECORDS: usize = 32;
/// Links of a chain of aliases followed.
const MAX_ALIASES: usize = 8;
/// Zones asked for name servers, from the host upwards.
const MAX_ZONES: usize = 4;
/// Addresses whose names are looked up.
const MAX_REVERSE: usize = 4;

/// What DNS says of a host. Every list is sorted, without repetitions and of at most 32 entries, but `cname`, which is in the order of the chain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DnsRecords {
    /// IPv4 addresses as the zone has them, private ones included.
    pub a: Vec<Ipv4Addr>,
    /// IPv6 addresses, likewise.
    pub aaaa: Vec<Ipv6Addr>,
    /// What the host is an alias of, at most 8 links.
    pub cname: Vec<String>,
    /// Name servers of the closest zone above the host that has any, down to its registrable domain.
    pub ns: Vec<String>,
    /// Names of the first four addresses that may be connected to; not of loopback.
    pub ptr: Vec<String>,
    /// Seconds the addresses may be kept: what is left of it in the caches on the way.
    pub ttl: Option<u32>,
}

/// The records of a host, each look-up within `limit`, three in a row at most. Without the name servers or the names of the addresses where those
/// cannot be had.
pub(crate) async fn look_up(
    resolver: &Resolver,
    host: &EndpointHost,
    limit: Duration,
) -> Result<Option<DnsRecords>, DialError> {
    let name = match host {
        EndpointHost::Ip(ip) if !is_public(resolver, *ip) => return Ok(None),
        EndpointHost::Ip(ip) => {
            let ptr = reverse(resolver, &[*ip], limit).await;
            return Ok((!ptr.is_empty()).then(|| DnsRecords { ptr, ..DnsRecords::default() }));
        }
        EndpointHost::Name(name) if is_localhost(name) => return Ok(None),
        EndpointHost::Name(name) => name,
    };
    resolver.admit_name(name)?;
    let query = query_of(name);
    let (v4, v6, ns) = tokio::join!(
        records(resolver, &query, RecordType::A, limit),
        records(resolver, &query, RecordType::AAAA, limit),
        timeout(limit, name_servers(resolver, name)),
    );
    // Half of the truth would look like a change of address.
    let (v4, v6) = (v4?, v6?);
    let mut found = addresses(&query, [v4, v6]);
    if found.a.is_empty() && found.aaaa.is_empty() && found.cname.is_empty() {
        return Err(DialError::NameNotFound(clip(name)));
    }
    found.ns = ns.unwrap_or_default();
    let addresses: Vec<IpAddr> =
        found.a.iter().copied().map(IpAddr::from).chain(found.aaaa.iter().copied().map(IpAddr::from)).collect();
    found.ptr = reverse(resolver, &addresses, limit).await;
    Ok(Some(found))
}

/// The answer section; empty where there is no such record or no such name.
async fn records(
    resolver: &Resolver,
    query: &str,
    kind: RecordType,
    limit: Duration,
) -> Result<Vec<Record>, DialError> {
    match timeout(limit, resolver.dns()?.lookup(query, kind)).await {
        Ok(Ok(found)) => Ok(found.answers().to_vec()),
        Ok(Err(error)) if is_absence(&error) => Ok(Vec::new()),
        Ok(Err(error)) => Err(failure(&error)),
        Err(_) => Err(DialError::Dns(format!("no {kind} answer within {} ms", limit.as_millis()))),
    }
}

/// The aliases that lead from the host onwards, and the addresses at the end of them.
pub(crate) fn addresses(query: &str, answers: [Vec<Record>; 2]) -> DnsRecords {
    let mut found = DnsRecords::default();
    let Ok(mut owner) = Name::from_ascii(query) else { return found };
    owner.set_fqdn(true);
    let answers: Vec<Record> = answers.into_iter().flatten().collect();
    let mut ttls = Vec::new();
    let mut visited = vec![owner.clone()];
    while let Some((next, ttl)) = answers.iter().find_map(|record| match &record.data {
        RData::CNAME(target) if record.name == owner => Some((target.0.clone(), record.ttl)),
        _ => None,
    }) {
        if visited.contains(&next) || found.cname.len() >= MAX_ALIASES {
            break;
        }
        found.cname.push(text(&next));
        ttls.push(ttl);
        visited.push(next.clone());
        owner = next;
    }
    let (mut v4, mut v6) = (BTreeSet::new(), BTreeSet::new());
    for record in answers.iter().filter(|record| visited.contains(&record.name)) {
        match &record.data {
            RData::A(address) => _ = v4.insert(address.0),
            RData::AAAA(address) => _ = v6.insert(address.0),
            _ => continue,
        }
        ttls.push(record.ttl);
    }
    found.a = v4.into_iter().take(MAX_RECORDS).collect();
    found.aaaa = v6.into_iter().take(MAX_RECORDS).collect();
    found.ttl = ttls.into_iter().min();
    found
}

/// The name servers of the closest zone, not above the registrable domain: those of a public suffix say nothing about a relay.
async fn name_servers(resolver: &Resolver, name: &str) -> Vec<String> {
    let top = psl::domain_str(name).unwrap_or(name);
    let mut zone = name;
    for _ in 0..MAX_ZONES {
        if let Ok(dns) = resolver.dns()
            && let Ok(found) = dns.lookup(query_of(zone), RecordType::NS).await
        {
            let owner = Name::from_ascii(query_of(zone)).unwrap_or_default();
            let servers = found.answers().iter().filter(|record| record.name == owner);
            let names = names(servers.filter_map(|record| match &record.data {
                RData::NS(server) => Some(&server.0),
                _ => None,
            }));
            if !names.is_empty() {
                return names;
            }
        }
        match zone.split_once('.') {
            Some((_, parent)) if zone != top => zone = parent,
            _ => break,
        }
    }
    Vec::new()
}

/// The names of the first addresses that are anybody's to ask about.
async fn reverse(resolver: &Resolver, addresses: &[IpAddr], limit: Duration) -> Vec<String> {
    let Ok(dns) = resolver.dns() else { return Vec::new() };
    let public = addresses.iter().filter(|ip| is_public(resolver, **ip)).take(MAX_REVERSE);
    let answers = join_all(public.map(|ip| timeout(limit, dns.lookup(Name::from(*ip), RecordType::PTR)))).await;
    let answers: Vec<_> = answers.into_iter().flatten().flatten().collect();
    names(answers.iter().flat_map(|found| found.answers()).filter_map(|record| match &record.data {
        RData::PTR(name) => Some(&name.0),
        _ => None,
    }))
}

/// Whether somebody else knows what an address is called; a hosts file is no DNS.
fn is_public(resolver: &Resolver, ip: IpAddr) -> bool {
    !ip.is_loopback() && resolver.admits(ip)
}

/// Every name that records hold, as they would be shown.
pub(crate) fn names_in<'a>(records: impl Iterator<Item = &'a Record>) -> Vec<String> {
    names(records.filter_map(|record| match &record.data {
        RData::NS(name) => Some(&name.0),
        RData::PTR(name) => Some(&name.0),
        RData::CNAME(name) => Some(&name.0),
        _ => None,
    }))
}

fn names<'a>(names: impl Iterator<Item = &'a Name>) -> Vec<String> {
    let names: BTreeSet<String> = names.take(1024).map(text).filter(|name| !name.is_empty()).collect();
    names.into_iter().take(MAX_RECORDS).collect()
}

/// Lower case, without the final dot; odd bytes escaped as in zone files (RFC 1035 §5.1).
fn text(name: &Name) -> String {
    let text = name.to_ascii().to_ascii_lowercase();
    text.trim_end_matches('.').chars().take(1100).map(|c| if c.is_control() { '\u{FFFD}' } else { c }).collect()
}
