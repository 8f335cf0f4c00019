//! Since when a table is whole, from the history of its retentions. Pure.
//!
//! A retention deletes what is older than it for as long as it is in force: from the moment its change begins, because new
//! rows follow it at once, until the change to a later one is complete, because the parts that were there follow only
//! then. So at its end everything older than that moment minus its length may be gone, and a longer retention that
//! follows brings nothing back.

/// How far a change of a table's retention is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// Its statements are about to be sent.
    Started,
    /// The store has taken them: new rows follow the retention, the parts that are there follow in the background.
    Applied,
    /// Every part follows it.
    Complete,
}

/// One entry of a table's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Change {
    /// When it was written, ms since 1970 by the store's clock.
    pub(super) at_ms: i64,
    /// The retention it changes to, ms.
    pub(super) length_ms: i64,
    /// How far it is.
    pub(super) stage: Stage,
}

/// How long rows are kept, and for how long they were kept before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetentionHistory {
    /// What the table is set to now, ms.
    present_ms: i64,
    /// Retentions in force, in the order they were begun, ms. More than one while a change is not complete.
    in_force: Vec<i64>,
    /// Rows older than this may have gone under retentions that have ended.
    gone_before_ms: Option<i64>,
}

impl RetentionHistory {
    /// Of rows that were always kept for `length_ms`.
    #[must_use]
    pub fn unchanged(length_ms: i64) -> Self {
        Self { present_ms: length_ms, in_force: vec![length_ms], gone_before_ms: None }
    }

    /// What follows from a table's changes, oldest first, and from what it is set to now; `None` without either.
    pub(super) fn of(changes: &[Change], set_to_ms: Option<i64>) -> Option<Self> {
        let mut in_force: Vec<i64> = Vec::new();
        let mut gone_before_ms: Option<i64> = None;
        for change in changes {
            let length_ms = change.length_ms;
            match change.stage {
                // Begun anew after it was cut off: it is in force already.
                Stage::Started if in_force.last() == Some(&length_ms) => {}
                Stage::Started => in_force.push(length_ms),
                Stage::Applied => {}
                Stage::Complete => {
                    let of_it = in_force.iter().rposition(|in_force_ms| *in_force_ms == length_ms);
                    let ended = in_force.drain(..of_it.unwrap_or(in_force.len()));
                    let gone = ended.map(|ended_ms| change.at_ms.saturating_sub(ended_ms));
                    gone_before_ms = gone.chain(gone_before_ms).max();
                    if in_force.is_empty() {
                        in_force.push(length_ms);
                    }
                }
            }
        }
        // Set by hand, or by a process that ended before it could say so.
        in_force.extend(set_to_ms.filter(|set_to_ms| !in_force.contains(set_to_ms)));
        let present_ms = set_to_ms.or(in_force.last().copied())?;
        Some(Self { present_ms, in_force, gone_before_ms })
    }

    /// Of rows that are there as long as they are in both tables.
    pub(super) fn and(mut self, other: &Self) -> Self {
        self.present_ms = self.present_ms.min(other.present_ms);
        self.in_force.extend(&other.in_force);
        self.gone_before_ms = self.gone_before_ms.max(other.gone_before_ms);
        self
    }

    /// The time from which on every row is still there at `now_ms`; earlier ones may be gone. Both ms since 1970.
    #[must_use]
    pub fn whole_from_ms(&self, now_ms: i64) -> i64 {
        let shortest_ms = self.in_force.iter().min().copied().unwrap_or(self.present_ms);
        now_ms.saturating_sub(shortest_ms).max(self.gone_before_ms.unwrap_or(i64::MIN))
    }

    /// What the table is set to now, ms.
    #[must_use]
    pub fn present_ms(&self) -> i64 {
        self.present_ms
    }

    /// Whether a change to another retention is not complete.
    pub(super) fn is_changing(&self) -> bool {
        self.in_force.iter().any(|length_ms| *length_ms != self.present_ms)
    }

    /// The longest retention in force, ms. A row younger than this may be kept, so it must be written.
    #[must_use]
    pub fn longest_ms(&self) -> i64 {
        self.in_force.iter().max().copied().unwrap_or(self.present_ms)
    }
}

