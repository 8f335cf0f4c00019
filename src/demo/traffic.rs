//! The demo's traffic as a function of time: `between(from, until)` yields exactly the rows of that
//! span, and the same rows however a span is cut. Conversations are drawn anew from seed, account,
//! slot and number each time one of their rows is needed; nothing is remembered.

use std::sync::Arc;

use uuid::{Builder, Uuid};

use super::chance::Chance;
use super::incident::{self, Incident, Trouble};
use super::world::{Account, accounts};
use crate::rows::{EventRow, MetricRow};

/// Conversations are drawn by slots of this length.
const SLOT_MS: i64 = 5 * 60_000;

/// Turns of a conversation at most.
const MOST_TURNS: u32 = 20;

/// Longest pause between two turns.
const LONGEST_PAUSE_MS: f64 = 4.0 * 60_000.0;

/// How long before a span a conversation can have begun that still has rows in it.
const LOOK_BACK_MS: i64 = SLOT_MS + MOST_TURNS as i64 * LONGEST_PAUSE_MS as i64;

/// Distance of two readings of the platform: its load and its alerts.
const PLATFORM_EVERY_MS: i64 = 60_000;

/// Rows of a span of time.
#[derive(Debug, Default, PartialEq)]
pub struct Rows {
    /// Metrics.
    pub metrics: Vec<MetricRow>,
    /// Events.
    pub events: Vec<EventRow>,
}

impl Rows {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.metrics.len() + self.events.len()
    }
}

/// One demo world.
#[derive(Debug, Clone)]
pub struct Traffic {
    seed: u64,
    accounts: Vec<Account>,
    /// Whether the platform's load is part of it; not where a real machine's is recorded.
    with_system_load: bool,
}

impl Traffic {
    /// The world of a seed.
    pub fn new(seed: u64) -> Self {
        Self { seed, accounts: accounts(seed), with_system_load: true }
    }

    /// The same world without `system_load`.
    pub fn without_system_load(mut self) -> Self {
        self.with_system_load = false;
        self
    }

    /// The rows of `[from_ms, until_ms)`.
    pub fn between(&self, from_ms: i64, until_ms: i64) -> Rows {
        let mut span = Span { from_ms, until_ms, rows: Rows::default() };
        if from_ms >= until_ms {
            return span.rows;
        }
        let begin = (from_ms - LOOK_BACK_MS).div_euclid(SLOT_MS);
        let end = (until_ms - 1).div_euclid(SLOT_MS);
        let incidents =
            incident::overlapping(self.seed, begin * SLOT_MS, until_ms + LOOK_BACK_MS, self.accounts.len());
        for slot in begin..=end {
            for index in 0..self.accounts.len() {
                self.slot(slot, index, &incidents, &mut span);
            }
        }
        for incident in &incidents {
            self.tell(incident, &mut span);
        }
        self.platform(&incidents, &mut span);
        span.rows
    }

    fn slot(&self, slot: i64, index: usize, incidents: &[Incident], span: &mut Span) {
        let account = &self.accounts[index];
        let middle_ms = slot * SLOT_MS + SLOT_MS / 2;
        let rush = strongest(incidents, Trouble::Rush, index, middle_ms);
        let mean = account.conversations_an_hour(middle_ms) * SLOT_MS as f64 / 3_600_000.0;
        let mut chance = Chance::of(&[self.seed, 0x5107, index as u64, slot as u64]);
        for number in 0..chance.count(mean * (1.0 + 4.0 * rush)) {
            let words = [self.seed, 0xc0de, index as u64, slot as u64, u64::from(number)];
            let conversation = Conversation::draw(&words, account, slot * SLOT_MS);
            conversation.play(account, index, incidents, span);
        }
    }

    /// The events that tell of an incident.
    fn tell(&self, incident: &Incident, span: &mut Span) {
        let account = &self.accounts[incident.account];
        let account_id = if incident.trouble == Trouble::SlowProvider { "platform" } else { account.id };
        let title = incident.title(account.id);
        let mut event = |at_ms: i64, event_type, severity, title: String| {
            let mut chance = Chance::of(&[self.seed, 0x7e11, at_ms as u64]);
            span.event(EventRow {
                id: event_id(at_ms, &mut chance),
                event_type,
                title,
                severity,
                category: "incident",
                at_ms,
                account_id,
                conversation_id: None,
                user_id: None,
                metadata: None,
            });
        };
        let severity = if incident.strength > 0.8 { "critical" } else { "high" };
        event(incident.from_ms, "incident_started", severity, title.clone());
        event(incident.until_ms, "incident_resolved", "low", format!("{title}: over"));
    }

