//! Where in a room a connection is: what it says to go on there, on any instance.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::room::{MAX_ROOMS, Room};

/// The next event of a partition: everything before it has been seen. A record of the log may hold several events, so
/// beside the record's offset there may be a row. Written as the offset alone where the row is the first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct Place {
    /// Offset of the record.
    pub offset: u64,
    /// Row in the record.
    pub row: u32,
}

impl Place {
    /// The first row of a record.
    #[must_use]
    pub const fn at(offset: u64) -> Self {
        Self { offset, row: 0 }
    }
}

/// The next event of a partition: the offset of its record, with a row where it is not the first of the record.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
enum Written {
    /// The first row of the record at this offset.
    Offset(u64),
    /// A later row of it.
    Row {
        /// Offset of the record.
        offset: u64,
        /// Row in the record, from 0.
        row: u32,
    },
}

impl PartialSchema for Place {
    fn schema() -> RefOr<Schema> {
        Written::schema()
    }
}

impl ToSchema for Place {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("LivePlace")
    }
}

impl From<Written> for Place {
    fn from(written: Written) -> Self {
        match written {
            Written::Offset(offset) => Self::at(offset),
            Written::Row { offset, row } => Self { offset, row },
        }
    }
}

impl From<Place> for Written {
    fn from(Place { offset, row }: Place) -> Self {
        if row == 0 { Self::Offset(offset) } else { Self::Row { offset, row } }
    }
}

/// A position in a room that is fed from a topic: a place a partition, under the epoch of the topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = LivePosition)]
pub struct Position {
    /// Names one life of what feeds the room; under another one offsets mean something else.
    #[schema(example = "5f0c9a7be1d24c31")]
    pub epoch: String,
    /// The next event of each partition, by partition.
    #[schema(example = json!([124, 46]))]
    pub offsets: Vec<Place>,
}

/// Positions in several rooms.
pub type Positions = BTreeMap<Room, Position>;

/// A text that is no list of positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a position: it is written room,room=EPOCH:OFFSET,OFFSET;room=…, as the server wrote it")]
pub struct UnreadablePosition;

/// Most bytes of a text of positions: what fits into a URL of 64 KiB, for 32 rooms with the longest names there are, all at one
/// place in 1,000 partitions. What is longer is not written, so that nobody comes back with what is not read.
pub const MAX_POSITION_BYTES: usize = 60 * 1024;

/// Positions as one line of visible ASCII: `activity_feed,conversation%3a7=5f0c:124,46.2;conversation%3a8=5f0c:90,12`. Rooms at the
/// same place, as most are, stand together. `None` where the text would be longer than [`Position::read_all`] takes.
#[must_use]
pub fn to_text(positions: &Positions) -> Option<String> {
    let mut groups: Vec<(&Position, String)> = Vec::new();
    for (room, position) in positions {
        match groups.iter_mut().find(|(other, _)| *other == position) {
            Some((_, rooms)) => {
                rooms.push(',');
                escape(&room.name(), rooms);
            }
            None => {
                let mut rooms = String::new();
                escape(&room.name(), &mut rooms);
                groups.push((position, rooms));
            }
        }
    }
    let mut text = String::new();
    for (position, rooms) in groups {
        if !text.is_empty() {
            text.push(';');
        }
        text.push_str(&rooms);
        text.push('=');
        escape(&position.epoch, &mut text);
        text.push(':');
        for (number, place) in position.offsets.iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            // Writing to a string does not fail.
            let _ = match place.row {
                0 => write!(text, "{comma}{}", place.offset),
                row => write!(text, "{comma}{}.{row}", place.offset),
            };
        }
        if text.len() > MAX_POSITION_BYTES {
            return None;
        }
    }
    Some(text)
}

impl Position {
    /// Reads what a server-sent event had as its id.
    ///
    /// # Errors
    /// When the text is none.
    pub fn read_all(text: &str) -> Result<Positions, UnreadablePosition> {
        if text.len() > MAX_POSITION_BYTES {
            return Err(UnreadablePosition);
        }
        let mut positions = Positions::new();
        for group in text.split(';').filter(|group| !group.is_empty()) {
            let (rooms, position) = group.split_once('=').ok_or(UnreadablePosition)?;
            let position = Self::read_one(position)?;
            for room in rooms.split(',') {
                // Each has a copy of its own, so that a short text must not make many.
                if positions.len() == MAX_ROOMS {
                    return Err(UnreadablePosition);
                }
                let room = unescape(room)?.parse().map_err(|_| UnreadablePosition)?;
                positions.insert(room, position.clone());
            }
        }
        Ok(positions)
    }

    fn read_one(text: &str) -> Result<Self, UnreadablePosition> {
        let (epoch, offsets) = text.split_once(':').ok_or(UnreadablePosition)?;
        let offsets: Option<Vec<Place>> = match offsets {
            "" => Some(Vec::new()),
            offsets => offsets.split(',').map(read_place).collect(),
        };
        Ok(Self { epoch: unescape(epoch)?, offsets: offsets.ok_or(UnreadablePosition)? })
    }
}

