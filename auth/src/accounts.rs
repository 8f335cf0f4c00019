//! The accounts a caller is limited to.

use std::collections::BTreeSet;
use std::sync::Arc;

/// Which accounts a caller sees and acts on. Clones are cheap.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Accounts {
    /// All of them, and what belongs to none.
    All,
    /// These only; nothing of what belongs to none. An empty set sees nothing.
    Only(Arc<BTreeSet<String>>),
}

impl Accounts {
    /// These accounts only.
    pub fn only<I: IntoIterator<Item = S>, S: Into<String>>(accounts: I) -> Self {
        Self::Only(Arc::new(accounts.into_iter().map(Into::into).collect()))
    }

    /// Whether something of this account, or of none, is seen.
    #[must_use]
    pub fn sees(&self, account: Option<&str>) -> bool {
        match (self, account) {
            (Self::All, _) => true,
            (Self::Only(accounts), Some(account)) => accounts.contains(account),
            (Self::Only(_), None) => false,
        }
    }

    /// Whether nothing is kept from the caller.
    #[must_use]
    pub const fn is_all(&self) -> bool {
        matches!(self, Self::All)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_limited_sees_nothing_else() {
        let two = Accounts::only(["a", "b"]);
        for (account, seen) in
            [(Some("a"), true), (Some("b"), true), (Some("c"), false), (Some(""), false), (None, false)]
        {
            assert_eq!(two.sees(account), seen, "{account:?}");
            assert!(Accounts::All.sees(account));
            assert!(!Accounts::only::<_, &str>([]).sees(account));
        }
    }
}
