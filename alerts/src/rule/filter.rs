//! Which rows count, by their fields.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use kelly_schemas::Metric;
use serde_json::value::RawValue;

use super::data::{Scalar, Values};

/// Conditions that a row must meet.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Filter {
    conditions: Vec<Condition>,
}

#[derive(Debug, Clone, PartialEq)]
struct Condition {
    field: Field,
    values: Vec<Scalar>,
    /// Whether one of them is wanted, or none of them.
    wanted: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Field {
    Account,
    Conversation,
    User,
    Type,
    Metadata(String),
}

/// Values of one condition at most: each is compared with every row.
pub const FILTER_VALUES: usize = 1_000;

impl Filter {
    /// Reads what is written; errors are a field, what is wrong and what to do.
    pub(super) fn of(
        filter: &BTreeMap<String, Values>,
        exclude: &BTreeMap<String, Values>,
    ) -> Result<Self, (String, String, &'static str)> {
        let mut conditions = Vec::new();
        for (table, wanted, entries) in [("filter", true, filter), ("exclude", false, exclude)] {
            for (name, values) in entries {
                let place = format!("{table}.{name}");
                let Some(field) = Field::of(name) else {
                    return Err((
                        place,
                        "no row has this field".to_owned(),
                        "use account_id, conversation_id, user_id, metric_type or \"metadata.NAME\"",
                    ));
                };
                let values = values.all();
                if values.is_empty() || values.len() > FILTER_VALUES {
                    let problem = format!("it has {} values", values.len());
                    return Err((place, problem, "give between one and a thousand values"));
                }
                let is_text = |value: &Scalar| matches!(value, Scalar::Text(text) if !text.is_empty());
                if !matches!(field, Field::Metadata(_)) && !values.iter().all(is_text) {
                    return Err((
                        place,
                        "this field is always a text".to_owned(),
                        "put the value into quotes",
                    ));
                }
                conditions.push(Condition { field, values: values.to_vec(), wanted });
            }
        }
        Ok(Self { conditions })
    }

    /// Whether every row counts.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.conditions.is_empty()
    }

    /// Whether a row counts.
    #[must_use]
    pub fn takes(&self, metric: &Metric<'_>, metadata: &mut Metadata<'_>) -> bool {
        self.conditions.iter().all(|condition| {
            let text = |text: &str| {
                condition.values.iter().any(|value| matches!(value, Scalar::Text(wanted) if wanted == text))
            };
            let found = match &condition.field {
                Field::Account => text(&metric.account_id),
                Field::Conversation => text(&metric.conversation_id),
                Field::User => text(&metric.user_id),
                Field::Type => text(&metric.metric_type),
                Field::Metadata(name) => metadata.is_one_of(name, &condition.values),
            };
            found == condition.wanted
        })
    }
}

impl Field {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "account_id" => Self::Account,
            "conversation_id" => Self::Conversation,
            "user_id" => Self::User,
            "metric_type" => Self::Type,
            _ => Self::Metadata(name.strip_prefix("metadata.").filter(|rest| !rest.is_empty())?.to_owned()),
        })
    }
}

/// The metadata of a row, read when somebody first asks for a field of it.
#[derive(Debug)]
pub struct Metadata<'a> {
    text: &'a str,
    fields: Option<HashMap<Cow<'a, str>, &'a RawValue>>,
}

impl<'a> Metadata<'a> {
    /// Of the text of a JSON object, or of none.
    #[must_use]
    pub fn of(text: &'a str) -> Self {
        Self { text, fields: None }
    }

    /// The JSON text of a field.
    pub fn field(&mut self, name: &str) -> Option<&'a str> {
        let fields = self.fields.get_or_insert_with(|| serde_json::from_str(self.text).unwrap_or_default());
        fields.get(name).map(|value| value.get())
    }

    fn is_one_of(&mut self, name: &str, values: &[Scalar]) -> bool {
        let Some(found) = self.field(name).and_then(|text| serde_json::from_str::<Scalar>(text).ok()) else {
            return false;
        };
        values.contains(&found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(filter: &str, metadata: &str) -> bool {
        #[derive(serde::Deserialize, Default)]
        #[serde(default)]
        struct Both {
            filter: BTreeMap<String, Values>,
            exclude: BTreeMap<String, Values>,
        }
        let both: Both = toml::from_str(filter).expect(filter);
        let filter = Filter::of(&both.filter, &both.exclude).expect("a filter");
        let metric = Metric {
            metric_name: "m".into(),
            metric_type: "gauge".into(),
            value: 1.0,
            timestamp_ms: 0,
            account_id: "acme".into(),
            conversation_id: "".into(),
            user_id: "".into(),
            metadata: metadata.into(),
        };
        filter.takes(&metric, &mut Metadata::of(metadata))
    }

    #[test]
    fn rows_are_taken_by_their_fields() {
        let metadata = r#"{"region":"eu","tier":2,"beta":true,"deep":{"a":1}}"#;
        for (filter, expected) in [
            ("", true),
            ("filter = { account_id = 'acme' }", true),
            ("filter = { account_id = ['x', 'y'] }", false),
            ("exclude = { account_id = 'acme' }", false),
            ("filter = { 'metadata.region' = ['us', 'eu'] }", true),
            ("filter = { 'metadata.tier' = 2 }", true),
            ("filter = { 'metadata.tier' = '2' }", false),
            ("filter = { 'metadata.beta' = true, account_id = 'acme' }", true),
            ("filter = { 'metadata.missing' = 'x' }", false),
            ("exclude = { 'metadata.missing' = 'x' }", true),
            ("filter = { 'metadata.deep' = 'x' }", false),
        ] {
            assert_eq!(takes(filter, metadata), expected, "{filter}");
        }
        assert!(!takes("filter = { 'metadata.region' = 'eu' }", ""), "a row without metadata");
    }
}
