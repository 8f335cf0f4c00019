//! Exports: rows as a file, streamed as the store writes it.

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header::{ACCEPT, CONTENT_DISPOSITION, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderValue, Uri};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use futures_util::StreamExt;
use kelly_query::{ActivityExportRequest, ExportFormat, ExportRequest, ExportStream};
use kelly_schemas::Severity;
use kelly_schemas::limits::{ACCOUNT_ID_CHARACTERS, EVENT_TYPE_CHARACTERS};

use crate::openapi::QueryProblems;
use crate::parameters::{Parameters, echo};
use crate::problem::Problem;
use crate::routes::activity::parse_severity;
use crate::routes::question::{MetricQuestion, read_metric_name, read_range};
use crate::state::Shared;

const SAMPLES_PARAMETERS: [&str; 6] = ["timeframe", "from", "to", "account_id", "conversation_id", "format"];
const ACTIVITY_PARAMETERS: [&str; 7] =
    ["timeframe", "from", "to", "severity", "event_type", "account_id", "format"];

/// A format, its name as a parameter, its media type, and how its files end.
const FORMATS: [(ExportFormat, &str, &str, &str); 4] = [
    (ExportFormat::Csv, "csv", "text/csv", "csv"),
    (ExportFormat::Parquet, "parquet", "application/vnd.apache.parquet", "parquet"),
    (ExportFormat::Arrow, "arrow", "application/vnd.apache.arrow.stream", "arrows"),
    (ExportFormat::JsonLines, "jsonl", "application/x-ndjson", "jsonl"),
];

/// Samples of one metric as a file
///
/// Every sample of a range as it was recorded, oldest first, for as long as samples are kept
/// (MONITORING_METRICS_RETENTION_HOURS). The form is `format`, or what Accept names first, or CSV. The store sorts the samples, then
/// writes them as they are read; after 300 seconds it ends an export whose reader is slower, and a connection that ends without its last chunk means that the export failed on the way and is not whole. At most
/// two million rows; a range with more is refused with one that has fewer. In CSV a text that a spreadsheet would run as a formula
/// (it begins with = + - @) has an apostrophe before it.
#[utoipa::path(
    get,
    path = "/api/v1/kelly/monitoring/metrics/samples/{metric_type}",
    tag = "metrics",
    operation_id = "metric_samples",
    params(
        ("metric_type" = String, Path, description = "Name of the metric.", example = "ai_confidence", max_length = 100),
        ("timeframe" = inline(Option<kelly_query::Timeframe>), Query, description = "Length of time that ends now; 1h unless said. Not together with `from`."),
        ("from" = Option<String>, Query, description = "First instant, included: RFC 3339 or milliseconds since 1970."),
        ("to" = Option<String>, Query, description = "End, excluded; now unless said. Needs `from`."),
        ("account_id" = Option<String>, Query, description = "Only this account.", max_length = 50),
        ("conversation_id" = Option<String>, Query, description = "Only this conversation.", max_length = 100),
        ("format" = Option<String>, Query, description = "csv, parquet, arrow (IPC stream) or jsonl.", example = "csv"),
    ),
    responses(
        (status = 200, description = "The samples.", content(
            (String = "text/csv"), (String = "application/vnd.apache.parquet"),
            (String = "application/vnd.apache.arrow.stream"), (String = "application/x-ndjson"),
        )),
        QueryProblems,
    )
)]
pub(crate) async fn samples(
    State(shared): State<Shared>,
    metric_type: Result<Path<String>, PathRejection>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let mut parameters = Parameters::read(&uri, &SAMPLES_PARAMETERS);
    let metric_name = read_metric_name(metric_type, &mut parameters);
    let asked = MetricQuestion::read(&mut parameters)?;
    let format = export_format(&mut parameters, &headers).unwrap_or(ExportFormat::Csv);
    parameters.finish()?;
    let name = format!("{metric_name}-samples");
    export(&shared, ExportRequest::Samples(asked.about(metric_name)), format, &name).await
}

/// Events as a file
///
/// Every event of a range, newest first, each once. The form, the bounds and how a failure shows are as for samples.
#[utoipa::path(
    get,
    path = "/api/v1/kelly/monitoring/activity/export",
    tag = "activity",
    operation_id = "activity_export",
    params(
        ("timeframe" = inline(Option<kelly_query::Timeframe>), Query, description = "Length of time that ends now; 1h unless said. Not together with `from`."),
        ("from" = Option<String>, Query, description = "First instant, included: RFC 3339 or milliseconds since 1970."),
        ("to" = Option<String>, Query, description = "End, excluded; now unless said. Needs `from`."),
        ("severity" = inline(Option<Severity>), Query, description = "Only events of this severity."),
        ("event_type" = Option<String>, Query, description = "Only events of this type.", max_length = 100),
        ("account_id" = Option<String>, Query, description = "Only events of this account.", max_length = 50),
        ("format" = Option<String>, Query, description = "csv, parquet, arrow (IPC stream) or jsonl.", example = "csv"),
    ),
    responses(
        (status = 200, description = "The events.", content(
            (String = "text/csv"), (String = "application/vnd.apache.parquet"),
            (String = "application/vnd.apache.arrow.stream"), (String = "application/x-ndjson"),
        )),
        QueryProblems,
    )
)]
pub(crate) async fn activity(
    State(shared): State<Shared>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let mut parameters = Parameters::read(&uri, &ACTIVITY_PARAMETERS);
    let request = ActivityExportRequest {
        severity: parameters.parse("severity", parse_severity),
        event_type: parameters.identifier("event_type", EVENT_TYPE_CHARACTERS),
        account_id: parameters.identifier("account_id", ACCOUNT_ID_CHARACTERS),
        range: read_range(&mut parameters)?,
    };
    let format = export_format(&mut parameters, &headers).unwrap_or(ExportFormat::Csv);
    parameters.finish()?;
    export(&shared, ExportRequest::Activity(request), format, "activity").await
}

