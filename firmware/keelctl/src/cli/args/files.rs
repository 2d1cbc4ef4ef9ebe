//! Arguments of what concerns files, file systems and disks.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{Insecure, Output};

#[derive(Debug, Args)]
pub struct Ls {
    /// Folder
    #[arg(default_value = "/")]
    pub path: String,
    /// Show mode, owner, size, time and SELinux label
    #[arg(short, long)]
    pub long: bool,
    /// Sizes as people read them: 1.5 MiB
    #[arg(short = 'H', long)]
    pub humanize: bool,
    /// Go down into folders
    #[arg(short, long)]
    pub recurse: bool,
    /// How deep to go down; 1 is the folder's own entries
    #[arg(short, long, value_name = "N", default_value_t = 0)]
    pub depth: i32,
    /// Only these: f files, d folders, l links
    #[arg(short = 't', long = "type", value_enum, value_delimiter = ',')]
    pub types: Vec<FileType>,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FileType {
    F,
    D,
    L,
}

#[derive(Debug, Args)]
pub struct Read {
    /// File, absolute
    pub path: String,
}

#[derive(Debug, Args)]
pub struct Copy {
    /// File or folder of the node, absolute
    #[arg(value_name = "SOURCE")]
    pub source: String,
    /// Folder of this machine to unpack into, made when it is not there; `-` writes the archive (tar.gz) to standard output
    #[arg(value_name = "FOLDER")]
    pub target: PathBuf,
}

#[derive(Debug, Args)]
pub struct Usage {
    /// Files and folders
    #[arg(default_value = "/")]
    pub paths: Vec<String>,
    /// Files too, not only folders
    #[arg(short, long)]
    pub all: bool,
    /// How deep entries are shown; what is deeper is in the sums
    #[arg(short, long, value_name = "N", default_value_t = 0)]
    pub depth: i32,
    /// Leave out entries that are smaller than so many bytes; below zero: that are larger
    #[arg(short, long, value_name = "BYTES", default_value_t = 0, allow_negative_numbers = true)]
    pub threshold: i64,
    /// Sizes as people read them: 1.5 MiB
    #[arg(short = 'H', long)]
    pub humanize: bool,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Debug, Args)]
pub struct Df {
    /// Only these volumes: STATE, EPHEMERAL
    #[arg(value_name = "VOLUME")]
    pub volumes: Vec<String>,
    /// Exact bytes
    #[arg(short, long)]
    pub bytes: bool,
    /// Inodes instead of bytes
    #[arg(short, long)]
    pub inodes: bool,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Debug, Subcommand)]
pub enum Wipe {
    /// Wipe disks or partitions that nothing uses. What was on them is gone
    Disk(WipeDisk),
}

#[derive(Debug, Args)]
pub struct WipeDisk {
    /// Names as `keelctl get disks` and `keelctl get dv` have them: sdb, vdc1
    #[arg(value_name = "DEVICE", required = true)]
    pub devices: Vec<String>,
    /// How
    #[arg(long, value_enum, ignore_case = true, default_value_t = WipeMethod::Fast)]
    pub method: WipeMethod,
    /// Remove the partition from its disk afterwards
    #[arg(long)]
    pub drop_partition: bool,
    #[command(flatten)]
    pub insecure: Insecure,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WipeMethod {
    /// What makes it look used: tables, superblocks
    Fast,
    /// Every byte
    Zeroes,
}
