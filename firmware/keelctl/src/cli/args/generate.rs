//! Arguments of `gen`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Subcommand)]
pub enum Gen {
    /// Make controlplane.yaml, worker.yaml and talosconfig for a new cluster
    Config(Box<GenConfig>),
    /// Make a secrets bundle, to generate the same cluster's files again later (gen config --with-secrets)
    Secrets(GenSecrets),
    /// Make a certificate authority: ORGANIZATION.crt, .key and .sha256
    Ca(GenCa),
    /// Make a private key: NAME.key
    Key(GenKey),
    /// Make a request for a client's certificate, for a key: the key's file with .csr in place of .key
    Csr(GenCsr),
    /// Sign a request with an authority: NAME.crt
    Crt(GenCrt),
    /// Make a key with a certificate that it signed itself: ORGANIZATION.crt and .key
    Keypair(GenKeypair),
}

#[derive(Debug, Args)]
pub struct GenCa {
    /// Whose authority it is; names the files, too
    #[arg(long, value_name = "NAME", default_value = "talos")]
    pub organization: String,
    /// How long it is valid
    #[arg(long, value_name = "HOURS", default_value_t = 87_600)]
    pub hours: u32,
    /// An RSA key instead of an Ed25519 one
    #[arg(long)]
    pub rsa: bool,
    /// Overwrite files that are there
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, Args)]
pub struct GenKey {
    /// Name of the file, without .key
    #[arg(long)]
    pub name: String,
    /// Overwrite a file that is there
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, Args)]
pub struct GenCsr {
    /// The key's file
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// Address in the certificate
    #[arg(long, value_name = "ADDRESS")]
    pub ip: Option<std::net::IpAddr>,
    /// The client's role; one
    #[arg(long, visible_alias = "role", value_name = "ROLE", default_value = "os:admin")]
    pub roles: String,
    /// Overwrite a file that is there
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, Args)]
pub struct GenCrt {
    /// Name of the file, without .crt
    #[arg(long)]
    pub name: String,
    /// The authority's files, without .crt and .key
    #[arg(long, value_name = "NAME")]
    pub ca: PathBuf,
    /// The request's file
    #[arg(long, value_name = "FILE")]
    pub csr: PathBuf,
    /// How long it is valid
    #[arg(long, value_name = "HOURS", default_value_t = 24)]
    pub hours: u32,
    /// Overwrite a file that is there
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, Args)]
pub struct GenKeypair {
    /// Address in the certificate
    #[arg(long, value_name = "ADDRESS")]
    pub ip: Option<std::net::IpAddr>,
    /// Whose it is; names the files, too
    #[arg(long, value_name = "NAME", default_value = "talos")]
    pub organization: String,
    /// Overwrite files that are there
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, Args)]
pub struct GenConfig {
    /// Cluster name: a DNS label
    pub name: String,
    /// URL of the Kubernetes API server, such as https://10.0.0.10:6443
    pub endpoint: String,
    /// Folder for the files; with one output type, the file. `-` prints it
    #[arg(short, long, value_name = "PATH")]
    pub output: Option<PathBuf>,
    /// Which files
    #[arg(short = 't', long, value_enum, value_delimiter = ',', default_values_t = [FileKind::Controlplane, FileKind::Worker, FileKind::Talosconfig])]
    pub output_types: Vec<FileKind>,
    /// Use this secrets bundle instead of making new secrets
    #[arg(long, value_name = "FILE")]
    pub with_secrets: Option<PathBuf>,
    /// Overwrite files that are there
    #[arg(long)]
    pub force: bool,
    /// Disk named in the install section
    #[arg(long, value_name = "DEVICE", default_value = machine_config::DEFAULT_INSTALL_DISK)]
    pub install_disk: String,
    /// Installer image named in the install section
    #[arg(long, value_name = "IMAGE", default_value = machine_config::DEFAULT_INSTALL_IMAGE)]
    pub install_image: String,
    /// Further names and addresses for the certificates of both APIs
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    pub additional_sans: Vec<String>,
    /// Domain of the cluster's services
    #[arg(long, value_name = "DOMAIN", default_value = "cluster.local")]
    pub dns_domain: String,
    /// Version of Kubernetes
    #[arg(long, value_name = "VERSION", default_value = machine_config::DEFAULT_KUBERNETES_VERSION)]
    pub kubernetes_version: String,
    /// Make configurations in the shape of this version, v1.9 to v1.14. Default: the newest
    #[arg(long, value_name = "VERSION")]
    pub talos_version: Option<machine_config::Contract>,
    /// Mirror of an image registry, HOST=URL; several for one host are asked in their order
    #[arg(long, value_delimiter = ',', value_name = "HOST=URL", value_parser = mirror)]
    pub registry_mirror: Vec<(String, String)>,
    /// Have nodes build an encrypted network among them
    #[arg(long, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub with_kubespan: Option<bool>,
    /// Have nodes find one another through the discovery service
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub with_cluster_discovery: bool,
    /// Patch for the configurations of all nodes: @FILE or the patch itself (may be given several times)
    #[arg(long, value_name = "PATCH")]
    pub config_patch: Vec<String>,
    /// Patch for the configuration of control-plane nodes
    #[arg(long, value_name = "PATCH")]
    pub config_patch_control_plane: Vec<String>,
    /// Patch for the configuration of workers
    #[arg(long, value_name = "PATCH")]
    pub config_patch_worker: Vec<String>,
}

fn mirror(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((host, url)) if !host.is_empty() && (url.starts_with("http://") || url.starts_with("https://")) => {
            Ok((host.to_owned(), url.to_owned()))
        }
        _ => Err("a mirror is given as HOST=URL (docker.io=https://mirror.lan)".to_owned()),
    }
}

/// A file of a new cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FileKind {
    Controlplane,
    Worker,
    Talosconfig,
}

#[derive(Debug, Args)]
pub struct GenSecrets {
    /// File to write; `-` prints it
    #[arg(short, long, value_name = "FILE", default_value = "secrets.yaml")]
    pub output_file: PathBuf,
    /// Overwrite a file that is there
    #[arg(long)]
    pub force: bool,
}
