//! The raw rows, and the dead letters of what nothing can be made of.

use std::collections::BTreeSet;

use anyhow::{Context, Result};

use super::verdict::TableVerdict;
use super::{Fate, Truth};

impl Truth {
    /// Compares the raw rows, and gives the numbers that count: those the rollups must agree with.
    pub(super) async fn raw(
        &self,
        ask: &impl AsyncFn(String) -> Result<String>,
        verdict: &mut TableVerdict,
    ) -> Result<BTreeSet<u64>> {
        let answer = ask(format!(
            "SELECT toUInt64(value) AS number, count(), uniqExact(log_partition, log_offset, log_row), \
             any(metric_name), any(account_id), any(conversation_id), any(toUnixTimestamp64Milli(timestamp)) \
             FROM system_metrics WHERE {} GROUP BY number",
            self.ours()
        ))
        .await?;
        let mut present = BTreeSet::new();
        for line in answer.lines() {
            let fields: Vec<&str> = line.split('\t').collect();
            let [number, count, places, metric, account, conversation, time] = fields[..] else {
                anyhow::bail!("a raw row has other columns than asked for: {line}")
            };
            let number: u64 = number.parse().context("a raw row's value")?;
            let count: u64 = count.parse().context("a count")?;
            verdict.found += count;
            let wanted = self.sample(number);
            if [metric, account, conversation] != [&wanted.metric, &wanted.account, &wanted.conversation]
                || time != wanted.timestamp_ms.to_string()
            {
                verdict.wrong(format!("row {number} is not as it was sent: {line}"));
            }
            if count > 1 {
                verdict
                    .twice(count - 1, format!("row {number} {count} times, from {places} places of the log"));
            }
            match self.metrics.fate(number) {
                Some(Fate::Refused) => verdict.wrong(format!("row {number} was refused and is there")),
                None => verdict.wrong(format!("row {number} was never sent")),
                Some(Fate::Acknowledged | Fate::Unknown) => {}
            }
            present.insert(number);
        }
        for (numbers, fate) in self.metrics.each() {
            let expected = match fate {
                Fate::Acknowledged => self.metrics.rows_each,
                Fate::Refused => 0,
                Fate::Unknown => present.range(numbers.clone()).count() as u64,
            };
            verdict.expected += expected;
            if fate == Fate::Acknowledged {
                let there = present.range(numbers.clone()).count() as u64;
                let missing = self.metrics.rows_each - there;
                if missing > 0 {
                    verdict.lost(missing, format!("{missing} of the acknowledged rows {numbers:?}"));
                }
                // What is lost here must be reported once: the rollups are held against what should be.
                present.extend(numbers);
            }
        }
        Ok(present)
    }

    /// Compares the dead letters.
    pub(super) async fn dead_letters(
        &self,
        ask: &impl AsyncFn(String) -> Result<String>,
    ) -> Result<TableVerdict> {
        let answer = ask("SELECT log_partition, log_offset, count() FROM dead_letters \
             WHERE topic = 'kelly.metrics' GROUP BY ALL"
            .to_owned())
        .await?;
        let mut verdict = TableVerdict::new("dead_letters");
        verdict.expected = self.poison.len() as u64;
        let mut missing = self.poison.clone();
        for line in answer.lines() {
            let fields: Vec<u64> = line
                .split('\t')
                .map(str::parse)
                .collect::<Result<_, _>>()
                .with_context(|| line.to_owned())?;
            let [partition, offset, count] = fields[..] else { anyhow::bail!("a dead letter: {line}") };
            verdict.found += count;
            let place = (partition as u32, offset);
            missing.remove(&place);
            if !self.poison.contains(&place) {
                verdict.wrong(format!("the message at {place:?} is a dead letter and was sound"));
            }
            if count > 1 {
                verdict.twice(count - 1, format!("the dead letter of {place:?} {count} times"));
            }
        }
        for place in missing {
            verdict.lost(1, format!("the dead letter of {place:?}"));
        }
        Ok(verdict)
    }
}
