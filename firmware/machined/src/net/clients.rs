//! The DHCP clients' tasks: started, informed and ended as operators are wanted.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use machine_config::network::ClientId;
use resource::kinds::network::{ClientIdentifier, ClientIdentifierSpec, Operator, OperatorSpecSpec};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{
    dhcp::{self, Conditions, Event, Mozim},
    dhcp6::Mozim6,
    memory::Memory,
    model::Actual,
};
use crate::node::Node;

/// A client that is to run.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wish {
    id: Arc<str>,
    own: Own,
    name: String,
    conditions: Conditions,
}

/// What makes a client another one when it changes.
#[derive(Clone, Debug, PartialEq)]
struct Own {
    six: bool,
    link: u32,
    mac: [u8; 6],
    client_id: ClientId,
}

impl Wish {
    /// Of an operator whose link is there and has an address of Ethernet; others are no clients.
    pub(super) fn of(id: &str, operator: &OperatorSpecSpec, actual: &Actual, hostname: Option<&str>) -> Option<Self> {
        let link = actual.links.iter().find(|link| link.name == operator.link_name)?;
        let (six, identifier) = match operator.operator {
            Operator::Dhcp4 => (false, &operator.dhcp4.client_identifier),
            Operator::Dhcp6 => (true, &operator.dhcp6.client_identifier),
            Operator::Vip => return None,
        };
        let link_local = six.then(|| link_local(actual, link.index)).flatten();
        let conditions = Conditions {
            carrier: link.carrier && (!six || link_local.is_some()),
            hostname: hostname.filter(|_| !six).map(str::to_owned),
            link_local,
        };
        let own = Own { six, link: link.index, mac: link.ethernet()?, client_id: client_id(identifier) };
        Some(Self { id: id.into(), own, name: link.name.clone(), conditions })
    }
}

/// A link's own address, once nobody else has it.
fn link_local(actual: &Actual, link: u32) -> Option<Ipv6Addr> {
    actual.addresses.iter().filter(|address| address.link == link && address.settled).find_map(|address| match address.net.addr() {
        IpAddr::V6(address) if address.is_unicast_link_local() => Some(address),
        _ => None,
    })
}

fn client_id(spec: &ClientIdentifierSpec) -> ClientId {
    match spec.client_identifier {
        ClientIdentifier::None => ClientId::None,
        ClientIdentifier::Mac => ClientId::Mac,
        ClientIdentifier::Duid => {
            let bytes = spec.duid_raw_hex.split(':').map(|pair| u8::from_str_radix(pair, 16));
            bytes.collect::<Result<_, _>>().map_or(ClientId::Mac, ClientId::Duid)
        }
    }
}

/// A client's task. Dropping it ends the task.
struct Task {
    own: Own,
    conditions: watch::Sender<Conditions>,
    stop: CancellationToken,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// All of them, by id of the operator.
pub(super) struct Clients {
    node: Arc<Node>,
    memory: Memory,
    events: mpsc::Sender<Event>,
    tasks: BTreeMap<Arc<str>, Task>,
}

impl Clients {
    pub(super) const fn new(node: Arc<Node>, memory: Memory, events: mpsc::Sender<Event>) -> Self {
        Self { node, memory, events, tasks: BTreeMap::new() }
    }

    /// Whether there is one with this id.
    pub(super) fn has(&self, id: &str) -> bool {
        self.tasks.contains_key(id)
    }

    /// Whether an event is of one that runs, and not of an earlier one with the same id.
    pub(super) fn sent(&self, id: &Arc<str>) -> bool {
        self.tasks.get_key_value(id).is_some_and(|(own, _)| Arc::ptr_eq(own, id))
    }

    /// The hardware address of the link of one with this id.
    pub(super) fn mac(&self, id: &str) -> Option<[u8; 6]> {
        self.tasks.get(id).map(|task| task.own.mac)
    }

    /// Runs exactly these. What could not be started, for people.
    pub(super) fn follow(&mut self, wishes: Vec<Wish>) -> Vec<String> {
        self.tasks.retain(|id, task| wishes.iter().any(|wish| wish.id == *id && wish.own == task.own));
        let mut problems = Vec::new();
        for wish in wishes {
            if let Some(task) = self.tasks.get(&wish.id) {
                task.conditions.send_if_modified(|old| {
                    let news = *old != wish.conditions;
                    if news {
                        *old = wish.conditions;
                    }
                    news
                });
            } else if let Err(problem) = self.start(wish) {
                problems.push(problem);
            }
        }
        problems
    }

    fn start(&mut self, wish: Wish) -> Result<(), String> {
        let Wish { id, own, name, conditions } = wish;
        let (sender, receiver) = watch::channel(conditions);
        let stop = self.node.stop.child_token();
        let (events, client_id) = (self.events.clone(), own.client_id.clone());
        if own.six {
            let client = Mozim6::new(&name, own.link, own.mac, client_id);
            self.node.tasks.spawn(dhcp::drive(client, std::future::ready(None), Arc::clone(&id), receiver, events, stop.clone()));
        } else {
            let client = Mozim::new(&name, own.link, own.mac, client_id).map_err(|error| format!("{name}: {}", daemon::report(&error)))?;
            let recall = self.memory.clone().recall(own.mac);
            self.node.tasks.spawn(dhcp::drive(client, recall, Arc::clone(&id), receiver, events, stop.clone()));
        }
        self.tasks.insert(id, Task { own, conditions: sender, stop });
        Ok(())
    }
}
