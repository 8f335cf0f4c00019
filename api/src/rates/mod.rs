//! How much a caller may ask for in a minute: budgets, each with a quota, counted by GCRA (the generic cell rate
//! algorithm): a caller may use a whole minute's quota at once, and it comes back evenly.
//!
//! Budgets do not touch each other: emergency routes have one that no other traffic can use up, and programs that
//! record count in rows and bytes instead of requests. Who counts is a port ([`CountUse`]): this
//! process for itself ([`OwnCounts`]), or a store that several instances share.

mod charge;
mod own;

use std::num::NonZeroU32;
use std::time::Duration;

use async_trait::async_trait;

pub use charge::RecordingBudget;
pub(crate) use charge::{Charged, POLICY_HEADER, STATE_HEADER, pay, payer, too_many, whose};
pub use own::OwnCounts;

/// Counts what callers use of their budgets. It must answer soon: every request waits for it.
#[async_trait]
pub trait CountUse: Send + Sync {
    /// Takes from a budget what fits.
    async fn take(&self, wanted: Use<'_>) -> Verdict;
}

/// Time in which a quota comes back whole.
pub const WINDOW: Duration = Duration::from_secs(60);

/// What has a quota of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Budget {
    /// Requests of a user, but for those that have another budget.
    Requests,
    /// Requests of a user to emergency routes.
    Emergency,
    /// Rows that a user records.
    RecordedRows,
    /// Bytes of the bodies in which they are recorded, in KiB.
    RecordedKib,
    /// Sign-ins that failed, of one address.
    FailedSignIns,
}

impl Budget {
    /// Every budget, in the order of their declaration.
    pub const ALL: [Self; 5] =
        [Self::Requests, Self::Emergency, Self::RecordedRows, Self::RecordedKib, Self::FailedSignIns];

    /// Its name in the headers of answers and in a shared store.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Emergency => "emergency",
            Self::RecordedRows => "recorded-rows",
            Self::RecordedKib => "recorded-kib",
            Self::FailedSignIns => "failed-sign-ins",
        }
    }
}

/// How much each budget allows in a [`WINDOW`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quotas {
    /// Of [`Budget::Requests`].
    pub requests: NonZeroU32,
    /// Of [`Budget::Emergency`].
    pub emergency: NonZeroU32,
    /// Of [`Budget::RecordedRows`].
    pub recorded_rows: NonZeroU32,
    /// Of [`Budget::RecordedKib`].
    pub recorded_kib: NonZeroU32,
    /// Of [`Budget::FailedSignIns`].
    pub failed_sign_ins: NonZeroU32,
}

impl Quotas {
    /// The quota of a budget.
    #[must_use]
    pub const fn of(&self, budget: Budget) -> NonZeroU32 {
        match budget {
            Budget::Requests => self.requests,
            Budget::Emergency => self.emergency,
            Budget::RecordedRows => self.recorded_rows,
            Budget::RecordedKib => self.recorded_kib,
            Budget::FailedSignIns => self.failed_sign_ins,
        }
    }
}

impl Default for Quotas {
    /// 1,000 requests a minute as specified; for recording ten times the specified 10,000 metrics a second.
    fn default() -> Self {
        const fn at_least_one(quota: u32) -> NonZeroU32 {
            match NonZeroU32::new(quota) {
                Some(quota) => quota,
                None => NonZeroU32::MIN,
            }
        }
        Self {
            requests: at_least_one(1_000),
            emergency: at_least_one(300),
            recorded_rows: at_least_one(6_000_000),
            recorded_kib: at_least_one(4 << 20),
            failed_sign_ins: at_least_one(30),
        }
    }
}

/// What is to be taken from a budget.
#[derive(Debug, Clone, Copy)]
pub struct Use<'a> {
    /// Which budget.
    pub budget: Budget,
    /// Whose: a user or an address.
    pub whose: &'a str,
    /// How much of it; more than the whole quota counts as the whole quota.
    pub amount: NonZeroU32,
}

/// Whether a use fits into its budget. What does not fit takes nothing from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it does.
    pub fits: bool,
    /// What is left of the budget.
    pub left: u32,
    /// Until the budget is whole again.
    pub until_whole: Duration,
    /// Where it does not fit: when it would.
    pub retry_after: Duration,
}
