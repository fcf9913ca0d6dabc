//! `nip66_dns`: what DNS says of a relay's host.

use bigbrotr_utils::DnsRecords;

use super::{Fact, Members};

/// The document of these records.
pub fn fact(records: &DnsRecords) -> Option<Fact> {
    let mut members = Members::default();
    members.list("a", records.a.iter().map(ToString::to_string));
    members.list("aaaa", records.aaaa.iter().map(ToString::to_string));
    members.list("cname", records.cname.iter().cloned());
    members.list("ns", records.ns.iter().cloned());
    members.list("ptr", records.ptr.iter().cloned());
    members.set("ttl", records.ttl);
    Fact::new("nip66_dns", members)
}
