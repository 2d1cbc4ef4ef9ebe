//! Arguments and help texts.

mod actions;
mod cluster;
mod files;
mod generate;
mod observe;

pub use actions::*;
pub use cluster::*;
pub use files::*;
pub use generate::*;
pub use observe::*;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Talks to Keelson nodes, and to every node of that API.
///
/// A first start, from configuration to a running node:
///   keelctl gen config mycluster https://10.0.0.10:6443
///   keelctl apply-config --insecure -n 10.0.0.10 -f controlplane.yaml
///   keelctl config merge ./talosconfig
///   keelctl config endpoint 10.0.0.10
///   keelctl version -n 10.0.0.10
#[derive(Debug, Parser)]
#[command(name = "keelctl", version, verbatim_doc_comment, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Which nodes, and as whom.
#[derive(Clone, Debug, Default, Args)]
pub struct Global {
    /// Nodes the command is for (address or name; several with commas). Default: those of the context
    #[arg(short, long, global = true, value_delimiter = ',', value_name = "NODE")]
    pub nodes: Vec<String>,
    /// Where to connect, `host[:port]`, port 50000 when left out. Default: those of the context
    #[arg(short, long, global = true, value_delimiter = ',', value_name = "ENDPOINT")]
    pub endpoints: Vec<String>,
    /// Client configuration. Default: $TALOSCONFIG, else $TALOS_HOME/config, else ~/.talos/config
    #[arg(long, global = true, value_name = "FILE")]
    pub talosconfig: Option<PathBuf>,
    /// Context of the client configuration. Default: its current one
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make configurations and secrets (no node needed)
    #[command(subcommand)]
    Gen(Gen),
    /// Look at and change the client configuration (no node needed)
    #[command(subcommand)]
    Config(Config),
    /// Give a node its configuration
    #[command(visible_alias = "apply")]
    ApplyConfig(ApplyConfig),
    /// Change the configuration of nodes: read it, patch it, apply it
    Patch(PatchNode),
    /// Change the configuration of a node in an editor
    Edit(Edit),
    /// Make and change configuration files (no node needed)
    #[command(subcommand, name = "machineconfig", visible_alias = "mc")]
    MachineConfig(MachineConfig),
    /// Check a configuration file (no node needed)
    Validate(Validate),
    /// Versions of this client and of nodes
    Version(Version),
    /// Host names of nodes
    Hostname,
    /// Services with state and health; with an id, one of them in detail, or started, stopped, restarted
    #[command(visible_aliases = ["service"])]
    Services(Services),
    /// Kernel messages
    Dmesg(Dmesg),
    /// Log of a service
    #[command(visible_alias = "log")]
    Logs(Logs),
    /// What happens on nodes: sequences, phases, tasks, services, stages
    Events(Events),
    /// Mounted file systems
    #[command(visible_alias = "mount")]
    Mounts(Output),
    /// Memory use
    #[command(visible_aliases = ["free", "m"])]
    Memory(Memory),
    /// Running processes
    #[command(visible_aliases = ["ps", "p"])]
    Processes(Processes),
    /// Disks
    Disks(Disks),
    /// Resources: what a node knows about itself. `keelctl get rd` lists the types
    #[command(visible_alias = "g")]
    Get(Get),
    /// How a node works inside
    #[command(subcommand)]
    Inspect(Inspect),
    /// Files of a folder
    #[command(visible_alias = "list")]
    Ls(Ls),
    /// Print a file of a node
    #[command(visible_alias = "cat")]
    Read(Read),
    /// Copy a file or folder of a node to this machine
    #[command(visible_alias = "cp")]
    Copy(Copy),
    /// How much files and folders take
    #[command(visible_alias = "du")]
    Usage(Usage),
    /// Room on the volumes of a node
    Df(Df),
    /// Wipe disks
    #[command(subcommand)]
    Wipe(Wipe),
    /// Connections and listening sockets
    #[command(visible_alias = "ss")]
    Netstat(Netstat),
    /// Capture packets of a link
    #[command(visible_alias = "tcpdump")]
    Pcap(Pcap),
    /// Containers
    #[command(visible_alias = "c")]
    Containers(Containers),
    /// Memory and processor time of containers
    Stats(Containers),
    /// End a container's process, so that it is started anew
    Restart(Restart),
    /// Nodes at work, live: load, memory, traffic, services, processes, log
    Dashboard(Dashboard),
    /// Clocks of nodes beside their time server's
    Time(Time),
    /// Restart nodes
    Reboot(Reboot),
    /// Power nodes off
    Shutdown(Shutdown),
    /// Wipe nodes: the whole system disk, or what is named
    Reset(Reset),
    /// Go back to the system before the last upgrade
    Rollback,
    /// Small values that a node keeps outside of its configuration. `keelctl get meta` shows them
    #[command(subcommand)]
    Meta(Meta),
    /// Start a new cluster on its first control-plane node; once in its life
    Bootstrap(Bootstrap),
    /// The administrator's access to Kubernetes
    Kubeconfig(Kubeconfig),
    /// Whether the cluster is well, and wait until it is
    Health(Health),
    /// One file with everything that helps to find a trouble, without secrets
    Support(Support),
    /// The database of the cluster
    #[command(subcommand)]
    Etcd(Etcd),
    /// Container images of nodes
    #[command(subcommand, visible_alias = "images")]
    Image(Image),
    /// Completion for a shell (no node needed)
    Completion(Completion),
}