    fn platform(&self, incidents: &[Incident], span: &mut Span) {
        let first = span.from_ms.div_euclid(PLATFORM_EVERY_MS);
        let last = span.until_ms.div_euclid(PLATFORM_EVERY_MS);
        for tick in first..=last {
            let at_ms = tick * PLATFORM_EVERY_MS;
            let mut reading = |metric_name, value| {
                span.metric(MetricRow {
                    metric_name,
                    value,
                    at_ms,
                    account_id: "platform",
                    conversation_id: None,
                    user_id: None,
                    metadata: None,
                });
            };
            let going_on = |one: &&Incident| (one.from_ms..one.until_ms).contains(&at_ms);
            reading("alert_count", incidents.iter().filter(going_on).count() as f64);
            if self.with_system_load {
                let hourly: f64 = self.accounts.iter().map(|one| one.conversations_an_hour(at_ms)).sum();
                let slow = strongest(incidents, Trouble::SlowProvider, 0, at_ms);
                let mut chance = Chance::of(&[self.seed, 0x10ad, tick as u64]);
                let load = 18.0 + hourly * 0.55 + 25.0 * slow + 4.0 * chance.normal();
                reading("system_load", rounded(load.clamp(1.0, 100.0), 1));
            }
        }
    }
}

/// Collects what falls into its span.
struct Span {
    from_ms: i64,
    until_ms: i64,
    rows: Rows,
}

impl Span {
    fn holds(&self, at_ms: i64) -> bool {
        (self.from_ms..self.until_ms).contains(&at_ms)
    }

    fn metric(&mut self, row: MetricRow) {
        if self.holds(row.at_ms) {
            self.rows.metrics.push(row);
        }
    }

    fn event(&mut self, row: EventRow) {
        if self.holds(row.at_ms) {
            self.rows.events.push(row);
        }
    }
}

/// One conversation, drawn from its words.
struct Conversation {
    id: Arc<str>,
    user_id: Arc<str>,
    start_ms: i64,
    turns: u32,
    /// How it goes compared with the account's usual, about -1 to 1.
    mood: f64,
    chance: Chance,
}

impl Conversation {
    fn draw(words: &[u64], account: &Account, slot_ms: i64) -> Self {
        let mut chance = Chance::of(words);
        let start_ms = slot_ms + chance.below(SLOT_MS as u64) as i64;
        Self {
            id: format!("conv-{:016x}", chance.bits()).into(),
            user_id: format!("{}-u{}", account.id, chance.below(account.users)).into(),
            start_ms,
            turns: (2 + chance.count(4.0)).min(MOST_TURNS),
            mood: chance.normal().clamp(-2.0, 2.0) / 2.0,
            chance,
        }
    }

