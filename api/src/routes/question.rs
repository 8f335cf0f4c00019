//! The parameters that every question about metrics has, and the names of metrics.

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use kelly_query::comparison::Compare;
use kelly_query::{DetailedRequest, QueryError, RangeRequest, parse_step};
use kelly_schemas::limits::{ACCOUNT_ID_CHARACTERS, CONVERSATION_ID_CHARACTERS, METRIC_NAME_CHARACTERS};

use crate::parameters::{Parameters, echo};
use crate::problem::Problem;

/// Their names.
pub(crate) const QUESTION_PARAMETERS: [&str; 7] =
    ["timeframe", "from", "to", "account_id", "conversation_id", "step", "compare"];

/// What is asked of a metric, or of each of several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MetricQuestion {
    pub(crate) range: RangeRequest,
    pub(crate) account_id: Option<String>,
    pub(crate) conversation_id: Option<String>,
    pub(crate) step_seconds: Option<u32>,
    pub(crate) compare: Option<Compare>,
}

impl MetricQuestion {
    /// Reads it. Faults are noted in the parameters: what is returned is asked only when
    /// [`Parameters::finish`] finds none.
    pub(crate) fn read(parameters: &mut Parameters) -> Result<Self, Problem> {
        let range = read_range(parameters)?;
        let account_id = parameters.identifier("account_id", ACCOUNT_ID_CHARACTERS);
        let conversation_id = parameters.identifier("conversation_id", CONVERSATION_ID_CHARACTERS);
        let step_seconds = parameters.parse("step", |text| parse_step(text).map_err(reason));
        let compare = parameters.parse("compare", |text| text.parse().map_err(reason));
        Ok(Self { range, account_id, conversation_id, step_seconds, compare })
    }

    /// The question about one metric.
    pub(crate) fn about(self, metric_name: String) -> DetailedRequest {
        let Self { range, account_id, conversation_id, step_seconds, compare } = self;
        DetailedRequest { metric_name, range, account_id, conversation_id, step_seconds, compare }
    }
}

/// The range asked for; a fault is noted in the parameters.
pub(crate) fn read_range(parameters: &mut Parameters) -> Result<RangeRequest, Problem> {
    let timeframe = parameters.take("timeframe");
    let (from, to) = (parameters.take("from"), parameters.take("to"));
    match RangeRequest::parse(timeframe.as_deref(), from.as_deref(), to.as_deref()) {
        Ok(range) => Ok(range),
        Err(QueryError::BadParameter { parameter, problem }) => {
            parameters.fault(parameter, problem);
            Ok(RangeRequest::default())
        }
        Err(other) => Err(other.into()),
    }
}

/// The metric that the path names; a fault is noted in the parameters.
pub(crate) fn read_metric_name(
    path: Result<Path<String>, PathRejection>,
    parameters: &mut Parameters,
) -> String {
    let checked = match path {
        Ok(Path(name)) => check_metric_name(&name).map(|()| name),
        // Routing made sure of the parameter: what is left is an escape that is not UTF-8.
        Err(_) => {
            Err("in the path holds bytes that are no UTF-8; names have letters, digits and `_.:/-`"
                .to_owned())
        }
    };
    checked.unwrap_or_else(|reason| {
        parameters.fault("metric_type", reason);
        String::new()
    })
}

/// The reason of a wrong parameter alone: its name stands beside it.
pub(crate) fn reason(error: QueryError) -> String {
    match error {
        QueryError::BadParameter { problem, .. } => problem,
        other => other.to_string(),
    }
}

/// A name that could never have been recorded is a mistake, not an empty answer.
pub(crate) fn check_metric_name(name: &str) -> Result<(), String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:/-".contains(&byte);
    if name.is_empty() || !name.bytes().all(allowed) {
        return Err(format!(
            "(`{}`) is no name of a metric; names have letters, digits and `_.:/-`",
            echo(name)
        ));
    }
    if name.len() > METRIC_NAME_CHARACTERS {
        return Err(format!("is longer than {METRIC_NAME_CHARACTERS} characters; no metric's name is"));
    }
    Ok(())
}
