//! Rules that were checked, with what the engine needs to find those that a row or an alert concerns.

use std::collections::HashMap;
use std::sync::Arc;

use kelly_schemas::Metric;

use super::check::check_all;
use super::compiled::{Compiled, Judge, Silence, Source, Timing};
use super::data::{NoDataPolicy, Rule, Scope};
use super::fault::{Fault, Gravity};
use super::filter::{Filter, Metadata};
use super::level::Level;
use super::own::{CONFIGURATION, OWN_THRESHOLDS, RAISED_METRIC};

/// Metrics with thresholds of their own, and things that are configured wrongly, at most. Beyond, the rows are counted and not
/// judged, and a configuration alert says so.
const OWN_ENTITIES: usize = 10_000;

/// Rules that were checked. What the engine takes.
#[derive(Debug, Clone, Default)]
pub struct RuleSet {
    rules: Vec<Arc<Compiled>>,
    by_metric: HashMap<Box<str>, Vec<u32>>,
    by_id: HashMap<Box<str>, u32>,
    /// By rule: the composites that name it.
    parts_of: Vec<Vec<u32>>,
    /// By rule: the rules that hold it back.
    causes: Vec<Vec<u32>>,
    /// By rule: the rules that it holds back.
    effects: Vec<Vec<u32>>,
    own_thresholds: u32,
    configuration: u32,
}

impl RuleSet {
    /// Checks rules and takes them, or says everything that is wrong with them. What is only doubtful does not keep them out:
    /// ask [`check`](super::check()).
    pub fn new(rules: &[Rule]) -> Result<Self, Vec<Fault>> {
        let (compiled, faults) = check_all(rules);
        if faults.iter().any(|fault| fault.gravity == Gravity::Wrong) {
            return Err(faults.into_iter().filter(|fault| fault.gravity == Gravity::Wrong).collect());
        }
        let mut rules: Vec<_> = compiled.into_iter().map(Arc::new).collect();
        let (own_thresholds, configuration) = (rules.len() as u32, rules.len() as u32 + 1);
        rules.push(Arc::new(engines_own(
            OWN_THRESHOLDS,
            Source::OwnThresholds,
            "A metric's own thresholds, from its metadata",
        )));
        rules.push(Arc::new(engines_own(
            CONFIGURATION,
            Source::Told,
            "Something that is configured wrongly",
        )));

        let by_id: HashMap<Box<str>, u32> =
            rules.iter().zip(0..).map(|(rule, index)| (rule.rule.id.as_str().into(), index)).collect();
        let mut by_metric: HashMap<Box<str>, Vec<u32>> = HashMap::new();
        let mut parts_of = vec![Vec::new(); rules.len()];
        let mut causes = vec![Vec::new(); rules.len()];
        let mut effects = vec![Vec::new(); rules.len()];
        for (rule, index) in rules.iter().zip(0u32..) {
            for metric in rule.metrics() {
                by_metric.entry(metric.into()).or_default().push(index);
            }
            if let Source::Composite(expression) = &rule.source {
                for part in expression.rules() {
                    parts_of[by_id[part] as usize].push(index);
                }
            }
            for cause in &rule.rule.inhibited_by {
                causes[index as usize].push(by_id[cause.as_str()]);
                effects[by_id[cause.as_str()] as usize].push(index);
            }
        }
        Ok(Self { rules, by_metric, by_id, parts_of, causes, effects, own_thresholds, configuration })
    }

    /// The rules, and the engine's own after them.
    #[must_use]
    pub fn rules(&self) -> &[Arc<Compiled>] {
        &self.rules
    }

    /// The rule of an id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Arc<Compiled>> {
        self.index(id).map(|index| &self.rules[index as usize])
    }

    /// Whether any rule needs the rows of several partitions together: rows are then keyed anew by
    /// [`key_of`](Self::key_of).
    #[must_use]
    pub fn needs_other_keys(&self) -> bool {
        self.rules.iter().any(|rule| matches!(rule.scope, Scope::Account | Scope::Global))
    }

    /// Under which key a row must stand on the log so that a rule sees together what it counts together. `None` where the rule
    /// does not count it.
    #[must_use]
    pub fn key_of<'m>(&self, rule: &Compiled, metric: &'m Metric<'_>) -> Option<&'m str> {
        let named = |id: &'m str| (!id.is_empty()).then_some(id);
        match rule.scope {
            Scope::Series => Some(metric.partition_key()),
            Scope::Conversation => named(&metric.conversation_id),
            Scope::Account => named(&metric.account_id),
            Scope::Global => Some(&metric.metric_name),
        }
    }

    /// Which rules beside those of its own partition count a row.
    #[must_use]
    pub fn elsewhere(&self, metric: &Metric<'_>) -> Elsewhere {
        let mut elsewhere = Elsewhere::default();
        let mut metadata = Metadata::of(&metric.metadata);
        for &index in self.of_metric(&metric.metric_name) {
            let rule = self.rule(index);
            let wanted = match rule.scope {
                Scope::Series | Scope::Conversation => continue,
                Scope::Account if metric.account_id.is_empty() => continue,
                Scope::Account => &mut elsewhere.by_account,
                Scope::Global => &mut elsewhere.globally,
            };
            *wanted |= rule.takes(metric).is_some() && rule.filter.takes(metric, &mut metadata);
        }
        elsewhere
    }

    /// Whether a rule counts alerts themselves.
    #[must_use]
    pub fn counts_alerts(&self) -> bool {
        !self.of_metric(RAISED_METRIC).is_empty()
    }

    pub(crate) fn index(&self, id: &str) -> Option<u32> {
        self.by_id.get(id).copied()
    }

    pub(crate) fn rule(&self, index: u32) -> &Arc<Compiled> {
        &self.rules[index as usize]
    }

    pub(crate) fn of_metric(&self, metric: &str) -> &[u32] {
        self.by_metric.get(metric).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn composites_of(&self, rule: u32) -> &[u32] {
        &self.parts_of[rule as usize]
    }

    pub(crate) fn causes_of(&self, rule: u32) -> &[u32] {
        &self.causes[rule as usize]
    }

    pub(crate) fn effects_of(&self, rule: u32) -> &[u32] {
        &self.effects[rule as usize]
    }

    pub(crate) const fn own_thresholds(&self) -> u32 {
        self.own_thresholds
    }

    pub(crate) const fn configuration(&self) -> u32 {
        self.configuration
    }
}

/// Who counts a row beside the rules of the partition in which it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Elsewhere {
    /// A rule that has the rows of an account together.
    pub by_account: bool,
    /// A rule that has all rows together.
    pub globally: bool,
}

/// A rule of the engine itself.
fn engines_own(id: &str, source: Source, description: &str) -> Compiled {
    // What is configured wrongly in some rows and rightly in others is told once, not with each of them.
    let (keep_ms, late_ms) = if source == Source::Told { (600_000, 0) } else { (0, 60_000) };
    let timing = Timing { hold_ms: 0, keep_ms, mute_ms: 0, late_ms };
    let rule = Rule { id: id.to_owned(), version: 1, description: description.to_owned(), ..Rule::default() };
    Compiled {
        rule,
        scope: Scope::Series,
        filter: Filter::default(),
        judge: Judge {
            direction: None,
            thresholds: [None; 2],
            hysteresis: 0.0,
            level: Level::Warning,
            min_samples: 1,
        },
        timing,
        source,
        silence: Silence { policy: NoDataPolicy::Resolve, after_ms: 3_600_000, level: Level::Warning },
        hours: None,
        max_entities: OWN_ENTITIES,
        shape: 0,
    }
    .with_shape()
}
