//! One row: the walk over its fields, the same for every kind of row. A kind says what its columns are
//! ([`Draft`]); unknown fields, repeated ones, content and the order of faults are settled here.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::metadata::{Aside, Extra, shown};
use super::origin::Origin;
use super::parser_error::described;
use super::redact::content_field;
use super::timestamp::{self, is_other_time_name};
use super::value::{KeySeed, Text, TextSeed, kind};
use crate::check::{self, GivenTime};
use crate::fault::{Fault, JsonKind};
use crate::limits::UNKNOWN_FIELDS;

/// The columns of one kind of row.
pub(super) trait Column: Copy {
    /// The one of a name.
    fn of_name(name: &str) -> Option<Self>;

    /// Its name.
    fn name(self) -> &'static str;

    /// A bit of its own, and none of [`METADATA_BIT`].
    fn bit(self) -> u32;
}

/// The field every kind of row has besides its columns.
const METADATA: &str = "metadata";

/// Its bit among those of the columns.
pub(super) const METADATA_BIT: u32 = 1 << 31;

/// A row being read. What it reads is checked at once; what follows from other fields or from the log waits
/// for [`finish`](Self::finish).
pub(super) trait Draft<'a>: Default {
    /// What it becomes.
    type Row;

    /// Its columns.
    type Column: Column;

    /// The name of its time.
    const TIME: &'static str;

    /// Whether it says when it happened.
    fn has_time(&self) -> bool;

    /// Reads the value of a column.
    fn read<A: MapAccess<'a>>(
        &mut self,
        column: Self::Column,
        fields: &mut Fields<'_, A>,
    ) -> ReadResult<A::Error>;

    /// Makes the row.
    fn finish(self, metadata: Cow<'a, str>, place: &Place<'_>) -> Result<Self::Row, Fault>;
}

/// The outer error ends the message, the inner one is the row's.
pub(super) type ReadResult<E> = Result<Result<(), Fault>, E>;

/// Where a row stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'o> {
    /// Its message.
    pub(super) origin: &'o Origin<'o>,
    /// Its number in the message.
    pub(super) row: u32,
}

impl Place<'_> {
    /// The given time if it is within the bounds; without one the log's.
    pub(super) fn time_or_log(&self, given: Option<GivenTime>) -> Result<i64, Fault> {
        match given {
            Some(given) => check::time(given, self.origin),
            None => Ok(self.origin.log_time_ms),
        }
    }
}

/// The value at hand, for a [`Draft`] to read.
pub(super) struct Fields<'m, A> {
    map: &'m mut A,
    field: &'static str,
}

impl<'a, A: MapAccess<'a>> Fields<'_, A> {
    /// The name of the field.
    pub(super) fn field(&self) -> &'static str {
        self.field
    }

    /// Reads a string that `check` allows; `None` for null.
    pub(super) fn text(
        &mut self,
        target: &mut Option<Cow<'a, str>>,
        check: impl FnOnce(&'static str, &str) -> Result<(), Fault>,
    ) -> ReadResult<A::Error> {
        let field = self.field;
        Ok(match self.map.next_value_seed(TextSeed)? {
            Text::Is(text) => check(field, &text).map(|()| *target = Some(text)),
            Text::Null => Ok(()),
            Text::Other(found) => Err(Fault::WrongType { field, expected: "a string", found }),
        })
    }

    /// Reads a time; `None` for null. It has two names, and a row may use one of them.
    pub(super) fn time(&mut self, target: &mut Option<GivenTime>) -> ReadResult<A::Error> {
        let field = self.field;
        let read = timestamp::read(field, self.raw()?);
        Ok(read.and_then(|time| match (time, &target) {
            (Some(_), Some(_)) => Err(Fault::DuplicateField { field: field.to_owned() }),
            (Some(time), None) => {
                *target = Some(GivenTime { field, epoch_ms: time.epoch_ms, numeric: time.numeric });
                Ok(())
            }
            (None, _) => Ok(()),
        }))
    }

    /// Reads any value as its text.
    pub(super) fn raw(&mut self) -> Result<&'a RawValue, A::Error> {
        self.map.next_value()
    }
}

/// Decodes the text of one row.
pub(super) fn decode<'a, D: Draft<'a>>(text: &'a str, place: Place<'_>) -> Result<D::Row, Fault> {
    let reading = Cell::new(None);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let seed = RowSeed::<D> { place, reading: &reading, draft: PhantomData };
    seed.deserialize(&mut deserializer)
        .and_then(|row| deserializer.end().map(|()| row))
        .unwrap_or_else(|error| Err(invalid_json(&error, reading.get(), text)))
}

