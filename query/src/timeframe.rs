//! The named timeframes.

use std::fmt;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A named length of time that ends now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, ToSchema)]
pub enum Timeframe {
    /// The last hour.
    #[default]
    #[serde(rename = "1h")]
    OneHour,
    /// The last six hours.
    #[serde(rename = "6h")]
    SixHours,
    /// The last 24 hours.
    #[serde(rename = "24h")]
    OneDay,
    /// The last seven days.
    #[serde(rename = "7d")]
    SevenDays,
    /// The last thirty days.
    #[serde(rename = "30d")]
    ThirtyDays,
}

impl Timeframe {
    /// Every timeframe, shortest first.
    pub const ALL: [Self; 5] =
        [Self::OneHour, Self::SixHours, Self::OneDay, Self::SevenDays, Self::ThirtyDays];

    /// The name as it is asked for.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OneHour => "1h",
            Self::SixHours => "6h",
            Self::OneDay => "24h",
            Self::SevenDays => "7d",
            Self::ThirtyDays => "30d",
        }
    }

    /// Its length.
    #[must_use]
    pub fn length(self) -> TimeDelta {
        match self {
            Self::OneHour => TimeDelta::hours(1),
            Self::SixHours => TimeDelta::hours(6),
            Self::OneDay => TimeDelta::hours(24),
            Self::SevenDays => TimeDelta::days(7),
            Self::ThirtyDays => TimeDelta::days(30),
        }
    }
}

impl fmt::Display for Timeframe {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}