/// The format asked for: the parameter, else the first of Accept that is known; `None` for JSON and for none.
pub(crate) fn export_format(parameters: &mut Parameters, headers: &HeaderMap) -> Option<ExportFormat> {
    if let Some(asked) = parameters.parse("format", parse_format) {
        return asked;
    }
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|list| list.split(',')).find_map(|range| {
        let media_type = range.split(';').next().unwrap_or_default().trim();
        let known = FORMATS.iter().find(|(_, _, known, _)| known.eq_ignore_ascii_case(media_type));
        match media_type {
            "application/json" | "application/*" | "*/*" => Some(None),
            _ => known.map(|(format, ..)| Some(*format)),
        }
    })?
}

fn parse_format(text: &str) -> Result<Option<ExportFormat>, String> {
    if text == "json" {
        return Ok(None);
    }
    let known = FORMATS.iter().find(|(_, name, ..)| *name == text);
    known
        .map(|(format, ..)| Some(*format))
        .ok_or_else(|| format!("(`{}`) is none of csv, parquet, arrow, jsonl, json", echo(text)))
}

/// Begins an export and passes its bytes on. What fails before the first byte is a problem; what fails later cuts the
/// connection, so that nobody takes a part for the whole.
pub(crate) async fn export(
    shared: &Shared,
    request: ExportRequest,
    format: ExportFormat,
    name: &str,
) -> Result<Response, Problem> {
    let place = shared.gates.export()?;
    let ExportStream { bytes, window } =
        shared.gates.query(1, shared.app.queries.export(request, format)).await??;
    let bytes = bytes.map(move |piece| {
        // Held for as long as bytes are to come.
        let _ = &place;
        piece.inspect_err(|error| tracing::warn!(%error, "an export ended before its end"))
    });
    let (media_type, ending) = FORMATS
        .iter()
        .find(|(known, ..)| *known == format)
        .map_or(("application/octet-stream", "bin"), |(_, _, media_type, ending)| (*media_type, *ending));
    let file = file_name(name, window.from, window.to, ending);
    let mut response = Body::from_stream(bytes).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(VARY, HeaderValue::from_static("accept"));
    if let Ok(disposition) = HeaderValue::try_from(format!("attachment; filename=\"{file}\"")) {
        headers.insert(CONTENT_DISPOSITION, disposition);
    }
    Ok(response)
}

/// A name that every system takes: a metric's name may hold colons and slashes.
fn file_name(name: &str, from: DateTime<Utc>, to: DateTime<Utc>, ending: &str) -> String {
    let safe = |character: char| {
        if character.is_ascii_alphanumeric() || "._-".contains(character) { character } else { '-' }
    };
    let name: String = name.chars().map(safe).collect();
    let time = |instant: DateTime<Utc>| instant.format("%Y%m%dT%H%M%SZ");
    format!("kelly-{name}-{}-{}.{ending}", time(from), time(to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parameter_comes_before_accept_and_json_is_no_export() {
        let cases = [
            ("", "", None),
            ("", "application/json", None),
            ("", "text/html, */*;q=0.8", None),
            ("", "text/csv", Some(ExportFormat::Csv)),
            ("", "text/html, Application/vnd.apache.parquet;q=1, text/csv", Some(ExportFormat::Parquet)),
            ("", "application/json, text/csv", None),
            ("?format=arrow", "text/csv", Some(ExportFormat::Arrow)),
            ("?format=jsonl", "", Some(ExportFormat::JsonLines)),
            ("?format=json", "text/csv", None),
        ];
        for (query, accept, expected) in cases {
            let mut parameters = Parameters::read(&format!("/x{query}").parse().unwrap(), &["format"]);
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().unwrap());
            assert_eq!(export_format(&mut parameters, &headers), expected, "{query} {accept}");
            assert!(parameters.finish().is_ok());
        }
    }

    #[test]
    fn a_files_name_is_plain() {
        let at = |seconds: i64| DateTime::from_timestamp(1_773_146_096 + seconds, 0).unwrap();
        let name = file_name("kelly:cpu/a\"b", at(0), at(60), "csv");
        assert_eq!(name, "kelly-kelly-cpu-a-b-20260310T123456Z-20260310T123556Z.csv");
    }
}
