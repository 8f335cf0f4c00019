//! Why a row or a whole message is refused. Each reason says what is wrong, where, and how to fix
//! it; none repeats a producer's text, because it might be conversation content.

use std::borrow::Cow;

use thiserror::Error;

use crate::decode::redact;
use crate::limits;

pub use crate::json_kind::JsonKind;

/// One reason for which a row or a message is refused. [`code`](Self::code) is stable, the text is for people.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum Fault {
    /// There are no bytes, or only white space.
    #[error("the message is empty; send one JSON object or an array of them")]
    EmptyMessage,
    /// More bytes than a message may have.
    #[error("the message has {bytes} bytes, {limit} are allowed; send fewer or smaller rows a message")]
    MessageTooLarge {
        /// Bytes found.
        bytes: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// More bytes than a row of an HTTP body may have.
    #[error("the row has {bytes} bytes, {limit} are allowed; send a smaller row")]
    RowTooLarge {
        /// Bytes found.
        bytes: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// No Arrow stream that can be read.
    #[error(
        "not a valid Arrow IPC stream: {what}; write it with a stream writer: one schema, then record batches"
    )]
    InvalidArrow {
        /// What is wrong with it.
        what: String,
    },
    /// A column of an Arrow message that metrics do not have.
    #[error("`{column}` is no column of a metric; put it into `metadata`, or leave it out")]
    UnknownColumn {
        /// Its name.
        column: String,
    },
    /// A column of an Arrow message of a type that is not taken.
    #[error("the column `{column}` must be {expected}, found {found}")]
    WrongColumnType {
        /// The column.
        column: &'static str,
        /// The types it may have.
        expected: &'static str,
        /// Its type.
        found: String,
    },
    /// Texts that the rows of an Arrow message share come to too much when each row has its own.
    #[error(
        "the texts of the rows come to {bytes} bytes when each row has its own, {limit} are allowed; send fewer rows a message"
    )]
    TextsTooLarge {
        /// Bytes found.
        bytes: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// A dictionary of an Arrow message with more values than a message may have rows.
    #[error("a dictionary has {values} values, {limit} are allowed; write only the values that the rows use")]
    DictionaryTooLarge {
        /// Values found.
        values: usize,
        /// Values allowed.
        limit: usize,
    },
    /// More rows than a message may have.
    #[error("the message has more than {limit} rows; send fewer rows a message")]
    TooManyRows {
        /// Rows allowed.
        limit: usize,
    },
    /// Not UTF-8.
    #[error("byte {at} of the message is not UTF-8; encode JSON as UTF-8")]
    InvalidUtf8 {
        /// Bytes before the first wrong one.
        at: usize,
    },
    /// Not JSON.
    #[error("{}", invalid_json(.what, *.field, *.hint))]
    InvalidJson {
        /// What the parser found and where, e.g. `expected value at line 1 column 12`.
        what: String,
        /// The field that was being read, where that is known.
        field: Option<&'static str>,
        /// How to fix it, where the cause is recognised.
        hint: Option<&'static str>,
    },
    /// JSON, but no object where a row must be one.
    #[error("a row must be a JSON object, found {found}")]
    NotAnObject {
        /// What is there instead.
        found: JsonKind,
    },
    /// A field that must be there is not, or is null.
    #[error("`{field}` is missing; every row of this kind needs it")]
    MissingField {
        /// The field.
        field: &'static str,
    },
    /// A field is there twice.
    #[error("{}", duplicate_field(.field))]
    DuplicateField {
        /// The field; inside metadata `metadata.<name>`.
        field: String,
    },
    /// A field holds another kind of JSON value.
    #[error("`{field}` must be {expected}, found {found}")]
    WrongType {
        /// The field.
        field: &'static str,
        /// What it must be, with its article.
        expected: &'static str,
        /// What is there instead.
        found: JsonKind,
    },
    /// A field that must say something is the empty string.
    #[error("`{field}` is empty; give it a name")]
    EmptyField {
        /// The field.
        field: &'static str,
    },
    /// A string longer than its column.
    #[error("`{field}` has {characters} characters, {limit} are allowed; shorten it")]
    TooLong {
        /// The field.
        field: &'static str,
        /// Characters found.
        characters: usize,
        /// Characters allowed.
        limit: usize,
    },
    /// A character that a name may not have.
    #[error("`{field}` may hold only letters, digits and _ . : / -, found U+{:04X} as character {position}", *.character as u32)]
    InvalidName {
        /// The field.
        field: &'static str,
        /// The first wrong character.
        character: char,
        /// Its place, counted from one.
        position: usize,
    },
    /// A control character where none may be.
    #[error("`{field}` holds the control character U+{:04X} as character {position}; remove it", *.character as u32)]
    ControlCharacter {
        /// The field.
        field: &'static str,
        /// The first wrong character.
        character: char,
        /// Its place, counted from one.
        position: usize,
    },
    /// A value that is no finite number of a magnitude the store can hold.
    #[error(
        "`value` must be a finite number between -1e130 and 1e130; leave the row out when there is nothing to measure"
    )]
    ValueOutOfRange,
    /// A timestamp that is neither RFC 3339 nor epoch milliseconds.
    #[error("`{field}` is no time: {reason}")]
    InvalidTimestamp {
        /// The field.
        field: &'static str,
        /// What is wrong with it and how to write it.
        reason: &'static str,
    },
    /// A row without a time, with a field that seems to be it under another name.
    #[error("`{field}` is not read as the time of the row, which has no other; send it as `{expected}`")]
    MisnamedTime {
        /// The field.
        field: String,
        /// The name of the time.
        expected: &'static str,
    },
    /// Older than anything that is kept.
    #[error("{}", too_old(.0))]
    TooOld(TimeFault),
    /// Further in the future than a wrong clock explains.
    #[error("{}", too_far_in_future(.0))]
    TooFarInFuture(TimeFault),
    /// A severity that does not exist.
    #[error("`severity` must be one of low, medium, high, critical, in lower case")]
    UnknownSeverity,
    /// An event's id that is no UUID.
    #[error(
        "`id` of an event must be a UUID other than nil, best a UUIDv7; leave it out to have one derived"
    )]
    InvalidId,
    /// Metadata larger than it may be.
    #[error(
        "`metadata` with the unknown fields has {bytes} bytes, {limit} are allowed; send less beside the columns"
    )]
    MetadataTooLarge {
        /// Bytes found.
        bytes: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Objects or arrays within one another beyond all need.
    #[error("`{field}` is nested deeper than {} levels; flatten it", limits::METADATA_DEPTH)]
    TooDeep {
        /// The field.
        field: String,
    },
    /// More unknown fields than a row may carry.
    #[error("the row has more than {} unknown fields; put them into `metadata`", limits::UNKNOWN_FIELDS)]
    TooManyFields,
    /// A field that carries what was said in a conversation, which Kelly never stores.
    #[error("`{field}` would carry conversation content, which is never stored; send the row without it")]
    ConversationContent {
        /// The field in its producer's spelling, behind the names of the fields it stands in: `metadata.a.content`.
        field: String,
    },
    /// A row of an account that its sender may not record for, or of none where the sender is limited to some. Over HTTP
    /// only: who writes to the log itself is not limited.
    #[error(
        "`account_id` is missing or not an account that you may record for; send each row with one of your accounts"
    )]
    AccountNotPermitted,
}