/// How results are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    #[default]
    Table,
    Json,
    Yaml,
}

#[derive(Clone, Copy, Debug, Args)]
pub struct Output {
    /// How to show the result
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    pub output: Format,
}

/// Talking to a node that has no configuration yet.
#[derive(Clone, Debug, Default, Args)]
pub struct Insecure {
    /// Connect straight to the nodes without certificates (a node in maintenance mode)
    #[arg(short, long)]
    pub insecure: bool,
    /// With --insecure: accept only the server key with this fingerprint, which the node shows on its console
    #[arg(long, value_name = "BASE64", requires = "insecure")]
    pub cert_fingerprint: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum Config {
    /// Set the current context's endpoints
    #[command(visible_alias = "endpoints")]
    Endpoint {
        /// Addresses or names, with a port if it is not 50000
        endpoints: Vec<String>,
    },
    /// Set the current context's default nodes
    #[command(visible_alias = "nodes")]
    Node {
        /// Addresses or names
        nodes: Vec<String>,
    },
    /// Choose the current context
    #[command(visible_alias = "use-context")]
    Context {
        /// Its name
        name: String,
    },
    /// List the contexts
    Contexts(Output),
    /// Show the current context: endpoints, nodes, role and end of its certificate
    Info(Output),
    /// Have a node sign a client configuration of other roles or a longer life
    New(NewConfig),
    /// Add a context from the files of its certificates
    Add(AddContext),
    /// Remove a context
    Remove {
        /// Its name
        name: String,
    },
    /// Add the contexts of another client configuration
    Merge {
        /// The other file
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
pub struct ApplyConfig {
    /// Configuration file; `-` reads standard input
    #[arg(short, long, value_name = "FILE")]
    pub file: PathBuf,
    #[command(flatten)]
    pub insecure: Insecure,
    #[command(flatten)]
    pub when: When,
    /// Patch the configuration before it is sent: @FILE or the patch itself (may be given several times)
    #[arg(short = 'p', long, value_name = "PATCH")]
    pub config_patch: Vec<String>,
}

#[derive(Debug, Args)]
pub struct PatchNode {
    /// What to patch: machineconfig
    #[arg(value_name = "TYPE")]
    pub kind: String,
    /// Taken for the sake of scripts: the configuration in force is patched, whatever this says
    #[arg(hide = true)]
    pub id: Option<String>,
    /// Patch: @FILE or the patch itself (may be given several times)
    #[arg(short, long, value_name = "PATCH")]
    pub patch: Vec<String>,
    /// File with a patch, applied after the others
    #[arg(long, value_name = "FILE")]
    pub patch_file: Option<String>,
    #[command(flatten)]
    pub when: When,
}

#[derive(Debug, Args)]
pub struct Edit {
    /// What to edit: machineconfig
    #[arg(value_name = "TYPE")]
    pub kind: String,
    /// Taken for the sake of scripts: the configuration in force is edited, whatever this says
    #[arg(hide = true)]
    pub id: Option<String>,
    #[command(flatten)]
    pub when: When,
}

/// When a change takes effect.
#[derive(Clone, Copy, Debug, Args)]
pub struct When {
    /// When it takes effect
    #[arg(short, long, value_enum, default_value_t = Mode::Auto)]
    pub mode: Mode,
    /// With mode try: after how long the node goes back to the old configuration
    #[arg(long, value_name = "DURATION", default_value = "1m")]
    pub timeout: jiff::SignedDuration,
    /// Only show what would change
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Subcommand)]
pub enum MachineConfig {
    /// Patch a configuration file
    Patch(PatchFile),
    /// Make the configurations of a new cluster, as `gen config` does
    Gen(Box<GenConfig>),
}

#[derive(Debug, Args)]
pub struct PatchFile {
    /// Configuration file; `-` reads standard input
    pub file: PathBuf,
    /// Patch: @FILE or the patch itself (may be given several times)
    #[arg(short, long, value_name = "PATCH", required = true)]
    pub patch: Vec<String>,
    /// Where to write the result. Default: it is printed
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Validate {
    /// Configuration file; `-` reads standard input
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,
    /// Where the node runs
    #[arg(short, long, value_enum)]
    pub mode: ValidateMode,
    /// Take warnings for errors
    #[arg(long)]
    pub strict: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ValidateMode {
    /// On a machine of its own
    Metal,
    /// In a cloud
    Cloud,
    /// In a container
    Container,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Let the node decide
    Auto,
    /// At once; refused when that is not possible
    NoReboot,
    /// With a restart
    Reboot,
    /// At the next restart
    Staged,
    /// At once, and back again after --timeout
    Try,
}

#[derive(Debug, Args)]
pub struct Version {
    #[command(flatten)]
    pub insecure: Insecure,
    /// Only this client's version
    #[arg(long)]
    pub client: bool,
    /// Only the version numbers
    #[arg(long)]
    pub short: bool,
}

#[derive(Debug, Args)]
pub struct Services {
    /// Show this one in detail
    pub id: Option<String>,
    /// What to do with it; a service says in its error when it does not take that
    #[arg(value_enum, default_value_t = ServiceAction::Status)]
    pub action: ServiceAction,
    #[command(flatten)]
    pub insecure: Insecure,
    #[command(flatten)]
    pub output: Output,
}

/// What to do with a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ServiceAction {
    /// Show it with its history
    #[default]
    Status,
    /// Start it, should it not run
    Start,
    /// End it, after those that need it
    Stop,
    /// End it and start it again
    Restart,
}

#[derive(Debug, Args)]
pub struct Dmesg {
    /// Go on with new messages
    #[arg(short, long)]
    pub follow: bool,
    /// Only new messages (implies --follow)
    #[arg(long)]
    pub tail: bool,
    #[command(flatten)]
    pub insecure: Insecure,
}

#[derive(Debug, Args)]
pub struct Logs {
    /// Service; with --kubernetes a container, as `keelctl containers -k` names it
    pub id: String,
    #[command(flatten)]
    pub whose: Whose,
    /// Go on with new lines
    #[arg(short, long)]
    pub follow: bool,
    /// How many past lines; -1 is all
    #[arg(long, default_value_t = -1, allow_negative_numbers = true)]
    pub tail: i32,
    #[command(flatten)]
    pub insecure: Insecure,
}

#[derive(Debug, Args)]
pub struct Events {
    /// How many past events; -1 is all. Ends only by --duration or a key
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    pub tail: i32,
    /// Past events of this span (5m)
    #[arg(long, value_name = "DURATION")]
    pub duration: Option<jiff::SignedDuration>,
    /// Past events after this event id
    #[arg(long, value_name = "ID")]
    pub since: Option<String>,
    /// Only events of this action
    #[arg(long, value_name = "ID")]
    pub actor_id: Option<String>,
    /// Stop after the past events instead of waiting for new ones: ends when nothing comes for a second
    #[arg(long)]
    pub no_follow: bool,
}

#[derive(Debug, Args)]
pub struct Memory {
    /// Every figure of the kernel
    #[arg(short, long)]
    pub verbose: bool,
    #[command(flatten)]
    pub insecure: Insecure,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Debug, Args)]
pub struct Processes {
    /// Order
    #[arg(short, long, value_enum, default_value_t = Sort::Rss)]
    pub sort: Sort,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Sort {
    Rss,
    Cpu,
}

#[derive(Debug, Args)]
pub struct Disks {
    #[command(flatten)]
    pub insecure: Insecure,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Debug, Args)]
pub struct Get {
    /// Type by any of its names: `services`, `svc`, `services.v1alpha1.talos.dev`
    #[arg(value_name = "TYPE")]
    pub kind: String,
    /// Only this one
    pub id: Option<String>,
    /// Namespace. Default: the type's own
    #[arg(long, value_name = "NAME")]
    pub namespace: Option<String>,
    /// Go on with what happens to them: `+` is new, `-` is gone
    #[arg(short, long)]
    pub watch: bool,
    #[command(flatten)]
    pub insecure: Insecure,
    /// How to show them: table, json, yaml, or jsonpath=TEMPLATE
    #[arg(short, long, default_value = "table", value_name = "FORMAT")]
    pub output: GetFormat,
}

/// How resources are shown.
#[derive(Clone, Debug)]
pub enum GetFormat {
    Of(Format),
    /// What a template finds in each of them.
    Path(super::jsonpath::Template),
}

impl std::str::FromStr for GetFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(template) = text.strip_prefix("jsonpath=") {
            return super::jsonpath::Template::parse(template).map(Self::Path);
        }
        <Format as ValueEnum>::from_str(text, false)
            .map(Self::Of)
            .map_err(|_| "a format is table, json, yaml, or jsonpath=TEMPLATE (jsonpath='{.metadata.id}')".to_owned())
    }
}

