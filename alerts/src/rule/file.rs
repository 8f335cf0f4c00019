//! Files of rules: TOML with `[[rule]]`, or JSON with the same fields.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::data::Rule;

/// The JSON Schema of a file of rules.
pub const JSON_SCHEMA: &str = include_str!("../../json/rules.schema.json");

/// A file of rules.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleFile {
    /// The rules.
    #[serde(rename = "rule", default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
}

/// A file that is none of rules.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{what}")]
pub struct FileFault {
    /// What was found where, and what was expected.
    pub what: String,
}

/// Reads TOML.
pub fn parse_toml(text: &str) -> Result<RuleFile, FileFault> {
    toml::from_str(text).map_err(|error| FileFault { what: error.to_string().trim_end().to_owned() })
}

/// Reads JSON.
pub fn parse_json(text: &str) -> Result<RuleFile, FileFault> {
    serde_json::from_str(text).map_err(|error| FileFault { what: error.to_string() })
}

impl RuleFile {
    /// As TOML.
    pub fn to_toml(&self) -> Result<String, FileFault> {
        toml::to_string(self).map_err(|error| FileFault { what: error.to_string() })
    }
}
