//! When a body came, from whom, and what they may record.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kelly_auth::Accounts;
use kelly_schemas::decode::Origin;
use kelly_schemas::{Fault, Limits};

/// Says whether rows fit into what their sender may record for now.
#[async_trait]
pub trait AdmitRows: Send + Sync {
    /// Asked once a body, when its rows are counted and all are good, before any of them is appended. An error says
    /// after which time it is worth trying again.
    async fn admit(&self, rows: usize) -> Result<(), Duration>;
}

/// Lets any number of rows in.
#[derive(Debug, Clone, Copy)]
pub struct AdmitAll;

#[async_trait]
impl AdmitRows for AdmitAll {
    async fn admit(&self, _rows: usize) -> Result<(), Duration> {
        Ok(())
    }
}

/// When a body came, and from whom.
#[derive(Clone)]
pub struct Arrival {
    /// Now, in milliseconds since 1970.
    pub now_ms: i64,
    /// The accounts that the sender may record for.
    pub accounts: Accounts,
    /// Whether the sender may record so many rows now.
    pub admission: Arc<dyn AdmitRows>,
}

impl Arrival {
    /// Where a row of the body stands: not on the log yet.
    pub(super) fn origin<'l>(&self, limits: &'l Limits) -> Origin<'l> {
        Origin { partition: 0, offset: 0, log_time_ms: self.now_ms, limits }
    }

    /// Refuses a row of this account, which is empty for none, where the sender may not record for it.
    pub(super) fn check_account(&self, account_id: &str) -> Result<(), Fault> {
        let account = Some(account_id).filter(|id| !id.is_empty());
        if self.accounts.sees(account) { Ok(()) } else { Err(Fault::AccountNotPermitted) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_limited_records_for_their_own_accounts_only() {
        let of = |accounts| Arrival { now_ms: 0, accounts, admission: Arc::new(AdmitAll) };
        let limited = of(Accounts::only(["a"]).unwrap());
        for (account_id, may) in [("a", true), ("b", false), ("", false)] {
            assert_eq!(limited.check_account(account_id).is_ok(), may, "{account_id:?}");
            assert!(of(Accounts::All).check_account(account_id).is_ok());
        }
    }
}
