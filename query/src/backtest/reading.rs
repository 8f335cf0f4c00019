//! Which rows of a history are read.

use kelly_sql::queries::{AccountFilter, RuleHistory, RuleRollup};

use super::rollups::bucket_ms;
use super::trials::Times;

pub(super) const HOUR_MS: i64 = 3_600_000;

/// Which rows are read of what.
pub(super) struct Reading<'a> {
    pub(super) metrics: &'a [&'a str],
    pub(super) accounts: AccountFilter<'a>,
    pub(super) conversations: &'a [&'a str],
    pub(super) with_metadata: bool,
    pub(super) times: Times,
}

impl<'a> Reading<'a> {
    pub(super) fn history(&self) -> RuleHistory<'a> {
        RuleHistory {
            metrics: self.metrics,
            accounts: self.accounts,
            conversations: self.conversations,
            with_metadata: self.with_metadata,
            from_ms: self.times.from_ms,
            to_ms: self.times.until_ms,
        }
    }

    /// The part that has samples; `None` where none has, or nothing is needed.
    pub(super) fn samples(&self) -> Option<RuleHistory<'a>> {
        let from_ms = self.times.raw_from_ms;
        (from_ms < self.times.until_ms && !self.metrics.is_empty())
            .then(|| RuleHistory { from_ms, ..self.history() })
    }

    /// The part before, in whole rollups.
    pub(super) fn rollups(&self, rollup: RuleRollup) -> RuleHistory<'a> {
        let to_ms = self.times.raw_from_ms;
        let from_ms = ceil(self.times.from_ms, bucket_ms(rollup)).min(to_ms);
        RuleHistory { from_ms, to_ms, ..self.history() }
    }
}

pub(super) const fn ceil(ms: i64, unit_ms: i64) -> i64 {
    (ms + unit_ms - 1).div_euclid(unit_ms) * unit_ms
}
