//! What a launcher says when it failed: the kernel's error number and the step, as bytes.

use std::io;

/// A step that failed.
#[derive(Debug)]
pub(crate) struct Report {
    /// What was tried, on what.
    pub(crate) step: String,
    /// Cause.
    pub(crate) source: io::Error,
}

impl Report {
    /// Most bytes of one.
    pub(crate) const MAX: usize = 512;

    pub(crate) fn new(step: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self { step: step.into(), source: source.into() }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let step = match self.source.raw_os_error() {
            Some(_) => self.step.clone(),
            // The kernel knows nothing of it: its words go into the step.
            None => format!("{}: {}", self.step, self.source),
        };
        let number = self.source.raw_os_error().unwrap_or(libc::EINVAL);
        let mut bytes: Vec<u8> = number.to_le_bytes().into_iter().chain(step.into_bytes()).collect();
        bytes.truncate(Self::MAX);
        bytes
    }

    /// `None` for no bytes: nothing failed. Whatever else comes is a failure.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() {
            return None;
        }
        let bytes = bytes.get(..Self::MAX).unwrap_or(bytes);
        let Some((number, step)) = bytes.split_first_chunk() else {
            return Some(Self::new("understand the launcher's answer", io::ErrorKind::InvalidData));
        };
        let step = String::from_utf8_lossy(step).into_owned();
        Some(Self { step, source: io::Error::from_raw_os_error(i32::from_le_bytes(*number)) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(report: &Report, step: &str, number: i32) {
        let read = Report::decode(&report.encode()).expect("a report");
        assert_eq!((read.step.as_str(), read.source.raw_os_error()), (step, Some(number)));
    }

    #[test]
    fn what_failed_arrives() {
        check(&Report::new("bind /run/x", io::Error::from_raw_os_error(libc::ENOENT)), "bind /run/x", libc::ENOENT);
        check(&Report::new("read the order", io::Error::other("too long")), "read the order: too long", libc::EINVAL);
        check(&Report::new("x".repeat(1000), io::Error::from_raw_os_error(1)), &"x".repeat(Report::MAX - 4), 1);
        assert!(Report::decode(&[]).is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_failure(bytes in prop::collection::vec(any::<u8>(), 1..700)) {
            let report = Report::decode(&bytes).expect("a report");
            prop_assert!(report.step.len() <= 3 * Report::MAX && !report.source.to_string().is_empty());
        }
    }
}
