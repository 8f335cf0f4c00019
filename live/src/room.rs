//! The rooms there are: what each carries, to whom, and how.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use kelly_auth::Permission;
use kelly_schemas::limits::CONVERSATION_ID_CHARACTERS;
use serde::Serialize;
use utoipa::ToSchema;

/// Rooms of one connection, and of one message. At it: the message is refused.
pub const MAX_ROOMS: usize = 32;

/// How a conversation's room begins; its id follows.
const CONVERSATION_PREFIX: &str = "conversation:";

/// How the room of a conversation's alerts begins; its id follows.
const CONVERSATION_ALERTS_PREFIX: &str = "conversation_alerts:";

/// Something that can be subscribed to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Room {
    /// The figures of the dashboard.
    Dashboard,
    /// Activity events.
    ActivityFeed,
    /// What the user has read of them.
    ReadState,
    /// Alerts.
    Alerts,
    /// Who takes conversations over and hands them back.
    Interventions,
    /// Emergency actions.
    Emergency,
    /// The activity events of one conversation.
    Conversation(Arc<str>),
    /// The alerts of one conversation.
    ConversationAlerts(Arc<str>),
}

/// What becomes of messages that a connection is too slow for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Only the newest counts: older ones are left out.
    NewestOnly,
    /// Every one counts: none is left out.
    EveryOne,
}

/// Which log a room is fed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Feeding {
    /// The topic of activity events.
    Activity,
    /// The control log, as far as it is about alerts.
    Alerts,
}

/// Where a room's messages come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// The figures of the overview.
    Figures,
    /// A log that is followed.
    Log(Feeding),
    /// What the user has read.
    Reading,
    /// Nothing yet.
    Nothing {
        /// What it waits for, as the rest of a sentence.
        waits_for: &'static str,
    },
}

impl Room {
    /// The rooms that have a name of their own.
    pub const NAMED: [Self; 6] = [
        Self::Dashboard,
        Self::ActivityFeed,
        Self::ReadState,
        Self::Alerts,
        Self::Interventions,
        Self::Emergency,
    ];

    /// The room of a conversation.
    ///
    /// # Errors
    /// When no conversation can have this id.
    pub fn conversation(id: &str) -> Result<Self, UnknownRoom> {
        if is_conversation(id) { Ok(Self::Conversation(id.into())) } else { Err(UnknownRoom) }
    }

    /// The room of a conversation's alerts.
    ///
    /// # Errors
    /// When no conversation can have this id.
    pub fn conversation_alerts(id: &str) -> Result<Self, UnknownRoom> {
        if is_conversation(id) { Ok(Self::ConversationAlerts(id.into())) } else { Err(UnknownRoom) }
    }

    /// Its name in messages.
    #[must_use]
    pub fn name(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Dashboard => "monitoring_dashboard",
            Self::ActivityFeed => "activity_feed",
            Self::ReadState => "read_state",
            Self::Alerts => "alerts_monitoring",
            Self::Interventions => "interventions_monitoring",
            Self::Emergency => "emergency_monitoring",
            Self::Conversation(id) => return Cow::Owned(format!("{CONVERSATION_PREFIX}{id}")),
            Self::ConversationAlerts(id) => {
                return Cow::Owned(format!("{CONVERSATION_ALERTS_PREFIX}{id}"));
            }
        })
    }

    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Dashboard | Self::ReadState => Kind::NewestOnly,
            Self::ActivityFeed
            | Self::Alerts
            | Self::Interventions
            | Self::Emergency
            | Self::Conversation(_)
            | Self::ConversationAlerts(_) => Kind::EveryOne,
        }
    }

    /// What a caller must be permitted to be in it.
    #[must_use]
    pub const fn permission(&self) -> Permission {
        match self {
            Self::Dashboard => Permission::ReadMetrics,
            Self::ActivityFeed | Self::ReadState | Self::Conversation(_) => Permission::ReadActivity,
            Self::Alerts | Self::ConversationAlerts(_) => Permission::ReadAlerts,
            Self::Interventions => Permission::ReadInterventions,
            Self::Emergency => Permission::ReadEmergency,
        }
    }

    pub(crate) const fn source(&self) -> Source {
        match self {
            Self::Dashboard => Source::Figures,
            Self::ActivityFeed | Self::Conversation(_) => Source::Log(Feeding::Activity),
            Self::Alerts | Self::ConversationAlerts(_) => Source::Log(Feeding::Alerts),
            Self::ReadState => Source::Reading,
            Self::Interventions => {
                Source::Nothing { waits_for: "this version of Kelly has no interventions yet" }
            }
            Self::Emergency => {
                Source::Nothing { waits_for: "this version of Kelly has no emergency actions yet" }
            }
        }
    }

    pub(crate) fn conversation_id(&self) -> Option<&Arc<str>> {
        match self {
            Self::Conversation(id) | Self::ConversationAlerts(id) => Some(id),
            _ => None,
        }
    }
}

fn is_conversation(id: &str) -> bool {
    !id.is_empty() && id.chars().count() <= CONVERSATION_ID_CHARACTERS && !id.chars().any(char::is_control)
}

impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

/// A name that is no room's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "no such room; there are {}, {CONVERSATION_PREFIX}ID for a conversation, and {CONVERSATION_ALERTS_PREFIX}ID for its alerts",
    Room::NAMED.map(|room| room.name()).join(", ")
)]
pub struct UnknownRoom;

impl FromStr for Room {
    type Err = UnknownRoom;

    fn from_str(name: &str) -> Result<Self, UnknownRoom> {
        if let Some(id) = name.strip_prefix(CONVERSATION_ALERTS_PREFIX) {
            return Self::conversation_alerts(id);
        }
        match name.strip_prefix(CONVERSATION_PREFIX) {
            Some(id) => Self::conversation(id),
            None => Self::NAMED.into_iter().find(|room| room.name() == name).ok_or(UnknownRoom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_is_known_by_its_name_and_by_nothing_else() {
        let of_one = [Room::Conversation("a:b c".into()), Room::ConversationAlerts("a:b c".into())];
        for room in Room::NAMED.into_iter().chain(of_one) {
            assert_eq!(room.name().parse(), Ok(room.clone()));
        }
        let long = format!("conversation:{}", "x".repeat(101));
        for name in ["", "activity", "Activity_feed", "conversation:", "conversation:a\nb", &long] {
            assert_eq!(name.parse::<Room>(), Err(UnknownRoom), "{name}");
        }
    }

    #[test]
    fn only_figures_and_what_is_read_may_be_left_out() {
        let newest: Vec<Room> =
            Room::NAMED.into_iter().filter(|room| room.kind() == Kind::NewestOnly).collect();
        assert_eq!(newest, [Room::Dashboard, Room::ReadState]);
    }
}
