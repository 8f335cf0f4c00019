//! Ids in the path: of alerts, of what belongs to them, and of commands.

use kelly_control::op::MAX_NAME_CHARS;
use serde_json::json;
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::{KnownFormat, RefOr, SchemaFormat};
use uuid::Uuid;

use super::values::Identifier;
use super::{Value, echo};

/// The hyphenated form, which is the one that is given out.
const UUID: &str = "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$";

/// A name of a rule or a policy.
pub(crate) type Name = Identifier<MAX_NAME_CHARS>;

/// A UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Id(pub(crate) Uuid);

impl Value for Id {
    fn parse(text: &str) -> Result<Self, String> {
        let is_hyphenated = text.len() == uuid::fmt::Hyphenated::LENGTH;
        let id = is_hyphenated.then(|| Uuid::try_parse(text).ok()).flatten();
        id.map(Self).ok_or_else(|| format!("(`{}`) is no UUID", echo(text)))
    }

    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::new(Type::String))
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Uuid)))
            .pattern(Some(UUID))
            .into()
    }

    fn example() -> Option<serde_json::Value> {
        Some(json!(EXAMPLE_ID))
    }
}

/// The id in examples.
pub(crate) const EXAMPLE_ID: &str = "0198f3c2-a4b7-7e21-b0c3-d9a1f2e4c6d8";

/// A place on the control log, as an id or as a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Offset(pub(crate) u64);

/// Beyond what a program that counts in doubles can tell apart.
const MOST_OFFSET: i64 = 9_007_199_254_740_991;

impl Value for Offset {
    fn parse(text: &str) -> Result<Self, String> {
        let is_canonical = text == "0" || !text.starts_with(['0', '+', '-']);
        let offset =
            text.parse::<i64>().ok().filter(|offset| is_canonical && (0..=MOST_OFFSET).contains(offset));
        offset
            .and_then(|offset| u64::try_from(offset).ok())
            .map(Self)
            .ok_or_else(|| format!("(`{}`) must be a whole number from 0 to {MOST_OFFSET}", echo(text)))
    }

    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::new(Type::Integer))
            .minimum(Some(0))
            .maximum(Some(MOST_OFFSET))
            .into()
    }
}

/// An incident's id: where on the control log its first alert was raised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IncidentId(pub(crate) u64);

impl Value for IncidentId {
    fn parse(text: &str) -> Result<Self, String> {
        Offset::parse(text).map(|Offset(id)| Self(id))
    }

    fn schema() -> RefOr<Schema> {
        Offset::schema()
    }

    fn example() -> Option<serde_json::Value> {
        Some(json!(1))
    }
}

/// Names in the path, with examples.
macro_rules! names {
    ($($(#[doc = $doc:literal])* $kind:ident, example $example:literal;)*) => {$(
        $(#[doc = $doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub(crate) struct $kind(pub(crate) String);

        impl Value for $kind {
            fn parse(text: &str) -> Result<Self, String> {
                Name::parse(text).map(|name| Self(name.0))
            }

            fn schema() -> RefOr<Schema> {
                Name::schema()
            }

            fn example() -> Option<serde_json::Value> {
                Some(json!($example))
            }
        }
    )*};
}

names! {
    /// A rule's id.
    RuleName, example "slow_answers";
    /// A policy's name.
    PolicyName, example "default";
}
