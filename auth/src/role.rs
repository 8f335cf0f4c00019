//! The roles a caller may have.

use std::fmt;
use std::str::FromStr;

/// A role. What it may do stands in the permission matrix ([`crate::PERMISSIONS`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Looks at figures, events, alerts and interventions.
    Viewer,
    /// A viewer who also takes rows out as files and sees how fast Kelly is.
    Analyst,
    /// Handles alerts, takes conversations over and stops single ones.
    Operator,
    /// An operator who may also overrule others and resume what was stopped.
    Supervisor,
    /// Everything, the system-wide stop and the access of others included.
    Admin,
    /// A program that records metrics and events.
    Producer,
    /// A program that holds conversations and obeys control.
    Worker,
}

impl Role {
    /// Every role, in the order of their declaration.
    pub const ALL: [Self; 7] = [
        Self::Viewer,
        Self::Analyst,
        Self::Operator,
        Self::Supervisor,
        Self::Admin,
        Self::Producer,
        Self::Worker,
    ];

    /// Its name in tokens and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Analyst => "analyst",
            Self::Operator => "operator",
            Self::Supervisor => "supervisor",
            Self::Admin => "admin",
            Self::Producer => "producer",
            Self::Worker => "worker",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that is no role's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no such role; there are {}", Role::ALL.map(Role::as_str).join(", "))]
pub struct UnknownRole;

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(name: &str) -> Result<Self, UnknownRole> {
        Self::ALL.into_iter().find(|role| role.as_str() == name).ok_or(UnknownRole)
    }
}

/// A set of roles.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Roles(u8);

impl Roles {
    /// No role: may do nothing.
    pub const NONE: Self = Self(0);

    /// These roles.
    #[must_use]
    pub const fn of(roles: &[Role]) -> Self {
        let mut bits = 0;
        let mut at = 0;
        while at < roles.len() {
            bits |= roles[at].bit();
            at += 1;
        }
        Self(bits)
    }

    /// Whether this role is among them.
    #[must_use]
    pub const fn has(self, role: Role) -> bool {
        self.0 & role.bit() != 0
    }

    /// Whether the two sets share a role.
    #[must_use]
    pub const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The roles, in the order of their declaration.
    pub fn iter(self) -> impl Iterator<Item = Role> {
        Role::ALL.into_iter().filter(move |role| self.has(*role))
    }
}

impl FromIterator<Role> for Roles {
    fn from_iter<I: IntoIterator<Item = Role>>(roles: I) -> Self {
        roles.into_iter().fold(Self::NONE, |all, role| Self(all.0 | role.bit()))
    }
}

impl fmt::Debug for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Role::as_str)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_known_by_its_name_and_by_nothing_else() {
        for role in Role::ALL {
            assert_eq!(role.as_str().parse(), Ok(role));
        }
        for name in ["", "Admin", "admin ", "root"] {
            assert_eq!(name.parse::<Role>(), Err(UnknownRole), "{name}");
        }
    }

    #[test]
    fn a_set_has_what_was_put_in() {
        let two: Roles = [Role::Worker, Role::Viewer].into_iter().collect();
        assert_eq!(two, Roles::of(&[Role::Viewer, Role::Worker]));
        assert_eq!(two.iter().collect::<Vec<_>>(), [Role::Viewer, Role::Worker]);
        assert!(two.meets(Roles::of(&[Role::Worker, Role::Admin])) && !two.meets(Roles::of(&[Role::Admin])));
        assert!(Roles::NONE.is_empty() && !Roles::NONE.meets(Roles::of(&Role::ALL)));
    }
}
