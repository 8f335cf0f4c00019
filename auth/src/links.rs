//! Sign-in links: each carries a code that works once.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use crate::identity::Identity;
use crate::refusal::Refusal;

/// Links that wait to be used. At it the one that ends first makes room.
pub const MAX_LINKS: usize = 64;

/// The codes that were given out and not used. Only their hashes are kept.
#[derive(Debug, Default)]
pub struct Links {
    waiting: HashMap<[u8; 32], Waiting>,
}

#[derive(Debug)]
struct Waiting {
    identity: Identity,
    until: i64,
}

impl Links {
    /// Gives out a code for this user, until a time in seconds since 1970. The code must be one that nobody can guess.
    pub fn add(&mut self, code: &str, identity: Identity, until: i64, now: i64) {
        self.waiting.retain(|_, link| link.until > now);
        if self.waiting.len() >= MAX_LINKS {
            let first = self.waiting.iter().min_by_key(|(_, link)| link.until).map(|(code, _)| *code);
            first.map(|first| self.waiting.remove(&first));
        }
        self.waiting.insert(hash(code), Waiting { identity, until });
    }

    /// Takes a code: it works this once.
    ///
    /// # Errors
    /// When it was used, has expired, or was never given out.
    pub fn take(&mut self, code: &str, now: i64) -> Result<Identity, Refusal> {
        let link = self.waiting.remove(&hash(code)).ok_or(Refusal::Link)?;
        if link.until > now { Ok(link.identity) } else { Err(Refusal::Link) }
    }
}

fn hash(code: &str) -> [u8; 32] {
    Sha256::digest(code.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::Accounts;
    use crate::role::Roles;

    fn identity() -> Identity {
        Identity {
            issuer: "kelly".into(),
            subject: "owner".into(),
            roles: Roles::NONE,
            accounts: Accounts::All,
            token_id: None,
            expires_at: None,
            origin_ends_at: None,
        }
    }

    #[test]
    fn a_code_works_once_and_in_its_time() {
        let mut links = Links::default();
        links.add("a", identity(), 100, 0);
        links.add("b", identity(), 100, 0);
        assert_eq!(links.take("c", 1), Err(Refusal::Link));
        assert_eq!(links.take("a", 99), Ok(identity()));
        assert_eq!(links.take("a", 99), Err(Refusal::Link));
        assert_eq!(links.take("b", 100), Err(Refusal::Link));
        assert_eq!(links.take("b", 99), Err(Refusal::Link), "a look at it used it up");
    }

    #[test]
    fn codes_are_bounded() {
        let mut links = Links::default();
        for number in 0..=MAX_LINKS {
            links.add(&number.to_string(), identity(), 100 + number as i64, 0);
        }
        assert_eq!(links.waiting.len(), MAX_LINKS);
        assert_eq!(links.take("0", 0), Err(Refusal::Link), "the one that ends first made room");
        assert!(links.take("1", 0).is_ok());
        assert!(!format!("{links:?}").contains("\"2\""));
    }
}
