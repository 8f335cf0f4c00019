//! Alert thresholds of an operator, in the JSON form of the specification's KELLY_ALERT_THRESHOLDS_CONFIG:
//! `{"system_load": {"warning": 70.0, "critical": 85.0}}`.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde::{Deserialize, de::DeserializeOwned};
use thiserror::Error;

use crate::definition::{Bad, Definition};
use crate::{check, limits};

/// Why thresholds are refused; each says where and how to fix it.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum ThresholdsError {
    /// Not JSON of this form.
    #[error("thresholds must be JSON of the form {{\"metric\": {{\"warning\": 70, \"critical\": 85}}}}: {0}")]
    Malformed(String),
    /// A name no metric can have.
    #[error(
        "thresholds of `{metric}`: no metric can have this name; use letters, digits and _ . : / -, at most 100"
    )]
    InvalidName {
        /// The name.
        metric: String,
    },
    /// A number that no value reaches.
    #[error("thresholds of `{metric}`: `{field}` must lie between -1e130 and 1e130")]
    OutOfRange {
        /// The metric.
        metric: String,
        /// `warning` or `critical`.
        field: &'static str,
    },
    /// Critical would come before warning.
    #[error(
        "thresholds of `{metric}`: {worse} is worse, so `critical` ({critical}) must not lie on the better side of `warning` ({warning}); a threshold that is not given keeps its default"
    )]
    Contradiction {
        /// The metric.
        metric: String,
        /// `more` or `less`.
        worse: &'static str,
        /// The threshold of warnings that would be in force.
        warning: f64,
        /// The critical threshold that would be in force.
        critical: f64,
    },
    /// Nobody knows which direction is bad.
    #[error(
        "thresholds of `{metric}`: the catalogue does not say whether more or less is worse; give both `warning` and `critical`, different from each other, so that it follows"
    )]
    UnknownDirection {
        /// The metric.
        metric: String,
    },
}

/// What an operator says of one metric. The outer option is whether it was said at all, `Some(None)` is null.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GivenThresholds {
    #[serde(default, deserialize_with = "given")]
    warning: Option<Option<f64>>,
    #[serde(default, deserialize_with = "given")]
    critical: Option<Option<f64>>,
}

impl GivenThresholds {
    /// The definition with these thresholds over its own.
    pub(crate) fn apply_to(self, definition: Definition) -> Result<Definition, ThresholdsError> {
        let metric = definition.name.clone();
        for (field, threshold) in [("warning", self.warning), ("critical", self.critical)] {
            if threshold.flatten().is_some_and(|threshold| check::value(threshold).is_err()) {
                return Err(ThresholdsError::OutOfRange { metric, field });
            }
        }
        let warning = self.warning.unwrap_or(definition.warning);
        let critical = self.critical.unwrap_or(definition.critical);
        let bad = match (definition.bad, warning, critical) {
            (Bad::Neither, None, None) => Bad::Neither,
            (Bad::Neither, Some(warning), Some(critical)) if warning < critical => Bad::Up,
            (Bad::Neither, Some(warning), Some(critical)) if warning > critical => Bad::Down,
            (Bad::Neither, ..) => return Err(ThresholdsError::UnknownDirection { metric }),
            (known, ..) => known,
        };
        let changed = Definition { bad, warning, critical, ..definition };
        match (warning, critical) {
            (Some(warning), Some(critical)) if !changed.reaches(warning, critical) => {
                let worse = if bad == Bad::Up { "more" } else { "less" };
                Err(ThresholdsError::Contradiction { metric, worse, warning, critical })
            }
            _ => Ok(changed),
        }
    }
}

