//! Who a caller is and what they may do: tokens and sessions, roles, accounts, the permission matrix. Pure: no I/O, no clock;
//! times come in as seconds since 1970.
//!
//! A token's text becomes an [`Identity`] in two steps: [`Unverified::parse`] takes it apart, [`Issuer::verify`] believes it or
//! says why not. Between them whoever calls finds the issuer and its keys, which may have to be fetched.
//!
//! Deny by default: a caller may do what a role of theirs has a mark for in [`PERMISSIONS`], and only on the accounts they
//! are limited to, if they are.

mod accounts;
mod algorithm;
mod denied;
mod identity;
mod issuer;
mod keys;
mod links;
mod mint;
mod permission;
mod refusal;
mod role;
mod session;
mod token;

pub use accounts::{AccountSet, Accounts, MAX_ACCOUNTS, WrongAccounts};
pub use algorithm::{Algorithm, UnknownAlgorithm};
pub use denied::{BadDenied, Denied, DeniedLine, MAX_DENIED, Target};
pub use identity::{Identity, NotPermitted};
pub use issuer::{Issuer, MAX_LEEWAY_SECONDS, MAX_NAME_BYTES, USUAL_TYPES, is_name};
pub use keys::{BadKeys, Keys, MAX_KEY_SET_BYTES, MAX_KEYS, MIN_SECRET_BYTES, SecretTooShort, SigningSecret};
pub use links::{Links, MAX_LINKS};
pub use mint::{Grant, mint};
pub use permission::{PERMISSIONS, Permission, PermissionRow, Reach};
pub use refusal::Refusal;
pub use role::{Role, Roles, UnknownRole};
pub use session::{MAX_SESSION_BYTES, Session, SessionTooLarge, Sessions};
pub use token::{MAX_TOKEN_BYTES, Unverified};
