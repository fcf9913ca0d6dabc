//! Names to addresses, without getaddrinfo (it would block a thread for each look-up).

use crate::{
    endpoint::{EndpointHost, is_private_name, network_of},
    error::{DialError, clip},
    names::Names,
    overlay_guard::{GuardedProvider, GuardedResolver},
    own_addresses::OwnAddresses,
};
use bigbrotr_models::{AddressPolicy, AddressRejection, Network};
use hickory_resolver::{
    ResolverBuilder,
    config::{ConnectionConfig, NameServerConfig, ResolverConfig},
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Judges an address; [`bigbrotr_models::address::check`] except in tests.
pub(crate) type AddressCheck = fn(IpAddr, AddressPolicy) -> Result<(), AddressRejection>;

/// Resolves and judges.
///
/// **Every** address of an answer is checked. The refused ones are dropped and the rest is used; only when none is left the whole dial is refused. (The other
/// choice, to refuse a host because of one bad address, would cost relays with a stray private or placeholder AAAA record, and gain nothing: only
/// checked addresses are ever connected to, and nothing is resolved twice, so an answer that changes between check and connection has no effect.)
pub(crate) struct Resolver {
    dns: Result<GuardedResolver, String>,
    names: Names,
    policy: AddressPolicy,
    check: AddressCheck,
    own: OwnAddresses,
}

impl Resolver {
    /// From the system's `resolv.conf` and `hosts` (reads files: call it once). A system without is no error until a name is wanted.
    pub(crate) fn system(policy: AddressPolicy, check: AddressCheck) -> Self {
        let (dns, names) = (builder().and_then(finish), Names::default());
        Self { dns, names, policy, check, own: OwnAddresses::of_system() }
    }

    /// Asks these name servers instead of the system's, by UDP and, for answers that are too large, by TCP.
    pub(crate) fn asking(servers: &[SocketAddr], policy: AddressPolicy, check: AddressCheck) -> Self {
        let server = |address: &SocketAddr| {
            let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
            connections.iter_mut().for_each(|connection| connection.port = address.port());
            NameServerConfig::new(address.ip(), true, connections)
        };
        let config = ResolverConfig::from_parts(None, Vec::new(), servers.iter().map(server).collect());
        let builder = GuardedResolver::builder_with_config(config, GuardedProvider::default());
        Self { dns: finish(builder), names: Names::default(), policy, check, own: OwnAddresses::of_system() }
    }

    /// For look-ups of other records.
    pub(crate) fn dns(&self) -> Result<&GuardedResolver, DialError> {
        self.dns.as_ref().map_err(|error| DialError::Dns(error.clone()))
    }

    /// Whether an address may be connected to.
    pub(crate) fn admits(&self, address: IpAddr) -> bool {
        (self.check)(address, self.policy).is_ok()
    }

    /// Refuses names of private networks where they are not admitted.
    pub(crate) fn admit_name(&self, name: &str) -> Result<(), DialError> {
        if is_private_name(name) && !self.policy.allow_private {
            return Err(DialError::RefusedName(clip(name)));
        }
        Ok(())
    }

    /// The checked addresses of a stranger's host, at least one.
    pub(crate) async fn checked(&self, host: &EndpointHost) -> Result<Vec<IpAddr>, DialError> {
        if let EndpointHost::Name(name) = host {
            self.admit_name(name)?;
        }
        let addresses = self.addresses(host).await?;
        let mut refused = None;
        let mut accepted = Vec::with_capacity(addresses.len());
        for address in addresses {
            match self.judge(address) {
                Ok(()) if !accepted.contains(&address) => accepted.push(address),
                Ok(()) => {}
                Err(reason) => {
                    refused.get_or_insert(DialError::RefusedAddress { address, reason });
                }
            }
        }
        match refused {
            Some(refused) if accepted.is_empty() => Err(refused),
            _ => Ok(accepted),
        }
    }

    fn judge(&self, address: IpAddr) -> Result<(), AddressRejection> {
        (self.check)(address, self.policy)?;
        // An operator who admits private addresses may have relays of his own here.
        if !self.policy.allow_private && self.own.contains(address) { Err(AddressRejection::Own) } else { Ok(()) }
    }

    /// The addresses of a host of the operator's, unchecked.
    pub(crate) async fn addresses(&self, host: &EndpointHost) -> Result<Vec<IpAddr>, DialError> {
        let name = match host {
            EndpointHost::Ip(ip) => return Ok(vec![*ip]),
            EndpointHost::Name(name) => name,
        };
        if is_localhost(name) {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        // Whatever led here by mistake: a resolver never hears such a name.
        let network = network_of(name);
        if network != Network::Clearnet {
            return Err(DialError::NetworkOff(network));
        }
        self.names.addresses(self.dns()?, name, &query_of(name)).await
    }
}

/// The final dot keeps names with dots out of the search list of resolv.conf, which would turn an unknown name into a local one.
pub(crate) fn query_of(name: &str) -> String {
    if name.contains('.') && !name.ends_with('.') { format!("{name}.") } else { name.to_owned() }
}

/// RFC 6761 §6.3: never asked of a resolver.
pub(crate) fn is_localhost(name: &str) -> bool {
    name == "localhost" || name.ends_with(".localhost")
}

type Builder = ResolverBuilder<GuardedProvider>;

fn builder() -> Result<Builder, String> {
    GuardedResolver::builder(GuardedProvider::default()).or_else(|error| {
        // One odd line, such as a search domain that is no name, fails the whole file there; the name servers alone are enough for us.
        let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        let servers: Vec<_> = name_servers(&text).into_iter().map(NameServerConfig::udp_and_tcp).collect();
        if servers.is_empty() {
            return Err(format!("no usable /etc/resolv.conf: {error}"));
        }
        let config = ResolverConfig::from_parts(None, Vec::new(), servers);
        Ok(GuardedResolver::builder_with_config(config, GuardedProvider::default()))
    })
}

fn finish(mut builder: Builder) -> Result<GuardedResolver, String> {
    // It would count entries, not bytes, and keep a stranger's answers whole; see [`Names`].
    builder.options_mut().cache_size = 0;
    builder.build().map_err(|error| error.to_string())
}

fn name_servers(resolv_conf: &str) -> Vec<IpAddr> {
    resolv_conf
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            (words.next() == Some("nameserver")).then(|| words.next()).flatten()?.parse().ok()
        })
        .take(3)
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn refuse_10(address: IpAddr, _: AddressPolicy) -> Result<(), AddressRejection> {
        if address.to_string().starts_with("10.") { Err(AddressRejection::NonGlobal) } else { Ok(()) }
    }

    fn without_dns(allow_private: bool) -> Resolver {
        let own = OwnAddresses::reading(|| ["192.0.2.7".parse().unwrap()].into());
        Resolver {
            dns: Err("none".into()),
            names: Names::default(),
            policy: AddressPolicy { allow_private },
            check: refuse_10,
            own,
        }
    }

    fn name(text: &str) -> EndpointHost {
        EndpointHost::Name(text.into())
    }

    #[tokio::test]
    async fn literals_and_localhost_need_no_resolver() {
        let resolver = without_dns(true);
        let literal = EndpointHost::Ip("192.0.2.1".parse().unwrap());
        assert_eq!(resolver.checked(&literal).await.unwrap().len(), 1);
        let local = resolver.checked(&name("localhost")).await.unwrap();
        assert_eq!(local, ["127.0.0.1".parse::<IpAddr>().unwrap(), "::1".parse().unwrap()]);
        assert_eq!(resolver.checked(&name("relay.example")).await.unwrap_err(), DialError::Dns("none".into()));
    }

    #[tokio::test]
    async fn private_names_need_permission() {
        for host in ["localhost", "db", "nas.local", "a.localhost"] {
            assert_eq!(without_dns(false).checked(&name(host)).await.unwrap_err().class(), "refused_address", "{host}");
        }
    }

    #[tokio::test]
    async fn a_refused_literal_says_which_and_why() {
        let host = EndpointHost::Ip("10.0.0.1".parse().unwrap());
        let error = without_dns(false).checked(&host).await.unwrap_err();
        assert!(matches!(error, DialError::RefusedAddress { reason: AddressRejection::NonGlobal, .. }), "{error}");
    }

    #[tokio::test]
    async fn addresses_of_this_machine_are_refused_unless_private_ones_are_admitted() {
        let own = EndpointHost::Ip("::ffff:192.0.2.7".parse().unwrap());
        let error = without_dns(false).checked(&own).await.unwrap_err();
        assert!(matches!(error, DialError::RefusedAddress { reason: AddressRejection::Own, .. }), "{error}");
        assert!(without_dns(true).checked(&own).await.is_ok());
    }

    #[tokio::test]
    async fn overlay_names_never_come_to_a_resolver() {
        for host in ["x.onion", "X.ONION", "a.b.i2p.", "x.loki", "onion.", "sub.x.Onion"] {
            let error = without_dns(true).addresses(&name(host)).await.unwrap_err();
            assert_eq!(error.class(), "network_off", "{host}");
        }
    }

    #[test]
    fn name_servers_survive_an_odd_file() {
        let text = "search -bad..name\nnameserver 192.0.2.53 # main\n;nameserver 192.0.2.54\nnameserver nonsense\nnameserver 2001:db8::53\n";
        let expected: Vec<IpAddr> = vec!["192.0.2.53".parse().unwrap(), "2001:db8::53".parse().unwrap()];
        assert_eq!(name_servers(text), expected);
    }
}
