//! The deny list: tokens and users that are refused although their tokens verify.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::identity::Identity;
use crate::issuer::is_name;

/// Entries of one deny list. A list with more is refused whole, and so is the entry that would be one more.
pub const MAX_DENIED: usize = 100_000;

/// What an entry refuses.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// One token, by its `jti` (or what stands for it in [`Identity::token_id`]), and the session that was opened with it: of one
    /// issuer, or of whichever has such a token.
    Token {
        /// Only of this issuer.
        issuer: Option<Arc<str>>,
        /// The token's id.
        id: Arc<str>,
    },
    /// Every token of a user, by `sub`: of one issuer, or of whichever has such a user.
    User {
        /// Only of this issuer.
        issuer: Option<Arc<str>>,
        /// `sub`.
        subject: Arc<str>,
    },
}

/// One entry, as it stands in a line of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeniedLine {
    /// The id of a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    /// A user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub: Option<String>,
    /// The issuer of that token or user; without it those of every issuer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
    /// When the entry ends, in seconds since 1970; without it never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<i64>,
}

/// What is wrong with a deny list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadDenied {
    /// A line that is no entry.
    #[error(
        "line {0} is no entry: write {{\"jti\": \"…\"}} or {{\"sub\": \"…\"}} (with \"iss\": \"…\" for one issuer's), \
         with \"until\": seconds since 1970 where it ends"
    )]
    Line(usize),
    /// More entries than are kept.
    #[error("there are more than {MAX_DENIED} entries")]
    TooMany,
}

impl DeniedLine {
    /// What it refuses; `None` when it names nothing, or both a token and a user.
    #[must_use]
    pub fn target(&self) -> Option<Target> {
        let name = |name: &String| is_name(name).then(|| Arc::from(name.as_str()));
        let issuer = match &self.iss {
            Some(issuer) => Some(name(issuer)?),
            None => None,
        };
        match (&self.jti, &self.sub) {
            (Some(token), None) => Some(Target::Token { issuer, id: name(token)? }),
            (None, Some(subject)) => Some(Target::User { issuer, subject: name(subject)? }),
            _ => None,
        }
    }

    /// The line of an entry.
    #[must_use]
    pub fn of(target: &Target, until: Option<i64>) -> Self {
        let (jti, sub, issuer) = match target {
            Target::Token { issuer, id } => (Some(id.to_string()), None, issuer),
            Target::User { issuer, subject } => (None, Some(subject.to_string()), issuer),
        };
        Self { jti, sub, iss: issuer.as_ref().map(ToString::to_string), until }
    }
}

/// The ends of the entries of one token or user, by issuer.
type Ends = BTreeMap<Option<Arc<str>>, Option<i64>>;
type ByName = HashMap<Arc<str>, Ends>;

/// A deny list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Denied {
    tokens: ByName,
    users: ByName,
    entries: usize,
}

