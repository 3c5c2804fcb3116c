//! The clock: the only place that reads the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use chrono::{DateTime, TimeDelta, Utc};

/// Difference between two clocks from which the server warns. Receivers of webhooks tolerate five minutes, codes of a
/// second factor half a minute.
const MOST_OFFSET: TimeDelta = TimeDelta::seconds(10);

/// Returns a warning about a clock that is this far ahead of the database's; a negative offset is a clock that is
/// behind.
pub fn complaint(offset: TimeDelta) -> Option<String> {
    let (size, direction) = (offset.abs(), if offset < TimeDelta::zero() { "behind" } else { "ahead of" });
    (MOST_OFFSET <= size).then(|| {
        format!(
            "this machine's clock is {} seconds {direction} the database's: receivers refuse deliveries whose timestamp is \
             more than five minutes off, and codes of second factors fail; synchronize both clocks (NTP)",
            size.num_seconds()
        )
    })
}

/// Clock of the system, plus an offset that only tests set.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    offset_ms: Arc<AtomicI64>,
}

impl Clock {
    /// Returns the time to the microsecond, as Postgres stores it: a response then equals what is read later.
    pub fn now(&self) -> DateTime<Utc> {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let micros = i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX);
        let offset = self.offset_ms.load(Ordering::Relaxed).saturating_mul(1000);
        DateTime::from_timestamp_micros(micros.saturating_add(offset)).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    /// Returns the offset from the system's clock: zero outside tests.
    pub fn offset(&self) -> TimeDelta {
        TimeDelta::milliseconds(self.offset_ms.load(Ordering::Relaxed))
    }

    /// Moves the clock forward, for tests.
    pub fn advance(&self, by: TimeDelta) {
        self.offset_ms.fetch_add(by.num_milliseconds(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_differ_by_ten_seconds_cause_a_warning() {
        assert_eq!(complaint(TimeDelta::milliseconds(9_999)), None);
        assert!(complaint(TimeDelta::seconds(10)).unwrap().contains("10 seconds ahead of the database's"));
        assert!(complaint(TimeDelta::minutes(-5)).unwrap().contains("300 seconds behind the database's"));
    }
}