impl Fault {
    /// The stable name of the reason, for dead letters, the API and dashboards.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::EmptyMessage => "empty_message",
            Self::MessageTooLarge { .. } => "message_too_large",
            Self::RowTooLarge { .. } => "row_too_large",
            Self::InvalidArrow { .. } => "invalid_arrow",
            Self::UnknownColumn { .. } => "unknown_column",
            Self::WrongColumnType { .. } => "wrong_column_type",
            Self::TextsTooLarge { .. } => "texts_too_large",
            Self::DictionaryTooLarge { .. } => "dictionary_too_large",
            Self::TooManyRows { .. } => "too_many_rows",
            Self::InvalidUtf8 { .. } => "invalid_utf8",
            Self::InvalidJson { .. } => "invalid_json",
            Self::NotAnObject { .. } => "not_an_object",
            Self::MissingField { .. } => "missing_field",
            Self::DuplicateField { .. } => "duplicate_field",
            Self::WrongType { .. } => "wrong_type",
            Self::EmptyField { .. } => "empty_field",
            Self::TooLong { .. } => "too_long",
            Self::InvalidName { .. } => "invalid_name",
            Self::ControlCharacter { .. } => "control_character",
            Self::ValueOutOfRange => "value_out_of_range",
            Self::InvalidTimestamp { .. } => "invalid_timestamp",
            Self::MisnamedTime { .. } => "misnamed_time",
            Self::TooOld(_) => "too_old",
            Self::TooFarInFuture(_) => "too_far_in_future",
            Self::UnknownSeverity => "unknown_severity",
            Self::InvalidId => "invalid_id",
            Self::MetadataTooLarge { .. } => "metadata_too_large",
            Self::TooDeep { .. } => "too_deep",
            Self::TooManyFields => "too_many_fields",
            Self::ConversationContent { .. } => "conversation_content",
            Self::AccountNotPermitted => "account_not_permitted",
        }
    }

    /// The field at fault, where it is one field; for the API's list of bad rows.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::InvalidJson { field, .. } => *field,
            Self::MissingField { field }
            | Self::WrongType { field, .. }
            | Self::EmptyField { field }
            | Self::TooLong { field, .. }
            | Self::InvalidName { field, .. }
            | Self::ControlCharacter { field, .. }
            | Self::InvalidTimestamp { field, .. } => Some(field),
            Self::UnknownColumn { column } => Some(column),
            Self::WrongColumnType { column, .. } => Some(column),
            Self::DuplicateField { field }
            | Self::MisnamedTime { field, .. }
            | Self::TooDeep { field }
            | Self::ConversationContent { field } => Some(field),
            Self::TooOld(time) | Self::TooFarInFuture(time) => Some(time.field),
            Self::ValueOutOfRange => Some("value"),
            Self::UnknownSeverity => Some("severity"),
            Self::InvalidId => Some("id"),
            Self::AccountNotPermitted => Some("account_id"),
            Self::MetadataTooLarge { .. } => Some("metadata"),
            Self::EmptyMessage
            | Self::MessageTooLarge { .. }
            | Self::RowTooLarge { .. }
            | Self::InvalidArrow { .. }
            | Self::TextsTooLarge { .. }
            | Self::DictionaryTooLarge { .. }
            | Self::TooManyRows { .. }
            | Self::InvalidUtf8 { .. }
            | Self::NotAnObject { .. }
            | Self::TooManyFields => None,
        }
    }
}

