//! Logs in memory: one bounded ring of whole lines for each id, all but the newest compressed.
//!
//! Writers never wait. Readers walk by position and take what is there; a reader that was overtaken goes on at the
//! oldest line that is left. Ids are service ids, `machined` itself and `kernel`.

mod ring;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

pub use ring::{Reader, Ring};

/// Text kept for each id, bytes before compression (behaviour (c), "Logs in memory").
pub const RING_BYTES: usize = 1024 * 1024;
/// Longest line kept, bytes; the rest of a longer one is cut with `...`.
pub const MAX_LINE: usize = 8 * 1024;
/// Most ids; further ones share the ring `overflow`, so that a flood of names cannot eat the memory.
const MAX_RINGS: usize = 64;
/// Id of PID 1's own log.
pub const MACHINED: &str = "machined";
/// The same under the name by which clients ask for what reconcilers say: those of this node are parts of PID 1.
const RECONCILERS: &str = "controller-runtime";

/// All rings of the node.
#[derive(Debug, Default)]
pub struct Logs(Mutex<BTreeMap<String, Arc<Ring>>>);

impl Logs {
    /// No rings yet.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The ring of an id, made at its first use.
    #[must_use]
    pub fn ring(&self, id: &str) -> Arc<Ring> {
        let mut rings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let id = if rings.contains_key(id) || rings.len() < MAX_RINGS { id } else { "overflow" };
        Arc::clone(rings.entry(id.to_owned()).or_insert_with(|| Arc::new(Ring::new(RING_BYTES))))
    }

    /// Another id for a ring; nothing while there are too many.
    pub fn also(&self, id: &str, ring: &Arc<Ring>) {
        let mut rings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if rings.len() < MAX_RINGS {
            rings.insert(id.to_owned(), Arc::clone(ring));
        }
    }

    /// The ring of an id, if anybody has written to it.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<Arc<Ring>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// All ids, sorted.
    #[must_use]
    pub fn ids(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// A sink for `daemon::log` that writes PID 1's records to the ring [`MACHINED`].
    #[must_use]
    pub fn sink(&self) -> Arc<dyn daemon::log::Sink> {
        let ring = self.ring(MACHINED);
        self.also(RECONCILERS, &ring);
        Arc::new(MachinedSink(ring))
    }
}

/// PID 1's own records, each line with `YYYY/MM/DD hh:mm:ss.uuuuuu ` in front.
struct MachinedSink(Arc<Ring>);

impl daemon::log::Sink for MachinedSink {
    fn write(&self, line: &daemon::log::Line) {
        let time = stamp(SystemTime::now());
        let level = match line.level {
            daemon::log::Level::Error => "error: ",
            daemon::log::Level::Warn => "warning: ",
            _ => "",
        };
        for text in line.text.lines() {
            self.0.push(format!("{time} {level}{text}").as_bytes());
        }
    }
}

/// The time as PID 1's log shows it, UTC.
fn stamp(now: SystemTime) -> String {
    jiff::Timestamp::try_from(now).unwrap_or_default().strftime("%Y/%m/%d %H:%M:%S.%6f").to_string()
}

impl linux::process::LineSink for Ring {
    fn line(&self, text: &[u8]) {
        self.push(text);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_reconcilers_say_is_found_by_its_other_name() {
        let logs = Logs::new();
        let (level, text) = (daemon::log::Level::Warn, "reconcile: it failed".to_owned());
        logs.sink().write(&daemon::log::Line { level, target: "reconcile".to_owned(), text, monotonic: Duration::ZERO });
        let said = |id| logs.get(id).map(|ring| ring.tail(9));
        assert_eq!(said("controller-runtime"), said("machined"));
        assert_eq!(said("machined").map(|lines| lines.len()), Some(1));
    }

    #[test]
    fn ids_are_sorted_and_bounded() {
        let logs = Logs::new();
        for number in 0..MAX_RINGS + 10 {
            logs.ring(&format!("service-{number:03}")).push(b"x");
        }
        assert_eq!(logs.ids().len(), MAX_RINGS + 1);
        assert!(logs.ids().is_sorted());
        assert_eq!(logs.get("overflow").map(|ring| ring.tail(100).len()), Some(10));
        assert!(logs.get("nobody").is_none());
        logs.also("more", &logs.ring("service-000"));
        assert!(logs.get("more").is_none(), "there are too many");
        let logs = Logs::new();
        let ring = logs.ring("one");
        logs.also("other", &ring);
        ring.push(b"x");
        assert_eq!(logs.get("other").map(|ring| ring.tail(9).len()), Some(1));
    }

    #[test]
    fn own_lines_carry_time_and_level() {
        assert_eq!(stamp(SystemTime::UNIX_EPOCH + Duration::from_micros(86_400_000_001)), "1970/01/02 00:00:00.000001");
        let logs = Logs::new();
        logs.sink().write(&daemon::log::Line {
            level: daemon::log::Level::Warn,
            target: "x".into(),
            text: "one\ntwo".into(),
            monotonic: Duration::ZERO,
        });
        let lines = logs.ring(MACHINED).tail(10);
        assert_eq!(lines.len(), 2);
        assert!(lines.iter().all(|line| line.contains(" warning: ")), "{lines:?}");
    }
}
