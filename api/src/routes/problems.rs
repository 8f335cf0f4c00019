//! The table of error codes, for whoever follows the `type` of a problem document.

use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;

use crate::parameters::{InPath, Parameters, ProblemCode, parameters};
use crate::problem::{Code, Definition, Problem};

/// One error code.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProblemKind {
    /// The code.
    #[schema(example = "log_full")]
    code: &'static str,
    /// The HTTP status it comes with.
    #[schema(example = 503)]
    status: u16,
    /// In a few words.
    #[schema(example = "The log has no room")]
    title: &'static str,
    /// What to do about it.
    remedy: &'static str,
}

/// All error codes
#[utoipa::path(
    get, path = "/api/problems", tag = "errors", operation_id = "problems",
    responses((status = 200, description = "The table.", body = [ProblemKind], links(
            ("kind" = (
                operation_id = "problem",
                parameters(("code" = "$response.body#/0/code")),
                description = "One of them by itself."
            ))
        )), crate::openapi::PlainProblems)
)]
pub(crate) async fn all(_: Parameters<()>) -> Json<Vec<ProblemKind>> {
    Json(Code::ALL.map(kind).into())
}

parameters! {
    /// Of one error code.
    pub(crate) struct ProblemParameters {
        /// The code.
        code: InPath<ProblemCode>,
    }
}

/// One error code
///
/// What the `type` of a problem document points to.
#[utoipa::path(
    get, path = "/api/problems/{code}", tag = "errors", operation_id = "problem", params(ProblemParameters),
    responses(
        (status = 200, description = "What it means and what to do.", body = ProblemKind),
        crate::openapi::MissingProblems,
    )
)]
pub(crate) async fn one(
    Parameters(asked): Parameters<ProblemParameters>,
) -> Result<Json<ProblemKind>, Problem> {
    let InPath(ProblemCode(code)) = asked.code;
    Code::ALL.into_iter().find(|known| known.name() == code).map(|known| Json(kind(known))).ok_or_else(|| {
        Problem::new(Code::NotFound, "No error has this code; /api/problems lists all of them.")
    })
}

fn kind(code: Code) -> ProblemKind {
    let Definition { name, status, title, remedy } = code.definition();
    ProblemKind { code: name, status: status.as_u16(), title, remedy }
}
