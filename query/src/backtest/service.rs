//! Previews: settles how each rule is judged, has the engines go over the history, and puts together what they said.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use kelly_alerts::Rule;
use kelly_alerts::backtest::Report;
use kelly_auth::Accounts;
use kelly_sql::queries::{AccountFilter, RuleHistory, RuleRollup};

use super::answer::{About as Answered, BesideOutcome, Preview, PreviewHistory, RulePreview, instant};
use super::reading::{HOUR_MS, Reading, ceil};
use super::rollups::{About, Available, Coarse, coarse};
use super::rules::{Needs, Pair, PreviewRequest, Tried, budget, needs, pairs, together};
use super::trials::{Times, Trial, Work};
use crate::error::QueryError;
use crate::plan::window_asked;
use crate::range::RangeRequest;
use crate::service::QueryService;
use crate::tier::Tier;
use crate::whose::Whose;
use crate::window::Window;

const DAY_MS: i64 = 24 * HOUR_MS;

const QUESTION: &str = "what metrics are about";

/// A rule on its way: how it is judged, why not by rollups, and whether it stands beside the one before.
struct Prepared {
    trial: Trial,
    not_judged: Option<String>,
    is_beside: bool,
}

impl QueryService {
    /// What rules would have done, beside those in force.
    ///
    /// # Errors
    /// When a rule or a parameter is at fault, the history is too long, or the store does not answer.
    pub async fn preview_rules(&self, request: PreviewRequest) -> Result<Preview, QueryError> {
        let budget = budget(&request)?;
        let pairs = pairs(&request, &self.rules_in_force().rules())?;
        let needs = needs(pairs.iter().flat_map(Pair::each));
        let now = self.now();
        let retention = self.retention().await?;
        let asked = window_asked(&request.range, &retention, now)?;
        let times = times(asked, retention.kept_from(Tier::Raw, now), now);
        let whose = Whose::asked(None, &request.accounts)?;
        let accounts = accounts_of(&whose, &needs);
        let accounts: Option<Vec<&str>> =
            accounts.as_ref().map(|accounts| accounts.iter().map(String::as_str).collect());
        let metrics: Vec<&str> = needs.metrics.iter().map(String::as_str).collect();
        let conversations: Vec<&str> = needs.conversations.iter().flatten().map(String::as_str).collect();
        let reading = Reading {
            metrics: &metrics,
            accounts: accounts.as_deref().map_or(AccountFilter::Any, AccountFilter::Only),
            conversations: &conversations,
            with_metadata: needs.metadata,
            times,
        };
        let sees_all = whose == Whose::Everybodys;
        let prepared = self.prepare(pairs, &reading, (sees_all, budget.is_some())).await?;
        let rollups = rollups_of(&prepared);
        let counted = self.count(&reading, &rollups, asked).await?;
        let trials = prepared.iter().map(|prepared| prepared.trial.clone()).collect();
        let tested = self.go_over(&reading, &rollups, Work { trials, times, budget, watcher: None }).await?;
        let mut rules: Vec<RulePreview> = Vec::new();
        for (prepared, tested) in prepared.iter().zip(tested) {
            let Prepared { trial, not_judged, is_beside } = prepared;
            let about = Answered { trial, not_judged: not_judged.as_deref(), times, budget };
            match rules.last_mut().filter(|_| *is_beside) {
                Some(rule) => rule.beside = Some(BesideOutcome::of(&about, &tested)),
                None => rules.push(RulePreview::of(&about, tested)),
            }
        }
        Ok(Preview {
            window: Window { from: instant(times.from_ms), to: instant(times.until_ms) },
            computed_at: now,
            history: PreviewHistory {
                samples_from: (times.raw_from_ms < times.until_ms).then(|| instant(times.raw_from_ms)),
                samples: counted.samples,
                rollups: counted.rollups,
            },
            notes: notes(sees_all, &prepared),
            rules,
        })
    }

