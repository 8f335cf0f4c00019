//! What parameters may be: for each kind of value the texts it takes and the schema that says so.

use chrono::{DateTime, Utc};
use kelly_live::{MAX_POSITION_BYTES, MAX_ROOMS, Room, UnknownRoom};
use kelly_query::comparison::Compare;
use kelly_query::feed::{DEFAULT_LIMIT, MAX_LIMIT};
use kelly_query::groups::{GroupBy, Order, OrderBy};
use kelly_query::limits::{MAX_METRICS, MAX_TOP};
use kelly_query::range::{AMBIGUOUS_MILLISECONDS, LATEST_MILLISECONDS, parse_instant};
use kelly_query::{ExportFormat, QueryError, Timeframe, parse_step, step_names};
use kelly_schemas::Severity;
use kelly_schemas::limits::{CONVERSATION_ID_CHARACTERS, EVENT_TYPE_CHARACTERS, METRIC_NAME_CHARACTERS};
use serde_json::json;
use utoipa::PartialSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{
    AnyOfBuilder, ArrayBuilder, KnownFormat, ObjectBuilder, Schema, SchemaFormat, SchemaType, Type,
};

use super::{Value, echo};
use crate::files::{FILE_FORMS, FileForm};
use crate::log_levels::{LogComponent, LogLevel};

/// Every character but the control characters, as a regular expression of JSON Schema.
const NO_CONTROL_CHARACTERS: &str = "^[^\\u0000-\\u001f\\u007f-\\u009f]+$";
/// A metric's name, as one.
const METRIC_NAME: &str = "^[A-Za-z0-9_.:/-]+$";
/// Longer than any cursor this server gives out.
const MAX_CURSOR_CHARACTERS: usize = 1_024;

/// A text that may stand in a row, of so many characters at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identifier<const MAX_CHARACTERS: usize>(pub(crate) String);

/// The type of an event.
pub(crate) type EventType = Identifier<EVENT_TYPE_CHARACTERS>;
/// Where live push goes on.
pub(crate) type LivePosition = Identifier<MAX_POSITION_BYTES>;
/// Where a page of a feed goes on.
pub(crate) type Cursor = Identifier<MAX_CURSOR_CHARACTERS>;

impl<const MAX_CHARACTERS: usize> Value for Identifier<MAX_CHARACTERS> {
    fn parse(text: &str) -> Result<Self, String> {
        if text.chars().count() > MAX_CHARACTERS {
            return Err(format!("is longer than {MAX_CHARACTERS} characters; no stored value is"));
        }
        if text.chars().any(char::is_control) {
            return Err("holds a control character; no stored value does".to_owned());
        }
        Ok(Self(text.to_owned()))
    }

    fn schema() -> RefOr<Schema> {
        string(MAX_CHARACTERS, NO_CONTROL_CHARACTERS).into()
    }
}

/// The id of a destination of notifications.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DestinationId(pub(crate) String);

/// Longest id of a destination.
const DESTINATION_CHARACTERS: usize = 100;

impl Value for DestinationId {
    fn parse(text: &str) -> Result<Self, String> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if text.is_empty() || text.len() > DESTINATION_CHARACTERS || !text.bytes().all(allowed) {
            return Err(format!(
                "(`{}`) is no id of a destination: those have 1 to {DESTINATION_CHARACTERS} letters, digits and `._-`",
                echo(text)
            ));
        }
        Ok(Self(text.to_owned()))
    }

    fn schema() -> RefOr<Schema> {
        string(DESTINATION_CHARACTERS, "^[A-Za-z0-9._-]+$").into()
    }

    fn example() -> Option<serde_json::Value> {
        Some(json!("slack-ops"))
    }
}

/// The id of a message that was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MessageId(pub(crate) String);

/// Length of the id of a message.
const MESSAGE_ID_CHARACTERS: usize = 32;

