//! How a daemon is started that is told on its standard input what to do.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use linux::{
    cgroup::Cgroup,
    process::{self, Capabilities, Input, LineSink, Resource},
    sandbox::{Call, Calls, Namespaces, Otherwise, Sandbox},
};

/// How the process is started.
#[derive(Clone, Debug)]
pub struct DaemonSettings {
    /// The program.
    pub program: PathBuf,
    /// Who it runs as; `None` stays the user of this process (tests).
    pub user: Option<process::User>,
    /// Name of its control group, which is made; `None` stays in ours (tests).
    pub cgroup: Option<&'static str>,
    /// Out-of-memory score; `None` keeps ours (tests: a lower one takes privileges).
    pub oom_score: Option<i16>,
    /// What it sees of the node; `None` for all of it (tests).
    pub sandbox: Option<Sandbox>,
    /// Where it listens.
    pub listen: SocketAddr,
}

impl DaemonSettings {
    /// As a process among the caller's own: no user, group, score or sandbox of its own. For tests.
    #[must_use]
    pub fn bare(program: impl Into<PathBuf>, listen: impl Into<SocketAddr>) -> Self {
        Self { program: program.into(), user: None, cgroup: None, oom_score: None, sandbox: None, listen: listen.into() }
    }

    /// The process. The limits go with the sandbox.
    pub(super) fn spec(&self, capabilities: Capabilities, limits: &[(Resource, u64)], output: Arc<dyn LineSink>) -> process::Spec {
        process::Spec {
            program: self.program.clone(),
            user: self.user,
            cgroup: self.cgroup.map(|name| Cgroup::at(name).path().to_owned()),
            oom_score_adj: self.oom_score,
            no_new_privs: true,
            capabilities: Some(capabilities),
            rlimits: self.sandbox.iter().flat_map(|_| limits.iter().copied()).collect(),
            sandbox: self.sandbox.clone(),
            stdin: Input::Pipe,
            output: Some(output),
            ..process::Spec::default()
        }
    }
}

/// Makes the control group of a daemon that is to start. Not in the reactor: the kernel takes its time for it.
pub(super) async fn make_group(group: Option<&'static str>) -> Result<(), String> {
    let Some(group) = group else { return Ok(()) };
    let made = tokio::task::spawn_blocking(move || Cgroup::at(group).create()).await;
    made.map_err(|lost| lost.to_string())?.map_err(|error| daemon::report(&error).to_string())
}

/// A sandbox with nothing in its root: all that the daemon has is its standard descriptors and `allowed`. Other calls kill it.
pub(super) fn empty_sandbox(launcher: &Path, allowed: Vec<Call>) -> Sandbox {
    Sandbox {
        launcher: launcher.to_owned(),
        namespaces: Namespaces { pid: true, ipc: true, uts: true },
        mounts: Vec::new(),
        directory: "/".into(),
        umask: 0o077,
        calls: Some(Calls { allowed, otherwise: Otherwise::Kill }),
    }
}
