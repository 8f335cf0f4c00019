//! What the store keeps, by its own account: its tables may have been kept for a shorter time before, and another role may be
//! configured otherwise.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use kelly_sql::{RetentionHistory, Retentions};
use serde::Serialize;
use utoipa::ToSchema;

use crate::tier::Tier;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// How much of a window is still kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kept {
    /// All of it.
    Whole,
    /// Its end; of the rest samples may be missing.
    Partly,
    /// Nothing for certain.
    None,
}

/// How long the store keeps what, and kept it before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Retention(pub(crate) Retentions);

impl Retention {
    /// Since when a tier has everything, at `now`.
    pub(crate) fn kept_from(&self, tier: Tier, now: DateTime<Utc>) -> DateTime<Utc> {
        kept_from(self.history(tier), now)
    }

    /// Since when every event is there, at `now`.
    pub(crate) fn events_kept_from(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        kept_from(&self.0.events, now)
    }

    /// Days that rollups and events are kept for: the longest range there is an answer for.
    pub(crate) fn days(&self) -> u32 {
        let days = self.0.rollups.present_ms().min(self.0.events.present_ms()) / DAY_MS;
        u32::try_from(days).unwrap_or(u32::MAX).max(1)
    }

    /// How long a tier is kept, and since when where that is less, as a part of a sentence.
    pub(crate) fn describe(&self, tier: Tier, now: DateTime<Utc>) -> String {
        let history = self.history(tier);
        let (what, count, unit) = match tier {
            Tier::Raw => ("samples", history.present_ms() / HOUR_MS, "hour"),
            _ => ("rollups", history.present_ms() / DAY_MS, "day"),
        };
        let unit = if count == 1 { unit.to_owned() } else { format!("{unit}s") };
        let now_ms = now.timestamp_millis();
        if history.whole_from_ms(now_ms) == now_ms.saturating_sub(history.present_ms()) {
            return format!("{what} are kept for {count} {unit}");
        }
        let since = readable(kept_from(history, now));
        format!("{what} are kept for {count} {unit}, those before {since} were kept for a shorter time")
    }

    fn history(&self, tier: Tier) -> &RetentionHistory {
        match tier {
            Tier::Raw => &self.0.samples,
            _ => &self.0.rollups,
        }
    }
}

impl Kept {
    /// How much is kept of a window, of what is kept from a time on.
    pub(crate) fn of(from: DateTime<Utc>, to: DateTime<Utc>, kept_from: DateTime<Utc>) -> Self {
        match () {
            () if from >= kept_from => Self::Whole,
            () if to > kept_from => Self::Partly,
            () => Self::None,
        }
    }
}

fn kept_from(history: &RetentionHistory, now: DateTime<Utc>) -> DateTime<Utc> {
    let whole_from_ms = history.whole_from_ms(now.timestamp_millis());
    // Never before 1970, where the store's times begin.
    DateTime::from_timestamp_millis(whole_from_ms).unwrap_or_default().max(DateTime::UNIX_EPOCH)
}

/// An instant as notes write it.
pub(crate) fn readable(instant: DateTime<Utc>) -> String {
    // Rounded up: what is said to be kept is.
    let seconds =
        instant + TimeDelta::milliseconds((1_000 - instant.timestamp_subsec_millis() as i64) % 1_000);
    seconds.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
impl Retention {
    /// Of a store that always kept samples for so many hours and the rest for so many days.
    pub(crate) fn of(hours: i64, days: i64) -> Self {
        let history = RetentionHistory::unchanged;
        Self(Retentions {
            samples: history(hours * HOUR_MS),
            rollups: history(days * DAY_MS),
            events: history(days * DAY_MS),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(text).unwrap().to_utc()
    }

    #[test]
    fn what_is_kept_is_described_by_what_holds() {
        let now = at("2026-03-10T12:00:00Z");
        let retention = Retention::of(72, 90);
        assert_eq!(retention.describe(Tier::Raw, now), "samples are kept for 72 hours");
        assert_eq!(retention.describe(Tier::Hour, now), "rollups are kept for 90 days");
        assert_eq!(retention.kept_from(Tier::Raw, now), at("2026-03-07T12:00:00Z"));
        assert_eq!((retention.days(), Retention::of(1, 8).days()), (90, 8));
    }

    #[test]
    fn a_window_is_whole_from_the_instant_that_is_kept() {
        let [early, kept_from, late] =
            ["2026-03-09T00:00:00Z", "2026-03-09T12:00:00Z", "2026-03-10T00:00:00Z"].map(at);
        assert_eq!(Kept::of(kept_from, late, kept_from), Kept::Whole);
        assert_eq!(Kept::of(early, late, kept_from), Kept::Partly);
        assert_eq!(Kept::of(early, kept_from, kept_from), Kept::None);
    }

    #[test]
    fn an_instant_is_rounded_to_what_is_certain() {
        assert_eq!(readable(at("2026-03-09T12:00:00.001Z")), "2026-03-09T12:00:01Z");
        assert_eq!(readable(at("2026-03-09T12:00:00Z")), "2026-03-09T12:00:00Z");
    }
}
