//! DHCPv4: the client behind a trait, and the task of one link that keeps it going.
//!
//! The exchange itself (messages, retransmission with back-off, T1 and T2) is the `mozim` crate's. On top of it here:
//! an address remembered from the last boot is asked for first, a refused or unanswered request starts over, a renewal
//! that stays unanswered is broadcast, a plugged cable verifies the lease, a failing client is rebuilt with back-off. A
//! lease is given up when it is refused or has run out, never because a server is silent.

use std::{
    future::Future,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
    time::Duration,
};

use ipnet::Ipv4Net;
use mozim::{DhcpV4Client, DhcpV4Config, DhcpV4Lease, DhcpV4State};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use machine_config::network::ClientId;

use super::{cmdline, model::Lease};

/// An offer is confirmed within this, or discovery starts over (the client does not see a refusal here).
const REQUEST_LIMIT: Duration = Duration::from_secs(5);
/// A remembered address is confirmed within this, or discovery starts: a server that does not know it says nothing (RFC 2131
/// section 4.3.2).
const RECALL_LIMIT: Duration = Duration::from_secs(1);
/// A renewal is answered within this, or it is broadcast for any server (the client does not see a refusal here).
const RENEW_LIMIT: Duration = Duration::from_secs(10);
/// A failing client is rebuilt after this, doubled each time.
const REBUILD: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// The verification of a lease gives up on silent servers no sooner than after 3 + 7 + 15 + 31 s (its fixed schedule).
/// One that ends sooner was refused.
const SILENCE: Duration = Duration::from_secs(50);

/// Type of client ids that hold a DUID (RFC 4361).
const DUID: u8 = 255;

/// Where a client is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Looking for a server.
    Discovering,
    /// The known lease was refused; looking for a server.
    Refused,
    /// Asking for what was offered.
    Requesting,
    /// It holds a lease and waits for the time to renew it.
    Bound(Box<Lease>),
    /// Asking for more time.
    Renewing,
}

/// A DHCP client failed; it must be started anew.
#[derive(Debug, thiserror::Error)]
#[error("DHCP client")]
pub struct ClientError(#[from] mozim::DhcpError);

/// A DHCP client of one link.
pub trait Client: Send {
    /// It does not see a refused renewal: after a while it is asked to verify.
    const BLIND: bool;
    /// The link's own address, when it is known; told before every start.
    fn address(&mut self, link_local: Option<Ipv6Addr>) {
        let _ = link_local;
    }
    /// Forgets everything and looks for a server, introducing itself by `hostname`.
    fn discover(&mut self, hostname: Option<&str>) -> impl Future<Output = Result<(), ClientError>> + Send;
    /// Asks for an address that it had in an earlier life (INIT-REBOOT).
    fn recall(&mut self, address: Ipv4Addr, hostname: Option<&str>) -> impl Future<Output = Result<(), ClientError>> + Send;
    /// Asks whether the lease it holds is still good; looks for a server when it holds none.
    fn verify(&mut self, hostname: Option<&str>) -> impl Future<Output = Result<(), ClientError>> + Send;
    /// Goes on until the state changes.
    fn next(&mut self) -> impl Future<Output = Result<State, ClientError>> + Send;
}

/// What the owner of the link hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A lease, new or renewed.
    Bound {
        /// Who asked: id of the operator.
        id: Arc<str>,
        /// What was granted.
        lease: Box<Lease>,
        /// When it runs out.
        until: Instant,
    },
    /// The lease is gone.
    Lost {
        /// Who asked: id of the operator.
        id: Arc<str>,
    },
}

/// What the client's task follows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// The cable is plugged in.
    pub carrier: bool,
    /// The node's own name, if it has one.
    pub hostname: Option<String>,
    /// The link's own address, for clients that cannot do without (IPv6).
    pub link_local: Option<Ipv6Addr>,
}

