//! What every node sets (behaviour of the reference; the first group is what the Kernel Self Protection Project asks for).
//!
//! The configuration may set something else. `default` is for links that come later: what is written for all links would undo what a
//! network plugin has set for its own.

/// A default: key of `sysctl`, value, and whether every kernel of ours has it.
pub type Default = (&'static str, &'static str, bool);

/// All of them.
pub const DEFAULTS: &[Default] = &[
    ("dev.tty.ldisc_autoload", "0", true),
    ("dev.tty.legacy_tiocsti", "0", false),
    ("fs.protected_symlinks", "1", true),
    ("fs.protected_hardlinks", "1", true),
    ("fs.protected_fifos", "2", true),
    ("fs.protected_regular", "2", true),
    ("fs.suid_dumpable", "0", true),
    ("kernel.kptr_restrict", "2", true),
    ("kernel.dmesg_restrict", "1", true),
    ("kernel.perf_event_paranoid", "3", false),
    ("kernel.randomize_va_space", "2", true),
    ("kernel.yama.ptrace_scope", "2", false),
    ("user.max_user_namespaces", "0", false),
    ("kernel.unprivileged_bpf_disabled", "1", false),
    ("net.core.bpf_jit_harden", "2", false),
    ("vm.unprivileged_userfaultfd", "0", false),
    // Pods and services.
    ("net.ipv4.ip_forward", "1", true),
    ("net.ipv4.conf.default.send_redirects", "0", true),
    ("net.ipv6.conf.default.forwarding", "1", false),
    ("net.ipv6.conf.default.accept_ra", "2", false),
    ("net.bridge.bridge-nf-call-iptables", "1", false),
    ("net.bridge.bridge-nf-call-ip6tables", "1", false),
    // Ports that this node listens on are not given to those that ask for any.
    ("net.ipv4.ip_local_reserved_ports", "50000-50001", true),
    ("net.ipv4.tcp_keepalive_time", "600", true),
    ("net.ipv4.tcp_keepalive_intvl", "60", true),
    // Many small programs on one machine.
    ("kernel.panic", "10", true),
    ("kernel.pid_max", "262144", true),
    ("vm.overcommit_memory", "1", true),
    ("fs.inotify.max_user_instances", "8192", false),
    ("fs.aio-max-nr", "1048576", false),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_is_there_once() {
        let keys: BTreeSet<_> = DEFAULTS.iter().map(|(key, ..)| key).collect();
        assert_eq!(keys.len(), DEFAULTS.len());
    }
}
