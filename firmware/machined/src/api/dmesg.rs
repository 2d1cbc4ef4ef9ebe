//! The kernel log as a stream, a message a record.

use std::time::Duration;

use futures_util::stream;
use linux::{
    clock,
    kmsg::{Item, Reader, Record},
};
use tonic::Status;
use wire::{common::Data, machine::DmesgRequest};

use super::{
    Context, Replies,
    streams::{data, until_stop},
};

const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp", "audit", "alert", "clock",
    "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];
const LEVELS: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

pub(super) fn dmesg(context: &Context, request: DmesgRequest) -> Result<Replies<Data>, Status> {
    let failed = |error: std::io::Error| Status::unknown(format!("read the kernel log: {error}"));
    let mut reader = Reader::open().map_err(failed)?;
    if request.tail {
        // Only what is new.
        while reader.try_next().map_err(failed)?.is_some() {}
    }
    let booted = clock::now().saturating_sub(clock::since_boot());
    let follow = request.follow;
    let records = stream::unfold(Some(reader), move |reader| async move {
        let mut reader = reader?;
        let item = if follow { reader.next().await.map(Some) } else { reader.try_next() };
        match item {
            Ok(None) => None,
            Ok(Some(Item::Record(record))) => Some((Ok(data(format(&record, booted))), Some(reader))),
            Ok(Some(Item::Overrun)) => Some((Ok(data(&b"... records were lost ...\n"[..])), Some(reader))),
            Err(error) => Some((Err(Status::unknown(format!("read the kernel log: {error}"))), None)),
        }
    });
    Ok(until_stop(context, records))
}

/// `facility:   level: [time]: text`, the level right-aligned to 7 columns. `booted` counts from the Unix epoch.
fn format(record: &Record, booted: Duration) -> String {
    let at = booted + Duration::from_micros(record.microseconds);
    let time = jiff::Timestamp::from_nanosecond(i128::try_from(at.as_nanos()).unwrap_or(0)).unwrap_or_default();
    let facility = FACILITIES.get(usize::from(record.facility)).unwrap_or(&"unknown");
    let level = LEVELS.get(usize::from(record.level)).unwrap_or(&"unknown");
    format!("{facility}: {level:>7}: [{time}]: {}\n", record.text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(facility: u8, level: u8, microseconds: u64, wanted: &str) {
        let record = Record { facility, level, sequence: 1, microseconds, text: "hello".into() };
        assert_eq!(format(&record, Duration::from_secs(86_400)), wanted);
    }

    #[test]
    fn records_look_as_clients_expect() {
        check(0, 6, 0, "kern:    info: [1970-01-02T00:00:00Z]: hello\n");
        check(3, 4, 1_500_000, "daemon: warning: [1970-01-02T00:00:01.5Z]: hello\n");
        check(1, 7, 1, "user:   debug: [1970-01-02T00:00:00.000001Z]: hello\n");
        check(200, 9, 0, "unknown: unknown: [1970-01-02T00:00:00Z]: hello\n");
    }
}
