//! Version, host name, names of logs.

use std::time::Duration;

use wire::machine::{
    FeaturesInfo, Hostname, HostnameResponse, LogsContainer, LogsContainersResponse, PlatformInfo, Version, VersionInfo, VersionResponse,
};

use super::Sources;

/// What clients take us for, with our own version behind it: they parse this and choose their calls by it.
pub const TAG: &str = concat!("v1.14.0+keelson.", env!("CARGO_PKG_VERSION"));

/// The processor's name as clients know it.
const ARCH: &str = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };

pub(super) fn version(sources: &Sources) -> VersionResponse {
    let boot = sources.node.boot.borrow();
    let platform = sources.node.platform.borrow().platform;
    let info = VersionInfo {
        tag: TAG.to_owned(),
        // The root hash names the build exactly.
        sha: boot.root_hash.chars().take(12).collect(),
        built: boot.built.map(time_text).unwrap_or_default(),
        go_version: String::new(),
        os: "linux".to_owned(),
        arch: ARCH.to_owned(),
    };
    VersionResponse {
        messages: vec![Version {
            metadata: None,
            version: Some(info),
            platform: Some(PlatformInfo { name: platform.name().to_owned(), mode: platform.mode().to_owned() }),
            features: Some(FeaturesInfo { rbac: true }),
        }],
    }
}

/// As RFC 3339 says; empty for a time that has no date.
fn time_text(since_epoch: Duration) -> String {
    let seconds = i64::try_from(since_epoch.as_secs()).ok();
    let time = seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    time.map(|time| time.to_string()).unwrap_or_default()
}

pub(super) fn hostname(sources: &Sources) -> HostnameResponse {
    let known = sources.node.network.borrow().hostname.clone();
    let hostname = if known.is_empty() { linux::hostname::get().unwrap_or_default() } else { known };
    HostnameResponse { messages: vec![Hostname { metadata: None, hostname }] }
}

pub(super) fn log_ids(sources: &Sources) -> LogsContainersResponse {
    LogsContainersResponse { messages: vec![LogsContainer { metadata: None, ids: sources.logs.ids() }] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_text_that_clients_can_parse() {
        for (seconds, wanted) in [(86400, "1970-01-02T00:00:00Z"), (0, "1970-01-01T00:00:00Z"), (u64::MAX, "")] {
            assert_eq!(time_text(Duration::from_secs(seconds)), wanted, "{seconds}");
        }
    }

    #[test]
    fn the_tag_is_one_that_clients_can_parse() {
        let rest = TAG.strip_prefix("v1.14.0+keelson.").expect("prefix");
        assert!(rest.split('.').all(|part| part.parse::<u32>().is_ok()), "{TAG}");
    }
}