impl Denied {
    /// The list of a text: an entry a line, as JSON. Empty lines and those that begin with `#` say nothing.
    ///
    /// # Errors
    /// The first line that is wrong; nothing of the text is repeated.
    pub fn parse(text: &str) -> Result<Self, BadDenied> {
        let mut list = Self::default();
        for (index, line) in text.lines().map(str::trim).enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let entry: Option<DeniedLine> = serde_json::from_str(line).ok();
            let wrong = BadDenied::Line(index + 1);
            let entry = entry.ok_or(wrong)?;
            list.add(entry.target().ok_or(wrong)?, entry.until)?;
        }
        Ok(list)
    }

    /// Adds an entry, or gives one that is there another end.
    ///
    /// # Errors
    /// When the list is full.
    pub fn add(&mut self, target: Target, until: Option<i64>) -> Result<(), BadDenied> {
        if self.until(&target).is_none() {
            if self.entries == MAX_DENIED {
                return Err(BadDenied::TooMany);
            }
            self.entries += 1;
        }
        let (names, issuer, name) = match target {
            Target::Token { issuer, id } => (&mut self.tokens, issuer, id),
            Target::User { issuer, subject } => (&mut self.users, issuer, subject),
        };
        names.entry(name).or_default().insert(issuer, until);
        Ok(())
    }

    /// Adds an entry, or makes one that is there last as long: never shorter.
    ///
    /// # Errors
    /// When the list is full.
    pub fn add_or_extend(&mut self, target: Target, until: Option<i64>) -> Result<(), BadDenied> {
        let until = match self.until(&target) {
            Some(known) => known.zip(until).map(|(known, until)| known.max(until)),
            None => until,
        };
        self.add(target, until)
    }

    /// Takes an entry away; whether it was there.
    pub fn remove(&mut self, target: &Target) -> bool {
        let (names, issuer, name) = match target {
            Target::Token { issuer, id } => (&mut self.tokens, issuer, id),
            Target::User { issuer, subject } => (&mut self.users, issuer, subject),
        };
        let Some(issuers) = names.get_mut(name) else { return false };
        let removed = issuers.remove(issuer).is_some();
        if issuers.is_empty() {
            names.remove(name);
        }
        self.entries -= usize::from(removed);
        removed
    }

    /// Takes away what has ended.
    pub fn forget_ended(&mut self, now: i64) {
        let ended: Vec<Target> =
            self.iter().filter(|(_, until)| !lasts(*until, now)).map(|(target, _)| target).collect();
        for target in ended {
            self.remove(&target);
        }
    }

    /// Whether this caller is refused at this time.
    #[must_use]
    pub fn denies(&self, caller: &Identity, now: i64) -> bool {
        let token = caller.token_id.as_ref().and_then(|token| self.tokens.get(token));
        let user = self.users.get(&caller.subject);
        let issuers = [None, Some(caller.issuer.clone())];
        [token, user]
            .into_iter()
            .flatten()
            .flat_map(|ends| issuers.iter().filter_map(|issuer| ends.get(issuer)))
            .any(|until| lasts(*until, now))
    }

    /// Every entry, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (Target, Option<i64>)> {
        let tokens = entries(&self.tokens)
            .map(|(id, issuer, until)| (Target::Token { issuer: issuer.clone(), id: id.clone() }, until));
        let users = entries(&self.users).map(|(subject, issuer, until)| {
            (Target::User { issuer: issuer.clone(), subject: subject.clone() }, until)
        });
        tokens.chain(users)
    }

    /// Whether there is no entry.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries == 0
    }

    fn until(&self, target: &Target) -> Option<Option<i64>> {
        match target {
            Target::Token { issuer, id } => self.tokens.get(id)?.get(issuer).copied(),
            Target::User { issuer, subject } => self.users.get(subject)?.get(issuer).copied(),
        }
    }
}

fn entries(names: &ByName) -> impl Iterator<Item = (&Arc<str>, &Option<Arc<str>>, Option<i64>)> {
    names.iter().flat_map(|(name, ends)| ends.iter().map(move |(issuer, until)| (name, issuer, *until)))
}