/// The fault of a text that is no JSON, with advice where the cause is a usual one.
pub(super) fn invalid_json(error: &serde_json::Error, field: Option<&'static str>, text: &str) -> Fault {
    let what = described(error, text);
    let hint = if field == Some("value") && (text.contains("NaN") || text.contains("Infinity")) {
        Some("JSON has neither NaN nor Infinity; leave the row out when there is nothing to measure")
    } else if what.starts_with("trailing characters") {
        Some("several rows in one message go into an array")
    } else if error.is_eof() {
        Some("the message breaks off; was it cut to a size?")
    } else {
        None
    };
    Fault::InvalidJson { what, field, hint }
}

/// Reads one row from the middle of a message.
pub(super) struct RowSeed<'o, D> {
    /// Where the row stands.
    pub(super) place: Place<'o>,
    /// Set to the known field being read, for the fault of a message that breaks off there.
    pub(super) reading: &'o Cell<Option<&'static str>>,
    /// The kind of row.
    pub(super) draft: PhantomData<D>,
}

impl<'de, D: Draft<'de>> DeserializeSeed<'de> for RowSeed<'_, D> {
    type Value = Result<D::Row, Fault>;

    fn deserialize<T: Deserializer<'de>>(self, deserializer: T) -> Result<Self::Value, T::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, D: Draft<'de>> Visitor<'de> for RowSeed<'_, D> {
    type Value = Result<D::Row, Fault>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut draft = D::default();
        let mut aside = Aside::default();
        let mut faults = Faults::default();
        let mut seen = 0_u32;
        while let Some(name) = map.next_key_seed(KeySeed)? {
            let column = D::Column::of_name(&name);
            let (field, bit) = match column {
                Some(column) => (column.name(), column.bit()),
                None if name == METADATA => (METADATA, METADATA_BIT),
                None => {
                    let value: &RawValue = map.next_value()?;
                    faults.note(set_aside(&mut aside, name, value));
                    continue;
                }
            };
            self.reading.set(Some(field));
            if seen & bit != 0 {
                map.next_value::<IgnoredAny>()?;
                faults.note(Err(Fault::DuplicateField { field: field.to_owned() }));
            } else if let Some(column) = column {
                faults.note(draft.read(column, &mut Fields { map: &mut map, field })?);
            } else {
                aside.metadata = Some(map.next_value()?);
            }
            seen |= bit;
            self.reading.set(None);
        }
        if !draft.has_time() {
            faults.note(refuse_other_time(&aside, D::TIME));
        }
        let metadata = match aside.into_text(self.place.origin.limits.max_metadata_bytes) {
            Ok(metadata) => metadata,
            Err(fault) => {
                faults.note(Err(fault));
                Cow::Borrowed("")
            }
        };
        Ok(match faults.worst() {
            Some(fault) => Err(fault),
            None => draft.finish(metadata, &self.place),
        })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Err(Fault::NotAnObject { found: JsonKind::Array }))
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(Err(Fault::NotAnObject { found: JsonKind::String }))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Err(Fault::NotAnObject { found: JsonKind::Boolean }))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Err(Fault::NotAnObject { found: JsonKind::Number }))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Err(Fault::NotAnObject { found: JsonKind::Number }))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Err(Fault::NotAnObject { found: JsonKind::Number }))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Err(Fault::NotAnObject { found: JsonKind::Null }))
    }
}

/// Keeps an unknown field for the metadata.
fn set_aside<'a>(aside: &mut Aside<'a>, name: Cow<'a, str>, value: &'a RawValue) -> Result<(), Fault> {
    if content_field(&name).is_some() {
        return Err(Fault::ConversationContent { field: shown(&name) });
    }
    if aside.extras.iter().any(|(other, _)| *other == name) {
        return Err(Fault::DuplicateField { field: shown(&name) });
    }
    if aside.extras.len() == UNKNOWN_FIELDS {
        return Err(Fault::TooManyFields);
    }
    aside.extras.push((name, value));
    Ok(())
}

/// Refuses a row that would count for the time of its arrival although it says its own, under another name.
fn refuse_other_time(aside: &Aside<'_>, expected: &'static str) -> Result<(), Fault> {
    let is_time = |(name, value): &&Extra<'_>| is_other_time_name(name) && kind(value) != JsonKind::Null;
    match aside.extras.iter().find(is_time) {
        None => Ok(()),
        Some((name, _)) => Err(Fault::MisnamedTime { field: shown(name), expected }),
    }
}

/// The one fault that is reported of a row: content before anything else, since nothing may carry it further;
/// otherwise the first.
#[derive(Default)]
struct Faults {
    first: Option<Fault>,
}

impl Faults {
    fn note(&mut self, outcome: Result<(), Fault>) {
        let Err(fault) = outcome else { return };
        let is_content = matches!(fault, Fault::ConversationContent { .. });
        let has_content = matches!(self.first, Some(Fault::ConversationContent { .. }));
        if self.first.is_none() || (is_content && !has_content) {
            self.first = Some(fault);
        }
    }

    fn worst(self) -> Option<Fault> {
        self.first
    }
}