/// Reads the JSON form; a metric named twice is refused.
pub(crate) fn parse(json: &str) -> Result<BTreeMap<String, GivenThresholds>, ThresholdsError> {
    struct Entries;

    impl<'de> Visitor<'de> for Entries {
        type Value = BTreeMap<String, GivenThresholds>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("an object of metrics")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut entries = BTreeMap::new();
            while let Some((metric, given)) = map.next_entry::<String, GivenThresholds>()? {
                if entries.contains_key(&metric) {
                    return Err(A::Error::custom(format_args!("`{metric}` is there more than once")));
                }
                entries.insert(metric, given);
            }
            Ok(entries)
        }
    }

    let mut deserializer = serde_json::Deserializer::from_str(json);
    let entries = deserializer
        .deserialize_map(Entries)
        .and_then(|entries| deserializer.end().map(|()| entries))
        .map_err(|error| ThresholdsError::Malformed(error.to_string()))?;
    let invalid =
        entries.keys().find(|name| check::name("metric", name, limits::METRIC_NAME_CHARACTERS).is_err());
    match invalid {
        Some(metric) => Err(ThresholdsError::InvalidName { metric: metric.clone() }),
        None => Ok(entries),
    }
}

/// Tells a field that is null from one that is not there.
fn given<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Catalogue;

    fn thresholds(json: &str, metric: &str) -> Result<(Bad, Option<f64>, Option<f64>), String> {
        let catalogue = Catalogue::builtin().with_thresholds(json).map_err(|error| error.to_string())?;
        let definition = catalogue.get(metric);
        Ok((definition.bad, definition.warning, definition.critical))
    }

    #[test]
    fn the_specifications_example_changes_nothing() {
        let json = r#"{
            "system_load": {"warning": 70.0, "critical": 85.0},
            "response_time": {"warning": 2000.0, "critical": 5000.0},
            "ai_confidence": {"warning": 0.6, "critical": 0.4},
            "safety_score": {"warning": 0.8, "critical": 0.6}
        }"#;
        assert_eq!(Catalogue::builtin().with_thresholds(json).as_ref(), Ok(Catalogue::builtin()));
    }

    #[test]
    fn a_threshold_that_is_not_given_stays_and_null_removes() {
        assert_eq!(
            thresholds(r#"{"system_load":{"warning":60}}"#, "system_load"),
            Ok((Bad::Up, Some(60.0), Some(85.0)))
        );
        assert_eq!(
            thresholds(r#"{"system_load":{"warning":null}}"#, "system_load"),
            Ok((Bad::Up, None, Some(85.0)))
        );
        assert_eq!(thresholds(r#"{"system_load":{}}"#, "system_load"), Ok((Bad::Up, Some(70.0), Some(85.0))));
        assert_eq!(thresholds(r#"{"errors":{"critical":9}}"#, "errors"), Ok((Bad::Up, None, Some(9.0))));
    }

    #[test]
    fn the_direction_of_an_unknown_metric_follows_from_two_thresholds() {
        assert_eq!(
            thresholds(r#"{"rate":{"warning":0.05,"critical":0.02}}"#, "rate"),
            Ok((Bad::Down, Some(0.05), Some(0.02)))
        );
        assert_eq!(
            thresholds(r#"{"rate":{"warning":1,"critical":2}}"#, "rate"),
            Ok((Bad::Up, Some(1.0), Some(2.0)))
        );
        for json in [r#"{"rate":{"warning":1}}"#, r#"{"rate":{"warning":1,"critical":1}}"#] {
            let error = thresholds(json, "rate").expect_err("no direction follows");
            assert!(error.contains("give both"), "{error}");
        }
    }

    #[test]
    fn what_is_refused_says_where() {
        for (json, expected) in [
            (r#"{"system_load":{"warning":90}}"#, "more is worse, so `critical` (85) must not"),
            (r#"{"ai_confidence":{"critical":0.7}}"#, "less is worse, so `critical` (0.7) must not"),
            (r#"{"system_load":{"warning":"70"}}"#, "line 1 column"),
            (r#"{"system_load":{"warnin":70}}"#, "unknown field `warnin`"),
            (r#"{"system_load":{"warning":NaN}}"#, "line 1 column"),
            (r#"{"system_load":{"warning":1e200}}"#, "`warning` must lie between"),
            (r#"{"system_load":{},"system_load":{}}"#, "`system_load` is there more than once"),
            (r#"{"system load":{}}"#, "no metric can have this name"),
            (r#"[]"#, "an object of metrics"),
            (r#"{} x"#, "trailing characters"),
            ("", "EOF"),
        ] {
            let error = thresholds(json, "system_load").expect_err(json);
            assert!(error.contains(expected), "{json}: {error}");
        }
    }
}
