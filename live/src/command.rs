//! What a client sends: read strictly, answered with what was wrong.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::position::{Position, Positions};
use crate::room::{MAX_ROOMS, Room};

/// Longest id of a message. At it: the message is refused.
const MAX_ID_CHARACTERS: usize = 64;

/// A message of a client, as it is written.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
#[schema(as = LiveClientMessage)]
pub enum ClientMessage {
    /// Enter rooms, or enter them again at a position.
    Subscribe {
        /// Comes back with the answer.
        #[serde(default)]
        id: Option<MessageId>,
        /// Names of rooms.
        #[schema(example = json!(["activity_feed"]))]
        rooms: Vec<String>,
        /// Positions to go on at, by room.
        #[serde(default)]
        #[schema(example = json!({"activity_feed": {"epoch": "5f0c9a7be1d24c31", "offsets": [124, 46]}}))]
        resume: BTreeMap<String, Position>,
    },
    /// Leave rooms.
    Unsubscribe {
        /// Comes back with the answer.
        #[serde(default)]
        id: Option<MessageId>,
        /// Names of rooms.
        rooms: Vec<String>,
    },
    /// Ask for the figures now.
    GetMetrics {
        /// Comes back with the answer.
        #[serde(default)]
        id: Option<MessageId>,
    },
    /// Ask whether the server is there.
    Ping {
        /// Comes back with the answer.
        #[serde(default)]
        id: Option<MessageId>,
    },
    /// Go on under a newer token of the same user.
    RefreshToken {
        /// Comes back with the answer.
        #[serde(default)]
        id: Option<MessageId>,
        /// The token.
        #[schema(value_type = String, format = Password)]
        token: Token,
    },
}

/// What a client calls a message: a text or a whole number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
#[schema(as = LiveMessageId)]
pub enum MessageId {
    /// A text.
    Text(String),
    /// A number.
    Number(i64),
}

/// A token on its way to be verified. Never shown.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Token(String);

impl Token {
    /// The token itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// A message of a client, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// What the client calls it.
    pub id: Option<MessageId>,
    /// What is to be done.
    pub what: Request,
}

/// What a client wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// To be in these rooms.
    Subscribe(Vec<Resume>),
    /// To leave these.
    Unsubscribe(Vec<Room>),
    /// The figures.
    GetMetrics,
    /// An answer.
    Ping,
    /// To go on under another token.
    RefreshToken(Token),
}

/// A room to enter, and where to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resume {
    /// The room.
    pub room: Room,
    /// Where to go on; `None` begins with a snapshot.
    pub at: Option<Position>,
}

/// Why a message was not obeyed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// What the client calls the message, where that could be read.
    pub id: Option<MessageId>,
    /// Stable code.
    pub code: MistakeCode,
    /// What was wrong and what is right.
    pub detail: String,
}

/// Codes of mistakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = LiveMistakeCode)]
pub enum MistakeCode {
    /// The message is not one of those there are.
    MalformedMessage,
    /// There is no such room.
    UnknownRoom,
    /// The connection is in too many rooms.
    TooManyRooms,
    /// The token does not permit it.
    Forbidden,
    /// The new token was not accepted.
    TokenRefused,
    /// The figures cannot be had at the moment.
    FiguresUnavailable,
    /// An earlier message is still on its way.
    Busy,
}

impl MistakeCode {
    /// Whether the same message may succeed later without anybody changing anything.
    #[must_use]
    pub const fn is_temporary(self) -> bool {
        matches!(self, Self::FiguresUnavailable | Self::Busy)
    }
}

/// Reads a message.
///
/// # Errors
/// What is wrong with it.
pub fn parse(text: &str) -> Result<Command, Mistake> {
    let message: ClientMessage = serde_json::from_str(text).map_err(|error| Mistake {
        id: id_of(text),
        code: MistakeCode::MalformedMessage,
        // serde's words name fields and types, and of values only those of unknown names.
        detail: format!("the message is not understood: {}", without_values(&error)),
    })?;
    let (id, what) = match message {
        ClientMessage::Subscribe { id, rooms, resume } => (id, subscribe(rooms, resume)),
        ClientMessage::Unsubscribe { id, rooms } => (id, rooms_of(rooms).map(Request::Unsubscribe)),
        ClientMessage::GetMetrics { id } => (id, Ok(Request::GetMetrics)),
        ClientMessage::Ping { id } => (id, Ok(Request::Ping)),
        ClientMessage::RefreshToken { id, token } => (id, Ok(Request::RefreshToken(token))),
    };
    let refuse = |(code, detail)| Mistake { id: id.clone(), code, detail };
    if let Some(MessageId::Text(text)) = &id
        && text.chars().count() > MAX_ID_CHARACTERS
    {
        let detail = format!("an id has at most {MAX_ID_CHARACTERS} characters");
        return Err(Mistake { id: None, code: MistakeCode::MalformedMessage, detail });
    }
    let what = what.map_err(refuse)?;
    Ok(Command { id, what })
}

type Refusal = (MistakeCode, String);

fn subscribe(rooms: Vec<String>, resume: BTreeMap<String, Position>) -> Result<Request, Refusal> {
    let rooms = rooms_of(rooms)?;
    let mut positions = Positions::new();
    for (name, position) in resume {
        let room = room_of(&name)?;
        if !rooms.contains(&room) {
            let detail = "`resume` names a room that `rooms` does not".to_owned();
            return Err((MistakeCode::MalformedMessage, detail));
        }
        positions.insert(room, position);
    }
    let entered = rooms.into_iter().map(|room| {
        let at = positions.remove(&room);
        Resume { room, at }
    });
    Ok(Request::Subscribe(entered.collect()))
}

