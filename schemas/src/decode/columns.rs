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

    const COLUMNS: &'static [&'static str] = &[
        "account_id",
        "conversation_id",
        "user_id",
        "metric_name",
        "metric_type",
        "value",
        "timestamp",
        "created_at",
    ];

    fn column(name: &str) -> Option<Column> {
        Some(match name {
            "account_id" => 0,
            "conversation_id" => 1,
            "user_id" => 2,
            "metric_name" => 3,
            "metric_type" => 4,
            "value" => 5,
            "timestamp" => 6,
            "created_at" => 7,
            _ => return None,
        })
    }

    fn read<A: MapAccess<'a>>(&mut self, column: Column, fields: &mut Fields<'_, A>) -> ReadResult<A::Error> {
        match column {
            3 => fields.text(&mut self.metric_name, |field, text| {
                check::name(field, text, limits::METRIC_NAME_CHARACTERS)
            }),
            4 => fields.text(&mut self.metric_type, |field, text| {
                check::optional_name(field, text, limits::METRIC_TYPE_CHARACTERS)
            }),
            5 => read_value(fields, &mut self.value),
            6 | 7 => fields.time(&mut self.timestamp),
            _ => self.about.read(column, fields),
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

    const COLUMNS: &'static [&'static str] = &[
        "account_id",
        "conversation_id",
        "user_id",
        "id",
        "event_type",
        "title",
        "description",
        "severity",
        "category",
        "created_at",
        "timestamp",
    ];

    fn column(name: &str) -> Option<Column> {
        Some(match name {
            "account_id" => 0,
            "conversation_id" => 1,
            "user_id" => 2,
            "id" => 3,
            "event_type" => 4,
            "title" => 5,
            "description" => 6,
            "severity" => 7,
            "category" => 8,
            "created_at" => 9,
            "timestamp" => 10,
            _ => return None,
        })
    }

    fn read<A: MapAccess<'a>>(&mut self, column: Column, fields: &mut Fields<'_, A>) -> ReadResult<A::Error> {
        match column {
            3 => read_parsed(fields, &mut self.id, |text| {
                Uuid::try_parse(text).ok().filter(|id| !id.is_nil()).ok_or(Fault::InvalidId)
            }),
            4 => fields.text(&mut self.event_type, |field, text| {
                check::name(field, text, limits::EVENT_TYPE_CHARACTERS)
            }),
            5 => fields.text(&mut self.title, |field, text| {
                if text.is_empty() {
                    return Err(Fault::EmptyField { field });
                }
                check::label(field, text, limits::TITLE_CHARACTERS)
            }),
            6 => fields.text(&mut self.description, |field, text| {
                check::lines(field, text, limits::DESCRIPTION_CHARACTERS)
            }),
            7 => read_parsed(fields, &mut self.severity, |text| {
                Severity::parse(text).ok_or(Fault::UnknownSeverity)
            }),
            8 => fields.text(&mut self.category, |field, text| {
                check::label(field, text, limits::CATEGORY_CHARACTERS)
            }),
            9 | 10 => fields.time(&mut self.created_at),
            _ => self.about.read(column, fields),
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

/// Whom a row is about: the columns every kind has, in the places 0 to 2.
#[derive(Default)]
struct About<'a> {
    account_id: Option<Cow<'a, str>>,
    conversation_id: Option<Cow<'a, str>>,
    user_id: Option<Cow<'a, str>>,
}

impl<'a> About<'a> {
    fn read<A: MapAccess<'a>>(&mut self, column: Column, fields: &mut Fields<'_, A>) -> ReadResult<A::Error> {
        let (target, limit) = match column {
            0 => (&mut self.account_id, limits::ACCOUNT_ID_CHARACTERS),
            1 => (&mut self.conversation_id, limits::CONVERSATION_ID_CHARACTERS),
            _ => (&mut self.user_id, limits::USER_ID_CHARACTERS),
        };
        fields.text(target, |field, text| check::label(field, text, limit))
    }
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

    fn assert_columns_match<'a, D: Draft<'a>>() {
        for (column, name) in D::COLUMNS.iter().enumerate() {
            assert_eq!(D::column(name), Some(column), "{name}");
        }
        assert!(D::COLUMNS.len() < 32, "one bit each, and one for metadata");
    }

    #[test]
    fn names_and_places_of_columns_agree() {
        assert_columns_match::<MetricDraft<'_>>();
        assert_columns_match::<ActivityDraft<'_>>();
    }
}