impl Value for MessageId {
    fn parse(text: &str) -> Result<Self, String> {
        let allowed = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != MESSAGE_ID_CHARACTERS || !text.bytes().all(allowed) {
            return Err(format!(
                "(`{}`) is no id of a message: those have {MESSAGE_ID_CHARACTERS} digits and letters from a to f",
                echo(text)
            ));
        }
        Ok(Self(text.to_owned()))
    }

    fn schema() -> RefOr<Schema> {
        string(MESSAGE_ID_CHARACTERS, "^[0-9a-f]{32}$").into()
    }

    fn example() -> Option<serde_json::Value> {
        Some(json!("3f2a9c04b1d84e77a0c5e6f1d2b3a498"))
    }
}

/// The name of a metric. One that could never have been recorded is a mistake, not an empty answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MetricName(pub(crate) String);

impl Value for MetricName {
    fn parse(text: &str) -> Result<Self, String> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:/-".contains(&byte);
        if text.is_empty() || !text.bytes().all(allowed) {
            return Err(format!(
                "(`{}`) is no name of a metric; names have letters, digits and `_.:/-`",
                echo(text)
            ));
        }
        if text.len() > METRIC_NAME_CHARACTERS {
            return Err(format!("is longer than {METRIC_NAME_CHARACTERS} characters; no metric's name is"));
        }
        Ok(Self(text.to_owned()))
    }

    fn schema() -> RefOr<Schema> {
        string(METRIC_NAME_CHARACTERS, METRIC_NAME).into()
    }

    fn example() -> Option<serde_json::Value> {
        Some(json!("ai_confidence"))
    }
}

/// Several names of metrics. Their number and that each is different is for the question to check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MetricNames(pub(crate) Vec<String>);

impl Value for MetricNames {
    const IS_LIST: bool = true;
    const MISSING: &str = "is missing; give the names of metrics with commas between them";

    fn parse(text: &str) -> Result<Self, String> {
        let names: Result<_, _> =
            text.split(',').map(|name| MetricName::parse(name).map(|name| name.0)).collect();
        names.map(Self)
    }

    fn schema() -> RefOr<Schema> {
        ArrayBuilder::new()
            .items(MetricName::schema())
            .min_items(Some(1))
            .max_items(Some(MAX_METRICS))
            .unique_items(true)
            .into()
    }

    fn example() -> Option<serde_json::Value> {
        Some(json!(["ai_confidence", "response_time"]))
    }
}

/// Names of rooms of live push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RoomNames(pub(crate) Vec<Room>);

impl Value for RoomNames {
    const IS_LIST: bool = true;
    const MISSING: &str = "is missing; give the names of rooms with commas between them";

    fn parse(text: &str) -> Result<Self, String> {
        let mut rooms: Vec<Room> = Vec::new();
        for (number, name) in text.split(',').enumerate() {
            if number >= MAX_ROOMS {
                return Err(format!("names more than {MAX_ROOMS} rooms, as many as a connection is in"));
            }
            let room = name.parse().map_err(|error: UnknownRoom| format!("names {error}"))?;
            if !rooms.contains(&room) {
                rooms.push(room);
            }
        }
        Ok(Self(rooms))
    }

    fn schema() -> RefOr<Schema> {
        let named = Room::NAMED.map(|room| room.name()).join("|");
        let conversation = format!(
            "conversation(_alerts)?:[^,\\u0000-\\u001f\\u007f-\\u009f]{{1,{CONVERSATION_ID_CHARACTERS}}}"
        );
        let name = ObjectBuilder::new()
            .schema_type(SchemaType::new(Type::String))
            .pattern(Some(format!("^({named}|{conversation})$")));
        ArrayBuilder::new().items(name).min_items(Some(1)).max_items(Some(MAX_ROOMS)).into()
    }

    fn example() -> Option<serde_json::Value> {
        Some(json!(["activity_feed"]))
    }
}

