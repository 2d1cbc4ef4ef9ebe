//! The first steps of PID 1: pseudo file systems, folders, limits, clock, control groups.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    time::Duration,
};

use linux::{
    cgroup::{Cgroup, CgroupError},
    clock,
    mount::{self, DATA, Flags, MountError},
};

use super::{facts::Release, groups};

/// Open files of PID 1 and of every service that sets nothing else.
const OPEN_FILES: u64 = 1_048_576;

/// A module without hardware or behaviour of its own, that every kernel of ours has.
const PIN: &str = "crc16";

/// User and group that apid runs as.
const APID: u32 = 50;

/// This program; there is no `/proc` yet that would tell.
const PROGRAM: &str = "/usr/bin/keelson";

/// Where the last known time is kept between boots.
pub const CLOCK_FILE: &str = "/system/state/clock";

/// Whether RCU's grace periods are expedited (`kernel/ksysfs.c`).
const RCU_EXPEDITED: &str = "/sys/kernel/rcu_expedited";

/// What the API's control group needs.
const API_CONTROLLERS: [&str; 2] = ["memory", "pids"];
/// What control groups control, where the kernel can.
const CONTROLLERS: [&str; 5] = ["cpu", "io", "memory", "pids", "cpuset"];

/// Groups that hold groups.
const PARENTS: [&str; 2] = ["system", "podruntime"];

