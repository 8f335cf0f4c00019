//! Small histories: rows by the second, and what the engine says of them in one line each.

use kelly_alerts::rule::parse_toml;
use kelly_alerts::{Change, End, Engine, Place, Record, RuleSet, Sink, Transition};
use kelly_schemas::Metric;

/// Midnight of Monday 2026-11-30, UTC.
pub const BEGIN_MS: i64 = 1_795_996_800_000;

/// An engine and what it said.
pub struct History {
    pub engine: Engine,
    pub said: Vec<Transition>,
    offset: i64,
}

/// The fields of a row that a test sets.
#[derive(Clone, Copy)]
pub struct Values<'a> {
    pub metric: &'a str,
    pub account: &'a str,
    pub conversation: &'a str,
    pub metadata: &'a str,
    /// How many seconds before its log time it happened.
    pub delay_s: f64,
}

pub const ROW: Values<'static> =
    Values { metric: "m", account: "acme", conversation: "", metadata: "", delay_s: 0.0 };

pub fn rules(toml: &str) -> RuleSet {
    let file = parse_toml(toml).unwrap_or_else(|error| panic!("{error}\n{toml}"));
    RuleSet::new(&file.rules).unwrap_or_else(|faults| panic!("{faults:?}\n{toml}"))
}

/// One rule, with an id.
pub fn rule(fields: &str) -> RuleSet {
    rules(&format!("[[rule]]\nid = 'r'\n{fields}"))
}

impl History {
    pub fn of(rules: RuleSet) -> Self {
        Self { engine: Engine::new(rules), said: Vec::new(), offset: 0 }
    }

    /// A row at a second.
    pub fn row(&mut self, at_s: f64, value: f64, fields: Values<'_>) {
        let log_time_ms = BEGIN_MS + (at_s * 1_000.0) as i64;
        let metric = Metric {
            metric_name: fields.metric.into(),
            metric_type: "gauge".into(),
            value,
            timestamp_ms: log_time_ms - (fields.delay_s * 1_000.0) as i64,
            account_id: fields.account.into(),
            conversation_id: fields.conversation.into(),
            user_id: "".into(),
            metadata: fields.metadata.into(),
        };
        let place = Some(Place { partition: 0, offset: self.offset, row: 0 });
        self.offset += 1;
        self.engine.record(&Record { place, log_time_ms, metric: &metric }, &mut self.said);
    }

    /// Rows of the usual fields.
    pub fn rows(&mut self, rows: &[(f64, f64)]) {
        for (at_s, value) in rows {
            self.row(*at_s, *value, ROW);
        }
    }

    pub fn tick(&mut self, at_s: f64) {
        self.engine.tick(BEGIN_MS + (at_s * 1_000.0) as i64, &mut self.said);
    }

    /// What was said since this was last asked: `12.5 raised warning`.
    pub fn take(&mut self) -> Vec<String> {
        std::mem::take(&mut self.said).iter().map(line).collect()
    }

    /// Ends the engine and begins another one with its states.
    pub fn restart(&mut self) {
        let rules = (**self.engine.rules()).clone();
        let stored = self.engine.take_changed();
        self.engine = Engine::new(rules);
        for (key, state) in stored {
            if let Some(state) = state {
                self.engine.restore(key, &state, &mut self.said).expect("a state is read as it was written");
            }
        }
    }
}

/// A transition in one line.
pub fn line(transition: &Transition) -> String {
    let at_s = (transition.at_ms - BEGIN_MS) as f64 / 1_000.0;
    let what = match transition.change {
        Change::Raised => "raised".to_owned(),
        Change::Worsened => "worsened".to_owned(),
        Change::Improved => "improved".to_owned(),
        Change::Resolved(End::Recovered) => "resolved".to_owned(),
        Change::Resolved(end) => format!("ended {end:?}"),
    };
    format!("{at_s} {what} {}", transition.level)
}

/// A sink that counts evaluations too.
#[derive(Default)]
pub struct Evaluations(pub Vec<(i64, Option<f64>, Option<f64>, kelly_alerts::Decision)>);

impl Sink for Evaluations {
    fn transition(&mut self, _: Transition) {}

    fn evaluated(&mut self, evaluation: kelly_alerts::Evaluation<'_>) {
        self.0.push((
            evaluation.at_ms - BEGIN_MS,
            evaluation.value,
            evaluation.threshold,
            evaluation.decision,
        ));
    }
}