fn read_place(text: &str) -> Option<Place> {
    match text.split_once('.') {
        None => text.parse().ok().map(Place::at),
        Some((offset, row)) => Some(Place { offset: offset.parse().ok()?, row: row.parse().ok()? }),
    }
}

/// Everything but letters, digits and a few signs as `%` and two hexadecimal digits a byte.
fn escape(text: &str, into: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => into.push(char::from(byte)),
            other => {
                // Writing to a string does not fail.
                let _ = write!(into, "%{other:02x}");
            }
        }
    }
}

fn unescape(text: &str) -> Result<String, UnreadablePosition> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                let (high, low) = digit().zip(digit()).ok_or(UnreadablePosition)?;
                // Two hexadecimal digits are a byte.
                (high * 16 + low) as u8
            }
            other => other,
        });
    }
    String::from_utf8(bytes).map_err(|_| UnreadablePosition)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_place_is_its_offset_where_it_can_be() {
        let places = vec![Place::at(124), Place { offset: 46, row: 2 }];
        let text = serde_json::to_string(&places).unwrap();
        assert_eq!(text, r#"[124,{"offset":46,"row":2}]"#);
        assert_eq!(serde_json::from_str::<Vec<Place>>(&text).unwrap(), places);
        assert!(Place::at(46) < places[1] && places[1] < Place::at(47));
    }

    #[test]
    fn positions_are_one_line() {
        let positions = Positions::from([
            (
                Room::ActivityFeed,
                Position {
                    epoch: "5f0c".into(),
                    offsets: vec![Place::at(124), Place { offset: 46, row: 2 }],
                },
            ),
            (
                Room::Conversation("a=b;c\u{e9}".into()),
                Position { epoch: "5f0c".into(), offsets: Vec::new() },
            ),
        ]);
        let text = to_text(&positions).unwrap();
        assert_eq!(text, "activity_feed=5f0c:124,46.2;conversation%3aa%3db%3bc%c3%a9=5f0c:");
        assert_eq!(Position::read_all(&text), Ok(positions));
        assert_eq!(Position::read_all(""), Ok(Positions::new()));
        for wrong in [
            "x",
            "activity_feed",
            "activity_feed=1",
            "nowhere=1:2",
            "activity_feed=1:x",
            "activity_feed=1:1.x",
            "activity_feed=%1:1",
            "activity_feed,=1:1",
            ",activity_feed=1:1",
        ] {
            assert_eq!(Position::read_all(wrong), Err(UnreadablePosition), "{wrong}");
        }
    }

    /// As many rooms as there may be, with the longest names there are, on a log of many partitions.
    #[test]
    fn the_longest_position_of_rooms_that_keep_up_is_read_back() {
        let offsets: Vec<Place> = (0..1_000).map(|number| Place::at(10_000_000_000 + number)).collect();
        let position = Position { epoch: "5f0c9a7be1d24c31".into(), offsets };
        let name = |number: usize| format!("{}{number:02}", "\u{1f600}".repeat(98));
        let rooms = (0..MAX_ROOMS).map(|number| Room::conversation(&name(number)).unwrap());
        let positions: Positions = rooms.map(|room| (room, position.clone())).collect();
        let text = to_text(&positions).expect("it is written");
        assert_eq!(Position::read_all(&text), Ok(positions.clone()));
        // Where each is at another place it would be too long to be read: it is not written.
        let mut apart = positions;
        for (number, position) in apart.values_mut().enumerate() {
            position.offsets[0] = Place::at(number as u64);
        }
        assert_eq!(to_text(&apart), None);
        let many: Vec<String> = (0..=MAX_ROOMS).map(|number| format!("conversation%3a{number}")).collect();
        assert_eq!(Position::read_all(&format!("{}=1:1", many.join(","))), Err(UnreadablePosition));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            rooms in prop::collection::vec(("[^\\p{Cc}]{1,20}", 0..3usize), 0..6),
            epoch in "[0-9a-f]{1,16}",
            offsets in prop::collection::vec((any::<u64>(), any::<u32>()), 0..5),
        ) {
            let offsets = offsets.into_iter().map(|(offset, row)| Place { offset, row });
            let places: Vec<Vec<Place>> = vec![offsets.clone().collect(), offsets.rev().collect(), Vec::new()];
            let position = |place: usize| Position { epoch: epoch.clone(), offsets: places[place].clone() };
            let positions: Positions =
                rooms.iter().map(|(id, place)| (Room::conversation(id).unwrap(), position(*place))).collect();
            let text = to_text(&positions).unwrap();
            prop_assert!(text.bytes().all(|byte| byte.is_ascii_graphic()));
            prop_assert_eq!(Position::read_all(&text), Ok(positions));
        }

        #[test]
        fn reading_never_panics(text in any::<String>()) {
            let _ = Position::read_all(&text);
        }
    }
}