/// What PID 1 could not set up.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are the object and the cause of the operation in the message")]
pub enum SetupError {
    #[error(transparent)]
    Mount(#[from] MountError),
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    #[error("create folder {path}")]
    Folder { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Clock(#[from] clock::ClockError),
    #[error(transparent)]
    Limit(#[from] linux::rlimit::RlimitError),
    #[error(transparent)]
    CtrlAltDel(#[from] linux::power::PowerError),
    #[error("set the host name")]
    Hostname { source: io::Error },
    #[error(transparent)]
    Module(#[from] linux::modules::ModuleError),
    #[error("the kernel would take modules from anywhere: it has no LoadPin that is enforced")]
    NotPinned,
    #[error("write {RCU_EXPEDITED}")]
    Rcu { source: io::Error },
    #[error("save the time to {CLOCK_FILE}")]
    SaveClock { source: io::Error },
}

struct Pseudo {
    target: &'static str,
    fstype: &'static str,
    flags: Flags,
    data: &'static str,
    /// Left out when the kernel offers no mount point or does not know the type.
    optional: bool,
}

const fn pseudo(target: &'static str, fstype: &'static str, flags: Flags, data: &'static str) -> Pseudo {
    Pseudo { target, fstype, flags, data, optional: false }
}

const fn optional(target: &'static str, fstype: &'static str, flags: Flags, data: &'static str) -> Pseudo {
    Pseudo { target, fstype, flags, data, optional: true }
}

const DEVICES: Flags = Flags::NOSUID.union(Flags::NOEXEC);

/// Without these there is not even a log, nor a look for the disk: the loader says in a variable which one it came from.
const FIRST: [Pseudo; 4] = [
    pseudo("/proc", "proc", DATA, ""),
    pseudo("/sys", "sysfs", DATA, ""),
    pseudo("/dev", "devtmpfs", Flags::NOSUID, "mode=0755"),
    optional("/sys/firmware/efi/efivars", "efivarfs", DATA.union(Flags::RDONLY), ""),
];

/// What the node itself needs.
const REST: [Pseudo; 4] = [
    pseudo("/run", "tmpfs", DATA, "mode=0755"),
    pseudo("/tmp", "tmpfs", DATA, "mode=1777,size=64M"),
    pseudo("/system", "tmpfs", DATA, "mode=0755"),
    pseudo("/sys/fs/cgroup", "cgroup2", DATA, "nsdelegate,memory_recursiveprot"),
];

/// What workloads and tools look for. No tracefs and debugfs: nothing here needs them, and they show the kernel's inside.
const FOR_WORKLOADS: [Pseudo; 5] = [
    pseudo("/dev/pts", "devpts", DEVICES, "mode=0620,ptmxmode=0666,gid=5"),
    pseudo("/dev/shm", "tmpfs", DATA, "mode=1777"),
    optional("/sys/kernel/security", "securityfs", DATA, ""),
    optional("/sys/fs/pstore", "pstore", DATA, ""),
    optional("/sys/fs/bpf", "bpf", DATA, "mode=0700"),
];

/// Folders on the fresh tmpfs trees: path, mode, group.
const FOLDERS: [(&str, u32, u32); 8] = [
    ("/system/etc", 0o700, 0),
    ("/system/var", 0o700, 0),
    ("/system/state", 0o700, 0),
    ("/system/run", 0o751, 0),
    ("/run/etc", 0o755, 0),
    ("/run/lock", 0o755, 0),
    ("/run/machined", 0o750, APID),
    ("/run/containerd", 0o711, 0),
];

/// Has this program read as a whole, by another processor. Else it comes page fault by page fault through dm-verity, in
/// some sixty small reads that each have to be waited for.
pub fn read_program_ahead() {
    // Its end is nobody's business; without it everything is only slower.
    let _ = std::thread::Builder::new().name("read-ahead".to_owned()).spawn(|| linux::readahead::whole(Path::new(PROGRAM)));
}

/// Whether the kernel hurries those who wait until every processor has passed a quiet point. While booting many wait (links that
/// come up, control groups, raw sockets) and nobody is disturbed; later it would interrupt the workloads.
///
/// # Errors
/// [`SetupError::Rcu`].
pub fn hurry_rcu(hurry: bool) -> Result<(), SetupError> {
    match fs::write(RCU_EXPEDITED, if hurry { "1" } else { "0" }) {
        // A kernel without the switch needs none.
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(SetupError::Rcu { source }),
        _ => Ok(()),
    }
}

/// Mounts `/proc`, `/sys`, `/dev` and the firmware's variables, where there are any and the kernel has not.
///
/// # Errors
/// [`SetupError::Mount`].
pub fn first_mounts() -> Result<(), SetupError> {
    mount_all(&FIRST).map(drop)
}

/// Mounts what the node needs besides and makes the folders on it.
///
/// # Errors
/// [`SetupError::Mount`], [`SetupError::Folder`].
pub fn other_mounts() -> Result<(), SetupError> {
    mount_all(&REST)?;
    for (path, mode, group) in FOLDERS {
        let made = make_folder(Path::new(path), mode, group);
        made.map_err(|source| SetupError::Folder { path: path.into(), source })?;
    }
    // Services get their own mount namespaces, and what the node mounts later must reach them.
    Ok(mount::make_shared(Path::new("/"))?)
}

/// Mounts what only workloads and tools look for; gives the optional ones that this kernel does not have.
///
/// # Errors
/// [`SetupError::Mount`].
pub fn workload_mounts() -> Result<Vec<&'static str>, SetupError> {
    mount_all(&FOR_WORKLOADS)
}

fn mount_all(list: &[Pseudo]) -> Result<Vec<&'static str>, SetupError> {
    let mut missing = Vec::new();
    let mut mounted = Vec::new();
    for item in list {
        // Once there is a table: before /proc is mounted there is none, and the kernel has mounted /dev by itself.
        if mounted.is_empty() {
            mounted = mount::mounts().unwrap_or_default();
        }
        let target = Path::new(item.target);
        if mounted.iter().any(|entry| entry.target == target && entry.fstype == item.fstype) {
            continue;
        }
        if item.optional && !target.is_dir() {
            missing.push(item.fstype);
            continue;
        }
        match mount::mount(item.fstype, target, item.fstype, item.flags, item.data) {
            Ok(()) => {}
            Err(_) if item.optional => missing.push(item.fstype),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(missing)
}

fn make_folder(path: &Path, mode: u32, group: u32) -> io::Result<()> {
    match fs::DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    if group == 0 { Ok(()) } else { chown(path, None, Some(group)) }
}

/// Limits and keys of PID 1 itself.
///
/// # Errors
/// [`SetupError::Limit`], [`SetupError::CtrlAltDel`], [`SetupError::Hostname`].
pub fn basics() -> Result<(), SetupError> {
    linux::rlimit::open_files(OPEN_FILES)?;
    linux::power::own_ctrl_alt_del()?;
    let failed = |source| SetupError::Hostname { source };
    if matches!(linux::hostname::get().map_err(failed)?.as_str(), "" | "(none)" | "localhost") {
        linux::hostname::set("keelson").map_err(failed)?;
    }
    Ok(())
}

/// Loads one module, so that the kernel takes modules and firmware from this root only from now on (LoadPin pins the
/// file system of the first one it sees). Before anything that could have a module of its own.
///
/// # Errors
/// [`SetupError::Module`], [`SetupError::NotPinned`].
pub fn pin_modules() -> Result<(), SetupError> {
    linux::modules::Modules::of_this_kernel()?.load(PIN)?;
    if linux::modules::pinned() { Ok(()) } else { Err(SetupError::NotPinned) }
}

/// Raises the clock to the latest of RTC, image build time and last saved time. Gives the text for people when it had
/// to be set.
///
/// # Errors
/// [`SetupError::Clock`].
pub fn clock_floor(release: &Release) -> Result<Option<String>, SetupError> {
    let floor = clock::floor([clock::rtc(), release.build_epoch(), saved_clock()]);
    let before = clock::now();
    let raised = clock::raise_to(floor)?;
    // The real-time clock tells whole seconds: less is no news.
    let worth_telling = raised && floor.saturating_sub(before) >= Duration::from_secs(2);
    Ok(worth_telling.then(|| format!("clock was at {} s, set to its floor {} s", before.as_secs(), floor.as_secs())))
}

fn saved_clock() -> Option<Duration> {
    let text = fs::read_to_string(CLOCK_FILE).ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

/// Keeps the present time for the next boot's floor. A torn file only loses the floor: it is not flushed here.
///
/// # Errors
/// [`SetupError::SaveClock`].
pub fn save_clock() -> Result<(), SetupError> {
    let path = Path::new(CLOCK_FILE);
    let fresh = path.with_extension("new");
    let written = fs::write(&fresh, format!("{}\n", clock::now().as_secs())).and_then(|()| fs::rename(&fresh, path));
    written.map_err(|source| SetupError::SaveClock { source })
}

/// The control groups that the API's services need, controllers from the top down. PID 1 stays in the root group, where no
/// rule forbids it, until [`remaining_groups`].
///
/// # Errors
/// [`SetupError::Cgroup`].
pub fn control_groups() -> Result<(), SetupError> {
    Cgroup::at("").enable(&API_CONTROLLERS)?;
    let system = Cgroup::at("system");
    system.create()?;
    system.enable(&API_CONTROLLERS)?;
    Ok(())
}

/// The groups and controllers that workloads will need, a group for PID 1, and what each is granted and allowed ([`groups`]);
/// gives the controllers that this kernel does not have. The kernel lets every processor pass a quiet point before it moves a
/// process, and no thread or process begins meanwhile: this blocks for long.
///
/// # Errors
/// [`SetupError::Cgroup`].
pub fn remaining_groups() -> Result<Vec<&'static str>, SetupError> {
    let missing = Cgroup::at("").enable(&CONTROLLERS)?;
    let processors = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
    for (name, limits) in groups::GROUPS {
        let group = Cgroup::at(name);
        group.create()?;
        if PARENTS.contains(name) {
            group.enable(&CONTROLLERS)?;
        }
        // Of a controller that this kernel does not have there are no files.
        for (file, value) in limits.files(processors).iter().filter(|(file, _)| group.path().join(file).exists()) {
            group.write(file, value)?;
        }
    }
    Cgroup::at("init").enter(0)?;
    Ok(missing)
}