/// Values whose texts and schema the question itself has.
macro_rules! values_of_questions {
    ($($kind:ty, example $example:expr;)*) => {$(
        impl Value for $kind {
            fn parse(text: &str) -> Result<Self, String> {
                text.parse().map_err(reason)
            }

            fn schema() -> RefOr<Schema> {
                <Self as PartialSchema>::schema()
            }

            fn example() -> Option<serde_json::Value> {
                $example
            }
        }
    )*};
}

values_of_questions! {
    Timeframe, example Some(json!("24h"));
    Compare, example None;
    GroupBy, example None;
    OrderBy, example None;
    Order, example None;
}

/// A point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Instant(pub(crate) DateTime<Utc>);

impl Value for Instant {
    fn parse(text: &str) -> Result<Self, String> {
        parse_instant(text).map(Self)
    }

    fn schema() -> RefOr<Schema> {
        let number = || ObjectBuilder::new().schema_type(SchemaType::new(Type::Number));
        AnyOfBuilder::new()
            .item(string_of_format(KnownFormat::DateTime))
            .item(
                number()
                    .description(Some(
                        "Milliseconds since 1970. A number that would be seconds, microseconds or nanoseconds of our time is refused.",
                    ))
                    .exclusive_minimum(Some(*AMBIGUOUS_MILLISECONDS.end()))
                    .maximum(Some(LATEST_MILLISECONDS)),
            )
            .item(
                number()
                    .description(Some("Milliseconds since 1970, of its first days."))
                    .minimum(Some(0.0))
                    .exclusive_maximum(Some(*AMBIGUOUS_MILLISECONDS.start())),
            )
            .into()
    }
}

/// How long a point of a series is, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step(pub(crate) u32);

impl Value for Step {
    fn parse(text: &str) -> Result<Self, String> {
        parse_step(text).map(Self).map_err(reason)
    }

    fn schema() -> RefOr<Schema> {
        one_of(step_names())
    }
}

/// How many groups to show. Whether they are too many is for the question to check, which names the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Top(pub(crate) u32);

impl Value for Top {
    fn parse(text: &str) -> Result<Self, String> {
        whole_number(text)
            .map(Self)
            .ok_or_else(|| "is no whole number; give how many groups to show".to_owned())
    }

    fn schema() -> RefOr<Schema> {
        integer(1, MAX_TOP)
    }
}

/// How many events a page has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PageSize(pub(crate) u32);

impl Value for PageSize {
    fn parse(text: &str) -> Result<Self, String> {
        whole_number(text).filter(|limit| (1..=MAX_LIMIT).contains(limit)).map(Self).ok_or_else(|| {
            format!(
                "(`{}`) must be a whole number from 1 to {MAX_LIMIT}; without it a page has {DEFAULT_LIMIT}",
                echo(text)
            )
        })
    }

    fn schema() -> RefOr<Schema> {
        integer(1, MAX_LIMIT)
    }

    fn example() -> Option<serde_json::Value> {
        Some(json!(DEFAULT_LIMIT))
    }
}

impl Value for Severity {
    fn parse(text: &str) -> Result<Self, String> {
        Self::parse(text).ok_or_else(|| {
            let allowed = Self::ALL.map(Self::as_str).join(", ");
            format!("(`{}`) is none of {allowed}", echo(text))
        })
    }

    fn schema() -> RefOr<Schema> {
        <Self as PartialSchema>::schema()
    }
}

/// The form of what is only answered as a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileFormat(pub(crate) ExportFormat);

impl Value for FileFormat {
    fn parse(text: &str) -> Result<Self, String> {
        FileForm::named(text)
            .map(|form| Self(form.format))
            .ok_or_else(|| format!("(`{}`) is none of {}", echo(text), file_formats().join(", ")))
    }

    fn schema() -> RefOr<Schema> {
        one_of(file_formats())
    }

    fn example() -> Option<serde_json::Value> {
        Some(json!("csv"))
    }
}

/// The form of what is answered as JSON or as a file; `None` is JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AnswerFormat(pub(crate) Option<ExportFormat>);

