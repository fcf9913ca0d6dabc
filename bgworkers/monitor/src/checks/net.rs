//! `nip66_net`: whose the addresses of a relay are.

use std::net::IpAddr;

use bigbrotr_utils::GeoIp;

use super::{Fact, Members};

/// Of one address of each family: the one connected to, else the first resolved.
pub fn fact(connected: Option<IpAddr>, resolved: &[IpAddr], geo: &GeoIp) -> Option<Fact> {
    let mut members = Members::default();
    for (is_v6, ip_key, asn, organization, network) in
        [(false, "ip", "asn", "asn_org", "network"), (true, "ip_v6", "asn_v6", "asn_org_v6", "network_v6")]
    {
        let Some(ip) = connected.iter().chain(resolved).copied().find(|ip| ip.is_ipv6() == is_v6) else { continue };
        let Some(owner) = geo.owner(ip) else { continue };
        members.set(ip_key, Some(ip.to_string()));
        members.set(asn, owner.asn);
        members.set(organization, owner.organization);
        members.set(network, owner.network);
    }
    Fact::new("nip66_net", members)
}
