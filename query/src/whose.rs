//! Whose rows a question is about: those of the account it names, else of all that the asker may see. Pure.

use kelly_auth::Accounts;
use kelly_sql::queries::AccountFilter;

use crate::error::QueryError;

/// Whose rows count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Whose<'a> {
    /// Those of every account, and of none.
    Everybodys,
    /// Those of these accounts.
    Of(Vec<&'a str>),
}

impl<'a> Whose<'a> {
    /// Of a question that names this account, or none, by somebody who may see these.
    pub(crate) fn asked(account_id: Option<&'a str>, seen: &'a Accounts) -> Result<Self, QueryError> {
        match (account_id, seen) {
            (Some(_), _) if !seen.sees(account_id) => Err(QueryError::AccountNotPermitted),
            (Some(account), _) => Ok(Self::Of(vec![account])),
            (None, Accounts::All) => Ok(Self::Everybodys),
            (None, Accounts::Only(accounts)) => Ok(Self::Of(accounts.iter().collect())),
        }
    }

    /// As a filter of the store's questions.
    pub(crate) fn filter(&self) -> AccountFilter<'_> {
        match self {
            Self::Everybodys => AccountFilter::Any,
            Self::Of(accounts) => AccountFilter::Only(accounts),
        }
    }

    /// The accounts; none where the rows are everybody's, which the tiers of accounts are not asked for.
    pub(crate) fn accounts(&self) -> &[&'a str] {
        match self {
            Self::Everybodys => &[],
            Self::Of(accounts) => accounts,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_about_what_its_asker_sees() {
        let own = Accounts::only(["a", "b"]).unwrap();
        let nothing = Accounts::only::<_, &str>([]).unwrap();
        let of = |accounts: &[&'static str]| Ok(Whose::Of(accounts.to_vec()));
        let refused = Err("account_not_permitted");
        let cases = [
            (None, &Accounts::All, Ok(Whose::Everybodys)),
            (Some("a"), &Accounts::All, of(&["a"])),
            (None, &own, of(&["a", "b"])),
            (Some("b"), &own, of(&["b"])),
            (Some("c"), &own, refused.clone()),
            (None, &nothing, of(&[])),
            (Some("a"), &nothing, refused),
        ];
        for (account_id, seen, expected) in cases {
            let found = Whose::asked(account_id, seen).map_err(|error| error.code());
            assert_eq!(found, expected, "{account_id:?} of {seen:?}");
        }
        assert_eq!(Whose::Of(Vec::new()).filter(), AccountFilter::Only(&[]));
    }
}
