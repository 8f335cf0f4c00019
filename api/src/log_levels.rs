//! How much a running Kelly logs: what can be changed, and the port that changes it.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

macro_rules! names {
    ($(#[$meta:meta])* $kind:ident { $($(#[$of:meta])* $value:ident = $name:literal),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum $kind {
            $($(#[$of])* $value),*
        }

        impl $kind {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$value),*];

            /// Its name.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$value => $name),*
                }
            }

            /// The one of this name.
            #[must_use]
            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|known| known.as_str() == name)
            }
        }
    };
}

names! {
    /// A component whose level can be changed by itself.
    LogComponent {
        /// All of them.
        All = "all",
        /// What starts, connects and stops the others.
        Roles = "roles",
        /// The HTTP interface.
        Api = "api",
        /// From the log into the store.
        Ingest = "ingest",
        /// Live push.
        Live = "live",
        /// Questions and answers.
        Query = "query",
        /// The store and its engine.
        Sql = "sql",
        /// The log.
        Stream = "stream",
    }
}

names! {
    /// How much is logged; each has what those before it have.
    LogLevel {
        /// What failed.
        Error = "error",
        /// What wants attention.
        Warn = "warn",
        /// What an operator wants to know.
        Info = "info",
        /// Each request.
        Debug = "debug",
        /// Each step.
        Trace = "trace",
    }
}

/// A level that was changed while Kelly ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ChangedLevel {
    /// Of which component.
    pub component: LogComponent,
    /// What it is now.
    pub level: LogLevel,
    /// When the configured one is in force again, by itself.
    pub until: DateTime<Utc>,
}

/// Changes how much a running Kelly logs.
pub trait LogLevels: Send + Sync {
    /// What is configured, as RUST_LOG is written.
    fn configured(&self) -> String;

    /// What is changed now, in the order of the components.
    fn changed(&self) -> Vec<ChangedLevel>;

    /// Changes a level, in force once this returns.
    fn change(&self, change: ChangedLevel);

    /// Goes back to what is configured.
    fn reset(&self, component: LogComponent);
}
