//! The engines of a preview, given the rows as they come. It computes and never waits for I/O: it belongs on a thread of its own.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};

use kelly_alerts::backtest::{
    Backtest, Budget, HistoryRow, Report, SuggestFault, Suggestion, Watcher, suggest,
};
use kelly_alerts::{Place, Record, Rule};
use kelly_schemas::Metric;
use kelly_sql::queries::{RuleBucket, RuleRollup, RuleRow};
use tokio::sync::mpsc::Receiver;

use super::kept_rows::{KeptRows, MAX_KEPT_ROWS};
use super::rollups::Coarse;
use super::rules::Tried;

/// Alerts of a rule that an answer shows; the others are counted.
pub(super) const MAX_SHOWN_ALERTS: usize = 100;

/// What goes to the engines.
#[derive(Debug)]
pub(super) enum Piece {
    /// Rollups, oldest first; all of them come before the first samples.
    Buckets(RuleRollup, Vec<RuleBucket>),
    /// Samples, by the log's time.
    Rows(Vec<RuleRow>),
    /// That was all. Whoever breaks off sends none.
    End,
}

/// A rule that goes over the history.
#[derive(Debug, Clone)]
pub(super) struct Trial {
    pub(super) tried: Tried,
    /// How it is given rollups; `None` where it is not.
    pub(super) coarse: Option<Coarse>,
    /// Whether a threshold is to be suggested.
    pub(super) is_to_be_suggested: bool,
    /// Whether the report has all that happened, and not only what happened to the rule's first alerts.
    pub(super) tells_everything: bool,
}

/// The time that is gone over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub(super) from_ms: i64,
    /// From here on there are samples.
    pub(super) raw_from_ms: i64,
    pub(super) until_ms: i64,
}

/// What is done.
pub(super) struct Work {
    pub(super) trials: Vec<Trial>,
    pub(super) times: Times,
    pub(super) budget: Option<Budget>,
    /// Sees every value that the first rule looks at.
    pub(super) watcher: Option<Watcher>,
}

/// What came of one rule.
#[derive(Debug)]
pub(super) struct Tested {
    pub(super) report: Report,
    pub(super) suggestion: Option<Result<Suggestion, NoSuggestion>>,
}

/// Why there is no threshold for a budget.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoSuggestion {
    /// The history says so.
    #[error(transparent)]
    Fault(#[from] SuggestFault),
    /// It is too long to be gone through again and again.
    #[error(
        "the history has more than {MAX_KEPT_ROWS} rows, as many as are gone through several times; ask over a shorter range, or choose accounts in the rule's filter"
    )]
    TooManyRows,
}

/// Gives the rows to every trial. `None` when it was broken off.
pub(super) fn run(work: Work, mut pieces: Receiver<Piece>, is_cancelled: &AtomicBool) -> Option<Vec<Tested>> {
    let Work { trials, times, budget, watcher } = work;
    let wanted: BTreeSet<String> = trials
        .iter()
        .filter(|trial| trial.is_to_be_suggested && budget.is_some())
        .filter_map(|trial| trial.tried.rule.metric.clone())
        .collect();
    let mut kept = Kept::default();
    let mut backtests: Vec<Backtest> = trials.iter().map(|trial| trial.begun(times)).collect();
    if let Some((first, watcher)) = backtests.first_mut().zip(watcher) {
        first.watch(watcher);
    }
    let mut places = Places::default();
    loop {
        match pieces.blocking_recv()? {
            Piece::Buckets(rollup, buckets) => {
                for bucket in buckets {
                    for (trial, backtest) in trials.iter().zip(&mut backtests) {
                        if let Some(row) = trial.row_of(rollup, &bucket) {
                            backtest.record(&record(&row));
                        }
                    }
                    if wanted.contains(&bucket.metric_name) {
                        kept.push_bucket(rollup, bucket);
                    }
                }
            }
            Piece::Rows(rows) => {
                for row in rows {
                    let place = places.of(&row);
                    let metric = metric(&row);
                    let record = Record { place, log_time_ms: row.log_time_ms, metric: &metric };
                    backtests.iter_mut().for_each(|backtest| backtest.record(&record));
                    if wanted.contains(&row.metric_name) {
                        kept.rows.push(&row, place);
                    }
                }
            }
            Piece::End => break,
        }
    }
    let mut tested = Vec::with_capacity(trials.len());
    for (trial, backtest) in trials.iter().zip(backtests) {
        let report = backtest.finish(times.until_ms);
        let budget = budget.filter(|_| trial.is_to_be_suggested);
        let suggestion = budget.map(|budget| kept.suggest(trial, times, budget, is_cancelled));
        if is_cancelled.load(Ordering::Relaxed) {
            return None;
        }
        tested.push(Tested { report, suggestion });
    }
    Some(tested)
}

