//! The accounts a caller is limited to.

use std::collections::BTreeSet;
use std::sync::Arc;

/// Accounts one caller may be limited to. Every question of theirs names all of them, so a token with more is refused.
pub const MAX_ACCOUNTS: usize = 256;

/// Which accounts a caller sees and acts on. Clones are cheap.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Accounts {
    /// All of them, and what belongs to none.
    All,
    /// These only; nothing of what belongs to none. An empty set sees nothing.
    Only(AccountSet),
}

/// At most [`MAX_ACCOUNTS`] accounts, each with a name. Clones are cheap.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AccountSet(Arc<BTreeSet<String>>);

/// Why accounts are none that a caller can be limited to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WrongAccounts {
    /// More than a caller may be limited to.
    #[error(
        "there are {found} accounts, at most {MAX_ACCOUNTS} are allowed; spread them over several tokens"
    )]
    TooMany {
        /// How many there are.
        found: usize,
    },
    /// One has no name. In the store what belongs to no account stands under the empty name.
    #[error("the name of an account is empty; leave it out")]
    Empty,
}

impl Accounts {
    /// These accounts only.
    ///
    /// # Errors
    /// When there are too many, or one has no name.
    pub fn only<I: IntoIterator<Item = S>, S: Into<String>>(accounts: I) -> Result<Self, WrongAccounts> {
        let accounts: BTreeSet<String> = accounts.into_iter().map(Into::into).collect();
        if accounts.contains("") {
            return Err(WrongAccounts::Empty);
        }
        if accounts.len() > MAX_ACCOUNTS {
            return Err(WrongAccounts::TooMany { found: accounts.len() });
        }
        Ok(Self::Only(AccountSet(Arc::new(accounts))))
    }

    /// Whether something of this account, or of none, is seen.
    #[must_use]
    pub fn sees(&self, account: Option<&str>) -> bool {
        match (self, account) {
            (Self::All, _) => true,
            (Self::Only(accounts), Some(account)) => accounts.0.contains(account),
            (Self::Only(_), None) => false,
        }
    }

    /// Whether nothing is kept from the caller.
    #[must_use]
    pub const fn is_all(&self) -> bool {
        matches!(self, Self::All)
    }
}

impl AccountSet {
    /// The accounts, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_limited_sees_nothing_else() {
        let two = Accounts::only(["a", "b"]).unwrap();
        for (account, seen) in
            [(Some("a"), true), (Some("b"), true), (Some("c"), false), (Some(""), false), (None, false)]
        {
            assert_eq!(two.sees(account), seen, "{account:?}");
            assert!(Accounts::All.sees(account));
            assert!(!Accounts::only::<_, &str>([]).unwrap().sees(account));
        }
    }

    #[test]
    fn accounts_are_bounded_and_have_names() {
        let named = |count: usize| Accounts::only((0..count).map(|number| format!("a-{number}")));
        assert!(named(MAX_ACCOUNTS).is_ok());
        assert_eq!(named(MAX_ACCOUNTS + 1), Err(WrongAccounts::TooMany { found: MAX_ACCOUNTS + 1 }));
        // One that is named twice is one.
        assert!(Accounts::only(vec!["a"; MAX_ACCOUNTS + 1]).is_ok());
        // What belongs to no account is stored under the empty name, and is nobody's.
        assert_eq!(Accounts::only(["a", ""]), Err(WrongAccounts::Empty));
    }
}
