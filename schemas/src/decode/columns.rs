//! The columns of each kind of row.

use std::borrow::Cow;

use serde::de::MapAccess;
use uuid::Uuid;

use super::row::{Column, Draft, Fields, Place, ReadResult};
use super::value::kind;
use crate::activity::{Activity, DEFAULT_CATEGORY, Severity};
use crate::catalogue::Catalogue;
use crate::check::{self, GivenTime};
use crate::fault::{Fault, JsonKind};
use crate::ids::derived_event_id;
use crate::limits;
use crate::metric::Metric;

/// The columns of a kind of row, each with its name. The name is looked for by a match, because it is asked for every
/// field.
macro_rules! columns {
    ($(#[$about:meta])* $columns:ident { $($column:ident = $name:literal,)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum $columns {
            $($column,)*
        }

        impl Column for $columns {
            fn of_name(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$column),)*
                    _ => None,
                }
            }

            fn name(self) -> &'static str {
                match self {
                    $(Self::$column => $name,)*
                }
            }

            fn bit(self) -> u32 {
                1 << self as u32
            }
        }

        #[cfg(test)]
        impl $columns {
            const ALL: &[Self] = &[$(Self::$column,)*];
        }
    };
}

columns! {
    /// The columns of a metric.
    MetricColumn {
        AccountId = "account_id",
        ConversationId = "conversation_id",
        UserId = "user_id",
        MetricName = "metric_name",
        MetricType = "metric_type",
        Value = "value",
        Timestamp = "timestamp",
        CreatedAt = "created_at",
    }
}

columns! {
    /// The columns of an event.
    ActivityColumn {
        AccountId = "account_id",
        ConversationId = "conversation_id",
        UserId = "user_id",
        Id = "id",
        EventType = "event_type",
        Title = "title",
        Description = "description",
        Severity = "severity",
        Category = "category",
        CreatedAt = "created_at",
        Timestamp = "timestamp",
    }
}

/// A metric being read.
#[derive(Default)]
pub(super) struct MetricDraft<'a> {
    metric_name: Option<Cow<'a, str>>,
    metric_type: Option<Cow<'a, str>>,
    value: Option<f64>,
    timestamp: Option<GivenTime>,
    about: About<'a>,
}

impl<'a> Draft<'a> for MetricDraft<'a> {
    type Row = Metric<'a>;

    type Column = MetricColumn;

    const TIME: &'static str = "timestamp";

    fn has_time(&self) -> bool {
        self.timestamp.is_some()
    }

    fn read<A: MapAccess<'a>>(
        &mut self,
        column: MetricColumn,
        fields: &mut Fields<'_, A>,
    ) -> ReadResult<A::Error> {
        match column {
            MetricColumn::AccountId => self.about.account_id(fields),
            MetricColumn::ConversationId => self.about.conversation_id(fields),
            MetricColumn::UserId => self.about.user_id(fields),
            MetricColumn::MetricName => fields.text(&mut self.metric_name, |field, text| {
                check::name(field, text, limits::METRIC_NAME_CHARACTERS)
            }),
            MetricColumn::MetricType => fields.text(&mut self.metric_type, |field, text| {
                check::optional_name(field, text, limits::METRIC_TYPE_CHARACTERS)
            }),
            MetricColumn::Value => read_value(fields, &mut self.value),
            MetricColumn::Timestamp | MetricColumn::CreatedAt => fields.time(&mut self.timestamp),
        }
    }

    fn finish(self, metadata: Cow<'a, str>, place: &Place<'_>) -> Result<Metric<'a>, Fault> {
        let metric_name = self.metric_name.ok_or(Fault::MissingField { field: "metric_name" })?;
        let value = self.value.ok_or(Fault::MissingField { field: "value" })?;
        let timestamp_ms = place.time_or_log(self.timestamp)?;
        let metric_type = match self.metric_type.filter(|text| !text.is_empty()) {
            Some(metric_type) => metric_type,
            None => Cow::Borrowed(Catalogue::builtin().kind_of(&metric_name).as_str()),
        };
        let About { account_id, conversation_id, user_id } = self.about;
        Ok(Metric {
            metric_name,
            metric_type,
            value,
            timestamp_ms,
            account_id: account_id.unwrap_or_default(),
            conversation_id: conversation_id.unwrap_or_default(),
            user_id: user_id.unwrap_or_default(),
            metadata,
        })
    }
}

/// An event being read.
#[derive(Default)]
pub(super) struct ActivityDraft<'a> {
    id: Option<Uuid>,
    event_type: Option<Cow<'a, str>>,
    title: Option<Cow<'a, str>>,
    description: Option<Cow<'a, str>>,
    severity: Option<Severity>,
    category: Option<Cow<'a, str>>,
    created_at: Option<GivenTime>,
    about: About<'a>,
}