fn record<'r>(row: &'r HistoryRow<'r>) -> Record<'r> {
    Record { place: row.place, log_time_ms: row.log_time_ms, metric: &row.metric }
}

impl Trial {
    /// When what it is given begins.
    const fn begins_ms(&self, times: Times) -> i64 {
        if self.coarse.is_some() { times.from_ms } else { times.raw_from_ms }
    }

    fn begun(&self, times: Times) -> Backtest {
        let backtest = Backtest::new(self.tried.set.clone());
        let backtest = match self.tells_everything {
            true => backtest,
            false => backtest.keeping(&self.tried.rule.id, MAX_SHOWN_ALERTS),
        };
        backtest.beginning_at(self.begins_ms(times))
    }

    /// The row that stands for a rollup, where the rule is given such rollups and needs this one.
    fn row_of<'b>(&self, rollup: RuleRollup, bucket: &'b RuleBucket) -> Option<HistoryRow<'b>> {
        let coarse = self.coarse.as_ref().filter(|coarse| coarse.rollup == rollup)?;
        let value = coarse.value(bucket)?;
        let row_ms = coarse.row_ms(bucket);
        let metric = Metric {
            metric_name: bucket.metric_name.as_str().into(),
            metric_type: "".into(),
            value,
            timestamp_ms: row_ms,
            account_id: bucket.account_id.as_str().into(),
            conversation_id: "".into(),
            user_id: "".into(),
            metadata: "".into(),
        };
        Some(HistoryRow { place: None, log_time_ms: row_ms, metric })
    }
}

pub(super) fn metric(row: &RuleRow) -> Metric<'_> {
    Metric {
        metric_name: row.metric_name.as_str().into(),
        metric_type: row.metric_type.as_str().into(),
        value: row.value,
        timestamp_ms: row.at_ms,
        account_id: row.account_id.as_str().into(),
        conversation_id: row.conversation_id.as_str().into(),
        user_id: row.user_id.as_str().into(),
        metadata: row.metadata.as_str().into(),
    }
}

/// Where rows stood on the log.
///
/// An engine takes a row at a lower place for one that it has had. The store has each row once, and places go down where a topic was made
/// anew or the clock of a broker was put back: from then on rows of that partition have no place.
#[derive(Debug, Default)]
pub(super) struct Places {
    reached: HashMap<u16, Option<(u64, u32)>>,
}

impl Places {
    pub(super) fn of(&mut self, row: &RuleRow) -> Option<Place> {
        let (partition, offset, number) = (row.log_partition, row.log_offset, row.log_row);
        let reached = self.reached.entry(partition).or_insert(Some((offset, number)));
        let is_ahead = reached.is_some_and(|reached| (offset, number) >= reached);
        *reached = is_ahead.then_some((offset, number));
        let offset = i64::try_from(offset).ok().filter(|_| is_ahead)?;
        Some(Place { partition: u32::from(partition), offset, row: number })
    }
}

/// What is gone through again for thresholds.
#[derive(Debug, Default)]
struct Kept {
    rows: KeptRows,
    buckets: BTreeMap<RuleRollup, Vec<RuleBucket>>,
    bucket_count: usize,
}

impl Kept {
    fn push_bucket(&mut self, rollup: RuleRollup, bucket: RuleBucket) {
        self.bucket_count += 1;
        if self.bucket_count <= MAX_KEPT_ROWS {
            self.buckets.entry(rollup).or_default().push(bucket);
        } else {
            self.buckets.clear();
        }
    }

    fn suggest(
        &self,
        trial: &Trial,
        times: Times,
        budget: Budget,
        is_cancelled: &AtomicBool,
    ) -> Result<Suggestion, NoSuggestion> {
        if self.rows.is_full() || self.bucket_count > MAX_KEPT_ROWS {
            return Err(NoSuggestion::TooManyRows);
        }
        let rollup = trial.coarse.as_ref().map(|coarse| coarse.rollup);
        let rows = || {
            let buckets = rollup.and_then(|rollup| Some((rollup, self.buckets.get(&rollup)?)));
            let coarse = buckets.into_iter().flat_map(|(rollup, buckets)| {
                buckets.iter().filter_map(move |bucket| trial.row_of(rollup, bucket))
            });
            coarse.chain(self.rows.iter()).take_while(|_| !is_cancelled.load(Ordering::Relaxed))
        };
        let rule: &Rule = &trial.tried.rule;
        Ok(suggest(rule, rows, trial.begins_ms(times)..times.until_ms, budget)?)
    }
}

