//! Which columns a message may have, and of which types.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef};

use super::refusal::{Refusal, invalid};
use crate::decode::metadata::shown;
use crate::decode::redact::content_field;
use crate::decode::timestamp::is_other_time_name;
use crate::fault::Fault;

/// A column of metrics, as its place in [`NAMES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    AccountId,
    ConversationId,
    UserId,
    MetricName,
    MetricType,
    Value,
    Timestamp,
    Metadata,
}

const NAMES: [(&str, Column); 9] = [
    ("account_id", Column::AccountId),
    ("conversation_id", Column::ConversationId),
    ("user_id", Column::UserId),
    ("metric_name", Column::MetricName),
    ("metric_type", Column::MetricType),
    ("value", Column::Value),
    ("timestamp", Column::Timestamp),
    ("created_at", Column::Timestamp),
    ("metadata", Column::Metadata),
];

/// The column of a name, and the name as a constant.
pub(super) fn column(name: &str) -> Option<(&'static str, Column)> {
    NAMES.into_iter().find(|(known, _)| *known == name)
}

/// The schema without a producer's own metadata, or why it is refused.
pub(super) fn admit(schema: arrow_ipc::Schema<'_>) -> Result<SchemaRef, Refusal> {
    let columns = shown_columns(&schema);
    let refuse = |fault| Refusal { fault, columns: columns.clone() };
    if schema.endianness() != arrow_ipc::Endianness::Little {
        return Err(refuse(invalid("its numbers are big-endian")));
    }
    admit_names(&schema).map_err(refuse)?;
    // Nine known names at most and no type within another: what is converted here is small.
    let converted = arrow_ipc::convert::try_fb_to_schema(schema)
        .map_err(|_| refuse(invalid("its schema cannot be understood")))?;
    let mut fields = Vec::with_capacity(NAMES.len());
    for field in converted.fields() {
        admit_type(field).map_err(refuse)?;
        fields.push(field.as_ref().clone().with_metadata(HashMap::new()));
    }
    Ok(Arc::new(Schema::new(fields)))
}

fn admit_names(schema: &arrow_ipc::Schema<'_>) -> Result<(), Fault> {
    let names = || schema.fields().into_iter().flatten().map(|field| field.name().unwrap_or_default());
    if let Some(name) = names().find(|name| content_field(name).is_some()) {
        return Err(Fault::ConversationContent { field: shown(name) });
    }
    let mut seen: Vec<Column> = Vec::with_capacity(NAMES.len());
    for name in names() {
        let Some((known, column)) = column(name) else {
            let has_time = names().any(|name| matches!(self::column(name), Some((_, Column::Timestamp))));
            return Err(match is_other_time_name(name) && !has_time {
                true => Fault::MisnamedTime { field: shown(name), expected: "timestamp" },
                false => Fault::UnknownColumn { column: shown(name) },
            });
        };
        if seen.contains(&column) {
            return Err(Fault::DuplicateField { field: known.to_owned() });
        }
        seen.push(column);
    }
    for (required, field) in [(Column::MetricName, "metric_name"), (Column::Value, "value")] {
        if !seen.contains(&required) {
            return Err(Fault::MissingField { field });
        }
    }
    for field in schema.fields().into_iter().flatten() {
        if field.children().is_some_and(|children| !children.is_empty()) {
            let found = field.type_type().variant_name().unwrap_or("a nested type").to_owned();
            return Err(wrong_type(field.name().unwrap_or_default(), found));
        }
    }
    Ok(())
}

fn admit_type(field: &Field) -> Result<(), Fault> {
    let Some((_, column)) = column(field.name()) else {
        return Err(Fault::UnknownColumn { column: shown(field.name()) });
    };
    let data_type = field.data_type();
    let is_required = matches!(column, Column::MetricName | Column::Value);
    let fits = match column {
        _ if !is_required && *data_type == DataType::Null => true,
        Column::Value => data_type.is_integer() || matches!(data_type, DataType::Float32 | DataType::Float64),
        Column::Timestamp => {
            matches!(data_type, DataType::Timestamp(_, Some(_)) | DataType::Int64) || is_text(data_type)
        }
        _ => is_text(data_type),
    };
    if fits { Ok(()) } else { Err(wrong_type(field.name(), type_name(data_type))) }
}

fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(key, value) => {
            key.is_integer() && matches!(**value, DataType::Utf8 | DataType::LargeUtf8)
        }
        _ => false,
    }
}

fn wrong_type(name: &str, found: String) -> Fault {
    let Some((name, column)) = column(name) else {
        return Fault::UnknownColumn { column: shown(name) };
    };
    let expected = match column {
        Column::Value => "Float64, Float32 or an integer",
        Column::Timestamp => "a Timestamp with a time zone, Int64 of epoch milliseconds or Utf8 in RFC 3339",
        _ => "Utf8, LargeUtf8, Utf8View or a Dictionary of Utf8",
    };
    Fault::WrongColumnType { column: name, expected, found }
}

/// A type by its own words: nothing a producer wrote is among them.
fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Timestamp(unit, None) => format!("Timestamp({unit:?}) without a time zone"),
        DataType::Timestamp(unit, Some(_)) => format!("Timestamp({unit:?})"),
        DataType::Dictionary(key, value) => format!("Dictionary({}, {})", type_name(key), type_name(value)),
        other => format!("{other:?}"),
    }
}

/// Names and types of the columns, for the dead letter. No more than a person reads.
pub(super) fn shown_columns(schema: &arrow_ipc::Schema<'_>) -> Vec<(String, String)> {
    const SHOWN: usize = 64;
    let fields = schema.fields().into_iter().flatten().take(SHOWN);
    fields
        .map(|field| {
            let kind = field.type_type().variant_name().unwrap_or("unknown");
            let kind =
                if field.dictionary().is_some() { format!("Dictionary of {kind}") } else { kind.to_owned() };
            (field.name().unwrap_or_default().to_owned(), kind)
        })
        .collect()
}
