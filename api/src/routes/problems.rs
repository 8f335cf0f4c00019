//! The table of error codes, for whoever follows the `type` of a problem document.

use axum::Json;
use axum::extract::Path;
use axum::http::Uri;
use serde::Serialize;
use utoipa::ToSchema;

use crate::parameters::Parameters;
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
    get,
    path = "/api/problems",
    tag = "errors",
    operation_id = "problems",
    responses(
        (status = 200, description = "The table.", body = [ProblemKind]),
        crate::openapi::PlainProblems,
    )
)]
pub(crate) async fn all(uri: Uri) -> Result<Json<Vec<ProblemKind>>, Problem> {
    Parameters::read(&uri, &[]).finish()?;
    Ok(Json(Code::ALL.map(kind).into()))
}

/// One error code
///
/// What the `type` of a problem document points to.
#[utoipa::path(
    get,
    path = "/api/problems/{code}",
    tag = "errors",
    operation_id = "problem",
    params(("code" = String, Path, description = "The code.", example = "log_full")),
    responses(
        (status = 200, description = "What it means and what to do.", body = ProblemKind),
        crate::openapi::MissingProblems,
    )
)]
pub(crate) async fn one(Path(code): Path<String>, uri: Uri) -> Result<Json<ProblemKind>, Problem> {
    Parameters::read(&uri, &[]).finish()?;
    Code::ALL.into_iter().find(|known| known.name() == code).map(|known| Json(kind(known))).ok_or_else(|| {
        Problem::new(Code::NotFound, "No error has this code; /api/problems lists all of them.")
    })
}

fn kind(code: Code) -> ProblemKind {
    let Definition { name, status, title, remedy } = code.definition();
    ProblemKind { code: name, status: status.as_u16(), title, remedy }
}