/// Keeps a client going until `stop`. It begins with the address that `recall` knows, if it knows one.
pub async fn drive(
    mut client: impl Client,
    recall: impl Future<Output = Option<Ipv4Addr>> + Send,
    id: Arc<str>,
    mut conditions: watch::Receiver<Conditions>,
    events: mpsc::Sender<Event>,
    stop: CancellationToken,
) {
    let work = async {
        let mut rebuild = REBUILD.0;
        let mut until: Option<Instant> = None;
        if conditions.wait_for(|now| now.carrier).await.is_err() {
            return;
        }
        let mut remembered = recall.await;
        loop {
            if conditions.wait_for(|now| now.carrier).await.is_err() {
                return;
            }
            let Conditions { hostname, link_local, .. } = conditions.borrow_and_update().clone();
            client.address(link_local);
            let start = match remembered.take() {
                _ if until.is_some_and(|until| Instant::now() < until) => Start::Verify,
                Some(address) => Start::Recall(address),
                None => Start::Discover,
            };
            let ended = tokio::select! {
                ended = attempt(&mut client, &id, start, hostname.as_deref(), &events, &mut until) => Some(ended),
                changed = conditions.changed() => if changed.is_err() { return } else { None },
            };
            match ended {
                Some(Err(error)) => {
                    log::warn!("{id}: {}, again in {} s", daemon::report(&error), rebuild.as_secs());
                    sleep(rebuild).await;
                    rebuild = (rebuild * 2).min(REBUILD.1);
                }
                // The owner of the link is gone.
                Some(Ok(())) => return,
                None => rebuild = REBUILD.0,
            }
        }
    };
    tokio::select! {
        () = work => {}
        () = stop.cancelled() => {}
    }
}

/// How a client begins.
#[derive(Clone, Copy)]
enum Start {
    Discover,
    Recall(Ipv4Addr),
    Verify,
}

/// From a start to the first failure; `Ok` when nobody listens any more.
async fn attempt<C: Client>(
    client: &mut C,
    id: &Arc<str>,
    start: Start,
    hostname: Option<&str>,
    events: &mpsc::Sender<Event>,
    until: &mut Option<Instant>,
) -> Result<(), ClientError> {
    match start {
        Start::Discover => client.discover(hostname).await?,
        Start::Recall(address) => client.recall(address, hostname).await?,
        Start::Verify => client.verify(hostname).await?,
    }
    let mut recalling = matches!(start, Start::Recall(_));
    let mut state = State::Discovering;
    let mut renew_limit = RENEW_LIMIT;
    loop {
        let limit = match state {
            State::Requesting => REQUEST_LIMIT,
            State::Renewing if C::BLIND => renew_limit,
            _ if recalling => RECALL_LIMIT,
            _ => Duration::MAX,
        };
        let next = timeout(limit, client.next()).await;
        recalling = false;
        let Ok(next) = next else {
            match state {
                State::Renewing => client.verify(hostname).await?,
                _ => client.discover(hostname).await?,
            }
            state = State::Discovering;
            continue;
        };
        state = next?;
        let event = match &state {
            State::Bound(lease) => {
                let end = Instant::now() + lease.lifetime;
                renew_limit = RENEW_LIMIT.min(lease.lifetime / 4);
                *until = Some(end);
                Event::Bound { id: Arc::clone(id), lease: lease.clone(), until: end }
            }
            State::Refused => {
                *until = None;
                Event::Lost { id: Arc::clone(id) }
            }
            _ => continue,
        };
        if events.send(event).await.is_err() {
            return Ok(());
        }
    }
}

/// `mozim` behind the trait.
#[derive(Debug)]
pub struct Mozim {
    name: String,
    index: u32,
    mac: [u8; 6],
    client_id: ClientId,
    /// Made when it is started: a client that is dropped closes its socket, and that blocks for a grace period of the kernel.
    client: Option<DhcpV4Client>,
    lease: Option<DhcpV4Lease>,
    verifying: Option<Instant>,
}

impl Mozim {
    /// A client for a link. Nothing is sent yet.
    ///
    /// # Errors
    /// [`ClientError`] when the crate does not take the link.
    pub fn new(name: &str, index: u32, mac: [u8; 6], client_id: ClientId) -> Result<Self, ClientError> {
        config(name, index, mac, &client_id, None)?;
        Ok(Self { name: name.to_owned(), index, mac, client_id, client: None, lease: None, verifying: None })
    }

