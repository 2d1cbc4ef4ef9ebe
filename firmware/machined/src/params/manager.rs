//! The one task that owns parameters and modules.

use std::{collections::BTreeMap, fs, io, sync::Arc};

use machine_config::KernelModule;

use super::{
    Loader, Param, ParamStatus, Root,
    plan::{self, Step, Wanted},
};
use crate::node::Node;

/// What is remembered between configurations.
#[derive(Default)]
struct Known {
    written: BTreeMap<String, Wanted>,
    originals: BTreeMap<String, String>,
    status: ParamStatus,
}

pub(super) async fn run(node: Arc<Node>, root: Root, loader: Arc<dyn Loader>) {
    let mut config = node.config.subscribe();
    let mut known = Known::default();
    // Else what the configuration wants would be set twice.
    drop(config.wait_for(|config| config.settled).await);
    loop {
        let (configured, modules) = {
            let config = config.borrow_and_update();
            let active = config.active.as_ref().map(|active| &active.config);
            (plan::configured(active), active.map(|config| config.kernel_modules().to_vec()).unwrap_or_default())
        };
        let (root, loader) = (root.clone(), Arc::clone(&loader));
        // Files and modules: not in the reactor.
        let job = move || {
            let before = known.status.problems.clone();
            known.follow(&root, &configured);
            known.load(&*loader, &modules);
            known.status.settled = true;
            let news: Vec<_> = known.status.problems.iter().filter(|(id, text)| before.get(*id) != Some(text)).collect();
            let news: Vec<_> = news.into_iter().map(|(id, text)| format!("{id}: {text}")).collect();
            (known, news)
        };
        let Ok((back, news)) = tokio::task::spawn_blocking(job).await else {
            log::error!(target: "params", "kernel parameters are not followed any more: the task that sets them has failed");
            return;
        };
        known = back;
        for text in news {
            log::warn!(target: "params", "{text}");
            node.warnings.push(text);
        }
        node.params.send_if_modified(|status| {
            let other = *status != known.status;
            if other {
                status.clone_from(&known.status);
            }
            other
        });
        // The sender lives in the node, which this task holds.
        let _ = config.changed().await;
    }
}

impl Known {
    /// Makes parameters what they are to be.
    fn follow(&mut self, root: &Root, configured: &BTreeMap<String, String>) {
        let wanted = plan::wanted(configured);
        self.status.wanted = configured.iter().map(|(path, value)| (plan::id(path), value.clone())).collect();
        // One that the kernel does not know has nothing to go back to; what is said of it goes all the same.
        for id in self.written.keys().filter(|path| !wanted.contains_key(*path)).map(|path| plan::id(path)) {
            self.status.params.remove(&id);
            self.status.problems.remove(&id);
        }
        for step in plan::steps(&self.written, &wanted, &self.originals) {
            self.step(root, &step);
        }
        self.written = wanted;
    }

    fn step(&mut self, root: &Root, step: &Step) {
        let (id, path) = (plan::id(&step.path), root.path(&step.path));
        // Some can only be written.
        let before = fs::read_to_string(&path).map(|text| plan::plain(&text));
        let original = self.originals.get(&step.path).cloned().or_else(|| before.as_ref().ok().cloned());
        let missing = matches!(&before, Err(error) if error.kind() == io::ErrorKind::NotFound);
        let result = if missing { Err(None) } else { set(&path, &step.value).map_err(Some) };
        self.status.problems.remove(&id);
        match result {
            Err(None) if step.optional => {}
            Err(None) => _ = self.status.problems.insert(id.clone(), "the kernel has no such parameter".to_owned()),
            Err(Some(error)) => _ = self.status.problems.insert(id.clone(), format!("set it to {:?}: {error}", step.value)),
            Ok(()) => {}
        }
        if let (false, Some(original)) = (missing, &original) {
            self.originals.entry(step.path.clone()).or_insert_with(|| original.clone());
        }
        if step.back {
            return;
        }
        let current = fs::read_to_string(&path).map(|text| text.trim().to_owned()).unwrap_or_default();
        self.status.params.insert(id, Param { current, original: original.unwrap_or_default(), unsupported: missing });
    }

    fn load(&mut self, loader: &dyn Loader, modules: &[KernelModule]) {
        for module in modules.iter().filter(|module| !self.status.modules.contains(module)) {
            let problem = match loader.load(module) {
                Ok(true) => {
                    log::info!(target: "params", "kernel module {} loaded", module.name);
                    None
                }
                Ok(false) if !module.parameters.is_empty() => {
                    Some("it was loaded already: its parameters hold after the next boot".to_owned())
                }
                Ok(false) => None,
                Err(problem) => Some(problem),
            };
            let id = format!("kernel module {}", module.name);
            match problem {
                Some(problem) => _ = self.status.problems.insert(id, problem),
                None => _ = self.status.problems.remove(&id),
            }
        }
        let listed = |id: &str| modules.iter().any(|module| id == format!("kernel module {}", module.name));
        self.status.problems.retain(|id, _| !id.starts_with("kernel module ") || listed(id));
        self.status.modules = modules.to_vec();
    }
}

