//! The alerts that are there without anybody writing a rule: the built-in ones of the specification, and those that follow from
//! an operator's thresholds.

use std::borrow::Cow;
use std::collections::BTreeMap;

use kelly_schemas::Metric;
use kelly_schemas::catalogue::{Bad, Catalogue, Definition};
use kelly_schemas::thresholds::ThresholdsError;

use crate::rule::{Aggregation, Direction, Kind, RAISED_METRIC, Rule, Scope, Span};

/// The rule that counts alerts.
pub const EXCESSIVE_VOLUME: &str = "excessive_alert_volume";

/// The built-in alerts at the specification's values, and the operator's thresholds (the JSON of
/// KELLY_ALERT_THRESHOLDS_CONFIG) over them.
///
/// A metric that the operator names has the operator's thresholds, in which a value that reaches one counts. The others have
/// their built-in ones, beyond which a value must lie. Thresholds of the catalogue without a built-in alert count too.
pub fn rules(thresholds: Option<&str>) -> Result<Vec<Rule>, ThresholdsError> {
    let catalogue = Catalogue::builtin();
    let changed = thresholds.map_or_else(|| Ok(catalogue.clone()), |json| catalogue.with_thresholds(json))?;
    let said = thresholds.map(named_metrics).unwrap_or_default();
    let mut rules: BTreeMap<String, Rule> = BTreeMap::new();
    for definition in changed.definitions() {
        let builtin = BUILTIN.iter().find(|builtin| builtin.metric == definition.name);
        let rule = match builtin {
            Some(builtin) if !said.contains(&definition.name) => Some(builtin.rule(definition)),
            _ => of_definition(definition, builtin),
        };
        rules.extend(rule.map(|rule| (rule.id.clone(), rule)));
    }
    let volume = excessive_volume();
    rules.insert(volume.id.clone(), volume);
    Ok(rules.into_values().collect())
}

/// What an alert that was raised counts as. Its place is that in the log of decisions, where it stands once.
#[must_use]
pub fn raised_row(at_ms: i64) -> Metric<'static> {
    Metric {
        metric_name: Cow::Borrowed(RAISED_METRIC),
        metric_type: Cow::Borrowed("counter"),
        value: 1.0,
        timestamp_ms: at_ms,
        account_id: Cow::Borrowed(""),
        conversation_id: Cow::Borrowed(""),
        user_id: Cow::Borrowed(""),
        metadata: Cow::Borrowed(""),
    }
}

/// A built-in alert of the specification.
struct Builtin {
    id: &'static str,
    metric: &'static str,
    description: &'static str,
    direction: Direction,
    warning: f64,
    /// How its rows become a value, and over how long.
    aggregation: Aggregation,
    window: Option<Span>,
}

const BUILTIN: [Builtin; 4] = [
    Builtin {
        id: "high_system_load",
        metric: "system_load",
        description: "High system load",
        direction: Direction::Above,
        warning: 80.0,
        aggregation: Aggregation::Avg,
        window: Some(Span::minutes(1)),
    },
    Builtin {
        id: "low_ai_confidence",
        metric: "ai_confidence",
        description: "Low AI confidence",
        direction: Direction::Below,
        warning: 0.6,
        aggregation: Aggregation::Avg,
        window: Some(Span::minutes(5)),
    },
    Builtin {
        id: "high_response_time",
        metric: "response_time",
        description: "High response times",
        direction: Direction::Above,
        warning: 2_000.0,
        aggregation: Aggregation::Avg,
        window: Some(Span::minutes(1)),
    },
    Builtin {
        id: "safety_score_drop",
        metric: "safety_score",
        description: "The safety score dropped",
        direction: Direction::Below,
        warning: 0.8,
        aggregation: Aggregation::Last,
        window: None,
    },
];

/// Which part of a threshold a value must come back before an alert is over, so that one at the threshold does not flap.
const HYSTERESIS: f64 = 0.05;

impl Builtin {
    fn rule(&self, definition: &Definition) -> Rule {
        Rule {
            description: self.description.to_owned(),
            direction: Some(self.direction),
            warning: Some(self.warning),
            critical: definition.critical,
            ..self.shape(definition)
        }
    }

    fn shape(&self, definition: &Definition) -> Rule {
        let aggregation = Some(self.aggregation);
        Rule { id: self.id.to_owned(), aggregation, window: self.window, ..shape(definition, self.warning) }
    }
}

/// What all rules of thresholds have in common.
fn shape(definition: &Definition, threshold: f64) -> Rule {
    Rule {
        id: format!("threshold.{}", definition.name),
        version: 1,
        metric: Some(definition.name.clone()),
        scope: Scope::Series,
        hysteresis: Some(threshold.abs() * HYSTERESIS),
        keep_firing_for: Some(Span::minutes(1)),
        ..Rule::default()
    }
}

