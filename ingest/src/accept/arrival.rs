//! When a body came, and from whom.

use kelly_auth::Accounts;
use kelly_schemas::decode::Origin;
use kelly_schemas::{Fault, Limits};

/// When a body came, and from whom.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// Now, in milliseconds since 1970.
    pub now_ms: i64,
    /// The accounts that the sender may record for.
    pub accounts: Accounts,
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
        let of = |accounts| Arrival { now_ms: 0, accounts };
        let limited = of(Accounts::only(["a"]).unwrap());
        for (account_id, may) in [("a", true), ("b", false), ("", false)] {
            assert_eq!(limited.check_account(account_id).is_ok(), may, "{account_id:?}");
            assert!(of(Accounts::All).check_account(account_id).is_ok());
        }
    }
}
