//! The rollups, group by group, against the samples that count.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use kelly_schemas::histogram;

use super::Truth;
use super::rows::Sample;
use super::verdict::TableVerdict;

impl Truth {
    /// Compares every rollup with these numbers.
    pub(super) async fn rollups(
        &self,
        ask: &impl AsyncFn(String) -> Result<String>,
        present: &BTreeSet<u64>,
    ) -> Result<Vec<TableVerdict>> {
        let mut tables = Vec::with_capacity(TIERS.len());
        for tier in &TIERS {
            tables.push(self.tier(ask, tier, present).await?);
        }
        Ok(tables)
    }

    async fn tier(
        &self,
        ask: &impl AsyncFn(String) -> Result<String>,
        tier: &Tier,
        present: &BTreeSet<u64>,
    ) -> Result<TableVerdict> {
        let mut expected: BTreeMap<String, Group> = BTreeMap::new();
        for number in present {
            let sample = self.sample(*number);
            expected.entry((tier.key)(&sample)).or_default().add(&sample, tier);
        }
        let answer = ask(format!(
            "SELECT {}, {} FROM metric_rollups WHERE tier = '{}' AND {} GROUP BY ALL",
            tier.columns,
            tier.values,
            tier.name,
            self.ours()
        ))
        .await?;
        let mut verdict = TableVerdict::new(tier.name);
        verdict.expected = expected.values().map(|group| group.count).sum();
        for line in answer.lines() {
            let fields: Vec<&str> = line.split('\t').collect();
            let (key, values) = fields.split_at(fields.len() - tier.value_count());
            let found = Group::parse(values, tier).with_context(|| format!("{}: {line}", tier.name))?;
            verdict.found += found.count;
            let key = key.join("\t");
            let wanted = expected.remove(&key).unwrap_or_default();
            hold(&mut verdict, &key, &wanted, &found);
        }
        for (key, wanted) in expected {
            hold(&mut verdict, &key, &wanted, &Group::default());
        }
        Ok(verdict)
    }
}

fn hold(verdict: &mut TableVerdict, key: &str, wanted: &Group, found: &Group) {
    let example = || format!("{} is {found:?}, not {wanted:?}", key.replace('\t', " "));
    if found.count < wanted.count {
        verdict.lost(wanted.count - found.count, example());
    } else if found.count > wanted.count {
        verdict.twice(found.count - wanted.count, example());
    } else if found != wanted {
        verdict.wrong(example());
    }
}

/// A tier of the rollups: how its rows are keyed and what they hold.
struct Tier {
    name: &'static str,
    columns: &'static str,
    values: &'static str,
    /// The key as the columns print it.
    key: fn(&Sample) -> String,
    /// Whether it is asked for what sums up its values; otherwise for its histogram.
    holds_sums: bool,
}

impl Tier {
    fn value_count(&self) -> usize {
        if self.holds_sums { 6 } else { 1 }
    }
}

const SUMS: &str = "sum(count), sum(sum), min(min), max(max), \
                    toUnixTimestamp64Milli(tupleElement(max(last), 1)), tupleElement(max(last), 2)";
const HISTOGRAM: &str = "sumMap(histogram)";
const MINUTE: i64 = 60;
const HOUR: i64 = 3_600;
const DAY: i64 = 86_400;

fn start_of(sample: &Sample, seconds: i64) -> i64 {
    sample.timestamp_ms.div_euclid(1_000 * seconds) * seconds
}

