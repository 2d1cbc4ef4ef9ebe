//! Arguments of what concerns the cluster: its start, health, etcd, Kubernetes, images.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{Insecure, Output};

#[derive(Debug, Args)]
pub struct Bootstrap {
    /// Start etcd from this snapshot
    #[arg(long, value_name = "FILE")]
    pub recover_from: Option<PathBuf>,
    /// Take a snapshot without its digest (a database file that was copied)
    #[arg(long, requires = "recover_from")]
    pub recover_skip_hash_check: bool,
}

#[derive(Debug, Args)]
pub struct Kubeconfig {
    /// File, or folder for a file `kubeconfig`; `-` prints it. Default: $KUBECONFIG, else ~/.kube/config
    pub path: Option<PathBuf>,
    /// Overwrite entries of the same names, with --merge=false the file
    #[arg(short, long)]
    pub force: bool,
    /// Add to the file what it does not have, instead of writing it anew
    #[arg(short, long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub merge: bool,
    /// Name for the context. Default: the node's
    #[arg(long, value_name = "NAME")]
    pub force_context_name: Option<String>,
}

#[derive(Debug, Args)]
pub struct Health {
    /// Have the node check, which sees the cluster from inside
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub server: bool,
    /// Control-plane nodes. Default: those that the node knows
    #[arg(long, value_delimiter = ',', value_name = "NODE")]
    pub control_plane_nodes: Vec<String>,
    /// Workers. Default: those that the node knows
    #[arg(long, value_delimiter = ',', value_name = "NODE")]
    pub worker_nodes: Vec<String>,
    /// Kubernetes API server to ask instead of the cluster's own
    #[arg(long, value_name = "URL")]
    pub k8s_endpoint: Option<String>,
    /// How long to wait for everything to be well
    #[arg(long, value_name = "DURATION", default_value = "20m")]
    pub wait_timeout: jiff::SignedDuration,
}

#[derive(Debug, Args)]
pub struct Support {
    /// File to write, a tar.gz
    #[arg(short = 'O', long, value_name = "FILE", default_value = "support.tar.gz")]
    pub output: PathBuf,
    /// Overwrite a file that is there
    #[arg(long)]
    pub force: bool,
    /// Taken for the sake of scripts: a bundle is never encrypted
    #[arg(long, hide = true)]
    pub no_encryption: bool,
    /// Taken for the sake of scripts: nodes are asked one after the other
    #[arg(short = 'w', long, hide = true)]
    pub num_workers: Option<u32>,
    #[command(flatten)]
    pub insecure: Insecure,
}

#[derive(Debug, Subcommand)]
pub enum Etcd {
    /// Members
    #[command(visible_alias = "member")]
    Members(Output),
    /// State of each node's member
    Status(Output),
    /// Save the database to a file
    Snapshot {
        /// File
        path: PathBuf,
    },
    /// Have the node's member leave; refused for the last one
    Leave,
    /// Remove a member that is gone for good
    RemoveMember {
        /// Its id in hexadecimal, as `etcd members` shows it
        #[arg(value_parser = member_id)]
        id: u64,
    },
    /// Have another member lead
    ForfeitLeadership,
    /// Alarms of members
    #[command(subcommand)]
    Alarm(Alarm),
    /// Give room in the database back to its disk. One member after the other: it answers nothing meanwhile
    Defrag,
    /// The way back to an older version
    #[command(subcommand)]
    Downgrade(Downgrade),
}

#[derive(Debug, Subcommand)]
pub enum Alarm {
    /// Show them
    List(Output),
    /// End them
    Disarm(Output),
}

#[derive(Debug, Subcommand)]
pub enum Downgrade {
    /// Whether it is possible
    Validate {
        /// Version, such as 3.5
        version: String,
    },
    /// Start it
    Enable {
        /// Version, such as 3.5
        version: String,
    },
    /// End it
    Cancel,
}

fn member_id(text: &str) -> Result<u64, String> {
    u64::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16)
        .map_err(|_| "a member's id is a hexadecimal number (8e9e05c52164694d)".to_owned())
}

#[derive(Debug, Subcommand)]
pub enum Image {
    /// Images in a store
    #[command(visible_aliases = ["ls", "l"])]
    List {
        #[command(flatten)]
        store: ImageStore,
        #[command(flatten)]
        output: Output,
    },
    /// Fetch an image
    #[command(visible_alias = "p")]
    Pull {
        /// Reference
        image: String,
        #[command(flatten)]
        store: ImageStore,
    },
    /// Remove an image
    #[command(visible_alias = "rm")]
    Remove {
        /// Reference
        image: String,
        #[command(flatten)]
        store: ImageStore,
    },
}

#[derive(Clone, Copy, Debug, Args)]
pub struct ImageStore {
    /// Whose images
    #[arg(long, value_enum, default_value_t = ImageNamespace::Cri)]
    pub namespace: ImageNamespace,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ImageNamespace {
    /// The system's services
    System,
    /// Kubernetes
    Cri,
    /// Images kept in memory for upgrades
    Inmem,
}

#[derive(Debug, Args)]
pub struct NewConfig {
    /// File; `-` prints it
    #[arg(default_value = "talosconfig")]
    pub path: PathBuf,
    /// Roles of the new client
    #[arg(long, value_delimiter = ',', value_name = "ROLE", default_value = "os:admin")]
    pub roles: Vec<String>,
    /// How long its certificate is valid
    #[arg(long, value_name = "DURATION", default_value = "8760h")]
    pub crt_ttl: jiff::SignedDuration,
    /// Overwrite a file that is there
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, Args)]
pub struct AddContext {
    /// Its name
    pub name: String,
    /// File with the authority's certificate (PEM)
    #[arg(long, value_name = "FILE")]
    pub ca: PathBuf,
    /// File with the client's certificate (PEM)
    #[arg(long, value_name = "FILE")]
    pub crt: PathBuf,
    /// File with the client's key (PEM)
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
}
