//! What a producer was told, and whether the store says the same: raw rows, every rollup by group, events,
//! dead letters. Whatever faults a test makes, it ends here.
//!
//! A metric's value is its number, so that every row differs from every other, and sums are
//! exact: whole numbers below 2^53 add up in any order.

mod events;
mod raw;
mod rollups;
mod rows;
mod verdict;

use std::collections::BTreeSet;
use std::ops::Range;

use anyhow::Result;
use kelly_stream::Position;

pub use rows::{Event, Sample};
pub use verdict::{TableVerdict, Verdict};

/// Events of one request.
const EVENTS_A_REQUEST: u64 = 12;

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

/// What was sent and what was answered.
#[derive(Debug)]
pub struct Truth {
    /// How the names of its metrics and the titles of its events begin: several truths may share a store.
    name: String,
    base_ms: i64,
    metrics: Requests,
    events: Requests,
    poison: BTreeSet<(u32, u64)>,
}

/// The fates of requests that have so many rows each.
#[derive(Debug)]
struct Requests {
    rows_each: u64,
    fates: Vec<Fate>,
}

impl Truth {
    /// Nothing sent yet. Requests have so many metrics each; their times lie within the two days before
    /// `base_ms`.
    pub fn new(name: &str, base_ms: i64, rows_a_request: u64) -> Self {
        Self {
            name: name.to_owned(),
            base_ms,
            metrics: Requests { rows_each: rows_a_request, fates: Vec::new() },
            events: Requests { rows_each: EVENTS_A_REQUEST, fates: Vec::new() },
            poison: BTreeSet::new(),
        }
    }

    /// The next request: its number and its rows. Until [`Truth::settle`] its fate is unknown, also
    /// when whoever sends it is cut off.
    pub fn next_request(&mut self) -> (usize, Vec<Sample>) {
        let (request, numbers) = self.metrics.next();
        (request, numbers.map(|number| self.sample(number)).collect())
    }

    /// The next request of events, which are counted apart, until [`Truth::settle_events`].
    pub fn next_events(&mut self) -> (usize, Vec<Event>) {
        let (request, numbers) = self.events.next();
        (request, numbers.map(|number| self.event(number)).collect())
    }

    /// Notes what was answered.
    pub fn settle(&mut self, request: usize, fate: Fate) {
        self.metrics.fates[request] = fate;
    }

    /// Notes what was answered to a request of events.
    pub fn settle_events(&mut self, request: usize, fate: Fate) {
        self.events.fates[request] = fate;
    }

    /// Notes a message on the topic of metrics that nothing can be made of, acknowledged there.
    pub fn poisoned(&mut self, position: Position) {
        self.poison.insert((position.partition, position.offset));
    }

    /// Metrics of requests with this fate.
    pub fn rows(&self, fate: Fate) -> u64 {
        self.metrics.rows(fate)
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
        tables.extend(self.rollups(&ask, &present).await?);
        tables.extend(self.activity(&ask).await?);
        tables.push(self.dead_letters(&ask).await?);
        Ok(Verdict {
            acknowledged: self.rows(Fate::Acknowledged),
            refused: self.rows(Fate::Refused),
            unknown: self.rows(Fate::Unknown),
            events: self.events.rows(Fate::Acknowledged),
            tables,
        })
    }

    fn sample(&self, number: u64) -> Sample {
        Sample::of(number, &self.name, self.base_ms)
    }

    fn event(&self, number: u64) -> Event {
        Event::of(number, &self.name, self.base_ms)
    }

    fn ours(&self) -> String {
        format!("startsWith(metric_name, '{}.')", self.name)
    }
}

impl Requests {
    /// The next one, whose fate is unknown, and the numbers of its rows.
    fn next(&mut self) -> (usize, Range<u64>) {
        let request = self.fates.len();
        self.fates.push(Fate::Unknown);
        (request, self.numbers(request))
    }

    fn numbers(&self, request: usize) -> Range<u64> {
        let first = request as u64 * self.rows_each;
        first..first + self.rows_each
    }

    /// The numbers and the fate of each.
    fn each(&self) -> impl Iterator<Item = (Range<u64>, Fate)> {
        self.fates.iter().enumerate().map(|(request, fate)| (self.numbers(request), *fate))
    }

    /// The fate of the row of this number; `None` when there was none.
    fn fate(&self, number: u64) -> Option<Fate> {
        self.fates.get((number / self.rows_each) as usize).copied()
    }

    fn rows(&self, fate: Fate) -> u64 {
        self.fates.iter().filter(|found| **found == fate).count() as u64 * self.rows_each
    }
}
