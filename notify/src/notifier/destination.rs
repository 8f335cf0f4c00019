//! A destination: how much it may be sent, and whether it takes anything.

use serde::{Deserialize, Serialize};

/// How long an ill destination is left alone before a single message tries it again.
pub(super) const ASK_AGAIN_MS: i64 = 15 * 60 * 1_000;

/// Longest wait for which a provider is obeyed, and longest pause between two tries.
pub(super) const MAX_PAUSE_MS: i64 = 60 * 60 * 1_000;

/// First pause after a try that failed.
const FIRST_PAUSE_MS: i64 = 1_000;

/// Longest pause that is chosen here.
const LONGEST_PAUSE_MS: i64 = 5 * 60 * 1_000;

/// Seconds of messages that may be sent at once after a quiet time.
const BURST_SECONDS: u32 = 10;

/// Why and since when nothing is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ill {
    /// Since when.
    pub since_ms: i64,
    /// What is wrong.
    pub problem: String,
    /// When a single message tries it again; `None`: when somebody says so.
    pub next_try_ms: Option<i64>,
}

/// How a destination is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DestinationState {
    /// Nothing is sent, because it does not know us.
    pub ill: Option<Ill>,
    /// Nothing is sent before, because it said so.
    pub busy_until_ms: i64,
    /// How often it said so in a row.
    pub busy_times: u32,
    /// When the next message would be in time, if none might be sent ahead of it.
    pub in_time_ms: i64,
    /// When the window of new groups began.
    pub window_start_ms: i64,
    /// New groups in it.
    pub window_groups: u32,
    /// Messages it took.
    pub sent: u64,
    /// Tries that failed.
    pub failed: u64,
    /// Messages that were given up.
    pub dead: u64,
}

impl DestinationState {
    /// When it may be sent the next message.
    pub(super) fn free_at_ms(&self, per_minute: u32) -> i64 {
        let interval_ms = interval_ms(per_minute);
        let ahead = i64::from((per_minute * BURST_SECONDS / 60).max(1) - 1) * interval_ms;
        let ill_ms = self.ill.as_ref().map_or(i64::MIN, |ill| ill.next_try_ms.unwrap_or(i64::MAX));
        (self.in_time_ms - ahead).max(self.busy_until_ms).max(ill_ms)
    }

    /// Notes that a message is sent now.
    pub(super) fn take(&mut self, per_minute: u32, now_ms: i64) {
        self.in_time_ms = self.in_time_ms.max(now_ms) + interval_ms(per_minute);
    }

    /// Notes a new group. Whether it is one too many for the window.
    pub(super) fn is_too_many(&mut self, over: u32, window_ms: i64, now_ms: i64) -> bool {
        if now_ms - self.window_start_ms >= window_ms {
            self.window_start_ms = now_ms;
            self.window_groups = 0;
        }
        self.window_groups = self.window_groups.saturating_add(1);
        self.window_groups > over
    }
}

fn interval_ms(per_minute: u32) -> i64 {
    60_000 / i64::from(per_minute.max(1))
}

/// The pause after so many tries: twice as long each time, with up to a quarter taken off so that messages do not come back all
/// at once. The same for the same message.
pub(super) fn pause_ms(attempts: u32, id: &str) -> i64 {
    let doubled = FIRST_PAUSE_MS.saturating_mul(1_i64 << attempts.saturating_sub(1).min(20));
    let whole = doubled.min(LONGEST_PAUSE_MS);
    let digit =
        id.bytes().fold(u32::from(attempts == 0), |sum, byte| sum.wrapping_mul(31) + u32::from(byte)) % 100;
    whole - whole * i64::from(digit) / 400
}

/// What a provider asks for, within reason.
pub(super) fn asked_ms(after_ms: Option<u64>) -> Option<i64> {
    after_ms.map(|after| i64::try_from(after).unwrap_or(i64::MAX).min(MAX_PAUSE_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_at_their_rate_after_a_first_burst() {
        let mut state = DestinationState::default();
        let mut sent = Vec::new();
        let mut now_ms = 1_000_000;
        while sent.len() < 12 {
            now_ms = now_ms.max(state.free_at_ms(30));
            state.take(30, now_ms);
            sent.push(now_ms - 1_000_000);
        }
        // Five at once, then one each two seconds.
        assert_eq!(sent, [0, 0, 0, 0, 0, 2_000, 4_000, 6_000, 8_000, 10_000, 12_000, 14_000]);
    }

    #[test]
    fn pauses_grow_to_a_bound_and_do_not_depend_on_the_clock() {
        let pauses: Vec<_> = (1..=12).map(|attempt| pause_ms(attempt, "a")).collect();
        assert!(pauses.windows(2).all(|two| two[0] <= two[1]), "{pauses:?}");
        assert!(pauses[0] >= 750 && pauses[0] <= 1_000 && pauses[11] <= LONGEST_PAUSE_MS, "{pauses:?}");
        assert_eq!(pause_ms(3, "b"), pause_ms(3, "b"));
        assert_eq!(asked_ms(Some(u64::MAX)), Some(MAX_PAUSE_MS));
    }
}
