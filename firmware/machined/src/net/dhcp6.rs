//! DHCPv6 for one address: `mozim`'s client behind the trait that [`super::dhcp::drive`] drives.
//!
//! Renewal, rebinding and retransmission are the crate's (RFC 8415): it goes on by itself until the lease has run out, which
//! it reports as a failure, after which the driver starts anew. An address of the last boot is not asked for: the server knows
//! the client by its DUID and gives the same one.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use ipnet::{IpNet, Ipv6Net};
use machine_config::network::ClientId;
use mozim::{DhcpV6Client, DhcpV6Config, DhcpV6Duid, DhcpV6Lease, DhcpV6Mode, DhcpV6State};

use super::{
    dhcp::{Client, ClientError, State, name},
    model::Lease,
};

/// A client of a link.
#[derive(Debug)]
pub struct Mozim6 {
    name: String,
    index: u32,
    mac: [u8; 6],
    client_id: ClientId,
    link_local: Option<Ipv6Addr>,
    client: Option<DhcpV6Client>,
    lease: Option<DhcpV6Lease>,
}

impl Mozim6 {
    /// A client for a link. Nothing is sent yet.
    #[must_use]
    pub fn new(name: &str, index: u32, mac: [u8; 6], client_id: ClientId) -> Self {
        Self { name: name.to_owned(), index, mac, client_id, link_local: None, client: None, lease: None }
    }

    async fn restart(&mut self) -> Result<(), ClientError> {
        let mut config = DhcpV6Config::new(&self.name, DhcpV6Mode::NonTemporaryAddresses);
        config.set_iface_index(self.index);
        if let Some(address) = self.link_local {
            config.set_link_local_ip(address);
        }
        match &self.client_id {
            ClientId::Duid(duid) => config.set_duid(DhcpV6Duid::Raw(duid.clone())),
            ClientId::Mac | ClientId::None => config.set_duid_by_iface_mac(&self.mac),
        };
        self.client = Some(DhcpV6Client::init(config, self.lease.clone()).await?);
        Ok(())
    }
}

impl Client for Mozim6 {
    const BLIND: bool = false;

    fn address(&mut self, link_local: Option<Ipv6Addr>) {
        self.link_local = link_local;
    }

    async fn discover(&mut self, _hostname: Option<&str>) -> Result<(), ClientError> {
        self.lease = None;
        self.restart().await
    }

    async fn recall(&mut self, _address: Ipv4Addr, hostname: Option<&str>) -> Result<(), ClientError> {
        self.discover(hostname).await
    }

    async fn verify(&mut self, _hostname: Option<&str>) -> Result<(), ClientError> {
        self.restart().await
    }

    async fn next(&mut self) -> Result<State, ClientError> {
        if self.client.is_none() {
            self.restart().await?;
        }
        let Some(client) = &mut self.client else { return Ok(State::Discovering) };
        Ok(match client.run().await? {
            DhcpV6State::Done(lease) => {
                let granted = Box::new(granted(&lease));
                self.lease = Some(*lease);
                State::Bound(granted)
            }
            DhcpV6State::Request => State::Requesting,
            DhcpV6State::Renew | DhcpV6State::Rebind => State::Renewing,
            _ => State::Discovering,
        })
    }
}

/// What we use of a lease. The address is alone: routers are announced, not leased.
pub(crate) fn granted(lease: &DhcpV6Lease) -> Lease {
    Lease {
        address: IpNet::V6(Ipv6Net::from(lease.address)),
        routers: Vec::new(),
        routes: Vec::new(),
        resolvers: lease.dns_srvs.iter().copied().map(IpAddr::V6).collect(),
        search: lease.domain_list.iter().filter_map(|domain| name(domain)).collect(),
        hostname: None,
        time_servers: lease.ntp_srvs.iter().filter_map(|server| time_server(server)).collect(),
        mtu: None,
        server: IpAddr::V6(lease.srv_ip),
        lifetime: Duration::from_secs(lease.valid_time_sec.into()),
    }
}

/// An address as it is written, a name without what ends it on the wire.
fn time_server(text: &str) -> Option<String> {
    if text.parse::<IpAddr>().is_ok() { Some(text.to_owned()) } else { name(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_one_address_with_what_belongs_to_it() {
        let mut lease = DhcpV6Lease::default();
        lease.address = "2001:db8::15".parse().unwrap();
        lease.valid_time_sec = 240;
        lease.dns_srvs = vec!["2001:db8::53".parse().unwrap()];
        lease.domain_list = vec!["example.org.".to_owned(), "no name!".to_owned()];
        lease.ntp_srvs =
            vec!["2001:db8::7".to_owned(), "ntp.example.org".to_owned(), "ntp2.example.org.\0".to_owned(), "not one".to_owned()];
        let granted = granted(&lease);
        assert_eq!(granted.address.to_string(), "2001:db8::15/128");
        assert_eq!(granted.search, ["example.org"]);
        assert_eq!(granted.time_servers, ["2001:db8::7", "ntp.example.org", "ntp2.example.org"]);
        assert_eq!((granted.lifetime.as_secs(), granted.resolvers.len()), (240, 1));
    }
}
