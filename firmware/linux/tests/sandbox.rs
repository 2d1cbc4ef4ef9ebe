//! Services in sandboxes. This program is the test, the launcher and the service, by `argv[0]`, as the node's program is.
//!
//! Needs root and a kernel that lets it make namespaces; elsewhere it says so and runs nothing.

use std::{
    env, fs,
    io::{self, Write},
    os::unix::{fs::PermissionsExt, net::UnixDatagram},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use libtest_mimic::{Arguments, Trial};
use linux::{
    process::{Capabilities, Child, Collect, Exit, Input, ProcessError, Resource, Signal, Spec, User, signal, spawn, start_reaper},
    sandbox::{Access, Call, Calls, Condition, Mount, Namespaces, Otherwise, Sandbox, launch},
};
use nix::sys::signal::SigSet;
use tokio::{runtime::Runtime, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Named limit of every wait in here.
const LIMIT: Duration = Duration::from_secs(60);
/// Above every number of a system call.
const ALL_CALLS: u32 = 500;
/// `capabilities(7)`.
const CAP_NET_BIND_SERVICE: u8 = 10;

fn main() -> ExitCode {
    let arg0 = env::args().next().unwrap_or_default();
    match Path::new(&arg0).file_name().and_then(|name| name.to_str()) {
        Some("launcher") => launch(),
        Some("probe") => probe(&env::args().skip(1).collect::<Vec<_>>()),
        _ => tests(),
    }
}

// The service -------------------------------------------------------------------------------------------------------

/// Prints what the words ask for.
fn probe(words: &[String]) -> ExitCode {
    for word in words {
        let (what, on) = word.split_once(' ').unwrap_or((word, ""));
        let said = match what {
            "pid" => Ok(std::process::id().to_string()),
            "list" => list(on),
            "read" => fs::read_to_string(on),
            "write" => fs::write(on, "written").map(|()| String::new()),
            "link" => fs::read_link(on).map(|path| path.display().to_string()),
            "directory" => env::current_dir().map(|path| path.display().to_string()),
            "variables" => Ok(env::vars().map(|(key, value)| format!("{key}={value} ")).collect()),
            "unix" => UnixDatagram::unbound().map(|_| String::new()),
            "inet" => std::net::UdpSocket::bind("127.0.0.1:0").map(|_| String::new()),
            "line" => line(),
            "term" => Ok(SigSet::from(Signal::SIGTERM).wait().expect("a signal").to_string()),
            "sethostname" => nix::unistd::sethostname(on).map(|()| String::new()).map_err(io::Error::from),
            _ => Err(io::Error::other("no such word")),
        };
        match said {
            Ok(text) => println!("{word}: {}", text.trim()),
            Err(error) => println!("{word}: {}", error.raw_os_error().map_or(error.to_string(), |number| format!("error {number}"))),
        }
    }
    ExitCode::SUCCESS
}

fn list(path: &str) -> io::Result<String> {
    let mut names: Vec<String> = fs::read_dir(path)?.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names.join(" "))
}

fn line() -> io::Result<String> {
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    Ok(line)
}

// The tests ---------------------------------------------------------------------------------------------------------

fn tests() -> ExitCode {
    let arguments = Arguments::from_args();
    if let Err(why) = possible() {
        println!("sandboxes are not tested here: {why}");
        return ExitCode::SUCCESS;
    }
    let runtime = Arc::new(tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime"));
    runtime.block_on(async { start_reaper(&TaskTracker::new(), CancellationToken::new()) }).expect("a reaper");
    let tests: [(&str, Test); 10] = [
        ("an_empty_root", an_empty_root),
        ("mounts_are_what_was_said", mounts_are_what_was_said),
        ("privileges_are_gone", privileges_are_gone),
        ("signals_are_as_usual", signals_are_as_usual),
        ("a_capability_can_stay", a_capability_can_stay),
        ("namespaces_are_its_own", namespaces_are_its_own),
        ("calls_are_refused", calls_are_refused),
        ("calls_kill", calls_kill),
        ("a_first_process_hears_of_sigterm", a_first_process_hears_of_sigterm),
        ("failures_have_names", failures_have_names),
    ];
    let trials = tests.map(|(name, test)| {
        let bench = Bench { runtime: Arc::clone(&runtime) };
        Trial::test(name, move || {
            test(&bench);
            Ok(())
        })
    });
    libtest_mimic::run(&arguments, trials.into()).exit_code()
}

/// Whether this kernel and user can make sandboxes. Tried on a thread of its own, which ends with what it made.
fn possible() -> Result<(), String> {
    use nix::sched::{CloneFlags, unshare};
    if !nix::unistd::geteuid().is_root() {
        return Err("they take root".to_owned());
    }
    let flags = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWPID;
    let tried = std::thread::spawn(move || unshare(flags)).join().expect("no panic");
    tried.map_err(|errno| format!("the kernel refuses namespaces: {}", errno.desc()))
}

type Test = fn(&Bench);

struct Bench {
    runtime: Arc<Runtime>,
}

/// How a service ended, and what it printed.
struct Ended {
    exit: Exit,
    lines: Vec<String>,
}

impl Bench {
    fn start(&self, spec: &Spec) -> Result<Child, ProcessError> {
        let _inside = self.runtime.enter();
        spawn(spec)
    }

    /// Runs the service to its end.
    fn run(&self, spec: Spec) -> Ended {
        self.run_with(spec, |_| {})
    }

    fn run_with(&self, mut spec: Spec, meanwhile: impl FnOnce(&mut Child)) -> Ended {
        let output = Arc::new(Collect::new(64 * 1024));
        spec.output = Some(output.clone());
        let mut child = self.start(&spec).unwrap_or_else(|error| panic!("{error}: {:?}", std::error::Error::source(&error)));
        meanwhile(&mut child);
        let exit = self.runtime.block_on(async {
            let exit = timeout(LIMIT, child.exit).await.expect("ends in time").expect("collected");
            timeout(LIMIT, child.output_end).await.expect("in time").expect("pumped");
            exit
        });
        Ended { exit, lines: output.text().lines().map(str::to_owned).collect() }
    }

    /// Runs the service and compares what it printed: for each line how it begins and how it ends.
    #[track_caller]
    fn check(&self, spec: Spec, expect: &[(&str, &str)]) {
        let Ended { exit, lines } = self.run(spec);
        assert!(exit.success(), "{exit}: {lines:?}");
        self.expect(&lines, expect);
    }

    #[track_caller]
    fn expect(&self, lines: &[String], expect: &[(&str, &str)]) {
        for (start, end) in expect {
            assert!(lines.iter().any(|line| line.starts_with(start) && line.ends_with(end)), "no {start:?} ... {end:?} in {lines:#?}");
        }
    }
}

/// This program as a service that prints `words`, in a sandbox with the libraries that it is linked to. The node's own needs none.
fn service(words: &[&str]) -> Spec {
    let program = env::current_exe().expect("a program");
    let libraries = ["/lib", "/lib64", "/usr/lib"].into_iter().filter(|path| Path::new(path).exists());
    let access = Access { execute: true, ..Access::default() };
    let sandbox = Sandbox {
        launcher: program.clone(),
        mounts: libraries.map(|path| Mount::Bind { source: path.into(), target: path.into(), access }).collect(),
        directory: "/".into(),
        umask: 0o077,
        ..Sandbox::default()
    };
    let user = Some(User { uid: 50, gid: 51 });
    Spec {
        arg0: Some("probe".into()),
        user,
        capabilities: Some(Capabilities::NONE),
        no_new_privs: true,
        sandbox: Some(sandbox),
        ..Spec::new(program, words)
    }
}

/// The same, with a change to its sandbox.
fn with(mut spec: Spec, change: impl FnOnce(&mut Sandbox)) -> Spec {
    change(spec.sandbox.as_mut().expect("has one"));
    spec
}

fn proc() -> Mount {
    Mount::Proc { target: "/proc".into() }
}

fn an_empty_root(bench: &Bench) {
    let spec = service(&["list /", "write /x", "directory", "read /etc/passwd", "list /proc", "variables", "list /.."]);
    let Ended { exit, lines } = bench.run(spec);
    assert!(exit.success(), "{exit}: {lines:?}");
    let root = ["lib", "lib64", "usr"].into_iter().filter(|name| Path::new("/").join(name).exists()).collect::<Vec<_>>().join(" ");
    let expect = [
        format!("list /: {root}"),
        "write /x: error 30".to_owned(), // EROFS
        "directory: /".to_owned(),
        "read /etc/passwd: error 2".to_owned(),
        "list /proc: error 2".to_owned(),
        "variables: PATH=/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
        format!("list /..: {root}"),
    ];
    assert_eq!(lines, expect);
}

fn mounts_are_what_was_said(bench: &Bench) {
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).expect("mode");
    fs::write(folder.path().join("file"), "text").expect("written");
    let bind = |source: PathBuf, target: &str, write, devices| Mount::Bind {
        source,
        target: target.into(),
        access: Access { write, devices, ..Access::default() },
    };
    let words = [
        "read /ro/file",
        "write /ro/new",
        "write /rw/new",
        "read /deep/one",
        "write /tmp/x",
        "write /dev/null",
        "write /nodev",
        "list /dev",
        "read /proc/self/mountinfo",
    ];
    let spec = with(service(&words), |sandbox| {
        sandbox.mounts.extend([
            bind(folder.path().into(), "/ro", false, false),
            bind(folder.path().into(), "/rw", true, false),
            bind(folder.path().join("file"), "/deep/one", false, false),
            Mount::Tmpfs { target: "/tmp".into(), bytes: 1 << 20, mode: 0o1777 },
            bind("/dev/null".into(), "/dev/null", true, true),
            bind("/dev/null".into(), "/nodev", true, false),
            proc(),
        ]);
        sandbox.directory = "/tmp".into();
    });
    let expect = [
        ("read /ro/file: text", ""),
        ("write /ro/new: error 30", ""), // EROFS
        ("write /rw/new:", ": "),
        ("read /deep/one: text", ""),
        ("write /tmp/x:", ": "),
        ("write /dev/null:", ": "),
        ("write /nodev: error 13", ""), // EACCES
        ("list /dev: null", ""),
    ];
    let Ended { exit, lines } = bench.run(spec);
    assert!(exit.success(), "{exit}: {lines:?}");
    bench.expect(&lines, &expect);
    // ... target options - type device super
    let options = |target: &str| {
        let mut heads = lines.iter().filter_map(|line| line.split_once(" - ")?.0.rsplit_once(' '));
        heads.find(|(head, _)| head.ends_with(&format!(" {target}"))).map(|(_, options)| options)
    };
    let data = Some("ro,nosuid,nodev,noexec,relatime");
    assert_eq!((options("/"), options("/ro"), options("/deep/one")), (data, data, data), "{lines:?}");
    assert_eq!(options("/tmp"), Some("rw,nosuid,nodev,noexec,relatime"), "{lines:?}");
    let made = fs::metadata(folder.path().join("new")).expect("it wrote to the node's folder");
    assert_eq!(made.permissions().mode() & 0o777, 0o600, "its umask");
    // Neither the node's tree nor the root that was built on top of it is to be seen from here.
    let mounts = linux::mount::mounts().expect("readable");
    assert!(!mounts.iter().any(|mount| mount.device == "root" && mount.target == Path::new("/proc")), "{mounts:?}");
}

fn privileges_are_gone(bench: &Bench) {
    let words = ["read /proc/self/status", "read /proc/self/limits", "list /proc/self/fd"];
    let mut spec = with(service(&words), |sandbox| sandbox.mounts.push(proc()));
    spec.groups = vec![77, 78];
    spec.rlimits = vec![(Resource::RLIMIT_NOFILE, 64), (Resource::RLIMIT_CORE, 0)];
    bench.check(
        spec,
        &[
            ("Uid:\t50\t50\t50\t50", ""),
            ("Gid:\t51\t51\t51\t51", ""),
            ("Groups:\t77 78", ""),
            ("CapInh:", "\t0000000000000000"),
            ("CapPrm:", "\t0000000000000000"),
            ("CapEff:", "\t0000000000000000"),
            ("CapBnd:", "\t0000000000000000"),
            ("CapAmb:", "\t0000000000000000"),
            ("NoNewPrivs:\t1", ""),
            ("SigBlk:\t0000000000000000", ""),
            ("Max open files            64                   64", "files     "),
            ("Max core file size        0                    0", "bytes     "),
            // The fourth is the listing itself.
            ("list /proc/self/fd: 0 1 2 3", "3"),
        ],
    );
}

/// As a program that is not of our language finds them.
fn signals_are_as_usual(bench: &Bench) {
    let program = |spec| Spec { program: "/usr/bin/grep".into(), arg0: None, ..spec };
    let spec = program(with(service(&["-E", "^Sig(Blk|Ign):", "/proc/self/status"]), |sandbox| sandbox.mounts.push(proc())));
    let Ended { exit, lines } = bench.run(spec);
    let set = |name| lines.iter().find_map(|line| u64::from_str_radix(line.strip_prefix(name)?.trim(), 16).ok());
    assert!(exit.success() && set("SigBlk:") == Some(0), "{exit}: {lines:?}");
    assert_eq!(set("SigIgn:").map(|set| set >> (libc::SIGPIPE - 1) & 1), Some(0), "the launcher's runtime ignores SIGPIPE: {lines:?}");
}

fn a_capability_can_stay(bench: &Bench) {
    let mut spec = with(service(&["read /proc/self/status"]), |sandbox| sandbox.mounts.push(proc()));
    spec.capabilities = Some(Capabilities(1 << CAP_NET_BIND_SERVICE));
    let sets = ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"].map(|set| (set, "\t0000000000000400"));
    bench.check(spec, &sets);
}

fn namespaces_are_its_own(bench: &Bench) {
    let names = ["mnt", "pid", "ipc", "uts", "net", "user"];
    let own = names.map(|name| fs::read_link(format!("/proc/self/ns/{name}")).expect("a link").display().to_string());
    let words = names.map(|name| format!("link /proc/self/ns/{name}"));
    let words: Vec<&str> = words.iter().map(String::as_str).chain(["pid", "list /proc"]).collect();
    for all in [true, false] {
        let spec = with(service(&words), |sandbox| {
            sandbox.namespaces = Namespaces { pid: all, ipc: all, uts: all };
            sandbox.mounts.push(proc());
        });
        let Ended { exit, lines } = bench.run(spec);
        assert!(exit.success(), "{exit}: {lines:?}");
        for ((name, own), line) in names.iter().zip(&own).zip(&lines) {
            let shared = !matches!((name, all), (&"mnt", _) | (&("pid" | "ipc" | "uts"), true));
            assert_eq!(line.ends_with(own.as_str()), shared, "{name}: {line}, here {own}");
        }
        assert_eq!(lines.iter().any(|line| line == "pid: 1"), all, "{lines:?}");
        assert!(!all || lines.iter().any(|line| line.starts_with("list /proc: 1 ")), "{lines:?}");
    }
}

/// Everything but `without`.
fn all_calls(without: &[libc::c_long]) -> Vec<Call> {
    let numbers = (0..ALL_CALLS).filter(|number| !without.contains(&libc::c_long::from(*number)));
    numbers.map(|number| Call { number, conditions: Vec::new() }).collect()
}

fn calls_are_refused(bench: &Bench) {
    let spec = with(service(&["sethostname x", "unix", "inet", "read /proc/self/status"]), |sandbox| {
        let mut allowed = all_calls(&[libc::SYS_sethostname, libc::SYS_socket]);
        let family = Condition { argument: 0, mask: u64::from(u32::MAX), value: libc::AF_UNIX as u64 };
        allowed.push(Call { number: libc::SYS_socket as u32, conditions: vec![family] });
        sandbox.calls = Some(Calls { allowed, otherwise: Otherwise::Refuse(libc::ENOSYS as u16) });
        sandbox.mounts.push(proc());
    });
    let expect = [
        ("sethostname x: error 38", ""), // ENOSYS
        ("unix:", ": "),
        ("inet: error 38", ""),
        ("Seccomp:\t2", ""),
    ];
    bench.check(spec, &expect);
}

fn calls_kill(bench: &Bench) {
    for pid in [false, true] {
        let spec = with(service(&["pid", "sethostname x", "pid"]), |sandbox| {
            sandbox.calls = Some(Calls { allowed: all_calls(&[libc::SYS_sethostname]), otherwise: Otherwise::Kill });
            sandbox.namespaces.pid = pid;
        });
        let Ended { exit, lines } = bench.run(spec);
        assert_eq!((exit, lines.len()), (Exit::Signal(libc::SIGSYS), 1), "{lines:?}");
    }
}

/// The kernel throws away what the first process of a namespace has no handler for; it must not be lost before there is one.
fn a_first_process_hears_of_sigterm(bench: &Bench) {
    let mut spec = with(service(&["line", "term"]), |sandbox| sandbox.namespaces.pid = true);
    spec.stdin = Input::Pipe;
    let Ended { exit, lines } = bench.run_with(spec, |child| {
        assert!(signal(child.pid, Signal::SIGTERM).expect("sent"));
        child.stdin.take().expect("a pipe").write_all(b"go\n").expect("told");
    });
    assert!(exit.success(), "{exit}");
    assert_eq!(lines, ["line: go", "term: SIGTERM"]);
}

fn failures_have_names(bench: &Bench) {
    let check = |spec: Spec, expect: &str| {
        let error = bench.start(&spec).expect_err("cannot start");
        let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        let text = format!("{error}: {cause}").replace(&spec.program.display().to_string(), "PROGRAM");
        assert_eq!(text, expect);
    };
    let bind = |source: &str, target: &str| Mount::Bind { source: source.into(), target: target.into(), access: Access::default() };
    let mounts = |mount: Mount| with(service(&["pid"]), |sandbox| sandbox.mounts.push(mount));
    let missing = "No such file or directory (os error 2)";
    check(mounts(bind("/nowhere", "/x")), &format!("start PROGRAM: sandbox: bind /nowhere on /x: {missing}"));
    check(mounts(bind("/usr", "/")), "start PROGRAM: describe its sandbox: mount on /: the root is there already");
    let nowhere = with(service(&["pid"]), |sandbox| sandbox.directory = "/nowhere".into());
    check(nowhere, &format!("start PROGRAM: sandbox: enter /nowhere: {missing}"));
    let unknown = Spec { program: "/usr/nothing".into(), ..service(&["pid"]) };
    check(unknown, &format!("start PROGRAM: sandbox: execute the program: {missing}"));
    let folder = Spec { program: "/nowhere/nothing".into(), ..service(&["pid"]) };
    check(folder, &format!("start PROGRAM: sandbox: open the folder of PROGRAM: {missing}"));
    let filtered = with(Spec { program: "/usr/nothing".into(), ..service(&["pid"]) }, |sandbox| {
        sandbox.calls = Some(Calls { allowed: all_calls(&[libc::SYS_sethostname]), otherwise: Otherwise::Kill });
    });
    check(filtered, &format!("start PROGRAM: sandbox: execute the program: {missing}"));
    let no_launcher = with(service(&["pid"]), |sandbox| sandbox.launcher = "/nowhere".into());
    check(no_launcher, &format!("start PROGRAM: {missing}"));
    let mut limits = service(&["pid"]);
    limits.rlimits = vec![(Resource::RLIMIT_NOFILE, u64::MAX)];
    check(limits, "start PROGRAM: sandbox: set a resource limit: Operation not permitted (os error 1)");
    let other = with(service(&["pid"]), |sandbox| sandbox.launcher = "/bin/false".into());
    check(other, "start PROGRAM: sandbox: hand the order to the launcher: Connection reset by peer (os error 104)");
}
