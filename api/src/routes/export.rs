//! Exports: rows as a file, streamed as the store writes it.

use axum::body::Body;
use axum::http::header::{ACCEPT, CONTENT_DISPOSITION, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::IntoResponse;
use chrono::{DateTime, SecondsFormat, Utc};
use futures_util::StreamExt;
use kelly_query::{ActivityExportRequest, ExportFormat, ExportRequest, ExportStream};

use crate::client::{Answered, Client};
use crate::conditional::VARIES_BY;
use crate::exports::paced;
use crate::files::FileForm;
use crate::openapi::{ExportedFile, QueryProblems};
use crate::parameters::{FileFormat, InPath, MetricName, Parameters, parameters};
use crate::problem::Problem;
use crate::routes::activity::EventFilter;
use crate::routes::question::{RangeParameters, SubjectParameters, samples_of};
use crate::signed_out::signed_out;

/// Since when the store keeps everything, where an export was asked for from an earlier time on.
const KEPT_FROM: HeaderName = HeaderName::from_static("kelly-kept-from");

parameters! {
    /// Of the samples of one metric.
    pub(crate) struct SamplesParameters {
        /// Name of the metric.
        metric_type: InPath<MetricName>,
        range: RangeParameters,
        subject: SubjectParameters,
        form: FileParameters,
    }
}

parameters! {
    /// Of the export of events.
    pub(crate) struct ActivityParameters {
        range: RangeParameters,
        filter: EventFilter,
        form: FileParameters,
    }
}

parameters! {
    /// As what.
    pub(crate) struct FileParameters {
        /// csv, parquet, arrow (IPC stream) or jsonl; unless said, what Accept names first, or CSV.
        format: Option<FileFormat>,
    }
}

impl FileParameters {
    fn format(&self, client: &Client) -> ExportFormat {
        let asked = self.format.map(|format| format.0);
        asked.or_else(|| client.accepted_format()).unwrap_or(ExportFormat::Csv)
    }
}

/// Samples of one metric as a file
///
/// Every sample of a range as it was recorded, oldest first, for as long as samples are kept
/// (MONITORING_METRICS_RETENTION_HOURS). Where the range begins before that, the file and the range in its name begin where everything
/// is kept, and the header Kelly-Kept-From says so. The form is `format`, or what Accept names first, or CSV. The store sorts the samples, then
/// writes them as they are read. An export ends after 300 seconds, when its reader takes less than 32 KiB a second for long, or within a second after its token ended or was
/// revoked; a connection that ends without its last chunk means that the export failed on the way and is not whole. At most
/// two million rows; a range with more is refused with one that has fewer. In CSV a text that a spreadsheet would run as a formula
/// (it begins with = + - @) has an apostrophe before it.
#[utoipa::path(
    get,
    path = "/api/v1/kelly/monitoring/metrics/samples/{metric_type}",
    tag = "metrics",
    operation_id = "metric_samples",
    params(SamplesParameters),
    responses(ExportedFile, QueryProblems)
)]
pub(crate) async fn samples(client: Client, Parameters(asked): Parameters<SamplesParameters>) -> Answered {
    let SamplesParameters { metric_type: InPath(MetricName(metric_name)), range, subject, form } = asked;
    let name = format!("{metric_name}-samples");
    let request = ExportRequest::Samples(samples_of(metric_name, range, subject, &client.accounts));
    client.export(request, form.format(&client), &name).await
}

/// Events as a file
///
/// Every event of a range, newest first, each once. The form, the bounds and how a failure shows are as for samples.
#[utoipa::path(
    get,
    path = "/api/v1/kelly/monitoring/activity/export",
    tag = "activity",
    operation_id = "activity_export",
    params(ActivityParameters),
    responses(ExportedFile, QueryProblems)
)]
pub(crate) async fn activity(client: Client, Parameters(asked): Parameters<ActivityParameters>) -> Answered {
    let ActivityParameters { range, filter, form } = asked;
    let request = ActivityExportRequest {
        accounts: client.accounts.clone(),
        range: range.into(),
        severity: filter.severity.map(|severity| severity.as_str().to_owned()),
        event_type: filter.event_type.map(|event_type| event_type.0),
        account_id: filter.account_id.map(|id| id.0),
    };
    client.export(ExportRequest::Activity(request), form.format(&client), "activity").await
}

impl Client {
    /// The first form of Accept that is known; `None` for JSON and for none.
    pub(crate) fn accepted_format(&self) -> Option<ExportFormat> {
        accepted_format(&self.headers)
    }

    /// Begins an export and passes its bytes on. What fails before the first byte is a problem; what fails later cuts the
    /// connection, so that nobody takes a part for the whole.
    pub(crate) async fn export(&self, request: ExportRequest, format: ExportFormat, name: &str) -> Answered {
        let place = self.shared.gates.export(self.caller.clone())?;
        let admitted = self.shared.gates.admit(self.caller.clone())?;
        let app = &self.shared.app;
        let mut signed_out = Box::pin(signed_out(app.authenticate.clone(), self.identity.clone()));
        let ExportStream { bytes, window, kept_from } = tokio::select! {
            biased;
            refusal = &mut signed_out => return Err(Problem::not_signed_in(refusal)),
            begun = self.shared.gates.query(admitted, 1, app.queries.export(request, format)) => begun??,
        };
        let bytes = paced(bytes, self.shared.gates.limits().export_pace, place, signed_out)
            .map(|piece| piece.inspect_err(|error| tracing::warn!(%error, "an export ended before its end")));
        let FileForm { media_type, ending, .. } = FileForm::of(format);
        let file = file_name(name, window.from, window.to, ending);
        let mut response = Body::from_stream(bytes).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        headers.insert(VARY, HeaderValue::from_static(VARIES_BY));
        if let Ok(disposition) = HeaderValue::try_from(format!("attachment; filename=\"{file}\"")) {
            headers.insert(CONTENT_DISPOSITION, disposition);
        }
        if let Some(kept_from) = kept_from {
            let time = kept_from.to_rfc3339_opts(SecondsFormat::Millis, true);
            headers.extend(HeaderValue::try_from(time).map(|time| (KEPT_FROM, time)));
        }
        Ok(response)
    }
}

fn accepted_format(headers: &HeaderMap) -> Option<ExportFormat> {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|list| list.split(',')).find_map(|range| {
        let media_type = range.split(';').next().unwrap_or_default().trim();
        match media_type {
            "application/json" | "application/*" | "*/*" => Some(None),
            _ => FileForm::of_media_type(media_type).map(|form| Some(form.format)),
        }
    })?
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
    fn the_first_known_form_of_accept_counts_and_json_is_no_export() {
        let cases = [
            ("", None),
            ("application/json", None),
            ("text/html, */*;q=0.8", None),
            ("text/csv", Some(ExportFormat::Csv)),
            ("text/html, Application/vnd.apache.parquet;q=1, text/csv", Some(ExportFormat::Parquet)),
            ("application/json, text/csv", None),
        ];
        for (accept, expected) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().unwrap());
            assert_eq!(accepted_format(&headers), expected, "{accept}");
        }
    }

    #[test]
    fn a_files_name_is_plain() {
        let at = |seconds: i64| DateTime::from_timestamp(1_773_146_096 + seconds, 0).unwrap();
        let name = file_name("kelly:cpu/a\"b", at(0), at(60), "csv");
        assert_eq!(name, "kelly-kelly-cpu-a-b-20260310T123456Z-20260310T123556Z.csv");
    }
}