    /// What a set of rules would have said over the samples of a range, transition by transition.
    ///
    /// # Errors
    /// When a rule or the range is at fault, the history is too long, or the store does not answer.
    pub async fn backtest(
        &self,
        rules: &[Rule],
        accounts: &Accounts,
        range: RangeRequest,
    ) -> Result<Report, QueryError> {
        let now = self.now();
        let retention = self.retention().await?;
        let asked = window_asked(&range, &retention, now)?;
        let from_ms = asked.from.max(retention.kept_from(Tier::Raw, now)).timestamp_millis();
        let until_ms = asked.to.timestamp_millis().max(from_ms);
        let times = Times { from_ms, raw_from_ms: from_ms, until_ms };
        let tried = together(rules)?;
        let needs = needs(std::iter::once(&tried));
        let whose = Whose::asked(None, accounts)?;
        let accounts = accounts_of(&whose, &needs);
        let accounts: Option<Vec<&str>> =
            accounts.as_ref().map(|accounts| accounts.iter().map(String::as_str).collect());
        let metrics: Vec<&str> = needs.metrics.iter().map(String::as_str).collect();
        let conversations: Vec<&str> = needs.conversations.iter().flatten().map(String::as_str).collect();
        let reading = Reading {
            metrics: &metrics,
            accounts: accounts.as_deref().map_or(AccountFilter::Any, AccountFilter::Only),
            conversations: &conversations,
            with_metadata: needs.metadata,
            times,
        };
        self.count(&reading, &[], asked).await?;
        let trial = Trial { tried, coarse: None, is_to_be_suggested: false, tells_everything: true };
        let tested = self
            .go_over(&reading, &[], Work { trials: vec![trial], times, budget: None, watcher: None })
            .await?;
        Ok(tested.into_iter().next().map(|tested| tested.report).unwrap_or_default())
    }

    /// Settles how each rule is judged; the one beside a rule comes right after it.
    async fn prepare(
        &self,
        pairs: Vec<Pair>,
        reading: &Reading<'_>,
        (of_all_accounts, is_to_be_suggested): (bool, bool),
    ) -> Result<Vec<Prepared>, QueryError> {
        let has_older = reading.times.from_ms < reading.times.raw_from_ms;
        let about = if has_older { self.about(reading).await? } else { BTreeMap::new() };
        let available = Available { about: &about, of_all_accounts };
        let prepared = |tried: Tried, is_beside: bool| {
            let judged = has_older.then(|| coarse(&tried, &available));
            let (coarse, not_judged) = match judged {
                Some(Ok(coarse)) => (Some(coarse), None),
                Some(Err(why)) => (None, Some(why)),
                None => (None, None),
            };
            let is_to_be_suggested = is_to_be_suggested && !is_beside;
            let trial = Trial { tried, coarse, is_to_be_suggested, tells_everything: false };
            Prepared { trial, not_judged, is_beside }
        };
        Ok(pairs
            .into_iter()
            .flat_map(|Pair { tried, beside }| {
                let beside = beside.map(|beside| prepared(beside, true));
                std::iter::once(prepared(tried, false)).chain(beside)
            })
            .collect())
    }

    /// What the metrics were about over the days of which no samples are kept.
    async fn about(&self, reading: &Reading<'_>) -> Result<BTreeMap<String, About>, QueryError> {
        let Times { from_ms, raw_from_ms, .. } = reading.times;
        let to_ms = ceil(raw_from_ms, DAY_MS);
        // Of the first day some may be gone.
        let whole_ms = ceil(from_ms, DAY_MS);
        let from_ms = if whole_ms < to_ms { whole_ms } else { whole_ms - DAY_MS };
        let history = RuleHistory { from_ms, to_ms, ..reading.history() };
        let subjects =
            self.parts().store.rule_subjects(&history).await.map_err(QueryError::from_store(QUESTION))?;
        Ok(subjects.iter().map(|subjects| (subjects.metric_name.clone(), About::of(subjects))).collect())
    }
}

