//! A call's deadline: metadata `grpc-timeout`, at most eight digits and a unit (the gRPC specification over HTTP/2).

use std::{future::Future, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::{Instant, timeout_at};
use tonic::Status;

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
/// Largest number that it may hold.
const LARGEST: u128 = 99_999_999;

/// When the caller stops waiting, if it said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    /// Of a call that has just arrived.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Status> {
        let Some(value) = headers.get(&GRPC_TIMEOUT) else { return Ok(Self(None)) };
        let duration = value.to_str().ok().and_then(parse).ok_or_else(|| Status::internal("malformed grpc-timeout"))?;
        Ok(Self(Instant::now().checked_add(duration)))
    }

    /// What is left of it takes the place of what came.
    pub(crate) fn pass_on(self, headers: &mut HeaderMap) {
        if let Some(at) = self.0 {
            headers.insert(GRPC_TIMEOUT, format(at.saturating_duration_since(Instant::now())));
        }
    }

    /// Does something until then.
    pub(crate) async fn limit<T>(self, work: impl Future<Output = T>) -> Result<T, Status> {
        match self.0 {
            Some(at) => timeout_at(at, work).await.map_err(|_| Status::deadline_exceeded("no answer within the call's deadline")),
            None => Ok(work.await),
        }
    }
}

fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

/// In the finest unit that it fits; never longer than it is.
fn format(left: Duration) -> HeaderValue {
    let seconds = u128::from(left.as_secs());
    let units = [(left.as_micros(), "u"), (left.as_millis(), "m"), (seconds, "S"), (seconds / 60, "M"), (seconds / 3600, "H")];
    let fitting = units.into_iter().find(|(count, _)| *count <= LARGEST).unwrap_or((LARGEST, "H"));
    HeaderValue::try_from(format!("{}{}", fitting.0, fitting.1)).unwrap_or(HeaderValue::from_static("0u"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, wanted: Option<Duration>) {
        assert_eq!(parse(text), wanted, "{text:?}");
    }

    #[test]
    fn texts_of_the_specification() {
        check("1H", Some(Duration::from_secs(3600)));
        check("99999999S", Some(Duration::from_secs(99_999_999)));
        check("10m", Some(Duration::from_millis(10)));
        check("0n", Some(Duration::ZERO));
        for bad in ["", "S", "1", "123456789S", "-1S", "1s", "1 S", "1.5S", "S1", "é"] {
            check(bad, None);
        }
    }

    proptest! {
        #[test]
        fn what_is_passed_on_is_at_most_what_came(micros in 0_u64..=359_999_996_400_000_000) {
            let left = Duration::from_micros(micros);
            let text = format(left);
            let read = parse(text.to_str().unwrap()).unwrap();
            prop_assert!(read <= left);
            prop_assert!(left - read <= left / 1000 + Duration::from_micros(1), "{left:?} became {read:?}");
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,12}") {
            let _ = parse(&text);
        }
    }
}
