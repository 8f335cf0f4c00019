//! How bad an alert is, and which values are.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::mutation::{Mutation, mutated};

/// How bad an alert is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Worth a look.
    Warning,
    /// Needs somebody.
    Critical,
}

impl Level {
    /// Both, milder first.
    pub const ALL: [Self; 2] = [Self::Warning, Self::Critical];

    /// Its place in [`ALL`](Self::ALL).
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::Warning => 0,
            Self::Critical => 1,
        }
    }

    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// On which side of a threshold values are bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// More than the threshold.
    Above,
    /// The threshold or more.
    AtLeast,
    /// Less than the threshold.
    Below,
    /// The threshold or less.
    AtMost,
}

impl Direction {
    /// Whether more is worse.
    #[must_use]
    pub const fn more_is_worse(self) -> bool {
        matches!(self, Self::Above | Self::AtLeast)
    }

    /// Whether a value is bad.
    #[must_use]
    pub fn is_bad(self, value: f64, threshold: f64) -> bool {
        match self {
            Self::Above => value > threshold || (mutated(Mutation::Comparison) && value == threshold),
            Self::AtLeast => value >= threshold,
            Self::Below => value < threshold,
            Self::AtMost => value <= threshold,
        }
    }

    /// The threshold moved by `distance` to the good side: where an alert that fires is over.
    #[must_use]
    pub fn eased(self, threshold: f64, distance: f64) -> f64 {
        if self.more_is_worse() { threshold - distance } else { threshold + distance }
    }

    /// As a sign, for explanations.
    #[must_use]
    pub const fn sign(self) -> &'static str {
        match self {
            Self::Above => ">",
            Self::AtLeast => "≥",
            Self::Below => "<",
            Self::AtMost => "≤",
        }
    }
}
