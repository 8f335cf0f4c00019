//! What a producer was told, and whether the store says the same: raw rows, every rollup by group,
//! dead letters. Whatever faults a test makes, it ends here.
//!
//! A metric's value is its number, so that every row can be told from every other, and sums are
//! exact: whole numbers below 2^53 add up in any order.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use anyhow::{Context, Result};
use kelly_schemas::histogram;
use kelly_stream::Position;
use serde_json::{Value, json};

/// Examples kept of what is wrong with a table.
const EXAMPLES: usize = 5;

/// What became of a request, as its producer was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The log has it: every row must be in the store, once.
    Acknowledged,
    /// The log does not have it: no row may be in the store.
    Refused,
    /// Nobody said: each row may be there, once.
    Unknown,
}

/// One metric, made of its number alone.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Name.
    pub metric: String,
    /// The number.
    pub value: f64,
    /// When.
    pub timestamp_ms: i64,
    /// Account.
    pub account: String,
    /// Conversation: the key on the log.
    pub conversation: String,
}

impl Sample {
    /// The row as producers send it.
    pub fn json(&self) -> Value {
        json!({
            "metric_name": self.metric,
            "value": self.value,
            "timestamp": self.timestamp_ms,
            "account_id": self.account,
            "conversation_id": self.conversation,
        })
    }
}

/// What was sent and what was answered.
#[derive(Debug)]
pub struct Truth {
    /// How the names of its metrics begin: several truths may share a store.
    metrics: String,
    base_ms: i64,
    rows_a_request: u64,
    fates: Vec<Fate>,
    poison: BTreeSet<(u32, u64)>,
}

impl Truth {
    /// Nothing sent yet. Requests have so many rows each; their times lie within the two days before
    /// `base_ms`.
    pub fn new(metrics: &str, base_ms: i64, rows_a_request: u64) -> Self {
        Self {
            metrics: metrics.to_owned(),
            base_ms,
            rows_a_request,
            fates: Vec::new(),
            poison: BTreeSet::new(),
        }
    }

    /// The next request: its number and its rows. Until [`Truth::settle`] its fate is unknown, also
    /// when whoever sends it is cut off.
    pub fn next_request(&mut self) -> (usize, Vec<Sample>) {
        let request = self.fates.len();
        self.fates.push(Fate::Unknown);
        let rows = self.numbers(request).map(|number| self.sample(number)).collect();
        (request, rows)
    }

    /// Notes what was answered.
    pub fn settle(&mut self, request: usize, fate: Fate) {
        self.fates[request] = fate;
    }

    /// Notes a message on the topic of metrics that nothing can be made of, acknowledged there.
    pub fn poisoned(&mut self, position: Position) {
        self.poison.insert((position.partition, position.offset));
    }

    /// Rows of requests with this fate.
    pub fn rows(&self, fate: Fate) -> u64 {
        self.fates.iter().filter(|found| **found == fate).count() as u64 * self.rows_a_request
    }

    /// Messages that must be dead letters.
    pub fn poison(&self) -> u64 {
        self.poison.len() as u64
    }

    /// Compares the store with it. `ask` gives the store's answer to a query as tab-separated text;
    /// the store must have everything the log has by then.
    ///
    /// # Errors
    /// When the store does not answer, or not as it should.
    pub async fn compare(&self, ask: impl AsyncFn(String) -> Result<String>) -> Result<Verdict> {
        let mut raw = TableVerdict::new("system_metrics");
        let present = self.raw(&ask, &mut raw).await?;
        let mut tables = vec![raw];
        for tier in &TIERS {
            tables.push(self.tier(&ask, tier, &present).await?);
        }
        tables.push(self.dead_letters(&ask).await?);
        Ok(Verdict {
            acknowledged: self.rows(Fate::Acknowledged),
            refused: self.rows(Fate::Refused),
            unknown: self.rows(Fate::Unknown),
            tables,
        })
    }

    fn numbers(&self, request: usize) -> std::ops::Range<u64> {
        let first = request as u64 * self.rows_a_request;
        first..first + self.rows_a_request
    }

