//! What of the state is kept under which name.

use std::fmt;

/// The name of a part of the state.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// A dead letter. Before threads in order: where a change is written in pieces, a message is rather there twice than lost.
    Dead(String),
    /// A destination.
    Destination(String),
    /// A thread.
    Thread(String),
    /// How far the control log is read. Last in order: what was read is kept before it is said so.
    Position,
}

impl fmt::Display for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dead(id) => write!(out, "dead/{id}"),
            Self::Destination(id) => write!(out, "destination/{id}"),
            Self::Thread(id) => write!(out, "thread/{id}"),
            Self::Position => out.write_str("position"),
        }
    }
}

impl Key {
    /// Reads a name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text == "position" {
            return Some(Self::Position);
        }
        let (kind, id) = text.split_once('/')?;
        let id = id.to_owned();
        match kind {
            "dead" => Some(Self::Dead(id)),
            "destination" => Some(Self::Destination(id)),
            "thread" => Some(Self::Thread(id)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_can_be_read_and_are_in_order() {
        let keys =
            [Key::Dead("a".into()), Key::Destination("b/c".into()), Key::Thread("d".into()), Key::Position];
        assert!(keys.is_sorted());
        for key in keys {
            assert_eq!(Key::parse(&key.to_string()), Some(key));
        }
        assert_eq!(Key::parse("else/a"), None);
    }
}
