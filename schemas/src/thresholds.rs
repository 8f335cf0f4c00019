//! Alert thresholds of an operator, in the JSON form of the specification's KELLY_ALERT_THRESHOLDS_CONFIG:
//! `{"system_load": {"warning": 70.0, "critical": 85.0}}`.

use thiserror::Error;

/// Why a thresholds file is refused; each says where and how to mend it.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum ThresholdsError {
    /// Not JSON of this form.
    #[error("the thresholds are not JSON of the form {{\"metric\": {{\"warning\": number, \"critical\": number}}}}: {0}")]
    Malformed(String),
}
