//! The parameters of a route, once: a struct made by `parameters!` is what a handler takes, what is read
//! from the request, and what the OpenAPI document describes. Its fields are [`Value`]s (`values`), which
//! say in one place what texts they take, or groups of parameters that several routes share.
//!
//! Reading is strict: an unknown, repeated, empty or wrong parameter is refused with what is allowed, all
//! of them at once (`given`). A misspelt filter that is ignored would answer another question.

mod alerts;
mod given;
mod ids;
mod values;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn, ParameterStyle};
use utoipa::openapi::{RefOr, Required as RequiredInDocument, Schema};

use crate::problem::Problem;

pub(crate) use alerts::AlertStatus;
pub(crate) use given::{Given, echo, wrong_parameter};
pub(crate) use ids::{Id, IncidentId, Name, Offset, PolicyName, RuleName};
pub(crate) use values::{
    AnswerFormat, Cursor, DestinationId, EventType, FileFormat, Flag, Identifier, Instant, LevelSeconds,
    LivePosition, MessageId, MetricName, MetricNames, PageSize, ProblemCode, RoomNames, Step, Top,
};

/// What a parameter may be: which texts it takes, and the schema that says the same.
pub(crate) trait Value: Sized {
    /// Whether the document describes it as a list, which is written with commas.
    const IS_LIST: bool = false;
    /// What is said where it must be given and is not, to follow the parameter's name.
    const MISSING: &str = "is missing; this route needs it";

    /// The value of a text, or what is wrong with it and what is allowed, to follow the parameter's name.
    fn parse(text: &str) -> Result<Self, String>;

    /// The schema of exactly the texts that [`parse`](Self::parse) takes.
    fn schema() -> RefOr<Schema>;

    /// A value that answers something on every store; pages that offer to try a route fill it in.
    fn example() -> Option<serde_json::Value> {
        None
    }
}

/// What a field of a route's parameters stands for: one parameter, or a group of them.
pub(crate) trait Field: Sized {
    /// Adds the names that the query may have for it.
    fn names(name: &'static str, names: &mut Vec<&'static str>);
    /// Its parameters, as the document describes them.
    fn describe(name: &'static str, description: &str) -> Vec<Parameter>;
    /// Reads it; `None` when there is a fault, which is then noted.
    fn read(given: &mut Given, name: &'static str) -> Option<Self>;
}

/// A parameter of the query that must be given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Required<T>(pub(crate) T);

/// A part of the path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InPath<T>(pub(crate) T);

impl<T: Value> Field for Option<T> {
    fn names(name: &'static str, names: &mut Vec<&'static str>) {
        names.push(name);
    }

    fn describe(name: &'static str, description: &str) -> Vec<Parameter> {
        vec![parameter::<T>(ParameterIn::Query, name, description).build()]
    }

    fn read(given: &mut Given, name: &'static str) -> Option<Self> {
        match given.value(name) {
            None => Some(None),
            Some(text) => given.parse(name, &text).map(Some),
        }
    }
}

impl<T: Value> Field for Required<T> {
    fn names(name: &'static str, names: &mut Vec<&'static str>) {
        names.push(name);
    }

    fn describe(name: &'static str, description: &str) -> Vec<Parameter> {
        let parameter = parameter::<T>(ParameterIn::Query, name, description);
        vec![parameter.required(RequiredInDocument::True).build()]
    }

    fn read(given: &mut Given, name: &'static str) -> Option<Self> {
        match given.value(name) {
            Some(text) => given.parse(name, &text).map(Self),
            None => {
                given.fault_if_not_given(name, T::MISSING);
                None
            }
        }
    }
}

impl<T: Value> Field for InPath<T> {
    fn names(_: &'static str, _: &mut Vec<&'static str>) {}

    fn describe(name: &'static str, description: &str) -> Vec<Parameter> {
        let parameter = parameter::<T>(ParameterIn::Path, name, description);
        vec![parameter.required(RequiredInDocument::True).build()]
    }

    fn read(given: &mut Given, name: &'static str) -> Option<Self> {
        let text = given.path_value(name)?;
        given.parse(name, &text).map(Self)
    }
}

/// A route without parameters.
impl Field for () {
    fn names(_: &'static str, _: &mut Vec<&'static str>) {}

    fn describe(_: &'static str, _: &str) -> Vec<Parameter> {
        Vec::new()
    }

    fn read(_: &mut Given, _: &'static str) -> Option<Self> {
        Some(())
    }
}

fn parameter<T: Value>(place: ParameterIn, name: &str, description: &str) -> ParameterBuilder {
    let parameter = ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(RequiredInDocument::False)
        .description(Some(description))
        .schema(Some(T::schema()))
        .example(T::example());
    match T::IS_LIST {
        true => parameter.style(Some(ParameterStyle::Form)).explode(Some(false)),
        false => parameter,
    }
}

/// The parameters of a request, as a handler takes them.
pub(crate) struct Parameters<T>(pub(crate) T);

impl<T: Field, S: Send + Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        // What routing hands over is missing only where an escape of the path is not UTF-8.
        let path = RawPathParams::from_request_parts(parts, state).await.ok();
        let mut names = Vec::new();
        T::names("", &mut names);
        let mut given = Given::read(&parts.uri, path.as_ref(), &names);
        let read = T::read(&mut given, "");
        given.finish()?;
        read.map(Self).ok_or_else(|| Problem::internal("a parameter was refused without a reason"))
    }
}

/// Defines the parameters of a route, or a group of them. A field's comment is its description; the
/// function after `checked by`, if any, notes parameters that do not go together.
macro_rules! parameters {
    (
        $(#[$meta:meta])*
        $visibility:vis struct $name:ident {
            $($(#[doc = $doc:literal])* $field_visibility:vis $field:ident: $type:ty,)*
        }
        $(checked by $check:path)?
    ) => {
        $(#[$meta])*
        $visibility struct $name {
            $($(#[doc = $doc])* $field_visibility $field: $type,)*
        }

        impl $crate::parameters::Field for $name {
            fn names(_: &'static str, names: &mut Vec<&'static str>) {
                $(<$type as $crate::parameters::Field>::names(stringify!($field), names);)*
            }

            fn describe(_: &'static str, _: &str) -> Vec<utoipa::openapi::path::Parameter> {
                let mut described = Vec::new();
                $(described.extend(<$type as $crate::parameters::Field>::describe(
                    stringify!($field),
                    concat!($($doc),*).trim(),
                ));)*
                described
            }

            fn read(given: &mut $crate::parameters::Given, _: &'static str) -> Option<Self> {
                $(let $field = $crate::parameters::Field::read(given, stringify!($field));)*
                $($check(given);)?
                Some(Self { $($field: $field?,)* })
            }
        }

        impl utoipa::IntoParams for $name {
            fn into_params(
                _: impl Fn() -> Option<utoipa::openapi::path::ParameterIn>,
            ) -> Vec<utoipa::openapi::path::Parameter> {
                <Self as $crate::parameters::Field>::describe("", "")
            }
        }
    };
}
pub(crate) use parameters;
