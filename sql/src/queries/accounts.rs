//! Whose rows a question is about.

use std::slice;

/// A name that no account has: it is longer than any may be.
const NOBODY: &str = "no account has this name: it is longer than the name of one may be";

/// Which accounts' rows count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountFilter<'a> {
    /// Those of every account, and of none.
    Any,
    /// Those of these accounts only; where there is none, no row.
    Only(&'a [&'a str]),
}

impl<'a> AccountFilter<'a> {
    /// The parameter `accounts` of the views, to which an empty list means any.
    pub(super) fn parameter(self) -> &'a [&'a str] {
        match self {
            Self::Any => &[],
            Self::Only([]) => slice::from_ref(&NOBODY),
            Self::Only(accounts) => accounts,
        }
    }
}

#[cfg(test)]
mod tests {
    use kelly_schemas::limits::ACCOUNT_ID_CHARACTERS;

    use super::*;

    #[test]
    fn no_account_is_never_any_account() {
        assert_eq!(AccountFilter::Any.parameter(), [] as [&str; 0]);
        assert_eq!(AccountFilter::Only(&["a", "b"]).parameter(), ["a", "b"]);
        assert_eq!(AccountFilter::Only(&[]).parameter(), [NOBODY]);
        assert!(NOBODY.chars().count() > ACCOUNT_ID_CHARACTERS);
    }
}
