//! What `--help` says beside the arguments: what a verb prints, its exit codes, and lines that work.
//!
//! One table, so that a verb without an example cannot be added: the tests walk all verbs and parse all examples.

use clap::{Command, CommandFactory as _};

use super::args::Cli;

/// A verb: its words, what it prints or does beyond its first line of help, examples without `keelctl`.
type Verb = (&'static str, &'static str, &'static [&'static str]);

/// Exit codes that all verbs share.
const CODES: &str = "0 done; 1 the command or one of its nodes failed, with the reason on standard error; 2 wrong arguments";

#[rustfmt::skip]
const VERBS: &[Verb] = &[
    ("gen config", "Writes the files and names each on standard error. They hold the cluster's secrets: only their owner can read them.", &["gen config home https://10.0.0.10:6443 --install-disk /dev/vda", "gen config home https://10.0.0.10:6443 --with-secrets secrets.yaml -t worker -o worker.yaml"]),
    ("gen secrets", "Writes one file; keep it where the cluster's backups are.", &["gen secrets -o secrets.yaml"]),
    ("gen ca", "Writes three files: certificate, key, fingerprint of the public key.", &["gen ca --organization acme --hours 8760"]),
    ("gen key", "Writes one file.", &["gen key --name me"]),
    ("gen csr", "Writes one file beside the key.", &["gen csr --key me.key --roles os:reader"]),
    ("gen crt", "Writes one file.", &["gen crt --name me --ca acme --csr me.csr --hours 720"]),
    ("gen keypair", "Writes two files.", &["gen keypair --ip 10.0.0.10 --organization acme"]),
    ("config endpoint", "Prints nothing.", &["config endpoint 10.0.0.10 10.0.0.11"]),
    ("config node", "Prints nothing.", &["config node 10.0.0.10"]),
    ("config context", "Prints nothing.", &["config context home"]),
    ("config contexts", "Prints a table; the current context has a star.", &["config contexts", "config contexts -o json"]),
    ("config info", "Prints a table with one row.", &["config info"]),
    ("config new", "Writes a client configuration with this client's endpoints.", &["config new reader.yaml --roles os:reader --crt-ttl 24h -n 10.0.0.10"]),
    ("config add", "Prints nothing.", &["config add home --ca ca.crt --crt me.crt --key me.key"]),
    ("config remove", "Prints nothing.", &["config remove home"]),
    ("config merge", "Names the contexts that got another name, because theirs was taken.", &["config merge ./talosconfig"]),
    ("apply-config", "Prints warnings and what will happen, a line each with its node.", &["apply-config --insecure -n 10.0.0.10 -f controlplane.yaml", "apply-config -n 10.0.0.10 -f controlplane.yaml --dry-run"]),
    ("patch", "Prints what will happen, a line each with its node.", &["patch machineconfig -n 10.0.0.10 -p @patch.yaml --dry-run", "patch mc -n 10.0.0.10,10.0.0.11 -p '{\"machine\": {\"certSANs\": [\"node.lan\"]}}'"]),
    ("edit", "Opens $TALOS_EDITOR, else $EDITOR, else vi. What the node refuses comes back with its reason on top; what is given up is kept in a file.", &["edit machineconfig -n 10.0.0.10", "edit mc -n 10.0.0.10 --mode staged"]),
    ("machineconfig patch", "Prints the patched configuration, or writes it with --output.", &["machineconfig patch worker.yaml --patch @rack.yaml -o worker-a1.yaml"]),
    ("machineconfig gen", "As gen config.", &["machineconfig gen home https://10.0.0.10:6443"]),
    ("validate", "Prints all problems with line and path, and warnings.", &["validate -c worker.yaml --mode metal --strict"]),
    ("version", "Prints the client's version and each node's.", &["version -n 10.0.0.10", "version --client --short"]),
    ("hostname", "Prints a table.", &["hostname -n 10.0.0.10,10.0.0.11"]),
    ("services", "Prints a table; with an id, the service's history.", &["services -n 10.0.0.10", "services apid", "services apid restart"]),
    ("dmesg", "Prints a line a message with its node in front.", &["dmesg -n 10.0.0.10", "dmesg --follow --tail"]),
    ("logs", "Prints the lines with their node in front.", &["logs machined --tail 50", "logs apid -f", "logs -k kube-system/kube-apiserver-one:kube-apiserver:1a2b3c"]),
    ("events", "Prints a line an event as it comes.", &["events --tail 20 --no-follow", "events --duration 5m"]),
    ("mounts", "Prints a table.", &["mounts -n 10.0.0.10"]),
    ("memory", "Prints a table, MiB; -o json has bytes.", &["memory", "memory --verbose -o json"]),
    ("processes", "Prints a table, the largest first.", &["processes --sort cpu"]),
    ("disks", "Prints a table.", &["disks --insecure -n 10.0.0.10"]),
    ("get", "Prints a table, documents, or what a JSONPath finds in each resource.", &["get rd", "get members", "get mc -o yaml", "get addresses --watch", "get links eth0 -o jsonpath='{.spec.hardwareAddr}'"]),
    ("inspect dependencies", "Prints who reads and writes what, as text or for Graphviz.", &["inspect dependencies", "inspect dependencies -o dot"]),
    ("ls", "Prints names; with --long a table.", &["ls /var/log", "ls -l -H -r -d 2 /var"]),
    ("read", "Prints the file as it is.", &["read /proc/cmdline"]),
    ("copy", "Unpacks below the folder; overwrites nothing and says what it left out. With `-` prints a tar.gz.", &["copy /var/log ./node-logs", "copy /etc/os-release -"]),
    ("usage", "Prints a table, bytes.", &["usage /var", "usage -H -d 2 -a /var/lib"]),
    ("df", "Prints a table.", &["df", "df EPHEMERAL --bytes -o json"]),
    ("wipe disk", "Names what was wiped on standard error. A disk in use is refused by the node.", &["wipe disk sdb -n 10.0.0.10", "wipe disk vdc1 --method ZEROES --drop-partition"]),
    ("netstat", "Prints a table.", &["netstat", "netstat -l -p -t", "netstat -a -o -x --output yaml"]),
    ("pcap", "Writes a file for tcpdump and Wireshark.", &["pcap -i eth0 -o eth0.pcap --duration 30s", "pcap -i eth0 -o - --promiscuous"]),
    ("containers", "Prints a table.", &["containers", "containers -k"]),
    ("stats", "Prints a table.", &["stats -k"]),
    ("restart", "Names what was ended on standard error.", &["restart -k kube-system/kube-apiserver-one:kube-apiserver:1a2b3c"]),
    ("dashboard", "Fills the terminal; the last line names the keys, q ends it. A node that is away says so and comes back by itself.", &["dashboard", "dashboard -n 10.0.0.10,10.0.0.11 -d 5s"]),
    ("time", "Prints a table with both clocks and the difference.", &["time", "time --check time.cloudflare.com"]),
    ("reboot", "Prints the steps until the node is back and ready.", &["reboot -n 10.0.0.10", "reboot --mode powercycle --wait=false"]),
    ("shutdown", "Prints the steps until the node is off.", &["shutdown -n 10.0.0.10 --force"]),
    ("reset", "Prints the steps. What was wiped is gone.", &["reset -n 10.0.0.10 --reboot --system-labels-to-wipe STATE,EPHEMERAL", "reset --wipe-mode user-disks --user-disks-to-wipe /dev/sdb"]),
    ("rollback", "Prints a line a node; the node restarts.", &["rollback -n 10.0.0.10"]),
    ("meta write", "Prints nothing.", &["meta write 0x0c value"]),
    ("meta delete", "Prints nothing.", &["meta delete 0x0c"]),
    ("bootstrap", "Returns once the node has begun. One node, once.", &["bootstrap -n 10.0.0.10", "bootstrap -n 10.0.0.10 --recover-from etcd.snapshot"]),
    ("kubeconfig", "Names the file it wrote; kubectl works from then on.", &["kubeconfig -n 10.0.0.10", "kubeconfig - --merge=false"]),
    ("health", "Prints a line a check as it comes: OK, SKIP or the reason.", &["health -n 10.0.0.10", "health --wait-timeout 5m"]),
    ("support", "Writes a tar.gz with logs, states and resources, a folder a node; names what could not be collected. Sensitive resources are `<REDACTED>`.", &["support -n 10.0.0.10,10.0.0.11", "support -O trouble.tar.gz -n 10.0.0.10"]),
    ("etcd members", "Prints a table.", &["etcd members"]),
    ("etcd status", "Prints a table.", &["etcd status -n 10.0.0.10,10.0.0.11"]),
    ("etcd snapshot", "Writes a file whose digest was checked, or none.", &["etcd snapshot etcd.snapshot -n 10.0.0.10"]),
    ("etcd leave", "Prints nothing.", &["etcd leave -n 10.0.0.11"]),
    ("etcd remove-member", "Prints a line.", &["etcd remove-member 8e9e05c52164694d"]),
    ("etcd forfeit-leadership", "Prints who leads.", &["etcd forfeit-leadership -n 10.0.0.10"]),
    ("etcd alarm list", "Prints a table.", &["etcd alarm list"]),
    ("etcd alarm disarm", "Prints a table of what was ended.", &["etcd alarm disarm"]),
    ("etcd defrag", "Prints nothing; takes long for a large database.", &["etcd defrag -n 10.0.0.10"]),
    ("etcd downgrade validate", "Prints the cluster's version.", &["etcd downgrade validate 3.5 -n 10.0.0.10"]),
    ("etcd downgrade enable", "Prints the cluster's version.", &["etcd downgrade enable 3.5 -n 10.0.0.10"]),
    ("etcd downgrade cancel", "Prints the cluster's version.", &["etcd downgrade cancel -n 10.0.0.10"]),
    ("image list", "Prints a table.", &["image list --namespace system"]),
    ("image pull", "Prints a line a step of each layer, then the name.", &["image pull registry.k8s.io/pause:3.10"]),
    ("image remove", "Prints a line a node.", &["image remove registry.k8s.io/pause:3.10"]),
    ("completion", "Prints a script.", &["completion bash", "completion zsh", "completion fish"]),
];