impl Value for AnswerFormat {
    fn parse(text: &str) -> Result<Self, String> {
        match (text, FileForm::named(text)) {
            ("json", _) => Ok(Self(None)),
            (_, Some(form)) => Ok(Self(Some(form.format))),
            (_, None) => Err(format!("(`{}`) is none of {}, json", echo(text), file_formats().join(", "))),
        }
    }

    fn schema() -> RefOr<Schema> {
        one_of(file_formats().into_iter().chain(["json"]))
    }
}

/// Yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flag(pub(crate) bool);

impl Value for Flag {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "true" => Ok(Self(true)),
            "false" => Ok(Self(false)),
            _ => Err(format!("(`{}`) is neither true nor false", echo(text))),
        }
    }

    fn schema() -> RefOr<Schema> {
        one_of(["true", "false"])
    }
}

/// The code of a problem; whether there is one of that name is the route's to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProblemCode(pub(crate) String);

impl Value for ProblemCode {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(Self(text.to_owned()))
    }

    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(SchemaType::new(Type::String)).min_length(Some(1)).into()
    }

    fn example() -> Option<serde_json::Value> {
        Some(json!("log_full"))
    }
}

/// Values that are one of a few names.
macro_rules! values_by_name {
    ($($kind:ty, example $example:literal;)*) => {$(
        impl Value for $kind {
            fn parse(text: &str) -> Result<Self, String> {
                Self::named(text).ok_or_else(|| {
                    let names: Vec<&str> = Self::ALL.iter().map(|known| known.as_str()).collect();
                    format!("(`{}`) is none of {}", echo(text), names.join(", "))
                })
            }

            fn schema() -> RefOr<Schema> {
                one_of(Self::ALL.iter().map(|known| known.as_str()))
            }

            fn example() -> Option<serde_json::Value> {
                Some(json!($example))
            }
        }
    )*};
}

values_by_name! {
    LogComponent, example "api";
    LogLevel, example "debug";
}

/// For how many seconds a level is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LevelSeconds(pub(crate) u32);

/// An hour: who looks longer says so again.
const MOST_LEVEL_SECONDS: u32 = 3_600;

impl Value for LevelSeconds {
    fn parse(text: &str) -> Result<Self, String> {
        whole_number(text).filter(|seconds| (1..=MOST_LEVEL_SECONDS).contains(seconds)).map(Self).ok_or_else(
            || format!("(`{}`) must be a whole number from 1 to {MOST_LEVEL_SECONDS}", echo(text)),
        )
    }

    fn schema() -> RefOr<Schema> {
        integer(1, MOST_LEVEL_SECONDS)
    }
}

fn file_formats() -> Vec<&'static str> {
    FILE_FORMS.iter().map(|form| form.name).collect()
}

/// The reason of a wrong parameter alone: its name stands beside it.
fn reason(error: QueryError) -> String {
    match error {
        QueryError::BadParameter { problem, .. } => problem,
        other => other.to_string(),
    }
}

/// A number as JSON writes it: no sign, no leading zero.
fn whole_number(text: &str) -> Option<u32> {
    let is_canonical = text == "0" || !text.starts_with(['0', '+']);
    text.parse().ok().filter(|_| is_canonical)
}

fn string(max_characters: usize, pattern: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(SchemaType::new(Type::String))
        .min_length(Some(1))
        .max_length(Some(max_characters))
        .pattern(Some(pattern))
}

fn string_of_format(format: KnownFormat) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(SchemaType::new(Type::String))
        .format(Some(SchemaFormat::KnownFormat(format)))
}

fn integer(least: u32, most: u32) -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(SchemaType::new(Type::Integer))
        .minimum(Some(least))
        .maximum(Some(most))
        .into()
}

pub(super) fn one_of<T: Into<serde_json::Value>>(names: impl IntoIterator<Item = T>) -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(SchemaType::new(Type::String))
        .enum_values(Some(names.into_iter().map(Into::into).collect::<Vec<serde_json::Value>>()))
        .into()
}
