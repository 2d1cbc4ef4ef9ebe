//! Links, addresses, routes and rules as the kernel has them, whoever made them.

pub(crate) mod convert;

use std::{collections::BTreeMap, path::Path};

use reconcile::{Context, Declaration, Failure, Output, Reconciler, Task};
use resource::kinds::network::{AddressStatusSpec, LinkStatusSpec, RouteStatusSpec, RoutingRuleStatusSpec, WireguardSpec};
use rtnetlink::{Handle, packet_route::link::LinkMessage};
use tokio_util::task::AbortOnDropHandle;

use self::convert::{Device, address, link, link_name, name_others, route, rule};
use crate::net::{
    changes::Changes,
    kernel::{Dump, dump, dump_rules, hardware},
    model::Hardware,
    tunnel,
};

/// Kind of links that say more over generic netlink.
const TUNNEL: &str = "wireguard";

/// Where the kernel says more about links.
const SYS_NET: &str = "/sys/class/net";

/// Most resources of one type; a node with more shows the first of them and says so in the log.
const MOST: usize = 16_384;

/// A connection to the kernel, and its word that something changed.
struct Ears {
    handle: Handle,
    changes: Changes,
    /// Moves messages as long as the handle is used.
    _connection: AbortOnDropHandle<()>,
}

impl Ears {
    fn open() -> std::io::Result<Self> {
        let changes = Changes::open()?;
        let (connection, handle, _) = rtnetlink::new_connection()?;
        Ok(Self { handle, changes, _connection: AbortOnDropHandle::new(tokio::spawn(connection)) })
    }
}

/// Writes them down.
#[derive(Default)]
pub(super) struct KernelNetwork {
    /// Opened at the first turn, before the kernel is read: what comes then is heard.
    ears: Option<Ears>,
}

impl KernelNetwork {
    async fn work(&mut self, context: &Context) -> Result<(), Failure> {
        let ears = match self.ears.take() {
            Some(ears) => ears,
            None => Ears::open()?,
        };
        let ears = self.ears.insert(ears);
        let Dump { links, addresses, routes } = dump(&ears.handle).await?;
        let rules = dump_rules(&ears.handle).await?;
        let names: BTreeMap<u32, String> = links.iter().map(|message| (message.header.index, link_name(message).to_owned())).collect();
        // A driver may take its time to say how fast its link is.
        let mut described: BTreeMap<_, _> = tokio::task::spawn_blocking(move || links.iter().map(describe).collect()).await?;
        for link in described.values_mut() {
            name_others(link, &names);
            if link.kind == TUNNEL {
                link.wireguard = tunnel::read(link.index).await.unwrap_or_else(|error| {
                    // It may be gone by now; if not, the next change brings another look.
                    log::debug!(target: "resources", "tunnel {}: {}", link.index, daemon::report(&error));
                    WireguardSpec::default()
                });
            }
        }
        keep::<LinkStatusSpec>(context, described)?;
        keep::<RoutingRuleStatusSpec>(context, rules.iter().map(rule).collect())?;
        keep::<AddressStatusSpec>(context, addresses.iter().filter_map(|message| address(message, &names)).collect())?;
        keep::<RouteStatusSpec>(context, routes.iter().map(|message| route(message, &names)).collect())
    }
}

/// What has one id is one resource: the last one.
fn keep<K: resource::Kind>(context: &Context, mut wanted: BTreeMap<String, K>) -> Result<(), Failure> {
    if wanted.len() > MOST {
        log::warn!(target: "resources", "{}: {} of them, of which {MOST} are shown", K::DEFINITION.kind, wanted.len());
        while wanted.len() > MOST {
            wanted.pop_last();
        }
    }
    context.keep(wanted)?;
    Ok(())
}

/// A link by its name, with what sysfs says of it. Blocks.
fn describe(message: &LinkMessage) -> (String, LinkStatusSpec) {
    let name = link_name(message);
    (name.to_owned(), link(message, &device(Path::new(SYS_NET), name)))
}

/// What sysfs says of a link; nothing of one that is gone by now.
fn device(sys_net: &Path, name: &str) -> Device {
    let folder = sys_net.join(name);
    let text = |path: &str| std::fs::read_to_string(folder.join(path)).ok();
    let Hardware { bus_path, driver, pci_id, .. } = hardware(sys_net, name);
    Device {
        bus_path,
        driver,
        pci_id,
        // A link that is down, or has no speed, does not answer or says -1.
        speed: text("speed").and_then(|speed| speed.trim().parse().ok()).filter(|speed| *speed > 0).unwrap_or(0),
        duplex: text("duplex").map(|duplex| duplex.trim().to_owned()).unwrap_or_default(),
    }
}

impl Reconciler for KernelNetwork {
    fn declaration(&self) -> Declaration {
        let outputs = vec![
            Output::exclusive::<LinkStatusSpec>(),
            Output::exclusive::<AddressStatusSpec>(),
            Output::exclusive::<RouteStatusSpec>(),
            Output::exclusive::<RoutingRuleStatusSpec>(),
        ];
        Declaration { name: "network.kernel", inputs: Vec::new(), outputs }
    }

    fn stirred(&mut self) -> Task<'_, ()> {
        Box::pin(async {
            let heard = match &mut self.ears {
                Some(ears) => ears.changes.next().await,
                // The first turn failed; the next one is on its way.
                None => std::future::pending().await,
            };
            if let Err(error) = heard {
                log::warn!(target: "resources", "listen for links, addresses and routes: {error}");
                // Opened anew by the turn that follows.
                self.ears = None;
            }
        })
    }

    fn reconcile<'a>(&'a mut self, context: &'a Context) -> Task<'a, Result<(), Failure>> {
        Box::pin(self.work(context))
    }
}
