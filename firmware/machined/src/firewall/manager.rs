//! The one task that owns the firewall.

use std::{sync::Arc, time::Duration};

use linux::nft::Table;
use tokio::time::{Instant, sleep_until};

use super::{
    Filter,
    rules::{self, Inputs},
};
use crate::node::Node;

/// What the kernel refused is tried again after this, doubled each time.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

pub(super) async fn run(node: Arc<Node>, filter: Arc<dyn Filter>) {
    let (mut config, mut network, mut dns) = (node.config.subscribe(), node.network.subscribe(), node.host_dns.subscribe());
    // Services wait for the first rules, and these for what the configuration is.
    drop(config.wait_for(|config| config.settled).await);
    // A kernel that has just started has no table.
    let mut applied = Inputs::default();
    let mut failures: u32 = 0;
    loop {
        let wanted = {
            let (config, network) = (config.borrow_and_update(), network.borrow_and_update());
            let dns = dns.borrow_and_update();
            Inputs::new(config.active.as_ref().map(|active| &active.config), network.addresses(), &dns.settings.pods)
        };
        let mut retry = None;
        if wanted == applied {
            failures = 0;
            settle(&node, None);
        } else {
            let table = rules::table(&wanted);
            match apply(&filter, table.clone()).await {
                Ok(()) => {
                    told(&table);
                    (applied, failures) = (wanted, 0);
                    node.firewall.send_modify(|status| status.chains = table.chains);
                    settle(&node, None);
                }
                Err(problem) => {
                    if failures == 0 {
                        let text = format!("firewall: {problem}; the rules before hold, and this is tried again");
                        log::error!(target: "firewall", "{text}");
                        node.warnings.push(text);
                    }
                    retry = Some(Instant::now() + RETRY.0.saturating_mul(1 << failures.min(16)).min(RETRY.1));
                    failures += 1;
                    settle(&node, Some(problem));
                }
            }
        }
        tokio::select! {
            // The senders live in the node, which this task holds.
            _ = config.changed() => {}
            _ = network.changed() => {}
            _ = dns.changed() => {}
            () = sleep_until(retry.unwrap_or_else(Instant::now)), if retry.is_some() => {}
        }
    }
}

/// Not in the reactor: the kernel takes its time for a batch.
async fn apply(filter: &Arc<dyn Filter>, table: Table) -> Result<(), String> {
    let filter = Arc::clone(filter);
    match tokio::task::spawn_blocking(move || filter.replace(&table)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(daemon::report(&error).to_string()),
        Err(lost) => Err(lost.to_string()),
    }
}

fn settle(node: &Node, problem: Option<String>) {
    node.firewall.send_if_modified(|status| {
        let news = !status.settled || status.problem != problem;
        (status.settled, status.problem) = (true, problem);
        news
    });
}

fn told(table: &Table) {
    if table.chains.is_empty() {
        log::info!(target: "firewall", "nothing is filtered");
        return;
    }
    let chains: Vec<_> =
        table.chains.iter().map(|chain| format!("{} ({} rules, {:?})", chain.name, chain.rules.len(), chain.policy)).collect();
    log::info!(target: "firewall", "in force: {}", chains.join(", "));
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use linux::nft::FilterError;

    use super::*;
    use crate::{
        firewall::{FirewallStatus, start_with},
        node::ConfigStatus,
    };

    /// Takes tables, or refuses them.
    #[derive(Default)]
    struct Own {
        taken: Mutex<Vec<Table>>,
        refuses: std::sync::atomic::AtomicBool,
    }

    impl Filter for Arc<Own> {
        fn replace(&self, table: &Table) -> Result<(), FilterError> {
            if self.refuses.load(std::sync::atomic::Ordering::Relaxed) {
                let source = std::io::Error::from_raw_os_error(95);
                return Err(FilterError::Refused { what: "chain ingress, rule 3".to_owned(), detail: String::new(), source });
            }
            self.taken.lock().unwrap().push(table.clone());
            Ok(())
        }
    }

    fn configure(node: &Node, documents: &str) {
        let now = std::time::SystemTime::now();
        let secrets = pki::SecretsBundle::generate(now).unwrap();
        let input = machine_config::GenerateInput::new("t", "https://10.0.0.1:6443", &secrets, now);
        let text = format!("{}\n{documents}", machine_config::generate(&input).unwrap().worker.expose());
        let config = machine_config::Config::parse(&text).unwrap_or_else(|problems| panic!("{problems}")).config;
        let active = crate::node::ActiveConfig { text: text.into(), source: "api", config };
        node.config.send_replace(ConfigStatus { settled: true, active: Some(Arc::new(active)), ..ConfigStatus::default() });
    }

    async fn wait(node: &Node, until: impl FnMut(&FirewallStatus) -> bool) -> FirewallStatus {
        let mut firewall = node.firewall.subscribe();
        let found = tokio::time::timeout(Duration::from_secs(20), firewall.wait_for(until)).await;
        found.expect("in time").unwrap().clone()
    }

    const BLOCK: &str = "---\napiVersion: v1alpha1\nkind: NetworkDefaultActionConfig\ningress: block\n";

    #[tokio::test]
    async fn rules_follow_the_configuration_and_a_refusal_keeps_the_old_ones() {
        let (node, _commands) = Node::new();
        let own = Arc::new(Own::default());
        start_with(&node, Arc::clone(&own));
        configure(&node, "");
        assert_eq!(wait(&node, |status| status.settled).await.chains, []);
        assert!(own.taken.lock().unwrap().is_empty(), "a kernel that filters nothing is not asked");

        configure(&node, BLOCK);
        assert_eq!(wait(&node, |status| !status.chains.is_empty()).await.chains[0].policy, linux::nft::Verdict::Drop);

        own.refuses.store(true, std::sync::atomic::Ordering::Relaxed);
        configure(&node, "");
        let refused = wait(&node, |status| status.problem.is_some()).await;
        assert!(refused.problem.unwrap().contains("chain ingress, rule 3") && refused.chains.len() == 2);
        assert_eq!(node.warnings.list().len(), 1);

        own.refuses.store(false, std::sync::atomic::Ordering::Relaxed);
        let status = wait(&node, |status| status.problem.is_none()).await;
        assert!(status.chains.is_empty() && own.taken.lock().unwrap().len() == 2);
        node.stop.cancel();
    }
}