    /// Every draw is made whatever the span, so that a cut changes nothing.
    fn play(mut self, account: &Account, index: usize, incidents: &[Incident], span: &mut Span) {
        let mut at_ms = self.start_ms;
        self.metric(account, "conversations", 1.0, at_ms, span);
        let category = if account.vip { "vip" } else { "conversation" };
        self.event(account, ("conversation_started", "Conversation started", "low", category), at_ms, span);
        let mut taken_over = false;
        for turn in 0..self.turns {
            let struck = |trouble| strongest(incidents, trouble, index, at_ms);
            let (slow, unsure, unsafe_) =
                (struck(Trouble::SlowProvider), struck(Trouble::Unsure), struck(Trouble::Unsafe));
            let response = self.chance.lognormal(account.response_ms * (1.0 + 5.0 * slow), 0.45);
            let confidence = (account.confidence + 0.06 * self.mood - 0.35 * unsure
                + 0.05 * self.chance.normal())
            .clamp(0.05, 0.999);
            let safety =
                (account.safety - 0.25 * unsafe_ - 0.02 * self.chance.lognormal(0.6, 0.9)).clamp(0.05, 1.0);
            let requests = if self.chance.happens(0.15) { 2.0 } else { 1.0 };
            let cost = account.request_cost * requests * self.chance.lognormal(1.0, 0.4);
            for (name, value, digits) in [
                ("messages", 2.0, 0),
                ("response_time", response, 1),
                ("ai_confidence", confidence, 3),
                ("safety_score", safety, 3),
                ("claude_requests", requests, 0),
                ("claude_cost", cost, 5),
            ] {
                self.metric(account, name, rounded(value, digits), at_ms, span);
            }
            if safety < 0.8 {
                let severity = if safety < 0.6 { "critical" } else { "high" };
                self.event(account, ("safety_flag", "Safety score is low", severity, "safety"), at_ms, span);
            }
            let doubtful = confidence < 0.6 || safety < 0.75;
            if !taken_over && turn > 0 && self.chance.happens(if doubtful { 0.3 } else { 0.003 }) {
                taken_over = true;
                self.metric(account, "human_interventions", 1.0, at_ms, span);
                let event =
                    ("human_intervention", "A person took the conversation over", "medium", "intervention");
                self.event(account, event, at_ms, span);
            }
            let pause = self.chance.lognormal(40_000.0, 0.7).min(LONGEST_PAUSE_MS);
            at_ms += pause as i64;
        }
        let ending = if self.mood < -0.7 {
            ("conversation_escalated", "Conversation escalated", "medium", category)
        } else {
            ("conversation_resolved", "Conversation resolved", "low", category)
        };
        self.event(account, ending, at_ms - 1, span);
    }

    fn metric(&self, account: &Account, metric_name: &'static str, value: f64, at_ms: i64, span: &mut Span) {
        span.metric(MetricRow {
            metric_name,
            value,
            at_ms,
            account_id: account.id,
            conversation_id: Some(self.id.clone()),
            user_id: Some(self.user_id.clone()),
            metadata: None,
        });
    }

    /// An event of `(event_type, title, severity, category)`.
    fn event(
        &mut self,
        account: &Account,
        event: (&'static str, &str, &'static str, &'static str),
        at_ms: i64,
        span: &mut Span,
    ) {
        let (event_type, title, severity, category) = event;
        let id = event_id(at_ms, &mut self.chance);
        span.event(EventRow {
            id,
            event_type,
            title: title.to_owned(),
            severity,
            category,
            at_ms,
            account_id: account.id,
            conversation_id: Some(self.id.clone()),
            user_id: Some(self.user_id.clone()),
            metadata: account.vip.then(|| serde_json::json!({ "vip": true })),
        });
    }
}

/// A UUIDv7 of the event's time, so that the same event has the same id at every draw.
fn event_id(at_ms: i64, chance: &mut Chance) -> Uuid {
    let mut random = [0; 10];
    random[..8].copy_from_slice(&chance.bits().to_le_bytes());
    random[8..].copy_from_slice(&chance.bits().to_le_bytes()[..2]);
    Builder::from_unix_timestamp_millis(at_ms.max(0) as u64, &random).into_uuid()
}

fn strongest(incidents: &[Incident], trouble: Trouble, account: usize, at_ms: i64) -> f64 {
    incidents.iter().map(|incident| incident.strikes(trouble, account, at_ms)).fold(0.0, f64::max)
}

fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;
    use kelly_schemas::{Limits, Stream, decode};
    use std::collections::BTreeSet;

    /// 2026-03-02 12:00 UTC, a Monday.
    const NOON: i64 = 1_772_452_800_000;
    const HOUR: i64 = 3_600_000;

    fn sorted(mut rows: Rows) -> Rows {
        rows.metrics.sort_by(|a, b| {
            (a.at_ms, &a.conversation_id, a.metric_name).cmp(&(b.at_ms, &b.conversation_id, b.metric_name))
        });
        rows.events.sort_by_key(|event| (event.at_ms, event.id));
        rows
    }