/// Writes a value and looks whether the kernel took it.
fn set(path: &std::path::Path, value: &str) -> io::Result<()> {
    // Not created: a parameter that is not there is none.
    io::Write::write_all(&mut fs::OpenOptions::new().write(true).truncate(true).open(path)?, value.as_bytes())?;
    match fs::read_to_string(path) {
        Ok(found) if !plan::took(value, &found) => {
            Err(io::Error::new(io::ErrorKind::InvalidData, format!("the kernel made {:?} of it", plan::plain(&found))))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Mutex, time::Duration};

    use super::*;
    use crate::{
        node::{ActiveConfig, ConfigStatus},
        params::start_with,
    };

    /// Has every module but one, and one of them loaded.
    #[derive(Clone, Default)]
    struct Own(Arc<Mutex<Vec<String>>>);

    impl Loader for Own {
        fn load(&self, module: &KernelModule) -> Result<bool, String> {
            self.0.lock().unwrap().push(format!("{} {}", module.name, module.parameters.join(" ")));
            match module.name.as_str() {
                "absent" => Err("no module answers to absent".to_owned()),
                "there" => Ok(false),
                _ => Ok(true),
            }
        }
    }

    fn configure(node: &Node, documents: &str) {
        let now = std::time::SystemTime::now();
        let secrets = pki::SecretsBundle::generate(now).unwrap();
        let input = machine_config::GenerateInput::new("t", "https://10.0.0.1:6443", &secrets, now);
        let text = format!("{}\n{documents}", machine_config::generate(&input).unwrap().worker.expose());
        let config = machine_config::Config::parse(&text).unwrap_or_else(|problems| panic!("{problems}")).config;
        let active = ActiveConfig { text: text.into(), source: "api", config };
        node.config.send_replace(ConfigStatus { settled: true, active: Some(Arc::new(active)), ..ConfigStatus::default() });
    }

    fn document(kind: &str, params: &str) -> String {
        format!("---\napiVersion: v1alpha1\nkind: {kind}\nparams:\n{params}")
    }

    async fn wait(node: &Node, until: impl FnMut(&ParamStatus) -> bool) -> ParamStatus {
        let mut params = node.params.subscribe();
        tokio::time::timeout(Duration::from_secs(20), params.wait_for(until)).await.expect("in time").unwrap().clone()
    }

    fn put(root: &Path, path: &str, value: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, value).unwrap();
    }

    #[tokio::test]
    async fn parameters_follow_the_configuration_and_go_back() {
        let folder = tempfile::tempdir().unwrap();
        let has = |path: &str| fs::read_to_string(folder.path().join(path)).unwrap();
        let (forward, swap, disk) = ("proc/sys/net/ipv4/ip_forward", "proc/sys/vm/swappiness", "sys/block/vda/queue/scheduler");
        put(folder.path(), forward, "0\n");
        put(folder.path(), swap, "60\n");
        put(folder.path(), disk, "[none] kyber\n");
        let (node, _commands) = Node::new();
        start_with(&node, Root(folder.path().to_owned()), Own::default());
        node.config.send_replace(ConfigStatus { settled: true, ..ConfigStatus::default() });
        let status = wait(&node, |status| status.settled).await;
        assert_eq!((has(forward).as_str(), has(swap).as_str()), ("1", "60\n"));
        assert_eq!(status.params["proc.sys.net.ipv4.ip_forward"], Param { current: "1".into(), original: "0".into(), unsupported: false });
        assert!(status.params["proc.sys.kernel.yama.ptrace_scope"].unsupported);
        assert!(
            status.problems.contains_key("proc.sys.kernel.pid_max") && !status.problems.contains_key("proc.sys.kernel.yama.ptrace_scope")
        );

        let sysctl = document("SysctlConfig", "  vm.swappiness: \"10\"\n  net.ipv4.ip_forward: \"0\"\n  vm.no_such: \"1\"\n");
        configure(&node, &(sysctl + &document("SysfsConfig", "  block.vda.queue.scheduler: kyber\n")));
        let status = wait(&node, |status| !status.wanted.is_empty()).await;
        assert_eq!((has(forward).as_str(), has(swap).as_str(), has(disk).as_str()), ("0", "10", "kyber"));
        assert_eq!(status.problems["proc.sys.vm.no_such"], "the kernel has no such parameter");
        assert_eq!(status.params["proc.sys.net.ipv4.ip_forward"].original, "0");

        configure(&node, "");
        let status = wait(&node, |status| status.wanted.is_empty()).await;
        assert_eq!((has(forward).as_str(), has(swap).as_str(), has(disk).as_str()), ("1", "60", "none"));
        assert!(!status.params.contains_key("proc.sys.vm.swappiness") && !status.problems.contains_key("proc.sys.vm.no_such"));
        node.stop.cancel();
    }

    #[tokio::test]
    async fn modules_are_loaded_once_and_failures_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let (node, _commands) = Node::new();
        let own = Own::default();
        start_with(&node, Root(folder.path().to_owned()), own.clone());
        let module = |name: &str, rest: &str| format!("---\napiVersion: v1alpha1\nkind: KernelModuleConfig\nname: {name}\n{rest}");
        let documents = module("nbd", "parameters: [nbds_max=4]\n") + &module("absent", "") + &module("there", "parameters: [x=1]\n");
        configure(&node, &documents);
        let status = wait(&node, |status| status.settled).await;
        assert_eq!(*own.0.lock().unwrap(), ["nbd nbds_max=4", "absent ", "there x=1"]);
        let about = |name: &str| status.problems.get(&format!("kernel module {name}")).map(String::as_str);
        assert_eq!(about("absent"), Some("no module answers to absent"));
        assert!(about("there").unwrap().contains("after the next boot") && about("nbd").is_none());
        configure(&node, &module("nbd", "parameters: [nbds_max=4]\n"));
        wait(&node, |status| status.modules.len() == 1).await;
        assert_eq!(own.0.lock().unwrap().len(), 3);
        node.stop.cancel();
    }
}
