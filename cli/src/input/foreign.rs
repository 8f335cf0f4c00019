//! Files of other programs that are often tried: recognised, so that one sentence says what to do. Pure.

use super::json::Field;
use crate::Usage;

/// Refuses a JSON object that another program writes, by the names of its fields.
pub fn object(fields: &[Field<'_>]) -> Result<(), Usage> {
    let has = |names: &[&str]| fields.iter().any(|field| names.contains(&&*field.name));
    if has(&["resourceMetrics", "resource_metrics"]) {
        return Err(Usage(format!(
            "it is OpenTelemetry metrics in JSON: make a row of each data point, e.g. {OTEL_TO_ROWS}"
        )));
    }
    if has(&["resourceLogs", "resource_logs"]) {
        return Err(Usage(
            "it is OpenTelemetry logs in JSON: Kelly keeps no logs; send what they count or measure as metrics \
             ({\"metric_name\":…,\"value\":…,\"timestamp\":…})"
                .to_owned(),
        ));
    }
    if has(&["metric_name", "value", "event_type"]) {
        return Ok(());
    }
    let is_trace = has(&[
        "resourceSpans",
        "resource_spans",
        "trace_id",
        "traceId",
        "traceID",
        "span_id",
        "spanId",
        "run_type",
        "messages",
        "prompt",
        "completion",
        "choices",
        "inputs",
        "outputs",
        "generations",
    ]);
    if is_trace {
        return Err(Usage(
            "it is a trace of a language model: Kelly keeps no conversation text; send what you measure of it \
             (response_time, tokens_used, ai_confidence) as metrics, one \
             {\"metric_name\":…,\"value\":…,\"timestamp\":…,\"conversation_id\":…} a line"
                .to_owned(),
        ));
    }
    Ok(())
}

/// Makes rows of OpenTelemetry's gauges and sums.
const OTEL_TO_ROWS: &str = "jq -c '.resourceMetrics[].scopeMetrics[].metrics[] | .name as $name | \
     (.gauge // .sum // empty).dataPoints[] | {metric_name: $name, value: (.asDouble // (.asInt | tonumber)), \
     timestamp: ((.timeUnixNano | tonumber) / 1000000 | floor)}'";

/// How a line of InfluxDB's annotations begins.
const INFLUX_ANNOTATIONS: [&str; 3] = ["#group", "#datatype", "#default"];

/// Whether it annotates the columns of a table of InfluxDB.
pub fn is_influx_annotation(line: &str) -> bool {
    let first = line.trim_start_matches('"').split([',', '"']).next().unwrap_or_default().trim();
    INFLUX_ANNOTATIONS.contains(&first)
}

/// What to do with InfluxDB's annotated CSV.
pub const INFLUX: &str = "it is InfluxDB's annotated CSV: say --time-column _time --value-column _value --metric-column _field \
     (or _measurement)";
