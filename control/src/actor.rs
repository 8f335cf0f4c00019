//! Who acts.

use serde::{Deserialize, Serialize};

/// What kind of somebody it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    /// A person who is signed in.
    Person,
    /// A rule that acts by itself.
    Rule,
    /// The evaluator of rules: what it says comes from the data.
    Evaluator,
    /// The process that runs a conversation.
    Worker,
    /// Kelly itself.
    System,
}

impl ActorKind {
    /// A word for it that does not change.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Rule => "rule",
            Self::Evaluator => "evaluator",
            Self::Worker => "worker",
            Self::System => "system",
        }
    }
}

/// Who wrote a command. The API fills it in from the token; a caller cannot choose it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Actor {
    /// What kind of somebody.
    pub kind: ActorKind,
    /// The token's subject, the rule's name, the instance.
    pub id: String,
    /// The role under which it acts.
    #[serde(default)]
    pub role: Option<String>,
}

impl Actor {
    /// A person.
    #[must_use]
    pub fn person(id: impl Into<String>) -> Self {
        Self { kind: ActorKind::Person, id: id.into(), role: None }
    }

    /// Kelly itself.
    #[must_use]
    pub fn system() -> Self {
        Self { kind: ActorKind::System, id: "kelly".into(), role: None }
    }

    /// Whether it is the same somebody, whatever the role it acts under.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.kind == other.kind && self.id == other.id
    }
}

/// Who did something, and when the log had it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct By {
    /// Who.
    pub actor: Actor,
    /// Log time.
    pub at_ms: i64,
    /// Where on the log.
    pub offset: u64,
}