fn lasts(until: Option<i64>, now: i64) -> bool {
    until.is_none_or(|until| until > now)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::accounts::Accounts;
    use crate::role::Roles;

    fn caller(issuer: &str, subject: &str, token: Option<&str>) -> Identity {
        Identity {
            issuer: issuer.into(),
            subject: subject.into(),
            roles: Roles::NONE,
            accounts: Accounts::All,
            token_id: token.map(Into::into),
            expires_at: None,
            origin_ends_at: None,
        }
    }

    fn token(id: &str) -> Target {
        Target::Token { issuer: None, id: id.into() }
    }

    #[test]
    fn a_list_denies_tokens_and_users() {
        let list = Denied::parse(
            "# who left\n\n{\"jti\": \"t-1\"}\n{\"sub\": \"bob\"}\n{\"sub\":\"eve\",\"iss\":\"a\",\"until\":100}\n\
             {\"jti\": \"t-3\", \"iss\": \"a\"}\n",
        )
        .unwrap();
        for (caller, now, expected) in [
            (caller("a", "alice", Some("t-1")), 0, true),
            (caller("b", "alice", Some("t-1")), i64::MAX, true),
            (caller("a", "alice", Some("t-2")), 0, false),
            (caller("a", "alice", Some("t-3")), 0, true),
            (caller("b", "alice", Some("t-3")), 0, false),
            (caller("a", "alice", None), 0, false),
            (caller("a", "bob", None), 0, true),
            (caller("b", "bob", Some("x")), 0, true),
            (caller("a", "eve", None), 99, true),
            (caller("a", "eve", None), 100, false),
            (caller("b", "eve", None), 0, false),
        ] {
            assert_eq!(list.denies(&caller, now), expected, "{caller:?} at {now}");
        }
    }

    #[test]
    fn an_entry_that_is_extended_ends_no_earlier() {
        for (known, until, expected) in [
            (Some(10), Some(20), Some(20)),
            (Some(20), Some(10), Some(20)),
            (Some(20), None, None),
            (None, Some(20), None),
        ] {
            let mut list = Denied::default();
            list.add_or_extend(token("t"), known).unwrap();
            list.add_or_extend(token("t"), until).unwrap();
            assert_eq!(list.iter().collect::<Vec<_>>(), [(token("t"), expected)], "{known:?} {until:?}");
        }
    }

    #[test]
    fn a_wrong_line_is_named_and_not_repeated() {
        for wrong in [
            "hunter2",
            "{}",
            "{\"jti\": 7}",
            "{\"jti\": \"\"}",
            "{\"jti\": \"hunter2\", \"sub\": \"hunter2\"}",
            "{\"iss\": \"hunter2\"}",
            "{\"jti\": \"a\", \"iss\": \"\"}",
            "{\"jti\": \"a\\nhunter2\"}",
            "{\"sub\": \"a\", \"iss\": \"\"}",
            "{\"user\": \"hunter2\"}",
            "{\"sub\": \"a\", \"until\": \"2027-01-01\"}",
        ] {
            let error = Denied::parse(&format!("{{\"sub\": \"a\"}}\n{wrong}\n")).unwrap_err();
            assert_eq!(error, BadDenied::Line(2), "{wrong}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_full_list_takes_no_more_and_forgets_what_has_ended() {
        let mut list = Denied::default();
        for number in 0..MAX_DENIED {
            list.add(token(&number.to_string()), Some(number as i64 % 2)).unwrap();
        }
        assert_eq!(list.add(token("more"), None), Err(BadDenied::TooMany));
        list.add(token("0"), None).unwrap();
        list.forget_ended(0);
        list.add(token("more"), None).unwrap();
        assert_eq!(list.iter().count(), MAX_DENIED / 2 + 2);
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_was_denied(
            entries in proptest::collection::vec((0u8..4, 0u8..4, 0u8..4, proptest::option::of(0i64..9)), 0..30),
        ) {
            let mut list = Denied::default();
            for (kind, a, b, until) in entries {
                let name = |number: u8| -> Arc<str> { format!("n{number}").into() };
                let target = match kind {
                    0 => Target::Token { issuer: None, id: name(a) },
                    3 => Target::Token { issuer: Some(name(b)), id: name(a) },
                    1 => Target::User { issuer: None, subject: name(a) },
                    _ => Target::User { issuer: Some(name(b)), subject: name(a) },
                };
                list.add(target, until).unwrap();
            }
            let lines = list.iter().map(|(target, until)| {
                serde_json::to_string(&DeniedLine::of(&target, until)).unwrap() + "\n"
            });
            prop_assert_eq!(Denied::parse(&lines.collect::<String>()), Ok(list.clone()));
            let targets: Vec<Target> = list.iter().map(|(target, _)| target).collect();
            for target in targets {
                prop_assert!(list.remove(&target) && !list.remove(&target));
            }
            prop_assert!(list.is_empty() && list == Denied::default());
        }
    }
}