/// The window and where its samples begin: at a whole hour, where rollups come before them.
fn times(asked: Window, raw_kept_from: DateTime<Utc>, now: DateTime<Utc>) -> Times {
    let (from_ms, kept_ms) = (asked.from.timestamp_millis(), raw_kept_from.timestamp_millis());
    let until_ms = asked.to.min(now).timestamp_millis().max(from_ms);
    let raw_from_ms =
        if from_ms >= kept_ms { from_ms } else { ceil(kept_ms, HOUR_MS).min(ceil(until_ms, HOUR_MS)) };
    Times { from_ms, raw_from_ms, until_ms }
}

/// The accounts whose rows are read: those that all rules choose, of those that the asker may see. `None` for any.
fn accounts_of(whose: &Whose<'_>, needs: &Needs) -> Option<Vec<String>> {
    let seen = match whose {
        Whose::Everybodys => None,
        Whose::Of(accounts) => Some(accounts),
    };
    match (&needs.accounts, seen) {
        (None, None) => None,
        (None, Some(seen)) => Some(seen.iter().map(|account| (*account).to_owned()).collect()),
        (Some(chosen), None) => Some(chosen.iter().cloned().collect()),
        (Some(chosen), Some(seen)) => {
            Some(chosen.iter().filter(|account| seen.contains(&account.as_str())).cloned().collect())
        }
    }
}

/// The rollups that are given to any rule.
fn rollups_of(prepared: &[Prepared]) -> Vec<RuleRollup> {
    let given = |prepared: &Prepared| prepared.trial.coarse.as_ref().map(|coarse: &Coarse| coarse.rollup);
    let rollups: BTreeSet<RuleRollup> = prepared.iter().filter_map(given).collect();
    rollups.into_iter().collect()
}

fn notes(sees_all: bool, prepared: &[Prepared]) -> Vec<String> {
    let mut notes = vec![
        "every rule begins with nothing remembered: what it would have known from before the window is not there".to_owned(),
    ];
    if !sees_all {
        notes.push(
            "only rows of the accounts that you may see count, also in rules about everything".to_owned(),
        );
    }
    let counts_alerts = |prepared: &Prepared| prepared.trial.tried.set.counts_alerts();
    if prepared.iter().any(counts_alerts) {
        notes.push(
            "a rule that counts alerts counts those of the rules that are tried with it, not of the others that are in force".to_owned(),
        );
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + chrono::TimeDelta::hours(480_000 + hours)
    }

    #[test]
    fn samples_begin_at_a_whole_hour_behind_rollups() {
        let minutes = chrono::TimeDelta::minutes(20);
        let window = |from, to| Window { from: at(from), to: at(to) };
        let raw_from = |window, kept: DateTime<Utc>, now| {
            let times = times(window, kept, now);
            (instant(times.raw_from_ms), instant(times.until_ms))
        };
        assert_eq!(raw_from(window(5, 9), at(5), at(20)), (at(5), at(9)), "all of it is kept");
        assert_eq!(raw_from(window(0, 9), at(5) + minutes, at(20)), (at(6), at(9)));
        assert_eq!(raw_from(window(0, 9), at(5), at(7)), (at(5), at(7)), "the future is left out");
        assert_eq!(raw_from(window(0, 2), at(5), at(20)), (at(2), at(2)), "none is kept");
    }

    #[test]
    fn rows_are_read_of_accounts_that_are_chosen_and_may_be_seen() {
        let chosen = |accounts: Option<&[&str]>| Needs {
            accounts: accounts.map(|accounts| accounts.iter().map(|account| (*account).to_owned()).collect()),
            ..Needs::default()
        };
        let of = |whose, needs: &Needs| accounts_of(&whose, needs);
        assert_eq!(of(Whose::Everybodys, &chosen(None)), None);
        assert_eq!(of(Whose::Everybodys, &chosen(Some(&["a"]))), Some(vec!["a".to_owned()]));
        assert_eq!(of(Whose::Of(vec!["a", "b"]), &chosen(None)), Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(of(Whose::Of(vec!["b"]), &chosen(Some(&["a"]))), Some(vec![]));
    }
}
