//! Which rules cost time for nothing.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::alert_views::NoiseView;
use crate::decisions::read;
use crate::openapi::PlainProblems;
use crate::parameters::{PageSize, Parameters, parameters};
use crate::problem::Problem;
use crate::state::HandlerState;

/// Rules when nobody says how many.
const USUAL: u32 = 20;

parameters! {
    /// How many.
    pub(crate) struct NoiseParameters {
        /// Rules, 1 to 200; 20 unless said.
        limit: Option<PageSize>,
    }
}

/// The noisiest rules.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NoiseList {
    /// Those with the most opinions first, then those with the most alerts.
    rules: Vec<NoiseView>,
}

/// The noisiest rules
///
/// How many alerts each rule has raised, and what people thought of them.
#[utoipa::path(
    get, path = "/api/v1/kelly/alerts/noise", tag = "alerts", operation_id = "alert_noise", params(NoiseParameters),
    responses((status = 200, description = "The rules.", body = NoiseList), PlainProblems)
)]
pub(crate) async fn noisiest(
    State(shared): State<HandlerState>,
    Parameters(NoiseParameters { limit }): Parameters<NoiseParameters>,
) -> Result<Json<NoiseList>, Problem> {
    let most = limit.map_or(USUAL, |PageSize(limit)| limit) as usize;
    let rules = read(&*shared.app.decisions, |state| {
        let noisiest = state.alerts().noise().noisiest(most);
        noisiest.into_iter().map(|(rule, noise)| NoiseView::of(rule, noise)).collect()
    })?;
    Ok(Json(NoiseList { rules }))
}