/// Every tier, twice where it holds a histogram beside its sums.
const TIERS: [Tier; 7] = [
    Tier {
        name: "minute",
        columns: "metric_name, toUnixTimestamp(t) AS time",
        values: SUMS,
        key: |sample| format!("{}\t{}", sample.metric, start_of(sample, MINUTE)),
        holds_sums: true,
    },
    Tier {
        name: "hour",
        columns: "metric_name, toUnixTimestamp(t) AS time",
        values: SUMS,
        key: |sample| format!("{}\t{}", sample.metric, start_of(sample, HOUR)),
        holds_sums: true,
    },
    Tier {
        name: "minute",
        columns: "'histogram', metric_name, toUnixTimestamp(t) AS time",
        values: HISTOGRAM,
        key: |sample| format!("histogram\t{}\t{}", sample.metric, start_of(sample, MINUTE)),
        holds_sums: false,
    },
    Tier {
        name: "hour",
        columns: "'histogram', metric_name, toUnixTimestamp(t) AS time",
        values: HISTOGRAM,
        key: |sample| format!("histogram\t{}\t{}", sample.metric, start_of(sample, HOUR)),
        holds_sums: false,
    },
    Tier {
        name: "account_hour",
        columns: "metric_name, account_id, toUnixTimestamp(t) AS time",
        values: SUMS,
        key: |sample| format!("{}\t{}\t{}", sample.metric, sample.account, start_of(sample, HOUR)),
        holds_sums: true,
    },
    Tier {
        name: "account_day",
        columns: "metric_name, account_id, toUnixTimestamp(t) AS time",
        values: HISTOGRAM,
        key: |sample| format!("{}\t{}\t{}", sample.metric, sample.account, start_of(sample, DAY)),
        holds_sums: false,
    },
    Tier {
        name: "conversation_day",
        columns: "conversation_id, metric_name, account_id, toUnixTimestamp(t) AS time",
        values: SUMS,
        key: |sample| {
            format!(
                "{}\t{}\t{}\t{}",
                sample.conversation,
                sample.metric,
                sample.account,
                start_of(sample, DAY)
            )
        },
        holds_sums: true,
    },
];

/// One group of a tier.
#[derive(Debug, Clone, Default, PartialEq)]
struct Group {
    count: u64,
    summary: Option<Summary>,
    /// Samples by bucket.
    histogram: BTreeMap<i16, u64>,
}

/// What sums up a group's values.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Summary {
    sum: f64,
    least: f64,
    greatest: f64,
    /// Time and value of the newest; of two in one millisecond the greater.
    last: (i64, f64),
}

impl Group {
    fn add(&mut self, sample: &Sample, tier: &Tier) {
        self.count += 1;
        let value = sample.value;
        if !tier.holds_sums {
            *self.histogram.entry(histogram::bucket(value)).or_default() += 1;
            return;
        }
        let last = (sample.timestamp_ms, value);
        self.summary = Some(match self.summary {
            None => Summary { sum: value, least: value, greatest: value, last },
            Some(held) => Summary {
                sum: held.sum + value,
                least: held.least.min(value),
                greatest: held.greatest.max(value),
                last: if last > held.last { last } else { held.last },
            },
        });
    }

    fn parse(fields: &[&str], tier: &Tier) -> Result<Self> {
        if !tier.holds_sums {
            let histogram = buckets(fields[0])?;
            return Ok(Self { count: histogram.values().sum(), summary: None, histogram });
        }
        let [count, sum, least, greatest, at, last] = fields else {
            anyhow::bail!("a group has other columns than asked for")
        };
        let summary = Summary {
            sum: sum.parse().context("a sum")?,
            least: least.parse().context("a least value")?,
            greatest: greatest.parse().context("a greatest value")?,
            last: (
                at.parse().context("the newest sample's time")?,
                last.parse().context("the newest sample's value")?,
            ),
        };
        let count = count.parse().context("a count")?;
        Ok(Self { count, summary: Some(summary), histogram: BTreeMap::new() })
    }
}

/// A map as the store prints it: `{15500:2,15535:1}`.
fn buckets(text: &str) -> Result<BTreeMap<i16, u64>> {
    let entries = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).context("no map")?;
    entries
        .split(',')
        .filter(|entry| !entry.is_empty())
        .map(|entry| {
            let (bucket, count) = entry.split_once(':').context("no entry of a map")?;
            Ok((
                bucket.trim().parse().context("a bucket")?,
                count.trim().parse().context("a bucket's count")?,
            ))
        })
        .collect()
}
