//! How long a node that cannot be reached is not asked again. A function of values; figures: gRPC's connection back-off, bounded
//! at 15 s as the reference has it.

use std::time::Duration;

use tokio::time::Instant;

/// After the first failure.
const FIRST: Duration = Duration::from_secs(1);
/// At most.
const LONGEST: Duration = Duration::from_secs(15);

/// What is known of failures in a row.
#[derive(Clone, Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
    last: Option<(Instant, String)>,
}

impl Backoff {
    /// The last error, while it is too early to ask again.
    pub(crate) fn refuses(&self, now: Instant) -> Option<String> {
        let (until, problem) = self.last.as_ref()?;
        (now < *until).then(|| problem.clone())
    }

    pub(crate) fn failed(&mut self, now: Instant, problem: String) {
        // 1.6 times as long each time.
        let pause = FIRST.mul_f64(1.6_f64.powi(i32::try_from(self.failures.min(16)).unwrap_or(16))).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        self.last = Some((now + pause, problem));
    }

    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_bound_and_end_with_a_success() {
        let mut backoff = Backoff::default();
        let mut now = Instant::now();
        assert_eq!(backoff.refuses(now), None);
        let mut pauses = Vec::new();
        for _ in 0..40 {
            backoff.failed(now, "no route".into());
            assert_eq!(backoff.refuses(now).as_deref(), Some("no route"));
            let begun = now;
            while backoff.refuses(now).is_some() {
                now += Duration::from_millis(100);
            }
            pauses.push((now - begun).as_millis());
        }
        assert_eq!(&pauses[..4], [1000, 1600, 2600, 4100]);
        assert_eq!(pauses.iter().max(), Some(&15_000));
        backoff.forget();
        assert_eq!(backoff.refuses(now), None);
    }
}
