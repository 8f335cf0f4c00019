//! What an alert is about, and where on the log a row stood.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What an alert is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Entity {
    /// Whom it is about.
    pub subject: Subject,
    /// The metric, where one rule watches several: that of metrics' own thresholds, and of wrong configuration what is wrong.
    pub part: Box<str>,
}

/// Whom an alert is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// Everything together.
    Global,
    /// An account.
    Account(Box<str>),
    /// A conversation.
    Conversation(Box<str>),
}

/// A subject whose name is borrowed, to look one up without an allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum SubjectRef<'a> {
    Global,
    Account(&'a str),
    Conversation(&'a str),
}

impl Subject {
    pub(crate) fn borrowed(&self) -> SubjectRef<'_> {
        match self {
            Self::Global => SubjectRef::Global,
            Self::Account(id) => SubjectRef::Account(id),
            Self::Conversation(id) => SubjectRef::Conversation(id),
        }
    }
}

impl SubjectRef<'_> {
    pub(crate) fn to_owned(self) -> Subject {
        match self {
            Self::Global => Subject::Global,
            Self::Account(id) => Subject::Account(id.into()),
            Self::Conversation(id) => Subject::Conversation(id.into()),
        }
    }
}

impl Entity {
    /// Everything together.
    #[must_use]
    pub fn global() -> Self {
        Self { subject: Subject::Global, part: "".into() }
    }

    /// Whether it is a conversation, which may end without anything being wrong.
    #[must_use]
    pub const fn is_conversation(&self) -> bool {
        matches!(self.subject, Subject::Conversation(_))
    }
}

impl fmt::Display for Entity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.subject {
            Subject::Global if self.part.is_empty() => f.write_str("everything")?,
            Subject::Global => {}
            Subject::Account(id) => write!(f, "account {id}")?,
            Subject::Conversation(id) => write!(f, "conversation {id}")?,
        }
        match (&self.subject, &*self.part) {
            (_, "") => Ok(()),
            (Subject::Global, part) => f.write_str(part),
            (_, part) => write!(f, ", {part}"),
        }
    }
}

/// Where a row stood on the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The partition of its topic.
    pub partition: u32,
    /// The offset of its message.
    pub offset: i64,
    /// Its number in the message.
    pub row: u32,
}

/// Up to where of each partition a state has had its rows, so that a row that comes again changes nothing. As many as the log
/// has partitions at most; of a series there is one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Places {
    first: Option<Place>,
    more: Vec<Place>,
}

impl Places {
    /// Notes a row; `false` when it was had before.
    pub fn take(&mut self, place: Place) -> bool {
        let known = match &mut self.first {
            None => {
                self.first = Some(place);
                return true;
            }
            Some(first) if first.partition == place.partition => first,
            Some(_) => match self.more.iter_mut().find(|known| known.partition == place.partition) {
                Some(known) => known,
                None => {
                    self.more.push(place);
                    return true;
                }
            },
        };
        let is_new = (place.offset, place.row) > (known.offset, known.row);
        if is_new {
            *known = place;
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_had_once() {
        let mut places = Places::default();
        let place = |partition, offset, row| Place { partition, offset, row };
        assert!(places.take(place(1, 5, 0)));
        assert!(!places.take(place(1, 5, 0)));
        assert!(places.take(place(1, 5, 1)), "the next row of the message");
        assert!(places.take(place(2, 1, 0)), "another partition");
        assert!(!places.take(place(1, 4, 9)) && !places.take(place(2, 1, 0)));
        assert!(places.take(place(2, 2, 0)) && places.take(place(1, 6, 0)));
    }

    #[test]
    fn entities_are_named_for_people() {
        let name = |subject, part: &str| Entity { subject, part: part.into() }.to_string();
        assert_eq!(name(Subject::Global, ""), "everything");
        assert_eq!(name(Subject::Global, "m"), "m");
        assert_eq!(name(Subject::Account("a".into()), ""), "account a");
        assert_eq!(name(Subject::Conversation("c".into()), "m"), "conversation c, m");
    }
}