    #[test]
    fn a_span_has_the_same_rows_however_it_is_cut() {
        let traffic = Traffic::new(5);
        let whole = sorted(traffic.between(NOON, NOON + 2 * HOUR));
        assert!(whole.metrics.len() > 500, "{}", whole.metrics.len());
        for cuts in [vec![HOUR], vec![1, 777_777, 777_778, 2 * HOUR - 1]] {
            let mut pieces = Rows::default();
            let mut from = NOON;
            for until in cuts.iter().map(|cut| NOON + cut).chain([NOON + 2 * HOUR]) {
                let piece = traffic.between(from, until);
                pieces.metrics.extend(piece.metrics);
                pieces.events.extend(piece.events);
                from = until;
            }
            assert_eq!(sorted(pieces), whole, "{cuts:?}");
        }
    }

    #[test]
    fn every_row_is_one_the_decoder_takes() {
        let traffic = Traffic::new(1);
        let limits = Limits::default();
        let day = traffic.between(NOON, NOON + 24 * HOUR);
        let mut taken = 0;
        for record in crate::rows::records(&day.metrics, &day.events) {
            let origin =
                decode::Origin { partition: 0, offset: 0, log_time_ms: NOON + 24 * HOUR, limits: &limits };
            match Stream::of_topic(&record.topic).unwrap() {
                Stream::Metrics => decode::metrics(&record.payload, &origin, &mut |_, row| {
                    row.unwrap();
                    taken += 1;
                }),
                Stream::Activity => decode::activities(&record.payload, &origin, &mut |_, row| {
                    row.unwrap();
                    taken += 1;
                }),
            }
        }
        assert_eq!(taken, day.len());
    }

    #[test]
    fn a_day_looks_like_a_day() {
        let day = Traffic::new(1).between(NOON, NOON + 24 * HOUR);
        let names: BTreeSet<&str> = day.metrics.iter().map(|row| row.metric_name).collect();
        for name in [
            "conversations",
            "messages",
            "response_time",
            "ai_confidence",
            "safety_score",
            "claude_requests",
            "claude_cost",
            "human_interventions",
            "system_load",
            "alert_count",
        ] {
            assert!(names.contains(name), "{name}");
        }
        let conversations = day.metrics.iter().filter(|row| row.metric_name == "conversations").count();
        assert!((800..1_400).contains(&conversations), "{conversations}");
        let confidence: Vec<f64> = day
            .metrics
            .iter()
            .filter(|row| row.metric_name == "ai_confidence")
            .map(|row| row.value)
            .collect();
        let mean = confidence.iter().sum::<f64>() / confidence.len() as f64;
        assert!((0.75..0.95).contains(&mean), "{mean}");
        let ids: BTreeSet<Uuid> = day.events.iter().map(|event| event.id).collect();
        assert_eq!(ids.len(), day.events.len(), "ids are unique");
    }

    #[test]
    fn a_slow_provider_shows_in_the_response_times() {
        let traffic = Traffic::new(1);
        let day = NOON.div_euclid(86_400_000);
        let incident = (day..day + 400)
            .filter_map(|day| incident::of_day(1, day, 20))
            .find(|found| found.trouble == Trouble::SlowProvider && found.strength > 0.7)
            .unwrap();
        let mean = |from, until| {
            let values: Vec<f64> = traffic
                .between(from, until)
                .metrics
                .iter()
                .filter(|row| row.metric_name == "response_time")
                .map(|row| row.value)
                .collect();
            values.iter().sum::<f64>() / values.len() as f64
        };
        let length = incident.until_ms - incident.from_ms;
        let quiet = mean(incident.from_ms - length, incident.from_ms);
        assert!(mean(incident.from_ms, incident.until_ms) > 2.0 * quiet);
    }

    #[test]
    fn without_system_load_there_is_none_and_the_rest_is_the_same() {
        let with = Traffic::new(1).between(NOON, NOON + HOUR);
        let without = Traffic::new(1).without_system_load().between(NOON, NOON + HOUR);
        let is_load = |row: &&MetricRow| row.metric_name == "system_load";
        assert_eq!(without.metrics.iter().filter(is_load).count(), 0);
        assert_eq!(with.metrics.iter().filter(is_load).count(), 60);
        assert_eq!(with.events, without.events);
    }
}