/// The command line with all of its help.
pub fn command() -> Command {
    let mut command = Cli::command().after_help(format!("Exit codes: {CODES}.\n`keelctl VERB --help` has examples."));
    for (path, prints, examples) in VERBS {
        command = below(command, &path.split(' ').collect::<Vec<_>>(), &text(prints, examples));
    }
    command
}

fn text(prints: &str, examples: &[&str]) -> String {
    let lines: Vec<String> = examples.iter().map(|line| format!("  keelctl {line}")).collect();
    format!("{prints}\n\nExamples:\n{}\n\nExit codes: {CODES}.", lines.join("\n"))
}

/// Gives the verb at the end of a path its text.
fn below(command: Command, path: &[&str], help: &str) -> Command {
    match path.split_first() {
        None => command.after_help(help.to_owned()),
        // A verb that is not there would be made up by `mut_subcommand`'s panic; the test compares both lists.
        Some((first, rest)) if command.find_subcommand(first).is_some() => {
            command.mut_subcommand(*first, |command| below(command, rest, help))
        }
        Some(_) => command,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    /// Every verb that does something, by its words.
    fn leaves(command: &Command, path: &str, found: &mut Vec<String>) {
        for command in command.get_subcommands() {
            let path = format!("{path} {}", command.get_name()).trim_start().to_owned();
            if command.has_subcommands() { leaves(command, &path, found) } else { found.push(path) }
        }
    }

    /// Words as a shell splits them: spaces, single and double quotes.
    fn words(line: &str) -> Vec<String> {
        let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
        for letter in line.chars() {
            match (quote, letter) {
                (None, '\'' | '"') => quote = Some(letter),
                (Some(open), _) if letter == open => quote = None,
                (None, ' ') => words.push(std::mem::take(&mut word)),
                _ => word.push(letter),
            }
        }
        words.push(word);
        words.retain(|word| !word.is_empty());
        words
    }

    #[test]
    fn every_verb_has_examples_and_every_example_its_verb() {
        let mut there = Vec::new();
        leaves(&Cli::command(), "", &mut there);
        let mut told: Vec<&str> = VERBS.iter().map(|(path, _, _)| *path).collect();
        there.sort();
        told.sort_unstable();
        assert_eq!(there, told);
        for (path, prints, examples) in VERBS {
            assert!(prints.ends_with('.') && !examples.is_empty(), "{path}");
        }
    }

    #[test]
    fn examples_work() {
        for (path, _, examples) in VERBS {
            for line in *examples {
                assert!(line.starts_with(path), "{line:?} is no example of {path:?}");
                let words = std::iter::once("keelctl".to_owned()).chain(words(line));
                if let Err(error) = Cli::try_parse_from(words) {
                    panic!("{line}: {error}");
                }
            }
        }
    }

    #[test]
    fn help_shows_them() {
        let mut command = command();
        for (path, _, examples) in VERBS {
            let found = path.split(' ').try_fold(&mut command, |command, word| command.find_subcommand_mut(word)).expect(path);
            let help = found.render_long_help().to_string();
            assert!(help.contains(&format!("keelctl {}", examples[0])) && help.contains("Exit codes"), "{path}: {help}");
        }
    }
}