fn rooms_of(names: Vec<String>) -> Result<Vec<Room>, Refusal> {
    if names.is_empty() {
        return Err((MistakeCode::MalformedMessage, "`rooms` names no room".to_owned()));
    }
    if names.len() > MAX_ROOMS {
        let detail = format!("a connection is in at most {MAX_ROOMS} rooms");
        return Err((MistakeCode::TooManyRooms, detail));
    }
    let mut rooms = Vec::with_capacity(names.len());
    for name in names {
        let room = room_of(&name)?;
        if !rooms.contains(&room) {
            rooms.push(room);
        }
    }
    Ok(rooms)
}

fn room_of(name: &str) -> Result<Room, Refusal> {
    name.parse().map_err(|error: crate::UnknownRoom| (MistakeCode::UnknownRoom, error.to_string()))
}

/// The id of a message that is wrong otherwise.
fn id_of(text: &str) -> Option<MessageId> {
    #[derive(Deserialize)]
    struct OnlyId {
        id: MessageId,
    }
    let OnlyId { id } = serde_json::from_str(text).ok()?;
    Some(id).filter(|id| !matches!(id, MessageId::Text(text) if text.chars().count() > MAX_ID_CHARACTERS))
}

/// serde quotes names that it does not know between back-quotes, and texts of a wrong type between quotation marks: a
/// token in the wrong place would be among the latter.
fn without_values(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match (text.find('"'), text.rfind('"')) {
        (Some(first), Some(last)) if first < last => format!("{}…{}", &text[..=first], &text[last..]),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::Place;

    fn command(text: &str) -> Command {
        parse(text).unwrap_or_else(|mistake| panic!("{text}: {mistake:?}"))
    }

    #[test]
    fn the_messages_of_the_specification_are_understood() {
        let at = |room| Resume { room, at: None };
        assert_eq!(
            command(r#"{"type":"subscribe","rooms":["alerts_monitoring","activity_feed"]}"#),
            Command { id: None, what: Request::Subscribe(vec![at(Room::Alerts), at(Room::ActivityFeed)]) }
        );
        assert_eq!(command(r#"{"type":"get_metrics"}"#).what, Request::GetMetrics);
        assert_eq!(command(r#"{"type":"ping","id":7}"#).id, Some(MessageId::Number(7)));
        let resumed = command(
            r#"{"id":"a","type":"subscribe","rooms":["activity_feed"],
                "resume":{"activity_feed":{"epoch":"e","offsets":[124,{"offset":46,"row":1}]}}}"#,
        );
        let position =
            Position { epoch: "e".into(), offsets: vec![Place::at(124), Place { offset: 46, row: 1 }] };
        let expected = vec![Resume { room: Room::ActivityFeed, at: Some(position) }];
        assert_eq!(resumed.what, Request::Subscribe(expected));
        assert_eq!(resumed.id, Some(MessageId::Text("a".into())));
    }

    #[test]
    fn what_is_wrong_is_said_with_the_id() {
        let rooms = |count: usize| {
            let names: Vec<String> = (0..count).map(|number| format!("\"conversation:{number}\"")).collect();
            format!(r#"{{"id":"i","type":"subscribe","rooms":[{}]}}"#, names.join(","))
        };
        let (few, many) = (rooms(MAX_ROOMS), rooms(MAX_ROOMS + 1));
        command(&few);
        let cases = [
            (r#"{"id":"i","type":"shout"}"#, MistakeCode::MalformedMessage),
            (r#"{"id":"i"}"#, MistakeCode::MalformedMessage),
            (r#"{"id":"i","type":"subscribe"}"#, MistakeCode::MalformedMessage),
            (r#"{"id":"i","type":"subscribe","rooms":[]}"#, MistakeCode::MalformedMessage),
            (r#"{"id":"i","type":"ping","room":"x"}"#, MistakeCode::MalformedMessage),
            (r#"{"id":"i","type":"subscribe","rooms":["nowhere"]}"#, MistakeCode::UnknownRoom),
            (
                r#"{"id":"i","type":"subscribe","rooms":["activity_feed"],"resume":{"alerts_monitoring":{"epoch":"e","offsets":[]}}}"#,
                MistakeCode::MalformedMessage,
            ),
            (&many, MistakeCode::TooManyRooms),
        ];
        for (text, code) in cases {
            let mistake = parse(text).unwrap_err();
            assert_eq!((mistake.code, mistake.id), (code, Some(MessageId::Text("i".into()))), "{text}");
        }
        for text in ["", "[]", "hello", r#"{"id":{},"type":"shout"}"#] {
            let mistake = parse(text).unwrap_err();
            assert_eq!((mistake.code, mistake.id), (MistakeCode::MalformedMessage, None), "{text}");
        }
    }

    #[test]
    fn a_token_shows_nowhere() {
        let secret = "eyJhbGciOi";
        let sent = command(&format!(r#"{{"type":"refresh_token","token":"{secret}"}}"#));
        assert!(!format!("{sent:?}").contains(secret));
        let Request::RefreshToken(token) = sent.what else { panic!("another message") };
        assert_eq!(token.reveal(), secret);
        for wrong in [
            format!(r#"{{"type":"get_metrics","token":"{secret}"}}"#),
            format!(r#"{{"type":"subscribe","rooms":"{secret}"}}"#),
            format!(r#"{{"type":"refresh_token","token":["{secret}"]}}"#),
            format!(r#"{{"type":"unsubscribe","rooms":["{secret}"]}}"#),
            format!(r#""{secret}""#),
        ] {
            let mistake = parse(&wrong).unwrap_err();
            assert!(!format!("{mistake:?}").contains(secret), "{mistake:?}");
        }
    }
}
