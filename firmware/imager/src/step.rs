//! One running step: its log file, its commands, its voice.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use crate::request::{Error, Event, Progress};

/// How long a command may be silent on the terminal.
const HEARTBEAT: Duration = Duration::from_secs(20);
/// How much of a log an error shows.
const TAIL_BYTES: u64 = 2400;
/// How many lines of it.
const TAIL_LINES: usize = 15;

/// A step with its log.
pub struct Step<'a> {
    /// The name that log lines and errors carry.
    pub name: &'static str,
    log: PathBuf,
    progress: &'a dyn Progress,
    began: Instant,
    epoch: u64,
}

impl<'a> Step<'a> {
    /// Opens `<logs>/<name>.log` anew.
    ///
    /// # Errors
    /// [`Error::File`] when the log cannot be created.
    pub fn begin(name: &'static str, logs: &Path, progress: &'a dyn Progress, began: Instant, epoch: u64) -> Result<Self, Error> {
        let log = logs.join(format!("{name}.log"));
        make_folder(name, logs)?;
        File::create(&log).map_err(|source| Error::File { step: name, action: "create", path: log.clone(), source })?;
        Ok(Self { name, log, progress, began, epoch })
    }

    /// A line for the terminal and the log.
    pub fn say(&self, text: &str) {
        self.progress.event(&Event { elapsed: self.began.elapsed(), step: self.name, text, heartbeat: false });
        self.note(text);
    }

    /// A line for the log only.
    pub fn note(&self, text: &str) {
        if let Ok(mut log) = File::options().append(true).open(&self.log) {
            // The log explains failures; failing to write it is not one.
            let _ = writeln!(log, "# {text}");
        }
    }

    /// A command with the environment every step gets: nothing of the caller's but what is set here.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", "/nonexistent")
            .env("LC_ALL", "C.UTF-8")
            .env("TZ", "UTC")
            .env("SOURCE_DATE_EPOCH", self.epoch.to_string());
        command
    }

    /// Runs `command` to its end with its output in the log; says every now and then that it still runs.
    ///
    /// # Errors
    /// [`Error::Start`], [`Error::Command`], [`Error::File`].
    pub fn run(&self, command: &mut Command) -> Result<(), Error> {
        let log = File::options().append(true).open(&self.log).map_err(|source| self.log_error(source))?;
        let errors = log.try_clone().map_err(|source| self.log_error(source))?;
        command.stdout(log).stderr(errors);
        self.finish(command).map(|_| ())
    }

    /// Like [`Step::run`], but returns what the command printed on standard output.
    ///
    /// # Errors
    /// The same.
    pub fn output(&self, command: &mut Command) -> Result<String, Error> {
        let text = self.output_quietly(command)?;
        self.note(&format!("printed: {}", text.trim_end()));
        Ok(text)
    }

    /// Like [`Step::output`] for answers too long for a log.
    ///
    /// # Errors
    /// The same.
    pub fn output_quietly(&self, command: &mut Command) -> Result<String, Error> {
        let errors = File::options().append(true).open(&self.log).map_err(|source| self.log_error(source))?;
        command.stdout(Stdio::piped()).stderr(errors);
        self.finish(command)
    }

    fn finish(&self, command: &mut Command) -> Result<String, Error> {
        let line = describe(command);
        self.note(&format!("$ {line}"));
        command.stdin(Stdio::null());
        let done = (Mutex::new(false), Condvar::new());
        let result = std::thread::scope(|scope| {
            scope.spawn(|| self.heartbeat(&line, &done));
            let result = command.spawn().and_then(std::process::Child::wait_with_output);
            if let Ok(mut flag) = done.0.lock() {
                *flag = true;
            }
            done.1.notify_all();
            result
        });
        let output = result.map_err(|source| Error::Start { step: self.name, command: line.clone(), source })?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(Error::Command {
            step: self.name,
            command: line,
            status: output.status.to_string(),
            log: self.log.clone(),
            tail: tail(&self.log),
        })
    }

    /// Speaks each [`HEARTBEAT`] until the command is done.
    fn heartbeat(&self, line: &str, done: &(Mutex<bool>, Condvar)) {
        let started = Instant::now();
        let Ok(mut flag) = done.0.lock() else { return };
        while !*flag {
            let Ok((next, timeout)) = done.1.wait_timeout(flag, HEARTBEAT) else { return };
            flag = next;
            if timeout.timed_out() && !*flag {
                let last = tail(&self.log).lines().last().unwrap_or_default().trim().chars().take(60).collect::<String>();
                let program = line.split(' ').next().unwrap_or(line);
                let text = format!("{program} has run {} s: {last}", started.elapsed().as_secs());
                self.progress.event(&Event { elapsed: self.began.elapsed(), step: self.name, text: &text, heartbeat: true });
            }
        }
    }

    fn log_error(&self, source: std::io::Error) -> Error {
        Error::File { step: self.name, action: "open the log", path: self.log.clone(), source }
    }

    /// An error about a file, in this step's name.
    pub fn file_error(&self, action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
        file_error(self.name, action, path)
    }

    /// An error about what an input file says.
    pub fn input_error(&self, path: &Path, problem: impl Into<String>) -> Error {
        Error::Input { step: self.name, path: path.to_owned(), problem: problem.into() }
    }
}

/// An error about a file, for `map_err`.
pub fn file_error(step: &'static str, action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File { step, action, path, source }
}

/// Creates a folder and its parents.
///
/// # Errors
/// [`Error::File`].
pub fn make_folder(step: &'static str, path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(file_error(step, "create", path))
}

/// Reads a text file.
///
/// # Errors
/// [`Error::File`].
pub fn read_text(step: &'static str, path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(file_error(step, "read", path))
}

/// Writes a file whole.
///
/// # Errors
/// [`Error::File`].
pub fn write_file(step: &'static str, path: &Path, content: impl AsRef<[u8]>) -> Result<(), Error> {
    fs::write(path, content).map_err(file_error(step, "write", path))
}

/// Copies a file's content and mode.
///
/// # Errors
/// [`Error::File`].
pub fn copy_file(step: &'static str, from: &Path, to: &Path) -> Result<(), Error> {
    fs::copy(from, to).map_err(file_error(step, "copy", from))?;
    Ok(())
}

/// The command line as a person would type it.
fn describe(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| {
            let word = word.to_string_lossy();
            if word.contains([' ', '"', '$', '*']) { format!("'{word}'") } else { word.into_owned() }
        })
        .collect::<Vec<_>>()
        .join(" ")
}

/// The last lines of a log, for an error message; empty when there are none.
fn tail(log: &Path) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].iter().map(|line| format!("  | {line}")).collect::<Vec<_>>().join("\n")
}