/// The rule of a metric with thresholds.
fn of_definition(definition: &Definition, builtin: Option<&Builtin>) -> Option<Rule> {
    let direction = match definition.bad {
        Bad::Up => Direction::AtLeast,
        Bad::Down => Direction::AtMost,
        Bad::Neither => return None,
    };
    let (warning, critical) = (definition.warning, definition.critical);
    let threshold = warning.or(critical)?;
    let rule = builtin.map_or_else(|| shape(definition, threshold), |builtin| builtin.shape(definition));
    let description = match (builtin, definition.description.is_empty()) {
        (Some(builtin), _) => builtin.description.to_owned(),
        (None, true) => format!("Threshold of {}", definition.name),
        (None, false) => definition.description.clone(),
    };
    Some(Rule {
        description,
        direction: Some(direction),
        // Where both are one, it is critical.
        warning: warning.filter(|_| warning != critical),
        critical,
        hysteresis: Some(threshold.abs() * HYSTERESIS),
        ..rule
    })
}

fn excessive_volume() -> Rule {
    Rule {
        id: EXCESSIVE_VOLUME.to_owned(),
        version: 1,
        description: "More alerts than anybody can look at: review thresholds, or look for one cause of many"
            .to_owned(),
        kind: Kind::Threshold,
        metric: Some(RAISED_METRIC.to_owned()),
        scope: Scope::Global,
        aggregation: Some(Aggregation::Count),
        window: Some(Span::minutes(10)),
        direction: Some(Direction::AtLeast),
        warning: Some(50.0),
        critical: Some(500.0),
        hysteresis: Some(25.0),
        keep_firing_for: Some(Span::minutes(10)),
        ..Rule::default()
    }
}

/// The metrics an operator named.
fn named_metrics(json: &str) -> Vec<String> {
    let named: BTreeMap<String, serde_json::Value> = serde_json::from_str(json).unwrap_or_default();
    named.into_keys().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::check;

    const SPECIFICATION: &str = r#"{
        "system_load": {"warning": 70.0, "critical": 85.0},
        "response_time": {"warning": 2000.0, "critical": 5000.0},
        "ai_confidence": {"warning": 0.6, "critical": 0.4},
        "safety_score": {"warning": 0.8, "critical": 0.6}
    }"#;

    fn of(rules: &[Rule], id: &str) -> (Option<Direction>, Option<f64>, Option<f64>) {
        let rule = rules.iter().find(|rule| rule.id == id).unwrap_or_else(|| panic!("{id} is there"));
        (rule.direction, rule.warning, rule.critical)
    }

    #[test]
    fn the_built_in_alerts_have_the_specifications_values() {
        let rules = rules(None).expect("no thresholds, no fault");
        assert_eq!(check(&rules), vec![]);
        assert_eq!(of(&rules, "high_system_load"), (Some(Direction::Above), Some(80.0), Some(85.0)));
        assert_eq!(of(&rules, "low_ai_confidence"), (Some(Direction::Below), Some(0.6), Some(0.4)));
        assert_eq!(of(&rules, "high_response_time"), (Some(Direction::Above), Some(2000.0), Some(5000.0)));
        assert_eq!(of(&rules, "safety_score_drop"), (Some(Direction::Below), Some(0.8), Some(0.6)));
        assert_eq!(of(&rules, EXCESSIVE_VOLUME).0, Some(Direction::AtLeast));
        assert_eq!(of(&rules, "threshold.memory_usage"), (Some(Direction::AtLeast), Some(85.0), Some(95.0)));
    }

    #[test]
    fn an_operators_thresholds_come_before_them() {
        let rules = rules(Some(SPECIFICATION)).expect("the specification's own example");
        assert_eq!(check(&rules), vec![]);
        assert_eq!(of(&rules, "high_system_load"), (Some(Direction::AtLeast), Some(70.0), Some(85.0)));
        assert_eq!(of(&rules, "low_ai_confidence"), (Some(Direction::AtMost), Some(0.6), Some(0.4)));
    }

    #[test]
    fn metrics_that_nobody_knows_and_thresholds_that_are_removed() {
        let json = r#"{"conversion":{"warning":0.05,"critical":0.02},"system_load":{"warning":null,"critical":null}}"#;
        let rules = rules(Some(json)).expect("thresholds");
        assert_eq!(check(&rules), vec![]);
        assert_eq!(of(&rules, "threshold.conversion"), (Some(Direction::AtMost), Some(0.05), Some(0.02)));
        assert!(rules.iter().all(|rule| rule.metric.as_deref() != Some("system_load")));
    }

    #[test]
    fn contradictory_thresholds_are_a_fault() {
        let fault =
            rules(Some(r#"{"system_load":{"warning":90,"critical":80}}"#)).expect_err("a contradiction");
        assert!(fault.to_string().contains("system_load"), "{fault}");
    }
}
