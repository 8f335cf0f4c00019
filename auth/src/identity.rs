//! Who makes a request, as far as rights and limits need to know.

use std::sync::Arc;

use crate::accounts::Accounts;
use crate::permission::{Permission, Reach};
use crate::role::Roles;

/// A caller whose token was verified. Clones are cheap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Who issued the token: the issuer's name; a subject is unique within it.
    pub issuer: Arc<str>,
    /// Whom the token names (`sub`).
    pub subject: Arc<str>,
    /// What they are.
    pub roles: Roles,
    /// Which accounts they see and act on.
    pub accounts: Accounts,
    /// The token's own id, by which it can be withdrawn: its `jti`, or where it has none a hash of what its issuer signed.
    pub token_id: Option<Arc<str>>,
    /// When the token ends, in seconds since 1970; `None` where nothing ends (authentication is off).
    pub expires_at: Option<i64>,
    /// Of a session: when the token ends that it was opened with. What is signed out must be refused until then.
    pub origin_ends_at: Option<i64>,
}

/// Why something is denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotPermitted {
    /// No role of the caller has the permission.
    #[error("none of the roles of the token may do this")]
    Role,
    /// The caller is limited to accounts, and this is about the system as a whole.
    #[error("the token is limited to accounts, and this is about the system as a whole")]
    System,
}

impl Identity {
    /// When everything has ended that has this caller's token id: the token itself, and the sessions it opened. `None` where
    /// nothing ends.
    #[must_use]
    pub fn all_ended_at(&self) -> Option<i64> {
        self.expires_at.map(|end| self.origin_ends_at.map_or(end, |origin| origin.max(end)))
    }

    /// Whether the caller may do this at all. Which accounts it is done on is a second question: [`Accounts::sees`].
    ///
    /// # Errors
    /// Why not.
    pub const fn may(&self, permission: Permission) -> Result<(), NotPermitted> {
        let row = permission.row();
        if !row.roles.meets(self.roles) {
            return Err(NotPermitted::Role);
        }
        match row.reach {
            Reach::System if !self.accounts.is_all() => Err(NotPermitted::System),
            Reach::System | Reach::Accounts | Reach::SystemForAll => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::permission::PERMISSIONS;
    use crate::role::Role;

    fn identity(roles: Roles, accounts: Accounts) -> Identity {
        Identity {
            issuer: "test".into(),
            subject: "somebody".into(),
            roles,
            accounts,
            token_id: None,
            expires_at: None,
            origin_ends_at: None,
        }
    }

    #[test]
    fn who_has_no_role_may_do_nothing() {
        let nobody = identity(Roles::NONE, Accounts::All);
        assert!(PERMISSIONS.iter().all(|row| nobody.may(row.permission) == Err(NotPermitted::Role)));
    }

    #[test]
    fn who_is_limited_to_accounts_does_not_reach_the_system() {
        let everything = Roles::of(&Role::ALL);
        let whole = identity(everything, Accounts::All);
        let limited = identity(everything, Accounts::only(["a"]).unwrap());
        for row in &PERMISSIONS {
            assert_eq!(whole.may(row.permission), Ok(()));
            let expected = if row.reach == Reach::System { Err(NotPermitted::System) } else { Ok(()) };
            assert_eq!(limited.may(row.permission), expected, "{:?}", row.permission);
        }
    }
}