    fn sample(&self, number: u64) -> Sample {
        // Groups of every tier: minutes, hours and days, and several rows in each.
        const MINUTES_AGO: [i64; 7] = [1, 2, 30, 61, 180, 1_500, 2_800];
        let conversation = number % 53;
        Sample {
            metric: format!("{}.{}", self.metrics, number % 3),
            value: number as f64,
            timestamp_ms: self.base_ms
                - MINUTES_AGO[(number % 7) as usize] * 60_000
                - (number % 4_999) as i64,
            account: format!("a{}", conversation % 4),
            conversation: format!("c{conversation}"),
        }
    }

    /// Compares the raw rows, and gives the numbers that count: those the rollups must agree with.
    async fn raw(
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
            match self.fates.get((number / self.rows_a_request) as usize) {
                Some(Fate::Refused) => verdict.wrong(format!("row {number} was refused and is there")),
                None => verdict.wrong(format!("row {number} was never sent")),
                Some(Fate::Acknowledged | Fate::Unknown) => {}
            }
            present.insert(number);
        }
        for (request, fate) in self.fates.iter().enumerate() {
            let numbers = self.numbers(request);
            let expected = match fate {
                Fate::Acknowledged => self.rows_a_request,
                Fate::Refused => 0,
                Fate::Unknown => present.range(numbers.clone()).count() as u64,
            };
            verdict.expected += expected;
            if *fate == Fate::Acknowledged {
                let there = present.range(numbers.clone()).count() as u64;
                let missing = self.rows_a_request - there;
                if missing > 0 {
                    verdict.lost(missing, format!("{missing} of the acknowledged rows {numbers:?}"));
                }
                // What is lost here must be told once: the rollups are held against what should be.
                present.extend(numbers);
            }
        }
        Ok(present)
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
            "SELECT {}, {} FROM {} WHERE {} GROUP BY ALL",
            tier.columns,
            tier.values,
            tier.table,
            self.ours()
        ))
        .await?;
        let mut verdict = TableVerdict::new(tier.table);
        verdict.expected = expected.values().map(|group| group.count).sum();
        for line in answer.lines() {
            let fields: Vec<&str> = line.split('\t').collect();
            let (key, values) = fields.split_at(fields.len() - tier.value_count());
            let found = Group::parse(values, tier).with_context(|| format!("{}: {line}", tier.table))?;
            verdict.found += found.count;
            let key = key.join("\t");
            let wanted = expected.remove(&key).unwrap_or_default();
            verdict.hold(&key, &wanted, &found);
        }
        for (key, wanted) in expected {
            verdict.hold(&key, &wanted, &Group::default());
        }
        Ok(verdict)
    }

    async fn dead_letters(&self, ask: &impl AsyncFn(String) -> Result<String>) -> Result<TableVerdict> {
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

    fn ours(&self) -> String {
        format!("startsWith(metric_name, '{}.')", self.metrics)
    }
}