/// A time outside the bounds of its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeFault {
    /// The field it came from.
    pub field: &'static str,
    /// The time, ms since the epoch.
    pub found_ms: i64,
    /// The bound it breaks, ms since the epoch: the log's time of the record less or plus what is allowed.
    pub bound_ms: i64,
    /// The unit the number seems to be in, when it is a number and would be right in another unit.
    pub seems: Option<&'static str>,
}

/// A refused row, or a refused message: its reason and its bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Reject<'a> {
    /// The reason.
    pub fault: Fault,
    /// The bytes of that row, or of the message when its rows could not be separated. Of an Arrow message, whose
    /// rows have no bytes of their own, the row as JSON.
    pub bytes: Cow<'a, [u8]>,
    /// Whether the bytes may carry conversation content and must not be kept as they are.
    pub redact: bool,
}

impl<'a> Reject<'a> {
    /// Looks the bytes through for content before anybody can keep them.
    pub(crate) fn new(fault: Fault, bytes: &'a [u8]) -> Self {
        let redact = matches!(fault, Fault::ConversationContent { .. }) || redact::names_content(bytes);
        Self { fault, bytes: Cow::Borrowed(bytes), redact }
    }

    /// Keeps a rendering of what has no bytes of its own, looked through likewise.
    pub(crate) fn rendered(fault: Fault, bytes: Vec<u8>) -> Self {
        let redact = matches!(fault, Fault::ConversationContent { .. }) || redact::names_content(&bytes);
        Self { fault, bytes: Cow::Owned(bytes), redact }
    }

    /// The bytes a dead letter may keep: as they came, or redacted.
    #[must_use]
    pub fn kept_bytes(&self) -> Cow<'_, [u8]> {
        if self.redact { Cow::Owned(redact::redacted(&self.bytes)) } else { Cow::Borrowed(&self.bytes) }
    }
}

fn invalid_json(what: &str, field: Option<&str>, hint: Option<&str>) -> String {
    let mut text = format!("not valid JSON: {what}");
    if let Some(field) = field {
        text.push_str(", in `");
        text.push_str(field);
        text.push('`');
    }
    if let Some(hint) = hint {
        text.push_str("; ");
        text.push_str(hint);
    }
    text
}

fn duplicate_field(field: &str) -> String {
    let advice = match field.strip_prefix("metadata.") {
        Some(_) => "send it once, in `metadata` or beside it",
        None if matches!(field, "timestamp" | "created_at") => {
            "send the time once; `timestamp` and `created_at` are two names of it"
        }
        None => "send each field once",
    };
    format!("`{field}` is there more than once; {advice}")
}

fn too_old(fault: &TimeFault) -> String {
    let TimeFault { field, found_ms, bound_ms, seems } = fault;
    let (found, bound) = (readable(*found_ms), readable(*bound_ms));
    match seems {
        Some(unit) => format!(
            "the time in `{field}` is {found}, older than {bound}; the number seems to be {unit}, send milliseconds"
        ),
        None => format!("the time in `{field}` is {found}, older than {bound}, before which nothing is kept"),
    }
}

fn too_far_in_future(fault: &TimeFault) -> String {
    let TimeFault { field, found_ms, bound_ms, seems } = fault;
    let (found, bound) = (readable(*found_ms), readable(*bound_ms));
    match seems {
        Some(unit) => format!(
            "the time in `{field}` is {found}, later than {bound}; the number seems to be {unit}, send milliseconds"
        ),
        None => format!(
            "the time in `{field}` is {found}, later than {bound}; check the producer's clock and time zone"
        ),
    }
}

/// RFC 3339 where the calendar reaches, else the bare number.
fn readable(epoch_ms: i64) -> String {
    match chrono::DateTime::from_timestamp_millis(epoch_ms) {
        Some(time) => time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        None => format!("{epoch_ms} ms after 1970"),
    }
}