    async fn restart(&mut self, hostname: Option<&str>) -> Result<(), ClientError> {
        self.verifying = self.lease.is_some().then(Instant::now);
        let config = config(&self.name, self.index, self.mac, &self.client_id, hostname)?;
        self.client = Some(DhcpV4Client::init(config, self.lease.clone()).await?);
        Ok(())
    }
}

fn config(name: &str, index: u32, mac: [u8; 6], client_id: &ClientId, hostname: Option<&str>) -> Result<DhcpV4Config, ClientError> {
    let mut config = DhcpV4Config::new(name);
    config.set_iface_index(index);
    config.set_iface_mac_raw(&mac)?;
    match client_id {
        ClientId::None => {}
        ClientId::Mac => {
            config.use_mac_as_client_id();
        }
        ClientId::Duid(duid) => {
            // RFC 4361 section 6.1: the link's number stands between type and identifier.
            let mut id = index.to_be_bytes().to_vec();
            id.extend(duid);
            config.set_client_id(DUID, &id);
        }
    }
    if let Some(hostname) = hostname {
        config.set_host_name(hostname);
    }
    Ok(config)
}

impl Client for Mozim {
    const BLIND: bool = true;

    async fn discover(&mut self, hostname: Option<&str>) -> Result<(), ClientError> {
        self.lease = None;
        self.restart(hostname).await
    }

    async fn recall(&mut self, address: Ipv4Addr, hostname: Option<&str>) -> Result<(), ClientError> {
        let mut lease = DhcpV4Lease::default();
        lease.yiaddr = address;
        self.lease = Some(lease);
        self.restart(hostname).await
    }

    async fn verify(&mut self, hostname: Option<&str>) -> Result<(), ClientError> {
        self.restart(hostname).await
    }

    async fn next(&mut self) -> Result<State, ClientError> {
        if self.client.is_none() {
            self.restart(None).await?;
        }
        let Some(client) = &mut self.client else { return Ok(State::Discovering) };
        let state = client.run().await?;
        let verifying = self.verifying.take();
        Ok(match state {
            DhcpV4State::Done(lease) => {
                let granted = Box::new(granted(&lease));
                self.lease = Some(*lease);
                State::Bound(granted)
            }
            DhcpV4State::InitReboot => match verifying {
                Some(since) if since.elapsed() < SILENCE => {
                    self.lease = None;
                    State::Refused
                }
                _ => State::Discovering,
            },
            DhcpV4State::Selecting => State::Requesting,
            DhcpV4State::Renewing | DhcpV4State::Rebinding => State::Renewing,
        })
    }
}

/// A name, if it is one.
pub(super) fn name(text: &str) -> Option<String> {
    let text = text.trim_end_matches(['.', '\0']);
    cmdline::hostname(text).then(|| text.to_owned())
}

/// What we use of a lease. Names that are not names are left out: they come from whoever answers on the wire.
pub(crate) fn granted(lease: &DhcpV4Lease) -> Lease {
    // The mask's ones decide; one that is no mask is no reason to have no address.
    let prefix = lease.prefix_length();
    let address = Ipv4Net::new(lease.yiaddr, if prefix == 0 { 32 } else { prefix });
    let routes = lease.classless_routes.iter().flatten();
    let mut search: Vec<String> = lease.domain_name.iter().filter_map(|text| name(text)).collect();
    for domain in lease.domain_search.iter().flatten().filter_map(|text| name(text)) {
        if !search.contains(&domain) {
            search.push(domain);
        }
    }
    Lease {
        address: address.unwrap_or_else(|_| lease.yiaddr.into()).into(),
        routers: lease.gateways.clone().unwrap_or_default(),
        routes: routes.filter_map(|route| Some((Ipv4Net::new(route.destination, route.prefix_length).ok()?, route.router))).collect(),
        resolvers: lease.dns_srvs.iter().flatten().copied().map(IpAddr::V4).collect(),
        search,
        hostname: lease.host_name.as_deref().and_then(name),
        time_servers: lease.ntp_srvs.iter().flatten().map(ToString::to_string).collect(),
        mtu: lease.mtu,
        server: lease.srv_id.into(),
        lifetime: Duration::from_secs(lease.lease_time_sec.into()),
    }
}

#[cfg(test)]
#[path = "dhcp_tests.rs"]
mod tests;
