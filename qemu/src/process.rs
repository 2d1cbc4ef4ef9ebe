//! A QEMU process: started, watched, and never left behind.

use std::{
    fs::File,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::limits;

/// The signal of abort(3), the same number on every Linux.
const SIGABRT: i32 = 6;

/// A running program whose standard error goes to a file; killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    stderr: PathBuf,
}

impl Process {
    /// Starts `program` with `arguments`; what it complains about lands in `stderr`.
    ///
    /// # Errors
    /// When the program does not start.
    pub fn start(program: &str, arguments: &[String], stderr: &Path) -> Result<Self> {
        let errors = File::create(stderr).with_context(|| format!("create {}", stderr.display()))?;
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors)
            .spawn()
            .with_context(|| format!("start {program}: it comes with the build root, run this through `scripts/xtask`"))?;
        Ok(Self { child, stderr: stderr.to_owned() })
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The exit status, if it has ended.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Fails with QEMU's own words if it has ended.
    ///
    /// # Errors
    /// When it has.
    pub fn must_run(&mut self) -> Result<()> {
        if let Some(status) = self.ended()? {
            bail!("QEMU ended with {status}: {}", self.complaints());
        }
        Ok(())
    }

    /// QEMU's own words when it has failed one of its own assertions, which nothing that a guest does may bring about.
    ///
    /// # Errors
    /// When the kernel does not tell how it ended.
    pub fn failed_by_itself(&mut self) -> Result<Option<String>> {
        let aborted = self.ended()?.is_some_and(|status| status.signal() == Some(SIGABRT));
        Ok(aborted.then(|| self.complaints()).filter(|words| words.contains("Assertion")))
    }

    /// Waits for the end, at most `limit`.
    ///
    /// # Errors
    /// When it still runs then.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if start.elapsed() > limit {
                bail!("QEMU still runs after {limit:?}");
            }
            thread::sleep(limits::POLL);
        }
    }

    /// Kills it at once: what the guest had not flushed may or may not be in the disk's file.
    pub fn kill(&mut self) {
        // It may have ended by itself, which is as good.
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait().map(drop)) {
            eprintln!("kill QEMU {}: {error}", self.child.id());
        }
    }

    /// What it wrote to standard error.
    #[must_use]
    pub fn complaints(&self) -> String {
        std::fs::read_to_string(&self.stderr).unwrap_or_else(|error| format!("(no standard error: {error})"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(script: &str, failed: bool) {
        let folder = tempfile::tempdir().unwrap();
        let arguments = ["-c".to_owned(), script.to_owned()];
        let mut process = Process::start("sh", &arguments, &folder.path().join("stderr")).unwrap();
        process.wait(Duration::from_secs(10)).unwrap();
        assert_eq!(process.failed_by_itself().unwrap().is_some(), failed, "{script}");
    }

    #[test]
    fn only_a_failed_assertion_is_qemu_s_own_failure() {
        check("echo 'physmem.c:1: look: Assertion `a < b'\\'' failed.' >&2; kill -ABRT $$", true);
        check("kill -ABRT $$", false);
        check("echo 'Assertion' >&2; exit 1", false);
        check("kill -KILL $$", false);
    }
}
