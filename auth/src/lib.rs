//! Who a caller is and what they may do: roles, accounts, the permission matrix. Pure: no I/O, no clock.
//!
//! Deny by default: a caller may do what a role of theirs has a mark for in [`PERMISSIONS`], and only on the accounts they
//! are limited to, if they are.

mod accounts;
mod identity;
mod permission;
mod role;

pub use accounts::{AccountSet, Accounts, MAX_ACCOUNTS, WrongAccounts};
pub use identity::{Identity, NotPermitted};
pub use permission::{PERMISSIONS, Permission, PermissionRow, Reach};
pub use role::{Role, Roles, UnknownRole};
