//! The hardware watchdog: `/dev/watchdog0`.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::fd::AsRawFd,
    path::Path,
    time::Duration,
};

/// Where the first one is.
pub const PATH: &str = "/dev/watchdog0";

mod ioctl {
    #![allow(missing_docs, reason = "made by a macro; described at its call")]
    nix::ioctl_readwrite!(set_timeout, b'W', 6, libc::c_int);
}

/// The watchdog could not be used.
#[derive(Debug, thiserror::Error)]
pub enum WatchdogError {
    /// The device is there but cannot be opened (somebody else feeds it).
    #[error("open {PATH}")]
    Open {
        /// Why.
        source: io::Error,
    },
    /// Feeding failed.
    #[error("feed {PATH}")]
    Feed {
        /// Why.
        source: io::Error,
    },
}

/// An armed watchdog. Dropping it leaves it armed: the machine restarts when nobody feeds it.
#[derive(Debug)]
pub struct Watchdog {
    file: File,
    timeout: Duration,
    identity: String,
}

impl Watchdog {
    /// Opens and thereby arms the watchdog with a timeout of about `wanted`; `None` when the board has none.
    ///
    /// # Errors
    /// [`WatchdogError::Open`].
    pub fn arm(wanted: Duration) -> Result<Option<Self>, WatchdogError> {
        if !Path::new(PATH).exists() {
            return Ok(None);
        }
        let file = OpenOptions::new().write(true).open(PATH).map_err(|source| WatchdogError::Open { source })?;
        let mut seconds = libc::c_int::try_from(wanted.as_secs()).unwrap_or(libc::c_int::MAX);
        // SAFETY: the request number is WDIOC_SETTIMEOUT, whose argument is a pointer to an int, read and written;
        // `seconds` is one and outlives the call.
        let set = unsafe { ioctl::set_timeout(file.as_raw_fd(), &raw mut seconds) };
        let timeout = match set {
            // The driver may have rounded.
            Ok(_) => Duration::from_secs(u64::try_from(seconds).unwrap_or(0)),
            // A fixed timeout: sysfs knows it; 30 s is the usual least otherwise.
            Err(_) => Duration::from_secs(sysfs("timeout").and_then(|text| text.parse().ok()).unwrap_or(30)),
        };
        Ok(Some(Self { file, timeout, identity: sysfs("identity").unwrap_or_else(|| "watchdog".into()) }))
    }

    /// The timeout in force. Feed at least three times within it.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// What the driver calls itself.
    #[must_use]
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// Starts the timeout anew.
    ///
    /// # Errors
    /// [`WatchdogError::Feed`].
    pub fn feed(&mut self) -> Result<(), WatchdogError> {
        self.file.write_all(b"k").map_err(|source| WatchdogError::Feed { source })
    }

    /// Disarms it (the magic close), where the driver allows that.
    ///
    /// # Errors
    /// [`WatchdogError::Feed`].
    pub fn disarm(mut self) -> Result<(), WatchdogError> {
        self.file.write_all(b"V").map_err(|source| WatchdogError::Feed { source })
    }
}

fn sysfs(file: &str) -> Option<String> {
    let text = fs::read_to_string(Path::new("/sys/class/watchdog/watchdog0").join(file)).ok()?;
    Some(text.trim().to_owned())
}