#[derive(Debug, Subcommand)]
pub enum Inspect {
    /// Which reconcilers read and write which resources
    Dependencies(Dependencies),
}

#[derive(Debug, Args)]
pub struct Dependencies {
    /// How to show them; `dot` is for Graphviz: keelctl inspect dependencies -o dot | dot -T svg
    #[arg(short, long, value_enum, default_value_t = GraphFormat::Text)]
    pub output: GraphFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum GraphFormat {
    Text,
    Dot,
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::{Cli, Command, Config};

    #[test]
    fn the_arguments_contradict_nothing() {
        Cli::command().debug_assert();
    }

    #[test]
    fn usual_lines_are_understood() {
        for line in [
            "gen config c https://10.0.0.1:6443 -o -  -t worker --install-disk /dev/vda --additional-sans a,b --force",
            "gen config c https://a --talos-version v1.10 --registry-mirror a=http://b,c=https://d --with-kubespan --with-cluster-discovery=false",
            "gen config c https://a --config-patch @a --config-patch b --config-patch-worker [] --config-patch-control-plane {}",
            "mc gen c https://a",
            "machineconfig patch a.yaml -p @p.yaml --patch b -o c.yaml",
            "patch mc -n a -p @p.yaml --patch-file f --dry-run -m staged",
            "patch machineconfig v1alpha1 -p x --mode try --timeout 5m",
            "validate -c a.yaml -m metal --strict",
            "gen secrets -o s.yaml",
            "apply-config -n 10.0.0.1 -i -f c.yaml -m no-reboot --dry-run -p @p --config-patch q",
            "apply -n a,b -e c -f - -m try --timeout 90s",
            "version --client --short",
            "-n a version -i --cert-fingerprint x",
            "service apid -n a -o json",
            "logs machined -f --tail -1",
            "dmesg --tail",
            "events --tail -1 --duration 5m --no-follow",
            "ls /var -l -r -d 2 -t f,d",
            "get rd",
            "get members -n a -o yaml --namespace cluster",
            "get svc apid -w -i",
            "inspect dependencies -o dot",
            "reboot --wait=false -m force",
            "shutdown --force --timeout 1m",
            "reset --graceful=false --reboot --system-labels-to-wipe STATE,EPHEMERAL --system-labels-to-wipe META -n a",
            "reset --wipe-mode user-disks --user-disks-to-wipe /dev/sdb --user-disks-to-wipe /dev/sdc --wait=false",
            "meta write 0x0a {} -n a",
            "meta delete 10 -i -n a",
            "config endpoint 10.0.0.1 10.0.0.2:1 --talosconfig t",
        ] {
            let words = std::iter::once("keelctl").chain(line.split_whitespace());
            if let Err(error) = Cli::try_parse_from(words) {
                panic!("{line}: {error}");
            }
        }
    }

    #[test]
    fn wrong_lines_are_refused() {
        for line in [
            "",
            "get",
            "inspect",
            "version --cert-fingerprint x",
            "logs",
            "apply-config -n a",
            "reboot -m slow",
            "reset --wipe-mode none",
            "meta write 256 a",
            "meta write 0x100 a",
            "meta write 1",
            "meta delete x",
            "gen config c",
            "mc patch a",
            "validate -c a",
            "gen config c https://a --talos-version v1.8",
            "gen config c https://a --registry-mirror x",
        ] {
            let words = std::iter::once("keelctl").chain(line.split_whitespace());
            assert!(Cli::try_parse_from(words).is_err(), "{line}");
        }
    }

    #[test]
    fn nodes_may_stand_after_the_command() {
        let cli = Cli::try_parse_from(["keelctl", "config", "contexts", "-n", "a,b", "-n", "c"]).expect("a line");
        assert!(matches!(cli.command, Command::Config(Config::Contexts(_))));
        assert_eq!(cli.global.nodes, ["a", "b", "c"]);
    }
}