/// The length of an interval as the store writes it, `toIntervalHour(72)`; `None` where it is none.
pub(super) fn length_ms(interval: &str) -> Option<i64> {
    const SECOND: i64 = 1_000;
    const DAY: i64 = 24 * 3_600 * SECOND;
    let (unit, count) = interval.strip_prefix("toInterval")?.strip_suffix(')')?.split_once('(')?;
    let unit_ms = match unit {
        "Second" => SECOND,
        "Minute" => 60 * SECOND,
        "Hour" => 3_600 * SECOND,
        "Day" => DAY,
        "Week" => 7 * DAY,
        // The shortest there are: a row may go that early.
        "Month" => 28 * DAY,
        "Quarter" => 90 * DAY,
        "Year" => 365 * DAY,
        _ => return None,
    };
    count.parse::<i64>().ok()?.checked_mul(unit_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: i64 = 3_600_000;

    fn changes(entries: &[(i64, i64, Stage)]) -> Vec<Change> {
        entries.iter().map(|&(at_ms, length_ms, stage)| Change { at_ms, length_ms, stage }).collect()
    }

    #[test]
    fn a_longer_retention_brings_nothing_back() {
        use Stage::{Applied, Complete, Started};
        let raised_at = 1_000 * HOUR;
        let begun =
            [(0, HOUR, Complete), (raised_at - 2, 72 * HOUR, Started), (raised_at - 1, 72 * HOUR, Applied)];
        let pending = RetentionHistory::of(&changes(&begun), Some(72 * HOUR)).unwrap();
        // The parts there do not follow it yet.
        assert_eq!(pending.whole_from_ms(raised_at + 5 * HOUR), raised_at + 4 * HOUR);
        assert_eq!((pending.present_ms(), pending.longest_ms()), (72 * HOUR, 72 * HOUR));
        let complete = [&begun[..], &[(raised_at, 72 * HOUR, Complete)]].concat();
        let raised = RetentionHistory::of(&changes(&complete), Some(72 * HOUR)).unwrap();
        for (later, whole_from) in [(0, -1), (10, -1), (71, -1), (72, 0), (100, 28)] {
            assert_eq!(
                raised.whole_from_ms(raised_at + later * HOUR),
                raised_at + whole_from * HOUR,
                "{later} h"
            );
        }
    }

    #[test]
    fn what_was_set_by_hand_counts_and_nothing_at_all_is_no_history() {
        let configured = changes(&[(0, 72 * HOUR, Stage::Complete)]);
        let by_hand = RetentionHistory::of(&configured, Some(HOUR)).unwrap();
        assert_eq!((by_hand.present_ms(), by_hand.longest_ms()), (HOUR, 72 * HOUR));
        assert_eq!(by_hand.whole_from_ms(100 * HOUR), 99 * HOUR);
        assert_eq!(RetentionHistory::of(&[], None), None);
        assert_eq!(RetentionHistory::of(&[], Some(HOUR)), Some(RetentionHistory::unchanged(HOUR)));
    }

    #[test]
    fn two_tables_are_whole_where_both_are() {
        let (longer, shorter) = (RetentionHistory::unchanged(9 * HOUR), RetentionHistory::unchanged(HOUR));
        for both in [longer.clone().and(&shorter), shorter.and(&longer)] {
            assert_eq!((both.present_ms(), both.whole_from_ms(10 * HOUR)), (HOUR, 9 * HOUR));
        }
    }

    #[test]
    fn an_interval_is_read_as_the_store_writes_it() {
        for (text, length) in [
            ("toIntervalHour(72)", Some(72 * HOUR)),
            ("toIntervalDay(90)", Some(90 * 24 * HOUR)),
            ("toIntervalSecond(1)", Some(1_000)),
            ("toIntervalDay(99999999999999)", None),
            ("toIntervalDay(x)", None),
            ("72 hours", None),
        ] {
            assert_eq!(length_ms(text), length, "{text}");
        }
    }

    /// A table as it might be: a retention is begun, and complete some time later or cut off by the next one.
    #[derive(Debug, Clone)]
    struct Step {
        wait: i64,
        length: i64,
        complete_after: Option<i64>,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = (0_i64..40, 1_i64..30, prop::option::of(0_i64..20))
            .prop_map(|(wait, length, complete_after)| Step { wait, length, complete_after });
        prop::collection::vec(step, 0..6)
    }

    proptest! {
        /// Against a table that deletes row by row as early as it may.
        #[test]
        fn whole_from_is_the_first_row_that_no_retention_may_have_deleted(
            first in 1_i64..30,
            steps in steps(),
            rest in 0_i64..60,
        ) {
            let mut entries = vec![(0, first, Stage::Complete)];
            // Length, begun, and when it was over.
            let mut settings = vec![(first, 0, i64::MAX)];
            let mut now = 0;
            for Step { wait, length, complete_after } in steps {
                now += wait;
                entries.push((now, length, Stage::Started));
                settings.push((length, now, i64::MAX));
                if let Some(after) = complete_after {
                    now += after;
                    entries.push((now, length, Stage::Complete));
                    let last = settings.len() - 1;
                    for (_, _, over) in &mut settings[..last] {
                        *over = (*over).min(now);
                    }
                }
            }
            now += rest;
            let mut is_there: Vec<bool> = vec![true; now as usize + 40];
            let first_row = -40;
            for moment in 0..=now {
                for (length, begun, over) in &settings {
                    if (*begun..=*over).contains(&moment) {
                        let gone = (moment - length - first_row).max(0) as usize;
                        is_there[..gone.min(now as usize + 40)].fill(false);
                    }
                }
            }
            let first_there = is_there.iter().position(|row| *row).unwrap() as i64 + first_row;
            let history = RetentionHistory::of(&changes(&entries), None).unwrap();
            prop_assert_eq!(history.whole_from_ms(now), first_there);
        }

        /// Time passes and retentions change: what was whole before a change may only become less.
        #[test]
        fn nothing_becomes_whole_again(lengths in prop::collection::vec(1_i64..30, 1..8)) {
            let mut entries: Vec<(i64, i64, Stage)> = Vec::new();
            let mut whole_from = i64::MIN;
            for (at, length) in (0..).step_by(7).zip(lengths) {
                for stage in [Stage::Started, Stage::Applied, Stage::Complete] {
                    entries.push((at, length, stage));
                    let found = RetentionHistory::of(&changes(&entries), None).unwrap().whole_from_ms(at);
                    prop_assert!(found >= whole_from, "{found} after {whole_from} in {entries:?}");
                    whole_from = found;
                }
            }
        }
    }
}