/// A rollup: how its rows are keyed and what they hold.
struct Tier {
    table: &'static str,
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

/// Every rollup, twice where it holds a histogram beside its sums.
const TIERS: [Tier; 7] = [
    Tier {
        table: "metrics_1m",
        columns: "metric_name, toUnixTimestamp(t) AS time",
        values: SUMS,
        key: |sample| format!("{}\t{}", sample.metric, start_of(sample, MINUTE)),
        holds_sums: true,
    },
    Tier {
        table: "metrics_1h",
        columns: "metric_name, toUnixTimestamp(t) AS time",
        values: SUMS,
        key: |sample| format!("{}\t{}", sample.metric, start_of(sample, HOUR)),
        holds_sums: true,
    },
    Tier {
        table: "metrics_1m",
        columns: "'histogram', metric_name, toUnixTimestamp(t) AS time",
        values: HISTOGRAM,
        key: |sample| format!("histogram\t{}\t{}", sample.metric, start_of(sample, MINUTE)),
        holds_sums: false,
    },
    Tier {
        table: "metrics_1h",
        columns: "'histogram', metric_name, toUnixTimestamp(t) AS time",
        values: HISTOGRAM,
        key: |sample| format!("histogram\t{}\t{}", sample.metric, start_of(sample, HOUR)),
        holds_sums: false,
    },
    Tier {
        table: "account_metrics_1h",
        columns: "metric_name, account_id, toUnixTimestamp(t) AS time",
        values: SUMS,
        key: |sample| format!("{}\t{}\t{}", sample.metric, sample.account, start_of(sample, HOUR)),
        holds_sums: true,
    },
    Tier {
        table: "account_metrics_1d",
        columns: "metric_name, account_id, toUnixTimestamp(t) AS time",
        values: HISTOGRAM,
        key: |sample| format!("{}\t{}\t{}", sample.metric, sample.account, start_of(sample, DAY)),
        holds_sums: false,
    },
    Tier {
        table: "conversation_metrics_1d",
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

/// One group of a rollup.
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

/// What the comparison found.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// Rows the log acknowledged.
    pub acknowledged: u64,
    /// Rows that were refused.
    pub refused: u64,
    /// Rows whose fate nobody told.
    pub unknown: u64,
    /// Every table, a rollup with a histogram twice.
    pub tables: Vec<TableVerdict>,
}

impl Verdict {
    /// Nothing lost, nothing twice, nothing else than was sent.
    pub fn is_exact(&self) -> bool {
        self.tables.iter().all(TableVerdict::is_exact)
    }

    /// Most rows any table has lost.
    pub fn lost(&self) -> u64 {
        self.tables.iter().map(|table| table.lost).max().unwrap_or(0)
    }

    /// Most rows any table has more than once.
    pub fn twice(&self) -> u64 {
        self.tables.iter().map(|table| table.twice).max().unwrap_or(0)
    }

    /// Most groups or rows of any table that are otherwise wrong.
    pub fn wrong(&self) -> u64 {
        self.tables.iter().map(|table| table.wrong).max().unwrap_or(0)
    }

    /// As an object, by table.
    pub fn json(&self) -> Value {
        let mut tables: BTreeMap<&str, [u64; 5]> = BTreeMap::new();
        for table in &self.tables {
            let [expected, found, lost, twice, wrong] = tables.entry(table.table).or_default();
            (*expected, *found) = ((*expected).max(table.expected), (*found).max(table.found));
            (*lost, *twice) = ((*lost).max(table.lost), (*twice).max(table.twice));
            *wrong += table.wrong;
        }
        let tables: serde_json::Map<String, Value> = tables
            .into_iter()
            .map(|(name, [expected, found, lost, twice, wrong])| {
                let table = json!({"expected": expected, "found": found, "lost": lost, "twice": twice, "wrong": wrong});
                (name.to_owned(), table)
            })
            .collect();
        Value::Object(tables)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} rows acknowledged, {} refused, {} unknown",
            self.acknowledged, self.refused, self.unknown
        )?;
        self.tables.iter().try_for_each(|table| write!(f, "\n  {table}"))
    }
}

/// One table.
#[derive(Debug, Clone)]
pub struct TableVerdict {
    /// Its name.
    pub table: &'static str,
    /// Rows it should hold or count.
    pub expected: u64,
    /// Rows it holds or counts.
    pub found: u64,
    /// Rows it misses.
    pub lost: u64,
    /// Rows it holds or counts more than once.
    pub twice: u64,
    /// Groups or rows that are not what was sent.
    pub wrong: u64,
    examples: Vec<String>,
}

impl TableVerdict {
    fn new(table: &'static str) -> Self {
        Self { table, expected: 0, found: 0, lost: 0, twice: 0, wrong: 0, examples: Vec::new() }
    }

    /// Whether it is as it should be.
    pub fn is_exact(&self) -> bool {
        self.lost == 0 && self.twice == 0 && self.wrong == 0
    }

    fn hold(&mut self, key: &str, wanted: &Group, found: &Group) {
        let example = || format!("{} is {found:?}, not {wanted:?}", key.replace('\t', " "));
        if found.count < wanted.count {
            self.lost(wanted.count - found.count, example());
        } else if found.count > wanted.count {
            self.twice(found.count - wanted.count, example());
        } else if found != wanted {
            self.wrong(example());
        }
    }

    fn lost(&mut self, rows: u64, example: String) {
        self.lost += rows;
        self.note(example);
    }

    fn twice(&mut self, rows: u64, example: String) {
        self.twice += rows;
        self.note(example);
    }

    fn wrong(&mut self, example: String) {
        self.wrong += 1;
        self.note(example);
    }

    fn note(&mut self, example: String) {
        if self.examples.len() < EXAMPLES {
            self.examples.push(example);
        }
    }
}

impl fmt::Display for TableVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { table, expected, found, lost, twice, wrong, examples } = self;
        write!(f, "{table}: {found} of {expected}, {lost} lost, {twice} twice, {wrong} wrong")?;
        examples.iter().try_for_each(|example| write!(f, "\n    {example}"))
    }
}
