//! Which parameters are to be what, and what follows from that. Pure.

use std::collections::BTreeMap;

use machine_config::Config;

use super::defaults::DEFAULTS;

/// A value that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The value.
    pub value: String,
    /// A kernel without such a parameter is as good.
    pub optional: bool,
}

/// The path of a parameter below `/`, from its key below `prefix` (`proc/sys`, `sys`). As sysctl(8) has it: what stands first, a dot or
/// a slash, separates; the other one is a dot in a name (`net/ipv4/conf/eth0.100/rp_filter`, `net.ipv4.conf.eth0/100.rp_filter`).
#[must_use]
pub fn path(prefix: &str, key: &str) -> String {
    let dots = key.find(['.', '/']).is_none_or(|at| key.get(at..).is_some_and(|rest| rest.starts_with('.')));
    let swapped = |c| match c {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    let key: String = if dots { key.chars().map(swapped).collect() } else { key.to_owned() };
    format!("{prefix}/{key}")
}

/// The id of a path among resources: `proc.sys.net.ipv4.ip_forward`.
#[must_use]
pub fn id(path: &str) -> String {
    path.replace('/', ".")
}

/// Paths with the values that the configuration names.
#[must_use]
pub fn configured(config: Option<&Config>) -> BTreeMap<String, String> {
    let Some(config) = config else { return BTreeMap::new() };
    let of = |prefix: &'static str, list: &BTreeMap<String, String>| -> Vec<(String, String)> {
        list.iter().map(|(key, value)| (path(prefix, key), value.clone())).collect()
    };
    of("proc/sys", config.sysctls()).into_iter().chain(of("sys", config.sysfs())).collect()
}

/// Paths with the values that they are to have: the configuration's before the node's own.
#[must_use]
pub fn wanted(configured: &BTreeMap<String, String>) -> BTreeMap<String, Wanted> {
    let own = DEFAULTS
        .iter()
        .map(|(key, value, everywhere)| (path("proc/sys", key), Wanted { value: (*value).to_owned(), optional: !everywhere }));
    let given = configured.iter().map(|(path, value)| (path.clone(), Wanted { value: value.clone(), optional: false }));
    own.chain(given).collect()
}

/// A change to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Path below `/`.
    pub path: String,
    /// What to write.
    pub value: String,
    /// A kernel without such a parameter is as good.
    pub optional: bool,
    /// Nobody wants it any more: it gets back what it had.
    pub back: bool,
}

/// From what was written to what is wanted. `originals` are the values of everything that was ever written, from before that.
#[must_use]
pub fn steps(written: &BTreeMap<String, Wanted>, wanted: &BTreeMap<String, Wanted>, originals: &BTreeMap<String, String>) -> Vec<Step> {
    let step = |path: &String, value: &str, optional, back| Step { path: path.clone(), value: value.to_owned(), optional, back };
    // What goes is first: putting one back may change others (`ip_forward` does).
    let gone = written.keys().filter(|path| !wanted.contains_key(*path));
    let back = gone.filter_map(|path| Some(step(path, originals.get(path)?, true, true)));
    let fresh = wanted.iter().filter(|(path, one)| written.get(*path).is_none_or(|known| known.value != one.value));
    back.chain(fresh.map(|(path, one)| step(path, &one.value, one.optional, false))).collect()
}

/// A value as it can be written again: of a choice (`none [mq-deadline]`) the chosen one.
#[must_use]
pub fn plain(text: &str) -> String {
    let text = text.trim();
    let chosen = text.split_whitespace().find_map(|word| word.strip_prefix('[')?.strip_suffix(']'));
    chosen.unwrap_or(text).to_owned()
}

/// Whether a kernel that was told `written` and now says `found` has done it: it separates numbers by tabs.
#[must_use]
pub fn took(written: &str, found: &str) -> bool {
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    words(written) == words(&plain(found)) || words(written) == words(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_are_paths() {
        for (key, wanted) in [
            ("net.ipv4.ip_forward", "proc/sys/net/ipv4/ip_forward"),
            ("net/ipv4/conf/eth0.100/rp_filter", "proc/sys/net/ipv4/conf/eth0.100/rp_filter"),
            ("net.ipv4.conf.eth0/100.rp_filter", "proc/sys/net/ipv4/conf/eth0.100/rp_filter"),
            ("swappiness", "proc/sys/swappiness"),
        ] {
            assert_eq!(path("proc/sys", key), wanted);
        }
        assert_eq!(id("sys/block/sda/queue/scheduler"), "sys.block.sda.queue.scheduler");
    }

    #[test]
    fn values_come_back_as_they_are_written() {
        assert_eq!(plain("none [mq-deadline] kyber\n"), "mq-deadline");
        assert_eq!(plain("4096\t131072\t6291456\n"), "4096\t131072\t6291456");
        assert!(took("4096 131072 6291456", "4096\t131072\t6291456\n") && took("none", "[none] kyber") && !took("1", "0\n"));
    }

    #[test]
    fn the_configuration_is_stronger_than_the_node() {
        let own = "proc/sys/net/ipv4/ip_forward".to_owned();
        let all = wanted(&BTreeMap::from([(own.clone(), "0".to_owned())]));
        assert_eq!(all.len(), DEFAULTS.len());
        assert_eq!(all[&own], Wanted { value: "0".to_owned(), optional: false });
        assert_eq!(wanted(&BTreeMap::new())[&own].value, "1");
    }

    /// Writes; a value that was never read is empty.
    fn act(kernel: &mut BTreeMap<String, String>, steps: &[Step], originals: &mut BTreeMap<String, String>) {
        for step in steps {
            let before = kernel.insert(step.path.clone(), step.value.clone()).unwrap_or_default();
            originals.entry(step.path.clone()).or_insert(before);
        }
    }

    proptest! {
        /// Whatever configurations follow each other: the kernel has what the last one wants, and for the rest what it had at the
        /// beginning.
        #[test]
        fn what_nobody_wants_is_as_it_was(rounds in proptest::collection::vec(proptest::collection::btree_map("[a-e]", "[0-3]", 0..5), 1..6)) {
            let start: BTreeMap<String, String> = ('a'..='e').map(|name| (name.to_string(), "9".to_owned())).collect();
            let (mut kernel, mut originals, mut written) = (start.clone(), BTreeMap::new(), BTreeMap::new());
            for round in rounds {
                let wanted: BTreeMap<_, _> =
                    round.iter().map(|(path, value)| (path.clone(), Wanted { value: value.clone(), optional: false })).collect();
                act(&mut kernel, &steps(&written, &wanted, &originals), &mut originals);
                written = wanted;
                prop_assert!(steps(&written, &written, &originals).is_empty());
                for (path, value) in &kernel {
                    prop_assert_eq!(value, round.get(path).unwrap_or(&start[path]));
                }
            }
        }
    }
}
