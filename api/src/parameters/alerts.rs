//! What alerts are asked for by.

use utoipa::openapi::{RefOr, Schema};

use super::values::one_of;
use super::{Value, echo};
use crate::alert_views::AlertSeverity;

/// Where an alert is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AlertStatus {
    /// Nobody takes care yet.
    Active,
    /// Somebody does.
    Acknowledged,
    /// Over.
    Resolved,
}

/// Values that are one of a few names.
macro_rules! values {
    ($($kind:ty { $($variant:ident = $name:literal),* })*) => {$(
        impl Value for $kind {
            fn parse(text: &str) -> Result<Self, String> {
                match text {
                    $($name => Ok(Self::$variant),)*
                    _ => Err(format!("(`{}`) is none of {}", echo(text), [$($name),*].join(", "))),
                }
            }

            fn schema() -> RefOr<Schema> {
                one_of([$($name),*])
            }
        }
    )*};
}

values! {
    AlertSeverity { Info = "info", Warning = "warning", Critical = "critical" }
    AlertStatus { Active = "active", Acknowledged = "acknowledged", Resolved = "resolved" }
}