impl<'a> Draft<'a> for ActivityDraft<'a> {
    type Row = Activity<'a>;

    type Column = ActivityColumn;

    const TIME: &'static str = "created_at";

    fn has_time(&self) -> bool {
        self.created_at.is_some()
    }

    fn read<A: MapAccess<'a>>(
        &mut self,
        column: ActivityColumn,
        fields: &mut Fields<'_, A>,
    ) -> ReadResult<A::Error> {
        match column {
            ActivityColumn::AccountId => self.about.account_id(fields),
            ActivityColumn::ConversationId => self.about.conversation_id(fields),
            ActivityColumn::UserId => self.about.user_id(fields),
            ActivityColumn::Id => read_parsed(fields, &mut self.id, |text| {
                // With hyphens or without, as the JSON Schema says; the library also reads braces and URNs.
                let is_plain = matches!(text.len(), 32 | 36);
                Uuid::try_parse(text).ok().filter(|id| is_plain && !id.is_nil()).ok_or(Fault::InvalidId)
            }),
            ActivityColumn::EventType => fields.text(&mut self.event_type, |field, text| {
                check::name(field, text, limits::EVENT_TYPE_CHARACTERS)
            }),
            ActivityColumn::Title => fields.text(&mut self.title, |field, text| {
                if text.is_empty() {
                    return Err(Fault::EmptyField { field });
                }
                check::label(field, text, limits::TITLE_CHARACTERS)
            }),
            ActivityColumn::Description => fields.text(&mut self.description, |field, text| {
                check::lines(field, text, limits::DESCRIPTION_CHARACTERS)
            }),
            ActivityColumn::Severity => read_parsed(fields, &mut self.severity, |text| {
                Severity::parse(text).ok_or(Fault::UnknownSeverity)
            }),
            ActivityColumn::Category => fields.text(&mut self.category, |field, text| {
                check::label(field, text, limits::CATEGORY_CHARACTERS)
            }),
            ActivityColumn::CreatedAt | ActivityColumn::Timestamp => fields.time(&mut self.created_at),
        }
    }

    fn finish(self, metadata: Cow<'a, str>, place: &Place<'_>) -> Result<Activity<'a>, Fault> {
        let event_type = self.event_type.ok_or(Fault::MissingField { field: "event_type" })?;
        let title = self.title.ok_or(Fault::MissingField { field: "title" })?;
        let created_at_ms = place.time_or_log(self.created_at.or_else(|| self.id.and_then(time_in_id)))?;
        let origin = place.origin;
        let id = self.id.unwrap_or_else(|| {
            derived_event_id(origin.log_time_ms, origin.partition, origin.offset, place.row)
        });
        let category = self.category.filter(|text| !text.is_empty());
        let About { account_id, conversation_id, user_id } = self.about;
        Ok(Activity {
            id,
            event_type,
            title,
            description: self.description.unwrap_or_default(),
            account_id: account_id.unwrap_or_default(),
            conversation_id: conversation_id.unwrap_or_default(),
            user_id: user_id.unwrap_or_default(),
            severity: self.severity.unwrap_or_default(),
            category: category.unwrap_or(Cow::Borrowed(DEFAULT_CATEGORY)),
            created_at_ms,
            metadata,
        })
    }
}

/// Who a row is about: the columns every kind has.
#[derive(Default)]
struct About<'a> {
    account_id: Option<Cow<'a, str>>,
    conversation_id: Option<Cow<'a, str>>,
    user_id: Option<Cow<'a, str>>,
}

impl<'a> About<'a> {
    fn account_id<A: MapAccess<'a>>(&mut self, fields: &mut Fields<'_, A>) -> ReadResult<A::Error> {
        label(&mut self.account_id, limits::ACCOUNT_ID_CHARACTERS, fields)
    }

    fn conversation_id<A: MapAccess<'a>>(&mut self, fields: &mut Fields<'_, A>) -> ReadResult<A::Error> {
        label(&mut self.conversation_id, limits::CONVERSATION_ID_CHARACTERS, fields)
    }

    fn user_id<A: MapAccess<'a>>(&mut self, fields: &mut Fields<'_, A>) -> ReadResult<A::Error> {
        label(&mut self.user_id, limits::USER_ID_CHARACTERS, fields)
    }
}

fn label<'a, A: MapAccess<'a>>(
    target: &mut Option<Cow<'a, str>>,
    limit: usize,
    fields: &mut Fields<'_, A>,
) -> ReadResult<A::Error> {
    fields.text(target, |field, text| check::label(field, text, limit))
}

/// Reads a number by the standard library's parser, which rounds correctly: what was measured is what is stored.
fn read_value<'a, A: MapAccess<'a>>(
    fields: &mut Fields<'_, A>,
    target: &mut Option<f64>,
) -> ReadResult<A::Error> {
    let field = fields.field();
    let raw = fields.raw()?;
    Ok(match kind(raw) {
        JsonKind::Null => Ok(()),
        JsonKind::Number => {
            let number = raw.get().parse().unwrap_or(f64::NAN);
            check::value(number).map(|number| *target = Some(number))
        }
        found => Err(Fault::WrongType { field, expected: "a number", found }),
    })
}

/// Reads a string that stands for something; "" is absent.
fn read_parsed<'a, A: MapAccess<'a>, T>(
    fields: &mut Fields<'_, A>,
    target: &mut Option<T>,
    parse: impl FnOnce(&str) -> Result<T, Fault>,
) -> ReadResult<A::Error> {
    let mut text = None;
    let outcome = fields.text(&mut text, |_, _| Ok(()))?;
    Ok(outcome.and_then(|()| match text.as_deref() {
        None | Some("") => Ok(()),
        Some(text) => parse(text).map(|parsed| *target = Some(parsed)),
    }))
}

/// The time in a UUIDv7.
fn time_in_id(id: Uuid) -> Option<GivenTime> {
    let is_version_7 = id.get_version_num() == 7;
    let epoch_ms = i64::try_from(id.as_u128() >> 80).ok()?;
    is_version_7.then_some(GivenTime { field: "id", epoch_ms, numeric: false })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::row::METADATA_BIT;

    fn has_bits_of_their_own<C: Column>(columns: &[C]) -> bool {
        let bits = columns.iter().fold(0, |bits, column| bits | column.bit());
        bits & METADATA_BIT == 0 && bits.count_ones() as usize == columns.len()
    }

    #[test]
    fn columns_are_distinguished() {
        assert!(has_bits_of_their_own(MetricColumn::ALL));
        assert!(has_bits_of_their_own(ActivityColumn::ALL));
    }
}