#[cfg(test)]
mod tests {
    use kelly_alerts::rule::{RuleSet, parse_toml};
    use tokio::sync::mpsc;

    use super::*;

    fn trial(toml: &str) -> Trial {
        let rule = parse_toml(toml).unwrap().rules.remove(0);
        let set = RuleSet::new(std::slice::from_ref(&rule)).unwrap();
        Trial { tried: Tried { rule, set }, coarse: None, is_to_be_suggested: true, tells_everything: false }
    }

    fn row(number: u64, value: f64) -> RuleRow {
        let at_ms = 1_800_000_000_000 + number as i64 * 1_000;
        RuleRow {
            log_time_ms: at_ms,
            log_partition: 3,
            log_offset: number,
            log_row: 0,
            metric_name: "m".into(),
            metric_type: "gauge".into(),
            value,
            at_ms,
            account_id: "a".into(),
            conversation_id: String::new(),
            user_id: String::new(),
            metadata: String::new(),
        }
    }

    fn work(budget: Option<&str>) -> Work {
        let (from_ms, until_ms) = (1_800_000_000_000, 1_800_000_060_000);
        Work {
            trials: vec![trial("[[rule]]\nid = 'r'\nmetric = 'm'\ndirection = 'above'\nwarning = 5\n")],
            times: Times { from_ms, raw_from_ms: from_ms, until_ms },
            budget: budget.map(|budget| budget.parse().unwrap()),
            watcher: None,
        }
    }

    fn sent(pieces: Vec<Piece>) -> Receiver<Piece> {
        let (sender, receiver) = mpsc::channel(pieces.len());
        pieces.into_iter().for_each(|piece| sender.try_send(piece).unwrap());
        receiver
    }

    #[test]
    fn rows_go_to_the_engine_and_to_the_search_for_a_threshold() {
        let rows = [1.0, 6.0, 1.0, 8.0, 1.0, 7.0, 1.0]
            .into_iter()
            .zip(0..)
            .map(|(value, number)| row(number, value));
        let pieces = sent(vec![Piece::Rows(rows.collect()), Piece::End]);
        let tested = run(work(Some("1/1m")), pieces, &AtomicBool::new(false)).unwrap().remove(0);
        assert_eq!(tested.report.outcomes["r"].raised, 3);
        let place = tested.report.transitions[0].place.unwrap();
        assert_eq!((place.partition, place.offset), (3, 1));
        let suggestion = tested.suggestion.unwrap().unwrap();
        assert!(suggestion.alerts <= 1 && suggestion.threshold > 6.9, "{suggestion:?}");
    }

    #[test]
    fn what_was_broken_off_gives_no_answer() {
        assert!(
            run(work(None), sent(vec![Piece::Rows(vec![row(0, 9.0)])]), &AtomicBool::new(false)).is_none()
        );
        let whole = || sent(vec![Piece::Rows(vec![row(0, 9.0)]), Piece::End]);
        assert!(run(work(None), whole(), &AtomicBool::new(true)).is_none(), "whoever asked has gone");
        assert!(run(work(None), whole(), &AtomicBool::new(false)).is_some());
    }

    #[test]
    fn a_topic_that_was_made_anew_is_no_repetition() {
        let again = |offset: u64, number: u64| RuleRow { log_offset: offset, ..row(number, 0.0) };
        let mut places = Places::default();
        let found: Vec<bool> = [again(5, 0), again(6, 1), again(0, 2), again(1, 3)]
            .iter()
            .map(|row| places.of(row).is_some())
            .collect();
        assert_eq!(found, [true, true, false, false]);
        let anew = [row(0, 9.0), again(1, 1), again(0, 2)]
            .map(|row| RuleRow { value: if row.log_offset == 1 { 1.0 } else { 9.0 }, ..row });
        let tested =
            run(work(None), sent(vec![Piece::Rows(anew.into()), Piece::End]), &AtomicBool::new(false))
                .unwrap()
                .remove(0);
        assert_eq!(tested.report.outcomes["r"].raised, 2, "the last row counts");
    }
}
