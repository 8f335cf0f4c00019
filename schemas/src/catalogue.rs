//! The metric catalogue: what Kelly knows about a metric by its name.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

use crate::overview::OverviewFigure;
use crate::thresholds::{self, ThresholdsError};

pub use crate::definition::{Aggregate, Bad, Definition, Kind};

/// Every known metric and every figure of the overview.
#[derive(Debug, Clone, PartialEq)]
pub struct Catalogue {
    definitions: BTreeMap<String, Definition>,
    overview: Vec<OverviewFigure>,
}

/// `catalogue.toml` as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CatalogueFile {
    metric: Vec<Definition>,
    overview: Vec<OverviewFigure>,
}

impl Catalogue {
    /// The catalogue that comes with Kelly.
    #[must_use]
    pub fn builtin() -> &'static Self {
        static BUILTIN: LazyLock<Catalogue> = LazyLock::new(|| {
            let file: CatalogueFile = toml::from_str(include_str!("../catalogue.toml"))
                .expect("catalogue.toml is part of the binary and tested");
            let definitions =
                file.metric.into_iter().map(|definition| (definition.name.clone(), definition)).collect();
            Catalogue { definitions, overview: file.overview }
        });
        &BUILTIN
    }

    /// What is known of a name; for an unknown one the stated defaults: a gauge without a unit, averaged, of
    /// which neither direction is bad and which has no thresholds.
    #[must_use]
    pub fn get(&self, name: &str) -> Definition {
        self.known(name).cloned().unwrap_or_else(|| Definition {
            name: name.to_owned(),
            unit: String::new(),
            kind: Kind::Gauge,
            aggregate: Aggregate::Mean,
            bad: Bad::Neither,
            warning: None,
            critical: None,
            description: String::new(),
        })
    }

    /// The definition of a name, if the catalogue has one.
    #[must_use]
    pub fn known(&self, name: &str) -> Option<&Definition> {
        self.definitions.get(name)
    }

    /// How a name behaves; an unknown one is a gauge.
    #[must_use]
    pub fn kind_of(&self, name: &str) -> Kind {
        self.known(name).map_or(Kind::Gauge, |definition| definition.kind)
    }

    /// Every definition, by name.
    pub fn definitions(&self) -> impl Iterator<Item = &Definition> {
        self.definitions.values()
    }

    /// Every figure of the overview, in the order of the answer.
    #[must_use]
    pub fn overview(&self) -> &[OverviewFigure] {
        &self.overview
    }

    /// The catalogue with an operator's thresholds over its own. A threshold that is not given stays as it
    /// was, `null` removes it. Refused when critical is not at least as bad as warning, and for a metric whose bad
    /// direction is not known and does not follow from two different thresholds.
    pub fn with_thresholds(&self, json: &str) -> Result<Self, ThresholdsError> {
        let mut changed = self.clone();
        for (name, given) in thresholds::parse(json)? {
            let definition = given.apply_to(self.get(&name))?;
            changed.definitions.insert(name, definition);
        }
        Ok(changed)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::overview::Statistic;
    use crate::{check, limits};

    fn file() -> CatalogueFile {
        toml::from_str(include_str!("../catalogue.toml")).expect("the catalogue is valid")
    }

    #[test]
    fn every_definition_makes_sense() {
        let mut names = BTreeSet::new();
        for definition in file().metric {
            let name = definition.name.clone();
            assert_eq!(check::name("metric_name", &name, limits::METRIC_NAME_CHARACTERS), Ok(()));
            assert!(!definition.description.is_empty(), "{name}");
            let has_thresholds = definition.warning.is_some() || definition.critical.is_some();
            assert!(
                !has_thresholds || definition.bad != Bad::Neither,
                "{name} has thresholds in no direction"
            );
            if let (Some(warning), Some(critical)) = (definition.warning, definition.critical) {
                assert!(definition.reaches(warning, critical) && warning != critical, "{name}");
            }
            let is_summed = definition.aggregate == Aggregate::Sum;
            assert_eq!(
                is_summed,
                definition.kind == Kind::Counter,
                "{name}: counters are summed, gauges are not"
            );
            assert!(names.insert(name.clone()), "{name} is there twice");
        }
    }

    #[test]
    fn every_figure_has_a_known_metric() {
        let mut fields = BTreeSet::new();
        for figure in Catalogue::builtin().overview() {
            let counts_conversations = figure.statistic == Statistic::DistinctConversations;
            assert_eq!(figure.metric.is_none(), counts_conversations, "{}", figure.field);
            if let Some(metric) = &figure.metric {
                let definition =
                    Catalogue::builtin().known(metric).expect("a figure's metric is in the catalogue");
                assert_eq!(definition.unit, figure.unit, "{}", figure.field);
            }
            assert!(fields.insert(figure.field.clone()), "{} is there twice", figure.field);
        }
    }

    #[test]
    fn the_overview_has_every_figure_of_the_specification() {
        let fields: Vec<_> =
            Catalogue::builtin().overview().iter().map(|figure| figure.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "conversations_active",
                "conversations_total_today",
                "messages_processed",
                "ai_confidence_avg",
                "safety_score_avg",
                "human_interventions",
                "alert_count",
                "system_load",
                "response_time_avg",
                "claude_requests_today",
                "claude_cost_today",
            ]
        );
    }

    #[test]
    fn the_specifications_thresholds_are_the_defaults() {
        let thresholds = |name| {
            let definition = Catalogue::builtin().get(name);
            (definition.warning, definition.critical)
        };
        assert_eq!(thresholds("system_load"), (Some(70.0), Some(85.0)));
        assert_eq!(thresholds("response_time"), (Some(2000.0), Some(5000.0)));
        assert_eq!(thresholds("ai_confidence"), (Some(0.6), Some(0.4)));
        assert_eq!(thresholds("safety_score"), (Some(0.8), Some(0.6)));
    }

    #[test]
    fn an_unknown_name_has_the_stated_defaults() {
        let definition = Catalogue::builtin().get("business_conversion_rate");
        let expected = Definition {
            name: "business_conversion_rate".to_owned(),
            unit: String::new(),
            kind: Kind::Gauge,
            aggregate: Aggregate::Mean,
            bad: Bad::Neither,
            warning: None,
            critical: None,
            description: String::new(),
        };
        assert_eq!(definition, expected);
        assert!(!definition.reaches(0.0, 1.0));
    }
}
